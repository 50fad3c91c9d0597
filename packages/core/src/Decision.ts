/**
 * What a permission comes to in one phase: Allow, Deny or Pending, and Failed where a check broke.
 *
 * Values combine as in Kleene's strong three-valued logic (S. C. Kleene, Introduction to Metamathematics, §64), with
 * Pending as the unknown that a later phase resolves, and Failed as an unknown that nothing resolves any more. So a
 * failure never turns into Allow, under `not` neither, and never hides an answer that holds whatever the failed check
 * would have said: `or(allow, failed)` is Allow, `and(deny, failed)` is Deny, everything else that depends on the failed
 * check is Failed. (Where a failed and a pending check stand in one expression it may be Pending first, and Failed after the
 * last phase: neither allows.)
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"

/**
 * When a check can be decided. `connection` comes first, then `action` and `object` for each message; `delivery` stands
 * for itself, once for each recipient of an event.
 *
 * @category models
 * @since 0.1.0
 */
export type Phase = "connection" | "action" | "object" | "group" | "delivery"

/**
 * Who denied, and what a client may be told about it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Denial {
  /** The check that denied, or the expression where it was no single check: `isAdmin`, `not(isBanned)`. */
  readonly check: string
  /** When the check was decided; for an expression, when the last of its checks can be. */
  readonly phase: Phase
  /** What the client reads, `undefined` for the general words. */
  readonly reason: string | undefined
  /** A word for programs, `undefined` for `permission_denied`. */
  readonly code: string | undefined
  /** Whether the client learns neither reason nor code. */
  readonly private: boolean
}

/**
 * The permission allows, whatever a later phase says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Allow {
  readonly _tag: "Allow"
}

/**
 * The permission denies, whatever a later phase says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Deny {
  readonly _tag: "Deny"
  readonly denial: Denial
}

/**
 * The answer hangs on a check which failed or died: the action must not run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Failed {
  readonly _tag: "Failed"
  /** The check that broke. */
  readonly check: string
  readonly cause: Cause.Cause<unknown>
}

/**
 * The answer needs a later phase, which decides the residual.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pending<out Residual> {
  readonly _tag: "Pending"
  /** What is still to be decided, without the checks that have been. */
  readonly residual: Residual
}

/**
 * What a permission comes to in one phase.
 *
 * @category models
 * @since 0.1.0
 */
export type Decision<Residual = never> = Allow | Deny | Failed | Pending<Residual>

/**
 * The decision that allows.
 *
 * @category constructors
 * @since 0.1.0
 */
export const allow: Allow = Object.freeze({ _tag: "Allow" })

/**
 * A decision that denies.
 *
 * @category constructors
 * @since 0.1.0
 */
export const deny = (denial: Denial): Deny => ({ _tag: "Deny", denial })

/**
 * A decision that could not be made.
 *
 * @category constructors
 * @since 0.1.0
 */
export const failed = (check: string, cause: Cause.Cause<unknown>): Failed => ({ _tag: "Failed", check, cause })

/**
 * A decision that is left to a later phase.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pending = <Residual>(residual: Residual): Pending<Residual> => ({ _tag: "Pending", residual })

/**
 * Whether a later phase can no longer change the decision.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFinal = <Residual>(decision: Decision<Residual>): decision is Allow | Deny | Failed =>
  decision._tag !== "Pending"

/**
 * The denial of what is still pending after the last phase.
 *
 * @category constructors
 * @since 0.1.0
 */
export const undecided: Deny = deny({
  check: "undecided",
  phase: "object",
  reason: undefined,
  code: undefined,
  private: false
})

/**
 * The decision after the last phase: what is still pending is denied.
 *
 * @category combinators
 * @since 0.1.0
 */
export const conclude = <Residual>(decision: Decision<Residual>): Allow | Deny | Failed =>
  isFinal(decision) ? decision : undecided
