/**
 * Decisions in tests: of a permission by itself, and what they were to be.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Authentication from "../../Authentication.ts"
import * as ConnectionScope from "../../ConnectionScope.ts"
import * as Decision from "../../Decision.ts"
import * as Permission from "../../Permission.ts"
import * as Query from "../../Query.ts"
import { decidingCheck, outcomeOfDecision } from "../decide.ts"
import { Explaining } from "../explaining.ts"
import type { Acting, Decided } from "./connect.ts"

/**
 * What a permission is decided by in a test: who asks, for what, and the object it is about. What is left out is empty.
 *
 * @category models
 * @since 0.1.0
 */
export interface Situation<out Facts = unknown> {
  /** Who asks; nobody by default. */
  readonly as?: Acting | ReadonlyArray<Acting> | undefined
  /** What the checks look at: `{ action, params, payload, object }`, or `{ event }`. */
  readonly facts?: Facts | undefined
  /** The handshake of the connection. */
  readonly handshake?: Partial<ConnectionScope.Handshake> | undefined
}

/** The services of a connection in a test. */
export const contextOf = (
  actors: Acting | ReadonlyArray<Acting> | undefined,
  scope: ConnectionScope.ConnectionScope["Service"]
): Context.Context<never> => {
  // Nothing is counted: throttles are asked as often as it takes.
  let context = Context.make(ConnectionScope.ConnectionScope, scope).pipe(
    Context.add(Explaining, true)
  ) as Context.Context<never>
  for (const { identity, service } of [actors ?? []].flat() as ReadonlyArray<Acting>) {
    context = Context.add(context, Context.Service<unknown, typeof identity>(service), identity) as typeof context
  }
  return context
}

/** The facts of the last phase that there is something for. */
export const factsOf = (facts: object | undefined): Permission.Facts => {
  if (facts !== undefined && "event" in facts) return { type: "test", ...facts, phase: "delivery" }
  if (facts !== undefined && "group" in facts) {
    return { params: {}, ...facts as { readonly group: string }, phase: "group" }
  }
  const request = { action: "test", route: "", query: Query.empty, params: {}, ...facts }
  return facts !== undefined && "object" in facts
    ? { payload: undefined, object: undefined, ...request, phase: "object" }
    : { ...request, phase: "action" }
}

/**
 * Decides a permission for somebody. Checks that look at an object are still pending where there is none, and then deny.
 * Throttles say what they would say, and count nothing.
 *
 * @category interpreters
 * @since 0.1.0
 */
export const decide = <Facts, E, R>(
  permission: Permission.Permission<Facts, E, R>,
  situation: Situation<Facts> = {}
): Effect.Effect<Decided, never, Services<R>> => {
  const facts = factsOf(situation.facts as object | undefined)
  const decided = Effect.gen(function*() {
    const decision = Decision.conclude(yield* Permission.decide(permission, facts))
    return {
      outcome: outcomeOfDecision(decision),
      check: decidingCheck(decision),
      explanations: [yield* Permission.explain(permission, facts)]
    } satisfies Decided
  })
  return inSituation(decided, situation)
}

/** Runs what decides for whoever asks in a situation. */
export const inSituation = <A, R>(
  effect: Effect.Effect<A, never, R>,
  { as, handshake }: Situation
): Effect.Effect<A, never, Services<R>> => {
  const scope = ConnectionScope.make({ id: "test", url: "/", ...handshake }, {})
  return Effect.updateContext(
    effect as unknown as Effect.Effect<A>,
    (services: Context.Context<never>) => Context.merge(services, contextOf(as, scope))
  ) as never
}

/**
 * What must be provided to decide a permission in a test: the scope and the identities are there.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<R> = R extends ConnectionScope.ConnectionScope | Authentication.AnyService ? never : R

/**
 * Fails the test, with the whole explanation, unless what was decided is `Allow`, or nothing guards.
 *
 * @category assertions
 * @since 0.1.0
 */
export const expectAllowed = (decided: Decided): Effect.Effect<void> =>
  decided.outcome === "Allow" || decided.outcome === undefined
    ? Effect.void
    : unexpected("Allow", decided)

/**
 * Fails the test, with the whole explanation, unless what was decided is `Deny`; with a check, unless it was this one that
 * denied. It is given as the permission it is, or by its name.
 *
 * @category assertions
 * @since 0.1.0
 */
export const expectDenied = (decided: Decided, by?: Permission.Any | string): Effect.Effect<void> => {
  const check = by === undefined || typeof by === "string" ? by : Permission.print(by)
  return decided.outcome === "Deny" && (check === undefined || check === decided.check)
    ? Effect.void
    : unexpected(check === undefined ? "Deny" : `Deny by ${check}`, decided)
}

const unexpected = (expected: string, { check, explanations, outcome }: Decided): Effect.Effect<never> => {
  const found = outcome === undefined ? "nothing that guards" : check === "" ? outcome : `${outcome} by ${check}`
  const tree = explanations.map((explanation) => Permission.printExplanation(explanation, "  ")).join("\n")
  return Effect.die(new Error([`Expected ${expected}, found ${found}`, tree].filter((line) => line !== "").join("\n")))
}
