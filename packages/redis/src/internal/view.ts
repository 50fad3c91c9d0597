/**
 * Who is in a group with presence, as one node sees it. It knows up to which change, so that it is told each of them once, and
 * notices where it has missed one.
 */
import type { Present } from "@effect-channels/core/ChannelLayer"
import { isAfter, type Position } from "./positions.ts"
import type { Change } from "./wire.ts"

/** A member, of whichever node. */
export interface Who {
  readonly node: string
  readonly data: string
}

/** Those who came and those who went. */
export interface Difference {
  readonly joined: ReadonlyArray<Present>
  readonly left: ReadonlyArray<Present>
}

/** Is told what changes. */
export interface Watcher {
  readonly changed: (difference: Difference) => void
  /** A member of a node is seen. */
  readonly came: (node: string) => void
  /** It is not seen any more. */
  readonly went: (node: string) => void
}

interface Waiting {
  readonly position: Position
  /** `undefined` where that will not come about. */
  readonly answer: (present: ReadonlyArray<Present> | undefined) => void
  rounds: number
  /** Whether what is read now was asked for after the change. */
  isRead: boolean
}

/** More than this is not kept until the view is in step: then it is made anew once more. */
const maxPending = 10_000

export class View {
  readonly #watcher: Watcher
  readonly #members = new Map<string, Who>()
  /** The last change that it knows of; `undefined` where it is not in step. */
  #position: Position | undefined
  /** What has come since it was in step. */
  #pending: Array<Change> = []
  /** Whether more has come than is kept. */
  #isCut = false
  #isClosed = false
  readonly #waiting = new Set<Waiting>()
  /** Whether somebody reads it anew. */
  syncing = false
  /** When those who are missing are taken for gone. */
  recheckAt: number | undefined

  constructor(watcher: Watcher) {
    this.#watcher = watcher
  }

  get isInStep(): boolean {
    return this.#position !== undefined
  }

  get present(): ReadonlyArray<Present> {
    return Array.from(this.#members, ([id, { data }]) => ({ id, data }))
  }

  /** Tells it a change; answers whether it is in step, or will be. */
  apply(change: Change): boolean {
    if (this.#position === undefined) {
      if (this.#pending.length < maxPending) this.#pending.push(change)
      else this.#isCut = true
      return true
    }
    const { epoch, number } = change.position
    if (epoch !== this.#position.epoch || number > this.#position.number + 1) {
      this.loseStep()
      this.#pending.push(change)
      return false
    }
    if (number <= this.#position.number) return true
    this.#position = change.position
    if (change.data === undefined) this.remove(change.id)
    else this.#add(change.id, { node: change.node, data: change.data })
    this.#settle()
    return true
  }

  /** It does not know any more which changes there were. */
  loseStep(): void {
    this.#position = undefined
    this.#pending = []
    this.#isCut = false
  }

  /** Somebody begins to read it anew. */
  beginSync(): void {
    this.syncing = true
    this.loseStep()
    for (const waiting of this.#waiting) waiting.isRead = true
  }

  /**
   * Who is in the group at a position. Those who are missing there are taken for gone only where that is certain, or was said
   * meanwhile. Answers with whether it is in step.
   */
  install(
    position: Position,
    members: ReadonlyMap<string, Who>,
    isCertain: boolean,
    now: number,
    grace: number
  ): boolean {
    const joined: Array<Present> = []
    const left: Array<Present> = []
    for (const [id, who] of members) {
      const before = this.#members.get(id)
      if (before === undefined) joined.push({ id, data: who.data })
      else this.#watcher.went(before.node)
      this.#members.set(id, who)
      this.#watcher.came(who.node)
    }
    this.recheckAt = undefined
    // What was heard last of each of them: that they went is certain.
    const heard = new Map(this.#pending.map((change) => [change.id, change]))
    for (const [id, { data, node }] of this.#members) {
      if (members.has(id)) continue
      if (isCertain || (heard.has(id) && heard.get(id)!.data === undefined)) {
        this.#members.delete(id)
        this.#watcher.went(node)
        left.push({ id, data })
      } else {
        this.recheckAt = now + grace
      }
    }
    this.#tell(joined, left)
    if (this.#isCut) {
      this.loseStep()
      return false
    }
    const pending = this.#pending
    this.#position = position
    this.#pending = []
    for (const change of pending) if (isAfter(change.position, position) && !this.apply(change)) return false
    this.#settle()
    for (const waiting of this.#waiting) {
      if (waiting.position.epoch === this.#position?.epoch) continue
      this.loseStep()
      return false
    }
    return true
  }

  /** A member went, whatever Redis says. */
  remove(id: string): void {
    const who = this.#members.get(id)
    if (who === undefined) return
    this.#members.delete(id)
    this.#watcher.went(who.node)
    this.#tell([], [{ id, data: who.data }])
  }

  /** All members of a node went. */
  removeNode(node: string): void {
    const left: Array<Present> = []
    for (const [id, who] of this.#members) {
      if (who.node !== node) continue
      this.#members.delete(id)
      this.#watcher.went(node)
      left.push({ id, data: who.data })
    }
    this.#tell([], left)
  }

  /** Calls a function with who is there, as soon as a change is known; answers whether it is in step, or will be. */
  wait(position: Position, answer: (present: ReadonlyArray<Present> | undefined) => void): boolean {
    if (this.#isClosed) {
      answer(undefined)
      return true
    }
    this.#waiting.add({ position, answer, rounds: 0, isRead: false })
    // The numbering has begun anew, and nobody can tell whether that change is known.
    if (this.#position !== undefined && this.#position.epoch !== position.epoch) {
      this.loseStep()
      return false
    }
    this.#settle()
    return true
  }

  /** Nobody has to wait any longer. */
  giveUp(): void {
    for (const { answer } of this.#waiting) answer(undefined)
    this.#waiting.clear()
  }

  /** Whether somebody waits since more than one round. */
  isLate(): boolean {
    let isLate = false
    for (const waiting of this.#waiting) if (++waiting.rounds > 1) isLate = true
    return isLate
  }

  /** It is of no use any more. */
  close(): void {
    this.#isClosed = true
    this.giveUp()
    for (const { node } of this.#members.values()) this.#watcher.went(node)
    this.#members.clear()
  }

  #add(id: string, who: Who): void {
    if (this.#members.has(id)) return
    this.#members.set(id, who)
    this.#watcher.came(who.node)
    this.#tell([{ id, data: who.data }], [])
  }

  #tell(joined: ReadonlyArray<Present>, left: ReadonlyArray<Present>): void {
    if (joined.length > 0 || left.length > 0) this.#watcher.changed({ joined, left })
  }

  #settle(): void {
    const known = this.#position
    if (known === undefined) return
    for (const waiting of this.#waiting) {
      const { answer, position } = waiting
      // Of another numbering nobody can tell which comes first, but for what was read after the change.
      if (position.epoch === known.epoch ? position.number > known.number : !waiting.isRead) continue
      this.#waiting.delete(waiting)
      answer(this.present)
    }
  }
}
