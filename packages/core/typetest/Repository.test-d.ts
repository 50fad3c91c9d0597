import { type ChannelError, Filter, Repository } from "@effect-channels/core"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import type * as Scope from "effect/Scope"
import { describe, expectTypeOf, it } from "vitest"

const Task = Schema.Struct({
  id: Schema.Int,
  title: Schema.String,
  note: Schema.optionalKey(Schema.String),
  made: Schema.Date,
  version: Schema.Int
})
type Task = typeof Task.Type

class Tasks extends Repository.Service<Tasks>()("app/Tasks", {
  schema: Task,
  key: "id",
  generated: ["id", "made"],
  version: "version",
  unique: ["title", ["title", "note"]]
}) {}

class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, text: Schema.String }) {
  get shout(): string {
    return this.text.toUpperCase()
  }
}
class Notes extends Repository.Service<Notes>()("app/Notes", { schema: Note, key: "id" }) {}

class Words extends Repository.Service<Words>()("app/Words", {
  schema: Schema.Struct({ word: Schema.String, text: Schema.String }),
  key: "word",
  generated: []
}) {}

class Post extends Model.Class<Post>("Post")({
  id: Model.GeneratedByDb(Schema.Int.pipe(Schema.brand("PostId"))),
  text: Schema.String,
  secret: Model.Sensitive(Schema.String)
}) {}
class Posts extends Repository.Service<Posts>()("app/Posts", { schema: Post, key: "id" }) {}

type Unavailable = ChannelError.Unavailable

describe("a repository", () => {
  it("is one of rows, keys and what new rows are made of", () => {
    interface NewTask {
      readonly title: string
      readonly note?: string
    }
    expectTypeOf<typeof Tasks.Service>().toExtend<Repository.Repository<Task, number, NewTask>>()
    expectTypeOf<Repository.Repository<Task, number, NewTask>>().toExtend<typeof Tasks.Service>()
    expectTypeOf<typeof Notes.Service>().toEqualTypeOf<
      Repository.Repository<Note, number, { readonly text: string }>
    >()
    expectTypeOf<typeof Words.Service>().toEqualTypeOf<
      Repository.Repository<Schema.Schema.Type<typeof Words.definition.schema>, string, {
        readonly word: string
        readonly text: string
      }>
    >()
    expectTypeOf<Notes["Service"]>().toEqualTypeOf<typeof Notes.Service>()
    expectTypeOf<Repository.RowOf<typeof Notes>>().toEqualTypeOf<Note>()
  })

  it("of a model takes what its insert takes, and has its key", () => {
    expectTypeOf<typeof Posts.Service>().toEqualTypeOf<
      Repository.Repository<Post, Post["id"], typeof Post.insert.Type>
    >()
  })

  it("is a service with a layer that needs nothing and never fails", () => {
    expectTypeOf(Tasks.layerMemory()).toEqualTypeOf<Layer.Layer<Tasks>>()
    Tasks.layerMemory([{ id: 1, title: "", made: new Date(0), version: 1 }])
    Notes.layerMemory([new Note({ id: 1, text: "" })])
    // @ts-expect-error: there is no version
    Tasks.layerMemory([{ id: 1, title: "", made: new Date(0) }])
    expectTypeOf(Tasks.use((tasks) => tasks.find(1))).toEqualTypeOf<
      Effect.Effect<Option.Option<Task>, Unavailable, Tasks>
    >()
  })

  it("knows what it is made of", () => {
    expectTypeOf(Tasks.definition.key).toEqualTypeOf<"id">()
    expectTypeOf(Tasks.definition.generated).toEqualTypeOf<ReadonlyArray<"id" | "made">>()
    expectTypeOf(Tasks.definition.version).toEqualTypeOf<"version" | undefined>()
    expectTypeOf(Tasks.definition.schema).toEqualTypeOf<typeof Task>()
    expectTypeOf(Notes.definition.generated).toEqualTypeOf<ReadonlyArray<"id">>()
    expectTypeOf(Notes.definition.version).toEqualTypeOf<undefined>()
    expectTypeOf(Words.definition.generated).toEqualTypeOf<ReadonlyArray<never>>()
    expectTypeOf<typeof Tasks | typeof Notes | typeof Words | typeof Posts>().toExtend<Repository.AnyClass>()
  })

  it("is made of fields that there are", () => {
    const options = { schema: Note } as const
    // @ts-expect-error: no such field
    Repository.Service<Notes>()("app/Notes", { ...options, key: "uuid" })
    // @ts-expect-error: no field, but a getter
    Repository.Service<Notes>()("app/Notes", { ...options, key: "shout" })
    // @ts-expect-error: no such field
    Repository.Service<Notes>()("app/Notes", { ...options, key: "id", generated: ["uuid"] })
    // @ts-expect-error: no such field
    Repository.Service<Notes>()("app/Notes", { ...options, key: "id", version: "revision" })
    // @ts-expect-error: no such field
    Repository.Service<Notes>()("app/Notes", { ...options, key: "id", unique: ["title"] })
    // @ts-expect-error: no such field
    Repository.Service<Notes>()("app/Notes", { ...options, key: "id", unique: [["text", "title"]] })
    // @ts-expect-error: no rows
    Repository.Service<Notes>()("app/Notes", { schema: Schema.String, key: "length" })
  })
})

describe("the operations", () => {
  const tasks = null as unknown as typeof Tasks.Service
  const notes = null as unknown as typeof Notes.Service

  it("fail as they can", () => {
    expectTypeOf(tasks.find(1)).toEqualTypeOf<Effect.Effect<Option.Option<Task>, Unavailable>>()
    expectTypeOf(tasks.select({ filter: Filter.all, order: [] })).toEqualTypeOf<
      Effect.Effect<ReadonlyArray<Task>, Unavailable>
    >()
    expectTypeOf(tasks.insert({ title: "" })).toEqualTypeOf<Effect.Effect<Task, Repository.Conflict | Unavailable>>()
    expectTypeOf(tasks.update(1, {})).toEqualTypeOf<
      Effect.Effect<Task, Repository.NotFound | Repository.Conflict | Repository.StaleVersion | Unavailable>
    >()
    expectTypeOf(tasks.remove(1)).toEqualTypeOf<
      Effect.Effect<void, Repository.NotFound | Repository.Conflict | Repository.StaleVersion | Unavailable>
    >()
    expectTypeOf(tasks.changes(() => {})).toEqualTypeOf<Effect.Effect<void, never, Scope.Scope>>()
  })

  it("take keys, new rows and changes", () => {
    tasks.insert({ title: "", note: "" })
    tasks.update(1, { title: "" }, { version: 1 })
    notes.insert({ text: "" })
    // @ts-expect-error: no number
    tasks.find("1")
    // @ts-expect-error: there is no title
    tasks.insert({})
    // @ts-expect-error: it is generated
    tasks.insert({ title: "", id: 1 })
    // @ts-expect-error: the repository counts it
    tasks.insert({ title: "", version: 1 })
    // @ts-expect-error: no such field
    tasks.update(1, { text: "" })
    // @ts-expect-error: no text
    tasks.update(1, { title: 1 })
  })

  it("take filters of their rows", () => {
    tasks.count(Filter.fields<{ readonly title: string }>().eq("title", ""))
    // @ts-expect-error: there is no text
    tasks.count(Filter.fields<{ readonly text: string }>().eq("text", ""))
    // @ts-expect-error: there is no text
    tasks.select({ filter: Filter.fields<{ readonly text: string }>().eq("text", ""), order: [] })
  })

  it("keep in a transaction what its effect is", () => {
    const effect = null as unknown as Effect.Effect<1, "no", Notes>
    expectTypeOf(tasks.transaction(effect)).toEqualTypeOf<Effect.Effect<1, "no" | Unavailable, Notes>>()
  })
})
