import { Authority, ChannelLayer, Filter, Permission } from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, expect, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import {
  Board,
  Boards,
  CurrentUser,
  mayChange,
  maySee,
  Member,
  Members,
  ownsBoard,
  Person,
  Status,
  Task,
  TaskBoard,
  Tasks
} from "../contract.ts"
import { TaskBoardLive } from "../handlers.ts"

const boards = [
  new Board({ id: "website", title: "The website", owner: "alice" }),
  new Board({ id: "office", title: "The office", owner: "carol" })
]
const members = [
  new Member({ id: 1, board: "website", name: "bob" }),
  new Member({ id: 2, board: "website", name: "carol" })
]

/** The board in memory, of whoever a test says. */
const over = (tasks: ReadonlyArray<Task>) =>
  TaskBoardLive.pipe(
    Layer.provide(Testing.layerAuthentication(CurrentUser)),
    Layer.provideMerge([Boards.layerMemory(boards), Members.layerMemory(members), Tasks.layerMemory(tasks)]),
    Layer.provideMerge([ChannelLayer.layerMemory, Authority.layerMemory])
  )

const person = (name: string, boards: ReadonlyArray<string>, owns: ReadonlyArray<string> = []) =>
  Testing.as(CurrentUser, new Person({ name, boards: [...owns, ...boards], owns }))

const alice = person("alice", [], ["website"])
const bob = person("bob", ["website"])
const carol = person("carol", ["website"], ["office"])
const dave = person("dave", [])

const params = { board: "website" }

const task = (owner: string, others: Partial<Omit<Task, "owner">> = {}) =>
  new Task({
    id: 1,
    board: "website",
    title: "Title",
    status: "open",
    assignee: null,
    isPrivate: false,
    owner,
    version: 1,
    createdAt: DateTime.makeUnsafe("2026-11-24T10:00:00Z"),
    ...others
  })

/** Which board it is, for all that needs no more than that. */
const everywhere = Object.fromEntries(
  [
    "connect",
    "board",
    ...["list", "create", "subscribe", "unsubscribe"].map((action) => `tasks/ ${action}`),
    ...["partial_update", "subscribe", "unsubscribe"].map((action) => `tasks/:id/ ${action}`),
    ...["list", "subscribe", "unsubscribe", "invite", "dismiss"].map((action) => `members/ ${action}`)
  ].map((name) => [name, [{ params }]])
)

describe("who may do what", () => {
  it.effect("at the board", () =>
    Effect.gen(function*() {
      const sample = (name: string, object: Task) => ({
        name,
        params: { ...params, id: 1 },
        object,
        payload: { version: 1 }
      })
      const samples = [
        sample("bob's", task("bob")),
        sample("private of alice", task("alice", { isPrivate: true })),
        sample("private of bob, assigned to carol", task("bob", { isPrivate: true, assignee: "carol" }))
      ]
      const matrix = yield* Testing.matrix(TaskBoard, {
        identities: { anonymous: Testing.anonymous, alice, bob, carol, dave },
        samples: {
          ...everywhere,
          "tasks/:id/ retrieve": samples,
          "tasks/:id/ update": samples,
          "tasks/:id/ destroy": samples
        }
      })
      expect(String(matrix)).toMatchInlineSnapshot(`
        "
                                                                | anonymous            | alice                                       | bob                                                              | carol                                                            | dave
        --------------------------------------------------------|----------------------|---------------------------------------------|------------------------------------------------------------------|------------------------------------------------------------------|--------------
        connect                                                 | deny isAuthenticated | allow                                       | allow                                                            | allow                                                            | deny isMember
        board                                                   | -                    | allow                                       | allow                                                            | allow                                                            | -
        tasks/ list                                             | -                    | allow                                       | allow                                                            | allow                                                            | -
        tasks/ create                                           | -                    | allow                                       | allow                                                            | allow                                                            | -
        tasks/ subscribe                                        | -                    | allow                                       | allow                                                            | allow                                                            | -
        tasks/ unsubscribe                                      | -                    | allow                                       | allow                                                            | allow                                                            | -
        tasks/:id/ retrieve (bob's)                             | -                    | allow                                       | allow                                                            | allow                                                            | -
        tasks/:id/ retrieve (private of alice)                  | -                    | allow                                       | deny isShared                                                    | deny isShared                                                    | -
        tasks/:id/ retrieve (private of bob, assigned to carol) | -                    | deny isShared                               | allow                                                            | allow                                                            | -
        tasks/:id/ update (bob's)                               | -                    | allow                                       | allow                                                            | deny isOwner(owner)                                              | -
        tasks/:id/ update (private of alice)                    | -                    | allow                                       | deny isShared                                                    | deny isShared                                                    | -
        tasks/:id/ update (private of bob, assigned to carol)   | -                    | deny isShared                               | allow                                                            | deny isOwner(owner)                                              | -
        tasks/:id/ partial_update                               | -                    | if or(isOwner(owner), isAssignee, isShared) | if and(or(isOwner(owner), isAssignee, isShared), isOwner(owner)) | if and(or(isOwner(owner), isAssignee, isShared), isOwner(owner)) | -
        tasks/:id/ destroy (bob's)                              | -                    | allow                                       | deny ownsBoard                                                   | deny ownsBoard                                                   | -
        tasks/:id/ destroy (private of alice)                   | -                    | allow                                       | deny ownsBoard                                                   | deny ownsBoard                                                   | -
        tasks/:id/ destroy (private of bob, assigned to carol)  | -                    | deny isShared                               | deny ownsBoard                                                   | deny ownsBoard                                                   | -
        tasks/:id/ subscribe                                    | -                    | if or(isOwner(owner), isAssignee, isShared) | if or(isOwner(owner), isAssignee, isShared)                      | if or(isOwner(owner), isAssignee, isShared)                      | -
        tasks/:id/ unsubscribe                                  | -                    | allow                                       | allow                                                            | allow                                                            | -
        members/ list                                           | -                    | allow                                       | allow                                                            | allow                                                            | -
        members/ subscribe                                      | -                    | allow                                       | allow                                                            | allow                                                            | -
        members/ unsubscribe                                    | -                    | allow                                       | allow                                                            | allow                                                            | -
        members/ invite                                         | -                    | allow                                       | deny ownsBoard                                                   | deny ownsBoard                                                   | -
        members/ dismiss                                        | -                    | allow                                       | deny ownsBoard                                                   | deny ownsBoard                                                   | -
        "
      `)
    }).pipe(Effect.provide(over([]))))

  it("has permissions to print", () => {
    assert.deepStrictEqual([maySee, mayChange].map(Permission.print), [
      "or(isOwner(owner), isAssignee, isShared)",
      "or(ownsBoard, isOwner(owner))"
    ])
  })
})

/** Few names, so that many a task is somebody's own. */
const Name = Schema.Literals(["alice", "bob", "carol"])
const SomeTask = Schema.Struct({
  title: Schema.String.check(Schema.isPattern(/^[a-z]{1,8}$/)),
  status: Status,
  assignee: Schema.NullOr(Name),
  isPrivate: Schema.Boolean,
  owner: Name
})
const Somebody = Schema.Struct({
  name: Name,
  boards: Schema.Array(Schema.Literals(["website", "office"])),
  owns: Schema.Array(Schema.Literals(["website", "office"]))
})

describe("the permissions keep the laws", () => {
  const situation = { somebody: Schema.UndefinedOr(Somebody), some: SomeTask }

  for (const [name, permission] of Object.entries({ maySee, mayChange })) {
    it.effect.prop(name, situation, ({ somebody, some }) =>
      Testing.PermissionLaws.check(permission, {
        as: somebody === undefined ? Testing.anonymous : Testing.as(CurrentUser, new Person(somebody)),
        facts: { object: task(some.owner, some), payload: {}, params: { ...params, id: 1 } }
      }))
  }
})

describe("a list", () => {
  it.effect.prop(
    "and a live query are of those tasks that may be retrieved one by one, and no others",
    { somebody: Name, all: Schema.Array(SomeTask).check(Schema.isMaxLength(5)) },
    ({ all, somebody }) => {
      const tasks = all.map((some, i) => task(some.owner, { ...some, id: i + 1, title: `${some.title} ${i}` }))
      return Effect.gen(function*() {
        const me = person(somebody, ["website"])
        const client = yield* Testing.connect(TaskBoard, { as: me, params })
        const page = yield* client.ask("tasks/", "list", { query: "ordering=title" })
        const [snapshot] = yield* Stream.runCollect(Stream.take(client.stream("tasks/", "subscribe"), 1))
        const allowed: Array<number> = []
        for (const { id } of tasks) {
          if ((yield* client.ask("tasks/:id/", "retrieve", { params: { id } })).status === 200) allowed.push(id)
        }
        const listed = page.data?.results.map(({ id }) => id)
        const live = snapshot?.type === "snapshot" ? snapshot.results.map(({ id }) => id) : undefined
        assert.deepStrictEqual([listed?.toSorted(), live?.toSorted()], [allowed, allowed])
        // That is: all that is shared, and what they have to do with.
        const own = Filter.matches(Filter.or(
          Filter.fields<Task>().eq("isPrivate", false),
          Filter.fields<Task>().eq("owner", somebody),
          Filter.fields<Task>().eq("assignee", somebody)
        ))
        assert.deepStrictEqual(allowed, tasks.filter(own).map(({ id }) => id))
      }).pipe(Effect.provide(over(tasks)))
    },
    { arbitrary: { runs: 40 } }
  )
})

describe("a new task", () => {
  it.effect("belongs to whoever makes it, on the board that they are at", () =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(TaskBoard, { as: bob, params })
      const made = yield* client.ask("tasks/", "create", {
        payload: { title: "Sing", status: "open", assignee: null, isPrivate: false }
      })
      assert.deepInclude(made.data, { id: 1, board: "website", owner: "bob", version: 1, title: "Sing" })
      const same = yield* client.ask("tasks/", "create", {
        payload: { title: "Sing", status: "open", assignee: null, isPrivate: false }
      })
      assert.deepStrictEqual([same.status, same.errors[0]?.code], [409, "conflict"])
    }).pipe(Effect.provide(over([]))))
})

describe("a member who is dismissed", () => {
  it.effect("is out, and others are not", () =>
    Effect.gen(function*() {
      const hers = yield* Testing.connect(TaskBoard, { as: alice, params })
      const his = yield* Testing.connect(TaskBoard, { as: bob, params })
      yield* his.become(person("bob", []))
      yield* Testing.expectAllowed(yield* hers.ask("members/", "dismiss", { payload: { name: "bob" } }))
      const { code, reason } = yield* his.closed
      assert.deepStrictEqual([code, reason], [4403, "You are not a member of this board"])
      assert.strictEqual((yield* hers.ask("members/", "list")).data?.length, 1)
      yield* Testing.expectDenied(
        yield* (yield* Testing.connect(TaskBoard, { as: carol, params })).ask("members/", "dismiss", {
          payload: { name: "carol" }
        }),
        ownsBoard
      )
    }).pipe(Effect.provide(over([]))))
})
