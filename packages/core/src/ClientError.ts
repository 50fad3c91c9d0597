/**
 * What can go wrong with a client, besides the errors of `ChannelError` and those that an action declares.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type * as ChannelError from "./ChannelError.ts"

/**
 * The connection was lost, or there is none, and the call does not wait for the next one. Where `isSent` is `false` the server
 * cannot have seen it; where it is `true` it may have taken effect.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConnectionLost extends Schema.TaggedError<ConnectionLost>()("ConnectionLost", {
  message: Schema.String,
  isSent: Schema.Boolean
}) {}

/**
 * The server has refused the connection, or has ended it for good: the client does not try again by itself. `status` is 401, 403,
 * 404 …, as in a reply; `code` the reason for programs.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConnectionRefused extends Schema.TaggedError<ConnectionRefused>()("ConnectionRefused", {
  message: Schema.String,
  status: Schema.Number,
  code: Schema.String
}) {}

/**
 * There was no answer in time: the action took longer than the server gives it (`by: "server"`), or the client did not wait any
 * longer, and has cancelled it (`by: "client"`).
 *
 * @category errors
 * @since 0.1.0
 */
export class Timeout extends Schema.TaggedError<Timeout>()("Timeout", {
  message: Schema.String,
  by: Schema.Literals(["server", "client"])
}, { httpApiStatus: 408 }) {}

/**
 * The server has answered with something that the contract does not provide for: it is broken (500), it has another version of the
 * contract, or it is no server of this consumer.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnexpectedReply extends Schema.TaggedError<UnexpectedReply>()("UnexpectedReply", {
  message: Schema.String,
  status: Schema.Number,
  errors: Schema.Array(Schema.Unknown)
}, { httpApiStatus: 502 }) {}

/**
 * An event has come whose data do not fit its schema: the server has another version of the contract.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnexpectedEvent extends Schema.TaggedError<UnexpectedEvent>()("UnexpectedEvent", {
  message: Schema.String,
  type: Schema.String
}) {}

/**
 * What every call can fail with, besides the declared errors of its action.
 *
 * @category errors
 * @since 0.1.0
 */
export type CallError =
  | ChannelError.IdempotencyKeyReused
  | ChannelError.InvalidCredentials
  | ChannelError.InvalidPayload
  | ChannelError.MessageTooLarge
  | ChannelError.NotAuthenticated
  | ChannelError.PermissionDenied
  | ChannelError.PermissionLost
  | ChannelError.Throttled
  | ChannelError.Unavailable
  | ConnectionLost
  | ConnectionRefused
  | Timeout
  | UnexpectedReply

/**
 * What the streams of events can fail with: the client was refused for good, or an event is not what the contract says.
 *
 * @category errors
 * @since 0.1.0
 */
export type HearError = ConnectionRefused | UnexpectedEvent
