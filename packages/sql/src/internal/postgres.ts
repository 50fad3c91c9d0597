/**
 * Tables of PostgreSQL.
 *
 * Every parameter is text with a cast, or of the type of the column that it is written to: so one statement is one for the
 * database as well, whatever its values are.
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
  type Place,
  placeOfBigint,
  placeOfInstantText,
  placeOfText,
  quoted,
  type Side,
  toBigint,
  toBytes,
  toMillis,
  toNumber,
  toText
} from "./columns.ts"
import type { Field } from "./fields.ts"
import { type Findings, fit, list, missing, unsuited, type Wanted } from "./table.ts"

export const dialect: Dialect = {
  placeholder: (n) => `$${n}`,
  hasNul: false,
  position: (text, part) => `strpos(${text}, ${part})`,
  isOneOf: (query, { cast, left }, parameters, isNegated) =>
    `${left} ${isNegated ? "<> ALL" : "= ANY"} (${query.add(array(parameters))}${cast}[])`,
  ascending: "ASC NULLS FIRST",
  descending: "DESC NULLS LAST",
  lock: " FOR UPDATE",
  noLimit: "",
  number: (query, value) => `${query.add(String(value))}::int8`
}

/** An array as text. */
const array = (parameters: ReadonlyArray<Parameter>): string =>
  `{${parameters.map((parameter) => `"${String(parameter).replaceAll(/["\\]/g, "\\$&")}"`).join()}}`

/** A write in a transaction. One that is refused would end all of it. */
export const inTransaction = <A>(sql: SqlClient, write: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  sql.withTransaction(write)

// ---- what the catalog says

interface Raw {
  readonly name: string
  /** The type, without its domains: `int4`. */
  readonly type: string
  /** As it is written in a cast. */
  readonly cast: string
  readonly isEnum: boolean
  readonly labels: ReadonlyArray<string> | null
  /** What is said in brackets of the type; -1 where that is nothing. */
  readonly modifier: number
  readonly notNull: boolean
  /** Whether a new row must be given a value. */
  readonly isRequired: boolean
  /** Whether text is compared by its code points, and as equal only if it is the same. */
  readonly isBinary: boolean
  readonly isDeterministic: boolean
}

interface Catalog {
  readonly found: boolean
  readonly schemas: ReadonlyArray<string>
  readonly columns: ReadonlyArray<Raw> | null
  readonly unique: ReadonlyArray<{ readonly name: string; readonly columns: ReadonlyArray<string> }> | null
  readonly constraints: ReadonlyArray<{ readonly name: string; readonly columns: ReadonlyArray<string> | null }> | null
}

const catalog = `
WITH RECURSIVE relation AS (
  SELECT to_regclass($1::text)::oid AS oid
),
types AS (
  SELECT a.attnum, t.oid, t.typtype, t.typbasetype, t.typtypmod, a.atttypmod AS modifier
  FROM relation r
  JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  UNION ALL
  SELECT d.attnum, t.oid, t.typtype, t.typbasetype, t.typtypmod, d.typtypmod
  FROM types d JOIN pg_catalog.pg_type t ON t.oid = d.typbasetype
  WHERE d.typtype = 'd'
),
locale AS (
  SELECT d.datcollate IN ('C', 'POSIX') OR to_jsonb(d) ->> 'datlocprovider' = 'b' AS is_binary
  FROM pg_catalog.pg_database d WHERE d.datname = current_database()
)
SELECT json_build_object(
  'found', r.oid IS NOT NULL,
  'schemas', to_json(current_schemas(false)),
  'columns', (
    SELECT json_agg(json_build_object(
      'name', a.attname,
      'type', t.typname,
      'cast', format_type(t.oid, NULL),
      'isEnum', t.typtype = 'e',
      'labels', (SELECT json_agg(e.enumlabel) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
      'modifier', b.modifier,
      'notNull', a.attnotnull,
      'isRequired', NOT a.atthasdef AND a.attidentity = '' AND d.typdefault IS NULL AND (a.attnotnull OR EXISTS (
        SELECT FROM types n JOIN pg_catalog.pg_type t ON t.oid = n.oid WHERE n.attnum = a.attnum AND t.typnotnull
      )),
      'isBinary', CASE
        WHEN c.collname = 'default' THEN (SELECT is_binary FROM locale)
        ELSE coalesce(c.collname IN ('C', 'POSIX', 'ucs_basic') OR c.collprovider = 'b', true)
      END,
      'isDeterministic', coalesce(c.collisdeterministic, true)
    ) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    JOIN types b ON b.attnum = a.attnum AND b.typtype <> 'd'
    JOIN pg_catalog.pg_type t ON t.oid = b.oid
    JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
    WHERE a.attrelid = r.oid
  ),
  'unique', (
    SELECT json_agg(json_build_object('name', i.relname, 'columns', (
      SELECT json_agg(a.attname)
      FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = r.oid AND a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1])
    )))
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
    WHERE x.indrelid = r.oid AND x.indisunique AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL
  ),
  'constraints', (
    SELECT json_agg(json_build_object('name', c.conname, 'columns', (
      SELECT json_agg(a.attname)
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.oid AND a.attnum = ANY (c.conkey)
    )))
    FROM pg_catalog.pg_constraint c WHERE c.conrelid = r.oid AND c.contype IN ('c', 'f', 'x')
  )
)::text FROM relation r`

export const inspect = Effect.fnUntraced(function*(
  sql: SqlClient,
  wanted: Wanted
): Effect.fn.Return<Findings, SqlError> {
  const [row] = yield* sql.unsafe(catalog, [quoted(wanted.table)]).values
  const found: Catalog = JSON.parse(String(row![0]))
  if (!found.found) {
    return missing(
      wanted.table,
      wanted.table.includes(".") ? "" : `; the schemas that were looked in are ${list(found.schemas)}`
    )
  }
  const unique = found.unique ?? []
  return fit(wanted, {
    sql: quoted(wanted.table),
    columns: new Map((found.columns ?? []).map((column) => [column.name, column])),
    normalize: (name) => name,
    unique: unique.map(({ columns }) => columns),
    required: (found.columns ?? []).flatMap(({ isRequired, name }) => isRequired ? [name] : []),
    constraints: new Map([...unique, ...found.constraints ?? []].map(({ columns, name }) => [name, columns ?? []]))
  }, toColumn)
})

// ---- columns

const whole: ReadonlySet<string> = new Set(["int2", "int4", "int8"])
const float: ReadonlySet<string> = new Set(["float4", "float8"])
const plainText: ReadonlySet<string> = new Set(["text", "varchar"])

/** What is not read as it was written: padded with blanks, or written in another way. */
const noText: ReadonlySet<string> = new Set(["bpchar", "json", "jsonb", "bytea"])

const exact = (parameter: Parameter): Place => ({ parameter, isExact: true })

const toColumn = (field: Field, name: string, raw: Raw): Column | string => {
  const sql = identifier(raw.name)
  const side = (cast: string, left = sql): Side => ({ left, cast: `::${cast}` })
  const column = { field, name, sql, read: sql, order: sql, isNullable: !raw.notNull, text: undefined }
  const unfit = (advice: string) => unsuited(field, raw.name, raw.cast, advice)
  const { type } = raw
  switch (field.kind) {
    case "text":
      return noText.has(type) ? unfit("Make it text or varchar.") : { ...column, ...textColumn(sql, raw) }
    case "encoded":
      return type === "json" || type === "jsonb"
        ? { ...column, ...jsonColumn(sql, raw) }
        : noText.has(type)
        ? unfit("Make it text or varchar.")
        : { ...column, ...textColumn(sql, raw), ordered: undefined, text: undefined }
    case "number":
      if (whole.has(type)) {
        return {
          ...column,
          equal: side("int8"),
          ordered: side("int8"),
          place: (bare) => typeof bare === "number" ? placeAmongWhole(bare) : "never",
          encode: String,
          decode: toNumber
        }
      }
      if (!float.has(type) && type !== "numeric") return unfit("Make it double precision, or a type of whole numbers.")
      return {
        ...column,
        equal: side(type === "numeric" ? type : "float8"),
        ordered: side(type === "numeric" ? type : "float8"),
        place: (bare) => typeof bare === "number" ? exact(String(bare)) : "never",
        encode: String,
        decode: toNumber
      }
    case "bigint":
      if (!whole.has(type) && type !== "numeric") return unfit("Make it bigint or numeric.")
      return {
        ...column,
        equal: side(type === "numeric" ? type : "int8"),
        ordered: side(type === "numeric" ? type : "int8"),
        place: (bare) => {
          if (typeof bare !== "bigint") return "never"
          const place = type === "numeric" ? exact(bare) : placeOfBigint(bare, minInt64, maxInt64)
          return typeof place === "string" ? place : exact(String(bare))
        },
        encode: String,
        decode: toBigint
      }
    case "boolean":
      if (type !== "bool") return unfit("Make it boolean.")
      return {
        ...column,
        equal: side(type),
        ordered: side(type),
        place: (bare) => typeof bare === "boolean" ? exact(String(bare)) : "never",
        encode: String,
        decode: (stored) => typeof stored === "boolean" ? stored : undefined
      }
    case "instant":
      if (plainText.has(type)) {
        return {
          ...column,
          ...textColumn(sql, raw),
          text: undefined,
          place: placeOfInstantText,
          encode: instantText,
          decode: toMillis
        }
      }
      if (type === "int8" || type === "float8" || type === "numeric") {
        return {
          ...column,
          equal: side(type),
          ordered: side(type),
          place: (bare) =>
            typeof bare !== "number" ? "never" : type === "int8" ? placeAmongWhole(bare) : exact(String(bare)),
          encode: String,
          decode: toMillis
        }
      }
      if (type !== "timestamptz" && type !== "timestamp" && type !== "date") return unfit("Make it timestamptz(3).")
      return { ...column, ...instantColumn(sql, raw) }
    case "bytes":
      if (type !== "bytea") return unfit("Make it bytea.")
      return {
        ...column,
        equal: side(type),
        ordered: undefined,
        place: (bare) => bare instanceof Uint8Array ? exact(hex(bare)) : "never",
        encode: (bare) => hex(bare as Uint8Array),
        decode: toBytes
      }
    case "json":
      return type === "json" || type === "jsonb"
        ? { ...column, ...jsonColumn(sql, raw) }
        : plainText.has(type)
        ? { ...column, ...jsonTextColumn(sql, raw) }
        : unfit("Make it jsonb.")
  }
}

type Values = Pick<Column, "read" | "order" | "equal" | "ordered" | "text" | "place" | "encode" | "decode" | "next">

const byCodePoints = "COLLATE \"C\""

const textColumn = (sql: string, raw: Raw): Values => {
  const isPlain = plainText.has(raw.type)
  // Any other type is compared as the text that it is read as.
  const text = isPlain ? sql : `${sql}::text`
  const binary = raw.isBinary && isPlain ? text : `${text} ${byCodePoints}`
  const side = { left: binary, cast: "::text" }
  const values = {
    read: text,
    order: binary,
    equal: { left: raw.isDeterministic && isPlain ? text : binary, cast: "::text" },
    ordered: side,
    text: { left: raw.isDeterministic && isPlain ? text : binary, cast: "::text" },
    place: (bare: {}) => placeOfText(bare, false),
    encode: (bare: {}) => bare as string,
    decode: toText
  }
  // The operators of enums do not know their domains.
  const own = { left: raw.isEnum ? `${sql}::${raw.cast}` : sql, cast: `::${raw.cast}` }
  if (raw.type === "uuid") {
    return {
      ...values,
      // The order of its bytes is that of its text.
      order: sql,
      place: (bare) =>
        typeof bare === "string" && uuid.test(bare)
          ? { parameter: bare, isExact: true, side: own }
          : inexact(placeOfText(bare, false))
    }
  }
  if (raw.isEnum) {
    const labels = new Set(raw.labels)
    return {
      ...values,
      place: (bare) => typeof bare === "string" && labels.has(bare) ? exact(bare) : inexact(placeOfText(bare, false)),
      equal: own
    }
  }
  return values
}

/** The place of what is no value of the column, but compared with its values all the same. */
const inexact = (place: Place): Place => typeof place === "string" ? place : { ...place, isExact: false }

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const jsonColumn = (sql: string, raw: Raw): Values => ({
  read: `${sql}::text`,
  order: `${sql}::text`,
  equal: { left: raw.type === "jsonb" ? sql : `${sql}::jsonb`, cast: "::jsonb" },
  ordered: undefined,
  text: undefined,
  place: (bare) => {
    const json = canonicalJson(bare)
    // What it cannot hold equals nothing.
    return unheld.test(json) ? "never" : exact(json)
  },
  encode: (bare) => raw.type === "jsonb" && unheld.test(canonicalJson(bare)) ? undefined : canonicalJson(bare),
  decode: (stored) => typeof stored === "string" ? parse(stored) : undefined
})

/** In JSON: U+0000, or a half of a pair of UTF-16 alone. */
const unheld = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/

const jsonTextColumn = (sql: string, raw: Raw): Values => ({
  ...textColumn(sql, raw),
  ordered: undefined,
  text: undefined,
  place: (bare) => exact(canonicalJson(bare)),
  encode: canonicalJson,
  decode: (stored) => typeof stored === "string" ? parse(stored) : undefined
})

const instantColumn = (sql: string, { modifier, type }: Raw): Values => {
  const cast = type === "timestamptz" ? "::timestamptz" : "::timestamp"
  // Of anything finer than a millisecond nobody hears who reads a Date: so it counts for nothing in an order either.
  const isFine = type !== "date" && (modifier < 0 || modifier > 3)
  const read = type === "date" ? `${sql}::timestamp` : isFine ? `date_trunc('milliseconds', ${sql})` : sql
  const side = { left: sql, cast }
  return {
    read,
    order: isFine ? read : sql,
    equal: side,
    ordered: side,
    text: undefined,
    place: (bare) =>
      typeof bare !== "number"
        ? "never"
        : bare < firstInstant
        ? "before"
        : Number.isNaN(bare)
        ? "after"
        : exact(timestamp(bare)),
    encode: (bare) => (bare as number) < firstInstant ? undefined : timestamp(bare as number),
    decode: toMillis,
    next: isFine ? (bare) => timestamp((bare as number) + 1) : undefined
  }
}

/** The year 4713 before our time, in which PostgreSQL begins to count. */
const firstInstant = Date.UTC(-4712, 0, 1)

/** An instant as PostgreSQL reads it, which has no year 0. */
const timestamp = (millis: number): string => {
  const date = new Date(Math.min(millis, 8.64e15))
  const year = date.getUTCFullYear()
  const rest = date.toISOString().slice(-20)
  const text = (n: number) => String(n).padStart(4, "0") + rest
  return year > 0 ? text(year) : `${text(1 - year)} BC`
}

const hex = (bytes: Uint8Array): string =>
  `\\x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`

const placeAmongWhole = (value: number): Place => {
  if (Number.isNaN(value)) return "after"
  const next = Math.ceil(value)
  if (next < -(2 ** 63)) return "before"
  if (next >= 2 ** 63) return "after"
  return { parameter: String(BigInt(next)), isExact: next === value }
}

const parse = (text: string): {} | undefined => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
