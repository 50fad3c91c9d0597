/**
 * The groups that a connection is in, for its handlers: they have it join and leave.
 *
 * A connection leaves all of its groups when it ends. Which groups it can be in, its consumer declares (`Consumer.join`,
 * `Consumer.groups`); a handler that joins another one does not compile.
 *
 * **Example** (A handler that follows a document)
 *
 * ```ts
 * import { Action, Consumer, Group, Handlers, Membership } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * const Document = Group.make("document", { id: Schema.Int })
 * const follow = Action.make("follow", { payload: { id: Schema.Int } })
 * const Documents = Consumer.make("documents", { path: "/ws/" }).pipe(Consumer.groups(Document), Consumer.add(follow))
 *
 * const DocumentsLive = Consumer.handlers(Documents).pipe(
 *   Handlers.handle("follow", ({ payload }) => Effect.asVoid(Membership.join(Document, { id: payload.id }))),
 *   Handlers.toLayer
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as ChannelError from "./ChannelError.ts"
import type * as Group from "./Group.ts"

/**
 * What a handler needs to have its connection join or leave the group of this name: the consumer declares it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Membership<in out Name extends string> {
  readonly _: unique symbol
  readonly Name: Name
}

/**
 * Says in what a consumer needs that it declares the group of this name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Declared<in out Name extends string> {
  readonly _: unique symbol
  readonly Declared: Name
}

/**
 * Why a connection does not come into a group: it may not (403), it is throttled (429), or the channel layer cannot be reached
 * (503).
 *
 * @category errors
 * @since 0.1.0
 */
export type JoinError = ChannelError.Undeclared

/**
 * How a connection joined a group with a history: see `ChannelLayer.Joined`. `fresh` without one.
 *
 * @category models
 * @since 0.1.0
 */
export type State = "fresh" | "resumed" | "gap"

/**
 * The groups of a connection. It is there for the handlers of a consumer that declares groups.
 *
 * @category services
 * @since 0.1.0
 */
export interface Memberships {
  readonly join: (
    group: Group.Any,
    params: unknown,
    options: { readonly after?: string | undefined; readonly presence?: unknown }
  ) => Effect.Effect<State, JoinError>
  readonly leave: (group: Group.Any, params: unknown) => Effect.Effect<boolean>
  readonly paramsOf: (group: Group.Any) => ReadonlyArray<unknown>
}

/**
 * The service of the groups of a connection.
 *
 * @category services
 * @since 0.1.0
 */
export const Memberships: Context.Service<Membership<string>, Memberships> = Context.Service<
  Membership<string>,
  Memberships
>("effect-channels/Membership")

const of = <G extends Group.Any>(_group: G): Context.Key<Membership<G["name"]>, Memberships> => Memberships as never

/** In a group with presence, the members are told something of the connection. */
type Options<G> =
  & {
    /** The last position that the client has seen of the group's history: it is sent what it has missed. */
    readonly after?: string | undefined
  }
  & ([Group.PresenceOf<G>] extends [never] ? {} : {
    /** What the members are told of the connection. */
    readonly presence: Group.PresenceOf<G>
  })

type Arguments<O> = {} extends O ? [options?: O] : [options: O]

/**
 * Has the connection join a group; it is in it when the effect completes, and then receives its events. Where it is in it
 * already, nothing happens. Fails when the group's permission denies, or the channel layer cannot be reached.
 *
 * @category combinators
 * @since 0.1.0
 */
export const join = <G extends Group.Any>(
  group: G,
  params: Group.ParamsOf<G>,
  ...options: Arguments<Options<G>>
): Effect.Effect<State, JoinError, Membership<G["name"]>> =>
  Effect.flatMap(of(group), (memberships) => memberships.join(group, params, options[0] ?? {}))

/**
 * Has the connection leave a group; answers whether it was in it. It receives none of its events any more.
 *
 * @category combinators
 * @since 0.1.0
 */
export const leave = <G extends Group.Any>(
  group: G,
  params: Group.ParamsOf<G>
): Effect.Effect<boolean, never, Membership<G["name"]>> =>
  Effect.flatMap(of(group), (memberships) => memberships.leave(group, params))

/**
 * The parameters of the groups of this name that the connection is in.
 *
 * @category accessors
 * @since 0.1.0
 */
export const list = <G extends Group.Any>(
  group: G
): Effect.Effect<ReadonlyArray<Group.ParamsOf<G>>, never, Membership<G["name"]>> =>
  Effect.map(of(group), (memberships) => memberships.paramsOf(group) as ReadonlyArray<Group.ParamsOf<G>>)
