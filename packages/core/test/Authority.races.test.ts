/**
 * Races that were lost once: each of these is an order of things in which somebody kept what had been taken away, went
 * unanswered, or stayed for ever.
 */
import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  Consumer,
  Credentials,
  Handlers,
  Permission,
  type Pipeline,
  type Reply,
  Scheme,
  Settings,
  Throttle,
  Transport
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as TestClock from "effect/testing/TestClock"
import { Registry } from "../src/internal/registry.ts"
import { type Client, open, serve, settle, soon, withLogs } from "./support/connection.ts"

interface User {
  readonly id: string
  readonly roles: ReadonlyArray<string>
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser", { key: ({ id }) => id }) {}

const hasRole = (role: string) => Permission.connection(role, CurrentUser.use(({ roles }) => roles.includes(role)))

const alice = (roles: ReadonlyArray<string>) => Authentication.authenticated({ id: "alice", roles })

/** Something that checks ask about, and that changes. */
interface Fact {
  holds: boolean
}

const holds = (fact: Fact) => Permission.connection("holds", Effect.sync(() => fact.holds))

const news = Effect.orDie(Authority.invalidate(Authority.everyone))

/** Makes a fact no longer hold, and says so. */
const revoke = (fact: Fact) =>
  Effect.andThen(
    Effect.sync(() => {
      fact.holds = false
    }),
    news
  )

/** The servers and the handlers of a test share an authority, and no client of it renews too often. */
const Shared = Layer.merge(Authority.layerMemory, Settings.layer({ renewalsPerMinute: 1000 }))

/** How a connection has been closed, if it has. */
const codeOf = ({ peer }: Client) => Effect.map(soon(peer.closed), (closed) => Option.getOrUndefined(closed)?.code)

/** Notes in a trace that an effect was interrupted. */
const traced = <A, E, R>(effect: Effect.Effect<A, E, R>, trace: Array<string>) =>
  Effect.onInterrupt(effect, () => Effect.sync(() => trace.push("interrupted")))

/** Connects as a client that does not answer the close frame: what is sent to it, and how it is to be closed. */
const openMute = Effect.fnUntraced(function*(pipeline: Pipeline.Pipeline) {
  const session = yield* pipeline.connect({ id: "1", url: "/ws/" })
  const [inner, peer] = yield* Transport.makeMemory
  const told: Array<number> = []
  const transport: Transport.Transport = {
    ...inner,
    send: (frame) => told.push((JSON.parse(String(frame)) as Reply.Reply).status),
    close: (code) => told.push(code)
  }
  yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
  return {
    session,
    send: (request: unknown) => peer.send(JSON.stringify(request)),
    told: told as ReadonlyArray<number>
  }
})

/** A schema that takes as long to be encoded as an effect does. */
const slow = (wait: Effect.Effect<unknown>) =>
  Schema.String.pipe(Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transformEffect({ decode: Effect.succeed, encode: (text) => Effect.as(wait, text) })
  ))

describe("Races of the authority", () => {
  describe("who is behind a connection", () => {
    it.effect("is found out once more when the facts change while it is being found out", () =>
      Effect.gen(function*() {
        let roles = ["member"]
        const answering = yield* Latch.make(true)
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.permitConnect(hasRole("member")),
          Consumer.add(Action.make("ping"))
        )
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("ping", () => Effect.void),
          Handlers.toLayer,
          Layer.provide(CurrentUser.layer({
            authenticate: () => Effect.succeed(alice(roles)),
            refresh: () => Effect.suspend(() => Effect.as(answering.await, alice(roles)))
          }))
        )
        const client = yield* open(yield* serve([Api], live))
        yield* answering.close
        // Her roles are read now, and told later.
        yield* news
        roles = []
        yield* news
        yield* answering.open
        assert.strictEqual(yield* codeOf(client), 4403)
      }).pipe(Effect.provide(Shared)))

    it.effect("decides what is asked for next, whatever a check said of who it was before", () =>
      Effect.gen(function*() {
        let roles = ["editor"]
        const answering = yield* Latch.make(true)
        const isEditor = hasRole("editor")
        const Api = Consumer.make("api", { path: "/ws/", concurrency: 4 }).pipe(
          Consumer.permitConnect(Permission.connection("slow", Effect.as(answering.await, true))),
          Consumer.add(
            Action.make("edit").pipe(Action.permit(isEditor)),
            Action.make("hang").pipe(Action.permit(Permission.or(isEditor, Permission.isAuthenticated(CurrentUser))))
          )
        )
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("edit", () => Effect.void),
          Handlers.handle("hang", () => Effect.never),
          Handlers.toLayer,
          Layer.provide(CurrentUser.layer({
            authenticate: () => Effect.sync(() => alice(roles)),
            refresh: () => Effect.sync(() => alice(roles))
          }))
        )
        const client = yield* open(yield* serve([Api], live))
        yield* client.send({ action: "hang" })
        yield* answering.close
        yield* news
        yield* settle
        roles = []
        yield* news
        // What runs is reviewed by the roles of before, and the answer must not be kept.
        yield* answering.open
        assert.strictEqual((yield* client.ask({ action: "edit" })).status, 403)
      }).pipe(Effect.provide(Shared)))

    it.effect("is meant by the news while they are signing in", () =>
      Effect.gen(function*() {
        const members = new Set(["alice"])
        const answering = yield* Latch.make(true)
        const isWelcome = Permission.connection(
          "isWelcome",
          Effect.gen(function*() {
            const identity = yield* CurrentUser.identity
            if (identity._tag === "Anonymous") return true
            const found = members.has(identity.user.id)
            yield* answering.await
            return found
          })
        )
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.permitConnect(isWelcome),
          Consumer.add(Action.make("ping"))
        )
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("ping", () => Effect.void),
          Handlers.toLayer,
          Layer.provide(CurrentUser.layer(Scheme.token({
            from: Credentials.query("token"),
            verify: (token) => Effect.succeed(Authentication.authenticated({ id: Redacted.value(token), roles: [] }))
          })))
        )
        const client = yield* open(yield* serve([Api], live))
        yield* answering.close
        yield* client.send({ action: "$authenticate", data: { token: "alice" } })
        yield* settle
        members.delete("alice")
        yield* Authority.invalidate(Authority.identity(CurrentUser, "alice"))
        yield* answering.open
        assert.strictEqual(yield* codeOf(client), 4403)
      }).pipe(Effect.provide(Shared)))

    it.effect("is not believed by a session scheme that does not know the identity", () =>
      Effect.gen(function*() {
        let isAlive = true
        const sessions = Scheme.session<User>({
          from: Credentials.query("token"),
          lookup: () => Effect.sync(() => isAlive ? Option.some(alice([])) : Option.none())
        })
        // The application knows more about the user than the session does.
        const decorated: Authentication.Scheme<User> = {
          ...sessions,
          authenticate: (scope) => Effect.as(sessions.authenticate(scope), alice(["editor"]))
        }
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(Consumer.add(Action.make("ping")))
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("ping", () => Effect.void),
          Handlers.toLayer,
          Layer.provide(CurrentUser.layer(decorated))
        )
        const client = yield* open(yield* serve([Api], live), "/ws/?token=1")
        assert.strictEqual((yield* client.ask({ action: "ping" })).status, 200)
        isAlive = false
        yield* news
        assert.strictEqual(yield* codeOf(client), 4401)
      }).pipe(Effect.provide(Shared)))
  })

  describe("a handler that takes away its own permission", () => {
    /** A client of a server whose action `off` waits for its object, revokes itself, and then does something. */
    const start = Effect.fnUntraced(function*(then: Effect.Effect<void>) {
      const fact = { holds: true }
      const Api = Consumer.make("api", { path: "/ws/" }).pipe(
        Consumer.add(
          Action.make("off", { timeout: "5 seconds" }).pipe(Action.object(Schema.Int), Action.permit(holds(fact))),
          Action.make("ping")
        )
      )
      const live = Consumer.handlers(Api).pipe(
        Handlers.handle("off", {
          object: () => Effect.as(Effect.yieldNow, 1),
          run: () => Effect.andThen(revoke(fact), then)
        }),
        Handlers.handle("ping", () => Effect.void),
        Handlers.toLayer
      )
      return yield* open(yield* serve([Api], live))
    })

    it.effect("has one reply, although it ends at once", () =>
      Effect.gen(function*() {
        const client = yield* start(Effect.void)
        const { errors, status } = yield* client.ask({ action: "off" })
        assert.deepStrictEqual([status, (errors[0] as Reply.ReplyError).code], [403, "permission_lost"])
        yield* client.silent
      }).pipe(Effect.provide(Shared)))

    it.effect("is interrupted when it goes on", () =>
      Effect.gen(function*() {
        const trace: Array<string> = []
        const client = yield* start(traced(Effect.never, trace))
        assert.strictEqual((yield* client.ask({ action: "off" })).status, 403)
        assert.deepStrictEqual(trace, ["interrupted"])
        yield* client.silent
      }).pipe(Effect.provide(Shared)))

    it.effect("does not hold up those behind it", () =>
      Effect.gen(function*() {
        const client = yield* start(Effect.never)
        yield* client.send({ action: "off", request_id: 1 }, { action: "ping", request_id: 2 })
        const replies = yield* client.take(2)
        assert.deepStrictEqual(replies.map(({ request_id, status }) => [request_id, status]), [[1, 403], [2, 200]])
      }).pipe(Effect.provide(Shared)))

    it.effect("is reviewed while the review of another one takes its time", () =>
      Effect.gen(function*() {
        const fact = { holds: true }
        const trace: Array<string> = []
        const Api = Consumer.make("api", { path: "/ws/", concurrency: 4 }).pipe(
          Consumer.add(
            Action.make("other").pipe(
              Action.permit(Permission.connection("slow", Effect.as(Effect.sleep("10 millis"), true)))
            ),
            Action.make("off").pipe(Action.permit(holds(fact)))
          )
        )
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("other", () => Effect.never),
          Handlers.handle("off", () => Effect.andThen(revoke(fact), traced(Effect.sleep("1 second"), trace))),
          Handlers.toLayer
        )
        const client = yield* open(yield* serve([Api], live))
        yield* client.send({ action: "other" })
        yield* TestClock.adjust("10 millis")
        yield* client.send({ action: "off", request_id: 2 })
        yield* TestClock.adjust("5 seconds")
        const { request_id, status } = yield* client.next
        assert.deepStrictEqual([request_id, status, trace], [2, 403, ["interrupted"]])
      }).pipe(Effect.provide(Shared)))

    it.effect("is answered before the close frame, and interrupted, when it is the permission to connect", () =>
      Effect.forEach([Effect.void, Effect.sleep("1 second")], (then) =>
        Effect.gen(function*() {
          const fact = { holds: true }
          const trace: Array<string> = []
          const Api = Consumer.make("api", { path: "/ws/" }).pipe(
            Consumer.permitConnect(holds(fact)),
            Consumer.add(Action.make("off"))
          )
          const live = Consumer.handlers(Api).pipe(
            Handlers.handle("off", () =>
              revoke(fact).pipe(
                Effect.andThen(then),
                Effect.andThen(Effect.sync(() => {
                  trace.push("went on")
                }))
              )),
            Handlers.toLayer
          )
          const client = yield* openMute(yield* serve([Api], live))
          yield* client.send({ action: "off" })
          yield* TestClock.adjust("2 seconds")
          assert.deepStrictEqual(client.told, [403, 4403])
          assert.deepStrictEqual(trace, then === Effect.void ? ["went on"] : [])
        }).pipe(Effect.scoped), { discard: true }).pipe(Effect.provide(Shared)))
  })

  describe("a connection that was told to close, and whose client does not answer", () => {
    /** A connection with a message that waits for its object, and that was drained in vain. */
    const start = Effect.fnUntraced(
      function*(connect: Permission.Permission<unknown>, act: Permission.Permission<unknown>) {
        const trace: Array<string> = []
        const loading = yield* Latch.make()
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.permitConnect(connect),
          Consumer.add(Action.make("act").pipe(Action.object(Schema.Int), Action.permit(act)))
        )
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("act", {
            object: () => Effect.as(loading.await, 1),
            run: () =>
              Effect.sync(() => {
                trace.push("ran")
              })
          }),
          Handlers.toLayer
        )
        const client = yield* openMute(yield* serve([Api], live))
        yield* client.send({ action: "act" })
        yield* settle
        const drain = Effect.gen(function*() {
          const draining = yield* Effect.forkChild(client.session.drain("1 second"), { startImmediately: true })
          yield* TestClock.adjust("2 seconds")
          yield* Fiber.join(draining)
        })
        return { client, drain, loading, trace }
      }
    )

    it.effect("does not run what is denied since", () =>
      Effect.gen(function*() {
        const fact = { holds: true }
        const { client, drain, loading, trace } = yield* start(Permission.allow, holds(fact))
        yield* drain
        yield* revoke(fact)
        yield* loading.open
        yield* settle
        assert.deepStrictEqual([client.told, trace], [[1012], []])
      }).pipe(Effect.provide(Shared)))

    it.effect("does not run anything when the permission to connect is lost at the same time", () =>
      Effect.gen(function*() {
        const fact = { holds: true }
        const answering = yield* Latch.make(true)
        const slowly = Permission.connection("slowly", Effect.suspend(() => Effect.as(answering.await, fact.holds)))
        const { client, drain, loading, trace } = yield* start(slowly, Permission.allow)
        yield* answering.close
        yield* revoke(fact)
        yield* drain
        yield* loading.open
        yield* answering.open
        yield* settle
        assert.deepStrictEqual([client.told, trace], [[1012], []])
      }).pipe(Effect.provide(Shared)))
  })

  describe("renewals", () => {
    const renewal = { action: "$authenticate", data: { token: "guess" } }

    /** A client with an action that goes on and on, whose renewals take a second and are refused. */
    const start = Effect.fnUntraced(function*(expiresAt?: number) {
      const fact = { holds: true }
      const trace: Array<string> = []
      const tick = Effect.sync(() => trace.push("tick"))
      const Api = Consumer.make("api", { path: "/ws/", concurrency: 4 }).pipe(
        Consumer.add(Action.make("tick", { timeout: "1 hour" }).pipe(Action.permit(holds(fact))))
      )
      const live = Consumer.handlers(Api).pipe(
        Handlers.handle("tick", () => Effect.forever(Effect.andThen(Effect.sleep("1 second"), tick))),
        Handlers.toLayer,
        Layer.provide(CurrentUser.layer({
          authenticate: () => Effect.succeed(Authentication.authenticated({ id: "alice", roles: [] }, { expiresAt })),
          renew: () => Effect.andThen(Effect.sleep("1 second"), Effect.fail(new ChannelError.InvalidCredentials()))
        }))
      )
      const client = yield* open(yield* serve([Api], live))
      yield* client.send({ action: "tick", request_id: "tick" })
      return { client, fact, trace }
    })

    it.effect("do not keep a connection alive whose credentials have expired", () =>
      Effect.gen(function*() {
        const { client, trace } = yield* start(3000)
        yield* client.send(renewal, renewal, renewal)
        for (let second = 0; second < 60; second++) {
          yield* TestClock.adjust("1 second")
          yield* client.send(renewal)
        }
        assert.strictEqual(yield* codeOf(client), 4401)
        assert.isAtMost(trace.length, 3)
      }).pipe(Effect.provide(Shared)))

    it.effect("let the news by that come after them", () =>
      Effect.gen(function*() {
        const { client, fact, trace } = yield* start()
        yield* client.send(...Array.from({ length: 127 }, () => renewal))
        yield* revoke(fact)
        yield* TestClock.adjust("5 seconds")
        const replies = yield* client.take(2)
        assert.deepStrictEqual(replies.map(({ request_id, status }) => [request_id, status]), [
          [undefined, 401],
          ["tick", 403]
        ])
        assert.isAtMost(trace.length, 1)
      }).pipe(Effect.provide(Shared)))

    it.effect("are limited by themselves, and not verified beyond it", () =>
      Effect.gen(function*() {
        let verified = 0
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.permit(Throttle.perConnection("messages", { limit: 1, window: "1 hour" })),
          Consumer.add(Action.make("ping"))
        )
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("ping", () => Effect.void),
          Handlers.toLayer,
          Layer.provide(CurrentUser.layer(Scheme.token({
            from: Credentials.query("token"),
            verify: () =>
              Effect.suspend(() => {
                verified++
                return Effect.fail(new ChannelError.InvalidCredentials())
              })
          })))
        )
        const client = yield* open(yield* serve([Api], live))
        const attempts = yield* Effect.replicateEffect(client.ask(renewal), 100)
        assert.deepStrictEqual(attempts.map(({ status }) => status), [
          ...Array.from({ length: 10 }, () => 401),
          ...Array.from({ length: 90 }, () => 429)
        ])
        assert.strictEqual(verified, 10)
        const { code, retry_after: seconds } = attempts[10]!.errors[0] as Reply.ReplyError
        assert.strictEqual(code, "throttled")
        yield* TestClock.adjust((seconds ?? 0) * 1000)
        assert.strictEqual((yield* client.ask(renewal)).status, 401)
        assert.strictEqual((yield* client.ask({ action: "ping" })).status, 200)
      }).pipe(Effect.provide(Authority.layerMemory)))
  })

  describe("a check that breaks", () => {
    it.effect("has its error told that was being encoded when the facts changed", () =>
      Effect.gen(function*() {
        const encoding = yield* Latch.make()
        class Slow extends Schema.TaggedError<Slow>()("Slow", { why: slow(encoding.await) }, { httpApiStatus: 418 }) {}
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.permit(Permission.action("breaks", () => Effect.fail(new Slow({ why: "tea" })))),
          Consumer.add(Action.make("ping"))
        )
        const live = Consumer.handlers(Api).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer)
        const client = yield* open(yield* serve([Api], live))
        // There is no such route: nothing that could be reviewed.
        yield* client.send({ action: "ping", route: "nowhere/" })
        yield* settle
        yield* news
        yield* encoding.open
        assert.strictEqual((yield* client.next).status, 418)
        assert.strictEqual((yield* client.ask({ action: "ping" })).status, 418)
        yield* client.silent
      }).pipe(Effect.provide(Shared)))

    it.effect("ends the connection when it interrupts the fiber that asks it anew", () =>
      withLogs(() =>
        Effect.gen(function*() {
          const fact = { holds: true }
          const check = Permission.connection(
            "check",
            Effect.withFiber<boolean>((fiber) => {
              if (!fact.holds) fiber.interruptUnsafe()
              return fact.holds ? Effect.succeed(true) : Effect.as(Effect.yieldNow, true)
            })
          )
          const Api = Consumer.make("api", { path: "/ws/", concurrency: 3 }).pipe(
            Consumer.add(Action.make("hang").pipe(Action.permit(check)))
          )
          const live = Consumer.handlers(Api).pipe(Handlers.handle("hang", () => Effect.never), Handlers.toLayer)
          const client = yield* open(yield* serve([Api], live))
          yield* client.send({ action: "hang" }, { action: "hang" })
          yield* settle
          yield* revoke(fact)
          const replies = yield* client.take(2)
          assert.deepStrictEqual(replies.map(({ status }) => status), [500, 500])
          assert.strictEqual(yield* codeOf(client), 1011)
        }).pipe(Effect.provide(Shared))
      ))

    class Unspeakable extends Schema.TaggedError<Unspeakable>()("Unspeakable", {}, { httpApiStatus: 418 }) {
      override get message(): string {
        throw new Error("broke")
      }
    }
    class Endless extends Schema.TaggedError<Endless>()("Endless", { why: slow(Effect.never) }, {
      httpApiStatus: 418
    }) {}

    for (
      const [how, code, error] of [
        ["cannot be put into words", 1013, () => new Unspeakable()],
        ["is never encoded", 1011, () => new Endless({ why: "tea" })]
      ] as const
    ) {
      it.effect(`ends the connection, although its error ${how}`, () =>
        withLogs(() =>
          Effect.gen(function*() {
            const fact = { holds: true }
            const check = Permission.connection(
              "check",
              Effect.suspend(() => fact.holds ? Effect.succeed(true) : Effect.fail(error()))
            )
            const Api = Consumer.make("api", { path: "/ws/" }).pipe(
              Consumer.permitConnect(check),
              Consumer.add(Action.make("ping"))
            )
            const live = Consumer.handlers(Api).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer)
            const client = yield* open(yield* serve([Api], live))
            yield* revoke(fact)
            yield* client.send({ action: "ping" })
            yield* TestClock.adjust("1 minute")
            assert.strictEqual(yield* codeOf(client), code)
          }).pipe(Effect.provide(Shared))
        ))
    }

    class Silent extends Error {
      override get message(): string {
        throw new Error("broke")
      }
    }
    const odd: ReadonlyArray<unknown> = [
      new Silent(),
      Object.create(null),
      {
        get message() {
          throw new Error("broke")
        }
      },
      {
        toString() {
          throw new Error("broke")
        }
      },
      {
        toJSON() {
          throw new Error("broke")
        }
      },
      Symbol("odd")
    ]

    for (const level of ["Info", "Debug"] as const) {
      it.effect(`has its message answered, whatever it fails with, where the log level is ${level}`, () =>
        withLogs(() =>
          Effect.forEach(odd, (error) =>
            Effect.gen(function*() {
              const check = Permission.action("check", () => Effect.andThen(Effect.yieldNow, Effect.fail(error)))
              const Api = Consumer.make("api", { path: "/ws/" }).pipe(
                Consumer.add(Action.make("ping").pipe(Action.permit(check)))
              )
              const live = Consumer.handlers(Api).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer)
              const client = yield* open(yield* serve([Api], live))
              assert.strictEqual((yield* client.ask({ action: "ping" })).status, 500)
              yield* client.silent
            }).pipe(Effect.scoped), { discard: true }).pipe(
              Effect.provide(Layer.merge(Shared, Layer.succeed(References.MinimumLogLevel, level)))
            )
        ))
    }
  })

  describe("news", () => {
    it.effect("that never stops coming ends the connection when its time is over", () =>
      Effect.gen(function*() {
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.permitConnect(Permission.connection("slow", Effect.as(Effect.sleep("150 millis"), true))),
          Consumer.add(Action.make("ping"))
        )
        const live = Consumer.handlers(Api).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer)
        const opening = yield* Effect.forkChild(open(yield* serve([Api], live)), { startImmediately: true })
        yield* TestClock.adjust("150 millis")
        const client = yield* Fiber.join(opening)
        yield* client.send({ action: "ping" })
        assert.strictEqual((yield* client.next).status, 200)
        for (let i = 0; i < 99; i++) {
          yield* news
          if (i === 0) yield* client.send({ action: "ping" })
          yield* TestClock.adjust("100 millis")
        }
        assert.isUndefined(yield* codeOf(client))
        yield* news
        yield* TestClock.adjust("100 millis")
        assert.strictEqual(yield* codeOf(client), 1013)
      }).pipe(Effect.provide(Shared)))

    it.effect("that a handshake misses, however much it is, takes no more than some room", () =>
      Effect.sync(() => {
        const registry = new Registry(Context.empty())
        const joining = registry.join()
        registry.invalidate(Authority.identity(CurrentUser, "alice"))
        for (let i = 0; i < 10_000; i++) registry.invalidate(Authority.identity(CurrentUser, `user ${i}`))
        assert.isAtMost(joining.size, 64)
        assert.isAtLeast(joining.size, 1)
        registry.joined(joining)
        assert.strictEqual(registry.size, 0)
      }))

    it.effect("that a handshake misses is heard in the end, however much it is", () =>
      Effect.gen(function*() {
        const fact = { holds: true }
        const answering = yield* Latch.make()
        const asked: Array<boolean> = []
        const slowly = Permission.connection(
          "slowly",
          Effect.suspend(() => {
            const found = fact.holds
            asked.push(found)
            return Effect.as(answering.await, found)
          })
        )
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.permitConnect(slowly),
          Consumer.add(Action.make("ping"))
        )
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("ping", () => Effect.void),
          Handlers.toLayer,
          Layer.provide(CurrentUser.layer(() => Effect.succeed(alice([]))))
        )
        const opening = yield* Effect.forkChild(open(yield* serve([Api], live)), { startImmediately: true })
        yield* settle
        fact.holds = false
        yield* Authority.invalidate(Authority.identity(CurrentUser, "alice"))
        for (let i = 0; i < 1000; i++) yield* Authority.invalidate(Authority.identity(CurrentUser, `user ${i}`))
        yield* answering.open
        assert.strictEqual((yield* Effect.flip(Fiber.join(opening))).status, 403)
        assert.deepStrictEqual(asked, [true, false])
      }).pipe(Effect.provide(Shared)))
  })

  describe("a decision that is still being made when its connection ends", () => {
    /** A server whose permission to connect takes for ever once a fact no longer holds. */
    const makeHanging = (fact: Fact, trace: Array<string>) =>
      Permission.connection(
        "hanging",
        Effect.suspend(() => fact.holds ? Effect.succeed(true) : traced(Effect.never, trace))
      )

    it.effect("is interrupted when it is given up", () =>
      Effect.gen(function*() {
        const fact = { holds: true }
        const trace: Array<string> = []
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.permitConnect(makeHanging(fact, trace)),
          Consumer.add(Action.make("ping"))
        )
        const live = Consumer.handlers(Api).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer)
        const session = yield* (yield* serve([Api], live)).connect({ id: "1", url: "/ws/" })
        yield* revoke(fact)
        yield* session.abandon
        assert.deepStrictEqual(trace, ["interrupted"])
      }).pipe(Effect.provide(Shared)))

    it.effect("is interrupted although a handler had asked for it, within another one", () =>
      Effect.gen(function*() {
        const fact = { holds: true }
        const connect = { holds: true }
        const trace: Array<string> = []
        const Api = Consumer.make("api", { path: "/ws/" }).pipe(
          Consumer.permitConnect(makeHanging(connect, trace)),
          Consumer.add(Action.make("hang").pipe(Action.permit(holds(fact))), Action.make("hold"))
        )
        const live = Consumer.handlers(Api).pipe(
          Handlers.handle("hang", () => Effect.never),
          Handlers.handle("hold", () => revoke(connect)),
          Handlers.toLayer
        )
        const client = yield* open(yield* serve([Api], live))
        // The first one is ended, which lets the second one start while what has changed is still being put in order.
        yield* client.send({ action: "hang" }, { action: "hold" })
        yield* settle
        yield* revoke(fact)
        yield* settle
        assert.deepStrictEqual(trace, [])
        yield* client.leave
        assert.deepStrictEqual(trace, ["interrupted"])
      }).pipe(Effect.provide(Shared)))
  })
})
