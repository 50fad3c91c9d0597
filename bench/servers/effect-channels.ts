// Ours, with the full pipeline: authentication before the upgrade, an authenticated permission, a route parameter, and the
// schemas of request and reply.
import { Action, Authentication, ChannelError, Consumer, Handlers, Permission, Route } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import { post, userOf } from "./chat.ts"
import { report, wantedPort } from "./report.ts"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("bench/CurrentUser") {}

const AuthenticationLive = CurrentUser.layer((scope) => {
  const { token } = scope.query
  if (token === undefined) return Effect.succeed(Authentication.anonymous)
  const name = typeof token === "string" ? userOf(token) : undefined
  return name === undefined
    ? Effect.fail(new ChannelError.InvalidCredentials())
    : Effect.succeed(Authentication.authenticated({ name }))
})

const Message = Schema.Struct({
  id: Schema.Int,
  room: Schema.Int,
  text: Schema.String,
  count: Schema.Int,
  author: Schema.String
})

const postAction = Action.make("post", { payload: { text: Schema.String, count: Schema.Int }, success: Message })

const roomRoute = Route.make("rooms/:room/", { room: Schema.NumberFromString }).pipe(
  Route.add(postAction),
  Route.permit(Permission.isAuthenticated(CurrentUser))
)

/** Routes that nobody asks for, to show what a large contract costs. */
const otherRoutes = Array.from(
  { length: Number(process.env["ROUTES"] ?? 1) - 1 },
  (_, i) => Route.make(`other${i}/:id/`).pipe(Route.add(Action.make("get")))
)

const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.add(...otherRoutes, roomRoute))

const withRoom = Consumer.handlers(Chat).pipe(
  Handlers.handle(
    "rooms/:room/",
    "post",
    ({ params, payload }) =>
      CurrentUser.use((user) => post(user.name, { room: params.room, text: payload.text, count: payload.count }))
  )
)

// One type stands for all of the other routes, which one call handles: the others are told the same once more.
const handleOther = (path: `other${number}/:id/`) => (self: typeof withRoom) =>
  self.pipe(Handlers.handle(path, "get", () => Effect.void))
const complete = otherRoutes.reduce(
  (self, { path }) => handleOther(path)(self as typeof withRoom),
  withRoom as ReturnType<ReturnType<typeof handleOther>>
)

const Server = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  if ("port" in address) report(address.port)
})).pipe(
  Layer.provideMerge(NodeChannels.serve(Chat)),
  Layer.provide(Handlers.toLayer(complete)),
  Layer.provide(AuthenticationLive),
  Layer.provide(NodeChannels.layerServer(createServer, { port: wantedPort, host: "127.0.0.1" }))
)

NodeRuntime.runMain(Layer.launch(Server))
