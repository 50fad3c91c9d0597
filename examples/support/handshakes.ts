/**
 * Answers a GET as it would answer a handshake. A browser does not tell a page why its handshake was refused; the pages ask
 * here.
 */
import { type Consumer, type Handlers, Pipeline } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"

/** The routes of some consumers: status 426 where the handshake would be accepted, else what it is refused with. */
export const handshakes = <const Consumers extends ReadonlyArray<Consumer.Any>>(
  consumers: Consumers
): Layer.Layer<
  never,
  Handlers.DefinitionError,
  Handlers.Live<Consumers[number]["name"]> | HttpRouter.HttpRouter
> =>
  HttpRouter.use((router) =>
    Effect.gen(function*() {
      const pipeline = yield* Pipeline.make(consumers)
      for (const { path } of consumers) {
        yield* router.add("GET", path as HttpRouter.PathInput, ({ headers, url }) =>
          pipeline.connect({ id: "trial", url, headers }).pipe(
            Effect.flatMap((session) => session.abandon),
            Effect.as(HttpServerResponse.empty({ status: 426, headers: { upgrade: "websocket" } })),
            Effect.catchTag(
              "HandshakeRefused",
              ({ body, status }) =>
                Effect.succeed(HttpServerResponse.text(body, { status, contentType: "application/json" }))
            )
          ))
      }
    })
  )
