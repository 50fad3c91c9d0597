/**
 * The connections of a server: whom the news of changed facts reaches, and when their credentials expire.
 */
import type * as Context from "effect/Context"
import { everyone, type Target } from "../Authority.ts"
import { Message, type Signal } from "../ChannelLayer.ts"
import type { Connection } from "./connection.ts"
import { Deadlines } from "./deadlines.ts"
import type { Standing } from "./standing.ts"

/** So many news are told apart while a handshake is being decided; more of them mean everyone. */
const mostMissed = 64

/** A handshake that is being decided, and the news that it has missed meanwhile. */
export class Joining {
  #missed: Array<Target> = []

  /** How much it remembers. */
  get size(): number {
    return this.#missed.length
  }
  miss(target: Target): void {
    // One that hangs does not keep all the news there is.
    if (this.#missed.length === mostMissed) this.#missed = [everyone]
    else this.#missed.push(target)
  }
  /** Whether some of the news were meant for it, since this was asked before. */
  hasMissed(standing: Standing): boolean {
    const missed = this.#missed
    this.#missed = []
    return missed.some((target) => standing.isMeant(target))
  }
}

/** By what a connection is found. */
interface Place {
  readonly expiresAt: number
  /** The keys of its users; `undefined` where they cannot be told. */
  readonly keys: ReadonlyArray<string> | undefined
}

/** The place of a connection with nobody in particular behind it. */
const nowhere: Place = { expiresAt: Infinity, keys: [] }

const placeOf = ({ expiresAt, standing }: Connection): Place => {
  const { keys } = standing
  return expiresAt === Infinity && keys?.length === 0 ? nowhere : { expiresAt, keys }
}

const isSame = (some: Place["keys"], others: Place["keys"]): boolean =>
  some?.length === others?.length && (some ?? []).every((key, i) => key === others?.[i])

/** Stands for the users that cannot be told. */
const unknownKey = Symbol("effect-channels/unknown")

/** One for all servers: the connections of several may decide over the same event. */
let generation = 0

/** The connections of a server. */
export class Registry {
  readonly #connections = new Map<Connection, Place>()
  /** Those of each user. */
  readonly #byKey = new Index<string | symbol>()
  readonly #byId = new Index<string>()
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

  /** How many users are known to have connections. */
  get users(): number {
    return this.#byKey.size
  }

  /** Grows whenever facts of connections have changed. */
  get generation(): number {
    return generation
  }

  /** The facts of some connections have changed. */
  invalidate(target: Target): void {
    generation++
    for (const joining of this.#joining) joining.miss(target)
    for (const connection of this.#candidates(target)) {
      if (connection.standing.isMeant(target)) connection.invalidate()
    }
  }

  /** Another server, or somebody outside of any connection, has something for connections of a consumer. */
  signal(signal: Signal): void {
    const message = signal._tag === "Event" ? new Message(signal.event) : undefined
    for (const connection of this.#candidates(signal.target)) {
      const { consumer, standing } = connection
      if (consumer.consumer.name !== signal.consumer || !standing.isExactly(signal.target)) continue
      if (signal._tag === "Disconnect") {
        if (!connection.isOver) connection.close(signal.code, signal.reason)
      } else if (message!.except !== standing.scope.id) connection.deliver(message!, undefined)
    }
  }

  #candidates(target: Target): Iterable<Connection> {
    switch (target._tag) {
      case "Everyone":
        return this.#connections.keys()
      case "Connection":
        return this.#byId.get(target.id)
      case "Identity":
        return [...this.#byKey.get(target.key), ...this.#byKey.get(unknownKey)]
    }
  }

  /** A handshake begins to be decided. */
  join(): Joining {
    const joining = new Joining()
    this.#joining.add(joining)
    return joining
  }

  /** It has been decided, in whichever way. */
  joined(joining: Joining): void {
    this.#joining.delete(joining)
  }

  add(connection: Connection): void {
    const place = placeOf(connection)
    this.#connections.set(connection, place)
    this.#expiries.add(connection, place.expiresAt)
    this.#list(connection, place)
    this.#byId.add(connection.standing.scope.id, connection)
  }

  remove(connection: Connection): void {
    const place = this.#connections.get(connection)
    if (place === undefined) return
    this.#connections.delete(connection)
    this.#expiries.remove(connection, place.expiresAt)
    this.#unlist(connection, place)
    this.#byId.remove(connection.standing.scope.id, connection)
  }

  /** Who is behind a connection may have changed, and when their credentials expire. */
  changed(connection: Connection): void {
    const before = this.#connections.get(connection)
    if (before === undefined) return
    const place = placeOf(connection)
    // It keeps its place: somebody may be going through them.
    this.#connections.set(connection, place)
    if (place.expiresAt !== before.expiresAt) {
      this.#expiries.remove(connection, before.expiresAt)
      this.#expiries.add(connection, place.expiresAt)
    }
    if (isSame(place.keys, before.keys)) return
    this.#unlist(connection, before)
    this.#list(connection, place)
  }

  #list(connection: Connection, { keys }: Place): void {
    for (const key of keys ?? [unknownKey]) this.#byKey.add(key, connection)
  }

  #unlist(connection: Connection, { keys }: Place): void {
    for (const key of keys ?? [unknownKey]) this.#byKey.remove(key, connection)
  }

  stop(): void {
    this.#expiries.stop()
  }
}

/** Connections by something that mostly one of them has: that one needs no set. */
class Index<K> {
  readonly #found = new Map<K, Connection | Set<Connection>>()

  get size(): number {
    return this.#found.size
  }
  /** A copy: what is done with them may change what they are found by. */
  get(key: K): ReadonlyArray<Connection> {
    const found = this.#found.get(key)
    return found === undefined ? [] : found instanceof Set ? [...found] : [found]
  }
  add(key: K, connection: Connection): void {
    const others = this.#found.get(key)
    if (others === undefined) this.#found.set(key, connection)
    else if (others instanceof Set) others.add(connection)
    else this.#found.set(key, new Set([others, connection]))
  }
  remove(key: K, connection: Connection): void {
    const others = this.#found.get(key)
    if (others === connection) this.#found.delete(key)
    else if (others instanceof Set && others.delete(connection) && others.size === 0) this.#found.delete(key)
  }
}
