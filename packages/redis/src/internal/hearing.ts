/**
 * The numbers of what nodes say. Something may be published twice, where Redis was lost in between: it is heard once.
 */
export class Hearing {
  /** The number of what this node has said last. */
  #said = 0
  /** What has been heard of other nodes: the number of the last message, and when. */
  readonly #heard = new Map<string, { number: number; at: number }>()

  /** The number of what this node says next. */
  next(): number {
    return ++this.#said
  }

  /** Whether something has not been heard before. */
  isNew(node: string, number: number): boolean {
    const heard = this.#heard.get(node)
    if (heard === undefined) {
      this.#heard.set(node, { number, at: performance.now() })
      return true
    }
    heard.at = performance.now()
    if (number <= heard.number) return false
    heard.number = number
    return true
  }

  /** A node says nothing more. */
  forget(node: string): void {
    this.#heard.delete(node)
  }

  /** Forgets those who have said nothing for a day. What they kept while Redis was away may be heard twice after that. */
  sweep(): void {
    const now = performance.now()
    for (const [node, { at }] of this.#heard) if (now - at > day) this.#heard.delete(node)
  }
}

const day = 86_400_000
