import { Action, Consumer, Handlers, Idempotency, Pipeline, Transport } from "@effect-channels/core"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { attempt, fresh, outcome, outcomeSuite } from "../../core/test/support/outcome-store.ts"
import { Link } from "../src/internal/link.ts"
import { Metrics } from "../src/internal/metrics.ts"
import { makeOutcomes } from "../src/internal/outcomes.ts"
import { connect } from "../src/internal/session.ts"
import { admin, fails, makeNode, type Node, quiet, until, untilIs } from "./support/nodes.ts"
import { freePort, RedisServer, redisServer, skipped } from "./support/server.ts"

const pay = Action.make("pay", { success: Schema.Int, idempotent: "key", concurrency: "unbounded" })
const Bank = Consumer.make("bank", { path: "/ws/" }).pipe(Consumer.add(pay))

/** A server on a node, which counts what is done on all of them. */
const serve = (node: Node, work: Effect.Effect<number>) =>
  Effect.flatMap(
    Layer.build(Consumer.handlers(Bank).pipe(Handlers.handle("pay", () => work), Handlers.toLayer)),
    (context) => Effect.provideContext(Pipeline.make([Bank]), context)
  ).pipe(Effect.provideService(Idempotency.Store, node.outcomes))

/** A connection to it. */
const open = Effect.fnUntraced(function*(pipeline: Pipeline.Pipeline) {
  const session = yield* pipeline.connect({ id: fresh(), url: "/ws/" })
  const [transport, peer] = yield* Transport.makeMemory
  yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
  return {
    close: peer.close(),
    send: (key: string) => peer.send(JSON.stringify({ action: "pay", idempotency_key: key })),
    next: Effect.map(peer.take, (text): { readonly status: number; readonly data: unknown } => JSON.parse(text))
  }
})

describe.skipIf(skipped !== undefined)("outcomes over Redis", () => {
  let server: RedisServer
  let link: Link
  beforeAll(async () => {
    server = new RedisServer(await Effect.runPromise(freePort))
    await server.start()
    const session = await Effect.runPromise(connect({ url: server.url, client: undefined, timeout: 5000 }, () => {}))
    link = new Link(new Metrics(Context.empty()), undefined, () => {})
    link.up(session)
  })
  afterAll(async () => {
    link.session?.close(new Error("The tests are over"))
    await server.dispose()
  })

  // In the time of the tests. A real server asks Redis what time it is: those of several servers may differ.
  outcomeSuite("over Redis", () =>
    Layer.sync(
      Idempotency.Store,
      () => makeOutcomes(link, "suite", 30_000, { now: Clock.currentTimeMillis, slack: 60_000 })
    ))

  it.live("has an attempt on one server wait for the outcome of one on another", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* makeNode({ url: server.url }), yield* makeNode({ url: server.url })]
      const first = attempt(fresh())
      assert.deepStrictEqual(yield* a.outcomes.claim(first), { _tag: "Claimed" })
      const second = yield* Effect.forkChild(b.outcomes.claim(attempt(first.key)), { startImmediately: true })
      yield* b.outcomes.release(attempt(first.key))
      assert.isUndefined(second.pollUnsafe())
      yield* a.outcomes.keep(first, outcome("a"), 60_000)
      assert.deepStrictEqual(yield* Fiber.join(second), { _tag: "Known", outcome: outcome("a") })
    }), { timeout: 30_000 })

  it.live(
    "lets claims and outcomes expire in the time of Redis, and tells it nothing that is secret",
    () =>
      Effect.gen(function*() {
        const node = yield* makeNode({ url: server.url, prefix: "expires", heartbeat: 100, nodeTimeout: 200 })
        const send = yield* admin(server.url)
        assert.strictEqual(node.outcomes.lease, 400)
        const first = attempt(fresh(), `["hunter2"]`)
        yield* node.outcomes.claim(first)
        const keys = yield* send("KEYS", "expires:i:*")
        assert.lengthOf(keys as Array<string>, 1)
        const [key] = keys as [string]
        assert.notInclude(key, first.key)
        assert.notInclude(JSON.stringify(yield* send("HGETALL", key)), "hunter2")
        assert.isAtMost(Number(yield* send("PTTL", key)), 400)
        // It waits until the claim has expired.
        const second = attempt(first.key, first.fingerprint)
        assert.deepStrictEqual(yield* node.outcomes.claim(second), { _tag: "Claimed" })
        yield* node.outcomes.keep(second, outcome(1), 300)
        assert.isAtMost(Number(yield* send("PTTL", key)), 300)
        yield* until(
          Effect.flatMap(send("EXISTS", key), (exists) => exists === 0 ? Effect.void : Effect.fail("it is still there"))
        )
      }),
    { timeout: 30_000 }
  )

  it.live("has two servers do it once: the client of one has gone, and asks the other", () =>
    Effect.gen(function*() {
      const gate = yield* Latch.make(false)
      let [begun, done] = [0, 0]
      const work = Effect.suspend(() => {
        begun++
        return Effect.map(gate.await, () => ++done)
      })
      const [a, b] = [
        yield* serve(yield* makeNode({ url: server.url }), work),
        yield* serve(yield* makeNode({ url: server.url }), work)
      ]
      const key = fresh()
      const first = yield* open(a)
      yield* first.send(key)
      yield* untilIs(Effect.sync(() => begun), 1)
      yield* first.close
      const others = yield* Effect.forEach(Array.from({ length: 20 }, (_, i) => i % 2 === 0 ? a : b), open)
      for (const client of others) yield* client.send(key)
      yield* gate.open
      for (const client of others) {
        const { data, status } = yield* client.next
        assert.deepStrictEqual([status, data], [200, 1])
      }
      // All at once, where nobody was first.
      const another = fresh()
      for (const client of others) yield* client.send(another)
      for (const client of others) assert.strictEqual((yield* client.next).data, 2)
      assert.deepStrictEqual([begun, done], [2, 2])
    }), { timeout: 30_000 })

  it.live("does it anew where the server has died that did it", () =>
    Effect.gen(function*() {
      const options = { url: server.url, heartbeat: 100, nodeTimeout: 500 }
      const [dead, alive] = [yield* makeNode(options), yield* makeNode(options)]
      let [begun, done] = [0, 0]
      const begin = Effect.sync(() => void begun++)
      // It claims, and is never heard of again.
      const dying = yield* serve(
        { ...dead, outcomes: { ...dead.outcomes, renew: () => Effect.never, release: () => Effect.void } },
        Effect.andThen(begin, Effect.never)
      )
      const living = yield* serve(alive, Effect.sync(() => ++done))
      const [one, two] = [yield* open(dying), yield* open(living)]
      const [key, slow] = [fresh(), fresh()]
      yield* one.send(key)
      yield* untilIs(Effect.sync(() => begun), 1)
      const since = performance.now()
      yield* two.send(key)
      assert.deepStrictEqual((yield* two.next).data, 1)
      assert.isAbove(performance.now() - since, 500)
      // What takes longer than a claim holds is not done twice, as long as its server lives.
      const gate = yield* Latch.make(false)
      const working = yield* serve(dead, begin.pipe(Effect.andThen(gate.await), Effect.map(() => ++done)))
      const [three, four] = [yield* open(working), yield* open(living)]
      yield* three.send(slow)
      yield* untilIs(Effect.sync(() => begun), 2)
      yield* four.send(slow)
      yield* Effect.sleep(2500)
      assert.strictEqual(done, 1)
      yield* gate.open
      assert.deepStrictEqual((yield* four.next).data, 2)
      assert.strictEqual(done, 2)
    }), { timeout: 30_000 })

  it.live("goes on where Redis has forgotten its scripts", () =>
    Effect.gen(function*() {
      const { outcomes } = yield* makeNode({ url: server.url })
      const send = yield* admin(server.url)
      const first = attempt(fresh())
      for (const step of [outcomes.claim(first), outcomes.renew(first), outcomes.keep(first, outcome(1), 60_000)]) {
        yield* send("SCRIPT", "FLUSH")
        yield* step as Effect.Effect<unknown>
      }
      yield* send("SCRIPT", "FLUSH")
      yield* outcomes.release(first)
      assert.deepStrictEqual(yield* outcomes.claim(attempt(first.key)), { _tag: "Known", outcome: outcome(1) })
    }))

  it.live("fails at once while Redis cannot be reached, and goes on afterwards", () =>
    quiet(Effect.gen(function*() {
      const away = yield* redisServer
      const { outcomes } = yield* makeNode({ url: away.url, heartbeat: 200, nodeTimeout: 1500, commandTimeout: 1000 })
      const first = attempt(fresh())
      yield* outcomes.claim(first)
      yield* Effect.promise(() => away.kill())
      // The first one may have to find out.
      yield* fails(outcomes.claim(attempt(fresh())))
      const steps: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
        outcomes.claim(first),
        outcomes.renew(first),
        outcomes.keep(first, outcome(1), 60_000),
        outcomes.release(first)
      ]
      for (const step of steps) assert.isBelow(yield* fails(step), 1000)
      yield* Effect.promise(() => away.start())
      // It has lost its data: the claim is as good as one that has expired.
      yield* until(outcomes.renew(first))
      yield* outcomes.keep(first, outcome(1), 60_000)
      assert.deepStrictEqual(yield* outcomes.claim(attempt(first.key)), { _tag: "Known", outcome: outcome(1) })
    })), { timeout: 60_000 })
})
