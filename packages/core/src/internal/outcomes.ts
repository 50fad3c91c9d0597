/**
 * Outcomes in memory, and the claims of those who work on one.
 */
import * as Effect from "effect/Effect"
import type { Attempt, Claimed, Outcome } from "../Idempotency.ts"

/** An outcome that is remembered. */
interface Kept {
  readonly fingerprint: string
  readonly known: Effect.Effect<Claimed>
  /** Until when, in milliseconds since 1970. */
  readonly until: number
}

/** What somebody is just doing. */
interface Claim {
  readonly attempt: Attempt
  /** Those who wait for what comes of it. */
  readonly waiting: Set<() => void>
}

const claimed: Effect.Effect<Claimed> = Effect.succeed({ _tag: "Claimed" })
const reused: Effect.Effect<Claimed> = Effect.succeed({ _tag: "Reused" })

/** Outcomes by their keys: no more of them than so many. */
export class Outcomes {
  readonly #max: number
  readonly #claims = new Map<string, Claim>()
  /** From the oldest to the newest. */
  readonly #kept = new Map<string, Kept>()

  constructor(max: number) {
    this.#max = max
  }

  get size(): { readonly outcomes: number; readonly claims: number } {
    return { outcomes: this.#kept.size, claims: this.#claims.size }
  }

  /** Claims a key, or tells what has come of it; `undefined` where another attempt has it. */
  claim(attempt: Attempt, now: number): Effect.Effect<Claimed> | undefined {
    this.#sweep(now)
    const kept = this.#kept.get(attempt.key)
    if (kept !== undefined && kept.until > now) {
      return kept.fingerprint === attempt.fingerprint ? kept.known : reused
    }
    const claim = this.#claims.get(attempt.key)
    if (claim === undefined) this.#claims.set(attempt.key, { attempt, waiting: new Set() })
    else if (claim.attempt.fingerprint !== attempt.fingerprint) return reused
    else if (claim.attempt.id !== attempt.id) return undefined
    return claimed
  }

  has({ id, key }: Attempt): boolean {
    return this.#claims.get(key)?.attempt.id === id
  }

  /** Waits until something has come of a claim. */
  wait(key: string): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const claim = this.#claims.get(key)
      if (claim === undefined) return resume(Effect.void)
      const told = () => resume(Effect.void)
      claim.waiting.add(told)
      return Effect.sync(() => void claim.waiting.delete(told))
    })
  }

  keep(attempt: Attempt, outcome: Outcome, until: number): void {
    const { fingerprint, key } = attempt
    if (!this.has(attempt)) return
    this.#kept.delete(key)
    this.#kept.set(key, { fingerprint, known: Effect.succeed({ _tag: "Known", outcome }), until })
    if (this.#kept.size > this.#max) this.#forgetOldest()
    this.#end(key)
  }

  release(attempt: Attempt): void {
    if (this.has(attempt)) this.#end(attempt.key)
  }

  #end(key: string): void {
    const { waiting } = this.#claims.get(key)!
    this.#claims.delete(key)
    for (const told of waiting) told()
  }

  /** What is older is mostly over earlier. One that is not is found out when somebody asks for it, or when there is no more room. */
  #sweep(now: number): void {
    for (const [key, { until }] of this.#kept) {
      if (until > now) return
      this.#kept.delete(key)
    }
  }

  #forgetOldest(): void {
    const [oldest] = this.#kept.keys()
    this.#kept.delete(oldest!)
  }
}
