/**
 * What a node does when Redis can be reached again, or has lost its data: it writes all that it has to say, and reads what it
 * has missed.
 */
import type { Address } from "@effect-channels/core/ChannelLayer"
import * as Effect from "effect/Effect"
import type { Counts } from "./counts.ts"
import type { Histories } from "./histories.ts"
import type { Group, Node } from "./node.ts"
import type { Presences } from "./presences.ts"
import type { Session } from "./session.ts"

export class Recovery {
  readonly #node: Node
  readonly #counts: Counts
  readonly #presences: Presences
  readonly #histories: Histories
  /** What was left while Redis could not be told. */
  readonly #debts = new Map<string, Address>()

  constructor(node: Node, counts: Counts, presences: Presences, histories: Histories) {
    this.#node = node
    this.#counts = counts
    this.#presences = presences
    this.#histories = histories
  }

  /** How many groups were left while Redis could not be told. */
  get size(): number {
    return this.#debts.size
  }

  /** Redis could not be told that somebody left a group. */
  owe(address: Address): void {
    this.#debts.set(address.key, address)
  }

  /** Writes all that this node has to say, and reads what it has missed. */
  readonly register: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(
      [...this.#node.groups.values()],
      (group) => Effect.ignore(this.#node.link.use((session) => this.registerGroup(session, group))),
      { concurrency: 64, discard: true }
    )
  ).pipe(Effect.andThen(Effect.suspend(() => this.settle)))

  /** Says what could not be said when members left. */
  readonly settle: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(
      [...this.#debts.values()],
      (address) => Effect.ignore(this.#node.link.use((session) => this.#settle(session, address))),
      { concurrency: 64, discard: true }
    )
  )

  registerGroup(session: Session, group: Group): Promise<unknown> {
    const { address, arrived, entries, view } = group
    const written: Array<Promise<unknown>> = [this.#counts.write(address.key)]
    if (view !== undefined) {
      for (const member of entries.keys()) written.push(this.#presences.writeEnter(session, address, member, true))
      written.push(this.#presences.sync(session, group, false))
    }
    if (arrived !== undefined) written.push(this.#histories.catchUp(session, group))
    return Promise.all(written)
  }

  async #settle(session: Session, address: Address): Promise<void> {
    await this.#counts.write(address.key)
    if (address.presence) await this.#presences.writeLeft(session, address)
    this.#debts.delete(address.key)
  }
}
