/**
 * What lies between a node and Redis, and can be cut.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"

export interface Proxy {
  readonly url: string
  /** Closes all connections, and takes no new ones. */
  readonly cut: () => void
  /** Takes connections again. */
  readonly mend: () => void
  /** Lets nothing through any more, while all connections stay open. */
  readonly stall: () => void
  /** Holds up what is said on the connections that there are; new ones are free. */
  readonly delay: () => void
  /** Lets everything through again, what was held up first. */
  readonly flow: () => void
  /** How many connections there are. */
  readonly size: () => number
}

/** A proxy in front of a port as long as the scope is open. */
export const makeProxy = (port: number): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const pairs = new Map<Socket, Socket>()
      const sockets = new Set<Socket>()
      let isCut = false
      let isStalled = false
      const server = createServer((client) => {
        if (isCut) return void client.destroy()
        const upstream = connect(port, "127.0.0.1")
        pairs.set(client, upstream)
        for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
          sockets.add(from)
          from.setNoDelay(true)
          from.on("data", (data) => to.write(data))
          from.on("error", () => to.destroy())
          from.on("close", () => {
            sockets.delete(from)
            pairs.delete(client)
            // What was said before is still delivered.
            to.end()
          })
          if (isStalled) from.pause()
        }
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const each = (f: (socket: Socket) => void) => {
        for (const pair of pairs) pair.forEach(f)
      }
      const { port: own } = server.address() as AddressInfo
      return {
        url: `redis://127.0.0.1:${own}`,
        cut: () => {
          isCut = true
          each((socket) => socket.destroy())
        },
        mend: () => {
          isCut = false
        },
        stall: () => {
          isStalled = true
          each((socket) => socket.pause())
        },
        delay: () => each((socket) => socket.pause()),
        flow: () => {
          isStalled = false
          each((socket) => socket.resume())
        },
        size: () => pairs.size,
        close: () => {
          for (const socket of sockets) socket.destroy()
          return new Promise((resolve) => server.close(resolve))
        }
      }
    }),
    ({ close }) => Effect.promise(close)
  )
