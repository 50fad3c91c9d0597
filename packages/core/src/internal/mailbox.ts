/**
 * The events of one connection, in the order in which they came: each is decided right before it is sent, so that none leaves by
 * what was decided before. They wait while the connection is decided anew, while a check takes its time, and while the client
 * does not read; how much may wait is bounded.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Decision from "../Decision.ts"
import type * as Permission from "../Permission.ts"
import type { Transport } from "../Transport.ts"
import type { Delivery } from "./audience.ts"
import * as decide from "./decide.ts"
import { andThen, type Eager } from "./eager.ts"
import type { Standing } from "./standing.ts"
import type { Wire } from "./wire.ts"

/** The connection that the events are for. */
export interface Host {
  readonly standing: Standing
  /** Where they are sent; not there before the connection is upgraded. */
  readonly transport: Transport | undefined
  readonly wire: Wire
  /** Whether none is sent now. */
  readonly isHeld: boolean
  /** Whether none is sent any more. */
  readonly isOver: boolean
  /** So many bytes may wait to be sent. */
  readonly maxUnsent: number
  /** Grows whenever facts of any connection have changed. */
  readonly generation: number
  readonly fork: (effect: Effect.Effect<void, never, unknown>) => Fiber.Fiber<void>
  /** A delivery check broke. */
  readonly broke: (type: string, cause: Cause.Cause<unknown>) => void
  /** The client does not read fast enough. */
  readonly tooSlow: () => void
}

/** By what a connection gets the events of a group. */
export interface Membership {
  /** The group. */
  readonly address: { readonly key: string }
  /** Whether it still does. */
  readonly isIn: boolean
  /** The checks of the group that each event is decided by. */
  readonly residual: Permission.Tree | undefined
}

/** An event that waits. */
interface Mail {
  readonly delivery: Delivery
  readonly membership: Membership | undefined
  /** In bytes; nothing, where it waits whatever else does. */
  readonly size: number
  readonly key: string | undefined
}

/** What comes of an event. */
type Verdict = Decision.Allow | Decision.Deny | Decision.Failed

/**
 * So much of what waits for one client is given to its transport at once, half of what may wait at the most: what is there
 * cannot be dropped any more.
 */
export const windowOf = (maxUnsent: number): number => Math.min(64 * 1024, maxUnsent / 2)

/** What an event that waits costs besides its frame, in bytes. */
const overhead = 64

/** The events of one connection. */
export class Mailbox {
  readonly #host: Host
  /** From the oldest to the newest. */
  #waiting: Set<Mail> | undefined
  #latest: Map<string, Mail> | undefined
  #size = 0
  #isDeciding = false
  #deciding: Fiber.Fiber<void> | undefined
  #isDraining = false

  constructor(host: Host) {
    this.#host = host
  }

  /** How many events wait. */
  get length(): number {
    return this.#waiting?.size ?? 0
  }

  /**
   * Takes an event for the connection. What belongs to how it has joined a group is `bounded` already: nothing of it is dropped,
   * and it does not count, so that a client can always catch up.
   */
  take(delivery: Delivery, membership: Membership | undefined, isBounded = false): void {
    if (this.#host.isOver) return
    const put = () =>
      isBounded
        ? this.#add({ delivery, membership, size: 0, key: undefined })
        : this.#put(delivery, membership)
    if (this.length === 0 && this.#isReady) {
      const verdict = this.#decide(delivery, membership)
      if (!Effect.isEffect(verdict)) return this.#settle(delivery, membership, verdict)
      const mail = put()
      if (mail !== undefined) this.#await(mail, verdict)
    } else if (put() !== undefined) {
      this.pump()
    }
  }

  /** Sends what waits, as far as it goes. */
  pump(): void {
    while (this.length > 0 && this.#isReady) {
      const mail: Mail = this.#waiting!.values().next().value!
      const verdict = this.#decide(mail.delivery, mail.membership)
      if (Effect.isEffect(verdict)) return this.#await(mail, verdict)
      this.#remove(mail)
      this.#settle(mail.delivery, mail.membership, verdict)
    }
  }

  /** Forgets what waits. */
  clear(): void {
    this.#deciding?.interruptUnsafe()
    this.#waiting = undefined
    this.#latest = undefined
    this.#size = 0
  }

  get #isReady(): boolean {
    const { isHeld, isOver, maxUnsent, transport } = this.#host
    if (isHeld || isOver || transport === undefined || this.#isDeciding || this.#isDraining) return false
    if (transport.unsent() <= windowOf(maxUnsent)) return true
    this.#drain(transport)
    return !this.#isDraining
  }

  /** Goes on when what was given to the transport has left: mostly that is so at once. */
  #drain(transport: Transport): void {
    this.#isDraining = true
    let isNow = true
    this.#host.fork(Effect.map(transport.drained, () => {
      this.#isDraining = false
      if (!isNow) this.pump()
    }))
    isNow = false
  }

  /** Whether the connection gets an event, by the facts as they are. */
  #decide(delivery: Delivery, membership: Membership | undefined): Eager<Verdict> {
    if (membership?.isIn === false) return left
    const { isOwn, permission } = delivery.event
    // Who is in a group may know who else is.
    const residual = isOwn ? undefined : membership?.residual
    if (residual === undefined) {
      if (permission === undefined) return Decision.allow
      const settled = this.#host.standing.settled(permission)
      if (settled !== undefined) return settled
    }
    const trees = [residual, permission].filter((tree) => tree !== undefined)
    return andThen(
      delivery.facts(this.#host.standing),
      (facts) => "cause" in facts ? facts : this.#decideAll(delivery, trees, facts, 0)
    )
  }

  #decideAll(
    delivery: Delivery,
    trees: ReadonlyArray<Permission.Tree>,
    facts: Permission.Facts,
    from: number
  ): Eager<Verdict> {
    if (from === trees.length) return Decision.allow
    const { generation, standing } = this.#host
    const decided = standing.decide(trees[from]!, facts, undefined, delivery.shared(standing, generation))
    return andThen(decided, (result) => {
      const verdict = Decision.conclude(result)
      return verdict._tag === "Allow" ? this.#decideAll(delivery, trees, facts, from + 1) : verdict
    })
  }

  /** Waits for a decision; what comes meanwhile waits as well. */
  #await(mail: Mail, verdict: Effect.Effect<Verdict, never, unknown>): void {
    this.#isDeciding = true
    const { standing } = this.#host
    const { epoch } = standing
    const inTime = Effect.timeoutOrElse(verdict, {
      duration: standing.consumer.redecisionTimeout,
      orElse: () => Effect.die(new Error("The permission to receive an event could not be decided in time"))
    })
    this.#deciding = this.#host.fork(Effect.map(Effect.exit(inTime), (exit) => {
      this.#isDeciding = false
      // What was decided no longer counts: it is decided again when its turn comes.
      if (standing.epoch === epoch && !this.#host.isHeld && this.#waiting?.has(mail) === true) {
        this.#remove(mail)
        this.#settle(
          mail.delivery,
          mail.membership,
          exit._tag === "Success" ? exit.value : Decision.failed(mail.delivery.event.type, exit.cause)
        )
      }
      this.pump()
    }))
  }

  #settle(delivery: Delivery, membership: Membership | undefined, verdict: Verdict): void {
    const { event, message } = delivery
    const { isOver, transport } = this.#host
    if (isOver || transport === undefined) return
    if (verdict._tag === "Allow" && membership?.isIn !== false) {
      event.deliveries.sent()
      transport.send(this.#host.wire.event(message))
    } else if (decide.outcomeOfDecision(verdict) === "Deny") {
      if (verdict !== left) event.deliveries.count("denied")
    } else if (verdict._tag === "Failed") {
      event.deliveries.count("failed")
      delivery.broke(verdict.cause, (type, cause) => this.#host.broke(type, cause))
    }
  }

  /** Has an event wait, if there is room for it. */
  #put(delivery: Delivery, membership: Membership | undefined): Mail | undefined {
    const { event, message } = delivery
    const key = this.#keyOf(delivery, membership)
    const mail: Mail = { delivery, membership, size: this.#host.wire.event(message).content.length + overhead, key }
    const superseded = key === undefined ? undefined : this.#latest?.get(key)
    if (superseded !== undefined) {
      this.#remove(superseded)
      event.deliveries.count("superseded")
    }
    if (!this.#fits(mail.size)) {
      switch (event.whenSlow) {
        case "drop-newest":
          event.deliveries.count("dropped_newest")
          return undefined
        case "drop-oldest":
          if (this.#makeRoom(mail.size)) break
          event.deliveries.count("dropped_oldest")
          return undefined
        default:
          event.deliveries.count("disconnected")
          this.#host.tooSlow()
          return undefined
      }
    }
    if (key !== undefined) (this.#latest ??= new Map<string, Mail>()).set(key, mail)
    return this.#add(mail)
  }

  #add(mail: Mail): Mail {
    ;(this.#waiting ??= new Set()).add(mail)
    this.#size += mail.size
    return mail
  }

  /** Where nothing waits there is room for one of any size. */
  #fits(size: number): boolean {
    const before = this.#unsent + this.#size
    return before === 0 || before + size <= this.#host.maxUnsent
  }

  get #unsent(): number {
    return this.#host.transport?.unsent() ?? 0
  }

  /** Drops the oldest of those that may be dropped in this way, until an event fits; none where that is not enough. */
  #makeRoom(size: number): boolean {
    const oldest: Array<Mail> = []
    let missing = this.#unsent + this.#size + size - this.#host.maxUnsent
    for (const mail of this.#waiting ?? []) {
      if (missing <= 0) break
      if (mail.delivery.event.whenSlow !== "drop-oldest") continue
      oldest.push(mail)
      missing -= mail.size
    }
    if (missing > 0) return false
    for (const mail of oldest) {
      this.#remove(mail)
      mail.delivery.event.deliveries.count("dropped_oldest")
    }
    return true
  }

  #remove(mail: Mail): void {
    if (this.#waiting?.delete(mail) !== true) return
    if (this.#waiting.size === 0) this.#waiting = undefined
    this.#size -= mail.size
    if (mail.key !== undefined && this.#latest?.get(mail.key) === mail) this.#latest.delete(mail.key)
  }

  /** Of those with the same key only the latest waits. */
  #keyOf(delivery: Delivery, membership: Membership | undefined): string | undefined {
    const { event } = delivery
    if (typeof event.whenSlow === "string") return undefined
    const facts = delivery.facts(this.#host.standing)
    // Out of JSON it is there at once, unless the schema needs longer: then all of them wait.
    if (Effect.isEffect(facts) || "cause" in facts) return undefined
    try {
      const key = event.whenSlow.latest((facts as unknown as Permission.DeliveryFacts<never>).event)
      return JSON.stringify([event.type, membership?.address.key, key])
    } catch {
      return undefined
    }
  }
}

/** The connection has left the group meanwhile: that is no denial. */
const left: Decision.Deny = Decision.deny({
  check: "",
  phase: "group",
  reason: undefined,
  code: undefined,
  private: false
})
