import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  Consumer,
  Credentials,
  Event,
  Group,
  Handlers,
  Permission,
  type Pipeline,
  type Reply,
  Route,
  Scheme,
  Settings,
  Transport
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type * as compile from "../src/internal/compile.ts"
import { insideOf } from "../src/internal/streaming.ts"
import { open, serve, settle, withLogs } from "./support/connection.ts"
import { NotThere } from "./support/consumers.ts"

type Source = (
  request: Handlers.Request<number | undefined>
) => Stream.Stream<number, NotThere | ChannelError.Undeclared, Scope.Scope>
type ActionOptions = Pick<NonNullable<Parameters<typeof Action.make>[1]>, "concurrency" | "timeout" | "status">
type Request = Readonly<Record<string, unknown>>

const ask = (id: number | string, data?: number): Request => ({
  action: "tail",
  ...(data === undefined ? {} : { data }),
  request_id: id
})
const ping = (id: number | string) => ({ action: "ping", request_id: id })
const cancel = (id: number | string) => ({ action: "$cancel", data: { request_id: id }, request_id: `cancel ${id}` })

/** A connection to a consumer with the streaming action "tail", which gives numbers, and the ordinary one "ping". */
const connect = Effect.fnUntraced(function*(
  source: Source,
  options: { readonly action?: ActionOptions; readonly limits?: Partial<Pipeline.Limits>; readonly timeout?: number } =
    {}
) {
  const Tail = Consumer.make("tail", { path: "/ws/", timeout: options.timeout }).pipe(
    Consumer.add(
      Action.make("tail", {
        payload: Schema.optionalKey(Schema.Int),
        success: Schema.Int,
        error: NotThere,
        stream: true,
        ...options.action
      }),
      Action.make("ping", { success: Schema.String })
    )
  )
  const layer = Consumer.handlers(Tail).pipe(
    Handlers.handle("tail", source),
    Handlers.handle("ping", () => Effect.succeed("pong")),
    Handlers.toLayer
  )
  const pipeline = yield* serve([Tail], layer, options.limits)
  return { pipeline, client: yield* open(pipeline) }
})

const short = ({ data, request_id, status }: Reply.Reply) => [request_id, status, data]
const codeOf = ({ errors }: Reply.Reply) => (errors[0] as { readonly code: string } | undefined)?.code

/** A stream of what is put into it, with what became of it. */
const makeSource = Effect.gen(function*() {
  const queue = yield* Queue.unbounded<number, NotThere | Cause.Done>()
  const trace: Array<string> = []
  const stream = Stream.fromQueue(queue).pipe(
    Stream.tap((n) => Effect.sync(() => trace.push(`pull ${n}`))),
    Stream.onExit((exit) => Effect.sync(() => trace.push(Exit.isSuccess(exit) ? "end" : "stop")))
  )
  return { queue, trace, stream, put: (...items: ReadonlyArray<number>) => Queue.offerAllUnsafe(queue, items) }
})

/** A stream that never ends by itself, and counts how often it was pulled. */
const makeCounter = (size = 1) => {
  const counter = { pulled: 0, acquired: 0, released: 0, stream: Stream.empty as Stream.Stream<number> }
  counter.stream = Stream.unwrap(Effect.acquireRelease(
    Effect.sync(() => {
      counter.acquired++
      return Stream.fromEffectRepeat(Effect.sync(() => counter.pulled++)).pipe(Stream.rechunk(size))
    }),
    () => Effect.sync(() => counter.released++)
  ))
  return counter
}

describe("on the wire", () => {
  it.effect("each item is a reply with 206, the end one with the action's status and no data", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(() => Stream.make(1, 2))
      yield* client.send({ action: "tail", request_id: "a\"b", route: "?x=1" })
      assert.deepStrictEqual(yield* Effect.replicateEffect(client.nextText, 3), [
        "{\"errors\":[],\"data\":1,\"action\":\"tail\",\"route\":\"?x=1\",\"status\":206,\"request_id\":\"a\\\"b\"}",
        "{\"errors\":[],\"data\":2,\"action\":\"tail\",\"route\":\"?x=1\",\"status\":206,\"request_id\":\"a\\\"b\"}",
        "{\"errors\":[],\"data\":null,\"action\":\"tail\",\"route\":\"?x=1\",\"status\":200,\"request_id\":\"a\\\"b\"}"
      ])
      yield* client.silent
    }))

  it.effect("clients that send no ids are answered without", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(() => Stream.make(1), { action: { status: 202 } })
      yield* client.send({ action: "tail" })
      assert.deepStrictEqual(yield* Effect.replicateEffect(client.nextText, 2), [
        "{\"errors\":[],\"data\":1,\"action\":\"tail\",\"route\":\"\",\"status\":206}",
        "{\"errors\":[],\"data\":null,\"action\":\"tail\",\"route\":\"\",\"status\":202}"
      ])
    }))

  it.effect("a stream without items has an end", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(() => Stream.empty)
      assert.deepStrictEqual(short(yield* client.ask(ask(1))), [1, 200, null])
      yield* client.silent
    }))

  it.effect("items are in their JSON form; those of nothing are null", () =>
    Effect.gen(function*() {
      const Odd = Consumer.make("odd", { path: "/ws/" }).pipe(
        Consumer.add(
          Action.make("dates", { success: Schema.Date, stream: true }),
          Action.make("ticks", { stream: true })
        )
      )
      const layer = Consumer.handlers(Odd).pipe(
        Handlers.handle("dates", () => Stream.make(new Date(0))),
        Handlers.handle("ticks", () => Stream.make(undefined, undefined)),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Odd], layer))
      yield* client.send({ action: "dates" }, { action: "ticks" })
      assert.deepStrictEqual((yield* client.take(5)).map(({ data, status }) => [data, status]), [
        ["1970-01-01T00:00:00.000Z", 206],
        [null, 200],
        [null, 206],
        [null, 206],
        [null, 200]
      ])
    }))

  it.effect("items whose schema takes its time come in order", () =>
    Effect.gen(function*() {
      const Slow = Schema.Int.pipe(Schema.decodeTo(Schema.Int, {
        decode: SchemaGetter.passthrough(),
        encode: SchemaGetter.transformEffect((n: number) => Effect.as(Effect.sleep(n), n * 10))
      }))
      const Slowly = Consumer.make("slowly", { path: "/ws/" }).pipe(
        Consumer.add(Action.make("count", { success: Slow, stream: true }))
      )
      const layer = Consumer.handlers(Slowly).pipe(
        Handlers.handle("count", () => Stream.make(3, 2, 1)),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Slowly], layer))
      yield* client.send({ action: "count" })
      yield* client.silent
      yield* TestClock.adjust(6)
      assert.deepStrictEqual((yield* client.take(4)).map(({ data }) => data), [30, 20, 10, null])
    }))
})

describe("failures", () => {
  it.effect("declared and undeclared ones have their status, after the items before them", () =>
    Effect.gen(function*() {
      const failing: Source = ({ payload }) =>
        Stream.concat(
          Stream.make(1),
          Stream.fail(payload === 1 ? new NotThere({ id: 7 }) : new ChannelError.NotAuthenticated())
        )
      const { client } = yield* connect(failing)
      yield* client.send(ask(1, 1), ask(2, 2), ping(3))
      const replies = yield* client.take(5)
      assert.deepStrictEqual(replies.map(short), [
        [1, 206, 1],
        [1, 404, null],
        [2, 206, 1],
        [2, 403, null],
        [3, 200, "pong"]
      ])
      assert.deepStrictEqual(replies[1]!.errors, [
        { detail: "NotThere", code: "NotThere", error: { _tag: "NotThere", id: 7 } }
      ])
      yield* client.silent
    }))

  const broken: Readonly<Record<string, Source>> = {
    "one that dies": () => Stream.concat(Stream.make(1), Stream.die("secret")),
    "one that throws": () =>
      Stream.concat(
        Stream.make(1),
        Stream.map(Stream.make(1), () => {
          throw new Error("secret")
        })
      ),
    "one that interrupts itself": () => Stream.concat(Stream.make(1), Stream.fromEffect(Effect.interrupt)),
    "an item that does not fit": () => Stream.make(1, 1.5, 2)
  }
  for (const [name, source] of Object.entries(broken)) {
    it.effect(`${name} ends with 500, is logged and released`, () =>
      withLogs((logs) =>
        Effect.gen(function*() {
          let released = 0
          const { client } = yield* connect((request) =>
            Stream.ensuring(source(request), Effect.sync(() => released++))
          )
          yield* client.send(ask(1), ping(2))
          assert.deepStrictEqual((yield* client.take(3)).map(short), [[1, 206, 1], [1, 500, null], [2, 200, "pong"]])
          yield* client.silent
          assert.strictEqual(released, 1)
          assert.deepStrictEqual(
            logs.filter(({ level }) => level === "Error").map(({ message }) => message),
            ["The action \"tail\" of \"tail\" broke"]
          )
        })
      ))
  }

  it.effect("an error is the stream's own: one of its item is a defect", () =>
    Effect.gen(function*() {
      const Any = Schema.Struct({ _tag: Schema.String }).annotate({ httpApiStatus: 418 })
      const Loose = Consumer.make("loose", { path: "/ws/" }).pipe(
        Consumer.add(
          Action.make("tail", { payload: Schema.Int, success: Schema.Int, error: Any, stream: true })
        )
      )
      const layer = Consumer.handlers(Loose).pipe(
        Handlers.handle("tail", ({ payload }) => payload === 1 ? Stream.fail({ _tag: "Teapot" }) : Stream.make(1.5)),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Loose], layer))
      yield* client.send(ask(1, 1), ask(2, 2))
      assert.deepStrictEqual((yield* client.take(2)).map(short), [[1, 418, null], [2, 500, null]])
    }))

  it.effect("a handler that throws, or gives no stream, ends with 500", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(({ payload }) => {
        if (payload === 1) throw new Error("secret")
        return Effect.succeed(1) as never
      })
      yield* client.send(ask(1, 1), ask(2, 2))
      const replies = yield* client.take(2)
      assert.deepStrictEqual(replies.map(short), [[1, 500, null], [2, 500, null]])
      assert.notInclude(JSON.stringify(replies), "secret")
    }))

  it.effect("an ordinary handler that gives a stream ends with 500", () =>
    Effect.gen(function*() {
      const Ordinary = Consumer.make("ordinary", { path: "/ws/" }).pipe(Consumer.add(Action.make("act")))
      const layer = Consumer.handlers(Ordinary).pipe(
        Handlers.handle("act", () => Stream.make(1) as never),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Ordinary], layer))
      assert.strictEqual((yield* client.ask({ action: "act" })).status, 500)
    }))
})

describe("beside other messages", () => {
  it.effect("streams interleave, and messages after them are handled", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(({ payload }) =>
        Stream.make(1, 2).pipe(Stream.mapEffect((n) => Effect.as(Effect.sleep(payload!), n)))
      )
      yield* client.send(ask("slow", 10), ask("fast", 6), ping("x"))
      assert.deepStrictEqual(short(yield* client.next), ["x", 200, "pong"])
      yield* TestClock.adjust(20)
      assert.deepStrictEqual((yield* client.take(6)).map(short), [
        ["fast", 206, 1],
        ["slow", 206, 1],
        ["fast", 206, 2],
        ["fast", 200, null],
        ["slow", 206, 2],
        ["slow", 200, null]
      ])
    }))

  it.effect("one that begins later lets those behind it go on", () =>
    Effect.gen(function*() {
      const Later = Consumer.make("later", { path: "/ws/" }).pipe(
        Consumer.add(
          Action.make("tail", { success: Schema.Int, stream: true }).pipe(Action.object(Schema.Int)),
          Action.make("ping", { success: Schema.String })
        )
      )
      const layer = Consumer.handlers(Later).pipe(
        Handlers.handle("tail", {
          object: () => Effect.as(Effect.sleep(10), 5),
          run: ({ object }) => Stream.concat(Stream.make(object), Stream.never)
        }),
        Handlers.handle("ping", () => Effect.succeed("pong")),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Later], layer))
      yield* client.send(ask(1), ping(2))
      yield* client.silent
      yield* TestClock.adjust(10)
      assert.deepStrictEqual((yield* client.take(2)).map(short), [[1, 206, 5], [2, 200, "pong"]])
    }))

  it.effect("one that has ended leaves the line as it was", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const Later = Consumer.make("later", { path: "/ws/" }).pipe(
        Consumer.add(
          Action.make("tail", { success: Schema.Int, stream: true }).pipe(Action.object(Schema.Int)),
          Action.make("sleep")
        )
      )
      const layer = Consumer.handlers(Later).pipe(
        Handlers.handle("tail", {
          object: () => Effect.as(Effect.sleep(10), 5),
          run: ({ object }) => Stream.fromEffect(Effect.as(Effect.sleep(10), object))
        }),
        Handlers.handle("sleep", () => Effect.andThen(Effect.sync(() => trace.push("start")), Effect.sleep(10))),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Later], layer))
      yield* client.send(ask(1))
      yield* TestClock.adjust(20)
      assert.deepStrictEqual((yield* client.take(2)).map(short), [[1, 206, 5], [1, 200, null]])
      yield* client.send({ action: "sleep" }, { action: "sleep" }, { action: "sleep" })
      yield* settle
      assert.deepStrictEqual(trace, ["start"])
    }))

  it.effect("one with a line of its own stays in it", () =>
    Effect.gen(function*() {
      const { put, queue, stream } = yield* makeSource
      const { client } = yield* connect(({ payload }) => payload === 1 ? stream : Stream.make(9), {
        action: { concurrency: 1 }
      })
      yield* client.send(ask(1, 1), ask(2, 2), ping(3))
      assert.deepStrictEqual(short(yield* client.next), [3, 200, "pong"])
      put(4)
      assert.deepStrictEqual(short(yield* client.next), [1, 206, 4])
      yield* client.silent
      yield* Queue.end(queue)
      assert.deepStrictEqual((yield* client.take(3)).map(short), [[1, 200, null], [2, 206, 9], [2, 200, null]])
    }))

  it.effect("counts as in flight to its end", () =>
    Effect.gen(function*() {
      const { put, queue, stream } = yield* makeSource
      const { client } = yield* connect(() => stream, { limits: { maxInFlight: 1 } })
      yield* client.send(ask(1), ping(2))
      assert.deepStrictEqual(short(yield* client.next), [2, 503, null])
      put(4)
      assert.deepStrictEqual(short(yield* client.next), [1, 206, 4])
      assert.deepStrictEqual(short(yield* client.ask(ping(3))), [3, 503, null])
      yield* Queue.end(queue)
      assert.deepStrictEqual(short(yield* client.next), [1, 200, null])
      assert.deepStrictEqual(short(yield* client.ask(ping(4))), [4, 200, "pong"])
    }))

  it.effect("has its timeout before it begins, then none", () =>
    Effect.gen(function*() {
      const Timed = Consumer.make("timed", { path: "/ws/", timeout: 10 }).pipe(
        Consumer.add(
          Action.make("tail", { payload: Schema.Int, success: Schema.Int, stream: true }).pipe(
            Action.object(Schema.Int)
          )
        )
      )
      const layer = Consumer.handlers(Timed).pipe(
        Handlers.handle("tail", {
          object: ({ payload }) => Effect.as(Effect.sleep(payload), payload),
          run: ({ object }) => Stream.fromEffect(Effect.as(Effect.sleep(1000), object))
        }),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Timed], layer))
      yield* client.send(ask(1, 5))
      yield* TestClock.adjust(5)
      yield* client.send(ask(2, 20))
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(short(yield* client.next), [2, 408, null])
      yield* TestClock.adjust(990)
      assert.deepStrictEqual((yield* client.take(2)).map(short), [[1, 206, 5], [1, 200, null]])
    }))

  it.effect("one that begins at once has none either", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(() => Stream.fromEffect(Effect.as(Effect.sleep(1000), 1)), { timeout: 10 })
      yield* client.send(ask(1))
      yield* TestClock.adjust(999)
      yield* client.silent
      yield* TestClock.adjust(1)
      assert.deepStrictEqual((yield* client.take(2)).map(short), [[1, 206, 1], [1, 200, null]])
    }))
})

describe("an action on an object", () => {
  class CurrentUser extends Authentication.Service<CurrentUser, string>()("test/CurrentUser") {}
  const isOwner = Permission.object<string>()(
    "isOwner",
    ({ object }) => CurrentUser.use((name) => name === object)
  )
  const Files = Consumer.make("files", { path: "/ws/" }).pipe(
    Consumer.add(
      Route.make("files/:owner/").pipe(Route.add(
        Action.make("tail", { success: Schema.String, error: NotThere, stream: true }).pipe(
          Action.object(Schema.String),
          Action.permit(isOwner)
        )
      ))
    )
  )

  it.effect("is permitted before its stream begins", () =>
    Effect.gen(function*() {
      let begun = 0
      const layer = Consumer.handlers(Files).pipe(
        Handlers.handle("files/:owner/", "tail", {
          object: ({ params }) =>
            params.owner === "nobody" ? Effect.fail(new NotThere({ id: 1 })) : Effect.succeed(params.owner),
          run: ({ object }) => {
            begun++
            return Stream.make(`${object} 1`, `${object} 2`)
          }
        }),
        Handlers.toLayer,
        Layer.provide(Testing.layerAuthentication(CurrentUser))
      )
      yield* Effect.provide(
        Effect.gen(function*() {
          const alice = yield* Testing.connect(Files, { as: Testing.as(CurrentUser, "alice") })
          const tail = (owner: string) => alice.stream("files/:owner/", "tail", { params: { owner } })
          assert.deepStrictEqual(yield* Stream.runCollect(tail("alice")), ["alice 1", "alice 2"])
          const denied = yield* Effect.flip(Stream.runCollect(tail("bob")))
          assert.instanceOf(denied, Testing.Refused)
          yield* Testing.expectDenied(denied, isOwner)
          assert.strictEqual(denied.status, 403)
          const missing = yield* Effect.flip(Stream.runCollect(tail("nobody")))
          assert.strictEqual((missing as Testing.Refused).status, 404)
          assert.strictEqual(begun, 1)
        }),
        layer
      )
    }))
})

describe("a client that does not read", () => {
  const limits = { maxUnsent: 2000 }
  // A reply of about 80 characters; the window is half of what may wait.
  const fits = 1000 / 60

  for (const size of [1, 7, 10_000]) {
    it.effect(`holds back its streams, in chunks of ${size}`, () =>
      Effect.gen(function*() {
        const counter = makeCounter(size)
        const source = Stream.take(counter.stream, 10_000)
        const { client, pipeline } = yield* connect(() => source, { limits })
        yield* client.send(ask(1))
        yield* settle
        assert.isAtMost(counter.pulled, Math.max(fits + size, size))
        assert.isAtLeast(counter.pulled, 5)
        const before = counter.pulled
        yield* settle
        assert.strictEqual(counter.pulled, before)
        // Other messages of the connection, and other connections, go on.
        yield* client.send(ping(2))
        const other = yield* open(pipeline, "/ws/", "2")
        assert.deepStrictEqual(short(yield* other.ask(ping(1))), [1, 200, "pong"])
        const items: Array<unknown> = []
        let pongs = 0
        while (true) {
          const reply = yield* client.next
          if (reply.request_id === 2) pongs++
          else if (reply.status === 206) items.push(reply.data)
          else {
            assert.deepStrictEqual(short(reply), [1, 200, null])
            break
          }
        }
        assert.strictEqual(pongs, 1)
        assert.deepStrictEqual(items, Array.from({ length: 10_000 }, (_, i) => i))
        assert.strictEqual(counter.released, 1)
        yield* client.silent
      }))
  }

  it.effect("has no more unsent than a window and an item, however many streams there are", () =>
    Effect.gen(function*() {
      const unsent: Array<number> = []
      const [memory, peer] = yield* Transport.makeMemory
      const transport: Transport.Transport = {
        ...memory,
        send: (frame) => {
          memory.send(frame)
          unsent.push(memory.unsent())
        }
      }
      const { pipeline } = yield* connect(() => makeCounter(3).stream, { limits })
      const session = yield* pipeline.connect({ id: "2", url: "/ws/" })
      yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      yield* peer.send(...Array.from({ length: 20 }, (_, i) => JSON.stringify(ask(i))))
      yield* settle
      const counts = new Map<unknown, number>()
      for (let i = 0; i < 2000; i++) {
        const { request_id: id } = JSON.parse(yield* peer.take)
        counts.set(id, (counts.get(id) ?? 0) + 1)
      }
      assert.isAtMost(Math.max(...unsent), 1000 + 100)
      // They take turns.
      assert.strictEqual(counts.size, 20)
      assert.isAtLeast(Math.min(...counts.values()), 50)
      assert.isAtMost(Math.max(...counts.values()), 200)
    }))

  it.effect("is not sent what comes later before what has waited for it", () =>
    Effect.gen(function*() {
      const { put, stream } = yield* makeSource
      const counter = makeCounter()
      const { client } = yield* connect(({ payload }) => payload === 1 ? counter.stream : stream, { limits })
      yield* client.send(ask(2, 2), ask(1, 1))
      yield* settle
      const waiting = counter.pulled
      yield* client.take(2)
      put(7)
      yield* settle
      const ids = (yield* client.take(waiting)).map(({ request_id: id }) => id)
      assert.deepStrictEqual(new Set(ids), new Set([1]))
    }))

  it.effect("can cancel them all the same", () =>
    Effect.gen(function*() {
      const counter = makeCounter()
      const { client } = yield* connect(() => counter.stream, { limits })
      yield* client.send(ask(1))
      yield* settle
      yield* client.send(cancel(1))
      yield* settle
      assert.strictEqual(counter.released, 1)
      const count = counter.pulled
      const replies = yield* client.take(count + 2)
      assert.deepStrictEqual(replies.slice(-2).map(short), [[1, 499, null], ["cancel 1", 200, null]])
      yield* client.silent
    }))

  it.effect("goes on in small steps where the transport says no more than that it has drained", () =>
    Effect.gen(function*() {
      const sent: Array<string> = []
      let receive: (frames: ReadonlyArray<string>) => void = () => {}
      const transport: Transport.Transport = {
        run: (handler) => {
          receive = handler
          return Effect.never
        },
        send: (frame) => void sent.push(frame as string),
        unsent: () => 1500,
        drained: Effect.void,
        pause: () => {},
        resume: () => {},
        ping: () => {},
        close: () => {}
      }
      const { pipeline } = yield* connect(() => Stream.range(1, 100), { limits })
      const session = yield* pipeline.connect({ id: "2", url: "/ws/" })
      yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      receive([JSON.stringify(ask(1)), JSON.stringify(ask(2))])
      yield* settle
      assert.strictEqual(sent.length, 202)
    }))
})

describe("a client that reads all there is", () => {
  it.effect("does not keep a stream without end from letting others go on", () =>
    Effect.gen(function*() {
      const replies: Array<Reply.Reply> = []
      let receive: (frames: ReadonlyArray<string>) => void = () => {}
      const transport: Transport.Transport = {
        run: (handler) => {
          receive = handler
          return Effect.never
        },
        send: (frame) => void replies.push(JSON.parse(frame as string)),
        unsent: () => 0,
        drained: Effect.void,
        pause: () => {},
        resume: () => {},
        ping: () => {},
        close: () => {}
      }
      const { pipeline } = yield* connect(() => Stream.forever(Stream.range(1, 4096)), {
        limits: { maxUnsent: 20_000 }
      })
      const session = yield* pipeline.connect({ id: "2", url: "/ws/" })
      yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      receive([JSON.stringify(ask(1))])
      const before = replies.length
      assert.isBelow(before, 300)
      yield* Effect.yieldNow
      assert.isAbove(replies.length, before)
      receive([JSON.stringify(cancel(1))])
      const after = replies.length
      assert.deepStrictEqual(replies.slice(-2).map(short), [[1, 499, null], ["cancel 1", 200, null]])
      yield* settle
      assert.strictEqual(replies.length, after)
    }))
})

describe("the end of the connection", () => {
  it.effect("interrupts streams, and releases what they acquired before what the connection did", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const note = (text: string) => Effect.sync(() => trace.push(text))
      const released = yield* Latch.make(false)
      const { client } = yield* connect(({ payload }) =>
        Stream.unwrap(
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() => Effect.andThen(released.await, note(`stream ${payload}`)))
            return Stream.concat(Stream.make(1), Stream.never)
          })
        ).pipe(
          Stream.tap(() => Effect.addFinalizer(() => note(`connection ${payload}`)))
        )
      )
      yield* client.send(ask(1, 1), ask(2, 2))
      assert.deepStrictEqual((yield* client.take(2)).map(short), [[1, 206, 1], [2, 206, 1]])
      yield* client.leave
      yield* settle
      assert.deepStrictEqual(trace, [])
      yield* released.open
      yield* settle
      assert.deepStrictEqual(trace, ["stream 1", "stream 2", "connection 2", "connection 1"])
      assert.isDefined(client.fiber.pollUnsafe())
    }))

  it.effect("does so where they wait for the client to read", () =>
    Effect.gen(function*() {
      const counter = makeCounter()
      const { client } = yield* connect(() => counter.stream, { limits: { maxUnsent: 500 } })
      yield* client.send(ask(1), ask(2))
      yield* settle
      // The second is not asked for anything before there is room.
      assert.deepStrictEqual([counter.acquired, counter.released], [1, 0])
      const { pulled } = counter
      yield* client.leave
      yield* settle
      assert.deepStrictEqual([counter.acquired, counter.released], [1, 1])
      assert.strictEqual(counter.pulled, pulled)
    }))
})

describe("a server that stops", () => {
  it.effect("ends streams at once, and waits for the others", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const released = yield* Latch.make(false)
      const Mixed = Consumer.make("mixed", { path: "/ws/" }).pipe(
        Consumer.add(
          Action.make("tail", { success: Schema.Int, stream: true }),
          Action.make("work", { success: Schema.String })
        )
      )
      const layer = Consumer.handlers(Mixed).pipe(
        Handlers.handle("tail", () =>
          Stream.concat(Stream.make(1), Stream.never).pipe(
            Stream.ensuring(Effect.andThen(released.await, Effect.sync(() => trace.push("released"))))
          )),
        Handlers.handle("work", () => Effect.as(Effect.sleep(100), "done")),
        Handlers.toLayer
      )
      const client = yield* open(yield* serve([Mixed], layer))
      yield* client.send(ask(1), { action: "work", request_id: 2 }, ask(3))
      assert.deepStrictEqual(short(yield* client.next), [1, 206, 1])
      const draining = yield* Effect.forkChild(client.session.drain("10 seconds"), { startImmediately: true })
      const ended = yield* client.next
      assert.deepStrictEqual([...short(ended), codeOf(ended)], [1, 503, null, "unavailable"])
      assert.deepStrictEqual(ended.errors, [
        { detail: "The server is stopping: connect again, and repeat the request", code: "unavailable" }
      ])
      yield* client.silent
      yield* TestClock.adjust(100)
      // The one behind it begins, and does not stay.
      assert.deepStrictEqual((yield* client.take(3)).map(short), [[2, 200, "done"], [3, 206, 1], [3, 503, null]])
      assert.isUndefined(draining.pollUnsafe())
      yield* released.open
      yield* Fiber.join(draining)
      assert.deepStrictEqual(trace, ["released", "released"])
      assert.strictEqual((yield* client.peer.closed).code, 1012)
    }))
})

describe("when facts change", () => {
  interface User {
    readonly name: string
  }
  class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser", {
    key: (user) => user.name
  }) {}
  class Facts extends Context.Service<Facts, {
    readonly roles: Set<string>
    readonly answering: Latch.Latch
    readonly items: Queue.Queue<number, Cause.Done>
    readonly trace: Array<string>
    use: (request: Handlers.Request) => void
  }>()("test/Facts") {
    static readonly layer = Layer.effect(
      this,
      Effect.gen(function*() {
        return {
          roles: new Set(["reader"]),
          answering: yield* Latch.make(true),
          items: yield* Queue.unbounded<number, Cause.Done>(),
          trace: [],
          use: () => {}
        }
      })
    )
  }
  const isReader = Permission.connection(
    "isReader",
    Facts.use(({ answering, roles }) =>
      Effect.as(answering.await, roles).pipe(Effect.map((roles) => roles.has("reader")))
    ),
    { reason: "Readers only" }
  )
  const mayRead = Permission.object<number>()(
    "mayRead",
    ({ object }) => Facts.use(({ roles }) => Effect.succeed(!roles.has(`hidden ${object}`)))
  )
  const Feed = Consumer.make("feed", { path: "/ws/", concurrency: 4 }).pipe(
    Consumer.add(
      Action.make("tail", { success: Schema.Int, stream: true }).pipe(Action.permit(isReader)),
      Action.make("open", { success: Schema.Int, stream: true }).pipe(
        Action.object(Schema.Int),
        Action.permit(mayRead)
      ),
      Action.make("self", { success: Schema.String, stream: true }).pipe(Action.permit(isReader))
    )
  )
  const items = Stream.unwrap(Facts.use((facts) =>
    Effect.succeed(
      Stream.fromQueue(facts.items).pipe(
        Stream.mapArray((items) => {
          facts.trace.push(`pull ${items.join(" ")}`)
          return items
        }),
        Stream.onExit((exit) => Effect.sync(() => facts.trace.push(Exit.isSuccess(exit) ? "end" : "stop")))
      )
    )
  ))
  const FeedLive = Consumer.handlers(Feed).pipe(
    Handlers.handle("tail", (request) =>
      Stream.unwrap(Facts.use((facts) =>
        Effect.sync(() => {
          facts.use(request)
          return items
        })
      ))),
    Handlers.handle("open", { object: () => Effect.succeed(1), run: () => items }),
    Handlers.handle("self", () =>
      Stream.make("a", "b", "c").pipe(
        Stream.rechunk(1),
        Stream.tap((item) =>
          item === "a" ? Effect.void : Facts.use(({ roles }) => {
            if (item === "c" && roles.has("quits")) roles.delete("reader")
            return Effect.ignore(Authority.invalidate(Authority.everyone))
          })
        )
      )),
    Handlers.toLayer,
    Layer.provide(Testing.layerAuthentication(CurrentUser)),
    Layer.provideMerge(Facts.layer),
    Layer.provideMerge(Authority.layerMemory)
  )
  const alice = Testing.as(CurrentUser, { name: "alice" }, { expiresAt: 1000 })
  const start = Effect.fnUntraced(function*(action: "tail" | "open" = "tail") {
    const facts = yield* Facts
    const client = yield* Testing.connect(Feed, { as: alice, id: "1" })
    yield* client.send({ action, request_id: 1 })
    const seen: Array<ReadonlyArray<unknown>> = []
    yield* Effect.forkScoped(
      Effect.forever(Effect.map(client.receive, (frame) => void seen.push(short(frame as Reply.Reply)))),
      { startImmediately: true }
    )
    const put = (...items: ReadonlyArray<number>) =>
      Effect.andThen(Effect.sync(() => Queue.offerAllUnsafe(facts.items, items)), settle)
    yield* settle
    return { client, facts, put, seen }
  })
  const change = Effect.andThen(Authority.invalidate(Authority.everyone), settle)

  it.effect("a stream that is still permitted waits, and goes on", () =>
    Effect.gen(function*() {
      const { facts, put, seen } = yield* start()
      yield* put(1)
      facts.answering.closeUnsafe()
      yield* change
      yield* put(2)
      yield* put(3)
      assert.deepStrictEqual(seen, [[1, 206, 1]])
      // The one that was asked for already, and no more.
      assert.deepStrictEqual(facts.trace, ["pull 1", "pull 2"])
      yield* facts.answering.open
      yield* settle
      assert.deepStrictEqual(seen, [[1, 206, 1], [1, 206, 2], [1, 206, 3]])
      yield* put(4)
      yield* Queue.end(facts.items)
      yield* settle
      assert.deepStrictEqual(seen.slice(3), [[1, 206, 4], [1, 200, null]])
    }).pipe(Effect.provide(FeedLive)))

  it.effect("an end that comes meanwhile waits as well", () =>
    Effect.gen(function*() {
      const { facts, put, seen } = yield* start()
      yield* put(1)
      facts.answering.closeUnsafe()
      yield* change
      yield* Queue.end(facts.items)
      yield* settle
      assert.deepStrictEqual(seen, [[1, 206, 1]])
      yield* facts.answering.open
      yield* settle
      assert.deepStrictEqual(seen, [[1, 206, 1], [1, 200, null]])
    }).pipe(Effect.provide(FeedLive)))

  for (const action of ["tail", "open"] as const) {
    it.effect(`a stream that is not permitted any more ends, and no item leaves: ${action}`, () =>
      Effect.gen(function*() {
        const { client, facts, put, seen } = yield* start(action)
        yield* put(1)
        facts.answering.closeUnsafe()
        facts.roles.delete("reader")
        facts.roles.add("hidden 1")
        Queue.offerAllUnsafe(facts.items, [2, 3])
        yield* Authority.invalidate(Authority.everyone)
        yield* put(4)
        yield* facts.answering.open
        yield* settle
        assert.deepStrictEqual(seen, [[1, 206, 1], [1, 403, null]])
        assert.strictEqual(facts.trace.at(-1), "stop")
        yield* put(5)
        assert.strictEqual(seen.length, 2)
        assert.strictEqual((yield* client.ask("tail" as never)).status, 403)
      }).pipe(Effect.provide(FeedLive)))
  }

  it.effect("it says that the permission was lost", () =>
    Effect.gen(function*() {
      const facts = yield* Facts
      const client = yield* Testing.connect(Feed, { as: alice })
      const lost = yield* Effect.forkChild(Effect.flip(Stream.runDrain(client.stream("tail"))), {
        startImmediately: true
      })
      yield* settle
      facts.roles.delete("reader")
      yield* change
      const refused = yield* Fiber.join(lost)
      assert.instanceOf(refused, Testing.Refused)
      assert.deepStrictEqual(refused.errors, [{ detail: "Readers only", code: "permission_lost" }])
      yield* Testing.expectDenied(refused, isReader)
    }).pipe(Effect.provide(FeedLive)))

  it.effect("a stream can have its own connection decided anew, at once", () =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(Feed, { as: alice })
      assert.deepStrictEqual(yield* Stream.runCollect(client.stream("self")), ["a", "b", "c"])
      const facts = yield* Facts
      facts.roles.add("quits")
      const seen: Array<string> = []
      const noting = Stream.tap(client.stream("self"), (item) => Effect.sync(() => seen.push(item)))
      const refused = yield* Effect.flip(Stream.runDrain(noting))
      assert.strictEqual((refused as Testing.Refused).status, 403)
      assert.deepStrictEqual(seen, ["a", "b"])
    }).pipe(Effect.provide(FeedLive)))

  it.effect("credentials that expire end it, with the connection", () =>
    Effect.gen(function*() {
      const { client, facts, put, seen } = yield* start()
      yield* put(1)
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(seen, [[1, 206, 1], [1, 401, null]])
      assert.strictEqual((yield* client.closed).code, 4401)
      assert.strictEqual(facts.trace.at(-1), "stop")
    }).pipe(Effect.provide(FeedLive)))

  it.effect("what cannot be decided in time ends it, with the connection", () =>
    Effect.gen(function*() {
      const { client, facts, put, seen } = yield* start()
      yield* put(1)
      facts.answering.closeUnsafe()
      yield* change
      yield* put(2)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(seen, [[1, 206, 1], [1, 503, null]])
      assert.strictEqual((yield* client.closed).code, 1013)
    }).pipe(Effect.provide(FeedLive), Effect.provide(Settings.layer({ redecisionTimeout: 100 }))))

  describe("a handler of the library's own", () => {
    it.effect("is told each time that it is still permitted, before items leave", () =>
      Effect.gen(function*() {
        const facts = yield* Facts
        let off = () => {}
        let withdrawn = false
        facts.use = (request) => {
          const inside = insideOf(request)
          assert.strictEqual(insideOf(request), inside)
          assert.strictEqual(inside.endpoint.name, "tail")
          assert.strictEqual(inside.route.pattern, "")
          assert.strictEqual(inside.consumer.consumer.name, "feed")
          assert.strictEqual(inside.standing.scope.id, "1")
          off = inside.onAuthority(() => {
            facts.trace.push("told")
            withdrawn = true
          })
          inside.recheck = (item) => {
            facts.trace.push(`check ${item}`)
            return item === 4 ? true : item === 3 ? Effect.as(Effect.yieldNow, true) : !withdrawn
          }
        }
        const { put, seen } = yield* start()
        yield* put(1)
        facts.answering.closeUnsafe()
        yield* change
        yield* put(2, 3, 5)
        assert.deepStrictEqual(facts.trace, ["pull 1", "check 1", "pull 2 3 5"])
        yield* facts.answering.open
        yield* settle
        assert.deepStrictEqual(facts.trace.slice(3), ["told", "check 2", "check 3", "check 5"])
        yield* put(4)
        assert.deepStrictEqual(seen, [[1, 206, 1], [1, 206, 3], [1, 206, 4]])
        yield* change
        assert.deepStrictEqual(facts.trace.slice(7), ["pull 4", "check 4", "told"])
        off()
        yield* change
        assert.deepStrictEqual(facts.trace.slice(10), [])
      }).pipe(Effect.provide(FeedLive)))

    it.effect("is asked again where facts change while it is asked", () =>
      Effect.gen(function*() {
        const facts = yield* Facts
        const asked = yield* Latch.make(false)
        let holds = true
        facts.use = (request) => {
          insideOf(request).recheck = (item) => {
            facts.trace.push(`recheck ${item}`)
            const said = holds
            return Effect.as(asked.await, said)
          }
        }
        const { put, seen } = yield* start()
        facts.answering.closeUnsafe()
        yield* change
        yield* put(2)
        yield* facts.answering.open
        yield* settle
        holds = false
        yield* change
        yield* asked.open
        yield* settle
        assert.deepStrictEqual(facts.trace, ["pull 2", "recheck 2", "recheck 2"])
        assert.deepStrictEqual(seen, [])
        holds = true
        yield* put(3)
        assert.deepStrictEqual(seen, [[1, 206, 3]])
      }).pipe(Effect.provide(FeedLive)))

    it.effect("that cannot be told does not go on, nor one that is not permitted hear of it", () =>
      Effect.gen(function*() {
        const facts = yield* Facts
        let told = 0
        facts.use = (request) => {
          insideOf(request).onAuthority(() => {
            told++
            throw new Error("deaf")
          })
        }
        const first = yield* start()
        yield* change
        yield* first.put(1)
        assert.deepStrictEqual(first.seen, [[1, 500, null]])
        assert.strictEqual(told, 1)
        yield* first.client.send({ action: "tail", request_id: 2 })
        yield* settle
        facts.roles.delete("reader")
        yield* change
        assert.deepStrictEqual(first.seen.slice(1), [[2, 206, 1], [2, 403, null]])
        assert.strictEqual(told, 1)
      }).pipe(Effect.provide(FeedLive)))
  })

  it.effect("newer credentials have streams decided anew, those that are refused do not", () =>
    Effect.gen(function*() {
      class CurrentToken extends Authentication.Service<CurrentToken, string>()("test/CurrentToken", {
        key: (token) => token.split(":")[0]!
      }) {}
      const told: Array<string> = []
      const mayTail = Permission.connection(
        "mayTail",
        CurrentToken.use((token) => Effect.succeed(!token.endsWith(":no")))
      )
      const Renewed = Consumer.make("renewed", { path: "/ws/" }).pipe(
        Consumer.add(Action.make("tail", { success: Schema.Int, stream: true }).pipe(Action.permit(mayTail)))
      )
      const layer = Consumer.handlers(Renewed).pipe(
        Handlers.handle("tail", (request) => {
          insideOf(request).onAuthority(() => told.push("told"))
          return Stream.concat(Stream.make(1), Stream.never)
        }),
        Handlers.toLayer,
        Layer.provide(CurrentToken.layer(Scheme.token({
          from: Credentials.query("token"),
          verify: (token) => Effect.succeed(Authentication.authenticated(Redacted.value(token)))
        })))
      )
      const client = yield* open(yield* serve([Renewed], layer), "/ws/?token=alice")
      const renew = (token: string) => ({ action: "$authenticate", data: { token }, request_id: token })
      const status = Effect.map(client.next, ({ request_id, status }) => [request_id, status])
      yield* client.send(ask(1), renew("bob"))
      assert.deepStrictEqual([yield* status, yield* status], [[1, 206], ["bob", 403]])
      assert.deepStrictEqual(told, [])
      yield* client.send(renew("alice:yes"))
      assert.deepStrictEqual(yield* status, ["alice:yes", 200])
      yield* settle
      assert.deepStrictEqual(told, ["told"])
      yield* client.send(renew("alice:no"))
      assert.deepStrictEqual([yield* status, yield* status], [[1, 403], ["alice:no", 200]])
      assert.deepStrictEqual(told, ["told"])
    }))

  it.effect("is counted once as allowed", () =>
    Effect.gen(function*() {
      const { client, facts, put } = yield* start()
      yield* put(1, 2, 3)
      yield* change
      yield* put(4)
      yield* Queue.end(facts.items)
      yield* settle
      const counted = (yield* Metric.snapshot).filter(({ attributes, id }) =>
        id === "effect_channels_decisions_total" && attributes?.["action"] === "tail"
      )
      assert.deepStrictEqual(
        counted.map(({ attributes, state }) => [attributes?.["outcome"], attributes?.["phase"], state]),
        [["allow", "action", { count: 1, incremental: true }]]
      )
      yield* client.close()
    }).pipe(Effect.provide(FeedLive), Effect.provideService(Metric.MetricRegistry, new Map())))
})

describe("a consumer", () => {
  const problemsOf = (action: Action.Any, handle: compile.Handle) =>
    Effect.gen(function*() {
      const Wrong = Consumer.make("wrong", { path: "/ws/" }).pipe(
        Consumer.groups(Group.make("room")),
        Consumer.push(Event.make("said", Schema.Int)),
        Consumer.add(action)
      )
      const layer = Consumer.handlers(Wrong as never).pipe(
        Handlers.handle("tail" as never, handle as never),
        Handlers.toLayer as never
      ) as Layer.Layer<never, Handlers.DefinitionError>
      const error = yield* Effect.flip(Layer.build(layer))
      return error.problems.filter((problem) =>
        !problem.includes("the group \"room\", which") && !problem.includes("the event \"said\", which") &&
        !problem.includes("ChannelLayer")
      )
    })
  const tail = Action.make("tail", { success: Schema.Int, stream: true })
  const one = () => Stream.make(1)

  it.effect("does not start where a stream is broadcast, silent, or cannot be told from its items", () =>
    Effect.gen(function*() {
      const broadcast = Action.broadcast(Group.make("room"), Event.make("said", Schema.Int))
      assert.deepStrictEqual(yield* problemsOf(broadcast(tail as never), one), [
        "the action \"tail\" of the consumer is answered with a stream: it cannot be broadcast"
      ])
      assert.deepStrictEqual(yield* problemsOf(Action.silent(tail as never), one), [
        "the action \"tail\" of the consumer is answered with a stream: it cannot be silent"
      ])
      assert.deepStrictEqual(yield* problemsOf(Action.make("tail", { stream: true, status: 206 }), one), [
        "the status of the action \"tail\" of the consumer is 206, as that of each of its items: the end needs another"
      ])
      const transaction = {
        object: () => Effect.succeed(1),
        run: one,
        transaction: (effect: Effect.Effect<unknown>) => effect
      }
      assert.deepStrictEqual(yield* problemsOf(tail.pipe(Action.object(Schema.Int)), transaction as never), [
        "the action \"tail\" of the consumer is answered with a stream, which lasts too long for a transaction"
      ])
    }))
})

describe("the test kit", () => {
  const Kit = Consumer.make("kit", { path: "/ws/" }).pipe(
    Consumer.add(
      Action.make("count", { payload: Schema.Int, success: Schema.Date, error: NotThere, stream: true }),
      Action.make("now", { success: Schema.Int })
    )
  )
  const makeKit = () => {
    const trace: Array<string> = []
    const layer = Consumer.handlers(Kit).pipe(
      Handlers.handle("count", ({ payload }) =>
        Stream.range(1, payload).pipe(
          Stream.map((n) => new Date(n)),
          Stream.concat(
            payload === 3 ? Stream.fail(new NotThere({ id: 3 })) : payload === 4 ? Stream.never : Stream.empty
          ),
          Stream.onExit((exit) => Effect.sync(() => trace.push(Exit.isSuccess(exit) ? "end" : "stop")))
        )),
      Handlers.handle("now", () => Effect.succeed(1)),
      Handlers.toLayer
    )
    return { trace, layer }
  }

  it.effect("gives the items, decoded, each time anew", () =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(Kit)
      const two = client.stream("count", { payload: 2 })
      assert.deepStrictEqual(yield* Stream.runCollect(two), [new Date(1), new Date(2)])
      assert.deepStrictEqual(yield* Stream.runCollect(two), [new Date(1), new Date(2)])
      assert.strictEqual((yield* client.ask("now")).data, 1)
    }).pipe(Effect.provide(makeKit().layer)))

  it.effect("fails with what came instead of the end", () =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(Kit)
      const seen: Array<Date> = []
      const failed = yield* client.stream("count", { payload: 3 }).pipe(
        Stream.runForEach((date) => Effect.sync(() => seen.push(date))),
        Effect.flip
      )
      assert.instanceOf(failed, Testing.Refused)
      assert.deepStrictEqual([seen.length, failed.status, failed.errors[0]!.code], [3, 404, "NotThere"])
      assert.strictEqual(failed.message, "The stream ended with 404: NotThere")
    }).pipe(Effect.provide(makeKit().layer)))

  it.effect("cancels what is not taken to its end", () => {
    const { layer, trace } = makeKit()
    return Effect.gen(function*() {
      const client = yield* Testing.connect(Kit)
      assert.strictEqual((yield* Stream.runCollect(Stream.take(client.stream("count", { payload: 4 }), 2))).length, 2)
      assert.deepStrictEqual(trace, ["stop"])
      const waiting = yield* Effect.forkChild(Stream.runDrain(client.stream("count", { payload: 4 })), {
        startImmediately: true
      })
      yield* settle
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(trace, ["stop", "stop"])
      // Nothing of it is left to others.
      assert.deepStrictEqual(yield* Effect.raceFirst(Effect.as(settle, "nothing"), client.receive), "nothing")
      assert.strictEqual((yield* client.ask("now")).data, 1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("fails when the connection ends, or has ended", () =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(Kit)
      const run = Effect.flip(Stream.runDrain(client.stream("count", { payload: 4 })))
      const waiting = yield* Effect.forkChild(run, { startImmediately: true })
      yield* settle
      yield* client.close(4000, "gone")
      assert.deepStrictEqual(yield* Fiber.join(waiting), { code: 4000, reason: "gone" })
      assert.deepStrictEqual(yield* run, { code: 4000, reason: "gone" })
      assert.deepStrictEqual(yield* Effect.flip(client.ask("now")), { code: 4000, reason: "gone" })
    }).pipe(Effect.provide(makeKit().layer)))

  it.effect("lets go of a connection whose scope closes first", () =>
    Effect.gen(function*() {
      const outer = yield* Scope.make()
      const inner = yield* Scope.fork(outer)
      const { layer, trace } = makeKit()
      const services = yield* Layer.buildWithScope(layer, outer)
      const client = yield* Testing.connect(Kit).pipe(Effect.provideContext(services), Scope.provide(inner))
      const waiting = yield* Effect.forkIn(Stream.runDrain(client.stream("count", { payload: 4 })), outer)
      yield* settle
      yield* Scope.close(outer, Exit.void)
      assert.deepStrictEqual(trace, ["stop"])
      assert.isTrue(Option.isSome(Option.fromUndefinedOr(waiting.pollUnsafe())))
    }))
})
