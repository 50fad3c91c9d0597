/**
 * A connection of `effect/sql` over a database of `node:sqlite`.
 */
import * as Effect from "effect/Effect"
import type { Connection } from "effect/sql/SqlConnection"
import { classifySqliteError, ConnectionError, SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { integer, parameters } from "./values.ts"

type Rows = ReadonlyArray<Array<unknown>>

type TransformRows = (<A extends object>(rows: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined

/** A statement that is ready to run, and the names of what it answers with. */
interface Prepared {
  readonly statement: StatementSync
  names: ReadonlyArray<string>
}

export class SqliteConnection implements Connection {
  readonly #database: DatabaseSync
  readonly #limit: number
  /** The statement that was used last is the last one. */
  readonly #prepared = new Map<string, Prepared>()

  constructor(database: DatabaseSync, limit: number) {
    this.#database = database
    this.#limit = limit
  }

  get isTransaction(): boolean {
    return this.#database.isTransaction
  }

  execute(sql: string, params: ReadonlyArray<unknown>, transformRows: TransformRows) {
    return attempt("execute", () => this.#objects(this.#cached(sql, params), params, transformRows))
  }

  executeRaw(sql: string, params: ReadonlyArray<unknown>) {
    return attempt("executeRaw", () => {
      const prepared = this.#cached(sql, params)
      if (prepared === undefined) return { changes: 0, lastInsertRowid: 0 }
      if (prepared.names.length > 0) return this.#objects(prepared, params, undefined)
      const { changes, lastInsertRowid } = prepared.statement.run(...parameters(params))
      return { changes: integer(changes), lastInsertRowid: integer(lastInsertRowid) }
    })
  }

  executeStream(sql: string, params: ReadonlyArray<unknown>, transformRows: TransformRows) {
    return Stream.unwrap(Effect.map(this.execute(sql, params, transformRows), Stream.fromIterable))
  }

  executeValues(sql: string, params: ReadonlyArray<unknown>) {
    return attempt("executeValues", () => this.#values(this.#cached(sql, params), params))
  }

  executeValuesUnprepared(sql: string, params: ReadonlyArray<unknown>) {
    return attempt("executeValuesUnprepared", () => this.#values(this.#prepare(sql, params), params))
  }

  executeUnprepared(sql: string, params: ReadonlyArray<unknown>, transformRows: TransformRows) {
    return attempt("executeUnprepared", () => this.#objects(this.#prepare(sql, params), params, transformRows))
  }

  #cached(sql: string, params: ReadonlyArray<unknown>): Prepared | undefined {
    let prepared = this.#prepared.get(sql)
    if (prepared !== undefined) {
      this.#prepared.delete(sql)
    } else {
      prepared = this.#prepare(sql, params)
      // A statement that changes what tables there are is not run twice, and others may answer with other columns from now on.
      if (prepared === undefined || changesTables.test(sql)) {
        this.#prepared.clear()
        return prepared
      }
      if (this.#prepared.size >= this.#limit) {
        for (const oldest of this.#prepared.keys()) {
          this.#prepared.delete(oldest)
          break
        }
      }
    }
    this.#prepared.set(sql, prepared)
    return prepared
  }

  /** Prepares a statement. Several of them are run, which leaves nothing to do. */
  #prepare(sql: string, params: ReadonlyArray<unknown>): Prepared | undefined {
    const statement = this.#database.prepare(sql)
    if (!isBlank(sql.slice(sql.indexOf(statement.sourceSQL) + statement.sourceSQL.length))) {
      if (params.length > 0) {
        throw new TypeError("Several statements at once cannot have parameters: run them one by one")
      }
      this.#database.exec(sql)
      return undefined
    }
    // A number that does not fit would be an error otherwise, of a statement that may have written already.
    statement.setReadBigInts(true)
    statement.setReturnArrays(true)
    return { statement, names: namesOf(statement) }
  }

  #values(prepared: Prepared | undefined, params: ReadonlyArray<unknown>): Rows {
    if (prepared === undefined) return []
    const rows = prepared.statement.all(...parameters(params)) as unknown as Rows
    for (const row of rows) {
      for (let i = 0; i < row.length; i++) {
        const value = row[i]
        if (typeof value === "bigint") row[i] = integer(value)
      }
    }
    return rows
  }

  #objects(
    prepared: Prepared | undefined,
    params: ReadonlyArray<unknown>,
    transformRows: TransformRows
  ): ReadonlyArray<object> {
    const rows = this.#values(prepared, params)
    if (prepared === undefined || rows.length === 0) return []
    if (rows[0]!.length !== prepared.names.length) prepared.names = namesOf(prepared.statement)
    const { names } = prepared
    const objects = rows.map((row) => {
      const object: Record<string, unknown> = {}
      for (let i = 0; i < names.length; i++) object[names[i]!] = row[i]
      return object
    })
    return transformRows === undefined ? objects : transformRows(objects)
  }
}

const changesTables = /^[\s(]*(?:alter|attach|create|detach|drop|pragma|vacuum)\b/i

const blank = /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*$/

const isBlank = (sql: string): boolean => sql === "" || blank.test(sql)

const namesOf = (statement: StatementSync): ReadonlyArray<string> => statement.columns().map(({ name }) => name)

const attempt = <A>(operation: string, run: () => A): Effect.Effect<A, SqlError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(run())
    } catch (cause) {
      return Effect.fail(sqlError(cause, "The statement failed", operation))
    }
  })

/** SQLite has a code of its own where the value that another row has too is the key of the table. */
const keyViolations: ReadonlySet<unknown> = new Set([1555, 2579])
const uniqueViolation = 2067

export const sqlError = (cause: unknown, message: string, operation: string): SqlError => {
  if (typeof cause !== "object" || cause === null) {
    return new SqlError({ reason: classifySqliteError(cause, { message, operation }) })
  }
  if ("errcode" in cause) {
    const errno = keyViolations.has(cause.errcode) ? uniqueViolation : cause.errcode
    return new SqlError({ reason: classifySqliteError(Object.assign(cause, { errno }), { message, operation }) })
  }
  return "code" in cause && cause.code === "ERR_INVALID_STATE"
    ? new SqlError({ reason: new ConnectionError({ cause, message, operation }) })
    : new SqlError({ reason: classifySqliteError(cause, { message, operation }) })
}
