/**
 * What a client may send of an object, and what it is sent: schemas out of the schema of a row.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaParser from "effect/SchemaParser"
import type { Definition, RowSchema } from "../Repository.ts"
import type * as Resource from "../Resource.ts"
import { there } from "./names.ts"

/** The schemas of a resource's payloads and replies. */
export interface Schemas {
  readonly read: Schema.Constraint
  /** The fields of a row that a client is sent. */
  readonly readable: ReadonlyArray<string>
  /** Whether a row is sent as it is. */
  readonly isWhole: boolean
  readonly create: Schema.Constraint
  readonly update: Schema.Constraint
  readonly partialUpdate: Schema.Constraint
  /** The fields of a new row that neither the client nor the database gives. */
  readonly given: ReadonlyArray<string>
}

type Fields = Readonly<Record<string, Schema.Constraint>>

interface Options {
  readonly readOnly: ReadonlyArray<string>
  readonly writeOnly: ReadonlyArray<string>
  readonly computed: Fields
}

/** The schemas of a resource. */
export const make = (definition: Definition, { computed, readOnly, writeOnly }: Options): Schemas => {
  const { generated, schema, version } = definition
  const row = fieldsOf(schema)
  const isHidden = (name: string) => generated.includes(name) || readOnly.includes(name) || name === version
  const without = (fields: Fields, isLeftOut: (name: string) => boolean): Fields =>
    Object.fromEntries(Object.entries(fields).filter(([name]) => !isLeftOut(name)))
  const readable = without(variant(schema, "json") ?? row, (name) => writeOnly.includes(name))
  const isWhole = Object.keys(computed).length === 0 && Object.keys(readable).length === Object.keys(row).length
  const created = without(variant(schema, "jsonCreate") ?? row, isHidden)
  const updated = without(variant(schema, "jsonUpdate") ?? row, isHidden)
  const versioned = version === undefined || !Object.hasOwn(row, version) ? {} : { [version]: row[version]! }
  const inserted = variant(schema, "insert") ?? row
  return {
    read: isWhole ? jsonOf(schema) : struct({ ...readable, ...computed }),
    readable: Object.keys(readable),
    isWhole,
    create: struct(created),
    update: struct({ ...mapFields(updated, (field) => hasDefault(field) ? optional(field) : field), ...versioned }),
    partialUpdate: struct(mapFields({ ...updated, ...versioned }, optional)),
    given: Object.keys(inserted).filter((name) =>
      !generated.includes(name) && name !== version && !Object.hasOwn(created, name) &&
      !SchemaAST.isOptional(inserted[name]!.ast) && !isGiven(inserted[name])
    )
  }
}

/** What is wrong with the names that a resource is made of, as far as the types could not tell. */
export const problems = ({ actions, options, repository }: Resource.Any): ReadonlyArray<string> => {
  const { key, schema, version } = repository.definition
  const names = Object.keys(fieldsOf(schema))
  const absent = (where: string, fields: ReadonlyArray<string>) =>
    fields.filter((field) => !names.includes(field)).map((field) =>
      `${where}: there is no field "${field}", ${there(names)}`
    )
  return [
    ...absent(`the key of the repository "${repository.key}"`, [key]),
    ...absent(`the version of the repository "${repository.key}"`, version === undefined ? [] : [version]),
    ...absent("readOnly", options.readOnly),
    ...absent("writeOnly", options.writeOnly),
    ...options.readOnly.filter((field) => options.writeOnly.includes(field)).map((field) =>
      `"${field}" is both readOnly and writeOnly: clients could neither set nor be sent it`
    ),
    ...(Number.isInteger(options.maxLive) && options.maxLive > 0
      ? []
      : [`maxLive is ${options.maxLive}: it must be a whole number from 1`]),
    ...options.computed.filter((field) => names.includes(field)).map((field) =>
      `computed: "${field}" is a field of the row: give what is computed another name`
    ),
    ...actions.filter((action) => !actionNames.includes(action)).map((action) =>
      `actions: there is no action "${action}", ${there(actionNames)}`
    )
  ]
}

/** Those that can be chosen: whoever can subscribe can unsubscribe. */
const actionNames: ReadonlyArray<string> = [
  "list",
  "create",
  "retrieve",
  "update",
  "partial_update",
  "destroy",
  "subscribe"
] satisfies ReadonlyArray<Resource.ActionName>

const struct = (fields: Fields): Schema.Constraint => Schema.Struct(fields as Schema.Struct.Fields)

const mapFields = (fields: Fields, f: (field: Schema.Constraint) => Schema.Constraint): Fields =>
  Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, f(field)]))

const fieldsOf = (schema: RowSchema): Fields => schema.fields as Fields

/** The fields of a variant of a model. */
export const variant = (schema: RowSchema, name: "json" | "jsonCreate" | "jsonUpdate" | "insert" | "update") => {
  const found = (schema as unknown as Readonly<Record<string, RowSchema | undefined>>)[name]
  return found === undefined || !("fields" in found) ? undefined : fieldsOf(found)
}

/** What clients are sent of a whole row. */
const jsonOf = (schema: RowSchema): Schema.Constraint =>
  variant(schema, "json") === undefined ? schema : (schema as unknown as { readonly json: RowSchema }).json

/** Whether a field that a client leaves out gets a value all the same. */
const hasDefault = ({ ast }: Schema.Constraint): boolean =>
  SchemaAST.isOptional(ast) || SchemaAST.isOptional(SchemaAST.toEncoded(ast))

/** A field that may be left out, and is not there then: not even with the default that it would be given. */
const optional = (field: Schema.Constraint): Schema.Constraint => {
  if (field.ast.encoding === undefined || !hasDefault(field)) return Schema.optionalKey(field)
  const decode = SchemaParser.decodeUnknownEffect(field)
  const encode = SchemaParser.encodeUnknownEffect(Schema.Struct({ value: field }))
  return Schema.optionalKey(Schema.toEncoded(field)).pipe(Schema.decodeTo(Schema.optionalKey(Schema.toType(field)), {
    decode: SchemaGetter.transformEffect((value, options) => decode(value, options)),
    // What would be left out, as `None` is, must not be taken for what stays as it is.
    encode: SchemaGetter.transformEffect((value, options) =>
      Effect.map(encode({ value }, options), (encoded) => "value" in encoded ? encoded.value : null)
    )
  }))
}

export const isGiven = (field: Schema.Constraint | undefined): boolean =>
  field?.ast.context?.constructorDefault !== undefined

/**
 * The values of fields that a row is given when it is made, or changed, and nobody else gives; `undefined` where there are none. What
 * a row is given when it is made is none of a change.
 */
export const defaults = (
  schema: RowSchema,
  name: "insert" | "update"
): Effect.Effect<Readonly<Record<string, unknown>>, unknown> | undefined => {
  const row = fieldsOf(schema)
  const fields = variant(schema, name) ?? (name === "insert" ? row : {})
  const given = Object.entries(fields).filter(([field, one]) =>
    isGiven(one) && (name === "insert" || !isGiven(row[field]))
  )
  if (given.length === 0) return undefined
  return (Schema.Struct(Object.fromEntries(given) as Schema.Struct.Fields)).makeEffect({}) as never
}
