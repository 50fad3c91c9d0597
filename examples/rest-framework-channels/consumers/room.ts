/**
 * `/room/:group_id/` and `/other/:group_id/`: every connection joins the group of its path, and actions are broadcast to it.
 *
 * The original names the parameter of the path (`group_send_lookup_kwargs`), and sends what an action with `mode="broadcast"`
 * answers to the group. Here group and event are values, and who may receive an event can be decided.
 */
import { Action, Consumer, Event, Group, Handlers, Route } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { OptionalData } from "../schemas.ts"
import { CurrentUser, isAuthenticated } from "../users.ts"

/** One group for each `group_id`. Two consumers with such a group do not hear each other. */
const Members = Group.make("members", { group_id: Schema.String })

const Said = Schema.Struct({ text: Schema.Json, from: Schema.optionalKey(Schema.String) })

const RoomMessage = Event.make("room.message", Said)

const say = Action.make("say", { payload: OptionalData, success: Said }).pipe(Action.broadcast(Members, RoomMessage))

const saySilent = Action.make("say_silent", { payload: OptionalData, success: Said }).pipe(
  Action.broadcast(Members, RoomMessage, { reply: false })
)

const saySync = Action.make("say_sync", { payload: OptionalData, success: Said, status: 201 }).pipe(
  Action.broadcast(Members, RoomMessage)
)

const nothing = Action.make("nothing").pipe(Action.silent)

const consumerSay = Action.make("consumer_say", { payload: OptionalData, success: Said }).pipe(
  Action.broadcast(Members, RoomMessage)
)

export const Room = Consumer.make("room", { path: "/room/:group_id/" }).pipe(
  Consumer.join(Members, ({ params }) => ({ group_id: params.group_id })),
  Consumer.push(RoomMessage),
  Consumer.add(
    Route.make("talk/").pipe(Route.add(say, saySilent, saySync, nothing), Route.permit(isAuthenticated)),
    consumerSay
  )
)

const said = ({ payload }: { readonly payload: typeof OptionalData.Type }) => Effect.succeed({ text: payload ?? null })

export const RoomLive = Consumer.handlers(Room).pipe(
  Handlers.handle(
    "talk/",
    "say",
    ({ payload }) => CurrentUser.use(({ username }) => ({ text: payload ?? null, from: username }))
  ),
  Handlers.handle("talk/", "say_silent", said),
  Handlers.handle("talk/", "say_sync", said),
  Handlers.handle("talk/", "nothing", () => Effect.void),
  Handlers.handle("consumer_say", said),
  Handlers.toLayer
)

const ping = Action.make("ping", { success: Schema.Literal("pong") })

/** Its groups have the same names as those of the rooms: they are other groups. */
export const Other = Consumer.make("other", { path: "/other/:group_id/" }).pipe(
  Consumer.join(Members, ({ params }) => ({ group_id: params.group_id })),
  Consumer.push(RoomMessage),
  Consumer.add(ping)
)

export const OtherLive = Consumer.handlers(Other).pipe(
  Handlers.handle("ping", () => Effect.succeed("pong")),
  Handlers.toLayer
)
