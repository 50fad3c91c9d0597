import {
  Action,
  Authority,
  ChannelError,
  ChannelLayer,
  Consumer,
  Event,
  Group,
  Handlers,
  Membership,
  Permission,
  Transport
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { settle, withLogs } from "./support/connection.ts"
import {
  AuthenticationLive,
  CurrentUser,
  heard,
  layerTest,
  layerWith,
  problemsOf,
  received,
  refusedWith,
  start,
  watchKept
} from "./support/groups.ts"

const Room = Group.make("room", { room: Schema.String })
const Said = Event.make("said", Schema.String)

const withChannels = Effect.provide(layerTest)

/** A consumer whose connections join the groups that `params` says, and its server. */
const joining = <E = never, R = never>(
  params: (room: string) =>
    | { readonly room: string }
    | ReadonlyArray<{ readonly room: string }>
    | Effect.Effect<
      { readonly room: string } | ReadonlyArray<{ readonly room: string }>,
      E,
      R
    >
) => {
  const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(
    Consumer.join(Room, (scope) => params(scope.params.room)),
    Consumer.push(Said)
  )
  const send = (room: string, text: string) => ChannelLayer.send(ChannelLayer.group(Chat, Room, { room }), Said, text)
  const count = (room: string) => ChannelLayer.count(ChannelLayer.group(Chat, Room, { room }))
  return { Chat, live: Handlers.toLayer(Consumer.handlers(Chat)).pipe(Layer.provide(AuthenticationLive)), send, count }
}

describe("a group", () => {
  it("prints what it is", () => {
    assert.deepStrictEqual(
      Room.pipe(Group.history({ count: 5, age: "1 minute" }), Group.shared, Group.presence(Schema.String)).toJSON(),
      {
        _id: "Group",
        name: "room",
        permission: "allow",
        shared: true,
        history: { count: 5, age: "1 minute" },
        presence: true
      }
    )
    assert.isTrue(Group.isGroup(Room))
    assert.isFalse(Group.isGroup({ name: "room" }))
  })

  it.effect("of which there is one in a consumer needs no parameters", () =>
    Effect.gen(function*() {
      const Lobby = Group.make("lobby")
      const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.join(Lobby, () => ({})), Consumer.push(Said))
      const server = yield* start(Chat, Handlers.toLayer(Consumer.handlers(Chat)))
      const client = yield* server.connect("/ws/")
      yield* ChannelLayer.send(ChannelLayer.group(Chat, Lobby, {}), Said, "hi")
      assert.deepStrictEqual(yield* received(client), [{ type: "said", data: "hi", status: 200 }] as never)
    }).pipe(withChannels))

  it.effect("is the same one for the same parameters, in whichever order they are given", () =>
    Effect.gen(function*() {
      const Spot = Group.make("spot", { x: Schema.Int, at: Schema.Date, y: Schema.optionalKey(Schema.Int) })
      const at = new Date(0)
      const Map = Consumer.make("map", { path: "/ws/" }).pipe(
        Consumer.join(Spot, () => ({ y: 2, x: 1, at })),
        Consumer.push(Said)
      )
      const server = yield* start(Map, Handlers.toLayer(Consumer.handlers(Map)))
      const client = yield* server.connect("/ws/")
      yield* ChannelLayer.send(ChannelLayer.group(Map, Spot, { x: 1, y: 2, at: new Date(0) }), Said, "same")
      yield* ChannelLayer.send(ChannelLayer.group(Map, Spot, { at, y: 2, x: 1 }), Said, "again")
      yield* ChannelLayer.send(ChannelLayer.group(Map, Spot, { x: 1, at }), Said, "other")
      assert.deepStrictEqual(yield* heard(client), ["same", "again"])
    }).pipe(withChannels))

  it.effect("is its consumer's own, unless it is shared; and events that a consumer does not declare do not reach it", () =>
    Effect.gen(function*() {
      const Shared = Group.make("shared").pipe(Group.shared)
      const Own = Group.make("own")
      const Noted = Event.make("noted", Schema.String)
      const make = <const N extends string>(name: N) =>
        Consumer.make(name, { path: `/${name}/` as "/x/" }).pipe(
          Consumer.join(Shared, () => ({})),
          Consumer.join(Own, () => ({})),
          Consumer.push(Said)
        )
      const One = make("one").pipe(Consumer.push(Noted))
      const Two = make("two")
      const server = yield* start(
        [One, Two] as ReadonlyArray<typeof One | typeof Two>,
        Layer.merge(Handlers.toLayer(Consumer.handlers(One)), Handlers.toLayer(Consumer.handlers(Two)))
      )
      const one = yield* server.connect("/one/")
      const two = yield* server.connect("/two/")
      yield* ChannelLayer.send(ChannelLayer.group(One, Own, {}), Said, "own of one")
      yield* ChannelLayer.send(ChannelLayer.group(Two, Own, {}), Said, "own of two")
      yield* ChannelLayer.send(ChannelLayer.group(One, Shared, {}), Said, "shared")
      yield* ChannelLayer.send(ChannelLayer.group(One, Shared, {}), Noted, "noted")
      yield* ChannelLayer.send(ChannelLayer.everyone(Two), Said, "everyone of two")
      // In spite of the types.
      yield* ChannelLayer.send(ChannelLayer.everyone(Two) as never, Noted, "not for two")
      yield* ChannelLayer.send(ChannelLayer.group(Two, Own, {}) as never, Noted, "not for two either")
      assert.deepStrictEqual(yield* heard(one), ["own of one", "shared", "noted"])
      assert.deepStrictEqual(yield* heard(two), ["own of two", "shared", "everyone of two"])
      assert.strictEqual(yield* ChannelLayer.count(ChannelLayer.group(Two, Shared, {})), 2)
      assert.strictEqual(yield* ChannelLayer.count(ChannelLayer.group(Two, Own, {})), 1)
    }).pipe(withChannels))

  it.effect("of a consumer that is called null is no shared one", () =>
    Effect.gen(function*() {
      const Own = Group.make("room")
      const Shared = Group.make("room").pipe(Group.shared)
      const Null = Consumer.make("null", { path: "/null/" }).pipe(Consumer.join(Own, () => ({})), Consumer.push(Said))
      const Other = Consumer.make("other", { path: "/other/" }).pipe(
        Consumer.join(Shared, () => ({})),
        Consumer.push(Said)
      )
      const server = yield* start(
        [Null, Other] as ReadonlyArray<typeof Null | typeof Other>,
        Layer.merge(Handlers.toLayer(Consumer.handlers(Null)), Handlers.toLayer(Consumer.handlers(Other)))
      )
      const client = yield* server.connect("/null/")
      yield* ChannelLayer.send(ChannelLayer.group(Other, Shared, {}), Said, "hi")
      assert.deepStrictEqual(yield* heard(client), [])
    }).pipe(withChannels))
})

describe("Consumer.join", () => {
  it.effect("has a connection in the group before its handshake is answered", () =>
    Effect.gen(function*() {
      const { Chat, count, live, send } = joining((room) => ({ room }))
      const server = yield* start(Chat, live)
      const session = yield* server.pipeline.connect({ id: "1", url: "/ws/lobby/" })
      assert.strictEqual(yield* count("lobby"), 1)
      // What comes before the upgrade waits for it.
      yield* send("lobby", "early")
      yield* session.abandon
      assert.strictEqual(yield* count("lobby"), 0)
      const client = yield* server.connect("/ws/lobby/")
      yield* send("lobby", "hi")
      yield* send("hall", "nobody")
      assert.deepStrictEqual(yield* heard(client), ["hi"])
    }).pipe(withChannels))

  it.effect("has what is sent between the handshake and the upgrade wait for the upgrade", () =>
    Effect.gen(function*() {
      const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(
        Consumer.join(Room, ({ params }) => {
          return Effect.as(
            Effect.forkDetach(
              Effect.andThen(
                settle,
                Effect.orDie(
                  ChannelLayer.send({ _tag: "Group", consumer: "chat", group: Room, params } as never, Said, "1")
                )
              )
            ),
            { room: params.room }
          )
        }),
        Consumer.push(Said)
      )
      const server = yield* start(Chat, Handlers.toLayer(Consumer.handlers(Chat)))
      const session = yield* server.pipeline.connect({ id: "1", url: "/ws/lobby/" })
      yield* settle
      yield* settle
      const [transport, peer] = yield* Transport.makeMemory
      yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      assert.strictEqual(yield* peer.take, "{\"type\":\"said\",\"data\":\"1\",\"status\":200}")
    }).pipe(withChannels))

  it.effect("takes one group or many, as a value or as an effect of who is there", () =>
    Effect.gen(function*() {
      const many = joining((room) => room.split(",").map((room) => ({ room })))
      const server = yield* start(many.Chat, many.live)
      const client = yield* server.connect("/ws/a,b,a/")
      assert.strictEqual(yield* many.count("a"), 1)
      yield* many.send("a", "1")
      yield* many.send("b", "2")
      assert.deepStrictEqual(yield* heard(client), ["1", "2"])

      const none = joining(() => [])
      const empty = yield* start(none.Chat, none.live)
      const nobody = yield* empty.connect("/ws/x/")
      yield* none.send("x", "1")
      assert.deepStrictEqual(yield* heard(nobody), [])
    }).pipe(withChannels))

  it.effect("asks an effect with the identity of the connection", () =>
    Effect.gen(function*() {
      const { Chat, live, send } = joining(() => CurrentUser.use((user) => ({ room: `of ${user.name}` })))
      const server = yield* start(Chat, live)
      const alice = yield* server.connect("/ws/x/?user=alice")
      yield* send("of alice", "hi")
      assert.deepStrictEqual(yield* heard(alice), ["hi"])
      // Nobody in particular has no room.
      const [error] = yield* refusedWith(server.connect("/ws/x/"), 403)
      assert.strictEqual(error!.code, "not_authenticated")
    }).pipe(withChannels))

  it.effect("joins a group that stands in two of them by either", () =>
    Effect.gen(function*() {
      const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(
        Consumer.join(Room, ({ params }) => ({ room: params.room })),
        Consumer.join(Room, () => ({ room: "everybody" })),
        Consumer.push(Said)
      )
      const server = yield* start(Chat, Handlers.toLayer(Consumer.handlers(Chat)))
      const client = yield* server.connect("/ws/lobby/")
      yield* ChannelLayer.send(ChannelLayer.group(Chat, Room, { room: "lobby" }), Said, "1")
      yield* ChannelLayer.send(ChannelLayer.group(Chat, Room, { room: "everybody" }), Said, "2")
      yield* server.connect("/ws/everybody/")
      assert.deepStrictEqual(yield* heard(client), ["1", "2"])
      assert.strictEqual(yield* ChannelLayer.count(ChannelLayer.group(Chat, Room, { room: "everybody" })), 2)
    }).pipe(withChannels))

  it.effect("is answered with what its effect fails with, or breaks by, and lets nothing behind", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const kept = yield* watchKept
        class NoRoom extends Schema.TaggedError<NoRoom>()("NoRoom", {}, { httpApiStatus: 404 }) {}
        const { Chat, live } = joining((room): Effect.Effect<
          ReadonlyArray<{ readonly room: string }>,
          NoRoom | ChannelError.Unavailable
        > =>
          room === "gone"
            ? Effect.fail(new NoRoom())
            : room === "down"
            ? Effect.fail(new ChannelError.Unavailable({ message: "The directory does not answer" }))
            : room === "thrown"
            ? (() => {
              throw new Error("secret")
            })()
            : room === "odd"
            ? Effect.succeed({ room: 7 } as never)
            : Effect.succeed([{ room: "a" }, { room }])
        )
        const server = yield* start(Chat, live)
        yield* refusedWith(server.connect("/ws/gone/"), 404)
        yield* refusedWith(server.connect("/ws/down/"), 503)
        assert.deepStrictEqual(logs.filter(({ level }) => level === "Error"), [])
        yield* refusedWith(server.connect("/ws/thrown/"), 500)
        yield* refusedWith(server.connect("/ws/odd/"), 500)
        assert.strictEqual(logs.filter(({ message }) => message === "The handshake of \"chat\" broke").length, 2)
        assert.deepInclude(yield* kept, { connections: 0, users: 0, groups: 0 })
      })
    ).pipe(withChannels))
})

describe("a handshake that does not come to a connection", () => {
  const isMember = Permission.group<{ readonly room: string }>()(
    "isMember",
    ({ params }) => CurrentUser.use((user) => user.tag === params.room),
    { reason: "Members only", code: "not_member" }
  )
  const Members = Group.make("members", { room: Schema.String }).pipe(Group.permit(isMember))

  /** Joins the open room, then that of the members. */
  const make = () => {
    const trace: Array<string> = []
    const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(
      Consumer.join(Room, ({ params }) =>
        Effect.as(
          Effect.acquireRelease(
            Effect.sync(() => trace.push("acquired")),
            () => Effect.sync(() => trace.push("released"))
          ),
          { room: params.room }
        )),
      Consumer.join(Members, ({ params }) => ({ room: params.room })),
      Consumer.push(Said)
    )
    const count = ChannelLayer.count(ChannelLayer.group(Chat, Room, { room: "lobby" }))
    return {
      Chat,
      live: Handlers.toLayer(Consumer.handlers(Chat)).pipe(Layer.provide(AuthenticationLive)),
      count,
      trace
    }
  }

  it.effect("is refused with the reason of the group's permission, and leaves what it has joined", () =>
    Effect.gen(function*() {
      const kept = yield* watchKept
      const { Chat, count, live, trace } = make()
      const server = yield* start(Chat, live)
      const errors = yield* refusedWith(server.connect("/ws/lobby/?user=alice&tag=hall"), 403)
      assert.deepStrictEqual(errors, [{ detail: "Members only", code: "not_member" }])
      const [nobody] = yield* refusedWith(server.connect("/ws/lobby/"), 403)
      assert.strictEqual(nobody!.code, "not_authenticated")
      assert.strictEqual(yield* count, 0)
      assert.deepStrictEqual(trace, ["acquired", "released", "acquired", "released"])
      assert.deepInclude(yield* kept, { connections: 0, users: 0, groups: 0 })
      const client = yield* server.connect("/ws/lobby/?user=alice&tag=lobby")
      assert.strictEqual(yield* count, 1)
      yield* client.leave
      yield* settle
      assert.strictEqual(yield* count, 0)
      assert.deepInclude(yield* kept, { connections: 0, users: 0, groups: 0 })
      assert.strictEqual(trace.at(-1), "released")
    }).pipe(withChannels))

  it.effect("is answered with 503 where the layer cannot be reached, and leaves what it has joined", () => {
    const added: Array<string> = []
    const removed: Array<string> = []
    const layer = layerWith((memory) => ({
      add: (group, member, after) => {
        added.push(group.label)
        return added.length === 2
          ? Effect.fail(new ChannelError.Unavailable({ message: "No broker" }))
          : memory.add(group, member, after)
      },
      remove: (group, member) => {
        removed.push(group.label)
        return memory.remove(group, member)
      }
    }))
    return Effect.gen(function*() {
      const { Chat, count, live, trace } = make()
      const server = yield* start(Chat, live)
      const [error] = yield* refusedWith(server.connect("/ws/lobby/?user=alice&tag=lobby"), 503)
      assert.strictEqual(error!.detail, "No broker")
      assert.strictEqual(yield* count, 0)
      assert.deepStrictEqual(trace, ["acquired", "released"])
      assert.deepStrictEqual(removed.toSorted(), added.toSorted())
    }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
  })

  it.effect("leaves nothing behind, at whichever point it is interrupted", () =>
    Effect.gen(function*() {
      const kept = yield* watchKept
      /** The handshake stops where it is told to. */
      const step = { at: -1, count: 0 }
      const stopped = yield* Deferred.make<void>()
      const pass = Effect.suspend(() =>
        step.count++ === step.at ? Effect.andThen(Deferred.succeed(stopped, undefined), Effect.never) : Effect.void
      )
      const layer = layerWith((memory) => ({
        add: (group, member, after) => Effect.andThen(pass, Effect.tap(memory.add(group, member, after), () => pass)),
        remove: (group, member) => Effect.andThen(Effect.yieldNow, memory.remove(group, member))
      }))
      const check = Permission.group<{ readonly room: string }>()("isIn", () => Effect.as(pass, true))
      const Guarded = Group.make("guarded", { room: Schema.String }).pipe(Group.permit(check))
      const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(
        Consumer.join(Room, ({ params }) => Effect.as(pass, { room: params.room })),
        Consumer.join(Guarded, ({ params }) => Effect.as(pass, [{ room: params.room }, { room: "second" }])),
        Consumer.push(Said)
      )
      const live = Handlers.toLayer(Consumer.handlers(Chat)).pipe(Layer.provide(AuthenticationLive))
      yield* Effect.gen(function*() {
        const server = yield* start(Chat, live)
        const connecting = server.pipeline.connect({ id: "1", url: "/ws/lobby/?user=alice" })
        const session = yield* connecting
        const points = step.count
        assert.isAbove(points, 10)
        yield* session.abandon
        for (let at = 0; at < points; at++) {
          step.at = at
          step.count = 0
          const fiber = yield* Effect.forkChild(connecting, { startImmediately: true })
          yield* settle
          assert.strictEqual(step.count, at + 1)
          yield* Fiber.interrupt(fiber)
          assert.deepInclude(yield* kept, { connections: 0, users: 0, groups: 0 }, `at ${at} of ${points}`)
        }
        // Also at each turn, where nothing is waited for.
        step.at = -1
        for (let turns = 0; turns < 40; turns++) {
          const fiber = yield* Effect.forkChild(connecting)
          for (let i = 0; i < turns; i++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          const exit = yield* Fiber.await(fiber)
          if (exit._tag === "Success") yield* exit.value.abandon
          assert.deepInclude(yield* kept, { connections: 0, users: 0, groups: 0 }, `after ${turns} turns`)
        }
      }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
    }))
})

describe("Group.permit", () => {
  it.effect("is asked for the parameters, and by who is there", () =>
    Effect.gen(function*() {
      const asked: Array<unknown> = []
      const isMember = Permission.group<{ readonly id: number }>()("isMember", ({ group, params }) => {
        asked.push([group, params.id])
        return params.id > 1
      })
      const Document = Group.make("document", { id: Schema.Int }).pipe(
        Group.permit(isMember),
        Group.permit(Permission.isAuthenticated(CurrentUser))
      )
      const follow = Action.make("follow", { payload: { id: Schema.Int } })
      const Documents = Consumer.make("documents", { path: "/ws/" }).pipe(
        Consumer.groups(Document),
        Consumer.add(follow)
      )
      const live = Consumer.handlers(Documents).pipe(
        Handlers.handle("follow", ({ payload }) => Effect.asVoid(Membership.join(Document, { id: payload.id }))),
        Handlers.toLayer,
        Layer.provide(AuthenticationLive)
      )
      const server = yield* start(Documents, live)
      const alice = yield* server.connect("/ws/?user=alice")
      const nobody = yield* server.connect("/ws/")
      assert.strictEqual((yield* alice.ask({ action: "follow", data: { id: 1 } })).status, 403)
      assert.strictEqual((yield* alice.ask({ action: "follow", data: { id: 2 } })).status, 200)
      assert.strictEqual((yield* nobody.ask({ action: "follow", data: { id: 2 } })).status, 403)
      assert.deepStrictEqual(asked[0], ["document", 1])
      assert.strictEqual(yield* ChannelLayer.count(ChannelLayer.group(Documents, Document, { id: 2 })), 1)
    }).pipe(withChannels))

  it.effect("breaks a handshake where a check breaks", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const breaks = Permission.group()("breaks", () => Effect.die(new Error("secret")))
        const down = Permission.group()("down", () => Effect.fail(new ChannelError.Unavailable({ message: "Down" })))
        const Broken = Group.make("broken").pipe(Group.permit(breaks))
        const Down = Group.make("down").pipe(Group.permit(Permission.not(down)))
        const One = Consumer.make("one", { path: "/one/" }).pipe(Consumer.join(Broken, () => ({})))
        const Two = Consumer.make("two", { path: "/two/" }).pipe(Consumer.join(Down, () => ({})))
        const one = yield* start(One, Handlers.toLayer(Consumer.handlers(One)))
        const two = yield* start(Two, Handlers.toLayer(Consumer.handlers(Two)))
        const errors = yield* refusedWith(one.connect("/one/"), 500)
        assert.notInclude(JSON.stringify(errors), "secret")
        yield* refusedWith(two.connect("/two/"), 503)
        assert.strictEqual(logs.filter(({ cause }) => cause.includes("secret")).length, 1)
        assert.strictEqual(yield* ChannelLayer.count(ChannelLayer.group(One, Broken, {})), 0)
      })
    ).pipe(withChannels))

  it.effect("decides each event by the delivery checks that stand in it", () =>
    Effect.gen(function*() {
      const isMember = Permission.group()("isMember", () => CurrentUser.use((user) => user.name !== "mallory"))
      const isForAll = Permission.delivery<unknown>()(
        "isForAll",
        ({ event, type }) => CurrentUser.use((user) => type === "said" && event === `for ${user.name}`)
      )
      const isAdmin = Permission.connection("isAdmin", CurrentUser.use((user) => user.name === "admin"))
      const Feed = Group.make("feed").pipe(Group.permit(isMember), Group.permit(Permission.or(isAdmin, isForAll)))
      const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(
        Consumer.join(Feed, () => ({})),
        Consumer.push(Said)
      )
      const live = Handlers.toLayer(Consumer.handlers(Feeds)).pipe(Layer.provide(AuthenticationLive))
      const server = yield* start(Feeds, live)
      const admin = yield* server.connect("/ws/?user=admin")
      const alice = yield* server.connect("/ws/?user=alice")
      yield* refusedWith(server.connect("/ws/?user=mallory"), 403)
      for (const text of ["for alice", "for bob"]) {
        yield* ChannelLayer.send(ChannelLayer.group(Feeds, Feed, {}), Said, text)
      }
      assert.deepStrictEqual(yield* heard(admin), ["for alice", "for bob"])
      assert.deepStrictEqual(yield* heard(alice), ["for alice"])
    }).pipe(withChannels))
})

describe("what Group.permit leaves to each event", () => {
  it.effect("is decided anew on news", () =>
    Effect.gen(function*() {
      let isAdmin = false
      const mayAll = Permission.group()("mayAll", () => isAdmin)
      const isForAll = Permission.delivery<unknown>()("isForAll", ({ event }) => event !== "for admins")
      const Feed = Group.make("feed").pipe(Group.permit(Permission.or(mayAll, isForAll)))
      const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(
        Consumer.join(Feed, () => ({})),
        Consumer.push(Said)
      )
      const server = yield* start(Feeds, Handlers.toLayer(Consumer.handlers(Feeds)))
      const client = yield* server.connect("/ws/")
      const say = Effect.forEach(["for admins", "for all"], (text) =>
        ChannelLayer.send(ChannelLayer.group(Feeds, Feed, {}), Said, text))
      const turn = (to: boolean) =>
        Effect.suspend(() => {
          isAdmin = to
          return Authority.invalidate(Authority.everyone)
        })
      yield* say
      assert.deepStrictEqual(yield* heard(client), ["for all"])
      yield* turn(true)
      yield* say
      assert.deepStrictEqual(yield* heard(client), ["for admins", "for all"])
      yield* turn(false)
      yield* say
      assert.deepStrictEqual(yield* heard(client), ["for all"])
    }).pipe(withChannels))
})

describe("losing Group.permit", () => {
  /** Who may be in the room, and what is wrong with finding out. */
  const make = (permit: (room: string) => boolean | Effect.Effect<boolean, ChannelError.Unavailable>) => {
    const isMember = Permission.group<{ readonly room: string }>()(
      "isMember",
      ({ params }) => permit(params.room),
      { reason: "Members only", code: "not_member" }
    )
    const Members = Group.make("members", { room: Schema.String }).pipe(Group.permit(isMember))
    const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(
      Consumer.join(Members, () => [{ room: "a" }, { room: "b" }]),
      Consumer.push(Said)
    )
    const of = (room: string) => ChannelLayer.group(Chat, Members, { room })
    return { Chat, live: Handlers.toLayer(Consumer.handlers(Chat)).pipe(Layer.provide(AuthenticationLive)), of }
  }

  it.effect("on news leaves the group, which the client is told with status and errors, and no other group", () =>
    Effect.gen(function*() {
      const rooms = new Set(["a", "b"])
      const { Chat, live, of } = make((room) => rooms.has(room))
      const server = yield* start(Chat, live)
      const client = yield* server.connect("/ws/")
      rooms.delete("a")
      yield* ChannelLayer.send(of("a"), Said, "before the news")
      yield* Authority.invalidate(Authority.everyone)
      yield* ChannelLayer.send(of("a"), Said, "secret")
      yield* ChannelLayer.send(of("b"), Said, "hi")
      assert.deepStrictEqual(yield* received(client), [
        { type: "said", data: "before the news", status: 200 },
        {
          type: "$left",
          data: { group: "members", params: { room: "a" }, errors: [{ detail: "Members only", code: "not_member" }] },
          status: 403
        },
        { type: "said", data: "hi", status: 200 }
      ] as never)
      assert.strictEqual(yield* ChannelLayer.count(of("a")), 0)
      assert.strictEqual(yield* ChannelLayer.count(of("b")), 1)
      // It is not asked any more, nor told again.
      yield* Authority.invalidate(Authority.everyone)
      assert.deepStrictEqual(yield* received(client), [])
    }).pipe(withChannels))

  it.effect("is by a check that takes its time as well: what is sent meanwhile is not heard", () =>
    Effect.gen(function*() {
      const rooms = new Set(["a", "b"])
      const answering = yield* Latch.make(true)
      const { Chat, live, of } = make((room) => Effect.map(answering.await, () => rooms.has(room)))
      const server = yield* start(Chat, live)
      const client = yield* server.connect("/ws/")
      yield* answering.close
      rooms.delete("a")
      yield* Authority.invalidate(Authority.everyone)
      yield* ChannelLayer.send(of("a"), Said, "secret")
      yield* ChannelLayer.send(of("b"), Said, "hi")
      assert.deepStrictEqual(yield* received(client), [])
      yield* answering.open
      assert.deepStrictEqual((yield* received(client)).map(({ data, type }) => type === "$left" ? type : data), [
        "hi",
        "$left"
      ] as never)
    }).pipe(withChannels))

  it.effect("by a check that breaks leaves the group too, and what broke is logged", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        let how: Effect.Effect<boolean, ChannelError.Unavailable> = Effect.succeed(true)
        const { Chat, live, of } = make((room) => room === "a" ? Effect.suspend(() => how) : true)
        const server = yield* start(Chat, live)
        for (
          const [broken, status] of [
            [Effect.die(new Error("secret")), 500],
            [Effect.fail(new ChannelError.Unavailable({ message: "Down" })), 503]
          ] as const
        ) {
          how = Effect.succeed(true)
          const client = yield* server.connect("/ws/")
          how = broken
          yield* Authority.invalidate(Authority.everyone)
          yield* ChannelLayer.send(of("a"), Said, "secret")
          yield* ChannelLayer.send(of("b"), Said, "hi")
          const frames = yield* received(client)
          assert.deepStrictEqual(frames.map(({ status, type }) => [type, status]), [["$left", status], ["said", 200]])
          assert.notInclude(JSON.stringify(frames), "secret")
          yield* client.leave
        }
        assert.strictEqual(logs.filter(({ cause, level }) => level === "Error" && cause.includes("secret")).length, 1)
      })
    ).pipe(withChannels))

  it.effect("in the middle of a handshake does not let it into the group", () =>
    Effect.gen(function*() {
      const rooms = new Set(["a", "b"])
      const adding = yield* Latch.make(false)
      const layer = layerWith((memory) => ({
        add: (group, member, after) => Effect.andThen(adding.await, memory.add(group, member, after))
      }))
      yield* Effect.gen(function*() {
        const { Chat, live, of } = make((room) => rooms.has(room))
        const server = yield* start(Chat, live)
        const connecting = yield* Effect.forkChild(server.connect("/ws/"), { startImmediately: true })
        yield* settle
        rooms.delete("a")
        yield* Authority.invalidate(Authority.everyone)
        yield* adding.open
        yield* refusedWith(Fiber.join(connecting), 403)
        assert.strictEqual(yield* ChannelLayer.count(of("a")), 0)
        assert.strictEqual(yield* ChannelLayer.count(of("b")), 0)
      }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
    }))
})

describe("a definition", () => {
  const isEdit = Permission.action("isEdit", () => true)
  const isAuthor = Permission.object()("isAuthor", () => true)
  const isPublic = Permission.delivery()("isPublic", () => true)

  it.effect("names what is wrong with its groups and events", () =>
    Effect.gen(function*() {
      const Wrong = Group.make("wrong").pipe(
        Group.permit(Permission.or(isEdit, isAuthor) as never),
        Group.history({ count: 0, age: "Infinity" })
      )
      const Twice = Group.make("twice")
      const Shown = Group.make("shown").pipe(Group.presence(Schema.String))
      const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(
        Consumer.groups(Wrong as unknown as typeof Twice, Twice, Group.make("twice", { id: Schema.String })),
        Consumer.join(Shown as unknown as typeof Twice, () => ({})),
        Consumer.join(Twice as unknown as typeof Shown, () => ({}), { presence: () => "x" }),
        Consumer.push(Said, Event.make("said", Schema.Int), Event.make("$own" as "own", Schema.String)),
        Consumer.push(
          Event.make("guarded", Schema.String).pipe(Event.permit(isAuthor as never)) as unknown as typeof Said
        )
      )
      const problems = yield* problemsOf(start(Chat, Handlers.toLayer(Consumer.handlers(Chat))))
      assert.deepStrictEqual(problems, [
        "the check \"isEdit\" of the group \"wrong\" can only be decided in the action phase",
        "the check \"isAuthor\" of the group \"wrong\" can only be decided in the object phase",
        "the group \"wrong\" keeps 0 events: give its history a whole number from 1",
        "the group \"wrong\" keeps its events for Infinity: give its history a finite duration",
        "the group \"twice\" is declared twice, and differently: two groups need two names",
        "the group \"shown\" has presence: say with the option presence of Consumer.join what members are told",
        "the group \"twice\" is declared twice, and differently: two groups need two names",
        "the group \"twice\" has no presence, but Consumer.join says what members are told: add Group.presence",
        "the event \"said\" is declared twice: two events need two types",
        "the event \"$own\" has one of the protocol's own types, which begin with \"$\": give it another one",
        "the check \"isAuthor\" of the event \"guarded\" can only be decided in the object phase"
      ])
    }).pipe(withChannels, Effect.scoped))

  it.effect("of a permission of messages does not take checks of events or groups", () =>
    Effect.gen(function*() {
      const isIn = Permission.group()("isIn", () => true)
      const edit = Action.make("edit").pipe(Action.permit(Permission.or(isPublic, isIn) as never)) as ReturnType<
        typeof Action.make<"edit">
      >
      const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.add(edit))
      const live = Consumer.handlers(Chat).pipe(Handlers.handle("edit", () => Effect.void), Handlers.toLayer)
      const problems = yield* problemsOf(start(Chat, live))
      assert.deepStrictEqual(problems, [
        "the check \"isPublic\" of the permission of the action \"edit\" of the consumer can only be decided in the delivery phase",
        "the check \"isIn\" of the permission of the action \"edit\" of the consumer can only be decided in the group phase"
      ])
    }).pipe(withChannels, Effect.scoped))

  it.effect("with groups or events needs a channel layer", () =>
    Effect.gen(function*() {
      const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.push(Said))
      const live = Handlers.toLayer(Consumer.handlers(Chat)) as Layer.Layer<Handlers.Live<"chat">, never>
      const problems = yield* problemsOf(start(Chat, live))
      assert.deepStrictEqual(problems, [
        "it has groups or events, but there is no ChannelLayer: provide one, ChannelLayer.layerMemory say"
      ])
    }).pipe(Effect.scoped))
})
