import {
  Action,
  type ChannelLayer,
  Consumer,
  Event,
  Group,
  type Handlers,
  Permission,
  Route
} from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

class Message extends Schema.Class<Message>("Message")({ id: Schema.Int, authorId: Schema.Int }) {}
declare const Signed: Schema.Codec<string, string, "Verifier">

const list = Action.make("list")
const listAll = Action.make("list", { success: Schema.Array(Schema.String) })
const post = Action.make("post", { payload: { text: Schema.String } })
const edit = Action.make("edit", { payload: { text: Schema.String } }).pipe(Action.object(Message))

const isLocal = Permission.connection("isLocal", (scope) => scope.remoteAddress === "::1")
const isEdit = Permission.action("isEdit", ({ action }) => action === "edit")
const inLobby = Permission.action<{ readonly room: string }>()("inLobby", ({ params }) => params.room === "lobby")
const isFirst = Permission.action<{ readonly room: number }>()("isFirst", ({ params }) => params.room === 1)
const isAuthor = Permission.object<Message>()("isAuthor", ({ object }) => object.authorId === 1)
const isPublic = Permission.delivery<string>()("isPublic", ({ event }) => event === "public")

const chat = Consumer.make("chat", { path: "/ws/" })
const room = Consumer.make("room", { path: "/ws/:room/" })

const paramsOf = <Name extends string, Params, Members, Needs, R>(
  _: Consumer.Consumer<Name, Params, Members, Needs, R>
): Params => undefined as never

describe("make", () => {
  it("has a name, and the parameters of its path", () => {
    expectTypeOf(chat.name).toEqualTypeOf<"chat">()
    expectTypeOf(paramsOf(chat)).toEqualTypeOf<{}>()
    expectTypeOf(paramsOf(room)).toEqualTypeOf<{ readonly room: string }>()
    expectTypeOf(paramsOf(Consumer.make("x", { path: "/:a/:b", params: { b: Schema.NumberFromString } })))
      .toEqualTypeOf<{ readonly a: string; readonly b: number }>()
  })

  it("has parameters that stand in its path, decoded from strings", () => {
    Consumer.make("x", { path: "/:room/", params: { room: Schema.NumberFromString } })
    // @ts-expect-error: the path has no such parameter
    Consumer.make("x", { path: "/:room/", params: { name: Schema.NumberFromString } })
    // @ts-expect-error: from a number
    Consumer.make("x", { path: "/:room/", params: { room: Schema.Number } })
    // @ts-expect-error: decoding needs a service
    Consumer.make("x", { path: "/:room/", params: { room: Signed } })
  })
})

describe("add", () => {
  it("takes no second action of one name", () => {
    chat.pipe(Consumer.add(list, post))
    // @ts-expect-error: list stands there twice
    chat.pipe(Consumer.add(list, listAll))
    chat.pipe(Consumer.add(list), Consumer.add(post))
    // @ts-expect-error: list is there already
    chat.pipe(Consumer.add(list), Consumer.add(listAll))
    // @ts-expect-error: list is there already
    chat.pipe(Consumer.add(list), Consumer.add(post), Consumer.add(list))
    chat.pipe(Consumer.add(list, Route.make("items/").pipe(Route.add(list))))
  })

  it("takes no second route of one shape", () => {
    const byId = Route.make("items/:id/")
    chat.pipe(Consumer.add(byId, Route.make("items/new/")))
    // @ts-expect-error: both are one segment
    chat.pipe(Consumer.add(byId, Route.make("items/:name/")))
    chat.pipe(Consumer.add(byId), Consumer.add(Route.make("items/new/")))
    // @ts-expect-error: both are one segment
    chat.pipe(Consumer.add(byId), Consumer.add(Route.make("items/:name/")))
  })

  it("takes no consumer", () => {
    // @ts-expect-error: a consumer is no member
    chat.pipe(Consumer.add(room))
  })
})

describe("permitConnect", () => {
  it("takes what can be decided of a connection, data-last and data-first", () => {
    chat.pipe(Consumer.permitConnect(isLocal))
    Consumer.permitConnect(chat, isLocal)
    Consumer.permitConnect(chat, Permission.allow)
    Consumer.permitConnect(chat, Permission.all([isLocal, Permission.not(isLocal)]))
  })

  it("takes no permission of a message or a delivery, however deep it stands", () => {
    // @ts-expect-error: there is no action
    chat.pipe(Consumer.permitConnect(isEdit))
    // @ts-expect-error: there is no action
    Consumer.permitConnect(chat, isEdit)
    // @ts-expect-error: there are no decoded params
    Consumer.permitConnect(room, inLobby)
    // @ts-expect-error: there is no object
    Consumer.permitConnect(chat, isAuthor)
    // @ts-expect-error: there is no object
    Consumer.permitConnect(chat, Permission.or(isLocal, Permission.not(isAuthor)))
    // @ts-expect-error: there is no object, of any type
    Consumer.permitConnect(chat, Permission.object()("x", () => true))
    // @ts-expect-error: there is no event
    Consumer.permitConnect(chat, isPublic)
    // @ts-expect-error: there is no event, of any type
    Consumer.permitConnect(chat, Permission.delivery()("x", () => true))
  })
})

describe("permissions find what they look at", () => {
  it("the params of the consumer and its routes, where an action is permitted", () => {
    const guarded = post.pipe(Action.permit(inLobby))
    Consumer.handlers(room.pipe(Consumer.add(guarded)))
    // @ts-expect-error: there are no params
    Consumer.handlers(chat.pipe(Consumer.add(guarded)))
    Consumer.handlers(chat.pipe(Consumer.add(Route.make(":room/").pipe(Route.add(guarded)))))
    // @ts-expect-error: the parameter has another name
    Consumer.handlers(chat.pipe(Consumer.add(Route.make(":name/").pipe(Route.add(guarded)))))
    const numbered = post.pipe(Action.permit(isFirst))
    // @ts-expect-error: the parameter is a string
    Consumer.handlers(room.pipe(Consumer.add(numbered)))
    Consumer.handlers(
      chat.pipe(Consumer.add(Route.make(":room/", { room: Schema.NumberFromString }).pipe(Route.add(numbered))))
    )
  })

  it("the params of the consumer and its routes, where a route is permitted", () => {
    const guarded = Route.make("items/").pipe(Route.add(post), Route.permit(inLobby))
    Consumer.handlers(room.pipe(Consumer.add(guarded)))
    // @ts-expect-error: there are no params
    Consumer.handlers(chat.pipe(Consumer.add(guarded)))
    const inner = Route.make(":room/").pipe(Route.add(post), Route.permit(inLobby))
    Consumer.handlers(chat.pipe(Consumer.add(inner)))
    Consumer.handlers(chat.pipe(Consumer.add(Route.make("items/").pipe(Route.add(inner)))))
  })

  it("the params of the consumer alone, where the consumer is permitted", () => {
    Consumer.handlers(room.pipe(Consumer.add(post), Consumer.permit(inLobby)))
    // @ts-expect-error: there are no params
    Consumer.handlers(chat.pipe(Consumer.add(post), Consumer.permit(inLobby)))
    const inner = Route.make("items/:room/").pipe(Route.add(post))
    // @ts-expect-error: the consumer is decided before a route is matched
    Consumer.handlers(chat.pipe(Consumer.add(inner), Consumer.permit(inLobby)))
    Consumer.handlers(room.pipe(Consumer.add(Route.make("items/").pipe(Route.add(post))), Consumer.permit(inLobby)))
  })

  it("the object of every action that is reached", () => {
    Consumer.handlers(chat.pipe(Consumer.add(edit), Consumer.permit(isAuthor)))
    // @ts-expect-error: post has no object
    Consumer.handlers(chat.pipe(Consumer.add(post), Consumer.permit(isAuthor)))
    // @ts-expect-error: one of two has no object
    Consumer.handlers(chat.pipe(Consumer.add(edit, post), Consumer.permit(isAuthor)))
    Consumer.handlers(chat.pipe(Consumer.add(Route.make("a/").pipe(Route.add(edit), Route.permit(isAuthor)))))
    // @ts-expect-error: post has no object
    Consumer.handlers(chat.pipe(Consumer.add(Route.make("a/").pipe(Route.add(post), Route.permit(isAuthor)))))
    const deep = Route.make("a/").pipe(Route.add(Route.make("b/").pipe(Route.add(post))), Route.permit(isAuthor))
    // @ts-expect-error: post has no object, in a route inside
    Consumer.handlers(chat.pipe(Consumer.add(deep)))
    const onText = Action.make("edit").pipe(Action.object(Schema.String))
    // @ts-expect-error: its object is no message
    Consumer.handlers(chat.pipe(Consumer.add(onText), Consumer.permit(isAuthor)))
  })

  it("no event", () => {
    Consumer.handlers(chat.pipe(Consumer.add(post), Consumer.permit(isEdit)))
    // @ts-expect-error: there is no event
    Consumer.handlers(chat.pipe(Consumer.add(post), Consumer.permit(isPublic)))
    // @ts-expect-error: there is no event
    Consumer.handlers(chat.pipe(Consumer.add(Route.make("a/").pipe(Route.add(post), Route.permit(isPublic)))))
  })

  it("or are told in words why not", () => {
    expectTypeOf<Handlers.Permitted<typeof edit, {}, { readonly object: Message }>>().toEqualTypeOf<unknown>()
    expectTypeOf<Handlers.Permitted<typeof post, {}, { readonly object: Message }>>().toEqualTypeOf<
      {
        readonly "not permitted":
          "The permission of action \"post\" in route \"\" looks at an object, payload or params which are not there"
      }
    >()
  })
})

describe("a consumer", () => {
  it("needs what its members and permissions need", () => {
    const needs = <Name extends string, Params, Members, Needs, R>(
      _: Consumer.Consumer<Name, Params, Members, Needs, R>
    ): R => undefined as never
    const service = <Name extends string>(name: Name) =>
      Permission.connection(name, {} as Effect.Effect<boolean, never, Name>)
    const full = chat.pipe(
      Consumer.permitConnect(service("ForConnect")),
      Consumer.permit(service("ForMessages")),
      Consumer.add(Action.make("a", { payload: Signed })),
      Consumer.add(Route.make("a/").pipe(Route.permit(service("ForRoute"))))
    )
    expectTypeOf(needs(full)).toEqualTypeOf<"ForConnect" | "ForMessages" | "ForRoute" | "Verifier">()
    expectTypeOf(needs(chat.pipe(Consumer.add(post)))).toEqualTypeOf<never>()
  })
})

describe("join, groups and push", () => {
  const Room = Group.make("room", { room: Schema.String })
  const Shown = Group.make("shown").pipe(Group.presence(Schema.Struct({ name: Schema.String })))
  const Posted = Event.make("posted", Schema.String)
  const Told = Event.make("told", Schema.Int)

  it("say which groups and events there are", () => {
    const all = room.pipe(Consumer.groups(Room, Shown), Consumer.push(Posted), Consumer.push(Told))
    expectTypeOf<Consumer.GroupsOf<typeof all>>().toEqualTypeOf<typeof Room | typeof Shown>()
    expectTypeOf<Consumer.EventsOf<typeof all>>().toEqualTypeOf<typeof Posted | typeof Told>()
    expectTypeOf<Consumer.GroupsOf<typeof room>>().toEqualTypeOf<never>()
    expectTypeOf<Consumer.EventsOf<typeof room>>().toEqualTypeOf<never>()
  })

  it("take the parameters of one group or several, at once or not, by the typed scope", () => {
    room.pipe(Consumer.join(Room, ({ params }) => {
      expectTypeOf(params).toEqualTypeOf<{ readonly room: string }>()
      return { room: params.room }
    }))
    room.pipe(Consumer.join(Room, ({ query }) => [{ room: String(query.a) }]))
    room.pipe(Consumer.join(Room, () => Effect.succeed({ room: "a" })))
    room.pipe(Consumer.join(Room, () => Effect.succeed([{ room: "a" }])))
    // @ts-expect-error no such parameter
    room.pipe(Consumer.join(Room, () => ({ id: "a" })))
    // @ts-expect-error no such parameter
    room.pipe(Consumer.join(Room, () => Effect.succeed([{ id: "a" }])))
    // @ts-expect-error the path has no such parameter
    chat.pipe(Consumer.join(Room, ({ params }) => ({ room: params.room })))
  })

  it("say what members are told where there is presence, and nothing where there is none", () => {
    room.pipe(Consumer.join(Shown, () => ({}), { presence: () => ({ name: "x" }) }))
    room.pipe(Consumer.join(Shown, () => ({}), { presence: () => Effect.succeed({ name: "x" }) }))
    // @ts-expect-error nothing is said
    room.pipe(Consumer.join(Shown, () => ({})))
    // @ts-expect-error something else is said
    room.pipe(Consumer.join(Shown, () => ({}), { presence: () => ({ name: 1 }) }))
    // @ts-expect-error the group has no presence
    room.pipe(Consumer.join(Room, () => ({ room: "a" }), { presence: () => "x" }))
  })

  it("need what their effects need, and a channel layer", () => {
    const servicesOf = <Name extends string, Params, Members, Needs, R>(
      _: Consumer.Consumer<Name, Params, Members, Needs, R>
    ): R => undefined as never
    expectTypeOf(servicesOf(chat.pipe(Consumer.push(Posted)))).toEqualTypeOf<ChannelLayer.ChannelLayer>()
    const joined = chat.pipe(Consumer.join(Room, () => {
      return Effect.as(Effect.context<"Rooms">(), { room: "a" })
    }))
    expectTypeOf<Extract<ReturnType<typeof servicesOf<"chat", {}, never, unknown, "Rooms">>, "Rooms">>()
      .toEqualTypeOf<"Rooms">()
    expectTypeOf<
      Extract<
        typeof joined extends Consumer.Consumer<infer _N, infer _P, infer _M, infer _F, infer R> ? R : never,
        "Rooms"
      >
    >()
      .toEqualTypeOf<"Rooms">()
  })
})
