/**
 * Rows in a total order, and what comes after one of them.
 */
import * as Filter from "../Filter.ts"
import type { Order } from "../Repository.ts"
import { compare, type Field, type Row } from "./lookups.ts"

/** A field by which rows are in order: null comes first, or, descending, last. */
export interface Rank {
  readonly field: Field
  readonly isDescending: boolean
}

/** The order of some ranks, as a repository takes it. */
export const orderOf = (ranks: ReadonlyArray<Rank>): ReadonlyArray<Order> =>
  ranks.map(({ field, isDescending }) => ({
    field: field.name,
    direction: isDescending ? "descending" : "ascending"
  }))

/** An order as a client writes it: `-price,id`. */
export const print = (ranks: ReadonlyArray<Rank>): string =>
  ranks.map(({ field, isDescending }) => `${isDescending ? "-" : ""}${field.name}`).join()

/**
 * A total order, which no two rows are equal in: that of the key is added, in the direction of the last rank, so that an index
 * over both serves either way. What comes after the key, or again, makes no difference.
 */
export const total = (ranks: ReadonlyArray<Rank>, key: Field): ReadonlyArray<Rank> => {
  const seen = new Set<string>()
  const distinct: Array<Rank> = []
  for (const rank of ranks) {
    if (seen.has(rank.field.name)) continue
    seen.add(rank.field.name)
    distinct.push(rank)
    if (rank.field.name === key.name) return distinct
  }
  return [...distinct, { field: key, isDescending: distinct.at(-1)?.isDescending ?? false }]
}

/** The same rows, the last one first. */
export const reverse = (ranks: ReadonlyArray<Rank>): ReadonlyArray<Rank> =>
  ranks.map(({ field, isDescending }) => ({ field, isDescending: !isDescending }))

/** Where a row is in order: its values in the fields of the ranks. */
export type Position = ReadonlyArray<{} | null>

/** The position of a row. */
export const positionOf = (ranks: ReadonlyArray<Rank>, row: Row): Position => ranks.map(({ field }) => field.of(row))

/**
 * The rows that come after a position. The first comparison says no more than the rest: it is there for the database, which
 * finds the first row with it in an index, where it would read all rows for a disjunction.
 */
export const after = (ranks: ReadonlyArray<Rank>, position: Position): Filter.Filter<Row> =>
  ranks.length === 1
    ? beyond(ranks[0]!, position[0]!)
    : Filter.and(notBefore(ranks[0]!, position[0]!), afterFrom(ranks, position, 0))

/** The rows that come after a position, among those that are equal to it in the ranks before. */
const afterFrom = (ranks: ReadonlyArray<Rank>, position: Position, at: number): Filter.Filter<Row> => {
  const rank = ranks[at]!
  const value = position[at]!
  const further = beyond(rank, value)
  return at === ranks.length - 1
    ? further
    : Filter.or(further, Filter.and(same(rank, value), afterFrom(ranks, position, at + 1)))
}

const same = ({ field }: Rank, value: {} | null): Filter.Filter<Row> =>
  value === null ? compare(field, "isNull") : compare(field, "eq", field.toFilter(value))

/** The rows of which the field comes after a value. */
const beyond = ({ field, isDescending }: Rank, value: {} | null): Filter.Filter<Row> => {
  if (value === null) return isDescending ? Filter.none : Filter.not(compare(field, "isNull"))
  return isDescending
    ? orNull(field, compare(field, "lt", field.toFilter(value)))
    : compare(field, "gt", field.toFilter(value))
}

/** The rows of which the field does not come before a value. */
const notBefore = ({ field, isDescending }: Rank, value: {} | null): Filter.Filter<Row> => {
  if (value === null) return isDescending ? compare(field, "isNull") : Filter.all
  return isDescending
    ? orNull(field, compare(field, "lte", field.toFilter(value)))
    : compare(field, "gte", field.toFilter(value))
}

const orNull = (field: Field, filter: Filter.Filter<Row>): Filter.Filter<Row> =>
  field.isNullable ? Filter.or(filter, compare(field, "isNull")) : filter
