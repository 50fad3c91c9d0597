import {
  Action,
  ChannelLayer,
  ConnectionScope,
  Consumer,
  Event,
  Group,
  Handlers,
  Permission
} from "@effect-channels/core"
import { assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Connection } from "../src/internal/connection.ts"
import { settle } from "./support/connection.ts"
import { closeCode, deliveriesOf, type Frame, layerTest, received, start } from "./support/groups.ts"

const Feed = Group.make("feed")
const Important = Event.make("important", Schema.String)
const Newest = Event.make("newest", Schema.String, { whenSlow: "drop-newest" })
const Oldest = Event.make("oldest", Schema.String, { whenSlow: "drop-oldest" })
const Position = Schema.Struct({ user: Schema.String, x: Schema.Int })
const Moved = Event.make("moved", Position, {
  whenSlow: {
    latest: ({ user }) => {
      if (user === "thrown") throw new Error("no key")
      return user
    }
  }
})
const Turned = Event.make("turned", Position, { whenSlow: { latest: ({ user }) => user } })
const Checked = Event.make("checked", Schema.String).pipe(
  Event.permit(Permission.delivery<string>()("any", () => Effect.as(Effect.yieldNow, true)))
)

const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(
  Consumer.join(Feed, () => ({})),
  Consumer.push(Important, Newest, Oldest, Moved, Turned, Checked),
  Consumer.add(
    Action.make("ping", { success: Schema.String }),
    Action.make("flood", { payload: { times: Schema.Int } })
  )
)
const feed = ChannelLayer.group(Feeds, Feed, {})
const FeedsLive = Consumer.handlers(Feeds).pipe(
  Handlers.handle("ping", () => Effect.succeed("pong")),
  Handlers.handle("flood", ({ payload }) =>
    ConnectionScope.ConnectionScope.use(({ id }) =>
      Effect.replicateEffect(
        Effect.orDie(ChannelLayer.send(ChannelLayer.connection(Feeds, id), Important, "x".repeat(100))),
        payload.times,
        { discard: true }
      )
    )),
  Handlers.toLayer
)

/** Bytes that may wait: half of them in the transport. */
const maxUnsent = 4000
const serve = start(Feeds, FeedsLive, { maxUnsent })

const send = (event: Event.Any, data: unknown) => ChannelLayer.send(feed, event as typeof Important, data as string)

const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i).padStart(4, "0"))
const dataOf = (frames: ReadonlyArray<Frame>): ReadonlyArray<unknown> => frames.map(({ data }) => data)
const withChannels = Effect.provide(layerTest)

/** The connections of a test, to see how much waits for them. */
const watchWaiting = Effect.gen(function*() {
  const delivers = vi.spyOn(Connection.prototype, "deliver")
  yield* Effect.addFinalizer(() => Effect.sync(() => delivers.mockRestore()))
  return Effect.sync(() => {
    const connections = new Set(delivers.mock.contexts as ReadonlyArray<Connection>)
    delivers.mockClear()
    return Math.max(0, ...Array.from(connections, ({ waiting }) => waiting))
  })
})

describe("a client that does not read", () => {
  it.effect("is disconnected where it would miss something, with what it has been sent before", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const [slow, quick] = [yield* server.connect("/ws/"), yield* server.connect("/ws/")]
      const sent: Array<unknown> = []
      for (const number of numbers(100)) {
        yield* send(Important, number)
        sent.push(...dataOf(yield* received(quick)))
      }
      assert.deepStrictEqual(sent, numbers(100))
      assert.deepStrictEqual(yield* slow.peer.closed, {
        code: 1013,
        reason: "The client does not read as fast as events come"
      })
      const frames = dataOf(yield* received(slow))
      assert.isBelow(frames.length, 100)
      assert.deepStrictEqual(frames, numbers(frames.length))
      assert.deepStrictEqual(yield* deliveriesOf("important"), { sent: 100 + frames.length, disconnected: 1 })
      assert.strictEqual(yield* ChannelLayer.count(feed), 1)
    }).pipe(withChannels))

  it.effect("misses the newest events where they may be dropped so", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const slow = yield* server.connect("/ws/")
      for (const number of numbers(100)) yield* send(Newest, number)
      const frames = dataOf(yield* received(slow))
      assert.isAbove(frames.length, 30)
      assert.isBelow(frames.length, 100)
      assert.deepStrictEqual(frames, numbers(frames.length))
      assert.deepStrictEqual(yield* deliveriesOf("newest"), {
        sent: frames.length,
        dropped_newest: 100 - frames.length
      })
      assert.isUndefined(yield* closeCode(slow))
      // It reads again.
      yield* send(Newest, "again")
      assert.deepStrictEqual(dataOf(yield* received(slow)), ["again"])
    }).pipe(withChannels))

  it.effect("misses the oldest of those that wait where they may be dropped so", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const slow = yield* server.connect("/ws/")
      for (const number of numbers(200)) yield* send(Oldest, number)
      const frames = dataOf(yield* received(slow))
      const dropped = 200 - frames.length
      const { dropped_oldest, sent } = yield* deliveriesOf("oldest")
      assert.deepStrictEqual([dropped_oldest, sent], [dropped, frames.length])
      assert.isAbove(dropped, 100)
      // Those that were sent at first, and the last ones, in their order.
      const first = frames.findIndex((data, i) => data !== numbers(200)[i])
      assert.isAbove(first, 10)
      assert.isAbove(frames.length - first, 5)
      assert.deepStrictEqual(frames, [
        ...numbers(200).slice(0, first),
        ...numbers(200).slice(first + dropped)
      ])
      yield* send(Oldest, "again")
      assert.deepStrictEqual(dataOf(yield* received(slow)), ["again"])
    }).pipe(withChannels))

  it.effect("gets the latest of each key where that is enough, at the place of the latest", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const slow = yield* server.connect("/ws/")
      for (let x = 0; x < 1000; x++) {
        yield* send(Moved, { user: x % 2 === 0 ? "alice" : "bob", x })
        if (x % 10 === 0) yield* send(Turned, { user: "alice", x })
      }
      const frames = yield* received(slow)
      const last = frames.slice(-3).map(({ data, type }) => [type, data])
      assert.deepStrictEqual(last, [
        ["turned", { user: "alice", x: 990 }],
        ["moved", { user: "alice", x: 998 }],
        ["moved", { user: "bob", x: 999 }]
      ] as never)
      // Before, nothing had to wait.
      const first = frames.slice(0, -3).filter(({ type }) => type === "moved").map(({ data }) =>
        (data as { x: number }).x
      )
      assert.deepStrictEqual(first, first.map((_, i) => i))
      const { sent, superseded } = yield* deliveriesOf("moved")
      assert.strictEqual(sent! + superseded!, 1000)
      assert.isUndefined(yield* closeCode(slow))
    }).pipe(withChannels))

  it.effect("is disconnected where there are too many keys, or none can be told", () =>
    Effect.gen(function*() {
      const server = yield* serve
      for (const user of [(x: number) => `user ${x}`, () => "thrown"]) {
        const slow = yield* server.connect("/ws/")
        for (let x = 0; x < 200; x++) yield* send(Moved, { user: user(x), x })
        assert.strictEqual(yield* closeCode(slow), 1013)
      }
    }).pipe(withChannels))

  it.effect("loses of each event what it says, and the order of the rest is kept", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const slow = yield* server.connect("/ws/")
      // As much as is given to the transport.
      for (const number of numbers(50)) yield* send(Newest, number)
      yield* received(slow, 0)
      yield* received(slow)
      yield* send(Important, "x".repeat(2000))
      yield* send(Important, "important 1")
      yield* send(Oldest, "oldest 1")
      yield* send(Moved, { user: "alice", x: 1 })
      yield* send(Newest, "newest 1")
      yield* send(Moved, { user: "alice", x: 2 })
      // Makes room for itself.
      for (const number of numbers(40)) yield* send(Oldest, number)
      yield* send(Newest, "newest 2")
      const frames = dataOf(yield* received(slow)).slice(1)
      assert.deepStrictEqual(frames.slice(0, 3), ["important 1", "newest 1", { user: "alice", x: 2 }])
      assert.notInclude(frames, "newest 2")
      assert.deepStrictEqual(frames.slice(3), numbers(40).slice(43 - frames.length))
    }).pipe(withChannels))

  it.effect("loses nothing for an event for which there would be no room anyway", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const slow = yield* server.connect("/ws/")
      yield* send(Important, "x".repeat(2000))
      yield* send(Oldest, "1")
      yield* send(Oldest, "2")
      yield* send(Oldest, "x".repeat(5000))
      assert.deepStrictEqual(dataOf(yield* received(slow)).slice(1), ["1", "2"])
      assert.deepStrictEqual(yield* deliveriesOf("oldest"), { sent: 2, dropped_oldest: 1 })
    }).pipe(withChannels))

  it.effect("gets all of its replies, before the events that wait", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const slow = yield* server.connect("/ws/")
      for (const number of numbers(100)) yield* send(Newest, number)
      for (let i = 0; i < 10; i++) yield* slow.send({ action: "ping", request_id: i })
      const frames = yield* received(slow)
      assert.strictEqual(frames.filter(({ action }) => action === "ping").length, 10)
      assert.strictEqual(frames.at(-1)!.type, "newest")
      assert.isUndefined(yield* closeCode(slow))
    }).pipe(withChannels))

  it.effect("is answered once where its own handler sends it too much", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const slow = yield* server.connect("/ws/")
      yield* slow.send({ action: "flood", data: { times: 100 } }, { action: "ping" })
      const frames = yield* received(slow)
      assert.strictEqual(yield* closeCode(slow), 1013)
      const replies = frames.filter(({ action }) => action !== undefined)
      assert.deepStrictEqual(replies.map(({ action, status }) => [action, status]), [["flood", 503]])
      assert.strictEqual(yield* ChannelLayer.count(feed), 0)
    }).pipe(withChannels))

  it.effect("before its upgrade counts as one that does not read", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const session = yield* server.pipeline.connect({ id: "1", url: "/ws/" })
      for (const number of numbers(1000)) yield* send(Newest, number)
      const { dropped_newest, sent } = yield* deliveriesOf("newest")
      assert.isUndefined(sent)
      assert.isAbove(dropped_newest!, 900)
      yield* session.abandon
    }).pipe(withChannels))

  it.effect("keeps no more than may wait, however much is sent", () =>
    Effect.gen(function*() {
      const waiting = yield* watchWaiting
      const server = yield* start(Feeds, FeedsLive, { maxUnsent: 64 * 1024 })
      yield* server.connect("/ws/")
      const text = "x".repeat(936)
      let most = 0
      for (let i = 0; i < 100_000; i++) {
        yield* send(i % 2 === 0 ? Oldest : Newest, text)
        if (i % 1000 === 0) most = Math.max(most, yield* waiting)
      }
      // Each has about 1 KiB; half of what may wait is in the transport.
      assert.isAtMost(most, 33)
      assert.isAbove(most, 20)
    }).pipe(withChannels), 60_000)
})

describe("a client that reads", () => {
  it.effect("gets an event that is larger than what may wait, however it is decided", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const client = yield* server.connect("/ws/")
      for (const event of [Important, Checked]) {
        yield* send(event, "x".repeat(10_000))
        yield* settle
        assert.deepStrictEqual(dataOf(yield* received(client)), ["x".repeat(10_000)])
      }
      assert.isUndefined(yield* closeCode(client))
    }).pipe(withChannels))

  it.effect("misses nothing, whatever the events say of slow ones", () =>
    Effect.gen(function*() {
      const server = yield* serve
      const client = yield* server.connect("/ws/")
      const events = [Important, Newest, Oldest, Checked] as const
      const got: Array<unknown> = []
      for (const [i, number] of numbers(300).entries()) {
        yield* send(events[i % 4]!, number)
        if (i % 20 === 19) got.push(...dataOf(yield* received(client)))
      }
      assert.deepStrictEqual(got, numbers(300))
    }).pipe(withChannels))
})
