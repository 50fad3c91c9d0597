/**
 * Live queries: the objects of a resource that a client has asked for and may see, and then what becomes of them.
 *
 * Between the two nothing is missed: what is written while the objects are read is read again afterwards. What the client is to be
 * told of an object is found out right before it is told, by the row as it was read last, by the permissions as they are then, and
 * by what the client has been told of it: a client that reads slowly is told less often, and is never told of a state that is older
 * than one that it knows.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ChannelError from "../ChannelError.ts"
import * as Filter from "../Filter.ts"
import type { Request } from "../Handlers.ts"
import type { Order, Repository } from "../Repository.ts"
import { contextOf } from "./exchange.ts"
import type { Feed, Watcher } from "./feed.ts"
import { identify } from "./filter.ts"
import type { Standing } from "./standing.ts"
import { Encoded, type Inside, insideOf } from "./streaming.ts"
import * as visible from "./visible.ts"

type Row = Readonly<Record<string, unknown>>
type Rows = Repository<Row, unknown, Row>
type Work<A> = Effect.Effect<A, unknown, unknown>

/** An object as a client is told of it. */
export interface Told {
  /** Its key, as JSON. */
  readonly key: string
  readonly json: string
}

/** A live query. */
export interface Query {
  readonly request: Request
  readonly feed: Feed
  readonly rows: Rows
  /** The field that tells rows apart. */
  readonly key: string
  readonly filter: Filter.Filter<Row>
  readonly order: ReadonlyArray<Order>
  /** Which rows there are for the request. */
  readonly scope: Work<Filter.Filter<Row> | undefined>
  readonly visible: visible.Visible
  readonly render: (row: Row) => Work<Told>
  /** So many objects at the most. */
  readonly max: number
}

/** The live queries of a connection. */
const queries = new WeakMap<Standing, Set<Live>>()

/** Opens a live query: it begins with a snapshot, and ends when it is closed. */
export const open = (query: Query): Stream.Stream<Encoded, unknown, unknown> =>
  Stream.unwrap(Effect.gen(function*() {
    const live = new Live(query)
    yield* live.begin
    return Stream.fromIterableEffectRepeat(live.take)
  }))

/** Ends the live queries of a route of a connection, or the one of this id among them; tells whether there was one. */
export const close = (request: Request, id: string | number | undefined): boolean => {
  const found = Array.from(queries.get(contextOf(request).standing) ?? []).filter((live) => live.is(request.route, id))
  for (const live of found) live.end()
  return found.length > 0
}

class Live implements Watcher {
  readonly #query: Query
  readonly #inside: Inside
  /** What the client has been told last of each object that it has. */
  #sent: Map<string | null, Told> | undefined
  /** What has been read of rows since, by what tells them apart. */
  #pending = new Map<string | null, Read>()
  readonly #undo = new WeakMap<Encoded, Undo>()
  #matches: (row: Row) => boolean = () => false
  #sees: (row: Row) => Work<boolean> = () => Effect.succeed(false)
  /** Whether all of it is to be read. */
  #isStale = true
  #isReading = false
  #isEnded = false
  /** What was read before the objects were is too old. */
  #since = 0
  #wake: (() => void) | undefined

  constructor(query: Query) {
    this.#query = query
    this.#inside = insideOf(query.request)
  }

  is(route: string, id: string | number | undefined): boolean {
    const { request } = this.#query
    return request.route === route && (id === undefined || request.requestId === id)
  }

  get begin(): Effect.Effect<void, never, Scope.Scope> {
    const { standing } = this.#inside
    // What was found out by what no longer counts has not been told, and is found out anew.
    this.#inside.recheck = (item) => {
      const undo = this.#undo.get(item as Encoded)
      if (undo === undefined || undo.epoch === standing.epoch) return true
      undo.run()
      this.#isStale = true
      return false
    }
    return Effect.andThen(
      this.#query.feed.watch(this),
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => {
          const own = queries.get(standing) ?? new Set()
          queries.set(standing, own.add(this))
          return this.#inside.onAuthority(() => this.lost())
        }),
        (silence) =>
          Effect.sync(() => {
            silence()
            queries.get(standing)?.delete(this)
          })
      ))
    )
  }

  changed(key: unknown, row: Row | undefined, read: number): void {
    if (!this.#isReading && read <= this.#since) return this.#query.feed.again([key])
    this.#pending.set(identify([key]), { key, row })
    // So many rows are sooner read at once.
    if (this.#pending.size > this.#query.max) {
      this.#pending.clear()
      this.#isStale = true
    }
    this.#wake?.()
  }

  lost(): void {
    this.#isStale = true
    this.#wake?.()
  }

  end(): void {
    this.#isEnded = true
    this.#wake?.()
  }

  /** What the client is to be told next. */
  get take(): Effect.Effect<ReadonlyArray<Encoded>, unknown, unknown> {
    const { standing } = this.#inside
    return Effect.gen({ self: this }, function*() {
      while (!this.#isEnded) {
        // By who is behind the connection now: this fiber may have begun when it was somebody else.
        const items = yield* Effect.provideContext(this.#isStale ? this.#snapshot : this.#changes, standing.context)
        if (items.length > 0) return items
        if (!this.#isStale && this.#pending.size === 0) yield* this.#news
      }
      return yield* Cause.done()
    })
  }

  get #news(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      this.#wake = () => {
        this.#wake = undefined
        resume(Effect.void)
      }
      if (this.#isStale || this.#isEnded || this.#pending.size > 0) this.#wake()
    })
  }

  /** Reads all of it. The first time it is told as a whole, afterwards what is different. */
  get #snapshot(): Work<ReadonlyArray<Encoded>> {
    const { feed, filter, key, max, order, render, request, rows, scope, visible: seen } = this.#query
    return Effect.gen({ self: this }, function*() {
      const { epoch } = this.#inside.standing
      this.#isStale = false
      this.#isReading = true
      this.#pending.clear()
      this.#sees = seen.sees(request, yield* visible.residualsOf(request, seen.guards))
      const source = yield* seen.source(request, rows)
      const scoped = yield* scope
      const asked = scoped === undefined ? filter : Filter.and(filter, scoped)
      this.#matches = Filter.matches(asked)
      const found = yield* source.rows.select({ filter: Filter.and(asked, source.filter), order, limit: max + 1 })
      if (found.length > max) return yield* tooMany(max)
      const missed = Array.from(this.#pending.values(), ({ key }) => key)
      this.#pending.clear()
      this.#isReading = false
      this.#since = feed.reads
      feed.again(missed)
      const before = this.#sent
      const sent = this.#sent = new Map<string | null, Told>()
      const told = yield* Effect.forEach(found, render)
      found.forEach((row, i) => sent.set(identify([row[key]]), told[i]!))
      if (before === undefined) {
        const item = new Encoded(`{"type":"snapshot","results":[${told.map(({ json }) => json).join(",")}]}`)
        this.#undo.set(item, { epoch, run: () => this.#sent = undefined })
        return [item]
      }
      const items: Array<Encoded> = []
      for (const [id, gone] of before) if (!sent.has(id)) items.push(this.#tell(epoch, id, gone, undefined))
      for (const [id, object] of sent) {
        const known = before.get(id)
        if (known?.json !== object.json) items.push(this.#tell(epoch, id, known, object))
      }
      return items
    })
  }

  /** What is different since. */
  get #changes(): Work<ReadonlyArray<Encoded>> {
    return Effect.gen({ self: this }, function*() {
      const { epoch } = this.#inside.standing
      const pending = this.#pending
      const sent = this.#sent!
      const items: Array<Encoded> = []
      this.#pending = new Map()
      for (const [id, { row }] of pending) {
        const known = sent.get(id)
        if (row !== undefined && this.#matches(row) && (yield* this.#sees(row))) {
          const object = yield* this.#query.render(row)
          if (known?.json === object.json) continue
          if (known === undefined && sent.size >= this.#query.max) return yield* tooMany(this.#query.max)
          sent.set(id, object)
          items.push(this.#tell(epoch, id, known, object))
        } else if (known !== undefined) {
          sent.delete(id)
          items.push(this.#tell(epoch, id, known, undefined))
        }
      }
      return items
    })
  }

  /** The item that tells what has become of an object. */
  #tell(epoch: number, id: string | null, before: Told | undefined, after: Told | undefined): Encoded {
    const item = new Encoded(
      after === undefined
        ? `{"type":"removed","key":${before!.key}}`
        : `{"type":"${before === undefined ? "added" : "updated"}","object":${after.json}}`
    )
    const run = () => before === undefined ? this.#sent?.delete(id) : this.#sent?.set(id, before)
    this.#undo.set(item, { epoch, run })
    return item
  }
}

/** How it is taken back that a client was told something, which it was not, found out in this state of its connection. */
interface Undo {
  readonly epoch: number
  readonly run: () => void
}

/** A row as it was read. */
interface Read {
  readonly key: unknown
  readonly row: Row | undefined
}

const tooMany = (max: number): Effect.Effect<never, ChannelError.InvalidPayload> =>
  Effect.fail(
    new ChannelError.InvalidPayload({
      problems: [{ detail: `A live query has at most ${max} objects: ask for fewer, by filters`, path: ["query"] }]
    })
  )
