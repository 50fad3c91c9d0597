/**
 * The typed client of a consumer, made of its contract alone: in Node from version 22 on, in pages and in workers.
 *
 * Every action is a function, typed by its payload, its success and the errors that it can fail with; every event is a `Stream`.
 * The client connects when it is first used, and again whenever the connection is lost: then it joins its groups where it was, is
 * sent what it has missed, and says so.
 *
 * **Example** (A room)
 *
 * ```ts
 * import { Action, Client, Consumer, Event, Group } from "@effect-channels/core"
 * import * as Console from "effect/Console"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 * import * as Stream from "effect/Stream"
 *
 * const Room = Group.make("room", { room: Schema.String }).pipe(Group.history({ count: 100, age: "1 hour" }))
 * const Posted = Event.make("posted", Schema.Struct({ text: Schema.String }))
 * const post = Action.make("post", { payload: { text: Schema.NonEmptyString }, success: Posted.data }).pipe(
 *   Action.broadcast(Room, Posted)
 * )
 * const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/" }).pipe(
 *   Consumer.join(Room, ({ params }) => ({ room: params.room })),
 *   Consumer.push(Posted),
 *   Consumer.add(post)
 * )
 *
 * const program = Effect.gen(function*() {
 *   const chat = yield* Client.make(Chat, { url: "wss://chat.example.com", params: { room: "lobby" } })
 *   yield* chat.events("posted").pipe(
 *     Stream.runForEach(({ text }) => Console.log(text)),
 *     Effect.forkScoped
 *   )
 *   yield* chat.post({ text: "Hello" }).pipe(
 *     Effect.catchTag("PermissionDenied", ({ message }) => Console.log(`You may not: ${message}`))
 *   )
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Action from "./Action.ts"
import type { CallError, ConnectionRefused, HearError } from "./ClientError.ts"
import type * as Codec from "./Codec.ts"
import type * as Connector from "./Connector.ts"
import type * as Consumer from "./Consumer.ts"
import type * as Event from "./Event.ts"
import type * as Group from "./Group.ts"
import * as internal from "./internal/client/client.ts"
import type * as Route from "./Route.ts"

// ---- what a client is made with

/**
 * What a client presents to say who it is, and how long that holds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Credentials {
  readonly token: string
  /**
   * When they expire, in milliseconds since 1970. Before that the client asks for newer ones, and renews its connection with them
   * (`$authenticate`); without it, the server closes the connection when they have expired, and the client connects anew.
   */
  readonly expiresAt?: number | undefined
  /** Where they stand in the handshake: as the server's `Credentials.subprotocol()`, by default, or `Credentials.query(name)` reads them. */
  readonly in?: { readonly subprotocol: string } | { readonly query: string } | undefined
  /** The key of the identity service, where a server has several that can be renewed. */
  readonly identity?: string | undefined
}

/**
 * How a client connects, and calls.
 *
 * @category models
 * @since 0.1.0
 */
export type Options<Params = {}, R = never> =
  & {
    /**
     * Where the server is: `wss://example.com`, to which the path of the consumer is added. In a page by default where the page
     * comes from.
     */
    readonly url?: string | undefined
    /** Further parameters of the query string. */
    readonly query?: Readonly<Record<string, string>> | undefined
    /**
     * Who the client is, asked anew for each attempt to connect. None are needed where a cookie says it, or nobody asks. A failure is
     * a failed attempt, after which the client tries again; one with `ChannelError.InvalidCredentials` ends it, as if the server
     * had refused.
     */
    readonly credentials?: Effect.Effect<Credentials, unknown, R> | undefined
    /** Whether it connects at once (`eager`), or when it is first used. Default `lazy`. */
    readonly connect?: "eager" | "lazy" | undefined
    /**
     * Where the events of groups with a history begin, when the client connects first: with those that are new (`new`), or all that
     * is kept (`kept`). Default `new`.
     */
    readonly from?: "new" | "kept" | undefined
    /** How long a call waits for its answer, by default; then it is cancelled. Streams may last. Default 60 seconds. */
    readonly timeout?: Duration.Input | undefined
    /**
     * So many calls may wait, in order, while there is no connection and none is being made. Default 0: they fail with
     * `ConnectionLost`.
     */
    readonly queue?: number | undefined
    /** How long it waits before it tries again. */
    readonly reconnect?: Reconnect | undefined
    /** How it notices that nobody is there any more; `false` turns it off. */
    readonly heartbeat?: Heartbeat | false | undefined
    /** The codec that it would rather speak than JSON: `BinaryCodec.codec`. The server chooses. */
    readonly codec?: Codec.Codec | undefined
    /** How it comes to a connection. Default `Connector.webSocket`. */
    readonly connector?: Connector.Connector | undefined
  }
  & ({} extends Params ? { readonly params?: Params | undefined } : { readonly params: Params })

/**
 * How long a client waits before it connects again: a random time up to a bound, which doubles with each attempt that fails (full
 * jitter), so that the clients of a server that restarts do not come back all at once. A server that says how long it takes is
 * given that time, an hour at most.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reconnect {
  /** The bound before the first attempt. Default 250 milliseconds. */
  readonly min?: Duration.Input | undefined
  /** The bound is not higher than this. Default 30 seconds. */
  readonly max?: Duration.Input | undefined
  /** An attempt may take so long. Default 15 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * How a client notices that nobody is there any more: when it has heard nothing for a while it asks for a sign of life.
 *
 * @category models
 * @since 0.1.0
 */
export interface Heartbeat {
  /** It asks after so long a silence. Default 25 seconds. */
  readonly interval?: Duration.Input | undefined
  /** It gives the connection up after so long. Default 10 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * How a stream is asked for.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamOptions {
  /** The query string of the route. */
  readonly query?: string | Readonly<Record<string, string>> | undefined
}

/**
 * How one call is made.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallOptions extends StreamOptions {
  /** How long it waits for its answer; by default as the client says. */
  readonly timeout?: Duration.Input | undefined
  /**
   * Names the call for the server, where the action is `idempotent: "key"`: it is done once, however often it is sent over connections
   * that are lost. By default each run of the effect is a call with a key of its own: who retries or repeats it gives one.
   */
  readonly idempotencyKey?: string | undefined
}

// ---- the state of the connection

/**
 * How it stands with the connection.
 *
 * - `Idle`: nobody has asked for it yet, or it was given up by `disconnect`.
 * - `Connecting`: an attempt is made, the `attempt`-th in a row.
 * - `Connected`: calls are answered.
 * - `Waiting`: for the next attempt, in `delay` milliseconds; `reason` says what became of the last one.
 * - `Refused`: the server does not want it. The client does not try again, until it is told to `connect`.
 *
 * @category models
 * @since 0.1.0
 */
export type Status =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Connecting"; readonly attempt: number }
  | { readonly _tag: "Connected"; readonly subprotocol: string }
  | { readonly _tag: "Waiting"; readonly attempt: number; readonly delay: number; readonly reason: string }
  | { readonly _tag: "Refused"; readonly error: ConnectionRefused }

// ---- what is heard

/**
 * A member of a group with presence.
 *
 * @category models
 * @since 0.1.0
 */
export interface Present<out A> {
  /** The id of the connection. */
  readonly id: string
  readonly data: A
}

/**
 * Everything that a client hears without asking, in order.
 *
 * - `Connected`: there is a connection; where it `isAgain`, events that are of no group with a history may have been missed.
 * - `Fresh`, `Resumed`, `Gap`: it is in a group with a history or presence. It has not been there before; it has, and is sent all
 *   that it has missed; it has, and not all that it has missed is kept.
 * - `Event`: an event, with its position where it has one.
 * - `CaughtUp`: it has been sent all that it has missed: what follows is new.
 * - `Presence`: who has come to a group, and gone.
 * - `Left`: it is no longer in a group, as it may not be.
 * - `Disconnected`: the connection is lost.
 *
 * @category models
 * @since 0.1.0
 */
export type Heard<E extends Event.Any, G extends Group.Any> =
  | { readonly _tag: "Connected"; readonly isAgain: boolean }
  | { readonly _tag: "Disconnected"; readonly reason: string }
  | EventHeard<E>
  | GroupHeard<G>

type EventHeard<E extends Event.Any> = E extends Event.Any ? {
    readonly _tag: "Event"
    readonly type: E["type"]
    readonly data: E["data"]["Type"]
    readonly status: number
    /** Its position in the history of its group. */
    readonly id: string | undefined
  }
  : never

type GroupHeard<G extends Group.Any> = G extends Group.Any ?
    | (
      & { readonly _tag: "Fresh" | "Resumed" | "Gap" }
      & Of<G>
      & { readonly present: ReadonlyArray<Present<Group.PresenceOf<G>>> }
    )
    | ({ readonly _tag: "CaughtUp" } & Of<G>)
    | (
      & { readonly _tag: "Presence" }
      & Of<G>
      & {
        readonly joined: ReadonlyArray<Present<Group.PresenceOf<G>>>
        readonly left: ReadonlyArray<Present<Group.PresenceOf<G>>>
      }
    )
    | ({ readonly _tag: "Left" } & Of<G> & { readonly error: CallError })
  : never

interface Of<G extends Group.Any> {
  readonly group: G["name"]
  readonly params: Group.ParamsOf<G>
}

/**
 * What waits for a stream that is not read as fast as events come.
 *
 * @category models
 * @since 0.1.0
 */
export interface BufferOptions {
  /** So many may wait; without bound by default. */
  readonly capacity: number
  /** Which ones are dropped beyond that: those that come (`dropping`) or those that have waited longest (`sliding`). */
  readonly strategy: "dropping" | "sliding"
}

// ---- calls

type PayloadOf<P extends Schema.Constraint> = P extends { readonly "~type.optionality": "optional" }
  ? P["~type.make.in"] | undefined
  : P["~type.make.in"]

type OptionsOf<F extends Schema.Constraint, O> = [F] extends [Schema.Void] ? O
  : {} extends F["~type.make.in"] ? O & { readonly fields?: F["~type.make.in"] | undefined }
  : O & { readonly fields: F["~type.make.in"] }

/** What has nothing to say may be left out. */
type Arguments<P extends Schema.Constraint, F extends Schema.Constraint, O> = {} extends OptionsOf<F, O>
  ? [P] extends [Schema.Void] ? [payload?: undefined, options?: OptionsOf<F, O>]
  : undefined extends PayloadOf<P> ? [payload?: PayloadOf<P>, options?: OptionsOf<F, O>]
  : {} extends PayloadOf<P> ? [payload?: PayloadOf<P>, options?: OptionsOf<F, O>]
  : [payload: PayloadOf<P>, options?: OptionsOf<F, O>]
  : [payload: [P] extends [Schema.Void] ? undefined : PayloadOf<P>, options: OptionsOf<F, O>]

/**
 * An action as a function. One that is answered with a stream gives a `Stream`; one that is not answered succeeds when it is sent.
 *
 * @category models
 * @since 0.1.0
 */
export type Call<A> = A extends
  Action.Action<infer _N, infer P, infer F, infer S, infer E, infer _O, infer _Needs, infer _R, infer Stream>
  ? Stream extends true ? (...args: Arguments<P, F, StreamOptions>) => Stream.Stream<S["Type"], E["Type"] | CallError>
  : (
    ...args: Arguments<P, F, CallOptions>
  ) => Effect.Effect<A extends Action.Silent ? void : S["Type"], E["Type"] | CallError>
  : never

/**
 * The actions of a consumer or route as functions, by their names.
 *
 * @category models
 * @since 0.1.0
 */
export type Calls<Members> = { readonly [A in Extract<Members, Action.Any> as A["name"]]: Call<A> }

/** A route with the patterns of those that it is in, its parameters and members. */
interface Place<out Path extends string, out Params, out Members> {
  readonly path: Path
  readonly params: Params
  readonly members: Members
}

type Places<Members, Path extends string = "", Params = {}> = Members extends
  Route.Route<infer Tail, infer Own, infer Inner, infer _Needs, infer _R>
  ? Place<`${Path}${Tail}`, Params & Own, Inner> | Places<Inner, `${Path}${Tail}`, Params & Own>
  : never

type AllPlaces<Members> = Place<"", {}, Members> | Places<Members>

type At<Members, Path> = Extract<AllPlaces<Members>, { readonly path: Path }>

type ParamsAt<P> = P extends Place<string, infer Params, infer _M> ? {} extends Params ? [params?: Params]
  : [params: { readonly [K in keyof Params]: Params[K] }]
  : never

type EventsIn<Members> = Members extends Consumer.Pushes<infer E> ? E : never

type GroupsIn<Members> = Members extends Consumer.Declares<infer G> ? G : never

type DataOf<Members, Type> = Extract<EventsIn<Members>, { readonly type: Type }>["data"]["Type"]

/**
 * What a client needs of its surroundings: what the schemas of its consumer need.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<M> = M extends
  Action.Action<infer _N, infer P, infer F, infer S, infer E, infer _O, infer _Needs, infer _R, infer _Stream>
  ? P["EncodingServices"] | F["EncodingServices"] | S["DecodingServices"] | E["DecodingServices"]
  : M extends Route.Route<infer _Path, infer _Params, infer Inner, infer _Needs, infer _R> ? Services<Inner>
  : M extends Consumer.Pushes<infer E> ? E["data"]["DecodingServices"]
  : never

// ---- the client

/**
 * What every client has, besides the actions of its consumer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Members<M> {
  /** The actions of a route, with its parameters; of the consumer itself, where the route is `""`. */
  readonly at: <const Path extends AllPlaces<M>["path"]>(
    route: Path,
    ...params: ParamsAt<At<M, Path>>
  ) => Calls<At<M, Path>["members"]>
  /**
   * The data of all events of a type, from when the stream is run; over all connections. Two streams run by themselves: each has all
   * of them. It ends with `ConnectionRefused` where the client is not wanted; whoever lets it `connect` again runs the stream again.
   */
  readonly events: <const Type extends EventsIn<M>["type"]>(
    type: Type,
    buffer?: BufferOptions
  ) => Stream.Stream<DataOf<M, Type>, HearError>
  /** Everything that is heard without asking, in order. */
  readonly heard: Stream.Stream<Heard<EventsIn<M>, GroupsIn<M>>, HearError>
  /**
   * Who is in a group with presence, each time that this changes, and at first as far as it is known: nobody while there is no
   * connection. The parameters may be left out where the client is in one group of this name.
   */
  readonly presence: <G extends PresentGroups<M>>(
    group: G,
    params?: Group.ParamsOf<G>
  ) => Stream.Stream<ReadonlyArray<Present<Group.PresenceOf<G>>>, HearError>
  /**
   * The position in the history of a group up to which everything has been heard, for an action that joins it (the option `after`
   * of `Membership.join`); `undefined` where there is none. The groups that a connection joins by itself need it not.
   */
  readonly position: <G extends GroupsIn<M>>(group: G, params: Group.ParamsOf<G>) => Effect.Effect<string | undefined>
  /** How it stands with the connection. */
  readonly status: Effect.Effect<Status>
  /** How it stands with the connection: as it is when the stream is run, and each time that this changes. */
  readonly statuses: Stream.Stream<Status>
  /**
   * Connects, at once if it waits for the next attempt, and also where it was refused before; succeeds when there is a connection.
   */
  readonly connect: Effect.Effect<void, ConnectionRefused>
  /** Ends the connection, and stays without one until it is told to `connect`. */
  readonly disconnect: Effect.Effect<void>
  /**
   * Does something now, and again on each later connection before anything else is sent, as long as the scope is open: for actions
   * that have the connection join a group, or say what it is interested in. A failure of a later time is logged. The effect must not
   * wait for the connection itself: there is none before it is done.
   *
   * **Example** (Follow a document)
   *
   * ```ts
   * import { Action, Client, Consumer } from "@effect-channels/core"
   * import * as Effect from "effect/Effect"
   * import * as Schema from "effect/Schema"
   *
   * const follow = Action.make("follow", { payload: { id: Schema.Int } })
   * const Documents = Consumer.make("documents", { path: "/ws/" }).pipe(Consumer.add(follow))
   *
   * const program = Effect.gen(function*() {
   *   const documents = yield* Client.make(Documents, { url: "wss://example.com" })
   *   yield* documents.onConnect(documents.follow({ id: 7 }))
   * })
   * ```
   */
  readonly onConnect: <E, R>(effect: Effect.Effect<unknown, E, R>) => Effect.Effect<void, E, R | Scope.Scope>
  /** The same client for code that is not on Effect. */
  readonly promise: Promises<M>
}

type PresentGroups<M> = GroupsIn<M> extends infer G extends Group.Any
  ? G extends Group.Any ? [Group.PresenceOf<G>] extends [never] ? never : G : never
  : never

/** These would be taken for something else: a promise, or the parts of every object. */
type Unsafe = "then" | "constructor" | "toString" | "toJSON"

/**
 * The client of a consumer with these members: its actions by their names, besides what every client has ({@link Members}). An
 * action whose name is one of those is found with `at("")`.
 *
 * @category models
 * @since 0.1.0
 */
export type Client<M> = Members<M> & Omit<Calls<M>, keyof Members<unknown> | Unsafe>

/**
 * A {@link Client} for code that is not on Effect: what is an effect there is a promise here, which is rejected with the same
 * errors, and what is a stream is an async iterable.
 *
 * @category models
 * @since 0.1.0
 */
export type Promises<M> = PromiseMembers<M> & Omit<PromiseCalls<M>, keyof PromiseMembers<unknown> | Unsafe>

/**
 * What every client has, for code that is not on Effect.
 *
 * @category models
 * @since 0.1.0
 */
export interface PromiseMembers<M> {
  readonly at: <const Path extends AllPlaces<M>["path"]>(
    route: Path,
    ...params: ParamsAt<At<M, Path>>
  ) => PromiseCalls<At<M, Path>["members"]>
  readonly events: <const Type extends EventsIn<M>["type"]>(
    type: Type,
    buffer?: BufferOptions
  ) => AsyncIterable<DataOf<M, Type>>
  readonly heard: AsyncIterable<Heard<EventsIn<M>, GroupsIn<M>>>
  readonly presence: <G extends PresentGroups<M>>(
    group: G,
    params?: Group.ParamsOf<G>
  ) => AsyncIterable<ReadonlyArray<Present<Group.PresenceOf<G>>>>
  readonly statuses: AsyncIterable<Status>
  readonly connect: () => Promise<void>
  readonly disconnect: () => Promise<void>
}

/** The `AbortSignal` of the platform. */
type AbortSignal = typeof globalThis extends { readonly AbortSignal: { readonly prototype: infer Signal } } ? Signal
  : unknown

/** The arguments of a call, of which the last may say when it is not waited for any more. */
type Abortable<Args> = Args extends [payload: infer P, options: infer O]
  ? [payload: P, options: O & { readonly signal?: AbortSignal | undefined }]
  : Args extends [payload: infer P, options?: infer O]
    ? [payload: P, options?: O & { readonly signal?: AbortSignal | undefined }]
  : Args extends [payload?: infer P, options?: infer O]
    ? [payload?: P, options?: O & { readonly signal?: AbortSignal | undefined }]
  : never

/**
 * The actions of a consumer or route, for code that is not on Effect.
 *
 * @category models
 * @since 0.1.0
 */
export type PromiseCalls<M> = {
  readonly [A in Extract<M, Action.Any> as A["name"]]: Call<A> extends (...args: infer Args) => infer Answer
    ? Answer extends Effect.Effect<infer S, infer _E, infer _R> ? (...args: Abortable<Args>) => Promise<S>
    : Answer extends Stream.Stream<infer S, infer _E, infer _R> ? (...args: Args) => AsyncIterable<S>
    : never
    : never
}

/**
 * Makes the client of a consumer. It lives as long as the scope; whoever connects to nothing costs nothing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: <Name extends string, Params, M, Needs, R, R2 = never>(
  consumer: Consumer.Consumer<Name, Params, M, Needs, R>,
  ...options: {} extends Options<Params, R2> ? [options?: Options<Params, R2>] : [options: Options<Params, R2>]
) => Effect.Effect<Client<M>, never, Services<M> | R2 | Scope.Scope> = internal.make as never

/**
 * Makes the client of a consumer for code that is not on Effect. It lives until it is closed.
 *
 * **Example** (In a page)
 *
 * ```ts
 * import { Action, Client, Consumer } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * const hello = Action.make("hello", { success: Schema.String })
 * const Hello = Consumer.make("hello", { path: "/ws/" }).pipe(Consumer.add(hello))
 *
 * const show = async () => {
 *   const client = Client.makePromise(Hello, { url: "wss://example.com" })
 *   document.title = await client.hello()
 *   await client.close()
 * }
 *
 * declare const document: { title: string }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makePromise: <Name extends string, Params, M, Needs, R>(
  consumer: Consumer.Consumer<Name, Params, M, Needs, R>,
  ...options: {} extends Options<Params> ? [options?: Options<Params>] : [options: Options<Params>]
) => [Services<M>] extends [never] ? Promises<M> & { readonly close: () => Promise<void> }
  : "the schemas of this consumer need services: use Client.make" = internal.makePromise as never
