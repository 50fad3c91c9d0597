import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  ConnectionScope,
  Consumer,
  Credentials,
  Handlers,
  Permission,
  Pipeline,
  type Reply,
  Route,
  Scheme,
  Settings,
  Transport
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Connection } from "../src/internal/connection.ts"
import { Registry } from "../src/internal/registry.ts"
import { Standing } from "../src/internal/standing.ts"
import { type Client, open, serve, settle, soon, withLogs } from "./support/connection.ts"
import { Sleep, sleep, sleepFor, type Trace } from "./support/consumers.ts"

interface User {
  readonly id: string
  readonly roles: ReadonlyArray<string>
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser", { key: ({ id }) => id }) {}
class CurrentDevice extends Authentication.Service<CurrentDevice, string>()("test/CurrentDevice", {
  key: (serial) => serial
}) {}

// ---- what a token says

type Verified<R = never> = Effect.Effect<Authentication.Authenticated<User>, Authentication.AuthenticationError, R>

/**
 * Verifies a token: `alice`, `alice:admin,editor` with roles, `alice::5000` until then. The tokens `invalid`, `later`, `broken`
 * and `never` cannot be verified, each in its way.
 */
const verify = (token: string): Verified => {
  const [id = "", roles = "", until] = token.split(":")
  switch (id) {
    case "invalid":
      return Effect.fail(new ChannelError.InvalidCredentials())
    case "later":
      return Effect.fail(new ChannelError.Unavailable({ message: "The directory does not answer" }))
    case "broken":
      return Effect.die(new Error("secret of the verifier"))
    case "never":
      return Effect.never
    default:
      return Effect.succeed(Authentication.authenticated({ id, roles: roles === "" ? [] : roles.split(",") }, {
        expiresAt: until === undefined ? undefined : Number(until)
      }))
  }
}

/** A scheme by tokens in the query string; `before` comes before each verification. */
const schemeOf = <R = never>(
  before: (token: string) => Effect.Effect<unknown, Authentication.AuthenticationError, R> = () => Effect.void
) =>
  Scheme.token({
    from: Credentials.query("token"),
    verify: (token) => Effect.andThen(before(Redacted.value(token)), verify(Redacted.value(token)))
  })

// ---- the server

const isAdmin = Permission.connection("isAdmin", CurrentUser.use(({ roles }) => roles.includes("admin")), {
  reason: "Not an admin"
})
const isUser = Permission.isAuthenticated(CurrentUser)

/** No limit that a test would reach. */
const often = Settings.layer({ renewalsPerMinute: 10_000 })

interface Options {
  readonly connect?: Permission.Permission<unknown, unknown, CurrentUser> | undefined
  readonly settings?: Layer.Layer<never> | undefined
  readonly concurrency?: number | undefined
  readonly authentication?: Layer.Layer<Authentication.Authenticator<CurrentUser>> | undefined
}

/** The id of the user, or `nobody`. */
const who = Effect.map(CurrentUser.identity, (identity) => identity._tag === "Anonymous" ? "nobody" : identity.user.id)

/** A server whose actions tell who somebody is, and whether they may. */
const start = Effect.fnUntraced(function*(options: Options = {}) {
  const trace: Trace = []
  const items = Route.make("items/").pipe(Route.add(Action.make("who", { success: Schema.String })))
  const Api = Consumer.make("api", { path: "/ws/", concurrency: options.concurrency }).pipe(
    Consumer.permitConnect(options.connect ?? Permission.allow),
    Consumer.add(
      Action.make("who", { success: Schema.String }),
      Action.make("admin", { success: Schema.String }).pipe(Action.permit(isAdmin)),
      Action.make("sleep", Sleep),
      items
    )
  )
  const live = Consumer.handlers(Api).pipe(
    Handlers.handle("who", () => who),
    Handlers.handle("admin", () => who),
    Handlers.handle("sleep", ({ payload }) => sleep(trace, payload.id, payload.millis)),
    Handlers.handle("items/", "who", () => who),
    Handlers.toLayer,
    Layer.provide(options.authentication ?? CurrentUser.layer(schemeOf())),
    Layer.provide(options.settings ?? Layer.empty)
  )
  return { pipeline: yield* serve([Api], live), trace }
})

/** A client of such a server, with a token or without. */
const connect = Effect.fnUntraced(function*(token: string | undefined, options?: Options) {
  const { pipeline, trace } = yield* start(options)
  const client = yield* open(pipeline, token === undefined ? "/ws/" : `/ws/?token=${token}`)
  return { client, trace }
})

const renewal = (token: unknown, id?: string | number) => ({
  action: "$authenticate",
  data: { token },
  ...(id === undefined ? {} : { request_id: id })
})

const ask = (client: Client, action: string) => client.ask({ action })

/** What the client may do: who it is, and the status of what only admins may. */
const standing = (client: Client) =>
  Effect.gen(function*() {
    return [(yield* ask(client, "who")).data, (yield* ask(client, "admin")).status]
  })

const refused = (status: number, errors: ReadonlyArray<unknown>, action = "$authenticate") => ({
  errors,
  data: null,
  action,
  route: "",
  status
})

/** That the connection is still there. */
const assertOpen = (client: Client) => Effect.sync(() => assert.isUndefined(client.fiber.pollUnsafe()))

/** That the connection has ended, with no frame left over. */
const assertClosed = (client: Client, code: number, reason: string) =>
  Effect.gen(function*() {
    assert.deepStrictEqual(yield* soon(Effect.flip(client.peer.take)), Option.some({ code, reason }))
    assert.deepStrictEqual(yield* soon(Fiber.join(client.fiber)), Option.some({ code, reason }))
  })

const expired = "The credentials have expired"

describe("$authenticate", () => {
  it.effect("signs somebody in who was anonymous, on the same connection", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(undefined)
      assert.deepStrictEqual(yield* standing(client), ["nobody", 403])
      assert.deepStrictEqual<unknown>(yield* client.ask(renewal("alice:admin", 7)), {
        errors: [],
        data: { expires_at: null },
        action: "$authenticate",
        route: "",
        status: 200,
        request_id: 7
      })
      assert.deepStrictEqual(yield* standing(client), ["alice", 200])
      yield* assertOpen(client)
      yield* client.silent
    }))

  it.effect("answers with the keys of a reply in their order, and in the envelope's own words", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(undefined)
      assert.strictEqual(
        yield* client.askText({ request_id: "a", data: { token: "alice::60000" }, action: "$authenticate", route: "" }),
        "{\"errors\":[],\"data\":{\"expires_at\":\"1970-01-01T00:01:00.000Z\"},\"action\":\"$authenticate\"," +
          "\"route\":\"\",\"status\":200,\"request_id\":\"a\"}"
      )
    }))

  it.effect("decides the same user anew, who has other roles", () =>
    Effect.gen(function*() {
      const { client } = yield* connect("alice")
      assert.deepStrictEqual(yield* standing(client), ["alice", 403])
      assert.strictEqual((yield* client.ask(renewal("alice:admin"))).status, 200)
      assert.deepStrictEqual(yield* standing(client), ["alice", 200])
      assert.strictEqual((yield* client.ask(renewal("alice:editor"))).status, 200)
      assert.deepStrictEqual(yield* standing(client), ["alice", 403])
    }))

  it.effect("is for the handshake's user: another one is refused, and nothing changes", () =>
    Effect.gen(function*() {
      const { client } = yield* connect("alice:admin:60000")
      const reply = yield* client.ask(renewal("bob:admin"))
      assert.deepStrictEqual<unknown>(
        reply,
        refused(403, [
          {
            detail: "These are the credentials of another user: connect again to be somebody else",
            code: "identity_mismatch"
          }
        ])
      )
      assert.deepStrictEqual(yield* standing(client), ["alice", 200])
      yield* TestClock.adjust(60_000)
      yield* assertClosed(client, 4401, expired)
    }))

  it.effect("is for whoever signed in, once somebody did", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(undefined)
      assert.strictEqual((yield* client.ask(renewal("alice"))).status, 200)
      assert.strictEqual((yield* client.ask(renewal("bob"))).status, 403)
      assert.strictEqual((yield* ask(client, "who")).data, "alice")
    }))

  it.effect("fails as verification does, and nothing changes", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const { client } = yield* connect("alice:admin:60000")
        const cases = [
          ["invalid", 401, { detail: "The credentials are not valid", code: "authentication_failed" }],
          ["later", 503, { detail: "The directory does not answer", code: "unavailable" }],
          ["broken", 500, { detail: "Internal server error", code: "error" }]
        ] as const
        for (const [token, status, error] of cases) {
          assert.deepStrictEqual<unknown>(yield* client.ask(renewal(token)), refused(status, [error]))
          assert.deepStrictEqual(yield* standing(client), ["alice", 200])
        }
        yield* settle
        assert.deepStrictEqual(logs.map(({ level, message }) => [level, message]), [
          ["Error", "The action \"$authenticate\" of \"api\" broke"]
        ])
        assert.include(logs[0]!.cause, "secret of the verifier")
        yield* TestClock.adjust(60_000)
        yield* assertClosed(client, 4401, expired)
      })
    ))

  it.effect("leaves who is anonymous so when it fails", () =>
    withLogs(() =>
      Effect.gen(function*() {
        const { client } = yield* connect(undefined)
        for (const token of ["invalid", "later", "broken"]) {
          assert.isAtLeast((yield* client.ask(renewal(token))).status, 400)
          assert.deepStrictEqual(yield* standing(client), ["nobody", 403])
        }
        yield* assertOpen(client)
      })
    ))

  it.effect("is refused where the scheme does not know the user after all", () =>
    Effect.gen(function*() {
      const authentication = CurrentUser.layer({
        authenticate: () => verify("alice"),
        renew: () => Effect.succeed(Authentication.anonymous)
      })
      const { client } = yield* connect(undefined, { authentication })
      assert.strictEqual((yield* client.ask(renewal("x"))).status, 401)
      assert.strictEqual((yield* ask(client, "who")).data, "alice")
    }))

  it.effect("gives the scheme the token as it was sent, and the connection", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const authentication = CurrentUser.layer({
        authenticate: () => Effect.succeed(Authentication.anonymous),
        renew: (token, scope) =>
          Effect.flatMap(ConnectionScope.ConnectionScope, (service) => {
            seen.push(Redacted.value(token), scope.path, service === scope)
            return verify("alice")
          })
      })
      const { client } = yield* connect(undefined, { authentication })
      yield* client.ask(renewal(" t ,\"ü😀 "))
      assert.deepStrictEqual(seen, [" t ,\"ü😀 ", "/ws/", true])
    }))

  it.effect("that takes too long is given up with 503, and the connection lives on as it was", () =>
    Effect.gen(function*() {
      for (
        const [settings, millis] of [
          [Layer.empty, 10_000],
          [Settings.layer({ redecisionTimeout: "3 seconds" }), 3000]
        ] as const
      ) {
        const stopped: Array<string> = []
        const authentication = CurrentUser.layer(schemeOf((token) =>
          token === "never"
            ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => void stopped.push(token)))
            : Effect.void
        ))
        const { client } = yield* connect("alice:admin", { settings, authentication })
        yield* client.send(renewal("never", 1), { action: "who", request_id: 2 })
        yield* TestClock.adjust(millis - 1)
        yield* client.silent
        assert.deepStrictEqual(stopped, [])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual<unknown>(yield* client.next, {
          ...refused(503, [{ detail: "The permissions could not be decided in time", code: "unavailable" }]),
          request_id: 1
        })
        assert.deepStrictEqual(stopped, ["never"])
        assert.deepInclude(yield* client.next, { request_id: 2, data: "alice" })
        assert.deepStrictEqual(yield* standing(client), ["alice", 200])
        assert.strictEqual((yield* client.ask(renewal("alice"))).status, 200)
        assert.deepStrictEqual(yield* standing(client), ["alice", 403])
      }
    }))

  it.effect("does not show the token to whoever looks", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const { client } = yield* connect(undefined)
        const secret = "s3cr3t"
        const texts: Array<string> = []
        for (const token of [secret, `invalid:${secret}`, `later:${secret}`, `broken:${secret}`]) {
          texts.push(yield* client.askText(renewal(token)))
        }
        const wrong = [{ token: [secret] }, { token: { secret } }, { token: secret, identity: 5 }, secret, [secret]]
        for (const data of wrong) texts.push(yield* client.askText({ action: "$authenticate", data }))
        yield* settle
        assert.strictEqual(texts.length, 9)
        assert.isAbove(logs.length, 0)
        assert.notInclude(texts.join("\n"), secret)
        assert.notInclude(JSON.stringify(logs), secret)
      })
    ).pipe(Effect.provideService(References.MinimumLogLevel, "All")))
})

describe("the data of $authenticate", () => {
  it.effect("is told where it is wrong", () =>
    Effect.gen(function*() {
      const { client } = yield* connect("alice")
      const data: ReadonlyArray<readonly [data: unknown, ...paths: ReadonlyArray<ReadonlyArray<string>>]> = [
        [undefined, ["data"]],
        [null, ["data"]],
        ["alice", ["data"]],
        [["alice"], ["data"]],
        [{}, ["data", "token"]],
        [{ token: "" }, ["data", "token"]],
        [{ token: null }, ["data", "token"]],
        [{ token: 5 }, ["data", "token"]],
        [{ token: ["alice"] }, ["data", "token"]],
        [{ token: "alice", identity: 5 }, ["data", "identity"]],
        [{ token: "alice", identity: null }, ["data", "identity"]],
        [{ token: "alice", identity: "" }, ["data", "identity"]],
        [{ token: "alice", identity: "test/Nobody" }, ["data", "identity"]],
        [{ token: 1, identity: 2 }, ["data", "token"], ["data", "identity"]]
      ]
      for (const [one, ...paths] of data) {
        const reply = yield* client.ask({ action: "$authenticate", data: one, request_id: "x" })
        assert.deepInclude(reply, { data: null, action: "$authenticate", route: "", status: 400, request_id: "x" })
        const errors = reply.errors as ReadonlyArray<Reply.ReplyError>
        assert.deepStrictEqual(errors.map(({ path }) => path), paths, JSON.stringify(one))
        for (const { code, detail } of errors) {
          assert.strictEqual(code, "invalid")
          assert.isAbove(detail.length, 0)
        }
      }
      assert.strictEqual((yield* client.ask({ action: "$authenticate", token: "alice" })).status, 400)
      assert.strictEqual((yield* ask(client, "who")).data, "alice")
    }))

  it.effect("may name the identity, and hold what nobody knows of", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(undefined)
      const data = { token: "alice", identity: "test/CurrentUser", more: 1 }
      assert.strictEqual((yield* client.ask({ action: "$authenticate", data, more: 2 })).status, 200)
      assert.strictEqual((yield* ask(client, "who")).data, "alice")
    }))
})

describe("where identities cannot be renewed", () => {
  it.effect("there is no such action", () =>
    Effect.gen(function*() {
      class Unkeyed extends Authentication.Service<Unkeyed, User>()("test/Unkeyed") {}
      const asked: Array<string> = []
      const scheme = schemeOf((token) => Effect.sync(() => asked.push(token)))
      const layers = {
        "a function": CurrentUser.layer(scheme.authenticate),
        "a scheme that cannot": CurrentUser.layer({ authenticate: scheme.authenticate }),
        "a service without a key": Unkeyed.layer(scheme)
      } as Readonly<Record<string, Layer.Layer<never>>>
      for (const [name, layer] of [...Object.entries(layers), ["no identity", Layer.empty] as const]) {
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(Consumer.add(Action.make("ping")))
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("ping", () => Effect.void),
          Handlers.toLayer,
          Layer.provide(layer)
        )
        const client = yield* open(yield* serve([Api], live), "/ws/")
        for (const request of [renewal("alice"), { action: "$authenticate" }]) {
          assert.deepStrictEqual<unknown>(
            yield* client.ask(request),
            refused(405, [{ detail: "There is no action \"$authenticate\" here", code: "method_not_allowed" }]),
            name
          )
        }
      }
      assert.deepStrictEqual(asked, [])
    }))

  it.effect("it is guarded as any unknown action is", () =>
    Effect.gen(function*() {
      const settings = Settings.layer({ permission: Permission.connection("no", Effect.succeed(false)) })
      const { client } = yield* connect("alice", {
        settings,
        authentication: CurrentUser.layer(schemeOf().authenticate)
      })
      assert.strictEqual((yield* client.ask(renewal("alice"))).status, 403)
    }))
})

describe("how often credentials are sent", () => {
  it.effect("is limited on each connection, and they are not looked at beyond it", () =>
    Effect.gen(function*() {
      const verified: Array<string> = []
      const authentication = CurrentUser.layer(schemeOf((token) =>
        Effect.suspend(() => {
          verified.push(token)
          return Effect.fail(new ChannelError.InvalidCredentials())
        })
      ))
      const { client } = yield* connect(undefined, { authentication })
      const guess = (i: number) => client.ask(renewal(`guess ${i}`))
      // What cannot be read is not counted.
      for (let i = 0; i < 20; i++) yield* client.ask({ action: "$authenticate", data: {} })
      for (let i = 0; i < 10; i++) assert.strictEqual((yield* guess(i)).status, 401)
      const { errors, status } = yield* guess(10)
      assert.strictEqual(status, 429)
      assert.deepInclude(errors[0], { code: "throttled", retry_after: 6 })
      assert.strictEqual(verified.length, 10)
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual((yield* guess(11)).status, 401)
      assert.strictEqual((yield* guess(12)).status, 429)
      assert.strictEqual((yield* ask(client, "who")).data, "nobody")
      const { client: other } = yield* connect(undefined, { authentication })
      assert.strictEqual((yield* other.ask(renewal("guess"))).status, 401)
    }))
})

describe("the name $authenticate", () => {
  it.effect("may be written with escapes", () =>
    Effect.gen(function*() {
      for (const name of ["\\u0024authenticate", "$\\u0061uthenticate", "\\u0024\\u0061uthenticate"]) {
        const { client } = yield* connect(undefined)
        const text = `{"\\u0061ction":"${name}","data":{"token":"alice:admin"},"request_id":1}`
        yield* client.send(text, { action: "who", request_id: 2 }, { action: "admin", request_id: 3 })
        const [first, second, third] = yield* client.take(3)
        assert.deepInclude(first, { status: 200, action: "$authenticate", request_id: 1 })
        assert.deepInclude(second, { data: "alice", request_id: 2 })
        assert.deepInclude(third, { status: 200, request_id: 3 })
      }
    }))

  it.effect("is reserved for the consumer itself: in a route it is an action as others are", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const authentication = CurrentUser.layer(schemeOf((token) => Effect.sync(() => asked.push(token))))
      const { client } = yield* connect(undefined, { authentication })
      for (const [route, status] of [["x", 404], ["items/", 405], ["?x=1", 405], ["/", 404]] as const) {
        assert.deepInclude(yield* client.ask({ ...renewal("alice"), route }), { status, route })
      }
      assert.strictEqual((yield* client.ask({ ...renewal("alice"), route: 5 })).status, 400)
      assert.deepStrictEqual(asked, [])
      assert.strictEqual((yield* ask(client, "who")).data, "nobody")
      assert.strictEqual((yield* client.ask({ ...renewal("alice"), route: "" })).status, 200)
    }))

  it.effect("is one only as the name of the action", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(undefined)
      for (const action of ["$Authenticate", "$authenticate ", "authenticate", "$", "$authenticated", "$connect"]) {
        assert.strictEqual((yield* client.ask({ ...renewal("alice"), action })).status, 405, action)
      }
      const text = { action: "sleep", data: { id: "$authenticate", millis: 0 }, request_id: "$authenticate" }
      assert.deepInclude(yield* client.ask(text), { data: "$authenticate", status: 200 })
      assert.strictEqual((yield* client.ask("{\"action\":\"$authenticate\"")).status, 400)
      assert.strictEqual((yield* client.ask("\"$authenticate\"")).status, 400)
      assert.strictEqual((yield* client.ask(new TextEncoder().encode(JSON.stringify(renewal("alice"))))).status, 400)
      assert.strictEqual((yield* ask(client, "who")).data, "nobody")
    }))

  it.effect("and all that begin as it does are no names for an application's actions", () =>
    Effect.gen(function*() {
      for (const name of ["$x", "$authenticate", "$"]) {
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.add(Action.make(name), Route.make("items/").pipe(Route.add(Action.make(name))))
        )
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle(name, () => Effect.void),
          Handlers.handle("items/", name, () => Effect.void),
          Handlers.toLayer
        )
        const error = yield* Effect.flip(serve([Api], live))
        assert.strictEqual(error._tag, "DefinitionError")
        assert.deepStrictEqual(
          error.problems,
          ["the consumer", "the route \"items/\""].map((place) =>
            `the action "${name}" of ${place} has one of the protocol's own names, which begin with "$": give it another name`
          )
        )
      }
    }))
})

describe("messages around a renewal", () => {
  /** Verification that takes some time: nothing, turns of the scheduler, or time. */
  const manners = {
    "at once": () => Effect.void,
    "after some turns": () => Effect.andThen(Effect.yieldNow, Effect.yieldNow),
    "after a second": () => Effect.sleep("1 second")
  }
  const slowly = (manner: () => Effect.Effect<void>) =>
    CurrentUser.layer({ ...schemeOf(manner), authenticate: schemeOf().authenticate })

  for (const [name, manner] of Object.entries(manners)) {
    it.effect(`are decided by who it was before, and who it is then (${name})`, () =>
      Effect.gen(function*() {
        const { client } = yield* connect(undefined, { authentication: slowly(manner) })
        yield* client.send(
          { action: "who", request_id: 1 },
          { action: "admin", request_id: 2 },
          renewal("alice:admin", 3),
          { action: "who", request_id: 4 },
          { action: "admin", request_id: 5 }
        )
        yield* TestClock.adjust("1 second")
        yield* client.send(renewal("alice", 6), { action: "admin", request_id: 7 })
        yield* TestClock.adjust("1 second")
        yield* client.send(renewal("bob", 8), { action: "who", request_id: 9 })
        yield* TestClock.adjust("1 second")
        const replies = yield* client.take(9)
        assert.deepStrictEqual(replies.map(({ data, request_id, status }) => [request_id, status, data]), [
          [1, 200, "nobody"],
          [2, 403, null],
          [3, 200, { expires_at: null }],
          [4, 200, "alice"],
          [5, 200, "alice"],
          [6, 200, { expires_at: null }],
          [7, 403, null],
          [8, 403, null],
          [9, 200, "alice"]
        ])
        yield* client.silent
      }))
  }

  it.effect("are decided by the newest of several renewals, which are made one after the other", () =>
    Effect.gen(function*() {
      const { client } = yield* connect("alice", { authentication: slowly(manners["after a second"]) })
      yield* client.send(
        renewal("alice:admin", 1),
        { action: "admin", request_id: 2 },
        renewal("invalid", 3),
        renewal("alice", 4),
        { action: "admin", request_id: 5 }
      )
      for (const [id, status] of [[1, 200], [3, 401], [4, 200]]) {
        yield* TestClock.adjust(999)
        yield* client.silent
        yield* TestClock.adjust(1)
        assert.deepInclude(yield* client.next, { request_id: id, status })
      }
      // Never by older facts than those that were there when they came.
      for (const id of [2, 5]) assert.deepInclude(yield* client.next, { request_id: id, status: 403 })
    }))

  it.effect("do not hold it up: it overtakes what runs, and what waits", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect(undefined, { concurrency: 1 })
      yield* client.send(sleepFor(1, 1000), { action: "who", request_id: 2 }, renewal("alice", 3))
      assert.deepInclude(yield* client.next, { status: 200, request_id: 3 })
      yield* client.silent
      assert.deepStrictEqual(trace, ["start 1"])
      yield* TestClock.adjust(1000)
      assert.deepInclude(yield* client.next, { status: 200, request_id: 1 })
      assert.deepInclude(yield* client.next, { data: "alice", request_id: 2 })
    }))

  it.effect("wait for it when they have come to an end meanwhile", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect("alice", { authentication: slowly(manners["after a second"]) })
      yield* client.send(sleepFor(1, 500), renewal("alice", 2))
      yield* TestClock.adjust(999)
      assert.deepStrictEqual(trace, ["start 1", "end 1"])
      yield* client.silent
      yield* TestClock.adjust(1)
      assert.deepStrictEqual((yield* client.take(2)).map(({ request_id }) => request_id), [2, 1])
    }))

  it.effect("that it takes the permission away from are interrupted, the others go on", () =>
    Effect.gen(function*() {
      const trace: Trace = []
      const Api = Consumer.make("api", { path: "/ws/", concurrency: 3 }).pipe(
        Consumer.add(
          Action.make("sleep", Sleep),
          Action.make("guarded", Sleep).pipe(Action.permit(isAdmin))
        )
      )
      const live = Consumer.handlers(Api).pipe(
        Handlers.handle("sleep", ({ payload }) => sleep(trace, payload.id, payload.millis)),
        Handlers.handle("guarded", ({ payload }) => sleep(trace, payload.id, payload.millis)),
        Handlers.toLayer,
        Layer.provide(CurrentUser.layer(schemeOf()))
      )
      const client = yield* open(yield* serve([Api], live), "/ws/?token=alice:admin")
      yield* client.send(sleepFor(1, 1000), { ...sleepFor(2, 1000), action: "guarded" }, renewal("alice:editor", 3))
      assert.deepStrictEqual<unknown>(yield* client.next, {
        ...refused(403, [{ detail: "Not an admin", code: "permission_lost" }], "guarded"),
        request_id: 2
      })
      assert.deepInclude(yield* client.next, { status: 200, request_id: 3 })
      // What was found out about what ran is not taken for an answer to what comes.
      assert.deepInclude(yield* client.ask({ ...sleepFor(4, 0), action: "guarded" }), { status: 403, request_id: 4 })
      yield* TestClock.adjust(1000)
      assert.deepInclude(yield* client.next, { status: 200, request_id: 1 })
      assert.deepStrictEqual(trace, ["start 1", "start 2", "stop 2", "end 1"])
    }))

  it.effect("count together with it: more of them than fit are turned away", () =>
    Effect.gen(function*() {
      const Api = Consumer.make("api", { path: "/ws/" }).pipe(Consumer.add(Action.make("ping")))
      const live = Consumer.handlers(Api).pipe(
        Handlers.handle("ping", () => Effect.void),
        Handlers.toLayer,
        Layer.provide(CurrentUser.layer(schemeOf()))
      )
      const client = yield* open(yield* serve([Api], live, { maxInFlight: 3 }), "/ws/?token=alice")
      yield* client.send(...[1, 2, 3, 4].map((id) => renewal("never", id)))
      assert.deepInclude(yield* client.next, { status: 503, request_id: 4 })
      for (const id of [1, 2, 3]) {
        yield* TestClock.adjust(10_000)
        assert.deepInclude(yield* client.next, { status: 503, request_id: id })
      }
      // Each of them has given its place back.
      yield* client.send(...[1, 2, 3].map((id) => renewal("alice", id)))
      assert.deepStrictEqual((yield* client.take(3)).map(({ status }) => status), [200, 200, 200])
    }))
})

describe("credentials that expire", () => {
  it.effect("close the connection with 4401 within a second after", () =>
    Effect.gen(function*() {
      const { client } = yield* connect("alice::60500")
      yield* TestClock.adjust(60_499)
      assert.strictEqual((yield* ask(client, "who")).data, "alice")
      yield* assertOpen(client)
      yield* TestClock.adjust(1000)
      yield* assertClosed(client, 4401, expired)
    }))

  it.effect("close the connection also where they were signed in with later", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(undefined)
      assert.deepStrictEqual((yield* client.ask(renewal("alice::5000"))).data, {
        expires_at: "1970-01-01T00:00:05.000Z"
      })
      yield* TestClock.adjust(4999)
      yield* assertOpen(client)
      yield* TestClock.adjust(1)
      yield* assertClosed(client, 4401, expired)
    }))

  it.effect("are not taken when they have expired already, nor when they never say when", () =>
    Effect.gen(function*() {
      const { client } = yield* connect("alice")
      yield* TestClock.adjust(10_000)
      const errors = [{ detail: expired, code: "authentication_failed" }]
      for (const token of ["alice::5000", "alice::10000", "alice::soon"]) {
        assert.deepInclude(yield* client.ask(renewal(token)), { status: 401, errors })
        const late = yield* Effect.flip(connect(token))
        assert.deepInclude(late, { _tag: "HandshakeRefused", status: 401 })
      }
      yield* assertOpen(client)
      assert.strictEqual((yield* client.ask(renewal("alice::10001"))).status, 200)
    }))

  it.effect("leave a late renewal its grace, and messages are handled meanwhile", () =>
    Effect.gen(function*() {
      const settings = Settings.layer({ expiryGrace: "30 seconds" })
      const { client } = yield* connect("alice::60000", { settings })
      yield* TestClock.adjust(89_999)
      assert.strictEqual((yield* ask(client, "who")).data, "alice")
      // What the client is told is when they expire, not when it is thrown out.
      assert.deepStrictEqual((yield* client.ask(renewal("alice::100000"))).data, {
        expires_at: "1970-01-01T00:01:40.000Z"
      })
      yield* TestClock.adjust(40_000)
      yield* assertOpen(client)
      yield* TestClock.adjust(1)
      yield* assertClosed(client, 4401, expired)
    }))

  it.effect("do not close a connection that renewed them in time, until the new ones expire", () =>
    Effect.gen(function*() {
      const { client } = yield* connect("alice::10000")
      for (let until = 20_000; until <= 100_000; until += 10_000) {
        yield* TestClock.adjust(9999)
        const { data } = yield* client.ask(renewal(`alice::${until}`))
        assert.deepStrictEqual(data, {
          expires_at: `1970-01-01T00:${until < 60_000 ? "00" : "01"}:${until % 60_000 / 1000}.000Z`.replace(
            /:0\./,
            ":00."
          )
        })
        yield* TestClock.adjust(1)
        yield* assertOpen(client)
      }
      yield* TestClock.adjust(9999)
      yield* assertOpen(client)
      yield* TestClock.adjust(1)
      yield* assertClosed(client, 4401, expired)
    }))

  it.effect("can be renewed with some that expire sooner, or never", () =>
    Effect.gen(function*() {
      const { client: sooner } = yield* connect("alice::60000")
      yield* sooner.ask(renewal("alice::5000"))
      yield* TestClock.adjust(5000)
      yield* assertClosed(sooner, 4401, expired)
      const { client: never } = yield* connect("alice::10000")
      assert.deepStrictEqual((yield* never.ask(renewal("alice"))).data, { expires_at: null })
      yield* TestClock.adjust("10 days")
      yield* assertOpen(never)
    }))

  it.effect("end what runs with 401, before the connection closes; what waits is not started", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect("alice::5000", { concurrency: 2 })
      yield* client.send(sleepFor(1, 20_000), sleepFor(2, 20_000), sleepFor(3, 20_000))
      yield* TestClock.adjust(5000)
      for (const id of [1, 2]) {
        assert.deepStrictEqual<unknown>(yield* client.next, {
          ...refused(401, [{ detail: expired, code: "authentication_failed" }], "sleep"),
          request_id: id
        })
      }
      yield* assertClosed(client, 4401, expired)
      assert.deepStrictEqual(trace, ["start 1", "start 2", "stop 1", "stop 2"])
    }))

  it.effect("give a renewal that is under way its time", () =>
    Effect.gen(function*() {
      const authentication = CurrentUser.layer({
        ...schemeOf(() => Effect.sleep("3 seconds")),
        authenticate: schemeOf().authenticate
      })
      for (const [token, status] of [["alice::60000", 200], ["invalid", 401]] as const) {
        const { pipeline } = yield* start({ authentication })
        const now = yield* TestClock.testClockWith((clock) => Effect.succeed(clock.currentTimeMillisUnsafe()))
        const client = yield* open(pipeline, `/ws/?token=alice::${now + 5000}`)
        yield* TestClock.adjust(4000)
        yield* client.send(renewal(token), { action: "who" })
        yield* TestClock.adjust(2999)
        yield* client.silent
        yield* assertOpen(client)
        yield* TestClock.adjust(1)
        assert.strictEqual((yield* client.next).status, status)
        if (status === 401) yield* assertClosed(client, 4401, expired)
        else assert.strictEqual((yield* client.next).data, "alice")
      }
    }))

  it.effect("close nothing that has ended", () =>
    Effect.gen(function*() {
      const { client } = yield* connect("alice::5000")
      yield* client.peer.close(4001, "bye")
      yield* TestClock.adjust(10_000)
      yield* assertClosed(client, 4001, "bye")
    }))

  it.effect("close a connection that is being upgraded as soon as it is there", () =>
    Effect.gen(function*() {
      const { pipeline } = yield* start()
      const session = yield* pipeline.connect({ id: "1", url: "/ws/?token=alice::5000" })
      yield* TestClock.adjust(6000)
      const [transport, peer] = yield* Transport.makeMemory
      yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      assert.deepStrictEqual(yield* soon(peer.closed), Option.some({ code: 4401, reason: expired }))
    }))
})

describe("several identities", () => {
  const make = Effect.fnUntraced(function*(options: { readonly isDeviceRenewable: boolean }) {
    const isUserOnDevice = Permission.and(isUser, Permission.isAuthenticated(CurrentDevice))
    const Api = Consumer.make("api", { path: "/ws/" }).pipe(
      Consumer.add(
        Action.make("who", { success: Schema.String }),
        Action.make("both", { success: Schema.String }).pipe(Action.permit(isUserOnDevice))
      )
    )
    const device = (token: Redacted.Redacted) => {
      const [serial = "", until] = Redacted.value(token).split(":")
      return Effect.succeed(
        Authentication.authenticated(serial, { expiresAt: until === undefined ? undefined : Number(until) })
      )
    }
    const devices = Scheme.token({ from: Credentials.query("device"), verify: device })
    const live = Consumer.handlers(Api).pipe(
      Handlers.handle("who", () =>
        Effect.all([who, CurrentDevice.identity]).pipe(
          Effect.map(([user, device]) => `${user} on ${device._tag === "Anonymous" ? "nothing" : device.user}`)
        )),
      Handlers.handle("both", () => Effect.succeed("both")),
      Handlers.toLayer,
      Layer.provide([
        CurrentUser.layer(schemeOf()),
        CurrentDevice.layer(options.isDeviceRenewable ? devices : devices.authenticate)
      ])
    )
    return yield* serve([Api], live)
  })
  const renew = (token: string, identity?: string) => ({
    action: "$authenticate",
    data: { token, ...(identity === undefined ? {} : { identity }) }
  })

  it.effect("are renewed by name", () =>
    Effect.gen(function*() {
      const client = yield* open(yield* make({ isDeviceRenewable: true }))
      assert.strictEqual((yield* ask(client, "who")).data, "nobody on nothing")
      assert.strictEqual((yield* client.ask(renew("7", "test/CurrentDevice"))).status, 200)
      assert.strictEqual((yield* ask(client, "who")).data, "nobody on 7")
      assert.strictEqual((yield* ask(client, "both")).status, 403)
      assert.strictEqual((yield* client.ask(renew("alice", "test/CurrentUser"))).status, 200)
      assert.strictEqual((yield* ask(client, "who")).data, "alice on 7")
      assert.strictEqual((yield* ask(client, "both")).status, 200)
      // Each by its own key.
      assert.strictEqual((yield* client.ask(renew("8", "test/CurrentDevice"))).status, 403)
      assert.strictEqual((yield* client.ask(renew("7", "test/CurrentUser"))).status, 403)
      assert.strictEqual((yield* ask(client, "who")).data, "alice on 7")
    }))

  it.effect("must be told apart where more than one can be renewed", () =>
    Effect.gen(function*() {
      const client = yield* open(yield* make({ isDeviceRenewable: true }))
      for (const identity of [undefined, "test/Nobody", "CurrentUser", ""]) {
        const { errors, status } = yield* client.ask(renew("alice", identity))
        assert.strictEqual(status, 400)
        assert.deepStrictEqual(errors.map((error) => Object.entries(error as object)), [[
          ["detail", "Expected \"test/CurrentUser\" or \"test/CurrentDevice\""],
          ["code", "invalid"],
          ["path", ["data", "identity"]]
        ]])
      }
      assert.strictEqual((yield* ask(client, "who")).data, "nobody on nothing")
    }))

  it.effect("need no name where only one can be renewed", () =>
    Effect.gen(function*() {
      const client = yield* open(yield* make({ isDeviceRenewable: false }), "/ws/?device=7")
      assert.strictEqual((yield* client.ask(renew("alice"))).status, 200)
      assert.strictEqual((yield* ask(client, "who")).data, "alice on 7")
      assert.strictEqual((yield* client.ask(renew("7", "test/CurrentDevice"))).status, 400)
    }))

  it.effect("last as long as the first of them", () =>
    Effect.gen(function*() {
      const client = yield* open(yield* make({ isDeviceRenewable: true }), "/ws/?device=7:10000&token=alice::5000")
      assert.deepStrictEqual((yield* client.ask(renew("alice::60000", "test/CurrentUser"))).data, {
        expires_at: "1970-01-01T00:00:10.000Z"
      })
      yield* TestClock.adjust(9999)
      yield* assertOpen(client)
      yield* TestClock.adjust(1)
      yield* assertClosed(client, 4401, expired)
      const other = yield* open(yield* make({ isDeviceRenewable: true }), "/ws/?device=7:60000&token=alice::20000")
      yield* TestClock.adjust(10_000)
      yield* assertClosed(other, 4401, expired)
    }))
})

describe("the permission to connect", () => {
  it.effect("that a renewal takes away closes the connection with 4403, after a reply that says so", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* connect("alice:admin", { connect: isAdmin })
      yield* client.send(sleepFor(1, 1000), renewal("alice", 2), { action: "who", request_id: 3 })
      assert.deepStrictEqual<unknown>(yield* client.next, {
        ...refused(403, [{ detail: "Not an admin", code: "permission_denied" }]),
        request_id: 2
      })
      assert.deepStrictEqual<unknown>(yield* client.next, {
        ...refused(403, [{ detail: "Not an admin", code: "permission_lost" }], "sleep"),
        request_id: 1
      })
      yield* assertClosed(client, 4403, "Not an admin")
      assert.deepStrictEqual(trace, ["start 1", "stop 1"])
    }))

  it.effect("that was only for nobody is lost by who signs in", () =>
    Effect.gen(function*() {
      const { client } = yield* connect(undefined, {
        connect: Permission.or(Permission.connection("isNobody", Effect.map(who, (id) => id === "nobody")), isAdmin)
      })
      assert.strictEqual((yield* client.ask(renewal("alice"))).status, 403)
      assert.strictEqual((yield* soon(client.peer.closed)).pipe(Option.getOrThrow).code, 4403)
    }))

  it.effect("that stays keeps it open", () =>
    Effect.gen(function*() {
      const { client } = yield* connect("alice:admin", { connect: isAdmin })
      assert.strictEqual((yield* client.ask(renewal("alice:admin,editor"))).status, 200)
      assert.strictEqual((yield* ask(client, "who")).data, "alice")
      yield* assertOpen(client)
    }))

  it.effect("that breaks closes it: nobody stays in by a failure", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const breaks = Permission.connection(
          "breaks",
          CurrentUser.use(({ roles }) =>
            roles.includes("breaking") ? Effect.die(new Error("secret of the check")) : Effect.succeed(true)
          )
        )
        const { client } = yield* connect("alice", { connect: breaks })
        const reply = yield* client.ask(renewal("alice:breaking"))
        assert.strictEqual(reply.status, 500)
        assert.strictEqual((yield* soon(client.peer.closed)).pipe(Option.getOrThrow).code, 1011)
        yield* settle
        assert.isAbove(logs.length, 0)
        assert.isTrue(logs.every(({ cause }) => cause.includes("secret of the check")))
      })
    ))

  it.effect("that never comes to an answer closes it with 1013", () =>
    Effect.gen(function*() {
      const hangs = Permission.connection(
        "hangs",
        CurrentUser.use(({ roles }) => roles.includes("hanging") ? Effect.never : Effect.succeed(true))
      )
      const { client } = yield* connect("alice", { connect: hangs })
      yield* client.send(renewal("alice:hanging"), { action: "who" })
      yield* TestClock.adjust(9999)
      yield* client.silent
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* client.next).status, 503)
      yield* assertClosed(client, 1013, "The permissions could not be decided in time")
    }))
})

describe("what a renewal acquires", () => {
  /** An authenticator that acquires for each identity, and what it holds. */
  const makeHolding = (release: (token: string) => Effect.Effect<void> = () => Effect.void) => {
    const held: Array<string> = []
    const authentication = CurrentUser.layer(schemeOf((token) =>
      Effect.acquireRelease(
        Effect.sync(() => void held.push(token)),
        () =>
          Effect.suspend(() => {
            held.splice(held.indexOf(token), 1)
            return release(token)
          })
      )
    ))
    return { held, authentication }
  }

  it.effect("is held until there is a newer one, or the connection ends", () =>
    Effect.gen(function*() {
      const { authentication, held } = makeHolding()
      const { client } = yield* connect("alice:first", { authentication })
      yield* client.ask(renewal("alice:second"))
      assert.deepStrictEqual(held, ["alice:first", "alice:second"])
      yield* client.ask(renewal("alice:third"))
      yield* settle
      // What the handshake acquired is the connection's own.
      assert.deepStrictEqual(held, ["alice:first", "alice:third"])
      yield* client.leave
      yield* settle
      assert.deepStrictEqual(held, [])
    }))

  it.effect("is released at once where it fails, and what there was is kept", () =>
    withLogs(() =>
      Effect.gen(function*() {
        const { authentication, held } = makeHolding()
        const { client } = yield* connect(undefined, { authentication })
        yield* client.ask(renewal("alice"))
        for (const token of ["bob", "invalid", "later", "broken"]) {
          yield* client.ask(renewal(token))
          assert.deepStrictEqual(held, ["alice"], token)
        }
        yield* client.send(renewal("never"))
        yield* settle
        assert.deepStrictEqual(held, ["alice", "never"])
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* client.next).status, 503)
        assert.deepStrictEqual(held, ["alice"])
        yield* client.leave
        yield* settle
        assert.deepStrictEqual(held, [])
      })
    ))

  it.effect("is released when the client goes away while it is verified, which is interrupted", () =>
    Effect.gen(function*() {
      const held: Array<string> = []
      const stopped: Array<string> = []
      const hanging = Effect.onInterrupt(Effect.never, () => Effect.sync(() => void stopped.push(held.join())))
      const { client } = yield* connect("alice", {
        authentication: CurrentUser.layer({
          ...schemeOf(),
          renew: (token) =>
            Effect.acquireRelease(
              Effect.sync(() => void held.push(Redacted.value(token))),
              () => Effect.sync(() => void held.splice(0))
            ).pipe(Effect.andThen(hanging))
        })
      })
      yield* client.send(renewal("never"))
      yield* settle
      assert.deepStrictEqual(held, ["never"])
      yield* client.leave
      yield* settle
      assert.deepStrictEqual(held, [])
      assert.deepStrictEqual(stopped, ["never"])
      assert.isTrue(Option.isSome(yield* soon(Fiber.join(client.fiber))))
    }))

  it.effect("does not grow with the renewals", () =>
    Effect.gen(function*() {
      const { authentication, held } = makeHolding()
      const { client } = yield* connect("alice", { authentication, settings: often })
      let most = 0
      for (let i = 0; i < 1000; i++) {
        assert.strictEqual((yield* client.ask(renewal(`alice:${i}`))).status, 200)
        most = Math.max(most, held.length)
      }
      // Of the handshake, of the newest one, and for a moment of the one before.
      assert.isAtMost(most, 3)
      yield* settle
      assert.deepStrictEqual(held, ["alice", "alice:999"])
      yield* client.leave
      yield* settle
      assert.deepStrictEqual(held, [])
    }))

  it.effect("counts from then on, however long it takes to release what was before", () =>
    withLogs(() =>
      Effect.gen(function*() {
        const releases = {
          "takes its time": () => Effect.sleep("1 hour"),
          "breaks": () => Effect.die(new Error("cannot be released"))
        }
        for (const [name, release] of Object.entries(releases)) {
          const { authentication, held } = makeHolding((token) => token === "alice:old" ? release() : Effect.void)
          const { client } = yield* connect(undefined, { authentication })
          yield* client.ask(renewal("alice:old"))
          yield* client.send(renewal("alice:admin"))
          yield* TestClock.adjust("10 seconds")
          assert.strictEqual((yield* client.next).status, 200, name)
          assert.deepStrictEqual(held, ["alice:admin"])
          assert.deepStrictEqual(yield* standing(client), ["alice", 200])
        }
      })
    ))
})

describe("the expiry of credentials that were renewed", () => {
  /** A connection of whoever a token names, in a registry of its own. */
  const listed = Effect.fnUntraced(function*(connect: Permission.Permission<{}, unknown, CurrentUser>, token: string) {
    const Api = Consumer.make("api", { path: "/ws/" }).pipe(
      Consumer.permitConnect(connect),
      Consumer.add(Action.make("ping"))
    )
    const live = Consumer.handlers(Api).pipe(
      Handlers.handle("ping", () => Effect.void),
      Handlers.toLayer,
      Layer.provide(CurrentUser.layer(schemeOf())),
      Layer.provide(often)
    )
    const compiled = yield* Effect.provide(Handlers.Live("api"), live)
    const registry = new Registry(yield* Effect.context<never>())
    const scope = ConnectionScope.make({ id: "1", url: `/ws/?token=${token}` }, {})
    const standing = new Standing(compiled, scope, yield* Scope.make())
    yield* standing.identify(undefined)
    const connection = new Connection(standing, {}, Pipeline.defaultLimits, registry)
    const [transport, peer] = yield* Transport.makeMemory
    const fiber = yield* Effect.forkScoped(connection.run(transport), { startImmediately: true })
    return { fiber, peer, registry }
  })

  it.effect("is not kept, neither on the connection nor after it", () =>
    Effect.gen(function*() {
      const { fiber, peer, registry } = yield* listed(isUser, "alice::10000")
      assert.strictEqual(registry.expiring, 1)
      for (let i = 1; i <= 100; i++) {
        yield* peer.send(JSON.stringify(renewal(`alice::${10_000 + 1000 * i}`)))
        assert.include(yield* peer.take, "\"status\":200")
        assert.strictEqual(registry.expiring, 1)
      }
      yield* peer.send(JSON.stringify(renewal("alice")))
      assert.include(yield* peer.take, "\"status\":200")
      assert.strictEqual(registry.expiring, 0)
      yield* peer.send(JSON.stringify(renewal("alice::60000")))
      assert.include(yield* peer.take, "\"status\":200")
      assert.strictEqual(registry.expiring, 1)
      yield* peer.close()
      yield* Fiber.join(fiber)
      assert.deepStrictEqual([registry.expiring, registry.size], [0, 0])
    }))

  it.effect("is that of the credentials found out anew, for all connections of an invalidation", () =>
    Effect.gen(function*() {
      let asked = 0
      const authentication = CurrentUser.layer({
        ...schemeOf(),
        // Later with every time: nobody is to be asked again for having been asked.
        refresh: ({ user }) =>
          Effect.suspend(() =>
            ++asked > 3
              ? Effect.die(new Error("asked too often"))
              : Effect.succeed(Authentication.authenticated(user, { expiresAt: 19_000 + asked }))
          )
      })
      const { pipeline } = yield* start({ authentication })
      const clients = yield* Effect.forEach(["1", "2", "3"], (id) => open(pipeline, "/ws/?token=alice::10000", id))
      yield* Authority.invalidate(Authority.everyone)
      assert.strictEqual(asked, 3)
      yield* TestClock.adjust(19_999)
      yield* Effect.forEach(clients, assertOpen)
      yield* TestClock.adjust(1)
      yield* Effect.forEach(clients, (client) => assertClosed(client, 4401, expired))
    }))

  it.effect("is not kept of a connection that a renewal has closed", () =>
    Effect.gen(function*() {
      const { fiber, peer, registry } = yield* listed(isAdmin, "alice:admin:10000")
      yield* peer.send(JSON.stringify(renewal("alice::20000")))
      assert.include(yield* peer.take, "\"status\":403")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual([registry.expiring, registry.size], [0, 0])
    }))
})

describe("a server that stops", () => {
  it.effect("takes no renewals any more, and answers the one that is under way", () =>
    Effect.gen(function*() {
      const latch = yield* Latch.make()
      const authentication = CurrentUser.layer({
        ...schemeOf(() => latch.await),
        authenticate: schemeOf().authenticate
      })
      const { client } = yield* connect("alice", { authentication })
      yield* client.send(renewal("alice:admin", 1))
      const draining = yield* Effect.forkChild(client.session.drain("1 minute"), { startImmediately: true })
      assert.deepInclude(yield* client.ask(renewal("alice", 2)), { status: 503, request_id: 2 })
      yield* latch.open
      assert.deepInclude(yield* client.next, { status: 200, request_id: 1 })
      assert.isTrue(Option.isSome(yield* soon(Fiber.join(draining))))
      yield* assertClosed(client, 1012, "The server is restarting")
    }))
})

describe("a hundred connections at once", () => {
  it.effect("are each its own user's, whatever order they are verified in", () =>
    Effect.gen(function*() {
      // Every verification takes its own time, so that they overlap, and end in another order than they began.
      const millisOf = (token: string) => (Number(/\d+/.exec(token)?.[0] ?? 0) * 37) % 101 * 10
      const authentication = CurrentUser.layer(schemeOf((token) => Effect.sleep(millisOf(token))))
      const { pipeline } = yield* start({ authentication, concurrency: 4 })
      const ids = Array.from({ length: 100 }, (_, i) => i)
      const clients = yield* Effect.forEach(ids, (i) => open(pipeline, "/ws/", String(i)))
      const rounds = [
        // As whom each message of a round is answered: nobody first, then the connection's own user.
        { token: (i: number) => `user${i}`, before: () => "nobody", status: 200 },
        { token: (i: number) => `user${i}:admin`, before: (i: number) => `user${i}`, status: 200 },
        { token: (i: number) => `user${(i + 1) % 100}:admin`, before: (i: number) => `user${i}`, status: 403 }
      ]
      for (const { before, status, token } of rounds) {
        yield* Effect.forEach(clients, (client, i) =>
          client.send(
            { action: "who", request_id: `${i} before` },
            { action: "who", route: "items/", request_id: `${i} before` },
            renewal(token(i), `${i} renewal`),
            { action: "who", request_id: `${i} after` },
            { action: "who", route: "items/", request_id: `${i} after` }
          ), { discard: true })
        yield* TestClock.adjust("2 seconds")
        for (const [i, client] of clients.entries()) {
          const replies = yield* client.take(5)
          const seen = replies.map(({ data, request_id, status }) => [
            request_id,
            status,
            typeof data === "string" ? data : "-"
          ])
          const own = `user${i}`
          assert.deepStrictEqual(seen, [
            [`${i} before`, 200, before(i)],
            [`${i} before`, 200, before(i)],
            [`${i} renewal`, status, "-"],
            [`${i} after`, 200, own],
            [`${i} after`, 200, own]
          ])
          yield* client.silent
        }
      }
    }))
})
