import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  Check,
  type ConnectionScope,
  Consumer,
  Handlers,
  Permission,
  Route,
  Settings,
  Throttle
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { settle } from "./support/connection.ts"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("test/CurrentUser") {}
class Bans extends Context.Service<Bans, { readonly has: (name: string) => boolean }>()("test/Bans") {}

interface Note {
  readonly owner: string
}
const Note = Schema.Struct({ owner: Schema.String })

const isAuthenticated = Permission.isAuthenticated(CurrentUser)
const isAdmin = Permission.connection("isAdmin", CurrentUser.use(({ name }) => name === "admin"))
const isOwner = Permission.object<Note>()(
  "isOwner",
  ({ object }) => CurrentUser.use(({ name }) => name === object.owner)
)
const isBanned = Permission.connection(
  "isBanned",
  Effect.gen(function*() {
    const { name } = yield* CurrentUser
    const bans = yield* Bans
    return bans.has(name)
  })
)
const mayEdit = Permission.or(isAdmin, isOwner)

const When = Schema.Struct({ at: Schema.Date, tags: Schema.Array(Schema.String) })
const Board = Consumer.make("board", {
  path: "/ws/:board/",
  params: { board: Schema.NumberFromString },
  concurrency: 2
}).pipe(
  Consumer.permitConnect(Permission.or(Permission.not(isAuthenticated), Permission.not(isBanned))),
  Consumer.add(
    Action.make("echo", { payload: When, success: When, status: 201 }),
    Action.make("where", {
      fields: { page: Schema.optionalKey(Schema.Int) },
      success: Schema.Struct({ board: Schema.Number, page: Schema.Int, query: Schema.String })
    }),
    Action.make("wait", { payload: Schema.Int, success: Schema.Int }),
    Action.make("nothing"),
    Route.make("notes/:id/", { id: Schema.NumberFromString }).pipe(
      Route.permit(isAuthenticated),
      Route.add(
        Action.make("edit", { payload: { text: Schema.String }, success: Schema.String }).pipe(
          Action.object(Note),
          Action.permit(mayEdit)
        ),
        Action.make("show", { success: Schema.Number })
      )
    )
  )
)
const BoardLive = Consumer.handlers(Board).pipe(
  Handlers.handle("echo", ({ payload }) => Effect.succeed(payload)),
  Handlers.handle(
    "where",
    ({ fields, params, query }) =>
      Effect.succeed({ board: params.board, page: fields.page ?? 0, query: String(query.q) })
  ),
  Handlers.handle("wait", ({ payload }) => Effect.as(Effect.sleep(payload), payload)),
  Handlers.handle("nothing", () => Effect.void),
  Handlers.handle("notes/:id/", "edit", {
    object: ({ params }) => Effect.succeed({ owner: params.id === 1 ? "alice" : "bob" }),
    run: ({ object, payload }) => Effect.succeed(`${object.owner}: ${payload.text}`)
  }),
  Handlers.handle("notes/:id/", "show", ({ params }) => Effect.succeed(params.id)),
  Handlers.toLayer,
  Layer.provide(Testing.layerAuthentication(CurrentUser)),
  Layer.provide(Layer.succeed(Bans, { has: (name) => name === "mallory" }))
)

const user = (name: string) => Testing.as(CurrentUser, { name })
const messageOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isFailure(exit) ? String((Cause.squash(exit.cause) as Error).message) : "no failure"

describe("a connection in memory", () => {
  it.effect("takes typed requests, and gives typed answers", () =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(Board, { params: { board: 7 }, query: "x=1", as: user("alice") })
      assert.strictEqual(client.scope.path, "/ws/7/")
      assert.deepStrictEqual(client.scope.query.x, "1")
      const payload = { at: new Date(0), tags: ["a"] }
      const echo = yield* client.ask("echo", { payload })
      assert.deepStrictEqual([echo.status, echo.data], [201, payload])
      assert.deepStrictEqual(echo.reply.data, { at: "1970-01-01T00:00:00.000Z", tags: ["a"] })
      const where = yield* client.ask("where", { fields: { page: 3 }, query: "q=x" })
      assert.deepStrictEqual(where.data, { board: 7, page: 3, query: "x" })
      assert.deepStrictEqual((yield* client.ask("where", { fields: { page: 3 } })).data, {
        board: 7,
        page: 3,
        query: "undefined"
      })
      assert.deepStrictEqual((yield* client.ask("where")).data?.page, 0)
      const nothing = yield* client.ask("nothing")
      assert.deepStrictEqual([nothing.data, nothing.outcome, nothing.errors], [undefined, undefined, []])
      const edit = yield* client.ask("notes/:id/", "edit", { params: { id: 1 }, payload: { text: "hi" } })
      assert.strictEqual(edit.data, "alice: hi")
      assert.strictEqual((yield* client.ask("notes/:id/", "show", { params: { id: 5 }, query: "a=b" })).data, 5)
    }).pipe(Effect.provide(BoardLive)))

  it.effect("tells apart what is asked at once, and runs by the clock of the test", () =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(Board, { params: { board: 1 } })
      const slow = yield* Effect.forkChild(client.ask("wait", { payload: 2000 }), { startImmediately: true })
      const fast = yield* Effect.forkChild(client.ask("wait", { payload: 1000 }), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fast)).data, 1000)
      assert.isUndefined(slow.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(slow)).data, 2000)
    }).pipe(Effect.provide(BoardLive)))

  it.effect("sends and receives anything", () =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(Board, { params: { board: 1 } })
      yield* client.send("no JSON", new Uint8Array([1]), { action: "nothing", request_id: "mine" })
      const statuses = yield* Effect.replicateEffect(client.receive, 3)
      assert.deepStrictEqual(statuses.map((reply) => (reply as { readonly status: number }).status), [400, 400, 200])
    }).pipe(Effect.provide(BoardLive)))

  it.effect("fails what is asked when it ends", () =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(Board, { params: { board: 1 } })
      const waiting = yield* Effect.forkChild(client.ask("wait", { payload: 1000 }), { startImmediately: true })
      const receiving = yield* Effect.forkChild(client.receive, { startImmediately: true })
      yield* settle
      yield* client.close(4000, "bye")
      const closed = { code: 4000, reason: "bye" }
      assert.deepStrictEqual(yield* Effect.flip(Fiber.join(waiting)), closed)
      assert.deepStrictEqual(yield* Effect.flip(Fiber.join(receiving)), closed)
      assert.deepStrictEqual(yield* Effect.flip(client.ask("nothing")), closed)
      assert.deepStrictEqual(yield* client.closed, closed)
    }).pipe(Effect.provide(BoardLive)))

  it.effect("is refused as a real one, and acts as whom it is told", () =>
    Effect.gen(function*() {
      const refused = yield* Effect.flip(Testing.connect(Board, { params: { board: 1 }, as: user("mallory") }))
      assert.deepInclude(refused, { _tag: "HandshakeRefused", status: 403 })
      const [alice, nobody] = [
        yield* Testing.connect(Board, { params: { board: 1 }, as: [user("alice")] }),
        yield* Testing.connect(Board, { params: { board: 1 }, as: Testing.anonymous })
      ]
      yield* Testing.expectAllowed(yield* alice.ask("notes/:id/", "show", { params: { id: 1 } }))
      yield* Testing.expectDenied(yield* nobody.ask("notes/:id/", "show", { params: { id: 1 } }), isAuthenticated)
    }).pipe(Effect.provide(BoardLive)))

  it.effect("becomes the same user with other rights, when the facts have changed", () => {
    class Member
      extends Authentication.Service<Member, { readonly name: string; readonly roles: ReadonlyArray<string> }>()(
        "test/Member",
        { key: ({ name }) => name }
      )
    {}
    const rule = Action.make("rule").pipe(Action.permit(Check.hasRole(Member, "ruler")))
    const Club = Consumer.make("club", { path: "/ws/" }).pipe(Consumer.add(rule))
    const live = Consumer.handlers(Club).pipe(
      Handlers.handle("rule", () => Effect.void),
      Handlers.toLayer,
      Layer.provide(Testing.layerAuthentication(Member)),
      Layer.provideMerge(Authority.layerMemory)
    )
    const alice = (...roles: ReadonlyArray<string>) => Testing.as(Member, { name: "alice", roles })
    return Effect.gen(function*() {
      const client = yield* Testing.connect(Club, { as: alice("ruler") })
      const other = yield* Testing.connect(Club, { as: alice("ruler") })
      yield* client.become(alice())
      assert.strictEqual((yield* client.ask("rule")).status, 200)
      yield* Authority.invalidate(Authority.identity(Member, "alice"))
      assert.strictEqual((yield* client.ask("rule")).status, 403)
      assert.strictEqual((yield* other.ask("rule")).status, 200)
      yield* client.become(Testing.as(Member, { name: "mallory", roles: ["ruler"] }))
      yield* Authority.invalidate(Authority.everyone)
      assert.strictEqual((yield* client.closed).code, 4401)
    }).pipe(Effect.provide(live))
  })

  it.effect("says so when nobody asks whom it acts as", () => {
    const Plain = Consumer.make("plain", { path: "/ws/" }).pipe(Consumer.add(Action.make("ping")))
    const live = Consumer.handlers(Plain).pipe(
      Handlers.handle("ping", () => Effect.void),
      Handlers.toLayer,
      Layer.provide(CurrentUser.layer(() => Effect.succeed(Authentication.anonymous)))
    )
    return Effect.gen(function*() {
      const exit = yield* Effect.exit(Testing.connect(Plain, { as: user("alice") }))
      assert.include(messageOf(exit), "provide Testing.layerAuthentication")
    }).pipe(Effect.provide(live))
  })

  it.effect("ends with its scope", () =>
    Effect.gen(function*() {
      const client = yield* Effect.scoped(Testing.connect(Board, { params: { board: 1 } }))
      assert.strictEqual((yield* client.closed).code, 1006)
    }).pipe(Effect.provide(BoardLive)))

  it.effect("counts throttled requests from nothing with each build of the layer, and together within one", () => {
    const Limited = Consumer.make("limited", { path: "/ws/" }).pipe(
      Consumer.permit(Throttle.perAddress("all", { limit: 1, window: "1 minute" })),
      Consumer.add(Action.make("ping"))
    )
    const live = Consumer.handlers(Limited).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer)
    const statuses = Effect.forEach([1, 2], () =>
      Effect.gen(function*() {
        const client = yield* Testing.connect(Limited)
        return (yield* client.ask("ping")).status
      }))
    return Effect.gen(function*() {
      for (let run = 0; run < 2; run++) {
        assert.deepStrictEqual(yield* Effect.provide(statuses, live, { local: true }), [200, 429])
      }
      const shared = Layer.provide(live, Throttle.layerMemory())
      assert.deepStrictEqual(yield* Effect.provide(statuses, shared), [200, 429])
    })
  })

  it.effect("expires by the clock of the test", () =>
    Effect.gen(function*() {
      const alice = Testing.as(CurrentUser, { name: "alice" }, { expiresAt: 60_000 })
      const client = yield* Testing.connect(Board, { params: { board: 1 }, as: alice })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* client.closed, { code: 4401, reason: "The credentials have expired" })
    }).pipe(Effect.provide(BoardLive)))
})

describe("expectations", () => {
  const note = { object: { owner: "alice" }, payload: {}, params: {} }

  it.effect("hold for decisions by themselves", () =>
    Effect.gen(function*() {
      yield* Testing.expectAllowed(yield* Testing.decide(mayEdit, { as: user("alice"), facts: note }))
      yield* Testing.expectAllowed(yield* Testing.decide(mayEdit, { as: user("admin"), facts: note }))
      yield* Testing.expectDenied(yield* Testing.decide(mayEdit, { as: user("bob"), facts: note }), isOwner)
      yield* Testing.expectDenied(yield* Testing.decide(mayEdit, { as: user("bob"), facts: note }), "isOwner")
      yield* Testing.expectDenied(yield* Testing.decide(mayEdit, { as: user("bob"), facts: note }))
      // There is no object to decide by.
      yield* Testing.expectDenied(yield* Testing.decide(mayEdit, { as: user("alice") }))
      const isLocal = Permission.connection("isLocal", ({ remoteAddress }) => remoteAddress === "::1")
      yield* Testing.expectAllowed(yield* Testing.decide(isLocal, { handshake: { remoteAddress: "::1" } }))
      yield* Testing.expectDenied(yield* Testing.decide(isLocal), isLocal)
      const isPublic = Permission.delivery<Note>()("isPublic", ({ event }) => event.owner === "all")
      yield* Testing.expectAllowed(yield* Testing.decide(isPublic, { facts: { event: { owner: "all" } } }))
    }))

  it.effect("take nobody for nobody, and count nothing", () =>
    Effect.gen(function*() {
      yield* Testing.expectDenied(yield* Testing.decide(isAuthenticated), isAuthenticated)
      yield* Testing.expectDenied(yield* Testing.decide(isAuthenticated, { as: Testing.anonymous }))
      const admin = yield* Testing.decide(isAdmin)
      // There is nobody to ask about: that is no failure.
      assert.deepStrictEqual([admin.outcome, admin.check], ["Deny", "isAdmin"])
      yield* Testing.PermissionLaws.check(isAdmin, { as: Testing.anonymous })
      const once = Throttle.perAddress("kit", { limit: 1, window: "1 minute" })
      for (let i = 0; i < 3; i++) yield* Testing.expectAllowed(yield* Testing.decide(once))
      yield* Testing.PermissionLaws.check(Permission.and(once, Permission.not(isAuthenticated)))
      yield* Testing.expectAllowed(yield* Testing.decide(once))
    }))

  it.effect("need what else the checks need", () =>
    Effect.gen(function*() {
      const decided = Testing.decide(isBanned, { as: user("mallory") })
      yield* Testing.expectAllowed(yield* Effect.provideService(decided, Bans, { has: () => true }))
      yield* Testing.expectDenied(yield* Effect.provideService(decided, Bans, { has: () => false }), isBanned)
    }))

  it.effect("say what was, when it was not as expected", () =>
    Effect.gen(function*() {
      const bob = yield* Testing.decide(mayEdit, { as: user("bob"), facts: note })
      assert.strictEqual(
        messageOf(yield* Effect.exit(Testing.expectAllowed(bob))),
        "Expected Allow, found Deny by isOwner\n  or: Deny\n    isAdmin (connection): Deny\n    isOwner (object): Deny"
      )
      assert.include(
        messageOf(yield* Effect.exit(Testing.expectDenied(bob, isAdmin))),
        "Expected Deny by isAdmin, found Deny by isOwner"
      )
      const alice = yield* Testing.decide(mayEdit, { as: user("alice"), facts: note })
      assert.include(messageOf(yield* Effect.exit(Testing.expectDenied(alice))), "Expected Deny, found Allow")
      const broken = yield* Testing.decide(Permission.connection("broken", Effect.die("x")))
      assert.include(messageOf(yield* Effect.exit(Testing.expectDenied(broken))), "found Failed by broken")
      assert.include(messageOf(yield* Effect.exit(Testing.expectAllowed(broken))), "found Failed by broken")
    }))
})

describe("the matrix", () => {
  const identities = {
    anonymous: Testing.anonymous,
    alice: user("alice"),
    admin: user("admin"),
    mallory: user("mallory")
  }

  it.effect("is the whole authority of a consumer", () =>
    Effect.gen(function*() {
      const matrix = yield* Testing.matrix(Board, {
        identities,
        samples: {
          "notes/:id/ edit": [{}, { name: "own", object: { owner: "alice" } }, {
            name: "other",
            object: { owner: "bob" }
          }]
        }
      })
      assert.strictEqual(
        String(matrix),
        `
                        | anonymous            | alice        | admin | mallory
------------------------|----------------------|--------------|-------|-------------------
connect                 | allow                | allow        | allow | deny not(isBanned)
echo                    | allow                | allow        | allow | -
where                   | allow                | allow        | allow | -
wait                    | allow                | allow        | allow | -
nothing                 | allow                | allow        | allow | -
notes/:id/ edit         | deny isAuthenticated | if isOwner   | allow | -
notes/:id/ edit (own)   | deny isAuthenticated | allow        | allow | -
notes/:id/ edit (other) | deny isAuthenticated | deny isOwner | allow | -
notes/:id/ show         | deny isAuthenticated | allow        | allow | -
`
      )
      assert.deepStrictEqual(matrix.identities, ["anonymous", "alice", "admin", "mallory"])
      assert.strictEqual(matrix.rows.length, 9)
    }).pipe(Effect.provide(BoardLive)))

  it.effect("knows the settings of the server, and refuses samples of what is not there", () =>
    Effect.gen(function*() {
      const matrix = Testing.matrix(Board, { identities: { anonymous: Testing.anonymous, alice: user("alice") } })
      const Guarded = BoardLive.pipe(
        Layer.provide(Settings.layer({ permission: isAuthenticated })),
        Layer.provide(Testing.layerAuthentication(CurrentUser))
      )
      const guarded = yield* Effect.provide(matrix, Guarded, { local: true })
      assert.deepStrictEqual(guarded.rows.find(({ name }) => name === "nothing")!.cells, [
        "deny isAuthenticated",
        "allow"
      ])
      const odd = Testing.matrix(Board, { identities, samples: { "notes/:id/ edti": [{}] } })
      assert.include(messageOf(yield* Effect.exit(Effect.provide(odd, BoardLive))), "notes/:id/ edti. It has: connect,")
    }))

  it.effect("shows what breaks", () => {
    const breaks = Permission.connection("breaks", Effect.fail(new ChannelError.Unavailable({ message: "Down" })))
    const Broken = Consumer.make("broken", { path: "/ws/" }).pipe(
      Consumer.add(Action.make("a").pipe(Action.permit(breaks)))
    )
    const live = Consumer.handlers(Broken).pipe(Handlers.handle("a", () => Effect.void), Handlers.toLayer)
    return Effect.gen(function*() {
      const { rows } = yield* Testing.matrix(Broken, { identities: { nobody: [] } })
      assert.deepStrictEqual(rows.map(({ cells }) => cells), [["allow"], ["failed breaks"]])
    }).pipe(Effect.provide(live))
  })
})

describe("PermissionLaws", () => {
  const { check, checkCombinator } = Testing.PermissionLaws
  const object = { owner: "alice" }
  const situation = { as: user("alice"), facts: { object, payload: {}, params: {} } }

  const isList = Permission.action("isList", ({ action }) => action === "list")

  it.effect.prop(
    "hold for what is put together of well-behaved checks",
    {
      permission: Testing.permissions<never, unknown, CurrentUser>(isAdmin, isOwner, isList, isAuthenticated),
      name: Schema.Literals(["alice", "bob", "admin"]),
      action: Schema.Literals(["list", "edit"])
    },
    ({ action, name, permission }) =>
      check(permission as Permission.Permission<unknown, unknown, CurrentUser>, {
        as: user(name),
        facts: { action, object, payload: {}, params: {} }
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect("find a check that says now this and now that", () =>
    Effect.gen(function*() {
      let count = 0
      const fickle = Permission.connection("fickle", Effect.sync(() => count++ % 2 === 0))
      assert.include(messageOf(yield* Effect.exit(check(fickle))), "fickle breaks the law \"decided\"")
    }))

  it.effect("find a check that dies, and one that answers with no boolean", () =>
    Effect.gen(function*() {
      const dies = Permission.object<Note>()("dies", ({ object }) => object.owner.length > 0)
      const facts = { object: undefined as never, payload: {}, params: {} }
      assert.include(messageOf(yield* Effect.exit(check(dies, { facts }))), "breaks the law \"no failure\": dies died")
      const odd = Permission.connection("odd", Effect.succeed("yes" as never))
      assert.include(messageOf(yield* Effect.exit(check(odd))), "must answer true or false")
      const fails = Permission.connection("fails", Effect.fail("typed"))
      yield* check(fails)
    }))

  it.effect("find a check that looks at what is not there yet", () =>
    Effect.gen(function*() {
      const peeks = Permission.action("peeks", (facts) => "object" in facts)
      assert.include(messageOf(yield* Effect.exit(check(peeks, situation as never))), "breaks the law")
      const behind = Permission.or(Permission.deny, Permission.and(isOwner, peeks))
      assert.include(messageOf(yield* Effect.exit(check(behind, situation as never))), "breaks the law")
    }))

  it.effect("hold for the combinators, and for those that are made of them", () =>
    Effect.gen(function*() {
      yield* checkCombinator(2, (a, b) => Permission.and(a!, b!))
      yield* checkCombinator(2, (a, b) => Permission.or(a!, b!))
      yield* checkCombinator(1, (a) => Permission.not(a!))
      yield* checkCombinator(3, (a, b, c) =>
        Permission.any([Permission.and(a!, b!), Permission.and(a!, c!), Permission.and(b!, c!)]))
    }))

  it.effect("find a combinator that takes a failure, or what is still pending, for an answer", () =>
    Effect.gen(function*() {
      /** What comes of it when a combinator asks for itself, instead of putting together. */
      const asking = (allows: (outcome: string) => boolean) => (a: Permission.Permission) =>
        Permission.action("asking", () =>
          Effect.map(
            Permission.decide(a, { phase: "action", action: "", route: "", query: {}, params: {} }),
            (decision) => allows(decision._tag)
          )) as unknown as Permission.Permission
      const lenient = yield* Effect.exit(checkCombinator(1, (a) => asking((outcome) => outcome !== "Deny")(a!)))
      assert.match(messageOf(lenient), /breaks the law "monotonic": of \(Pending\) it makes Allow/)
      const forgiving = yield* Effect.exit(
        checkCombinator(2, (a, b) => Permission.or(b!, asking((outcome) => outcome === "Failed")(a!)))
      )
      assert.match(messageOf(forgiving), /breaks the law "fail-closed"|breaks the law "monotonic"/)
    }))
})

describe("arbitraries", () => {
  it.effect.prop("messages are read by the consumer that they are made for", {
    message: Testing.messages(Board)
  }, ({ message }) =>
    Effect.gen(function*() {
      const client = yield* Testing.connect(Board, { params: { board: 1 }, as: user("admin") })
      yield* client.send(message)
      const receiving = yield* Effect.forkChild(client.receive, { startImmediately: true })
      yield* settle
      yield* TestClock.adjust("30 seconds")
      const { status } = (yield* Fiber.join(receiving)) as { readonly status: number }
      assert.notInclude([400, 405, 500], status)
    }).pipe(Effect.scoped, Effect.provide(BoardLive)))

  it.effect.prop("scopes are those of handshakes", { scope: Testing.scopes }, ({ scope }) =>
    Effect.sync(() => {
      assert.isTrue(scope.path.startsWith("/"))
      assert.isString(scope.id)
      for (const value of Object.values(scope.query)) assert.isTrue(typeof value === "string" || Array.isArray(value))
    }))

  it.effect("handshakes are all kinds of", () =>
    Effect.gen(function*() {
      const seen = yield* Arbitrary.sampleEffect(Testing.handshakes, { count: 200 })
      const of = (f: (handshake: ConnectionScope.Handshake) => boolean) => seen.some(f)
      assert.isTrue(of(({ url }) => url.includes("?")) && of(({ url }) => !url.includes("?")))
      assert.isTrue(of(({ remoteAddress }) => remoteAddress === undefined) && of((one) => one.remoteAddress === "::1"))
    }))
})
