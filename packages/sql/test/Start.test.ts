import { Repository } from "@effect-channels/core"
import { SqlRepository } from "@effect-channels/sql"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schema from "effect/Schema"
import * as Client from "effect/sql/SqlClient"
import * as Statement from "effect/sql/Statement"
import { eachDatabase, run } from "./support/databases.ts"
import { makeSchema, postgres, skipped } from "./support/tables.ts"

const Row = Schema.Struct({ id: Schema.Int, name: Schema.String, madeAt: Schema.Date })
class Rows extends Repository.Service<Rows>()("test/Rows", { schema: Row, key: "id", unique: ["name"] }) {}

const columns = { madeAt: "made_at" }

const errorOf = (options: SqlRepository.Options<typeof Row.Type, number>) =>
  Effect.map(Effect.flip(SqlRepository.make(Rows, options)), (error) => {
    assert.instanceOf(error, SqlRepository.TableError)
    return error
  })

/** The warnings that are logged. */
const warningsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const warnings: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn") warnings.push(String(message))
    })
    return Effect.as(Effect.provide(effect, Logger.layer([logger])), warnings)
  })

eachDatabase("the start", ({ dialect, on, test }) => {
  const text = on({ sqlite: "TEXT", pg: "text" })
  const date = on({ sqlite: "TEXT", pg: "timestamptz(3)" })

  test("fits a table, whatever else it has", () =>
    Effect.gen(function*() {
      yield* run(`CREATE TABLE "my rows" (
      extra ${text}, made_at ${date} NOT NULL, id INTEGER NOT NULL UNIQUE, name ${text} NOT NULL UNIQUE
    )`)
      assert.deepStrictEqual(yield* warningsOf(SqlRepository.make(Rows, { table: "my rows", columns })), [])
    }))

  test("says where there is no table", () =>
    Effect.gen(function*() {
      const { message } = yield* errorOf({ table: "no\"where" })
      assert.include(message, "does not fit the repository test/Rows")
      assert.include(message, "There is no table \"no\\\"where\"")
      assert.include(message, "Create it, or name another one")
      assert.include((yield* errorOf({ table: "nowhere.rows" })).message, "There is no table \"nowhere.rows\"")
    }))

  test("says all that is wrong with a table at once", () =>
    Effect.gen(function*() {
      const type = on({ sqlite: "TEXT", pg: "text" })
      yield* run(`CREATE TABLE rows (id ${type} NOT NULL, name ${text}, "madeat" ${date})`)
      const { message, problems } = yield* errorOf({ table: "rows", columns })
      assert.strictEqual(problems.length, 3)
      assert.match(message, /no column "made_at" for the field "madeAt". The table has "id", "name", "madeat"/)
      assert.match(message, /"id" for the field "id" is of the type text, which does not keep numbers/i)
      assert.match(message, /"id" of the key has no constraint that makes it unique/)
    }))

  test("says what a column must be", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [Schema.Top, sqlite: string, pg: string]> = [
        [Schema.String, "STRING", "char(5)"],
        [Schema.String, "INTEGER", "char"],
        [Schema.Number, "TEXT", "boolean"],
        [Schema.BigInt, "REAL", "double precision"],
        [Schema.Boolean, "TEXT", "integer"],
        [Schema.Date, "", "boolean"],
        [Schema.Uint8Array, "TEXT", "text"],
        [Schema.Struct({}), "", "integer"],
        [Schema.URL, "NUMERIC", "char(9)"],
        [Schema.String, "", "jsonb"]
      ]
      for (const [i, [schema, ...types]] of wrong.entries()) {
        const type = on({ sqlite: types[0], pg: types[1] })
        if (type === "") continue
        yield* run(`CREATE TABLE rows${i} (id INTEGER PRIMARY KEY, value ${type})`)
        const Other = Repository.Service<unknown>()("test/Other", {
          schema: Schema.Struct({ id: Schema.Int, value: schema as Schema.Codec<unknown> }),
          key: "id"
        })
        const { message } = yield* Effect.flip(SqlRepository.make(Other, { table: `rows${i}` }))
        assert.match(message, /The column "value" for the field "value" is of the type/, type)
      }
    }))

  test("takes no index over other columns, or over some of the rows, for a unique key", () =>
    Effect.gen(function*() {
      yield* run(
        `CREATE TABLE rows (id INTEGER NOT NULL, name ${text} NOT NULL, made_at ${date} NOT NULL, UNIQUE (id, name))`,
        "CREATE UNIQUE INDEX part ON rows (id) WHERE id > 0",
        "CREATE UNIQUE INDEX other ON rows (abs(id))",
        "CREATE INDEX plain ON rows (id)"
      )
      assert.match((yield* errorOf({ table: "rows", columns })).message, /has no constraint that makes it unique/)
      yield* run("CREATE UNIQUE INDEX key ON rows (id)")
      yield* SqlRepository.make(Rows, { table: "rows", columns })
    }))

  test("warns where nothing keeps a field unique that is said to be", () =>
    Effect.gen(function*() {
      yield* run(`CREATE TABLE rows (id INTEGER PRIMARY KEY, name ${text} NOT NULL, made_at ${date} NOT NULL)`)
      const [warning, ...others] = yield* warningsOf(SqlRepository.make(Rows, { table: "rows", columns }))
      assert.match(warning!, /the same "name", which the repository says is unique/)
      assert.deepStrictEqual(others, [])
    }))

  test("takes names for what they are", () =>
    Effect.gen(function*() {
      const hostile = `a"b'c; DROP TABLE x --`
      const quoted = `"${hostile.replaceAll("\"", "\"\"")}"`
      yield* run(
        `CREATE TABLE ${quoted} (${quoted} INTEGER PRIMARY KEY, "%s" ${text} NOT NULL UNIQUE, "?" ${date} NOT NULL)`
      )
      const rows = yield* SqlRepository.make(Rows, {
        table: hostile,
        columns: { id: hostile, name: "%s", madeAt: "?" }
      })
      if (dialect === "sqlite") {
        const row = yield* rows.insert({ name: "x", madeAt: new Date(0) })
        assert.deepStrictEqual(yield* rows.update(row.id, { name: "y" }), { ...row, name: "y" })
      }
      assert.deepStrictEqual(yield* rows.find(99), Option.none())
    }))

  test("refuses views", () =>
    Effect.gen(function*() {
      yield* run(
        `CREATE TABLE rows (id INTEGER PRIMARY KEY, name ${text} NOT NULL UNIQUE, made_at ${date} NOT NULL)`,
        "CREATE VIEW seen AS SELECT * FROM rows"
      )
      assert.match((yield* errorOf({ table: "seen", columns })).message, /no constraint that makes it unique/)
    }))
})

describe.skipIf(skipped !== undefined)("schemas of PostgreSQL", () => {
  it.live("are searched in the order of the path, or named", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* makeSchema, yield* makeSchema]
      const create = (schema: string, name: string) =>
        `CREATE TABLE ${schema}.rows (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, name text UNIQUE, ${name} timestamptz(3))`
      yield* Effect.gen(function*() {
        yield* run(create(one, "made_at"), create(two, "other_at"))
        const first = yield* SqlRepository.make(Rows, { table: "rows", columns })
        const second = yield* SqlRepository.make(Rows, { table: `${two}.rows`, columns: { madeAt: "other_at" } })
        const row = yield* first.insert({ name: "x", madeAt: new Date(0) })
        assert.deepStrictEqual(yield* first.find(row.id), Option.some(row))
        assert.deepStrictEqual(yield* second.find(row.id), Option.none())
        assert.match((yield* errorOf({ table: "nowhere" })).message, new RegExp(`looked in are "${one}", "${two}"`))
      }).pipe(Effect.provide(postgres({ schema: `${one}, ${two}` })))
    }), { timeout: 30_000 })
})

describe("other databases", () => {
  it.effect("are refused", () =>
    Effect.gen(function*() {
      const client = yield* Client.make({
        acquirer: Effect.die("nobody asks"),
        compiler: Statement.makeCompiler({
          dialect: "mysql",
          placeholder: () => "?",
          onIdentifier: String,
          onRecordUpdate: () => ["", []],
          onCustom: () => ["", []]
        }),
        driver: "test",
        spanAttributes: []
      })
      const { message } = yield* Effect.provideService(errorOf({ table: "rows" }), Client.SqlClient, client)
      assert.include(message, "neither PostgreSQL nor SQLite")
    }).pipe(Effect.provide(Reactivity.layer)))
})

describe("layers", () => {
  it.effect("fail with what the database fails with", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Layer.build(
        SqlRepository.layer(Rows, { table: "rows" }).pipe(
          Layer.provide(postgres({ schema: "public", host: "127.0.0.1", port: 1, connectTimeout: "1 second" }))
        )
      ))
      assert.strictEqual(exit._tag, "Failure")
      assert.include(String(exit), "SqlError")
    }))
})
