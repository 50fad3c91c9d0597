import { SharedFrame } from "@effect-channels/core/Transport"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { createServer } from "node:http"
import type { Socket } from "node:net"
import { WebSocketServer } from "ws"
import { transportSuite } from "../../core/test/support/transports.ts"
import { WsTransport } from "../src/internal/transport.ts"
import * as Client from "./support/client.ts"
import * as Frames from "./support/frames.ts"
import { portOf, until } from "./support/server.ts"

/** A transport over a real connection, with the raw client at its other end. */
const connect = Effect.fnUntraced(function*(options: { readonly compression: boolean }) {
  const server = yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer()
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )
  // Level 0 makes nothing shorter: what is to be unsent does not get lost in being compressed.
  const perMessageDeflate = options.compression && { zlibDeflateOptions: { level: 0 } }
  const wss = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate })
  const made = yield* Deferred.make<WsTransport>()
  server.once("upgrade", (request, socket: Socket, head) => {
    wss.handleUpgrade(request, socket, head, (ws) => {
      Deferred.doneUnsafe(made, Effect.succeed(new WsTransport(ws, socket)))
    })
  })
  const headers = options.compression ? Client.compression : {}
  const client = yield* Effect.orDie(Client.open(portOf(server), "/", { headers }))
  const transport = yield* Effect.acquireRelease(
    Deferred.await(made),
    (transport) => Effect.sync(() => transport.terminate())
  )
  return { transport, client }
})

const makePair = connect({ compression: false })

const makeCompressed = connect({ compression: true })

const toTransport = ({ client, transport }: Effect.Success<typeof makePair>) => {
  const { closed, flow, send, stall, takeFrame, takeText } = client
  const close = (code = 1000, reason = "") => client.close(code, reason)
  const peer = { send, takeFrame, take: takeText, closed, close, stall, flow }
  return [transport, peer] as const
}

/** What is on its way over the loopback arrives within some turns of the event loop. */
const settle = Effect.callback<void>((resume) => {
  const timer = setTimeout(() => resume(Effect.void), 20)
  return Effect.sync(() => clearTimeout(timer))
})

/** What breaks outside of every fiber. */
const uncaught = Effect.callback<unknown>((resume) => {
  const listeners = process.listeners("uncaughtException")
  process.removeAllListeners("uncaughtException")
  process.once("uncaughtException", (error) => {
    for (const listener of listeners) process.on("uncaughtException", listener)
    resume(Effect.succeed(error))
  })
})

/** Cannot be written to a socket. */
class BrokenFrame extends SharedFrame {
  override encoded<A>(): A {
    return { length: 1 } as A
  }
}

transportSuite("WsTransport", Effect.map(makePair, toTransport), { live: true, settle })

transportSuite("WsTransport with compression", Effect.map(makeCompressed, toTransport), { live: true, settle })

describe("WsTransport", () => {
  it.live("gives the frames of one packet as one batch", () =>
    Effect.gen(function*() {
      const { client, transport } = yield* makePair
      const batches: Array<ReadonlyArray<unknown>> = []
      yield* Effect.forkScoped(transport.run((frames) => batches.push(frames)), { startImmediately: true })
      yield* client.send("a", "b", "c")
      yield* client.roundTrip
      yield* client.send("d")
      yield* client.roundTrip
      assert.deepStrictEqual(batches, [["a", "b", "c"], ["d"]])
    }))

  it.live("sends what is sent in one tick as one write", () =>
    Effect.gen(function*() {
      const { client, transport } = yield* makePair
      yield* Effect.forkScoped(transport.run(() => {}), { startImmediately: true })
      const chunks: Array<number> = []
      client.socket.on("data", (bytes) => chunks.push(bytes.length))
      const texts = Array.from({ length: 50 }, (_, i) => `${i}`)
      for (const text of texts) transport.send(text)
      assert.strictEqual(transport.unsent(), texts.join("").length)
      assert.deepStrictEqual(yield* Effect.replicateEffect(client.takeText, 50), texts)
      assert.strictEqual(chunks.length, 1)
    }))

  it.live("sends to many connections in one tick, each what it was sent, whatever becomes of the others", () =>
    Effect.gen(function*() {
      const pairs = yield* Effect.replicateEffect(makePair, 5)
      for (const { transport } of pairs) {
        yield* Effect.forkScoped(transport.run(() => {}), { startImmediately: true })
      }
      const send = (text: string) => {
        const shared = new SharedFrame(text)
        for (const { transport } of pairs) transport.send(shared)
      }
      send("a")
      pairs[1]!.transport.send("own")
      pairs[0]!.transport.terminate()
      pairs[2]!.transport.close(4000)
      send("b")
      pairs[3]!.transport.send("own")
      // It has sent what it has before its turn comes, and sends again in the same tick.
      yield* pairs[4]!.transport.drained
      send("c")
      const takeAll = (index: number, count: number) => Effect.replicateEffect(pairs[index]!.client.takeText, count)
      assert.deepStrictEqual(yield* takeAll(1, 4), ["a", "own", "b", "c"])
      assert.deepStrictEqual(yield* takeAll(3, 4), ["a", "b", "own", "c"])
      assert.deepStrictEqual(yield* takeAll(4, 3), ["a", "b", "c"])
      assert.deepStrictEqual(yield* takeAll(2, 1), ["a"])
      send("d")
      for (const index of [1, 3, 4]) assert.deepStrictEqual(yield* takeAll(index, 1), ["d"])
      yield* Effect.all([pairs[0]!.client.ended, pairs[2]!.client.ended])
      assert.deepStrictEqual(pairs[0]!.client.frames, [])
      assert.deepStrictEqual(pairs[2]!.client.frames.map(({ opcode }) => opcode), [1, 8])
    }))

  it.live("sends to the others when a message for one of them breaks", () =>
    Effect.gen(function*() {
      const pairs = yield* Effect.replicateEffect(makePair, 3)
      for (const { transport } of pairs) {
        yield* Effect.forkScoped(transport.run(() => {}), { startImmediately: true })
      }
      const caught = yield* Effect.forkScoped(uncaught, { startImmediately: true })
      pairs[0]!.transport.send("a")
      pairs[1]!.transport.send(new BrokenFrame("a"))
      pairs[2]!.transport.send("a")
      assert.instanceOf(yield* Fiber.join(caught), TypeError)
      assert.strictEqual(yield* pairs[2]!.client.takeText, "a")
      for (const { transport } of pairs) transport.send("b")
      assert.strictEqual(yield* pairs[2]!.client.takeText, "b")
      assert.deepStrictEqual(yield* Effect.replicateEffect(pairs[0]!.client.takeText, 2), ["a", "b"])
    }))

  it.live("knows what waits at the network until the peer reads again", () =>
    Effect.gen(function*() {
      const { client, transport } = yield* makePair
      yield* Effect.forkScoped(transport.run(() => {}), { startImmediately: true })
      yield* client.stall
      while (transport.unsent() < 4 * 1024 * 1024) {
        transport.send("x".repeat(64 * 1024))
        yield* settle
      }
      const before = transport.unsent()
      transport.send("y")
      assert.strictEqual(transport.unsent(), before + 1)
      yield* settle
      assert.isAbove(transport.unsent(), before)
      yield* client.flow
      yield* transport.drained
      yield* until(() => transport.unsent() === 0)
    }))

  it.live("sends the replies to a batch as one write", () =>
    Effect.gen(function*() {
      const { client, transport } = yield* makePair
      const echo = (frames: ReadonlyArray<string | Uint8Array>) => frames.forEach((frame) => transport.send(`${frame}`))
      yield* Effect.forkScoped(transport.run(echo), { startImmediately: true })
      const chunks: Array<number> = []
      client.socket.on("data", (bytes) => chunks.push(bytes.length))
      const texts = Array.from({ length: 50 }, (_, i) => `${i}`)
      yield* client.send(...texts)
      assert.deepStrictEqual(yield* Effect.replicateEffect(client.takeText, 50), texts)
      assert.strictEqual(chunks.length, 1)
    }))

  it.live("gives what came before it was run", () =>
    Effect.gen(function*() {
      const { client, transport } = yield* makePair
      yield* client.send("a", "b")
      yield* client.roundTrip
      const frames: Array<unknown> = []
      yield* Effect.forkScoped(transport.run((batch) => frames.push(...batch)), { startImmediately: true })
      assert.deepStrictEqual(frames, ["a", "b"])
      yield* client.send("c")
      yield* client.roundTrip
      assert.deepStrictEqual(frames, ["a", "b", "c"])
    }))

  it.live("notices that its connection ended before it was run", () =>
    Effect.gen(function*() {
      const { client, transport } = yield* makePair
      yield* client.close(4001, "bye")
      yield* client.ended
      yield* settle
      assert.include([4001, 1006], (yield* transport.run(() => {})).code)
    }))

  it.live("is alive when the peer sends something, answers a ping, or takes some of what waits", () =>
    Effect.gen(function*() {
      const { client, transport } = yield* makePair
      yield* Effect.forkScoped(transport.run(() => {}), { startImmediately: true })
      assert.isTrue(transport.takeAlive())
      assert.isFalse(transport.takeAlive())
      yield* client.send("a")
      yield* client.roundTrip
      assert.isTrue(transport.takeAlive())
      assert.isFalse(transport.takeAlive())
      transport.ping()
      assert.strictEqual((yield* client.roundTrip).length, 1)
      yield* client.roundTrip
      assert.isTrue(transport.takeAlive())
      assert.isFalse(transport.takeAlive())
      yield* client.stall
      while (transport.unsent() < 1024 * 1024) {
        transport.send("x".repeat(64 * 1024))
        yield* settle
      }
      transport.takeAlive()
      assert.isFalse(transport.takeAlive())
      yield* client.flow
      yield* until(() => transport.unsent() === 0)
      assert.isTrue(transport.takeAlive())
      assert.isFalse(transport.takeAlive())
    }))

  it.live("sends nothing after a close frame, neither its own nor the peer's", () =>
    Effect.gen(function*() {
      for (const end of ["peer", "violation"]) {
        const { client, transport } = yield* makePair
        const echo = (frames: ReadonlyArray<string | Uint8Array>) =>
          frames.forEach((frame) => transport.send(`${frame}`))
        const fiber = yield* Effect.forkScoped(transport.run(echo), { startImmediately: true })
        yield* client.write(
          Frames.frameOf("a"),
          end === "peer" ? Frames.closeFrame(4001) : Frames.frameOf("b", { rsv: 7 })
        )
        yield* client.ended
        const kinds = client.frames.map(({ opcode }) => opcode)
        assert.strictEqual(kinds.indexOf(8), kinds.length - 1, `${end}: ${kinds.join(" ")}`)
        yield* Fiber.join(fiber)
      }
    }))

  it.live("is not drained while messages wait to be compressed", () =>
    Effect.gen(function*() {
      const { client, transport } = yield* makeCompressed
      yield* Effect.forkScoped(transport.run(() => {}), { startImmediately: true })
      for (let i = 0; i < 100; i++) transport.send("x".repeat(60_000))
      assert.isAbove(transport.unsent(), 5_000_000)
      yield* transport.drained
      assert.isBelow(transport.unsent(), 120_000)
      assert.strictEqual((yield* Effect.replicateEffect(client.takeText, 100)).join("").length, 6_000_000)
    }))

  it.live("ends at once when it is terminated while it is paused", () =>
    Effect.gen(function*() {
      const { client, transport } = yield* makePair
      const fiber = yield* Effect.forkScoped(transport.run(() => {}), { startImmediately: true })
      transport.pause()
      yield* client.send("a")
      transport.terminate()
      assert.strictEqual((yield* Fiber.join(fiber)).code, 1006)
      yield* client.ended
    }))
})
