/**
 * Encodes text and binary frames as a server sends them (RFC 6455, 5.2): unmasked, one frame a message.
 */
import type { SharedFrame } from "@effect-channels/core/Transport"
import { Buffer } from "node:buffer"

const headLength = (payload: number): number => payload < 126 ? 2 : payload < 65536 ? 4 : 10

/** The first byte of a frame, which is the last one of its message. */
const textHead = 0x81
const binaryHead = 0x82

const writeHead = (target: Buffer, at: number, kind: number, payload: number): number => {
  target[at] = kind
  if (payload < 126) {
    target[at + 1] = payload
    return at + 2
  }
  if (payload < 65536) {
    target[at + 1] = 126
    target.writeUInt16BE(payload, at + 2)
    return at + 4
  }
  target[at + 1] = 127
  target.writeUInt32BE(Math.floor(payload / 2 ** 32), at + 2)
  target.writeUInt32BE(payload % 2 ** 32, at + 6)
  return at + 10
}

const writeText = (target: Buffer, at: number, text: string, length: number): number => {
  const start = writeHead(target, at, textHead, length)
  // As many bytes as characters: it is all ASCII, which the shorter way is good for.
  return start + target.write(text, start, length, length === text.length ? "latin1" : "utf8")
}

/** The frame of a text, or of bytes. */
export const encode = (content: string | Uint8Array): Buffer =>
  typeof content === "string" ? encodeText(content) : encodeBytes(content)

const encodeBytes = (bytes: Uint8Array): Buffer => {
  const target = Buffer.allocUnsafe(headLength(bytes.length) + bytes.length)
  target.set(bytes, writeHead(target, 0, binaryHead, bytes.length))
  return target
}

const encodeText = (text: string): Buffer => {
  const length = Buffer.byteLength(text)
  const target = Buffer.allocUnsafe(headLength(length) + length)
  writeText(target, 0, text, length)
  return target
}

/** The same for many connections, made once. */
export const encodeShared = (frame: SharedFrame): Buffer => frame.encoded("ws", encode)

/** The frames of one or several messages, one after the other, in one buffer: what is a buffer is a frame already. */
export const encodeAll = (messages: string | Buffer | ReadonlyArray<string | Buffer>): Buffer => {
  if (typeof messages === "string") return encode(messages)
  if (Buffer.isBuffer(messages)) return messages
  const lengths: Array<number> = []
  let size = 0
  for (const message of messages) {
    const length = typeof message === "string" ? Buffer.byteLength(message) : message.length
    lengths.push(length)
    size += typeof message === "string" ? headLength(length) + length : length
  }
  const target = Buffer.allocUnsafe(size)
  let at = 0
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]!
    at = typeof message === "string" ? writeText(target, at, message, lengths[i]!) : at + message.copy(target, at)
  }
  return target
}
