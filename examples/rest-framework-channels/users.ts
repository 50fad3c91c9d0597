/**
 * The users of the fixture, and how a handshake becomes one: what `AuthMiddlewareStack` and `scope["user"]` are to the
 * original.
 */
import { Authentication, Permission } from "@effect-channels/core"
import * as Effect from "effect/Effect"

export interface User {
  readonly id: number
  readonly username: string
}

export class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser") {}

export const isAuthenticated = Permission.isAuthenticated(CurrentUser)

const users = new Map<unknown, User>(
  ["alice", "bob", "inactive"].map((username, i) => [username, { id: i + 1, username }])
)

/**
 * `?token=<username>` names the user; without, and with an unknown one, the connection is anonymous. That is the
 * original's test middleware: for tokens that mean something see the quickstart.
 */
export const AuthenticationLive = CurrentUser.layer(({ query }) => {
  const user = users.get(query.token)
  return Effect.succeed(user === undefined ? Authentication.anonymous : Authentication.authenticated(user))
})
