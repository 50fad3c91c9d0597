/**
 * Consumers and identities that several tests use.
 */
import { Action, Authentication, ChannelError, Consumer, Handlers } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** Who is behind a connection, by name. */
export class CurrentUser extends Authentication.Service<CurrentUser, string>()("test/CurrentUser") {}

/**
 * Authenticates by the query string: `?user=alice` is alice, nothing is anonymous; the users `invalid`, `later`, `broken`
 * and `interrupted` cannot be authenticated, each in its way.
 */
export const AuthenticationLive = CurrentUser.layer(({ query: { user } }) => {
  switch (user) {
    case undefined:
      return Effect.succeed(Authentication.anonymous)
    case "invalid":
      return Effect.fail(new ChannelError.InvalidCredentials())
    case "later":
      return Effect.fail(new ChannelError.Unavailable({ message: "The directory does not answer" }))
    case "broken":
      return Effect.die(new Error("secret of the authenticator"))
    case "interrupted":
      return Effect.interrupt
    default:
      return Effect.succeed(Authentication.authenticated(String(user)))
  }
})

/** An error that is there no matter what. */
export class NotThere extends Schema.TaggedError<NotThere>()("NotThere", { id: Schema.Int }, { httpApiStatus: 404 }) {}

/** An error with a status of its own. */
export class Conflict extends Schema.TaggedError<Conflict>()("Conflict", {
  since: Schema.DateFromString
}, { httpApiStatus: 409 }) {}

/** An error that says no status. */
export class Odd extends Schema.TaggedError<Odd>()("Odd", { message: Schema.String }) {}

/** An error that no action declares, and that has no status. */
export class Undeclared extends Schema.TaggedError<Undeclared>()("Undeclared", { secret: Schema.String }) {}

/** A payload that holds payloads. */
export interface Tree {
  readonly children: ReadonlyArray<Tree>
}
export const Tree = Schema.Struct({
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
})

/** An array of arrays, as deep as it goes. */
export type Nest = ReadonlyArray<Nest>
export const Nest: Schema.Codec<Nest> = Schema.Array(Schema.suspend((): Schema.Codec<Nest> => Nest))

/** What sleepers did, in order: `start 1`, `end 1`, `stop 1` (interrupted). */
export type Trace = Array<string>

/** Handles a request to sleep: notes in the trace when it starts, ends, and is interrupted. */
export const sleep = (trace: Trace, id: number | string, millis: number): Effect.Effect<number | string> =>
  Effect.sync(() => trace.push(`start ${id}`)).pipe(
    Effect.andThen(Effect.sleep(millis)),
    Effect.andThen(Effect.sync(() => {
      trace.push(`end ${id}`)
      return id
    })),
    Effect.onInterrupt(() => Effect.sync(() => trace.push(`stop ${id}`)))
  )

const Id = Schema.Union([Schema.Int, Schema.String])

/** Takes so many milliseconds, and answers with its id. */
export const Sleep = { payload: { id: Id, millis: Schema.Number }, success: Id }

/** A consumer that does nothing but `sleep`, with what it did. */
export const makeSleeper = (options?: {
  readonly consumer?: Pick<Parameters<typeof Consumer.make>[1], "concurrency" | "timeout">
  readonly action?: Pick<NonNullable<Parameters<typeof Action.make>[1]>, "concurrency" | "timeout">
}) => {
  const trace: Trace = []
  const Sleeper = Consumer.make("sleeper", { path: "/ws/", ...options?.consumer }).pipe(
    Consumer.add(Action.make("sleep", { ...Sleep, ...options?.action }))
  )
  const layer = Consumer.handlers(Sleeper).pipe(
    Handlers.handle("sleep", ({ payload }) => sleep(trace, payload.id, payload.millis)),
    Handlers.toLayer
  )
  return { consumers: [Sleeper] as const, layer, trace }
}

/** The request to sleep. */
export const sleepFor = (id: number | string, millis: number) => ({
  action: "sleep",
  data: { id, millis },
  request_id: id
})
