/**
 * Encodes values by the JSON forms of their schemas. What most replies are made of, plain values in structs, classes and arrays, is
 * gone through here, value by value: a schema makes an effect of every one of them, to say what is wrong where something is. Where
 * something is wrong, or unusual, the schema itself is asked: it has the last word on all that is refused.
 */
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { isoOf } from "./iso.ts"

export type Encode = (value: unknown) => Effect.Effect<unknown, Schema.SchemaError, unknown>

/** Encodes by the JSON form of a schema. */
export const encoder = (schema: Schema.Constraint): Encode => {
  const codec = Schema.toCodecJson(schema)
  const encode = Schema.encodeUnknownEffect(codec)
  const step = stepOf(SchemaAST.flip(codec.ast))
  if (step === undefined) return encode
  return (value) => {
    const encoded = attempt(step, value)
    return encoded === refused || encoded === unsure ? encode(value) : Exit.succeed(encoded)
  }
}

/** What is thrown here is thrown again, and dealt with, by the schema. */
const attempt = (step: Step, value: unknown): unknown => {
  try {
    return step(value)
  } catch {
    return unsure
  }
}

/** A value as it is sent, or one of the two below. */
type Step = (value: unknown) => unknown

/** The schema refuses the value. */
const refused: unique symbol = Symbol("refused")

/** What the schema says of the value is not known here. */
const unsure: unique symbol = Symbol("unsure")

const isNone = (value: unknown): boolean => value === refused || value === unsure

/** What a schema does with a value, `undefined` where that is not known here. */
const stepOf = (ast: SchemaAST.AST): Step | undefined => {
  const own = bareStepOf(ast)
  if (own === undefined || ("encodingChecks" in ast && ast.encodingChecks !== undefined)) return undefined
  const local = ast.checks === undefined ? own : checked(own, ast, ast.checks)
  const steps: Array<Step> = []
  for (const { to, transformation } of (ast.encoding ?? []).toReversed()) {
    const before = stepOf(to)
    if (before === undefined || transformation._tag === "Middleware") return undefined
    const transform = transforming(transformation.decode)
    if (transform === undefined) return undefined
    steps.push(before)
    if (transform !== same) steps.push(transform)
  }
  return steps.length === 0 ? local : inTurn([...steps, local].filter((step) => step !== same))
}

const inTurn = (steps: ReadonlyArray<Step>): Step => {
  if (steps.length === 1) return steps[0]!
  return (value) => {
    let current = value
    for (const step of steps) {
      current = step(current)
      if (isNone(current)) return current
    }
    return current
  }
}

const same: Step = (value) => value

type Getter = Extract<SchemaAST.Link["transformation"], { readonly _tag: "Transformation" }>["decode"]

const transforming = (getter: Getter): Step | undefined => {
  if (getter === getterOf(Schema.Date)) return (date) => isoOf((date as Date).getTime()) ?? unsure
  if (getter === getterOf(Schema.DateTimeUtc)) return (utc) => isoOf((utc as DateTime.Utc).epochMilliseconds) ?? unsure
  switch (getter._tag) {
    case "Passthrough":
      return same
    case "Transform":
      return getter.transform
    case "TransformOptional":
      return (value) => Option.getOrElse(getter.transform(Option.some(value)), () => unsure)
    // An effect that is one in earnest is not run.
    case "TransformEffect":
      return (value) => valueOf(getter.transform(value, options))
    case "TransformOptionalEffect":
      return undefined
  }
}

/** What makes JSON of the values of a schema. */
const getterOf = (schema: Schema.Constraint): Getter | undefined => {
  const transformation = SchemaAST.flip(Schema.toCodecJson(schema).ast).encoding?.[0].transformation
  return transformation?._tag === "Transformation" ? transformation.decode : undefined
}

const options: SchemaAST.ParseOptions = {}

const valueOf = (effect: Effect.Effect<unknown, unknown, unknown>): unknown =>
  Exit.isExit(effect) ? effect._tag === "Success" ? effect.value : refused : unsure

const checked = (step: Step, ast: SchemaAST.AST, checks: SchemaAST.Checks): Step => {
  const filters = checks.flatMap(filtersOf)
  return (value) => {
    const result = step(value)
    if (isNone(result)) return result
    for (const filter of filters) if (filter.run(result, ast, options) !== undefined) return refused
    return result
  }
}

const filtersOf = (check: SchemaAST.Check<unknown>): ReadonlyArray<SchemaAST.Filter<unknown>> =>
  check._tag === "Filter" ? [check] : check.checks.flatMap(filtersOf)

const typed = (type: string): Step => (value) => typeof value === type ? value : refused

const constant = (constant: unknown): Step => (value) => value === constant ? value : refused

/** What a schema does with a value, but for its checks and its encoding. */
const bareStepOf = (ast: SchemaAST.AST): Step | undefined => {
  switch (ast._tag) {
    case "String":
      return typed("string")
    case "Number":
      return typed("number")
    case "Boolean":
      return typed("boolean")
    case "BigInt":
      return typed("bigint")
    case "Null":
      return constant(null)
    case "Undefined":
      return constant(undefined)
    case "Literal":
      return constant(ast.literal)
    case "Declaration":
      return declared(ast)
    case "Arrays":
      return listed(ast)
    case "Objects":
      return struct(ast)
    case "Union":
      return oneOf(ast)
    default:
      return undefined
  }
}

const declared = (ast: SchemaAST.Declaration): Step => {
  let run: ReturnType<typeof ast.run> | undefined
  return (value) => valueOf((run ??= ast.run(ast.typeParameters))(value, ast, options))
}

const listed = ({ elements, rest }: SchemaAST.Arrays): Step | undefined => {
  const step = elements.length === 0 && rest.length === 1 ? stepOf(rest[0]!) : undefined
  if (step === undefined) return undefined
  return (values) => {
    if (!Array.isArray(values)) return refused
    const results: Array<unknown> = new Array(values.length)
    for (let i = 0; i < values.length; i++) {
      const result = results[i] = step(values[i])
      if (isNone(result)) return result
    }
    return results
  }
}

const struct = ({ indexSignatures, propertySignatures }: SchemaAST.Objects): Step | undefined => {
  if (indexSignatures.length > 0 || propertySignatures.length === 0) return undefined
  const names: Array<string> = []
  const steps: Array<Step> = []
  const optional: Array<boolean> = []
  for (const { name, type } of propertySignatures) {
    const step = stepOf(type)
    if (step === undefined || typeof name !== "string" || name === "__proto__") return undefined
    names.push(name)
    steps.push(step)
    optional.push(type.encoding === undefined && SchemaAST.isOptional(type))
  }
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return refused
    const fields = value as Readonly<Record<string, unknown>>
    const result: Record<string, unknown> = {}
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!
      const field = fields[name]
      if (field === undefined && !(name in fields)) {
        if (optional[i] === true) continue
        return unsure
      }
      const encoded = steps[i]!(field)
      if (isNone(encoded)) return encoded
      result[name] = encoded
    }
    return result
  }
}

const oneOf = ({ options, types }: SchemaAST.Union): Step | undefined => {
  const steps: Array<Step> = []
  for (const type of types) {
    const step = stepOf(type)
    if (step === undefined) return undefined
    steps.push(step)
  }
  if (options?.mode === "oneOf") return undefined
  return (value) => {
    for (const step of steps) {
      const result = step(value)
      if (result !== refused) return result
    }
    return refused
  }
}
