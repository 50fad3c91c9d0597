/**
 * Conversations that are the same in all codecs: what a client asks in one of them, and what it then reads.
 */
import {
  Action,
  Authentication,
  Authority,
  BinaryCodec,
  ChannelLayer,
  Codec,
  Consumer,
  Credentials,
  Event,
  Group,
  Handlers,
  Permission,
  type Pipeline,
  Route,
  Scheme,
  Settings,
  Transport
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Compact from "../src/internal/compact.ts"
import { settle, soon, withLogs } from "./support/connection.ts"
import { layerTest, start } from "./support/groups.ts"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: string; readonly admin: boolean }>()(
  "test/CurrentUser",
  { key: ({ id }) => id }
) {}

class NoteNotFound extends Schema.TaggedError<NoteNotFound>()("NoteNotFound", { id: Schema.Int, at: Schema.Date }, {
  httpApiStatus: 404
}) {}

class Note extends Schema.Class<Note>("test/Note")({
  id: Schema.Int,
  text: Schema.NonEmptyString.check(Schema.isMaxLength(20)),
  at: Schema.Date,
  image: Schema.optionalKey(Schema.Uint8Array)
}) {}

const isAdmin = Permission.connection("isAdmin", CurrentUser.use(({ admin }) => admin), {
  reason: "Not an admin",
  code: "no_admin"
})
const isMine = Permission.delivery<{ readonly to: string }>()(
  "isMine",
  ({ event }) => CurrentUser.use(({ id }) => id === event.to)
)

const Posted = Event.make("posted", Note)
const Whispered = Event.make("whispered", Schema.Struct({ to: Schema.String, text: Schema.String })).pipe(
  Event.permit(isMine)
)
const Room = Group.make("room", { room: Schema.String }).pipe(
  Group.history({ count: 10, age: "1 hour" }),
  Group.presence(Schema.Struct({ name: Schema.String, since: Schema.Date }))
)
const Hall = Group.make("hall")

const at = new Date("2030-01-01T00:00:00.000Z")
const image = new Uint8Array(300).map((_, i) => i)

const Chat = Consumer.make("chat", { path: "/ws/:room/", concurrency: 4, timeout: "10 seconds" }).pipe(
  Consumer.join(Room, ({ params }) => ({ room: params.room }), {
    presence: () => CurrentUser.use(({ id }) => Effect.succeed({ name: id, since: at }))
  }),
  Consumer.join(Hall, () => ({})),
  Consumer.push(Posted, Whispered),
  Consumer.add(
    Action.make("post", { payload: Note, success: Note, status: 201 }).pipe(
      Action.broadcast(Room, Posted, { includeSender: false })
    ),
    Action.make("echo", { payload: Schema.Json, success: Schema.Json }),
    Action.make("either", {
      payload: Schema.Struct({ n: Schema.Int }).pipe(Schema.withDecodingDefaultKey(Effect.succeed({ n: 7 }))),
      success: Schema.Int
    }),
    Action.make("optional", { payload: Schema.optionalKey(Schema.NonEmptyString), success: Schema.String }),
    Action.make("fields", {
      fields: Schema.Struct({ page: Schema.optionalKey(Schema.Int), q: Schema.String }),
      success: Schema.Json
    }),
    Action.make("nothing"),
    Action.make("hang"),
    Action.make("break"),
    Action.make("count", { payload: Schema.Int, success: Note, error: NoteNotFound, stream: true }),
    Action.make("tail", { success: Schema.Int, stream: true }),
    Action.make("secret").pipe(Action.permit(isAdmin)),
    Route.make("notes/:id/", { id: Schema.NumberFromString }).pipe(
      Route.add(Action.make("find", { success: Note, error: NoteNotFound }))
    )
  )
)

const note = (id: number): Note => new Note({ id, text: `note ${id}`, at: new Date(at.getTime() + id) })

const ChatLive = Consumer.handlers(Chat).pipe(
  Handlers.handle("post", ({ payload }) => Effect.succeed(payload)),
  Handlers.handle("echo", ({ payload }) => Effect.succeed(payload)),
  Handlers.handle("either", ({ payload }) => Effect.succeed(payload.n)),
  Handlers.handle("optional", ({ payload }) => Effect.succeed(payload ?? "none")),
  Handlers.handle("fields", ({ fields }) => Effect.succeed({ ...fields })),
  Handlers.handle("nothing", () => Effect.void),
  Handlers.handle("hang", () => Effect.never),
  Handlers.handle("break", () => Effect.die(new Error("secret"))),
  Handlers.handle("count", ({ payload }) =>
    Stream.concat(
      Stream.map(Stream.range(1, payload), note),
      payload > 5 ? Stream.fail(new NoteNotFound({ id: payload, at })) : Stream.empty
    )),
  Handlers.handle("tail", () => Stream.concat(Stream.make(1, 2), Stream.never)),
  Handlers.handle("secret", () => Effect.void),
  Handlers.handle(
    "notes/:id/",
    "find",
    ({ params }) =>
      params.id < 10 ? Effect.succeed(note(params.id)) : Effect.fail(new NoteNotFound({ id: params.id, at }))
  ),
  Handlers.toLayer,
  Layer.provide(CurrentUser.layer(Scheme.token({
    from: Credentials.query("user"),
    verify: (token) => {
      const [id = "", until] = Redacted.value(token).split(":")
      return Effect.succeed(Authentication.authenticated({ id, admin: id === "root" }, {
        expiresAt: until === undefined ? undefined : Number(until)
      }))
    }
  }))),
  Layer.provide(Settings.layer({ renewalsPerMinute: 1000 }))
)

// ---- a client of one codec

type Answer = Codec.Reply | Codec.Event

interface Client {
  readonly peer: Transport.MemoryPeer
  readonly session: Pipeline.Session
  readonly send: (request: Partial<Codec.Request>) => Effect.Effect<void>
  readonly sendFrame: (frame: string | Uint8Array) => Effect.Effect<void>
  /** All that is there. */
  readonly received: Effect.Effect<ReadonlyArray<Answer>>
  readonly ask: (request: Partial<Codec.Request>) => Effect.Effect<Codec.Reply>
}

let connections = 0

const open = Effect.fnUntraced(function*(pipeline: Pipeline.Pipeline, codec: Codec.Codec, url: string) {
  const id = `c${++connections}`
  const session = yield* pipeline.connect({ id, url, headers: { "sec-websocket-protocol": codec.subprotocol } })
  assert.strictEqual(session.subprotocol, codec.subprotocol)
  const [transport, peer] = yield* Transport.makeMemory
  yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
  const read = (frame: string | Uint8Array<ArrayBuffer>): Answer => {
    const answer = codec.read(frame)
    assert.isDefined(answer, "the frame is not of this codec")
    return answer
  }
  const sendFrame: Client["sendFrame"] = (frame) => peer.send(frame)
  const send: Client["send"] = (request) =>
    sendFrame(codec.write({
      action: "nothing",
      route: "",
      requestId: undefined,
      idempotencyKey: undefined,
      data: undefined,
      fields: undefined,
      ...request
    }))
  const received = Effect.gen(function*() {
    yield* settle
    const answers: Array<Answer> = []
    while (true) {
      const next = yield* soon(Effect.option(peer.takeFrame))
      if (Option.isNone(next) || Option.isNone(next.value)) return answers
      answers.push(read(next.value.value))
    }
  })
  const ask: Client["ask"] = (request) =>
    Effect.map(Effect.andThen(send(request), received), (answers) => {
      assert.strictEqual(answers.length, 1)
      assert.strictEqual(answers[0]!._tag, "Reply")
      return answers[0] as Codec.Reply
    })
  return { peer, session, send, sendFrame, received, ask } satisfies Client
})

const encode = (codec: Codec.Codec, schema: Schema.Constraint, value: unknown): unknown =>
  Schema.encodeUnknownSync(codec.part(schema) as Schema.Codec<unknown>)(value)

const decode = (codec: Codec.Codec, schema: Schema.Constraint, value: unknown): unknown =>
  Schema.decodeUnknownSync(codec.part(schema) as Schema.Codec<unknown>)(value)

const reply = { _tag: "Reply", requestId: 1, status: 200, errors: [], data: null } as const

const codeOf = ({ errors }: Codec.Reply) => (errors[0] as { readonly code?: string } | undefined)?.code

const namesOf = (answers: ReadonlyArray<Answer>) =>
  answers.map((answer) => answer._tag === "Event" ? answer.type : answer.status)

const codecs: ReadonlyArray<readonly [string, Codec.Codec]> = [["JSON", Codec.json], ["binary", BinaryCodec.codec]]

const other = (codec: Codec.Codec): Codec.Codec => codec === Codec.json ? BinaryCodec.codec : Codec.json

describe.each(codecs)("in %s", (_, codec) => {
  const test = (
    what: string,
    effect: (
      connect: (user?: string, room?: string) => Effect.Effect<Client, Pipeline.HandshakeRefused, Scope.Scope>,
      server: Pipeline.Pipeline
    ) => Effect.Effect<void, unknown, Scope.Scope | ChannelLayer.ChannelLayer>,
    limits?: Partial<Pipeline.Limits>
  ) =>
    it.effect(what, () =>
      withLogs(() =>
        Effect.gen(function*() {
          const { pipeline } = yield* start(Chat, ChatLive, limits)
          yield* effect((user = "alice", room = "lobby") =>
            Effect.gen(function*() {
              const client = yield* open(pipeline, codec, `/ws/${room}/?user=${user}`)
              // That it is in its room.
              yield* client.received
              return client
            }), pipeline)
        })
      ).pipe(Effect.provide(layerTest)))

  test("requests are answered, whatever their parts are", (connect) =>
    Effect.gen(function*() {
      const client = yield* connect()
      const whole = new Note({ ...note(1), image })
      const posted = yield* client.ask({ action: "post", requestId: 1, data: encode(codec, Note, whole) })
      assert.deepStrictEqual([posted.requestId, posted.status, posted.errors], [1, 201, []])
      assert.deepStrictEqual(decode(codec, Note, posted.data), whole)
      assert.deepStrictEqual(yield* client.ask({ requestId: 1 }), reply)
      assert.deepStrictEqual(yield* client.ask({ requestId: 1, action: "either" }), { ...reply, data: 7 })
      assert.deepStrictEqual(yield* client.ask({ requestId: 1, action: "either", data: { n: 5 } }), {
        ...reply,
        data: 5
      })
      assert.deepStrictEqual(yield* client.ask({ requestId: 1, action: "optional" }), { ...reply, data: "none" })
      assert.deepStrictEqual(yield* client.ask({ requestId: 1, action: "optional", data: "a" }), {
        ...reply,
        data: "a"
      })
      assert.deepStrictEqual(
        yield* client.ask({ requestId: 1, action: "fields", fields: { q: "a", page: 2, other: 1 } }),
        { ...reply, data: { page: 2, q: "a" } }
      )
      const found = yield* client.ask({ requestId: 1, action: "find", route: "notes/3/?a=b" })
      assert.deepStrictEqual(decode(codec, Note, found.data), note(3))
    }))

  test("any JSON is echoed as what it is", (connect) =>
    Effect.gen(function*() {
      const client = yield* connect()
      const values = [
        0,
        -1.5,
        "ü\ud800",
        null,
        true,
        [],
        {},
        { a: [{ b: 1 }, { b: 2 }], ["__proto__"]: 1 },
        "$",
        "QUJD".repeat(20)
      ]
      for (const data of values) {
        assert.deepStrictEqual(yield* client.ask({ requestId: 1, action: "echo", data }), { ...reply, data })
      }
    }))

  test("refusals say why, the same in all codecs", (connect, pipeline) =>
    Effect.gen(function*() {
      const one = yield* connect()
      const two = yield* open(pipeline, other(codec), "/ws/another/?user=alice")
      yield* two.received
      const requests: ReadonlyArray<readonly [Partial<Codec.Request>, number, string | undefined]> = [
        [{ action: "post", data: { id: 1.5, text: "x".repeat(30) } }, 400, undefined],
        [{ action: "post" }, 400, undefined],
        [{ action: "post", data: { id: "1", text: "", at: "never", image: "?" } }, 400, undefined],
        [{ action: "optional", data: "" }, 400, undefined],
        [{ action: "either", data: { n: "5" } }, 400, undefined],
        [{ action: "fields", fields: { page: "a" } }, 400, undefined],
        [{ action: "find", route: "notes/11/" }, 404, undefined],
        [{ action: "find", route: "nothing/" }, 404, "not_found"],
        [{ action: "unknown" }, 405, undefined],
        [{ action: "secret" }, 403, "no_admin"],
        [{ action: "break" }, 500, undefined],
        [{ action: "$cancel", data: { request_id: 99 } }, 404, undefined],
        [{ action: "$cancel", data: {} }, 400, undefined],
        [{ action: "$authenticate", data: { token: "" } }, 400, undefined]
      ]
      for (const [request, status, code] of requests) {
        const answer = yield* one.ask({ ...request, requestId: 1 })
        assert.deepStrictEqual([answer.status, answer.data, answer.requestId], [status, null, 1])
        assert.isAbove(answer.errors.length, 0)
        if (code !== undefined) assert.strictEqual(codeOf(answer), code)
        assert.deepStrictEqual(yield* two.ask({ ...request, requestId: 1 }), answer)
      }
      const paths =
        (yield* one.ask({ action: "post", requestId: 1, data: { id: 1.5, text: "", at: at.toISOString() } })).errors
      assert.deepStrictEqual(paths.map((error) => (error as { readonly path: unknown }).path), [["data", "id"], [
        "data",
        "text"
      ]])
    }))

  test("a request that takes too long is ended", (connect) =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* client.send({ action: "hang", requestId: 1 })
      assert.deepStrictEqual(yield* client.received, [])
      yield* TestClock.adjust("10 seconds")
      const [answer] = yield* client.received
      assert.deepStrictEqual(namesOf([answer!]), [408])
    }))

  test("streams send their items, and end as they do", (connect) =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* client.send({ action: "count", requestId: 1, data: 3 })
      const items = (yield* client.received) as ReadonlyArray<Codec.Reply>
      assert.deepStrictEqual(namesOf(items), [206, 206, 206, 200])
      assert.deepStrictEqual(items.slice(0, 3).map(({ data }) => decode(codec, Note, data)), [1, 2, 3].map(note))
      yield* client.send({ action: "count", requestId: 1, data: 6 })
      const failed = (yield* client.received) as ReadonlyArray<Codec.Reply>
      assert.deepStrictEqual(namesOf(failed), [206, 206, 206, 206, 206, 206, 404])
    }))

  test("streams and requests are cancelled", (connect) =>
    Effect.gen(function*() {
      const client = yield* connect()
      for (const action of ["tail", "hang"]) {
        yield* client.send({ action, requestId: 5 })
        const items = yield* client.received
        assert.deepStrictEqual(namesOf(items), action === "tail" ? [206, 206] : [])
        yield* client.send({ action: "$cancel", requestId: 6, data: { request_id: 5 } })
        const ended = (yield* client.received) as ReadonlyArray<Codec.Reply>
        assert.deepStrictEqual(ended.map(({ requestId, status }) => [requestId, status]), [[5, 499], [6, 200]])
      }
    }))

  test("events come to those they are for, and to those who come back", (_, pipeline) =>
    Effect.gen(function*() {
      const alice = yield* open(pipeline, codec, "/ws/lobby/?user=alice")
      const [joined, ...rest] = (yield* alice.received) as ReadonlyArray<Codec.Event>
      assert.deepStrictEqual(rest, [])
      assert.deepStrictEqual([joined!.type, joined!.status], ["$joined", 200])
      assert.containSubset(joined!.data, {
        group: "room",
        params: { room: "lobby" },
        state: "fresh",
        present: [{ data: { name: "alice", since: at.toISOString() } }]
      })
      const bob = yield* open(pipeline, other(codec), "/ws/lobby/?user=bob")
      yield* bob.received
      const present = (yield* alice.received) as ReadonlyArray<Codec.Event>
      assert.deepStrictEqual(namesOf(present), ["$presence"])
      assert.containSubset(present[0]!.data, { joined: [{ data: { name: "bob" } }], left: [] })

      const sent = [new Note({ ...note(1), image }), note(2)]
      for (const one of sent) yield* bob.send({ action: "post", data: encode(other(codec), Note, one) })
      yield* bob.received
      const events = (yield* alice.received) as ReadonlyArray<Codec.Event>
      assert.deepStrictEqual(namesOf(events), ["posted", "posted"])
      assert.deepStrictEqual(events.map(({ data }) => decode(codec, Note, data)), sent)
      for (const { group, id, params, status } of events) {
        assert.deepStrictEqual([status, group, params, typeof id], [201, "room", { room: "lobby" }, "string"])
      }

      const back = yield* open(pipeline, codec, `/ws/lobby/?user=carol&$after=room:${events[0]!.id}`)
      const seen = (yield* back.received) as ReadonlyArray<Codec.Event>
      assert.deepStrictEqual(namesOf(seen), ["$joined", "posted", "$caught_up"])
      assert.containSubset(seen[0]!.data, { state: "resumed" })
      assert.deepStrictEqual(seen[1], events[1])

      yield* ChannelLayer.send(ChannelLayer.group(Chat, Hall, {}), Whispered, { to: "alice", text: "hi" })
      yield* ChannelLayer.send(ChannelLayer.everyone(Chat), Whispered, { to: "carol", text: "ho" })
      assert.deepStrictEqual(namesOf(yield* alice.received), ["$presence", "whispered"])
      const own = (yield* back.received) as ReadonlyArray<Codec.Event>
      assert.deepStrictEqual(own.map(({ data, id }) => [data, id]), [[{ to: "carol", text: "ho" }, undefined]])
    }))

  test("credentials are renewed", (connect) =>
    Effect.gen(function*() {
      const client = yield* connect("alice:5000")
      const renewed = yield* client.ask({ action: "$authenticate", requestId: 1, data: { token: "alice:60000" } })
      assert.deepStrictEqual(renewed, { ...reply, data: { expires_at: "1970-01-01T00:01:00.000Z" } })
      const forever = yield* client.ask({ action: "$authenticate", requestId: 1, data: { token: "alice" } })
      assert.deepStrictEqual(forever, { ...reply, data: { expires_at: null } })
    }))

  test("requests without an id are answered as well", (connect) =>
    Effect.gen(function*() {
      const client = yield* connect()
      assert.deepStrictEqual(yield* client.ask({ action: "find", route: "notes/3/" }), {
        ...reply,
        requestId: undefined,
        data: encode(codec, Note, note(3))
      })
    }))

  test("frames that are none are refused, and nothing ends the connection", (connect) =>
    Effect.gen(function*() {
      const client = yield* connect()
      const foreign = other(codec).write({
        action: "nothing",
        route: "",
        requestId: 1,
        idempotencyKey: undefined,
        data: undefined,
        fields: undefined
      })
      const frames: ReadonlyArray<string | Uint8Array> = codec === Codec.json
        ? [foreign, "", "{", "[]", "1", "{}", "{\"action\":1}", "{\"action\":\"nothing\",\"route\":1}"]
        : [
          foreign,
          new Uint8Array(),
          Compact.write({ action: "nothing" }).subarray(0, -1),
          Compact.write([]),
          Compact.write(1)
        ]
          .concat(
            [Compact.write({}), Compact.write({ action: 1 }), Compact.write({ action: "nothing", route: 1 })] as never
          )
      for (const frame of frames) {
        yield* client.sendFrame(frame)
        const [answer, ...rest] = (yield* client.received) as ReadonlyArray<Codec.Reply>
        assert.deepStrictEqual(rest, [])
        assert.deepStrictEqual([answer!.status, codeOf(answer!)], [400, "parse_error"])
      }
      assert.deepStrictEqual(yield* client.ask({ requestId: 1 }), reply)
    }))

  test("frames that are too long are refused unread", (connect) =>
    Effect.gen(function*() {
      const client = yield* connect()
      const answer = yield* client.ask({
        action: "echo",
        requestId: 1,
        data: "ü".repeat(codec === Codec.json ? 200 : 100)
      })
      assert.deepStrictEqual([answer.status, answer.requestId], [413, undefined])
      assert.include(JSON.stringify(answer.errors), codec === Codec.json ? "characters" : "bytes")
      assert.strictEqual((yield* client.ask({ action: "echo", requestId: 1, data: "ü".repeat(60) })).status, 200)
    }), { maxMessage: 200 })

  test("an event is made once for all who are sent it", (_, pipeline) =>
    Effect.gen(function*() {
      const sent: Array<unknown> = []
      for (const who of ["a", "b", "c"]) {
        const session = yield* pipeline.connect({
          id: `shared ${++connections}`,
          url: `/ws/lobby/?user=${who}`,
          headers: { "sec-websocket-protocol": codec.subprotocol }
        })
        const [transport] = yield* Transport.makeMemory
        const watched: Transport.Transport = { ...transport, send: (frame) => sent.push(frame) }
        yield* Effect.forkScoped(session.run(watched), { startImmediately: true })
      }
      yield* settle
      sent.length = 0
      const mixed = yield* open(pipeline, other(codec), "/ws/lobby/?user=d")
      yield* settle
      sent.length = 0
      yield* ChannelLayer.send(ChannelLayer.group(Chat, Room, { room: "lobby" }), Posted, note(1))
      assert.strictEqual(sent.length, 3)
      assert.instanceOf(sent[0], Transport.SharedFrame)
      assert.isTrue(sent.every((frame) => frame === sent[0]))
      const { content } = sent[0] as Transport.SharedFrame
      assert.strictEqual((codec.read(content) as Codec.Event).type, "posted")
      assert.deepStrictEqual(namesOf(yield* mixed.received).at(-1), "posted")
    }))
})

describe("the subprotocol", () => {
  const chosen = (offered: string | undefined, subprotocols?: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const Plain = Consumer.make("plain", { path: "/ws/", subprotocols }).pipe(Consumer.add(Action.make("nothing")))
      const live = Consumer.handlers(Plain).pipe(Handlers.handle("nothing", () => Effect.void), Handlers.toLayer)
      const { pipeline } = yield* start(Plain, live)
      const headers = offered === undefined ? {} : { "sec-websocket-protocol": offered }
      const session = yield* pipeline.connect({ id: `s${++connections}`, url: "/ws/", headers })
      const [transport, peer] = yield* Transport.makeMemory
      yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      yield* peer.send("{\"action\":\"nothing\"}")
      return [session.subprotocol, typeof (yield* peer.takeFrame)]
    }).pipe(Effect.scoped, Effect.provide(layerTest))

  const json = Codec.json.subprotocol
  const binary = BinaryCodec.codec.subprotocol

  it.effect.each<[string | undefined, ReadonlyArray<string> | undefined, string | undefined, string]>([
    [undefined, undefined, undefined, "string"],
    [json, undefined, json, "string"],
    [binary, undefined, binary, "object"],
    [`${json}, ${binary}`, undefined, json, "string"],
    [`bearer.x, ${binary}, ${json}`, undefined, binary, "object"],
    ["other", undefined, undefined, "string"],
    [binary, [json], undefined, "string"],
    ["v2", ["v2"], "v2", "string"],
    [`${binary}, v2`, ["v2"], "v2", "string"]
  ])("that is offered as %s to %s is %s", ([offered, subprotocols, expected, kind]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* chosen(offered, subprotocols), [expected, kind])
    }))
})

it.effect("a connection that was let in by what no longer counts is told so in its codec", () =>
  Effect.gen(function*() {
    const Guarded = Consumer.make("guarded", { path: "/ws/" }).pipe(
      Consumer.permitConnect(Permission.connection("open", Effect.sync(() => isOpen))),
      Consumer.add(Action.make("hang"))
    )
    let isOpen = true
    const live = Consumer.handlers(Guarded).pipe(Handlers.handle("hang", () => Effect.never), Handlers.toLayer)
    const { pipeline } = yield* start(Guarded, live)
    const client = yield* open(pipeline, BinaryCodec.codec, "/ws/")
    yield* client.send({ action: "hang", requestId: 1 })
    yield* settle
    isOpen = false
    yield* Authority.invalidate(Authority.everyone)
    const [answer] = (yield* client.received) as ReadonlyArray<Codec.Reply>
    assert.deepStrictEqual([answer!.status, answer!.requestId], [403, 1])
    assert.strictEqual((yield* client.peer.closed).code, 4403)
  }).pipe(Effect.provide(layerTest)))
