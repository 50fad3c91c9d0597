/**
 * The channels of Redis that groups are spread over. A node listens to those in which it has groups.
 */
import type { Session } from "./session.ts"

export class Shards {
  readonly #prefix: string
  readonly #count: number
  readonly #uses: Array<number>
  /** The session in which this node listens. */
  #session: Session | undefined
  /** Whether it listens, or will, in this session. */
  readonly #subscriptions: Array<Promise<void> | undefined>
  /** Those that nobody used when it was looked at last. */
  readonly #idle = new Set<number>()

  constructor(prefix: string, count: number) {
    this.#prefix = prefix
    this.#count = count
    this.#uses = Array.from({ length: count }, () => 0)
    this.#subscriptions = Array.from({ length: count }, () => undefined)
  }

  /** The shard of a group: FNV-1a over its key. */
  of(key: string): number {
    let hash = 0x811c9dc5
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
    return (hash >>> 0) % this.#count
  }

  channel(shard: number): string {
    return `${this.#prefix}:s:${shard}`
  }

  acquire(shard: number): void {
    this.#uses[shard]!++
    this.#idle.delete(shard)
  }

  release(shard: number): void {
    this.#uses[shard]!--
  }

  /** Completes when this node listens to a shard. */
  ready(session: Session, shard: number): Promise<void> {
    // The one before may not have come about.
    if (session !== this.#session) {
      this.down()
      this.#session = session
    }
    const known = this.#subscriptions[shard]
    if (known !== undefined) return known
    const subscription = session.subscribe(this.channel(shard))
    this.#subscriptions[shard] = subscription
    // Redis may refuse it, and not for ever.
    subscription.catch(() => {
      if (this.#subscriptions[shard] === subscription) this.#subscriptions[shard] = undefined
    })
    return subscription
  }

  /** Listens to all shards that are used. */
  subscribe(session: Session): Promise<unknown> {
    return Promise.all(this.#uses.map((uses, shard) => uses > 0 ? this.ready(session, shard) : undefined))
  }

  /** Listens no longer to what has not been used for a whole round: a group that comes and goes costs nothing. */
  sweep(session: Session): Promise<unknown> {
    const left: Array<Promise<void>> = []
    if (session !== this.#session) return Promise.all(left)
    for (let shard = 0; shard < this.#count; shard++) {
      if (this.#uses[shard]! > 0 || this.#subscriptions[shard] === undefined) continue
      if (!this.#idle.delete(shard)) {
        this.#idle.add(shard)
        continue
      }
      this.#subscriptions[shard] = undefined
      left.push(session.unsubscribe(this.channel(shard)))
    }
    return Promise.all(left)
  }

  /** The session is lost. */
  down(): void {
    this.#session = undefined
    this.#subscriptions.fill(undefined)
    this.#idle.clear()
  }
}
