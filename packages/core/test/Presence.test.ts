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
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { settle } from "./support/connection.ts"
import { AuthenticationLive, CurrentUser, layerTest, name, received, refusedWith, start } from "./support/groups.ts"

const Shown = Schema.Struct({ name: Schema.String, since: Schema.Date })
const since = new Date(0)
const shownAs = (name: string) => ({ name, since: "1970-01-01T00:00:00.000Z" })

let mayBeIn = (_: string): boolean => true
const isIn = Permission.group()("isIn", () => Effect.map(name, (name) => mayBeIn(name)))

const Room = Group.make("room", { room: Schema.String }).pipe(Group.permit(isIn), Group.presence(Shown))
const Side = Group.make("side").pipe(Group.presence(Schema.String))
const Said = Event.make("said", Schema.String)

const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(
  Consumer.join(Room, ({ params }) => ({ room: params.room }), {
    presence: () => Effect.map(name, (name) => ({ name, since }))
  }),
  Consumer.groups(Side),
  Consumer.push(Said),
  Consumer.add(Action.make("enter", { payload: Schema.String }), Action.make("leave"))
)
const ChatLive = Consumer.handlers(Chat).pipe(
  Handlers.handle("enter", ({ payload }) => Effect.asVoid(Membership.join(Side, {}, { presence: payload }))),
  Handlers.handle("leave", ({ params }) => Effect.asVoid(Membership.leave(Room, { room: params.room }))),
  Handlers.toLayer,
  Layer.provide(AuthenticationLive)
)

const room = { group: "room", params: { room: "lobby" } }
const joined = (id: string, name: string) => ({
  type: "$presence",
  data: { ...room, joined: [{ id, data: shownAs(name) }], left: [] },
  status: 200
})
const left = (id: string, name: string) => ({
  type: "$presence",
  data: { ...room, joined: [], left: [{ id, data: shownAs(name) }] },
  status: 200
})
const lobby = ChannelLayer.group(Chat, Room, { room: "lobby" })

const test = (what: string, effect: Effect.Effect<void, unknown, ChannelLayer.ChannelLayer | Scope.Scope>) =>
  it.effect(what, () =>
    Effect.provide(
      Effect.andThen(
        Effect.sync(() => {
          mayBeIn = () => true
        }),
        effect
      ),
      layerTest
    ))

describe("presence", () => {
  test(
    "tells whoever joins who is there, and the others who has come",
    Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const one = yield* server.connect("/ws/lobby/?user=alice", "1")
      assert.deepStrictEqual(yield* received(one), [{
        type: "$joined",
        data: { ...room, present: [{ id: "1", data: shownAs("alice") }] },
        status: 200
      }] as never)
      const two = yield* server.connect("/ws/lobby/?user=bob", "2")
      assert.deepStrictEqual((yield* received(two)).map(({ data }) => data), [
        { ...room, present: [{ id: "1", data: shownAs("alice") }, { id: "2", data: shownAs("bob") }] }
      ] as never)
      // One's own coming is told to the others only.
      assert.deepStrictEqual(yield* received(one), [joined("2", "bob")] as never)
      yield* server.connect("/ws/hall/?user=carol", "3")
      assert.deepStrictEqual(yield* received(one), [])
    })
  )

  test(
    "can be asked for from outside, decoded",
    Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      yield* server.connect("/ws/lobby/?user=alice", "1")
      yield* server.connect("/ws/lobby/", "2")
      assert.deepStrictEqual(yield* ChannelLayer.present(lobby), [
        { id: "1", data: { name: "alice", since } },
        { id: "2", data: { name: "nobody", since } }
      ])
      assert.strictEqual(yield* ChannelLayer.count(lobby), 2)
      assert.deepStrictEqual(yield* ChannelLayer.present(ChannelLayer.group(Chat, Room, { room: "hall" })), [])
    })
  )

  test(
    "is what a handler says where it has its connection join",
    Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const one = yield* server.connect("/ws/a/", "1")
      const two = yield* server.connect("/ws/b/", "2")
      yield* one.send({ action: "enter", data: "first" })
      yield* received(one)
      yield* two.send({ action: "enter", data: "second" })
      yield* two.send({ action: "enter", data: "again" })
      const frames = yield* received(one)
      assert.deepStrictEqual(frames.map(({ data }) => data), [
        { group: "side", params: {}, joined: [{ id: "2", data: "second" }], left: [] }
      ] as never)
      assert.deepStrictEqual(yield* ChannelLayer.present(ChannelLayer.group(Chat, Side, {})), [
        { id: "1", data: "first" },
        { id: "2", data: "second" }
      ])
    })
  )

  test(
    "tells the others who has gone, in whichever way",
    Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const watcher = yield* server.connect("/ws/lobby/?user=watcher", "watcher")
      const ways = {
        "leaves by a handler": (id: string) =>
          Effect.flatMap(server.connect("/ws/lobby/?user=x", id), (client) => client.send({ action: "leave" })),
        "goes away": (id: string) => Effect.flatMap(server.connect("/ws/lobby/?user=x", id), (client) => client.leave),
        "is interrupted": (id: string) =>
          Effect.flatMap(server.connect("/ws/lobby/?user=x", id), (client) => Fiber.interrupt(client.fiber)),
        "is disconnected": (id: string) =>
          Effect.andThen(
            server.connect("/ws/lobby/?user=x", id),
            ChannelLayer.disconnect(ChannelLayer.connection(Chat, id))
          ),
        "is given up": (id: string) =>
          Effect.flatMap(
            server.pipeline.connect({ id, url: "/ws/lobby/?user=x" }),
            (session) => session.abandon
          ),
        "is drained": (id: string) =>
          Effect.flatMap(server.connect("/ws/lobby/?user=x", id), ({ session }) => session.drain("1 second")),
        "may not be there any more": (id: string) =>
          Effect.gen(function*() {
            yield* server.connect("/ws/lobby/?user=x", id)
            mayBeIn = (name) => name !== "x"
            yield* Authority.invalidate(Authority.identity(CurrentUser, "x"))
            mayBeIn = () => true
          })
      }
      yield* received(watcher)
      for (const [way, go] of Object.entries(ways)) {
        yield* Effect.scoped(go(way))
        yield* settle
        assert.deepStrictEqual(yield* received(watcher), [joined(way, "x"), left(way, "x")] as never, way)
        assert.strictEqual(yield* ChannelLayer.count(lobby), 1, way)
      }
      // Who is not let in was never there.
      mayBeIn = (name) => name !== "x"
      yield* refusedWith(server.connect("/ws/lobby/?user=x"), 403)
      assert.deepStrictEqual(yield* received(watcher), [])
    })
  )

  test(
    "that cannot be said breaks the handshake, and lets nobody in",
    Effect.gen(function*() {
      const Odd = Consumer.make("odd", { path: "/ws/" }).pipe(
        Consumer.join(Room, () => ({ room: "lobby" }), { presence: () => ({ name: 7 }) as never })
      )
      const server = yield* start(Odd, Handlers.toLayer(Consumer.handlers(Odd)).pipe(Layer.provide(AuthenticationLive)))
      yield* refusedWith(server.connect("/ws/"), 500)
      assert.strictEqual(yield* ChannelLayer.count(ChannelLayer.group(Odd, Room, { room: "lobby" })), 0)
    })
  )

  test(
    "belongs to the consumer: events of the protocol come to those that have a group",
    Effect.gen(function*() {
      const server = yield* start(Chat, ChatLive)
      const client = yield* server.connect("/ws/lobby/")
      yield* received(client)
      yield* ChannelLayer.send(lobby, Said, "hi")
      assert.deepStrictEqual((yield* received(client)).map(({ type }) => type), ["said"])
    })
  )
})
