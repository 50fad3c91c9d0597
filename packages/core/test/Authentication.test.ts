import { Authentication, ChannelError, ConnectionScope, Credentials, Scheme } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

interface User {
  readonly name: string
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser") {}
class CurrentDevice extends Authentication.Service<CurrentDevice, { readonly serial: number }>()(
  "test/CurrentDevice"
) {}
class Keyed extends Authentication.Service<Keyed, User>()("test/Keyed", { key: (user) => user.name }) {}
class Sessions extends Context.Service<Sessions, { readonly find: (token: string) => Option.Option<User> }>()(
  "test/Sessions"
) {}

const alice: User = { name: "alice" }
const scopeOf = (url: string) => ConnectionScope.make({ id: "1", url }, {})
const as = (identity: Authentication.Identity<User>) => Effect.provideService(CurrentUser.identity, identity)
const asAlice = as(Authentication.authenticated(alice))
const asNobody = as(Authentication.anonymous)

describe("Authentication", () => {
  it("makes identities", () => {
    assert.deepStrictEqual(Authentication.anonymous, { _tag: "Anonymous" })
    assert.isTrue(Object.isFrozen(Authentication.anonymous))
    assert.deepStrictEqual(Authentication.authenticated(alice), { _tag: "Authenticated", user: alice })
    assert.deepStrictEqual(Authentication.authenticated(alice, {}), { _tag: "Authenticated", user: alice })
    assert.deepStrictEqual(Authentication.authenticated(alice, { expiresAt: undefined }), {
      _tag: "Authenticated",
      user: alice
    })
    for (const expiresAt of [0, 5000, Infinity]) {
      assert.deepStrictEqual(Authentication.authenticated(alice, { expiresAt }), {
        _tag: "Authenticated",
        user: alice,
        expiresAt
      })
    }
  })

  describe("an identity service", () => {
    it("is named by its key", () => {
      assert.strictEqual(CurrentUser.key, "test/CurrentUser")
      assert.strictEqual(CurrentUser.identity.key, "test/CurrentUser")
      assert.notStrictEqual(CurrentUser.authenticator.key, CurrentUser.identity.key)
    })

    it("tells users apart where it was made with a key", () => {
      assert.isUndefined(CurrentUser.keyOf)
      assert.strictEqual(Keyed.keyOf(alice), "alice")
      assert.strictEqual(Keyed.key, "test/Keyed")
    })

    it.effect("with a key is an effect as well", () =>
      Effect.gen(function*() {
        const name = yield* Keyed.use((user) => user.name).pipe(
          Effect.provideService(Keyed.identity, Authentication.authenticated(alice))
        )
        assert.strictEqual(name, "alice")
      }))

    it.effect("is an effect: the user", () =>
      Effect.gen(function*() {
        assert.isTrue(Effect.isEffect(CurrentUser))
        assert.strictEqual(yield* asAlice(CurrentUser), alice)
        assert.strictEqual(yield* asAlice(CurrentUser.pipe(Effect.map((user) => user.name))), "alice")
        const inGen = Effect.gen(function*() {
          const user = yield* CurrentUser
          return user.name
        })
        assert.strictEqual(yield* asAlice(inGen), "alice")
      }))

    it.effect("fails with NotAuthenticated on an anonymous connection", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(asNobody(CurrentUser))
        assert.instanceOf(error, ChannelError.NotAuthenticated)
        assert.strictEqual(error.status, 403)
        assert.strictEqual(error.code, "not_authenticated")
        assert.strictEqual(error.message, "Authentication credentials were not provided")
      }))

    it.effect("is also there as identity, anonymous or not", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* asNobody(CurrentUser.identity), Authentication.anonymous)
        assert.deepStrictEqual(yield* asAlice(CurrentUser.identity), Authentication.authenticated(alice))
      }))

    it.effect("use: a function of the user that gives a value or an effect", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* asAlice(CurrentUser.use((user) => user.name)), "alice")
        assert.strictEqual(yield* asAlice(CurrentUser.use(() => undefined)), undefined)
        assert.strictEqual(yield* asAlice(CurrentUser.use((user) => Effect.succeed(user.name))), "alice")
        assert.strictEqual(
          yield* asAlice(CurrentUser.use((user) => Effect.as(Effect.yieldNow, user.name))),
          "alice"
        )
        assert.strictEqual(yield* Effect.flip(asAlice(CurrentUser.use((user) => Effect.fail(user.name)))), "alice")
        const broken = CurrentUser.use((): string => {
          throw new Error("broke")
        })
        assert.isTrue(Exit.hasDies(yield* Effect.exit(asAlice(broken))))
      }))

    it.effect("use: calls nothing on an anonymous connection", () =>
      Effect.gen(function*() {
        let isCalled = false
        const error = yield* Effect.flip(asNobody(CurrentUser.use(() => {
          isCalled = true
        })))
        assert.strictEqual(error._tag, "NotAuthenticated")
        assert.isFalse(isCalled)
      }))

    it.effect("holds users of any kind, undefined as well", () =>
      Effect.gen(function*() {
        class Token extends Authentication.Service<Token, string | undefined>()("test/Token") {}
        const token = (value: string | undefined) =>
          Effect.provideService(Token, Token.identity, Authentication.authenticated(value))
        assert.strictEqual(yield* token(undefined), undefined)
        assert.strictEqual(yield* token(""), "")
      }))
  })

  it.effect("two identities stand side by side", () =>
    Effect.gen(function*() {
      const both = Effect.gen(function*() {
        const user = yield* CurrentUser
        const device = yield* CurrentDevice
        return `${user.name} on ${device.serial}`
      })
      const onDevice = Effect.provideService(CurrentDevice.identity, Authentication.authenticated({ serial: 7 }))
      assert.strictEqual(yield* both.pipe(asAlice, onDevice), "alice on 7")
      const error = yield* Effect.flip(both.pipe(asNobody, onDevice))
      assert.strictEqual(error._tag, "NotAuthenticated")
      assert.strictEqual(yield* CurrentDevice.pipe(asNobody, onDevice, Effect.map((device) => device.serial)), 7)
    }))

  describe("layer", () => {
    const SessionsLive = Layer.succeed(Sessions, {
      find: (token) => token === "secret" ? Option.some(alice) : Option.none()
    })
    const UserLive = CurrentUser.layer((scope) =>
      Effect.gen(function*() {
        const { token } = scope.query
        if (token === undefined) return Authentication.anonymous
        if (token === "later") return yield* new ChannelError.Unavailable({ message: "The sessions are not there" })
        const sessions = yield* Sessions
        const user = sessions.find(String(token))
        if (Option.isNone(user)) return yield* new ChannelError.InvalidCredentials()
        return Authentication.authenticated(user.value)
      })
    ).pipe(Layer.provide(SessionsLive))

    it.effect("turns a handshake into an identity, with the services of the server", () =>
      Effect.gen(function*() {
        const { authenticate, identity } = yield* CurrentUser.authenticator
        assert.strictEqual(identity, CurrentUser.identity)
        assert.strictEqual(yield* authenticate(scopeOf("/")), Authentication.anonymous)
        assert.deepStrictEqual(
          yield* authenticate(scopeOf("/?token=secret")),
          Authentication.authenticated(alice)
        )
        const wrong = yield* Effect.flip(authenticate(scopeOf("/?token=wrong")))
        assert.instanceOf(wrong, ChannelError.InvalidCredentials)
        assert.strictEqual(wrong.status, 401)
        const unavailable = yield* Effect.flip(authenticate(scopeOf("/?token=later")))
        assert.instanceOf(unavailable, ChannelError.Unavailable)
        assert.strictEqual(unavailable.status, 503)
      }).pipe(Effect.provide(UserLive)))

    it.effect("authenticates nobody before there is a handshake, and each handshake once", () =>
      Effect.gen(function*() {
        const asked: Array<string> = []
        const live = CurrentUser.layer((scope) => {
          asked.push(scope.path)
          return Effect.succeed(Authentication.anonymous)
        })
        yield* Effect.gen(function*() {
          const { authenticate } = yield* CurrentUser.authenticator
          assert.deepStrictEqual(asked, [])
          yield* authenticate(scopeOf("/a"))
          yield* authenticate(scopeOf("/b"))
          assert.deepStrictEqual(asked, ["/a", "/b"])
        }).pipe(Effect.provide(live))
      }))

    it.effect("gives it the connection's scope as a service, each handshake its own", () =>
      Effect.gen(function*() {
        const turn = yield* Deferred.make<void>()
        const live = CurrentUser.layer(() =>
          Effect.gen(function*() {
            yield* Deferred.await(turn)
            const { path } = yield* ConnectionScope.ConnectionScope
            return Authentication.authenticated({ name: path })
          })
        )
        yield* Effect.gen(function*() {
          const { authenticate } = yield* CurrentUser.authenticator
          const both = Effect.forEach(["/a", "/b"], (path) => authenticate(scopeOf(path)), { concurrency: 2 })
          const [identities] = yield* Effect.all([both, Deferred.succeed(turn, undefined)], { concurrency: 2 })
          assert.deepStrictEqual(identities, [
            Authentication.authenticated({ name: "/a" }),
            Authentication.authenticated({ name: "/b" })
          ])
        }).pipe(Effect.provide(live))
      }))

    it.effect("is broken by what is thrown, and fails no other way than its types say", () =>
      Effect.gen(function*() {
        const live = CurrentUser.layer((): Effect.Effect<Authentication.Anonymous> => {
          throw new Error("broke")
        })
        const exit = yield* CurrentUser.authenticator.use(({ authenticate }) => Effect.exit(authenticate(scopeOf("/"))))
          .pipe(Effect.provide(live))
        assert.isTrue(Exit.hasDies(exit))
      }))

    it.effect("acquires for the connection, not for the server: what it acquired goes with the connection", () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const live = CurrentUser.layer((scope) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              log.push(`acquire ${scope.path}`)
              return Authentication.anonymous
            }),
            () =>
              Effect.sync(() => {
                log.push(`release ${scope.path}`)
              })
          )
        )
        yield* Effect.gen(function*() {
          const { authenticate } = yield* CurrentUser.authenticator
          yield* Effect.scoped(authenticate(scopeOf("/a")))
          yield* Effect.scoped(authenticate(scopeOf("/b")))
          assert.deepStrictEqual(log, ["acquire /a", "release /a", "acquire /b", "release /b"])
        }).pipe(Effect.provide(live))
      }))
  })

  describe("layer of a scheme", () => {
    const tokens = (log: Array<string>): Authentication.Scheme<User, Sessions | ConnectionScope.ConnectionScope> => {
      const say = (what: string, token: string) =>
        Effect.gen(function*() {
          const { path } = yield* ConnectionScope.ConnectionScope
          const sessions = yield* Sessions
          log.push(`${what} ${path}`)
          return Option.match(sessions.find(token), {
            onNone: () => Authentication.anonymous,
            onSome: (user) => Authentication.authenticated(user)
          })
        })
      return {
        authenticate: (scope) => say("authenticate", String(scope.query.token)),
        renew: (token, scope) => say(`renew ${scope.path}`, Redacted.value(token)),
        refresh: (identity, scope) => Effect.as(say(`refresh ${scope.path}`, identity.user.name), identity)
      }
    }
    const SessionsLive = Layer.succeed(Sessions, {
      find: (token) => token === "secret" || token === "alice" ? Option.some(alice) : Option.none()
    })
    const found = Authentication.authenticated(alice)

    it.effect("does what the scheme does, with the services of the server and the connection's scope", () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const authenticator = yield* Layer.build(Layer.provide(Keyed.layer(tokens(log)), SessionsLive)).pipe(
          Effect.map((context) => Context.get(context, Keyed.authenticator))
        )
        assert.strictEqual(authenticator.identity, Keyed.identity)
        assert.strictEqual(authenticator.keyOf, Keyed.keyOf)
        assert.deepStrictEqual(log, [])
        assert.deepStrictEqual(yield* authenticator.authenticate(scopeOf("/a?token=secret")), found)
        assert.deepStrictEqual(yield* authenticator.renew!(Redacted.make("secret"), scopeOf("/b")), found)
        assert.deepStrictEqual(
          yield* authenticator.renew!(Redacted.make("wrong"), scopeOf("/b")),
          Authentication.anonymous
        )
        assert.deepStrictEqual(yield* authenticator.refresh!(found, scopeOf("/c")), found)
        assert.deepStrictEqual(log, ["authenticate /a", "renew /b /b", "renew /b /b", "refresh /c /c"])
      }))

    it.effect("can do no more than the scheme", () =>
      Effect.gen(function*() {
        const build = (scheme: Parameters<typeof CurrentUser.layer<never>>[0]) =>
          Effect.map(Layer.build(CurrentUser.layer(scheme)), (context) => {
            const { keyOf, refresh, renew } = Context.get(context, CurrentUser.authenticator)
            return { keyOf, canRenew: renew !== undefined, canRefresh: refresh !== undefined }
          })
        const authenticate = () => Effect.succeed(found)
        const refresh = () => Effect.succeed(found)
        const none = { keyOf: undefined, canRenew: false, canRefresh: false }
        assert.deepStrictEqual(yield* build(authenticate), none)
        assert.deepStrictEqual(yield* build({ authenticate }), none)
        assert.deepStrictEqual(yield* build({ authenticate, renew: undefined }), none)
        assert.deepStrictEqual(yield* build({ authenticate, refresh }), { ...none, canRefresh: true })
        const token = Scheme.token({ from: Credentials.bearer, verify: authenticate })
        assert.deepStrictEqual(yield* build(token), { ...none, canRenew: true })
      }))

    it.effect("acquires for who asks, and breaks by what is thrown", () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const acquire = (what: string) =>
          Effect.acquireRelease(Effect.as(Effect.sync(() => log.push(`acquire ${what}`)), found), () =>
            Effect.sync(() => log.push(`release ${what}`)))
        const broken = (): never => {
          throw new Error("broke")
        }
        const live = CurrentUser.layer({
          authenticate: broken,
          renew: () =>
            acquire("renew"),
          refresh: (_, { path }) => path === "/broken" ? broken() : acquire("refresh")
        })
        yield* Effect.gen(function*() {
          const { authenticate, refresh, renew } = yield* CurrentUser.authenticator
          yield* Effect.scoped(renew!(Redacted.make("x"), scopeOf("/")))
          yield* Effect.scoped(refresh!(found, scopeOf("/")))
          assert.deepStrictEqual(log, ["acquire renew", "release renew", "acquire refresh", "release refresh"])
          for (const broken of [authenticate(scopeOf("/")), refresh!(found, scopeOf("/broken"))]) {
            assert.isTrue(Exit.hasDies(yield* Effect.exit(broken)))
          }
        }).pipe(Effect.provide(live))
      }))
  })

  describe("authenticators", () => {
    it.effect("are found among other services", () =>
      Effect.gen(function*() {
        const live = Layer.mergeAll(
          CurrentUser.layer(() => Effect.succeed(Authentication.authenticated(alice))),
          CurrentDevice.layer(() => Effect.succeed(Authentication.anonymous)),
          Layer.succeed(Sessions, { find: () => Option.none() })
        )
        const context = yield* Layer.build(live)
        const found = Authentication.authenticators(context)
        assert.deepStrictEqual(found.map(({ identity }) => identity.key).sort(), [
          "test/CurrentDevice",
          "test/CurrentUser"
        ])
      }))

    it("are none where there are none", () => {
      const values = Context.mergeAll(
        Context.make(Context.Service<"a", null>("a"), null),
        Context.make(Context.Service<"b", undefined>("b"), undefined),
        Context.make(Context.Service<"c", string>("c"), "text"),
        Context.make(Context.Service<"d", () => void>("d"), () => {})
      )
      assert.deepStrictEqual(Authentication.authenticators(values as Context.Context<never>), [])
      assert.deepStrictEqual(Authentication.authenticators(Context.empty()), [])
    })
  })
})
