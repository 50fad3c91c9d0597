/**
 * What has been done once for each key, and who is just doing it, in Redis.
 */
import type * as ChannelError from "@effect-channels/core/ChannelError"
import type * as Idempotency from "@effect-channels/core/Idempotency"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import type { Link } from "./link.ts"
import { texts } from "./replies.ts"
import * as scripts from "./scripts.ts"
import type { Time } from "./time.ts"

/** Whoever waits for an outcome looks for it again after so long at first, then ever more seldom, in milliseconds. */
const soonest = 20
const latest = 250

/** A store of outcomes. A claim holds for `lease` milliseconds, unless it is renewed. */
export const makeOutcomes = (link: Link, prefix: string, lease: number, time?: Time): Idempotency.Store => {
  const ask = (script: scripts.Script, attempt: Idempotency.Attempt, millis: number, outcome: string) => {
    const at = (now: number | "") =>
      link.use((session) =>
        session.eval(script, [`${prefix}:i:${digest(attempt.key)}`], [
          // What is asked for may be secret.
          digest(attempt.fingerprint),
          attempt.id,
          Math.ceil(millis),
          now,
          time?.slack ?? 0,
          outcome
        ])
      )
    return time === undefined ? at("") : Effect.flatMap(time.now, at)
  }
  const claim = (
    attempt: Idempotency.Attempt,
    delay: number
  ): Effect.Effect<Idempotency.Claimed, ChannelError.Unavailable> =>
    Effect.flatMap(ask(scripts.claimAttempt, attempt, lease, ""), (reply) => {
      const [what, outcome] = texts(reply)
      switch (what) {
        case "claimed":
          return claimed
        case "reused":
          return reused
        case "known":
          return Effect.succeed({ _tag: "Known", outcome: parse(outcome!) })
        default:
          return Effect.andThen(
            Effect.sleep(delay),
            Effect.suspend(() => claim(attempt, Math.min(2 * delay, latest)))
          )
      }
    })
  return {
    lease,
    claim: (attempt) => claim(attempt, soonest),
    renew: (attempt) => Effect.map(ask(scripts.renewAttempt, attempt, lease, ""), (reply) => Number(reply) === 1),
    keep: (attempt, outcome, millis) => Effect.asVoid(ask(scripts.keepOutcome, attempt, millis, print(outcome))),
    release: (attempt) => Effect.asVoid(ask(scripts.releaseAttempt, attempt, lease, ""))
  }
}

const claimed: Effect.Effect<Idempotency.Claimed> = Effect.succeed({ _tag: "Claimed" })
const reused: Effect.Effect<Idempotency.Claimed> = Effect.succeed({ _tag: "Reused" })

const digest = (text: string): string => createHash("sha256").update(text).digest("base64url")

const print = ({ data, errors, status }: Idempotency.Outcome): string => JSON.stringify([status, errors, data])

const parse = (text: string): Idempotency.Outcome => {
  const [status, errors, data] = JSON.parse(text)
  return { status, errors, data }
}
