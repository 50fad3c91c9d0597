import { Action, Consumer, Handlers } from "@effect-channels/core"
import { NodeChannels, UpgradeServer } from "@effect-channels/node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { createServer, get } from "node:http"
import { WebSocket } from "ws"
import * as Client from "./support/client.ts"
import { opcode } from "./support/frames.ts"
import * as Server from "./support/server.ts"

const Room = Consumer.make("room", { path: "/rooms/:room/", params: { room: Schema.NumberFromString } }).pipe(
  Consumer.add(Action.make("name", { success: Schema.Int }))
)

const RoomLive = Consumer.handlers(Room).pipe(
  Handlers.handle("name", ({ params }) => Effect.succeed(params.room)),
  Handlers.toLayer
)

const Routes = HttpRouter.serve(
  HttpRouter.add("GET", "/hello", Effect.succeed(HttpServerResponse.text("Hello"))),
  { disableLogger: true, disableListenLog: true }
)

/** The answer to a plain GET request. */
const fetchText = (port: number, path: string, headers: Record<string, string> = {}) =>
  Effect.callback<{ readonly status: number | undefined; readonly body: string }>((resume) => {
    const request = get({ port, host: "127.0.0.1", path, headers, agent: false }, (response) => {
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (text) => body += text)
      response.on("end", () => resume(Effect.succeed({ status: response.statusCode, body })))
    })
    return Effect.sync(() => request.destroy())
  })

const echo = { action: "echo", data: "hi", request_id: 1 }

describe("NodeChannels", () => {
  it.live("serves several consumers by their paths, next to HTTP routes on the same port", () =>
    Effect.gen(function*() {
      const { layer } = yield* Server.makeOpen
      const consumers = NodeChannels.serve([Server.Open, Room]).pipe(Layer.provide([layer, RoomLive]))
      const { port } = yield* Server.start(Layer.merge(consumers, Routes))
      assert.deepStrictEqual(yield* fetchText(port, "/hello"), { status: 200, body: "Hello" })
      const client = yield* Client.open(port, "/ws/?token=x")
      assert.deepStrictEqual(yield* client.ask(echo), {
        errors: [],
        data: "hi",
        action: "echo",
        route: "",
        status: 200,
        request_id: 1
      })
      const room = yield* Client.open(port, "/rooms/7/")
      assert.strictEqual((yield* room.ask({ action: "name" })).data, 7)
      assert.deepStrictEqual(yield* fetchText(port, "/hello"), { status: 200, body: "Hello" })
      assert.strictEqual((yield* client.ask(echo)).status, 200)
    }))

  it.live("leaves other paths, and requests that are no upgrade, to the HTTP routes", () =>
    Effect.gen(function*() {
      const { layer } = yield* Server.makeOpen
      const served = NodeChannels.serve([Server.Open, Room]).pipe(Layer.provide([layer, RoomLive]))
      const { port } = yield* Server.start(Layer.merge(served, Routes))
      for (const path of ["/", "/ws", "/ws/more/", "/WS/", "/rooms/7", "/%77s/"]) {
        assert.strictEqual((yield* Effect.flip(Client.open(port, path))).status, 404, path)
      }
      assert.strictEqual((yield* fetchText(port, "/ws/")).status, 404)
      assert.strictEqual((yield* fetchText(port, "/nowhere")).status, 404)
    }))

  it.live("refuses a path whose parameter does not decode with 404", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.start(Layer.provide(NodeChannels.serve(Room), RoomLive))
      const refused = yield* Effect.flip(Client.open(port, "/rooms/x/"))
      assert.strictEqual(refused.status, 404)
      assert.strictEqual(refused.json.errors[0]!.code, "not_found")
    }))

  it.live("answers what nobody serves with 404, also without an HTTP application", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      for (const path of ["/", "/ws/", "/ws"]) {
        const { body, status } = yield* fetchText(port, path)
        assert.strictEqual(status, 404)
        assert.strictEqual(JSON.parse(body).errors[0].code, "not_found")
      }
      const refused = yield* Effect.flip(Client.open(port, "/nowhere/"))
      assert.strictEqual(refused.status, 404)
      assert.strictEqual(refused.json.errors[0]!.code, "not_found")
      assert.strictEqual((yield* (yield* Client.open(port)).ask(echo)).data, "hi")
    }))

  it.live("does not hold up a request with a body that nobody takes", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const socket = yield* Client.connectSocket(port)
      const answers = Effect.callback<number>((resume) => {
        let text = ""
        socket.on("data", (bytes) => {
          text += bytes.toString()
          const count = text.split("HTTP/1.1 404").length - 1
          if (count === 2) resume(Effect.succeed(count))
        })
      })
      const head = `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n${"x".repeat(100_000)}`
      socket.write(head + head)
      assert.strictEqual(yield* answers, 2)
    }))

  it.live("serves a client of ws, and one of the platform", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      for (const Constructor of [WebSocket, globalThis.WebSocket]) {
        const data = yield* Effect.callback<unknown>((resume) => {
          const ws = new Constructor(`ws://127.0.0.1:${port}/ws/`) as globalThis.WebSocket
          ws.addEventListener("open", () => ws.send(JSON.stringify(echo)))
          ws.addEventListener("message", ({ data }) => {
            ws.close(1000)
            resume(Effect.succeed(JSON.parse(data).data))
          })
        })
        assert.strictEqual(data, "hi")
      }
    }))

  it.live("fails when two consumers can have the same path", () =>
    Effect.gen(function*() {
      const Other = Consumer.make("other", { path: "/rooms/:id/" })
      const other = Handlers.toLayer(Consumer.handlers(Other))
      const served = NodeChannels.serve([Room, Other]).pipe(Layer.provide([RoomLive, other]))
      const error = yield* Effect.flip(Server.start(served))
      assert.strictEqual((error as Handlers.DefinitionError)._tag, "DefinitionError")
    }))

  it.live("lets several layers serve on one server, each as long as it is there", () =>
    Effect.gen(function*() {
      const { layer } = yield* Server.makeOpen
      const server = createServer()
      const upgrades = yield* Layer.build(UpgradeServer.layer(server))
      yield* Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      const port = Server.portOf(server)
      const open = Layer.provide(NodeChannels.serve(Server.Open), layer)
      const room = Layer.provide(NodeChannels.serve(Room), RoomLive)
      assert.strictEqual((yield* Effect.flip(Client.open(port))).status, 503)
      yield* Effect.provideContext(Layer.build(open), upgrades)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Effect.provideContext(Layer.build(room), upgrades)
        const inRoom = yield* Client.open(port, "/rooms/1/")
        assert.strictEqual((yield* inRoom.ask({ action: "name" })).data, 1)
        assert.strictEqual((yield* (yield* Client.open(port)).ask(echo)).data, "hi")
      }))
      assert.strictEqual((yield* Effect.flip(Client.open(port, "/rooms/1/"))).status, 404)
      assert.strictEqual((yield* (yield* Client.open(port)).ask(echo)).data, "hi")
    }))

  it.live("does not start with options that mean nothing", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [options: NodeChannels.Options, words: string]> = [
        [{ maxFrame: 0 }, "the option maxFrame is 0: it must be greater than 0"],
        [{ maxConnections: NaN }, "maxConnections is NaN"],
        [{ pingInterval: "soon" as never }, "the option pingInterval is \"soon\": it must be greater than 0"],
        [{ handshakeTimeout: 0 }, "handshakeTimeout is 0"],
        [{ drainTimeout: "never" as never }, "the option drainTimeout is \"never\": it must be a duration"],
        [{ origins: ["app.example.com"] }, "the option origins has \"app.example.com\", which is no origin"],
        [{ origins: ["https://app.example.com/"] }, "which is no origin"],
        [{ origins: ["https://app.example.com/path"] }, "which is no origin"]
      ]
      for (const [options, words] of wrong) {
        const error = yield* Effect.flip(Server.startOpen(options))
        assert.include(String(error.message), words)
      }
      yield* Server.startOpen({
        origins: ["https://app.example.com:8443", "chrome-extension://abc", "null"],
        drainTimeout: 0
      })
    }))

  it.live("keeps two servers in one process apart", () =>
    Effect.gen(function*() {
      const a = yield* Server.startOpen({ maxConnections: 1 })
      const b = yield* Server.startOpen({ maxConnections: 1 })
      const inA = yield* Client.open(a.port)
      const inB = yield* Client.open(b.port)
      yield* inA.send({ action: "hang" })
      yield* a.stop
      assert.strictEqual((yield* inA.closed).code, 1012)
      assert.deepStrictEqual([a.server.listening, b.server.listening], [false, true])
      assert.strictEqual((yield* inB.ask(echo)).data, "hi")
      assert.strictEqual((yield* Effect.flip(Client.open(b.port))).status, 503)
    }))

  it.live("answers one request too many in flight with 503, and the others in their turn", () =>
    Effect.gen(function*() {
      const { events, permits, port } = yield* Server.startOpen({ maxInFlight: 3 })
      const client = yield* Client.open(port)
      yield* client.send(...[1, 2, 3, 4, 5].map((id) => ({ action: "hold", data: id, request_id: id })))
      const turnedAway = yield* client.takeAll(2)
      assert.deepStrictEqual(turnedAway.map(({ action, request_id, status }) => [action, request_id, status]), [
        ["hold", 4, 503],
        ["hold", 5, 503]
      ])
      yield* Server.takeEvents(events, 1)
      yield* Server.permit(permits, 3)
      assert.deepStrictEqual((yield* client.takeAll(3)).map(({ data, status }) => [data, status]), [
        [1, 200],
        [2, 200],
        [3, 200]
      ])
      assert.strictEqual((yield* client.ask(echo)).status, 200)
      assert.isTrue(client.frames.every((frame) => frame.opcode === opcode.text))
    }))
})
