/**
 * The task board and its page, on one port. Run it with `npm run tasks`; `PORT` says where, 8060 by default. See database.ts for
 * where the tasks are kept.
 */
import { ChannelLayer } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { AuthenticationLive, Sessions } from "./authentication.ts"
import { TaskBoard } from "./contract.ts"
import { DatabaseLive } from "./database.ts"
import { TaskBoardLive } from "./handlers.ts"
import { routes } from "./http.ts"
import { People } from "./people.ts"

/** The HTTP server that both sides share. */
const ServerLive = Layer.unwrap(Effect.gen(function*() {
  const port = yield* Config.Int("PORT").pipe(Config.withDefault(8060))
  return NodeChannels.layerServer(createServer, { port })
}))

/** Upgrade requests for the path of a board are the board's; everything else is for the routes. */
const Sides = Layer.mergeAll(
  NodeChannels.serve(TaskBoard),
  HttpRouter.serve(routes, { disableListenLog: true })
)

const Welcome = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  if ("port" in address) yield* Console.log(`Open http://localhost:${address.port}/ in a browser`)
}))

const Main = Welcome.pipe(
  Layer.provideMerge(Sides),
  Layer.provide(TaskBoardLive),
  Layer.provide(AuthenticationLive),
  Layer.provide([People.layer, Sessions.layer, ServerLive]),
  Layer.provide([DatabaseLive, ChannelLayer.layerMemory])
)

const fail = (message: string) => Effect.andThen(Console.error(message), Effect.sync(() => process.exitCode = 1))

Layer.launch(Main).pipe(
  Effect.catchTags({
    ServeError: ({ cause }) => fail(`${cause}\nThe port cannot be had. Choose another one: PORT=8061 npm run tasks`),
    SqlError: (error) => fail(`The database cannot be opened: ${error}`),
    TableError: ({ message }) => fail(message),
    SetupError: ({ message }) => fail(message)
  }),
  NodeRuntime.runMain
)
