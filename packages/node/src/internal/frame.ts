/**
 * Encodes text frames as a server sends them (RFC 6455, 5.2): unmasked, one frame a message.
 */
import { Buffer } from "node:buffer"
import type { SharedFrame } from "@effect-channels/core/Transport"

/** The most bytes that a frame has besides its text. */
const maxHead = 10

const headLength = (payload: number): number => payload < 126 ? 2 : payload < 65536 ? 4 : 10

const writeHead = (target: Buffer, at: number, payload: number): number => {
  target[at] = 0x81
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

/** The frame of a text. */
export const encode = (text: string): Buffer => encodeAll([text], maxHead + Buffer.byteLength(text))

/** The frame of a text for many connections, made once. */
export const encodeShared = (frame: SharedFrame): Buffer => frame.encoded("ws", encode)

/** An upper bound of the bytes that a text takes, without looking at it. */
export const bound = (text: string): number => maxHead + text.length * 3

/** The frames of several messages, one after the other, in one buffer; `size` is at least as many bytes as they take. */
export const encodeAll = (messages: ReadonlyArray<string | Buffer>, size: number): Buffer => {
  const target = Buffer.allocUnsafe(size)
  let at = 0
  for (const message of messages) {
    if (typeof message !== "string") {
      at += message.copy(target, at)
      continue
    }
    const length = Buffer.byteLength(message)
    const start = writeHead(target, at, length)
    // As many bytes as characters: it is all ASCII, which the shorter way is good for.
    at = start + target.write(message, start, length, length === message.length ? "latin1" : "utf8")
  }
  return at === size ? target : target.subarray(0, at)
}

/** The bytes that a message takes as a frame. */
export const sizeOf = (message: string | Buffer): number => {
  if (typeof message !== "string") return message.length
  const length = Buffer.byteLength(message)
  return headLength(length) + length
}
