/**
 * Values as SQLite knows them, and back.
 */
import type { SQLInputValue } from "node:sqlite"

/** An integer of SQLite, which has 64 bits: a number where it can be told exactly, else a bigint. */
export const integer = (value: number | bigint): number | bigint =>
  typeof value === "bigint" && value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
    ? Number(value)
    : value

export const parameters = (params: ReadonlyArray<unknown>): Array<SQLInputValue> => {
  const values: Array<SQLInputValue> = new Array(params.length)
  for (let i = 0; i < params.length; i++) values[i] = parameter(params[i])
  return values
}

const parameter = (value: unknown): SQLInputValue => {
  switch (typeof value) {
    case "string":
    case "number":
    case "bigint":
      return value
    case "boolean":
      return value ? 1 : 0
    case "undefined":
      return null
  }
  if (value === null) return null
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return value
  throw new TypeError(`A value of type ${typeof value} cannot be a parameter`)
}
