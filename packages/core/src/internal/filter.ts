/**
 * Filters in memory: how values are compared, and what an expression says of a row.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import type { Comparison, Operator, Tree } from "../Filter.ts"
import type { Order } from "../Repository.ts"

// ---- values

/** An instant, whatever wrote it down. */
class Instant {
  readonly millis: number
  constructor(millis: number) {
    this.millis = millis
  }
}

/** Anything that has no order, as text that is the same for what is equal. */
class Json {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** A value as it is compared. */
export type Comparable = null | boolean | number | bigint | string | Instant | Json

/** How a value of a field's type is compared: the one place that says so. */
export const comparable = (value: unknown): Comparable => {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
    case "bigint":
      return value
    case "undefined":
      return null
    case "object":
      if (value === null) return null
      if (value instanceof Date) return new Instant(value.getTime())
      if (Option.isOption(value)) return Option.isNone(value) ? null : comparable(value.value)
      if (DateTime.isDateTime(value)) return new Instant(DateTime.toEpochMillis(value))
  }
  return new Json(canonical(value))
}

/** JSON with the keys of objects in their order, and what JSON has no words for in some. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) => {
    if (typeof part === "bigint") return { bigint: `${part}` }
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1))
  }) ?? String(value)

const kindOf = (value: Comparable): number => {
  switch (typeof value) {
    case "boolean":
      return 1
    case "number":
      return 2
    case "bigint":
      return 3
    case "string":
      return 4
    default:
      return value === null ? 0 : value instanceof Instant ? 5 : 6
  }
}

const order = (a: Comparable, b: Comparable): number => {
  if (a === b) return 0
  if (typeof a === "string" && typeof b === "string") return compareText(a, b)
  if (typeof a === "number" && typeof b === "number") return compareNumbers(a, b)
  if (a instanceof Instant && b instanceof Instant) return compareNumbers(a.millis, b.millis)
  if (a instanceof Json && b instanceof Json) return compareText(a.text, b.text)
  const kinds = kindOf(a) - kindOf(b)
  return kinds !== 0 ? kinds : a! < b! ? -1 : 1
}

/** By code points, as UTF-8 is by its bytes: of UTF-16 the halves of a pair come before `\uE000`. */
const compareText = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    if (a.charCodeAt(i) === b.charCodeAt(i)) continue
    const start = i > 0 && isHigh(a.charCodeAt(i - 1)) ? i - 1 : i
    return a.codePointAt(start)! - b.codePointAt(start)! || a.codePointAt(i)! - b.codePointAt(i)!
  }
  return a.length - b.length
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff

/** What is not a number equals itself, and comes after all that are. */
const compareNumbers = (a: number, b: number): number =>
  a < b ? -1 : a > b ? 1 : a === b ? 0 : Number(Number.isNaN(a)) - Number(Number.isNaN(b))

/**
 * In which order two values come, null first. It is an order of all values, so that rows can be sorted by any: of different kinds
 * one comes first too, though neither is less.
 */
export const compare = (a: unknown, b: unknown): number => order(comparable(a), comparable(b))

/** Text that is the same for values that are equal, and for no others; null where one of them is null, and equals nothing. */
export const identify = (values: ReadonlyArray<unknown>): string | null => {
  const parts: Array<string> = []
  for (const value of values) {
    const part = comparable(value)
    if (part === null) return null
    parts.push(identity(part))
  }
  return parts.length === 1 ? parts[0]! : JSON.stringify(parts)
}

const identity = (value: NonNullable<Comparable>): string =>
  typeof value !== "object"
    ? `${typeof value}:${value}`
    : value instanceof Instant
    ? `instant:${value.millis}`
    : `json:${value.text}`

// ---- expressions

const constant = (value: boolean): Tree => ({ _tag: "Constant", value })

/** The same expression, without what says nothing. */
export const simplify = (tree: Tree): Tree => {
  switch (tree._tag) {
    case "Constant":
      return tree
    case "Comparison":
      return isNever(tree) ? constant(false) : tree
    case "Not": {
      const member = simplify(tree.member)
      if (member._tag === "Constant") return constant(!member.value)
      return member._tag === "Not" ? member.member : { _tag: "Not", member }
    }
    case "And":
    case "Or": {
      // What decides it alone: the other one says nothing.
      const decisive = tree._tag === "Or"
      const members: Array<Tree> = []
      for (const member of tree.members.map(simplify)) {
        if (member._tag === tree._tag) members.push(...member.members)
        else if (member._tag !== "Constant") members.push(member)
        else if (member.value === decisive) return member
      }
      return members.length === 0
        ? constant(!decisive)
        : members.length === 1
        ? members[0]!
        : { _tag: tree._tag, members }
    }
  }
}

/** Whether nothing compares like this. */
const isNever = ({ operator, value }: Comparison): boolean =>
  operator === "in" ? valuesOf(value).length === 0 : operator !== "isNull" && comparable(value) === null

const valuesOf = (value: unknown): ReadonlyArray<NonNullable<Comparable>> =>
  (value as ReadonlyArray<unknown>).map(comparable).filter((member) => member !== null)

type Test<A> = (of: A) => boolean

/** Makes a function that tells whether an expression is true of a row. */
export const compile = (tree: Tree): Test<unknown> => compileSimple(simplify(tree)) as Test<unknown>

/** A row of whatever type. */
export type Row = Readonly<Record<string, unknown>>

const compileSimple = (tree: Tree): Test<Row> => {
  switch (tree._tag) {
    case "Constant":
      return () => tree.value
    case "Comparison": {
      const { field, operator, value } = tree
      if (operator === "isNull") return (row) => comparable(own(row, field)) === null
      const test = testOf(operator, value)
      return (row) => test(comparable(own(row, field)))
    }
    case "Not": {
      const member = compileSimple(tree.member)
      return (row) => !member(row)
    }
    case "And": {
      const members = tree.members.map(compileSimple)
      return (row) => members.every((member) => member(row))
    }
    case "Or": {
      const members = tree.members.map(compileSimple)
      return (row) => members.some((member) => member(row))
    }
  }
}

/** A field is the row's own: what its class or `Object` has under that name is none. */
export const own = (row: Row, field: string): unknown => Object.hasOwn(row, field) ? row[field] : undefined

/** Compares two rows, by one field after the other. */
export const by = (order: ReadonlyArray<Order>) => (a: Row, b: Row): number => {
  for (const { direction, field } of order) {
    const result = compare(own(a, field), own(b, field))
    if (result !== 0) return direction === "ascending" ? result : -result
  }
  return 0
}

/** No value that is asked for is null: null equals none of them, and is not less. */
const testOf = (operator: Exclude<Operator, "isNull">, value: unknown): Test<Comparable> => {
  if (operator === "in") return isOneOf(valuesOf(value))
  const that = comparable(value)
  const isText = typeof that === "string"
  const kind = kindOf(that)
  const hasOrder = !(that instanceof Json)
  /** NaN where neither is less. */
  const sign = (found: Comparable): number => {
    const sign = order(found, that)
    return sign === 0 || hasOrder && kindOf(found) === kind ? sign : NaN
  }
  switch (operator) {
    case "eq":
      return (found) => order(found, that) === 0
    case "lt":
      return (found) => sign(found) < 0
    case "lte":
      return (found) => sign(found) <= 0
    case "gt":
      return (found) => sign(found) > 0
    case "gte":
      return (found) => sign(found) >= 0
    case "contains":
      return (found) => isText && typeof found === "string" && found.includes(that)
    case "startsWith":
      return (found) => isText && typeof found === "string" && found.startsWith(that)
    case "icontains": {
      if (!isText) return () => false
      const folded = fold(that)
      return (found) => typeof found === "string" && fold(found).includes(folded)
    }
  }
}

const isOneOf = (values: ReadonlyArray<Comparable>): Test<Comparable> => {
  const simple = new Set<Comparable>(values)
  const others = values.filter((value) => typeof value === "object")
  return (found) => typeof found === "object" ? others.some((value) => order(found, value) === 0) : simple.has(found)
}

const fold = (text: string): string => text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())

// ---- text

export const print = (tree: Tree): string => {
  switch (tree._tag) {
    case "Constant":
      return tree.value ? "all" : "none"
    case "Comparison":
      return tree.operator === "isNull"
        ? `${tree.field} isNull`
        : tree.operator === "in"
        ? `${tree.field} in [${(tree.value as ReadonlyArray<unknown>).map(printValue).join(", ")}]`
        : `${tree.field} ${tree.operator} ${printValue(tree.value)}`
    case "Not":
      return `not(${print(tree.member)})`
    case "And":
    case "Or":
      return `${tree._tag.toLowerCase()}(${tree.members.map(print).join(", ")})`
  }
}

const printValue = (value: unknown): string => {
  const shown = comparable(value)
  if (typeof shown === "string") return JSON.stringify(shown)
  if (typeof shown === "bigint") return `${shown}n`
  if (shown instanceof Json) return shown.text
  if (!(shown instanceof Instant)) return String(shown)
  return Number.isNaN(shown.millis) ? "Invalid Date" : new Date(shown.millis).toISOString()
}
