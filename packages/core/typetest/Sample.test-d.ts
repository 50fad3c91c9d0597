/** What a user writes, as the design has it: it must compile, without casts. */
import { Action, Authentication, ChannelError, Consumer, Handlers, Permission, Route } from "@effect-channels/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

// ---- contract.ts

class User extends Schema.Class<User>("User")({ id: Schema.Int, name: Schema.String, admin: Schema.Boolean }) {}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser") {}
class Message extends Schema.Class<Message>("Message")({
  id: Schema.Int,
  authorId: Schema.Int,
  text: Schema.NonEmptyString
}) {}

const isAuthenticated = Permission.isAuthenticated(CurrentUser)
const isAdmin = Permission.connection("isAdmin", CurrentUser.use((user) => user.admin))
const isAuthor = Permission.object<Message>()(
  "isAuthor",
  ({ object }) => CurrentUser.use((user) => user.id === object.authorId)
)

class MessageNotFound extends Schema.TaggedError<MessageNotFound>()("MessageNotFound", { id: Schema.Int }, {
  httpApiStatus: 404
}) {}

const post = Action.make("post", { payload: { text: Schema.NonEmptyString }, success: Message, status: 201 })
const edit = Action.make("edit", {
  payload: { text: Schema.NonEmptyString },
  success: Message,
  error: MessageNotFound
}).pipe(Action.object(Message), Action.permit(Permission.or(isAdmin, isAuthor)))

const MessageRoute = Route.make("messages/:id/", { id: Schema.NumberFromString })
  .pipe(Route.add(edit), Route.permit(isAuthenticated))

const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/", params: { room: Schema.String } }).pipe(
  Consumer.permitConnect(isAuthenticated),
  Consumer.add(post, MessageRoute)
)

// ---- server.ts

class Messages extends Context.Service<Messages, {
  readonly post: (room: string, text: string) => Effect.Effect<Message>
  readonly find: (id: number) => Effect.Effect<Message, MessageNotFound>
  readonly edit: (message: Message, text: string) => Effect.Effect<Message>
}>()("app/Messages") {}

const ChatLive = Consumer.handlers(Chat).pipe(
  Handlers.handle("post", ({ params, payload }) => Messages.use((_) => _.post(params.room, payload.text))),
  Handlers.handle("messages/:id/", "edit", {
    object: ({ params }) => Messages.use((_) => _.find(params.id)),
    run: ({ object, payload }) => Messages.use((_) => _.edit(object, payload.text))
  }),
  Handlers.toLayer
)

const AuthenticationLive = CurrentUser.layer((scope) =>
  scope.query.token === "secret"
    ? Effect.succeed(Authentication.authenticated(new User({ id: 1, name: "alice", admin: true })))
    : Effect.fail(new ChannelError.InvalidCredentials())
)

describe("the sample of the design", () => {
  it("needs its services and an authenticator", () => {
    expectTypeOf(ChatLive).toEqualTypeOf<
      Layer.Layer<
        Handlers.Live<"chat">,
        Handlers.DefinitionError,
        Messages | Authentication.Authenticator<CurrentUser>
      >
    >()
    expectTypeOf(ChatLive.pipe(Layer.provide(AuthenticationLive))).toEqualTypeOf<
      Layer.Layer<Handlers.Live<"chat">, Handlers.DefinitionError, Messages>
    >()
  })
})
