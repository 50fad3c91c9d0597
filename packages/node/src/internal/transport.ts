/**
 * The transport over `ws`: it reads the frames of one TCP read as one batch, and sends what is sent in one tick as one
 * write, with the socket's own backpressure.
 *
 * `ws` does the handshake, reads frames, answers pings and closes. Frames are written to the network socket directly,
 * since `ws` writes each of them by itself; with compression they go through `ws`.
 */
import { type Closed, SharedFrame, type Transport } from "@effect-channels/core/Transport"
import * as Effect from "effect/Effect"
import type { Buffer } from "node:buffer"
import type { Socket } from "node:net"
import type { WebSocket } from "ws"
import * as Frame from "./frame.ts"

/** The transport of one WebSocket. */
export class WsTransport implements Transport {
  // First what an event for many connections looks at: with many of them, every line of memory that it does not touch counts.
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #isCompressed: boolean
  #isReading = false
  /** Whether the network has not taken all that was written. */
  #isBehind = false
  #outboxSize = 0
  // Made when there is something to put in, and let go at once. V8 takes what many idle connections hold for long-lived, and
  // would put every later array of the same kind, and all it holds, among the old objects, where collecting it is dear.
  #inbox: Array<string | Uint8Array> | undefined
  /** One message stands for itself, as it mostly is the only one. */
  #outbox: string | Buffer | Array<string | Buffer> | undefined
  /** The one that sends what it has after this one; itself for the last of them. */
  #next: WsTransport | undefined
  #ended: ((closed: Effect.Effect<Closed>) => void) | undefined
  #receive: ((frames: ReadonlyArray<string | Uint8Array>) => void) | undefined
  #isAlive = true
  #lastUnsent = 0

  constructor(ws: WebSocket, socket: Socket) {
    this.#ws = ws
    this.#socket = socket
    this.#isCompressed = ws.extensions.includes("permessage-deflate")
    carry(ws, this)
    ws.on("message", onMessage)
    if (!this.#isCompressed) {
      // It comes after the listener of `ws`, which then has emitted all the frames of the read.
      carry(socket, this)
      socket.on("data", onData)
    }
    ws.on("pong", onPong)
    ws.on("error", onError)
  }

  run(receive: (frames: ReadonlyArray<string | Uint8Array>) => void): Effect.Effect<Closed> {
    return Effect.callback<Closed>((resume) => {
      this.#ended = resume
      this.#receive = receive
      if (this.#ws.readyState === this.#ws.CLOSED) return this.onClose(1006, "")
      this.#ws.on("close", onClose)
      this.read()
      return Effect.sync(() => this.terminate())
    })
  }

  send(frame: string | Uint8Array<ArrayBuffer> | SharedFrame): void {
    if (this.#isCompressed) {
      if (this.#ws.readyState !== this.#ws.OPEN) return
      const content = frame instanceof SharedFrame ? frame.content : frame
      return this.#ws.send(content, () => this.#socket.emit(compressed))
    }
    const message = typeof frame === "string"
      ? frame
      : frame instanceof SharedFrame
      ? Frame.encodeShared(frame)
      : Frame.encode(frame)
    this.#outboxSize += message.length
    const outbox = this.#outbox
    if (outbox === undefined) this.#outbox = message
    else if (Array.isArray(outbox)) outbox.push(message)
    else this.#outbox = [outbox, message]
    if (!this.#isReading && this.#next === undefined) WsTransport.#flushLater(this)
  }

  unsent(): number {
    return this.#outboxSize +
      (this.#isCompressed ? this.#ws.bufferedAmount : this.#isBehind ? this.#socket.writableLength : 0)
  }

  get drained(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      this.#flush()
      if (this.#ws.readyState === this.#ws.CLOSED || !this.#needsDrain()) return resume(Effect.void)
      const off = () => {
        this.#socket.off("drain", onDrain)
        this.#socket.off(compressed, onDrain)
        this.#ws.off("close", done)
      }
      const done = () => {
        off()
        resume(Effect.void)
      }
      const onDrain = () => {
        if (!this.#needsDrain()) done()
      }
      this.#socket.on("drain", onDrain)
      this.#socket.on(compressed, onDrain)
      this.#ws.on("close", done)
      return Effect.sync(off)
    })
  }

  /** What waits to be compressed has not come to the socket yet. */
  #needsDrain(): boolean {
    return this.#socket.destroyed || this.#socket.writableNeedDrain ||
      (this.#isCompressed && this.#ws.bufferedAmount > 0)
  }

  pause(): void {
    this.#ws.pause()
  }

  resume(): void {
    this.#ws.resume()
  }

  ping(): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping()
  }

  close(code: number, reason?: string): void {
    this.#flush()
    this.#ws.close(code, reason)
  }

  /** Drops the connection, without a close frame. */
  terminate(): void {
    this.#ws.terminate()
  }

  /** Whether the peer has given a sign of life since the last call: sent something, or taken something of what waits. */
  takeAlive(): boolean {
    const unsent = this.unsent()
    const isAlive = this.#isAlive || unsent < this.#lastUnsent
    this.#lastUnsent = unsent
    this.#isAlive = false
    return isAlive
  }

  /** @internal */
  onMessage(data: Buffer, isBinary: boolean): void {
    this.#isAlive = true
    const frame = isBinary ? data : data.toString()
    if (this.#inbox !== undefined) {
      this.#inbox.push(frame)
      return
    }
    this.#inbox = [frame]
    if (this.#isCompressed) process.nextTick(read, this)
  }

  /** @internal */
  onClose(code: number, reason: string): void {
    this.read()
    this.#ended?.(Effect.succeed({ code, reason }))
  }

  /** @internal */
  onPong(): void {
    this.#isAlive = true
  }

  /** @internal */
  read(): void {
    const frames = this.#inbox
    if (frames === undefined || this.#receive === undefined) return
    this.#inbox = undefined
    this.#isReading = true
    this.#receive(frames)
    this.#isReading = false
    this.#flush()
  }

  /** Sends what there is when this tick is over: one callback does it for all connections. */
  static #flushLater(transport: WsTransport): void {
    transport.#next = transport
    if (last === undefined) setImmediate(flush, transport)
    else last.#next = transport
    last = transport
  }

  /** @internal */
  static flush(first: WsTransport): void {
    last = undefined
    let next: WsTransport | undefined = first
    try {
      while (next !== undefined) {
        const transport: WsTransport = next
        next = transport.#next === transport ? undefined : transport.#next
        transport.#next = undefined
        transport.#flush()
      }
    } finally {
      // One that breaks does not hold up the others.
      if (next !== undefined) setImmediate(flush, next)
    }
  }

  #flush(): void {
    const outbox = this.#outbox
    if (outbox === undefined) return
    this.#outbox = undefined
    this.#outboxSize = 0
    // Nothing follows a close frame, which `ws` answers at once.
    if (this.#ws.readyState !== this.#ws.OPEN) return
    this.#socket.write(Frame.encodeAll(outbox))
    this.#isBehind = this.#socket.writableLength > 0
  }
}

/** The last of those that send something when this tick is over. */
let last: WsTransport | undefined

/** A message has been compressed and written. */
const compressed = "effect-channels/compressed"

/** What listeners find their transport by, so that all connections share them. */
const carried = Symbol("effect-channels/transport")

const carry = (emitter: object, transport: WsTransport): void => {
  Object.defineProperty(emitter, carried, { value: transport })
}

const of = (emitter: object): WsTransport => (emitter as { readonly [carried]: WsTransport })[carried]

function onMessage(this: WebSocket, data: unknown, isBinary: boolean): void {
  of(this).onMessage(data as Buffer, isBinary)
}

function onData(this: Socket): void {
  of(this).read()
}

function onClose(this: WebSocket, code: number, reason: Buffer): void {
  of(this).onClose(code, reason.toString())
}

function onPong(this: WebSocket): void {
  of(this).onPong()
}

/** A client that breaks the protocol, or a broken network: `close` tells with which code, there is nothing more to say. */
function onError(): void {}

const read = (transport: WsTransport): void => transport.read()

const flush = (first: WsTransport): void => WsTransport.flush(first)
