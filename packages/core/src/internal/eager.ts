/**
 * Values that are there at once in most cases, and effects of them in the others: the message path stays out of the fiber as
 * long as it can.
 */
import * as Effect from "effect/Effect"

/** A value, or an effect of one, to be run once. */
export type Eager<A> = A | Effect.Effect<A, never, unknown>

/** The effect of it. */
export const effectOf = <A>(self: Eager<A>): Effect.Effect<A, never, unknown> =>
  Effect.isEffect(self) ? self : Effect.succeed(self)

/** Goes on with the value, at once if it is there. */
export const andThen = <A, B>(self: Eager<A>, f: (a: A) => Eager<B>): Eager<B> =>
  Effect.isEffect(self) ? Effect.flatMap(self, (a) => effectOf(f(a))) : f(self)
