/**
 * What a server does where a consumer says nothing: one reference for all of its consumers, as the settings module of Django
 * REST framework is for all of its views.
 *
 * | here | `REST_FRAMEWORK` / `REST_FRAMEWORK_CHANNELS` of the original |
 * | --- | --- |
 * | `permission` | `DEFAULT_PERMISSION_CLASSES` |
 * | `formatError` | `EXCEPTION_HANDLER` |
 * | `pageSize` | `PAGE_SIZE` |
 * | `maxPageSize` | `max_page_size` of a pagination class |
 * | `secret` | none: its cursors are not signed |
 * | `expiryGrace`, `redecisionTimeout`, `renewalsPerMinute` | none: the original decides once, and forgets |
 * | `keepOutcomes` | none: it does what it is sent as often as it is sent |
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Authentication from "./Authentication.ts"
import type { ConnectionScope } from "./ConnectionScope.ts"
import * as Permission from "./Permission.ts"
import * as Reply from "./Reply.ts"

/**
 * What a server does where a consumer says nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  /**
   * Guards the messages of every consumer without a permission of its own; one with `Consumer.permit(Permission.allow)` is
   * open to everybody all the same. Default: everybody.
   */
  readonly permission: Permission.Any
  /** What the checks of `permission` need. */
  readonly services: Context.Context<never>
  /** Makes the `errors` of a reply. Default: `Reply.formatError`. */
  readonly formatError: (failure: Reply.Failure) => ReadonlyArray<unknown>
  /** Items of a page where the client names no size. Default 20. */
  readonly pageSize: number
  /** Items of a page at the most, whatever the client asks for. Default 100. */
  readonly maxPageSize: number
  /**
   * Signs the cursors of `Pagination.cursor`: at least 16 bytes that nobody can guess, the same on all servers. Default: random
   * ones of each process, so that a cursor does not outlive it, nor holds on another server.
   *
   * **Example** (One for all servers, out of the configuration)
   *
   * ```ts
   * import { Settings } from "@effect-channels/core"
   * import * as Config from "effect/Config"
   * import * as Effect from "effect/Effect"
   * import * as Layer from "effect/Layer"
   *
   * const SettingsLive = Layer.unwrap(
   *   Effect.map(Config.Redacted("CURSOR_SECRET"), (secret) => Settings.layer({ secret }))
   * )
   * ```
   */
  readonly secret: Redacted.Redacted | undefined
  /**
   * How long a connection lives on after its credentials have expired, so that a late renewal still finds it; its messages are
   * handled meanwhile. Default: not at all.
   */
  readonly expiryGrace: Duration.Input
  /**
   * How long it may take to decide a connection anew. Nothing of it is handled in the meantime; after that it is closed with
   * 1013, and may connect again. Default 10 seconds.
   */
  readonly redecisionTimeout: Duration.Input
  /**
   * How often a connection may send credentials with `$authenticate`, which no permission guards; more are answered with 429.
   * Default 10.
   */
  readonly renewalsPerMinute: number
  /**
   * How long the outcome of an action that is done once for each key (`idempotent: "key"`) is remembered after it is known: a request
   * that is sent again later is done again. Default 10 minutes.
   */
  readonly keepOutcomes: Duration.Input
}

/**
 * The settings of a server.
 *
 * **Example** (A page size in a handler)
 *
 * ```ts
 * import { Settings } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 *
 * const firstPage = <A>(items: ReadonlyArray<A>) =>
 *   Effect.map(Settings.Settings, ({ pageSize }) => items.slice(0, pageSize))
 * ```
 *
 * @category references
 * @since 0.1.0
 */
export const Settings: Context.Reference<Settings> = Context.Reference<Settings>("effect-channels/Settings", {
  defaultValue: () => ({
    permission: Permission.allow,
    services: Context.empty(),
    formatError: Reply.formatError,
    pageSize: 20,
    maxPageSize: 100,
    secret: undefined,
    expiryGrace: 0,
    redecisionTimeout: "10 seconds",
    renewalsPerMinute: 10,
    keepOutcomes: "10 minutes"
  })
})

/**
 * What must be provided for a permission that guards a server: its identity is found out by its `Authenticator`.
 *
 * @category models
 * @since 0.1.0
 */
export type Requirements<R> = R extends Authentication.AnyService ? Authentication.Authenticator<R>
  : R extends ConnectionScope ? never
  : R

/**
 * Sets some of the settings, for the handlers that the layer is provided to; what is left out stays as it was. Provide it
 * outermost, to all that a server is made of: one that has settings which its handlers do not have does not start.
 *
 * **Example** (Nobody is anonymous, unless a consumer says so)
 *
 * ```ts
 * import { Authentication, Permission, Reply, Settings } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("app/CurrentUser") {}
 *
 * const SettingsLive = Settings.layer({
 *   permission: Permission.isAuthenticated(CurrentUser),
 *   formatError: (failure) => Reply.formatError(failure).map(({ detail }) => detail)
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(
  settings: Partial<Omit<Settings, "permission" | "services">> & {
    readonly permission?: Permission.Permission<{ readonly action: string }, E, R> | undefined
  }
): Layer.Layer<never, never, Requirements<R>> =>
  Layer.effect(
    Settings,
    Effect.gen(function*() {
      const before = yield* Settings
      const { permission, ...others } = settings
      if (permission === undefined) return { ...before, ...others }
      const services = yield* Effect.context<Requirements<R>>()
      return { ...before, ...others, permission, services: services as Context.Context<never> }
    })
  )
