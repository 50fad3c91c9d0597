/**
 * What is left of a thousand connections of one client: nothing.
 */
import { Client, type Connector } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Stream from "effect/Stream"
import { queryObjects, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Inbox } from "../../core/src/internal/client/inbox.ts"
import { Listeners } from "../../core/src/internal/client/listeners.ts"
import * as Chat from "./support/chat.ts"
import * as Proxy from "./support/proxy.ts"
import { until } from "./support/server.ts"

const collect = ((): () => void => {
  setFlagsFromString("--expose-gc")
  const gc = runInNewContext("gc") as (() => void) | undefined
  if (gc === undefined) {
    console.warn("The heap is not looked at: nobody can have the garbage collected here")
    return () => {}
  }
  return gc
})()

/** The heap in use, in kB, when there is no garbage in it. */
const heap = Effect.gen(function*() {
  for (let i = 0; i < 5; i++) {
    collect()
    yield* Chat.turn
  }
  return Math.round(process.memoryUsage().heapUsed / 1024)
})

/** Counts the fibers that run, of all that is run with it. */
const countFibers = <A, E, R>(test: (running: () => number) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    let running = 0
    return Effect.provideService(test(() => running), Metric.FiberRuntimeMetrics, {
      recordFiberStart: () => {
        running++
      },
      recordFiberEnd: () => {
        running--
      }
    })
  })

/** Sees what listeners, hooks and calls a client has, which nobody tells of, as long as the scope is open. */
const watch = Effect.acquireRelease(
  Effect.sync(() => {
    const { add } = Listeners.prototype
    const { add: addToSet } = Set.prototype
    const { set } = Map.prototype
    const listeners = new Set<{ readonly size: number }>()
    const hooks = new Set<{ readonly size: number }>()
    const calls = new Set<{ readonly size: number }>()
    Object.assign(Listeners.prototype, {
      add(this: Listeners<unknown>, listener: () => void) {
        addToSet.call(listeners, this)
        return add.call(this, listener)
      }
    })
    Object.assign(Set.prototype, {
      add(this: Set<unknown>, value: unknown) {
        if (Effect.isEffect(value)) addToSet.call(hooks, this)
        return addToSet.call(this, value)
      }
    })
    Object.assign(Map.prototype, {
      set(this: Map<unknown, unknown>, key: unknown, value: unknown) {
        if (typeof value === "object" && value !== null && "wasSent" in value) addToSet.call(calls, this)
        return set.call(this, key, value)
      }
    })
    const sizes = (sets: Iterable<{ readonly size: number }>) => Array.from(sets, ({ size }) => size)
    return {
      restore: () => {
        Object.assign(Listeners.prototype, { add })
        Object.assign(Set.prototype, { add: addToSet })
        Object.assign(Map.prototype, { set })
      },
      listeners: () => sizes(listeners),
      hooks: () => sizes(hooks),
      calls: () => sizes(calls)
    }
  }),
  ({ restore }) => Effect.sync(restore)
)

/** Connections in memory to somebody who answers everything but `hang`, and ends them when told to. */
const makeConnector = () => {
  let end: (() => void) | undefined
  let opened = 0
  let open = 0
  const connector: Connector.Connector = {
    open: () =>
      Effect.acquireRelease(
        Effect.sync((): Connector.Link => {
          opened++
          open++
          let receive: ((frame: string) => void) | undefined
          const reply = (action: string, request_id: unknown, data: unknown, status = 200) =>
            queueMicrotask(() => receive?.(JSON.stringify({ errors: [], data, action, route: "", status, request_id })))
          return {
            protocol: "",
            run: (listener) =>
              Effect.callback((resume) => {
                receive = listener
                end = () => {
                  receive = undefined
                  resume(Effect.succeed({ code: 1006, reason: "" }))
                }
              }),
            send: (frame) => {
              const { action, data, request_id } = JSON.parse(String(frame))
              if (action === "count") {
                for (let n = 0; n < data.n; n++) reply(action, request_id, { ...data, n }, 206)
              } else if (action !== "hang") reply(action, request_id, data)
            },
            close: () => {}
          }
        }),
        () =>
          Effect.sync(() => {
            open--
          })
      )
  }
  return { connector, end: () => end!(), opened: () => opened, open: () => open }
}

type Client_ = Chat.Guest["client"]

/** All that a client has, on one connection; `end` ends it, with a call and a stream in flight. */
const useAll = (client: Client_, end: () => void, isAgain: () => boolean) =>
  Effect.scoped(Effect.gen(function*() {
    yield* client.onConnect(client.echo({ nonce: "hook" }))
    yield* client.echo({ nonce: "1" })
    yield* client.count({ nonce: "2", n: 10 }).pipe(Stream.take(2), Stream.runDrain)
    const hanging = yield* Effect.forkChild(client.hang({ nonce: "3" }), { startImmediately: true })
    yield* Fiber.interrupt(hanging)
    const hearing = yield* Effect.forkChild(Stream.runDrain(client.events("posted")), { startImmediately: true })
    const lost = yield* Effect.forkChild(Effect.flip(client.hang({ nonce: "4" })), { startImmediately: true })
    const stopped = yield* Effect.forkChild(Effect.flip(Stream.runDrain(client.count({ nonce: "5", n: 1 }))), {
      startImmediately: true
    })
    end()
    yield* Fiber.join(lost)
    yield* Fiber.join(stopped)
    yield* Fiber.interrupt(hearing)
    yield* until(isAgain)
  }))

describe("of many connections of one client", () => {
  it.live("nothing is left, in memory", () =>
    countFibers((running) =>
      Effect.gen(function*() {
        const watched = yield* watch
        const { connector, end, open, opened } = makeConnector()
        const client = yield* Client.make(Chat.Chat, {
          url: "ws://in-memory",
          params: { room: "lobby" },
          connector,
          reconnect: { min: 0, max: 0 }
        })
        yield* client.connect
        const again = (count: number) =>
          Effect.gen(function*() {
            for (let i = 0; i < count; i++) {
              const before = opened()
              yield* useAll(client, end, () => opened() > before)
              yield* client.connect
            }
          })
        const state = Effect.gen(function*() {
          const kB = yield* heap
          return {
            kB,
            rest: {
              fibers: running(),
              open: open(),
              listeners: watched.listeners(),
              calls: watched.calls(),
              hooks: watched.hooks(),
              inboxes: queryObjects(Inbox, { format: "count" })
            }
          }
        })
        // What is made once is there then, and what is compiled.
        yield* again(200)
        const before = yield* state
        yield* again(1000)
        const after = yield* state
        assert.strictEqual(opened(), 1201)
        assert.deepStrictEqual(after.rest, before.rest)
        assert.isAbove(before.rest.listeners.length, 0)
        assert.deepStrictEqual([before.rest.calls, before.rest.open], [[0], 1])
        assert.isBelow(after.kB - before.kB, 256, JSON.stringify({ before, after }))
      })
    ), { timeout: 60_000 })

  it.live("nothing is left, over sockets", () =>
    countFibers((running) =>
      Effect.gen(function*() {
        const world = yield* Chat.makeWorld()
        const proxy = yield* Proxy.make({ target: world.port() })
        const watched = yield* watch
        const guest = yield* Chat.enter("guest", proxy.port, { reconnect: { min: 0, max: 0 } })
        const { client } = guest
        const sockets = () => process.getActiveResourcesInfo().filter((kind) => kind.startsWith("TCPSocket")).length
        const again = (count: number) =>
          Effect.gen(function*() {
            for (let i = 0; i < count; i++) {
              yield* client.connect
              const { length } = proxy.connections
              const end = () => void Effect.runFork(proxy.end(i % 2 === 0 ? "drop" : "reset"))
              yield* useAll(client, end, () => proxy.connections.length > length)
              yield* proxy.connections[length - 1]!.closed
            }
            yield* client.connect
            yield* client.echo({ nonce: "last" })
          })
        const state = Effect.gen(function*() {
          // The server, the proxy and the platform have let go of what is closed.
          yield* until(() => sockets() <= 4 && world.running.size === 0).pipe(
            Chat.patiently(() => `${sockets()} sockets are open, and ${Array.from(world.running)} run`)
          )
          const kB = yield* heap
          return {
            kB,
            rest: {
              fibers: running(),
              sockets: sockets(),
              listeners: watched.listeners(),
              calls: watched.calls(),
              hooks: watched.hooks(),
              inboxes: queryObjects(Inbox, { format: "count" }),
              webSockets: queryObjects(globalThis.WebSocket, { format: "count" })
            }
          }
        })
        yield* again(20)
        const before = yield* state
        yield* again(200)
        const after = yield* state
        assert.deepStrictEqual(after.rest, before.rest)
        assert.deepStrictEqual(before.rest.calls, [0])
        // What the proxy has written down is not the client's.
        if (process.env["TALLY"] !== undefined) console.log(before, after)
      })
    ), { timeout: 60_000 })
})
