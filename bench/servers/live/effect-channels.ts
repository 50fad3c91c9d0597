// Ours: live queries of a resource, filtered by what their clients ask for and by a permission for each object.
import { ChannelLayer, Consumer, Filter, Handlers, Permission, Resource } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { SqlRepository } from "@effect-channels/sql"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { AuthenticationLive, isOwner, type Task, Tasks } from "../board.ts"
import { DatabaseLive, fill } from "../database.ts"
import { report, wantedPort } from "../report.ts"

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
