import {
  Action,
  ChannelError,
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
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"

// ---- rows

class Note extends Schema.Class<Note>("Note")({
  id: Schema.Int,
  title: Schema.NonEmptyString,
  stars: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(3))),
  made: Schema.Date,
  tag: Schema.optionalKey(Schema.String)
}) {}
class Notes extends Repository.Service<Notes>()("test/Notes", { schema: Note, key: "id", unique: ["title"] }) {}

const made = new Date("2026-01-31T12:00:00.000Z")
const madeText = "2026-01-31T12:00:00.000Z"

const note = (id: number, fields?: Partial<typeof Note.Type>) =>
  new Note({ id, title: `title ${id}`, stars: id, made, ...fields })

const wire = (id: number, fields?: object) => ({ id, title: `title ${id}`, stars: id, made: madeText, ...fields })

const NoteResource = Resource.make("notes", { repository: Notes })
const Notebook = Consumer.make("notebook", { path: "/ws/" }).pipe(
  Consumer.add(...Resource.routes(NoteResource, "notes/"))
)
const NotebookLive = Consumer.handlers(Notebook).pipe(Resource.handle(NoteResource), Handlers.toLayer)

// ---- clients

/** A client that can say what its types would not let it. */
interface Speaker {
  readonly send: (...frames: ReadonlyArray<unknown>) => Effect.Effect<void>
  readonly receive: Effect.Effect<unknown, unknown>
}

/** Sends a request as it is; the reply as it came. */
const say = (client: Speaker, request: unknown): Effect.Effect<Reply.Reply> =>
  Effect.orDie(Effect.andThen(client.send(request), client.receive)) as Effect.Effect<Reply.Reply>

/** The status, the data and what is wrong. */
const brief = ({ data, errors, status }: Reply.Reply) =>
  errors.length === 0
    ? [status, data]
    : [status, ...(errors as ReadonlyArray<Reply.ReplyError>).map(({ code }) => code)]

/** Connects to what a layer serves. */
const connect = <A, E, R, E2>(
  connecting: Effect.Effect<A, E, R>,
  layer: Layer.Layer<Exclude<R, Scope.Scope>, E2>
) => Effect.flatMap(Layer.build(layer), (context) => Effect.provideContext(connecting, context))

/** Asks for an action as a client does; what matters of the reply. */
const asking = (client: Speaker) => (action: string, route: string, data?: unknown) =>
  Effect.map(say(client, { action, route, ...(data === undefined ? {} : { data }) }), brief)

const notebook = (rows: ReadonlyArray<Note> = [note(1), note(2)]) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Layer.provideMerge(NotebookLive, Notes.layerMemory(rows)))
    const client = yield* Effect.provideContext(Testing.connect(Notebook), context)
    const notes = Context.get(context, Notes)
    const ask = (action: string, route: string, data?: unknown) =>
      say(client, { action, route, ...(data === undefined ? {} : { data }) })
    return { client, notes, ask, all: notes.select({ filter: Filter.all, order: [order("id")] }) }
  })

const order = (field: string): Repository.Order => ({ field, direction: "ascending" })

describe("what its actions answer with", () => {
  it.effect("list: a page of objects", () =>
    Effect.gen(function*() {
      const { ask } = yield* notebook()
      assert.deepStrictEqual(yield* ask("list", "notes/"), {
        errors: [],
        data: { count: 2, next: null, previous: null, results: [wire(1), wire(2)] },
        action: "list",
        route: "notes/",
        status: 200
      })
    }))

  it.effect("create: the new object, with a key of the repository's", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* notebook()
      const data = { title: "new", stars: 5, made: madeText, tag: "x" }
      assert.deepStrictEqual(yield* ask("create", "notes/", data), {
        errors: [],
        data: { id: 3, ...data },
        action: "create",
        route: "notes/",
        status: 201
      })
      assert.deepStrictEqual((yield* all)[2], note(3, { title: "new", stars: 5, tag: "x" }))
    }))

  it.effect("retrieve: the object", () =>
    Effect.gen(function*() {
      const { ask } = yield* notebook()
      assert.deepStrictEqual(yield* ask("retrieve", "notes/2/"), {
        errors: [],
        data: wire(2),
        action: "retrieve",
        route: "notes/2/",
        status: 200
      })
    }))

  it.effect("update: the object as it is then", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* notebook()
      const data = { title: "other", stars: 9, made: madeText }
      assert.deepStrictEqual(yield* ask("update", "notes/2/", data), {
        errors: [],
        data: { id: 2, ...data },
        action: "update",
        route: "notes/2/",
        status: 200
      })
      assert.deepStrictEqual(yield* all, [note(1), note(2, { title: "other", stars: 9 })])
    }))

  it.effect("partial_update: the object as it is then", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* notebook()
      assert.deepStrictEqual(yield* ask("partial_update", "notes/2/", { stars: 9 }), {
        errors: [],
        data: wire(2, { stars: 9 }),
        action: "partial_update",
        route: "notes/2/",
        status: 200
      })
      assert.deepStrictEqual(yield* all, [note(1), note(2, { stars: 9 })])
    }))

  it.effect("destroy: nothing", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* notebook()
      assert.deepStrictEqual(yield* ask("destroy", "notes/2/"), {
        errors: [],
        data: null,
        action: "destroy",
        route: "notes/2/",
        status: 204
      })
      assert.deepStrictEqual(yield* all, [note(1)])
    }))

  for (const action of ["retrieve", "update", "partial_update", "destroy"]) {
    it.effect(`${action} of an object that is not there: 404`, () =>
      Effect.gen(function*() {
        const { all, ask } = yield* notebook()
        const message = "There is no such object in \"notes\""
        assert.deepStrictEqual(yield* ask(action, "notes/3/", { title: "t", stars: 1, made: madeText }), {
          errors: [{ detail: message, code: "not_found", error: { _tag: "NotFound", message } }],
          data: null,
          action,
          route: "notes/3/",
          status: 404
        })
        assert.lengthOf(yield* all, 2)
      }))
  }

  it.effect("404 where the route names no key", () =>
    Effect.gen(function*() {
      const { ask } = yield* notebook()
      for (const route of ["notes/one/", "notes/1.5/", "notes//", "notes/1", "notes/1/2/", "notes", "notes/NaN/"]) {
        const { errors, status } = yield* ask("retrieve", route)
        assert.deepStrictEqual([status, errors], [404, [
          { detail: `There is no route "${route}"`, code: "not_found" }
        ]])
      }
    }))

  const another = { title: "title 1", stars: 1, made: madeText }
  for (
    const [action, route, data] of [
      ["create", "notes/", another],
      ["update", "notes/2/", another],
      ["partial_update", "notes/2/", { title: "title 1" }]
    ] as const
  ) {
    it.effect(`${action} to what another one has: 409`, () =>
      Effect.gen(function*() {
        const { all, ask } = yield* notebook()
        const message = "Another row has the same title"
        assert.deepStrictEqual(yield* ask(action, route, data), {
          errors: [{ detail: message, code: "conflict", error: { _tag: "Conflict", message, fields: ["title"] } }],
          data: null,
          action,
          route,
          status: 409
        })
        assert.deepStrictEqual(yield* all, [note(1), note(2)])
      }))
  }

  it.effect("an update to what it has itself", () =>
    Effect.gen(function*() {
      const { ask } = yield* notebook()
      assert.deepStrictEqual(brief(yield* ask("update", "notes/1/", another)), [200, wire(1)])
      assert.deepStrictEqual(brief(yield* ask("partial_update", "notes/1/", { title: "title 1" })), [200, wire(1)])
    }))

  it.effect("400 where the data do not fit: all that is wrong, and nothing is written", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* notebook()
      const paths = (reply: Reply.Reply) =>
        (reply.errors as ReadonlyArray<Reply.ReplyError>).map(({ code, path }) => [code, path?.join(".")])
      const wrong = { title: "", stars: 1.5, made: "yesterday" }
      const expected = [["invalid", "data.title"], ["invalid", "data.stars"], ["invalid", "data.made"]]
      for (
        const [action, route] of [["create", "notes/"], ["update", "notes/1/"], ["partial_update", "notes/1/"]] as const
      ) {
        const reply = yield* ask(action, route, wrong)
        assert.strictEqual(reply.status, 400)
        assert.deepStrictEqual(paths(reply), expected)
        for (const data of [undefined, null, [], "text", 1]) {
          assert.deepStrictEqual(brief(yield* ask(action, route, data)), [400, "invalid"])
        }
      }
      assert.deepStrictEqual(paths(yield* ask("create", "notes/", {})), [["invalid", "data.title"], [
        "invalid",
        "data.made"
      ]])
      assert.deepStrictEqual(paths(yield* ask("update", "notes/1/", {})), [["invalid", "data.title"], [
        "invalid",
        "data.made"
      ]])
      assert.deepStrictEqual(yield* all, [note(1), note(2)])
    }))

  it.effect("data is what its schemas say, decoded, for a client that knows them", () =>
    Effect.gen(function*() {
      const { client } = yield* notebook()
      const listed = yield* client.ask("notes/", "list")
      assert.deepStrictEqual(listed.data?.results, [note(1), note(2)])
      const created = yield* client.ask("notes/", "create", { payload: { title: "new", stars: 1, made } })
      assert.deepStrictEqual(created.data, note(3, { title: "new", stars: 1 }))
      const updated = yield* client.ask("notes/:id/", "update", {
        params: { id: 1 },
        payload: { title: "other", made }
      })
      assert.deepStrictEqual(updated.data, note(1, { title: "other" }))
      const changed = yield* client.ask("notes/:id/", "partial_update", { params: { id: 1 }, payload: { stars: 7 } })
      assert.deepStrictEqual(changed.data, note(1, { title: "other", stars: 7 }))
      const found = yield* client.ask("notes/:id/", "retrieve", { params: { id: 1 } })
      assert.deepStrictEqual(found.data, changed.data)
      const gone = yield* client.ask("notes/:id/", "destroy", { params: { id: 1 } })
      assert.deepStrictEqual([gone.status, gone.data], [204, undefined])
    }))
})

describe("defaults", () => {
  it.effect("of create are those of the schema", () =>
    Effect.gen(function*() {
      const { ask } = yield* notebook([])
      assert.deepStrictEqual(
        brief(yield* ask("create", "notes/", { title: "t", made: madeText })),
        [201, { id: 1, title: "t", stars: 3, made: madeText }]
      )
    }))

  it.effect("do not overwrite anything: a field that has one, or may not be there, stays as it is where it is left out", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* notebook([note(1, { stars: 7, tag: "kept" })])
      const kept = { id: 1, title: "t", stars: 7, made: madeText, tag: "kept" }
      assert.deepStrictEqual(brief(yield* ask("update", "notes/1/", { title: "t", made: madeText })), [200, kept])
      assert.deepStrictEqual(brief(yield* ask("partial_update", "notes/1/", { title: "t" })), [200, kept])
      assert.deepStrictEqual(yield* all, [note(1, { title: "t", stars: 7, tag: "kept" })])
    }))

  it.effect("a partial update of nothing changes nothing", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* notebook()
      assert.deepStrictEqual(brief(yield* ask("partial_update", "notes/1/", {})), [200, wire(1)])
      assert.deepStrictEqual(yield* all, [note(1), note(2)])
    }))

  it.effect("a field that has one travels the same way in all actions", () =>
    Effect.gen(function*() {
      const Thing = Schema.Struct({
        id: Schema.Int,
        size: Schema.NumberFromString.pipe(Schema.withDecodingDefaultKey(Effect.succeed("1"))),
        width: Schema.NumberFromString.pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(2))),
        height: Schema.NumberFromString.pipe(Schema.withDecodingDefault(Effect.succeed("3"))),
        depth: Schema.NumberFromString.pipe(Schema.withDecodingDefaultType(Effect.succeed(4))),
        weight: Schema.optionalKey(Schema.NumberFromString),
        kind: Schema.Literals(["a", "b"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("a" as const)))
      })
      class Things extends Repository.Service<Things>()("test/Things", { schema: Thing, key: "id" }) {}
      const ThingResource = Resource.make("things", { repository: Things })
      const Box = Consumer.make("box", { path: "/ws/" }).pipe(
        Consumer.add(...Resource.routes(ThingResource, "things/"))
      )
      const BoxLive = Consumer.handlers(Box).pipe(Resource.handle(ThingResource), Handlers.toLayer)
      const client = yield* connect(Testing.connect(Box), Layer.provide(BoxLive, Things.layerMemory()))
      const ask = asking(client)
      const first = { id: 1, size: "1", width: "2", height: "3", depth: "4", kind: "a" }
      assert.deepStrictEqual(yield* ask("create", "things/", {}), [201, first])
      const data = { size: "10", width: "20", height: "30", depth: "40", weight: "50", kind: "b" }
      assert.deepStrictEqual(yield* ask("create", "things/", data), [201, { id: 2, ...data }])
      assert.deepStrictEqual(yield* ask("update", "things/1/", data), [200, { id: 1, ...data }])
      assert.deepStrictEqual(yield* ask("update", "things/1/", {}), [200, { id: 1, ...data }])
      for (const [name, value] of Object.entries(data)) {
        const other = value === "b" ? "a" : `${value}0`
        assert.deepStrictEqual(
          yield* ask("partial_update", "things/1/", { [name]: other }),
          [200, { id: 1, ...data, [name]: other }]
        )
        assert.deepStrictEqual(yield* ask("partial_update", "things/1/", { [name]: value }), [200, { id: 1, ...data }])
        assert.deepStrictEqual(yield* ask("partial_update", "things/1/", { [name]: 5 }), [400, "invalid"])
      }
    }))
})

describe("which actions it has", () => {
  type Crud = (typeof Resource.crud)[number]
  const handlers: ReadonlyArray<readonly [original: string, actions: ReadonlyArray<Crud>]> = [
    ["CreateAPIActionHandler", ["create"]],
    ["ListAPIActionHandler", ["list"]],
    ["RetrieveAPIActionHandler", ["retrieve"]],
    ["DestroyAPIActionHandler", ["destroy"]],
    ["UpdateAPIActionHandler", ["update", "partial_update"]],
    ["ListCreateAPIActionHandler", ["list", "create"]],
    ["RetrieveUpdateAPIActionHandler", ["retrieve", "update", "partial_update"]],
    ["RetrieveDestroyAPIActionHandler", ["retrieve", "destroy"]],
    ["RetrieveUpdateDestroyAPIActionHandler", ["retrieve", "update", "partial_update", "destroy"]],
    ["all of them", Resource.crud],
    ["none", []]
  ]
  const dataFor = (action: string) => ({ title: `of ${action}`, stars: 1, made: madeText })
  const requests: ReadonlyArray<readonly [action: Crud, isOfObject: boolean, status: number]> = [
    ["list", false, 200],
    ["create", false, 201],
    ["retrieve", true, 200],
    ["update", true, 200],
    ["partial_update", true, 200],
    ["destroy", true, 204]
  ]
  for (const [original, actions] of handlers) {
    const SomeResource = Resource.make("notes", { repository: Notes, actions })
    const has = (isOfObject: boolean) => requests.some((one) => one[1] === isOfObject && actions.includes(one[0]))
    /** Handles the resource where there is something of it: the types do not know which actions these are. */
    const liveOf = <Name extends string>(self: Handlers.Handlers<Name, unknown, never>, isThere: boolean) =>
      Handlers.toLayer(
        (isThere ? Resource.handle(SomeResource)(self as never) : self) as Handlers.Handlers<Name, never, Notes>
      )

    it.effect(`${original}, in routes: what is not chosen is not there`, () =>
      Effect.gen(function*() {
        const Some = Consumer.make("some", { path: "/ws/" }).pipe(
          Consumer.add(...Resource.routes(SomeResource, "notes/"))
        )
        const SomeLive = liveOf(Consumer.handlers(Some), has(false) || has(true))
        const client = yield* connect(Testing.connect(Some), Layer.provide(SomeLive, Notes.layerMemory([note(1)])))
        for (const [action, isOfObject, status] of requests) {
          const [found, code] = yield* asking(client)(action, isOfObject ? "notes/1/" : "notes/", dataFor(action))
          if (actions.includes(action)) assert.strictEqual(found, status)
          else if (has(isOfObject)) assert.deepStrictEqual([found, code], [405, "method_not_allowed"])
          else assert.deepStrictEqual([found, code], [404, "not_found"])
        }
        assert.deepStrictEqual(
          Some.members.map((member) => "path" in member ? member.path : ""),
          [...(has(false) ? ["notes/"] : []), ...(has(true) ? ["notes/:id/"] : [])]
        )
      }))

    it.effect(`${original}, as a consumer's own actions: what is not chosen is not there`, () =>
      Effect.gen(function*() {
        const All = Consumer.make("all", { path: "/ws/notes/" }).pipe(
          Consumer.add(...Resource.collection(SomeResource))
        )
        const One = Consumer.make("one", { path: "/ws/notes/:id/", params: Resource.params(SomeResource) }).pipe(
          Consumer.add(...Resource.object(SomeResource))
        )
        const live = Layer.mergeAll(
          liveOf(Consumer.handlers(All), has(false)),
          liveOf(Consumer.handlers(One), has(true))
        )
        const context = yield* Layer.build(Layer.provide(live, Notes.layerMemory([note(1)])))
        const all = yield* Effect.provideContext(Testing.connect(All), context)
        const one = yield* Effect.provideContext(Testing.connect(One, { params: { id: 1 } }), context)
        for (const [action, isOfObject, status] of requests) {
          const [found, code] = yield* asking(isOfObject ? one : all)(action, "", dataFor(action))
          if (actions.includes(action)) assert.strictEqual(found, status)
          else assert.deepStrictEqual([found, code], [405, "method_not_allowed"])
          assert.deepStrictEqual(yield* asking(isOfObject ? all : one)(action, "", dataFor(action)), [
            405,
            "method_not_allowed"
          ])
        }
      }))
  }

  it.effect("the key is in the path of the connection, under the name that it was given", () =>
    Effect.gen(function*() {
      const Named = Resource.make("notes", { repository: Notes, param: "pk" })
      const One = Consumer.make("one", { path: "/ws/:pk/", params: Resource.params(Named) }).pipe(
        Consumer.add(...Resource.object(Named))
      )
      const OneLive = Consumer.handlers(One).pipe(Resource.handle(Named), Handlers.toLayer)
      const context = yield* Layer.build(Layer.provide(OneLive, Notes.layerMemory([note(1), note(2)])))
      const open = (pk: number) => Effect.provideContext(Testing.connect(One, { params: { pk } }), context)
      assert.deepStrictEqual(yield* asking(yield* open(2))("retrieve", ""), [200, wire(2)])
      assert.deepStrictEqual(yield* asking(yield* open(3))("retrieve", ""), [404, "not_found"])
      const Routed = Consumer.make("routed", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(Named, "notes/")))
      const RoutedLive = Consumer.handlers(Routed).pipe(Resource.handle(Named), Handlers.toLayer)
      const client = yield* connect(Testing.connect(Routed), Layer.provide(RoutedLive, Notes.layerMemory([note(1)])))
      const answer = yield* client.ask("notes/:pk/", "retrieve", { params: { pk: 1 } })
      assert.deepStrictEqual(answer.data, note(1))
    }))

  it.effect("in several places, nested as routes are", () =>
    Effect.gen(function*() {
      const inner = Route.make("inner/:of/").pipe(Route.add(...Resource.routes(NoteResource, "notes/")))
      const Twice = Consumer.make("twice", { path: "/ws/" }).pipe(
        Consumer.add(...Resource.routes(NoteResource, "a/"), inner, ...Resource.collection(NoteResource))
      )
      const TwiceLive = Consumer.handlers(Twice).pipe(Resource.handle(NoteResource), Handlers.toLayer)
      const client = yield* connect(Testing.connect(Twice), Layer.provide(TwiceLive, Notes.layerMemory([note(1)])))
      const ask = asking(client)
      for (const route of ["a/1/", "inner/x/notes/1/"]) {
        assert.deepStrictEqual(yield* ask("retrieve", route), [200, wire(1)])
      }
      for (const route of ["a/", "inner/x/notes/", ""]) {
        assert.deepStrictEqual(yield* ask("list", route), page([wire(1)]))
      }
    }))
})

/** The reply of a list that is one page. */
const page = (results: ReadonlyArray<unknown>) => [200, { count: results.length, next: null, previous: null, results }]

describe("what a client can set", () => {
  const Row = Schema.Struct({
    id: Schema.Int,
    title: Schema.String,
    owner: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("nobody"))),
    secret: Schema.String,
    version: Schema.Int
  })
  class Rows extends Repository.Service<Rows>()("test/Rows", { schema: Row, key: "id", version: "version" }) {}
  const RowResource = Resource.make("rows", {
    repository: Rows,
    readOnly: ["owner"],
    writeOnly: ["secret"],
    computed: { length: Schema.Int, shout: Schema.String }
  })
  const Some = Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(RowResource, "rows/")))
  class Loud extends Context.Service<Loud, {
    readonly shout: (text: string) => Effect.Effect<string, ChannelError.Unavailable>
  }>()("test/Loud") {}
  const SomeLive = Consumer.handlers(Some).pipe(
    Resource.handle(RowResource, {
      computed: {
        length: ({ title }) => title.length,
        shout: ({ title }) => Loud.use(({ shout }) => shout(title))
      }
    }),
    Handlers.toLayer
  )
  const loud = Layer.succeed(Loud, {
    shout: (text) =>
      text === "hoarse"
        ? Effect.fail(new ChannelError.Unavailable({ message: "no voice" }))
        : Effect.succeed(text.toUpperCase())
  })
  const seed = { id: 1, title: "one", owner: "alice", secret: "s1", version: 4 }
  const serve = Effect.gen(function*() {
    const context = yield* Layer.build(
      SomeLive.pipe(Layer.provide(loud), Layer.provideMerge(Rows.layerMemory([seed])))
    )
    const client = yield* Effect.provideContext(Testing.connect(Some), context)
    const rows = Context.get(context, Rows)
    return { client, ask: asking(client), all: rows.select({ filter: Filter.all, order: [order("id")] }) }
  })
  const one = { id: 1, title: "one", owner: "alice", version: 4, length: 3, shout: "ONE" }

  it.effect("a client is sent what is not for writing only, and what is computed", () =>
    Effect.gen(function*() {
      const { ask, client } = yield* serve
      assert.deepStrictEqual(yield* ask("retrieve", "rows/1/"), [200, one])
      assert.deepStrictEqual(yield* ask("list", "rows/"), page([one]))
      const { data } = yield* client.ask("rows/:id/", "retrieve", { params: { id: 1 } })
      assert.deepStrictEqual(data, one)
    }))

  it.effect("what is computed, and cannot be, is what everything fails with that is to show it; nothing is written then", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* serve
      const before = yield* all
      assert.deepStrictEqual(yield* ask("create", "rows/", { title: "hoarse", secret: "s" }), [503, "unavailable"])
      assert.deepStrictEqual(yield* ask("partial_update", "rows/1/", { title: "hoarse" }), [503, "unavailable"])
      assert.deepStrictEqual(yield* all, before)
      const hoarse = yield* Layer.build(Rows.layerMemory([seed, { ...seed, id: 2, title: "hoarse" }]))
      const live = SomeLive.pipe(Layer.provide(loud), Layer.provide(Layer.succeedContext(hoarse)))
      const other = asking(yield* connect(Testing.connect(Some), live))
      assert.deepStrictEqual(yield* other("retrieve", "rows/2/"), [503, "unavailable"])
      assert.deepStrictEqual(yield* other("list", "rows/"), [503, "unavailable"])
      assert.deepStrictEqual(yield* other("retrieve", "rows/1/"), [200, one])
    }))

  it.effect("what is read only has the default that it is made with, and stays what it is", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* serve
      assert.deepStrictEqual(
        yield* ask("create", "rows/", { title: "two", secret: "s2" }),
        [201, { id: 2, title: "two", owner: "nobody", version: 1, length: 3, shout: "TWO" }]
      )
      assert.deepStrictEqual((yield* all)[1], { id: 2, title: "two", owner: "nobody", secret: "s2", version: 1 })
      assert.deepStrictEqual(
        yield* ask("update", "rows/1/", { title: "uno", secret: "s3", version: 4 }),
        [200, { ...one, title: "uno", version: 5, shout: "UNO" }]
      )
      assert.deepStrictEqual((yield* all)[0], { ...seed, title: "uno", secret: "s3", version: 5 })
      assert.deepStrictEqual(
        yield* ask("partial_update", "rows/1/", { title: "eins" }),
        [200, { ...one, title: "eins", version: 6, length: 4, shout: "EINS" }]
      )
      assert.deepStrictEqual((yield* all)[0], { ...seed, title: "eins", secret: "s3", version: 6 })
    }))

  const hostile = `"id":99,"owner":"mallory","length":9,"shout":"x","extra":1,"":1,"toString":"x","hasOwnProperty":1,` +
    `"constructor":{"prototype":{}},"__proto__":{"owner":"mallory","id":98,"polluted":true}`

  it.effect("whatever else is sent is as if it had not been", () =>
    Effect.gen(function*() {
      const { all, client } = yield* serve
      const send = (action: string, route: string, data: string) =>
        Effect.map(say(client, `{"action":"${action}","route":"${route}","data":{${data},${hostile}}}`), brief)
      assert.deepStrictEqual(
        yield* send("create", "rows/", `"title":"two","secret":"s2","version":7`),
        [201, { id: 2, title: "two", owner: "nobody", version: 1, length: 3, shout: "TWO" }]
      )
      assert.deepStrictEqual(
        yield* send("update", "rows/1/", `"title":"uno","secret":"s3","version":4`),
        [200, { ...one, title: "uno", version: 5, shout: "UNO" }]
      )
      assert.deepStrictEqual(
        yield* send("partial_update", "rows/1/", `"secret":"s4"`),
        [200, { ...one, title: "uno", version: 6, shout: "UNO" }]
      )
      const rows = yield* all
      assert.deepStrictEqual(rows, [
        { ...seed, title: "uno", secret: "s4", version: 6 },
        { id: 2, title: "two", owner: "nobody", secret: "s2", version: 1 }
      ])
      for (const row of rows) {
        assert.deepStrictEqual(Object.keys(row).sort(), ["id", "owner", "secret", "title", "version"])
        assert.strictEqual(Object.getPrototypeOf(row), Object.prototype)
      }
      assert.isFalse("polluted" in {})
    }))

  it.effect("not by the other keys of the message either", () =>
    Effect.gen(function*() {
      const { all, client } = yield* serve
      const others = { title: "x", secret: "x", partial: false, id: 2, pk: 2, version: 1 }
      const request = { action: "partial_update", route: "rows/1/", data: {}, ...others }
      assert.deepStrictEqual(brief(yield* say(client, request)), [200, { ...one, version: 5 }])
      assert.deepStrictEqual(yield* all, [{ ...seed, version: 5 }])
    }))
})

describe("versions", () => {
  const Row = Schema.Struct({ id: Schema.Int, title: Schema.String, version: Schema.Int })
  class Rows extends Repository.Service<Rows>()("test/Rows", { schema: Row, key: "id", version: "version" }) {}
  const RowResource = Resource.make("rows", { repository: Rows })
  const Some = Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(RowResource, "rows/")))
  const SomeLive = Consumer.handlers(Some).pipe(Resource.handle(RowResource), Handlers.toLayer)
  const open = connect(
    Testing.connect(Some),
    Layer.provide(SomeLive, Rows.layerMemory([{ id: 1, title: "one", version: 3 }]))
  )
  const serve = Effect.map(open, asking)
  const row = (title: string, version: number) => ({ id: 1, title, version })

  it.effect("begin with 1", () =>
    Effect.gen(function*() {
      const ask = yield* serve
      assert.deepStrictEqual(
        yield* ask("create", "rows/", { title: "two" }),
        [201, { id: 2, title: "two", version: 1 }]
      )
    }))

  it.effect("an update says which one it knows", () =>
    Effect.gen(function*() {
      const ask = yield* serve
      assert.deepStrictEqual(yield* ask("update", "rows/1/", { title: "x" }), [400, "invalid"])
      assert.deepStrictEqual(yield* ask("update", "rows/1/", { title: "x", version: 2 }), [409, "stale_version"])
      assert.deepStrictEqual(yield* ask("update", "rows/1/", { title: "x", version: 4 }), [409, "stale_version"])
      assert.deepStrictEqual(yield* ask("update", "rows/1/", { title: "x", version: "3" }), [400, "invalid"])
      assert.deepStrictEqual(yield* ask("retrieve", "rows/1/"), [200, row("one", 3)])
      assert.deepStrictEqual(yield* ask("update", "rows/1/", { title: "x", version: 3 }), [200, row("x", 4)])
      assert.deepStrictEqual(yield* ask("update", "rows/1/", { title: "y", version: 3 }), [409, "stale_version"])
    }))

  it.effect("a partial update may say so", () =>
    Effect.gen(function*() {
      const ask = yield* serve
      const change = (data: object) => ask("partial_update", "rows/1/", data)
      assert.deepStrictEqual(yield* change({ title: "x", version: 2 }), [409, "stale_version"])
      assert.deepStrictEqual(yield* change({ version: 2 }), [409, "stale_version"])
      assert.deepStrictEqual(yield* change({ title: "x", version: 3 }), [200, row("x", 4)])
      assert.deepStrictEqual(yield* change({ title: "y" }), [200, row("y", 5)])
      assert.deepStrictEqual(yield* change({ title: "y", version: null }), [400, "invalid"])
    }))

  it.effect("a stale one is an error of the action", () =>
    Effect.gen(function*() {
      const client = yield* open
      const payload = { title: "x", version: 1 }
      const { errors } = yield* client.ask("rows/:id/", "update", { params: { id: 1 }, payload })
      const message = "The row has been changed meanwhile"
      assert.deepEqual(errors, [{ detail: message, code: "stale_version", error: { _tag: "StaleVersion", message } }])
    }))
})

describe("models", () => {
  const Id = Schema.Int.pipe(Schema.brand("PostId"))
  class Post extends Model.Class<Post>("Post")({
    id: Model.GeneratedByDb(Id),
    title: Schema.String,
    stars: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(0))),
    note: Model.FieldOption(Schema.String),
    due: Model.FieldOption(Schema.Date),
    done: Model.BooleanSqlite,
    made: Model.DateTimeInsert,
    changed: Model.DateTimeUpdate,
    seen: Model.DateTimeInsertFromDate
  }) {}
  class Posts extends Repository.Service<Posts>()("test/Posts", { schema: Post, key: "id" }) {}
  const PostResource = Resource.make("posts", {
    repository: Posts,
    filters: { note: ["exact", "isnull"], done: ["exact"] }
  })
  const Blog = Consumer.make("blog", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(PostResource, "posts/")))
  const BlogLive = Consumer.handlers(Blog).pipe(Resource.handle(PostResource), Handlers.toLayer)
  const serve = Effect.gen(function*() {
    const context = yield* Layer.build(Layer.provideMerge(BlogLive, Posts.layerMemory()))
    const client = yield* Effect.provideContext(Testing.connect(Blog), context)
    const posts = Context.get(context, Posts)
    return { client, ask: asking(client), all: posts.select({ filter: Filter.all, order: [order("id")] }) }
  })
  const at = (second: number) => new Date(second * 1000).toISOString()
  const fresh = { id: 1, title: "t", stars: 2, done: true, made: at(0), changed: at(0), seen: at(0) }
  const sent = { title: "t", stars: 2, done: true }

  it.effect("a client is sent their JSON, and their times are those of the clock", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* serve
      assert.deepStrictEqual(yield* ask("create", "posts/", sent), [201, fresh])
      const [post] = yield* all
      assert.instanceOf(post, Post)
      assert.deepStrictEqual([post!.note, post!.due, post!.done], [Option.none(), Option.none(), true])
      assert.isTrue(DateTime.isDateTime(post!.seen))
    }))

  it.effect("a client cannot set what they do not let it set", () =>
    Effect.gen(function*() {
      const { ask } = yield* serve
      const hostile = { id: 9, made: at(9), changed: at(9), seen: at(9) }
      assert.deepStrictEqual(yield* ask("create", "posts/", { ...sent, ...hostile }), [201, fresh])
      assert.deepStrictEqual(yield* ask("update", "posts/1/", { ...sent, ...hostile }), [200, fresh])
      assert.deepStrictEqual(yield* ask("partial_update", "posts/1/", hostile), [200, fresh])
    }))

  it.effect("a change has its time, and keeps what is not changed", () =>
    Effect.gen(function*() {
      const { ask } = yield* serve
      yield* ask("create", "posts/", { ...sent, note: "n" })
      yield* TestClock.adjust("5 seconds")
      const first = { ...fresh, note: "n", title: "u", changed: at(5) }
      assert.deepStrictEqual(yield* ask("partial_update", "posts/1/", { title: "u" }), [200, first])
      yield* TestClock.adjust("5 seconds")
      const second = { ...first, title: "v", stars: 3, done: false, changed: at(10) }
      assert.deepStrictEqual(
        yield* ask("update", "posts/1/", { title: "v", stars: 3, done: false }),
        [200, second]
      )
      assert.deepStrictEqual(yield* ask("retrieve", "posts/1/"), [200, second])
    }))

  it.effect("an optional field: a value, null, or nothing, in each action", () =>
    Effect.gen(function*() {
      const { all, ask } = yield* serve
      const noteOf = Effect.map(all, (posts) => posts.at(-1)!.note)
      const due = "2026-02-01T00:00:00.000Z"
      const full = { note: "n", due }
      assert.deepStrictEqual(yield* ask("create", "posts/", { ...sent, ...full }), [201, { ...fresh, ...full }])
      assert.deepStrictEqual((yield* all)[0]!.due, Option.some(new Date(due)))
      assert.deepStrictEqual(yield* ask("create", "posts/", { ...sent, note: null }), [201, { ...fresh, id: 2 }])
      assert.deepStrictEqual(yield* noteOf, Option.none())
      const some = { ...fresh, id: 3, note: "n" }
      assert.deepStrictEqual(yield* ask("create", "posts/", { ...sent, note: "n" }), [201, some])
      const none = { ...fresh, id: 3 }
      for (const [action, rest] of [["update", sent], ["partial_update", {}]] as const) {
        assert.deepStrictEqual(yield* ask(action, "posts/3/", { ...rest }), [200, some])
        assert.deepStrictEqual(yield* ask(action, "posts/3/", { ...rest, note: null }), [200, none])
        assert.deepStrictEqual(yield* noteOf, Option.none())
        assert.deepStrictEqual(yield* ask(action, "posts/3/", { ...rest }), [200, none])
        assert.deepStrictEqual(yield* ask(action, "posts/3/", { ...rest, note: "n" }), [200, some])
        assert.deepStrictEqual(yield* noteOf, Option.some("n"))
        assert.deepStrictEqual(yield* ask(action, "posts/3/", { ...rest, note: 1 }), [400, "invalid"])
      }
    }))

  it.effect("are compared as clients see them", () =>
    Effect.gen(function*() {
      const { client } = yield* serve
      const ask = asking(client)
      yield* ask("create", "posts/", { ...sent, note: "n" })
      yield* ask("create", "posts/", { ...sent, done: false })
      const ids = (query: string) =>
        Effect.map(client.ask("posts/", "list", { query }), ({ data }) => data?.results.map(({ id }) => Number(id)))
      assert.deepStrictEqual(yield* ids("done=true"), [1])
      assert.deepStrictEqual(yield* ids("done=false"), [2])
      assert.deepStrictEqual(yield* ids("note=n"), [1])
      assert.deepStrictEqual(yield* ids("note__isnull=true"), [2])
    }))

  it.effect("their data, decoded, are those of their JSON", () =>
    Effect.gen(function*() {
      const { client } = yield* serve
      const payload = { ...sent, note: Option.some("n"), due: Option.none() }
      const created = yield* client.ask("posts/", "create", { payload })
      assert.deepStrictEqual(created.data?.note, Option.some("n"))
      assert.deepStrictEqual(created.data?.due, Option.none())
      const params = { id: Id.make(1) }
      const less = yield* client.ask("posts/:id/", "partial_update", { params, payload: { note: Option.none() } })
      assert.deepStrictEqual(less.data?.note, Option.none())
      const more = { ...sent, note: Option.some("m") }
      const again = yield* client.ask("posts/:id/", "update", { params, payload: more })
      assert.deepStrictEqual(again.data?.note, Option.some("m"))
    }))

  it.effect("what is sensitive is not sent, and given by the application", () =>
    Effect.gen(function*() {
      class Account extends Model.Class<Account>("Account")({
        id: Model.GeneratedByDb(Schema.Int),
        name: Schema.String,
        hash: Model.Sensitive(Schema.String)
      }) {}
      class Accounts extends Repository.Service<Accounts>()("test/Accounts", { schema: Account, key: "id" }) {}
      const AccountResource = Resource.make("accounts", { repository: Accounts })
      const Bank = Consumer.make("bank", { path: "/ws/" }).pipe(
        Consumer.add(...Resource.routes(AccountResource, "accounts/"))
      )
      const BankLive = Consumer.handlers(Bank).pipe(
        Resource.handle(AccountResource, {
          create: ({ payload }, insert) => insert({ ...payload, hash: "secret" })
        }),
        Handlers.toLayer
      )
      const context = yield* Layer.build(Layer.provideMerge(BankLive, Accounts.layerMemory()))
      const ask = asking(yield* Effect.provideContext(Testing.connect(Bank), context))
      const account = (name: string) => ({ id: 1, name })
      assert.deepStrictEqual(yield* ask("create", "accounts/", { name: "n", hash: "mine" }), [201, account("n")])
      assert.deepStrictEqual(yield* ask("update", "accounts/1/", { name: "m", hash: "mine" }), [200, account("m")])
      assert.deepStrictEqual(yield* ask("partial_update", "accounts/1/", { hash: "mine" }), [200, account("m")])
      assert.deepStrictEqual(yield* ask("list", "accounts/"), page([account("m")]))
      const [row] = yield* Context.get(context, Accounts).select({ filter: Filter.all, order: [] })
      assert.strictEqual(row?.hash, "secret")
    }))

  it.effect("with a version", () =>
    Effect.gen(function*() {
      class Doc extends Model.Class<Doc>("Doc")({
        id: Model.GeneratedByApp(Schema.String),
        text: Schema.String,
        version: Model.GeneratedByDb(Schema.Int)
      }) {}
      class Docs extends Repository.Service<Docs>()("test/Docs", { schema: Doc, key: "id", version: "version" }) {}
      const DocResource = Resource.make("docs", { repository: Docs })
      const Shelf = Consumer.make("shelf", { path: "/ws/" }).pipe(
        Consumer.add(...Resource.routes(DocResource, "docs/"))
      )
      const ShelfLive = Consumer.handlers(Shelf).pipe(
        Resource.handle(DocResource, {
          create: ({ payload }, insert) => insert({ ...payload, id: `id of ${payload.text}` })
        }),
        Handlers.toLayer
      )
      const ask = asking(yield* connect(Testing.connect(Shelf), Layer.provide(ShelfLive, Docs.layerMemory())))
      const doc = (text: string, version: number) => ({ id: "id of a", text, version })
      assert.deepStrictEqual(yield* ask("create", "docs/", { text: "a" }), [201, doc("a", 1)])
      const route = "docs/id%20of%20a/"
      assert.deepStrictEqual(yield* ask("update", route, { text: "b" }), [400, "invalid"])
      assert.deepStrictEqual(yield* ask("update", route, { text: "b", version: 1 }), [200, doc("b", 2)])
      assert.deepStrictEqual(yield* ask("update", route, { text: "c", version: 1 }), [409, "stale_version"])
      assert.deepStrictEqual(yield* ask("partial_update", route, { text: "c" }), [200, doc("c", 3)])
    }))
})

describe("what a repository is asked for", () => {
  class Post extends Model.Class<Post>("AskedPost")({
    id: Model.GeneratedByDb(Schema.Int),
    title: Schema.String,
    stars: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(3))),
    changed: Model.DateTimeUpdate,
    version: Model.GeneratedByDb(Schema.Int)
  }) {}
  class Posts extends Repository.Service<Posts>()("test/AskedPosts", { schema: Post, key: "id", version: "version" }) {}
  const PostResource = Resource.make("posts", { repository: Posts, readOnly: ["stars"] })
  const Blog = Consumer.make("blog", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(PostResource, "posts/")))
  const BlogLive = Consumer.handlers(Blog).pipe(Resource.handle(PostResource), Handlers.toLayer)

  /** A repository that does nothing but what another one does, and notes what it was asked for. */
  const serve = Effect.gen(function*() {
    const asked: Array<ReadonlyArray<unknown>> = []
    const epoch = DateTime.makeUnsafe(0)
    const first = new Post({ id: 1, title: "one", stars: 5, changed: epoch, version: 4 })
    const memory = Context.get(yield* Layer.build(Posts.layerMemory([first])), Posts)
    const noted = <A extends ReadonlyArray<unknown>, B>(name: string, f: (...args: A) => B) => (...args: A): B => {
      asked.push([name, ...args])
      return f(...args)
    }
    const layer = Layer.succeed(Posts, {
      ...memory,
      find: noted("find", memory.find),
      insert: noted("insert", memory.insert),
      update: noted("update", memory.update),
      remove: noted("remove", memory.remove),
      transaction: (effect) => {
        asked.push(["begin"])
        return Effect.ensuring(memory.transaction(effect), Effect.sync(() => asked.push(["end"])))
      }
    })
    const client = yield* connect(Testing.connect(Blog), Layer.provide(BlogLive, layer))
    return { ask: asking(client), asked, epoch }
  })

  it.effect("a new row with its defaults, and nothing that it generates", () =>
    Effect.gen(function*() {
      const { ask, asked, epoch } = yield* serve
      yield* ask("create", "posts/", { title: "two" })
      assert.deepEqual(asked, [["begin"], ["insert", { title: "two", stars: 3, changed: epoch }, { last: true }], [
        "end"
      ]])
    }))

  it.effect("no more changes than there are, but those that come with each of them, and the version that was known", () =>
    Effect.gen(function*() {
      const { ask, asked, epoch } = yield* serve
      yield* ask("partial_update", "posts/1/", { title: "uno" })
      yield* ask("update", "posts/1/", { title: "eins", version: 5 })
      yield* ask("partial_update", "posts/1/", { version: 6 })
      const update = (changes: object, version: number | undefined) => [
        ["begin"],
        ["find", 1, { lock: true }],
        ["update", 1, { ...changes, changed: epoch }, { version, last: true }],
        ["end"]
      ]
      assert.deepEqual(asked, [
        ...update({ title: "uno" }, undefined),
        ...update({ title: "eins" }, 5),
        ...update({}, 6)
      ])
    }))

  it.effect("a row that is only looked at without a lock, and without a transaction", () =>
    Effect.gen(function*() {
      const { ask, asked } = yield* serve
      yield* ask("retrieve", "posts/1/")
      assert.deepEqual(asked.splice(0), [["find", 1, { lock: false }]])
      yield* ask("destroy", "posts/1/")
      assert.deepEqual(asked, [["begin"], ["find", 1, { lock: true }], ["remove", 1, { last: true }], ["end"]])
    }))
})

describe("keys", () => {
  type Key = Schema.Codec<string | number | bigint>
  const serve = (key: Key, keys: ReadonlyArray<string | number | bigint>) => {
    const Row = Schema.Struct({ id: key, title: Schema.String })
    class Rows extends Repository.Service<Rows>()("test/Rows", { schema: Row, key: "id", generated: [] }) {}
    const RowResource = Resource.make("rows", { repository: Rows, pagination: Pagination.none() })
    const Some = Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(RowResource, "rows/")))
    const SomeLive = Consumer.handlers(Some).pipe(Resource.handle(RowResource), Handlers.toLayer)
    const rows = keys.map((id) => ({ id, title: `title of ${id}` }))
    return connect(Testing.connect(Some), Layer.provide(SomeLive, Rows.layerMemory(rows)))
  }
  const uuid = "6f1a0a2e-3f0e-4c0b-9a51-6a5a3c2b1d00"
  const cases: ReadonlyArray<{
    readonly kind: string
    readonly key: Schema.Constraint
    /** By what stands for them in a route. */
    readonly keys: Readonly<Record<string, string | number | bigint>>
    readonly missing: ReadonlyArray<string>
  }> = [
    {
      kind: "whole numbers",
      key: Schema.Int,
      keys: { "0": 0, "1": 1, "-7": -7 },
      missing: ["2", "1.5", "one", "true", "NaN", "Infinity"]
    },
    {
      kind: "text",
      key: Schema.String,
      keys: {
        a: "a",
        "a%20b": "a b",
        "%C3%A4%2F%C3%B6": "ä/ö",
        "%3F%23": "?#",
        "..": "..",
        "%5F_proto__": "__proto__"
      },
      missing: ["b", "A", "a%20", "constructor", "toString"]
    },
    {
      kind: "uuids",
      key: Schema.String.check(Schema.isUUID()),
      keys: { [uuid]: uuid },
      missing: [`${uuid.slice(0, -1)}1`, uuid.slice(1), "1"]
    },
    { kind: "branded numbers", key: Schema.Int.pipe(Schema.brand("RowId")), keys: { "1": 1 }, missing: ["2", "x"] },
    { kind: "literals", key: Schema.Literals(["open", "done"]), keys: { open: "open" }, missing: ["done", "x"] },
    {
      kind: "bigints",
      key: Schema.BigInt,
      keys: { "1": 1n, "9007199254740993": 9007199254740993n },
      missing: ["9007199254740992", "x", "1.5", "1n"]
    }
  ]
  for (const { key, keys, kind, missing } of cases) {
    it.effect(kind, () =>
      Effect.gen(function*() {
        const ask = asking(yield* serve(key as Key, Object.values(keys)))
        const json = (id: unknown) => typeof id === "bigint" ? String(id) : id
        for (const segment of missing) {
          assert.deepStrictEqual(yield* ask("retrieve", `rows/${segment}/`), [404, "not_found"])
        }
        for (const [segment, id] of Object.entries(keys)) {
          const row = { id: json(id), title: `title of ${id}` }
          assert.deepStrictEqual(yield* ask("retrieve", `rows/${segment}/`), [200, row])
          const data = { id: json(id), title: "changed" }
          assert.deepStrictEqual(yield* ask("partial_update", `rows/${segment}/`, data), [200, data])
        }
        const [status, rows] = yield* ask("list", "rows/")
        assert.strictEqual(status, 200)
        const all = Object.values(keys).map((id) => ({ id: json(id), title: "changed" }))
        assert.sameDeepMembers(rows as Array<unknown>, all)
        for (const segment of Object.keys(keys)) {
          assert.deepStrictEqual(yield* ask("destroy", `rows/${segment}/`), [204, null])
          assert.deepStrictEqual(yield* ask("retrieve", `rows/${segment}/`), [404, "not_found"])
        }
      }))
  }

  it.effect("that clients choose: two of one name are a conflict", () =>
    Effect.gen(function*() {
      const ask = asking(yield* serve(Schema.String as Key, ["a"]))
      assert.deepStrictEqual(yield* ask("create", "rows/", { id: "a", title: "t" }), [409, "conflict"])
      assert.deepStrictEqual(yield* ask("create", "rows/", { id: "b", title: "t" }), [201, { id: "b", title: "t" }])
      assert.deepStrictEqual(yield* ask("partial_update", "rows/b/", { id: "a" }), [409, "conflict"])
      assert.deepStrictEqual(yield* ask("partial_update", "rows/b/", { id: "c" }), [200, { id: "c", title: "t" }])
      assert.deepStrictEqual(yield* ask("retrieve", "rows/b/"), [404, "not_found"])
    }))
})

// ---- tasks of projects

class Task extends Schema.Class<Task>("Task")({
  id: Schema.Int,
  project: Schema.String,
  title: Schema.String,
  owner: Schema.String
}) {}
class Tasks extends Repository.Service<Tasks>()("test/Tasks", { schema: Task, key: "id", unique: ["title"] }) {}

const task = Filter.fields<Task>()
const taskOf = (id: number, project: string, fields?: Partial<typeof Task.Type>) =>
  new Task({ id, project, title: `title ${id}`, owner: "alice", ...fields })

const TaskResource = Resource.make("tasks", {
  repository: Tasks,
  actions: Resource.crud,
  readOnly: ["project", "owner"],
  pagination: Pagination.none()
})
const Board = Consumer.make("board", { path: "/ws/:project/" }).pipe(
  Consumer.add(...Resource.routes(TaskResource, "tasks/"))
)

/** What is in the repository, in order. */
const stored = Effect.flatMap(Tasks, (tasks) => tasks.select({ filter: Filter.all, order: [order("id")] }))

/** A client of the board of a project, and what is stored. */
const board = <R>(
  live: Layer.Layer<Handlers.Live<"board">, Handlers.DefinitionError, R>,
  rows: ReadonlyArray<Task> = [taskOf(1, "a"), taskOf(2, "b"), taskOf(3, "a")]
) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Layer.provideMerge(live, Tasks.layerMemory(rows)))
    const client = yield* Effect.provideContext(Testing.connect(Board, { params: { project: "a" } }), context)
    return { ask: asking(client), all: Effect.provideContext(stored, context) }
  })

describe("which rows there are for a request", () => {
  class Directory extends Context.Service<Directory, {
    readonly projects: Effect.Effect<ReadonlyArray<string>, ChannelError.Unavailable>
  }>()("test/Directory") {}

  const handling = {
    create: (
      { params, payload }: {
        readonly params: { readonly project: string }
        readonly payload: { readonly title: string }
      },
      insert: (row: Omit<typeof Task.Type, "id">) => Effect.Effect<Task, Repository.Conflict | ChannelError.Unavailable>
    ) => insert({ ...payload, project: params.project, owner: "bob" })
  }
  const plain = Consumer.handlers(Board).pipe(
    Resource.handle(TaskResource, { ...handling, rows: ({ params }) => task.eq("project", params.project) }),
    Handlers.toLayer
  )
  const effectful = Consumer.handlers(Board).pipe(
    Resource.handle(TaskResource, {
      ...handling,
      rows: ({ params }) =>
        Directory.use(({ projects }) =>
          Effect.map(
            projects,
            (projects) => projects.includes(params.project) ? task.eq("project", params.project) : Filter.none
          )
        )
    }),
    Handlers.toLayer
  )
  const directory = (projects: Effect.Effect<ReadonlyArray<string>, ChannelError.Unavailable>) =>
    Layer.succeed(Directory, { projects })

  for (
    const [how, live] of [["said at once", plain], [
      "found out",
      Layer.provide(effectful, directory(Effect.succeed(["a"])))
    ]] as const
  ) {
    it.effect(`${how}: what is outside of it is not there, for any action`, () =>
      Effect.gen(function*() {
        const { all, ask } = yield* board(live)
        const before = yield* all
        for (const action of ["retrieve", "update", "partial_update", "destroy"]) {
          const outside = yield* ask(action, "tasks/2/", { title: "x" })
          assert.deepStrictEqual(outside, yield* ask(action, "tasks/99/", { title: "x" }))
          assert.deepStrictEqual(outside, [404, "not_found"])
        }
        assert.deepStrictEqual(yield* all, before)
        const json = (id: number) => ({ ...taskOf(id, "a") })
        assert.deepStrictEqual(yield* ask("list", "tasks/"), [200, [json(1), json(3)]])
        assert.deepStrictEqual(yield* ask("retrieve", "tasks/3/"), [200, json(3)])
        assert.deepStrictEqual(
          yield* ask("create", "tasks/", { title: "new", project: "b", owner: "eve" }),
          [201, { id: 4, title: "new", project: "a", owner: "bob" }]
        )
        assert.deepStrictEqual(yield* ask("update", "tasks/1/", { title: "u", project: "b" }), [200, {
          ...json(1),
          title: "u"
        }])
        assert.deepStrictEqual(yield* ask("partial_update", "tasks/1/", { title: "v" }), [200, {
          ...json(1),
          title: "v"
        }])
        assert.deepStrictEqual(yield* ask("destroy", "tasks/1/"), [204, null])
      }))
  }

  it.effect("where that cannot be found out, it is what each action fails with", () =>
    Effect.gen(function*() {
      const down = directory(Effect.fail(new ChannelError.Unavailable({ message: "down" })))
      const { all, ask } = yield* board(Layer.provide(effectful, down))
      const before = yield* all
      assert.deepStrictEqual(yield* ask("list", "tasks/"), [503, "unavailable"])
      for (const action of ["retrieve", "update", "partial_update", "destroy"]) {
        assert.deepStrictEqual(yield* ask(action, "tasks/1/", { title: "x" }), [503, "unavailable"])
      }
      assert.deepStrictEqual(yield* all, before)
    }))
})

describe("what an application does instead", () => {
  class Mail
    extends Context.Service<Mail, { readonly send: (text: string) => Effect.Effect<void, ChannelError.Unavailable> }>()(
      "test/Mail"
    )
  {}
  const recording = () => {
    const sent: Array<string> = []
    const layer = Layer.succeed(Mail, {
      send: (text) =>
        text.includes("nobody")
          ? Effect.fail(new ChannelError.Unavailable({ message: "no mail" }))
          : Effect.sync(() => void sent.push(text))
    })
    return { sent, layer }
  }
  const tell = (text: string) => Mail.use(({ send }) => send(text))
  const live: Layer.Layer<Handlers.Live<"board">, Handlers.DefinitionError, Tasks | Mail> = Consumer.handlers(Board)
    .pipe(
      Resource.handle(TaskResource, {
        create: ({ params, payload }, insert) =>
          Effect.tap(
            insert({ ...payload, project: params.project, owner: "bob" }),
            ({ title }) => tell(`create ${title}`)
          ),
        retrieve: ({ object }) =>
          Effect.as(tell(`retrieve ${object.title}`), new Task({ ...object, title: object.title.toUpperCase() })),
        update: ({ object, payload }, write) =>
          Effect.tap(write({ ...payload, owner: "update" }), ({ title }) => tell(`update ${object.title} to ${title}`)),
        partial_update: ({ object, payload }, write) =>
          Effect.tap(
            write({ ...payload, owner: "partial_update" }),
            ({ title }) => tell(`partial_update ${object.title} to ${title}`)
          ),
        destroy: ({ object }, remove) => Effect.andThen(remove, tell(`destroy ${object.title}`))
      }),
      Handlers.toLayer
    )
  const json = (id: number, fields?: object) => ({ ...taskOf(id, "a"), ...fields })

  it.effect("each gets what is usually done, and answers with what there is then", () =>
    Effect.gen(function*() {
      const { layer, sent } = recording()
      const { all, ask } = yield* board(Layer.provide(live, layer), [taskOf(1, "a")])
      assert.deepStrictEqual(
        yield* ask("create", "tasks/", { title: "new" }),
        [201, { id: 2, project: "a", title: "new", owner: "bob" }]
      )
      assert.deepStrictEqual(yield* ask("retrieve", "tasks/2/"), [200, {
        id: 2,
        project: "a",
        title: "NEW",
        owner: "bob"
      }])
      assert.deepStrictEqual(yield* ask("update", "tasks/1/", { title: "u" }), [
        200,
        json(1, { title: "u", owner: "update" })
      ])
      assert.deepStrictEqual(
        yield* ask("partial_update", "tasks/1/", { title: "p" }),
        [200, json(1, { title: "p", owner: "partial_update" })]
      )
      assert.deepStrictEqual(yield* ask("destroy", "tasks/1/"), [204, null])
      assert.deepStrictEqual(sent, [
        "create new",
        "retrieve new",
        "update title 1 to u",
        "partial_update u to p",
        "destroy p"
      ])
      assert.deepStrictEqual((yield* all).map(({ id }) => Number(id)), [2])
    }))

  it.effect("in one transaction: what fails afterwards leaves everything as it was", () =>
    Effect.gen(function*() {
      const { layer, sent } = recording()
      const rows = [taskOf(1, "a"), taskOf(2, "a", { title: "to nobody" })]
      const { all, ask } = yield* board(Layer.provide(live, layer), rows)
      assert.deepStrictEqual(yield* ask("create", "tasks/", { title: "for nobody" }), [503, "unavailable"])
      assert.deepStrictEqual(yield* ask("update", "tasks/1/", { title: "for nobody" }), [503, "unavailable"])
      assert.deepStrictEqual(yield* ask("partial_update", "tasks/1/", { title: "for nobody" }), [503, "unavailable"])
      assert.deepStrictEqual(yield* ask("destroy", "tasks/2/"), [503, "unavailable"])
      assert.deepStrictEqual(yield* all, rows)
      assert.deepStrictEqual(sent, [])
      assert.deepStrictEqual(yield* ask("create", "tasks/", { title: "title 1" }), [409, "conflict"])
    }))

  it.effect("nothing, where it does not want to", () =>
    Effect.gen(function*() {
      const refused = new ChannelError.PermissionDenied({ message: "not today", code: "not_today" })
      const shy = Consumer.handlers(Board).pipe(
        Resource.handle(TaskResource, {
          create: () => Effect.fail(new Repository.Conflict({ message: "no", fields: [] })),
          retrieve: () => Effect.fail(new Repository.NotFound({ message: "gone" })),
          update: ({ object }) => Effect.succeed(object),
          partial_update: () => Effect.fail(new Repository.StaleVersion({ message: "no" })),
          destroy: () => Effect.fail(refused)
        }),
        Handlers.toLayer
      )
      const { all, ask } = yield* board(shy, [taskOf(1, "a")])
      assert.deepStrictEqual(yield* ask("create", "tasks/", { title: "x" }), [409, "conflict"])
      assert.deepStrictEqual(yield* ask("retrieve", "tasks/1/"), [404, "not_found"])
      assert.deepStrictEqual(yield* ask("update", "tasks/1/", { title: "x" }), [200, json(1)])
      assert.deepStrictEqual(yield* ask("partial_update", "tasks/1/", { title: "x" }), [409, "stale_version"])
      assert.deepStrictEqual(yield* ask("destroy", "tasks/1/"), [403, "not_today"])
      assert.deepStrictEqual(yield* all, [taskOf(1, "a")])
    }))

  it.effect("what is thrown is a defect, and undoes what was done", () =>
    Effect.gen(function*() {
      const broken = Consumer.handlers(Board).pipe(
        Resource.handle(TaskResource, {
          create: ({ params, payload }, insert) =>
            Effect.map(insert({ ...payload, project: params.project, owner: "" }), (): Task => {
              throw new Error("secret")
            }),
          update: () => {
            throw new Error("secret")
          },
          partial_update: ({ payload }, write) => Effect.andThen(write(payload), Effect.die("secret")),
          destroy: (_, remove) => Effect.andThen(remove, Effect.die("secret")),
          rows: ({ action }) => {
            if (action === "list") throw new Error("secret")
            return Filter.all
          }
        }),
        Handlers.toLayer
      )
      const { all, ask } = yield* board(broken, [taskOf(1, "a")])
      assert.deepStrictEqual(yield* ask("create", "tasks/", { title: "x" }), [500, "error"])
      for (const action of ["update", "partial_update", "destroy"]) {
        assert.deepStrictEqual(yield* ask(action, "tasks/1/", { title: "x" }), [500, "error"])
      }
      assert.deepStrictEqual(yield* ask("list", "tasks/"), [500, "error"])
      assert.deepStrictEqual(yield* all, [taskOf(1, "a")])
    }))

  it.effect("a handler of its own, for what is handled before the resource", () =>
    Effect.gen(function*() {
      const own = Consumer.handlers(Board).pipe(
        Handlers.handle("tasks/", "list", () => Effect.succeed([taskOf(7, "own")])),
        Handlers.handle("tasks/:id/", "retrieve", {
          object: ({ params }) => Effect.succeed(taskOf(params.id, "own")),
          run: ({ object }) => Effect.succeed(object)
        }),
        Resource.handle(TaskResource, {
          create: ({ params, payload }, insert) => insert({ ...payload, project: params.project, owner: "" })
        }),
        Handlers.toLayer
      )
      const { ask } = yield* board(own, [taskOf(1, "a")])
      assert.deepStrictEqual(yield* ask("list", "tasks/"), [200, [{ ...taskOf(7, "own") }]])
      assert.deepStrictEqual(yield* ask("retrieve", "tasks/9/"), [200, { ...taskOf(9, "own") }])
      assert.deepStrictEqual(yield* ask("update", "tasks/1/", { title: "u" }), [200, json(1, { title: "u" })])
      assert.deepStrictEqual(yield* ask("update", "tasks/9/", { title: "u" }), [404, "not_found"])
    }))

  it.effect("the actions of another resource of the same rows are handled by themselves", () =>
    Effect.gen(function*() {
      const Titles = Resource.make("titles", {
        repository: Tasks,
        actions: ["list", "retrieve"],
        pagination: Pagination.none()
      })
      const Both = Consumer.make("both", { path: "/ws/:project/" }).pipe(
        Consumer.add(...Resource.routes(TaskResource, "tasks/"), ...Resource.routes(Titles, "titles/"))
      )
      const BothLive = Consumer.handlers(Both).pipe(
        Resource.handle(Titles, { rows: ({ params }) => task.eq("project", params.project) }),
        Resource.handle(TaskResource, {
          create: ({ params, payload }, insert) => insert({ ...payload, project: params.project, owner: "" })
        }),
        Handlers.toLayer
      )
      const client = yield* connect(
        Testing.connect(Both, { params: { project: "b" } }),
        Layer.provide(BothLive, Tasks.layerMemory([taskOf(1, "a"), taskOf(2, "b")]))
      )
      const ask = asking(client)
      const both = [{ ...taskOf(1, "a") }, { ...taskOf(2, "b") }]
      assert.deepStrictEqual(yield* ask("list", "tasks/"), [200, both])
      assert.deepStrictEqual(yield* ask("list", "titles/"), [200, both.slice(1)])
      assert.deepStrictEqual(yield* ask("retrieve", "titles/1/"), [404, "not_found"])
      assert.deepStrictEqual(yield* ask("retrieve", "tasks/1/"), [200, both[0]])
    }))
})

describe("pages", () => {
  const rows = Array.from({ length: 5 }, (_, i) => note(i + 1, { stars: i % 2 }))
  const listing = (pagination: Pagination.Any, options?: { readonly unknownParameters?: "refuse" | "ignore" }) => {
    const Paged = Resource.make("notes", {
      repository: Notes,
      actions: ["list"],
      pagination,
      filters: { stars: ["exact", "gte"], made: ["lt"] },
      search: ["title"],
      ordering: ["stars", "title"],
      order: ["-stars"],
      ...options
    })
    const Some = Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(Paged, "notes/")))
    const SomeLive = Consumer.handlers(Some).pipe(Resource.handle(Paged), Handlers.toLayer)
    return Effect.map(
      connect(Testing.connect(Some), Layer.provide(SomeLive, Notes.layerMemory(rows))),
      (client) => {
        const get = (route: string) => say(client, { action: "list", route })
        /** All pages from a route on. */
        const follow = Effect.fnUntraced(function*(route: string) {
          const pages: Array<ReadonlyArray<number>> = []
          let next: string | null = route
          while (next !== null) {
            const { data, status }: Reply.Reply = yield* get(next)
            assert.strictEqual(status, 200)
            pages.push(idsOf(data))
            next = (data as { readonly next: string | null }).next
          }
          return pages
        })
        return { get, follow }
      }
    )
  }
  const idsOf = (data: unknown) =>
    (Array.isArray(data) ? data : (data as { readonly results: ReadonlyArray<unknown> }).results).map((row) =>
      (row as { readonly id: number }).id
    )

  it.effect("by their number", () =>
    Effect.gen(function*() {
      const { follow, get } = yield* listing(Pagination.pageNumber({ size: 2 }))
      assert.deepStrictEqual(yield* follow("notes/"), [[4, 2], [5, 3], [1]])
      const { data } = yield* get("notes/?page=2")
      assert.deepInclude(data as object, { count: 5, next: "notes/?page=3", previous: "notes/" })
      const { errors, status } = yield* get("notes/?page=4")
      assert.strictEqual(status, 404)
      assert.deepStrictEqual(errors, [
        { detail: "Invalid page", code: "not_found", error: { _tag: "NotFound", message: "Invalid page" } }
      ])
    }))

  it.effect("from one row on", () =>
    Effect.gen(function*() {
      const { follow, get } = yield* listing(Pagination.limitOffset({ limit: 2 }))
      assert.deepStrictEqual(yield* follow("notes/"), [[4, 2], [5, 3], [1]])
      const { data } = yield* get("notes/?limit=3&offset=1")
      assert.deepStrictEqual(idsOf(data), [2, 5, 3])
      assert.deepInclude(data as object, { count: 5, next: "notes/?limit=3&offset=4", previous: "notes/?limit=3" })
    }))

  it.effect("by a cursor", () =>
    Effect.gen(function*() {
      const { follow, get } = yield* listing(Pagination.cursor({ size: 2 }))
      assert.deepStrictEqual(yield* follow("notes/"), [[4, 2], [5, 3], [1]])
      assert.deepStrictEqual(yield* follow("notes/?ordering=-title&stars=0"), [[5, 3], [1]])
      const first = yield* get("notes/")
      assert.notProperty(first.data, "count")
      const { next } = first.data as { readonly next: string }
      const second = yield* get(next)
      const back = yield* get((second.data as { readonly previous: string }).previous)
      assert.deepStrictEqual(idsOf(back.data), [4, 2])
      assert.deepStrictEqual(brief(yield* get(`${next.slice(0, -1)}x`)), [400, "invalid"])
      assert.deepStrictEqual(brief(yield* get(`${next}&ordering=title`)), [400, "invalid"])
    }))

  it.effect("all at once", () =>
    Effect.gen(function*() {
      const { get } = yield* listing(Pagination.none())
      assert.deepStrictEqual(idsOf((yield* get("notes/")).data), [4, 2, 5, 3, 1])
      const few = yield* listing(Pagination.none({ max: 4 }))
      assert.deepStrictEqual(brief(yield* few.get("notes/")), [400, "invalid"])
      assert.deepStrictEqual(idsOf((yield* few.get("notes/?stars=0")).data), [5, 3, 1])
    }))

  it.effect("of what is asked for", () =>
    Effect.gen(function*() {
      const { get } = yield* listing(Pagination.none())
      const ids = (query: string) => Effect.map(get(`notes/?${query}`), ({ data }) => idsOf(data))
      assert.deepStrictEqual(yield* ids("stars__gte=1"), [4, 2])
      assert.deepStrictEqual(yield* ids("ordering=title"), [1, 2, 3, 4, 5])
      assert.deepStrictEqual(yield* ids("ordering=stars,-title"), [5, 3, 1, 4, 2])
      assert.deepStrictEqual(yield* ids("search=TITLE%202"), [2])
      assert.deepStrictEqual(yield* ids("made__lt=2026-01-31"), [])
      assert.deepStrictEqual(yield* ids("made__lt=2026-02-01T00:00:00Z"), [4, 2, 5, 3, 1])
    }))

  it.effect("what is not known, or does not fit, is refused, or as if it had not been sent", () =>
    Effect.gen(function*() {
      const wrong = [
        "x=1",
        "page=2",
        "stars=one",
        "ordering=made",
        "stars__lt=1",
        "made__lt=then",
        "__proto__=1",
        "id=1"
      ]
      const strict = yield* listing(Pagination.none())
      const lenient = yield* listing(Pagination.none(), { unknownParameters: "ignore" })
      for (const query of wrong) {
        const { errors, status } = yield* strict.get(`notes/?${query}`)
        assert.strictEqual(status, 400)
        assert.deepStrictEqual(
          (errors as ReadonlyArray<Reply.ReplyError>).map(({ code, path }) => [code, path]),
          [["invalid", ["query", query.split("=")[0]!]]]
        )
        assert.deepStrictEqual(idsOf((yield* lenient.get(`notes/?${query}`)).data), [4, 2, 5, 3, 1])
      }
    }))

  it.effect("as large as the settings say, where nothing else is said", () =>
    Effect.gen(function*() {
      const Paged = Resource.make("notes", { repository: Notes, actions: ["list"] })
      const Some = Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(Paged, "notes/")))
      const SomeLive = Consumer.handlers(Some).pipe(Resource.handle(Paged), Handlers.toLayer)
      const client = yield* connect(
        Testing.connect(Some),
        SomeLive.pipe(Layer.provide(Notes.layerMemory(rows)), Layer.provide(Settings.layer({ pageSize: 3 })))
      )
      const { data } = yield* client.ask("notes/", "list")
      assert.deepStrictEqual(data?.results.map(({ id }) => Number(id)), [1, 2, 3])
      assert.strictEqual(data?.next, "notes/?page=2")
    }))
})

describe("a resource that cannot be served says so", () => {
  /** Everything else aside, the problems that there are. */
  const problemsOf = (
    resource: Resource.Any,
    options?: {
      readonly handling?: object
      readonly others?: ReadonlyArray<unknown>
      readonly isWithout?: boolean
      /** The resources that are handled; the resource by default. */
      readonly handled?: ReadonlyArray<Resource.Any>
    }
  ): Effect.Effect<ReadonlyArray<string>> => {
    const loose = resource as never
    const members = [...Resource.routes(loose, "rows/") as ReadonlyArray<unknown>, ...options?.others ?? []]
    const Some = (Consumer.add as unknown as (...members: ReadonlyArray<unknown>) => (self: unknown) => Consumer.Any)(
      ...members
    )(Consumer.make("some", { path: "/ws/" }))
    const handled = (options?.handled ?? [resource]).reduce(
      (handlers, one) => Resource.handle(one as never, options?.handling as never)(handlers as never) as never,
      Consumer.handlers(Some as never) as never
    )
    const rows = (resource.repository as unknown as { readonly layerMemory: () => Layer.Layer<never> }).layerMemory()
    const live = Handlers.toLayer(handled as never) as Layer.Layer<never, Handlers.DefinitionError>
    return Effect.scoped(Layer.build(options?.isWithout ? live : Layer.provide(live, rows))).pipe(
      Effect.as([]),
      Effect.catch(({ problems }) => Effect.succeed(problems))
    )
  }
  const list = "the action \"list\" of the route \"rows/\""
  const told = (field: string, ...options: ReadonlyArray<string>) =>
    `${list}: clients are not sent "${field}", but could find it out by filtering or ordering: leave it out of ${
      options.join(" and ")
    }, or leave it out of writeOnly, so that they are`
  const Row = Schema.Struct({
    id: Schema.Int,
    title: Schema.String,
    secret: Schema.String,
    tags: Schema.Array(Schema.String)
  })
  class Rows extends Repository.Service<Rows>()("test/Rows", { schema: Row, key: "id" }) {}
  const hidden = { repository: Rows, actions: ["list"], writeOnly: ["secret"] } as const
  const fields = "there are \"id\", \"title\", \"secret\", \"tags\""
  /** A repository whose key or version is no field. */
  const broken = (options: { readonly key?: string; readonly version?: string }) =>
    Repository.Service<never>()("test/Broken", { schema: Row, key: "id", ...options } as never) as never

  const cases: ReadonlyArray<readonly [what: string, resource: Resource.Any, problems: ReadonlyArray<string>]> = [
    ["it can be", Resource.make("rows", { repository: Rows }), []],
    ["a filter of what is not sent", Resource.make("rows", { ...hidden, filters: { secret: ["exact"] } }), [
      told("secret", "filters")
    ]],
    ["a search in it", Resource.make("rows", { ...hidden, search: ["secret"] }), [told("secret", "search")]],
    ["ordering by it", Resource.make("rows", { ...hidden, ordering: ["secret"] }), [told("secret", "ordering")]],
    ["an order by it", Resource.make("rows", { ...hidden, order: ["-secret"] }), [told("secret", "order")]],
    ["a key that is not sent", Resource.make("rows", { ...hidden, writeOnly: ["id"] }), [
      `${list}: clients are not sent "id", but could find it out by filtering or ordering: leave it out of writeOnly, so that they are`
    ]],
    [
      "all of that",
      Resource.make("rows", { ...hidden, order: ["secret"], search: ["secret"], filters: { secret: ["in"] } }),
      [told("secret", "filters", "search", "order")]
    ],
    [
      "a filter that does not fit its field",
      Resource.make("rows", { repository: Rows, actions: ["list"], filters: { tags: ["exact"], id: ["contains"] } }),
      [
        `${list}: filters: "exact" does not fit the field "tags": what fits it is "isnull"`,
        `${list}: filters: "contains" does not fit the field "id": what fits it is "exact", "ne", "lt", "lte", "gt", "gte", "in", "isnull"`
      ]
    ],
    [
      "a filter, a search and an order of fields that are not there",
      Resource.make("rows", {
        repository: Rows,
        actions: ["list"],
        filters: { nothing: ["exact"] } as never,
        search: ["neither" as never],
        order: ["-nor" as never]
      }),
      [
        `${list}: filters: there is no field "nothing", ${fields}`,
        `${list}: search: there is no field "neither", ${fields}`,
        `${list}: order: there is no field "nor", ${fields}`
      ]
    ],
    [
      "a parameter that is one of the pages",
      Resource.make("rows", {
        repository: Rows,
        actions: ["list"],
        filters: { title: ["exact"] },
        pagination: Pagination.pageNumber({ pageParameter: "title" })
      }),
      [`${list}: two parameters are named "title"`]
    ],
    [
      "more in a new object than clients send",
      Resource.make("rows", { repository: Rows, actions: ["create"], readOnly: ["secret", "tags"] }),
      ["secret", "tags"].map((name) =>
        `the action "create" of the route "rows/": a new object needs "${name}", which clients do not send: give it with the option create of Resource.handle`
      )
    ],
    [
      "something computed by nothing",
      Resource.make("rows", { repository: Rows, actions: ["retrieve"], computed: { size: Schema.Int } }),
      [
        "the action \"retrieve\" of the route \"rows/:id/\": nothing says what is in the computed field \"size\": give it with the option computed of Resource.handle"
      ]
    ],
    [
      "a field that nobody has anything to do with, and no objects to be told of",
      Resource.make("rows", {
        repository: Rows,
        actions: ["retrieve"],
        readOnly: ["title"],
        writeOnly: ["title"],
        maxLive: NaN
      }),
      [
        "the resource \"rows\": \"title\" is both readOnly and writeOnly: clients could neither set nor be sent it",
        "the resource \"rows\": maxLive is NaN: it must be a whole number from 1"
      ]
    ],
    [
      "names that are none",
      Resource.make("rows", {
        repository: Rows,
        actions: ["list", "lists", "unsubscribe"] as never,
        readOnly: ["titel" as never],
        writeOnly: ["id", "sekret" as never]
      }),
      [
        `the resource "rows": readOnly: there is no field "titel", ${fields}`,
        `the resource "rows": writeOnly: there is no field "sekret", ${fields}`,
        ...["lists", "unsubscribe"].map((name) =>
          `the resource "rows": actions: there is no action "${name}", there are "list", "create", "retrieve", "update", "partial_update", "destroy", "subscribe"`
        )
      ]
    ],
    [
      "a key that is none",
      Resource.make("rows", { repository: broken({ key: "pk" }), actions: [...Resource.crud, "subscribe"] }),
      [`the resource "rows": the key of the repository "test/Broken": there is no field "pk", ${fields}`]
    ],
    [
      "a version that is none",
      Resource.make("rows", { repository: broken({ version: "revision" }) }),
      [`the resource "rows": the version of the repository "test/Broken": there is no field "revision", ${fields}`]
    ],
    [
      "a computed field with the name of another one",
      Resource.make("rows", { repository: Rows, computed: { title: Schema.String } as never }),
      ["the resource \"rows\": computed: \"title\" is a field of the row: give what is computed another name"]
    ]
  ]
  for (const [what, resource, problems] of cases) {
    it.effect(what, () => Effect.map(problemsOf(resource), (found) => assert.deepStrictEqual(found, problems)))
  }

  it.effect("a field of a model that its JSON does not have", () =>
    Effect.gen(function*() {
      class Account extends Model.Class<Account>("Account")({
        id: Model.GeneratedByDb(Schema.Int),
        hash: Model.Sensitive(Schema.String)
      }) {}
      class Accounts extends Repository.Service<Accounts>()("test/Accounts", { schema: Account, key: "id" }) {}
      const AccountResource = Resource.make("rows", {
        repository: Accounts,
        actions: ["list"],
        filters: { hash: ["startswith"] }
      })
      assert.deepStrictEqual(yield* problemsOf(AccountResource), [
        `${list}: clients are not sent "hash", but could find it out by filtering or ordering: leave it out of filters`
      ])
    }))

  it("names that are none do not matter to what it prints", () => {
    const Some = Resource.make("rows", { repository: Rows, actions: ["list", "lists"] as never })
    assert.deepStrictEqual(Object.keys((Some.toJSON() as { readonly actions: object }).actions), ["list", "lists"])
  })

  it.effect("a repository that is not there", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* problemsOf(Resource.make("rows", { repository: Rows, actions: ["retrieve", "destroy"] }), {
          isWithout: true
        }),
        [
          "the repository \"test/Rows\" of the resource \"rows\" is not provided: provide Rows.layerMemory() or SqlRepository.layer(Rows, ...)"
        ]
      )
    }))

  it.effect("two resources of one name", () =>
    Effect.gen(function*() {
      const first = Resource.make("rows", { repository: Rows, actions: ["list"] })
      const second = Resource.make("rows", { repository: Rows, actions: ["create"] })
      assert.deepStrictEqual(yield* problemsOf(first, { others: Resource.collection(second) }), [
        "the resources in the consumer and in the route \"rows/\" are two of the name \"rows\": give each a name of its own"
      ])
    }))

  it.effect("one and the same with more on it is another one", () =>
    Effect.gen(function*() {
      const first = Resource.make("rows", { repository: Rows, actions: ["list"] })
      const second = first.pipe(Resource.permit(["list"], Permission.deny))
      const found = yield* problemsOf(first, { others: Resource.collection(second) })
      assert.lengthOf(found, 1)
      assert.include(found[0], "are two of the name \"rows\"")
    }))

  const Titled = Resource.make("rows", {
    repository: Rows,
    actions: ["list", "retrieve", "destroy"],
    computed: { size: Schema.Int }
  })
  const computed = { size: () => 0 }

  it.effect("options that there are not", () =>
    Effect.gen(function*() {
      const rows = () => Filter.all
      assert.deepStrictEqual(yield* problemsOf(Titled, { handling: { rows, computed } }), [])
      assert.deepStrictEqual(
        yield* problemsOf(Titled, { handling: { row: rows, computed: { ...computed, sice: () => 0 } } }),
        [
          "Resource.handle(rows) has no option \"row\": there are \"rows\", \"create\", \"retrieve\", \"update\", \"partial_update\", \"destroy\", \"computed\"",
          "the resource \"rows\" has no computed field \"sice\", which Resource.handle says something about, there are \"size\""
        ]
      )
      assert.deepStrictEqual(
        yield* problemsOf(Resource.make("rows", { repository: Rows, actions: ["list"] }), { handling: { computed } }),
        ["the resource \"rows\" has no computed field \"size\", which Resource.handle says something about, there are none"]
      )
    }))

  it.effect("what is handled without being there, or twice", () =>
    Effect.gen(function*() {
      const Others = Resource.make("others", { repository: Rows, actions: ["list"] })
      assert.deepStrictEqual(
        yield* problemsOf(Titled, { handling: { computed }, handled: [Titled, Others] }),
        [
          "the resource \"others\" has no computed field \"size\", which Resource.handle says something about, there are none",
          "Resource.handle(others) handles nothing, as the consumer has no action of the resource \"others\": add them, Consumer.add(...Resource.routes(others, path)), or leave it out"
        ]
      )
      assert.deepStrictEqual(yield* problemsOf(Titled, { handling: { computed }, handled: [Titled, Titled] }), [
        "Resource.handle(rows) handles nothing, as all actions of the resource \"rows\" are handled before it: leave it out, or give its options where they are handled"
      ])
    }))

  it.effect("what is not handled: one line for each resource", () =>
    Effect.gen(function*() {
      const Others = Resource.make("others", { repository: Rows, actions: ["retrieve", "subscribe"] })
      assert.deepStrictEqual(
        yield* problemsOf(Titled, {
          handled: [],
          others: [Action.make("own"), ...Resource.routes(Others, "others/"), ...Resource.routes(Titled, "again/")]
        }),
        [
          "the action \"own\" of the consumer has no handler: add it with Handlers.handle",
          "nothing handles \"list\", \"retrieve\", \"destroy\" of the resource \"rows\": add Resource.handle(rows)",
          "nothing handles \"subscribe\", \"unsubscribe\", \"retrieve\" of the resource \"others\": add Resource.handle(others)"
        ]
      )
    }))

  it.effect("a path that does not name the object", () =>
    Effect.gen(function*() {
      const One = Resource.make("rows", { repository: Rows, actions: ["list", "retrieve", "destroy"], param: "pk" })
      const problem = (action: string, place: string) =>
        `the action "${action}" of ${place}: its path has no parameter "pk", which names the object: see Resource.params`
      const other = Route.make("other/:id/", { id: Schema.Int as never }).pipe(
        Route.add(...Resource.object(One) as ReadonlyArray<never>)
      )
      assert.deepStrictEqual(yield* problemsOf(One, { others: [...Resource.object(One), other] }), [
        problem("retrieve", "the consumer"),
        problem("destroy", "the consumer"),
        problem("retrieve", "the route \"other/:id/\""),
        problem("destroy", "the route \"other/:id/\"")
      ])
    }))

  it.effect("an object permission where there is no object", () =>
    Effect.gen(function*() {
      const isOwner = Permission.where<typeof Row.Type>()("isOwner", () => Filter.fields<typeof Row.Type>().eq("id", 1))
      const guarded = (actions: ReadonlyArray<"create" | "retrieve" | "update" | "subscribe">) =>
        Resource.make("rows", { repository: Rows, actions }).pipe(Resource.permit(["create"], isOwner as never))
      const problem = (actions: string) => [
        `the permission "isOwner" looks at an object, but the action "create" of the route "rows/" has none: say which actions it guards, Resource.permit(${actions}, permission)`
      ]
      assert.deepStrictEqual(
        yield* problemsOf(guarded(["create", "retrieve", "update"])),
        problem("[\"retrieve\", \"update\"]")
      )
      assert.deepStrictEqual(yield* problemsOf(guarded(["create"])), problem("[...]"))
    }))

  it.effect("a route of one's own for what is one of its routes", () =>
    Effect.gen(function*() {
      const own = (path: string) => Route.make(path).pipe(Route.add(Action.make("own"))) as unknown as Route.Any
      const Some = Resource.make("rows", { repository: Rows, actions: ["list", "retrieve", "subscribe"] })
      const problemsIn = (...others: ReadonlyArray<unknown>) =>
        Effect.map(problemsOf(Some, { others }), (found) =>
          found.filter((problem) => problem.includes("can match the same string")))
      const twice = (path: string) =>
        `the routes "${path}" and "${path}" can match the same string`
      assert.deepStrictEqual(yield* problemsIn(own("rows/:id/")), [
        `${
          twice("rows/:id/")
        }: put both into one route, Route.make(..., Resource.params(rows)).pipe(Route.add(...Resource.object(rows), own))`
      ])
      assert.deepStrictEqual(yield* problemsIn(own("rows/")), [
        `${twice("rows/")}: put both into one route, Route.make(...).pipe(Route.add(...Resource.collection(rows), own))`
      ])
      assert.deepStrictEqual(yield* problemsIn(own("rows/:pk/")), [
        "the routes \"rows/:id/\" and \"rows/:pk/\" can match the same string"
      ])
      assert.deepStrictEqual(yield* problemsIn(own("own/"), own("own/")), [twice("own/")])
    }))
})

describe("a resource as a value", () => {
  it("says what it is", () => {
    const guarded = NoteResource.pipe(Resource.permit(["update"], Permission.deny))
    assert.isTrue(Resource.isResource(guarded))
    assert.isFalse(Resource.isResource(Notes))
    const allow = { list: "allow", create: "allow", retrieve: "allow", partial_update: "allow", destroy: "allow" }
    assert.deepEqual(guarded.toJSON(), {
      _id: "Resource",
      name: "notes",
      repository: "test/Notes",
      actions: { ...allow, update: "deny" }
    })
    assert.deepEqual(NoteResource.toJSON(), {
      _id: "Resource",
      name: "notes",
      repository: "test/Notes",
      actions: { ...allow, update: "allow" }
    })
  })
})
