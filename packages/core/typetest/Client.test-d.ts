// @effect-diagnostics missingEffectContext:off
import {
  Action,
  type ChannelError,
  Client,
  type ClientError,
  type Connector,
  Consumer,
  Event,
  Group,
  Repository,
  Resource,
  Route
} from "@effect-channels/core"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"

class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, text: Schema.String, at: Schema.Date }) {}
class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { id: Schema.Int }) {}
class Full extends Schema.TaggedError<Full>()("Full", {}) {}
class Notes extends Repository.Service<Notes>()("test/Notes", { schema: Note, key: "id" }) {}

const Room = Group.make("room", { room: Schema.String }).pipe(Group.presence(Schema.Struct({ name: Schema.String })))
const Document = Group.make("document", { id: Schema.Int }).pipe(Group.history({ count: 10, age: "1 hour" }))
const Posted = Event.make("posted", Note)
const Typing = Event.make("typing", Schema.Struct({ who: Schema.String }))

const defaulted = Schema.Int.pipe(
  Schema.withDecodingDefaultKey(Effect.succeed(1)),
  Schema.withConstructorDefault(Effect.succeed(1))
)

const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(
  Consumer.join(Room, ({ params }) => ({ room: params.room }), { presence: () => ({ name: "x" }) }),
  Consumer.groups(Document),
  Consumer.push(Posted, Typing),
  Consumer.add(
    Action.make("ping", { success: Schema.Literal("pong") }),
    Action.make("post", { payload: { text: Schema.String, at: Schema.Date }, success: Note, error: [NotFound, Full] }),
    Action.make("count", { payload: { from: defaulted, step: Schema.optionalKey(Schema.Int) }, success: Schema.Int }),
    Action.make("pick", { payload: Schema.optionalKey(Schema.String) }),
    Action.make("page", { fields: { page: Schema.Int } }),
    Action.make("search", { payload: Schema.String, fields: { page: Schema.optionalKey(Schema.Int) } }),
    Action.make("mutter", { payload: Schema.String, success: Schema.Int, error: Full }).pipe(Action.silent),
    Action.make("say", { success: Typing.data }).pipe(Action.broadcast(Room, Typing, { reply: false })),
    Action.make("tail", { payload: { file: Schema.String }, success: Note, error: NotFound, stream: true }),
    Action.make("events", { success: Schema.Int }),
    Action.make("then", { success: Schema.Int }),
    Route.make("notes/:id/", { id: Schema.NumberFromString }).pipe(
      Route.add(
        Action.make("get", { success: Note, error: NotFound }),
        Route.make("tags/:tag/").pipe(Route.add(Action.make("add", { payload: { at: Schema.Date } })))
      )
    )
  )
)

const Plain = Consumer.make("plain", { path: "/ws/" }).pipe(
  Consumer.groups(Document),
  Consumer.add(Action.make("ping"), ...Resource.routes(Resource.make("notes", { repository: Notes }), "notes/"))
)

const made = Client.make(Chat, { params: { room: "a" } })
declare const chat: Effect.Success<typeof made>
const madePlain = Client.make(Plain)
declare const plain: Effect.Success<typeof madePlain>

type CallError = ClientError.CallError

describe("a call", () => {
  it("takes its payload, and gives its success and its errors, and these can be read", () => {
    expectTypeOf(chat.ping).toEqualTypeOf<
      (payload?: undefined, options?: Client.CallOptions) => Effect.Effect<"pong", CallError>
    >()
    expectTypeOf(chat.post).toEqualTypeOf<
      (
        payload: { readonly text: string; readonly at: Date },
        options?: Client.CallOptions
      ) => Effect.Effect<Note, NotFound | Full | CallError>
    >()
    expectTypeOf<CallError["_tag"]>().toEqualTypeOf<
      | "IdempotencyKeyReused"
      | "InvalidCredentials"
      | "InvalidPayload"
      | "MessageTooLarge"
      | "NotAuthenticated"
      | "PermissionDenied"
      | "PermissionLost"
      | "Throttled"
      | "Unavailable"
      | "ConnectionLost"
      | "ConnectionRefused"
      | "Timeout"
      | "UnexpectedReply"
    >()
    const handled = chat.post({ text: "", at: new Date() }).pipe(
      Effect.catchTag("PermissionDenied", (error) => {
        expectTypeOf(error).toEqualTypeOf<ChannelError.PermissionDenied>()
        return Effect.succeed(error.code)
      }),
      Effect.catchTag("NotFound", ({ id }) => Effect.succeed(id))
    )
    expectTypeOf<Effect.Success<typeof handled>>().toEqualTypeOf<Note | string | number>()
  })

  it("is not made with another payload", () => {
    // @ts-expect-error it has one
    chat.post()
    // @ts-expect-error the time is missing
    chat.post({ text: "a" })
    // @ts-expect-error it is a date
    chat.post({ text: "a", at: "2020-01-01" })
    // @ts-expect-error it has none
    chat.ping({ text: "a" })
    // @ts-expect-error there is no such key
    chat.post({ text: "a", at: new Date(), more: 1 })
    // @ts-expect-error there is no such option
    chat.ping(undefined, { retries: 3 })
    // @ts-expect-error there is no such action
    chat.pong()
  })

  it("leaves out what has a default, or is optional", () => {
    expectTypeOf(chat.count).toEqualTypeOf<
      (
        payload?: { readonly from?: number; readonly step?: number },
        options?: Client.CallOptions
      ) => Effect.Effect<number, CallError>
    >()
    chat.count()
    chat.count({ from: 3 })
    // @ts-expect-error it is a number
    chat.count({ from: "3" })
    expectTypeOf(chat.pick).toEqualTypeOf<
      (payload?: string | undefined, options?: Client.CallOptions) => Effect.Effect<void, CallError>
    >()
  })

  it("takes fields beside its payload", () => {
    chat.page(undefined, { fields: { page: 1 } })
    chat.search("a")
    chat.search("a", { fields: { page: 1 }, query: { q: "x" }, timeout: "1 second" })
    // @ts-expect-error the page is missing
    chat.page()
    // @ts-expect-error the page is missing
    chat.page(undefined, { fields: {} })
    // @ts-expect-error it is a number
    chat.search("a", { fields: { page: "1" } })
    // @ts-expect-error it takes no fields
    chat.ping(undefined, { fields: {} })
  })

  it("gives nothing where it is silent", () => {
    expectTypeOf(chat.mutter("a")).toEqualTypeOf<Effect.Effect<void, Full | CallError>>()
    expectTypeOf(chat.say()).toEqualTypeOf<Effect.Effect<void, CallError>>()
  })

  it("gives a stream where it is answered with one", () => {
    expectTypeOf(chat.tail).toEqualTypeOf<
      (
        payload: { readonly file: string },
        options?: Client.StreamOptions
      ) => Stream.Stream<Note, NotFound | CallError>
    >()
    // @ts-expect-error a stream may last
    chat.tail({ file: "a" }, { timeout: "1 second" })
  })

  it("is reached by its route and the parameters of all that it is in", () => {
    expectTypeOf(chat.at("notes/:id/", { id: 3 }).get).toEqualTypeOf<
      (payload?: undefined, options?: Client.CallOptions) => Effect.Effect<Note, NotFound | CallError>
    >()
    chat.at("notes/:id/tags/:tag/", { id: 3, tag: "a" }).add({ at: new Date() })
    plain.at("notes/").list()
    expectTypeOf<Effect.Success<ReturnType<ReturnType<typeof retrieveOf>>>["text"]>().toEqualTypeOf<string>()
    // @ts-expect-error the parameter is missing
    chat.at("notes/:id/")
    // @ts-expect-error it is a number
    chat.at("notes/:id/", { id: "3" })
    // @ts-expect-error the outer parameter is missing
    chat.at("notes/:id/tags/:tag/", { tag: "a" })
    // @ts-expect-error there is no such route
    chat.at("notes/")
    // @ts-expect-error there is no such action there
    chat.at("notes/:id/", { id: 3 }).ping()
  })

  it("is found by at(\"\") where its name is taken", () => {
    expectTypeOf(chat.at("").events()).toEqualTypeOf<Effect.Effect<number, CallError>>()
    expectTypeOf(chat.at("").then()).toEqualTypeOf<Effect.Effect<number, CallError>>()
    expectTypeOf(chat.events("typing")).toEqualTypeOf<Stream.Stream<{ readonly who: string }, ClientError.HearError>>()
    // @ts-expect-error a client is no promise
    void chat.then
  })
})

const retrieveOf = () => plain.at("notes/:id/", { id: 1 }).retrieve

describe("what is heard", () => {
  it("has the types of the events", () => {
    expectTypeOf(chat.events("posted")).toEqualTypeOf<Stream.Stream<Note, ClientError.HearError>>()
    chat.events("posted", { capacity: 10, strategy: "sliding" })
    // @ts-expect-error there is no such event
    chat.events("poste")
    // @ts-expect-error there is no such strategy
    chat.events("posted", { capacity: 10, strategy: "newest" })
    // @ts-expect-error it pushes none
    plain.events("posted")
  })

  it("is told apart by what it is, and by event and group", () => {
    type Heard = Stream.Success<typeof chat.heard>
    expectTypeOf<Heard["_tag"]>().toEqualTypeOf<
      "Connected" | "Disconnected" | "Event" | "Fresh" | "Resumed" | "Gap" | "CaughtUp" | "Presence" | "Left"
    >()
    expectTypeOf<Extract<Heard, { readonly type: "typing" }>["data"]>().toEqualTypeOf<{ readonly who: string }>()
    expectTypeOf<Extract<Heard, { readonly _tag: "Gap" | "Fresh" | "Resumed"; readonly group: "room" }>["present"]>()
      .toEqualTypeOf<ReadonlyArray<Client.Present<{ readonly name: string }>>>()
    expectTypeOf<Extract<Heard, { readonly _tag: "Left"; readonly group: "document" }>["params"]>()
      .toEqualTypeOf<{ readonly id: number }>()
    expectTypeOf<Stream.Error<typeof chat.heard>>().toEqualTypeOf<
      ClientError.ConnectionRefused | ClientError.UnexpectedEvent
    >()
  })

  it("tells who is present only in groups with presence", () => {
    expectTypeOf(chat.presence(Room, { room: "a" })).toEqualTypeOf<
      Stream.Stream<ReadonlyArray<Client.Present<{ readonly name: string }>>, ClientError.HearError>
    >()
    chat.presence(Room)
    // @ts-expect-error the group has no presence
    chat.presence(Document)
    // @ts-expect-error the parameter is a string
    chat.presence(Room, { room: 1 })
    // @ts-expect-error the consumer has no such group
    plain.presence(Room)
  })

  it("has positions in the groups of the consumer", () => {
    expectTypeOf(chat.position(Document, { id: 1 })).toEqualTypeOf<Effect.Effect<string | undefined>>()
    // @ts-expect-error the parameter is missing
    chat.position(Document, {})
    // @ts-expect-error the consumer has no such group
    plain.position(Room, { room: "a" })
  })
})

describe("the connection", () => {
  it("has a status", () => {
    expectTypeOf(chat.status).toEqualTypeOf<Effect.Effect<Client.Status>>()
    expectTypeOf(chat.statuses).toEqualTypeOf<Stream.Stream<Client.Status>>()
    expectTypeOf(chat.connect).toEqualTypeOf<Effect.Effect<void, ClientError.ConnectionRefused>>()
    expectTypeOf(chat.disconnect).toEqualTypeOf<Effect.Effect<void>>()
    expectTypeOf(chat.onConnect(chat.mutter("a"))).toEqualTypeOf<Effect.Effect<void, Full | CallError, Scope.Scope>>()
  })
})

declare class Key extends Context.Service<Key, string>()("test/Key") {}
type Coded = Schema.Codec<string, string, Key, never>
declare const Decoded: Coded
declare const Encoded: Schema.Codec<string, string, never, Key>

describe("make", () => {
  it("needs the parameters of the path, and a scope", () => {
    expectTypeOf<Effect.Services<typeof made>>().toEqualTypeOf<Scope.Scope>()
    expectTypeOf<Effect.Error<typeof made>>().toEqualTypeOf<never>()
    // @ts-expect-error the path has a parameter
    Client.make(Chat)
    // @ts-expect-error which is a string
    Client.make(Chat, { params: { room: 1 } })
    // @ts-expect-error there is no such option
    Client.make(Plain, { retry: 3 })
    Client.make(Plain, { url: "ws://a", connector: {} as Connector.Connector, heartbeat: false, queue: 3 })
  })

  it("needs what its credentials and schemas need", () => {
    const credentials = {} as Effect.Effect<Client.Credentials, string, Key>
    const withCredentials = Client.make(Plain, { credentials })
    expectTypeOf<Effect.Services<typeof withCredentials>>().toEqualTypeOf<Key | Scope.Scope>()
    // What is decoded are successes, what is encoded are payloads.
    const decodes = Consumer.make("x", { path: "/" }).pipe(Consumer.add(Action.make("a", { success: Decoded })))
    const encodes = Consumer.make("x", { path: "/" }).pipe(Consumer.add(Action.make("a", { payload: Encoded })))
    const neither = Consumer.make("x", { path: "/" }).pipe(
      Consumer.add(Action.make("a", { success: Encoded, payload: Decoded }))
    )
    const hears = Consumer.make("x", { path: "/" }).pipe(Consumer.push(Event.make("e", Decoded)))
    const inRoute = Consumer.make("x", { path: "/" }).pipe(
      Consumer.add(Route.make("r/").pipe(Route.add(Action.make("a", { success: Decoded }))))
    )
    const services = <A, E, R>(_: Effect.Effect<A, E, R>): R => undefined as never
    expectTypeOf(services(Client.make(decodes))).toEqualTypeOf<Key | Scope.Scope>()
    expectTypeOf(services(Client.make(encodes))).toEqualTypeOf<Key | Scope.Scope>()
    expectTypeOf(services(Client.make(neither))).toEqualTypeOf<Scope.Scope>()
    expectTypeOf(services(Client.make(hears))).toEqualTypeOf<Key | Scope.Scope>()
    expectTypeOf(services(Client.make(inRoute))).toEqualTypeOf<Key | Scope.Scope>()
    expectTypeOf(Client.makePromise(decodes)).toEqualTypeOf<
      "the schemas of this consumer need services: use Client.make"
    >()
    // @ts-expect-error nobody provides what the credentials need
    Client.makePromise(Plain, { credentials })
  })
})

describe("makePromise", () => {
  const client = Client.makePromise(Chat, { params: { room: "a" } })

  it("gives promises and async iterables", () => {
    expectTypeOf(client.ping()).toEqualTypeOf<Promise<"pong">>()
    expectTypeOf(client.mutter("a")).toEqualTypeOf<Promise<void>>()
    expectTypeOf(client.post({ text: "a", at: new Date() }, { signal: new AbortController().signal }))
      .toEqualTypeOf<Promise<Note>>()
    expectTypeOf(client.tail({ file: "a" })).toEqualTypeOf<AsyncIterable<Note>>()
    expectTypeOf(client.events("posted")).toEqualTypeOf<AsyncIterable<Note>>()
    expectTypeOf(client.presence(Room)).toEqualTypeOf<
      AsyncIterable<ReadonlyArray<Client.Present<{ readonly name: string }>>>
    >()
    expectTypeOf(client.at("notes/:id/", { id: 1 }).get()).toEqualTypeOf<Promise<Note>>()
    expectTypeOf(client.connect()).toEqualTypeOf<Promise<void>>()
    expectTypeOf(client.close).toEqualTypeOf<() => Promise<void>>()
    expectTypeOf(chat.promise.ping()).toEqualTypeOf<Promise<"pong">>()
  })

  it("is as strict", () => {
    // @ts-expect-error it has a payload
    void client.post()
    // @ts-expect-error it is a number
    void client.page(undefined, { fields: { page: "1" } })
    // @ts-expect-error the page is missing
    void client.page()
    // @ts-expect-error that is no signal
    void client.ping(undefined, { signal: 1 })
    // @ts-expect-error there is no such route
    client.at("nowhere/")
    // @ts-expect-error the path has a parameter
    Client.makePromise(Chat)
    // @ts-expect-error only one that is made for promises is closed
    void chat.promise.close
  })
})
