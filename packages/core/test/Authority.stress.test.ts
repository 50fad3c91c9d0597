/**
 * All that happens to the authority of connections, in any order: messages, changes of the facts with their news, renewals,
 * handshakes that are given up, clients that do not read, drains, and handlers that revoke themselves. An oracle that knows
 * the facts looks at each start of a handler, and at each frame that leaves.
 *
 * What happens depends on nothing but a seed. There are 150 of them; for a longer run, or to look at one again:
 *
 *     STRESS_SEEDS=20000 npx vitest run --config vitest.workspace.ts --project core test/Authority.stress
 *     STRESS_SEED=17 npx vitest run --config vitest.workspace.ts --project core test/Authority.stress
 */
import {
  Action,
  Authentication,
  Authority,
  ChannelError,
  Consumer,
  Handlers,
  Permission,
  type Pipeline,
  type Reply,
  Settings,
  Transport
} from "@effect-channels/core"
import { assert, describe, it, vi } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Registry } from "../src/internal/registry.ts"
import { serve } from "./support/connection.ts"

const { STRESS_SEED, STRESS_SEEDS } = process.env

const seeds = STRESS_SEED === undefined
  ? Array.from({ length: Number(STRESS_SEEDS ?? 150) }, (_, i) => i + 1)
  : [Number(STRESS_SEED)]

// ---- chance

interface Chance {
  /** A whole number below another one. */
  readonly below: (n: number) => number
  /** Whether it is one time in so many. */
  readonly oneIn: (n: number) => boolean
  readonly pick: <A>(values: ReadonlyArray<A>) => A
  /** Lets others run, a few times or not at all. */
  readonly pause: Effect.Effect<void>
}

/** Always the same for a seed: Mulberry32. */
const makeChance = (seed: number): Chance => {
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
    oneIn: (n) => below(n) === 0,
    pick: (values) => values[below(values.length)]!,
    pause: Effect.suspend(() => isHasty && below(8) > 0 ? Effect.void : turns(below(4) === 0 ? below(30) : below(5)))
  }
}

const turns = (times: number) => Effect.replicateEffect(Effect.yieldNow, times, { discard: true })

// ---- the facts

type UserId = "alice" | "bob"
const users: ReadonlyArray<UserId> = ["alice", "bob"]

/** The first two are known with the identity, the third one is asked for by a check. */
type Role = "member" | "editor" | "trusted"
const everyRole: ReadonlyArray<Role> = ["member", "editor", "trusted"]

/** The roles that each action takes. */
const needs = {
  edit: ["member", "editor"],
  trust: ["member", "trusted"],
  both: ["member", "editor", "trusted"],
  quit: ["member", "editor"]
} as const satisfies Record<string, ReadonlyArray<Role>>

type Name = keyof typeof needs
const names = Object.keys(needs) as ReadonlyArray<Name>

interface User {
  readonly id: UserId
  readonly roles: ReadonlyArray<Role>
}
type Identity = Authentication.Identity<User>
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser", { key: ({ id }) => id }) {}

/** One world: its facts as they are now, and what went wrong in it. */
interface World {
  readonly chance: Chance
  readonly roles: Record<UserId, Set<Role>>
  /** How many scopes of identities are open. */
  scopes: number
  readonly wrong: Set<string>
  /** How many handlers were called. */
  handled: number
}

const makeWorld = (seed: number): World => ({
  chance: makeChance(seed),
  roles: { alice: new Set(everyRole), bob: new Set(everyRole) },
  scopes: 0,
  wrong: new Set(),
  handled: 0
})

const may = ({ roles }: World, user: UserId, name: Name) => needs[name].every((role) => roles[user].has(role))

/** Changes the facts of a user, and tells those who decide by them: nobody else comes in between. */
const change = (target: Authority.Target, apply: () => void) =>
  Effect.flatMap(Authority.Authority, (authority) => {
    apply()
    return Effect.orDie(authority.invalidate(target))
  })

// ---- the server

const authenticationOf = (world: World) => {
  const { chance, roles } = world
  /** What an identity acquires is released with it. */
  const acquired = Effect.acquireRelease(
    Effect.sync(() => {
      world.scopes++
    }),
    () =>
      Effect.sync(() => {
        world.scopes--
      })
  )
  const load = (id: UserId) =>
    Effect.suspend(() => Effect.as(chance.pause, Authentication.authenticated<User>({ id, roles: [...roles[id]] })))
  const verify = (token: string) =>
    Effect.andThen(
      chance.pause,
      token === "alice" || token === "bob" ? load(token) : Effect.fail(new ChannelError.InvalidCredentials())
    )
  return CurrentUser.layer({
    authenticate: ({ query: { token } }) =>
      Effect.andThen(
        acquired,
        token === undefined ? Effect.succeed<Identity>(Authentication.anonymous) : verify(String(token))
      ),
    renew: (token) => Effect.andThen(acquired, verify(Redacted.value(token))),
    refresh: ({ user }) => Effect.andThen(acquired, load(user.id))
  })
}

const serverOf = (world: World) => {
  const { chance, roles, wrong } = world
  const sometimes = Effect.suspend(() => chance.oneIn(2) ? chance.pause : Effect.void)
  const check = (role: Role) =>
    Permission.connection(
      role,
      Effect.gen(function*() {
        const identity = yield* CurrentUser.identity
        yield* sometimes
        if (identity._tag === "Anonymous") return false
        const found = role === "trusted" ? roles[identity.user.id].has(role) : identity.user.roles.includes(role)
        yield* sometimes
        return found
      })
    )
  const [isMember, isEditor, isTrusted] = [check("member"), check("editor"), check("trusted")]
  const isNobody = Permission.connection(
    "isNobody",
    Effect.map(CurrentUser.identity, (identity) => identity._tag === "Anonymous")
  )
  const isThere = Permission.object<number>()("isThere", () => Effect.as(chance.pause, true))
  const who = { success: Schema.String }
  const Api = Consumer.make("api", { path: "/ws/", concurrency: 1 + chance.below(4) }).pipe(
    Consumer.permitConnect(Permission.or(isNobody, isMember)),
    Consumer.add(
      Action.make("edit", who).pipe(Action.permit(isEditor)),
      Action.make("trust", { ...who, concurrency: 2 }).pipe(
        Action.object(Schema.Int),
        Action.permit(Permission.and(isTrusted, isThere))
      ),
      Action.make("both", who).pipe(Action.permit(Permission.and(isEditor, isTrusted))),
      Action.make("quit", who).pipe(Action.object(Schema.Int), Action.permit(Permission.and(isEditor, isThere)))
    )
  )
  /** Answers with who it has worked for. */
  const work = (name: Name, then: (user: UserId) => Effect.Effect<void>) =>
    CurrentUser.use(({ id }) => {
      world.handled++
      if (!may(world, id, name)) wrong.add(`the handler of ${name} began without permission`)
      return Effect.as(then(id), id)
    })
  const pauses = () => chance.pause
  /** Takes a role away from its own user. */
  const quits = (user: UserId) =>
    Effect.andThen(
      Effect.suspend(() => {
        const role = chance.pick<Role>(["editor", "member"])
        return change(Authority.identity(CurrentUser, user), () => roles[user].delete(role))
      }),
      sometimes
    )
  const object = () => Effect.as(chance.pause, 1)
  const live = Consumer.handlers(Api).pipe(
    Handlers.handle("edit", () => work("edit", pauses)),
    Handlers.handle("trust", { object, run: () => work("trust", pauses) }),
    Handlers.handle("both", () => work("both", pauses)),
    Handlers.handle("quit", { object, run: () => work("quit", quits) }),
    Handlers.toLayer,
    Layer.provide(authenticationOf(world))
  )
  return serve([Api], live, {
    maxUnsent: chance.pick([300, 1_000_000]),
    maxInFlight: chance.pick([4, 128])
  })
}

// ---- its clients

interface Client {
  readonly session: Pipeline.Session
  readonly peer: Transport.MemoryPeer
  /** How many replies each of its requests has had. */
  readonly replies: Array<number>
  /** Whether it takes what is sent to it. */
  isReading: boolean
  /** Whether it has been told to close, which it may be slow to do. */
  isClosing: boolean
  hasEnded: boolean
}

const request = (client: Client, action: string, data?: unknown) =>
  JSON.stringify({ action, data, request_id: client.replies.push(0) - 1 })

/** Takes all frames, until the connection has ended. */
const read = (client: Client) => {
  client.isReading = true
  return Effect.forkScoped(Effect.ignore(Effect.forever(client.peer.take)))
}

/** Looks at what leaves on a transport. */
const watch = (world: World, client: Client, transport: Transport.Transport, isSlow: boolean) =>
  Effect.map(Effect.context<never>(), (context): Transport.Transport => ({
    ...transport,
    send: (frame) => {
      if (client.hasEnded) return
      const reply = JSON.parse(String(frame)) as Reply.Reply
      const { action, data, request_id, status } = reply
      const about = `the reply ${status} of ${action}`
      if (client.isClosing) world.wrong.add(`${about} was sent after the close frame`)
      if (++client.replies[Number(request_id)]! > 1) world.wrong.add(`${about} is not the only one`)
      if (status >= 500 && status !== 503) world.wrong.add(`${about} says that something broke`)
      if (status === 200 && isName(action) && !may(world, data as UserId, action)) {
        world.wrong.add(`${about} was sent without permission`)
      }
      transport.send(frame)
    },
    close: (code, reason) => {
      client.isClosing = true
      if (!isSlow) return transport.close(code, reason)
      Effect.runForkWith(context)(Effect.andThen(turns(200), Effect.sync(() => transport.close(code, reason))))
    }
  }))

const isName = (action: string | null): action is Name => names.includes(action as Name)

// ---- what happens

/** How often each event happens, compared to the others. */
const weights = { connect: 40, send: 120, renew: 40, regrade: 80, read: 10, leave: 5, drain: 4, giveUp: 8, tick: 10 }

/** Runs one world, and answers with what went wrong in it. */
const run = Effect.fnUntraced(function*(seed: number) {
  const world = makeWorld(seed)
  const { chance, roles, wrong } = world
  const joins = vi.spyOn(Registry.prototype, "join")
  yield* Effect.addFinalizer(() => Effect.sync(() => joins.mockRestore()))
  const pipeline = yield* serverOf(world)
  const handshakes: Array<Fiber.Fiber<Pipeline.Session, Pipeline.HandshakeRefused>> = []
  const clients: Array<Client> = []

  const accept = Effect.fnUntraced(function*(session: Pipeline.Session) {
    if (chance.oneIn(10)) return yield* session.abandon
    const [transport, peer] = yield* Transport.makeMemory
    const client: Client = { session, peer, replies: [], isReading: false, isClosing: false, hasEnded: false }
    const watched = yield* watch(world, client, transport, chance.oneIn(3))
    const serving = yield* Effect.forkScoped(session.run(watched), { startImmediately: true })
    serving.addObserver(() => {
      client.hasEnded = true
    })
    clients.push(client)
    if (!chance.oneIn(3)) yield* read(client)
  })

  const connect = Effect.gen(function*() {
    const query = chance.oneIn(3) ? "" : `?token=${chance.pick(users)}`
    const connecting = pipeline.connect({ id: String(handshakes.length), url: `/ws/${query}` })
    const handshake = yield* Effect.forkScoped(connecting, { startImmediately: true })
    handshakes.push(handshake)
    // Somebody else waits for it: a handshake may be given up at any time.
    yield* Effect.forkScoped(
      Effect.flatMap(Fiber.await(handshake), (exit) => exit._tag === "Success" ? accept(exit.value) : Effect.void),
      { startImmediately: true }
    )
  })

  /** Does something with one of the clients, if there is one. */
  const withClient = <R = never>(f: (client: Client) => Effect.Effect<unknown, never, R>) =>
    Effect.suspend(() => clients.length === 0 ? Effect.void : f(chance.pick(clients)))

  /** Takes a role away from a user, or gives all of them back. */
  const regrade = Effect.suspend(() => {
    const user = chance.pick(users)
    const role = chance.pick<Role>(["member", "editor", "editor", "trusted", "trusted"])
    const target = chance.oneIn(4) ? Authority.everyone : Authority.identity(CurrentUser, user)
    return change(target, () => {
      if (chance.oneIn(3)) roles[user].delete(role)
      else for (const role of everyRole) roles[user].add(role)
    })
  })

  const events = {
    connect,
    regrade,
    send: withClient((client) =>
      client.peer.send(...Array.from({ length: 1 + chance.below(4) }, () => request(client, chance.pick(names))))
    ),
    renew: withClient((client) =>
      client.peer.send(request(client, "$authenticate", { token: chance.pick(["alice", "bob", "nobody"]) }))
    ),
    read: withClient((client) => client.isReading ? Effect.void : read(client)),
    leave: withClient(({ peer }) => peer.close()),
    drain: withClient(({ session }) => Effect.forkScoped(session.drain("1 milli"), { startImmediately: true })),
    giveUp: Effect.sync(() => handshakes.at(-1)?.interruptUnsafe()),
    tick: TestClock.adjust("1 milli")
  }
  const bag = Object.entries(weights).flatMap(([name, weight]) =>
    Array.from({ length: weight }, () => name as keyof typeof weights)
  )
  for (let i = 0; i < 120; i++) {
    yield* events[chance.pick(bag)]
    yield* turns(chance.below(6))
  }

  // In the end everybody reads, and nothing changes any more.
  yield* Effect.forEach(clients.filter(({ isReading }) => !isReading), read)
  yield* TestClock.adjust("1 second")
  yield* turns(2000)
  for (const { hasEnded, replies } of clients) {
    if (!hasEnded && replies.some((count) => count !== 1)) wrong.add("a request has no reply, and no end")
  }
  yield* Effect.forEach(clients, ({ peer }) => peer.close())
  yield* turns(500)
  if (clients.some(({ hasEnded }) => !hasEnded)) wrong.add("a connection has not ended")
  for (const { size, users } of joins.mock.contexts as ReadonlyArray<Registry>) {
    if (size > 0 || users > 0) wrong.add(`the registry still knows ${size} connections and ${users} users`)
  }
  if (world.scopes > 0) wrong.add(`${world.scopes} scopes of identities are open`)
  return { handled: world.handled, wrong: Array.from(wrong, (what) => `seed ${seed}: ${what}`) }
}, Effect.scoped)

/** Every other world logs each of its decisions; nobody reads that. */
const layerOf = (seed: number) =>
  Layer.mergeAll(
    Authority.layerMemory,
    Settings.layer({ renewalsPerMinute: 1000 }),
    Layer.succeed(References.MinimumLogLevel, seed % 2 === 0 ? "Debug" : "Info"),
    Logger.layer([])
  )

describe("Authority under stress", () => {
  it.effect(
    "nothing is done by what was decided before, and nobody is left without an answer",
    () =>
      Effect.gen(function*() {
        const wrong: Array<string> = []
        let handled = 0
        for (const seed of seeds) {
          const exit = yield* Effect.exit(Effect.provide(run(seed), layerOf(seed)))
          if (exit._tag === "Success") {
            handled += exit.value.handled
            wrong.push(...exit.value.wrong)
          } else {
            wrong.push(`seed ${seed}: ${Cause.pretty(exit.cause)}`)
          }
        }
        assert.deepStrictEqual(wrong, [])
        // Enough gets through for this to mean something.
        if (seeds.length > 1) assert.isAtLeast(handled, 5 * seeds.length)
      }),
    60_000 + 1000 * seeds.length
  )
})
