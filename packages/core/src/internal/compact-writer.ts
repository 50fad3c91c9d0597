/**
 * Writes values in their compact form.
 */
import * as Base64 from "effect/encoding/Base64"
import { keys, powers, shapes, Tag, utf16Key } from "./compact-form.ts"

const keyNumbers = new Map(keys.map((key, i) => [key, i]))

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
