/**
 * What every transport does, as one suite that is run over each of them.
 */
import { Action, Consumer, Handlers, Transport } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { seeded } from "./channel-layers.ts"
import * as connection from "./connection.ts"

/** The client's end of a transport. */
export interface Peer extends Transport.MemoryPeer {
  /** Takes nothing more off the line, so that what the server sends stays unsent. */
  readonly stall: Effect.Effect<void>
  /** Takes again what arrives. */
  readonly flow: Effect.Effect<void>
}

/** A transport with the client's end of it, as long as the scope is open. */
export type MakeTransport = Effect.Effect<readonly [transport: Transport.Transport, peer: Peer], never, Scope.Scope>

/** How the suite is run. */
export interface SuiteOptions {
  /** The transport needs time, so that the clock must be the real one. Default `false`. */
  readonly live?: boolean | undefined
  /** Completes when what is on its way has arrived. By default when no fiber has anything to do. */
  readonly settle?: Effect.Effect<void> | undefined
}

/** The server's end of a connection, as far as `run` has brought it. */
interface Server {
  readonly frames: Array<string | Uint8Array>
  readonly batches: Array<number>
  readonly fiber: Fiber.Fiber<Transport.Closed>
  readonly closed: Effect.Effect<Transport.Closed>
}

const receive = (transport: Transport.Transport): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.suspend(() => {
    const frames: Array<string | Uint8Array> = []
    const batches: Array<number> = []
    const run = transport.run((batch) => {
      batches.push(batch.length)
      frames.push(...batch)
    })
    return Effect.map(
      Effect.forkScoped(run, { startImmediately: true }),
      (fiber) => ({ frames, batches, fiber, closed: Fiber.join(fiber) })
    )
  })

const numbered = (count: number, prefix = "") => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

const bytesOf = (frame: string | Uint8Array) => typeof frame === "string" ? frame : Array.from(frame)

/** Bytes without a pattern, the same ones every time. */
const noise = (length: number): Uint8Array<ArrayBuffer> => {
  const { below } = seeded(1)
  return new Uint8Array(length).map(() => below(256))
}

/** Records how often a transport encodes it. */
class CountedFrame extends Transport.SharedFrame {
  readonly encodings: Array<string> = []
  override encoded<A>(kind: string, encode: (content: string | Uint8Array<ArrayBuffer>) => A): A {
    return super.encoded(kind, (content) => {
      this.encodings.push(kind)
      return encode(content)
    })
  }
}

/** A consumer with short and long replies, and one that never comes. */
const Talker = Consumer.make("talker", { path: "/ws/" }).pipe(
  Consumer.add(
    Action.make("double", { payload: Schema.Int, success: Schema.Int }),
    Action.make("long", { payload: Schema.Int, success: Schema.String }),
    Action.make("hang")
  )
)

const serveTalker = Effect.gen(function*() {
  const events: Array<string> = []
  const pipeline = yield* connection.serve(
    [Talker],
    Consumer.handlers(Talker).pipe(
      Handlers.handle("double", ({ payload }) => Effect.as(Effect.yieldNow, payload * 2)),
      Handlers.handle("long", ({ payload }) => {
        events.push(`long ${payload}`)
        return Effect.as(Effect.yieldNow, "x".repeat(64 * 1024))
      }),
      Handlers.handle("hang", () => {
        events.push("hang")
        return Effect.onInterrupt(Effect.never, () => Effect.sync(() => events.push("stop")))
      }),
      Handlers.toLayer
    ),
    { maxUnsent: 1024 * 1024, maxInFlight: 1000 }
  )
  return { events, session: yield* pipeline.connect({ id: "1", url: "/ws/" }) }
})

/** Registers the tests of what every transport does. */
export const transportSuite = (name: string, make: MakeTransport, options?: SuiteOptions): void => {
  const test = options?.live === true ? it.live : it.effect
  const settle = options?.settle ?? connection.settle
  const isWaiting = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.raceFirst(Effect.as(Effect.exit(effect), false), Effect.as(settle, true))
  const until = (condition: () => boolean) =>
    Effect.gen(function*() {
      for (let i = 0; i < 100 && !condition(); i++) yield* settle
      assert.isTrue(condition(), "what was waited for did not come")
    })
  const takeAll = (peer: Peer, count: number) => Effect.replicateEffect(peer.take, count)

  describe(name, () => {
    test("gives the frames to the server as they were sent", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const sent = ["a", "", "ü😀\u0000", new Uint8Array([0, 255, 128]), "x".repeat(20_000), new Uint8Array(), "b"]
        yield* peer.send(...sent)
        const server = yield* receive(transport)
        yield* until(() => server.frames.length >= sent.length)
        assert.deepStrictEqual(server.frames.map(bytesOf), sent.map(bytesOf))
        assert.isTrue(server.frames.every((frame) => typeof frame === "string" || frame instanceof Uint8Array))
      }))

    test("gives batch after batch in order, none of them empty", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const server = yield* receive(transport)
        const sent = numbered(300)
        for (let i = 0; i < sent.length; i += 30) {
          yield* peer.send(...sent.slice(i, i + 30))
          if (i % 60 === 0) yield* settle
        }
        yield* until(() => server.frames.length >= sent.length)
        assert.deepStrictEqual(server.frames, sent)
        assert.isTrue(server.batches.every((size) => size > 0))
      }))

    test("sends text and shared frames in order", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        yield* receive(transport)
        const shared = new Transport.SharedFrame("shared ü😀")
        transport.send("1")
        transport.send(shared)
        transport.send("")
        transport.send("2".repeat(100_000))
        yield* settle
        transport.send(shared)
        transport.send("3")
        assert.deepStrictEqual(yield* takeAll(peer, 6), [
          "1",
          shared.content,
          "",
          "2".repeat(100_000),
          shared.content,
          "3"
        ])
      }))

    test("sends bytes and text in order, as what they are", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        yield* receive(transport)
        const shared = new Transport.SharedFrame(new Uint8Array([0, 255, 128]))
        const large = new Uint8Array(100_000).map((_, i) => i % 251)
        const sent = ["1", new Uint8Array([7]), shared.content, new Uint8Array(), "ü", large, shared.content]
        transport.send("1")
        transport.send(new Uint8Array([1, 7, 1]).subarray(1, 2))
        transport.send(shared)
        transport.send(new Uint8Array())
        yield* settle
        transport.send("ü")
        transport.send(large)
        transport.send(shared)
        const taken = yield* Effect.replicateEffect(peer.takeFrame, sent.length)
        assert.deepStrictEqual(taken.map(bytesOf), sent.map(bytesOf))
      }))

    test("encodes a shared frame at most once, for however many connections", () =>
      Effect.gen(function*() {
        const frame = new CountedFrame("to everybody")
        for (let i = 0; i < 3; i++) {
          const [transport, peer] = yield* make
          yield* receive(transport)
          transport.send(frame)
          transport.send(frame)
          assert.deepStrictEqual(yield* takeAll(peer, 2), [frame.content, frame.content])
        }
        assert.strictEqual(frame.encodings.length, new Set(frame.encodings).size)
      }))

    test("goes on after a ping", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        yield* receive(transport)
        transport.ping()
        transport.send("after")
        assert.strictEqual(yield* peer.take, "after")
      }))

    test("tells how the client closed", () =>
      Effect.gen(function*() {
        for (const [code, reason] of [[1000, ""], [4001, "bye"], [1001, "ü"]] as const) {
          const [transport, peer] = yield* make
          const server = yield* receive(transport)
          yield* peer.close(code, reason)
          assert.deepStrictEqual(yield* server.closed, { code, reason })
        }
      }))

    test("gives the frames that were sent before the client closed", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const server = yield* receive(transport)
        const sent = numbered(50)
        yield* peer.send(...sent)
        yield* peer.close(4001, "bye")
        assert.strictEqual((yield* server.closed).code, 4001)
        assert.deepStrictEqual(server.frames, sent)
      }))

    test("closes with a code and a reason, after what was sent before", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const server = yield* receive(transport)
        const sent = numbered(50)
        for (const frame of sent) transport.send(frame)
        transport.close(4403, "permission lost")
        assert.strictEqual((yield* server.closed).code, 4403)
        assert.deepStrictEqual(yield* takeAll(peer, 50), sent)
        assert.deepStrictEqual(yield* Effect.flip(peer.take), { code: 4403, reason: "permission lost" })
        assert.deepStrictEqual(yield* peer.closed, { code: 4403, reason: "permission lost" })
      }))

    test("closes once: the first close holds", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const server = yield* receive(transport)
        transport.close(1012, "first")
        transport.close(1011, "second")
        assert.strictEqual((yield* server.closed).code, 1012)
        assert.deepStrictEqual(yield* peer.closed, { code: 1012, reason: "first" })
      }))

    test("does nothing when something is sent after the end", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const server = yield* receive(transport)
        yield* peer.close(1000)
        yield* server.closed
        const unsent = transport.unsent()
        transport.send("late")
        transport.send(new Transport.SharedFrame("late"))
        transport.ping()
        transport.pause()
        transport.resume()
        transport.close(1011)
        yield* settle
        assert.strictEqual(transport.unsent(), unsent)
        assert.deepStrictEqual(yield* Effect.flip(peer.take), { code: 1000, reason: "" })
        yield* transport.drained
      }))

    // What can be compressed would leave however much of it is sent.
    test.each<string | Uint8Array<ArrayBuffer>>([
      Array.from(noise(64 * 1024), (byte) => String.fromCharCode(32 + byte % 64)).join(""),
      noise(64 * 1024)
    ])("counts what has not left, and says when it has", (frame) =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        yield* receive(transport)
        assert.strictEqual(transport.unsent(), 0)
        yield* transport.drained
        yield* peer.stall
        let count = 0
        // What lies between server and client may take some before anything stays unsent; what is only being compressed does not.
        for (let stays = 0, before = 0; stays < 3 && count < 2000;) {
          const unsent = transport.unsent()
          stays = unsent > 1024 * 1024 && unsent === before ? stays + 1 : 0
          before = unsent
          if (unsent <= 1024 * 1024) {
            for (let i = 0; i < 32; i++) transport.send(frame)
            count += 32
          }
          yield* settle
        }
        const unsent = transport.unsent()
        assert.isAbove(unsent, frame.length)
        assert.isAtMost(unsent, count * (frame.length + 16))
        const drained = yield* Effect.forkScoped(transport.drained, { startImmediately: true })
        assert.isTrue(yield* isWaiting(transport.drained))
        yield* peer.flow
        const frames = yield* Effect.replicateEffect(peer.takeFrame, count)
        assert.isTrue(frames.every((taken) => taken.length === frame.length && typeof taken === typeof frame))
        yield* Fiber.join(drained)
        yield* until(() => transport.unsent() === 0)
        yield* transport.drained
      }))

    test("is drained when it ends, whatever was unsent", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const server = yield* receive(transport)
        yield* peer.stall
        for (let i = 0; i < 200; i++) transport.send("x".repeat(64 * 1024))
        yield* settle
        const drained = yield* Effect.forkScoped(transport.drained, { startImmediately: true })
        assert.isTrue(yield* isWaiting(transport.drained))
        yield* Fiber.interrupt(server.fiber)
        yield* Fiber.join(drained)
      }))

    test("does not read while it is paused, and reads on without a loss", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const server = yield* receive(transport)
        yield* peer.send("before")
        yield* until(() => server.frames.length === 1)
        transport.pause()
        transport.pause()
        // A batch that was being read may still come in.
        yield* peer.send("a", "b")
        yield* settle
        const count = server.frames.length
        yield* peer.send("c")
        yield* peer.send("d", "e")
        yield* settle
        assert.strictEqual(server.frames.length, count)
        transport.send("the other way")
        assert.strictEqual(yield* peer.take, "the other way")
        transport.resume()
        yield* until(() => server.frames.length >= 6)
        assert.deepStrictEqual(server.frames, ["before", "a", "b", "c", "d", "e"])
        yield* peer.send("f")
        yield* until(() => server.frames.length >= 7)
        assert.strictEqual(server.frames[6], "f")
      }))

    test("drops the connection when its run is interrupted", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const server = yield* receive(transport)
        transport.send("hello")
        assert.strictEqual(yield* peer.take, "hello")
        yield* Fiber.interrupt(server.fiber)
        yield* peer.closed
        transport.send("late")
        yield* peer.send("late")
        yield* settle
        assert.strictEqual((yield* Effect.exit(peer.take))._tag, "Failure")
        assert.deepStrictEqual(server.frames, [])
      }))

    test("carries a conversation, and the end of it", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const { events, session } = yield* serveTalker
        const fiber = yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
        const requests = numbered(200).map((id) =>
          JSON.stringify({ action: "double", data: Number(id), request_id: id })
        )
        yield* peer.send(...requests.slice(0, 100))
        yield* peer.send(...requests.slice(100))
        const replies = (yield* takeAll(peer, 200)).map((text) => JSON.parse(text))
        assert.deepStrictEqual(replies.map(({ request_id }) => request_id), numbered(200))
        assert.deepStrictEqual(replies.map(({ data }) => data), numbered(200).map((id) => 2 * Number(id)))
        yield* peer.send("{\"action\":\"hang\"}")
        yield* until(() => events.length === 1)
        yield* peer.close(4001, "bye")
        assert.deepStrictEqual(yield* Fiber.join(fiber), { code: 4001, reason: "bye" })
        assert.deepStrictEqual(events, ["hang", "stop"])
      }))

    test("holds a client up that does not read its replies, and loses none of them", () =>
      Effect.gen(function*() {
        const [transport, peer] = yield* make
        const { events, session } = yield* serveTalker
        yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
        yield* peer.stall
        const count = 400
        for (let id = 0; id < count; id++) {
          yield* peer.send(JSON.stringify({ action: "long", data: id, request_id: id }))
        }
        yield* settle
        assert.isBelow(events.length, count)
        yield* peer.flow
        const ids = (yield* takeAll(peer, count)).map((text) => JSON.parse(text).request_id)
        assert.deepStrictEqual(ids, Array.from({ length: count }, (_, id) => id))
        assert.strictEqual(events.length, count)
      }))

    test("keeps connections apart", () =>
      Effect.gen(function*() {
        const [a, peerA] = yield* make
        const [b, peerB] = yield* make
        const serverA = yield* receive(a)
        const serverB = yield* receive(b)
        yield* peerA.send("to a")
        yield* peerB.send("to b")
        a.send("from a")
        b.send("from b")
        assert.strictEqual(yield* peerA.take, "from a")
        assert.strictEqual(yield* peerB.take, "from b")
        yield* peerA.close(4001)
        yield* serverA.closed
        b.send("still there")
        assert.strictEqual(yield* peerB.take, "still there")
        yield* until(() => serverB.frames.length > 0)
        assert.deepStrictEqual([serverA.frames, serverB.frames], [["to a"], ["to b"]])
      }))
  })
}

/** The in-memory transport: what its client has not taken is unsent. */
export const memory: MakeTransport = Effect.map(
  Transport.makeMemory,
  ([transport, peer]) => [transport, { ...peer, stall: Effect.void, flow: Effect.void }] as const
)

type Line = Queue.Queue<string | Uint8Array, Socket.SocketError>

/** A platform socket in memory, with the other end of it. */
export interface SocketPair {
  readonly socket: Socket.Socket
  readonly peer: Peer
  /** The frames that the client has sent, and the socket has not read. */
  readonly unread: Effect.Effect<number>
  /** From now on whatever the socket writes fails. */
  readonly breakWrites: Effect.Effect<void>
}

/** Makes a platform socket in memory. */
export const makeSocketPair: Effect.Effect<SocketPair> = Effect.gen(function*() {
  const toServer: Line = yield* Queue.unbounded<string | Uint8Array, Socket.SocketError>()
  const toClient: Line = yield* Queue.unbounded<string | Uint8Array, Socket.SocketError>()
  const closed = yield* Deferred.make<Transport.Closed>()
  const flowing = yield* Latch.make(true)
  let isBroken = false
  const close = (code: number, closeReason = "") => {
    const reason = new Socket.SocketCloseError({ code, closeReason })
    Deferred.doneUnsafe(closed, Effect.succeed({ code, reason: closeReason }))
    Queue.failCauseUnsafe(toServer, Cause.fail(new Socket.SocketError({ reason })))
    Queue.failCauseUnsafe(toClient, Cause.fail(new Socket.SocketError({ reason })))
    // As with the platform's sockets, what is written after the end is lost without an error.
    flowing.openUnsafe()
  }
  const write: Socket.Writer["write"] = (chunk) =>
    Effect.andThen(
      flowing.await,
      Effect.suspend(() => {
        if (isBroken) {
          const reason = new Socket.SocketWriteError({ cause: new Error("broken pipe") })
          return Effect.fail(new Socket.SocketError({ reason }))
        }
        if (Socket.isCloseEvent(chunk)) close(chunk.code, chunk.reason)
        else Queue.offerUnsafe(toClient, chunk)
        return Effect.void
      })
    )
  const socket = Socket.make({
    reader: Effect.acquireRelease(
      Effect.succeed<Socket.Reader>({ pull: Queue.takeAll(toServer), upgrade: Socket.SocketUpgradeError.unsupported }),
      (_, exit) => Effect.sync(() => close(Exit.isSuccess(exit) ? 1000 : 1011))
    ),
    writer: Effect.succeed<Socket.Writer>({ write, writeAll: (chunks) => Effect.forEach(chunks, write) })
  })
  const closedBy = (error: Socket.SocketError): Transport.Closed =>
    error.reason._tag === "SocketCloseError"
      ? { code: error.reason.code, reason: error.reason.closeReason ?? "" }
      : { code: 1006, reason: error.message }
  const peer: Peer = {
    send: (...frames) => Effect.sync(() => Queue.offerAllUnsafe(toServer, frames)),
    takeFrame: Queue.take(toClient).pipe(
      Effect.map((frame) => typeof frame === "string" ? frame : Uint8Array.from(frame)),
      Effect.mapError(closedBy)
    ),
    take: Queue.take(toClient).pipe(
      Effect.map((frame) => typeof frame === "string" ? frame : new TextDecoder().decode(frame)),
      Effect.mapError(closedBy)
    ),
    closed: Deferred.await(closed),
    close: (code = 1000, reason = "") => Effect.sync(() => close(code, reason)),
    stall: Effect.sync(() => flowing.closeUnsafe()),
    flow: Effect.sync(() => flowing.openUnsafe())
  }
  return { socket, peer, unread: Queue.size(toServer), breakWrites: Effect.sync(() => isBroken = true) }
})

/** A transport of a platform socket. */
export const fromSocket: MakeTransport = Effect.gen(function*() {
  const { peer, socket } = yield* makeSocketPair
  return [yield* Transport.fromSocket(socket), peer] as const
})
