import { Decision, Permission } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Semaphore from "effect/Semaphore"
import { ConnectionScope } from "../src/ConnectionScope.ts"
import * as Evaluator from "../src/internal/decide.ts"
import type { Answers, Built, Name } from "./support/permissions.ts"
import * as Generated from "./support/permissions.ts"

const denial: Decision.Denial = {
  check: "isAdmin",
  phase: "action",
  reason: "Admins only",
  code: "admins_only",
  private: false
}

const decisions = {
  Allow: Decision.allow,
  Deny: Decision.deny(denial),
  Failed: Decision.failed("isAdmin", Cause.die("broke")),
  Pending: Decision.pending("the rest")
}

describe("Decision", () => {
  it("holds what it was made of", () => {
    assert.deepStrictEqual(decisions.Allow, { _tag: "Allow" })
    assert.deepStrictEqual(decisions.Deny, { _tag: "Deny", denial })
    assert.deepStrictEqual(decisions.Failed, { _tag: "Failed", check: "isAdmin", cause: Cause.die("broke") })
    assert.deepStrictEqual(decisions.Pending, { _tag: "Pending", residual: "the rest" })
  })

  it("has one Allow, which nobody can change", () => {
    assert.isTrue(Object.isFrozen(Decision.allow))
  })

  it("isFinal: everything but Pending", () => {
    assert.isTrue(Decision.isFinal(decisions.Allow))
    assert.isTrue(Decision.isFinal(decisions.Deny))
    assert.isTrue(Decision.isFinal(decisions.Failed))
    assert.isFalse(Decision.isFinal(decisions.Pending))
  })

  it("conclude denies what is pending, and keeps the rest", () => {
    assert.strictEqual(Decision.conclude(decisions.Allow), decisions.Allow)
    assert.strictEqual(Decision.conclude(decisions.Deny), decisions.Deny)
    assert.strictEqual(Decision.conclude(decisions.Failed), decisions.Failed)
    assert.strictEqual(Decision.conclude(decisions.Pending), Decision.undecided)
    assert.deepStrictEqual(Decision.undecided, {
      _tag: "Deny",
      denial: { check: "undecided", phase: "object", reason: undefined, code: undefined, private: false }
    })
  })
})

describe("the evaluator", () => {
  it("latest: connection before action before object before delivery", () => {
    assert.strictEqual(Evaluator.latest([]), "connection")
    for (const [i, early] of Generated.phases.entries()) {
      for (const late of Generated.phases.slice(i)) {
        assert.strictEqual(Evaluator.latest([early, late]), late)
        assert.strictEqual(Evaluator.latest([late, early]), late)
      }
    }
  })

  describe("what is left of a permission whose checks failed", () => {
    /** Every way in which the action and object checks can answer. */
    const endings: ReadonlyArray<Partial<Answers>> = ["a1", "a2", "o1", "o2"].reduce<ReadonlyArray<Partial<Answers>>>(
      (so, name) =>
        so.flatMap((answers) =>
          (["yes", "no", "fail"] as const).map((said) => ({ ...answers, [name]: { said, manner: "plain" } }))
        ),
      [{}]
    )

    it.effect.prop(
      "canAllow is false only of what no later phase can allow",
      { spec: Generated.messageSpec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        const decision = yield* Generated.decide(build(spec, answers), "connection")
        if (decision._tag !== "Pending") return
        const canAllow = Evaluator.canAllow(decision.residual.tree)
        const allowing = endings.find((ending) =>
          Generated.outcome(spec, { ...answers, ...ending }, "object") === "Allow"
        )
        if (!canAllow) assert.isUndefined(allowing)
        const left = Permission.checks(decision.residual).map((check) => check.name)
        const isReadOnce = new Set(left).size === left.length
        if (canAllow && isReadOnce) assert.isDefined(allowing, "an ending that allows")
      }),
      { arbitrary: { runs: 400 } }
    )

    it.effect.prop(
      "failureIn finds the failure that stands in it",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        for (const phase of Generated.phases) {
          const decision = yield* Generated.decide(build(spec, answers), phase)
          const failure = Evaluator.failureIn(
            decision._tag === "Pending" ? Decision.pending(decision.residual.tree) : decision
          )
          if (decision._tag !== "Pending") {
            assert.isUndefined(failure)
            continue
          }
          assert.strictEqual(failure !== undefined, /\bfailed\b/.test(String(decision.residual)))
          if (failure === undefined) continue
          assert.notInclude(["yes", "no"], answers[failure.check as Name].said)
        }
      }),
      { arbitrary: { runs: 300 } }
    )
  })

  describe("with a memory of its connection", () => {
    const step = (permission: Built["permission"], phase: Decision.Phase, memory: Evaluator.Memory) =>
      Effect.suspend(() => {
        const result = Evaluator.step(permission.tree, Generated.factsOf[phase], memory)
        return Effect.isEffect(result) ? result : Effect.succeed(result)
      }).pipe(Effect.provideService(ConnectionScope, Generated.scope)) as Effect.Effect<
        Decision.Decision<Permission.Tree>
      >

    it.effect.prop(
      "decides as without it, and asks each check of the connection until it has said yes or no",
      { spec: Generated.spec, answers: Generated.brittleAnswers },
      Effect.fnUntraced(function*({ answers, spec }) {
        for (const phase of Generated.phases) {
          const memory = makeMemory()
          const { asked, permission } = Generated.build(spec, answers)
          for (let message = 0; message < 3; message++) {
            const decision = yield* step(permission, phase, memory)
            assert.strictEqual(decision._tag, Generated.outcome(spec, answers, phase))
          }
          for (const name of Generated.names) {
            const { said } = answers[name]
            const times = asked.filter((other) => other === name).length
            const each = Generated.mustAsk(spec, answers, phase).filter((other) => other === name).length
            const isKept = Generated.phaseOf[name] === "connection" && (said === "yes" || said === "no")
            assert.strictEqual(times, isKept ? Math.min(each, 1) : each * 3, name)
          }
        }
      }),
      { arbitrary: { runs: 200 } }
    )

    it.effect("asks a check once for messages that run at once", () =>
      Effect.gen(function*() {
        let asked = 0
        const answer = yield* Deferred.make<boolean>()
        const isMember = Permission.connection(
          "isMember",
          Effect.suspend(() => {
            asked++
            return Deferred.await(answer)
          })
        )
        const memory = makeMemory()
        const fibers = yield* Effect.forEach(
          [1, 2, 3],
          () => Effect.forkChild(step(isMember, "action", memory), { startImmediately: true })
        )
        yield* Deferred.succeed(answer, true)
        const decisions = yield* Effect.forEach(fibers, Fiber.join)
        assert.deepStrictEqual(decisions, [Decision.allow, Decision.allow, Decision.allow])
        assert.strictEqual(asked, 1)
      }))

    it.effect("asks a check again that has failed, and one whose asker went away", () =>
      Effect.gen(function*() {
        let asked = 0
        const permission = Permission.connection(
          "isMember",
          Effect.suspend(() => {
            asked++
            return asked === 1 ? Effect.never : asked === 2
              ? Effect.fail(new Generated.Refused({ check: "isMember" })) :
              Effect.as(Effect.yieldNow, false)
          })
        )
        const memory = makeMemory()
        const first = yield* Effect.forkChild(step(permission, "action", memory), { startImmediately: true })
        const second = yield* Effect.forkChild(step(permission, "action", memory), { startImmediately: true })
        assert.strictEqual(asked, 1)
        yield* Fiber.interrupt(first)
        assert.strictEqual((yield* Fiber.join(second))._tag, "Failed")
        assert.strictEqual((yield* step(permission, "object", memory))._tag, "Deny")
        assert.strictEqual((yield* step(permission, "object", memory))._tag, "Deny")
        assert.strictEqual(asked, 3)
      }))
  })
})

const build = (spec: Generated.Spec, answers: Answers): Built["permission"] => Generated.build(spec, answers).permission

const makeMemory = (): Evaluator.Memory => {
  const decisions = new Map<Permission.Check, Decision.Allow | Decision.Deny>()
  const locks = new Map<Permission.Check, Semaphore.Semaphore>()
  return {
    get: (check) => decisions.get(check),
    set: (check, decision) => {
      decisions.set(check, decision)
    },
    lock: (check) => {
      const lock = locks.get(check) ?? Semaphore.makeUnsafe(1)
      locks.set(check, lock)
      return lock
    }
  }
}
