/**
 * `/perms/`: expressions of permissions, a route for each. The original allows what `and` and `or` are to deny, and
 * denies everything under `not`.
 */
import { Action, ChannelError, Consumer, Handlers, Permission, Resource, Route } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { OwnedRows } from "../models.ts"
import { isAuthenticated } from "../users.ts"
import { isOwner } from "./owned.ts"

const { allow, deny } = Permission

/** A check that does not answer, but fails: neither true nor false, under `not` neither. */
const raise401 = Permission.action("raise401", () => Effect.fail(new ChannelError.InvalidCredentials()))

const go = Action.make("go", { success: Schema.Struct({ reached: Schema.String }) })

const AndOwned = Resource.make("and_owned", { repository: OwnedRows, param: "pk", actions: ["retrieve"] }).pipe(
  Resource.permit(Permission.and(isAuthenticated, isOwner))
)

export const Perms = Consumer.make("perms", { path: "/perms/" }).pipe(
  Consumer.add(
    Route.make("deny/").pipe(Route.add(go), Route.permit(deny)),
    // permission_classes = (Allow, Deny)
    Route.make("two_allow_deny/").pipe(Route.add(go), Route.permit(allow), Route.permit(deny)),
    // permission_classes = (Allow & Deny,)
    Route.make("allow_and_deny/").pipe(Route.add(go), Route.permit(Permission.and(allow, deny))),
    Route.make("deny_and_deny/").pipe(Route.add(go), Route.permit(Permission.and(deny, deny))),
    Route.make("deny_or_deny/").pipe(Route.add(go), Route.permit(Permission.or(deny, deny))),
    Route.make("allow_or_deny/").pipe(Route.add(go), Route.permit(Permission.or(allow, deny))),
    Route.make("not_allow/").pipe(Route.add(go), Route.permit(Permission.not(allow))),
    Route.make("not_deny/").pipe(Route.add(go), Route.permit(Permission.not(deny))),
    Route.make("auth_and_deny/").pipe(Route.add(go), Route.permit(Permission.and(isAuthenticated, deny))),
    Route.make("raise401/").pipe(Route.add(go), Route.permit(raise401)),
    // permission_classes = (IsAuthenticated & IsOwner,)
    ...Resource.routes(AndOwned, "and_owned/")
  )
)

const reached = (name: string) => () => Effect.succeed({ reached: name })

export const PermsLive = Consumer.handlers(Perms).pipe(
  Handlers.handle("deny/", "go", reached("deny")),
  Handlers.handle("two_allow_deny/", "go", reached("two_allow_deny")),
  Handlers.handle("allow_and_deny/", "go", reached("allow_and_deny")),
  Handlers.handle("deny_and_deny/", "go", reached("deny_and_deny")),
  Handlers.handle("deny_or_deny/", "go", reached("deny_or_deny")),
  Handlers.handle("allow_or_deny/", "go", reached("allow_or_deny")),
  Handlers.handle("not_allow/", "go", reached("not_allow")),
  Handlers.handle("not_deny/", "go", reached("not_deny")),
  Handlers.handle("auth_and_deny/", "go", reached("auth_and_deny")),
  Handlers.handle("raise401/", "go", reached("raise401")),
  Resource.handle(AndOwned),
  Handlers.toLayer
)
