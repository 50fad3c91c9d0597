/**
 * One event for its recipients in this process: what it says is decoded once, and what depends on no more than an identity is
 * decided once for all connections that have it.
 */
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Message } from "../ChannelLayer.ts"
import * as Decision from "../Decision.ts"
import type * as Permission from "../Permission.ts"
import type { Event } from "./channels.ts"
import * as decide from "./decide.ts"
import type { Eager } from "./eager.ts"
import type { Standing } from "./standing.ts"

type Result = Decision.Decision<Permission.Tree>

/** An event for its recipients. */
export class Delivery {
  readonly message: Message
  readonly event: Event
  #facts: Eager<Permission.Facts | Decision.Failed> | undefined
  #identities: Map<string, Array<Identity>> | undefined
  /** What was decided before by whoever has an identity counts as long as this is the generation. */
  #generation = 0
  #isBroken = false

  constructor(message: Message, event: Event) {
    this.message = message
    this.event = event
  }

  /** A check of it broke for somebody: once is said for all of them. */
  broke(cause: Cause.Cause<unknown>, log: (type: string, cause: Cause.Cause<unknown>) => void): void {
    if (this.#isBroken) return
    this.#isBroken = true
    log(this.event.type, cause)
  }

  /** What its checks look at; a failure where its data does not have the schema of the event. */
  facts(standing: Standing): Eager<Permission.Facts | Decision.Failed> {
    const { data, type } = this.message
    return this.#facts ??= atOnce(
      this.event.decode(data),
      standing.consumer.context,
      (exit): Permission.Facts | Decision.Failed =>
        exit._tag === "Success"
          ? { phase: "delivery", type, event: exit.value }
          : Decision.failed(type, exit.cause),
      standing.consumer.redecisionTimeout
    )
  }

  /** What checks say to everybody with the same identity as this connection; nothing of it is older than the generation. */
  shared(standing: Standing, generation: number): decide.Shared {
    if (this.#generation !== generation) this.#identities = undefined
    this.#generation = generation
    const identities = this.#identities ??= new Map<string, Array<Identity>>()
    const { key, users } = standing.alike
    const alike = identities.get(key)
    const known = alike?.find((one) => isSame(one.users, users))
    if (known !== undefined) return known
    const identity = new Identity(users, standing)
    if (alike === undefined) identities.set(key, [identity])
    else alike.push(identity)
    return identity
  }
}

const isSame = (some: ReadonlyArray<unknown>, others: ReadonlyArray<unknown>): boolean =>
  some.every((user, i) => user === others[i] || isEqual(user, others[i]))

/** What breaks when it is compared is not the same. */
const isEqual = (user: unknown, other: unknown): boolean => {
  try {
    return Equal.equals(user, other)
  } catch {
    return false
  }
}

/** Checks that have looked at the scope of a connection: they are asked for each of them from then on. */
const scoped = new WeakSet<Permission.Check>()

/** What checks say to whoever has an identity. */
class Identity implements decide.Shared {
  readonly users: ReadonlyArray<unknown>
  readonly #standing: Standing
  readonly #said = new Map<Permission.Check, Eager<Result | undefined>>()

  constructor(users: ReadonlyArray<unknown>, standing: Standing) {
    this.users = users
    this.#standing = standing
  }

  ask(check: Permission.Check, facts: Permission.Facts): Eager<Result | undefined> {
    if (scoped.has(check)) return undefined
    if (this.#said.has(check)) return this.#said.get(check)
    const said = this.#ask(check, facts)
    this.#said.set(check, said)
    return said
  }

  /**
   * There is no connection where it is asked: one that looks at the connection breaks, and is then asked for each of them. So is
   * one that breaks for another reason.
   */
  #ask(check: Permission.Check, facts: Permission.Facts): Eager<Result | undefined> {
    let answer: boolean | Effect.Effect<boolean, unknown, unknown>
    try {
      answer = check.evaluate(facts as never)
    } catch {
      return undefined
    }
    if (!Effect.isEffect(answer)) return sound(decide.judge(check, answer))
    const context = this.#standing.shared(() => scoped.add(check))
    return atOnce(
      answer,
      context,
      (exit) => scoped.has(check) ? undefined : sound(decide.fromExit(check, exit)),
      this.#standing.consumer.redecisionTimeout
    )
  }
}

/** That somebody is nobody is a denial, which everybody like them shares. */
const sound = (result: Result): Result | undefined =>
  result._tag === "Failed" && decide.outcomeOfDecision(result) !== "Deny" ? undefined : result

/**
 * What an effect comes to, if it is there at once; else an effect of it, which as many as want may wait for, so many milliseconds at
 * the most.
 */
const atOnce = <A, B>(
  effect: Effect.Effect<A, unknown, unknown>,
  context: Context.Context<never>,
  f: (exit: Exit.Exit<A, unknown>) => B,
  timeout: number
): Eager<B> => {
  const fiber = Effect.runForkWith(context)(effect as Effect.Effect<A, unknown>)
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) return f(exit)
  const ended = Effect.timeoutOrElse(Fiber.await(fiber), {
    duration: timeout,
    orElse: () => Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
  })
  return Effect.map(ended, f)
}
