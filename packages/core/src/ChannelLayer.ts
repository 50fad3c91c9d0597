/**
 * Holds the groups of connections, and carries events to them: in one process ({@link layerMemory}), or across many (the
 * package `@effect-channels/redis`).
 *
 * Events can be sent from anywhere, not only from a connection: a handler, an HTTP route, a fiber of its own.
 *
 * **What is promised.** An event reaches every member that is in the group when it is sent, at most once, and the events of one
 * sender to one group in the order in which they were sent. Members of the sender's process are served at once. Across processes
 * see the layer. A group with a history keeps its last events, gives each a position, and one order for everybody: whoever comes
 * back with the last position they have seen gets what they have missed, or is told that there is a gap.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Authentication from "./Authentication.ts"
import * as Authority from "./Authority.ts"
import type * as ChannelError from "./ChannelError.ts"
import type * as Consumer from "./Consumer.ts"
import type * as Event from "./Event.ts"
import type * as Group from "./Group.ts"
import * as channels from "./internal/channels.ts"
import { cut } from "./internal/closing.ts"
import { Histories } from "./internal/history.ts"
import { LocalGroups } from "./internal/local-groups.ts"
import { SharedFrame } from "./Transport.ts"

/**
 * An event on its way, as plain data, which can be sent to other processes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Envelope {
  readonly type: string
  /** The encoded data, as JSON. */
  readonly data: string
  readonly status: number
  /** The id of a connection that does not get it. */
  readonly except?: string | undefined
  /** Its position in the history of its group. */
  readonly id?: string | undefined
}

/**
 * An event on its way: one for all of its recipients in this process, so that what they share is made once.
 *
 * @category models
 * @since 0.1.0
 */
export class Message implements Envelope {
  readonly type: string
  readonly data: string
  readonly status: number
  readonly except: string | undefined
  readonly id: string | undefined
  #group = ""
  #frame: SharedFrame | undefined

  constructor(envelope: Envelope) {
    this.type = envelope.type
    this.data = envelope.data
    this.status = envelope.status
    this.except = envelope.except
    this.id = envelope.id
  }
  /** The frame that recipients are sent. */
  get frame(): SharedFrame {
    return this.#frame ??= new SharedFrame(
      `{"type":${JSON.stringify(this.type)},"data":${this.data},"status":${this.status}${
        this.id === undefined ? "" : `,"id":${JSON.stringify(this.id)}${this.#group}`
      }}`
    )
  }
  /** Says which group its position is of, before there is a frame. */
  of(group: Address): this {
    this.#group = `,${group.label}`
    return this
  }
  /** The event at a position of a history. */
  at(id: string): Message {
    return new Message({ ...this.toJSON(), id })
  }
  toJSON(): Envelope {
    return {
      type: this.type,
      data: this.data,
      status: this.status,
      ...(this.except === undefined ? {} : { except: this.except }),
      ...(this.id === undefined ? {} : { id: this.id })
    }
  }
}

/**
 * A group of one consumer with its parameters, as a layer sees it. Two addresses with the same `key` are the same group; they
 * have the same history and presence.
 *
 * @category models
 * @since 0.1.0
 */
export interface Address {
  readonly key: string
  /** The group's name and parameters as JSON: `"group":"room","params":{"room":"lobby"}`, for events about the group itself. */
  readonly label: string
  /** The parameters alone, as JSON with its keys in order. */
  readonly params: string
  /** How many events it keeps, and for how many milliseconds; `undefined` where it keeps none. */
  readonly history: { readonly count: number; readonly age: number } | undefined
  /** Whether its members are told who comes and goes. */
  readonly presence: boolean
}

/**
 * A connection of this process that is in a group.
 *
 * @category models
 * @since 0.1.0
 */
export interface Member {
  /** The id of the connection: no other one of any process has it. */
  readonly id: string
  /** What others are told of it, as JSON, in a group with presence. */
  readonly presence: string | undefined
  /** Takes an event. It is called in order, does not throw, and takes no time. */
  readonly receive: (message: Message) => void
}

/**
 * A member of a group with presence, of whichever process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Present {
  readonly id: string
  /** What was said of it, as JSON. */
  readonly data: string
}

/**
 * How a member came into a group.
 *
 * @category models
 * @since 0.1.0
 */
export interface Joined {
  /** The position in the history after which the member receives everything; `undefined` without a history. */
  readonly position: string | undefined
  /**
   * `fresh` where it did not say what it has seen before, `resumed` where {@link Joined.missed} is all that it has missed since,
   * `gap` where that cannot be told any more: then nothing is replayed.
   */
  readonly state: "fresh" | "resumed" | "gap"
  /** What it has missed, the oldest first, each with its position; where it is `fresh` and has asked for it, all that is kept. */
  readonly missed: ReadonlyArray<Message>
  /** Who is in the group, itself included; none without presence. */
  readonly present: ReadonlyArray<Present>
}

/**
 * What concerns the connections of all servers that share the layer, besides groups. It is plain data.
 *
 * @category models
 * @since 0.1.0
 */
export type Signal =
  | {
    readonly _tag: "Event"
    /** The name of the consumer whose connections are meant. */
    readonly consumer: string
    readonly target: Authority.Target
    readonly event: Envelope
  }
  | {
    readonly _tag: "Disconnect"
    readonly consumer: string
    readonly target: Authority.Target
    readonly code: number
    readonly reason: string
  }

/**
 * Holds groups, and carries events to them. To make another one, over a broker, implement this interface; the suite of tests
 * that it must pass is the same for every layer.
 *
 * Nothing of it may hang: what does not come about in time fails with `Unavailable`.
 *
 * @category services
 * @since 0.1.0
 */
export class ChannelLayer extends Context.Service<ChannelLayer, {
  /**
   * Puts a member into a group, to be called once for each member. From `position` on, or from now on where there is no history,
   * the member receives everything, each event once; it may be given events before the effect completes. In a group with
   * presence, the others are sent a {@link presenceChange}. `after` is the last position that the member has seen; `""` where it
   * has seen nothing, and wants all that is kept.
   */
  readonly add: (
    group: Address,
    member: Member,
    after: string | undefined
  ) => Effect.Effect<Joined, ChannelError.Unavailable>
  /** Takes a member out of a group: it receives nothing from then on. One that is not in it is not missed. */
  readonly remove: (group: Address, member: Member) => Effect.Effect<void>
  /**
   * Sends to the members of a group, in every process: what is begun first comes first. It has left for the other processes
   * when the effect completes; members of this one have been given it, unless the group has a history that is kept elsewhere,
   * which fails as a whole.
   */
  readonly send: (group: Address, message: Message) => Effect.Effect<void, ChannelError.Unavailable>
  /** How many members a group has, in all processes. */
  readonly count: (group: Address) => Effect.Effect<number, ChannelError.Unavailable>
  /** Who is in a group with presence, in all processes. */
  readonly present: (group: Address) => Effect.Effect<ReadonlyArray<Present>, ChannelError.Unavailable>
  /** Tells all servers, those of this process when it completes. */
  readonly signal: (signal: Signal) => Effect.Effect<void, ChannelError.Unavailable>
  /** For servers: calls a function with each signal, as long as the scope is open. The function must not throw. */
  readonly subscribe: (listener: (signal: Signal) => void) => Effect.Effect<void, never, Scope.Scope>
}>()("effect-channels/ChannelLayer") {}

/**
 * The event that members of a group with presence are sent when somebody comes or goes:
 * `{ "type": "$presence", "data": { "group", "params", "joined": [{ "id", "data" }], "left": [{ "id", "data" }] }, "status": 200 }`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const presenceChange = (
  group: Address,
  change: { readonly joined?: ReadonlyArray<Present>; readonly left?: ReadonlyArray<Present> }
): Message =>
  new Message({
    type: "$presence",
    data: `{${group.label},"joined":${channels.presentJson(change.joined ?? [])},"left":${
      channels.presentJson(change.left ?? [])
    }}`,
    status: 200
  })

/**
 * A channel layer in memory, for the servers of one process that it is provided to. Events are handed over while they are sent:
 * a group costs a set, and an event is encoded once, whoever receives it. It never fails.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMemory: Effect.Effect<ChannelLayer["Service"]> = Effect.gen(function*() {
  const local = new LocalGroups()
  const random = yield* Random.nextIntBetween(36 ** 7, 36 ** 8)
  const histories = new Histories(random.toString(36), (key) => local.has(key))
  const listeners = new Set<(signal: Signal) => void>()

  const present = (group: Address): ReadonlyArray<Present> =>
    group.presence ? Array.from(local.members(group.key), presentOf) : []

  return ChannelLayer.of({
    add: (group, member, after) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const joined = group.history === undefined
          ? { position: undefined, state: "fresh" as const, missed: [] }
          : histories.resume(group.key, after, group.history, now)
        if (local.add(group.key, member) && group.presence) {
          const change = presenceChange(group, { joined: [presentOf(member)] })
          for (const other of local.members(group.key)) if (other !== member) other.receive(change)
        }
        return { ...joined, present: present(group) }
      }),
    remove: (group, member) =>
      Effect.sync(() => {
        if (!local.remove(group.key, member)) return
        if (!local.has(group.key)) histories.leave(group.key)
        if (group.presence) local.send(group.key, presenceChange(group, { left: [presentOf(member)] }))
      }),
    send: (group, message) => {
      const { history } = group
      return history === undefined
        ? Effect.sync(() => local.send(group.key, message))
        : Effect.map(
          Clock.currentTimeMillis,
          (now) => local.send(group.key, histories.append(group.key, message, history, now))
        )
    },
    count: (group) => Effect.sync(() => local.members(group.key).size),
    present: (group) => Effect.sync(() => present(group)),
    signal: (signal) => Effect.sync(() => listeners.forEach((listener) => listener(signal))),
    subscribe: (listener) => {
      // A function of its own: somebody may subscribe the same one twice.
      const own = (signal: Signal) => listener(signal)
      return Effect.acquireRelease(
        Effect.sync(() => {
          listeners.add(own)
        }),
        () => Effect.sync(() => listeners.delete(own))
      )
    }
  })
})

const presentOf = (member: Member): Present => ({ id: member.id, data: member.presence ?? "null" })

/**
 * A channel layer in memory. Servers of one process that share it share their groups.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<ChannelLayer> = Layer.effect(ChannelLayer, makeMemory)

// ---- sending

/**
 * Where events of a consumer go. `Events` are those that its clients can receive.
 *
 * @category models
 * @since 0.1.0
 */
export type Destination<Events extends Event.Any> = GroupDestination<Events> | ConnectionsDestination<Events>

/**
 * The members of a group of a consumer.
 *
 * @category models
 * @since 0.1.0
 */
export interface GroupDestination<out Events extends Event.Any, out Presence = unknown> {
  readonly _tag: "Group"
  readonly "~events": Events
  readonly "~presence": Presence
  readonly consumer: string
  readonly group: Group.Any
  readonly params: unknown
}

/**
 * Connections to a consumer, whatever groups they are in.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectionsDestination<out Events extends Event.Any> {
  readonly _tag: "Connections"
  readonly "~events": Events
  readonly consumer: string
  readonly target: Authority.Target
}

/** A group that a consumer declares; any other one does not compile. */
type Declared<C extends Consumer.Any, G extends Group.Any> = G extends Consumer.GroupsOf<C> ? unknown
  : { readonly "the consumer does not declare this group": G["name"] }

/**
 * The members of a group of a consumer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const group = <C extends Consumer.Any, G extends Group.Any>(
  consumer: C,
  group: G & Declared<C, G>,
  params: Group.ParamsOf<G>
): GroupDestination<Consumer.EventsOf<C>, Group.PresenceOf<G>> =>
  ({
    _tag: "Group",
    consumer: consumer.name,
    // As it is declared, whatever has been made of it before or after.
    group: consumer.groups.find((one) => one.group.name === group.name)?.group ?? group,
    params
  }) as never

const connections = (consumer: Consumer.Any, target: Authority.Target): ConnectionsDestination<never> =>
  ({ _tag: "Connections", consumer: consumer.name, target }) as never

/**
 * One connection to a consumer, by the id of its `ConnectionScope`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const connection = <C extends Consumer.Any>(
  consumer: C,
  id: string
): ConnectionsDestination<Consumer.EventsOf<C>> => connections(consumer, Authority.connection(id))

/**
 * All connections of a user to a consumer, by what the `key` of the identity service says of them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const identity = <C extends Consumer.Any, Self, A>(
  consumer: C,
  service: Authentication.ServiceKey<Self, A> & Authentication.Keyed<A>,
  key: string
): ConnectionsDestination<Consumer.EventsOf<C>> => connections(consumer, Authority.identity(service, key))

/**
 * All connections to a consumer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const everyone = <C extends Consumer.Any>(consumer: C): ConnectionsDestination<Consumer.EventsOf<C>> =>
  connections(consumer, Authority.everyone)

/**
 * How an event is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendOptions {
  /** The id of a connection that does not get it. */
  readonly except?: string | undefined
  /** The status that the event has. Default 200. */
  readonly status?: number | undefined
}

/**
 * Sends an event, from wherever it is called: no connection is needed. It is decided for each recipient by the permissions of
 * event and group. It has been handed over to every recipient of this process when the effect completes; fails where other
 * processes cannot be reached, those of this one have got it all the same, unless the group has a history that cannot be written.
 *
 * **Example** (From an HTTP route)
 *
 * ```ts
 * import { ChannelLayer, Consumer, Event, Group } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as HttpApi from "effect/http-api/HttpApi"
 * import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
 * import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
 * import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
 * import * as Schema from "effect/Schema"
 *
 * const Room = Group.make("room", { room: Schema.String })
 * const Announced = Event.make("announced", Schema.String)
 * const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/" }).pipe(
 *   Consumer.join(Room, ({ params }) => ({ room: params.room })),
 *   Consumer.push(Announced)
 * )
 *
 * const Announcements = HttpApiGroup.make("announcements").add(
 *   HttpApiEndpoint.post("announce", "/rooms/:room/announcements", {
 *     params: { room: Schema.String },
 *     payload: Schema.Struct({ text: Schema.String })
 *   })
 * )
 * const Api = HttpApi.make("api").add(Announcements)
 *
 * const AnnouncementsLive = HttpApiBuilder.group(Api, "announcements", (handlers) =>
 *   handlers.handle("announce", ({ params, payload }) =>
 *     Effect.orDie(ChannelLayer.send(ChannelLayer.group(Chat, Room, { room: params.room }), Announced, payload.text))))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const send = <Events extends Event.Any, E extends Events>(
  destination: Destination<Events>,
  event: E,
  data: E["data"]["Type"],
  options?: SendOptions
): Effect.Effect<void, ChannelError.Unavailable, ChannelLayer | E["data"]["EncodingServices"]> =>
  Effect.gen(function*() {
    const layer = yield* ChannelLayer
    const envelope = yield* Effect.orDie(channels.envelopeOf(event, data, options))
    if (destination._tag === "Group") {
      return yield* layer.send(channels.addressFor(event, yield* addressOf(destination)), new Message(envelope))
    }
    const { consumer, target } = destination
    return yield* layer.signal({ _tag: "Event", consumer, target, event: envelope })
  }) as Effect.Effect<void, ChannelError.Unavailable, ChannelLayer>

const addressOf = ({ consumer, group, params }: GroupDestination<Event.Any>): Effect.Effect<Address> =>
  Effect.orDie(channels.addressOf(consumer, group, params)) as Effect.Effect<Address>

/**
 * Closes connections to a consumer, with a close code of the application (4000 to 4999) and a reason of at most 123 bytes.
 * Default: 4000.
 *
 * @category combinators
 * @since 0.1.0
 */
export const disconnect = (
  destination: ConnectionsDestination<Event.Any>,
  options: { readonly code?: number | undefined; readonly reason?: string | undefined } = {}
): Effect.Effect<void, ChannelError.Unavailable, ChannelLayer> =>
  Effect.flatMap(ChannelLayer, (layer) => {
    const { consumer, target } = destination
    const { code = 4000, reason = "" } = options
    return Number.isInteger(code) && code >= 4000 && code <= 4999
      ? layer.signal({ _tag: "Disconnect", consumer, target, code, reason: cut(reason) })
      : Effect.die(new RangeError(`A close code of the application is from 4000 to 4999: this one is ${code}`))
  })

/**
 * How many connections are in a group, in all processes.
 *
 * @category accessors
 * @since 0.1.0
 */
export const count = (
  destination: GroupDestination<Event.Any>
): Effect.Effect<number, ChannelError.Unavailable, ChannelLayer> =>
  Effect.flatMap(ChannelLayer, (layer) => Effect.flatMap(addressOf(destination), layer.count))

/**
 * Who is in a group with presence, in all processes: what was said of each connection, by the id of its `ConnectionScope`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const present = <Events extends Event.Any, Presence>(
  destination: GroupDestination<Events, Presence>
): Effect.Effect<
  ReadonlyArray<{ readonly id: string; readonly data: Presence }>,
  ChannelError.Unavailable,
  ChannelLayer
> =>
  Effect.flatMap(ChannelLayer, (layer) => {
    const decode = channels.decoder(destination.group.presence ?? Schema.Unknown)
    return addressOf(destination).pipe(
      Effect.flatMap(layer.present),
      Effect.flatMap(Effect.forEach(({ data, id }) => Effect.map(Effect.orDie(decode(data)), (data) => ({ id, data }))))
    )
  }) as never
