/**
 * Tests that run over every database.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import { postgresAlone, skipped, sqliteInMemory } from "./tables.ts"

export type Dialect = "sqlite" | "pg"

/** Declares tests for each database, which are given the words of its own. */
export const eachDatabase = (
  name: string,
  tests: (options: {
    readonly dialect: Dialect
    /** One of the two. */
    readonly on: <A>(values: { readonly [K in Dialect]: A }) => A
    /** A test with an empty database. */
    readonly test: (name: string, run: () => Effect.Effect<void, unknown, SqlClient | Scope.Scope>) => void
  }) => void
): void => {
  const declare = (dialect: Dialect) => {
    const client = dialect === "sqlite" ? sqliteInMemory : postgresAlone()
    tests({
      dialect,
      on: (values) => values[dialect],
      test: (name, run) => it.live(name, () => Effect.provide(run(), Layer.fresh(client)), { timeout: 30_000 })
    })
  }
  describe(`${name}, SQLite`, () => declare("sqlite"))
  describe.skipIf(skipped !== undefined)(`${name}, PostgreSQL`, () => declare("pg"))
}

/** Runs statements, one by one. */
export const run = (...statements: ReadonlyArray<string>) =>
  Effect.flatMap(
    SqlClient,
    (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement).unprepared, { discard: true })
  )

/** The warnings that are logged. */
export const warningsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const warnings: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn") warnings.push(String(message))
    })
    return Effect.as(Effect.provide(effect, Logger.layer([logger])), warnings)
  })
