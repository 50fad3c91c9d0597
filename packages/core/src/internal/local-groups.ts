/**
 * The members of groups, in memory.
 */
import type { Member, Message } from "../ChannelLayer.ts"

/** The members of groups. */
export class LocalGroups {
  readonly #groups = new Map<string, Set<Member>>()

  /** How many groups have members. */
  get size(): number {
    return this.#groups.size
  }
  /** Whether a group has members. */
  has(key: string): boolean {
    return this.#groups.has(key)
  }
  /** The members of a group. */
  members(key: string): ReadonlySet<Member> {
    return this.#groups.get(key) ?? noMembers
  }
  /** Puts a member in; answers whether it was not in before. */
  add(key: string, member: Member): boolean {
    const members = this.#groups.get(key)
    if (members === undefined) this.#groups.set(key, new Set([member]))
    else if (members.has(member)) return false
    else members.add(member)
    return true
  }
  /** Takes a member out; answers whether it was in. */
  remove(key: string, member: Member): boolean {
    const members = this.#groups.get(key)
    if (members === undefined || !members.delete(member)) return false
    if (members.size === 0) this.#groups.delete(key)
    return true
  }
  /** Gives an event to the members of a group. */
  send(key: string, message: Message): void {
    const { except } = message
    for (const member of this.members(key)) if (member.id !== except) member.receive(message)
  }
}

const noMembers: ReadonlySet<Member> = new Set()
