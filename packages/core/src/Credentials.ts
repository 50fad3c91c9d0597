/**
 * Where a handshake carries its credentials. A browser cannot set the headers of a WebSocket: its pages send a cookie, a
 * subprotocol entry, or, where nothing else will do, a parameter of the URL.
 *
 * | source | the client sends | fit for |
 * | --- | --- | --- |
 * | {@link bearer} | `Authorization: Bearer TOKEN` | everything but browsers |
 * | {@link header} | a header of its own: `X-Api-Key: TOKEN` | everything but browsers |
 * | {@link cookie} | a cookie, by itself | pages of the same site; needs the origin check, which is on by default |
 * | {@link subprotocol} | `new WebSocket(url, ["effect-channels.json", "bearer.TOKEN"])` | pages of any site |
 * | {@link query} | `wss://host/ws/?token=TOKEN` | short-lived tokens: URLs end up in logs |
 *
 * @since 0.1.0
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as ChannelError from "./ChannelError.ts"
import type { ConnectionScope } from "./ConnectionScope.ts"
import { isToken } from "./internal/token.ts"

/**
 * What a handshake carries of one kind: a token, none (`undefined`), or something that is no token.
 *
 * @category models
 * @since 0.1.0
 */
export type Presented = Result.Result<Redacted.Redacted | undefined, ChannelError.InvalidCredentials>

/**
 * A place in a handshake where a token can stand.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source {
  /** For people: `cookie "session"`. */
  readonly name: string
  readonly read: (scope: ConnectionScope["Service"]) => Presented
}

const none: Presented = /* @__PURE__ */ Result.succeed(undefined)

const malformed = (name: string, problem: string): Presented =>
  Result.fail(new ChannelError.InvalidCredentials({ message: `The credentials (${name}) ${problem}` }))

const token = (name: string, value: string): Presented =>
  value === "" ? malformed(name, "are empty") : Result.succeed(Redacted.make(value))

/** Nothing that is no token could ever be found. */
const named = (what: string, name: string): string => {
  if (isToken(name)) return name
  throw new TypeError(`Credentials.${what}: ${JSON.stringify(name)} is no name: use letters, digits, ".", "-" and "_"`)
}

/**
 * The `Authorization` header with the scheme `Bearer` (RFC 6750, 2.1). A header with another scheme is none of it.
 *
 * @category sources
 * @since 0.1.0
 */
export const bearer: Source = {
  name: "bearer token",
  read: ({ headers }) => {
    const match = /^bearer(?: +(.*))?$/i.exec(headers["authorization"] ?? "")
    if (match === null) return none
    const value = match[1] ?? ""
    return /^[-._~+/0-9a-z]+=*$/i.test(value) ? token("bearer token", value) : malformed("bearer token", "are no token")
  }
}

/**
 * A header that holds nothing but the token: `Credentials.header("x-api-key")`.
 *
 * @category sources
 * @since 0.1.0
 */
export const header = (name: string): Source => ({
  name: `header "${named("header", name)}"`,
  read: ({ headers }) => {
    const key = name.toLowerCase()
    // An adapter may give an ordinary object, which has properties that nobody sent.
    const value = Object.hasOwn(headers, key) ? headers[key] : undefined
    return value === undefined ? none : token(`header "${name}"`, value)
  }
})

/**
 * A cookie. An empty one is none: that is what is left of it after signing out.
 *
 * A browser sends cookies along whoever made the page. The server must check where the page comes from, which
 * `NodeChannels.serve` does unless told otherwise.
 *
 * @category sources
 * @since 0.1.0
 */
export const cookie = (name: string): Source => ({
  name: `cookie "${named("cookie", name)}"`,
  read: ({ cookies }) => {
    const value = cookies[name]
    return value === undefined || value === "" ? none : token(`cookie "${name}"`, value)
  }
})

/**
 * An entry of `Sec-WebSocket-Protocol` that begins with a prefix, `bearer.` by default. {@link toSubprotocol} makes one of a
 * token.
 *
 * The entry is never chosen as the protocol of the connection. A browser that offers subprotocols wants one of them chosen:
 * offer one that the consumer speaks besides, `effect-channels.json` unless the consumer says otherwise.
 *
 * **Example** (In a page)
 *
 * ```ts
 * import { Credentials } from "@effect-channels/core"
 *
 * const protocols = (token: string) => ["effect-channels.json", Credentials.toSubprotocol(token)]
 * // new WebSocket("wss://example.com/ws/", protocols(token))
 * ```
 *
 * @category sources
 * @since 0.1.0
 */
export const subprotocol = (prefix = "bearer."): Source => ({
  name: `subprotocol "${named("subprotocol", prefix)}"`,
  read: ({ subprotocols }) => {
    const entries = subprotocols.filter((entry) => entry.startsWith(prefix))
    if (entries.length === 0) return none
    if (entries.length > 1) return malformed(`subprotocol "${prefix}"`, "appear more than once")
    try {
      return token(`subprotocol "${prefix}"`, decodeURIComponent(entries[0]!.slice(prefix.length)))
    } catch {
      return malformed(`subprotocol "${prefix}"`, "hold an escape that is not valid")
    }
  }
})

/**
 * The entry of `Sec-WebSocket-Protocol` that carries a token to {@link subprotocol}: what may not stand there is escaped, as
 * in a URL. A JSON Web Token stays as it is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const toSubprotocol = (token: string, prefix = "bearer."): string =>
  prefix + encodeURIComponent(token).replaceAll("(", "%28").replaceAll(")", "%29")

/**
 * A parameter of the URL's query string. URLs end up in the logs of servers and proxies: fit for tokens that are good for
 * seconds, or once.
 *
 * @category sources
 * @since 0.1.0
 */
export const query = (name: string): Source => ({
  name: `query parameter "${name}"`,
  read: ({ query }) => {
    const value = query[name]
    if (value === undefined) return none
    if (typeof value !== "string") return malformed(`query parameter "${name}"`, "appear more than once")
    return token(`query parameter "${name}"`, value)
  }
})

/**
 * The token that a handshake presents: that of the first source that has one, `undefined` where none has.
 *
 * @category accessors
 * @since 0.1.0
 */
export const read = (from: Source | ReadonlyArray<Source>, scope: ConnectionScope["Service"]): Presented => {
  for (const source of Array.isArray(from) ? from as ReadonlyArray<Source> : [from as Source]) {
    const presented = source.read(scope)
    if (Result.isFailure(presented) || presented.success !== undefined) return presented
  }
  return none
}
