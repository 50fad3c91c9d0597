/**
 * The connections of a server: whom the news of changed facts reaches, and when their credentials expire.
 */
import type * as Context from "effect/Context"
import type { Target } from "../Authority.ts"
import type { Connection } from "./connection.ts"
import { Deadlines } from "./deadlines.ts"

/** A handshake that is being decided: what it missed. */
export interface Joining {
  readonly missed: Array<Target>
}

/** The connections of a server. */
export class Registry {
  /** Each with the time at which its credentials expire. */
  readonly #connections = new Map<Connection, number>()
  readonly #joining = new Set<Joining>()
  readonly #expiries: Deadlines<Connection>

  constructor(context: Context.Context<never>) {
    this.#expiries = new Deadlines(context, (connection) => connection.expire())
  }

  /** How many connections there are, and handshakes that are being decided. */
  get size(): number {
    return this.#connections.size + this.#joining.size
  }

  /** How many of the connections have credentials that expire. */
  get expiring(): number {
    return this.#expiries.size
  }

  /** The facts of some connections have changed. */
  invalidate(target: Target): void {
    for (const joining of this.#joining) joining.missed.push(target)
    for (const connection of this.#connections.keys()) {
      if (connection.standing.isMeant(target)) connection.invalidate()
    }
  }

  /** A handshake begins to be decided. */
  join(): Joining {
    const joining: Joining = { missed: [] }
    this.#joining.add(joining)
    return joining
  }

  /** It has been decided, in whichever way. */
  joined(joining: Joining): void {
    this.#joining.delete(joining)
  }

  add(connection: Connection): void {
    const { expiresAt } = connection
    this.#connections.set(connection, expiresAt)
    this.#expiries.add(connection, expiresAt)
  }

  remove(connection: Connection): void {
    const expiresAt = this.#connections.get(connection)
    if (expiresAt === undefined) return
    this.#connections.delete(connection)
    this.#expiries.remove(connection, expiresAt)
  }

  /** The credentials of a connection may now expire at another time. */
  expiryChanged(connection: Connection): void {
    const before = this.#connections.get(connection)
    const { expiresAt } = connection
    if (before === undefined || before === expiresAt) return
    // It keeps its place: somebody may be going through them.
    this.#connections.set(connection, expiresAt)
    this.#expiries.remove(connection, before)
    this.#expiries.add(connection, expiresAt)
  }

  stop(): void {
    this.#expiries.stop()
  }
}
