/**
 * WebSocket frames as the RFC has them, apart from the code under test: written as a client does, read as a client does.
 */
import { Buffer } from "node:buffer"
import { constants, inflateRawSync } from "node:zlib"

/** The kinds of frames (RFC 6455, 5.2). */
export const opcode = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const

/** A frame as it was received. */
export interface Frame {
  readonly fin: boolean
  readonly rsv: number
  readonly opcode: number
  readonly isMasked: boolean
  readonly payload: Buffer
}

/** How a frame departs from an ordinary one. */
export interface FrameOptions {
  readonly fin?: boolean | undefined
  readonly rsv?: number | undefined
  readonly opcode?: number | undefined
  readonly isMasked?: boolean | undefined
}

const mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d])

const lengthOf = (payload: number): Buffer => {
  if (payload < 126) return Buffer.from([payload])
  if (payload < 65536) return Buffer.from([126, payload >> 8, payload & 255])
  const bytes = Buffer.alloc(9, 0)
  bytes[0] = 127
  bytes.writeBigUInt64BE(BigInt(payload), 1)
  return bytes
}

/** A frame of a client: masked text, unless it is told otherwise. */
export const frameOf = (content: string | Uint8Array, options: FrameOptions = {}): Buffer => {
  const payload = Buffer.from(content as Uint8Array)
  const kind = options.opcode ?? (typeof content === "string" ? opcode.text : opcode.binary)
  const first = (options.fin === false ? 0 : 0x80) | ((options.rsv ?? 0) << 4) | kind
  const length = lengthOf(payload.length)
  if (options.isMasked === false) return Buffer.concat([Buffer.from([first]), length, payload])
  length[0]! |= 0x80
  return Buffer.concat([Buffer.from([first]), length, mask, payload.map((byte, i) => byte ^ mask[i % 4]!)])
}

/** What a text frame says. */
export const textOf = (frame: Frame): string => Buffer.from(bytesOf(frame)).toString()

/** What a frame holds; a compressed one must not depend on those before it (RFC 7692). */
export const bytesOf = ({ payload, rsv }: Frame): Uint8Array<ArrayBuffer> => {
  if (rsv !== 4) return Uint8Array.from(payload)
  const bytes = Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])])
  return Uint8Array.from(inflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }))
}

/** A close frame of a client. */
export const closeFrame = (code?: number, reason = ""): Buffer => {
  if (code === undefined) return frameOf(Buffer.alloc(0), { opcode: opcode.close })
  return frameOf(Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]), { opcode: opcode.close })
}

/** Reads frames out of bytes, however they are cut into pieces. */
export const makeParser = (onFrame: (frame: Frame) => void): (bytes: Buffer) => void => {
  let pieces: Array<Buffer> = []
  let size = 0
  let wanted = 2
  return (bytes) => {
    pieces.push(bytes)
    size += bytes.length
    while (size >= wanted) {
      const data = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
      pieces = [data]
      const parsed = parse(data)
      if (typeof parsed === "number") {
        wanted = parsed
      } else {
        wanted = 2
        const rest = data.subarray(parsed.end)
        pieces = [rest]
        size = rest.length
        onFrame(parsed.frame)
      }
    }
  }
}

/** The frame that some bytes start with, or how many bytes it takes to know more. */
const parse = (data: Buffer): number | { readonly frame: Frame; readonly end: number } => {
  const short = data[1]! & 0x7f
  const extended = short === 126 ? 2 : short === 127 ? 8 : 0
  const isMasked = (data[1]! & 0x80) !== 0
  const start = 2 + extended + (isMasked ? 4 : 0)
  if (data.length < start) return start
  const length = extended === 0 ? short : extended === 2 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2))
  const end = start + length
  if (data.length < end) return end
  const payload = Buffer.from(data.subarray(start, end))
  if (isMasked) payload.forEach((byte, i) => payload[i] = byte ^ data[start - 4 + i % 4]!)
  return {
    end,
    frame: { fin: (data[0]! & 0x80) !== 0, rsv: (data[0]! >> 4) & 7, opcode: data[0]! & 0xf, isMasked, payload }
  }
}
