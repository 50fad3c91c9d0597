import { ChannelError, Filter, Pagination, Query, Repository } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Cursor from "../src/internal/cursor.ts"
import type * as Listing from "../src/internal/listing.ts"
import { definitionOf, make, problemsOf, requestOf, settings, sourceOf } from "./support/listings.ts"

class Item extends Schema.Class<Item>("Item")({
  id: Schema.Int,
  title: Schema.String,
  content: Schema.String,
  quantity: Schema.Int
}) {}

class Items extends Repository.Service<Items>()("test/Items", { schema: Item, key: "id" }) {}

const definition = definitionOf(Item)

/** Items like those of the original, from 1 to this number. */
const itemsTo = (count: number): ReadonlyArray<Item> =>
  Array.from(
    { length: count },
    (_, i) => new Item({ id: i + 1, title: `Title${i + 1}`, content: `Content${i + 1}`, quantity: i + 1 })
  )

type Page = {
  readonly count?: number
  readonly next: string | null
  readonly previous: string | null
  readonly results: ReadonlyArray<Readonly<Record<string, unknown>>>
}

/** The page behind a route. */
const pageOf = (listing: Listing.Listing, rows: () => ReadonlyArray<object>) => (route: string) =>
  Effect.map(listing.page(requestOf(route), sourceOf(rows).source, Filter.all), (page) => page as Page)

/** The same with the keys of its results, which is all that a page has. */
const keysOf = (page: Page) => ({ ...page, results: page.results.map(({ id }) => id) })

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

const items = (declared: Partial<Listing.Options>, count = 25) => {
  const listing = make({
    name: "items",
    definition,
    options: { pagination: Pagination.pageNumber(), unknownParameters: "ignore", ...declared }
  })
  const rows = itemsTo(count)
  const page = pageOf(listing, () => rows)
  return (route: string) => Effect.map(page(route), keysOf)
}

describe("page numbers", () => {
  const fixed = items({ pagination: Pagination.pageNumber({ size: 10 }) })
  const sized = items({ pagination: Pagination.pageNumber({ size: 10, sizeParameter: "page_size", maxSize: 100 }) })

  const first = { count: 25, next: "items/?page=2", previous: null, results: range(1, 10) }
  const last = { count: 25, next: null, previous: "items/?page=2", results: range(21, 25) }

  it.effect("are as the original has them", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* fixed("items/"), first)
      assert.deepStrictEqual(yield* fixed("items/?page=1"), first)
      assert.deepStrictEqual(yield* fixed("items/?page=2"), {
        count: 25,
        next: "items/?page=3",
        previous: "items/",
        results: range(11, 20)
      })
      assert.deepStrictEqual(yield* fixed("items/?page=3"), last)
      assert.deepStrictEqual(yield* fixed("items/?page=last"), last)
      assert.deepStrictEqual(yield* fixed("items/?page_size=5"), { ...first, next: "items/?page=2&page_size=5" })
      for (const route of ["items/?page=2&foo=bar", "items/?foo=bar&page=2"]) {
        assert.deepStrictEqual(yield* fixed(route), {
          count: 25,
          next: "items/?foo=bar&page=3",
          previous: "items/?foo=bar",
          results: range(11, 20)
        })
      }
      assert.deepStrictEqual(yield* sized("sized/?page_size=5"), {
        count: 25,
        next: "sized/?page=2&page_size=5",
        previous: null,
        results: range(1, 5)
      })
      for (const route of ["sized/?page_size=5&page=2", "sized/?page=2&page_size=5"]) {
        assert.deepStrictEqual(yield* sized(route), {
          count: 25,
          next: "sized/?page=3&page_size=5",
          previous: "sized/?page_size=5",
          results: range(6, 10)
        })
      }
      assert.deepStrictEqual(yield* sized("sized/?page_size=1000"), {
        count: 25,
        next: null,
        previous: null,
        results: range(1, 25)
      })
      const filtered = items({ pagination: Pagination.pageNumber({ size: 10 }), search: ["title"] })
      assert.deepStrictEqual(yield* filtered("filtered/?search=Title2"), {
        count: 7,
        next: null,
        previous: null,
        results: [2, ...range(20, 25)]
      })
    }))

  for (const page of ["4", "0", "00", "-1", "abc", "1.5", "1e0", "%201", "Last", "9".repeat(400), "\u0661"]) {
    it.effect(`?page=${page} is not there`, () =>
      Effect.map(Effect.flip(fixed(`items/?page=${page}`)), (error) => {
        assert.instanceOf(error, Repository.NotFound)
        assert.strictEqual(error.message, "Invalid page")
      }))
  }

  it.effect("the first page is that of no number, and of a number with zeros", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* fixed("items/?page="), first)
      assert.deepStrictEqual(yield* fixed("items/?page"), first)
      assert.deepStrictEqual(yield* fixed("items/?page=001"), first)
    }))

  it.effect("of several numbers the last one counts", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* fixed("items/?page=1&page=3"), last)
      assert.deepStrictEqual(yield* sized("items/?page_size=3&page_size=30"), {
        count: 25,
        next: null,
        previous: null,
        results: range(1, 25)
      })
    }))

  it.effect("an ill-formed size is none, and one too great the greatest", () =>
    Effect.gen(function*() {
      const page = items({ pagination: Pagination.pageNumber({ size: 4, sizeParameter: "page_size", maxSize: 6 }) })
      for (const size of ["", "0", "-5", "abc", "5.5", "%205"]) {
        assert.lengthOf((yield* page(`items/?page_size=${size}`)).results, 4)
      }
      for (const size of ["6", "7", "9".repeat(400)]) {
        assert.lengthOf((yield* page(`items/?page_size=${size}`)).results, 6)
      }
    }))

  it.effect("the sizes are those of the settings, and never more than those", () =>
    Effect.gen(function*() {
      const sizes = (pagination: Pagination.Any, pageSize: number, maxPageSize: number) => {
        const options = { pagination, unknownParameters: "ignore" } as const
        const given = { ...settings, pageSize, maxPageSize }
        const page = pageOf(make({ name: "items", definition, options, settings: given }), () => itemsTo(25))
        return Effect.forEach(["items/", "items/?size=20&limit=20"], (route) =>
          Effect.map(page(route), ({ results }) => results.length))
      }
      const { cursor, limitOffset, pageNumber } = Pagination
      assert.deepStrictEqual(yield* sizes(pageNumber({ sizeParameter: "size" }), 3, 9), [3, 9])
      assert.deepStrictEqual(yield* sizes(pageNumber({ sizeParameter: "size" }), 9, 3), [3, 3])
      assert.deepStrictEqual(yield* sizes(pageNumber({ size: 5, sizeParameter: "size", maxSize: 12 }), 3, 9), [5, 9])
      assert.deepStrictEqual(yield* sizes(pageNumber({ size: 5, sizeParameter: "size", maxSize: 6 }), 3, 9), [5, 6])
      assert.deepStrictEqual(yield* sizes(pageNumber({ size: 15 }), 3, 9), [9, 9])
      assert.deepStrictEqual(yield* sizes(limitOffset(), 3, 9), [3, 9])
      assert.deepStrictEqual(yield* sizes(limitOffset({ limit: 4, maxLimit: 30 }), 3, 9), [4, 9])
      assert.deepStrictEqual(yield* sizes(cursor({ sizeParameter: "size" }), 3, 9), [3, 9])
      assert.deepStrictEqual(yield* sizes(cursor({ size: 5, sizeParameter: "size", maxSize: 6 }), 3, 9), [5, 6])
    }))

  it.effect("the first page of nothing is empty, and the only one", () =>
    Effect.gen(function*() {
      const none = items({ pagination: Pagination.pageNumber({ size: 10 }) }, 0)
      const empty = { count: 0, next: null, previous: null, results: [] }
      for (const route of ["items/", "items/?page=1", "items/?page=last"]) {
        assert.deepStrictEqual(yield* none(route), empty)
      }
      assert.instanceOf(yield* Effect.flip(none("items/?page=2")), Repository.NotFound)
    }))

  it.effect("nothing is read where there is nothing to read", () =>
    Effect.gen(function*() {
      const asked = (route: string, count: number, pagination: Pagination.Any = Pagination.pageNumber()) => {
        const { asked, source } = sourceOf(() => itemsTo(count))
        const { page } = make({ name: "items", definition, options: { pagination } })
        return Effect.map(Effect.result(page(requestOf(route), source, Filter.all)), () => asked.length)
      }
      assert.strictEqual(yield* asked("items/", 1), 2)
      assert.strictEqual(yield* asked("items/", 0), 1)
      assert.strictEqual(yield* asked("items/?page=9", 1), 1)
      assert.strictEqual(yield* asked("items/?page=x", 1), 0)
      assert.strictEqual(yield* asked("items/?offset=1", 1, Pagination.limitOffset()), 1)
      assert.strictEqual(yield* asked("items/", 1, Pagination.cursor()), 1)
    }))

  it.effect("only what is visible is counted and read", () =>
    Effect.gen(function*() {
      const rows = Filter.fields<Item>()
      const { asked, source } = sourceOf(() => itemsTo(25))
      const options = { pagination: Pagination.pageNumber(), filters: { quantity: ["lt"] } } as const
      const { page } = make({ name: "items", definition, options })
      const found = yield* page(requestOf("items/?quantity__lt=7"), source, rows.gt("id", 3))
      assert.deepStrictEqual(keysOf(found as unknown as Page).results, [4, 5, 6])
      assert.strictEqual("count" in found && found.count, 3)
      const [, selection] = asked
      assert.strictEqual(
        Filter.print((selection as Repository.Selection<Item>).filter),
        "and(id gt 3, quantity lt 7)"
      )
    }))
})

describe("limit and offset", () => {
  const limit = items({ pagination: Pagination.limitOffset({ limit: 10 }) })

  it.effect("are as the original has them", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* limit("limit/"), {
        count: 25,
        next: "limit/?limit=10&offset=10",
        previous: null,
        results: range(1, 10)
      })
      assert.deepStrictEqual(yield* limit("limit/?limit=5&offset=10"), {
        count: 25,
        next: "limit/?limit=5&offset=15",
        previous: "limit/?limit=5&offset=5",
        results: range(11, 15)
      })
      assert.deepStrictEqual(yield* limit("limit/?offset=20"), {
        count: 25,
        next: null,
        previous: "limit/?limit=10&offset=10",
        results: range(21, 25)
      })
      assert.deepStrictEqual(yield* limit("limit/?offset=100"), {
        count: 25,
        next: null,
        previous: "limit/?limit=10&offset=90",
        results: []
      })
    }))

  it.effect("the first page has no offset", () =>
    Effect.gen(function*() {
      const previous = {
        count: 25,
        next: "limit/?a=1&limit=5&offset=8",
        previous: "limit/?a=1&limit=5",
        results: range(4, 8)
      }
      assert.deepStrictEqual(yield* limit("limit/?offset=3&limit=5&a=1"), previous)
      assert.strictEqual((yield* limit("limit/?offset=5&limit=5")).previous, "limit/?limit=5")
    }))

  it.effect("what is no number is as if it had not been sent", () =>
    Effect.gen(function*() {
      const first = yield* limit("limit/")
      for (
        const query of ["limit=&offset=", "limit=0&offset=0", "limit=-1&offset=-1", "limit=a&offset=a", "offset=1.5"]
      ) {
        assert.deepStrictEqual(yield* limit(`limit/?${query}`), first)
      }
      const beyond = yield* limit(`limit/?offset=${"9".repeat(400)}`)
      assert.deepStrictEqual(beyond, {
        count: 25,
        next: null,
        previous: `limit/?limit=10&offset=${Number.MAX_SAFE_INTEGER - 10}`,
        results: []
      })
    }))
})

describe("without pages", () => {
  it.effect("all rows come as an array, in order", () =>
    Effect.gen(function*() {
      const listing = make({
        name: "items",
        definition,
        options: { pagination: Pagination.none(), order: ["-id"] }
      })
      const rows = itemsTo(1000)
      const found = yield* listing.page(requestOf("items/"), sourceOf(() => rows).source, Filter.all)
      assert.deepStrictEqual(found, [...rows].reverse())
    }))

  it.effect("too many of them are refused", () =>
    Effect.gen(function*() {
      const listing = make({ name: "items", definition, options: { pagination: Pagination.none({ max: 3 }) } })
      const found = (count: number) => {
        const { asked, source } = sourceOf(() => itemsTo(count))
        return Effect.map(
          Effect.result(listing.page(requestOf("items/"), source, Filter.all)),
          (result) => ({ result, limit: (asked[0] as Repository.Selection<Item>).limit })
        )
      }
      const three = yield* found(3)
      assert.strictEqual(three.result._tag, "Success")
      assert.strictEqual(three.limit, 4)
      const { result } = yield* found(4)
      assert.deepStrictEqual(result._tag === "Failure" && (result.failure as ChannelError.InvalidPayload).problems, [{
        detail: "There are more than 3: ask for less of them, or the list has to come in pages",
        path: ["query"]
      }])
    }))
})

describe("routes of pages", () => {
  const page = items({ pagination: Pagination.pageNumber({ size: 10 }) })

  it.effect("are encoded as those of a browser, sorted, with all that was sent", () =>
    Effect.gen(function*() {
      const { next, previous } = yield* page("items/?b=2&page=2&a=x%20y&b=1&%C3%A9=%26%2B~*!()'&c&%zz=%")
      const others = ["a=x+y", "b=2", "b=1", "c=", "%C3%A9=%26%2B%7E*%21%28%29%27", "%25zz=%25"]
      const expected = (others: ReadonlyArray<string>) => {
        const params = new URLSearchParams(others.join("&"))
        params.sort()
        return `items/?${params}`
      }
      assert.strictEqual(previous, "items/?%25zz=%25&a=x+y&b=2&b=1&c=&%C3%A9=%26%2B%7E*%21%28%29%27")
      assert.strictEqual(previous, expected(others))
      assert.strictEqual(next, expected([...others, "page=3"]))
    }))

  it.effect("have the path as it was sent", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* page("a%20b/:x//é/?page=2&x=?")).previous, "a%20b/:x//é/?x=%3F")
      assert.strictEqual((yield* page("?page=2")).previous, "")
      assert.strictEqual((yield* page("")).next, "?page=2")
      assert.strictEqual((yield* page("items/?")).next, "items/?page=2")
    }))

  it.effect.prop(
    "lead back to the same parameters",
    { sent: Schema.Array(Schema.Tuple([Schema.String, Schema.String])) },
    Effect.fnUntraced(function*({ sent }) {
      const others = sent.filter(([name]) => name !== "page")
      const params = new URLSearchParams(others.map(([name, value]): [string, string] => [name, value]))
      const { next } = yield* page(`items/?${params}`)
      params.append("page", "2")
      params.sort()
      assert.strictEqual(next, `items/?${params}`)
      assert.deepStrictEqual(
        Object.entries(Query.parse(next!.slice("items/?".length))).sort(),
        Object.entries(Query.parse(`${params}`)).sort()
      )
    }),
    { arbitrary: { runs: 50 } }
  )
})

describe("cursors", () => {
  const pagination = Pagination.cursor({ size: 2 })
  const options: Listing.Options = { pagination, ordering: ["quantity", "title"] }
  const cursorOf = (route: string) => Query.parse(route.slice(route.indexOf("?")))["cursor"] as string
  const listOf = (declared: Partial<Listing.Declaration> = {}) =>
    make({ name: "items", definition, options, ...declared })
  const rows = itemsTo(5)
  const page = pageOf(listOf(), () => rows)

  /** The problem that a cursor is refused with. */
  const refused = (cursor: string, listing = listOf(), query = "") =>
    Effect.map(
      Effect.flip(pageOf(listing, () => rows)(`items/?cursor=${encodeURIComponent(cursor)}${query}`)),
      (error) => {
        assert.instanceOf(error, ChannelError.InvalidPayload)
        assert.deepStrictEqual(error.problems, [
          { detail: "Expected a cursor of this list in this order", path: ["query", "cursor"] }
        ])
      }
    )

  it.effect("lead through all rows, and back", () =>
    Effect.gen(function*() {
      const first = yield* page("items/?foo=bar").pipe(Effect.flip)
      assert.instanceOf(first, ChannelError.InvalidPayload)
      const pages = [yield* page("items/")]
      while (pages.at(-1)!.next !== null) pages.push(yield* page(pages.at(-1)!.next!))
      assert.deepStrictEqual(pages.map((page) => keysOf(page).results), [[1, 2], [3, 4], [5]])
      assert.deepStrictEqual(pages.map(({ previous }) => previous === null), [true, false, false])
      assert.deepStrictEqual(Object.keys(pages[0]!), ["next", "previous", "results"])
      const second = yield* page(pages[2]!.previous!)
      assert.deepStrictEqual(second, pages[1])
      assert.deepStrictEqual(yield* page(second.previous!), pages[0])
    }))

  it.effect("are short, and hold no name", () =>
    Effect.map(page("items/?ordering=-title"), ({ next }) => {
      const cursor = cursorOf(next!)
      assert.match(cursor, /^[-_0-9A-Za-z]+$/)
      assert.isBelow(cursor.length, 80)
    }))

  it.effect("count on what the client says of order and size", () =>
    Effect.gen(function*() {
      const sized = pageOf(
        listOf({ options: { ...options, pagination: Pagination.cursor({ size: 2, sizeParameter: "size" }) } }),
        () => rows
      )
      const first = yield* sized("items/?ordering=-quantity&size=3")
      assert.deepStrictEqual(keysOf(first).results, [5, 4, 3])
      assert.match(first.next!, /^items\/\?cursor=[^&]+&ordering=-quantity&size=3$/)
      const second = yield* sized(first.next!)
      assert.deepStrictEqual(keysOf(second).results, [2, 1])
      assert.isNull(second.next)
      assert.deepStrictEqual(keysOf(yield* sized(second.previous!)).results, [5, 4, 3])
    }))

  it.effect("that were changed are refused, whatever the character", () =>
    Effect.gen(function*() {
      const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n%"
      // A value with what stands in place of what is no UTF-8, so that bytes can be changed without changing the text.
      const odd = [new Item({ id: 1, title: "\uFFFD\uFFFD", content: "", quantity: 1 }), ...rows.slice(1)]
      const listing = listOf()
      const { next } = yield* pageOf(listing, () => odd)("items/?ordering=-title")
      const { next: onwards } = yield* page("items/")
      for (const [route, query] of [[onwards, ""], [next, "&ordering=-title"]] as const) {
        const cursor = cursorOf(route!)
        yield* page(`items/?cursor=${cursor}${query}`)
        for (let i = 0; i < cursor.length; i++) {
          for (const character of alphabet) {
            if (character === cursor[i]) continue
            yield* refused(cursor.slice(0, i) + character + cursor.slice(i + 1), listing, query)
          }
        }
        for (
          const other of [`${cursor}A`, `${cursor}=`, `A${cursor}`, cursor.slice(1), cursor.slice(0, -1), `${cursor}\n`]
        ) {
          yield* refused(other, listing, query)
        }
      }
    }))

  it.effect("of what is no cursor are refused", () =>
    Effect.forEach(
      ["a", "AAAA", "A".repeat(43), "A".repeat(100), "A".repeat(20_000), "null", "%", "\0", "é", "../..", "[]"],
      (cursor) => refused(cursor)
    ))

  it.effect("of another list, another order, or another secret are refused", () =>
    Effect.gen(function*() {
      const secret = Redacted.make("a secret that nobody knows")
      const signed = (secret: Redacted.Redacted) => listOf({ settings: { ...settings, secret } })
      const cursor = cursorOf((yield* page("items/"))!.next!)
      yield* page(`items/?cursor=${cursor}`)
      // One and the same where the name and the order are: "item" and "s" are not "items".
      yield* pageOf(listOf(), () => rows)(`items/?cursor=${cursor}&ordering=`)
      yield* refused(cursor, listOf({ name: "item" }))
      for (const ordering of ["quantity", "-quantity", "title"]) {
        yield* refused(cursor, listOf(), `&ordering=${ordering}`)
      }
      yield* refused(cursor, listOf({ options: { ...options, order: ["-id"] } }))
      yield* refused(cursor, signed(secret))
      const known = cursorOf((yield* pageOf(signed(secret), () => rows)("items/"))!.next!)
      yield* pageOf(signed(Redacted.make("a secret that nobody knows")), () => rows)(`items/?cursor=${known}`)
      yield* refused(known)
      yield* refused(known, signed(Redacted.make("a secret that nobody knew")))
    }))

  it.effect("with something else in them than this order has are refused", () =>
    Effect.gen(function*() {
      const sealer = Cursor.sealer(Cursor.keyOf(undefined), JSON.stringify(["items", "id"]))
      assert.deepStrictEqual(
        keysOf(yield* page(`items/?cursor=${yield* sealer.seal(JSON.stringify([">", 3]))}`)).results,
        [4, 5]
      )
      for (const content of [[], [">"], [">", 1, 2], [">", "1"], [">", null], [">", 1.5], ["<", 1, null]]) {
        yield* refused(yield* sealer.seal(JSON.stringify(content)))
      }
      // JSON may end in spaces; so much of it need not be read.
      yield* page(`items/?cursor=${yield* sealer.seal("[\">\",3]".padEnd(1000))}`)
      yield* refused(yield* sealer.seal("[\">\",3]".padEnd(20_000)))
    }))

  it.effect("an empty one is none", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* page("items/?cursor="), yield* page("items/"))
    }))

  it("need a secret that is one", () => {
    const problems = (secret: string) =>
      problemsOf({ name: "items", definition, options, settings: { ...settings, secret: Redacted.make(secret) } })
    assert.deepStrictEqual(problems("0123456789abcde"), ["the setting secret must have at least 16 bytes"])
    assert.deepStrictEqual(problems("0123456789abcdef"), [])
  })

  it.effect("know of rows that came before the first one", () =>
    Effect.gen(function*() {
      let now: ReadonlyArray<Item> = itemsTo(4)
      const page = pageOf(listOf({ options: { ...options, order: ["quantity"] } }), () => now)
      const first = yield* page("items/")
      now = [...now, ...[5, 6, 7].map((id) => new Item({ id, title: "", content: "", quantity: -id }))]
      const second = yield* page(first.next!)
      assert.deepStrictEqual(keysOf(second).results, [3, 4])
      const back = yield* page(second.previous!)
      assert.deepStrictEqual(keysOf(back).results, [1, 2])
      const further = yield* page(back.previous!)
      assert.deepStrictEqual(keysOf(further).results, [6, 5])
      assert.deepStrictEqual(keysOf(yield* page(further.previous!)), {
        next: (yield* page(further.previous!)).next,
        previous: null,
        results: [7]
      })
    }))

  it.effect("lead back from where nothing is left", () =>
    Effect.gen(function*() {
      let now: ReadonlyArray<Item> = rows
      const page = pageOf(listOf(), () => now)
      const first = yield* page("items/")
      now = rows.slice(0, 2)
      const empty = yield* page(first.next!)
      assert.deepStrictEqual(keysOf(empty).results, [])
      assert.isNull(empty.next)
      const back = yield* page(empty.previous!)
      assert.deepStrictEqual(keysOf(back), { next: null, previous: null, results: [1, 2] })
      now = rows
      const last = yield* page(empty.previous!)
      assert.deepStrictEqual(keysOf(last).results, [4, 5])
      now = rows.slice(3)
      assert.deepStrictEqual(keysOf(yield* page(last.previous!)), { next: "items/", previous: null, results: [] })
      now = []
      assert.deepStrictEqual(keysOf(yield* page(empty.previous!)), { next: null, previous: null, results: [] })
    }))

  it.effect("go through a repository in memory, whatever it writes meanwhile", () =>
    Effect.gen(function*() {
      const repository = yield* Items
      const listing = listOf({ options: { ...options, order: ["-quantity"] } })
      const page = (route: string) =>
        Effect.map(listing.page(requestOf(route), repository, Filter.all), (page) => keysOf(page as unknown as Page))
      const first = yield* page("items/")
      assert.deepStrictEqual(first.results, [5, 4])
      yield* repository.remove(4)
      const added = yield* repository.insert({ title: "", content: "", quantity: 100 })
      const second = yield* page(first.next!)
      assert.deepStrictEqual(second.results, [3, 2])
      const back = yield* page(second.previous!)
      assert.deepStrictEqual(back.results, [added.id, 5])
      assert.isNull(back.previous)
    }).pipe(Effect.provide(Items.layerMemory(itemsTo(5)))))

  it.effect("ask for what an index can find", () =>
    Effect.gen(function*() {
      const definition = definitionOf(Row)
      const asks = (order: ReadonlyArray<string>, ...values: ReadonlyArray<unknown>) => {
        const { asked, source } = sourceOf<Row>(() => [])
        const listing = make({ name: "rows", definition, options: { pagination, order } })
        const names = [...order, order.at(-1)?.startsWith("-") ? "-id" : "id"].join()
        const sealer = Cursor.sealer(Cursor.keyOf(undefined), JSON.stringify(["rows", names]))
        return Effect.gen(function*() {
          const cursor = yield* sealer.seal(JSON.stringify([">", ...values]))
          yield* listing.page(requestOf(`rows/?cursor=${cursor}`), source, Filter.all)
          const [selection] = asked
          return Filter.print((selection as Repository.Selection<Row>).filter)
        })
      }
      assert.strictEqual(yield* asks([], 7), "id gt 7")
      assert.strictEqual(
        yield* asks(["flag"], true, 7),
        "and(flag gte true, or(flag gt true, and(flag eq true, id gt 7)))"
      )
      assert.strictEqual(
        yield* asks(["-flag"], true, 7),
        "and(flag lte true, or(flag lt true, and(flag eq true, id lt 7)))"
      )
      assert.strictEqual(yield* asks(["count"], 1, 7), "and(count gte 1, or(count gt 1, and(count eq 1, id gt 7)))")
      assert.strictEqual(
        yield* asks(["-count"], 1, 7),
        "and(or(count lte 1, count isNull), or(count lt 1, count isNull, and(count eq 1, id lt 7)))"
      )
      assert.strictEqual(yield* asks(["count"], null, 7), "or(not(count isNull), and(count isNull, id gt 7))")
      assert.strictEqual(yield* asks(["-count"], null, 7), "and(count isNull, count isNull, id lt 7)")
      assert.strictEqual(
        yield* asks(["flag", "at"], true, "2026-01-31T00:00:00.000Z", 7),
        "and(flag gte true, or(flag gt true, and(flag eq true, " +
          "or(at gt 2026-01-31T00:00:00.000Z, and(at eq 2026-01-31T00:00:00.000Z, id gt 7)))))"
      )
    }))
})

/** Rows with all that can be in order: null, and much that is equal. */
class Row extends Schema.Class<Row>("Row")({
  id: Schema.Int,
  flag: Schema.Boolean,
  count: Schema.NullOr(Schema.Int),
  text: Schema.OptionFromNullOr(Schema.String),
  at: Schema.Date,
  rank: Schema.optionalKey(Schema.Number),
  big: Schema.BigInt
}) {}

describe("walking", () => {
  const fields = ["flag", "count", "text", "at", "rank", "big", "id"] as const
  const small = Schema.Literals([0, 1, 2, 3])
  const Cell = Schema.Struct({ flag: Schema.Boolean, count: small, text: small, at: small, rank: small, big: small })
  const ordering = Schema.Array(Schema.Tuple([Schema.Literals(fields), Schema.Boolean])).check(Schema.isMaxLength(3))
  const size = Schema.Literals([1, 2, 3, 5])

  const row = (id: number, { at, big, count, flag, rank, text }: typeof Cell.Type): Row =>
    new Row({
      id,
      flag,
      count: count === 0 ? null : count - 2,
      text: text === 0 ? Option.none() : Option.some(["", "a", "Z", "\u{1F4A9}"][text]!),
      at: new Date(at * 1000),
      ...(rank === 0 ? {} : { rank: [-1.5, 0, 0.5, 1e21][rank]! }),
      big: BigInt(big) * 10n ** 20n
    })

  const rowsOf = (cells: ReadonlyArray<typeof Cell.Type>): ReadonlyArray<Row> =>
    // Not in the order of their keys.
    cells.map((cell, i) => row((i * 7) % 101, cell))

  /** What is compared, `undefined` for null. */
  const valueOf = (row: Row, field: (typeof fields)[number]): number | string | bigint | undefined => {
    const value = row[field]
    if (value === null || value === undefined) return undefined
    if (Option.isOption(value)) return Option.getOrUndefined(value)
    return typeof value === "object" ? value.getTime() : typeof value === "boolean" ? Number(value) : value
  }

  /** The rows in order, as it is meant. */
  const sorted = (rows: ReadonlyArray<Row>, order: typeof ordering.Type): ReadonlyArray<Row> => {
    const distinct = order.filter(([field], i) => order.findIndex(([other]) => other === field) === i)
    const keyed = [...distinct, ["id", distinct.at(-1)?.[1] ?? false] as const]
    return [...rows].sort((a, b) => {
      for (const [field, isDescending] of keyed) {
        const [x, y] = [valueOf(a, field), valueOf(b, field)]
        if (x === y) continue
        const isBefore = x === undefined || (y !== undefined && x < y)
        return isBefore !== isDescending ? -1 : 1
      }
      return 0
    })
  }

  const startOf = (order: typeof ordering.Type): string => {
    const text = order.map(([field, isDescending]) => `${isDescending ? "-" : ""}${field}`).join()
    return order.length === 0 ? "rows/" : `rows/?${new URLSearchParams({ ordering: text })}`
  }

  const listing = (pagination: Pagination.Any) =>
    make({ name: "rows", definition: definitionOf(Row), options: { pagination, ordering: fields } })

  const paginations = {
    pageNumber: (size: number) => Pagination.pageNumber({ size }),
    limitOffset: (limit: number) => Pagination.limitOffset({ limit }),
    cursor: (size: number) => Pagination.cursor({ size })
  }

  for (const [name, of] of Object.entries(paginations)) {
    it.effect.prop(
      `${name}: next visits every row once and in order, and previous the same pages`,
      { cells: Schema.Array(Cell).check(Schema.isMaxLength(12)), order: ordering, size },
      Effect.fnUntraced(function*({ cells, order, size }) {
        const rows = rowsOf(cells)
        const page = pageOf(listing(of(size)), () => rows)
        const pages = [yield* page(startOf(order))]
        while (pages.at(-1)!.next !== null) {
          assert.isBelow(pages.length, 20)
          pages.push(yield* page(pages.at(-1)!.next!))
        }
        assert.deepStrictEqual(
          pages.flatMap((page) => keysOf(page).results),
          sorted(rows, order).map(({ id }) => id)
        )
        assert.isTrue(pages.slice(0, -1).every(({ results }) => results.length === size))
        assert.isNull(pages[0]!.previous)
        for (let i = pages.length - 1; i > 0; i--) {
          assert.deepStrictEqual(yield* page(pages[i]!.previous!), pages[i - 1])
        }
      }),
      { arbitrary: { runs: 100 } }
    )
  }

  /** What happens before a page is read: a row is added, or one of those that are there goes. */
  const Change = Schema.Union([
    Schema.Struct({ add: Cell }),
    Schema.Struct({ remove: Schema.Literals([0, 1, 2, 3, 5, 8]) })
  ])

  it.effect.prop(
    "cursors neither repeat nor skip what is there all the time, whatever is added or removed meanwhile",
    {
      cells: Schema.Array(Cell).check(Schema.isMaxLength(10)),
      order: ordering,
      size,
      changes: Schema.Array(Schema.Array(Change).check(Schema.isMaxLength(3))).check(Schema.isMaxLength(8))
    },
    Effect.fnUntraced(function*({ cells, changes, order, size }) {
      let rows = rowsOf(cells)
      const stays = new Set(rows)
      let added = 1000
      let step = 0
      const page = pageOf(listing(Pagination.cursor({ size })), () => rows)
      /** Reads a page after the next changes. */
      const turn = (route: string) => {
        for (const change of changes[step++ % Math.max(1, changes.length)] ?? []) {
          if (step > 2 * changes.length) break
          if ("add" in change) {
            // Keys before and after all that are there.
            added++
            rows = rows.concat(row(added % 2 === 0 ? added : -added, change.add))
          } else {
            const removed = rows[change.remove]
            if (removed === undefined) continue
            rows = rows.filter((row) => row !== removed)
            stays.delete(removed)
          }
        }
        return page(route)
      }
      const check = (pages: ReadonlyArray<Page>) => {
        const seen = pages.flatMap(({ results }) => results as unknown as ReadonlyArray<Row>)
        assert.strictEqual(new Set(seen).size, seen.length, "none twice")
        assert.deepStrictEqual(seen, sorted(seen, order), "in order")
        for (const row of stays) assert.include(seen, row)
      }
      const forwards = [yield* page(startOf(order))]
      while (forwards.at(-1)!.next !== null) {
        assert.isBelow(forwards.length, 60)
        forwards.push(yield* turn(forwards.at(-1)!.next!))
      }
      check(forwards)
      const backwards = [forwards.at(-1)!]
      while (backwards[0]!.previous !== null) {
        assert.isBelow(backwards.length, 60)
        backwards.unshift(yield* turn(backwards[0]!.previous!))
      }
      check(backwards)
    }),
    { arbitrary: { runs: 300 } }
  )
})
