/**
 * Schemas that several consumers use.
 */
import * as Schema from "effect/Schema"

/** `<int:pk>`: decimal digits, and nothing else (`1e3` is a number for JavaScript, but no key). */
export const IntPk = Schema.String.check(Schema.isPattern(/^\d+$/)).pipe(
  Schema.decodeTo(Schema.NumberFromString.check(Schema.isInt()))
)

/** Any JSON value as `data`, which a request may also leave out (`undefined`). */
export const OptionalData = Schema.Any.pipe(Schema.decodeTo(Schema.UndefinedOr(Schema.Json)))
