/**
 * Stands between a client and PostgreSQL, and can be in the way.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { url } from "./tables.ts"

export class Proxy {
  readonly #sockets = new Set<Socket>()
  readonly #frozen = new Set<Socket>()
  #server: Server | undefined
  port = 0

  async start(): Promise<void> {
    const { hostname, port } = new URL(url)
    const server = createServer((client) => {
      const upstream = connect(port === "" ? 5432 : Number(port), hostname)
      this.#join(client, upstream)
      this.#join(upstream, client)
    })
    await new Promise<void>((resolve) => server.listen(this.port, "127.0.0.1", resolve))
    this.port = (server.address() as AddressInfo).port
    this.#server = server
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.on("error", () => {})
    from.on("data", (data) => {
      if (!this.#frozen.has(from)) to.write(data)
    })
    from.on("close", () => {
      this.#sockets.delete(from)
      if (!this.#frozen.has(from)) to.destroy()
    })
  }

  /** Nothing comes through the connections that there are, and they stay open. */
  freeze(): void {
    for (const socket of this.#sockets) this.#frozen.add(socket)
  }

  /** Ends all connections, and takes no more of them. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server === undefined ? resolve(undefined) : this.#server.close(resolve))
    this.#server = undefined
  }
}

/** A proxy as long as the scope is open. */
export const makeProxy: Effect.Effect<Proxy, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(async () => {
    const proxy = new Proxy()
    await proxy.start()
    return proxy
  }),
  (proxy) => Effect.promise(() => proxy.stop())
)
