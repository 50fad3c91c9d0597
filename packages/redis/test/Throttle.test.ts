import { Throttle as ThrottleModule } from "@effect-channels/core"
import type * as Throttle from "@effect-channels/core/Throttle"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { bucket, fixed, storeSuite } from "../../core/test/support/throttle-store.ts"
import { Link } from "../src/internal/link.ts"
import { Metrics } from "../src/internal/metrics.ts"
import { connect } from "../src/internal/session.ts"
import { makeStore } from "../src/internal/throttle.ts"
import { admin, makeNode, until } from "./support/nodes.ts"
import { freePort, RedisServer, skipped } from "./support/server.ts"

describe.skipIf(skipped !== undefined)("throttles over Redis", () => {
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
  storeSuite("over Redis", () =>
    Layer.sync(
      ThrottleModule.Store,
      () => makeStore(link, "suite", { now: Clock.currentTimeMillis, slack: 60_000 })
    ))

  it.live("counts on all servers together, in the time of Redis", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* makeNode({ url: server.url }), yield* makeNode({ url: server.url })]
      for (const rule of [bucket(10, 10, 60_000), fixed(10, 60_000)]) {
        const key = globalThis.crypto.randomUUID()
        const take = (store: Throttle.Store) => store.consume(key, rule)
        const waits = yield* Effect.all(
          Array.from({ length: 50 }, (_, i) => take(i % 2 === 0 ? a.store : b.store)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(waits.filter((wait) => wait === 0).length, 10)
        assert.isTrue(waits.every((wait) => wait >= 0 && wait <= 60_000))
        const before = yield* a.store.peek(key, rule)
        assert.isAbove(before, 0)
        assert.isAtMost(yield* b.store.peek(key, rule), before)
      }
    }), { timeout: 30_000 })

  it.live(
    "lets through one more when the time it told has passed, and forgets what is worth no more than a new one",
    () =>
      Effect.gen(function*() {
        const { store } = yield* makeNode({ url: server.url, prefix: "forgets" })
        const send = yield* admin(server.url)
        for (const rule of [bucket(2, 2, 300), fixed(2, 300)]) {
          const key = globalThis.crypto.randomUUID()
          assert.strictEqual(yield* store.peek(key, rule), 0)
          // To look takes nothing, and leaves nothing.
          assert.strictEqual(yield* send("EXISTS", `forgets:t:${key}`), 0)
          let wait = 0
          while (wait === 0) wait = yield* store.consume(key, rule)
          yield* Effect.sleep(wait)
          assert.strictEqual(yield* store.consume(key, rule), 0)
          assert.isAtMost(Number(yield* send("PTTL", `forgets:t:${key}`)), 300)
          yield* until(
            Effect.flatMap(send("EXISTS", `forgets:t:${key}`), (exists) =>
              exists === 0 ? Effect.void : Effect.fail("it is still there"))
          )
        }
      }),
    { timeout: 30_000 }
  )

  it.live("goes on where Redis has forgotten its scripts", () =>
    Effect.gen(function*() {
      const { store } = yield* makeNode({ url: server.url })
      const send = yield* admin(server.url)
      const key = globalThis.crypto.randomUUID()
      yield* send("SCRIPT", "FLUSH")
      const waits = yield* Effect.all(Array.from({ length: 5 }, () => store.consume(key, fixed(3, 60_000))), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(waits.map((wait) => wait === 0), [true, true, true, false, false])
    }))
})
