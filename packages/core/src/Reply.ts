/**
 * The envelope that answers one request, and the one place where the shape of its errors is made.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as ChannelError from "./ChannelError.ts"

/**
 * A reply as it stands on the wire. `request_id` is there when the request had one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reply {
  readonly errors: ReadonlyArray<unknown>
  readonly data: unknown
  readonly action: string | null
  readonly route: string
  readonly status: number
  readonly request_id?: string | number
}

/**
 * One error of a reply, as {@link formatError} makes it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplyError {
  /** What is wrong, for people. */
  readonly detail: string
  /** A word for programs: the code of a denial, or the tag of a declared error. */
  readonly code?: string
  /** Where in the request: `["data", "text"]`. */
  readonly path?: ReadonlyArray<string | number>
  /** A declared error in its JSON form. */
  readonly error?: unknown
  /** Of a throttled request, the seconds after which it may succeed. */
  readonly retry_after?: number
}

/**
 * Why a request, or a handshake, was refused.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure =
  /** effect-channels itself refuses. */
  | { readonly _tag: "Refused"; readonly status: number; readonly error: ChannelError.ChannelError }
  /** The handler, or a check, failed with a declared error; `encoded` is its JSON form. */
  | { readonly _tag: "Declared"; readonly status: number; readonly error: unknown; readonly encoded: unknown }
  /** Something broke. The cause is for logs, not for clients. */
  | { readonly _tag: "Defect"; readonly status: 500; readonly cause: Cause.Cause<unknown> }

/**
 * Makes the `errors` of a reply out of a failure: an object for each problem, and nothing of what broke. An application may
 * give them a shape of its own, see `Settings.formatError`.
 *
 * @category interpreters
 * @since 0.1.0
 */
export const formatError = (failure: Failure): ReadonlyArray<ReplyError> => {
  switch (failure._tag) {
    case "Refused":
      return formatRefusal(failure.error)
    case "Declared": {
      const { encoded, error } = failure
      const tag = stringOf(error, "_tag")
      const detail = stringOf(error, "message") ?? tag ?? "The request failed"
      const code = stringOf(error, "code") ?? tag
      return [{ detail, ...(code === undefined ? {} : { code }), ...(encoded === undefined ? {} : { error: encoded }) }]
    }
    case "Defect":
      return [{ detail: "Internal server error", code: "error" }]
  }
}

const formatRefusal = (error: ChannelError.ChannelError): ReadonlyArray<ReplyError> => {
  switch (error._tag) {
    case "InvalidPayload":
      return error.problems.map(({ detail, path }) => ({ detail, code: "invalid", path }))
    case "Throttled":
      return [{ detail: error.message, code: error.code, retry_after: error.retryAfter }]
    default:
      return [{ detail: error.message, code: error.code }]
  }
}

const stringOf = (value: unknown, key: string): string | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  try {
    const found: unknown = Reflect.get(value, key)
    return typeof found === "string" && found !== "" ? found : undefined
  } catch {
    // A getter of the application.
    return undefined
  }
}

/**
 * The failure of a defect.
 *
 * @category constructors
 * @since 0.1.0
 */
export const defect = (cause: Cause.Cause<unknown>): Failure => ({ _tag: "Defect", status: 500, cause })

/**
 * The failure of an error that effect-channels itself raises.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refused = (error: ChannelError.ChannelError): Failure => ({ _tag: "Refused", status: error.status, error })
