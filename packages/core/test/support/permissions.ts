/**
 * Generated permissions, and what they must come to. The reference works on the description of a permission, by truth
 * tables that are written out; it shares nothing with the evaluator that it judges.
 */
import { ConnectionScope, type Decision, Permission, Query } from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

// ---- descriptions

/** The checks that a permission is described with, each with its phase. */
export const phaseOf = {
  c1: "connection",
  c2: "connection",
  c3: "connection",
  a1: "action",
  a2: "action",
  o1: "object",
  o2: "object",
  g1: "group",
  d1: "delivery"
} as const satisfies Record<string, Decision.Phase>

/** The name of a check. */
export type Name = keyof typeof phaseOf

/** The names of all checks. */
export const names = Object.keys(phaseOf) as ReadonlyArray<Name>

/** A permission, described. A check may stand in it several times. */
export type Spec =
  | { readonly _tag: "Allow" }
  | { readonly _tag: "Deny" }
  | { readonly _tag: "Check"; readonly name: Name }
  | { readonly _tag: "And"; readonly left: Spec; readonly right: Spec }
  | { readonly _tag: "Or"; readonly left: Spec; readonly right: Spec }
  | { readonly _tag: "Not"; readonly member: Spec }
  | { readonly _tag: "All"; readonly members: ReadonlyArray<Spec> }
  | { readonly _tag: "Any"; readonly members: ReadonlyArray<Spec> }

/** A check that says no more than yes or no, or one that breaks: in its types, or in spite of them. */
export type Said = "yes" | "no" | Broken

/** A typed error, a defect, a thrown exception, an answer that is no boolean, an interruption. */
export type Broken = "fail" | "die" | "throw" | "odd" | "interrupt"

/** The ways in which a check answers: a plain value, an effect that is done, one that yields, one that takes its time. */
export type Manner = "plain" | "done" | "yields" | "sleeps"

/** What each check says, and in which way. */
export type Answers = { readonly [N in Name]: { readonly said: Said; readonly manner: Manner } }

// ---- generators

const leafOf = (names: ReadonlyArray<Name>): Arbitrary.Arbitrary<Spec> => {
  const check = Arbitrary.schema(Schema.TaggedStruct("Check", { name: Schema.Literals(names) }))
  const constant = Arbitrary.schema(Schema.Union([Schema.TaggedStruct("Allow", {}), Schema.TaggedStruct("Deny", {})]))
  return Testing.oneOf<Spec>([constant, check, check, check, check])
}

const specOf = (names: ReadonlyArray<Name>): Arbitrary.Arbitrary<Spec> =>
  Testing.expressions<Spec>(leafOf(names), {
    and: (left, right) => ({ _tag: "And", left, right }),
    or: (left, right) => ({ _tag: "Or", left, right }),
    not: (member) => ({ _tag: "Not", member }),
    all: (members) => ({ _tag: "All", members }),
    any: (members) => ({ _tag: "Any", members })
  })

/** Any permission, up to four expressions deep. */
export const spec: Arbitrary.Arbitrary<Spec> = specOf(names)

/** Any permission that the object phase decides: one without checks of events and groups. */
export const messageSpec: Arbitrary.Arbitrary<Spec> = specOf(
  names.filter((name) => phaseOf[name] !== "delivery" && phaseOf[name] !== "group")
)

const broken: ReadonlyArray<Broken> = ["fail", "die", "throw", "odd", "interrupt"]

const answersOf = (said: ReadonlyArray<Said>, manners: ReadonlyArray<Manner>): Arbitrary.Arbitrary<Answers> => {
  const answer = Schema.Struct({ said: Schema.Literals(said), manner: Schema.Literals(manners) })
  return Arbitrary.schema(Schema.Record(Schema.Literals(names), answer))
}

/** Every check says yes or no. */
export const answers: Arbitrary.Arbitrary<Answers> = answersOf(["yes", "no"], ["plain", "done", "yields"])

/** About one check in three breaks. */
export const brittleAnswers: Arbitrary.Arbitrary<Answers> = answersOf(
  ["yes", "yes", "yes", "yes", "yes", "no", "no", "no", "no", "no", ...broken],
  ["plain", "done", "yields"]
)

/** Which checks to break, and how. */
export const breakage: Arbitrary.Arbitrary<{ readonly [N in Name]: Broken | "whole" }> = Arbitrary.schema(
  Schema.Record(Schema.Literals(names), Schema.Literals(["whole", "whole", ...broken]))
)

// ---- the permission that a description stands for

/** How a check that is told to fail does so. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", { check: Schema.String }) {}

/** A permission of a description, and the checks that it has asked since, in their order. */
export interface Built {
  readonly permission: Permission.Permission<never, Refused, ConnectionScope.ConnectionScope>
  readonly asked: Array<Name>
}

/** Builds the permission of a description, with checks that answer as they are told. */
export const build = (spec: Spec, answers: Answers): Built => {
  const asked: Array<Name> = []
  const checks = new Map<Name, Built["permission"]>()
  const checkOf = (name: Name): Built["permission"] => {
    const known = checks.get(name)
    if (known !== undefined) return known
    const made = make(name, answers[name].manner, () => {
      asked.push(name)
      return answer(name, answers)
    })
    checks.set(name, made)
    return made
  }
  const permissionOf = (spec: Spec): Built["permission"] => {
    switch (spec._tag) {
      case "Allow":
        return Permission.allow
      case "Deny":
        return Permission.deny
      case "Check":
        return checkOf(spec.name)
      case "And":
        return Permission.and(permissionOf(spec.left), permissionOf(spec.right))
      case "Or":
        return Permission.or(permissionOf(spec.left), permissionOf(spec.right))
      case "Not":
        return Permission.not(permissionOf(spec.member))
      case "All":
        return Permission.all(spec.members.map(permissionOf))
      case "Any":
        return Permission.any(spec.members.map(permissionOf))
    }
  }
  return { permission: permissionOf(spec), asked }
}

const make = (
  name: Name,
  manner: Manner,
  answer: () => Permission.Answer<Refused, never>
): Built["permission"] => {
  const options = { reason: `no ${name}`, code: name }
  switch (phaseOf[name]) {
    case "connection":
      return manner === "plain"
        ? Permission.connection(name, answer, options)
        : Permission.connection(name, Effect.suspend(() => lift(answer())), options)
    case "action":
      return Permission.action(name, answer, options)
    case "object":
      return Permission.object()(name, answer, options)
    case "group":
      return Permission.group()(name, answer, options)
    case "delivery":
      return Permission.delivery()(name, answer, options)
  }
}

const answer = (name: Name, answers: Answers): Permission.Answer<Refused, never> => {
  const { manner, said } = answers[name]
  switch (manner) {
    case "plain":
      return say(name, said)
    case "done":
      return said === "throw" ? Effect.die(thrown(name)) : lift(say(name, said))
    case "yields":
      return Effect.andThen(Effect.yieldNow, () => lift(say(name, said)))
    case "sleeps":
      return Effect.delay(Effect.suspend(() => lift(say(name, said))), "1 minute")
  }
}

const lift = <E>(answer: Permission.Answer<E, never>): Effect.Effect<boolean, E> =>
  Effect.isEffect(answer) ? answer : Effect.succeed(answer)

const say = (name: Name, said: Said): Permission.Answer<Refused, never> => {
  switch (said) {
    case "yes":
      return true
    case "no":
      return false
    case "fail":
      return Effect.fail(new Refused({ check: name }))
    case "die":
      return Effect.die(thrown(name))
    case "throw":
      throw thrown(name)
    case "odd":
      return "true" as never
    case "interrupt":
      return Effect.interrupt
  }
}

const thrown = (name: Name): Error => new Error(`${name} broke`)

/** The facts of each phase. */
export const factsOf: { readonly [P in Decision.Phase]: Permission.Facts } = {
  connection: { phase: "connection" },
  action: { phase: "action", action: "edit", route: "messages/1/", query: Query.empty, params: { id: 1 } },
  object: {
    phase: "object",
    action: "edit",
    route: "messages/1/",
    query: Query.empty,
    params: { id: 1 },
    payload: { text: "hi" },
    object: { authorId: 1 }
  },
  group: { phase: "group", group: "room", params: { room: "lobby" } },
  delivery: { phase: "delivery", type: "message.posted", event: { text: "hi" } }
}

/** What connection checks are told of the connection. */
export const scope: ConnectionScope.ConnectionScope["Service"] = ConnectionScope.make({ id: "1", url: "/ws/" }, {})

/** Decides a permission by the facts of a phase. */
export const decide = <F, E>(
  permission: Permission.Permission<F, E, ConnectionScope.ConnectionScope>,
  phase: Decision.Phase
): Effect.Effect<Decision.Decision<typeof permission>> =>
  Effect.provideService(Permission.decide(permission, factsOf[phase]), ConnectionScope.ConnectionScope, scope)

/** Explains a permission by the facts of a phase. */
export const explain = <F, E>(
  permission: Permission.Permission<F, E, ConnectionScope.ConnectionScope>,
  phase: Decision.Phase
): Effect.Effect<Permission.Explanation> =>
  Effect.provideService(Permission.explain(permission, factsOf[phase]), ConnectionScope.ConnectionScope, scope)

// ---- the reference

/** The phases. */
export const phases: ReadonlyArray<Decision.Phase> = ["connection", "action", "object", "group", "delivery"]

/** The checks that can be decided in a phase, by their own phases. */
export const decidable: { readonly [P in Decision.Phase]: ReadonlyArray<Decision.Phase> } = {
  connection: ["connection"],
  action: ["connection", "action"],
  object: ["connection", "action", "object"],
  group: ["connection", "group"],
  delivery: ["connection", "delivery"]
}

/** What a permission can come to when all of its checks are asked. */
export type Outcome = Decision.Decision["_tag"]

type Table = { readonly [O in Outcome]: { readonly [O in Outcome]: Outcome } }

/** Kleene's strong conjunction, with `Failed` as the unknown that nothing resolves. */
export const conjunction: Table = {
  Allow: { Allow: "Allow", Deny: "Deny", Pending: "Pending", Failed: "Failed" },
  Deny: { Allow: "Deny", Deny: "Deny", Pending: "Deny", Failed: "Deny" },
  Pending: { Allow: "Pending", Deny: "Deny", Pending: "Pending", Failed: "Pending" },
  Failed: { Allow: "Failed", Deny: "Deny", Pending: "Pending", Failed: "Failed" }
}

/** Kleene's strong disjunction, with `Failed` as the unknown that nothing resolves. */
export const disjunction: Table = {
  Allow: { Allow: "Allow", Deny: "Allow", Pending: "Allow", Failed: "Allow" },
  Deny: { Allow: "Allow", Deny: "Deny", Pending: "Pending", Failed: "Failed" },
  Pending: { Allow: "Allow", Deny: "Pending", Pending: "Pending", Failed: "Pending" },
  Failed: { Allow: "Allow", Deny: "Failed", Pending: "Pending", Failed: "Failed" }
}

/** Kleene's strong negation. */
export const negation: { readonly [O in Outcome]: Outcome } = {
  Allow: "Deny",
  Deny: "Allow",
  Pending: "Pending",
  Failed: "Failed"
}

/** What a check comes to in a phase. */
export const checkOutcome = (name: Name, answers: Answers, phase: Decision.Phase): Outcome => {
  if (!decidable[phase].includes(phaseOf[name])) return "Pending"
  const { said } = answers[name]
  return said === "yes" ? "Allow" : said === "no" ? "Deny" : "Failed"
}

/** What a permission must come to in a phase. */
export const outcome = (spec: Spec, answers: Answers, phase: Decision.Phase): Outcome => {
  const of = (spec: Spec) => outcome(spec, answers, phase)
  switch (spec._tag) {
    case "Allow":
    case "Deny":
      return spec._tag
    case "Check":
      return checkOutcome(spec.name, answers, phase)
    case "And":
      return conjunction[of(spec.left)][of(spec.right)]
    case "Or":
      return disjunction[of(spec.left)][of(spec.right)]
    case "Not":
      return negation[of(spec.member)]
    case "All":
      return spec.members.reduce<Outcome>((so, member) => conjunction[so][of(member)], "Allow")
    case "Any":
      return spec.members.reduce<Outcome>((so, member) => disjunction[so][of(member)], "Deny")
  }
}

/** The members of a conjunction or disjunction. */
const membersOf = (spec: Spec & { readonly _tag: "And" | "Or" | "All" | "Any" }): ReadonlyArray<Spec> =>
  "members" in spec ? spec.members : [spec.left, spec.right]

/** The checks of a description, from left to right. */
export const namesIn = (spec: Spec): ReadonlyArray<Name> => {
  switch (spec._tag) {
    case "Allow":
    case "Deny":
      return []
    case "Check":
      return [spec.name]
    case "Not":
      return namesIn(spec.member)
    default:
      return membersOf(spec).flatMap(namesIn)
  }
}

/** The checks that a phase must ask, in their order: none after one that has decided its expression. */
export const mustAsk = (spec: Spec, answers: Answers, phase: Decision.Phase): ReadonlyArray<Name> => {
  switch (spec._tag) {
    case "Allow":
    case "Deny":
      return []
    case "Check":
      return decidable[phase].includes(phaseOf[spec.name]) ? [spec.name] : []
    case "Not":
      return mustAsk(spec.member, answers, phase)
    default: {
      const decisive = spec._tag === "And" || spec._tag === "All" ? "Deny" : "Allow"
      const members = membersOf(spec)
      const last = members.findIndex((member) => outcome(member, answers, phase) === decisive)
      return (last < 0 ? members : members.slice(0, last + 1)).flatMap((member) => mustAsk(member, answers, phase))
    }
  }
}

/** Who must be named as the one who denied, for a description that comes to Deny. */
export const mustDeny = (
  spec: Spec,
  answers: Answers,
  phase: Decision.Phase
): { readonly check: string; readonly phase: Decision.Phase } => {
  switch (spec._tag) {
    case "Check":
      return { check: spec.name, phase: phaseOf[spec.name] }
    case "Not":
      return { check: print(spec), phase: latest(namesIn(spec).map((name) => phaseOf[name])) }
    case "And":
    case "All": {
      const first = membersOf(spec).find((member) => outcome(member, answers, phase) === "Deny")!
      return mustDeny(first, answers, phase)
    }
    case "Or":
    case "Any": {
      const denials = membersOf(spec).map((member) => mustDeny(member, answers, phase))
      const last = latest(denials.map((denial) => denial.phase))
      return denials.findLast((denial) => denial.phase === last) ?? { check: "or()", phase: "connection" }
    }
    case "Allow":
    case "Deny":
      return { check: "deny", phase: "connection" }
  }
}

/** The check whose failure must be shown, for a description that comes to Failed. */
export const mustFail = (spec: Spec, answers: Answers, phase: Decision.Phase): Name => {
  switch (spec._tag) {
    case "Check":
      return spec.name
    case "Not":
      return mustFail(spec.member, answers, phase)
    case "Allow":
    case "Deny":
      throw new Error("a constant does not fail")
    default:
      return mustFail(membersOf(spec).find((member) => outcome(member, answers, phase) === "Failed")!, answers, phase)
  }
}

/** How a permission must be explained, without the causes of what failed. */
export const mustExplain = (spec: Spec, answers: Answers, phase: Decision.Phase): unknown => {
  const of = outcome(spec, answers, phase)
  switch (spec._tag) {
    case "Check":
      return { _tag: "Check", name: spec.name, phase: phaseOf[spec.name], outcome: of }
    case "Allow":
    case "Deny":
      return { _tag: "Constant", outcome: of, members: [] }
    case "Not":
      return { _tag: "Not", outcome: of, members: [mustExplain(spec.member, answers, phase)] }
    default: {
      const members = membersOf(spec).map((member) => mustExplain(member, answers, phase))
      return { _tag: spec._tag === "And" || spec._tag === "All" ? "And" : "Or", outcome: of, members }
    }
  }
}

const latest = (of: ReadonlyArray<Decision.Phase>): Decision.Phase =>
  phases.findLast((phase) => of.includes(phase)) ?? "connection"

/** What a permission must be printed as. */
export const print = (spec: Spec): string => {
  switch (spec._tag) {
    case "Allow":
    case "Deny":
      return spec._tag.toLowerCase()
    case "Check":
      return spec.name
    case "Not":
      return `not(${print(spec.member)})`
    default:
      return `${spec._tag === "And" || spec._tag === "All" ? "and" : "or"}(${membersOf(spec).map(print).join(", ")})`
  }
}
