/**
 * `/parent_denied/`: the permission of a consumer guards its routes too.
 */
import { Action, Consumer, Handlers, Permission, Route } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const go = Action.make("go", { success: Schema.Struct({ reached: Schema.String }) })

export const ParentDenied = Consumer.make("parent_denied", { path: "/parent_denied/" }).pipe(
  Consumer.permit(Permission.deny),
  Consumer.add(Route.make("allow/").pipe(Route.add(go), Route.permit(Permission.allow)))
)

export const ParentDeniedLive = Consumer.handlers(ParentDenied).pipe(
  Handlers.handle("allow/", "go", () => Effect.succeed({ reached: "allow" })),
  Handlers.toLayer
)
