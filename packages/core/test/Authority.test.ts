import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  Consumer,
  Credentials,
  Handlers,
  Permission,
  Pipeline,
  type Reply,
  Route,
  Scheme,
  Settings,
  Throttle,
  Transport
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { open, serve, settle, soon, withLogs } from "./support/connection.ts"

interface User {
  readonly name: string
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser", {
  key: (user) => user.name
}) {}

/** What the checks of a test decide by, and how: the facts can change, and an answer can be held up. */
class Facts extends Context.Service<Facts, {
  /** Who has which role: `alice member`. */
  readonly roles: Set<string>
  /** What was asked: `alice member`. */
  readonly asked: Array<string>
  /** Answers wait while it is closed. */
  readonly answering: Latch.Latch
  /** The objects that were loaded. */
  readonly loaded: Array<number>
  /** Loading waits while it is closed. */
  readonly loading: Latch.Latch
  /** What handlers did: `start alice`, `stop alice`, `end alice`. */
  readonly trace: Array<string>
  /** Handlers wait while it is closed. */
  readonly working: Latch.Latch
}>()("test/Facts") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      return {
        roles: new Set(["alice member", "alice editor", "bob member", "bob editor"]),
        asked: [],
        answering: yield* Latch.make(true),
        loaded: [],
        loading: yield* Latch.make(true),
        trace: [],
        working: yield* Latch.make(true)
      }
    })
  )
}

const has = (role: string) =>
  Effect.gen(function*() {
    const user = yield* CurrentUser
    const facts = yield* Facts
    facts.asked.push(`${user.name} ${role}`)
    yield* facts.answering.await
    return facts.roles.has(`${user.name} ${role}`)
  })

const isMember = Permission.connection("isMember", has("member"), { reason: "Members only", code: "not_member" })
const isEditor = Permission.connection("isEditor", has("editor"), { reason: "Editors only", code: "not_editor" })
const mayHave = Permission.object<number>()(
  "mayHave",
  ({ object }) => Facts.use(({ roles }) => Effect.succeed(!roles.has(`hidden ${object}`))),
  { reason: "Hidden" }
)

const who = Action.make("who", { success: Schema.String })
const edit = Action.make("edit", { success: Schema.String }).pipe(Action.permit(isEditor))
const take = Action.make("take", { success: Schema.Int }).pipe(
  Action.object(Schema.Int),
  Action.permit(Permission.and(isEditor, mayHave))
)
const Desk = Consumer.make("desk", { path: "/ws/", concurrency: 4 }).pipe(
  Consumer.permitConnect(isMember),
  Consumer.add(who, edit, Route.make("items/:id/", { id: Schema.NumberFromString }).pipe(Route.add(take)))
)

const work = Effect.gen(function*() {
  const { name } = yield* CurrentUser
  const { trace, working } = yield* Facts
  trace.push(`start ${name}`)
  yield* Effect.onExit(
    working.await,
    (exit) => Effect.sync(() => trace.push(Exit.isSuccess(exit) ? `end ${name}` : `stop ${name}`))
  )
  return name
})

const DeskLive = Consumer.handlers(Desk).pipe(
  Handlers.handle("who", () => work),
  Handlers.handle("edit", () => work),
  Handlers.handle("items/:id/", "take", {
    object: ({ params }) =>
      Effect.gen(function*() {
        const { loaded, loading } = yield* Facts
        loaded.push(params.id)
        yield* loading.await
        return params.id
      }),
    run: ({ object }) => Effect.as(work, object)
  }),
  Handlers.toLayer,
  Layer.provide(Testing.layerAuthentication(CurrentUser)),
  Layer.provideMerge(Facts.layer),
  Layer.provideMerge(Authority.layerMemory)
)

const as = (name: string) => Testing.as(CurrentUser, { name })
const connect = (name: string) => Testing.connect(Desk, { as: as(name), id: name })
const invalidate = (name: string) => Authority.invalidate(Authority.identity(CurrentUser, name))

/** Takes a role away, and says so. */
const revoke = (name: string, role: string) =>
  Effect.andThen(Facts.use(({ roles }) => Effect.sync(() => roles.delete(`${name} ${role}`))), invalidate(name))

/** A consumer that everybody may use while its door is open, and nobody when it is closed. */
const makeDoor = Effect.gen(function*() {
  let isOpen = true
  const asked: Array<string> = []
  const isDoorOpen = Permission.connection(
    "isDoorOpen",
    Effect.sync(() => {
      asked.push(isOpen ? "open" : "closed")
      return isOpen
    }),
    { reason: "Closed" }
  )
  const Door = Consumer.make("door", { path: "/ws/" }).pipe(
    Consumer.permitConnect(isDoorOpen),
    Consumer.add(Action.make("ping"))
  )
  const authority = Authority.makeMemory()
  const live = Consumer.handlers(Door).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer)
  const pipeline = yield* Effect.provideService(serve([Door], live), Authority.Authority, authority)
  return {
    pipeline,
    asked: () => asked,
    close: () => {
      isOpen = false
    },
    news: authority.invalidate(Authority.everyone)
  }
})

const lost = (reason: string) => [{ detail: reason, code: "permission_lost" }]

describe("Authority", () => {
  describe("what a connection was decided by", () => {
    it.effect("is kept until it is invalidated", () =>
      Effect.gen(function*() {
        const { asked, roles } = yield* Facts
        const alice = yield* connect("alice")
        yield* alice.ask("edit")
        yield* alice.ask("edit")
        assert.deepStrictEqual(asked, ["alice member", "alice editor"])
        roles.delete("alice editor")
        assert.strictEqual((yield* alice.ask("edit")).status, 200)
        yield* invalidate("alice")
        const { errors, status } = yield* alice.ask("edit")
        assert.deepStrictEqual({ errors, status }, {
          status: 403,
          errors: [{ detail: "Editors only", code: "not_editor" }]
        })
        assert.strictEqual((yield* alice.ask("who")).data, "alice")
        roles.add("alice editor")
        yield* invalidate("alice")
        assert.strictEqual((yield* alice.ask("edit")).status, 200)
      }).pipe(Effect.provide(DeskLive)))

    it.effect("is asked again of those that are meant, and of no others", () =>
      Effect.gen(function*() {
        const { asked } = yield* Facts
        yield* connect("alice")
        yield* connect("bob")
        const news = (target: Authority.Target) =>
          Effect.gen(function*() {
            asked.length = 0
            yield* Authority.invalidate(target)
            yield* settle
            return [...asked]
          })
        assert.deepStrictEqual(yield* news(Authority.connection("bob")), ["bob member"])
        assert.deepStrictEqual(yield* news(Authority.connection("carol")), [])
        assert.deepStrictEqual(yield* news(Authority.identity(CurrentUser, "alice")), ["alice member"])
        assert.deepStrictEqual(yield* news({ _tag: "Identity", service: "test/Other", key: "alice" }), [])
        assert.deepStrictEqual(yield* news(Authority.everyone), ["alice member", "bob member"])
        for (const key of ["__proto__", "constructor", ""]) {
          assert.deepStrictEqual(yield* news(Authority.identity(CurrentUser, key)), [])
        }
      }).pipe(Effect.provide(DeskLive)))

    it.effect("is asked once more, however often it is invalidated while it is being asked", () =>
      Effect.gen(function*() {
        const { answering, asked } = yield* Facts
        const alice = yield* connect("alice")
        asked.length = 0
        yield* answering.close
        for (let i = 0; i < 100; i++) yield* invalidate("alice")
        yield* settle
        yield* answering.open
        assert.strictEqual((yield* alice.ask("who")).data, "alice")
        assert.deepStrictEqual(asked, ["alice member", "alice member"])
      }).pipe(Effect.provide(DeskLive)))
  })

  describe("whoever lost the permission to connect", () => {
    it.effect("is closed with 4403 and the reason; others stay", () =>
      Effect.gen(function*() {
        const alice = yield* connect("alice")
        const bob = yield* connect("bob")
        yield* revoke("alice", "member")
        assert.deepStrictEqual(yield* alice.closed, { code: 4403, reason: "Members only" })
        assert.strictEqual((yield* bob.ask("who")).data, "bob")
      }).pipe(Effect.provide(DeskLive)))

    it.effect("has what runs interrupted, and answered before the end", () =>
      Effect.gen(function*() {
        const { trace, working } = yield* Facts
        yield* working.close
        const alice = yield* connect("alice")
        const asking = yield* Effect.forkChild(alice.ask("who"), { startImmediately: true })
        yield* settle
        assert.deepStrictEqual(trace, ["start alice"])
        yield* revoke("alice", "member")
        const { errors, status } = yield* Fiber.join(asking)
        assert.deepStrictEqual({ status, errors }, { status: 403, errors: lost("Members only") })
        assert.strictEqual((yield* alice.closed).code, 4403)
        yield* settle
        assert.deepStrictEqual(trace, ["start alice", "stop alice"])
      }).pipe(Effect.provide(DeskLive)))

    it.effect("has nothing handled that was sent before, or comes after", () =>
      Effect.gen(function*() {
        const { answering, trace } = yield* Facts
        const alice = yield* connect("alice")
        yield* answering.close
        yield* revoke("alice", "member")
        yield* alice.send({ action: "who" }, { action: "who" })
        yield* settle
        yield* answering.open
        assert.strictEqual((yield* alice.closed).code, 4403)
        yield* alice.send({ action: "who" })
        yield* settle
        assert.deepStrictEqual(trace, [])
      }).pipe(Effect.provide(DeskLive)))

    it.effect("is closed also when its connection has not been served yet", () =>
      Effect.gen(function*() {
        const door = yield* makeDoor
        const session = yield* door.pipeline.connect({ id: "1", url: "/ws/" })
        door.close()
        yield* door.news
        const [transport, peer] = yield* Transport.makeMemory
        yield* peer.send("{\"action\":\"ping\"}")
        yield* session.run(transport)
        assert.deepStrictEqual(yield* peer.closed, { code: 4403, reason: "Closed" })
        assert.deepStrictEqual(door.asked(), ["open", "closed"])
      }))

    it.effect("is not asked about when its connection was given up, or has ended", () =>
      Effect.gen(function*() {
        const door = yield* makeDoor
        const session = yield* door.pipeline.connect({ id: "1", url: "/ws/" })
        yield* session.abandon
        const client = yield* open(door.pipeline)
        yield* client.leave
        door.close()
        yield* door.news
        yield* settle
        assert.deepStrictEqual(door.asked(), ["open", "open"])
      }))
  })

  describe("an action that runs", () => {
    it.effect("is interrupted when it would be denied now, and says why; what is still allowed goes on", () =>
      Effect.gen(function*() {
        const { trace, working } = yield* Facts
        yield* working.close
        const alice = yield* connect("alice")
        const editing = yield* Effect.forkChild(alice.ask("edit"), { startImmediately: true })
        const asking = yield* Effect.forkChild(alice.ask("who"), { startImmediately: true })
        yield* settle
        yield* revoke("alice", "editor")
        const { errors, status } = yield* Fiber.join(editing)
        assert.deepStrictEqual({ status, errors }, { status: 403, errors: lost("Editors only") })
        yield* working.open
        assert.strictEqual((yield* Fiber.join(asking)).data, "alice")
        assert.deepStrictEqual(trace, ["start alice", "start alice", "stop alice", "end alice"])
      }).pipe(Effect.provide(DeskLive)))

    it.effect("is decided by its object as well", () =>
      Effect.gen(function*() {
        const { roles, working } = yield* Facts
        yield* working.close
        const alice = yield* connect("alice")
        const ask = (id: number) =>
          Effect.forkChild(alice.ask("items/:id/", "take", { params: { id } }), { startImmediately: true })
        const [one, two] = [yield* ask(1), yield* ask(2)]
        yield* settle
        roles.add("hidden 1")
        yield* invalidate("alice")
        assert.deepStrictEqual((yield* Fiber.join(one)).errors, lost("Hidden"))
        yield* working.open
        assert.strictEqual((yield* Fiber.join(two)).data, 2)
      }).pipe(Effect.provide(DeskLive)))

    it.effect("is told so too when what now decides is a throttle, which would have it asked again", () => {
      const quota = Throttle.perConnection("quota", { limit: 1, window: "1 minute" })
      const post = Action.make("post").pipe(Action.permit(Permission.or(isEditor, quota)))
      const Posts = Consumer.make("posts", { path: "/ws/", concurrency: 4 }).pipe(Consumer.add(post))
      const live = Consumer.handlers(Posts).pipe(
        Handlers.handle("post", () => Facts.use(({ working }) => working.await)),
        Handlers.toLayer,
        Layer.provide(Testing.layerAuthentication(CurrentUser)),
        Layer.provideMerge(Facts.layer),
        Layer.provideMerge(Authority.layerMemory)
      )
      return Effect.gen(function*() {
        const { working } = yield* Facts
        yield* working.close
        const alice = yield* Testing.connect(Posts, { as: as("alice") })
        const asking = yield* Effect.forEach(
          [1, 2],
          () => Effect.forkChild(alice.ask("post"), { startImmediately: true })
        )
        yield* settle
        yield* revoke("alice", "editor")
        yield* settle
        yield* working.open
        const answers = yield* Effect.forEach(asking, Fiber.join)
        assert.sameMembers(answers.map(({ errors, status }) => `${status} ${errors[0]?.code ?? ""}`), [
          "200 ",
          "403 permission_lost"
        ])
      }).pipe(Effect.provide(live))
    })

    it.effect("does not get its result out when it ends while that is being decided", () =>
      Effect.gen(function*() {
        const { answering, trace, working } = yield* Facts
        yield* working.close
        const alice = yield* connect("alice")
        const editing = yield* Effect.forkChild(alice.ask("edit"), { startImmediately: true })
        yield* settle
        yield* answering.close
        yield* revoke("alice", "editor")
        yield* working.open
        yield* settle
        assert.deepStrictEqual(trace, ["start alice", "end alice"])
        assert.strictEqual(editing.pollUnsafe(), undefined)
        yield* answering.open
        assert.deepStrictEqual((yield* Fiber.join(editing)).errors, lost("Editors only"))
      }).pipe(Effect.provide(DeskLive)))

    it.effect("gets its result out, in the order of its line, when it is still allowed", () =>
      Effect.gen(function*() {
        const { answering, working } = yield* Facts
        yield* working.close
        const alice = yield* connect("alice")
        yield* alice.send({ action: "edit", request_id: 1 }, { action: "who", request_id: 2 })
        yield* settle
        yield* answering.close
        yield* invalidate("alice")
        yield* working.open
        yield* settle
        yield* answering.open
        const replies = [yield* alice.receive, yield* alice.receive] as ReadonlyArray<Reply.Reply>
        assert.deepStrictEqual(replies.map(({ request_id, status }) => [request_id, status]), [[1, 200], [2, 200]])
      }).pipe(Effect.provide(DeskLive)))

    it.effect("may take away its own permission", () => {
      const isOn = Permission.connection("isOn", Facts.use(({ roles }) => Effect.succeed(roles.has("on"))))
      const off = Action.make("off", { success: Schema.String }).pipe(Action.permit(isOn))
      const Switch = Consumer.make("switch", { path: "/ws/" }).pipe(Consumer.add(off))
      const live = (wait: Effect.Effect<void>) =>
        Consumer.handlers(Switch).pipe(
          Handlers.handle("off", () =>
            Facts.use(({ roles }) => Effect.sync(() => roles.delete("on"))).pipe(
              Effect.andThen(Effect.orDie(Authority.invalidate(Authority.everyone))),
              Effect.andThen(wait),
              Effect.as("off")
            )),
          Handlers.toLayer,
          Layer.provideMerge(Facts.layer),
          Layer.provideMerge(Authority.layerMemory)
        )
      return Effect.forEach([Effect.void, Effect.yieldNow, Effect.sleep(1)], (wait) =>
        Effect.gen(function*() {
          const { roles } = yield* Facts
          roles.add("on")
          const client = yield* Testing.connect(Switch)
          const asking = yield* Effect.forkChild(client.ask("off"), { startImmediately: true })
          yield* TestClock.adjust("1 second")
          const first = yield* Fiber.join(asking)
          assert.deepStrictEqual([first.status, first.errors[0]?.code], [403, "permission_lost"])
          assert.strictEqual((yield* client.ask("off")).status, 403)
        }).pipe(Effect.scoped, Effect.provide(live(wait))))
    })
  })

  describe("a message", () => {
    it.effect("that comes while its connection is decided anew waits, and is decided by the new facts", () =>
      Effect.gen(function*() {
        const { answering, trace } = yield* Facts
        const alice = yield* connect("alice")
        yield* answering.close
        yield* revoke("alice", "editor")
        yield* alice.send({ action: "edit", request_id: 1 }, { action: "who", request_id: 2 })
        yield* settle
        assert.deepStrictEqual(trace, [])
        yield* answering.open
        const replies = [yield* alice.receive, yield* alice.receive] as ReadonlyArray<Reply.Reply>
        assert.deepStrictEqual(replies.map(({ request_id, status }) => [request_id, status]), [[1, 403], [2, 200]])
      }).pipe(Effect.provide(DeskLive)))

    it.effect("that waits for its checks is decided from the beginning", () =>
      Effect.gen(function*() {
        const { answering, roles, trace } = yield* Facts
        const alice = yield* connect("alice")
        yield* answering.close
        const editing = yield* Effect.forkChild(alice.ask("edit"), { startImmediately: true })
        yield* settle
        roles.delete("alice editor")
        yield* invalidate("alice")
        roles.add("alice editor")
        yield* answering.open
        assert.strictEqual((yield* Fiber.join(editing)).status, 200)

        yield* invalidate("alice")
        yield* answering.close
        const again = yield* Effect.forkChild(alice.ask("edit"), { startImmediately: true })
        yield* settle
        yield* revoke("alice", "editor")
        yield* answering.open
        assert.strictEqual((yield* Fiber.join(again)).status, 403)
        assert.deepStrictEqual(trace, ["start alice", "end alice"])
      }).pipe(Effect.provide(DeskLive)))

    it.effect("that waits for its object is denied, and the object is not even asked about", () =>
      Effect.gen(function*() {
        const { loaded, loading, trace } = yield* Facts
        const alice = yield* connect("alice")
        yield* loading.close
        const ask = Effect.forkChild(alice.ask("items/:id/", "take", { params: { id: 1 } }), { startImmediately: true })
        const taking = yield* ask
        yield* settle
        assert.deepStrictEqual(loaded, [1])
        yield* revoke("alice", "editor")
        yield* loading.open
        const { errors } = yield* Fiber.join(taking)
        assert.deepStrictEqual(errors, [{ detail: "Editors only", code: "not_editor" }])
        assert.deepStrictEqual([loaded, trace], [[1], []])
      }).pipe(Effect.provide(DeskLive)))

    it.effect("that waits for its object and is still allowed has it loaded anew", () =>
      Effect.gen(function*() {
        const { loaded, loading } = yield* Facts
        const alice = yield* connect("alice")
        yield* loading.close
        const taking = yield* Effect.forkChild(alice.ask("items/:id/", "take", { params: { id: 7 } }), {
          startImmediately: true
        })
        yield* settle
        yield* invalidate("alice")
        yield* loading.open
        assert.strictEqual((yield* Fiber.join(taking)).data, 7)
        assert.deepStrictEqual(loaded, [7, 7])
      }).pipe(Effect.provide(DeskLive)))

    it.effect("that is being refused is decided from the beginning, too", () =>
      Effect.gen(function*() {
        // The error takes its time to be encoded.
        const encoding = yield* Latch.make()
        class Slow extends Schema.TaggedError<Slow>()("Slow", {
          why: Schema.String.pipe(Schema.decodeTo(
            Schema.String,
            SchemaTransformation.transformEffect({
              decode: Effect.succeed,
              encode: (why) => Effect.as(encoding.await, why)
            })
          ))
        }, { httpApiStatus: 418 }) {}
        let isBroken = true
        const brittle = Permission.action("brittle", () => isBroken ? Effect.fail(new Slow({ why: "tea" })) : true)
        const Tea = Consumer.make("tea", { path: "/ws/" }).pipe(
          Consumer.permit(brittle),
          Consumer.add(Action.make("pour"))
        )
        const live = Consumer.handlers(Tea).pipe(
          Handlers.handle("pour", () => Effect.void),
          Handlers.toLayer,
          Layer.provideMerge(Authority.layerMemory)
        )
        yield* Effect.gen(function*() {
          const client = yield* Testing.connect(Tea)
          yield* client.send({ action: "nothing", request_id: 1 })
          yield* settle
          isBroken = false
          yield* Authority.invalidate(Authority.everyone)
          yield* encoding.open
          assert.strictEqual(((yield* client.receive) as Reply.Reply).status, 405)
          isBroken = true
          assert.strictEqual((yield* client.ask("pour")).status, 418)
        }).pipe(Effect.provide(live))
      }))

    it.effect("is counted once by a throttle, however often it is decided", () => {
      const limit = Throttle.perConnection("posts", { limit: 2, window: "1 minute" })
      const post = Action.make("post").pipe(Action.permit(limit))
      const Posts = Consumer.make("posts", { path: "/ws/", concurrency: 4 }).pipe(Consumer.add(post))
      const live = Consumer.handlers(Posts).pipe(
        Handlers.handle("post", () => Facts.use(({ working }) => working.await)),
        Handlers.toLayer,
        Layer.provideMerge(Facts.layer),
        Layer.provideMerge(Authority.layerMemory)
      )
      return Effect.gen(function*() {
        const { working } = yield* Facts
        yield* working.close
        const client = yield* Testing.connect(Posts)
        const first = yield* Effect.forkChild(client.ask("post"), { startImmediately: true })
        yield* settle
        for (let i = 0; i < 5; i++) yield* Authority.invalidate(Authority.everyone)
        yield* settle
        yield* working.open
        assert.strictEqual((yield* Fiber.join(first)).status, 200)
        assert.strictEqual((yield* client.ask("post")).status, 200)
        assert.strictEqual((yield* client.ask("post")).status, 429)
      }).pipe(Effect.provide(live))
    })
  })

  describe("a handshake", () => {
    it.effect("that is being decided is decided by the facts as they are in the end", () =>
      Effect.gen(function*() {
        const { answering, roles } = yield* Facts
        yield* answering.close
        const connecting = yield* Effect.forkChild(connect("alice"), { startImmediately: true })
        yield* settle
        yield* revoke("alice", "member")
        // The check that was asked before would have said yes.
        roles.add("alice member")
        yield* Effect.yieldNow
        roles.delete("alice member")
        yield* answering.open
        const refused = yield* Effect.flip(Fiber.join(connecting))
        assert.strictEqual((refused as Pipeline.HandshakeRefused).status, 403)
      }).pipe(Effect.provide(DeskLive)))

    it.effect("whose check has said yes meanwhile is asked again", () => {
      let answers = [true, false]
      let latch: Latch.Latch | undefined
      const asked: Array<string> = []
      const first = Permission.connection(
        "first",
        Effect.sync(() => {
          asked.push("first")
          return answers.shift() ?? false
        })
      )
      const second = Permission.connection(
        "second",
        Effect.suspend(() => {
          asked.push("second")
          return Effect.as(latch!.await, true)
        })
      )
      const Door = Consumer.make("door", { path: "/ws/" }).pipe(
        Consumer.permitConnect(Permission.and(first, second)),
        Consumer.add(Action.make("ping"))
      )
      const live = Consumer.handlers(Door).pipe(
        Handlers.handle("ping", () => Effect.void),
        Handlers.toLayer,
        Layer.provideMerge(Authority.layerMemory)
      )
      return Effect.gen(function*() {
        latch = yield* Latch.make()
        const connecting = yield* Effect.forkChild(Testing.connect(Door, { id: "x" }), { startImmediately: true })
        yield* settle
        yield* Authority.invalidate(Authority.connection("someone else"))
        yield* Authority.invalidate(Authority.connection("x"))
        yield* latch.open
        assert.strictEqual((yield* Effect.exit(Fiber.join(connecting)))._tag, "Failure")
        assert.deepStrictEqual(asked, ["first", "second", "first"])
        answers = [true]
        asked.length = 0
        yield* latch.close
        const other = yield* Effect.forkChild(Testing.connect(Door, { id: "y" }), { startImmediately: true })
        yield* settle
        yield* Authority.invalidate(Authority.connection("x"))
        yield* latch.open
        assert.strictEqual((yield* (yield* Fiber.join(other)).ask("ping")).status, 200)
        assert.deepStrictEqual(asked, ["first", "second"])
      }).pipe(Effect.provide(live))
    })

    it.effect("whose user is not known yet is meant all the same", () => {
      const users = new Map([["token", "alice"]])
      const Live = (latch: Latch.Latch) =>
        Consumer.handlers(Desk).pipe(
          Handlers.handle("who", () => work),
          Handlers.handle("edit", () => work),
          Handlers.handle("items/:id/", "take", {
            object: ({ params }) => Effect.succeed(params.id),
            run: () => Effect.succeed(1)
          }),
          Handlers.toLayer,
          Layer.provide(CurrentUser.layer(Scheme.session({
            from: Credentials.query("token"),
            lookup: (token) =>
              Effect.gen(function*() {
                const name = users.get(Redacted.value(token))
                yield* latch.await
                return Option.map(Option.fromNullishOr(name), (name) => Authentication.authenticated({ name }))
              })
          }))),
          Layer.provideMerge(Facts.layer),
          Layer.provideMerge(Authority.layerMemory)
        )
      return Effect.gen(function*() {
        const latch = yield* Latch.make()
        yield* Effect.gen(function*() {
          const connecting = yield* Effect.forkChild(Testing.connect(Desk, { query: "token=token" }), {
            startImmediately: true
          })
          yield* settle
          users.delete("token")
          yield* invalidate("alice")
          yield* latch.open
          const refused = yield* Effect.flip(Fiber.join(connecting))
          assert.strictEqual((refused as Pipeline.HandshakeRefused).status, 401)
        }).pipe(Effect.provide(Live(latch)))
      })
    })
  })

  describe("a decision that cannot be made", () => {
    const closing = <E>(check: Effect.Effect<boolean, E, CurrentUser>) => {
      let isBroken = false
      const isFine = Permission.connection("isFine", Effect.suspend(() => isBroken ? check : Effect.succeed(true)))
      const Fine = Consumer.make("fine", { path: "/ws/" }).pipe(
        Consumer.permitConnect(isFine),
        Consumer.add(Action.make("ping"))
      )
      const live = Consumer.handlers(Fine).pipe(
        Handlers.handle("ping", () => Effect.void),
        Handlers.toLayer,
        Layer.provide(Testing.layerAuthentication(CurrentUser)),
        Layer.provideMerge(Authority.layerMemory)
      )
      return Effect.gen(function*() {
        const client = yield* Testing.connect(Fine)
        isBroken = true
        yield* Authority.invalidate(Authority.everyone)
        yield* settle
        yield* client.send({ action: "ping" })
        yield* TestClock.adjust("9 seconds")
        const early = yield* soon(client.closed)
        yield* TestClock.adjust("1 second")
        return { early: Option.isSome(early), closed: yield* client.closed, reply: yield* Effect.flip(client.receive) }
      }).pipe(Effect.provide(live))
    }

    it.effect("closes the connection: nobody stays in by a failure", () =>
      withLogs((logs) =>
        Effect.gen(function*() {
          const cases: ReadonlyArray<readonly [Effect.Effect<boolean, unknown, CurrentUser>, number, string]> = [
            [Effect.die(new Error("secret")), 1011, "Internal server error"],
            [Effect.sync(() => JSON.parse("no")), 1011, "Internal server error"],
            [Effect.succeed("yes" as never), 1011, "Internal server error"],
            [Effect.fail(new ChannelError.Unavailable({ message: "No directory" })), 1013, "No directory"],
            [CurrentUser.use(() => true), 4403, "Authentication credentials were not provided"],
            [Effect.fail(new ChannelError.InvalidCredentials()), 4401, "The credentials are not valid"],
            [Effect.interrupt, 1011, "Internal server error"]
          ]
          for (const [check, code, reason] of cases) {
            const result = yield* Effect.scoped(closing(check))
            assert.deepStrictEqual(result, { early: true, closed: { code, reason }, reply: { code, reason } })
          }
          assert.deepStrictEqual(logs.map(({ level }) => level), ["Error", "Error", "Error", "Error"])
          assert.include(logs[0]!.cause, "secret")
        })
      ))

    it.effect("closes it with 1013 when it does not come in time", () =>
      Effect.gen(function*() {
        const { closed, early } = yield* closing(Effect.never)
        assert.isFalse(early)
        assert.deepStrictEqual(closed, { code: 1013, reason: "The permissions could not be decided in time" })
      }))

    it.effect("does not let anybody in under not and or either", () =>
      withLogs(() =>
        Effect.gen(function*() {
          let mode: "yes" | "die" | "fail" | "throw" | "never" = "yes"
          const brittle = Permission.connection("brittle", () => {
            if (mode === "throw") throw new Error("broke")
            return mode === "die"
              ? Effect.die(new Error("broke"))
              : mode === "fail"
              ? Effect.fail(new ChannelError.Unavailable({ message: "No" }))
              : mode === "never"
              ? Effect.never
              : Effect.succeed(false)
          })
          const Vault = Consumer.make("vault", { path: "/ws/", timeout: "5 seconds" }).pipe(
            Consumer.add(
              Action.make("not").pipe(Action.permit(Permission.not(brittle))),
              Action.make("or").pipe(Action.permit(Permission.or(brittle, Permission.deny)))
            )
          )
          const live = Consumer.handlers(Vault).pipe(
            Handlers.handle("not", () => Effect.void),
            Handlers.handle("or", () => Effect.void),
            Handlers.toLayer
          )
          yield* Effect.gen(function*() {
            const statuses: Record<string, ReadonlyArray<number>> = {}
            for (const next of ["yes", "die", "fail", "throw", "never"] as const) {
              mode = next
              const client = yield* Testing.connect(Vault)
              const answers = yield* Effect.forEach(["not", "or"] as const, (name) =>
                Effect.gen(function*() {
                  const asking = yield* Effect.forkChild(client.ask(name), { startImmediately: true })
                  yield* TestClock.adjust("5 seconds")
                  return (yield* Fiber.join(asking)).status
                }))
              statuses[mode] = answers
            }
            assert.deepStrictEqual(statuses, {
              yes: [200, 403],
              die: [500, 500],
              fail: [503, 503],
              throw: [500, 500],
              never: [408, 408]
            })
          }).pipe(Effect.provide(live))
        })
      ))
  })

  describe("who is behind a connection", () => {
    const sessions = new Map<string, { readonly name: string; readonly roles: ReadonlyArray<string>; until?: number }>()
    class Member
      extends Authentication.Service<Member, { readonly name: string; readonly roles: ReadonlyArray<string> }>()(
        "test/Member",
        { key: (user) => user.name }
      )
    {}
    const isAdmin = Permission.connection("isAdmin", Member.use(({ roles }) => roles.includes("admin")))
    const Club = Consumer.make("club", { path: "/ws/", concurrency: 4 }).pipe(
      Consumer.add(
        Action.make("reign").pipe(Action.permit(isAdmin)),
        Action.make("wait"),
        Action.make("rule", { success: Schema.String }).pipe(Action.permit(isAdmin)),
        Action.make("who", { success: Schema.String })
      )
    )
    const ClubLive = Consumer.handlers(Club).pipe(
      Handlers.handle("reign", () => Effect.never),
      Handlers.handle("wait", () => Effect.sleep("1 second")),
      Handlers.handle("rule", () => Member.use(({ name }) => name)),
      Handlers.handle("who", () => Effect.map(Member.identity, (identity) => identity._tag)),
      Handlers.toLayer,
      Layer.provide(Member.layer(Scheme.session({
        from: Credentials.query("session"),
        lookup: (token) =>
          Effect.sync(() =>
            Option.map(
              Option.fromNullishOr(sessions.get(Redacted.value(token))),
              ({ until, ...user }) => Authentication.authenticated(user, { expiresAt: until })
            )
          )
      }))),
      Layer.provideMerge(Authority.layerMemory)
    )
    const news = Authority.invalidate(Authority.identity(Member, "alice"))
    const enter = Effect.suspend(() => {
      sessions.clear()
      sessions.set("s", { name: "alice", roles: ["admin"] })
      return Testing.connect(Club, { query: "session=s" })
    })

    it.effect("is found out anew: the same user with other roles", () =>
      Effect.gen(function*() {
        const client = yield* enter
        assert.strictEqual((yield* client.ask("rule")).data, "alice")
        sessions.set("s", { name: "alice", roles: [] })
        assert.strictEqual((yield* client.ask("rule")).status, 200)
        yield* news
        assert.strictEqual((yield* client.ask("rule")).status, 403)
        sessions.set("s", { name: "alice", roles: ["admin"] })
        yield* news
        assert.strictEqual((yield* client.ask("rule")).status, 200)
      }).pipe(Effect.provide(ClubLive)))

    it.effect("closes the connection with 4401 when the session has ended, or is another user's", () =>
      Effect.gen(function*() {
        const ended = yield* enter
        sessions.clear()
        yield* news
        assert.deepStrictEqual(yield* ended.closed, { code: 4401, reason: "The session is not known, or has ended" })
        const taken = yield* enter
        sessions.set("s", { name: "mallory", roles: ["admin"] })
        yield* news
        assert.deepStrictEqual(yield* taken.closed, { code: 4401, reason: "The credentials are now another user's" })
      }).pipe(Effect.provide(ClubLive)))

    it.effect("is who is asked about when what runs is decided anew", () =>
      Effect.gen(function*() {
        const client = yield* enter
        const asking = yield* Effect.forkChild(client.ask("reign"), { startImmediately: true })
        const waiting = yield* Effect.forkChild(client.ask("wait"), { startImmediately: true })
        yield* settle
        sessions.set("s", { name: "alice", roles: [] })
        yield* news
        assert.deepStrictEqual(
          (yield* Fiber.join(asking)).errors,
          lost("You do not have permission to perform this action")
        )
        assert.strictEqual((yield* client.ask("rule")).status, 403)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(waiting)).status, 200)
      }).pipe(Effect.provide(ClubLive)))

    it.effect("expires anew", () =>
      Effect.gen(function*() {
        const client = yield* enter
        sessions.set("s", { name: "alice", roles: ["admin"], until: 60_000 })
        yield* news
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual((yield* client.ask("rule")).status, 200)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* client.closed).code, 4401)
      }).pipe(Effect.provide(ClubLive)))
  })

  describe("the service", () => {
    it.effect("tells those who have subscribed, as long as they want", () =>
      Effect.gen(function*() {
        const authority = Authority.makeMemory()
        const heard: Array<string> = []
        const listener = (target: Authority.Target) => heard.push(target._tag)
        const scope = yield* Scope.make()
        yield* Scope.provide(authority.subscribe(listener), scope)
        yield* authority.subscribe(listener)
        yield* authority.invalidate(Authority.everyone)
        assert.strictEqual(heard.length, 2)
        yield* Scope.close(scope, Exit.void)
        yield* authority.invalidate(Authority.connection("1"))
        assert.deepStrictEqual(heard, ["Everyone", "Everyone", "Connection"])
      }))

    it.effect("is shared by the process where none is provided", () =>
      Effect.gen(function*() {
        const heard: Array<Authority.Target> = []
        yield* (yield* Authority.Authority).subscribe((target) => heard.push(target))
        yield* Authority.invalidate(Authority.connection("nobody"))
        assert.deepStrictEqual(heard, [{ _tag: "Connection", id: "nobody" }])
        yield* Effect.provide(Authority.invalidate(Authority.everyone), Authority.layerMemory)
        assert.strictEqual(heard.length, 1)
      }))

    it.effect("is let go of with the server", () =>
      Effect.gen(function*() {
        let listeners = 0
        const counting: Authority.Authority = {
          invalidate: () => Effect.void,
          subscribe: () =>
            Effect.acquireRelease(Effect.sync(() => void listeners++), () => Effect.sync(() => void listeners--))
        }
        const Quiet = Consumer.make("quiet", { path: "/ws/" }).pipe(Consumer.add(Action.make("ping")))
        const live = Consumer.handlers(Quiet).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer)
        yield* serve([Quiet], live).pipe(
          Effect.tap(() => Effect.sync(() => assert.strictEqual(listeners, 1))),
          Effect.scoped,
          Effect.provideService(Authority.Authority, counting)
        )
        assert.strictEqual(listeners, 0)
      }))

    it.effect("must be the same for what serves and for the handlers, and so must what else they share", () =>
      Effect.gen(function*() {
        const Quiet = Consumer.make("quiet", { path: "/ws/" }).pipe(Consumer.add(Action.make("ping")))
        const live = Consumer.handlers(Quiet).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer)
        const serving = Effect.scoped(Effect.asVoid(Pipeline.make([Quiet])))
        const shared = [Authority.layerMemory, Settings.layer({ pageSize: 5 }), Throttle.layerMemory()]
        const words = [/another Authority than the server/, /Settings that its handlers do not have/, /Throttle\.Store/]
        for (const [i, layer] of shared.entries()) {
          const beside = yield* Effect.flip(Effect.provide(serving, Layer.merge(live, layer)))
          assert.strictEqual(beside._tag, "DefinitionError")
          assert.match(beside.message, words[i]!)
          yield* Effect.provide(serving, Layer.provideMerge(live, layer))
        }
        // One that nobody but the handlers has could not tell the server anything; settings may be theirs alone.
        const own = yield* Effect.flip(Effect.provide(serving, Layer.provide(live, Authority.layerMemory)))
        assert.match(own.message, words[0]!)
        yield* Effect.provide(serving, Layer.provide(live, Settings.layer({ pageSize: 5 })))
      }))

    it.effect("has targets that are plain data", () =>
      Effect.sync(() => {
        for (
          const target of [Authority.everyone, Authority.connection("1"), Authority.identity(CurrentUser, "alice")]
        ) {
          assert.deepStrictEqual(JSON.parse(JSON.stringify(target)), target)
        }
      }))
  })

  describe("under way", () => {
    /** What happens: a message, a change of the facts with its news, some turns of the scheduler. */
    const Step = Schema.Union([
      Schema.TaggedStruct("Send", { user: Schema.Literals(["alice", "bob"]) }),
      Schema.TaggedStruct("Revoke", { user: Schema.Literals(["alice", "bob"]) }),
      Schema.TaggedStruct("Grant", { user: Schema.Literals(["alice", "bob"]) }),
      Schema.TaggedStruct("Turn", { times: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 })) })
    ])

    it.effect.prop(
      "nothing is done by what was decided before, whatever the order of things",
      {
        steps: Arbitrary.array(Arbitrary.schema(Step), { minLength: 1, maxLength: 40 }),
        delay: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
      },
      ({ delay, steps }) => {
        const granted = new Set(["alice", "bob"])
        const wrong: Array<string> = []
        const turns = (times: number) => Effect.replicateEffect(Effect.yieldNow, times, { discard: true })
        const isGranted = Permission.connection(
          "isGranted",
          CurrentUser.use(({ name }) => {
            const answer = granted.has(name)
            return Effect.as(turns(delay), answer)
          })
        )
        const act = Action.make("act", { success: Schema.String }).pipe(Action.permit(isGranted))
        const Acts = Consumer.make("acts", { path: "/ws/", concurrency: 3 }).pipe(Consumer.add(act))
        const live = Consumer.handlers(Acts).pipe(
          Handlers.handle("act", () =>
            CurrentUser.use(({ name }) => {
              if (!granted.has(name)) wrong.push(name)
              return Effect.as(turns(delay), name)
            })),
          Handlers.toLayer,
          Layer.provide(Testing.layerAuthentication(CurrentUser)),
          Layer.provideMerge(Authority.layerMemory)
        )
        return Effect.gen(function*() {
          const clients = {
            alice: yield* Testing.connect(Acts, { as: as("alice") }),
            bob: yield* Testing.connect(Acts, { as: as("bob") })
          }
          const sent = { alice: 0, bob: 0 }
          for (const step of steps) {
            switch (step._tag) {
              case "Send":
                yield* clients[step.user].send({ action: "act", request_id: sent[step.user]++ })
                break
              case "Revoke":
                granted.delete(step.user)
                yield* invalidate(step.user)
                break
              case "Grant":
                granted.add(step.user)
                yield* invalidate(step.user)
                break
              case "Turn":
                yield* turns(step.times)
            }
          }
          // Each request has its reply, and only its own user's.
          for (const user of ["alice", "bob"] as const) {
            const ids: Array<unknown> = []
            for (let i = 0; i < sent[user]; i++) {
              const reply = (yield* clients[user].receive) as Reply.Reply
              ids.push(reply.request_id)
              if (reply.status === 200) assert.strictEqual(reply.data, user)
              else assert.strictEqual(reply.status, 403)
            }
            assert.deepStrictEqual(ids.toSorted((a, b) => Number(a) - Number(b)), ids.map((_, i) => i))
          }
          assert.deepStrictEqual(wrong, [])
        }).pipe(Effect.scoped, Effect.provide(live))
      },
      { arbitrary: { runs: 150 } }
    )

    it.effect("a hundred connections of two users are never mixed up", () =>
      Effect.gen(function*() {
        const { roles } = yield* Facts
        const names = Array.from({ length: 100 }, (_, i) => i % 2 === 0 ? "alice" : "bob")
        const clients = yield* Effect.forEach(names, (name) => Testing.connect(Desk, { as: as(name) }), {
          concurrency: "unbounded"
        })
        const done = yield* Deferred.make<void>()
        const flipping = Effect.gen(function*() {
          while (!Deferred.isDoneUnsafe(done)) {
            yield* revoke("bob", "editor")
            yield* Effect.yieldNow
            roles.add("bob editor")
            yield* invalidate("bob")
            yield* Effect.yieldNow
          }
        })
        const fiber = yield* Effect.forkChild(flipping)
        const answers = yield* Effect.forEach(
          clients,
          (client, i) =>
            Effect.forEach([1, 2, 3], () => Effect.map(client.ask("edit"), (answer) => [names[i]!, answer] as const)),
          { concurrency: "unbounded" }
        )
        yield* Deferred.succeed(done, undefined)
        yield* Fiber.join(fiber)
        for (const [name, { data, status }] of answers.flat()) {
          if (name === "alice") assert.strictEqual(status, 200)
          if (status === 200) assert.strictEqual(data, name)
          else assert.strictEqual(status, 403)
        }
      }).pipe(Effect.provide(DeskLive)))
  })
})
