/** Ours, for the clients that hear events: sends as many as it is asked for to the group of the room. */
import { Authentication, ChannelError, ChannelLayer, Consumer, Handlers } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { setImmediate } from "node:timers/promises"
import { Events, Posted, Room } from "../clients/contract.ts"
import { posted, userOf } from "./chat.ts"
import { report, wantedPort } from "./report.ts"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("bench/CurrentUser") {}

const AuthenticationLive = CurrentUser.layer((scope) => {
  const name = userOf(scope.query["token"])
  return name === undefined
    ? Effect.fail(new ChannelError.InvalidCredentials())
    : Effect.succeed(Authentication.authenticated({ name }))
})

const nextTurn = Effect.promise(() => setImmediate())

const EventsLive = Consumer.handlers(Events).pipe(
  Handlers.handle("ask", ({ payload: { apart, count, text } }) =>
    Effect.gen(function*() {
      const user = yield* CurrentUser
      const everybody = ChannelLayer.group(Events, Room, { room: "42" })
      for (let i = 0; i < count; i++) {
        yield* ChannelLayer.send(everybody, Posted, posted(user.name, { text }))
        if (apart) yield* nextTurn
      }
    })),
  Handlers.toLayer
)

const Server = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  if ("port" in address) report(address.port)
})).pipe(
  Layer.provideMerge(NodeChannels.serve(Events)),
  Layer.provide(EventsLive),
  Layer.provide(AuthenticationLive),
  Layer.provide(ChannelLayer.layerMemory),
  Layer.provide(NodeChannels.layerServer(createServer, { port: wantedPort, host: "127.0.0.1" }))
)

NodeRuntime.runMain(Layer.launch(Server))
