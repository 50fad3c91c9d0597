/**
 * The laws of permissions, for the checks and combinators that applications write themselves. Each of them is an effect that
 * dies, and says how, when it finds a case that breaks a law.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Decision from "../../Decision.ts"
import * as Permission from "../../Permission.ts"
import { ofTree } from "../permit.ts"
import { factsOf, inSituation, type Services, type Situation } from "./decide.ts"

const order: ReadonlyArray<Decision.Phase> = ["connection", "action", "object"]

/**
 * Checks that a permission keeps the laws in a situation:
 *
 * - **decided**: after the last phase that there are facts for it is Allow, Deny or Failed, and asked again it says the same.
 * - **no failure**: none of its checks dies, or answers with anything but a boolean. A typed error is an answer.
 * - **monotonic**: what an earlier phase decided, a later one does not change.
 * - **residual**: the residual of an earlier phase, decided later, comes to what the whole comes to.
 * - **blind**: a check of an earlier phase does not look at what only a later one has (the payload, the object).
 * - **fail-closed**: whichever check breaks, nobody is allowed whom the other checks do not allow by themselves.
 *
 * **Example** (For many situations)
 *
 * ```ts
 * import { Permission } from "@effect-channels/core"
 * import * as Testing from "@effect-channels/core/testing"
 * import * as Effect from "effect/Effect"
 *
 * const isShort = Permission.object<string>()("isShort", ({ object }) => object.length < 10)
 *
 * const test = Effect.forEach(["", "a", "a".repeat(10)], (object) =>
 *   Testing.PermissionLaws.check(isShort, { facts: { object, payload: {}, params: {} } }))
 * ```
 *
 * @category laws
 * @since 0.1.0
 */
export const check = <Facts, E, R>(
  permission: Permission.Permission<Facts, E, R>,
  situation: Situation<Facts> = {}
): Effect.Effect<void, never, Services<R>> =>
  inSituation(checkAll(permission, factsOf(situation.facts as object | undefined)), situation)

const checkAll = Effect.fnUntraced(function*(
  permission: Permission.Any,
  facts: Permission.Facts
): Effect.fn.Return<void> {
  const subject = permission as Permission.Permission
  const violated = (law: string, what: string) =>
    Effect.flatMap(
      Permission.explain(subject, facts),
      (explanation) =>
        Effect.die(
          new Error(
            `${Permission.print(subject)} breaks the law "${law}": ${what}\n${Permission.printExplanation(explanation)}`
          )
        )
    )
  const whole = yield* Permission.decide(subject, facts)

  if (facts.phase === "object" && whole._tag === "Pending") {
    return yield* violated("decided", "it is Pending in the end")
  }
  const again = yield* Permission.decide(subject, facts)
  if (again._tag !== whole._tag) return yield* violated("decided", `it was ${whole._tag}, then ${again._tag}`)

  for (const leaf of Permission.checks(subject)) {
    const decision = yield* Permission.decide(ofTree(leaf), facts)
    if (decision._tag !== "Failed") continue
    const defect = decision.cause.reasons.find((reason) => reason._tag === "Die")
    if (defect !== undefined) return yield* violated("no failure", `${leaf.name} died: ${defect.defect}`)
  }

  for (const phase of order.slice(0, Math.max(0, order.indexOf(facts.phase)))) {
    const early = yield* Permission.decide(subject, blinded(facts, phase))
    if (early._tag === "Pending") {
      const rest = yield* Permission.decide(early.residual, facts)
      if (rest._tag !== whole._tag) {
        return yield* violated(
          "residual",
          `as a whole it is ${whole._tag}; what the ${phase} phase left comes to ${rest._tag}`
        )
      }
    } else if (early._tag !== "Failed" && early._tag !== whole._tag) {
      return yield* violated("monotonic", `the ${phase} phase said ${early._tag}, a later one ${whole._tag}`)
    }
    for (const leaf of Permission.checks(subject).filter((leaf) => leaf.phase === phase)) {
      const [then, later] = [blinded(facts, phase), facts].map((facts) => Permission.decide(ofTree(leaf), facts))
      const [a, b] = [yield* then!, yield* later!]
      if (a._tag !== b._tag) {
        return yield* violated(
          "blind",
          `${leaf.name} (${leaf.phase}) said ${a._tag} in its phase, and ${b._tag} in a later one`
        )
      }
    }
  }

  for (const leaf of new Set(Permission.checks(subject))) {
    const [broken, no, yes] = yield* Effect.forEach(
      ["die", false, true] as const,
      (answer) => Permission.decide(replaced(subject, leaf, answer), facts)
    )
    if (broken!._tag === "Allow" && (no!._tag !== "Allow" || yes!._tag !== "Allow")) {
      return yield* violated(
        "fail-closed",
        `when ${leaf.name} breaks it allows, though that check would have had a say`
      )
    }
  }
})

/** The facts as an earlier phase has them: there is nothing of what comes later. */
const blinded = (facts: Permission.Facts, phase: Decision.Phase): Permission.Facts => {
  if (phase === "connection") return { phase }
  const { action, params, query, route } = facts as Permission.Facts & { readonly phase: "action" }
  return { phase: "action", action, params, query, route }
}

/** A permission in which a check answers otherwise. */
const replaced = (
  permission: Permission.Permission,
  leaf: Permission.Check,
  answer: boolean | "die"
): Permission.Permission => {
  const evaluate = () => answer === "die" ? Effect.die(new Error(`${leaf.name} broke`)) : answer
  const replace = (tree: Permission.Tree): Permission.Tree => {
    switch (tree._tag) {
      case "Constant":
        return tree
      case "Check":
        return tree === leaf ? { ...leaf, evaluate } : tree
      case "And":
      case "Or":
        return { ...tree, members: tree.members.map(replace) }
      case "Not":
        return { ...tree, member: replace(tree.member) }
    }
  }
  return ofTree(replace(permission.tree))
}

/** What an argument of a combinator may come to. */
type Outcome = "Allow" | "Deny" | "Pending" | "Failed"

const values: ReadonlyArray<Outcome> = ["Allow", "Deny", "Pending", "Failed"]

/** A permission that comes to a value in the action phase. */
const permissionOf = (value: Outcome, i: number): Permission.Permission => {
  const name = `argument ${i + 1}: ${value}`
  switch (value) {
    case "Allow":
      return Permission.action(name, () => true) as unknown as Permission.Permission
    case "Deny":
      return Permission.action(name, () => false) as unknown as Permission.Permission
    case "Pending":
      return Permission.object()(name, () => true) as unknown as Permission.Permission
    case "Failed":
      return Permission.action(name, () => Effect.die(new Error(name))) as unknown as Permission.Permission
  }
}

/**
 * Checks that a combinator of permissions keeps the laws, for all that its arguments may come to:
 *
 * - **monotonic**: what it decides while an argument is pending stays, whatever that argument comes to.
 * - **fail-closed**: where an argument breaks, it allows only if it would whatever that argument said; it never denies, nor
 *   allows, by the failure itself.
 *
 * **Example** (Two of three)
 *
 * ```ts
 * import { Permission } from "@effect-channels/core"
 * import * as Testing from "@effect-channels/core/testing"
 *
 * const twoOf = (a: Permission.Permission, b: Permission.Permission, c: Permission.Permission) =>
 *   Permission.any([Permission.and(a, b), Permission.and(a, c), Permission.and(b, c)])
 *
 * const test = Testing.PermissionLaws.checkCombinator(3, twoOf)
 * ```
 *
 * @category laws
 * @since 0.1.0
 */
export const checkCombinator = (
  /** How many permissions it combines, 4 at the most. */
  arity: 1 | 2 | 3 | 4,
  combine: (...permissions: ReadonlyArray<Permission.Permission>) => Permission.Permission
): Effect.Effect<void> =>
  Effect.gen(function*() {
    const outcomes = new Map<string, Outcome>()
    const cases = combinations(arity)
    for (const one of cases) {
      const permission = combine(...one.map(permissionOf))
      const decision = yield* Permission.decide(permission, factsOf({}))
      outcomes.set(one.join(), decision._tag)
    }
    for (const one of cases) {
      const outcome = outcomes.get(one.join())!
      if (outcome !== "Allow" && outcome !== "Deny") continue
      for (const [i, value] of one.entries()) {
        if (value !== "Pending" && value !== "Failed") continue
        for (const instead of ["Allow", "Deny"] as const) {
          const other = outcomes.get(one.with(i, instead).join())!
          if (other === outcome) continue
          const law = value === "Pending" ? "monotonic" : "fail-closed"
          return yield* Effect.die(
            new Error(
              `The combinator breaks the law "${law}": of (${one.join(", ")}) it makes ${outcome}, ` +
                `but ${other} if argument ${i + 1} is ${instead}`
            )
          )
        }
      }
    }
  })

const combinations = (arity: number): ReadonlyArray<ReadonlyArray<Outcome>> =>
  arity === 0 ? [[]] : combinations(arity - 1).flatMap((rest) => values.map((value) => [...rest, value]))
