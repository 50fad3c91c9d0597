import {
  Authentication,
  ChannelError,
  ChannelLayer,
  Consumer,
  Credentials,
  Group,
  Handlers,
  Permission,
  Settings
} from "@effect-channels/core"
import { NodeChannels, UpgradeServer } from "@effect-channels/node"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Buffer } from "node:buffer"
import { createServer } from "node:http"
import { WebSocket as NodeWebSocket } from "ws"
import * as Client from "./support/client.ts"
import { frameOf, opcode } from "./support/frames.ts"
import * as Server from "./support/server.ts"

const protocols = [Consumer.defaultSubprotocol, Consumer.refusalsSubprotocol]

/** The headers of a client that asks to be told. */
const asking = (headers: Client.Options["headers"] = {}): NonNullable<Client.Options["headers"]> => ({
  "Sec-WebSocket-Protocol": protocols.join(", "),
  ...headers
})

const openAsking = (port: number, path: string, options: Client.Options = {}) =>
  Client.open(port, path, { ...options, headers: asking(options.headers) })

/** What a client is told that is not let in: one message and a close frame, and nothing else. */
const toldTo = Effect.fnUntraced(function*(client: Client.Client) {
  assert.strictEqual(client.headers["sec-websocket-protocol"], Consumer.refusalsSubprotocol)
  const text = yield* client.takeText
  const closed = yield* client.closed
  yield* client.ended
  assert.deepStrictEqual(client.frames.map((frame) => [frame.opcode, frame.fin, frame.rsv]), [
    [opcode.text, true, 0],
    [opcode.close, true, 0]
  ])
  return { text, closed }
})

const toldBy = (port: number, path: string, options?: Client.Options) =>
  Effect.scoped(Effect.flatMap(openAsking(port, path, options), toldTo))

const refusedBy = (port: number, path: string, options?: Client.Options) =>
  Effect.flip(Effect.scoped(Client.open(port, path, options)))

const errorOf = ({ text }: { readonly text: string }) => JSON.parse(text).errors[0]

/** That a handshake is told what it would be answered with. */
const assertTold = Effect.fnUntraced(function*(
  port: number,
  path: string,
  status: number,
  expected: { readonly code: string; readonly retryAfter?: number },
  options: Client.Options = {}
) {
  const http = yield* refusedBy(port, path, options)
  assert.strictEqual(http.status, status)
  const told = yield* toldBy(port, path, options)
  assert.strictEqual(told.text, http.body)
  const { errors, ...rest } = JSON.parse(told.text)
  assert.deepStrictEqual(rest, { data: null, action: null, route: "", status })
  const { detail, ...error } = errors[0]
  const { code, retryAfter } = expected
  assert.deepStrictEqual(error, { code, ...(retryAfter === undefined ? {} : { retry_after: retryAfter }) })
  assert.deepStrictEqual(told.closed, { code: 4000 + status, reason: detail })
})

const startConsumer = (
  consumer: Consumer.Consumer<"c", unknown, never, never, never>,
  options?: NodeChannels.Options
) =>
  Server.start(Layer.provide(NodeChannels.serve(consumer, options), Consumer.handlers(consumer).pipe(Handlers.toLayer)))

/** An authenticator that waits. */
const makeSlow = Effect.gen(function*() {
  const started = yield* Deferred.make<void>()
  const released = yield* Deferred.make<void>()
  const latch = yield* Latch.make()
  const authenticate = () =>
    Effect.acquireRelease(Deferred.succeed(started, undefined), () => Deferred.succeed(released, undefined)).pipe(
      Effect.andThen(latch.await),
      Effect.andThen(Effect.fail(new ChannelError.InvalidCredentials()))
    )
  return { authenticate, latch, started, released }
})

/** A turn of the event loop: what has begun waits then. */
const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

const invalid = () => Effect.fail(new ChannelError.InvalidCredentials())

describe("a client that asks is told why its handshake is refused:", () => {
  it.live("by authentication and permission", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startGuarded(({ query: { user } }) => {
        if (user === undefined) return Effect.succeed(Authentication.anonymous)
        if (user === "invalid") return Effect.fail(new ChannelError.InvalidCredentials())
        if (user === "later") return Effect.fail(new ChannelError.Unavailable({ message: "Later" }))
        return Effect.succeed(Authentication.authenticated(String(user)))
      })
      yield* assertTold(port, "/guarded/", 403, { code: "not_authenticated" })
      yield* assertTold(port, "/guarded/?user=invalid", 401, { code: "authentication_failed" })
      yield* assertTold(port, "/guarded/?user=later", 503, { code: "unavailable" })
    }))

  it.live("by the permission of a group, and the parameters of the path", () =>
    Effect.gen(function*() {
      const Room = Group.make("room", { room: Schema.NumberFromString }).pipe(
        Group.permit(
          Permission.group<{ readonly room: number }>()("isOpen", ({ params }) => Effect.succeed(params.room === 1), {
            reason: "The room is closed",
            code: "closed"
          })
        )
      )
      const Rooms = Consumer.make("rooms", { path: "/rooms/:room/", params: { room: Schema.NumberFromString } }).pipe(
        Consumer.join(Room, ({ params }) => ({ room: params.room }))
      )
      const live = Consumer.handlers(Rooms).pipe(Handlers.toLayer, Layer.provide(ChannelLayer.layerMemory))
      const { port } = yield* Server.start(Layer.provide(NodeChannels.serve(Rooms), live))
      yield* assertTold(port, "/rooms/2/", 403, { code: "closed" })
      yield* assertTold(port, "/rooms/x/", 404, { code: "not_found" })
      const client = yield* openAsking(port, "/rooms/1/")
      assert.strictEqual(client.headers["sec-websocket-protocol"], Consumer.defaultSubprotocol)
    }))

  it.live("by a throttle, and when to come again", () =>
    Effect.gen(function*() {
      const calm = Permission.connection("isCalm", Effect.fail(new ChannelError.Throttled({ retryAfter: 1.5 })))
      const { port } = yield* startConsumer(Consumer.make("c", { path: "/ws/" }).pipe(Consumer.permitConnect(calm)))
      yield* assertTold(port, "/ws/", 429, { code: "throttled", retryAfter: 1.5 })
    }))

  it.live("because something broke, of which it says nothing", () =>
    Server.withLogs((logs) =>
      Effect.gen(function*() {
        const { port } = yield* Server.startGuarded(() => Effect.die(new Error("secret ü")))
        yield* assertTold(port, "/guarded/", 500, { code: "error" })
        assert.strictEqual(logs.filter(({ level }) => level === "Error").length, 2)
      })
    ))

  it.live("for the pages of other hosts", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const headers = { Origin: "http://evil.com" }
      yield* assertTold(port, "/ws/", 403, { code: "origin_not_allowed" }, { headers })
    }))

  it.live("because there are too many connections", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen({ maxConnections: 1 })
      yield* Client.open(port)
      yield* assertTold(port, "/ws/", 503, { code: "unavailable", retryAfter: 1 })
    }))

  it.effect("because it takes too long", () =>
    Effect.gen(function*() {
      const slow = yield* makeSlow
      const { port } = yield* Server.startGuarded(slow.authenticate, { handshakeTimeout: "3 seconds" })
      const telling = yield* Effect.forkChild(toldBy(port, "/guarded/"))
      yield* Deferred.await(slow.started)
      yield* TestClock.adjust("3 seconds")
      const told = yield* Fiber.join(telling)
      assert.strictEqual(told.closed.code, 4503)
      assert.strictEqual(told.closed.reason, "The handshake took too long")
      assert.strictEqual(errorOf(told).retry_after, 1)
      yield* Deferred.await(slow.released)
    }))

  it.live("because the server stops, whether it has been decided over or not", () =>
    Effect.gen(function*() {
      const slow = yield* makeSlow
      const guarded = yield* Server.startGuarded(slow.authenticate)
      const telling = yield* Effect.forkScoped(toldBy(guarded.port, "/guarded/"))
      yield* Deferred.await(slow.started)
      yield* guarded.stop
      const told = yield* Fiber.join(telling)
      assert.deepStrictEqual(told.closed, { code: 4503, reason: "The server is stopping" })
      assert.strictEqual(errorOf(told).retry_after, 1)

      const { events, permits, port, stop } = yield* Server.startOpen({ drainTimeout: "1 minute" })
      const client = yield* Client.open(port)
      const idle = yield* Client.open(port)
      yield* client.send({ action: "hold", data: 1 })
      yield* Queue.take(events)
      const stopping = yield* Effect.forkScoped(stop, { startImmediately: true })
      yield* idle.closed
      yield* assertTold(port, "/ws/", 503, { code: "unavailable", retryAfter: 1 })
      yield* Server.permit(permits)
      yield* Fiber.join(stopping)
    }))

  it.live("because there is nothing here, or nothing yet", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      yield* assertTold(port, "/nothing/", 404, { code: "not_found" })
      const starting = yield* Server.start(Layer.empty as Layer.Layer<never, never, UpgradeServer.UpgradeServer>)
      yield* assertTold(starting.port, "/ws/", 503, { code: "unavailable", retryAfter: 1 })
    }))

  it.live("in the shape that the application gives its errors", () =>
    Effect.gen(function*() {
      const start = (errors: ReadonlyArray<unknown>) => {
        const C = Consumer.make("c", { path: "/ws/" }).pipe(Consumer.permitConnect(Permission.deny))
        const live = Consumer.handlers(C).pipe(
          Handlers.toLayer,
          Layer.provide(Settings.layer({ formatError: () => errors }))
        )
        return Server.start(Layer.provide(NodeChannels.serve(C), live))
      }
      const cases: ReadonlyArray<readonly [errors: ReadonlyArray<unknown>, reason: string]> = [
        [["no"], ""],
        [[], ""],
        [[null], ""],
        [[{ detail: 1 }], ""],
        [[{ detail: "€".repeat(42) }, { detail: "b" }], "€".repeat(41)],
        [[{ detail: "😀".repeat(20_000) }], "😀".repeat(30)]
      ]
      for (const [errors, reason] of cases) {
        const { port } = yield* start(errors)
        const told = yield* toldBy(port, "/ws/")
        assert.deepStrictEqual(JSON.parse(told.text).errors, errors)
        assert.deepStrictEqual(told.closed, { code: 4403, reason })
      }
    }))

  it.live("without compression, however it offers it", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startGuarded(invalid, { compression: true })
      const client = yield* openAsking(port, "/guarded/", { headers: Client.compression })
      assert.isUndefined(client.headers["sec-websocket-extensions"])
      assert.strictEqual((yield* toldTo(client)).closed.code, 4401)
    }))

  it.live("where it offers a token as well", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startGuarded((scope) =>
        scope.subprotocols.includes(Credentials.toSubprotocol("alice")) ? Server.alice : invalid()
      )
      const offer = (token: string) =>
        openAsking(port, "/guarded/", {
          headers: { "Sec-WebSocket-Protocol": [...protocols, Credentials.toSubprotocol(token)].join() }
        })
      assert.strictEqual((yield* toldTo(yield* offer("bob"))).closed.code, 4401)
      const client = yield* offer("alice")
      assert.strictEqual(client.headers["sec-websocket-protocol"], Consumer.defaultSubprotocol)
      assert.strictEqual((yield* client.ask({ action: "whoami" })).data, "alice")
    }))
})

describe("a client is answered with HTTP", () => {
  it.live("that does not ask, or not in these words", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startGuarded(invalid)
      for (
        const offered of [
          undefined,
          "effect-channels.json",
          "Effect-Channels.Refusals",
          "effect-channels.refusals2",
          "bearer.effect-channels.refusals"
        ]
      ) {
        const headers = { "Sec-WebSocket-Protocol": offered }
        const refused = yield* refusedBy(port, "/guarded/", { headers })
        assert.deepStrictEqual([refused.status, refused.headers["upgrade"]], [401, undefined], offered)
      }
      for (const offered of ["effect-channels.refusals", "a,effect-channels.refusals\t,b"]) {
        const headers = { "Sec-WebSocket-Protocol": offered }
        assert.strictEqual((yield* toldBy(port, "/guarded/", { headers })).closed.code, 4401, offered)
      }
    }))

  it.live("whose request is no handshake", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const wrong: ReadonlyArray<Client.Options> = [
        { headers: asking({ "Sec-WebSocket-Key": "short==" }) },
        { headers: asking({ "Sec-WebSocket-Version": "8" }) },
        { headers: asking(), method: "POST" },
        { headers: { "Sec-WebSocket-Protocol": "effect-channels.refusals, effect-channels.refusals" } },
        { headers: { "Sec-WebSocket-Protocol": "effect-channels.refusals, a b" } }
      ]
      for (const options of wrong) {
        assert.strictEqual((yield* refusedBy(port, "/ws/", options)).status, 400)
        assert.strictEqual((yield* refusedBy(port, "/nothing/", options)).status, 404)
      }
    }))

  it.live("where own listeners of the server answer", () =>
    Effect.gen(function*() {
      const server = createServer()
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => server.close())
      )
      server.on("upgrade", (_request, socket) => {
        socket.end("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
      })
      const { layer } = yield* Server.makeOpen
      yield* Layer.build(NodeChannels.serve(Server.Open).pipe(Layer.provide([layer, UpgradeServer.layer(server)])))
      const refused = yield* refusedBy(Server.portOf(server), "/own/", { headers: asking() })
      assert.strictEqual(refused.status, 418)
    }))
})

describe("a connection that is let in", () => {
  it.live("does not speak the subprotocol of refusals, also where it is all that was offered", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const chosen = (offered: string) =>
        Effect.scoped(
          Effect.map(
            Client.open(port, "/ws/", { headers: { "Sec-WebSocket-Protocol": offered } }),
            ({ headers }) => headers["sec-websocket-protocol"]
          )
        )
      assert.strictEqual(yield* chosen("effect-channels.refusals, effect-channels.json"), "effect-channels.json")
      assert.strictEqual(yield* chosen("effect-channels.json, effect-channels.refusals"), "effect-channels.json")
      assert.isUndefined(yield* chosen("effect-channels.refusals"))
    }))
})

describe("a refusal that is told", () => {
  it.live("reads nothing of the client, whatever it sends and when", () =>
    Effect.gen(function*() {
      const echo = frameOf(JSON.stringify({ action: "echo", data: "hi", request_id: 1 }))
      const early = Buffer.concat(Array.from({ length: 100 }, () => echo))
      const open = yield* Server.startOpen()
      const headers = { Origin: "http://evil.com" }
      assert.strictEqual((yield* toldBy(open.port, "/ws/", { headers, early })).closed.code, 4403)
      assert.strictEqual(open.echoes(), 0)
      // Its own close frame before it has heard anything, what breaks the protocol, and what is too long.
      const wrong = [
        frameOf(Buffer.from([0x03, 0xe8]), { opcode: opcode.close }),
        frameOf("x", { isMasked: false }),
        frameOf("x".repeat(100_000))
      ]
      for (const early of wrong) {
        const client = yield* openAsking(open.port, "/ws/", { headers, early })
        assert.deepInclude(JSON.parse(yield* client.takeText), { status: 403 })
        assert.strictEqual((yield* client.closed).code, 4403)
        yield* client.ended
      }
    }))

  it.live("comes after what the client has sent while it was decided over, more than is kept of it included", () =>
    Effect.gen(function*() {
      for (const times of [1, 1000]) {
        const slow = yield* makeSlow
        const { port } = yield* Server.startGuarded(slow.authenticate, { maxFrame: 1000 })
        const early = Buffer.concat(
          Array.from({ length: times }, () => frameOf(JSON.stringify({ action: "echo", data: 1, request_id: 1 })))
        )
        const telling = yield* Effect.forkScoped(toldBy(port, "/guarded/", { early }))
        yield* Deferred.await(slow.started)
        yield* turn
        const start = performance.now()
        yield* slow.latch.open
        assert.strictEqual((yield* Fiber.join(telling)).closed.code, 4401)
        // The client's close frame has been read: nobody waited until it was dropped.
        assert.isBelow(performance.now() - start, 1500)
        yield* Deferred.await(slow.released)
      }
    }))

  it.live("drops a client that does not answer the close frame, and takes no other's place", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startGuarded(
        ({ query: { user } }) => user === "alice" ? Server.alice : invalid(),
        { maxConnections: 1 }
      )
      const mute = yield* openAsking(port, "/guarded/", { answersClose: false })
      assert.strictEqual((yield* mute.closed).code, 4401)
      // One is told at once, as there may be one connection.
      assert.strictEqual((yield* refusedBy(port, "/guarded/", { headers: asking() })).status, 401)
      const client = yield* Client.open(port, "/guarded/?user=alice")
      assert.strictEqual((yield* client.ask({ action: "whoami" })).data, "alice")
      yield* client.close()
      yield* client.ended
      yield* mute.ended
      assert.strictEqual((yield* toldBy(port, "/guarded/")).closed.code, 4401)
    }))

  it.live("is told to at most a twentieth of the connections at once, which counts those that have gone no more", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startGuarded(invalid, { maxConnections: 41 })
      for (let i = 0; i < 10; i++) yield* toldBy(port, "/guarded/")
      const mute = yield* Effect.replicateEffect(openAsking(port, "/guarded/", { answersClose: false }), 3)
      assert.strictEqual((yield* refusedBy(port, "/guarded/", { headers: asking() })).status, 401)
      yield* mute[1]!.drop
      yield* mute[1]!.ended
      yield* Effect.retry(Effect.flatMap(openAsking(port, "/guarded/"), toldTo), { times: 100 })
    }))

  for (const how of ["end", "destroy", "resetAndDestroy"] as const) {
    it.live(`is given up when the client goes away (${how})`, () =>
      Effect.gen(function*() {
        const slow = yield* makeSlow
        const { port } = yield* Server.startGuarded(slow.authenticate, { maxConnections: 1 })
        const socket = yield* Client.connectSocket(port)
        socket.write(Client.handshakeOf(port, "/guarded/", { headers: asking() }))
        yield* Deferred.await(slow.started)
        socket[how]()
        yield* Deferred.await(slow.released)
        // It is no longer one of those that are told.
        yield* slow.latch.open
        assert.strictEqual((yield* toldBy(port, "/guarded/")).closed.code, 4401)
      }))
  }

  for (const path of ["/guarded/", "/nothing/"]) {
    it.live(`does not hold up a server that stops (${path})`, () =>
      Effect.gen(function*() {
        const { port, stop } = yield* Server.startGuarded(invalid)
        const mute = yield* openAsking(port, path, { answersClose: false })
        yield* mute.closed
        const start = performance.now()
        yield* stop
        const took = performance.now() - start
        assert.isBelow(took, 1000)
        // Whom a consumer has told is given some time.
        if (path === "/guarded/") assert.isAbove(took, 150)
        yield* mute.ended
      }))
  }

  it.live("is seen by the WebSocket of browsers, and by `ws`", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startGuarded(invalid)
      for (const Socket of [WebSocket, NodeWebSocket]) {
        const events = yield* Queue.unbounded<unknown>()
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            const socket = new Socket(`ws://127.0.0.1:${port}/guarded/`, protocols) as WebSocket
            socket.onopen = () => Queue.offerUnsafe(events, `open ${socket.protocol}`)
            socket.onmessage = ({ data }) => Queue.offerUnsafe(events, JSON.parse(String(data)))
            socket.onerror = () => Queue.offerUnsafe(events, "error")
            socket.onclose = ({ code, reason, wasClean }) => Queue.offerUnsafe(events, [code, reason, wasClean])
            return socket
          }),
          (socket) => Effect.sync(() => socket.close())
        )
        const [opened, message, closed] = yield* Effect.replicateEffect(Queue.take(events), 3)
        assert.strictEqual(opened, "open effect-channels.refusals")
        const detail = new ChannelError.InvalidCredentials().message
        assert.deepStrictEqual(message, {
          errors: [{ detail, code: "authentication_failed" }],
          data: null,
          action: null,
          route: "",
          status: 401
        })
        assert.deepStrictEqual(closed, [4401, detail, true])
      }
    }))
})
