/**
 * The upgrade requests of a Node HTTP server, taken before anything else sees them.
 *
 * @since 0.1.0
 */
import * as Pipeline from "@effect-channels/core/Pipeline"
import * as ChannelError from "@effect-channels/core/ChannelError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import * as Http from "./internal/http.ts"

/**
 * Takes an upgrade request, or leaves it (`false`) to the next one.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler = (request: IncomingMessage, socket: Socket, head: Buffer) => boolean

/**
 * The upgrade requests of one HTTP server. What no handler takes goes where it would have gone without: to the server's
 * own `upgrade` listeners, or is answered with 404 where there are none.
 *
 * @category services
 * @since 0.1.0
 */
export class UpgradeServer extends Context.Service<UpgradeServer, {
  /** Offers every upgrade request to a handler, as long as the scope is open. */
  readonly handle: (handler: Handler) => Effect.Effect<void, never, Scope.Scope>
}>()("@effect-channels/node/UpgradeServer") {}

/**
 * The upgrade requests of a server that exists already: of Express, Fastify, or one that somebody else listens on.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (server: Server): Layer.Layer<UpgradeServer> => Layer.effect(UpgradeServer, attach(server))

const attach = (server: Server) =>
  Effect.acquireRelease(Effect.sync(() => new Attached(server)), (attached) => Effect.sync(() => attached.detach())).pipe(
    Effect.map((attached) =>
      UpgradeServer.of({
        handle: (handler) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              attached.handlers.add(handler)
            }),
            () =>
              Effect.sync(() => {
                attached.handlers.delete(handler)
              })
          )
      })
    )
  )

class Attached {
  readonly handlers = new Set<Handler>()
  readonly #server: Server
  readonly #emit: Server["emit"]

  constructor(server: Server) {
    this.#server = server
    this.#emit = server.emit
    // Every listener of an event gets it: to take an upgrade request for oneself is to stop the event.
    server.emit = (event: string, ...args: ReadonlyArray<unknown>): boolean =>
      (event === "upgrade" && this.#take(...args as Parameters<Handler>)) ||
      (event === "request" && this.#isUnheard(...args as [IncomingMessage, ServerResponse])) ||
      Reflect.apply(this.#emit, server, [event, ...args])
    // Without a listener Node does not take any request for an upgrade.
    server.on("upgrade", this.#onUpgrade)
  }

  detach(): void {
    this.#server.off("upgrade", this.#onUpgrade)
    this.#server.emit = this.#emit
  }

  #take(request: IncomingMessage, socket: Socket, head: Buffer): boolean {
    for (const handler of this.handlers) {
      if (handler(request, socket, head)) return true
    }
    return false
  }

  readonly #onUpgrade = (_request: IncomingMessage, socket: Socket): void => {
    if (this.#server.listenerCount("upgrade") > 1) return
    const { body, status } = this.handlers.size === 0 ? starting : notFound
    Http.answer(socket, status, body)
  }

  /** Answers a request that nobody listens to: without an HTTP application it would wait for ever. */
  #isUnheard(request: IncomingMessage, response: ServerResponse): boolean {
    if (this.#server.listenerCount("request") > 0) return false
    request.resume()
    response.writeHead(404, { "Content-Type": "application/json; charset=utf-8" }).end(notFound.body)
    return true
  }
}

const notFound = Pipeline.refuse(new ChannelError.RouteNotFound({ message: "There is nothing here" }))
const starting = Pipeline.refuse(new ChannelError.Unavailable({ message: "The server is starting" }))
