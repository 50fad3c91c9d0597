/**
 * A path pattern inside a consumer, with typed params, actions and further routes.
 *
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import type { Inspectable } from "effect/Inspectable"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import type * as Action from "./Action.ts"
import type { ParamNames } from "./internal/path.ts"
import { both } from "./internal/permit.ts"
import * as Value from "./internal/value.ts"
import * as Permission from "./Permission.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Route"

/**
 * A path pattern with what is reached by it. `Params` are its own decoded parameters, `Members` its actions and routes,
 * `Needs` what its permission looks at, `R` what permissions and schemas need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Route<out Path extends string, out Params, out Members = never, in Needs = unknown, out R = never>
  extends Pipeable, Inspectable
{
  readonly [TypeId]: {
    readonly _Params: () => Params
    readonly _Members: () => Members
    readonly _Needs: (_: Needs) => void
    readonly _R: () => R
  }
  /** The pattern, relative to what the route is added to: `messages/:id/`. */
  readonly path: Path
  /** The schemas of the parameters; one that is left out is a string. */
  readonly params: Readonly<Record<string, ParamSchema>>
  readonly members: ReadonlyArray<Member>
  readonly permission: Permission.Any
}

/**
 * Any route.
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
  readonly path: string
  readonly params: Readonly<Record<string, ParamSchema>>
  readonly members: ReadonlyArray<Member>
  readonly permission: Permission.Any
}

/**
 * What a route or a consumer is composed of.
 *
 * @category models
 * @since 0.1.0
 */
export type Member = Action.Any | Any

/**
 * The schema of a parameter: it decodes a path segment, without services.
 *
 * @category models
 * @since 0.1.0
 */
export type ParamSchema = Schema.ConstraintCodec<unknown, string, never, unknown>

/**
 * The decoded parameters of a pattern.
 *
 * @category models
 * @since 0.1.0
 */
export type ParamsOf<Path extends string, Schemas> = {
  readonly [Name in ParamNames<Path>]: Name extends keyof Schemas
    ? Schemas[Name] extends { readonly Type: infer T } ? T : string
    : string
}

/**
 * Schemas for parameters of a pattern; a schema for a parameter that the pattern lacks does not compile.
 *
 * @category models
 * @since 0.1.0
 */
export type ParamSchemas<Path extends string, Schemas> =
  & {
    readonly [Name in keyof Schemas]: Name extends ParamNames<Path> ? ParamSchema
      : `the path has no ":${Name & string}"`
  }
  & { readonly [Name in ParamNames<Path>]?: ParamSchema }

/**
 * What the permissions and schemas of actions and routes need.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<M> = M extends Route<infer _Path, infer _Params, infer _Members, infer _Needs, infer R> ? R
  : Action.Services<M>

/** What tells members of one level apart: the name of an action, the shape of a route's pattern. */
type KeyOf<M> = M extends { readonly name: infer Name extends string } ? `action "${Name}"`
  : M extends { readonly path: infer Path extends string } ? `route "${Shape<Path>}"`
  : never

type Shape<Path extends string> = Path extends `${infer Head}/${infer Tail}` ? `${ShapeOfSegment<Head>}/${Shape<Tail>}`
  : ShapeOfSegment<Path>

type ShapeOfSegment<Segment extends string> = Segment extends `:${string}` ? ":" : Segment

/** The keys that stand in a tuple more than once. */
type Repeated<Members extends ReadonlyArray<unknown>> = Members extends readonly [infer Head, ...infer Tail]
  ? Extract<KeyOf<Head>, KeyOf<Tail[number]>> | Repeated<Tail>
  : never

/**
 * Members of which each is there once: what is added twice does not compile.
 *
 * @category models
 * @since 0.1.0
 */
export type Distinct<Members extends ReadonlyArray<unknown>> = [Repeated<Members>] extends [never] ? unknown
  : { readonly "added twice": Repeated<Members> }

/**
 * As {@link Distinct}, for what is there already and what is added.
 *
 * @category models
 * @since 0.1.0
 */
export type NoClash<Old, New> = [Extract<KeyOf<Old>, KeyOf<New>>] extends [never] ? unknown
  : { readonly "added twice": Extract<KeyOf<Old>, KeyOf<New>> }

const proto = Value.prototype<Any>(TypeId, (self) => ({
  _id: "Route",
  path: self.path,
  permission: Permission.print(self.permission),
  members: self.members.map((member) => member.toJSON())
}))

/**
 * Whether a value is a route.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRoute = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * Makes a route. A pattern consists of segments between slashes; `:name` stands for one segment that is not empty. A
 * route matches whole and case-sensitively; a query string is no part of the match. Each parameter is decoded by its
 * schema, a string by default; a segment that its schema refuses, or makes `NaN` of, is a route that is not there (404).
 *
 * **Example** (A typed parameter)
 *
 * ```ts
 * import { Action, Route } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * const archive = Action.make("archive")
 * const MessageRoute = Route.make("messages/:id/", { id: Schema.NumberFromString }).pipe(Route.add(archive))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const Path extends string, const Schemas extends ParamSchemas<Path, Schemas> = {}>(
  path: Path,
  params?: Schemas
): Route<Path, ParamsOf<Path, Schemas>> =>
  Value.make(proto, { path, params: params ?? {}, members: [], permission: Permission.allow })

/**
 * Adds actions and routes. The pattern of a route is appended to this one's, and its actions see the parameters of both.
 *
 * @category combinators
 * @since 0.1.0
 */
export const add =
  <const M extends ReadonlyArray<Member>>(...members: M & Distinct<M>) =>
  <Path extends string, Params, Members, Needs, R>(
    self: Route<Path, Params, Members, Needs, R> & NoClash<Members, M[number]>
  ): Route<Path, Params, Members | M[number], Needs, R | Services<M[number]>> =>
    Value.make(proto, { ...self, members: [...self.members, ...members] })

/**
 * Guards everything inside the route. A second permission is required as well as the first.
 *
 * @category combinators
 * @since 0.1.0
 */
export const permit: {
  <F, E, R2>(
    permission: Permission.Permission<F, E, R2>
  ): <Path extends string, Params, Members, Needs, R>(
    self: Route<Path, Params, Members, Needs, R>
  ) => Route<Path, Params, Members, Needs & F, R | R2>
  <Path extends string, Params, Members, Needs, R, F, E, R2>(
    self: Route<Path, Params, Members, Needs, R>,
    permission: Permission.Permission<F, E, R2>
  ): Route<Path, Params, Members, Needs & F, R | R2>
} = /* @__PURE__ */ dual(2, (self: Any, permission: Permission.Any) =>
  Value.make(proto, {
    ...self,
    permission: both(self.permission, permission)
  }))
