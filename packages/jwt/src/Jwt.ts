/**
 * Who is behind a connection, by a signed JSON Web Token (RFC 7519): {@link scheme} makes a scheme for the layer of an
 * identity service. The tokens are issued elsewhere, by an identity provider or with a library like `jose`.
 *
 * A key comes with the algorithms it is good for. A token never chooses how it is verified, and unsigned tokens are
 * never accepted:
 *
 * | key | is | fit for |
 * | --- | --- | --- |
 * | {@link secret} | a secret that issuer and server share | tokens of your own |
 * | {@link publicKey} | one public key | an issuer whose key hardly ever changes |
 * | {@link keySet} | some public keys | the same, and tests |
 * | {@link remoteKeySet} | public keys that the issuer publishes at a URL | identity providers: keys are rotated |
 *
 * **Example** (The tokens of an identity provider)
 *
 * ```ts
 * import { Authentication, Credentials } from "@effect-channels/core"
 * import { Jwt } from "@effect-channels/jwt"
 * import * as Effect from "effect/Effect"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: string }>()("app/CurrentUser", {
 *   key: (user) => user.id
 * }) {}
 *
 * const AuthenticationLive = CurrentUser.layer(Jwt.scheme({
 *   from: [Credentials.bearer, Credentials.subprotocol()],
 *   key: Jwt.remoteKeySet("https://id.example.com/.well-known/jwks.json", { algorithms: ["RS256"] }),
 *   issuer: "https://id.example.com/",
 *   audience: "chat",
 *   user: (claims) => Effect.succeed({ id: claims.sub })
 * }))
 * ```
 *
 * @since 0.1.0
 */
import * as Authentication from "@effect-channels/core/Authentication"
import type { ConnectionScope } from "@effect-channels/core/ConnectionScope"
import type * as Credentials from "@effect-channels/core/Credentials"
import * as Scheme from "@effect-channels/core/Scheme"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type { CryptoKey, JWK } from "jose"
import { createLocalJWKSet } from "jose/jwks/local"
import { createRemoteJWKSet, customFetch } from "jose/jwks/remote"
import type { JWTVerifyGetKey, JWTVerifyOptions } from "jose/jwt/verify"
import { importJWK, importSPKI } from "jose/key/import"
import { checkAlgorithms, checkJwk, isLoopback, keyTypes, list, once, secretBytes, spare } from "./internal/keys.ts"
import { refused, verify } from "./internal/verify.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Jwt"

/**
 * Whether a value is a key that verifies tokens.
 *
 * @category guards
 * @since 0.1.0
 */
export const isKey = (u: unknown): u is Key => typeof u === "object" && u !== null && TypeId in u

/**
 * The algorithms that sign and verify with one shared secret.
 *
 * @category models
 * @since 0.1.0
 */
export type SecretAlgorithm = "HS256" | "HS384" | "HS512"

/**
 * The algorithms that sign with a private key and verify with the public one.
 *
 * @category models
 * @since 0.1.0
 */
export type PublicKeyAlgorithm =
  | "RS256"
  | "RS384"
  | "RS512"
  | "PS256"
  | "PS384"
  | "PS512"
  | "ES256"
  | "ES384"
  | "ES512"
  | "EdDSA"
  | "Ed25519"

/**
 * What verifies tokens: a key, or several, with the algorithms that it is good for. It shows nothing of a secret.
 *
 * @category models
 * @since 0.1.0
 */
export interface Key {
  readonly [TypeId]: typeof TypeId
  /** For people: `remote key set https://id.example.com/jwks.json`. */
  readonly name: string
  readonly algorithms: ReadonlyArray<SecretAlgorithm | PublicKeyAlgorithm>
  /** @internal */
  readonly find: JWTVerifyGetKey<CryptoKey | Uint8Array>
  /** @internal Whether it is somebody else's fault when there is no key: then it may be there later. */
  readonly isRemote: boolean
}

/**
 * A public key as JSON (RFC 7517).
 *
 * @category models
 * @since 0.1.0
 */
export type Jwk = JWK

/**
 * Some public keys as JSON (RFC 7517).
 *
 * @category models
 * @since 0.1.0
 */
export interface JwkSet {
  readonly keys: ReadonlyArray<Jwk>
}

/**
 * A secret that issuer and server share. Throws a `TypeError` when it is shorter than its algorithm asks for: 32 bytes
 * for HS256, 48 for HS384, 64 for HS512. The bytes should be random: `openssl rand -base64 32`.
 *
 * Whoever can verify tokens with it can issue them as well.
 *
 * **Example** (A secret from the environment)
 *
 * ```ts
 * import { Jwt } from "@effect-channels/jwt"
 * import * as Config from "effect/Config"
 *
 * const key = Config.Redacted("TOKEN_SECRET").pipe(Config.map((secret) => Jwt.secret(secret)))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const secret = (
  secret: Redacted.Redacted<string | Uint8Array>,
  options?: {
    /** `HS256` by default. */
    readonly algorithm?: SecretAlgorithm | undefined
  }
): Key => {
  const algorithm = options?.algorithm ?? "HS256"
  const least = secretBytes.get(algorithm)
  if (least === undefined) {
    throw new TypeError(`Jwt.secret: ${algorithm} is no algorithm with a secret: take ${list(secretBytes)}`)
  }
  const value = Redacted.value(secret)
  // Everybody has it: whoever does could sign tokens with it.
  if (typeof value === "string" && /^\s*-----BEGIN [A-Z ]*(PUBLIC KEY|CERTIFICATE)-----/.test(value)) {
    throw new TypeError("Jwt.secret: this is a public key, and no secret: take Jwt.publicKey")
  }
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value.slice()
  if (bytes.length < least) {
    throw new TypeError(
      `Jwt.secret: ${algorithm} needs a secret of ${least} bytes at least, this one has ${bytes.length}`
    )
  }
  return make("secret", [algorithm], () => bytes)
}

/**
 * One public key: a PEM (`-----BEGIN PUBLIC KEY-----`), or a JSON Web Key. Throws a `TypeError` when it is plainly
 * none, or private, or not for the algorithm.
 *
 * **Gotchas**
 *
 * Whether the bytes of the key are right turns out with the first token: until they are, every token is an unexpected
 * error (status 500).
 *
 * **Example** (The issuer's key)
 *
 * ```ts
 * import { Jwt } from "@effect-channels/jwt"
 *
 * const issuerKey = (pem: string) => Jwt.publicKey(pem, { algorithm: "ES256" })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const publicKey = (key: string | Jwk, options: { readonly algorithm: PublicKeyAlgorithm }): Key => {
  const { algorithm } = options
  checkAlgorithms("Jwt.publicKey", [algorithm])
  if (typeof key === "string") {
    const pem = key.trim()
    if (!pem.startsWith("-----BEGIN PUBLIC KEY-----")) {
      throw new TypeError("Jwt.publicKey: this is no public key: a PEM begins with -----BEGIN PUBLIC KEY-----")
    }
    return make("public key", [algorithm], once(() => importSPKI(pem, algorithm)))
  }
  checkJwk("Jwt.publicKey", key)
  const problem = key.kty !== keyTypes.get(algorithm)
    ? `its "kty" is ${key.kty}`
    : key.alg !== undefined && key.alg !== algorithm
    ? `its "alg" is ${key.alg}`
    : key.use !== undefined && key.use !== "sig"
    ? `its "use" is ${key.use}`
    : undefined
  if (problem !== undefined) throw new TypeError(`Jwt.publicKey: the key does not verify ${algorithm}: ${problem}`)
  const copy = { ...key }
  return make("public key", [algorithm], once(() => importJWK(copy, algorithm)))
}

/**
 * Some public keys. A token names its one by `kid`; without `kid` each one of its algorithm is tried. Throws a
 * `TypeError` when there is none among them, or a private one.
 *
 * **Example** (The keys of a file)
 *
 * ```ts
 * import { Jwt } from "@effect-channels/jwt"
 *
 * const issuerKeys = (file: string) => Jwt.keySet(JSON.parse(file), { algorithms: ["ES256"] })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const keySet = (
  keys: JwkSet,
  options: { readonly algorithms: NonEmptyReadonlyArray<PublicKeyAlgorithm> }
): Key => {
  checkAlgorithms("Jwt.keySet", options.algorithms)
  if (!Array.isArray(keys?.keys) || keys.keys.length === 0) {
    throw new TypeError("Jwt.keySet: this is no set of keys: { keys: [{ kty: … }, …] }")
  }
  for (const key of keys.keys) checkJwk("Jwt.keySet", key)
  return make("key set", options.algorithms, createLocalJWKSet({ keys: [...keys.keys] }))
}

/**
 * The public keys that an issuer publishes at a URL (`jwks_uri`). They are fetched with the first token, and kept. A
 * token with a key that is not among them has them fetched anew, so that keys can be rotated.
 *
 * While they cannot be fetched and are needed, credentials cannot be checked: status 503, never 401.
 *
 * **Gotchas**
 *
 * `cooldown`, `maxAge` and `timeout` follow the clock of the system, also in tests with another `Clock`.
 *
 * **Example** (Keys that stay good while the issuer is away)
 *
 * ```ts
 * import { Jwt } from "@effect-channels/jwt"
 *
 * const key = Jwt.remoteKeySet("https://id.example.com/.well-known/jwks.json", {
 *   algorithms: ["RS256"],
 *   maxAge: "1 day"
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const remoteKeySet = (url: string | URL, options: {
  readonly algorithms: NonEmptyReadonlyArray<PublicKeyAlgorithm>
  /** How long after a fetch unknown keys are not looked for again: 30 seconds by default. */
  readonly cooldown?: Duration.Input | undefined
  /** How long the keys are good: 10 minutes by default. A key that the issuer takes back is trusted for so long. */
  readonly maxAge?: Duration.Input | undefined
  /** How long a fetch may take: 5 seconds by default. */
  readonly timeout?: Duration.Input | undefined
  /** Headers to fetch with. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Whether the URL may be an `http:` one of another machine: by default it may not. Whoever is on the way could then
   * replace the keys, and be everybody.
   */
  readonly allowHttp?: boolean | undefined
}): Key => {
  checkAlgorithms("Jwt.remoteKeySet", options.algorithms)
  // A copy: a URL can be changed.
  const from = new URL(url)
  if (from.protocol !== "https:" && !(from.protocol === "http:" && (isLoopback(from) || options.allowHttp === true))) {
    throw new TypeError(`Jwt.remoteKeySet: ${from.origin} is not safe from changes on the way: take an https: URL`)
  }
  const cooldown = Duration.toMillis(options.cooldown ?? "30 seconds")
  return make(
    // Not the whole URL: a query string may hold a secret.
    `remote key set ${from.origin}${from.pathname}`,
    options.algorithms,
    createRemoteJWKSet(from, {
      cooldownDuration: cooldown,
      cacheMaxAge: Duration.toMillis(options.maxAge ?? "10 minutes"),
      timeoutDuration: Duration.toMillis(options.timeout ?? "5 seconds"),
      headers: { ...options.headers },
      [customFetch]: spare(Math.min(cooldown, 1000))
    }),
    true
  )
}

const make = (name: string, algorithms: Key["algorithms"], find: Key["find"], isRemote = false): Key => ({
  [TypeId]: TypeId,
  name,
  algorithms: [...algorithms],
  find,
  isRemote
})

/**
 * The claims of a token that has a subject (RFC 7519, 4.1), and what is decoded unless `scheme` is told otherwise. To
 * ask for more claims, add to its fields.
 *
 * **Example** (One more claim)
 *
 * ```ts
 * import { Jwt } from "@effect-channels/jwt"
 * import * as Schema from "effect/Schema"
 *
 * const Claims = Schema.Struct({ ...Jwt.Claims.fields, roles: Schema.Array(Schema.String) })
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const Claims = Schema.Struct({
  /** Whom it is about. */
  sub: Schema.NonEmptyString,
  /** Who issued it. */
  iss: Schema.optionalKey(Schema.String),
  /** Whom it is for. */
  aud: Schema.optionalKey(Schema.Union([Schema.String, Schema.Array(Schema.String)])),
  /** When it expires, in seconds since 1970. */
  exp: Schema.optionalKey(Schema.Finite),
  /** When it begins to be valid, in seconds since 1970. */
  nbf: Schema.optionalKey(Schema.Finite),
  /** When it was issued, in seconds since 1970. */
  iat: Schema.optionalKey(Schema.Finite),
  /** What tells it from other tokens. */
  jti: Schema.optionalKey(Schema.String)
})

/**
 * The claims of a token that has a subject.
 *
 * @category schemas
 * @since 0.1.0
 */
export type Claims = typeof Claims.Type

/**
 * A scheme by JSON Web Tokens, for the layer of an identity service.
 *
 * A token has to be signed by the key, come from the issuer, be for the audience, and neither be expired nor yet to
 * become valid. Then its claims are decoded, and `user` says who it is. It is refused with status 401 otherwise, with
 * "The token has expired" or "The token is not valid"; what exactly is wrong is only logged, at level Debug.
 *
 * The connection ends with the token, see `Authentication.Scheme`: `clockTolerance` later than the token says, as it
 * would be accepted until then.
 *
 * `refresh` is asked for the user anew when the authority of a connection has been invalidated: see
 * `Authentication.Scheme`.
 *
 * **Example** (Users of a database, tokens with a tenant)
 *
 * ```ts
 * import { Authentication, ChannelError, Credentials } from "@effect-channels/core"
 * import { Jwt } from "@effect-channels/jwt"
 * import * as Config from "effect/Config"
 * import * as Context from "effect/Context"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Option from "effect/Option"
 * import * as Schema from "effect/Schema"
 *
 * interface User {
 *   readonly id: string
 *   readonly tenant: string
 * }
 * class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser", { key: ({ id }) => id }) {}
 * class Users extends Context.Service<Users, {
 *   readonly find: (id: string, tenant: string) => Effect.Effect<Option.Option<User>>
 * }>()("app/Users") {}
 *
 * const AuthenticationLive = Layer.unwrap(Effect.map(Config.Redacted("TOKEN_SECRET"), (secret) =>
 *   CurrentUser.layer(Jwt.scheme({
 *     from: Credentials.bearer,
 *     key: Jwt.secret(secret),
 *     issuer: "https://example.com/",
 *     audience: "chat",
 *     claims: Schema.Struct({ sub: Schema.String, tenant: Schema.String }),
 *     user: ({ sub, tenant }) =>
 *       Users.use((users) => users.find(sub, tenant)).pipe(
 *         Effect.flatMap(Option.match({
 *           onNone: () => Effect.fail(new ChannelError.InvalidCredentials()),
 *           onSome: Effect.succeed
 *         }))
 *       )
 *   }))))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const scheme = <
  A,
  R = never,
  R2 = never,
  S extends Schema.ConstraintDecoder<unknown, unknown> = typeof Claims
>(options: {
  /** Where the token stands in a handshake; the first source that has one counts. */
  readonly from: Credentials.Source | ReadonlyArray<Credentials.Source>
  /** What the token has to be signed by, and by which algorithms. */
  readonly key: Key
  /**
   * Who has to have issued it: the claim `iss`, one of these. `false` does not ask: only where nobody else issues
   * tokens with the key.
   */
  readonly issuer: string | ReadonlyArray<string> | false
  /**
   * Whom it has to be for: the claim `aud` names one of these. `false` does not ask: then tokens that the issuer made
   * for another service are good here too.
   */
  readonly audience: string | ReadonlyArray<string> | false
  /** How far the clocks of issuer and server may be apart: 5 seconds by default. */
  readonly clockTolerance?: Duration.Input | undefined
  /**
   * Whether a token has to expire: `required` by default. One that does not is good for ever, and so is a connection
   * with it.
   */
  readonly expires?: "required" | "optional" | undefined
  /**
   * What its header has to say in `typ`, like `at+jwt` (RFC 9068), where the issuer signs several kinds of tokens with
   * one key. Not looked at by default.
   */
  readonly type?: string | undefined
  /** What its claims have to be: {@link Claims} by default. */
  readonly claims?: S | undefined
  /** Who it is, by the claims of a token that was verified. */
  readonly user: (
    claims: S["Type"],
    scope: ConnectionScope["Service"]
  ) => Effect.Effect<A, Authentication.AuthenticationError, R>
  readonly refresh?:
    | ((
      identity: Authentication.Authenticated<A>,
      scope: ConnectionScope["Service"]
    ) => Effect.Effect<Authentication.Authenticated<A>, Authentication.AuthenticationError, R2>)
    | undefined
}): Authentication.Scheme<A, R | R2 | S["DecodingServices"]> => {
  const clockTolerance = Duration.toSeconds(options.clockTolerance ?? "5 seconds")
  if (!(clockTolerance >= 0 && clockTolerance < Infinity)) {
    throw new TypeError("Jwt.scheme: clockTolerance is to be a finite duration, and not negative")
  }
  const asked: JWTVerifyOptions = {
    algorithms: [...options.key.algorithms],
    clockTolerance,
    requiredClaims: options.expires === "optional" ? [] : ["exp"],
    ...expected("issuer", options.issuer),
    ...expected("audience", options.audience),
    ...options.type === undefined ? {} : { typ: options.type }
  }
  // Without a schema of its own, S is the default.
  const decode = Schema.decodeUnknownEffect((options.claims ?? Claims) as S)

  return Scheme.token<A, R | S["DecodingServices"], R2>({
    from: options.from,
    verify: Effect.fnUntraced(function*(token, scope) {
      const now = yield* Clock.currentTimeMillis
      const payload = yield* verify(options.key, Redacted.value(token), { ...asked, currentDate: new Date(now) })
      const claims = yield* Effect.catchTag(decode(payload), "SchemaError", ({ issue }) =>
        // Where, but not what: claims are about people.
        refused(`claims do not fit: ${formatIssue(issue).issues.map(({ path }) => path?.join(".") ?? "").join(", ")}`))
      const user = yield* options.user(claims, scope)
      return Authentication.authenticated(user, {
        // The whole second up to which the token is accepted.
        expiresAt: payload.exp === undefined ? undefined : Math.ceil(payload.exp + clockTolerance) * 1000
      })
    }),
    refresh: options.refresh
  })
}

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/** Neither nothing nor an empty name, which a missing variable of the environment would be. */
const expected = <Name extends "issuer" | "audience">(name: Name, value: string | ReadonlyArray<string> | false) => {
  if (value === false) return undefined
  const values: ReadonlyArray<unknown> = Array.isArray(value) ? value : [value]
  if (values.length === 0 || values.some((value) => typeof value !== "string" || value === "")) {
    throw new TypeError(`Jwt.scheme: ${name} is missing or empty: name it, or say false not to check it`)
  }
  return { [name]: values } as { readonly [_ in Name]: Array<string> }
}
