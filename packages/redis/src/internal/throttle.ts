/**
 * The counts of throttles, in Redis.
 */
import type * as Throttle from "@effect-channels/core/Throttle"
import * as Effect from "effect/Effect"
import type { Link } from "./link.ts"
import * as scripts from "./scripts.ts"
import type { Time } from "./time.ts"

/** A store of throttles. */
export const makeStore = (link: Link, prefix: string, time?: Time): Throttle.Store => {
  const ask = (key: string, { algorithm, capacity, limit, window }: Throttle.Rule, take: 0 | 1) => {
    const at = (now: number | "") =>
      Effect.map(
        link.use((session) =>
          session.eval(scripts.throttle, [`${prefix}:t:${key}`], [
            algorithm,
            capacity,
            limit,
            window,
            take,
            now,
            time?.slack ?? 0
          ])
        ),
        Number
      )
    return time === undefined ? at("") : Effect.flatMap(time.now, at)
  }
  return {
    consume: (key, rule) => ask(key, rule, 1),
    peek: (key, rule) => ask(key, rule, 0)
  }
}
