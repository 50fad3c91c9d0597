import { Filter, Repository } from "@effect-channels/core"
import * as ChannelError from "@effect-channels/core/ChannelError"
import { SqlRepository } from "@effect-channels/sql"
import { SqliteClient } from "@effect-channels/sqlite"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { BeginTransaction, SqlClient } from "effect/sql/SqlClient"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { eachDatabase, run, warningsOf } from "./support/databases.ts"
import { makeProxy } from "./support/proxy.ts"
import { admin, makeSchema, postgres, skipped } from "./support/tables.ts"

const Item = Schema.Struct({
  id: Schema.Int,
  name: Schema.String,
  owner: Schema.NullOr(Schema.Int),
  price: Schema.Number
})
class Items extends Repository.Service<Items>()("test/Items", { schema: Item, key: "id", generated: [] }) {}

const item = (id: number, fields: Partial<typeof Item.Type> = {}): typeof Item.Type => ({
  id,
  name: `item ${id}`,
  owner: null,
  price: 1,
  ...fields
})

const make = SqlRepository.make(Items, { table: "items", columns: { owner: "owner_id" } })

const diesOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    return String(exit)
  })

eachDatabase("writes", ({ dialect, on, test }) => {
  const [integer, number, text] = on({
    sqlite: ["INTEGER", "REAL", "TEXT"],
    pg: ["integer", "double precision", "text"]
  })
  const tables = run(
    `CREATE TABLE owners (id ${integer} PRIMARY KEY)`,
    `CREATE TABLE items (
      id ${integer} PRIMARY KEY,
      name ${text} NOT NULL CONSTRAINT short CHECK (length(name) < 20),
      owner_id ${integer} REFERENCES owners (id),
      price ${number} NOT NULL,
      CONSTRAINT named UNIQUE (name, owner_id)
    )`
  )

  test("are refused by what the database keeps to, and nothing of their values is told", () =>
    Effect.gen(function*() {
      yield* tables
      yield* run("INSERT INTO owners VALUES (1)", `CREATE UNIQUE INDEX cheap ON items (price) WHERE price > 1000`)
      const items = yield* make
      const refused = (effect: Effect.Effect<unknown, unknown>) =>
        Effect.map(Effect.flip(effect), (error) => {
          assert.instanceOf(error, Repository.Conflict)
          return [error.message, error.fields]
        })
      yield* items.insert(item(1, { owner: 1, name: "secret" }))
      yield* items.insert(item(2, { price: 2000 }))

      assert.deepStrictEqual(yield* refused(items.insert(item(1))), ["Another row has the same \"id\"", ["id"]])
      assert.deepStrictEqual(
        yield* refused(items.insert(item(3, { owner: 1, name: "secret" }))),
        ["Another row has the same \"name\", \"owner\"", ["name", "owner"]]
      )
      assert.deepStrictEqual(
        yield* refused(items.update(2, { owner: 1, name: "secret" })),
        ["Another row has the same \"name\", \"owner\"", ["name", "owner"]]
      )
      // An index over some of the rows is one of the constraints too.
      const partial = yield* refused(items.insert(item(4, { price: 2000 })))
      assert.match(String(partial[0]), /Another row has the same/)

      const [message, fields] = yield* refused(items.insert(item(5, { name: "x".repeat(20) })))
      assert.strictEqual(message, "The values are not permitted together")
      assert.deepStrictEqual(fields, on({ sqlite: [], pg: ["name"] }))

      for (const write of [items.insert(item(6, { owner: 9 })), items.update(1, { owner: 9 })]) {
        assert.deepStrictEqual(yield* refused(write), [
          "There is no such row to refer to",
          on({ sqlite: [], pg: ["owner"] })
        ])
      }
      assert.strictEqual(yield* items.count(Filter.all), 2)

      class Owners extends Repository.Service<Owners>()("test/Owners", {
        schema: Schema.Struct({ id: Schema.Int }),
        key: "id",
        generated: []
      }) {}
      const owners = yield* SqlRepository.make(Owners, { table: "owners" })
      assert.deepStrictEqual(yield* refused(owners.remove(1)), ["Other rows refer to this one", []])
      if (dialect === "pg") {
        assert.deepStrictEqual(yield* refused(owners.update(1, { id: 2 })), ["Other rows refer to this one", []])
      }
    }))

  test("are refused where a column cannot hold a value", () =>
    Effect.gen(function*() {
      yield* tables
      const items = yield* make
      const cases: ReadonlyArray<Partial<typeof Item.Type>> = on({
        sqlite: [{ price: NaN }],
        pg: [{ name: "a\0b" }, { id: 2 ** 40 }, { id: 1.5 }, { owner: 1e300 }, { owner: NaN }]
      })
      for (const fields of cases) {
        const error = yield* Effect.flip(items.insert(item(1, fields)))
        assert.instanceOf(error, Repository.Conflict)
        assert.match(error.message, /cannot be stored$/)
        assert.instanceOf(
          yield* Effect.flip(Effect.andThen(
            Effect.ignore(items.insert(item(1))),
            items.update(1, fields)
          )),
          Repository.Conflict
        )
        yield* items.remove(1)
      }
      assert.deepStrictEqual(
        yield* items.insert(item(1, { name: on({ sqlite: "a\0b", pg: "a" }) })),
        item(1, { name: on({ sqlite: "a\0b", pg: "a" }) })
      )
    }))

  test("that cannot ever be right are a defect", () =>
    Effect.gen(function*() {
      yield* tables
      const items = yield* make
      yield* diesOf(items.insert({ id: 1, owner: null, price: 1 } as never))
      yield* run("DROP TABLE items")
      yield* diesOf(items.insert(item(1)))
      yield* diesOf(items.find(1))
      yield* diesOf(items.select({ filter: Filter.all, order: [{ field: "nothing", direction: "ascending" }] }))
      yield* diesOf(items.count(Filter.fields<{ nothing: number }>().eq("nothing", 1) as never))
      for (const limit of [-1, 0.5, NaN, "1; DROP TABLE owners"]) {
        yield* diesOf(items.select({ filter: Filter.all, order: [], limit: limit as never }))
        yield* diesOf(items.select({ filter: Filter.all, order: [], offset: limit as never }))
      }
    }))

  test("take no more than the fields, whatever they are called", () =>
    Effect.gen(function*() {
      yield* tables
      const items = yield* make
      const hostile = { "name\" = 'x', \"price": 5, __proto__: { price: 7 }, constructor: 1, toString: 2 }
      yield* items.insert({ ...item(1), ...hostile } as never)
      assert.deepStrictEqual(yield* items.update(1, { name: "y", ...hostile } as never), item(1, { name: "y" }))
      assert.deepStrictEqual(yield* items.find(1), Option.some(item(1, { name: "y" })))
    }))

  test("in a transaction that others began are told when that is committed", () =>
    Effect.gen(function*() {
      yield* tables
      const items = yield* make
      const sql = yield* SqlClient
      const told: Array<unknown> = []
      yield* items.changes((change) => told.push(...(change._tag === "Written" ? change.keys : ["unknown"])))
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* items.insert(item(1))
        yield* sql`UPDATE items SET name = 'other' WHERE id = 1`
        yield* Effect.ignore(sql.withTransaction(Effect.andThen(items.insert(item(2)), Effect.fail("no"))))
        assert.deepStrictEqual(told, [])
      }))
      yield* Effect.ignore(sql.withTransaction(Effect.andThen(items.insert(item(3)), Effect.fail("no"))))
      assert.deepStrictEqual(told, [1])
      assert.deepStrictEqual(yield* items.find(1), Option.some(item(1, { name: "other" })))
    }))

  test("fail with what somebody's own statement failed with in a transaction", () =>
    Effect.gen(function*() {
      yield* tables
      const items = yield* make
      const sql = yield* SqlClient
      const error = yield* Effect.flip(items.transaction(sql`SELECT * FROM nowhere`))
      assert.strictEqual(error._tag, "SqlError")
    }))

  test("that a constraint refuses when they are committed are a defect, and undone", () =>
    Effect.gen(function*() {
      yield* run(
        `CREATE TABLE owners (id ${integer} PRIMARY KEY)`,
        `CREATE TABLE items (id ${integer} PRIMARY KEY, name ${text} NOT NULL, price ${number} NOT NULL,
          owner_id ${integer} REFERENCES owners (id) DEFERRABLE INITIALLY DEFERRED)`
      )
      const items = yield* make
      const told: Array<unknown> = []
      yield* items.changes((change) => told.push(change))
      yield* diesOf(items.transaction(items.insert(item(1, { owner: 5 }))))
      assert.deepStrictEqual(yield* items.find(1), Option.none())
      yield* items.insert(item(2))
      assert.deepStrictEqual(told, [{ _tag: "Written", keys: [2] }])
    }))

  test("are told by a feed alone where there is one", () =>
    Effect.gen(function*() {
      yield* tables
      const tells = new Set<(change: Repository.Change<number>) => void>()
      const feed: Repository.Feed<number> = {
        subscribe: (tell) =>
          Effect.asVoid(Effect.acquireRelease(
            Effect.sync(() => tells.add(tell)),
            () => Effect.sync(() => tells.delete(tell))
          ))
      }
      const items = yield* SqlRepository.make(Items, {
        table: "items",
        columns: { owner: "owner_id" },
        feed: (service, place) =>
          Effect.sync(() => {
            assert.strictEqual(service, Items)
            assert.deepStrictEqual(place, { table: "items", columns: { owner: "owner_id" } })
            return feed
          })
      })
      assert.strictEqual(items.hearsAll, true)
      assert.strictEqual((yield* make).hearsAll, false)
      const told: Array<unknown> = []
      yield* Effect.scoped(Effect.gen(function*() {
        yield* items.changes((change) => told.push(change))
        yield* items.insert(item(1))
        assert.deepStrictEqual(told, [])
        tells.forEach((tell) => tell({ _tag: "Unknown" }))
        assert.deepStrictEqual(told, [{ _tag: "Unknown" }])
      }))
      assert.strictEqual(tells.size, 0)
    }))
})

// ---- what is not there

const create =
  "CREATE TABLE items (id integer PRIMARY KEY, name text NOT NULL, owner_id integer, price double precision NOT NULL)"

describe.skipIf(skipped !== undefined)("PostgreSQL", () => {
  const limit = { timeout: 30_000 }

  /** A repository, and what was told. */
  const withItems = (config: { readonly maxConnections?: number; readonly settings?: Record<string, string> }) =>
    Effect.gen(function*() {
      const schema = yield* makeSchema
      const client = postgres({
        schema,
        maxConnections: config.maxConnections ?? 4,
        applicationName: schema,
        startupParameters: { search_path: schema, ...config.settings }
      })
      const context = yield* Layer.build(Layer.fresh(client))
      const { items, sql } = yield* Effect.provideContext(
        Effect.gen(function*() {
          yield* run(create)
          return { items: yield* make, sql: yield* SqlClient }
        }),
        context
      )
      const told: Array<unknown> = []
      yield* items.changes((change) => told.push(...(change._tag === "Written" ? change.keys : ["unknown"])))
      return { items, schema, sql, told }
    })

  const killAll = (schema: string) =>
    admin(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '${schema}'`)

  it.live(
    "fails with Unavailable where its connection is lost, and goes on with another one",
    () =>
      Effect.gen(function*() {
        const { items, schema, told } = yield* withItems({})
        yield* items.insert(item(1))
        const isUnavailable = (error: unknown) => assert.instanceOf(error, ChannelError.Unavailable)

        // While nothing is asked.
        yield* killAll(schema)
        yield* Effect.sleep(50)
        assert.deepStrictEqual(yield* items.find(1), Option.some(item(1)))

        // In the middle of a transaction.
        told.length = 0
        const exit = yield* Effect.exit(items.transaction(Effect.gen(function*() {
          yield* items.insert(item(2))
          yield* killAll(schema)
          yield* items.insert(item(3))
        })))
        assert.isTrue(Exit.isFailure(exit))
        isUnavailable(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined)
        assert.deepStrictEqual(yield* items.select({ filter: Filter.all, order: [] }), [item(1)])
        assert.deepStrictEqual(told, [])

        // When it is about to commit, nobody knows.
        isUnavailable(yield* Effect.flip(items.transaction(Effect.andThen(items.insert(item(4)), killAll(schema)))))
        assert.deepStrictEqual(told, ["unknown"])
        assert.deepStrictEqual(yield* items.find(4), Option.none())
        yield* items.insert(item(5))
        assert.deepStrictEqual(told, ["unknown", 5])
      }),
    limit
  )

  it.live(
    "tells that anything may have been written where a write was ended in the middle",
    () =>
      Effect.gen(function*() {
        const { items, schema, sql, told } = yield* withItems({})
        yield* items.insert(item(1))
        told.length = 0
        for (const end of ["killed", "interrupted"]) {
          const holds = yield* Deferred.make<void>()
          const holder = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
            yield* sql`SELECT * FROM items WHERE id = 1 FOR UPDATE`
            yield* Deferred.succeed(holds, undefined)
            return yield* Effect.never
          })))
          yield* Deferred.await(holds)
          const writer = yield* Effect.forkChild(items.update(1, { name: "x" }), { startImmediately: true })
          const isWaiting = admin(
            `SELECT count(*) FROM pg_stat_activity WHERE application_name = '${schema}' AND wait_event_type = 'Lock'`
          )
          yield* Effect.repeat(isWaiting, { until: ([row]) => Number(row![0]) === 1 })
          if (end === "killed") {
            yield* admin(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = '${schema}' AND wait_event_type = 'Lock'`)
            const exit = yield* Fiber.await(writer)
            assert.instanceOf(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, ChannelError.Unavailable)
          } else {
            yield* Fiber.interrupt(writer)
          }
          yield* Fiber.interrupt(holder)
          assert.deepStrictEqual(told.splice(0), ["unknown"])
        }
        assert.deepStrictEqual(yield* items.find(1), Option.some(item(1)))
      }),
    limit
  )

  it.live("fails with Unavailable where others are in the way", () =>
    Effect.gen(function*() {
      const { items } = yield* withItems({ settings: { lock_timeout: "50ms" } })
      yield* items.insert(item(1))
      const isUnavailable = (exit: Exit.Exit<unknown, unknown>) =>
        assert.instanceOf(Exit.isFailure(exit) && Cause.squash(exit.cause), ChannelError.Unavailable)
      /** Writes, outside of the transaction that says when. */
      const writer = (price: number) =>
        Effect.gen(function*() {
          const start = yield* Deferred.make<void>()
          const fiber = yield* Effect.forkChild(Effect.andThen(Deferred.await(start), items.update(1, { price })))
          return Effect.andThen(Deferred.succeed(start, undefined), Fiber.await(fiber))
        })

      // They have locked the row.
      const waits = yield* writer(2)
      yield* items.transaction(Effect.gen(function*() {
        yield* items.find(1, { lock: true })
        isUnavailable(yield* waits)
      }))

      // They have changed the row that a transaction has seen.
      const intrudes = yield* writer(3)
      isUnavailable(
        yield* Effect.exit(
          items.transaction(Effect.gen(function*() {
            yield* items.find(1)
            assert.isTrue(Exit.isSuccess(yield* intrudes))
            yield* items.update(1, { price: 4 })
          })).pipe(Effect.provideService(BeginTransaction, "BEGIN ISOLATION LEVEL REPEATABLE READ"))
        )
      )
      assert.deepStrictEqual(yield* items.find(1), Option.some(item(1, { price: 3 })))
    }), limit)

  it.live("fails with Unavailable where a statement takes too long", () =>
    Effect.gen(function*() {
      const { items, sql } = yield* withItems({ settings: { statement_timeout: "100ms" } })
      yield* items.insert(item(1))
      yield* sql`ALTER TABLE items RENAME TO hidden`
      yield* sql`CREATE VIEW items AS SELECT id, name, owner_id, price FROM hidden, pg_sleep(5)`
      assert.instanceOf(yield* Effect.flip(items.find(1)), ChannelError.Unavailable)
      assert.instanceOf(yield* Effect.flip(items.count(Filter.all)), ChannelError.Unavailable)
    }), limit)

  it.live("ends a deadlock for one of two", () =>
    Effect.gen(function*() {
      const { items } = yield* withItems({ settings: { deadlock_timeout: "50ms" } })
      yield* items.insert(item(1))
      yield* items.insert(item(2))
      const [one, two] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const cross = (first: number, second: number, mine: Deferred.Deferred<void>, other: Deferred.Deferred<void>) =>
        Effect.exit(items.transaction(Effect.gen(function*() {
          yield* items.find(first, { lock: true })
          yield* Deferred.succeed(mine, undefined)
          yield* Deferred.await(other)
          yield* items.find(second, { lock: true })
        })))
      const exits = yield* Effect.all([cross(1, 2, one, two), cross(2, 1, two, one)], { concurrency: 2 })
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
      const failed = exits.find(Exit.isFailure)
      assert.instanceOf(failed && Cause.squash(failed.cause), ChannelError.Unavailable)
    }), limit)

  it.live("fails with Unavailable where it cannot be reached, and works when it can", () =>
    Effect.gen(function*() {
      const schema = yield* makeSchema
      yield* admin(create.replace("items", `${schema}.items`))
      const proxy = yield* makeProxy
      const context = yield* Layer.build(postgres({ schema, host: "127.0.0.1", port: proxy.port }))
      const items = yield* Effect.provideContext(make, context)
      const told: Array<unknown> = []
      yield* items.changes((change) => told.push(change))
      yield* items.insert(item(1))
      yield* Effect.promise(() => proxy.stop())
      assert.instanceOf(yield* Effect.flip(items.find(1)), ChannelError.Unavailable)
      told.length = 0
      assert.instanceOf(yield* Effect.flip(items.insert(item(2))), ChannelError.Unavailable)
      assert.instanceOf(yield* Effect.flip(items.transaction(items.insert(item(3)))), ChannelError.Unavailable)
      // Nothing was sent, so that nothing can have been written.
      assert.deepStrictEqual(told, [])
      yield* Effect.promise(() => proxy.start())
      yield* items.insert(item(4))
      assert.deepStrictEqual(told, [{ _tag: "Written", keys: [4] }])
    }), limit)
})

describe("SQLite", () => {
  it.effect("fails with Unavailable where another process has locked the file", () =>
    Effect.gen(function*() {
      const path = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "sql-test-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const filename = join(path, "test.db")
      yield* Effect.gen(function*() {
        yield* run(create)
        const items = yield* make
        const told: Array<unknown> = []
        yield* items.changes((change) => told.push(change))
        yield* items.insert(item(1))
        const other = yield* Effect.acquireRelease(
          Effect.sync(() => new DatabaseSync(filename)),
          (database) => Effect.sync(() => database.close())
        )
        other.exec("BEGIN IMMEDIATE")
        const unavailable = ChannelError.Unavailable
        const [warning] = yield* warningsOf(
          Effect.map(Effect.flip(items.insert(item(2))), (error) => assert.instanceOf(error, unavailable))
        )
        assert.match(warning!, /The database of the repository test\/Items is not available/)
        assert.instanceOf(yield* Effect.flip(items.remove(1)), unavailable)
        assert.instanceOf(yield* Effect.flip(items.transaction(Effect.void)), unavailable)
        assert.deepStrictEqual(yield* items.find(1), Option.some(item(1)))
        other.exec("COMMIT")
        yield* items.insert(item(2))
        assert.deepStrictEqual(told, [{ _tag: "Written", keys: [1] }, { _tag: "Written", keys: [2] }])
      }).pipe(Effect.provide(SqliteClient.layer({ filename, busyTimeout: 0 })))
    }))
})
