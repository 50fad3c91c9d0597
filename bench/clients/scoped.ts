/** What is opened in a scope of its own, which `close` closes. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

interface Closable {
  readonly close: () => unknown
}

export const scoped = <A extends Closable>(open: Effect.Effect<Omit<A, "close">, unknown, Scope.Scope>): Promise<A> => {
  const scope = Scope.makeUnsafe()
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  return Effect.runPromise(Effect.map(Scope.provide(open, scope), (opened) => ({ ...opened, close }) as A & Closable))
}
