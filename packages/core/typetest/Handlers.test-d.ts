// @effect-diagnostics missingEffectError:off
import {
  Action,
  Authentication,
  ChannelError,
  ConnectionScope,
  Consumer,
  Handlers,
  Permission,
  type Query,
  Route
} from "@effect-channels/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { describe, expectTypeOf, it } from "vitest"

class Message extends Schema.Class<Message>("Message")({ id: Schema.Int, text: Schema.String }) {}
class NotThere extends Schema.TaggedError<NotThere>()("NotThere", { id: Schema.Int }, { httpApiStatus: 404 }) {}
class Locked extends Schema.TaggedError<Locked>()("Locked", {}, { httpApiStatus: 409 }) {}
declare const message: Message

const ping = Action.make("ping")
const post = Action.make("post", {
  payload: { text: Schema.String, at: Schema.Date },
  fields: { page: Schema.Int },
  success: Message
})
const edit = Action.make("edit", { payload: { text: Schema.String }, success: Message, error: [NotThere, Locked] })
  .pipe(Action.object(Message))
const Messages = Route.make("messages/:id/", { id: Schema.NumberFromString }).pipe(
  Route.add(edit),
  Route.add(Route.make("parts/:part").pipe(Route.add(post)))
)
const Chat = Consumer.make("chat", { path: "/ws/:room/" }).pipe(Consumer.add(ping, post, Messages))
const chat = Consumer.handlers(Chat)

describe("what a handler gets", () => {
  it("the payload, decoded; the fields; the params of the path", () => {
    chat.pipe(Handlers.handle("post", (request) => {
      expectTypeOf(request.payload).toEqualTypeOf<{ readonly text: string; readonly at: Date }>()
      expectTypeOf(request.fields).toEqualTypeOf<{ readonly page: number }>()
      expectTypeOf(request.params).toEqualTypeOf<{ readonly room: string }>()
      expectTypeOf(request.query).toEqualTypeOf<Query.Query>()
      expectTypeOf(request.requestId).toEqualTypeOf<string | number | undefined>()
      // @ts-expect-error: the action is about no object
      return Effect.succeed(request.object)
    }))
  })

  it("nothing, where the action takes nothing", () => {
    chat.pipe(Handlers.handle("ping", (request) => {
      expectTypeOf(request.payload).toEqualTypeOf<void>()
      expectTypeOf(request.fields).toEqualTypeOf<void>()
      return Effect.void
    }))
  })

  it("the params of the consumer's path, the route's and those it is nested in, together", () => {
    chat.pipe(Handlers.handle("messages/:id/parts/:part", "post", (request) => {
      expectTypeOf(request.params).toEqualTypeOf<
        { readonly room: string; readonly id: number; readonly part: string }
      >()
      return Effect.succeed(message)
    }))
  })

  it("the object, where the action is about one", () => {
    chat.pipe(Handlers.handle("messages/:id/", "edit", {
      object: (request) => {
        expectTypeOf(request.params).toEqualTypeOf<{ readonly room: string; readonly id: number }>()
        expectTypeOf(request).not.toHaveProperty("object")
        return Effect.succeed(message)
      },
      run: (request) => {
        expectTypeOf(request.object).toEqualTypeOf<Message>()
        expectTypeOf(request.params).toEqualTypeOf<{ readonly room: string; readonly id: number }>()
        return Effect.succeed(request.object)
      }
    }))
  })

  it("in a generator too", () => {
    chat.pipe(
      Handlers.handle(
        "post",
        Effect.fn(function*({ params, payload }) {
          expectTypeOf(payload).toEqualTypeOf<{ readonly text: string; readonly at: Date }>()
          expectTypeOf(params).toEqualTypeOf<{ readonly room: string }>()
          return yield* Effect.succeed(message)
        })
      )
    )
    chat.pipe(
      Handlers.handle("messages/:id/", "edit", {
        object: Effect.fnUntraced(function*({ params }) {
          expectTypeOf(params).toEqualTypeOf<{ readonly room: string; readonly id: number }>()
          return yield* Effect.succeed(message)
        }),
        run: Effect.fnUntraced(function*({ object, payload }) {
          expectTypeOf(object).toEqualTypeOf<Message>()
          expectTypeOf(payload).toEqualTypeOf<{ readonly text: string }>()
          return yield* Effect.succeed(object)
        })
      })
    )
  })

  it("no more than that", () => {
    chat.pipe(Handlers.handle("post", ({ payload }) => Effect.succeed(new Message({ id: 1, text: payload.text }))))
    // @ts-expect-error: the payload has no such property
    chat.pipe(Handlers.handle("post", ({ payload }) => Effect.succeed(new Message({ id: 1, text: payload.body }))))
    // @ts-expect-error: the text is no number
    chat.pipe(Handlers.handle("post", ({ payload }) => Effect.succeed(new Message({ id: payload.text, text: "" }))))
    // @ts-expect-error: the path has no such parameter
    chat.pipe(Handlers.handle("post", ({ params }) => Effect.succeed(new Message({ id: params.id, text: "" }))))
  })
})

describe("what a handler gives", () => {
  it("an effect of the action's success", () => {
    chat.pipe(Handlers.handle("post", () => Effect.succeed(message)))
    // @ts-expect-error: no message
    chat.pipe(Handlers.handle("post", () => Effect.succeed("message")))
    // @ts-expect-error: a property is missing
    chat.pipe(Handlers.handle("post", () => Effect.succeed({ id: 1 })))
    // @ts-expect-error: nothing
    chat.pipe(Handlers.handle("post", () => Effect.void))
    // @ts-expect-error: no effect
    chat.pipe(Handlers.handle("post", () => message))
    // @ts-expect-error: a promise
    chat.pipe(Handlers.handle("post", async () => message))
  })

  it("errors that the action declares, and that of a missing identity", () => {
    const run = () => Effect.succeed(message)
    chat.pipe(Handlers.handle("messages/:id/", "edit", { object: () => Effect.fail(new NotThere({ id: 1 })), run }))
    chat.pipe(Handlers.handle("messages/:id/", "edit", { object: () => Effect.fail(new Locked()), run }))
    // @ts-expect-error: not declared
    chat.pipe(Handlers.handle("messages/:id/", "edit", { object: () => Effect.fail("no"), run }))
    chat.pipe(Handlers.handle("messages/:id/", "edit", { object: run, run: () => Effect.fail(new Locked()) }))
    // @ts-expect-error: not declared
    chat.pipe(Handlers.handle("messages/:id/", "edit", { object: run, run: () => Effect.fail("no") }))
    chat.pipe(Handlers.handle("post", () => Effect.fail(new ChannelError.NotAuthenticated())))
    // @ts-expect-error: this action declares no error
    chat.pipe(Handlers.handle("post", () => Effect.fail(new Locked())))
    // @ts-expect-error: not declared
    chat.pipe(Handlers.handle("post", () => Effect.fail(new ChannelError.RouteNotFound({ message: "no" }))))
    chat.pipe(Handlers.handle("post", () => Effect.die("broke")))
  })

  it("a function, or for an action on an object { object, run }", () => {
    const handle = () => Effect.succeed(message)
    chat.pipe(Handlers.handle("post", handle))
    // @ts-expect-error: post is about no object
    chat.pipe(Handlers.handle("post", { object: handle, run: handle }))
    chat.pipe(Handlers.handle("messages/:id/", "edit", { object: handle, run: handle }))
    // @ts-expect-error: edit is about an object
    chat.pipe(Handlers.handle("messages/:id/", "edit", handle))
    // @ts-expect-error: nothing is run
    chat.pipe(Handlers.handle("messages/:id/", "edit", { object: handle }))
    // @ts-expect-error: nothing is loaded
    chat.pipe(Handlers.handle("messages/:id/", "edit", { run: handle }))
    // @ts-expect-error: another object
    chat.pipe(Handlers.handle("messages/:id/", "edit", { object: () => Effect.succeed("text"), run: handle }))
  })
})

describe("which actions are handled", () => {
  const done = () => Effect.succeed(message)

  it("those that there are", () => {
    chat.pipe(Handlers.handle("post", done))
    // @ts-expect-error: there is no such action
    chat.pipe(Handlers.handle("posts", done))
    // @ts-expect-error: it is in a route
    chat.pipe(Handlers.handle("edit", { object: done, run: done }))
    chat.pipe(Handlers.handle("messages/:id/parts/:part", "post", done))
    // @ts-expect-error: there is no such route
    chat.pipe(Handlers.handle("messages/:id/parts/", "post", done))
    // @ts-expect-error: the pattern is spelt another way
    chat.pipe(Handlers.handle("messages/:pk/parts/:part", "post", done))
    // @ts-expect-error: there is no such action in this route
    chat.pipe(Handlers.handle("messages/:id/parts/:part", "edit", done))
    chat.pipe(Handlers.handle("", "post", done))
  })

  it("once", () => {
    const posted = chat.pipe(Handlers.handle("post", done))
    posted.pipe(Handlers.handle("messages/:id/parts/:part", "post", done))
    // @ts-expect-error: it is handled already
    posted.pipe(Handlers.handle("post", done))
    // @ts-expect-error: it is handled already
    posted.pipe(Handlers.handle("", "post", done))
  })

  it("all of them, in any order", () => {
    const most = chat.pipe(
      Handlers.handle("messages/:id/parts/:part", "post", done),
      Handlers.handle("post", done),
      Handlers.handle("messages/:id/", "edit", { object: done, run: done })
    )
    // @ts-expect-error: ping is missing
    most.pipe(Handlers.toLayer)
    // @ts-expect-error: ping is missing
    Handlers.toLayer(most)
    const all = most.pipe(Handlers.handle("ping", () => Effect.void))
    all.pipe(Handlers.toLayer)
    expectTypeOf(Handlers.toLayer(all)).toEqualTypeOf<Layer.Layer<Handlers.Live<"chat">, Handlers.DefinitionError>>()
    // @ts-expect-error: all of them are missing
    chat.pipe(Handlers.toLayer)
  })

  it("or are told which are missing", () => {
    const most = chat.pipe(Handlers.handle("messages/:id/parts/:part", "post", done), Handlers.handle("post", done))
    const missing = <Missing>(_: Handlers.Handlers<"chat", Missing, unknown>): Handlers.Complete<Missing> =>
      undefined as never
    expectTypeOf(missing(most)).toEqualTypeOf<
      { readonly "missing handlers": "action \"ping\"" | "action \"edit\" of route \"messages/:id/\"" }
    >()
  })

  it("none, of a consumer without actions", () => {
    const empty = Consumer.handlers(Consumer.make("empty", { path: "/" }))
    expectTypeOf(Handlers.toLayer(empty)).toEqualTypeOf<
      Layer.Layer<Handlers.Live<"empty">, Handlers.DefinitionError>
    >()
    // @ts-expect-error: there is no action
    empty.pipe(Handlers.handle("ping", () => Effect.void))
  })
})

describe("what the layer needs", () => {
  interface User {
    readonly id: number
  }
  class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser") {}
  class CurrentDevice extends Authentication.Service<CurrentDevice, User>()("app/CurrentDevice") {}
  class Repository extends Context.Service<Repository, { readonly find: Effect.Effect<Message, NotThere> }>()(
    "app/Repository"
  ) {}
  class Bans extends Context.Service<Bans, { readonly has: Effect.Effect<boolean> }>()("app/Bans") {}
  class Audit extends Context.Service<Audit, { readonly isOpen: boolean }>()("app/Audit") {}
  class Clock extends Context.Service<Clock, { readonly isDay: boolean }>()("app/Clock") {}
  const Signed = Schema.String as unknown as Schema.Codec<string, string, "Verifier", "Signer">

  const isBanned = Permission.connection("isBanned", Bans.use((bans) => bans.has))
  const isOpen = Permission.action("isOpen", () => Audit.useSync((audit) => audit.isOpen))
  const isDay = Permission.action("isDay", () => Clock.useSync((clock) => clock.isDay))
  const onDevice = Permission.object<Message>()("onDevice", () => CurrentDevice.use((device) => device.id === 1))
  const isLocal = Permission.connection("isLocal", (scope) => scope.remoteAddress === "::1")

  it("what permissions, schemas and handlers need: identities as authenticators, nothing of the connection", () => {
    const sign = Action.make("sign", { payload: Signed, success: Signed })
    const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(
      Consumer.permitConnect(Permission.not(isBanned)),
      Consumer.permit(isLocal),
      Consumer.add(
        sign.pipe(Action.permit(isOpen)),
        Route.make(":id/").pipe(Route.permit(isDay), Route.add(edit.pipe(Action.permit(onDevice))))
      )
    )
    const live = Consumer.handlers(Chat).pipe(
      Handlers.handle("sign", ({ payload }) => Effect.as(ConnectionScope.ConnectionScope, payload)),
      Handlers.handle(":id/", "edit", {
        object: () => Repository.use((repository) => repository.find),
        run: ({ object }) =>
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() => Effect.void)
            const user = yield* CurrentUser
            return new Message({ id: user.id, text: object.text })
          })
      }),
      Handlers.toLayer
    )
    expectTypeOf(live).toEqualTypeOf<
      Layer.Layer<
        Handlers.Live<"chat">,
        Handlers.DefinitionError,
        | Authentication.Authenticator<CurrentUser>
        | Authentication.Authenticator<CurrentDevice>
        | Audit
        | Bans
        | Clock
        | Repository
        | "Signer"
        | "Verifier"
      >
    >()
  })

  it("nothing, where nothing is needed", () => {
    expectTypeOf<Handlers.Requirements<ConnectionScope.ConnectionScope | Scope.Scope>>()
      .toEqualTypeOf<never>()
    expectTypeOf<Handlers.Requirements<never>>().toEqualTypeOf<never>()
    expectTypeOf<Handlers.Requirements<CurrentUser | Bans>>().toEqualTypeOf<
      Authentication.Authenticator<CurrentUser> | Bans
    >()
  })

  it("is told apart by the name of the consumer", () => {
    expectTypeOf<Handlers.Live<"chat">>().not.toExtend<Handlers.Live<"other">>()
    expectTypeOf(Handlers.Live("chat")).toExtend<Context.Key<Handlers.Live<"chat">, unknown>>()
  })
})
