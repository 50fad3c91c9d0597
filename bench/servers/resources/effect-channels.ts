// Ours: a resource over a repository in a database, with a permission for each object that lists are filtered by.
import { Consumer, Handlers, Pagination, Resource } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { SqlRepository } from "@effect-channels/sql"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { AuthenticationLive, isOwner, Tasks } from "../board.ts"
import { DatabaseLive, fill } from "../database.ts"
import { report, wantedPort } from "../report.ts"

const TaskResource = Resource.make("tasks", {
  repository: Tasks,
  actions: ["list", "retrieve", "partial_update"],
  readOnly: ["ownerId", "createdAt"],
  pagination: Pagination.pageNumber({ sizeParameter: "page_size", maxSize: 100 })
}).pipe(Resource.permit(isOwner))

/** By hand, requests of one connection do not wait for each other either. */
const Board = Consumer.make("board", { path: "/ws/", concurrency: 8 }).pipe(
  Consumer.add(...Resource.routes(TaskResource, "tasks/"))
)

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
  Layer.provide(NodeChannels.layerServer(createServer, { port: wantedPort, host: "127.0.0.1" }))
)

NodeRuntime.runMain(Layer.launch(Server))
