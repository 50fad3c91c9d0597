/**
 * The typed client of a consumer in memory.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Client from "../../Client.ts"
import type * as Connector from "../../Connector.ts"
import type * as Consumer from "../../Consumer.ts"
import type * as Handlers from "../../Handlers.ts"
import type * as Pipeline from "../../Pipeline.ts"
import * as Transport from "../../Transport.ts"
import { refusalsSubprotocol } from "../subprotocols.ts"
import { type Acting, nextId, serve } from "./connect.ts"

/**
 * How a typed client in memory is made, besides what every client says.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientOptions {
  /** Whom its connections act as; nobody by default. {@link layerAuthentication} must be what authenticates. */
  readonly as?: Acting | ReadonlyArray<Acting> | undefined
  /** Request headers by lower-case name. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly remoteAddress?: string | undefined
}

/** What a client may be told of where it connects to; in memory there is nothing to tell. */
type Options<Params, R> = ClientOptions & Client.Options<Params, R>

/**
 * Makes the typed client of a consumer, over connections in memory: `Client.make` without a server. Its handshakes are decided, its
 * frames encoded, and its connections end as real ones do, by the clock of the test.
 *
 * **Example** (A test of what users of the client see)
 *
 * ```ts
 * import { Action, Consumer, Handlers } from "@effect-channels/core"
 * import * as Testing from "@effect-channels/core/testing"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * const hello = Action.make("hello", { payload: { name: Schema.String }, success: Schema.String })
 * const Hello = Consumer.make("hello", { path: "/ws/" }).pipe(Consumer.add(hello))
 * const HelloLive = Consumer.handlers(Hello).pipe(
 *   Handlers.handle("hello", ({ payload }) => Effect.succeed(`Hello ${payload.name}`)),
 *   Handlers.toLayer
 * )
 *
 * const test = Effect.gen(function*() {
 *   const client = yield* Testing.client(Hello)
 *   const greeting = yield* client.hello({ name: "Alice" }) // "Hello Alice"
 *   return greeting
 * }).pipe(Effect.provide(HelloLive))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const client = <Name extends string, Params, M, Needs, R, R2 = never>(
  consumer: Consumer.Consumer<Name, Params, M, Needs, R>,
  ...args: {} extends Options<Params, R2> ? [options?: Options<Params, R2>] : [options: Options<Params, R2>]
): Effect.Effect<
  Client.Client<M>,
  Handlers.DefinitionError,
  Client.Services<M> | R2 | Handlers.Live<Name> | Scope.Scope
> =>
  Effect.gen(function*() {
    const options: Options<unknown, R2> | undefined = args[0]
    const connector = yield* connect(consumer, options ?? {})
    return yield* Client.make(consumer as never, { url: "ws://in-memory", connector, ...options } as never)
  }) as never

export const connect = Effect.fnUntraced(function*(consumer: Consumer.Any, options: ClientOptions) {
  const { connect } = yield* serve(consumer, options.as)
  return {
    open: ({ protocols, url }) =>
      // As with any other one, whoever begins to listen at once hears all that comes.
      Effect.andThen(
        Effect.yieldNow,
        connect({
          id: nextId(),
          url: url.replace(/^[a-z]+:\/\/[^/]*/, ""),
          headers: { ...options.headers, "sec-websocket-protocol": protocols.join(", ") },
          remoteAddress: options.remoteAddress
        })
      ).pipe(
        Effect.flatMap((session) => Effect.map(serving(session), (peer) => linkOf(peer, session.subprotocol ?? ""))),
        Effect.catchTag("HandshakeRefused", (refusal) => Effect.succeed(refused(refusal)))
      )
  } satisfies Connector.Connector
})

const serving = Effect.fnUntraced(function*(session: Pipeline.Session) {
  const [transport, peer] = yield* Transport.makeMemory
  yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
  return peer
})

const linkOf = (peer: Transport.MemoryPeer, protocol: string): Connector.Link => ({
  protocol,
  run: (receive) =>
    Effect.flatMap(
      Effect.exit(Effect.forever(Effect.map(peer.takeFrame, receive))),
      () => peer.closed
    ),
  send: (frame) => Effect.runFork(peer.send(frame)),
  close: (code, reason) => Effect.runFork(peer.close(code, reason))
})

/** As a server tells a client that wants to know. */
const refused = ({ body, status }: Pipeline.HandshakeRefused): Connector.Link => ({
  protocol: refusalsSubprotocol,
  run: (receive) =>
    Effect.sync(() => {
      receive(body)
      return { code: 4000 + status, reason: "" }
    }),
  send: () => {},
  close: () => {}
})
