/**
 * The chat and its page, on one port. Run it with `npm run chat`; `PORT` says where, 8040 by default. With a `REDIS_URL` it is
 * one of many nodes; without one it is alone, and all is in memory.
 */
import { ChannelLayer } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { RedisChannels } from "@effect-channels/redis"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { AuthenticationLive, Tokens } from "./authentication.ts"
import { Chat } from "./contract.ts"
import { ChatLive } from "./handlers.ts"
import { routes } from "./http.ts"
import { People } from "./people.ts"

/** The HTTP server that both sides share. */
const ServerLive = Layer.unwrap(Effect.gen(function*() {
  const port = yield* Config.Int("PORT").pipe(Config.withDefault(8040))
  return NodeChannels.layerServer(createServer, { port })
}))

const MemoryLive = Layer.merge(ChannelLayer.layerMemory, People.layerMemory)

/** What nodes share: groups, histories, presence, news of authority and throttles, and the facts themselves. */
const redisLive = (url: string) =>
  Layer.merge(RedisChannels.layer({ url }), Layer.provide(People.layerRedis, NodeRedis.layer({ url })))

const SharedLive = Layer.unwrap(Effect.gen(function*() {
  const url = yield* Config.String("REDIS_URL").pipe(Config.withDefault(""))
  return url === "" ? MemoryLive : redisLive(url)
}))

/** Upgrade requests for the path of the chat are the chat's; everything else is for the routes. */
const Sides = Layer.mergeAll(
  NodeChannels.serve(Chat),
  HttpRouter.serve(routes, { disableListenLog: true })
)

const Welcome = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  if ("port" in address) yield* Console.log(`Open http://localhost:${address.port}/ in a browser`)
}))

const Main = Welcome.pipe(
  Layer.provideMerge(Sides),
  Layer.provide(ChatLive),
  Layer.provide(AuthenticationLive),
  Layer.provide([Tokens.layer, ServerLive]),
  Layer.provide(SharedLive)
)

const fail = (message: string) => Effect.andThen(Console.error(message), Effect.sync(() => process.exitCode = 1))

Layer.launch(Main).pipe(
  Effect.catchTags({
    ServeError: ({ cause }) => fail(`${cause}\nThe port cannot be had. Choose another one: PORT=8041 npm run chat`),
    RedisStartError: ({ message }) => fail(message),
    RedisError: (error) => fail(`Redis cannot be reached: ${error}`)
  }),
  NodeRuntime.runMain
)
