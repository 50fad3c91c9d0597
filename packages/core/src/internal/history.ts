/**
 * The last events of groups, in memory.
 */
import * as Hash from "effect/Hash"
import type { Joined, Message } from "../ChannelLayer.ts"

/** How much is kept of a group. */
export interface Bounds {
  readonly count: number
  /** In milliseconds. */
  readonly age: number
}

/** What a group keeps. Its positions are `<epoch>-<number>`; its events are numbered from 1. */
interface History {
  /** Another one than that of any other history: a position in that one is none in this. */
  readonly epoch: string
  readonly bounds: Bounds
  events: Array<{ readonly message: Message; readonly number: number; readonly at: number }>
  last: number
  usedAt: number
}

/**
 * The histories of groups. One that has not been used for longer than it keeps its events is forgotten, when nobody is in its
 * group.
 */
export class Histories {
  /** Another one than that of all other processes. */
  readonly #seed: string
  readonly #isInUse: (key: string) => boolean
  /** Grows whenever positions are forgotten: what is numbered anew has another epoch. */
  #epoch = 0
  readonly #histories = new Map<string, History>()
  #next = this.#histories.entries()

  constructor(seed: string, isInUse: (key: string) => boolean) {
    this.#seed = seed
    this.#isInUse = isInUse
  }

  /** How many groups have a history. */
  get size(): number {
    return this.#histories.size
  }

  /** How many events they hold. */
  get kept(): number {
    let kept = 0
    for (const { events } of this.#histories.values()) kept += events.length
    return kept
  }

  /** Appends an event; answers with it at its position. */
  append(key: string, message: Message, bounds: Bounds, now: number): Message {
    const history = this.#use(key, bounds, now)
    const number = ++history.last
    const placed = message.at(`${history.epoch}-${number}`)
    history.events.push({ message: placed, number, at: now })
    // Not with every event: to cut off the first one is to move all the others.
    if (history.events.length >= 2 * bounds.count) history.events = history.events.slice(-bounds.count)
    return placed
  }

  /** Nobody is in the group any more: a history without events is like a new one. */
  leave(key: string): void {
    if (this.#histories.get(key)?.last === 0) this.#histories.delete(key)
  }

  /** What somebody has missed who has seen everything up to a position. */
  resume(key: string, after: string | undefined, bounds: Bounds, now: number): Omit<Joined, "present"> {
    const { epoch, events, last } = this.#use(key, bounds, now)
    const position = `${epoch}-${last}`
    if (after === undefined) return { position, state: "fresh", missed: [] }
    const kept = events.slice(-bounds.count).filter(({ at }) => now - at <= bounds.age)
    if (after === "") return { position, state: "fresh", missed: kept.map(({ message }) => message) }
    const number = after.startsWith(`${epoch}-`) ? after.slice(epoch.length + 1) : ""
    // As it was written: what only means the same number was made up.
    const seen = /^(0|[1-9]\d*)$/.test(number) ? Number(number) : Infinity
    if (seen > last) return { position, state: "gap", missed: [] }
    const missed = kept.filter(({ number }) => number > seen).map(({ message }) => message)
    return missed.length < last - seen
      ? { position, state: "gap", missed: [] }
      : { position, state: "resumed", missed }
  }

  #use(key: string, bounds: Bounds, now: number): History {
    this.#sweep(now)
    let history = this.#histories.get(key)
    if (history === undefined) {
      history = {
        epoch: `${this.#seed}${this.#epoch.toString(36)}x${(Hash.string(key) >>> 0).toString(36)}`,
        bounds,
        events: [],
        last: 0,
        usedAt: now
      }
    }
    history.usedAt = now
    this.#histories.set(key, history)
    return history
  }

  /** It looks at two while one at most is added, so that it comes to the end, and begins anew. */
  #sweep(now: number): void {
    for (let i = 0; i < 2; i++) {
      const { done, value } = this.#next.next()
      if (done === true) {
        this.#next = this.#histories.entries()
        return
      }
      const [key, { bounds, last, usedAt }] = value
      if (now - usedAt <= bounds.age || this.#isInUse(key)) continue
      this.#histories.delete(key)
      if (last > 0) this.#epoch++
    }
  }
}
