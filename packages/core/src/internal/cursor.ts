/**
 * Cursors: short texts that a client takes back as it got them, and can neither make nor change.
 */
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

/** Makes cursors, and reads them. */
export interface Sealer {
  readonly seal: (content: string) => Effect.Effect<string>
  /** What was sealed; `undefined` where this was not sealed here, or for something else. */
  readonly open: (cursor: string) => Effect.Effect<string | undefined>
}

/** No cursor is longer, unless a row is in order by a text of this length. */
export const maxLength = 16 * 1024

/** Bytes of a secret at the least. */
export const minSecret = 16

/** What every runtime has, and the types of the language alone do not name. */
type Bytes = Uint8Array<ArrayBuffer>
interface CryptoKey {
  readonly type: "secret"
}
declare const TextEncoder: { new(): { encode(text: string): Bytes } }
declare const TextDecoder: { new(): { decode(bytes: Uint8Array): string } }
declare const crypto: {
  readonly getRandomValues: (bytes: Bytes) => Bytes
  readonly subtle: {
    readonly importKey: (
      format: "raw",
      bytes: Bytes,
      algorithm: { readonly name: "HMAC"; readonly hash: "SHA-256" },
      isExtractable: false,
      usages: ReadonlyArray<"sign" | "verify">
    ) => Promise<CryptoKey>
    readonly sign: (algorithm: "HMAC", key: CryptoKey, data: Bytes) => Promise<ArrayBuffer>
    readonly verify: (algorithm: "HMAC", key: CryptoKey, tag: Uint8Array, data: Bytes) => Promise<boolean>
  }
}

const tagLength = 32

const utf8 = (text: string): Bytes => new TextEncoder().encode(text)

/** How many bytes a secret has. */
export const lengthOf = (secret: Redacted.Redacted): number => utf8(Redacted.value(secret)).length

/** The secret of this process, where none is set. */
let own: Bytes | undefined

/** The key that cursors are signed with; it is made when it is first needed. */
export const keyOf = (secret: Redacted.Redacted | undefined): () => Promise<CryptoKey> => {
  let key: Promise<CryptoKey> | undefined
  return () => {
    const bytes = secret === undefined
      ? own ??= crypto.getRandomValues(new Uint8Array(32))
      : utf8(Redacted.value(secret))
    return key ??= crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"])
  }
}

/** Seals cursors that are good for one purpose: the tag is over what it is for as well, which a cursor does not hold. */
export const sealer = (key: () => Promise<CryptoKey>, purpose: string): Sealer => {
  // JSON has no line breaks: what comes after the first one is the content.
  const prefix = utf8(`${JSON.stringify(["effect-channels/cursor", purpose])}\n`)
  const signed = (content: Uint8Array) => join(prefix, content)
  return {
    seal: (text) => {
      const content = utf8(text)
      return Effect.map(
        Effect.promise(() => key().then((key) => crypto.subtle.sign("HMAC", key, signed(content)))),
        (tag) => Base64Url.encode(join(new Uint8Array(tag), content))
      )
    },
    open: (cursor) => {
      const bytes = cursor.length > maxLength ? undefined : Result.getOrUndefined(Base64Url.decode(cursor))
      // Several texts may stand for the same bytes: only one of them is what was sealed.
      if (bytes === undefined || Base64Url.encode(bytes) !== cursor) return Effect.undefined
      const tag = bytes.subarray(0, tagLength)
      const content = bytes.subarray(tagLength)
      return Effect.map(
        Effect.promise(() => key().then((key) => crypto.subtle.verify("HMAC", key, tag, signed(content)))),
        (isOurs) => isOurs ? new TextDecoder().decode(content) : undefined
      )
    }
  }
}

const join = (a: Uint8Array, b: Uint8Array): Bytes => {
  const bytes = new Uint8Array(a.length + b.length)
  bytes.set(a)
  bytes.set(b, a.length)
  return bytes
}
