/**
 * Who is behind a connection.
 *
 * An application names its identity with {@link Service}, and says with a layer how a handshake is turned into one. The
 * identity is found out once, before the connection is upgraded, and comes from the handshake only, never from a message.
 * A connection without credentials is anonymous; invalid credentials refuse the handshake with status 401.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Layer from "effect/Layer"
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
 * The identity of somebody whose credentials were checked.
 *
 * @category constructors
 * @since 0.1.0
 */
export const authenticated = <A>(user: A): Authenticated<A> => ({ _tag: "Authenticated", user })

/**
 * Why a handshake has no identity: its credentials are invalid (401), or they cannot be checked now (503).
 *
 * @category errors
 * @since 0.1.0
 */
export type AuthenticationError = ChannelError.InvalidCredentials | ChannelError.Unavailable

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
  /**
   * The layer that authenticates: it is called once for each handshake of the consumers whose handlers it is provided to,
   * before the upgrade.
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
    authenticate: (scope: ConnectionScope["Service"]) => Effect.Effect<Identity<A>, AuthenticationError, R>
  ): Layer.Layer<Authenticator<Self>, never, Exclude<R, ConnectionScope | Scope.Scope>>
}

/**
 * What an {@link Authenticator} does.
 *
 * @category models
 * @since 0.1.0
 */
export interface AuthenticatorService<in out Self, out A> {
  readonly [AuthenticatorTypeId]: typeof AuthenticatorTypeId
  readonly identity: Context.Key<Self, Identity<A>>
  readonly authenticate: (
    scope: ConnectionScope["Service"]
  ) => Effect.Effect<Identity<A>, AuthenticationError, Scope.Scope>
}

/**
 * @category type IDs
 * @since 0.1.0
 */
export const AuthenticatorTypeId = "~effect-channels/Authentication/Authenticator"

/**
 * Names the identity of an application and gives it a type.
 *
 * **Example** (Its user in permissions and handlers)
 *
 * ```ts
 * import { Authentication, Permission } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly admin: boolean }>()("app/CurrentUser") {}
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
export const Service = <Self, A>() => <const Key extends string>(key: Key): ServiceClass<Self, Key, A> => {
  const identity = Context.Service<Self, Identity<A>>(key)
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
    use,
    layer: <R>(
      authenticate: (scope: ConnectionScope["Service"]) => Effect.Effect<Identity<A>, AuthenticationError, R>
    ) =>
      Layer.effect(
        authenticator,
        Effect.map(Effect.context<Exclude<R, ConnectionScope | Scope.Scope>>(), (context) => {
          // What it acquires belongs to the connection, not to the layer.
          const services = Context.omit(Scope.Scope)(context as Context.Context<Scope.Scope>)
          return {
            [AuthenticatorTypeId]: AuthenticatorTypeId,
            identity,
            authenticate: (scope) =>
              Effect.suspend(() => authenticate(scope)).pipe(
                Effect.provideService(ConnectionScope, scope),
                Effect.provideContext(services)
              ) as Effect.Effect<Identity<A>, AuthenticationError, Scope.Scope>
          }
        })
      )
  }) as unknown as ServiceClass<Self, Key, A>
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
