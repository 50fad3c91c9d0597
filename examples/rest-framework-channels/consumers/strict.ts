/**
 * `/strict/`: only authenticated users may connect. Everybody else is refused at the handshake, with status 403 and the
 * reason in the body.
 */
import { Action, Consumer, Handlers } from "@effect-channels/core"
import * as Schema from "effect/Schema"
import { CurrentUser, isAuthenticated } from "../users.ts"

const hello = Action.make("hello", { success: Schema.Struct({ user: Schema.String }) })

export const Strict = Consumer.make("strict", { path: "/strict/" }).pipe(
  Consumer.permitConnect(isAuthenticated),
  Consumer.add(hello)
)

export const StrictLive = Consumer.handlers(Strict).pipe(
  Handlers.handle("hello", () => CurrentUser.use(({ username }) => ({ user: username }))),
  Handlers.toLayer
)
