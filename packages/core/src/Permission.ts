/**
 * Who may do what: a boolean expression over named checks, which can be printed, explained, tested, and decided phase by
 * phase.
 *
 * | check | may look at | decided |
 * | --- | --- | --- |
 * | {@link connection} | scope, identity | once per connection |
 * | {@link action} | + action, route, params | on every message, before the payload is decoded |
 * | {@link object}, {@link where} | + payload, the object | after the object is loaded, before the handler runs |
 * | {@link group} | scope, identity, the group's params | when a connection joins the group |
 * | {@link delivery} | the recipient's scope and identity, the event | for each recipient of an event |
 *
 * A phase hands what it could not decide, the residual, to the next one. What is still pending after the last phase is
 * denied. See `Decision` for how values combine, and what becomes of a check that fails.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { Inspectable } from "effect/Inspectable"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Authentication from "./Authentication.ts"
import { ConnectionScope } from "./ConnectionScope.ts"
import * as Decision from "./Decision.ts"
import * as Filter from "./Filter.ts"
import * as decide_ from "./internal/decide.ts"
import { Explaining } from "./internal/explaining.ts"
import * as Value from "./internal/value.ts"
import type { Query } from "./Query.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Permission"

/**
 * A boolean expression over named checks.
 *
 * - `Facts` is what the checks look at beyond the connection, and must be there where the permission is attached: an
 *   object check on an action without an object does not compile.
 * - `E` is how a check can fail, `R` what the checks need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Permission<in Facts = unknown, out E = never, out R = never> extends Pipeable, Inspectable {
  readonly [TypeId]: {
    readonly _Facts: (_: Facts) => void
    readonly _E: () => E
    readonly _R: () => R
  }
  /** The expression, for interpreters. */
  readonly tree: Tree
}

/**
 * The expression of a permission.
 *
 * @category models
 * @since 0.1.0
 */
export type Tree =
  | { readonly _tag: "Constant"; readonly decision: Decision.Allow | Decision.Deny | Decision.Failed }
  | Check
  | { readonly _tag: "And"; readonly members: ReadonlyArray<Tree> }
  | { readonly _tag: "Or"; readonly members: ReadonlyArray<Tree> }
  | { readonly _tag: "Not"; readonly member: Tree; readonly denied: Decision.Deny }

/**
 * A named check: a leaf of the expression.
 *
 * @category models
 * @since 0.1.0
 */
export interface Check {
  readonly _tag: "Check"
  readonly name: string
  readonly phase: Decision.Phase
  /** The decision where the check says no. */
  readonly denied: Decision.Deny
  readonly evaluate: (facts: never) => boolean | Effect.Effect<boolean, unknown, unknown>
  /** Whether it is known to look at the scope: it is asked for each connection, whoever is behind it. */
  readonly isScoped?: boolean
  /** Which objects it says yes to, as a filter; see {@link where}. */
  readonly query?: ((facts: never) => Filter.Any | Effect.Effect<Filter.Any, unknown, unknown>) | undefined
  /** Whether it says the same of every object of a route, see {@link ActionCheckOptions}. */
  readonly everyObject?: boolean | "passed" | undefined
}

/**
 * What a check answers with: a boolean, or an effect of one.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer<E = unknown, R = unknown> = boolean | Effect.Effect<boolean, E, R>

/**
 * How an answer can fail.
 *
 * @category models
 * @since 0.1.0
 */
export type AnswerError<A> = A extends Effect.Effect<infer _B, infer E, infer _R> ? E : never

/**
 * What an answer needs.
 *
 * @category models
 * @since 0.1.0
 */
export type AnswerServices<A> = A extends Effect.Effect<infer _B, infer _E, infer R> ? R : never

/**
 * What the client learns when a check denies.
 *
 * @category models
 * @since 0.1.0
 */
export interface CheckOptions {
  /** What the client reads. The default tells no more than that permission was denied. */
  readonly reason?: string | undefined
  /** A word for programs, `permission_denied` by default. */
  readonly code?: string | undefined
  /** Whether the client learns neither reason nor code; {@link explain} still shows the check. Default `false`. */
  readonly private?: boolean | undefined
}

/**
 * What the client learns when an {@link action} check denies, and what a list makes of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ActionCheckOptions extends CheckOptions {
  /**
   * Whether it says the same of every object of a resource: it does not look at what the route names of one, such as its key. The
   * list of a resource asks it once, for all of its objects. Default `false`: then its resource cannot be listed, unless each
   * object is asked for. With `"passed"` it is about messages, not objects, as a throttle is: what has let the request in lets all
   * objects in.
   */
  readonly everyObject?: boolean | "passed" | undefined
}

/**
 * What the client learns when an {@link object} check denies, and which objects it says yes to.
 *
 * @category models
 * @since 0.1.0
 */
export interface ObjectCheckOptions<in out Object, out Q, in Params> extends CheckOptions {
  /**
   * The same check as a filter: it must mean exactly the objects that the check says yes to. The list of a resource puts it to
   * the database. {@link where} makes both of one, so that they cannot differ.
   */
  readonly query?: ((facts: ActionFacts<Params>) => Q & QueryAnswer<Object>) | undefined
}

/**
 * What the query of a check answers with: a filter, or an effect of one.
 *
 * @category models
 * @since 0.1.0
 */
export type QueryAnswer<Object, E = unknown, R = unknown> =
  | Filter.Filter<Object>
  | Effect.Effect<Filter.Filter<Object>, E, R>

/**
 * What an {@link action} check may look at, beyond what the connection's services say.
 *
 * @category models
 * @since 0.1.0
 */
export interface ActionFacts<out Params = Readonly<Record<string, unknown>>> {
  /** The action, as it was asked for. */
  readonly action: string
  /** The route as it was sent, without its query string. */
  readonly route: string
  /** The query string of the route. */
  readonly query: Query
  /** The decoded parameters of consumer and route; for a consumer's own permission those of the consumer. */
  readonly params: Params
}

/**
 * What an {@link object} check may look at, beyond what the connection's services say.
 *
 * @category models
 * @since 0.1.0
 */
export interface ObjectFacts<out Object, out Payload = unknown, out Params = Readonly<Record<string, unknown>>>
  extends ActionFacts<Params>
{
  readonly object: Object
  readonly payload: Payload
}

/**
 * What a {@link delivery} check may look at, beyond what the recipient's services say.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeliveryFacts<out Event> {
  /** The type of the event. */
  readonly type: string
  /** Its data. */
  readonly event: Event
}

/**
 * What a {@link group} check may look at, beyond what the connection's services say.
 *
 * @category models
 * @since 0.1.0
 */
export interface GroupFacts<out Params = unknown> {
  /** The name of the group. */
  readonly group: string
  readonly params: Params
}

/**
 * The facts of one phase, which a permission is decided by.
 *
 * @category models
 * @since 0.1.0
 */
export type Facts =
  | { readonly phase: "connection" }
  | { readonly phase: "action" } & ActionFacts
  | { readonly phase: "object" } & ObjectFacts<unknown>
  | { readonly phase: "group" } & GroupFacts
  | { readonly phase: "delivery" } & DeliveryFacts<unknown>

const proto = Value.prototype<Permission>(TypeId, (self) => print(self))

const make = <Facts, E, R>(tree: Tree): Permission<Facts, E, R> => Value.make(proto, { tree })

const check = <Facts, E, R>(
  phase: Decision.Phase,
  name: string,
  evaluate: (facts: never) => Answer,
  options:
    | CheckOptions & { readonly query?: Check["query"]; readonly everyObject?: Check["everyObject"] }
    | undefined,
  isScoped = false
): Permission<Facts, E, R> =>
  make<Facts, E, R>({
    _tag: "Check",
    name,
    phase,
    evaluate,
    isScoped,
    query: options?.query,
    everyObject: options?.everyObject,
    denied: Decision.deny({
      check: name,
      phase,
      reason: options?.reason,
      code: options?.code,
      private: options?.private ?? false
    })
  })

/**
 * Whether a value is a permission.
 *
 * @category guards
 * @since 0.1.0
 */
export const isPermission = (u: unknown): u is Permission<never, unknown, unknown> => Predicate.hasProperty(u, TypeId)

/**
 * A check of the connection: it may look at the scope and the identity. It is decided once per connection.
 *
 * **Example** (Of the identity, and of the scope)
 *
 * ```ts
 * import { Authentication, Permission } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly admin: boolean }>()("app/CurrentUser") {}
 *
 * const isAdmin = Permission.connection("isAdmin", CurrentUser.use((user) => user.admin))
 * const isBeta = Permission.connection("isBeta", (scope) => scope.cookies.beta === "yes")
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const connection: {
  <E, R>(name: string, answer: Effect.Effect<boolean, E, R>, options?: CheckOptions): Permission<unknown, E, R>
  <A extends Answer>(
    name: string,
    answer: (scope: ConnectionScope["Service"]) => A,
    options?: CheckOptions
  ): Permission<unknown, AnswerError<A>, AnswerServices<A> | ConnectionScope>
} = <E, R>(
  name: string,
  answer: Effect.Effect<boolean, E, R> | ((scope: ConnectionScope["Service"]) => Answer<E, R>),
  options?: CheckOptions
): Permission<unknown, E, R | ConnectionScope> => {
  if (Effect.isEffect(answer)) return check("connection", name, () => answer, options)
  const ofScope: Effect.Effect<boolean, unknown, unknown> = ConnectionScope.use((scope) => lift(answer(scope)))
  return check("connection", name, () => ofScope, options, true)
}

/** What is no effect is left to be judged, also where it is no boolean in spite of the types. */
const lift = <E, R>(answer: Answer<E, R>): Effect.Effect<boolean, E, R> =>
  Effect.isEffect(answer) ? answer : Effect.succeed(answer)

/**
 * A check of what is asked for: it may look at the action, the route and its params, besides scope and identity. It is
 * decided on every message, before the payload is decoded.
 *
 * Give the params a type to have them checked where the permission is attached.
 *
 * **Example** (With and without typed params)
 *
 * ```ts
 * import { Permission } from "@effect-channels/core"
 *
 * const readOnly = Permission.action("readOnly", ({ action }) => action === "list" || action === "retrieve")
 * const inLobby = Permission.action<{ readonly room: string }>()("inLobby", ({ params }) => params.room === "lobby")
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const action: {
  <Params>(): <A extends Answer>(
    name: string,
    answer: (facts: ActionFacts<Params>) => A,
    options?: ActionCheckOptions
  ) => Permission<{ readonly action: string; readonly params: Params }, AnswerError<A>, AnswerServices<A>>
  <A extends Answer>(
    name: string,
    answer: (facts: ActionFacts) => A,
    options?: ActionCheckOptions
  ): Permission<{ readonly action: string }, AnswerError<A>, AnswerServices<A>>
} = (
  ...args:
    | []
    | [name: string, answer: (facts: ActionFacts) => Answer, options?: CheckOptions | undefined]
): never => (args.length === 0 ? ofPhase("action") : ofPhase("action")(...args)) as never

/**
 * A check of the object that a message is about: it may look at the object and the payload, besides all that an
 * {@link action} check sees. It is decided after the object is loaded, before the handler runs.
 *
 * **Example** (Only the author)
 *
 * ```ts
 * import { Authentication, Permission } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number }>()("app/CurrentUser") {}
 * interface Message { readonly authorId: number }
 *
 * const isAuthor = Permission.object<Message>()("isAuthor", ({ object }) =>
 *   CurrentUser.use((user) => user.id === object.authorId))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const object = <Object, Payload = unknown, Params = unknown>(): <
  A extends Answer,
  Q extends QueryAnswer<Object> = never
>(
  name: string,
  answer: (facts: ObjectFacts<Object, Payload, Params>) => A,
  options?: ObjectCheckOptions<Object, Q, Params>
) => Permission<
  { readonly object: Object; readonly payload: Payload; readonly params: Params },
  AnswerError<A> | QueryError<Q>,
  AnswerServices<A> | QueryServices<Q>
> => ofPhase("object")

/**
 * How a query can fail.
 *
 * @category models
 * @since 0.1.0
 */
export type QueryError<Q> = Q extends Effect.Effect<infer _F, infer E, infer _R> ? E : never

/**
 * What a query needs.
 *
 * @category models
 * @since 0.1.0
 */
export type QueryServices<Q> = Q extends Effect.Effect<infer _F, infer _E, infer R> ? R : never

/**
 * An {@link object} check by a filter, which may depend on identity, action, route and params: it says yes to the objects that the
 * filter means. A resource puts it to the database when it lists its objects, so that a client is shown those that it may
 * retrieve, and no others.
 *
 * **Example** (Own tasks)
 *
 * ```ts
 * import { Authentication, Filter, Permission } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number }>()("app/CurrentUser") {}
 * interface Task { readonly ownerId: number }
 *
 * const isOwner = Permission.where<Task>()("isOwner", () =>
 *   CurrentUser.use((user) => Filter.fields<Task>().eq("ownerId", user.id)))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const where = <Object, Params = unknown>() =>
<Q extends QueryAnswer<Object>>(
  name: string,
  query: (facts: ActionFacts<Params>) => Q,
  options?: CheckOptions
): Permission<{ readonly object: Object; readonly params: Params }, QueryError<Q>, QueryServices<Q>> =>
  check(
    "object",
    name,
    (facts: ObjectFacts<Object, unknown, Params>): Answer => {
      const answer = query(facts)
      const says = (filter: Filter.Filter<Object>) => Filter.matches(filter)(facts.object)
      return Effect.isEffect(answer) ? Effect.map(answer as Effect.Effect<Filter.Filter<Object>>, says) : says(answer)
    },
    { ...options, query }
  )

/**
 * A check of a group that a connection is to be in: it may look at the group's params, and at scope and identity. It is decided
 * when the connection joins the group, and again whenever its authority is invalidated.
 *
 * **Example** (Members of the room)
 *
 * ```ts
 * import { Authentication, Permission } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly rooms: ReadonlyArray<string> }>()(
 *   "app/CurrentUser"
 * ) {}
 *
 * const isMember = Permission.group<{ readonly room: string }>()("isMember", ({ params }) =>
 *   CurrentUser.use((user) => user.rooms.includes(params.room)))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const group = <Params = unknown>(): <A extends Answer>(
  name: string,
  answer: (facts: GroupFacts<Params>) => A,
  options?: CheckOptions
) => Permission<{ readonly group: string; readonly params: Params }, AnswerError<A>, AnswerServices<A>> =>
  ofPhase("group")

/**
 * A check of an event for one of its recipients: it may look at the event, and at the recipient's scope and identity.
 * It is decided for each recipient, before the event is sent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const delivery = <Event>(): <A extends Answer>(
  name: string,
  answer: (facts: DeliveryFacts<Event>) => A,
  options?: CheckOptions
) => Permission<{ readonly event: Event }, AnswerError<A>, AnswerServices<A>> => ofPhase("delivery")

const ofPhase = (phase: Decision.Phase) =>
<Facts, E, R>(
  name: string,
  answer: (facts: never) => Answer,
  options?: CheckOptions
): Permission<Facts, E, R> => check(phase, name, answer, options)

/**
 * The permission that everybody has.
 *
 * @category constructors
 * @since 0.1.0
 */
export const allow: Permission = make({ _tag: "Constant", decision: Decision.allow })

/**
 * The permission that nobody has.
 *
 * @category constructors
 * @since 0.1.0
 */
export const deny: Permission = /* @__PURE__ */ make({
  _tag: "Constant",
  decision: /* @__PURE__ */ Decision.deny({
    check: "deny",
    phase: "connection",
    reason: undefined,
    code: undefined,
    private: false
  })
})

/**
 * The connection has an identity: it is not anonymous. Denies with the code `not_authenticated`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const isAuthenticated = <Self, Identity>(
  service: Authentication.ServiceKey<Self, Identity>
): Permission<unknown, never, Self> =>
  connection(
    "isAuthenticated",
    Effect.map(service.identity, (identity) => identity._tag === "Authenticated"),
    { reason: "Authentication credentials were not provided", code: "not_authenticated" }
  )

/**
 * Both permissions.
 *
 * @category combinators
 * @since 0.1.0
 */
export const and: {
  <F2, E2, R2>(that: Permission<F2, E2, R2>): <F, E, R>(self: Permission<F, E, R>) => Permission<F & F2, E | E2, R | R2>
  <F, E, R, F2, E2, R2>(
    self: Permission<F, E, R>,
    that: Permission<F2, E2, R2>
  ): Permission<F & F2, E | E2, R | R2>
} = /* @__PURE__ */ dual(2, <F, E, R, F2, E2, R2>(
  self: Permission<F, E, R>,
  that: Permission<F2, E2, R2>
): Permission<F & F2, E | E2, R | R2> => make({ _tag: "And", members: [self.tree, that.tree] }))

/**
 * At least one of two permissions. When both deny, the client reads the reason of the one that was decided last.
 *
 * @category combinators
 * @since 0.1.0
 */
export const or: {
  <F2, E2, R2>(that: Permission<F2, E2, R2>): <F, E, R>(self: Permission<F, E, R>) => Permission<F & F2, E | E2, R | R2>
  <F, E, R, F2, E2, R2>(
    self: Permission<F, E, R>,
    that: Permission<F2, E2, R2>
  ): Permission<F & F2, E | E2, R | R2>
} = /* @__PURE__ */ dual(2, <F, E, R, F2, E2, R2>(
  self: Permission<F, E, R>,
  that: Permission<F2, E2, R2>
): Permission<F & F2, E | E2, R | R2> => make({ _tag: "Or", members: [self.tree, that.tree] }))

/**
 * The opposite of a permission. What fails keeps failing: `not` never makes an Allow of an error.
 *
 * @category combinators
 * @since 0.1.0
 */
export const not: {
  (options?: CheckOptions): <F, E, R>(self: Permission<F, E, R>) => Permission<F, E, R>
  <F, E, R>(self: Permission<F, E, R>, options?: CheckOptions): Permission<F, E, R>
} = /* @__PURE__ */ dual((args) => isPermission(args[0]), <F, E, R>(
  self: Permission<F, E, R>,
  options?: CheckOptions
): Permission<F, E, R> =>
  make({
    _tag: "Not",
    member: self.tree,
    denied: Decision.deny({
      check: `not(${printTree(self.tree)})`,
      phase: lastPhase(self.tree),
      reason: options?.reason,
      code: options?.code,
      private: options?.private ?? false
    })
  }))

/**
 * All of these permissions. None at all is {@link allow}.
 *
 * @category combinators
 * @since 0.1.0
 */
export const all = <const P extends ReadonlyArray<Any>>(
  permissions: P
): Permission<FactsOf<P[number]>, ErrorOf<P[number]>, ServicesOf<P[number]>> =>
  make({ _tag: "And", members: permissions.map((permission) => permission.tree) })

/**
 * At least one of these permissions. None at all is {@link deny}.
 *
 * @category combinators
 * @since 0.1.0
 */
export const any = <const P extends ReadonlyArray<Any>>(
  permissions: P
): Permission<FactsOf<P[number]>, ErrorOf<P[number]>, ServicesOf<P[number]>> =>
  make({ _tag: "Or", members: permissions.map((permission) => permission.tree) })

/**
 * Any permission, whatever it looks at.
 *
 * @category models
 * @since 0.1.0
 */
export type Any = Permission<never, unknown, unknown>

/**
 * The facts that a permission looks at; for several permissions, those of all of them.
 *
 * @category models
 * @since 0.1.0
 */
export type FactsOf<P extends Any> = ([P] extends [never] ? unknown
  : (P extends Permission<infer F, infer _E, infer _R> ? (_: F) => void : never)) extends infer U
  ? unknown extends U ? unknown
  : [U] extends [(_: infer F) => void] ? F
  : never
  : never

/**
 * How the checks of a permission can fail.
 *
 * @category models
 * @since 0.1.0
 */
export type ErrorOf<P extends Any> = P extends Permission<infer _F, infer E, infer _R> ? E : never

/**
 * What the checks of a permission need.
 *
 * @category models
 * @since 0.1.0
 */
export type ServicesOf<P extends Any> = P extends Permission<infer _F, infer _E, infer R> ? R : never

/**
 * Decides a permission by the facts of one phase. Checks of a later phase stay pending, in the residual.
 *
 * A check that fails, dies, throws, or answers with anything but a boolean makes the decision `Failed`; the effect itself
 * never fails.
 *
 * **Example** (An admin is let in before the object is loaded)
 *
 * ```ts
 * import { Permission } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 *
 * const isAdmin = Permission.connection("isAdmin", Effect.succeed(true))
 * const isDraft = Permission.object<{ readonly draft: boolean }>()("isDraft", ({ object }) => object.draft)
 *
 * const decision = Permission.decide(Permission.or(isAdmin, isDraft), { phase: "connection" }) // of Allow
 * ```
 *
 * @category interpreters
 * @since 0.1.0
 */
export const decide = <F, E, R>(
  self: Permission<F, E, R>,
  facts: Facts
): Effect.Effect<Decision.Decision<Permission<F, E, R>>, never, R> =>
  Effect.map(
    decide_.decide(self.tree, facts) as Effect.Effect<Decision.Decision<Tree>, never, R>,
    (decision) => decision._tag === "Pending" ? Decision.pending(make<F, E, R>(decision.residual)) : decision
  )

/**
 * What a check said when a permission was explained.
 *
 * @category models
 * @since 0.1.0
 */
export type Explanation =
  | {
    readonly _tag: "Check"
    readonly name: string
    readonly phase: Decision.Phase
    readonly outcome: Outcome
    readonly cause: Cause.Cause<unknown> | undefined
    /** How long the check took, in milliseconds, where that was measured: in logs and spans. */
    readonly millis?: number
  }
  | {
    readonly _tag: "And" | "Or" | "Not" | "Constant"
    readonly outcome: Outcome
    readonly members: ReadonlyArray<Explanation>
  }

/**
 * The name of a decision; in logs and spans, `Unasked` is what did not matter any more, since the answer was clear.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = Decision.Decision["_tag"] | "Unasked"

/**
 * Decides a permission as {@link decide} does, but asks every check that the phase can decide, and returns the whole tree
 * with the outcome of each part. {@link printExplanation} makes a text of it. A throttle says what it would say, and counts
 * nothing.
 *
 * @category interpreters
 * @since 0.1.0
 */
export const explain = <F, E, R>(self: Permission<F, E, R>, facts: Facts): Effect.Effect<Explanation, never, R> =>
  Effect.provideService(decide_.explain(self.tree, facts), Explaining, true) as Effect.Effect<Explanation, never, R>

/**
 * Prints a permission as the expression it is: `or(isAdmin, and(isMember, not(isBanned)))`.
 *
 * @category interpreters
 * @since 0.1.0
 */
export const print = (self: Any): string => printTree(self.tree)

/**
 * Prints an explanation as an indented tree, a line for each part.
 *
 * @category interpreters
 * @since 0.1.0
 */
export const printExplanation = (self: Explanation, indent = ""): string => {
  if (self._tag === "Check") {
    const why = self.cause === undefined ? "" : `, ${reasonOf(self.cause)}`
    const time = self.millis === undefined ? "" : `, ${self.millis.toFixed(3)} ms`
    return `${indent}${self.name} (${self.phase}): ${self.outcome}${why}${time}`
  }
  const line = self._tag === "Constant" ? self.outcome.toLowerCase() : `${self._tag.toLowerCase()}: ${self.outcome}`
  return [`${indent}${line}`, ...self.members.map((member) => printExplanation(member, `${indent}  `))].join("\n")
}

const reasonOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  try {
    if (Predicate.hasProperty(error, "_tag") && typeof error._tag === "string") return error._tag
    return error instanceof Error ? `${error.name}: ${error.message}` : typeof error
  } catch {
    // A getter of the application.
    return typeof error
  }
}

/**
 * The checks of a permission, from left to right, each as often as it stands there.
 *
 * @category accessors
 * @since 0.1.0
 */
export const checks = (self: Any): ReadonlyArray<Check> => checksOf(self.tree)

const printTree = (tree: Tree): string => {
  switch (tree._tag) {
    case "Constant":
      return tree.decision._tag.toLowerCase()
    case "Check":
      return tree.name
    case "And":
    case "Or":
      return `${tree._tag.toLowerCase()}(${tree.members.map(printTree).join(", ")})`
    case "Not":
      return `not(${printTree(tree.member)})`
  }
}

const checksOf = (tree: Tree): ReadonlyArray<Check> => {
  switch (tree._tag) {
    case "Constant":
      return []
    case "Check":
      return [tree]
    case "And":
    case "Or":
      return tree.members.flatMap(checksOf)
    case "Not":
      return checksOf(tree.member)
  }
}

const lastPhase = (tree: Tree): Decision.Phase => decide_.latest(checksOf(tree).map((leaf) => leaf.phase))
