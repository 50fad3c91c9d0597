/**
 * Events of groups with a history. Redis keeps them and numbers them, so that there is one order for everybody; each member is
 * given what comes after the last position that it has been given.
 */
import type * as ChannelError from "@effect-channels/core/ChannelError"
import { type Address, type Envelope, type Joined, Message } from "@effect-channels/core/ChannelLayer"
import * as Effect from "effect/Effect"
import type { Entry, Group, Node, Placed } from "./node.ts"
import { isAfter, isNews, parsePosition, type Position, printPosition } from "./positions.ts"
import { texts } from "./replies.ts"
import * as scripts from "./scripts.ts"
import type { Session } from "./session.ts"
import { type Addressed, parseEvent, placedHead, printEvent } from "./wire.ts"

/** How somebody comes into a group, where presence does not matter. */
export type Resumed = Omit<Joined, "present">

/** How somebody comes into a group that keeps nothing. */
export const noHistory: Resumed = { position: undefined, state: "fresh", missed: [] }

/** More events than this are not kept while a history is read. */
const maxArrived = 10_000

export class Histories {
  readonly #node: Node

  constructor(node: Node) {
    this.#node = node
  }

  /** Appends an event, and publishes it. */
  append(
    { history, key }: Address,
    message: Message
  ): Effect.Effect<void, ChannelError.Unavailable> {
    const { keys, link, shards } = this.#node
    return Effect.asVoid(link.use((session) =>
      session.eval(scripts.append, keys.history(key), [
        ...keys.bounds(history!),
        shards.channel(shards.of(key)),
        placedHead,
        printEvent(key, message)
      ])
    ))
  }

  /** An event was published. */
  receive(position: Position, { envelope, key }: Addressed): void {
    const group = this.#node.groups.get(key)
    if (group?.address.history === undefined) return
    const placed = place(position, envelope)
    if (group.arrived === undefined) return this.#place(group, placed, isNews)
    if (group.arrived.length >= maxArrived) {
      // It is read from the history.
      group.arrived = []
      group.cuts++
    }
    group.arrived.push(placed)
    // Those who join now read what they have missed for themselves.
    for (const { arrived } of group.entries.values()) arrived?.push(placed)
  }

  /** Reads what somebody has missed, and from then on gives them what comes. */
  resume(group: Group, entry: Entry, after: string | undefined): Effect.Effect<Resumed, ChannelError.Unavailable> {
    const { history, key } = group.address
    const { keys, link } = this.#node
    const seen = parsePosition(after ?? "") ?? nowhere
    const what = after === undefined ? "fresh" : after === "" ? "all" : "after"
    return Effect.map(
      link.use((session) =>
        session.eval(scripts.resume, keys.history(key), [
          ...keys.bounds(history!),
          what,
          seen.epoch,
          seen.number
        ])
      ),
      (reply): Resumed => {
        const [at = "", state, ...events] = texts(reply)
        const position = parsePosition(at) ?? nowhere
        const { arrived } = entry
        // Whoever has been taken out meanwhile is given nothing.
        if (arrived !== undefined && group.entries.get(entry.member) === entry) {
          entry.arrived = undefined
          entry.last = position
          for (const { message, position } of arrived) {
            if (position === undefined) entry.member.receive(message)
            else if (isAfter(position, entry.last)) this.#give(entry, { position, message })
          }
        }
        const missed = readEvents(events)
        // What somebody else has put there cannot be read.
        const isWhole = missed.length === events.length / 2
        return state === "fresh" || (state === "resumed" && isWhole)
          ? { position: at, state, missed: missed.map(({ message }) => message) }
          : { position: at, state: "gap", missed: [] }
      }
    )
  }

  /** Reads what the members of a group have missed while this node could not listen, and gives it to them. */
  async catchUp(session: Session, group: Group): Promise<void> {
    for (let cuts = -1; cuts !== group.cuts;) {
      cuts = group.cuts
      await this.#readMissed(session, group)
    }
    const arrived = group.arrived ?? []
    group.arrived = undefined
    for (const placed of arrived) this.#place(group, placed, isAfter)
  }

  async #readMissed(session: Session, group: Group): Promise<void> {
    const { keys, metrics, run } = this.#node
    const { key } = group.address
    let from: Position | undefined
    for (const { arrived, last } of group.entries.values()) {
      if (arrived === undefined && last !== undefined && (from === undefined || isAfter(from, last))) from = last
    }
    if (from === undefined) return
    const [at = "", ...events] = texts(
      await session.eval(scripts.since, keys.history(key), [from.epoch, from.number])
    )
    const position = parsePosition(at)
    const missed = readEvents(events)
    // What is lost with all that Redis knew, nobody can count.
    const lost = position === undefined
      ? 1
      : position.number - missed.length - (position.epoch === from.epoch ? from.number : -1)
    if (lost > 0) {
      metrics.dropped("history_cut", lost)
      run(Effect.logWarning(
        "Redis was away for longer than the history of a group goes back: its members have missed events",
        { group: key, lost }
      ))
    }
    // The epoch that Redis has now is the newest, even where its clock was put back.
    for (const placed of missed) this.#place(group, placed, isNews)
  }

  /** Gives an event to the members that have not been given it. */
  #place(group: Group, placed: Placed, isNew: (position: Position, last: Position) => boolean): void {
    for (const entry of group.entries.values()) {
      if (entry.arrived !== undefined) entry.arrived.push(placed)
      else if (entry.last === undefined || isNew(placed.position, entry.last)) this.#give(entry, placed)
    }
  }

  #give(entry: Entry, { message, position }: Placed): void {
    entry.last = position
    if (entry.member.id !== message.except) entry.member.receive(message)
  }
}

/** A position that no history ever comes to. */
const nowhere: Position = { epoch: 0, number: 0 }

const place = (position: Position, envelope: Envelope): Placed => ({
  position,
  message: new Message({ ...envelope, id: printPosition(position) })
})

/** The events that a script has read: positions and events by turns. */
const readEvents = (flat: ReadonlyArray<string>): ReadonlyArray<Placed> => {
  const events: Array<Placed> = []
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const position = parsePosition(flat[i]!)
    const event = parseEvent(flat[i + 1]!)
    if (position !== undefined && event !== undefined) events.push(place(position, event.envelope))
  }
  return events
}
