/**
 * Values that are there at once in most cases, and effects of them in the others: the message path stays out of the fiber as
 * long as it can.
 */
import * as Effect from "effect/Effect"

/** A value, or an effect of one, to be run once. */
export type Eager<A, E = never> = A | Effect.Effect<A, E, unknown>

/** The effect of it. */
export const effectOf = <A, E = never>(self: Eager<A, E>): Effect.Effect<A, E, unknown> =>
  Effect.isEffect(self) ? self : Effect.succeed(self)

/** Goes on with the value, at once if it is there. */
export const andThen = <A, B, E = never>(self: Eager<A, E>, f: (a: A) => Eager<B, E>): Eager<B, E> =>
  Effect.isEffect(self) ? Effect.flatMap(self, (a) => effectOf(f(a))) : f(self)
