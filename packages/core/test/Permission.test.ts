import { Authentication, ConnectionScope, Decision, Permission, Query } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import type * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { pipe } from "effect/Function"
import { TestClock } from "effect/testing"
import * as util from "node:util"
import type { Answers, Built, Manner, Name, Spec } from "./support/permissions.ts"
import * as Generated from "./support/permissions.ts"

const { build, decide, explain, phases } = Generated

const runs = (runs: number): { readonly arbitrary: Arbitrary.CheckOptions } => ({ arbitrary: { runs } })

/** Decides by one phase after the other, each time what the phase before has left. */
const through = Effect.fnUntraced(function*(permission: Built["permission"], phases: ReadonlyArray<Decision.Phase>) {
  let decision: Decision.Decision<Built["permission"]> = Decision.pending(permission)
  for (const phase of phases) {
    if (decision._tag === "Pending") decision = yield* decide(decision.residual, phase)
  }
  return decision
})

const message: ReadonlyArray<Decision.Phase> = ["connection", "action", "object"]
const delivered: ReadonlyArray<Decision.Phase> = ["connection", "delivery"]

/** Everything about a decision but the stack traces of its cause. */
const shown = (decision: Decision.Decision<Built["permission"]>): unknown =>
  decision._tag === "Pending"
    ? { _tag: decision._tag, residual: String(decision.residual) }
    : decision._tag === "Failed"
    ? { _tag: decision._tag, check: decision.check, reasons: decision.cause.reasons.map((reason) => reason._tag) }
    : decision

const isDecided = (outcome: Permission.Outcome): outcome is "Allow" | "Deny" =>
  outcome === "Allow" || outcome === "Deny"

const leaf = (name: Name): Spec => ({ _tag: "Check", name })
const not = (member: Spec): Spec => ({ _tag: "Not", member })
const and = (left: Spec, right: Spec): Spec => ({ _tag: "And", left, right })
const or = (left: Spec, right: Spec): Spec => ({ _tag: "Or", left, right })
const all = (...members: ReadonlyArray<Spec>): Spec => ({ _tag: "All", members })
const any = (...members: ReadonlyArray<Spec>): Spec => ({ _tag: "Any", members })
const allow: Spec = { _tag: "Allow" }
const deny: Spec = { _tag: "Deny" }

class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number; readonly admin: boolean }>()(
  "test/CurrentUser"
) {}

describe("Permission", () => {
  describe("the reference itself", () => {
    const { conjunction, disjunction, negation } = Generated
    const outcomes = ["Allow", "Deny", "Pending", "Failed"] as const

    it("has tables that are dual, commutative and associative", () => {
      for (const a of outcomes) {
        assert.strictEqual(negation[negation[a]], a)
        assert.strictEqual(conjunction[a][a], a)
        for (const b of outcomes) {
          assert.strictEqual(negation[conjunction[a][b]], disjunction[negation[a]][negation[b]])
          assert.strictEqual(conjunction[a][b], conjunction[b][a])
          for (const c of outcomes) {
            assert.strictEqual(conjunction[conjunction[a][b]][c], conjunction[a][conjunction[b][c]])
          }
        }
      }
    })

    it.effect.prop(
      "meets every outcome in every phase that has it, and expressions worth deciding",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      ({ answers, spec }) =>
        Effect.sync(() => {
          for (const phase of phases) met.add(`${phase}: ${Generated.outcome(spec, answers, phase)}`)
          largest = Math.max(largest, Generated.namesIn(spec).length)
        }),
      runs(200)
    )
    const met = new Set<string>()
    let largest = 0

    it("has met them", () => {
      assert.strictEqual(met.size, phases.length * outcomes.length)
      assert.isAbove(largest, 8)
    })
  })

  describe("decide, in one phase", () => {
    it.effect.prop(
      "comes to what the truth tables say, asks the checks that it must and no others, and names who denied or broke",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        for (const phase of phases) {
          const { asked, permission } = build(spec, answers)
          const decision = yield* decide(permission, phase)
          const outcome = Generated.outcome(spec, answers, phase)
          assert.strictEqual(decision._tag, outcome, phase)
          assert.deepStrictEqual(asked, Generated.mustAsk(spec, answers, phase), phase)
          if (decision._tag === "Deny") {
            const { check, phase: decidedIn } = Generated.mustDeny(spec, answers, phase)
            const isCheck = check in Generated.phaseOf
            assert.deepStrictEqual(decision.denial, {
              check,
              phase: decidedIn,
              reason: isCheck ? `no ${check}` : undefined,
              code: isCheck ? check : undefined,
              private: false
            })
          }
          if (decision._tag === "Failed") {
            assert.strictEqual(decision.check, Generated.mustFail(spec, answers, phase))
            assertCause(decision, answers)
          }
        }
      }),
      runs(500)
    )

    it.effect.prop(
      "leaves to the residual no check that it can decide, and no check that was not there",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        for (const phase of phases) {
          const decision = yield* decide(build(spec, answers).permission, phase)
          if (decision._tag !== "Pending") continue
          const left = Permission.checks(decision.residual)
          assert.isAbove(left.length, 0)
          for (const check of left) {
            assert.notInclude(Generated.decidable[phase], check.phase)
            assert.include(Generated.namesIn(spec), check.name)
          }
        }
      }),
      runs(300)
    )

    it.effect.prop(
      "never asks an action or object check on a connection",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        const { asked, permission } = build(spec, answers)
        yield* decide(permission, "connection")
        assert.isTrue(asked.every((name) => Generated.phaseOf[name] === "connection"), asked.join())
        asked.length = 0
        yield* decide(permission, "delivery")
        assert.isTrue(
          asked.every((name) => ["connection", "delivery"].includes(Generated.phaseOf[name])),
          asked.join()
        )
      }),
      runs(200)
    )

    it.effect.prop(
      "is a description: it can be run again, and twice at once",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        for (const phase of phases) {
          const effect = decide(build(spec, answers).permission, phase)
          const first = shown(yield* effect)
          const again = yield* Effect.all([effect, effect, effect], { concurrency: "unbounded" })
          for (const decision of again) assert.deepStrictEqual(shown(decision), first)
        }
      }),
      runs(200)
    )
  })

  describe("Kleene algebra", () => {
    const laws: Readonly<Record<string, (a: Spec, b: Spec, c: Spec) => readonly [left: Spec, right: Spec]>> = {
      "and is commutative": (a, b) => [and(a, b), and(b, a)],
      "or is commutative": (a, b) => [or(a, b), or(b, a)],
      "and is associative": (a, b, c) => [and(and(a, b), c), and(a, and(b, c))],
      "or is associative": (a, b, c) => [or(or(a, b), c), or(a, or(b, c))],
      "and is idempotent": (a) => [and(a, a), a],
      "or is idempotent": (a) => [or(a, a), a],
      "and absorbs or": (a, b) => [and(a, or(a, b)), a],
      "or absorbs and": (a, b) => [or(a, and(a, b)), a],
      "and distributes over or": (a, b, c) => [and(a, or(b, c)), or(and(a, b), and(a, c))],
      "or distributes over and": (a, b, c) => [or(a, and(b, c)), and(or(a, b), or(a, c))],
      "allow is the identity of and": (a) => [and(allow, a), a],
      "deny is the identity of or": (a) => [or(deny, a), a],
      "deny annihilates and": (a) => [and(a, deny), deny],
      "allow annihilates or": (a) => [or(a, allow), allow],
      "not is its own inverse": (a) => [not(not(a)), a],
      "De Morgan, of and": (a, b) => [not(and(a, b)), or(not(a), not(b))],
      "De Morgan, of or": (a, b) => [not(or(a, b)), and(not(a), not(b))],
      "Kleene's: what contradicts itself implies what excludes its middle": (a, b) => {
        const contradiction = and(a, not(a))
        return [and(contradiction, or(b, not(b))), contradiction]
      },
      "all is and, folded": (a, b, c) => [all(a, b, c), and(and(a, b), c)],
      "any is or, folded": (a, b, c) => [any(a, b, c), or(or(a, b), c)],
      "all of one is that one": (a) => [all(a), a],
      "any of one is that one": (a) => [any(a), a],
      "all of none is allow": () => [all(), allow],
      "any of none is deny": () => [any(), deny]
    }

    const sides = Effect.fnUntraced(function*(sides: readonly [Spec, Spec], answers: Answers, phase: Decision.Phase) {
      const left = yield* decide(build(sides[0], answers).permission, phase)
      const right = yield* decide(build(sides[1], answers).permission, phase)
      return [left._tag, right._tag] as const
    })

    for (const [name, law] of Object.entries(laws)) {
      it.effect.prop(
        name,
        {
          a: Generated.messageSpec,
          b: Generated.messageSpec,
          c: Generated.messageSpec,
          answers: Generated.answers,
          brittle: Generated.brittleAnswers
        },
        Effect.fnUntraced(function*({ a, answers, b, brittle, c }) {
          const law_ = law(a, b, c)
          for (const phase of phases) {
            const [left, right] = yield* sides(law_, answers, phase)
            assert.strictEqual(left, right, phase)
          }
          const [left, right] = yield* sides(law_, brittle, "object")
          assert.strictEqual(left, right, "with checks that break")
          // Before the last phase a failure may still hide behind what is pending: neither allows.
          for (const phase of phases) {
            const [left, right] = yield* sides(law_, brittle, phase)
            if (isDecided(left) || isDecided(right)) assert.strictEqual(left, right, phase)
          }
        }),
        runs(200)
      )
    }
  })

  describe("phase by phase", () => {
    it.effect.prop(
      "what is decided in a phase stays so in every later one, whatever its checks say",
      { spec: Generated.spec, answers: Generated.brittleAnswers, other: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, other, spec }) {
        for (const order of [message, delivered]) {
          for (const [i, phase] of order.entries()) {
            const { _tag: decided } = yield* decide(build(spec, answers).permission, phase)
            if (decided === "Pending") continue
            for (const later of order.slice(i + 1)) {
              const isKnown = (name: Name) => Generated.decidable[phase].includes(Generated.phaseOf[name])
              const mixed = Object.fromEntries(
                Generated.names.map((name) => [name, isKnown(name) ? answers[name] : other[name]])
              ) as unknown as Answers
              const { _tag } = yield* decide(build(spec, mixed).permission, later)
              assert.strictEqual(_tag, decided, `${phase}, then ${later}`)
            }
          }
        }
      }),
      runs(300)
    )

    it.effect.prop(
      "the residual and then the rest come to what the whole comes to at once",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        for (
          const order of [message, ["action", "object"], delivered] as const satisfies ReadonlyArray<
            ReadonlyArray<Decision.Phase>
          >
        ) {
          const { asked, permission } = build(spec, answers)
          const last = order.at(-1)!
          const whole = yield* decide(permission, last)
          asked.length = 0
          const rest = yield* through(permission, order)
          assert.strictEqual(rest._tag, whole._tag)
          assert.strictEqual(Decision.conclude(rest)._tag, Decision.conclude(whole)._tag)
          for (const name of Generated.names) {
            const times = (all: ReadonlyArray<Name>) => all.filter((other) => other === name).length
            assert.isAtMost(times(asked), times(Generated.namesIn(spec)), `${name} was asked again`)
          }
          if (rest._tag === "Failed") assertCause(rest, answers)
        }
      }),
      runs(300)
    )

    it.effect.prop(
      "what is pending after the last phase is denied",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        for (const order of [message, delivered]) {
          const decision = yield* through(build(spec, answers).permission, order)
          const concluded = Decision.conclude(decision)
          if (decision._tag === "Pending") assert.strictEqual(concluded, Decision.undecided)
          else assert.strictEqual(concluded, decision)
        }
      }),
      runs(200)
    )

    it.effect("delivery decides connection and delivery checks, and leaves those of a message", () =>
      Effect.gen(function*() {
        const answers = yes({ d1: "no" })
        const decisions = yield* Effect.forEach(
          [leaf("c1"), leaf("a1"), leaf("o1"), leaf("d1"), or(leaf("d1"), leaf("o1")), and(leaf("c1"), leaf("a1"))],
          (spec) => decide(build(spec, answers).permission, "delivery")
        )
        assert.deepStrictEqual(decisions.map(({ _tag }) => _tag), [
          "Allow",
          "Pending",
          "Pending",
          "Deny",
          "Pending",
          "Pending"
        ])
        const inMessage = yield* Effect.forEach(
          message,
          (phase) => decide(build(leaf("d1"), answers).permission, phase)
        )
        assert.deepStrictEqual(inMessage.map(({ _tag }) => _tag), ["Pending", "Pending", "Pending"])
      }))

    it.effect("or(isAdmin, isAuthor) lets the admin in at once, the author at the object, and nobody else", () =>
      Effect.gen(function*() {
        let asked = 0
        const isAdmin = Permission.connection("isAdmin", CurrentUser.use((user) => user.admin))
        const isAuthor = Permission.object<{ readonly authorId: number }>()("isAuthor", ({ object }) => {
          asked++
          return CurrentUser.use((user) => user.id === object.authorId)
        })
        const permission = Permission.or(isAdmin, isAuthor)
        const as = (user: { readonly id: number; readonly admin: boolean }) =>
          Effect.provideService(CurrentUser.identity, Authentication.authenticated(user))
        const object = { ...Generated.factsOf.object, object: { authorId: 7 } } as Permission.Facts

        assert.deepStrictEqual(
          yield* Permission.decide(permission, { phase: "connection" }).pipe(as({ id: 1, admin: true })),
          Decision.allow
        )
        assert.strictEqual(asked, 0)

        const pending = yield* Permission.decide(permission, { phase: "connection" }).pipe(as({ id: 7, admin: false }))
        assert(pending._tag === "Pending")
        assert.strictEqual(String(pending.residual), "isAuthor")
        assert.strictEqual(Decision.conclude(pending)._tag, "Deny")
        const action = yield* Permission.decide(pending.residual, Generated.factsOf.action).pipe(
          as({ id: 7, admin: false })
        )
        assert(action._tag === "Pending")
        assert.strictEqual(asked, 0)
        const author = yield* Permission.decide(action.residual, object).pipe(as({ id: 7, admin: false }))
        assert.deepStrictEqual(author, Decision.allow)
        const other = yield* Permission.decide(action.residual, object).pipe(as({ id: 8, admin: false }))
        assert(other._tag === "Deny")
        assert.strictEqual(other.denial.check, "isAuthor")

        const anonymous = yield* Permission.decide(permission, object).pipe(
          Effect.provideService(CurrentUser.identity, Authentication.anonymous)
        )
        assert(anonymous._tag === "Failed")
        assert.strictEqual(anonymous.check, "isAdmin")
      }))
  })

  describe("fail-closed", () => {
    it.effect.prop(
      "a check that breaks never makes an Allow or a Deny that was not there without it",
      { spec: Generated.spec, answers: Generated.answers, breakage: Generated.breakage },
      Effect.fnUntraced(function*({ answers, breakage, spec }) {
        const broken = Object.fromEntries(Generated.names.map((name) => {
          const { manner, said } = answers[name]
          return [name, { said: breakage[name] === "whole" ? said : breakage[name], manner }]
        })) as unknown as Answers
        for (const phase of phases) {
          const { _tag: whole } = yield* decide(build(spec, answers).permission, phase)
          const { _tag } = yield* decide(build(spec, broken).permission, phase)
          if (isDecided(_tag)) assert.strictEqual(_tag, whole, phase)
          else if (whole === "Pending") assert.strictEqual(_tag, "Pending", phase)
        }
        for (const order of [message, delivered]) {
          const whole = Decision.conclude(yield* through(build(spec, answers).permission, order))
          const decision = Decision.conclude(yield* through(build(spec, broken).permission, order))
          if (decision._tag === "Allow") assert.strictEqual(whole._tag, "Allow", order.join())
        }
      }),
      runs(400)
    )

    const breaking: Readonly<Record<string, () => unknown>> = {
      "a typed error": () => Effect.fail(new Generated.Refused({ check: "check" })),
      "a defect": () => Effect.die(new Error("broke")),
      "an exception": () => {
        throw new Error("broke")
      },
      "an exception of an effect": () =>
        Effect.sync(() => {
          throw new Error("broke")
        }),
      "an interruption": () => Effect.interrupt,
      "undefined": () => undefined,
      "null": () => null,
      "0": () => 0,
      "1": () => 1,
      "a text": () => "true",
      "an empty text": () => "",
      "NaN": () => Number.NaN,
      "a bigint": () => 0n,
      "a symbol": () => Symbol("true"),
      "an object": () => ({}),
      "an object without a prototype": () => Query.parse("?admin=1"),
      "an object that cannot be printed": () => ({
        toString() {
          throw new Error("no text")
        }
      }),
      "a boxed boolean": () => new Boolean(true),
      "a function": () => () => true,
      "a promise": () => Promise.resolve(true),
      "an effect of undefined": () => Effect.void,
      "an effect of 1": () => Effect.succeed(1),
      "an effect of a text, later": () => Effect.as(Effect.yieldNow, "true"),
      "an effect of an object without a prototype": () => Effect.succeed(Object.create(null)),
      "an effect of an effect": () => Effect.succeed(Effect.succeed(true))
    }
    for (const [name, answer] of Object.entries(breaking)) {
      it.effect(`neither yes nor no: ${name}`, () =>
        Effect.gen(function*() {
          const checks = [
            Permission.connection("check", () => answer() as boolean),
            Permission.action("check", () => answer() as boolean),
            Permission.object()("check", () => answer() as boolean),
            Permission.delivery()("check", () => answer() as boolean)
          ] as ReadonlyArray<Built["permission"]>
          for (const check of checks) {
            const phase = Permission.checks(check)[0]!.phase
            const is = Effect.fnUntraced(function*(permission: Built["permission"]) {
              return yield* decide(permission, phase)
            })
            for (const broken of [check, Permission.not(check), Permission.not(Permission.not(check))]) {
              const decision = yield* is(broken)
              assert(decision._tag === "Failed", `${phase}: ${decision._tag}`)
              assert.strictEqual(decision.check, "check")
              assert.isAbove(decision.cause.reasons.length, 0)
              assert.strictEqual((yield* is(Permission.and(broken, Permission.allow)))._tag, "Failed")
              assert.strictEqual((yield* is(Permission.and(broken, Permission.deny)))._tag, "Deny")
              assert.strictEqual((yield* is(Permission.or(broken, Permission.deny)))._tag, "Failed")
              assert.strictEqual((yield* is(Permission.or(broken, Permission.allow)))._tag, "Allow")
              assert.strictEqual((yield* explain(broken, phase)).outcome, "Failed")
            }
          }
        }))
    }

    it.effect("a check that is too slow for its timeout fails", () =>
      Effect.gen(function*() {
        const slow = Permission.connection("slow", Effect.timeout(Effect.never, "1 second"))
        const fiber = yield* Effect.forkChild(Permission.decide(Permission.not(slow), { phase: "connection" }))
        yield* TestClock.adjust("1 second")
        const decision = yield* Fiber.join(fiber)
        assert(decision._tag === "Failed")
        assert.isTrue(Cause.isTimeoutError(Cause.squash(decision.cause)))
      }))

    it.effect("who stops waiting for a decision gets none", () =>
      Effect.gen(function*() {
        let isReleased = false
        const never = Permission.action("never", () =>
          Effect.onInterrupt(Effect.never, () =>
            Effect.sync(() => {
              isReleased = true
            })))
        const fiber = yield* Effect.forkChild(
          Permission.decide(Permission.not(never), Generated.factsOf.action),
          { startImmediately: true }
        )
        yield* Fiber.interrupt(fiber)
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.hasInterrupts(exit))
        assert.isTrue(isReleased)
      }))
  })

  describe("checks that take their time", () => {
    const inManner = (answers: Answers, manner: Manner): Answers =>
      Object.fromEntries(Object.entries(answers).map(([name, { said }]) => [name, { said, manner }])) as never

    /** Lets time pass until the effect is done. */
    const waitFor = Effect.fnUntraced(function*<A>(effect: Effect.Effect<A>) {
      const fiber = yield* Effect.forkChild(effect)
      yield* TestClock.adjust("1 minute")
      for (let minutes = 0; fiber.pollUnsafe() === undefined && minutes < 500; minutes++) {
        yield* TestClock.adjust("1 minute")
      }
      return yield* Fiber.join(fiber)
    })

    it.effect.prop(
      "decide as those which answer at once, and in the same order",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        for (const phase of phases) {
          const mixed = build(spec, answers)
          const expected = shown(yield* decide(mixed.permission, phase))
          for (const manner of ["plain", "done", "yields", "sleeps"] as const) {
            const { asked, permission } = build(spec, inManner(answers, manner))
            const decision = yield* waitFor(decide(permission, phase))
            assert.deepStrictEqual(shown(decision), expected, manner)
            assert.deepStrictEqual(asked, mixed.asked, manner)
          }
        }
      }),
      runs(200)
    )

    it.effect("are asked one after the other", () =>
      Effect.gen(function*() {
        const { asked, permission } = build(all(leaf("c1"), leaf("c2"), leaf("c3")), inManner(yes({}), "sleeps"))
        const fiber = yield* Effect.forkChild(decide(permission, "connection"), { startImmediately: true })
        assert.deepStrictEqual(asked, ["c1"])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(asked, ["c1", "c2"])
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(asked, ["c1", "c2", "c3"])
        assert.deepStrictEqual(yield* Fiber.join(fiber), Decision.allow)
      }))

    it.effect("may be many", () =>
      Effect.gen(function*() {
        const many = (manner: Manner) =>
          build(all(...Array.from({ length: 20_000 }, () => leaf("c1"))), inManner(yes({}), manner))
        for (const manner of ["plain", "done", "yields"] as const) {
          assert.deepStrictEqual(yield* decide(many(manner).permission, "connection"), Decision.allow)
        }
      }))
  })

  describe("explain", () => {
    it.effect.prop(
      "gives each part its outcome, the root that of decide, and asks every check that the phase can decide",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        for (const phase of phases) {
          const { asked, permission } = build(spec, answers)
          const explanation = yield* explain(permission, phase)
          assert.deepStrictEqual(withoutCauses(explanation), Generated.mustExplain(spec, answers, phase))
          assert.deepStrictEqual(
            asked,
            Generated.namesIn(spec).filter((name) => Generated.decidable[phase].includes(Generated.phaseOf[name]))
          )
          assert.strictEqual(explanation.outcome, (yield* decide(permission, phase))._tag)
        }
      }),
      runs(300)
    )

    it.effect("keeps the cause of a check that failed, of no other", () =>
      Effect.gen(function*() {
        const { permission } = build(all(leaf("c1"), leaf("c2"), leaf("a1")), yes({ c2: "fail" }))
        const explanation = yield* explain(permission, "connection")
        assert(explanation._tag === "And")
        const causes = explanation.members.map((member) => member._tag === "Check" ? member.cause : undefined)
        assert.isUndefined(causes[0])
        assert.isUndefined(causes[2])
        assert.deepStrictEqual(causes[1], Cause.fail(new Generated.Refused({ check: "c2" })))
      }))

    it.effect("prints as an indented tree", () =>
      Effect.gen(function*() {
        const spec = or(leaf("c1"), all(not(leaf("c2")), leaf("o1"), leaf("c3"), allow, deny, any()))
        const explanation = yield* explain(build(spec, yes({ c1: "no", c2: "no", c3: "die" })).permission, "action")
        assert.strictEqual(
          Permission.printExplanation(explanation),
          `or: Deny
  c1 (connection): Deny
  and: Deny
    not: Allow
      c2 (connection): Deny
    o1 (object): Pending
    c3 (connection): Failed, Error: c3 broke
    allow
    deny
    or: Deny`
        )
        assert.strictEqual(
          Permission.printExplanation(yield* explain(build(leaf("c1"), yes({})).permission, "connection"), "> "),
          "> c1 (connection): Allow"
        )
      }))

    it.effect("prints what has failed, whatever that is", () =>
      Effect.gen(function*() {
        const printed = Effect.fnUntraced(function*(answer: Effect.Effect<boolean, unknown>) {
          const check = Permission.action("check", () => answer)
          return Permission.printExplanation(yield* Permission.explain(check, Generated.factsOf.action))
        })
        assert.strictEqual(
          yield* printed(Effect.fail(new Generated.Refused({ check: "check" }))),
          "check (action): Failed, Refused"
        )
        const unprintable = {
          toString() {
            throw new Error("no text")
          }
        }
        const odd = [undefined, null, "text", 1, Symbol("x"), Object.create(null), unprintable, { _tag: unprintable }]
        for (const defect of odd) {
          for (const answer of [Effect.die(defect), Effect.fail(defect)]) {
            const text = yield* printed(answer)
            assert.isTrue(text.startsWith("check (action): Failed"))
          }
        }
        assert.isTrue((yield* printed(Effect.interrupt)).startsWith("check (action): Failed"))
      }))
  })

  describe("who denied", () => {
    const said = (name: string, allows: boolean, options?: Permission.CheckOptions) =>
      Permission.connection(name, Effect.succeed(allows), options)
    const byAction = (name: string) => Permission.action(name, () => false)
    const byObject = (name: string) => Permission.object()(name, () => false)

    const denialOf = Effect.fnUntraced(function*(permission: Built["permission"]) {
      const decision = yield* decide(permission, "object")
      assert(decision._tag === "Deny")
      return decision.denial
    })

    it.effect("a check tells its reason, its code, and whether they are private", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* denialOf(said("isAdmin", false)), {
          check: "isAdmin",
          phase: "connection",
          reason: undefined,
          code: undefined,
          private: false
        })
        const options = { reason: "Admins only", code: "admins_only", private: true } as const
        for (
          const [phase, permission] of [
            ["connection", said("check", false, options)],
            ["connection", Permission.connection("check", () => false, options)],
            ["action", Permission.action("check", () => false, options)],
            ["action", Permission.action<unknown>()("check", () => false, options)],
            ["object", Permission.object()("check", () => false, options)]
          ] as ReadonlyArray<[Decision.Phase, Built["permission"]]>
        ) {
          const decision = yield* decide(permission, "object")
          assert.deepStrictEqual(decision, Decision.deny({ check: "check", phase, ...options }))
        }
        const delivery = yield* decide(Permission.delivery()("check", () => false, options), "delivery")
        assert.deepStrictEqual(delivery, Decision.deny({ check: "check", phase: "delivery", ...options }))
      }))

    it.effect("of an and, the first one that denies", () =>
      Effect.gen(function*() {
        const permission = Permission.all([byObject("first"), said("second", false), byAction("third")])
        assert.strictEqual((yield* denialOf(permission)).check, "first")
      }))

    it.effect("of an or, the one of the latest phase, of these the last one", () =>
      Effect.gen(function*() {
        const either = Permission.any([said("a", false), byObject("b"), byAction("c")])
        assert.strictEqual((yield* denialOf(either)).check, "b")
        const reversed = Permission.any([byAction("c"), byObject("b"), said("a", false)])
        assert.strictEqual((yield* denialOf(reversed)).check, "b")
        const two = Permission.any([byAction("c"), byAction("d"), said("a", false)])
        assert.strictEqual((yield* denialOf(two)).check, "d")
      }))

    it.effect("of a not, the not, with options of its own", () =>
      Effect.gen(function*() {
        const isBanned = said("isBanned", true, { reason: "inner", code: "inner", private: true })
        assert.deepStrictEqual(yield* denialOf(Permission.not(isBanned)), {
          check: "not(isBanned)",
          phase: "connection",
          reason: undefined,
          code: undefined,
          private: false
        })
        const options = { reason: "You are banned", code: "banned", private: false }
        const expected = { check: "not(isBanned)", phase: "connection" as const, ...options }
        assert.deepStrictEqual(yield* denialOf(Permission.not(isBanned, options)), expected)
        assert.deepStrictEqual(yield* denialOf(isBanned.pipe(Permission.not(options))), expected)
        const twice = Permission.not(Permission.not(said("isAdmin", false)), options)
        assert.deepStrictEqual(yield* denialOf(twice), { ...expected, check: "not(not(isAdmin))" })
      }))

    it.effect("of a not which had to wait, the same", () =>
      Effect.gen(function*() {
        const options = { reason: "Drafts are not shown", code: "draft", private: true }
        const isDraft = Permission.object<{ readonly authorId: number }>()("isDraft", () => true)
        const permission = Permission.not(isDraft, options)
        const expected = Decision.deny({ check: "not(isDraft)", phase: "object", ...options })
        assert.deepStrictEqual(yield* decide(permission, "object"), expected)
        assert.deepStrictEqual(yield* through(Permission.or(permission, Permission.deny), message), expected)
      }))

    it.effect("of deny and of any of none, themselves", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* denialOf(Permission.deny)).check, "deny")
        assert.strictEqual((yield* denialOf(Permission.any([]))).check, "or()")
        assert.strictEqual((yield* denialOf(Permission.not(Permission.allow))).check, "not(allow)")
      }))
  })

  describe("what a check is told", () => {
    it.effect("an action check: the action, its route, query and params; an object check: payload and object too", () =>
      Effect.gen(function*() {
        const told: Array<unknown> = []
        const note = (facts: object) => {
          told.push({ ...facts })
          return true
        }
        const action = Permission.action("a", note)
        const typed = Permission.action<{ readonly id: number }>()("b", note)
        const object = Permission.object()("c", note)
        const delivery = Permission.delivery()("d", note)
        const permission = Permission.all([action, typed, object, delivery])
        yield* Permission.decide(permission, Generated.factsOf.action)
        assert.deepStrictEqual(told.splice(0), [Generated.factsOf.action, Generated.factsOf.action])
        yield* Permission.decide(permission, Generated.factsOf.object)
        assert.deepStrictEqual(told.splice(0), Array.from({ length: 3 }, () => Generated.factsOf.object))
        yield* Permission.decide(permission, Generated.factsOf.delivery)
        assert.deepStrictEqual(told.splice(0), [Generated.factsOf.delivery])
      }))

    it.effect("a connection check: the scope, as a value or as a service", () =>
      Effect.gen(function*() {
        const scope = ConnectionScope.make({ id: "1", url: "/ws/", remoteAddress: "127.0.0.1" }, {})
        const isLocal = (address: string | undefined) => address === "127.0.0.1"
        const permissions = [
          Permission.connection("now", (scope) => isLocal(scope.remoteAddress)),
          Permission.connection("effect", (scope) => Effect.succeed(isLocal(scope.remoteAddress))),
          Permission.connection(
            "service",
            ConnectionScope.ConnectionScope.useSync((scope) => isLocal(scope.remoteAddress))
          )
        ]
        for (const permission of permissions) {
          const decision = yield* Permission.decide(permission, { phase: "connection" }).pipe(
            Effect.provideService(ConnectionScope.ConnectionScope, scope)
          )
          assert.deepStrictEqual(decision, Decision.allow)
          const other = yield* Permission.decide(permission, { phase: "connection" }).pipe(
            Effect.provideService(ConnectionScope.ConnectionScope, Generated.scope)
          )
          assert.strictEqual(other._tag, "Deny")
        }
      }))

    it.effect("an effect which is done already is as good as a value", () =>
      Effect.gen(function*() {
        const decide = (effect: Effect.Effect<boolean, string>) =>
          Permission.decide(Permission.connection("done", effect), { phase: "connection" })
        assert.deepStrictEqual(yield* decide(Effect.succeed(true)), Decision.allow)
        assert.strictEqual((yield* decide(Effect.succeed(false)))._tag, "Deny")
        assert.strictEqual((yield* decide(Effect.fail("no")))._tag, "Failed")
      }))

    it.effect("isAuthenticated: whether there is an identity", () =>
      Effect.gen(function*() {
        const decide = (identity: Authentication.Identity<{ readonly id: number; readonly admin: boolean }>) =>
          Permission.decide(Permission.isAuthenticated(CurrentUser), { phase: "connection" }).pipe(
            Effect.provideService(CurrentUser.identity, identity)
          )
        assert.deepStrictEqual(yield* decide(Authentication.authenticated({ id: 1, admin: false })), Decision.allow)
        assert.deepStrictEqual(
          yield* decide(Authentication.anonymous),
          Decision.deny({
            check: "isAuthenticated",
            phase: "connection",
            reason: "Authentication credentials were not provided",
            code: "not_authenticated",
            private: false
          })
        )
      }))
  })

  describe("as a value", () => {
    it.effect.prop(
      "prints as the expression it is, as text, as JSON and in Node",
      { spec: Generated.spec, answers: Generated.answers },
      ({ answers, spec }) =>
        Effect.sync(() => {
          const { asked, permission } = build(spec, answers)
          const text = Generated.print(spec)
          assert.strictEqual(Permission.print(permission), text)
          assert.strictEqual(String(permission), text)
          assert.strictEqual(JSON.stringify({ permission }), JSON.stringify({ permission: text }))
          assert.include(util.inspect(permission), text)
          assert.deepStrictEqual<ReadonlyArray<string>>(
            Permission.checks(permission).map((check) => check.name),
            Generated.namesIn(spec)
          )
          assert.deepStrictEqual(asked, [])
        }),
      runs(200)
    )

    it("prints what is left of it, with what failed", () => {
      assert.strictEqual(
        String(build(or(leaf("c1"), and(leaf("c2"), not(leaf("c3")))), yes({})).permission),
        "or(c1, and(c2, not(c3)))"
      )
    })

    it.effect("a residual shows what has failed", () =>
      Effect.gen(function*() {
        const { permission } = build(and(leaf("c1"), and(leaf("c2"), leaf("o1"))), yes({ c2: "fail" }))
        const decision = yield* decide(permission, "connection")
        assert(decision._tag === "Pending")
        assert.strictEqual(String(decision.residual), "and(o1, failed)")
      }))

    it.effect("combines data-first and data-last", () =>
      Effect.gen(function*() {
        const a = Permission.action("a", () => true)
        const b = Permission.action("b", () => false)
        assert.strictEqual(String(a.pipe(Permission.and(b))), "and(a, b)")
        assert.strictEqual(String(Permission.and(a, b)), "and(a, b)")
        assert.strictEqual(String(a.pipe(Permission.or(b))), "or(a, b)")
        assert.strictEqual(String(Permission.or(a, b)), "or(a, b)")
        assert.strictEqual(String(pipe(a, Permission.not())), "not(a)")
        assert.strictEqual(String(Permission.not(a)), "not(a)")
        const decision = yield* Permission.decide(a.pipe(Permission.and(b)), Generated.factsOf.action)
        assert.strictEqual(decision._tag, "Deny")
      }))

    it("is told from other values", () => {
      assert.isTrue(Permission.isPermission(Permission.allow))
      assert.isTrue(Permission.isPermission(Permission.any([])))
      for (const other of [null, undefined, "allow", {}, Permission.allow.tree, Permission.allow.pipe, () => true]) {
        assert.isFalse(Permission.isPermission(other))
      }
    })

    it("is not changed by what is built of it", () => {
      const members = [Permission.action("a", () => true)]
      const permission = Permission.all(members)
      members.push(Permission.action("b", () => false))
      assert.strictEqual(String(permission), "and(a)")
    })
  })
})

/** Everybody says yes, but for some. */
const yes = (but: Partial<Record<Name, Generated.Said>>): Answers =>
  Object.fromEntries(
    Generated.names.map((name) => [name, { said: but[name] ?? "yes", manner: "plain" }])
  ) as unknown as Answers

/** That a decision failed as its check was told to. */
const assertCause = (decision: Decision.Failed, answers: Answers): void => {
  const { said } = answers[decision.check as Name]
  const [reason, ...others] = decision.cause.reasons
  assert.isDefined(reason)
  assert.deepStrictEqual(others, [])
  switch (reason._tag) {
    case "Fail":
      assert.strictEqual(said, "fail")
      assert.deepStrictEqual(reason.error, new Generated.Refused({ check: decision.check }))
      break
    case "Die":
      assert.include(["die", "throw", "odd"], said)
      assert.include((reason.defect as Error).message, decision.check)
      assert.strictEqual(reason.defect instanceof TypeError, said === "odd")
      break
    case "Interrupt":
      assert.strictEqual(said, "interrupt")
  }
}

const withoutCauses = (explanation: Permission.Explanation): unknown => {
  if (explanation._tag !== "Check") return { ...explanation, members: explanation.members.map(withoutCauses) }
  const { cause, ...rest } = explanation
  assert.strictEqual(cause !== undefined, explanation.outcome === "Failed")
  return rest
}
