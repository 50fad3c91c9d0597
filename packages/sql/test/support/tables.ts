/**
 * Tables for tests: in SQLite, in memory and in a file, and in PostgreSQL, in a schema of their own.
 */
import type { Repository } from "@effect-channels/core"
import { SqlRepository } from "@effect-channels/sql"
import { SqliteClient } from "@effect-channels/sqlite"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Column, columnsOf } from "../../../core/test/support/repositories.ts"

// ---- PostgreSQL

/** Where PostgreSQL is. */
export const url = process.env["POSTGRES_URL"] ?? "postgres://postgres@127.0.0.1:5432/postgres"

const answers = (): Promise<boolean> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(url)
    const socket = new Socket()
    const end = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket.setTimeout(2000, () => end(false))
    socket.on("error", () => end(false))
    socket.connect(port === "" ? 5432 : Number(port), hostname, () => end(true))
  })

/** Why tests that need PostgreSQL are skipped; `undefined` where they are not. In CI they never are. */
export const skipped: string | undefined = await answers()
  ? undefined
  : "PostgreSQL does not answer: start it, or set POSTGRES_URL to where it is (postgres://user@host:5432/database)"

if (skipped !== undefined) {
  if (process.env["CI"] !== undefined && process.env["CI"] !== "") {
    throw new Error(`The tests of PostgreSQL cannot run: ${skipped}`)
  }
  console.warn(`The tests of PostgreSQL are skipped: ${skipped}`)
}

/** A schema of PostgreSQL as long as the scope is open. */
export const makeSchema: Effect.Effect<string, never, Scope.Scope> = Effect.suspend(() => {
  const name = `test_${randomUUID().replaceAll("-", "")}`
  return Effect.as(
    Effect.acquireRelease(admin(`CREATE SCHEMA ${name}`), () => admin(`DROP SCHEMA ${name} CASCADE`)),
    name
  )
})

/** Runs a statement of an administrator. */
export const admin = (statement: string): Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>> =>
  Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement).values).pipe(
    Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }), { local: true }),
    Effect.orDie
  )

export interface PostgresOptions extends PgClient.PgPoolConfig {
  readonly schema: string
}

/** A client of PostgreSQL that finds its tables in one schema. */
export const postgres = ({ schema, ...config }: PostgresOptions) =>
  PgClient.layer({
    url: Redacted.make(url),
    maxConnections: 4,
    startupParameters: { search_path: schema },
    ...config
  })

/** A client of PostgreSQL with a schema of its own. */
export const postgresAlone = (config: PgClient.PgPoolConfig = {}) =>
  Layer.unwrap(Effect.map(makeSchema, (schema) => postgres({ ...config, schema })))

// ---- SQLite

export const sqliteInMemory = SqliteClient.layer({ filename: ":memory:" })

export const sqliteInFile = Layer.unwrap(Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "sql-test-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  ),
  (path) => SqliteClient.layer({ filename: join(path, "test.db") })
))

// ---- the tables of a suite

type Dialect = "sqlite" | "pg"

export const dialectOf = (sql: SqlClient): Dialect =>
  sql.onDialectOrElse({ sqlite: () => "sqlite" as const, pg: () => "pg" as const, orElse: () => "sqlite" as const })

const types: Readonly<Record<Dialect, Readonly<Record<Column["type"], string>>>> = {
  sqlite: { integer: "INTEGER", number: "REAL", text: "TEXT", boolean: "INTEGER", date: "TEXT" },
  pg: {
    integer: "integer",
    number: "double precision",
    text: "text COLLATE \"C\"",
    boolean: "boolean",
    date: "timestamptz(3)"
  }
}

type AnyClass = Repository.AnyClass

/** The name of the column of a field. */
export const columnName = (field: string): string => field === "at" ? "made at" : field === "nick" ? "Nick" : field

const names = (fields: ReadonlyArray<string>): string => fields.map((field) => `"${columnName(field)}"`).join(", ")

/** Makes the table of a repository. */
export const createTable = (service: AnyClass, table: string) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient
    const dialect = dialectOf(sql)
    const { generated, key, unique } = service.definition
    const columns = Object.entries(columnsOf(service)).map(([field, { nullable, type }]) =>
      [
        `"${columnName(field)}" ${types[dialect][type]}`,
        nullable ? "" : "NOT NULL",
        field === key ? "PRIMARY KEY" : "",
        dialect === "pg" && generated.includes(field) ? "GENERATED BY DEFAULT AS IDENTITY" : ""
      ].join(" ")
    )
    const constraints = unique.map((fields) => `UNIQUE (${names(fields)})`)
    yield* sql.unsafe(`CREATE TABLE "${table}" (${[...columns, ...constraints].join(", ")})`)
  })

/** Puts rows in a table as they are. */
export const insertRows = (service: AnyClass, table: string, rows: ReadonlyArray<object>) =>
  Effect.gen(function*() {
    if (rows.length === 0) return
    const sql = yield* SqlClient
    const isSqlite = dialectOf(sql) === "sqlite"
    const stored = (value: unknown): unknown =>
      Option.isOption(value) ? Option.getOrNull(value) : isSqlite && typeof value === "boolean" ? Number(value) : value
    const fields = Object.keys(columnsOf(service))
    for (const row of rows as ReadonlyArray<Record<string, unknown>>) {
      yield* sql`INSERT INTO ${sql(table)} ${
        sql.insert(Object.fromEntries(fields.map((field) => [columnName(field), stored(row[field])])))
      }`
    }
    const { generated, key } = service.definition
    if (!isSqlite && generated.includes(key)) {
      yield* sql`SELECT setval(pg_get_serial_sequence(${`"${table}"`}, ${key}), (SELECT max(${sql(key)}) FROM ${
        sql(table)
      }))`
    }
  })

/** The options of the repository over such a table. */
export const optionsOf = (service: AnyClass, table: string) => ({
  table,
  columns: Object.fromEntries(Object.keys(columnsOf(service)).map((field) => [field, columnName(field)]))
})

/** A repository over a new table with some rows. */
export const layerOf = <E>(client: Layer.Layer<SqlClient, E>) =>
<
  Self,
  Id extends string,
  S extends Repository.RowSchema,
  Key extends keyof S["Type"] & string,
  Generated extends string = never,
  Version extends string = never
>(
  service: Repository.RepositoryClass<Self, Id, S, Key, Generated, Version>,
  rows: ReadonlyArray<S["Type"]>
) => {
  const table = `rows "of" ${service.key}`.replaceAll("\"", "").slice(0, 40)
  return Layer.unwrap(Effect.gen(function*() {
    yield* createTable(service, table)
    yield* insertRows(service, table, rows)
    return SqlRepository.layer<Self, Id, S, Key, Generated, Version>(service, optionsOf(service, table) as never)
  })).pipe(Layer.provide(Layer.fresh(client)))
}
