import { Authentication, type ConnectionScope, Permission, Settings } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { describe, expectTypeOf, it } from "vitest"

interface User {
  readonly id: string
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser") {}
declare const isUp: Effect.Effect<boolean, "down", "Maintenance">

const isUser = Permission.isAuthenticated(CurrentUser)

describe("layer", () => {
  it("needs the authenticator of the identity that its permission looks at", () => {
    expectTypeOf(Settings.layer({ permission: isUser })).toEqualTypeOf<
      Layer.Layer<never, never, Authentication.Authenticator<CurrentUser>>
    >()
    expectTypeOf(Settings.layer({ permission: Permission.and(isUser, Permission.connection("isUp", isUp)) }))
      .toEqualTypeOf<Layer.Layer<never, never, Authentication.Authenticator<CurrentUser> | "Maintenance">>()
  })

  it("needs nothing where nothing is needed, nor for the connection", () => {
    expectTypeOf(Settings.layer({})).toEqualTypeOf<Layer.Layer<never>>()
    expectTypeOf(Settings.layer({ pageSize: 5 })).toEqualTypeOf<Layer.Layer<never>>()
    expectTypeOf(Settings.layer({ permission: Permission.allow })).toEqualTypeOf<Layer.Layer<never>>()
    const isLocal = Permission.connection("isLocal", (scope) => scope.remoteAddress === "::1")
    expectTypeOf(isLocal).toExtend<Permission.Permission<unknown, unknown, ConnectionScope.ConnectionScope>>()
    expectTypeOf(Settings.layer({ permission: isLocal })).toEqualTypeOf<Layer.Layer<never>>()
  })

  it("takes a permission that every consumer can be guarded by", () => {
    Settings.layer({ permission: Permission.action("isRead", ({ action }) => action === "read") })
    // @ts-expect-error: not every action is about an object
    Settings.layer({ permission: Permission.object<User>()("isSelf", ({ object }) => object.id === "1") })
    // @ts-expect-error: not every action is about an object
    Settings.layer({ permission: Permission.or(isUser, Permission.object<User>()("isSelf", () => true)) })
    // @ts-expect-error: not every path has this parameter
    Settings.layer({ permission: Permission.action<{ readonly room: string }>()("inLobby", () => true) })
    // @ts-expect-error: a message is no event
    Settings.layer({ permission: Permission.delivery<User>()("isPublic", () => true) })
  })

  it("takes settings that there are", () => {
    Settings.layer({ expiryGrace: "30 seconds", redecisionTimeout: 500, pageSize: 1, maxPageSize: 2 })
    // @ts-expect-error: no such setting
    Settings.layer({ pagesize: 5 })
    // @ts-expect-error: no duration
    Settings.layer({ expiryGrace: "soon" })
    // @ts-expect-error: the services come with the permission
    Settings.layer({ services: undefined })
    expectTypeOf(Effect.map(Settings.Settings, ({ pageSize }) => pageSize)).toEqualTypeOf<Effect.Effect<number>>()
  })
})
