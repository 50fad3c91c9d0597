/**
 * Who is who: signed tokens (JSON Web Tokens, HS256), and how a handshake becomes a user by its token.
 */
import { Authentication, ChannelError } from "@effect-channels/core"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { errors, jwtVerify, SignJWT } from "jose"
import { CurrentUser } from "./contract.ts"

/** The accounts. There are no passwords: this is a demo. */
const users = [
  { name: "alice", admin: false },
  { name: "bob", admin: false },
  { name: "admin", admin: true }
] as const

export const UserName = Schema.Literals(users.map((user) => user.name))

const issuer = "effect-channels-quickstart"
const audience = "board"

export class Tokens extends Context.Service<Tokens, {
  readonly issue: (name: typeof UserName.Type, lifetime: string) => Effect.Effect<string>
  readonly verify: (token: string) => Effect.Effect<typeof CurrentUser.User, ChannelError.InvalidCredentials>
}>()("quickstart/Tokens") {}
