/**
 * What the actions of resources do.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ChannelLayer } from "../ChannelLayer.ts"
import * as Filter from "../Filter.ts"
import type { Handlers, Request } from "../Handlers.ts"
import * as Repository from "../Repository.ts"
import type * as Resource from "../Resource.ts"
import * as compile from "./compile.ts"
import * as endpoints from "./endpoints.ts"
import { feedOf } from "./feed.ts"
import * as listing from "./listing.ts"
import * as live from "./live.ts"
import * as payloads from "./payloads.ts"
import { share } from "./sharing.ts"
import * as Value from "./value.ts"
import * as visible from "./visible.ts"

/** A row as this module sees it: its types were checked where the resource was handled. */
type Row = Readonly<Record<string, unknown>>
type Rows = Repository.Repository<Row, unknown, Row>
type Work<A = unknown> = Effect.Effect<A, unknown, unknown>

/** What an application does otherwise; see `Resource.Handling`. */
interface Handling {
  readonly rows?: (request: Request) => Filter.Filter<Row> | Work<Filter.Filter<Row>>
  readonly create?: (request: Request, insert: (row: Row) => Work<Row>) => Work<Row>
  readonly retrieve?: (request: Request) => Work<Row>
  readonly update?: Write
  readonly partial_update?: Write
  readonly destroy?: (request: Request, remove: Work<void>) => Work<void>
  readonly computed?: Readonly<Record<string, (row: Row) => unknown>>
}

type Write = (request: Request, write: (changes: Row) => Work<Row>) => Work<Row>

/** Handles the actions of a resource, wherever they are and are not handled yet. */
export const add = (
  self: Handlers<string, unknown, unknown>,
  resource: Resource.Any,
  handling: Handling
): Handlers<string, unknown, unknown> => {
  const isHandled = ({ action, route }: endpoints.Endpoint) =>
    self.handlers.some((one) => one.name === action.name && one.route === route)
  const added = endpoints.all(self.consumer).flatMap((endpoint): ReadonlyArray<compile.Handler> => {
    const own = visible.resourceOf(endpoint.action)
    if (own?.name !== resource.name || isHandled(endpoint)) return []
    const handle = new compile.Late((place) => handlerOf(own, handling, place))
    return [{ route: endpoint.route, name: endpoint.action.name, handle }]
  })
  return Value.make(Object.getPrototypeOf(self), { ...self, handlers: [...self.handlers, ...added] })
}

/** The handler of an action at its place, or what is wrong with it. */
const handlerOf = (
  resource: Resource.Any,
  handling: Handling,
  place: compile.Place
): compile.Handle | ReadonlyArray<string> => {
  const found = Context.getOption(place.context as Context.Context<unknown>, serviceOf(resource))
  if (Option.isNone(found)) return [`the repository "${resource.repository.key}" is not provided`]
  const others = endpoints.all(place.consumer).map(({ action }) => visible.resourceOf(action))
  if (others.some((other) => other?.name === resource.name && other !== resource)) {
    return [`there are two resources of the name "${resource.name}": two resources need two names`]
  }
  const uncomputed = resource.options.computed.filter((name) => handling.computed?.[name] === undefined)
  if (uncomputed.length > 0) {
    return uncomputed.map((name) =>
      `nothing says what is in the computed field "${name}": give it with the option computed of Resource.handle`
    )
  }
  return new Handler(resource, handling, place, found.value).make()
}

const serviceOf = (resource: Resource.Any): Context.Key<unknown, Rows> => resource.repository as never

/** What the handlers of one resource are made of. */
class Handler {
  readonly #resource: Resource.Any
  readonly #handling: Handling
  readonly #place: compile.Place
  readonly #rows: Rows
  readonly #read: (row: Row) => Work

  constructor(resource: Resource.Any, handling: Handling, place: compile.Place, rows: Rows) {
    this.#resource = resource
    this.#handling = handling
    this.#place = place
    this.#rows = rows
    this.#read = reader(resource, handling.computed ?? {})
  }

  make(): compile.Handle | ReadonlyArray<string> {
    switch (this.#place.action.name as Resource.ActionName) {
      case "list":
        return this.#list()
      case "create":
        return this.#create()
      case "retrieve":
        return this.#retrieve(this.#handling.retrieve)
      case "update":
        return this.#update(this.#handling.update)
      case "partial_update":
        return this.#update(this.#handling.partial_update)
      case "destroy":
        return this.#destroy()
      case "subscribe":
        return this.#subscribe()
      case "unsubscribe":
        return unsubscribe
    }
  }

  /** What a client may ask of a list, and which objects it may see; or what is wrong with that. */
  #listing(): { readonly list: listing.Listing; readonly seen: visible.Visible } | ReadonlyArray<string> {
    const { name, options, repository, schemas } = this.#resource
    const list = listing.make({ name, definition: repository.definition, options, settings: this.#place.settings })
    const seen = visible.make(this.#resource, this.#place)
    const problems = [list, seen].flatMap((made) => Array.isArray(made) ? made as ReadonlyArray<string> : [])
    if (problems.length > 0) return problems
    const { uses } = list as listing.Listing
    const told = Array.from(new Set(Object.values(uses).flat())).filter((field) => !schemas.readable.includes(field))
    return told.length > 0
      ? told.map((field) => `clients are not sent "${field}", but could find it out by filtering or ordering`)
      : { list: list as listing.Listing, seen: seen as visible.Visible }
  }

  #list(): compile.Handle | ReadonlyArray<string> {
    const made = this.#listing()
    if (!("list" in made)) return made
    const { list: { page }, seen: { source } } = made
    const every = (results: ReadonlyArray<Row>) => Effect.forEach(results, (row) => this.#read(row))
    return (request) =>
      Effect.gen({ self: this }, function*() {
        const { filter, rows } = yield* source(request, this.#rows)
        const scope = yield* this.#scope(request)
        const found = yield* page(request, rows, scope === undefined ? filter : Filter.and(scope, filter))
        return Array.isArray(found)
          ? yield* every(found)
          : { ...found, results: yield* every((found as { readonly results: ReadonlyArray<Row> }).results) }
      })
  }

  #subscribe(): compile.Handle | ReadonlyArray<string> {
    const made = this.#listing()
    if (!("list" in made)) return made
    const { list, seen } = made
    const { action, context, start } = this.#place
    const { definition } = this.#resource.repository
    const { options, schemas } = this.#resource
    const layer = Context.getOption(context as Context.Context<ChannelLayer>, ChannelLayer)
    const feed = feedOf(this.#rows, definition.key, context)
    if (Option.isSome(layer)) start(shared(this.#resource.repository, this.#rows, layer.value, context))
    const query = {
      feed,
      rows: this.#rows,
      key: definition.key,
      visible: seen,
      render: renderer(this.#read, schemas.read, definition, options.computed.length === 0),
      max: options.maxLive
    }
    const all = (request: Request) =>
      Stream.unwrap(
        Effect.map(list.filterOf(request), (asked) =>
          live.open({ ...query, ...asked, request, scope: this.#scope(request) }))
      )
    if (action.object === undefined) return all
    const { object } = this.#onObject(false, Effect.succeed) as Exclude<compile.Handle, compile.Start>
    return {
      object,
      run: (request) => {
        const value = objectOf(request)[definition.key]
        const filter = Filter.fromTree<Row>({ _tag: "Comparison", field: definition.key, operator: "eq", value })
        return live.open({ ...query, request, filter, order: [], scope: this.#scope(request) })
      }
    }
  }

  #create(): compile.Handle | ReadonlyArray<string> {
    const { create } = this.#handling
    const { schemas } = this.#resource
    const defaults = payloads.defaults(this.#resource.repository.definition.schema, "insert")
    const insert = (row: Row): Work<Row> =>
      defaults === undefined
        ? this.#rows.insert(row)
        : Effect.flatMap(defaults, (defaults) => this.#rows.insert({ ...defaults, ...row }))
    if (create === undefined) {
      return schemas.given.length > 0
        ? schemas.given.map((name) =>
          `a new object needs "${name}", which clients do not send: give it with the option create of Resource.handle`
        )
        : (request) => Effect.flatMap(insert(request.payload as Row), this.#read)
    }
    return (request) =>
      Effect.flatMap(this.#rows.transaction(Effect.suspend(() => create(request, insert))), this.#read)
  }

  #retrieve(retrieve = (request: Request): Work<Row> => Effect.succeed(objectOf(request))): compile.Handle {
    return this.#onObject(false, (request) => Effect.flatMap(retrieve(request), this.#read))
  }

  #update(update: Write = (request, write) => write(request.payload as Row)): compile.Handle {
    const { definition } = this.#resource.repository
    const { key, version } = definition
    const defaults = payloads.defaults(definition.schema, "update")
    return this.#onObject(true, (request) => {
      const id = objectOf(request)[key]
      const known = version === undefined ? undefined : (request.payload as Row)[version] as number | undefined
      const updated = update(request, (changes) => {
        const { [version ?? ""]: _, ...others } = changes
        const write = (defaults: Row) => this.#rows.update(id, { ...defaults, ...others }, { version: known })
        return defaults === undefined ? write({}) : Effect.flatMap(defaults, write)
      })
      return Effect.flatMap(updated, this.#read)
    })
  }

  #destroy(): compile.Handle {
    const { key } = this.#resource.repository.definition
    const destroy = this.#handling.destroy ?? ((_request, remove) => remove)
    return this.#onObject(true, (request) => destroy(request, this.#rows.remove(objectOf(request)[key])))
  }

  /** Handles an action on one object, in a transaction where it is written. */
  #onObject(isWritten: boolean, run: (request: Request) => Work): compile.Handle {
    const { name, param } = this.#resource
    const missing = new Repository.NotFound({ message: `There is no such object in "${name}"` })
    const find = (request: Request): Work<Row> =>
      Effect.flatMap(
        this.#rows.find((request.params as Row)[param], { lock: isWritten }),
        Option.match({ onNone: () => Effect.fail(missing), onSome: Effect.succeed })
      )
    const object = this.#handling.rows === undefined
      ? find
      : (request: Request) =>
        Effect.flatMap(
          this.#scope(request),
          (scope) => Effect.filterOrFail(find(request), Filter.matches(scope ?? Filter.all), () => missing)
        )
    return {
      object,
      run,
      ...(isWritten ? { transaction: (effect) => this.#rows.transaction(effect) } : {})
    }
  }

  /** Which rows there are for a request. */
  #scope(request: Request): Work<Filter.Filter<Row> | undefined> {
    const { rows } = this.#handling
    if (rows === undefined) return Effect.undefined
    return Effect.suspend(() => {
      const scope = rows(request)
      return Effect.isEffect(scope) ? scope : Effect.succeed(scope)
    })
  }
}

/** Tells other servers what is written here, where they do not hear of it themselves. */
export const shared = (
  { definition, key }: Repository.AnyClass,
  rows: unknown,
  layer: ChannelLayer["Service"],
  context: Context.Context<never>
): Effect.Effect<void, never, Scope.Scope> => {
  const own = rows as Rows
  return own.hearsAll === true
    ? Effect.void
    : share(key, definition, own, feedOf(own, definition.key, context), layer)
}

/** Ends live queries of the same route. */
const unsubscribe: compile.Run = (request) => {
  const id = (request.payload as { readonly request_id: string | number } | undefined)?.request_id
  return live.close(request, id)
    ? Effect.void
    : Effect.fail(new Repository.NotFound({ message: "There is no such subscription" }))
}

/**
 * Makes of a row what a client is told of it: once, whoever is told, where that does not depend on whom, as what is computed by the
 * application may.
 */
const renderer = (
  read: (row: Row) => Work,
  schema: Schema.Constraint,
  definition: Repository.Definition,
  isAlike: boolean
): (row: Row) => Work<live.Told> => {
  const encode = Schema.encodeUnknownEffect(Schema.toCodecJson(schema))
  const fields = definition.schema.fields as Readonly<Record<string, Schema.Constraint>>
  const encodeKey = Schema.encodeUnknownEffect(Schema.toCodecJson(fields[definition.key]!))
  const known = new WeakMap<Row, live.Told>()
  return (row) => {
    const before = known.get(row)
    if (before !== undefined) return Effect.succeed(before)
    return Effect.gen(function*() {
      const json = JSON.stringify(yield* encode(yield* read(row)))
      const told = { key: JSON.stringify(yield* encodeKey(row[definition.key])), json }
      if (isAlike) known.set(row, told)
      return told
    })
  }
}

const objectOf = (request: Request): Row => (request as unknown as { readonly object: Row }).object

/** Makes of a row what a client is sent. */
const reader = (
  { options, schemas }: Resource.Any,
  computed: Readonly<Record<string, (row: Row) => unknown>>
): (row: Row) => Work => {
  if (schemas.isWhole) return Effect.succeed
  const pick = (row: Row): Row =>
    Object.fromEntries(schemas.readable.filter((name) => Object.hasOwn(row, name)).map((name) => [name, row[name]]))
  if (options.computed.length === 0) return (row) => Effect.succeed(pick(row))
  return (row) =>
    Effect.map(
      Effect.forEach(options.computed, (name) =>
        Effect.suspend(() => {
          const value = computed[name]!(row)
          return (Effect.isEffect(value) ? value : Effect.succeed(value)) as Work
        })),
      (values) => ({ ...pick(row), ...Object.fromEntries(options.computed.map((name, i) => [name, values[i]])) })
    )
}
