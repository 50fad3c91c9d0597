/**
 * Which rows are meant: a boolean expression over the fields of a row, as plain data. One value is asked of a row in memory
 * ({@link matches}), and translated to the query of a database: both say the same.
 *
 * An expression is true or false, never unknown: a comparison with a field that is null (or left out, or `None`) is false, and
 * `not` makes true of it. Text is compared by its characters' code points, whatever the language; of upper and lower case only
 * the letters A to Z are known.
 *
 * @since 0.1.0
 */
import type { Inspectable } from "effect/Inspectable"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import * as evaluate from "./internal/filter.ts"
import * as Value from "./internal/value.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Filter"

/**
 * Which rows of type `Row` are meant. A filter over some fields is one over every row that has these.
 *
 * @category models
 * @since 0.1.0
 */
export interface Filter<in Row> extends Pipeable, Inspectable {
  readonly [TypeId]: { readonly _Row: (_: Row) => void }
  /** The expression, for interpreters. */
  readonly tree: Tree
}

/**
 * Any filter.
 *
 * @category models
 * @since 0.1.0
 */
export type Any = Filter<never>

/**
 * The type of the rows that a filter is asked of. Of several filters, those that have the fields of all.
 *
 * @category models
 * @since 0.1.0
 */
export type RowOf<F extends Any> = (F extends Filter<infer Row> ? (_: Row) => void : never) extends
  (_: infer Row) => void ? Row : never

/**
 * The expression of a filter. `value` is of the field's type, not encoded; for `in` it is an array of such values, for
 * `isNull` nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type Tree =
  | { readonly _tag: "Constant"; readonly value: boolean }
  | Comparison
  | { readonly _tag: "And" | "Or"; readonly members: ReadonlyArray<Tree> }
  | { readonly _tag: "Not"; readonly member: Tree }

/**
 * One field, compared with a value.
 *
 * @category models
 * @since 0.1.0
 */
export interface Comparison {
  readonly _tag: "Comparison"
  readonly field: string
  readonly operator: Operator
  readonly value: unknown
}

/**
 * How a field is compared.
 *
 * | operator | true where the field |
 * | --- | --- |
 * | `eq` | equals the value |
 * | `lt`, `lte`, `gt`, `gte` | is less, not greater, greater, not less |
 * | `in` | equals one of the values |
 * | `contains`, `startsWith` | is text that has the value in it, begins with it |
 * | `icontains` | as `contains`, A to Z the same as a to z |
 * | `isNull` | is null, left out, or `None` |
 *
 * @category models
 * @since 0.1.0
 */
export type Operator = "eq" | "lt" | "lte" | "gt" | "gte" | "in" | "contains" | "icontains" | "startsWith" | "isNull"

const proto = Value.prototype<Any>(TypeId, (self) => print(self))

const make = <Row>(tree: Tree): Filter<Row> => Value.make(proto, { tree })

/**
 * Whether a value is a filter.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFilter = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * The filter of an expression.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromTree = <Row>(tree: Tree): Filter<Row> => make(tree)

/**
 * Every row.
 *
 * @category constructors
 * @since 0.1.0
 */
export const all: Filter<unknown> = make({ _tag: "Constant", value: true })

/**
 * No row.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: Filter<unknown> = make({ _tag: "Constant", value: false })

/**
 * The names of the fields of a row.
 *
 * @category models
 * @since 0.1.0
 */
export type FieldOf<Row> = keyof Row & string

/**
 * The names of the fields that hold text.
 *
 * @category models
 * @since 0.1.0
 */
export type TextFieldOf<Row> = {
  [K in FieldOf<Row>]-?: [Extract<Row[K], string>] extends [never] ? never : K
}[FieldOf<Row>]

/**
 * What a field can be compared with: one of its values that are not null.
 *
 * @category models
 * @since 0.1.0
 */
export type ValueOf<Row, K extends keyof Row> = NonNullable<Row[K]>

/**
 * The comparisons of the fields of a row.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fields<Row> {
  readonly eq: <K extends FieldOf<Row>>(field: K, value: ValueOf<Row, K>) => Filter<Row>
  /** Not equal, or null. */
  readonly ne: <K extends FieldOf<Row>>(field: K, value: ValueOf<Row, K>) => Filter<Row>
  readonly lt: <K extends FieldOf<Row>>(field: K, value: ValueOf<Row, K>) => Filter<Row>
  readonly lte: <K extends FieldOf<Row>>(field: K, value: ValueOf<Row, K>) => Filter<Row>
  readonly gt: <K extends FieldOf<Row>>(field: K, value: ValueOf<Row, K>) => Filter<Row>
  readonly gte: <K extends FieldOf<Row>>(field: K, value: ValueOf<Row, K>) => Filter<Row>
  readonly in: <K extends FieldOf<Row>>(field: K, values: ReadonlyArray<ValueOf<Row, K>>) => Filter<Row>
  readonly contains: (field: TextFieldOf<Row>, text: string) => Filter<Row>
  readonly icontains: (field: TextFieldOf<Row>, text: string) => Filter<Row>
  readonly startsWith: (field: TextFieldOf<Row>, text: string) => Filter<Row>
  readonly isNull: (field: FieldOf<Row>) => Filter<Row>
}

const comparison = (operator: Operator) => (field: string, value: unknown): Filter<never> =>
  make({ _tag: "Comparison", field, operator, value })

const comparisons = {
  eq: comparison("eq"),
  ne: (field: string, value: unknown) => not(comparison("eq")(field, value)),
  lt: comparison("lt"),
  lte: comparison("lte"),
  gt: comparison("gt"),
  gte: comparison("gte"),
  in: comparison("in"),
  contains: comparison("contains"),
  icontains: comparison("icontains"),
  startsWith: comparison("startsWith"),
  isNull: (field: string) => comparison("isNull")(field, undefined)
}

/**
 * The comparisons of the fields of a row, by its type.
 *
 * **Example** (Open tasks of somebody)
 *
 * ```ts
 * import { Filter } from "@effect-channels/core"
 *
 * interface Task {
 *   readonly owner: number
 *   readonly status: "open" | "done"
 *   readonly due: Date | null
 * }
 * const task = Filter.fields<Task>()
 *
 * const mine = (id: number) => Filter.and(task.eq("owner", id), Filter.not(task.isNull("due")), task.ne("status", "done"))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fields = <Row>(): Fields<Row> => comparisons as unknown as Fields<Row>

/**
 * The rows that all of these filters mean; every row where there is none.
 *
 * **Example** (A filter with a part that may be missing)
 *
 * ```ts
 * import { Filter } from "@effect-channels/core"
 *
 * interface Task {
 *   readonly owner: number
 *   readonly status: "open" | "done"
 * }
 * const task = Filter.fields<Task>()
 *
 * const tasksOf = (owner: number, status?: Task["status"]) =>
 *   Filter.and(task.eq("owner", owner), status === undefined ? Filter.all : task.eq("status", status))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const and: {
  <Row = unknown>(...filters: ReadonlyArray<Filter<Row>>): Filter<Row>
  <Filters extends ReadonlyArray<Any>>(...filters: Filters): Filter<RowOf<Filters[number]>>
} = (...filters: ReadonlyArray<Any>): Filter<unknown> =>
  make(evaluate.simplify({ _tag: "And", members: filters.map(({ tree }) => tree) }))

/**
 * The rows that at least one of these filters means; no row where there is none.
 *
 * @category combinators
 * @since 0.1.0
 */
export const or: {
  <Row = unknown>(...filters: ReadonlyArray<Filter<Row>>): Filter<Row>
  <Filters extends ReadonlyArray<Any>>(...filters: Filters): Filter<RowOf<Filters[number]>>
} = (...filters: ReadonlyArray<Any>): Filter<unknown> =>
  make(evaluate.simplify({ _tag: "Or", members: filters.map(({ tree }) => tree) }))

/**
 * The rows that a filter does not mean.
 *
 * @category combinators
 * @since 0.1.0
 */
export const not = <Row>(self: Filter<Row>): Filter<Row> => make(evaluate.simplify({ _tag: "Not", member: self.tree }))

/**
 * Makes a function of a filter that tells whether a row is meant. Make it once, and call it often.
 *
 * **Example** (The open tasks among some)
 *
 * ```ts
 * import { Filter } from "@effect-channels/core"
 *
 * interface Task {
 *   readonly title: string
 *   readonly status: "open" | "done"
 * }
 *
 * const isOpen = Filter.matches(Filter.fields<Task>().eq("status", "open"))
 *
 * const open = (tasks: ReadonlyArray<Task>) => tasks.filter(isOpen)
 * ```
 *
 * @category interpreters
 * @since 0.1.0
 */
export const matches = <Row>(self: Filter<Row>): (row: Row) => boolean => evaluate.compile(self.tree)

/**
 * Prints a filter as the expression it is: `and(owner eq 3, not(due isNull))`.
 *
 * @category interpreters
 * @since 0.1.0
 */
export const print = (self: Any): string => evaluate.print(self.tree)
