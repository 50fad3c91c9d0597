import { Action, Authority, ChannelError, Consumer, Event, Group, Handlers, Membership } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { settle, withLogs } from "./support/connection.ts"
import { heard, layerTest, layerWith, problemsOf, received, start } from "./support/groups.ts"

const Room = Group.make("room", { room: Schema.String })
const Archive = Group.make("archive", { room: Schema.String }).pipe(Group.history({ count: 10, age: "1 hour" }))
const Said = Event.make("said", Schema.String)
/** What cannot be encoded: a whole number that is none. */
const Counted = Event.make("counted", Schema.Struct({ count: Schema.Int }))

class Refused extends Schema.TaggedError<Refused>()("Refused", {}, { httpApiStatus: 409 }) {}

const text = { payload: Schema.String, success: Schema.String, error: Refused }

const Chat = Consumer.make("chat", { path: "/ws/:room/", timeout: "10 seconds" }).pipe(
  Consumer.join(Room, ({ params }) => params.room === "none" ? [] : params.room.split(",").map((room) => ({ room }))),
  Consumer.groups(Archive),
  Consumer.push(Said, Counted),
  Consumer.add(
    Action.make("reply", text),
    Action.make("say", { ...text, status: 201 }).pipe(Action.broadcast(Room, Said)),
    Action.make("whisper", { ...text, status: 202 }).pipe(Action.broadcast(Room, Said, { reply: false })),
    Action.make("tell", text).pipe(Action.broadcast(Room, Said, { includeSender: false })),
    Action.make("shout", text).pipe(
      Action.broadcast(Room, Said, { map: (text: string) => text.toUpperCase(), reply: false, includeSender: false })
    ),
    Action.make("count", { payload: Schema.Number, success: Schema.Number }).pipe(
      Action.broadcast(Room, Counted, {
        map: (count) => {
          if (count < 0) throw new Error("secret")
          return { count }
        }
      })
    ),
    Action.make("nothing", text).pipe(Action.silent),
    Action.make("open", { payload: Schema.String }),
    Action.make("write", text).pipe(Action.broadcast(Archive, Said)),
    Action.make("writeAtOnce", { ...text, concurrency: "unbounded" }).pipe(Action.broadcast(Archive, Said)),
    Action.make("leave", { success: Schema.String }).pipe(Action.broadcast(Room, Said))
  )
)

const say = ({ payload }: { readonly payload: string }) =>
  payload === "refuse" ?
    Effect.fail(new Refused()) :
    payload === "die" ?
    Effect.die(new Error("secret")) :
    Effect.succeed(
      payload
    )

const ChatLive = Consumer.handlers(Chat).pipe(
  Handlers.handle("reply", say),
  Handlers.handle("say", say),
  Handlers.handle("whisper", say),
  Handlers.handle("tell", say),
  Handlers.handle("shout", say),
  Handlers.handle("count", ({ payload }) => Effect.succeed(payload)),
  Handlers.handle("nothing", say),
  Handlers.handle("open", ({ payload }) => Effect.asVoid(Membership.join(Archive, { room: payload }))),
  Handlers.handle("write", say),
  Handlers.handle("writeAtOnce", say),
  Handlers.handle("leave", ({ params }) => Effect.as(Membership.leave(Room, { room: params.room }), "gone")),
  Handlers.toLayer
)

const request = (action: string, data: unknown) => ({ action, data })
const reply = (action: string, status: number, data: unknown) => ({ errors: [], data, action, route: "", status })
const event = (data: unknown, status = 200) => ({ type: "said", data, status })

describe("an action", () => {
  it.effect("answers, and nobody else hears of it, unless it says otherwise", () =>
    Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const [one, two] = [yield* server.connect("/ws/a/"), yield* server.connect("/ws/a/")]
      yield* one.send(request("reply", "hi"))
      assert.deepStrictEqual(yield* received(one), [reply("reply", 200, "hi")] as never)
      assert.deepStrictEqual(yield* received(two), [])
    }).pipe(Effect.provide(layerTest)))

  it.effect("that is broadcast is answered first, and sent to all members of the group with its status", () =>
    Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const clients = [
        yield* server.connect("/ws/a/"),
        yield* server.connect("/ws/a/"),
        yield* server.connect("/ws/b/")
      ] as const
      yield* clients[0].send(request("say", "1"), request("say", "2"))
      assert.deepStrictEqual(
        yield* received(clients[0]),
        [reply("say", 201, "1"), event("1", 201), reply("say", 201, "2"), event("2", 201)] as never
      )
      assert.deepStrictEqual(yield* received(clients[1]), [event("1", 201), event("2", 201)] as never)
      assert.deepStrictEqual(yield* received(clients[2]), [])
    }).pipe(Effect.provide(layerTest)))

  it.effect("leaves out the reply, the sender, or says something else, as it is told", () =>
    Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const [one, two] = [yield* server.connect("/ws/a/"), yield* server.connect("/ws/a/")]
      yield* one.send(request("whisper", "w"), request("tell", "t"), request("shout", "s"), request("nothing", "n"))
      assert.deepStrictEqual(yield* received(one), [event("w", 202), reply("tell", 200, "t")] as never)
      assert.deepStrictEqual(yield* received(two), [event("w", 202), event("t"), event("S")] as never)
    }).pipe(Effect.provide(layerTest)))

  it.effect("that fails is answered, however it is answered else, and sends nothing", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const server = yield* start(Chat, ChatLive)
        const [one, two] = [yield* server.connect("/ws/a/"), yield* server.connect("/ws/a/")]
        yield* one.send(request("open", "a"))
        yield* received(one)
        for (const action of ["say", "whisper", "tell", "shout", "nothing", "write"]) {
          for (
            const [data, status] of [["refuse", 409], ["die", 500], [7, 400]] as const
          ) {
            const failed = yield* one.ask(request(action, data))
            assert.deepInclude(failed, { action, status, data: null })
          }
        }
        assert.strictEqual(logs.filter(({ cause }) => cause.includes("secret")).length, 6)
        assert.deepStrictEqual(yield* heard(one), [])
        assert.deepStrictEqual(yield* heard(two), [])
      })
    ).pipe(Effect.provide(layerTest)))

  it.effect("whose event cannot be made or encoded is answered with 500 once, and sends none", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const server = yield* start(Chat, ChatLive)
        const [one, two] = [yield* server.connect("/ws/a/"), yield* server.connect("/ws/a/")]
        yield* one.send(request("count", 1.5), request("count", -1), request("count", 2))
        const frames = yield* received(one)
        assert.deepStrictEqual(frames.map(({ status, type }) => [type, status]), [
          [undefined, 500],
          [undefined, 500],
          [undefined, 200],
          ["counted", 200]
        ])
        assert.notInclude(JSON.stringify(frames), "secret")
        assert.strictEqual(logs.filter(({ level }) => level === "Error").length, 2)
        assert.deepStrictEqual(yield* heard(two), [{ count: 2 }])
      })
    ).pipe(Effect.provide(layerTest)))

  it.effect("goes to all groups of the name that its connection is in, and is denied where it is in none", () =>
    Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const [both, a, b, none] = [
        yield* server.connect("/ws/a,b/"),
        yield* server.connect("/ws/a/"),
        yield* server.connect("/ws/b/"),
        yield* server.connect("/ws/none/")
      ]
      yield* both.send(request("say", "1"))
      yield* none.send(request("say", "2"), request("write", "3"))
      assert.deepStrictEqual(yield* heard(a), ["1"])
      assert.deepStrictEqual(yield* heard(b), ["1"])
      // By each of them.
      assert.deepStrictEqual(yield* heard(both), ["1", "1"])
      assert.deepStrictEqual(
        (yield* received(none)).map(({ action, errors, status }) => [action, status, errors![0]!.code]),
        [["say", 403, "not_in_group"], ["write", 403, "not_in_group"]]
      )
      // It is not in the group any more when the event goes out.
      yield* a.send(request("leave", null))
      assert.deepStrictEqual(yield* received(a), [reply("leave", 200, "gone")] as never)
      assert.deepStrictEqual(yield* heard(both), [])
    }).pipe(Effect.provide(layerTest)))
})

describe("a broadcast", () => {
  it.effect("needs its consumer to have the group and the event", () =>
    Effect.gen(function*() {
      const Empty = Consumer.make("empty", { path: "/ws/" }).pipe(
        // Another group and another event of the same names.
        Consumer.groups(Group.make("room", { room: Schema.String })),
        Consumer.push(Event.make("said", Schema.String)),
        Consumer.add(Action.make("say", text).pipe(Action.broadcast(Room, Said)))
      )
      const live = Consumer.handlers(Empty).pipe(Handlers.handle("say", say), Handlers.toLayer)
      assert.deepStrictEqual(yield* problemsOf(start(Empty, live)), [
        "the action \"say\" of the consumer is broadcast to the group \"room\", which the consumer does not have: add Consumer.join or Consumer.groups",
        "the action \"say\" of the consumer is broadcast as the event \"said\", which the consumer does not have: add Consumer.push"
      ])
    }).pipe(Effect.scoped, Effect.provide(layerTest)))

  it.effect("that does not reach other servers is answered and sent here all the same, to all groups, and is logged", () => {
    const layer = layerWith((memory) => ({
      send: (group, message) =>
        Effect.andThen(
          memory.send(group, message),
          Effect.fail(new ChannelError.Unavailable({ message: "No broker" }))
        )
    }))
    return withLogs((logs) =>
      Effect.gen(function*() {
        const server = yield* start(Chat, ChatLive)
        const [both, b] = [yield* server.connect("/ws/a,b/"), yield* server.connect("/ws/b/")]
        yield* both.send(request("say", "1"))
        assert.deepStrictEqual((yield* received(both)).map(({ status, type }) => [type, status]), [
          [undefined, 201],
          ["said", 201],
          ["said", 201]
        ])
        assert.deepStrictEqual(yield* heard(b), ["1"])
        assert.deepStrictEqual(
          logs.filter(({ level }) => level !== "Debug").map(({ level, message }) => [level, message]),
          [["Warn", "The event of \"say\" of \"chat\" did not reach all servers"]]
        )
      })
    ).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
  })

  it.effect("is handed to the layer at once, in order, whoever else it still has to reach", () => {
    const layer = layerWith((memory) => ({
      send: (group, message) => Effect.andThen(memory.send(group, message), Effect.sleep("2 seconds"))
    }))
    return Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const [one, two] = [yield* server.connect("/ws/a/"), yield* server.connect("/ws/a/")]
      yield* one.send(request("say", "1"), request("say", "2"), request("tell", "3"), request("say", "4"))
      // Neither replies nor events wait for the layer.
      assert.deepStrictEqual(
        (yield* received(one)).map(({ data }) => data),
        ["1", "1", "2", "2", "3", "4", "4"] as never
      )
      assert.deepStrictEqual(yield* heard(two), ["1", "2", "3", "4"])
    }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
  })

  it.effect("goes out although its sender has ended meanwhile", () => {
    const layer = layerWith((memory) => ({
      send: (group, message) => Effect.delay(memory.send(group, message), "1 second")
    }))
    return Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const [one, two] = [yield* server.connect("/ws/a/"), yield* server.connect("/ws/a/")]
      yield* one.send(request("say", "1"))
      yield* received(one)
      yield* one.leave
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* heard(two), ["1"])
    }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
  })
})

describe("a broadcast to a group with a history", () => {
  /** A layer that writes to a history while it is open, and is at hand before or after the event is handed over. */
  const held = (writing: Latch.Latch, when: "before" | "after") =>
    layerWith((memory) => ({
      send: (group, message) =>
        group.history === undefined
          ? memory.send(group, message)
          : when === "before"
          ? Effect.andThen(writing.await, memory.send(group, message))
          : Effect.andThen(memory.send(group, message), writing.await)
    }))

  for (const when of ["before", "after"] as const) {
    it.effect(`is answered when the event is in it, and before its own event: a layer that takes its time ${when} it`, () =>
      Effect.gen(function*() {
        const writing = yield* Latch.make(false)
        yield* Effect.gen(function*() {
          const server = yield* start(Chat, ChatLive)
          const [one, two] = [yield* server.connect("/ws/a/"), yield* server.connect("/ws/a/")]
          for (const client of [one, two]) yield* client.ask(request("open", "x"))
          yield* received(one)
          yield* received(two)
          yield* one.send(request("write", "1"))
          yield* two.send(request("say", "2"))
          yield* settle
          // Nothing overtakes the reply, not even what others say.
          assert.deepStrictEqual(yield* received(one), [])
          yield* writing.open
          const frames = yield* received(one)
          assert.deepStrictEqual(frames[0], reply("write", 200, "1") as never)
          assert.deepStrictEqual(frames.slice(1).map(({ data }) => data).toSorted(), ["1", "2"] as never)
        }).pipe(Effect.scoped, Effect.provide(Layer.merge(held(writing, when), Authority.layerMemory)))
      }))
  }

  it.effect("is answered with 503 where the layer fails, and sends no event", () => {
    const layer = layerWith((memory) => ({
      send: (group, message) =>
        group.history === undefined
          ? memory.send(group, message)
          : Effect.andThen(Effect.yieldNow, Effect.fail(new ChannelError.Unavailable({ message: "No broker" })))
    }))
    return Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const client = yield* server.connect("/ws/a/")
      yield* client.ask(request("open", "x"))
      yield* received(client)
      const failed = yield* client.ask(request("write", "1"))
      assert.deepInclude(failed, { status: 503, action: "write", data: null })
      // Events are not held back for it any more.
      yield* client.send(request("say", "2"))
      assert.deepStrictEqual((yield* received(client)).map(({ data }) => data), ["2", "2"] as never)
    }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
  })

  for (const interruptible of ["can", "cannot"]) {
    it.effect(`that is given up while it is written lets events through again: a layer that ${interruptible} be interrupted`, () => {
      const layer = layerWith((memory) => ({
        send: (group, message) => {
          if (group.history === undefined) return memory.send(group, message)
          const sending = Effect.delay(memory.send(group, message), "20 seconds")
          return interruptible === "can" ? sending : Effect.uninterruptible(sending)
        }
      }))
      return Effect.gen(function*() {
        const server = yield* start(Chat, ChatLive)
        const [one, two] = [yield* server.connect("/ws/a/"), yield* server.connect("/ws/a/")]
        yield* one.ask(request("open", "x"))
        yield* received(one)
        yield* one.send(request("write", "1"))
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual((yield* received(one)).map(({ status }) => status), [408])
        yield* two.send(request("say", "2"))
        yield* TestClock.adjust("20 seconds")
        assert.deepStrictEqual(yield* heard(one), interruptible === "can" ? ["2"] : ["1", "2"].toReversed())
      }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
    })
  }

  it.effect("by several at once answers each of them before its own event", () => {
    let sends = 0
    const layer = layerWith((memory) => ({
      send: (group, message) =>
        Effect.suspend(() => {
          const delay = [5, 1, 3, 2][sends++ % 4]!
          return Effect.delay(
            Effect.andThen(memory.send(group, message), Effect.sleep("500 millis")),
            `${delay} seconds`
          )
        })
    }))
    return Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const client = yield* server.connect("/ws/a/")
      yield* client.ask(request("open", "x"))
      yield* received(client)
      yield* client.send(...["1", "2", "3", "4"].map((text) => request("writeAtOnce", text)))
      yield* TestClock.adjust("9 seconds")
      const frames = yield* received(client)
      assert.strictEqual(frames.length, 8)
      for (const text of ["1", "2", "3", "4"]) {
        const mine = frames.filter(({ data }) => data === text as never)
        assert.deepStrictEqual(mine.map(({ type }) => type), [undefined, "said"], text)
      }
      // In the order of the history.
      const ids = frames.flatMap(({ id }) => id === undefined ? [] : [Number(id.split("-").at(-1))])
      assert.deepStrictEqual(ids, [1, 2, 3, 4])
    }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
  })
})
