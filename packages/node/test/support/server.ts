/**
 * Servers that the tests speak to: real ones, each on a port of its own.
 */
import { Action, Authentication, Consumer, Handlers, Permission } from "@effect-channels/core"
import { NodeChannels, type UpgradeServer } from "@effect-channels/node"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"

/** A server that runs. */
export interface Running {
  readonly server: Server
  readonly port: number
  /** Stops it, and completes when it has ended. */
  readonly stop: Effect.Effect<void>
}

/** The port that a server listens on. */
export const portOf = (server: Server): number => (server.address() as AddressInfo).port

/** Runs what is served on an HTTP server of the platform, as long as the scope is open. */
export const start = Effect.fnUntraced(function*<A, E, R>(
  served: Layer.Layer<A, E, UpgradeServer.UpgradeServer | R>
) {
  const server = createServer()
  const layer = Layer.provide(served, NodeChannels.layerServer(() => server, { port: 0, host: "127.0.0.1" }))
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
  yield* Layer.buildWithScope(layer, scope)
  return { server, port: portOf(server), stop: Scope.close(scope, Exit.void) } satisfies Running
})

/** Who is behind a connection. */
export class CurrentUser extends Authentication.Service<CurrentUser, string>()("test/CurrentUser") {}

/** Whether somebody is behind a connection. */
export const isUser = Permission.isAuthenticated(CurrentUser)

const Id = Schema.Union([Schema.Int, Schema.String])

/** A consumer that everybody may use. */
export const Open = Consumer.make("open", { path: "/ws/", concurrency: 1 }).pipe(
  Consumer.add(
    Action.make("echo", { payload: Schema.String, success: Schema.String }),
    Action.make("repeat", { payload: { text: Schema.String, times: Schema.Int }, success: Schema.String }),
    Action.make("hold", { payload: Id, success: Id }),
    Action.make("hang", { success: Schema.Void })
  )
)

/** A consumer whose clients authenticate. */
export const Guarded = Consumer.make("guarded", { path: "/guarded/" }).pipe(
  Consumer.permitConnect(isUser),
  Consumer.add(
    Action.make("whoami", { success: Schema.String }),
    Action.make("echo", { payload: Id, success: Id })
  )
)

/** Handlers of {@link Open} that tell what they do, and wait when they are told to. */
export const makeOpen = Effect.gen(function*() {
  const events = yield* Queue.unbounded<string>()
  const permits = yield* Queue.unbounded<void>()
  let echoes = 0
  const layer = Consumer.handlers(Open).pipe(
    Handlers.handle("echo", ({ payload }) =>
      Effect.sync(() => {
        echoes++
        return payload
      })),
    Handlers.handle("repeat", ({ payload }) =>
      Effect.sync(() => {
        echoes++
        return payload.text.repeat(payload.times)
      })),
    Handlers.handle("hold", ({ payload }) =>
      Queue.offer(events, `start ${payload}`).pipe(
        Effect.andThen(Queue.take(permits)),
        Effect.as(payload),
        Effect.onInterrupt(() => Queue.offer(events, `stop ${payload}`))
      )),
    Handlers.handle("hang", () =>
      Queue.offer(events, "start").pipe(
        Effect.andThen(Effect.never),
        Effect.onInterrupt(() => Queue.offer(events, "stop"))
      )),
    Handlers.toLayer
  )
  return { layer, events, permits, echoes: () => echoes }
})

/** Runs a server of {@link Open}. */
export const startOpen = Effect.fnUntraced(function*(options?: NodeChannels.Options) {
  const open = yield* makeOpen
  const running = yield* start(Layer.provide(NodeChannels.serve(Open, options), open.layer))
  return { ...running, ...open }
})

/** How the clients of {@link Guarded} authenticate. */
export type Authenticate = Parameters<typeof CurrentUser.layer<Scope.Scope>>[0]

/** What {@link Guarded} needs. */
export const guarded = (authenticate: Authenticate) =>
  Consumer.handlers(Guarded).pipe(
    Handlers.handle("whoami", () => CurrentUser.use((user) => user)),
    Handlers.handle("echo", ({ payload }) => Effect.succeed(payload)),
    Handlers.toLayer,
    Layer.provide(CurrentUser.layer(authenticate))
  )

/** Runs a server of {@link Guarded}. */
export const startGuarded = (authenticate: Authenticate, options?: NodeChannels.Options) =>
  start(Layer.provide(NodeChannels.serve(Guarded, options), guarded(authenticate)))

/** Everybody is `alice`. */
export const alice = Effect.succeed(Authentication.authenticated("alice"))

/** What a test looks at of a log entry. */
export interface LogEntry {
  readonly level: string
  readonly message: string
}

/** Runs a test with a record of what is logged in it, down to the last detail. */
export const withLogs = <A, E, R>(
  test: (logs: ReadonlyArray<LogEntry>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const logs: Array<LogEntry> = []
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
      logs.push({ level: logLevel, message: Array.isArray(message) ? message.join(" ") : String(message) })
    })
    return test(logs).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "All")
    )
  })

/** Completes when a condition holds that nothing tells of: looks again with every turn of the event loop. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    let isOver = false
    const look = () => {
      if (isOver) return
      if (condition()) resume(Effect.void)
      else setTimeout(look, 1)
    }
    look()
    return Effect.sync(() => {
      isOver = true
    })
  })

/** The next events. */
export const takeEvents = (events: Queue.Dequeue<string>, count: number): Effect.Effect<ReadonlyArray<string>> =>
  Effect.replicateEffect(Queue.take(events), count)

/** Lets so many requests to `hold` go on. */
export const permit = (permits: Queue.Enqueue<void>, count = 1): Effect.Effect<void> =>
  Effect.asVoid(Queue.offerAll(permits, new Array<void>(count).fill(undefined)))
