/**
 * Ready-made actions over a repository: list, create, retrieve, update, partially update, destroy, and live queries. One value
 * says what its objects are and who may do what with them; it gives actions and routes for a consumer ({@link routes}), and their
 * handlers ({@link handle}).
 *
 * | the original's generic handler | `actions` |
 * | --- | --- |
 * | `CreateAPIActionHandler` | `["create"]` |
 * | `ListAPIActionHandler` | `["list"]` |
 * | `RetrieveAPIActionHandler` | `["retrieve"]` |
 * | `DestroyAPIActionHandler` | `["destroy"]` |
 * | `UpdateAPIActionHandler` | `["update", "partial_update"]` |
 * | `ListCreateAPIActionHandler` | `["list", "create"]` |
 * | `RetrieveUpdateAPIActionHandler` | `["retrieve", "update", "partial_update"]` |
 * | `RetrieveDestroyAPIActionHandler` | `["retrieve", "destroy"]` |
 * | `RetrieveUpdateDestroyAPIActionHandler` | `["retrieve", "update", "partial_update", "destroy"]` |
 *
 * | action | where | answers with | status |
 * | --- | --- | --- | --- |
 * | `list` | collection | a page of objects | 200 |
 * | `create` | collection | the new object | 201; 409 where another one has a value that each has its own of |
 * | `retrieve` | object | the object | 200 |
 * | `update` | object | the object; fields that have a default and are left out stay as they are | 200; 409 |
 * | `partial_update` | object | the object; fields that are left out stay as they are | 200; 409 |
 * | `destroy` | object | nothing | 204 |
 * | `subscribe` | both | the objects, and then their changes, as a stream; nothing at its end | 206; 200 at its end |
 * | `unsubscribe` | both | nothing | 204; 404 where nothing is subscribed to |
 *
 * An object that is not there is 404; one that the caller may not have is 403. The object is loaded, its permission decided, and
 * the change written in one transaction: a check that takes its time holds up whoever else wants to write the row, and in SQLite
 * everybody.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Inspectable } from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Action from "./Action.ts"
import type * as ChannelError from "./ChannelError.ts"
import * as ChannelLayer from "./ChannelLayer.ts"
import type * as Filter from "./Filter.ts"
import type * as Handlers from "./Handlers.ts"
import type * as lookups from "./internal/lookups.ts"
import * as payloads from "./internal/payloads.ts"
import { both } from "./internal/permit.ts"
import * as handlers from "./internal/resource.ts"
import * as Value from "./internal/value.ts"
import * as Pagination from "./Pagination.ts"
import * as Permission from "./Permission.ts"
import * as Repository from "./Repository.ts"
import * as Route from "./Route.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Resource"

/**
 * The names of the actions of resources.
 *
 * @category models
 * @since 0.1.0
 */
export type ActionName = CollectionActionName | ObjectActionName

/**
 * The names of the actions that are about all objects.
 *
 * @category models
 * @since 0.1.0
 */
export type CollectionActionName = "list" | "create" | "subscribe" | "unsubscribe"

/**
 * The names of the actions that are about one object.
 *
 * @category models
 * @since 0.1.0
 */
export type ObjectActionName = "retrieve" | "update" | "partial_update" | "destroy" | "subscribe" | "unsubscribe"

/**
 * Everything but live queries: the actions of a resource that says nothing else.
 *
 * @category constants
 * @since 0.1.0
 */
export const crud = ["list", "create", "retrieve", "update", "partial_update", "destroy"] as const

/**
 * What a resource is made of: types only.
 *
 * @category models
 * @since 0.1.0
 */
export interface Parts {
  /** The repository service. */
  readonly Repository: unknown
  readonly Row: object
  readonly Key: Schema.Constraint
  /** The name of the parameter that names an object. */
  readonly Param: string
  /** What a new row is made of. */
  readonly New: object
  /** An object as a client is sent it. */
  readonly Read: Schema.Constraint
  readonly Create: Schema.Constraint
  readonly Update: Schema.Constraint
  readonly PartialUpdate: Schema.Constraint
  readonly Page: Schema.Constraint
  /** The fields that are computed. */
  readonly Computed: Schema.Struct.Fields
}

/**
 * Actions over the objects of a repository. `P` are its types, `Names` the actions that it has, `Needs` what its permissions look
 * at by action, `R` what they need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Resource<
  out Name extends string,
  in out P extends Parts,
  in out Names extends ActionName,
  in Needs = unknown,
  out R = never
> extends Pipeable, Inspectable {
  readonly [TypeId]: {
    readonly _Parts: (_: P) => P
    readonly _Names: (_: Names) => Names
    readonly _Needs: (_: Needs) => void
    readonly _R: () => R
  }
  readonly name: Name
  readonly repository: Repository.AnyClass
  readonly actions: ReadonlyArray<ActionName>
  readonly param: string
  readonly schemas: payloads.Schemas
  readonly page: Schema.Constraint
  readonly options: Options
  /** What guards each action, whether the resource has it or not. */
  readonly permissions: Readonly<Record<ActionName, Permission.Any>>
}

/**
 * Any resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Pipeable, Inspectable {
  readonly [TypeId]: {
    readonly _Parts: (_: never) => Parts
    readonly _Names: (_: never) => ActionName
    readonly _Needs: (_: never) => void
    readonly _R: () => unknown
  }
  readonly name: string
  readonly repository: Repository.AnyClass
  readonly actions: ReadonlyArray<ActionName>
  readonly param: string
  readonly schemas: payloads.Schemas
  readonly page: Schema.Constraint
  readonly options: Options
  readonly permissions: Readonly<Record<ActionName, Permission.Any>>
}

/**
 * What a client may say in the query string of a list, and what it gets; see {@link make}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly pagination: Pagination.Any
  readonly filters: Readonly<Record<string, ReadonlyArray<Lookup>>>
  readonly search: ReadonlyArray<string>
  readonly ordering: ReadonlyArray<string>
  readonly order: ReadonlyArray<string>
  readonly unknownParameters: "refuse" | "ignore"
  readonly perObject: boolean
  readonly readOnly: ReadonlyArray<string>
  readonly writeOnly: ReadonlyArray<string>
  readonly computed: ReadonlyArray<string>
  /** So many objects a live query has at the most. */
  readonly maxLive: number
}

/**
 * How a client may compare a field: `?price__lt=3`. The words are those of Django; `exact` is `?price=3`.
 *
 * @category models
 * @since 0.1.0
 */
export type Lookup = lookups.Lookup

/** What the fields of a row may be called in options. */
type FieldOf<Row> = keyof Row & string

/** A field to order by, from the greatest to the least with a minus. */
type Ordered<Row> = FieldOf<Row> | `-${FieldOf<Row>}`

/** What a client is sent of an object. */
type ReadOf<S extends Repository.RowSchema, WriteOnly extends string, Computed extends Schema.Struct.Fields> =
  [WriteOnly | keyof Computed] extends [never]
    ? S extends { readonly json: infer Json extends Schema.Constraint } ? Json : S
    : Schema.Struct<AsFields<Simplify<Without<FieldsOf<S, "json">, WriteOnly> & Computed>>>

/** The fields of a variant of a model, or of whatever else the row is. */
type FieldsOf<S extends Repository.RowSchema, Variant extends string> = S extends {
  readonly [K in Variant]: { readonly fields: infer Fields extends Schema.Struct.Fields }
} ? Fields
  : S["fields"]

type AsFields<A> = A extends Schema.Struct.Fields ? A : never

type Without<Fields, Names extends string> = { readonly [K in keyof Fields as Exclude<K, Names>]: Fields[K] }

type Simplify<A> = { readonly [K in keyof A]: A[K] } extends infer B ? B : never

/** What a client sends for a new object. */
type CreateOf<S extends Repository.RowSchema, Hidden extends string> = Schema.Struct<
  AsFields<Without<FieldsOf<S, "jsonCreate">, Hidden>>
>

type IsOptional<F> = F extends { readonly "~type.optionality": "optional" } ? true
  : F extends { readonly "~encoded.optionality": "optional" } ? true
  : false

/** What a new row is made of: what has a default may be left out. */
type NewOf<S extends Repository.RowSchema, Hidden extends string> = S extends {
  readonly insert: { readonly fields: infer Fields extends Schema.Struct.Fields }
} ? Given<Fields>
  : Given<Without<S["fields"], Hidden>>

type Given<Fields> = Simplify<
  & { readonly [K in keyof Fields as IsGiven<Fields[K]> extends true ? never : K]: TypeOf<Fields[K]> }
  & { readonly [K in keyof Fields as IsGiven<Fields[K]> extends true ? K : never]?: TypeOf<Fields[K]> }
> extends infer New extends object ? New : never

type IsGiven<F> = F extends { readonly "~type.optionality": "optional" } ? true
  : F extends { readonly "~type.constructor.default": "with-default" } ? true
  : false

/** What a client sends for the whole of an object. */
type UpdateOf<Fields, Version> = Simplify<
  & { readonly [K in keyof Fields as IsOptional<Fields[K]> extends true ? never : K]: TypeOf<Fields[K]> }
  & { readonly [K in keyof Fields as IsOptional<Fields[K]> extends true ? K : never]?: TypeOf<Fields[K]> }
  & { readonly [K in Version & string]: number }
> extends infer A ? Payload<A> : never

/** What a client sends for a part of an object. */
type PartialUpdateOf<Fields, Version> = Simplify<
  & { readonly [K in keyof Fields]?: TypeOf<Fields[K]> }
  & { readonly [K in Version & string]?: number }
> extends infer A ? Payload<A> : never

type TypeOf<F> = F extends { readonly Type: infer A } ? A : never

/**
 * The schema of a payload that is made of the schema of a row.
 *
 * @category models
 * @since 0.1.0
 */
export interface Payload<out A> extends Schema.Codec<A, unknown> {}

/**
 * What marks the actions of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Of<out Name extends string> {
  readonly "~resource": Name
}

/**
 * The actions about all objects, by name.
 *
 * @category models
 * @since 0.1.0
 */
export interface CollectionActions<Name extends string, P extends Parts, Needs, R> {
  readonly list: Action.Action<
    "list",
    Schema.Void,
    Schema.Void,
    P["Page"],
    typeof Repository.NotFound,
    Of<Name>,
    NeedsOf<Needs, "list">,
    R
  >
  readonly create: Action.Action<
    "create",
    P["Create"],
    Schema.Void,
    P["Read"],
    typeof Repository.Conflict,
    Of<Name>,
    NeedsOf<Needs, "create">,
    R
  >
  readonly subscribe: Action.Action<
    "subscribe",
    Schema.Void,
    Schema.Void,
    Change<P["Read"], P["Key"]>,
    typeof Repository.NotFound,
    Of<Name>,
    NeedsOf<Needs, "subscribe">,
    R | ChannelLayer.ChannelLayer,
    true
  >
  readonly unsubscribe: Unsubscribe<Name, R>
}

/**
 * Ends live queries: the one with the request id that it was asked for with, or all of the same route.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unsubscribe<Name extends string, R> extends
  Action.Action<
    "unsubscribe",
    Schema.optionalKey<Schema.Struct<{ readonly request_id: Schema.Union<[Schema.String, Schema.Number]> }>>,
    Schema.Void,
    Schema.Void,
    typeof Repository.NotFound,
    Of<Name>,
    unknown,
    R
  >
{}

/**
 * What a live query tells of: all objects that there are to begin with, and then which are added, updated or removed. An object
 * is added and removed also when it comes into what was asked for, or what the client may see, and when it leaves that.
 *
 * @category models
 * @since 0.1.0
 */
export interface Change<Read extends Schema.Constraint, Key extends Schema.Constraint> extends
  Schema.Union<[
    Schema.Struct<{ readonly type: Schema.Literal<"snapshot">; readonly results: Schema.$Array<Read> }>,
    Schema.Struct<{ readonly type: Schema.Literal<"added">; readonly object: Read }>,
    Schema.Struct<{ readonly type: Schema.Literal<"updated">; readonly object: Read }>,
    Schema.Struct<{ readonly type: Schema.Literal<"removed">; readonly key: Key }>
  ]>
{}

/**
 * The actions about one object, by name.
 *
 * @category models
 * @since 0.1.0
 */
export interface ObjectActions<Name extends string, P extends Parts, Needs, R> {
  readonly retrieve: Action.Action<
    "retrieve",
    Schema.Void,
    Schema.Void,
    P["Read"],
    typeof Repository.NotFound,
    On<Name, P["Row"], P["Param"]>,
    NeedsOf<Needs, "retrieve"> & Named<P>,
    R
  >
  readonly update: Action.Action<
    "update",
    P["Update"],
    Schema.Void,
    P["Read"],
    WriteError,
    On<Name, P["Row"], P["Param"]>,
    NeedsOf<Needs, "update"> & Named<P>,
    R
  >
  readonly partial_update: Action.Action<
    "partial_update",
    P["PartialUpdate"],
    Schema.Void,
    P["Read"],
    WriteError,
    On<Name, P["Row"], P["Param"]>,
    NeedsOf<Needs, "partial_update"> & Named<P>,
    R
  >
  readonly destroy: Action.Action<
    "destroy",
    Schema.Void,
    Schema.Void,
    Schema.Void,
    WriteError,
    On<Name, P["Row"], P["Param"]>,
    NeedsOf<Needs, "destroy"> & Named<P>,
    R
  >
  readonly subscribe: Action.Action<
    "subscribe",
    Schema.Void,
    Schema.Void,
    Change<P["Read"], P["Key"]>,
    typeof Repository.NotFound,
    On<Name, P["Row"], P["Param"]>,
    NeedsOf<Needs, "retrieve"> & NeedsOf<Needs, "subscribe"> & Named<P>,
    R | ChannelLayer.ChannelLayer,
    true
  >
  readonly unsubscribe: Unsubscribe<Name, R>
}

/** What an action about one object is of: the parameter is the one that names it. */
type On<Name extends string, Row, Param> = Of<Name> & { readonly object: Row; readonly "~param": Param }

/** The parameter that names the object. */
type Named<P extends Parts> = { readonly params: { readonly [K in P["Param"]]: P["Key"]["Type"] } }

/** The errors of what writes an object. */
type WriteError = typeof Repository.NotFound | typeof Repository.Conflict | typeof Repository.StaleVersion

type NeedsOf<Needs, Name extends ActionName> = Needs extends { readonly [K in Name]: infer Own } ? Own : unknown

/** What a permission of an action may look at: the params are checked where the resource is put. */
type FactsOf<P extends Parts, Name extends ActionName> = Name extends "create"
  ? { readonly action: string; readonly params: never; readonly payload: P["Create"]["Type"] }
  : Name extends "list" ? { readonly action: string; readonly params: never; readonly payload: undefined }
  : {
    readonly action: string
    readonly params: never
    readonly object: P["Row"]
    readonly payload: Name extends "update" ? P["Update"]["Type"]
      : Name extends "partial_update" ? P["PartialUpdate"]["Type"]
      : undefined
  }

/** A permission that finds what it looks at. */
type Permitted<P extends Parts, Names extends ActionName, F> = [Unfit<P, Names, F>] extends [never] ? unknown : {
  readonly "not permitted": `the permission looks at an object or a payload that "${Unfit<
    P,
    Names,
    F
  >}" does not have: name the actions that it guards, as in Resource.permit(["update"], permission)`
}

/** The actions in which a permission does not find what it looks at. */
type Unfit<P extends Parts, Names extends ActionName, F> = Names extends ActionName
  ? [FactsOf<P, Names>] extends [F] ? never : Names
  : never

const proto = Value.prototype<Any>(TypeId, (self) => ({
  _id: "Resource",
  name: self.name,
  repository: self.repository.key,
  actions: Object.fromEntries(
    self.actions.map((name) => [name, Permission.print(self.permissions[name] ?? Permission.allow)])
  )
}))

/**
 * Whether a value is a resource.
 *
 * @category guards
 * @since 0.1.0
 */
export const isResource = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * Makes a resource of a repository.
 *
 * - `actions`: those that it has, {@link crud} by default. `unsubscribe` comes with `subscribe`.
 * - `param`: the name of the parameter of a path that names an object, the name of the key by default.
 * - `readOnly`: fields that a client is sent and cannot set; the key is one where the database makes it, and so is a version. What
 *   a model does not let a client set, it cannot set.
 * - `writeOnly`: fields that a client can set and is not sent. Where each row has its own value in one, a 409 tells that another
 *   row has it already.
 * - `computed`: the schemas of fields that a client is sent beside those of the row, under names that the row does not have;
 *   {@link handle} says what is in them. Clients cannot set them, nor filter, search or order by them.
 * - `pagination`: how lists come in pages, `Pagination.pageNumber()` by default.
 * - `filters`: how a client may compare which fields (`?price__lt=3`); `search`: the text fields in which `?search=` looks for
 *   words, each of which must be there; `ordering`: the fields that it may order by (`?ordering=-price,title`); `order`: the order otherwise, by the key by
 *   default. Whatever is sent is decoded by the field's schema.
 * - `unknownParameters`: whether parameters in the query string that are not known, or do not fit, are refused with 400
 *   (`"refuse"`, the default) or as if they had not been sent (`"ignore"`).
 * - `perObject`: a list is of those objects that the caller may retrieve. The permission is translated to a filter for that
 *   (`Permission.where`); one that cannot be does not start, unless this is `true`: then all objects are read that the rest of the
 *   query means, and the permission is decided for each. Default `false`.
 * - `maxLive`: a live query of more objects is refused with 400, 1000 by default. One that grows beyond it while it runs ends with
 *   400 as well. A live query that ends otherwise, as by `unsubscribe`, has a last reply with status 200 and `null` for data.
 *
 * Some limits are fixed: a search has up to 16 words, a value that is compared or searched for 1024 characters, and `in` up to 100
 * values; what is more is refused with 400, even where `unknownParameters` is `"ignore"`. Up to 32 problems of a query string are
 * told. With `perObject`, permissions are decided for up to 10,000 objects, and a list of more is refused with 400.
 *
 * **Example** (Notes)
 *
 * ```ts
 * import { Consumer, Pagination, Repository, Resource } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * class Note extends Schema.Class<Note>("Note")({
 *   id: Schema.Int,
 *   text: Schema.String,
 *   stars: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0)))
 * }) {}
 * class Notes extends Repository.Service<Notes>()("app/Notes", { schema: Note, key: "id" }) {}
 *
 * const NoteResource = Resource.make("notes", {
 *   repository: Notes,
 *   pagination: Pagination.cursor(),
 *   filters: { stars: ["gte"] },
 *   search: ["text"],
 *   order: ["-stars"]
 * })
 * const Notebook = Consumer.make("notebook", { path: "/ws/notes/" }).pipe(
 *   Consumer.add(...Resource.routes(NoteResource, "notes/"))
 * )
 * const NotebookLive = Consumer.handlers(Notebook).pipe(
 *   Resource.handle(NoteResource)
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  const Name extends string,
  Self,
  Id extends string,
  S extends Repository.RowSchema,
  Key extends keyof S["Type"] & keyof S["fields"] & string,
  Generated extends string,
  Version extends string,
  const Names extends Exclude<ActionName, "unsubscribe"> = (typeof crud)[number],
  const ReadOnly extends FieldOf<S["Type"]> = never,
  const WriteOnly extends FieldOf<S["Type"]> = never,
  Computed extends Schema.Struct.Fields = {},
  P extends Pagination.Any = Pagination.PageNumber,
  const Param extends string = Key
>(name: Name, options: {
  readonly repository: Repository.RepositoryClass<Self, Id, S, Key, Generated, Version>
  readonly actions?: ReadonlyArray<Names> | undefined
  readonly param?: Param | undefined
  readonly readOnly?: ReadonlyArray<ReadOnly> | undefined
  readonly writeOnly?: ReadonlyArray<WriteOnly> | undefined
  readonly computed?: Computed & { readonly [K in Extract<keyof Computed, keyof S["fields"]>]: never } | undefined
  readonly pagination?: P | undefined
  readonly filters?: { readonly [K in FieldOf<S["Type"]>]?: ReadonlyArray<Lookup> } | undefined
  readonly search?: ReadonlyArray<Filter.TextFieldOf<S["Type"]>> | undefined
  readonly ordering?: ReadonlyArray<FieldOf<S["Type"]>> | undefined
  readonly order?: ReadonlyArray<Ordered<S["Type"]>> | undefined
  readonly unknownParameters?: "refuse" | "ignore" | undefined
  readonly perObject?: boolean | undefined
  readonly maxLive?: number | undefined
}): Resource<Name, {
  readonly Repository: Self
  readonly Row: S["Type"]
  readonly Key: S["fields"][Key]
  readonly Param: Param
  readonly New: NewOf<S, Generated | Version>
  readonly Read: ReadOf<S, WriteOnly, Computed>
  readonly Create: CreateOf<S, Generated | ReadOnly | Version>
  readonly Update: UpdateOf<Without<FieldsOf<S, "jsonUpdate">, Generated | ReadOnly | Version>, Version>
  readonly PartialUpdate: PartialUpdateOf<Without<FieldsOf<S, "jsonUpdate">, Generated | ReadOnly | Version>, Version>
  readonly Page: Pagination.EnvelopeOf<P, ReadOf<S, WriteOnly, Computed>>
  readonly Computed: Computed
}, Names> => {
  const { definition } = options.repository
  const pagination: Pagination.Any = options.pagination ?? Pagination.pageNumber()
  const { computed = {}, readOnly = [], writeOnly = [] } = options
  const schemas = payloads.make(definition, { readOnly, writeOnly, computed })
  return Value.make(proto, {
    name,
    repository: options.repository,
    actions: options.actions ?? crud,
    param: options.param ?? definition.key,
    schemas,
    page: Pagination.envelope(pagination, schemas.read),
    options: {
      pagination,
      filters: (options.filters ?? {}) as Options["filters"],
      search: options.search ?? [],
      ordering: options.ordering ?? [],
      order: options.order ?? [],
      unknownParameters: options.unknownParameters ?? "refuse",
      perObject: options.perObject ?? false,
      readOnly,
      writeOnly,
      computed: Object.keys(computed),
      maxLive: options.maxLive ?? 1000
    } satisfies Options,
    permissions: everybody
  })
}

const everybody: Readonly<Record<ActionName, Permission.Any>> = {
  list: Permission.allow,
  create: Permission.allow,
  retrieve: Permission.allow,
  update: Permission.allow,
  partial_update: Permission.allow,
  destroy: Permission.allow,
  subscribe: Permission.allow,
  unsubscribe: Permission.allow
}

// ---- permissions

/**
 * Guards actions of the resource: those that are named, or all of them. A second permission is required as well as the first. A
 * list is guarded by what guards `retrieve`: it is of those objects that the caller may retrieve.
 *
 * An object permission cannot guard `create`, where there is no object yet: name the actions that it guards. What is given to
 * `["list"]` is required beside what guards `retrieve`; it looks at no object. Without names, `list`, `subscribe` and `unsubscribe`
 * are left out: for the first two what guards `retrieve` does.
 *
 * **Example** (Everybody may look, owners may change)
 *
 * ```ts
 * import { Authentication, Check, Repository, Resource } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number }>()("app/CurrentUser") {}
 * class Task extends Schema.Class<Task>("Task")({ id: Schema.Int, title: Schema.String, ownerId: Schema.Int }) {}
 * class Tasks extends Repository.Service<Tasks>()("app/Tasks", { schema: Task, key: "id" }) {}
 *
 * const isOwner = Check.isOwner<Task>()(CurrentUser, { object: "ownerId", user: "id" })
 * const TaskResource = Resource.make("tasks", { repository: Tasks }).pipe(
 *   Resource.permit(["update", "partial_update", "destroy"], isOwner),
 *   Resource.permit(["create"], Check.isAuthenticated(CurrentUser))
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const permit: {
  <F, E, R2>(permission: Permission.Permission<F, E, R2>): <
    Name extends string,
    P extends Parts,
    Names extends ActionName,
    Needs,
    R
  >(
    self: Resource<Name, P, Names, Needs, R> & Permitted<P, Exclude<Names, Listing>, F>
  ) => Resource<Name, P, Names, Needs & { readonly [K in Exclude<ActionName, Listing>]: F }, R | R2>
  <const Guarded extends ActionName, F, E, R2>(
    actions: ReadonlyArray<Guarded>,
    permission: Permission.Permission<F, E, R2>
  ): <Name extends string, P extends Parts, Names extends ActionName, Needs, R>(
    self: Resource<Name, P, Names, Needs, R> & Permitted<P, Guarded, F>
  ) => Resource<Name, P, Names, Needs & { readonly [K in Guarded]: F }, R | R2>
} = (...args: [Permission.Any] | [ReadonlyArray<ActionName>, Permission.Any]) => (self: Any): never => {
  const [named, permission] = args.length === 1 ? [undefined, args[0]] : args
  const permissions = { ...self.permissions }
  for (const name of named ?? crud) {
    // What guards an object guards the list of it: see `visible.ts`.
    if (named === undefined && name === "list") continue
    if (named === undefined && name === "create" && !self.actions.includes(name)) continue
    permissions[name] = both(permissions[name], permission)
  }
  return Value.make(proto, { ...self, permissions })
}

/** The actions that are guarded by what guards `retrieve`. */
type Listing = "list" | "subscribe" | "unsubscribe"

// ---- places

/**
 * The actions about all objects, to be added to a route or a consumer.
 *
 * @category combinators
 * @since 0.1.0
 */
export const collection = <Name extends string, P extends Parts, Names extends ActionName, Needs, R>(
  self: Resource<Name, P, Names, Needs, R>
): ReadonlyArray<CollectionActionOf<Name, P, Names, Needs, R>> => actionsOf(self, collectionActions) as never

/**
 * The actions about one object, to be added to a route or a consumer whose path names it by the resource's `param`. Actions of one's
 * own on the same object stand in the same route: see {@link routes}.
 *
 * **Example** (A consumer of one note)
 *
 * ```ts
 * import { Consumer, Repository, Resource } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, text: Schema.String }) {}
 * class Notes extends Repository.Service<Notes>()("app/Notes", { schema: Note, key: "id" }) {}
 *
 * const NoteResource = Resource.make("note", { repository: Notes, actions: ["retrieve", "update"] })
 * const OneNote = Consumer.make("note", { path: "/ws/notes/:id/", params: Resource.params(NoteResource) }).pipe(
 *   Consumer.add(...Resource.object(NoteResource))
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const object = <Name extends string, P extends Parts, Names extends ActionName, Needs, R>(
  self: Resource<Name, P, Names, Needs, R>
): ReadonlyArray<ObjectActionOf<Name, P, Names, Needs, R>> => actionsOf(self, objectActions) as never

/**
 * The schema of the parameter that names an object, for the path of a route or consumer.
 *
 * @category accessors
 * @since 0.1.0
 */
export const params = <Name extends string, P extends Parts, Names extends ActionName, Needs, R>(
  self: Resource<Name, P, Names, Needs, R>
): { readonly [K in P["Param"]]: Schema.Codec<P["Key"]["Type"], string> } => paramsOf(self) as never

const paramsOf = (self: Any): Readonly<Record<string, Route.ParamSchema>> => {
  return { [self.param]: Schema.toCodecStringTree(keyOf(self) as Schema.Top) as unknown as Route.ParamSchema }
}

/** The schema of the key. Where there is no such field, it is said when the resource is handled. */
const keyOf = ({ repository: { definition } }: Any): Schema.Constraint =>
  (definition.schema.fields as Schema.Struct.Fields)[definition.key] ?? Schema.String

/**
 * The routes of the resource: one for all objects, `notes/`, with `list` and `create`, and one for each of them, `notes/:id/`, with
 * the others; one of them, where the resource has actions of one kind only. `subscribe` and `unsubscribe` are in both.
 *
 * Two routes cannot match the same string: where other actions are in the same places, both routes are made by hand, out of
 * {@link collection} and {@link object}. Such an action has a handler of its own, which does not get the `rows` of the resource
 * ({@link handle}): what it may reach, it has to say itself.
 *
 * **Example** (Actions of one's own beside those of a resource)
 *
 * ```ts
 * import { Action, Consumer, Filter, Handlers, Repository, Resource, Route } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * class Task extends Schema.Class<Task>("Task")({ id: Schema.Int, title: Schema.String, done: Schema.Boolean }) {}
 * class Tasks extends Repository.Service<Tasks>()("app/Tasks", { schema: Task, key: "id" }) {}
 *
 * const task = Filter.fields<Task>()
 * const TaskResource = Resource.make("tasks", { repository: Tasks })
 *
 * // Of all objects, and of one.
 * const left = Action.make("left", { success: Schema.Int })
 * const finish = Action.make("finish", { success: Task, error: Repository.writeErrors }).pipe(Action.object(Task))
 *
 * const Board = Consumer.make("board", { path: "/ws/" }).pipe(
 *   Consumer.add(
 *     Route.make("tasks/").pipe(Route.add(...Resource.collection(TaskResource), left)),
 *     Route.make("tasks/:id/", Resource.params(TaskResource)).pipe(Route.add(...Resource.object(TaskResource), finish))
 *   )
 * )
 * const BoardLive = Consumer.handlers(Board).pipe(
 *   Handlers.handle("tasks/", "left", () => Tasks.use((tasks) => tasks.count(task.eq("done", false)))),
 *   Handlers.handle("tasks/:id/", "finish", {
 *     object: ({ params }) => Repository.get(Tasks, params.id),
 *     run: ({ object }) => Tasks.use((tasks) => tasks.update(object.id, { done: true })),
 *     transaction: (effect) => Tasks.use((tasks) => tasks.transaction(effect))
 *   }),
 *   Resource.handle(TaskResource),
 *   Handlers.toLayer
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const routes = <
  Name extends string,
  P extends Parts,
  Names extends ActionName,
  Needs,
  R,
  const Path extends `${string}/`
>(
  self: Resource<Name, P, Names, Needs, R>,
  path: Path
): Routes<Path, Name, P, Names, Needs, R> => {
  const resource = self
  const level = (path: string, params: object, members: ReadonlyArray<Action.Any>) =>
    members.length === 0 ? [] : [Route.make(path, params).pipe((route) => Route.add(...members)(route))]
  return [
    ...level(path, {}, actionsOf(resource, collectionActions)),
    ...level(`${path}:${resource.param}/`, paramsOf(resource), actionsOf(resource, objectActions))
  ] as never
}

/**
 * The routes of a resource at a path.
 *
 * @category models
 * @since 0.1.0
 */
export type Routes<Path extends string, Name extends string, P extends Parts, Names extends ActionName, Needs, R> =
  readonly [
    ...[Extract<Names, CollectionActionName>] extends [never] ? []
      : [Route.Route<Path, {}, CollectionActionOf<Name, P, Names, Needs, R>, unknown, LayersOf<Names, R>>],
    ...[Extract<Names, ObjectActionName>] extends [never] ? [] : [
      Route.Route<
        `${Path}:${P["Param"]}/`,
        { readonly [K in P["Param"]]: P["Key"]["Type"] },
        ObjectActionOf<Name, P, Names, Needs, R>,
        unknown,
        LayersOf<Names, R>
      >
    ]
  ]

/** What a resource needs: live queries are told of what other servers write. */
type LayersOf<Names extends ActionName, R> = "subscribe" extends Names ? R | ChannelLayer.ChannelLayer : R

/** Whoever can subscribe can unsubscribe. */
type Chosen<Names extends ActionName> = "subscribe" extends Names ? Names | "unsubscribe"
  : Exclude<Names, "unsubscribe">

/**
 * The actions about all objects that a resource has.
 *
 * @category models
 * @since 0.1.0
 */
export type CollectionActionOf<Name extends string, P extends Parts, Names extends ActionName, Needs, R> =
  CollectionActions<Name, P, Needs, R>[Extract<Chosen<Names>, keyof CollectionActions<Name, P, Needs, R>>]

/**
 * The actions about one object that a resource has.
 *
 * @category models
 * @since 0.1.0
 */
export type ObjectActionOf<Name extends string, P extends Parts, Names extends ActionName, Needs, R> = ObjectActions<
  Name,
  P,
  Needs,
  R
>[Extract<Chosen<Names>, keyof ObjectActions<Name, P, Needs, R>>]

const collectionActions: ReadonlyArray<ActionName> = ["list", "create", "subscribe", "unsubscribe"]
const objectActions: ReadonlyArray<ActionName> = [
  "retrieve",
  "update",
  "partial_update",
  "destroy",
  "subscribe",
  "unsubscribe"
]

/** The actions of a resource among these, each with the resource that it is of. */
const actionsOf = (self: Any, names: ReadonlyArray<ActionName>): ReadonlyArray<Action.Any> =>
  names.filter((name) => has(self, name)).map((name) => {
    const { retrieve } = self.permissions
    const permission = name === "subscribe" && names === objectActions
      ? both(retrieve, self.permissions.subscribe)
      : self.permissions[name]
    const action = actionOf(self, name)
    return Object.assign(
      Action.permit(
        name === "subscribe" && names === objectActions
          ? Action.object(action as never, self.repository.definition.schema)
          : action,
        permission as Permission.Permission
      ),
      { resource: self, isFree: name === "unsubscribe" }
    )
  })

/** Whoever can subscribe can unsubscribe. */
const has = ({ actions }: Any, name: ActionName): boolean =>
  actions.includes(name === "unsubscribe" ? "subscribe" : name)

const actionOf = (self: Any, name: ActionName): Action.Any => {
  const { page, repository, schemas } = self
  const row = repository.definition.schema
  const { Conflict, NotFound, StaleVersion } = Repository
  const { create, partialUpdate, read, update } = schemas
  const error: ReadonlyArray<Schema.Constraint> = [NotFound, Conflict, StaleVersion]
  switch (name) {
    case "list":
      return Action.make("list", { success: page, error: NotFound, idempotent: true })
    case "create":
      return Action.make("create", { payload: create, success: read, error: Conflict, status: 201 })
    case "retrieve":
      return Action.object(Action.make("retrieve", { success: read, error: NotFound, idempotent: true }), row)
    case "update":
      return Action.object(Action.make("update", { payload: update, success: read, error }), row)
    case "partial_update":
      return Action.object(Action.make("partial_update", { payload: partialUpdate, success: read, error }), row)
    case "destroy":
      return Action.object(Action.make("destroy", { status: 204, error }), row)
    case "subscribe":
      return Action.make("subscribe", {
        success: changeOf(read, keyOf(self)),
        error: NotFound,
        stream: true,
        idempotent: true
      })
    case "unsubscribe":
      return Action.make("unsubscribe", {
        payload: Schema.optionalKey(Schema.Struct({ request_id: Schema.Union([Schema.String, Schema.Number]) })),
        error: NotFound,
        status: 204
      })
  }
}

const changeOf = (read: Schema.Constraint, key: Schema.Constraint): Schema.Constraint =>
  Schema.Union([
    Schema.Struct({ type: Schema.Literal("snapshot"), results: Schema.Array(read) }),
    Schema.Struct({ type: Schema.Literal("added"), object: read }),
    Schema.Struct({ type: Schema.Literal("updated"), object: read }),
    Schema.Struct({ type: Schema.Literal("removed"), key })
  ])

// ---- handlers

/** What a resource's handler gets to know of a message, wherever its actions are. */
type RequestOf<Missing, Name extends string, N extends ActionName> = Extract<
  Missing,
  { readonly name: N; readonly subject: Of<Name> }
> extends { readonly request: infer Request; readonly subject: infer Subject }
  ? [Subject] extends [{ readonly object: infer Object }] ? Request & { readonly object: Object } : Request
  : never

type OrEffect<A, E> = A | Effect.Effect<A, E, unknown>

/**
 * How the actions of a resource do what they do, where they do not do it as usual; see {@link handle}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handling<Missing, Name extends string, P extends Parts> {
  /** Which rows there are for a request: what else is in the repository is not there (404), and in no list. */
  readonly rows?: (
    request: RequestOf<Missing, Name, ActionName>
  ) => OrEffect<Filter.Filter<P["Row"]>, ChannelError.Undeclared>
  /** Answers with the object that there is then. `insert` adds a row. */
  readonly create?: (
    request: RequestOf<Missing, Name, "create">,
    insert: (row: P["New"]) => Effect.Effect<P["Row"], Repository.Conflict | ChannelError.Unavailable>
  ) => Effect.Effect<P["Row"], Repository.Conflict | ChannelError.Undeclared, unknown>
  /**
   * Answers with the object that the client is sent. What it hides is not hidden in lists, live queries and replies to writes: that
   * is `writeOnly`.
   */
  readonly retrieve?: (
    request: RequestOf<Missing, Name, "retrieve">
  ) => Effect.Effect<P["Row"], Repository.NotFound | ChannelError.Undeclared, unknown>
  /** Answers with the object that there is then. `write` changes the row. */
  readonly update?: (
    request: RequestOf<Missing, Name, "update">,
    write: (changes: Repository.ChangesOf<P["Row"]>) => Effect.Effect<P["Row"], WriteFailure>
  ) => Effect.Effect<P["Row"], WriteFailure | ChannelError.Undeclared, unknown>
  /** Answers with the object that there is then. `write` changes the row. */
  readonly partial_update?: (
    request: RequestOf<Missing, Name, "partial_update">,
    write: (changes: Repository.ChangesOf<P["Row"]>) => Effect.Effect<P["Row"], WriteFailure>
  ) => Effect.Effect<P["Row"], WriteFailure | ChannelError.Undeclared, unknown>
  /** `remove` deletes the row. */
  readonly destroy?: (
    request: RequestOf<Missing, Name, "destroy">,
    remove: Effect.Effect<void, WriteFailure>
  ) => Effect.Effect<void, WriteFailure | ChannelError.Undeclared, unknown>
  /** What is in the computed fields. */
  readonly computed?: {
    readonly [K in keyof P["Computed"]]: (row: P["Row"]) => OrEffect<P["Computed"][K]["Type"], ChannelError.Undeclared>
  }
}

type WriteFailure =
  | Repository.NotFound
  | Repository.Conflict
  | Repository.StaleVersion
  | ChannelError.Unavailable

/** What cannot be left out. */
type Demanded<P extends Parts, Names extends ActionName> =
  & ([keyof P["Computed"]] extends [never] ? unknown : { readonly computed: unknown })
  & ("create" extends Names ? P["Create"]["Type"] extends P["New"] ? unknown : { readonly create: unknown } : unknown)

type Undemanding<P extends Parts, Names extends ActionName> = {} extends Demanded<P, Names> ? unknown
  : { readonly "missing options": keyof Demanded<P, Names> }

/** Options that there are: what is misspelt would do nothing. */
type Known<O, P extends Parts> =
  & { readonly [K in Exclude<keyof O, keyof Handling<never, string, Parts>>]: never }
  & (O extends { readonly computed: infer Computed }
    ? { readonly computed: { readonly [K in Exclude<keyof Computed, keyof P["Computed"]>]: never } }
    : unknown)

/** Handlers that a resource has something to add to. */
type Unhandled<Missing, Name extends string> = [Extract<Missing, { readonly subject: Of<Name> }>] extends [never]
  ? { readonly "nothing to handle": `the consumer has no action of the resource "${Name}" that is not handled yet` }
  : unknown

/** What the functions of an object need. */
type ServicesOf<O> = {
  [K in keyof O]: Exclude<O[K], undefined> extends (...args: never) => infer A
    ? A extends Effect.Effect<infer _A, infer _E, infer R> ? R : never
    : K extends "computed" ? ServicesOf<Exclude<O[K], undefined>>
    : never
}[keyof O]

/**
 * Handles the actions of a resource, wherever the consumer has them, but those that are handled already.
 *
 * - `rows`: which rows there are for a request, those of the project in its path say.
 * - `create`, `retrieve`, `update`, `partial_update`, `destroy`: what an action does instead. It gets what it usually does as a
 *   function, runs in the transaction, and answers with an object. `create` cannot be left out where new rows need more than
 *   clients may send.
 * - `computed`: what is in the computed fields.
 *
 * A resource is handled once, with all options: where nothing is left to be handled, it does not compile.
 *
 * **Example** (Tasks belong to whoever makes them)
 *
 * ```ts
 * import { Authentication, Consumer, Filter, Handlers, Repository, Resource } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number }>()("app/CurrentUser") {}
 * class Task extends Schema.Class<Task>("Task")({
 *   id: Schema.Int,
 *   project: Schema.String,
 *   title: Schema.String,
 *   ownerId: Schema.Int
 * }) {}
 * class Tasks extends Repository.Service<Tasks>()("app/Tasks", { schema: Task, key: "id" }) {}
 *
 * const TaskResource = Resource.make("tasks", { repository: Tasks, readOnly: ["project", "ownerId"] })
 * const Board = Consumer.make("board", { path: "/ws/projects/:project/" }).pipe(
 *   Consumer.add(...Resource.routes(TaskResource, "tasks/"))
 * )
 * const BoardLive = Consumer.handlers(Board).pipe(
 *   Resource.handle(TaskResource, {
 *     rows: ({ params }) => Filter.fields<Task>().eq("project", params.project),
 *     create: ({ params, payload }, insert) =>
 *       CurrentUser.use((user) => insert({ ...payload, project: params.project, ownerId: user.id }))
 *   }),
 *   Handlers.toLayer
 * )
 * ```
 *
 * @category handlers
 * @since 0.1.0
 */
export const handle: {
  <
    Missing extends Handlers.AnyEndpoint,
    R0,
    Name extends string,
    P extends Parts,
    Names extends ActionName,
    Needs,
    R,
    O extends Handling<Missing, Name, P> & Demanded<P, Names>
  >(
    resource: Resource<Name, P, Names, Needs, R>,
    options: O & Known<O, P>
  ): <Consumer extends string>(
    self: Handlers.Handlers<Consumer, Missing, R0> & Unhandled<Missing, Name>
  ) => Handlers.Handlers<
    Consumer,
    Exclude<Missing, { readonly subject: Of<Name> }>,
    R0 | P["Repository"] | ServicesOf<O>
  >
  <Name extends string, P extends Parts, Names extends ActionName, Needs, R>(
    resource: Resource<Name, P, Names, Needs, R> & Undemanding<P, Names>
  ): <Consumer extends string, Missing, R0>(
    self: Handlers.Handlers<Consumer, Missing, R0> & Unhandled<Missing, Name>
  ) => Handlers.Handlers<Consumer, Exclude<Missing, { readonly subject: Of<Name> }>, R0 | P["Repository"]>
} = (resource: Any, options: object = {}) => (self: Handlers.Handlers<string, unknown, unknown>): never =>
  handlers.add(self, resource, options) as never

// ---- changes

/**
 * Tells the live queries of other servers what this process writes to a repository, by the channel layer. A server that has
 * `subscribe` among its actions does so by itself; a process that only writes wants this layer.
 *
 * **Example** (A worker)
 *
 * ```ts
 * import { ChannelLayer, Repository, Resource } from "@effect-channels/core"
 * import * as Layer from "effect/Layer"
 * import * as Schema from "effect/Schema"
 *
 * class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, text: Schema.String }) {}
 * class Notes extends Repository.Service<Notes>()("app/Notes", { schema: Note, key: "id" }) {}
 *
 * // SqlRepository.layer(Notes, { table: "notes" }) and RedisChannels.layer({ url }) say
 * declare const NotesLive: Layer.Layer<Notes>
 * declare const ChannelsLive: Layer.Layer<ChannelLayer.ChannelLayer>
 *
 * const WorkerLive = Resource.layerChanges(Notes).pipe(Layer.provideMerge(NotesLive), Layer.provide(ChannelsLive))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerChanges = <
  Self,
  Id extends string,
  S extends Repository.RowSchema,
  Key extends keyof S["Type"] & keyof S["fields"] & string,
  Generated extends string = never,
  Version extends string = never
>(
  repository: Repository.RepositoryClass<Self, Id, S, Key, Generated, Version>
): Layer.Layer<never, never, Self | ChannelLayer.ChannelLayer> =>
  Layer.effectDiscard(
    Effect.gen(function*() {
      const rows = yield* repository
      const layer = yield* ChannelLayer.ChannelLayer
      yield* handlers.shared(repository, rows, layer, yield* Effect.context<never>())
    })
  )
