// Ours: connections join the group of their room, and an action is broadcast to it. With `REDIS` several servers share the
// groups.
import {
  Action,
  Authentication,
  ChannelError,
  ChannelLayer,
  Consumer,
  Event,
  Group,
  Handlers
} from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { RedisChannels } from "@effect-channels/redis"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import { posted, userOf } from "../chat.ts"
import { report, wantedPort } from "../report.ts"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("bench/CurrentUser") {}

const AuthenticationLive = CurrentUser.layer((scope) => {
  const { token } = scope.query
  const name = typeof token === "string" ? userOf(token) : undefined
  return name === undefined
    ? Effect.fail(new ChannelError.InvalidCredentials())
    : Effect.succeed(Authentication.authenticated({ name }))
})

const Room = Group.make("room", { room: Schema.String })
const Posted = Event.make("posted", Schema.Struct({ id: Schema.Int, text: Schema.String, author: Schema.String }))
const post = Action.make("post", { payload: { text: Schema.String }, success: Posted.data }).pipe(
  Action.broadcast(Room, Posted, { reply: false })
)
const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/" }).pipe(
  Consumer.join(Room, ({ params }) => ({ room: params.room })),
  Consumer.push(Posted),
  Consumer.add(post)
)

const ChatLive = Consumer.handlers(Chat).pipe(
  Handlers.handle("post", ({ payload }) => CurrentUser.use((user) => Effect.succeed(posted(user.name, payload)))),
  Handlers.toLayer
)

const url = process.env["REDIS"]

const Server = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  if ("port" in address) report(address.port)
})).pipe(
  Layer.provideMerge(NodeChannels.serve(Chat)),
  Layer.provide(ChatLive),
  Layer.provide(AuthenticationLive),
  Layer.provide(url === undefined ? ChannelLayer.layerMemory : RedisChannels.layer({ url })),
  Layer.provide(NodeChannels.layerServer(createServer, { port: wantedPort, host: "127.0.0.1" }))
)

NodeRuntime.runMain(Layer.launch(Server))
