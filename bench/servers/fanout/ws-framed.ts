/** Raw `ws`, with the frame made once for everybody, and written past `ws`: one write for each client and event. */
import { Buffer } from "node:buffer"
import { createServer } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import { posted, userOfUrl } from "../chat.ts"
import { report, wantedPort } from "../report.ts"

const server = createServer()
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
const members = new Map<WebSocket, Socket>()

/** The event is always of this kind of length. */
const frameOf = (text: string): Buffer => {
  const payload = Buffer.from(text)
  if (payload.length > 125) throw new Error("too long for a frame of this form")
  return Buffer.concat([Buffer.from([0x81, payload.length]), payload])
}

server.on("upgrade", (request, socket: Socket, head) => {
  const user = userOfUrl(request.url)
  if (user === undefined) {
    socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n")
    return
  }
  sockets.handleUpgrade(request, socket, head, (client) => {
    members.set(client, socket)
    client.on("close", () => members.delete(client))
    client.on("error", () => client.terminate())
    client.on("message", (data) => {
      const frame = frameOf(JSON.stringify({ type: "posted", data: posted(user, JSON.parse(String(data))) }))
      for (const [member, socket] of members) {
        if (member.readyState === WebSocket.OPEN) socket.write(frame)
      }
    })
  })
})

server.listen(wantedPort, "127.0.0.1", () => report((server.address() as AddressInfo).port))
