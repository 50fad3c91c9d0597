import { Authentication, Group, Permission } from "@effect-channels/core"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly rooms: ReadonlyArray<string> }>()(
  "test/CurrentUser"
) {}
declare const Sealed: Schema.Codec<string, string, "Opener", "Sealer">

const Room = Group.make("room", { room: Schema.String })
const Lobby = Group.make("lobby")

const isMember = Permission.group<{ readonly room: string }>()(
  "isMember",
  ({ params }) => CurrentUser.use((user) => user.rooms.includes(params.room))
)
const isTold = Permission.delivery<{ readonly from: string }>()("isTold", () => true)
const isForAll = Permission.delivery<unknown>()("isForAll", () => true)
const isPublic = Permission.connection("isPublic", () => true)
const isEdit = Permission.action("isEdit", () => true)
const isAuthor = Permission.object<string>()("isAuthor", () => true)

const paramsOf = <G extends Group.Any>(_: G): Group.ParamsOf<G> => undefined as never
const presenceOf = <G extends Group.Any>(_: G): Group.PresenceOf<G> => undefined as never
const servicesOf = <G extends Group.Any>(_: G): Group.Services<G> => undefined as never

describe("make", () => {
  it("has a name, and parameters by their schemas", () => {
    expectTypeOf(Room.name).toEqualTypeOf<"room">()
    expectTypeOf(paramsOf(Room)).toEqualTypeOf<{ readonly room: string }>()
    expectTypeOf(paramsOf(Lobby)).toEqualTypeOf<{}>()
    expectTypeOf(paramsOf(Group.make("x", { id: Schema.NumberFromString, at: Schema.Date }))).toEqualTypeOf<
      { readonly id: number; readonly at: Date }
    >()
    expectTypeOf(paramsOf(Group.make("x", { page: Schema.optionalKey(Schema.Int) }))).toEqualTypeOf<
      { readonly page?: number }
    >()
    expectTypeOf(servicesOf(Room)).toEqualTypeOf<never>()
  })

  it("takes parameters that need no services", () => {
    // @ts-expect-error it needs one to be encoded
    Group.make("x", { token: Sealed })
    // @ts-expect-error no schema
    Group.make("x", { room: "room" })
  })

  it("stays the same group with a history, shared, or permitted", () => {
    const all = Room.pipe(Group.history({ count: 1, age: "1 hour" }), Group.shared, Group.permit(isMember))
    expectTypeOf(paramsOf(all)).toEqualTypeOf<{ readonly room: string }>()
    expectTypeOf(all.name).toEqualTypeOf<"room">()
    expectTypeOf(servicesOf(all)).toEqualTypeOf<CurrentUser>()
    expectTypeOf(presenceOf(all)).toEqualTypeOf<never>()
    // @ts-expect-error a history has bounds
    Room.pipe(Group.history({ count: 1 }))
  })
})

describe("permit", () => {
  it("takes checks of the connection, of the group and of its events", () => {
    Room.pipe(Group.permit(isPublic))
    Room.pipe(Group.permit(Permission.and(isMember, isForAll)))
    Group.permit(Room, isMember)
    // @ts-expect-error the group has no such parameter
    Lobby.pipe(Group.permit(isMember))
    // @ts-expect-error the events of a group can be any
    Room.pipe(Group.permit(isTold))
  })

  it("takes no checks of messages or objects", () => {
    // @ts-expect-error there is no action
    Room.pipe(Group.permit(isEdit))
    // @ts-expect-error there is no object
    Room.pipe(Group.permit(isAuthor))
  })
})

describe("presence", () => {
  it("says what members are told, once, and needs what encodes it", () => {
    const Shown = Room.pipe(Group.presence(Schema.Struct({ name: Schema.String })))
    expectTypeOf(presenceOf(Shown)).toEqualTypeOf<{ readonly name: string }>()
    expectTypeOf(servicesOf(Room.pipe(Group.presence(Sealed)))).toEqualTypeOf<"Sealer">()
    // @ts-expect-error it has presence already
    Shown.pipe(Group.presence(Schema.String))
  })
})
