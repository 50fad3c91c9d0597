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
import { type Eager, effectOf } from "./eager.ts"
import { contextOf } from "./exchange.ts"
import { type Feed, type Id, idOf, pause, type Watcher } from "./feed.ts"
import type { Standing } from "./standing.ts"
import { Encoded, type Inside, insideOf } from "./streaming.ts"
import * as visible from "./visible.ts"

type Row = Readonly<Record<string, unknown>>
type Rows = Repository<Row, unknown, Row>
type Work<A> = Effect.Effect<A, unknown, unknown>

/** An object as a client is told of it. */
export interface Told {
  readonly json: string
  readonly known: Known
}

/** What is kept of an object that a client has been told of. */
export interface Known {
  /** Its key, as JSON. */
  readonly key: string
  /** What tells what it has been told apart from everything else. */
  readonly mark: number
}

/** Tells one text apart from another one: 53 bits of it. */
export const markOf = (text: string): number => {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    a = Math.imul(a ^ code, 2654435761)
    b = Math.imul(b ^ code, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909)
  return 4294967296 * (2097151 & b) + (a >>> 0)
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
  readonly render: (row: Row) => Eager<Told, unknown>
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
  #sent: Map<Id, Known> | undefined
  /** What has been read of rows since, by what tells them apart. */
  #pending = new Map<Id, Read>()
  readonly #undo = new WeakMap<Encoded, Undo>()
  #matches: (row: Row) => boolean = () => false
  #sees: (row: Row) => Eager<boolean, unknown> = () => false
  /** Whether all of it is to be read. */
  #isStale = true
  #isReading = false
  #isEnded = false
  /** By which state of its connection it is known what the client may see. */
  #decidedIn = -1
  /** Whether a check has taken its time. */
  #isSlow = false
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

  changed(id: Id, key: unknown, row: Row | undefined, read: number): void {
    if (!this.#isReading && read <= this.#since) return this.#query.feed.again([key])
    if (this.#isAtRest && this.#toldAtOnce(id, row)) return
    this.#pending.set(id, { key, row })
    // So many rows are sooner read at once.
    if (this.#pending.size > this.#query.max) {
      this.#pending.clear()
      this.#isStale = true
    }
    this.#wake?.()
  }

  /** Whether it is known what the client may see, as the facts are now. */
  get #isDecided(): boolean {
    return this.#decidedIn === this.#inside.standing.epoch
  }

  /** Whether it waits for nothing but news: the client has been told of everything else. */
  get #isAtRest(): boolean {
    return this.#wake !== undefined && this.#isDecided && !this.#isStale && !this.#isEnded && !this.#isSlow &&
      this.#pending.size === 0
  }

  /**
   * Tells the client what has become of an object, where all of that is found out at once, and nothing is in its way; mostly that is
   * so. Whether it did: whatever is left to do, or fails, is done as if it had not been tried.
   */
  #toldAtOnce(id: Id, row: Row | undefined): boolean {
    try {
      const sent = this.#sent!
      const known = sent.get(id)
      if (row === undefined || !this.#matches(row) || !this.#now(this.#sees(row))) {
        if (known === undefined) return true
        if (!this.#inside.offer(change(known, undefined))) return false
        sent.delete(id)
        return true
      }
      const object = this.#now(this.#query.render(row))
      if (known?.mark === object.known.mark) return true
      if (known === undefined && sent.size >= this.#query.max) return false
      if (!this.#inside.offer(change(known, object))) return false
      sent.set(id, object.known)
      return true
    } catch {
      return false
    }
  }

  /** What is there at once; throws where it is not. A check that takes its time is not asked for nothing again. */
  #now<A>(self: Eager<A, unknown>): A {
    if (!Effect.isEffect(self)) return self
    const fiber = Effect.runForkWith(this.#inside.standing.context)(self as Effect.Effect<A, unknown>)
    const exit = fiber.pollUnsafe()
    if (exit?._tag === "Success") return exit.value
    if (exit === undefined) {
      this.#isSlow = true
      fiber.interruptUnsafe()
    }
    throw new Error("It is not there at once")
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
        const isWhole = this.#isStale || !this.#isDecided
        const items = yield* Effect.provideContext(isWhole ? this.#whole : this.#changes, standing.context)
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

  /** Reads all of it, in time; again where it was away, but for the first time. */
  get #whole(): Work<ReadonlyArray<Encoded>> {
    const { timeout } = this.#inside.endpoint
    const message = "The objects could not be read in time"
    const snapshot = timeout === Infinity ? this.#snapshot : Effect.timeoutOrElse(this.#snapshot, {
      duration: timeout,
      orElse: () => Effect.fail(new ChannelError.Unavailable({ message }))
    })
    return Effect.catch(snapshot, (error): Work<ReadonlyArray<Encoded>> => {
      if (this.#sent === undefined || !(error instanceof ChannelError.Unavailable)) return Effect.fail(error)
      this.#isStale = true
      return Effect.as(Effect.sleep(pause), [])
    })
  }

  /** Reads all of it. The first time it is told as a whole, afterwards what is different. */
  get #snapshot(): Work<ReadonlyArray<Encoded>> {
    const { feed, filter, key, max, order, render, request, rows, scope, visible: seen } = this.#query
    return Effect.gen({ self: this }, function*() {
      const { epoch } = this.#inside.standing
      this.#decidedIn = epoch
      this.#isStale = false
      this.#isReading = true
      this.#pending.clear()
      this.#sees = seen.sees(request, yield* visible.residualsOf(request, seen.guards))
      const source = yield* seen.source(request, rows)
      const scoped = yield* scope
      const asked = scoped === undefined ? filter : Filter.and(filter, scoped)
      this.#matches = testOf(asked)
      const found = yield* source.rows.select({ filter: Filter.and(asked, source.filter), order, limit: max + 1 })
      if (found.length > max) return yield* visible.tooMany(max, what)
      const missed = Array.from(this.#pending.values(), ({ key }) => key)
      this.#pending.clear()
      this.#isReading = false
      this.#since = feed.reads
      feed.again(missed)
      const before = this.#sent
      const sent = new Map<Id, Known>()
      const told: Array<Told> = []
      for (const row of found) {
        const rendered = render(row)
        const object = Effect.isEffect(rendered) ? yield* rendered : rendered
        told.push(object)
        sent.set(idOf(row[key]), object.known)
      }
      this.#sent = sent
      if (before === undefined) {
        const item = new Encoded(`{"type":"snapshot","results":[${told.map(({ json }) => json).join(",")}]}`)
        this.#undo.set(item, { epoch, run: () => this.#sent = undefined })
        return [item]
      }
      const items: Array<Encoded> = []
      for (const [id, gone] of before) if (!sent.has(id)) items.push(this.#tell(epoch, id, gone, undefined))
      for (const [i, row] of found.entries()) {
        const id = idOf(row[key])
        const known = before.get(id)
        if (known?.mark !== told[i]!.known.mark) items.push(this.#tell(epoch, id, known, told[i]))
      }
      return items
    })
  }

  /** What is different since. */
  get #changes(): Work<ReadonlyArray<Encoded>> {
    return Effect.gen({ self: this }, function*() {
      const epoch = this.#decidedIn
      const pending = this.#pending
      const sent = this.#sent!
      const items: Array<Encoded> = []
      this.#pending = new Map()
      for (const [id, { row }] of pending) {
        const known = sent.get(id)
        if (row !== undefined && this.#matches(row) && (yield* effectOf(this.#sees(row)))) {
          const object = yield* effectOf(this.#query.render(row))
          if (known?.mark === object.known.mark) continue
          sent.set(id, object.known)
          items.push(this.#tell(epoch, id, known, object))
        } else if (known !== undefined) {
          sent.delete(id)
          items.push(this.#tell(epoch, id, known, undefined))
        }
      }
      if (sent.size <= this.#query.max) return items
      // There may be fewer again already: that is found out by reading all of it.
      for (const item of items.toReversed()) this.#undo.get(item)!.run()
      this.#isStale = true
      return []
    })
  }

  /** The item that tells what has become of an object. */
  #tell(epoch: number, id: Id, before: Known | undefined, after: Told | undefined): Encoded {
    const item = new Encoded(change(before, after))
    const run = () => before === undefined ? this.#sent?.delete(id) : this.#sent?.set(id, before)
    this.#undo.set(item, { epoch, run })
    return item
  }
}

/** What is said of an object that has become another one; there was none before, or there is none after. */
const change = (before: Known | undefined, after: Told | undefined): string =>
  after === undefined
    ? `{"type":"removed","key":${before!.key}}`
    : `{"type":"${before === undefined ? "added" : "updated"}","object":${after.json}}`

/** How it is taken back that a client was told something, which it was not, found out in this state of its connection. */
interface Undo {
  readonly epoch: number
  readonly run: () => void
}

/** What filters say of a row: whoever asks for the same shares it. */
const tests = new WeakMap<Filter.Filter<Row>, (row: Row) => boolean>()

const testOf = (filter: Filter.Filter<Row>): (row: Row) => boolean => {
  let test = tests.get(filter)
  if (test === undefined) tests.set(filter, test = Filter.matches(filter))
  return test
}

/** A row as it was read. */
interface Read {
  readonly key: unknown
  readonly row: Row | undefined
}

const what = "A live query"
