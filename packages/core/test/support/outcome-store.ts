/**
 * What every store of outcomes must do. Time is that of Effect's Clock, which the tests move.
 */
import { Idempotency } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"

/** A key that nobody else uses, in this run of the tests nor any other. */
export const fresh = (): string => globalThis.crypto.randomUUID()

/** An attempt of a call. */
export const attempt = (key: string, fingerprint = "[]"): Idempotency.Attempt => ({ key, fingerprint, id: fresh() })

/** An outcome with this data. */
export const outcome = (data: unknown): Idempotency.Outcome => ({
  status: 200,
  errors: "[]",
  data: JSON.stringify(data)
})

const claimed: Idempotency.Claimed = { _tag: "Claimed" }
const reused: Idempotency.Claimed = { _tag: "Reused" }
const known = (outcome: Idempotency.Outcome): Idempotency.Claimed => ({ _tag: "Known", outcome })

/** Lets what is waited for outside of Effect come in. */
const tick = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** Lets time go on in short steps until a fiber is done. */
const awaited = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<A, E> =>
  Effect.gen(function*() {
    for (let i = 0; i < 5000; i++) {
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return yield* exit
      yield* tick
      if (i % 50 === 49) yield* TestClock.adjust(20)
    }
    return yield* Effect.die(new Error("nothing has come of it"))
  })

/** Lets time go on until one of them is done: which one. */
const firstOf = (fibers: ReadonlyArray<Fiber.Fiber<unknown, unknown>>) =>
  Effect.gen(function*() {
    for (let i = 0; i < 5000; i++) {
      const found = fibers.findIndex((fiber) => fiber.pollUnsafe() !== undefined)
      if (found >= 0) return found
      yield* tick
      if (i % 50 === 49) yield* TestClock.adjust(20)
    }
    return yield* Effect.die(new Error("nothing has come of it"))
  })

/** What becomes of it while time goes on for some hundred milliseconds. */
const stillWaits = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function*() {
    for (let i = 0; i < 20; i++) {
      yield* tick
      yield* TestClock.adjust(20)
    }
    assert.isUndefined(fiber.pollUnsafe(), "it does not wait")
  })

/** What is done with one key, by one of a few attempts. */
const step = Arbitrary.schema(Schema.Struct({
  who: Schema.Literals([0, 1, 2]),
  does: Schema.Literals(["claim", "renew", "keep", "release", "nothing"]),
  millis: Schema.Literals([0, 1, 5, 50])
}))

const runs = { arbitrary: { runs: 100 } }

/** Tests a store. */
export const outcomeSuite = <E>(name: string, makeLayer: () => Layer.Layer<never, E>): void => {
  describe(`the store ${name}`, () => {
    const provided = <A, E2, R>(effect: Effect.Effect<A, E2, R>) => Effect.provide(effect, makeLayer())

    it.effect("gives a claim to the first attempt, and its outcome to all others", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const [first, second] = [attempt(fresh()), attempt(fresh())]
        const again = attempt(first.key)
        assert.deepStrictEqual(yield* store.claim(first), claimed)
        assert.deepStrictEqual(yield* store.claim(first), claimed)
        assert.deepStrictEqual(yield* store.claim(second), claimed)
        yield* store.keep(first, { status: 409, errors: `[{"detail":"ä \\u0000"}]`, data: "null" }, 1000)
        yield* store.keep(second, outcome({ n: [1, null] }), 1000)
        const first_ = known({ status: 409, errors: `[{"detail":"ä \\u0000"}]`, data: "null" })
        for (const one of [again, first]) assert.deepStrictEqual(yield* store.claim(one), first_)
        assert.deepStrictEqual(yield* store.claim(attempt(second.key)), known(outcome({ n: [1, null] })))
      })))

    it.effect("tells a key that comes with another request, while it is done and afterwards", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const first = attempt(fresh(), `["a"]`)
        yield* store.claim(first)
        assert.deepStrictEqual(yield* store.claim(attempt(first.key, `["b"]`)), reused)
        yield* store.keep(first, outcome(1), 1000)
        assert.deepStrictEqual(yield* store.claim(attempt(first.key, `["b"]`)), reused)
        assert.deepStrictEqual(yield* store.claim(attempt(first.key, `["a"]`)), known(outcome(1)))
      })))

    it.effect("has all others wait for the outcome", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const first = attempt(fresh())
        yield* store.claim(first)
        const others = yield* Effect.forEach([1, 2, 3], () =>
          Effect.forkChild(store.claim(attempt(first.key)), { startImmediately: true }))
        for (const other of others) {
          yield* stillWaits(other)
        }
        yield* store.keep(first, outcome("done"), 60_000)
        for (const other of others) {
          assert.deepStrictEqual(yield* awaited(other), known(outcome("done")))
        }
      })))

    it.effect("gives a claim that is given up to one of those who wait", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const first = attempt(fresh())
        yield* store.claim(first)
        const others = [attempt(first.key), attempt(first.key)]
        const fibers = yield* Effect.forEach(others, (other) =>
          Effect.forkChild(store.claim(other), { startImmediately: true }))
        // It is not theirs to give up, nor to keep.
        yield* store.release(others[0]!)
        yield* store.keep(others[1]!, outcome("not mine"), 60_000)
        for (const fiber of fibers) {
          yield* stillWaits(fiber)
        }
        yield* store.release(first)
        const next = yield* firstOf(fibers)
        assert.deepStrictEqual(yield* awaited(fibers[next]!), claimed)
        yield* stillWaits(fibers[1 - next]!)
        yield* store.release(first)
        yield* stillWaits(fibers[1 - next]!)
        yield* store.keep(others[next]!, outcome("second"), 60_000)
        assert.deepStrictEqual(yield* awaited(fibers[1 - next]!), known(outcome("second")))
      })))

    it.effect("lets one that waits be interrupted", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const first = attempt(fresh())
        yield* store.claim(first)
        const fiber = yield* Effect.forkChild(store.claim(attempt(first.key)), { startImmediately: true })
        yield* tick
        yield* Fiber.interrupt(fiber)
        yield* store.release(first)
        assert.deepStrictEqual(yield* store.claim(attempt(first.key)), claimed)
      })))

    it.effect("forgets an outcome when its time is over, and not before", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const first = attempt(fresh())
        yield* store.claim(first)
        yield* store.keep(first, outcome(1), 500)
        yield* TestClock.adjust(499)
        assert.deepStrictEqual(yield* store.claim(attempt(first.key)), known(outcome(1)))
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* store.claim(attempt(first.key, `["other"]`)), claimed)
      })))

    it.effect("forgets an outcome in its time, however long one that is older is remembered", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const [first, second] = [attempt(fresh()), attempt(fresh())]
        for (const one of [first, second]) yield* store.claim(one)
        yield* store.keep(first, outcome(1), 1000)
        yield* store.keep(second, outcome(2), 10)
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(yield* store.claim(attempt(first.key)), known(outcome(1)))
        assert.deepStrictEqual(yield* store.claim(attempt(second.key)), claimed)
      })))

    it.effect("gives a claim that has expired to the next one, and not while it is renewed", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const { lease } = store
        if (lease === undefined) return
        const [first, second] = [attempt(fresh()), attempt(fresh())]
        const next = attempt(first.key)
        yield* store.claim(first)
        yield* TestClock.adjust(lease - 1)
        assert.isTrue(yield* store.renew(first))
        yield* TestClock.adjust(lease - 1)
        assert.isTrue(yield* store.renew(first))
        yield* TestClock.adjust(lease)
        assert.deepStrictEqual(yield* store.claim(next), claimed)
        // The one that has lost it cannot take it back, nor say what came of it.
        assert.isFalse(yield* store.renew(first))
        yield* store.keep(first, outcome("late"), 60_000)
        yield* store.release(first)
        assert.isTrue(yield* store.renew(next))
        yield* store.keep(next, outcome("next"), 60_000)
        assert.isFalse(yield* store.renew(first))
        yield* store.keep(first, outcome("late"), 60_000)
        assert.deepStrictEqual(yield* store.claim(first), known(outcome("next")))
        // One that nobody has taken meanwhile is still its own.
        yield* store.claim(second)
        yield* TestClock.adjust(2 * lease)
        assert.isTrue(yield* store.renew(second))
        yield* TestClock.adjust(2 * lease)
        yield* store.keep(second, outcome("slow"), 60_000)
        assert.deepStrictEqual(yield* store.claim(attempt(second.key)), known(outcome("slow")))
      })))

    it.effect("keeps every key for itself, whatever it is called", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const prefix = fresh()
        const names = ["__proto__", "constructor", "toString", "", "\u0000", "a b", "ä", "{}", "*", "x".repeat(1024)]
        for (const name of names) {
          const one = attempt(prefix + name)
          assert.deepStrictEqual(yield* store.claim(one), claimed, name)
          yield* store.keep(one, outcome(name), 1000)
        }
        for (const name of names) {
          assert.deepStrictEqual(yield* store.claim(attempt(prefix + name)), known(outcome(name)), name)
        }
      })))

    it.effect("gives one claim to many who ask at once", () =>
      provided(Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const key = fresh()
        let done = 0
        const work = Effect.gen(function*() {
          const one = attempt(key)
          const found = yield* store.claim(one)
          if (found._tag !== "Claimed") return found
          yield* store.keep(one, outcome(++done), 60_000)
          return known(outcome(done))
        })
        const all = yield* Effect.forkChild(Effect.replicateEffect(work, 50, { concurrency: "unbounded" }), {
          startImmediately: true
        })
        const found = yield* awaited(all)
        assert.strictEqual(done, 1)
        for (const one of found) assert.deepStrictEqual(one, known(outcome(1)))
      })))

    it.effect.prop(
      "does what the reference does",
      { steps: Arbitrary.array(step, { maxLength: 30 }) },
      ({ steps }) =>
        provided(Effect.gen(function*() {
          const store = yield* Idempotency.Store
          const lease = store.lease ?? Infinity
          const key = fresh()
          const attempts = [attempt(key), attempt(key), attempt(key)]
          let holder: { readonly who: number; readonly kept: number | undefined; readonly until: number } | undefined
          for (const [i, { does, millis, who }] of steps.entries()) {
            yield* TestClock.adjust(millis)
            const now = yield* Clock.currentTimeMillis
            if (holder !== undefined && holder.until <= now) holder = undefined
            const one = attempts[who]!
            const isOurs = holder === undefined || holder.who === who
            const running = { who, kept: undefined, until: now + lease }
            switch (does) {
              case "claim":
                // It would wait.
                if (holder !== undefined && holder.kept === undefined && !isOurs) break
                assert.deepStrictEqual(
                  yield* store.claim(one),
                  holder?.kept === undefined ? claimed : known(outcome(holder.kept))
                )
                if (holder?.kept === undefined) holder = running
                break
              case "renew": {
                if (holder === undefined && lease === Infinity) break
                if (holder?.kept !== undefined && isOurs) break
                assert.strictEqual(yield* store.renew(one), isOurs)
                if (isOurs) holder = running
                break
              }
              case "keep":
                if (holder === undefined && lease === Infinity) break
                if (holder?.kept !== undefined && isOurs) break
                yield* store.keep(one, outcome(i), 20)
                if (isOurs) holder = { who, kept: i, until: now + 20 }
                break
              case "release":
                yield* store.release(one)
                if (isOurs && holder?.kept === undefined) holder = undefined
            }
          }
        })),
      runs
    )
  })
}
