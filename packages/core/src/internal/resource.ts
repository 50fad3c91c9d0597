/**
 * What the actions of resources do.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ChannelError from "../ChannelError.ts"
import { ChannelLayer } from "../ChannelLayer.ts"
import * as Filter from "../Filter.ts"
import type { Handlers, Request } from "../Handlers.ts"
import * as Repository from "../Repository.ts"
import type * as Resource from "../Resource.ts"
import * as compile from "./compile.ts"
import { andThen, type Eager, effectOf } from "./eager.ts"
import { encoder } from "./encoding.ts"
import * as endpoints from "./endpoints.ts"
import { feedOf } from "./feed.ts"
import * as listing from "./listing.ts"
import * as live from "./live.ts"
import { list, there } from "./names.ts"
import * as Path from "./path.ts"
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

const optionNames: ReadonlyArray<string> = [
  "rows",
  "create",
  "retrieve",
  "update",
  "partial_update",
  "destroy",
  "computed"
] satisfies ReadonlyArray<keyof Handling>

/** Handles the actions of a resource, wherever they are and are not handled yet. */
export const add = (
  self: Handlers<string, unknown, unknown>,
  resource: Resource.Any,
  handling: Handling
): Handlers<string, unknown, unknown> => {
  const isHandled = ({ action, route }: endpoints.Endpoint) =>
    self.handlers.some((one) => one.name === action.name && one.route === route)
  const endpointsOf = endpoints.all(self.consumer).filter(({ action }) =>
    endpoints.resourceOf(action)?.name === resource.name
  )
  const added = endpointsOf.filter((endpoint) => !isHandled(endpoint)).map(({ action, route }): compile.Handler => {
    const own = endpoints.resourceOf(action)!
    return { route, name: action.name, handle: new compile.Late((place) => handlerOf(own, handling, place)) }
  })
  const problems = unknownOptions(resource, handling)
  if (added.length === 0) problems.push(surplus(resource, endpointsOf.length > 0))
  return Value.make(Object.getPrototypeOf(self), {
    ...self,
    handlers: [...self.handlers, ...added],
    problems: [...self.problems, ...problems]
  })
}

/** What is wrong where a resource has nothing to be handled. */
const surplus = ({ name }: Resource.Any, isThere: boolean): string =>
  isThere
    ? `Resource.handle(${name}) handles nothing, as all actions of the resource "${name}" are handled before it: leave it out, or give its options where they are handled`
    : `Resource.handle(${name}) handles nothing, as the consumer has no action of the resource "${name}": add them, Consumer.add(...Resource.routes(${name}, path)), or leave it out`

/** Options that there are not: what is misspelt would do nothing. */
const unknownOptions = ({ name, options }: Resource.Any, handling: Handling): Array<string> => {
  const others = (names: object, known: ReadonlyArray<string>) =>
    Object.keys(names).filter((name) => !known.includes(name))
  return [
    ...others(handling, optionNames).map((option) =>
      `Resource.handle(${name}) has no option "${option}": there are ${list(optionNames)}`
    ),
    ...others(handling.computed ?? {}, options.computed).map((field) =>
      `the resource "${name}" has no computed field "${field}", which Resource.handle says something about, ${
        there(options.computed)
      }`
    )
  ]
}

/** The handler of an action at its place, or what is wrong with it. */
const handlerOf = (
  resource: Resource.Any,
  handling: Handling,
  place: compile.Place
): compile.Handle | ReadonlyArray<string | compile.Common> => {
  const { name, param, repository } = resource
  const wrong = payloads.problems(resource)
  if (wrong.length > 0) return wrong.map((problem) => ({ common: `the resource "${name}": ${problem}` }))
  const found = Context.getOption(place.context as Context.Context<unknown>, serviceOf(resource))
  if (Option.isNone(found)) {
    const service = repository.key.slice(repository.key.lastIndexOf("/") + 1)
    return [{
      common:
        `the repository "${repository.key}" of the resource "${name}" is not provided: provide ${service}.layerMemory() or SqlRepository.layer(${service}, ...)`
    }]
  }
  const places = placesOf(name, place)
  if (places.length > 1) {
    return [{
      common: `the resources in ${places.join(" and in ")} are two of the name "${name}": give each a name of its own`
    }]
  }
  if (place.action.object !== undefined && !Path.paramNames(`${place.consumer.path}/${place.route}`).includes(param)) {
    return [`its path has no parameter "${param}", which names the object: see Resource.params`]
  }
  const uncomputed = resource.options.computed.filter((name) => handling.computed?.[name] === undefined)
  if (uncomputed.length > 0) {
    return uncomputed.map((name) =>
      `nothing says what is in the computed field "${name}": give it with the option computed of Resource.handle`
    )
  }
  return new Handler(resource, handling, place, found.value).make()
}

/** Where the resources of a name are, the first place of each. */
const placesOf = (name: string, { consumer }: compile.Place): ReadonlyArray<string> => {
  const places = new Map<Resource.Any, string>()
  for (const { action, route } of endpoints.all(consumer)) {
    const resource = endpoints.resourceOf(action)
    if (resource?.name === name && !places.has(resource)) places.set(resource, compile.where(route))
  }
  return Array.from(places.values())
}

const serviceOf = (resource: Resource.Any): Context.Key<unknown, Rows> => resource.repository as never

/** What the handlers of one resource are made of. */
class Handler {
  readonly #resource: Resource.Any
  readonly #handling: Handling
  readonly #place: compile.Place
  readonly #rows: Rows
  readonly #read: Reader

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
      ? told.map((field) =>
        `clients are not sent "${field}", but could find it out by filtering or ordering: ${untold(field, options)}`
      )
      : { list: list as listing.Listing, seen: seen as visible.Visible }
  }

  #list(): compile.Handle | ReadonlyArray<string> {
    const made = this.#listing()
    if (!("list" in made)) return made
    const { list: { page }, seen: { source } } = made
    const read = this.#read
    const every = (results: ReadonlyArray<Row>): Work<ReadonlyArray<unknown>> =>
      Effect.forEach(results, (row) => effectOf(read!(row)))
    type Found = ReadonlyArray<Row> | { readonly results: ReadonlyArray<Row> }
    const told = (found: Found): Work =>
      "results" in found
        ? Effect.map(every(found.results), (results) => ({ ...found, results }))
        : every(found)
    const answer = (request: Request) =>
      Effect.flatMap(source(request, this.#rows), ({ filter, rows }) => {
        const scope = this.#scope(request)
        const found: Work<Found> = scope === undefined
          ? page(request, rows, filter)
          : Effect.flatMap(scope, (scope) => page(request, rows, Filter.and(scope, filter)))
        return read === undefined ? found : Effect.flatMap(found, told)
      })
    // Who may see what is decided in here.
    return Object.assign(answer, { repeats: true })
  }

  #subscribe(): compile.Handle | ReadonlyArray<string> {
    const made = this.#listing()
    if (!("list" in made)) return made
    const { list, seen } = made
    const { action, context, start } = this.#place
    const { definition } = this.#resource.repository
    const { options, schemas } = this.#resource
    const layer = Context.getOption(context as Context.Context<ChannelLayer>, ChannelLayer)
    const feed = feedOf(this.#rows, this.#resource.repository.key, definition.key, context)
    if (Option.isSome(layer)) start(shared(this.#resource.repository, this.#rows, layer.value, context))
    const query = {
      feed,
      rows: this.#rows,
      key: definition.key,
      visible: seen,
      render: renderer(this.#read, schemas.read, definition, options.computed.length === 0),
      max: options.maxLive
    }
    const askedBy = memoized(list.filterOf)
    const all = (request: Request) =>
      Stream.unwrap(
        Effect.map(askedBy(request), (asked) =>
          live.open({ ...query, ...asked, request, scope: this.#scope(request) ?? Effect.undefined }))
      )
    if (action.object === undefined) return all
    const { object } = this.#onObject(false, Effect.succeed) as Exclude<compile.Handle, compile.Start>
    return {
      object,
      run: (request) => {
        const value = objectOf(request)[definition.key]
        const filter = Filter.fromTree<Row>({ _tag: "Comparison", field: definition.key, operator: "eq", value })
        const scope = this.#scope(request) ?? Effect.undefined
        return live.open({ ...query, request, filter, order: [], scope })
      }
    }
  }

  #create(): compile.Handle | ReadonlyArray<string> {
    const { create } = this.#handling
    const { schemas } = this.#resource
    const defaults = payloads.defaults(this.#resource.repository.definition.schema, "insert")
    // What an application does may catch a refusal, and go on.
    const last = create === undefined
    const insert = (row: Row): Work<Row> =>
      defaults === undefined
        ? this.#rows.insert(row, { last })
        : Effect.flatMap(defaults, (defaults) => this.#rows.insert({ ...defaults, ...row }, { last }))
    if (create === undefined) {
      return schemas.given.length > 0
        ? schemas.given.map((name) =>
          `a new object needs "${name}", which clients do not send: give it with the option create of Resource.handle`
        )
        : (request) => this.#written(request, this.#told(insert(request.payload as Row)))
    }
    return (request) => this.#written(request, this.#told(Effect.suspend(() => create(request, insert))))
  }

  /** In a transaction: of what is cancelled, or cannot be told, nothing is there. */
  #written(request: Request, work: Work): Work {
    return isTooDeep(request.payload) ? tooDeep : this.#rows.transaction(work)
  }

  #retrieve(retrieve = (request: Request): Work<Row> => Effect.succeed(objectOf(request))): compile.Handle {
    return this.#onObject(false, (request) => this.#told(retrieve(request)))
  }

  #update(own: Write | undefined): compile.Handle {
    const update: Write = own ?? ((request, write) => write(request.payload as Row))
    const last = own === undefined
    const { definition } = this.#resource.repository
    const { key, version } = definition
    const defaults = payloads.defaults(definition.schema, "update")
    return this.#onObject(true, (request) => {
      if (isTooDeep(request.payload)) return tooDeep
      const id = objectOf(request)[key]
      const known = version === undefined ? undefined : (request.payload as Row)[version] as number | undefined
      return this.#told(update(request, (changes) => {
        const { [version ?? ""]: _, ...others } = changes
        const write = (defaults: Row) => this.#rows.update(id, { ...defaults, ...others }, { version: known, last })
        return defaults === undefined ? write({}) : Effect.flatMap(defaults, write)
      }))
    })
  }

  #destroy(): compile.Handle {
    const { key } = this.#resource.repository.definition
    const { destroy } = this.#handling
    const remove = (request: Request) => this.#rows.remove(objectOf(request)[key], { last: destroy === undefined })
    return this.#onObject(true, destroy === undefined ? remove : (request) => destroy(request, remove(request)))
  }

  /** Handles an action on one object, in a transaction where it is written. */
  #onObject(isWritten: boolean, run: (request: Request) => Work): compile.Handle {
    const { name, param } = this.#resource
    const missing = new Repository.NotFound({ message: `There is no such object in "${name}"` })
    const find = (request: Request): Work<Row> =>
      Effect.flatMap(
        this.#rows.find((request.params as Row)[param], { lock: isWritten }),
        (found) => Option.isSome(found) ? Effect.succeed(found.value) : Effect.fail(missing)
      )
    const object = (request: Request): Work<Row> => {
      const scope = this.#scope(request)
      return scope === undefined
        ? find(request)
        : Effect.flatMap(
          scope,
          (scope) => Effect.filterOrFail(find(request), Filter.matches(scope), () => missing)
        )
    }
    return {
      object,
      run,
      ...(isWritten ? { transaction: (effect) => this.#rows.transaction(effect) } : {})
    }
  }

  /** What a client is sent of a row. */
  #told(work: Work<Row>): Work {
    const read = this.#read
    return read === undefined ? work : Effect.flatMap(work, (row) => effectOf(read(row)))
  }

  /** Which rows there are for a request, `undefined` where that is all of them. */
  #scope(request: Request): Work<Filter.Filter<Row>> | undefined {
    const { rows } = this.#handling
    if (rows === undefined) return undefined
    return Effect.suspend(() => {
      const scope = rows(request)
      return Effect.isEffect(scope) ? scope : Effect.succeed(scope)
    })
  }
}

/** JSON that is nested more deeply is not kept: whoever reads it later would run out of stack. */
const maxDepth = 100

const isTooDeep = (value: unknown, depth = 0): boolean =>
  typeof value === "object" && value !== null &&
  (depth > maxDepth || Object.values(value).some((inner) => isTooDeep(inner, depth + 1)))

const tooDeep = Effect.fail(
  new ChannelError.InvalidPayload({ problems: [{ detail: "Nested too deeply", path: ["data"] }] })
)

/** What to do about a field that clients are not sent. */
const untold = (field: string, options: Resource.Options): string => {
  const { filters, order, ordering, search, writeOnly } = options
  const names = { filters: Object.keys(filters), search, ordering, order: order.map((name) => name.replace(/^-/, "")) }
  const used = Object.entries(names).filter(([, fields]) => fields.includes(field)).map(([option]) => option)
  return [
    ...(used.length > 0 ? [`leave it out of ${used.join(" and ")}`] : []),
    ...(writeOnly.includes(field) ? ["leave it out of writeOnly, so that they are"] : [])
  ].join(", or ") || "have its schema send it"
}

/** So many different questions are kept, and none that is longer than so many characters. */
const maxKept = 100
const maxLength = 500

/** Makes the same of the same question: what many ask for is there once. */
const memoized = (filterOf: listing.Listing["filterOf"]): listing.Listing["filterOf"] => {
  const kept = new Map<string, listing.Asked>()
  return (request) => {
    const question = JSON.stringify(request.query)
    const known = kept.get(question)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.map(filterOf(request), (asked) => {
      if (question.length > maxLength) return asked
      for (const oldest of kept.keys()) {
        if (kept.size < maxKept) break
        kept.delete(oldest)
      }
      kept.set(question, asked)
      return asked
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
    : share(key, definition, own, feedOf(own, key, definition.key, context), layer)
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
  read: Reader,
  schema: Schema.Constraint,
  definition: Repository.Definition,
  isAlike: boolean
): (row: Row) => Eager<live.Told, unknown> => {
  const encode = encoder(schema)
  const fields = definition.schema.fields as Readonly<Record<string, Schema.Constraint>>
  const encodeKey = encoder(fields[definition.key]!)
  const known = new WeakMap<Row, live.Told>()
  const asJson = (encoded: Work): Eager<string, unknown> =>
    Exit.isExit(encoded) && encoded._tag === "Success"
      ? JSON.stringify(encoded.value)
      : Effect.map(encoded, (value) => JSON.stringify(value))
  return (row) => {
    const before = known.get(row)
    if (before !== undefined) return before
    const json = andThen(read === undefined ? row : read(row), (value) => asJson(encode(value)))
    return andThen(json, (json) =>
      andThen(asJson(encodeKey(row[definition.key])), (key) => {
        const told = { json, known: { key, mark: live.markOf(json) } }
        if (isAlike) known.set(row, told)
        return told
      }))
  }
}

const objectOf = (request: Request): Row => (request as unknown as { readonly object: Row }).object

/** Makes of a row what a client is sent; `undefined` where that is the row. */
type Reader = ((row: Row) => Eager<unknown, unknown>) | undefined

const reader = (
  { options, schemas }: Resource.Any,
  computed: Readonly<Record<string, (row: Row) => unknown>>
): Reader => {
  if (schemas.isWhole) return undefined
  const { readable } = schemas
  const pick = (row: Row): Record<string, unknown> => {
    const picked: Record<string, unknown> = {}
    for (const name of readable) if (Object.hasOwn(row, name)) picked[name] = row[name]
    return picked
  }
  const names = options.computed
  if (names.length === 0) return pick
  const read = (row: Row, result: Record<string, unknown>, from: number): Eager<Row, unknown> => {
    for (let i = from; i < names.length; i++) {
      const name = names[i]!
      const value = computed[name]!(row)
      if (Effect.isEffect(value)) {
        return Effect.flatMap(value as Work, (value) => {
          result[name] = value
          return effectOf(read(row, result, i + 1))
        })
      }
      result[name] = value
    }
    return result
  }
  return (row) => Effect.suspend(() => effectOf(read(row, pick(row), 0)))
}
