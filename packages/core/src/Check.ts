/**
 * Checks that many applications need, ready to be combined with their own.
 *
 * | check | phase | allows |
 * | --- | --- | --- |
 * | {@link isAuthenticated} | connection | who has an identity |
 * | {@link isAnonymous} | connection | who has none |
 * | {@link hasRole} | connection | users with a role |
 * | {@link hasScope} | connection | users whose credentials have a scope |
 * | {@link sameOrigin} | connection | the server's own pages, and clients that are no pages |
 * | {@link actionIn} | action | some actions |
 * | {@link readOnly} | action | the actions that change nothing |
 * | {@link between} | action | a span of time |
 * | {@link isOwner} | object | the user that the object belongs to |
 *
 * Checks of the connection are decided once, and again when authority changes; the others on every message.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Authentication from "./Authentication.ts"
import type * as ChannelError from "./ChannelError.ts"
import type { ConnectionScope } from "./ConnectionScope.ts"
import * as Filter from "./Filter.ts"
import * as Permission from "./Permission.ts"

/**
 * The connection has an identity; the same as `Permission.isAuthenticated`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const isAuthenticated: <Self, A>(
  service: Authentication.ServiceKey<Self, A>
) => Permission.Permission<unknown, never, Self> = Permission.isAuthenticated

/**
 * The connection has no identity: for what only guests do, such as signing up.
 *
 * @category constructors
 * @since 0.1.0
 */
export const isAnonymous = <Self, A>(
  service: Authentication.ServiceKey<Self, A>,
  options?: Permission.CheckOptions
): Permission.Permission<unknown, never, Self> =>
  Permission.connection(
    "isAnonymous",
    Effect.map(service.identity, (identity) => identity._tag === "Anonymous"),
    options
  )

/**
 * What roles and scopes are named with.
 *
 * @category models
 * @since 0.1.0
 */
export type Name = string | number

/**
 * Several roles or scopes.
 *
 * @category models
 * @since 0.1.0
 */
export type Names<N extends Name> = ReadonlyArray<N> | ReadonlySet<N>

/**
 * A user with roles, or with one role. Where there are both, `roles` counts.
 *
 * @category models
 * @since 0.1.0
 */
export type WithRoles = { readonly roles: Names<Name> } | { readonly role: Name }

/**
 * The roles that a user can have.
 *
 * @category models
 * @since 0.1.0
 */
export type RoleOf<A extends WithRoles> = A extends { readonly roles: Names<infer Role> } ? Role
  : A extends { readonly role: infer Role } ? Role
  : never

/**
 * A user whose credentials have scopes.
 *
 * @category models
 * @since 0.1.0
 */
export interface WithScopes {
  readonly scopes: Names<Name>
}

/**
 * The scopes that a user's credentials can have.
 *
 * @category models
 * @since 0.1.0
 */
export type ScopeOf<A extends WithScopes> = A extends { readonly scopes: Names<infer S> } ? S : never

/**
 * The user has a role, by their `roles` (an array or a set) or their `role`. Fails with `NotAuthenticated` on an anonymous
 * connection.
 *
 * **Example** (A role that does not exist does not compile)
 *
 * ```ts
 * import { Authentication, Check } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, {
 *   readonly id: string
 *   readonly roles: ReadonlyArray<"admin" | "editor">
 * }>()("app/CurrentUser") {}
 *
 * const isAdmin = Check.hasRole(CurrentUser, "admin")
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const hasRole = <Self, A extends WithRoles>(
  service: Authentication.ServiceKey<Self, A>,
  role: RoleOf<A>,
  options?: Permission.CheckOptions
): Permission.Permission<unknown, ChannelError.NotAuthenticated, Self> =>
  Permission.connection(
    `hasRole(${role})`,
    service.use((user: WithRoles) => "roles" in user ? has(user.roles, role) : user.role === role),
    options
  )

/**
 * The credentials of the user have a scope, by the user's `scopes` (an array or a set). Fails with `NotAuthenticated` on an
 * anonymous connection; denies with the code `insufficient_scope`.
 *
 * **Example** (A token that may only read)
 *
 * ```ts
 * import { Authentication, Check } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, {
 *   readonly id: string
 *   readonly scopes: ReadonlySet<"messages:read" | "messages:write">
 * }>()("app/CurrentUser") {}
 *
 * const mayWrite = Check.hasScope(CurrentUser, "messages:write")
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const hasScope = <Self, A extends WithScopes>(
  service: Authentication.ServiceKey<Self, A>,
  scope: ScopeOf<A>,
  options?: Permission.CheckOptions
): Permission.Permission<unknown, ChannelError.NotAuthenticated, Self> =>
  Permission.connection(
    `hasScope(${scope})`,
    service.use((user) => has(user.scopes, scope)),
    { ...options, code: options?.code ?? "insufficient_scope" }
  )

// Not `includes` of whatever has it: a string that got here in spite of the types would have every part of itself.
const has = (names: Names<Name>, name: Name): boolean =>
  Array.isArray(names) ? names.includes(name) : (names as ReadonlySet<Name>).has(name)

/**
 * What tells objects and users apart, and can be compared.
 *
 * @category models
 * @since 0.1.0
 */
export type Id = string | number | bigint

/**
 * The keys of a user whose value may equal one of type `Value`.
 *
 * @category models
 * @since 0.1.0
 */
export type KeysLike<A, Value> = {
  readonly [K in keyof A & string]-?: IsComparable<NonNullable<A[K]>, NonNullable<Value>> extends true ? K : never
}[keyof A & string]

/**
 * Whether one of two types of ids is the other one, or a kind of it.
 *
 * @category models
 * @since 0.1.0
 */
export type IsComparable<A, B> = [A] extends [never] ? false
  : [B] extends [never] ? false
  : [A, B] extends [Id, Id] ? [A] extends [B] ? true : [B] extends [A] ? true : false
  : false

/**
 * The object belongs to the user: a key of the one equals a key of the other. An object that belongs to nobody (`null` or
 * `undefined`) is nobody's. Fails with `NotAuthenticated` on an anonymous connection.
 *
 * **Example** (Only the author may edit)
 *
 * ```ts
 * import { Authentication, Check } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number }>()("app/CurrentUser") {}
 * interface Message { readonly text: string; readonly authorId: number | null }
 *
 * const isAuthor = Check.isOwner<Message>()(CurrentUser, { object: "authorId", user: "id" })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const isOwner =
  <Object>() =>
  <Self, A, const O extends keyof Object & string, const U extends KeysLike<A, Object[O]>>(
    service: Authentication.ServiceKey<Self, A>,
    keys: { readonly object: O; readonly user: U },
    options?: Permission.CheckOptions
  ): Permission.Permission<
    { readonly object: Object; readonly payload: unknown; readonly params: unknown },
    ChannelError.NotAuthenticated,
    Self
  > =>
    Permission.object<Object>()(
      `isOwner(${keys.object})`,
      ({ object }) =>
        service.use((user) => {
          const owner: unknown = object[keys.object]
          return owner !== undefined && owner !== null && owner === user[keys.user]
        }),
      { ...options, query: () => service.use((user): Filter.Filter<Object> => owned(keys.object, user[keys.user])) }
    )

/** The objects whose field has this value; none where it is null. */
const owned = (field: string, value: unknown): Filter.Filter<unknown> =>
  value === undefined || value === null
    ? Filter.none
    : Filter.fromTree({ _tag: "Comparison", field, operator: "eq", value })

/**
 * The connection comes from a page of the server's own host, or from no page at all: a browser sends an `Origin`, other
 * clients mostly do not. Without such a check any page can act as the user, by the user's cookies (RFC 6455, 10.2).
 *
 * The host and port of `Origin` must equal those of `Host`; the ports 80 of http and 443 of https may go without saying on
 * either side. An origin that is `null` or no origin of http or https is denied. Behind a proxy that changes `Host` this
 * denies every page: let the proxy pass it on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sameOrigin: Permission.Permission<unknown, never, ConnectionScope> = Permission.connection(
  "sameOrigin",
  ({ headers }) => {
    const { host, origin } = headers
    if (origin === undefined) return true
    if (host === undefined) return false
    const [, scheme, page] = /^(https?):\/\/(.*)$/i.exec(origin) ?? []
    if (scheme === undefined || page === undefined) return false
    const defaultPort = scheme.toLowerCase() === "https" ? 443 : 80
    const from = authority(page, defaultPort)
    return from !== undefined && from === authority(host, defaultPort)
  },
  { reason: "Pages of other origins may not connect" }
)

/** Host and port, `undefined` where it is anything else. */
const authority = (text: string, defaultPort: number): string | undefined => {
  const [, host, digits] = /^([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/i.exec(text) ?? []
  const port = digits === undefined ? defaultPort : Number(digits)
  return host === undefined || port > 65_535 ? undefined : `${host.toLowerCase()}:${port}`
}

/**
 * One of these actions is asked for.
 *
 * **Example** (Guests may look)
 *
 * ```ts
 * import { Authentication, Check, Permission } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number }>()("app/CurrentUser") {}
 *
 * const guestsMayLook = Permission.or(Check.isAuthenticated(CurrentUser), Check.actionIn(["list", "retrieve", "count"]))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const actionIn = (
  actions: ReadonlyArray<string>,
  options?: Permission.CheckOptions
): Permission.Permission<{ readonly action: string }> => isAction(`actionIn(${actions.join(", ")})`, actions, options)

const isAction = (name: string, actions: ReadonlyArray<string>, options?: Permission.CheckOptions) => {
  const names: ReadonlySet<string> = new Set(actions)
  return Permission.action(name, ({ action }) => names.has(action), { ...options, everyObject: true })
}

/**
 * An action is asked for that changes nothing: `list`, `retrieve`, `subscribe` or `unsubscribe`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const readOnly: Permission.Permission<{ readonly action: string }> = isAction("readOnly", [
  "list",
  "retrieve",
  "subscribe",
  "unsubscribe"
])

/**
 * A point in time. A text is one of ISO 8601 with date, time and zone, such as `2026-01-31T18:00:00+01:00`.
 *
 * @category models
 * @since 0.1.0
 */
export type Time = Date | DateTime.DateTime | string

/**
 * Some messages are too early, others too late: allows from `from` on, and before `until`. It is decided on every message,
 * so that it also ends for connections that are open.
 *
 * Throws a `TypeError` where a bound is no point in time, there is none, or `from` is not before `until`.
 *
 * **Example** (A vote)
 *
 * ```ts
 * import { Check } from "@effect-channels/core"
 *
 * const whileOpen = Check.between({ from: "2026-05-01T08:00:00Z", until: "2026-05-08T08:00:00Z" })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const between = (
  bounds: { readonly from?: Time | undefined; readonly until?: Time | undefined },
  options?: Permission.CheckOptions
): Permission.Permission<{ readonly action: string }> => {
  const from = bounds.from === undefined ? -Infinity : millis("from", bounds.from)
  const until = bounds.until === undefined ? Infinity : millis("until", bounds.until)
  const said = [...words("from", from), ...words("until", until)].join(" ")
  if (said === "") throw new TypeError("Check.between: it takes from, until, or both")
  if (from >= until) throw new TypeError(`Check.between: from must be before until, but it is ${said}`)
  const answer = Clock.clockWith((clock) => {
    const now = clock.currentTimeMillisUnsafe()
    return Effect.succeed(now >= from && now < until)
  })
  return Permission.action(`between(${said})`, () => answer, { ...options, everyObject: true })
}

const words = (word: string, millis: number): ReadonlyArray<string> =>
  Number.isFinite(millis) ? [`${word} ${new Date(millis).toISOString()}`] : []

const millis = (bound: string, time: Time): number => {
  const found = DateTime.isDateTime(time)
    ? DateTime.toEpochMillis(time)
    : typeof time === "string"
    ? parse(time)
    : time instanceof Date
    ? time.getTime()
    : NaN
  if (Number.isNaN(found)) throw new TypeError(`Check.between: ${bound} is no point in time: ${String(time)}`)
  return found
}

const parse = (text: string): number => {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/i.exec(text) ??
    []
  // A day that the month does not have would be one of the next month.
  const isDay = Number(day) <= new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
  return isDay ? Date.parse(text) : NaN
}
