import {
  Action,
  Authentication,
  type ChannelError,
  Check,
  type ConnectionScope,
  Consumer,
  Permission
} from "@effect-channels/core"
import type * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

type Role = "admin" | "editor"

class Many extends Authentication.Service<Many, {
  readonly id: number
  readonly name: string | undefined
  readonly roles: ReadonlyArray<Role>
  readonly scopes: ReadonlySet<"read" | "write">
}>()("app/Many") {}
class OfSet extends Authentication.Service<OfSet, { readonly roles: ReadonlySet<Role> }>()("app/OfSet") {}
class One extends Authentication.Service<One, { readonly role: Role }>()("app/One") {}
class Open extends Authentication.Service<Open, {
  readonly roles: ReadonlyArray<string>
  readonly scopes: Array<string>
}>()("app/Open") {}
class Either extends Authentication.Service<
  Either,
  { readonly roles: ReadonlyArray<"a"> } | { readonly role: "b" }
>()("app/Either") {}
class None extends Authentication.Service<None, { readonly id: number }>()("app/None") {}
class Keyed extends Authentication.Service<Keyed, { readonly roles: ReadonlyArray<Role> }>()("app/Keyed", {
  key: (user) => user.roles.join()
}) {}

type Connection<Self> = Permission.Permission<unknown, ChannelError.NotAuthenticated, Self>
type OfAction = Permission.Permission<{ readonly action: string }>

describe("identity", () => {
  it("is there or not, for any service", () => {
    expectTypeOf(Check.isAuthenticated(None)).toEqualTypeOf<Permission.Permission<unknown, never, None>>()
    expectTypeOf(Check.isAuthenticated(None)).toEqualTypeOf(Permission.isAuthenticated(None))
    expectTypeOf(Check.isAnonymous(Keyed)).toEqualTypeOf<Permission.Permission<unknown, never, Keyed>>()
  })

  it("has the roles that its type names", () => {
    expectTypeOf(Check.hasRole(Many, "admin")).toEqualTypeOf<Connection<Many>>()
    expectTypeOf(Check.hasRole(OfSet, "editor")).toEqualTypeOf<Connection<OfSet>>()
    expectTypeOf(Check.hasRole(One, "admin")).toEqualTypeOf<Connection<One>>()
    expectTypeOf(Check.hasRole(Keyed, "admin")).toEqualTypeOf<Connection<Keyed>>()
    Check.hasRole(Open, "whatever")
    Check.hasRole(Either, "a")
    Check.hasRole(Either, "b")
    // @ts-expect-error: no such role
    Check.hasRole(Many, "amdin")
    // @ts-expect-error: no such role
    Check.hasRole(OfSet, "amdin")
    // @ts-expect-error: no such role
    Check.hasRole(One, "amdin")
    // @ts-expect-error: no such role
    Check.hasRole(Keyed, "amdin")
    // @ts-expect-error: no such role
    Check.hasRole(Either, "c")
    // @ts-expect-error: an identity without roles
    Check.hasRole(None, "admin")
  })

  it("has the scopes that its type names", () => {
    expectTypeOf(Check.hasScope(Many, "read")).toEqualTypeOf<Connection<Many>>()
    Check.hasScope(Open, "whatever")
    // @ts-expect-error: no such scope
    Check.hasScope(Many, "delete")
    // @ts-expect-error: an identity without scopes
    Check.hasScope(One, "read")
  })
})

describe("isOwner", () => {
  interface Thing {
    readonly ownerId: number
    readonly maybe?: number | null
    readonly text: string
    readonly nobody: null
    readonly nested: { readonly id: number }
  }
  const isOwner = Check.isOwner<Thing>()

  it("compares keys that are there, of types that can be equal", () => {
    expectTypeOf(isOwner(Many, { object: "ownerId", user: "id" })).toEqualTypeOf<
      Permission.Permission<
        { readonly object: Thing; readonly payload: unknown; readonly params: unknown },
        ChannelError.NotAuthenticated,
        Many
      >
    >()
    isOwner(Many, { object: "maybe", user: "id" })
    isOwner(Many, { object: "text", user: "name" })
    // @ts-expect-error: the object has no such key
    isOwner(Many, { object: "owner", user: "id" })
    // @ts-expect-error: the user has no such key
    isOwner(Many, { object: "ownerId", user: "uid" })
    // @ts-expect-error: a number is no text
    isOwner(Many, { object: "ownerId", user: "name" })
    // @ts-expect-error: a text is no number
    isOwner(Many, { object: "text", user: "id" })
    // @ts-expect-error: never anybody
    isOwner(Many, { object: "nobody", user: "id" })
    // @ts-expect-error: not to be compared
    isOwner(Many, { object: "nested", user: "id" })
    // @ts-expect-error: not to be compared
    isOwner(Many, { object: "nested", user: "roles" })
  })

  it("tells branded ids apart", () => {
    const UserId = Schema.Int.pipe(Schema.brand("UserId"))
    const RoomId = Schema.Int.pipe(Schema.brand("RoomId"))
    class Branded extends Authentication.Service<Branded, { readonly id: typeof UserId.Type }>()("app/Branded") {}
    const of = Check.isOwner<{
      readonly userId: typeof UserId.Type
      readonly roomId: typeof RoomId.Type
      readonly plain: number
    }>()
    of(Branded, { object: "userId", user: "id" })
    of(Branded, { object: "plain", user: "id" })
    // @ts-expect-error: of a room
    of(Branded, { object: "roomId", user: "id" })
  })

  it("stands where its object is", () => {
    class Post extends Schema.Class<Post>("Post")({ authorId: Schema.Int }) {}
    class Other extends Schema.Class<Other>("Other")({ authorId: Schema.String }) {}
    const isAuthor = Check.isOwner<Post>()(Many, { object: "authorId", user: "id" })
    Action.make("edit").pipe(Action.object(Post), Action.permit(isAuthor))
    // @ts-expect-error: of another object
    Action.make("edit").pipe(Action.object(Other), Action.permit(isAuthor))
    // @ts-expect-error: without an object
    Action.make("edit").pipe(Action.permit(isAuthor))
  })
})

describe("the others", () => {
  it("need the connection, or the action", () => {
    expectTypeOf(Check.sameOrigin).toEqualTypeOf<
      Permission.Permission<unknown, never, ConnectionScope.ConnectionScope>
    >()
    expectTypeOf(Check.readOnly).toEqualTypeOf<OfAction>()
    expectTypeOf(Check.actionIn(["list"])).toEqualTypeOf<OfAction>()
    expectTypeOf(Check.between({ until: "2026-01-01T00:00:00Z" })).toEqualTypeOf<OfAction>()
    Consumer.make("x", { path: "/" }).pipe(Consumer.permitConnect(Check.sameOrigin), Consumer.permit(Check.readOnly))
    // @ts-expect-error: there is no action in a handshake
    Consumer.make("x", { path: "/" }).pipe(Consumer.permitConnect(Check.readOnly))
    // @ts-expect-error: no list
    Check.actionIn("list")
  })

  it("take a time in many ways", () => {
    const time = {} as DateTime.DateTime
    Check.between({ from: time, until: new Date(0) })
    // @ts-expect-error: which unit?
    Check.between({ from: 1 })
    // @ts-expect-error: no such bound
    Check.between({ to: "2026-01-01T00:00:00Z" })
  })
})
