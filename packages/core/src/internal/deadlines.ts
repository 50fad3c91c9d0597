/**
 * Points in time for many things at once, with one sleeper for all of them. They are kept by the second.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

const granularity = 1000

/** The full second at which a point in time is over. What is no time is over already. */
const secondOf = (at: number): number => Number.isNaN(at) ? -Infinity : Math.ceil(at / granularity) * granularity

/** Things that are due at some time. */
export class Deadlines<A> {
  readonly #context: Context.Context<never>
  readonly #due: (a: A) => void
  readonly #seconds = new Map<number, Set<A>>()
  #sleeper: Fiber.Fiber<void> | undefined
  #wakesAt = Infinity

  constructor(context: Context.Context<never>, due: (a: A) => void) {
    this.#context = context
    this.#due = due
  }

  /** How many things wait. */
  get size(): number {
    let size = 0
    for (const set of this.#seconds.values()) size += set.size
    return size
  }

  /** Has something be due then (milliseconds since 1970), less than a second later at the most. */
  add(a: A, at: number): void {
    if (at === Infinity) return
    const second = secondOf(at)
    const set = this.#seconds.get(second)
    if (set === undefined) this.#seconds.set(second, new Set([a]))
    else set.add(a)
    if (second < this.#wakesAt) this.#sleepUntil(second)
  }

  /** Takes something back that was due then. */
  remove(a: A, at: number): void {
    if (at === Infinity) return
    const second = secondOf(at)
    const set = this.#seconds.get(second)
    if (set?.delete(a) && set.size === 0) this.#seconds.delete(second)
    if (this.#seconds.size === 0) this.stop()
  }

  stop(): void {
    this.#sleeper?.interruptUnsafe()
    this.#sleeper = undefined
    this.#wakesAt = Infinity
  }

  #sleepUntil(time: number): void {
    this.stop()
    this.#wakesAt = time
    const now = Context.get(this.#context, Clock.Clock).currentTimeMillisUnsafe()
    const sleeper = Effect.runForkWith(this.#context)(
      Effect.andThen(Effect.sleep(Math.max(0, time - now)), Effect.sync(() => this.#wake()))
    )
    // One that is awake already may have set the next.
    if (sleeper.pollUnsafe() === undefined) this.#sleeper = sleeper
  }

  #wake(): void {
    const now = Context.get(this.#context, Clock.Clock).currentTimeMillisUnsafe()
    this.#sleeper = undefined
    this.#wakesAt = Infinity
    for (const [second, set] of this.#seconds) {
      if (second > now) continue
      this.#seconds.delete(second)
      set.forEach((a) => this.#due(a))
    }
    // A timer may ring a little early: then there is nothing due yet, and it is set again.
    let next = Infinity
    for (const second of this.#seconds.keys()) next = Math.min(next, second)
    if (next < this.#wakesAt) this.#sleepUntil(next)
  }
}
