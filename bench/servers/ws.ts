/** Raw `ws`: JSON.parse, the handler, JSON.stringify. Nothing is validated. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { WebSocketServer } from "ws"
import { type Post, post, userOfUrl } from "./chat.ts"
import { report, wantedPort } from "./report.ts"

const server = createServer()
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })

server.on("upgrade", (request, socket, head) => {
  const user = userOfUrl(request.url)
  if (user === undefined) {
    socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n")
    return
  }
  sockets.handleUpgrade(request, socket, head, (client) => {
    client.on("error", () => client.terminate())
    client.on("message", (data) => {
      const { request_id, ...body }: Post & { readonly request_id: number } = JSON.parse(String(data))
      client.send(JSON.stringify({ ...post(user, body), request_id }))
    })
  })
})

server.listen(wantedPort, "127.0.0.1", () => report((server.address() as AddressInfo).port))
