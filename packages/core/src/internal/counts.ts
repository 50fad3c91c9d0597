/**
 * What has been spent of limits.
 */
import type { Rule } from "../Throttle.ts"

/** What has been spent under one key. */
export class State {
  /**
   * Of a window, the number of its requests. Of a bucket, what it lacks to be full, a request counted as the length of the
   * window: so much flows back in a millisecond as the limit says, and all numbers stay whole.
   */
  spent = 0
  /** When that was so; of a window, when it began. */
  at: number

  constructor(now: number) {
    this.at = now
  }
}

/** Takes a request of what is left; answers with 0, or with how many milliseconds to wait. */
export const take = (state: State, rule: Rule, now: number): number => {
  // The clock has been put back. What was spent stays so, and from now on time passes as always.
  if (now < state.at) state.at = now
  if (rule.algorithm === "fixed-window") {
    if (isOver(state, rule, now)) {
      state.spent = 0
      state.at = now
    }
    if (state.spent >= rule.capacity) return state.at + rule.window - now
    state.spent++
    return 0
  }
  state.spent = Math.max(0, state.spent - (now - state.at) * rule.limit)
  state.at = now
  const missing = state.spent + rule.window - rule.capacity * rule.window
  if (missing > 0) return Math.ceil(missing / rule.limit)
  state.spent += rule.window
  return 0
}

/** Answers as {@link take} would, and takes nothing. */
export const peek = (state: State, rule: Rule, now: number): number => {
  const copy = new State(state.at)
  copy.spent = state.spent
  return take(copy, rule, now)
}

/** Whether a state is worth no more than a new one. */
const isOver = (state: State, rule: Rule, now: number): boolean =>
  rule.algorithm === "fixed-window"
    ? now - state.at >= rule.window
    : state.spent <= (now - state.at) * rule.limit

class Entry extends State {
  readonly key: string
  readonly rule: Rule
  older: Entry = this
  newer: Entry = this

  constructor(key: string, rule: Rule, now: number) {
    super(now)
    this.key = key
    this.rule = rule
  }
}

/** What has been spent under many keys: no more of them than so many. */
export class Counts {
  readonly #maxKeys: number
  readonly #entries = new Map<string, Entry>()
  /** A ring, from the entry that was used least recently to the newest one, and back to this one, which stands for none. */
  readonly #none = new Entry("", { algorithm: "token-bucket", capacity: 1, limit: 1, window: 1 }, 0)
  #next = this.#none

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys
  }

  get size(): number {
    return this.#entries.size
  }

  /** Takes a request of what is left under a key; answers with 0, or with how many milliseconds to wait. */
  consume(key: string, rule: Rule, now: number): number {
    this.#sweep(now)
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      entry = new Entry(key, rule, now)
      this.#entries.set(key, entry)
    } else {
      this.#unlink(entry)
    }
    this.#append(entry)
    if (this.#entries.size > this.#maxKeys) this.#forget(this.#none.newer)
    return take(entry, rule, now)
  }

  /** Answers as {@link consume} would, and takes nothing. */
  peek(key: string, rule: Rule, now: number): number {
    const entry = this.#entries.get(key)
    return entry === undefined ? 0 : peek(entry, rule, now)
  }

  /** It looks at two entries while one at most is appended, so that it comes to the end, and begins anew. */
  #sweep(now: number): void {
    for (let i = 0; i < 2; i++) {
      const entry = this.#next
      this.#next = entry.newer
      if (entry !== this.#none && isOver(entry, entry.rule, now)) this.#forget(entry)
    }
  }

  #forget(entry: Entry): void {
    this.#unlink(entry)
    this.#entries.delete(entry.key)
  }

  #unlink(entry: Entry): void {
    if (this.#next === entry) this.#next = entry.newer
    entry.older.newer = entry.newer
    entry.newer.older = entry.older
  }

  #append(entry: Entry): void {
    entry.older = this.#none.older
    entry.newer = this.#none
    this.#none.older.newer = entry
    this.#none.older = entry
  }
}
