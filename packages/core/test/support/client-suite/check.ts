/**
 * What the cases of the suite say of what they have seen, wherever they run.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** Throws where two values are not the same, with the same prototypes all the way down. */
export const equal = (actual: unknown, expected: unknown, what = ""): void => {
  if (isSame(actual, expected)) return
  throw new Error(`${what === "" ? "" : `${what}: `}expected ${show(expected)}, and it is ${show(actual)}`)
}

/** Throws where something does not hold. */
export function isTrue(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`it does not hold: ${what}`)
}

const isSame = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime()
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isSame(a[key as never], b[key as never]))
}

const show = (value: unknown): string => {
  const text = textOf(value)
  return text.length > 1000 ? `${text.slice(0, 1000)}…` : text
}

const textOf = (value: unknown): string => {
  if (value instanceof Error) return `${value.name} ${JSON.stringify({ ...value, message: value.message })}`
  const name = typeof value === "object" && value !== null ? value.constructor?.name ?? "" : ""
  const text = JSON.stringify(value, (_, part: unknown) => part === undefined ? "undefined" : part) ?? String(value)
  return ["", "Object", "Array", "Date"].includes(name) ? text : `${name} ${text}`
}

type Class<A> = abstract new(...args: ReadonlyArray<never>) => A

/** Runs what is to fail with an error of this class, and these fields; answers with it. */
export const fails = <A, E, R, Failure>(
  effect: Effect.Effect<A, E, R>,
  failure: Class<Failure>,
  fields: Partial<Failure> = {}
): Effect.Effect<Failure, never, R> =>
  Effect.matchCauseEffect(effect, {
    onSuccess: (value) =>
      Effect.die(new Error(`expected it to fail with ${failure.name}, and it succeeded with ${show(value)}`)),
    onFailure: (cause) =>
      Effect.sync(() => {
        const error = Cause.squash(cause)
        isFailure(error, failure, fields)
        return error as Failure
      })
  })

/** Throws where something is no error of this class, with these fields. */
export const isFailure = <Failure>(error: unknown, failure: Class<Failure>, fields: Partial<Failure> = {}): void => {
  if (!(error instanceof failure)) throw new Error(`expected ${failure.name}, and it is ${show(error)}`)
  for (const [key, expected] of Object.entries(fields)) {
    equal((error as Readonly<Record<string, unknown>>)[key], expected, `${failure.name}.${key}`)
  }
}

/** What a stream gives, from now on. */
export interface Listening<A, E> {
  /** The next one; fails as the stream does, with `Done` at its end. */
  readonly next: Effect.Effect<A, E | Cause.Done>
  readonly take: (count: number) => Effect.Effect<ReadonlyArray<A>, E | Cause.Done>
  /** All up to the first one that is meant. */
  readonly until: (isMeant: (value: A) => boolean) => Effect.Effect<ReadonlyArray<A>, E | Cause.Done>
  /** All that is there, and was not taken. */
  readonly rest: Effect.Effect<ReadonlyArray<A>, E | Cause.Done>
}

/** Listens to a stream as long as the scope is open. */
export const listen = <A, E, R>(
  stream: Stream.Stream<A, E, R>
): Effect.Effect<Listening<A, E>, never, R | Scope.Scope> =>
  Effect.gen(function*() {
    const queue = yield* Queue.unbounded<A, E | Cause.Done>()
    yield* Stream.runForEach(stream, (value) => Queue.offer(queue, value)).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (exit._tag === "Success") Queue.endUnsafe(queue)
          else Queue.failCauseUnsafe(queue, exit.cause)
        })
      ),
      Effect.ignoreCause,
      Effect.forkScoped({ startImmediately: true })
    )
    const next = Queue.take(queue)
    return {
      next,
      take: (count) => Effect.replicateEffect(next, count),
      until: (isMeant) =>
        Effect.gen(function*() {
          const taken: Array<A> = []
          while (true) {
            const value = yield* next
            taken.push(value)
            if (isMeant(value)) return taken
          }
        }),
      rest: Queue.clear(queue)
    }
  })

/** Succeeds where something has ended. */
export const ends = <A, E, R>(effect: Effect.Effect<A, E | Cause.Done, R>): Effect.Effect<void, E, R> =>
  Effect.matchEffect(effect, {
    onSuccess: (value) => Effect.die(new Error(`expected the end, and there is ${show(value)}`)),
    onFailure: (error) => Cause.isDone(error) ? Effect.void : Effect.fail(error as E)
  })
