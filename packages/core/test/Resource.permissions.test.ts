import {
  Action,
  Authentication,
  ChannelError,
  Check,
  Consumer,
  Filter,
  Handlers,
  Pagination,
  Permission,
  type Reply,
  Repository,
  Resource,
  Route,
  Settings
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import { withLogs } from "./support/connection.ts"

interface User {
  readonly name: string
  readonly admin: boolean
  readonly level: number
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/ResourceUser") {}
const AuthenticationLive = Testing.layerAuthentication(CurrentUser)
const user = (name: string, fields?: Partial<User>) =>
  Testing.as(CurrentUser, { name, admin: false, level: 0, ...fields })

class Note extends Schema.Class<Note>("Note")({
  id: Schema.Int,
  owner: Schema.NullOr(Schema.String),
  open: Schema.Boolean,
  level: Schema.Int
}) {}
class Notes extends Repository.Service<Notes>()("test/GuardedNotes", { schema: Note, key: "id" }) {}
const note = Filter.fields<Note>()
const row = (id: number, owner: string | null, fields?: Partial<typeof Note.Type>) =>
  new Note({ id, owner, open: false, level: 0, ...fields })

const isAuthenticated = Permission.isAuthenticated(CurrentUser)
const isAdmin = Permission.connection("isAdmin", CurrentUser.use(({ admin }) => admin))
const isOwner = Check.isOwner<Note>()(CurrentUser, { object: "owner", user: "name" })
const isOpen = Permission.where<Note>()("isOpen", () => note.eq("open", true))

/** A client that can say what its types would not let it. */
interface Speaker {
  readonly send: (...frames: ReadonlyArray<unknown>) => Effect.Effect<void>
  readonly receive: Effect.Effect<unknown, unknown>
}

/** Asks for an action as a client does. */
const asking = (client: Speaker) => (action: string, route: string, data: unknown = {}): Effect.Effect<Reply.Reply> =>
  Effect.orDie(Effect.andThen(client.send({ action, route, data }), client.receive)) as Effect.Effect<Reply.Reply>

/** The status, and the data or what is wrong. */
const brief = ({ data, errors, status }: Reply.Reply) =>
  errors.length === 0 ? [status, data] : [status, ...errors.map((error) => (error as Reply.ReplyError).code)]

const idsIn = (data: unknown): ReadonlyArray<number> =>
  (Array.isArray(data) ? data : (data as { readonly results: ReadonlyArray<unknown> }).results).map((row) =>
    (row as { readonly id: number }).id
  )

/** What a test composes by hand, its types aside. */
interface Composed {
  readonly resource: Resource.Any
  readonly members?: (resource: never) => ReadonlyArray<unknown>
  readonly permission?: Permission.Any
  readonly handling?: object
  readonly rows?: ReadonlyArray<Note>
  readonly settings?: Layer.Layer<never>
}

const addTo = Consumer.add as unknown as (...members: ReadonlyArray<unknown>) => (self: unknown) => Consumer.Any

const layerOf = ({ handling, members, permission, resource, rows = [], settings = Layer.empty }: Composed) => {
  const routes = members ?? ((resource: never) => Resource.routes(resource, "notes/"))
  let consumer = addTo(...routes(resource as never))(Consumer.make("guarded", { path: "/ws/:room/" }))
  if (permission !== undefined) consumer = Consumer.permit(permission as never)(consumer as never)
  const handled = Resource.handle(resource as never, handling as never)(Consumer.handlers(consumer as never) as never)
  const live = Handlers.toLayer(handled as never) as Layer.Layer<
    Handlers.Live<"guarded">,
    Handlers.DefinitionError,
    Notes | Authentication.Authenticator<CurrentUser>
  >
  return {
    consumer: consumer as Consumer.Consumer<"guarded", { readonly room: string }>,
    layer: live.pipe(
      Layer.provideMerge(Layer.mergeAll(Notes.layerMemory(rows), AuthenticationLive)),
      Layer.provide(settings)
    )
  }
}

/** A server of a consumer: clients of it, and its rows. */
const serve = Effect.fnUntraced(function*(composed: Composed) {
  const { consumer, layer } = layerOf(composed)
  const context = yield* Layer.build(layer)
  const notes = Context.get(context, Notes)
  return {
    open: (as: Testing.Acting | ReadonlyArray<Testing.Acting> = Testing.anonymous, query = "") =>
      Effect.map(
        Effect.provideContext(Testing.connect(consumer, { params: { room: "lobby" }, as, query }), context),
        asking
      ),
    all: notes.select({ filter: Filter.all, order: [{ field: "id", direction: "ascending" }] })
  }
})

/** The problems of a consumer; none where it can be served. */
const problemsOf = (composed: Composed): Effect.Effect<ReadonlyArray<string>> =>
  Effect.scoped(Layer.build(layerOf(composed).layer)).pipe(
    Effect.as([]),
    Effect.catch(({ problems }) => Effect.succeed(problems))
  )

/** What can only be asked of one object at a time, and allows. */
const ofEach = Permission.object<Note>()("ofEach", () => true)

/** The same permission, so that each object has to be asked for. */
const each = (permission: Permission.Any): Permission.Any => Permission.and(permission as Permission.Permission, ofEach)

const writes = ["update", "partial_update", "destroy"] as const
const data = { owner: "mallory", open: true, level: 9 }
const crud = { repository: Notes, pagination: Pagination.none() } as const

describe("permit", () => {
  const rows = [row(1, "alice"), row(2, "bob")]

  it.effect("guards all actions, and a list is of what may be retrieved", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", {
        ...crud,
        actions: ["list", "retrieve", "update", "partial_update", "destroy"]
      }).pipe(Resource.permit(isOwner))
      const { all, open } = yield* serve({ resource, rows })
      const ask = yield* open(user("alice"))
      for (const action of ["retrieve", ...writes]) {
        assert.deepStrictEqual(brief(yield* ask(action, "notes/2/", data)), [403, "permission_denied"])
      }
      assert.deepStrictEqual(yield* all, rows)
      assert.deepStrictEqual(idsIn((yield* ask("list", "notes/")).data), [1])
      assert.strictEqual((yield* ask("retrieve", "notes/1/")).status, 200)
      assert.strictEqual((yield* ask("partial_update", "notes/1/", { level: 2 })).status, 200)
      assert.strictEqual((yield* ask("destroy", "notes/1/")).status, 204)
    }))

  it.effect("guards create as well, where that can be decided", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", crud).pipe(Resource.permit(isAuthenticated))
      const { all, open } = yield* serve({ resource, rows })
      const nobody = yield* open()
      for (const action of ["list", "create"]) {
        assert.deepStrictEqual(brief(yield* nobody(action, "notes/", data)), [403, "not_authenticated"])
      }
      for (const action of ["retrieve", ...writes]) {
        assert.deepStrictEqual(brief(yield* nobody(action, "notes/1/", data)), [403, "not_authenticated"])
      }
      assert.deepStrictEqual(yield* all, rows)
      const alice = yield* open(user("alice"))
      assert.strictEqual((yield* alice("create", "notes/", data)).status, 201)
      assert.deepStrictEqual(idsIn((yield* alice("list", "notes/")).data), [1, 2, 3])
    }))

  it.effect("guards the actions that are named, and no others", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", crud).pipe(
        Resource.permit(["create", "list"], isAuthenticated),
        Resource.permit(writes, isOwner)
      )
      const { open } = yield* serve({ resource, rows })
      const nobody = yield* open()
      assert.strictEqual((yield* nobody("retrieve", "notes/1/")).status, 200)
      for (const action of writes) {
        assert.deepStrictEqual(brief(yield* nobody(action, "notes/1/", data)), [403, "not_authenticated"])
      }
      assert.deepStrictEqual(brief(yield* nobody("list", "notes/")), [403, "not_authenticated"])
      assert.deepStrictEqual(brief(yield* nobody("create", "notes/", data)), [403, "not_authenticated"])
      const alice = yield* open(user("alice"))
      assert.deepStrictEqual(idsIn((yield* alice("list", "notes/")).data), [1, 2])
      assert.deepStrictEqual(brief(yield* alice("destroy", "notes/2/")), [403, "permission_denied"])
      assert.deepStrictEqual(brief(yield* alice("destroy", "notes/1/")), [204, null])
    }))

  it.effect("a second one is required as well as the first", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", crud).pipe(
        Resource.permit(["retrieve"], isOwner),
        Resource.permit(["retrieve"], isOpen),
        Resource.permit(isAuthenticated)
      )
      const { open } = yield* serve({
        resource,
        rows: [...rows, row(3, "alice", { open: true }), row(4, null, { open: true })]
      })
      const ask = yield* open(user("alice"))
      assert.deepStrictEqual(idsIn((yield* ask("list", "notes/")).data), [3])
      for (const id of [1, 2, 4]) assert.strictEqual((yield* ask("retrieve", `notes/${id}/`)).status, 403)
      assert.strictEqual((yield* ask("retrieve", "notes/3/")).status, 200)
    }))
})

describe("the object is loaded, its permission decided, and then it is written", () => {
  const rows = [row(1, "alice"), row(2, "bob")]
  const tracing = () => {
    const called: Array<string> = []
    const note = <A>(name: string, effect: Effect.Effect<A, unknown>) =>
      Effect.andThen(Effect.sync(() => called.push(name)), effect)
    const handling = {
      retrieve: ({ object }: { readonly object: Note }) => note("retrieve", Effect.succeed(object)),
      update: (_: unknown, write: (changes: object) => Effect.Effect<Note, unknown>) =>
        note("update", write({ level: 5 })),
      partial_update: (_: unknown, write: (changes: object) => Effect.Effect<Note, unknown>) =>
        note("partial_update", write({ level: 6 })),
      destroy: (_: unknown, remove: Effect.Effect<void, unknown>) => note("destroy", remove)
    }
    return { called, handling }
  }

  for (const perObject of [false, true]) {
    it.effect(`whoever is denied changes nothing, and nothing of the application is called${perObject ? " (perObject)" : ""}`, () =>
      Effect.gen(function*() {
        const { called, handling } = tracing()
        const resource = Resource.make("notes", { ...crud, perObject }).pipe(
          Resource.permit(["retrieve", ...writes], isOwner)
        )
        const { all, open } = yield* serve({ resource, handling, rows })
        const alice = yield* open(user("alice"))
        for (const action of ["retrieve", ...writes]) {
          const { errors, status } = yield* alice(action, "notes/2/", data)
          assert.strictEqual(status, 403)
          assert.deepStrictEqual(errors, [
            { detail: "You do not have permission to perform this action", code: "permission_denied" }
          ])
        }
        assert.deepStrictEqual(yield* all, rows)
        assert.deepStrictEqual(called, [])
        for (const action of ["retrieve", ...writes]) yield* alice(action, "notes/1/", data)
        assert.deepStrictEqual(called, ["retrieve", ...writes])
        assert.deepStrictEqual(yield* all, [rows[1]!])
      }))
  }

  it.effect("by the object as it is in the transaction: one that has just been given away is not written", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", crud).pipe(Resource.permit(["update"], isOwner))
      const { all, open } = yield* serve({ resource, rows })
      const alice = yield* open(user("alice"))
      assert.deepInclude((yield* alice("update", "notes/1/", { owner: "bob", open: true, level: 1 })).data as object, {
        owner: "bob"
      })
      assert.deepStrictEqual(brief(yield* alice("update", "notes/1/", data)), [403, "permission_denied"])
      assert.deepStrictEqual((yield* all)[0], row(1, "bob", { open: true, level: 1 }))
    }))

  it.effect("a check may look at what is to be written", () =>
    Effect.gen(function*() {
      const keepsLevel = Permission.object<Note, { readonly level?: number }>()(
        "keepsLevel",
        ({ object, payload }) => payload.level === undefined || payload.level <= object.level
      )
      const resource = Resource.make("notes", crud).pipe(Resource.permit(["update", "partial_update"], keepsLevel))
      const { open } = yield* serve({ resource, rows: [row(1, "alice", { level: 3 })] })
      const ask = yield* open()
      assert.strictEqual((yield* ask("partial_update", "notes/1/", { level: 4 })).status, 403)
      assert.strictEqual((yield* ask("update", "notes/1/", { ...data, level: 4 })).status, 403)
      assert.strictEqual((yield* ask("partial_update", "notes/1/", { level: 2 })).status, 200)
    }))
})

describe("the order in which a request is refused", () => {
  const resource = Resource.make("notes", { ...crud, readOnly: ["open"] }).pipe(
    Resource.permit(["retrieve", ...writes], Permission.and(isAuthenticated, isOwner))
  )
  const handling = { create: () => Effect.die("not called") }
  const rows = [row(1, "alice"), row(2, "bob")]

  it.effect("403 for who may not ask at all, whether there is anything or not", () =>
    Effect.gen(function*() {
      const nobody = yield* Effect.flatMap(serve({ resource, handling, rows }), ({ open }) => open())
      for (const action of ["retrieve", ...writes]) {
        for (const id of [1, 99]) {
          assert.deepStrictEqual(brief(yield* nobody(action, `notes/${id}/`, "wrong")), [403, "not_authenticated"])
        }
      }
    }))

  it.effect("then 400, then 404, then 403 for the object", () =>
    Effect.gen(function*() {
      const alice = yield* Effect.flatMap(serve({ resource, handling, rows }), ({ open }) => open(user("alice")))
      for (const action of ["update", "partial_update"]) {
        for (const id of [1, 2, 99]) {
          assert.deepStrictEqual(brief(yield* alice(action, `notes/${id}/`, { level: "x", owner: 1 })), [
            400,
            "invalid",
            "invalid"
          ])
        }
      }
      for (const action of ["retrieve", ...writes]) {
        assert.deepStrictEqual(brief(yield* alice(action, "notes/99/", data)), [404, "not_found"])
        assert.deepStrictEqual(brief(yield* alice(action, "notes/2/", data)), [403, "permission_denied"])
      }
    }))

  it.effect("what is not in the scope of the request is not there, whoever it belongs to", () =>
    Effect.gen(function*() {
      const scoped = { ...handling, rows: () => note.eq("id", 1) }
      const bob = yield* Effect.flatMap(serve({ resource, handling: scoped, rows }), ({ open }) => open(user("bob")))
      for (const action of ["retrieve", ...writes]) {
        assert.deepStrictEqual(brief(yield* bob(action, "notes/2/", data)), [404, "not_found"])
        assert.deepStrictEqual(brief(yield* bob(action, "notes/1/", data)), [403, "permission_denied"])
      }
      assert.deepStrictEqual(brief(yield* bob("list", "notes/")), [200, []])
    }))

  it.effect("create: 403 before 400", () =>
    Effect.gen(function*() {
      const guarded = Resource.make("notes", crud).pipe(Resource.permit(["create"], isAdmin))
      const { all, open } = yield* serve({ resource: guarded })
      const alice = yield* open(user("alice"))
      assert.deepStrictEqual(brief(yield* alice("create", "notes/", "wrong")), [403, "permission_denied"])
      const admin = yield* open(user("root", { admin: true }))
      assert.deepStrictEqual(brief(yield* admin("create", "notes/", "wrong")), [400, "invalid"])
      assert.deepStrictEqual(yield* all, [])
    }))
})

describe("a list is of what may be retrieved", () => {
  const rows = [row(1, "alice"), row(2, "bob"), row(3, null, { open: true }), row(4, "alice", { open: true })]
  const plain = Resource.make("notes", crud)
  const routed = (permission: Permission.Any) => (resource: never) => {
    const [all, one] = Resource.routes(resource, "notes/") as ReadonlyArray<Route.Any>
    return [all, Route.permit(permission as never)(one as never)]
  }
  const places: ReadonlyArray<readonly [where: string, composed: (permission: Permission.Any) => Composed]> = [
    [
      "the resource",
      (permission) => ({ resource: Resource.permit(["retrieve"], permission as never)(plain as never) })
    ],
    ["the route", (permission) => ({ resource: plain, members: routed(permission) })],
    ["the action itself", (permission) => ({
      resource: plain,
      members: (resource) => {
        const actions = Resource.object(resource) as ReadonlyArray<Action.Any>
        const one = Route.make("notes/:id/", Resource.params(resource) as {}).pipe((route) =>
          (Route.add as unknown as (...members: ReadonlyArray<unknown>) => (self: unknown) => Route.Any)(
            ...actions.map((action) => Action.permit(permission as never)(action as never))
          )(route)
        )
        return [(Resource.routes(resource, "notes/") as ReadonlyArray<Route.Any>)[0], one]
      }
    })]
  ]
  for (const [where, composed] of places) {
    for (const perObject of [false, true]) {
      it.effect(`by what guards ${where}${perObject ? " (perObject)" : ""}`, () =>
        Effect.gen(function*() {
          const visible = Permission.or(isAdmin, Permission.or(isOwner, isOpen))
          const made = composed(perObject ? each(visible) : visible)
          const resource = Object.assign(Object.create(Object.getPrototypeOf(made.resource)), made.resource, {
            options: { ...made.resource.options, perObject }
          })
          const { open } = yield* serve({ ...made, resource, rows })
          const ids = (ask: ReturnType<typeof asking>) =>
            Effect.map(ask("list", "notes/"), ({ data, status }) => [status, ...idsIn(data)])
          assert.deepStrictEqual(yield* ids(yield* open(user("alice"))), [200, 1, 3, 4])
          assert.deepStrictEqual(yield* ids(yield* open(user("bob"))), [200, 2, 3, 4])
          assert.deepStrictEqual(yield* ids(yield* open(user("root", { admin: true }))), [200, 1, 2, 3, 4])
          // Nobody owns nothing, not even what belongs to nobody.
          assert.deepStrictEqual(yield* ids(yield* open()), [200, 3, 4])
        }))
    }
  }

  it.effect("by what guards the consumer, or all consumers of the server", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", { ...crud, actions: ["list", "retrieve"] })
      const mayRead = Check.actionIn(["list"])
      for (
        const composed of [
          { resource, rows, permission: mayRead },
          { resource, rows, settings: Settings.layer({ permission: mayRead }) }
        ]
      ) {
        const ask = yield* Effect.flatMap(serve(composed), ({ open }) => open())
        assert.deepStrictEqual(brief(yield* ask("list", "notes/")), [200, []])
        assert.deepStrictEqual(brief(yield* ask("retrieve", "notes/1/")), [403, "permission_denied"])
      }
    }))

  it.effect("where nothing of it can be retrieved by itself, by what would guard that", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", { ...crud, actions: ["list"] }).pipe(
        Resource.permit(["retrieve"], isOwner)
      )
      const ask = yield* Effect.flatMap(serve({ resource, rows }), ({ open }) => open(user("alice")))
      assert.deepStrictEqual(idsIn((yield* ask("list", "notes/")).data), [1, 4])
    }))

  it.effect("each by what guards the objects beside it", () =>
    Effect.gen(function*() {
      const guarded = (permission: Permission.Any) => (route: Route.Any) =>
        Route.permit(permission as never)(route as never) as Route.Any
      const members = (resource: never) => {
        const [a, oneOfA] = Resource.routes(resource, "a/") as ReadonlyArray<Route.Any>
        const [b, oneOfB] = Resource.routes(resource, "b/") as ReadonlyArray<Route.Any>
        return [a, guarded(isOwner)(oneOfA!), b, guarded(isOpen)(oneOfB!)]
      }
      const ask = yield* Effect.flatMap(serve({ resource: plain, members, rows }), ({ open }) => open(user("alice")))
      assert.deepStrictEqual(idsIn((yield* ask("list", "a/")).data), [1, 4])
      assert.deepStrictEqual(idsIn((yield* ask("list", "b/")).data), [3, 4])
    }))

  it.effect("so is a live query of one object, by what guards it where it is asked for", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", { ...crud, actions: ["retrieve", "subscribe"] }).pipe(
        Resource.permit(["retrieve"], isOwner)
      )
      const members = (resource: never) => {
        const guarded = (route: Route.Any) => Route.permit(isAdmin)(route as never) as Route.Any
        const admins = Resource.routes(resource, "admins/") as ReadonlyArray<Route.Any>
        return [...admins.map(guarded), ...Resource.routes(resource, "notes/") as ReadonlyArray<Route.Any>]
      }
      const ask = yield* Effect.flatMap(serve({ resource, members, rows }), ({ open }) => open(user("alice")))
      const first = yield* ask("subscribe", "notes/1/")
      assert.deepStrictEqual(brief(first), [206, { type: "snapshot", results: [{ ...rows[0] }] }])
      assert.deepStrictEqual(brief(yield* ask("subscribe", "admins/1/")), [403, "permission_denied"])
      assert.deepStrictEqual(brief(yield* ask("subscribe", "notes/2/")), [403, "permission_denied"])
    }))

  it.effect("refused where it would be refused for every object because of who asks", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", crud).pipe(
        Resource.permit(["retrieve"], Permission.and(isAdmin, isOwner))
      )
      const { open } = yield* serve({ resource, rows })
      assert.deepStrictEqual(brief(yield* (yield* open())("list", "notes/")), [403, "not_authenticated"])
      assert.deepStrictEqual(brief(yield* (yield* open(user("alice")))("list", "notes/")), [403, "permission_denied"])
    }))

  it.effect("pages, counts and searches do not tell of others", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", {
        repository: Notes,
        pagination: Pagination.pageNumber({ size: 1 }),
        filters: { owner: ["exact"] }
      }).pipe(Resource.permit(["retrieve"], isOwner))
      const ask = yield* Effect.flatMap(serve({ resource, rows }), ({ open }) => open(user("alice")))
      const first = yield* ask("list", "notes/")
      assert.deepInclude(first.data as object, { count: 2, next: "notes/?page=2", previous: null })
      assert.strictEqual((yield* ask("list", "notes/?page=3")).status, 404)
      assert.deepStrictEqual(brief(yield* ask("list", "notes/?owner=bob")), [
        200,
        { count: 0, next: null, previous: null, results: [] }
      ])
    }))
})

describe("a permission that cannot be asked of all objects at once", () => {
  const byObject = Permission.object<Note>()("byObject", ({ object }) => object.level > 0)
  const byKey = Permission.action<{ readonly id: number }>()("byKey", ({ params }) => params.id !== 2)
  const problem = (check: string, option: string) =>
    "the action \"list\" of the route \"notes/\": it is of the objects that may be retrieved, " +
    `but the check "${check}" says only of one object at a time whether that is so: make it with Permission.where, ` +
    `give it the option ${option}, or let the resource decide for each object (perObject: true)`
  const make = (permission: Permission.Any, options?: object) =>
    Resource.permit(["retrieve"], permission as never)(
      Resource.make("notes", { ...crud, ...options }) as never
    ) as Resource.Any
  const both = Permission.or(byObject, Permission.not(byKey))

  it.effect("does not start", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* problemsOf({ resource: make(byObject) }), [problem("byObject", "query")])
      assert.deepStrictEqual(yield* problemsOf({ resource: make(byKey) }), [problem("byKey", "everyObject")])
      assert.deepStrictEqual(yield* problemsOf({ resource: make(Permission.and(both, byObject)) }), [
        problem("byObject", "query"),
        problem("byKey", "everyObject")
      ])
      assert.deepStrictEqual(yield* problemsOf({ resource: make(Permission.and(Permission.deny, byObject)) }), [
        problem("byObject", "query")
      ])
    }))

  it.effect("starts where nothing is listed, where each object is asked for, and where it says what it means", () =>
    Effect.gen(function*() {
      const said = Permission.object<Note>()("byObject", ({ object }) => object.level > 0, {
        query: () => note.gt("level", 0)
      })
      const alike = Permission.action("alike", () => true, { everyObject: true })
      for (
        const resource of [
          make(both, { actions: ["retrieve", "update"] }),
          make(both, { perObject: true }),
          make(Permission.and(said, alike)),
          make(Permission.and(Check.readOnly, Check.between({ from: "2026-01-01T00:00:00Z" })))
        ]
      ) {
        assert.deepStrictEqual(yield* problemsOf({ resource }), [])
      }
    }))

  it.effect("is decided for each object, once for a request, by what its retrieval would be decided by", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const watch = (name: string) =>
        Permission.object<Note>()(name, ({ action, object, params, payload, route }) => {
          seen.push({ action, id: object.id, params, payload, route })
          return object.id !== 2
        })
      const byRoute = Permission.action("byRoute", ({ route }) => route.length > 0)
      const resource = make(Permission.and(byRoute, watch("watch")), {
        perObject: true,
        param: "pk",
        pagination: Pagination.pageNumber({ size: 2 })
      })
      const members = (resource: never) => [
        Route.make("in/:pkg/").pipe((route) =>
          (Route.add as unknown as (...members: ReadonlyArray<unknown>) => (self: unknown) => unknown)(
            ...Resource.routes(resource, "notes/") as ReadonlyArray<unknown>
          )(route)
        )
      ]
      const rows = [row(1, "a"), row(2, "a"), row(3, "a"), row(4, "a")]
      const ask = yield* Effect.flatMap(serve({ resource, members, rows }), ({ open }) => open())
      const { data } = yield* ask("list", "in/x%20y/notes/?page=2")
      assert.deepStrictEqual([(data as { readonly count: number }).count, ...idsIn(data)], [3, 4])
      const listed = seen.splice(0)
      for (const id of [1, 2, 3, 4]) yield* ask("retrieve", `in/x%20y/notes/${id}/`)
      assert.lengthOf(listed, 4)
      assert.sameDeepMembers(listed, seen)
    }))

  it.effect("is not decided for more objects than that is worth", () =>
    Effect.gen(function*() {
      const resource = make(byObject, { perObject: true, filters: { level: ["exact"] } })
      const rows = Array.from({ length: 10_001 }, (_, i) => row(i + 1, null, { level: i === 0 ? 1 : 2 }))
      const ask = yield* Effect.flatMap(serve({ resource, rows }), ({ open }) => open())
      assert.deepStrictEqual(brief(yield* ask("list", "notes/")), [400, "invalid"])
      assert.deepStrictEqual(idsIn((yield* ask("list", "notes/?level=1")).data), [1])
    }))

  it.effect("its list is in order, whatever the order of what it is read in", () =>
    Effect.gen(function*() {
      const resource = make(byObject, {
        perObject: true,
        order: ["-owner", "level"],
        pagination: Pagination.cursor({ size: 2 })
      })
      const rows = [
        row(1, "b", { level: 2 }),
        row(2, null, { level: 1 }),
        row(3, "b", { level: 1 }),
        row(4, "c", { level: 0 }),
        row(5, "a", { level: 1 })
      ]
      const ask = yield* Effect.flatMap(serve({ resource, rows }), ({ open }) => open())
      const first = yield* ask("list", "notes/")
      assert.deepStrictEqual(idsIn(first.data), [3, 1])
      const second = yield* ask("list", (first.data as { readonly next: string }).next)
      assert.deepStrictEqual(idsIn(second.data), [5, 2])
    }))
})

describe("a check that breaks", () => {
  const rows = [row(1, "alice"), row(2, "bob", { open: true })]
  const down = new ChannelError.Unavailable({ message: "the directory is down" })
  const unavailable = {
    where: Permission.where<Note>()("unavailable", () => Effect.fail(down)),
    action: Permission.action("unavailable", () => Effect.fail(down), { everyObject: true }),
    connection: Permission.connection("unavailable", Effect.fail(down)),
    object: Permission.object<Note>()(
      "unavailable",
      ({ object }) => object.id === 2 ? Effect.fail(down) : Effect.succeed(true)
    )
  }
  const dying = {
    where: Permission.where<Note>()("dying", () => Effect.die(new Error("secret"))),
    thrown: Permission.where<Note>()("thrown", (): Filter.Filter<Note> => {
      throw new Error("secret")
    }),
    odd: Permission.where<Note>()("odd", () => undefined as unknown as Filter.Filter<Note>),
    object: Permission.object<Note>()(
      "dying",
      ({ object }) => object.id === 2 ? Effect.die(new Error("secret")) : Effect.succeed(true)
    )
  }
  const open = (permission: Permission.Any, perObject = false) =>
    Effect.flatMap(
      serve({
        resource: Resource.permit(["retrieve"], (perObject ? each(permission) : permission) as never)(
          Resource.make("notes", { ...crud, perObject }) as never
        ) as Resource.Any,
        rows
      }),
      ({ open }) => open(user("alice"))
    )

  for (const [kind, permission] of Object.entries(unavailable)) {
    it.effect(`is what its list fails with, as what one object does: ${kind}`, () =>
      Effect.gen(function*() {
        const ask = yield* open(permission, true)
        assert.deepStrictEqual(brief(yield* ask("retrieve", "notes/2/")), [503, "unavailable"])
        assert.deepStrictEqual(brief(yield* ask("list", "notes/")), [503, "unavailable"])
        if (kind === "object") return
        const translated = yield* open(permission)
        assert.deepStrictEqual(brief(yield* translated("list", "notes/")), [503, "unavailable"])
        const unless = yield* open(Permission.not(permission as Permission.Permission))
        assert.deepStrictEqual(brief(yield* unless("list", "notes/")), [503, "unavailable"])
      }))
  }

  for (const [kind, permission] of Object.entries(dying)) {
    it.effect(`is a 500, and logged: ${kind}`, () =>
      withLogs((logs) =>
        Effect.gen(function*() {
          for (const perObject of kind === "object" ? [true] : [false, true]) {
            const ask = yield* open(permission, perObject)
            assert.deepStrictEqual(brief(yield* ask("retrieve", "notes/2/")), [500, "error"])
            assert.deepStrictEqual(brief(yield* ask("list", "notes/")), [500, "error"])
          }
          assert.isTrue(logs.filter(({ level }) => level === "Error").length >= 2)
        })
      ))
  }

  for (const perObject of [false, true]) {
    it.effect(`matters where the others do not decide${perObject ? " (perObject)" : ""}`, () =>
      Effect.gen(function*() {
        const broken = unavailable.where
        const list = (permission: Permission.Any) =>
          Effect.flatMap(open(permission, perObject), (ask) => Effect.map(ask("list", "notes/"), brief))
        const ids = (permission: Permission.Any) =>
          Effect.flatMap(open(permission, perObject), (ask) =>
            Effect.map(ask("list", "notes/"), ({ data }) => idsIn(data)))
        const all = Permission.where<Note>()("all", () =>
          Filter.all)
        const none = Permission.where<Note>()("none", () => Filter.none)
        assert.deepStrictEqual(yield* ids(Permission.or(broken, all)), [1, 2])
        assert.deepStrictEqual(yield* ids(Permission.and(broken, none)), [])
        assert.deepStrictEqual(yield* ids(Permission.or(Permission.and(broken, none), isOwner)), [1])
        assert.deepStrictEqual(yield* ids(Permission.and(Permission.not(Permission.and(broken, none)), isOwner)), [1])
        assert.deepStrictEqual(yield* list(Permission.or(broken, isOwner)), [503, "unavailable"])
        assert.deepStrictEqual(yield* list(Permission.and(broken, isOwner)), [503, "unavailable"])
        assert.deepStrictEqual(yield* list(Permission.not(Permission.and(broken, isOwner))), [503, "unavailable"])
      }))

    it.effect(`in one guard is not hidden by what another one denies${perObject ? " (perObject)" : ""}`, () =>
      Effect.gen(function*() {
        const none = Permission.where<Note>()("none", () => Filter.none)
        const guarded = (first: Permission.Any, second: Permission.Any) =>
          Effect.flatMap(
            serve({
              rows,
              resource: Resource.permit(["retrieve"], second as never)(
                Resource.make("notes", { ...crud, perObject }) as never
              ) as Resource.Any,
              members: (resource) => {
                const [all, one] = Resource.routes(resource, "notes/") as ReadonlyArray<Route.Any>
                return [all, Route.permit((perObject ? each(first) : first) as never)(one as never)]
              }
            }),
            ({ open }) => open(user("alice"))
          )
        const statuses = Effect.fnUntraced(function*(first: Permission.Any, second: Permission.Any) {
          const ask = yield* guarded(first, second)
          return [(yield* ask("retrieve", "notes/2/")).status, (yield* ask("list", "notes/")).status]
        })
        // The first that does not allow is what is answered with.
        assert.deepStrictEqual(yield* statuses(unavailable.where, none), [503, 503])
        assert.deepStrictEqual(yield* statuses(none, unavailable.action), [503, 503])
        assert.deepStrictEqual(yield* statuses(unavailable.where, Check.actionIn(["list"])), [403, 200])
      }))
  }
})

describe("whoever asks, and whatever guards it: the objects in a list are those that can be retrieved", () => {
  type Some = Permission.Permission
  const some = (...permissions: ReadonlyArray<Permission.Any>) => permissions as ReadonlyArray<Some>
  const down = new ChannelError.Unavailable({ message: "down" })

  /** What can be decided without an object. */
  const ofConnection = some(
    isAuthenticated,
    isAdmin,
    Permission.connection("isBeta", ({ query }) => query["beta"] === "1"),
    Permission.connection("isTall", CurrentUser.use(({ level }) => Effect.as(Effect.yieldNow, level > 1)))
  )
  const ofMessage = some(
    Permission.action("mayRead", () => CurrentUser.use(({ level }) => level > 0), { everyObject: true }),
    Permission.action("inLobby", ({ params }) => params["room"] === "lobby", { everyObject: true })
  )
  const ofRetrieval = some(Check.readOnly, Check.actionIn(["list", "update"]))
  /** What says of all objects at once what it says of each. */
  const ofObjects = some(
    isOwner,
    isOpen,
    Permission.where<Note>()(
      "isLow",
      () => CurrentUser.use(({ level }) => Effect.as(Effect.yieldNow, note.lte("level", level)))
    ),
    Permission.where<Note>()("hasOwner", () => Filter.not(note.isNull("owner"))),
    Permission.where<Note>()("everything", () => Filter.all),
    Permission.where<Note, { readonly room: string }>()("isOfRoom", ({ params }) => note.eq("owner", params.room)),
    Permission.object<Note>()("isHigh", ({ object }) => object.level > 1, { query: () => note.gt("level", 1) })
  )
  /** What says so of one at a time only. */
  const ofOne = some(
    Permission.object<Note>()("isOdd", ({ object }) => object.id % 2 === 1),
    Permission.object<Note>()("isMine", ({ object }) => CurrentUser.use(({ name }) => object.owner === name)),
    Permission.action<{ readonly id: number }>()("isLate", ({ params }) => params.id > 3),
    Permission.action("isThird", ({ action, route }) => action === "retrieve" && route.endsWith("notes/3/"))
  )
  const broken = {
    ofMessage: some(
      Permission.connection(
        "brokenConnection",
        CurrentUser.use(({ level }) => level === 3 ? Effect.fail(down) : Effect.succeed(true))
      ),
      Permission.action("brokenAction", () => Effect.fail(down), { everyObject: true })
    ),
    ofObjects: some(
      Permission.where<Note>()("brokenQuery", () => Effect.fail(down)),
      Permission.where<Note>()(
        "dyingQuery",
        () => CurrentUser.use(({ admin }) => admin ? Effect.die("secret") : Effect.succeed(note.eq("open", true)))
      )
    ),
    ofOne: some(
      Permission.object<Note>()(
        "brokenObject",
        ({ object }) => object.level === 2 ? Effect.fail(down) : Effect.succeed(object.open)
      ),
      Permission.action<{ readonly id: number }>()(
        "brokenKey",
        ({ params }) => params.id === 4 ? Effect.die("secret") : Effect.succeed(true)
      )
    )
  }
  const isBroken = (permission: Permission.Any) =>
    Permission.checks(permission).some(({ name }) => name.startsWith("broken") || name.startsWith("dying"))

  const someone: Arbitrary.Arbitrary<User | undefined> = Arbitrary.schema(Schema.UndefinedOr(Schema.Struct({
    name: Schema.Literals(["alice", "bob", "lobby"]),
    admin: Schema.Boolean,
    level: Schema.Literals([0, 1, 2, 3])
  })))
  const rows = Arbitrary.map(
    Arbitrary.schema(
      Schema.Array(Schema.Struct({
        owner: Schema.NullOr(Schema.Literals(["alice", "bob", "lobby"])),
        open: Schema.Boolean,
        level: Schema.Literals([0, 1, 2, 3])
      })).check(Schema.isMaxLength(7))
    ),
    (rows) => rows.map((fields, i) => new Note({ id: i + 1, ...fields }))
  )
  const paginations: ReadonlyArray<Pagination.Any> = [
    Pagination.pageNumber({ size: 2 }),
    Pagination.limitOffset({ limit: 2 }),
    Pagination.cursor({ size: 2 }),
    Pagination.none()
  ]
  const pagination = Testing.oneOf(paginations.map((one) => Arbitrary.Constant(one)))
  const order = Testing.oneOf(
    ([[], ["-level"], ["owner", "-open"]] as const).map((one) => Arbitrary.Constant(one))
  )

  /** What is generated for one run. */
  interface Case {
    readonly onConsumer: Some
    readonly onOuter: Some
    readonly onRoute: Some
    readonly onResource: Some
    readonly onAction: Some
    readonly who: User | undefined
    readonly isBeta: boolean
    readonly rows: ReadonlyArray<Note>
    readonly pagination: Pagination.Any
    readonly order: ReadonlyArray<"-level" | "owner" | "-open">
  }

  const met = { lists: 0, partial: 0, empty: 0, full: 0, refused: 0, broken: 0 }

  const check = Effect.fnUntraced(function*(one: Case, perObject: boolean) {
    const { onAction, onConsumer, onOuter, onResource, onRoute, rows, who } = one
    const resource = Resource.make("notes", {
      repository: Notes,
      actions: ["list", "retrieve"],
      pagination: one.pagination,
      order: one.order,
      perObject
    }).pipe((resource) => Resource.permit(["retrieve"], onResource)(resource))
    const members = (resource: never) => {
      const [all] = Resource.routes(resource, "notes/") as ReadonlyArray<Route.Any>
      const actions = Resource.object(resource) as ReadonlyArray<Action.Any>
      const add = Route.add as unknown as (...members: ReadonlyArray<unknown>) => (self: unknown) => Route.Any
      const object = add(...actions.map((action) => Action.permit(onAction)(action as never)))(
        Route.make("notes/:id/", Resource.params(resource) as {})
      )
      const outer = add(all, Route.permit(onRoute)(object as never))(Route.make("in/:place/"))
      return [Route.permit(onOuter)(outer as never)]
    }
    const { open } = yield* serve({ resource, members, permission: onConsumer, rows })
    const ask = yield* open(
      who === undefined ? Testing.anonymous : Testing.as(CurrentUser, who),
      one.isBeta ? "beta=1" : ""
    )

    const retrieved: Array<number> = []
    let breaks = 0
    for (const { id } of rows) {
      const { status } = yield* ask("retrieve", `in/here/notes/${id}/`)
      if (status === 200) retrieved.push(id)
      else if (status >= 500) breaks++
      else assert.strictEqual(status, 403)
    }

    met.lists++
    const listed: Array<number> = []
    const counts: Array<number> = []
    let next: string | null = "in/here/notes/"
    while (next !== null) {
      const { data, status }: Reply.Reply = yield* ask("list", next)
      if (status !== 200) {
        assert.deepStrictEqual(listed, [], "a later page failed")
        if (status === 403) {
          met.refused++
          assert.deepStrictEqual(retrieved, [], "the list is refused")
        } else {
          met.broken++
          assert.include([500, 503], status)
          assert.isTrue([onConsumer, onOuter, onRoute, onResource, onAction].some(isBroken), "nothing is broken")
        }
        return
      }
      listed.push(...idsIn(data))
      if (Array.isArray(data)) break
      const page = data as { readonly count?: number; readonly next: string | null }
      if (page.count !== undefined) counts.push(page.count)
      next = page.next
    }
    assert.strictEqual(breaks, 0, "a list without an error, of objects that cannot be decided")
    assert.deepStrictEqual(listed.toSorted((a, b) => a - b), retrieved)
    for (const count of counts) assert.strictEqual(count, retrieved.length)
    if (rows.length > 0) {
      if (retrieved.length === 0) met.empty++
      else if (retrieved.length === rows.length) met.full++
      else met.partial++
    }
  })

  const cases = (perObject: boolean, isBroken: boolean) => {
    const ofAll = [...ofConnection, ...ofMessage, ...(isBroken ? broken.ofMessage : [])]
    const objects = [
      ...ofAll,
      ...ofRetrieval,
      ...Array.from({ length: 6 }, () => ofObjects).flat(),
      ...(perObject ? [...ofOne, ...ofOne, ...ofOne] : []),
      ...(isBroken ? [...broken.ofObjects, ...(perObject ? broken.ofOne : [])] : [])
    ]
    const always = Arbitrary.Constant<Some>(Permission.allow)
    // Most of what is generated denies: were all places guarded at once, there would seldom be anything to see.
    const mostly = (guard: Arbitrary.Arbitrary<Some>) => Testing.oneOf([always, always, always, always, guard])
    const guard = Testing.permissions(...objects)
    return {
      onConsumer: mostly(Testing.permissions(...ofAll)),
      onOuter: mostly(Testing.permissions(...ofAll)),
      onRoute: mostly(guard),
      onResource: guard,
      onAction: mostly(guard),
      who: someone,
      isBeta: Arbitrary.schema(Schema.Boolean),
      rows,
      pagination,
      order
    }
  }

  for (const perObject of [false, true]) {
    for (const isBroken of [false, true]) {
      it.effect.prop(
        `${perObject ? "each decided by itself" : "as a filter"}${isBroken ? ", with checks that break" : ""}`,
        cases(perObject, isBroken),
        (one) => Effect.provide(Effect.scoped(check(one as Case, perObject)), Logger.layer([])),
        { arbitrary: { runs: 400 } }
      )
    }
  }

  it("was looked at in lists worth looking at", () => {
    assert.strictEqual(met.lists, 1600)
    for (const kind of ["partial", "empty", "full", "refused", "broken"] as const) {
      assert.isAbove(met[kind], 15, `${kind}: ${JSON.stringify(met)}`)
    }
  })
})
