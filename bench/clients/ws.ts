/** By hand, over the `ws` package. */
import { once } from "node:events"
import { WebSocket } from "ws"
import { byHand } from "./by-hand.ts"
import { serve } from "./serve.ts"

void serve(byHand(async (url, receive) => {
  const socket = new WebSocket(url, { perMessageDeflate: false })
  socket.on("message", (data) => receive(String(data)))
  await once(socket, "open")
  return { send: (text) => socket.send(text), close: () => socket.close() }
}))
