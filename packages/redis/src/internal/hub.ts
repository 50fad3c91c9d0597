/**
 * The groups of a node, and what it shares with the other nodes by way of Redis.
 *
 * Every node keeps its own members, and is told of everything else by publishing: events, changes of presence, signals. What
 * has to be the same for everybody is numbered by Redis, in scripts. All that this node has written there can be written anew
 * from what it knows: after Redis was lost, or has lost its data, that is done, and then it asks what it has missed.
 */
import type * as Authority from "@effect-channels/core/Authority"
import type * as ChannelError from "@effect-channels/core/ChannelError"
import { type Address, ChannelLayer, type Joined, type Member, Message } from "@effect-channels/core/ChannelLayer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Control } from "./control.ts"
import { Counts } from "./counts.ts"
import { Hearing } from "./hearing.ts"
import { Heartbeat } from "./heartbeat.ts"
import { Histories, noHistory } from "./histories.ts"
import type { Link } from "./link.ts"
import type { Metrics } from "./metrics.ts"
import { type Entry, type Group, Node, type Settings } from "./node.ts"
import { Presences } from "./presences.ts"
import { Recovery } from "./recovery.ts"
import * as scripts from "./scripts.ts"
import type { Session } from "./session.ts"
import * as wire from "./wire.ts"

export class Hub {
  readonly layer: ChannelLayer["Service"]
  readonly #node: Node
  readonly #hearing = new Hearing()
  readonly #counts: Counts
  readonly #histories: Histories
  readonly #presences: Presences
  readonly #control: Control
  readonly #recovery: Recovery
  readonly #heartbeat: Heartbeat

  constructor(settings: Settings, link: Link, metrics: Metrics, run: (effect: Effect.Effect<unknown>) => void) {
    const node = this.#node = new Node(settings, link, metrics, run)
    const hearing = this.#hearing
    const counts = this.#counts = new Counts(node)
    const histories = this.#histories = new Histories(node)
    const presences = this.#presences = new Presences(node)
    const recovery = this.#recovery = new Recovery(node, counts, presences, histories)
    this.#control = new Control(node, hearing)
    this.#heartbeat = new Heartbeat(node, { hearing, counts, presences, histories, recovery })
    this.layer = ChannelLayer.of({
      add: (address, member, after) => this.#add(address, member, after),
      remove: (address, member) => this.#remove(address, member),
      send: (address, message) => this.#send(address, message),
      count: ({ key }) => counts.count(key),
      present: (address) => presences.present(address),
      signal: (signal) => this.#control.signal(signal),
      subscribe: (listener) => this.#control.subscribe(listener)
    })
  }

  get authority(): Authority.Authority {
    return this.#control.authority
  }

  /** What there is, for tests. */
  get sizes() {
    return {
      groups: this.#node.groups.size,
      listeners: this.#control.size,
      seen: this.#presences.size,
      counting: this.#counts.size,
      debts: this.#recovery.size
    }
  }

  // ---- members

  #add(address: Address, member: Member, after: string | undefined): Effect.Effect<Joined, ChannelError.Unavailable> {
    // Nothing comes between taking it in and seeing to it that it goes again where that does not come about.
    return Effect.uninterruptibleMask((restore) => {
      const { link, shards } = this.#node
      if (link.session === undefined) return link.refuse
      const group = this.#groupOf(address)
      group.joining++
      const known = group.entries.get(member)
      const entry = known ?? {
        member,
        isIn: false,
        arrived: address.history === undefined ? undefined : [],
        last: undefined,
        isTold: false
      }
      group.entries.set(member, entry)
      // It listens before it asks what there is, so that nothing is lost between.
      const joined = link.use((session) =>
        Promise.all([shards.ready(session, group.shard), this.#counts.writeIn(address.key, entry)])
      ).pipe(Effect.andThen(Effect.suspend(() => this.#join(group, entry, after))))
      return restore(joined).pipe(
        Effect.onExit((exit) => {
          group.joining--
          if (Exit.isSuccess(exit)) return Effect.sync(() => this.#closeIfEmpty(group))
          return known === undefined && group.entries.get(member) === entry
            ? this.#remove(address, member)
            : Effect.sync(() => this.#closeIfEmpty(group))
        })
      )
    })
  }

  #join(group: Group, entry: Entry, after: string | undefined): Effect.Effect<Joined, ChannelError.Unavailable> {
    const { groups, link } = this.#node
    // The node has stopped.
    if (groups.get(group.address.key) !== group) return link.refuse
    // It was taken out meanwhile.
    if (group.entries.get(entry.member) !== entry) return Effect.succeed({ ...noHistory, present: [] })
    const { history, presence } = group.address
    if (history === undefined && !presence) return Effect.succeed({ ...noHistory, present: [] })
    return Effect.map(
      Effect.all([
        history === undefined ? Effect.succeed(noHistory) : this.#histories.resume(group, entry, after),
        presence ? this.#presences.enter(group, entry) : Effect.succeed([])
      ], { concurrency: "unbounded" }),
      ([resumed, present]) => ({ ...resumed, present })
    )
  }

  #remove(address: Address, member: Member): Effect.Effect<void> {
    return Effect.suspend(() => {
      const group = this.#node.groups.get(address.key)
      if (group?.entries.delete(member) !== true) return Effect.void
      const { session } = this.#node.link
      const { view } = group
      const owe = () => {
        view?.remove(member.id)
        this.#recovery.owe(group.address)
      }
      if (session === undefined) {
        owe()
        this.#closeIfEmpty(group)
        return Effect.void
      }
      const left = view === undefined ? undefined : this.#presences.writeLeave(session, group.address, member.id)
      const told = Promise.all([left, this.#counts.write(address.key)]).catch(owe)
      this.#closeIfEmpty(group)
      return Effect.promise(() => told)
    })
  }

  #groupOf(address: Address): Group {
    const { groups, shards } = this.#node
    const known = groups.get(address.key)
    if (known !== undefined) return known
    const entries = new Map<Member, Entry>()
    const group: Group = {
      address,
      shard: shards.of(address.key),
      entries,
      view: address.presence ? this.#presences.makeView(address, entries) : undefined,
      joining: 0,
      arrived: undefined,
      cuts: 0
    }
    groups.set(address.key, group)
    shards.acquire(group.shard)
    return group
  }

  #closeIfEmpty(group: Group): void {
    const { groups, shards } = this.#node
    if (group.entries.size > 0 || group.joining > 0 || groups.get(group.address.key) !== group) return
    groups.delete(group.address.key)
    shards.release(group.shard)
    group.view?.close()
  }

  // ---- events

  #send(address: Address, message: Message): Effect.Effect<void, ChannelError.Unavailable> {
    const { history, key } = address
    if (history !== undefined) return this.#histories.append(address, message)
    const { groups, id, link, shards } = this.#node
    return link.send(shards.channel(shards.of(key)), () => {
      // What goes past a history comes by way of Redis too, not to come before what is kept and was sent before it.
      const isEcho = groups.get(key)?.address.history !== undefined && link.session !== undefined
      if (!isEcho) this.#deliver(key, message)
      return wire.printSent(id, this.#hearing.next(), isEcho, wire.printEvent(key, message))
    })
  }

  /** Gives an event without a position to the members of a group. */
  #deliver(key: string, message: Message): void {
    const group = this.#node.groups.get(key)
    if (group === undefined) return
    for (const { arrived, isIn, member } of group.entries.values()) {
      if (!isIn || member.id === message.except) continue
      if (arrived === undefined) member.receive(message)
      else arrived.push({ position: undefined, message })
    }
  }

  // ---- what others say

  /** Takes what was published on any channel. It never throws. */
  receive(text: string): void {
    try {
      this.#receive(text)
    } catch (error) {
      this.#node.run(Effect.logError("What was published has made something else throw", error))
    }
  }

  #receive(text: string): void {
    const { id, metrics, run } = this.#node
    const said = wire.parseWire(text)
    switch (said?._tag) {
      case "Sent":
        if (said.node === id && !said.isEcho) return
        if (this.#hearing.isNew(said.node, said.number)) this.#deliver(said.event.key, new Message(said.event.envelope))
        return
      case "Placed":
        return this.#histories.receive(said.position, said.event)
      case "Changed":
        return this.#presences.receive(said.change)
      case "Signal":
      case "Invalidate":
        return this.#control.receive(said)
      case "Marked":
        if (said.node === id) this.#counts.marked(said.number)
        return
      case "Stopped":
        if (said.node === id) return
        this.#hearing.forget(said.node)
        this.#presences.removeNode(said.node)
        return
      case undefined:
        metrics.dropped("no_message")
        run(Effect.logDebug("Something was published that is no message", text.slice(0, 200)))
    }
  }

  // ---- Redis comes and goes

  /** Begins with a new session; fails where the others have other settings. */
  async start(session: Session, before: Session | undefined): Promise<void> {
    const { id, keys, link, settings, shards } = this.#node
    if (before !== undefined) await session.supersede(before)
    await this.#heartbeat.write(session)
    if (this.#node.graceUntil === Infinity) this.#node.graceUntil = performance.now() + settings.nodeTimeout
    await Promise.all([
      session.subscribe(keys.control),
      session.subscribe(keys.own(id)),
      shards.subscribe(session)
    ])
    link.up(session)
  }

  /** The session is lost. */
  down(): void {
    const { groups, link, shards } = this.#node
    link.down()
    shards.down()
    this.#node.graceUntil = Infinity
    this.#counts.down()
    this.#presences.down()
    for (const group of groups.values()) if (group.address.history !== undefined) group.arrived ??= []
  }

  /** Does what is to be done when Redis can be reached again. */
  readonly recover: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(this.#control.recover, this.#recovery.register)
  )

  /** Says that this node is alive, and sees to those who are not. */
  readonly beat: Effect.Effect<void> = Effect.suspend(() => this.#heartbeat.beat)

  /** Tells the others that this node stops, and takes away what it has written. */
  readonly stop: Effect.Effect<void> = Effect.suspend(() => {
    const { id, keys, link } = this.#node
    const groups = [...this.#node.groups.values()]
    // Whatever is still being written now finds that there is nothing any more.
    this.#node.groups.clear()
    for (const { view } of groups) view?.close()
    return link.use(async (session) => {
      await session.eval(scripts.stop, [keys.nodes], [id, keys.control, wire.printStopped(id)])
      let written: Array<Promise<unknown>> = []
      for (const group of groups) {
        written.push(this.#counts.writeNone(session, group.address.key))
        if (group.view !== undefined) written.push(this.#presences.writeNone(session, group))
        if (written.length < 1000) continue
        await Promise.all(written)
        written = []
      }
      await Promise.all(written)
    })
  }).pipe(Effect.ignore)
}
