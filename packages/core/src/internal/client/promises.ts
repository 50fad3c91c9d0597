/**
 * A client for code that is not on Effect: promises for effects, async iterables for streams.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

type Functions = Readonly<Record<string, unknown>>

/** The same functions, with promises and async iterables. */
export const promises = (
  client: Functions,
  callsOf: (route: string, params: Readonly<Record<string, unknown>>) => object,
  context: Context.Context<never>
): object => {
  const given = (value: unknown, options?: Effect.RunOptions): unknown =>
    Stream.isStream(value)
      ? Stream.toAsyncIterableWith(value as Stream.Stream<unknown, unknown>, context)
      : Effect.runPromiseWith(context)(value as Effect.Effect<unknown, unknown>, options)

  const wrap = (functions: Functions): object =>
    Object.entries(functions).reduce(
      (wrapped, [name, f]) =>
        typeof f !== "function" ? wrapped : Object.defineProperty(wrapped, name, {
          // The options of a call may have a signal, as those of a run.
          value: (...args: ReadonlyArray<unknown>): unknown =>
            given(f(...args), args[1] as Effect.RunOptions | undefined),
          enumerable: true,
          configurable: true
        }),
      Object.create(null) as object
    )

  const { connect, disconnect, heard, statuses } = client
  return Object.defineProperties(wrap(client), {
    at: {
      value: (route: string, params: Readonly<Record<string, unknown>> = {}) =>
        wrap(callsOf(route, params) as Functions)
    },
    heard: { get: () => given(heard) },
    statuses: { get: () => given(statuses) },
    connect: { value: () => given(connect) },
    disconnect: { value: () => given(disconnect) }
  })
}
