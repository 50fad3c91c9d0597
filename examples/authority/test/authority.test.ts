import { Authority, Permission, Throttle } from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Articles } from "../articles.ts"
import { cookies, Sessions } from "../authentication.ts"
import {
  Admin,
  Article,
  CurrentUser,
  Desk,
  isAdmin,
  isEditor,
  isReader,
  isSomebodyElse,
  mayEdit,
  mayEnter,
  mayRead,
  Person,
  type Role
} from "../contract.ts"
import { AdminLive, DeskLive } from "../handlers.ts"
import { People } from "../people.ts"

/** The newsroom as it is served, with an authority and counts of its own. */
const Newsroom = Layer.mergeAll(DeskLive, AdminLive).pipe(
  Layer.provideMerge([Articles.layer, Sessions.layer]),
  Layer.provideMerge(People.layer),
  Layer.provideMerge([Authority.layerMemory, Throttle.layerMemory()])
)

const signIn = (cookie: string, name: string) =>
  Effect.map(Sessions.use((sessions) => sessions.begin(name)), (token) => ({
    token,
    headers: { cookie: `${cookie}=${token}` }
  }))

/** A tab of the desk: a session of its own, and a connection with it. */
const openDesk = (name: string) =>
  Effect.flatMap(signIn(cookies.desk, name), ({ headers }) => Testing.connect(Desk, { headers }))

const openAdmin = (name: string) =>
  Effect.flatMap(signIn(cookies.admin, name), ({ headers }) => Testing.connect(Admin, { headers }))

describe("who may do what", () => {
  const person = (name: string, roles: ReadonlyArray<Role>, suspended = false) =>
    Testing.as(CurrentUser, new Person({ name, roles, suspended }))
  const identities = {
    anonymous: Testing.anonymous,
    alice: person("alice", ["editor", "reader"]),
    bob: person("bob", ["reader"]),
    carol: person("carol", ["admin"]),
    "suspended bob": person("bob", ["reader"], true)
  }
  const article = (name: string, author: string) => ({
    name,
    params: { id: 1 },
    payload: { text: "New" },
    object: new Article({ id: 1, author, title: "Title", text: "Old" })
  })

  it.effect("at the desk", () =>
    Effect.gen(function*() {
      const matrix = yield* Testing.matrix(Desk, {
        identities,
        samples: { "articles/:id/ edit": [article("alice's", "alice"), article("carol's", "carol")] }
      })
      expect(String(matrix)).toMatchInlineSnapshot(`
        "
                                     | anonymous            | alice                | bob                  | carol                | suspended bob
        -----------------------------|----------------------|----------------------|----------------------|----------------------|----------------------
        connect                      | deny isAuthenticated | allow                | allow                | allow                | deny not(isSuspended)
        whoami                       | -                    | allow                | allow                | allow                | -
        list                         | -                    | allow                | allow                | allow                | -
        publish                      | -                    | allow                | deny hasRole(editor) | deny hasRole(editor) | -
        proofread                    | -                    | allow                | deny hasRole(editor) | deny hasRole(editor) | -
        articles/:id/ edit (alice's) | -                    | allow                | deny hasRole(editor) | allow                | -
        articles/:id/ edit (carol's) | -                    | deny isOwner(author) | deny hasRole(editor) | allow                | -
        "
      `)
    }).pipe(Effect.provide(Newsroom)))

  it.effect("on the admin's side", () =>
    Effect.gen(function*() {
      const account = (name: string) => ({
        name: `${name}'s`,
        params: { name },
        object: new Person({ name, roles: [], suspended: false })
      })
      const samples = [account("bob"), account("carol")]
      const matrix = yield* Testing.matrix(Admin, {
        identities,
        samples: { "people/:name/ revoke": samples, "people/:name/ suspend": samples }
      })
      expect(String(matrix)).toMatchInlineSnapshot(`
        "
                                        | anonymous            | alice               | bob                 | carol                   | suspended bob
        --------------------------------|----------------------|---------------------|---------------------|-------------------------|----------------------
        connect                         | deny isAuthenticated | deny hasRole(admin) | deny hasRole(admin) | allow                   | deny not(isSuspended)
        whoami                          | -                    | -                   | -                   | allow                   | -
        list                            | -                    | -                   | -                   | allow                   | -
        people                          | -                    | -                   | -                   | allow                   | -
        explain                         | -                    | -                   | -                   | allow                   | -
        people/:name/ grant             | -                    | -                   | -                   | if not(isOwner(name))   | -
        people/:name/ revoke (bob's)    | -                    | -                   | -                   | allow                   | -
        people/:name/ revoke (carol's)  | -                    | -                   | -                   | deny not(isOwner(name)) | -
        people/:name/ suspend (bob's)   | -                    | -                   | -                   | allow                   | -
        people/:name/ suspend (carol's) | -                    | -                   | -                   | deny not(isOwner(name)) | -
        people/:name/ reinstate         | -                    | -                   | -                   | if not(isOwner(name))   | -
        "
      `)
    }).pipe(Effect.provide(Newsroom)))
})

describe("the permissions keep the laws", () => {
  /** Few names, so that many an article is somebody's own. */
  const Name = Schema.Literals(["alice", "bob", "carol"])
  const Somebody = Schema.Struct({ ...Person.fields, name: Name })
  const situation = {
    person: Schema.UndefinedOr(Somebody),
    article: Schema.Struct({ ...Article.fields, author: Name })
  }

  /** Somebody, or a connection without credentials. */
  const acting = (person: typeof Somebody.Type | undefined) =>
    person === undefined ? Testing.anonymous : Testing.as(CurrentUser, new Person(person))

  for (const [name, permission] of Object.entries({ isAdmin, isEditor, isReader, mayEnter, mayRead, mayEdit })) {
    it.effect.prop(name, situation, ({ article, person }) =>
      Testing.PermissionLaws.check(permission, {
        as: acting(person),
        facts: { object: new Article(article), payload: { text: "New" }, params: { id: article.id } }
      }))
  }

  it.effect.prop(
    "isSomebodyElse",
    { one: Somebody, other: Somebody },
    ({ one, other }) =>
      Testing.PermissionLaws.check(isSomebodyElse, {
        as: acting(one),
        facts: { object: new Person(other), payload: {}, params: { name: other.name } }
      })
  )

  it.effect.prop(
    "whoever may edit loses it with the last of their roles",
    situation,
    ({ article, person }) =>
      Effect.gen(function*() {
        if (person === undefined) return
        const facts = { object: new Article(article), payload: { text: "New" }, params: { id: article.id } }
        const decided = yield* Testing.decide(mayEdit, { as: acting({ ...person, roles: [] }), facts })
        yield* Testing.expectDenied(decided)
      })
  )
})

describe("a right that is taken", () => {
  it.effect("is lost on open connections at once, and given back again", () =>
    Effect.gen(function*() {
      const alice = yield* openDesk("alice")
      const carol = yield* openAdmin("carol")
      const publish = alice.ask("publish", { payload: { title: "News", text: "Much has happened" } })

      yield* Testing.expectAllowed(yield* publish)
      const revoked = yield* carol.ask("people/:name/", "revoke", {
        params: { name: "alice" },
        payload: { role: "editor" }
      })
      assert.deepStrictEqual(revoked.data?.roles, ["reader"])
      yield* Testing.expectDenied(yield* publish, isEditor)
      assert.deepStrictEqual((yield* alice.ask("whoami")).data?.roles, ["reader"])

      yield* carol.ask("people/:name/", "grant", { params: { name: "alice" }, payload: { role: "editor" } })
      yield* Testing.expectAllowed(yield* publish)
    }).pipe(Effect.provide(Newsroom)))

  it.effect("interrupts what it was needed for, and nothing else", () =>
    Effect.gen(function*() {
      const alice = yield* openDesk("alice")
      const carol = yield* openAdmin("carol")
      yield* carol.ask("people/:name/", "grant", { params: { name: "bob" }, payload: { role: "editor" } })
      const bob = yield* openDesk("bob")
      const [hers, his] = yield* Effect.forEach(
        [alice, bob],
        (client) => Effect.forkChild(client.ask("proofread"), { startImmediately: true })
      )
      // The line is free meanwhile.
      yield* Testing.expectAllowed(yield* alice.ask("list"))

      yield* carol.ask("people/:name/", "revoke", { params: { name: "alice" }, payload: { role: "editor" } })
      const lost = yield* Fiber.join(hers!)
      assert.deepStrictEqual([lost.status, lost.errors], [403, [
        { detail: "This takes the role editor", code: "permission_lost" }
      ]])

      yield* TestClock.adjust("30 seconds")
      const done = yield* Fiber.join(his!)
      assert.deepStrictEqual([done.status, done.data?.articles], [200, 2])
    }).pipe(Effect.provide(Newsroom)))

  it.effect("of connecting closes the connection with 4403, and is needed to connect again", () =>
    Effect.gen(function*() {
      const { headers } = yield* signIn(cookies.desk, "bob")
      const bob = yield* Testing.connect(Desk, { headers })
      const carol = yield* openAdmin("carol")
      yield* carol.ask("people/:name/", "suspend", { params: { name: "bob" } })
      assert.deepInclude(yield* bob.closed, { code: 4403, reason: "Your account is suspended" })
      const refused = yield* Effect.flip(Testing.connect(Desk, { headers }))
      assert.deepInclude(refused, { _tag: "HandshakeRefused", status: 403 })
      yield* carol.ask("people/:name/", "reinstate", { params: { name: "bob" } })
      yield* Testing.expectAllowed(yield* (yield* Testing.connect(Desk, { headers })).ask("list"))
    }).pipe(Effect.provide(Newsroom)))

  it.effect("cannot be one's own", () =>
    Effect.gen(function*() {
      const carol = yield* openAdmin("carol")
      const suspended = yield* carol.ask("people/:name/", "suspend", { params: { name: "carol" } })
      yield* Testing.expectDenied(suspended, isSomebodyElse)
      assert.deepStrictEqual(suspended.errors, [{ detail: "Nobody changes their own account", code: "own_account" }])
      const nobody = yield* carol.ask("people/:name/", "suspend", { params: { name: "mallory" } })
      assert.strictEqual(nobody.status, 404)
    }).pipe(Effect.provide(Newsroom)))
})

describe("a session", () => {
  it.effect("that ends closes its own connections with 4401, and no others", () =>
    Effect.gen(function*() {
      const { headers, token } = yield* signIn(cookies.desk, "alice")
      const here = yield* Testing.connect(Desk, { headers })
      const elsewhere = yield* openDesk("alice")
      const proofreading = yield* Effect.forkChild(here.ask("proofread"), { startImmediately: true })
      yield* Testing.expectAllowed(yield* here.ask("list"))
      yield* Sessions.use((sessions) => sessions.end(token))
      yield* Authority.invalidate(Authority.identity(CurrentUser, "alice"))
      assert.deepInclude(yield* here.closed, { code: 4401, reason: "The session is not known, or has ended" })
      assert.deepStrictEqual((yield* Fiber.join(proofreading)).errors, [
        { detail: "The session is not known, or has ended", code: "authentication_failed" }
      ])
      yield* Testing.expectAllowed(yield* elsewhere.ask("list"))
    }).pipe(Effect.provide(Newsroom)))

  it.effect("expires, whatever runs", () =>
    Effect.gen(function*() {
      const alice = yield* openDesk("alice")
      yield* TestClock.adjust(Duration.subtract(Duration.hours(8), Duration.seconds(10)))
      const proofreading = yield* Effect.forkChild(alice.ask("proofread"), { startImmediately: true })
      yield* Testing.expectAllowed(yield* alice.ask("list"))
      yield* TestClock.adjust("10 seconds")
      assert.deepInclude(yield* alice.closed, { code: 4401, reason: "The credentials have expired" })
      assert.strictEqual((yield* Fiber.join(proofreading)).status, 401)
    }).pipe(Effect.provide(Newsroom)))
})

describe("publishing", () => {
  it.effect("is limited for a person, on all their connections", () =>
    Effect.gen(function*() {
      const [one, other] = [yield* openDesk("alice"), yield* openDesk("alice")]
      const request = { payload: { title: "News", text: "Much has happened" } }
      for (const client of [one, other, one, other, one]) {
        assert.strictEqual((yield* client.ask("publish", request)).status, 201)
      }
      const throttled = yield* other.ask("publish", request)
      assert.deepStrictEqual([throttled.status, throttled.errors], [429, [{
        detail: "Request was throttled: try again in 12 seconds",
        code: "throttled",
        retry_after: 12
      }]])
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual((yield* other.ask("publish", request)).status, 201)
    }).pipe(Effect.provide(Newsroom)))

  it.effect("that is denied is not counted", () =>
    Effect.gen(function*() {
      const bob = yield* openDesk("bob")
      for (let i = 0; i < 6; i++) {
        const denied = yield* bob.ask("publish", { payload: { title: "News", text: "Much has happened" } })
        yield* Testing.expectDenied(denied, isEditor)
      }
    }).pipe(Effect.provide(Newsroom)))
})

describe("an explanation", () => {
  it.effect("is that of somebody else, by what they may now", () =>
    Effect.gen(function*() {
      const carol = yield* openAdmin("carol")
      const explain = (name: string, article: number) =>
        Effect.map(carol.ask("explain", { payload: { name, article } }), ({ data }) => data?.explanation)
      expect(yield* explain("alice", 2)).toMatchInlineSnapshot(`
        "and: Deny
          and: Allow
            isAuthenticated (connection): Allow
            not: Allow
              isSuspended (connection): Deny
          or: Deny
            hasRole(admin) (connection): Deny
            and: Deny
              hasRole(editor) (connection): Allow
              isOwner(author) (object): Deny"
      `)
      yield* carol.ask("people/:name/", "suspend", { params: { name: "bob" } })
      expect(yield* explain("bob", 1)).toMatchInlineSnapshot(`
        "and: Deny
          and: Deny
            isAuthenticated (connection): Allow
            not: Deny
              isSuspended (connection): Allow
          or: Deny
            hasRole(admin) (connection): Deny
            and: Deny
              hasRole(editor) (connection): Deny
              isOwner(author) (object): Deny"
      `)
      const missing = yield* carol.ask("explain", { payload: { name: "alice", article: 99 } })
      assert.deepInclude(missing.errors[0], { code: "NoSuchArticle", detail: "There is no article 99" })
    }).pipe(Effect.provide(Newsroom)))

  it("has a permission to print", () => {
    assert.strictEqual(Permission.print(mayEdit), "or(hasRole(admin), and(hasRole(editor), isOwner(author)))")
  })
})
