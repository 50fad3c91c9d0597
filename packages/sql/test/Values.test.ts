import { Filter, Repository } from "@effect-channels/core"
import { SqlRepository } from "@effect-channels/sql"
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { SqlClient } from "effect/sql/SqlClient"
import { eachDatabase, run } from "./support/databases.ts"

class Point extends Schema.Class<Point>("test/Point")({ x: Schema.Finite, at: Schema.Date }) {}

/** A column, and values that a field of it has. */
interface Case {
  readonly name: string
  readonly schema: Schema.Top
  /** The types of columns that keep them. */
  readonly sqlite: ReadonlyArray<string>
  readonly pg: ReadonlyArray<string>
  readonly values: ReadonlyArray<unknown>
  /** What they are compared with besides. */
  readonly others?: ReadonlyArray<unknown>
  /** Text that is not looked for: in memory, a half of a character is part of it. */
  readonly halves?: ReadonlyArray<unknown>
  /** Whether they are only told apart, as values of several kinds are in a database. */
  readonly isUnordered?: boolean
}

const some = (value: unknown) => Option.some(value)

const texts = ["", "a", "a\u0001", "ab", "b", "B", "\uD7FF", "\uE000", "\uFFFF", "😀", "😀a", "1", "%"]
const halves = ["a\uD83D", "\uDE00", "a\uD83Db"]

const cases: ReadonlyArray<Case> = [
  {
    name: "text",
    schema: Schema.String,
    sqlite: ["TEXT", "VARCHAR(20)", "", "TEXT COLLATE NOCASE"],
    pg: ["text", "text COLLATE \"C\"", "varchar(20)", "text COLLATE \"en-x-icu\"", "name"],
    values: texts,
    others: ["a\0", "\0", 5, true],
    halves
  },
  {
    name: "literals",
    schema: Schema.Literals(["open", "Done", "closed"]),
    sqlite: ["TEXT"],
    pg: ["text", "mood", "mood_domain"],
    values: ["open", "Done", "closed"],
    others: ["", "dunno", "open\0", "D", "p"]
  },
  {
    name: "uuid",
    schema: Schema.String,
    sqlite: ["TEXT"],
    pg: ["uuid", "text"],
    values: [
      "0b7a2bd4-5c1c-4d0c-8f8a-0d7a3c5e9f10",
      "ffffffff-ffff-ffff-ffff-ffffffffffff",
      "a0000000-0000-0000-0000-000000000000"
    ],
    others: ["", "0B7A2BD4-5c1c-4d0c-8f8a-0d7a3c5e9f10", "no uuid", "b", "0b7a2bd4"]
  },
  {
    name: "whole numbers",
    schema: Schema.Int,
    sqlite: ["INTEGER", "REAL", "NUMERIC", ""],
    pg: ["integer", "bigint", "double precision", "numeric", "numbers"],
    values: [0, 1, -1, 2, 2 ** 31 - 1, -(2 ** 31)],
    others: [-0, 0.5, -0.5, 1e30, -1e30, 2 ** 31, 2 ** 53, 2 ** 63, -(2 ** 63), Infinity, -Infinity, NaN, "1", 1n, true]
  },
  {
    name: "small whole numbers",
    schema: Schema.Int,
    sqlite: ["SMALLINT"],
    pg: ["smallint", "real"],
    values: [0, 1, -1, 32767, -32768],
    others: [0.5, 32768, 1e10, Infinity, NaN]
  },
  {
    name: "numbers",
    schema: Schema.Number,
    sqlite: ["REAL", "DOUBLE", ""],
    pg: ["double precision"],
    values: [0, 0.1, -1.5, 1e300, -1e300, 5e-324, Infinity, -Infinity],
    others: [-0, NaN, 0.2, 1e-300, ...Array.from({ length: 70 }, (_, i) => 1000 + i / 7)]
  },
  {
    name: "what is not a number",
    schema: Schema.Number,
    sqlite: [],
    pg: ["double precision", "numeric", "real"],
    values: [0, NaN, -1, 2],
    others: [Infinity, -Infinity, 0.5]
  },
  {
    name: "decimals",
    schema: Schema.Finite,
    sqlite: ["REAL"],
    pg: ["numeric", "numeric(20, 5)"],
    values: [0, 0.1, -1.5, 123456.78901],
    others: [-0, NaN, Infinity, -Infinity, 1e300, 0.100001]
  },
  {
    name: "bigints",
    schema: Schema.BigInt,
    sqlite: ["INTEGER", "BIGINT"],
    pg: ["bigint", "numeric"],
    values: [0n, 1n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)],
    others: [2n ** 63n, -(2n ** 63n) - 1n, 10n ** 30n, 1, "1"]
  },
  {
    name: "booleans",
    schema: Schema.Boolean,
    sqlite: ["INTEGER", "BOOLEAN", "REAL"],
    pg: ["boolean"],
    values: [true, false],
    others: [0, "true"]
  },
  {
    name: "dates",
    schema: Schema.Date,
    sqlite: ["TEXT", "DATETIME", "INTEGER", "BIGINT"],
    pg: ["timestamptz(3)", "timestamptz", "timestamp", "timestamp(3)", "bigint", "text"],
    values: [
      "1969-12-31T23:59:59.999Z",
      "1970-01-01T00:00:00Z",
      "2026-02-03T04:05:06.789Z",
      "0001-01-01T00:00:00Z",
      "9999-12-31T23:59:59.999Z"
    ]
      .map((text) => new Date(text)),
    others: [
      new Date("-000044-03-15T00:00:00Z"),
      new Date(8.64e15),
      new Date(-8.64e15),
      new Date(NaN),
      new Date(1),
      "1970-01-01",
      0
    ]
  },
  {
    name: "days",
    schema: Schema.Date,
    sqlite: ["DATE"],
    pg: ["date"],
    values: [new Date("1970-01-01"), new Date("2026-02-03"), new Date("1900-01-01")],
    others: [new Date(1), new Date("2026-02-03T12:00:00Z"), new Date(-8.64e15)]
  },
  {
    name: "instants",
    schema: Schema.DateTimeUtcFromMillis,
    sqlite: ["TEXT", "INTEGER"],
    pg: ["timestamptz"],
    values: [0, 1_700_000_000_001].map((millis) => DateTime.makeUnsafe(millis)),
    others: [DateTime.makeUnsafe(5), DateTime.makeUnsafe(-8.64e15)]
  },
  {
    name: "options",
    schema: Schema.OptionFromNullOr(Schema.NumberFromString),
    sqlite: ["INTEGER"],
    pg: ["integer"],
    values: [Option.none(), some(1), some(7)],
    others: [some(2), some(1e30), some(0.5)]
  },
  {
    name: "options of options' kin",
    schema: Schema.Option(Schema.String),
    sqlite: ["TEXT"],
    pg: ["text"],
    values: [Option.none(), some(""), some("x")]
  },
  {
    name: "options of JSON",
    schema: Schema.OptionFromNullOr(Schema.Struct({ at: Schema.DateTimeUtcFromString })),
    sqlite: ["TEXT"],
    pg: ["jsonb"],
    values: [Option.none(), some({ at: DateTime.makeUnsafe(0) })]
  },
  {
    name: "null",
    schema: Schema.NullOr(Schema.Union([Schema.Literal("a"), Schema.Literal("b")])),
    sqlite: ["TEXT"],
    pg: ["text"],
    values: [null, "a", "b"]
  },
  {
    name: "undefined",
    schema: Schema.UndefinedOr(Schema.Finite),
    sqlite: ["REAL"],
    pg: ["double precision"],
    values: [undefined, 1, 2.5]
  },
  {
    name: "JSON",
    schema: Schema.Struct({
      b: Schema.Array(Schema.Finite),
      a: Schema.NullOr(Schema.Date),
      c: Schema.optionalKey(Schema.BigInt)
    }),
    sqlite: ["TEXT", "JSON", ""],
    pg: ["jsonb", "json", "text"],
    values: [{ b: [1, 2], a: null }, { a: new Date(0), b: [] }, { b: [], a: null, c: 2n ** 70n }],
    others: [{ b: [2, 1], a: null }, "x", 5]
  },
  {
    name: "JSON of its own kind",
    schema: Schema.Union([Schema.Finite, Schema.Array(Schema.String)]),
    sqlite: ["TEXT", "JSON"],
    pg: ["jsonb", "json", "text"],
    values: [1, -2.5, ["a", "\"\\,{}"], []],
    isUnordered: true,
    others: [["b"]]
  },
  {
    name: "JSON as text, of a structure",
    schema: Schema.fromJsonString(Schema.Struct({ n: Schema.Finite })),
    sqlite: ["TEXT"],
    pg: ["jsonb", "text"],
    values: [{ n: 1 }, { n: 2 }]
  },
  {
    name: "instances",
    schema: Point,
    sqlite: ["TEXT"],
    pg: ["jsonb", "json"],
    values: [new Point({ x: 1, at: new Date(0) }), new Point({ x: 2, at: new Date(1) })]
  },
  {
    name: "what JSON has text for",
    schema: Schema.URL,
    sqlite: ["TEXT"],
    pg: ["text", "jsonb"],
    values: [new URL("http://localhost/a"), new URL("http://localhost/b?c=%20")]
  },
  {
    name: "bytes",
    schema: Schema.Uint8Array,
    sqlite: ["BLOB"],
    pg: ["bytea"],
    values: [new Uint8Array(), new Uint8Array([0, 255, 92])],
    others: [new Uint8Array([1])]
  }
]

const comparing = ["eq", "lt", "lte", "gt", "gte"] as const
const searching = ["contains", "icontains", "startsWith"] as const

/** Comparisons of a field with a value, and their opposites. */
const filtersWith =
  (operators: ReadonlyArray<Filter.Operator>) => (value: unknown): ReadonlyArray<Filter.Filter<unknown>> =>
    operators.flatMap((operator) => {
      const filter = Filter.fromTree<unknown>({ _tag: "Comparison", field: "value", operator, value })
      return [filter, Filter.fromTree({ _tag: "Not", member: filter.tree })]
    })

const among = (value: ReadonlyArray<unknown>) =>
  Filter.fromTree<unknown>({ _tag: "Comparison", field: "value", operator: "in", value })

eachDatabase("values", ({ dialect, on, test }) => {
  const prepare = dialect === "pg"
    ? run(
      "CREATE TYPE mood AS ENUM ('open', 'closed', 'Done')",
      "CREATE DOMAIN mood_domain AS mood",
      "CREATE DOMAIN small AS integer CHECK (VALUE IS NOT NULL)",
      "CREATE DOMAIN numbers AS small"
    )
    : Effect.void

  for (const { halves = [], isUnordered = false, name, others = [], schema, values, ...types } of cases) {
    for (const type of types[dialect]) {
      test(`keep and compare ${name} in a column of type ${type === "" ? "none" : type}`, () =>
        Effect.gen(function*() {
          yield* prepare
          yield* run(`CREATE TABLE rows (id INTEGER PRIMARY KEY, value ${type})`)
          const Row = Schema.Struct({ id: Schema.Int, value: schema as Schema.Codec<unknown> })
          const Rows = Repository.Service<unknown>()("test/Rows", { schema: Row, key: "id", generated: [] })
          const repository = yield* SqlRepository.make(Rows, { table: "rows" })
          const rows: Array<typeof Row.Type> = values.map((value, id) => ({ id, value }))
          for (const row of rows) assert.deepStrictEqual(yield* repository.insert(row), row)
          const order = [{ field: "id", direction: "ascending" as const }]
          assert.deepStrictEqual(yield* repository.select({ filter: Filter.all, order }), rows)

          // What is not null is changed to null and back.
          const target = rows.at(-1)!
          for (const value of values) {
            assert.deepStrictEqual(yield* repository.update(target.id, { value }), { id: target.id, value })
          }
          assert.deepStrictEqual(yield* repository.update(target.id, target), target)

          const filters = [
            ...[...values, ...others].flatMap(filtersWith(isUnordered ? ["eq"] : [...comparing, ...searching])),
            ...halves.flatMap(filtersWith(comparing)),
            ...[[], values.slice(1), others, [...values, ...others], Array.from({ length: 300 }, () => values[0])]
              .flatMap(
                (list) => [among(list), Filter.fromTree<unknown>({ _tag: "Not", member: among(list).tree })]
              ),
            Filter.fromTree<unknown>({ _tag: "Comparison", field: "value", operator: "isNull", value: undefined })
          ]
          for (const filter of filters) {
            const expected = rows.filter(Filter.matches(filter)).map(({ id }) => id)
            const found = yield* repository.select({ filter, order })
            assert.deepStrictEqual(found.map(({ id }) => id), expected, Filter.print(filter))
            assert.strictEqual(yield* repository.count(filter), expected.length)
          }
          for (const direction of ["ascending", "descending"] as const) {
            const found = yield* repository.select({
              filter: Filter.all,
              order: [{ field: "value", direction }, ...order]
            })
            const ids = found.map(({ id }) => id)
            for (const [i, id] of ids.entries()) {
              for (const later of ids.slice(i + 1)) {
                const [first, second] = direction === "ascending" ? [id, later] : [later, id]
                const isLess = Filter.matches(Filter.fromTree<unknown>({
                  _tag: "Comparison",
                  field: "value",
                  operator: "lt",
                  value: rows[first]!.value
                }))
                assert.isFalse(isLess(rows[second]!), `${direction}: ${ids}`)
              }
            }
          }
        }))
    }
  }

  test("finer than a millisecond are taken for what is read of them", () =>
    Effect.gen(function*() {
      if (dialect === "sqlite") return
      yield* run(
        "CREATE TABLE rows (id integer PRIMARY KEY, value timestamptz NOT NULL)",
        `INSERT INTO rows SELECT n, '2026-01-01T00:00:00Z'::timestamptz - n * interval '300 microseconds'
          FROM generate_series(0, 20) AS n`,
        "INSERT INTO rows SELECT 100 + n, '1969-12-31T23:59:59.9985Z'::timestamptz + n * interval '300 microseconds' FROM generate_series(0, 20) AS n"
      )
      const Row = Schema.Struct({ id: Schema.Int, value: Schema.Date })
      class Rows extends Repository.Service<Rows>()("test/Rows", { schema: Row, key: "id" }) {}
      const repository = yield* SqlRepository.make(Rows, { table: "rows" })
      const ascending = (field: string) => ({ field, direction: "ascending" as const })
      const order = [ascending("value"), ascending("id")]
      const rows = yield* repository.select({ filter: Filter.all, order })
      const sorted = [...rows].sort((a, b) => a.value.getTime() - b.value.getTime() || a.id - b.id)
      assert.deepStrictEqual(rows, sorted)
      for (const { value } of rows) {
        for (const filter of [...filtersWith(comparing)(value), among([value]), among([new Date(0), value])]) {
          const found = yield* repository.select({ filter, order })
          assert.deepStrictEqual(found, rows.filter(Filter.matches(filter)), Filter.print(filter))
        }
      }
    }))

  test("are the keys of rows", () =>
    Effect.gen(function*() {
      const keys: ReadonlyArray<readonly [string, Schema.Top, ReadonlyArray<unknown>]> = [
        [on({ sqlite: "INTEGER", pg: "bigint" }), Schema.BigInt, [2n ** 53n + 1n, 0n]],
        [on({ sqlite: "TEXT", pg: "timestamptz" }), Schema.Date, [new Date(0), new Date(1)]],
        [on({ sqlite: "TEXT", pg: "uuid" }), Schema.String, ["0b7a2bd4-5c1c-4d0c-8f8a-0d7a3c5e9f10"]],
        [on({ sqlite: "BLOB", pg: "bytea" }), Schema.Uint8Array, [new Uint8Array([1, 2])]]
      ]
      for (const [i, [type, schema, values]] of keys.entries()) {
        yield* run(`CREATE TABLE keys${i} (id ${type} PRIMARY KEY)`)
        const Rows = Repository.Service<unknown>()("test/Keys", {
          schema: Schema.Struct({ id: schema as Schema.Codec<unknown> }),
          key: "id",
          generated: []
        })
        const rows = yield* SqlRepository.make(Rows, { table: `keys${i}` })
        const told: Array<unknown> = []
        yield* rows.changes((change) => told.push(change))
        for (const id of values) {
          yield* rows.insert({ id })
          assert.deepStrictEqual(yield* rows.find(id), Option.some({ id }))
          assert.instanceOf(yield* Effect.flip(rows.insert({ id })), Repository.Conflict)
        }
        assert.deepStrictEqual(told, values.map((id) => ({ _tag: "Written", keys: [id] })))
        for (const id of ["no such key", 1e30, NaN, new Date(NaN), null, undefined, {}]) {
          assert.deepStrictEqual(yield* rows.find(id), Option.none())
          assert.instanceOf(yield* Effect.flip(rows.update(id, {})), Repository.NotFound)
          assert.instanceOf(yield* Effect.flip(rows.remove(id)), Repository.NotFound)
        }
      }
    }))

  test("may be left out", () =>
    Effect.gen(function*() {
      yield* run(`CREATE TABLE rows (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, c INTEGER, d INTEGER DEFAULT 5)`)
      const Row = Schema.Struct({
        id: Schema.Int,
        a: Schema.optionalKey(Schema.Int),
        b: Schema.optional(Schema.Int),
        c: Schema.optionalKey(Schema.NullOr(Schema.Int)),
        d: Schema.optionalKey(Schema.Int)
      })
      class Rows extends Repository.Service<Rows>()("test/Rows", { schema: Row, key: "id", generated: [] }) {}
      const rows = yield* SqlRepository.make(Rows, { table: "rows" })
      // What is left out is what the database makes of it.
      assert.deepStrictEqual(yield* rows.insert({ id: 1 }), { id: 1, c: null, d: 5 })
      const full = { id: 1, a: 1, b: 2, c: 3, d: 4 }
      assert.deepStrictEqual(yield* rows.update(1, { a: 1, b: 2, c: 3, d: 4 }), full)
      assert.deepStrictEqual(yield* rows.update(1, { b: undefined, c: null }), { id: 1, a: 1, c: null, d: 4 })
    }))

  test("are those of a model", () =>
    Effect.gen(function*() {
      class Item extends Model.Class<Item>("test/Item")({
        id: Model.GeneratedByDb(Schema.Int),
        name: Schema.String,
        note: Model.FieldOption(Schema.String),
        done: Model.BooleanSqlite,
        data: Model.JsonFromString(Schema.Struct({ n: Schema.Finite })),
        secret: Model.Sensitive(Schema.String),
        day: Model.Date,
        createdAt: Model.DateTimeInsert,
        updatedAt: Model.DateTimeUpdateFromNumber
      }) {}
      class Items extends Repository.Service<Items>()("test/Items", { schema: Item, key: "id" }) {}
      const [bool, json, time, day, id] = on({
        sqlite: ["INTEGER", "TEXT", "TEXT", "TEXT", "INTEGER PRIMARY KEY"],
        pg: ["boolean", "jsonb", "timestamptz", "date", "integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY"]
      })
      yield* run(
        `CREATE TABLE items (id ${id}, name TEXT NOT NULL, note TEXT, done ${bool} NOT NULL, data ${json} NOT NULL,
      secret TEXT NOT NULL, day ${day} NOT NULL, "createdAt" ${time} NOT NULL, "updatedAt" ${time} NOT NULL)`
      )
      const items = yield* SqlRepository.make(Items, { table: "items" })
      const item = yield* items.insert(Item.insert.make({
        name: "a",
        note: Option.some("n"),
        done: true,
        data: { n: 1 },
        secret: "s",
        day: DateTime.makeUnsafe("2026-02-03")
      }))
      assert.instanceOf(item, Item)
      assert.deepStrictEqual(yield* items.find(item.id), Option.some(item))
      assert.deepStrictEqual([item.note, item.done, item.data], [Option.some("n"), true, { n: 1 }])
      const changed = yield* items.update(item.id, { note: Option.none(), data: { n: 2 }, done: false })
      assert.deepStrictEqual(changed, new Item({ ...item, note: Option.none(), data: { n: 2 }, done: false }))
    }))

  test("are made by what only a new row has", () =>
    Effect.gen(function*() {
      class Account extends Model.Class<Account>("test/Account")({
        id: Model.GeneratedByDb(Schema.Int),
        name: Schema.String,
        hash: Model.FieldOnly(["insert"])(Schema.String)
      }) {}
      class Accounts extends Repository.Service<Accounts>()("test/Accounts", { schema: Account, key: "id" }) {}
      const id = on({ sqlite: "INTEGER PRIMARY KEY", pg: "integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY" })
      yield* run(`CREATE TABLE accounts (id ${id}, name TEXT NOT NULL, hash TEXT NOT NULL)`)
      const accounts = yield* SqlRepository.make(Accounts, { table: "accounts" })
      const account = yield* accounts.insert(Account.insert.make({ name: "a", hash: "h" }))
      assert.deepStrictEqual(Object.keys(account), ["id", "name"])
      const sql = yield* SqlClient
      assert.deepStrictEqual(yield* sql`SELECT hash FROM accounts`.values, [["h"]])
    }))

  test("that do not fit their schema are a defect, which says where they are and not what", () =>
    Effect.gen(function*() {
      const Row = Schema.Struct({
        id: Schema.Int,
        name: Schema.String.check(Schema.isMaxLength(5)),
        n: Schema.Finite,
        at: Schema.Date,
        data: Schema.Struct({ a: Schema.Finite })
      })
      class Rows extends Repository.Service<Rows>()("test/Rows", { schema: Row, key: "id" }) {}
      class Instance extends Schema.Class<Instance>("test/Instance")(Row.fields) {}
      class Instances extends Repository.Service<Instances>()("test/Instances", { schema: Instance, key: "id" }) {}
      const [int, json, time] = on({ sqlite: ["INTEGER", "TEXT", "TEXT"], pg: ["bigint", "jsonb", "timestamptz"] })
      yield* run(
        `CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT, n ${int}, at ${time}, data ${json})`,
        `INSERT INTO rows VALUES (1, 'fine', 1, '2026-01-01T00:00:00.000Z', '{"a":1}')`,
        `INSERT INTO rows VALUES (2, 'secret', 1, '2026-01-01T00:00:00.000Z', '{"a":1}')`,
        `INSERT INTO rows VALUES (3, NULL, 1, '2026-01-01T00:00:00.000Z', '{"a":1}')`,
        `INSERT INTO rows VALUES (4, 'a', 9007199254740993, '2026-01-01T00:00:00.000Z', '{"a":1}')`,
        `INSERT INTO rows VALUES (5, 'a', 1, ${on({ sqlite: "'secret'", pg: "'infinity'" })}, '{"a":1}')`,
        `INSERT INTO rows VALUES (6, 'a', 1, '2026-01-01T00:00:00.000Z', '{"a":"secret"}')`
      )
      const expected: ReadonlyArray<readonly [number, RegExp]> = [
        [2, /"name".*length/i],
        [3, /"name"/],
        [4, /column "n": Expected a number that can be told exactly/],
        [5, /column "at": Expected an instant/],
        [6, /column "data".*"a"/]
      ]
      const order = [{ field: "id", direction: "ascending" as const }]
      const plain = yield* SqlRepository.make(Rows, { table: "rows" })
      for (const repository of [plain, yield* SqlRepository.make(Instances, { table: "rows" })]) {
        assert.isTrue(Option.isSome(yield* repository.find(1)))
        const all = yield* Effect.exit(repository.select({ filter: Filter.all, order }))
        assert.match(String(all), /The row "id" = [2-6] of the table "rows"/)
        for (const [id, pattern] of expected) {
          const exit = yield* Effect.exit(repository.find(id))
          assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
          assert.include(
            String(exit),
            `The row \\"id\\" = ${id} of the table \\"rows\\" does not fit`.replaceAll("\\", "")
          )
          assert.match(String(exit), pattern)
          assert.notInclude(String(exit), "secret")
        }
      }
    }))
})
