// @barrel: Auto-generated exports. Do not edit manually.

/**
 * SQLite for `effect/sql`, by the module `node:sqlite` that Node brings along: nothing is compiled or downloaded.
 *
 * **Example** (A database in a file)
 *
 * ```ts
 * import { SqliteClient } from "@effect-channels/sqlite"
 * import * as Effect from "effect/Effect"
 * import { SqlClient } from "effect/sql/SqlClient"
 *
 * const program = Effect.gen(function*() {
 *   const sql = yield* SqlClient
 *   yield* sql`CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)`
 *   yield* sql`INSERT INTO notes ${sql.insert({ text: "hello" })}`
 *   return yield* sql<{ id: number; text: string }>`SELECT id, text FROM notes`
 * }).pipe(Effect.provide(SqliteClient.layer({ filename: "notes.db" })))
 * ```
 *
 * - There is one connection. A transaction has it to itself: the statements of other fibers wait until it has ended. It begins
 *   with `BEGIN IMMEDIATE`, so that it never finds in the middle that somebody else writes; `SqlClient.BeginTransaction` of
 *   `effect/sql` says otherwise. One in another is a savepoint.
 * - `node:sqlite` does its work before it returns: a statement holds up the whole process while it runs, and so does waiting for
 *   the lock of another process ({@link Config.busyTimeout}). A stream reads all of its rows at once.
 * - Parameters: a boolean is 1 or 0, a `Date` is text (ISO 8601, in UTC), `undefined` is null, bytes are a blob.
 * - Answers: an integer beyond what a number tells exactly is a bigint, every other one a number.
 * - Several statements in one text are all run, if they have no parameters, and answer nothing.
 *
 * @since 0.1.0
 */
export * as SqliteClient from "./SqliteClient.ts"
