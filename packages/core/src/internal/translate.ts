/**
 * Permissions as filters: what is left of a permission after the connection phase, translated check by check. The filter means
 * the objects that deciding the permission for each of them would allow.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Decision from "../Decision.ts"
import * as Filter from "../Filter.ts"
import * as Permission from "../Permission.ts"
import * as decide from "./decide.ts"

/** The checks of permissions that cannot be translated. */
export const untranslatable = (permissions: ReadonlyArray<Permission.Any>): ReadonlyArray<Permission.Check> =>
  permissions.flatMap(Permission.checks).filter((check) =>
    check.phase !== "connection" && check.query === undefined && check.isAlike !== true
  )

/** Which objects a permission allows, and which it denies; by a check that fails it does neither. */
interface Sides {
  readonly allowed: Filter.Filter<unknown>
  readonly denied: Filter.Filter<unknown>
  readonly failed: Cause.Cause<unknown> | undefined
}

const every = (allows: boolean): Sides =>
  allows
    ? { allowed: Filter.all, denied: Filter.none, failed: undefined }
    : { allowed: Filter.none, denied: Filter.all, failed: undefined }

const failed = (name: string, cause: Cause.Cause<unknown>): Sides => ({
  allowed: Filter.none,
  denied: Filter.none,
  // That somebody is nobody is a denial.
  failed: decide.outcomeOfDecision(Decision.failed(name, cause)) === "Deny" ? undefined : cause
})

/**
 * The objects that a residual of the action phase allows. Fails where a check fails, and what it would have said matters. The facts
 * are those of the action that retrieves one object, without what names the object.
 */
export const filterOf = (
  residual: Permission.Tree,
  facts: Permission.ActionFacts
): Effect.Effect<Filter.Filter<unknown>, unknown, unknown> =>
  Effect.flatMap(
    sidesOf(residual, facts),
    ({ allowed, failed }) => failed === undefined ? Effect.succeed(allowed) : Effect.failCause(failed)
  )

const isAll = ({ tree }: Filter.Any): boolean => tree._tag === "Constant" && tree.value

const sidesOf = (
  tree: Permission.Tree,
  facts: Permission.ActionFacts
): Effect.Effect<Sides, never, unknown> => {
  switch (tree._tag) {
    case "Constant":
      return Effect.succeed(
        tree.decision._tag === "Failed"
          ? failed(tree.decision.check, tree.decision.cause)
          : every(tree.decision._tag === "Allow")
      )
    case "Check":
      return sidesOfCheck(tree, facts)
    case "And":
    case "Or":
      return Effect.map(
        Effect.forEach(tree.members, (member) => sidesOf(member, facts)),
        (members) => join(tree._tag, members)
      )
    case "Not":
      return Effect.map(sidesOf(tree.member, facts), ({ allowed, denied, failed }) => ({
        allowed: denied,
        denied: allowed,
        failed
      }))
  }
}

const join = (tag: "And" | "Or", members: ReadonlyArray<Sides>): Sides => {
  const [all, some] = tag === "And" ? [Filter.and, Filter.or] : [Filter.or, Filter.and]
  const allowed = all(...members.map(({ allowed }) => allowed))
  const denied = some(...members.map(({ denied }) => denied))
  // What fails does not matter where the others decide for all objects.
  const isDecided = isAll(allowed) || isAll(denied)
  return { allowed, denied, failed: isDecided ? undefined : members.find(({ failed }) => failed !== undefined)?.failed }
}

const sidesOfCheck = (check: Permission.Check, facts: Permission.ActionFacts): Effect.Effect<Sides, never, unknown> =>
  check.query === undefined
    // What stays undecided allows nothing, and neither does its opposite.
    ? Effect.succeed({ allowed: Filter.none, denied: Filter.none, failed: undefined })
    : Effect.map(Effect.exit(ask(check.query, facts)), (exit) =>
      Exit.isSuccess(exit)
        ? { allowed: exit.value, denied: Filter.not(exit.value), failed: undefined }
        : failed(check.name, exit.cause))

const ask = (
  query: NonNullable<Permission.Check["query"]>,
  facts: Permission.ActionFacts
): Effect.Effect<Filter.Filter<unknown>, unknown, unknown> =>
  Effect.suspend(() => {
    const answer = query(facts as never)
    return (Effect.isEffect(answer) ? answer : Effect.succeed(answer)) as Effect.Effect<Filter.Filter<unknown>, unknown>
  })
