/**
 * The groups that one connection is in: how it comes into them, and leaves them.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Semaphore from "effect/Semaphore"
import * as ChannelError from "../ChannelError.ts"
import type { Address, ChannelLayer, Joined, Member } from "../ChannelLayer.ts"
import { Message } from "../ChannelLayer.ts"
import type * as Decision from "../Decision.ts"
import type * as Group_ from "../Group.ts"
import type * as Membership_ from "../Membership.ts"
import type * as Permission from "../Permission.ts"
import type * as Reply from "../Reply.ts"
import * as channels from "./channels.ts"
import { effectOf } from "./eager.ts"
import { deniedBy, errorsOf } from "./failure.ts"
import type { Membership } from "./mailbox.ts"
import type { Standing } from "./standing.ts"

/** The connection that is in the groups. */
export interface Host {
  readonly standing: Standing
  readonly layer: ChannelLayer["Service"]
  /** Takes an event for the connection; what belongs to how it has joined is decided by the permissions as they are now. */
  readonly deliver: (message: Message, membership: Membership | undefined, isJoining?: boolean) => void
  /** What a cause stands for. */
  readonly failure: (cause: Cause.Cause<unknown>) => Effect.Effect<Reply.Failure>
  /** So many characters of events may come before it is clear what comes first. */
  readonly maxEarly: number
  /** More of them have come. */
  readonly tooSlow: () => void
}

/** How a connection comes into a group. */
export interface Options {
  readonly after?: string | undefined
  readonly presence?: unknown
}

/** A group that the connection is in: what the layer knows as its member. */
class Entry implements Membership, Member {
  readonly group: channels.Group
  readonly params: unknown
  readonly address: Address
  readonly id: string
  readonly presence: string | undefined
  readonly #host: Host
  residual: Permission.Tree | undefined = undefined
  /** What let it in counts as long as this is the epoch of its connection. */
  epoch = 0
  isIn = true
  /** What has come before it is clear what comes first. */
  early: Array<Message> | undefined = []
  #earlySize = 0

  constructor(group: channels.Group, params: unknown, address: Address, presence: string | undefined, host: Host) {
    this.group = group
    this.params = params
    this.address = address
    this.id = host.standing.scope.id
    this.presence = presence
    this.#host = host
  }

  receive(message: Message): void {
    const placed = message.id === undefined ? message : message.of(this.address)
    if (this.early === undefined) return this.#host.deliver(placed, this)
    this.#earlySize += placed.data.length
    if (this.#earlySize <= this.#host.maxEarly) this.early.push(placed)
    else this.#host.tooSlow()
  }
}

/** The groups that one connection is in. */
export class Memberships implements Membership_.Memberships {
  readonly #host: Host
  readonly #entries = new Map<string, Entry>()
  readonly #lock = Semaphore.makeUnsafe(1)
  #isOver = false

  constructor(host: Host) {
    this.#host = host
  }

  /** How many groups it is in. */
  get size(): number {
    return this.#entries.size
  }

  /** Where an event for a group of this name goes. */
  addressesOf(name: string): ReadonlyArray<Address> {
    return this.#of(name).map(({ address }) => address)
  }

  paramsOf(group: Group_.Any): ReadonlyArray<unknown> {
    return this.#of(this.#groupOf(group).group.name).map(({ params }) => params)
  }

  #of(name: string): ReadonlyArray<Entry> {
    return Array.from(this.#entries.values()).filter((entry) =>
      entry.group.group.name === name && entry.early === undefined
    )
  }

  join(group: Group_.Any, params: unknown, options: Options): Effect.Effect<Membership_.State, Membership_.JoinError> {
    // One after the other: who joins and leaves at once is then in, or is not.
    return this.#lock.withPermits(1)(this.#join(this.#groupOf(group), params, options)) as Effect.Effect<
      Membership_.State,
      Membership_.JoinError
    >
  }

  leave(group: Group_.Any, params: unknown): Effect.Effect<boolean> {
    return this.#lock.withPermits(1)(Effect.gen({ self: this }, function*() {
      const address = yield* this.#addressOf(this.#groupOf(group), params)
      const entry = this.#entries.get(address.key)
      if (entry === undefined) return false
      yield* this.#remove(entry)
      return true
    })) as Effect.Effect<boolean>
  }

  #groupOf(group: Group_.Any): channels.Group {
    const found = this.#host.standing.consumer.groups.get(group.name)
    if (found?.group === group) return found
    throw new Error(
      `The consumer "${this.#host.standing.consumer.consumer.name}" does not declare this group "${group.name}": add it with Consumer.groups`
    )
  }

  #addressOf({ group }: channels.Group, params: unknown): Effect.Effect<Address> {
    const { consumer, context } = this.#host.standing
    return Effect.orDie(
      Effect.provideContext(channels.addressOf(consumer.consumer.name, group, params), context) as Effect.Effect<
        Address
      >
    )
  }

  /** Joins what the consumer says that a connection joins to begin with. Fails with why it may not. */
  joinAll(): Effect.Effect<void, unknown> {
    const { consumer, scope } = this.#host.standing
    const joins = Array.from(consumer.groups.values()).flatMap((group) => group.joins.map((join) => ({ group, join })))
    const seen = [scope.query["$after"] ?? []].flat() as ReadonlyArray<string>
    return this.#lock.withPermits(1)(Effect.forEach(joins, ({ group, join }) =>
      Effect.gen({ self: this }, function*() {
        const params = yield* answer(() => join.join!(scope as never))
        for (const one of Array.isArray(params) ? params : [params]) {
          const presence = join.presence === undefined ? undefined : yield* answer(() => join.presence!(scope as never))
          const { params } = yield* this.#addressOf(group, one)
          yield* this.#join(group, one, { after: positionIn(seen, group.group.name, params), presence })
        }
      }), { discard: true })) as Effect.Effect<void, unknown>
  }

  #join(
    group: channels.Group,
    params: unknown,
    { after, presence }: Options
  ): Effect.Effect<Membership_.State, unknown, unknown> {
    return Effect.gen({ self: this }, function*() {
      const { layer, standing } = this.#host
      const address = yield* this.#addressOf(group, params)
      if (this.#entries.has(address.key)) return "fresh"
      if (this.#isOver) return yield* new ChannelError.Unavailable({ message: "The connection has ended" })
      const schema = group.group.presence
      const shown = schema === undefined ? undefined : yield* Effect.orDie(
        Effect.provideContext(channels.encode(schema, presence), standing.context) as Effect.Effect<string>
      )
      const entry = new Entry(group, params, address, shown, this.#host)
      const joining = Effect.gen({ self: this }, function*() {
        this.#entries.set(address.key, entry)
        yield* this.#admit(entry)
        const joined = yield* layer.add(address, entry, after)
        do {
          // What let it in may no longer count.
          yield* this.#admit(entry)
        } while (!this.#begin(entry, joined, after))
        return joined.state
      })
      return yield* Effect.onExit(
        joining,
        (exit) => exit._tag === "Success" && entry.isIn && !this.#isOver ? Effect.void : this.#remove(entry)
      )
    })
  }

  /**
   * What is first: where it is, then what it has missed, then what came meanwhile. Answers `false` where what let it in no longer
   * counts: no news passes between that and its beginning.
   */
  #begin(entry: Entry, joined: Joined, after: string | undefined): boolean {
    const { deliver, standing } = this.#host
    if (entry.group.permission !== undefined && entry.epoch !== standing.epoch) return false
    const { address } = entry
    // Who is given what is kept has seen nothing of it yet: it is where it was, until it has.
    const id = joined.state === "resumed" || after === "" ? after : joined.position
    if (address.history !== undefined || address.presence) deliver(joinedEvent(address, joined, id), undefined, true)
    for (const message of joined.missed) {
      if (message.except !== entry.id) deliver(message.of(address), entry, true)
    }
    if (address.history !== undefined && after !== undefined && joined.state !== "gap") {
      deliver(caughtUpEvent(address, joined), undefined, true)
    }
    const early = entry.early ?? []
    entry.early = undefined
    for (const message of early) deliver(message, entry, true)
    return true
  }

  /** Decides whether the connection may be in the group, until that is decided by the facts as they are. */
  #admit(entry: Entry): Effect.Effect<void, unknown> {
    const { permission } = entry.group
    if (permission === undefined) return Effect.void
    return Effect.gen({ self: this }, function*() {
      const { standing } = this.#host
      while (true) {
        const { context, epoch } = standing
        const decided = yield* Effect.provideContext(this.#decide(entry, permission), context)
        if (epoch !== standing.epoch) continue
        if (decided._tag === "Deny") return yield* deniedBy(decided.denial)
        if (decided._tag === "Failed") return yield* Effect.failCause(decided.cause)
        entry.epoch = epoch
        return
      }
    })
  }

  /** Decides it, and keeps what is left to each event. */
  #decide(entry: Entry, permission: Permission.Tree): Effect.Effect<Decision.Decision<Permission.Tree>, never, never> {
    const { standing } = this.#host
    const facts: Permission.Facts = { phase: "group", group: entry.group.group.name, params: entry.params }
    return Effect.map(
      Effect.suspend(() => effectOf(standing.decide(permission, facts, undefined))) as Effect.Effect<
        Decision.Decision<Permission.Tree>
      >,
      (decision) => {
        entry.residual = decision._tag === "Pending" ? decision.residual : undefined
        return decision
      }
    )
  }

  /** Leaves the groups that the connection may not be in any more, and tells it so. */
  get review(): Effect.Effect<void> {
    return Effect.forEach(
      Array.from(this.#entries.values()).filter((entry) => entry.isIn && entry.early === undefined),
      (entry) =>
        Effect.matchCauseEffect(this.#admit(entry), {
          onSuccess: () => Effect.void,
          onFailure: (cause) =>
            Effect.gen({ self: this }, function*() {
              const failure = yield* this.#host.failure(cause)
              if (failure._tag === "Defect") {
                yield* Effect.logError(`The permission to be in the group "${entry.group.group.name}" broke`, cause)
              }
              // It may have left by itself meanwhile.
              if (!entry.isIn) return
              yield* this.#remove(entry)
              this.#host.deliver(leftEvent(entry.address, failure, this.#host.standing.consumer.formatError), undefined)
            })
        }),
      { concurrency: "unbounded", discard: true }
    )
  }

  /** Leaves all groups: the connection has ended. */
  get end(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#isOver = true
      return Effect.forEach(Array.from(this.#entries.values()), (entry) => this.#remove(entry), { discard: true })
    })
  }

  #remove(entry: Entry): Effect.Effect<void> {
    return Effect.suspend(() => {
      entry.isIn = false
      if (this.#entries.get(entry.address.key) === entry) this.#entries.delete(entry.address.key)
      return this.#host.layer.remove(entry.address, entry)
    })
  }
}

/** A function of the application that answers with a value, or with an effect of one. */
const answer = (f: () => unknown): Effect.Effect<unknown, unknown, unknown> =>
  Effect.suspend(() => {
    const value = f()
    return Effect.isEffect(value) ? value : Effect.succeed(value)
  })

/** The position that a client has named for a group: `room:POSITION`, or with its parameters `room:{"room":"lobby"}:POSITION`. */
const positionIn = (seen: ReadonlyArray<string>, name: string, params: string): string | undefined => {
  for (const text of seen) {
    const end = text.lastIndexOf(":")
    if (end < 0) continue
    const group = text.slice(0, end)
    if (group === name || (group.startsWith(`${name}:`) && canonicalText(group.slice(name.length + 1)) === params)) {
      return text.slice(end + 1)
    }
  }
  return undefined
}

/** As canonical JSON, however it was written; nothing where it is none. */
const canonicalText = (text: string): string | undefined => {
  try {
    return channels.canonical(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** The event that tells a connection that it is in a group, where that group has a history or presence. */
const joinedEvent = (
  { history, label, presence }: Address,
  { present, state }: Joined,
  id: string | undefined
): Message =>
  new Message({
    type: "$joined",
    data: `{${label}${history === undefined ? "" : `,"state":"${state}","id":${JSON.stringify(id)}`}${
      presence ? `,"present":${channels.presentJson(present)}` : ""
    }}`,
    status: 200
  })

/** The event that tells a connection that it has been given all that it has missed. */
const caughtUpEvent = ({ label }: Address, { position }: Joined): Message =>
  new Message({ type: "$caught_up", data: `{${label},"id":${JSON.stringify(position)}}`, status: 200 })

/** The event that tells a connection that it is no longer in a group, since it may not. */
const leftEvent = (
  { label }: Address,
  failure: Reply.Failure,
  format: (failure: Reply.Failure) => ReadonlyArray<unknown>
): Message =>
  new Message({
    type: "$left",
    data: `{${label},"errors":${errorsOf(format, failure, constVoid)}}`,
    status: failure.status
  })
