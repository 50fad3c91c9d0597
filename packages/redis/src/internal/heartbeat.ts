/**
 * Says that a node is alive, sees to those that are not, and keeps alive what this one has written.
 */
import * as Effect from "effect/Effect"
import type { Counts } from "./counts.ts"
import type { Hearing } from "./hearing.ts"
import type { Histories } from "./histories.ts"
import type { Group, Node } from "./node.ts"
import type { Presences } from "./presences.ts"
import type { Recovery } from "./recovery.ts"
import { texts } from "./replies.ts"
import * as scripts from "./scripts.ts"
import type { Session } from "./session.ts"

/** The settings of others are not those of this node. */
export class OtherSettings extends Error {}

/** The parts of a node that are seen to. */
interface Parts {
  readonly hearing: Hearing
  readonly counts: Counts
  readonly presences: Presences
  readonly histories: Histories
  readonly recovery: Recovery
}

export class Heartbeat {
  readonly #node: Node
  readonly #parts: Parts
  #refresh: Iterator<Group>

  constructor(node: Node, parts: Parts) {
    this.#node = node
    this.#parts = parts
    this.#refresh = node.groups.values()
  }

  /** Says that this node is alive; fails where the others have other settings. */
  async write(session: Session) {
    const { id, keys, settings: { nodeTimeout, prefix, shards } } = this.#node
    // To be raised when nodes of the version before would not understand this one.
    const own = JSON.stringify({ protocol: 1, shards })
    const [known, settings, living]: ReadonlyArray<unknown> = await session.eval(
      scripts.beat,
      [keys.nodes, keys.settings],
      [id, nodeTimeout, keys.ttl, own]
    ).then((reply) => Array.isArray(reply) ? reply : [])
    if (settings !== own) {
      throw new OtherSettings(
        `The servers that share the prefix "${prefix}" must have the same settings. Expected ${own}, found ${
          String(settings)
        } in Redis at "${keys.settings}". Give all servers the same number of shards, or these another prefix; to change it, ` +
          `stop all of them first (the key then expires within ${Math.ceil(keys.ttl / 60_000)} minutes, or delete it).`
      )
    }
    return { isKnown: Number(known) === 1, living: new Set(texts(living)) }
  }

  /** One heartbeat. */
  readonly beat: Effect.Effect<void> = Effect.suspend(() => {
    const { hearing, histories, presences, recovery } = this.#parts
    const { groups, isGrace, link, settings, shards } = this.#node
    if (link.session === undefined) return Effect.void
    const round = presences.beginRound()
    return link.use(async (session) => {
      const { isKnown, living } = await this.write(session)
      if (!isGrace && isKnown) presences.forgetDead(round, living)
      hearing.sweep()
      for (const group of groups.values()) {
        if (group.arrived !== undefined) histories.catchUp(session, group).catch(ignore)
        presences.keepInStep(session, group)
      }
      this.#refreshKeys(session)
      await Promise.all([session.ping(), shards.sweep(session)])
      return isKnown
    }).pipe(Effect.flatMap((isKnown) => {
      if (isKnown) return recovery.settle
      // Others have taken this node for dead, or Redis has lost its data: they are told everything anew.
      this.#node.graceUntil = performance.now() + settings.nodeTimeout
      return recovery.register
    }))
  }).pipe(Effect.ignore)

  /** Keeps some of the keys alive, so that it comes to all of them in time. */
  #refreshKeys(session: Session): void {
    const { counts, recovery } = this.#parts
    const { groups, keys, settings: { heartbeat } } = this.#node
    const some = Math.ceil(groups.size * heartbeat * 3 / keys.ttl)
    for (let i = 0; i < some; i++) {
      const { done, value: group } = this.#refresh.next()
      if (done === true) {
        this.#refresh = groups.values()
        return
      }
      const { address: { history, key }, view } = group
      counts.write(key).catch(ignore)
      if (view !== undefined) {
        session.run("PEXPIRE", keys.presence(key), String(keys.ttl)).then((was) =>
          Number(was) === 0 && groups.get(key) === group ? recovery.registerGroup(session, group) : undefined
        ).catch(ignore)
      }
      if (history !== undefined) {
        session.run("PEXPIRE", keys.history(key)[1], String(keys.bounds(history)[2])).catch(ignore)
      }
    }
  }
}

const ignore = (): void => {}
