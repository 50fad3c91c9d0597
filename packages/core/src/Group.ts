/**
 * A typed, named set of connections, which events are sent to as a whole: the room "lobby", the watchers of document 7.
 *
 * A group belongs to the consumers that declare it (`Consumer.join`, `Consumer.groups`): two consumers whose groups have the same
 * name and parameters do not hear each other, unless the group is {@link shared}.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import type { Inspectable } from "effect/Inspectable"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { both } from "./internal/permit.ts"
import * as Value from "./internal/value.ts"
import * as Permission from "./Permission.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Group"

/**
 * A group of the name `Name`, one for each value of its parameters `Params`. `Presence` is what members are told of each other,
 * `Needs` what its permission looks at, `R` what its permission and schemas need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Group<out Name extends string, out Params, out Presence = never, in Needs = unknown, out R = never>
  extends Pipeable, Inspectable
{
  readonly [TypeId]: {
    readonly _Params: () => Params
    readonly _Presence: () => Presence
    readonly _Needs: (_: Needs) => void
    readonly _R: () => R
  }
  readonly "~facts": { readonly group: string; readonly params: Params; readonly type: string; readonly event: unknown }
  readonly name: Name
  readonly params: Schema.Constraint
  /** Who may be in it, and receive its events. */
  readonly permission: Permission.Any
  readonly isShared: boolean
  readonly history: History | undefined
  /** What members are told of each other. */
  readonly presence: Schema.Constraint | undefined
}

/**
 * Any group.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Pipeable, Inspectable {
  readonly [TypeId]: {
    readonly _Params: () => unknown
    readonly _Presence: () => unknown
    readonly _Needs: (_: never) => void
    readonly _R: () => unknown
  }
  readonly "~facts": unknown
  readonly name: string
  readonly params: Schema.Constraint
  readonly permission: Permission.Any
  readonly isShared: boolean
  readonly history: History | undefined
  readonly presence: Schema.Constraint | undefined
}

/**
 * How many events a group keeps for those who come back.
 *
 * @category models
 * @since 0.1.0
 */
export interface History {
  /** So many of the last events, a whole number from 1. */
  readonly count: number
  /** Those that are not older. */
  readonly age: Duration.Input
}

/**
 * The parameters of a group.
 *
 * @category models
 * @since 0.1.0
 */
export type ParamsOf<G> = G extends Group<infer _N, infer Params, infer _P, infer _Needs, infer _R> ? Params : never

/**
 * What members of a group are told of each other; `never` for a group without presence.
 *
 * @category models
 * @since 0.1.0
 */
export type PresenceOf<G> = G extends Group<infer _N, infer _Params, infer Presence, infer _Needs, infer _R> ? Presence
  : never

/**
 * What a group's permission and schemas need.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<G> = G extends Group<infer _N, infer _Params, infer _P, infer _Needs, infer R> ? R : never

/**
 * Schemas of parameters: they need no services.
 *
 * @category models
 * @since 0.1.0
 */
export type ParamFields = Readonly<Record<string, Schema.ConstraintCodec<unknown, unknown, never, never>>>

const proto = Value.prototype<Any>(TypeId, (self) => ({
  _id: "Group",
  name: self.name,
  permission: Permission.print(self.permission),
  shared: self.isShared,
  history: self.history,
  presence: self.presence !== undefined
}))

/**
 * Whether a value is a group.
 *
 * @category guards
 * @since 0.1.0
 */
export const isGroup = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * Makes a group; without parameters there is one of it in a consumer.
 *
 * **Example** (A group for each room)
 *
 * ```ts
 * import { Consumer, Event, Group } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * const Room = Group.make("room", { room: Schema.String })
 * const Posted = Event.make("message.posted", Schema.String)
 * const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/" }).pipe(
 *   Consumer.join(Room, ({ params }) => ({ room: params.room })),
 *   Consumer.push(Posted)
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const Name extends string, const Fields extends ParamFields = {}>(
  name: Name,
  params?: Fields
): Group<Name, Schema.Struct.Type<Fields>> =>
  Value.make(proto, {
    name,
    params: Schema.Struct((params ?? {}) as Schema.Struct.Fields),
    permission: Permission.allow,
    isShared: false,
    history: undefined,
    presence: undefined
  })

/**
 * Says who may be in the group, and receive its events: connection and group checks, decided when a connection joins and
 * again whenever its authority is invalidated, and delivery checks, decided for each event (who else is in the group, all
 * members know). Who loses it leaves the group, and is told so with an event `$left`; so does whoever it cannot be decided
 * for, by a check that breaks. A second permission is required as well as the first.
 *
 * **Example** (Members of the room)
 *
 * ```ts
 * import { Authentication, Group, Permission } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly rooms: ReadonlyArray<string> }>()(
 *   "app/CurrentUser"
 * ) {}
 *
 * const isMember = Permission.group<{ readonly room: string }>()("isMember", ({ params }) =>
 *   CurrentUser.use((user) => user.rooms.includes(params.room)))
 * const Room = Group.make("room", { room: Schema.String }).pipe(Group.permit(isMember))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const permit: {
  <F, E, R2>(
    permission: Permission.Permission<F, E, R2>
  ): <Name extends string, Params, Presence, Needs, R>(
    self: Group<Name, Params, Presence, Needs, R> & { readonly "~facts": F }
  ) => Group<Name, Params, Presence, Needs & F, R | R2>
  <Name extends string, Params, Presence, Needs, R, F, E, R2>(
    self: Group<Name, Params, Presence, Needs, R> & { readonly "~facts": F },
    permission: Permission.Permission<F, E, R2>
  ): Group<Name, Params, Presence, Needs & F, R | R2>
} = /* @__PURE__ */ dual(
  2,
  (self: Any, permission: Permission.Any) =>
    Value.make(proto, { ...self, permission: both(self.permission, permission) })
)

/**
 * The group under its name alone: all consumers that declare it as shared are in the same one. Each of them still receives only
 * the events that it declares, by their types: events of one type have the same schema in all of them, and each consumer says with
 * its own group's permission who may be in it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const shared = <Name extends string, Params, Presence, Needs, R>(
  self: Group<Name, Params, Presence, Needs, R>
): Group<Name, Params, Presence, Needs, R> => Value.make(proto, { ...self, isShared: true })

/**
 * The group keeps its last events. Each has a position, its `id`, beside its `group` and `params`; whoever joins is told where
 * they are (`$joined`), and whoever comes back with the last position they have seen gets what they have missed, by the
 * permissions as they are now, or is told that there is a gap.
 *
 * A client names its position in the query string of the URL that it connects with: `?$after=room:POSITION` for the group
 * `room`, `?$after=room:{"room":"lobby"}:POSITION` where it is in several of that name, as often as there are such groups. Without
 * a position, `?$after=room:`, it gets all that is kept.
 *
 * | it is sent | when |
 * | --- | --- |
 * | `$joined` with `state` and `id` | it is in the group; `state` is `fresh`, `resumed` or `gap`, `id` where it is |
 * | events with `id` | that it has missed, the oldest first |
 * | `$caught_up` with `id` | it has asked with `$after`, and there is no gap: what follows is new |
 *
 * **Example** (The last hundred, for an hour)
 *
 * ```ts
 * import { Group } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * const Room = Group.make("room", { room: Schema.String }).pipe(Group.history({ count: 100, age: "1 hour" }))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const history: {
  (history: History): <Name extends string, Params, Presence, Needs, R>(
    self: Group<Name, Params, Presence, Needs, R>
  ) => Group<Name, Params, Presence, Needs, R>
  <Name extends string, Params, Presence, Needs, R>(
    self: Group<Name, Params, Presence, Needs, R>,
    history: History
  ): Group<Name, Params, Presence, Needs, R>
} = /* @__PURE__ */ dual(2, (self: Any, history: History) => Value.make(proto, { ...self, history }))

/**
 * Tells the members who is in the group: all of them when they join (`$joined`), and who comes and goes (`$presence`). The schema
 * is of what they are told of each member, which `Consumer.join` says.
 *
 * **Example** (Who is in the room)
 *
 * ```ts
 * import { Authentication, Consumer, Group } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("app/CurrentUser") {}
 *
 * const Room = Group.make("room", { room: Schema.String }).pipe(Group.presence(Schema.Struct({ name: Schema.String })))
 * const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/" }).pipe(
 *   Consumer.join(Room, ({ params }) => ({ room: params.room }), {
 *     presence: () => CurrentUser.use(({ name }) => ({ name }))
 *   })
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const presence: {
  <S extends Schema.Constraint>(schema: S): <Name extends string, Params, Needs, R>(
    self: Group<Name, Params, never, Needs, R>
  ) => Group<Name, Params, S["Type"], Needs, R | S["EncodingServices"]>
  <Name extends string, Params, Needs, R, S extends Schema.Constraint>(
    self: Group<Name, Params, never, Needs, R>,
    schema: S
  ): Group<Name, Params, S["Type"], Needs, R | S["EncodingServices"]>
} = /* @__PURE__ */ dual(2, (self: Any, schema: Schema.Constraint) => Value.make(proto, { ...self, presence: schema }))
