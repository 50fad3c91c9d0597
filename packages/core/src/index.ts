// @barrel: Auto-generated exports. Do not edit manually.

/**
 * A named operation: what it takes, what it answers with, how it can fail, and who may ask for it.
 *
 * @since 0.1.0
 */
export * as Action from "./Action.ts"

/**
 * Who is behind a connection.
 *
 * An application names its identity with {@link Service}, and says with a layer how a handshake is turned into one. The
 * identity is found out once, before the connection is upgraded, and comes from the handshake only, never from a message.
 * A connection without credentials is anonymous; invalid credentials refuse the handshake with status 401.
 *
 * @since 0.1.0
 */
export * as Authentication from "./Authentication.ts"

/**
 * The errors which effect-channels itself raises, each with the status and code that a client sees.
 *
 * A declared error of an action is any other `Schema` error; its status is its `httpApiStatus` annotation.
 *
 * @since 0.1.0
 */
export * as ChannelError from "./ChannelError.ts"

/**
 * What is known of a connection from its handshake.
 *
 * @since 0.1.0
 */
export * as ConnectionScope from "./ConnectionScope.ts"

/**
 * The API behind one WebSocket path: a plain value, composed of actions, routes and permissions.
 *
 * @since 0.1.0
 */
export * as Consumer from "./Consumer.ts"

/**
 * What a permission comes to in one phase: Allow, Deny or Pending, and Failed where a check broke.
 *
 * Values combine as in Kleene's strong three-valued logic (S. C. Kleene, Introduction to Metamathematics, §64), with
 * Pending as the unknown that a later phase resolves, and Failed as an unknown that nothing resolves any more. So a
 * failure never turns into Allow, under `not` neither, and never hides an answer that holds whatever the failed check
 * would have said: `or(allow, failed)` is Allow, `and(deny, failed)` is Deny, everything else that depends on the failed
 * check is Failed. (Where a failed and a pending check stand in one expression it may be Pending first, and Failed after the
 * last phase: neither allows.)
 *
 * @since 0.1.0
 */
export * as Decision from "./Decision.ts"

/**
 * The handlers of a consumer's actions, composed with `pipe` and checked against the consumer: a missing or surplus
 * handler, a wrong payload or result, or an error that was not declared does not compile.
 *
 * **Example** (A consumer and its handlers)
 *
 * ```ts
 * import { Action, Consumer, Handlers } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * const greet = Action.make("greet", { payload: { name: Schema.String }, success: Schema.String })
 * const Greeter = Consumer.make("greeter", { path: "/ws/" }).pipe(Consumer.add(greet))
 *
 * const GreeterLive = Consumer.handlers(Greeter).pipe(
 *   Handlers.handle("greet", ({ payload }) => Effect.succeed(`Hello ${payload.name}`)),
 *   Handlers.toLayer
 * )
 * ```
 *
 * @since 0.1.0
 */
export * as Handlers from "./Handlers.ts"

/**
 * Who may do what: a boolean expression over named checks, which can be printed, explained, tested, and decided phase by
 * phase.
 *
 * | check | may look at | decided |
 * | --- | --- | --- |
 * | {@link connection} | scope, identity | once per connection |
 * | {@link action} | + action, route, params | on every message, before the payload is decoded |
 * | {@link object} | + payload, the object | after the object is loaded, before the handler runs |
 * | {@link delivery} | the recipient's scope and identity, the event | for each recipient of an event |
 *
 * A phase hands what it could not decide, the residual, to the next one. What is still pending after the last phase is
 * denied. See `Decision` for how values combine, and what becomes of a check that fails.
 *
 * @since 0.1.0
 */
export * as Permission from "./Permission.ts"

/**
 * Runs consumers: decides over a handshake, then reads, decides and answers the messages of its connection.
 *
 * An adapter gives it handshakes and transports, see `@effect-channels/node`.
 *
 * @since 0.1.0
 */
export * as Pipeline from "./Pipeline.ts"

/**
 * The query string of a connection's URL or of a message's route, read by name.
 *
 * @since 0.1.0
 */
export * as Query from "./Query.ts"

/**
 * The envelope that answers one request, and the one place where the shape of its errors is made.
 *
 * @since 0.1.0
 */
export * as Reply from "./Reply.ts"

/**
 * A path pattern inside a consumer, with typed params, actions and further routes.
 *
 * @since 0.1.0
 */
export * as Route from "./Route.ts"

/**
 * How the pipeline speaks to one connection. An adapter makes one of what its platform has; {@link fromSocket} makes one of
 * any platform socket, {@link makeMemory} one for tests.
 *
 * @since 0.1.0
 */
export * as Transport from "./Transport.ts"
