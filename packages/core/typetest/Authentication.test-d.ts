// @effect-diagnostics missingEffectError:off
import {
  Authentication,
  Authority,
  ChannelError,
  type ConnectionScope,
  Credentials,
  Scheme
} from "@effect-channels/core"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { describe, expectTypeOf, it } from "vitest"

class User extends Schema.Class<User>("User")({ id: Schema.Int, admin: Schema.Boolean }) {}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser") {}
class CurrentDevice extends Authentication.Service<CurrentDevice, User>()("app/CurrentDevice") {}
class Keyed extends Authentication.Service<Keyed, User>()("app/Keyed", { key: (user) => String(user.id) }) {}
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

describe("an identity service with a key", () => {
  it("tells users apart by what they are", () => {
    expectTypeOf(Keyed.keyOf).toEqualTypeOf<(user: User) => string>()
    expectTypeOf(CurrentUser.keyOf).toEqualTypeOf<((user: User) => string) | undefined>()
    // @ts-expect-error: a key is a text
    Authentication.Service<Keyed, User>()("app/Keyed", { key: (user) => user.id })
    // @ts-expect-error: the user has no such property
    Authentication.Service<Keyed, User>()("app/Keyed", { key: (user) => user.name })
  })

  it("is what the authority of a user can be invalidated by", () => {
    expectTypeOf(Authority.identity(Keyed, "1")).toEqualTypeOf<Authority.Target>()
    // @ts-expect-error: it has no key
    Authority.identity(CurrentUser, "1")
  })

  it("is a service as others are", () => {
    expectTypeOf(Keyed).toExtend<Effect.Effect<User, ChannelError.NotAuthenticated, Keyed>>()
    expectTypeOf<Keyed>().toExtend<Authentication.AnyService>()
    expectTypeOf<Keyed>().not.toExtend<CurrentUser>()
  })
})

describe("the layer of a scheme", () => {
  const authenticate = () => Effect.succeed(Authentication.authenticated(user))
  const from = Credentials.bearer

  it("needs what any of its ways needs, but for scope and connection", () => {
    const live = Keyed.layer({
      authenticate: () => Effect.map(sessions, Authentication.authenticated),
      renew: (token, scope) => {
        expectTypeOf(token).toEqualTypeOf<Redacted.Redacted>()
        expectTypeOf(scope).toEqualTypeOf<ConnectionScope.ConnectionScope["Service"]>()
        return Effect.map(sessions, Authentication.authenticated)
      },
      refresh: (identity) => {
        expectTypeOf(identity).toEqualTypeOf<Authentication.Authenticated<User>>()
        return Effect.map(sessions, Authentication.authenticated)
      }
    })
    expectTypeOf(live).toEqualTypeOf<Layer.Layer<Authentication.Authenticator<Keyed>, never, "Sessions">>()
    const acquiring = Scheme.token({
      from,
      verify: () => Effect.map(acquired, Authentication.authenticated),
      refresh: () => Effect.map(sessions, Authentication.authenticated)
    })
    expectTypeOf(acquiring).toEqualTypeOf<Authentication.Scheme<User, Scope.Scope | "Sessions">>()
    expectTypeOf(Keyed.layer(acquiring)).toEqualTypeOf<
      Layer.Layer<Authentication.Authenticator<Keyed>, never, "Sessions">
    >()
    const looked = Scheme.session({
      from,
      lookup: () => Effect.map(sessions, (user) => Option.some(Authentication.authenticated(user)))
    })
    expectTypeOf(looked).toEqualTypeOf<Authentication.Scheme<User, "Sessions">>()
  })

  it("gives identities of the service's users", () => {
    Keyed.layer({ authenticate })
    // @ts-expect-error: no user of this service
    Keyed.layer({ authenticate: () => Effect.succeed(Authentication.authenticated("alice")) })
    // @ts-expect-error: no user of this service
    Keyed.layer({ authenticate, renew: () => Effect.succeed(Authentication.authenticated("alice")) })
    // @ts-expect-error: no way to authenticate
    Keyed.layer({ renew: authenticate })
    // @ts-expect-error: a token may not be nobody's
    Scheme.token({ from, verify: () => Effect.succeed(Authentication.anonymous) })
  })

  it("fails with 401 or 503, and no other way", () => {
    Keyed.layer({ authenticate, renew: () => Effect.fail(new ChannelError.InvalidCredentials()) })
    // @ts-expect-error: not one of these
    Keyed.layer({ authenticate, renew: () => Effect.fail(new ChannelError.NotAuthenticated()) })
    // @ts-expect-error: not one of these
    Keyed.layer({ authenticate, refresh: () => Effect.fail("no") })
  })

  it("is not given away as text", () => {
    // @ts-expect-error: a token is redacted
    Scheme.token({ from, verify: (token: string) => Effect.succeed(Authentication.authenticated({ id: token })) })
    // @ts-expect-error: a key is redacted
    Scheme.apiKey({ from, keys: [{ key: "secret", user }] })
  })
})
