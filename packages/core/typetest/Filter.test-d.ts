import { Filter } from "@effect-channels/core"
import type * as DateTime from "effect/DateTime"
import type * as Option from "effect/Option"
import { describe, expectTypeOf, it } from "vitest"

interface Task {
  readonly id: number
  readonly title: string
  readonly status: "open" | "done"
  readonly note: string | null
  readonly due?: DateTime.Utc
  readonly nick: Option.Option<string>
  readonly tags: ReadonlyArray<string>
}
const task = Filter.fields<Task>()

describe("a comparison", () => {
  it("is one of a field with a value of its type", () => {
    expectTypeOf(task.eq("id", 1)).toEqualTypeOf<Filter.Filter<Task>>()
    expectTypeOf(task.ne("status", "open")).toEqualTypeOf<Filter.Filter<Task>>()
    expectTypeOf(task.in("status", ["open", "done"])).toEqualTypeOf<Filter.Filter<Task>>()
    expectTypeOf(task.isNull("id")).toEqualTypeOf<Filter.Filter<Task>>()
    expectTypeOf(task.eq<"note">).parameter(1).toEqualTypeOf<string>()
    expectTypeOf(task.eq<"due">).parameter(1).toEqualTypeOf<DateTime.Utc>()
    expectTypeOf(task.eq<"nick">).parameter(1).toEqualTypeOf<Option.Option<string>>()
    task.eq("tags", ["a"])
  })

  it("is none of a field that there is not", () => {
    // @ts-expect-error: no such field
    task.eq("ids", 1)
    // @ts-expect-error: no such field
    task.in("ids", [1])
    // @ts-expect-error: no such field
    task.isNull("ids")
    // @ts-expect-error: no such field
    task.contains("ids", "a")
  })

  it("is none with another value", () => {
    // @ts-expect-error: it is a number
    task.eq("id", "1")
    // @ts-expect-error: no such status
    task.ne("status", "closed")
    // @ts-expect-error: no such status
    task.in("status", ["open", "closed"])
    // @ts-expect-error: no list
    task.in("id", 1)
    // @ts-expect-error: one value
    task.gt("id", [1])
    // @ts-expect-error: `isNull` says so
    task.eq("note", null)
    // @ts-expect-error: `isNull` says so
    task.lt("due", undefined)
    // @ts-expect-error: no text inside
    task.eq("nick", "a")
  })

  it("looks for text in text", () => {
    task.contains("title", "a")
    task.icontains("note", "a")
    task.startsWith("status", "o")
    // @ts-expect-error: no text
    task.contains("id", "1")
    // @ts-expect-error: no text
    task.startsWith("tags", "a")
    // @ts-expect-error: text is looked for
    task.icontains("title", 1)
  })
})

describe("a filter", () => {
  interface Owned {
    readonly owner: number
  }
  interface Named {
    readonly name: string
  }
  interface Note extends Owned, Named {
    readonly id: number
  }
  const mine = Filter.fields<Owned>().eq("owner", 1)
  const named = Filter.fields<Named>().eq("name", "a")

  it("over some fields is one over every row that has them", () => {
    const over: Filter.Filter<Note> = mine
    const any: Filter.Any = over
    // @ts-expect-error: there is no owner
    const wrong: Filter.Filter<Named> = mine
    expectTypeOf([any, wrong]).not.toBeNever()
    expectTypeOf<Filter.Filter<Owned>>().toExtend<Filter.Filter<Note>>()
    expectTypeOf<Filter.Filter<Note>>().not.toExtend<Filter.Filter<Owned>>()
    expectTypeOf(Filter.all).toExtend<Filter.Filter<Note>>()
    expectTypeOf<Filter.Filter<Note>>().not.toExtend<typeof Filter.all>()
  })

  it("of several is one over rows that have the fields of all", () => {
    expectTypeOf(Filter.and(mine, named)).toExtend<Filter.Filter<Note>>()
    expectTypeOf(Filter.or(mine, named)).toExtend<Filter.Filter<Note>>()
    expectTypeOf(Filter.and(mine, named)).not.toExtend<Filter.Filter<Owned>>()
    expectTypeOf(Filter.or(mine, named)).not.toExtend<Filter.Filter<Named>>()
    expectTypeOf(Filter.and(mine, Filter.all)).toExtend<Filter.Filter<Owned>>()
    expectTypeOf(Filter.or(Filter.none, mine)).toExtend<Filter.Filter<Owned>>()
    expectTypeOf(Filter.and()).toEqualTypeOf<Filter.Filter<unknown>>()
    expectTypeOf(Filter.not(mine)).toEqualTypeOf<Filter.Filter<Owned>>()
    expectTypeOf(mine.pipe(Filter.not)).toEqualTypeOf<Filter.Filter<Owned>>()
  })

  it("is asked of rows that have its fields", () => {
    expectTypeOf(Filter.matches(mine)).toEqualTypeOf<(row: Owned) => boolean>()
    Filter.matches(mine)({ owner: 1 })
    // @ts-expect-error: there is no owner
    Filter.matches(mine)({ name: "a" })
    expectTypeOf(Filter.print(mine)).toEqualTypeOf<string>()
  })
})
