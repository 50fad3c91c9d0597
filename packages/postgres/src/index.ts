// @barrel: Auto-generated exports. Do not edit manually.

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
export * as PostgresChanges from "./PostgresChanges.ts"
