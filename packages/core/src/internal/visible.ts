/**
 * Which objects of a resource a request may see: those that it may retrieve.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Action from "../Action.ts"
import * as ChannelError from "../ChannelError.ts"
import * as Filter from "../Filter.ts"
import type { Request } from "../Handlers.ts"
import * as Permission from "../Permission.ts"
import type * as Repository from "../Repository.ts"
import type * as Resource from "../Resource.ts"
import type * as Route from "../Route.ts"
import type * as compile from "./compile.ts"
import * as decide from "./decide.ts"
import { effectOf } from "./eager.ts"
import * as endpoints from "./endpoints.ts"
import { contextOf } from "./exchange.ts"
import { deniedBy } from "./failure.ts"
import { compare, own } from "./filter.ts"
import { filterOf, untranslatable } from "./translate.ts"

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
  ) => (row: Row) => Effect.Effect<boolean, unknown, unknown>
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
  const guards = permissions.filter((permission) => permission !== Permission.allow).map(({ tree }) => tree)
  const { key } = resource.repository.definition
  const routeOf = routing(resource, place.route, retrieve.route)
  const factsOf = (request: Request, row: Row): Permission.ActionFacts => ({
    action: "retrieve",
    route: routeOf(request, row[key]),
    query: request.query,
    params: { ...request.params as Row, [resource.param]: row[key] }
  })
  const sees: Visible["sees"] = (request, residuals) => {
    if (residuals.length === 0) return () => Effect.succeed(true)
    return (row) =>
      Effect.suspend(() => {
        const facts = factsOf(request, row)
        return Effect.flatMap(
          left(request, residuals, { ...facts, phase: "action" }),
          (rest) =>
            rest === undefined
              ? Effect.succeed(false)
              : Effect.map(
                left(request, rest, { ...facts, phase: "object", object: row, payload: undefined }),
                // What is still undecided is denied.
                (rest) => rest?.length === 0
              )
        )
      })
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
        const facts = { phase: "action", action: "retrieve", route, query, params: params as Row } as const
        return Effect.flatMap(left(request, residuals, facts), (rest): Effect.Effect<Source, unknown, unknown> =>
          rest === undefined
            ? Effect.succeed({ filter: Filter.none, rows })
            : Effect.map(
              Effect.forEach(rest, (residual) =>
                filterOf(residual, facts)),
              (filters) => ({ filter: Filter.and(...filters), rows })
            ))
      })
  }
}

/**
 * What a phase leaves of permissions, in the order in which `retrieve` is guarded by them; `undefined` where one of them denies.
 * Fails where a check fails before.
 */
const left = (
  request: Request,
  residuals: ReadonlyArray<Permission.Tree>,
  facts: Permission.Facts
): Effect.Effect<ReadonlyArray<Permission.Tree> | undefined, unknown, unknown> => {
  const { standing } = contextOf(request)
  return Effect.gen(function*() {
    const rest: Array<Permission.Tree> = []
    for (const residual of residuals) {
      const decision = yield* effectOf(standing.decideRest(residual, facts, undefined))
      if (decision._tag === "Pending") rest.push(decision.residual)
      else if (decision._tag === "Failed" && decide.outcomeOfDecision(decision) === "Failed") {
        return yield* Effect.failCause(decision.cause)
      } else if (decision._tag !== "Allow") return undefined
    }
    return rest
  })
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
): Effect.Effect<ReadonlyArray<Permission.Tree>, unknown, unknown> => {
  const { standing } = contextOf(request)
  return Effect.gen(function*() {
    const residuals: Array<Permission.Tree> = []
    for (const guard of guards) {
      const decision = yield* Effect.suspend(() => effectOf(standing.decide(guard, { phase: "connection" }, undefined)))
      if (decision._tag === "Deny") return yield* deniedBy(decision.denial)
      if (decision._tag === "Failed") return yield* Effect.failCause(decision.cause)
      if (decision._tag === "Pending") residuals.push(decision.residual)
    }
    return residuals
  })
}

/** Rows of which only those are there that somebody may see: all of them are read, and decided, once for a request. */
class Decided implements Pick<Rows, "select" | "count"> {
  readonly #rows: Pick<Rows, "select">
  readonly #isVisible: (row: Row) => Effect.Effect<boolean, unknown, unknown>
  #known: { readonly filter: Filter.Any; readonly rows: ReadonlyArray<Row> } | undefined

  constructor(rows: Pick<Rows, "select">, isVisible: (row: Row) => Effect.Effect<boolean, unknown, unknown>) {
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
        rows.toSorted(by(selection.order)).slice(from, selection.limit === undefined ? undefined : from + selection.limit)
    )
  }
  #all(filter: Filter.Filter<Row>): Effect.Effect<ReadonlyArray<Row>, ChannelError.Unavailable> {
    return Effect.suspend(() => {
      if (this.#known?.filter === filter) return Effect.succeed(this.#known.rows)
      return this.#rows.select({ filter, order: [], limit: maxDecided + 1 }).pipe(
        Effect.filterOrFail(
          (rows) => rows.length <= maxDecided,
          () =>
            new ChannelError.Unavailable({
              message: `These are more than ${maxDecided} objects, too many to decide for each: ask for fewer`
            })
        ),
        // What a check fails with is what a list fails with, as for one object.
        Effect.flatMap((rows) => Effect.filter(rows, this.#isVisible) as unknown as Effect.Effect<ReadonlyArray<Row>>),
        Effect.tap((rows) => Effect.sync(() => this.#known = { filter, rows }))
      )
    })
  }
}

const by = (order: ReadonlyArray<Repository.Order>) => (a: Row, b: Row): number => {
  for (const { direction, field } of order) {
    const result = compare(own(a, field), own(b, field))
    if (result !== 0) return direction === "ascending" ? result : -result
  }
  return 0
}

/** Where an object of a resource is retrieved: beside its list, or else where it is in the consumer; with what guards it there. */
const placeOf = (resource: Resource.Any, { consumer, route }: compile.Place): Place => {
  const places = placesIn(consumer.members, "", [])
  const own = places.filter(({ action }) => action.name === "retrieve" && resourceOf(action)?.name === resource.name)
  const found = own.find((place) => place.route === `${route}:${resource.param}/`) ?? own[0]
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

/** The resource that an action is of. */
export const resourceOf = (action: Action.Any): Resource.Any | undefined =>
  (action as { readonly resource?: Resource.Any }).resource
