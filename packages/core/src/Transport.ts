/**
 * How the pipeline speaks to one connection. An adapter makes one of what its platform has; {@link fromSocket} makes one of
 * any platform socket, {@link makeMemory} one for tests.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"

/**
 * One connection, as the pipeline sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transport {
  /**
   * Reads until the connection has ended, and gives the frames to `receive` as they arrive, batch by batch: a string for
   * a text frame, bytes for a binary one. Succeeds with how the connection ended; to interrupt it is to drop the
   * connection.
   */
  readonly run: (receive: (frames: ReadonlyArray<string | Uint8Array>) => void) => Effect.Effect<Closed>
  /**
   * Sends a frame: a string as text, bytes as a binary one. What is sent in one tick may leave in one write. After the connection
   * has ended it does nothing. Nobody writes to the bytes any more.
   */
  readonly send: (frame: string | Uint8Array<ArrayBuffer> | SharedFrame) => void
  /** The bytes that were sent and have not left yet. */
  readonly unsent: () => number
  /** Completes when nearly everything has left, or the connection has ended; then `run` has completed before. */
  readonly drained: Effect.Effect<void>
  /** Stops reading, so that the client has to wait. */
  readonly pause: () => void
  /** Reads on after {@link pause}. */
  readonly resume: () => void
  /** Asks the peer for a sign of life, where the transport can. */
  readonly ping: () => void
  /** Starts to close the connection: what was sent before leaves first. */
  readonly close: (code: number, reason?: string) => void
}

/**
 * How a connection ended: the WebSocket close code (RFC 6455, 7.4; 1005 without one, 1006 without a close frame).
 *
 * @category models
 * @since 0.1.0
 */
export interface Closed {
  readonly code: number
  readonly reason: string
}

/**
 * A frame for many connections, text or bytes: what a transport makes of it is made once.
 *
 * @category models
 * @since 0.1.0
 */
export class SharedFrame {
  readonly content: string | Uint8Array<ArrayBuffer>
  readonly #encoded = new Map<string, unknown>()
  constructor(content: string | Uint8Array<ArrayBuffer>) {
    this.content = content
  }
  /** The frame as this kind of transport sends it; `encode` is called at most once for each kind. */
  encoded<A>(kind: string, encode: (content: string | Uint8Array<ArrayBuffer>) => A): A {
    if (!this.#encoded.has(kind)) this.#encoded.set(kind, encode(this.content))
    return this.#encoded.get(kind) as A
  }
}

const contentOf = (frame: string | Uint8Array<ArrayBuffer> | SharedFrame): string | Uint8Array<ArrayBuffer> =>
  frame instanceof SharedFrame ? frame.content : frame

/**
 * Makes a transport of any platform socket. A platform socket has no ping, and does not say what is left unsent: what
 * counts as unsent is what its writer has not accepted yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromSocket = Effect.fnUntraced(function*(
  socket: Socket.Socket
): Effect.fn.Return<Transport, never, Scope.Scope> {
  const writer = yield* socket.writer
  const outbox = yield* Queue.unbounded<string | Uint8Array | Socket.CloseEvent>()
  const readable = yield* Latch.make(true)
  const idle = yield* Latch.make(true)
  /** What arrived while nothing was to be read: two batches at most, so that the end of the connection is still seen. */
  const held: Array<ReadonlyArray<string | Uint8Array>> = []
  let receive: (frames: ReadonlyArray<string | Uint8Array>) => void = constVoid
  let isPaused = false
  let unsent = 0
  let ended = false

  const write = Effect.gen(function*() {
    const next = yield* Queue.take(outbox)
    yield* writer.write(next)
    if (Socket.isCloseEvent(next)) return
    unsent -= next.length
    if (unsent === 0) idle.openUnsafe()
  }).pipe(Effect.forever)

  const read = Effect.gen(function*() {
    const { pull } = yield* socket.reader
    while (true) {
      const frames = yield* pull
      if (isPaused) held.push(frames)
      else receive(frames)
      if (held.length > 1) yield* readable.await
    }
  })

  const deliverHeld = (): void => {
    const frames = held.shift()
    if (frames === undefined) {
      readable.openUnsafe()
      return
    }
    receive(frames)
    if (!isPaused) deliverHeld()
  }

  return {
    run: (handler) =>
      Effect.suspend(() => {
        receive = handler
        return Effect.raceFirst(read, write)
      }).pipe(
        Effect.catch((error) => Effect.succeed(closedOf(error))),
        Effect.ensuring(Effect.suspend(() => {
          ended = true
          // Later: who waits for the end learns of it first.
          return Effect.forkDetach(idle.open)
        })),
        Effect.scoped
      ),
    send: (frame) => {
      if (ended) return
      const content = contentOf(frame)
      unsent += content.length
      idle.closeUnsafe()
      Queue.offerUnsafe(outbox, content)
    },
    unsent: () => unsent,
    drained: idle.await,
    pause: () => {
      isPaused = true
      readable.closeUnsafe()
    },
    resume: () => {
      isPaused = false
      deliverHeld()
    },
    ping: () => {},
    close: (code, reason) => {
      Queue.offerUnsafe(outbox, new Socket.CloseEvent(code, reason))
    }
  }
})

const closedOf = (error: Socket.SocketError): Closed =>
  error.reason._tag === "SocketCloseError"
    ? { code: error.reason.code, reason: error.reason.closeReason ?? "" }
    : { code: 1006, reason: error.message }

/**
 * The client's end of an in-memory transport.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryPeer {
  /** Sends frames to the server, in one batch. */
  readonly send: (...frames: ReadonlyArray<string | Uint8Array>) => Effect.Effect<void>
  /** Takes the next frame that the server sent; fails with how the connection ended when there is none left. */
  readonly takeFrame: Effect.Effect<string | Uint8Array<ArrayBuffer>, Closed>
  /** The same where all of them are text; a binary one is a defect. */
  readonly take: Effect.Effect<string, Closed>
  /** How the connection ended. */
  readonly closed: Effect.Effect<Closed>
  /** Closes the connection from the client's side. */
  readonly close: (code?: number, reason?: string) => Effect.Effect<void>
}

/**
 * Makes a transport in memory, and the client's end of it. Nothing is lost and nothing takes time; a frame that the client
 * has not taken yet counts as unsent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMemory: Effect.Effect<readonly [transport: Transport, peer: MemoryPeer]> = Effect.gen(function*() {
  const toClient = yield* Queue.unbounded<string | Uint8Array<ArrayBuffer>, Closed>()
  const closed = yield* Deferred.make<Closed>()
  const idle = yield* Latch.make(true)
  const held: Array<string | Uint8Array> = []
  let receive: ((frames: ReadonlyArray<string | Uint8Array>) => void) | undefined
  let isPaused = false
  let isClosed = false
  let unsent = 0

  const deliver = () => {
    if (isPaused || receive === undefined || held.length === 0) return
    receive(held.splice(0))
  }
  const end = (event: Closed) => {
    if (isClosed) return
    isClosed = true
    Deferred.doneUnsafe(closed, Effect.succeed(event))
    Queue.failCauseUnsafe(toClient, Cause.fail(event))
    idle.openUnsafe()
  }
  const transport: Transport = {
    run: (handler) =>
      Effect.suspend(() => {
        receive = handler
        deliver()
        return Deferred.await(closed)
      }).pipe(Effect.ensuring(Effect.sync(() => end({ code: 1006, reason: "" })))),
    send: (frame) => {
      if (isClosed) return
      const content = contentOf(frame)
      unsent += content.length
      idle.closeUnsafe()
      Queue.offerUnsafe(toClient, content)
    },
    unsent: () => unsent,
    drained: idle.await,
    pause: () => {
      isPaused = true
    },
    resume: () => {
      isPaused = false
      deliver()
    },
    ping: () => {},
    close: (code, reason = "") => end({ code, reason })
  }
  const takeFrame = Effect.tap(Queue.take(toClient), (content) =>
    Effect.sync(() => {
      unsent -= content.length
      if (unsent === 0) idle.openUnsafe()
    }))
  const peer: MemoryPeer = {
    send: (...frames) =>
      Effect.sync(() => {
        if (isClosed) return
        held.push(...frames)
        deliver()
      }),
    takeFrame,
    take: Effect.flatMap(takeFrame, (frame) =>
      typeof frame === "string"
        ? Effect.succeed(frame)
        : Effect.die(new TypeError("The server has sent a binary frame: take it with takeFrame"))),
    closed: Deferred.await(closed),
    close: (code = 1000, reason = "") => Effect.sync(() => end({ code, reason }))
  }
  return [transport, peer] as const
})
