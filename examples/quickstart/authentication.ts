/**
 * Who is who: signed tokens (JSON Web Tokens), and how a handshake becomes a user by its token.
 */
import { Authentication, ChannelError } from "@effect-channels/core"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { errors, jwtVerify, SignJWT } from "jose"
import { CurrentUser, type User } from "./contract.ts"

/** The accounts, without passwords: this is a demo. */
const users = new Map<unknown, User>([
  ["alice", { name: "alice", admin: false }],
  ["bob", { name: "bob", admin: false }],
  ["admin", { name: "admin", admin: true }]
])

export class UnknownUser extends Schema.TaggedError<UnknownUser>()("UnknownUser", { name: Schema.String }) {}

/** Issues and verifies tokens. */
export class Tokens extends Context.Service<Tokens, {
  /** The token of a user, good for so long: `"1 hour"`. */
  readonly issue: (name: string, lifetime: string) => Effect.Effect<string, UnknownUser>
  readonly verify: (token: string) => Effect.Effect<User, ChannelError.InvalidCredentials>
}>()("quickstart/Tokens") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const secret = yield* Secret
      return Tokens.of({
        issue: (name, lifetime) =>
          users.has(name)
            ? Effect.promise(() =>
              new SignJWT().setProtectedHeader({ alg }).setIssuer(issuer).setAudience(audience).setSubject(name)
                .setExpirationTime(lifetime).sign(secret)
            )
            : Effect.fail(new UnknownUser({ name })),
        verify: Effect.fnUntraced(function*(token) {
          const { payload } = yield* Effect.tryPromise({
            // The algorithm is pinned: the token itself must not choose how it is verified ("none", for example).
            try: () => jwtVerify(token, secret, { algorithms: [alg], issuer, audience, requiredClaims: ["exp"] }),
            catch: (error) => invalid(error instanceof errors.JWTExpired ? "has expired" : "is not valid")
          })
          // The token only says who it is. What the user may do is looked up: it may have changed since.
          return users.get(payload.sub) ?? (yield* invalid("is of an unknown user"))
        })
      })
    })
  )
}

const alg = "HS256"
const issuer = "effect-channels-quickstart"
const audience = "board"

/** What the tokens are signed with. Without `TOKEN_SECRET` it is made anew at every start, which voids all tokens. */
const Secret = Config.schema(Schema.RedactedFromValue(Schema.String.check(Schema.isMinLength(32))), "TOKEN_SECRET")
  .pipe(
    Config.map((secret) => new TextEncoder().encode(Redacted.value(secret))),
    Config.withDefault(crypto.getRandomValues(new Uint8Array(32)))
  )

const invalid = (problem: string) => new ChannelError.InvalidCredentials({ message: `The token ${problem}` })

/**
 * Called once for each handshake, so that a connection outlives its token. No token is nobody in particular; a bad one
 * refuses the handshake with status 401.
 *
 * The token comes in the query string, since a page cannot set the headers of a WebSocket. Query strings end up in the
 * logs of servers and proxies: give such tokens a short life, or use a cookie where page and server share a site.
 */
export const AuthenticationLive = CurrentUser.layer(({ query }) =>
  Effect.gen(function*() {
    if (query.token === undefined) return Authentication.anonymous
    if (typeof query.token !== "string") return yield* invalid("stands there twice")
    const tokens = yield* Tokens
    return Authentication.authenticated(yield* tokens.verify(query.token))
  })
)
