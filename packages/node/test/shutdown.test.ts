import { NodeChannels, UpgradeServer } from "@effect-channels/node"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { createServer } from "node:http"
import * as Client from "./support/client.ts"
import { opcode } from "./support/frames.ts"
import * as Server from "./support/server.ts"

const Routes = HttpRouter.serve(
  HttpRouter.add("GET", "/hello", Effect.succeed(HttpServerResponse.text("Hello"))),
  { disableLogger: true, disableListenLog: true }
)

/** How long an effect takes, in milliseconds of the real clock. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(effect, () => performance.now() - start)
  })

/** The first refusal of a handshake: before it, they succeed. */
const firstRefusal = (port: number): Effect.Effect<Client.Refused> =>
  Effect.matchEffect(Effect.scoped(Client.open(port)), {
    onFailure: Effect.succeed,
    onSuccess: () => firstRefusal(port)
  })

const assertStopping = (refused: Client.Refused) => {
  assert.strictEqual(refused.status, 503)
  assert.strictEqual(refused.json.errors[0]!.code, "unavailable")
  assert.include(refused.json.errors[0]!.detail, "stopping")
  assert.strictEqual(refused.headers["retry-after"], "1")
}

describe("a server that stops", () => {
  it.live("finishes what it has begun, then closes with 1012; it begins nothing new", () =>
    Effect.gen(function*() {
      const { events, permits, port, stop } = yield* Server.startOpen({ drainTimeout: "1 minute" })
      const client = yield* Client.open(port)
      const idle = yield* Client.open(port)
      yield* client.send({ action: "hold", data: 1, request_id: 1 }, { action: "echo", data: "2", request_id: 2 })
      yield* Queue.take(events)
      const stopping = yield* Effect.forkScoped(stop, { startImmediately: true })
      assert.deepStrictEqual(yield* idle.closed, { code: 1012, reason: "The server is restarting" })
      const turnedAway = yield* client.ask({ action: "echo", data: "3", request_id: 3 })
      assert.deepStrictEqual([turnedAway.status, turnedAway.request_id], [503, 3])
      yield* Server.permit(permits)
      const replies = yield* client.takeAll(2)
      assert.deepStrictEqual(replies.map(({ data, request_id, status }) => [request_id, status, data]), [
        [1, 200, 1],
        [2, 200, "2"]
      ])
      assert.strictEqual((yield* client.closed).code, 1012)
      yield* Fiber.join(stopping)
      assert.strictEqual(client.frames.at(-1)!.opcode, opcode.close)
    }))

  it.live("refuses handshakes with 503 until it has stopped", () =>
    Effect.gen(function*() {
      const { events, permits, port, stop } = yield* Server.startOpen({ drainTimeout: "1 minute" })
      const client = yield* Client.open(port)
      yield* client.send({ action: "hold", data: 1 })
      yield* Queue.take(events)
      const stopping = yield* Effect.forkScoped(stop, { startImmediately: true })
      const refused = yield* firstRefusal(port)
      yield* Server.permit(permits)
      assert.strictEqual((yield* client.take).status, 200)
      yield* Fiber.join(stopping)
      assertStopping(refused)
    }))

  it.live("refuses handshakes with 503 until it has stopped, also where other listeners are", () =>
    Effect.gen(function*() {
      const { events, layer, permits } = yield* Server.makeOpen
      const server = createServer()
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => server.close())
      )
      server.on("upgrade", (_request, socket) => {
        socket.end("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
      })
      const port = Server.portOf(server)
      const scope = yield* Scope.make()
      const served = NodeChannels.serve(Server.Open, { drainTimeout: "1 minute" }).pipe(
        Layer.provide([layer, UpgradeServer.layer(server)])
      )
      yield* Layer.buildWithScope(served, scope)
      const client = yield* Client.open(port)
      yield* client.send({ action: "hold", data: 1 })
      yield* Queue.take(events)
      const stopping = yield* Effect.forkScoped(Scope.close(scope, Exit.void), { startImmediately: true })
      const refused = yield* firstRefusal(port)
      yield* Server.permit(permits)
      yield* Fiber.join(stopping)
      assertStopping(refused)
    }))

  it.live("refuses the handshakes that are under way, and interrupts their authentication", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const { port, stop } = yield* Server.startGuarded(() =>
        Effect.yieldNow.pipe(
          Effect.andThen(Deferred.succeed(started, undefined)),
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
      )
      const refused = yield* Effect.forkScoped(Effect.flip(Client.open(port, "/guarded/")))
      yield* Deferred.await(started)
      yield* stop
      yield* Deferred.await(interrupted)
      assertStopping(yield* Fiber.join(refused))
    }))

  it.effect("interrupts the handlers that take longer than they may", () =>
    Effect.gen(function*() {
      const { events, port, stop } = yield* Server.startOpen({ drainTimeout: "3 seconds" })
      const client = yield* Client.open(port)
      const idle = yield* Client.open(port)
      yield* client.send({ action: "hang" })
      yield* Queue.take(events)
      const stopping = yield* Effect.forkScoped(stop, { startImmediately: true })
      yield* idle.closed
      yield* TestClock.adjust("2900 millis")
      yield* client.roundTrip
      assert.strictEqual(yield* Queue.size(events), 0)
      yield* TestClock.adjust("100 millis")
      assert.strictEqual((yield* client.closed).code, 1012)
      assert.strictEqual(yield* Queue.take(events), "stop")
      yield* Fiber.join(stopping)
    }))

  it.live("ends at once when its connections are idle", () =>
    Effect.gen(function*() {
      const { port, server, stop } = yield* Server.startOpen()
      const clients = yield* Effect.replicateEffect(Client.open(port), 100)
      assert.isBelow(yield* timed(stop), 1000)
      assert.isFalse(server.listening)
      for (const client of clients) {
        assert.strictEqual((yield* client.closed).code, 1012)
        yield* client.ended
      }
    }))

  it.live("ends soon when its clients do not answer", () =>
    Effect.gen(function*() {
      const { port, server, stop } = yield* Server.startOpen()
      const clients = yield* Effect.replicateEffect(Client.open(port, "/ws/", { answersClose: false }), 50)
      const stalled = yield* Client.open(port)
      yield* stalled.stall
      assert.isBelow(yield* timed(stop), 1000)
      assert.isFalse(server.listening)
      for (const client of clients) yield* client.ended
      yield* stalled.flow
      yield* stalled.ended
    }))

  for (const order of ["before", "after"]) {
    it.live(`ends at once next to HTTP routes that come ${order} it`, () =>
      Effect.gen(function*() {
        const { layer } = yield* Server.makeOpen
        const served = Layer.provide(NodeChannels.serve(Server.Open), layer)
        const { port, stop } = yield* Server.start(
          order === "before" ? Layer.merge(Routes, served) : Layer.merge(served, Routes)
        )
        const client = yield* Client.open(port)
        assert.isBelow(yield* timed(stop), 1000)
        assert.strictEqual((yield* client.closed).code, 1012)
      }))
  }

  it.live("ends as soon when it is interrupted, as a signal does", () =>
    Effect.gen(function*() {
      const { layer } = yield* Server.makeOpen
      const server = createServer()
      const listening = Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => server.close())
      )
      yield* listening
      const ready = yield* Deferred.make<void>()
      const Main = Layer.effectDiscard(Deferred.succeed(ready, undefined)).pipe(
        Layer.provideMerge(NodeChannels.serve(Server.Open)),
        Layer.provide([layer, UpgradeServer.layer(server)])
      )
      const fiber = yield* Effect.forkScoped(Layer.launch(Main))
      yield* Deferred.await(ready)
      const mute = yield* Client.open(Server.portOf(server), "/ws/", { answersClose: false })
      assert.isBelow(yield* timed(Fiber.interrupt(fiber)), 1000)
      yield* mute.ended
    }))

  it.live("does not wait for connections that nothing is asked on", () =>
    Effect.gen(function*() {
      const { layer } = yield* Server.makeOpen
      const served = Layer.provide(NodeChannels.serve(Server.Open), layer)
      const { port, stop } = yield* Server.start(Layer.merge(served, Routes))
      const unused = yield* Client.connectSocket(port)
      const half = yield* Client.connectSocket(port)
      const kept = yield* Client.connectSocket(port)
      half.write("GET /hello HTTP/1.1\r\nHost: x\r\n")
      const answered = Effect.callback<void>((resume) => void kept.once("data", () => resume(Effect.void)))
      kept.write("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
      yield* answered
      assert.isBelow(yield* timed(stop), 1000)
      for (const socket of [unused, half, kept]) yield* Server.until(() => socket.destroyed)
    }))

  it.live("finishes the HTTP requests that it has begun", () =>
    Effect.gen(function*() {
      const { layer } = yield* Server.makeOpen
      const started = yield* Deferred.make<void>()
      const latch = yield* Latch.make()
      const SlowRoute = HttpRouter.serve(
        HttpRouter.add(
          "GET",
          "/slow",
          Deferred.succeed(started, undefined).pipe(
            Effect.andThen(latch.await),
            Effect.as(HttpServerResponse.text("slow"))
          )
        ),
        { disableLogger: true, disableListenLog: true }
      )
      const served = Layer.provide(NodeChannels.serve(Server.Open), layer)
      const { port, server, stop } = yield* Server.start(Layer.merge(served, SlowRoute))
      const client = yield* Client.open(port)
      const socket = yield* Client.connectSocket(port)
      let text = ""
      socket.on("data", (bytes) => text += bytes.toString())
      socket.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
      yield* Deferred.await(started)
      const stopping = yield* Effect.forkScoped(stop, { startImmediately: true })
      yield* Server.until(() => !server.listening)
      assert.strictEqual(text, "")
      yield* latch.open
      yield* Fiber.join(stopping)
      yield* Server.until(() => socket.destroyed)
      assert.match(text, /^HTTP\/1.1 200 OK\r\n[^]*slow$/)
      assert.strictEqual((yield* client.closed).code, 1012)
    }))

  it.live("leaves nothing behind", () =>
    Effect.gen(function*() {
      const count = () => process.getActiveResourcesInfo().filter((name) => /^TCP|Timeout/.test(name)).length
      const before = count()
      for (let i = 0; i < 3; i++) {
        yield* Effect.scoped(Effect.gen(function*() {
          const { port, stop } = yield* Server.startOpen()
          const clients = yield* Effect.replicateEffect(Client.open(port), 10)
          yield* Effect.forEach(clients, (client) => client.ask({ action: "echo", data: "a" }))
          yield* stop
          yield* Effect.forEach(clients, (client) => client.ended)
        }))
      }
      yield* Server.until(() => count() <= before)
    }))

  it.live("is stopped with nothing to do", () =>
    Effect.gen(function*() {
      const { server, stop } = yield* Server.startOpen()
      assert.isBelow(yield* timed(stop), 1000)
      assert.isFalse(server.listening)
    }))
})
