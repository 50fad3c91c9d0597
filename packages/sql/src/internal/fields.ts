/**
 * The fields of a row: what kind of value they have, and how null is told.
 */
import type { RowSchema } from "@effect-channels/core/Repository"
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"

/**
 * What a field holds. `encoded` is anything that its schema makes text of, `json` is anything else.
 */
export type Kind = "text" | "number" | "bigint" | "boolean" | "instant" | "bytes" | "encoded" | "json"

/** A field of a row. Its bare values are those that are not null, an instant is a number of milliseconds. */
export interface Field {
  readonly name: string
  readonly kind: Kind
  /** Whether a row may be without a value. */
  readonly isNullable: boolean
  /** The bare value of one of the field's type; null where it stands for none. */
  readonly toBare: (value: unknown) => {} | null
  /** The value that stands for a bare one. */
  readonly fromBare: (bare: {}) => unknown
  /** What stands for none. */
  readonly none: unknown
  /** Whether a row that has none is without the field. */
  readonly isLeftOut: boolean
}

/** The fields of a row, in their order. */
export const fieldsOf = (schema: RowSchema): ReadonlyArray<Field> =>
  Object.keys(schema.fields).map((name) => fieldOf(name, schema.fields[name]!.ast))

/** The fields that only a new row has: those of a model that nobody reads. */
export const hiddenFieldsOf = (schema: RowSchema): ReadonlyArray<Field> =>
  "insert" in schema
    ? fieldsOf(schema.insert as RowSchema).filter(({ name }) => !Object.hasOwn(schema.fields, name))
    : []

const fieldOf = (name: string, ast: SchemaAST.AST): Field => {
  const isOptional = SchemaAST.isOptional(ast)
  const type = resolve(SchemaAST.toType(ast))
  if (idOf(type) === "effect/schema/Option") {
    const inner = (type as SchemaAST.Declaration).typeParameters[0]!
    const { fromBare, kind, toBare } = codecOf(inner, inner)
    return {
      name,
      kind,
      isNullable: true,
      toBare: (value) => {
        const some = Option.isOption(value) ? Option.getOrNull(value) : value
        return some === null || some === undefined ? null : toBare(some)
      },
      fromBare: (bare) => Option.some(fromBare(bare)),
      none: Option.none(),
      isLeftOut: false
    }
  }
  const members = membersOf(type)
  const acceptsNull = members.some((member) => member._tag === "Null")
  const acceptsUndefined = members.some(isUndefined)
  const { fromBare, kind, toBare } = codecOf(type, ast)
  return {
    name,
    kind,
    isNullable: isOptional || acceptsNull || acceptsUndefined,
    toBare: (value) => value === null || value === undefined ? null : toBare(value),
    fromBare,
    none: acceptsNull ? null : undefined,
    isLeftOut: isOptional && !acceptsNull
  }
}

interface Codec {
  readonly kind: Kind
  readonly toBare: (value: {}) => {}
  readonly fromBare: (bare: {}) => unknown
}

const same = { toBare: (value: {}) => value, fromBare: (bare: {}) => bare }

/** How the values of a type are stored; `encoding` is the schema that says so where they are not plain ones. */
const codecOf = (type: SchemaAST.AST, encoding: SchemaAST.AST): Codec => {
  const kind = kindOf(type)
  switch (kind) {
    case "text":
    case "number":
    case "bigint":
    case "boolean":
    case "bytes":
      return { kind, ...same }
    case "instant":
      return membersOf(type).some((member) => idOf(member) === "effect/schema/DateTimeUtc")
        ? {
          kind,
          toBare: (value) => value instanceof Date ? value.getTime() : DateTime.toEpochMillis(value as DateTime.Utc),
          fromBare: (bare) => DateTime.makeUnsafe(bare as number)
        }
        : {
          kind,
          toBare: (value) => value instanceof Date ? value.getTime() : DateTime.toEpochMillis(value as DateTime.Utc),
          fromBare: (bare) => new Date(bare as number)
        }
    case "json": {
      const own = Schema.toCodecJson(schemaOf(encoding))
      const plain = Schema.toCodecJson(schemaOf(type))
      // What is text only because its schema makes JSON of it: the column has the JSON itself.
      const codec = isTextOnly(own) && !isTextOnly(plain) ? plain : own
      return {
        kind: isTextOnly(codec) ? "encoded" : "json",
        toBare: Schema.encodeUnknownSync(codec) as (value: {}) => {},
        fromBare: Schema.decodeUnknownSync(codec)
      }
    }
  }
}

const schemaOf = (ast: SchemaAST.AST) => Schema.make<Schema.Codec<unknown, unknown>>(ast)

const resolve = (ast: SchemaAST.AST): SchemaAST.AST => ast._tag === "Suspend" ? resolve(ast.thunk()) : ast

const membersOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> =>
  ast._tag === "Union" ? ast.types.flatMap((member) => membersOf(resolve(member))) : [ast]

const isUndefined = (ast: SchemaAST.AST): boolean => ast._tag === "Undefined" || ast._tag === "Void"

const isNothing = (ast: SchemaAST.AST): boolean => ast._tag === "Null" || isUndefined(ast)

const isTextOnly = (codec: Schema.Constraint): boolean => {
  const members = membersOf(SchemaAST.toEncoded(codec.ast)).filter((member) => !isNothing(member))
  return members.length > 0 && members.every((member) => kindOf(member) === "text")
}

const idOf = (ast: SchemaAST.AST): unknown =>
  (ast.annotations?.["representation"] as { readonly id?: unknown } | undefined)?.id

type Simple = Exclude<Kind, "encoded">

const kindOf = (type: SchemaAST.AST): Simple => {
  const kinds = new Set(membersOf(type).filter((member) => !isNothing(member)).map(kindOfMember))
  const [kind] = kinds
  return kinds.size === 1 ? kind! : "json"
}

const kindOfMember = (type: SchemaAST.AST): Simple => {
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
    case "Enum": {
      const kinds = new Set(type.enums.map(([, value]) => kindOfValue(value)))
      const [kind] = kinds
      return kinds.size === 1 ? kind! : "json"
    }
    case "Declaration": {
      const id = idOf(type)
      return id === "effect/schema/Date" || id === "effect/schema/DateTimeUtc"
        ? "instant"
        : id === "effect/schema/Uint8Array"
        ? "bytes"
        : "json"
    }
    default:
      return "json"
  }
}

const kindOfValue = (value: SchemaAST.LiteralValue): Simple =>
  typeof value === "string" ? "text" : typeof value as "number" | "bigint" | "boolean"
