import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  Check,
  Consumer,
  Handlers,
  Permission,
  Pipeline,
  Repository,
  Resource
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { settle, withLogs } from "./support/connection.ts"

interface User {
  readonly name: string
  readonly admin: boolean
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/DocUser", { key: ({ name }) => name }) {}

class Doc extends Schema.Class<Doc>("Doc")({ id: Schema.Int, text: Schema.String, owner: Schema.String }) {}
class Docs extends Repository.Service<Docs>()("test/Docs", { schema: Doc, key: "id" }) {}

/** What happened, and what it waits for. */
class Facts extends Context.Service<Facts, {
  readonly trace: Array<string>
  readonly loading: Latch.Latch
  /** How loading fails, or the check breaks. */
  failure: Effect.Effect<never, ChannelError.Unavailable> | undefined
  broken: Effect.Effect<boolean, ChannelError.Unavailable> | undefined
}>()("test/ConnectFacts") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      return { trace: [], loading: yield* Latch.make(true), failure: undefined, broken: undefined }
    })
  )
}

const isOwner = Check.isOwner<Doc>()(CurrentUser, { object: "owner", user: "name" }, {
  reason: "Not yours",
  code: "not_owner"
})
const isAdmin = Permission.connection("isAdmin", CurrentUser.use(({ admin }) => admin))
const isWhole = Permission.object<Doc>()(
  "isWhole",
  ({ action, object, params, payload, route }) =>
    Facts.use((facts) =>
      Effect.suspend(() => {
        facts.trace.push(JSON.stringify({ action, id: object.id, params, payload, route }))
        return facts.broken ?? Effect.succeed(true)
      })
    )
)
const isKnown = Permission.connection(
  "isKnown",
  Effect.map(CurrentUser.identity, ({ _tag }) => _tag === "Authenticated"),
  { reason: "Who are you?", code: "unknown" }
)

const load = Effect.fnUntraced(function*({ params }: { readonly params: { readonly id: number } }) {
  const facts = yield* Facts
  facts.trace.push(`load ${params.id}`)
  if (facts.failure !== undefined) return yield* facts.failure
  const doc = yield* Repository.get(Docs, params.id)
  yield* facts.loading.await
  return doc
})

const text = Action.make("text", { success: Schema.String })
const sleep = Action.make("sleep")
const Desk = Consumer.make("desk", { path: "/ws/docs/:id/", params: { id: Schema.NumberFromString } }).pipe(
  Consumer.permitConnectObject(load, Permission.and(isWhole, Permission.or(isAdmin, isOwner))),
  Consumer.permitConnect(isKnown),
  Consumer.add(text, sleep)
)
const DeskLive = Consumer.handlers(Desk).pipe(
  Handlers.handle("text", () => Effect.succeed("text")),
  Handlers.handle("sleep", () => Effect.never),
  Handlers.toLayer,
  Layer.provide(Testing.layerAuthentication(CurrentUser)),
  Layer.provideMerge(Docs.layerMemory([
    new Doc({ id: 1, text: "one", owner: "alice" }),
    new Doc({ id: 2, text: "two", owner: "bob" })
  ])),
  Layer.provideMerge(Facts.layer),
  Layer.provideMerge(Authority.layerMemory)
)

const as = (name: string, admin = false) => Testing.as(CurrentUser, { name, admin })
const connect = (id: number, who: Testing.Acting | ReadonlyArray<Testing.Acting> = as("alice")) =>
  Testing.connect(Desk, { params: { id }, as: who })
const refusal = (id: number, who?: Testing.Acting | ReadonlyArray<Testing.Acting>) =>
  Effect.map(
    Effect.flip(Effect.scoped(connect(id, who))),
    (refused) => {
      assert.instanceOf(refused, Pipeline.HandshakeRefused)
      const { body, status } = refused as Pipeline.HandshakeRefused
      return [status, (JSON.parse(body) as { readonly errors: ReadonlyArray<unknown> }).errors]
    }
  )
const loads = Effect.map(Facts, ({ trace }) => trace.filter((line) => line.startsWith("load")))
const invalidate = Effect.andThen(Effect.orDie(Authority.invalidate(Authority.everyone)), settle)
const give = (id: number, owner: string) => Docs.use((docs) => Effect.orDie(docs.update(id, { owner })))

describe("the handshake", () => {
  it.effect("is answered where the object allows it; by its own params, as the action $connect", () =>
    Effect.gen(function*() {
      const alice = yield* connect(1)
      assert.strictEqual((yield* alice.ask("text")).data, "text")
      const { trace } = yield* Facts
      assert.deepStrictEqual(trace, [
        "load 1",
        JSON.stringify({ action: "$connect", id: 1, params: { id: 1 }, payload: undefined, route: "" })
      ])
    }).pipe(Effect.provide(DeskLive)))

  it.effect("is refused with 403 and the reason where it does not", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* refusal(2), [403, [{ detail: "Not yours", code: "not_owner" }]])
      yield* connect(2, as("bob"))
      yield* connect(2, as("root", true))
    }).pipe(Effect.provide(DeskLive)))

  it.effect("is refused with 404 where the object is not there, or the path names none", () =>
    Effect.gen(function*() {
      const message = "There is no such object"
      assert.deepStrictEqual(yield* refusal(3), [404, [
        { detail: message, code: "not_found", error: { _tag: "NotFound", message } }
      ]])
      const { trace } = yield* Facts
      assert.deepStrictEqual(trace, ["load 3"])
      const pipeline = yield* Pipeline.make([Desk])
      const refused = yield* Effect.flip(pipeline.connect({ id: "1", url: "/ws/docs/x/" }))
      assert.strictEqual(refused.status, 404)
      assert.deepStrictEqual(trace, ["load 3"])
    }).pipe(Effect.provide(DeskLive)))

  it.effect("is refused by permitConnect before anything is loaded, whichever was said first", () =>
    Effect.gen(function*() {
      for (const id of [1, 2, 3]) {
        assert.deepStrictEqual(yield* refusal(id, Testing.anonymous), [403, [{
          detail: "Who are you?",
          code: "unknown"
        }]])
      }
      assert.deepStrictEqual(yield* loads, [])
    }).pipe(Effect.provide(DeskLive)))

  it.effect("loads the object once, and messages do not", () =>
    Effect.gen(function*() {
      const alice = yield* connect(1)
      yield* alice.ask("text")
      yield* alice.ask("text")
      assert.deepStrictEqual(yield* loads, ["load 1"])
    }).pipe(Effect.provide(DeskLive)))

  it.effect("waits for the object", () =>
    Effect.gen(function*() {
      const { loading } = yield* Facts
      yield* loading.close
      const connecting = yield* Effect.forkChild(connect(1), { startImmediately: true })
      yield* settle
      assert.strictEqual(connecting.pollUnsafe(), undefined)
      yield* loading.open
      const alice = yield* Fiber.join(connecting)
      assert.strictEqual((yield* alice.ask("text")).status, 200)
    }).pipe(Effect.provide(DeskLive)))

  it.effect("is refused with what loading or a check fails with", () =>
    Effect.gen(function*() {
      const facts = yield* Facts
      const down = Effect.fail(new ChannelError.Unavailable({ message: "down" }))
      const unavailable = [503, [{ detail: "down", code: "unavailable" }]]
      facts.failure = down
      assert.deepStrictEqual(yield* refusal(1), unavailable)
      facts.failure = undefined
      facts.broken = down
      assert.deepStrictEqual(yield* refusal(1), unavailable)
      facts.broken = undefined
      yield* connect(1)
    }).pipe(Effect.provide(DeskLive)))

  it.effect("is refused with 500 where it breaks, and that is logged", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const facts = yield* Facts
        const broken = [500, [{ detail: "Internal server error", code: "error" }]]
        facts.failure = Effect.die(new Error("secret"))
        assert.deepStrictEqual(yield* refusal(1), broken)
        facts.failure = undefined
        facts.broken = Effect.die(new Error("secret"))
        assert.deepStrictEqual(yield* refusal(1), broken)
        facts.broken = Effect.succeed("yes" as unknown as boolean)
        assert.deepStrictEqual(yield* refusal(1), broken)
        assert.lengthOf(logs.filter(({ level }) => level === "Error"), 3)
      }).pipe(Effect.provide(DeskLive))
    ))

  it.effect("is refused where a function throws", () =>
    withLogs(() => {
      const Broken = Consumer.make("broken", { path: "/ws/" }).pipe(
        Consumer.permitConnectObject((): Effect.Effect<Doc> => {
          throw new Error("secret")
        }, Permission.allow)
      )
      return Effect.gen(function*() {
        const refused = yield* Effect.flip(Testing.connect(Broken))
        assert.strictEqual((refused as Pipeline.HandshakeRefused).status, 500)
      }).pipe(Effect.provide(Handlers.toLayer(Consumer.handlers(Broken))))
    }))

  it.effect("is counted", () =>
    Effect.gen(function*() {
      yield* connect(1)
      yield* refusal(2)
      const counts = (yield* Metric.snapshot).flatMap(({ attributes, id, state }) =>
        id === Pipeline.decisions.id
          ? [`${attributes?.["outcome"]} ${attributes?.["check"]}: ${(state as { readonly count: number }).count}`]
          : []
      )
      assert.include(counts, "deny isOwner(owner): 1")
    }).pipe(Effect.provide(DeskLive), Effect.provideService(Metric.MetricRegistry, new Map())))
})

describe("several objects", () => {
  const step = (name: string, allows: boolean) =>
    Consumer.permitConnectObject(
      () => Facts.use(({ trace }) => Effect.sync(() => trace.push(`load ${name}`))),
      Permission.object<number>()(name, () =>
        Facts.use(({ trace }) =>
          Effect.sync(() => {
            trace.push(name)
            return allows
          })
        ))
    )
  const consumer = (second: boolean) =>
    Consumer.make("several", { path: "/ws/" }).pipe(step("first", true), step("second", second), step("third", true))

  it.effect("are loaded and decided one after the other, and the first that denies refuses", () =>
    Effect.gen(function*() {
      for (const second of [true, false]) {
        const Several = consumer(second)
        const steps = yield* Effect.gen(function*() {
          const connected = yield* Effect.exit(Testing.connect(Several))
          assert.strictEqual(connected._tag, second ? "Success" : "Failure")
          return (yield* Facts).trace
        }).pipe(
          Effect.provide(Layer.provideMerge(Handlers.toLayer(Consumer.handlers(Several)), Facts.layer))
        )
        const all = ["load first", "first", "load second", "second", "load third", "third"]
        assert.deepStrictEqual(steps, second ? all : all.slice(0, 4))
      }
    }))
})

describe("when authority is invalidated", () => {
  it.effect("the object is loaded and decided anew; whoever still may goes on", () =>
    Effect.gen(function*() {
      const alice = yield* connect(1)
      yield* invalidate
      assert.deepStrictEqual(yield* loads, ["load 1", "load 1"])
      assert.strictEqual((yield* alice.ask("text")).status, 200)
    }).pipe(Effect.provide(DeskLive)))

  it.effect("4403 where the object is not there any more, and what runs is ended", () =>
    Effect.gen(function*() {
      const alice = yield* connect(1)
      const asking = yield* Effect.forkChild(alice.ask("sleep"), { startImmediately: true })
      yield* settle
      yield* Docs.use((docs) => Effect.orDie(docs.remove(1)))
      yield* invalidate
      assert.deepStrictEqual(yield* alice.closed, { code: 4403, reason: "There is no such object" })
      assert.strictEqual((yield* Fiber.join(asking)).status, 404)
      assert.deepStrictEqual((yield* refusal(1))[0], 404)
    }).pipe(Effect.provide(DeskLive)))

  it.effect("4403 where the object denies now", () =>
    Effect.gen(function*() {
      const alice = yield* connect(1)
      const root = yield* connect(1, as("root", true))
      const asking = yield* Effect.forkChild(alice.ask("sleep"), { startImmediately: true })
      yield* settle
      yield* give(1, "bob")
      yield* Authority.invalidate(Authority.identity(CurrentUser, "alice"))
      assert.deepStrictEqual(yield* alice.closed, { code: 4403, reason: "Not yours" })
      const { errors, status } = yield* Fiber.join(asking)
      assert.deepStrictEqual([status, errors], [403, [{ detail: "Not yours", code: "permission_lost" }]])
      yield* invalidate
      assert.strictEqual((yield* root.ask("text")).status, 200)
    }).pipe(Effect.provide(DeskLive)))

  it.effect("4403 where whoever is behind it is no admin any more", () =>
    Effect.gen(function*() {
      const root = yield* connect(1, as("root", true))
      yield* root.become(as("root"))
      yield* invalidate
      assert.deepStrictEqual(yield* root.closed, { code: 4403, reason: "Not yours" })
    }).pipe(Effect.provide(DeskLive)))

  it.effect("1013 where it cannot be found out now, 1011 where it breaks", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const facts = yield* Facts
        const alice = yield* connect(1)
        facts.failure = Effect.fail(new ChannelError.Unavailable({ message: "down" }))
        yield* invalidate
        assert.deepStrictEqual(yield* alice.closed, { code: 1013, reason: "down" })
        facts.failure = undefined
        const again = yield* connect(1)
        facts.broken = Effect.die(new Error("secret"))
        yield* invalidate
        assert.deepStrictEqual(yield* again.closed, { code: 1011, reason: "Internal server error" })
        assert.lengthOf(logs.filter(({ level }) => level === "Error"), 1)
      }).pipe(Effect.provide(DeskLive))
    ))

  it.effect("nothing is handled while the object is loaded, and 1013 where that takes too long", () =>
    Effect.gen(function*() {
      const { loading } = yield* Facts
      const alice = yield* connect(1)
      yield* loading.close
      yield* invalidate
      const asking = yield* Effect.forkChild(Effect.exit(alice.ask("text")), { startImmediately: true })
      yield* settle
      yield* TestClock.adjust("9999 millis")
      assert.strictEqual(asking.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* alice.closed).code, 1013)
    }).pipe(Effect.provide(DeskLive)))

  it.effect("an object that has changed while it was loaded for the handshake is loaded anew", () =>
    Effect.gen(function*() {
      const { loading } = yield* Facts
      yield* loading.close
      const connecting = yield* Effect.forkChild(refusal(1), { startImmediately: true })
      yield* settle
      yield* give(1, "bob")
      yield* invalidate
      yield* loading.open
      assert.deepStrictEqual(yield* Fiber.join(connecting), [403, [{ detail: "Not yours", code: "not_owner" }]])
      assert.deepStrictEqual(yield* loads, ["load 1", "load 1"])
    }).pipe(Effect.provide(DeskLive)))
})

describe("with the actions of a resource", () => {
  it.effect("both are about the same object, each by itself", () => {
    const DocResource = Resource.make("doc", { repository: Docs, actions: ["retrieve", "partial_update"] }).pipe(
      Resource.permit(["partial_update"], isOwner)
    )
    const One = Consumer.make("one", { path: "/ws/docs/:id/", params: Resource.params(DocResource) }).pipe(
      Consumer.permitConnectObject(({ params }) => Repository.get(Docs, params.id), Permission.or(isAdmin, isOwner)),
      Consumer.add(...Resource.object(DocResource))
    )
    const live = Consumer.handlers(One).pipe(
      Resource.handle(DocResource),
      Handlers.toLayer,
      Layer.provide(Testing.layerAuthentication(CurrentUser)),
      Layer.provideMerge(Docs.layerMemory([new Doc({ id: 1, text: "one", owner: "alice" })]))
    )
    return Effect.gen(function*() {
      const open = (who: Testing.Acting) => Testing.connect(One, { params: { id: 1 }, as: who })
      assert.strictEqual(((yield* Effect.flip(open(as("bob")))) as Pipeline.HandshakeRefused).status, 403)
      const root = yield* open(as("root", true))
      assert.strictEqual((yield* root.ask("retrieve")).status, 200)
      assert.strictEqual((yield* root.ask("partial_update", { payload: { text: "x" } })).status, 403)
      const alice = yield* open(as("alice"))
      assert.strictEqual((yield* alice.ask("partial_update", { payload: { text: "x" } })).status, 200)
    }).pipe(Effect.provide(live))
  })
})

describe("a consumer that cannot be served", () => {
  it.effect("says which check cannot be decided", () =>
    Effect.gen(function*() {
      const ofEvent = Permission.delivery<string>()("ofEvent", () => true)
      const Wrong = Consumer.permitConnectObject(() => Effect.succeed(1), ofEvent as never)(
        Consumer.make("wrong", { path: "/ws/" }) as never
      ) as Consumer.Consumer<"wrong", {}>
      const { problems } = yield* Effect.flip(Effect.scoped(Layer.build(Handlers.toLayer(Consumer.handlers(Wrong)))))
      assert.lengthOf(problems, 1)
      assert.include(problems[0], "permitConnectObject")
      assert.include(problems[0], "ofEvent")
    }))

  it("prints what guards the handshake", () => {
    assert.deepInclude(Desk.toJSON() as object, {
      permitConnect: "isKnown and and(isWhole, or(isAdmin, isOwner(owner)))"
    })
  })
})
