import {
  Action,
  Authentication,
  ChannelLayer,
  ConnectionScope,
  Consumer,
  Event,
  Group,
  Handlers,
  Permission
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { closeCode, heard, layerTest, problemsOf, received, start } from "./support/groups.ts"

const Scope = ConnectionScope.ConnectionScope
const history = { count: 100, age: "1 hour" } as const

describe("whoever comes back", () => {
  const Large = Group.make("large").pipe(Group.history(history))
  const events = {
    disconnect: Event.make("disconnect", Schema.String),
    dropped: Event.make("dropped", Schema.String, { whenSlow: "drop-newest" }),
    latest: Event.make("latest", Schema.String, { whenSlow: { latest: () => "one" } })
  }
  const Feed = Consumer.make("feed", { path: "/ws/" }).pipe(
    Consumer.join(Large, () => ({})),
    Consumer.push(events.disconnect, events.dropped, events.latest)
  )
  const FeedLive = Consumer.handlers(Feed).pipe(Handlers.toLayer)

  for (const event of Object.values(events)) {
    it.effect(`is given all of it, however much may wait: ${event.type}`, () =>
      Effect.gen(function*() {
        const server = yield* start(Feed, FeedLive, { maxUnsent: 1000 })
        const feed = ChannelLayer.group(Feed, Large, {})
        for (let i = 0; i < 50; i++) yield* ChannelLayer.send(feed, event, `${i} ${"x".repeat(500)}`)
        const client = yield* server.connect("/ws/?$after=large:")
        yield* ChannelLayer.send(feed, event, "new")
        const frames = yield* received(client)
        assert.deepStrictEqual(
          frames.map(({ data, type }) => type === event.type ? String(data).split(" ")[0] : type),
          ["$joined", ...Array.from({ length: 50 }, (_, i) => String(i)), "$caught_up", "new"]
        )
        assert.isUndefined(yield* closeCode(client))
      }).pipe(Effect.provide(layerTest)))
  }

  const Plain = Group.make("plain").pipe(Group.presence(Schema.String))
  const Here = Consumer.make("here", { path: "/ws/" }).pipe(Consumer.join(Plain, () => ({}), { presence: () => "me" }))

  it.effect("to a group without a history is in it, and no more", () =>
    Effect.gen(function*() {
      const server = yield* start(Here, Consumer.handlers(Here).pipe(Handlers.toLayer))
      const client = yield* server.connect("/ws/?$after=plain:x", "c")
      assert.deepStrictEqual(yield* received(client), [
        {
          type: "$joined",
          data: { group: "plain", params: {}, present: [{ id: "c", data: "me" }] },
          status: 200
        } as never
      ])
    }).pipe(Effect.provide(layerTest)))

  const Rooms = Group.make("room", { room: Schema.String, tags: Schema.Record(Schema.String, Schema.Int) }).pipe(
    Group.history(history)
  )
  const Said = Event.make("said", Schema.String)
  const Chat = Consumer.make("chat", { path: "/ws/:order/" }).pipe(
    Consumer.join(
      Rooms,
      ({ params }) => ({ room: "é", tags: params.order === "ab" ? { a: 1, b: 2 } : { b: 2, a: 1 } })
    ),
    Consumer.push(Said)
  )

  it.effect("is in the same group by equal parameters, and names them however they are written", () =>
    Effect.gen(function*() {
      const server = yield* start(Chat, Consumer.handlers(Chat).pipe(Handlers.toLayer))
      const ab = yield* server.connect("/ws/ab/")
      const ba = yield* server.connect("/ws/ba/")
      const room = ChannelLayer.group(Chat, Rooms, { room: "é", tags: { b: 2, a: 1 } })
      yield* ChannelLayer.send(room, Said, "hi")
      assert.deepStrictEqual(yield* heard(ab), ["hi"])
      assert.deepStrictEqual(yield* heard(ba), ["hi"])
      const named = encodeURIComponent(`room:{ "tags": {"b":2, "a":1}, "room": "\\u00e9" }:`)
      const late = yield* server.connect(`/ws/ab/?$after=${named}`)
      assert.deepStrictEqual(yield* heard(late), ["hi"])
    }).pipe(Effect.provide(layerTest)))
})

describe("recipients whose identity cannot be compared", () => {
  class Odd extends Authentication.Service<Odd, object>()("test/Odd") {}
  const Feed = Group.make("feed").pipe(Group.history(history))
  const Said = Event.make("said", Schema.String).pipe(
    Event.permit(Permission.delivery<string>()("anybody", () => Effect.map(Odd.identity, () => true)))
  )
  const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(
    Consumer.join(Feed, () => ({})),
    Consumer.push(Said),
    Consumer.add(Action.make("say", { success: Schema.String }).pipe(Action.broadcast(Feed, Said)))
  )
  const broken = () => {
    const user = {}
    Object.defineProperty(user, "lazy", {
      enumerable: true,
      get: () =>
        (() => {
          throw new Error("not loaded")
        })()
    })
    return user
  }
  const deep = () => {
    let user: object = {}
    for (let i = 0; i < 100_000; i++) user = { user }
    return user
  }

  it.effect("are decided each for themselves, and hold up nobody", () =>
    Effect.gen(function*() {
      const live = Consumer.handlers(Feeds).pipe(
        Handlers.handle("say", () => Effect.succeed("hi")),
        Handlers.toLayer,
        Layer.provide(Odd.layer(({ query }) =>
          Effect.sync(() =>
            Authentication.authenticated(query["who"] === "broken" ? broken() : query["who"] === "deep" ? deep() : {})
          )
        ))
      )
      const server = yield* start(Feeds, live)
      const clients = yield* Effect.forEach(
        ["plain", "broken", "broken", "deep", "deep", "plain"],
        (who) =>
          server.connect(`/ws/?who=${who}`)
      )
      for (const client of clients) yield* received(client)
      yield* clients[0]!.send(JSON.stringify({ action: "say" }))
      const [reply, event] = yield* received(clients[0]!)
      assert.strictEqual(reply?.status, 200)
      assert.strictEqual(event?.type, "said")
      for (const client of clients.slice(1)) assert.deepStrictEqual(yield* heard(client), ["hi"])
    }).pipe(Effect.provide(layerTest)))
})

describe("checks that make do without the scope", () => {
  class Somebody extends Authentication.Service<Somebody, { readonly name: string }>()("test/Somebody", {
    key: ({ name }) => name
  }) {}
  const looks = {
    "when it may be missing": Effect.map(
      Effect.serviceOption(Scope),
      Option.match({ onNone: () => true, onSome: ({ query }) => query["ok"] === "yes" })
    ),
    "and survive its loss": Effect.catchCause(
      Scope.use(({ query }) => Effect.succeed(query["ok"] === "yes")),
      () => Effect.succeed(true)
    ),
    "by its keys": Effect.map(Scope, (scope) => Object.keys(scope).length === 0 || scope.query["ok"] === "yes")
  }

  for (const [how, look] of Object.entries(looks)) {
    it.effect(`are asked for each connection: ${how}`, () =>
      Effect.gen(function*() {
        const Feed = Group.make("feed")
        const Said = Event.make("said", Schema.String).pipe(
          Event.permit(Permission.delivery<string>()("isOk", () => Effect.andThen(Somebody, look)))
        )
        const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(
          Consumer.join(Feed, () => ({})),
          Consumer.push(Said)
        )
        const server = yield* start(
          Feeds,
          Consumer.handlers(Feeds).pipe(
            Handlers.toLayer,
            Layer.provide(Somebody.layer(() => Effect.succeed(Authentication.authenticated({ name: "same" }))))
          )
        )
        const [no, yes] = [yield* server.connect("/ws/?ok=no"), yield* server.connect("/ws/?ok=yes")]
        for (const text of ["one", "two"]) yield* ChannelLayer.send(ChannelLayer.group(Feeds, Feed, {}), Said, text)
        assert.deepStrictEqual(yield* heard(no), [])
        assert.deepStrictEqual(yield* heard(yes), ["one", "two"])
      }).pipe(Effect.provide(layerTest)))
  }
})

describe("what is put together in an odd way", () => {
  const Feed = Group.make("feed")
  const Said = Event.make("said", Schema.String)
  const say = Action.make("say", { success: Schema.String })

  for (
    const [how, action] of [
      ["silent after broadcast", say.pipe(Action.broadcast(Feed, Said), Action.silent)],
      ["silent before broadcast", say.pipe(Action.silent, Action.broadcast(Feed, Said))]
    ] as const
  ) {
    it.effect(`is a broadcast without a reply: ${how}`, () =>
      Effect.gen(function*() {
        const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(
          Consumer.join(Feed, () => ({})),
          Consumer.push(Said),
          Consumer.add(action)
        )
        const server = yield* start(
          Feeds,
          Consumer.handlers(Feeds).pipe(Handlers.handle("say", () => Effect.succeed("hi")), Handlers.toLayer)
        )
        const client = yield* server.connect("/ws/")
        yield* client.send(JSON.stringify({ action: "say" }))
        assert.deepStrictEqual((yield* received(client)).map(({ type }) => type), ["said"])
      }).pipe(Effect.provide(layerTest)))
  }

  it.effect("is sent to the group as the consumer declares it", () =>
    Effect.gen(function*() {
      const Kept = Feed.pipe(Group.history(history))
      const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(Consumer.join(Kept, () => ({})), Consumer.push(Said))
      const server = yield* start(Feeds, Consumer.handlers(Feeds).pipe(Handlers.toLayer))
      const client = yield* server.connect("/ws/")
      // The value before it was given a history has the same type.
      yield* ChannelLayer.send(ChannelLayer.group(Feeds, Feed, {}), Said, "hi")
      const [, event] = yield* received(client)
      assert.deepStrictEqual([event?.data, typeof event?.id], ["hi" as never, "string"])
    }).pipe(Effect.provide(layerTest)))

  it.effect("does not start with names of the protocol", () =>
    Effect.gen(function*() {
      for (const name of ["$room", "a:b"]) {
        const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(Consumer.join(Group.make(name), () => ({})))
        const problems = yield* problemsOf(Layer.build(Consumer.handlers(Feeds).pipe(Handlers.toLayer)))
        assert.lengthOf(problems, 1)
        assert.include(problems[0], name)
      }
    }).pipe(Effect.provide(layerTest)))

  it.effect("does not start where the server has another layer than its handlers", () =>
    Effect.gen(function*() {
      const Feeds = Consumer.make("feeds", { path: "/ws/" }).pipe(Consumer.join(Feed, () => ({})), Consumer.push(Said))
      const live = Consumer.handlers(Feeds).pipe(Handlers.toLayer, Layer.provide(Layer.fresh(ChannelLayer.layerMemory)))
      const { problems } = (yield* Effect.flip(start(Feeds, live))) as Handlers.DefinitionError
      assert.lengthOf(problems, 1)
      assert.include(problems[0], "ChannelLayer")
    }).pipe(Effect.provide(layerTest)))
})
