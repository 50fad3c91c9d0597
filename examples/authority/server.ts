/**
 * The newsroom and its two pages, on one port. Run it with `npm start`; `PORT` says where, 8020 by default.
 */
import { NodeChannels } from "@effect-channels/node"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { Articles } from "./articles.ts"
import { Sessions } from "./authentication.ts"
import { Admin, Desk } from "./contract.ts"
import { AdminLive, DeskLive } from "./handlers.ts"
import { routes } from "./http.ts"
import { People } from "./people.ts"

/** The HTTP server that both sides share. */
const ServerLive = Layer.unwrap(Effect.gen(function*() {
  const port = yield* Config.Int("PORT").pipe(Config.withDefault(8020))
  return NodeChannels.layerServer(createServer, { port })
}))

/** Upgrade requests for the paths of the consumers are theirs; everything else is for the routes. */
const Sides = Layer.mergeAll(
  NodeChannels.serve([Desk, Admin]),
  HttpRouter.serve(routes, { disableListenLog: true })
)

const Welcome = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  if ("port" in address) yield* Console.log(`Open http://localhost:${address.port}/ in a browser`)
}))

const Main = Welcome.pipe(
  Layer.provideMerge(Sides),
  Layer.provide([DeskLive, AdminLive]),
  Layer.provide([Articles.layer, Sessions.layer]),
  Layer.provide([People.layer, ServerLive])
)

Layer.launch(Main).pipe(
  Effect.catchTag("ServeError", ({ cause }) =>
    Effect.andThen(
      Console.error(`${cause}\nThe port cannot be had. Choose another one: PORT=8021 npm start`),
      Effect.sync(() => process.exitCode = 1)
    )),
  NodeRuntime.runMain
)
