/**
 * Connections in memory: a consumer as its clients see it, without a server.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { flow } from "effect/Function"
import type * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Authentication from "../../Authentication.ts"
import * as ChannelError from "../../ChannelError.ts"
import type { ConnectionScope, Handshake } from "../../ConnectionScope.ts"
import type * as Consumer from "../../Consumer.ts"
import type * as Event from "../../Event.ts"
import * as Handlers from "../../Handlers.ts"
import * as Idempotency from "../../Idempotency.ts"
import type * as Permission from "../../Permission.ts"
import * as Pipeline from "../../Pipeline.ts"
import type * as Reply from "../../Reply.ts"
import * as Throttle from "../../Throttle.ts"
import * as Transport from "../../Transport.ts"
import { itemStatus } from "../answers.ts"
import type * as compile from "../compile.ts"
import * as Endpoints from "../endpoints.ts"

/**
 * Somebody to act as in a test: the identity that an identity service is to have.
 *
 * @category models
 * @since 0.1.0
 */
export interface Acting {
  readonly service: string
  readonly identity: Authentication.Identity<unknown>
}

/**
 * Somebody to act as.
 *
 * **Example** (Alice, whose credentials expire in an hour of the test's clock)
 *
 * ```ts
 * import { Authentication } from "@effect-channels/core"
 * import * as Testing from "@effect-channels/core/testing"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("app/CurrentUser") {}
 *
 * const alice = Testing.as(CurrentUser, { name: "alice" }, { expiresAt: 3_600_000 })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const as = <Self, A>(
  service: Authentication.ServiceKey<Self, A>,
  user: A,
  options?: { readonly expiresAt?: number | undefined }
): Acting => ({ service: service.key, identity: Authentication.authenticated(user, options) })

/**
 * Nobody in particular.
 *
 * @category constructors
 * @since 0.1.0
 */
export const anonymous: ReadonlyArray<Acting> = []

/** Whom the connection that is being made acts as, and which of them somebody has asked for. */
const Actors = Context.Reference<{ readonly actors: ReadonlyArray<Acting>; readonly asked: Set<string> }>(
  "effect-channels/testing/Actors",
  { defaultValue: () => ({ actors: [], asked: new Set() }) }
)

/** Whom a connection is to act as from the next decision on. */
const successors = new WeakMap<ConnectionScope["Service"], ReadonlyArray<Acting>>()

const listOf = (actors: Acting | ReadonlyArray<Acting> | undefined): ReadonlyArray<Acting> =>
  [actors ?? []].flat() as ReadonlyArray<Acting>

/**
 * Authenticates a connection of {@link connect} as whom it acts as, instead of by credentials. When its authority is
 * invalidated, it is whom it has {@link Client.become}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerAuthentication = <Self, A>(service: {
  readonly key: string
  layer(scheme: Authentication.Scheme<A>): Layer.Layer<Authentication.Authenticator<Self>>
}): Layer.Layer<Authentication.Authenticator<Self>> => {
  const among = (actors: ReadonlyArray<Acting>): Authentication.Identity<A> => {
    const acting = actors.find((one) => one.service === service.key)
    return (acting?.identity ?? Authentication.anonymous) as Authentication.Identity<A>
  }
  return service.layer({
    authenticate: () =>
      Effect.map(Actors, ({ actors, asked }) => {
        asked.add(service.key)
        return among(actors)
      }),
    refresh: (identity, scope) =>
      Effect.suspend(() => {
        const actors = successors.get(scope)
        const found = actors === undefined ? identity : among(actors)
        return found._tag === "Authenticated"
          ? Effect.succeed(found)
          : Effect.fail(new ChannelError.InvalidCredentials())
      })
  })
}

/**
 * How a test connects.
 *
 * @category models
 * @since 0.1.0
 */
export type Options<Params> =
  & {
    /** Whom the connection acts as; nobody by default. {@link layerAuthentication} must be what authenticates. */
    readonly as?: Acting | ReadonlyArray<Acting> | undefined
    /** The query string of the URL: `token=x`. */
    readonly query?: string | undefined
    /** Request headers by lower-case name. */
    readonly headers?: Readonly<Record<string, string>> | undefined
    readonly remoteAddress?: string | undefined
    /** The id of the connection; each has its own by default. */
    readonly id?: string | undefined
  }
  & Part<"params", Params>

/** A part of a request: it may be left out where there is nothing to say. */
type Part<Name extends string, Value> = undefined extends Value ? { readonly [K in Name]?: Value }
  : {} extends Value ? { readonly [K in Name]?: Value }
  : { readonly [K in Name]: Value }

/**
 * What a test says of a request, besides its route and action.
 *
 * @category models
 * @since 0.1.0
 */
export type Request<E extends Handlers.AnyEndpoint, Outer> = E["request"] extends
  Handlers.Request<infer Payload, infer Params, infer Fields> ?
    & Part<"payload", Payload>
    & Part<"fields", Fields>
    & Part<"params", Omit<Params, keyof Outer>>
    & { readonly query?: string | undefined }
  : never

type Arguments<R> = {} extends R ? [request?: R] : [request: R]

type Find<E, Path, Name, Stream = false> = Extract<
  E,
  { readonly route: Path; readonly name: Name; readonly stream: Stream }
>

/**
 * What came back for a request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer<out A> extends Decided {
  readonly status: number
  /** The decoded success; `undefined` where there is none. */
  readonly data: A | undefined
  readonly errors: ReadonlyArray<Reply.ReplyError>
  /** As it stood on the wire. */
  readonly reply: Reply.Reply
}

/**
 * A stream did not come to its end: what came back instead of the end, or instead of all of it. It can be given to
 * `expectDenied`.
 *
 * @category errors
 * @since 0.1.0
 */
export class Refused extends Data.TaggedError("Refused")<Answer<never>> {
  override get message() {
    return `The stream ended with ${this.status}: ${this.errors.map(({ detail }) => detail).join("; ")}`
  }
}

/**
 * What was decided.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decided {
  /** `undefined` where nothing guards. */
  readonly outcome: "Allow" | "Deny" | "Failed" | undefined
  /** The check that denied or broke, `""` for none. */
  readonly check: string
  /** The permissions that were decided, with what each of their checks said. */
  readonly explanations: ReadonlyArray<Permission.Explanation>
}

/**
 * The client's end of a connection to a consumer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Client<E extends Handlers.AnyEndpoint, Outer, Events extends Event.Any = never> {
  readonly scope: ConnectionScope["Service"]
  /**
   * Sends a request and waits for its reply: the action's name, for one of a route after the route's pattern. Fails when the
   * connection ends instead.
   */
  readonly ask: {
    <const Name extends Find<E, "", string>["name"]>(
      name: Name,
      ...request: Arguments<Request<Find<E, "", Name>, Outer>>
    ): Effect.Effect<Answer<Find<E, "", Name>["success"]>, Transport.Closed>
    <const Path extends E["route"], const Name extends Find<E, Path, string>["name"]>(
      route: Path,
      name: Name,
      ...request: Arguments<Request<Find<E, Path, Name>, Outer>>
    ): Effect.Effect<Answer<Find<E, Path, Name>["success"]>, Transport.Closed>
  }
  /**
   * Sends a request for a stream each time that it is run, and gives its items, decoded. Fails with {@link Refused} when the server
   * answers with errors, and as {@link ask} does when the connection ends. Whoever does not take it to its end cancels it
   * (`$cancel`), and has the server's answer to that when its scope has closed. Items are read off the connection whether they are
   * taken or not: what becomes of a client that does not read is no matter of it.
   */
  readonly stream: {
    <const Name extends Find<E, "", string, true>["name"]>(
      name: Name,
      ...request: Arguments<Request<Find<E, "", Name, true>, Outer>>
    ): Stream.Stream<Find<E, "", Name, true>["success"], Refused | Transport.Closed>
    <const Path extends E["route"], const Name extends Find<E, Path, string, true>["name"]>(
      route: Path,
      name: Name,
      ...request: Arguments<Request<Find<E, Path, Name, true>, Outer>>
    ): Stream.Stream<Find<E, Path, Name, true>["success"], Refused | Transport.Closed>
  }
  /** Sends anything: a string and bytes as they are, everything else as JSON. */
  readonly send: (...frames: ReadonlyArray<unknown>) => Effect.Effect<void>
  /** The next frame that answers no {@link ask} or {@link stream}, parsed. Fails when the connection ends instead. */
  readonly receive: Effect.Effect<unknown, Transport.Closed>
  /**
   * The data of the next event of this type, decoded; other frames are left to {@link receive}. Fails when the connection ends
   * instead.
   */
  readonly next: <One extends Events>(event: One) => Effect.Effect<One["data"]["Type"], Transport.Closed>
  /**
   * Changes whom the connection acts as, as if the facts about them had changed: by the next `Authority.invalidate`. Where its
   * identity service has a `key`, it can only be the same user.
   */
  readonly become: (as: Acting | ReadonlyArray<Acting>) => Effect.Effect<void>
  /** How the connection ended. */
  readonly closed: Effect.Effect<Transport.Closed>
  /** Closes the connection from the client's side. */
  readonly close: (code?: number, reason?: string) => Effect.Effect<void>
}

let connections = 0

/**
 * Connects to a consumer in memory; the connection lives as long as the scope. It is decided, and ends, as a real one does, by
 * the clock of the test. Throttles count together on all connections of one build of the consumer's layer, where no store is
 * provided; so are outcomes remembered that are done once for each key. Fails when the handshake is refused.
 *
 * **Example** (A test)
 *
 * ```ts
 * import { Action, Authentication, Consumer, Handlers, Permission } from "@effect-channels/core"
 * import * as Testing from "@effect-channels/core/testing"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Schema from "effect/Schema"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("app/CurrentUser") {}
 *
 * const isAuthenticated = Permission.isAuthenticated(CurrentUser)
 * const hello = Action.make("hello", { success: Schema.String }).pipe(Action.permit(isAuthenticated))
 * const Hello = Consumer.make("hello", { path: "/ws/" }).pipe(Consumer.add(hello))
 * const HelloLive = Consumer.handlers(Hello).pipe(
 *   Handlers.handle("hello", () => CurrentUser.use(({ name }) => `Hello ${name}`)),
 *   Handlers.toLayer
 * )
 *
 * const test = Effect.gen(function*() {
 *   const alice = yield* Testing.connect(Hello, { as: Testing.as(CurrentUser, { name: "alice" }) })
 *   const answer = yield* alice.ask("hello")
 *   yield* Testing.expectAllowed(answer) // answer.data === "Hello alice"
 *   const nobody = yield* Testing.connect(Hello)
 *   yield* Testing.expectDenied(yield* nobody.ask("hello"), isAuthenticated)
 * }).pipe(Effect.provide(Layer.provide(HelloLive, Testing.layerAuthentication(CurrentUser))))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const connect = <Name extends string, Params, Members, Needs, R>(
  consumer: Consumer.Consumer<Name, Params, Members, Needs, R>,
  ...args: Arguments<Options<Params>>
): Effect.Effect<
  Client<
    Handlers.Endpoints<Members, "", Params>,
    Params,
    Consumer.EventsOf<Consumer.Consumer<Name, Params, Members, Needs, R>>
  >,
  Pipeline.HandshakeRefused | Handlers.DefinitionError,
  Handlers.Live<Name> | Scope.Scope
> =>
  Effect.gen(function*() {
    const options: Partial<Options<unknown>> = args[0] ?? {}
    const { compiled, connect } = yield* serve(consumer, options.as)
    const path = yield* Endpoints.path(consumer.path, consumer.params, options.params ?? {})
    const id = options.id ?? nextId()
    const records = new Map<string | number, Decided>()
    const off = compiled.observer.listen((record) => {
      if (record.connection === id && record.requestId !== undefined) records.set(record.requestId, record)
    })
    yield* Effect.addFinalizer(() => Effect.sync(off))
    const session = yield* connect({
      id,
      url: options.query === undefined ? path : `${path}?${options.query}`,
      headers: options.headers,
      remoteAddress: options.remoteAddress
    })
    const [transport, peer] = yield* Transport.makeMemory
    yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
    return yield* makeClient(consumer, compiled.context, session.scope, peer, records)
  }) as never

/** The id of a connection that is given none. */
export const nextId = (): string => `test-${++connections}`

/** Decides over handshakes to a consumer, by whoever acts. */
export const serve = Effect.fnUntraced(function*(consumer: Consumer.Any, acting: Options<unknown>["as"]) {
  const compiled = forTest(yield* Handlers.Live(consumer.name))
  const pipeline = yield* Effect.provideService(Pipeline.make([consumer]), Handlers.Live(consumer.name), compiled)
  const actors = listOf(acting)
  const connect = (handshake: Handshake): Effect.Effect<Pipeline.Session, Pipeline.HandshakeRefused> => {
    const asked = new Set<string>()
    return Effect.onExit(
      Effect.provideService(pipeline.connect(handshake), Actors, { actors, asked }),
      () => {
        const unknown = actors.find(({ service }) => !asked.has(service))
        return unknown === undefined ? Effect.void : Effect.die(
          new Error(
            `Nobody asks who "${unknown.service}" is: provide Testing.layerAuthentication to the handlers of "${consumer.name}"`
          )
        )
      }
    )
  }
  return { compiled, connect }
})

const forTests = new WeakMap<compile.Consumer, compile.Consumer>()

/** The stores that a process shares would carry counts and outcomes from one test to the next. */
const forTest = (consumer: compile.Consumer): compile.Consumer => {
  let isolated = forTests.get(consumer)
  if (isolated === undefined) {
    const context = Context.mergeAll(
      Context.make(Throttle.Store, Throttle.makeMemory()),
      Context.make(Idempotency.Store, Idempotency.makeMemory()),
      consumer.context
    )
    forTests.set(consumer, isolated = { ...consumer, context })
  }
  return isolated
}

const makeClient = Effect.fnUntraced(function*(
  consumer: Consumer.Any,
  services: Context.Context<never>,
  scope: ConnectionScope["Service"],
  peer: Transport.MemoryPeer,
  records: Map<string | number, Decided>
): Effect.fn.Return<Client<Handlers.AnyEndpoint, unknown, Event.Any>, never, Scope.Scope> {
  const endpoints = Endpoints.all(consumer)
  const asked = new Map<unknown, Queue.Queue<Reply.Reply, Transport.Closed>>()
  const others = new Frames()
  let lastId = 0

  const read = Effect.gen(function*() {
    while (true) {
      const frame = JSON.parse(yield* peer.take)
      const waiting = asked.get(frame?.request_id)
      if (waiting === undefined) others.take(frame)
      else Queue.offerUnsafe(waiting, frame)
    }
  })
  yield* Effect.forkScoped(
    Effect.catch(read, (closed) =>
      Effect.sync(() => {
        asked.forEach((waiting) => Queue.failCauseUnsafe(waiting, Cause.fail(closed)))
        others.end(closed)
      })),
    { startImmediately: true }
  )

  const send = (...frames: ReadonlyArray<unknown>) =>
    peer.send(
      ...frames.map((frame) => typeof frame === "string" || frame instanceof Uint8Array ? frame : JSON.stringify(frame))
    )

  /** Sends a request with an id of its own, as long as the scope is open; what comes back for it is in the queue. */
  const request = Effect.fnUntraced(function*(message: object) {
    const id = `test-${++lastId}`
    const replies = yield* Queue.unbounded<Reply.Reply, Transport.Closed>()
    yield* Effect.acquireRelease(
      Effect.sync(() => asked.set(id, replies)),
      () => Effect.sync(() => asked.delete(id))
    )
    yield* send({ ...message, request_id: id })
    // Whoever asks after the end learns of it as well.
    if (others.closed !== undefined) Queue.failCauseUnsafe(replies, Cause.fail(others.closed))
    return { id, replies }
  })

  const encode = Effect.fnUntraced(function*(args: ReadonlyArray<unknown>) {
    const [pattern, name, parts = {}] = typeof args[1] === "string" ? args : ["", ...args]
    const endpoint = endpoints.find((one) => one.route === pattern && one.action.name === name)
    if (endpoint === undefined) {
      return yield* Effect.die(
        new Error(`There is no action "${name}" of the route "${pattern}" in "${consumer.name}"`)
      )
    }
    return { endpoint, message: yield* Endpoints.encode(endpoint, parts as Endpoints.Parts) }
  })

  const answerOf = <A>(id: string, reply: Reply.Reply, data: A): Answer<A> => {
    const decided = records.get(id)
    records.delete(id)
    return {
      outcome: decided?.outcome,
      check: decided?.check ?? "",
      explanations: decided?.explanations ?? [],
      status: reply.status,
      data,
      errors: reply.errors as ReadonlyArray<Reply.ReplyError>,
      reply
    }
  }

  const ask = Effect.fnUntraced(function*(...args: ReadonlyArray<unknown>) {
    const { endpoint, message } = yield* encode(args)
    const { id, replies } = yield* request(message)
    const reply = yield* Queue.take(replies)
    return answerOf(id, reply, reply.status < 400 ? yield* Endpoints.decodeSuccess(endpoint, reply.data) : undefined)
  }, flow(Effect.scoped, Effect.provideContext(services)))

  const cancel = (id: string) =>
    request({ action: "$cancel", data: { request_id: id } }).pipe(
      Effect.flatMap(({ replies }) => Queue.take(replies)),
      Effect.ignore,
      Effect.scoped
    )

  const stream = (...args: ReadonlyArray<unknown>) =>
    Stream.unwrap(Effect.gen(function*() {
      const { endpoint, message } = yield* encode(args)
      const { id, replies } = yield* request(message)
      let isOver = false
      yield* Effect.addFinalizer(() => isOver ? Effect.void : cancel(id))
      type Next = Effect.Effect<unknown, Refused | Cause.Done>
      const next = Effect.flatMap(Queue.take(replies), (reply): Next => {
        if (reply.status === itemStatus) return Endpoints.decodeSuccess(endpoint, reply.data)
        isOver = true
        const answer = answerOf(id, reply, undefined)
        return reply.status < 400 ? Cause.done() : Effect.fail(new Refused(answer))
      })
      return Stream.fromEffectRepeat(next)
    })).pipe(Stream.provideContext(services))

  return {
    scope,
    ask: ask as never,
    stream: stream as never,
    send,
    receive: others.next(() => true),
    next: (event) =>
      Effect.flatMap(
        others.next((frame) => (frame as { readonly type?: unknown } | null)?.type === event.type),
        (frame) =>
          Effect.provideContext(Endpoints.decodeEvent(event, (frame as { readonly data: unknown }).data), services)
      ) as never,
    become: (actors) => Effect.sync(() => void successors.set(scope, listOf(actors))),
    closed: peer.closed,
    close: peer.close
  }
})

/** The frames that nobody has asked for, until somebody takes them. */
class Frames {
  readonly #held: Array<unknown> = []
  readonly #waiting = new Set<{
    readonly fits: (frame: unknown) => boolean
    readonly resume: (taken: Effect.Effect<unknown, Transport.Closed>) => void
  }>()
  #closed: Transport.Closed | undefined

  /** How the connection ended, when it has. */
  get closed(): Transport.Closed | undefined {
    return this.#closed
  }

  take(frame: unknown): void {
    for (const one of this.#waiting) {
      if (!one.fits(frame)) continue
      this.#waiting.delete(one)
      return one.resume(Effect.succeed(frame))
    }
    this.#held.push(frame)
  }

  end(closed: Transport.Closed): void {
    this.#closed = closed
    for (const { resume } of this.#waiting) resume(Effect.fail(closed))
    this.#waiting.clear()
  }

  /** The next frame that fits. */
  next(fits: (frame: unknown) => boolean): Effect.Effect<unknown, Transport.Closed> {
    return Effect.callback<unknown, Transport.Closed>((resume) => {
      const found = this.#held.findIndex(fits)
      if (found >= 0) return resume(Effect.succeed(this.#held.splice(found, 1)[0]))
      if (this.#closed !== undefined) return resume(Effect.fail(this.#closed))
      const one = { fits, resume }
      this.#waiting.add(one)
      return Effect.sync(() => void this.#waiting.delete(one))
    })
  }
}
