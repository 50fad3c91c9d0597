import {
  Action,
  Authentication,
  ChannelError,
  ChannelLayer,
  Client,
  ClientError,
  Codec,
  type Connector,
  Consumer,
  Credentials,
  Event,
  Handlers,
  Scheme
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { delayOf, type Hint } from "../src/internal/client/delays.ts"
import { settle } from "./support/connection.ts"

const Told = Event.make("told", Schema.String)
const Plain = Consumer.make("plain", { path: "/ws/" }).pipe(
  Consumer.push(Told),
  Consumer.add(
    Action.make("echo", { payload: Schema.String, success: Schema.String }),
    Action.make("shout", { payload: Schema.String }).pipe(Action.silent),
    Action.make("items", { success: Schema.Int, stream: true })
  )
)

// ---- a server of which a test says what it does

interface Request {
  readonly action: string
  readonly request_id?: number
  readonly data?: unknown
}

/** A connection, from the side of the server. */
interface Peer {
  readonly request: Connector.Request
  readonly requests: Array<Request>
  /** What the client has closed it with. */
  readonly closed: Array<number>
  readonly send: (frame: unknown) => void
  readonly close: (code: number, reason?: string) => void
}

/** Has connections that say nothing by themselves; `protocol` is what the next ones choose. */
const fake = () => {
  const peers: Array<Peer> = []
  const server = {
    peers,
    protocol: Codec.json.subprotocol as string | undefined,
    online: () => {},
    connector: connector()
  }
  function connector(): Connector.Connector {
    return {
      open: (request) =>
        Effect.suspend(() => {
          if (server.protocol === undefined) return Effect.never
          let receive: (frame: string) => void = () => {}
          let end: (closed: { readonly code: number; readonly reason: string }) => void = () => {}
          const requests: Array<Request> = []
          const closed: Array<number> = []
          peers.push({
            request,
            requests,
            closed,
            send: (frame) => receive(JSON.stringify(frame)),
            close: (code, reason = "") => end({ code, reason })
          })
          return Effect.succeed<Connector.Link>({
            protocol: server.protocol,
            run: (listener) =>
              Effect.callback((resume) => {
                receive = listener
                end = (closed) => resume(Effect.succeed(closed))
              }),
            send: (frame) => {
              requests.push(JSON.parse(String(frame)) as Request)
            },
            close: (code) => {
              closed.push(code)
            }
          })
        }),
      onOnline: (listener) => {
        server.online = listener
        return () => {}
      }
    }
  }
  return server
}

const url = "ws://server"

const connected = Effect.fnUntraced(function*(options: Partial<Client.Options> = {}) {
  const server = fake()
  const client = yield* Client.make(Plain, { url, connector: server.connector, ...options })
  yield* client.connect
  return { client, server, peer: server.peers[0]! }
})

/** How it stands, as it has stood so far. */
const watch = Effect.fnUntraced(function*(client: { readonly statuses: Stream.Stream<Client.Status> }) {
  const seen: Array<Client.Status> = []
  yield* Effect.forkScoped(Stream.runForEach(client.statuses, (status) => Effect.sync(() => seen.push(status))), {
    startImmediately: true
  })
  return seen
})

const actions = ({ requests }: Peer) => requests.map(({ action }) => action)

// ---- the delays

const Hints = Schema.Union([
  Schema.TaggedStruct("None", {}),
  Schema.TaggedStruct("Restart", {}),
  Schema.TaggedStruct("Busy", {}),
  Schema.TaggedStruct("After", { seconds: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3600 })) })
])
const Failed = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2000 }))
const Part = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999 }))
const Millis = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60_000 }))

describe("the delay before an attempt", () => {
  const bounds = { min: 250, max: 30_000 }

  it.prop(
    "is between nothing and its bound, on top of what the server says",
    { failed: Failed, part: Part, hint: Hints, min: Millis, more: Millis },
    ({ failed, hint, min, more, part }) => {
      const max = min + more
      const least = hint._tag === "After" ? hint.seconds * 1000 : 0
      const delay = delayOf(failed, hint, { min, max }, part / 1000)
      assert.isTrue(Number.isInteger(delay))
      assert.isAtLeast(delay, least)
      assert.isAtMost(delay, least + max)
      assert.isAtMost(delay, least + Math.max(min * 2 ** Math.min(failed, 20), min * 8))
      assert.strictEqual(delayOf(failed, hint, { min, max }, 0), least)
    }
  )

  it.prop(
    "is not less for a greater random number, nor after more failures",
    { failed: Failed, part: Part, hint: Hints },
    ({ failed, hint, part }) => {
      const delay = delayOf(failed, hint, bounds, part / 1000)
      assert.isAtLeast(delayOf(failed, hint, bounds, (part + 0.9) / 1000), delay)
      assert.isAtLeast(delayOf(failed + 1, hint, bounds, part / 1000), delay)
    }
  )

  it("doubles its bound with each failure, and begins further on where all come at once", () => {
    const almost = 1 - 2 ** -53
    const of = (hint: Hint) => [0, 1, 2, 3, 4, 7, 50].map((failed) => delayOf(failed, hint, bounds, almost))
    assert.deepStrictEqual(of({ _tag: "None" }), [250, 500, 1000, 2000, 4000, 30_000, 30_000])
    assert.deepStrictEqual(of({ _tag: "Restart" }), [2000, 2000, 2000, 2000, 4000, 30_000, 30_000])
    assert.deepStrictEqual(of({ _tag: "Busy" }), of({ _tag: "Restart" }))
    assert.strictEqual(delayOf(0, { _tag: "After", seconds: 7.5 }, bounds, almost), 7750)
  })
})

describe("a client that connects again", () => {
  it.effect("waits longer each time, up to a bound, and no longer than it says", () =>
    Effect.gen(function*() {
      const { client, peer, server } = yield* connected({ reconnect: { min: 100, max: 400, timeout: "1 second" } })
      const seen = yield* watch(client)
      server.protocol = undefined
      peer.close(1006)
      yield* settle
      for (const [i, bound] of [100, 200, 400, 400, 400].entries()) {
        const status = seen.at(-1)
        assert.isTrue(status?._tag === "Waiting" && status.attempt === i + 1 && status.delay <= bound)
        if (status?._tag !== "Waiting") return
        yield* TestClock.adjust(status.delay)
        assert.deepStrictEqual(seen.at(-1), { _tag: "Connecting", attempt: i + 2 })
        // Nobody answers.
        yield* TestClock.adjust(999)
        assert.deepStrictEqual(seen.at(-1), { _tag: "Connecting", attempt: i + 2 })
        yield* TestClock.adjust(1)
      }
      const last = seen.at(-1)
      assert.isTrue(last?._tag === "Waiting" && last.reason === "The server does not answer")
    }))

  it.effect("has no more calls wait than it may when an attempt has failed, and those in order", () =>
    Effect.gen(function*() {
      const server = fake()
      server.protocol = undefined
      const client = yield* Client.make(Plain, {
        url,
        connector: server.connector,
        queue: 2,
        reconnect: { min: "1 hour", max: "1 hour", timeout: "1 second" }
      })
      const calls = yield* Effect.forEach(
        ["a", "b", "c", "d"],
        (text) => Effect.forkChild(client.echo(text, { timeout: "1 day" }), { startImmediately: true })
      )
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.deepStrictEqual(calls.map((call) => call.pollUnsafe() === undefined), [true, true, false, false])
      for (const call of calls.slice(2)) {
        const error = yield* Effect.flip(Fiber.join(call))
        assert.isTrue(error instanceof ClientError.ConnectionLost && !error.isSent)
      }
      server.protocol = Codec.json.subprotocol
      yield* client.connect
      assert.deepStrictEqual(server.peers[0]!.requests.map(({ data }) => data), ["a", "b"])
    }))

  it.effect("begins anew after a connection that has lasted, not after one that has not", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({ heartbeat: false })
      const seen = yield* watch(client)
      const attempts: Array<number> = []
      for (const lasted of ["9 seconds", "9 seconds", "10 seconds", "9 seconds"] as const) {
        yield* TestClock.adjust(lasted)
        server.peers.at(-1)!.close(1006)
        yield* settle
        const status = seen.at(-1)
        if (status?._tag === "Waiting") attempts.push(status.attempt)
        yield* client.connect
      }
      assert.deepStrictEqual(attempts, [1, 2, 1, 2])
    }))

  it.effect("gives a server that restarts, or is busy, the time that it says it takes", () =>
    Effect.gen(function*() {
      const { client, peer, server } = yield* connected()
      const seen = yield* watch(client)
      server.protocol = Consumer.refusalsSubprotocol
      peer.close(1012)
      yield* settle
      yield* Effect.forkChild(client.connect, { startImmediately: true })
      yield* settle
      server.peers.at(-1)!.send({
        errors: [{ detail: "Too many", code: "throttled", retry_after: 7.5 }],
        data: null,
        action: null,
        route: "",
        status: 429
      })
      server.peers.at(-1)!.close(4429)
      yield* settle
      const status = seen.at(-1)
      assert.isTrue(status?._tag === "Waiting" && status.reason === "Too many" && status.delay >= 7500)
    }))

  it.effect("does so at once when the network is back, and not because it was asked to before", () =>
    Effect.gen(function*() {
      const { client, peer, server } = yield* connected({ reconnect: { min: "1 hour", max: "1 hour" } })
      const seen = yield* watch(client)
      // There is a connection: nobody has to wait.
      yield* client.connect
      server.online()
      peer.close(1006)
      yield* settle
      assert.strictEqual(seen.at(-1)?._tag, "Waiting")
      server.online()
      yield* settle
      assert.strictEqual(seen.at(-1)?._tag, "Connected")
      assert.strictEqual(server.peers.length, 2)
    }))
})

describe("a heartbeat", () => {
  it.effect("asks for a sign of life after a silence, and gives up a connection that gives none", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected()
      const seen = yield* watch(client)
      const call = yield* Effect.forkChild(client.echo("a"), { startImmediately: true })
      yield* TestClock.adjust(24_999)
      assert.deepStrictEqual(actions(peer), ["echo"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(actions(peer), ["echo", "$ping"])
      yield* TestClock.adjust(9999)
      assert.strictEqual(seen.at(-1)?._tag, "Connected")
      yield* TestClock.adjust(1)
      assert.isTrue((yield* Effect.flip(Fiber.join(call))) instanceof ClientError.ConnectionLost)
      const waiting = seen.find(({ _tag }) => _tag === "Waiting")
      assert.isTrue(waiting?._tag === "Waiting" && waiting.reason.includes("no sign of life"))
      assert.deepStrictEqual(peer.closed, [1000])
    }))

  it.effect("asks nothing of a server that is heard", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected({ heartbeat: { interval: "5 seconds", timeout: "1 second" } })
      for (let i = 0; i < 20; i++) {
        yield* TestClock.adjust("4 seconds")
        peer.send({ type: "told", data: "x", status: 200 })
      }
      assert.deepStrictEqual(actions(peer), [])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(actions(peer), ["$ping"])
      peer.send({ errors: [], data: null, action: "$ping", route: "", status: 200 })
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* client.status)._tag, "Connected")
    }))

  it.effect("is answered by a server in memory, for hours", () =>
    Effect.gen(function*() {
      const client = yield* Testing.client(Plain)
      yield* client.connect
      const seen = yield* watch(client)
      yield* TestClock.adjust("3 hours")
      assert.deepStrictEqual(seen.map(({ _tag }) => _tag), ["Connected"])
    }).pipe(Effect.provide(PlainLive)))

  it.effect("can be turned off", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected({ heartbeat: false })
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(actions(peer), [])
      assert.strictEqual((yield* client.status)._tag, "Connected")
    }))
})

const PlainLive = Consumer.handlers(Plain).pipe(
  Handlers.handle("echo", ({ payload }) => Effect.succeed(payload)),
  Handlers.handle("shout", () => Effect.void),
  Handlers.handle("items", () => Stream.empty),
  Handlers.toLayer,
  Layer.provide(ChannelLayer.layerMemory)
)

describe("a timeout", () => {
  it.effect("ends each call at its time, and cancels it; streams last", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected({ heartbeat: false })
      const stream = yield* Effect.forkChild(Stream.runDrain(client.items()), { startImmediately: true })
      const usual = yield* Effect.forkChild(client.echo("a"), { startImmediately: true })
      const short = yield* Effect.forkChild(client.echo("b", { timeout: "5 seconds" }), { startImmediately: true })
      const long = yield* Effect.forkChild(client.echo("c", { timeout: "2 minutes" }), { startImmediately: true })
      const [, a, b, c] = peer.requests.map(({ request_id }) => request_id)
      const ends = (fiber: Fiber.Fiber<unknown, unknown>, at: number) =>
        Effect.gen(function*() {
          yield* TestClock.adjust(at - 1)
          assert.isUndefined(fiber.pollUnsafe())
          yield* TestClock.adjust(1)
          const error = yield* Effect.flip(Fiber.join(fiber))
          assert.isTrue(error instanceof ClientError.Timeout && error.by === "client")
        })
      yield* ends(short, 5000)
      yield* ends(usual, 55_000)
      yield* ends(long, 60_000)
      assert.deepStrictEqual(
        peer.requests.filter(({ action }) => action === "$cancel").map(({ data }) => data),
        [{ request_id: b }, { request_id: a }, { request_id: c }]
      )
      yield* TestClock.adjust("1 day")
      assert.isUndefined(stream.pollUnsafe())
    }))

  it.effect("counts the time that a call has waited for its connection", () =>
    Effect.gen(function*() {
      const server = fake()
      server.protocol = undefined
      const client = yield* Client.make(Plain, { url, connector: server.connector, timeout: "3 seconds" })
      const call = yield* Effect.forkChild(client.echo("a"), { startImmediately: true })
      yield* TestClock.adjust("3 seconds")
      assert.isTrue((yield* Effect.flip(Fiber.join(call))) instanceof ClientError.Timeout)
      server.protocol = Codec.json.subprotocol
      yield* client.disconnect
      yield* client.connect
      assert.deepStrictEqual(actions(server.peers[0]!), [])
    }))
})

describe("a message that is too large", () => {
  const tooLarge = {
    errors: [{ detail: "Too long", code: "too_large" }],
    data: null,
    action: null,
    route: "",
    status: 413
  }

  it.effect("fails the longest call, as the server cannot say whose it was", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected()
      const short = yield* Effect.forkChild(client.echo("a"), { startImmediately: true })
      const long = yield* Effect.forkChild(client.echo("a".repeat(10)), { startImmediately: true })
      const middle = yield* Effect.forkChild(client.echo("a".repeat(5)), { startImmediately: true })
      peer.send(tooLarge)
      assert.isTrue((yield* Effect.flip(Fiber.join(long))) instanceof ChannelError.MessageTooLarge)
      yield* settle
      assert.isUndefined(short.pollUnsafe())
      assert.isUndefined(middle.pollUnsafe())
      peer.close(1009)
      assert.isTrue((yield* Effect.flip(Fiber.join(middle))) instanceof ChannelError.MessageTooLarge)
      assert.isTrue((yield* Effect.flip(Fiber.join(short))) instanceof ClientError.ConnectionLost)
    }))

  it.effect("fails no call where it was one that nobody waits for", () =>
    Effect.gen(function*() {
      const { client, peer } = yield* connected()
      const call = yield* Effect.forkChild(client.echo("a"), { startImmediately: true })
      yield* client.shout("a".repeat(50))
      peer.send(tooLarge)
      yield* settle
      assert.isUndefined(call.pollUnsafe())
    }))
})

// ---- renewal

class CurrentUser extends Authentication.Service<CurrentUser, string>()("test/ClientUser", { key: (name) => name }) {}

const Members = Consumer.make("members", { path: "/ws/" }).pipe(
  Consumer.add(
    Action.make("whoami", { success: Schema.String }),
    Action.make("hang", { concurrency: "unbounded", timeout: "Infinity" })
  )
)

/** The token `alice!5000` is Alice's until then, and `invalid!` nobody's. */
const MembersLive = Consumer.handlers(Members).pipe(
  Handlers.handle("whoami", () => CurrentUser.use((name) => name)),
  Handlers.handle("hang", () => Effect.never),
  Handlers.toLayer,
  Layer.provide(CurrentUser.layer(Scheme.token({
    from: Credentials.subprotocol(),
    verify: (token) => {
      const [name = "", until] = Redacted.value(token).split("!")
      return name === "invalid"
        ? Effect.fail(new ChannelError.InvalidCredentials())
        : Effect.succeed(Authentication.authenticated(name, { expiresAt: Number(until) }))
    }
  })))
)

describe("credentials that expire", () => {
  /** They hold for a minute each time that they are asked for. */
  const minutely = Effect.fnUntraced(function*(name: (asked: number) => string = () => "alice") {
    const times: Array<number> = []
    const credentials = Effect.map(Effect.clockWith((clock) => clock.currentTimeMillis), (now) => {
      times.push(now)
      const expiresAt = now + 60_000
      return { token: `${name(times.length)}!${expiresAt}`, expiresAt }
    })
    const client = yield* Testing.client(Members, { credentials })
    const heard = yield* watch(client)
    yield* client.connect
    return { client, heard, times }
  })

  it.effect("are renewed before that, on the connection that there is, again and again", () =>
    Effect.gen(function*() {
      const { client, heard, times } = yield* minutely()
      for (let i = 0; i < 100; i++) yield* TestClock.adjust("6 seconds")
      assert.strictEqual(yield* client.whoami(), "alice")
      assert.deepStrictEqual(heard.map(({ _tag }) => _tag), ["Idle", "Connecting", "Connected"])
      // Twelve seconds, a fifth of the time that was left, before they expire.
      assert.deepStrictEqual(times.slice(0, 4), [0, 48_000, 96_000, 144_000])
      assert.strictEqual(times.length, 13)
    }).pipe(Effect.provide(MembersLive)))

  it.effect("that cannot be renewed end the connection, and the next one says why", () =>
    Effect.gen(function*() {
      const { client, heard, times } = yield* minutely((asked) => asked === 1 ? "alice" : "invalid")
      const call = yield* Effect.forkChild(client.hang(), { startImmediately: true })
      for (let i = 0; i < 30; i++) yield* TestClock.adjust("4 seconds")
      // The server says why.
      assert.isTrue((yield* Effect.flip(Fiber.join(call))) instanceof ChannelError.InvalidCredentials)
      const waiting = heard.find(({ _tag }) => _tag === "Waiting")
      assert.isTrue(waiting?._tag === "Waiting" && waiting.reason.includes("4401"))
      const last = heard.at(-1)
      assert.isTrue(last?._tag === "Refused" && last.error.status === 401)
      assert.isAbove(times.length, 3)
    }).pipe(Effect.provide(MembersLive)))

  it.effect("are not renewed while there is no connection", () =>
    Effect.gen(function*() {
      const { client, times } = yield* minutely()
      yield* client.disconnect
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(times, [0])
    }).pipe(Effect.provide(MembersLive)))
})

describe("make", () => {
  it.effect("offers its codecs, refusals and credentials, and has its own query", () =>
    Effect.gen(function*() {
      const { peer } = yield* connected({
        query: { a: "b c" },
        credentials: Effect.succeed({ token: "t" })
      })
      assert.deepStrictEqual(peer.request, {
        url: "ws://server/ws/?a=b%20c",
        protocols: [Codec.json.subprotocol, Consumer.refusalsSubprotocol, Credentials.toSubprotocol("t")]
      })
    }))

  it.effect("takes an address of HTTP too, and dies of one that is none", () =>
    Effect.gen(function*() {
      const { peer } = yield* connected({ url: "https://server/base/" })
      assert.strictEqual(peer.request.url, "wss://server/base/ws/")
      for (const url of ["", "server", "ftp://server", "ws://server/?a=b", undefined]) {
        const exit = yield* Effect.exit(Client.make(Plain, { url }))
        assert.isTrue(exit._tag === "Failure" && exit.cause.reasons[0]?._tag === "Die")
      }
    }))

  it.effect("is lazy: whoever uses nothing connects to nothing, and one that has ended never does", () =>
    Effect.gen(function*() {
      const server = fake()
      const late = yield* Effect.scoped(Client.make(Plain, { url, connector: server.connector }))
      yield* TestClock.adjust("1 day")
      assert.isTrue((yield* Effect.flip(late.echo("a"))) instanceof ClientError.ConnectionLost)
      yield* Effect.forkChild(late.connect, { startImmediately: true })
      yield* settle
      assert.strictEqual(server.peers.length, 0)
    }))

  it.effect("connects again also after an attempt that broke", () =>
    Effect.gen(function*() {
      const server = fake()
      let broken = true
      const begun = yield* Latch.make(false)
      const connector: Connector.Connector = {
        open: (request) =>
          Effect.andThen(begun.open, broken ? Effect.die(new Error("broken")) : server.connector.open(request))
      }
      const client = yield* Client.make(Plain, { url, connector, reconnect: { min: "1 hour", max: "1 hour" } })
      const seen = yield* watch(client)
      const call = yield* Effect.forkChild(client.echo("a"), { startImmediately: true })
      yield* begun.await
      assert.isTrue((yield* Effect.flip(Fiber.join(call))) instanceof ClientError.ConnectionLost)
      assert.strictEqual(seen.at(-1)?._tag, "Waiting")
      broken = false
      yield* client.connect
    }))
})
