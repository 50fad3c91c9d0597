import { Action, Consumer, Handlers, type Pipeline, type Reply, Route, Transport } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { type Client, open, serve, settle, soon } from "./support/connection.ts"
import { makeSleeper, Sleep, sleep, sleepFor, type Trace } from "./support/consumers.ts"

const connect = (options?: Parameters<typeof makeSleeper>[0], limits?: Partial<Pipeline.Limits>) => {
  const { consumers, layer, trace } = makeSleeper(options)
  return Effect.map(
    Effect.flatMap(serve(consumers, layer, limits), (pipeline) => open(pipeline)),
    (client) => ({ client, trace })
  )
}

const idsOf = (replies: ReadonlyArray<Reply.Reply>) => replies.map((reply) => reply.request_id)

const statusesOf = (replies: ReadonlyArray<Reply.Reply>) => replies.map((reply) => reply.status)

/** All the frames that there are. */
const takeAll = (client: Client) =>
  Effect.gen(function*() {
    const replies: Array<Reply.Reply> = []
    while (true) {
      const frame = yield* soon(client.peer.take).pipe(Effect.catch(() => Effect.succeed(Option.none())))
      if (Option.isNone(frame)) return replies
      replies.push(JSON.parse(frame.value))
    }
  })

/** How many ran at once, at most. */
const mostAtOnce = (trace: Trace) => {
  let running = 0
  let most = 0
  for (const event of trace) {
    running += event.startsWith("start") ? 1 : -1
    most = Math.max(most, running)
  }
  return most
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)

describe("messages of one connection", () => {
  it.effect("run in order, one at a time", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect()
      yield* client.send(sleepFor("slow", 1000), sleepFor("fast", 1))
      yield* client.send(sleepFor("third", 10), "{", { action: "nope", request_id: "fifth" })
      yield* client.silent
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(idsOf(yield* client.take(1)), ["slow"])
      yield* client.silent
      yield* TestClock.adjust(11)
      assert.deepStrictEqual(idsOf(yield* client.take(4)), ["fast", "third", undefined, "fifth"])
      yield* client.silent
      assert.deepStrictEqual(trace, ["start slow", "end slow", "start fast", "end fast", "start third", "end third"])
    }))

  it.effect("of several connections do not wait for each other", () =>
    Effect.gen(function*() {
      const { consumers, layer } = makeSleeper()
      const pipeline = yield* serve(consumers, layer)
      const one = yield* open(pipeline, "/ws/", "1")
      const two = yield* open(pipeline, "/ws/", "2")
      yield* one.send(sleepFor("one", 1000))
      yield* two.send(sleepFor("two", 1))
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(idsOf(yield* two.take(1)), ["two"])
      yield* one.silent
    }))

  it.effect("run so many at once as their consumer says, and start in order", () =>
    Effect.gen(function*() {
      for (const [concurrency, expected] of [[1, 1], [2, 2], [3, 3], [5, 4], ["unbounded", 4]] as const) {
        const { client, trace } = yield* connect({ consumer: { concurrency } })
        yield* client.send(sleepFor(0, 40), sleepFor(1, 30), sleepFor(2, 20), sleepFor(3, 10))
        for (const _ of numbers(10)) yield* TestClock.adjust(10)
        const replies = yield* client.take(4)
        yield* client.silent
        assert.strictEqual(mostAtOnce(trace), expected, `concurrency ${concurrency}`)
        assert.deepStrictEqual(
          trace.filter((event) => event.startsWith("start")),
          numbers(4).map((id) => `start ${id}`)
        )
        // A reply leaves when its handler has ended.
        assert.deepStrictEqual(
          idsOf(replies).map((id) => `end ${id}`),
          trace.filter((event) => event.startsWith("end"))
        )
        if (concurrency === "unbounded") assert.deepStrictEqual(idsOf(replies), [3, 2, 1, 0])
        if (concurrency === 1) assert.deepStrictEqual(idsOf(replies), [0, 1, 2, 3])
      }
    }))

  const Laned = Consumer.make("laned", { path: "/ws/" }).pipe(
    Consumer.add(
      Action.make("sleep", Sleep),
      Action.make("one", { ...Sleep, concurrency: 1 }),
      Action.make("two", { ...Sleep, concurrency: 2 }),
      Action.make("many", { ...Sleep, concurrency: "unbounded" })
    ),
    Consumer.add(Route.make("route/").pipe(Route.add(Action.make("one", { ...Sleep, concurrency: 1 }))))
  )

  const connectLaned = Effect.fnUntraced(function*(limits?: Partial<Pipeline.Limits>) {
    const trace: Trace = []
    const handler = ({ payload }: { readonly payload: { readonly id: string | number; readonly millis: number } }) =>
      sleep(trace, payload.id, payload.millis)
    const pipeline = yield* serve(
      [Laned],
      Consumer.handlers(Laned).pipe(
        Handlers.handle("sleep", handler),
        Handlers.handle("one", handler),
        Handlers.handle("two", handler),
        Handlers.handle("many", handler),
        Handlers.handle("route/", "one", handler),
        Handlers.toLayer
      ),
      limits
    )
    return { client: yield* open(pipeline), trace }
  })

  const ask = (action: string, id: string | number, millis: number, route?: string) => ({
    ...sleepFor(id, millis),
    action,
    ...(route === undefined ? {} : { route })
  })

  it.effect("leave the line where their action has its own", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connectLaned()
      yield* client.send(
        ask("sleep", "s1", 100),
        ask("sleep", "s2", 100),
        ask("one", "o1", 10),
        ask("one", "o2", 10),
        ask("two", "t1", 10),
        ask("two", "t2", 10),
        ask("two", "t3", 10),
        ask("one", "r1", 10, "route/"),
        ...["m1", "m2", "m3", "m4"].map((id) => ask("many", id, 10)),
        { action: "nope", request_id: "n1" },
        "{}"
      )
      const first = ["s1", "o1", "t1", "t2", "r1", "m1", "m2", "m3", "m4"]
      assert.deepStrictEqual(trace, first.map((id) => `start ${id}`))
      yield* client.silent
      yield* TestClock.adjust(10)
      assert.sameMembers(idsOf(yield* client.take(8)), first.slice(1))
      assert.deepStrictEqual(trace.filter((event) => event.startsWith("start")).slice(first.length), [
        "start o2",
        "start t3"
      ])
      yield* TestClock.adjust(10)
      assert.sameMembers(idsOf(yield* client.take(2)), ["o2", "t3"])
      // What is no request of an action with its own line takes its turn.
      yield* client.silent
      yield* TestClock.adjust(180)
      assert.deepStrictEqual(idsOf(yield* client.take(4)), ["s1", "s2", "n1", undefined])
      yield* client.silent
    }))

  it.effect("have lines of their own on every connection", () =>
    Effect.gen(function*() {
      const { consumers, layer } = makeSleeper({ action: { concurrency: 1 } })
      const pipeline = yield* serve(consumers, layer)
      const one = yield* open(pipeline, "/ws/", "1")
      const two = yield* open(pipeline, "/ws/", "2")
      yield* one.send(sleepFor("one", 1000))
      yield* two.send(sleepFor("two", 1))
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(idsOf(yield* two.take(1)), ["two"])
    }))

  it.effect("are limited over all lines together", () =>
    Effect.gen(function*() {
      const { client } = yield* connectLaned({ maxInFlight: 3 })
      yield* client.send(ask("sleep", 1, 10), ask("one", 2, 10), ask("many", 3, 10), ask("many", 4, 10))
      assert.deepStrictEqual(yield* Effect.map(client.next, ({ request_id, status }) => [request_id, status]), [4, 503])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(statusesOf(yield* client.take(3)), [200, 200, 200])
      yield* client.silent
    }))
})

describe("the limit of messages in flight", () => {
  it.effect("turns away what is beyond it, whole and at once, and recovers", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect({}, { maxInFlight: 3 })
      yield* client.send(...numbers(5).map((id) => sleepFor(id, 10)))
      assert.deepStrictEqual<unknown>(yield* client.next, {
        errors: [{
          detail: "At most 3 requests of a connection are in flight: repeat this one later",
          code: "unavailable"
        }],
        data: null,
        action: "sleep",
        route: "",
        status: 503,
        request_id: 3
      })
      assert.deepInclude(yield* client.next, { status: 503, request_id: 4 })
      yield* client.silent
      assert.deepStrictEqual(yield* Effect.map(client.ask("["), ({ action, status }) => [action, status]), [null, 503])
      // One has been answered: one more is let in.
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(idsOf(yield* client.take(1)), [0])
      yield* client.send(sleepFor(5, 10), sleepFor(6, 10))
      assert.deepInclude(yield* client.next, { status: 503, request_id: 6 })
      yield* TestClock.adjust(30)
      assert.deepStrictEqual(idsOf(yield* client.take(3)), [1, 2, 5])
      yield* client.send(...numbers(3).map((id) => sleepFor(id, 10)))
      yield* TestClock.adjust(30)
      assert.deepStrictEqual(statusesOf(yield* client.take(3)), [200, 200, 200])
      assert.isFalse(trace.some((event) => ["start 3", "start 4", "start 6"].includes(event)))
    }))

  it.effect("recovers from refused, failed and timed out messages", () =>
    Effect.gen(function*() {
      const { client } = yield* connect({ consumer: { timeout: 10 } }, { maxInFlight: 1 })
      const wrong = ["{", {}, { action: "nope" }, { action: "sleep", route: "nope" }, { action: "sleep" }]
      for (const round of numbers(3)) {
        for (const request of wrong) assert.include([400, 404, 405], (yield* client.ask(request)).status)
        yield* client.send(sleepFor(round, 100))
        yield* TestClock.adjust(10)
        assert.deepInclude(yield* client.next, { status: 408, request_id: round })
      }
    }))

  it.effect("does not count what is answered at once", () =>
    Effect.gen(function*() {
      const Sync = Consumer.make("sync", { path: "/ws/" }).pipe(Consumer.add(Action.make("ping")))
      const client = yield* open(
        yield* serve(
          [Sync],
          Consumer.handlers(Sync).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer),
          { maxInFlight: 1 }
        )
      )
      yield* client.send(...numbers(1000).map((id) => ({ action: "ping", request_id: id })))
      const replies = yield* client.take(1000)
      assert.deepStrictEqual(idsOf(replies), numbers(1000))
      assert.isTrue(replies.every(({ status }) => status === 200))
    }))
})

describe("the time of an action", () => {
  it.effect("ends it with 408 when it is over, and not before", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect({ consumer: { timeout: "5 seconds" } })
      yield* client.send(sleepFor("slow", 60_000), sleepFor("next", 4999))
      yield* TestClock.adjust(4999)
      yield* client.silent
      assert.deepStrictEqual(trace, ["start slow"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual<unknown>(yield* client.next, {
        errors: [{ detail: "The action took longer than 5000 ms and was ended", code: "timeout" }],
        data: null,
        action: "sleep",
        route: "",
        status: 408,
        request_id: "slow"
      })
      // Its handler has been interrupted, and the next one runs, for as long as it may take itself.
      assert.deepStrictEqual(trace, ["start slow", "stop slow", "start next"])
      yield* TestClock.adjust(4999)
      assert.deepInclude(yield* client.next, { status: 200, request_id: "next" })
      yield* TestClock.adjust(120_000)
      yield* client.silent
    }))

  it.effect("is the action's own, else the consumer's, else 30 seconds; it may be infinite", () =>
    Effect.gen(function*() {
      const options: ReadonlyArray<readonly [number, NonNullable<Parameters<typeof makeSleeper>[0]>]> = [
        [30_000, {}],
        [2000, { consumer: { timeout: "2 seconds" } }],
        [500, { action: { timeout: 500 } }],
        [500, { action: { timeout: "500 millis" }, consumer: { timeout: "2 seconds" } }],
        [3000, { action: { timeout: "3 seconds" }, consumer: { timeout: 2 } }],
        [1500, { action: { timeout: "1500 millis" }, consumer: { timeout: "Infinity" } }],
        [Infinity, { action: { timeout: Infinity } }],
        [Infinity, { action: { timeout: "Infinity" }, consumer: { timeout: "2 seconds" } }],
        [Infinity, { consumer: { timeout: "Infinity" } }]
      ]
      for (const [millis, option] of options) {
        const { client } = yield* connect(option)
        const week = 7 * 24 * 3600 * 1000
        yield* client.send(sleepFor(1, millis === Infinity ? week : millis + 1))
        yield* TestClock.adjust(Math.min(millis, week) - 1)
        yield* client.silent
        yield* TestClock.adjust(1)
        assert.strictEqual((yield* client.next).status, millis === Infinity ? 200 : 408, JSON.stringify(option))
        yield* client.send(sleepFor(2, Math.min(millis, week) - 1))
        yield* TestClock.adjust(week)
        assert.strictEqual((yield* client.next).status, 200, JSON.stringify(option))
        yield* client.silent
      }
    }))

  it.effect("counts from its start, not from when it was sent", () =>
    Effect.gen(function*() {
      const { client } = yield* connect({ consumer: { timeout: 100 } })
      yield* client.send(...numbers(5).map((id) => sleepFor(id, 90)))
      for (const _ of numbers(45)) yield* TestClock.adjust(10)
      assert.deepStrictEqual(statusesOf(yield* client.take(5)), [200, 200, 200, 200, 200])
    }))

  it.effect("is each message's own, in whatever order they end", () =>
    Effect.gen(function*() {
      const Two = Consumer.make("two", { path: "/ws/", concurrency: "unbounded", timeout: 1000 }).pipe(
        Consumer.add(Action.make("sleep", Sleep), Action.make("brief", { ...Sleep, timeout: 100 }))
      )
      const trace: Trace = []
      const client = yield* open(
        yield* serve(
          [Two],
          Consumer.handlers(Two).pipe(
            Handlers.handle("sleep", ({ payload }) => sleep(trace, payload.id, payload.millis)),
            Handlers.handle("brief", ({ payload }) => sleep(trace, payload.id, payload.millis)),
            Handlers.toLayer
          )
        )
      )
      const arrivals: Array<readonly [number, unknown, number]> = []
      let now = 0
      const go = (millis: number) =>
        Effect.gen(function*() {
          for (const _ of numbers(millis / 10)) {
            yield* TestClock.adjust(10)
            now += 10
            for (const { request_id, status } of yield* takeAll(client)) arrivals.push([now, request_id, status])
          }
        })
      const brief = (id: string, millis: number) => ({ ...sleepFor(id, millis), action: "brief" })
      yield* client.send(sleepFor("a", 5000), brief("b", 5000), sleepFor("c", 50))
      yield* go(50)
      yield* client.send(brief("d", 5000), sleepFor("e", 5000), brief("f", 90))
      yield* go(1100)
      assert.deepStrictEqual(arrivals, [
        [50, "c", 200],
        [100, "b", 408],
        [140, "f", 200],
        [150, "d", 408],
        [1000, "a", 408],
        [1050, "e", 408]
      ])
      assert.sameMembers(trace.filter((event) => event.startsWith("stop")), ["stop a", "stop b", "stop d", "stop e"])
    }))

  it.effect("gives one reply to a handler that cannot be interrupted, and holds its place until it has ended", () =>
    Effect.gen(function*() {
      const Stubborn = Consumer.make("stubborn", { path: "/ws/", timeout: 100 }).pipe(
        Consumer.add(Action.make("sleep", Sleep), Action.make("stubborn", Sleep))
      )
      const trace: Trace = []
      const client = yield* open(
        yield* serve(
          [Stubborn],
          Consumer.handlers(Stubborn).pipe(
            Handlers.handle("sleep", ({ payload }) => sleep(trace, payload.id, payload.millis)),
            Handlers.handle(
              "stubborn",
              ({ payload }) => Effect.uninterruptible(sleep(trace, payload.id, payload.millis))
            ),
            Handlers.toLayer
          ),
          { maxInFlight: 2 }
        )
      )
      yield* client.send({ ...sleepFor("stubborn", 1000), action: "stubborn" }, sleepFor("next", 10))
      yield* TestClock.adjust(100)
      assert.deepInclude(yield* client.next, { status: 408, request_id: "stubborn" })
      assert.deepStrictEqual(trace, ["start stubborn"])
      assert.strictEqual((yield* client.ask(sleepFor("beyond", 1))).status, 503)
      yield* TestClock.adjust(899)
      yield* client.silent
      yield* TestClock.adjust(11)
      assert.deepInclude(yield* client.next, { status: 200, request_id: "next" })
      yield* client.silent
      assert.deepStrictEqual(trace, ["start stubborn", "end stubborn", "start next", "end next"])
    }))

  it.effect("is over for one that ends in the same instant, or is not: one reply", () =>
    Effect.gen(function*() {
      const { client } = yield* connect({ consumer: { timeout: 100 } })
      for (const id of numbers(5)) {
        yield* client.send(sleepFor(id, 100))
        yield* TestClock.adjust(100)
        const reply = yield* client.next
        assert.include([200, 408], reply.status)
        assert.strictEqual(reply.request_id, id)
        yield* client.silent
      }
    }))
})

describe("a thousand messages in one batch", () => {
  const Mixed = Consumer.make("mixed", { path: "/ws/" }).pipe(
    Consumer.add(Action.make("sync", { payload: Schema.Int, success: Schema.Int })),
    Consumer.add(Action.make("async", { payload: Schema.Int, success: Schema.Int }))
  )
  const connectMixed = (limits?: Partial<Pipeline.Limits>) =>
    Effect.flatMap(
      serve(
        [Mixed],
        Consumer.handlers(Mixed).pipe(
          Handlers.handle("sync", ({ payload }) => Effect.succeed(payload)),
          Handlers.handle("async", ({ payload }) => Effect.as(Effect.yieldNow, payload)),
          Handlers.toLayer
        ),
        limits
      ),
      (pipeline) => open(pipeline)
    )

  for (
    const [name, actionOf] of [
      ["answered at once", () => "sync"],
      ["that take turns", () => "async"],
      ["of both kinds", (i: number) => i % 3 === 0 ? "async" : "sync"]
    ] as const
  ) {
    it.effect(`${name} have a thousand replies, in order`, () =>
      Effect.gen(function*() {
        const client = yield* connectMixed({ maxInFlight: 1000 })
        yield* client.send(...numbers(1000).map((i) => ({ action: actionOf(i), data: i, request_id: i })))
        const replies = yield* client.take(1000)
        assert.deepStrictEqual(idsOf(replies), numbers(1000))
        assert.deepStrictEqual(replies.map(({ data }) => data), numbers(1000))
        yield* client.silent
      }))
  }

  it.effect("have a thousand replies when there are more than may be in flight", () =>
    Effect.gen(function*() {
      const client = yield* connectMixed()
      yield* client.send(...numbers(1000).map((i) => ({ action: "async", data: i, request_id: i })))
      const replies = yield* client.take(1000)
      assert.sameMembers(idsOf(replies), numbers(1000))
      const answered = replies.filter(({ status }) => status === 200)
      assert.deepStrictEqual(idsOf(answered), numbers(128))
      assert.strictEqual(replies.filter(({ status }) => status === 503).length, 872)
      yield* client.silent
    }))
})

describe("a client that reads slowly", () => {
  /** Replies of 100 characters, and a record of what started and of how the transport was spoken to. */
  const connectSlow = Effect.fnUntraced(
    function*(limits: Partial<Pipeline.Limits>, concurrency: Action.Concurrency = 1, lane?: Action.Concurrency) {
      const started: Array<number> = []
      const calls: Array<string> = []
      const Fat = Consumer.make("fat", { path: "/ws/", concurrency }).pipe(
        Consumer.add(
          Action.make("fat", { payload: Schema.Int, success: Schema.String }),
          Action.make("later", { payload: Schema.Int, success: Schema.String, concurrency: lane })
        )
      )
      const paddingOf = (request: { readonly action: string; readonly payload: number }) => {
        started.push(request.payload)
        const envelope = JSON.stringify({
          errors: [],
          data: "",
          action: request.action,
          route: "",
          status: 200,
          request_id: request.payload
        })
        return "x".repeat(100 - envelope.length)
      }
      const pipeline = yield* serve(
        [Fat],
        Consumer.handlers(Fat).pipe(
          Handlers.handle("fat", (request) => Effect.succeed(paddingOf(request))),
          Handlers.handle("later", (request) => Effect.suspend(() => Effect.as(Effect.yieldNow, paddingOf(request)))),
          Handlers.toLayer
        ),
        limits
      )
      const session = yield* pipeline.connect({ id: "1", url: "/ws/" })
      const [memory, peer] = yield* Transport.makeMemory
      const transport: Transport.Transport = {
        ...memory,
        pause: () => {
          calls.push("pause")
          memory.pause()
        },
        resume: () => {
          calls.push("resume")
          memory.resume()
        }
      }
      const fiber = yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      const send = (action: string, ...ids: ReadonlyArray<number>) =>
        peer.send(...ids.map((id) => JSON.stringify({ action, data: id, request_id: id })))
      const take = Effect.gen(function*() {
        const ids: Array<unknown> = []
        while (true) {
          const frame = yield* soon(peer.take)
          if (Option.isNone(frame)) return ids
          assert.strictEqual(frame.value.length, 100)
          ids.push(JSON.parse(frame.value).request_id)
        }
      })
      return { calls, fiber, peer, send, started, take, transport }
    }
  )

  for (const action of ["fat", "later"]) {
    it.effect(`is neither read nor served until it has caught up (${action})`, () =>
      Effect.gen(function*() {
        const { calls, peer, send, started, take, transport } = yield* connectSlow({ maxUnsent: 250 })
        yield* send(action, ...numbers(10))
        yield* settle
        // The third reply goes beyond the limit, and nothing is started after it.
        assert.deepStrictEqual(started, [0, 1, 2])
        assert.deepStrictEqual(calls, ["pause"])
        assert.strictEqual(transport.unsent(), 300)
        for (let id = 10; id < 100; id += 5) yield* send(action, ...numbers(5).map((i) => id + i))
        yield* settle
        assert.deepStrictEqual(started, [0, 1, 2])
        // Not before all has left.
        yield* peer.take
        yield* peer.take
        yield* settle
        assert.deepStrictEqual(started, [0, 1, 2])
        yield* peer.take
        yield* settle
        assert.deepStrictEqual(started, [0, 1, 2, 3, 4, 5])
        assert.strictEqual(calls.at(-1), "pause")
        const rest = yield* take
        assert.deepStrictEqual(rest, numbers(100).slice(3))
        assert.deepStrictEqual(started, numbers(100))
        assert.strictEqual(calls.at(-1), "resume")
        assert.strictEqual(transport.unsent(), 0)
      }))
  }

  it.effect("is served as usual as long as what is unsent does not go beyond the limit", () =>
    Effect.gen(function*() {
      const { calls, send, started, take, transport } = yield* connectSlow({ maxUnsent: 300 })
      yield* send("fat", 0, 1, 2)
      assert.strictEqual(transport.unsent(), 300)
      assert.deepStrictEqual(calls, [])
      assert.deepStrictEqual(yield* take, [0, 1, 2])
      yield* send("fat", 3, 4, 5, 6)
      assert.deepStrictEqual(calls, ["pause"])
      assert.deepStrictEqual(yield* take, [3, 4, 5, 6])
      assert.deepStrictEqual(calls, ["pause", "resume"])
      assert.deepStrictEqual(started, numbers(7))
    }))

  it.effect("gets what is in flight, in every line, and then the rest", () =>
    Effect.gen(function*() {
      const { send, started, take } = yield* connectSlow({ maxUnsent: 150 }, 2, 3)
      yield* send("later", ...numbers(10))
      yield* send("fat", ...numbers(10).map((i) => 10 + i))
      yield* settle
      assert.isBelow(started.length, 20)
      const ids = yield* take
      assert.sameMembers(ids, numbers(20))
      assert.strictEqual(ids.length, 20)
      assert.deepStrictEqual(started.toSorted((a, b) => a - b), numbers(20))
    }))

  it.effect("that goes away leaves nothing that runs or is started", () =>
    Effect.gen(function*() {
      const { fiber, peer, send, started } = yield* connectSlow({ maxUnsent: 150 })
      yield* send("later", ...numbers(10))
      yield* settle
      assert.deepStrictEqual(started, [0, 1])
      yield* peer.close(1001)
      assert.deepStrictEqual(yield* Fiber.join(fiber), { code: 1001, reason: "" })
      yield* settle
      assert.deepStrictEqual(started, [0, 1])
    }))

  const Pace = Schema.Array(Schema.Struct({
    action: Schema.Literals(["fat", "later"]),
    burst: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8 })),
    reads: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8 })),
    waits: Schema.Boolean
  })).check(Schema.isMaxLength(12))

  it.effect.prop(
    "loses nothing at whatever pace it sends and reads",
    { pace: Pace, concurrency: Schema.Literals([1, 2, 7]), lane: Schema.Literals([0, 1, 3]) },
    ({ concurrency, lane, pace }) =>
      Effect.gen(function*() {
        const { peer, send, started, take } = yield* connectSlow(
          { maxUnsent: 250, maxInFlight: 200 },
          concurrency,
          lane === 0 ? undefined : lane
        )
        let next = 0
        const ids: Array<unknown> = []
        for (const { action, burst, reads, waits } of pace) {
          yield* send(action, ...numbers(burst).map((i) => next + i))
          next += burst
          if (waits) yield* settle
          for (const _ of numbers(reads)) {
            const frame = yield* soon(peer.take)
            if (Option.isSome(frame)) ids.push(JSON.parse(frame.value).request_id)
          }
        }
        ids.push(...yield* take)
        if (concurrency === 1 && lane === 0) assert.deepStrictEqual(ids, numbers(next))
        assert.deepStrictEqual(started.toSorted((a, b) => a - b), numbers(next))
        assert.deepStrictEqual((ids as Array<number>).toSorted((a, b) => a - b), numbers(next))
      }),
    { arbitrary: { runs: 60 } }
  )
})

describe("any interleaving", () => {
  const Steps = Arbitrary.array(
    Arbitrary.schema(Schema.Union([
      Schema.Struct({
        _tag: Schema.tag("send"),
        // Never as long as the timeout, so that who wins is certain.
        millis: Schema.Literals([0, 0, 10, 20, 50, 90, 110, 500]),
        kind: Schema.Literals(["sleep", "sleep", "sleep", "nope", "wrong"]),
        count: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 }))
      }),
      Schema.Struct({ _tag: Schema.tag("wait"), millis: Schema.Literals([1, 10, 30, 100, 200]) }),
      Schema.Struct({ _tag: Schema.tag("read") })
    ])),
    { maxLength: 20 }
  )

  it.effect.prop(
    "of messages of all durations gives each request exactly one reply, its own",
    {
      steps: Steps,
      concurrency: Arbitrary.schema(Schema.Literals([1, 2, 5, "unbounded"])),
      lane: Arbitrary.schema(Schema.Literals([0, 1, 3])),
      maxInFlight: Arbitrary.schema(Schema.Literals([4, 1000]))
    },
    ({ concurrency, lane, maxInFlight, steps }) =>
      Effect.gen(function*() {
        const { client, trace } = yield* connect({
          consumer: { concurrency, timeout: 100 },
          action: lane === 0 ? {} : { concurrency: lane }
        }, { maxInFlight })
        const sent: Array<{ readonly kind: string; readonly millis: number }> = []
        const replies: Array<Reply.Reply> = []
        for (const step of steps) {
          if (step._tag === "wait") yield* TestClock.adjust(step.millis)
          else if (step._tag === "read") replies.push(...yield* takeAll(client))
          else {
            const requests = numbers(step.count).map((i) => {
              const { action, data, request_id } = sleepFor(sent.length + i, step.millis)
              return step.kind === "nope"
                ? { action: "nope", request_id }
                : step.kind === "wrong"
                ? { action, request_id }
                : { action, data, request_id }
            })
            sent.push(...requests.map(() => step))
            yield* client.send(...requests)
          }
        }
        for (const _ of numbers(100)) yield* TestClock.adjust(100)
        replies.push(...yield* takeAll(client))
        assert.sameMembers(idsOf(replies), numbers(sent.length))
        assert.strictEqual(replies.length, sent.length)
        for (const { data, errors, request_id, status } of replies) {
          const { kind, millis } = sent[request_id as number]!
          if (status === 503) {
            assert.strictEqual(maxInFlight, 4)
            assert.isFalse(trace.includes(`start ${request_id}`))
          } else if (kind !== "sleep") assert.strictEqual(status, kind === "nope" ? 405 : 400)
          else {
            assert.strictEqual(status, millis < 100 ? 200 : 408, JSON.stringify(errors))
            assert.strictEqual(data, millis < 100 ? request_id : null)
            const events = trace.filter((event) => event.endsWith(` ${request_id}`))
            assert.deepStrictEqual(events, [`start ${request_id}`, `${millis < 100 ? "end" : "stop"} ${request_id}`])
          }
        }
        if (concurrency === 1 && lane === 0) {
          const served = idsOf(replies.filter(({ status }) => status !== 503)) as Array<number>
          assert.deepStrictEqual(served, served.toSorted((a, b) => a - b))
        }
        const limit = lane === 0 ? concurrency : lane
        if (limit !== "unbounded") assert.isAtMost(mostAtOnce(trace), limit)
      }),
    { arbitrary: { runs: 100 } }
  )
})
