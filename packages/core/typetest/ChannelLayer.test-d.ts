import { Authentication, type ChannelError, ChannelLayer, Consumer, Event, Group } from "@effect-channels/core"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

class Keyed
  extends Authentication.Service<Keyed, { readonly id: string }>()("test/Keyed", { key: (user) => user.id })
{}
class Unkeyed extends Authentication.Service<Unkeyed, { readonly id: string }>()("test/Unkeyed") {}
declare const Sealed: Schema.Codec<string, string, never, "Sealer">

const Room = Group.make("room", { room: Schema.String })
const Shown = Group.make("shown").pipe(Group.presence(Schema.Struct({ name: Schema.String })))
const Other = Group.make("other")
const Posted = Event.make("posted", Schema.Struct({ text: Schema.String }))
const Secret = Event.make("secret", Sealed)
const Unheard = Event.make("unheard", Schema.String)

const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.groups(Room, Shown), Consumer.push(Posted, Secret))
const room = ChannelLayer.group(Chat, Room, { room: "a" })

describe("a destination", () => {
  it("is a group that the consumer declares, with its parameters", () => {
    // @ts-expect-error it does not declare it
    ChannelLayer.group(Chat, Other, {})
    // @ts-expect-error no such parameter
    ChannelLayer.group(Chat, Room, { id: "a" })
    // @ts-expect-error the room is missing
    ChannelLayer.group(Chat, Room, {})
  })

  it("is a user only where users can be told apart", () => {
    ChannelLayer.identity(Chat, Keyed, "1")
    // @ts-expect-error the service has no key
    ChannelLayer.identity(Chat, Unkeyed, "1")
  })
})

describe("send", () => {
  it("takes an event that the clients can receive, and its data", () => {
    const sent = ChannelLayer.send(room, Posted, { text: "hi" })
    expectTypeOf(sent).toEqualTypeOf<Effect.Effect<void, ChannelError.Unavailable, ChannelLayer.ChannelLayer>>()
    ChannelLayer.send(ChannelLayer.everyone(Chat), Posted, { text: "hi" }, { except: "1", status: 201 })
    // @ts-expect-error the consumer does not push it
    ChannelLayer.send(room, Unheard, "hi")
    // @ts-expect-error the consumer does not push it
    ChannelLayer.send(ChannelLayer.connection(Chat, "1"), Unheard, "hi")
    // @ts-expect-error other data
    ChannelLayer.send(room, Posted, { text: 1 })
    // @ts-expect-error other data
    ChannelLayer.send(room, Posted, "hi")
  })

  it("needs what encodes the data", () => {
    expectTypeOf(ChannelLayer.send(room, Secret, "hi")).toEqualTypeOf<
      Effect.Effect<void, ChannelError.Unavailable, ChannelLayer.ChannelLayer | "Sealer">
    >()
  })
})

describe("present, count and disconnect", () => {
  it("are of a group, or of connections", () => {
    expectTypeOf(ChannelLayer.present(ChannelLayer.group(Chat, Shown, {}))).toEqualTypeOf<
      Effect.Effect<
        ReadonlyArray<{ readonly id: string; readonly data: { readonly name: string } }>,
        ChannelError.Unavailable,
        ChannelLayer.ChannelLayer
      >
    >()
    ChannelLayer.count(room)
    ChannelLayer.disconnect(ChannelLayer.everyone(Chat), { code: 4001 })
    // @ts-expect-error connections are not counted
    ChannelLayer.count(ChannelLayer.everyone(Chat))
    // @ts-expect-error a group is not disconnected
    ChannelLayer.disconnect(room)
  })
})
