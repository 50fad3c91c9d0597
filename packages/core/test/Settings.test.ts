import {
  Action,
  Authentication,
  ChannelError,
  Consumer,
  Handlers,
  Permission,
  type Pipeline,
  Reply,
  Route,
  Settings
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { open, serve } from "./support/connection.ts"
import { AuthenticationLive, CurrentUser } from "./support/consumers.ts"

const ping = Action.make("ping", { success: Schema.String })
const pong = () => Effect.succeed("pong")

/** A consumer that says nothing of permissions. */
const Silent = Consumer.make("silent", { path: "/silent/" }).pipe(Consumer.add(ping))
const SilentLive = Consumer.handlers(Silent).pipe(Handlers.handle("ping", pong), Handlers.toLayer)

const isAuthenticated = Permission.isAuthenticated(CurrentUser)

/** Nobody is anonymous. */
const Guarding = Settings.layer({ permission: isAuthenticated }).pipe(Layer.provide(AuthenticationLive))

/** What a consumer answers somebody who asks it to do something. */
const ask = (pipeline: Pipeline.Pipeline, url: string, request: unknown = { action: "ping" }) =>
  Effect.flatMap(open(pipeline, url), (client) => client.ask(request))

const statusOf = (pipeline: Pipeline.Pipeline, url: string, request?: unknown) =>
  Effect.map(ask(pipeline, url, request), ({ status }) => status)

/** A consumer that answers with the settings it finds, as far as they are numbers. */
const Told = Consumer.make("told", { path: "/told/" }).pipe(
  Consumer.permit(Permission.allow),
  Consumer.add(Action.make("settings", { success: Schema.Unknown }))
)
const ToldLive = Consumer.handlers(Told).pipe(
  Handlers.handle(
    "settings",
    () =>
      Effect.map(Settings.Settings, ({ expiryGrace, maxPageSize, pageSize, redecisionTimeout }) => ({
        pageSize,
        maxPageSize,
        expiryGrace: Duration.toMillis(Duration.fromInputUnsafe(expiryGrace)),
        redecisionTimeout: Duration.toMillis(Duration.fromInputUnsafe(redecisionTimeout))
      }))
  ),
  Handlers.toLayer
)
const told = (layer: Layer.Layer<never>) =>
  serve([Told], ToldLive.pipe(Layer.provide(layer))).pipe(
    Effect.flatMap((pipeline) => ask(pipeline, "/told/", { action: "settings" })),
    Effect.map(({ data }) => data)
  )

const defaults = { pageSize: 20, maxPageSize: 100, expiryGrace: 0, redecisionTimeout: 10_000 }

describe("without settings", () => {
  it.effect("everything is as it is written", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* statusOf(yield* serve([Silent], SilentLive), "/silent/"), 200)
      assert.deepStrictEqual(yield* told(Layer.empty), defaults)
      const settings = yield* Settings.Settings
      assert.strictEqual(settings.permission, Permission.allow)
      assert.strictEqual(settings.formatError, Reply.formatError)
    }))
})

describe("a default permission", () => {
  it.effect("guards the messages of a consumer that says nothing, whatever they ask for", () =>
    Effect.gen(function*() {
      const Routed = Consumer.make("routed", { path: "/routed/" }).pipe(
        Consumer.add(ping, Route.make("items/").pipe(Route.permit(Permission.allow), Route.add(ping)))
      )
      const live = Consumer.handlers(Routed).pipe(
        Handlers.handle("ping", pong),
        Handlers.handle("items/", "ping", pong),
        Handlers.toLayer
      )
      const pipeline = yield* serve([Silent, Routed], Layer.merge(SilentLive, live).pipe(Layer.provide(Guarding)))
      assert.deepStrictEqual<unknown>(yield* ask(pipeline, "/silent/"), {
        errors: [{ detail: "Authentication credentials were not provided", code: "not_authenticated" }],
        data: null,
        action: "ping",
        route: "",
        status: 403
      })
      assert.strictEqual(yield* statusOf(pipeline, "/silent/?user=alice"), 200)
      for (const request of [{ action: "ping" }, { action: "ping", route: "items/" }]) {
        assert.strictEqual(yield* statusOf(pipeline, "/routed/", request), 403)
        assert.strictEqual(yield* statusOf(pipeline, "/routed/?user=alice", request), 200)
      }
      // Who may not ask learns nothing of what is there.
      assert.strictEqual(yield* statusOf(pipeline, "/routed/", { action: "nope" }), 403)
      assert.strictEqual(yield* statusOf(pipeline, "/routed/", { action: "ping", route: "nope/" }), 403)
    }))

  it.effect("does not guard a consumer that everybody may use", () =>
    Effect.gen(function*() {
      const Open = Consumer.make("open", { path: "/open/" }).pipe(
        Consumer.permit(Permission.allow),
        Consumer.add(ping)
      )
      const live = Consumer.handlers(Open).pipe(Handlers.handle("ping", pong), Handlers.toLayer)
      const pipeline = yield* serve([Silent, Open], Layer.merge(SilentLive, live).pipe(Layer.provide(Guarding)))
      assert.strictEqual(yield* statusOf(pipeline, "/open/"), 200)
      assert.strictEqual(yield* statusOf(pipeline, "/silent/"), 403)
    }))

  it.effect("does not touch a consumer with a permission of its own, weaker or stronger", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const noted = (name: string, answer: boolean) =>
        Permission.action(name, ({ action }) => {
          asked.push(`${name} ${action}`)
          return answer
        })
      const own = (name: string, permission: ReturnType<typeof noted>) =>
        Consumer.make(name, { path: `/${name}/` }).pipe(Consumer.permit(permission), Consumer.add(ping))
      const Weak = own("weak", noted("weak", true))
      const Strong = own("strong", noted("strong", false))
      const Twice = Consumer.permit(own("twice", noted("twice", true)), Permission.allow)
      const settings = Settings.layer({ permission: noted("default", true) })
      const live = Layer.mergeAll(
        SilentLive,
        Consumer.handlers(Weak).pipe(Handlers.handle("ping", pong), Handlers.toLayer),
        Consumer.handlers(Strong).pipe(Handlers.handle("ping", pong), Handlers.toLayer),
        Consumer.handlers(Twice).pipe(Handlers.handle("ping", pong), Handlers.toLayer)
      )
      const pipeline = yield* serve([Silent, Weak, Strong, Twice], live.pipe(Layer.provide(settings)))
      const statuses = yield* Effect.forEach(["weak", "strong", "twice", "silent"], (name) =>
        statusOf(pipeline, `/${name}/`))
      assert.deepStrictEqual(statuses, [200, 403, 200, 200])
      assert.deepStrictEqual(asked, ["weak ping", "strong ping", "twice ping", "default ping"])
    }))

  it.effect("leaves the handshake open", () =>
    Effect.gen(function*() {
      const pipeline = yield* serve([Silent], SilentLive.pipe(Layer.provide(Guarding)))
      const client = yield* open(pipeline, "/silent/")
      for (let i = 0; i < 2; i++) assert.strictEqual((yield* client.ask({ action: "ping" })).status, 403)
      assert.isUndefined(client.fiber.pollUnsafe())
      // The credentials are asked for all the same.
      const refused = yield* Effect.flip(open(pipeline, "/silent/?user=invalid"))
      assert.strictEqual(refused.status, 401)
    }))

  it.effect("brings what it needs", () =>
    Effect.gen(function*() {
      class Maintenance extends Context.Service<Maintenance, { readonly isOver: Effect.Effect<boolean> }>()(
        "test/Maintenance"
      ) {}
      let isOver = false
      const settings = Settings.layer({
        permission: Permission.connection("isOver", Maintenance.use(({ isOver }) => isOver))
      }).pipe(Layer.provide(Layer.succeed(Maintenance, { isOver: Effect.sync(() => isOver) })))
      const pipeline = yield* serve([Silent], SilentLive.pipe(Layer.provide(settings)))
      assert.strictEqual(yield* statusOf(pipeline, "/silent/"), 403)
      isOver = true
      assert.strictEqual(yield* statusOf(pipeline, "/silent/"), 200)
    }))

  it.effect("goes by the identity that the consumer finds out itself, where it does", () =>
    Effect.gen(function*() {
      const Who = Consumer.make("who", { path: "/who/" }).pipe(
        Consumer.add(Action.make("who", { success: Schema.String }))
      )
      const live = Consumer.handlers(Who).pipe(
        Handlers.handle("who", () => CurrentUser.use((user) => user)),
        Handlers.toLayer,
        Layer.provide(CurrentUser.layer(() => Effect.succeed(Authentication.authenticated("somebody"))))
      )
      const pipeline = yield* serve([Silent, Who], Layer.merge(SilentLive, live).pipe(Layer.provide(Guarding)))
      assert.strictEqual((yield* ask(pipeline, "/who/", { action: "who" })).data, "somebody")
      assert.strictEqual(yield* statusOf(pipeline, "/silent/"), 403)
    }))

  it.effect("is for the handlers that it is provided to, and no others", () =>
    Effect.gen(function*() {
      const Other = Consumer.make("other", { path: "/other/" }).pipe(Consumer.add(ping))
      const live = Consumer.handlers(Other).pipe(Handlers.handle("ping", pong), Handlers.toLayer)
      const pipeline = yield* serve([Silent, Other], Layer.merge(SilentLive.pipe(Layer.provide(Guarding)), live))
      assert.strictEqual(yield* statusOf(pipeline, "/silent/"), 403)
      assert.strictEqual(yield* statusOf(pipeline, "/other/"), 200)
    }))

  it.effect("that can only be decided later is found when the server starts", () =>
    Effect.gen(function*() {
      // What the types do not let through.
      const permissions = [
        Permission.delivery<string>()("isPublic", () => true),
        Permission.object<string>()("isOwner", () => true)
      ] as ReadonlyArray<Permission.Any> as ReadonlyArray<Permission.Permission>
      for (const [i, message] of ["can only be decided in the delivery phase", "looks at an object"].entries()) {
        const settings = Settings.layer({ permission: permissions[i] })
        const error = yield* Effect.flip(serve([Silent], SilentLive.pipe(Layer.provide(settings))))
        assert.strictEqual(error._tag, "DefinitionError")
        assert.include(error.message, message)
      }
    }))
})

describe("formatError", () => {
  const formatted = Settings.layer({
    formatError: (failure) => Reply.formatError(failure).map(({ detail }) => `${failure.status} ${detail}`)
  })

  it.effect("makes the errors of replies and of refused handshakes", () =>
    Effect.gen(function*() {
      const Guarded = Consumer.make("guarded", { path: "/guarded/" }).pipe(
        Consumer.permitConnect(Permission.connection("no", Effect.succeed(false), { reason: "Not you" })),
        Consumer.add(ping)
      )
      const live = Consumer.handlers(Guarded).pipe(Handlers.handle("ping", pong), Handlers.toLayer)
      const pipeline = yield* serve([Silent, Guarded], Layer.merge(SilentLive, live).pipe(Layer.provide(formatted)))
      const reply = yield* ask(pipeline, "/silent/", { action: "nope" })
      assert.deepStrictEqual(reply.errors, ["405 There is no action \"nope\" here"])
      const refused = yield* Effect.flip(open(pipeline, "/guarded/"))
      assert.strictEqual(refused.status, 403)
      assert.deepStrictEqual(JSON.parse(refused.body).errors, ["403 Not you"])
    }))
})

describe("layers within layers", () => {
  it.effect("keep what they leave out", () =>
    Effect.gen(function*() {
      const outer = Settings.layer({ pageSize: 5, maxPageSize: 50, expiryGrace: "1 minute" })
      const inner = Settings.layer({ pageSize: 7, redecisionTimeout: "3 seconds" })
      const both = { pageSize: 7, maxPageSize: 50, expiryGrace: 60_000, redecisionTimeout: 3000 }
      assert.deepStrictEqual(yield* told(inner.pipe(Layer.provide(outer))), both)
      assert.deepStrictEqual(yield* told(outer), { ...defaults, pageSize: 5, maxPageSize: 50, expiryGrace: 60_000 })
      assert.deepStrictEqual(yield* told(Settings.layer({}).pipe(Layer.provide(inner))), {
        ...defaults,
        pageSize: 7,
        redecisionTimeout: 3000
      })
    }))

  it.effect("keep the permission with what it needs, and replace it with what the new one needs", () =>
    Effect.gen(function*() {
      const kept = Settings.layer({ pageSize: 7 }).pipe(Layer.provide(Guarding))
      const pipeline = yield* serve([Silent], SilentLive.pipe(Layer.provide(kept)))
      assert.strictEqual(yield* statusOf(pipeline, "/silent/"), 403)
      assert.strictEqual(yield* statusOf(pipeline, "/silent/?user=alice"), 200)
      const replaced = Settings.layer({ permission: Permission.allow }).pipe(Layer.provide(Guarding))
      assert.strictEqual(
        yield* statusOf(yield* serve([Silent], SilentLive.pipe(Layer.provide(replaced))), "/silent/"),
        200
      )
      class CurrentDevice extends Authentication.Service<CurrentDevice, string>()("test/CurrentDevice") {}
      const device = Settings.layer({ permission: Permission.isAuthenticated(CurrentDevice) }).pipe(
        Layer.provide(CurrentDevice.layer(({ query }) =>
          query.device === undefined
            ? Effect.fail(new ChannelError.InvalidCredentials())
            : Effect.succeed(Authentication.authenticated(String(query.device)))
        )),
        Layer.provide(Guarding)
      )
      const other = yield* serve([Silent], SilentLive.pipe(Layer.provide(device)))
      assert.strictEqual(yield* statusOf(other, "/silent/?device=1"), 200)
      assert.strictEqual((yield* Effect.flip(open(other, "/silent/?user=alice"))).status, 401)
      // The authenticator of the permission that was replaced is not asked any more.
      assert.strictEqual(yield* statusOf(other, "/silent/?device=1&user=invalid"), 200)
    }))
})

describe("a setting that is wrong", () => {
  const pages = (pageSize: number, maxPageSize: number) =>
    `the settings pageSize (${pageSize}) and maxPageSize (${maxPageSize}) must be whole numbers from 1, the second not less`
  const grace = "the setting expiryGrace must be a duration"
  const timeout = "the setting redecisionTimeout must be a duration longer than nothing"
  type Wrong = Parameters<typeof Settings.layer<never, never>>[0]
  const wrong: ReadonlyArray<readonly [settings: Wrong, problem: string]> = [
    [{ pageSize: 0 }, pages(0, 100)],
    [{ pageSize: -1 }, pages(-1, 100)],
    [{ pageSize: 1.5 }, pages(1.5, 100)],
    [{ pageSize: NaN }, pages(NaN, 100)],
    [{ pageSize: Infinity, maxPageSize: Infinity }, pages(Infinity, Infinity)],
    [{ pageSize: "10" as never }, pages("10" as never, 100)],
    [{ pageSize: 101 }, pages(101, 100)],
    [{ maxPageSize: 19 }, pages(20, 19)],
    [{ maxPageSize: 20.5 }, pages(20, 20.5)],
    [{ maxPageSize: NaN }, pages(20, NaN)],
    [{ expiryGrace: "soon" as never }, grace],
    [{ expiryGrace: null as never }, grace],
    [{ redecisionTimeout: 0 }, timeout],
    [{ redecisionTimeout: "0 seconds" }, timeout],
    [{ redecisionTimeout: -5 }, timeout],
    [{ redecisionTimeout: NaN }, timeout],
    [{ redecisionTimeout: "later" as never }, timeout]
  ]

  const problemsOf = (settings: Wrong) =>
    serve([Silent], SilentLive.pipe(Layer.provide(Settings.layer(settings)))).pipe(
      Effect.flip,
      Effect.map((error) => {
        assert.strictEqual(error._tag, "DefinitionError")
        assert.strictEqual(error.consumer, "silent")
        return error.problems
      })
    )

  it.effect("is found when the server starts", () =>
    Effect.gen(function*() {
      for (const [settings, problem] of wrong) assert.deepStrictEqual(yield* problemsOf(settings), [problem])
      assert.deepStrictEqual(yield* problemsOf({ pageSize: 0, expiryGrace: "soon" as never, redecisionTimeout: 0 }), [
        grace,
        timeout,
        pages(0, 100)
      ])
    }))

  it.effect("is none at its bounds", () =>
    Effect.gen(function*() {
      for (
        const settings of [
          { pageSize: 1, maxPageSize: 1 },
          { expiryGrace: 0, redecisionTimeout: 1 },
          { expiryGrace: "Infinity", redecisionTimeout: "Infinity" }
        ] as const
      ) {
        const live = SilentLive.pipe(Layer.provide(Settings.layer(settings)))
        assert.strictEqual(yield* statusOf(yield* serve([Silent], live), "/silent/"), 200)
      }
    }))
})
