/**
 * A client on a bare TCP socket: it can do what no well-behaved client does.
 */
import type * as Transport from "@effect-channels/core/Transport"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import { connect as connectTcp, type Socket } from "node:net"
import * as Frames from "./frames.ts"

/** What a server answered instead of an upgrade. */
export class Refused extends Data.TaggedError("Refused")<{
  readonly status: number
  /** By lower-case name; empty when the server closed without an answer. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}> {
  /** What the body holds, which is to be JSON. */
  get json(): { readonly errors: ReadonlyArray<{ readonly detail: string; readonly code: string }> } {
    return JSON.parse(this.body)
  }
}

/** How a client connects. */
export interface Options {
  readonly method?: string | undefined
  /** Instead of, or beside, those of an ordinary handshake; `undefined` leaves one out. */
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined
  /** What is sent right after the handshake, in the same packet. */
  readonly early?: Uint8Array | undefined
  /** Whether pings are answered. Default `true`. */
  readonly answersPings?: boolean | undefined
  /** Whether a close frame is answered. Default `true`. */
  readonly answersClose?: boolean | undefined
}

/** The client's end of a connection. */
export interface Client {
  readonly socket: Socket
  /** The headers that the server upgraded with. */
  readonly headers: Readonly<Record<string, string>>
  /** Sends messages in one packet; what is no string or bytes is sent as JSON. */
  readonly send: (...messages: ReadonlyArray<unknown>) => Effect.Effect<void>
  /** Sends bytes as they are. */
  readonly write: (...bytes: ReadonlyArray<Uint8Array>) => Effect.Effect<void>
  /** The next message, text or bytes; fails with how the connection ended. */
  readonly takeFrame: Effect.Effect<string | Uint8Array<ArrayBuffer>, Transport.Closed>
  /** The same, which is to be text. */
  readonly takeText: Effect.Effect<string, Transport.Closed>
  /** The next message, which is to be JSON. */
  readonly take: Effect.Effect<Reply, Transport.Closed>
  readonly takeAll: (count: number) => Effect.Effect<ReadonlyArray<Reply>, Transport.Closed>
  /** Sends a message, and takes the next one. */
  readonly ask: (message: unknown) => Effect.Effect<Reply, Transport.Closed>
  /** The pings and pongs of the server. */
  readonly controls: Queue.Queue<Frames.Frame>
  /** Completes when the server has dealt with all that was sent before: sends a ping, and takes everything up to its pong. */
  readonly roundTrip: Effect.Effect<ReadonlyArray<Frames.Frame>>
  /** How the connection ended: the server's close frame, 1006 when it ended without one. */
  readonly closed: Effect.Effect<Transport.Closed>
  /** Completes when the TCP connection has ended. */
  readonly ended: Effect.Effect<void>
  /** All frames of the server so far. */
  readonly frames: ReadonlyArray<Frames.Frame>
  readonly close: (code?: number, reason?: string) => Effect.Effect<void>
  /** Ends the TCP connection, without a close frame. */
  readonly drop: Effect.Effect<void>
  /** Resets the TCP connection. */
  readonly reset: Effect.Effect<void>
  /** Takes nothing more off the line. */
  readonly stall: Effect.Effect<void>
  /** Takes again what arrives. */
  readonly flow: Effect.Effect<void>
}

/** A reply, as far as these tests look at it. */
export interface Reply {
  readonly errors: ReadonlyArray<{ readonly detail: string; readonly code: string }>
  readonly data: unknown
  readonly action: string | null
  readonly route: string
  readonly status: number
  readonly request_id?: string | number
}

/** The headers of an ordinary handshake. */
const defaultHeaders = (port: number) => ({
  Host: `127.0.0.1:${port}`,
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version": "13"
})

/** The headers that offer compression, as far as this client can undo it. */
export const compression = { "Sec-WebSocket-Extensions": "permessage-deflate; server_no_context_takeover" }

/** The bytes of a handshake. */
export const handshakeOf = (port: number, path: string, options: Options = {}): Buffer => {
  const headers = Object.entries({ ...defaultHeaders(port), ...options.headers })
  const lines = headers.flatMap(([name, value]) => value === undefined ? [] : [`${name}: ${value}\r\n`])
  const head = `${options.method ?? "GET"} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`
  return Buffer.concat([Buffer.from(head), options.early ?? Buffer.alloc(0)])
}

/** Opens a TCP connection, and ends it with the scope. */
export const connectSocket = (port: number): Effect.Effect<Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = connectTcp(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
      socket.setNoDelay()
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Connects; fails when the handshake is refused. */
export const open = Effect.fnUntraced(function*(
  port: number,
  path = "/ws/",
  options: Options = {}
): Effect.fn.Return<Client, Refused, Scope.Scope> {
  const socket = yield* connectSocket(port)
  const opened = yield* Deferred.make<Readonly<Record<string, string>>, Refused>()
  const closed = yield* Deferred.make<Transport.Closed>()
  const ended = yield* Deferred.make<void>()
  const messages = yield* Queue.unbounded<string | Uint8Array<ArrayBuffer>, Transport.Closed>()
  const controls = yield* Queue.unbounded<Frames.Frame>()
  const frames: Array<Frames.Frame> = []
  let answer = Buffer.alloc(0)
  let isOpen = false

  const end = (how: Transport.Closed) => {
    Deferred.doneUnsafe(closed, Effect.succeed(how))
    Queue.failCauseUnsafe(messages, Cause.fail(how))
  }
  const parse = Frames.makeParser((frame) => {
    frames.push(frame)
    const { opcode, payload } = frame
    if (opcode === Frames.opcode.text) Queue.offerUnsafe(messages, Frames.textOf(frame))
    if (opcode === Frames.opcode.binary) Queue.offerUnsafe(messages, Frames.bytesOf(frame))
    if (opcode === Frames.opcode.ping && options.answersPings !== false) {
      socket.write(Frames.frameOf(payload, { opcode: Frames.opcode.pong }))
    }
    if (opcode === Frames.opcode.ping || opcode === Frames.opcode.pong) Queue.offerUnsafe(controls, frame)
    if (opcode === Frames.opcode.close) {
      const code = payload.length < 2 ? 1005 : payload.readUInt16BE()
      end({ code, reason: payload.subarray(2).toString() })
      if (options.answersClose !== false) socket.end(Frames.closeFrame(code === 1005 ? undefined : code))
    }
  })
  socket.on("data", (bytes) => {
    if (isOpen) return parse(bytes)
    answer = Buffer.concat([answer, bytes])
    const { head, headers, status } = readAnswer(answer)
    if (head === 0) return
    if (status === 101) {
      isOpen = true
      Deferred.doneUnsafe(opened, Effect.succeed(headers))
      parse(answer.subarray(head))
    } else if (answer.length >= head + Number(headers["content-length"] ?? Infinity)) {
      Deferred.doneUnsafe(opened, Effect.fail(new Refused({ status, headers, body: answer.toString("utf8", head) })))
    }
  })
  socket.on("end", () => socket.end())
  socket.on("close", () => {
    const { head, headers, status } = readAnswer(answer)
    Deferred.doneUnsafe(opened, Effect.fail(new Refused({ status, headers, body: answer.toString("utf8", head) })))
    end({ code: 1006, reason: "" })
    Deferred.doneUnsafe(ended, Effect.void)
  })
  const write: Client["write"] = (...bytes) =>
    Effect.sync(() => {
      if (socket.writable) socket.write(Buffer.concat(bytes))
    })
  yield* write(handshakeOf(port, path, options))
  const headers = yield* Deferred.await(opened)

  const send: Client["send"] = (...messages) =>
    write(
      ...messages.map((message) =>
        Frames.frameOf(typeof message === "string" || message instanceof Uint8Array ? message : JSON.stringify(message))
      )
    )
  const takeFrame = Queue.take(messages)
  const takeText = Effect.flatMap(
    takeFrame,
    (frame) => typeof frame === "string" ? Effect.succeed(frame) : Effect.die(new TypeError("This message is binary"))
  )
  const take = Effect.map(takeText, (text): Reply => JSON.parse(text))
  let trips = 0
  return {
    socket,
    headers,
    send,
    write,
    takeFrame,
    takeText,
    take,
    takeAll: (count) => Effect.replicateEffect(take, count),
    ask: (message) => Effect.andThen(send(message), take),
    controls,
    roundTrip: Effect.gen(function*() {
      const name = `round trip ${++trips}`
      yield* write(Frames.frameOf(Buffer.from(name), { opcode: Frames.opcode.ping }))
      const before: Array<Frames.Frame> = []
      while (true) {
        const frame = yield* Queue.take(controls)
        if (frame.opcode === Frames.opcode.pong && frame.payload.toString() === name) return before
        before.push(frame)
      }
    }),
    closed: Deferred.await(closed),
    ended: Deferred.await(ended),
    frames,
    close: (code, reason) => write(Frames.closeFrame(code, reason)),
    drop: Effect.sync(() => socket.destroy()),
    reset: Effect.sync(() => socket.resetAndDestroy()),
    stall: Effect.sync(() => socket.pause()),
    flow: Effect.sync(() => socket.resume())
  }
})

/** The status line and headers of an answer; `head` is 0 when they are not complete. */
const readAnswer = (answer: Buffer) => {
  const end = answer.indexOf("\r\n\r\n")
  const [first = "", ...lines] = answer.toString("latin1", 0, Math.max(end, 0)).split("\r\n")
  const headers = Object.fromEntries(lines.map((line) => {
    const colon = line.indexOf(": ")
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)]
  }))
  return { head: end + 4 > 3 ? end + 4 : 0, headers, status: Number(first.split(" ")[1] ?? 0) }
}
