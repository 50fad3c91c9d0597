// @effect-diagnostics missingEffectError:off
import { Authentication, ChannelError, type ConnectionScope } from "@effect-channels/core"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { describe, expectTypeOf, it } from "vitest"

class User extends Schema.Class<User>("User")({ id: Schema.Int, admin: Schema.Boolean }) {}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser") {}
class CurrentDevice extends Authentication.Service<CurrentDevice, User>()("app/CurrentDevice") {}
declare const user: User
declare const sessions: Effect.Effect<User, never, "Sessions">
declare const acquired: Effect.Effect<User, never, Scope.Scope>

describe("an identity service", () => {
  it("is an effect of the user, which fails on an anonymous connection", () => {
    expectTypeOf(CurrentUser).toExtend<Effect.Effect<User, ChannelError.NotAuthenticated, CurrentUser>>()
    const named = Effect.gen(function*() {
      const user = yield* CurrentUser
      expectTypeOf(user).toEqualTypeOf<User>()
      return user.id
    })
    expectTypeOf(named).toEqualTypeOf<Effect.Effect<number, ChannelError.NotAuthenticated, CurrentUser>>()
    expectTypeOf(CurrentUser.identity).toEqualTypeOf<Context.Service<CurrentUser, Authentication.Identity<User>>>()
  })

  it("use: of a value, and of an effect", () => {
    expectTypeOf(CurrentUser.use((user) => user.admin)).toEqualTypeOf<
      Effect.Effect<boolean, ChannelError.NotAuthenticated, CurrentUser>
    >()
    expectTypeOf(CurrentUser.use(() => sessions)).toEqualTypeOf<
      Effect.Effect<User, ChannelError.NotAuthenticated, CurrentUser | "Sessions">
    >()
    expectTypeOf(CurrentUser.use((user) => user.admin ? Effect.succeed(user.id) : Effect.fail("no"))).toEqualTypeOf<
      Effect.Effect<number, string | ChannelError.NotAuthenticated, CurrentUser>
    >()
    // @ts-expect-error: the user has no such property
    CurrentUser.use((user) => user.name)
  })

  it("is told from another one of the same user", () => {
    expectTypeOf<CurrentUser>().not.toExtend<CurrentDevice>()
    expectTypeOf<Authentication.Authenticator<CurrentUser>>().not.toExtend<
      Authentication.Authenticator<CurrentDevice>
    >()
    expectTypeOf<CurrentUser>().toExtend<Authentication.AnyService>()
    expectTypeOf<ConnectionScope.ConnectionScope>().not.toExtend<Authentication.AnyService>()
  })
})

describe("its layer", () => {
  it("provides the authenticator, and needs what it uses but for scope and connection", () => {
    const live = CurrentUser.layer((scope) => {
      expectTypeOf(scope).toEqualTypeOf<ConnectionScope.ConnectionScope["Service"]>()
      return Effect.map(sessions, Authentication.authenticated)
    })
    expectTypeOf(live).toEqualTypeOf<Layer.Layer<Authentication.Authenticator<CurrentUser>, never, "Sessions">>()
    expectTypeOf(CurrentUser.layer(() => Effect.map(acquired, Authentication.authenticated))).toEqualTypeOf<
      Layer.Layer<Authentication.Authenticator<CurrentUser>>
    >()
  })

  it("gives an identity, in either branch", () => {
    expectTypeOf(CurrentUser.layer((scope) =>
      Effect.gen(function*() {
        if (scope.query.token === undefined) return Authentication.anonymous
        return Authentication.authenticated(yield* sessions)
      })
    )).toEqualTypeOf<Layer.Layer<Authentication.Authenticator<CurrentUser>, never, "Sessions">>()
    CurrentUser.layer(() => Effect.succeed(Authentication.authenticated(user)))
    // @ts-expect-error: no user of this service
    CurrentUser.layer(() => Effect.succeed(Authentication.authenticated({ id: 1 })))
    // @ts-expect-error: no identity
    CurrentUser.layer(() => Effect.succeed(user))
  })

  it("refuses with 401 or 503, and no other way", () => {
    CurrentUser.layer(() => Effect.fail(new ChannelError.InvalidCredentials()))
    CurrentUser.layer(() => Effect.fail(new ChannelError.Unavailable({ message: "later" })))
    // @ts-expect-error: not one of these
    CurrentUser.layer(() => Effect.fail(new ChannelError.NotAuthenticated()))
    // @ts-expect-error: not one of these
    CurrentUser.layer(() => Effect.fail("no"))
  })

  it("of one identity is not that of another", () => {
    type Needs<Self> = Layer.Layer<never, never, Authentication.Authenticator<Self>>
    const live = CurrentUser.layer(() => Effect.succeed(Authentication.anonymous))
    const provided = Layer.provide({} as Needs<CurrentUser>, live)
    expectTypeOf(provided).toEqualTypeOf<Layer.Layer<never>>()
    const other = Layer.provide({} as Needs<CurrentDevice>, live)
    expectTypeOf(other).toEqualTypeOf<Needs<CurrentDevice>>()
  })
})
