/**
 * The API behind one WebSocket path: a plain value, composed of actions, routes and permissions.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { Inspectable } from "effect/Inspectable"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Action from "./Action.ts"
import type { ChannelLayer } from "./ChannelLayer.ts"
import type { ConnectionScope } from "./ConnectionScope.ts"
import type * as Event from "./Event.ts"
import type * as Group from "./Group.ts"
import * as Handlers from "./Handlers.ts"
import { both, unsaid } from "./internal/permit.ts"
import * as Subprotocols from "./internal/subprotocols.ts"
import * as Value from "./internal/value.ts"
import type * as Membership_ from "./Membership.ts"
import * as Permission from "./Permission.ts"
import type * as Route from "./Route.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Consumer"

/**
 * The API behind one WebSocket path. `Params` are the decoded parameters of the path, `Members` its actions and routes,
 * `Needs` what its permission looks at, `R` what permissions and schemas need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Consumer<out Name extends string, out Params, out Members = never, in Needs = unknown, out R = never>
  extends Pipeable, Inspectable
{
  readonly [TypeId]: {
    readonly _Params: () => Params
    readonly _Members: () => Members
    readonly _Needs: (_: Needs) => void
    readonly _R: () => R
  }
  readonly name: Name
  /** The pattern of the URL path: `/ws/rooms/:room/`. */
  readonly path: string
  readonly params: Readonly<Record<string, Route.ParamSchema>>
  readonly members: ReadonlyArray<Route.Member>
  /** Guards the handshake. */
  readonly connectPermission: Permission.Any
  /** Objects that are loaded for the handshake, and guard it. */
  readonly connectObjects: ReadonlyArray<ConnectObject>
  /** Guards every message. */
  readonly permission: Permission.Any
  /** The subprotocols that it speaks. */
  readonly subprotocols: ReadonlyArray<string>
  readonly concurrency: Action.Concurrency
  readonly timeout: Duration.Input | undefined
  /** The groups that its connections can be in. */
  readonly groups: ReadonlyArray<Membership>
  /** The events that its clients can receive. */
  readonly events: ReadonlyArray<Event.Any>
}

/**
 * An object that a connection is about.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectObject {
  readonly load: (scope: never) => Effect.Effect<unknown, unknown, unknown>
  readonly permission: Permission.Any
}

/**
 * A group that the connections of a consumer can be in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Membership {
  readonly group: Group.Any
  /** The parameters of the groups that a connection joins to begin with; it joins none without it. */
  readonly join: ((scope: never) => unknown) | undefined
  /** What the members are told of a connection that joins to begin with. */
  readonly presence: ((scope: never) => unknown) | undefined
}

/**
 * Says in the type of a consumer that its connections can be in a group.
 *
 * @category models
 * @since 0.1.0
 */
export interface Declares<out G extends Group.Any> {
  readonly "~group": G
}

/**
 * Says in the type of a consumer that its clients can receive an event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pushes<out E extends Event.Any> {
  readonly "~event": E
}

/**
 * The groups that the connections of a consumer can be in.
 *
 * @category models
 * @since 0.1.0
 */
export type GroupsOf<C> = C extends Consumer<infer _Name, infer _Params, infer Members, infer _Needs, infer _R>
  ? Members extends Declares<infer G> ? G : never
  : never

/**
 * The events that the clients of a consumer can receive.
 *
 * @category models
 * @since 0.1.0
 */
export type EventsOf<C> = C extends Consumer<infer _Name, infer _Params, infer Members, infer _Needs, infer _R>
  ? Members extends Pushes<infer E> ? E : never
  : never

/**
 * Any consumer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Pipeable, Inspectable {
  readonly [TypeId]: {
    readonly _Params: () => unknown
    readonly _Members: () => unknown
    readonly _Needs: (_: never) => void
    readonly _R: () => unknown
  }
  readonly name: string
  readonly path: string
  readonly params: Readonly<Record<string, Route.ParamSchema>>
  readonly members: ReadonlyArray<Route.Member>
  readonly connectPermission: Permission.Any
  readonly connectObjects: ReadonlyArray<ConnectObject>
  readonly permission: Permission.Any
  readonly subprotocols: ReadonlyArray<string>
  readonly concurrency: Action.Concurrency
  readonly timeout: Duration.Input | undefined
  readonly groups: ReadonlyArray<Membership>
  readonly events: ReadonlyArray<Event.Any>
}

const proto = Value.prototype<Any>(TypeId, (self) => ({
  _id: "Consumer",
  name: self.name,
  path: self.path,
  permitConnect: [self.connectPermission, ...self.connectObjects.map(({ permission }) => permission)].map(
    Permission.print
  ).join(" and "),
  permission: Permission.print(self.permission),
  groups: self.groups.map(({ group }) => group.toJSON()),
  events: self.events.map((event) => event.toJSON()),
  members: self.members.map((member) => member.toJSON())
}))

/**
 * Whether a value is a consumer.
 *
 * @category guards
 * @since 0.1.0
 */
export const isConsumer = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * The name of the protocol that consumers speak: requests and replies in JSON.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultSubprotocol: typeof Subprotocols.defaultSubprotocol = Subprotocols.defaultSubprotocol

/**
 * The subprotocols that a consumer speaks, unless it says otherwise: `effect-channels.json` and `effect-channels.binary`. A client
 * that offers neither is spoken to in JSON.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultSubprotocols: ReadonlyArray<string> = [defaultSubprotocol, Subprotocols.binarySubprotocol]

/**
 * The name that a client offers, besides the subprotocol that it wants to speak, to be told why its handshake is refused: a
 * browser tells a page nothing of an HTTP answer to one.
 *
 * A handshake that would be refused is answered with this subprotocol as the chosen one, one text frame with the body of the
 * refusal, which has the form of a reply, and a close frame with 4000 + the status: 4401, 4403, 4404, 4429, 4500, 4503. Where
 * it is known after how many seconds the handshake may succeed, the first error says so as `retry_after`. The server reads
 * nothing from such a client. It may still answer with HTTP, as it does where there are many refusals at once, and where the
 * request is no WebSocket handshake.
 *
 * A connection that is let in never has it.
 *
 * **Example** (Why a page is not let in)
 *
 * ```ts
 * import { Consumer } from "@effect-channels/core"
 *
 * const connect = (url: string) => {
 *   const socket = new WebSocket(url, [Consumer.defaultSubprotocol, Consumer.refusalsSubprotocol])
 *   socket.onopen = () => {
 *     if (socket.protocol !== Consumer.refusalsSubprotocol) return
 *     socket.onmessage = ({ data }) => console.log("refused", JSON.parse(data).errors)
 *   }
 *   return socket
 * }
 * ```
 *
 * @category constants
 * @since 0.1.0
 */
export const refusalsSubprotocol: typeof Subprotocols.refusalsSubprotocol = Subprotocols.refusalsSubprotocol

/**
 * Makes a consumer, without actions.
 *
 * - `path`: the pattern of the URL path, matched whole and case-sensitively; `params`: schemas of its parameters, strings
 *   by default. A URL whose parameters their schemas refuse is not there (404).
 * - `subprotocols`: those that it speaks, {@link defaultSubprotocols} by default. Of those that a client offers
 *   (`Sec-WebSocket-Protocol`) the first one among them is chosen; none where it offers no such one. On all but
 *   `effect-channels.binary` JSON is spoken. Browsers that offered
 *   some insist on a choice.
 * - `concurrency`: how many messages of one connection are handled at once, 1 by default: in order, one at a time.
 * - `timeout`: an action is interrupted and answered with status 408 after so long, 30 seconds by default; it may take
 *   for ever with `"Infinity"`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  const Name extends string,
  const Path extends string,
  const Schemas extends Route.ParamSchemas<Path, Schemas> = {}
>(name: Name, options: {
  readonly path: Path
  readonly params?: Schemas | undefined
  readonly subprotocols?: ReadonlyArray<string> | undefined
  readonly concurrency?: Action.Concurrency | undefined
  readonly timeout?: Duration.Input | undefined
}): Consumer<Name, Route.ParamsOf<Path, Schemas>> =>
  Value.make(proto, {
    name,
    path: options.path,
    params: options.params ?? {},
    members: [],
    connectPermission: Permission.allow,
    connectObjects: [],
    permission: unsaid,
    subprotocols: options.subprotocols ?? defaultSubprotocols,
    concurrency: options.concurrency ?? 1,
    timeout: options.timeout ?? "30 seconds",
    groups: [],
    events: []
  })

/**
 * Adds actions and routes.
 *
 * @category combinators
 * @since 0.1.0
 */
export const add =
  <const M extends ReadonlyArray<Route.Member>>(...members: M & Route.Distinct<M>) =>
  <Name extends string, Params, Members, Needs, R>(
    self: Consumer<Name, Params, Members, Needs, R> & Route.NoClash<Members, M[number]>
  ): Consumer<Name, Params, Members | M[number], Needs, R | Route.Services<M[number]>> =>
    Value.make(proto, { ...self, members: [...self.members, ...members] })

/**
 * Has each connection join a group to begin with, before the handshake is answered: one that may not is refused. The function
 * says in which, by the scope of the connection: the parameters of one group, or of several; it may be an effect. In a group with
 * presence, `presence` says what the members are told of the connection. Both are asked once. What may be lost again is guarded
 * by `Group.permit`, which is decided anew.
 *
 * **Example** (The room of the path, and the groups of the user)
 *
 * ```ts
 * import { Authentication, Consumer, Group, Permission } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly teams: ReadonlyArray<string> }>()(
 *   "app/CurrentUser"
 * ) {}
 *
 * const isInTeam = Permission.group<{ readonly team: string }>()("isInTeam", ({ params }) =>
 *   CurrentUser.use((user) => user.teams.includes(params.team)))
 * const Room = Group.make("room", { room: Schema.String })
 * const Team = Group.make("team", { team: Schema.String }).pipe(Group.permit(isInTeam))
 * const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/" }).pipe(
 *   Consumer.join(Room, ({ params }) => ({ room: params.room })),
 *   Consumer.join(Team, () => CurrentUser.use((user) => user.teams.map((team) => ({ team }))))
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const join = <
  Params,
  G extends Group.Any,
  E = never,
  R2 = never,
  EPresence = never,
  RPresence = never
>(
  group: G,
  params: (scope: ScopeOf<Params>) => Answer<OneOrMany<Group.ParamsOf<G>>, E, R2>,
  ...options: [Group.PresenceOf<G>] extends [never] ? [] : [{
    readonly presence: (scope: ScopeOf<Params>) => Answer<Group.PresenceOf<G>, EPresence, RPresence>
  }]
) =>
<Name extends string, Members, Needs, R>(
  self: Consumer<Name, Params, Members, Needs, R>
): Consumer<
  Name,
  Params,
  Members | Declares<G>,
  Needs,
  R | R2 | RPresence | Group.Services<G> | Membership_.Declared<G["name"]> | ChannelLayer
> =>
  Value.make(proto, {
    ...self,
    groups: [...self.groups, { group, join: params, presence: options[0]?.presence } satisfies Membership]
  })

type ScopeOf<Params> = Omit<ConnectionScope["Service"], "params"> & { readonly params: Params }

type OneOrMany<A> = A | ReadonlyArray<A>

type Answer<A, E, R> = A | Effect.Effect<A, E, R>

/** Of each of several groups: a handler needs the one that it joins. */
type DeclaredOf<G> = G extends Group.Any ? Membership_.Declared<G["name"]> : never

/**
 * Declares groups that handlers may have connections join, see the module `Membership`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const groups =
  <const G extends ReadonlyArray<Group.Any>>(...groups: G) =>
  <Name extends string, Params, Members, Needs, R>(
    self: Consumer<Name, Params, Members, Needs, R>
  ): Consumer<
    Name,
    Params,
    Members | Declares<G[number]>,
    Needs,
    R | Group.Services<G[number]> | DeclaredOf<G[number]> | ChannelLayer
  > =>
    Value.make(proto, {
      ...self,
      groups: [
        ...self.groups,
        ...groups.map((group) => ({ group, join: undefined, presence: undefined } satisfies Membership))
      ]
    })

/**
 * Declares events that clients of the consumer may receive. No other events reach them.
 *
 * @category combinators
 * @since 0.1.0
 */
export const push =
  <const E extends ReadonlyArray<Event.Any>>(...events: E) =>
  <Name extends string, Params, Members, Needs, R>(
    self: Consumer<Name, Params, Members, Needs, R>
  ): Consumer<Name, Params, Members | Pushes<E[number]>, Needs, R | Event.Services<E[number]> | ChannelLayer> =>
    Value.make(proto, { ...self, events: [...self.events, ...events] })

/**
 * Guards the handshake: who is denied gets status 403, and no connection. Only connection checks can be decided there.
 *
 * @category combinators
 * @since 0.1.0
 */
export const permitConnect: {
  <E, R2>(
    permission: Permission.Permission<{}, E, R2>
  ): <Name extends string, Params, Members, Needs, R>(
    self: Consumer<Name, Params, Members, Needs, R>
  ) => Consumer<Name, Params, Members, Needs, R | R2>
  <Name extends string, Params, Members, Needs, R, E, R2>(
    self: Consumer<Name, Params, Members, Needs, R>,
    permission: Permission.Permission<{}, E, R2>
  ): Consumer<Name, Params, Members, Needs, R | R2>
} = /* @__PURE__ */ dual(
  2,
  (self: Any, permission: Permission.Any) =>
    Value.make(proto, { ...self, connectPermission: both(self.connectPermission, permission) })
)

/**
 * Guards the handshake by the object that the connection is about: loads it, by the scope of the connection, and decides the
 * permission, which may look at the object. An object that is not there refuses the handshake with the status of the error, 404
 * say; who is denied gets 403. Both are found out anew when the authority of the connection is invalidated. It comes after what
 * {@link permitConnect} says. The action that its checks see is `$connect`.
 *
 * **Example** (Who may open a document)
 *
 * ```ts
 * import { Authentication, Check, Consumer, Repository, Resource } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number }>()("app/CurrentUser") {}
 * class Doc extends Schema.Class<Doc>("Doc")({ id: Schema.Int, text: Schema.String, ownerId: Schema.Int }) {}
 * class Docs extends Repository.Service<Docs>()("app/Docs", { schema: Doc, key: "id" }) {}
 *
 * const DocResource = Resource.make("doc", { repository: Docs, actions: ["retrieve", "update"] })
 * const isOwner = Check.isOwner<Doc>()(CurrentUser, { object: "ownerId", user: "id" })
 * const Document = Consumer.make("document", { path: "/ws/docs/:id/", params: Resource.params(DocResource) }).pipe(
 *   Consumer.permitConnectObject(({ params }) => Repository.get(Docs, params.id), isOwner),
 *   Consumer.add(...Resource.object(DocResource))
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const permitConnectObject = <Params, O, E, R2, F, E3, R3>(
  load: (scope: ScopeOf<Params>) => Effect.Effect<O, E, R2>,
  permission: Permission.Permission<F, E3, R3>
) =>
<Name extends string, Members, Needs, R>(
  self: Consumer<Name, Params, Members, Needs, R> & Guarded<Params, O, F>
): Consumer<Name, Params, Members, Needs, R | R2 | R3> =>
  Value.make(proto, {
    ...self,
    connectObjects: [...self.connectObjects, { load, permission } satisfies ConnectObject]
  })

/** A permission that finds what it looks at when a connection begins. */
type Guarded<Params, O, F> =
  [{ readonly action: string; readonly params: Params; readonly payload: undefined; readonly object: O }] extends [F]
    ? unknown
    : { readonly "not permitted": "the permission looks at an object, payload or params which are not there" }

/**
 * Guards every message. A second permission is required as well as the first. A consumer without a permission of its own is
 * guarded by that of `Settings`; `Permission.allow` opens it to everybody.
 *
 * @category combinators
 * @since 0.1.0
 */
export const permit: {
  <F, E, R2>(
    permission: Permission.Permission<F, E, R2>
  ): <Name extends string, Params, Members, Needs, R>(
    self: Consumer<Name, Params, Members, Needs, R>
  ) => Consumer<Name, Params, Members, Needs & F, R | R2>
  <Name extends string, Params, Members, Needs, R, F, E, R2>(
    self: Consumer<Name, Params, Members, Needs, R>,
    permission: Permission.Permission<F, E, R2>
  ): Consumer<Name, Params, Members, Needs & F, R | R2>
} = /* @__PURE__ */ dual(
  2,
  (self: Any, permission: Permission.Any) =>
    Value.make(proto, { ...self, permission: both(self.permission, permission) })
)

/**
 * Starts the handlers of a consumer: see the module `Handlers`.
 *
 * @category interpreters
 * @since 0.1.0
 */
export const handlers: typeof Handlers.make = (consumer) => Handlers.make(consumer)
