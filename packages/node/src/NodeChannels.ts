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
import type * as Consumer from "@effect-channels/core/Consumer"
import * as Handlers from "@effect-channels/core/Handlers"
import * as Pipeline from "@effect-channels/core/Pipeline"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { LazyArg } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Server } from "node:http"
import * as Connections from "./internal/connections.ts"
import * as UpgradeServer from "./UpgradeServer.ts"

/**
 * How consumers are served. Every limit has a safe default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The origins whose pages may connect, besides those of the server's own host: `["https://app.example.com"]`, or
   * {@link anyOrigin}. Clients that are no browsers send no origin and are not asked. The host is what the request's `Host`
   * header says: where that cannot be trusted, list the origins and check the header in front of the server.
   */
  readonly origins?: ReadonlyArray<string> | typeof anyOrigin | undefined
  /** Bytes of a message; a longer one closes its connection with 1009. Default 65,536. */
  readonly maxFrame?: number | undefined
  /**
   * How long authentication, connect check and the groups to begin with may take; then the handshake is refused with 503, a fifth of this time later at
   * the most. Default 10 seconds.
   */
  readonly handshakeTimeout?: Duration.Input | undefined
  /** A connection that is silent for so long is sent a ping. Default 25 seconds. */
  readonly pingInterval?: Duration.Input | undefined
  /** A connection that gives no sign of life for so long after a ping is dropped. Default 10 seconds. */
  readonly pongTimeout?: Duration.Input | undefined
  /**
   * Connections at once, handshakes included; one more is refused with 503. Besides, a twentieth as many clients, and at most
   * 1000, may just be told why they are refused, see {@link serve}. Default 20,000.
   */
  readonly maxConnections?: number | undefined
  /** Requests of a connection that run, streams among them, or wait; one more is answered with status 503. Default 128. */
  readonly maxInFlight?: number | undefined
  /**
   * Bytes that wait to be sent on a connection before it is no longer read, and events come to what they say of slow clients
   * (`Event.WhenSlow`). Streams are not asked for items beyond half of it. What is not encoded yet counts by characters.
   * Default 1 MiB.
   */
  readonly maxUnsent?: number | undefined
  /** Whether messages are compressed (permessage-deflate). It costs memory and time for each connection. Default `false`. */
  readonly compression?: boolean | undefined
  /** How long the handlers in flight may take when the server stops. Default 5 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * Lets the pages of every origin connect. Right where nothing that a browser sends by itself authenticates: no cookies, no
 * client certificates, no address.
 *
 * @category constants
 * @since 0.1.0
 */
export const anyOrigin = "*"

/**
 * Serves a consumer, or several by their paths, on the HTTP server of {@link layerServer} or `UpgradeServer.layer`. Upgrade
 * requests for other paths, and all other requests, are left to the server's own listeners.
 *
 * A handshake is refused before the upgrade, with a status and a body in the form of a reply. A client that offers
 * `Consumer.refusalsSubprotocol`, as a page may that would not see them, is upgraded to be told: it is sent the body, closed with
 * 4000 + the status, and dropped where it does not answer that within 2 seconds. Where there are many of them at once the rest is
 * refused with HTTP.
 *
 * When the layer ends, it takes no more handshakes and messages, lets the handlers in flight finish, and closes the
 * connections with 1012.
 *
 * Fails with a `DefinitionError` when two consumers can have the same path.
 *
 * @category layers
 * @since 0.1.0
 */
export const serve = <const C extends Consumer.Any | ReadonlyArray<Consumer.Any>>(
  consumers: C,
  options: Options = {}
): Layer.Layer<never, Handlers.DefinitionError, UpgradeServer.UpgradeServer | LiveOf<NameOf<C>>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const limits = {
      maxInFlight: options.maxInFlight ?? Pipeline.defaultLimits.maxInFlight,
      maxUnsent: options.maxUnsent ?? Pipeline.defaultLimits.maxUnsent,
      // `ws` has refused what is longer before it is a message.
      maxMessage: Infinity
    }
    const problems = problemsOf(options)
    if (problems.length > 0) return yield* new Handlers.DefinitionError({ consumer: "NodeChannels.serve", problems })
    const pipeline = yield* Pipeline.make(listOf<NameOf<C>>(consumers), limits)
    const server = yield* UpgradeServer.UpgradeServer
    yield* Connections.serve(pipeline, server, {
      origins: options.origins === anyOrigin ? anyOrigin : originsOf(options),
      maxFrame: options.maxFrame ?? 64 * 1024,
      maxConnections: options.maxConnections ?? 20_000,
      compression: options.compression ?? false,
      handshakeTimeout: Duration.fromInputUnsafe(options.handshakeTimeout ?? "10 seconds"),
      pingInterval: Duration.fromInputUnsafe(options.pingInterval ?? "25 seconds"),
      pongTimeout: Duration.fromInputUnsafe(options.pongTimeout ?? "10 seconds"),
      drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "5 seconds")
    })
  })) as Layer.Layer<never, Handlers.DefinitionError, UpgradeServer.UpgradeServer | LiveOf<NameOf<C>>>

/** What is wrong with the options. */
const problemsOf = (options: Options): ReadonlyArray<string> => {
  const {
    drainTimeout,
    handshakeTimeout,
    maxConnections,
    maxFrame,
    maxInFlight,
    maxUnsent,
    pingInterval,
    pongTimeout
  } = options
  const numbers = Object.entries({ maxConnections, maxFrame, maxInFlight, maxUnsent })
    .filter(([, value]) => value !== undefined && !(value > 0))
  const times = Object.entries({ handshakeTimeout, pingInterval, pongTimeout })
    .filter(([, value]) => value !== undefined && !(millis(value) > 0))
  const drains = drainTimeout === undefined || millis(drainTimeout) >= 0
    ? []
    : [["drainTimeout", drainTimeout] as const]
  return [
    ...[...numbers, ...times].map(([name, value]) =>
      `the option ${name} is ${shown(value)}: it must be greater than 0`
    ),
    ...drains.map(([name, value]) => `the option ${name} is ${shown(value)}: it must be a duration`),
    ...originsOf(options).filter((origin) => !isOrigin(origin)).map((origin) =>
      `the option origins has ${shown(origin)}, which is no origin: it looks like "https://app.example.com"`
    )
  ]
}

const shown = (value: unknown): string => typeof value === "string" ? JSON.stringify(value) : String(value)

const millis = (duration: Duration.Input): number =>
  Option.match(Duration.fromInput(duration), { onNone: () => NaN, onSome: Duration.toMillis })

const originsOf = ({ origins }: Options): ReadonlyArray<string> =>
  origins === undefined || origins === anyOrigin ? [] : [origins].flat()

/** As browsers say it: a scheme and a host, and no path, not even a slash. */
const isOrigin = (text: string): boolean => text === "null" || /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/.test(text)

type NameOf<C extends Consumer.Any | ReadonlyArray<Consumer.Any>> = C extends ReadonlyArray<Consumer.Any>
  ? C[number]["name"]
  : C extends Consumer.Any ? C["name"]
  : never

/** Of each consumer its own, so that they can be provided one by one. */
type LiveOf<Name extends string> = Name extends string ? Handlers.Live<Name> : never

const listOf = <Name extends string>(
  consumers: Consumer.Any | ReadonlyArray<Consumer.Any>
): ReadonlyArray<Consumer.Any & { readonly name: Name }> =>
  [consumers].flat() as unknown as ReadonlyArray<Consumer.Any & { readonly name: Name }>

/**
 * An HTTP server that consumers can be served on, next to `HttpRouter` or `HttpApi` routes. It is the platform's
 * `NodeHttpServer.layer`, with the upgrade requests set aside for `serve`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerServer = (evaluate: LazyArg<Server>, options: NodeHttpServer.Options) =>
  Layer.unwrap(Effect.sync(() => {
    const server = evaluate()
    return Layer.merge(NodeHttpServer.layer(() => server, options), UpgradeServer.layer(server))
  }))
