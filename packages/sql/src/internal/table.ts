/**
 * What a database says of a table, and whether the rows of a repository fit it.
 */
import type { Definition } from "@effect-channels/core/Repository"
import type { Column } from "./columns.ts"
import { type Field, fieldsOf, hiddenFieldsOf } from "./fields.ts"

/** A table as far as it concerns a repository. */
export interface Table {
  /** As it is written in a statement. */
  readonly sql: string
  /** The columns of the fields of a row, in their order. */
  readonly columns: ReadonlyArray<Column>
  /** Those that only a new row has a field for. */
  readonly hidden: ReadonlyArray<Column>
  readonly key: Column
  /** The fields that a constraint is about, by its name. */
  readonly constraints: ReadonlyMap<string, ReadonlyArray<string>>
}

/** What a repository asks of a table. */
export interface Wanted {
  readonly table: string
  readonly definition: Definition
  /** The names of columns that are not those of their fields. */
  readonly names: Readonly<Record<string, string | undefined>>
}

/** What a database says of a table; undefined where there is none. */
export interface Facts<Raw> {
  readonly sql: string
  /** Its columns, by names that are the same for what the database takes for the same. */
  readonly columns: ReadonlyMap<string, Raw>
  readonly normalize: (name: string) => string
  /** The columns of which no two rows have the same values. */
  readonly unique: ReadonlyArray<ReadonlyArray<string>>
  /** The columns that are never null, and that the database makes nothing for. */
  readonly required: ReadonlyArray<string>
  readonly constraints: ReadonlyMap<string, ReadonlyArray<string>>
}

/** What does not fit stops the layer; what may be meant so is only told. */
export interface Findings {
  readonly table: Table | undefined
  readonly problems: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<string>
}

export const missing = (table: string, where: string): Findings => ({
  table: undefined,
  problems: [`There is no table ${quote(table)}${where}. Create it, or name another one with the option "table".`],
  warnings: []
})

/** Fits the columns of a table to the fields. `toColumn` answers with what is wrong where a column does not fit. */
export const fit = <Raw>(
  { definition, names }: Wanted,
  facts: Facts<Raw>,
  toColumn: (field: Field, name: string, raw: Raw) => Column | string
): Findings => {
  const { columns, constraints, normalize, required, sql, unique } = facts
  const nameOf = (field: string) => names[field] ?? field
  const problems: Array<string> = []
  const fitted = (fields: ReadonlyArray<Field>) =>
    fields.flatMap((field) => {
      const name = nameOf(field.name)
      const raw = columns.get(normalize(name))
      const column = raw === undefined
        ? `There is no column ${quote(name)} for the field ${quote(field.name)}. The table has ${
          list(Array.from(columns.keys()))
        }. Add the column, or name another one with the option "columns".`
        : toColumn(field, name, raw)
      if (typeof column !== "string") return [column]
      problems.push(column)
      return []
    })
  const own = fitted(fieldsOf(definition.schema))
  const hidden = fitted(hiddenFieldsOf(definition.schema))

  const isUnique = (fields: ReadonlyArray<string>) => {
    const wanted = fields.map((field) => normalize(nameOf(field)))
    return unique.some((found) =>
      found.length === wanted.length && found.every((column) => wanted.includes(normalize(column)))
    )
  }
  const keyName = nameOf(definition.key)
  if (columns.has(normalize(keyName)) && !isUnique([definition.key])) {
    problems.push(
      `The column ${
        quote(keyName)
      } of the key has no constraint that makes it unique. Make it the PRIMARY KEY, or add a UNIQUE \
constraint of this column alone.`
    )
  }
  const given = new Set(
    [...own, ...hidden].flatMap(({ field, name }) =>
      field.name === definition.version || !definition.generated.includes(field.name) ? [normalize(name)] : []
    )
  )
  const unfilled = required.filter((column) => !given.has(normalize(column))).map((column) =>
    `Nothing fills the column ${
      quote(column)
    } of a new row: it is NOT NULL, has no default, and no field of the repository is \
written to it. Unless a trigger does, no row can be added. Give it a default, or a field.`
  )
  const ambiguous = definition.unique.filter((fields) => !isUnique(fields)).map((fields) =>
    `Nothing keeps two rows from having the same ${list(fields.map(nameOf))}, which the repository says is unique: \
the table has no UNIQUE constraint of it.`
  )

  const fieldNames = new Map(own.map(({ field, name }) => [normalize(name), field.name]))
  const key = own.find(({ field }) => field.name === definition.key)
  return {
    problems,
    warnings: [...unfilled, ...ambiguous],
    table: key === undefined ? undefined : {
      sql,
      columns: own,
      hidden,
      key,
      constraints: new Map(Array.from(constraints, ([name, columns]) => [
        name,
        columns.flatMap((column) => fieldNames.get(normalize(column)) ?? [])
      ]))
    }
  }
}

/** Says that a column cannot keep the values of a field. */
export const unsuited = ({ kind, name }: Field, column: string, type: string, advice: string): string =>
  `The column ${quote(column)} for the field ${quote(name)} is of the type ${type}, which does not keep ${
    kinds[kind]
  }. ${advice}`

const kinds: Record<Field["kind"], string> = {
  text: "text as it is",
  number: "numbers as they are",
  bigint: "whole numbers as they are",
  boolean: "true and false",
  instant: "instants",
  bytes: "bytes",
  encoded: "text as it is",
  json: "JSON"
}

export const quote = (name: string): string => JSON.stringify(name)

export const list = (names: ReadonlyArray<string>): string => names.length === 0 ? "none" : names.map(quote).join(", ")
