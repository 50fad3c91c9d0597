/**
 * Errors of a database as those of a repository.
 */
import * as ChannelError from "@effect-channels/core/ChannelError"
import { Conflict } from "@effect-channels/core/Repository"
import * as Effect from "effect/Effect"
import type { SqlError, SqlErrorReason } from "effect/sql/SqlError"
import { list, type Table } from "./table.ts"

/** What a driver says of an error, as far as it does. */
interface Details {
  readonly code: string
  readonly errcode: number
  readonly constraint: string
  readonly column: string
  readonly message: string
}

const detailsOf = ({ cause }: SqlErrorReason): Partial<Details> =>
  typeof cause === "object" && cause !== null ? cause : {}

/**
 * Whether the database is not there, or had something more important to do: the same may succeed later. By SQLSTATE: a connection
 * (08), a transaction that others were in the way of (40), no resources (53), a lock (55), the server is stopped or stops a
 * statement (57), it cannot read or write (58), it only reads (25006: another one is the primary now).
 */
export const isUnavailable = ({ reason }: SqlError): boolean => {
  if (reason.isRetryable) return true
  if (reason._tag === "AuthenticationError") return true
  const { code, errcode } = detailsOf(reason)
  if (typeof errcode === "number") return unavailableInSqlite.has(errcode & 0xff)
  return typeof code === "string" && /^(?:08|40|53|55|57|58)...$|^25006$/.test(code)
}

/** Busy, locked, an error of the disk, a full disk, no file. */
const unavailableInSqlite: ReadonlySet<number> = new Set([5, 6, 10, 13, 14])

/** Whether the statement may have been carried out although it failed. */
export const isUncertain = ({ reason }: SqlError): boolean =>
  reason.operation !== "connect"
  && (reason._tag === "ConnectionError" || /^(?:08|57P0)/.test(String(detailsOf(reason).code)))

/** An error of a statement that only reads, of the repository of this name. */
export const ofRead = (error: SqlError, repository: string): Effect.Effect<never, ChannelError.Unavailable> =>
  isUnavailable(error)
    ? Effect.andThen(
      Effect.logWarning(`The database of the repository ${repository} is not available`, error),
      Effect.fail(new ChannelError.Unavailable({ message: "The database is not available now" }))
    )
    : Effect.die(error)

/** An error of a statement that writes a row. */
export const ofWrite = (
  error: SqlError,
  repository: string,
  table: Table,
  isRemoval: boolean
): Effect.Effect<never, Conflict | ChannelError.Unavailable> => {
  const conflict = conflictOf(error, table, isRemoval)
  return conflict === undefined ? ofRead(error, repository) : Effect.fail(conflict)
}

/** What the row is refused for, in words that are for whoever has sent it. */
const conflictOf = ({ reason }: SqlError, table: Table, isRemoval: boolean): Conflict | undefined => {
  const { code, column, constraint, errcode, message = "" } = detailsOf(reason)
  const named = table.constraints.get(String(constraint)) ?? []
  const refused = (message: string, fields: ReadonlyArray<string>) => new Conflict({ message, fields })

  if (reason._tag === "UniqueViolation" || code === "23P01") {
    const fields = named.length > 0 ? named : fieldsIn(message, table)
    return refused(`Another row has the same ${fields.length === 0 ? "values" : list(fields)}`, fields)
  }
  if (code === "23503" || errcode === 787) {
    // PostgreSQL names the constraint, which is that of the other table where its rows refer to this one.
    return isRemoval || (code === "23503" && !table.constraints.has(String(constraint)))
      ? refused("Other rows refer to this one", [])
      : refused("There is no such row to refer to", named)
  }
  if (code === "23514" || errcode === 275) return refused("The values are not permitted together", named)
  // The class of data exceptions: nothing that the column can hold.
  if (code?.startsWith("22")) {
    return unheld(table.columns.filter(({ name }) => name === column).map(({ field }) => field.name))
  }
  return undefined
}

/** The refusal of values that a column cannot hold. */
export const unheld = (fields: ReadonlyArray<string>): Conflict =>
  new Conflict({
    message: fields.length === 0 ? "A value cannot be stored" : `The value of ${list(fields)} cannot be stored`,
    fields
  })

/** SQLite names the columns: `UNIQUE constraint failed: items.a, items.b`. */
const fieldsIn = (message: string, table: Table): ReadonlyArray<string> => {
  const names = /UNIQUE constraint failed: (.+)$/.exec(message)?.[1]?.split(", ").map((name) =>
    name.slice(name.lastIndexOf(".") + 1)
  )
  return table.columns.flatMap(({ field, name }) =>
    names?.some((found) => found.toLowerCase() === name.toLowerCase()) ? [field.name] : []
  )
}
