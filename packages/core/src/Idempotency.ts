/**
 * What is done once for each key, however often it is asked for: a client that has lost its connection before the reply came may send
 * its request again, and is answered with what came of the first one.
 *
 * An action says that it is done so with `idempotent: "key"`; a request brings the key as `idempotency_key`, a string of 1 to 255
 * characters, any other one is refused with 400. A client makes one for each call, of which nobody can guess the next (a random UUID),
 * and sends it with every attempt. Without a key, such an action is handled as any other one.
 *
 * ```json
 * { "action": "pay", "data": { "cents": 500 }, "request_id": 7, "idempotency_key": "0f4a7c0e-4f4b-4f0e-9c0e-6f1d2c7b8a90" }
 * ```
 *
 * - **What is remembered**: a success, and a declared error, whatever its status. Every other failure (403, 408, 429, 499, 503, a
 *   defect, a permission that was lost) is not, and the next attempt is done anew; so it is where the event of a broadcast could not be
 *   written to the history of its group. What is remembered is so for as long as the setting `keepOutcomes` says, and as the
 *   {@link Store} has room.
 * - **Whose key it is**: a key is one of an action at a route (as it was sent, without its query), of a path of a consumer (as it was
 *   sent, without its query), and of who asks: of all users that the connection has. Nobody is ever given what others have asked for.
 *   Anonymous clients are not told apart, but by their keys, which they keep to themselves. Whoever authenticates between two attempts
 *   is somebody else. All identity services of the consumer must have a `key`: it does not start otherwise.
 * - **The same key with another request** (other data, fields, or another query) is refused with 422, `IdempotencyKeyReused`.
 * - **While the first attempt runs**, another one waits for its outcome, on whichever connection and server. It has a timeout of its own,
 *   and stands in the line of its connection meanwhile.
 * - **Who may**: each attempt is decided by the permissions of consumer, route and action, and its data is decoded, before anybody looks
 *   whether it is known. Throttles among them count each attempt: they are part of these permissions, and what is answered from memory
 *   is a message as well. What the permissions leave to the object was decided when it was done, and is not again: the object may be
 *   gone, because it was done.
 * - **What is done besides**: an attempt that is answered from memory sends no event. The event of the first one goes out once.
 * - **When the client goes away** in the middle, what has begun runs to its end, so that its outcome is there for the next attempt, and
 *   its event goes to the groups that the connection was in. Its timeout holds. The connection has left its groups and hears no more of
 *   `Authority.invalidate`; what came before that, and is not decided yet, is decided first. `$cancel`, a permission that is lost, a
 *   timeout, and a server that stops or closes the connection, end it as they end all else.
 * - **When a server dies** in the middle, the next attempt is done anew, as soon as the claim of the first one has expired
 *   ({@link Store}). It may have taken effect in part, or as a whole: what must not happen twice even so belongs into a transaction.
 * - **When the store is unavailable**, the answer is 503, and nothing is done. Where it becomes so while the handler runs, the outcome is
 *   answered, and not remembered.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as ChannelError from "./ChannelError.ts"
import { Outcomes } from "./internal/outcomes.ts"

/**
 * What came of a request, as it stands in the reply.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome {
  readonly status: number
  /** The errors, as JSON. */
  readonly errors: string
  /** The data, as JSON. */
  readonly data: string
}

/**
 * One attempt to do something.
 *
 * @category models
 * @since 0.1.0
 */
export interface Attempt {
  /**
   * What is to be done once: the key, and what it is a key of. A text of at most 1024 characters, as the fingerprint is; what would be
   * longer is a SHA-256 digest. A store that others may look into keeps digests of both, with which nobody can ask.
   */
  readonly key: string
  /** What is asked for, which is the same in all attempts of one call: data, fields and query. It may hold what is secret. */
  readonly fingerprint: string
  /** What tells this attempt from all others. */
  readonly id: string
}

/**
 * What has become of what somebody wants to do.
 *
 * - `Claimed`: nobody has done it, nor does. It is for this attempt to do now.
 * - `Known`: it has been done.
 * - `Reused`: the key came with another request.
 *
 * @category models
 * @since 0.1.0
 */
export type Claimed =
  | { readonly _tag: "Claimed" }
  | { readonly _tag: "Known"; readonly outcome: Outcome }
  | { readonly _tag: "Reused" }

/**
 * Where it is remembered what has been done. By default that is the memory of this process; servers that share their clients provide
 * another one.
 *
 * @category services
 * @since 0.1.0
 */
export interface Store {
  /**
   * How long a claim holds that is not renewed, in milliseconds: it is renewed three times in so long. `undefined` where the claims go
   * with the process that has made them.
   */
  readonly lease: number | undefined
  /**
   * Claims what an attempt wants to do, in one step that no other call comes between, or tells what has come of it. While another
   * attempt does it, it waits until that has an outcome, or is given up. An attempt that has claimed it may do so again.
   */
  readonly claim: (attempt: Attempt) => Effect.Effect<Claimed, ChannelError.Unavailable>
  /** Renews a claim, or one that has expired meanwhile. Answers `false` where another attempt has it now, or has done it. */
  readonly renew: (attempt: Attempt) => Effect.Effect<boolean, ChannelError.Unavailable>
  /** Remembers an outcome for so many milliseconds, unless another attempt has the claim now. Whoever waits for it is told. */
  readonly keep: (attempt: Attempt, outcome: Outcome, millis: number) => Effect.Effect<void, ChannelError.Unavailable>
  /** Gives up a claim, where this attempt has it, and there is no outcome. It is also called where it is not known whether it has. */
  readonly release: (attempt: Attempt) => Effect.Effect<void, ChannelError.Unavailable>
}

/**
 * The store of outcomes: one in memory, which the whole process shares, where no other is provided. Provide it outermost, to all that a
 * server is made of.
 *
 * @category services
 * @since 0.1.0
 */
export const Store: Context.Reference<Store> = Context.Reference<Store>("effect-channels/Idempotency/Store", {
  defaultValue: () => makeMemory()
})

/**
 * A {@link Store} in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryStore extends Store {
  /** How many outcomes it remembers, and how many claims there are. */
  readonly size: () => { readonly outcomes: number; readonly claims: number }
}

/**
 * The options of a store in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryOptions {
  /** How many outcomes it remembers at most, a whole number from 1. Default 10,000. */
  readonly maxOutcomes?: number | undefined
}

/**
 * Makes a store in memory. When there are too many outcomes it forgets the oldest one: what that came of is done again where it is asked
 * for again. Claims do not count: there are no more of them than requests in flight.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMemory = (options?: MemoryOptions): MemoryStore => {
  const maxOutcomes = options?.maxOutcomes ?? 10_000
  if (!(Number.isSafeInteger(maxOutcomes) && maxOutcomes >= 1)) {
    throw new TypeError(`Idempotency: maxOutcomes must be a whole number from 1, not ${maxOutcomes}`)
  }
  const outcomes = new Outcomes(maxOutcomes)
  const claim = (attempt: Attempt): Effect.Effect<Claimed> =>
    Effect.flatMap(currentTime, (now) =>
      outcomes.claim(attempt, now) ?? outcomes.wait(attempt.key).pipe(
        // News that has ended the other one may be meant for this one too, and reaches it first.
        Effect.andThen(Effect.yieldNow),
        Effect.andThen(Effect.suspend(() => claim(attempt)))
      ))
  return {
    lease: undefined,
    claim,
    renew: (attempt) => Effect.sync(() => outcomes.has(attempt)),
    keep: (attempt, outcome, millis) => Effect.map(currentTime, (now) => outcomes.keep(attempt, outcome, now + millis)),
    release: (attempt) => Effect.sync(() => outcomes.release(attempt)),
    size: () => outcomes.size
  }
}

const currentTime = Effect.withFiber((fiber) => Effect.succeed(fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()))

/**
 * The layer of a store in memory of its own, in place of the one that the process shares.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<never> => Layer.sync(Store, () => makeMemory(options))
