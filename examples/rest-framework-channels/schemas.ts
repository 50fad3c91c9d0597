/**
 * Schemas that several consumers use.
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** `<int:pk>`: decimal digits, and nothing else (`1e3` is a number for JavaScript, but no key). */
export const IntPk = Schema.String.check(Schema.isPattern(/^\d+$/)).pipe(
  Schema.decodeTo(Schema.NumberFromString.check(Schema.isInt()))
)

/** Any JSON value as `data`, which a request may also leave out (`undefined`). */
export const OptionalData = Schema.Any.pipe(Schema.decodeTo(Schema.UndefinedOr(Schema.Json)))

/** A key in the path of a connection, `<str:pk>` of the original: what is no integer is no key of anything, but may connect. */
export const AnyPk = Schema.String.pipe(Schema.decodeTo(
  Schema.Int,
  SchemaTransformation.transform({ decode: (text) => /^\d{1,15}$/.test(text) ? Number(text) : 0, encode: String })
))
