import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  ChannelLayer,
  Consumer,
  Event,
  Group,
  Handlers,
  Idempotency,
  Permission,
  Pipeline,
  Repository,
  Resource,
  Route,
  Settings,
  Throttle
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { type Client, settle, withLogs } from "./support/connection.ts"
import {
  AuthenticationLive,
  CurrentUser,
  heard,
  layerTest,
  layerWith,
  name,
  problemsOf,
  start,
  watchKept
} from "./support/groups.ts"
import { outcomeSuite } from "./support/outcome-store.ts"

class Declined extends Schema.TaggedError<Declined>()("Declined", { cents: Schema.Int }, { httpApiStatus: 402 }) {}
class Gone extends Schema.TaggedError<Gone>()("Gone", {}, { httpApiStatus: 404 }) {}

const Account = Schema.Struct({ id: Schema.Int, owner: Schema.String })
const Room = Group.make("room", { room: Schema.String })
const Archive = Group.make("archive", { room: Schema.String }).pipe(Group.history({ count: 10, age: "1 hour" }))
const Said = Event.make("said", Schema.Int)

type Undeclared = Declined | ChannelError.Undeclared

/** What a test decides by and looks at. */
const makeWorld = () => ({
  /** Who may pay. */
  payers: new Set(["alice", "bob", "nobody"]),
  accounts: new Map([[1, "alice"], [2, "bob"]]),
  /** Handlers wait while it is closed. */
  gate: Latch.makeUnsafe(true),
  loading: Latch.makeUnsafe(true),
  /** How a handler ends that has come past the gate. */
  end: Effect.void as Effect.Effect<void, Undeclared>,
  trace: [] as Array<string>,
  loaded: [] as Array<number>,
  /** Whether the check of the object fails. */
  isOwnerGone: false,
  released: 0,
  runs: 0
})
type World = ReturnType<typeof makeWorld>

const payload = { cents: Schema.Int }
const done = Schema.Struct({ n: Schema.Int, by: Schema.String })

/** A consumer of a world's own, and its handlers. */
const makeBank = (world: World) => {
  const mayPay = Permission.connection(
    "mayPay",
    Effect.map(name, (name) => world.payers.has(name)),
    { reason: "No money", code: "no_money" }
  )
  const isOwner = Permission.object<typeof Account.Type>()(
    "isOwner",
    ({ object }) =>
      Effect.flatMap(
        name,
        (name) => world.isOwnerGone ? Effect.fail(new Gone()) : Effect.succeed(object.owner === name)
      )
  )
  const fields = Schema.Record(Schema.String, Schema.Unknown)
  const Bank = Consumer.make("bank", { path: "/ws/:room/", params: { room: Schema.String }, concurrency: 4 }).pipe(
    Consumer.join(Room, ({ params }) => params),
    Consumer.join(Archive, ({ params }) => params),
    Consumer.push(Said),
    Consumer.add(
      Action.make("pay", {
        payload,
        fields: { note: Schema.optionalKey(Schema.String) },
        success: done,
        error: Declined,
        status: 201,
        timeout: "5 seconds",
        idempotent: "key"
      }).pipe(Action.permit(mayPay)),
      Action.make("refund", { payload, success: done, error: Declined, idempotent: "key" }),
      Action.make("plain", { payload, fields, success: fields, error: Declined }),
      Action.make("loose", {
        payload: Schema.optionalKey(Schema.Unknown),
        fields,
        success: fields,
        error: Declined,
        idempotent: "key"
      }),
      Action.make("tell", { success: Schema.Int, error: Declined, idempotent: "key" }).pipe(
        Action.permit(mayPay),
        Action.broadcast(Room, Said)
      ),
      Action.make("record", { success: Schema.Int, error: Declined, idempotent: "key" }).pipe(
        Action.broadcast(Archive, Said)
      ),
      Action.make("whisper", { success: Schema.Int, error: Declined, idempotent: "key" }).pipe(Action.silent),
      Route.make("accounts/:id/", { id: Schema.NumberFromString }).pipe(
        Route.add(
          Action.make("close", { success: done, error: [Gone, Declined], idempotent: "key" }).pipe(
            Action.object(Account),
            Action.permit(isOwner)
          )
        )
      )
    )
  )
  const run = (action: string) =>
    Effect.gen(function*() {
      const n = ++world.runs
      world.trace.push(`start ${action}`)
      yield* Effect.onExit(
        world.gate.await,
        (exit) => Effect.sync(() => world.trace.push(`${Exit.isSuccess(exit) ? "end" : "stop"} ${action}`))
      )
      yield* world.end
      return { n, by: yield* name }
    })
  const live = Consumer.handlers(Bank).pipe(
    Handlers.handle("pay", () =>
      Effect.andThen(
        Effect.flatMap(Effect.scope, (scope) => Scope.addFinalizer(scope, Effect.sync(() => void world.released++))),
        run("pay")
      )),
    Handlers.handle("refund", () => run("refund")),
    Handlers.handle("plain", ({ fields }) => Effect.as(run("plain"), fields)),
    Handlers.handle("loose", ({ fields }) => Effect.as(run("loose"), fields)),
    Handlers.handle("tell", () => Effect.map(run("tell"), ({ n }) => n)),
    Handlers.handle("record", () => Effect.map(run("record"), ({ n }) => n)),
    Handlers.handle("whisper", () => Effect.map(run("whisper"), ({ n }) => n)),
    Handlers.handle("accounts/:id/", "close", {
      object: ({ params: { id } }) =>
        Effect.gen(function*() {
          world.loaded.push(id)
          yield* world.loading.await
          const owner = world.accounts.get(id)
          return owner === undefined ? yield* new Gone() : { id, owner }
        }),
      run: ({ object }) => Effect.tap(run("close"), () => Effect.sync(() => void world.accounts.delete(object.id)))
    }),
    Handlers.toLayer,
    Layer.provide(AuthenticationLive)
  )
  return { Bank, live }
}

/** Runs a test with a server and a world of its own. */
const withBank = <A, E>(
  test: (
    world: World,
    connect: (user?: string, room?: string) => Effect.Effect<Client, Pipeline.HandshakeRefused, Scope.Scope>,
    store: Idempotency.MemoryStore,
    /** How many connections are in the room. */
    members: Effect.Effect<number, ChannelError.Unavailable, ChannelLayer.ChannelLayer>
  ) => Effect.Effect<A, E, Scope.Scope | ChannelLayer.ChannelLayer>,
  options: {
    readonly store?: (memory: Idempotency.MemoryStore) => Idempotency.Store
    readonly layer?: Layer.Layer<ChannelLayer.ChannelLayer>
    readonly settings?: Partial<Pick<Settings.Settings, "formatError" | "keepOutcomes">>
    readonly memory?: Idempotency.MemoryOptions
  } = {}
) => {
  const world = makeWorld()
  const memory = Idempotency.makeMemory(options.memory)
  const { Bank, live } = makeBank(world)
  return Effect.gen(function*() {
    const server = yield* start(Bank, live)
    const connect = (user?: string, room = "a") =>
      Effect.tap(server.connect(`/ws/${room}/${user === undefined ? "" : `?user=${user}`}`), (client) =>
        // What it is told of its groups is no matter of these tests.
        heard(client))
    return yield* test(world, connect, memory, ChannelLayer.count(ChannelLayer.group(Bank, Room, { room: "a" })))
  }).pipe(
    Effect.scoped,
    Effect.provide(Layer.succeed(Idempotency.Store, options.store?.(memory) ?? memory)),
    Effect.provide(Settings.layer(options.settings ?? {})),
    Effect.provide(options.layer ?? layerTest),
    Effect.provide(Layer.fresh(Authority.layerMemory))
  )
}

const invalidate = (user: string) => Authority.invalidate(Authority.identity(CurrentUser, user))

let ids = 0

/** A request with a key, and an id of its own. */
const pay = (key: unknown, others: object = {}) => ({
  action: "pay",
  data: { cents: 5 },
  idempotency_key: key,
  request_id: ++ids,
  ...others
})
const close = (key: unknown, id = 1) => pay(key, { action: "close", route: `accounts/${id}/`, data: undefined })

/** What is the same of the replies to all attempts. */
const same = (
  { data, errors, status }: { readonly data: unknown; readonly errors: unknown; readonly status: number }
) => ({
  data,
  errors,
  status
})
const success = (n: number, by = "alice") => ({ data: { n, by }, errors: [], status: 201 })

describe("what is done once for each key", () => {
  it.effect("answers every attempt with the same outcome, on whichever connection of the same user", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const one = yield* connect("alice")
        assert.deepStrictEqual(
          yield* one.askText(pay("k", { request_id: 1 })),
          `{"errors":[],"data":{"n":1,"by":"alice"},"action":"pay","route":"","status":201,"request_id":1}`
        )
        assert.deepStrictEqual(
          yield* one.askText(pay("k", { request_id: "again" })),
          `{"errors":[],"data":{"n":1,"by":"alice"},"action":"pay","route":"","status":201,"request_id":"again"}`
        )
        const two = yield* connect("alice")
        assert.deepStrictEqual(same(yield* two.ask(pay("k"))), success(1))
        yield* one.leave
        yield* two.leave
        const three = yield* connect("alice")
        assert.deepStrictEqual(same(yield* three.ask(pay("k"))), success(1))
        assert.deepStrictEqual(same(yield* three.ask(pay("other"))), success(2))
        assert.strictEqual(world.runs, 2)
      })
    ))

  it.effect("remembers a declared error as well, in the words of the application", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        world.end = Effect.fail(new Declined({ cents: 5 }))
        const first = yield* client.ask(pay("k"))
        assert.strictEqual(first.status, 402)
        assert.deepStrictEqual(first.errors, [{ text: "402" }] as never)
        world.end = Effect.void
        assert.deepStrictEqual(same(yield* client.ask(pay("k"))), same(first))
        assert.strictEqual(world.runs, 1)
      }), { settings: { formatError: ({ status }) => [{ text: String(status) }] } }))

  const forgotten: ReadonlyArray<[string, number, Effect.Effect<void, Undeclared>]> = [
    ["a denial by the handler", 403, Effect.fail(new ChannelError.PermissionDenied({ message: "No", code: "no" }))],
    ["one who is anonymous", 403, Effect.fail(new ChannelError.NotAuthenticated())],
    ["a throttle", 429, Effect.fail(new ChannelError.Throttled({ retryAfter: 1 }))],
    ["what is unavailable", 503, Effect.fail(new ChannelError.Unavailable({ message: "No" }))],
    ["a defect", 500, Effect.die(new Error("broken"))],
    ["an interruption", 500, Effect.interrupt]
  ]
  for (const [what, status, end] of forgotten) {
    it.effect(`does not remember ${what}: the next attempt is done anew`, () =>
      withLogs(() =>
        withBank((world, connect, store) =>
          Effect.gen(function*() {
            const client = yield* connect("alice")
            world.end = end
            assert.strictEqual((yield* client.ask(pay("k"))).status, status)
            assert.strictEqual((yield* client.ask(pay("k"))).status, status)
            assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
            world.end = Effect.void
            assert.deepStrictEqual(same(yield* client.ask(pay("k"))), success(3))
            assert.deepStrictEqual(store.size(), { outcomes: 1, claims: 0 })
          })
        )
      ))
  }

  it.effect("does not remember what took too long, was cancelled, or is not permitted any more", () =>
    withBank((world, connect, store) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        world.gate.closeUnsafe()
        yield* client.send(pay("k"))
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* client.next).status, 408)
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
        yield* client.send(pay("k", { request_id: "x" }))
        yield* client.send({ action: "$cancel", data: { request_id: "x" } })
        assert.deepStrictEqual((yield* client.take(2)).map(({ status }) => status), [499, 200])
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
        yield* client.send(pay("k"))
        world.payers.delete("alice")
        yield* invalidate("alice")
        assert.deepStrictEqual((yield* client.next).errors, [{ detail: "No money", code: "permission_lost" }])
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
        assert.deepStrictEqual(world.trace, ["start pay", "stop pay", "start pay", "stop pay", "start pay", "stop pay"])
        world.payers.add("alice")
        yield* invalidate("alice")
        yield* world.gate.open
        assert.deepStrictEqual(same(yield* client.ask(pay("k"))), success(4))
      })
    ))

  it.effect("is done as often as it is asked for without a key", () =>
    withBank((_, connect, store) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        for (const n of [1, 2, 3]) assert.deepStrictEqual(same(yield* client.ask(pay(undefined))), success(n))
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
      })
    ))

  it.effect.prop(
    "takes a string of 1 to 255 characters for a key, and nothing else",
    {
      key: Testing.oneOf<unknown>([
        Arbitrary.schema(Schema.Union([Schema.Number.check(Schema.isFinite()), Schema.Boolean, Schema.Null])),
        Arbitrary.schema(Schema.Struct({ key: Schema.String })),
        Arbitrary.schema(Schema.Array(Schema.String)),
        Arbitrary.schema(Schema.Literals([1, 2, 254, 255, 256, 257, 5000, 0])).pipe(
          Arbitrary.map((length) => "ä".repeat(length))
        ),
        Arbitrary.schema(Schema.String)
      ])
    },
    ({ key }) =>
      withBank((world, connect) =>
        Effect.gen(function*() {
          const client = yield* connect("alice")
          const reply = yield* client.ask(pay(key))
          if (typeof key === "string" && key.length >= 1 && key.length <= 255) {
            assert.deepStrictEqual(same(reply), success(1))
            assert.deepStrictEqual(same(yield* client.ask(pay(key))), success(1))
          } else {
            assert.deepStrictEqual(same(reply), {
              status: 400,
              data: null,
              errors: [{
                detail: "Expected a string of 1 to 255 characters",
                code: "invalid",
                path: ["idempotency_key"]
              }]
            })
            assert.strictEqual(world.runs, 0)
          }
        })
      ),
    { arbitrary: { runs: 60 } }
  )

  it.effect("takes the key from among its fields; for all other actions it is one", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        for (const key of ["k", 7, null]) {
          const { data } = yield* client.ask(pay(key, { action: "plain", a: 1 }))
          assert.deepStrictEqual(data, { idempotency_key: key, a: 1 })
        }
        assert.strictEqual(world.runs, 3)
        assert.deepStrictEqual((yield* client.ask(pay("k", { action: "loose", a: 1 }))).data, { a: 1 })
        assert.deepStrictEqual((yield* client.ask(pay("k", { action: "loose", a: 1 }))).data, { a: 1 })
        assert.strictEqual(world.runs, 4)
      })
    ))

  it.effect("refuses a key that came with another request: other data, fields or query", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        yield* client.ask(pay("k", { note: "a" }))
        const others = [
          { note: "a", data: { cents: 6 } },
          { note: "b" },
          {},
          { note: "a", route: "?a=1" },
          { note: "a", data: { cents: 5, surplus: true } }
        ]
        for (const other of others) {
          assert.deepStrictEqual(same(yield* client.ask(pay("k", other))), {
            status: 422,
            data: null,
            errors: [{
              detail: "This idempotency key came with another request before: use a new key for each call",
              code: "idempotency_key_reused"
            }]
          })
        }
        // What is no request at all is told first.
        assert.strictEqual((yield* client.ask(pay("k", { data: { cents: "5" } }))).status, 400)
        assert.deepStrictEqual(same(yield* client.ask(pay("k", { note: "a" }))), success(1))
        assert.strictEqual(world.runs, 1)
      })
    ))

  it.effect("takes a request for the same in whichever order its keys stand, however long it is", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        const long = "x".repeat(5000)
        const ask = (data: string) =>
          client.send(`{"action":"loose","idempotency_key":"k${data.length}", "data": ${data}, "b":[1], "a":2}`).pipe(
            // The digest of what is long is made outside of this thread.
            Effect.andThen(client.peer.take),
            Effect.map((text) => JSON.parse(text).status)
          )
        assert.strictEqual(yield* ask(`{"a":1,"b":{"c":[2,3],"d":null}}`), 200)
        assert.strictEqual(yield* ask(`{"b":{"d":null,"c":[2,3]},"a":1}`), 200)
        assert.strictEqual(yield* ask(`{"a":1,"b":{"c":[3,2],"d":null}}`), 422)
        assert.strictEqual(yield* ask(`{"a":1,"b":"${long}"}`), 200)
        assert.strictEqual(yield* ask(`{"b":"${long}","a":1}`), 200)
        assert.strictEqual(yield* ask(`{"a":2,"b":"${long}"}`), 422)
        assert.strictEqual(world.runs, 2)
      })
    ))

  it.effect("tells data that is null from data that is not there", () =>
    withBank((_, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        assert.strictEqual((yield* client.ask(pay("k", { action: "loose", data: null }))).status, 200)
        assert.strictEqual((yield* client.ask(pay("k", { action: "loose", data: undefined }))).status, 422)
      })
    ))

  it.effect("refuses data that is nested too deeply to be told from other data", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        const deep = `${"[".repeat(30_000)}${"]".repeat(30_000)}`
        yield* client.send(`{"action":"loose","idempotency_key":"k","data":${deep}}`)
        const { errors, status } = yield* client.next
        assert.deepStrictEqual([status, errors], [400, [{
          detail: "Nested too deeply",
          code: "invalid",
          path: ["data"]
        }]])
        assert.strictEqual(world.runs, 0)
      })
    ))
})

describe("whose key it is", () => {
  /** Any attempt: what is different of it makes it another call. */
  const call = Arbitrary.schema(Schema.Struct({
    user: Schema.Literals(["alice", "bob", "nobody"]),
    room: Schema.Literals(["a", "b"]),
    action: Schema.Literals(["pay", "refund"]),
    key: Schema.Literals(["k", "l", "alice"])
  }))

  it.effect.prop(
    "is a user's own, at one path and for one action: nobody is given what others have asked for",
    { calls: Arbitrary.array(call, { maxLength: 25 }) },
    ({ calls }) =>
      withBank((world, connect) =>
        Effect.gen(function*() {
          const seen = new Map<string, unknown>()
          for (const one of calls) {
            const client = yield* connect(one.user === "nobody" ? undefined : one.user, one.room)
            const reply = same(yield* client.ask(pay(one.key, { action: one.action })))
            const id = JSON.stringify(one)
            assert.deepStrictEqual((reply.data as { readonly by: string }).by, one.user)
            if (!seen.has(id)) seen.set(id, reply)
            assert.deepStrictEqual<unknown>(reply, seen.get(id))
            yield* client.leave
          }
          assert.strictEqual(world.runs, seen.size)
        })
      ),
    { arbitrary: { runs: 40 } }
  )

  it.effect("is of a route as it was sent, and of all users that a connection has", () =>
    Effect.gen(function*() {
      class Tenant extends Authentication.Service<Tenant, string>()("test/Tenant", { key: (tenant) => tenant }) {}
      class User extends Authentication.Service<User, string>()("test/User", { key: (user) => user }) {}
      const make = Action.make("make", { success: Schema.Int, idempotent: "key" })
      const Works = Consumer.make("works", { path: "/ws/" }).pipe(
        Consumer.add(Route.make("items/:id/").pipe(Route.add(make)))
      )
      let runs = 0
      const live = Consumer.handlers(Works).pipe(
        Handlers.handle("items/:id/", "make", () => Effect.sync(() => ++runs)),
        Handlers.toLayer,
        Layer.provide([Testing.layerAuthentication(Tenant), Testing.layerAuthentication(User)])
      )
      yield* Effect.gen(function*() {
        const ask = (tenant: string | undefined, user: string | undefined, id: string) =>
          Effect.scoped(Effect.gen(function*() {
            const client = yield* Testing.connect(Works, {
              as: [
                ...(tenant === undefined ? [] : [Testing.as(Tenant, tenant)]),
                ...(user === undefined ? [] : [Testing.as(User, user)])
              ]
            })
            yield* client.send({ action: "make", route: `items/${id}/`, idempotency_key: "k" })
            return (yield* client.receive as Effect.Effect<{ readonly data: number }>).data
          }))
        const places: ReadonlyArray<readonly [string | undefined, string | undefined, string]> = [
          ["a", "b", "1"],
          ["b", "a", "1"],
          ["a", undefined, "1"],
          [undefined, "a", "1"],
          [undefined, undefined, "1"],
          ["a", "b", "2"],
          ["a", "b", "%31"]
        ]
        for (const [i, place] of places.entries()) assert.strictEqual(yield* ask(...place), i + 1)
        for (const [i, place] of places.entries()) assert.strictEqual(yield* ask(...place), i + 1)
      }).pipe(Effect.provide(live))
    }))

  it.effect("is of one consumer", () =>
    Effect.gen(function*() {
      let runs = 0
      const make = (name: string) => {
        const consumer = Consumer.make(name, { path: `/ws/` }).pipe(
          Consumer.add(Action.make("make", { success: Schema.Int, idempotent: "key" }))
        )
        const live = Consumer.handlers(consumer).pipe(
          Handlers.handle("make", () => Effect.sync(() => ++runs)),
          Handlers.toLayer
        )
        return Effect.flatMap(start(consumer, live), ({ connect }) => connect("/ws/"))
      }
      const [one, two, again] = [yield* make("one"), yield* make("two"), yield* make("one")]
      const request = { action: "make", idempotency_key: "k" }
      assert.strictEqual((yield* one.ask(request)).data, 1)
      assert.strictEqual((yield* two.ask(request)).data, 2)
      assert.strictEqual((yield* again.ask(request)).data, 1)
    }).pipe(Effect.scoped, Effect.provide(Layer.mergeAll(layerTest, Idempotency.layerMemory()))))
})

describe("who may ask", () => {
  it.effect("is decided for each attempt, before it is answered from memory", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        yield* client.ask(pay("k"))
        world.payers.delete("alice")
        yield* invalidate("alice")
        assert.deepStrictEqual(same(yield* client.ask(pay("k"))), {
          status: 403,
          data: null,
          errors: [{ detail: "No money", code: "no_money" }]
        })
        // Not even whether it is a key at all.
        assert.strictEqual((yield* client.ask(pay(""))).status, 403)
        world.payers.add("alice")
        yield* invalidate("alice")
        assert.deepStrictEqual(same(yield* client.ask(pay("k"))), success(1))
      })
    ))

  it.effect("is decided anew of one who waits for the outcome while the facts change", () =>
    withBank((world, connect, store) =>
      Effect.gen(function*() {
        const [one, two] = [yield* connect("alice"), yield* connect("alice")]
        world.gate.closeUnsafe()
        yield* one.send(pay("k"))
        yield* two.send(pay("k"))
        yield* settle
        world.payers.delete("alice")
        yield* invalidate("alice")
        // The one that runs is ended, and the one that waits is not let in by that.
        assert.strictEqual((yield* one.next).status, 403)
        assert.strictEqual((yield* two.next).status, 403)
        assert.deepStrictEqual(world.trace, ["start pay", "stop pay"])
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
      })
    ))

  it.effect("and still may, after the facts have changed while they waited, is given the outcome", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const [one, two] = [yield* connect("alice"), yield* connect("alice")]
        world.gate.closeUnsafe()
        yield* one.send(pay("k"))
        yield* two.send(pay("k"))
        yield* settle
        yield* invalidate("alice")
        yield* world.gate.open
        assert.deepStrictEqual(same(yield* one.next), success(1))
        assert.deepStrictEqual(same(yield* two.next), success(1))
        assert.strictEqual(world.runs, 1)
      })
    ))

  it.effect("is counted for each attempt", () =>
    withBank((_, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        for (let i = 0; i < 3; i++) yield* client.ask(pay("k"))
        const snapshots = yield* Metric.snapshot
        const allowed = snapshots.filter(({ attributes, id }) =>
          id === "effect_channels_decisions_total" && attributes?.["action"] === "pay"
        )
        assert.deepStrictEqual(
          allowed.map((
            { attributes, state }
          ) => [attributes?.["outcome"], (state as { readonly count: number }).count]),
          [["allow", 3]]
        )
      })
    ))

  it.effect("as to the object was decided when it was done: it may be gone, and is not loaded again", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        assert.deepStrictEqual(same(yield* client.ask(close("k"))), {
          status: 200,
          data: { n: 1, by: "alice" },
          errors: []
        })
        assert.deepStrictEqual(same(yield* client.ask(close("k"))), {
          status: 200,
          data: { n: 1, by: "alice" },
          errors: []
        })
        assert.deepStrictEqual(world.loaded, [1])
        assert.strictEqual((yield* client.ask(close("other"))).status, 404)
        // What the loading fails with is declared as well.
        world.accounts.set(1, "alice")
        assert.strictEqual((yield* client.ask(close("other"))).status, 404)
        assert.strictEqual((yield* client.ask(close("third"))).status, 200)
      })
    ))

  it.effect("and is not, is not remembered", () =>
    withBank((world, connect, store) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        assert.strictEqual((yield* client.ask(close("k", 2))).status, 403)
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
        world.accounts.set(2, "alice")
        // What a check fails with is not what its handler does, though it has the same class.
        world.isOwnerGone = true
        assert.strictEqual((yield* client.ask(close("k", 2))).status, 404)
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
        world.isOwnerGone = false
        assert.strictEqual((yield* client.ask(close("k", 2))).status, 200)
      })
    ))

  it.effect("is decided from the beginning where facts change while the object is loaded", () =>
    withBank((world, connect, store) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        world.loading.closeUnsafe()
        yield* client.send(close("k"))
        yield* settle
        yield* invalidate("alice")
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 1 })
        yield* world.loading.open
        assert.strictEqual((yield* client.next).status, 200)
        assert.deepStrictEqual(world.loaded, [1, 1])
        assert.strictEqual((yield* client.ask(close("k"))).status, 200)
        assert.strictEqual(world.runs, 1)
        assert.deepStrictEqual(store.size(), { outcomes: 1, claims: 0 })
      })
    ))

  it.effect("is counted by throttles for each attempt", () =>
    Effect.gen(function*() {
      const make = Action.make("make", { success: Schema.Int, idempotent: "key" }).pipe(
        Action.permit(Throttle.perConnection("make", { limit: 2, window: "1 minute" }))
      )
      const Works = Consumer.make("works", { path: "/ws/" }).pipe(Consumer.add(make))
      let runs = 0
      const live = Consumer.handlers(Works).pipe(
        Handlers.handle("make", () => Effect.sync(() => ++runs)),
        Handlers.toLayer
      )
      yield* Effect.gen(function*() {
        const client = yield* Testing.connect(Works)
        const statuses: Array<number> = []
        for (let i = 0; i < 3; i++) {
          yield* client.send({ action: "make", idempotency_key: "k" })
          statuses.push((yield* client.receive as Effect.Effect<{ readonly status: number }>).status)
        }
        assert.deepStrictEqual(statuses, [200, 200, 429])
        assert.strictEqual(runs, 1)
      }).pipe(Effect.provide(live))
    }))
})

describe("while the first attempt runs", () => {
  it.effect("others wait for its outcome, on the same connection and on others", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const clients = [yield* connect("alice"), yield* connect("alice"), yield* connect("alice")]
        world.gate.closeUnsafe()
        for (const client of clients) yield* client.send(pay("k"), pay("k"))
        yield* settle
        for (const client of clients) yield* client.silent
        // Somebody else does not.
        const bob = yield* connect("bob")
        yield* bob.send(pay("k"))
        yield* world.gate.open
        for (const client of clients) {
          assert.deepStrictEqual((yield* client.take(2)).map(same), [success(1), success(1)])
        }
        assert.deepStrictEqual(same(yield* bob.next), success(2, "bob"))
        assert.strictEqual(world.runs, 2)
      })
    ))

  it.effect("one that came with another request is refused at once", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const [one, two] = [yield* connect("alice"), yield* connect("alice")]
        world.gate.closeUnsafe()
        yield* one.send(pay("k"))
        assert.strictEqual((yield* two.ask(pay("k", { data: { cents: 6 } }))).status, 422)
        yield* world.gate.open
        assert.deepStrictEqual(same(yield* one.next), success(1))
      })
    ))

  it.effect("another one has a timeout of its own", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const [one, two] = [yield* connect("alice"), yield* connect("alice")]
        world.gate.closeUnsafe()
        yield* one.send(pay("k"))
        yield* TestClock.adjust("1 seconds")
        yield* two.send(pay("k"))
        yield* TestClock.adjust("3999 millis")
        yield* one.silent
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* one.next).status, 408)
        // It does it now, and has as much time as any.
        assert.deepStrictEqual(world.trace, ["start pay", "stop pay", "start pay"])
        yield* TestClock.adjust("999 millis")
        yield* two.silent
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* two.next).status, 408)
        assert.deepStrictEqual(world.trace, ["start pay", "stop pay", "start pay", "stop pay"])
      })
    ))

  for (const how of ["cancelled", "failed"] as const) {
    it.effect(`the next one does it where the first is ${how}`, () =>
      withBank((world, connect) =>
        Effect.gen(function*() {
          const [one, two, three] = [yield* connect("alice"), yield* connect("alice"), yield* connect("alice")]
          world.gate.closeUnsafe()
          yield* one.send(pay("k", { request_id: "x" }))
          yield* two.send(pay("k"))
          yield* three.send(pay("k"))
          yield* settle
          if (how === "cancelled") {
            yield* one.send({ action: "$cancel", data: { request_id: "x" } })
            assert.deepStrictEqual((yield* one.take(2)).map(({ status }) => status), [499, 200])
            yield* world.gate.open
          } else {
            const isFirst = () => world.runs === 1
            world.end = Effect.suspend(() =>
              isFirst() ? Effect.fail(new ChannelError.Unavailable({ message: "No" })) : Effect.void
            )
            yield* world.gate.open
            assert.strictEqual((yield* one.next).status, 503)
          }
          assert.deepStrictEqual(same(yield* two.next), success(2))
          assert.deepStrictEqual(same(yield* three.next), success(2))
          assert.deepStrictEqual(same(yield* one.ask(pay("k"))), success(2))
        })
      ))
  }

  it.effect("one whose client goes away while it waits leaves nothing behind", () =>
    withBank((world, connect, store) =>
      Effect.gen(function*() {
        const [one, two] = [yield* connect("alice"), yield* connect("alice")]
        world.gate.closeUnsafe()
        yield* one.send(pay("k", { request_id: "x" }))
        yield* two.send(pay("k"))
        yield* settle
        yield* two.leave
        assert.isDefined(two.fiber.pollUnsafe())
        yield* one.send({ action: "$cancel", data: { request_id: "x" } })
        yield* settle
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
        assert.strictEqual(world.runs, 1)
      })
    ))

  it.effect.prop(
    "exactly one of many does it, whatever they meet with",
    {
      steps: Arbitrary.array(
        Arbitrary.schema(Schema.Struct({
          client: Schema.Literals([0, 1, 2]),
          does: Schema.Literals(["send", "send", "leave", "fail", "finish", "time"])
        })),
        { maxLength: 25 }
      )
    },
    ({ steps }) =>
      withBank((world, connect, store) =>
        Effect.gen(function*() {
          const clients = [yield* connect("alice"), yield* connect("alice"), yield* connect("alice")]
          const isRunning = () => world.trace.length % 2 === 1
          let succeeded: number | undefined
          world.gate.closeUnsafe()
          for (const { client, does } of steps) {
            if (does === "send") yield* clients[client]!.send(pay("k"))
            else if (does === "leave") {
              yield* clients[client]!.leave
              clients[client] = yield* connect("alice")
            } else if (does === "time") yield* TestClock.adjust("2 seconds")
            else {
              if (!isRunning()) continue
              const { runs } = world
              world.end = does === "finish"
                ? Effect.sync(() => {
                  // One that is let in by this one's failure is held up again.
                  succeeded ??= runs
                })
                : Effect.suspend(() => {
                  world.gate.closeUnsafe()
                  return Effect.fail(new ChannelError.Unavailable({ message: "No" }))
                })
              yield* world.gate.open
            }
            yield* settle
            // It never runs twice at once.
            for (const [i, line] of world.trace.entries()) {
              assert.strictEqual(line.startsWith("start"), i % 2 === 0, world.trace.join())
            }
            if (succeeded !== undefined) assert.strictEqual(world.runs, succeeded)
            assert.strictEqual(store.size().claims, isRunning() ? 1 : 0)
          }
          world.end = Effect.void
          yield* world.gate.open
          yield* settle
          const last = yield* connect("alice")
          const reply = same(yield* last.ask(pay("k")))
          assert.deepStrictEqual(reply, success(succeeded ?? world.runs))
        })
      ),
    { arbitrary: { runs: 60 } }
  )
})

describe("an event", () => {
  it.effect("is sent once, also to a group with a history", () =>
    withBank((_, connect) =>
      Effect.gen(function*() {
        const [one, two] = [yield* connect("alice"), yield* connect("bob")]
        for (const [i, action] of ["tell", "record"].entries()) {
          const request = pay("k", { action, data: undefined })
          yield* one.send(request)
          yield* one.send(request)
          assert.deepStrictEqual(yield* heard(two), [i + 1])
          assert.deepStrictEqual(yield* heard(one), [i + 1])
        }
      })
    ))

  it.effect("that cannot be written to its history is answered with 503, and the next attempt does it anew", () =>
    Effect.suspend(() => {
      let isAway = true
      const layer = layerWith((memory) => ({
        send: (group, message) =>
          group.history !== undefined && isAway
            ? Effect.fail(new ChannelError.Unavailable({ message: "Away" }))
            : memory.send(group, message)
      }))
      return withBank((_, connect, store) =>
        Effect.gen(function*() {
          const client = yield* connect("alice")
          const request = pay("k", { action: "record", data: undefined })
          assert.strictEqual((yield* client.ask(request)).status, 503)
          assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
          isAway = false
          assert.strictEqual((yield* client.ask(request)).data, 2)
          assert.deepStrictEqual(yield* heard(client), [2])
          assert.strictEqual((yield* client.ask(request)).data, 2)
          assert.deepStrictEqual(yield* heard(client), [])
        }), { layer })
    }))

  for (const how of ["cancelled", "gone"] as const) {
    it.effect(`is sent where the outcome is remembered, and the first attempt is ${how} just then`, () => {
      const keeping = Latch.makeUnsafe(false)
      return withBank((world, connect, store) =>
        Effect.gen(function*() {
          const [one, two] = [yield* connect("alice"), yield* connect("bob")]
          yield* one.send(pay("k", { action: "tell", data: undefined, request_id: "x" }))
          yield* settle
          assert.deepStrictEqual(world.trace, ["start tell", "end tell"])
          if (how === "gone") yield* one.leave
          else {
            yield* one.send({ action: "$cancel", data: { request_id: "x" } })
            assert.deepStrictEqual((yield* one.take(2)).map(({ status }) => status), [499, 200])
          }
          yield* keeping.open
          assert.deepStrictEqual(yield* heard(two), [1])
          assert.deepStrictEqual(store.size(), { outcomes: 1, claims: 0 })
          const three = yield* connect("alice")
          assert.strictEqual((yield* three.ask(pay("k", { action: "tell", data: undefined }))).data, 1)
          assert.deepStrictEqual(yield* heard(two), [])
        }), {
        store: (memory) => ({
          ...memory,
          keep: (attempt, outcome, millis) => Effect.andThen(keeping.await, memory.keep(attempt, outcome, millis))
        })
      })
    })
  }

  it.effect("and what is silent: no attempt is answered, and it is done once", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        const request = pay("k", { action: "whisper", data: undefined })
        yield* client.send(request, request)
        yield* settle
        yield* client.silent
        assert.strictEqual(world.runs, 1)
        world.end = Effect.fail(new Declined({ cents: 1 }))
        const failing = pay("l", { action: "whisper", data: undefined })
        assert.strictEqual((yield* client.ask(failing)).status, 402)
        assert.strictEqual((yield* client.ask(failing)).status, 402)
        assert.strictEqual(world.runs, 2)
      })
    ))
})

describe("when the client goes away", () => {
  it.effect("what has begun runs to its end, and its outcome is there for the next attempt", () =>
    withBank((world, connect, store) =>
      Effect.gen(function*() {
        const one = yield* connect("alice")
        world.gate.closeUnsafe()
        yield* one.send(pay("k"), pay(undefined), pay(undefined, { action: "plain" }))
        yield* settle
        yield* one.leave
        // All else has ended at once.
        assert.deepStrictEqual(world.trace, ["start pay", "start pay", "start plain", "stop pay", "stop plain"])
        assert.isUndefined(one.fiber.pollUnsafe())
        assert.strictEqual(world.released, 0)
        const two = yield* connect("alice")
        yield* two.send(pay("k"))
        yield* two.silent
        yield* world.gate.open
        assert.deepStrictEqual(same(yield* two.next), success(1))
        assert.deepStrictEqual(world.trace.slice(5), ["end pay"])
        // What the connection has acquired is released then.
        assert.deepStrictEqual(yield* Fiber.join(one.fiber), { code: 1000, reason: "" })
        assert.strictEqual(world.released, 2)
        assert.deepStrictEqual(store.size(), { outcomes: 1, claims: 0 })
      })
    ))

  it.effect("what waits in line is not begun any more", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const one = yield* connect("alice")
        world.gate.closeUnsafe()
        yield* one.send(...["a", "b", "c", "d", "e", "f"].map((key) => pay(key)))
        yield* settle
        assert.strictEqual(world.runs, 4)
        yield* one.leave
        yield* world.gate.open
        yield* settle
        assert.strictEqual(world.runs, 4)
        assert.isDefined(one.fiber.pollUnsafe())
      })
    ))

  it.effect("it leaves its groups and is found no more at once, and its event goes out all the same", () =>
    withBank((world, connect, _, members) =>
      Effect.gen(function*() {
        const kept = yield* watchKept
        const [one, two] = [yield* connect("alice"), yield* connect("bob")]
        assert.strictEqual(yield* members, 2)
        assert.strictEqual((yield* kept).connections, 2)
        world.gate.closeUnsafe()
        for (const action of ["tell", "record"]) yield* one.send(pay("k", { action, data: undefined }))
        yield* settle
        yield* one.leave
        assert.isUndefined(one.fiber.pollUnsafe())
        assert.strictEqual(yield* members, 1)
        assert.strictEqual((yield* kept).connections, 1)
        world.payers.delete("alice")
        yield* invalidate("alice")
        yield* world.gate.open
        assert.deepStrictEqual((yield* heard(two)).toSorted(), [1, 2])
        assert.deepStrictEqual(world.trace.slice(2), ["end tell", "end record"])
        assert.isDefined(one.fiber.pollUnsafe())
      })
    ))

  it.effect("its timeout holds", () =>
    withBank((world, connect, store) =>
      Effect.gen(function*() {
        const one = yield* connect("alice")
        world.gate.closeUnsafe()
        yield* one.send(pay("k"))
        yield* TestClock.adjust("1 second")
        yield* one.leave
        yield* TestClock.adjust("3999 millis")
        assert.isUndefined(one.fiber.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.isDefined(one.fiber.pollUnsafe())
        assert.deepStrictEqual(world.trace, ["start pay", "stop pay"])
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
      })
    ))

  it.effect("a server that stops waits for it as long as for others, and then ends it", () =>
    withBank((world, connect, store) =>
      Effect.gen(function*() {
        const [one, two] = [yield* connect("alice"), yield* connect("alice")]
        world.gate.closeUnsafe()
        yield* one.send(pay("k"))
        yield* two.send(pay("l"))
        yield* settle
        yield* one.leave
        yield* two.leave
        const draining = yield* Effect.forkChild(one.session.drain("1 second"), { startImmediately: true })
        yield* Effect.forkChild(two.session.drain("10 seconds"), { startImmediately: true })
        yield* TestClock.adjust("999 millis")
        assert.isUndefined(draining.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.isDefined(draining.pollUnsafe())
        assert.isDefined(one.fiber.pollUnsafe())
        assert.deepStrictEqual(world.trace, ["start pay", "start pay", "stop pay"])
        assert.isUndefined(two.fiber.pollUnsafe())
        yield* world.gate.open
        yield* settle
        assert.isDefined(two.fiber.pollUnsafe())
        assert.deepStrictEqual(store.size(), { outcomes: 1, claims: 0 })
      })
    ))

  it.effect("a server that is interrupted ends it at once, as does one that closes the connection", () =>
    withLogs((logs) =>
      withBank((world, connect, store) =>
        Effect.gen(function*() {
          const [one, two, three] = [yield* connect("alice"), yield* connect("alice"), yield* connect("alice")]
          world.gate.closeUnsafe()
          for (const [i, client] of [one, two, three].entries()) yield* client.send(pay(`k${i}`))
          yield* settle
          yield* one.leave
          yield* Fiber.interrupt(one.fiber)
          yield* Fiber.interrupt(two.fiber)
          yield* three.session.drain(0)
          yield* settle
          assert.isDefined(three.fiber.pollUnsafe())
          assert.deepStrictEqual(world.trace.slice(3), ["stop pay", "stop pay", "stop pay"])
          assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
          assert.strictEqual(world.released, 3)
          // Nobody is told that it broke.
          assert.deepStrictEqual(logs.filter(({ level }) => level === "Error"), [])
        })
      )
    ))

  for (const how of ["it does", "it does not", "the server ends it"] as const) {
    it.effect(`while facts change, it is decided by them whether it goes on: ${how}`, () =>
      Effect.gen(function*() {
        const refreshing = Latch.makeUnsafe(true)
        const gate = Latch.makeUnsafe(false)
        const trace: Array<string> = []
        let isPermitted = true
        class User extends Authentication.Service<User, string>()("test/User", { key: (user) => user }) {}
        const make = Action.make("make", { success: Schema.Int, idempotent: "key" }).pipe(
          Action.permit(Permission.connection("isPermitted", Effect.sync(() => isPermitted)))
        )
        const Works = Consumer.make("works", { path: "/ws/" }).pipe(Consumer.add(make))
        const live = Consumer.handlers(Works).pipe(
          Handlers.handle("make", () =>
            Effect.as(
              Effect.onExit(gate.await, (exit) => Effect.sync(() => trace.push(exit._tag))),
              1
            )),
          Handlers.toLayer,
          Layer.provide(User.layer({
            authenticate: () => Effect.succeed(Authentication.authenticated("alice")),
            refresh: (identity) => Effect.as(refreshing.await, identity)
          }))
        )
        const server = yield* start(Works, live)
        const client = yield* server.connect("/ws/")
        yield* client.send({ action: "make", idempotency_key: "k" })
        yield* settle
        refreshing.closeUnsafe()
        isPermitted = how !== "it does not"
        yield* Authority.invalidate(Authority.everyone)
        yield* settle
        if (how !== "the server ends it") yield* client.leave
        // What it has come to is looked at when all is decided.
        if (isPermitted) yield* gate.open
        yield* settle
        assert.isUndefined(client.fiber.pollUnsafe())
        if (how === "the server ends it") yield* Fiber.interrupt(client.fiber)
        yield* refreshing.open
        yield* settle
        assert.isDefined(client.fiber.pollUnsafe())
        assert.deepStrictEqual(trace, [isPermitted ? "Success" : "Failure"])
        const store = yield* Idempotency.Store
        assert.deepStrictEqual((store as Idempotency.MemoryStore).size(), {
          outcomes: how === "it does" ? 1 : 0,
          claims: 0
        })
      }).pipe(Effect.scoped, Effect.provide(Layer.mergeAll(layerTest, Idempotency.layerMemory()))))
  }
})

describe("the store of outcomes", () => {
  outcomeSuite("in memory", () => Idempotency.layerMemory())

  it.effect("forgets an outcome after the time that the settings say", () =>
    Effect.gen(function*() {
      const test = (minutes: number) =>
      (
        world: World,
        connect: (user?: string) => Effect.Effect<Client, Pipeline.HandshakeRefused, Scope.Scope>
      ) =>
        Effect.gen(function*() {
          const client = yield* connect("alice")
          world.gate.closeUnsafe()
          yield* client.send(pay("k"))
          yield* TestClock.adjust("4 seconds")
          yield* world.gate.open
          assert.deepStrictEqual(same(yield* client.next), success(1))
          // It begins when the outcome is known, and is not begun anew by those who ask.
          yield* TestClock.adjust(minutes * 60_000 - 1)
          assert.deepStrictEqual(same(yield* client.ask(pay("k"))), success(1))
          yield* TestClock.adjust(1)
          assert.deepStrictEqual(same(yield* client.ask(pay("k"))), success(2))
        })
      yield* withBank(test(10))
      yield* withBank(test(1), { settings: { keepOutcomes: "1 minute" } })
    }))

  it.effect("in memory forgets the oldest outcome where there are too many, and no claim", () =>
    withBank((world, connect, store) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        world.gate.closeUnsafe()
        yield* client.send(pay("slow", { action: "refund" }))
        yield* settle
        yield* world.gate.open
        yield* client.next
        for (const key of ["a", "b", "c", "d"]) yield* client.ask(pay(key))
        assert.deepStrictEqual(store.size(), { outcomes: 2, claims: 0 })
        assert.strictEqual(world.runs, 5)
        for (const key of ["c", "d"]) yield* client.ask(pay(key))
        assert.strictEqual(world.runs, 5)
        assert.deepStrictEqual(same(yield* client.ask(pay("a"))), success(6))
      }), { memory: { maxOutcomes: 2 } }))

  it("in memory takes a whole number of outcomes", () => {
    for (const maxOutcomes of [0, -1, 1.5, NaN, Infinity]) {
      assert.throws(() => Idempotency.makeMemory({ maxOutcomes }), "maxOutcomes must be a whole number from 1")
    }
  })

  const away = Effect.fail(new ChannelError.Unavailable({ message: "Away" }))

  it.effect("that is unavailable lets nothing be done: 503", () =>
    withBank((world, connect) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        const { errors, status } = yield* client.ask(pay("k"))
        assert.deepStrictEqual([status, errors], [503, [{ detail: "Away", code: "unavailable" }]])
        assert.strictEqual(world.runs, 0)
        assert.deepStrictEqual(same(yield* client.ask(pay(undefined))), success(1))
      }), { store: (memory) => ({ ...memory, claim: () => away, release: () => away }) }))

  it.effect("that becomes unavailable: the outcome is answered and not remembered, which is logged", () =>
    withLogs((logs) =>
      withBank((_, connect, store) =>
        Effect.gen(function*() {
          const client = yield* connect("alice")
          assert.deepStrictEqual(same(yield* client.ask(pay("k"))), success(1))
          assert.deepStrictEqual(
            logs.filter(({ level }) => level === "Warn").map(({ message }) => message),
            ["The outcome of an action cannot be remembered Away"]
          )
          assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
          assert.deepStrictEqual(same(yield* client.ask(pay("k"))), success(2))
        }), { store: (memory) => ({ ...memory, keep: () => away }) })
    ))

  describe("whose claims expire", () => {
    /** A store that says how its claims are renewed. */
    const leased = (renew: () => Effect.Effect<boolean, ChannelError.Unavailable>) => ({
      store: (memory: Idempotency.MemoryStore): Idempotency.Store => ({ ...memory, lease: 3000, renew })
    })

    it.effect("is told three times in a lease that it is still done, as long as it is", () => {
      let renewed = 0
      return withBank((world, connect) =>
        Effect.gen(function*() {
          const client = yield* connect("alice")
          world.gate.closeUnsafe()
          yield* client.send(pay("k"))
          yield* TestClock.adjust("999 millis")
          assert.strictEqual(renewed, 0)
          yield* TestClock.adjust("1 millis")
          assert.strictEqual(renewed, 1)
          yield* client.leave
          yield* TestClock.adjust("3 seconds")
          assert.strictEqual(renewed, 4)
          yield* world.gate.open
          yield* settle
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(renewed, 4)
        }), leased(() => Effect.sync(() => ++renewed > 0)))
    })

    it.effect("goes on with what is done while it is unavailable", () => {
      let renewed = 0
      return withBank((world, connect) =>
        Effect.gen(function*() {
          const client = yield* connect("alice")
          world.gate.closeUnsafe()
          yield* client.send(pay("k"))
          yield* TestClock.adjust("4 seconds")
          assert.strictEqual(renewed, 4)
          yield* world.gate.open
          assert.deepStrictEqual(same(yield* client.next), success(1))
        }), leased(() => Effect.andThen(Effect.sync(() => ++renewed), away)))
    })

    for (const isGone of [false, true]) {
      it.effect(`ends what another attempt does meanwhile${isGone ? ", also where its client has gone" : ": 503"}`, () =>
        withBank((world, connect) =>
          Effect.gen(function*() {
            const client = yield* connect("alice")
            world.gate.closeUnsafe()
            yield* client.send(pay("k"))
            yield* settle
            if (isGone) yield* client.leave
            yield* TestClock.adjust("1 seconds")
            yield* settle
            assert.deepStrictEqual(world.trace, ["start pay", "stop pay"])
            if (isGone) assert.isDefined(client.fiber.pollUnsafe())
            else {
              assert.deepStrictEqual((yield* client.next).errors, [{
                detail: "Another attempt of this request has begun: send it again to learn its outcome",
                code: "unavailable"
              }])
            }
          }), leased(() => Effect.succeed(false))))
    }
  })

  it.effect("is given up what was claimed, where the request ends while it is being claimed", () => {
    const asking = Latch.makeUnsafe(false)
    return withBank((world, connect, store) =>
      Effect.gen(function*() {
        const client = yield* connect("alice")
        yield* client.send(pay("k", { request_id: "x" }))
        yield* settle
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 1 })
        yield* client.send({ action: "$cancel", data: { request_id: "x" } })
        assert.deepStrictEqual((yield* client.take(2)).map(({ status }) => status), [499, 200])
        assert.deepStrictEqual(store.size(), { outcomes: 0, claims: 0 })
        assert.strictEqual(world.runs, 0)
      }), {
      store: (memory) => ({
        ...memory,
        // It is claimed before anybody hears of it.
        claim: (attempt) => Effect.tap(memory.claim(attempt), () => asking.await)
      })
    })
  })

  it.effect("is one for each build of a consumer's layer in tests, where none is provided", () =>
    Effect.gen(function*() {
      let runs = 0
      const Works = Consumer.make("works", { path: "/ws/" }).pipe(
        Consumer.add(Action.make("make", { success: Schema.Int, idempotent: "key" }))
      )
      const live = Consumer.handlers(Works).pipe(
        Handlers.handle("make", () => Effect.sync(() => ++runs)),
        Handlers.toLayer
      )
      const ask = Effect.gen(function*() {
        const client = yield* Testing.connect(Works)
        yield* client.send({ action: "make", idempotency_key: "k" })
        return (yield* client.receive as Effect.Effect<{ readonly data: number }>).data
      })
      const twice = Effect.all([ask, ask]).pipe(Effect.scoped, Effect.provide(Layer.fresh(live), { local: true }))
      assert.deepStrictEqual(yield* twice, [1, 1])
      assert.deepStrictEqual(yield* twice, [2, 2])
      const provided = Layer.provide(Layer.fresh(live), Layer.succeed(Idempotency.Store, Idempotency.makeMemory()))
      assert.deepStrictEqual(yield* Effect.all([ask, ask]).pipe(Effect.scoped, Effect.provide(provided)), [3, 3])
    }))
})

describe("a consumer", () => {
  const keyed = Action.make("make", { idempotent: "key" })

  it.effect("does not start where a key would be nobody's, or stands where a field does", () =>
    Effect.gen(function*() {
      class User extends Authentication.Service<User, string>()("test/User") {}
      const stream = Action.make("tail", { stream: true, idempotent: "key" as never })
      const field = Action.make("field", { fields: { idempotency_key: Schema.String }, idempotent: "key" })
      const other = Action.make("other", { fields: { idempotency_key: Schema.String } })
      const Works = Consumer.make("works", { path: "/ws/" }).pipe(Consumer.add(keyed, stream, field, other))
      const live = Consumer.handlers(Works).pipe(
        Handlers.handle("make", () => Effect.void),
        Handlers.handle("tail", () => Effect.void as never),
        Handlers.handle("field", () => Effect.void),
        Handlers.handle("other", () => Effect.void),
        Handlers.toLayer,
        Layer.provide([
          User.layer(() => Effect.succeed(Authentication.anonymous)),
          Settings.layer({ keepOutcomes: 0 })
        ])
      )
      const twoUsers = (action: string) =>
        `the action "${action}" of the consumer is done once for each key, but the identity service "test/User" does not tell two users apart, who could use the same one: give it a key`
      assert.deepStrictEqual(yield* problemsOf(Effect.scoped(Layer.build(live))), [
        "the setting keepOutcomes must be a duration longer than nothing, and not for ever",
        twoUsers("make"),
        "the action \"tail\" of the consumer is answered with a stream, which is not done once for each key: let idempotent be true, or leave it out",
        twoUsers("tail"),
        "the field \"idempotency_key\" of the action \"field\" of the consumer is the protocol's own, as it is done once for each key: give the field another name",
        twoUsers("field")
      ])
    }))

  it.effect("does not start where the server has a store that its handlers do not have", () =>
    Effect.gen(function*() {
      const Works = Consumer.make("works", { path: "/ws/" }).pipe(Consumer.add(keyed))
      const live = Consumer.handlers(Works).pipe(Handlers.handle("make", () => Effect.void), Handlers.toLayer)
      const store = Idempotency.layerMemory()
      const served = Effect.scoped(Pipeline.make([Works]))
      yield* served.pipe(Effect.provide(live))
      yield* served.pipe(Effect.provide(Layer.provideMerge(live, store)))
      const problems = yield* problemsOf(served.pipe(Effect.provide(Layer.merge(live, store))))
      assert.deepStrictEqual(problems, [
        "the server has an Idempotency.Store that its handlers do not have, whose outcomes it remembers: provide it outermost, to what serves and to the handlers"
      ])
    }))
})

describe("an action", () => {
  it("says whether a request for it may be sent again", () => {
    assert.isFalse(Action.make("x").idempotent)
    assert.isFalse(Action.make("x", { idempotent: undefined }).idempotent)
    assert.isTrue(Action.make("x", { idempotent: true }).idempotent)
    assert.strictEqual(Action.make("x", { idempotent: "key" }).idempotent, "key")
    assert.isTrue(Action.make("x", { stream: true, idempotent: true }).idempotent)
    const guarded = Action.make("x", { idempotent: "key" }).pipe(
      Action.object(Account),
      Action.permit(Permission.allow),
      Action.silent
    )
    assert.strictEqual(guarded.idempotent, "key")
  })

  it("of a resource that reads may be sent again", () => {
    class Rows extends Repository.Service<Rows>()("test/Rows", {
      schema: Schema.Struct({ id: Schema.Int, text: Schema.String }),
      key: "id"
    }) {}
    const rows = Resource.make("rows", { repository: Rows, actions: [...Resource.crud, "subscribe"] })
    const told = (actions: ReadonlyArray<Action.Any>) => actions.map(({ idempotent, name }) => [name, idempotent])
    assert.deepStrictEqual(told(Resource.collection(rows)), [
      ["list", true],
      ["create", false],
      ["subscribe", true],
      ["unsubscribe", false]
    ])
    assert.deepStrictEqual(told(Resource.object(rows)), [
      ["retrieve", true],
      ["update", false],
      ["partial_update", false],
      ["destroy", false],
      ["subscribe", true],
      ["unsubscribe", false]
    ])
  })
})
