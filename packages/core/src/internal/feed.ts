/**
 * What is written to a repository, for the live queries of this process: each change is read once, whoever watches it.
 *
 * Whatever tells of a change says no more than a key. The row is read then, so that nobody is told of a state that is older than
 * one they have been told of: reads come one after the other, and each has a number.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Filter from "../Filter.ts"
import type { Change, Repository } from "../Repository.ts"
import { identify } from "./filter.ts"

type Row = Readonly<Record<string, unknown>>
type Rows = Repository<Row, unknown, Row>

/** Somebody who is told what is written. */
export interface Watcher {
  /** A row as it was read by the read of this number; `undefined` where there is none. */
  readonly changed: (key: unknown, row: Row | undefined, read: number) => void
  /** Something may have been written that nobody has told of. */
  readonly lost: () => void
}

/** So many rows are read at once. */
const batch = 200

/** How long it waits before it reads again where that has failed, in milliseconds. */
const pause = 1_000

const feeds = new WeakMap<Rows, Feed>()

/** The feed of a repository, `key` being the field that tells its rows apart. */
export const feedOf = (rows: Rows, key: string, context: Context.Context<never>): Feed => {
  let feed = feeds.get(rows)
  if (feed === undefined) feeds.set(rows, feed = new Feed(rows, key, context))
  return feed
}

/** The changes of a repository. */
export class Feed {
  readonly #rows: Rows
  readonly #key: string
  readonly #context: Context.Context<never>
  readonly #watchers = new Set<Watcher>()
  /** The keys that are to be read, by what tells them apart. */
  #dirty = new Map<string | null, unknown>()
  #scope: Scope.Closeable | undefined
  #isReading = false
  #reads = 0

  constructor(rows: Rows, key: string, context: Context.Context<never>) {
    this.#rows = rows
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
      Effect.suspend(() => {
        this.#watchers.add(watcher)
        if (this.#scope !== undefined) return Effect.void
        const scope = this.#scope = Scope.makeUnsafe()
        return Effect.provideService(this.#rows.changes((change) => this.heard(change)), Scope.Scope, scope)
      }),
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
    for (const key of keys) this.#dirty.set(identify([key]), key)
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

  get #read(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      while (this.#dirty.size > 0) {
        const taken = Array.from(this.#dirty).slice(0, batch)
        for (const [id] of taken) this.#dirty.delete(id)
        const number = ++this.#reads
        const keys = taken.map(([, key]) => key)
        const filter = Filter.fromTree<Row>({ _tag: "Comparison", field: this.#key, operator: "in", value: keys })
        const exit = yield* Effect.exit(this.#rows.select({ filter, order: [] }))
        if (exit._tag === "Failure") {
          yield* Effect.logWarning("The changes of a repository could not be read: this is tried again", exit.cause)
          for (const [id, key] of taken) this.#dirty.set(id, key)
          yield* Effect.sleep(pause)
          continue
        }
        const found = new Map(exit.value.map((row) => [identify([row[this.#key]]), row]))
        for (const [id, key] of taken) {
          for (const watcher of this.#watchers) watcher.changed(key, found.get(id), number)
        }
      }
    })
  }
}
