import {
  Action,
  Authentication,
  ChannelError,
  Consumer,
  Credentials,
  Handlers,
  Permission,
  Scheme
} from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Buffer } from "node:buffer"
import * as Client from "./support/client.ts"
import { frameOf, makeParser, opcode } from "./support/frames.ts"
import * as Server from "./support/server.ts"

const echo = { action: "echo", data: "hi" }

/** That a refusal is a complete HTTP answer, with a body in the form of a reply. */
const assertRefused = (
  refused: Client.Refused,
  status: number,
  code: string,
  retryAfter = status === 503 ? "1" : undefined
) => {
  assert.strictEqual(refused.status, status)
  assert.strictEqual(refused.headers["content-type"], "application/json; charset=utf-8")
  assert.strictEqual(refused.headers["content-length"], String(Buffer.byteLength(refused.body)))
  assert.strictEqual(refused.headers["connection"], "close")
  assert.strictEqual(refused.headers["retry-after"], retryAfter)
  assert.strictEqual(refused.headers["www-authenticate"], status === 401 ? "Bearer" : undefined)
  const { errors, ...rest } = JSON.parse(refused.body)
  assert.deepStrictEqual(rest, { data: null, action: null, route: "", status })
  assert.deepStrictEqual([errors.length, errors[0].code, typeof errors[0].detail], [1, code, "string"])
}

const refusedBy = (port: number, path: string, options?: Client.Options) =>
  Effect.flip(Effect.scoped(Client.open(port, path, options)))

/** An authenticator that waits, and tells what becomes of it. */
const makeSlow = Effect.gen(function*() {
  const started = yield* Deferred.make<void>()
  const startedTwice = yield* Deferred.make<void>()
  const interrupted = yield* Deferred.make<void>()
  const released = yield* Deferred.make<void>()
  const latch = yield* Latch.make()
  let count = 0
  const authenticate = () =>
    Effect.acquireRelease(Effect.void, () => Deferred.succeed(released, undefined)).pipe(
      Effect.andThen(Effect.suspend(() => Deferred.succeed(++count === 1 ? started : startedTwice, undefined))),
      Effect.andThen(latch.await),
      Effect.andThen(Server.alice),
      Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
    )
  return { authenticate, latch, started, startedTwice, interrupted, released }
})

describe("the handshake", () => {
  it.live("is answered as the RFC has it", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const client = yield* Client.open(port, "/ws/", {
        headers: { Upgrade: "WebSocket", Connection: "keep-alive, Upgrade" }
      })
      assert.strictEqual(client.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
      assert.strictEqual(client.headers["upgrade"], "websocket")
      assert.isUndefined(client.headers["sec-websocket-extensions"])
      assert.strictEqual((yield* client.ask(echo)).data, "hi")
    }))

  it.live("is refused with 400 when it is none", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const wrong: ReadonlyArray<Client.Options> = [
        { headers: { "Sec-WebSocket-Key": undefined } },
        { headers: { "Sec-WebSocket-Key": "" } },
        { headers: { "Sec-WebSocket-Key": "short==" } },
        { headers: { "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ" } },
        { headers: { "Sec-WebSocket-Version": undefined } },
        { headers: { "Sec-WebSocket-Version": "8" } },
        { headers: { "Sec-WebSocket-Version": "13, 8" } },
        { headers: { Upgrade: "websocket, h2c" } },
        { method: "POST" },
        { method: "HEAD" }
      ]
      for (const options of wrong) {
        const refused = yield* refusedBy(port, "/ws/", options)
        assertRefused(refused, 400, "parse_error")
      }
      // Node itself does not take it for an upgrade.
      assert.strictEqual((yield* refusedBy(port, "/ws/", { headers: { Connection: "close" } })).status, 404)
    }))

  it.live("is refused with 401, 403 or 503 by authentication and permission", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startGuarded(({ query: { user } }) => {
        if (user === undefined) return Effect.succeed(Authentication.anonymous)
        if (user === "invalid") return Effect.fail(new ChannelError.InvalidCredentials())
        if (user === "later") return Effect.fail(new ChannelError.Unavailable({ message: "Later" }))
        return Effect.succeed(Authentication.authenticated(String(user)))
      })
      assertRefused(yield* refusedBy(port, "/guarded/"), 403, "not_authenticated")
      assertRefused(yield* refusedBy(port, "/guarded/?user=invalid"), 401, "authentication_failed")
      assertRefused(yield* refusedBy(port, "/guarded/?user=later"), 503, "unavailable")
      const client = yield* Client.open(port, "/guarded/?user=bob")
      assert.strictEqual((yield* client.ask({ action: "whoami" })).data, "bob")
    }))

  it.live("says nothing of what broke", () =>
    Server.withLogs((logs) =>
      Effect.gen(function*() {
        const { port } = yield* Server.startGuarded(() => Effect.die(new Error("secret ü")))
        const refused = yield* refusedBy(port, "/guarded/")
        assert.strictEqual(refused.status, 500)
        assert.notInclude(refused.body, "secret")
        assert.deepStrictEqual(logs.filter(({ level }) => level === "Error").length, 1)
      })
    ))

  it.live("is refused for the pages of other hosts, unless they are listed", () =>
    Effect.gen(function*() {
      const own = yield* Server.startOpen()
      const connect = (port: number, Origin: string | undefined, Host?: string) =>
        Effect.scoped(Client.open(port, "/ws/", { headers: { Origin, ...(Host === undefined ? {} : { Host }) } })).pipe(
          Effect.match({ onFailure: (refused) => refused.status, onSuccess: () => 101 })
        )
      assert.strictEqual(yield* connect(own.port, undefined), 101)
      assert.strictEqual(yield* connect(own.port, `http://127.0.0.1:${own.port}`), 101)
      assert.strictEqual(yield* connect(own.port, "http://Example.com", "EXAMPLE.com"), 101)
      for (
        const origin of ["http://evil.com", `http://127.0.0.1:${own.port + 1}`, "http://127.0.0.1", "null", "::", ""]
      ) {
        assert.strictEqual(yield* connect(own.port, origin), 403, origin)
      }
      const refused = yield* refusedBy(own.port, "/ws/", { headers: { Origin: "http://evil.com" } })
      assertRefused(refused, 403, "origin_not_allowed")
      const listed = yield* Server.startOpen({ origins: ["https://app.example.com"] })
      assert.strictEqual(yield* connect(listed.port, "https://app.example.com"), 101)
      assert.strictEqual(yield* connect(listed.port, `http://127.0.0.1:${listed.port}`), 101)
      assert.strictEqual(yield* connect(listed.port, "https://evil.com"), 403)
      const any = yield* Server.startOpen({ origins: NodeChannels.anyOrigin })
      assert.strictEqual(yield* connect(any.port, "https://evil.com"), 101)
      assert.strictEqual(yield* connect(any.port, "null"), 101)
    }))

  it.live("is refused before the authenticator is asked, when it can be", () =>
    Effect.gen(function*() {
      let asked = 0
      const { port } = yield* Server.startGuarded(() => {
        asked++
        return Server.alice
      })
      assertRefused(
        yield* refusedBy(port, "/guarded/", { headers: { Origin: "http://evil.com" } }),
        403,
        "origin_not_allowed"
      )
      assertRefused(yield* refusedBy(port, "/guarded/", { method: "POST" }), 400, "parse_error")
      assert.strictEqual(asked, 0)
      yield* Client.open(port, "/guarded/")
      assert.strictEqual(asked, 1)
    }))

  it.live("is refused with 503 when there are too many connections, handshakes included", () =>
    Effect.gen(function*() {
      const slow = yield* makeSlow
      const { port } = yield* Server.startGuarded(slow.authenticate, { maxConnections: 2 })
      const slowly = yield* Effect.forkScoped(Client.open(port, "/guarded/"))
      yield* Deferred.await(slow.started)
      const other = yield* Effect.forkScoped(Client.open(port, "/guarded/"))
      yield* Deferred.await(slow.startedTwice)
      assertRefused(yield* refusedBy(port, "/guarded/"), 503, "unavailable")
      yield* slow.latch.open
      const [client] = [yield* Fiber.join(slowly), yield* Fiber.join(other)]
      assertRefused(yield* refusedBy(port, "/guarded/"), 503, "unavailable")
      yield* client.close()
      yield* client.ended
      yield* Client.open(port, "/guarded/")
      assertRefused(yield* refusedBy(port, "/guarded/"), 503, "unavailable")
    }))

  it.effect("is refused with 503 when it takes too long, and the authenticator is interrupted", () =>
    Effect.gen(function*() {
      const slow = yield* makeSlow
      const { port } = yield* Server.startGuarded(slow.authenticate, { handshakeTimeout: "3 seconds" })
      const refused = yield* Effect.forkChild(refusedBy(port, "/guarded/"))
      yield* Deferred.await(slow.started)
      yield* TestClock.adjust("2900 millis")
      assert.isFalse(yield* Deferred.isDone(slow.interrupted))
      yield* TestClock.adjust("100 millis")
      yield* Deferred.await(slow.interrupted)
      yield* Deferred.await(slow.released)
      assertRefused(yield* Fiber.join(refused), 503, "unavailable")
    }))

  for (const how of ["end", "destroy", "resetAndDestroy"] as const) {
    it.live(`is given up when the client goes away (${how})`, () =>
      Effect.gen(function*() {
        const slow = yield* makeSlow
        const { port } = yield* Server.startGuarded(slow.authenticate, { maxConnections: 1 })
        const socket = yield* Client.connectSocket(port)
        socket.write(Client.handshakeOf(port, "/guarded/"))
        yield* Deferred.await(slow.started)
        socket[how]()
        yield* Deferred.await(slow.interrupted)
        yield* Deferred.await(slow.released)
        // It counts no longer.
        yield* slow.latch.open
        yield* Client.open(port, "/guarded/")
      }))
  }

  it.live("releases what it acquired when the upgrade does not come about", () =>
    Effect.gen(function*() {
      const slow = yield* makeSlow
      yield* slow.latch.open
      const { port } = yield* Server.startGuarded(slow.authenticate, { maxConnections: 1, compression: true })
      // What `ws` itself refuses, after the application has let it in.
      const extensions = { "Sec-WebSocket-Extensions": "permessage-deflate; server_max_window_bits=99" }
      const refused = yield* refusedBy(port, "/guarded/", { headers: extensions })
      assert.strictEqual(refused.status, 400)
      yield* Deferred.await(slow.started)
      yield* Deferred.await(slow.released)
      yield* Client.open(port, "/guarded/")
    }))

  it.live("does not lose what the client sends right after it", () =>
    Effect.gen(function*() {
      const ids = Array.from({ length: 500 }, (_, i) => i)
      const frames = ids.map((id) => frameOf(JSON.stringify({ action: "echo", data: id, request_id: id })))
      const slow = yield* makeSlow
      const atOnce = yield* Server.startGuarded(() => Server.alice)
      const later = yield* Server.startGuarded(slow.authenticate)
      for (const { port } of [atOnce, later]) {
        const early = Buffer.concat(frames.slice(0, 100))
        const fiber = yield* Effect.forkScoped(Client.open(port, "/guarded/", { early }))
        if (port === later.port) {
          yield* Deferred.await(slow.started)
          yield* slow.latch.open
        }
        const client = yield* Fiber.join(fiber)
        yield* client.write(...frames.slice(100))
        const replies = yield* client.takeAll(500)
        assert.deepStrictEqual(replies.map(({ data }) => data), ids)
        assert.deepStrictEqual(replies.map(({ request_id }) => request_id), ids)
      }
    }))

  it.live("does not lose what the client sends while it is authenticated", () =>
    Effect.gen(function*() {
      const ids = Array.from({ length: 120 }, (_, i) => i)
      const frames = ids.map((id) => frameOf(JSON.stringify({ action: "echo", data: `${id}`.padEnd(1000) })))
      const slow = yield* makeSlow
      const { port } = yield* Server.startGuarded(slow.authenticate)
      const socket = yield* Client.connectSocket(port)
      const early = Buffer.concat(frames.slice(0, 7))
      const got: Array<unknown> = []
      const done = yield* Deferred.make<void>()
      const parse = makeParser(({ opcode: kind, payload }) => {
        assert.strictEqual(kind, opcode.text)
        got.push(Number(JSON.parse(payload.toString()).data))
        if (got.length === ids.length) Deferred.doneUnsafe(done, Effect.void)
      })
      let head: Buffer | undefined = Buffer.alloc(0)
      socket.on("data", (bytes) => {
        if (head === undefined) return parse(bytes)
        head = Buffer.concat([head, bytes])
        const end = head.indexOf("\r\n\r\n")
        if (end < 0) return
        const rest = head.subarray(end + 4)
        head = undefined
        parse(rest)
      })
      socket.write(Client.handshakeOf(port, "/guarded/", { early }))
      yield* Deferred.await(slow.started)
      for (const frame of frames.slice(7)) {
        yield* Effect.callback<void>((resume) => void socket.write(frame, () => resume(Effect.void)))
      }
      yield* slow.latch.open
      yield* Deferred.await(done)
      assert.deepStrictEqual(got, ids)
    }))
})

describe("a handshake that is throttled", () => {
  const throttled = (retryAfter: number) =>
    Permission.connection("isCalm", Effect.fail(new ChannelError.Throttled({ retryAfter })))

  const start = (retryAfter: number) => {
    const Calm = Consumer.make("calm", { path: "/ws/" }).pipe(Consumer.permitConnect(throttled(retryAfter)))
    return Server.start(
      Layer.provide(NodeChannels.serve(Calm), Consumer.handlers(Calm).pipe(Handlers.toLayer))
    )
  }

  it.live("is refused with 429, and told when to come again", () =>
    Effect.gen(function*() {
      for (const [seconds, header] of [[1.2, "2"], [2, "2"], [0.001, "1"], [0, "0"]] as const) {
        const { port } = yield* start(seconds)
        const refused = yield* refusedBy(port, "/ws/")
        assertRefused(refused, 429, "throttled", header)
        assert.deepStrictEqual<unknown>(refused.json.errors, [{
          detail: `Request was throttled: try again in ${seconds} seconds`,
          code: "throttled",
          retry_after: seconds
        }])
      }
    }))
})

describe("the subprotocol", () => {
  const chosen = (port: number, offered: string | undefined, path?: string) =>
    Effect.scoped(
      Effect.map(
        Client.open(port, path, { headers: { "Sec-WebSocket-Protocol": offered } }),
        ({ headers }) => headers["sec-websocket-protocol"]
      )
    )

  it.live("is the one that consumers speak, where it is offered", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      for (
        const offered of [
          "effect-channels.json",
          "x,effect-channels.json",
          "bearer.abc, effect-channels.json",
          "  effect-channels.json  ,\tbearer.a%20b",
          "effect-channels.json, y, z"
        ]
      ) assert.strictEqual(yield* chosen(port, offered), "effect-channels.json", offered)
    }))

  it.live("is none where nothing is offered that they speak, least of all a token", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      for (
        const offered of [
          undefined,
          "x",
          "x, y",
          "bearer.abc",
          "bearer.effect-channels.json",
          "Effect-Channels.json",
          "effect-channels.json2"
        ]
      ) assert.isUndefined(yield* chosen(port, offered), offered)
    }))

  it.live("is one of the consumer's own, in the client's order", () =>
    Effect.gen(function*() {
      const Own = Consumer.make("own", { path: "/own/", subprotocols: ["v2.chat", "v1.chat"] })
      const None = Consumer.make("none", { path: "/none/", subprotocols: [] })
      const live = Layer.merge(
        Consumer.handlers(Own).pipe(Handlers.toLayer),
        Consumer.handlers(None).pipe(Handlers.toLayer)
      )
      const { port } = yield* Server.start(Layer.provide(NodeChannels.serve([Own, None]), live))
      assert.strictEqual(yield* chosen(port, "v1.chat, v2.chat", "/own/"), "v1.chat")
      assert.strictEqual(yield* chosen(port, "v3.chat, v2.chat, v1.chat", "/own/"), "v2.chat")
      assert.isUndefined(yield* chosen(port, "effect-channels.json", "/own/"))
      assert.isUndefined(yield* chosen(port, "effect-channels.json, v1.chat", "/none/"))
    }))

  it.live("is each client's own, however many connect at once", () =>
    Effect.gen(function*() {
      const names = Array.from({ length: 30 }, (_, i) => `v${i}`)
      const Many = Consumer.make("many", { path: "/ws/", subprotocols: names })
      const live = Consumer.handlers(Many).pipe(Handlers.toLayer)
      const { port } = yield* Server.start(Layer.provide(NodeChannels.serve(Many), live))
      const all = yield* Effect.forEach([...names, "none"], (name) => chosen(port, name), { concurrency: "unbounded" })
      assert.deepStrictEqual(all, [...names, undefined])
    }))

  it.live("must be offered in a list of tokens, each of them once: otherwise nobody is asked", () =>
    Effect.gen(function*() {
      let asked = 0
      const { port } = yield* Server.startGuarded(() => {
        asked++
        return Server.alice
      })
      for (
        const offered of [
          "a b",
          "a,,b",
          "a, a",
          "bearer.a,bearer.a",
          ",a",
          "a,",
          ",",
          "",
          "a;b",
          "a/b",
          "bearer.(abc)",
          "\"a\"",
          "effect-channels.json, a b"
        ]
      ) {
        const refused = yield* refusedBy(port, "/guarded/", { headers: { "Sec-WebSocket-Protocol": offered } })
        assertRefused(refused, 400, "parse_error")
      }
      assert.strictEqual(asked, 0)
      assert.isUndefined(yield* chosen(port, "a, b, a.b, A", "/guarded/"))
      assert.strictEqual(asked, 1)
    }))
})

describe("a connection whose authority ends", () => {
  class CurrentUser extends Authentication.Service<CurrentUser, {
    readonly id: string
    readonly isMember: boolean
    readonly reason: string
  }>()("test/CurrentUser", { key: ({ id }) => id }) {}

  const start = (reason: string) => {
    const isMember = Permission.connection("isMember", CurrentUser.use((user) => user.isMember), { reason })
    const Members = Consumer.make("members", { path: "/ws/" }).pipe(
      Consumer.permitConnect(isMember),
      Consumer.add(Action.make("who", { success: Schema.String }))
    )
    // `alice`, `alice:5000` until then, `alice:gone` who is no member any more.
    const verify = (token: Redacted.Redacted) => {
      const [id = "", how] = Redacted.value(token).split(":")
      return Effect.succeed(
        Authentication.authenticated({ id, isMember: how !== "gone", reason }, {
          expiresAt: how === undefined || how === "gone" ? undefined : Number(how)
        })
      )
    }
    const live = Consumer.handlers(Members).pipe(
      Handlers.handle("who", () => CurrentUser.use(({ id }) => id)),
      Handlers.toLayer,
      Layer.provide(CurrentUser.layer(Scheme.token({ from: Credentials.subprotocol(), verify })))
    )
    return Server.start(Layer.provide(NodeChannels.serve(Members), live))
  }
  const connect = (port: number, token: string) =>
    Client.open(port, "/ws/", {
      headers: { "Sec-WebSocket-Protocol": `effect-channels.json, ${Credentials.toSubprotocol(token)}` }
    })

  it.effect("is closed with 4401 when its credentials expire", () =>
    Effect.gen(function*() {
      const { port } = yield* start("No member")
      const client = yield* connect(port, "alice:5000")
      assert.strictEqual((yield* client.ask({ action: "who" })).data, "alice")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* client.closed, { code: 4401, reason: "The credentials have expired" })
    }))

  it.live("is closed with 4403 when it may not connect any more, after the reply", () =>
    Effect.gen(function*() {
      const { port } = yield* start("No member")
      const client = yield* connect(port, "alice")
      const reply = yield* client.ask({ action: "$authenticate", data: { token: "alice:gone" } })
      assert.strictEqual(reply.status, 403)
      assert.deepStrictEqual(yield* client.closed, { code: 4403, reason: "No member" })
    }))

  it.live("is closed with as much of the reason as a close frame holds", () =>
    Effect.gen(function*() {
      // It holds 123 bytes of it, and no part of a character.
      const reasons = [["€".repeat(42), "€".repeat(41)], ["😀".repeat(40), "😀".repeat(30)], [
        "a" + "€".repeat(50),
        "a" + "€".repeat(40)
      ]] as const
      for (const [reason, told] of reasons) {
        const { port } = yield* start(reason)
        const client = yield* connect(port, "alice")
        const reply = yield* client.ask({ action: "$authenticate", data: { token: "alice:gone" } })
        assert.strictEqual(reply.errors[0]?.detail, reason)
        assert.deepStrictEqual(yield* client.closed, { code: 4403, reason: told })
      }
    }))

  it.live("tells a browser's WebSocket so, which has signed in by a subprotocol", () =>
    Effect.gen(function*() {
      const { port } = yield* start("No member")
      const events = yield* Queue.unbounded<unknown>()
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const protocols = ["effect-channels.json", Credentials.toSubprotocol("alice ü, evil")]
          const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/`, protocols)
          socket.onopen = () => Queue.offerUnsafe(events, `open ${socket.protocol}`)
          socket.onmessage = ({ data }) => Queue.offerUnsafe(events, JSON.parse(String(data)))
          socket.onclose = ({ code, reason }) => Queue.offerUnsafe(events, `close ${code} ${reason}`)
          return socket
        }),
        (socket) => Effect.sync(() => socket.close())
      )
      assert.strictEqual(yield* Queue.take(events), "open effect-channels.json")
      socket.send(JSON.stringify({ action: "who" }))
      assert.deepInclude(yield* Queue.take(events), { data: "alice ü, evil" })
      socket.send(JSON.stringify({ action: "$authenticate", data: { token: "alice ü, evil:gone" } }))
      assert.deepInclude(yield* Queue.take(events), { status: 403 })
      assert.strictEqual(yield* Queue.take(events), "close 4403 No member")
    }))
})
