/**
 * Answers upgrade requests before the upgrade, on the bare socket.
 */
import { Buffer } from "node:buffer"
import { type IncomingMessage, STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"

/** Ends an upgrade request with an HTTP answer. */
export const answer = (
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

/** What is wrong with an upgrade request (RFC 6455, 4.2.1), or `undefined`. */
export const problemOf = (request: IncomingMessage): string | undefined => {
  if (request.method !== "GET") return `A WebSocket handshake is a GET request, not ${request.method}`
  if (request.headers.upgrade?.toLowerCase() !== "websocket") return "The Upgrade header must be \"websocket\""
  if (!/^[+/0-9A-Za-z]{22}==$/.test(request.headers["sec-websocket-key"] ?? "")) {
    return "The Sec-WebSocket-Key header must be 16 bytes in base64"
  }
  if (request.headers["sec-websocket-version"] !== "13") return "The Sec-WebSocket-Version header must be 13"
  return undefined
}
