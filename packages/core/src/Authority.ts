/**
 * Grants on a live socket: what a connection may do is decided anew when the facts change.
 *
 * Somebody who changes the facts (takes a role away, ends a session) says so with {@link invalidate}, from a handler, an HTTP
 * route or a fiber of its own. Then, for each connection that is meant:
 *
 * - Who is behind it is found out anew, where the scheme of its identity can `refresh`.
 * - The checks of the connection are asked again: what they said before is forgotten.
 * - Whoever lost the permission to connect is closed with 4403 and the reason; whose credentials no longer hold, with 4401.
 * - An action that runs, and would be denied now, is interrupted and answered with 403 `permission_lost`. A stream stops where it is
 *   while that is decided: it goes on, or ends in the same way; a live query of a resource is told what has come and gone.
 * - Objects that guard the handshake are loaded anew (`Consumer.permitConnectObject`).
 *
 * **Bound.** When `invalidate` has completed, no message is handled any more, and no reply leaves, by what was decided before:
 * the connection waits until its checks have answered. Messages that arrive meanwhile are kept, and then decided by the new
 * facts. It takes as long as the checks and `refresh` take, and no longer than `Settings.redecisionTimeout` (10 seconds by
 * default): then the connection is closed with 1013, and may connect again.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Authentication from "./Authentication.ts"
import type * as ChannelError from "./ChannelError.ts"

/**
 * The connections whose authority is decided anew. It is plain data, which can be sent to other nodes.
 *
 * @category models
 * @since 0.1.0
 */
export type Target =
  | { readonly _tag: "Everyone" }
  /** The connection with this id of its `ConnectionScope`. */
  | { readonly _tag: "Connection"; readonly id: string }
  /** The connections of a user: the key of the identity service, and the user's own. */
  | { readonly _tag: "Identity"; readonly service: string; readonly key: string }

/**
 * Carries the news that facts have changed to everybody who decides by them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Authority {
  /**
   * Tells all servers that it reaches. Those of this process know when it completes. Fails where others cannot be reached
   * now; those of this process know all the same.
   */
  readonly invalidate: (target: Target) => Effect.Effect<void, ChannelError.Unavailable>
  /** For servers: calls a function with each target, as long as the scope is open. The function must not throw. */
  readonly subscribe: (listener: (target: Target) => void) => Effect.Effect<void, never, Scope.Scope>
}

/**
 * An authority in memory, for the servers that it is provided to.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMemory = (): Authority => {
  const listeners = new Set<(target: Target) => void>()
  return {
    invalidate: (target) => Effect.sync(() => listeners.forEach((listener) => listener(target))),
    subscribe: (listener) => {
      // A function of its own: somebody may subscribe the same one twice.
      const own = (target: Target) => listener(target)
      return Effect.acquireRelease(
        Effect.sync(() => {
          listeners.add(own)
        }),
        () => Effect.sync(() => listeners.delete(own))
      )
    }
  }
}

/**
 * The authority of a server. Where none is provided, all servers of the process share one.
 *
 * @category references
 * @since 0.1.0
 */
export const Authority: Context.Reference<Authority> = Context.Reference<Authority>("effect-channels/Authority", {
  defaultValue: makeMemory
})

/**
 * An authority in memory that is shared by no more than what it is provided to: servers, and those who invalidate.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<never> = Layer.sync(Authority, makeMemory)

/**
 * All connections.
 *
 * @category constructors
 * @since 0.1.0
 */
export const everyone: Target = Object.freeze({ _tag: "Everyone" })

/**
 * One connection, by the id of its `ConnectionScope`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const connection = (id: string): Target => ({ _tag: "Connection", id })

/**
 * All connections of a user, by what tells users apart: what the `key` of the identity service says of them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const identity = <Self, A>(
  service: Authentication.ServiceKey<Self, A> & Authentication.Keyed<A>,
  key: string
): Target => ({ _tag: "Identity", service: service.key, key })

/**
 * Has connections decided anew, see the head of this module: from its completion on nothing is decided by old facts.
 *
 * **Example** (A role is taken away)
 *
 * ```ts
 * import { Authentication, Authority } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 *
 * interface User {
 *   readonly id: string
 *   readonly roles: ReadonlyArray<string>
 * }
 * class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser", { key: (user) => user.id }) {}
 * declare const forgetRole: (id: string, role: string) => Effect.Effect<void>
 *
 * const revoke = (id: string, role: string) =>
 *   Effect.andThen(forgetRole(id, role), Authority.invalidate(Authority.identity(CurrentUser, id)))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const invalidate = (target: Target): Effect.Effect<void, ChannelError.Unavailable> =>
  Effect.flatMap(Authority, (authority) => authority.invalidate(target))
