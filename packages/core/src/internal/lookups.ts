/**
 * What a query string compares fields with: its texts, as the values of a field.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Filter from "../Filter.ts"
import type { Definition, RowSchema } from "../Repository.ts"

/** A row, by the names of its fields. */
export type Row = Readonly<Record<string, unknown>>

/** How a client may compare a field: `exact` by its name alone, the others by `<name>__<lookup>`. */
export type Lookup =
  | "exact"
  | "ne"
  | "lt"
  | "lte"
  | "gt"
  | "gte"
  | "in"
  | "contains"
  | "icontains"
  | "startswith"
  | "isnull"

/** What values a field has; nobody knows how to compare the `other` ones. */
export type Kind = "text" | "number" | "bigint" | "boolean" | "date" | "mixed" | "other"

/** A field of a row, as far as queries are concerned. Its values are those that are not null. */
export interface Field {
  readonly name: string
  readonly kind: Kind
  readonly isNullable: boolean
  /** A value out of the text that stands for it, or what was expected. */
  readonly fromText: (text: string) => Result.Result<{}, string>
  /** The value in a row, `null` where there is none. */
  readonly of: (row: Row) => {} | null
  /** What a value is compared with in a filter. */
  readonly toFilter: (value: {}) => {}
  /** A value as JSON, and back: `undefined` where it is none. */
  readonly toJson: (value: {}) => unknown
  readonly fromJson: (json: unknown) => {} | undefined
}

/** No text that is compared with a field is longer, in UTF-16 code units. */
export const maxText = 1024

/** So many values of `in` at the most. */
export const maxValues = 100

// ---- fields

/** The field of this name, `undefined` where there is none. A row is made of them. */
export const fieldOf = ({ schema }: Definition, name: string): Field | undefined => {
  const ast = astOf(schema, name)
  if (ast === undefined) return undefined
  const { bare, isNullable, isOption } = unwrap(ast)
  const type = SchemaAST.toType(bare)
  const kind = kindOf(type)
  const json = Schema.toCodecJson(schemaOf(type))
  const decode = Schema.decodeUnknownExit(json)
  return {
    name,
    kind,
    isNullable,
    fromText: kind === "other" ? () => Result.fail("Expected nothing") : reader(bare, kind),
    of: (row) => {
      const value = row[name]
      return (Option.isOption(value) ? Option.getOrNull(value) : value) ?? null
    },
    toFilter: isOption ? Option.some : identity,
    toJson: Schema.encodeUnknownSync(json),
    fromJson: (json) => Option.getOrUndefined(Exit.getSuccess(decode(json))) ?? undefined
  }
}

/** Of a model, its fields as clients see them, unless they do not. */
const astOf = (schema: RowSchema, name: string): SchemaAST.AST | undefined => {
  const shown = "json" in schema ? (schema.json as RowSchema).fields : {}
  for (const fields of [shown, schema.fields]) {
    if (Object.hasOwn(fields, name)) return fields[name]!.ast
  }
  return undefined
}

/** A field without what says that it may be null. */
const unwrap = (ast: SchemaAST.AST): {
  readonly bare: SchemaAST.AST
  readonly isNullable: boolean
  readonly isOption: boolean
} => {
  const isOptional = SchemaAST.isOptional(ast)
  if (idOf(ast) === "effect/schema/Option") {
    return { bare: (ast as SchemaAST.Declaration).typeParameters[0]!, isNullable: true, isOption: true }
  }
  // A union that is decoded as a whole may make null of anything.
  if (ast._tag !== "Union") return { bare: ast, isNullable: isOptional, isOption: false }
  const isNullable = isOptional || ast.types.some(isNull)
  if (ast.encoding !== undefined) return { bare: ast, isNullable, isOption: false }
  const types = ast.types.filter((type) => !isNull(type))
  const bare = types.length === 1 ? types[0]! : new SchemaAST.Union(types, ast.options)
  return { bare, isNullable, isOption: false }
}

const isNull = (ast: SchemaAST.AST): boolean => ast._tag === "Null" || ast._tag === "Undefined" || ast._tag === "Void"

const idOf = (ast: SchemaAST.AST): unknown =>
  (ast.annotations?.["representation"] as { readonly id?: unknown } | undefined)?.id

const schemaOf = (ast: SchemaAST.AST) => Schema.make<Schema.Codec<unknown, unknown>>(ast)

const kindOf = (type: SchemaAST.AST): Kind => {
  switch (type._tag) {
    case "String":
    case "TemplateLiteral":
      return "text"
    case "Number":
      return "number"
    case "BigInt":
      return "bigint"
    case "Boolean":
      return "boolean"
    case "Literal":
      return kindOfValue(type.literal)
    case "Enum":
      return common(type.enums.map(([, value]) => kindOfValue(value)))
    case "Union":
      return common(type.types.filter((member) => !isNull(member)).map(kindOf))
    case "Declaration": {
      const id = idOf(type)
      return typeof id === "string" && instants.has(id) ? "date" : "other"
    }
    default:
      return "other"
  }
}

const instants: ReadonlySet<string> = new Set([
  "effect/schema/Date",
  "effect/schema/DateTimeUtc",
  "effect/schema/DateTimeZoned"
])

const kindOfValue = (value: SchemaAST.LiteralValue): Kind =>
  typeof value === "string" ? "text" : typeof value as "number" | "bigint" | "boolean"

const common = (kinds: ReadonlyArray<Kind>): Kind =>
  kinds.length === 0 || kinds.includes("other")
    ? "other"
    : kinds.every((kind) => kind === kinds[0])
    ? kinds[0]!
    : "mixed"

// ---- values

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

const expectations: Partial<Record<Kind, string>> = {
  number: "Expected a number",
  bigint: "Expected a whole number",
  boolean: "Expected \"true\" or \"false\"",
  date: "Expected a date, as 2026-01-31 or 2026-01-31T12:00:00Z"
}

/** Reads the values of a field by its own schema: what it makes numbers and dates of is not always one. */
const reader = (ast: SchemaAST.AST, kind: Kind): Field["fromText"] => {
  const decode = Schema.decodeUnknownExit(Schema.toCodecStringTree(schemaOf(ast)))
  const expected = expectations[kind]
  const encoded = SchemaAST.toEncoded(ast)._tag
  const isPlain = expected === undefined
    ? () => true
    : kind === "number" && encoded === "Number"
    ? (text: string) => isTrimmed(text) && Number.isFinite(Number(text))
    : kind === "date" && (encoded === "String" || encoded === "Declaration")
    ? (text: string) => /^[+-]?\d{4,6}-\d\d-\d\d/.test(text)
    : isTrimmed
  return (text) => {
    if (hasNul(text)) return Result.fail(withoutNul)
    if (!isPlain(text)) return Result.fail(expected!)
    const exit = decode(text)
    if (Exit.isFailure(exit)) return Result.fail(messageOf(exit.cause))
    const value = exit.value
    return value === undefined || value === null || (typeof value === "number" && !Number.isFinite(value))
      ? Result.fail(expected ?? "Expected a value")
      : Result.succeed(value)
  }
}

/** Some databases have no texts with it, and fail where they are asked for one. */
export const hasNul = (text: string): boolean => text.includes("\0")
export const withoutNul = "Expected no character U+0000"

const isTrimmed = (text: string): boolean => text !== "" && text.trim() === text

/** What was expected instead. */
const messageOf = (cause: Cause.Cause<Schema.SchemaError>): string => {
  const error = Cause.findErrorOption(cause)
  if (Option.isNone(error)) throw Cause.squash(cause)
  const messages = formatIssues(error.value.issue).issues.map(({ message }) => message)
  return Array.from(new Set(messages)).join("; ")
}

// ---- comparisons

/** The filter that the texts of a parameter stand for, or what was expected. There is more than one text for `in` only. */
export type Comparison = (texts: ReadonlyArray<string>) => Result.Result<Filter.Filter<Row>, string>

/** One field, compared with a value. */
export const compare = (field: Field, operator: Filter.Operator, value?: unknown): Filter.Filter<Row> =>
  Filter.fromTree({ _tag: "Comparison", field: field.name, operator, value })

/** How the texts of a parameter are compared with a field; `undefined` where the lookup does not fit it. */
export const comparison = (field: Field, lookup: Lookup): Comparison | undefined => {
  if (!fits(field.kind, lookup)) return undefined
  switch (lookup) {
    case "exact":
      return byValue(field, "eq")
    case "ne": {
      const equal = byValue(field, "eq")
      return (texts) => Result.map(equal(texts), Filter.not)
    }
    case "lt":
    case "lte":
    case "gt":
    case "gte":
      return byValue(field, lookup)
    case "in":
      return (texts) => {
        const values: Array<{}> = []
        for (const text of texts) {
          const value = field.fromText(text)
          if (Result.isFailure(value)) return Result.fail(value.failure)
          values.push(field.toFilter(value.success))
        }
        return Result.succeed(compare(field, "in", values))
      }
    case "contains":
    case "icontains":
      return byText(field, lookup)
    case "startswith":
      return byText(field, "startsWith")
    case "isnull":
      return ([text]) => {
        if (text !== "true" && text !== "false") return Result.fail("Expected \"true\" or \"false\"")
        const isNull = compare(field, "isNull")
        return Result.succeed(text === "true" ? isNull : Filter.not(isNull))
      }
  }
}

const byValue = (field: Field, operator: Filter.Operator): Comparison => ([text]) =>
  Result.map(field.fromText(text!), (value) => compare(field, operator, field.toFilter(value)))

const byText = (field: Field, operator: Filter.Operator): Comparison => ([text]) =>
  hasNul(text!) ? Result.fail(withoutNul) : Result.succeed(compare(field, operator, text))

/** How a field can be compared. */
export const fitting = ({ kind }: Field): ReadonlyArray<Lookup> => all.filter((lookup) => fits(kind, lookup))

const all: ReadonlyArray<Lookup> = [
  "exact",
  "ne",
  "lt",
  "lte",
  "gt",
  "gte",
  "in",
  "isnull",
  "contains",
  "icontains",
  "startswith"
]

const fits = (kind: Kind, lookup: Lookup): boolean => {
  switch (lookup) {
    case "exact":
    case "ne":
    case "in":
      return kind !== "other"
    case "lt":
    case "lte":
    case "gt":
    case "gte":
      return isOrdered(kind) && kind !== "boolean"
    case "contains":
    case "icontains":
    case "startswith":
      return kind === "text"
    case "isnull":
      return true
    default:
      // One that is none, in spite of the types.
      return false
  }
}

/** Whether rows can be in order by fields of this kind. */
export const isOrdered = (kind: Kind): boolean => kind !== "mixed" && kind !== "other"
