/**
 * Tables of SQLite.
 */
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import {
  canonicalJson,
  type Column,
  type Dialect,
  identifier,
  instantText,
  maxInt64,
  minInt64,
  type Parameter,
  partsOf,
  type Place,
  placeOfBigint,
  placeOfInstantText,
  placeOfText,
  quoted,
  toBigint,
  toBytes,
  toMillis,
  toNumber,
  toText
} from "./columns.ts"
import type { Field } from "./fields.ts"
import { type Findings, fit, missing, unsuited, type Wanted } from "./table.ts"

/** Up to so many values are parameters of their own. */
const maxInline = 64

export const dialect: Dialect = {
  placeholder: () => "?",
  hasNul: true,
  position: (text, part) => `instr(${text}, ${part})`,
  isOneOf: (query, { left }, parameters, isNegated) => {
    const is = isNegated ? "NOT IN" : "IN"
    if (parameters.length > maxInline && !parameters.some((parameter) => parameter instanceof Uint8Array)) {
      return `${left} ${is} (SELECT value FROM json_each(${query.add(`[${parameters.map(json).join()}]`)}))`
    }
    // The first one again and again, so that there are few different statements.
    const length = 2 ** Math.ceil(Math.log2(parameters.length))
    const all = Array.from({ length }, (_, i) => query.add(parameters[i] ?? parameters[0]!))
    return `${left} ${is} (${all.join(", ")})`
  },
  ascending: "ASC",
  descending: "DESC",
  lock: "",
  noLimit: " LIMIT -1",
  number: (_query, value) => String(value)
}

const json = (parameter: Parameter): string =>
  typeof parameter === "bigint"
    ? String(parameter)
    : parameter === Infinity
    ? "9e999"
    : parameter === -Infinity
    ? "-9e999"
    : JSON.stringify(parameter)

/** A write in a transaction. One that is refused leaves the rest of it as it is. */
export const inTransaction = <A>(_sql: SqlClient, write: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  write

interface Raw {
  readonly name: string
  readonly type: string
  readonly isNullable: boolean
  /** What is said where text is compared. */
  readonly collation: string
}

export const inspect = Effect.fnUntraced(function*(
  sql: SqlClient,
  wanted: Wanted
): Effect.fn.Return<Findings, SqlError> {
  const { name, schema = null } = partsOf(wanted.table)
  if (schema !== null) {
    const [database] = yield* sql.unsafe("SELECT 1 FROM pragma_database_list WHERE lower(name) = lower(?)", [schema])
      .values
    if (database === undefined) return missing(wanted.table, ", nor a database of that name")
  }
  const found = yield* sql.unsafe(
    `SELECT name, type, "notnull", pk, "notnull" AND hidden = 0 AND dflt_value IS NULL \
FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1`,
    [name, schema]
  ).values
  if (found.length === 0) return missing(wanted.table, "")
  const indexes = yield* sql.unsafe(
    `SELECT i.name, c.name, i.origin FROM pragma_index_list(?, ?) i, pragma_index_info(i.name, ?) c \
WHERE i."unique" = 1 AND i.partial = 0 ORDER BY i.name, c.seqno`,
    [name, schema, schema]
  ).values
  const [definition] = yield* sql.unsafe(
    `SELECT sql FROM ${schema === null ? "" : `${identifier(schema)}.`}sqlite_schema WHERE lower(name) = lower(?)`,
    [name]
  ).values
  // SQLite does not tell how a column compares its text. Where nobody has said so, it is as we want it.
  const isBinary = definition !== undefined && !/\bcollate\b/i.test(String(definition[0]))
  const key = found.flatMap(([name, , , position]) => Number(position) > 0 ? [String(name)] : [])
  // The key that stands for the number that every row has: it needs no index.
  const hasNumber = key.length === 1 && !indexes.some(([, , origin]) => origin === "pk")
  const isNumber = (type: unknown, position: unknown) =>
    hasNumber && Number(position) > 0 && /^integer$/i.test(String(type))
  const columns = new Map(found.map(([name, type, notNull, position]): [string, Raw] => [String(name).toLowerCase(), {
    name: String(name),
    type: String(type),
    isNullable: Number(notNull) === 0 && !isNumber(type, position),
    collation: isBinary ? "" : " COLLATE BINARY"
  }]))
  const unique = new Map<unknown, Array<string>>()
  for (const [index, column] of indexes) {
    const before = unique.get(index)
    // An expression has no name.
    if (before === undefined) unique.set(index, [String(column)])
    else before.push(String(column))
  }
  return fit(wanted, {
    sql: quoted(wanted.table),
    columns,
    normalize: (name) => name.toLowerCase(),
    unique: [key, ...unique.values()],
    required: found.flatMap(([name, type, , position, isRequired]) =>
      Number(isRequired) === 1 && !isNumber(type, position) ? [String(name)] : []
    ),
    constraints: new Map()
  }, toColumn)
})

type Affinity = "INTEGER" | "TEXT" | "BLOB" | "REAL" | "NUMERIC"

/** What SQLite makes of the values of a column that is declared like this. */
const affinityOf = (type: string): Affinity =>
  /int/i.test(type)
    ? "INTEGER"
    : /char|clob|text/i.test(type)
    ? "TEXT"
    : type === "" || /blob/i.test(type)
    ? "BLOB"
    : /real|floa|doub/i.test(type)
    ? "REAL"
    : "NUMERIC"

const toColumn = (field: Field, name: string, raw: Raw): Column | string => {
  const affinity = affinityOf(raw.type)
  const sql = identifier(raw.name)
  const side = { left: sql, cast: "" }
  const column = {
    field,
    name,
    sql,
    read: sql,
    order: sql,
    isNullable: raw.isNullable,
    equal: side,
    ordered: side,
    text: undefined
  }
  const text = { left: `${sql}${raw.collation}`, cast: "" }
  const unfit = (advice: string) =>
    unsuited(field, raw.name, raw.type === "" ? "that is not declared" : raw.type, advice)
  switch (field.kind) {
    case "text":
    case "encoded": {
      if (affinity !== "TEXT" && affinity !== "BLOB") return unfit("Declare it TEXT.")
      const isText = field.kind === "text"
      return {
        ...column,
        order: text.left,
        equal: text,
        ordered: isText ? text : undefined,
        text: isText ? text : undefined,
        place: (bare) => placeOfText(bare, true),
        encode: (bare) => bare as string,
        decode: toText
      }
    }
    case "number":
      if (affinity === "TEXT") return unfit("Declare it INTEGER or REAL.")
      return {
        ...column,
        place: placeOfNumber,
        encode: (bare) => Number.isNaN(bare) ? undefined : bare as number,
        decode: toNumber
      }
    case "bigint":
      if (affinity === "TEXT" || affinity === "REAL") return unfit("Declare it INTEGER.")
      return {
        ...column,
        place: (bare) => placeOfBigint(bare, minInt64, maxInt64),
        encode: (bare) => (bare as bigint) < minInt64 || (bare as bigint) > maxInt64 ? undefined : bare as bigint,
        decode: toBigint
      }
    case "boolean":
      if (affinity === "TEXT") return unfit("Declare it INTEGER.")
      return {
        ...column,
        place: (bare) => typeof bare === "boolean" ? { parameter: Number(bare), isExact: true } : "never",
        encode: Number,
        decode: (stored) => {
          const number = typeof stored === "boolean" ? Number(stored) : toNumber(stored)
          return number === 0 || number === 1 ? number === 1 : undefined
        }
      }
    case "instant":
      return affinity === "INTEGER" || affinity === "REAL"
        ? { ...column, place: placeOfNumber, encode: (bare) => bare as number, decode: toMillis }
        : {
          ...column,
          order: text.left,
          equal: text,
          ordered: text,
          place: placeOfInstantText,
          encode: instantText,
          decode: toMillis
        }
    case "bytes":
      if (affinity !== "BLOB") return unfit("Declare it BLOB.")
      return {
        ...column,
        place: placeOfBytes,
        encode: (bare) => bare as Uint8Array,
        decode: toBytes,
        ordered: undefined
      }
    case "json":
      return {
        ...column,
        order: text.left,
        equal: text,
        ordered: undefined,
        place: (bare) => ({ parameter: canonicalJson(bare), isExact: true }),
        encode: canonicalJson,
        decode: (stored) => typeof stored === "string" ? parse(stored) : toNumber(stored)
      }
  }
}

/** SQLite has nothing that is no number: it comes after all that are. */
const placeOfNumber = (bare: {}): Place =>
  typeof bare !== "number" ? "never" : Number.isNaN(bare) ? "after" : { parameter: bare, isExact: true }

const placeOfBytes = (bare: {}): Place => bare instanceof Uint8Array ? { parameter: bare, isExact: true } : "never"

const parse = (text: string): {} | undefined => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
