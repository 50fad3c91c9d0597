/**
 * What all servers are told, besides groups: signals, and that authority is to be decided anew.
 */
import * as Authority from "@effect-channels/core/Authority"
import type * as ChannelError from "@effect-channels/core/ChannelError"
import type { Signal } from "@effect-channels/core/ChannelLayer"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Hearing } from "./hearing.ts"
import type { Node } from "./node.ts"
import * as wire from "./wire.ts"

export class Control {
  readonly authority: Authority.Authority
  readonly #node: Node
  readonly #hearing: Hearing
  readonly #local = Authority.makeMemory()
  readonly #listeners = new Set<(signal: Signal) => void>()

  constructor(node: Node, hearing: Hearing) {
    this.#node = node
    this.#hearing = hearing
    const { id, keys, link } = node
    this.authority = {
      invalidate: (target) =>
        Effect.andThen(
          this.#local.invalidate(target),
          link.tell(keys.control, () => wire.printInvalidate(id, hearing.next(), target))
        ),
      subscribe: this.#local.subscribe
    }
  }

  /** How many listen to signals. */
  get size(): number {
    return this.#listeners.size
  }

  signal(signal: Signal): Effect.Effect<void, ChannelError.Unavailable> {
    const { id, keys, link } = this.#node
    return link.tell(keys.control, () => {
      this.#hand(signal)
      return wire.printSignal(id, this.#hearing.next(), signal)
    })
  }

  subscribe(listener: (signal: Signal) => void): Effect.Effect<void, never, Scope.Scope> {
    // A function of its own: somebody may subscribe the same one twice.
    const own = (signal: Signal) => listener(signal)
    return Effect.acquireRelease(
      Effect.sync(() => {
        this.#listeners.add(own)
      }),
      () => Effect.sync(() => this.#listeners.delete(own))
    )
  }

  /** A node has said something to all of them. */
  receive(said: wire.Said): void {
    if (said.node === this.#node.id || !this.#hearing.isNew(said.node, said.number)) return
    if (said._tag === "Signal") this.#hand(said.signal)
    else Effect.runSync(this.#local.invalidate(said.target))
  }

  /** Whether authority was taken away meanwhile, nobody can tell: it is decided anew. */
  readonly recover: Effect.Effect<void> = Effect.suspend(() => this.#local.invalidate(Authority.everyone)).pipe(
    Effect.ignore
  )

  #hand(signal: Signal): void {
    this.#listeners.forEach((listener) => listener(signal))
  }
}
