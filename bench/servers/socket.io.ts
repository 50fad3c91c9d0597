/** socket.io over its WebSocket transport: an event with an acknowledgement. Nothing is validated. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { type DefaultEventsMap, Server } from "socket.io"
import { type Message, type Post, post, userOf } from "./chat.ts"
import { report, wantedPort } from "./report.ts"

interface ClientEvents {
  readonly post: (body: Post, reply: (message: Message) => void) => void
}

const server = createServer()
const io = new Server<ClientEvents, DefaultEventsMap, DefaultEventsMap, { user: string }>(server, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false
})

io.use((socket, next) => {
  const user = userOf(socket.handshake.query["token"])
  if (user === undefined) return next(new Error("unauthorized"))
  socket.data.user = user
  next()
})

io.on("connection", (socket) => {
  socket.on("post", (body, reply) => reply(post(socket.data.user, body)))
})

server.listen(wantedPort, "127.0.0.1", () => report((server.address() as AddressInfo).port))
