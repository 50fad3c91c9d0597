/**
 * What a reply with errors stands for: the error that a call fails with.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as ChannelError from "../../ChannelError.ts"
import { type CallError, ConnectionRefused, Timeout, UnexpectedReply } from "../../ClientError.ts"
import { type Endpoint, isThere } from "./contract.ts"

/** A reply, as far as it says what went wrong. */
export interface Failure {
  readonly status: number
  /** JSON values, of any shape where the application gives its errors one of its own. */
  readonly errors: ReadonlyArray<unknown>
}

/** The error of a reply: a declared one where it says so, or one of the library's own. */
export const errorOf = (endpoint: Endpoint, failure: Failure): Effect.Effect<unknown, never, unknown> => {
  const declared = propertyOf(failure.errors[0], "error")
  if (declared === undefined || endpoint.decodeError === undefined) return Effect.succeed(own(failure))
  return Effect.catchCause(
    endpoint.decodeError(declared),
    () => Effect.succeed(unexpected(failure.status, failure.errors))
  )
}

/** The error that the library itself raises with this status. */
export const own = (failure: Failure): CallError => {
  const { errors, status } = failure
  const code = stringOf(errors, "code")
  const message = messageOf(errors)
  switch (status) {
    case 400:
      return new ChannelError.InvalidPayload({ problems: errors.map(problemOf) })
    case 401:
      return new ChannelError.InvalidCredentials({ message })
    case 403:
      if (code === "not_authenticated") return new ChannelError.NotAuthenticated()
      if (code === "permission_lost") return new ChannelError.PermissionLost({ message })
      return new ChannelError.PermissionDenied({ message, code: code ?? "permission_denied" })
    case 408:
      return new Timeout({ message, by: "server" })
    case 413:
      return new ChannelError.MessageTooLarge({ message })
    case 422:
      return new ChannelError.IdempotencyKeyReused()
    case 429:
      return new ChannelError.Throttled({ retryAfter: retryAfter(errors) ?? 0 })
    case 503:
      return new ChannelError.Unavailable({ message })
    default:
      return unexpected(status, errors)
  }
}

/** What the server says of it, where it says so. */
const messageOf = (errors: ReadonlyArray<unknown>): string => stringOf(errors, "detail") ?? "The server gives no reason"

/** The server has answered with something that the contract does not provide for. */
export const unexpected = (status: number, errors: ReadonlyArray<unknown>, message?: string): UnexpectedReply =>
  new UnexpectedReply({
    message: message ?? `The server answered with ${status}: ${messageOf(errors)}`,
    status,
    errors
  })

/** Fails in another way where something that the server sent does not fit its schema. */
export const fitting = <E>(
  effect: Effect.Effect<unknown, unknown, unknown>,
  what: string,
  error: (message: string) => E
): Effect.Effect<unknown, E, unknown> =>
  isThere(effect) ? effect : Effect.catchCause(effect, (cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.interrupt
      : Effect.fail(error(`${what} is not what the contract says: ${String(Cause.squash(cause)).slice(0, 500)}`)))

/** The error of a connection that is not wanted. */
export const refusal = ({ errors, status }: Failure): ConnectionRefused =>
  new ConnectionRefused({
    status,
    message: messageOf(errors),
    code: stringOf(errors, "code") ?? ""
  })

/** The seconds after which it may succeed, where it says so. */
export const retryAfter = (errors: ReadonlyArray<unknown>): number | undefined => {
  const seconds = propertyOf(errors[0], "retry_after")
  return typeof seconds === "number" && seconds >= 0 ? seconds : undefined
}

const problemOf = (error: unknown): ChannelError.PayloadProblem => {
  const path = propertyOf(error, "path")
  return {
    detail: messageOf([error]),
    path: Array.isArray(path) ? path.filter((key) => typeof key === "string" || typeof key === "number") : []
  }
}

const propertyOf = (value: unknown, key: string): unknown =>
  Predicate.hasProperty(value, key) && Object.hasOwn(value, key) ? value[key] : undefined

const stringOf = (errors: ReadonlyArray<unknown>, key: string): string | undefined => {
  const found = propertyOf(errors[0], key)
  return typeof found === "string" ? found : undefined
}
