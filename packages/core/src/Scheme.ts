/**
 * Ready ways to find out who is behind a connection, for the layer of an identity service.
 *
 * | scheme | the credentials | renewed in band | decided anew on `Authority.invalidate` |
 * | --- | --- | --- | --- |
 * | {@link token} | a token that a function verifies | yes | with `refresh` |
 * | {@link session} | an opaque token that is looked up | yes | looks it up again |
 * | {@link apiKey} | one of some keys | yes | stays |
 * | `Jwt.scheme` of `@effect-channels/jwt` | a signed JSON Web Token | yes | with `refresh` |
 *
 * @since 0.1.0
 */
import * as Digest from "effect/crypto/Digest"
import * as Mac from "effect/crypto/Mac"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Authentication from "./Authentication.ts"
import * as ChannelError from "./ChannelError.ts"
import type { ConnectionScope } from "./ConnectionScope.ts"
import * as Credentials from "./Credentials.ts"

/**
 * A scheme by tokens: no token is nobody in particular, a token that `verify` refuses is status 401.
 *
 * `refresh` is asked for the user anew when the authority of a connection has been invalidated: see
 * `Authentication.Scheme`.
 *
 * **Example** (Tokens of another service)
 *
 * ```ts
 * import { Authentication, ChannelError, Credentials, Scheme } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as Redacted from "effect/Redacted"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: string }>()("app/CurrentUser", {
 *   key: (user) => user.id
 * }) {}
 *
 * const AuthenticationLive = CurrentUser.layer(Scheme.token({
 *   from: [Credentials.bearer, Credentials.subprotocol()],
 *   verify: (token) =>
 *     Redacted.value(token) === "secret"
 *       ? Effect.succeed(Authentication.authenticated({ id: "alice" }))
 *       : Effect.fail(new ChannelError.InvalidCredentials())
 * }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const token = <A, R = never, R2 = never>(options: {
  /** Where the token stands in a handshake; the first source that has one counts. */
  readonly from: Credentials.Source | ReadonlyArray<Credentials.Source>
  readonly verify: (
    token: Redacted.Redacted,
    scope: ConnectionScope["Service"]
  ) => Effect.Effect<Authentication.Authenticated<A>, Authentication.AuthenticationError, R>
  readonly refresh?:
    | ((
      identity: Authentication.Authenticated<A>,
      scope: ConnectionScope["Service"]
    ) => Effect.Effect<Authentication.Authenticated<A>, Authentication.AuthenticationError, R2>)
    | undefined
}): Authentication.Scheme<A, R | R2> => {
  if ([options.from].flat().length === 0) {
    throw new TypeError("A scheme needs a source of credentials: everybody would be anonymous, whatever they present")
  }
  return {
    authenticate: (scope) => {
      const presented = Credentials.read(options.from, scope)
      if (Result.isFailure(presented)) return Effect.fail(presented.failure)
      return presented.success === undefined
        ? Effect.succeed(Authentication.anonymous)
        : options.verify(presented.success, scope)
    },
    renew: options.verify,
    ...options.refresh === undefined ? {} : { refresh: options.refresh }
  }
}

/**
 * A scheme by opaque session tokens, which a service of the application knows. A token that it does not know is status 401.
 *
 * When the authority of a connection has been invalidated, its token is looked up again: who the user is by then is who it
 * stays, and a session that has ended closes its connections with 4401.
 *
 * **Example** (Sessions in a cookie)
 *
 * ```ts
 * import { Authentication, Credentials, Scheme } from "@effect-channels/core"
 * import * as Context from "effect/Context"
 * import * as Effect from "effect/Effect"
 * import * as Option from "effect/Option"
 * import * as Redacted from "effect/Redacted"
 *
 * interface User {
 *   readonly id: string
 * }
 * class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser", { key: ({ id }) => id }) {}
 * class Sessions extends Context.Service<Sessions, {
 *   readonly find: (id: string) => Effect.Effect<Option.Option<{ readonly user: User; readonly until: number }>>
 * }>()("app/Sessions") {}
 *
 * const AuthenticationLive = CurrentUser.layer(Scheme.session({
 *   from: Credentials.cookie("session"),
 *   lookup: (token) =>
 *     Sessions.use((sessions) => sessions.find(Redacted.value(token))).pipe(
 *       Effect.map(Option.map(({ until, user }) => Authentication.authenticated(user, { expiresAt: until })))
 *     )
 * }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const session = <A, R = never>(options: {
  /** Where the token stands in a handshake; the first source that has one counts. */
  readonly from: Credentials.Source | ReadonlyArray<Credentials.Source>
  readonly lookup: (
    token: Redacted.Redacted
  ) => Effect.Effect<Option.Option<Authentication.Authenticated<A>>, Authentication.AuthenticationError, R>
}): Authentication.Scheme<A, R> => {
  /** The token behind each identity, to look it up again; nobody else gets to see it. */
  const tokens = new WeakMap<Authentication.Authenticated<A>, Redacted.Redacted>()
  const verify = (token: Redacted.Redacted) =>
    Effect.flatMap(options.lookup(token), (found) => {
      if (Option.isNone(found)) {
        return Effect.fail(new ChannelError.InvalidCredentials({ message: "The session is not known, or has ended" }))
      }
      // A copy: the lookup may give the same one for two tokens.
      const identity = { ...found.value }
      tokens.set(identity, token)
      return Effect.succeed(identity)
    })
  return token({
    from: options.from,
    verify,
    refresh: (identity) => {
      const token = tokens.get(identity)
      // One that was not looked up here cannot be looked up again.
      return token === undefined ? Effect.fail(new ChannelError.InvalidCredentials()) : verify(token)
    }
  })
}

/**
 * A scheme by API keys. All keys are compared, in a time that does not tell how much of one was right: by their SHA-256
 * digests, all of each.
 *
 * **Example** (Keys from the environment)
 *
 * ```ts
 * import { Authentication, Credentials, Scheme } from "@effect-channels/core"
 * import * as Config from "effect/Config"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: string }>()("app/CurrentUser") {}
 *
 * const AuthenticationLive = Layer.unwrap(Effect.map(Config.Redacted("API_KEY"), (key) =>
 *   CurrentUser.layer(Scheme.apiKey({
 *     from: [Credentials.header("x-api-key"), Credentials.bearer],
 *     keys: [{ key, user: { id: "reporting" } }]
 *   }))))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const apiKey = <A>(options: {
  /** Where the key stands in a handshake; the first source that has one counts. */
  readonly from: Credentials.Source | ReadonlyArray<Credentials.Source>
  readonly keys: ReadonlyArray<{ readonly key: Redacted.Redacted; readonly user: A }>
}): Authentication.Scheme<A> => {
  const keys = options.keys.map(({ key }) => Redacted.value(key))
  if (keys.length === 0) throw new TypeError("Scheme.apiKey: there is no key: nobody could be anybody")
  if (keys.includes("")) {
    throw new TypeError("Scheme.apiKey: one of the keys is empty: give each of them some random characters")
  }
  if (new Set(keys).size < keys.length) throw new TypeError("Scheme.apiKey: two users have the same key")
  let digests: ReadonlyArray<Uint8Array> | undefined
  return token({
    from: options.from,
    verify: Effect.fnUntraced(function*(key) {
      digests ??= yield* Effect.forEach(options.keys, ({ key }) => digest(key))
      const presented = yield* digest(key)
      // No way out of the loop: it takes as long whichever key it is.
      let found = -1
      digests.forEach((known, i) => {
        if (Mac.timingSafeEqual(known, presented)) found = i
      })
      return found < 0
        ? yield* new ChannelError.InvalidCredentials({ message: "The API key is not valid" })
        : Authentication.authenticated(options.keys[found]!.user)
    })
  })
}

/** What every runtime has, and the types of the language alone do not name. */
declare const TextEncoder: { new(): { encode(text: string): Uint8Array<ArrayBuffer> } }

const digest = (key: Redacted.Redacted): Effect.Effect<Uint8Array> =>
  Digest.Digest.use((digest) => digest.digest(Digest.sha256, new TextEncoder().encode(Redacted.value(key)))).pipe(
    Effect.provide(Digest.layerWebCrypto)
  )

/**
 * The first of some schemes that knows the credentials. Who presents none that any of them reads is anonymous; credentials
 * that none of them accepts are refused as the first one did that read them.
 *
 * **Example** (People by their sessions, programs by keys)
 *
 * ```ts
 * import { Authentication, Credentials, Scheme } from "@effect-channels/core"
 * import type * as Redacted from "effect/Redacted"
 *
 * interface User {
 *   readonly id: string
 * }
 *
 * const either = (sessions: Authentication.Scheme<User>, key: Redacted.Redacted) =>
 *   Scheme.firstOf(
 *     sessions,
 *     Scheme.apiKey({ from: Credentials.header("x-api-key"), keys: [{ key, user: { id: "reporting" } }] })
 *   )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const firstOf: {
  <A, R>(...schemes: ReadonlyArray<Authentication.Scheme<A, R>>): Authentication.Scheme<A, R>
  <A, const R extends ReadonlyArray<unknown>>(
    ...schemes: { readonly [I in keyof R]: Authentication.Scheme<A, R[I]> }
  ): Authentication.Scheme<A, R[number]>
} = <A, R>(...schemes: ReadonlyArray<Authentication.Scheme<A, R>>): Authentication.Scheme<A, R> => {
  if (schemes.length === 0) {
    throw new TypeError("Scheme.firstOf: there is no scheme: everybody would be anonymous, whatever they present")
  }
  /** The scheme behind each identity, which is the one to ask about it again, and what it called it. */
  const origins = new WeakMap<
    Authentication.Authenticated<A>,
    { readonly scheme: Authentication.Scheme<A, R>; readonly identity: Authentication.Authenticated<A> }
  >()

  const of = (scheme: Authentication.Scheme<A, R>, identity: Authentication.Authenticated<A>) => {
    // A copy: two schemes may give the same one.
    const found = { ...identity }
    origins.set(found, { scheme, identity })
    return found
  }

  const attempt = Effect.fnUntraced(function*(
    schemes: ReadonlyArray<Authentication.Scheme<A, R>>,
    ask: (
      scheme: Authentication.Scheme<A, R>
    ) => Effect.Effect<Authentication.Identity<A>, Authentication.AuthenticationError, R>
  ): Effect.fn.Return<Authentication.Identity<A>, Authentication.AuthenticationError, R> {
    let refused: Authentication.AuthenticationError | undefined
    for (const scheme of schemes) {
      const result = yield* Effect.result(Effect.suspend(() => ask(scheme)))
      if (Result.isFailure(result)) {
        // It cannot be said who it is: to go on might end with somebody else.
        if (result.failure._tag === "Unavailable") return yield* result.failure
        refused ??= result.failure
      } else if (result.success._tag === "Authenticated") {
        return of(scheme, result.success)
      }
    }
    return refused === undefined ? Authentication.anonymous : yield* refused
  })

  const renewable = schemes.filter(({ renew }) => renew !== undefined)
  return {
    authenticate: (scope) => attempt(schemes, (scheme) => scheme.authenticate(scope)),
    renew: renewable.length === 0 ?
      undefined :
      (token, scope) => attempt(renewable, (scheme) => scheme.renew!(token, scope)),
    refresh: (identity, scope) => {
      const origin = origins.get(identity)
      // One that is from none of them cannot be asked about.
      if (origin === undefined) return Effect.fail(new ChannelError.InvalidCredentials())
      const { scheme } = origin
      return scheme.refresh === undefined
        ? Effect.succeed(identity)
        : Effect.map(scheme.refresh(origin.identity, scope), (found) => of(scheme, found))
    }
  }
}
