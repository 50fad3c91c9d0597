/**
 * What became of an effect of the application that failed: a refusal of ours, a declared error, or a defect.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as ChannelError from "../ChannelError.ts"
import type * as Decision from "../Decision.ts"
import * as Reply from "../Reply.ts"
import { type DeclaredError, statusOf } from "./compile.ts"

/**
 * The failure that a cause stands for. An error counts as declared when it is among `declared`, or when its class says
 * its status (`httpApiStatus`); anything else is a defect.
 */
export const failureOf = (
  cause: Cause.Cause<unknown>,
  declared: ReadonlyArray<DeclaredError> = []
): Reply.Failure | Effect.Effect<Reply.Failure, never, unknown> => {
  const reason = cause.reasons.find(Cause.isFailReason)
  if (reason === undefined || cause.reasons.some(Cause.isDieReason)) return Reply.defect(cause)
  const { error } = reason
  const found = declared.find(({ is }) => is(error))
  if (found === undefined && ChannelError.isChannelError(error)) return Reply.refused(error)
  const schema = found === undefined ? schemaOf(error) : undefined
  const status = found?.status ?? (schema === undefined ? undefined : statusOf(schema))
  if (status === undefined) return Reply.defect(cause)
  const encode = found?.encode ?? Schema.encodeUnknownEffect(Schema.toCodecJson(schema!))
  const encoding = encode(error)
  const failure = (exit: Exit.Exit<unknown, unknown>): Reply.Failure =>
    exit._tag === "Success"
      ? { _tag: "Declared", status, error, encoded: exit.value }
      : Reply.defect(exit.cause)
  return Exit.isExit(encoding) ? failure(encoding) : Effect.map(Effect.exit(encoding), failure)
}

/** Who denied, in the words that a client may read. */
export const deniedBy = (denial: Decision.Denial): ChannelError.PermissionDenied =>
  new ChannelError.PermissionDenied({
    message: (denial.private ? undefined : denial.reason) ?? "You do not have permission to perform this action",
    code: (denial.private ? undefined : denial.code) ?? "permission_denied"
  })

/** The schema that an error is an instance of. */
const schemaOf = (error: unknown): Schema.Constraint | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  const { constructor } = error
  return Schema.isSchema(constructor) ? constructor : undefined
}

/**
 * The errors of a failure as JSON, as the application formats them. Where its formatter breaks they have the usual shape, and
 * `broken` is told why.
 */
export const errorsOf = (
  format: (failure: Reply.Failure) => ReadonlyArray<unknown>,
  failure: Reply.Failure,
  broken: (cause: Cause.Cause<unknown>) => void
): string => {
  let errors: string | undefined
  try {
    errors = JSON.stringify(format(failure))
  } catch (defect) {
    broken(Cause.die(defect))
  }
  return errors ?? JSON.stringify(Reply.formatError(failure))
}
