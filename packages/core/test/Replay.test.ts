import {
  Action,
  Authority,
  ChannelLayer,
  Consumer,
  Event,
  Group,
  Handlers,
  Membership,
  Permission
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { settle } from "./support/connection.ts"
import {
  AuthenticationLive,
  type Frame,
  heard,
  layerTest,
  layerWith,
  name,
  received,
  start,
  watchKept
} from "./support/groups.ts"

const Room = Group.make("room", { room: Schema.String }).pipe(Group.history({ count: 3, age: "1 hour" }))
const Topic = Group.make("topic", { id: Schema.Int }).pipe(Group.history({ count: 3, age: "1 hour" }))
const Said = Event.make("said", Schema.String)

const make = (options: {
  readonly permission?: Permission.Permission<{ readonly event: string; readonly type: string }>
  readonly topics?: ReadonlyArray<{ readonly id: number }>
} = {}) => {
  const Permitted = Said.pipe(Event.permit((options.permission ?? Permission.allow) as typeof Permission.allow))
  const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(
    Consumer.join(Room, ({ params }) => ({ room: params.room })),
    Consumer.join(Topic, () => options.topics ?? []),
    Consumer.push(Permitted),
    Consumer.add(
      Action.make("tell", { payload: Schema.String, success: Schema.String }).pipe(
        Action.broadcast(Room, Permitted, { includeSender: false, reply: false })
      ),
      Action.make("back", { payload: { after: Schema.optionalKey(Schema.String) }, success: Schema.String })
    )
  )
  const live = Consumer.handlers(Chat).pipe(
    Handlers.handle("tell", ({ payload }) => Effect.succeed(payload)),
    Handlers.handle(
      "back",
      ({ params, payload }) => Effect.andThen(Membership.leave(Room, params), Membership.join(Room, params, payload))
    ),
    Handlers.toLayer,
    Layer.provide(AuthenticationLive)
  )
  return {
    Chat,
    live,
    say: (text: string, room = "lobby") => ChannelLayer.send(ChannelLayer.group(Chat, Room, { room }), Permitted, text),
    post: (id: number, text: string) => ChannelLayer.send(ChannelLayer.group(Chat, Topic, { id }), Permitted, text)
  }
}

interface JoinedData {
  readonly group: string
  readonly params: unknown
  readonly state: string
  readonly id: string
}

/** What a client is told first, of each of its groups. */
const joinedOf = (frames: ReadonlyArray<Frame>): ReadonlyArray<JoinedData> =>
  frames.filter(({ type }) => type === "$joined").map(({ data }) => data)

const saidOf = (frames: ReadonlyArray<Frame>): ReadonlyArray<unknown> =>
  frames.filter(({ type }) => type === "said").map(({ data }) => data)

/** Connects to the lobby after a position, as it stands in the URL. */
const after = (position: string, group = "room") =>
  `/ws/lobby/?${encodeURIComponent("$after")}=${encodeURIComponent(`${group}:${position}`)}`

const withChannels = Effect.provide(layerTest)

describe("a history", () => {
  it.effect("gives each event its position, and tells whoever joins where they are", () =>
    Effect.gen(function*() {
      const { Chat, live, say } = make()
      const server = yield* start(Chat, live)
      const one = yield* server.connect("/ws/lobby/")
      yield* say("1")
      const two = yield* server.connect("/ws/lobby/")
      yield* say("2")
      const frames = yield* received(one)
      const [joined] = joinedOf(frames)
      assert.deepInclude(joined, { group: "room", params: { room: "lobby" }, state: "fresh" })
      const ids = frames.slice(1).map(({ id }) => id)
      const epoch = ids[0]!.slice(0, ids[0]!.lastIndexOf("-"))
      assert.deepStrictEqual([joined!.id, ...ids], [`${epoch}-0`, `${epoch}-1`, `${epoch}-2`])
      const later = yield* received(two)
      assert.strictEqual(joinedOf(later)[0]!.id, `${epoch}-1`)
      assert.deepStrictEqual(saidOf(later), ["2"])
      // Another group has other positions.
      const other = joinedOf(yield* received(yield* server.connect("/ws/hall/")))[0]!
      assert.notStrictEqual(other.id, `${epoch}-0`)
    }).pipe(withChannels))

  it.effect("gives whoever comes back what they have missed, once and in order, before what follows", () =>
    Effect.gen(function*() {
      const { Chat, live, say } = make()
      const server = yield* start(Chat, live)
      const one = yield* server.connect("/ws/lobby/")
      yield* say("1")
      const seen = (yield* received(one)).at(-1)!.id!
      yield* one.leave
      yield* say("2")
      yield* say("3")
      const back = yield* server.connect(after(seen))
      yield* say("4")
      const frames = yield* received(back)
      // It is where it was, until it has seen what follows.
      assert.deepInclude(joinedOf(frames)[0], { state: "resumed", id: seen })
      assert.deepStrictEqual(frames.map(({ data, type }) => type === "said" ? data : type), [
        "$joined",
        "2",
        "3",
        "$caught_up",
        "4"
      ] as never)
      assert.deepStrictEqual(
        frames.flatMap(({ id }) => id === undefined ? [] : [Number(id.split("-").at(-1))]),
        [2, 3, 4]
      )
      // Up to there nothing is new.
      assert.deepStrictEqual(frames[3]!.data as unknown, {
        group: "room",
        params: { room: "lobby" },
        id: frames[2]!.id
      })
      // Who has missed nothing is told nothing.
      const again = yield* received(yield* server.connect(after(frames.at(-1)!.id!)))
      assert.deepInclude(joinedOf(again)[0], { state: "resumed", id: frames.at(-1)!.id! })
      assert.deepStrictEqual(saidOf(again), [])
    }).pipe(withChannels))

  it.effect("is bounded by count and by age: what is not there any more is a gap", () =>
    Effect.gen(function*() {
      const { Chat, live, say } = make()
      const server = yield* start(Chat, live)
      const stateAfter = (position: string) =>
        Effect.gen(function*() {
          const client = yield* server.connect(after(position))
          const frames = yield* received(client)
          yield* client.leave
          return [joinedOf(frames)[0]!.state, ...saidOf(frames)]
        })
      const one = yield* server.connect("/ws/lobby/")
      for (const text of ["1", "2", "3", "4", "5", "6", "7"]) yield* say(text)
      const ids = (yield* received(one)).slice(1).map(({ id }) => id!)
      assert.deepStrictEqual(yield* stateAfter(ids[3]!), ["resumed", "5", "6", "7"])
      assert.deepStrictEqual(yield* stateAfter(ids[2]!), ["gap"])
      yield* TestClock.adjust("30 minutes")
      yield* say("8")
      yield* TestClock.adjust("30 minutes")
      assert.deepStrictEqual(yield* stateAfter(ids[4]!), ["resumed", "6", "7", "8"])
      yield* TestClock.adjust("1 milli")
      assert.deepStrictEqual(yield* stateAfter(ids[4]!), ["gap"])
      assert.deepStrictEqual(yield* stateAfter(ids[6]!), ["resumed", "8"])
    }).pipe(withChannels))

  it.effect("takes a position for each group, by its name, or by its name and parameters", () =>
    Effect.gen(function*() {
      const { Chat, live, post, say } = make({ topics: [{ id: 1 }, { id: 2 }] })
      const server = yield* start(Chat, live)
      const one = yield* server.connect("/ws/lobby/")
      const at = joinedOf(yield* received(one))
      yield* say("r")
      yield* post(1, "t1")
      yield* post(2, "t2")
      const query = [
        `room:${at[0]!.id}`,
        `topic:{"id":2}:${at[2]!.id}`,
        `topic:{"id":1}:${at[1]!.id}`,
        "topic:never",
        "other:x-1"
      ].map((value) => `$after=${encodeURIComponent(value)}`).join("&")
      const frames = yield* received(yield* server.connect(`/ws/lobby/?${query}`))
      assert.deepStrictEqual(joinedOf(frames).map(({ state }) => state), ["resumed", "resumed", "resumed"])
      assert.deepStrictEqual(saidOf(frames), ["r", "t1", "t2"])
      const byName = yield* received(
        yield* server.connect(`/ws/lobby/?$after=room:${at[0]!.id}&$after=topic:${at[2]!.id}`)
      )
      assert.deepStrictEqual(joinedOf(byName).map(({ state }) => state), ["resumed", "gap", "resumed"])
    }).pipe(withChannels))

  it.effect("takes no harm from what clients make up: it is a gap, or nothing", () =>
    Effect.gen(function*() {
      const { Chat, live, say } = make()
      const server = yield* start(Chat, live)
      const one = yield* server.connect("/ws/lobby/")
      yield* say("1")
      const frames = yield* received(one)
      const epoch = frames[1]!.id!.slice(0, -2)
      const forged = [
        "x",
        "-",
        epoch,
        `${epoch}-`,
        `${epoch}--1`,
        `${epoch}-2`,
        `${epoch}-0x0`,
        `${epoch}-00`,
        `${epoch}-1e0`,
        `${epoch}- 1`,
        `${epoch}-1.0`,
        `${epoch}-NaN`,
        `${epoch}-Infinity`,
        `${epoch}-9007199254740993`,
        `${epoch}x-0`,
        "__proto__",
        "\0",
        "\ud800",
        "\"}],\"x",
        "x".repeat(10_000)
      ]
      for (const position of forged) {
        const client = yield* server.connect(`/ws/lobby/?$after=${escaped(`room:${position}`)}`)
        const [first, ...rest] = yield* received(client)
        assert.deepInclude(first!.data, { state: "gap", id: `${epoch}-1` }, position)
        assert.deepStrictEqual(rest, [], position)
        yield* client.leave
      }
      for (
        const query of [
          "$after",
          "$after=",
          "$after=room",
          "$after=Room:x",
          "$after=%ff%fe",
          "$after[]=room:1",
          "$after=&$after=:"
        ]
      ) {
        const client = yield* server.connect(`/ws/lobby/?${query}`)
        assert.strictEqual(joinedOf(yield* received(client))[0]!.state, "fresh", query)
        yield* client.leave
      }
    }).pipe(withChannels))

  it.effect("is given as far as it is kept to whoever asks for it without a position", () =>
    Effect.gen(function*() {
      const { Chat, live, say } = make()
      const server = yield* start(Chat, live)
      for (const text of ["1", "2", "3", "4", "5"]) yield* say(text)
      const frames = yield* received(yield* server.connect(after("")))
      assert.deepInclude(joinedOf(frames)[0], { state: "fresh", id: "" })
      assert.deepStrictEqual(frames.slice(1).map(({ data, type }) => type === "said" ? data : type), [
        "3",
        "4",
        "5",
        "$caught_up"
      ] as never)
    }).pipe(withChannels))

  it.effect("does not hold events that are not kept: they have no position, and are not given back", () =>
    Effect.gen(function*() {
      const Typing = Event.make("typing", Schema.String, { history: false })
      const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(
        Consumer.join(Room, ({ params }) => ({ room: params.room })),
        Consumer.push(Said, Typing),
        Consumer.add(Action.make("type", { success: Schema.String }).pipe(Action.broadcast(Room, Typing)))
      )
      const live = Consumer.handlers(Chat).pipe(
        Handlers.handle("type", () => Effect.succeed("2")),
        Handlers.toLayer
      )
      const server = yield* start(Chat, live)
      const lobby = ChannelLayer.group(Chat, Room, { room: "lobby" })
      const one = yield* server.connect("/ws/lobby/")
      const [joined] = joinedOf(yield* received(one))
      yield* ChannelLayer.send(lobby, Typing, "1")
      yield* one.send({ action: "type" })
      yield* ChannelLayer.send(lobby, Said, "3")
      const frames = yield* received(one)
      assert.deepStrictEqual(frames.map(({ action, data, id }) => [action ?? "event", data, id !== undefined]), [
        ["event", "1", false],
        ["type", "2", false],
        ["event", "2", false],
        ["event", "3", true]
      ] as never)
      assert.deepStrictEqual(yield* heard(yield* server.connect(after(joined!.id))), ["3"])
    }).pipe(withChannels))

  it.effect("does not give back to somebody what they were left out of", () =>
    Effect.gen(function*() {
      const { Chat, live } = make()
      const server = yield* start(Chat, live)
      const one = yield* server.connect("/ws/lobby/", "one")
      const two = yield* server.connect("/ws/lobby/", "two")
      const [joined] = joinedOf(yield* received(one))
      yield* received(two)
      yield* one.send({ action: "tell", data: "1" })
      assert.deepStrictEqual(yield* heard(two), ["1"])
      assert.deepStrictEqual(yield* heard(one), [])
      yield* one.send({ action: "back", data: { after: joined!.id } })
      assert.deepStrictEqual(yield* heard(one), [])
      yield* two.send({ action: "back", data: { after: joined!.id } })
      const frames = yield* received(two)
      assert.deepStrictEqual(saidOf(frames), ["1"])
      // What its handler joins is answered with how.
      assert.deepStrictEqual(
        frames.filter(({ action }) => action === "back").map(({ data }) => data),
        ["resumed"] as never
      )
    }).pipe(withChannels))

  it.effect("is decided by the permissions as they are when somebody comes back", () =>
    Effect.gen(function*() {
      const hidden = new Set<string>()
      const isShown = Permission.delivery<string>()("isShown", ({ event }) =>
        Effect.map(name, (name) => !hidden.has(`${name} ${event}`)))
      const { Chat, live, say } = make({ permission: isShown as never })
      const server = yield* start(Chat, live)
      const one = yield* server.connect("/ws/lobby/?user=alice")
      const [joined] = joinedOf(yield* received(one))
      for (const text of ["1", "2", "3"]) {
        yield* say(text)
      }
      const frames = yield* received(one)
      assert.deepStrictEqual(saidOf(frames), ["1", "2", "3"])
      yield* one.leave
      // Nobody is connected who could be told of it.
      hidden.add("alice 2")
      hidden.add("alice 3")
      const last = yield* server.connect(`${after(frames[1]!.id!)}&user=alice`)
      assert.deepStrictEqual(yield* heard(last), [])
      const back = yield* server.connect(`${after(joined!.id)}&user=alice`)
      assert.deepStrictEqual(yield* heard(back), ["1"])
      const other = yield* server.connect(`${after(joined!.id)}&user=bob`)
      assert.deepStrictEqual(yield* heard(other), ["1", "2", "3"])
    }).pipe(withChannels))

  it.effect("is forgotten when it has not been used for as long as it keeps events", () =>
    Effect.gen(function*() {
      const kept = yield* watchKept
      const { Chat, live, say } = make()
      const server = yield* start(Chat, live)
      const visit = (room: string) =>
        Effect.gen(function*() {
          const client = yield* server.connect(`/ws/${room}/`)
          yield* say("hi", room)
          yield* client.leave
        })
      for (let i = 0; i < 1000; i++) yield* visit(`room ${i}`)
      yield* settle
      assert.deepInclude(yield* kept, { connections: 0, groups: 0, histories: 1000 })
      yield* TestClock.adjust("1 hour")
      yield* TestClock.adjust("1 milli")
      // By and by, while others are used.
      for (let i = 0; i < 400; i++) yield* visit("lobby")
      assert.deepInclude(yield* kept, { connections: 0, groups: 0, histories: 1 })
    }).pipe(withChannels), 30_000)

  it.effect("loses nothing, repeats nothing and keeps the order where events are sent while somebody joins", () =>
    Effect.gen(function*() {
      for (const slow of ["before", "after", "both"] as const) {
        const adding = yield* Latch.make(false)
        const layer = layerWith((memory) => ({
          add: (group, member, after) =>
            Effect.gen(function*() {
              if (slow !== "after") yield* adding.await
              const joined = yield* memory.add(group, member, after)
              if (slow !== "before") {
                yield* Effect.yieldNow
                yield* adding.await
              }
              return joined
            })
        }))
        yield* Effect.gen(function*() {
          const { Chat, live, say } = make()
          const server = yield* start(Chat, live)
          yield* adding.open
          const one = yield* server.connect("/ws/lobby/")
          yield* say("1")
          const seen = (yield* received(one)).at(-1)!.id!
          yield* one.leave
          yield* adding.close
          const connecting = yield* Effect.forkChild(server.connect(after(seen)), { startImmediately: true })
          yield* say("2")
          yield* settle
          yield* say("3")
          yield* adding.open
          yield* say("4")
          const back = yield* Fiber.join(connecting)
          const frames = yield* received(back)
          assert.strictEqual(frames[0]!.type, "$joined", slow)
          assert.deepInclude(joinedOf(frames)[0], { state: "resumed", id: seen })
          assert.deepStrictEqual(saidOf(frames), ["2", "3", "4"], slow)
        }).pipe(Effect.scoped, Effect.provide(Layer.merge(layer, Authority.layerMemory)))
      }
    }))
})

/** Escaped as far as that can be said in UTF-8. */
const escaped = (text: string): string => {
  try {
    return encodeURIComponent(text)
  } catch {
    return "room:%ED%A0%80"
  }
}
