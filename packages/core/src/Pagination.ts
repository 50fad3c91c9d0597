/**
 * How a list comes in pages: which parameters a client asks for one with, in the query string of the route, and what it gets.
 *
 * | pagination | a client asks with | and gets | its pages |
 * | --- | --- | --- | --- |
 * | {@link pageNumber} | `?page=2`, `?page=last` | {@link Page} | are counted, and move when rows come and go |
 * | {@link limitOffset} | `?limit=10&offset=20` | {@link Page} | likewise |
 * | {@link cursor} | `?cursor=...`, out of the page before | {@link CursorPage} | neither repeat nor leave out a row that stays |
 * | {@link none} | nothing | an array | is one |
 *
 * `next` and `previous` are routes, to be asked for as they are: the route of the request with the page's parameters
 * replaced, and all others as they were. They are null at the ends.
 *
 * The two first are those of Django REST framework, and count all rows for each page. A cursor costs the same on every page:
 * for what is long, or changes while it is read.
 *
 * @since 0.1.0
 */
import type { Inspectable } from "effect/Inspectable"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Value from "./internal/value.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Pagination"

/**
 * What all paginations have.
 *
 * @category models
 * @since 0.1.0
 */
export interface Proto extends Pipeable, Inspectable {
  readonly [TypeId]: typeof TypeId
}

/**
 * How many items a page has.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sizes {
  /** Items of a page, where the client asks for no other number; `Settings.pageSize` where it is `undefined`. */
  readonly size: number | undefined
  /** The parameter by which the client asks for another number; it cannot where it is `undefined`. */
  readonly sizeParameter: string | undefined
  /** Items of a page at the most; `Settings.maxPageSize` where it is `undefined`, and never more than that. */
  readonly maxSize: number | undefined
}

/**
 * Pages by their number, see {@link pageNumber}.
 *
 * @category models
 * @since 0.1.0
 */
export interface PageNumber extends Proto, Sizes {
  readonly _tag: "PageNumber"
  readonly pageParameter: string
}

/**
 * So many rows from one on, see {@link limitOffset}.
 *
 * @category models
 * @since 0.1.0
 */
export interface LimitOffset extends Proto, Sizes {
  readonly _tag: "LimitOffset"
  readonly sizeParameter: string
  readonly offsetParameter: string
}

/**
 * What comes after a row, or before it, see {@link cursor}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cursor extends Proto, Sizes {
  readonly _tag: "Cursor"
  readonly cursorParameter: string
}

/**
 * All at once, see {@link none}.
 *
 * @category models
 * @since 0.1.0
 */
export interface None extends Proto {
  readonly _tag: "None"
  readonly max: number
}

/**
 * Any pagination.
 *
 * @category models
 * @since 0.1.0
 */
export type Any = PageNumber | LimitOffset | Cursor | None

const proto = Value.prototype<Any>(TypeId, ({ _tag, ...options }) => ({ _id: "Pagination", _tag, ...options }))

/**
 * Whether a value is a pagination.
 *
 * @category guards
 * @since 0.1.0
 */
export const isPagination = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * Pages by their number: `?page=2`, or `?page=last`; the first one where the client says nothing.
 *
 * - `size`: items of a page. Default `Settings.pageSize`.
 * - `sizeParameter`: a parameter by which the client may ask for another number of them, `page_size` say. A number that is
 *   none, or 0, is as if it had not been sent; one that is too great is `maxSize`. By default it cannot.
 * - `maxSize`: how many it may ask for. Default `Settings.maxPageSize`, which is never exceeded.
 * - `pageParameter`: default `page`.
 *
 * A page that is not there is status 404; the first page of nothing is there, and empty.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pageNumber = (options?: {
  readonly size?: number | undefined
  readonly sizeParameter?: string | undefined
  readonly maxSize?: number | undefined
  readonly pageParameter?: string | undefined
}): PageNumber => {
  const pageParameter = options?.pageParameter ?? "page"
  return make({ _tag: "PageNumber", ...sizes(options, pageParameter), pageParameter })
}

/**
 * So many rows, from one on: `?limit=10&offset=20`.
 *
 * - `limit`: rows where the client asks for no number. Default `Settings.pageSize`.
 * - `maxLimit`: how many it may ask for. Default `Settings.maxPageSize`, which is never exceeded.
 * - `limitParameter`, `offsetParameter`: default `limit` and `offset`.
 *
 * Parameters that are no numbers are as if they had not been sent. An offset beyond the last row leads to an empty page.
 *
 * @category constructors
 * @since 0.1.0
 */
export const limitOffset = (options?: {
  readonly limit?: number | undefined
  readonly maxLimit?: number | undefined
  readonly limitParameter?: string | undefined
  readonly offsetParameter?: string | undefined
}): LimitOffset => {
  const sizeParameter = options?.limitParameter ?? "limit"
  const offsetParameter = options?.offsetParameter ?? "offset"
  const sized = sizes({ size: options?.limit, maxSize: options?.maxLimit, sizeParameter }, offsetParameter)
  return make({ _tag: "LimitOffset", ...sized, sizeParameter, offsetParameter })
}

/**
 * What comes after a row, or before it: `?cursor=...`, which a client takes out of `next` and `previous`, and cannot make
 * itself. Rows that are written or deleted in the meantime move nothing: who goes on to the end has seen every row that was
 * there all the time, once.
 *
 * - `size`, `sizeParameter`, `maxSize`: as for {@link pageNumber}.
 * - `cursorParameter`: default `cursor`.
 *
 * A cursor holds the values by which its row is in order, and its key. It is signed, with `Settings.secret`, but anybody can
 * read it: do not order by what a client must not know. One that is not from this list in this order is status 400.
 *
 * Order by what does not change: a row that moves may be seen twice, or not at all.
 *
 * **Example** (The newest first, with cursors that hold on every server)
 *
 * ```ts
 * import { Pagination, Repository, Resource, Settings } from "@effect-channels/core"
 * import * as Config from "effect/Config"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Schema from "effect/Schema"
 *
 * class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, text: Schema.String, madeAt: Schema.Date }) {}
 * class Notes extends Repository.Service<Notes>()("app/Notes", { schema: Note, key: "id" }) {}
 *
 * const NoteResource = Resource.make("notes", {
 *   repository: Notes,
 *   pagination: Pagination.cursor({ size: 50 }),
 *   order: ["-madeAt"]
 * })
 *
 * const SettingsLive = Layer.unwrap(
 *   Effect.map(Config.Redacted("CURSOR_SECRET"), (secret) => Settings.layer({ secret }))
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const cursor = (options?: {
  readonly size?: number | undefined
  readonly sizeParameter?: string | undefined
  readonly maxSize?: number | undefined
  readonly cursorParameter?: string | undefined
}): Cursor => {
  const cursorParameter = options?.cursorParameter ?? "cursor"
  return make({ _tag: "Cursor", ...sizes(options, cursorParameter), cursorParameter })
}

/**
 * All at once, an array of rows. There must not be more of them than `max`, 1000 by default: then it is status 400, and
 * nothing is sent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none = (options?: { readonly max?: number | undefined }): None =>
  make({ _tag: "None", max: count("max", options?.max) ?? 1000 })

const make = <P extends Any>(fields: Omit<P, keyof Proto>): P => Value.make(proto, fields)

const count = <N extends number | undefined>(name: string, value: N): N => {
  if (value === undefined || (Number.isSafeInteger(value) && value > 0)) return value
  throw new TypeError(`Pagination: ${name} must be a whole number from 1, not ${value}`)
}

/** Sizes that can be, and parameters that can be told apart. */
const sizes = (options: Partial<Sizes> | undefined, other: string): Sizes => {
  const { maxSize, size, sizeParameter } = options ?? {}
  if (size !== undefined && maxSize !== undefined && size > maxSize) {
    throw new TypeError(`Pagination: a page of ${size} has more than ${maxSize} items`)
  }
  if (other === "" || sizeParameter === "") throw new TypeError("Pagination: a parameter must have a name")
  if (sizeParameter === other) throw new TypeError(`Pagination: two parameters are named ${JSON.stringify(other)}`)
  return { size: count("the size of a page", size), sizeParameter, maxSize: count("the size of a page", maxSize) }
}

/**
 * The schema of a page that was counted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page<S extends Schema.Constraint> extends
  Schema.Struct<{
    /** How many items there are on all pages. */
    readonly count: Schema.Int
    /** The route of the next page, null on the last one. */
    readonly next: Schema.NullOr<Schema.String>
    /** The route of the page before, null on the first one. */
    readonly previous: Schema.NullOr<Schema.String>
    readonly results: Schema.$Array<S>
  }>
{}

/**
 * The schema of a page by a cursor.
 *
 * @category models
 * @since 0.1.0
 */
export interface CursorPage<S extends Schema.Constraint> extends
  Schema.Struct<{
    /** The route of the next page, null on the last one. */
    readonly next: Schema.NullOr<Schema.String>
    /** The route of the page before, null on the first one. */
    readonly previous: Schema.NullOr<Schema.String>
    readonly results: Schema.$Array<S>
  }>
{}

/**
 * The schema of what a client gets, by the pagination and the schema of an item.
 *
 * @category models
 * @since 0.1.0
 */
export type EnvelopeOf<P extends Any, S extends Schema.Constraint> = P extends None ? Schema.$Array<S>
  : P extends Cursor ? CursorPage<S>
  : Page<S>

/**
 * Makes the schema of what a client gets, of the schema of an item.
 *
 * **Example** (The pages of a list)
 *
 * ```ts
 * import { Action, Pagination } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * const Note = Schema.Struct({ id: Schema.Int, text: Schema.String })
 * const pagination = Pagination.pageNumber({ size: 10, sizeParameter: "page_size", maxSize: 50 })
 *
 * const list = Action.make("list", { success: Pagination.envelope(pagination, Note) })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const envelope = <P extends Any, S extends Schema.Constraint>(pagination: P, item: S): EnvelopeOf<P, S> => {
  const results = Schema.Array(item)
  switch (pagination._tag) {
    case "None":
      return results as EnvelopeOf<P, S>
    case "Cursor":
      return Schema.Struct({ ...links, results }) as Schema.Constraint as EnvelopeOf<P, S>
    default:
      return Schema.Struct({ count: Schema.Int, ...links, results }) as Schema.Constraint as EnvelopeOf<P, S>
  }
}

const links = { next: Schema.NullOr(Schema.String), previous: Schema.NullOr(Schema.String) }
