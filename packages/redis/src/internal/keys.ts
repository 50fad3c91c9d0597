/**
 * The names of keys and channels in Redis, and how long keys live.
 */
export class Keys {
  /** How long keys live that nobody refreshes, in milliseconds. */
  readonly ttl: number
  /** When each node was last heard. */
  readonly nodes: string
  /** What all nodes have in common. */
  readonly settings: string
  /** The channel of all nodes. */
  readonly control: string
  readonly #prefix: string

  constructor(prefix: string, nodeTimeout: number) {
    this.ttl = Math.max(600_000, 10 * nodeTimeout)
    this.nodes = `${prefix}:nodes`
    this.settings = `${prefix}:settings`
    this.control = `${prefix}:control`
    this.#prefix = prefix
  }
  /** The channel on which a node tells itself something. */
  own(node: string): string {
    return `${this.#prefix}:n:${node}`
  }
  counts(group: string): string {
    return `${this.#prefix}:c:${group}`
  }
  presence(group: string): string {
    return `${this.#prefix}:p:${group}`
  }
  history(group: string): readonly [events: string, last: string] {
    return [`${this.#prefix}:h:${group}`, `${this.#prefix}:l:${group}`]
  }
  /** How many events a history keeps, for how long, and for how long its last position is known. */
  bounds({ age, count }: { readonly count: number; readonly age: number }) {
    const millis = Math.min(Math.ceil(age), longest)
    return [count, millis, millis + this.ttl] as const
  }
}

/** Some thousand years, in milliseconds: what Redis can reckon with. */
const longest = 2 ** 47
