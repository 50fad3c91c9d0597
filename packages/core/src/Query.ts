/**
 * The query string of a connection's URL or of a message's route, read by name.
 *
 * @since 0.1.0
 */

/**
 * Decoded query parameters by name. A name that was sent once holds its value, a name that was sent several times holds
 * all of its values in order. The record has no prototype: `query.constructor` is `undefined` unless it was sent.
 *
 * @category models
 * @since 0.1.0
 */
export type Query = Readonly<Record<string, string | ReadonlyArray<string>>>

/**
 * The query without parameters.
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: Query = Object.freeze(Object.create(null))

/**
 * Parses a query string, with or without its leading `?`, as `application/x-www-form-urlencoded` (WHATWG URL, 5.1).
 * Never fails: a name or value with an escape that is not valid UTF-8 keeps all of its escapes as they were sent.
 *
 * **Example** (Repeated names)
 *
 * ```ts
 * import { Query } from "@effect-channels/core"
 *
 * Query.parse("?page=2&tag=a&tag=b") // { page: "2", tag: ["a", "b"] }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const parse = (text: string): Query => {
  const start = text.startsWith("?") ? 1 : 0
  if (text.length === start) return empty
  const query: Record<string, string | Array<string>> = Object.create(null)
  for (const pair of text.slice(start).split("&")) {
    if (pair === "") continue
    const equals = pair.indexOf("=")
    const name = unescape(equals < 0 ? pair : pair.slice(0, equals))
    const value = equals < 0 ? "" : unescape(pair.slice(equals + 1))
    const seen = query[name]
    if (seen === undefined) query[name] = value
    else if (typeof seen === "string") query[name] = [seen, value]
    else seen.push(value)
  }
  return query
}

const unescape = (text: string): string => {
  const spaced = text.replaceAll("+", " ")
  if (!spaced.includes("%")) return spaced
  try {
    return decodeURIComponent(spaced)
  } catch {
    return spaced
  }
}
