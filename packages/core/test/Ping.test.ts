import { Action, Authority, Consumer, Handlers, Permission } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { type Client, open, serve, settle } from "./support/connection.ts"

const ping = (id: unknown = "ping") => ({ action: "$ping", request_id: id })
const work = (id: number | string, millis = 10) => ({ action: "work", data: millis, request_id: id })
const statuses = (client: Client, count: number) =>
  Effect.map(client.take(count), (replies) => replies.map(({ request_id, status }) => [request_id, status]))

/** A connection to a consumer with an action that takes its time. */
const connect = Effect.fnUntraced(function*(
  options: {
    readonly maxInFlight?: number
    readonly maxMessage?: number
    readonly lane?: number
    readonly permission?: Permission.Permission<{ readonly action: string }>
  } = {}
) {
  const { lane, permission, ...limits } = options
  const trace: Array<number> = []
  const Worker = Consumer.make("worker", { path: "/ws/" }).pipe(
    Consumer.permit(permission ?? Permission.allow),
    Consumer.add(Action.make("work", { payload: Schema.Int, success: Schema.Int, concurrency: lane }))
  )
  const layer = Consumer.handlers(Worker).pipe(
    Handlers.handle("work", ({ payload }) => {
      trace.push(payload)
      return Effect.as(Effect.sleep(payload), payload)
    }),
    Handlers.toLayer
  )
  return { client: yield* open(yield* serve([Worker], layer, limits)), trace }
})

describe("$ping", () => {
  it.effect("is answered with 200 and the id that was sent, if any", () =>
    Effect.gen(function*() {
      const { client } = yield* connect()
      assert.strictEqual(
        yield* client.askText({ action: "$ping", request_id: 1 }),
        "{\"errors\":[],\"data\":null,\"action\":\"$ping\",\"route\":\"\",\"status\":200,\"request_id\":1}"
      )
      assert.strictEqual(
        yield* client.askText({ action: "$ping", request_id: "ü" }),
        "{\"errors\":[],\"data\":null,\"action\":\"$ping\",\"route\":\"\",\"status\":200,\"request_id\":\"ü\"}"
      )
      const without = "{\"errors\":[],\"data\":null,\"action\":\"$ping\",\"route\":\"\",\"status\":200}"
      assert.strictEqual(yield* client.askText({ action: "$ping" }), without)
      assert.strictEqual(
        yield* client.askText({ action: "$ping", route: "", request_id: null, data: [1], x: 2 }),
        without
      )
    }))

  for (const lane of [undefined, 1]) {
    it.effect(`does not stand in line (${lane === undefined ? "the connection's" : "an action's own"})`, () =>
      Effect.gen(function*() {
        const { client, trace } = yield* connect(lane === undefined ? {} : { lane })
        yield* client.send(work(1), work(2), ping("a"), ping("b"))
        assert.deepStrictEqual(yield* statuses(client, 2), [["a", 200], ["b", 200]])
        yield* client.silent
        yield* TestClock.adjust(20)
        assert.deepStrictEqual(yield* statuses(client, 2), [[1, 200], [2, 200]])
        assert.deepStrictEqual(trace, [10, 10])
      }))
  }

  it.effect("does not count among those in flight, and is answered where there are too many", () =>
    Effect.gen(function*() {
      const { client } = yield* connect({ maxInFlight: 1 })
      yield* client.send(ping(1), ping(2), work(3), ping(4), work(5), ping(6))
      assert.deepStrictEqual(yield* statuses(client, 5), [[1, 200], [2, 200], [4, 200], [5, 503], [6, 200]])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* statuses(client, 1), [[3, 200]])
    }))

  it.effect("is never in flight: there is nothing to cancel", () =>
    Effect.gen(function*() {
      const { client } = yield* connect()
      yield* client.send(work(1), ping(2), { action: "$cancel", data: { request_id: 2 }, request_id: 3 })
      assert.deepStrictEqual(yield* statuses(client, 2), [[2, 200], [3, 404]])
    }))

  it.effect("is guarded by no permission", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect({ permission: Permission.action("nobody", () => Effect.never) })
      yield* client.send(work(1), ping())
      assert.deepStrictEqual(yield* statuses(client, 1), [["ping", 200]])
      assert.deepStrictEqual(trace, [])
    }))

  it.effect("is answered while the server stops, and not after the end", () =>
    Effect.gen(function*() {
      const { client } = yield* connect()
      yield* client.send(work(1))
      yield* Effect.forkChild(client.session.drain("10 seconds"), { startImmediately: true })
      yield* client.send(ping(2), work(3))
      assert.deepStrictEqual(yield* statuses(client, 2), [[2, 200], [3, 503]])
      yield* TestClock.adjust(10)
      yield* client.send(ping(4))
      assert.deepStrictEqual(yield* statuses(client, 1), [[1, 200]])
      assert.strictEqual((yield* Effect.flip(client.peer.take)).code, 1012)
    }))

  it.effect("is answered while the connection is decided anew", () =>
    Effect.gen(function*() {
      const answering = yield* Latch.make(true)
      const isOpen = Permission.connection("isOpen", Effect.as(answering.await, true))
      const { client } = yield* connect({ permission: isOpen })
      yield* settle
      answering.closeUnsafe()
      yield* Authority.invalidate(Authority.everyone)
      yield* client.send(work(1, 0), ping(2))
      assert.deepStrictEqual(yield* statuses(client, 1), [[2, 200]])
      yield* client.silent
      yield* answering.open
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* statuses(client, 1), [[1, 200]])
    }))

  for (
    const frame of [
      "{\"action\":\"\\u0024ping\",\"request_id\":2}",
      "{\"action\":\"$p\\u0069ng\",\"request_id\":2}",
      "{\"request_id\":2,\"\\u0061ction\" : \n \"\\u0024\\u0070ing\"}",
      "{\"action\":\"work\",\"action\":\"$ping\",\"route\":\"\",\"request_id\":2}"
    ]
  ) {
    it.effect(`is answered however it is spelt, before what came before it: ${frame}`, () =>
      Effect.gen(function*() {
        const { client } = yield* connect()
        yield* client.send(work(1), frame)
        assert.deepStrictEqual(yield* statuses(client, 1), [[2, 200]])
      }))
  }

  it.effect("is an action of the connection, not of a route, and no other name", () =>
    Effect.gen(function*() {
      const { client } = yield* connect()
      yield* client.send(
        { ...ping(1), route: "work/" },
        { ...ping(2), route: "?x" },
        { ...ping(3), action: "$Ping" },
        { ...ping(4), action: "ping" },
        { ...ping(5), route: 1 },
        { action: "work", data: "$ping", request_id: 6 }
      )
      assert.deepStrictEqual(
        yield* statuses(client, 6),
        [[1, 404], [2, 405], [3, 405], [4, 405], [5, 400], [6, 400]]
      )
    }))

  it.effect("is a message, which may be too long", () =>
    Effect.gen(function*() {
      const { client } = yield* connect({ maxMessage: 100 })
      assert.strictEqual((yield* client.ask({ ...ping(), data: "x".repeat(100) })).status, 413)
    }))
})
