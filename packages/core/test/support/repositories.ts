/**
 * What every repository must do: the interface of `Repository`, sentence by sentence, and that a query means what its filter
 * says.
 */
import { Filter, Repository } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { eventually } from "./channel-layers.ts"

/** How a repository is tested. */
export interface Options<E> {
  /**
   * The layer of a service: a place of its own, that nobody has used, with these rows in it and nothing else. Keys that are
   * generated afterwards are none of theirs. The fields of its table are what {@link columnsOf} says.
   */
  readonly layer: <
    Self,
    Id extends string,
    S extends Repository.RowSchema,
    Key extends keyof S["Type"] & string,
    Generated extends string = never,
    Version extends string = never
  >(
    service: Repository.RepositoryClass<Self, Id, S, Key, Generated, Version>,
    rows: ReadonlyArray<S["Type"]>
  ) => Layer.Layer<Self, E>
  /** Whether things take their time; else everything is there at once. */
  readonly isRemote: boolean
  /** How many times a property is tried, 100 by default. */
  readonly runs?: number | undefined
}

// ---- the repositories of these tests

/** A row as plain data, its key and its version made by the database. */
export const Task = Schema.Struct({
  id: Schema.Int,
  title: Schema.String,
  note: Schema.NullOr(Schema.String),
  score: Schema.Finite,
  done: Schema.Boolean,
  at: Schema.Date,
  due: Schema.NullOr(Schema.Date),
  version: Schema.Int
})
export type Task = typeof Task.Type

export class Tasks extends Repository.Service<Tasks>()("test/Tasks", {
  schema: Task,
  key: "id",
  version: "version"
}) {}

/** A row as an instance of a class, with constraints. */
export class Member extends Schema.Class<Member>("test/Member")({
  id: Schema.Int,
  email: Schema.String,
  team: Schema.Int,
  nick: Schema.OptionFromNullOr(Schema.String)
}) {
  get domain(): string {
    return this.email.slice(this.email.indexOf("@") + 1)
  }
}

export class Members extends Repository.Service<Members>()("test/Members", {
  schema: Member,
  key: "id",
  unique: ["email", ["team", "nick"]]
}) {}

/** A row that brings its key along, which is text. */
export const Word = Schema.Struct({ word: Schema.String, text: Schema.String })

export class Words extends Repository.Service<Words>()("test/Words", { schema: Word, key: "word", generated: [] }) {}

/** What a field holds: a whole number, a number, text, a truth value, or a `Date` to the millisecond. */
export interface Column {
  readonly type: "integer" | "number" | "text" | "boolean" | "date"
  readonly nullable: boolean
}

const column = (type: Column["type"], nullable = false): Column => ({ type, nullable })

const columns: Readonly<Record<string, Readonly<Record<string, Column>>>> = {
  [Tasks.key]: {
    id: column("integer"),
    title: column("text"),
    note: column("text", true),
    score: column("number"),
    done: column("boolean"),
    at: column("date"),
    due: column("date", true),
    version: column("integer")
  },
  [Members.key]: {
    id: column("integer"),
    email: column("text"),
    team: column("integer"),
    nick: column("text", true)
  },
  [Words.key]: { word: column("text"), text: column("text") }
}

/** The columns of the table of one of these repositories, by field. What is unique its definition says. */
export const columnsOf = ({ key }: { readonly key: string }): Readonly<Record<string, Column>> => columns[key]!

// ---- what tests are made of

const task = Filter.fields<Task>()
const member = Filter.fields<Member>()
const word = Filter.fields<typeof Word.Type>()

/** A new task. */
export const draft = (fields: Partial<Omit<Task, "id" | "version">> = {}): Omit<Task, "id" | "version"> => ({
  title: "a task",
  note: null,
  score: 1,
  done: false,
  at: new Date("2026-02-03T04:05:06.789Z"),
  due: null,
  ...fields
})

/** A task as it is stored. */
export const stored = (id: number, fields: Partial<Omit<Task, "id">> = {}): Task => ({
  id,
  version: 1,
  ...draft(fields),
  ...fields
})

const ascending = (field: string): Repository.Order => ({ field, direction: "ascending" })
const descending = (field: string): Repository.Order => ({ field, direction: "descending" })

/** What is selected, in the order of the key where no other is asked for. */
const selection = <Row>(
  filter: Filter.Filter<Row>,
  options: Partial<Omit<Repository.Selection<Row>, "filter">> & { readonly key?: string } = {}
): Repository.Selection<Row> => ({ filter, order: [ascending(options.key ?? "id")], ...options })

const idsOf = (rows: ReadonlyArray<{ readonly id: number }>): ReadonlyArray<number> => rows.map(({ id }) => id)

/** The keys of the tasks that a filter means. */
const ids = (
  filter: Filter.Filter<Task>,
  options?: Parameters<typeof selection<Task>>[1]
): Effect.Effect<ReadonlyArray<number>, unknown, Tasks> =>
  Effect.flatMap(Tasks, (tasks) => Effect.map(tasks.select(selection(filter, options)), idsOf))

/** The row with a key that has one. */
const get = <Row, Key, New>(repository: Repository.Repository<Row, Key, New>, key: Key) =>
  Effect.map(repository.find(key), Option.getOrThrow)

const range = (from: number, to: number): Array<number> => Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** Text that something is wrong with, somewhere. */
export const hostileTexts: ReadonlyArray<string> = [
  "",
  " ",
  "  a  ",
  "'",
  "''",
  "\"",
  "`",
  "a'b\"c`d",
  "'; drop table tasks; --",
  "$1",
  "?",
  ":a",
  "@a",
  "%",
  "_",
  "100%",
  "a_b",
  "\\",
  "\\\\",
  "\\%",
  "\\_",
  "a\\",
  "[a]",
  "*",
  "__proto__",
  "constructor",
  "null",
  "{}",
  "{\"a\":1}",
  "1",
  "a\nb",
  "a\r\nb\t",
  "\u0001",
  "\u2028",
  "ä",
  "a\u0308",
  "Ä",
  "ß",
  "I",
  "ı",
  "İ",
  "K",
  "\u212A",
  "\uFFFF",
  "\uFFFD",
  "\uE000",
  "\u{10000}",
  "😀",
  "👩‍👩‍👧",
  "\u{10FFFF}"
]

// ---- what is generated

const from = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

const one = <A>(values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(from(0, values.length - 1), (i) => values[i]!)

const texts = ["", "a", "A", "ab", "aB", "b", "a%", "%", "a_", "_", "\\", "'", "ä", "Ä", "k", "\u212A", "\uFFFF", "😀"]
const scores = [-1.5, 0, 0.1, 1, 2, 10, 1e12]
const dates = [-1, 0, 1, 1_700_000_000_000, 1_700_000_000_001].map((millis) => new Date(millis))
const truths = [false, true]

/** A task that is much like others. */
const someDraft = Arbitrary.all({
  title: one(texts),
  note: one([null, null, ...texts]),
  score: one(scores),
  done: one(truths),
  at: one(dates),
  due: one([null, null, ...dates])
})

const values: Readonly<Record<string, ReadonlyArray<unknown>>> = {
  id: range(0, 12),
  version: [0, 1, 2],
  title: texts,
  note: texts,
  score: scores,
  done: truths,
  at: dates,
  due: dates
}

const fieldNames = Object.keys(values)
const comparing: ReadonlyArray<Filter.Operator> = ["eq", "lt", "lte", "gt", "gte", "in", "isNull"]
const searching: ReadonlyArray<Filter.Operator> = ["contains", "icontains", "startsWith"]

const someComparison: Arbitrary.Arbitrary<Filter.Tree> = Arbitrary.flatMap(one(fieldNames), (field) => {
  const all = values[field]!
  return Arbitrary.map(
    Arbitrary.all({
      operator: one(all === texts ? [...comparing, ...searching] : comparing),
      value: one(all),
      several: Arbitrary.array(one(all), { maxLength: 3 })
    }),
    ({ operator, several, value }): Filter.Tree => ({
      _tag: "Comparison",
      field,
      operator,
      value: operator === "in" ? several : operator === "isNull" ? undefined : value
    })
  )
})

/** An expression over tasks, as nobody would write it. */
const someTree = (depth: number): Arbitrary.Arbitrary<Filter.Tree> =>
  depth === 0
    ? someComparison
    : Arbitrary.flatMap(from(0, 9), (kind): Arbitrary.Arbitrary<Filter.Tree> => {
      if (kind === 0) {
        return Arbitrary.map(one(truths), (value): Filter.Tree => ({ _tag: "Constant", value }))
      }
      if (kind < 3) return Arbitrary.map(someTree(depth - 1), (member): Filter.Tree => ({ _tag: "Not", member }))
      if (kind < 5) return someComparison
      return Arbitrary.map(
        Arbitrary.array(someTree(depth - 1), { maxLength: 3 }),
        (members): Filter.Tree => ({ _tag: kind < 7 ? "And" : "Or", members })
      )
    })

const someOrder: Arbitrary.Arbitrary<ReadonlyArray<Repository.Order>> = Arbitrary.array(
  Arbitrary.all({ field: one(fieldNames), direction: one(["ascending", "descending"] as const) }),
  { maxLength: 2 }
)

/** In which order two values come: slow, and from the definition. */
const precedes = (a: unknown, b: unknown): number => {
  if (a === null || b === null) return (b === null ? 1 : 0) - (a === null ? 1 : 0) || 0
  if (typeof a === "string" && typeof b === "string") {
    const [left, right] = [a, b].map((text) => [...text].map((character) => character.codePointAt(0)!))
    for (const [i, point] of left!.entries()) {
      if (i >= right!.length) return 1
      if (point !== right![i]) return point - right![i]!
    }
    return left!.length - right!.length
  }
  return Number(a) - Number(b)
}

/** The rows that are selected, worked out on all of them. */
const expected = (rows: ReadonlyArray<Task>, { filter, limit, offset, order }: Repository.Selection<Task>) => {
  const sorted = rows.filter(Filter.matches(filter)).sort((a, b) => {
    for (const { direction, field } of order) {
      const result = precedes(a[field as keyof Task], b[field as keyof Task])
      if (result !== 0) return direction === "ascending" ? result : -result
    }
    return 0
  })
  const start = offset ?? 0
  return sorted.slice(start, limit === undefined ? undefined : start + limit)
}

/** Tests a repository. */
export const repositorySuite = <E>(name: string, { isRemote, layer, runs = 100 }: Options<E>): void => {
  const test = isRemote ? it.live : it.effect
  const soon = isRemote ? eventually : (check: () => void) => Effect.sync(check)
  /** Lets others go on. */
  const pause = isRemote ? Effect.sleep(10) : Effect.repeat(Effect.yieldNow, { times: 20 })
  const limit = { timeout: 60_000 }

  /** A test of a repository with these rows. */
  const withTasks = (rows: ReadonlyArray<Task> = []) => Effect.provide(layer(Tasks, rows))
  const withMembers = (rows: ReadonlyArray<Member> = []) => Effect.provide(layer(Members, rows))
  const withWords = (rows: ReadonlyArray<typeof Word.Type> = []) => Effect.provide(layer(Words, rows))

  const conflictsIn = (error: unknown, fields: ReadonlyArray<string>): void => {
    assert.instanceOf(error, Repository.Conflict)
    if (error.fields.length > 0) assert.deepStrictEqual([...error.fields].sort(), [...fields].sort())
  }

  /** What a repository tells from now on. */
  const listen = <Row, Key, New>(repository: Repository.Repository<Row, Key, New>) =>
    Effect.gen(function*() {
      const told: Array<Repository.Change<Key>> = []
      yield* repository.changes((change) => {
        told.push(change)
      })
      return () => new Set(told.flatMap((change) => change._tag === "Written" ? change.keys : []))
    })

  describe(`the repository ${name}`, () => {
    describe("rows", () => {
      test("finds the row with a key, and nothing else", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          assert.deepStrictEqual(yield* tasks.find(1), Option.some(stored(1, { title: "one" })))
          assert.deepStrictEqual(yield* tasks.find(2), Option.some(stored(2, { title: "two", version: 7 })))
          assert.deepStrictEqual(yield* tasks.find(3), Option.none())
          assert.deepStrictEqual(yield* tasks.find(0), Option.none())
          assert.strictEqual(yield* tasks.count(Filter.all), 2)
        }).pipe(withTasks([stored(1, { title: "one" }), stored(2, { title: "two", version: 7 })])), limit)

      test("begins with nothing", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          assert.deepStrictEqual(yield* tasks.select(selection(Filter.all)), [])
          assert.strictEqual(yield* tasks.count(Filter.all), 0)
          const row = yield* tasks.insert(draft())
          assert.isTrue(Number.isSafeInteger(row.id))
        }).pipe(withTasks()), limit)

      test("adds rows, and makes what is generated", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const due = new Date(86_400_001)
          const first = yield* tasks.insert(draft({ title: "first", note: "n", score: 2.5, done: true, due }))
          const second = yield* tasks.insert(draft({ title: "second" }))
          assert.deepStrictEqual(first, {
            ...draft({ title: "first", note: "n", score: 2.5, done: true, due }),
            id: first.id,
            version: 1
          })
          assert.isTrue(Number.isSafeInteger(first.id))
          assert.strictEqual(new Set([5, first.id, second.id]).size, 3)
          assert.deepStrictEqual(yield* get(tasks, first.id), first)
          assert.deepStrictEqual(yield* get(tasks, second.id), second)
          assert.deepStrictEqual(yield* get(tasks, 5), stored(5))
          assert.strictEqual(yield* tasks.count(Filter.all), 3)
        }).pipe(withTasks([stored(5)])), limit)

      test("does not take from a new row what is generated", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const row = yield* tasks.insert(stored(5, { title: "copy", version: 9 }))
          assert.deepStrictEqual(row, stored(row.id, { title: "copy", version: 1 }))
          assert.notStrictEqual(row.id, 5)
          assert.deepStrictEqual(yield* get(tasks, 5), stored(5))
        }).pipe(withTasks([stored(5)])), limit)

      test("changes what it is told to, and leaves the rest", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const title = yield* tasks.update(1, { title: "new", score: -3 })
          assert.deepStrictEqual(title, stored(1, { title: "new", score: -3, note: "note", version: 2 }))
          const note = yield* tasks.update(1, { note: null, due: new Date(1) })
          assert.deepStrictEqual(
            note,
            stored(1, { title: "new", score: -3, note: null, due: new Date(1), version: 3 })
          )
          assert.deepStrictEqual(yield* get(tasks, 1), note)
          assert.deepStrictEqual(yield* get(tasks, 2), stored(2, { title: "two" }))
        }).pipe(withTasks([stored(1, { note: "note" }), stored(2, { title: "two" })])), limit)

      test("changes nothing but the version where there is nothing to change", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          assert.deepStrictEqual(yield* tasks.update(1, {}), stored(1, { version: 2 }))
          assert.deepStrictEqual(yield* get(tasks, 1), stored(1, { version: 2 }))
        }).pipe(withTasks([stored(1)])), limit)

      test("deletes rows", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          yield* tasks.remove(1)
          assert.deepStrictEqual(yield* tasks.find(1), Option.none())
          assert.deepStrictEqual(yield* ids(Filter.all), [2])
        }).pipe(withTasks([stored(1), stored(2)])), limit)

      test("has no row to change or delete where there is none", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          for (const version of [undefined, 1, 2]) {
            assert.instanceOf(yield* Effect.flip(tasks.update(2, { title: "x" }, { version })), Repository.NotFound)
            assert.instanceOf(yield* Effect.flip(tasks.update(2, {}, { version })), Repository.NotFound)
            assert.instanceOf(yield* Effect.flip(tasks.remove(2, { version })), Repository.NotFound)
          }
          yield* tasks.remove(1)
          assert.instanceOf(yield* Effect.flip(tasks.remove(1)), Repository.NotFound)
          assert.instanceOf(yield* Effect.flip(tasks.update(1, { title: "x" })), Repository.NotFound)
        }).pipe(withTasks([stored(1)])), limit)

      test("answers with instances of a class", () =>
        Effect.gen(function*() {
          const members = yield* Members
          const isMember = (row: Member) => {
            assert.instanceOf(row, Member)
            assert.strictEqual(row.domain, "b.c")
          }
          isMember(yield* get(members, 1))
          const bob = yield* members.insert({ email: "bob@b.c", team: 1, nick: Option.some("bob") })
          isMember(bob)
          const changed = yield* members.update(bob.id, { nick: Option.none() })
          isMember(changed)
          assert.deepStrictEqual(
            changed,
            new Member({ id: bob.id, email: "bob@b.c", team: 1, nick: Option.none() })
          )
          const rows = yield* members.select(selection(Filter.all))
          assert.strictEqual(rows.length, 2)
          rows.forEach(isMember)
        }).pipe(withMembers([new Member({ id: 1, email: "ann@b.c", team: 1, nick: Option.none() })])), limit)

      test("takes the key along where none is generated", () =>
        Effect.gen(function*() {
          const words = yield* Words
          const b = yield* words.insert({ word: "b", text: "B" })
          assert.deepStrictEqual(b, { word: "b", text: "B" })
          conflictsIn(yield* Effect.flip(words.insert({ word: "a", text: "other" })), ["word"])
          assert.deepStrictEqual(yield* get(words, "a"), { word: "a", text: "A" })
          assert.deepStrictEqual(yield* words.find("A"), Option.none())
        }).pipe(withWords([{ word: "a", text: "A" }])), limit)

      test("changes a key, but not to one that there is", () =>
        Effect.gen(function*() {
          const words = yield* Words
          conflictsIn(yield* Effect.flip(words.update("a", { word: "b" })), ["word"])
          assert.deepStrictEqual(yield* get(words, "a"), { word: "a", text: "A" })
          assert.deepStrictEqual(yield* words.update("a", { word: "a", text: "AA" }), { word: "a", text: "AA" })
          assert.deepStrictEqual(yield* words.update("a", { word: "c" }), { word: "c", text: "AA" })
          assert.deepStrictEqual(yield* words.find("a"), Option.none())
          assert.deepStrictEqual(yield* get(words, "c"), { word: "c", text: "AA" })
          assert.deepStrictEqual(yield* words.insert({ word: "a", text: "new" }), { word: "a", text: "new" })
          assert.strictEqual(yield* words.count(Filter.all), 3)
        }).pipe(withWords([{ word: "a", text: "A" }, { word: "b", text: "B" }])), limit)

      test("keeps values as they are", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          for (const score of [0.1, -1.5, 1e21, 1e-7, Number.MAX_SAFE_INTEGER, Number.MIN_VALUE, Number.MAX_VALUE]) {
            assert.strictEqual((yield* tasks.insert(draft({ score }))).score, score)
            assert.strictEqual(yield* tasks.count(task.eq("score", score)), 1)
          }
          for (const at of ["1969-12-31T23:59:59.999Z", "0099-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"]) {
            const date = new Date(at)
            const row = yield* tasks.insert(draft({ at: date, due: date }))
            assert.deepStrictEqual([row.at, row.due], [date, date])
            assert.strictEqual(yield* tasks.count(task.eq("at", date)), 1)
          }
        }).pipe(withTasks()), limit)

      test("keeps hostile text apart from its language", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          for (const text of hostileTexts) {
            const row = yield* tasks.insert(draft({ title: text, note: text }))
            assert.deepStrictEqual([row.title, row.note], [text, text])
            assert.deepStrictEqual(yield* get(tasks, row.id), row)
          }
          for (const text of hostileTexts) {
            const found = yield* tasks.select(selection(task.eq("title", text)))
            assert.deepStrictEqual(found.map(({ title }) => title), [text])
            for (const [operator, has] of searches) {
              const rows = yield* tasks.select(selection(task[operator]("title", text)))
              assert.deepStrictEqual(
                rows.map(({ title }) => title),
                hostileTexts.filter((title) => has(title, text)),
                `${operator} ${JSON.stringify(text)}`
              )
            }
          }
          assert.strictEqual(yield* tasks.count(task.in("title", hostileTexts)), hostileTexts.length)
        }).pipe(withTasks()), limit)

      test("keeps hostile keys apart", () =>
        Effect.gen(function*() {
          const words = yield* Words
          for (const key of hostileTexts) yield* words.insert({ word: key, text: `of ${key}` })
          for (const key of hostileTexts) {
            assert.deepStrictEqual(yield* get(words, key), { word: key, text: `of ${key}` })
          }
          for (const key of hostileTexts) yield* words.update(key, { text: `new ${key}` })
          assert.strictEqual(yield* words.count(word.startsWith("text", "new ")), hostileTexts.length)
          for (const [i, key] of hostileTexts.entries()) {
            yield* words.remove(key)
            assert.strictEqual(yield* words.count(Filter.all), hostileTexts.length - i - 1)
          }
        }).pipe(withWords()), limit)

      test("keeps very long text", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const title = "ä'😀".repeat(50_000)
          const { id } = yield* tasks.insert(draft({ title }))
          assert.isTrue((yield* get(tasks, id)).title === title)
          assert.deepStrictEqual(yield* ids(task.eq("title", title)), [id])
          assert.deepStrictEqual(yield* ids(task.startsWith("title", `${title}a`)), [])
        }).pipe(withTasks()), limit)
    })

    describe("constraints", () => {
      const ann = new Member({ id: 1, email: "ann@a", team: 1, nick: Option.some("x") })
      const bob = new Member({ id: 2, email: "bob@a", team: 2, nick: Option.none() })
      const three = { email: "c@a", team: 3, nick: Option.none<string>() }

      test("refuses a value that another row has", () =>
        Effect.gen(function*() {
          const members = yield* Members
          conflictsIn(yield* Effect.flip(members.insert({ ...three, email: "ann@a" })), ["email"])
          conflictsIn(yield* Effect.flip(members.update(2, { email: "ann@a" })), ["email"])
          assert.deepStrictEqual(yield* members.select(selection(Filter.all)), [ann, bob])
          // Text is not the same in upper case.
          yield* members.insert({ ...three, email: "ANN@a" })
        }).pipe(withMembers([ann, bob])), limit)

      test("refuses several values together, one of them alone not", () =>
        Effect.gen(function*() {
          const members = yield* Members
          const taken = { team: 1, nick: Option.some("x") }
          conflictsIn(yield* Effect.flip(members.insert({ ...three, ...taken })), ["team", "nick"])
          conflictsIn(yield* Effect.flip(members.update(2, taken)), ["team", "nick"])
          yield* members.insert({ ...three, team: 1, nick: Option.some("y") })
          const y = yield* members.insert({ ...three, email: "d@a", nick: Option.some("x") })
          conflictsIn(yield* Effect.flip(members.update(y.id, { team: 1 })), ["team", "nick"])
          assert.strictEqual(yield* members.count(Filter.all), 4)
        }).pipe(withMembers([ann, bob])), limit)

      test("has null clash with nothing", () =>
        Effect.gen(function*() {
          const members = yield* Members
          yield* members.insert({ ...three, team: 2 })
          yield* members.update(1, { team: 2, nick: Option.none() })
          assert.strictEqual(yield* members.count(Filter.and(member.eq("team", 2), member.isNull("nick"))), 3)
        }).pipe(withMembers([ann, bob])), limit)

      test("lets a row have its own value again, and others when it is free", () =>
        Effect.gen(function*() {
          const members = yield* Members
          yield* members.update(1, { email: "ann@a", team: 1, nick: Option.some("x") })
          yield* members.update(1, { email: "ann@b" })
          yield* members.update(2, { email: "ann@a" })
          yield* members.remove(1)
          yield* members.insert({ email: "ann@b", team: 1, nick: Option.some("x") })
          conflictsIn(yield* Effect.flip(members.insert({ ...three, email: "ann@b" })), ["email"])
        }).pipe(withMembers([ann, bob])), limit)

      test("gives a value to one of those who want it at once", () =>
        Effect.gen(function*() {
          const members = yield* Members
          const exits = yield* Effect.forEach(
            range(1, 8),
            (team) => Effect.result(members.insert({ email: "same@a", team, nick: Option.none() })),
            { concurrency: "unbounded" }
          )
          const failures = exits.flatMap((exit) => exit._tag === "Failure" ? [exit.failure] : [])
          assert.strictEqual(failures.length, 7)
          for (const failure of failures) conflictsIn(failure, ["email"])
          assert.strictEqual(yield* members.count(member.eq("email", "same@a")), 1)
        }).pipe(withMembers()), limit)
    })

    describe("versions", () => {
      test("change a row of the version that is expected", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          assert.strictEqual((yield* tasks.update(1, { title: "a" }, { version: 4 })).version, 5)
          assert.strictEqual((yield* tasks.update(1, { title: "b" }, { version: 5 })).version, 6)
          yield* tasks.remove(1, { version: 6 })
          assert.strictEqual(yield* tasks.count(Filter.all), 0)
        }).pipe(withTasks([stored(1, { version: 4 })])), limit)

      test("refuse to change or delete a row of another one", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          for (const version of [3, 5, 0]) {
            const update = yield* Effect.flip(tasks.update(1, { title: "a" }, { version }))
            assert.instanceOf(update, Repository.StaleVersion)
            assert.instanceOf(yield* Effect.flip(tasks.remove(1, { version })), Repository.StaleVersion)
          }
          assert.deepStrictEqual(yield* get(tasks, 1), stored(1, { version: 4 }))
        }).pipe(withTasks([stored(1, { version: 4 })])), limit)

      test("let one of those change a row that saw the same one", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const results = yield* Effect.forEach(
            range(1, 8),
            (score) => Effect.result(tasks.update(1, { score }, { version: 1 })),
            { concurrency: "unbounded" }
          )
          const failures = results.flatMap((result) => result._tag === "Failure" ? [result.failure] : [])
          const rows = results.flatMap((result) => result._tag === "Success" ? [result.success] : [])
          assert.strictEqual(rows.length, 1)
          for (const failure of failures) assert.instanceOf(failure, Repository.StaleVersion)
          assert.deepStrictEqual(yield* get(tasks, 1), rows[0])
          assert.strictEqual(rows[0]!.version, 2)
        }).pipe(withTasks([stored(1)])), limit)
    })

    describe("filters", () => {
      const rows = [
        stored(1, { title: "alpha", note: null, score: 1, done: false, due: null }),
        stored(2, { title: "Alpha", note: "50% off", score: 2, done: true, due: new Date(1000) }),
        stored(3, { title: "beta", note: "a_b", score: 2.5, done: false, due: new Date(2000) }),
        stored(4, { title: "äpfel", note: "", score: -1, done: true, due: new Date(3000) }),
        stored(5, { title: "", note: "aXb", score: 1, done: false, due: null })
      ]

      const cases: ReadonlyArray<readonly [Filter.Filter<Task>, ReadonlyArray<number>]> = [
        [Filter.all, [1, 2, 3, 4, 5]],
        [Filter.none, []],
        [Filter.and(), [1, 2, 3, 4, 5]],
        [Filter.or(), []],
        [Filter.not(Filter.all), []],
        [task.eq("id", 3), [3]],
        [task.ne("id", 3), [1, 2, 4, 5]],
        [task.eq("title", "alpha"), [1]],
        [task.eq("title", ""), [5]],
        [task.eq("score", 1), [1, 5]],
        [task.eq("score", 2.5), [3]],
        [task.eq("done", true), [2, 4]],
        [task.ne("done", true), [1, 3, 5]],
        [task.eq("due", new Date(2000)), [3]],
        [task.eq("at", draft().at), [1, 2, 3, 4, 5]],
        [task.lt("score", 1), [4]],
        [task.lte("score", 1), [1, 4, 5]],
        [task.gt("score", 2), [3]],
        [task.gte("score", 2), [2, 3]],
        [task.lt("done", true), [1, 3, 5]],
        [task.gte("done", false), [1, 2, 3, 4, 5]],
        [task.lt("title", "a"), [2, 5]],
        [task.gt("title", "b"), [3, 4]],
        [task.gt("due", new Date(1000)), [3, 4]],
        [task.lte("due", new Date(2000)), [2, 3]],
        [task.in("id", [1, 4, 9, 1]), [1, 4]],
        [task.in("title", ["beta", "BETA", ""]), [3, 5]],
        [task.in("done", [true, false]), [1, 2, 3, 4, 5]],
        [task.in("due", [new Date(1000), new Date(3000)]), [2, 4]],
        [task.in("title", []), []],
        [Filter.not(task.in("title", [])), [1, 2, 3, 4, 5]],
        [task.in("id", range(3, 1000)), [3, 4, 5]],
        [task.contains("title", "lph"), [1, 2]],
        [task.contains("title", "alph"), [1]],
        [task.contains("title", ""), [1, 2, 3, 4, 5]],
        [task.icontains("title", "ALPHA"), [1, 2]],
        [task.icontains("title", "Äp"), []],
        [task.icontains("title", "äP"), [4]],
        [task.startsWith("title", "al"), [1]],
        [task.startsWith("title", "lpha"), []],
        [task.startsWith("title", ""), [1, 2, 3, 4, 5]],
        [task.contains("note", "%"), [2]],
        [task.contains("note", "_"), [3]],
        [task.icontains("note", "A_B"), [3]],
        [task.icontains("note", "axB"), [5]],
        [task.startsWith("note", "a_"), [3]],
        [task.startsWith("note", "%"), []],
        // What is null is neither like nor unlike anything, and `not` is the opposite all the same.
        [task.isNull("note"), [1]],
        [task.isNull("due"), [1, 5]],
        [task.isNull("id"), []],
        [Filter.not(task.isNull("due")), [2, 3, 4]],
        [task.eq("note", ""), [4]],
        [task.ne("note", ""), [1, 2, 3, 5]],
        [task.contains("note", ""), [2, 3, 4, 5]],
        [Filter.not(task.contains("note", "")), [1]],
        [Filter.not(task.icontains("note", "a")), [1, 2, 4]],
        [Filter.not(task.startsWith("note", "a")), [1, 2, 4]],
        [Filter.not(task.lt("due", new Date(2000))), [1, 3, 4, 5]],
        [Filter.not(task.gte("due", new Date(2000))), [1, 2, 5]],
        [Filter.not(task.in("note", ["", "a_b"])), [1, 2, 5]],
        [Filter.not(Filter.and(task.ne("note", ""), task.eq("done", false))), [2, 4]],
        [Filter.not(Filter.or(task.eq("note", ""), task.lt("due", new Date(2000)))), [1, 3, 5]],
        [Filter.and(task.eq("done", false), task.eq("score", 1)), [1, 5]],
        [Filter.or(task.eq("done", true), Filter.and(task.eq("id", 1), task.isNull("due"))), [1, 2, 4]]
      ]

      test("select and count the rows that they mean", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          for (const [filter, wanted] of cases) {
            assert.deepStrictEqual(yield* ids(filter), wanted, Filter.print(filter))
            assert.strictEqual(yield* tasks.count(filter), wanted.length, Filter.print(filter))
          }
        }).pipe(withTasks(rows)), limit)

      test("look into what may be none", () =>
        Effect.gen(function*() {
          const members = yield* Members
          const found = (filter: Filter.Filter<Member>) => Effect.map(members.select(selection(filter)), idsOf)
          assert.deepStrictEqual(yield* found(member.eq("nick", Option.some("x"))), [1])
          assert.deepStrictEqual(yield* found(member.ne("nick", Option.some("x"))), [2, 3])
          assert.deepStrictEqual(yield* found(member.in("nick", [Option.some("x"), Option.some("Y")])), [1, 3])
          assert.deepStrictEqual(yield* found(member.lt("nick", Option.some("a"))), [3])
          assert.deepStrictEqual(yield* found(member.isNull("nick")), [2])
          assert.deepStrictEqual(yield* found(member.eq("nick", Option.none())), [])
          assert.deepStrictEqual(yield* found(member.ne("nick", Option.none())), [1, 2, 3])
        }).pipe(withMembers([
          new Member({ id: 1, email: "a", team: 1, nick: Option.some("x") }),
          new Member({ id: 2, email: "b", team: 1, nick: Option.none() }),
          new Member({ id: 3, email: "c", team: 1, nick: Option.some("Y") })
        ])), limit)

      test.prop(
        "mean in a query what they mean of a row, in the order that is asked for",
        {
          drafts: Arbitrary.array(someDraft, { maxLength: 12 }),
          tree: someTree(3),
          order: someOrder,
          offset: one([undefined, undefined, 0, 1, 5]),
          limit: one([undefined, undefined, 0, 1, 5])
        },
        ({ drafts, limit, offset, order, tree }) => {
          const rows = drafts.map((fields, i) => stored(i + 1, fields))
          const filter = Filter.fromTree<Task>(tree)
          return Effect.gen(function*() {
            const tasks = yield* Tasks
            const wanted = { filter, order: [...order, ascending("id")], limit, offset }
            assert.deepStrictEqual(yield* tasks.select(wanted), expected(rows, wanted))
            assert.strictEqual(yield* tasks.count(filter), expected(rows, { filter, order: [] }).length)
          }).pipe(withTasks(rows))
        },
        { ...limit, arbitrary: { runs } }
      )
    })

    describe("order", () => {
      test("puts null before everything else, and after it where it is descending", () =>
        Effect.gen(function*() {
          const order = (...order: ReadonlyArray<Repository.Order>) => ids(Filter.all, { order })
          assert.deepStrictEqual(yield* order(ascending("note"), ascending("id")), [2, 4, 1, 3, 5])
          assert.deepStrictEqual(yield* order(descending("note"), ascending("id")), [5, 3, 1, 2, 4])
          assert.deepStrictEqual(yield* order(descending("note"), descending("id")), [5, 3, 1, 4, 2])
          assert.deepStrictEqual(yield* order(ascending("due"), descending("id")), [5, 4, 2, 3, 1])
          assert.deepStrictEqual(yield* order(descending("due"), ascending("id")), [1, 3, 2, 4, 5])
          assert.deepStrictEqual(yield* order(ascending("done"), ascending("score"), ascending("id")), [3, 2, 4, 5, 1])
          assert.deepStrictEqual(
            yield* order(descending("done"), descending("score"), descending("id")),
            [1, 5, 4, 2, 3]
          )
        }).pipe(withTasks([
          stored(1, { note: "", due: new Date(2), score: 10, done: true }),
          stored(2, { note: null, due: null, score: -1 }),
          stored(3, { note: "a", due: new Date(1), score: -2 }),
          stored(4, { note: null, due: null, score: 9 }),
          stored(5, { note: "b", due: null, score: 9 })
        ])), limit)

      test("compares text by its code points", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const sorted = ["", " ", "A", "B", "Z", "_", "a", "aa", "ab", "b", "z", "ä", "\uE000", "\uFFFF", "😀"]
          for (const title of [...sorted.slice(7), ...sorted.slice(0, 7)]) yield* tasks.insert(draft({ title }))
          const titles = (order: Repository.Order) =>
            Effect.map(
              tasks.select(selection(Filter.all, { order: [order] })),
              (rows) => rows.map(({ title }) => title)
            )
          assert.deepStrictEqual(yield* titles(ascending("title")), sorted)
          assert.deepStrictEqual(yield* titles(descending("title")), [...sorted].reverse())
          for (const [i, title] of sorted.entries()) {
            assert.strictEqual(yield* tasks.count(task.lt("title", title)), i, title)
            assert.strictEqual(yield* tasks.count(task.gte("title", title)), sorted.length - i, title)
          }
        }).pipe(withTasks()), limit)

      test("is that of a part", () =>
        Effect.gen(function*() {
          const part = (offset: number | undefined, limit: number | undefined) => ids(Filter.all, { offset, limit })
          assert.deepStrictEqual(yield* part(undefined, undefined), range(1, 9))
          assert.deepStrictEqual(yield* part(0, 3), [1, 2, 3])
          assert.deepStrictEqual(yield* part(undefined, 3), [1, 2, 3])
          assert.deepStrictEqual(yield* part(7, undefined), [8, 9])
          assert.deepStrictEqual(yield* part(3, 3), [4, 5, 6])
          assert.deepStrictEqual(yield* part(7, 3), [8, 9])
          assert.deepStrictEqual(yield* part(9, 3), [])
          assert.deepStrictEqual(yield* part(100, undefined), [])
          assert.deepStrictEqual(yield* part(0, 0), [])
          assert.deepStrictEqual(
            yield* ids(task.gt("id", 4), { offset: 1, limit: 2, order: [descending("id")] }),
            [8, 7]
          )
          const tasks = yield* Tasks
          const unordered = yield* tasks.select({ filter: task.gt("id", 4), order: [], offset: 1, limit: 3 })
          assert.strictEqual(new Set(idsOf(unordered).filter((id) => id > 4)).size, 3)
        }).pipe(withTasks(range(1, 9).reverse().map((id) => stored(id)))), limit)
    })

    describe("transactions", () => {
      test("do all of it", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const result = yield* tasks.transaction(Effect.gen(function*() {
            const row = yield* tasks.insert(draft({ title: "new" }))
            yield* tasks.update(1, { title: "changed" })
            yield* tasks.remove(2)
            // What it has written is there for itself.
            assert.deepStrictEqual(yield* get(tasks, row.id), row)
            assert.strictEqual((yield* get(tasks, 1)).title, "changed")
            assert.deepStrictEqual(yield* tasks.find(2), Option.none())
            assert.strictEqual(yield* tasks.count(Filter.all), 2)
            assert.deepStrictEqual(yield* ids(Filter.all), [1, row.id])
            return row
          }))
          assert.deepStrictEqual(yield* ids(Filter.all), [1, result.id])
          assert.deepStrictEqual(yield* get(tasks, result.id), result)
          assert.deepStrictEqual(yield* get(tasks, 1), stored(1, { title: "changed", version: 2 }))
        }).pipe(withTasks([stored(1), stored(2)])), limit)

      const unchanged = Effect.gen(function*() {
        const tasks = yield* Tasks
        assert.deepStrictEqual(yield* tasks.select(selection(Filter.all)), [stored(1), stored(2)])
        // And nobody is kept from writing.
        yield* tasks.update(1, { title: "after" })
        yield* tasks.remove(2)
        yield* tasks.insert(draft())
        assert.strictEqual(yield* tasks.count(Filter.all), 2)
      })
      const everything = Effect.gen(function*() {
        const tasks = yield* Tasks
        yield* tasks.insert(draft({ title: "new" }))
        yield* tasks.update(1, { title: "changed" })
        yield* tasks.remove(2)
        yield* tasks.transaction(tasks.insert(draft({ title: "nested" })))
      })

      test("do nothing where they fail", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const exit = yield* Effect.exit(tasks.transaction(Effect.andThen(everything, Effect.fail("no"))))
          assert.deepStrictEqual(exit, Exit.fail("no"))
          yield* unchanged
        }).pipe(withTasks([stored(1), stored(2)])), limit)

      test("do nothing where they die", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const exit = yield* Effect.exit(tasks.transaction(Effect.andThen(everything, Effect.die("broken"))))
          assert.deepStrictEqual(exit, Exit.die("broken"))
          yield* unchanged
        }).pipe(withTasks([stored(1), stored(2)])), limit)

      test("do nothing where they are interrupted", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const reached = yield* Deferred.make<void>()
          const fiber = yield* Effect.forkChild(tasks.transaction(
            everything.pipe(Effect.andThen(Deferred.succeed(reached, undefined)), Effect.andThen(Effect.never))
          ))
          yield* Deferred.await(reached)
          yield* Fiber.interrupt(fiber)
          const exit = yield* Fiber.await(fiber)
          assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
          yield* unchanged
        }).pipe(withTasks([stored(1), stored(2)])), limit)

      test("are part of the one that they are in", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          yield* tasks.transaction(Effect.gen(function*() {
            yield* tasks.update(1, { score: 2 })
            yield* tasks.transaction(Effect.gen(function*() {
              assert.strictEqual((yield* get(tasks, 1)).score, 2)
              yield* tasks.transaction(tasks.update(1, { score: 3 }))
              yield* tasks.insert(draft())
            }))
            assert.strictEqual((yield* get(tasks, 1)).score, 3)
            yield* tasks.update(1, { title: "end" })
          }))
          assert.deepStrictEqual(yield* get(tasks, 1), stored(1, { score: 3, title: "end", version: 4 }))
          assert.strictEqual(yield* tasks.count(Filter.all), 2)
          yield* Effect.exit(tasks.transaction(Effect.andThen(
            tasks.transaction(tasks.update(1, { score: 4 })),
            Effect.fail("no")
          )))
          assert.strictEqual((yield* get(tasks, 1)).score, 3)
        }).pipe(withTasks([stored(1)])), limit)

      test("undo their own part where the failure is caught in the one that they are in", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          yield* tasks.transaction(Effect.gen(function*() {
            yield* tasks.update(1, { title: "before" })
            for (const end of [Effect.fail("no"), Effect.die("broken")]) {
              yield* Effect.exit(tasks.transaction(Effect.gen(function*() {
                yield* tasks.update(1, { title: "lost" })
                yield* tasks.remove(2)
                yield* tasks.insert(draft())
                yield* tasks.transaction(tasks.insert(draft()))
                return yield* end
              })))
              assert.strictEqual((yield* get(tasks, 1)).title, "before")
            }
            yield* tasks.update(2, { title: "after" })
          }))
          assert.deepStrictEqual(yield* tasks.select(selection(Filter.all)), [
            stored(1, { title: "before", version: 2 }),
            stored(2, { title: "after", version: 2 })
          ])
        }).pipe(withTasks([stored(1), stored(2)])), limit)

      test("go on after a write that was refused", () =>
        Effect.gen(function*() {
          const words = yield* Words
          yield* words.transaction(Effect.gen(function*() {
            yield* words.insert({ word: "b", text: "B" })
            conflictsIn(yield* Effect.flip(words.insert({ word: "a", text: "other" })), ["word"])
            conflictsIn(yield* Effect.flip(words.update("b", { word: "a" })), ["word"])
            assert.instanceOf(yield* Effect.flip(words.remove("c")), Repository.NotFound)
            yield* words.insert({ word: "c", text: "C" })
          }))
          assert.deepStrictEqual(yield* words.select(selection(Filter.all, { key: "word" })), [
            { word: "a", text: "A" },
            { word: "b", text: "B" },
            { word: "c", text: "C" }
          ])
        }).pipe(withWords([{ word: "a", text: "A" }])), limit)

      for (const end of ["commits", "fails"] as const) {
        test(`show nobody the half of it: one that ${end}`, () =>
          Effect.gen(function*() {
            const tasks = yield* Tasks
            const started = yield* Deferred.make<void>()
            const reader = yield* Effect.forkChild(Effect.gen(function*() {
              yield* Deferred.await(started)
              const seen: Array<string> = []
              for (let i = 0; i < 6; i++) {
                const rows = yield* tasks.select(selection(Filter.all))
                seen.push(rows.map(({ title }) => title).join())
                yield* pause
              }
              return seen
            }))
            yield* Effect.exit(tasks.transaction(Effect.gen(function*() {
              yield* tasks.update(1, { title: "b" })
              yield* Deferred.succeed(started, undefined)
              yield* pause
              yield* tasks.update(2, { title: "b" })
              yield* pause
              yield* tasks.insert(draft({ title: "b" }))
              yield* pause
              return end === "fails" ? yield* Effect.fail("no") : undefined
            })))
            const seen = yield* Fiber.join(reader)
            const states = end === "commits" ? ["a,a", "b,b,b"] : ["a,a"]
            assert.deepStrictEqual(seen.filter((titles) => !states.includes(titles)), [])
          }).pipe(withTasks([stored(1, { title: "a" }), stored(2, { title: "a" })])), limit)
      }

      test("keep others from writing what they have read with a lock", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const increment = tasks.transaction(Effect.gen(function*() {
            const row = Option.getOrThrow(yield* tasks.find(1, { lock: true }))
            yield* pause
            yield* tasks.update(1, { score: row.score + 1 })
          }))
          yield* Effect.all(range(1, 10).map(() => increment), { concurrency: "unbounded", discard: true })
          assert.deepStrictEqual(yield* get(tasks, 1), stored(1, { score: 11, version: 11 }))
        }).pipe(withTasks([stored(1)])), limit)

      test("keep those from writing who are in none", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const read = yield* Deferred.make<void>()
          const writer = yield* Effect.forkChild(Effect.andThen(
            Deferred.await(read),
            tasks.update(1, { title: "written" })
          ))
          yield* tasks.transaction(Effect.gen(function*() {
            const row = Option.getOrThrow(yield* tasks.find(1, { lock: true }))
            yield* Deferred.succeed(read, undefined)
            yield* pause
            yield* tasks.update(1, { title: "mine", score: row.score + 1 }, { version: row.version })
          }))
          yield* Fiber.join(writer)
          assert.deepStrictEqual(yield* get(tasks, 1), stored(1, { title: "written", score: 2, version: 3 }))
        }).pipe(withTasks([stored(1)])), limit)

      test("find a lock in none of them to mean nothing", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          assert.deepStrictEqual(yield* tasks.find(1, { lock: true }), Option.some(stored(1)))
          assert.deepStrictEqual(yield* tasks.find(2, { lock: true }), Option.none())
          yield* tasks.update(1, { title: "x" })
        }).pipe(withTasks([stored(1)])), limit)

      test("give every row a key of its own, whoever adds it", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const exits = yield* Effect.forEach(range(1, 20), (n) => {
            const insert = tasks.insert(draft({ score: n }))
            const failing = Effect.andThen(insert, Effect.fail("no"))
            return Effect.exit(
              n % 3 === 0 ? tasks.transaction(insert) : n % 7 === 0 ? tasks.transaction(failing) : insert
            )
          }, { concurrency: "unbounded" })
          const rows = exits.flatMap((exit) => Exit.isSuccess(exit) ? [exit.value] : [])
          assert.strictEqual(rows.length, 18)
          assert.strictEqual(new Set(idsOf(rows)).size, 18)
          assert.deepStrictEqual(yield* tasks.select(selection(Filter.all)), [...rows].sort((a, b) => a.id - b.id))
        }).pipe(withTasks()), limit)
    })

    describe("after a commit", () => {
      test("is done what was put off, in its order, and sees what was written", () =>
        Effect.gen(function*() {
          const words = yield* Words
          const done: Array<string> = []
          const note = (text: string) =>
            words.afterCommit(Effect.map(
              Effect.orDie(words.count(Filter.all)),
              (count) => void done.push(`${text} ${count}`)
            ))
          yield* note("at once")
          yield* words.transaction(Effect.gen(function*() {
            yield* note("first")
            yield* words.insert({ word: "b", text: "" })
            yield* words.transaction(Effect.andThen(words.insert({ word: "c", text: "" }), note("within")))
            yield* Effect.exit(words.transaction(Effect.andThen(note("lost"), Effect.fail("no"))))
            yield* note("last")
            assert.deepStrictEqual(done, ["at once 1"])
          }))
          assert.deepStrictEqual(done, ["at once 1", "first 3", "within 3", "last 3"])
        }).pipe(withWords([{ word: "a", text: "A" }])), limit)

      test("is nothing done where it is rolled back", () =>
        Effect.gen(function*() {
          const words = yield* Words
          const done: Array<string> = []
          for (const end of [Effect.fail("no"), Effect.die("broken"), Effect.interrupt]) {
            yield* Effect.exit(words.transaction(Effect.gen(function*() {
              yield* words.afterCommit(Effect.sync(() => void done.push("outer")))
              yield* words.transaction(words.afterCommit(Effect.sync(() => void done.push("inner"))))
              return yield* end
            })))
          }
          yield* words.transaction(words.afterCommit(Effect.sync(() => void done.push("end"))))
          assert.deepStrictEqual(done, ["end"])
        }).pipe(withWords()), limit)
    })

    describe("changes", () => {
      test("are told of everything that is written", () =>
        Effect.gen(function*() {
          const tasks = yield* Tasks
          const told = yield* listen(tasks)
          const { id } = yield* tasks.insert(draft())
          yield* soon(() => assert.deepStrictEqual(told(), new Set([id])))
          yield* tasks.update(1, { title: "x" })
          yield* soon(() => assert.deepStrictEqual(told(), new Set([id, 1])))
          yield* tasks.remove(2)
          yield* soon(() => assert.deepStrictEqual(told(), new Set([id, 1, 2])))
        }).pipe(withTasks([stored(1), stored(2), stored(3)])), limit)

      test("are told of both keys where it has changed", () =>
        Effect.gen(function*() {
          const words = yield* Words
          const told = yield* listen(words)
          yield* words.update("a", { word: "b" })
          yield* soon(() => assert.deepStrictEqual(told(), new Set(["a", "b"])))
        }).pipe(withWords([{ word: "a", text: "A" }])), limit)

      test("are not told of what was refused or read", () =>
        Effect.gen(function*() {
          const words = yield* Words
          const told = yield* listen(words)
          yield* Effect.flip(words.insert({ word: "a", text: "other" }))
          yield* Effect.flip(words.update("none", { text: "x" }))
          yield* Effect.flip(words.remove("none"))
          yield* words.find("a", { lock: true })
          yield* words.transaction(words.find("a", { lock: true }))
          yield* words.insert({ word: "end", text: "" })
          yield* soon(() => assert.deepStrictEqual(told(), new Set(["end"])))
        }).pipe(withWords([{ word: "a", text: "A" }])), limit)

      test("are told of a transaction when it is committed, of all of it", () =>
        Effect.gen(function*() {
          const words = yield* Words
          const told = yield* listen(words)
          yield* words.transaction(Effect.gen(function*() {
            yield* words.insert({ word: "b", text: "" })
            yield* words.transaction(words.insert({ word: "c", text: "" }))
            yield* Effect.exit(words.transaction(Effect.andThen(
              words.insert({ word: "lost", text: "" }),
              Effect.fail("no")
            )))
            yield* words.remove("a")
            yield* pause
            assert.deepStrictEqual(told(), new Set())
          }))
          yield* soon(() => assert.deepStrictEqual(told(), new Set(["a", "b", "c"])))
        }).pipe(withWords([{ word: "a", text: "A" }])), limit)

      test("are told nothing of what was rolled back", () =>
        Effect.gen(function*() {
          const words = yield* Words
          const told = yield* listen(words)
          for (const end of [Effect.fail("no"), Effect.die("broken"), Effect.interrupt]) {
            yield* Effect.exit(words.transaction(Effect.gen(function*() {
              yield* words.insert({ word: "b", text: "" })
              yield* words.transaction(words.remove("a"))
              return yield* end
            })))
          }
          yield* words.insert({ word: "end", text: "" })
          yield* soon(() => assert.deepStrictEqual(told(), new Set(["end"])))
        }).pipe(withWords([{ word: "a", text: "A" }])), limit)

      test("are told to everybody, as long as they listen", () =>
        Effect.gen(function*() {
          const words = yield* Words
          const scope = yield* Scope.make()
          const left = yield* Scope.provide(listen(words), scope)
          const stays = yield* listen(words)
          yield* words.insert({ word: "a", text: "" })
          yield* soon(() => assert.deepStrictEqual([left(), stays()], [new Set(["a"]), new Set(["a"])]))
          yield* Scope.close(scope, Exit.void)
          yield* words.insert({ word: "b", text: "" })
          yield* soon(() => assert.deepStrictEqual(stays(), new Set(["a", "b"])))
          assert.deepStrictEqual(left(), new Set(["a"]))
        }).pipe(withWords()), limit)
    })
  })
}

/** Which text has which in it, from the definition. */
const searches: ReadonlyArray<
  readonly ["contains" | "icontains" | "startsWith", (text: string, part: string) => boolean]
> = [
  ["contains", (text, part) => text.includes(part)],
  ["startsWith", (text, part) => text.startsWith(part)],
  ["icontains", (text, part) => folded(text).includes(folded(part))]
]

const folded = (text: string): string =>
  [...text].map((character) => character >= "A" && character <= "Z" ? character.toLowerCase() : character).join("")
