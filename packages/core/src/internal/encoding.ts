/**
 * Encodes values by the JSON forms of their schemas.
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"

export type Encode = (value: unknown) => Effect.Effect<unknown, Schema.SchemaError, unknown>

/** Encodes by the JSON form of a schema, which is made once. */
export const encoder = (schema: Schema.Constraint): Encode => Schema.encodeUnknownEffect(Schema.toCodecJson(schema))

/** Whether a value may be left out: it stays out, or gets its default. */
export const isOptional = (schema: Schema.Constraint): boolean =>
  SchemaAST.isOptional(schema.ast) || SchemaAST.isOptional(SchemaAST.toEncoded(schema.ast))
