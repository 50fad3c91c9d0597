/**
 * Answers upgrade requests before the upgrade, on the bare socket.
 */
import type { HandshakeRefused } from "@effect-channels/core/Pipeline"
import { Buffer } from "node:buffer"
import { type IncomingMessage, STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"

const answer = (
  socket: Duplex,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {}
): void => {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const all = {
    "Connection": "close",
    "Content-Type": "application/json; charset=utf-8",
    "Content-Length": String(Buffer.byteLength(body)),
    ...headers
  }
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join("")
  socket.once("finish", () => socket.destroy())
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${head}\r\n${body}`)
}

/** Ends an upgrade request that is refused. */
export const refuse = (socket: Duplex, { body, retryAfter, status }: HandshakeRefused): void =>
  answer(
    socket,
    status,
    body,
    retryAfter === undefined ? extraHeaders[status] : { "Retry-After": String(Math.ceil(retryAfter)) }
  )

/** The seconds after which a server may be there again that is not. */
export const retryAfter = 1

const extraHeaders: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  400: { "Sec-WebSocket-Version": "13" },
  401: { "WWW-Authenticate": "Bearer" },
  503: { "Retry-After": String(retryAfter) }
}

/** Whether an upgrade request wants a WebSocket. */
export const isWebSocket = (request: IncomingMessage): boolean => request.headers.upgrade?.toLowerCase() === "websocket"

/** What is wrong with an upgrade request (RFC 6455, 4.2.1), or `undefined`. */
export const problemOf = (request: IncomingMessage): string | undefined => {
  if (request.method !== "GET") return `A WebSocket handshake is a GET request, not ${request.method}`
  if (!isWebSocket(request)) return "The Upgrade header must be \"websocket\""
  if (!/^[+/0-9A-Za-z]{22}==$/.test(request.headers["sec-websocket-key"] ?? "")) {
    return "The Sec-WebSocket-Key header must be 16 bytes in base64"
  }
  if (request.headers["sec-websocket-version"] !== "13") return "The Sec-WebSocket-Version header must be 13"
  const protocols = request.headers["sec-websocket-protocol"]
  if (protocols !== undefined && !areProtocols(protocols.split(","))) {
    return "The Sec-WebSocket-Protocol header must list tokens, each of them once"
  }
  return undefined
}

/** Whether a client offers a subprotocol. */
export const offers = (request: IncomingMessage, protocol: string): boolean =>
  request.headers["sec-websocket-protocol"]?.split(",").some((name) => name.trim() === protocol) === true

const areProtocols = (names: ReadonlyArray<string>): boolean =>
  new Set(names.map((name) => name.trim())).size === names.length &&
  names.every((name) => /^[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*$/.test(name))
