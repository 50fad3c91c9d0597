/**
 * Who listens to which table.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { merge, type Notice } from "./notices.ts"

/** Takes keys as text, `undefined` where anything may have been written. */
export interface Listener {
  readonly tell: (keys: ReadonlyArray<string> | undefined) => void
}

export class Hub {
  readonly #listeners = new Map<string, Set<Listener>>()

  subscribe(topic: string, tell: Listener["tell"]): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        const listener = { tell }
        const others = this.#listeners.get(topic)
        if (others === undefined) this.#listeners.set(topic, new Set([listener]))
        else others.add(listener)
        return listener
      }),
      (listener) =>
        Effect.sync(() => {
          const all = this.#listeners.get(topic)
          all?.delete(listener)
          if (all?.size === 0) this.#listeners.delete(topic)
        })
    ).pipe(Effect.asVoid)
  }

  /** Tells what has been heard at once, each table's listeners all of it together. */
  tell(notices: Iterable<Notice>): void {
    for (const { keys, topic } of merge(notices)) {
      for (const { tell } of this.#listeners.get(topic) ?? []) tell(keys)
    }
  }

  /** Tells everybody that something may have been missed. */
  tellMissed(): void {
    for (const listeners of this.#listeners.values()) {
      for (const { tell } of listeners) tell(undefined)
    }
  }
}
