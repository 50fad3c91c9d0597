/**
 * Who is who: signed names, and how the one of a handshake or a request becomes a person.
 */
import { Authentication, Credentials, Scheme } from "@effect-channels/core"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { jwtVerify, SignJWT } from "jose"
import { CurrentUser } from "./contract.ts"
import { People } from "./people.ts"

/** What names are signed with. Without `TOKEN_SECRET` it is made anew at every start; nodes must have the same one. */
const Secret = Config.schema(Schema.RedactedFromValue(Schema.String.check(Schema.isMinLength(32))), "TOKEN_SECRET")
  .pipe(
    Config.map((secret) => Redacted.make(new TextEncoder().encode(Redacted.value(secret)))),
    Config.withDefault(Redacted.make(crypto.getRandomValues(new Uint8Array(32))))
  )

const claims = { issuer: "chat", audience: "chat" }

/** Signs names, and reads what it has signed: JSON Web Tokens, which every node can read without asking anybody. */
export class Tokens extends Context.Service<Tokens, {
  readonly sign: (name: string) => Effect.Effect<string>
  /** Whose token it is, and when it expires, in milliseconds since 1970. */
  readonly read: (token: string) => Effect.Effect<Option.Option<{ readonly name: string; readonly until: number }>>
}>()("chat/Tokens") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Secret, (secret) =>
      Tokens.of({
        sign: (name) =>
          Effect.promise(() =>
            new SignJWT({ iss: claims.issuer, aud: claims.audience, sub: name }).setProtectedHeader({ alg: "HS256" })
              .setExpirationTime("8 hours").sign(Redacted.value(secret))
          ),
        read: (token) =>
          Effect.tryPromise(() => jwtVerify(token, Redacted.value(secret), { ...claims, algorithms: ["HS256"] })).pipe(
            Effect.map(({ payload: { exp = 0, sub = "" } }) => ({ name: sub, until: exp * 1000 })),
            Effect.option
          )
      }))
  )
}

/** Whose token it is, by the facts as they are now. */
export const lookup = Effect.fnUntraced(function*(token: Redacted.Redacted) {
  const signed = yield* Tokens.use((tokens) => tokens.read(Redacted.value(token)))
  if (Option.isNone(signed)) return Option.none()
  const person = yield* People.use((people) => people.find(signed.value.name))
  return Option.some(Authentication.authenticated(person, { expiresAt: signed.value.until }))
})

/**
 * Who is behind a handshake. No token is nobody in particular; a wrong one refuses the handshake with status 401.
 *
 * A page sends it as a subprotocol, since it cannot set the headers of a WebSocket. So each tab is who it says, where a cookie
 * would be one for all tabs. When the authority of a connection is invalidated, `lookup` is asked again.
 */
export const AuthenticationLive = CurrentUser.layer(
  Scheme.session({ from: [Credentials.subprotocol(), Credentials.bearer], lookup })
)
