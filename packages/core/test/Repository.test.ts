import { type ChannelError, Filter, Repository } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as TestClock from "effect/testing/TestClock"
import { draft, Member, Members, repositorySuite, stored, type Task, Tasks, Words } from "./support/repositories.ts"

repositorySuite("in memory", {
  isRemote: false,
  layer: (service, rows) => service.layerMemory(rows)
})

/** Lets others go on as far as they can. */
const others = Effect.repeat(Effect.yieldNow, { times: 20 })

const everything = <Row, Key, New>(repository: Repository.Repository<Row, Key, New>) =>
  repository.select({ filter: Filter.all, order: [] })

/** What a repository tells from now on. */
const listen = <Row, Key, New>(repository: Repository.Repository<Row, Key, New>) => {
  const told: Array<Repository.Change<Key>> = []
  return Effect.as(
    repository.changes((change) => {
      told.push(change)
    }),
    told
  )
}

const written = <Key>(...keys: ReadonlyArray<Key>): Repository.Change<Key> => ({ _tag: "Written", keys })

const member = (id: number, email: string, team = id, nick?: string) =>
  new Member({ id, email, team, nick: Option.fromUndefinedOr(nick) })

describe("the memory of a repository", () => {
  describe("rows", () => {
    it.effect("belong to the layer that is made", () =>
      Effect.gen(function*() {
        const live = Words.layerMemory([{ word: "a", text: "A" }])
        const add = Words.use((words) => Effect.andThen(words.insert({ word: "b", text: "B" }), everything(words)))
        for (let i = 0; i < 2; i++) assert.strictEqual((yield* Effect.provide(add, live)).length, 2)
        assert.deepStrictEqual(yield* Effect.provide(Words.use(everything), Words.layerMemory()), [])
      }))

    it.effect("are nobody's to change", () => {
      const seed = { word: "a", text: "A" }
      return Effect.gen(function*() {
        const words = yield* Words
        const fresh = { word: "b", text: "B" }
        yield* words.insert(fresh)
        const changes = { text: "AA" }
        yield* words.update("a", changes)
        fresh.text = seed.text = changes.text = "lost"
        assert.deepStrictEqual(yield* everything(words), [{ word: "a", text: "AA" }, { word: "b", text: "B" }])
      }).pipe(Effect.provide(Words.layerMemory([seed])))
    })

    it.effect("stay as they were for who has them", () =>
      Effect.gen(function*() {
        const words = yield* Words
        const before = Option.getOrThrow(yield* words.find("a"))
        const after = yield* words.update("a", { text: "AA" })
        assert.deepStrictEqual(before, { word: "a", text: "A" })
        assert.strictEqual(Object.getPrototypeOf(after), Object.prototype)
      }).pipe(Effect.provide(Words.layerMemory([{ word: "a", text: "A" }]))))

    it.effect("are instances of their class, though they were none", () =>
      Effect.gen(function*() {
        const members = yield* Members
        for (const row of yield* everything(members)) {
          assert.instanceOf(row, Member)
          assert.strictEqual(row.domain, "b")
        }
      }).pipe(Effect.provide(Members.layerMemory([
        { id: 1, email: "a@b", team: 1, nick: Option.none(), domain: "" },
        member(2, "c@b")
      ]))))

    it.effect("have what their schema has, and nothing more", () =>
      Effect.gen(function*() {
        const words = yield* Words
        const more = { word: "b", text: "B", more: 1, constructor: 2 }
        assert.deepStrictEqual(yield* words.insert(more), { word: "b", text: "B" })
        assert.deepStrictEqual(yield* words.update("b", more), { word: "b", text: "B" })
      }).pipe(Effect.provide(Words.layerMemory())))

    it.effect("must fit their schema", () =>
      Effect.gen(function*() {
        const words = yield* Words
        const wrong = { word: "b", text: 1 as unknown as string }
        for (const write of [words.insert(wrong), words.update("a", wrong), words.transaction(words.insert(wrong))]) {
          const exit = yield* Effect.exit(write)
          assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
          assert.instanceOf(Cause.squash(exit.cause), Schema.SchemaError)
        }
        assert.deepStrictEqual(yield* everything(words), [{ word: "a", text: "A" }])
        yield* words.insert({ word: "b", text: "" })
      }).pipe(Effect.provide(Words.layerMemory([{ word: "a", text: "A" }]))))

    it.effect("that are there from the beginning must fit too", () =>
      Effect.gen(function*() {
        const twice = yield* Effect.exit(Effect.provide(
          Members,
          Members.layerMemory([member(1, "a"), member(2, "b"), member(3, "a")])
        ))
        assert(Exit.isFailure(twice))
        const error = Cause.squash(twice.cause)
        assert.instanceOf(error, Repository.Conflict)
        assert.deepStrictEqual(error.fields, ["email"])
        const wrong = yield* Effect.exit(Effect.provide(Words, Words.layerMemory([{ word: "a" } as never])))
        assert(Exit.isFailure(wrong))
        assert.instanceOf(Cause.squash(wrong.cause), Schema.SchemaError)
      }))

    it.effect("come in the order in which they were added where none is asked for, equal ones too", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        const ids = (rows: ReadonlyArray<Task>) => rows.map(({ id }) => id)
        assert.deepStrictEqual(ids(yield* everything(tasks)), [5, 1, 3, 2])
        assert.deepStrictEqual(
          ids(yield* tasks.select({ filter: Filter.all, order: [], offset: 1, limit: 2 })),
          [1, 3]
        )
        const ordered = (direction: "ascending" | "descending") =>
          tasks.select({ filter: Filter.all, order: [{ field: "score", direction }] })
        assert.deepStrictEqual(ids(yield* ordered("ascending")), [1, 2, 5, 3])
        assert.deepStrictEqual(ids(yield* ordered("descending")), [5, 3, 1, 2])
      }).pipe(Effect.provide(Tasks.layerMemory([
        stored(5, { score: 2 }),
        stored(1, { score: 1 }),
        stored(3, { score: 2 }),
        stored(2, { score: 1 })
      ]))))

    it.effect("of no version are none that was asked for", () =>
      Effect.gen(function*() {
        const words = yield* Words
        assert.instanceOf(
          yield* Effect.flip(words.update("a", { text: "x" }, { version: 1 })),
          Repository.StaleVersion
        )
        assert.instanceOf(yield* Effect.flip(words.remove("a", { version: 1 })), Repository.StaleVersion)
      }).pipe(Effect.provide(Words.layerMemory([{ word: "a", text: "A" }]))))

    it.effect("are refused with the fields that clash", () =>
      Effect.gen(function*() {
        const members = yield* Members
        const fields = <A>(write: Effect.Effect<A, unknown>) =>
          Effect.map(Effect.flip(write), (error) => {
            assert.instanceOf(error, Repository.Conflict)
            return error.fields
          })
        const insert = (email: string, team: number, nick: string) =>
          members.insert({ email, team, nick: Option.some(nick) })
        assert.deepStrictEqual(yield* fields(insert("a", 3, "x")), ["email"])
        assert.deepStrictEqual(yield* fields(insert("c", 2, "y")), ["team", "nick"])
        assert.deepStrictEqual(yield* fields(members.update(1, { id: 2 })), ["id"])
        assert.deepStrictEqual(
          (yield* Effect.flip(members.update(1, { email: "b" }))).message,
          "Another row has the same email"
        )
      }).pipe(Effect.provide(Members.layerMemory([member(1, "a", 1, "x"), member(2, "b", 2, "y")]))))

    it.effect("that have exchanged their values in a transaction keep them", () =>
      Effect.gen(function*() {
        const members = yield* Members
        yield* members.transaction(Effect.gen(function*() {
          yield* members.update(2, { team: 7 })
          yield* members.update(1, { email: "c" })
          yield* members.update(2, { email: "a" })
          yield* members.update(1, { email: "b" })
        }))
        for (const email of ["a", "b"]) {
          const insert = members.insert({ email, team: 9, nick: Option.none() })
          assert.instanceOf(yield* Effect.flip(insert), Repository.Conflict)
        }
        yield* members.insert({ email: "c", team: 9, nick: Option.none() })
      }).pipe(Effect.provide(Members.layerMemory([member(1, "a"), member(2, "b")]))))
  })

  describe("what is generated", () => {
    it.effect("is a number, one more than the greatest so far, once and for all", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        const add = Effect.map(tasks.insert(draft()), ({ id }) => id)
        assert.deepStrictEqual([yield* add, yield* add], [8, 9])
        yield* tasks.remove(9)
        assert.strictEqual(yield* add, 10)
        yield* tasks.update(1, { id: 20 })
        assert.strictEqual(yield* add, 21)
        yield* tasks.update(21, { id: 2 })
        assert.strictEqual(yield* add, 22)
        yield* Effect.exit(tasks.transaction(Effect.andThen(add, Effect.fail("no"))))
        assert.strictEqual(yield* add, 24)
      }).pipe(Effect.provide(Tasks.layerMemory([stored(1), stored(7), stored(3)]))))

    it.effect("begins with 1, and leaves out nothing for a row that was refused", () =>
      Effect.gen(function*() {
        const members = yield* Members
        const add = (email: string) => members.insert({ email, team: 1, nick: Option.none() })
        assert.strictEqual((yield* add("a")).id, 1)
        yield* Effect.flip(add("a"))
        assert.strictEqual((yield* add("b")).id, 2)
      }).pipe(Effect.provide(Members.layerMemory())))

    it.effect("comes from the schema where that has it", () => {
      let count = 0
      const next = Effect.sync(() => `key-${++count}`)
      class Tokens extends Repository.Service<Tokens>()("test/Tokens", {
        schema: Schema.Struct({
          key: Schema.String.pipe(Schema.withConstructorDefault(next)),
          at: Schema.DateTimeUtc.pipe(Schema.withConstructorDefault(DateTime.now)),
          for: Schema.String
        }),
        key: "key",
        generated: ["key", "at"]
      }) {}
      return Effect.gen(function*() {
        const tokens = yield* Tokens
        yield* TestClock.adjust(5)
        const row = yield* tokens.insert({ for: "a" })
        assert.deepStrictEqual([row.key, DateTime.toEpochMillis(row.at), row.for], ["key-1", 5, "a"])
        yield* TestClock.adjust(5)
        const changed = yield* tokens.update("key-1", { for: "b" })
        assert.deepStrictEqual(changed, { ...row, for: "b" })
        assert.strictEqual((yield* tokens.insert({ for: "c" })).key, "key-2")
      }).pipe(Effect.provide(Tokens.layerMemory()))
    })

    class Note extends Model.Class<Note>("test/Note")({
      id: Model.GeneratedByDb(Schema.Int),
      version: Model.GeneratedByDb(Schema.Int),
      text: Schema.String,
      pinned: Schema.Boolean.pipe(Schema.withConstructorDefault(Effect.succeed(false))),
      secret: Model.Sensitive(Schema.String),
      createdAt: Model.DateTimeInsert,
      updatedAt: Model.DateTimeUpdateFromNumber
    }) {}
    class Notes extends Repository.Service<Notes>()("test/Notes", { schema: Note, key: "id", version: "version" }) {}

    it.effect("comes from a model where there is one", () =>
      Effect.gen(function*() {
        const notes = yield* Notes
        const times = ({ createdAt, updatedAt }: Note) => [createdAt, updatedAt].map(DateTime.toEpochMillis)
        yield* TestClock.adjust(1000)
        const make = Note.insert.makeEffect({ text: "a", secret: "s" })
        const note = yield* notes.insert(yield* make)
        assert.instanceOf(note, Note)
        assert.deepStrictEqual([note.id, note.version, note.text, note.pinned, note.secret], [1, 1, "a", false, "s"])
        assert.deepStrictEqual(times(note), [1000, 1000])
        // What is left out all the same.
        yield* TestClock.adjust(1000)
        const second = yield* notes.insert({ text: "b", secret: "s" } as typeof Note.insert.Type)
        assert.deepStrictEqual([second.id, second.pinned, ...times(second)], [2, false, 2000, 2000])
      }).pipe(Effect.provide(Notes.layerMemory())))

    it.effect("is made anew with every change where a model says so", () =>
      Effect.gen(function*() {
        const notes = yield* Notes
        const made = yield* Note.insert.makeEffect({ text: "a", secret: "s", pinned: true })
        const note = yield* notes.insert(made)
        yield* TestClock.adjust(1000)
        const changed = yield* notes.update(1, { text: "b" })
        assert.instanceOf(changed, Note)
        assert.deepStrictEqual(
          changed,
          new Note({ ...note, text: "b", version: 2, updatedAt: DateTime.makeUnsafe(1000) })
        )
        const told = yield* notes.update(1, { updatedAt: DateTime.makeUnsafe(1) })
        assert.strictEqual(DateTime.toEpochMillis(told.updatedAt), 1)
      }).pipe(Effect.provide(Notes.layerMemory())))
  })

  describe("transactions", () => {
    const two = Effect.provide(Tasks.layerMemory([stored(1), stored(2)]))

    it.effect("keep nobody from reading, and show them what is committed", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        const latch = yield* Latch.make()
        const fiber = yield* Effect.forkChild(tasks.transaction(Effect.gen(function*() {
          yield* tasks.update(1, { title: "new" })
          yield* tasks.remove(2)
          yield* tasks.insert(draft())
          yield* latch.await
        })))
        yield* others
        assert.deepStrictEqual(yield* everything(tasks), [stored(1), stored(2)])
        assert.deepStrictEqual(yield* tasks.find(1, { lock: true }), Option.some(stored(1)))
        assert.strictEqual(yield* tasks.count(Filter.all), 2)
        yield* latch.open
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(yield* everything(tasks), [
          stored(1, { title: "new", version: 2 }),
          stored(3)
        ])
      }).pipe(two))

    it.effect("come one after the other, and writes between them", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        const log: Array<string> = []
        const step = (name: string) =>
          tasks.transaction(Effect.gen(function*() {
            log.push(`${name} begins`)
            yield* others
            yield* tasks.update(1, { title: name })
            yield* others
            log.push(`${name} ends`)
          }))
        const write = Effect.map(tasks.update(1, { title: "write" }), () => log.push("write"))
        yield* Effect.all([step("a"), write, step("b"), step("c")], { concurrency: "unbounded" })
        assert.deepStrictEqual(log, ["a begins", "a ends", "write", "b begins", "b ends", "c begins", "c ends"])
      }).pipe(two))

    it.effect("leave no lock behind when somebody stops waiting", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        const latch = yield* Latch.make()
        const fiber = yield* Effect.forkChild(tasks.transaction(Effect.andThen(
          tasks.update(1, { title: "first" }),
          latch.await
        )))
        yield* others
        const waiting: ReadonlyArray<Fiber.Fiber<unknown, unknown>> = [
          yield* Effect.forkChild(tasks.transaction(tasks.update(1, { title: "never" }))),
          yield* Effect.forkChild(tasks.insert(draft())),
          yield* Effect.forkChild(tasks.remove(2))
        ]
        const last = yield* Effect.forkChild(tasks.update(2, { title: "last" }))
        yield* others
        // They go at once, though the transaction is not over.
        for (const fiber of waiting) yield* Fiber.interrupt(fiber)
        assert.isUndefined(fiber.pollUnsafe())
        assert.isUndefined(last.pollUnsafe())
        yield* latch.open
        yield* Fiber.join(fiber)
        yield* Fiber.join(last)
        assert.deepStrictEqual(yield* everything(tasks), [
          stored(1, { title: "first", version: 2 }),
          stored(2, { title: "last", version: 2 })
        ])
      }).pipe(two))

    it.effect("take what is written in them at the same time", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        yield* tasks.transaction(Effect.gen(function*() {
          const increment = tasks.transaction(Effect.gen(function*() {
            const { score } = Option.getOrThrow(yield* tasks.find(1))
            yield* others
            yield* tasks.update(1, { score: score + 1 })
          }))
          const failing = Effect.exit(tasks.transaction(Effect.andThen(increment, Effect.fail("no"))))
          yield* Effect.all([increment, failing, increment, tasks.update(1, { title: "new" }), failing, increment], {
            concurrency: "unbounded"
          })
        }))
        assert.deepStrictEqual(
          Option.getOrThrow(yield* tasks.find(1)),
          stored(1, { score: 4, title: "new", version: 5 })
        )
      }).pipe(two))

    it.effect("are no concern of other repositories, nor of the same one made twice", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        const words = yield* Words
        const again = yield* Effect.provide(Tasks, Tasks.layerMemory([stored(1)]))
        const exit = yield* Effect.exit(tasks.transaction(again.transaction(Effect.gen(function*() {
          yield* tasks.update(1, { title: "lost" })
          yield* words.insert({ word: "kept", text: "" })
          assert.strictEqual(Option.getOrThrow(yield* again.find(1)).title, stored(1).title)
          return yield* Effect.fail("no")
        }))))
        assert.deepStrictEqual(exit, Exit.fail("no"))
        assert.deepStrictEqual(yield* everything(tasks), [stored(1), stored(2)])
        assert.strictEqual(yield* words.count(Filter.all), 1)
      }).pipe(two, Effect.provide(Words.layerMemory())))

    it.effect("have what still runs in them when they have ended write where they were", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        for (const end of [Effect.void, Effect.fail("no")]) {
          const latch = yield* Latch.make()
          const title = end === Effect.void ? "after a commit" : "after a failure"
          const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
          yield* Effect.exit(tasks.transaction(Effect.gen(function*() {
            fibers.push(
              yield* Effect.forkDetach(Effect.andThen(latch.await, tasks.update(1, { title }))),
              yield* Effect.forkDetach(Effect.andThen(latch.await, tasks.transaction(tasks.update(2, { title }))))
            )
            return yield* end
          })))
          yield* latch.open
          yield* Fiber.joinAll(fibers)
          assert.deepStrictEqual((yield* everything(tasks)).map((row) => row.title), [title, title])
        }
      }).pipe(two))

    it.effect("wait for one that is part of them, and what comes later is none of theirs", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        const [first, second] = [yield* Latch.make(), yield* Latch.make()]
        const late = yield* Deferred.make<Fiber.Fiber<unknown, unknown>>()
        const outer = yield* Effect.forkChild(tasks.transaction(Effect.gen(function*() {
          yield* Effect.forkDetach(tasks.transaction(Effect.andThen(second.await, tasks.remove(1))), {
            startImmediately: true
          })
          const write = tasks.update(2, { title: "late" })
          yield* Deferred.succeed(late, yield* Effect.forkDetach(Effect.andThen(first.await, write)))
        })))
        yield* others
        assert.isUndefined(outer.pollUnsafe())
        yield* first.open
        yield* others
        yield* second.open
        yield* Fiber.join(outer)
        yield* Fiber.join(yield* Deferred.await(late))
        assert.deepStrictEqual(yield* everything(tasks), [stored(2, { title: "late", version: 2 })])
      }).pipe(two))

    it.effect("do not wait for it where they fail, and then it has done nothing", () =>
      Effect.gen(function*() {
        const tasks = yield* Tasks
        const latch = yield* Latch.make()
        const inner = yield* Deferred.make<Fiber.Fiber<unknown, unknown>>()
        yield* Effect.exit(tasks.transaction(Effect.gen(function*() {
          const fiber = yield* Effect.forkDetach(
            tasks.transaction(Effect.gen(function*() {
              yield* latch.await
              yield* tasks.remove(1)
            })),
            { startImmediately: true }
          )
          yield* Deferred.succeed(inner, fiber)
          return yield* Effect.fail("no")
        })))
        yield* tasks.update(2, { title: "free" })
        yield* latch.open
        const exit = yield* Fiber.await(yield* Deferred.await(inner))
        assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        assert.deepStrictEqual(yield* everything(tasks), [stored(1), stored(2, { title: "free", version: 2 })])
      }).pipe(two))
  })

  describe("changes", () => {
    const two = Effect.provide(Words.layerMemory([{ word: "a", text: "" }, { word: "b", text: "" }]))

    it.effect("are told at once, a transaction's together", () =>
      Effect.gen(function*() {
        const words = yield* Words
        const told = yield* listen(words)
        yield* words.insert({ word: "c", text: "" })
        assert.deepStrictEqual(told.splice(0), [written("c")])
        yield* words.update("a", { word: "d" })
        assert.deepStrictEqual(told.splice(0), [written("a", "d")])
        yield* words.transaction(Effect.gen(function*() {
          yield* words.update("b", { text: "1" })
          yield* words.update("b", { text: "2" })
          yield* words.transaction(words.insert({ word: "e", text: "" }))
          yield* Effect.exit(words.transaction(Effect.andThen(words.remove("c"), Effect.fail("no"))))
          assert.deepStrictEqual(told, [])
        }))
        assert.deepStrictEqual(told.splice(0), [written("b", "e")])
        yield* words.transaction(words.find("a"))
        yield* words.transaction(words.transaction(Effect.void))
        assert.deepStrictEqual(told, [])
      }).pipe(two))

    it.effect("are there to be read when they are told", () =>
      Effect.gen(function*() {
        const words = yield* Words
        const seen: Array<string | undefined> = []
        yield* words.changes((change) => {
          assert(change._tag === "Written")
          for (const key of change.keys) {
            seen.push(Effect.runSync(words.find(key)).pipe(Option.map(({ text }) => text), Option.getOrUndefined))
          }
        })
        yield* words.update("a", { text: "1" })
        yield* words.transaction(words.update("a", { text: "2" }))
        yield* words.remove("a")
        assert.deepStrictEqual(seen, ["1", "2", undefined])
      }).pipe(two))

    it.effect("are told to a listener as often as it was added, and no more when it is gone", () =>
      Effect.gen(function*() {
        const words = yield* Words
        const told: Array<unknown> = []
        const listener = (change: unknown) => {
          told.push(change)
        }
        yield* words.changes(listener)
        yield* Effect.scoped(Effect.gen(function*() {
          yield* words.changes(listener)
          yield* words.remove("a")
        }))
        assert.strictEqual(told.length, 2)
        yield* words.remove("b")
        assert.strictEqual(told.length, 3)
      }).pipe(two))
  })

  // ---- everything together

  type Step =
    | { readonly _tag: "Insert"; readonly email: string; readonly team: number; readonly nick: string | undefined }
    | {
      readonly _tag: "Update"
      readonly id: number
      readonly to: number | undefined
      readonly email: string | undefined
      readonly team: number | undefined
    }
    | { readonly _tag: "Remove"; readonly id: number }
    | { readonly _tag: "Transaction"; readonly steps: ReadonlyArray<Step>; readonly fails: boolean }

  const one = <A>(values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
    Arbitrary.map(
      Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: values.length - 1 }))),
      (i) => values[i]!
    )

  const steps = (depth: number): Arbitrary.Arbitrary<ReadonlyArray<Step>> =>
    Arbitrary.array(
      Arbitrary.flatMap(one([0, 1, 2, 3, 4, 5, 6, 7]), (kind): Arbitrary.Arbitrary<Step> => {
        if (kind === 0) return Arbitrary.map(one([1, 2, 3, 4]), (id): Step => ({ _tag: "Remove", id }))
        if (kind < 4) {
          return Arbitrary.map(
            Arbitrary.all({
              id: one([1, 2, 3, 4]),
              to: one([undefined, undefined, undefined, 1, 2, 5]),
              email: one([undefined, "a", "b", "c"]),
              team: one([undefined, 1, 2])
            }),
            (fields): Step => ({ _tag: "Update", ...fields })
          )
        }
        if (kind < 6 || depth === 0) {
          return Arbitrary.map(
            Arbitrary.all({ email: one(["a", "b", "c", "d"]), team: one([1, 2]), nick: one([undefined, "x", "y"]) }),
            (fields): Step => ({ _tag: "Insert", ...fields })
          )
        }
        return Arbitrary.map(
          Arbitrary.all({ steps: steps(depth - 1), fails: one([true, false]) }),
          (fields): Step => ({ _tag: "Transaction", ...fields })
        )
      }),
      { maxLength: 6 }
    )

  /** A table as slow as it is simple. */
  interface Slow {
    readonly id: number
    readonly email: string
    readonly team: number
    readonly nick: string | undefined
  }

  const clash = (rows: ReadonlyArray<Slow>, row: Slow): string | undefined => {
    if (rows.some(({ id }) => id === row.id)) return "id"
    if (rows.some(({ email }) => email === row.email)) return "email"
    const isSame = ({ nick, team }: Slow) => nick !== undefined && nick === row.nick && team === row.team
    return rows.some(isSame) ? "team,nick" : undefined
  }

  it.effect.prop(
    "is as a list is that is copied for each transaction",
    { steps: steps(3) },
    ({ steps }) =>
      Effect.gen(function*() {
        const members = yield* Members
        const told = yield* listen(members)
        let rows: ReadonlyArray<Slow> = []
        let keys: ReadonlyArray<number> = []
        let greatest = 0

        const write = (before: number | undefined, row: Slow): string => {
          const rest = rows.filter(({ id }) => id !== before)
          const fields = clash(rest, row)
          if (fields !== undefined) return fields
          rows = [...rest, row]
          keys = [...keys, row.id, ...before === undefined ? [] : [before]]
          greatest = Math.max(greatest, row.id)
          return `${row.id}`
        }

        const outcome = (effect: Effect.Effect<Member | void, unknown>): Effect.Effect<string> =>
          Effect.match(effect, {
            onFailure: (error) =>
              error instanceof Repository.Conflict ? error.fields.join() : String((error as { _tag: string })._tag),
            onSuccess: (row) => row === undefined ? "" : `${row.id}`
          })

        const run = (steps: ReadonlyArray<Step>): Effect.Effect<void, ChannelError.Unavailable> =>
          Effect.forEach(steps, (step) => {
            switch (step._tag) {
              case "Insert":
                return Effect.gen(function*() {
                  const { email, nick, team } = step
                  const result = yield* outcome(members.insert({ email, team, nick: Option.fromUndefinedOr(nick) }))
                  assert.strictEqual(result, write(undefined, { id: greatest + 1, email, team, nick }))
                })
              case "Update":
                return Effect.gen(function*() {
                  const { email, id, team, to } = step
                  const changes = {
                    ...(to === undefined ? {} : { id: to }),
                    ...(email === undefined ? {} : { email }),
                    ...(team === undefined ? {} : { team })
                  }
                  const result = yield* outcome(members.update(id, changes))
                  const row = rows.find((row) => row.id === id)
                  assert.strictEqual(result, row === undefined ? "NotFound" : write(id, { ...row, ...changes }))
                })
              case "Remove":
                return Effect.gen(function*() {
                  const result = yield* outcome(members.remove(step.id))
                  const rest = rows.filter(({ id }) => id !== step.id)
                  assert.strictEqual(result, rest.length === rows.length ? "NotFound" : "")
                  if (rest.length < rows.length) keys = [...keys, step.id]
                  rows = rest
                })
              case "Transaction":
                return Effect.gen(function*() {
                  const before = { rows, keys }
                  const effect = Effect.andThen(run(step.steps), step.fails ? Effect.fail("no") : Effect.void)
                  const exit = yield* Effect.exit(members.transaction(effect))
                  assert.deepStrictEqual(exit, step.fails ? Exit.fail("no") : Exit.void)
                  if (step.fails) ({ rows, keys } = before)
                })
            }
          }, { discard: true }).pipe(Effect.andThen(check))

        /** That what is seen from here is the same. */
        const check = Effect.gen(function*() {
          const found = yield* members.select({ filter: Filter.all, order: [{ field: "id", direction: "ascending" }] })
          assert.deepStrictEqual(
            found.map(({ email, id, nick, team }) => ({ id, email, team, nick: Option.getOrUndefined(nick) })),
            [...rows].sort((a, b) => a.id - b.id)
          )
          assert.strictEqual(yield* members.count(Filter.all), rows.length)
          for (const id of [1, 2, 3, 4, 5, 6]) {
            assert.strictEqual(Option.isSome(yield* members.find(id)), rows.some((row) => row.id === id))
          }
        })

        yield* run(steps)
        const all = new Set(told.flatMap((change) => change._tag === "Written" ? change.keys : []))
        assert.deepStrictEqual(all, new Set(keys))
      }).pipe(Effect.provide(Members.layerMemory()), Effect.scoped),
    { arbitrary: { runs: 500 } }
  )
})
