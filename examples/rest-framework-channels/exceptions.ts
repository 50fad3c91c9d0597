/**
 * `rest_framework.exceptions`, as errors that an action declares: the status is an annotation of the schema, `message`
 * and `code` are the `detail` and `code` of the reply.
 */
import * as Schema from "effect/Schema"

export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {}, { httpApiStatus: 404 }) {
  readonly code = "not_found"
  override readonly message = "Not found"
}

export class NotAuthenticated extends Schema.TaggedError<NotAuthenticated>()("NotAuthenticated", {}, {
  httpApiStatus: 401
}) {
  readonly code = "not_authenticated"
  override readonly message = "Authentication credentials were not provided"
}

/** Its fields are part of the reply: `error.retry_after`, in seconds. */
export class Throttled extends Schema.TaggedError<Throttled>()("Throttled", { retry_after: Schema.Int }, {
  httpApiStatus: 429
}) {
  readonly code = "throttled"
  override get message() {
    return `Request was throttled. Expected available in ${this.retry_after} seconds`
  }
}

export class ParseError extends Schema.TaggedError<ParseError>()("ParseError", {}, { httpApiStatus: 400 }) {
  readonly code = "parse_error"
  override readonly message = "Malformed request"
}

export class PermissionDenied extends Schema.TaggedError<PermissionDenied>()("PermissionDenied", {}, {
  httpApiStatus: 403
}) {
  readonly code = "permission_denied"
  override readonly message = "You do not have permission to perform this action"
}
