// @barrel: Auto-generated exports. Do not edit manually.

/**
 * Keeps the rows of a repository in a table of PostgreSQL or SQLite.
 *
 * **Example** (Notes in SQLite)
 *
 * ```ts
 * import { Repository } from "@effect-channels/core"
 * import { SqlRepository } from "@effect-channels/sql"
 * import { SqliteClient } from "@effect-channels/sqlite"
 * import * as Layer from "effect/Layer"
 * import * as Schema from "effect/Schema"
 *
 * class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, text: Schema.String, madeAt: Schema.Date }) {}
 * class Notes extends Repository.Service<Notes>()("app/Notes", { schema: Note, key: "id" }) {}
 *
 * // CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, made_at TEXT NOT NULL)
 * const NotesLive = SqlRepository.layer(Notes, { table: "notes", columns: { madeAt: "made_at" } }).pipe(
 *   Layer.provide(SqliteClient.layer({ filename: "notes.db" }))
 * )
 * ```
 *
 * **What a field is stored as.** That depends on what its values are, not on how its schema encodes them for clients:
 *
 * | values | PostgreSQL | SQLite |
 * | --- | --- | --- |
 * | text, literals | `text`, `varchar`; `uuid`, an enum, or anything else, as its text | `TEXT` |
 * | numbers | `integer`, `bigint`, `double precision`, `numeric` | `INTEGER`, `REAL` |
 * | bigints | `bigint`, `numeric` | `INTEGER` |
 * | booleans | `boolean` | `INTEGER`, 0 or 1 |
 * | `Date`, `DateTime.Utc` | `timestamptz(3)`; `timestamp` and `date` in UTC; `bigint` milliseconds | `TEXT`, as ISO 8601 in UTC; `INTEGER` milliseconds |
 * | bytes | `bytea` | `BLOB` |
 * | what is text in JSON, as a `URL` or a `BigDecimal` | `text` | `TEXT` |
 * | everything else | `jsonb`, `json`, or text | `TEXT`, as JSON |
 *
 * What may be null, left out, undefined or `None` is null in the table.
 *
 * @since 0.1.0
 */
export * as SqlRepository from "./SqlRepository.ts"
