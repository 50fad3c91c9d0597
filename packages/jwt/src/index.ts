// @barrel: Auto-generated exports. Do not edit manually.

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
export * as Jwt from "./Jwt.ts"
