/**
 * Where the rows of a resource are kept. A repository is a service that an application names with {@link Service}; a layer says
 * where the rows are: in memory ({@link RepositoryClass.layerMemory}), or in a database (the package `@effect-channels/sql`).
 * Whatever else needs the rows, an HTTP route say, uses the same service.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as ChannelError from "./ChannelError.ts"
import type * as Filter from "./Filter.ts"
import * as memory from "./internal/memory-repository.ts"

/**
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~effect-channels/Repository"

/**
 * There is no such row. Status 404.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends Schema.TaggedError<NotFound>("effect-channels/Repository/NotFound")("NotFound", {
  message: Schema.String
}, { httpApiStatus: 404 }) {
  readonly code = "not_found"
}

/**
 * The row cannot be written like this: another one has the same value in a field where each has its own. A database refuses
 * other things as well: a row to refer to that is not there, a row that others refer to, values that a `CHECK` does not permit, or
 * that a column cannot hold. Status 409. `fields` are the fields that it is about, where they are known.
 *
 * @category errors
 * @since 0.1.0
 */
export class Conflict extends Schema.TaggedError<Conflict>("effect-channels/Repository/Conflict")("Conflict", {
  message: Schema.String,
  fields: Schema.Array(Schema.String)
}, { httpApiStatus: 409 }) {
  readonly code = "conflict"
}

/**
 * The row has been changed since its version was read. Status 409.
 *
 * @category errors
 * @since 0.1.0
 */
export class StaleVersion
  extends Schema.TaggedError<StaleVersion>("effect-channels/Repository/StaleVersion")("StaleVersion", {
    message: Schema.String
  }, { httpApiStatus: 409 })
{
  readonly code = "stale_version"
}

/**
 * The errors that writing a row may fail with, for an action that does.
 *
 * @category errors
 * @since 0.1.0
 */
export const writeErrors = [NotFound, Conflict, StaleVersion] as const

/**
 * The schema of a row: a `Schema.Struct`, a `Schema.Class`, or a `Model.Class` of `effect/schema/Model`. It needs no services.
 *
 * @category models
 * @since 0.1.0
 */
export interface RowSchema extends Schema.ConstraintCodec<object, unknown, never, never> {
  readonly fields: Schema.Struct.Fields
}

/**
 * What is handed over for a new row: a row without what the database generates. A model says so itself, by its `insert`.
 *
 * @category models
 * @since 0.1.0
 */
export type NewOf<S extends RowSchema, Generated extends string> = S extends
  { readonly insert: infer I extends Schema.Constraint } ? I["Type"]
  : Simplify<Pick<S["Type"], Exclude<FieldOf<S>, Generated>>>

/** The names of the fields of a row: no getters of its class. */
type FieldOf<S extends RowSchema> = keyof S["Type"] & keyof S["fields"] & string

type Simplify<A> = { readonly [K in keyof A]: A[K] } extends infer B ? B : never

/**
 * Changes to a row: the fields that are left out stay as they are.
 *
 * @category models
 * @since 0.1.0
 */
export type ChangesOf<Row> = { readonly [K in keyof Row]?: Row[K] }

/**
 * In which order rows come.
 *
 * @category models
 * @since 0.1.0
 */
export interface Order<out Field extends string = string> {
  readonly field: Field
  readonly direction: "ascending" | "descending"
}

/**
 * Which rows are read, and in which order: null comes before everything else, and text is compared by its code points. Rows that
 * are equal in `order` come in an order of their own: name the key last.
 *
 * @category models
 * @since 0.1.0
 */
export interface Selection<in Row> {
  readonly filter: Filter.Filter<Row>
  readonly order: ReadonlyArray<Order>
  /** So many of them at the most. */
  readonly limit?: number | undefined
  /** So many of them are left out at the beginning. */
  readonly offset?: number | undefined
}

/**
 * What has been written, and is committed: the keys of rows that were written, changed or deleted; or that something may have
 * been written that was not heard of, as after a lost connection.
 *
 * @category models
 * @since 0.1.0
 */
export type Change<Key> =
  | { readonly _tag: "Written"; readonly keys: ReadonlyArray<Key> }
  | { readonly _tag: "Unknown" }

/**
 * Where a repository hears of what is written, by itself and by everybody else, once it is committed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Feed<out Key> {
  /** Calls a function with each change as long as the scope is open. */
  readonly subscribe: (listener: (change: Change<Key>) => void) => Effect.Effect<void, never, Scope.Scope>
}

/**
 * How a row is written.
 *
 * @category models
 * @since 0.1.0
 */
export interface WriteOptions {
  /**
   * Whether nothing more is done in the transaction, should the write be refused: then some databases have less to do. Default
   * `false`: whoever catches the refusal may go on.
   */
  readonly last?: boolean | undefined
}

/**
 * Rows of type `Row`, each with its own `Key`; `New` is what a new one is made of.
 *
 * Everything fails with `Unavailable` (503) where the rows cannot be reached now.
 *
 * @category models
 * @since 0.1.0
 */
export interface Repository<Row, Key, New> {
  /**
   * The row with this key. With `lock` nobody else writes it until the transaction that this is part of has ended; it must be
   * read in one then.
   */
  readonly find: (
    key: Key,
    options?: { readonly lock?: boolean | undefined }
  ) => Effect.Effect<Option.Option<Row>, ChannelError.Unavailable>
  readonly select: (selection: Selection<Row>) => Effect.Effect<ReadonlyArray<Row>, ChannelError.Unavailable>
  readonly count: (filter: Filter.Filter<Row>) => Effect.Effect<number, ChannelError.Unavailable>
  /** Adds a row, and answers with what is there then. */
  readonly insert: (row: New, options?: WriteOptions) => Effect.Effect<Row, Conflict | ChannelError.Unavailable>
  /**
   * Changes a row, and answers with what is there then. Where the rows have a version, it grows by one; `version` is the one that
   * the row must have had before.
   */
  readonly update: (
    key: Key,
    changes: ChangesOf<Row>,
    options?: WriteOptions & { readonly version?: number | undefined }
  ) => Effect.Effect<Row, NotFound | Conflict | StaleVersion | ChannelError.Unavailable>
  /** Deletes a row. */
  readonly remove: (
    key: Key,
    options?: WriteOptions & { readonly version?: number | undefined }
  ) => Effect.Effect<void, NotFound | Conflict | StaleVersion | ChannelError.Unavailable>
  /**
   * Does all of it, or, where the effect fails or is interrupted, nothing. One in another is part of it. Rows that it has read with
   * `lock` are not written by anybody else before it has ended.
   */
  readonly transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ChannelError.Unavailable, R>
  /**
   * Does something once the transaction that this is part of is committed, and nothing where it is rolled back; at once outside of
   * one. What `transaction` answers comes after it. It must not take long, nor use what the transaction has.
   */
  readonly afterCommit: <R>(effect: Effect.Effect<void, never, R>) => Effect.Effect<void, never, R>
  /**
   * Calls a function with what is written, once it is committed, as long as the scope is open: the repository's own writes, and
   * those of others as far as its layer hears of them. The function must not throw, and takes no time.
   */
  readonly changes: (listener: (change: Change<Key>) => void) => Effect.Effect<void, never, Scope.Scope>
  /**
   * Whether {@link changes} tells of everybody's writes, those of other processes too. Where it does not, a server tells the others
   * of its own by its channel layer. Default `false`.
   */
  readonly hearsAll?: boolean | undefined
}

/**
 * What a repository is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Definition<
  out S extends RowSchema = RowSchema,
  out Key extends string = string,
  out Generated extends string = string,
  out Version extends string = string
> {
  readonly schema: S
  /** The field that tells a row apart from every other one. */
  readonly key: Key
  /** The fields that the database makes, the key by default. */
  readonly generated: ReadonlyArray<Generated>
  /** The field that grows by one with every change, a whole number. */
  readonly version: Version | undefined
  /** The fields of which each row has its own value, besides the key; several fields together where it is an array. */
  readonly unique: ReadonlyArray<ReadonlyArray<string>>
}

/**
 * The class of a repository service, see {@link Service}.
 *
 * @category models
 * @since 0.1.0
 */
export interface RepositoryClass<
  in out Self,
  in out Id extends string,
  in out S extends RowSchema,
  in out Key extends keyof S["Type"] & string,
  in out Generated extends string,
  in out Version extends string
> extends Context.Service<Self, Repository<S["Type"], S["Type"][Key], NewOf<S, Generated | Version>>> {
  new(_: never): {
    readonly [TypeId]: typeof TypeId
    readonly key: Id
    readonly Service: Repository<S["Type"], S["Type"][Key], NewOf<S, Generated | Version>>
  }
  readonly key: Id
  readonly definition: Definition<S, Key, Generated, Version>
  /**
   * The rows in memory, for tests and for what may be lost. A key that is generated is a number, one more than the greatest so far.
   * Transactions run one after the other. It does what a database does, and never fails with `Unavailable`.
   */
  layerMemory(rows?: ReadonlyArray<S["Type"]>): Layer.Layer<Self>
}

/**
 * Any repository service.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyClass {
  readonly key: string
  readonly definition: Definition
}

/**
 * The type of a repository's rows.
 *
 * @category models
 * @since 0.1.0
 */
export type RowOf<C extends AnyClass> = C["definition"]["schema"]["Type"]

/**
 * The type of a repository's keys.
 *
 * @category models
 * @since 0.1.0
 */
export type KeyOf<C extends AnyClass> = RowOf<C>[C["definition"]["key"] & keyof RowOf<C>]

/**
 * Names a repository.
 *
 * - `schema`: the schema of its rows.
 * - `key`: the field that tells a row apart.
 * - `generated`: the fields that the database makes, `[key]` by default; `[]` where new rows bring their key along. A model says
 *   so itself.
 * - `version`: a field with a whole number, 1 in a new row, which grows by one with every change: a change by an older version is
 *   refused.
 * - `unique`: fields of which each row has its own value, which the memory layer keeps to; a database has its own constraints.
 *
 * **Example** (Notes in memory)
 *
 * ```ts
 * import { Repository } from "@effect-channels/core"
 * import * as Schema from "effect/Schema"
 *
 * class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, text: Schema.String }) {}
 * class Notes extends Repository.Service<Notes>()("app/Notes", { schema: Note, key: "id" }) {}
 *
 * const NotesLive = Notes.layerMemory([new Note({ id: 1, text: "hello" })])
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service = <Self>() =>
<
  const Id extends string,
  S extends RowSchema,
  const Key extends FieldOf<S>,
  const Generated extends FieldOf<S> = Key,
  const Version extends FieldOf<S> = never
>(id: Id, options: {
  readonly schema: S
  readonly key: Key
  readonly generated?: ReadonlyArray<Generated> | undefined
  readonly version?: Version | undefined
  readonly unique?: ReadonlyArray<FieldOf<S> | ReadonlyArray<FieldOf<S>>> | undefined
}): RepositoryClass<Self, Id, S, Key, Generated, Version> => {
  const definition: Definition = {
    schema: options.schema,
    key: options.key,
    generated: generatedOf(options.schema) ?? options.generated ?? [options.key],
    version: options.version,
    unique: (options.unique ?? []).map((fields) => typeof fields === "string" ? [fields] : fields)
  }
  class Tag extends Context.Service<Tag, unknown>()(id) {
    static readonly definition = definition
    static layerMemory(rows: ReadonlyArray<object> = []) {
      return memory.layer(this, definition, { NotFound, Conflict, StaleVersion }, rows)
    }
  }
  return Tag as never
}

/**
 * The row with this key, or else {@link NotFound}.
 *
 * @category accessors
 * @since 0.1.0
 */
export const get = <
  Self,
  Id extends string,
  S extends RowSchema,
  Key extends keyof S["Type"] & string,
  Generated extends string,
  Version extends string
>(
  service: RepositoryClass<Self, Id, S, Key, Generated, Version>,
  key: S["Type"][Key]
): Effect.Effect<S["Type"], NotFound | ChannelError.Unavailable, Self> =>
  Effect.flatMap(service, (rows) =>
    Effect.flatMap(rows.find(key), (found) =>
      Option.isSome(found)
        ? Effect.succeed(found.value)
        : Effect.fail(new NotFound({ message: "There is no such object" }))))

/** What a model's database makes: what a new row is not handed over with. */
const generatedOf = (schema: RowSchema): ReadonlyArray<string> | undefined => {
  if (!("insert" in schema)) return undefined
  const insert = schema.insert as RowSchema
  return Object.keys(schema.fields).filter((name) => !Object.hasOwn(insert.fields, name))
}
