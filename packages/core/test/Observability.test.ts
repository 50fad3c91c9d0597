import {
  Action,
  Authentication,
  ChannelError,
  Consumer,
  Handlers,
  Permission,
  Pipeline,
  Route
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { open, serve, settle, withLogs } from "./support/connection.ts"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("test/CurrentUser") {}

const isAuthenticated = Permission.isAuthenticated(CurrentUser)
const isAdmin = Permission.connection("isAdmin", CurrentUser.use(({ name }) => name === "admin"))
const isSlow = Permission.action("isSlow", () => Effect.as(Effect.sleep("3 millis"), true))
const isOwner = Permission.object<string>()(
  "isOwner",
  ({ object }) => CurrentUser.use(({ name }) => name === object),
  { reason: "Only its owner", code: "not_owner", private: true }
)
const breaks = Permission.action("breaks", () => Effect.fail(new ChannelError.Unavailable({ message: "Down" })))

const list = Action.make("list")
const edit = Action.make("edit", { success: Schema.String }).pipe(
  Action.object(Schema.String),
  Action.permit(Permission.or(isAdmin, Permission.and(isSlow, isOwner)))
)
const fail = Action.make("fail").pipe(Action.permit(breaks))
const Notes = Consumer.make("notes", { path: "/ws/", concurrency: 2 }).pipe(
  Consumer.permitConnect(Permission.not(Permission.connection("isBanned", (scope) => scope.query.banned === "yes"))),
  Consumer.add(list, fail, Route.make("notes/:owner/").pipe(Route.add(edit), Route.permit(isAuthenticated)))
)
const handlers = Consumer.handlers(Notes).pipe(
  Handlers.handle("list", () => Effect.void),
  Handlers.handle("fail", () => Effect.void),
  Handlers.handle("notes/:owner/", "edit", {
    object: ({ params }) => Effect.succeed(params.owner),
    run: ({ object }) => Effect.map(Effect.option(Effect.currentSpan), (span) => `${object} ${span._tag}`)
  }),
  Handlers.toLayer,
  Layer.provide(Testing.layerAuthentication(CurrentUser))
)

/** Asks who may what, as three users. */
const conversation = Effect.gen(function*() {
  const of = (name: string) => Testing.connect(Notes, { as: Testing.as(CurrentUser, { name }), id: name })
  const clients = [yield* of("admin"), yield* of("alice"), yield* of("bob")]
  for (const client of clients) {
    const asking = yield* Effect.forkChild(
      client.ask("notes/:owner/", "edit", { params: { owner: "alice" } }),
      { startImmediately: true }
    )
    yield* TestClock.adjust("3 millis")
    yield* Fiber.join(asking)
    yield* client.ask("list")
    yield* client.ask("fail")
  }
  yield* Effect.flip(Testing.connect(Notes, { query: "banned=yes", id: "banned" }))
  const nobody = yield* Testing.connect(Notes, { id: "nobody" })
  yield* nobody.ask("notes/:owner/", "edit", { params: { owner: "alice" } })
  yield* nobody.send({ action: "x".repeat(100), route: "notes/a/" })
  yield* nobody.receive
  yield* settle
})

const atDebug = Effect.provideService(References.MinimumLogLevel, "Debug")

describe("the debug log", () => {
  it.effect("has the whole expression of each decision, with what each check said and how long it took", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        yield* conversation.pipe(Effect.provide(handlers), Effect.scoped)
        const decided = logs.filter(({ message }) => message.startsWith("Decided over"))
        const first = decided.find(({ message }) => message.startsWith("Decided over \"edit\""))
        assert.strictEqual(
          first!.message,
          `Decided over "edit" of "notes"
isAuthenticated (connection): Allow, 0.000 ms
or: Allow
  isAdmin (connection): Allow, 0.000 ms
  and: Unasked
    isSlow (action): Unasked
    isOwner (object): Unasked`
        )
        const byAlice = decided.find(({ annotations, message }) =>
          annotations["connection"] === "alice" && message.startsWith("Decided over \"edit\"")
        )
        assert.strictEqual(
          byAlice!.message,
          `Decided over "edit" of "notes"
isAuthenticated (connection): Allow, 0.000 ms
or: Allow
  isAdmin (connection): Deny, 0.000 ms
  and: Allow
    isSlow (action): Allow, 3.000 ms
    isOwner (object): Allow, 0.000 ms`
        )
        assert.deepInclude(byAlice!.annotations, { route: "notes/alice/", outcome: "allow", consumer: "notes" })
        assert.isTrue(decided.some(({ message }) =>
          message === "Decided over \"$connect\" of \"notes\"\nnot: Deny\n  isBanned (connection): Allow, 0.000 ms"
        ))
        assert.isTrue(decided.some(({ message }) =>
          message.includes("breaks (action): Failed, Unavailable, 0.000 ms")
        ))
        assert.isTrue(decided.every(({ level }) => level === "Debug"))
        // What nothing guards is not decided.
        assert.isFalse(decided.some(({ message }) => message.includes("list")))
      }).pipe(atDebug)
    ))

  it.effect("has nothing at the usual level", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        yield* conversation.pipe(Effect.provide(handlers), Effect.scoped)
        assert.deepStrictEqual(logs, [])
      })
    ))
})

describe("a client", () => {
  it.effect("learns reason and code of the check that denied, and nothing of a private one", () =>
    Effect.gen(function*() {
      const bob = yield* Testing.connect(Notes, { as: Testing.as(CurrentUser, { name: "bob" }) })
      const asking = yield* Effect.forkChild(
        bob.ask("notes/:owner/", "edit", { params: { owner: "alice" } }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("3 millis")
      const answer = yield* Fiber.join(asking)
      yield* Testing.expectDenied(answer, isOwner)
      assert.deepStrictEqual(answer.reply.errors, [
        { detail: "You do not have permission to perform this action", code: "permission_denied" }
      ])
    }).pipe(Effect.provide(handlers)))
})

describe("the metric of decisions", () => {
  it.effect("counts them by action, phase, outcome and check", () =>
    Effect.gen(function*() {
      yield* conversation.pipe(Effect.provide(handlers), Effect.scoped)
      const snapshot = yield* Metric.snapshot
      const counts = snapshot
        .filter(({ id }) => id === "effect_channels_decisions_total")
        .map(({ attributes, state }) => {
          const { action, check, consumer, outcome, phase } = attributes as Record<string, string>
          assert.strictEqual(consumer, "notes")
          return `${action} ${phase} ${outcome} ${check}: ${(state as { readonly count: number }).count}`
        })
      assert.sameMembers(counts, [
        "$connect connection allow : 4",
        "$connect connection deny not(isBanned): 1",
        "edit action allow : 1",
        "edit object allow : 1",
        "edit object deny isOwner: 1",
        "fail action failed breaks: 3",
        "edit connection deny isAuthenticated: 1",
        " connection deny isAuthenticated: 1"
      ])
      // The name of an action that is not there is no attribute: a client may make up any.
      assert.isFalse(counts.some((line) => line.includes("xxx")))
      assert.strictEqual(Pipeline.decisions.id, "effect_channels_decisions_total")
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})

describe("spans", () => {
  /** What a test looks at of a span. */
  interface Seen {
    readonly name: string
    readonly attributes: Readonly<Record<string, unknown>>
    readonly ended: boolean
  }

  const makeTracer = () => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    const seen = (): ReadonlyArray<Seen> =>
      spans.map(({ attributes, name, status }) => ({
        name,
        attributes: Object.fromEntries(attributes),
        ended: status._tag === "Ended"
      }))
    return { tracer, seen }
  }

  it.effect("carry the whole expression, and are there for handlers, where a tracer is installed", () =>
    Effect.gen(function*() {
      const { seen, tracer } = makeTracer()
      const client = yield* Effect.provide(
        Effect.gen(function*() {
          const admin = yield* Testing.connect(Notes, { as: Testing.as(CurrentUser, { name: "admin" }), id: "1" })
          return yield* admin.ask("notes/:owner/", "edit", { params: { owner: "alice" } })
        }),
        Layer.provide(handlers, Layer.succeed(Tracer.Tracer, tracer))
      ).pipe(Effect.scoped)
      assert.strictEqual(client.data, "alice Some")
      const own = seen().filter(({ attributes }) => "effect_channels.consumer" in attributes)
      assert.deepStrictEqual(own.map(({ ended }) => ended), [true, true])
      assert.deepInclude(own[1], { name: "notes edit" })
      assert.deepInclude(own[1]!.attributes, {
        "effect_channels.consumer": "notes",
        "effect_channels.connection": "1",
        "effect_channels.route": "notes/alice/",
        "effect_channels.outcome": "allow"
      })
      assert.include(String(own[1]!.attributes["effect_channels.permission"]), "isAdmin (connection): Allow, ")
    }))

  it.effect("end with the connection, whatever still runs", () =>
    Effect.gen(function*() {
      const { seen, tracer } = makeTracer()
      yield* Effect.provide(
        Effect.gen(function*() {
          const bob = yield* Testing.connect(Notes, { as: Testing.as(CurrentUser, { name: "bob" }), id: "1" })
          yield* bob.send({ action: "edit", route: "notes/bob/" })
          yield* settle
          assert.deepStrictEqual(seen().map(({ ended }) => ended), [true, false])
          yield* bob.close()
          yield* settle
          assert.deepStrictEqual(seen().map(({ ended }) => ended), [true, true])
        }),
        Layer.provide(handlers, Layer.succeed(Tracer.Tracer, tracer))
      ).pipe(Effect.scoped)
    }))

  it.effect("are not made where none is", () =>
    Effect.gen(function*() {
      const pipeline = yield* serve([Notes], handlers)
      const client = yield* open(pipeline)
      yield* client.ask({ action: "list" })
      const admin = yield* Testing.connect(Notes, { as: Testing.as(CurrentUser, { name: "admin" }) })
      const answer = yield* admin.ask("notes/:owner/", "edit", { params: { owner: "alice" } })
      assert.strictEqual(answer.data, "alice None")
    }).pipe(Effect.provide(handlers)))
})
