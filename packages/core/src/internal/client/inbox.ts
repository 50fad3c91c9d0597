/**
 * What has come and is not taken yet: where a stream of the client waits. A `Queue` would do as well, and weighs more than a page
 * needs.
 */
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { BufferOptions } from "../../Client.ts"

type Taken<A, E> = Effect.Effect<ReadonlyArray<A>, E | Cause.Done>

/** What one stream waits for. */
export class Inbox<A, E = never> {
  readonly #capacity: number
  readonly #isSliding: boolean
  #held: Array<A> = []
  #end: Effect.Effect<never, E | Cause.Done> | undefined
  #resume: ((taken: Taken<A, E>) => void) | undefined

  constructor(buffer?: BufferOptions) {
    this.#capacity = buffer?.capacity ?? Infinity
    this.#isSliding = buffer?.strategy === "sliding"
  }

  /** Puts something in, as far as there is room. */
  offer(value: A): void {
    if (this.#end !== undefined) return
    if (this.#held.length >= this.#capacity) {
      if (!this.#isSliding) return
      this.#held.shift()
    }
    this.#held.push(value)
    this.#wake()
  }

  /** Nothing more comes. */
  end(): void {
    this.#finish(Cause.done())
  }

  /** Nothing more comes: that is why. */
  fail(error: E): void {
    this.#finish(Effect.fail(error))
  }

  #finish(end: Effect.Effect<never, E | Cause.Done>): void {
    this.#end ??= end
    this.#wake()
  }

  #wake(): void {
    const resume = this.#resume
    this.#resume = undefined
    // Not before it is taken: whoever has waited may be interrupted meanwhile.
    resume?.(Effect.suspend(() => this.#now))
  }

  get #now(): Taken<A, E> {
    const held = this.#held
    if (held.length === 0) return this.#end!
    this.#held = []
    return Effect.succeed(held)
  }

  /** Takes all that there is, and waits for something where there is nothing. */
  readonly take: Taken<A, E> = Effect.suspend(() =>
    this.#held.length > 0 || this.#end !== undefined ? this.#now : Effect.callback((resume) => {
      this.#resume = resume
      return Effect.sync(() => {
        this.#resume = undefined
      })
    })
  )
}

/** A stream of what an inbox holds, which is made when the stream is run; each is made what it stands for, one after the other. */
export const streamOf = <A, B, E, E2, E3>(
  open: Effect.Effect<Inbox<A, E>, E2, Scope.Scope>,
  make: (value: A) => Effect.Effect<B, E3 | Cause.Done>
): Stream.Stream<B, E | E2 | E3> =>
  Stream.fromChannel(
    Channel.fromTransform((_, scope) => Effect.map(Scope.provide(open, scope), ({ take }) => pull(take, make)))
  )

type Failed<E> = Exit.Exit<never, E | Cause.Done>

const pull = <A, B, E, E2>(take: Taken<A, E>, make: (value: A) => Effect.Effect<B, E2 | Cause.Done>) => {
  let failed: Exit.Exit<unknown, E2 | Cause.Done> | undefined
  const makeAll = (values: ReadonlyArray<A>): Effect.Effect<readonly [B, ...Array<B>], E2 | Cause.Done> => {
    const made: Array<B> = []
    let i = 0
    const took = (exit: Exit.Exit<B, E2 | Cause.Done>): boolean => {
      if (exit._tag === "Success") made.push(exit.value)
      else failed = exit
      return exit._tag === "Success"
    }
    // What comes before one that fails, or is the end, is given first.
    const given = () =>
      made.length > 0 ? Effect.succeed(made as unknown as readonly [B, ...Array<B>]) : failed as Failed<E2>
    /** Makes all that are there at once, and waits for one that is not. */
    const goOn = (): Effect.Effect<readonly [B, ...Array<B>], E2 | Cause.Done> => {
      while (i < values.length) {
        const next = make(values[i++]!)
        if (!Exit.isExit(next)) return Effect.flatMap(Effect.exit(next), (exit) => took(exit) ? goOn() : given())
        if (!took(next as Exit.Exit<B, E2 | Cause.Done>)) break
      }
      return given()
    }
    return goOn()
  }
  return Effect.suspend(() => failed === undefined ? Effect.flatMap(take, makeAll) : failed as Failed<E2>)
}
