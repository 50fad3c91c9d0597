/**
 * Who is who: sessions, and how the token of one becomes a person.
 */
import { Authentication, Credentials, Scheme } from "@effect-channels/core"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { randomBytes } from "node:crypto"
import { CurrentUser } from "./contract.ts"
import { People } from "./people.ts"

/** A session says no more than whose it is, and until when. */
interface Session {
  readonly name: string
  /** In milliseconds since 1970. */
  readonly until: number
}

/** The sessions of this server: one is known by a token, which says nothing by itself. */
export class Sessions extends Context.Service<Sessions, {
  /** Begins a session, and answers with its token. */
  readonly begin: (name: string) => Effect.Effect<string>
  readonly find: (token: string) => Effect.Effect<Option.Option<Session>>
}>()("tasks/Sessions") {
  static readonly layer = Layer.sync(this, () => {
    const lifetime = Duration.toMillis("8 hours")
    const sessions = new Map<string, Session>()
    return Sessions.of({
      begin: (name) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          sessions.forEach(({ until }, token) => until <= now && sessions.delete(token))
          const token = randomBytes(32).toString("base64url")
          sessions.set(token, { name, until: now + lifetime })
          return token
        }),
      find: (token) => Effect.sync(() => Option.fromNullishOr(sessions.get(token)))
    })
  })
}

/**
 * Who is behind a handshake. No token is nobody in particular; one that is not known refuses it with status 401.
 *
 * A page sends the token as a subprotocol, so that each tab is somebody of its own. Which boards somebody belongs to is looked up
 * each time, and again when their authority has been invalidated.
 */
export const AuthenticationLive = CurrentUser.layer(Scheme.session({
  from: [Credentials.subprotocol(), Credentials.bearer],
  lookup: Effect.fnUntraced(function*(token) {
    const session = yield* Sessions.use((sessions) => sessions.find(Redacted.value(token)))
    if (Option.isNone(session)) return Option.none()
    const { name, until } = session.value
    const person = yield* People.use((people) => people.find(name))
    return Option.map(person, (person) => Authentication.authenticated(person, { expiresAt: until }))
  })
}))
