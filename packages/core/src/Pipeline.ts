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
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as ChannelError from "./ChannelError.ts"
import * as ConnectionScope from "./ConnectionScope.ts"
import type * as Consumer from "./Consumer.ts"
import * as Decision from "./Decision.ts"
import * as Handlers from "./Handlers.ts"
import type * as compile from "./internal/compile.ts"
import * as Connection from "./internal/connection.ts"
import { decide } from "./internal/decide.ts"
import * as Envelope from "./internal/envelope.ts"
import { decodeParams, deniedBy } from "./internal/exchange.ts"
import { errorsOf, failureOf } from "./internal/failure.ts"
import * as Path from "./internal/path.ts"
import * as Permission from "./Permission.ts"
import * as Reply from "./Reply.ts"
import type * as Transport from "./Transport.ts"

/**
 * What one connection may ask of the server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  /** Requests of a connection that run or wait; one more is answered with status 503. Default 128. */
  readonly maxInFlight: number
  /**
   * Bytes that wait to be sent on a connection (what is not encoded yet counts by characters); beyond it nothing more is read from the connection, and none of its
   * messages is started, until they have left. Default 1 MiB.
   */
  readonly maxUnsent: number
  /** Characters of a message; a longer one is answered with status 413. Default 65,536. */
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
 * @category errors
 * @since 0.1.0
 */
export class HandshakeRefused extends Schema.TaggedError<HandshakeRefused>()("HandshakeRefused", {
  status: Schema.Int,
  body: Schema.String
}) {}

/**
 * A connection that may be upgraded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  readonly consumer: Consumer.Any
  readonly scope: ConnectionScope.ConnectionScope["Service"]
  /**
   * Serves the connection until it has ended, however it ends, and releases what it acquired. To be run once; a session
   * that is never run is given up with {@link Session.abandon}.
   */
  readonly run: (transport: Transport.Transport) => Effect.Effect<Transport.Closed>
  /** Releases what the handshake acquired, when the upgrade did not come about. */
  readonly abandon: Effect.Effect<void>
  /**
   * Takes no more messages, waits for the replies of those in flight for so long, and closes the connection with 1012
   * (service restart).
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
   * Decides over a handshake: path (404), authentication (401, 503), connect permission (403). Fails when it is refused;
   * a check that breaks refuses it with status 500, and is logged.
   */
  readonly connect: (handshake: ConnectionScope.Handshake) => Effect.Effect<Session, HandshakeRefused>
}

/**
 * Makes a pipeline of consumers with their handlers. Fails when two of them can have the same path.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<const Consumers extends ReadonlyArray<Consumer.Any>>(
  consumers: Consumers,
  limits: Limits = defaultLimits
): Effect.fn.Return<Pipeline, Handlers.DefinitionError, Handlers.Live<Consumers[number]["name"]>> {
  const router = new Path.Router<compile.Consumer>()
  for (const [i, consumer] of consumers.entries()) {
    const other = consumers.slice(0, i).find((other) =>
      other.name === consumer.name || Path.isAmbiguous(other.path.split("/"), consumer.path.split("/"))
    )
    if (other !== undefined) return yield* clash(consumer, other)
    router.add(consumer.path, yield* Handlers.Live(consumer.name as Consumers[number]["name"]))
  }
  return {
    has: (url) => router.find(ConnectionScope.pathOf(url)) !== undefined,
    connect: (handshake) => connect(router, handshake, limits)
  }
})

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
  handshake: ConnectionScope.Handshake,
  limits: Limits
): Effect.fn.Return<Session, HandshakeRefused> {
  const match = router.find(ConnectionScope.pathOf(handshake.url))
  const params = match === undefined ? undefined : yield* paramsOf(match)
  if (match === undefined || params === undefined) {
    return yield* refusal(Reply.refused(new ChannelError.RouteNotFound({ message: "There is nothing here" })))
  }
  const consumer = match.value
  const scope = ConnectionScope.make(handshake, params)
  const lifetime = yield* Scope.make()
  const known = consumer.connectPermission === Permission.allow ? undefined : new Connection.Known()
  const context = yield* identify(consumer, scope, lifetime, known).pipe(
    Effect.onExit((exit) => exit._tag === "Success" ? Effect.void : Scope.close(lifetime, exit))
  )
  return new ConnectedSession(scope, new Connection.Connection(consumer, params, context, lifetime, limits, known))
})

const paramsOf = ({ params, value }: Path.Match<compile.Consumer>) =>
  Effect.sync(() => decodeParams(value.params, params, noParams)).pipe(
    Effect.catchCause((cause) => refusalOf(value, cause))
  )

const noParams: Readonly<Record<string, unknown>> = Object.freeze({})

/** Authenticates, checks the connect permission, and gives the services of the connection. */
const identify = Effect.fnUntraced(
  function*(
    consumer: compile.Consumer,
    scope: ConnectionScope.ConnectionScope["Service"],
    lifetime: Scope.Closeable,
    known: Connection.Known | undefined
  ): Effect.fn.Return<Context.Context<never>, unknown> {
    let context = consumer.context.pipe(
      Context.add(ConnectionScope.ConnectionScope, scope),
      Context.add(Scope.Scope, lifetime),
      Context.add(References.CurrentLogAnnotations, {
        ...Context.get(consumer.context, References.CurrentLogAnnotations),
        connection: scope.id,
        consumer: consumer.consumer.name
      })
    )
    for (const { authenticate, identity } of consumer.authenticators) {
      const found = yield* Effect.provideService(authenticate(scope), Scope.Scope, lifetime)
      context = Context.add(context, identity, found) as typeof context
    }
    const { tree } = consumer.connectPermission
    const decided = decide(tree, { phase: "connection" }, known)
    const decision = Decision.conclude(
      yield* Effect.provideContext(decided as Effect.Effect<Decision.Decision>, context)
    )
    if (decision._tag === "Deny") return yield* deniedBy(decision.denial)
    if (decision._tag === "Failed") return yield* Effect.failCause(decision.cause)
    return context
  },
  (effect, consumer) => Effect.catchCause(effect, (cause) => refusalOf(consumer, cause))
)

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
  broken: (cause: Cause.Cause<unknown>) => void = constVoid
): HandshakeRefused => {
  const errors = errorsOf(format, failure, broken)
  const body = Envelope.write(Envelope.nothing, failure.status, errors, "null")
  return new HandshakeRefused({ status: failure.status, body })
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
 *
 * @category constructors
 * @since 0.1.0
 */
export const refuse = (error: ChannelError.ChannelError): HandshakeRefused => refusal(Reply.refused(error))

class ConnectedSession implements Session {
  readonly scope: ConnectionScope.ConnectionScope["Service"]
  readonly #connection: Connection.Connection

  constructor(scope: ConnectionScope.ConnectionScope["Service"], connection: Connection.Connection) {
    this.scope = scope
    this.#connection = connection
  }
  get consumer(): Consumer.Any {
    return this.#connection.consumer.consumer
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
