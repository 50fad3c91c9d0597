/**
 * Reads values in their compact form.
 */
import * as Base64 from "effect/encoding/Base64"
import { keys, powers, shapes, Tag, utf16Key } from "./compact-form.ts"

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
