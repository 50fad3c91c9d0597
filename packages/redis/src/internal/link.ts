/**
 * The way to Redis, which is there or not: what is asked of it while it is not fails at once.
 */
import * as ChannelError from "@effect-channels/core/ChannelError"
import { ErrorReply } from "@redis/client"
import * as Effect from "effect/Effect"
import type { Metrics } from "./metrics.ts"
import type { Session } from "./session.ts"

/** An event that has not been acknowledged. */
interface Kept {
  readonly channel: string
  readonly text: string
  /** Tells whoever sent it, once. */
  readonly answer: (outcome: Effect.Effect<void, ChannelError.Unavailable>) => void
}

export class Link {
  readonly #metrics: Metrics
  /** How many events are kept while Redis cannot be reached; `undefined` where they fail. */
  readonly #capacity: number | undefined
  readonly #onRefused: (error: Error) => void
  #session: Session | undefined
  /** What has not been acknowledged, the oldest first. */
  readonly #kept = new Set<Kept>()

  constructor(metrics: Metrics, capacity: number | undefined, onRefused: (error: Error) => void) {
    this.#metrics = metrics
    this.#capacity = capacity
    this.#onRefused = onRefused
  }

  /** The session, while Redis can be reached. */
  get session(): Session | undefined {
    // It may have been lost while nobody has been told yet.
    return this.#session?.failure === undefined ? this.#session : undefined
  }

  /** How everything fails that needs Redis. What Redis says is for the log, not for clients. */
  readonly refuse: Effect.Effect<never, ChannelError.Unavailable> = Effect.suspend(() => {
    this.#metrics.failed()
    return Effect.fail(
      new ChannelError.Unavailable({ message: "The servers cannot reach each other: try again later" })
    )
  })

  /** Does something with Redis. */
  use<A>(f: (session: Session) => Promise<A>): Effect.Effect<A, ChannelError.Unavailable> {
    return Effect.callback((resume) => {
      const { session } = this
      if (session === undefined) return resume(this.refuse)
      f(session).then(
        (value) => resume(Effect.succeed(value)),
        (error: unknown) => resume(this.#refused(error))
      )
    })
  }

  /**
   * Publishes what somebody says, who says it even when it cannot be published. Nothing comes between saying and publishing, so
   * that all is published in the order in which it is said.
   */
  tell(channel: string, say: () => string): Effect.Effect<void, ChannelError.Unavailable> {
    return Effect.callback((resume) => {
      const text = say()
      const { session } = this
      if (session === undefined) return resume(this.refuse)
      publish(session, channel, text).then(
        () => resume(Effect.void),
        (error: unknown) => resume(this.#refused(error))
      )
    })
  }

  /** Publishes as {@link tell} does, and where events are kept, keeps what cannot be published now. */
  send(channel: string, say: () => string): Effect.Effect<void, ChannelError.Unavailable> {
    if (this.#capacity === undefined) return this.tell(channel, say)
    const capacity = this.#capacity
    return Effect.callback((resume) => {
      const text = say()
      const { session } = this
      const kept: Kept = { channel, text, answer: resume }
      if (session !== undefined) {
        this.#kept.add(kept)
        this.#write(session, kept)
      } else if (this.#kept.size < capacity) {
        this.#kept.add(kept)
        this.#metrics.buffered(this.#kept.size)
        resume(Effect.void)
      } else {
        this.#metrics.dropped("buffer_full")
        resume(this.refuse)
      }
    })
  }

  /** Redis can be reached: what was kept goes out, in order, before anything else does. */
  up(session: Session): void {
    this.#session = session
    for (const kept of this.#kept) this.#write(session, kept)
    this.#metrics.connected(true)
    this.#metrics.buffered(0)
  }

  /** Redis cannot be reached. */
  down(): void {
    this.#session = undefined
    this.#metrics.connected(false)
    if (this.#capacity === undefined) return
    let room = this.#capacity
    for (const kept of this.#kept) {
      // It may have been published, and is published once more: it has the same number, and is heard once.
      if (room-- > 0) kept.answer(Effect.void)
      else this.#drop(kept)
    }
    this.#metrics.buffered(this.#kept.size)
  }

  #write(session: Session, kept: Kept): void {
    publish(session, kept.channel, kept.text).then(
      () => {
        this.#kept.delete(kept)
        kept.answer(Effect.void)
      },
      (error: unknown) => {
        // Where the session was lost, it is kept.
        if (!(error instanceof ErrorReply)) return
        this.#kept.delete(kept)
        kept.answer(this.#refused(error))
      }
    )
  }

  #drop(kept: Kept): void {
    this.#kept.delete(kept)
    this.#metrics.dropped("buffer_full")
    kept.answer(this.refuse)
  }

  #refused(error: unknown): Effect.Effect<never, ChannelError.Unavailable> {
    if (error instanceof ErrorReply) this.#onRefused(error)
    return this.refuse
  }
}

const publish = (session: Session, channel: string, text: string): Promise<unknown> =>
  session.run("PUBLISH", channel, text)
