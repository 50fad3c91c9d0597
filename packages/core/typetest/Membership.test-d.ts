// @effect-diagnostics missingLayerContext:off
import {
  Action,
  type ChannelError,
  type ChannelLayer,
  Consumer,
  Group,
  Handlers,
  Membership
} from "@effect-channels/core"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

const Room = Group.make("room", { room: Schema.String })
const Other = Group.make("other")
const Shown = Group.make("shown").pipe(Group.presence(Schema.String))
const follow = Action.make("follow")

const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(Consumer.groups(Room, Shown), Consumer.add(follow))
const None = Consumer.make("none", { path: "/ws/" }).pipe(Consumer.add(follow))

const layerOf = <A, E, R>(_: Layer.Layer<A, E, R>): R => undefined as never

describe("join, leave and list", () => {
  it("take the parameters of the group, and need that it is declared", () => {
    expectTypeOf(Membership.join(Room, { room: "a" })).toEqualTypeOf<
      Effect.Effect<"fresh" | "resumed" | "gap", ChannelError.Undeclared, Membership.Membership<"room">>
    >()
    expectTypeOf(Membership.leave(Room, { room: "a" })).toEqualTypeOf<
      Effect.Effect<boolean, never, Membership.Membership<"room">>
    >()
    expectTypeOf(Membership.list(Room)).toEqualTypeOf<
      Effect.Effect<ReadonlyArray<{ readonly room: string }>, never, Membership.Membership<"room">>
    >()
    Membership.join(Room, { room: "a" }, { after: "x-1" })
    // @ts-expect-error no such parameter
    Membership.join(Room, { id: "a" })
    // @ts-expect-error the room is missing
    Membership.leave(Room, {})
    // @ts-expect-error the group has no presence
    Membership.join(Room, { room: "a" }, { presence: "x" })
  })

  it("take what members are told in a group with presence", () => {
    Membership.join(Shown, {}, { presence: "x" })
    // @ts-expect-error nothing is said
    Membership.join(Shown, {})
    // @ts-expect-error it is a string
    Membership.join(Shown, {}, { presence: 1 })
  })
})

describe("handlers", () => {
  it("of a consumer that declares the group need no more than the channel layer", () => {
    const live = Consumer.handlers(Chat).pipe(
      Handlers.handle("follow", () => Effect.asVoid(Membership.join(Room, { room: "a" }))),
      Handlers.toLayer
    )
    expectTypeOf(layerOf(live)).toEqualTypeOf<ChannelLayer.ChannelLayer>()
  })

  it("of a consumer that does not declare it need what nobody provides", () => {
    const other = Consumer.handlers(Chat).pipe(
      Handlers.handle("follow", () => Effect.asVoid(Membership.join(Other, {}))),
      Handlers.toLayer
    )
    expectTypeOf(layerOf(other)).toEqualTypeOf<ChannelLayer.ChannelLayer | Membership.Membership<"other">>()
    const none = Consumer.handlers(None).pipe(
      Handlers.handle("follow", () => Effect.asVoid(Membership.list(Room))),
      Handlers.toLayer
    )
    expectTypeOf(layerOf(none)).toEqualTypeOf<Membership.Membership<"room">>()
  })
})
