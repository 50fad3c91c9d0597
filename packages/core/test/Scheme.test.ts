import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  ConnectionScope,
  Consumer,
  Credentials,
  Handlers,
  Scheme
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { inspect } from "node:util"
import { open, serve, settle } from "./support/connection.ts"

interface User {
  readonly id: string
  readonly roles: ReadonlyArray<string>
}

class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser", { key: ({ id }) => id }) {}

const alice: User = { id: "alice", roles: [] }
const bob: User = { id: "bob", roles: [] }

const scopeOf = (url: string, headers: Readonly<Record<string, string>> = {}) =>
  ConnectionScope.make({ id: "1", url, headers }, {})

const from = Credentials.query("token")
const withToken = (token: string) => scopeOf(`/ws/?token=${token}`)
const nobody = scopeOf("/ws/")

const invalid = (message?: string) => new ChannelError.InvalidCredentials(message === undefined ? {} : { message })
const unavailable = new ChannelError.Unavailable({ message: "The directory does not answer" })

/** The user of an identity; dies on an anonymous one. */
const authenticated = <A>(identity: Authentication.Identity<A>): Authentication.Authenticated<A> =>
  identity._tag === "Authenticated" ? identity : assert.fail("is anonymous")

/** The way to renew or refresh, which a scheme is to have. */
const has = <A>(way: A | undefined): A => way ?? assert.fail("is not there")

/** A scheme that knows the users by their tokens, and what it was asked. */
const makeTokens = (
  users: Readonly<Record<string, Authentication.Authenticated<User> | Authentication.AuthenticationError>>
) => {
  const asked: Array<string> = []
  const scheme = Scheme.token({
    from,
    verify: (token, scope) => {
      asked.push(`${Redacted.value(token)} ${scope.path}`)
      const found = users[Redacted.value(token)] ?? invalid()
      return found._tag === "Authenticated" ? Effect.succeed(found) : Effect.fail(found)
    }
  })
  return { scheme, asked }
}

describe("token", () => {
  it.effect("is nobody without a token, and asks nobody", () =>
    Effect.gen(function*() {
      const { asked, scheme } = makeTokens({})
      assert.strictEqual(yield* scheme.authenticate(nobody), Authentication.anonymous)
      assert.deepStrictEqual(asked, [])
    }))

  it.effect("is who the token is verified as, when one connects and in band", () =>
    Effect.gen(function*() {
      const identity = Authentication.authenticated(alice, { expiresAt: 1000 })
      const { asked, scheme } = makeTokens({ good: identity })
      assert.strictEqual(yield* scheme.authenticate(withToken("good")), identity)
      assert.strictEqual(yield* has(scheme.renew)(Redacted.make("good"), scopeOf("/later/")), identity)
      assert.deepStrictEqual(asked, ["good /ws/", "good /later/"])
    }))

  it.effect("fails as verification does", () =>
    Effect.gen(function*() {
      const { scheme } = makeTokens({ later: unavailable, ended: invalid("The token has expired") })
      assert.strictEqual(yield* Effect.flip(scheme.authenticate(withToken("later"))), unavailable)
      assert.strictEqual((yield* Effect.flip(scheme.authenticate(withToken("ended")))).message, "The token has expired")
      assert.strictEqual((yield* Effect.flip(scheme.authenticate(withToken("evil"))))._tag, "InvalidCredentials")
      assert.strictEqual(yield* Effect.flip(has(scheme.renew)(Redacted.make("later"), nobody)), unavailable)
    }))

  it.effect("refuses what is no token without asking anybody", () =>
    Effect.gen(function*() {
      const { asked, scheme } = makeTokens({ "": Authentication.authenticated(alice) })
      for (const url of ["/ws/?token=", "/ws/?token=a&token=a"]) {
        assert.strictEqual((yield* Effect.flip(scheme.authenticate(scopeOf(url))))._tag, "InvalidCredentials")
      }
      assert.deepStrictEqual(asked, [])
    }))

  it.effect("takes the first source that has a token", () =>
    Effect.gen(function*() {
      const scheme = Scheme.token({
        from: [Credentials.bearer, Credentials.cookie("session")],
        verify: (token) => Effect.succeed(Authentication.authenticated(Redacted.value(token)))
      })
      const both = scopeOf("/", { authorization: "Bearer b", cookie: "session=c" })
      assert.strictEqual(authenticated(yield* scheme.authenticate(both)).user, "b")
      assert.strictEqual(authenticated(yield* scheme.authenticate(scopeOf("/", { cookie: "session=c" }))).user, "c")
    }))

  it.effect("is found out anew where it says how, and only there", () =>
    Effect.gen(function*() {
      const { scheme } = makeTokens({})
      assert.isUndefined(scheme.refresh)
      const asked: Array<unknown> = []
      const identity = Authentication.authenticated(alice)
      const refreshing = Scheme.token({
        from,
        verify: () => Effect.succeed(identity),
        refresh: (...args) => {
          asked.push(...args)
          return Effect.succeed(identity)
        }
      })
      assert.strictEqual(yield* has(refreshing.refresh)(identity, nobody), identity)
      assert.strictEqual(asked[0], identity)
      assert.strictEqual(asked[1], nobody)
    }))
})

/** Sessions that can end, and whose users can change. */
const makeSessions = () => {
  const sessions = new Map<string, Authentication.Authenticated<User>>()
  const asked: Array<string> = []
  const scheme = Scheme.session({
    from,
    lookup: (token) =>
      Effect.sync(() => {
        asked.push(Redacted.value(token))
        return Option.fromUndefinedOr(sessions.get(Redacted.value(token)))
      })
  })
  const signIn = (token: string) => Effect.map(scheme.authenticate(withToken(token)), authenticated)
  return { sessions, asked, scheme, signIn, refresh: has(scheme.refresh), renew: has(scheme.renew) }
}

describe("session", () => {
  it.effect("is who the session is of", () =>
    Effect.gen(function*() {
      const { asked, scheme, sessions, signIn } = makeSessions()
      sessions.set("a", Authentication.authenticated(alice, { expiresAt: 1000 }))
      assert.deepStrictEqual(yield* signIn("a"), Authentication.authenticated(alice, { expiresAt: 1000 }))
      assert.strictEqual(yield* scheme.authenticate(nobody), Authentication.anonymous)
      assert.deepStrictEqual(asked, ["a"])
    }))

  it.effect("is refused when nobody knows it", () =>
    Effect.gen(function*() {
      const { renew, scheme } = makeSessions()
      for (const ask of [scheme.authenticate(withToken("a")), renew(Redacted.make("a"), nobody)]) {
        const error = yield* Effect.flip(ask)
        assert.strictEqual(error._tag, "InvalidCredentials")
        assert.strictEqual(error.message, "The session is not known, or has ended")
      }
    }))

  it.effect("is looked up again to refresh: who it is by then is who it stays", () =>
    Effect.gen(function*() {
      const { asked, refresh, sessions, signIn } = makeSessions()
      sessions.set("a", Authentication.authenticated(alice))
      const first = yield* signIn("a")
      const promoted = { ...alice, roles: ["admin"] }
      sessions.set("a", Authentication.authenticated(promoted, { expiresAt: 1000 }))
      const second = authenticated(yield* refresh(first, nobody))
      assert.deepStrictEqual(second, Authentication.authenticated(promoted, { expiresAt: 1000 }))
      // And again, from what it was found out to be.
      sessions.set("a", Authentication.authenticated(alice))
      assert.deepStrictEqual(yield* refresh(second, nobody), Authentication.authenticated(alice))
      assert.deepStrictEqual(asked, ["a", "a", "a"])
    }))

  it.effect("that has ended is refused", () =>
    Effect.gen(function*() {
      const { refresh, sessions, signIn } = makeSessions()
      sessions.set("a", Authentication.authenticated(alice))
      const identity = yield* signIn("a")
      sessions.delete("a")
      assert.strictEqual((yield* Effect.flip(refresh(identity, nobody)))._tag, "InvalidCredentials")
    }))

  it.effect("is the renewed one that is looked up, once it has been renewed", () =>
    Effect.gen(function*() {
      const { asked, refresh, renew, sessions } = makeSessions()
      sessions.set("b", Authentication.authenticated(alice))
      const renewed = authenticated(yield* renew(Redacted.make("b"), withToken("a")))
      yield* refresh(renewed, withToken("a"))
      assert.deepStrictEqual(asked, ["b", "b"])
    }))

  it.effect("is not mixed up with another one that gives the same object", () =>
    Effect.gen(function*() {
      const { asked, refresh, sessions, signIn } = makeSessions()
      const shared = Authentication.authenticated(alice)
      sessions.set("a", shared)
      sessions.set("b", shared)
      const [a, b] = [yield* signIn("a"), yield* signIn("b")]
      assert.strictEqual(a.user, b.user)
      asked.length = 0
      yield* refresh(a, nobody)
      yield* refresh(b, nobody)
      assert.deepStrictEqual(asked, ["a", "b"])
      sessions.delete("a")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(refresh(a, nobody))))
      assert.deepStrictEqual(yield* refresh(b, nobody), shared)
    }))

  it.effect("that it does not know of is nobody's", () =>
    Effect.gen(function*() {
      const { asked, refresh } = makeSessions()
      const other = Authentication.authenticated(alice)
      assert.strictEqual((yield* Effect.flip(refresh(other, nobody)))._tag, "InvalidCredentials")
      assert.deepStrictEqual(asked, [])
    }))

  it.effect("does not show its token", () =>
    Effect.gen(function*() {
      const { sessions, signIn } = makeSessions()
      sessions.set("s3cr3t", Authentication.authenticated(alice))
      assert.notInclude(inspect(yield* signIn("s3cr3t"), { depth: 9, showHidden: true }), "s3cr3t")
    }))
})

describe("apiKey", () => {
  const keyed = (...keys: ReadonlyArray<string>) =>
    Scheme.apiKey({
      from,
      keys: keys.map((key, i) => ({ key: Redacted.make(key), user: `user ${i}` }))
    })
  const statusOf = (scheme: Authentication.Scheme<string>, key: string) =>
    Effect.match(scheme.authenticate(withToken(encodeURIComponent(key))), {
      onFailure: (error) => error.status,
      onSuccess: (identity) => identity._tag === "Anonymous" ? "anonymous" : identity.user
    })

  it.effect("is the user of the key, whichever of them it is", () =>
    Effect.gen(function*() {
      const scheme = keyed("one", "two", "three", "ü😀")
      for (const [i, key] of ["one", "two", "three", "ü😀"].entries()) {
        assert.strictEqual(yield* statusOf(scheme, key), `user ${i}`)
      }
      assert.strictEqual(yield* scheme.authenticate(nobody), Authentication.anonymous)
      const renewed = yield* has(scheme.renew)(Redacted.make("two"), nobody)
      assert.deepStrictEqual(renewed, Authentication.authenticated("user 1"))
    }))

  it.effect("is refused with a wrong key, however near it is", () =>
    Effect.gen(function*() {
      const scheme = keyed("secret", "other")
      for (
        const key of ["s", "secre", "secrett", "Secret", " secret", "secret ", "secret\0", "othersecret", "user 0"]
      ) {
        assert.strictEqual(yield* statusOf(scheme, key), 401, key)
      }
      const error = yield* Effect.flip(scheme.authenticate(withToken("wrong")))
      assert.strictEqual(error.message, "The API key is not valid")
      assert.strictEqual(yield* statusOf(scheme, ""), 401)
    }))

  it.effect("finds out who it is for many at once", () =>
    Effect.gen(function*() {
      const keys = Array.from({ length: 50 }, (_, i) => `key ${i}`)
      const scheme = keyed(...keys)
      const users = yield* Effect.forEach(keys, (key) => statusOf(scheme, key), { concurrency: "unbounded" })
      assert.deepStrictEqual(users, keys.map((_, i) => `user ${i}`))
    }))

  it("cannot be made with an empty key, which everybody would know", () => {
    assert.throws(() => keyed(""), TypeError, "Scheme.apiKey: one of the keys is empty")
    assert.throws(() => keyed("one", "", "two"), TypeError, "Scheme.apiKey: one of the keys is empty")
  })

  it("cannot be made without a key, nor with one of two users", () => {
    assert.throws(() => keyed(), TypeError, "Scheme.apiKey: there is no key")
    assert.throws(() => keyed("same", "other", "same"), TypeError, "two users have the same key")
    assert.throws(() => Scheme.token({ from: [], verify: () => Effect.fail(invalid()) }), TypeError, "needs a source")
  })

  it("stays who it is when authority is invalidated", () => assert.isUndefined(keyed("one").refresh))
})

describe("firstOf", () => {
  /** A scheme that answers in one way, and notes that it was asked. */
  const answering = (
    name: string,
    answer: Authentication.Identity<string> | Authentication.AuthenticationError,
    asked: Array<string>
  ): Authentication.Scheme<string> => {
    const say = (what: string) =>
      Effect.suspend(() => {
        asked.push(`${what} ${name}`)
        return answer._tag === "Anonymous" || answer._tag === "Authenticated"
          ? Effect.succeed(answer)
          : Effect.fail(answer)
      })
    return {
      authenticate: () => say("authenticate"),
      renew: () => say("renew"),
      refresh: (identity) => Effect.as(say("refresh"), Authentication.authenticated(`${identity.user} again`))
    }
  }
  const user = Authentication.authenticated
  const none = Authentication.anonymous
  const first = invalid("the first")
  const second = invalid("the second")

  const cases = [
    { answers: [user("a"), user("b")], is: "a", asked: 1 },
    { answers: [none, user("b")], is: "b", asked: 2 },
    { answers: [first, user("b")], is: "b", asked: 2 },
    { answers: [none, none], is: "nobody", asked: 2 },
    { answers: [first, none], is: "the first", asked: 2 },
    { answers: [none, second], is: "the second", asked: 2 },
    { answers: [first, second], is: "the first", asked: 2 },
    { answers: [unavailable, user("b")], is: unavailable.message, asked: 1 },
    { answers: [first, unavailable, user("c")], is: unavailable.message, asked: 2 },
    { answers: [none, first, none, user("d"), unavailable], is: "d", asked: 4 }
  ]

  for (
    const [what, ask] of [
      ["authenticate", (scheme: Authentication.Scheme<string>) => scheme.authenticate(nobody)],
      ["renew", (scheme: Authentication.Scheme<string>) => has(scheme.renew)(Redacted.make("x"), nobody)]
    ] as const
  ) {
    it.effect(`${what}: asks one after the other, until one of them knows, or cannot say`, () =>
      Effect.gen(function*() {
        for (const { answers, asked: count, is } of cases) {
          const asked: Array<string> = []
          const names = answers.map((_, i) => String(i))
          const scheme = Scheme.firstOf(...answers.map((answer, i) => answering(names[i]!, answer, asked)))
          const said = yield* Effect.match(ask(scheme), {
            onFailure: (error) => error.message,
            onSuccess: (identity) => identity._tag === "Anonymous" ? "nobody" : identity.user
          })
          assert.strictEqual(said, is)
          assert.deepStrictEqual(asked, names.slice(0, count).map((name) => `${what} ${name}`))
        }
      }))
  }

  it.effect("renews with those that can, and not at all where none can", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const { authenticate } = answering("mute", user("a"), asked)
      assert.isUndefined(Scheme.firstOf<string, never>({ authenticate }).renew)
      assert.throws(() => Scheme.firstOf(), TypeError, "everybody would be anonymous")
      const scheme = Scheme.firstOf<string, never>({ authenticate }, answering("b", user("b"), asked))
      assert.strictEqual(authenticated(yield* has(scheme.renew)(Redacted.make("x"), nobody)).user, "b")
      assert.deepStrictEqual(asked, ["renew b"])
    }))

  it.effect("passes on what breaks", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const broken: Authentication.Scheme<string> = { authenticate: () => Effect.die(new Error("broke")) }
      const scheme = Scheme.firstOf(broken, answering("b", user("b"), asked))
      assert.isTrue(Exit.hasDies(yield* Effect.exit(scheme.authenticate(nobody))))
      assert.deepStrictEqual(asked, [])
    }))

  it.effect("refresh: asks the scheme that it came from, time and again", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const scheme = Scheme.firstOf(answering("a", none, asked), answering("b", user("bob"), asked))
      const refresh = has(scheme.refresh)
      const identity = authenticated(yield* scheme.authenticate(nobody))
      asked.length = 0
      const again = authenticated(yield* refresh(identity, nobody))
      assert.strictEqual(again.user, "bob again")
      assert.strictEqual(authenticated(yield* refresh(again, nobody)).user, "bob again again")
      assert.deepStrictEqual(asked, ["refresh b", "refresh b"])
    }))

  it.effect("refresh: asks the scheme of the renewal, after one", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const a: Authentication.Scheme<string> = {
        ...answering("a", user("alice"), asked),
        renew: () => Effect.fail(invalid())
      }
      const scheme = Scheme.firstOf(a, answering("b", user("bob"), asked))
      const renewed = authenticated(yield* has(scheme.renew)(Redacted.make("x"), nobody))
      asked.length = 0
      yield* has(scheme.refresh)(renewed, nobody)
      assert.deepStrictEqual(asked, ["refresh b"])
    }))

  it.effect("refresh: tells the schemes apart, though they give the same object", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const shared = user("alice")
      const of = (name: string): Authentication.Scheme<string> => ({
        ...answering(name, shared, asked),
        authenticate: ({ query }) => Effect.succeed(query.token === name ? shared : none)
      })
      const scheme = Scheme.firstOf(of("a"), of("b"))
      const a = authenticated(yield* scheme.authenticate(withToken("a")))
      const b = authenticated(yield* scheme.authenticate(withToken("b")))
      yield* has(scheme.refresh)(a, nobody)
      yield* has(scheme.refresh)(b, nobody)
      assert.deepStrictEqual(asked, ["refresh a", "refresh b"])
    }))

  it.effect("refresh: leaves who came from a scheme that cannot, and does not know who came from elsewhere", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const { authenticate } = answering("a", user("alice"), asked)
      const scheme = Scheme.firstOf<string, never>({ authenticate }, answering("b", user("bob"), asked))
      const identity = authenticated(yield* scheme.authenticate(nobody))
      assert.deepStrictEqual(yield* has(scheme.refresh)(identity, nobody), user("alice"))
      const elsewhere = user("carol")
      assert.strictEqual((yield* Effect.flip(has(scheme.refresh)(elsewhere, nobody)))._tag, "InvalidCredentials")
      assert.deepStrictEqual(asked, ["authenticate a"])
    }))

  it.effect("looks up the sessions that are among its schemes, also one within another", () =>
    Effect.gen(function*() {
      const { asked, scheme: sessionScheme, sessions } = makeSessions()
      const keys = Scheme.apiKey({
        from: Credentials.header("x-api-key"),
        keys: [{ key: Redacted.make("key"), user: bob }]
      })
      const scheme = Scheme.firstOf(keys, Scheme.firstOf(keys, sessionScheme))
      sessions.set("a", Authentication.authenticated(alice))
      const identity = authenticated(yield* scheme.authenticate(withToken("a")))
      const program = authenticated(yield* scheme.authenticate(scopeOf("/", { "x-api-key": "key" })))
      const refresh = has(scheme.refresh)
      const again = authenticated(yield* refresh(identity, nobody))
      assert.deepStrictEqual(asked, ["a", "a"])
      sessions.delete("a")
      assert.strictEqual((yield* Effect.flip(refresh(again, nobody)))._tag, "InvalidCredentials")
      assert.strictEqual(authenticated(yield* refresh(program, nobody)).user, bob)
      assert.deepStrictEqual(asked, ["a", "a", "a"])
    }))

  it.effect("refresh: fails as its scheme does", () =>
    Effect.gen(function*() {
      for (const error of [invalid(), unavailable]) {
        const scheme = Scheme.firstOf<string, never>({
          authenticate: () => Effect.succeed(user("a")),
          refresh: () => Effect.fail(error)
        })
        const identity = authenticated(yield* scheme.authenticate(nobody))
        assert.strictEqual(yield* Effect.flip(has(scheme.refresh)(identity, nobody)), error)
      }
    }))
})

class Directory extends Context.Service<Directory, {
  readonly find: (token: string) => Authentication.Authenticated<User> | undefined
}>()("test/Directory") {}

describe("what a scheme needs", () => {
  const directory = (asked: Array<string>) =>
    Layer.succeed(Directory, {
      find: (token) => {
        asked.push(token)
        return token === "a" ? Authentication.authenticated(alice) : undefined
      }
    })
  const Who = Consumer.make("who", { path: "/ws/" }).pipe(Consumer.add(Action.make("who", { success: Schema.String })))
  const serveWho = <E>(authentication: Layer.Layer<Authentication.Authenticator<CurrentUser>, E>) =>
    serve(
      [Who],
      Consumer.handlers(Who).pipe(
        Handlers.handle("who", () => CurrentUser.use(({ id }) => id)),
        Handlers.toLayer,
        Layer.provide(authentication)
      )
    )
  const find = (token: Redacted.Redacted) =>
    Directory.use(({ find }) => Effect.succeed(Option.fromUndefinedOr(find(Redacted.value(token)))))
  const verify = (token: Redacted.Redacted) =>
    Effect.flatMap(
      find(token),
      Option.match({
        onNone: () => Effect.fail(invalid()),
        onSome: (identity) => Effect.succeed(identity)
      })
    )

  const schemes = {
    token: Scheme.token({ from, verify, refresh: () => verify(Redacted.make("a")) }),
    session: Scheme.session({ from, lookup: find }),
    firstOf: Scheme.firstOf(
      Scheme.token<User>({ from, verify: () => Effect.fail(invalid()) }),
      Scheme.session({ from, lookup: find })
    )
  }
  for (const [name, scheme] of Object.entries(schemes)) {
    it.effect(`is provided by its layer, whenever it is asked: ${name}`, () =>
      Effect.gen(function*() {
        const asked: Array<string> = []
        const pipeline = yield* serveWho(CurrentUser.layer(scheme).pipe(Layer.provide(directory(asked))))
        const client = yield* open(pipeline, "/ws/?token=a")
        assert.strictEqual((yield* client.ask({ action: "who" })).data, "alice")
        const renewed = yield* client.ask({ action: "$authenticate", data: { token: "a" } })
        assert.strictEqual(renewed.status, 200)
        yield* Authority.invalidate(Authority.identity(CurrentUser, "alice"))
        assert.strictEqual((yield* client.ask({ action: "who" })).data, "alice")
        assert.strictEqual((yield* Effect.flip(open(pipeline, "/ws/?token=b"))).status, 401)
        // The handshake, the renewal and the refresh of the first; the handshake of the second.
        assert.deepStrictEqual(asked, ["a", "a", "a", "b"])
      }))
  }

  it.effect("and acquires for a connection is released with it, neither before nor by another one", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const scheme = Scheme.token({
        from,
        verify: (token) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              log.push(`acquire ${Redacted.value(token)}`)
              return Authentication.authenticated<User>({ id: Redacted.value(token), roles: [] })
            }),
            () => Effect.sync(() => void log.push(`release ${Redacted.value(token)}`))
          )
      })
      const pipeline = yield* serveWho(CurrentUser.layer(scheme))
      const a = yield* open(pipeline, "/ws/?token=a", "1")
      const b = yield* open(pipeline, "/ws/?token=b", "2")
      assert.strictEqual((yield* a.ask({ action: "who" })).data, "a")
      assert.deepStrictEqual(log, ["acquire a", "acquire b"])
      yield* a.leave
      yield* settle
      assert.deepStrictEqual(log, ["acquire a", "acquire b", "release a"])
      assert.strictEqual((yield* b.ask({ action: "who" })).data, "b")
      yield* b.session.abandon
      assert.deepStrictEqual(log, ["acquire a", "acquire b", "release a", "release b"])
    }))
})
