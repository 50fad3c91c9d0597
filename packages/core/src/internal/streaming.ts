/**
 * Streams as replies. The items of a stream go out one by one, each as a reply with status 206, as far as the client reads them
 * and the authority of its connection holds: an item waits while that is decided anew, and while more than a window of bytes is
 * unsent; meanwhile the stream is not pulled. Streams of one connection take turns.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { Request } from "../Handlers.ts"
import type { Transport } from "../Transport.ts"
import { itemStatus } from "./answers.ts"
import type * as compile from "./compile.ts"
import type { Eager } from "./eager.ts"
import type * as Envelope from "./envelope.ts"
import { windowOf } from "./mailbox.ts"
import type { Standing } from "./standing.ts"
import type { Frame, Replies, Wire } from "./wire.ts"

/** The connection that streams go out on. */
export interface Host {
  /** Where items are sent; not there before the connection is upgraded. */
  readonly transport: Transport | undefined
  readonly wire: Wire
  /** Whether it is being decided anew. */
  readonly isChanging: boolean
  /** Whether nothing is sent any more. */
  readonly isOver: boolean
  /** So many bytes may wait to be sent. */
  readonly maxUnsent: number
  readonly fork: (effect: Effect.Effect<void, never, unknown>) => Fiber.Fiber<void>
}

/**
 * Where the streams of one connection wait until they may send, the one that has waited longest first. Once one has to wait for the
 * client, all of them do until it has read what there is.
 */
export class Outlet {
  readonly #host: Host
  readonly #waiting = new Set<() => void>()
  #isDraining = false

  constructor(host: Host) {
    this.#host = host
  }

  /** Sends a frame. */
  send(frame: Frame): void {
    this.#host.transport!.send(frame)
  }

  get wire(): Wire {
    return this.#host.wire
  }

  /** How much is sent in one go, as frames count it. */
  get window(): number {
    return windowOf(this.#host.maxUnsent)
  }

  /** Whether a stream that is still permitted may send. */
  get isOpen(): boolean {
    const { isChanging, isOver, transport } = this.#host
    if (isChanging || isOver || transport === undefined || this.#isDraining) return false
    if (transport.unsent() <= this.window) return true
    this.#drain(transport)
    return !this.#isDraining
  }

  /** Waits for the next turn of a stream. */
  turn(subject: Subject): Effect.Effect<void> {
    return Effect.callback((resume) => {
      // What it has to wait for may be over since it was looked at.
      if (mayLeave(subject, this)) return resume(Effect.void)
      const next = () => resume(Effect.void)
      this.#waiting.add(next)
      return Effect.sync(() => {
        this.#waiting.delete(next)
      })
    })
  }

  /** Gives all streams that wait a turn, as far as it goes. */
  pump(): void {
    // One that waits again is not meant: what it waits for is something else.
    for (let left = this.#waiting.size; left > 0 && this.isOpen; left--) {
      const next: (() => void) | undefined = this.#waiting.values().next().value
      if (next === undefined) return
      this.#waiting.delete(next)
      next()
    }
  }

  /** Goes on when what was given to the transport has left: mostly that is so at once. */
  #drain(transport: Transport): void {
    this.#isDraining = true
    let isNow = true
    this.#host.fork(Effect.map(transport.drained, () => {
      this.#isDraining = false
      if (!isNow) this.pump()
    }))
    isNow = false
  }
}

/** The request that a stream answers. */
export interface Subject {
  readonly envelope: Envelope.Echo
  readonly endpoint: compile.Endpoint | undefined
  /** Whether what let it in no longer counts. */
  readonly isOutdated: boolean
  /** Whether it has been answered, and nothing may follow. */
  readonly isAnswered: boolean
  /** By which state of its connection it was let in. */
  readonly epoch: number
  /** What the library's own handlers know of it, where one has asked. */
  readonly inside: Inside | undefined
}

/** Whether an item of a stream may leave now. */
const mayLeave = (subject: Subject, outlet: Outlet): boolean =>
  !subject.isOutdated && !subject.isAnswered && outlet.isOpen

/** An item that is JSON already. */
export class Encoded {
  readonly json: string
  constructor(json: string) {
    this.json = json
  }
}

/** One stream on its way to the client. */
export class Streaming {
  /** Sends all items. Fails as the stream does; an item that cannot be encoded is a defect. */
  readonly run: Effect.Effect<void, unknown, unknown>
  readonly #subject: Subject
  readonly #outlet: Outlet
  readonly #encode: compile.Endpoint["encodeSuccess"]
  readonly #items: Replies
  /** How much was sent without letting others go on. */
  #sent = 0

  constructor(stream: Stream.Stream<unknown, unknown, unknown>, subject: Subject, outlet: Outlet) {
    const { encodeSuccess, json } = subject.endpoint!
    this.#subject = subject
    this.#outlet = outlet
    this.#encode = encodeSuccess
    this.#items = outlet.wire.replies(subject.envelope, itemStatus, json)
    this.run = Effect.andThen(
      Effect.suspend(() => this.#pause()),
      Stream.runForEachArray(stream, (items) => this.#send(items, 0))
    )
  }

  /** Waits before the stream is pulled, as long as its items could not leave. */
  #pause(): Effect.Effect<void> {
    if (!mayLeave(this.#subject, this.#outlet)) {
      return Effect.flatMap(this.#outlet.turn(this.#subject), () => this.#pause())
    }
    const { inside } = this.#subject
    if (inside !== undefined) inside.offer = this.#offer
    return Effect.void
  }

  /** Sends an item past the stream, if it may leave now. */
  readonly #offer = (json: string): boolean => {
    if (!mayLeave(this.#subject, this.#outlet)) return false
    this.#outlet.send(this.#items.ofJson(json))
    return true
  }

  /** Sends the items from one of them on; `made` is the frame of that one, which was asked about in the state `asked`. */
  #send(
    items: ReadonlyArray<unknown>,
    from: number,
    made?: Frame,
    asked?: number
  ): Effect.Effect<void, never, unknown> {
    const outlet = this.#outlet
    const subject = this.#subject
    for (let i = from; i < items.length; i++) {
      const frame = i === from && made !== undefined ? made : this.#frameOf(items[i])
      if (Effect.isEffect(frame)) return Effect.flatMap(frame, (frame) => this.#send(items, i, frame))
      if (!mayLeave(subject, outlet)) {
        return Effect.flatMap(outlet.turn(subject), () => this.#send(items, i, frame, asked))
      }
      const { epoch, inside } = subject
      if (inside?.recheck !== undefined && (i !== from || epoch !== asked)) {
        const holds = inside.recheck(items[i])
        if (Effect.isEffect(holds)) {
          return Effect.flatMap(holds, (holds) => holds ? this.#send(items, i, frame, epoch) : this.#send(items, i + 1))
        }
        if (!holds) continue
      }
      outlet.send(frame)
      this.#sent += frame.length
      if (this.#sent > outlet.window) {
        this.#sent = 0
        return Effect.flatMap(Effect.yieldNow, () => this.#send(items, i + 1))
      }
    }
    return this.#pause()
  }

  /** The frame of an item. */
  #frameOf(item: unknown): Eager<Frame> {
    try {
      if (item instanceof Encoded) return this.#items.ofJson(item.json)
      const encoded = this.#encode === undefined ? nothing : this.#encode(item)
      return Exit.isExit(encoded) && encoded._tag === "Success"
        ? this.#items.of(encoded.value)
        : Effect.map(Effect.orDie(encoded), this.#items.of)
    } catch (defect) {
      return Effect.die(defect)
    }
  }
}

const nothing = Exit.succeed(null)

/**
 * What a handler of the library's own, a live query say, finds out about its request with {@link insideOf}, besides what every
 * handler does.
 *
 * When the facts have changed that a connection was decided by, all of its streams stop where they are: no item leaves, and none
 * is asked for. Those that are still permitted then go on, after they have been told (see {@link Inside.onAuthority}). An item
 * that was given before may be taken back (see {@link Inside.recheck}).
 */
export class Inside {
  /** What permissions are decided by for this connection: `standing.decide(tree, facts, undefined)`. */
  readonly standing: Standing
  readonly consumer: compile.Consumer
  readonly route: compile.Route
  readonly endpoint: compile.Endpoint
  /**
   * Whether an item may leave: one that was given by facts that no longer count may not, and is left out. It is asked about each
   * item right before that leaves, and again where facts change meanwhile. Its defect is the stream's.
   */
  recheck: ((item: unknown) => Eager<boolean>) | undefined
  /**
   * Sends an item, as JSON, past the stream, if it may leave now; tells whether it did. Only for a handler whose stream is asked for
   * its next item, and has none.
   */
  offer: (json: string) => boolean = () => false
  readonly #listeners = new Set<() => void>()

  constructor(
    standing: Standing,
    consumer: compile.Consumer,
    route: compile.Route,
    endpoint: compile.Endpoint
  ) {
    this.standing = standing
    this.consumer = consumer
    this.route = route
    this.endpoint = endpoint
  }

  /**
   * Calls a function each time that the connection has been decided anew and the request is still permitted, until the function
   * that it gives is called. It is called before the next item leaves. It must not throw.
   */
  onAuthority(listener: () => void): () => void {
    // A function of its own: somebody may give the same one twice.
    const own = () => listener()
    this.#listeners.add(own)
    return () => {
      this.#listeners.delete(own)
    }
  }

  /** Tells all who want to know. */
  tell(): void {
    for (const listener of Array.from(this.#listeners)) listener()
  }
}

/** Where a request carries its {@link Inside}. */
export const inside: unique symbol = Symbol("effect-channels/inside")

/** What the library's own handlers know of their request. The request must be the one that the handler was given. */
export const insideOf = (request: Request): Inside => (request as Request & { readonly [inside]: Inside })[inside]
