// @barrel: Auto-generated exports. Do not edit manually.

/**
 * Serves consumers on Node, next to HTTP routes on the same port.
 *
 * **Example** (A server)
 *
 * ```ts
 * import { Action, Consumer, Handlers } from "@effect-channels/core"
 * import { NodeChannels } from "@effect-channels/node"
 * import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Schema from "effect/Schema"
 * import { createServer } from "node:http"
 *
 * const hello = Action.make("hello", { success: Schema.String })
 * const Hello = Consumer.make("hello", { path: "/ws/" }).pipe(Consumer.add(hello))
 * const HelloLive = Consumer.handlers(Hello).pipe(
 *   Handlers.handle("hello", () => Effect.succeed("Hello")),
 *   Handlers.toLayer
 * )
 *
 * const Server = NodeChannels.serve(Hello).pipe(
 *   Layer.provide(HelloLive),
 *   Layer.provide(NodeChannels.layerServer(createServer, { port: 8000 }))
 * )
 *
 * NodeRuntime.runMain(Layer.launch(Server))
 * ```
 *
 * @since 0.1.0
 */
export * as NodeChannels from "./NodeChannels.ts"

/**
 * The upgrade requests of a Node HTTP server, taken before anything else sees them.
 *
 * @since 0.1.0
 */
export * as UpgradeServer from "./UpgradeServer.ts"
