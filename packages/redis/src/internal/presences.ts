/**
 * Who is in groups with presence. Redis holds it and numbers the changes; a node sees it in the view of each group, and makes
 * that anew where it has missed a change.
 */
import type * as ChannelError from "@effect-channels/core/ChannelError"
import { type Address, type Member, presenceChange, type Present } from "@effect-channels/core/ChannelLayer"
import * as Effect from "effect/Effect"
import type { Entry, Group, Node } from "./node.ts"
import { parsePosition, type Position } from "./positions.ts"
import { texts } from "./replies.ts"
import * as scripts from "./scripts.ts"
import type { Session } from "./session.ts"
import { type Difference, View, type Who } from "./view.ts"
import { type Change, changedHead, isJson, printMember } from "./wire.ts"

export class Presences {
  readonly #node: Node
  /** The nodes whose members are seen: how many, and since which round of {@link forgetDead}. */
  readonly #seen = new Map<string, { members: number; readonly since: number }>()
  #rounds = 0

  constructor(node: Node) {
    this.#node = node
  }

  /** How many nodes are seen. */
  get size(): number {
    return this.#seen.size
  }

  /** What this node sees of a group. */
  makeView(address: Address, entries: ReadonlyMap<Member, Entry>): View {
    return new View({
      changed: (difference) => tell(address, entries, difference),
      came: (node) => {
        const seen = this.#seen.get(node)
        if (seen === undefined) this.#seen.set(node, { members: 1, since: this.#rounds })
        else seen.members++
      },
      went: (node) => {
        const seen = this.#seen.get(node)
        if (seen !== undefined && --seen.members === 0) this.#seen.delete(node)
      }
    })
  }

  /** Who is in a group, on all nodes. */
  present({ key, presence }: Address): Effect.Effect<ReadonlyArray<Present>, ChannelError.Unavailable> {
    if (!presence) return Effect.succeed([])
    const { id: node, link } = this.#node
    return Effect.map(link.use((session) => this.#read(session, key)), ({ living, members }) => {
      const own = this.#node.idsIn(key)
      const present: Array<Present> = []
      for (const [id, who] of members) {
        if (who.node === node ? own.has(id) : living.has(who.node)) present.push({ id, data: who.data })
      }
      return present
    })
  }

  /** Tells all nodes that a member came; completes with who is there when this node has heard it itself. */
  enter(group: Group, entry: Entry): Effect.Effect<ReadonlyArray<Present>, ChannelError.Unavailable> {
    const { link } = this.#node
    const view = group.view!
    return Effect.flatMap(
      link.use((session) => {
        const entered = this.writeEnter(session, group.address, entry.member, false)
        if (!view.isInStep) this.sync(session, group, false)
        return entered
      }),
      (reply) =>
        Effect.callback((resume) => {
          const { session } = link
          if (session === undefined) return resume(link.refuse)
          const willBe = view.wait(parsePosition(String(reply)) ?? nowhere, (present) => {
            // From here on it is told, and up to here it sees.
            entry.isTold = true
            resume(present === undefined ? link.refuse : Effect.succeed(present))
          })
          if (!willBe) this.sync(session, group, false)
        })
    )
  }

  /** Writes that a member came; `again`, where others are to be told even if it was known. */
  writeEnter(session: Session, { key }: Address, member: Member, again: boolean): Promise<unknown> {
    const { id, keys, shards } = this.#node
    const data = member.presence ?? "null"
    return session.eval(scripts.enter, [keys.presence(key)], [
      `${id} ${member.id}`,
      data,
      shards.channel(shards.of(key)),
      changedHead(id, true),
      printMember(key, member.id, data),
      keys.ttl,
      again ? 1 : 0
    ])
  }

  /** Writes that a member went. */
  writeLeave(session: Session, { key }: Address, member: string): Promise<unknown> {
    const { id, keys, shards } = this.#node
    return session.eval(scripts.leave, [keys.presence(key)], [
      `${id} ${member}`,
      shards.channel(shards.of(key)),
      changedHead(id, false),
      printMember(key, member, undefined),
      keys.ttl
    ])
  }

  /** Writes that those members went which Redis knows of this node, and are not here. */
  async writeLeft(session: Session, address: Address): Promise<void> {
    const { members } = await this.#read(session, address.key)
    const own = this.#node.idsIn(address.key)
    const left = Array.from(members).filter(([id, { node }]) => node === this.#node.id && !own.has(id))
    await Promise.all(left.map(([id]) => this.writeLeave(session, address, id)))
  }

  /** Takes away the members of this node, which stops. */
  writeNone(session: Session, { address: { key }, entries }: Group): Promise<unknown> {
    return this.#bury(session, key, this.#node.id, Array.from(entries.keys(), ({ id }) => `${this.#node.id} ${id}`))
  }

  /** A member came or went, somewhere. */
  receive(change: Change): void {
    const group = this.#node.groups.get(change.key)
    const { session } = this.#node.link
    if (group?.view === undefined || group.view.apply(change) || session === undefined) return
    this.sync(session, group, false)
  }

  /** Reads who is in a group. Those who are missing are taken for gone only where that is certain. */
  sync(session: Session, group: Group, isCertain: boolean): Promise<void> {
    const { address, view } = group
    if (view === undefined || view.syncing) return Promise.resolve()
    view.beginSync()
    return this.#read(session, address.key).then(({ living, members, position }) => {
      view.syncing = false
      const { groups, id: self, isGrace, settings } = this.#node
      if (groups.get(address.key) !== group || session.failure !== undefined) return
      const own = this.#node.idsIn(address.key)
      const dead = new Map<string, Array<string>>()
      for (const [id, { node }] of members) {
        if (node === self ? own.has(id) : living.has(node)) continue
        members.delete(id)
        // What this node has not said, or what is left of one that is dead.
        if (node === self) this.writeLeave(session, address, id).catch(ignore)
        else dead.set(node, [...dead.get(node) ?? [], `${node} ${id}`])
      }
      if (!isGrace) { for (const [node, fields] of dead) this.#bury(session, address.key, node, fields) }
      if (!view.install(position, members, isCertain, performance.now(), settings.nodeTimeout)) {
        return this.sync(session, group, false)
      }
    }, () => {
      view.syncing = false
    }).catch((error: unknown) => this.#node.run(Effect.logError("A member has thrown when it was told", error)))
  }

  /** Makes anew what is not in step, once a heartbeat. */
  keepInStep(session: Session, group: Group): void {
    const { view } = group
    if (view === undefined) return
    if (view.recheckAt !== undefined && view.recheckAt <= performance.now()) this.sync(session, group, true)
    else if (!view.isInStep || view.isLate()) this.sync(session, group, false)
  }

  /** Begins to ask which nodes are alive: whoever is seen first from now on may be missing in the answer. */
  beginRound(): number {
    return ++this.#rounds
  }

  /** Forgets the members of nodes that were seen before a round, and are not alive. */
  forgetDead(round: number, living: ReadonlySet<string>): void {
    for (const [node, { since }] of this.#seen) {
      if (since < round && node !== this.#node.id && !living.has(node)) this.removeNode(node)
    }
  }

  /** All members of a node went. */
  removeNode(node: string): void {
    for (const { view } of this.#node.groups.values()) view?.removeNode(node)
    this.#seen.delete(node)
  }

  /** The session is lost. */
  down(): void {
    for (const { view } of this.#node.groups.values()) {
      view?.loseStep()
      view?.giveUp()
    }
  }

  async #read(session: Session, key: string) {
    const { keys, settings } = this.#node
    const reply = await session.eval(scripts.snapshot, [keys.presence(key), keys.nodes], [settings.nodeTimeout])
    const [at, living, fields]: ReadonlyArray<unknown> = Array.isArray(reply) ? reply : []
    const members = new Map<string, Who>()
    const flat = texts(fields)
    for (let i = 0; i + 1 < flat.length; i += 2) {
      const field = flat[i]!
      const data = flat[i + 1]!
      const end = field.indexOf(" ")
      if (end > 0 && isJson(data)) members.set(field.slice(end + 1), { node: field.slice(0, end), data })
    }
    return { position: parsePosition(String(at)) ?? nowhere, living: new Set(texts(living)), members }
  }

  #bury(session: Session, key: string, node: string, fields: ReadonlyArray<string>): Promise<unknown> {
    const { keys, settings } = this.#node
    const chunks: Array<Promise<unknown>> = []
    for (let i = 0; i < fields.length; i += 1000) {
      chunks.push(session.eval(scripts.bury, [keys.presence(key), keys.nodes], [
        settings.nodeTimeout,
        node,
        ...fields.slice(i, i + 1000)
      ]))
    }
    return Promise.all(chunks).catch(ignore)
  }
}

/** Tells the members of a group who came and went. */
const tell = (address: Address, entries: ReadonlyMap<Member, Entry>, { joined, left }: Difference): void => {
  const change = presenceChange(address, { joined, left })
  for (const { isTold, member } of entries.values()) {
    if (!isTold) continue
    if (!joined.some(({ id }) => id === member.id)) {
      member.receive(change)
      continue
    }
    // Nobody is told of themselves.
    const others = joined.filter(({ id }) => id !== member.id)
    if (others.length > 0 || left.length > 0) member.receive(presenceChange(address, { joined: others, left }))
  }
}

/** The position of a group that nobody has ever come into. */
const nowhere: Position = { epoch: 0, number: 0 }

const ignore = (): void => {}
