import { Authentication, ChannelError } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as TestClock from "effect/testing/TestClock"
import { Buffer } from "node:buffer"
import * as Client from "./support/client.ts"
import { frameOf, makeParser, opcode } from "./support/frames.ts"
import * as Server from "./support/server.ts"

const echo = { action: "echo", data: "hi" }

/** That a refusal is a complete HTTP answer, with a body in the form of a reply. */
const assertRefused = (refused: Client.Refused, status: number, code: string) => {
  assert.strictEqual(refused.status, status)
  assert.strictEqual(refused.headers["content-type"], "application/json; charset=utf-8")
  assert.strictEqual(refused.headers["content-length"], String(Buffer.byteLength(refused.body)))
  assert.strictEqual(refused.headers["connection"], "close")
  assert.strictEqual(refused.headers["retry-after"], status === 503 ? "1" : undefined)
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
      const { port } = yield* Server.startGuarded(slow.authenticate, { maxConnections: 1 })
      const refused = yield* refusedBy(port, "/guarded/", { headers: { "Sec-WebSocket-Protocol": "a b" } })
      assert.strictEqual(refused.status, 400)
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
