import { Action, ChannelLayer, Consumer, Event, Group, Handlers, Permission, Route } from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

class NoLuck extends Schema.TaggedError<NoLuck>()("NoLuck", { n: Schema.Int }, { httpApiStatus: 409 }) {}

const Room = Group.make("room", { room: Schema.String }).pipe(
  Group.history({ count: 10, age: "1 hour" }),
  Group.presence(Schema.Struct({ name: Schema.String }))
)
const Posted = Event.make("posted", Schema.Struct({ text: Schema.String, at: Schema.Date }))
const never = Permission.connection("never", Effect.succeed(false), { reason: "Nobody may", code: "nobody" })
const Board = Consumer.make("board", { path: "/ws/:room/" }).pipe(
  Consumer.permit(Permission.allow),
  Consumer.join(Room, ({ params }) => ({ room: params.room }), { presence: () => ({ name: "x" }) }),
  Consumer.push(Posted),
  Consumer.add(
    Action.make("post", { payload: { text: Schema.NonEmptyString }, success: Posted.data }).pipe(
      Action.broadcast(Room, Posted)
    ),
    Action.make("ping", { success: Schema.Literal("pong") }),
    Action.make("lucky", { payload: { n: Schema.Int }, error: NoLuck }),
    Action.make("denied").pipe(Action.permit(never)),
    Action.make("hush", { payload: { a: Schema.optionalKey(Schema.Int) } }).pipe(Action.silent),
    Action.make("count", { payload: { to: Schema.Int }, success: Schema.Int, stream: true }),
    Action.make("hang", { concurrency: "unbounded" }),
    Route.make("items/:id/", { id: Schema.NumberFromString }).pipe(
      Route.add(Action.make("get", { success: Schema.Struct({ id: Schema.Int }) }))
    )
  )
)
const BoardLive = Consumer.handlers(Board).pipe(
  Handlers.handle("post", ({ payload }) => Effect.succeed({ text: payload.text, at: new Date(5) })),
  Handlers.handle("ping", () => Effect.succeed("pong" as const)),
  Handlers.handle("lucky", ({ payload }) => payload.n === 7 ? Effect.void : Effect.fail(new NoLuck({ n: payload.n }))),
  Handlers.handle("denied", () => Effect.void),
  Handlers.handle("hush", () => Effect.void),
  Handlers.handle("hang", () => Effect.never),
  Handlers.handle("count", ({ payload }) => Stream.range(1, payload.to)),
  Handlers.handle("items/:id/", "get", ({ params }) => Effect.succeed({ id: params.id })),
  Handlers.toLayer,
  Layer.provide(ChannelLayer.layerMemory)
)

describe("Client", () => {
  it.effect("calls", () =>
    Effect.gen(function*() {
      const board = yield* Testing.client(Board, { params: { room: "a" } })
      const heard = yield* board.heard.pipe(
        Stream.take(3),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      const presence = yield* board.presence(Room).pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      const posted = yield* board.events("posted").pipe(
        Stream.take(1),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      assert.strictEqual(yield* board.ping(), "pong")
      assert.deepStrictEqual(yield* board.post({ text: "hi" }), { text: "hi", at: new Date(5) })
      assert.deepStrictEqual(yield* Fiber.join(posted), [{ text: "hi", at: new Date(5) }])
      assert.deepStrictEqual(yield* board.at("items/:id/", { id: 3 }).get(), { id: 3 })
      assert.deepStrictEqual(yield* Effect.flip(board.lucky({ n: 2 })), new NoLuck({ n: 2 }))
      const invalid = yield* Effect.flip(board.post({ text: "" }))
      assert.strictEqual(invalid._tag, "InvalidPayload")
      const denied = yield* Effect.flip(board.denied())
      assert.deepInclude(denied, { _tag: "PermissionDenied", message: "Nobody may", code: "nobody" })
      yield* board.hush()
      assert.deepStrictEqual(yield* board.count({ to: 5 }).pipe(Stream.runCollect), [1, 2, 3, 4, 5])
      assert.deepStrictEqual(yield* board.count({ to: 5 }).pipe(Stream.take(2), Stream.runCollect), [1, 2])
      const hanging = yield* Effect.forkChild(board.hang(), { startImmediately: true })
      yield* Fiber.interrupt(hanging)
      console.log(yield* Fiber.join(heard))
      console.log(JSON.stringify(yield* Fiber.join(presence)))
      console.log(yield* board.position(Room, { room: "a" }), yield* board.status)
    }).pipe(Effect.provide(BoardLive)))
})
