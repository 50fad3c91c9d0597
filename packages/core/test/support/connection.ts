/**
 * The client's end of a connection: what the tests of the pipeline speak through.
 */
import { type Consumer, type Handlers, Pipeline, type Reply, Transport } from "@effect-channels/core"
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"

/** The pipeline of a server with these consumers. */
export const serve = <const Consumers extends ReadonlyArray<Consumer.Any>, E>(
  consumers: Consumers,
  layer: Layer.Layer<Handlers.Live<Consumers[number]["name"]>, E>,
  limits?: Partial<Pipeline.Limits>
): Effect.Effect<Pipeline.Pipeline, E | Handlers.DefinitionError, Scope.Scope> =>
  Effect.flatMap(
    Layer.build(layer),
    (context) => Effect.provideContext(Pipeline.make(consumers, { ...Pipeline.defaultLimits, ...limits }), context)
  )

/** A connection, from the client's side. */
export interface Client {
  readonly session: Pipeline.Session
  readonly peer: Transport.MemoryPeer
  /** Serves the connection. */
  readonly fiber: Fiber.Fiber<Transport.Closed>
  /** Sends requests in one batch; one that is no string is sent as JSON. */
  readonly send: (...requests: ReadonlyArray<unknown>) => Effect.Effect<void>
  /** The next frame; dies when the server is done without having sent one. */
  readonly nextText: Effect.Effect<string>
  /** The next frame, read as a reply. */
  readonly next: Effect.Effect<Reply.Reply>
  /** So many frames, read as replies. */
  readonly take: (count: number) => Effect.Effect<ReadonlyArray<Reply.Reply>>
  /** Sends a request, and takes the next frame. */
  readonly ask: (request: unknown) => Effect.Effect<Reply.Reply>
  /** The same, as text. */
  readonly askText: (request: unknown) => Effect.Effect<string>
  /** Fails when there is another frame. */
  readonly silent: Effect.Effect<void>
  /** The client goes away; completes when the server has let go of the connection. */
  readonly leave: Effect.Effect<void>
}

/** Lets everything run that can run without time going on. */
export const settle: Effect.Effect<void> = Effect.gen(function*() {
  for (let i = 0; i < 50; i++) yield* Effect.yieldNow
})

/** What becomes of an effect without time going on: none when it waits. */
export const soon = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Option.Option<A>, E, R> =>
  Effect.raceFirst(Effect.map(effect, Option.some), Effect.as(settle, Option.none()))

/** Connects, and serves the connection until the test has ended. */
export const open = Effect.fnUntraced(function*(
  pipeline: Pipeline.Pipeline,
  url = "/ws/",
  id = "1"
): Effect.fn.Return<Client, Pipeline.HandshakeRefused, Scope.Scope> {
  const session = yield* pipeline.connect({ id, url })
  const [transport, peer] = yield* Transport.makeMemory
  const fiber = yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
  return clientOf(session, peer, fiber)
})

const clientOf = (
  session: Pipeline.Session,
  peer: Transport.MemoryPeer,
  fiber: Fiber.Fiber<Transport.Closed>
): Client => {
  const send = (...requests: ReadonlyArray<unknown>) => peer.send(...requests.map(frameOf))
  const nextText = soon(peer.take).pipe(
    Effect.catch((closed) => Effect.die(new Error(`the connection ended with ${closed.code} instead of a frame`))),
    Effect.map(Option.getOrThrowWith(() => new Error("there is no frame")))
  )
  const next = Effect.map(nextText, parse)
  return {
    session,
    peer,
    fiber,
    send,
    nextText,
    next,
    take: (count) => Effect.replicateEffect(next, count),
    ask: (request) => Effect.andThen(send(request), next),
    askText: (request) => Effect.andThen(send(request), nextText),
    silent: Effect.flatMap(
      soon(Effect.result(peer.take)),
      (frame) => Effect.sync(() => assert.deepStrictEqual(frame, Option.none()))
    ),
    leave: Effect.andThen(peer.close(), Effect.asVoid(soon(peer.closed)))
  }
}

const frameOf = (request: unknown): string | Uint8Array =>
  typeof request === "string" || request instanceof Uint8Array ? request : JSON.stringify(request)

const parse = (text: string): Reply.Reply => JSON.parse(text)

/** What a test looks at of a log entry. */
export interface LogEntry {
  readonly level: string
  readonly message: string
  readonly cause: string
  readonly annotations: Readonly<Record<string, unknown>>
}

/** Runs a test with a record of what is logged in it. */
export const withLogs = <A, E, R>(
  test: (logs: ReadonlyArray<LogEntry>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const logs: Array<LogEntry> = []
    const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
      logs.push({
        level: logLevel,
        message: Array.isArray(message) ? message.join(" ") : String(message),
        cause: Cause.pretty(cause),
        annotations: fiber.getRef(References.CurrentLogAnnotations)
      })
    })
    return Effect.provide(test(logs), Logger.layer([logger]))
  })
