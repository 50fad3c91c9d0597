/**
 * What is wrong with a value that does not fit its schema, in words for whoever sent it.
 */
import type * as Cause from "effect/Cause"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as ChannelError from "../ChannelError.ts"

/** So many problems of one payload are told; a hostile one may have as many as it has bytes. */
const maxProblems = 32

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** What is wrong with a payload, or `undefined` when it was not the payload's fault. */
export const problemsOf = (
  cause: Cause.Cause<unknown>,
  prefix: ReadonlyArray<string>
): ReadonlyArray<ChannelError.PayloadProblem> | undefined => {
  const reason = cause.reasons[0]
  if (reason === undefined || reason._tag === "Interrupt") return undefined
  if (reason._tag === "Die") {
    // A recursive schema walks as deep as its input: it runs out of stack before the JSON parser does.
    return reason.defect instanceof RangeError ? tooDeep(prefix) : undefined
  }
  const issue = (reason.error as { readonly issue?: SchemaIssue.Issue }).issue
  if (issue === undefined) return undefined
  try {
    return formatIssues(issue).issues.slice(0, maxProblems).map(({ message, path }) => ({
      detail: message,
      path: [...prefix, ...(path ?? []).map(segmentOf)]
    }))
  } catch {
    return tooDeep(prefix)
  }
}

const tooDeep = (path: ReadonlyArray<string>): ReadonlyArray<ChannelError.PayloadProblem> => [
  { detail: "Nested too deeply", path }
]

const segmentOf = (segment: PropertyKey | { readonly key: PropertyKey }): string | number => {
  const key = typeof segment === "object" ? segment.key : segment
  return typeof key === "symbol" ? String(key) : key
}
