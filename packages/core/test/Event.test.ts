import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  ChannelLayer,
  ConnectionScope,
  Consumer,
  Event,
  Group,
  Handlers,
  Permission,
  Transport
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as TestClock from "effect/testing/TestClock"
import { settle, withLogs } from "./support/connection.ts"
import {
  AuthenticationLive,
  closeCode,
  CurrentUser,
  deliveriesOf,
  heard,
  layerTest,
  name,
  received,
  Renamed,
  start
} from "./support/groups.ts"

const Feed = Group.make("feed")
const ScopeOf = ConnectionScope.ConnectionScope
const text = (event: unknown): string => event as string

/** A consumer of one event that is permitted so, all of whose connections are in one group. */
const feeding = (
  permission: Permission.Permission<never, unknown, never> | Permission.Permission<never, unknown, unknown>,
  authentication: Layer.Layer<Authentication.Authenticator<CurrentUser>> = AuthenticationLive
) => {
  const Said = Event.make("said", Schema.String).pipe(Event.permit(permission as typeof Permission.allow))
  const Other = Event.make("other", Schema.String)
  const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(
    Consumer.join(Feed, () => ({})),
    Consumer.push(Said, Other),
    Consumer.add(Action.make("ping", { success: Schema.String }))
  )
  const live = Consumer.handlers(Feeds).pipe(
    Handlers.handle("ping", () => Effect.succeed("pong")),
    Handlers.toLayer,
    Layer.provide(authentication)
  )
  const feed = ChannelLayer.group(Feeds, Feed, {})
  return {
    Feeds,
    Said,
    Other,
    live,
    feed,
    say: (text: string) => ChannelLayer.send(feed, Said, text),
    other: (text: string) => ChannelLayer.send(feed, Other, text)
  }
}

const withChannels = Effect.provide(layerTest)

describe("an event", () => {
  it("prints what it is", () => {
    const Moved = Event.make("moved", Schema.String, { whenSlow: { latest: (at) => at } })
    assert.deepStrictEqual(Moved.toJSON(), { _id: "Event", type: "moved", permission: "allow", whenSlow: "latest" })
    assert.isTrue(Event.isEvent(Moved))
    assert.isFalse(Event.isEvent({ type: "moved" }))
  })

  it.effect("is sent in the JSON form of its schema, with the status that it is given", () =>
    Effect.gen(function*() {
      const Dated = Event.make("dated", Schema.Struct({ at: Schema.Date, note: Schema.optionalKey(Schema.String) }))
      const Days = Consumer.make("days", { path: "/ws/" }).pipe(Consumer.push(Dated))
      const server = yield* start(Days, Handlers.toLayer(Consumer.handlers(Days)))
      const client = yield* server.connect("/ws/")
      yield* ChannelLayer.send(ChannelLayer.everyone(Days), Dated, { at: new Date(0), note: "\u2028\"" }, {
        status: 202
      })
      assert.strictEqual(
        yield* client.nextText,
        "{\"type\":\"dated\",\"data\":{\"at\":\"1970-01-01T00:00:00.000Z\",\"note\":\"\u2028\\\"\"},\"status\":202}"
      )
    }).pipe(withChannels))

  it.effect("that cannot be encoded is a defect of whoever sends it, and reaches nobody", () =>
    Effect.gen(function*() {
      const Counted = Event.make("counted", Schema.Int)
      const Counts = Consumer.make("counts", { path: "/ws/" }).pipe(Consumer.push(Counted))
      const server = yield* start(Counts, Handlers.toLayer(Consumer.handlers(Counts)))
      const client = yield* server.connect("/ws/")
      const exit = yield* Effect.exit(ChannelLayer.send(ChannelLayer.everyone(Counts), Counted, 1.5))
      assert.strictEqual(exit._tag === "Failure" && exit.cause.reasons[0]!._tag, "Die")
      assert.deepStrictEqual(yield* received(client), [])
    }).pipe(withChannels))
})

describe("Event.permit", () => {
  it.effect("decides for each recipient, by who it is and what the event says", () =>
    Effect.gen(function*() {
      const isFor = Permission.delivery<string>()("isFor", ({ event, type }) =>
        Effect.map(name, (name) => type === "said" && text(event).includes(name)))
      const { Feeds, live, say } = feeding(isFor)
      const server = yield* start(Feeds, live)
      const clients = yield* Effect.forEach(["?user=alice", "?user=bob", ""], (query) =>
        server.connect(`/ws/${query}`))
      for (const words of ["alice", "bob and alice", "nobody"]) yield* say(words)
      assert.deepStrictEqual(yield* Effect.forEach(clients, heard), [
        ["alice", "bob and alice"],
        ["bob and alice"],
        ["nobody"]
      ])
      assert.deepInclude(yield* deliveriesOf("said"), { sent: 4, denied: 5 })
    }).pipe(withChannels))

  it.effect("is required as well as the one before", () =>
    Effect.gen(function*() {
      const isLong = Permission.delivery<string>()("isLong", ({ event }) => event.length > 2)
      const isLow = Permission.delivery<string>()("isLow", ({ event }) => event === event.toLowerCase())
      const Said = Event.make("said", Schema.String).pipe(Event.permit(isLong), Event.permit(isLow))
      const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.push(Said))
      const server = yield* start(Chat, Handlers.toLayer(Consumer.handlers(Chat)))
      const client = yield* server.connect("/ws/")
      for (const words of ["a", "ABC", "abc"]) yield* ChannelLayer.send(ChannelLayer.everyone(Chat), Said, words)
      assert.deepStrictEqual(yield* heard(client), ["abc"])
    }).pipe(withChannels))

  it.effect("that breaks delivers nothing to whom it breaks for, says so in the log, and lets the others have it", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const breaks = Permission.delivery<string>()("breaks", ({ event }) =>
          Effect.flatMap(name, (name): Effect.Effect<boolean, ChannelError.Unavailable> => {
            if (name !== "bob") {
              return Effect.succeed(true)
            }
            if (event === "throw") {
              throw new Error("secret")
            }
            return event === "fail"
              ? Effect.fail(new ChannelError.Unavailable({ message: "secret" }))
              : event === "odd"
              ? Effect.succeed(1 as never)
              : event === "interrupt"
              ? Effect.interrupt
              : event === "die"
              ? Effect.andThen(Effect.yieldNow, Effect.die(new Error("secret")))
              : Effect.succeed(true)
          }))
        const { Feeds, live, say } = feeding(Permission.not(Permission.not(breaks)))
        const server = yield* start(Feeds, live)
        const clients = yield* Effect.forEach(["alice", "bob", "carol"], (user) =>
          server.connect(`/ws/?user=${user}`))
        const ways = ["throw", "fail", "odd", "interrupt", "die"]
        for (const way of [...ways, "fine"]) {
          yield* say(way)
        }
        const [alice, bob, carol] = yield* Effect.forEach(clients, heard)
        assert.deepStrictEqual(alice, [...ways, "fine"])
        assert.deepStrictEqual(carol, [...ways, "fine"])
        assert.deepStrictEqual(bob, ["fine"])
        const broken = logs.filter(({ message }) =>
          message === "The permission to receive \"said\" of \"feeds\" broke"
        )
        assert.strictEqual(broken.length, ways.length)
        assert.deepInclude(yield* deliveriesOf("said"), { sent: 13, failed: 5 })
      })
    ).pipe(withChannels))

  it.effect("that looks at the user where there is none is a plain denial", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        let asked = 0
        const isHeard = Permission.delivery<string>()("isHeard", () => {
          asked++
          return CurrentUser.use((user) => user.name !== "")
        })
        const { Feeds, live, say } = feeding(isHeard)
        const server = yield* start(Feeds, live)
        const nobodies = yield* Effect.forEach([1, 2, 3], () => server.connect("/ws/"))
        yield* say("hi")
        assert.deepStrictEqual(yield* Effect.forEach(nobodies, heard), [[], [], []])
        assert.deepStrictEqual(logs.filter(({ level }) => level === "Error"), [])
        assert.deepStrictEqual(yield* deliveriesOf("said"), { denied: 3 })
        // All of them are the same nobody.
        assert.strictEqual(asked, 1)
      })
    ).pipe(withChannels))

  it.effect("of data that the schema does not decode delivers nothing, which is logged", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        // It encodes what it does not decode.
        const OneWay = Schema.String.pipe(
          Schema.decodeTo(
            Schema.String.check(Schema.isMaxLength(3)),
            SchemaTransformation.transform({ decode: (text) => `${text}${text}`, encode: (text) => text })
          )
        )
        const Said = Event.make("said", OneWay).pipe(
          Event.permit(Permission.delivery<string>()("any", () => true))
        )
        const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.push(Said))
        const server = yield* start(Chat, Handlers.toLayer(Consumer.handlers(Chat)))
        const client = yield* server.connect("/ws/")
        yield* ChannelLayer.send(ChannelLayer.everyone(Chat), Said, "abc")
        yield* ChannelLayer.send(ChannelLayer.everyone(Chat), Said, "a")
        assert.deepStrictEqual(yield* heard(client), ["a"])
        assert.strictEqual(logs.filter(({ level }) => level === "Error").length, 1)
      })
    ).pipe(withChannels))

  it.effect("by a check that takes its time keeps the order of each recipient, and delays nobody else", () =>
    Effect.gen(function*() {
      const isHeard = Permission.delivery<string>()(
        "isHeard",
        ({ event }) =>
          Effect.flatMap(name, (name) =>
            name === "slow" && event.startsWith("slow")
              ? Effect.as(Effect.sleep("1 second"), true)
              : Effect.succeed(true))
      )
      const { Feeds, live, other, say } = feeding(isHeard)
      const server = yield* start(Feeds, live)
      const [slow, quick] = [yield* server.connect("/ws/?user=slow"), yield* server.connect("/ws/?user=quick")]
      for (const words of ["slow 1", "2", "slow 3"]) yield* say(words)
      yield* other("4")
      yield* ChannelLayer.send(
        ChannelLayer.connection(Feeds, slow.session.scope.id),
        Event.make("other", Schema.String),
        "5"
      )
      assert.deepStrictEqual(yield* heard(quick), ["slow 1", "2", "slow 3", "4"])
      assert.deepStrictEqual(yield* heard(slow), [])
      // Replies do not wait for events.
      assert.strictEqual((yield* slow.ask({ action: "ping" })).data, "pong")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* heard(slow), ["slow 1", "2"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* heard(slow), ["slow 3", "4", "5"])
    }).pipe(withChannels))

  it.effect("by a check that never answers delivers nothing, and goes on after a while", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const hangs = Permission.delivery<string>()("hangs", ({ event }) => event === "hang" ? Effect.never : true)
        const { Feeds, live, say } = feeding(hangs)
        const server = yield* start(Feeds, live)
        const client = yield* server.connect("/ws/")
        for (const words of ["hang", "on"]) yield* say(words)
        yield* TestClock.adjust("9 seconds")
        assert.deepStrictEqual(yield* heard(client), [])
        yield* TestClock.adjust("11 seconds")
        assert.deepStrictEqual(yield* heard(client), ["on"])
        assert.isTrue(logs.some(({ cause }) => cause.includes("could not be decided in time")))
      })
    ).pipe(withChannels))

  it.effect("does not go on asking for a connection that has ended", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const hangs = Permission.delivery<string>()("hangs", () =>
        Effect.flatMap(ScopeOf, ({ id }) =>
          Effect.onInterrupt(id === "" ? Effect.void : Effect.never, () =>
            Effect.sync(() =>
              trace.push("stop")
            ))).pipe(
            Effect.as(true)
          ))
      const { Feeds, live, say } = feeding(hangs)
      const server = yield* start(Feeds, live)
      const client = yield* server.connect("/ws/")
      yield* say("hang")
      yield* settle
      assert.deepStrictEqual(trace, [])
      yield* client.leave
      yield* settle
      assert.deepStrictEqual(trace, ["stop"])
    }).pipe(withChannels))
})

describe("checks of events", () => {
  /** Who was asked about what. */
  const counting = (looksAt: "identity" | "scope", isAsync = false) => {
    const asked: Array<string> = []
    const check = Permission.delivery<string>()("isHeard", ({ event }) =>
      Effect.gen(function*() {
        if (isAsync) yield* Effect.yieldNow
        const who = yield* name
        const id = looksAt === "scope" ? (yield* ScopeOf).id : ""
        asked.push(`${who} ${event}${id}`)
        return true
      }))
    return { asked, check }
  }

  for (const isAsync of [false, true]) {
    it.effect(`that look at no more than the identity are asked once for each ${isAsync ? "in their time" : "at once"}`, () =>
      Effect.gen(function*() {
        const { asked, check } = counting("identity", isAsync)
        const { Feeds, live, say } = feeding(check)
        const server = yield* start(Feeds, live)
        const clients = yield* Effect.forEach(
          ["?user=alice&tag=1", "?user=alice&tag=1", "?user=bob", "?user=alice&tag=2", "", ""],
          (query) => server.connect(`/ws/${query}`)
        )
        yield* say("1")
        yield* settle
        yield* say("2")
        assert.deepStrictEqual(yield* Effect.forEach(clients, heard), clients.map(() => ["1", "2"]))
        assert.deepStrictEqual(asked.toSorted(), [
          "alice 1",
          "alice 1",
          "alice 2",
          "alice 2",
          "bob 1",
          "bob 2",
          "nobody 1",
          "nobody 2"
        ])
      }).pipe(withChannels))

    it.effect(`that look at the connection are asked for each ${isAsync ? "in their time" : "at once"}`, () =>
      Effect.gen(function*() {
        const { asked, check } = counting("scope", isAsync)
        const { Feeds, live, say } = feeding(check)
        const server = yield* start(Feeds, live)
        yield* Effect.forEach(["a", "b"], (id) => server.connect("/ws/?user=alice", id))
        yield* say("1")
        yield* settle
        assert.deepStrictEqual(asked, ["alice 1a", "alice 1b"])
      }).pipe(withChannels))
  }

  it.effect("of the connection phase are asked once for each identity or connection, and then kept", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const isKnown = Permission.connection(
        "isKnown",
        Effect.map(name, (name) => {
          asked.push(name)
          return name !== "mallory"
        })
      )
      const isHere = Permission.connection("isHere", (scope) => {
        asked.push(scope.id)
        return true
      })
      const { Feeds, live, say } = feeding(Permission.and(isKnown, isHere))
      const server = yield* start(Feeds, live)
      const clients = yield* Effect.forEach(
        ["alice", "alice", "mallory"],
        (user, i) => server.connect(`/ws/?user=${user}`, `c${i}`)
      )
      yield* say("1")
      yield* say("2")
      assert.deepStrictEqual(yield* Effect.forEach(clients, heard), [["1", "2"], ["1", "2"], []])
      assert.deepStrictEqual(asked, ["alice", "c0", "c1", "mallory"])
    }).pipe(withChannels))

  it.effect("of users without a key, or with a key that breaks, are shared by those that are equal", () =>
    Effect.gen(function*() {
      class Unkeyed extends Authentication.Service<Unkeyed, { readonly name: string }>()("test/Unkeyed") {}
      const asked: Array<string> = []
      const isHeard = Permission.delivery<string>()("isHeard", () =>
        Unkeyed.use((user) => {
          asked.push(user.name)
          return Effect.succeed(user.name !== "bob")
        }))
      const Said = Event.make("said", Schema.String).pipe(Event.permit(isHeard))
      const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.push(Said))
      const live = Handlers.toLayer(Consumer.handlers(Chat)).pipe(
        Layer.provide(
          Unkeyed.layer(({ query }) => Effect.succeed(Authentication.authenticated({ name: String(query.user) })))
        )
      )
      const server = yield* start(Chat, live)
      const clients = yield* Effect.forEach(["alice", "bob", "alice"], (user) => server.connect(`/ws/?user=${user}`))
      yield* ChannelLayer.send(ChannelLayer.everyone(Chat), Said, "hi")
      assert.deepStrictEqual(yield* Effect.forEach(clients, heard), [["hi"], [], ["hi"]])
      assert.deepStrictEqual(asked, ["alice", "bob"])
    }).pipe(withChannels))
})

describe("after Authority.invalidate has completed", () => {
  /** Who hears what, which can change; answers wait while they are held. */
  const changing = (isShared: boolean, answering: Latch.Latch, isAsync = true) => {
    const deaf = new Set<string>()
    const isHeard = Permission.delivery<string>()("isHeard", () =>
      Effect.gen(function*() {
        const who = yield* name
        const id = isShared ? "" : (yield* ScopeOf).id
        const answer = !deaf.has(who) && !deaf.has(id)
        if (isAsync) yield* answering.await
        return answer
      }))
    return { deaf, ...feeding(isHeard) }
  }

  for (const isShared of [true, false]) {
    const whose = isShared ? "the identity" : "the connection"

    it.effect(`nothing is delivered by a check of ${whose} that was asked before`, () =>
      Effect.gen(function*() {
        const answering = yield* Latch.make(false)
        const { Feeds, deaf, live, say } = changing(isShared, answering)
        const server = yield* start(Feeds, live)
        const [alice, bob] = [yield* server.connect("/ws/?user=alice"), yield* server.connect("/ws/?user=bob")]
        yield* say("in flight")
        yield* say("waiting")
        yield* settle
        deaf.add("alice")
        yield* Authority.invalidate(Authority.identity(CurrentUser, "alice"))
        yield* answering.open
        yield* say("after")
        assert.deepStrictEqual(yield* heard(alice), [])
        assert.deepStrictEqual(yield* heard(bob), ["in flight", "waiting", "after"])
        deaf.delete("alice")
        yield* Authority.invalidate(Authority.identity(CurrentUser, "alice"))
        yield* say("again")
        assert.deepStrictEqual(yield* heard(alice), ["again"])
      }).pipe(withChannels))

    it.effect(`nothing of what a slow client has not been sent is by a check of ${whose} that was asked before`, () =>
      Effect.gen(function*() {
        const answering = yield* Latch.make(true)
        const { Feeds, deaf, live, say } = changing(isShared, answering, false)
        const server = yield* start(Feeds, live, { maxUnsent: 1000 })
        const [alice, reader] = [
          yield* server.connect("/ws/?user=alice"),
          yield* server.connect("/ws/?user=alice")
        ]
        yield* say("x".repeat(600))
        // It is the other connection that has it decided for both.
        yield* say("secret")
        assert.deepStrictEqual((yield* heard(reader)).length, 2)
        deaf.add("alice")
        for (const { session } of [alice, reader]) deaf.add(session.scope.id)
        yield* Authority.invalidate(Authority.identity(CurrentUser, "alice"))
        assert.deepStrictEqual(yield* heard(alice), ["x".repeat(600)])
        yield* say("after")
        assert.deepStrictEqual(yield* heard(alice), [])
      }).pipe(withChannels))
  }

  it.effect("nothing is delivered by what a connection of another server of the process has said", () =>
    Effect.gen(function*() {
      const answering = yield* Latch.make(true)
      const { Feeds, deaf, live, say } = changing(true, answering, false)
      // Two servers of one build of the handlers; the first one has heard more news.
      const context = yield* Layer.build(live)
      const again = Layer.succeedContext(context)
      const first = yield* start(Feeds, again, { maxUnsent: 1000 })
      yield* Authority.invalidate(Authority.everyone)
      const second = yield* start(Feeds, again, { maxUnsent: 1000 })
      const quick = yield* first.connect("/ws/?user=alice", "1")
      const slow = yield* second.connect("/ws/?user=alice", "2")
      yield* say("x".repeat(600))
      yield* received(quick)
      yield* say("secret")
      deaf.add("alice")
      yield* Authority.invalidate(Authority.everyone)
      assert.deepStrictEqual(yield* heard(quick), ["secret"])
      assert.deepStrictEqual(yield* heard(slow), ["x".repeat(600)])
    }).pipe(withChannels))

  it.effect("what is known of the user counts as it is found then", () =>
    Effect.gen(function*() {
      const isTagged = Permission.delivery<string>()("isTagged", ({ event }) =>
        CurrentUser.use((user) => user.tag === event))
      const { Feeds, live, say } = feeding(isTagged)
      const renamed = new Map<string, { readonly name: string; readonly tag: string }>()
      const server = yield* Effect.provideService(start(Feeds, live), Renamed, renamed)
      const clients = yield* Effect.forEach(["alice&tag=a", "alice&tag=a"], (user) =>
        server.connect(`/ws/?user=${user}`))
      yield* say("a")
      renamed.set("alice", { name: "alice", tag: "b" })
      yield* say("a")
      yield* Authority.invalidate(Authority.identity(CurrentUser, "alice"))
      yield* say("a")
      yield* say("b")
      assert.deepStrictEqual(yield* Effect.forEach(clients, heard), [["a", "a", "b"], ["a", "a", "b"]])
    }).pipe(withChannels))

  it.effect("a connection that is closed for it gets none of what waits", () =>
    Effect.gen(function*() {
      const answering = yield* Latch.make(true)
      let isIn = true
      const isMember = Permission.connection("isMember", Effect.andThen(answering.await, Effect.sync(() => isIn)))
      const Said = Event.make("said", Schema.String)
      const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(
        Consumer.permitConnect(isMember),
        Consumer.push(Said)
      )
      const server = yield* start(Chat, Handlers.toLayer(Consumer.handlers(Chat)))
      const client = yield* server.connect("/ws/")
      isIn = false
      yield* answering.close
      yield* Authority.invalidate(Authority.everyone)
      yield* ChannelLayer.send(ChannelLayer.everyone(Chat), Said, "secret")
      yield* settle
      yield* answering.open
      assert.deepStrictEqual(yield* received(client), [])
      assert.strictEqual(yield* closeCode(client), 4403)
    }).pipe(withChannels))
})

describe("from outside of any connection", () => {
  class Fragile extends Authentication.Service<Fragile, { readonly name: string }>()("test/Fragile", {
    key: (user) => {
      if (broken.has(user.name)) throw new Error("broken key")
      return user.name
    }
  }) {}
  const broken = new Set<string>()

  const Said = Event.make("said", Schema.String)
  const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.push(Said))
  const Other = Consumer.make("other", { path: "/other/" }).pipe(Consumer.push(Said))
  const FragileLive = Fragile.layer(({ query: { user } }) =>
    Effect.succeed(user === undefined ? Authentication.anonymous : Authentication.authenticated({ name: String(user) }))
  )
  const live = Layer.merge(Handlers.toLayer(Consumer.handlers(Chat)), Handlers.toLayer(Consumer.handlers(Other))).pipe(
    Layer.provide(Layer.merge(AuthenticationLive, FragileLive))
  )
  const clientsOf = Effect.gen(function*() {
    const server = yield* start([Chat, Other] as ReadonlyArray<typeof Chat | typeof Other>, live)
    const clients = yield* Effect.forEach(
      ["/ws/?user=alice", "/ws/?user=alice", "/ws/?user=bob", "/ws/", "/other/?user=alice"],
      (url, i) => server.connect(url, `c${i}`)
    )
    return clients
  })

  it.effect("an event goes to a connection, a user or everyone of the consumer, but for one connection", () =>
    Effect.gen(function*() {
      const clients = yield* clientsOf
      const sends = [
        ChannelLayer.send(ChannelLayer.connection(Chat, "c1"), Said, "1"),
        ChannelLayer.send(ChannelLayer.connection(Chat, "c4"), Said, "of another consumer"),
        ChannelLayer.send(ChannelLayer.connection(Chat, "c9"), Said, "nobody"),
        ChannelLayer.send(ChannelLayer.identity(Chat, Fragile, "alice"), Said, "2"),
        ChannelLayer.send(ChannelLayer.identity(Chat, CurrentUser, "alice"), Said, "3", { except: "c0" }),
        ChannelLayer.send(ChannelLayer.identity(Chat, CurrentUser, ""), Said, "nobody"),
        ChannelLayer.send(ChannelLayer.identity(Chat, CurrentUser, "undefined"), Said, "nobody"),
        ChannelLayer.send(ChannelLayer.everyone(Chat), Said, "4", { except: "c3" })
      ]
      for (const send of sends) yield* send
      assert.deepStrictEqual(yield* Effect.forEach(clients, heard), [
        ["2", "4"],
        ["1", "2", "3", "4"],
        ["4"],
        [],
        []
      ])
    }).pipe(withChannels))

  it.effect("an event for a user reaches nobody whose key cannot be told", () =>
    Effect.gen(function*() {
      const clients = yield* clientsOf
      broken.add("bob")
      yield* Effect.addFinalizer(() => Effect.sync(() => broken.clear()))
      // The registry lists bob anew, among those that cannot be told.
      yield* Authority.invalidate(Authority.everyone)
      yield* ChannelLayer.send(ChannelLayer.identity(Chat, Fragile, "alice"), Said, "for alice")
      yield* ChannelLayer.send(ChannelLayer.identity(Chat, Fragile, "bob"), Said, "for bob")
      yield* ChannelLayer.disconnect(ChannelLayer.identity(Chat, Fragile, "alice"))
      assert.deepStrictEqual(yield* Effect.forEach(clients, heard), [["for alice"], ["for alice"], [], [], []])
      assert.deepStrictEqual(yield* Effect.forEach(clients, closeCode), [
        4000,
        4000,
        undefined,
        undefined,
        undefined
      ])
    }).pipe(withChannels))

  it.effect("connections are closed with a code and a reason, which fits", () =>
    Effect.gen(function*() {
      const clients = yield* clientsOf
      yield* ChannelLayer.disconnect(ChannelLayer.connection(Chat, "c0"), { code: 4999, reason: "ä".repeat(100) })
      yield* ChannelLayer.disconnect(ChannelLayer.identity(Chat, CurrentUser, "bob"), { reason: "bye" })
      const first = yield* clients[0]!.peer.closed
      assert.deepStrictEqual(first, { code: 4999, reason: "ä".repeat(61) })
      assert.deepStrictEqual(yield* clients[2]!.peer.closed, { code: 4000, reason: "bye" })
      yield* ChannelLayer.disconnect(ChannelLayer.everyone(Chat))
      assert.deepStrictEqual(yield* Effect.forEach(clients, closeCode), [4999, 4000, 4000, 4000, undefined])
      for (const code of [1000, 3999, 5000, 4000.5, NaN]) {
        const exit = yield* Effect.exit(ChannelLayer.disconnect(ChannelLayer.everyone(Other), { code }))
        assert.strictEqual(exit._tag, "Failure")
      }
      assert.isUndefined(yield* closeCode(clients[4]!))
    }).pipe(withChannels))

  it.effect("a connection that is being closed is not closed again, nor sent anything", () =>
    Effect.gen(function*() {
      const server = yield* start([Chat, Other] as ReadonlyArray<typeof Chat | typeof Other>, live)
      const session = yield* server.pipeline.connect({ id: "1", url: "/ws/" })
      const [transport] = yield* Transport.makeMemory
      const calls: Array<unknown> = []
      yield* Effect.forkScoped(
        session.run({
          ...transport,
          // Its client takes its time to answer.
          close: (code) => void calls.push(code),
          send: (frame) => void calls.push(frame)
        }),
        { startImmediately: true }
      )
      yield* ChannelLayer.disconnect(ChannelLayer.everyone(Chat), { code: 4001 })
      yield* ChannelLayer.disconnect(ChannelLayer.everyone(Chat), { code: 4002 })
      yield* ChannelLayer.send(ChannelLayer.everyone(Chat), Said, "late")
      assert.deepStrictEqual(calls, [4001])
    }).pipe(withChannels))

  it.effect("a connection that has not been upgraded yet is closed when it is", () =>
    Effect.gen(function*() {
      const server = yield* start([Chat, Other] as ReadonlyArray<typeof Chat | typeof Other>, live)
      const session = yield* server.pipeline.connect({ id: "1", url: "/ws/" })
      yield* ChannelLayer.send(ChannelLayer.everyone(Chat), Said, "before")
      yield* ChannelLayer.disconnect(ChannelLayer.everyone(Chat), { code: 4001 })
      const [transport, peer] = yield* Transport.makeMemory
      yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      assert.deepStrictEqual(yield* peer.closed, { code: 4001, reason: "" })
    }).pipe(withChannels))
})

describe("the test kit", () => {
  it.effect("shares what checks say between its connections, each of which has a server of its own", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const isHeard = Permission.delivery<string>()("isHeard", () =>
        Effect.map(name, (name) => {
          asked.push(name)
          return true
        }))
      const { Feeds, live, say } = feeding(isHeard, Testing.layerAuthentication(CurrentUser))
      yield* Effect.gen(function*() {
        const alice = Testing.as(CurrentUser, { name: "alice", tag: "" })
        const one = yield* Testing.connect(Feeds, { as: alice })
        yield* Authority.invalidate(Authority.everyone)
        const two = yield* Testing.connect(Feeds, { as: alice })
        yield* say("hi")
        for (const client of [one, two]) {
          assert.deepStrictEqual(yield* client.receive, { type: "said", data: "hi", status: 200 })
        }
        assert.deepStrictEqual(asked, ["alice"])
      }).pipe(Effect.provide(live))
    }).pipe(withChannels))
})
