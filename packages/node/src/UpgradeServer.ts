/**
 * The upgrade requests of a Node HTTP server, taken before anything else sees them.
 *
 * @since 0.1.0
 */
import * as ChannelError from "@effect-channels/core/ChannelError"
import * as Pipeline from "@effect-channels/core/Pipeline"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type IncomingMessage, type Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import * as Http from "./internal/http.ts"
import { Refusals } from "./internal/refusals.ts"

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
  Effect.acquireRelease(Effect.sync(() => new Attached(server)), (attached) => Effect.sync(() => attached.detach()))
    .pipe(
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
  readonly #close: Server["close"]
  /** The sockets that nobody has asked anything on, or whose requests have been answered. */
  readonly #idle = new Set<Socket>()
  /** One listener for all sockets. */
  readonly #forget: (this: Socket) => void
  readonly #refusals = new Refusals(maxRefusals)
  #isClosing = false

  constructor(server: Server) {
    const idle = this.#idle
    this.#forget = function() {
      idle.delete(this)
    }
    this.#server = server
    this.#emit = server.emit
    this.#close = server.close
    // Every listener of an event gets it: to take an upgrade request for oneself is to stop the event.
    server.emit = (event: string, ...args: ReadonlyArray<unknown>): boolean =>
      this.#sees(event, args) || Reflect.apply(this.#emit, server, [event, ...args])
    // The server waits for all of its sockets. Browsers open some that they may never use: they are not worth waiting for.
    server.close = (...args) => {
      Reflect.apply(this.#close, server, args)
      this.#isClosing = true
      for (const socket of this.#idle) socket.destroy()
      this.#refusals.end()
      return server
    }
    // Without a listener Node does not take any request for an upgrade.
    server.on("upgrade", this.#onUpgrade)
  }

  detach(): void {
    this.#server.off("upgrade", this.#onUpgrade)
    this.#server.emit = this.#emit
    this.#server.close = this.#close
    this.#refusals.end()
  }

  /** Looks at an event before its listeners do, and says whether it is taken. */
  #sees(event: string, args: ReadonlyArray<unknown>): boolean {
    switch (event) {
      case "connection":
      case "secureConnection":
        // With TLS, requests come on the secure socket; it closes the one below.
        if (("setSecureContext" in this.#server) === (event === "secureConnection")) this.#watch(args[0] as Socket)
        return false
      case "request": {
        const [request, response] = args as [IncomingMessage, ServerResponse]
        this.#busyUntil(request.socket, response)
        return this.#isUnheard(request, response)
      }
      case "upgrade":
        this.#idle.delete(args[1] as Socket)
        ;(args[1] as Socket).off("close", this.#forget)
        return this.#take(...args as Parameters<Handler>)
      default:
        return false
    }
  }

  #watch(socket: Socket): void {
    this.#idle.add(socket)
    socket.on("close", this.#forget)
  }

  #busyUntil(socket: Socket, response: ServerResponse): void {
    if (!this.#idle.delete(socket)) return
    response.once("close", () => {
      if (this.#isClosing) socket.destroySoon()
      else if (!socket.destroyed) this.#idle.add(socket)
    })
  }

  #take(request: IncomingMessage, socket: Socket, head: Buffer): boolean {
    for (const handler of this.handlers) {
      if (handler(request, socket, head)) return true
    }
    return false
  }

  readonly #onUpgrade = (request: IncomingMessage, socket: Socket, head: Buffer): void => {
    if (this.#server.listenerCount("upgrade") > 1) return
    if (Http.isWebSocket(request)) {
      // Node has taken its own listener off.
      socket.on("error", constVoid)
      return this.#refusals.refuse(this.handlers.size === 0 ? starting : notFound, request, socket, head)
    }
    // What asks for another protocol may be answered in HTTP (RFC 9110, 7.8), as it would be without this listener.
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    response.once("finish", () => socket.destroySoon())
    this.#server.emit("request", request, response)
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
const starting = Pipeline.refuse(new ChannelError.Unavailable({ message: "The server is starting" }), {
  retryAfter: Http.retryAfter
})

/** So many clients are told at once that there is nothing for them. */
const maxRefusals = 1000
