/**
 * What is known of permissions and checks from the connection phase.
 */
import * as Semaphore from "effect/Semaphore"
import type * as Decision from "../Decision.ts"
import type * as Permission from "../Permission.ts"
import type * as decide from "./decide.ts"

/** What the connection checks of one connection have said. Mostly it is one thing, which needs no map. */
export class Known implements decide.Memory {
  #tree: Permission.Tree | undefined
  #decision: Decision.Decision<Permission.Tree> | undefined
  #others: Map<Permission.Tree, Decision.Decision<Permission.Tree>> | undefined
  #locks: Map<Permission.Check, Semaphore.Semaphore> | undefined

  get size(): number {
    return (this.#tree === undefined ? 0 : 1) + (this.#others?.size ?? 0)
  }
  get(tree: Permission.Tree): Decision.Decision<Permission.Tree> | undefined {
    return tree === this.#tree ? this.#decision : this.#others?.get(tree)
  }
  set(tree: Permission.Tree, decision: Decision.Decision<Permission.Tree>): void {
    if (tree._tag === "Check" && this.#locks?.delete(tree) && this.#locks.size === 0) this.#locks = undefined
    if (this.#tree === undefined || this.#tree === tree) {
      this.#tree = tree
      this.#decision = decision
    } else {
      this.#others ??= new Map()
      this.#others.set(tree, decision)
    }
  }
  lock(check: Permission.Check): Semaphore.Semaphore {
    const locks = this.#locks ??= new Map<Permission.Check, Semaphore.Semaphore>()
    let lock = locks.get(check)
    if (lock === undefined) locks.set(check, lock = Semaphore.makeUnsafe(1))
    return lock
  }
}
