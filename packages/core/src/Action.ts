/**
 * A named operation: what it takes, what it answers with, how it can fail, and who may ask for it.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import type { Inspectable } from "effect/Inspectable"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Event from "./Event.ts"
import type * as Group from "./Group.ts"
import { both } from "./internal/permit.ts"
import * as Value from "./internal/value.ts"
import * as Permission from "./Permission.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Action"

/**
 * A named operation of a consumer or route.
 *
 * `Payload` and `Fields` are the schemas of what a request carries, `Success` and `Error` those of its outcome. `Subject`
 * is `{ object: O }` for an action on an object of type `O`. `Needs` is what its permission looks at, `R` what its
 * permission and schemas need. `Stream` is `true` where it is answered with a stream, of which `Success` is one item.
 *
 * @category models
 * @since 0.1.0
 */
export interface Action<
  out Name extends string,
  out Payload extends Schema.Constraint = Schema.Void,
  out Fields extends Schema.Constraint = Schema.Void,
  out Success extends Schema.Constraint = Schema.Void,
  out Error extends Schema.Constraint = Schema.Never,
  out Subject = {},
  in Needs = unknown,
  out R = never,
  out Stream extends boolean = false
> extends Pipeable, Inspectable {
  readonly [TypeId]: {
    readonly _Subject: () => Subject
    readonly _Needs: (_: Needs) => void
    readonly _R: () => R
  }
  readonly "~facts": { readonly action: string; readonly params: never; readonly payload: Payload["Type"] } & Subject
  readonly name: Name
  readonly payload: Payload
  readonly fields: Fields
  /** The schema of the reply's `data`; of one item, where it is answered with a stream. */
  readonly success: Success
  /** The declared errors, each with its status in its `httpApiStatus` annotation. */
  readonly errors: ReadonlyArray<Error>
  /** The status of a success; of the end of a stream. */
  readonly status: number
  /** Whether it is answered with a stream. */
  readonly stream: Stream
  /** Whether a request for it may be sent again, and what comes of that. */
  readonly idempotent: Idempotent
  /** The schema of the object that the action is about, if any. */
  readonly object: Schema.Constraint | undefined
  readonly permission: Permission.Any
  readonly concurrency: Concurrency | undefined
  readonly timeout: Duration.Input | undefined
  readonly mode: Mode
}

/**
 * What becomes of a success. A failure is always answered.
 *
 * - `Reply`: the client that asked is answered.
 * - `Broadcast`: the members of a group are sent an event; the client is answered before, or not at all.
 * - `Silent`: nobody hears of it.
 *
 * @category models
 * @since 0.1.0
 */
export type Mode =
  | { readonly _tag: "Reply" }
  | { readonly _tag: "Silent" }
  | {
    readonly _tag: "Broadcast"
    readonly group: Group.Any
    readonly event: Event.Any
    /** Makes the event's data of the success. */
    readonly map: ((success: never) => unknown) | undefined
    readonly reply: boolean
    readonly includeSender: boolean
  }

/**
 * Whether a request may be sent again where its reply was lost, as when the connection is lost that it was waited for on.
 *
 * - `false`: it may not. Nobody knows whether it was done, and to do it twice may be wrong.
 * - `true`: to do it twice is the same as to do it once, as with what only reads. It may be sent again as it is, and is done again,
 *   so that what it answers with is not stale.
 * - `"key"`: it is done once for each key. The request carries a key, the same in all attempts of one call, and the server remembers
 *   what came of the first one: see the module `Idempotency`. Without a key it is as with `false`.
 *
 * @category models
 * @since 0.1.0
 */
export type Idempotent = boolean | "key"

/**
 * How many messages run at once.
 *
 * @category models
 * @since 0.1.0
 */
export type Concurrency = number | "unbounded"

/**
 * Any action.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Pipeable, Inspectable {
  readonly [TypeId]: {
    readonly _Subject: () => unknown
    readonly _Needs: (_: never) => void
    readonly _R: () => unknown
  }
  readonly "~facts": unknown
  readonly name: string
  readonly payload: Schema.Constraint
  readonly fields: Schema.Constraint
  readonly success: Schema.Constraint
  readonly errors: ReadonlyArray<Schema.Constraint>
  readonly status: number
  readonly stream: boolean
  readonly idempotent: Idempotent
  readonly object: Schema.Constraint | undefined
  readonly permission: Permission.Any
  readonly concurrency: Concurrency | undefined
  readonly timeout: Duration.Input | undefined
  readonly mode: Mode
}

/**
 * Any action that is answered with one reply, not with a stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unary extends Any {
  readonly stream: false
}

/**
 * Says in the type of an action that its success is not answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Silent {
  readonly "~silent": true
}

/**
 * What an action's permission and schemas need.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<A> = A extends
  Action<infer _N, infer _P, infer _F, infer _S, infer _E, infer _O, infer _Needs, infer R, infer _Stream> ? R
  : never

/**
 * The same action, with one more permission on it.
 *
 * @category models
 * @since 0.1.0
 */
export type Permitted<A extends Any, Facts, R2> = A extends
  Action<infer N, infer P, infer F, infer S, infer E, infer O, infer Needs, infer R, infer Stream>
  ? Action<N, P, F, S, E, O, Needs & Facts, R | R2, Stream> & (A extends Silent ? Silent : unknown)
  : never

type SchemaOf<S extends Schema.Constraint | Schema.Struct.Fields> = S extends Schema.Constraint ? S
  : S extends Schema.Struct.Fields ? Schema.Struct<S>
  : never

/** The keys of a request that are the protocol's own. */
type Reserved = {
  readonly [K in "action" | "route" | "data" | "request_id"]?: `"${K}" is one of the protocol's own keys`
}

/** Names that an application may give. */
type Unreserved<Name extends string> = Name extends `$${string}` ? "names that begin with \"$\" are the protocol's own"
  : Name

const proto = Value.prototype<Any>(TypeId, (self) => ({
  _id: "Action",
  name: self.name,
  status: self.status,
  object: self.object !== undefined,
  permission: Permission.print(self.permission)
}))

/**
 * Whether a value is an action.
 *
 * @category guards
 * @since 0.1.0
 */
export const isAction = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * Makes an action. Names that begin with `$` are the protocol's own.
 *
 * - `payload`: schema, or fields of a struct, of the request's `data`; without it `data` is ignored. It may be left out
 *   where the schema is optional (`Schema.optionalKey`), or has a default (`Schema.withDecodingDefaultKey`).
 * - `fields`: schema, or fields of a struct, of the request's other top-level keys; without it they are ignored.
 * - `success`: schema of the reply's `data`, `null` without it. `status`: its status, 200 by default.
 * - `error`: schema or schemas of the errors that its handler may fail with, each with the annotation `httpApiStatus`,
 *   500 without it.
 * - `timeout`: the action is interrupted and answered with status 408 after so long; by default as the consumer says.
 * - `concurrency`: the action leaves the line in which messages of a connection are handled, and so many of it run at
 *   once on each connection; by default it takes its turn.
 * - `stream`: where it is `true`, the handler answers with a `Stream` instead of an effect, and `success` is the schema of
 *   one item. Each item is a reply with status 206, in order; the end is one with the action's status and no data, a failure
 *   one with its errors. The stream leaves the line of its connection when it begins, but counts as in flight to its end
 *   (`Limits.maxInFlight`), and among so many of it as `concurrency` says, where it says so. `timeout` is for what comes before:
 *   permission, object, handler. A client that does not read its items is not given more of them; one that wants no more sends
 *   `$cancel`.
 * - `idempotent`: whether a client may send a request again whose reply was lost ({@link Idempotent}); by default it may not. A stream
 *   that may be begun again from its beginning is `true`; it cannot be done once for a key.
 *
 * Schemas are used in their JSON form (`Schema.toCodecJson`): `Schema.Date` travels as an ISO string.
 *
 * **Example** (Two actions)
 *
 * ```ts
 * import { Action } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * class Message extends Schema.Class<Message>("Message")({ id: Schema.Int, text: Schema.String }) {}
 * class TooLong extends Schema.TaggedError<TooLong>()("TooLong", { max: Schema.Int }, { httpApiStatus: 400 }) {}
 *
 * const ping = Action.make("ping", { success: Schema.Literal("pong") })
 * const post = Action.make("post", { payload: { text: Schema.String }, success: Message, error: TooLong, status: 201 })
 * ```
 *
 * **Example** (A stream of lines)
 *
 * ```ts
 * import { Action, Consumer, Handlers } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 * import * as Stream from "effect/Stream"
 *
 * const tail = Action.make("tail", { payload: { file: Schema.String }, success: Schema.String, stream: true })
 * const Logs = Consumer.make("logs", { path: "/ws/" }).pipe(Consumer.add(tail))
 *
 * const LogsLive = Consumer.handlers(Logs).pipe(
 *   Handlers.handle("tail", ({ payload }) => Stream.make(`first line of ${payload.file}`, "second line")),
 *   Handlers.toLayer
 * )
 * ```
 *
 * **Example** (What may be sent again)
 *
 * ```ts
 * import { Action } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * const balance = Action.make("balance", { success: Schema.Int, idempotent: true })
 * const pay = Action.make("pay", { payload: { cents: Schema.Int }, success: Schema.Int, idempotent: "key" })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  const Name extends string,
  Payload extends Schema.Constraint | Schema.Struct.Fields = Schema.Void,
  Fields extends Schema.Constraint | (Schema.Struct.Fields & Reserved) = Schema.Void,
  Success extends Schema.Constraint = Schema.Void,
  Error extends Schema.Constraint = Schema.Never,
  const Stream extends boolean = false
>(name: Unreserved<Name>, options?: {
  readonly payload?: Payload | undefined
  readonly fields?: Fields | undefined
  readonly success?: Success | undefined
  readonly error?: Error | ReadonlyArray<Error> | undefined
  readonly status?: number | undefined
  readonly timeout?: Duration.Input | undefined
  readonly concurrency?: Concurrency | undefined
  readonly stream?: Stream | undefined
  readonly idempotent?: (Stream extends true ? boolean : Idempotent) | undefined
}): Action<
  Name,
  SchemaOf<Payload>,
  SchemaOf<Fields>,
  Success,
  Error,
  {},
  unknown,
  | SchemaOf<Payload>["DecodingServices"]
  | SchemaOf<Fields>["DecodingServices"]
  | Success["EncodingServices"]
  | Error["EncodingServices"],
  Stream
> =>
  Value.make(proto, {
    name,
    payload: toSchema(options?.payload),
    fields: toSchema(options?.fields),
    success: options?.success ?? Schema.Void,
    errors: options?.error === undefined ? [] : Array.isArray(options.error) ? options.error : [options.error],
    status: options?.status ?? 200,
    stream: options?.stream ?? false,
    idempotent: options?.idempotent ?? false,
    object: undefined,
    permission: Permission.allow,
    concurrency: options?.concurrency,
    timeout: options?.timeout,
    mode: reply
  })

const reply: Mode = { _tag: "Reply" }

const toSchema = (schema: Schema.Constraint | Schema.Struct.Fields | undefined): Schema.Constraint =>
  schema === undefined ? Schema.Void : Schema.isSchema(schema) ? schema : Schema.Struct(schema as Schema.Struct.Fields)

/**
 * Says that the action is about an object of this schema's type. Its handler loads the object, and object permissions can
 * be put on the action.
 *
 * @category combinators
 * @since 0.1.0
 */
export const object: {
  <O extends Schema.Constraint>(
    schema: O
  ): <
    N extends string,
    P extends Schema.Constraint,
    F extends Schema.Constraint,
    S extends Schema.Constraint,
    E extends Schema.Constraint,
    Needs,
    R,
    Stream extends boolean
  >(
    self: Action<N, P, F, S, E, {}, Needs, R, Stream>
  ) => Action<N, P, F, S, E, { readonly object: O["Type"] }, Needs, R, Stream>
  <
    O extends Schema.Constraint,
    N extends string,
    P extends Schema.Constraint,
    F extends Schema.Constraint,
    S extends Schema.Constraint,
    E extends Schema.Constraint,
    Needs,
    R,
    Stream extends boolean
  >(
    self: Action<N, P, F, S, E, {}, Needs, R, Stream>,
    schema: O
  ): Action<N, P, F, S, E, { readonly object: O["Type"] }, Needs, R, Stream>
} = /* @__PURE__ */ dual(2, (self: Any, schema: Schema.Constraint) => Value.make(proto, { ...self, object: schema }))

/**
 * Guards the action. A second permission is required as well as the first. What the permission looks at must be there:
 * the object, the payload's type.
 *
 * @category combinators
 * @since 0.1.0
 */
export const permit: {
  <F, E, R>(
    permission: Permission.Permission<F, E, R>
  ): <A extends Any & { readonly "~facts": F }>(self: A) => Permitted<A, F, R>
  <A extends Any & { readonly "~facts": F }, F, E, R>(
    self: A,
    permission: Permission.Permission<F, E, R>
  ): Permitted<A, F, R>
} = /* @__PURE__ */ dual(2, <A extends Any>(self: A, permission: Permission.Any): A =>
  Value.make(proto, {
    ...self,
    permission: both(self.permission, permission)
  }))

/**
 * How a broadcast is made.
 *
 * @category models
 * @since 0.1.0
 */
export interface BroadcastOptions<Reply extends boolean = boolean> {
  /** Whether the client that asked is answered as well, before the event. Default `true`. */
  readonly reply?: Reply | undefined
  /**
   * Whether the connection that asked gets the event, where it is in the group when the handler has succeeded. Default `true`. It
   * is that connection: other ones of its user do, and one that comes back is given it with what it has missed.
   */
  readonly includeSender?: boolean | undefined
}

type Answered<A, Reply extends boolean> = Reply extends true ? A : A & Silent

/**
 * Sends the action's success as an event to the group of this name that the connection is in; to all of them, where it is in
 * several, when the handler has succeeded. A connection that is in none is denied, with 403 `not_in_group`, before the
 * handler runs. `map` makes the event's data of the success, where it is not the same. The event has the action's status, and
 * goes out after the reply. The consumer must have the group (`Consumer.join`, `Consumer.groups`) and the event
 * (`Consumer.push`): one that has not does not start. An action that is answered with a stream cannot be broadcast.
 *
 * A failure is answered, and sends no event. Where the group has a history, and it cannot be written, the answer is 503; where
 * other processes cannot be reached, those of this one are sent the event all the same, and that is logged.
 *
 * **Example** (Say something to everybody in the room)
 *
 * ```ts
 * import { Action, Consumer, Event, Group } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * const Room = Group.make("room", { room: Schema.String })
 * const Posted = Event.make("message.posted", Schema.String)
 *
 * const say = Action.make("say", { payload: { text: Schema.String }, success: Schema.String }).pipe(
 *   Action.broadcast(Room, Posted)
 * )
 * const typing = Action.make("typing", { success: Schema.Struct({ name: Schema.String }) }).pipe(
 *   Action.broadcast(Room, Posted, { map: ({ name }) => `${name} is typing`, reply: false, includeSender: false })
 * )
 * const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/" }).pipe(
 *   Consumer.join(Room, ({ params }) => ({ room: params.room })),
 *   Consumer.push(Posted),
 *   Consumer.add(say, typing)
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const broadcast: {
  <A extends Unary, E extends Event.Any, const Reply extends boolean = true>(
    group: Group.Any,
    event: E,
    options: BroadcastOptions<Reply> & { readonly map: (success: A["success"]["Type"]) => E["data"]["Type"] }
  ): (self: A) => Answered<A, Reply>
  <E extends Event.Any, const Reply extends boolean = true>(
    group: Group.Any,
    event: E,
    options?: BroadcastOptions<Reply>
  ): <A extends Unary & { readonly success: { readonly Type: E["data"]["Type"] } }>(self: A) => Answered<A, Reply>
} = (
  group: Group.Any,
  event: Event.Any,
  options: BroadcastOptions & { readonly map?: (success: never) => unknown } = {}
) =>
<A extends Any>(self: A): A =>
  Value.make(proto, {
    ...self,
    mode: {
      _tag: "Broadcast",
      group,
      event,
      map: options.map,
      reply: options.reply ?? self.mode._tag !== "Silent",
      includeSender: options.includeSender ?? true
    } satisfies Mode
  })

/**
 * Has a success not answered: the client hears only of failures. What is broadcast still is. A stream is always answered.
 *
 * @category combinators
 * @since 0.1.0
 */
export const silent = <A extends Unary>(self: A): A & Silent =>
  Value.make(proto, {
    ...self,
    mode: (self.mode._tag === "Broadcast" ? { ...self.mode, reply: false } : { _tag: "Silent" }) satisfies Mode
  })
