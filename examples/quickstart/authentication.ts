/**
 * Who is who: signed tokens (JSON Web Tokens), and how a handshake becomes a user by its token.
 */
import { ChannelError, Credentials } from "@effect-channels/core"
import { Jwt } from "@effect-channels/jwt"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { SignJWT } from "jose"
import { CurrentUser, type User } from "./contract.ts"

/** The accounts, without passwords: this is a demo. */
const users = new Map<string, User>([
  ["alice", { name: "alice", admin: false }],
  ["bob", { name: "bob", admin: false }],
  ["admin", { name: "admin", admin: true }]
])

const issuer = "effect-channels-quickstart"
const audience = "board"

/** What the tokens are signed with. Without `TOKEN_SECRET` it is made anew at every start, which voids all tokens. */
const Secret = Config.schema(Schema.RedactedFromValue(Schema.String.check(Schema.isMinLength(32))), "TOKEN_SECRET")
  .pipe(
    Config.map((secret) => Redacted.make(new TextEncoder().encode(Redacted.value(secret)))),
    Config.withDefault(Redacted.make(crypto.getRandomValues(new Uint8Array(32))))
  )

export class UnknownUser extends Schema.TaggedError<UnknownUser>()("UnknownUser", { name: Schema.String }) {}

/** Issues tokens. */
export class Tokens extends Context.Service<Tokens, {
  /** The token of a user, good for so long: `"1 hour"`. */
  readonly issue: (name: string, lifetime: string) => Effect.Effect<string, UnknownUser>
}>()("quickstart/Tokens") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Secret, (secret) =>
      Tokens.of({
        issue: (name, lifetime) =>
          users.has(name)
            ? Effect.promise(() =>
              new SignJWT({ iss: issuer, aud: audience, sub: name }).setProtectedHeader({ alg: "HS256" })
                .setExpirationTime(lifetime).sign(Redacted.value(secret))
            )
            : Effect.fail(new UnknownUser({ name }))
      }))
  )
}

/**
 * Who is behind a handshake. No token is nobody in particular; a bad one refuses the handshake with status 401.
 *
 * The token comes in the query string, since a page cannot set the headers of a WebSocket. Query strings end up in the
 * logs of servers and proxies: give such tokens a short life, or use `Credentials.subprotocol`, or a cookie where page and
 * server share a site.
 */
export const AuthenticationLive = Layer.unwrap(Effect.map(Secret, (secret) =>
  CurrentUser.layer(Jwt.scheme({
    from: Credentials.query("token"),
    key: Jwt.secret(secret),
    issuer,
    audience,
    // The token only says who it is. What the user may do is looked up: it may have changed since.
    user: ({ sub }) =>
      Effect.mapError(
        Effect.fromNullishOr(users.get(sub)),
        () => new ChannelError.InvalidCredentials({ message: "The token is of an unknown user" })
      )
  }))))
