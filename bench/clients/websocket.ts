/** By hand, over the `WebSocket` of the platform, as the typed client. */
import { byHand } from "./by-hand.ts"
import { serve } from "./serve.ts"

void serve(byHand((url, receive) =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(url)
    socket.onmessage = ({ data }) => receive(data)
    socket.onerror = () => reject(new Error("the server cannot be reached"))
    socket.onopen = () => resolve({ send: (text) => socket.send(text), close: () => socket.close() })
  })
))
