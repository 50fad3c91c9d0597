/**
 * Who is behind a connection.
 *
 * An application names its identity with {@link Service}, and says with a layer how a handshake is turned into one. The
 * identity is found out before the connection is upgraded, and comes from its handshake. A connection without credentials is
 * anonymous; invalid credentials refuse the handshake with status 401.
 *
 * An identity may expire: then the connection is closed with 4401, unless its client has sent newer credentials with the
 * reserved action `$authenticate`, see {@link Scheme}. No other message has a say in who is behind a connection.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as ChannelError from "./ChannelError.ts"
import { ConnectionScope } from "./ConnectionScope.ts"

/**
 * Nobody in particular: no credentials were presented.
 *
 * @category models
 * @since 0.1.0
 */
export interface Anonymous {
  readonly _tag: "Anonymous"
}

/**
 * Somebody whose credentials were checked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Authenticated<out A> {
  readonly _tag: "Authenticated"
  readonly user: A
  /** When the credentials expire, in milliseconds since 1970; never where it is left out. */
  readonly expiresAt?: number
}

/**
 * Who is behind a connection.
 *
 * @category models
 * @since 0.1.0
 */
export type Identity<A> = Anonymous | Authenticated<A>

/**
 * The identity of a connection without credentials.
 *
 * @category constructors
 * @since 0.1.0
 */
export const anonymous: Anonymous = Object.freeze({ _tag: "Anonymous" })

/**
 * The identity of somebody whose credentials were checked. `expiresAt` is when they expire, in milliseconds since 1970.
 *
 * @category constructors
 * @since 0.1.0
 */
export const authenticated = <A>(
  user: A,
  options?: { readonly expiresAt?: number | undefined }
): Authenticated<A> =>
  options?.expiresAt === undefined
    ? { _tag: "Authenticated", user }
    : { _tag: "Authenticated", user, expiresAt: options.expiresAt }

/**
 * Why a handshake has no identity: its credentials are invalid (401), or they cannot be checked now (503).
 *
 * @category errors
 * @since 0.1.0
 */
export type AuthenticationError = ChannelError.InvalidCredentials | ChannelError.Unavailable

/**
 * A way to find out who is behind a connection. The module `Scheme` has some ready: tokens, sessions, API keys.
 *
 * - `authenticate` turns a handshake into an identity: it is called before the upgrade.
 * - `renew` turns a token into one that a client sends later with the reserved action `$authenticate`
 *   (`{ "action": "$authenticate", "data": { "token": "…" } }`; where a consumer has several identities that can be renewed, the
 *   data names the key of one: `"identity": "app/CurrentUser"`). Without it, or where the identity service has no `key`, there
 *   is no such action. It is no action of the consumer: no permission guards it, `Settings.renewalsPerMinute` limits it.
 * - `refresh` finds out anew who somebody is, when the authority of a connection has been invalidated: the same user, maybe with
 *   other roles. When it fails with `InvalidCredentials`, the connection is closed with 4401. Without it the identity stays.
 *
 * @category models
 * @since 0.1.0
 */
export interface Scheme<out A, out R = never> {
  readonly authenticate: (
    scope: ConnectionScope["Service"]
  ) => Effect.Effect<Identity<A>, AuthenticationError, R>
  readonly renew?:
    | ((
      token: Redacted.Redacted,
      scope: ConnectionScope["Service"]
    ) => Effect.Effect<Identity<A>, AuthenticationError, R>)
    | undefined
  // A method: a scheme of some users is one of all that these are as well.
  refresh?(
    identity: Authenticated<A>,
    scope: ConnectionScope["Service"]
  ): Effect.Effect<Authenticated<A>, AuthenticationError, R>
}

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Authentication"

/**
 * What marks the service of an identity in requirements: it is provided for each connection, by its
 * {@link Authenticator}.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyService {
  readonly [TypeId]: typeof TypeId
}

/**
 * The service that turns the handshakes of a server into identities of type `Self`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Authenticator<in out Self> {
  readonly _: unique symbol
  readonly Self: Self
}

/**
 * The identity of a connection, as a service. As an effect it is the user; it fails with `NotAuthenticated` (403) on an
 * anonymous connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceKey<in out Self, out A> extends Effect.Effect<A, ChannelError.NotAuthenticated, Self> {
  readonly key: string
  /** The identity, anonymous or not. */
  readonly identity: Context.Key<Self, Identity<A>>
  /** Calls a function with the user; fails with `NotAuthenticated` on an anonymous connection. */
  use<B, E, R>(f: (user: A) => Effect.Effect<B, E, R>): Effect.Effect<B, E | ChannelError.NotAuthenticated, R | Self>
  use<B>(f: (user: A) => B): Effect.Effect<B, ChannelError.NotAuthenticated, Self>
}

/**
 * An identity service that can tell two users apart: it was made with a `key`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Keyed<in A> {
  /** What tells a user apart from every other one, whatever else changes about them. */
  readonly keyOf: (user: A) => string
}

/**
 * The class of an identity service, see {@link Service}.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<in out Self, in out Key extends string, in out A> extends ServiceKey<Self, A> {
  new(_: never): AnyService & { readonly key: Key; readonly User: A }
  readonly key: Key
  readonly identity: Context.Service<Self, Identity<A>>
  /** What {@link layer} provides. */
  readonly authenticator: Context.Service<Authenticator<Self>, AuthenticatorService<Self, A>>
  /** Tells two users apart, where the service was made with a `key`. */
  readonly keyOf: ((user: A) => string) | undefined
  /**
   * The layer that authenticates, by a function of the handshake or by a {@link Scheme}: it is called once for each handshake
   * of the consumers whose handlers it is provided to, before the upgrade.
   *
   * **Example** (A token in the query string)
   *
   * ```ts
   * import { Authentication, ChannelError } from "@effect-channels/core"
   * import * as Effect from "effect/Effect"
   *
   * class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("app/CurrentUser") {}
   *
   * const AuthenticationLive = CurrentUser.layer((scope) => {
   *   const token = scope.query.token
   *   if (token === undefined) return Effect.succeed(Authentication.anonymous)
   *   if (token !== "secret") return Effect.fail(new ChannelError.InvalidCredentials())
   *   return Effect.succeed(Authentication.authenticated({ name: "alice" }))
   * })
   * ```
   */
  layer<R>(
    scheme: Scheme<A, R> | Scheme<A, R>["authenticate"]
  ): Layer.Layer<Authenticator<Self>, never, Exclude<R, ConnectionScope | Scope.Scope>>
}

/**
 * The class of an identity service that can tell two users apart.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedServiceClass<in out Self, in out Key extends string, in out A>
  extends ServiceClass<Self, Key, A>
{
  readonly keyOf: (user: A) => string
}

/**
 * What an {@link Authenticator} does.
 *
 * @category models
 * @since 0.1.0
 */
export interface AuthenticatorService<in out Self, in out A> extends Scheme<A, Scope.Scope> {
  readonly [AuthenticatorTypeId]: typeof AuthenticatorTypeId
  readonly identity: Context.Key<Self, Identity<A>>
  readonly keyOf: ((user: A) => string) | undefined
}

/**
 * @category type IDs
 * @since 0.1.0
 */
export const AuthenticatorTypeId = "~effect-channels/Authentication/Authenticator"

/**
 * Names the identity of an application and gives it a type. With a `key` users can be told apart: their credentials can be
 * renewed on a live connection, their authority invalidated, and their requests counted.
 *
 * **Example** (Its user in permissions and handlers)
 *
 * ```ts
 * import { Authentication, Permission } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: string; readonly admin: boolean }>()(
 *   "app/CurrentUser",
 *   { key: (user) => user.id }
 * ) {}
 *
 * const isAdmin = Permission.connection("isAdmin", CurrentUser.use((user) => user.admin))
 * const whoAmI = Effect.gen(function*() {
 *   const user = yield* CurrentUser
 *   return user.admin
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service = <Self, A>(): {
  <const Key extends string>(key: Key): ServiceClass<Self, Key, A>
  <const Key extends string>(
    key: Key,
    options: { readonly key: (user: A) => string }
  ): KeyedServiceClass<Self, Key, A>
} =>
(key: string, options?: { readonly key: (user: A) => string }): never => {
  // Where nobody has said who it is, it is nobody in particular.
  const identity = Context.Reference<Identity<A>>(key, { defaultValue: () => anonymous }) as unknown as Context.Service<
    Self,
    Identity<A>
  >
  const authenticator = Context.Service<Authenticator<Self>, AuthenticatorService<Self, A>>(`${key}/Authenticator`)
  // One step of the fiber each: checks and handlers use it on every message.
  const use = <B>(f: (user: A) => B | Effect.Effect<B>): Effect.Effect<B, ChannelError.NotAuthenticated> =>
    Effect.withFiber((fiber) => {
      const found = Context.getUnsafe(fiber.context, identity)
      if (found._tag === "Anonymous") return Effect.fail(new ChannelError.NotAuthenticated())
      const result = f(found.user)
      return Effect.isEffect(result) ? result : Effect.succeed(result)
    })
  const user = use((user) => user)
  function ServiceClass() {}
  Object.setPrototypeOf(
    ServiceClass,
    Effectable.Prototype<Effect.Effect<A, ChannelError.NotAuthenticated, Self>>({
      label: "Authentication.Service",
      evaluate: () => user
    })
  )
  return Object.assign(ServiceClass, {
    key,
    identity,
    authenticator,
    keyOf: options?.key,
    use,
    layer: <R>(scheme: Scheme<A, R> | Scheme<A, R>["authenticate"]) =>
      Layer.effect(
        authenticator,
        Effect.map(Effect.context<Exclude<R, ConnectionScope | Scope.Scope>>(), (context) => {
          const found: Scheme<A, R> = typeof scheme === "function" ? { authenticate: scheme } : scheme
          const { renew } = found
          // What it acquires belongs to the connection, not to the layer.
          const services = Context.omit(Scope.Scope)(context as Context.Context<Scope.Scope>)
          const run = <I>(scope: ConnectionScope["Service"], effect: () => Effect.Effect<I, AuthenticationError, R>) =>
            Effect.suspend(effect).pipe(
              Effect.provideService(ConnectionScope, scope),
              Effect.provideContext(services)
            ) as Effect.Effect<I, AuthenticationError, Scope.Scope>
          return {
            [AuthenticatorTypeId]: AuthenticatorTypeId,
            identity,
            keyOf: options?.key,
            authenticate: (scope) => run(scope, () => found.authenticate(scope)),
            renew: renew === undefined ? undefined : (token, scope) => run(scope, () => renew(token, scope)),
            ...found.refresh === undefined ? {} : {
              refresh: (identity: Authenticated<A>, scope: ConnectionScope["Service"]) =>
                run(scope, () => found.refresh!(identity, scope))
            }
          } satisfies AuthenticatorService<Self, A>
        })
      )
  }) as never
}

/**
 * The authenticators among some services.
 *
 * @category accessors
 * @since 0.1.0
 */
export const authenticators = (
  context: Context.Context<never>
): ReadonlyArray<AuthenticatorService<unknown, unknown>> =>
  Array.from(context.mapUnsafe.values()).filter(isAuthenticator)

const isAuthenticator = (service: unknown): service is AuthenticatorService<unknown, unknown> =>
  typeof service === "object" && service !== null && AuthenticatorTypeId in service
