import { Filter, Repository } from "@effect-channels/core"
import { SqlRepository } from "@effect-channels/sql"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { SqlClient } from "effect/sql/SqlClient"
import * as Statement from "effect/sql/Statement"
import { eachDatabase, run } from "./support/databases.ts"

const Item = Schema.Struct({
  id: Schema.Int,
  name: Schema.String,
  score: Schema.Finite,
  count: Schema.Int,
  at: Schema.Date,
  due: Schema.NullOr(Schema.Date)
})
class Items extends Repository.Service<Items>()("test/Items", { schema: Item, key: "id" }) {}

const is = Filter.fields<typeof Item.Type>()

/** Keeps the statements that are sent. */
const watched = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const statements: Array<readonly [string, ReadonlyArray<unknown>]> = []
    return Effect.as(
      Effect.provideService(effect, Statement.CurrentTransformer, (statement) => {
        statements.push(statement.compile())
        return Effect.succeed(statement)
      }),
      statements
    )
  })

eachDatabase("plans", ({ dialect, on, test }) => {
  const create = run(
    on({
      sqlite:
        `CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL NOT NULL, count INTEGER NOT NULL,
        at TEXT NOT NULL, due TEXT)`,
      pg: `CREATE TABLE items (id integer PRIMARY KEY, name text COLLATE "C" NOT NULL, score double precision NOT NULL,
        count integer NOT NULL, at timestamptz(3) NOT NULL, due timestamptz(3))`
    }),
    "CREATE INDEX by_name ON items (name, id)",
    "CREATE INDEX by_score ON items (score)",
    "CREATE INDEX by_count ON items (count)",
    "CREATE INDEX by_at ON items (at, id)",
    on({ sqlite: "CREATE INDEX by_due ON items (due, id)", pg: "CREATE INDEX by_due ON items (due NULLS FIRST, id)" }),
    on({
      sqlite: `INSERT INTO items WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
        SELECT n, 'name ' || n, n, n, strftime('%Y-%m-%dT%H:%M:%fZ', n, 'unixepoch'),
          CASE WHEN n % 2 = 0 THEN strftime('%Y-%m-%dT%H:%M:%fZ', n, 'unixepoch') END FROM n`,
      pg: `INSERT INTO items SELECT n, 'name ' || n, n, n, to_timestamp(n), CASE WHEN n % 2 = 0 THEN to_timestamp(n) END
        FROM generate_series(1, 5000) AS n`
    }),
    "ANALYZE"
  )

  /** How the statement of a query is carried out. */
  const planOf = <E>(effect: Effect.Effect<unknown, E>) =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const [[text, parameters]] = (yield* watched(effect)) as [readonly [string, ReadonlyArray<unknown>]]
      const rows = yield* sql.unsafe(`${on({ sqlite: "EXPLAIN QUERY PLAN", pg: "EXPLAIN" })} ${text}`, parameters)
        .values
      return rows.map((row) => String(row.at(-1))).join("\n")
    })

  const order = (...fields: ReadonlyArray<string>): ReadonlyArray<Repository.Order> =>
    fields.map((field) =>
      field.startsWith("-")
        ? { field: field.slice(1), direction: "descending" }
        : { field, direction: "ascending" }
    )

  test("use the indexes that there are", () =>
    Effect.gen(function*() {
      yield* create
      const items = yield* SqlRepository.make(Items, { table: "items" })
      const select = (filter: Filter.Filter<typeof Item.Type>) => items.select({ filter, order: [] })
      const key = on({ sqlite: /USING INTEGER PRIMARY KEY/, pg: /items_pkey/ })
      const cases: ReadonlyArray<readonly [Effect.Effect<unknown, unknown>, RegExp]> = [
        [items.find(5), key],
        [items.find(5, { lock: true }), key],
        [items.update(5, { name: "x" }), key],
        [items.remove(5), key],
        [select(is.in("id", [1, 2, 3])), key],
        [select(is.in("id", Array.from({ length: 80 }, (_, i) => i))), key],
        [select(is.eq("name", "name 5")), /by_name/],
        [select(is.gt("name", "name 999")), /by_name/],
        [select(is.startsWith("name", "name 99")), /by_name/],
        [select(is.in("name", ["name 5", "name 6"])), /by_name/],
        [select(is.eq("score", 5)), /by_score/],
        [select(is.lt("score", 5.5)), /by_score/],
        [select(Filter.not(is.lt("score", 4990.5))), /by_score/],
        [select(is.eq("count", 5)), /by_count/],
        [select(is.lt("count", 5.5)), /by_count/],
        [select(is.gt("count", 4990)), /by_count/],
        [select(is.eq("at", new Date(5000))), /by_at/],
        [select(is.lt("at", new Date(5000))), /by_at/],
        [items.count(is.lt("at", new Date(5000))), /by_at/],
        [items.count(Filter.and(is.gte("at", new Date(5000)), is.lt("at", new Date(9000)))), /by_at/]
      ]
      for (const [i, [query, index]] of cases.entries()) {
        const plan = yield* planOf(query)
        assert.match(plan, index, `case ${i}`)
        assert.notMatch(plan, /SCAN items|Seq Scan/, `case ${i}`)
      }
    }))

  test("read a page in the order of an index", () =>
    Effect.gen(function*() {
      yield* create
      const items = yield* SqlRepository.make(Items, { table: "items" })
      const after = Filter.and(
        is.gte("name", "name 4000"),
        Filter.or(is.gt("name", "name 4000"), Filter.and(is.eq("name", "name 4000"), is.gt("id", 4000)))
      )
      const cases: ReadonlyArray<readonly [Repository.Selection<typeof Item.Type>, RegExp]> = [
        [{ filter: Filter.all, order: order("name", "id"), limit: 10 }, /by_name/],
        [{ filter: Filter.all, order: order("-name", "-id"), limit: 10 }, /by_name/],
        [{ filter: after, order: order("name", "id"), limit: 10 }, /by_name/],
        [{ filter: Filter.all, order: order("at", "id"), limit: 10, offset: 5 }, /by_at/],
        [{ filter: Filter.all, order: order("due", "id"), limit: 10 }, /by_due/],
        [{ filter: Filter.all, order: order("-due", "-id"), limit: 10 }, /by_due/],
        [{ filter: Filter.not(is.isNull("due")), order: order("due", "id"), limit: 10 }, /by_due/]
      ]
      for (const [i, [selection, index]] of cases.entries()) {
        const plan = yield* planOf(items.select(selection))
        assert.match(plan, index, `case ${i}`)
        assert.notMatch(plan, /Sort|TEMP B-TREE/, `case ${i}`)
        assert.strictEqual((yield* items.select(selection)).length, 10)
      }
    }))

  test("ask once for each query, and nothing where no row can be meant", () =>
    Effect.gen(function*() {
      yield* create
      const items = yield* SqlRepository.make(Items, { table: "items" })
      const count = <E>(effect: Effect.Effect<unknown, E>) =>
        Effect.map(watched(Effect.exit(effect)), (statements) => statements.length)
      const never = is.eq("id", 0.5)
      assert.strictEqual(yield* count(items.find(1)), 1)
      assert.strictEqual(yield* count(items.update(1, { name: "x" })), 1)
      assert.strictEqual(yield* count(items.remove(1)), 1)
      assert.strictEqual(yield* count(items.select({ filter: never, order: [] })), dialect === "pg" ? 0 : 1)
      assert.strictEqual(yield* count(items.select({ filter: Filter.none, order: [] })), 0)
      assert.strictEqual(yield* count(items.count(Filter.and(is.eq("name", "x"), Filter.none))), 0)
    }))

  test("are the same statement for whatever values", () =>
    Effect.gen(function*() {
      yield* create
      const items = yield* SqlRepository.make(Items, { table: "items" })
      const texts = (...queries: ReadonlyArray<Effect.Effect<unknown, unknown>>) =>
        Effect.map(
          watched(Effect.forEach(queries, Effect.exit)),
          (statements) => new Set(statements.map(([text]) => text)).size
        )
      const hostile = ["a", "'", "\\", "%", "\"; --", "$1"]
      assert.strictEqual(yield* texts(...hostile.map((name) => items.count(is.eq("name", name)))), 1)
      assert.strictEqual(yield* texts(...[1, 2.5, 1e300, 0].map((score) => items.count(is.lt("score", score)))), 1)
      assert.strictEqual(
        yield* texts(...[5, 6, 7, 8].map((n) => items.count(is.in("id", Array.from({ length: n }, (_, i) => i))))),
        1
      )
      assert.strictEqual(yield* texts(items.update(1, { due: null }), items.update(1, { due: new Date(0) })), 1)
    }))
})
