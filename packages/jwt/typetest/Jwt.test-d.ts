// @effect-diagnostics missingEffectError:off
import { Authentication, ChannelError, Credentials } from "@effect-channels/core"
import { Jwt } from "@effect-channels/jwt"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

interface User {
  readonly id: string
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser") {}
declare const key: Jwt.Key
declare const find: (id: string) => Effect.Effect<User, ChannelError.InvalidCredentials, "Users">
declare const again: (user: User) => Effect.Effect<Authentication.Authenticated<User>, never, "Roles">
const base = { from: Credentials.bearer, key, issuer: "issuer", audience: "audience" }

describe("a scheme", () => {
  it("is one of what `user` gives, and needs what it needs", () => {
    const user = ({ sub }: Jwt.Claims) => Effect.succeed({ id: sub })
    expectTypeOf(Jwt.scheme({ ...base, user })).toEqualTypeOf<Authentication.Scheme<{ id: string }>>()
    const found = Jwt.scheme({ ...base, user: (claims) => find(claims.sub), refresh: ({ user }) => again(user) })
    expectTypeOf(found).toEqualTypeOf<Authentication.Scheme<User, "Users" | "Roles">>()
    expectTypeOf(CurrentUser.layer(found)).toEqualTypeOf<
      Layer.Layer<Authentication.Authenticator<CurrentUser>, never, "Users" | "Roles">
    >()
    // @ts-expect-error: another user than the service has
    CurrentUser.layer(Jwt.scheme({ ...base, user: () => Effect.succeed({ name: "alice" }) }))
  })

  it("reads claims of the schema only", () => {
    Jwt.scheme({
      ...base,
      user: (claims) => {
        expectTypeOf(claims).toEqualTypeOf<Jwt.Claims>()
        expectTypeOf(claims.sub).toEqualTypeOf<string>()
        // @ts-expect-error: nobody has looked whether it is there
        return Effect.succeed(claims.admin)
      }
    })
    // @ts-expect-error: and a type that was only written down is no proof
    Jwt.scheme({ ...base, user: ({ admin }: { readonly admin: boolean }) => Effect.succeed(admin) })

    const claims = Schema.Struct({ sub: Schema.NumberFromString, admin: Schema.Boolean })
    const decoded = Jwt.scheme({
      ...base,
      claims,
      user: (claims) => {
        expectTypeOf(claims).toEqualTypeOf<{ readonly sub: number; readonly admin: boolean }>()
        return Effect.succeed(claims)
      }
    })
    expectTypeOf(decoded).toEqualTypeOf<
      Authentication.Scheme<{ readonly sub: number; readonly admin: boolean }>
    >()
  })

  it("needs what the schema of its claims needs", () => {
    const claims = null as never as Schema.Codec<User, unknown, "Registry">
    const scheme = Jwt.scheme({ ...base, claims, user: Effect.succeed })
    expectTypeOf(scheme).toEqualTypeOf<Authentication.Scheme<User, "Registry">>()
  })

  it("fails with what a handshake can be refused with", () => {
    Jwt.scheme({ ...base, user: () => Effect.fail(new ChannelError.Unavailable({ message: "" })) })
    // @ts-expect-error: no error of an authentication
    Jwt.scheme({ ...base, user: () => Effect.fail("no") })
  })

  it("names issuer and audience, or says that it does not", () => {
    const user = ({ sub }: Jwt.Claims) => Effect.succeed(sub)
    const { audience, issuer, ...rest } = base
    Jwt.scheme({ ...rest, user, issuer: ["a", "b"], audience: ["a", "b"] })
    Jwt.scheme({ ...rest, user, issuer: false, audience: false })
    // @ts-expect-error: no issuer
    Jwt.scheme({ ...rest, user, audience })
    // @ts-expect-error: no audience
    Jwt.scheme({ ...rest, user, issuer })
    // @ts-expect-error: it may be missing
    Jwt.scheme({ ...base, user, issuer: undefined })
    // @ts-expect-error: it may be missing
    Jwt.scheme({ ...base, user, audience: undefined })
    // @ts-expect-error: not to be asked for without saying for what
    Jwt.scheme({ ...base, user, audience: true })
    // @ts-expect-error: the key says them
    Jwt.scheme({ ...base, user, algorithms: ["RS256"] })
  })
})

describe("a key", () => {
  it("is all of one type", () => {
    expectTypeOf(Jwt.secret(Redacted.make(""))).toEqualTypeOf<Jwt.Key>()
    expectTypeOf(Jwt.secret(Redacted.make(new Uint8Array()), { algorithm: "HS512" })).toEqualTypeOf<Jwt.Key>()
    expectTypeOf(Jwt.publicKey("", { algorithm: "ES256" })).toEqualTypeOf<Jwt.Key>()
    expectTypeOf(Jwt.publicKey({ kty: "EC", crv: "P-256", x: "", y: "" }, { algorithm: "ES256" }))
      .toEqualTypeOf<Jwt.Key>()
    expectTypeOf(Jwt.keySet({ keys: [] }, { algorithms: ["ES256", "EdDSA"] })).toEqualTypeOf<Jwt.Key>()
    expectTypeOf(Jwt.remoteKeySet("", { algorithms: ["RS256"], timeout: "1 second" })).toEqualTypeOf<Jwt.Key>()
    expectTypeOf(Jwt.remoteKeySet(new URL(""), { algorithms: ["RS256"] })).toEqualTypeOf<Jwt.Key>()
  })

  it("of a public algorithm is no secret, and the other way round", () => {
    // @ts-expect-error: no algorithm with a secret
    Jwt.secret(Redacted.make(""), { algorithm: "RS256" })
    // @ts-expect-error: no algorithm with a public key
    Jwt.publicKey("", { algorithm: "HS256" })
    // @ts-expect-error: no algorithm with a public key
    Jwt.keySet({ keys: [] }, { algorithms: ["HS256"] })
    // @ts-expect-error: no algorithm with a public key
    Jwt.keySet({ keys: [] }, { algorithms: ["RS256", "HS256"] })
    // @ts-expect-error: no algorithm with a public key
    Jwt.remoteKeySet("", { algorithms: ["HS512"] })
  })

  it("has an algorithm, which is not none", () => {
    // @ts-expect-error: which one
    Jwt.publicKey("")
    // @ts-expect-error: which ones
    Jwt.keySet({ keys: [] }, { algorithms: [] })
    // @ts-expect-error: unsigned
    Jwt.secret(Redacted.make(""), { algorithm: "none" })
    // @ts-expect-error: unsigned
    Jwt.publicKey("", { algorithm: "none" })
    // @ts-expect-error: unsigned
    Jwt.remoteKeySet("", { algorithms: ["none"] })
  })

  it("is not shown while it is a secret", () => {
    // @ts-expect-error: not redacted
    Jwt.secret("a secret that everybody reads in the logs")
  })
})
