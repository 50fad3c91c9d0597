/**
 * Those who listen to something: each is told everything from when it begins to listen, in order.
 */

/** A set of listeners. */
export class Listeners<A> {
  readonly #listeners = new Set<(value: A) => void>()

  /** Calls a function with each value, until the function that it gives is called. */
  add(listener: (value: A) => void): () => void {
    // A function of its own: somebody may give the same one twice.
    const own = (value: A) => listener(value)
    this.#listeners.add(own)
    return () => {
      this.#listeners.delete(own)
    }
  }

  /** Tells everybody; whoever begins to listen meanwhile is told what comes after that. */
  tell(value: A): void {
    this.telling(value)
  }

  /** Tells those who listen now. */
  get telling(): (value: A) => void {
    const listeners = Array.from(this.#listeners)
    return (value) => {
      for (const listener of listeners) if (this.#listeners.has(listener)) listener(value)
    }
  }

  get size(): number {
    return this.#listeners.size
  }
}
