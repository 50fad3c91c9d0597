import { Action, Event, Group, Permission } from "@effect-channels/core"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

class Message extends Schema.Class<Message>("Message")({ id: Schema.Int, authorId: Schema.Int }) {}
class NotThere extends Schema.TaggedError<NotThere>()("NotThere", {}, { httpApiStatus: 404 }) {}
class Locked extends Schema.TaggedError<Locked>()("Locked", {}, { httpApiStatus: 409 }) {}
declare const Signed: Schema.Codec<string, string, "Verifier", "Signer">

const isAuthor = Permission.object<Message>()("isAuthor", ({ object }) => object.authorId === 1)
const isEdit = Permission.action("isEdit", ({ action }) => action === "edit")
const inLobby = Permission.action<{ readonly room: string }>()("inLobby", ({ params }) => params.room === "lobby")
const saysHi = Permission.object<Message, { readonly text: string }>()("saysHi", ({ payload }) => payload.text === "hi")
const isPublic = Permission.delivery<string>()("isPublic", ({ event }) => event === "public")

const ping = Action.make("ping")
const post = Action.make("post", { payload: { text: Schema.String } })
const edit = post.pipe(Action.object(Message))

describe("make", () => {
  it("takes no name of the protocol's own", () => {
    // @ts-expect-error it begins with "$"
    Action.make("$authenticate")
    Action.make("price$")
  })

  it("takes nothing, answers nothing and fails no way, unless it is said", () => {
    expectTypeOf(ping).toEqualTypeOf<
      Action.Action<"ping", Schema.Void, Schema.Void, Schema.Void, Schema.Never, {}, unknown, never>
    >()
    expectTypeOf(ping.name).toEqualTypeOf<"ping">()
  })

  it("takes schemas, or the fields of a struct", () => {
    expectTypeOf(post.payload.Type).toEqualTypeOf<{ readonly text: string }>()
    expectTypeOf(Action.make("x", { payload: Message }).payload.Type).toEqualTypeOf<Message>()
    expectTypeOf(Action.make("x", { fields: { pk: Schema.Int } }).fields.Type).toEqualTypeOf<{ readonly pk: number }>()
    expectTypeOf(Action.make("x", { success: Schema.Array(Message) }).success.Type).toEqualTypeOf<
      ReadonlyArray<Message>
    >()
    // @ts-expect-error: no schema
    Action.make("x", { payload: "text" })
    // @ts-expect-error: no schema
    Action.make("x", { payload: { text: "text" } })
    // @ts-expect-error: no such option
    Action.make("x", { succes: Message })
  })

  it("says whether a request may be sent again; a stream is not done once for a key", () => {
    expectTypeOf(ping.idempotent).toEqualTypeOf<Action.Idempotent>()
    expectTypeOf<Action.Any["idempotent"]>().toEqualTypeOf<boolean | "key">()
    Action.make("x", { idempotent: true })
    Action.make("x", { idempotent: false })
    Action.make("x", { idempotent: undefined })
    Action.make("x", { idempotent: "key" }).pipe(Action.object(Message), Action.permit(isAuthor), Action.silent)
    Action.make("x", { stream: false, idempotent: "key" })
    Action.make("x", { stream: true, idempotent: true })
    // @ts-expect-error: there is no such way
    Action.make("x", { idempotent: "yes" })
    // @ts-expect-error: it is a stream
    Action.make("x", { stream: true, idempotent: "key" })
    // It does not change what the action is otherwise.
    expectTypeOf(Action.make("x", { payload: { text: Schema.String }, idempotent: "key" })).toEqualTypeOf(
      Action.make("x", { payload: { text: Schema.String } })
    )
  })

  it("takes one error, or several", () => {
    const errorOf = <E extends Schema.Constraint>(_: { readonly errors: ReadonlyArray<E> }): E["Type"] => undefined
    expectTypeOf(errorOf(Action.make("x", { error: NotThere }))).toEqualTypeOf<NotThere>()
    expectTypeOf(errorOf(Action.make("x", { error: [NotThere, Locked] }))).toEqualTypeOf<NotThere | Locked>()
    expectTypeOf(errorOf(Action.make("x", { error: Schema.Union([NotThere, Locked]) }))).toEqualTypeOf<
      NotThere | Locked
    >()
    expectTypeOf(errorOf(ping)).toEqualTypeOf<never>()
    // @ts-expect-error: no schema
    Action.make("x", { error: "NotThere" })
  })

  it("has no field of the name of one of the protocol's keys", () => {
    Action.make("x", { fields: { page: Schema.Int } })
    // @ts-expect-error: a key of the protocol
    Action.make("x", { fields: { action: Schema.Int } })
    // @ts-expect-error: a key of the protocol
    Action.make("x", { fields: { route: Schema.Int } })
    // @ts-expect-error: a key of the protocol
    Action.make("x", { fields: { data: Schema.Int } })
    // @ts-expect-error: a key of the protocol
    Action.make("x", { fields: { request_id: Schema.Int } })
    // @ts-expect-error: a key of the protocol, beside one that is none
    Action.make("x", { fields: { page: Schema.Int, action: Schema.Int } })
  })

  it("needs what decodes its payload and fields, and encodes its outcome", () => {
    const services = <A extends Action.Any>(_: A): Action.Services<A> => undefined as never
    expectTypeOf(services(Action.make("x", { payload: Signed }))).toEqualTypeOf<"Verifier">()
    expectTypeOf(services(Action.make("x", { payload: { token: Signed } }))).toEqualTypeOf<"Verifier">()
    expectTypeOf(services(Action.make("x", { fields: { token: Signed } }))).toEqualTypeOf<"Verifier">()
    expectTypeOf(services(Action.make("x", { success: Signed }))).toEqualTypeOf<"Signer">()
    expectTypeOf(services(Action.make("x", { error: [NotThere, Signed] }))).toEqualTypeOf<"Signer">()
    expectTypeOf(services(post)).toEqualTypeOf<never>()
  })

  it("takes how many run at once, and for how long", () => {
    Action.make("x", { concurrency: 3, timeout: "1 second" })
    Action.make("x", { concurrency: "unbounded", timeout: 1000 })
    // @ts-expect-error: no number
    Action.make("x", { concurrency: "all" })
    // @ts-expect-error: no duration
    Action.make("x", { timeout: "soon" })
  })
})

describe("object", () => {
  it("says what the action is about, data-last and data-first", () => {
    expectTypeOf(edit).toExtend<Action.Any & { readonly "~facts": { readonly object: Message } }>()
    expectTypeOf(Action.object(post, Message)).toEqualTypeOf<typeof edit>()
    expectTypeOf(post).not.toExtend<{ readonly "~facts": { readonly object: Message } }>()
  })
})

describe("permit", () => {
  it("takes an object permission for an action on an object of that type", () => {
    edit.pipe(Action.permit(isAuthor))
    Action.permit(edit, isAuthor)
    // @ts-expect-error: there is no object
    post.pipe(Action.permit(isAuthor))
    // @ts-expect-error: there is no object
    Action.permit(post, isAuthor)
    const onText = post.pipe(Action.object(Schema.String))
    // @ts-expect-error: the object is no message
    onText.pipe(Action.permit(isAuthor))
    // @ts-expect-error: there is no object yet
    post.pipe(Action.permit(isAuthor), Action.object(Message))
  })

  it("finds an object permission anywhere in an expression", () => {
    edit.pipe(Action.permit(Permission.or(isEdit, Permission.not(isAuthor))))
    // @ts-expect-error: there is no object
    post.pipe(Action.permit(Permission.or(isEdit, Permission.not(isAuthor))))
    const any = Permission.any([isEdit, Permission.all([isAuthor])])
    edit.pipe(Action.permit(any))
    // @ts-expect-error: there is no object
    post.pipe(Action.permit(any))
  })

  it("takes a permission that looks at the payload, when it fits", () => {
    edit.pipe(Action.permit(saysHi))
    const withNumber = Action.make("x", { payload: { text: Schema.Int } }).pipe(Action.object(Message))
    // @ts-expect-error: the text is a number
    withNumber.pipe(Action.permit(saysHi))
    const without = Action.make("x").pipe(Action.object(Message))
    // @ts-expect-error: there is no payload
    without.pipe(Action.permit(saysHi))
  })

  it("takes a permission that looks at params: they are known where the action is added", () => {
    post.pipe(Action.permit(inLobby))
    edit.pipe(Action.permit(inLobby))
  })

  it("takes no permission of a delivery", () => {
    post.pipe(Action.permit(isEdit))
    // @ts-expect-error: there is no event
    post.pipe(Action.permit(isPublic))
  })

  it("needs what the permission needs", () => {
    const isBanned = Permission.connection("isBanned", {} as Effect.Effect<boolean, never, "Bans">)
    const guarded = post.pipe(Action.permit(isBanned))
    expectTypeOf<Action.Services<typeof guarded>>().toEqualTypeOf<"Bans">()
    const twice = guarded.pipe(Action.permit(isEdit))
    expectTypeOf<Action.Services<typeof twice>>().toEqualTypeOf<"Bans">()
  })
})

describe("broadcast", () => {
  const Room = Group.make("room", { room: Schema.String })
  const Posted = Event.make("posted", Message)
  const Told = Event.make("told", Schema.String)
  const publish = Action.make("publish", { success: Message, error: NotThere })

  it("takes an event of the success, or makes one of it", () => {
    expectTypeOf(publish.pipe(Action.broadcast(Room, Posted))).toEqualTypeOf<typeof publish>()
    expectTypeOf(publish.pipe(Action.broadcast(Room, Told, { map: (message) => String(message.id) }))).toEqualTypeOf<
      typeof publish
    >()
    publish.pipe(Action.broadcast(Room, Posted, { reply: false, includeSender: false }))
    publish.pipe(Action.broadcast(Room, Told, {
      map: (message) => {
        expectTypeOf(message).toEqualTypeOf<Message>()
        return String(message.id)
      },
      reply: false,
      includeSender: false
    }))
    // @ts-expect-error the event is a string
    publish.pipe(Action.broadcast(Room, Told))
    // @ts-expect-error the event is a string
    publish.pipe(Action.broadcast(Room, Told, { map: (message) => message.id }))
    // @ts-expect-error no such option
    publish.pipe(Action.broadcast(Room, Posted, { replies: false }))
  })

  it("keeps what the action needs and looks at", () => {
    const permitted = publish.pipe(Action.object(Message), Action.permit(isAuthor))
    expectTypeOf(permitted.pipe(Action.broadcast(Room, Posted))).toEqualTypeOf<typeof permitted>()
    expectTypeOf(permitted.pipe(Action.silent)).toEqualTypeOf<typeof permitted & Action.Silent>()
  })
})
