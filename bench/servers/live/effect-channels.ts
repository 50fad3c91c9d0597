// Ours: live queries of a resource, filtered by what their clients ask for and by a permission for each object.
import {
  Authentication,
  ChannelError,
  ChannelLayer,
  Check,
  Consumer,
  Filter,
  Handlers,
  Permission,
  Repository,
  Resource
} from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { SqlRepository } from "@effect-channels/sql"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import { type User, userOf } from "../../resources/tasks.ts"
import { DatabaseLive, fill } from "../database.ts"
import { report, wantedPort } from "../report.ts"

class CurrentUser extends Authentication.Service<CurrentUser, User>()("bench/CurrentUser") {}

const AuthenticationLive = CurrentUser.layer((scope) => {
  const user = userOf(scope.query["token"])
  return user === undefined
    ? Effect.fail(new ChannelError.InvalidCredentials())
    : Effect.succeed(Authentication.authenticated(user))
})

class Task extends Schema.Class<Task>("Task")({
  id: Schema.Int,
  title: Schema.String,
  done: Schema.Boolean,
  priority: Schema.Int,
  ownerId: Schema.Int,
  shared: Schema.Boolean,
  createdAt: Schema.Date
}) {}

class Tasks extends Repository.Service<Tasks>()("bench/Tasks", { schema: Task, key: "id" }) {}

const isOwner = Check.isOwner<Task>()(CurrentUser, { object: "ownerId", user: "id" })
const isShared = Permission.where<Task>()("isShared", () => Filter.fields<Task>().eq("shared", true))

const TaskResource = Resource.make("tasks", {
  repository: Tasks,
  actions: ["retrieve", "partial_update", "subscribe"],
  readOnly: ["ownerId", "createdAt"],
  filters: { done: ["exact"] }
}).pipe(Resource.permit(["retrieve", "partial_update"], Permission.or(isOwner, isShared)))

const Board = Consumer.make("board", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(TaskResource, "tasks/")))

const BoardLive = Consumer.handlers(Board).pipe(Resource.handle(TaskResource), Handlers.toLayer)

const TasksLive = Layer.unwrap(Effect.as(fill, SqlRepository.layer(Tasks, { table: "tasks" })))

const Server = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  if ("port" in address) report(address.port)
})).pipe(
  Layer.provideMerge(NodeChannels.serve(Board)),
  Layer.provide(BoardLive),
  Layer.provide(TasksLive),
  Layer.provide(DatabaseLive),
  Layer.provide(AuthenticationLive),
  Layer.provide(ChannelLayer.layerMemory),
  Layer.provide(NodeChannels.layerServer(createServer, { port: wantedPort, host: "127.0.0.1" }))
)

NodeRuntime.runMain(Layer.launch(Server))
