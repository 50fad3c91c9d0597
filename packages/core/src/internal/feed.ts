/**
 * What is written to a repository, for the live queries of this process: each change is read once, whoever watches it.
 *
 * Whatever tells of a change says no more than a key. The row is read then, so that nobody is told of a state that is older than
 * one they have been told of: reads come one after the other, and each has a number.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Filter from "../Filter.ts"
import type { Change, Repository } from "../Repository.ts"
import { identify } from "./filter.ts"

type Row = Readonly<Record<string, unknown>>
type Rows = Repository<Row, unknown, Row>

/** What tells a key apart from every other one. */
export type Id = string | number | null

export const idOf = (key: unknown): Id => typeof key === "number" ? key : identify([key])

/** Somebody who is told what is written. */
export interface Watcher {
  /**
   * A row as it was read by the read of this number; `undefined` where there is none. It is told of by its key, and by what tells that
   * apart. It must not throw.
   */
  readonly changed: (id: Id, key: unknown, row: Row | undefined, read: number) => void
  /** Something may have been written that nobody has told of. */
  readonly lost: () => void
}

/** So many rows are read at once. */
const batch = 200

/** So many times somebody is told of something before others may go on. */
const patience = 1_000

/** How long it waits before it reads again where that has failed, in milliseconds. */
export const pause = 1_000

/** How long a read may take, in milliseconds. */
const readTimeout = 10_000

const feeds = new WeakMap<Rows, Feed>()

/** The feed of a repository of this name, `key` being the field that tells its rows apart. */
export const feedOf = (rows: Rows, name: string, key: string, context: Context.Context<never>): Feed => {
  let feed = feeds.get(rows)
  if (feed === undefined) feeds.set(rows, feed = new Feed(rows, name, key, context))
  return feed
}

/** The changes of a repository. */
export class Feed {
  readonly #rows: Rows
  readonly #what: string
  readonly #key: string
  readonly #context: Context.Context<never>
  readonly #watchers = new Set<Watcher>()
  /** The keys that are to be read, by what tells them apart. */
  #dirty = new Map<Id, unknown>()
  #scope: Scope.Closeable | undefined
  /** Whoever watches first has begun to hear before others watch. */
  readonly #beginning = Semaphore.makeUnsafe(1)
  /** The rows that do not fit their schema: that is said once. */
  readonly #misfits = new Set<Id>()
  #isReading = false
  #reads = 0

  constructor(rows: Rows, name: string, key: string, context: Context.Context<never>) {
    this.#rows = rows
    this.#what = `What is written to "${name}"`
    this.#key = key
    this.#context = context
  }

  /** How many reads have begun. */
  get reads(): number {
    return this.#reads
  }

  /** Tells a watcher what is written from now on, as long as the scope is open. */
  watch(watcher: Watcher): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      this.#beginning.withPermit(Effect.suspend(() => {
        this.#watchers.add(watcher)
        if (this.#scope !== undefined) return Effect.void
        const scope = this.#scope = Scope.makeUnsafe()
        return Effect.provideService(this.#rows.changes((change) => this.heard(change)), Scope.Scope, scope)
      })),
      () => {
        this.#watchers.delete(watcher)
        const scope = this.#scope
        if (this.#watchers.size > 0 || scope === undefined) return Effect.void
        this.#scope = undefined
        this.#dirty.clear()
        return Scope.close(scope, Exit.void)
      }
    )
  }

  /** Somebody has written. */
  heard(change: Change<unknown>): void {
    if (this.#watchers.size === 0) return
    if (change._tag === "Unknown") return this.#watchers.forEach((watcher) => watcher.lost())
    this.again(change.keys)
  }

  /** Has rows read once more. */
  again(keys: Iterable<unknown>): void {
    for (const key of keys) this.#dirty.set(idOf(key), key)
    if (this.#dirty.size === 0 || this.#isReading) return
    this.#isReading = true
    Effect.runForkWith(this.#context)(Effect.ensuring(
      this.#read,
      Effect.sync(() => {
        this.#isReading = false
        // What has been heard since it has looked the last time.
        this.again([])
      })
    ))
  }

  /** The rows with these keys. Where one of them does not fit its schema, that one is as if it were not there. */
  #rowsOf(taken: ReadonlyArray<readonly [id: Id, key: unknown]>): Effect.Effect<ReadonlyArray<Row>, unknown> {
    const value = taken.map(([, key]) => key)
    const filter = Filter.fromTree<Row>({ _tag: "Comparison", field: this.#key, operator: "in", value })
    const read: Effect.Effect<ReadonlyArray<Row>, unknown> = this.#rows.select({ filter, order: [] }).pipe(
      Effect.timeout(readTimeout)
    )
    return Effect.catchCause(read, (cause): Effect.Effect<ReadonlyArray<Row>, unknown> => {
      if (!Cause.hasDies(cause)) return Effect.failCause(cause)
      if (taken.length > 1) {
        return Effect.map(Effect.forEach(taken, (one) => this.#rowsOf([one])), (rows) => rows.flat())
      }
      const id = taken[0]![0]
      if (this.#misfits.has(id)) return Effect.succeed([])
      this.#misfits.add(id)
      return Effect.as(Effect.logError(`${this.#what}: a row cannot be read, and is left out`, cause), [])
    })
  }

  get #read(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      while (this.#dirty.size > 0) {
        const taken = Array.from(this.#dirty).slice(0, batch)
        for (const [id] of taken) this.#dirty.delete(id)
        const number = ++this.#reads
        const exit = yield* Effect.exit(this.#rowsOf(taken))
        if (exit._tag === "Failure") {
          yield* Effect.logWarning(`${this.#what} could not be read, and will be tried again`, exit.cause)
          for (const [id, key] of taken) this.#dirty.set(id, key)
          yield* Effect.sleep(pause)
          continue
        }
        const found = new Map(exit.value.map((row) => [idOf(row[this.#key]), row]))
        let told = 0
        for (const [id, key] of taken) {
          const row = found.get(id)
          for (const watcher of this.#watchers) watcher.changed(id, key, row, number)
          told += this.#watchers.size
          if (told < patience) continue
          told = 0
          yield* Effect.yieldNow
        }
      }
    })
  }
}
