/**
 * What writer and reader of compact values have in common.
 */

/** Keys that need not be spelled. What is here stays where it is; new ones come last. */
export const keys: ReadonlyArray<string> = [
  "action",
  "route",
  "data",
  "request_id",
  "idempotency_key",
  "errors",
  "status",
  "type",
  "id",
  "group",
  "params",
  "detail",
  "code",
  "path",
  "retry_after",
  "results",
  "count",
  "next",
  "previous",
  "joined",
  "left",
  "present",
  "state",
  "object",
  "key",
  "token",
  "identity",
  "expires_at"
]

/** Shapes that need not be declared. What is here stays where it is, and there is room for no more: those of a frame come after them. */
export const shapes: ReadonlyArray<ReadonlyArray<string>> = [
  ["action", "data", "request_id"],
  ["action", "route", "data", "request_id"],
  ["data", "request_id"],
  ["data", "status", "request_id"],
  ["errors", "status", "request_id"],
  ["type", "data"],
  ["type", "data", "id", "group", "params"],
  ["detail", "code"]
]

/** What stands for a key that is no Unicode. */
export const utf16Key = 255

/** What a value begins with. Strings, arrays and shapes that are short have a range, from here on. */
export const Tag = {
  String: 0x40,
  Array: 0x60,
  Shape: 0x70,
  Null: 0x80,
  False: 0x81,
  True: 0x82,
  Whole: 0x83,
  Below: 0x84,
  Float: 0x85,
  Decimal: 0x86,
  LongString: 0x87,
  Utf16: 0x88,
  Base64: 0x89,
  Instant: 0x8a,
  Uuid: 0x8b,
  LongArray: 0x8c,
  NewShape: 0x8d,
  LongShape: 0x8e
} as const

/** What a decimal number is divided by. */
export const powers: ReadonlyArray<number> = [1, 10, 100, 1000, 1e4, 1e5, 1e6]
