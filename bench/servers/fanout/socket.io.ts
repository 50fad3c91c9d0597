/** A room of socket.io, over its WebSocket transport; with `REDIS` shared by several servers, over its Redis adapter. */
import { createAdapter } from "@socket.io/redis-adapter"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { createClient } from "redis"
import { type DefaultEventsMap, Server } from "socket.io"
import { type Posted, posted, userOf } from "../chat.ts"
import { report, wantedPort } from "../report.ts"

interface ClientEvents {
  readonly post: (body: { readonly text: string }) => void
}

interface ServerEvents {
  readonly posted: (message: Posted) => void
}

const server = createServer()
const io = new Server<ClientEvents, ServerEvents, DefaultEventsMap, { user: string }>(server, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false
})

const url = process.env["REDIS"]
if (url !== undefined) {
  const publisher = createClient({ url })
  const subscriber = publisher.duplicate()
  await Promise.all([publisher.connect(), subscriber.connect()])
  io.adapter(createAdapter(publisher, subscriber))
}

io.use((socket, next) => {
  const user = userOf(socket.handshake.query["token"])
  if (user === undefined) return next(new Error("unauthorized"))
  socket.data.user = user
  next()
})

io.on("connection", (socket) => {
  void socket.join("42")
  socket.on("post", (body) => {
    io.to("42").emit("posted", posted(socket.data.user, body))
  })
})

server.listen(wantedPort, "127.0.0.1", () => report((server.address() as AddressInfo).port))
