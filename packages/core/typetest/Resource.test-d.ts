// @effect-diagnostics missingEffectError:off
import {
  Authentication,
  ChannelError,
  type ChannelLayer,
  Check,
  Consumer,
  Filter,
  Handlers,
  Pagination,
  Permission,
  Repository,
  Resource,
  Route
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { describe, expectTypeOf, it } from "vitest"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number }>()("app/CurrentUser") {}
class Mail extends Context.Service<Mail, { readonly send: (text: string) => Effect.Effect<void> }>()("app/Mail") {}

class Task extends Schema.Class<Task>("Task")({
  id: Schema.Int,
  title: Schema.String,
  stars: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0))),
  due: Schema.optionalKey(Schema.Date),
  owner: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(0))),
  version: Schema.Int
}) {
  get shout(): string {
    return this.title.toUpperCase()
  }
}
class Tasks extends Repository.Service<Tasks>()("app/Tasks", { schema: Task, key: "id", version: "version" }) {}

const Row = Schema.Struct({ id: Schema.Int, title: Schema.String, secret: Schema.String })
type Row = typeof Row.Type
class Rows extends Repository.Service<Rows>()("app/Rows", { schema: Row, key: "id" }) {}

class Post extends Model.Class<Post>("Post")({
  id: Model.GeneratedByDb(Schema.Int.pipe(Schema.brand("PostId"))),
  title: Schema.String,
  note: Model.FieldOption(Schema.String),
  made: Model.DateTimeInsert,
  changed: Model.DateTimeUpdate
}) {}
class Posts extends Repository.Service<Posts>()("app/Posts", { schema: Post, key: "id" }) {}

class Account extends Model.Class<Account>("Account")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String,
  hash: Model.Sensitive(Schema.String)
}) {}
class Accounts extends Repository.Service<Accounts>()("app/Accounts", { schema: Account, key: "id" }) {}

const TaskResource = Resource.make("tasks", { repository: Tasks, readOnly: ["owner"] })
const Board = Consumer.make("board", { path: "/ws/:project/" }).pipe(
  Consumer.add(...Resource.routes(TaskResource, "tasks/"))
)
const board = Consumer.handlers(Board)

const RowResource = Resource.make("rows", {
  repository: Rows,
  param: "pk",
  writeOnly: ["secret"],
  computed: { length: Schema.Int, seen: Schema.Date },
  pagination: Pagination.cursor()
})
const Shelf = Consumer.make("shelf", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(RowResource, "rows/")))
const shelf = Consumer.handlers(Shelf)
const computed = { length: ({ title }: Row) => title.length, seen: () => new Date(0) }

const PostResource = Resource.make("posts", { repository: Posts, pagination: Pagination.none() })
const Blog = Consumer.make("blog", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(PostResource, "posts/")))
const blog = Consumer.handlers(Blog)

const AccountResource = Resource.make("accounts", { repository: Accounts })
const bank = Consumer.handlers(
  Consumer.make("bank", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(AccountResource, "accounts/")))
)

type PartsOf<R> = R extends Resource.Resource<string, infer P, infer _Names, infer _Needs, infer _R> ? P : never

/** The endpoint of this name. */
type Of<H, Name> = H extends Handlers.Handlers<string, infer Missing, infer _R>
  ? Extract<Missing, { readonly name: Name }>
  : never

type Params = { readonly project: string }
type OneOf = { readonly project: string; readonly id: number }

describe("what the actions of a resource take and give", () => {
  it("list", () => {
    type List = Of<typeof board, "list">
    expectTypeOf<List["route"]>().toEqualTypeOf<"tasks/">()
    expectTypeOf<List["request"]>().toEqualTypeOf<Handlers.Request<void, Params, void>>()
    expectTypeOf<List["success"]>().toEqualTypeOf<{
      readonly count: number
      readonly next: string | null
      readonly previous: string | null
      readonly results: ReadonlyArray<Task>
    }>()
    expectTypeOf<List["error"]>().toEqualTypeOf<Repository.NotFound>()
    expectTypeOf<Of<typeof shelf, "list">["success"]["results"]>().toEqualTypeOf<
      ReadonlyArray<{ readonly id: number; readonly title: string; readonly length: number; readonly seen: Date }>
    >()
    expectTypeOf<Of<typeof shelf, "list">["success"]>().not.toHaveProperty("count")
    expectTypeOf<Of<typeof blog, "list">["success"]>().toEqualTypeOf<
      ReadonlyArray<{
        readonly id: Post["id"]
        readonly title: string
        readonly note: Option.Option<string>
        readonly made: DateTime.Utc
        readonly changed: DateTime.Utc
      }>
    >()
  })

  it("create", () => {
    type Create = Of<typeof board, "create">
    expectTypeOf<Create["request"]["payload"]>().toEqualTypeOf<
      { readonly title: string; readonly stars: number; readonly due?: Date }
    >()
    expectTypeOf<Create["success"]>().toEqualTypeOf<Task>()
    expectTypeOf<Create["error"]>().toEqualTypeOf<Repository.Conflict>()
    expectTypeOf<Of<typeof shelf, "create">["request"]["payload"]>().toEqualTypeOf<
      { readonly title: string; readonly secret: string }
    >()
    expectTypeOf<Of<typeof blog, "create">["request"]["payload"]>().toEqualTypeOf<
      { readonly title: string; readonly note: Option.Option<string> }
    >()
    expectTypeOf<Of<typeof bank, "create">["request"]["payload"]>().toEqualTypeOf<{ readonly name: string }>()
    expectTypeOf<Of<typeof bank, "create">["success"]>().toEqualTypeOf<{ readonly id: number; readonly name: string }>()
  })

  it("retrieve", () => {
    type Retrieve = Of<typeof board, "retrieve">
    expectTypeOf<Retrieve["route"]>().toEqualTypeOf<"tasks/:id/">()
    expectTypeOf<Retrieve["request"]>().toEqualTypeOf<Handlers.Request<void, OneOf, void>>()
    expectTypeOf<Retrieve["success"]>().toEqualTypeOf<Task>()
    expectTypeOf<Retrieve["error"]>().toEqualTypeOf<Repository.NotFound>()
    expectTypeOf<Of<typeof shelf, "retrieve">["route"]>().toEqualTypeOf<"rows/:pk/">()
    expectTypeOf<Of<typeof shelf, "retrieve">["request"]["params"]>().toEqualTypeOf<{ readonly pk: number }>()
    expectTypeOf<Of<typeof blog, "retrieve">["request"]["params"]>().toEqualTypeOf<{ readonly id: Post["id"] }>()
  })

  it("update: with its version, and without what has a default", () => {
    type Update = Of<typeof board, "update">
    expectTypeOf<Update["request"]["payload"]>().toEqualTypeOf<
      { readonly title: string; readonly stars?: number; readonly due?: Date; readonly version: number }
    >()
    expectTypeOf<Update["success"]>().toEqualTypeOf<Task>()
    expectTypeOf<Update["error"]>().toEqualTypeOf<
      Repository.NotFound | Repository.Conflict | Repository.StaleVersion
    >()
    expectTypeOf<Of<typeof shelf, "update">["request"]["payload"]>().toEqualTypeOf<
      { readonly title: string; readonly secret: string }
    >()
    expectTypeOf<Of<typeof blog, "update">["request"]["payload"]>().toEqualTypeOf<
      { readonly title: string; readonly note?: Option.Option<string> }
    >()
  })

  it("partial_update: any of it", () => {
    type Partial = Of<typeof board, "partial_update">
    expectTypeOf<Partial["request"]["payload"]>().toEqualTypeOf<
      { readonly title?: string; readonly stars?: number; readonly due?: Date; readonly version?: number }
    >()
    expectTypeOf<Partial["success"]>().toEqualTypeOf<Task>()
    expectTypeOf<Of<typeof blog, "partial_update">["request"]["payload"]>().toEqualTypeOf<
      { readonly title?: string; readonly note?: Option.Option<string> }
    >()
  })

  it("destroy", () => {
    expectTypeOf<Of<typeof board, "destroy">["request"]["payload"]>().toEqualTypeOf<void>()
    expectTypeOf<Of<typeof board, "destroy">["success"]>().toEqualTypeOf<void>()
  })

  it("no others than those that were chosen", () => {
    const Some = Resource.make("some", { repository: Tasks, actions: ["list", "retrieve"] })
    const some = Consumer.handlers(
      Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(Some, "some/")))
    )
    type Names = typeof some extends Handlers.Handlers<string, infer Missing extends Handlers.AnyEndpoint, infer _R>
      ? Missing["name"]
      : never
    expectTypeOf<Names>().toEqualTypeOf<"list" | "retrieve">()
    expectTypeOf(Resource.routes(Some, "some/")).toHaveProperty("length").toEqualTypeOf<2>()
    const Listed = Resource.make("some", { repository: Tasks, actions: ["list"] })
    expectTypeOf(Resource.routes(Listed, "some/")).toHaveProperty("length").toEqualTypeOf<1>()
    const One = Resource.make("some", { repository: Tasks, actions: ["update"] })
    expectTypeOf(Resource.routes(One, "some/")).toHaveProperty("length").toEqualTypeOf<1>()
    expectTypeOf(Resource.routes(One, "some/")[0].path).toEqualTypeOf<"some/:id/">()
    // @ts-expect-error: no such action
    Resource.make("some", { repository: Tasks, actions: ["lists"] })
    // @ts-expect-error: it comes with subscribe
    Resource.make("some", { repository: Tasks, actions: ["unsubscribe"] })
    // @ts-expect-error: a path ends with a slash
    Resource.routes(Some, "some")
  })

  it("the same for a test", () => {
    const test = Effect.gen(function*() {
      const client = yield* Testing.connect(Board, { params: { project: "p" } })
      const created = yield* client.ask("tasks/", "create", { payload: { title: "t", stars: 1 } })
      expectTypeOf(created.data).toEqualTypeOf<Task | undefined>()
      yield* client.ask("tasks/:id/", "partial_update", { params: { id: 1 }, payload: {} })
      // @ts-expect-error: there is no version
      yield* client.ask("tasks/:id/", "update", { params: { id: 1 }, payload: { title: "t" } })
      // @ts-expect-error: it is read only
      yield* client.ask("tasks/:id/", "partial_update", { params: { id: 1 }, payload: { owner: 1 } })
      // @ts-expect-error: the key is a number
      yield* client.ask("tasks/:id/", "retrieve", { params: { id: "1" } })
    })
    expectTypeOf(test).toExtend<Effect.Effect<void, unknown, unknown>>()
  })
})

describe("what a resource is made of", () => {
  const options = { repository: Tasks } as const

  it("fields that there are", () => {
    Resource.make("r", {
      ...options,
      readOnly: ["title"],
      writeOnly: ["due"],
      filters: { title: ["icontains", "exact"], stars: ["gte", "in"], due: ["isnull"] },
      search: ["title"],
      ordering: ["stars", "due"],
      order: ["-stars", "id"]
    })
    // @ts-expect-error: no such field
    Resource.make("r", { ...options, readOnly: ["name"] })
    // @ts-expect-error: no such field
    Resource.make("r", { ...options, writeOnly: ["name"] })
    // @ts-expect-error: no such field
    Resource.make("r", { ...options, filters: { name: ["exact"] } })
    // @ts-expect-error: no such comparison
    Resource.make("r", { ...options, filters: { title: ["like"] } })
    // @ts-expect-error: no such field
    Resource.make("r", { ...options, search: ["name"] })
    // @ts-expect-error: no text
    Resource.make("r", { ...options, search: ["stars"] })
    // @ts-expect-error: no such field
    Resource.make("r", { ...options, ordering: ["name"] })
    // @ts-expect-error: clients say that
    Resource.make("r", { ...options, ordering: ["-stars"] })
    // @ts-expect-error: no such field
    Resource.make("r", { ...options, order: ["name"] })
    // @ts-expect-error: no such field
    Resource.make("r", { ...options, order: ["-name"] })
    // @ts-expect-error: no such way
    Resource.make("r", { ...options, unknownParameters: "drop" })
    // @ts-expect-error: no pagination
    Resource.make("r", { ...options, pagination: 10 })
    // @ts-expect-error: no repository
    Resource.make("r", { repository: Task })
    // What a class computes is no field.
    Resource.make("r", { ...options, computed: { shout: Schema.String, length: Schema.Int } })
    // @ts-expect-error: the row has it
    Resource.make("r", { ...options, computed: { title: Schema.String, length: Schema.Int } })
  })
})

describe("a permission of a resource", () => {
  const isOwner = Check.isOwner<Task>()(CurrentUser, { object: "owner", user: "id" })
  const isAuthenticated = Check.isAuthenticated(CurrentUser)
  const ofRow = Permission.object<Row>()("ofRow", ({ object }) => object.secret === "")
  const changesTitle = Permission.object<Task, { readonly title: string }>()(
    "changesTitle",
    ({ object, payload }) => object.title !== payload.title
  )

  it("finds what it looks at", () => {
    TaskResource.pipe(Resource.permit(isAuthenticated))
    TaskResource.pipe(Resource.permit(["retrieve", "update", "partial_update", "destroy"], isOwner))
    TaskResource.pipe(Resource.permit(["update"], changesTitle))
    // @ts-expect-error: there is no object yet where one is created
    TaskResource.pipe(Resource.permit(isOwner))
    // @ts-expect-error: there is no object yet where one is created
    TaskResource.pipe(Resource.permit(["create"], isOwner))
    // @ts-expect-error: there is no object where many are listed
    TaskResource.pipe(Resource.permit(["list"], isOwner))
    // @ts-expect-error: these are other rows
    TaskResource.pipe(Resource.permit(["retrieve"], ofRow))
    // @ts-expect-error: the title may be left out
    TaskResource.pipe(Resource.permit(["partial_update"], changesTitle))
    // @ts-expect-error: there is no payload
    TaskResource.pipe(Resource.permit(["destroy"], changesTitle))
    // @ts-expect-error: no such action
    TaskResource.pipe(Resource.permit(["patch"], isAuthenticated))
  })

  it("or is told which actions do not have that", () => {
    const guarding = Resource.permit(["create", "list", "update"], isOwner)
    type Told<F extends (self: never) => unknown> = Parameters<F>[0]["not permitted" & keyof Parameters<F>[0]]
    type Guarding = typeof guarding<"tasks", PartsOf<typeof TaskResource>, "create", unknown, never>
    expectTypeOf<Told<Guarding>>().toEqualTypeOf<
      `the permission looks at an object or a payload that "${
        | "create"
        | "list"}" does not have: name the actions that it guards, as in Resource.permit(["update"], permission)`
    >()
  })

  it("of an object guards all actions of a resource without create, its list too", () => {
    const guarded = Resource.make("tasks", { repository: Tasks, actions: ["list", "retrieve", "destroy", "subscribe"] })
      .pipe(Resource.permit(isOwner))
    const Some = Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(guarded, "tasks/")))
    const live = Consumer.handlers(Some).pipe(Resource.handle(guarded), Handlers.toLayer)
    expectTypeOf<Layer.Services<typeof live>>().toEqualTypeOf<
      Tasks | Authentication.Authenticator<CurrentUser> | ChannelLayer.ChannelLayer
    >()
  })

  it("needs what its checks need", () => {
    const guarded = TaskResource.pipe(Resource.permit(isAuthenticated))
    const Some = Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(guarded, "tasks/")))
    const live = Consumer.handlers(Some).pipe(Resource.handle(guarded), Handlers.toLayer)
    expectTypeOf<Layer.Services<typeof live>>().toEqualTypeOf<Tasks | Authentication.Authenticator<CurrentUser>>()
  })

  it("looks at params that the place has", () => {
    const inProject = Permission.object<Task, unknown, { readonly project: string }>()(
      "inProject",
      ({ params }) => params.project !== ""
    )
    const guarded = TaskResource.pipe(Resource.permit(["retrieve"], inProject))
    const add = Consumer.add(...Resource.routes(guarded, "tasks/"))
    Consumer.handlers(Consumer.make("some", { path: "/ws/:project/" }).pipe(add))
    // @ts-expect-error: there is no project
    Consumer.handlers(Consumer.make("some", { path: "/ws/" }).pipe(add))
  })
})

describe("the place of a resource", () => {
  const object = Consumer.add(...Resource.object(TaskResource))

  it("names the object", () => {
    Consumer.handlers(Consumer.make("one", { path: "/ws/:id/", params: Resource.params(TaskResource) }).pipe(object))
    Consumer.handlers(Consumer.make("one", { path: "/ws/:id/", params: { id: Schema.NumberFromString } }).pipe(object))
    // @ts-expect-error: no parameter names it
    Consumer.handlers(Consumer.make("one", { path: "/ws/" }).pipe(object))
    // @ts-expect-error: another one does
    Consumer.handlers(Consumer.make("one", { path: "/ws/:pk/", params: { pk: Schema.NumberFromString } }).pipe(object))
    // @ts-expect-error: the key is no text
    Consumer.handlers(Consumer.make("one", { path: "/ws/:id/" }).pipe(object))
    const route = Route.make("tasks/:id/", Resource.params(TaskResource)).pipe(
      Route.add(...Resource.object(TaskResource))
    )
    Consumer.handlers(Consumer.make("one", { path: "/ws/" }).pipe(Consumer.add(route)))
    // @ts-expect-error: the path has no such parameter
    Consumer.make("one", { path: "/ws/", params: Resource.params(TaskResource) })
  })

  it("or is told that it does not", () => {
    const One = Resource.make("one", { repository: Tasks, actions: ["retrieve"] })
    type Told<Params, R = (typeof one)[number]> = Handlers.Permitted<R, Params, unknown>
    const one = Resource.object(One)
    expectTypeOf<Told<{ readonly id: number }>>().toEqualTypeOf<unknown>()
    type Absent = {
      readonly "not permitted":
        "The path of action \"retrieve\" has no parameter \"id\", which names the object: see Resource.params"
    }
    expectTypeOf<Told<{}>>().toEqualTypeOf<Absent>()
    expectTypeOf<Told<{ readonly pk: number }>>().toEqualTypeOf<Absent>()
    expectTypeOf<Told<{ readonly id: string }>>().toEqualTypeOf<{
      readonly "not permitted":
        "The parameter \"id\" in the path of action \"retrieve\" is no key of the object: see Resource.params"
    }>()
    const inProject = Permission.action<{ readonly project: string }>()("inProject", () => true)
    const guarded = Resource.object(One.pipe(Resource.permit(["retrieve"], inProject)))
    expectTypeOf<Told<{ readonly id: number }, (typeof guarded)[number]>>().toEqualTypeOf<{
      readonly "not permitted":
        "The permission of action \"retrieve\" in route \"\" looks at an object, payload or params which are not there"
    }>()
  })

  it("does not matter to those that are about all objects", () => {
    Consumer.handlers(Consumer.make("all", { path: "/ws/" }).pipe(Consumer.add(...Resource.collection(TaskResource))))
  })
})

describe("how a resource is handled", () => {
  it("completely, and needs the repository", () => {
    const live = board.pipe(Resource.handle(TaskResource), Handlers.toLayer)
    expectTypeOf(live).toEqualTypeOf<Layer.Layer<Handlers.Live<"board">, Handlers.DefinitionError, Tasks>>()
    // @ts-expect-error: nothing handles its actions
    board.pipe(Handlers.toLayer)
    // @ts-expect-error: another resource does not
    board.pipe(Resource.handle(RowResource, { computed }), Handlers.toLayer)
  })

  it("once, where it is", () => {
    const rows = () => Filter.all
    const handled = board.pipe(Resource.handle(TaskResource))
    // @ts-expect-error: it is handled already
    handled.pipe(Resource.handle(TaskResource, { rows }))
    // @ts-expect-error: it is handled already
    handled.pipe(Resource.handle(TaskResource))
    // @ts-expect-error: it is handled already
    board.pipe(Resource.handle(TaskResource, { rows }), Resource.handle(TaskResource))
    // @ts-expect-error: the consumer does not have it
    board.pipe(Resource.handle(PostResource))
    // @ts-expect-error: the consumer does not have it
    board.pipe(Resource.handle(PostResource, { rows }))
    // @ts-expect-error: the consumer does not have it
    board.pipe(Resource.handle(TaskResource), Resource.handle(PostResource), Handlers.toLayer)
  })

  it("or is told that nothing does so", () => {
    const missing = <Missing>(_: Handlers.Handlers<string, Missing, unknown>): Handlers.Complete<Missing> =>
      undefined as never
    expectTypeOf(missing(board)).toEqualTypeOf<
      { readonly "missing handlers": "resource \"tasks\": add Resource.handle" }
    >()
  })

  it("by options that there are", () => {
    const rows = () => Filter.all
    // @ts-expect-error: it is called rows
    board.pipe(Resource.handle(TaskResource, { row: rows }))
    // @ts-expect-error: it is called rows
    board.pipe(Resource.handle(TaskResource, { row: rows, update: ({ payload }, write) => write(payload) }))
    const options = { rows, partialUpdate: () => Effect.never }
    // @ts-expect-error: it is called partial_update
    board.pipe(Resource.handle(TaskResource, options))
    // @ts-expect-error: no such field is computed
    shelf.pipe(Resource.handle(RowResource, { computed: { ...computed, size: () => 1 } }))
    // @ts-expect-error: nothing is computed
    board.pipe(Resource.handle(TaskResource, { computed: { size: () => 1 } }))
  })

  it("wherever its actions are, and not where others are", () => {
    const both = Consumer.handlers(
      Consumer.make("both", { path: "/ws/" }).pipe(
        Consumer.add(...Resource.routes(TaskResource, "a/"), ...Resource.routes(TaskResource, "b/")),
        Consumer.add(...Resource.routes(PostResource, "posts/"))
      )
    )
    both.pipe(Resource.handle(TaskResource), Resource.handle(PostResource), Handlers.toLayer)
    // @ts-expect-error: the posts are missing
    both.pipe(Resource.handle(TaskResource), Handlers.toLayer)
  })

  it("but those that are handled by themselves", () => {
    board.pipe(
      Handlers.handle("tasks/", "list", () => Effect.succeed({ count: 0, next: null, previous: null, results: [] })),
      Resource.handle(TaskResource),
      Handlers.toLayer
    )
  })

  it("with what a model's database and clock make", () => {
    blog.pipe(Resource.handle(PostResource), Handlers.toLayer)
  })

  it("with create, where a new row needs more than clients send", () => {
    // @ts-expect-error: nobody gives the hash
    bank.pipe(Resource.handle(AccountResource))
    // @ts-expect-error: nobody gives the hash
    bank.pipe(Resource.handle(AccountResource, {}))
    bank.pipe(Resource.handle(AccountResource, { create: ({ payload }, insert) => insert({ ...payload, hash: "" }) }))
    // @ts-expect-error: not even here
    bank.pipe(Resource.handle(AccountResource, { create: ({ payload }, insert) => insert(payload) }))
    const Some = Resource.make("rows", { repository: Rows, readOnly: ["secret"] })
    const some = Consumer.handlers(
      Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(Some, "rows/")))
    )
    // @ts-expect-error: nobody gives the secret
    some.pipe(Resource.handle(Some))
    some.pipe(Resource.handle(Some, { create: ({ payload }, insert) => insert({ ...payload, secret: "" }) }))
    const Listed = Resource.make("rows", { repository: Rows, readOnly: ["secret"], actions: ["list"] })
    Consumer.handlers(
      Consumer.make("some", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(Listed, "rows/")))
    ).pipe(Resource.handle(Listed))
  })

  it("with what is computed", () => {
    shelf.pipe(Resource.handle(RowResource, { computed }), Handlers.toLayer)
    shelf.pipe(Resource.handle(RowResource, {
      computed: {
        length: (row) => {
          expectTypeOf(row).toEqualTypeOf<Row>()
          return Effect.succeed(row.title.length)
        },
        seen: () => new Date(0)
      }
    }))
    // @ts-expect-error: nothing is computed
    shelf.pipe(Resource.handle(RowResource))
    // @ts-expect-error: nothing is computed
    shelf.pipe(Resource.handle(RowResource, {}))
    // @ts-expect-error: one of them is not
    shelf.pipe(Resource.handle(RowResource, { computed: { length: computed.length } }))
    // @ts-expect-error: no number
    shelf.pipe(Resource.handle(RowResource, { computed: { ...computed, length: () => "1" } }))
    // @ts-expect-error: no number
    shelf.pipe(Resource.handle(RowResource, { computed: { ...computed, length: () => Effect.succeed("1") } }))
    // @ts-expect-error: not declared
    shelf.pipe(Resource.handle(RowResource, { computed: { ...computed, length: () => Effect.fail("no") } }))
  })

  it("with functions that get what there is", () => {
    board.pipe(Resource.handle(TaskResource, {
      rows: ({ params, query }) => {
        expectTypeOf(params).toHaveProperty("project").toEqualTypeOf<string>()
        expectTypeOf(query).toExtend<object>()
        return Filter.fields<Task>().eq("title", params.project)
      },
      create: (request, insert) => {
        expectTypeOf(request).toEqualTypeOf<
          Handlers.Request<{ readonly title: string; readonly stars: number; readonly due?: Date }, Params, void>
        >()
        expectTypeOf(insert).parameter(0).toEqualTypeOf<
          { readonly title: string; readonly stars: number; readonly due?: Date; readonly owner?: number }
        >()
        expectTypeOf(insert).returns.toEqualTypeOf<
          Effect.Effect<Task, Repository.Conflict | ChannelError.Unavailable>
        >()
        return insert(request.payload)
      },
      retrieve: (request) => {
        expectTypeOf(request).toEqualTypeOf<Handlers.Request<void, OneOf, void> & { readonly object: Task }>()
        return Effect.succeed(request.object)
      },
      update: ({ object, payload }, write) => {
        expectTypeOf(object).toEqualTypeOf<Task>()
        expectTypeOf(payload.version).toEqualTypeOf<number>()
        return write({ title: payload.title })
      },
      partial_update: ({ payload }, write) => {
        expectTypeOf(payload.version).toEqualTypeOf<number | undefined>()
        return write(payload)
      },
      destroy: ({ object, payload }, remove) => {
        expectTypeOf(object).toEqualTypeOf<Task>()
        expectTypeOf(payload).toEqualTypeOf<void>()
        return remove
      }
    }))
  })

  it("with functions that give what they must", () => {
    // @ts-expect-error: no filter
    board.pipe(Resource.handle(TaskResource, { rows: () => true }))
    // @ts-expect-error: a filter of other rows
    board.pipe(Resource.handle(TaskResource, { rows: () => Filter.fields<Row>().eq("secret", "") }))
    // @ts-expect-error: no task
    board.pipe(Resource.handle(TaskResource, { create: () => Effect.succeed("task") }))
    // @ts-expect-error: no effect
    board.pipe(Resource.handle(TaskResource, { retrieve: ({ object }) => object }))
    // @ts-expect-error: not declared
    board.pipe(Resource.handle(TaskResource, { retrieve: () => Effect.fail("no") }))
    // @ts-expect-error: create does not declare it
    board.pipe(Resource.handle(TaskResource, { create: () => Effect.fail(new Repository.NotFound({ message: "" })) }))
    board.pipe(Resource.handle(TaskResource, { destroy: () => Effect.fail(new ChannelError.NotAuthenticated()) }))
    // @ts-expect-error: no such field
    board.pipe(Resource.handle(TaskResource, { update: (_, write) => write({ name: "" }) }))
    // @ts-expect-error: it is generated
    board.pipe(Resource.handle(TaskResource, { create: ({ payload }, insert) => insert({ ...payload, id: 1 }) }))
  })

  it("what they need, the layer needs", () => {
    const mailed = Mail.use(({ send }) => send(""))
    const live = board.pipe(
      Resource.handle(TaskResource, {
        rows: () => Effect.as(CurrentUser.use(() => Effect.void), Filter.all),
        update: ({ payload }, write) => Effect.tap(write({ title: payload.title }), mailed)
      }),
      Handlers.toLayer
    )
    expectTypeOf<Layer.Services<typeof live>>().toEqualTypeOf<
      Tasks | Mail | Authentication.Authenticator<CurrentUser>
    >()
    const computing = shelf.pipe(
      Resource.handle(RowResource, { computed: { ...computed, length: () => Effect.as(mailed, 1) } }),
      Handlers.toLayer
    )
    expectTypeOf<Layer.Services<typeof computing>>().toEqualTypeOf<Rows | Mail>()
  })
})
