/** Effect RPC over its WebSocket protocol: payload decoded and success encoded by schemas, tracing off. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import { post, userOfUrl } from "./chat.ts"
import { report, wantedPort } from "./report.ts"

const CurrentUser = Context.Reference<string>("bench/CurrentUser", { defaultValue: () => "nobody" })

const Post = { room: Schema.Int, text: Schema.String, count: Schema.Int }

const Api = RpcGroup.make(
  Rpc.make("Post", {
    payload: Post,
    success: Schema.Struct({ ...Post, id: Schema.Int, author: Schema.String })
  })
)

const Handlers = Api.toLayer({
  Post: (body) => Effect.map(CurrentUser, (user) => post(user, body))
})

// The handlers of a connection inherit the context of the request that opened it, and so its user.
const Authenticated = HttpRouter.middleware((upgrade) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const user = userOfUrl(request.url)
    return user === undefined
      ? Effect.succeed(HttpServerResponse.empty({ status: 401 }))
      : Effect.provideService(upgrade, CurrentUser, user)
  })
)

const Socket = RpcServer.layerHttp({ group: Api, path: "/rpc", disableTracing: true }).pipe(
  Layer.provide([Handlers, RpcSerialization.layerJson, Authenticated.layer])
)

const Reported = Layer.effectDiscard(Effect.map(HttpServer.HttpServer, ({ address }) => {
  if ("port" in address) report(address.port)
}))

HttpRouter.serve(Socket, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.merge(Reported),
  Layer.provide(NodeHttpServer.layer(createServer, {
    port: wantedPort,
    host: "127.0.0.1",
    websocket: { perMessageDeflate: false }
  })),
  Layer.launch,
  NodeRuntime.runMain
)
