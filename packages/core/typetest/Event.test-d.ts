import { Authentication, Event, Permission } from "@effect-channels/core"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("test/CurrentUser") {}
declare const Sealed: Schema.Codec<string, string, "Opener", "Sealer">

const Posted = Event.make("posted", Schema.Struct({ from: Schema.String, text: Schema.String }))
const Told = Event.make("told", Schema.String)

const isHeard = Permission.delivery<{ readonly from: string }>()(
  "isHeard",
  ({ event }) => CurrentUser.use((user) => user.name !== event.from)
)
const isPublic = Permission.connection("isPublic", () => true)
const isEdit = Permission.action("isEdit", () => true)
const isAuthor = Permission.object<string>()("isAuthor", () => true)
const isIn = Permission.group()("isIn", () => true)

const servicesOf = <E extends Event.Any>(_: E): Event.Services<E> => undefined as never

describe("make", () => {
  it("has a type, and data of its schema", () => {
    expectTypeOf(Posted.type).toEqualTypeOf<"posted">()
    expectTypeOf(Posted.data.Type).toEqualTypeOf<{ readonly from: string; readonly text: string }>()
    // @ts-expect-error no schema
    Event.make("x", { from: "text" })
  })

  it("takes no type of the protocol's own", () => {
    // @ts-expect-error it begins with "$"
    Event.make("$joined", Schema.String)
    Event.make("price$", Schema.String)
  })

  it("takes what becomes of it for slow clients; a key is found in its data", () => {
    Event.make("x", Schema.String, { whenSlow: "drop-oldest" })
    Event.make("x", Schema.Struct({ user: Schema.String }), {
      whenSlow: {
        latest: (data) => {
          expectTypeOf(data).toEqualTypeOf<{ readonly user: string }>()
          return data.user
        }
      }
    })
    // @ts-expect-error no such way
    Event.make("x", Schema.String, { whenSlow: "drop" })
    // @ts-expect-error a key is a string
    Event.make("x", Schema.Struct({ x: Schema.Int }), { whenSlow: { latest: ({ x }) => x } })
  })

  it("needs what encodes its data, and what decodes it for its checks", () => {
    expectTypeOf(servicesOf(Event.make("x", Sealed))).toEqualTypeOf<"Sealer" | "Opener">()
    expectTypeOf(servicesOf(Told)).toEqualTypeOf<never>()
  })
})

describe("permit", () => {
  it("takes checks of the connection, and of deliveries that find what they look at", () => {
    expectTypeOf(servicesOf(Posted.pipe(Event.permit(isHeard)))).toEqualTypeOf<CurrentUser>()
    expectTypeOf(servicesOf(Event.permit(Posted, isHeard))).toEqualTypeOf<CurrentUser>()
    Told.pipe(Event.permit(isPublic))
    Posted.pipe(Event.permit(Permission.or(isPublic, isHeard)), Event.permit(isHeard))
    // @ts-expect-error the data is a string
    Told.pipe(Event.permit(isHeard))
    // @ts-expect-error the data is a string
    Event.permit(Told, isHeard)
  })

  it("takes no checks of messages, objects or groups", () => {
    // @ts-expect-error there is no action
    Told.pipe(Event.permit(isEdit))
    // @ts-expect-error there is no object
    Told.pipe(Event.permit(isAuthor))
    // @ts-expect-error an event is sent to anybody, in a group or not
    Told.pipe(Event.permit(isIn))
    // @ts-expect-error also within an expression
    Told.pipe(Event.permit(Permission.and(isPublic, Permission.not(isEdit))))
  })
})
