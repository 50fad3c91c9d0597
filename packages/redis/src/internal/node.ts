/**
 * What the parts of a node share: who it is, its way to Redis, and its groups.
 */
import type { Address, Member, Message } from "@effect-channels/core/ChannelLayer"
import type * as Effect from "effect/Effect"
import { Keys } from "./keys.ts"
import type { Link } from "./link.ts"
import type { Metrics } from "./metrics.ts"
import type { Position } from "./positions.ts"
import { Shards } from "./shards.ts"
import type { View } from "./view.ts"

/** How a node behaves. Times are in milliseconds. */
export interface Settings {
  readonly prefix: string
  readonly shards: number
  readonly heartbeat: number
  readonly nodeTimeout: number
}

/** An event of a history. */
export interface Placed {
  readonly position: Position
  readonly message: Message
}

/** An event on its way to a member: not all events of a group with a history become part of that. */
export type Arrived = Placed | { readonly position: undefined; readonly message: Message }

/** A member in a group. */
export interface Entry {
  readonly member: Member
  /** Whether it is given events that come: what was sent before it joined may be on its way still. */
  isIn: boolean
  /** What has come since it began to join a group with a history. */
  arrived: Array<Arrived> | undefined
  /** The position up to which it has been given everything. */
  last: Position | undefined
  /** Whether it is told who comes and goes. */
  isTold: boolean
}

/** A group that has members here. */
export interface Group {
  readonly address: Address
  readonly shard: number
  readonly entries: Map<Member, Entry>
  readonly view: View | undefined
  /** How many are about to join. */
  joining: number
  /** What has come since the history is read that was missed. */
  arrived: Array<Placed> | undefined
  /** How often more has come meanwhile than is kept. */
  cuts: number
}

export class Node {
  readonly id: string = globalThis.crypto.randomUUID()
  readonly settings: Settings
  readonly link: Link
  readonly metrics: Metrics
  /** Does something that nobody waits for. */
  readonly run: (effect: Effect.Effect<unknown>) => void
  readonly keys: Keys
  readonly shards: Shards
  readonly groups = new Map<string, Group>()
  /** Until when other nodes may not have come back themselves: nobody is taken for dead. */
  graceUntil = 0

  constructor(settings: Settings, link: Link, metrics: Metrics, run: (effect: Effect.Effect<unknown>) => void) {
    this.settings = settings
    this.link = link
    this.metrics = metrics
    this.run = run
    this.keys = new Keys(settings.prefix, settings.nodeTimeout)
    this.shards = new Shards(settings.prefix, settings.shards)
  }

  get isGrace(): boolean {
    return performance.now() < this.graceUntil
  }

  /** The ids of the members that a group has here. */
  idsIn(key: string): ReadonlySet<string> {
    const ids = new Set<string>()
    for (const { id } of this.groups.get(key)?.entries.keys() ?? []) ids.add(id)
    return ids
  }
}
