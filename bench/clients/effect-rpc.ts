/** Effect RPC over its WebSocket protocol, tracing off. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import { scoped } from "./scoped.ts"
import { room, serve, text } from "./serve.ts"

const Post = { room: Schema.Int, text: Schema.String, count: Schema.Int }

const Api = RpcGroup.make(
  Rpc.make("Post", {
    payload: Post,
    success: Schema.Struct({ ...Post, id: Schema.Int, author: Schema.String })
  })
)

const protocolOf = (port: number) =>
  RpcClient.layerProtocolSocket().pipe(
    Layer.provide([Socket.layerWebSocket(`ws://127.0.0.1:${port}/rpc?token=alice`), RpcSerialization.layerJson]),
    Layer.provide(Socket.layerWebSocketConstructorGlobal)
  )

void serve({
  calls: (port) =>
    scoped(Effect.gen(function*() {
      const protocol = yield* Layer.build(protocolOf(port))
      const { Post } = yield* Effect.provideContext(RpcClient.make(Api, { disableTracing: true }), protocol)
      return {
        call: (calls) =>
          Effect.runPromise(Effect.gen(function*() {
            while (!calls.isOver()) {
              const count = calls.next()
              calls.take(count, yield* Post({ room, text, count }))
            }
          }))
      }
    }))
})
