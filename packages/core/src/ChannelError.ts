/**
 * The errors which effect-channels itself raises, each with the status and code that a client sees.
 *
 * A declared error of an action is any other `Schema` error; its status is its `httpApiStatus` annotation.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * The frame is no request: not text, not JSON, not an object, no action, or a route that is not a string. Status 400.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidEnvelope
  extends /* @__PURE__ */ (/* @__PURE__ */ Schema.TaggedError<InvalidEnvelope>()("InvalidEnvelope", {
    message: Schema.String
  }, { httpApiStatus: 400 }))
{
  readonly status = 400
  readonly code = "parse_error"
}

/**
 * One thing that is wrong with the data of a request.
 *
 * @category models
 * @since 0.1.0
 */
export interface PayloadProblem {
  /** What was expected, without the input. */
  readonly detail: string
  /** Where: the keys and indexes that lead to it, from the top of the request (`["data", "text"]`). */
  readonly path: ReadonlyArray<string | number>
}

/**
 * The data or the fields of a request do not fit the action's schemas. Status 400.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidPayload extends Schema.TaggedError<InvalidPayload>()("InvalidPayload", {
  problems: Schema.Array(Schema.Struct({
    detail: Schema.String,
    path: Schema.Array(Schema.Union([Schema.String, Schema.Number]))
  }))
}, { httpApiStatus: 400 }) {
  readonly status = 400
  readonly code = "invalid"
  override get message() {
    return this.problems.map((problem) => `${problem.path.join(".")}: ${problem.detail}`).join("; ")
  }
}

/**
 * Credentials were presented, and they are wrong or have expired. Status 401.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidCredentials extends Schema.TaggedError<InvalidCredentials>()("InvalidCredentials", {
  message: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("The credentials are not valid")))
}, { httpApiStatus: 401 }) {
  readonly status = 401
  readonly code = "authentication_failed"
}

/**
 * The identity was asked for, and the connection is anonymous. Status 403, as for every other denial.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotAuthenticated extends Schema.TaggedError<NotAuthenticated>()("NotAuthenticated", {}, {
  httpApiStatus: 403
}) {
  readonly status = 403
  readonly code = "not_authenticated"
  override readonly message = "Authentication credentials were not provided"
}

/**
 * A permission denied. Status 403. `message` and `code` are those of the check that denied, unless that is private.
 *
 * @category errors
 * @since 0.1.0
 */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>()("PermissionDenied", {
  message: Schema.String,
  code: Schema.String
}, { httpApiStatus: 403 }) {
  readonly status = 403
}

/**
 * The permission to what is running was lost while it ran: it was interrupted, and may have taken effect in part. Status
 * 403. `message` is the reason of the check that denies now, unless that is private.
 *
 * @category errors
 * @since 0.1.0
 */
export class PermissionLost extends Schema.TaggedError<PermissionLost>()("PermissionLost", {
  message: Schema.String
}, { httpApiStatus: 403 }) {
  readonly status = 403
  readonly code = "permission_lost"
}

/**
 * Asked too often. Status 429; `retryAfter` is the number of seconds, fractions included, after which the same request may
 * succeed. It stands in the reply as `retry_after`.
 *
 * @category errors
 * @since 0.1.0
 */
export class Throttled extends Schema.TaggedError<Throttled>()("Throttled", {
  retryAfter: Schema.Number
}, { httpApiStatus: 429 }) {
  readonly status = 429
  readonly code = "throttled"
  override get message() {
    return `Request was throttled: try again in ${this.retryAfter} seconds`
  }
}

/**
 * No such consumer path, or no such route in the consumer. Status 404.
 *
 * @category errors
 * @since 0.1.0
 */
export class RouteNotFound
  extends /* @__PURE__ */ (/* @__PURE__ */ Schema.TaggedError<RouteNotFound>()("RouteNotFound", {
    message: Schema.String
  }, { httpApiStatus: 404 }))
{
  readonly status = 404
  readonly code = "not_found"
}

/**
 * The route is there, the action is not. Status 405.
 *
 * @category errors
 * @since 0.1.0
 */
export class ActionNotFound
  extends /* @__PURE__ */ (/* @__PURE__ */ Schema.TaggedError<ActionNotFound>()("ActionNotFound", {
    message: Schema.String
  }, { httpApiStatus: 405 }))
{
  readonly status = 405
  readonly code = "method_not_allowed"
}

/**
 * The action did not answer in its time, and was interrupted. Status 408.
 *
 * @category errors
 * @since 0.1.0
 */
export class ActionTimeout extends Schema.TaggedError<ActionTimeout>()("ActionTimeout", {
  message: Schema.String
}, { httpApiStatus: 408 }) {
  readonly status = 408
  readonly code = "timeout"
}

/**
 * The client does not wait for its request any more: it was ended by `$cancel`, and may have taken effect in part. Status 499.
 *
 * @category errors
 * @since 0.1.0
 */
export class Cancelled
  extends /* @__PURE__ */ (/* @__PURE__ */ Schema.TaggedError<Cancelled>()("Cancelled", {}, { httpApiStatus: 499 }))
{
  readonly status = 499
  readonly code = "cancelled"
  override readonly message = "The request was cancelled"
}

/**
 * The request that is to be cancelled is not in flight on this connection, or not any more. Status 404.
 *
 * @category errors
 * @since 0.1.0
 */
export class RequestNotFound
  extends /* @__PURE__ */ (/* @__PURE__ */ Schema.TaggedError<RequestNotFound>()("RequestNotFound", {
    message: Schema.String
  }, { httpApiStatus: 404 }))
{
  readonly status = 404
  readonly code = "not_found"
}

/**
 * The key of this request, of an action that is done once for each key (`idempotent: "key"`), came with another request before: with
 * other data, fields, or another query. Nothing was done. Status 422, as "The Idempotency-Key HTTP Header Field" has it
 * (draft-ietf-httpapi-idempotency-key-header-07, section 2.7).
 *
 * @category errors
 * @since 0.1.0
 */
export class IdempotencyKeyReused extends Schema.TaggedError<IdempotencyKeyReused>()("IdempotencyKeyReused", {}, {
  httpApiStatus: 422
}) {
  readonly status = 422
  readonly code = "idempotency_key_reused"
  override readonly message = "This idempotency key came with another request before: use a new key for each call"
}

/**
 * The message is longer than the consumer takes. Status 413.
 *
 * @category errors
 * @since 0.1.0
 */
export class MessageTooLarge extends Schema.TaggedError<MessageTooLarge>()("MessageTooLarge", {
  message: Schema.String
}, { httpApiStatus: 413 }) {
  readonly status = 413
  readonly code = "too_large"
}

/**
 * The server, or this connection of it, has too much to do, or is stopping. Status 503: the same request may succeed
 * later.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  message: Schema.String
}, { httpApiStatus: 503 }) {
  readonly status = 503
  readonly code = "unavailable"
}

/**
 * Every error that effect-channels itself raises.
 *
 * @category models
 * @since 0.1.0
 */
export type ChannelError =
  | InvalidEnvelope
  | InvalidPayload
  | InvalidCredentials
  | NotAuthenticated
  | PermissionDenied
  | PermissionLost
  | Throttled
  | RouteNotFound
  | ActionNotFound
  | ActionTimeout
  | Cancelled
  | RequestNotFound
  | IdempotencyKeyReused
  | MessageTooLarge
  | Unavailable

/**
 * What a handler may fail with though its action does not declare it, since the reply to any request may be this: there is no
 * user, it is not permitted, it was asked too often, or something that it takes is not available now.
 *
 * @category models
 * @since 0.1.0
 */
export type Undeclared = NotAuthenticated | PermissionDenied | Throttled | Unavailable

const classes: ReadonlySet<unknown> = new Set<unknown>([
  InvalidEnvelope,
  InvalidPayload,
  InvalidCredentials,
  NotAuthenticated,
  PermissionDenied,
  PermissionLost,
  Throttled,
  RouteNotFound,
  ActionNotFound,
  ActionTimeout,
  Cancelled,
  RequestNotFound,
  IdempotencyKeyReused,
  MessageTooLarge,
  Unavailable
])

/**
 * Whether a value is an error that effect-channels itself raises.
 *
 * @category guards
 * @since 0.1.0
 */
export const isChannelError = (u: unknown): u is ChannelError =>
  typeof u === "object" && u !== null && classes.has(u.constructor)
