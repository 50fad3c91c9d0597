/**
 * Hears of what anybody writes to tables of PostgreSQL: other servers, other programs, somebody with `psql`. Triggers notify a channel
 * (`NOTIFY`), and every server listens to it, with one connection for all tables.
 *
 * **Example** (Live queries that see what everybody writes)
 *
 * ```ts
 * import { Repository } from "@effect-channels/core"
 * import { PostgresChanges } from "@effect-channels/postgres"
 * import { SqlRepository } from "@effect-channels/sql"
 * import { PgClient } from "@effect/sql-pg"
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 * import * as Schema from "effect/Schema"
 *
 * const Item = Schema.Struct({ id: Schema.Int, title: Schema.String })
 * class Items extends Repository.Service<Items>()("app/Items", { schema: Item, key: "id" }) {}
 *
 * const ItemsLive = SqlRepository.layer(Items, { table: "items", feed: PostgresChanges.installed }).pipe(
 *   Layer.provide(PostgresChanges.layer()),
 *   Layer.provide(PgClient.layerConfig({ url: Config.Redacted("POSTGRES_URL") }))
 * )
 * ```
 *
 * **What is promised.**
 *
 * - Every write that is committed is told once to every server, its own writes as well, in the order of the commits. What is rolled back
 *   is not told.
 * - A statement tells all of its keys at once. Where they are too many (500, or 8,000 bytes of them), and after `TRUNCATE`, the change is
 *   `Unknown`: anything may have been written.
 * - When the connection was lost, a new one is made, and every listener is told `Unknown`, since it may have missed something. A
 *   connection that gives no sign of life for a `heartbeat` is taken for lost.
 * - It does not hear of writes that fire no triggers: to a partition by its own name, by logical replication, or with
 *   `session_replication_role = replica`.
 *
 * @since 0.1.0
 */
import type * as Repository from "@effect-channels/core/Repository"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { Hub } from "./internal/hub.ts"
import { topicOf } from "./internal/notices.ts"
import { keepListening } from "./internal/session.ts"
import { create, lock, look, type Target, triggerNames } from "./internal/triggers.ts"

/**
 * Changes cannot be heard of: there is no such table, or nothing is installed.
 *
 * @category errors
 * @since 0.1.0
 */
export class SetupError
  extends Schema.TaggedError<SetupError>("effect-channels/PostgresChanges/SetupError")("SetupError", {
    message: Schema.String
  })
{}

/**
 * Which table is meant.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Row> {
  /** The table, or `schema.table`. It is found by the search path. */
  readonly table: string
  /** The columns of fields that have another name there; that of the key is what matters here. */
  readonly columns?: { readonly [K in keyof Row & string]?: string } | undefined
}

/**
 * What is told of the tables, as text. {@link feed} makes the changes of a repository of it.
 *
 * @category services
 * @since 0.1.0
 */
export class PostgresChanges extends Context.Service<PostgresChanges, {
  readonly channel: string
  /**
   * Calls a function with what is written to a table as long as the scope is open: the keys as PostgreSQL writes them as text, or
   * `undefined` where anything may have been written.
   */
  readonly subscribe: (
    table: { readonly schema: string; readonly name: string },
    listener: (keys: ReadonlyArray<string> | undefined) => void
  ) => Effect.Effect<void, never, Scope.Scope>
}>()("effect-channels/PostgresChanges") {}

/**
 * The channel that is notified. All servers of a database have the same one.
 *
 * @category services
 * @since 0.1.0
 */
export const Channel: Context.Reference<string> = Context.Reference<string>("effect-channels/PostgresChanges/Channel", {
  defaultValue: () => "effect_channels"
})

/**
 * Listens to all tables, with one connection beside those of the client's pool. It fails where there is none when it is built; later it
 * waits for PostgreSQL to come back.
 *
 * - `heartbeat`: how often it is made sure that the connection is alive. Default 30 seconds.
 *
 * `LISTEN` needs a connection of its own: a pool that lends connections for single transactions, as PgBouncer does, cannot be between.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: { readonly heartbeat?: Duration.Input | undefined } = {}): Layer.Layer<
  PostgresChanges,
  SqlError,
  PgClient.PgClient
> =>
  Layer.effect(
    PostgresChanges,
    Effect.gen(function*() {
      const client = yield* PgClient.PgClient
      const channel = yield* Channel
      const hub = new Hub()
      const ready = yield* Deferred.make<void, SqlError>()
      yield* Effect.forkScoped(keepListening({
        client,
        channel,
        hub,
        ready,
        heartbeat: Duration.fromInputUnsafe(options.heartbeat ?? "30 seconds")
      }))
      yield* Deferred.await(ready)
      return PostgresChanges.of({
        channel,
        subscribe: ({ name, schema }, listener) => hub.subscribe(topicOf(schema, name), listener)
      })
    })
  )

type AnyClass = Repository.AnyClass

/**
 * Has PostgreSQL tell what is written to a table: makes a function and the triggers that call it, where they are not there yet. It may
 * be done again and again, by several servers at once; the one that finds everything there changes nothing, and needs no right to.
 * Making triggers waits for those who write to the table now.
 *
 * @category constructors
 * @since 0.1.0
 */
export const install: <C extends AnyClass>(
  service: C,
  options: Options<Repository.RowOf<C>>
) => Effect.Effect<void, SetupError | SqlError, SqlClient> = Effect.fnUntraced(
  function*(service: AnyClass, options: AnyOptions) {
    const sql = yield* SqlClient
    const wanted = yield* wantedOf(service, options)
    if (isComplete(yield* find(sql, wanted))) return
    yield* sql.withTransaction(Effect.gen(function*() {
      yield* lock(sql)
      // Another one may have been quicker.
      yield* create(sql, yield* find(sql, wanted), wanted)
    }))
  }
)

/**
 * The changes of a repository over a table, for the option `feed` of `SqlRepository.layer`. It fails where {@link install} has not been
 * there, since nothing would ever be heard.
 *
 * **Example** (What is installed is a matter of a migration)
 *
 * ```ts
 * import { Repository } from "@effect-channels/core"
 * import { PostgresChanges } from "@effect-channels/postgres"
 * import { SqlRepository } from "@effect-channels/sql"
 * import * as Schema from "effect/Schema"
 *
 * const Item = Schema.Struct({ id: Schema.Int, madeAt: Schema.Date })
 * class Items extends Repository.Service<Items>()("app/Items", { schema: Item, key: "id" }) {}
 * const items = { table: "items", columns: { madeAt: "made_at" } }
 *
 * const migration = PostgresChanges.install(Items, items)
 *
 * const ItemsLive = SqlRepository.layer(Items, { ...items, feed: PostgresChanges.feed })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const feed: <C extends AnyClass>(
  service: C,
  options: Options<Repository.RowOf<C>>
) => Effect.Effect<
  Repository.Feed<Repository.KeyOf<C>>,
  SetupError | SqlError,
  PostgresChanges | SqlClient
> = Effect.fnUntraced(
  function*(service: AnyClass, options: AnyOptions) {
    const sql = yield* SqlClient
    const changes = yield* PostgresChanges
    const target = yield* find(sql, yield* wantedOf(service, options))
    if (!isComplete(target)) {
      return yield* new SetupError({
        message: `Nobody is told what is written to the table ${
          JSON.stringify(options.table)
        }: run PostgresChanges.install with it, \
and the same channel, first.`
      })
    }
    const { key, schema } = service.definition
    const decode = Schema.decodeUnknownExit(
      Schema.toCodecStringTree(Schema.toType(schema.fields[key] as Schema.ConstraintCodec<unknown, unknown>))
    )
    const changeOf = (keys: ReadonlyArray<string> | undefined): Repository.Change<never> => {
      const decoded = (keys ?? []).map((key) => decode(key))
      return keys === undefined || decoded.some(Exit.isFailure)
        ? { _tag: "Unknown" }
        : { _tag: "Written", keys: decoded.flatMap((exit) => Exit.isSuccess(exit) ? [exit.value as never] : []) }
    }
    return {
      subscribe: (listener: (change: Repository.Change<never>) => void) =>
        changes.subscribe(target, (keys) => listener(changeOf(keys)))
    }
  }
)

/**
 * As {@link feed}, after {@link install}: for the option `feed` of `SqlRepository.layer`, where the application makes what it needs
 * itself.
 *
 * @category constructors
 * @since 0.1.0
 */
export const installed = <C extends AnyClass>(
  service: C,
  options: Options<Repository.RowOf<C>>
): Effect.Effect<
  Repository.Feed<Repository.KeyOf<C>>,
  SetupError | SqlError,
  PostgresChanges | SqlClient
> => Effect.andThen(install(service, options), feed(service, options))

interface AnyOptions {
  readonly table: string
  readonly columns?: Readonly<Record<string, string | undefined>> | undefined
}

interface Wanted {
  readonly table: string
  readonly key: string
  readonly channel: string
}

const wantedOf = ({ definition }: AnyClass, { columns, table }: AnyOptions): Effect.Effect<Wanted> =>
  Effect.map(Channel, (channel) => ({ table, key: columns?.[definition.key] ?? definition.key, channel }))

const isComplete = ({ hasFunction, triggers }: Target): boolean =>
  hasFunction && triggers.length === triggerNames.length

const find = (sql: SqlClient, wanted: Wanted): Effect.Effect<Target, SetupError | SqlError> => {
  const refuse = (message: string) => new SetupError({ message })
  const table = JSON.stringify(wanted.table)
  if (!sql.onDialectOrElse({ pg: () => true, orElse: () => false })) {
    return Effect.fail(refuse("This is no client of PostgreSQL"))
  }
  return Effect.flatMap(look(sql, wanted), (target) =>
    target === undefined
      ? Effect.fail(refuse(`There is no table ${table}`))
      : !target.isTable
      ? Effect.fail(refuse(`${table} is no table: nothing can be heard of what is written to it`))
      : !target.hasKey
      ? Effect.fail(refuse(`The table ${table} has no column ${JSON.stringify(wanted.key)}, which is the key`))
      : Effect.succeed(target))
}
