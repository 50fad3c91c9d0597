/** The client half of RFC 6455 on a plain TCP socket: as much of it as a load generator needs, as cheap as it can be. */
import { createHash, randomBytes } from "node:crypto"
import { connect as connectTcp, type Socket } from "node:net"

export const opcode = { text: 0x1, close: 0x8, ping: 0x9, pong: 0xa } as const

/** A whole masked frame of up to 64 KiB. */
export const frame = (kind: number, payload: Uint8Array): Buffer => {
  const extended = payload.length > 125
  const start = extended ? 8 : 6
  const bytes = Buffer.alloc(start + payload.length)
  bytes[0] = 0x80 | kind
  bytes[1] = 0x80 | (extended ? 126 : payload.length)
  if (extended) bytes.writeUInt16BE(payload.length, 2)
  const mask = randomBytes(4)
  mask.copy(bytes, start - 4)
  payload.forEach((byte, i) => bytes[start + i] = byte ^ mask[i % 4]!)
  return bytes
}

export const textFrame = (text: string): Buffer => frame(opcode.text, Buffer.from(text))

/** A connection; what it does with what it receives may be replaced at any time. */
export interface Connection {
  readonly socket: Socket
  /** Rejects when the handshake is refused or the server cannot be reached. */
  readonly opened: Promise<void>
  /** Called for every frame; `data` is only valid during the call. */
  onFrame: (kind: number, data: Buffer, start: number, end: number) => void
  /** Called once after the frames of one read. */
  onRead: () => void
  onClose: (error: Error) => void
}

/** Passes on every whole frame of `data`; the answer is where the first incomplete one starts. */
const readFrames = (data: Buffer, onFrame: Connection["onFrame"]): number => {
  let at = 0
  while (at + 2 <= data.length) {
    let start = at + 2
    let length = data[at + 1]! & 0x7f
    if (length === 126) {
      if (at + 4 > data.length) return at
      length = data.readUInt16BE(at + 2)
      start = at + 4
    } else if (length === 127) {
      if (at + 10 > data.length) return at
      length = Number(data.readBigUInt64BE(at + 2))
      start = at + 10
    }
    if (start + length > data.length) return at
    onFrame(data[at]! & 0x0f, data, start, start + length)
    at = start + length
  }
  return at
}

const acceptKey = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")

const nothing = Buffer.alloc(0)

// A read is dealt with as soon as it is made, so all connections can share the memory it is made into.
const readBuffer = Buffer.alloc(64 * 1024)

export const connect = (port: number, localAddress: string | undefined, path: string): Connection => {
  const key = randomBytes(16).toString("base64")
  let upgraded = false
  let accepted = () => {}
  let rest = nothing

  const upgrade = (data: Buffer): Buffer => {
    const end = data.indexOf("\r\n\r\n")
    if (end === -1) return data
    const head = data.toString("latin1", 0, end)
    if (head.startsWith("HTTP/1.1 101") && head.includes(acceptKey(key))) {
      upgraded = true
      accepted()
    } else {
      socket.destroy(new Error(`handshake refused: ${head.split("\r\n")[0]}`))
    }
    return data.subarray(end + 4)
  }

  const receive = (bytes: Buffer) => {
    let data = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    if (!upgraded) data = upgrade(data)
    const consumed = upgraded ? readFrames(data, connection.onFrame) : 0
    rest = consumed === data.length ? nothing : Buffer.from(data.subarray(consumed))
    connection.onRead()
  }

  const socket = connectTcp({
    host: "127.0.0.1",
    port,
    ...(localAddress === undefined ? {} : { localAddress }),
    noDelay: true,
    onread: {
      buffer: readBuffer,
      callback: (count) => {
        receive(readBuffer.subarray(0, count))
        return true
      }
    }
  })
  const opened = new Promise<void>((resolve, reject) => {
    let reason = new Error("the server closed the connection")
    accepted = resolve
    socket.on("error", (error) => reason = error)
    socket.on("close", () => {
      reject(reason)
      connection.onClose(reason)
    })
  })
  const connection: Connection = { socket, opened, onFrame: () => {}, onRead: () => {}, onClose: () => {} }

  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
      + `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`
  )
  return connection
}
