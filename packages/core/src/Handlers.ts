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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Inspectable } from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Action from "./Action.ts"
import type * as Authentication from "./Authentication.ts"
import type * as ChannelError from "./ChannelError.ts"
import type { ConnectionScope } from "./ConnectionScope.ts"
import type * as Consumer from "./Consumer.ts"
import * as compile from "./internal/compile.ts"
import * as Value from "./internal/value.ts"
import type * as Membership from "./Membership.ts"
import type { Query } from "./Query.ts"
import type * as Route from "./Route.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Handlers"

/**
 * The handlers of the consumer `Name` so far. `Missing` are the endpoints that are still to be handled, `R` what handlers,
 * permissions and schemas need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handlers<out Name extends string, out Missing, out R> extends Pipeable, Inspectable {
  readonly [TypeId]: { readonly _Name: () => Name; readonly _R: () => R }
  readonly "~missing": Missing
  readonly consumer: Consumer.Any
  readonly handlers: ReadonlyArray<compile.Handler>
  /** What the types could not tell of how they were added. */
  readonly problems: ReadonlyArray<string>
}

/**
 * An action at its place: the full pattern of its route, its name, and what its handler gets and gives. `Stream` is `true`
 * where it gives a stream, of which `Success` is one item.
 *
 * @category models
 * @since 0.1.0
 */
export interface Endpoint<
  out Path extends string,
  out Name extends string,
  out Request,
  out Subject,
  out Success,
  out Error,
  out Stream extends boolean = false
> {
  readonly route: Path
  readonly name: Name
  readonly request: Request
  readonly subject: Subject
  readonly success: Success
  readonly error: Error
  readonly stream: Stream
}

/**
 * Any endpoint.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyEndpoint extends Endpoint<string, string, unknown, unknown, unknown, unknown, boolean> {}

/**
 * What a handler gets to know of a message.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request<out Payload = unknown, out Params = unknown, out Fields = unknown> {
  /** The decoded `data` of the message; `undefined` when the action takes none. */
  readonly payload: Payload
  /** The decoded parameters of the consumer's path and the route's, together. */
  readonly params: Params
  /** The decoded top-level keys of the message beside the protocol's own; `undefined` when the action takes none. */
  readonly fields: Fields
  /** The query string of the route. */
  readonly query: Query
  /** The route as it was sent, without its query string. */
  readonly route: string
  readonly action: string
  readonly requestId: string | number | undefined
}

/**
 * The endpoints of a consumer or route with these members.
 *
 * @category models
 * @since 0.1.0
 */
export type Endpoints<Members, Path extends string, Params> = Members extends
  Action.Action<infer N, infer P, infer F, infer S, infer E, infer O, infer _Needs, infer _R, infer Stream>
  ? Endpoint<Path, N, Request<PayloadOf<P>, Simplify<Params>, F["Type"]>, O, S["Type"], E["Type"], Stream>
  : Members extends Route.Route<infer Tail, infer Own, infer Inner, infer _Needs, infer _R>
    ? Endpoints<Inner, `${Path}${Tail}`, Params & Own>
  : never

/** An optional payload may be left out. */
type PayloadOf<P extends Schema.Constraint> = P extends { readonly "~type.optionality": "optional" }
  ? P["Type"] | undefined
  : P["Type"]

type Simplify<A> = { readonly [K in keyof A]: A[K] } extends infer B ? B : never

/** The endpoints whose permissions look at something that is not there, in words. */
type Unpermitted<Members, Path extends string, Params, Needs, Outer, OuterNeeds> = Members extends
  Action.Action<infer N, infer P, infer _F, infer _S, infer _E, infer O, infer Own, infer _R, infer _Stream>
  ? [Facts<P, O, Params>, Facts<P, O, Outer>] extends [Needs & Own, OuterNeeds] ? never
  : Unnamed<O, Own, Params> extends infer Param extends string
    ? [Param] extends [never]
      ? `The permission of action "${N}" in route "${Path}" looks at an object, payload or params which are not there`
    : Param extends keyof Params
      ? `The parameter "${Param}" in the path of action "${N}" is no key of the object: see Resource.params`
    : `The path of action "${N}" has no parameter "${Param}", which names the object: see Resource.params`
  : never
  : Members extends Route.Route<infer Tail, infer Own, infer Inner, infer Needs2, infer _R>
    ? Unpermitted<Inner, `${Path}${Tail}`, Params & Own, Needs & Needs2, Outer, OuterNeeds>
  : never

/** The parameter that names the object of a resource, where it does not. */
type Unnamed<O, Own, Params> = O extends { readonly "~param": infer Param extends string }
  ? Own extends { readonly params: { readonly [K in Param]: infer Key } }
    ? Params extends { readonly [K in Param]: Key } ? never : Param
  : never
  : never

type Facts<P extends Schema.Constraint, O, Params> =
  & { readonly action: string; readonly params: Simplify<Params>; readonly payload: PayloadOf<P> }
  & O

/**
 * A consumer of which every permission finds what it looks at. The consumer's own is decided before a route is matched: it
 * finds the params of the consumer's path only.
 *
 * @category models
 * @since 0.1.0
 */
export type Permitted<Members, Params, Needs> = [Unpermitted<Members, "", Params, unknown, Params, Needs>] extends
  [never] ? unknown
  : { readonly "not permitted": Unpermitted<Members, "", Params, unknown, Params, Needs> }

type Find<Missing, Path, Name> = Extract<Missing, { readonly route: Path; readonly name: Name }>

/**
 * The handler of an endpoint: a function, or where the action is about an object, how to load the object and a function
 * that gets it. Both may fail with the action's declared errors, and with `ChannelError.Undeclared`. The function answers with
 * an effect, or where the action says `stream: true`, with a stream.
 *
 * `transaction` surrounds both, and what is decided about the object between them; see {@link handle}.
 *
 * @category models
 * @since 0.1.0
 */
export type HandlerOf<E extends AnyEndpoint, R, RObject, RTransaction = never> = E["subject"] extends
  { readonly object: unknown } ?
    & {
      readonly object: (
        request: E["request"]
      ) => Effect.Effect<E["subject"]["object"], E["error"] | ChannelError.Undeclared, RObject>
      readonly run: (request: E["request"] & E["subject"]) => OutcomeOf<E, R>
    }
    & (E["stream"] extends true ? unknown : { readonly transaction?: TransactionOf<E, RTransaction> | undefined })
  : (request: E["request"]) => OutcomeOf<E, R>

/**
 * What does an effect as a whole or not at all: where the effect fails, or is interrupted, nothing of it is kept. It hands on what
 * the effect answers with and fails with, whatever that is, and may fail itself as the handler may.
 *
 * @category models
 * @since 0.1.0
 */
export type TransactionOf<E extends AnyEndpoint, R> = (
  effect: Effect.Effect<Surrounded<"success">, Surrounded<"error">, Surrounded<"services">>
) => Effect.Effect<
  Surrounded<"success">,
  Surrounded<"error"> | E["error"] | ChannelError.Undeclared,
  Surrounded<"services"> | R
>

/**
 * The success, the error or the services of what a transaction surrounds: they are no matter of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Surrounded<out Part extends "success" | "error" | "services"> {
  readonly "~surrounded": Part
}

/**
 * What the handler of an endpoint answers with.
 *
 * @category models
 * @since 0.1.0
 */
export type OutcomeOf<E extends AnyEndpoint, R> = E["stream"] extends true
  ? Stream.Stream<E["success"], E["error"] | ChannelError.Undeclared, R>
  : Effect.Effect<E["success"], E["error"] | ChannelError.Undeclared, R>

/**
 * A consumer with all of its handlers, which a server can serve.
 *
 * @category services
 * @since 0.1.0
 */
export interface Live<in out Name extends string> {
  readonly _: unique symbol
  readonly Name: Name
}

/**
 * The service of a consumer with all of its handlers.
 *
 * @category services
 * @since 0.1.0
 */
export const Live = <const Name extends string>(name: Name): Context.Service<Live<Name>, compile.Consumer> =>
  Context.Service<Live<Name>, compile.Consumer>(`effect-channels/Handlers/Live/${name}`)

/**
 * What must be provided to a consumer's handlers: identity, scope and connection are there for each connection, and the groups
 * that the consumer declares; an authenticator stands for the identity.
 *
 * @category models
 * @since 0.1.0
 */
export type Requirements<R, All = R> = R extends Authentication.AnyService ? Authentication.Authenticator<R>
  : R extends ConnectionScope | Scope.Scope | Membership.Declared<infer _Name> ? never
  : R extends Membership.Membership<infer Name> ? [Extract<All, Membership.Declared<Name>>] extends [never] ? R : never
  : R

/**
 * The consumer cannot be served as it is composed. The message has a line for each problem.
 *
 * @category errors
 * @since 0.1.0
 */
export class DefinitionError extends Schema.TaggedError<DefinitionError>()("DefinitionError", {
  consumer: Schema.String,
  problems: Schema.Array(Schema.String)
}) {
  override get message() {
    return [`The consumer "${this.consumer}" cannot be served:`, ...this.problems.map((line) => `- ${line}`)].join("\n")
  }
}

const proto = Value.prototype<Handlers<string, unknown, unknown>>(TypeId, (self) => ({
  _id: "Handlers",
  consumer: self.consumer.name,
  handlers: self.handlers.map(({ name, route }) => ({ route, name }))
}))

/**
 * Starts the handlers of a consumer: none of its actions is handled yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Name extends string, Params, Members, Needs, R>(
  consumer: Consumer.Consumer<Name, Params, Members, Needs, R> & Permitted<Members, Params, Needs>
): Handlers<Name, Endpoints<Members, "", Params>, R> => Value.make(proto, { consumer, handlers: [], problems: [] })

/**
 * Adds the handler of an action: of the consumer's own by the action's name, of a route's by the full pattern of the route
 * and the action's name.
 *
 * `pipe` takes about twenty steps: a consumer with more actions has its handlers in several pipes, one after the other.
 *
 * A handler runs in the scope of its connection: what it acquires is released when the connection closes; use
 * `Effect.scoped` for what ends with the message. It is interrupted when the client goes away or sends `$cancel`, and when it
 * takes longer than the action's timeout; where it is done once for each key (`idempotent: "key"`, and there is a key), it runs to
 * its end though the client has gone, and what the connection acquired is released after that. A stream releases what it acquired itself when it ends, however it ends.
 *
 * **Example** (An action on an object)
 *
 * ```ts
 * import { Action, Consumer, Handlers, Route } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * const Message = Schema.Struct({ id: Schema.Number, text: Schema.String })
 * const retrieve = Action.make("retrieve", { success: Message }).pipe(Action.object(Message))
 * const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(
 *   Consumer.add(Route.make("messages/:id/", { id: Schema.NumberFromString }).pipe(Route.add(retrieve)))
 * )
 *
 * const ChatLive = Consumer.handlers(Chat).pipe(
 *   Handlers.handle("messages/:id/", "retrieve", {
 *     object: ({ params }) => Effect.succeed({ id: params.id, text: "hi" }),
 *     run: ({ object }) => Effect.succeed(object)
 *   }),
 *   Handlers.toLayer
 * )
 * ```
 *
 * Where the object is written, `transaction` does all of it in one: the object is loaded, the permissions decided that look at it,
 * and the handler run. Whoever is denied, and whatever fails, is interrupted or takes too long, leaves nothing behind. The reply,
 * and what is broadcast, comes after the commit.
 *
 * **Example** (In a transaction)
 *
 * ```ts
 * import { Action, Consumer, Handlers, Repository, Resource } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * class Job extends Schema.Class<Job>("Job")({ id: Schema.Int, state: Schema.Literals(["open", "done"]) }) {}
 * class Jobs extends Repository.Service<Jobs>()("app/Jobs", { schema: Job, key: "id" }) {}
 *
 * const finish = Action.make("finish", {
 *   success: Job,
 *   error: [Repository.NotFound, Repository.Conflict, Repository.StaleVersion]
 * }).pipe(Action.object(Job))
 * const OneJob = Consumer.make("job", { path: "/ws/jobs/:id/", params: { id: Schema.NumberFromString } }).pipe(
 *   Consumer.add(finish)
 * )
 *
 * const OneJobLive = Consumer.handlers(OneJob).pipe(
 *   Handlers.handle("finish", {
 *     object: ({ params }) => Repository.get(Jobs, params.id),
 *     run: ({ object }) => Jobs.use((jobs) => jobs.update(object.id, { state: "done" })),
 *     transaction: (effect) => Jobs.use((jobs) => jobs.transaction(effect))
 *   }),
 *   Handlers.toLayer
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const handle: {
  <
    Missing extends AnyEndpoint,
    R0,
    const Name extends Find<Missing, "", string>["name"],
    R = never,
    RObject = never,
    RTransaction = never
  >(
    name: Name,
    handler: HandlerOf<Find<Missing, "", Name>, R, RObject, RTransaction>
  ): <Consumer extends string>(
    self: Handlers<Consumer, Missing, R0>
  ) => Handlers<
    Consumer,
    Exclude<Missing, { readonly route: ""; readonly name: Name }>,
    R0 | R | RObject | RTransaction
  >
  <
    Missing extends AnyEndpoint,
    R0,
    const Path extends Missing["route"],
    const Name extends Find<Missing, Path, string>["name"],
    R = never,
    RObject = never,
    RTransaction = never
  >(
    route: Path,
    name: Name,
    handler: HandlerOf<Find<Missing, Path, Name>, R, RObject, RTransaction>
  ): <Consumer extends string>(
    self: Handlers<Consumer, Missing, R0>
  ) => Handlers<
    Consumer,
    Exclude<Missing, { readonly route: Path; readonly name: Name }>,
    R0 | R | RObject | RTransaction
  >
} =
  (...args: [name: string, handler: compile.Handle] | [route: string, name: string, handler: compile.Handle]) =>
  (self: Handlers<string, unknown, unknown>): never => {
    const [route, name, handle] = args.length === 2 ? ["", ...args] : args
    return Value.make(proto, { ...self, handlers: [...self.handlers, { route, name, handle }] }) as never
  }

/**
 * Handlers of which none is missing.
 *
 * @category models
 * @since 0.1.0
 */
export type Complete<Missing> = [Missing] extends [never] ? unknown : { readonly "missing handlers": Names<Missing> }

type Names<Missing> = Missing extends { readonly subject: { readonly "~resource": infer Name extends string } }
  ? `resource "${Name}": add Resource.handle`
  : Missing extends Endpoint<infer Path, infer Name, infer _R, infer _S, infer _A, infer _E, infer _Stream>
    ? Path extends "" ? `action "${Name}"` : `action "${Name}" of route "${Path}"`
  : never

/**
 * The layer of a consumer with all of its handlers. What handlers, permissions and schemas need is needed by the layer;
 * the identity becomes its `Authenticator`.
 *
 * Fails with a {@link DefinitionError} when the consumer is composed in a way that cannot be served: two actions of one
 * name, routes that match the same string, an object permission on an action without an object, and the like, as far as
 * the types could not tell.
 *
 * @category layers
 * @since 0.1.0
 */
export const toLayer = <Name extends string, Missing, R>(
  self: Handlers<Name, Missing, R> & Complete<Missing>
): Layer.Layer<Live<Name>, DefinitionError, Requirements<R>> =>
  Layer.effect(
    Live(self.consumer.name as Name),
    Effect.gen(function*() {
      const context = yield* Effect.context<Requirements<R>>()
      const compiled = compile.make(self, context as Context.Context<never>)
      if (Array.isArray(compiled)) {
        return yield* new DefinitionError({ consumer: self.consumer.name, problems: compiled })
      }
      const { starts } = compiled as compile.Consumer
      yield* Effect.forEach(starts, (start) => start, { discard: true })
      return compiled as compile.Consumer
    })
  )
