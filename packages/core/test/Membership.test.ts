import {
  Action,
  Authority,
  ChannelError,
  ChannelLayer,
  Consumer,
  Event,
  Group,
  Handlers,
  Membership,
  Permission
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { settle, withLogs } from "./support/connection.ts"
import { AuthenticationLive, heard, layerTest, layerWith, received, start, watchKept } from "./support/groups.ts"

const Document = Group.make("document", { id: Schema.Int })
const Hidden = Group.make("hidden")
const Saved = Event.make("saved", Schema.String)

const follow = Action.make("follow", { payload: { id: Schema.Int }, success: Schema.String })
const unfollow = Action.make("unfollow", { payload: { id: Schema.Int }, success: Schema.Boolean })
const list = Action.make("list", { success: Schema.Array(Schema.Struct({ id: Schema.Int })) })
const escape = Action.make("escape", { payload: Schema.Literals(["join", "leave", "list"]) })
const flip = Action.make("flip", { payload: { times: Schema.Int }, concurrency: "unbounded" })

/** What is done in spite of the types. */
const undeclared = {
  join: Membership.join(Hidden, {}),
  leave: Membership.leave(Hidden, {}),
  list: Membership.list(Hidden)
} as unknown as Readonly<Record<string, Effect.Effect<void, never, Membership.Membership<"document">>>>

/** Lets others run after so many steps. */
const choppy = (steps: number) => Effect.provideService(References.MaxOpsBeforeYield, steps)

const make = (
  permit: Permission.Permission<{ readonly params: { readonly id: number } }> = Permission.allow,
  steps = 2048
) => {
  const Followed = Document.pipe(Group.permit(permit as never)) as typeof Document
  const Documents = Consumer.make("documents", { path: "/ws/", timeout: "10 seconds" }).pipe(
    Consumer.groups(Followed),
    Consumer.push(Saved),
    Consumer.add(follow, unfollow, list, escape, flip)
  )
  const live = Consumer.handlers(Documents).pipe(
    Handlers.handle("follow", ({ payload }) => choppy(steps)(Membership.join(Followed, payload))),
    Handlers.handle("unfollow", ({ payload }) => Membership.leave(Followed, payload)),
    Handlers.handle("list", () => Membership.list(Followed)),
    Handlers.handle("escape", ({ payload }) => undeclared[payload]!),
    Handlers.handle("flip", ({ payload }) =>
      Effect.forEach(
        Array.from({ length: payload.times }, (_, i) => i),
        (i) =>
          i % 2 === 0
            ? Effect.asVoid(Membership.join(Followed, { id: 1 }))
            : Effect.asVoid(Membership.leave(Followed, { id: 1 })),
        { concurrency: "unbounded", discard: true }
      )),
    Handlers.toLayer,
    Layer.provide(AuthenticationLive)
  )
  const of = (id: number) => ChannelLayer.group(Documents, Followed, { id })
  return {
    Documents,
    live,
    count: (id: number) => ChannelLayer.count(of(id)),
    save: (id: number, text: string) => ChannelLayer.send(of(id), Saved, text)
  }
}

const ask = (action: string, id?: number) => ({ action, data: id === undefined ? undefined : { id } })

describe("a handler", () => {
  it.effect("has its connection join and leave groups, and knows in which it is", () =>
    Effect.gen(function*() {
      const { Documents, count, live, save } = make()
      const server = yield* start(Documents, live)
      const [one, two] = [yield* server.connect("/ws/"), yield* server.connect("/ws/")]
      yield* save(1, "before")
      assert.strictEqual((yield* one.ask(ask("follow", 1))).data, "fresh")
      assert.strictEqual((yield* one.ask(ask("follow", 2))).data, "fresh")
      yield* two.ask(ask("follow", 2))
      assert.deepStrictEqual((yield* one.ask(ask("list"))).data, [{ id: 1 }, { id: 2 }])
      assert.deepStrictEqual((yield* two.ask(ask("list"))).data, [{ id: 2 }])
      yield* save(1, "1")
      yield* save(2, "2")
      assert.deepStrictEqual(yield* heard(one), ["1", "2"])
      assert.deepStrictEqual(yield* heard(two), ["2"])
      assert.strictEqual((yield* one.ask(ask("unfollow", 1))).data, true)
      assert.strictEqual((yield* one.ask(ask("unfollow", 1))).data, false)
      yield* save(1, "after")
      assert.deepStrictEqual(yield* heard(one), [])
      assert.strictEqual(yield* count(1), 0)
      assert.strictEqual(yield* count(2), 2)
      yield* one.leave
      assert.strictEqual(yield* count(2), 1)
    }).pipe(Effect.provide(layerTest)))

  it.effect("that joins a group twice has its connection in it once", () =>
    Effect.gen(function*() {
      const { Documents, count, live, save } = make()
      const server = yield* start(Documents, live)
      const client = yield* server.connect("/ws/")
      yield* client.ask(ask("follow", 1))
      assert.strictEqual((yield* client.ask(ask("follow", 1))).data, "fresh")
      yield* save(1, "once")
      assert.deepStrictEqual(yield* heard(client), ["once"])
      assert.strictEqual(yield* count(1), 1)
      assert.strictEqual((yield* client.ask(ask("unfollow", 1))).data, true)
      assert.strictEqual(yield* count(1), 0)
    }).pipe(Effect.provide(layerTest)))

  it.effect("that joins, leaves or lists a group that the consumer does not declare has a defect that says so", () =>
    withLogs((logs) =>
      Effect.gen(function*() {
        const { Documents, live } = make()
        const server = yield* start(Documents, live)
        const client = yield* server.connect("/ws/")
        for (const how of ["join", "leave", "list"]) {
          const reply = yield* client.ask({ action: "escape", data: how })
          assert.strictEqual(reply.status, 500, how)
          assert.notInclude(JSON.stringify(reply), "hidden")
          assert.include(
            logs.at(-1)?.cause,
            "The consumer \"documents\" does not declare this group \"hidden\": add it with Consumer.groups"
          )
        }
      })
    ).pipe(Effect.provide(layerTest)))

  it.effect("that may not, or cannot, have its connection join is answered so, and it is not in the group", () => {
    let isDown = true
    const layer = layerWith((memory) => ({
      add: (group, member, after) =>
        isDown ? Effect.fail(new ChannelError.Unavailable({ message: "No broker" })) : memory.add(group, member, after)
    }))
    return Effect.gen(function*() {
      const isEven = Permission.group<{ readonly id: number }>()("isEven", ({ params }) => params.id % 2 === 0, {
        reason: "Even ones only"
      })
      const { Documents, count, live, save } = make(isEven as never)
      const server = yield* start(Documents, live)
      const client = yield* server.connect("/ws/")
      const denied = yield* client.ask(ask("follow", 1))
      assert.deepInclude(denied, { status: 403, errors: [{ detail: "Even ones only", code: "permission_denied" }] })
      assert.strictEqual((yield* client.ask(ask("follow", 2))).status, 503)
      assert.deepStrictEqual((yield* client.ask(ask("list"))).data, [])
      isDown = false
      assert.strictEqual((yield* client.ask(ask("follow", 2))).status, 200)
      yield* save(1, "1")
      yield* save(2, "2")
      assert.deepStrictEqual(yield* heard(client), ["2"])
      assert.strictEqual(yield* count(1), 0)
    }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
  })
})

describe("joins and leaves of one connection", () => {
  it.effect("that happen at once happen one after the other", () => {
    const trace: Array<string> = []
    const layer = layerWith((memory) => ({
      add: (group, member, after) =>
        Effect.sync(() => trace.push("add")).pipe(
          Effect.andThen(Effect.yieldNow),
          Effect.andThen(memory.add(group, member, after)),
          Effect.tap(() => Effect.andThen(Effect.yieldNow, Effect.sync(() => trace.push("added"))))
        ),
      remove: (group, member) =>
        Effect.sync(() => trace.push("remove")).pipe(
          Effect.andThen(Effect.yieldNow),
          Effect.andThen(memory.remove(group, member)),
          Effect.tap(() => Effect.andThen(Effect.yieldNow, Effect.sync(() => trace.push("removed"))))
        )
    }))
    return Effect.gen(function*() {
      const { Documents, count, live, save } = make()
      const server = yield* start(Documents, live)
      const client = yield* server.connect("/ws/")
      yield* client.send({ action: "flip", data: { times: 7 } })
      yield* received(client)
      assert.deepStrictEqual(
        trace,
        Array.from({ length: 7 }, (_, i) => i % 2 === 0 ? ["add", "added"] : ["remove", "removed"]).flat()
      )
      assert.strictEqual(yield* count(1), 1)
      yield* save(1, "once")
      assert.deepStrictEqual(yield* heard(client), ["once"])
    }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
  })

  it.effect("that are interrupted leave no half of a membership, at whichever turn", () =>
    Effect.gen(function*() {
      for (const isUninterruptible of [false, true]) {
        const layer = layerWith((memory) => ({
          add: (group, member, after) => {
            const adding = Effect.sleep("5 seconds").pipe(
              Effect.andThen(memory.add(group, member, after)),
              Effect.tap(() => Effect.sleep("1 second"))
            )
            return isUninterruptible ? Effect.uninterruptible(adding) : adding
          }
        }))
        yield* Effect.gen(function*() {
          const { Documents, count, live, save } = make()
          const server = yield* start(Documents, live)
          // The action is given up after ten seconds.
          for (
            const wait of ["1 second", "4 seconds", "4001 millis", "5 seconds", "6 seconds", "10 seconds"] as const
          ) {
            const client = yield* server.connect("/ws/")
            yield* client.send({ action: "flip", data: { times: 1 } })
            yield* TestClock.adjust(wait)
            yield* client.send(ask("follow", 1))
            yield* TestClock.adjust("30 seconds")
            yield* settle
            yield* save(1, "hi")
            const frames = yield* received(client)
            assert.deepStrictEqual(frames.filter(({ type }) => type === "saved").length, yield* count(1), String(wait))
            const { data } = yield* client.ask(ask("list"))
            assert.strictEqual((data as Array<unknown>).length, yield* count(1), String(wait))
            yield* client.leave
            yield* TestClock.adjust("30 seconds")
            yield* settle
            assert.strictEqual(yield* count(1), 0)
          }
        }).pipe(Effect.scoped, Effect.provide(Layer.merge(layer, Authority.layerMemory)))
      }
    }))

  it.effect("that are given up are in the group with its events, or not in it, whatever the scheduler does", () =>
    Effect.gen(function*() {
      for (let turns = 0; turns < 60; turns++) {
        const { Documents, count, live, save } = make()
        const server = yield* choppy(3 + turns % 2)(start(Documents, live))
        const client = yield* server.connect("/ws/")
        yield* client.send(ask("follow", 1))
        for (let i = 0; i < turns; i++) yield* Effect.yieldNow
        // Interrupts what runs.
        yield* client.leave
        yield* settle
        assert.strictEqual(yield* count(1), 0, `after ${turns} turns`)
        yield* save(1, "nobody")
      }
    }).pipe(Effect.scoped, Effect.provide(layerTest)))
})

describe("a join that outlives its connection", () => {
  it.effect("does not come about", () => {
    const layer = layerWith((memory) => ({
      add: (group, member, after) => Effect.delay(memory.add(group, member, after), "1 second")
    }))
    return Effect.gen(function*() {
      const Later = Consumer.make("later", { path: "/ws/" }).pipe(
        Consumer.groups(Document),
        Consumer.add(Action.make("later"))
      )
      const live = Consumer.handlers(Later).pipe(
        Handlers.handle("later", () => Effect.asVoid(Effect.forkDetach(Membership.join(Document, { id: 1 })))),
        Handlers.toLayer
      )
      const kept = yield* watchKept
      const server = yield* start(Later, live)
      const client = yield* server.connect("/ws/")
      yield* client.ask(ask("later"))
      yield* client.leave
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.deepInclude(yield* kept, { connections: 0, groups: 0 })
    }).pipe(Effect.provide(Layer.merge(layer, Authority.layerMemory)))
  })
})

describe("memberships", () => {
  it.effect("that are given up while the connection is reviewed end without a second word", () =>
    Effect.gen(function*() {
      const answering = yield* Latch.make(true)
      let may = true
      const isIn = Permission.group<{ readonly id: number }>()(
        "isIn",
        () => Effect.map(answering.await, () => may)
      )
      const kept = yield* watchKept
      const { Documents, count, live, save } = make(isIn as never)
      const server = yield* start(Documents, live)
      const client = yield* server.connect("/ws/")
      yield* client.ask(ask("follow", 1))
      yield* answering.close
      may = false
      yield* Authority.invalidate(Authority.everyone)
      yield* client.peer.close()
      yield* settle
      yield* answering.open
      yield* settle
      yield* save(1, "nobody")
      assert.strictEqual(yield* count(1), 0)
      assert.deepInclude(yield* kept, { connections: 0, users: 0, groups: 0 })
    }).pipe(Effect.provide(layerTest)))

  it.effect("that begin while the facts change are decided by the facts as they are", () =>
    Effect.gen(function*() {
      const wrong: Array<string> = []
      for (let at = 0; at < 400; at++) {
        const [steps, turns] = [3 + at % 8, Math.floor(at / 8)]
        let may = true
        const isIn = Permission.group<{ readonly id: number }>()("isIn", () => may)
        const { Documents, count, live, save } = make(isIn as never, steps)
        const server = yield* start(Documents, live)
        const client = yield* server.connect("/ws/")
        yield* client.send(ask("follow", 1))
        for (let i = 0; i < turns; i++) yield* Effect.yieldNow
        may = false
        yield* Authority.invalidate(Authority.everyone)
        yield* settle
        yield* save(1, "secret")
        const frames = yield* received(client)
        if (frames.some(({ type }) => type === "saved")) wrong.push(`heard after ${turns} turns of ${steps} steps`)
        if ((yield* count(1)) > 0) wrong.push(`in after ${turns} turns of ${steps} steps`)
        yield* client.leave
      }
      assert.deepStrictEqual(wrong, [])
    }).pipe(Effect.scoped, Effect.provide(layerTest)))

  it.effect("of a thousand joins and leaves leave nothing behind", () =>
    Effect.gen(function*() {
      const kept = yield* watchKept
      const { Documents, live } = make()
      const server = yield* start(Documents, live)
      const client = yield* server.connect("/ws/")
      for (let id = 0; id < 1000; id++) {
        yield* client.ask(ask("follow", id))
        yield* client.ask(ask("unfollow", id))
      }
      assert.deepInclude(yield* kept, { connections: 1, groups: 0, histories: 0 })
      for (let id = 0; id < 1000; id++) {
        const other = yield* server.connect("/ws/")
        yield* other.send(ask("follow", id))
        yield* other.leave
      }
      yield* settle
      assert.deepInclude(yield* kept, { connections: 1, groups: 0 })
    }).pipe(Effect.provide(layerTest)), 30_000)
})
