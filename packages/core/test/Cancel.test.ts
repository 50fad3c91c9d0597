import { Action, Authority, Consumer, Handlers, Permission, type Reply } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { type Client, open, serve, settle } from "./support/connection.ts"

type Id = number | string

const cancel = (id: unknown, requestId: Id = `cancel ${id}`) => ({
  action: "$cancel",
  data: { request_id: id },
  request_id: requestId
})
const work = (id: Id, millis = 10) => ({ action: "work", data: millis, request_id: id })
const tail = (id: Id, millis = 10) => ({ action: "tail", data: millis, request_id: id })
const short = ({ data, request_id, status }: Reply.Reply) => [request_id, status, data]
const statuses = (client: Client, count: number) =>
  Effect.map(client.take(count), (replies) => replies.map(({ request_id, status }) => [request_id, status]))

/** A connection to a consumer with an action that takes its time, and one that gives an item each time it has passed. */
const connect = Effect.fnUntraced(function*(
  options: {
    readonly concurrency?: Action.Concurrency
    readonly lane?: number
    readonly maxInFlight?: number
    readonly permission?: Permission.Permission<{ readonly action: string }>
    /** What a handler does first. */
    readonly first?: (request: Handlers.Request<number>) => void
    /** What is done when it ends. */
    readonly last?: Effect.Effect<void>
  } = {}
) {
  const trace: Array<string> = []
  const traced = (request: Handlers.Request, exit: Exit.Exit<unknown, unknown>) =>
    Effect.andThen(
      options.last ?? Effect.void,
      Effect.sync(() => trace.push(`${Exit.isSuccess(exit) ? "end" : "stop"} ${request.requestId}`))
    )
  const begin = (request: Handlers.Request<number>) =>
    Effect.sync(() => {
      trace.push(`start ${request.requestId}`)
      options.first?.(request)
    })
  const payload = Schema.Int
  const Worker = Consumer.make("worker", { path: "/ws/", concurrency: options.concurrency }).pipe(
    Consumer.permit(options.permission ?? Permission.allow),
    Consumer.add(
      Action.make("work", { payload, success: Schema.Int, concurrency: options.lane }),
      Action.make("tail", { payload, success: Schema.Int, stream: true })
    )
  )
  const layer = Consumer.handlers(Worker).pipe(
    Handlers.handle("work", (request) =>
      begin(request).pipe(
        Effect.andThen(Effect.sleep(request.payload)),
        Effect.as(request.payload),
        Effect.onExit((exit) => traced(request, exit))
      )),
    Handlers.handle("tail", (request) =>
      Stream.fromEffect(begin(request)).pipe(
        Stream.drain,
        Stream.concat(Stream.range(1, 3).pipe(Stream.mapEffect((n) => Effect.as(Effect.sleep(request.payload), n)))),
        Stream.onExit((exit) => traced(request, exit))
      )),
    Handlers.toLayer
  )
  const pipeline = yield* serve(
    [Worker],
    layer,
    options.maxInFlight === undefined ? {} : { maxInFlight: options.maxInFlight }
  )
  return { pipeline, client: yield* open(pipeline), trace }
})

describe("$cancel", () => {
  it.effect("ends an action: it is answered with 499, and the cancel with 200", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect()
      yield* client.send(work(7), { ...cancel(7), request_id: 8 })
      assert.deepStrictEqual(yield* Effect.replicateEffect(client.nextText, 2), [
        "{\"errors\":[{\"detail\":\"The request was cancelled\",\"code\":\"cancelled\"}],\"data\":null,\"action\":\"work\",\"route\":\"\",\"status\":499,\"request_id\":7}",
        "{\"errors\":[],\"data\":null,\"action\":\"$cancel\",\"route\":\"\",\"status\":200,\"request_id\":8}"
      ])
      assert.deepStrictEqual(trace, ["start 7", "stop 7"])
      yield* TestClock.adjust(100)
      yield* client.silent
    }))

  it.effect("ends a stream, and nothing of it follows", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect()
      yield* client.send(tail("a"))
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(short(yield* client.next), ["a", 206, 1])
      yield* client.send(cancel("a"))
      assert.deepStrictEqual(yield* statuses(client, 2), [["a", 499], ["cancel a", 200]])
      assert.deepStrictEqual(trace, ["start a", "stop a"])
      yield* TestClock.adjust(100)
      yield* client.silent
    }))

  it.effect("ends what waits in line: it never begins, and those behind it go on", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect()
      yield* client.send(work(1), work(2), tail(3), work(4), cancel(2), cancel(3))
      assert.deepStrictEqual(yield* statuses(client, 4), [[2, 499], ["cancel 2", 200], [3, 499], ["cancel 3", 200]])
      yield* client.send(cancel(2))
      assert.deepStrictEqual(yield* statuses(client, 1), [["cancel 2", 404]])
      yield* TestClock.adjust(20)
      assert.deepStrictEqual((yield* client.take(2)).map(short), [[1, 200, 10], [4, 200, 10]])
      assert.deepStrictEqual(trace, ["start 1", "end 1", "start 4", "end 4"])
    }))

  it.effect("ends what waits in a line of its own, and lets the next begin", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect({ lane: 1 })
      yield* client.send(work(1), work(2), work(3), cancel(2), cancel(1))
      assert.deepStrictEqual(yield* statuses(client, 4), [[2, 499], ["cancel 2", 200], [1, 499], ["cancel 1", 200]])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual((yield* client.take(1)).map(short), [[3, 200, 10]])
      assert.deepStrictEqual(trace, ["start 1", "stop 1", "start 3", "end 3"])
    }))

  it.effect("does not stand in line itself, nor count among those in flight", () =>
    Effect.gen(function*() {
      const { client } = yield* connect({ maxInFlight: 1 })
      yield* client.send(work(1), work(2), cancel(1), work(3))
      assert.deepStrictEqual(yield* statuses(client, 3), [[2, 503], [1, 499], ["cancel 1", 200]])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* statuses(client, 1), [[3, 200]])
    }))

  it.effect("cannot end what has been answered", () =>
    Effect.gen(function*() {
      const { client } = yield* connect()
      yield* client.send(work(1))
      yield* TestClock.adjust(10)
      yield* client.send(cancel(1), cancel("nobody"))
      const replies = yield* client.take(3)
      assert.deepStrictEqual(replies.map(short), [[1, 200, 10], ["cancel 1", 404, null], ["cancel nobody", 404, null]])
      assert.deepStrictEqual(replies.slice(1).map(({ errors }) => errors), [
        [{ detail: "There is no request 1 in flight", code: "not_found" }],
        [{ detail: "There is no request \"nobody\" in flight", code: "not_found" }]
      ])
    }))

  it.effect("ends nothing twice, however long it takes to end", () =>
    Effect.gen(function*() {
      const ended = yield* Latch.make(false)
      const { client, trace } = yield* connect({ last: ended.await })
      yield* client.send(tail(1), work(2), cancel(1), cancel(1), cancel(2), cancel(2), work(3))
      assert.deepStrictEqual(yield* statuses(client, 6), [
        [1, 499],
        ["cancel 1", 200],
        ["cancel 1", 404],
        [2, 499],
        ["cancel 2", 200],
        ["cancel 2", 404]
      ])
      // The next one waits until it has ended.
      assert.deepStrictEqual(trace, ["start 1", "start 2"])
      yield* ended.open
      yield* settle
      assert.deepStrictEqual(trace, ["start 1", "start 2", "stop 1", "stop 2", "start 3"])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* statuses(client, 1), [[3, 200]])
      yield* client.silent
    }))

  it.effect("tells 1 from \"1\"", () =>
    Effect.gen(function*() {
      const { client } = yield* connect()
      yield* client.send(tail(1), tail("2"), cancel("1", "a"), cancel(2, "b"), cancel(1, "c"), cancel("2", "d"))
      assert.deepStrictEqual(yield* statuses(client, 6), [
        ["a", 404],
        ["b", 404],
        [1, 499],
        ["c", 200],
        ["2", 499],
        ["d", 200]
      ])
    }))

  it.effect("ends all that have the id", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect()
      yield* client.send(tail(1), tail(1), work(1), work(1), work(2), cancel(1))
      assert.deepStrictEqual(yield* statuses(client, 5), [[1, 499], [1, 499], [1, 499], [1, 499], ["cancel 1", 200]])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* statuses(client, 1), [[2, 200]])
      assert.deepStrictEqual(trace.filter((event) => event.startsWith("start")), [
        "start 1",
        "start 1",
        "start 1",
        "start 2"
      ])
    }))

  it.effect("ends nothing of another connection, and nothing without an id", () =>
    Effect.gen(function*() {
      const { client, pipeline } = yield* connect()
      const other = yield* open(pipeline, "/ws/", "2")
      yield* client.send(tail(1), { action: "tail", data: 10 })
      yield* other.send(cancel(1))
      assert.deepStrictEqual(yield* statuses(other, 1), [["cancel 1", 404]])
      yield* client.send({ action: "$cancel", data: {} }, { action: "$cancel", data: { request_id: null } })
      assert.deepStrictEqual(yield* statuses(client, 2), [[undefined, 400], [undefined, 400]])
      yield* TestClock.adjust(30)
      assert.strictEqual((yield* client.take(8)).filter(({ status }) => status === 200).length, 2)
    }))

  for (const data of [undefined, null, 7, "7", [], {}, { request_id: true }, { request_id: [7] }, { id: 7 }]) {
    it.effect(`takes no ${JSON.stringify(data)}`, () =>
      Effect.gen(function*() {
        const { client } = yield* connect()
        yield* client.send(work(7), { action: "$cancel", data, request_id: 8 })
        const reply = yield* client.next
        assert.deepStrictEqual([reply.request_id, reply.status, reply.data], [8, 400, null])
        assert.isAbove(reply.errors.length, 0)
        for (
          const error of reply.errors as ReadonlyArray<{ readonly code: string; readonly path: ReadonlyArray<string> }>
        ) {
          assert.deepStrictEqual([error.code, error.path[0]], ["invalid", "data"])
        }
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(short(yield* client.next), [7, 200, 10])
      }))
  }

  it.effect("nor a number that JSON cannot say again", () =>
    Effect.gen(function*() {
      const { client } = yield* connect()
      assert.strictEqual((yield* client.ask("{\"action\":\"$cancel\",\"data\":{\"request_id\":1e999}}")).status, 400)
    }))

  const spellings = [
    "{\"action\":\"\\u0024cancel\",\"data\":{\"request_id\":1},\"request_id\":2}",
    "{\"action\":\"$c\\u0061ncel\",\"data\":{\"request_id\":1},\"request_id\":2}",
    "{\"request_id\":2,\"data\":{\"request_id\":1.0},\"\\u0061ction\" : \n \"\\u0024\\u0063ancel\"}",
    "{\"action\":\"work\",\"action\":\"$cancel\",\"data\":{\"request_id\":1},\"route\":\"\",\"request_id\":2}"
  ]
  for (const frame of spellings) {
    it.effect(`works however it is spelt, behind what it is to end: ${frame}`, () =>
      Effect.gen(function*() {
        const { client } = yield* connect()
        yield* client.send(work(1), frame)
        assert.deepStrictEqual(yield* statuses(client, 2), [[1, 499], [2, 200]])
      }))
  }

  it.effect("is an action of the connection, not of a route", () =>
    Effect.gen(function*() {
      const { client } = yield* connect()
      yield* client.send(tail(1), { ...cancel(1), route: "work/" }, { ...cancel(1), route: "?x" })
      assert.deepStrictEqual(yield* statuses(client, 2), [["cancel 1", 404], ["cancel 1", 405]])
    }))

  it.effect("is guarded by no permission", () =>
    Effect.gen(function*() {
      const nobody = Permission.action("nobody", () => Effect.never)
      const { client, trace } = yield* connect({ permission: nobody })
      yield* client.send(work(1), cancel(1), cancel(1))
      assert.deepStrictEqual(yield* statuses(client, 3), [[1, 499], ["cancel 1", 200], ["cancel 1", 404]])
      assert.deepStrictEqual(trace, [])
    }))

  it.effect("works while the server stops, and not after the end", () =>
    Effect.gen(function*() {
      const { client } = yield* connect()
      yield* client.send(work(1, 1000))
      yield* Effect.forkChild(client.session.drain("10 seconds"), { startImmediately: true })
      yield* client.send(cancel(1))
      assert.deepStrictEqual(yield* statuses(client, 2), [[1, 499], ["cancel 1", 200]])
      assert.strictEqual((yield* client.peer.closed).code, 1012)
    }))

  it.effect("works while the connection is decided anew", () =>
    Effect.gen(function*() {
      const answering = yield* Latch.make(true)
      const isOpen = Permission.connection("isOpen", Effect.as(answering.await, true))
      const { client, trace } = yield* connect({ permission: isOpen })
      yield* client.send(work(1), work(2))
      yield* settle
      answering.closeUnsafe()
      yield* Authority.invalidate(Authority.everyone)
      // It is done, and its reply waits.
      yield* TestClock.adjust(10)
      yield* client.silent
      yield* client.send(cancel(1), cancel(2))
      assert.deepStrictEqual(yield* statuses(client, 4), [[1, 499], ["cancel 1", 200], [2, 499], ["cancel 2", 200]])
      yield* answering.open
      yield* settle
      yield* client.silent
      assert.deepStrictEqual(trace, ["start 1", "end 1"])
      yield* client.send(tail(3))
      yield* TestClock.adjust(30)
      assert.deepStrictEqual(yield* statuses(client, 4), [[3, 206], [3, 206], [3, 206], [3, 200]])
    }).pipe(Effect.provide(Authority.layerMemory)))

  it.effect("races with what cannot be interrupted: one answer, whatever was done", () =>
    Effect.gen(function*() {
      const committing = yield* Latch.make(false)
      let commits = 0
      const Ledger = Consumer.make("ledger", { path: "/ws/" }).pipe(Consumer.add(Action.make("commit")))
      const layer = Consumer.handlers(Ledger).pipe(
        Handlers.handle("commit", () =>
          Effect.uninterruptible(Effect.andThen(committing.await, Effect.sync(() => void commits++)))),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Ledger], layer))
      const commit = (id: number) => ({ action: "commit", request_id: id })
      yield* client.send(commit(1), commit(2), cancel(1))
      assert.deepStrictEqual(yield* statuses(client, 2), [[1, 499], ["cancel 1", 200]])
      yield* committing.open
      yield* settle
      yield* client.send(cancel(2), cancel(1))
      assert.deepStrictEqual(yield* statuses(client, 3), [[2, 200], ["cancel 2", 404], ["cancel 1", 404]])
      assert.strictEqual(commits, 2)
      yield* client.silent
    }))
})

describe("what cancels itself", () => {
  const itself = (id: Id) => JSON.stringify(cancel(id))

  for (const action of ["work", "tail"]) {
    it.effect(`${action}, while it begins`, () =>
      Effect.gen(function*() {
        const clients: Array<Client> = []
        const { client, trace } = yield* connect({
          first: (request) => Effect.runSync(clients[0]!.peer.send(itself(request.requestId!)))
        })
        clients.push(client)
        yield* client.send({ action, data: 10, request_id: 1 }, { action: "work", data: 10 })
        assert.deepStrictEqual(yield* statuses(client, 3), [[1, 499], ["cancel 1", 200], ["cancel undefined", 400]])
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(yield* statuses(client, 1), [[undefined, 200]])
        yield* client.silent
        assert.deepStrictEqual(trace.slice(0, 2), ["start 1", "stop 1"])
      }))
  }

  it.effect("where its handler is called, after the object has come", () =>
    Effect.gen(function*() {
      const clients: Array<Client> = []
      let ran = 0
      const About = Consumer.make("about", { path: "/ws/" }).pipe(
        Consumer.add(
          Action.make("act", { success: Schema.Int }).pipe(Action.object(Schema.Int)),
          Action.make("flow", { success: Schema.Int, stream: true }).pipe(Action.object(Schema.Int)),
          Action.make("now", { success: Schema.Int })
        )
      )
      const object = () => Effect.as(Effect.yieldNow, 1)
      const quit = (id: Id | undefined) => Effect.runSync(clients[0]!.peer.send(itself(id!)))
      const layer = Consumer.handlers(About).pipe(
        Handlers.handle("act", {
          object,
          run: ({ object, requestId }) => {
            quit(requestId)
            return Effect.as(Effect.sync(() => ran++), object)
          }
        }),
        Handlers.handle("flow", {
          object,
          run: ({ object, requestId }) => {
            quit(requestId)
            return Stream.fromEffect(Effect.as(Effect.sync(() => ran++), object))
          }
        }),
        Handlers.handle("now", ({ requestId }) => {
          quit(requestId)
          return Effect.succeed(1)
        }),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([About], layer))
      clients.push(client)
      for (const action of ["act", "flow", "now"]) {
        yield* client.send({ action, request_id: action })
        assert.deepStrictEqual(yield* statuses(client, 2), [[action, 499], [`cancel ${action}`, 200]])
        yield* settle
        yield* client.silent
      }
      assert.strictEqual(ran, 0)
    }))

  it.effect("while it sends: no item follows", () =>
    Effect.gen(function*() {
      const clients: Array<Client> = []
      const Quitter = Schema.Int.pipe(Schema.decodeTo(Schema.Int, {
        decode: SchemaGetter.passthrough(),
        encode: SchemaGetter.transform((n: number) => {
          if (n === 2) Effect.runSync(clients[0]!.peer.send(itself(1)))
          return n
        })
      }))
      const Flow = Consumer.make("flow", { path: "/ws/" }).pipe(
        Consumer.add(Action.make("flow", { success: Quitter, stream: true }))
      )
      const layer = Consumer.handlers(Flow).pipe(
        Handlers.handle("flow", () => Stream.range(1, 100)),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Flow], layer))
      clients.push(client)
      yield* client.send({ action: "flow", request_id: 1 })
      assert.deepStrictEqual(yield* statuses(client, 3), [[1, 206], [1, 499], ["cancel 1", 200]])
      yield* settle
      yield* client.silent
    }))

  it.effect("again while it ends", () =>
    Effect.gen(function*() {
      const clients: Array<Client> = []
      const { client } = yield* connect({
        last: Effect.suspend(() => clients[0]!.peer.send(itself(1)))
      })
      clients.push(client)
      yield* client.send(tail(1), tail(1), cancel(1, "first"))
      const replies = yield* statuses(client, 5)
      assert.deepStrictEqual(replies.filter(([id]) => id === 1), [[1, 499], [1, 499]])
      assert.deepStrictEqual(replies.filter(([id, status]) => id === "first" && status === 200).length, 1)
      yield* client.silent
    }))
})

const Step = Schema.Union([
  Schema.Struct({
    _tag: Schema.Literals(["work", "tail"]),
    id: Schema.Literals([1, 2, 3, "1"]),
    millis: Schema.Literals([0, 1, 5])
  }),
  Schema.Struct({ _tag: Schema.Literal("cancel"), id: Schema.Literals([1, 2, 3, "1"]) }),
  Schema.Struct({ _tag: Schema.Literal("wait"), millis: Schema.Literals([1, 4]) }),
  Schema.Struct({ _tag: Schema.Literal("invalidate") })
])

describe("however requests and cancels follow each other", () => {
  it.effect.prop(
    "each has one answer, and nothing follows it",
    {
      steps: Arbitrary.schema(Schema.Array(Step).check(Schema.isMaxLength(25))),
      concurrency: Arbitrary.schema(Schema.Literals([1, 2, "unbounded"])),
      lane: Arbitrary.schema(Schema.Literals([0, 1])),
      slow: Arbitrary.schema(Schema.Boolean)
    },
    ({ concurrency, lane, slow, steps }) =>
      Effect.gen(function*() {
        const isOpen = Permission.connection("isOpen", slow ? Effect.as(Effect.sleep(2), true) : Effect.succeed(true))
        const { client, trace } = yield* connect({
          concurrency,
          permission: isOpen,
          ...(lane === 0 ? {} : { lane })
        })
        let next = 0
        const sent = new Map<string, Id>()
        const ids = (id: Id) => Array.from(sent).filter(([, of]) => of === id).length
        for (const step of steps) {
          switch (step._tag) {
            case "wait":
              yield* TestClock.adjust(step.millis)
              break
            case "invalidate":
              yield* Authority.invalidate(Authority.everyone)
              break
            case "cancel":
              yield* client.send(cancel(step.id, `cancel ${next++}`))
              break
            default:
              sent.set(`${step._tag} ${next++}`, step.id)
              yield* client.send({ action: step._tag, data: step.millis, request_id: step.id })
          }
        }
        yield* TestClock.adjust(10_000)
        yield* settle
        const replies: Array<Reply.Reply> = []
        for (let left = steps.filter(({ _tag }) => _tag !== "wait" && _tag !== "invalidate").length; left > 0;) {
          const reply = yield* client.next
          replies.push(reply)
          if (reply.status !== 206) left--
        }
        yield* client.silent
        for (const id of [1, 2, 3, "1"]) {
          const answers = replies.filter(({ request_id, status }) => request_id === id && status !== 206)
          assert.strictEqual(answers.length, ids(id))
          assert.isTrue(answers.every(({ status }) => status === 200 || status === 499))
        }
        const cancelled = replies.filter(({ status }) => status === 499).length
        const successes = replies.filter(({ action, status }) => action === "$cancel" && status === 200).length
        assert.isAtMost(successes, cancelled)
        assert.isTrue(cancelled === 0 || successes > 0)
        // What has begun has ended.
        const begun = trace.filter((event) => event.startsWith("start")).length
        assert.strictEqual(trace.length, begun * 2)
      }).pipe(Effect.provide(Layer.fresh(Authority.layerMemory)), Effect.scoped),
    { arbitrary: { runs: 150 } }
  )
})
