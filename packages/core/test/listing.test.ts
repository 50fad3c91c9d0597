import { ChannelError, Filter, Pagination } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import type { Lookup, Options } from "../src/internal/listing.ts"
import { definitionOf, make, problemsOf, requestOf, settings, sourceOf } from "./support/listings.ts"

class Product extends Schema.Class<Product>("Product")({
  id: Schema.Int,
  title: Schema.String,
  code: Schema.NonEmptyString.check(Schema.isMaxLength(5)),
  price: Schema.Number,
  weight: Schema.NumberFromString,
  stock: Schema.NullOr(Schema.Int),
  rank: Schema.optionalKey(Schema.Int),
  note: Schema.NullOr(Schema.String),
  label: Schema.OptionFromNullOr(Schema.String),
  born: Schema.OptionFromNullOr(Schema.DateFromString),
  made: Schema.Date,
  sold: Schema.DateTimeUtc,
  isNew: Schema.Boolean,
  size: Schema.Literals(["s", "m", "l"]),
  stars: Schema.Literals([1, 2, 3]),
  mixed: Schema.Literals([1, "x"]),
  serial: Schema.BigInt,
  owner: Schema.Int.pipe(Schema.brand("UserId")),
  tags: Schema.Array(Schema.String),
  extra: Schema.Unknown
}) {}

const definition = definitionOf(Product)

const every: ReadonlyArray<Lookup> = ["exact", "ne", "lt", "lte", "gt", "gte", "in", "isnull"]
const text: ReadonlyArray<Lookup> = [...every, "contains", "icontains", "startswith"]

const options: Options = {
  pagination: Pagination.pageNumber({ sizeParameter: "page_size" }),
  filters: {
    title: text,
    code: text,
    price: every,
    weight: every,
    stock: every,
    rank: every,
    note: text,
    label: text,
    born: every,
    made: every,
    sold: every,
    isNew: ["exact", "ne", "in", "isnull"],
    size: text,
    stars: every,
    mixed: ["exact", "in"],
    serial: every,
    owner: every,
    tags: ["isnull"]
  },
  search: ["title", "note"],
  ordering: ["price", "title", "stock"]
}

const strict = make({ name: "products", definition, options })
const lenient = make({ name: "products", definition, options: { ...options, unknownParameters: "ignore" } })

/** What a query string asks for. */
const asked = (query: string, listing = strict) => listing.filterOf(requestOf(`products/?${query}`))

const printed = (query: string, listing = strict) =>
  Effect.map(asked(query, listing), ({ filter }) => Filter.print(filter))

/** What is wrong with a query string. */
const wrong = (query: string, listing = strict) =>
  Effect.map(Effect.flip(asked(query, listing)), (error) => {
    assert.instanceOf(error, ChannelError.InvalidPayload)
    return error.problems.map(({ detail, path }) => `${path.join(".")}: ${detail}`)
  })

describe("lookups", () => {
  const filters: ReadonlyArray<readonly [query: string, filter: string]> = [
    ["", "all"],
    ["title=a", "title eq \"a\""],
    ["title=", "title eq \"\""],
    ["title", "title eq \"\""],
    ["title__ne=a", "not(title eq \"a\")"],
    ["title__lt=a", "title lt \"a\""],
    ["title__contains=%25a%20b", "title contains \"%a b\""],
    ["title__icontains=a+b", "title icontains \"a b\""],
    ["title__startswith=1", "title startsWith \"1\""],
    ["code__contains=toolongforacode", "code contains \"toolongforacode\""],
    ["price=1", "price eq 1"],
    ["price__lt=-1.5e3", "price lt -1500"],
    ["price__lte=1", "price lte 1"],
    ["price__gt=1", "price gt 1"],
    ["price__gte=%2B1", "price gte 1"],
    ["price__in=1,2&price__in=3", "price in [1, 2, 3]"],
    ["weight=2.5", "weight eq 2.5"],
    ["stock=1", "stock eq 1"],
    ["stock__isnull=true", "stock isNull"],
    ["stock__isnull=false", "not(stock isNull)"],
    ["rank=1", "rank eq 1"],
    ["tags__isnull=true", "tags isNull"],
    // The text, not nothing.
    ["note=null", "note eq \"null\""],
    ["label=null", "label eq \"null\""],
    ["label__startswith=a", "label startsWith \"a\""],
    ["born__gt=2026-01-31", "born gt 2026-01-31T00:00:00.000Z"],
    ["made=2026-01-31T12:00:00Z", "made eq 2026-01-31T12:00:00.000Z"],
    ["sold__gte=2026-01-31T12:00:00%2B02:00", "sold gte 2026-01-31T10:00:00.000Z"],
    ["isNew=true", "isNew eq true"],
    ["isNew__ne=false", "not(isNew eq false)"],
    ["size=m", "size eq \"m\""],
    ["size__in=s,l", "size in [\"s\", \"l\"]"],
    ["stars=2", "stars eq 2"],
    ["mixed__in=1,x", "mixed in [1, \"x\"]"],
    ["serial=123456789012345678901234567890", "serial eq 123456789012345678901234567890n"],
    ["owner=7", "owner eq 7"],
    ["owner=7&price__lt=3", "and(owner eq 7, price lt 3)"],
    [
      "search=a%20%20b",
      "and(or(title icontains \"a\", note icontains \"a\"), or(title icontains \"b\", note icontains \"b\"))"
    ],
    ["search=", "all"],
    ["search=%20", "all"],
    // Those of the page say nothing.
    ["page=7&page_size=3", "all"]
  ]

  for (const [query, filter] of filters) {
    it.effect(`?${query} is ${filter}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* printed(query), filter)
        assert.strictEqual(yield* printed(query, lenient), filter)
      }))
  }

  it.effect("compare with values of the field's type", () =>
    Effect.gen(function*() {
      const valueOf = (query: string) =>
        Effect.map(asked(query), ({ filter: { tree } }) => tree._tag === "Comparison" ? tree.value : undefined)
      assert.deepStrictEqual(yield* valueOf("made=2026-01-31"), new Date("2026-01-31"))
      assert.deepStrictEqual(yield* valueOf("sold=2026-01-31"), DateTime.makeUnsafe("2026-01-31"))
      assert.deepStrictEqual(yield* valueOf("born=2026-01-31"), Option.some(new Date("2026-01-31")))
      assert.deepStrictEqual(yield* valueOf("label=a"), Option.some("a"))
      assert.deepStrictEqual(yield* valueOf("label__contains=a"), "a")
    }))

  const refused: ReadonlyArray<readonly [query: string, problem: string]> = [
    ...["", "%20", "abc", "NaN", "Infinity", "-Infinity", "1e400", "1_0", "%201", "1,2", "null"].flatMap((text) =>
      (["price", "weight", "stock"] as const).map((name) => [`${name}=${text}`, "Expected a number"] as const)
    ),
    ["price__in=1,,2", "Expected a number"],
    ["stock=1.5", "Expected an integer"],
    ["stock=999999999999999999999", "Expected an integer"],
    ["owner=1.5", "Expected an integer"],
    ["code=", "Expected a value with a length of at least 1"],
    ["code=abcdef", "Expected a value with a length of at most 5"],
    ["isNew=True", "Expected \"true\" | \"false\""],
    ["isNew=1", "Expected \"true\" | \"false\""],
    ["isNew=", "Expected \"true\" or \"false\""],
    ["stock__isnull=1", "Expected \"true\" or \"false\""],
    ["size=xl", "Expected \"s\" | \"m\" | \"l\""],
    ["stars=4", "Expected \"1\" | \"2\" | \"3\""],
    ["serial=1.5", "Expected a string representing a bigint"],
    ["serial=", "Expected a whole number"],
    ...["made", "sold", "born"].flatMap((name) =>
      ["", "1", "x", "2026-01", "31.01.2026"].map((text) =>
        [`${name}=${text}`, "Expected a date, as 2026-01-31 or 2026-01-31T12:00:00Z"] as const
      )
    ),
    ["made=2026-13-01", "Expected a valid Date"],
    ["made=2026-01-31T25:00:00Z", "Expected a valid Date"],
    ["title=%00", "Expected no character U+0000"],
    ["title__contains=%00", "Expected no character U+0000"],
    ["search=a%00", "Expected no character U+0000"],
    ["title=a&title=b", "Expected it once"],
    ["search=a&search=b", "Expected it once"],
    ["page=1&page=2", "Expected it once"],
    ["ordering=id", "Expected some of \"price\", \"title\", \"stock\", with \"-\" before those that descend"],
    ["ordering=--price", "Expected some of \"price\", \"title\", \"stock\", with \"-\" before those that descend"]
  ]

  for (const [query, problem] of refused) {
    it.effect(`?${query} is refused, or ignored`, () =>
      Effect.gen(function*() {
        const [name] = query.split("=", 1)
        assert.deepStrictEqual(yield* wrong(query), [`query.${name}: ${problem}`])
        // Of several the last one counts, as with Django.
        if (problem !== "Expected it once") assert.strictEqual(yield* printed(query, lenient), "all")
      }))
  }

  it.effect("of several values the last one counts where nothing is refused", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* printed("title=a&title=b", lenient), "title eq \"b\"")
      assert.strictEqual(yield* printed("search=a&search=b", lenient), yield* printed("search=b"))
    }))

  it.effect("what is too much is refused, whatever else is ignored", () =>
    Effect.gen(function*() {
      const long = "a".repeat(1025)
      const many = (count: number) => Array.from({ length: count }, (_, i) => i).join()
      const words = (count: number) => Array.from({ length: count }, () => "a").join("+")
      for (const listing of [strict, lenient]) {
        for (
          const [query, detail] of [
            [`title=${long}`, "Expected 1024 characters at the most"],
            [`title__icontains=${long}`, "Expected 1024 characters at the most"],
            [`title__in=a,${long}`, "Expected 1024 characters at the most"],
            [`search=${long}`, "Expected 1024 characters at the most"],
            [`price__in=${many(60)}&price__in=${many(41)}`, "Expected 100 values at the most"],
            [`search=${words(17)}`, "Expected 16 words at the most"]
          ] as const
        ) {
          assert.deepStrictEqual(yield* wrong(query, listing), [`query.${query.split("=", 1)[0]}: ${detail}`])
        }
        yield* printed(`title=${long.slice(1)}&price__in=${many(100)}&search=${words(16)}`, listing)
      }
    }))

  it.effect("all problems are told, and which parameters there are", () =>
    Effect.gen(function*() {
      const listing = make({
        name: "products",
        definition,
        options: { ...options, filters: { price: ["lt"], title: ["exact"] }, ordering: [] }
      })
      const names = "\"page\", \"page_size\", \"price__lt\", \"title\", \"search\""
      assert.deepStrictEqual(listing.parameters, ["page", "page_size", "price__lt", "title", "search"])
      assert.deepStrictEqual(yield* wrong("price=1&price__lt=x&ordering=price&title=a", listing), [
        `query.price: Expected one of ${names}`,
        "query.price__lt: Expected a number",
        `query.ordering: Expected one of ${names}`
      ])
      const bare = make({ name: "products", definition, options: { pagination: Pagination.none() } })
      assert.deepStrictEqual(yield* wrong("page=1", bare), ["query.page: Expected no parameters"])
    }))
})

describe("ordering", () => {
  const ordered = (query: string, listing = strict) =>
    Effect.map(
      asked(query, listing),
      ({ order }) => order.map(({ direction, field }) => direction === "ascending" ? field : `-${field}`).join()
    )

  it.effect("ends with the key, in the direction of what comes before it", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* ordered(""), "id")
      assert.strictEqual(yield* ordered("ordering="), "id")
      assert.strictEqual(yield* ordered("ordering=price"), "price,id")
      assert.strictEqual(yield* ordered("ordering=title,-price"), "title,-price,-id")
      assert.strictEqual(yield* ordered("ordering=%20-price%20,,title"), "-price,title,id")
    }))

  it.effect("counts a field once", () =>
    Effect.map(ordered("ordering=price,-price,title,price"), (order) => assert.strictEqual(order, "price,title,id")))

  it.effect("is the default one where the client names none", () =>
    Effect.gen(function*() {
      const by = (order: ReadonlyArray<string>) =>
        make({ name: "products", definition, options: { ...options, order, unknownParameters: "ignore" } })
      assert.strictEqual(yield* ordered("", by(["-made", "title"])), "-made,title,id")
      assert.strictEqual(yield* ordered("", by(["-made"])), "-made,-id")
      assert.strictEqual(yield* ordered("", by(["title", "-id", "made"])), "title,-id")
      assert.strictEqual(yield* ordered("ordering=price", by(["-made"])), "price,id")
      assert.strictEqual(yield* ordered("ordering=nope,-made", by(["-made"])), "-made,-id")
      assert.strictEqual(yield* ordered("ordering=nope,price", by(["-made"])), "price,id")
    }))
})

describe("mistakes", () => {
  const problems = (declared: Partial<Options>, given: Partial<typeof settings> = {}) =>
    problemsOf({
      name: "products",
      definition,
      options: { ...options, ...declared },
      settings: { ...settings, ...given }
    })

  it("there are none", () => {
    assert.deepStrictEqual(problems({}), [])
    assert.deepStrictEqual(
      problemsOf({ name: "products", definition, options: { pagination: Pagination.cursor() } }),
      []
    )
  })

  it("fields that are not there", () => {
    const fields = `there are ${Object.keys(Product.fields).map((name) => `"${name}"`).join(", ")}`
    assert.deepStrictEqual(
      problems({
        filters: { nope: ["exact"], ["constructor" as string]: ["exact"] },
        search: ["title", "__proto__"],
        ordering: ["toString"],
        order: ["-gone", "id"]
      }),
      [
        `filters: there is no field "nope", ${fields}`,
        `filters: there is no field "constructor", ${fields}`,
        `search: there is no field "__proto__", ${fields}`,
        `ordering: there is no field "toString", ${fields}`,
        `order: there is no field "gone", ${fields}`
      ]
    )
    assert.deepStrictEqual(
      problemsOf({
        name: "products",
        definition: definitionOf(Product, "uuid"),
        options: { pagination: Pagination.none() }
      }),
      [`the key: there is no field "uuid", ${fields}`]
    )
  })

  it("lookups that do not fit", () => {
    const unfit = (name: string, lookups: ReadonlyArray<Lookup>) => problems({ filters: { [name]: lookups } })
    assert.deepStrictEqual(unfit("price", ["contains", "exact"]), [
      "filters: \"contains\" does not fit the field \"price\": what fits it is \"exact\", \"ne\", \"lt\", \"lte\", \"gt\", \"gte\", \"in\", \"isnull\""
    ])
    assert.lengthOf(unfit("isNew", every), 4)
    assert.lengthOf(unfit("mixed", text), 7)
    for (const name of ["tags", "extra"]) assert.lengthOf(unfit(name, text), 10)
    assert.deepStrictEqual(unfit("title", ["regex" as never]), [
      `filters: "regex" does not fit the field "title": what fits it is ${text.map((name) => `"${name}"`).join(", ")}`
    ])
    assert.deepStrictEqual(problems({ search: ["price"] }), ["search: the field \"price\" is no text"])
    for (const name of ["tags", "extra", "mixed"]) {
      assert.deepStrictEqual(problems({ ordering: [name], order: [`-${name}`] }), [
        `ordering: rows cannot be in order by the field "${name}"`,
        `order: rows cannot be in order by the field "${name}"`
      ])
    }
    for (const name of ["tags", "stock"]) {
      const [problem] = problemsOf({ name: "products", definition: definitionOf(Product, name), options })
      assert.include(problem, "the key")
    }
  })

  it("parameters of one name", () => {
    const Odd = Schema.Struct({
      id: Schema.Int,
      page: Schema.Int,
      search: Schema.String,
      a: Schema.Int,
      a__lt: Schema.Int
    })
    const odd = (filters: Options["filters"]) =>
      problemsOf({
        name: "odd",
        definition: definitionOf(Odd),
        options: { pagination: options.pagination, filters, search: ["search"] }
      })
    assert.deepStrictEqual(odd({ page: ["lt"], search: ["contains"], a: ["exact"], a__lt: ["gt"] }), [])
    assert.deepStrictEqual(odd({ page: ["exact"] }), ["two parameters are named \"page\""])
    assert.deepStrictEqual(odd({ search: ["exact"] }), ["two parameters are named \"search\""])
    assert.deepStrictEqual(odd({ a: ["lt"], a__lt: ["exact"] }), ["two parameters are named \"a__lt\""])
  })

  it("settings", () => {
    assert.deepStrictEqual(problems({}, { pageSize: 0, maxPageSize: NaN }), [
      "the setting pageSize is 0: it must be a whole number from 1",
      "the setting maxPageSize is NaN: it must be a whole number from 1"
    ])
  })
})

describe("fields that are used", () => {
  it("are told, the order and its key included", () => {
    assert.deepStrictEqual(make({ name: "products", definition, options: { ...options, order: ["-made"] } }).uses, {
      filters: Object.keys(options.filters!),
      search: ["title", "note"],
      ordering: ["price", "title", "stock"],
      order: ["made", "id"]
    })
  })
})

describe("a model", () => {
  class Entry extends Model.Class<Entry>("Entry")({
    id: Model.GeneratedByDb(Schema.Int),
    isOpen: Model.BooleanSqlite,
    title: Model.FieldOption(Schema.String),
    password: Model.Sensitive(Schema.String),
    createdAt: Model.DateTimeInsert
  }) {}

  it.effect("is asked for in the words of its JSON", () =>
    Effect.gen(function*() {
      const listing = make({
        name: "entries",
        definition: definitionOf(Entry),
        options: {
          pagination: Pagination.none(),
          filters: { isOpen: ["exact"], title: text, password: ["exact"], createdAt: ["lt"] },
          order: ["createdAt"]
        }
      })
      const query = "isOpen=true&title=a&password=b&createdAt__lt=2026-01-31"
      assert.strictEqual(
        yield* printed(query, listing),
        "and(isOpen eq true, title eq \"a\", password eq \"b\", createdAt lt 2026-01-31T00:00:00.000Z)"
      )
    }))
})

describe("hostile queries", () => {
  const rows = Array.from({ length: 3 }, (_, id) => ({ id }))
  const { source } = sourceOf(() => rows)
  const small = definitionOf(Schema.Struct({ id: Schema.Int }))
  const list = (unknownParameters: "refuse" | "ignore", pagination: Pagination.Any = Pagination.pageNumber()) =>
    make({
      name: "small",
      definition: small,
      options: { pagination, unknownParameters, filters: { id: ["exact", "in"] } }
    })
  const names = [
    "__proto__",
    "constructor",
    "constructor__lt",
    "hasOwnProperty",
    "id__constructor",
    "id__",
    "__lt",
    "id__exact",
    "id__in__in",
    "%zz",
    "",
    "%F0%9F%92%A9",
    "\ud800"
  ]

  for (const name of names) {
    it.effect(`?${name}= is no parameter`, () =>
      Effect.gen(function*() {
        const route = `small/?${name}=1&page=1`
        const error = yield* Effect.flip(list("refuse").page(requestOf(route), source, Filter.all))
        assert.instanceOf(error, ChannelError.InvalidPayload)
        assert.lengthOf(error.problems, 1)
        assert.deepStrictEqual(yield* list("ignore").page(requestOf(route), source, Filter.all), {
          count: 3,
          next: null,
          previous: null,
          results: rows
        })
      }))
  }

  it.effect("thousands of parameters are refused with some problems, or kept", () =>
    Effect.gen(function*() {
      const many = Array.from({ length: 5000 }, (_, i) => `p${10_000 + i}=1`)
      const route = `small/?${many.join("&")}`
      const error = yield* Effect.flip(list("refuse").page(requestOf(route), source, Filter.all))
      assert.lengthOf((error as ChannelError.InvalidPayload).problems, 32)
      const paged = list("ignore", Pagination.pageNumber({ size: 2 }))
      const page = yield* paged.page(requestOf(route), source, Filter.all)
      assert.isTrue("next" in page && page.next === `small/?${[...many, "page=2"].join("&")}`)
      const repeated = `small/?${"id__in=1&".repeat(5000)}`
      assert.instanceOf(
        yield* Effect.flip(list("ignore").page(requestOf(repeated), source, Filter.all)),
        ChannelError.InvalidPayload
      )
    }))
})
