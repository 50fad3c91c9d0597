/**
 * The connections of a server: their handshakes, their heartbeat and their end.
 */
import * as ChannelError from "@effect-channels/core/ChannelError"
import * as Pipeline from "@effect-channels/core/Pipeline"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import { WebSocketServer } from "ws"
import type { UpgradeServer } from "../UpgradeServer.ts"
import * as Http from "./http.ts"
import * as Origin from "./origin.ts"
import { Refusals } from "./refusals.ts"
import { WsTransport } from "./transport.ts"

/** How connections are served, see `NodeChannels.Options`. */
export interface Options {
  readonly origins: ReadonlyArray<string> | "*"
  readonly maxFrame: number
  readonly maxConnections: number
  readonly compression: boolean
  readonly handshakeTimeout: Duration.Duration
  readonly pingInterval: Duration.Duration
  readonly pongTimeout: Duration.Duration
  readonly drainTimeout: Duration.Duration
}

/** A client has so long to answer a close frame, when the server does not stop. */
const closeTimeout = 5000

/** A client has so long to answer a close frame, when the server stops: a mute one must not hold it up. */
const closeTimeoutAtEnd = "200 millis"

/** Besides the connections there may be a part of so many refusals that are just told, */
const refusalsShare = 20

/** and at most so many. */
const maxRefusals = 1000

/** Serves the connections of a server, until the scope ends; then it refuses new ones until those there are have ended. */
export const serve = Effect.fnUntraced(function*(
  pipeline: Pipeline.Pipeline,
  server: UpgradeServer["Service"],
  options: Options
): Effect.fn.Return<void, never, Scope.Scope> {
  const connections = new Connections(pipeline, options, yield* Effect.context<never>())
  yield* server.handle((request, socket, head) => connections.take(request, socket, head))
  yield* Effect.addFinalizer(() => connections.end)
  yield* Effect.forkScoped(connections.heartbeat)
})

/** A handshake that the application is still deciding over. */
interface Handshake {
  readonly fiber: Fiber.Fiber<Pipeline.Session, Pipeline.HandshakeRefused>
  /** When it is interrupted, in milliseconds of the clock. */
  readonly deadline: number
  /** What it is refused with when it is interrupted. */
  interrupted: Pipeline.HandshakeRefused
}

/** A connection after its upgrade. */
interface Live {
  readonly session: Pipeline.Session
  readonly transport: WsTransport
  readonly fiber: Fiber.Fiber<unknown>
  /** Heartbeats since the last sign of life. */
  silent: number
}

/** The connections of a server. */
export class Connections {
  readonly #pipeline: Pipeline.Pipeline
  readonly #options: Options
  readonly #context: Context.Context<never>
  readonly #wss: WebSocketServer
  readonly #refusals: Refusals
  readonly #handshakes = new Set<Handshake>()
  readonly #live = new Set<Live>()
  readonly #idPrefix = randomBytes(6).toString("base64url")
  #lastId = 0
  #isEnding = false
  /** What is answered to the client that is being upgraded. */
  #subprotocol: string | undefined

  constructor(pipeline: Pipeline.Pipeline, options: Options, context: Context.Context<never>) {
    this.#pipeline = pipeline
    this.#options = options
    this.#context = context
    const settings = {
      noServer: true,
      clientTracking: false,
      maxPayload: options.maxFrame,
      perMessageDeflate: options.compression,
      closeTimeout,
      handleProtocols: () => this.#subprotocol ?? false
    }
    this.#wss = new WebSocketServer(settings)
    this.#refusals = new Refusals(Math.min(Math.ceil(options.maxConnections / refusalsShare), maxRefusals))
  }

  /** Takes an upgrade request, if it is for one of the consumers. */
  take(request: IncomingMessage, socket: Socket, head: Buffer): boolean {
    if (!this.#pipeline.has(request.url ?? "")) return false
    socket.on("error", ignore)
    const refused = this.#refuseAtOnce(request)
    if (refused !== undefined) {
      this.#refusals.refuse(refused, request, socket, head)
      return true
    }
    const fiber = Effect.runForkWith(this.#context)(this.#pipeline.connect({
      id: `${this.#idPrefix}-${++this.#lastId}`,
      url: request.url ?? "",
      headers: headersOf(request),
      remoteAddress: socket.remoteAddress
    }))
    const exit = fiber.pollUnsafe()
    if (exit === undefined) this.#await(fiber, request, socket, head)
    else this.#decided(exit, stopping, request, socket, head)
    return true
  }

  #await(fiber: Handshake["fiber"], request: IncomingMessage, socket: Socket, head: Buffer): void {
    const early = new Early(socket, head, this.#options.maxFrame, () => fiber.interruptUnsafe())
    const deadline = this.#now() + Duration.toMillis(this.#options.handshakeTimeout)
    const handshake: Handshake = { fiber, deadline, interrupted: stopping }
    this.#handshakes.add(handshake)
    fiber.addObserver((exit) => {
      this.#handshakes.delete(handshake)
      this.#decided(exit, handshake.interrupted, request, socket, early.take())
    })
    if (this.#isEnding) fiber.interruptUnsafe()
  }

  /** What can be decided without the application. */
  #refuseAtOnce(request: IncomingMessage): Pipeline.HandshakeRefused | undefined {
    if (this.#isEnding) return stopping
    const problem = Http.problemOf(request)
    if (problem !== undefined) return Pipeline.refuse(new ChannelError.InvalidEnvelope({ message: problem }))
    if (this.#options.origins !== "*" && !Origin.isAllowed(request.headers, this.#options.origins)) {
      const message = `Pages of ${request.headers.origin} may not connect: list the origin on the server`
      return Pipeline.refuse(new ChannelError.PermissionDenied({ message, code: "origin_not_allowed" }))
    }
    if (this.#live.size + this.#handshakes.size >= this.#options.maxConnections) {
      return tooMany
    }
    return undefined
  }

  #decided(
    exit: Exit.Exit<Pipeline.Session, Pipeline.HandshakeRefused>,
    interrupted: Pipeline.HandshakeRefused,
    request: IncomingMessage,
    socket: Socket,
    head: Buffer
  ): void {
    if (exit._tag === "Success") return this.#upgrade(exit.value, request, socket, head)
    if (Cause.hasDies(exit.cause)) {
      Effect.runForkWith(this.#context)(Effect.logError("A handshake broke", exit.cause))
      return this.#refusals.refuse(Pipeline.broken, request, socket, head)
    }
    const refused = Option.getOrElse(Cause.findErrorOption(exit.cause), () => interrupted)
    this.#refusals.refuse(refused, request, socket, head)
  }

  #upgrade(session: Pipeline.Session, request: IncomingMessage, socket: Socket, head: Buffer): void {
    let isUpgraded = false
    this.#subprotocol = session.subprotocol
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      isUpgraded = true
      socket.off("error", ignore)
      socket.resume()
      this.#start(session, new WsTransport(ws, socket))
    })
    if (!isUpgraded) Effect.runForkWith(this.#context)(session.abandon)
  }

  #start(session: Pipeline.Session, transport: WsTransport): void {
    const fiber = Effect.runForkWith(this.#context)(session.run(transport))
    const live = { session, transport, fiber, silent: 0 }
    this.#live.add(live)
    fiber.addObserver(() => this.#live.delete(live))
  }

  #now(): number {
    return Context.get(this.#context, Clock.Clock).currentTimeMillisUnsafe()
  }

  /** Pings connections that are silent, drops those that stay so, and ends handshakes that take too long. */
  get heartbeat(): Effect.Effect<void> {
    const pingInterval = Duration.toMillis(this.#options.pingInterval)
    const pongTimeout = Duration.toMillis(this.#options.pongTimeout)
    const tick = Math.max(
      10,
      Math.min(pingInterval, pongTimeout, Duration.toMillis(this.#options.handshakeTimeout)) / 5
    )
    const pingAt = Math.ceil(pingInterval / tick)
    const dropAt = pingAt + Math.ceil(pongTimeout / tick)
    return Effect.sync(() => {
      for (const live of this.#live) {
        live.silent = live.transport.takeAlive() ? 0 : live.silent + 1
        if (live.silent === pingAt) live.transport.ping()
        else if (live.silent >= dropAt) live.transport.terminate()
      }
      const now = this.#now()
      for (const handshake of this.#handshakes) {
        if (handshake.deadline > now) continue
        handshake.interrupted = tooSlow
        handshake.fiber.interruptUnsafe()
      }
    }).pipe(Effect.repeat(Schedule.spaced(tick)), Effect.asVoid)
  }

  /** Takes no more handshakes and messages, lets what is in flight finish, and ends every connection. */
  get end(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      this.#isEnding = true
      yield* Fiber.interruptAll(Array.from(this.#handshakes, ({ fiber }) => fiber))
      const live = Array.from(this.#live)
      yield* Effect.forEach(live, ({ session }) => session.drain(this.#options.drainTimeout), {
        concurrency: "unbounded"
      })
      const ended = Fiber.awaitAll(live.map(({ fiber }) => fiber))
      const allEnded = Effect.andThen(ended, this.#refusals.gone)
      // In a fiber of its own: a server that stops is one that has been interrupted, and would not wait.
      yield* Effect.flatMap(Effect.forkDetach(Effect.timeoutOption(allEnded, closeTimeoutAtEnd)), Fiber.await)
      for (const { transport } of this.#live) transport.terminate()
      yield* ended
      yield* Effect.sync(() => {
        this.#refusals.end()
        this.#wss.close()
      })
    })
  }
}

/**
 * What a client sends before it has been answered, and whether it is still there: only who reads a socket learns that it has
 * ended.
 */
class Early {
  readonly #socket: Socket
  readonly #chunks: Array<Buffer>
  readonly #limit: number
  readonly #onGone: () => void
  #size = 0

  constructor(socket: Socket, head: Buffer, limit: number, onGone: () => void) {
    this.#socket = socket
    this.#onGone = onGone
    this.#chunks = [head]
    this.#limit = limit
    socket.on("data", this.#onData)
    socket.on("end", this.#onGone)
    socket.on("close", this.#onGone)
  }

  /** Stops reading, and gives what was read. */
  take(): Buffer {
    this.#socket.off("data", this.#onData)
    this.#socket.off("end", this.#onGone)
    this.#socket.off("close", this.#onGone)
    this.#socket.pause()
    return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    if (this.#size > this.#limit) this.#socket.pause()
  }
}

const unavailable = (message: string): Pipeline.HandshakeRefused =>
  Pipeline.refuse(new ChannelError.Unavailable({ message }), { retryAfter: Http.retryAfter })

const tooMany = unavailable("The server has too many connections")

const tooSlow = unavailable("The handshake took too long")

const stopping = unavailable("The server is stopping")

/** Without a prototype, so that a header named as one of its properties is not found unless it was sent. */
const headersOf = (request: IncomingMessage): Readonly<Record<string, string>> =>
  Object.setPrototypeOf(request.headers, null)

const ignore = (): void => {}
