import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Deadlines } from "../src/internal/deadlines.ts"
import { settle } from "./support/connection.ts"

/** What was due, and when. */
type Due = ReadonlyArray<readonly [id: string, at: number]>

/** Deadlines that note what is due, and how many fibers sleep for them. */
const make = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const due: Array<readonly [id: string, at: number]> = []
  let sleepers = 0
  const counting: Clock.Clock = {
    ...clock,
    sleep: (duration) =>
      Effect.suspend(() => {
        sleepers++
        return Effect.ensuring(clock.sleep(duration), Effect.sync(() => sleepers--))
      })
  }
  const context = yield* Effect.context<never>().pipe(Effect.provideService(Clock.Clock, counting))
  const deadlines = new Deadlines<string>(context, (id) => due.push([id, clock.currentTimeMillisUnsafe()]))
  return { deadlines, due, sleepers: () => sleepers }
})

const takeDue = (due: Array<readonly [id: string, at: number]>): Due => due.splice(0)

describe("deadlines", () => {
  it.effect("are due in the first full second at or after their time, once", () =>
    Effect.gen(function*() {
      const { deadlines, due } = yield* make
      deadlines.add("a", 1)
      deadlines.add("b", 1000)
      deadlines.add("c", 1001)
      deadlines.add("d", 5500)
      yield* TestClock.adjust(999)
      assert.deepStrictEqual(takeDue(due), [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(takeDue(due), [["a", 1000], ["b", 1000]])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(takeDue(due), [["c", 2000], ["d", 6000]])
      assert.strictEqual(deadlines.size, 0)
    }))

  it.effect("that are over when they are added are due at once, what is no time as well", () =>
    Effect.gen(function*() {
      const { deadlines, due } = yield* make
      yield* TestClock.adjust(2500)
      for (const [i, at] of [0, -5000, 1500, -Infinity, NaN].entries()) deadlines.add(String(i), at)
      yield* settle
      assert.deepStrictEqual(takeDue(due).toSorted(), ["0", "1", "2", "3", "4"].map((id) => [id, 2500]))
      assert.strictEqual(deadlines.size, 0)
      deadlines.add("no time", NaN)
      yield* settle
      assert.deepStrictEqual(takeDue(due), [["no time", 2500]])
    }))

  it.effect("that are never are not kept", () =>
    Effect.gen(function*() {
      const { deadlines, sleepers } = yield* make
      deadlines.add("a", Infinity)
      deadlines.remove("a", Infinity)
      assert.strictEqual(deadlines.size, 0)
      assert.strictEqual(sleepers(), 0)
    }))

  it.effect("are waited for by one sleeper, and by none when there are none", () =>
    Effect.gen(function*() {
      const { deadlines, due, sleepers } = yield* make
      for (let i = 100; i > 0; i--) deadlines.add(String(i), i * 1000)
      yield* settle
      assert.strictEqual(sleepers(), 1)
      assert.strictEqual(deadlines.size, 100)
      yield* TestClock.adjust(50_000)
      assert.strictEqual(due.length, 50)
      assert.strictEqual(sleepers(), 1)
      for (let i = 51; i <= 100; i++) deadlines.remove(String(i), i * 1000)
      yield* settle
      assert.strictEqual(sleepers(), 0)
      assert.strictEqual(deadlines.size, 0)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(due.length, 50)
    }))

  it.effect("are not due any more when it is stopped", () =>
    Effect.gen(function*() {
      const { deadlines, due, sleepers } = yield* make
      deadlines.add("a", 1000)
      deadlines.stop()
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(due, [])
      assert.strictEqual(sleepers(), 0)
    }))

  it.effect("may be added and removed by what is due", () =>
    Effect.gen(function*() {
      const due: Array<readonly [id: string, at: number]> = []
      const now = (yield* Clock.Clock).currentTimeMillisUnsafe
      const deadlines: Deadlines<string> = new Deadlines(yield* Effect.context<never>(), (id) => {
        due.push([id, now()])
        if (id === "a") {
          deadlines.remove("b", 2000)
          deadlines.remove("a", 1000)
          deadlines.add("again", 1000)
          deadlines.add("later", 3000)
        }
      })
      deadlines.add("a", 1000)
      deadlines.add("b", 2000)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(due, [["a", 1000], ["again", 1000], ["later", 3000]])
      assert.strictEqual(deadlines.size, 0)
    }))

  it.effect("can be as many as there are connections, each at a time of its own", () =>
    Effect.gen(function*() {
      const { deadlines, due } = yield* make
      for (let i = 1; i <= 200_000; i++) deadlines.add(String(i), i * 1000)
      yield* TestClock.adjust(3000)
      assert.deepStrictEqual(takeDue(due), [["1", 1000], ["2", 2000], ["3", 3000]])
      assert.strictEqual(deadlines.size, 199_997)
      deadlines.stop()
    }))

  const Id = Schema.Literals(["a", "b", "c", "d"])
  const At = Schema.Int.check(Schema.isBetween({ minimum: -2000, maximum: 9000 }))
  const step = Arbitrary.schema(Schema.Union([
    Schema.TaggedStruct("Add", { id: Id, at: At }),
    Schema.TaggedStruct("Remove", { id: Id, at: At }),
    Schema.TaggedStruct("RemoveSome", { index: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })) }),
    Schema.TaggedStruct("Pass", { millis: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3000 })) })
  ]))

  it.effect.prop(
    "do as a list does that is looked through at every millisecond",
    { steps: Arbitrary.array(step, { maxLength: 30 }) },
    ({ steps }) =>
      Effect.gen(function*() {
        const { deadlines, due, sleepers } = yield* make
        const start = yield* Clock.currentTimeMillis
        let now = start
        let waiting: Array<{ readonly id: string; readonly second: number; readonly since: number }> = []
        const isOf = (id: string, at: number) => (one: { readonly id: string; readonly second: number }) =>
          one.id === id && one.second - 1000 < at && at <= one.second
        const remove = (id: string, at: number) => {
          deadlines.remove(id, at)
          waiting = waiting.filter((one) => !isOf(id, at)(one))
        }
        /** What is due now, in any order. */
        const check = Effect.gen(function*() {
          yield* settle
          const expected = waiting.filter(({ second }) => second <= now)
          waiting = waiting.filter(({ second }) => second > now)
          assert.deepStrictEqual(
            takeDue(due).toSorted(),
            expected.map(({ id, second, since }) => [id, Math.max(second, since)] as const).toSorted()
          )
          assert.strictEqual(deadlines.size, waiting.length)
          assert.isAtMost(sleepers(), 1)
          if (waiting.length > 0) assert.strictEqual(sleepers(), 1)
        })
        for (const one of [...steps, { _tag: "Pass" as const, millis: 20_000 }]) {
          switch (one._tag) {
            case "Add": {
              const at = start + one.at
              let second = Math.floor(at / 1000) * 1000
              while (second < at) second += 1000
              deadlines.add(one.id, at)
              if (!waiting.some(isOf(one.id, at))) waiting.push({ id: one.id, second, since: now })
              break
            }
            case "Remove":
              remove(one.id, start + one.at)
              break
            case "RemoveSome": {
              const some = waiting[one.index]
              if (some !== undefined) remove(some.id, some.second)
              break
            }
            case "Pass":
              now += one.millis
              yield* TestClock.adjust(one.millis)
          }
          yield* check
        }
        assert.strictEqual(deadlines.size, 0)
        assert.strictEqual(sleepers(), 0)
      }),
    { arbitrary: { runs: 300 } }
  )
})
