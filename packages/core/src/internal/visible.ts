/**
 * Which objects of a resource a request may see: those that it may retrieve.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Action from "../Action.ts"
import * as ChannelError from "../ChannelError.ts"
import type * as Decision from "../Decision.ts"
import * as Filter from "../Filter.ts"
import type { Request } from "../Handlers.ts"
import * as Permission from "../Permission.ts"
import type * as Repository from "../Repository.ts"
import type * as Resource from "../Resource.ts"
import type * as Route from "../Route.ts"
import type * as compile from "./compile.ts"
import * as decide from "./decide.ts"
import { andThen, type Eager, effectOf } from "./eager.ts"
import * as endpoints from "./endpoints.ts"
import { contextOf } from "./exchange.ts"
import { deniedBy } from "./failure.ts"
import { by } from "./filter.ts"
import type { Standing } from "./standing.ts"
import { filterOfAll, ofObjects, untranslatable } from "./translate.ts"

/** Which objects of a resource a request may see. */
export interface Visible {
  /** A filter that means them, and the rows to read them from. */
  readonly source: (request: Request, rows: Rows) => Effect.Effect<Source, unknown, unknown>
  /** What guards `retrieve`, from the consumer to the action. */
  readonly guards: ReadonlyArray<Permission.Tree>
  /** Whether a request may see an object, by what the connection phase has left of the guards. Fails where a check fails. */
  readonly sees: (
    request: Request,
    residuals: ReadonlyArray<Permission.Tree>
  ) => (row: Row) => Eager<boolean, unknown>
}

/** Rows, and which of them are meant. */
export interface Source {
  readonly filter: Filter.Filter<Row>
  readonly rows: Pick<Rows, "select" | "count">
}

type Row = Readonly<Record<string, unknown>>
type Rows = Repository.Repository<Row, unknown, Row>

/** So many objects a permission is decided for, for one list. */
const maxDecided = 10_000

/** Finds out which objects a request for them may see, by what guards `retrieve`; or why that cannot be said. */
export const make = (resource: Resource.Any, place: compile.Place): Visible | ReadonlyArray<string> => {
  const retrieve = placeOf(resource, place)
  const permissions = [place.permission, ...retrieve.permissions]
  const opaque = untranslatable(permissions)
  if (opaque.length > 0 && !resource.options.perObject) {
    return Array.from(
      new Set(opaque.map(({ name }) => name)),
      (name) =>
        `it is of the objects that may be retrieved, but the check "${name}" says only of one object at a time whether that is so: make it with Permission.where, give it the option ${
          opaque.some((check) => check.name === name && check.phase === "action") ? "everyObject" : "query"
        }, or let the resource decide for each object (perObject: true)`
    )
  }
  const guards = permissions.filter((permission) => permission !== Permission.allow).map(({ tree }) => ofObjects(tree))
  const { key } = resource.repository.definition
  const routeOf = routing(resource, place.route, retrieve.route)
  const sees: Visible["sees"] = (request, residuals) => {
    if (residuals.length === 0) return () => true
    const { standing } = contextOf(request)
    const hasActions = residuals.some(looksAtAction)
    return (row) => {
      const facts = new RetrieveFacts(request, row, resource.param, row[key], routeOf)
      const decided = (residuals: ReadonlyArray<Permission.Tree> | undefined): Eager<boolean, unknown> => {
        if (residuals === undefined) return false
        facts.phase = "object"
        // What is still undecided is denied.
        return andThen(left(standing, residuals, facts), (rest) => rest?.length === 0)
      }
      return hasActions ? andThen(left(standing, residuals, facts), decided) : decided(residuals)
    }
  }
  return {
    guards,
    sees,
    source: (request, rows) =>
      Effect.flatMap(residualsOf(request, guards), (residuals): Effect.Effect<Source, unknown, unknown> => {
        if (residuals.length === 0) return Effect.succeed({ filter: Filter.all, rows })
        if (opaque.length > 0) {
          return Effect.succeed({ filter: Filter.all, rows: new Decided(rows, sees(request, residuals)) })
        }
        const { params, query, route } = request
        const facts: ActionFacts = { phase: "action", action: "retrieve", route, query, params: params as Row }
        const rest = residuals.some(looksAtAction) ? left(contextOf(request).standing, residuals, facts) : residuals
        const filter = andThen(rest, (rest) => rest === undefined ? Filter.none : filterOfAll(rest, facts))
        return Effect.isEffect(filter)
          ? Effect.map(filter, (filter) => ({ filter, rows }))
          : Effect.succeed({ filter, rows })
      })
  }
}

type ActionFacts = Permission.ActionFacts & { readonly phase: "action" }

/** Whether something is decided in the action phase. What is not is left by it as it is. */
const looksAtAction = (tree: Permission.Tree): boolean => {
  switch (tree._tag) {
    case "Constant":
      return true
    case "Check":
      return tree.phase !== "object"
    case "Not":
      return looksAtAction(tree.member)
    case "And":
    case "Or":
      return tree.members.some(looksAtAction)
  }
}

/** What permissions look at, of an object among many: what they mostly do not look at is not made. */
class RetrieveFacts implements Permission.ActionFacts {
  phase: "action" | "object" = "action"
  readonly action = "retrieve"
  readonly object: Row
  readonly payload = undefined
  readonly #request: Request
  readonly #param: string
  readonly #key: unknown
  readonly #routeOf: (request: Request, key: unknown) => string

  constructor(
    request: Request,
    row: Row,
    param: string,
    key: unknown,
    routeOf: (request: Request, key: unknown) => string
  ) {
    this.#request = request
    this.object = row
    this.#param = param
    this.#key = key
    this.#routeOf = routeOf
  }

  get route(): string {
    return this.#routeOf(this.#request, this.#key)
  }

  get query(): Request["query"] {
    return this.#request.query
  }

  get params(): Row {
    return { ...this.#request.params as Row, [this.#param]: this.#key }
  }
}

/**
 * What a phase leaves of permissions, in the order in which `retrieve` is guarded by them; `undefined` where one of them denies.
 * Fails where a check fails before.
 */
const left = (
  standing: Standing,
  residuals: ReadonlyArray<Permission.Tree>,
  facts: RetrieveFacts | ActionFacts,
  from = 0,
  rest: Array<Permission.Tree> = []
): Eager<ReadonlyArray<Permission.Tree> | undefined, unknown> => {
  for (let i = from; i < residuals.length; i++) {
    const decision = standing.decideRest(residuals[i]!, facts as Permission.Facts, undefined)
    if (Effect.isEffect(decision)) {
      return Effect.flatMap(
        decision,
        (decision) =>
          effectOf(
            andThen(
              keep(decision, rest),
              (goesOn) => goesOn ? left(standing, residuals, facts, i + 1, rest) : undefined
            )
          )
      )
    }
    const goesOn = keep(decision, rest)
    if (Effect.isEffect(goesOn)) return goesOn
    if (!goesOn) return undefined
  }
  return rest
}

/** Keeps what is left of a permission; tells whether it may still come to Allow. Fails where a check has. */
const keep = (
  decision: Decision.Decision<Permission.Tree>,
  rest: Array<Permission.Tree>
): boolean | Effect.Effect<never, unknown> => {
  switch (decision._tag) {
    case "Allow":
      return true
    case "Pending":
      rest.push(decision.residual)
      return true
    case "Deny":
      return false
    case "Failed":
      return decide.outcomeOfDecision(decision) === "Failed" ? Effect.failCause(decision.cause) : false
  }
}

/** The route of an object, for who asks for many of them: its pattern, with what the request has for its other parameters. */
const routing = (
  { param, repository }: Resource.Any,
  listed: string,
  retrieved: string
): (request: Request, key: unknown) => string => {
  const { key, schema } = repository.definition
  const encode = Schema.encodeUnknownSync(
    Schema.toCodecStringTree((schema.fields as Readonly<Record<string, Schema.Codec<unknown>>>)[key]!)
  )
  const names = listed.split("/")
  return (request, value) => {
    const segments = request.route.split("/")
    return retrieved.split("/").map((segment) => {
      if (segment === `:${param}`) return endpoints.escape(String(encode(value)))
      return segment.startsWith(":") ? segments[names.indexOf(segment)] ?? segment : segment
    }).join("/")
  }
}

/** What is left of permissions after the connection phase. Fails where somebody may see nothing. */
export const residualsOf = (
  request: Request,
  guards: ReadonlyArray<Permission.Tree>
): Effect.Effect<ReadonlyArray<Permission.Tree>, unknown, unknown> =>
  Effect.suspend(() => effectOf(residualsFrom(contextOf(request).standing, guards, 0, [])))

const residualsFrom = (
  standing: Standing,
  guards: ReadonlyArray<Permission.Tree>,
  from: number,
  residuals: Array<Permission.Tree>
): Eager<ReadonlyArray<Permission.Tree>, unknown> => {
  for (let i = from; i < guards.length; i++) {
    const decision = standing.decide(guards[i]!, { phase: "connection" }, undefined)
    if (Effect.isEffect(decision)) {
      return Effect.flatMap(
        decision,
        (decision) => refusal(decision, residuals) ?? effectOf(residualsFrom(standing, guards, i + 1, residuals))
      )
    }
    const refused = refusal(decision, residuals)
    if (refused !== undefined) return refused
  }
  return residuals
}

/** Why somebody may see nothing. Otherwise what is left is kept. */
const refusal = (
  decision: Decision.Decision<Permission.Tree>,
  residuals: Array<Permission.Tree>
): Effect.Effect<never, unknown> | undefined => {
  switch (decision._tag) {
    case "Allow":
      return undefined
    case "Pending":
      residuals.push(decision.residual)
      return undefined
    case "Deny":
      return Effect.fail(deniedBy(decision.denial))
    case "Failed":
      return Effect.failCause(decision.cause)
  }
}

/** Rows of which only those are there that somebody may see: all of them are read, and decided, once for a request. */
class Decided implements Pick<Rows, "select" | "count"> {
  readonly #rows: Pick<Rows, "select">
  readonly #isVisible: (row: Row) => Eager<boolean, unknown>
  #known: { readonly filter: Filter.Any; readonly rows: ReadonlyArray<Row> } | undefined

  constructor(rows: Pick<Rows, "select">, isVisible: (row: Row) => Eager<boolean, unknown>) {
    this.#rows = rows
    this.#isVisible = isVisible
  }
  count(filter: Filter.Filter<Row>): Effect.Effect<number, ChannelError.Unavailable> {
    return Effect.map(this.#all(filter), (rows) => rows.length)
  }
  select(selection: Repository.Selection<Row>): Effect.Effect<ReadonlyArray<Row>, ChannelError.Unavailable> {
    const from = selection.offset ?? 0
    return Effect.map(
      this.#all(selection.filter),
      (rows) =>
        rows.toSorted(by(selection.order)).slice(
          from,
          selection.limit === undefined ? undefined : from + selection.limit
        )
    )
  }
  #all(filter: Filter.Filter<Row>): Effect.Effect<ReadonlyArray<Row>, ChannelError.Unavailable> {
    return Effect.suspend(() => {
      if (this.#known?.filter === filter) return Effect.succeed(this.#known.rows)
      return this.#rows.select({ filter, order: [], limit: maxDecided + 1 }).pipe(
        Effect.filterOrFail(
          (rows) => rows.length <= maxDecided,
          () => tooMany(maxDecided, "A list whose objects are decided one by one")
        ),
        Effect.flatMap((rows) => Effect.filter(rows, (row) => effectOf(this.#isVisible(row)))),
        Effect.tap((rows) => Effect.sync(() => this.#known = { filter, rows }))
        // What a check fails with is what a list fails with, as for one object.
      ) as unknown as Effect.Effect<ReadonlyArray<Row>, ChannelError.Unavailable>
    })
  }
}

/** There are more objects than are looked at. */
export const tooMany = (max: number, what: string): ChannelError.InvalidPayload =>
  new ChannelError.InvalidPayload({
    problems: [{ detail: `${what} is of at most ${max} objects: ask for fewer, by filters`, path: ["query"] }]
  })

/** Where an object of a resource is retrieved: here, beside its list, or else where it is first; with what guards it there. */
const placeOf = (resource: Resource.Any, { consumer, route }: compile.Place): Place => {
  const places = placesIn(consumer.members, "", [])
  const own = places.filter(({ action }) =>
    action.name === "retrieve" && endpoints.resourceOf(action)?.name === resource.name
  )
  const at = (route: string) => own.find((place) => place.route === route)
  const found = at(route) ?? at(`${route}:${resource.param}/`) ?? own[0]
  if (found !== undefined) return { ...found, permissions: [...found.permissions, found.action.permission] }
  const beside = places.find((place) => place.route === route)!
  return { ...beside, permissions: [...beside.permissions, resource.permissions.retrieve] }
}

interface Place {
  readonly route: string
  readonly action: Action.Any
  readonly permissions: ReadonlyArray<Permission.Any>
}

const placesIn = (
  members: ReadonlyArray<Route.Member>,
  route: string,
  permissions: ReadonlyArray<Permission.Any>
): ReadonlyArray<Place> =>
  members.flatMap((member) =>
    "path" in member
      ? placesIn(member.members, route + member.path, [...permissions, member.permission])
      : [{ route, action: member, permissions }]
  )
