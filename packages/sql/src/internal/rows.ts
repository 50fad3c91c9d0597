/**
 * Rows as a driver tells them, as the rows of a repository.
 */
import type { RowSchema } from "@effect-channels/core/Repository"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import type { Column } from "./columns.ts"
import type { Kind } from "./fields.ts"
import { quote, type Table } from "./table.ts"

export type Row = Readonly<Record<string, unknown>>

/** What a statement answers with: the columns of each row, in the order of the fields. */
export type Stored = ReadonlyArray<ReadonlyArray<unknown>>

/** What rows are read by. Both throw where a row is none. */
export interface Decoder {
  readonly rows: (stored: Stored) => ReadonlyArray<Row>
  readonly key: (row: ReadonlyArray<unknown>) => unknown
}

export const decoder = (schema: RowSchema, name: string, { columns, key }: Table): Decoder => {
  const make = maker(schema)
  const values = columns.map(reader)
  const keyAt = columns.indexOf(key)

  /** Of a row that is none: what is wrong with it, and which one it is, but none of its other values. */
  const misfit = (row: ReadonlyArray<unknown>, problem: string): TypeError =>
    new TypeError(
      `The row ${quote(key.name)} = ${String(row[keyAt])} of the table ${
        quote(name)
      } does not fit its schema: ${problem}`
    )

  const at = (row: ReadonlyArray<unknown>, i: number, error: unknown): TypeError =>
    misfit(row, `column ${quote(columns[i]!.name)}: ${Schema.isSchemaError(error) ? messageOf(error.issue) : error}`)

  const toRow = (row: ReadonlyArray<unknown>): Row => {
    const fields: Record<string, unknown> = {}
    let i = 0
    try {
      for (; i < columns.length; i++) {
        const { field } = columns[i]!
        const value = values[i]!(row[i])
        if (value !== undefined || !field.isLeftOut) fields[field.name] = value
      }
    } catch (error) {
      throw at(row, i, error)
    }
    return fields
  }

  return {
    rows: (stored) => {
      const rows = stored.map(toRow)
      const made = make(rows)
      if (made._tag === "Made") return made.rows
      for (const [i, row] of rows.entries()) {
        const one = make([row])
        if (one._tag === "Misfit") throw misfit(stored[i]!, one.problem)
      }
      throw new TypeError(`Rows of the table ${quote(name)} do not fit together: ${made.problem}`)
    },
    key: (row) => {
      try {
        return values[keyAt]!(row[keyAt])
      } catch (error) {
        throw at(row, keyAt, error)
      }
    }
  }
}

/** Makes the value of a field of what is stored; throws where that is none. */
const reader = ({ decode, field }: Column): (stored: unknown) => unknown => {
  const { fromBare, kind, none } = field
  return (stored) => {
    if (stored === null) return none
    const bare = decode(stored)
    if (bare === undefined) throw `Expected ${expected[kind]}`
    return fromBare(bare)
  }
}

const expected: Record<Kind, string> = {
  text: "text",
  number: "a number that can be told exactly",
  bigint: "a whole number",
  boolean: "true or false",
  instant: "an instant",
  bytes: "bytes",
  encoded: "text",
  json: "JSON"
}

type Made =
  | { readonly _tag: "Made"; readonly rows: ReadonlyArray<Row> }
  | { readonly _tag: "Misfit"; readonly problem: string }

/** Checks the fields of rows, all at once, and makes instances of them where their schema is a class. */
const maker = (schema: RowSchema): (rows: ReadonlyArray<Row>) => Made => {
  if (SchemaAST.toType(schema.ast)._tag === "Declaration") {
    const Class = schema as unknown as new(fields: Row) => Row
    return (rows) => {
      try {
        return { _tag: "Made", rows: rows.map((row) => new Class(row)) }
      } catch (error) {
        const issue = error instanceof Error ? error.cause : undefined
        return { _tag: "Misfit", problem: SchemaIssue.isIssue(issue) ? messageOf(issue) : String(error) }
      }
    }
  }
  const decode = Schema.decodeUnknownExit(Schema.Array(Schema.toType(schema as Schema.ConstraintCodec<Row, unknown>)))
  return (rows) => {
    const exit = decode(rows)
    if (Exit.isSuccess(exit)) return { _tag: "Made", rows: exit.value }
    const error = Cause.findErrorOption(exit.cause)
    return { _tag: "Misfit", problem: Option.isSome(error) ? messageOf(error.value.issue) : Cause.pretty(exit.cause) }
  }
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

/** What was expected, and in which field. What was found stays untold. */
const messageOf = (issue: SchemaIssue.Issue): string =>
  format(issue).issues.map(({ message, path = [] }) => {
    const names = path.map((part) => String(typeof part === "object" ? part.key : part)).filter((part) =>
      !/^\d+$/.test(part)
    )
    return names.length === 0 ? message : `field ${quote(names.join("."))}: ${message}`
  }).join("; ")
