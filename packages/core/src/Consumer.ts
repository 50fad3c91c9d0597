/**
 * The API behind one WebSocket path: a plain value, composed of actions, routes and permissions.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import type { Inspectable } from "effect/Inspectable"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Action from "./Action.ts"
import * as Handlers from "./Handlers.ts"
import { both, unsaid } from "./internal/permit.ts"
import * as Value from "./internal/value.ts"
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
  /** Guards every message. */
  readonly permission: Permission.Any
  /** The subprotocols that it speaks. */
  readonly subprotocols: ReadonlyArray<string>
  readonly concurrency: Action.Concurrency
  readonly timeout: Duration.Input | undefined
}

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
  readonly permission: Permission.Any
  readonly subprotocols: ReadonlyArray<string>
  readonly concurrency: Action.Concurrency
  readonly timeout: Duration.Input | undefined
}

const proto = Value.prototype<Any>(TypeId, (self) => ({
  _id: "Consumer",
  name: self.name,
  path: self.path,
  permitConnect: Permission.print(self.connectPermission),
  permission: Permission.print(self.permission),
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
export const defaultSubprotocol = "effect-channels.json"

/**
 * Makes a consumer, without actions.
 *
 * - `path`: the pattern of the URL path, matched whole and case-sensitively; `params`: schemas of its parameters, strings
 *   by default. A URL whose parameters their schemas refuse is not there (404).
 * - `subprotocols`: those that it speaks, `effect-channels.json` by default. Of those that a client offers
 *   (`Sec-WebSocket-Protocol`) the first one among them is chosen; none where it offers no such one. Browsers that offered
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
    permission: unsaid,
    subprotocols: options.subprotocols ?? [defaultSubprotocol],
    concurrency: options.concurrency ?? 1,
    timeout: options.timeout ?? "30 seconds"
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
} = dual(
  2,
  (self: Any, permission: Permission.Any) =>
    Value.make(proto, { ...self, connectPermission: both(self.connectPermission, permission) })
)

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
} = dual(
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
