/**
 * A typed message that the server sends without being asked: what it carries, who may receive it, and what becomes of it when a
 * client does not read fast enough.
 *
 * A consumer says with `Consumer.push` which events its clients can receive: no others reach them.
 *
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import type { Inspectable } from "effect/Inspectable"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import { both } from "./internal/permit.ts"
import * as Value from "./internal/value.ts"
import * as Permission from "./Permission.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Event"

/**
 * An event of the type `Type`, whose data has the schema `Data`. `Needs` is what its permission looks at, `R` what its
 * permission and schema need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Event<out Type extends string, out Data extends Schema.Constraint, in Needs = unknown, out R = never>
  extends Pipeable, Inspectable
{
  readonly [TypeId]: {
    readonly _Needs: (_: Needs) => void
    readonly _R: () => R
  }
  readonly "~facts": { readonly type: string; readonly event: Data["Type"] }
  readonly type: Type
  readonly data: Data
  /** Who may receive it. */
  readonly permission: Permission.Any
  readonly whenSlow: WhenSlow<never>
  /** Whether it becomes part of the history of a group that has one. */
  readonly isKept: boolean
}

/**
 * Any event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Pipeable, Inspectable {
  readonly [TypeId]: {
    readonly _Needs: (_: never) => void
    readonly _R: () => unknown
  }
  readonly "~facts": unknown
  readonly type: string
  readonly data: Schema.Constraint
  readonly permission: Permission.Any
  readonly whenSlow: WhenSlow<never>
  readonly isKept: boolean
}

/**
 * What becomes of an event for a connection on which as much waits to be sent as may wait (`maxUnsent`), since its client does
 * not read:
 *
 * - `disconnect`: the connection is closed with 1013 (try again later): its client knows that it misses something. The default.
 * - `drop-newest`: it is not sent to this client.
 * - `drop-oldest`: it takes the place of the oldest ones that wait and may be dropped in this way.
 * - `latest`: of those that wait, in the same group and with the same key, only the latest is kept, from the moment on when events
 *   have to wait, whether this client may have it or not. If that is not enough, the connection is closed with 1013.
 *
 * Replies are never dropped. Other clients are not delayed.
 *
 * @category models
 * @since 0.1.0
 */
export type WhenSlow<Data> = "disconnect" | "drop-newest" | "drop-oldest" | {
  readonly latest: (data: Data) => string
}

/**
 * What an event's permission and schema need.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<E> = E extends Event<infer _T, infer Data, infer _Needs, infer R>
  ? R | Data["EncodingServices"] | Data["DecodingServices"]
  : never

const proto = Value.prototype<Any>(TypeId, (self) => ({
  _id: "Event",
  type: self.type,
  permission: Permission.print(self.permission),
  whenSlow: typeof self.whenSlow === "string" ? self.whenSlow : "latest"
}))

/**
 * Whether a value is an event.
 *
 * @category guards
 * @since 0.1.0
 */
export const isEvent = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/** Types that begin with `$` are the protocol's own. */
type Unreserved<Type extends string> = Type extends `$${string}` ? "types that begin with \"$\" are the protocol's own"
  : Type

/**
 * Makes an event. Types that begin with `$` are the protocol's own. The schema is used in its JSON form
 * (`Schema.toCodecJson`).
 *
 * **Example** (A message, and the place of a cursor, of which only the latest counts)
 *
 * ```ts
 * import { Event } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * const Posted = Event.make("message.posted", Schema.Struct({ from: Schema.String, text: Schema.String }))
 * const Moved = Event.make("cursor.moved", Schema.Struct({ user: Schema.String, x: Schema.Number, y: Schema.Number }), {
 *   whenSlow: { latest: ({ user }) => user },
 *   history: false
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const Type extends string, Data extends Schema.Constraint>(
  type: Unreserved<Type>,
  data: Data,
  options?: {
    /** What becomes of it for a client that does not read fast enough. Default `disconnect`. */
    readonly whenSlow?: WhenSlow<Data["Type"]> | undefined
    /**
     * Whether it becomes part of the history of a group that has one. One that does not has no position, is not replayed, and
     * does not keep to the order of those that do. Default `true`.
     */
    readonly history?: boolean | undefined
  }
): Event<Type, Data> =>
  Value.make(proto, {
    type,
    data,
    permission: Permission.allow,
    whenSlow: options?.whenSlow ?? "disconnect",
    isKept: options?.history ?? true
  })

/**
 * Says who may receive the event: connection and delivery checks, decided for each recipient before it is sent. A check that
 * looks at nothing but the identity is asked once for all connections with the same identity: the same key, where the
 * identity service has one, and equal users, which therefore must not change once they are there. Who is denied does not
 * learn of the event; nor does anybody whose check fails, which is logged. A second permission is required as well as the
 * first.
 *
 * **Example** (Only those who are not blocked)
 *
 * ```ts
 * import { Authentication, Event, Permission } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * interface User {
 *   readonly name: string
 *   readonly muted: ReadonlyArray<string>
 * }
 * class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser", { key: (user) => user.name }) {}
 *
 * const Message = Schema.Struct({ from: Schema.String, text: Schema.String })
 * const isHeard = Permission.delivery<typeof Message.Type>()("isHeard", ({ event }) =>
 *   CurrentUser.use((user) => !user.muted.includes(event.from)))
 * const Posted = Event.make("message.posted", Message).pipe(Event.permit(isHeard))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const permit: {
  <F, E, R2>(
    permission: Permission.Permission<F, E, R2>
  ): <Type extends string, Data extends Schema.Constraint, Needs, R>(
    self: Event<Type, Data, Needs, R> & { readonly "~facts": F }
  ) => Event<Type, Data, Needs & F, R | R2>
  <Type extends string, Data extends Schema.Constraint, Needs, R, F, E, R2>(
    self: Event<Type, Data, Needs, R> & { readonly "~facts": F },
    permission: Permission.Permission<F, E, R2>
  ): Event<Type, Data, Needs & F, R | R2>
} = /* @__PURE__ */ dual(
  2,
  (self: Any, permission: Permission.Any) =>
    Value.make(proto, { ...self, permission: both(self.permission, permission) })
)
