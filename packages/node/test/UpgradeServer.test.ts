import { Consumer } from "@effect-channels/core"
import { NodeChannels, UpgradeServer } from "@effect-channels/node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { createServer, type RequestListener } from "node:http"
import type { Socket } from "node:net"
import * as Client from "./support/client.ts"
import * as Server from "./support/server.ts"

/** A server that somebody else has made and listens on. */
const listen = (onRequest?: RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer(onRequest)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )

const serveOn = (server: ReturnType<typeof createServer>, scope: Scope.Scope) =>
  Effect.gen(function*() {
    const { layer } = yield* Server.makeOpen
    const served = NodeChannels.serve(Server.Open).pipe(Layer.provide([layer, UpgradeServer.layer(server)]))
    yield* Layer.buildWithScope(served, scope)
  })

const hello: RequestListener = (request, response) => {
  response.end(`own ${request.url}`)
}

const fetchOwn = (port: number, path = "/x", init?: RequestInit) =>
  Effect.promise(() => fetch(`http://127.0.0.1:${port}${path}`, init).then((response) => response.text()))

const echo = { action: "echo", data: "hi" }

describe("UpgradeServer", () => {
  it.live("leaves to the server's own listeners what is not for a consumer", () =>
    Effect.gen(function*() {
      const server = yield* listen(hello)
      const port = Server.portOf(server)
      const seen: Array<string | undefined> = []
      server.on("upgrade", (request, socket) => {
        seen.push(request.url)
        socket.end("HTTP/1.1 418 Teapot\r\nContent-Length: 3\r\nConnection: close\r\n\r\nown")
      })
      yield* serveOn(server, yield* Effect.scope)
      const client = yield* Client.open(port)
      assert.strictEqual((yield* client.ask(echo)).data, "hi")
      const refused = yield* Effect.flip(Client.open(port, "/own/"))
      assert.deepStrictEqual([refused.status, refused.body], [418, "own"])
      assert.strictEqual(yield* fetchOwn(port), "own /x")
      assert.strictEqual(yield* fetchOwn(port, "/ws/"), "own /ws/")
      assert.deepStrictEqual(seen, ["/own/"])
    }))

  it.live("outlives a client that is gone before it has heard that there is nothing", () =>
    Effect.gen(function*() {
      const server = yield* listen()
      yield* serveOn(server, yield* Effect.scope)
      for (const offered of [undefined, Consumer.refusalsSubprotocol]) {
        const sockets: Array<Socket> = []
        server.prependOnceListener("connection", (socket) => sockets.push(socket))
        const headers = { "Sec-WebSocket-Protocol": offered }
        yield* Effect.exit(Effect.scoped(Client.open(Server.portOf(server), "/nothing/", { headers })))
        assert.strictEqual(sockets.length, 1)
        assert.doesNotThrow(() => sockets[0]!.emit("error", new Error("read ECONNRESET")))
      }
    }))

  it.live("does not hold up a server that is closed with who was told that there is nothing", () =>
    Effect.gen(function*() {
      const server = yield* listen()
      yield* serveOn(server, yield* Effect.scope)
      const headers = { "Sec-WebSocket-Protocol": Consumer.refusalsSubprotocol }
      const mute = yield* Client.open(Server.portOf(server), "/nothing/", { headers, answersClose: false })
      assert.strictEqual((yield* mute.closed).code, 4404)
      const start = performance.now()
      yield* Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
      assert.isBelow(performance.now() - start, 1000)
    }))

  it.live("leaves upgrade requests to own listeners that come later", () =>
    Effect.gen(function*() {
      const server = yield* listen(hello)
      const port = Server.portOf(server)
      yield* serveOn(server, yield* Effect.scope)
      assert.strictEqual((yield* Effect.flip(Client.open(port, "/own/"))).status, 404)
      server.once("upgrade", (_request, socket) => {
        socket.end("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
      })
      assert.strictEqual((yield* Effect.flip(Client.open(port, "/own/"))).status, 418)
      assert.strictEqual((yield* (yield* Client.open(port)).ask(echo)).data, "hi")
    }))

  it.live("gives the server back as it was", () =>
    Effect.gen(function*() {
      const server = yield* listen(hello)
      const port = Server.portOf(server)
      const { close, emit } = server
      const scope = yield* Scope.make()
      yield* serveOn(server, scope)
      assert.notStrictEqual(server.emit, emit)
      const client = yield* Client.open(port)
      assert.strictEqual((yield* client.ask(echo)).data, "hi")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* client.closed).code, 1012)
      assert.deepStrictEqual([server.emit, server.close], [emit, close])
      assert.strictEqual(server.listenerCount("upgrade"), 0)
      assert.strictEqual(yield* fetchOwn(port), "own /x")
      // Without an upgrade listener, Node answers as if no upgrade had been asked for.
      const refused = yield* Effect.flip(Client.open(port))
      assert.deepStrictEqual([refused.status, refused.body], [200, "own /ws/"])
      const again = yield* Scope.make()
      yield* serveOn(server, again)
      assert.strictEqual((yield* (yield* Client.open(port)).ask(echo)).data, "hi")
      yield* Scope.close(again, Exit.void)
      assert.strictEqual(server.emit, emit)
    }))

  it.live("answers with 503 while nothing is served yet", () =>
    Effect.gen(function*() {
      const server = yield* listen()
      yield* Layer.build(UpgradeServer.layer(server))
      const refused = yield* Effect.flip(Client.open(Server.portOf(server)))
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(refused.json.errors[0]!.code, "unavailable")
      assert.strictEqual(refused.headers["retry-after"], "1")
    }))

  it.live("leaves requests to upgrade to anything but a WebSocket to the request listeners", () =>
    Effect.gen(function*() {
      const server = yield* listen(hello)
      yield* serveOn(server, yield* Effect.scope)
      const socket = yield* Client.connectSocket(Server.portOf(server))
      const answer = Effect.callback<string>((resume) => {
        let text = ""
        socket.on("data", (bytes) => text += bytes.toString())
        socket.on("end", () => resume(Effect.succeed(text)))
      })
      socket.write(
        "GET /x HTTP/1.0\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
      )
      const text = yield* answer
      assert.include(text, "200 OK")
      assert.include(text, "own /x")
    }))
})
