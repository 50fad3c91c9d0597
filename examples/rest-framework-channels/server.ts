/**
 * The consumers of rest_framework_channels' tests and documentation, ported. `PORT` says where, 8010 by default.
 */
import { ChannelLayer } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { Errs, ErrsLive } from "./consumers/errs.ts"
import {
  ItemConsumer,
  ItemConsumerLive,
  ItemList,
  ItemListLive,
  ItemsConsumer,
  ItemsConsumerLive
} from "./consumers/items.ts"
import { OwnedConsumer, OwnedConsumerLive } from "./consumers/owned.ts"
import { ParentDenied, ParentDeniedLive } from "./consumers/parent-denied.ts"
import { Perms, PermsLive } from "./consumers/perms.ts"
import { Other, OtherLive, Room, RoomLive } from "./consumers/room.ts"
import { Strict, StrictLive } from "./consumers/strict.ts"
import { TestWs, TestWsLive } from "./consumers/testws.ts"
import { ModelsLive } from "./models.ts"
import { AuthenticationLive } from "./users.ts"

/** The `URLRouter` of the original: every consumer has its path. */
const Channels = NodeChannels.serve([
  TestWs,
  Strict,
  ItemsConsumer,
  ItemList,
  ItemConsumer,
  Room,
  Other,
  Perms,
  ParentDenied,
  OwnedConsumer,
  Errs
]).pipe(
  Layer.provide([TestWsLive, StrictLive, RoomLive, OtherLive, PermsLive, ParentDeniedLive, ErrsLive]),
  Layer.provide([ItemsConsumerLive, ItemListLive, ItemConsumerLive, OwnedConsumerLive]),
  // The `CHANNEL_LAYERS` and the `DATABASES` of the original.
  Layer.provide([AuthenticationLive, ChannelLayer.layerMemory, ModelsLive])
)

const ServerLive = Layer.unwrap(Effect.gen(function*() {
  const port = yield* Config.Int("PORT").pipe(Config.withDefault(8010))
  return NodeChannels.layerServer(createServer, { port })
}))

const Welcome = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  if ("port" in address) yield* Console.log(`Listening on ws://localhost:${address.port}`)
}))

Welcome.pipe(
  Layer.provideMerge(Channels),
  Layer.provide(ServerLive),
  Layer.launch,
  NodeRuntime.runMain
)
