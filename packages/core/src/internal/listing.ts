/**
 * What a client asks of a list, in the query string of its route, and what a repository is asked for it.
 *
 * | parameter | says |
 * | --- | --- |
 * | `<field>`, `<field>__<lookup>` | how a field must compare with a value, see {@link Lookup} |
 * | `search` | words, each of which must stand in one of the fields, whatever its case |
 * | `ordering` | fields by which rows are in order, `-` before those that descend |
 * | those of the pagination | which page |
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ChannelError from "../ChannelError.ts"
import * as Filter from "../Filter.ts"
import type * as Pagination from "../Pagination.ts"
import type { Query } from "../Query.ts"
import type { Definition, NotFound, Order, Repository } from "../Repository.ts"
import type { Settings } from "../Settings.ts"
import * as Cursor from "./cursor.ts"
import * as Keyset from "./keyset.ts"
import * as Lookups from "./lookups.ts"
import type { Field, Lookup, Row } from "./lookups.ts"
import { list, there } from "./names.ts"
import * as Pages from "./pages.ts"

export type { Lookup } from "./lookups.ts"

/** What is declared of a list. */
export interface Options {
  readonly pagination: Pagination.Any
  /** How a client may compare which fields. Default: none. */
  readonly filters?: Readonly<Record<string, ReadonlyArray<Lookup>>> | undefined
  /** The fields that are searched for words. Default: none. */
  readonly search?: ReadonlyArray<string> | undefined
  /** The fields that a client may order by. Default: none. */
  readonly ordering?: ReadonlyArray<string> | undefined
  /** The order where the client names none: fields, `-` before those that descend. Default: by the key. */
  readonly order?: ReadonlyArray<string> | undefined
  /**
   * Whether a parameter that is not known, or has a value that is none, is an error, which is the default, or is as if it had
   * not been sent. What is too much is an error either way.
   */
  readonly unknownParameters?: "refuse" | "ignore" | undefined
}

/** A request for a list. */
export interface Request {
  readonly query: Query
  /** The route as it was sent, with its query string or without. */
  readonly route: string
}

/** Where the rows come from. */
export type Source<R extends object> = Pick<Repository<R, never, never>, "select" | "count">

/** Which rows a client asks for, whatever the page. */
export interface Asked {
  readonly filter: Filter.Filter<Row>
  readonly order: ReadonlyArray<Order>
}

/** A list, compiled. */
export interface Listing {
  /**
   * The page that is asked for, with rows for results: by the visible ones alone. What it fails with is a mistake of the client, a
   * page that is not there, or the repository's own failure.
   */
  readonly page: <R extends object>(
    request: Request,
    source: Source<R>,
    visible: Filter.Filter<R>
  ) => Effect.Effect<Pages.Page<R>, ChannelError.InvalidPayload | ChannelError.Unavailable | NotFound>
  /** Which rows are asked for, and in which order: all of them, the parameters of the page say nothing. */
  readonly filterOf: (request: Pick<Request, "query">) => Effect.Effect<Asked, ChannelError.InvalidPayload>
  /** The parameters that it knows. */
  readonly parameters: ReadonlyArray<string>
  /**
   * The fields by which a client can find something out, though it may not be shown them: it compares them, searches them, has
   * rows in their order, or, with a cursor, gets their values.
   */
  readonly uses: {
    readonly filters: ReadonlyArray<string>
    readonly search: ReadonlyArray<string>
    readonly ordering: ReadonlyArray<string>
    /** The default order, the key included. */
    readonly order: ReadonlyArray<string>
  }
}

/** So many problems of one request are told. */
const maxProblems = 32

/** So many words are searched for at the most. */
const maxWords = 16

/** What a list is made of. */
export interface Declaration {
  /** The name of the resource: cursors of one are none of another. */
  readonly name: string
  readonly definition: Definition
  readonly options: Options
  readonly settings: Pick<Settings, "pageSize" | "maxPageSize" | "secret">
}

/** Compiles what is declared of a list, or answers with what is wrong with it. */
export const make = (declaration: Declaration): Listing | ReadonlyArray<string> => {
  const { definition, options, settings } = declaration
  const compiler = new Compiler(definition, options)
  const paging = Pages.make(options.pagination, settings)
  if ("page" in paging) paging.parameters.forEach((name) => compiler.add(name, ofPage))
  else compiler.problems.push(...paging)
  compiler.compile()
  return compiler.problems.length > 0 ? compiler.problems : listing(declaration, compiler, paging as Pages.Paging)
}

// ---- declarations

/** A parameter of the query string. */
interface Parameter {
  /** Whether it may be sent several times. */
  readonly isRepeatable?: boolean
  /** Adds what its values say to what is asked for; answers with what is wrong with them. */
  readonly read: (values: ReadonlyArray<string>, asked: Asking) => Wrong | undefined
}

/** What a request says, but for the page. */
interface Asking {
  readonly filters: Array<Filter.Filter<Row>>
  ranks: ReadonlyArray<Keyset.Rank>
}

/** What is wrong with a parameter. What is too much is not ignored. */
interface Wrong {
  readonly detail: string
  readonly isTooMuch?: boolean
}

/** A parameter that the pagination reads itself. */
const ofPage: Parameter = { read: () => undefined }

const tooMuch = (detail: string): Wrong => ({ detail, isTooMuch: true })

const tooLong = tooMuch(`Expected ${Lookups.maxText} characters at the most`)

const isTooLong = (text: string): boolean => text.length > Lookups.maxText

const comparing = (compare: Lookups.Comparison): Parameter => ({
  read: (values, asked) => {
    if (values.length > Lookups.maxValues) return tooMuch(`Expected ${Lookups.maxValues} values at the most`)
    if (values.some(isTooLong)) return tooLong
    const filter = compare(values)
    if (Result.isFailure(filter)) return { detail: filter.failure }
    asked.filters.push(filter.success)
    return undefined
  }
})

/** As {@link comparing}, with all values that stand in it between commas. */
const comparingAll = (compare: Lookups.Comparison): Parameter => {
  const { read } = comparing(compare)
  return { isRepeatable: true, read: (values, asked) => read(values.flatMap((value) => value.split(",")), asked) }
}

const searching = (fields: ReadonlyArray<Field>): Parameter => ({
  read: ([text], { filters }) => {
    if (isTooLong(text!)) return tooLong
    if (Lookups.hasNul(text!)) return { detail: Lookups.withoutNul }
    const words = text!.split(/\s+/).filter((word) => word !== "")
    if (words.length > maxWords) return tooMuch(`Expected ${maxWords} words at the most`)
    for (const word of words) {
      filters.push(Filter.or(...fields.map((field) => Lookups.compare(field, "icontains", word))))
    }
    return undefined
  }
})

const ordering = (allowed: ReadonlyMap<string, Field>, key: Field): Parameter => ({
  read: ([text], asked) => {
    const ranks: Array<Keyset.Rank> = []
    let isAllowed = true
    for (const part of text!.split(",").map((part) => part.trim())) {
      if (part === "") continue
      const { isDescending, name } = directionOf(part)
      const field = allowed.get(name)
      if (field === undefined) isAllowed = false
      else ranks.push({ field, isDescending })
    }
    if (ranks.length > 0) asked.ranks = Keyset.total(ranks, key)
    return isAllowed
      ? undefined
      : { detail: `Expected some of ${list(allowed.keys())}, with "-" before those that descend` }
  }
})

const directionOf = (text: string): { readonly name: string; readonly isDescending: boolean } =>
  text.startsWith("-") ? { name: text.slice(1), isDescending: true } : { name: text, isDescending: false }

/** Makes parameters of what is declared, and collects its problems. */
class Compiler {
  readonly problems: Array<string> = []
  readonly parameters = new Map<string, Parameter>()
  /** The order where the client names none, a total one. */
  ranks: ReadonlyArray<Keyset.Rank> = []
  readonly #definition: Definition
  readonly #options: Options
  readonly #fields = new Map<string, Field | undefined>()

  constructor(definition: Definition, options: Options) {
    this.#definition = definition
    this.#options = options
  }

  compile(): void {
    const { filters = {}, order = [], ordering: ordered = [], search = [] } = this.#options
    for (const [name, lookups] of Object.entries(filters)) this.#filter(name, lookups)
    const searched = search.flatMap((name) => this.#text("search", name))
    if (search.length > 0) this.add("search", searching(searched))
    const allowed = new Map(
      ordered.flatMap((name) => this.#ordered("ordering", name)).map((field) => [field.name, field])
    )
    const ranks = order.map(directionOf).flatMap(({ isDescending, name }) =>
      this.#ordered("order", name).map((field) => ({ field, isDescending }))
    )
    const [key] = this.#ordered("the key", this.#definition.key)
    if (key === undefined) return
    if (key.isNullable) this.problems.push(`the key: the field "${key.name}" may be null`)
    if (ordered.length > 0) this.add("ordering", ordering(allowed, key))
    this.ranks = Keyset.total(ranks, key)
  }

  add(name: string, parameter: Parameter): void {
    if (this.parameters.has(name)) this.problems.push(`two parameters are named "${name}"`)
    this.parameters.set(name, parameter)
  }

  #filter(name: string, lookups: ReadonlyArray<Lookup>): void {
    for (const field of this.#field("filters", name)) {
      for (const lookup of lookups) {
        const compare = Lookups.comparison(field, lookup)
        if (compare === undefined) {
          const fitting = list(Lookups.fitting(field))
          this.problems.push(`filters: "${lookup}" does not fit the field "${name}": what fits it is ${fitting}`)
        } else if (lookup === "in") this.add(`${name}__in`, comparingAll(compare))
        else this.add(lookup === "exact" ? name : `${name}__${lookup}`, comparing(compare))
      }
    }
  }

  #text(where: string, name: string): ReadonlyArray<Field> {
    return this.#field(where, name).filter(({ kind }) => {
      if (kind !== "text") this.problems.push(`${where}: the field "${name}" is no text`)
      return kind === "text"
    })
  }

  #ordered(where: string, name: string): ReadonlyArray<Field> {
    return this.#field(where, name).filter(({ kind }) => {
      if (!Lookups.isOrdered(kind)) this.problems.push(`${where}: rows cannot be in order by the field "${name}"`)
      return Lookups.isOrdered(kind)
    })
  }

  /** The field of this name, if there is one. */
  #field(where: string, name: string): ReadonlyArray<Field> {
    if (!this.#fields.has(name)) this.#fields.set(name, Lookups.fieldOf(this.#definition, name))
    const field = this.#fields.get(name)
    if (field !== undefined) return [field]
    const names = Object.keys(this.#definition.schema.fields)
    this.problems.push(`${where}: there is no field "${name}", ${there(names)}`)
    return []
  }
}

// ---- requests

const listing = (
  { name, options, settings }: Declaration,
  { parameters, ranks: byDefault }: Compiler,
  paging: Pages.Paging
): Listing => {
  const isStrict = options.unknownParameters !== "ignore"
  const known = Array.from(parameters.keys())
  const unknown: Wrong = { detail: known.length === 0 ? "Expected no parameters" : `Expected one of ${list(known)}` }
  const cursorKey = Cursor.keyOf(settings.secret)

  /** What is wrong with a parameter of a request, after what it says was added to what is asked for. */
  const add = (name: string, values: ReadonlyArray<string>, asked: Asking): Wrong | undefined => {
    const parameter = parameters.get(name)
    if (parameter === undefined) return unknown
    if (parameter.isRepeatable || values.length === 1) return parameter.read(values, asked)
    return isStrict ? { detail: "Expected it once" } : parameter.read(values.slice(-1), asked)
  }

  const read = Effect.fnUntraced(function*(query: Query) {
    const problems: Array<ChannelError.PayloadProblem> = []
    const asked: Asking = { filters: [], ranks: byDefault }
    for (const name of Object.keys(query)) {
      const wrong = add(name, [query[name]!].flat(), asked)
      if (wrong === undefined || !(isStrict || wrong.isTooMuch)) continue
      problems.push({ detail: wrong.detail, path: ["query", name] })
      if (problems.length === maxProblems) break
    }
    if (problems.length > 0) return yield* new ChannelError.InvalidPayload({ problems })
    return asked
  })

  return {
    page: ({ query, route }, source, visible) =>
      Effect.flatMap(read(query), ({ filters, ranks }) =>
        paging.page({
          query,
          route,
          source,
          filter: Filter.and(visible, Filter.and(...filters) as Filter.Filter<object>),
          ranks,
          sealer: () => Cursor.sealer(cursorKey, JSON.stringify([name, Keyset.print(ranks)]))
        })),
    filterOf: ({ query }) =>
      Effect.map(read(query), ({ filters, ranks }) => ({
        filter: Filter.and(...filters),
        order: Keyset.orderOf(ranks)
      })),
    parameters: known,
    uses: {
      filters: Object.keys(options.filters ?? {}),
      search: options.search ?? [],
      ordering: options.ordering ?? [],
      order: byDefault.map(({ field }) => field.name)
    }
  }
}
