/** Raw `ws`, the way it is usually written: one JSON.stringify, then `send` for each client that is open. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import { posted, userOfUrl } from "../chat.ts"
import { report, wantedPort } from "../report.ts"

const server = createServer()
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
const members = new Set<WebSocket>()

server.on("upgrade", (request, socket, head) => {
  const user = userOfUrl(request.url)
  if (user === undefined) {
    socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n")
    return
  }
  sockets.handleUpgrade(request, socket, head, (client) => {
    members.add(client)
    client.on("close", () => members.delete(client))
    client.on("error", () => client.terminate())
    client.on("message", (data) => {
      const event = JSON.stringify({ type: "posted", data: posted(user, JSON.parse(String(data))) })
      for (const member of members) {
        if (member.readyState === WebSocket.OPEN) member.send(event)
      }
    })
  })
})

server.listen(wantedPort, "127.0.0.1", () => report((server.address() as AddressInfo).port))
