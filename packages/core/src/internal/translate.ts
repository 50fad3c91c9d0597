/**
 * Permissions as filters: what is left of a permission after the connection phase, translated check by check. The filter means
 * the objects that deciding the permission for each of them would allow.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Decision from "../Decision.ts"
import * as Filter from "../Filter.ts"
import * as Permission from "../Permission.ts"
import * as decide from "./decide.ts"
import { andThen, type Eager, effectOf } from "./eager.ts"

/** The checks of permissions that cannot be translated. */
export const untranslatable = (permissions: ReadonlyArray<Permission.Any>): ReadonlyArray<Permission.Check> =>
  permissions.flatMap(Permission.checks).filter((check) =>
    check.phase !== "connection" && check.query === undefined && check.everyObject !== true &&
    check.everyObject !== "passed"
  )

/** What guards objects of a permission: the checks of messages, which the request has passed, are left out. */
export const ofObjects = (
  tree: Permission.Tree,
  passed: Decision.Allow | Decision.Deny = Decision.allow
): Permission.Tree => {
  switch (tree._tag) {
    case "Constant":
      return tree
    case "Check":
      return tree.everyObject === "passed" ? { _tag: "Constant", decision: passed } : tree
    case "And":
    case "Or":
      return { _tag: tree._tag, members: tree.members.map((member) => ofObjects(member, passed)) }
    case "Not":
      return { ...tree, member: ofObjects(tree.member, passed._tag === "Allow" ? tree.denied : Decision.allow) }
  }
}

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
 * The objects that all of some residuals of the action phase allow. Fails where a check fails, and what it would have said matters.
 * The facts are those of the action that retrieves one object, without what names the object.
 */
export const filterOfAll = (
  residuals: ReadonlyArray<Permission.Tree>,
  facts: Permission.ActionFacts
): Eager<Filter.Filter<unknown>, unknown> =>
  residuals.length === 1
    ? filterOf(residuals[0]!, facts)
    : andThen(each(residuals, (residual) => filterOf(residual, facts)), (filters) => Filter.and(...filters))

const filterOf = (residual: Permission.Tree, facts: Permission.ActionFacts): Eager<Filter.Filter<unknown>, unknown> =>
  andThen<Sides, Filter.Filter<unknown>, unknown>(
    sidesOf(residual, facts),
    ({ allowed, failed }) => failed === undefined ? allowed : Effect.failCause(failed)
  )

/** All values, at once if they are there. */
const each = <A, B, E>(
  values: ReadonlyArray<A>,
  f: (value: A) => Eager<B, E>,
  from = 0,
  results: Array<B> = []
): Eager<ReadonlyArray<B>, E> => {
  for (let i = from; i < values.length; i++) {
    const result = f(values[i]!)
    if (Effect.isEffect(result)) {
      return Effect.flatMap(result, (result) => {
        results.push(result)
        return effectOf(each(values, f, i + 1, results))
      })
    }
    results.push(result)
  }
  return results
}

const isAll = ({ tree }: Filter.Any): boolean => tree._tag === "Constant" && tree.value

const sidesOf = (tree: Permission.Tree, facts: Permission.ActionFacts): Eager<Sides> => {
  switch (tree._tag) {
    case "Constant":
      return tree.decision._tag === "Failed"
        ? failed(tree.decision.check, tree.decision.cause)
        : every(tree.decision._tag === "Allow")
    case "Check":
      return sidesOfCheck(tree, facts)
    case "And":
    case "Or":
      return andThen(
        each(tree.members, (member) => sidesOf(member, facts)),
        (members) => join(tree._tag, members)
      )
    case "Not":
      return andThen(sidesOf(tree.member, facts), ({ allowed, denied, failed }) => ({
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

const sidesOfCheck = (check: Permission.Check, facts: Permission.ActionFacts): Eager<Sides> => {
  // What stays undecided allows nothing, and neither does its opposite.
  if (check.query === undefined) return { allowed: Filter.none, denied: Filter.none, failed: undefined }
  let answer: Filter.Filter<unknown> | Effect.Effect<Filter.Filter<unknown>, unknown, unknown>
  try {
    answer = check.query(facts as never) as typeof answer
  } catch (defect) {
    return failed(check.name, Cause.die(defect))
  }
  if (!Effect.isEffect(answer)) return sidesOfFilter(answer)
  return Effect.matchCause(answer, {
    onSuccess: sidesOfFilter,
    onFailure: (cause) => failed(check.name, cause)
  })
}

const sidesOfFilter = (filter: Filter.Filter<unknown>): Sides => ({
  allowed: filter,
  denied: Filter.not(filter),
  failed: undefined
})
