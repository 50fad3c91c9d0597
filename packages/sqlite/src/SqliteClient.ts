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
import * as Config_ from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Client from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { DatabaseSync } from "node:sqlite"
import { sqlError, SqliteConnection } from "./internal/connection.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/SqliteClient"

/**
 * A `SqlClient` of an SQLite database.
 *
 * @category models
 * @since 0.1.0
 */
export interface SqliteClient extends Client.SqlClient {
  readonly [TypeId]: typeof TypeId
  readonly config: Config
}

/**
 * The service of an SQLite database.
 *
 * @category services
 * @since 0.1.0
 */
export const SqliteClient = Context.Service<SqliteClient>("effect-channels/SqliteClient")

/**
 * The options of a client.
 *
 * @category models
 * @since 0.1.0
 */
export interface Config {
  /** The file, which is made where there is none; `":memory:"` for a database in memory, which ends with the client. */
  readonly filename: string
  /** Nothing may be written then, and the file must be there. */
  readonly readonly?: boolean | undefined
  /**
   * How long to wait for the lock of another process, in which this one does nothing else. Then the statement fails with the
   * reason `LockTimeoutError`. Default 1 second.
   */
  readonly busyTimeout?: Duration.Input | undefined
  /** Whether the file is in WAL mode, in which readers and a writer do not wait for each other. Default `true`. */
  readonly wal?: boolean | undefined
  /** Whether foreign keys are kept to. Default `true`. */
  readonly foreignKeys?: boolean | undefined
  /** How many statements stay prepared. Default 200. */
  readonly preparedStatements?: number | undefined
  readonly spanAttributes?: Readonly<Record<string, unknown>> | undefined
  readonly transformResultNames?: ((name: string) => string) | undefined
  readonly transformQueryNames?: ((name: string) => string) | undefined
}

/**
 * Opens a database, until the scope is closed. It fails with the reason `ConnectionError` where the file cannot be opened.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  config: Config
): Effect.fn.Return<SqliteClient, SqlError, Scope.Scope | Reactivity.Reactivity> {
  const database = yield* Effect.acquireRelease(
    Effect.try({
      try: () => open(config),
      catch: (cause) => sqlError(cause, `The database ${config.filename} cannot be opened`, "open")
    }),
    (database) => Effect.sync(() => database.close())
  )
  const connection = new SqliteConnection(database, Math.max(1, config.preparedStatements ?? 200))
  const acquirers = Client.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore: yield* Semaphore.make(1),
    isTransaction: ({ isTransaction }) => isTransaction
  })
  const client = yield* Client.make({
    ...acquirers,
    // It is asked by streams, which must not keep the connection while their rows are taken.
    acquirer: Effect.succeed(lent(connection, acquirers.borrower)),
    driver: "node-sqlite",
    compiler: Statement.makeCompilerSqlite(config.transformQueryNames),
    beginTransaction: config.readonly === true ? "BEGIN" : "BEGIN IMMEDIATE",
    prepareTransactionControls: true,
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    transformRows: config.transformResultNames === undefined
      ? undefined
      : Statement.defaultTransforms(config.transformResultNames, false).array,
    spanAttributes: [...Object.entries(config.spanAttributes ?? {}), ["db.system.name", "sqlite"]]
  })
  return Object.assign(client, { [TypeId]: TypeId, config } as const)
})

/**
 * Provides a client, under its own name and as the `SqlClient` of `effect/sql`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (config: Config): Layer.Layer<SqliteClient | Client.SqlClient, SqlError> => layerFrom(make(config))

/**
 * As {@link layer}, with options from the configuration.
 *
 * **Example** (The file is configured)
 *
 * ```ts
 * import { SqliteClient } from "@effect-channels/sqlite"
 * import * as Config from "effect/Config"
 *
 * const DatabaseLive = SqliteClient.layerConfig({ filename: Config.String("DATABASE_FILE") })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config_.Wrap<Config>
): Layer.Layer<SqliteClient | Client.SqlClient, SqlError | Config_.ConfigError> =>
  layerFrom(Effect.flatMap(Config_.unwrap(config), make))

const layerFrom = <E>(
  client: Effect.Effect<SqliteClient, E, Scope.Scope | Reactivity.Reactivity>
): Layer.Layer<SqliteClient | Client.SqlClient, E> =>
  Layer.effectContext(
    Effect.map(client, (client) => Context.make(SqliteClient, client).pipe(Context.add(Client.SqlClient, client)))
  ).pipe(Layer.provide(Reactivity.layer))

const open = (config: Config): DatabaseSync => {
  const database = new DatabaseSync(config.filename, {
    readOnly: config.readonly ?? false,
    enableForeignKeyConstraints: config.foreignKeys ?? true,
    timeout: Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(config.busyTimeout ?? "1 second")))
  })
  try {
    // Of a file that is no database this is the first to know.
    database.exec(
      config.readonly === true || config.wal === false
        ? "SELECT * FROM sqlite_schema LIMIT 0"
        : "PRAGMA journal_mode = WAL"
    )
  } catch (cause) {
    database.close()
    throw cause
  }
  return database
}

/** A connection that is borrowed anew for whatever it is asked. */
const lent = (
  connection: Connection,
  borrow: <A>(f: (connection: Connection) => Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>
): Connection => ({
  execute: (...args) => borrow(() => connection.execute(...args)),
  executeRaw: (...args) => borrow(() => connection.executeRaw(...args)),
  executeStream: (...args) => Stream.unwrap(Effect.map(borrow(() => connection.execute(...args)), Stream.fromIterable)),
  executeValues: (...args) => borrow(() => connection.executeValues(...args)),
  executeValuesUnprepared: (...args) => borrow(() => connection.executeValuesUnprepared(...args)),
  executeUnprepared: (...args) => borrow(() => connection.executeUnprepared(...args))
})
