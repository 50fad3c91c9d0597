/**
 * The server that the suite of the client speaks to, on a port of its own.
 */
import { ChannelLayer } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Board } from "../../../core/test/support/client-suite/contract.ts"
import { BoardLive } from "../../../core/test/support/client-suite/handlers.ts"
import { start } from "./server.ts"

/** Runs it, until it is told to stop. */
export const startBoard = async (routes: Layer.Layer<never, never, HttpRouter.HttpRouter> = Layer.empty) => {
  const scope = Effect.runSync(Scope.make())
  const served = Layer.mergeAll(NodeChannels.serve(Board), HttpRouter.serve(routes, { disableListenLog: true })).pipe(
    Layer.provide(BoardLive),
    Layer.provide(ChannelLayer.layerMemory)
  )
  const { port } = await Effect.runPromise(Scope.provide(start(served), scope))
  return { port, stop: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}
