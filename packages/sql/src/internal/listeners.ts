/**
 * Who listens to what is written.
 */
import type { Change } from "@effect-channels/core/Repository"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export class Listeners<Key> {
  readonly #listeners = new Set<{ readonly tell: (change: Change<Key>) => void }>()

  readonly subscribe = (tell: (change: Change<Key>) => void): Effect.Effect<void, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const listener = { tell }
        this.#listeners.add(listener)
        return listener
      }),
      (listener) => Effect.sync(() => this.#listeners.delete(listener))
    ).pipe(Effect.asVoid)

  tell(change: Change<Key>): void {
    for (const { tell } of this.#listeners) tell(change)
  }
}
