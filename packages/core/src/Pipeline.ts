/**
 * Runs consumers: decides over a handshake, then reads, decides and answers the messages of its connection.
 *
 * An adapter gives it handshakes and transports, see `@effect-channels/node`.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import type * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Authority from "./Authority.ts"
import * as ChannelError from "./ChannelError.ts"
import { ChannelLayer } from "./ChannelLayer.ts"
import * as ConnectionScope from "./ConnectionScope.ts"
import type * as Consumer from "./Consumer.ts"
import * as Handlers from "./Handlers.ts"
import * as Idempotency from "./Idempotency.ts"
import { binary } from "./internal/binary-wire.ts"
import { cut } from "./internal/closing.ts"
import type * as compile from "./internal/compile.ts"
import { Connection } from "./internal/connection.ts"
import * as Envelope from "./internal/envelope.ts"
import { decodeParams } from "./internal/exchange.ts"
import { errorsOf, failureOf } from "./internal/failure.ts"
import * as Observe from "./internal/observe.ts"
import * as Path from "./internal/path.ts"
import { type Joining, Registry } from "./internal/registry.ts"
import { Standing } from "./internal/standing.ts"
import { binarySubprotocol } from "./internal/subprotocols.ts"
import * as Wire from "./internal/wire.ts"
import * as Reply from "./Reply.ts"
import * as Settings from "./Settings.ts"
import * as Throttle from "./Throttle.ts"
import type * as Transport from "./Transport.ts"

/**
 * What one connection may ask of the server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  /** Requests of a connection that run, streams among them, or wait; one more is answered with status 503. Default 128. */
  readonly maxInFlight: number
  /**
   * Bytes that wait to be sent on a connection (text that is not encoded yet counts by characters). Beyond it nothing more is read from
   * the connection, and none of its messages is started, until they have left; and events for it come to what they say of slow
   * clients (`Event.WhenSlow`). Streams are not asked for items beyond half of it. Default 1 MiB.
   */
  readonly maxUnsent: number
  /** Characters of a message, bytes of a binary one; a longer one is answered with status 413. Default 65,536. */
  readonly maxMessage: number
}

/**
 * The default limits.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultLimits: Limits = { maxInFlight: 128, maxUnsent: 1024 * 1024, maxMessage: 64 * 1024 }

/**
 * The handshake was refused, before the upgrade: the status, and a body in the form of a reply.
 *
 * A client that asked to be told, by offering `Consumer.refusalsSubprotocol`, is upgraded to be sent the body, and closed with
 * `closeCode` and `reason`; nothing of a connection exists for it.
 *
 * @category errors
 * @since 0.1.0
 */
export class HandshakeRefused extends Schema.TaggedError<HandshakeRefused>()("HandshakeRefused", {
  status: Schema.Int,
  body: Schema.String,
  /** The seconds after which the handshake may succeed, where that is known: for `Retry-After`. */
  retryAfter: Schema.optionalKey(Schema.Number)
}) {
  /** What a client that asked to be told is closed with: 4000 + the status. */
  get closeCode(): number {
    // An application may have statuses of its own.
    return this.status >= 0 && this.status < 1000 ? 4000 + this.status : 4500
  }

  /** What is wrong, as the body says it, in so many bytes as fit in a close frame. */
  get reason(): string {
    try {
      const { detail } = JSON.parse(this.body).errors[0]
      return typeof detail === "string" ? cut(detail) : ""
    } catch {
      // An application may have errors of its own.
      return ""
    }
  }
}

/**
 * A connection that may be upgraded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  readonly consumer: Consumer.Any
  readonly scope: ConnectionScope.ConnectionScope["Service"]
  /** The subprotocol that the adapter is to answer: the first one that the client offered and the consumer speaks. */
  readonly subprotocol: string | undefined
  /**
   * Serves the connection until it has ended, however it ends, and releases what it acquired; where the client has gone in the middle
   * of something that is done once for each key (`idempotent: "key"`), when that has come to its end. To be run once; a session
   * that is never run is given up with {@link Session.abandon}.
   */
  readonly run: (transport: Transport.Transport) => Effect.Effect<Transport.Closed>
  /** Releases what the handshake acquired, when the upgrade did not come about. */
  readonly abandon: Effect.Effect<void>
  /**
   * Takes no more messages, ends streams with 503, waits for the replies of what else is in flight for so long, and closes the
   * connection with 1012 (service restart).
   */
  readonly drain: (deadline: Duration.Input) => Effect.Effect<void>
}

/**
 * Consumers by their paths.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pipeline {
  /** Whether a consumer has this path (given with or without its query string). */
  readonly has: (url: string) => boolean
  /**
   * Decides over a handshake: path (404), authentication (401, 503), connect permission (403); then it joins the groups that it
   * joins to begin with (403, 503). Fails when it is refused; a check that breaks refuses it with status 500, and is logged.
   */
  readonly connect: (handshake: ConnectionScope.Handshake) => Effect.Effect<Session, HandshakeRefused>
}

/**
 * Counts the decisions over handshakes and messages: the metric `effect_channels_decisions_total`. Its attributes are
 * `consumer`, `action` (`$connect` for handshakes, empty where the consumer or a route decided before there was an action),
 * `phase`, `outcome` (`allow`, `deny`, `failed`) and `check`, the one that denied or broke.
 *
 * @category metrics
 * @since 0.1.0
 */
export const decisions: Metric.Counter<number> = Observe.decisions

/**
 * Counts what becomes of events for each of their recipients: the metric `effect_channels_deliveries_total`. Its attributes are
 * `consumer`, `event` and `outcome`: `sent`; `denied` and `failed` by the permissions; `dropped_newest`, `dropped_oldest`,
 * `superseded` and `disconnected` by what the event says of clients that do not read fast enough (`Event.WhenSlow`).
 *
 * @category metrics
 * @since 0.1.0
 */
export const deliveries: Metric.Counter<number> = Observe.deliveries

/**
 * Makes a pipeline of consumers with their handlers, which decides its connections anew on `Authority.invalidate` as long as
 * the scope is open. Fails when two of them can have the same path.
 *
 * Whether somebody looks at decisions is asked once, when the layer of a consumer's handlers is built: where the minimum log
 * level is `Debug` then, each decision is logged with its whole expression; where a tracer is there, each handshake and message
 * has a span that carries it, and that the spans of its handler are below.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<const Consumers extends ReadonlyArray<Consumer.Any>>(
  consumers: Consumers,
  limits: Limits = defaultLimits
): Effect.fn.Return<Pipeline, Handlers.DefinitionError, Handlers.Live<Consumers[number]["name"]> | Scope.Scope> {
  const router = new Path.Router<compile.Consumer>()
  const layers = new Set<ChannelLayer["Service"]>()
  for (const [i, consumer] of consumers.entries()) {
    const other = consumers.slice(0, i).find((other) =>
      other.name === consumer.name || Path.isAmbiguous(other.path.split("/"), consumer.path.split("/"))
    )
    if (other !== undefined) return yield* clash(consumer, other)
    const compiled = yield* Handlers.Live(consumer.name as Consumers[number]["name"])
    const problems = misplaced(yield* Effect.context<never>(), compiled.context)
    if (problems.length > 0) return yield* new Handlers.DefinitionError({ consumer: consumer.name, problems })
    if (compiled.layer !== undefined) layers.add(compiled.layer)
    router.add(consumer.path, compiled)
  }
  const registry = new Registry(yield* Effect.context<never>())
  const authority = yield* Authority.Authority
  yield* authority.subscribe((target) => registry.invalidate(target))
  for (const layer of layers) yield* layer.subscribe((signal) => registry.signal(signal))
  yield* Effect.addFinalizer(() => Effect.sync(() => registry.stop()))
  return {
    has: (url) => router.find(ConnectionScope.pathOf(url)) !== undefined,
    connect: (handshake) => connect(router, registry, handshake, limits)
  }
})

/** References that the server has and the handlers do not: they would be silently without effect. */
const misplaced = (server: Context.Context<never>, handlers: Context.Context<never>): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const outermost = "provide it outermost, to what serves and to the handlers"
  if (Context.get(server, Authority.Authority) !== Context.get(handlers, Authority.Authority)) {
    problems.push(`its handlers have another Authority than the server, which would not hear from them: ${outermost}`)
  }
  const settings = Context.getOrUndefined(server, Settings.Settings)
  if (settings !== undefined && settings !== Context.get(handlers, Settings.Settings)) {
    problems.push(`the server has Settings that its handlers do not have, by which they are decided: ${outermost}`)
  }
  const store = Context.getOrUndefined(server, Throttle.Store)
  if (store !== undefined && store !== Context.get(handlers, Throttle.Store)) {
    problems.push(`the server has a Throttle.Store that its handlers do not have, which count with it: ${outermost}`)
  }
  const outcomes = Context.getOrUndefined(server, Idempotency.Store)
  if (outcomes !== undefined && outcomes !== Context.get(handlers, Idempotency.Store)) {
    problems.push(
      `the server has an Idempotency.Store that its handlers do not have, whose outcomes it remembers: ${outermost}`
    )
  }
  const layer = Context.getOrUndefined(server as Context.Context<ChannelLayer>, ChannelLayer)
  const other = Context.getOrUndefined(handlers as Context.Context<ChannelLayer>, ChannelLayer)
  if (layer !== undefined && other !== undefined && layer !== other) {
    problems.push(
      `the server has another ChannelLayer than its handlers, which hold their groups in theirs: ${outermost}`
    )
  }
  return problems
}

const clash = (a: Consumer.Any, b: Consumer.Any) =>
  new Handlers.DefinitionError({
    consumer: a.name,
    problems: [
      a.name === b.name
        ? "another consumer of this server has the same name"
        : `its path "${a.path}" and the path "${b.path}" of the consumer "${b.name}" can match the same URL`
    ]
  })

const connect = Effect.fnUntraced(function*(
  router: Path.Router<compile.Consumer>,
  registry: Registry,
  handshake: ConnectionScope.Handshake,
  limits: Limits
): Effect.fn.Return<Session, HandshakeRefused> {
  const match = router.find(ConnectionScope.pathOf(handshake.url))
  const params = match === undefined ? undefined : yield* paramsOf(match)
  if (match === undefined || params === undefined) {
    return yield* refusal(Reply.refused(new ChannelError.RouteNotFound({ message: "There is nothing here" })))
  }
  const consumer = match.value
  const standing = new Standing(consumer, ConnectionScope.make(handshake, params), yield* Scope.make())
  const joining = registry.join()
  return yield* Effect.uninterruptibleMask((restore) =>
    restore(Effect.catchCause(identify(standing, joining), (cause) => refusalOf(consumer, cause))).pipe(
      // In one step: no news passes between the handshake and the connection.
      Effect.map(() => {
        registry.joined(joining)
        const isBinary = subprotocolOf(consumer.consumer, standing.scope) === binarySubprotocol
        const connection = new Connection(standing, params, limits, registry, isBinary ? binary : Wire.json)
        if (joining.hasMissed(standing)) connection.invalidate()
        return connection
      }),
      Effect.onExit((exit) => {
        if (exit._tag === "Success") return Effect.void
        registry.joined(joining)
        return Scope.close(standing.lifetime, exit)
      }),
      Effect.tap((connection) =>
        Effect.onExit(
          restore(Effect.catchCause(connection.join, (cause) => refusalOf(consumer, cause))),
          (exit) => exit._tag === "Success" ? Effect.void : connection.abandon
        )
      ),
      Effect.map((connection) => new ConnectedSession(connection))
    )
  )
})

const paramsOf = ({ params, value }: Path.Match<compile.Consumer>) =>
  Effect.sync(() => decodeParams(value.params, params, noParams)).pipe(
    Effect.catchCause((cause) => refusalOf(value, cause))
  )

const noParams: Readonly<Record<string, unknown>> = Object.freeze({})

/** Authenticates and decides the permission to connect: by the facts as they are when it is done. */
const identify = Effect.fnUntraced(function*(standing: Standing, joining: Joining): Effect.fn.Return<void, unknown> {
  const { consumer, scope } = standing
  const recorder = consumer.observer.record("$connect")
  yield* standing.identify(recorder).pipe(
    Effect.andThen(Effect.gen(function*() {
      while (joining.hasMissed(standing)) {
        standing.forget()
        yield* standing.refresh(recorder)
      }
    })),
    Effect.ensuring(Effect.suspend(() =>
      recorder === undefined
        ? Effect.void
        : Effect.provideContext(recorder.end(scope.id) ?? Effect.void, standing.context)
    ))
  )
})

const refusalOf = (consumer: compile.Consumer, cause: Cause.Cause<unknown>): Effect.Effect<never, HandshakeRefused> => {
  const failure = failureOf(cause)
  const refused = (failure: Reply.Failure) => {
    const broken: Array<Cause.Cause<unknown>> = failure._tag === "Defect" ? [failure.cause] : []
    const error = refusal(failure, consumer.formatError, (cause) => broken.push(cause))
    const log = (cause: Cause.Cause<unknown>) =>
      Effect.logError(`The handshake of "${consumer.consumer.name}" broke`, cause)
    return Effect.andThen(Effect.forEach(broken, log), error)
  }
  return Effect.isEffect(failure)
    ? Effect.flatMap(failure as Effect.Effect<Reply.Failure>, refused)
    : refused(failure)
}

/** The refusal of a handshake: its body has the form of a reply. */
const refusal = (
  failure: Reply.Failure,
  format: (failure: Reply.Failure) => ReadonlyArray<unknown> = Reply.formatError,
  broken: (cause: Cause.Cause<unknown>) => void = constVoid,
  retryAfter?: number
): HandshakeRefused => {
  const errors = errorsOf(format, failure, broken)
  const body = Envelope.write(Envelope.nothing, failure.status, errors, "null")
  const isThrottled = failure._tag === "Refused" && failure.error._tag === "Throttled"
  const wait = isThrottled ? failure.error.retryAfter : retryAfter
  return new HandshakeRefused({
    status: failure.status,
    body,
    ...(wait === undefined ? {} : { retryAfter: wait })
  })
}

/**
 * The refusal of a handshake that broke: status 500.
 *
 * @category constants
 * @since 0.1.0
 */
export const broken: HandshakeRefused = refusal(Reply.defect(Cause.empty))

/**
 * The refusal that an adapter answers a handshake with for a reason of its own. It always has the shape of `Reply.formatError`.
 * `retryAfter` are the seconds after which the handshake may succeed: they stand in the body too, as `retry_after`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refuse = (
  error: ChannelError.ChannelError,
  options: { readonly retryAfter?: number | undefined } = {}
): HandshakeRefused => {
  const { retryAfter } = options
  if (retryAfter === undefined) return refusal(Reply.refused(error))
  const format = (failure: Reply.Failure) =>
    Reply.formatError(failure).map((error) => ({ ...error, retry_after: retryAfter }))
  return refusal(Reply.refused(error), format, constVoid, retryAfter)
}

/** The first one that the client offers among those that the consumer speaks. */
const subprotocolOf = (
  consumer: Consumer.Any,
  scope: ConnectionScope.ConnectionScope["Service"]
): string | undefined => scope.subprotocols.find((name) => consumer.subprotocols.includes(name))

class ConnectedSession implements Session {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }
  get consumer(): Consumer.Any {
    return this.#connection.consumer.consumer
  }
  get scope(): ConnectionScope.ConnectionScope["Service"] {
    return this.#connection.standing.scope
  }
  get subprotocol(): string | undefined {
    return subprotocolOf(this.consumer, this.scope)
  }
  get abandon(): Effect.Effect<void> {
    return this.#connection.abandon
  }
  run(transport: Transport.Transport): Effect.Effect<Transport.Closed> {
    return this.#connection.run(transport)
  }
  drain(deadline: Duration.Input): Effect.Effect<void> {
    return Effect.andThen(
      // In a fiber of its own, which can be interrupted where this one cannot, and is not where this one has been.
      Effect.forkDetach(Effect.timeoutOption(this.#connection.stop, deadline), { startImmediately: true }).pipe(
        Effect.flatMap(Fiber.await)
      ),
      Effect.sync(() => this.#connection.close(1012, "The server is restarting"))
    )
  }
}
