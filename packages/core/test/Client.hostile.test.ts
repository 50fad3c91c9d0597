/**
 * What a client makes of a server, and of a program, that means it ill or has made a mistake.
 */
import { Action, Client, Codec, type Connector, Consumer, Event, Group } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { retryAfter } from "../src/internal/client/failures.ts"

const Room = Group.make("room", { room: Schema.String }).pipe(Group.history({ count: 10, age: "1 hour" }))
const echo = { payload: Schema.String, success: Schema.String }
const Plain = Consumer.make("plain", { path: "/ws/" }).pipe(
  Consumer.join(Room, () => ({ room: "lobby" })),
  Consumer.push(Event.make("told", Schema.String)),
  Consumer.add(
    Action.make("echo", echo),
    Action.make("again", { ...echo, idempotent: true }),
    Action.make("pay", { ...echo, idempotent: "key" }),
    Action.make("follow", { payload: Schema.String })
  )
)

interface Sent {
  readonly action: string
  readonly data: unknown
  readonly request_id?: number
}

/** The server's side of a connection. */
interface Peer {
  readonly url: string
  readonly sent: Array<Sent>
  /** Gives a frame to the client: throws where the client does. */
  readonly say: (frame: unknown) => void
  readonly reply: (sent: Sent | undefined, body: object) => void
  readonly end: (code?: number, reason?: string) => void
}

/** A server that says what it is told to say. */
const makeServer = () => {
  const peers: Array<Peer> = []
  const connector: Connector.Connector = {
    open: (request) =>
      Effect.gen(function*() {
        if (server.protocol === undefined) return yield* Effect.never
        let receive: (frame: string) => void = () => {}
        let closed: (code: number, reason: string) => void = () => {}
        const peer: Peer = {
          url: request.url,
          sent: [],
          say: (frame) => receive(typeof frame === "string" ? frame : JSON.stringify(frame)),
          reply: (to, body) => peer.say({ errors: [], data: null, status: 200, request_id: to?.request_id, ...body }),
          end: (code = 1006, reason = "") => closed(code, reason)
        }
        peers.push(peer)
        return {
          protocol: server.protocol,
          run: (listener) =>
            Effect.callback((resume) => {
              receive = listener
              closed = (code, reason) => resume(Effect.succeed({ code, reason }))
            }),
          send: (frame) => {
            const sent = JSON.parse(String(frame)) as Sent
            peer.sent.push(sent)
            server.heard(sent, peer)
          },
          close: () => {}
        }
      })
  }
  const server = {
    /** Where there is none, it does not answer. */
    protocol: Codec.json.subprotocol as string | undefined,
    heard: (_sent: Sent, _peer: Peer): void => {},
    peers,
    connector,
    last: () => peers.at(-1)!
  }
  return server
}

const url = "ws://server"

const connected = Effect.fnUntraced(function*(options: Partial<Client.Options> = {}) {
  const server = makeServer()
  const client = yield* Client.make(Plain, { url, heartbeat: false, connector: server.connector, ...options })
  yield* client.connect
  return { client, server, peer: server.last() }
})

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** Everything that can happen has happened. */
const settled = TestClock.adjust("1 milli")

/** What has come of it by now. */
const fate = <A, E>(fiber: Fiber.Fiber<A, E>): Exit.Exit<A, E> => {
  const exit = fiber.pollUnsafe()
  assert.isDefined(exit, "it still waits")
  return exit!
}

const errorOf = <A, E>(fiber: Fiber.Fiber<A, E>): unknown => {
  const exit = fate(fiber)
  assert.isTrue(Exit.isFailure(exit), "it has succeeded")
  return Cause.squash((exit as Exit.Failure<A, E>).cause)
}

const deaths = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isFailure(exit)
    ? exit.cause.reasons.filter(Cause.isDieReason).map(({ defect }) => String(defect)).join()
    : "it has succeeded"

describe("What a server says", () => {
  const deep = `${"{\"a\":".repeat(10_000)}1${"}".repeat(10_000)}`
  for (
    const [what, frame] of [
      ["that it is in a group", `{"type":"$joined","status":200,"data":{"group":"room","params":${deep},"id":"1"}}`],
      ["an event", `{"type":"told","status":200,"data":"x","id":"1","group":"room","params":${deep}}`]
    ] as const
  ) {
    it.effect(`leaves the connection alive where parameters are nested too deep to say ${what}`, () =>
      Effect.gen(function*() {
        const logged: Array<unknown> = []
        const { client, peer, server } = yield* connected().pipe(
          Effect.provide(Logger.layer([Logger.make(({ message }) => void logged.push(message))]))
        )
        const told = yield* fork(Stream.runHead(client.events("told")))
        peer.say(frame)
        yield* settled
        assert.strictEqual(logged.length, 1)
        peer.say({ type: "told", status: 200, data: "later" })
        assert.deepInclude(yield* Fiber.join(told), { value: "later" })
        const call = yield* fork(client.echo("a"))
        peer.reply(peer.sent[0], { data: "a" })
        assert.strictEqual(yield* Fiber.join(call), "a")
        assert.strictEqual(server.peers.length, 1)
      }))
  }

  it.effect("of positions is kept as far as a URL has room for it, the last ones first", () =>
    Effect.gen(function*() {
      const { client, peer, server } = yield* connected({ reconnect: { min: 0, max: 0 } })
      const say = (room: string, id: string) =>
        peer.say({ type: "told", data: "", status: 200, group: "room", params: { room }, id })
      for (let i = 0; i < 400; i++) say(`r${i}`, "p".repeat(50))
      say("lobby", "p".repeat(100_000))
      peer.end(1012)
      yield* settled
      assert.strictEqual((yield* client.status)._tag, "Connected")
      assert.strictEqual(server.peers.length, 2)
      const next = new URL(server.last().url)
      assert.isAtMost(next.search.length - 1, 4000)
      const rooms = next.searchParams.getAll("$after").map((position) => /"room":"(\w+)"/.exec(position)?.[1])
      assert.isAtLeast(rooms.length, 20)
      assert.deepStrictEqual(rooms, rooms.map((_, i) => `r${399 - i}`))
    }))

  it.effect("of a message that was too large is about one that nobody waits for, where that was longer", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected()
      const big = yield* fork(client.echo("x".repeat(10_000)))
      const small = yield* fork(client.echo("small"))
      yield* Fiber.interrupt(big)
      peer.say({ status: 413, errors: [], data: null, request_id: null })
      yield* settled
      assert.isUndefined(small.pollUnsafe())
      peer.reply(peer.sent[1], { data: "small" })
      assert.strictEqual(yield* Fiber.join(small), "small")
    }))

  it.effect("of a message that was too large is about nobody where its id is unknown", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected()
      const call = yield* fork(client.echo("a"))
      peer.say({ status: 413, errors: [], data: null, request_id: 999 })
      yield* settled
      assert.isUndefined(call.pollUnsafe())
      peer.say({ status: 413, errors: [], data: null, request_id: null })
      assert.deepInclude(errorOf(call), { _tag: "MessageTooLarge" })
    }))

  for (const status of [206, 100, -1]) {
    it.effect(`is unexpected where a call is answered with ${status}`, () =>
      Effect.gen(function*() {
        const { client, peer } = yield* connected()
        const call = yield* fork(client.echo("a"))
        peer.reply(peer.sent[0], { data: "a", status })
        yield* settled
        assert.deepInclude(errorOf(call), { _tag: "UnexpectedReply", status })
      }))
  }

  for (
    const [seconds, min, max] of [
      ["1e9", 3_600_000, 3_600_250],
      ["1e999", 3_600_000, 3_600_250],
      ["-1", 0, 2000],
      ["\"1000\"", 0, 2000],
      ["null", 0, 2000]
    ] as const
  ) {
    it.effect(`of when to come back is taken for what it can be: ${seconds}`, () =>
      Effect.gen(function*() {
        const server = makeServer()
        server.protocol = Consumer.refusalsSubprotocol
        const client = yield* Client.make(Plain, { url, connector: server.connector })
        yield* fork(client.connect)
        server.last().say(`{"status":429,"data":null,"errors":[{"retry_after":${seconds}}]}`)
        server.last().end(4429)
        // No time passes: the delay has not begun to run.
        yield* TestClock.adjust(0)
        const status = yield* client.status
        if (status._tag !== "Waiting") return assert.fail(status._tag)
        assert.isAtLeast(status.delay, min)
        assert.isAtMost(status.delay, max)
      }))
  }

  it("of when to come back is no hint where it is no number", () => {
    assert.deepStrictEqual([NaN, -1, "1", null].map((retry_after) => retryAfter([{ retry_after }])), [
      undefined,
      undefined,
      undefined,
      undefined
    ])
  })

  for (
    const [what, saidAt] of [
      ["are no time", () => "garbage"],
      ["are at once", (now: number) => new Date(now + 1).toISOString()]
    ] as const
  ) {
    it.effect(`does not have credentials renewed all the time that expire when they ${what}`, () =>
      Effect.gen(function*() {
        const { peer, server } = yield* connected({
          credentials: Effect.succeed({ token: "a", expiresAt: 100_000 })
        })
        const clock = yield* Clock.Clock
        server.heard = (sent, peer) =>
          peer.reply(sent, { data: { expires_at: saidAt(clock.currentTimeMillisUnsafe()) } })
        yield* TestClock.adjust("79999 millis")
        assert.strictEqual(peer.sent.length, 0)
        for (let i = 0; i < 1000; i++) yield* TestClock.adjust("10 millis")
        assert.isAtLeast(peer.sent.length, 2)
        assert.isAtMost(peer.sent.length, 6)
      }))
  }

  it.effect("of credentials that live three seconds is heeded in time", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const renewals: Array<number> = []
      const { server } = yield* connected({
        credentials: Effect.sync(() => ({ token: "a", expiresAt: clock.currentTimeMillisUnsafe() + 3000 }))
      })
      server.heard = (sent, peer) => {
        const now = clock.currentTimeMillisUnsafe()
        renewals.push(now)
        peer.reply(sent, { data: { expires_at: new Date(now + 3000).toISOString() } })
      }
      for (let i = 0; i < 300; i++) yield* TestClock.adjust("100 millis")
      assert.isAtLeast(renewals.length, 10)
      renewals.forEach((at, i) => assert.isBelow(at - (renewals[i - 1] ?? 0), 3000))
    }))
})

describe("What a program asks", () => {
  it.effect("of a stream one pull at a time misses nothing when a pull is given up", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected()
      const pull = yield* Stream.toPull(client.events("told"))
      const given = yield* fork(Effect.timeoutOption(pull, "1 second"))
      yield* TestClock.adjust("1 second")
      assert.deepInclude(fate(given), { _tag: "Success" })
      for (const data of ["one", "two"]) peer.say({ type: "told", status: 200, data })
      const next = yield* fork(pull)
      yield* settled
      assert.deepStrictEqual(fate(next), Exit.succeed(["one", "two"] as const))
    }))

  it.effect("of a client that has ended is told so", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { client } = yield* Scope.provide(connected(), scope)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* client.status, { _tag: "Idle" })
      const connect = yield* fork(client.connect)
      const disconnect = yield* fork(client.disconnect)
      const hook = yield* fork(Effect.scoped(client.onConnect(client.follow("a"))))
      yield* settled
      assert.include(deaths(fate(connect)), "The client has ended")
      assert.deepStrictEqual(fate(disconnect), Exit.void)
      assert.deepInclude(errorOf(hook), { _tag: "ConnectionLost", isSent: false })
      assert.deepStrictEqual(yield* client.status, { _tag: "Idle" })
    }))

  it.effect("of a client that ends meanwhile is told so", () =>
    Effect.gen(function*() {
      const server = makeServer()
      server.protocol = undefined
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(Client.make(Plain, { url, connector: server.connector }), scope)
      const connect = yield* fork(client.connect)
      const hook = yield* fork(Effect.scoped(client.onConnect(client.follow("a"))))
      const statuses = yield* fork(Stream.runDrain(client.statuses))
      yield* settled
      yield* Scope.close(scope, Exit.void)
      yield* settled
      assert.include(deaths(fate(connect)), "The client has ended")
      assert.deepInclude(errorOf(hook), { _tag: "ConnectionLost", isSent: false })
      assert.deepStrictEqual(fate(statuses), Exit.void)
      assert.deepStrictEqual(yield* client.status, { _tag: "Idle" })
    }))

  it.effect("is done where it connects again before the old connection is cleaned up", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({ reconnect: { min: 0, max: 0 } })
      let isSlow = false
      yield* client.onConnect(
        Effect.suspend(() => isSlow ? Effect.onInterrupt(Effect.never, () => Effect.sleep("1 second")) : Effect.void)
      )
      isSlow = true
      server.last().end(1012)
      yield* settled
      assert.strictEqual((yield* client.status)._tag, "Connecting")
      isSlow = false
      const disconnect = yield* fork(client.disconnect)
      const connect = yield* fork(client.connect)
      yield* settled
      assert.strictEqual(server.peers.length, 2)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([fate(disconnect), fate(connect)], [Exit.void, Exit.void])
      assert.strictEqual((yield* client.status)._tag, "Connected")
      assert.strictEqual(server.peers.length, 3)
    }))

  it.effect("when it is told of a refusal, and connects again, is not refused as well", () =>
    Effect.gen(function*() {
      const server = makeServer()
      server.protocol = Consumer.refusalsSubprotocol
      const client = yield* Client.make(Plain, { url, connector: server.connector })
      const oldCall = yield* fork(client.echo("old"))
      const oldEvents = yield* fork(Stream.runDrain(client.events("told")))
      const again = Effect.gen(function*() {
        server.protocol = Codec.json.subprotocol
        yield* Effect.forkDetach(client.connect, { startImmediately: true })
        const events = yield* Effect.forkDetach(Stream.runHead(client.events("told")), { startImmediately: true })
        const call = yield* Effect.forkDetach(client.echo("new"), { startImmediately: true })
        return { call, events }
      })
      const told = yield* fork(client.statuses.pipe(
        Stream.filter(({ _tag }) => _tag === "Refused"),
        Stream.mapEffect(() => again),
        Stream.runHead
      ))
      const heard = yield* fork(Effect.flatMap(Effect.flip(Stream.runDrain(client.heard)), () => again))
      yield* settled
      server.last().say({ status: 403, errors: [], data: null })
      server.last().end(4403)
      yield* settled
      assert.deepInclude(errorOf(oldCall), { _tag: "ConnectionRefused" })
      assert.deepInclude(errorOf(oldEvents), { _tag: "ConnectionRefused" })
      assert.strictEqual(server.peers.length, 2)
      const peer = server.last()
      for (const sent of peer.sent) peer.reply(sent, { data: sent.data })
      peer.say({ type: "told", status: 200, data: "hello" })
      yield* settled
      const first = yield* Fiber.join(told)
      if (first._tag === "None") return assert.fail("Nobody was told")
      for (const { call, events } of [first.value, yield* Fiber.join(heard)]) {
        assert.deepStrictEqual(fate(call), Exit.succeed("new"))
        assert.deepInclude(yield* Fiber.join(events), { value: "hello" })
      }
    }))

  it.effect("again at once when the connection is lost does not wait where nothing may wait", () =>
    Effect.gen(function*() {
      const { client, peer, server } = yield* connected({
        reconnect: { min: "1 hour", max: "1 hour" },
        timeout: "1 day"
      })
      const calls: Array<Fiber.Fiber<unknown, unknown>> = []
      for (let i = 0; i < 50; i++) calls.push(yield* fork(Effect.retry(client.echo("a"), { times: 3 })))
      server.protocol = undefined
      peer.end()
      yield* TestClock.adjust(0)
      assert.strictEqual((yield* client.status)._tag, "Waiting")
      for (const call of calls) assert.deepInclude(errorOf(call), { _tag: "ConnectionLost", isSent: false })
    }))

  it.effect("with a key, where it is none that the server keeps, is a mistake", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected()
      const echo = client.echo as (
        payload: string,
        options: { readonly idempotencyKey: string }
      ) => Effect.Effect<unknown, unknown>
      const call = yield* fork(echo("a", { idempotencyKey: "order-7" }))
      yield* settled
      assert.include(deaths(fate(call)), "\"echo\" takes no idempotency key")
      assert.deepStrictEqual(peer.sent, [])
    }))

  it.effect("and was sent, is lost when the connection is ended for good, also where it might be sent again", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected()
      const calls = [yield* fork(client.again("a")), yield* fork(client.pay("a"))]
      peer.end(4403)
      yield* settled
      assert.strictEqual((yield* client.status)._tag, "Refused")
      for (const call of calls) assert.deepInclude(errorOf(call), { _tag: "ConnectionLost", isSent: true })
    }))

  it.effect("times out also where the clock moves by fractions", () =>
    Effect.gen(function*() {
      const { client } = yield* connected()
      // Of so many sums of fractions some are a little less than they are to be.
      for (let i = 1; i <= 100; i++) {
        yield* TestClock.adjust(i / 7)
        const call = yield* fork(client.echo("a", { timeout: "3 seconds" }))
        for (let j = 0; j < 4; j++) yield* TestClock.adjust(1000 + i / 13)
        assert.deepInclude(errorOf(call), { _tag: "Timeout", by: "client" })
      }
    }))

  it.effect("for each connection is done once on the one that there is", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({ reconnect: { min: 0, max: 0 } })
      let done = 0
      yield* client.onConnect(Effect.sync(() => done++))
      assert.deepStrictEqual([done, server.peers.length], [1, 1])
      server.last().end(1012)
      yield* settled
      assert.deepStrictEqual([done, server.peers.length], [2, 2])
    }))

  it.effect("for each connection is done once where it opens at once", () =>
    Effect.gen(function*() {
      const server = makeServer()
      const client = yield* Client.make(Plain, { url, connector: server.connector })
      let done = 0
      yield* client.onConnect(Effect.sync(() => done++))
      yield* settled
      assert.deepStrictEqual([done, server.peers.length], [1, 1])
    }))

  for (
    const [name, options] of [
      ["queue", { queue: NaN }],
      ["queue", { queue: -1 }],
      ["timeout", { timeout: -1 }],
      ["reconnect.min", { reconnect: { min: NaN } }],
      ["heartbeat.interval", { heartbeat: { interval: -1 } }]
    ] as const
  ) {
    it.effect(`of a client dies where it is no number: ${JSON.stringify(options)}`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Client.make(Plain, { url, connector: makeServer().connector, ...options }))
        assert.include(deaths(exit), `the option ${name} is`)
      }))
  }
})
