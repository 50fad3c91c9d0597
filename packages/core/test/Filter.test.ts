import { Filter } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as DateTime from "effect/DateTime"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { compare, identify, simplify } from "../src/internal/filter.ts"

interface Task {
  readonly id: number
  readonly title: string
  readonly note: string | null
  readonly tags: ReadonlyArray<string>
  readonly due: Date | null
  readonly nick: Option.Option<string>
}
const task = Filter.fields<Task>()

const row = (fields: Partial<Task> = {}): Task => ({
  id: 1,
  title: "title",
  note: null,
  tags: [],
  due: null,
  nick: Option.none(),
  ...fields
})

const holds = <Row>(filter: Filter.Filter<Row>, of: Row): boolean => Filter.matches(filter)(of)

const utc = (millis: number) => DateTime.makeUnsafe(millis)
const zoned = (millis: number) => DateTime.makeZonedUnsafe(millis, { timeZone: "Europe/Berlin" })

// ---- what is generated

const from = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

const one = <A>(values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(from(0, values.length - 1), (i) => values[i]!)

/** Values of every kind, each of which equals or resembles some others. */
const values: ReadonlyArray<unknown> = [
  null,
  undefined,
  Option.none(),
  "",
  "a",
  "A",
  "aB",
  "ab",
  "ä",
  "Ä",
  "k",
  "K",
  "\u212A",
  "1",
  "true",
  "\uFFFF",
  "😀",
  "😁",
  "\uD83D",
  "\uDE00",
  "a\uD83D",
  "\uD83D\uFFFF",
  Option.some("a"),
  Option.some(Option.some(1)),
  Option.some(null),
  -Infinity,
  -1,
  0,
  -0,
  1,
  1.5,
  Infinity,
  NaN,
  0n,
  1n,
  -1n,
  10n,
  true,
  false,
  new Date(1),
  new Date(0),
  new Date(NaN),
  utc(1),
  zoned(1),
  utc(2),
  [],
  [1],
  ["1"],
  [1n],
  {},
  { a: 1, b: { c: null, d: 2 } },
  { b: { d: 2, c: null }, a: 1 },
  { a: 1 }
]
const someValue = one(values)

const fieldNames = ["a", "b", "__proto__", "constructor"]
type Row = Readonly<Record<string, unknown>>

/** A row whose fields hold anything, or are not there. */
const someRow: Arbitrary.Arbitrary<Row> = Arbitrary.map(
  Arbitrary.all(fieldNames.map(() => Arbitrary.all([one([true, true, true, false]), someValue]))),
  (fields) => Object.fromEntries(fields.flatMap(([has, value], i) => has ? [[fieldNames[i]!, value]] : []))
)

const operators: ReadonlyArray<Filter.Operator> = [
  "eq",
  "lt",
  "lte",
  "gt",
  "gte",
  "in",
  "contains",
  "icontains",
  "startsWith",
  "isNull"
]

const someComparison: Arbitrary.Arbitrary<Filter.Tree> = Arbitrary.map(
  Arbitrary.all({
    field: one(fieldNames),
    operator: one(operators),
    value: someValue,
    several: Arbitrary.array(someValue, { maxLength: 4 })
  }),
  ({ field, operator, several, value }): Filter.Tree => ({
    _tag: "Comparison",
    field,
    operator,
    value: operator === "in" ? several : operator === "isNull" ? undefined : value
  })
)

const someTree = (depth: number): Arbitrary.Arbitrary<Filter.Tree> =>
  depth === 0
    ? someComparison
    : Arbitrary.flatMap(from(0, 9), (kind): Arbitrary.Arbitrary<Filter.Tree> => {
      if (kind === 0) return Arbitrary.map(one([true, false]), (value): Filter.Tree => ({ _tag: "Constant", value }))
      if (kind < 3) return Arbitrary.map(someTree(depth - 1), (member): Filter.Tree => ({ _tag: "Not", member }))
      if (kind < 5) return someComparison
      return Arbitrary.map(
        Arbitrary.array(someTree(depth - 1), { maxLength: 3 }),
        (members): Filter.Tree => ({ _tag: kind < 7 ? "And" : "Or", members })
      )
    })

const someFilter = Arbitrary.map(someTree(3), (tree) => Filter.fromTree<Row>(tree))
const rows = Arbitrary.array(someRow, { minLength: 1, maxLength: 8 })
const runs = { arbitrary: { runs: 500 } }

// ---- the definition, slow and apart

const isSame = (a: unknown, b: unknown): boolean =>
  Array.isArray(a) || Array.isArray(b)
    ? Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => isSame(item, b[i]))
    : Equal.equals(a, b)

const millisOf = (value: unknown): number | undefined =>
  value instanceof Date ? value.valueOf() : DateTime.isDateTime(value) ? DateTime.toDateUtc(value).valueOf() : undefined

/** What is in it, undefined for what is null. */
const inside = (value: unknown): unknown => {
  if (Option.isOption(value)) return inside(Option.getOrUndefined(value))
  return value ?? undefined
}

/** -1, 0 or 1 for what comes before, with or after, undefined for what cannot be told. */
const relation = (left: unknown, right: unknown): number | undefined => {
  const [a, b] = [inside(left), inside(right)]
  if (a === undefined || b === undefined) return undefined
  const [x, y] = [millisOf(a) ?? a, millisOf(b) ?? b]
  if ((millisOf(a) === undefined) !== (millisOf(b) === undefined) || typeof x !== typeof y) return undefined
  if (typeof x === "string" && typeof y === "string") {
    const [p, q] = [Array.from(x, (c) => c.codePointAt(0)!), Array.from(y, (c) => c.codePointAt(0)!)]
    while (p.length > 0 && p[0] === q[0]) {
      p.shift()
      q.shift()
    }
    return Math.sign((p[0] ?? -1) - (q[0] ?? -1))
  }
  if (typeof x === "object") return isSame(x, y) ? 0 : undefined
  if (Number.isNaN(x) || Number.isNaN(y)) return (Number.isNaN(x) ? 1 : 0) - (Number.isNaN(y) ? 1 : 0)
  return Number(x) === Number(y) ? 0 : Number(x) < Number(y) ? -1 : 1
}

const lower = (text: string): string =>
  text.split("").map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ".includes(c) ? c.toLowerCase() : c).join("")

const evaluate = (tree: Filter.Tree, of: Row): boolean => {
  switch (tree._tag) {
    case "Constant":
      return tree.value
    case "Not":
      return !evaluate(tree.member, of)
    case "And":
      return tree.members.reduce((all, member) => evaluate(member, of) && all, true)
    case "Or":
      return tree.members.reduce((some, member) => evaluate(member, of) || some, false)
    case "Comparison": {
      const value = new Map(Object.entries(of)).get(tree.field)
      const related = relation(value, tree.value)
      const [text, part] = [inside(value), inside(tree.value)]
      const areText = typeof text === "string" && typeof part === "string"
      switch (tree.operator) {
        case "eq":
          return related === 0
        case "lt":
          return related === -1
        case "lte":
          return related === -1 || related === 0
        case "gt":
          return related === 1
        case "gte":
          return related === 1 || related === 0
        case "in":
          return (tree.value as ReadonlyArray<unknown>).filter((member) => relation(value, member) === 0).length > 0
        case "isNull":
          return text === undefined
        case "contains":
          return areText && text.split(part).length > 1 || areText && part === ""
        case "icontains":
          return areText && (lower(text).split(lower(part)).length > 1 || part === "")
        case "startsWith":
          return areText && text.slice(0, part.length) === part
      }
    }
  }
}

describe("Filter", () => {
  describe("matches", () => {
    it.prop("says of every row what the definition says", { tree: someTree(3), rows }, ({ rows, tree }) => {
      const matches = Filter.matches(Filter.fromTree<Row>(tree))
      for (const row of rows) assert.strictEqual(matches(row), evaluate(tree, row))
    }, runs)

    it.prop("says of every value what the definition says", { tree: someComparison }, ({ tree }) => {
      assert(tree._tag === "Comparison")
      const matches = Filter.matches(Filter.fromTree<Row>(tree))
      for (const value of values) {
        const row = Object.fromEntries([[tree.field, value]])
        assert.strictEqual(matches(row), evaluate(tree, row), String(value))
      }
    }, runs)

    it.prop("is false where anything is compared with null, and true of its opposite", {
      operator: one(operators.filter((operator) => operator !== "isNull" && operator !== "in")),
      nothing: one([null, undefined, Option.none(), Option.some(null)]),
      value: someValue
    }, ({ nothing, operator, value }) => {
      for (const [left, right] of [[nothing, value], [value, nothing]]) {
        const filter = Filter.fromTree<Row>({ _tag: "Comparison", field: "a", operator, value: right })
        assert.isFalse(holds(filter, { a: left }))
        assert.isTrue(holds(Filter.not(filter), { a: left }))
      }
    }, runs)

    it("compares text by code points, and knows A to Z", () => {
      assert.isTrue(holds(task.lt("title", "😀"), row({ title: "\uFFFF" })))
      assert.isTrue(holds(task.gt("title", "\uE000"), row({ title: "\u{10000}" })))
      assert.isTrue(holds(task.lt("title", "a"), row({ title: "Z" })))
      assert.isTrue(holds(task.icontains("title", "HELLO z"), row({ title: "oh, Hello Z" })))
      assert.isFalse(holds(task.icontains("title", "Ä"), row({ title: "ä" })))
      assert.isFalse(holds(task.icontains("title", "k"), row({ title: "\u212A" })))
      assert.isFalse(holds(task.icontains("title", "[a]"), row({ title: "a" })))
      assert.isFalse(holds(task.contains("title", "A"), row({ title: "a" })))
    })

    it("compares instants, whatever wrote them down", () => {
      assert.isTrue(holds(task.eq("due", new Date(5)), row({ due: new Date(5) })))
      const when = Filter.fields<{ readonly at: DateTime.DateTime | Date }>()
      for (const at of [utc(5), zoned(5), new Date(5)]) {
        for (const same of [utc(5), zoned(5), new Date(5)]) {
          assert.isTrue(holds(when.eq("at", same), { at }))
          assert.isTrue(holds(when.in("at", [utc(4), same]), { at }))
        }
        assert.isTrue(holds(when.lt("at", zoned(6)), { at }))
        assert.isFalse(holds(when.lt("at", zoned(5)), { at }))
      }
    })

    it("looks into what may be none", () => {
      assert.isTrue(holds(task.eq("nick", Option.some("x")), row({ nick: Option.some("x") })))
      assert.isFalse(holds(task.eq("nick", Option.none()), row({ nick: Option.none() })))
      assert.isTrue(holds(task.isNull("nick"), row({ nick: Option.none() })))
      assert.isFalse(holds(task.isNull("nick"), row({ nick: Option.some("") })))
    })

    it("compares anything else for being equal, and nothing more", () => {
      assert.isTrue(holds(task.eq("tags", ["a", "b"]), row({ tags: ["a", "b"] })))
      assert.isFalse(holds(task.eq("tags", ["a", "b"]), row({ tags: ["b", "a"] })))
      assert.isFalse(holds(task.lt("tags", ["b"]), row({ tags: ["a"] })))
      assert.isFalse(holds(task.gt("tags", ["b"]), row({ tags: ["a"] })))
      assert.isTrue(holds(task.lte("tags", ["a"]), row({ tags: ["a"] })))
      assert.isTrue(holds(task.in("tags", [["b"], ["a"]]), row({ tags: ["a"] })))
    })

    it("reads the fields of an instance, and not what its class has", () => {
      class Person extends Schema.Class<Person>("Person")({
        name: Schema.String,
        nick: Schema.OptionFromNullOr(Schema.String)
      }) {
        get shout(): string {
          return this.name.toUpperCase()
        }
      }
      const person = Filter.fields<Person>()
      const ann = new Person({ name: "ann", nick: Option.some("a") })
      assert.isTrue(holds(Filter.and(person.eq("name", "ann"), person.eq("nick", Option.some("a"))), ann))
      assert.isFalse(holds(person.eq("shout", "ANN"), ann))
      assert.isTrue(holds(person.isNull("shout"), ann))
    })

    it("takes a field by its name, whatever that is", () => {
      for (const field of ["__proto__", "constructor", "toString", "hasOwnProperty", ""]) {
        const fields = Filter.fields<Row>()
        assert.isTrue(holds(fields.isNull(field), {}), field)
        assert.isTrue(holds(fields.isNull(field), Object.create({ [field]: 1 })), field)
        assert.isTrue(holds(fields.eq(field, 1), Object.fromEntries([[field, 1]])), field)
        assert.isTrue(holds(fields.eq(field, 1), Object.assign(Object.create(null), { [field]: 1 })), field)
      }
    })
  })

  describe("simplify", () => {
    it.prop("keeps what an expression means", { tree: someTree(4), rows }, ({ rows, tree }) => {
      const simple = simplify(tree)
      for (const row of rows) assert.strictEqual(evaluate(simple, row), evaluate(tree, row))
    }, runs)

    it.prop("leaves nothing that says nothing", { tree: someTree(4) }, ({ tree }) => {
      const simple = simplify(tree)
      assert.deepStrictEqual(simplify(simple), simple)
      if (simple._tag === "Constant") return
      const check = (tree: Filter.Tree): void => {
        assert.notStrictEqual(tree._tag, "Constant")
        if (tree._tag === "Not") {
          assert.notStrictEqual(tree.member._tag, "Not")
          check(tree.member)
        }
        if (tree._tag === "And" || tree._tag === "Or") {
          assert.isAbove(tree.members.length, 1)
          for (const member of tree.members) {
            assert.notStrictEqual(member._tag, tree._tag)
            check(member)
          }
        }
      }
      check(simple)
    }, runs)

    it("is what combinators do", () => {
      const [a, b, c] = [task.eq("id", 1), task.eq("id", 2), task.isNull("due")] as const
      const same = (left: Filter.Any, right: Filter.Any) => assert.deepStrictEqual(left.tree, right.tree)
      same(Filter.and(), Filter.all)
      same(Filter.or(), Filter.none)
      same(Filter.and(a), a)
      same(Filter.or(a), a)
      same(Filter.and(a, Filter.all), a)
      same(Filter.and(a, Filter.none), Filter.none)
      same(Filter.or(a, Filter.none), a)
      same(Filter.or(a, Filter.all), Filter.all)
      same(Filter.not(Filter.not(a)), a)
      same(Filter.not(Filter.all), Filter.none)
      same(Filter.and(Filter.and(a, b), c), Filter.and(a, Filter.and(b, c)))
      same(Filter.or(Filter.or(a, b), c), Filter.or(a, b, c))
      same(Filter.or(a, task.in("id", [])), a)
      same(Filter.not(task.in("id", [])), Filter.all)
      same(Filter.and(a, task.eq("nick", Option.none())), Filter.none)
      assert.notDeepEqual(Filter.and(Filter.or(a, b), c).tree, Filter.and(a, b, c).tree)
    })
  })

  describe("combinators", () => {
    it.prop("are those of De Morgan", { a: someFilter, b: someFilter, rows }, ({ a, b, rows }) => {
      const pairs = [
        [Filter.not(Filter.and(a, b)), Filter.or(Filter.not(a), Filter.not(b))],
        [Filter.not(Filter.or(a, b)), Filter.and(Filter.not(a), Filter.not(b))]
      ] as const
      for (const [left, right] of pairs) {
        for (const row of rows) assert.strictEqual(holds(left, row), holds(right, row))
      }
    }, runs)

    it.prop("are those of truth values", { a: someFilter, b: someFilter, rows }, ({ a, b, rows }) => {
      for (const row of rows) {
        assert.strictEqual(holds(Filter.and(a, b), row), holds(a, row) && holds(b, row))
        assert.strictEqual(holds(Filter.or(a, b), row), holds(a, row) || holds(b, row))
        assert.strictEqual(holds(Filter.not(a), row), !holds(a, row))
        assert.isTrue(holds(Filter.or(a, Filter.not(a)), row))
      }
    }, runs)
  })

  describe("compare", () => {
    it.prop("orders all values", { a: someValue, b: someValue, c: someValue }, ({ a, b, c }) => {
      assert.strictEqual(compare(a, a), 0)
      assert.strictEqual(Math.sign(compare(a, b)), 0 - Math.sign(compare(b, a)))
      if (compare(a, b) <= 0 && compare(b, c) <= 0) assert.isAtMost(compare(a, c), 0)
      if (compare(a, b) === 0) assert.strictEqual(Math.sign(compare(a, c)), Math.sign(compare(b, c)))
    }, { arbitrary: { runs: 5000 } })

    it("puts null first, and is what is less and equal", () => {
      for (const a of values) {
        for (const b of values) {
          const related = relation(a, b)
          if (related !== undefined) assert.strictEqual(Math.sign(compare(a, b)), related)
          else if (inside(a) === undefined) {
            assert.strictEqual(Math.sign(compare(a, b)), inside(b) === undefined ? 0 : -1)
          } else assert.notStrictEqual(compare(a, b), 0)
        }
      }
    })

    const text = Arbitrary.map(
      Arbitrary.array(one(["a", "b", "\u0000", "\u007F", "\u0080", "\uD7FF", "\uE000", "\uFFFF", "😀", "\u{10FFFF}"]), {
        maxLength: 5
      }),
      (parts) => parts.join("")
    )
    it.prop("orders text as UTF-8 does its bytes", { a: text, b: text }, ({ a, b }) => {
      const [left, right] = [a, b].map((text) => new TextEncoder().encode(text))
      const at = left!.findIndex((byte, i) => byte !== right![i])
      const bytes = at < 0 ? left!.length - right!.length : at < right!.length ? left![at]! - right![at]! : 1
      assert.strictEqual(Math.sign(compare(a, b)), Math.sign(bytes))
    }, { arbitrary: { runs: 2000 } })

    it("identifies what is equal, and nothing else", () => {
      for (const a of values) {
        for (const b of values) {
          const isEqual = relation(a, b) === 0
          assert.strictEqual(identify([a]) !== null && identify([a]) === identify([b]), isEqual)
          const [left, right] = [identify(["x", a]), identify(["x", b])]
          assert.strictEqual(left !== null && left === right, isEqual)
        }
      }
      assert.notStrictEqual(identify(["a,string:b", "c"]), identify(["a", "b,string:c"]))
      assert.notStrictEqual(identify(["a\",\"string:b"]), identify(["a", "b"]))
    })
  })

  describe("print", () => {
    it("says what the expression is", () => {
      const cases: ReadonlyArray<readonly [Filter.Filter<Task>, string]> = [
        [Filter.all, "all"],
        [Filter.none, "none"],
        [Filter.and(task.eq("id", 3), Filter.not(task.isNull("due"))), "and(id eq 3, not(due isNull))"],
        [Filter.or(task.ne("title", "a \"b\""), task.isNull("note")), "or(not(title eq \"a \\\"b\\\"\"), note isNull)"],
        [task.in("id", [1, 2]), "id in [1, 2]"],
        [task.in("title", ["a", "b"]), "title in [\"a\", \"b\"]"],
        [task.gte("due", new Date(0)), "due gte 1970-01-01T00:00:00.000Z"],
        [task.lt("due", new Date(NaN)), "due lt Invalid Date"],
        [task.eq("nick", Option.some("x")), "nick eq \"x\""],
        [task.eq("nick", Option.none()), "nick eq null"],
        [task.eq("tags", ["a"]), "tags eq [\"a\"]"],
        [task.icontains("title", "x"), "title icontains \"x\""],
        [Filter.fromTree({ _tag: "Comparison", field: "n", operator: "eq", value: 1n }), "n eq 1n"],
        [Filter.fromTree({ _tag: "Comparison", field: "n", operator: "eq", value: true }), "n eq true"]
      ]
      for (const [filter, text] of cases) {
        assert.strictEqual(Filter.print(filter), text)
        assert.strictEqual(String(filter), text)
        assert.strictEqual(JSON.stringify(filter), JSON.stringify(text))
      }
    })
  })

  it("is a value that is known as one, and can be piped", () => {
    assert.isTrue(Filter.isFilter(Filter.all))
    assert.isTrue(Filter.isFilter(task.eq("id", 1)))
    assert.isFalse(Filter.isFilter({ tree: Filter.all.tree }))
    assert.isFalse(Filter.isFilter(null))
    assert.strictEqual(task.eq("id", 1).pipe(Filter.not, Filter.print), "not(id eq 1)")
  })
})
