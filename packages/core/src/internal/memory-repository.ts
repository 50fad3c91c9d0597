/**
 * Rows in memory.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaParser from "effect/SchemaParser"
import * as Semaphore from "effect/Semaphore"
import type * as Filter from "../Filter.ts"
import type * as Repository from "../Repository.ts"
import { by, compile, identify, own, type Row } from "./filter.ts"
import { isGiven } from "./payloads.ts"

/** What a write is refused with. */
export interface Refusals {
  readonly NotFound: typeof Repository.NotFound
  readonly Conflict: typeof Repository.Conflict
  readonly StaleVersion: typeof Repository.StaleVersion
}

export const layer = <Self>(
  service: Context.Key<Self, unknown>,
  definition: Repository.Definition,
  refusals: Refusals,
  rows: ReadonlyArray<object>
): Layer.Layer<Self> => Layer.effect(service, make(definition, refusals, rows as ReadonlyArray<Row>))

// ---- tables

/** Rows by what identifies their key: all of them, or those that a transaction has changed, over what is below. */
class Table {
  readonly #unique: ReadonlyArray<ReadonlyArray<string>>
  readonly #below: Table | undefined
  /** What is below, and is deleted, is undefined here. */
  readonly #rows = new Map<string, Row | undefined>()
  /** Which row has which values, for each of the constraints. */
  readonly #holders: ReadonlyArray<Map<string, string>>

  constructor(unique: ReadonlyArray<ReadonlyArray<string>>, below?: Table) {
    this.#unique = unique
    this.#below = below
    this.#holders = unique.map(() => new Map())
  }

  get(id: string): Row | undefined {
    return this.#rows.has(id) ? this.#rows.get(id) : this.#below?.get(id)
  }

  set(id: string, row: Row | undefined): void {
    const before = this.#rows.get(id)
    this.#holders.forEach((holders, i) => {
      const left = identifyIn(before, this.#unique[i]!)
      if (left !== null && holders.get(left) === id) holders.delete(left)
      const taken = identifyIn(row, this.#unique[i]!)
      if (taken !== null) holders.set(taken, id)
    })
    if (row === undefined && this.#below === undefined) this.#rows.delete(id)
    else this.#rows.set(id, row)
  }

  /** The fields in which a row would have what another one has. */
  clash(id: string | undefined, row: Row): ReadonlyArray<string> | undefined {
    return this.#unique.find((fields, i) => {
      const values = identifyIn(row, fields)
      const holder = values === null ? undefined : this.#holder(i, values)
      return holder !== undefined && holder !== id
    })
  }

  #holder(constraint: number, values: string): string | undefined {
    const here = this.#holders[constraint]!.get(values)
    if (here !== undefined || this.#below === undefined) return here
    const below = this.#below.#holder(constraint, values)
    return below === undefined || this.#rows.has(below) ? undefined : below
  }

  *entries(): Generator<readonly [id: string, row: Row]> {
    if (this.#below !== undefined) {
      for (const entry of this.#below.entries()) if (!this.#rows.has(entry[0])) yield entry
    }
    for (const [id, row] of this.#rows) if (row !== undefined) yield [id, row]
  }

  /** Makes what has changed so in what is below. */
  commit(): void {
    for (const [id, row] of this.#rows) this.#below!.set(id, row)
  }
}

const identifyIn = (row: Row | undefined, fields: ReadonlyArray<string>): string | null =>
  row === undefined ? null : identify(fields.map((field) => own(row, field)))

// ---- rows

type Make = (fields: Row) => Effect.Effect<Row>

const constructorOf = (schema: Schema.Constraint): Make => {
  const make = SchemaParser.makeEffect(schema)
  return (fields) =>
    make(fields).pipe(
      Effect.mapError((issue) => new Schema.SchemaError(issue)),
      Effect.orDie,
      Effect.map((row) => row as Row)
    )
}

/** A model says itself what new rows are made of, and what is made anew with every change. */
interface Model extends Repository.RowSchema {
  readonly insert?: Repository.RowSchema
  readonly update?: Repository.RowSchema
}

/** How rows are made: what is not handed over comes from the defaults of their schema. */
const makerOf = ({ generated, key, schema, version }: Repository.Definition) => {
  const { fields, insert, update }: Model = schema
  const make = constructorOf(schema)
  const fill: Make = insert === undefined ? Effect.succeed : constructorOf(insert)
  const taken = insert === undefined
    ? Object.keys(fields).filter((name) => name !== version && !generated.includes(name))
    : Object.keys(insert.fields)
  const isNumbered = generated.includes(key) && !isGiven(fields[key])
  const stamp = constructorOf(Schema.Struct(Object.fromEntries(
    Object.entries(update?.fields ?? {}).filter(([name, field]) => isGiven(field) && !isGiven(fields[name]))
  )))
  const versioned = (number: number): Row => version === undefined ? {} : { [version]: number }
  return {
    make,
    create: (row: Row, number: number): Effect.Effect<Row> =>
      Effect.flatMap(
        fill(Object.fromEntries(taken.filter((name) => Object.hasOwn(row, name)).map((name) => [name, row[name]]))),
        (given) => make({ ...versioned(1), ...(isNumbered ? { [key]: number } : {}), ...given })
      ),
    change: (row: Row, changes: Row): Effect.Effect<Row> =>
      Effect.flatMap(
        stamp({}),
        (stamps) =>
          make({ ...row, ...stamps, ...changes, ...versioned(version === undefined ? 0 : Number(row[version]) + 1) })
      )
  }
}

const select = (table: Table, { filter, limit, offset, order }: Repository.Selection<never>): ReadonlyArray<Row> => {
  const matches = compile(filter.tree)
  const start = offset ?? 0
  const end = start + (limit ?? Infinity)
  const found: Array<Row> = []
  for (const [, row] of table.entries()) {
    if (order.length === 0 && found.length >= end) break
    if (matches(row)) found.push(row)
  }
  if (order.length > 0) found.sort(by(order))
  return found.slice(start, end)
}

// ---- transactions

/** What is written together: a transaction, or all that is committed. */
interface Work {
  /** What it is part of. */
  readonly outer: Work | undefined
  readonly table: Table
  /** The keys of what is written, and not told yet. */
  readonly written: Map<string, unknown>
  /** What is done once it is committed. */
  readonly after: Array<Effect.Effect<void>>
  /** Held by whoever writes in it: one write, or one transaction that is part of it. */
  readonly lock: Semaphore.Semaphore
  isOver: boolean
}

/** The transactions that a fiber is in, one of each repository, by what is committed of it. */
const Transactions = Context.Reference<ReadonlyMap<Work, Work>>("effect-channels/Repository/Transactions", {
  defaultValue: () => new Map()
})

const make = Effect.fnUntraced(function*(
  definition: Repository.Definition,
  { Conflict, NotFound, StaleVersion }: Refusals,
  seed: ReadonlyArray<Row>
) {
  const { key, unique, version } = definition
  const maker = makerOf(definition)
  const listeners = new Set<(change: Repository.Change<unknown>) => void>()
  let greatest = 0

  const begin = (outer?: Work): Work => ({
    outer,
    table: new Table(unique, outer?.table),
    written: new Map(),
    after: [],
    lock: Semaphore.makeUnsafe(1),
    isOver: false
  })
  const committed = begin()

  /** What a fiber that was in it writes after it has ended, it writes in what is left of where it was. */
  const workIn = (transactions: ReadonlyMap<Work, Work>): Work => {
    let work = transactions.get(committed) ?? committed
    while (work.isOver) work = work.outer!
    return work
  }

  const read = <A>(f: (table: Table) => A): Effect.Effect<A> =>
    Effect.map(Transactions, (transactions) => f(workIn(transactions).table))

  /** Nobody else writes meanwhile in what the fiber is in. */
  const alone = <A, E, R>(
    f: (work: Work, transactions: ReadonlyMap<Work, Work>) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.flatMap(Transactions, (transactions) => {
      const work = workIn(transactions)
      return work.lock.withPermit(Effect.suspend(() => work.isOver ? alone(f) : f(work, transactions)))
    })

  const tell = (work: Work): void => {
    if (work !== committed || work.written.size === 0) return
    const keys = [...work.written.values()]
    work.written.clear()
    for (const listener of listeners) listener({ _tag: "Written", keys })
  }

  const commit = (work: Work): void => {
    const outer = work.outer!
    if (outer.isOver) throw new Error("The transaction that this one is part of has been rolled back")
    work.isOver = true
    work.table.commit()
    for (const [id, written] of work.written) outer.written.set(id, written)
    outer.after.push(...work.after)
    tell(outer)
  }

  const idOf = (value: unknown): string => identify([value]) ?? ""

  const put = (work: Work, before: Row | undefined, row: Row): Effect.Effect<Row, Repository.Conflict> =>
    Effect.suspend(() => {
      const from = before === undefined ? undefined : idOf(before[key])
      const id = idOf(row[key])
      const fields = id !== from && work.table.get(id) !== undefined ? [key] : work.table.clash(from, row)
      if (fields !== undefined) {
        return Effect.fail(new Conflict({ message: `Another row has the same ${fields.join(", ")}`, fields }))
      }
      if (from !== undefined && from !== id) {
        work.table.set(from, undefined)
        work.written.set(from, before![key])
      }
      work.table.set(id, row)
      work.written.set(id, row[key])
      if (typeof row[key] === "number") greatest = Math.max(greatest, row[key])
      tell(work)
      return Effect.succeed(row)
    })

  /** Goes on with the row that has this key, and this version where one is asked for. */
  const existing = <A, E>(
    id: unknown,
    options: { readonly version?: number | undefined } | undefined,
    f: (work: Work, row: Row) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | Repository.NotFound | Repository.StaleVersion> =>
    alone((work): Effect.Effect<A, E | Repository.NotFound | Repository.StaleVersion> => {
      const row = work.table.get(idOf(id))
      if (row === undefined) return Effect.fail(new NotFound({ message: "There is no such row" }))
      const wanted = options?.version
      return wanted === undefined || version !== undefined && row[version] === wanted
        ? f(work, row)
        : Effect.fail(new StaleVersion({ message: "The row has been changed meanwhile" }))
    })

  for (const row of seed) {
    yield* Effect.orDie(Effect.flatMap(maker.make(row), (made) => put(committed, undefined, made)))
  }

  const within = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    alone((outer, transactions) => {
      const work = begin(outer)
      return effect.pipe(
        Effect.provideService(Transactions, new Map([...transactions, [committed, work]])),
        // What others still write in it is part of it.
        Effect.tap(() => work.lock.withPermit(Effect.sync(() => commit(work)))),
        Effect.onExit(() =>
          Effect.sync(() => {
            work.isOver = true
          })
        )
      )
    })

  const repository: Repository.Repository<Row, unknown, Row> = {
    find: (id) => read((table) => Option.fromUndefinedOr(table.get(idOf(id)))),
    select: (selection) => read((table) => select(table, selection)),
    count: (filter: Filter.Any) =>
      read((table) => {
        const matches = compile(filter.tree)
        let count = 0
        for (const [, row] of table.entries()) if (matches(row)) count++
        return count
      }),
    insert: (row) =>
      alone((work) => Effect.flatMap(maker.create(row, greatest + 1), (made) => put(work, undefined, made))),
    update: (id, changes, options) =>
      existing(
        id,
        options,
        (work, row) => Effect.flatMap(maker.change(row, changes), (changed) => put(work, row, changed))
      ),
    remove: (id, options) =>
      existing(id, options, (work, row) =>
        Effect.sync(() => {
          work.table.set(idOf(id), undefined)
          work.written.set(idOf(id), row[key])
          tell(work)
        })),
    transaction: (effect) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.tap(
          restore(within(effect)),
          Effect.suspend(() => Effect.all(committed.after.splice(0), { discard: true }))
        )
      ),
    afterCommit: (effect) =>
      Effect.contextWith((context: Context.Context<never>) => {
        const work = workIn(Context.get(context, Transactions))
        const later = Effect.provideContext(
          effect as Effect.Effect<void>,
          Context.add(context, Transactions, new Map())
        )
        return work === committed ? later : Effect.sync(() => void work.after.push(later))
      }),
    // They are in no other process.
    hearsAll: true,
    changes: (listener) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => {
          const told = (change: Repository.Change<unknown>) => listener(change)
          listeners.add(told)
          return told
        }),
        (told) => Effect.sync(() => listeners.delete(told))
      ))
  }
  return repository
})
