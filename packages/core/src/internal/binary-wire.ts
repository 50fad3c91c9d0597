/**
 * The subprotocol `effect-channels.binary`, as a server speaks it.
 */
import { SharedFrame } from "../Transport.ts"
import * as Compact from "./compact.ts"
import * as Envelope from "./envelope.ts"
import { binarySubprotocol } from "./subprotocols.ts"
import type { Frame, Wire } from "./wire.ts"

/** So many characters of keys a request may have for each of its bytes. */
const keysPerByte = 64

/** And so many besides. */
const keysBesides = 16 * 1024

/** How deep a request may be nested. */
const maxDepth = 500

/** Whoever has named their request knows what its action and route were. */
const write = (echo: Envelope.Echo, reply: Readonly<Record<string, unknown>>): Frame =>
  Compact.write(
    echo.requestId === undefined
      ? { ...reply, action: echo.action ?? undefined, route: echo.route === "" ? undefined : echo.route }
      : { ...reply, request_id: echo.requestId }
  )

/** What is usual is left out. */
const unusual = (status: number): number | undefined => status === 200 ? undefined : status

const reply: Wire["reply"] = (echo, status, data) => write(echo, { data: data ?? null, status: unusual(status) })

/** Binary frames. */
export const binary: Wire = {
  unit: "bytes",
  read: (frame) => {
    if (typeof frame === "string") return Envelope.unreadable("A request is a binary frame: this one is text")
    const { isWhole, value } = Compact.read(frame, frame.length * keysPerByte + keysBesides, maxDepth)
    if (isWhole) return Envelope.readValue(value)
    // What could be read of it is said again.
    const { action, requestId, route } = value === undefined ? Envelope.nothing : Envelope.readBody(value)
    return Envelope.unreadable(`A request is a frame of ${binarySubprotocol}: this one is not, or is cut off`, {
      action,
      route,
      requestId
    })
  },
  reply,
  refusal: (echo, status, errors) => write(echo, { errors: JSON.parse(errors), status: unusual(status) }),
  replies: (echo, status) => ({
    of: (data) => reply(echo, status, data),
    ofJson: (data) => reply(echo, status, JSON.parse(data))
  }),
  event: (message) => message.frame.encoded(binarySubprotocol, shared)
}

const shared = (content: string | Uint8Array): SharedFrame => {
  const { data, status, ...event } = JSON.parse(content as string)
  const { type, ...rest } = event
  return new SharedFrame(Compact.write({ type, data, ...rest, status: unusual(status) }))
}
