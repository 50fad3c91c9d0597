/**
 * What is known of a connection from its handshake.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Inspectable from "effect/Inspectable"
import * as Query from "./Query.ts"

/**
 * What is known of a connection from its handshake. It never changes while the connection lives, and it is there for
 * every authentication, permission and handler of that connection.
 *
 * **Example** (Reading the client's address in a handler)
 *
 * ```ts
 * import { ConnectionScope } from "@effect-channels/core"
 *
 * const address = ConnectionScope.ConnectionScope.useSync((scope) => scope.remoteAddress)
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class ConnectionScope extends Context.Service<ConnectionScope, {
  /** Tells this connection apart from every other one of this server. */
  readonly id: string
  /** The path of the URL as it was requested, without the query string. */
  readonly path: string
  /** The parameters of the consumer's path, decoded by their schemas. */
  readonly params: Readonly<Record<string, unknown>>
  /** The parameters of the URL's query string. Parsed at each read. */
  readonly query: Query.Query
  /** The request headers by lower-case name. */
  readonly headers: Readonly<Record<string, string>>
  /** The cookies by name. Parsed at each read. */
  readonly cookies: Readonly<Record<string, string>>
  /** The subprotocols which the client offered, in its order of preference. */
  readonly subprotocols: ReadonlyArray<string>
  /** The network address of the client, `undefined` where the transport has none. */
  readonly remoteAddress: string | undefined
}>()("effect-channels/ConnectionScope") {}

/**
 * A handshake as an adapter hands it over, before any consumer has been chosen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handshake {
  /** Tells this connection apart from every other one of this server. */
  readonly id: string
  /** Path and query string, as in the request line: `/ws/rooms/lobby/?token=x`. */
  readonly url: string
  /** The request headers by lower-case name. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** The network address of the client. */
  readonly remoteAddress?: string | undefined
}

/**
 * Makes the scope of a connection out of its handshake and the decoded parameters of the consumer's path. The query
 * string, cookies and subprotocols are parsed when they are read, which is mostly once: nothing is kept of them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  handshake: Handshake,
  params: Readonly<Record<string, unknown>>
): ConnectionScope["Service"] => new Scope(handshake, params)

/**
 * The path of a URL like `/ws/?token=x`, without its query string.
 *
 * @category accessors
 * @since 0.1.0
 */
export const pathOf = (url: string): string => {
  const end = url.indexOf("?")
  return end < 0 ? url : url.slice(0, end)
}

const noHeaders: Readonly<Record<string, string>> = Object.freeze(Object.create(null))

class Scope {
  readonly id: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly params: Readonly<Record<string, unknown>>
  readonly remoteAddress: string | undefined

  constructor(handshake: Handshake, params: Readonly<Record<string, unknown>>) {
    this.id = handshake.id
    this.url = handshake.url
    this.headers = handshake.headers ?? noHeaders
    this.params = params
    this.remoteAddress = handshake.remoteAddress
  }
  get path(): string {
    return pathOf(this.url)
  }
  get query(): Query.Query {
    return Query.parse(this.url.slice(this.path.length))
  }
  get cookies(): Readonly<Record<string, string>> {
    return parseCookies(this.headers["cookie"] ?? "")
  }
  get subprotocols(): ReadonlyArray<string> {
    return (this.headers["sec-websocket-protocol"] ?? "")
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "")
  }
  toJSON(): unknown {
    return { _id: "ConnectionScope", id: this.id, path: this.path, params: this.params }
  }
  /** Tokens travel in the URL, in cookies and in headers: they do not belong in a log. */
  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
}

const parseCookies = (header: string): Readonly<Record<string, string>> => {
  const cookies: Record<string, string> = Object.create(null)
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=")
    if (equals < 0) continue
    const name = pair.slice(0, equals).trim()
    // The first of several cookies of one name is the most specific one (RFC 6265, 5.4).
    if (name === "" || name in cookies) continue
    cookies[name] = decodeCookie(pair.slice(equals + 1).trim())
  }
  return cookies
}

const decodeCookie = (value: string): string => {
  const unquoted = value.length > 1 && value.startsWith("\"") && value.endsWith("\"") ? value.slice(1, -1) : value
  try {
    return decodeURIComponent(unquoted)
  } catch {
    return unquoted
  }
}
