import { SqliteClient } from "@effect-channels/sqlite"
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { BeginTransaction, SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

const memory = SqliteClient.layer({ filename: ":memory:" })

/** A folder as long as the scope is open. */
const folder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sqlite-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const reasonOf = <A, R>(effect: Effect.Effect<A, SqlError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

const inMemory = <A, E>(effect: Effect.Effect<A, E, SqlClient | SqliteClient.SqliteClient>) =>
  Effect.provide(effect, memory, { local: true })

describe("SqliteClient", () => {
  it.effect("runs statements, and answers with plain objects", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)`
      assert.deepStrictEqual(yield* sql`INSERT INTO notes ${sql.insert([{ text: "a" }, { text: "b" }])}`, [])
      assert.deepStrictEqual(yield* sql`SELECT id, text FROM notes ORDER BY id`, [{ id: 1, text: "a" }, {
        id: 2,
        text: "b"
      }])
      assert.deepStrictEqual(yield* sql`SELECT id, text FROM notes WHERE ${sql.in("id", [2, 3])}`.values, [[2, "b"]])
      assert.deepStrictEqual(yield* sql`SELECT id FROM notes`.unprepared, [{ id: 1 }, { id: 2 }])
      assert.deepStrictEqual(yield* sql`SELECT id FROM notes`.valuesUnprepared, [[1], [2]])
      assert.deepStrictEqual(yield* sql`INSERT INTO notes (text) VALUES (${"c"}) RETURNING id`, [{ id: 3 }])
      assert.deepStrictEqual(yield* sql`DELETE FROM notes WHERE id < 3`.raw, { changes: 2, lastInsertRowid: 3 })
      assert.deepStrictEqual(yield* sql`SELECT text FROM notes`.raw, [{ text: "c" }])
      assert.deepStrictEqual(yield* Stream.runCollect(sql`SELECT id FROM notes`.stream), [{ id: 3 }])
    })))

  it.effect("takes booleans, dates, undefined and bytes", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      const at = new Date("2026-02-03T04:05:06.007Z")
      const bytes = new Uint8Array([1, 2, 255])
      assert.deepStrictEqual(
        yield* sql`SELECT ${true}, ${false}, ${at}, ${undefined}, ${null}, ${bytes}, ${"a\0b"}, ${1.5}`.values,
        [[1, 0, "2026-02-03T04:05:06.007Z", null, null, bytes, "a\0b", 1.5]]
      )
      const error = yield* Effect.flip(sql`SELECT ${{ a: 1 }} AS a`)
      assert.include(String(error.reason.cause), "A value of type object cannot be a parameter")
      assert.strictEqual(yield* reasonOf(sql`SELECT ${new Date(NaN)} AS a`), "UnknownError")
    })))

  it.effect("answers with a bigint where a number would not be exact", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      const values = [2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)]
      yield* sql`CREATE TABLE big (n INTEGER)`
      for (const value of values) {
        const number = value === 2n ** 53n - 1n ? Number(value) : value
        assert.deepStrictEqual(yield* sql`INSERT INTO big VALUES (${value}) RETURNING n`, [{ n: number }])
      }
      // Each of them once: none was written again because it could not be read.
      assert.deepStrictEqual(yield* sql`SELECT count(*) AS n FROM big`, [{ n: values.length }])
      assert.strictEqual(yield* reasonOf(sql`SELECT ${2n ** 63n}`), "UnknownError")
    })))

  it.effect("tells why a statement failed", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE a (id INTEGER PRIMARY KEY, email TEXT UNIQUE, n INTEGER NOT NULL CHECK (n > 0))`
      yield* sql`CREATE TABLE b (a INTEGER REFERENCES a (id), k TEXT PRIMARY KEY)`
      yield* sql`INSERT INTO a VALUES (1, 'x', 1)`
      yield* sql`INSERT INTO b VALUES (1, 'k')`
      const unique = (statement: Effect.Effect<unknown, SqlError>) =>
        Effect.map(Effect.flip(statement), ({ reason }) => reason._tag === "UniqueViolation" && reason.constraint)
      assert.strictEqual(yield* unique(sql`INSERT INTO a VALUES (2, 'x', 1)`), "a.email")
      assert.strictEqual(yield* unique(sql`INSERT INTO a VALUES (1, 'y', 1)`), "a.id")
      assert.strictEqual(yield* unique(sql`INSERT INTO b VALUES (1, 'k')`), "b.k")
      assert.strictEqual(yield* reasonOf(sql`INSERT INTO a VALUES (3, 'z', 0)`), "ConstraintError")
      assert.strictEqual(yield* reasonOf(sql`INSERT INTO a VALUES (3, 'z', NULL)`), "ConstraintError")
      assert.strictEqual(yield* reasonOf(sql`INSERT INTO b VALUES (9, 'l')`), "ConstraintError")
      assert.strictEqual(yield* reasonOf(sql`SELECT * FROM nowhere`), "UnknownError")
    })))

  it.effect("answers with the columns that a table has now", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE t (a INTEGER)`
      yield* sql`INSERT INTO t VALUES (1)`
      const all = sql`SELECT * FROM t`
      assert.deepStrictEqual(yield* all, [{ a: 1 }])
      yield* sql`ALTER TABLE t RENAME COLUMN a TO b`
      assert.deepStrictEqual(yield* all, [{ b: 1 }])
      yield* sql`ALTER TABLE t ADD COLUMN c TEXT`
      assert.deepStrictEqual(yield* all, [{ b: 1, c: null }])
    })))

  it.effect("runs several statements in one text, and not with parameters", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql.unsafe("-- two tables\nCREATE TABLE a (n); CREATE TABLE b (n); -- that is all\n")
      yield* sql`INSERT INTO b VALUES (1); /* the end */ ;`
      assert.deepStrictEqual(yield* sql`SELECT n FROM b`, [{ n: 1 }])
      const error = yield* Effect.flip(sql`INSERT INTO a VALUES (${1}); INSERT INTO b VALUES (2)`)
      assert.include(String(error.reason.cause), "run them one by one")
      assert.deepStrictEqual(yield* sql`SELECT n FROM a`, [])
    })))

  it.effect("keeps to a bound of prepared statements", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      for (let round = 0; round < 2; round++) {
        for (let i = 0; i < 5; i++) {
          assert.deepStrictEqual(yield* sql.unsafe(`SELECT ${i} AS n`), [{ n: i }])
        }
      }
    }).pipe(Effect.provide(SqliteClient.layer({ filename: ":memory:", preparedStatements: 2 }))))

  it.effect("transforms names", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE t (made_at TEXT)`
      yield* sql`INSERT INTO t ${sql.insert({ madeAt: "now" })}`
      assert.deepStrictEqual(yield* sql`SELECT * FROM t`, [{ madeAt: "now" }])
      assert.deepStrictEqual(yield* sql.withoutTransforms()`SELECT * FROM t`, [{ made_at: "now" }])
    }).pipe(Effect.provide(SqliteClient.layer({
      filename: ":memory:",
      transformQueryNames: (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      transformResultNames: (name) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
    }))))

  it.effect("has the statements of other fibers wait while there is a transaction", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE t (n INTEGER)`
      const written = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const seen: Array<string> = []
      const transaction = yield* Effect.forkChild(Effect.exit(sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO t VALUES (1)`
        yield* Deferred.succeed(written, undefined)
        yield* Deferred.await(goOn)
        assert.deepStrictEqual(yield* sql`SELECT n FROM t`, [{ n: 1 }])
        seen.push("rolled back")
        return yield* Effect.fail("no")
      }))))
      yield* Deferred.await(written)
      const others = [
        Effect.map(sql`INSERT INTO t VALUES (2)`, () => seen.push("written")),
        Effect.map(sql`SELECT n FROM t WHERE n = 1`, (rows) => seen.push(`read ${rows.length}`)),
        Effect.map(
          Stream.runCollect(sql`SELECT n FROM t WHERE n = 1`.stream),
          (rows) => seen.push(`streamed ${rows.length}`)
        ),
        Effect.map(
          sql.withTransaction(sql`SELECT n FROM t WHERE n = 1`),
          (rows) => seen.push(`in another ${rows.length}`)
        )
      ]
      const fibers = yield* Effect.forEach(others, (other) => Effect.forkChild(other, { startImmediately: true }))
      for (let i = 0; i < 10; i++) yield* Effect.yieldNow
      assert.deepStrictEqual(seen, [])
      yield* Deferred.succeed(goOn, undefined)
      assert.deepStrictEqual(yield* Fiber.join(transaction), Exit.fail("no"))
      yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(seen, ["rolled back", "written", "read 0", "streamed 0", "in another 0"])
      assert.deepStrictEqual(yield* sql`SELECT n FROM t`, [{ n: 2 }])
    })))

  it.effect("keeps what is in it of a transaction in another only if that succeeded", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE t (n INTEGER)`
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO t VALUES (1)`
        yield* Effect.exit(sql.withTransaction(Effect.andThen(sql`INSERT INTO t VALUES (2)`, Effect.fail("no"))))
        yield* sql.withTransaction(sql`INSERT INTO t VALUES (3)`)
      }))
      assert.deepStrictEqual(yield* sql`SELECT n FROM t`, [{ n: 1 }, { n: 3 }])
    })))

  it.effect("can go on when a commit failed", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE a (id INTEGER PRIMARY KEY)`
      yield* sql`CREATE TABLE b (a INTEGER REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)`
      assert.strictEqual(yield* reasonOf(sql.withTransaction(sql`INSERT INTO b VALUES (1)`)), "ConstraintError")
      assert.deepStrictEqual(yield* sql`SELECT * FROM b`, [])
      yield* sql.withTransaction(sql`INSERT INTO a VALUES (1)`)
    })))

  it.effect("takes statements while the rows of a stream are taken", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE t (n INTEGER)`
      yield* sql`INSERT INTO t VALUES (1), (2)`
      yield* Stream.runForEach(sql<{ n: number }>`SELECT n FROM t ORDER BY n`.stream, ({ n }) =>
        sql`INSERT INTO t VALUES (${n + 10})`)
      assert.deepStrictEqual(yield* sql`SELECT n FROM t ORDER BY n`.values, [[1], [2], [11], [12]])
    })))

  it.effect("locks a file for writing when a transaction begins, and fails with a lock timeout where another one has it", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "a.db")
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql`CREATE TABLE t (n INTEGER)`
        assert.deepStrictEqual(yield* sql`PRAGMA journal_mode`, [{ journal_mode: "wal" }])
        assert.deepStrictEqual(yield* sql`PRAGMA foreign_keys`, [{ foreign_keys: 1 }])
        assert.deepStrictEqual(yield* sql`PRAGMA busy_timeout`, [{ timeout: 0 }])
        const other = new DatabaseSync(filename)
        try {
          yield* sql.withTransaction(Effect.sync(() => assert.throws(() => other.exec("BEGIN IMMEDIATE"), /locked/)))
          yield* sql.withTransaction(Effect.sync(() => other.exec("BEGIN IMMEDIATE; COMMIT"))).pipe(
            Effect.provideService(BeginTransaction, "BEGIN DEFERRED")
          )
          other.exec("BEGIN IMMEDIATE")
          assert.strictEqual(yield* reasonOf(sql.withTransaction(Effect.void)), "LockTimeoutError")
          assert.strictEqual(yield* reasonOf(sql`INSERT INTO t VALUES (1)`), "LockTimeoutError")
          assert.deepStrictEqual(yield* sql`SELECT * FROM t`, [])
          other.exec("COMMIT")
          yield* sql`INSERT INTO t VALUES (1)`
        } finally {
          other.close()
        }
      }).pipe(Effect.provide(SqliteClient.layer({ filename, busyTimeout: 0 })))
      const rows = Effect.flatMap(SqlClient, (sql) => sql`SELECT n FROM t`)
      const provide = Effect.provide(SqliteClient.layer({ filename, readonly: true }))
      assert.deepStrictEqual(yield* provide(rows), [{ n: 1 }])
      yield* provide(Effect.flatMap(SqlClient, (sql) => sql.withTransaction(rows)))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(provide(Effect.flatMap(SqlClient, (sql) => sql`DELETE FROM t`)))))
    }))

  it.effect("fails where a file cannot be opened, or is no database", () =>
    Effect.gen(function*() {
      const directory = yield* folder
      const open = (config: SqliteClient.Config) => Layer.build(SqliteClient.layer(config))
      assert.strictEqual(yield* reasonOf(open({ filename: join(directory, "nowhere", "a.db") })), "ConnectionError")
      assert.strictEqual(
        yield* reasonOf(open({ filename: join(directory, "b.db"), readonly: true })),
        "ConnectionError"
      )
      writeFileSync(join(directory, "c.db"), "no database ".repeat(200))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(open({ filename: join(directory, "c.db") }))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(open({ filename: join(directory, "c.db"), wal: false }))))
    }))

  it.effect("closes the file, and fails from then on", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "a.db")
      const sql = yield* Effect.provide(SqlClient, SqliteClient.layer({ filename }))
      assert.strictEqual(yield* reasonOf(sql`SELECT 1`), "ConnectionError")
    }))

  it.effect("is configured", () =>
    Effect.flatMap(
      SqliteClient.SqliteClient,
      (client) => Effect.sync(() => assert.strictEqual(client.config.filename, ":memory:"))
    ).pipe(
      Effect.provide(SqliteClient.layerConfig({ filename: Config.String("FILE") })),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ FILE: ":memory:" })))
    ))
})
