/**
 * How a client comes to a connection: by the `WebSocket` of the platform ({@link webSocket}), or in another way, in memory for
 * tests say.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Closed } from "./Transport.ts"

/**
 * Opens connections.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connector {
  /** Opens a connection, which lives as long as the scope. Fails where it does not come about. */
  readonly open: (request: Request) => Effect.Effect<Link, NotOpened, Scope.Scope>
  /** Calls a function whenever the network is back, until the function that it gives is called. */
  readonly onOnline?: ((listener: () => void) => () => void) | undefined
}

/**
 * What a connection is opened with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  readonly url: string
  /** The subprotocols that are offered, credentials among them. */
  readonly protocols: ReadonlyArray<string>
}

/**
 * A connection, as a client sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Link {
  /** The subprotocol that the server has chosen, `""` for none. */
  readonly protocol: string
  /** Gives the frames to `receive` as they arrive, those that have arrived before first; succeeds with how the connection ended. */
  readonly run: (receive: (frame: string | Uint8Array<ArrayBuffer>) => void) => Effect.Effect<Closed>
  /** Sends a frame; does nothing when the connection has ended. */
  readonly send: (frame: string | Uint8Array<ArrayBuffer>) => void
  /** Starts to close the connection: what was sent before leaves first. */
  readonly close: (code: number, reason: string) => void
}

/**
 * There is no connection: the server cannot be reached, or has refused the handshake without saying why.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotOpened extends Schema.TaggedError<NotOpened>()("NotOpened", { message: Schema.String }) {}

/** A `WebSocket` as far as it is used here; the types of the platforms differ. */
interface Socket {
  binaryType: string
  readonly readyState: number
  readonly protocol: string
  onopen: unknown
  onmessage: unknown
  onerror: unknown
  onclose: unknown
  send(data: string | Uint8Array<ArrayBuffer>): void
  close(code?: number, reason?: string): void
}

/** What the platform has, as far as it is used here. */
interface Platform {
  readonly WebSocket?: new(url: string, protocols: ReadonlyArray<string>) => Socket
  readonly addEventListener?: (type: string, listener: () => void) => void
  readonly removeEventListener?: (type: string, listener: () => void) => void
}

const platform = (): Platform => globalThis as never

const open = 1

/**
 * Connections over the `WebSocket` of the platform: of a page, a worker, or Node 22 and later. It is looked up when a connection is
 * opened. What arrives is read at once, as the platform cannot wait.
 *
 * @category constructors
 * @since 0.1.0
 */
export const webSocket: Connector = {
  open: ({ protocols, url }) =>
    Effect.flatMap(
      Effect.acquireRelease(
        Effect.suspend(() => {
          const { WebSocket } = platform()
          if (WebSocket === undefined) {
            return Effect.die(new Error("There is no WebSocket here: Node has one from version 22 on"))
          }
          try {
            return Effect.succeed(new WebSocket(url, protocols))
          } catch (cause) {
            // A URL or a subprotocol that is none: another attempt would not change that.
            return Effect.die(cause)
          }
        }),
        (socket) =>
          Effect.sync(() => {
            socket.onopen = socket.onmessage = socket.onclose = null
            socket.onerror = ignore
            socket.close()
          })
      ),
      connected
    ),
  onOnline: (listener) => {
    const { addEventListener, removeEventListener } = platform()
    if (addEventListener === undefined || removeEventListener === undefined) return ignore
    addEventListener("online", listener)
    return () => removeEventListener("online", listener)
  }
}

const ignore = (): void => {}

/** Waits until it is open. What arrives is held until it is read. */
const connected = (socket: Socket): Effect.Effect<Link, NotOpened> =>
  Effect.callback<Link, NotOpened>((resume) => {
    const held: Array<string | Uint8Array<ArrayBuffer>> = []
    let receive = (frame: string | Uint8Array<ArrayBuffer>): void => void held.push(frame)
    let closed: Closed | undefined
    let ended: ((closed: Effect.Effect<Closed>) => void) | undefined
    // What is sent in answer to all that one read has brought leaves together, when the rest of it has been dealt with.
    const unsent: Array<string | Uint8Array<ArrayBuffer>> = []
    const flush = (): void => {
      // One that is closing takes no more, and some platforms throw then.
      for (const frame of unsent.splice(0)) if (socket.readyState === open) socket.send(frame)
    }
    socket.binaryType = "arraybuffer"
    socket.onopen = () =>
      resume(Effect.succeed({
        protocol: socket.protocol,
        run: (listener) =>
          Effect.callback<Closed>((resume) => {
            receive = listener
            for (const frame of held.splice(0)) listener(frame)
            if (closed === undefined) ended = resume
            else resume(Effect.succeed(closed))
          }),
        send: (frame) => {
          if (unsent.push(frame) === 1) void Promise.resolve().then(flush)
        },
        close: (code, reason) => {
          flush()
          socket.close(code, reason)
        }
      }))
    socket.onmessage = ({ data }: { readonly data: string | ArrayBuffer }) =>
      receive(typeof data === "string" ? data : new Uint8Array(data))
    // All that it tells is that there was an error; the close event follows.
    socket.onerror = ignore
    socket.onclose = ({ code, reason }: Closed) => {
      closed = { code, reason }
      ended?.(Effect.succeed(closed))
      resume(Effect.fail(new NotOpened({ message: "The server cannot be reached, or has refused the handshake" })))
    }
  })
