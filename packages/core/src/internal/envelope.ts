/**
 * Reads the envelope of a request, and writes that of a reply.
 */
import * as ChannelError from "../ChannelError.ts"

/** What a reply echoes of its request. */
export interface Echo {
  /** The action as it was sent, `null` unless it was a string. */
  readonly action: string | null
  /** The route as it was sent, query string included; `""` unless it was a string. */
  readonly route: string
  /** As it was sent, `undefined` unless it was a string or a number. */
  readonly requestId: string | number | undefined
}

/** A request whose envelope could be read. */
export interface Envelope extends Echo {
  readonly action: string
  /** The whole request. */
  readonly body: Readonly<Record<string, unknown>>
}

/** A frame that is no request. */
export interface Unreadable extends Echo {
  readonly problem: ChannelError.InvalidEnvelope
}

/** What is echoed of a frame that was not read, and of a handshake. */
export const nothing: Echo = { action: null, route: "", requestId: undefined }

/** A frame that is no request, for this reason. */
export const unreadable = (message: string, echo: Echo = nothing): Unreadable => ({
  action: echo.action,
  route: echo.route,
  requestId: echo.requestId,
  problem: new ChannelError.InvalidEnvelope({ message })
})

/** Reads the envelope of a frame. */
export const read = (frame: string | Uint8Array): Envelope | Unreadable => {
  if (typeof frame !== "string") return unreadable("A request is a text frame: this one is binary")
  let body: unknown
  try {
    body = JSON.parse(frame)
  } catch {
    return unreadable("A request is JSON: this frame is not")
  }
  return readValue(body)
}

/** Reads the envelope out of what a frame holds. */
export const readValue = (value: unknown): Envelope | Unreadable =>
  typeof value !== "object" || value === null || Array.isArray(value)
    ? unreadable(`A request is a JSON object: this frame holds ${nameOf(value)}`)
    : readBody(value as Readonly<Record<string, unknown>>)

/** The same, where that is an object. */
export const readBody = (body: Readonly<Record<string, unknown>>): Envelope | Unreadable => {
  const { action, request_id: id, route = "" } = body
  // JSON has numbers that are too large for a number, and cannot be said again.
  const requestId = typeof id === "string" || (typeof id === "number" && Number.isFinite(id)) ? id : undefined
  if (typeof action === "string" && typeof route === "string") return { action, route, requestId, body }
  const echo = {
    action: typeof action === "string" ? action : null,
    route: typeof route === "string" ? route : "",
    requestId
  }
  if (action === undefined) return unreadable("A request names its \"action\": this one has none", echo)
  if (typeof action !== "string") return unreadable(`The "action" is a string: this one is ${nameOf(action)}`, echo)
  return unreadable(`The "route" is a string: this one is ${nameOf(route)}`, echo)
}

const nameOf = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
    ? "an array"
    : typeof value === "object"
    ? "an object"
    : `a ${typeof value}`

/** The keys of a request that are the protocol's own. */
export const reservedKeys: ReadonlySet<string> = new Set(["action", "route", "data", "request_id"])

/** One more of them, for actions that are done once for each key; for all others it is a field. */
export const idempotencyKey = "idempotency_key"

/** The other keys of a request, as own properties whatever they are called: `fromEntries` defines, it does not assign. */
export const fields = (body: Readonly<Record<string, unknown>>, isKeyed: boolean): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(body).filter(([key]) => !reservedKeys.has(key) && !(isKeyed && key === idempotencyKey))
  )

/** Writes a reply, its keys in the protocol's order; `errors`, `data` and `action` are JSON already. */
export const write = (
  echo: Echo,
  status: number,
  errors: string,
  data: string,
  action = echo.action === null ? "null" : JSON.stringify(echo.action)
): string => {
  const route = echo.route === "" ? "\"\"" : JSON.stringify(echo.route)
  const reply = `{"errors":${errors},"data":${data},"action":${action},"route":${route},"status":${status}`
  const { requestId } = echo
  if (requestId === undefined) return `${reply}}`
  return `${reply},"request_id":${typeof requestId === "number" ? requestId : JSON.stringify(requestId)}}`
}
