/**
 * JSON values as bytes. What is written is what `JSON.stringify` would write, and what is read is what `JSON.parse` would give: the
 * same value, in fewer bytes.
 *
 * It knows nothing of schemas. What `SchemaBinary` makes of one is as small, and made a little faster, but spells a hash of five bytes
 * for each field, cannot do some schemas, and says of a value that does not fit something else than JSON does. It also trusts the
 * counts of arrays that are not there: three kilobytes of them, nested, hold a server up for seconds with a gigabyte of memory.
 *
 * How each value is written is said in the README of this package, under "Binary frames", for whoever speaks it without this library.
 */
import * as Base64 from "effect/encoding/Base64"

/** Keys that need not be spelled. What is here stays where it is; new ones come last. */
const keys: ReadonlyArray<string> = [
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

/** Shapes that need not be declared. What is here stays where it is; there is room for no more. */
const shapes: ReadonlyArray<ReadonlyArray<string>> = [
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
const utf16Key = 255

const keyNumbers = new Map(keys.map((key, i) => [key, i]))

const Tag = {
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

// ---- writing

declare const TextEncoder: {
  new(): {
    encode(text: string): Uint8Array<ArrayBuffer>
    encodeInto(text: string, bytes: Uint8Array): { readonly written: number }
  }
}

const encoder = new TextEncoder()

const initialSize = 4096

/** So many shapes of a frame are looked through for one that is there already. */
const maxShapes = 64

const powers: ReadonlyArray<number> = [1, 10, 100, 1000, 1e4, 1e5, 1e6]

/** A longer one is not shorter than eight bytes. */
const maxMantissa = 2 ** 41

/** A search for one character, which needs no more room however long a text is. */
const notBase64 = /[^A-Za-z0-9+/]/
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const halfPair = /\p{Surrogate}/u

/** From there on it is worthwhile to look whether a string is Base64. */
const minBase64 = 32

class Writer {
  #bytes = new Uint8Array(initialSize)
  #at = 0
  #shapes: Array<ReadonlyArray<string>> = []

  write(value: unknown): Uint8Array<ArrayBuffer> {
    this.#at = 0
    this.#shapes = []
    try {
      this.#value(value)
      return this.#bytes.slice(0, this.#at)
    } finally {
      // What is large once is not kept for ever.
      if (this.#bytes.length > 16 * initialSize) this.#bytes = new Uint8Array(initialSize)
    }
  }

  #ensure(size: number): void {
    if (this.#at + size <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(this.#at + size, this.#bytes.length * 2))
    larger.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = larger
  }

  /** A byte and a varint. */
  #tagged(tag: number, value: number): void {
    this.#ensure(9)
    this.#bytes[this.#at++] = tag
    this.#varint(value)
  }

  /** There must be room for it. */
  #varint(value: number): void {
    while (value > 127) {
      this.#bytes[this.#at++] = (value % 128) | 128
      value = Math.floor(value / 128)
    }
    this.#bytes[this.#at++] = value
  }

  #byte(byte: number): void {
    this.#ensure(1)
    this.#bytes[this.#at++] = byte
  }

  #value(value: unknown): void {
    switch (typeof value) {
      case "string":
        return this.#string(value)
      case "number":
        return this.#number(value)
      case "boolean":
        return this.#byte(value ? Tag.True : Tag.False)
      case "object":
        return value === null ? this.#byte(Tag.Null) : this.#object(value)
      case "bigint":
        throw new TypeError("A bigint is no JSON")
      default:
        return this.#byte(Tag.Null)
    }
  }

  #number(value: number): void {
    if (value >= 0 && value < 64 && Number.isInteger(value)) return this.#byte(value)
    if (Number.isSafeInteger(value)) {
      return value >= 0 ? this.#tagged(Tag.Whole, value) : this.#tagged(Tag.Below, -1 - value)
    }
    if (!Number.isFinite(value)) return this.#byte(Tag.Null)
    for (let scale = 1; scale < powers.length; scale++) {
      const whole = Math.round(Math.abs(value) * powers[scale]!)
      if (whole >= maxMantissa) break
      if (whole / powers[scale]! !== Math.abs(value)) continue
      this.#ensure(10)
      this.#bytes[this.#at++] = Tag.Decimal
      this.#bytes[this.#at++] = scale
      return this.#varint(whole * 2 + (value < 0 ? 1 : 0))
    }
    this.#ensure(9)
    this.#bytes[this.#at] = Tag.Float
    new DataView(this.#bytes.buffer).setFloat64(this.#at + 1, value, true)
    this.#at += 9
  }

  #string(text: string): void {
    const { length } = text
    if (length < 24) return this.#text(text)
    if (length === 24 && text.charCodeAt(23) === 90) {
      const millis = instantOf(text)
      if (millis >= 0) return this.#tagged(Tag.Instant, millis)
    } else if (length === 36 && uuid.test(text)) {
      this.#ensure(17)
      this.#bytes[this.#at++] = Tag.Uuid
      for (const pair of text.replaceAll("-", "").match(/../g)!) this.#bytes[this.#at++] = Number.parseInt(pair, 16)
      return
    } else if (length >= minBase64 && length % 4 === 0 && isBase64(text)) {
      const bytes = Base64.decode(text)
      if (bytes._tag === "Success") {
        this.#tagged(Tag.Base64, bytes.success.length)
        return this.#all(bytes.success)
      }
    }
    this.#text(text)
  }

  #all(bytes: Uint8Array): void {
    this.#ensure(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  #text(text: string): void {
    const { length } = text
    this.#ensure(length * 3 + 9)
    // Mostly it is short, and has as many bytes as characters.
    if (length < 64) {
      const bytes = this.#bytes
      const start = this.#at + (length < 32 ? 1 : 2)
      for (let i = 0; i < length; i++) {
        const unit = text.charCodeAt(i)
        if (unit > 127) return this.#wide(text)
        bytes[start + i] = unit
      }
      this.#length(length)
      this.#at = start + length
      return
    }
    this.#wide(text)
  }

  #length(size: number): void {
    if (size < 32) {
      this.#bytes[this.#at++] = Tag.String + size
    } else {
      this.#bytes[this.#at++] = Tag.LongString
      this.#varint(size)
    }
  }

  #wide(text: string): void {
    const start = this.#at
    // Where its bytes are, if they are as many as its characters: then nothing has to be moved.
    const guess = start + headSize(text.length)
    const { written } = encoder.encodeInto(text, this.#bytes.subarray(guess))
    if (written > text.length && halfPair.test(text)) {
      this.#bytes[this.#at++] = Tag.Utf16
      return this.#utf16(text)
    }
    const at = start + headSize(written)
    if (at !== guess) this.#bytes.copyWithin(at, guess, guess + written)
    this.#length(written)
    this.#at = at + written
  }

  #utf16(text: string): void {
    this.#ensure(9 + text.length * 2)
    this.#varint(text.length)
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      this.#bytes[this.#at++] = unit & 255
      this.#bytes[this.#at++] = unit >> 8
    }
  }

  #object(value: object): void {
    const { toJSON } = value as { readonly toJSON?: unknown }
    if (typeof toJSON === "function") return this.#value(toJSON.call(value, ""))
    if (Array.isArray(value)) {
      if (value.length < 16) this.#byte(Tag.Array + value.length)
      else this.#tagged(Tag.LongArray, value.length)
      for (let i = 0; i < value.length; i++) this.#value(value[i])
      return
    }
    const values = value as Readonly<Record<string, unknown>>
    let names = Object.keys(values)
    for (let i = 0; i < names.length; i++) {
      if (isLeftOut(values[names[i]!])) {
        names = names.filter((name) => !isLeftOut(values[name]))
        break
      }
    }
    this.#shape(names)
    for (let i = 0; i < names.length; i++) this.#value(values[names[i]!])
  }

  #shape(names: ReadonlyArray<string>): void {
    const number = this.#find(names)
    if (number >= 0) {
      if (number < 16) return this.#byte(Tag.Shape + number)
      return this.#tagged(Tag.LongShape, number)
    }
    this.#shapes.push(names)
    this.#tagged(Tag.NewShape, names.length)
    for (const name of names) this.#key(name)
  }

  #find(names: ReadonlyArray<string>): number {
    for (let i = 0; i < shapes.length; i++) if (isSame(shapes[i]!, names)) return i
    for (let i = 0; i < this.#shapes.length && i < maxShapes; i++) {
      if (isSame(this.#shapes[i]!, names)) return shapes.length + i
    }
    return -1
  }

  #key(name: string): void {
    const number = keyNumbers.get(name)
    this.#ensure(9 + name.length)
    if (number !== undefined) return this.#varint(number * 2 + 1)
    if (name.length < 64) {
      const bytes = this.#bytes
      const start = this.#at + 1
      let i = 0
      for (; i < name.length; i++) {
        const unit = name.charCodeAt(i)
        if (unit > 127) break
        bytes[start + i] = unit
      }
      if (i === name.length) {
        bytes[this.#at] = i * 2
        this.#at = start + i
        return
      }
    }
    if (halfPair.test(name)) {
      this.#varint(utf16Key)
      return this.#utf16(name)
    }
    const bytes = encoder.encode(name)
    this.#varint(bytes.length * 2)
    this.#all(bytes)
  }
}

const isSame = (some: ReadonlyArray<string>, others: ReadonlyArray<string>): boolean => {
  if (some.length !== others.length) return false
  for (let i = 0; i < some.length; i++) if (some[i] !== others[i]) return false
  return true
}

/** Whether a text of four, eight, ... characters is what Base64 makes of bytes. */
const isBase64 = (text: string): boolean => {
  const end = text.search(notBase64)
  if (end < 0) return true
  if (end < text.length - 2) return false
  // The last ones say the same in several ways.
  const last = text.slice(-4)
  const bytes = Base64.decode(last)
  return bytes._tag === "Success" && Base64.encode(bytes.success) === last
}

const headSize = (length: number): number => length < 32 ? 1 : 1 + varintSize(length)

const varintSize = (value: number): number => value < 128 ? 1 : 1 + varintSize(Math.floor(value / 128))

/** The milliseconds since 1970 that `2030-01-01T00:00:00.000Z` stands for; -1 for what is written otherwise, or was before. */
const instantOf = (text: string): number => {
  for (let i = 0; i < 23; i++) {
    const unit = text.charCodeAt(i)
    const separator = separators.charCodeAt(i)
    if (separator === 48 ? unit < 48 || unit > 57 : unit !== separator) return -1
  }
  const year = digits(text, 0) * 100 + digits(text, 2)
  const month = digits(text, 5)
  const day = digits(text, 8)
  const hour = digits(text, 11)
  const minute = digits(text, 14)
  const second = digits(text, 17)
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 1 : 0
  const last = month === 2 ? 28 + leap : month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
  if (year < 1970 || month < 1 || month > 12 || day < 1 || day > last || hour > 23 || minute > 59 || second > 59) {
    return -1
  }
  return Date.UTC(year, month - 1, day, hour, minute, second, digits(text, 20) * 10 + text.charCodeAt(22) - 48)
}

const separators = "0000-00-00T00:00:00.000"

const digits = (text: string, at: number): number => text.charCodeAt(at) * 10 + text.charCodeAt(at + 1) - 528

/** What JSON leaves out of an object. */
const isLeftOut = (value: unknown): boolean =>
  value === undefined || typeof value === "function" || typeof value === "symbol"

let idle: Writer | undefined

/** Writes a value. Throws where `JSON.stringify` does. The bytes are the caller's own. */
export const write = (value: unknown): Uint8Array<ArrayBuffer> => {
  // What is written may itself write something.
  const writer = idle ?? new Writer()
  idle = undefined
  try {
    return writer.write(value)
  } finally {
    idle = writer
  }
}

// ---- reading

declare const TextDecoder: {
  new(label: string, options: { readonly fatal: boolean; readonly ignoreBOM: boolean }): {
    decode(bytes: Uint8Array): string
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** What was read: all of it, or as much as there is of the object that it is, where it is cut off or makes no sense. */
export type Read =
  | { readonly isWhole: true; readonly value: unknown }
  | { readonly isWhole: false; readonly value: Readonly<Record<string, unknown>> | undefined }

/** It goes no further. */
class Malformed extends Error {}

const malformed = new Malformed("This is no value")

/** Where a reader is. */
class Reader {
  readonly #bytes: Uint8Array
  readonly #shapes: Array<ReadonlyArray<string>> = [...shapes]
  /** So many characters of keys it may give besides those that are there: a shape says them again and again. */
  #budget: number
  readonly #maxDepth: number
  #at = 0
  #depth = 0
  /** The outermost object. */
  outermost: Record<string, unknown> | undefined

  constructor(bytes: Uint8Array, budget: number, maxDepth: number) {
    this.#bytes = bytes
    this.#budget = budget
    this.#maxDepth = maxDepth
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  #left(): number {
    return this.#bytes.length - this.#at
  }

  #varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 8; i++) {
      if (this.#at >= this.#bytes.length) throw malformed
      const byte = this.#bytes[this.#at++]!
      value += (byte & 127) * scale
      if (byte < 128) {
        if (value > Number.MAX_SAFE_INTEGER) throw malformed
        return value
      }
      scale *= 128
    }
    throw malformed
  }

  value(): unknown {
    if (this.#at >= this.#bytes.length) throw malformed
    const tag = this.#bytes[this.#at++]!
    if (tag < Tag.String) return tag
    if (tag < Tag.Array) return this.#text(tag - Tag.String)
    if (tag < Tag.Shape) return this.#array(tag - Tag.Array)
    if (tag < Tag.Null) return this.#object(this.#shapes[tag - Tag.Shape])
    switch (tag) {
      case Tag.Null:
        return null
      case Tag.False:
        return false
      case Tag.True:
        return true
      case Tag.Whole:
        return this.#varint()
      case Tag.Below:
        return -1 - this.#varint()
      case Tag.Float:
        return this.#float()
      case Tag.Decimal:
        return this.#decimal()
      case Tag.LongString:
        return this.#text(this.#varint())
      case Tag.Utf16:
        return this.#utf16(this.#varint())
      case Tag.Base64:
        return Base64.encode(this.#take(this.#varint()))
      case Tag.Instant:
        return this.#instant()
      case Tag.Uuid:
        return this.#uuid()
      case Tag.LongArray:
        return this.#array(this.#varint())
      case Tag.NewShape:
        return this.#object(this.#newShape())
      case Tag.LongShape:
        return this.#object(this.#shapes[this.#varint()])
      default:
        throw malformed
    }
  }

  #take(length: number): Uint8Array {
    if (length > this.#left()) throw malformed
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }

  #text(length: number): string {
    if (length > this.#left()) throw malformed
    const short = length <= maxKnown ? this.#known(length) : undefined
    return short ?? this.#utf8(length)
  }

  #utf8(length: number): string {
    try {
      return decoder.decode(this.#take(length))
    } catch {
      throw malformed
    }
  }

  /** A short string that is ASCII: the decoder is slow for those. What comes again and again is made once. */
  #known(length: number): string | undefined {
    const bytes = this.#bytes
    const start = this.#at
    let hash = length
    for (let i = start; i < start + length; i++) {
      const byte = bytes[i]!
      if (byte > 127) return undefined
      hash = (hash * 31 + byte) & knownMask
    }
    const found = known[hash]
    this.#at = start + length
    if (found !== undefined && found.length === length) {
      let i = 0
      while (i < length && found.charCodeAt(i) === bytes[start + i]) i++
      if (i === length) return found
    }
    return known[hash] = String.fromCharCode.apply(null, bytes.subarray(start, start + length) as never)
  }

  #utf16(length: number): string {
    if (length * 2 > this.#left()) throw malformed
    let text = ""
    for (let i = 0; i < length; i++) {
      text += String.fromCharCode(this.#bytes[this.#at]! | (this.#bytes[this.#at + 1]! << 8))
      this.#at += 2
    }
    return text
  }

  #float(): number {
    const bytes = this.#take(8)
    const value = new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true)
    // There are no others in JSON.
    if (!Number.isFinite(value)) throw malformed
    return value
  }

  #decimal(): number {
    const power = powers[this.#take(1)[0]!]
    const code = this.#varint()
    if (power === undefined) throw malformed
    const value = Math.floor(code / 2) / power
    return code % 2 === 1 ? -value : value
  }

  #instant(): string {
    const millis = this.#varint()
    // What has a longer year is no string of this kind.
    if (millis >= 253_402_300_800_000) throw malformed
    return toInstant(millis)
  }

  #uuid(): string {
    let text = ""
    for (const [i, byte] of this.#take(16).entries()) {
      text += (i === 4 || i === 6 || i === 8 || i === 10 ? "-" : "") + (byte < 16 ? "0" : "") + byte.toString(16)
    }
    return text
  }

  #array(length: number): ReadonlyArray<unknown> {
    // Each has a byte at the least.
    if (length > this.#left()) throw malformed
    this.#enter()
    const values: Array<unknown> = []
    for (let i = 0; i < length; i++) values.push(this.value())
    this.#depth--
    return values
  }

  #newShape(): ReadonlyArray<string> {
    const length = this.#varint()
    if (length > this.#left()) throw malformed
    const names: Array<string> = []
    for (let i = 0; i < length; i++) {
      const code = this.#varint()
      const key = code === utf16Key
        ? this.#utf16(this.#varint())
        : code % 2 === 1
        ? keys[(code - 1) / 2]
        : this.#text(code / 2)
      if (key === undefined) throw malformed
      names.push(key)
    }
    this.#shapes.push(names)
    return names
  }

  #object(names: ReadonlyArray<string> | undefined): object {
    if (names === undefined || names.length > this.#left()) throw malformed
    this.#enter()
    const object: Record<string, unknown> = {}
    this.outermost ??= object
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!
      this.#budget -= name.length
      if (this.#budget < 0) throw malformed
      const value = this.value()
      if (name === "__proto__") {
        Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true })
      } else {
        object[name] = value
      }
    }
    this.#depth--
    return object
  }

  #enter(): void {
    if (++this.#depth > this.#maxDepth) throw malformed
  }
}

/** Strings that came lately, by what their bytes add up to. */
const known: Array<string | undefined> = new Array<string | undefined>(1024).fill(undefined)
const knownMask = known.length - 1
const maxKnown = 24

const dayLength = 86_400_000

/** The day of the last instant that was read, and how it is written: mostly the next one is of the same day. */
let lastDay = -1
let lastDate = ""

const toInstant = (millis: number): string => {
  const day = Math.floor(millis / dayLength)
  if (day !== lastDay) {
    lastDay = day
    lastDate = new Date(day * dayLength).toISOString().slice(0, 11)
  }
  const rest = millis % dayLength
  const seconds = Math.floor(rest / 1000)
  const minutes = Math.floor(seconds / 60)
  const fraction = 1000 + rest % 1000
  return `${lastDate}${padded[Math.floor(minutes / 60)]}:${padded[minutes % 60]}:${padded[seconds % 60]}.${
    String(fraction).slice(1)
  }Z`
}

const padded: ReadonlyArray<string> = Array.from({ length: 60 }, (_, i) => i < 10 ? `0${i}` : String(i))

/**
 * Reads a value. It takes no more memory than is in proportion to its bytes: `budget` are the characters that all of its keys may
 * have, however often they are said again, `maxDepth` how deep it may be nested.
 */
export const read = (bytes: Uint8Array, budget = Infinity, maxDepth = Infinity): Read => {
  const reader = new Reader(bytes, budget, maxDepth)
  try {
    const value = reader.value()
    return reader.isAtEnd ? { isWhole: true, value } : { isWhole: false, value: reader.outermost }
  } catch (problem) {
    // There is an end to how deep something can be read.
    if (problem !== malformed && !(problem instanceof RangeError)) throw problem
    return { isWhole: false, value: reader.outermost }
  }
}
