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
import type * as ChannelError from "@effect-channels/core/ChannelError"
import type * as Repository from "@effect-channels/core/Repository"
import { NotFound, StaleVersion } from "@effect-channels/core/Repository"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { isUncertain, ofRead, ofWrite, unheld } from "./internal/errors.ts"
import { Listeners } from "./internal/listeners.ts"
import * as postgres from "./internal/postgres.ts"
import { decoder, type Row, type Stored } from "./internal/rows.ts"
import * as sqlite from "./internal/sqlite.ts"
import { type Statement, Statements, Unheld } from "./internal/statements.ts"
import { quote } from "./internal/table.ts"

/**
 * The table does not fit the repository: all that is wrong with it, what was found, and what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class TableError
  extends Schema.TaggedError<TableError>("effect-channels/SqlRepository/TableError")("TableError", {
    repository: Schema.String,
    table: Schema.String,
    problems: Schema.Array(Schema.String)
  })
{
  override get message() {
    return [
      `The table ${quote(this.table)} does not fit the repository ${this.repository}:`,
      ...this.problems.map((problem) => `- ${problem}`)
    ].join("\n")
  }
}

/**
 * Where the rows of a repository are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place<Row> {
  /** The table, or `schema.table`. It is found as the database finds it: in PostgreSQL by the search path. */
  readonly table: string
  /** The columns of fields that have another name there. */
  readonly columns?: { readonly [K in keyof Row & string]?: string } | undefined
}

/**
 * The options of a repository over a table.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<C extends Repository.AnyClass, E = never, R = never> extends Place<Repository.RowOf<C>> {
  /**
   * Makes what the repository hears of changes by, instead of telling the own ones after they are committed: a feed tells those as
   * well. It is handed the repository's class, and where its rows are: `PostgresChanges.installed` of
   * `@effect-channels/postgres` is one.
   */
  readonly feed?:
    | ((
      service: C,
      place: Place<Repository.RowOf<C>>
    ) => Effect.Effect<Repository.Feed<Repository.KeyOf<C>>, E, R>)
    | undefined
}

/**
 * Makes a repository over a table, and looks whether that fits it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  Self,
  Id extends string,
  S extends Repository.RowSchema,
  Key extends keyof S["Type"] & string,
  Generated extends string = never,
  Version extends string = never,
  E = never,
  R = never
>(
  service: Repository.RepositoryClass<Self, Id, S, Key, Generated, Version>,
  options: Options<NoInfer<Repository.RepositoryClass<Self, Id, S, Key, Generated, Version>>, E, R>
): Effect.Effect<
  Repository.Repository<S["Type"], S["Type"][Key], Repository.NewOf<S, Generated | Version>>,
  TableError | SqlError | E,
  SqlClient.SqlClient | R
> => Effect.map(build(service, options), (repository) => repository as never)

/**
 * Provides a repository whose rows are in a table of the database that `SqlClient` of `effect/sql` speaks to.
 *
 * It fails with {@link TableError} where the table does not fit. A row that does not fit its schema afterwards is a defect, which
 * names the table, the column and the key.
 *
 * **Details**
 *
 * - A write is refused with `Conflict` where the database keeps to a constraint: of uniqueness, of a foreign key, of a `CHECK`; or
 *   where a column cannot hold a value. In PostgreSQL that is text with the character U+0000, and a number that is out of range.
 * - Everything fails with `Unavailable` where the database cannot be reached, has no connection left, or ends a statement for others:
 *   a deadlock, a lock that is not given, a statement that takes too long. The reason is logged.
 * - What else the database does not accept is a defect. So is a constraint that is only looked at when a transaction is committed.
 * - Other queries with the same `SqlClient` take part in `transaction`, and other transactions of it have the repository take part in
 *   them: it tells what it has written when they are committed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <
  Self,
  Id extends string,
  S extends Repository.RowSchema,
  Key extends keyof S["Type"] & string,
  Generated extends string = never,
  Version extends string = never,
  E = never,
  R = never
>(
  service: Repository.RepositoryClass<Self, Id, S, Key, Generated, Version>,
  options: Options<NoInfer<Repository.RepositoryClass<Self, Id, S, Key, Generated, Version>>, E, R>
): Layer.Layer<Self, TableError | SqlError | E, SqlClient.SqlClient | Exclude<R, Scope.Scope>> =>
  Layer.effect(service, make(service, options))

interface AnyOptions<E, R> {
  readonly table: string
  readonly columns?: Readonly<Record<string, string | undefined>> | undefined
  readonly feed?: ((service: never, place: never) => Effect.Effect<Repository.Feed<unknown>, E, R>) | undefined
}

type AnyRepository = Repository.Repository<Row, unknown, Row>

const build = Effect.fnUntraced(function*<E, R>(
  service: Repository.AnyClass,
  options: AnyOptions<E, R>
): Effect.fn.Return<AnyRepository, TableError | SqlError | E, SqlClient.SqlClient | R> {
  const sql = yield* SqlClient.SqlClient
  const { definition } = service
  const refuse = (problems: ReadonlyArray<string>) =>
    new TableError({ repository: service.key, table: options.table, problems })
  const database = sql.onDialectOrElse({
    sqlite: () => sqlite,
    pg: () => postgres,
    orElse: () => undefined
  })
  if (database === undefined) {
    return yield* refuse([
      "It is in a database that is neither PostgreSQL nor SQLite, which are the ones that are known."
    ])
  }
  const { problems, table, warnings } = yield* database.inspect(sql, {
    table: options.table,
    definition,
    names: options.columns ?? {}
  })
  if (problems.length > 0 || table === undefined) return yield* refuse(problems)
  for (const warning of warnings) yield* Effect.logWarning(`Table ${quote(options.table)}: ${warning}`)

  const listeners = new Listeners<unknown>()
  const feed = options.feed === undefined
    ? undefined
    : yield* options.feed(service as never, { table: options.table, columns: options.columns } as never)
  const statements = new Statements(database.dialect, table, definition.version, definition.generated)
  const decode = decoder(definition.schema, options.table, table)

  const send = (statement: Statement): Effect.Effect<Stored, SqlError> =>
    sql.unsafe(statement.text, statement.parameters).values

  const unavailable = (error: SqlError) => ofRead(error, service.key)

  const read = (statement: Statement | undefined): Effect.Effect<ReadonlyArray<Row>, ChannelError.Unavailable> =>
    statement === undefined ? Effect.succeed([]) : Effect.map(Effect.catch(send(statement), unavailable), decode.rows)

  /** Writes, and tells of it when it is committed. What is told are keys: those of the rows that the statement answers with. */
  const write = (
    statement: Statement,
    isRemoval: boolean,
    keysOf: (stored: Stored) => ReadonlyArray<unknown>,
    options: Repository.WriteOptions | undefined
  ): Effect.Effect<Stored, Repository.Conflict | ChannelError.Unavailable> =>
    Effect.withFiber((fiber) => {
      const tell = (stored: Stored) => {
        if (stored.length > 0) listeners.tell({ _tag: "Written", keys: keysOf(stored) })
      }
      const sent = Context.getOrUndefined(fiber.context, sql.transactionService) === undefined
        ? Effect.onExitPrimitive(send(statement), (exit) => {
          if (Exit.isSuccess(exit)) tell(exit.value)
          else if (mayBeDone(exit.cause)) listeners.tell({ _tag: "Unknown" })
          return undefined
        })
        : Effect.tap(
          options?.last === true ? send(statement) : database.inTransaction(sql, send(statement)),
          (stored) => sql.afterCommit(Effect.sync(() => tell(stored)))
        )
      return Effect.catch(sent, (error) => ofWrite(error, service.key, table, isRemoval))
    })

  const find: AnyRepository["find"] = (key, { lock = false } = {}) =>
    Effect.map(read(statements.find(key, lock)), (rows) => Option.fromUndefinedOr(rows[0]))

  const version = definition.version

  /** Why a row could not be written of which there was none like this. */
  const absent = (key: unknown, expected: number | undefined) =>
    Effect.flatMap(
      version === undefined || expected === undefined ? Effect.succeedNone : find(key),
      (row) => Effect.fail(Option.isSome(row) ? stale() : new NotFound({ message: "There is no such row" }))
    )

  const repository: AnyRepository = {
    find,
    select: (selection) => Effect.suspend(() => read(statements.select(selection))),
    count: (filter) =>
      Effect.suspend(() => {
        const statement = statements.count(filter)
        return statement === undefined
          ? Effect.succeed(0)
          : Effect.map(Effect.catch(send(statement), unavailable), ([row]) => Number(row![0]))
      }),
    insert: (row, options) =>
      Effect.suspend(() => {
        const statement = statements.insert(row)
        if (statement instanceof Unheld) return Effect.fail(unheld(statement.fields))
        return Effect.map(write(statement, false, (stored) => stored.map(decode.key), options), (stored) =>
          decode.rows(stored)[0]!)
      }),
    update: (key, changes, options) =>
      Effect.suspend(() => {
        const expected = options?.version
        const statement = statements.update(key, changes, expected)
        if (statement instanceof Unheld) return Effect.fail(unheld(statement.fields))
        if (statement === undefined) {
          return Effect.flatMap(find(key), (found) => {
            const row = Option.getOrUndefined(found)
            return row === undefined
              ? absent(key, undefined)
              : version !== undefined && expected !== undefined && row[version] !== expected
              ? Effect.fail(stale())
              : Effect.succeed(row)
          })
        }
        const changed = changes[definition.key]
        const keys = changed === undefined ? [key] : [key, changed]
        return Effect.flatMap(write(statement, false, () => keys, options), (stored) =>
          stored.length === 0 ? absent(key, expected) : Effect.succeed(decode.rows(stored)[0]!))
      }),
    remove: (key, options) =>
      Effect.suspend(() => {
        const statement = statements.remove(key, options?.version)
        if (statement === undefined) return absent(key, options?.version)
        return Effect.flatMap(write(statement, true, () => [key], options), (stored) =>
          stored.length === 0 ? absent(key, options?.version) : Effect.void)
      }),
    transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.suspend(() => {
        let inner: Exit.Exit<A, E> | undefined
        const observed = Effect.onExitPrimitive(effect, (exit) => {
          inner = exit
          return undefined
        })
        return Effect.catchCause(
          sql.withTransaction(observed),
          (cause): Effect.Effect<never, E | ChannelError.Unavailable> => {
            // Nothing of it is committed, even if the connection was lost and could not be told so.
            if (inner !== undefined && Exit.isFailure(inner)) return Effect.failCause(inner.cause)
            if (mayBeDone(cause)) listeners.tell({ _tag: "Unknown" })
            return Effect.catchIf(Effect.failCause(cause as Cause.Cause<SqlError>), isSqlError, unavailable)
          }
        )
      }),
    afterCommit: sql.afterCommit,
    changes: (feed ?? listeners).subscribe,
    hearsAll: feed !== undefined
  }
  return repository
})

const stale = () => new StaleVersion({ message: "The row has been changed meanwhile" })

/** Whether what has failed may have been done all the same. */
const mayBeDone = (cause: Cause.Cause<unknown>): boolean => {
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  return isSqlError(error) ? isUncertain(error) : Cause.hasInterrupts(cause)
}
