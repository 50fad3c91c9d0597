/**
 * Who is who: sessions, and how the cookie of a handshake becomes a person.
 */
import { Authentication, Credentials, Scheme } from "@effect-channels/core"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { randomBytes } from "node:crypto"
import { CurrentUser } from "./contract.ts"
import { People } from "./people.ts"

/** The sessions: a session is known by a token, which says nothing by itself. */
export class Sessions extends Context.Service<Sessions, {
  readonly lifetime: Duration.Duration
  /** Begins a session, and answers with its token. */
  readonly begin: (name: string) => Effect.Effect<string>
  /** Whose session it is, and when it ends by itself, in milliseconds since 1970. */
  readonly find: (token: string) => Effect.Effect<Option.Option<{ readonly name: string; readonly until: number }>>
  /** Ends a session, and answers with whose it was. */
  readonly end: (token: string) => Effect.Effect<Option.Option<string>>
}>()("authority/Sessions") {
  /** `SESSION_LIFETIME` says how long a session lasts, eight hours by default: try it with `"20 seconds"`. */
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const lifetime = yield* Config.Duration("SESSION_LIFETIME").pipe(Config.withDefault(Duration.hours(8)))
      const sessions = new Map<string, { readonly name: string; readonly until: number }>()
      return Sessions.of({
        lifetime,
        begin: (name) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            sessions.forEach(({ until }, token) => until <= now && sessions.delete(token))
            const token = randomBytes(32).toString("base64url")
            sessions.set(token, { name, until: now + Duration.toMillis(lifetime) })
            return token
          }),
        find: (token) =>
          Effect.map(
            Clock.currentTimeMillis,
            (now) => Option.filter(Option.fromNullishOr(sessions.get(token)), ({ until }) => until > now)
          ),
        end: (token) =>
          Effect.sync(() => {
            const session = Option.fromNullishOr(sessions.get(token))
            sessions.delete(token)
            return Option.map(session, ({ name }) => name)
          })
      })
    })
  )
}

/** The desk and the admin's side have a session of their own each, so that one browser can play two parts. */
export const cookies = { desk: "session", admin: "admin_session" } as const

/**
 * Who is behind a handshake, by the session in a cookie. No cookie is nobody in particular; one without a session refuses the
 * handshake with status 401.
 *
 * A session says no more than whose it is. What they may do is looked up each time, in the handshake and whenever their
 * authority has been invalidated: so a role that was taken is gone.
 */
export const authentication = (cookie: string) =>
  CurrentUser.layer(Scheme.session({
    from: Credentials.cookie(cookie),
    lookup: Effect.fnUntraced(function*(token) {
      const session = yield* Sessions.use((sessions) => sessions.find(Redacted.value(token)))
      if (Option.isNone(session)) return Option.none()
      const { name, until } = session.value
      const person = yield* Effect.option(People.use((people) => people.find(name)))
      return Option.map(person, (person) => Authentication.authenticated(person, { expiresAt: until }))
    })
  }))
