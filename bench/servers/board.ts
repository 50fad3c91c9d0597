// The tasks of the resources that are measured, and whose they are.
import { Authentication, ChannelError, Check, Repository } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type User, userOf } from "../resources/tasks.ts"

export class CurrentUser extends Authentication.Service<CurrentUser, User>()("bench/CurrentUser") {}

export const AuthenticationLive = CurrentUser.layer((scope) => {
  const user = userOf(scope.query["token"])
  return user === undefined
    ? Effect.fail(new ChannelError.InvalidCredentials())
    : Effect.succeed(Authentication.authenticated(user))
})

export class Task extends Schema.Class<Task>("Task")({
  id: Schema.Int,
  title: Schema.String,
  done: Schema.Boolean,
  priority: Schema.Int,
  ownerId: Schema.Int,
  shared: Schema.Boolean,
  createdAt: Schema.Date
}) {}

export class Tasks extends Repository.Service<Tasks>()("bench/Tasks", { schema: Task, key: "id" }) {}

export const isOwner = Check.isOwner<Task>()(CurrentUser, { object: "ownerId", user: "id" })
