/**
 * Pages: which rows are on the one that a client asks for, and by which routes it gets to those next to it.
 */
import * as Effect from "effect/Effect"
import * as ChannelError from "../ChannelError.ts"
import * as Filter from "../Filter.ts"
import type * as Pagination from "../Pagination.ts"
import type { Query } from "../Query.ts"
import { NotFound, type Repository } from "../Repository.ts"
import type { Settings } from "../Settings.ts"
import * as Cursor from "./cursor.ts"
import * as Keyset from "./keyset.ts"
import type { Row } from "./lookups.ts"

/** A page of rows. */
export type Page<R> =
  | {
    readonly count: number
    readonly next: string | null
    readonly previous: string | null
    readonly results: ReadonlyArray<R>
  }
  | { readonly next: string | null; readonly previous: string | null; readonly results: ReadonlyArray<R> }
  | ReadonlyArray<R>

/** A request for a page. */
export interface Request<R extends object> {
  readonly query: Query
  readonly route: string
  readonly source: Pick<Repository<R, never, never>, "select" | "count">
  /** The rows of all pages. */
  readonly filter: Filter.Filter<R>
  /** Their order, a total one. */
  readonly ranks: ReadonlyArray<Keyset.Rank>
  /** Seals the cursors of this list in this order. */
  readonly sealer: () => Cursor.Sealer
}

/** A pagination, compiled. */
export interface Paging {
  readonly parameters: ReadonlyArray<string>
  readonly page: <R extends object>(
    request: Request<R>
  ) => Effect.Effect<Page<R>, ChannelError.InvalidPayload | ChannelError.Unavailable | NotFound>
}

/** Compiles a pagination, or answers with what is wrong with the settings. */
export const make = (
  pagination: Pagination.Any,
  settings: Pick<Settings, "pageSize" | "maxPageSize" | "secret">
): Paging | ReadonlyArray<string> => {
  if (pagination._tag === "None") return { parameters: [], page: (request) => all(pagination.max, request) }
  const problems = problemsOf(pagination, settings)
  if (problems.length > 0) return problems
  const sizeOf = sizing(pagination, settings)
  const sizes = pagination.sizeParameter === undefined ? [] : [pagination.sizeParameter]
  switch (pagination._tag) {
    case "PageNumber":
      return {
        parameters: [pagination.pageParameter, ...sizes],
        page: (request) => numbered(pagination, sizeOf(request.query), request)
      }
    case "LimitOffset":
      return {
        parameters: [...sizes, pagination.offsetParameter],
        page: (request) => offset(pagination, sizeOf(request.query), request)
      }
    case "Cursor":
      return {
        parameters: [pagination.cursorParameter, ...sizes],
        page: (request) => keyset(pagination, sizeOf(request.query), request)
      }
  }
}

type Sized = Exclude<Pagination.Any, Pagination.None>

const problemsOf = (
  pagination: Sized,
  { maxPageSize, pageSize, secret }: Pick<Settings, "pageSize" | "maxPageSize" | "secret">
): ReadonlyArray<string> => {
  const problems: Array<string> = []
  for (const [name, size] of Object.entries({ pageSize, maxPageSize })) {
    if (!(Number.isSafeInteger(size) && size > 0)) {
      problems.push(`the setting ${name} is ${size}: it must be a whole number from 1`)
    }
  }
  if (pagination._tag === "Cursor" && secret !== undefined && Cursor.lengthOf(secret) < Cursor.minSecret) {
    problems.push(`the setting secret must have at least ${Cursor.minSecret} bytes`)
  }
  return problems
}

// ---- parameters

/** The value of a parameter, the last one where there are several. */
const last = (query: Query, name: string): string | undefined => {
  const value = query[name]
  return typeof value === "object" ? value.at(-1) : value
}

/** A whole number, not negative; one that is too great to be exact is the greatest that is. */
const whole = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d+$/.test(text) ? Math.min(Number(text), Number.MAX_SAFE_INTEGER) : undefined

/** How many rows a page has. */
const sizing = (
  { maxSize, size, sizeParameter }: Pagination.Sizes,
  { maxPageSize, pageSize }: Pick<Settings, "pageSize" | "maxPageSize">
): (query: Query) => number => {
  const max = Math.min(maxSize ?? maxPageSize, maxPageSize)
  const usual = Math.min(size ?? pageSize, max)
  if (sizeParameter === undefined) return () => usual
  return (query) => Math.min(whole(last(query, sizeParameter)) || usual, max)
}

/** What every runtime has, and the types of the language alone do not name. */
declare const URLSearchParams: {
  new(pairs: ReadonlyArray<readonly [string, string]>): { readonly sort: () => void; readonly toString: () => string }
}

/** The route of another page: the same parameters, but for these, of which `undefined` is left out. */
const link = (
  { query, route }: { readonly query: Query; readonly route: string },
  replaced: Readonly<Record<string, string | number | undefined>>
): string => {
  const pairs: Array<readonly [string, string]> = []
  for (const name of Object.keys(query)) {
    if (!Object.hasOwn(replaced, name)) { for (const value of [query[name]!].flat()) pairs.push([name, value]) }
  }
  for (const [name, value] of Object.entries(replaced)) if (value !== undefined) pairs.push([name, String(value)])
  const params = new URLSearchParams(pairs)
  params.sort()
  const text = params.toString()
  const [path] = route.split("?", 1)
  return text === "" ? path! : `${path}?${text}`
}

// ---- pages

const numbered = Effect.fnUntraced(function*<R extends object>(
  { pageParameter }: Pagination.PageNumber,
  size: number,
  request: Request<R>
) {
  const { filter, query, ranks, source } = request
  const text = last(query, pageParameter) || "1"
  const asked = text === "last" ? undefined : whole(text) ?? 0
  if (asked === 0) return yield* noSuchPage()
  const count = yield* source.count(filter)
  const pages = Math.max(1, Math.ceil(count / size))
  const page = asked ?? pages
  if (page > pages) return yield* noSuchPage()
  const results = count === 0
    ? []
    : yield* source.select({ filter, order: Keyset.orderOf(ranks), limit: size, offset: (page - 1) * size })
  const to = (page: number) => link(request, { [pageParameter]: page === 1 ? undefined : page })
  return { count, next: page < pages ? to(page + 1) : null, previous: page > 1 ? to(page - 1) : null, results }
})

const noSuchPage = () => new NotFound({ message: "Invalid page" })

const offset = Effect.fnUntraced(function*<R extends object>(
  { offsetParameter, sizeParameter }: Pagination.LimitOffset,
  limit: number,
  request: Request<R>
) {
  const { filter, query, ranks, source } = request
  const offset = whole(last(query, offsetParameter)) ?? 0
  const count = yield* source.count(filter)
  const results = offset >= count ? [] : yield* source.select({ filter, order: Keyset.orderOf(ranks), limit, offset })
  const to = (offset: number) =>
    link(request, { [sizeParameter]: limit, [offsetParameter]: offset > 0 ? offset : undefined })
  return {
    count,
    next: offset + limit < count ? to(offset + limit) : null,
    previous: offset > 0 ? to(offset - limit) : null,
    results
  }
})

const all = Effect.fnUntraced(function*<R extends object>(max: number, { filter, ranks, source }: Request<R>) {
  const results = yield* source.select({ filter, order: Keyset.orderOf(ranks), limit: max + 1 })
  if (results.length <= max) return results
  return yield* new ChannelError.InvalidPayload({
    problems: [{
      detail: `There are more than ${max}: ask for less of them, or the list has to come in pages`,
      path: ["query"]
    }]
  })
})

// ---- cursors

/**
 * Where a page by a cursor lies: from the beginning, after a row, before a row, or at the end. The end is where those go back
 * from who have gone on to where nothing is left.
 */
type Place =
  | { readonly _tag: "Beginning" | "End" }
  | { readonly _tag: "After" | "Before"; readonly position: Keyset.Position }

const keyset = Effect.fnUntraced(function*<R extends object>(
  { cursorParameter }: Pagination.Cursor,
  size: number,
  request: Request<R>
) {
  const { filter, query, ranks, source } = request
  const sealer = request.sealer()
  const cursor = last(query, cursorParameter) || undefined
  const place = cursor === undefined ? beginning : read(ranks, yield* sealer.open(cursor))
  if (place === undefined) {
    return yield* new ChannelError.InvalidPayload({
      problems: [{ detail: "Expected a cursor of this list in this order", path: ["query", cursorParameter] }]
    })
  }
  const isBackwards = place._tag === "Before" || place._tag === "End"
  const direction = isBackwards ? Keyset.reverse(ranks) : ranks
  // One more than the page has, to know whether there are any.
  const found = yield* source.select({
    filter: "position" in place
      ? Filter.and(filter, Keyset.after(direction, place.position) as Filter.Filter<object>)
      : filter,
    order: Keyset.orderOf(direction),
    limit: size + 1
  })
  const hasMore = found.length > size
  const page = found.slice(0, size)
  const results = isBackwards ? page.reverse() : page
  const to = (place: Place) =>
    Effect.map(sealer.seal(write(ranks, place)), (cursor) => link(request, { [cursorParameter]: cursor }))
  const at = (row: R) => Keyset.positionOf(ranks, row as Row)
  const first = results[0]
  const final = results.at(-1)
  if (first === undefined || final === undefined) {
    return {
      next: place._tag === "Before" ? link(request, { [cursorParameter]: undefined }) : null,
      previous: place._tag === "After" ? yield* to({ _tag: "End" }) : null,
      results
    }
  }
  const hasNext = isBackwards ? place._tag === "Before" : hasMore
  const hasPrevious = isBackwards ? hasMore : place._tag === "After"
  return {
    next: hasNext ? yield* to({ _tag: "After", position: at(final) }) : null,
    previous: hasPrevious ? yield* to({ _tag: "Before", position: at(first) }) : null,
    results
  }
})

const beginning: Place = { _tag: "Beginning" }

/** A place as text. Values stand in it as JSON. */
const write = (ranks: ReadonlyArray<Keyset.Rank>, place: Place): string =>
  JSON.stringify(
    "position" in place
      ? [
        place._tag === "After" ? ">" : "<",
        ...place.position.map((value, i) => value === null ? null : ranks[i]!.field.toJson(value))
      ]
      : ["$"]
  )

const read = (ranks: ReadonlyArray<Keyset.Rank>, content: string | undefined): Place | undefined => {
  if (content === undefined) return undefined
  // It was sealed here: it is JSON.
  const [mark, ...values] = JSON.parse(content) as ReadonlyArray<unknown>
  if (mark === "$") return { _tag: "End" }
  // The rows may have been declared otherwise when it was sealed.
  if (values.length !== ranks.length) return undefined
  const position = values.map((value, i) => {
    const { field } = ranks[i]!
    return value === null && field.isNullable ? null : field.fromJson(value)
  })
  return position.includes(undefined)
    ? undefined
    : { _tag: mark === ">" ? "After" : "Before", position: position as Keyset.Position }
}
