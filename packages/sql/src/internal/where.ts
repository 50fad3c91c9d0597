/**
 * Filters as conditions of SQL. A condition is true, false or unknown of a row, and rows are selected where it is true: so that
 * nothing unknown is ever negated, `not` is carried inwards, to the comparisons, where it is known what may be null.
 */
import type { Comparison, Operator, Tree } from "@effect-channels/core/Filter"
import {
  afterPrefix,
  type Column,
  type Dialect,
  fold,
  isStorable,
  type Parameter,
  type Place,
  type Query
} from "./columns.ts"

/** A condition, or what is true or false of every row. */
type Condition = string | boolean

type Columns = ReadonlyMap<string, Column>

/** The condition of a filter, for after `WHERE`. */
export const where = (tree: Tree, columns: Columns, dialect: Dialect, query: Query): Condition =>
  condition(tree, false, { columns, dialect, query })

interface Context {
  readonly columns: Columns
  readonly dialect: Dialect
  readonly query: Query
}

const condition = (tree: Tree, isNegated: boolean, context: Context): Condition => {
  switch (tree._tag) {
    case "Constant":
      return tree.value !== isNegated
    case "Not":
      return condition(tree.member, !isNegated, context)
    case "And":
    case "Or": {
      // What decides it alone: the other one says nothing.
      const decisive = (tree._tag === "Or") !== isNegated
      const members: Array<string> = []
      const { parameters } = context.query
      const start = parameters.length
      for (const member of tree.members) {
        const result = condition(member, isNegated, context)
        if (typeof result === "string") members.push(result)
        else if (result === decisive) {
          parameters.length = start
          return decisive
        }
      }
      return members.length === 0
        ? !decisive
        : members.length === 1
        ? members[0]!
        : `(${members.join(decisive ? " OR " : " AND ")})`
    }
    case "Comparison":
      return comparison(tree, isNegated, context)
  }
}

const comparison = ({ field, operator, value }: Comparison, isNegated: boolean, context: Context): Condition => {
  const column = context.columns.get(field)
  if (column === undefined) throw new TypeError(`There is no field ${JSON.stringify(field)} to compare`)
  if (operator === "isNull") {
    return column.isNullable ? `${column.sql} IS ${isNegated ? "NOT NULL" : "NULL"}` : isNegated
  }
  const result = testOf(column, operator, value, isNegated, context)
  if (!column.isNullable) return result
  // Of what is null, nothing is true, and the opposite of everything.
  return isNegated
    ? result === true || (result === false ? `${column.sql} IS NULL` : `(${result} OR ${column.sql} IS NULL)`)
    : result === true
    ? `${column.sql} IS NOT NULL`
    : result
}

/** Of a value that is not null. */
const testOf = (
  column: Column,
  operator: Exclude<Operator, "isNull">,
  value: unknown,
  isNegated: boolean,
  context: Context
): Condition => {
  switch (operator) {
    case "contains":
    case "icontains":
    case "startsWith":
      return search(column, operator, value, isNegated, context)
    case "in":
      return isOneOf(column, value as ReadonlyArray<unknown>, isNegated, context)
    default: {
      const bare = bareOf(column, value)
      return bare === null ? isNegated : compare(column, operator, bare, isNegated, context)
    }
  }
}

/** The value that is compared; null where it is none of the field's, which nothing equals. */
const bareOf = ({ field }: Column, value: unknown): {} | null => {
  try {
    return field.toBare(value)
  } catch {
    return null
  }
}

const opposites = { "=": "<>", "<": ">=", "<=": ">", ">": "<=", ">=": "<" } as const

const compare = (
  column: Column,
  operator: "eq" | "lt" | "lte" | "gt" | "gte",
  bare: {},
  isNegated: boolean,
  { query }: Context
): Condition => {
  const place = column.place(bare)
  // What has no order is neither less nor greater.
  const isEqual = operator === "eq" || (column.ordered === undefined && (operator === "lte" || operator === "gte"))
  const isLess = operator === "lt" || operator === "lte"
  if (place === "never" || (column.ordered === undefined && !isEqual)) return isNegated
  if (typeof place === "string") return (!isEqual && isLess === (place === "after")) !== isNegated
  if (isEqual && !place.isExact) return isNegated
  const { cast, left } = place.side ?? (isEqual ? column.equal : column.ordered!)
  const write = (sign: keyof typeof opposites, parameter: Parameter) =>
    `${left} ${isNegated ? opposites[sign] : sign} ${query.add(parameter)}${cast}`
  const { parameter } = place
  if (!place.isExact) return write(isLess ? "<" : ">=", parameter)
  if (column.next === undefined) return write(signs[operator === "eq" || !isEqual ? operator : "eq"], parameter)
  const next = column.next(bare)
  switch (operator) {
    case "eq":
      return `(${write(">=", parameter)} ${isNegated ? "OR" : "AND"} ${write("<", next)})`
    case "lt":
      return write("<", parameter)
    case "lte":
      return write("<", next)
    case "gt":
      return write(">=", next)
    case "gte":
      return write(">=", parameter)
  }
}

const signs = { eq: "=", lt: "<", lte: "<=", gt: ">", gte: ">=" } as const

const isOneOf = (
  column: Column,
  values: ReadonlyArray<unknown>,
  isNegated: boolean,
  { dialect, query }: Context
): Condition => {
  const places: Array<Extract<Place, object>> = []
  for (const value of values) {
    const bare = bareOf(column, value)
    const place = bare === null ? "never" : column.place(bare)
    if (typeof place === "object" && place.isExact) places.push(place)
  }
  const parameters = Array.from(new Set(places.map(({ parameter }) => parameter)))
  if (parameters.length === 0) return isNegated
  const side = places[0]!.side ?? column.equal
  return dialect.isOneOf(
    query,
    column.next === undefined ? side : { ...side, left: column.read },
    parameters,
    isNegated
  )
}

const search = (
  column: Column,
  operator: "contains" | "icontains" | "startsWith",
  value: unknown,
  isNegated: boolean,
  { dialect, query }: Context
): Condition => {
  const text = bareOf(column, value)
  if (column.text === undefined || typeof text !== "string" || !isStorable(text, dialect.hasNul)) return isNegated
  if (text === "") return !isNegated
  const { cast, left } = operator === "startsWith" ? column.ordered! : column.text
  if (operator === "startsWith") {
    const end = afterPrefix(text)
    const from = `${left} ${isNegated ? "<" : ">="} ${query.add(text)}${cast}`
    if (end === undefined) return from
    return `(${from} ${isNegated ? "OR" : "AND"} ${left} ${isNegated ? ">=" : "<"} ${query.add(end)}${cast})`
  }
  const position = operator === "contains"
    ? dialect.position(left, query.add(text) + cast)
    : dialect.position(`lower(${left})`, query.add(fold(text)) + cast)
  return `${position} ${isNegated ? "=" : ">"} 0`
}
