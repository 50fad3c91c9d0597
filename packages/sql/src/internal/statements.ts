/**
 * The statements of a table.
 */
import type * as Filter from "@effect-channels/core/Filter"
import type { Selection } from "@effect-channels/core/Repository"
import { type Column, type Dialect, Query } from "./columns.ts"
import type { Row } from "./rows.ts"
import type { Table } from "./table.ts"
import { where } from "./where.ts"

/** A statement, ready to be sent. */
export interface Statement {
  readonly text: string
  readonly parameters: ReadonlyArray<unknown>
}

/** The fields of which a value cannot be stored. */
export class Unheld {
  readonly fields: ReadonlyArray<string>

  constructor(fields: ReadonlyArray<string>) {
    this.fields = fields
  }
}

export class Statements {
  readonly #dialect: Dialect
  readonly #table: Table
  readonly #columns: ReadonlyMap<string, Column>
  readonly #version: Column | undefined
  readonly #generated: ReadonlySet<string>
  readonly #reads: string
  readonly #select: string
  readonly #count: string

  constructor(dialect: Dialect, table: Table, version: string | undefined, generated: ReadonlyArray<string>) {
    this.#dialect = dialect
    this.#table = table
    this.#columns = new Map(table.columns.map((column) => [column.field.name, column]))
    this.#version = version === undefined ? undefined : this.#columns.get(version)
    this.#generated = new Set(generated)
    this.#reads = table.columns.map(({ read }) => read).join(", ")
    this.#select = `SELECT ${this.#reads} FROM ${table.sql}`
    this.#count = `SELECT count(*) FROM ${table.sql}`
  }

  /** Undefined where no row can be meant. */
  find(key: unknown, isLocked: boolean): Statement | undefined {
    const query = new Query(this.#dialect)
    const condition = this.#isRow(key, undefined, query)
    return condition === undefined
      ? undefined
      : { text: `${this.#select}${condition}${isLocked ? this.#dialect.lock : ""}`, parameters: query.parameters }
  }

  select({ filter, limit, offset = 0, order }: Selection<never>): Statement | undefined {
    const query = new Query(this.#dialect)
    const condition = this.#matches(filter.tree, query)
    if (condition === undefined) return undefined
    const ranks = order.map(({ direction, field }) => {
      const column = this.#columns.get(field)
      if (column === undefined) throw new TypeError(`There is no field ${JSON.stringify(field)} to order by`)
      const isAscending = direction === "ascending"
      const { ascending, descending } = this.#dialect
      return column.isNullable
        ? `${column.order} ${isAscending ? ascending : descending}`
        : isAscending
        ? column.order
        : `${column.order} DESC`
    })
    const sorted = ranks.length === 0 ? "" : ` ORDER BY ${ranks.join(", ")}`
    return {
      text: `${this.#select}${condition}${sorted}${this.#part(limit, offset, query)}`,
      parameters: query.parameters
    }
  }

  count(filter: Filter.Any): Statement | undefined {
    const query = new Query(this.#dialect)
    const condition = this.#matches(filter.tree, query)
    return condition === undefined ? undefined : { text: this.#count + condition, parameters: query.parameters }
  }

  insert(row: Row): Statement | Unheld {
    const query = new Query(this.#dialect)
    const names: Array<string> = []
    const values: Array<string> = []
    const unheld: Array<string> = []
    const add = (column: Column, value: unknown) => {
      names.push(column.sql)
      this.#write(column, value, query, values, unheld)
    }
    for (const column of this.#table.columns) {
      const { name } = column.field
      if (column === this.#version) add(column, 1)
      // What a new row has no say in, the database makes.
      else if (!this.#generated.has(name) && row[name] !== undefined) add(column, row[name])
    }
    for (const column of this.#table.hidden) {
      if (row[column.field.name] !== undefined) add(column, row[column.field.name])
    }
    if (unheld.length > 0) return new Unheld(unheld)
    const given = names.length === 0 ? "DEFAULT VALUES" : `(${names.join(", ")}) VALUES (${values.join(", ")})`
    return {
      text: `INSERT INTO ${this.#table.sql} ${given} RETURNING ${this.#reads}`,
      parameters: query.parameters
    }
  }

  /** Undefined where there is nothing to change. */
  update(key: unknown, changes: Row, version: number | undefined): Statement | Unheld | undefined {
    const query = new Query(this.#dialect)
    const sets: Array<string> = []
    const unheld: Array<string> = []
    for (const [name, value] of Object.entries(changes)) {
      const column = this.#columns.get(name)
      if (column === undefined || column === this.#version) continue
      if (value === undefined && !column.field.isNullable) continue
      const values: Array<string> = []
      this.#write(column, value, query, values, unheld)
      sets.push(`${column.sql} = ${values.join()}`)
    }
    if (unheld.length > 0) return new Unheld(unheld)
    if (this.#version !== undefined) sets.push(`${this.#version.sql} = ${this.#version.sql} + 1`)
    const condition = this.#isRow(key, version, query)
    if (sets.length === 0 || condition === undefined) return undefined
    return {
      text: `UPDATE ${this.#table.sql} SET ${sets.join(", ")}${condition} RETURNING ${this.#reads}`,
      parameters: query.parameters
    }
  }

  remove(key: unknown, version: number | undefined): Statement | undefined {
    const query = new Query(this.#dialect)
    const condition = this.#isRow(key, version, query)
    return condition === undefined
      ? undefined
      : { text: `DELETE FROM ${this.#table.sql}${condition} RETURNING 1`, parameters: query.parameters }
  }

  /** A first page is told how long it is: that decides on how it is best read. */
  #part(limit: number | undefined, offset: number, query: Query): string {
    const { noLimit, number } = this.#dialect
    if (offset === 0) return limit === undefined ? "" : ` LIMIT ${natural("limit", limit)}`
    const most = limit === undefined ? noLimit : ` LIMIT ${number(query, natural("limit", limit))}`
    return `${most} OFFSET ${number(query, natural("offset", offset))}`
  }

  #write(column: Column, value: unknown, query: Query, values: Array<string>, unheld: Array<string>): void {
    const bare = column.field.toBare(value)
    const parameter = bare === null ? null : column.encode(bare)
    if (parameter === undefined) unheld.push(column.field.name)
    else values.push(query.add(parameter))
  }

  #matches(tree: Filter.Tree, query: Query): string | undefined {
    const condition = where(tree, this.#columns, this.#dialect, query)
    return condition === false ? undefined : condition === true ? "" : ` WHERE ${condition}`
  }

  #isRow(key: unknown, version: number | undefined, query: Query): string | undefined {
    const { field } = this.#table.key
    const isKey: Filter.Tree = { _tag: "Comparison", field: field.name, operator: "eq", value: key }
    if (version === undefined || this.#version === undefined) return this.#matches(isKey, query)
    const isVersion: Filter.Tree = {
      _tag: "Comparison",
      field: this.#version.field.name,
      operator: "eq",
      value: version
    }
    return this.#matches({ _tag: "And", members: [isKey, isVersion] }, query)
  }
}

const natural = (name: string, value: number): number => {
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new TypeError(`The ${name} of a selection must be a whole number from 0, not ${value}`)
}
