import { Action, Pagination } from "@effect-channels/core"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, at: Schema.DateFromString }) {}

describe("the envelope of a page", () => {
  it("is that of its pagination", () => {
    const number = Pagination.envelope(Pagination.pageNumber(), Note)
    const offset = Pagination.envelope(Pagination.limitOffset(), Note)
    const cursor = Pagination.envelope(Pagination.cursor(), Note)
    const none = Pagination.envelope(Pagination.none(), Note)
    expectTypeOf(number).toEqualTypeOf<Pagination.Page<typeof Note>>()
    expectTypeOf(offset).toEqualTypeOf<Pagination.Page<typeof Note>>()
    expectTypeOf(cursor).toEqualTypeOf<Pagination.CursorPage<typeof Note>>()
    expectTypeOf(none).toEqualTypeOf<Schema.$Array<typeof Note>>()
    expectTypeOf<Pagination.EnvelopeOf<Pagination.Cursor, typeof Note>>().toEqualTypeOf<typeof cursor>()
  })

  it("holds the items, decoded and encoded", () => {
    const page = Pagination.envelope(Pagination.pageNumber(), Note)
    expectTypeOf<(typeof page)["Type"]>().toEqualTypeOf<{
      readonly count: number
      readonly next: string | null
      readonly previous: string | null
      readonly results: ReadonlyArray<Note>
    }>()
    expectTypeOf<(typeof page)["Encoded"]["results"]>().toEqualTypeOf<
      ReadonlyArray<{ readonly id: number; readonly at: string }>
    >()
    const byCursor = Pagination.envelope(Pagination.cursor(), Note)
    expectTypeOf<(typeof byCursor)["Type"]>().toEqualTypeOf<{
      readonly next: string | null
      readonly previous: string | null
      readonly results: ReadonlyArray<Note>
    }>()
    const all = Pagination.envelope(Pagination.none(), Note)
    expectTypeOf<(typeof all)["Type"]>().toEqualTypeOf<ReadonlyArray<Note>>()
  })

  it("is what any of several paginations may have, where it is not known which", () => {
    const pagination: Pagination.Any = Pagination.none()
    const page = Pagination.envelope(pagination as Pagination.Cursor | Pagination.None, Note)
    expectTypeOf(page).toEqualTypeOf<Pagination.CursorPage<typeof Note> | Schema.$Array<typeof Note>>()
  })

  it("is the success of an action", () => {
    const list = Action.make("list", { success: Pagination.envelope(Pagination.cursor(), Note) })
    expectTypeOf(list.success).toEqualTypeOf<Pagination.CursorPage<typeof Note>>()
  })
})

describe("options", () => {
  it("are those of the pagination", () => {
    // @ts-expect-error there is no such option
    Pagination.pageNumber({ limit: 3 })
    // @ts-expect-error there is no such option
    Pagination.none({ size: 3 })
    // @ts-expect-error the size is a number
    Pagination.cursor({ size: "3" })
    expectTypeOf(Pagination.limitOffset({ limit: 3 }).sizeParameter).toEqualTypeOf<string>()
    expectTypeOf(Pagination.pageNumber().sizeParameter).toEqualTypeOf<string | undefined>()
  })
})
