/**
 * Nodes that share a Redis, and how tests look at them.
 */
import { ChannelLayer } from "@effect-channels/core"
import * as Authority from "@effect-channels/core/Authority"
import * as Idempotency from "@effect-channels/core/Idempotency"
import * as Throttle from "@effect-channels/core/Throttle"
import { RedisChannels } from "@effect-channels/redis"
import { assert } from "@effect/vitest"
import { createClient } from "@redis/client"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"

/** What one node provides. */
export interface Node {
  readonly layer: ChannelLayer.ChannelLayer["Service"]
  readonly authority: Authority.Authority
  readonly store: Throttle.Store
  readonly outcomes: Idempotency.Store
}

/** A node as long as the scope is open. */
export const makeNode = (
  options: RedisChannels.Options
): Effect.Effect<Node, RedisChannels.StartError, Scope.Scope> =>
  Effect.map(Layer.build(Layer.fresh(RedisChannels.layer(options))), (context) => ({
    layer: Context.get(context, ChannelLayer.ChannelLayer),
    authority: Context.get(context, Authority.Authority),
    store: Context.get(context, Throttle.Store),
    outcomes: Context.get(context, Idempotency.Store)
  }))

/** Says nothing of what is expected to go wrong. */
export const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provide(effect, Logger.layer([]))

/** A connection of the test's own to Redis. */
export const admin = (url: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = createClient({ url, maintNotifications: "disabled" })
      client.on("error", () => {})
      await client.connect()
      return client
    }),
    (client) => Effect.sync(() => client.destroy())
  ).pipe(Effect.map((client) => (...command: ReadonlyArray<string>): Effect.Effect<unknown> =>
    Effect.promise(() => client.sendCommand(command))
  ))

/** Waits until an effect succeeds. */
export const until = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A> =>
  Effect.gen(function*() {
    const end = performance.now() + 30_000
    for (;;) {
      const exit = yield* Effect.exit(effect)
      if (Exit.isSuccess(exit)) return exit.value
      if (performance.now() > end) return yield* Effect.orDie(exit)
      yield* Effect.sleep(10)
    }
  })

/** Waits until an effect succeeds with a value. */
export const untilIs = <A, E>(effect: Effect.Effect<A, E>, expected: A): Effect.Effect<unknown> =>
  until(Effect.map(effect, (actual) => assert.deepStrictEqual(actual, expected)))

/** Fails unless an effect fails with `Unavailable`; answers with how many milliseconds that took. */
export const fails = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>): Effect.Effect<number> =>
  Effect.gen(function*() {
    const since = performance.now()
    const error = yield* Effect.flip(effect).pipe(Effect.catch(() => Effect.die(new Error("It has succeeded"))))
    assert.strictEqual(error._tag, "Unavailable")
    return performance.now() - since
  })
