/**
 * The evaluator of permissions. It runs on every message, so it stays out of the fiber as long as the checks answer at
 * once: only a check that is a real effect makes the rest of its expression one.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Semaphore from "effect/Semaphore"
import * as ChannelError from "../ChannelError.ts"
import * as Decision from "../Decision.ts"
import type { Check, Explanation, Facts, Tree } from "../Permission.ts"
import { effectOf } from "./eager.ts"

type Result = Decision.Decision<Tree>

/** What the connection checks of one connection have said so far. Failures are not kept: they are tried again. */
export interface Memory {
  readonly get: (check: Check) => Result | undefined
  readonly set: (check: Check, decision: Decision.Allow | Decision.Deny) => void
  /** One permit for each check, so that messages that run at once do not ask the same check twice. */
  readonly lock: (check: Check) => Semaphore.Semaphore
  /** Is told what each check said, where somebody wants to know. */
  readonly recorder?: Recorder
  /** What checks say to everybody with the same identity. */
  readonly shared?: Shared
}

/** Asks checks for all connections with the same identity at once. */
export interface Shared {
  /** What a check says; `undefined` where it looks at more than the identity, and has to be asked for each connection. */
  readonly ask: (check: Check, facts: Facts) => Result | undefined | Effect.Effect<Result | undefined, never, unknown>
}

/** Is told what checks said. */
export interface Recorder {
  /** A point in time, in nanoseconds. */
  readonly now: () => bigint
  readonly said: (check: Check, decision: Result, since: bigint) => void
}

const order: ReadonlyArray<Decision.Phase> = ["connection", "action", "object", "group", "delivery"]

/** The latest of some phases. */
export const latest = (phases: ReadonlyArray<Decision.Phase>): Decision.Phase =>
  phases.reduce((a, b) => order.indexOf(a) < order.indexOf(b) ? b : a, "connection")

/** Whether a check of one phase can be decided in another: delivery follows connection, not action or object. */
const isDecidable = (check: Decision.Phase, phase: Decision.Phase): boolean =>
  check === phase || check === "connection" || (check === "action" && phase === "object")

/** Decides a tree; see `Permission.decide`. */
export const decide = (tree: Tree, facts: Facts, memory?: Memory): Effect.Effect<Result, never, unknown> =>
  Effect.suspend(() => {
    const result = step(tree, facts, memory)
    return Effect.isEffect(result) ? result : Exit.succeed(result)
  })

/**
 * Decides a tree: the decision itself where every check answered at once, else an effect of it, to be run once (it goes on
 * from what has been decided on the way).
 */
export const step = (
  tree: Tree,
  facts: Facts,
  memory: Memory | undefined
): Result | Effect.Effect<Result, never, unknown> => {
  switch (tree._tag) {
    case "Constant":
      return tree.decision
    case "Check":
      return isDecidable(tree.phase, facts.phase) ? ask(tree, facts, memory) : Decision.pending(tree)
    case "And":
    case "Or":
      return fold(tree, facts, memory, 0, undefined)
    case "Not": {
      const result = step(tree.member, facts, memory)
      return Effect.isEffect(result) ? Effect.map(result, (r) => negate(tree, r)) : negate(tree, result)
    }
  }
}

const negate = (tree: Tree & { readonly _tag: "Not" }, result: Result): Result => {
  switch (result._tag) {
    case "Allow":
      return tree.denied
    case "Deny":
      return Decision.allow
    case "Failed":
      return result
    case "Pending":
      return Decision.pending(
        result.residual === tree.member ? tree : { _tag: "Not", member: result.residual, denied: tree.denied }
      )
  }
}

/** What the members of an `and` or `or` have come to so far, as long as they do not decide it. */
interface Undecided {
  denied: Decision.Deny | undefined
  failed: Decision.Failed | undefined
  pending: Array<Tree> | undefined
}

const fold = (
  tree: Tree & { readonly _tag: "And" | "Or" },
  facts: Facts,
  memory: Memory | undefined,
  from: number,
  so: Undecided | undefined
): Result | Effect.Effect<Result, never, unknown> => {
  for (let i = from; i < tree.members.length; i++) {
    const result = step(tree.members[i]!, facts, memory)
    if (Effect.isEffect(result)) {
      return Effect.flatMap(result, (r) => {
        if (r._tag === absorbing[tree._tag]) return Effect.succeed(r)
        const rest = fold(tree, facts, memory, i + 1, note(r, so))
        return Effect.isEffect(rest) ? rest : Effect.succeed(rest)
      })
    }
    if (result._tag === absorbing[tree._tag]) return result
    so = note(result, so)
  }
  if (so?.pending !== undefined) {
    if (so.failed !== undefined) so.pending.push({ _tag: "Constant", decision: so.failed })
    return Decision.pending(so.pending.length === 1 ? so.pending[0]! : remaining(tree, so.pending))
  }
  if (so?.failed !== undefined) return so.failed
  return tree._tag === "And" ? Decision.allow : so?.denied ?? nothingAllowed
}

/** What is left of a tree. Where that is all of it, it is the same one: many connections share it. */
const remaining = (tree: Tree & { readonly _tag: "And" | "Or" }, members: ReadonlyArray<Tree>): Tree =>
  members.length === tree.members.length && members.every((member, i) => member === tree.members[i])
    ? tree
    : { _tag: tree._tag, members }

/** The value that decides the whole, whatever the other members say. */
const absorbing = { And: "Deny", Or: "Allow" } as const

/** What `any([])` says. */
const nothingAllowed = Decision.deny({
  check: "or()",
  phase: "connection",
  reason: undefined,
  code: undefined,
  private: false
})

const note = (result: Result, so: Undecided | undefined): Undecided | undefined => {
  if (result._tag === "Allow") return so
  so ??= { denied: undefined, failed: undefined, pending: undefined }
  switch (result._tag) {
    case "Deny":
      so.denied = so.denied === undefined ? result : later(so.denied, result)
      break
    case "Failed":
      so.failed ??= result
      break
    case "Pending":
      ;(so.pending ??= []).push(result.residual)
  }
  return so
}

/** Of two members of an `or` that denied, the one that had the last word. */
const later = (a: Decision.Deny, b: Decision.Deny): Decision.Deny =>
  order.indexOf(b.denial.phase) < order.indexOf(a.denial.phase) ? a : b

const ask = (
  check: Check,
  facts: Facts,
  memory: Memory | undefined
): Result | Effect.Effect<Result, never, unknown> => {
  const recorder = memory?.recorder
  if (recorder === undefined) return askCheck(check, facts, memory)
  const since = recorder.now()
  const result = askCheck(check, facts, memory)
  if (Effect.isEffect(result)) return Effect.tap(result, (r) => Effect.sync(() => recorder.said(check, r, since)))
  recorder.said(check, result, since)
  return result
}

const askCheck = (
  check: Check,
  facts: Facts,
  memory: Memory | undefined
): Result | Effect.Effect<Result, never, unknown> => {
  const isKept = memory !== undefined && check.phase === "connection"
  if (isKept) {
    const known = memory.get(check)
    if (known !== undefined) return known
  }
  const shared = memory?.shared
  if (shared === undefined || check.isScoped === true) return askAlone(check, facts, memory, isKept)
  const said = shared.ask(check, facts)
  const take = (result: Result | undefined) =>
    result === undefined ? askAlone(check, facts, memory, isKept) : keep(check, memory, isKept, result)
  return Effect.isEffect(said) ? Effect.flatMap(said, (result) => effectOf(take(result))) : take(said)
}

const askAlone = (
  check: Check,
  facts: Facts,
  memory: Memory | undefined,
  isKept: boolean
): Result | Effect.Effect<Result, never, unknown> => {
  let answer: boolean | Effect.Effect<boolean, unknown, unknown>
  try {
    answer = check.evaluate(facts as never)
  } catch (defect) {
    return Decision.failed(check.name, Cause.die(defect))
  }
  if (!Effect.isEffect(answer)) return keep(check, memory, isKept, judge(check, answer))
  if (Exit.isExit(answer)) return keep(check, memory, isKept, fromExit(check, answer))
  const asked = Effect.map(Effect.exit(answer), (exit) => keep(check, memory, isKept, fromExit(check, exit)))
  if (!isKept || memory === undefined) return asked
  return memory.lock(check).withPermits(1)(Effect.suspend(() => {
    const known = memory.get(check)
    return known === undefined ? asked : Effect.succeed(known)
  }))
}

const keep = (
  check: Check,
  memory: Memory | undefined,
  isKept: boolean,
  decision: Result
): Result => {
  if (isKept && (decision._tag === "Allow" || decision._tag === "Deny")) memory?.set(check, decision)
  return decision
}

/** What a check said that answered so. */
export const fromExit = (check: Check, exit: Exit.Exit<unknown, unknown>): Decision.Decision =>
  exit._tag === "Success" ? judge(check, exit.value) : Decision.failed(check.name, exit.cause)

/** What a check said that answered so, in spite of its types maybe. */
export const judge = (check: Check, answer: unknown): Decision.Decision => {
  if (answer === true) return Decision.allow
  if (answer === false) return check.denied
  // Neither true nor false, in spite of the types: were it taken for false, `not` would allow.
  const found = answer === null ? "null" : typeof answer
  const defect = new TypeError(`The permission check "${check.name}" must answer true or false, not with ${found}`)
  return Decision.failed(check.name, Cause.die(defect))
}

/** Decides every part of a tree; see `Permission.explain`. */
export const explain = (tree: Tree, facts: Facts): Effect.Effect<Explanation, never, unknown> => {
  switch (tree._tag) {
    case "Constant":
      return Effect.succeed({ _tag: "Constant", outcome: tree.decision._tag, members: [] })
    case "Check":
      return Effect.map(decide(tree, facts), (decision) => ({
        _tag: "Check",
        name: tree.name,
        phase: tree.phase,
        outcome: decision._tag,
        cause: decision._tag === "Failed" ? decision.cause : undefined
      }))
    case "And":
    case "Or":
      return Effect.map(
        Effect.forEach(tree.members, (member) => explain(member, facts)),
        (members) => ({ _tag: tree._tag, outcome: outcomeOf(tree._tag, members), members })
      )
    case "Not":
      return Effect.map(explain(tree.member, facts), (member) => ({
        _tag: "Not",
        outcome: negatedOutcome(member),
        members: [member]
      }))
  }
}

/** What a `not` comes to by its member. */
export const negatedOutcome = ({ outcome }: Explanation): Explanation["outcome"] =>
  outcome === "Allow" ? "Deny" : outcome === "Deny" ? "Allow" : outcome

/** What an `and` or `or` comes to by its members. */
export const outcomeOf = (tag: "And" | "Or", members: ReadonlyArray<Explanation>): Explanation["outcome"] => {
  const has = (outcome: Explanation["outcome"]) => members.some((member) => member.outcome === outcome)
  if (has(absorbing[tag])) return absorbing[tag]
  if (has("Unasked")) return "Unasked"
  if (has("Pending")) return "Pending"
  if (has("Failed")) return "Failed"
  return tag === "And" ? "Allow" : "Deny"
}

/**
 * What a decision is counted as: a check that asks for the user where there is none has not broken, it denies (403), in all but
 * that `not` does not make an Allow of it.
 */
export const outcomeOfDecision = <D extends Decision.Allow | Decision.Deny | Decision.Failed>(
  decision: D
): D["_tag"] | "Deny" => decision._tag === "Failed" && decision.cause.reasons.every(isDenial) ? "Deny" : decision._tag

const isDenial = (reason: Cause.Reason<unknown>): boolean =>
  reason._tag === "Fail" &&
  (reason.error instanceof ChannelError.NotAuthenticated || reason.error instanceof ChannelError.PermissionDenied)

/** The check that denied or broke, `""` for none. */
export const decidingCheck = (decision: Decision.Decision): string =>
  decision._tag === "Deny" ? decision.denial.check : decision._tag === "Failed" ? decision.check : ""

/** The failure that stands in a residual, if any. */
export const failureIn = (decision: Result): Decision.Failed | undefined =>
  decision._tag === "Pending" ? failureOf(decision.residual) : undefined

const failureOf = (tree: Tree): Decision.Failed | undefined => {
  switch (tree._tag) {
    case "Constant":
      return tree.decision._tag === "Failed" ? tree.decision : undefined
    case "Check":
      return undefined
    case "Not":
      return failureOf(tree.member)
    case "And":
    case "Or":
      for (const member of tree.members) {
        const failure = failureOf(member)
        if (failure !== undefined) return failure
      }
      return undefined
  }
}

/** Whether a residual could still come to Allow, if its checks said what it takes. */
export const canAllow = (tree: Tree, wanted: "Allow" | "Deny" = "Allow"): boolean => {
  switch (tree._tag) {
    case "Constant":
      return tree.decision._tag === wanted
    case "Check":
      return true
    case "Not":
      return canAllow(tree.member, wanted === "Allow" ? "Deny" : "Allow")
    case "And":
    case "Or":
      return absorbing[tree._tag] === wanted
        ? tree.members.some((member) => canAllow(member, wanted))
        : tree.members.every((member) => canAllow(member, wanted))
  }
}
