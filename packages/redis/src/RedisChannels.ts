/**
 * Groups, presence, histories, news of authority, rate limits and outcomes that many servers share, over Redis.
 *
 * **Example** (Servers that share everything)
 *
 * ```ts
 * import { Consumer } from "@effect-channels/core"
 * import { NodeChannels } from "@effect-channels/node"
 * import { RedisChannels } from "@effect-channels/redis"
 * import * as Layer from "effect/Layer"
 * import { createServer } from "node:http"
 *
 * const Chat = Consumer.make("chat", { path: "/ws/chat/" })
 *
 * const Server = NodeChannels.serve(Chat).pipe(
 *   Layer.provide(NodeChannels.layerServer(createServer, { port: 8000 })),
 *   Layer.provide(RedisChannels.layer({ url: "redis://localhost:6379" }))
 * )
 * ```
 *
 * **What is promised.**
 *
 * | | while Redis can be reached | while it cannot | afterwards |
 * | --- | --- | --- | --- |
 * | an event for a group | reaches every member of every server, at most once, in the order of its sender | reaches the members of this server; the send fails with `Unavailable`, or is kept ({@link Options.whenDown}) | what was kept goes out in order |
 * | an event for a group with a history | reaches every member exactly once, in one order for everybody | fails as a whole | members are given what they missed |
 * | joining a group | sees what all servers know | fails with `Unavailable` | |
 * | presence | changes are told to all, those of a server that died within `nodeTimeout` + `heartbeat` | those who leave this server are told to its members | everybody registers anew; who has not come back within `nodeTimeout` has left |
 * | `Authority.invalidate`, signals | reach all servers | reach this server, and fail with `Unavailable` | everybody's authority is decided anew |
 * | rate limits | count on all servers together | fail with `Unavailable` (503) | go on |
 * | what is done once for each key | is done once on all servers together; after a server that died in the middle, anew within twice `nodeTimeout` | fails with `Unavailable` (503), and is not done; what runs is answered, and not remembered | goes on |
 *
 * - Nothing hangs: Redis is taken for lost when somebody has waited for it for `commandTimeout` in vain.
 * - A send that fails because Redis did not answer may have reached other servers all the same. It never reaches them twice.
 * - A server that was cut off may have missed that authority was taken away. When it is back, it decides that of all of its
 *   connections anew (`Authority.everyone`).
 * - It takes one Redis, not a Redis Cluster. Whoever can publish to it can send events to everybody: it belongs to the
 *   servers alone.
 *
 * It uses two connections for each server, however many groups there are: one for commands, one that listens. The `Redis`
 * service of `@effect/platform-node` opens a connection for each channel that is listened to, and does not tell when one was
 * lost and is back, which is when there is something to catch up on. So this package uses `@redis/client` directly.
 *
 * @since 0.1.0
 */
import * as Authority from "@effect-channels/core/Authority"
import { ChannelLayer } from "@effect-channels/core/ChannelLayer"
import * as Idempotency from "@effect-channels/core/Idempotency"
import * as Throttle from "@effect-channels/core/Throttle"
import type { RedisClientOptions } from "@redis/client"
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { OtherSettings } from "./internal/heartbeat.ts"
import { Hub } from "./internal/hub.ts"
import { Link } from "./internal/link.ts"
import { Metrics } from "./internal/metrics.ts"
import { makeOutcomes } from "./internal/outcomes.ts"
import { connect, type NoSession, noSession, type Session } from "./internal/session.ts"
import { makeStore } from "./internal/throttle.ts"

/**
 * What may be said about connections to Redis, besides the URL, in the words of `@redis/client`.
 *
 * @category models
 * @since 0.1.0
 */
export type ClientOptions = Pick<
  RedisClientOptions,
  | "clientInfoTag"
  | "credentialsProvider"
  | "database"
  | "disableClientInfo"
  | "name"
  | "password"
  | "socket"
  | "username"
>

/**
 * The options of the layer. All servers that share groups have the same `prefix`, `shards` and `nodeTimeout`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where Redis is: `redis[s]://[[user][:password]@]host[:port][/database]`. Default `redis://localhost:6379`. */
  readonly url?: string | Redacted.Redacted | undefined
  /** TLS, credentials, and what else a connection may need. */
  readonly client?: ClientOptions | undefined
  /** What the names of all keys and channels begin with. Default `effect-channels`. */
  readonly prefix?: string | undefined
  /**
   * How many channels the groups are spread over, a whole number from 1 to 4096. A server listens to those in which it has
   * groups: with more of them it hears less that is not for it. Default 16.
   */
  readonly shards?: number | undefined
  /** How often a server says that it is alive. Default 1 second. */
  readonly heartbeat?: Duration.Input | undefined
  /** After how much silence a server is taken for dead, at least twice the heartbeat. Default 5 seconds. */
  readonly nodeTimeout?: Duration.Input | undefined
  /** How long Redis may give no sign of life while somebody waits for it. Default 2 seconds. */
  readonly commandTimeout?: Duration.Input | undefined
  /**
   * What becomes of an event for a group without a history that Redis cannot be given: it fails for those on other servers
   * (`fail`, the default), or is kept, no more than so many at once, until Redis is back.
   */
  readonly whenDown?: "fail" | { readonly buffer: number } | undefined
}

/**
 * Why the layer could not be made: Redis cannot be reached, does not let us in, or is used by servers with other settings.
 *
 * @category errors
 * @since 0.1.0
 */
export class StartError extends Schema.TaggedError<StartError>()("RedisStartError", {
  message: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {}

/**
 * Holds groups in Redis, and provides an authority, a store of throttles and one of outcomes that are shared in the same way. It fails
 * where Redis cannot be reached when it is built; later it waits for Redis to come back.
 *
 * **Details**
 *
 * Metrics: `effect_channels_redis_connected`, `effect_channels_redis_reconnects_total`, `effect_channels_redis_failed_total`,
 * `effect_channels_redis_buffered`, and `effect_channels_redis_dropped_total` by `why` (`buffer_full`, `history_cut`,
 * `no_message`).
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<ChannelLayer, StartError> =>
  Layer.effectContext(make(check(options)))

/**
 * As {@link layer}, with options from the configuration.
 *
 * **Example** (The URL is a secret)
 *
 * ```ts
 * import { RedisChannels } from "@effect-channels/redis"
 * import * as Config from "effect/Config"
 *
 * const ChannelsLive = RedisChannels.layerConfig(Config.all({ url: Config.Redacted("REDIS_URL") }))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Config<Options>
): Layer.Layer<ChannelLayer, StartError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(config, (options) => layer(options)))

interface Checked {
  readonly url: string | undefined
  readonly client: ClientOptions | undefined
  readonly prefix: string
  readonly shards: number
  readonly heartbeat: number
  readonly nodeTimeout: number
  readonly commandTimeout: number
  readonly buffer: number | undefined
}

const check = (options: Options): Checked => {
  const { client, prefix = "effect-channels", shards = 16, url, whenDown = "fail" } = options
  const heartbeat = millis("heartbeat", options.heartbeat ?? 1000)
  const nodeTimeout = millis("nodeTimeout", options.nodeTimeout ?? 5000)
  const commandTimeout = millis("commandTimeout", options.commandTimeout ?? 2000)
  const buffer = whenDown === "fail" ? undefined : whenDown.buffer
  if (prefix === "") throw new TypeError("RedisChannels: prefix must not be empty")
  if (!Number.isInteger(shards) || shards < 1 || shards > 4096) {
    throw new TypeError(`RedisChannels: shards must be a whole number from 1 to 4096, not ${shards}`)
  }
  if (nodeTimeout < 2 * heartbeat) {
    throw new TypeError(`RedisChannels: nodeTimeout must be at least twice the heartbeat, not ${nodeTimeout} ms`)
  }
  if (buffer !== undefined && !(Number.isInteger(buffer) && buffer > 0)) {
    throw new TypeError(`RedisChannels: whenDown.buffer must be a whole number from 1, not ${buffer}`)
  }
  return {
    url: Redacted.isRedacted(url) ? Redacted.value(url) : url,
    client,
    prefix,
    shards,
    heartbeat,
    nodeTimeout,
    commandTimeout,
    buffer
  }
}

const millis = (name: string, input: Duration.Input): number => {
  const value = Math.ceil(Duration.toMillis(input))
  if (!(value > 0 && value < 2 ** 31)) {
    throw new TypeError(`RedisChannels: ${name} must be longer than nothing, and finite`)
  }
  return value
}

const make = Effect.fnUntraced(function*(options: Checked) {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const metrics = new Metrics(yield* Effect.context<never>())
  const refused = seldom((message) => Effect.logWarning("Redis refused a command", message))
  const link = new Link(metrics, options.buffer, (error) => run(refused(error.message)))
  const hub = new Hub(options, link, metrics, run)
  const address = printAddress(options)
  const { client, commandTimeout: timeout, url } = options

  let current: Session | undefined
  // Whoever is interrupted leaves no session that nobody knows of.
  const begin = Effect.uninterruptibleMask((restore) =>
    restore(connect({ url, client, timeout }, (text) => hub.receive(text))).pipe(
      Effect.tap((session) =>
        restore(Effect.tryPromise({ try: () => hub.start(session, current), catch: noSession })).pipe(
          Effect.onExit((exit) =>
            Effect.sync(() => {
              if (exit._tag === "Success") current = session
              else session.close(new Error("It could not begin"))
            })
          )
        )
      )
    )
  )
  const first = yield* Effect.mapError(begin, (error) => startError(address, options, error))
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      hub.stop,
      Effect.sync(() => {
        current?.close(new Error("The layer is closed"))
        hub.down()
      })
    )
  )

  const live = Effect.fnUntraced(function*() {
    for (let session = first;; session = yield* again(begin)) {
      if (session !== first) {
        metrics.reconnected()
        yield* Effect.logInfo("Redis is back", address)
        yield* hub.recover
      }
      const { message } = yield* session.lost
      hub.down()
      yield* Effect.logWarning("Redis is lost: other servers are not reached until it is back", address, message)
    }
  })
  yield* inRealTime(live())
  yield* inRealTime(Effect.forever(Effect.andThen(Effect.sleep(options.heartbeat), hub.beat)))

  return Context.make(ChannelLayer, hub.layer).pipe(
    Context.add(Authority.Authority, hub.authority),
    Context.add(Throttle.Store, makeStore(link, options.prefix)),
    Context.add(Idempotency.Store, makeOutcomes(link, options.prefix, 2 * options.nodeTimeout))
  )
})

/** Does something as long as the layer is open, in the time of Redis, which no test clock moves. */
const inRealTime = (effect: Effect.Effect<unknown>): Effect.Effect<unknown, never, Scope.Scope> =>
  Effect.forkScoped(Effect.provideService(effect, Clock.Clock, Clock.Clock.defaultValue()))

/** Tries until it succeeds, ever more seldom, and not when all others do. */
const again = (begin: Effect.Effect<Session, NoSession>): Effect.Effect<Session> => {
  const attempt = (delay: number): Effect.Effect<Session> =>
    Effect.catch(
      begin,
      (error) =>
        (error.cause instanceof OtherSettings
          ? Effect.logError(error.message)
          : Effect.logDebug("Redis is not back", error.message))
          .pipe(
            Effect.andThen(Effect.sleep(delay * (0.5 + Math.random() / 2))),
            Effect.andThen(Effect.suspend(() => attempt(Math.min(2 * delay, 2000))))
          )
    )
  return attempt(50)
}

/** Says the same thing no more than once in ten seconds. */
const seldom = (log: (message: string) => Effect.Effect<void>) => {
  const said = new Map<string, number>()
  return (message: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      const now = performance.now()
      const before = said.get(message)
      if (before !== undefined && now - before < 10_000) return Effect.void
      if (said.size > 100) said.clear()
      said.set(message, now)
      return log(message)
    })
}

/** Where Redis is, without what is secret. */
const printAddress = ({ client, url }: Checked): string => {
  if (url !== undefined) {
    try {
      const { host, pathname, protocol } = new URL(url)
      return `${protocol}//${host}${pathname}`
    } catch {
      return "an address that is no URL"
    }
  }
  const socket = client?.socket
  if (socket === undefined) return "redis://localhost:6379"
  if ("path" in socket && socket.path !== undefined) return socket.path
  const host = "host" in socket ? socket.host : undefined
  const port = "port" in socket ? socket.port : undefined
  return `redis://${host ?? "localhost"}:${port ?? 6379}`
}

const startError = (address: string, { commandTimeout }: Checked, { cause, message }: NoSession): StartError =>
  new StartError({
    message: cause instanceof OtherSettings
      ? message
      : `Expected Redis 7 or newer at ${address}, to answer within ${commandTimeout} ms. Found: ${message}. ` +
        "See that it runs there, that this server may reach it, and that the credentials are right.",
    cause
  })
