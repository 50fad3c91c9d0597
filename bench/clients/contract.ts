/** The contracts the typed clients are made of: that of `servers/effect-channels.ts`, and that of `servers/events.ts`. */
import { Action, Consumer, Event, Group, Route } from "@effect-channels/core"
import * as Schema from "effect/Schema"

const Message = Schema.Struct({
  id: Schema.Int,
  room: Schema.Int,
  text: Schema.String,
  count: Schema.Int,
  author: Schema.String
})

export const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(
  Consumer.add(
    Route.make("rooms/:room/", { room: Schema.NumberFromString }).pipe(
      Route.add(Action.make("post", { payload: { text: Schema.String, count: Schema.Int }, success: Message }))
    )
  )
)

export const Room = Group.make("room", { room: Schema.String })

export const Posted = Event.make(
  "posted",
  Schema.Struct({ id: Schema.Int, text: Schema.String, author: Schema.String })
)

/** Asks for so many events: all in one write, or each in a write of its own. */
const ask = Action.make("ask", { payload: { text: Schema.String, count: Schema.Int, apart: Schema.Boolean } })

export const Events = Consumer.make("events", { path: "/ws/rooms/:room/" }).pipe(
  Consumer.join(Room, ({ params }) => ({ room: params.room })),
  Consumer.push(Posted),
  Consumer.add(ask)
)
