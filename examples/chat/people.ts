/**
 * Who is a moderator, who has muted whom, and who is banned from where: in memory, or in the Redis that all nodes share.
 */
import { ChannelError } from "@effect-channels/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import { Person } from "./contract.ts"

type Unavailable = ChannelError.Unavailable

export class People extends Context.Service<People, {
  readonly find: (name: string) => Effect.Effect<Person, Unavailable>
  readonly mute: (name: string, other: string) => Effect.Effect<void, Unavailable>
  readonly unmute: (name: string, other: string) => Effect.Effect<void, Unavailable>
  readonly ban: (name: string, room: string) => Effect.Effect<void, Unavailable>
  readonly unban: (name: string, room: string) => Effect.Effect<void, Unavailable>
}>()("chat/People") {
  static readonly layerMemory = Layer.sync(this, () => make(inMemory()))
  static readonly layerRedis = Layer.effect(this, Effect.map(Redis.Redis, (redis) => make(inRedis(redis))))
}

const moderators = new Set(["carol"])

/** Sets of words. */
interface Sets {
  readonly add: (set: string, name: string) => Effect.Effect<void, Unavailable>
  readonly remove: (set: string, name: string) => Effect.Effect<void, Unavailable>
  readonly list: (set: string) => Effect.Effect<ReadonlyArray<string>, Unavailable>
}

const make = (sets: Sets): People["Service"] => {
  const muted = (name: string) => `chat:muted:${name}`
  const banned = (name: string) => `chat:banned:${name}`
  return {
    find: (name) =>
      Effect.zipWith(
        sets.list(muted(name)),
        sets.list(banned(name)),
        (muted, bannedFrom) => new Person({ name, isModerator: moderators.has(name), muted, bannedFrom })
      ),
    mute: (name, other) => sets.add(muted(name), other),
    unmute: (name, other) => sets.remove(muted(name), other),
    ban: (name, room) => sets.add(banned(name), room),
    unban: (name, room) => sets.remove(banned(name), room)
  }
}

const inMemory = (): Sets => {
  const sets = new Map<string, ReadonlySet<string>>()
  const list = (set: string) => Array.from(sets.get(set) ?? [])
  return {
    add: (set, name) => Effect.sync(() => sets.set(set, new Set([...list(set), name]))),
    remove: (set, name) => Effect.sync(() => sets.set(set, new Set(list(set).filter((one) => one !== name)))),
    list: (set) => Effect.sync(() => list(set))
  }
}

const inRedis = (redis: Redis.Redis["Service"]): Sets => {
  const send = <A>(command: string, ...args: ReadonlyArray<string>) =>
    Effect.mapError(
      redis.send<A>(command, ...args),
      () => new ChannelError.Unavailable({ message: "Who may do what cannot be looked up now" })
    )
  return {
    add: (set, name) => send("SADD", set, name),
    remove: (set, name) => send("SREM", set, name),
    list: (set) => send<ReadonlyArray<string>>("SMEMBERS", set)
  }
}
