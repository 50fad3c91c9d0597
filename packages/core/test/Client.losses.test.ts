/**
 * What becomes of what is asked when a connection is lost, or is not there yet: against a server of which each word is told.
 */
import { Action, Client, type Connector, Consumer } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

const Numbers = Consumer.make("numbers", { path: "/ws/" }).pipe(
  Consumer.add(
    Action.make("add", { payload: Schema.Int, success: Schema.Int }),
    Action.make("get", { payload: Schema.Int, success: Schema.Int, idempotent: true }),
    Action.make("pay", { payload: Schema.Int, success: Schema.Int, idempotent: "key" }),
    Action.make("count", { payload: Schema.Int, success: Schema.Int, stream: true })
  )
)

interface Sent {
  readonly action: string
  readonly data: number
  readonly request_id: number
  readonly idempotency_key?: string
}

/** The server's side of a connection. */
interface Peer {
  readonly sent: ReadonlyArray<Sent>
  readonly reply: (sent: Sent | undefined, data: unknown, status?: number) => void
  readonly end: (code?: number, reason?: string) => void
}

/** A server that says what it is told to say. */
const makeServer = (protocol: string = "") => {
  const peers: Array<Peer> = []
  const connector: Connector.Connector = {
    open: () =>
      Effect.sync(() => {
        const sent: Array<Sent> = []
        let receive: ((frame: string) => void) | undefined
        let closed: ((exit: Effect.Effect<{ readonly code: number; readonly reason: string }>) => void) | undefined
        peers.push({
          sent,
          reply: (to, data, status = 200) =>
            receive?.(
              JSON.stringify({ errors: [], data, action: to?.action, route: "", status, request_id: to?.request_id })
            ),
          end: (code = 1006, reason = "") => closed?.(Effect.succeed({ code, reason }))
        })
        return {
          protocol: server.protocol,
          run: (listener) =>
            Effect.callback((resume) => {
              receive = listener
              closed = resume
            }),
          send: (frame) => void sent.push(JSON.parse(String(frame))),
          close: () => {}
        }
      })
  }
  const server = { protocol, peers, connector, last: () => peers.at(-1)! }
  return server
}

const options = { url: "ws://in-memory", reconnect: { min: 0, max: 0 }, heartbeat: false } as const

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** Everything that can happen has happened. */
const settled = TestClock.adjust("1 milli")

describe("What is asked of a client", () => {
  it.effect("says whether it was sent when the connection is lost", () =>
    Effect.gen(function*() {
      const server = makeServer()
      const client = yield* Client.make(Numbers, { ...options, connector: server.connector })
      yield* client.connect
      const sent = yield* fork(Effect.flip(client.add(1)))
      const streamed = yield* fork(Effect.flip(Stream.runDrain(client.count(1))))
      server.last().end()
      assert.deepInclude(yield* Fiber.join(sent), { _tag: "ConnectionLost", isSent: true })
      assert.deepInclude(yield* Fiber.join(streamed), { _tag: "ConnectionLost", isSent: true })
      yield* client.disconnect
      assert.deepInclude(yield* Effect.flip(client.add(1)), { _tag: "ConnectionLost", isSent: false })
      assert.deepInclude(yield* Effect.flip(Stream.runDrain(client.count(1))), {
        _tag: "ConnectionLost",
        isSent: false
      })
    }))

  it.effect("is sent again where it may be, with the same key, and in order", () =>
    Effect.gen(function*() {
      const server = makeServer()
      const client = yield* Client.make(Numbers, { ...options, connector: server.connector })
      yield* client.connect
      const got = yield* fork(client.get(1))
      const paid = yield* fork(client.pay(2))
      const [first] = server.peers
      yield* settled
      first!.end()
      yield* settled
      const second = server.last()
      assert.deepStrictEqual(second.sent, first!.sent)
      assert.isString(second.sent[1]!.idempotency_key)
      for (const sent of second.sent) second.reply(sent, sent.data)
      assert.deepStrictEqual([yield* Fiber.join(got), yield* Fiber.join(paid)], [1, 2])
    }))

  it.effect("does not wait for a connection that was given up, also where it might be sent again", () =>
    Effect.gen(function*() {
      const server = makeServer()
      const client = yield* Client.make(Numbers, { ...options, connector: server.connector, timeout: "1 hour" })
      yield* client.connect
      const got = yield* fork(Effect.flip(client.get(1)))
      const paid = yield* fork(Effect.flip(client.pay(1)))
      yield* client.disconnect
      yield* settled
      assert.isDefined(got.pollUnsafe())
      assert.isDefined(paid.pollUnsafe())
      assert.deepInclude(yield* Fiber.join(got), { _tag: "ConnectionLost", isSent: true })
      assert.deepInclude(yield* Fiber.join(paid), { _tag: "ConnectionLost", isSent: true })
    }))
})

describe("What is done on each connection", () => {
  it.effect("comes before all else, and what was asked first is sent first", () =>
    Effect.gen(function*() {
      const server = makeServer()
      const client = yield* Client.make(Numbers, { ...options, connector: server.connector })
      const prepared = yield* fork(client.onConnect(client.add(0)))
      const one = yield* fork(client.add(1))
      yield* settled
      const peer = server.last()
      const two = yield* fork(client.add(2))
      assert.deepStrictEqual(peer.sent.map(({ data }) => data), [0])
      peer.reply(peer.sent[0], 0)
      yield* Fiber.join(prepared)
      const three = yield* fork(client.add(3))
      yield* settled
      assert.deepStrictEqual(peer.sent.map(({ data }) => data), [0, 1, 2, 3])
      for (const sent of peer.sent.slice(1)) peer.reply(sent, sent.data)
      assert.deepStrictEqual(yield* Fiber.joinAll([one, two, three]), [1, 2, 3])
    }))

  it.effect("is also done where it comes while something else is done", () =>
    Effect.gen(function*() {
      const server = makeServer()
      const client = yield* Client.make(Numbers, { ...options, connector: server.connector })
      const slow = yield* Deferred.make<void>()
      yield* fork(client.onConnect(Deferred.await(slow)))
      yield* settled
      const late = yield* fork(client.onConnect(client.add(1)))
      yield* Deferred.succeed(slow, undefined)
      yield* settled
      const peer = server.last()
      assert.deepStrictEqual(peer.sent.map(({ data }) => data), [1])
      peer.reply(peer.sent[0], 1)
      yield* Fiber.join(late)
      assert.strictEqual(server.peers.length, 1)
    }))
})

describe("A refusal", () => {
  it.effect("that is lost before it has said anything is none", () =>
    Effect.gen(function*() {
      const server = makeServer(Consumer.refusalsSubprotocol)
      const client = yield* Client.make(Numbers, { ...options, connector: server.connector })
      const connected = yield* fork(client.connect)
      yield* settled
      server.protocol = ""
      server.last().end(1006)
      yield* Fiber.join(connected)
      assert.strictEqual(server.peers.length, 2)
    }))

  it.effect("that never comes is none, nor are credentials", () =>
    Effect.gen(function*() {
      const server = makeServer(Consumer.refusalsSubprotocol)
      let asked = 0
      const client = yield* Client.make(Numbers, {
        ...options,
        connector: server.connector,
        reconnect: { min: 0, max: 0, timeout: "15 seconds" },
        credentials: Effect.suspend(() => asked++ === 0 ? Effect.never : Effect.succeed({ token: "a" }))
      })
      const connected = yield* fork(client.connect)
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual([asked, server.peers.length], [2, 1])
      server.protocol = ""
      yield* TestClock.adjust("15 seconds")
      yield* Fiber.join(connected)
      assert.deepStrictEqual([asked, server.peers.length], [3, 2])
    }))

  it.effect("that has only its close code is one", () =>
    Effect.gen(function*() {
      const server = makeServer(Consumer.refusalsSubprotocol)
      const client = yield* Client.make(Numbers, { ...options, connector: server.connector })
      const connected = yield* fork(Effect.flip(client.connect))
      yield* settled
      server.last().end(4403, "You may not")
      assert.deepInclude(yield* Fiber.join(connected), {
        _tag: "ConnectionRefused",
        status: 403,
        message: "You may not"
      })
    }))
})
