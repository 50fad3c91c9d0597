import {
  Authentication,
  Authority,
  ChannelError,
  ChannelLayer,
  Consumer,
  Filter,
  Handlers,
  Permission,
  type Pipeline,
  Repository,
  Resource,
  Throttle
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { open, serve, settle } from "./support/connection.ts"
import { processOf } from "./support/database.ts"

class Note extends Schema.Class<Note>("Note")({
  id: Schema.Int,
  text: Schema.String,
  owner: Schema.String,
  version: Schema.Int
}) {}
class Notes extends Repository.Service<Notes>()("test/Notes", { schema: Note, key: "id", version: "version" }) {}

interface User {
  readonly name: string
  readonly roles: ReadonlySet<string>
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/LiveUser", { key: ({ name }) => name }) {}

/** Everybody's roles as they are now. */
const roles = () => new Map<string, ReadonlySet<string>>()

const note = Filter.fields<Note>()
const isOwner = Permission.where<Note>()("isOwner", () => CurrentUser.use(({ name }) => note.eq("owner", name)))
const isPublic = Permission.where<Note>()("isPublic", () => note.eq("owner", "all"))
const isAdmin = Permission.connection("isAdmin", CurrentUser.use(({ roles }) => roles.has("admin")))
const isBanned = Permission.connection("isBanned", CurrentUser.use(({ roles }) => roles.has("banned")))

const make = (maxLive?: number, perObject = false) =>
  Resource.make("notes", {
    repository: Notes,
    actions: [...Resource.crud, "subscribe"],
    filters: { text: ["contains"] },
    order: ["text"],
    maxLive,
    perObject
  }).pipe(
    Resource.permit(
      ["retrieve"],
      Permission.all([
        Permission.not(isBanned),
        Permission.any([isAdmin, isOwner, isPublic])
      ])
    )
  )

const seed = [
  new Note({ id: 1, text: "a", owner: "alice", version: 1 }),
  new Note({ id: 2, text: "b", owner: "bob", version: 1 }),
  new Note({ id: 3, text: "c", owner: "all", version: 1 })
]

interface Options {
  readonly maxLive?: number
  readonly perObject?: boolean
  readonly rows?: ReadonlyArray<Note>
  /** What is made of the repository. */
  readonly repository?: (rows: Notes["Service"]) => Notes["Service"]
  readonly layer?: ChannelLayer.ChannelLayer["Service"]
  readonly limits?: Partial<Pipeline.Limits>
  /** What everybody who connects has to wait for. */
  readonly gate?: () => Effect.Effect<void>
}

/** A server of notes. */
const start = Effect.fnUntraced(function*(options: Options = {}) {
  const facts = roles()
  const resource = make(options.maxLive, options.perObject)
  const passes = Permission.connection("passes", Effect.suspend(() => Effect.as(options.gate?.() ?? Effect.void, true)))
  const Book = Consumer.make("book", { path: "/ws/" }).pipe(
    Consumer.permitConnect(passes),
    Consumer.add(...Resource.routes(resource, "notes/"))
  )
  const users = CurrentUser.layer({
    authenticate: ({ query }) => {
      const name = String(query["user"])
      return Effect.sync(() => Authentication.authenticated({ name, roles: facts.get(name) ?? new Set() }))
    },
    refresh: ({ user: { name } }) =>
      Effect.sync(() => Authentication.authenticated({ name, roles: facts.get(name) ?? new Set() }))
  })
  const layer = options.layer ?? (yield* ChannelLayer.makeMemory)
  const built = yield* Layer.build(Notes.layerMemory(options.rows ?? seed))
  const rows = (options.repository ?? ((rows) => rows))(Context.get(built, Notes))
  const pipeline = yield* serve(
    [Book],
    Consumer.handlers(Book).pipe(Resource.handle(resource), Handlers.toLayer).pipe(
      Layer.provide([users, Layer.succeed(Notes, rows), Layer.succeed(ChannelLayer.ChannelLayer, layer)])
    ),
    options.limits
  )
  let ids = 0
  return {
    facts,
    rows,
    layer,
    connect: (user: string) => open(pipeline, `/ws/?user=${user}`, String(++ids)),
    become: (user: string, ...names: ReadonlyArray<string>) =>
      Effect.andThen(
        Effect.sync(() => facts.set(user, new Set(names))),
        Authority.invalidate(Authority.identity(CurrentUser, user))
      )
  }
})

/** What a client reads that has not read for a while. */
const drained = (client: Parameters<typeof all>[0]) =>
  Effect.gen(function*() {
    const frames: Array<Frame> = []
    for (let left = yield* all(client); left.length > 0; left = yield* all(client)) frames.push(...left)
    return frames
  })

const subscribe = (query = "", id: number | string = 1, route = "notes/") => ({
  action: "subscribe",
  route: `${route}${query}`,
  request_id: id
})
const all = (client: { readonly peer: { readonly take: Effect.Effect<string, unknown> } }) =>
  Effect.gen(function*() {
    const frames: Array<Frame> = []
    yield* settle
    while (true) {
      const frame = yield* Effect.raceFirst(
        Effect.orDie(client.peer.take),
        Effect.as(settle, undefined)
      )
      if (frame === undefined) return frames
      frames.push(JSON.parse(frame))
    }
  })
interface Frame {
  readonly status: number
  readonly request_id: unknown
  readonly errors: ReadonlyArray<{ readonly code?: string }>
  readonly data: Change
}
type Change =
  | { readonly type: "snapshot"; readonly results: ReadonlyArray<typeof Note.Encoded> }
  | { readonly type: "added" | "updated"; readonly object: typeof Note.Encoded }
  | { readonly type: "removed"; readonly key: number }
  | null

/** What a frame says, in a word. */
const brief = ({ data, errors, status }: Frame): string => {
  if (status >= 400) return `${status} ${errors[0]?.code}`
  if (data === null || status !== 206) return `${status}`
  switch (data.type) {
    case "snapshot":
      return `snapshot ${data.results.map(({ id, text }) => `${id}${text}`).join(" ")}`.trimEnd()
    case "removed":
      return `removed ${data.key}`
    default:
      return `${data.type} ${data.object.id}${data.object.text}`
  }
}
const news = (client: Parameters<typeof all>[0]) => Effect.map(all(client), (frames) => frames.map(brief))

describe("live queries", () => {
  it.effect("tell the objects that the client may see, and then what becomes of them", () =>
    Effect.gen(function*() {
      const { connect, rows } = yield* start()
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      const [first, ...others] = yield* all(alice)
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(first, {
        errors: [],
        data: { type: "snapshot", results: [{ ...seed[0] }, { ...seed[2] }] },
        action: "subscribe",
        route: "notes/",
        status: 206,
        request_id: 1
      } as never)
      yield* rows.insert({ text: "d", owner: "alice" })
      assert.deepStrictEqual(yield* news(alice), ["added 4d"])
      yield* rows.insert({ text: "e", owner: "bob" })
      assert.deepStrictEqual(yield* news(alice), [])
      yield* rows.update(4, { text: "D" })
      assert.deepStrictEqual(yield* news(alice), ["updated 4D"])
      // Out of what she may see, and into it.
      yield* rows.update(4, { owner: "bob" })
      assert.deepStrictEqual(yield* news(alice), ["removed 4"])
      yield* rows.update(5, { owner: "all" })
      assert.deepStrictEqual(yield* news(alice), ["added 5e"])
      yield* rows.remove(1)
      assert.deepStrictEqual(yield* news(alice), ["removed 1"])
      // What she never had is not missed.
      yield* rows.remove(2)
      assert.deepStrictEqual(yield* news(alice), [])
    }))

  it.effect("tell what clients write by the actions of the resource, once", () =>
    Effect.gen(function*() {
      const { connect } = yield* start()
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      yield* all(alice)
      yield* alice.send({
        action: "create",
        route: "notes/",
        data: { text: "new", owner: "alice" },
        request_id: 2
      })
      assert.deepStrictEqual(
        (yield* all(alice)).map(({ request_id, status }) => `${request_id} ${status}`).toSorted(),
        ["1 206", "2 201"]
      )
      yield* alice.send({ action: "partial_update", route: "notes/4/", data: { text: "newer" } })
      assert.include(yield* news(alice), "updated 4newer")
      yield* alice.send({ action: "destroy", route: "notes/4/" })
      assert.include(yield* news(alice), "removed 4")
    }))

  it.effect("are of what was asked for", () =>
    Effect.gen(function*() {
      const { become, connect, rows } = yield* start()
      yield* become("root", "admin")
      const root = yield* connect("root")
      yield* root.send(subscribe("?text__contains=x"))
      assert.deepStrictEqual(yield* news(root), ["snapshot"])
      yield* rows.update(1, { text: "ax" })
      yield* rows.update(2, { text: "bb" })
      assert.deepStrictEqual(yield* news(root), ["added 1ax"])
      yield* rows.update(1, { text: "a" })
      assert.deepStrictEqual(yield* news(root), ["removed 1"])
      yield* root.send(subscribe("?nothing=x", 2))
      assert.deepStrictEqual(yield* news(root), ["400 invalid"])
    }))

  it.effect("are of one object", () =>
    Effect.gen(function*() {
      const { connect, rows } = yield* start()
      const bob = yield* connect("bob")
      yield* bob.send(subscribe("", 1, "notes/2/"), subscribe("", 2, "notes/1/"), subscribe("", 3, "notes/9/"))
      assert.deepStrictEqual(yield* news(bob), ["snapshot 2b", "403 permission_denied", "404 not_found"])
      yield* rows.update(1, { text: "z" })
      yield* rows.update(2, { text: "y" })
      assert.deepStrictEqual(yield* news(bob), ["updated 2y"])
      yield* rows.update(2, { owner: "alice" })
      assert.deepStrictEqual(yield* news(bob), ["removed 2"])
      yield* rows.update(2, { owner: "bob", text: "x" })
      assert.deepStrictEqual(yield* news(bob), ["added 2x"])
    }))

  it.effect("are decided anew when the facts change", () =>
    Effect.gen(function*() {
      const { become, connect, rows } = yield* start()
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      assert.deepStrictEqual(yield* news(alice), ["snapshot 1a 3c"])
      yield* become("alice", "admin")
      assert.deepStrictEqual(yield* news(alice), ["added 2b"])
      yield* rows.update(2, { text: "B" })
      assert.deepStrictEqual(yield* news(alice), ["updated 2B"])
      yield* become("alice")
      assert.deepStrictEqual(yield* news(alice), ["removed 2"])
      yield* rows.update(2, { text: "BB" })
      assert.deepStrictEqual(yield* news(alice), [])
      yield* become("alice", "banned")
      assert.deepStrictEqual(yield* news(alice), ["403 permission_denied"])
      yield* rows.update(1, { text: "A" })
      assert.deepStrictEqual(yield* news(alice), [])
    }))

  it.effect("tell nothing by what no longer counts, also where it was found out before", () =>
    Effect.gen(function*() {
      const { become, connect, rows } = yield* start()
      yield* become("alice", "admin")
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      assert.deepStrictEqual(yield* news(alice), ["snapshot 1a 2b 3c"])
      // The news that she is no admin any more and a change come at once.
      yield* Effect.all([become("alice"), rows.update(2, { text: "secret" })], { concurrency: "unbounded" })
      const told = yield* news(alice)
      assert.isFalse(told.some((text) => text.includes("secret")), told.join(", "))
      assert.strictEqual(told.at(-1), "removed 2")
    }))

  it.effect("tell nothing while it is being decided anew what the client may see", () =>
    Effect.gen(function*() {
      let gate: Effect.Effect<void> = Effect.void
      const { become, connect, rows } = yield* start({ gate: () => gate })
      yield* become("alice", "admin")
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      assert.deepStrictEqual(yield* news(alice), ["snapshot 1a 2b 3c"])
      const latch = yield* Latch.make()
      gate = latch.await
      const becoming = yield* Effect.forkChild(become("alice"), { startImmediately: true })
      yield* settle
      yield* rows.update(2, { text: "secret" })
      yield* rows.update(3, { text: "C" })
      assert.deepStrictEqual(yield* news(alice), [])
      yield* latch.open
      yield* Fiber.join(becoming)
      assert.deepStrictEqual((yield* news(alice)).toSorted(), ["removed 2", "updated 3C"])
    }))

  it.effect("end when they are unsubscribed from", () =>
    Effect.gen(function*() {
      const { connect, rows } = yield* start()
      const bob = yield* connect("bob")
      yield* bob.send(subscribe("", 1), subscribe("?text__contains=b", 2), subscribe("", 3, "notes/2/"))
      assert.deepStrictEqual(yield* news(bob), ["snapshot 2b 3c", "snapshot 2b", "snapshot 2b"])
      yield* bob.send({ action: "unsubscribe", route: "notes/", data: { request_id: 2 }, request_id: "u" })
      assert.deepStrictEqual(
        (yield* all(bob)).map(({ request_id, status }) => `${request_id} ${status}`).toSorted(),
        ["2 200", "u 204"]
      )
      yield* rows.update(2, { text: "bb" })
      assert.deepStrictEqual((yield* all(bob)).map(({ request_id }) => request_id), [1, 3])
      // All of the route.
      yield* bob.send({ action: "unsubscribe", route: "notes/" })
      assert.deepStrictEqual((yield* news(bob)).toSorted(), ["200", "204"])
      yield* bob.send({ action: "unsubscribe", route: "notes/" })
      assert.deepStrictEqual(yield* news(bob), ["404 not_found"])
      yield* bob.send({ action: "$cancel", data: { request_id: 3 } })
      assert.deepStrictEqual((yield* news(bob)).toSorted(), ["200", "499 cancelled"])
      yield* bob.send({ action: "unsubscribe", route: "notes/2/" })
      assert.deepStrictEqual(yield* news(bob), ["404 not_found"])
    }))

  it.effect("are not of more objects than they may", () =>
    Effect.gen(function*() {
      const { become, connect, rows } = yield* start({ maxLive: 2 })
      yield* become("root", "admin")
      const root = yield* connect("root")
      const bob = yield* connect("bob")
      yield* root.send(subscribe())
      assert.deepStrictEqual(yield* news(root), ["400 invalid"])
      yield* bob.send(subscribe())
      assert.deepStrictEqual(yield* news(bob), ["snapshot 2b 3c"])
      yield* rows.insert({ text: "d", owner: "bob" })
      assert.deepStrictEqual(yield* news(bob), ["400 invalid"])
    }))

  it.effect("let go of the repository with their connection", () =>
    Effect.gen(function*() {
      let listeners = 0
      const { connect, rows } = yield* start({
        repository: (rows) => ({
          ...rows,
          hearsAll: true,
          changes: (listener) =>
            Effect.andThen(
              Effect.acquireRelease(Effect.sync(() => void listeners++), () => Effect.sync(() => void listeners--)),
              rows.changes(listener)
            )
        })
      })
      const [alice, bob] = [yield* connect("alice"), yield* connect("bob")]
      yield* alice.send(subscribe())
      yield* bob.send(subscribe(), subscribe("", 2))
      yield* settle
      assert.strictEqual(listeners, 1)
      yield* alice.leave
      yield* bob.send({ action: "unsubscribe", route: "notes/" })
      yield* settle
      assert.strictEqual(listeners, 0)
      // And begin again.
      yield* all(bob)
      yield* bob.send(subscribe())
      yield* rows.update(3, { text: "C" })
      assert.strictEqual((yield* news(bob)).at(-1), "updated 3C")
    }))

  it.effect("decide for each object where the permission is no filter", () =>
    Effect.gen(function*() {
      const { connect, rows } = yield* start({ perObject: true })
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      assert.deepStrictEqual(yield* news(alice), ["snapshot 1a 3c"])
      yield* rows.update(3, { owner: "bob" })
      assert.deepStrictEqual(yield* news(alice), ["removed 3"])
    }))

  it.effect("tell a client that reads slowly less often, and nothing that is older than what it knows", () =>
    Effect.gen(function*() {
      const { connect, rows } = yield* start({ limits: { maxUnsent: 2000 } })
      const alice = yield* connect("alice")
      const bob = yield* connect("bob")
      yield* alice.send(subscribe())
      yield* bob.send(subscribe())
      yield* all(bob)
      let told = 0
      for (let i = 1; i <= 300; i++) {
        yield* rows.update(3, { text: `c${i}` })
        told += (yield* all(bob)).length
      }
      assert.strictEqual(told, 300)
      const versions = (yield* drained(alice)).flatMap(({ data }) =>
        data?.type === "updated" ? [data.object.version] : []
      )
      assert.isAtLeast(versions.length, 2)
      assert.isAtMost(versions.length, 30)
      assert.deepStrictEqual(versions, versions.toSorted((a, b) => a - b))
      assert.strictEqual(versions.at(-1), 301)
    }))

  it.effect("compute for each client what is computed by who it is", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", {
        repository: Notes,
        actions: ["subscribe"],
        computed: { isMine: Schema.Boolean }
      })
      const Book = Consumer.make("book", { path: "/ws/" }).pipe(Consumer.add(...Resource.collection(resource)))
      const users = CurrentUser.layer(({ query }) =>
        Effect.succeed(Authentication.authenticated({ name: String(query["user"]), roles: new Set<string>() }))
      )
      const pipeline = yield* serve(
        [Book],
        Consumer.handlers(Book).pipe(
          Resource.handle(resource, {
            computed: { isMine: ({ owner }) => Effect.orDie(CurrentUser.use(({ name }) => name === owner)) }
          }),
          Handlers.toLayer,
          Layer.provide([users, Notes.layerMemory(seed.slice(0, 1)), ChannelLayer.layerMemory])
        )
      )
      for (const user of ["alice", "bob"]) {
        const client = yield* open(pipeline, `/ws/?user=${user}`, user)
        yield* client.send({ action: "subscribe" })
        const [{ data }] = (yield* all(client)) as [Frame]
        assert.deepStrictEqual((data as { readonly results: ReadonlyArray<unknown> }).results, [
          { ...seed[0], isMine: user === "alice" }
        ])
      }
    }))

  it.effect("read again what they could not read", () =>
    Effect.gen(function*() {
      let isBroken = false
      const { connect, rows } = yield* start({
        repository: (rows) => ({
          ...rows,
          select: (selection) =>
            isBroken ? Effect.fail(new ChannelError.Unavailable({ message: "away" })) : rows.select(selection)
        })
      })
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      yield* all(alice)
      isBroken = true
      yield* rows.update(1, { text: "A" })
      assert.deepStrictEqual(yield* news(alice), [])
      isBroken = false
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* news(alice), ["updated 1A"])
    }))

  it.effect("go on after a read that never ends", () =>
    Effect.gen(function*() {
      let isFrozen = false
      const { connect, rows } = yield* start({
        repository: (rows) => ({
          ...rows,
          select: (selection) => Effect.suspend(() => isFrozen ? Effect.never : rows.select(selection))
        })
      })
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      yield* all(alice)
      isFrozen = true
      yield* rows.update(1, { text: "A" })
      yield* TestClock.adjust("9 seconds")
      isFrozen = false
      assert.deepStrictEqual(yield* news(alice), [])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* news(alice), ["updated 1A"])
      // Nor does one have to wait for ever that begins.
      isFrozen = true
      yield* alice.send(subscribe("", 2))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* news(alice), ["503 unavailable"])
    }))

  it.effect("go on where a row cannot be read", () =>
    Effect.gen(function*() {
      const { connect, rows } = yield* start({
        repository: (rows) => ({
          ...rows,
          select: (selection) =>
            Effect.flatMap(rows.select(selection), (found) =>
              found.some(({ text }) => text === "misfit")
                ? Effect.die("a row does not fit")
                : Effect.succeed(found))
        })
      })
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      yield* all(alice)
      yield* rows.transaction(Effect.all([
        rows.update(1, { text: "A" }),
        rows.update(2, { text: "misfit" }),
        rows.update(3, { text: "misfit" })
      ]))
      assert.deepStrictEqual((yield* news(alice)).toSorted(), ["removed 3", "updated 1A"])
      yield* rows.update(3, { text: "fits" })
      assert.deepStrictEqual(yield* news(alice), ["added 3fits"])
    }))

  it.effect("say nothing of an object that is as it was", () =>
    Effect.gen(function*() {
      const told: Array<(change: Repository.Change<number>) => void> = []
      const { connect, rows } = yield* start({
        repository: (rows) => ({ ...rows, changes: (tell) => (told.push(tell), rows.changes(tell)) })
      })
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      yield* all(alice)
      const tellAll = (...keys: ReadonlyArray<number>) => told.forEach((tell) => tell({ _tag: "Written", keys }))
      tellAll(1, 2, 3, 4)
      assert.deepStrictEqual(yield* news(alice), [])
      yield* rows.update(1, { text: "A" })
      tellAll(1)
      assert.deepStrictEqual(yield* news(alice), ["updated 1A"])
    }))

  it.effect("wait with what is new while all is read again, which may be older", () =>
    Effect.gen(function*() {
      const told: Array<(change: Repository.Change<number>) => void> = []
      const latch = yield* Latch.make(true)
      let reads = 0
      const { connect, rows } = yield* start({
        repository: (rows) => ({
          ...rows,
          changes: (tell) => (told.push(tell), rows.changes(tell)),
          select: (selection) =>
            Effect.suspend(() =>
              ++reads === 2
                ? Effect.tap(rows.select(selection), latch.await)
                : rows.select(selection)
            )
        })
      })
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      yield* all(alice)
      yield* latch.close
      for (const tell of told) tell({ _tag: "Unknown" })
      yield* settle
      assert.strictEqual(reads, 2)
      yield* rows.update(1, { text: "A" })
      assert.deepStrictEqual(yield* news(alice), [])
      yield* latch.open
      assert.deepStrictEqual(yield* news(alice), ["updated 1A"])
    }))

  it.effect("ask a check that takes its time once for each change, after the first one", () =>
    Effect.gen(function*() {
      let asked = 0
      let isSlow = false
      const slow = Permission.object<Note>()("slow", ({ object }) =>
        Effect.suspend(() => {
          asked++
          return Effect.as(isSlow ? Effect.sleep("1 second") : Effect.void, object.owner === "alice")
        }))
      const resource = Resource.make("notes", { repository: Notes, actions: ["subscribe"], perObject: true }).pipe(
        Resource.permit(["retrieve"], slow)
      )
      const Book = Consumer.make("book", { path: "/ws/" }).pipe(Consumer.add(...Resource.collection(resource)))
      const built = yield* Layer.build(Notes.layerMemory(seed.slice(0, 1)))
      const rows = Context.get(built, Notes)
      const pipeline = yield* serve(
        [Book],
        Consumer.handlers(Book).pipe(
          Resource.handle(resource),
          Handlers.toLayer,
          Layer.provide([Layer.succeed(Notes, rows), ChannelLayer.layerMemory])
        )
      )
      const client = yield* open(pipeline)
      yield* client.send({ action: "subscribe" })
      assert.deepStrictEqual(yield* news(client), ["snapshot 1a"])
      const change = (text: string) =>
        Effect.gen(function*() {
          asked = 0
          yield* rows.update(1, { text })
          const before = yield* news(client)
          yield* TestClock.adjust("1 second")
          return [asked, ...before, "|", ...yield* news(client)]
        })
      assert.deepStrictEqual(yield* change("b"), [1, "updated 1b", "|"])
      isSlow = true
      assert.deepStrictEqual(yield* change("c"), [2, "|", "updated 1c"])
      assert.deepStrictEqual(yield* change("d"), [1, "|", "updated 1d"])
    }))

  it.effect("count the objects of a transaction when it is over", () =>
    Effect.gen(function*() {
      const { connect, rows } = yield* start({ maxLive: 2 })
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      yield* all(alice)
      yield* rows.transaction(Effect.andThen(rows.insert({ text: "d", owner: "alice" }), rows.remove(1)))
      assert.deepStrictEqual((yield* news(alice)).toSorted(), ["added 4d", "removed 1"])
    }))
})

describe("what others write", () => {
  it.effect("is told by the channel layer", () =>
    Effect.gen(function*() {
      const layer = yield* ChannelLayer.makeMemory
      const database = Context.get(yield* Layer.build(Notes.layerMemory(seed)), Notes)
      const here = yield* start({ layer, repository: () => processOf(database) })
      const there = yield* start({ layer, repository: () => processOf(database) })
      const alice = yield* here.connect("alice")
      yield* alice.send(subscribe())
      assert.deepStrictEqual(yield* news(alice), ["snapshot 1a 3c"])
      yield* there.rows.update(1, { text: "A" })
      yield* there.rows.insert({ text: "d", owner: "alice" })
      assert.deepStrictEqual((yield* news(alice)).toSorted(), ["added 4d", "updated 1A"])
      yield* here.rows.remove(1)
      assert.deepStrictEqual(yield* news(alice), ["removed 1"])
    }))

  it.effect("is told by a process that serves no live queries", () =>
    Effect.gen(function*() {
      const layer = yield* ChannelLayer.makeMemory
      const database = Context.get(yield* Layer.build(Notes.layerMemory(seed)), Notes)
      const here = yield* start({ layer, repository: () => processOf(database) })
      const worker = processOf(database)
      const scope = yield* Scope.make()
      yield* Resource.layerChanges(Notes).pipe(
        Layer.provide([Layer.succeed(Notes, worker), Layer.succeed(ChannelLayer.ChannelLayer, layer)]),
        Layer.build,
        Scope.provide(scope)
      )
      const alice = yield* here.connect("alice")
      yield* alice.send(subscribe())
      yield* all(alice)
      yield* worker.update(1, { text: "A" })
      assert.deepStrictEqual(yield* news(alice), ["updated 1A"])
      yield* Scope.close(scope, Exit.void)
      yield* worker.update(1, { text: "AA" })
      assert.deepStrictEqual(yield* news(alice), [])
    }))

  it.effect("is read again where it may have been missed", () =>
    Effect.gen(function*() {
      let isAway = false
      const listeners = new Set<(change: Repository.Change<number>) => void>()
      const database = Context.get(yield* Layer.build(Notes.layerMemory(seed)), Notes)
      const { connect } = yield* start({
        repository: () => ({
          ...database,
          select: (selection) =>
            isAway ? Effect.fail(new ChannelError.Unavailable({ message: "away" })) : database.select(selection),
          hearsAll: true,
          changes: (listener) => Effect.sync(() => void listeners.add(listener))
        })
      })
      const alice = yield* connect("alice")
      yield* alice.send(subscribe())
      yield* all(alice)
      yield* database.update(1, { text: "A" })
      yield* database.remove(3)
      yield* database.insert({ text: "d", owner: "alice" })
      assert.deepStrictEqual(yield* news(alice), [])
      // As long as it cannot be read, that waits.
      isAway = true
      listeners.forEach((tell) => tell({ _tag: "Unknown" }))
      assert.deepStrictEqual(yield* news(alice), [])
      isAway = false
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* news(alice), ["removed 3", "updated 1A", "added 4d"])
    }))
})

describe("a list", () => {
  const list = (id: number) => ({ action: "list", route: "notes/", request_id: id })
  const ids = (frames: ReadonlyArray<Frame>) =>
    frames.map(({ data, status }) => [
      status,
      ...(data as unknown as { readonly results?: ReadonlyArray<{ readonly id: number }> } | null)?.results?.map((
        { id }
      ) => id) ?? []
    ])

  for (const perObject of [false, true]) {
    it.effect(`is of what may be seen when it is answered, not when it was asked for (perObject: ${perObject})`, () =>
      Effect.gen(function*() {
        let gate: Effect.Effect<void> = Effect.void
        const { become, connect } = yield* start({
          perObject,
          repository: (rows) => ({
            ...rows,
            select: (selection) => Effect.tap(rows.select(selection), Effect.suspend(() => gate))
          })
        })
        yield* become("alice", "admin")
        const alice = yield* connect("alice")
        yield* alice.send(list(1))
        assert.deepStrictEqual(ids(yield* all(alice)), [[200, 1, 2, 3]])
        const latch = yield* Latch.make()
        gate = latch.await
        yield* alice.send(list(2))
        yield* settle
        yield* become("alice")
        yield* latch.open
        assert.deepStrictEqual(ids(yield* all(alice)), [[200, 1, 3]])
        yield* become("alice", "banned")
        yield* alice.send(list(3))
        assert.deepStrictEqual(ids(yield* all(alice)), [[403]])
      }))
  }

  it.effect("is limited by throttles as one message, and so is a live query", () =>
    Effect.gen(function*() {
      const resource = Resource.make("notes", { repository: Notes, actions: [...Resource.crud, "subscribe"] })
      const Book = Consumer.make("book", { path: "/ws/" }).pipe(
        Consumer.permit(Throttle.perConnection("messages", { limit: 3, window: "1 minute" })),
        Consumer.add(...Resource.routes(resource, "notes/"))
      )
      const live = yield* Layer.build(Layer.mergeAll(Notes.layerMemory(seed), ChannelLayer.layerMemory))
      const pipeline = yield* serve(
        [Book],
        Consumer.handlers(Book).pipe(
          Resource.handle(resource),
          Handlers.toLayer,
          Layer.provide(Layer.succeedContext(live))
        )
      )
      const client = yield* open(pipeline)
      yield* client.send(subscribe(), list(2))
      assert.deepStrictEqual(ids(yield* all(client)), [[206, 1, 2, 3], [200, 1, 2, 3]])
      const rows = Context.get(live, Notes)
      for (let i = 0; i < 5; i++) yield* rows.update(1, { text: `a${i}` })
      assert.strictEqual((yield* all(client)).length, 5)
      yield* client.send(list(3), list(4))
      assert.deepStrictEqual(ids(yield* all(client)), [[200, 1, 2, 3], [429]])
    }))
})

describe("between a snapshot and what follows", () => {
  const Step = Schema.Struct({
    kind: Schema.Literals(["insert", "update", "remove", "give", "wait", "read"]),
    key: Schema.Literals([1, 2, 3, 4, 5]),
    wait: Schema.Literals([1, 2, 5])
  })

  it.effect.prop(
    "nothing is missed, nor told of an older state, however slowly the database answers",
    { steps: Schema.Array(Step).check(Schema.isMaxLength(30)), slowness: Schema.Literals([0, 3, 7]) },
    ({ slowness, steps }) =>
      Effect.gen(function*() {
        let plain!: Notes["Service"]
        const { connect, rows } = yield* start({
          repository: (rows) => ({
            ...plain = rows,
            // What is read is read somewhere in the middle.
            select: (selection) =>
              slowness === 0 ? rows.select(selection) : Effect.sleep(slowness).pipe(
                Effect.andThen(rows.select(selection)),
                Effect.tap(Effect.sleep(slowness))
              )
          })
        })
        const alice = yield* connect("alice")
        yield* alice.send(subscribe())
        const known = new Map<number, typeof Note.Encoded>()
        const versions = new Map<number, number>()
        const take = Effect.gen(function*() {
          for (const { data, status } of yield* all(alice)) {
            assert.strictEqual(status, 206)
            const objects = data?.type === "snapshot" ? data.results : data?.type === "removed" ? [] : [data!.object]
            for (const object of objects) {
              assert.isAtLeast(object.version, versions.get(object.id) ?? 0, "an older state was told")
              versions.set(object.id, object.version)
              known.set(object.id, object)
            }
            if (data?.type === "removed") assert.isTrue(known.delete(data.key), "what was not there was removed")
          }
        })
        for (const { key, kind, wait } of steps) {
          if (kind === "insert") yield* rows.insert({ text: `n${key}`, owner: key % 2 === 0 ? "bob" : "alice" })
          if (kind === "update") yield* Effect.ignore(rows.update(key, { text: `u${wait}` }))
          if (kind === "give") yield* Effect.ignore(rows.update(key, { owner: wait === 1 ? "alice" : "bob" }))
          if (kind === "remove") yield* Effect.ignore(rows.remove(key))
          if (kind === "wait") yield* TestClock.adjust(wait)
          if (kind === "read") yield* take
        }
        yield* TestClock.adjust(10_000)
        yield* settle
        yield* take
        const expected = yield* plain.select({
          filter: Filter.or(note.eq("owner", "alice"), note.eq("owner", "all")),
          order: [{ field: "id", direction: "ascending" }]
        })
        assert.deepStrictEqual(
          Array.from(known.values()).toSorted((a, b) => a.id - b.id),
          expected.map((row) => ({ ...row }))
        )
      }),
    { arbitrary: { runs: 100 }, timeout: 20_000 }
  )
})
