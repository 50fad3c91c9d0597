/**
 * All that happens to groups and events, in any order: connections of several users that join and leave, what is sent to groups,
 * broadcast by actions and dropped for clients that do not read, and facts that change with their news. An oracle that knows the
 * facts looks at each frame when it leaves, and at the end at what has not come.
 *
 * What happens depends on nothing but a seed. There are 150 of them; for a longer run, or to look at one again:
 *
 *     STRESS_SEEDS=20000 npx vitest run --config vitest.workspace.ts --project core test/Groups.stress
 *     STRESS_SEED=17 npx vitest run --config vitest.workspace.ts --project core test/Groups.stress
 */
import {
  Action,
  Authority,
  ChannelLayer,
  ConnectionScope,
  Consumer,
  Event,
  Group,
  Handlers,
  Membership,
  Permission,
  Transport
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { AuthenticationLive, CurrentUser, layerWith, name, start, watchKept } from "./support/groups.ts"

const { STRESS_SEED, STRESS_SEEDS } = process.env

const seeds = STRESS_SEED === undefined
  ? Array.from({ length: Number(STRESS_SEEDS ?? 150) }, (_, i) => i + 1)
  : [Number(STRESS_SEED)]

// ---- chance

/** Always the same for a seed: Mulberry32. */
const makeChance = (seed: number) => {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), 1 | state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (n: number) => Math.floor(next() * n)
  // In some worlds most of what happens happens at once.
  const isHasty = below(3) === 0
  return {
    below,
    oneIn: (n: number) => below(n) === 0,
    pick: <A>(values: ReadonlyArray<A>): A => values[below(values.length)]!,
    pause: Effect.suspend(() => isHasty && below(8) > 0 ? Effect.void : turns(below(5)))
  }
}
type Chance = ReturnType<typeof makeChance>

const turns = (times: number) => Effect.replicateEffect(Effect.yieldNow, times, { discard: true })

// ---- what ought to be

const users = ["alice", "bob"] as const
type UserId = (typeof users)[number]
const rooms = ["lobby", "hall", "attic"] as const
type Room = (typeof rooms)[number]

/** How a connection stands to a room: whether it gets what is sent there. */
interface Place {
  /** `unsure` while it comes or goes, or where it may have lost the room. */
  state: "in" | "out" | "unsure"
  /** Whether its user has lost the room since it began to join. */
  isLost: boolean
  wasLost: boolean
  /** What has been sent and has not come yet, and whether it must come. */
  readonly awaited: Map<string, boolean>
  /** The position of the last event that has come. */
  last: number
}

interface Client {
  readonly id: string
  readonly user: UserId
  readonly places: Record<Room, Place>
  /** The rooms by how the positions in their histories begin. */
  readonly epochs: Map<string, Room>
  readonly replied: Set<string>
  readonly peer: Transport.MemoryPeer
  requests: number
  isReading: boolean
  hasEnded: boolean
}

class World {
  readonly chance: Chance
  /** Which rooms a user may be in, and whom they hear. */
  readonly may: Record<UserId, Set<Room>> = { alice: new Set(rooms), bob: new Set(rooms) }
  readonly hears: Record<UserId, Set<string>> = { alice: new Set(users), bob: new Set(users) }
  readonly clients = new Map<string, Client>()
  readonly wrong = new Set<string>()
  /** How many events have come, and how many of them had to. */
  received = 0
  due = 0
  left = 0

  constructor(seed: number) {
    this.chance = makeChance(seed)
  }

  isAllowed(user: UserId, room: Room, from: string): boolean {
    return this.may[user].has(room) && this.hears[user].has(from)
  }

  /** Facts of a user have changed: what they exclude need not come any more, and what comes nevertheless is wrong. */
  changed(user: UserId): void {
    for (const client of this.clients.values()) {
      if (client.user !== user) continue
      for (const room of rooms) {
        const place = client.places[room]
        if (!this.may[user].has(room)) {
          place.isLost = place.wasLost = true
          if (place.state === "in") place.state = "unsure"
        }
        for (const text of place.awaited.keys()) {
          if (!this.isAllowed(user, room, fromOf(text))) place.awaited.set(text, false)
        }
      }
    }
  }

  /** An event is given to the members of a room. */
  sent(room: Room, text: string, event: string, except: string | undefined): void {
    for (const client of this.clients.values()) {
      if (client.hasEnded || client.id === except) continue
      const place = client.places[room]
      // Also to one that is not in, as it may be about to come in: if it comes, that is known by what follows.
      place.awaited.set(
        text,
        place.state === "in" && event === "said" && this.isAllowed(client.user, room, fromOf(text))
      )
    }
  }

  joining({ places }: Client, room: Room): void {
    if (places[room].state === "out") places[room].state = "unsure"
    places[room].isLost = false
  }

  joined({ places, user }: Client, room: Room): void {
    const place = places[room]
    place.state = place.isLost || !this.may[user].has(room) ? "unsure" : "in"
  }

  leaving({ places }: Client, room: Room): void {
    places[room].state = "unsure"
    this.#forget(places[room])
  }

  gone({ places }: Client, room: Room): void {
    places[room].state = "out"
    this.#forget(places[room])
  }

  #forget({ awaited }: Place): void {
    for (const text of awaited.keys()) awaited.set(text, false)
  }

  /** A frame leaves for a client. */
  frame(client: Client, frame: string): void {
    const { action, data, id, request_id, type } = JSON.parse(frame)
    const wrong = (what: string) => this.wrong.add(`${client.id} ${what}`)
    if (action !== undefined) {
      client.replied.add(`${client.id}:${request_id}`)
      return
    }
    if (type === "$joined") {
      client.epochs.set(epochOf(data.id), data.params.room)
      return
    }
    if (type === "$left") {
      const room = data.params.room as Room
      this.left++
      if (!client.places[room].wasLost) wrong(`left ${room} without a reason`)
      // It may be in again.
      this.#forget(client.places[room])
      if (client.places[room].state === "in") client.places[room].state = "unsure"
      return
    }
    this.received++
    const room = client.epochs.get(epochOf(id))
    if (room === undefined) return void wrong(`was sent "${data}" of a room that it is not in`)
    const place = client.places[room]
    const about = `"${data}" of ${room}`
    if (place.awaited.get(data) === true) this.due++
    if (!place.awaited.delete(data)) wrong(`was sent ${about}, which was not sent, or a second time`)
    if (place.state === "out") wrong(`was sent ${about} after it had left`)
    if (!this.isAllowed(client.user, room, fromOf(data))) wrong(`was sent ${about} without permission`)
    const number = Number(id.slice(id.lastIndexOf("-") + 1))
    if (number <= place.last) wrong(`was sent ${about} out of its order`)
    place.last = number
    const [, sender, request] = String(data).split(" ")
    if (type === "said" && sender === client.id && !client.replied.has(`${sender}:${request}`)) {
      wrong(`was sent ${about} before its reply`)
    }
  }
}

const epochOf = (id: string): string => id.slice(0, id.lastIndexOf("-"))

/** What is said begins with who says it. */
const fromOf = (text: string): string => text.slice(0, text.indexOf(" "))

const placeOf = (): Place => ({ state: "out", isLost: false, wasLost: false, awaited: new Map(), last: 0 })

// ---- the server

const serverOf = (world: World) => {
  const { chance } = world
  const sometimes = Effect.suspend(() => chance.oneIn(2) ? chance.pause : Effect.void)
  const ask = (answer: (user: UserId) => boolean) =>
    Effect.gen(function*() {
      const user = (yield* name) as UserId
      yield* sometimes
      const found = answer(user)
      yield* sometimes
      return found
    })
  const mayBeIn = Permission.group<{ readonly room: string }>()(
    "mayBeIn",
    ({ params }) => ask((user) => world.may[user].has(params.room as Room))
  )
  const hears = Permission.delivery<string>()(
    "hears",
    ({ event }) => ask((user) => world.hears[user].has(fromOf(event)))
  )
  const RoomGroup = Group.make("room", { room: Schema.String }).pipe(
    Group.permit(mayBeIn),
    Group.history({ count: 5, age: "1 hour" })
  )
  const Said = Event.make("said", Schema.String).pipe(Event.permit(hears))
  const Ticked = Event.make("ticked", Schema.String, { whenSlow: chance.pick(["drop-oldest", "drop-newest"]) }).pipe(
    Event.permit(hears)
  )
  const text = { payload: Schema.String, success: Schema.String }
  const Chat = Consumer.make("chat", { path: "/ws/:room/", concurrency: 1 + chance.below(3) }).pipe(
    Consumer.join(RoomGroup, ({ params }) => Effect.as(sometimes, { room: params.room })),
    Consumer.push(Said, Ticked),
    Consumer.add(
      Action.make("say", text).pipe(Action.broadcast(RoomGroup, Said)),
      Action.make("tell", text).pipe(Action.broadcast(RoomGroup, Said, { includeSender: false })),
      Action.make("tick", text).pipe(Action.broadcast(RoomGroup, Ticked, { reply: chance.oneIn(2) })),
      Action.make("join", { payload: Schema.Literals(rooms) }),
      Action.make("leave", { payload: Schema.Literals(rooms) })
    )
  )
  /** What is said is known by who asked, and for which request. */
  const say = ({ payload }: { readonly payload: string }) => Effect.as(sometimes, payload)
  const client = ConnectionScope.ConnectionScope.use(({ id }) => Effect.succeed(world.clients.get(id)!))
  const live = Consumer.handlers(Chat).pipe(
    Handlers.handle("say", say),
    Handlers.handle("tell", say),
    Handlers.handle("tick", say),
    Handlers.handle("join", ({ payload: room }) =>
      Effect.gen(function*() {
        const me = yield* client
        world.joining(me, room)
        yield* Membership.join(RoomGroup, { room })
        world.joined(me, room)
      })),
    Handlers.handle("leave", ({ payload: room }) =>
      Effect.gen(function*() {
        const me = yield* client
        world.leaving(me, room)
        yield* Membership.leave(RoomGroup, { room })
        world.gone(me, room)
      })),
    Handlers.toLayer,
    Layer.provide(AuthenticationLive)
  )
  const limits = { maxUnsent: chance.pick([3000, 1_000_000]) }
  return Effect.map(start(Chat, live, limits), (server) => ({
    ...server,
    send: (room: Room, text: string, event: "said" | "ticked") =>
      ChannelLayer.send(ChannelLayer.group(Chat, RoomGroup, { room }), event === "said" ? Said : Ticked, text)
  }))
}

/** A channel layer whose events the oracle sees when they are given to members, and which takes its time. */
const layerOf = (world: World) =>
  layerWith((memory) => ({
    add: (group, member, after) =>
      Effect.andThen(world.chance.pause, Effect.tap(memory.add(group, member, after), () => world.chance.pause)),
    send: (group, message) =>
      Effect.andThen(
        world.chance.pause,
        Effect.andThen(
          Effect.suspend(() => {
            const room = JSON.parse(`{${group.label}}`).params.room as Room
            world.sent(room, JSON.parse(message.data), message.type, message.except)
            return memory.send(group, message)
          }),
          world.chance.pause
        )
      ),
    remove: (group, member) => Effect.andThen(memory.remove(group, member), world.chance.pause)
  }))

// ---- what happens

/** How often each thing happens, compared to the others. */
const weights = { connect: 20, say: 60, send: 60, join: 30, leave: 20, regrade: 60, mute: 60, read: 15, go: 4 }

/** Runs one world, and answers with what went wrong in it. */
const run = Effect.fnUntraced(function*(world: World) {
  const { chance, clients, wrong } = world
  const kept = yield* watchKept
  const server = yield* serverOf(world)
  let texts = 0

  const connect = Effect.suspend(() => {
    const user = chance.pick(users)
    const room = chance.pick(rooms)
    const id = `c${clients.size}`
    return Effect.gen(function*() {
      const [transport, peer] = yield* Transport.makeMemory
      const client: Client = {
        id,
        user,
        places: { lobby: placeOf(), hall: placeOf(), attic: placeOf() },
        epochs: new Map(),
        replied: new Set(),
        peer,
        requests: 0,
        isReading: false,
        hasEnded: false
      }
      clients.set(id, client)
      world.joining(client, room)
      const session = yield* server.pipeline.connect({ id, url: `/ws/${room}/?user=${user}` })
      world.joined(client, room)
      const watched: Transport.Transport = {
        ...transport,
        send: (frame) => {
          const content = frame instanceof Transport.SharedFrame ? frame.content : frame
          if (!client.hasEnded) world.frame(client, String(content))
          transport.send(frame)
        },
        close: (code, reason) => {
          client.hasEnded = true
          transport.close(code, reason)
        }
      }
      const serving = yield* Effect.forkScoped(session.run(watched), { startImmediately: true })
      serving.addObserver(() => {
        client.hasEnded = true
      })
      if (!chance.oneIn(3)) yield* read(client)
    }).pipe(
      Effect.catch(() =>
        Effect.sync(() => {
          clients.get(id)!.hasEnded = true
        })
      ),
      Effect.forkScoped({ startImmediately: true })
    )
  })

  const read = (client: Client) => {
    client.isReading = true
    return Effect.forkScoped(Effect.ignore(Effect.forever(client.peer.take)))
  }

  /** Does something with one of the clients, if there is one. */
  const withClient = <R = never>(f: (client: Client) => Effect.Effect<unknown, never, R>) =>
    Effect.suspend(() => {
      const living = Array.from(clients.values()).filter(({ hasEnded }) => !hasEnded)
      return living.length === 0 ? Effect.void : f(chance.pick(living))
    })

  const request = (client: Client, action: string, data?: string) => {
    const id = client.requests++
    return client.peer.send(
      JSON.stringify({ action, data: data ?? `${client.user} ${client.id} ${id}`, request_id: id })
    )
  }

  /** Changes the facts of a user, and tells those who decide by them: nobody else comes in between. */
  const change = (user: UserId, apply: () => void) =>
    Effect.flatMap(Authority.Authority, (authority) => {
      apply()
      world.changed(user)
      return Effect.orDie(
        authority.invalidate(chance.oneIn(4) ? Authority.everyone : Authority.identity(CurrentUser, user))
      )
    })

  const events = {
    connect,
    say: withClient((client) =>
      Effect.replicateEffect(
        Effect.suspend(() => request(client, chance.pick(["say", "tell", "tick"]))),
        1 + chance.below(3)
      )
    ),
    send: Effect.suspend(() =>
      Effect.forkScoped(
        Effect.orDie(
          server.send(
            chance.pick(rooms),
            `${chance.pick(users)} outside ${texts++}`,
            chance.pick(["said", "said", "ticked"])
          )
        ),
        { startImmediately: true }
      )
    ),
    join: withClient((client) => request(client, "join", chance.pick(rooms))),
    leave: withClient((client) => request(client, "leave", chance.pick(rooms))),
    regrade: Effect.suspend(() => {
      const user = chance.pick(users)
      const room = chance.pick(rooms)
      return change(user, () => {
        if (chance.oneIn(3)) world.may[user].delete(room)
        else for (const room of rooms) world.may[user].add(room)
      })
    }),
    mute: Effect.suspend(() => {
      const user = chance.pick(users)
      const other = chance.pick(users)
      return change(user, () => {
        if (chance.oneIn(3)) world.hears[user].delete(other)
        else for (const other of users) world.hears[user].add(other)
      })
    }),
    read: withClient((client) => client.isReading ? Effect.void : read(client)),
    go: withClient((client) => {
      client.hasEnded = true
      return client.peer.close()
    })
  }
  const bag = Object.entries(weights).flatMap(([name, weight]) =>
    Array.from({ length: weight }, () => name as keyof typeof weights)
  )
  for (let i = 0; i < 150; i++) {
    yield* events[chance.pick(bag)]
    yield* turns(chance.below(6))
  }

  // In the end everybody reads, and nothing changes any more.
  const settled = Effect.andThen(TestClock.adjust("1 milli"), turns(1000))
  yield* settled
  for (const client of clients.values()) if (!client.isReading && !client.hasEnded) yield* read(client)
  yield* settled
  for (const { hasEnded, id, places } of clients.values()) {
    if (hasEnded) continue
    for (const room of rooms) {
      for (const [text, isDue] of places[room].awaited) {
        if (isDue) wrong.add(`${id} was not sent "${text}" of ${room}`)
      }
    }
  }
  yield* Effect.forEach(clients.values(), ({ peer }) => peer.close())
  yield* settled
  const { connections, groups, users: known } = yield* kept
  if (connections + groups + known > 0) {
    wrong.add(`${connections} connections, ${groups} groups, ${known} users are kept`)
  }
}, Effect.scoped)

describe("groups under stress", () => {
  it.effect(
    "every connection is sent what it is to be sent, in order, once, and nothing else",
    () =>
      Effect.gen(function*() {
        const wrong: Array<string> = []
        let [received, due, left] = [0, 0, 0]
        for (const seed of seeds) {
          const world = new World(seed)
          const layer = Layer.mergeAll(layerOf(world), Authority.layerMemory, Logger.layer([]))
          const exit = yield* Effect.exit(Effect.provide(run(world), layer, { local: true }))
          if (exit._tag === "Failure") wrong.push(`seed ${seed}: ${Cause.pretty(exit.cause)}`)
          for (const what of world.wrong) wrong.push(`seed ${seed}: ${what}`)
          received += world.received
          due += world.due
          left += world.left
        }
        assert.deepStrictEqual(wrong, [])
        // Enough comes through for this to mean something.
        if (seeds.length > 1) {
          assert.isAtLeast(received, 50 * seeds.length)
          assert.isAtLeast(due, received / 2)
          assert.isAtLeast(left, seeds.length)
        }
      }),
    60_000 + 1000 * seeds.length
  )
})
