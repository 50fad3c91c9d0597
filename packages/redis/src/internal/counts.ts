/**
 * How many members groups have, and from when on a new one is in: every node writes how many it has, and hears of itself
 * when that was written.
 */
import type * as ChannelError from "@effect-channels/core/ChannelError"
import * as Effect from "effect/Effect"
import type { Entry, Node } from "./node.ts"
import * as scripts from "./scripts.ts"
import type { Session } from "./session.ts"
import { printMarked } from "./wire.ts"

/** The count of a group that is about to be written. */
interface Counted {
  readonly written: Promise<unknown>
  /** The members that join. */
  readonly entries: Array<Entry>
  /** Completes when they are in. */
  heard: Promised | undefined
}

export class Counts {
  readonly #node: Node
  /** The groups whose counts are about to be written. */
  readonly #counting = new Map<string, Counted>()
  /** The writings that this node has yet to hear of, by number. */
  readonly #marked = new Map<number, Counted>()
  #marks = 0

  constructor(node: Node) {
    this.#node = node
  }

  /** How many groups are about to be written. */
  get size(): number {
    return this.#counting.size
  }

  /** How many members a group has, on all nodes. */
  count(key: string): Effect.Effect<number, ChannelError.Unavailable> {
    const { groups, id, keys, link, settings } = this.#node
    return Effect.map(
      link.use((session) =>
        session.eval(scripts.countOthers, [keys.counts(key), keys.nodes], [id, settings.nodeTimeout])
      ),
      (others) => Number(others) + (groups.get(key)?.entries.size ?? 0)
    )
  }

  /** Writes how many members a group has here. Those who change it at the same time wait for one writing of it. */
  write(key: string): Promise<unknown> {
    return this.#counted(key).written
  }

  /** Writes it too; completes when a new member is in: what was published before has been heard then, and is not for it. */
  writeIn(key: string, entry: Entry): Promise<unknown> {
    const counted = this.#counted(key)
    counted.entries.push(entry)
    const heard = counted.heard ??= promised()
    return Promise.all([counted.written, heard.promise])
  }

  /** Writes that a group has no members here. */
  writeNone(session: Session, key: string): Promise<unknown> {
    return this.#writeSize(session, key, 0)
  }

  /** This node has heard what it has told itself. */
  marked(number: number): void {
    const counted = this.#marked.get(number)
    if (counted === undefined) return
    this.#marked.delete(number)
    for (const entry of counted.entries) entry.isIn = true
    counted.heard?.resolve()
  }

  /** The session is lost. */
  down(): void {
    for (const { heard } of this.#marked.values()) heard?.reject(lost)
    this.#marked.clear()
  }

  #counted(key: string): Counted {
    const known = this.#counting.get(key)
    if (known !== undefined) return known
    const counted: Counted = {
      entries: [],
      heard: undefined,
      written: Promise.resolve().then(() => {
        this.#counting.delete(key)
        const { heard } = counted
        const { groups, id, keys, link: { session } } = this.#node
        if (session === undefined) {
          heard?.reject(lost)
          throw lost
        }
        const size = groups.get(key)?.entries.size ?? 0
        if (heard === undefined) return this.#writeSize(session, key, size)
        const number = ++this.#marks
        this.#marked.set(number, counted)
        return this.#writeSize(session, key, size, keys.own(id), printMarked(id, number)).catch((error) => {
          this.#marked.delete(number)
          heard.reject(error)
          throw error
        })
      })
    }
    this.#counting.set(key, counted)
    return counted
  }

  #writeSize(session: Session, key: string, size: number, ...mark: ReadonlyArray<string>): Promise<unknown> {
    const { id, keys } = this.#node
    return session.eval(scripts.setCount, [keys.counts(key)], [id, size, keys.ttl, ...mark])
  }
}

const lost = new Error("Redis was lost")

/** A promise that somebody else keeps. */
interface Promised {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

const promised = (): Promised => {
  let keep: Omit<Promised, "promise"> = { resolve: () => {}, reject: () => {} }
  const promise = new Promise<void>((resolve, reject) => {
    keep = { resolve, reject }
  })
  return { promise, ...keep }
}
