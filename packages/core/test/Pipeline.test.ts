import {
  Action,
  Authentication,
  ChannelError,
  ConnectionScope,
  Consumer,
  Handlers,
  Permission,
  Pipeline,
  Reply,
  Route,
  Settings,
  Transport
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { open, serve, settle, soon, withLogs } from "./support/connection.ts"
import {
  AuthenticationLive,
  Conflict,
  CurrentUser,
  makeSleeper,
  NotThere,
  Odd,
  sleepFor,
  Undeclared
} from "./support/consumers.ts"

const ping = Action.make("ping", { success: Schema.String })

/** A server of one consumer that pings, and is guarded when one connects. */
const guardedBy = <E, R>(permission: Permission.Permission<{}, E, R>) =>
  Consumer.make("guarded", { path: "/ws/" }).pipe(Consumer.permitConnect(permission), Consumer.add(ping))

const pong = () => Effect.succeed("pong")

const servePing = <E>(permission: Permission.Permission<{}, E, ConnectionScope.ConnectionScope | CurrentUser>) => {
  const Guarded = guardedBy(permission)
  return serve(
    [Guarded],
    Consumer.handlers(Guarded).pipe(Handlers.handle("ping", pong), Handlers.toLayer, Layer.provide(AuthenticationLive))
  )
}

const connecting = (pipeline: Pipeline.Pipeline, url = "/ws/", id = "1") => pipeline.connect({ id, url })

/** The refusal of a handshake, with its body read. */
const refusalOf = (pipeline: Pipeline.Pipeline, url = "/ws/") =>
  Effect.map(Effect.flip(connecting(pipeline, url)), ({ body, status }) => ({ status, body: JSON.parse(body) }))

const refusal = (status: number, detail: string, code: string) => ({
  status,
  body: { errors: [{ detail, code }], data: null, action: null, route: "", status }
})

const isAuthenticated = Permission.isAuthenticated(CurrentUser)

describe("a handshake", () => {
  it.effect("is let in when it is anonymous and nothing forbids it", () =>
    Effect.gen(function*() {
      const client = yield* open(yield* servePing(Permission.allow))
      assert.strictEqual((yield* client.ask({ action: "ping" })).data, "pong")
    }))

  it.effect("is refused with 404 where no consumer is", () =>
    Effect.gen(function*() {
      const Rooms = Consumer.make("rooms", { path: "/rooms/:room/", params: { room: Schema.Literals(["a", "b c"]) } })
        .pipe(Consumer.add(Action.make("where", { success: Schema.Unknown })))
      const pipeline = yield* serve(
        [Rooms],
        Consumer.handlers(Rooms).pipe(
          Handlers.handle("where", ({ params }) => Effect.succeed(params)),
          Handlers.toLayer
        )
      )
      for (const url of ["", "/", "/rooms/", "/rooms/c/", "/rooms/a", "/rooms/a/b/", "/Rooms/a/", "rooms/a/", "//"]) {
        assert.deepStrictEqual(
          yield* refusalOf(pipeline, url),
          refusal(404, "There is nothing here", "not_found"),
          url
        )
      }
      assert.isTrue(pipeline.has("/rooms/c/"))
      for (const url of ["/rooms/a/", "/rooms/a/?x=/", "/rooms/b%20c/"]) {
        assert.isTrue(pipeline.has(url))
        const client = yield* open(pipeline, url)
        const room = url.includes("a") ? "a" : "b c"
        assert.deepStrictEqual((yield* client.ask({ action: "where" })).data, { room })
        assert.deepStrictEqual(client.session.scope.params, { room })
      }
      assert.isFalse(pipeline.has("/rooms/a"))
    }))

  it.effect("is refused with 401 by wrong credentials, with 503 when they cannot be checked", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const pipeline = yield* servePing(Permission.allow)
        assert.deepStrictEqual(
          yield* refusalOf(pipeline, "/ws/?user=invalid"),
          refusal(401, "The credentials are not valid", "authentication_failed")
        )
        assert.deepStrictEqual(
          yield* refusalOf(pipeline, "/ws/?user=later"),
          refusal(503, "The directory does not answer", "unavailable")
        )
        assert.deepStrictEqual(logs, [])
      })
    ))

  it.effect("is refused with 500 when its authentication breaks, and what broke is logged", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const pipeline = yield* servePing(Permission.allow)
        assert.deepStrictEqual(
          yield* refusalOf(pipeline, "/ws/?user=broken"),
          refusal(500, "Internal server error", "error")
        )
        assert.strictEqual(logs.length, 1)
        assert.strictEqual(logs[0]!.level, "Error")
        assert.include(logs[0]!.message, "guarded")
        assert.include(logs[0]!.cause, "secret of the authenticator")
      })
    ))

  it.effect("is refused with 500 when its authentication interrupts itself", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const pipeline = yield* servePing(Permission.allow)
        const exit = yield* Effect.exit(refusalOf(pipeline, "/ws/?user=interrupted"))
        assert.deepStrictEqual(exit, Exit.succeed(refusal(500, "Internal server error", "error")))
        assert.strictEqual(logs.length, 1)
      })
    ))

  it.effect("is refused with 403 by the connect permission, in the words of who denied", () =>
    Effect.gen(function*() {
      const denied = (options?: Permission.CheckOptions) =>
        Effect.flatMap(
          servePing(Permission.connection("never", Effect.succeed(false), options)),
          (pipeline) => refusalOf(pipeline)
        )
      const general = refusal(403, "You do not have permission to perform this action", "permission_denied")
      assert.deepStrictEqual(yield* denied(), general)
      assert.deepStrictEqual(
        yield* denied({ reason: "We are closed" }),
        refusal(403, "We are closed", "permission_denied")
      )
      assert.deepStrictEqual(
        yield* denied({ reason: "We are closed", code: "closed" }),
        refusal(403, "We are closed", "closed")
      )
      assert.deepStrictEqual(yield* denied({ reason: "We are closed", code: "closed", private: true }), general)
      assert.deepStrictEqual(yield* refusalOf(yield* servePing(Permission.deny)), general)
    }))

  it.effect("is refused with 403 when it is anonymous and may not be", () =>
    Effect.gen(function*() {
      const anonymous = refusal(403, "Authentication credentials were not provided", "not_authenticated")
      const pipeline = yield* servePing(isAuthenticated)
      assert.deepStrictEqual(yield* refusalOf(pipeline), anonymous)
      yield* connecting(pipeline, "/ws/?user=alice")
      const used = yield* servePing(Permission.connection("isAlice", CurrentUser.use((user) => user === "alice")))
      assert.deepStrictEqual(yield* refusalOf(used), anonymous)
      yield* connecting(used, "/ws/?user=alice")
      assert.strictEqual((yield* refusalOf(used, "/ws/?user=bob")).status, 403)
    }))

  it.effect("has the status of the error that a check fails with", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const since = new Date(0)
        const pipeline = yield* servePing(Permission.connection("conflict", Effect.fail(new Conflict({ since }))))
        assert.deepStrictEqual(yield* refusalOf(pipeline), {
          status: 409,
          body: {
            errors: [{
              detail: "Conflict",
              code: "Conflict",
              error: { _tag: "Conflict", since: "1970-01-01T00:00:00.000Z" }
            }],
            data: null,
            action: null,
            route: "",
            status: 409
          }
        })
        const negated = yield* servePing(
          Permission.not(Permission.connection("conflict", Effect.fail(new Conflict({ since }))))
        )
        assert.strictEqual((yield* refusalOf(negated)).status, 409)
        assert.deepStrictEqual(logs, [])
      })
    ))

  it.effect("is refused with 500 when a check breaks", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const broken = [
          Permission.connection("dies", Effect.die(new Error("secret of the check"))),
          Permission.connection("throws", () => {
            throw new Error("secret of the check")
          }),
          Permission.connection("fails", Effect.fail(new Undeclared({ secret: "secret of the check" })))
        ]
        for (const [i, permission] of broken.entries()) {
          const pipeline = yield* servePing(permission)
          assert.deepStrictEqual(yield* refusalOf(pipeline), refusal(500, "Internal server error", "error"))
          assert.strictEqual(logs.length, i + 1)
          assert.include(logs[i]!.cause, i < 2 ? "secret of the check" : "Undeclared")
        }
        const interrupted = yield* servePing(Permission.connection("interrupted", Effect.interrupt))
        assert.deepStrictEqual(
          yield* Effect.exit(refusalOf(interrupted)),
          Exit.succeed(refusal(500, "Internal server error", "error"))
        )
      })
    ))

  it.effect("asks for the path first, then for the identity, then for the permission", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const Guarded = guardedBy(Permission.connection("asked", () => {
        asked.push("permission")
        return true
      }))
      const pipeline = yield* serve(
        [Guarded],
        Consumer.handlers(Guarded).pipe(
          Handlers.handle("ping", pong),
          Handlers.toLayer,
          Layer.provide(CurrentUser.layer(({ query }) => {
            asked.push("identity")
            return query.user === undefined
              ? Effect.fail(new ChannelError.InvalidCredentials())
              : Effect.succeed(Authentication.anonymous)
          }))
        )
      )
      assert.strictEqual((yield* refusalOf(pipeline, "/other/?user=x")).status, 404)
      assert.deepStrictEqual(asked, [])
      assert.strictEqual((yield* refusalOf(pipeline)).status, 401)
      assert.deepStrictEqual(asked, ["identity"])
      yield* connecting(pipeline, "/ws/?user=x")
      assert.deepStrictEqual(asked, ["identity", "identity", "permission"])
    }))

  it.effect("leaves nothing behind when it is refused, abandoned or given up", () =>
    Effect.gen(function*() {
      const acquired: Array<string> = []
      const acquire = (what: string) =>
        Effect.acquireRelease(
          Effect.sync(() => acquired.push(what)),
          () => Effect.sync(() => acquired.splice(acquired.indexOf(what), 1))
        )
      const Guarded = guardedBy(Permission.connection("byQuery", ({ query }) => {
        switch (query.check) {
          case "denied":
            return false
          case "broken":
            return Effect.die(new Error("broken"))
          case "never":
            return Effect.never
          default:
            return true
        }
      }))
      const pipeline = yield* serve(
        [Guarded],
        Consumer.handlers(Guarded).pipe(
          Handlers.handle("ping", pong),
          Handlers.toLayer,
          Layer.provide(CurrentUser.layer(({ query }) =>
            Effect.andThen(
              acquire("session"),
              query.user === "invalid"
                ? Effect.fail(new ChannelError.InvalidCredentials())
                : Effect.succeed(Authentication.anonymous)
            )
          ))
        )
      )
      const session = yield* connecting(pipeline, "/ws/")
      assert.deepStrictEqual(acquired, ["session"])
      yield* session.abandon
      assert.deepStrictEqual(acquired, [])
      for (const query of ["user=invalid", "check=denied", "check=broken"]) {
        yield* withLogs(() => refusalOf(pipeline, `/ws/?${query}`))
        assert.deepStrictEqual(acquired, [], query)
      }
      const waiting = yield* Effect.forkChild(connecting(pipeline, "/ws/?check=never"), { startImmediately: true })
      assert.deepStrictEqual(acquired, ["session"])
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(acquired, [])
    }))

  it.effect("is refused in the shape that the application gives its errors", () =>
    Effect.gen(function*() {
      const Guarded = guardedBy(Permission.deny)
      const pipeline = yield* serve(
        [Guarded],
        Consumer.handlers(Guarded).pipe(
          Handlers.handle("ping", pong),
          Handlers.toLayer,
          Layer.provide(Settings.layer({ formatError: (failure) => [`${failure._tag} ${failure.status}`] }))
        )
      )
      assert.deepStrictEqual((yield* refusalOf(pipeline)).body.errors, ["Refused 403"])
    }))

  it.effect("is refused in the usual shape when the application's own breaks", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const Guarded = guardedBy(Permission.deny)
        const broken = [
          () => {
            throw new Error("secret of the formatter")
          },
          () => [1n],
          () => undefined as never
        ]
        for (const format of broken) {
          const pipeline = yield* serve(
            [Guarded],
            Consumer.handlers(Guarded).pipe(
              Handlers.handle("ping", pong),
              Handlers.toLayer,
              Layer.provide(Settings.layer({ formatError: format }))
            )
          )
          assert.deepStrictEqual(
            yield* Effect.exit(refusalOf(pipeline)),
            Exit.succeed(refusal(403, "You do not have permission to perform this action", "permission_denied"))
          )
        }
        assert.include(logs.map(({ cause }) => cause).join(), "secret of the formatter")
      })
    ))

  it.effect("can be refused by an adapter in the same words", () =>
    Effect.sync(() => {
      const { body, status } = Pipeline.refuse(new ChannelError.Unavailable({ message: "Come again" }))
      assert.deepStrictEqual({ status, body: JSON.parse(body) }, refusal(503, "Come again", "unavailable"))
    }))

  it.effect("can be refused by an adapter until a time that is known", () =>
    Effect.sync(() => {
      const { body, retryAfter } = Pipeline.refuse(
        new ChannelError.Unavailable({ message: "Come again" }),
        { retryAfter: 2.5 }
      )
      assert.strictEqual(retryAfter, 2.5)
      assert.deepStrictEqual(JSON.parse(body).errors, [{ detail: "Come again", code: "unavailable", retry_after: 2.5 }])
      const never = Pipeline.refuse(new ChannelError.Unavailable({ message: "Come again" }))
      assert.isFalse("retryAfter" in never)
      const throttled = Pipeline.refuse(new ChannelError.Throttled({ retryAfter: 0 }))
      assert.deepStrictEqual([throttled.retryAfter, JSON.parse(throttled.body).errors[0].retry_after], [0, 0])
    }))

  it.effect("is refused with a close code and a reason for who asks to be told", () =>
    Effect.sync(() => {
      const refused = (status: number, body: string) => {
        const { closeCode, reason } = new Pipeline.HandshakeRefused({ status, body })
        return [closeCode, reason]
      }
      const saying = (detail: unknown) => JSON.stringify({ errors: [{ detail }] })
      assert.deepStrictEqual(refused(401, saying("no")), [4401, "no"])
      assert.deepStrictEqual(refused(999, saying("a" + "😀".repeat(31))), [4999, "a" + "😀".repeat(30)])
      assert.deepStrictEqual(refused(403, saying("€".repeat(41))), [4403, "€".repeat(41)])
      assert.deepStrictEqual(refused(403, saying("a".repeat(1_000_000))), [4403, "a".repeat(123)])
      // What an application may have of its own.
      assert.deepStrictEqual(refused(1000, saying(1)), [4500, ""])
      assert.deepStrictEqual(refused(-1, saying(undefined)), [4500, ""])
      for (const body of ["", "{}", "null", "{\"errors\":[]}", "{\"errors\":[null]}", "{\"errors\":[\"no\"]}"]) {
        assert.deepStrictEqual(refused(403, body), [4403, ""], body)
      }
    }))
})

describe("a server", () => {
  const at = <const Name extends string, const Path extends string>(name: Name, path: Path) => {
    const Named = Consumer.make(name, { path }).pipe(Consumer.add(Action.make("name", { success: Schema.String })))
    const layer = Consumer.handlers(Named).pipe(Handlers.handle("name", () => Effect.succeed(name)), Handlers.toLayer)
    return [Named, layer] as const
  }

  it.effect("has consumers by their paths", () =>
    Effect.gen(function*() {
      const [A, aLive] = at("a", "/ws/a/")
      const [B, bLive] = at("b", "/ws/:b/")
      const [C, cLive] = at("c", "/ws/a/:c/")
      const pipeline = yield* serve([A, B, C], Layer.mergeAll(aLive, bLive, cLive))
      for (const [url, name] of [["/ws/a/", "a"], ["/ws/b/", "b"], ["/ws/a/x/", "c"], ["/ws/a/a/?b", "c"]] as const) {
        const client = yield* open(pipeline, url)
        assert.strictEqual((yield* client.ask({ action: "name" })).data, name)
        assert.strictEqual(client.session.consumer.name, name)
      }
      assert.isFalse(pipeline.has("/ws/"))
    }))

  it.effect("refuses consumers that can have the same path or have the same name", () =>
    Effect.gen(function*() {
      const [A, aLive] = at("a", "/ws/:a/")
      const [B, bLive] = at("b", "/ws/:b/")
      const [C, cLive] = at("c", "/:c/x/")
      const [Other] = at("a", "/other/")
      const problem = (effect: Effect.Effect<unknown, Handlers.DefinitionError, never>) =>
        Effect.map(Effect.flip(effect), ({ message }) => message)
      const live = Layer.mergeAll(aLive, bLive, cLive)
      const made = <const Consumers extends ReadonlyArray<Consumer.Any>>(consumers: Consumers) =>
        problem(Effect.scoped(serve(consumers, live as Layer.Layer<Handlers.Live<Consumers[number]["name"]>, never>)))
      assert.strictEqual(
        yield* made([A, B]),
        "The consumer \"b\" cannot be served:\n" +
          "- its path \"/ws/:b/\" and the path \"/ws/:a/\" of the consumer \"a\" can match the same URL"
      )
      assert.strictEqual(
        yield* made([A, C]),
        "The consumer \"c\" cannot be served:\n" +
          "- its path \"/:c/x/\" and the path \"/ws/:a/\" of the consumer \"a\" can match the same URL"
      )
      for (const consumers of [[A, Other], [A, A]]) {
        assert.strictEqual(
          yield* made(consumers),
          "The consumer \"a\" cannot be served:\n- another consumer of this server has the same name"
        )
      }
    }))
})

describe("a connection", () => {
  const Acquirer = Consumer.make("acquirer", { path: "/ws/" }).pipe(
    Consumer.add(
      Action.make("acquire", { payload: Schema.String }),
      Action.make("scoped", { payload: Schema.String }),
      Action.make("hold", { payload: Schema.String, concurrency: "unbounded" }),
      Action.make("die")
    )
  )

  const serveAcquirer = Effect.gen(function*() {
    const events: Array<string> = []
    const acquire = (what: string) =>
      Effect.acquireRelease(
        Effect.sync(() => events.push(`+${what}`)),
        () => Effect.sync(() => events.push(`-${what}`))
      )
    const pipeline = yield* serve(
      [Acquirer],
      Consumer.handlers(Acquirer).pipe(
        Handlers.handle("acquire", ({ payload }) => acquire(payload)),
        Handlers.handle("scoped", ({ payload }) => Effect.scoped(acquire(payload))),
        Handlers.handle("hold", ({ payload }) => Effect.scoped(Effect.andThen(acquire(payload), Effect.never))),
        Handlers.handle("die", () => Effect.andThen(acquire("before dying"), Effect.die("dead"))),
        Handlers.toLayer,
        Layer.provide(CurrentUser.layer(() => Effect.as(acquire("identity"), Authentication.anonymous)))
      )
    )
    return { events, pipeline }
  })

  const ways: ReadonlyArray<readonly [string, (_: Effect.Success<ReturnType<typeof open>>) => Effect.Effect<unknown>]> =
    [
      ["the client closes", ({ peer }) => peer.close(1000)],
      ["the client vanishes", ({ peer }) => peer.close(1006)],
      ["its run is interrupted", ({ fiber }) => Fiber.interrupt(fiber)],
      [
        "the server stops",
        ({ session }) => Effect.andThen(Effect.forkChild(session.drain(1000)), TestClock.adjust(1000))
      ]
    ]

  for (const [way, end] of ways) {
    it.effect(`is one scope: all it acquired is released when ${way}`, () =>
      withLogs(() =>
        Effect.gen(function*() {
          const { events, pipeline } = yield* serveAcquirer
          const client = yield* open(pipeline)
          assert.strictEqual((yield* client.ask({ action: "acquire", data: "a" })).status, 200)
          assert.strictEqual((yield* client.ask({ action: "scoped", data: "b" })).status, 200)
          assert.strictEqual((yield* client.ask({ action: "die" })).status, 500)
          yield* client.send({ action: "hold", data: "c" }, { action: "hold", data: "d" })
          yield* settle
          const before = ["+identity", "+a", "+b", "-b", "+before dying", "+c", "+d"]
          assert.deepStrictEqual(events, before)
          yield* end(client)
          yield* settle
          assert.notStrictEqual(client.fiber.pollUnsafe(), undefined)
          const after = events.slice(before.length)
          // Handlers end before what they may use is released, the last acquired first.
          assert.deepStrictEqual(after.slice(0, 2).sort(), ["-c", "-d"])
          assert.deepStrictEqual(after.slice(2), ["-before dying", "-a", "-identity"])
        })
      ))
  }

  it.effect("is one scope: all it acquired is released when its transport breaks", () =>
    Effect.gen(function*() {
      const { events, pipeline } = yield* serveAcquirer
      const [transport] = yield* Transport.makeMemory
      const session = yield* connecting(pipeline)
      const exit = yield* Effect.exit(session.run({ ...transport, run: () => Effect.die("broken") }))
      assert.deepStrictEqual(exit, Exit.die("broken"))
      assert.deepStrictEqual(events, ["+identity", "-identity"])
    }))

  it.effect("tells how it ended", () =>
    Effect.gen(function*() {
      const { pipeline } = yield* serveAcquirer
      const client = yield* open(pipeline)
      yield* client.peer.close(4001, "bye")
      assert.deepStrictEqual(yield* Fiber.join(client.fiber), { code: 4001, reason: "bye" })
    }))

  it.effect("has what its handshake said, in every handler", () =>
    Effect.gen(function*() {
      const Rooms = Consumer.make("rooms", { path: "/rooms/:room/" }).pipe(
        Consumer.add(Action.make("scope", { success: Schema.Unknown }))
      )
      const pipeline = yield* serve(
        [Rooms],
        Consumer.handlers(Rooms).pipe(
          Handlers.handle("scope", () =>
            ConnectionScope.ConnectionScope.useSync((
              { cookies, headers, id, params, path, query, remoteAddress, subprotocols }
            ) => ({ cookies, headers, id, params, path, query, remoteAddress, subprotocols }))),
          Handlers.toLayer
        )
      )
      const session = yield* pipeline.connect({
        id: "x1",
        url: "/rooms/a%2Fb/?q=1&q=2",
        remoteAddress: "::1",
        headers: { cookie: "a=1; b=%20", "sec-websocket-protocol": "v2, v1" }
      })
      const [transport, peer] = yield* Transport.makeMemory
      yield* Effect.forkScoped(session.run(transport))
      yield* peer.send("{\"action\":\"scope\"}")
      assert.deepStrictEqual(JSON.parse(yield* peer.take).data, {
        cookies: { a: "1", b: " " },
        headers: { cookie: "a=1; b=%20", "sec-websocket-protocol": "v2, v1" },
        id: "x1",
        params: { room: "a/b" },
        path: "/rooms/a%2Fb/",
        query: { q: ["1", "2"] },
        remoteAddress: "::1",
        subprotocols: ["v2", "v1"]
      })
    }))

  it.effect("never sees another's identity, parameters or query: 100 at once", () =>
    Effect.gen(function*() {
      const isSelf = Permission.action(
        "isSelf",
        ({ params, query }) =>
          Effect.andThen(
            Effect.sleep(Number(query.wait)),
            CurrentUser.use((user) => user === params.room && user === query.self)
          )
      )
      const Rooms = Consumer.make("rooms", { path: "/rooms/:room/", concurrency: "unbounded" }).pipe(
        Consumer.permit(isSelf),
        Consumer.add(Action.make("me", { payload: Schema.Number, success: Schema.Unknown }))
      )
      const pipeline = yield* serve(
        [Rooms],
        Consumer.handlers(Rooms).pipe(
          Handlers.handle("me", ({ params, payload, query }) =>
            Effect.gen(function*() {
              const before = yield* CurrentUser
              yield* Effect.sleep(payload)
              const after = yield* CurrentUser
              const { id } = yield* ConnectionScope.ConnectionScope
              return [before, after, id, params.room, query.self]
            })),
          Handlers.toLayer,
          Layer.provide(AuthenticationLive)
        )
      )
      const users = Array.from({ length: 100 }, (_, i) => `user${i}`)
      const clients = yield* Effect.forEach(
        users,
        (user) => open(pipeline, `/rooms/${user}/?user=${user}`, user),
        { concurrency: "unbounded" }
      )
      for (let round = 0; round < 3; round++) {
        for (const [i, client] of clients.entries()) {
          yield* client.send({
            action: "me",
            route: `?self=${users[i]}&wait=${(i * 7 + round) % 11}`,
            data: (i * 13 + round) % 17,
            request_id: round
          })
        }
      }
      yield* TestClock.adjust("1 second")
      for (const [i, client] of clients.entries()) {
        const user = users[i]!
        for (const { data, status } of yield* client.take(3)) {
          assert.strictEqual(status, 200)
          assert.deepStrictEqual(data, [user, user, user, user, user])
        }
        yield* client.silent
      }
    }))

  it.effect("interrupts what runs for it at once when the client goes away, and starts nothing more", () =>
    Effect.gen(function*() {
      for (const concurrency of [1, 2, "unbounded"] as const) {
        const { consumers, layer, trace } = makeSleeper({ consumer: { concurrency } })
        const client = yield* open(yield* serve(consumers, layer))
        yield* client.send(sleepFor(1, 1000), sleepFor(2, 1000), sleepFor(3, 1000))
        yield* settle
        const running = concurrency === "unbounded" ? 3 : concurrency
        const ids = [1, 2, 3].slice(0, running)
        assert.deepStrictEqual(trace, ids.map((id) => `start ${id}`))
        yield* client.peer.close()
        yield* Fiber.join(client.fiber)
        assert.deepStrictEqual(trace.slice(running).sort(), ids.map((id) => `stop ${id}`))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(trace.length, 2 * running)
        assert.deepStrictEqual(yield* Effect.flip(client.peer.take), { code: 1000, reason: "" })
      }
    }))

  it.effect("interrupts what runs for it when its run is interrupted", () =>
    Effect.gen(function*() {
      const { consumers, layer, trace } = makeSleeper({ consumer: { concurrency: 2 } })
      const client = yield* open(yield* serve(consumers, layer))
      yield* client.send(sleepFor(1, 1000), sleepFor(2, 1000), sleepFor(3, 1000))
      yield* settle
      yield* Fiber.interrupt(client.fiber)
      assert.deepStrictEqual(trace.slice(2).sort(), ["stop 1", "stop 2"])
      assert.strictEqual((yield* client.peer.closed).code, 1006)
    }))
})

describe("failures", () => {
  const Failing = Consumer.make("failing", { path: "/ws/" }).pipe(
    Consumer.add(
      ping,
      Action.make("fail", {
        payload: Schema.String,
        success: Schema.Int,
        error: [NotThere, Conflict, Odd]
      }),
      Action.make("union", { error: Schema.Union([NotThere, Conflict]) }),
      Action.make("annotated", { error: Schema.Union([Odd, Conflict]).annotate({ httpApiStatus: 422 }) }),
      Action.make("nothing"),
      Action.make("find", { success: Schema.String, error: NotThere }).pipe(Action.object(Schema.String))
    )
  )

  /** A server of which `fail` does what this says. */
  const serveFailing = (
    fail: (payload: string) => Effect.Effect<unknown, unknown>,
    format: (failure: Reply.Failure) => ReadonlyArray<unknown> = Reply.formatError
  ) =>
    serve(
      [Failing],
      Consumer.handlers(Failing).pipe(
        Handlers.handle("ping", pong),
        Handlers.handle("fail", ({ payload }) => fail(payload) as Effect.Effect<number>),
        Handlers.handle("union", () => Effect.fail(new Conflict({ since: new Date(0) }))),
        Handlers.handle("annotated", ({ requestId }) =>
          Effect.fail(requestId === 1 ? new Odd({ message: "odd" }) : new Conflict({ since: new Date(0) }))),
        Handlers.handle("nothing", () =>
          undefined as never),
        Handlers.handle("find", {
          object: () =>
            fail("object") as Effect.Effect<string>,
          run: ({ object }) => Effect.succeed(object)
        }),
        Handlers.toLayer,
        Layer.provide(Settings.layer({ formatError: format }))
      )
    )

  const secret = new Error("secret of the handler")

  const defects: Record<string, () => Effect.Effect<unknown, unknown>> = {
    "dies": () => Effect.die(secret),
    "dies later": () => Effect.andThen(Effect.yieldNow, Effect.die(secret)),
    "throws": () => {
      throw secret
    },
    "throws later": () =>
      Effect.andThen(Effect.yieldNow, () => {
        throw secret
      }),
    "fails with an error that is not declared": () => Effect.fail(new Undeclared({ secret: secret.message })),
    "fails later with what is no error": () => Effect.andThen(Effect.yieldNow, Effect.fail(secret.message)),
    "fails with nothing": () => Effect.fail(undefined),
    "interrupts itself": () => Effect.interrupt,
    "interrupts itself later": () => Effect.andThen(Effect.yieldNow, Effect.interrupt),
    "fails with a declared error, and dies of it": () =>
      Effect.ensuring(Effect.fail(new NotThere({ id: 1 })), Effect.die(secret)),
    "fails with a declared error, and dies beside it": () =>
      Effect.failCause(Cause.combine(Cause.fail(new NotThere({ id: 1 })), Cause.die(secret))),
    "answers with what is no effect": () => secret.message as never,
    "answers with nothing": () => undefined as never,
    "answers with a promise": () => Promise.resolve(1) as never,
    "succeeds with what its schema does not encode": () => Effect.succeed(1.5),
    "succeeds later with what its schema does not encode": () => Effect.as(Effect.yieldNow, "secret"),
    "fails with a declared error that does not encode": () =>
      Effect.fail(Object.assign(new NotThere({ id: 1 }), { id: "secret" }))
  }

  for (const [what, fail] of Object.entries(defects)) {
    it.effect(`a handler that ${what} is answered with 500, and logged`, () =>
      withLogs((logs) =>
        Effect.gen(function*() {
          const client = yield* open(yield* serveFailing(fail), "/ws/", "c7")
          const text = yield* client.askText({ action: "fail", data: "x", request_id: 1 })
          assert.strictEqual(
            text,
            "{\"errors\":[{\"detail\":\"Internal server error\",\"code\":\"error\"}]," +
              "\"data\":null,\"action\":\"fail\",\"route\":\"\",\"status\":500,\"request_id\":1}"
          )
          yield* settle
          assert.strictEqual(logs.length, 1)
          const { annotations, cause, level, message } = logs[0]!
          assert.strictEqual(level, "Error")
          assert.strictEqual(message, "The action \"fail\" of \"failing\" broke")
          assert.isNotEmpty(cause)
          if (what.includes("die") || what.includes("throw")) assert.include(cause, secret.message)
          assert.deepInclude(annotations, { connection: "c7", consumer: "failing" })
          yield* client.silent
          assert.strictEqual((yield* client.ask({ action: "ping" })).data, "pong")
          if (!what.includes("succeeds")) {
            assert.strictEqual((yield* client.ask({ action: "find" })).status, 500)
          }
          assert.isUndefined(client.fiber.pollUnsafe())
        })
      ))
  }

  const declared = (status: number, error: object, action = "fail") => ({
    errors: [error],
    data: null,
    action,
    route: "",
    status
  })

  it.effect("that are declared have their status, and are told in full", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        for (const wait of [Effect.void, Effect.yieldNow]) {
          const client = yield* open(
            yield* serveFailing((which) =>
              Effect.andThen(
                wait,
                Effect.fail(
                  which === "odd"
                    ? new Odd({ message: "That is odd" })
                    : which === "conflict"
                    ? new Conflict({ since: new Date(0) })
                    : new NotThere({ id: 7 })
                )
              )
            )
          )
          assert.deepStrictEqual<unknown>(
            yield* client.ask({ action: "fail", data: "" }),
            declared(404, { detail: "NotThere", code: "NotThere", error: { _tag: "NotThere", id: 7 } })
          )
          assert.deepStrictEqual<unknown>(
            yield* client.ask({ action: "fail", data: "conflict" }),
            declared(409, {
              detail: "Conflict",
              code: "Conflict",
              error: { _tag: "Conflict", since: "1970-01-01T00:00:00.000Z" }
            })
          )
          assert.deepStrictEqual<unknown>(
            yield* client.ask({ action: "fail", data: "odd" }),
            declared(500, { detail: "That is odd", code: "Odd", error: { _tag: "Odd", message: "That is odd" } })
          )
          assert.deepStrictEqual<unknown>(
            yield* client.ask({ action: "find" }),
            declared(404, { detail: "NotThere", code: "NotThere", error: { _tag: "NotThere", id: 7 } }, "find")
          )
        }
        assert.deepStrictEqual(logs, [])
      })
    ))

  it.effect("that are declared as one union have the status of the member", () =>
    Effect.gen(function*() {
      const client = yield* open(yield* serveFailing(() => Effect.void))
      const { errors, status } = yield* client.ask({ action: "union" })
      assert.deepStrictEqual(errors, [
        { detail: "Conflict", code: "Conflict", error: { _tag: "Conflict", since: "1970-01-01T00:00:00.000Z" } }
      ])
      assert.strictEqual(status, 409)
    }))

  it.effect("that are declared as one union have the status of the union where the member has none", () =>
    Effect.gen(function*() {
      const client = yield* open(yield* serveFailing(() => Effect.void))
      assert.strictEqual((yield* client.ask({ action: "annotated", request_id: 1 })).status, 422)
      assert.strictEqual((yield* client.ask({ action: "annotated", request_id: 2 })).status, 409)
    }))

  it.effect("are told too where nothing was to be answered", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const client = yield* open(yield* serveFailing(() => Effect.void))
        assert.strictEqual((yield* client.ask({ action: "nothing" })).status, 500)
        yield* settle
        assert.strictEqual(logs.length, 1)
      })
    ))

  it.effect("of effect-channels' own have their status wherever they come from", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const own = [
          [new ChannelError.NotAuthenticated(), 403, "not_authenticated"],
          [new ChannelError.PermissionDenied({ message: "No", code: "no" }), 403, "no"],
          [new ChannelError.RouteNotFound({ message: "No" }), 404, "not_found"],
          [new ChannelError.Unavailable({ message: "No" }), 503, "unavailable"],
          [new ChannelError.InvalidPayload({ problems: [{ detail: "No", path: ["data"] }] }), 400, "invalid"]
        ] as const
        for (const [error, status, code] of own) {
          const client = yield* open(yield* serveFailing(() => Effect.fail(error)))
          for (const request of [{ action: "fail", data: "" }, { action: "find" }]) {
            const reply = yield* client.ask(request)
            assert.strictEqual(reply.status, status)
            assert.strictEqual((reply.errors as ReadonlyArray<{ readonly code: string }>)[0]!.code, code)
          }
        }
        assert.deepStrictEqual(logs, [])
      })
    ))

  it.effect("are told as the application formats them", () =>
    Effect.gen(function*() {
      const Formatted = Consumer.make("formatted", { path: "/ws/" }).pipe(
        Consumer.add(Action.make("fail", { payload: { n: Schema.Finite }, error: NotThere }))
      )
      const seen: Array<Reply.Failure> = []
      const client = yield* open(
        yield* serve(
          [Formatted],
          Consumer.handlers(Formatted).pipe(
            Handlers.handle("fail", ({ payload }) => Effect.fail(new NotThere({ id: payload.n }))),
            Handlers.toLayer,
            Layer.provide(Settings.layer({
              formatError: (failure) => {
                seen.push(failure)
                return [{ [failure._tag]: failure.status }]
              }
            }))
          )
        )
      )
      const ask = (request: unknown) =>
        Effect.map(client.ask(request), ({ errors, status }) => ({ errors: errors[0], status }))
      assert.deepStrictEqual(yield* ask("{"), { errors: { Refused: 400 }, status: 400 })
      assert.deepStrictEqual(yield* ask({ action: "fail" }), { errors: { Refused: 400 }, status: 400 })
      assert.deepStrictEqual(yield* ask({ action: "fail", data: { n: 3 } }), { errors: { Declared: 404 }, status: 404 })
      const failure = seen[2]!
      assert.deepInclude(failure, { encoded: { _tag: "NotThere", id: 3 } })
      assert.instanceOf(failure._tag === "Declared" ? failure.error : undefined, NotThere)
    }))

  it.effect("are told in the usual shape when the application's formatter breaks", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const formatters = [
          () => {
            throw new Error("secret of the formatter")
          },
          () => [1n] as never,
          () => undefined as never
        ]
        for (const format of formatters) {
          const client = yield* open(yield* serveFailing(() => Effect.fail(new NotThere({ id: 7 })), format))
          assert.deepStrictEqual<unknown>(
            yield* client.ask({ action: "fail", data: "" }),
            declared(404, { detail: "NotThere", code: "NotThere", error: { _tag: "NotThere", id: 7 } })
          )
          assert.strictEqual((yield* client.ask("{")).status, 400)
          assert.strictEqual((yield* client.ask({ action: "ping" })).data, "pong")
        }
        yield* settle
        assert.include(logs.map(({ cause }) => cause).join(), "secret of the formatter")
      })
    ))
})

describe("permissions of a connection", () => {
  /** A check with a count of how often it was asked, and a script of what it says. */
  const counted = (...answers: ReadonlyArray<Effect.Effect<boolean, Conflict>>) => {
    let count = 0
    const answer = Effect.suspend(() => answers[Math.min(count++, answers.length - 1)]!)
    return { answer, count: () => count }
  }

  const yes = Effect.succeed(true)
  const no = Effect.succeed(false)
  const fails = Effect.fail(new Conflict({ since: new Date(0) }))

  const serveTwo = <E>(
    permission: Permission.Permission<unknown, E>,
    connect: Permission.Permission = Permission.allow
  ) => {
    const Two = Consumer.make("two", { path: "/ws/", concurrency: "unbounded" }).pipe(
      Consumer.permitConnect(connect),
      Consumer.add(
        Action.make("a").pipe(Action.permit(permission)),
        Action.make("b").pipe(Action.permit(permission))
      )
    )
    return serve(
      [Two],
      Consumer.handlers(Two).pipe(
        Handlers.handle("a", () => Effect.void),
        Handlers.handle("b", () => Effect.void),
        Handlers.toLayer
      )
    )
  }

  it.effect("are asked once, whether they allow or deny, in whichever action", () =>
    Effect.gen(function*() {
      for (const wait of [Effect.void, Effect.yieldNow]) {
        for (const [answer, status] of [[yes, 200], [no, 403]] as const) {
          const check = counted(Effect.andThen(wait, answer))
          const pipeline = yield* serveTwo(Permission.connection("counted", check.answer))
          const client = yield* open(pipeline)
          assert.strictEqual(check.count(), 0)
          for (const action of ["a", "b", "a", "b"]) {
            assert.strictEqual((yield* client.ask({ action })).status, status)
          }
          assert.strictEqual(check.count(), 1)
          const other = yield* open(pipeline)
          assert.strictEqual((yield* other.ask({ action: "a" })).status, status)
          assert.strictEqual(check.count(), 2)
        }
      }
    }))

  it.effect("are asked once by messages that run at once", () =>
    Effect.gen(function*() {
      const check = counted(Effect.as(Effect.sleep(100), true))
      const client = yield* open(yield* serveTwo(Permission.connection("counted", check.answer)))
      yield* client.send({ action: "a" }, { action: "b" }, { action: "a" })
      yield* TestClock.adjust(100)
      assert.deepStrictEqual((yield* client.take(3)).map(({ status }) => status), [200, 200, 200])
      assert.strictEqual(check.count(), 1)
    }))

  it.effect("are asked once for handshake and messages", () =>
    Effect.gen(function*() {
      const check = counted(yes)
      const permission = Permission.connection("counted", check.answer)
      const client = yield* open(yield* serveTwo(permission, permission as Permission.Permission))
      for (const action of ["a", "b"]) assert.strictEqual((yield* client.ask({ action })).status, 200)
      assert.strictEqual(check.count(), 1)
    }))

  it.effect("are asked again by the next message when they broke", () =>
    withLogs(() =>
      Effect.gen(function*() {
        for (const wait of [Effect.void, Effect.yieldNow]) {
          for (
            const [broken, status] of [[fails, 409], [Effect.die("broken"), 500], [Effect.interrupt, 500]] as const
          ) {
            const check = counted(Effect.andThen(wait, broken), Effect.andThen(wait, broken), Effect.andThen(wait, yes))
            const client = yield* open(yield* serveTwo(Permission.connection("counted", check.answer)))
            const statuses = []
            for (const action of ["a", "b", "a", "b"]) statuses.push((yield* client.ask({ action })).status)
            assert.deepStrictEqual(statuses, [status, status, 200, 200])
            assert.strictEqual(check.count(), 3)
          }
        }
      })
    ))

  it.effect("leave the rest to the message", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const ofConnection = (name: string, says: boolean) =>
        Permission.connection(name, () => {
          asked.push(name)
          return says
        })
      const ofAction = (name: string) =>
        Permission.action(name, ({ query }) => {
          asked.push(name)
          return query[name] !== undefined
        })
      const permission = Permission.or(
        Permission.and(ofConnection("no", false), ofAction("never")),
        Permission.and(ofConnection("yes", true), ofAction("always"))
      )
      const One = Consumer.make("one", { path: "/ws/" }).pipe(Consumer.permit(permission), Consumer.add(ping))
      const client = yield* open(
        yield* serve([One], Consumer.handlers(One).pipe(Handlers.handle("ping", pong), Handlers.toLayer))
      )
      for (const route of ["?always", "?never", "?always"]) yield* client.ask({ action: "ping", route })
      assert.deepStrictEqual(asked, ["no", "yes", "always", "always", "always"])
    }))

  it.effect("decide before an object is loaded whenever they can", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const isAdmin = Permission.connection("isAdmin", CurrentUser.use((user) => user === "admin"))
      const isOwner = Permission.object<string>()("isOwner", ({ object }) => {
        asked.push("isOwner")
        return CurrentUser.use((user) => user === object)
      })
      const Items = Consumer.make("items", { path: "/ws/" }).pipe(
        Consumer.add(
          Action.make("any", { success: Schema.String }).pipe(
            Action.object(Schema.String),
            Action.permit(Permission.or(isAdmin, isOwner))
          ),
          Action.make("admins", { success: Schema.String }).pipe(
            Action.object(Schema.String),
            Action.permit(isAdmin),
            Action.permit(isOwner)
          )
        )
      )
      const handler = (name: string) => ({
        object: () => {
          asked.push(`load ${name}`)
          return Effect.succeed("owner")
        },
        run: ({ object }: { readonly object: string }) => {
          asked.push(`run ${name}`)
          return Effect.succeed(object)
        }
      })
      const pipeline = yield* serve(
        [Items],
        Consumer.handlers(Items).pipe(
          Handlers.handle("any", handler("any")),
          Handlers.handle("admins", handler("admins")),
          Handlers.toLayer,
          Layer.provide(AuthenticationLive)
        )
      )
      const ask = (user: string, action: string) =>
        Effect.gen(function*() {
          asked.length = 0
          const client = yield* open(pipeline, `/ws/?user=${user}`)
          return [(yield* client.ask({ action })).status, ...asked]
        })
      assert.deepStrictEqual(yield* ask("admin", "any"), [200, "load any", "run any"])
      assert.deepStrictEqual(yield* ask("owner", "any"), [200, "load any", "isOwner", "run any"])
      assert.deepStrictEqual(yield* ask("other", "any"), [403, "load any", "isOwner"])
      assert.deepStrictEqual(yield* ask("owner", "admins"), [403])
      assert.deepStrictEqual(yield* ask("admin", "admins"), [403, "load admins", "isOwner"])
    }))

  it.effect("that answer with neither yes nor no break, whatever they answer with", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        for (const answer of [undefined, null, 0, "yes", Symbol("yes"), {}, Object.create(null), new Proxy({}, {})]) {
          for (const check of [() => answer as never, () => Effect.succeed(answer as never)]) {
            for (
              const permission of [Permission.connection("odd", check), Permission.not(Permission.action("odd", check))]
            ) {
              const One = Consumer.make("one", { path: "/ws/" }).pipe(Consumer.permit(permission), Consumer.add(ping))
              const client = yield* open(
                yield* serve(
                  [One],
                  Consumer.handlers(One).pipe(Handlers.handle("ping", pong), Handlers.toLayer)
                )
              )
              const before = logs.length
              assert.strictEqual((yield* client.ask({ action: "ping" })).status, 500)
              yield* settle
              assert.strictEqual(logs.length, before + 1)
            }
          }
        }
      })
    ))

  it.effect("that never answer end with the action's time", () =>
    Effect.gen(function*() {
      const stopped: Array<string> = []
      const never = (name: string) => Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => stopped.push(name))))
      for (
        const permission of [
          Permission.connection("ofConnection", never("ofConnection")),
          Permission.action("ofAction", () => never("ofAction"))
        ]
      ) {
        const One = Consumer.make("one", { path: "/ws/", timeout: "5 seconds" }).pipe(
          Consumer.permit(permission),
          Consumer.add(ping)
        )
        const client = yield* open(
          yield* serve([One], Consumer.handlers(One).pipe(Handlers.handle("ping", pong), Handlers.toLayer))
        )
        yield* client.send({ action: "ping", request_id: 1 }, { action: "ping", request_id: 2 })
        yield* TestClock.adjust(4999)
        yield* client.silent
        yield* TestClock.adjust(1)
        assert.deepInclude(yield* client.next, { status: 408, request_id: 1 })
        yield* TestClock.adjust(5000)
        assert.deepInclude(yield* client.next, { status: 408, request_id: 2 })
      }
      assert.deepStrictEqual(stopped, ["ofConnection", "ofConnection", "ofAction", "ofAction"])
    }))

  it.effect("that never answer end with the consumer's time where no action is", () =>
    Effect.gen(function*() {
      const One = Consumer.make("one", { path: "/ws/", timeout: "5 seconds" }).pipe(
        Consumer.permit(Permission.connection("never", Effect.never)),
        Consumer.add(ping),
        Consumer.add(Route.make("route/").pipe(Route.add(Action.make("ping"))))
      )
      const client = yield* open(
        yield* serve(
          [One],
          Consumer.handlers(One).pipe(
            Handlers.handle("ping", pong),
            Handlers.handle("route/", "ping", () => Effect.void),
            Handlers.toLayer
          )
        )
      )
      for (const request of [{ action: "nope" }, { action: "ping", route: "nope" }, { action: "x", route: "route/" }]) {
        yield* client.send(request)
        yield* TestClock.adjust(5000)
        assert.strictEqual((yield* client.next).status, 408)
      }
    }))
})

describe("a server that stops", () => {
  const start = Effect.gen(function*() {
    const { consumers, layer, trace } = makeSleeper({ consumer: { concurrency: 2 } })
    const client = yield* open(yield* serve(consumers, layer))
    return { client, trace }
  })
  const closing = { code: 1012, reason: "The server is restarting" }

  it.effect("closes a connection that has nothing to do", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      yield* client.session.drain("10 seconds")
      assert.deepStrictEqual(yield* client.peer.closed, closing)
      assert.deepStrictEqual(yield* Fiber.join(client.fiber), closing)
    }))

  it.effect("answers what is in flight, and turns away what comes", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* start
      yield* client.send(...[1, 2, 3].map((id) => sleepFor(id, 100 * id)))
      const draining = yield* Effect.forkChild(client.session.drain("10 seconds"), { startImmediately: true })
      assert.deepStrictEqual<unknown>(yield* client.ask(sleepFor("late", 1)), {
        errors: [{ detail: "The server is stopping: connect again, and repeat the request", code: "unavailable" }],
        data: null,
        action: "sleep",
        route: "",
        status: 503,
        request_id: "late"
      })
      assert.strictEqual((yield* client.ask("{")).status, 503)
      yield* TestClock.adjust(399)
      assert.deepStrictEqual((yield* client.take(2)).map(({ request_id }) => request_id), [1, 2])
      assert.isUndefined(client.fiber.pollUnsafe())
      assert.isUndefined(draining.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(draining)
      assert.deepStrictEqual((yield* client.next).request_id, 3)
      assert.deepStrictEqual(yield* client.peer.closed, closing)
      assert.deepStrictEqual(trace.filter((event) => event.startsWith("end")), ["end 1", "end 2", "end 3"])
    }))

  it.effect("waits no longer than it was told to", () =>
    Effect.gen(function*() {
      const { client, trace } = yield* start
      yield* client.send(sleepFor(1, 500), sleepFor(2, 5000), sleepFor(3, 5000))
      const draining = yield* Effect.forkChild(client.session.drain("1 second"), { startImmediately: true })
      yield* TestClock.adjust(999)
      assert.isUndefined(draining.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(draining)
      assert.deepStrictEqual((yield* client.next).request_id, 1)
      assert.deepStrictEqual(yield* Effect.flip(client.peer.take), closing)
      yield* Fiber.join(client.fiber)
      assert.deepStrictEqual(trace, ["start 1", "start 2", "end 1", "start 3", "stop 2", "stop 3"])
    }))

  it.effect("does not wait for a connection that has ended", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      // Two that run, and one that waits and will never be answered.
      yield* client.send(sleepFor(1, 500), sleepFor(2, 500), sleepFor(3, 500))
      const draining = yield* Effect.forkChild(client.session.drain("1 hour"), { startImmediately: true })
      yield* client.peer.close(4001)
      assert.isTrue(Option.isSome(yield* soon(Fiber.join(draining))))
      assert.isTrue(Option.isSome(yield* soon(client.session.drain("1 hour"))))
      assert.strictEqual((yield* client.peer.closed).code, 4001)
    }))

  it.effect("may be told so twice", () =>
    Effect.gen(function*() {
      const { client } = yield* start
      yield* client.send(sleepFor(1, 500))
      const first = yield* Effect.forkChild(client.session.drain("1 hour"), { startImmediately: true })
      const second = yield* Effect.forkChild(client.session.drain("2 hours"), { startImmediately: true })
      yield* TestClock.adjust(500)
      assert.isTrue(Option.isSome(yield* soon(Fiber.join(first))), "first")
      assert.isTrue(Option.isSome(yield* soon(Fiber.join(second))), "second")
      assert.deepStrictEqual(yield* client.peer.closed, closing)
    }))

  it.effect("closes a connection that was being upgraded meanwhile", () =>
    Effect.gen(function*() {
      const { consumers, layer } = makeSleeper()
      const pipeline = yield* serve(consumers, layer)
      const session = yield* connecting(pipeline)
      yield* session.drain("1 second")
      const [transport, peer] = yield* Transport.makeMemory
      yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      assert.deepStrictEqual(yield* soon(peer.closed), Option.some(closing))
    }))
})
