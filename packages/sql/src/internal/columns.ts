/**
 * The columns of a table: how values get in and out of them, and how they are compared. A dialect makes them.
 */
import type { Field } from "./fields.ts"

/** What a driver takes. */
export type Parameter = string | number | bigint | Uint8Array | null

/**
 * Where a value stands among those that a column can have: at the parameter (`isExact`), between that and what comes before it, or
 * before or after all of them; `never` is not comparable with any.
 */
export type Place =
  | { readonly parameter: Parameter; readonly isExact: boolean; readonly side?: Side | undefined }
  | "before"
  | "after"
  | "never"

/** What is compared, and as what the parameter that it is compared with is taken. */
export interface Side {
  readonly left: string
  readonly cast: string
}

export interface Column {
  readonly field: Field
  readonly name: string
  /** The name as an identifier. */
  readonly sql: string
  /** What a row is read by. */
  readonly read: string
  /** What rows are in order by. */
  readonly order: string
  readonly isNullable: boolean
  /** For `eq` and `in`. */
  readonly equal: Side
  /** For `lt` and the like; `undefined` where there is no order. */
  readonly ordered: Side | undefined
  /** What text is looked for in; `undefined` where there is no text. */
  readonly text: Side | undefined
  /** Where a bare value stands. */
  readonly place: (bare: {}) => Place
  /**
   * The parameter that comes right after all values that are read as this one, where the column is more precise than what is read
   * of it.
   */
  readonly next?: ((bare: {}) => Parameter) | undefined
  /** What a bare value is stored as; `undefined` where the column cannot hold it. */
  readonly encode: (bare: {}) => Parameter | undefined
  /** The bare value that is stored; `undefined` where that is none. */
  readonly decode: (stored: unknown) => {} | undefined
}

/** How one database writes things down. */
export interface Dialect {
  readonly placeholder: (n: number) => string
  /** Whether text can have the character U+0000 in it. */
  readonly hasNul: boolean
  /** Where a text begins in another one, 0 where it does not. */
  readonly position: (text: string, part: string) => string
  /** One of many parameters. */
  readonly isOneOf: (query: Query, side: Side, parameters: ReadonlyArray<Parameter>, isNegated: boolean) => string
  /** What is said of the order of a column that may be null. */
  readonly ascending: string
  readonly descending: string
  /** Locks the rows that are read. */
  readonly lock: string
  /** What takes the place of a limit where there is none, but an offset. */
  readonly noLimit: string
  /**
   * A whole number of a page. PostgreSQL plans a statement anew for each one that stands in its text, SQLite for each that is a
   * parameter.
   */
  readonly number: (query: Query, value: number) => string
}

/** The parameters of a statement while it is written. */
export class Query {
  readonly parameters: Array<Parameter> = []
  readonly #placeholder: Dialect["placeholder"]

  constructor({ placeholder }: Dialect) {
    this.#placeholder = placeholder
  }

  add(parameter: Parameter): string {
    this.parameters.push(parameter)
    return this.#placeholder(this.parameters.length)
  }
}

export const identifier = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`

/** A name of a table in parts: `schema.table`, or `table`. */
export const partsOf = (table: string): { readonly schema: string | undefined; readonly name: string } => {
  const dot = table.indexOf(".")
  return dot < 0 ? { schema: undefined, name: table } : { schema: table.slice(0, dot), name: table.slice(dot + 1) }
}

export const quoted = (table: string): string => {
  const { name, schema } = partsOf(table)
  return schema === undefined ? identifier(name) : `${identifier(schema)}.${identifier(name)}`
}

// ---- values of several dialects

/** JSON that is the same for what is equal: the keys of objects are in their order. */
export const canonicalJson = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part !== "object" || part === null || Array.isArray(part)
      ? part
      : Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1)))

/** A half of a pair of UTF-16 alone, which is no character and never stored. */
const half = /\p{Surrogate}/u

export const isStorable = (text: string, hasNul: boolean): boolean =>
  !half.test(text) && (hasNul || !text.includes("\0"))

export const placeOfText = (text: {}, hasNul: boolean): Place => {
  if (typeof text !== "string") return "never"
  return isStorable(text, hasNul)
    ? { parameter: text, isExact: true }
    : { parameter: afterUnstorable(text, hasNul), isExact: false }
}

/** The first text that can be stored after one that cannot. */
const afterUnstorable = (text: string, hasNul: boolean): string => {
  const at = Math.min(...[text.search(half), hasNul ? -1 : text.indexOf("\0")].filter((index) => index >= 0))
  return text.slice(0, at) + (text[at] === "\0" ? "\u0001" : "\uE000")
}

/** The first text after all those that begin with this one; `undefined` where there is none. */
export const afterPrefix = (prefix: string): string | undefined => {
  let end = prefix.length
  while (end > 0) {
    const start = end > 1 && prefix.codePointAt(end - 2)! > 0xffff ? end - 2 : end - 1
    const last = prefix.codePointAt(start)!
    if (last < 0x10ffff) return prefix.slice(0, start) + String.fromCodePoint(last === 0xd7ff ? 0xe000 : last + 1)
    end = start
  }
  return undefined
}

export const placeOfBigint = (value: {}, minimum: bigint, maximum: bigint): Place => {
  if (typeof value !== "bigint") return "never"
  return value < minimum ? "before" : value > maximum ? "after" : { parameter: value, isExact: true }
}

export const minInt64 = -(2n ** 63n)
export const maxInt64 = 2n ** 63n - 1n

/** The number that is stored, however a driver tells it; `undefined` where a number cannot tell it exactly. */
export const toNumber = (stored: unknown): number | undefined => {
  switch (typeof stored) {
    case "number":
      return stored
    case "bigint": {
      const number = Number(stored)
      return BigInt(number) === stored ? number : undefined
    }
    case "string": {
      const number = Number(stored)
      return stored.trim() === "" || (Number.isNaN(number) && stored !== "NaN") ? undefined : number
    }
    default:
      return undefined
  }
}

export const toBigint = (stored: unknown): bigint | undefined => {
  switch (typeof stored) {
    case "bigint":
      return stored
    case "number":
      return Number.isSafeInteger(stored) ? BigInt(stored) : undefined
    case "string":
      return /^-?\d+$/.test(stored) ? BigInt(stored) : undefined
    default:
      return undefined
  }
}

export const toText = (stored: unknown): string | undefined => typeof stored === "string" ? stored : undefined

export const toBytes = (stored: unknown): Uint8Array | undefined => stored instanceof Uint8Array ? stored : undefined

/** The years that are in order as text. */
const firstText = Date.parse("0000-01-01T00:00:00.000Z")
const lastText = Date.parse("9999-12-31T23:59:59.999Z")

/** An instant as text, all of which are of one length and in order. */
export const instantText = (millis: {}): string | undefined =>
  typeof millis === "number" && millis >= firstText && millis <= lastText ? new Date(millis).toISOString() : undefined

export const placeOfInstantText = (millis: {}): Place => {
  const parameter = instantText(millis)
  if (parameter !== undefined) return { parameter, isExact: true }
  return typeof millis !== "number" ? "never" : millis < firstText ? "before" : "after"
}

/** Milliseconds, of what drivers and others make of an instant. */
export const toMillis = (stored: unknown): number | undefined => {
  const millis = stored instanceof Date
    ? stored.getTime()
    : typeof stored === "string"
    ? Date.parse(withZone(stored))
    : toNumber(stored)
  return millis === undefined || Number.isNaN(new Date(millis).getTime()) ? undefined : millis
}

/** As SQLite writes it, an instant says nothing of its time zone, which is UTC. */
const withZone = (text: string): string =>
  text.length !== 24 && /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?$/.test(text)
    ? `${text.replace(" ", "T")}Z`
    : text

/** Lower case of A to Z alone. */
export const fold = (text: string): string => text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())
