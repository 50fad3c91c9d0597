/**
 * What is said where authority is lost: by the code and the reason that a connection is closed with, and to what runs on it.
 */
import * as ChannelError from "../ChannelError.ts"
import * as Reply from "../Reply.ts"

/** The close code of a connection that would not be let in any more. */
export const closeCode = ({ status }: Reply.Failure): number =>
  status === 401 ? 4401 : status === 403 || status === 404 ? 4403 : status < 500 || status === 503 ? 1013 : 1011

/** What is wrong, in so many bytes as fit in a close frame (RFC 6455, 5.5). */
export const reasonOf = (failure: Reply.Failure): string => cut(detailOf(failure))

/** As much of a text as fits in a close frame. */
export const cut = (text: string): string => {
  // A character of UTF-16 is a byte at least.
  let reason = text.slice(0, 123)
  while (byteLength(reason) > 123) reason = reason.slice(0, -1)
  // Not half of a character.
  return reason.replace(/[\uD800-\uDBFF]$/, "")
}

/** What is told where something runs that would be refused now: it may have taken effect in part. */
export const lost = (failure: Reply.Failure): Reply.Failure =>
  Reply.refused(new ChannelError.PermissionLost({ message: detailOf(failure) }))

const detailOf = (failure: Reply.Failure): string => Reply.formatError(failure)[0]?.detail ?? ""

/** The bytes of a text in UTF-8. */
const byteLength = (text: string): number => {
  let bytes = 0
  for (const character of text) {
    const code = character.codePointAt(0)!
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
  }
  return bytes
}
