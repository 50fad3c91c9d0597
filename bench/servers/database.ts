/**
 * The table of a server, in the database that the environment names. In PostgreSQL it is in a schema, which whoever started the
 * server has made, and drops.
 */
import { SqliteClient } from "@effect-channels/sqlite"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { SqlClient } from "effect/sql/SqlClient"
import { type Database, ddl, tasks, url } from "../resources/tasks.ts"

export const database: Database = process.env["DATABASE"] === "postgres" ? "postgres" : "sqlite"

export const PostgresLive = PgClient.layer({
  url: Redacted.make(url),
  startupParameters: { search_path: process.env["SCHEMA"] ?? "public" }
})

/** The file of SQLite. */
export const filename = process.env["FILE"] ?? ":memory:"

export const DatabaseLive = database === "sqlite" ? SqliteClient.layer({ filename }) : PostgresLive

/** Makes the table and its rows. */
export const fill = Effect.gen(function*() {
  const sql = yield* SqlClient
  for (const statement of ddl(database)) yield* sql.unsafe(statement)
  const rows = tasks.map((task): Record<string, unknown> =>
    database === "sqlite" ? { ...task, done: Number(task.done), shared: Number(task.shared) } : { ...task }
  )
  for (const some of Arr.chunksOf(rows, 500)) yield* sql`INSERT INTO tasks ${sql.insert(some)}`
  yield* sql.unsafe("ANALYZE tasks")
})
