import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/testing/TestClock"
import * as Client from "./support/client.ts"
import { opcode } from "./support/frames.ts"
import * as Server from "./support/server.ts"

/** A server that pings after 10 seconds, and drops 5 seconds later; it looks once a second. */
const startBeating = Server.startOpen({ pingInterval: "10 seconds", pongTimeout: "5 seconds" })

const pings = (client: Client.Client) => client.frames.filter((frame) => frame.opcode === opcode.ping).length

describe("the heartbeat", () => {
  it.effect("drops a client that gives no sign of life", () =>
    Server.withLogs((logs) =>
      Effect.gen(function*() {
        const { events, port } = yield* startBeating
        const client = yield* Client.open(port, "/ws/", { answersPings: false })
        yield* client.send({ action: "hang" })
        assert.strictEqual(yield* Queue.take(events), "start")
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* client.roundTrip, [])
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual((yield* Queue.take(client.controls)).opcode, opcode.ping)
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(yield* client.roundTrip, [])
        assert.isFalse(client.socket.destroyed)
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual((yield* client.closed).code, 1006)
        assert.strictEqual(yield* Queue.take(events), "stop")
        assert.strictEqual(pings(client), 1)
        assert.deepStrictEqual(logs.filter(({ level }) => level !== "Debug" && level !== "Trace"), [])
      })
    ))

  it.effect("drops a client that does not read", () =>
    Effect.gen(function*() {
      const { port } = yield* startBeating
      const client = yield* Client.open(port)
      yield* client.stall
      yield* TestClock.adjust("20 seconds")
      yield* client.flow
      assert.strictEqual((yield* client.closed).code, 1006)
    }))

  it.effect("keeps a client that answers", () =>
    Effect.gen(function*() {
      const { port } = yield* startBeating
      const client = yield* Client.open(port)
      for (let i = 0; i < 5; i++) {
        yield* TestClock.adjust("12 seconds")
        assert.strictEqual((yield* Queue.take(client.controls)).opcode, opcode.ping)
        // The pong is before it.
        yield* client.roundTrip
      }
      assert.strictEqual((yield* client.ask({ action: "echo", data: "a" })).data, "a")
      assert.strictEqual(pings(client), 5)
    }))

  it.effect("lets a client off that speaks", () =>
    Effect.gen(function*() {
      const { port } = yield* startBeating
      const client = yield* Client.open(port, "/ws/", { answersPings: false })
      for (let i = 0; i < 10; i++) {
        yield* TestClock.adjust("9 seconds")
        assert.strictEqual((yield* client.ask({ action: "echo", data: "a" })).data, "a")
      }
      assert.strictEqual(pings(client), 0)
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual((yield* Queue.take(client.controls)).opcode, opcode.ping)
      // What it says is as good as a pong.
      assert.strictEqual((yield* client.ask({ action: "echo", data: "a" })).data, "a")
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual((yield* client.ask({ action: "echo", data: "a" })).data, "a")
      assert.strictEqual(pings(client), 1)
    }))

  it.effect("keeps a client whose request takes its time", () =>
    Effect.gen(function*() {
      const { events, permits, port } = yield* startBeating
      const client = yield* Client.open(port)
      yield* client.send({ action: "hold", data: 1 })
      yield* Queue.take(events)
      for (let i = 0; i < 2; i++) {
        yield* TestClock.adjust("12 seconds")
        yield* Queue.take(client.controls)
        yield* client.roundTrip
      }
      yield* Server.permit(permits)
      assert.strictEqual((yield* client.take).status, 200)
    }))

  it.effect("looks at every client by itself", () =>
    Effect.gen(function*() {
      const { port } = yield* startBeating
      const mute = yield* Client.open(port, "/ws/", { answersPings: false })
      yield* TestClock.adjust("6 seconds")
      const lively = yield* Client.open(port)
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual((yield* Queue.take(mute.controls)).opcode, opcode.ping)
      assert.deepStrictEqual(yield* lively.roundTrip, [])
      yield* TestClock.adjust("5 seconds")
      yield* mute.ended
      yield* lively.roundTrip
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(pings(lively), 1)
      assert.strictEqual((yield* lively.ask({ action: "echo", data: "a" })).data, "a")
    }))

  it.live("runs on the real clock", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen({ pingInterval: 20, pongTimeout: 20 })
      const mute = yield* Client.open(port, "/ws/", { answersPings: false })
      assert.strictEqual((yield* mute.closed).code, 1006)
      assert.strictEqual(pings(mute), 1)
    }))

  it.effect("ends with the server", () =>
    Effect.gen(function*() {
      const { port, stop } = yield* startBeating
      const client = yield* Client.open(port)
      const done = yield* Deferred.make<void>()
      yield* Effect.andThen(stop, Deferred.succeed(done, undefined))
      yield* client.ended
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(pings(client), 0)
    }))
})
