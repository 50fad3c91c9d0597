/**
 * What time it is, for what expires.
 */
import type * as Effect from "effect/Effect"

/** What time it is, where that is not for Redis to say. */
export interface Time {
  readonly now: Effect.Effect<number>
  /** How much longer keys live than that time says, in milliseconds of Redis. */
  readonly slack: number
}
