/**
 * What every store of throttles must do. Time is that of Effect's Clock, which the tests move.
 */
import { Throttle } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"

/** A rule of a token bucket. */
export const bucket = (capacity: number, limit: number, window: number): Throttle.Rule => ({
  algorithm: "token-bucket",
  capacity,
  limit,
  window
})

/** A rule of a fixed window. */
export const fixed = (limit: number, window: number): Throttle.Rule => ({
  algorithm: "fixed-window",
  capacity: limit,
  limit,
  window
})

const from = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

/** Any rule, with numbers that are small enough to reach its limits. */
export const rule: Arbitrary.Arbitrary<Throttle.Rule> = Arbitrary.all({
  algorithm: Arbitrary.schema(Schema.Literals(["token-bucket", "fixed-window"])),
  capacity: from(1, 6),
  limit: from(1, 6),
  window: from(1, 50)
}).pipe(Arbitrary.map((rule) => rule.algorithm === "fixed-window" ? { ...rule, capacity: rule.limit } : rule))

/** The milliseconds that go by before each request. */
export const steps: Arbitrary.Arbitrary<ReadonlyArray<number>> = Arbitrary.array(
  // As often as not no time at all, now and then more than a window.
  Arbitrary.map(from(-30, 60), (ms) => Math.max(0, ms)),
  { maxLength: 60 }
)

/** How long a request at `now` has to wait, by when requests have been taken before: slow, and from the definition. */
export const reference = (rule: Throttle.Rule, taken: ReadonlyArray<number>, now: number): number =>
  rule.algorithm === "fixed-window" ? ofWindow(rule, taken, now) : ofBucket(rule, taken, now)

/** A bucket lets through at most its capacity, and what flows in, over any stretch of time that ends now. */
const ofBucket = ({ capacity, limit, window }: Throttle.Rule, taken: ReadonlyArray<number>, now: number): number =>
  Math.max(
    0,
    ...taken.map((since, i) => {
      const requests = taken.length - i + 1
      return since + Math.ceil((requests - capacity) * window / limit) - now
    })
  )

/** A window begins with the first request that no earlier window holds. */
const ofWindow = ({ limit, window }: Throttle.Rule, taken: ReadonlyArray<number>, now: number): number => {
  const begins: Array<number> = []
  for (const at of taken) {
    const last = begins.at(-1)
    if (last === undefined || at >= last + window) begins.push(at)
  }
  const begin = begins.at(-1)
  if (begin === undefined || now >= begin + window) return 0
  return taken.filter((at) => at >= begin).length < limit ? 0 : begin + window - now
}

/** Takes a request under a key. */
export const consume = (key: string, rule: Throttle.Rule) =>
  Effect.flatMap(Throttle.Store, (store) => store.consume(key, rule))

/** A key that nobody else uses, in this run of the tests nor any other. */
const fresh = () => globalThis.crypto.randomUUID()

const runs = { arbitrary: { runs: 200 } }

/** Tests a store. */
export const storeSuite = <E>(name: string, makeLayer: () => Layer.Layer<never, E>): void => {
  describe(`the store ${name}`, () => {
    const provided = <A, E2, R>(effect: Effect.Effect<A, E2, R>) => Effect.provide(effect, makeLayer())

    it.effect.prop(
      "says beforehand what it will answer, and takes nothing by saying so",
      { rule, steps },
      ({ rule, steps }) =>
        Effect.gen(function*() {
          const key = fresh()
          const store = yield* Throttle.Store
          for (const step of steps) {
            yield* TestClock.adjust(step)
            const before = yield* store.peek(key, rule)
            assert.strictEqual(yield* store.peek(key, rule), before)
            assert.strictEqual(yield* store.consume(key, rule), before)
          }
        }).pipe(Effect.provide(makeLayer())),
      runs
    )

    it.effect.prop(
      "takes what the reference takes, and tells how long to wait",
      { rule, steps },
      ({ rule, steps }) =>
        provided(Effect.gen(function*() {
          const key = fresh()
          const taken: Array<number> = []
          for (const ms of steps) {
            yield* TestClock.adjust(ms)
            const now = yield* Clock.currentTimeMillis
            const wait = yield* consume(key, rule)
            assert.strictEqual(wait, reference(rule, taken, now))
            if (wait === 0) taken.push(now)
          }
        })),
      runs
    )

    it.effect.prop(
      "takes one more request after exactly the time that it told, and none a millisecond earlier",
      { rule, steps },
      ({ rule, steps }) =>
        provided(Effect.gen(function*() {
          const key = fresh()
          for (const ms of steps) {
            yield* TestClock.adjust(ms)
            yield* consume(key, rule)
          }
          let wait = yield* consume(key, rule)
          for (let i = 0; wait === 0; i++) {
            assert.isBelow(i, rule.capacity, "more than the limit was taken at once")
            wait = yield* consume(key, rule)
          }
          assert.isTrue(Number.isInteger(wait) && wait > 0)
          yield* TestClock.adjust(wait - 1)
          assert.strictEqual(yield* consume(key, rule), 1)
          yield* TestClock.adjust(1)
          assert.strictEqual(yield* consume(key, rule), 0)
        })),
      runs
    )

    it.effect("counts every key for itself, whatever it is called", () =>
      provided(Effect.gen(function*() {
        const prefix = fresh()
        const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "", "\u0000", "a b", "ä", "{}", "*"]
        for (const name of names) {
          assert.strictEqual(yield* consume(`${prefix}${name}`, fixed(1, 1000)), 0, name)
          assert.strictEqual(yield* consume(`${prefix}${name}`, fixed(1, 1000)), 1000, name)
        }
      })))

    it.effect("never takes more than the limit of what comes at once", () =>
      provided(Effect.gen(function*() {
        for (const rule of [bucket(7, 3, 1000), fixed(7, 1000)]) {
          const key = fresh()
          const waits = yield* Effect.all(Array.from({ length: 100 }, () => consume(key, rule)), {
            concurrency: "unbounded"
          })
          assert.strictEqual(waits.filter((wait) => wait === 0).length, 7)
        }
      })))
  })
}
