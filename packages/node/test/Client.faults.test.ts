/**
 * The typed client over a network that fails it, at each step of what is said and at random: it comes back by itself, every call
 * ends in exactly one way, and what it has heard adds up.
 */
import type { Client } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as Chat from "./support/chat.ts"
import * as Checker from "./support/checker.ts"
import * as Proxy from "./support/proxy.ts"
import { until } from "./support/server.ts"

// ---- what lies between them

/** Everything happens at one time of the clock, unless a test lets it pass. */
const heartbeat = { interval: "20 seconds", timeout: "10 seconds" } as const

const options: Omit<Client.Options<{ readonly room: string }>, "params" | "url"> = {
  heartbeat,
  reconnect: { min: 0, max: 0, timeout: "15 seconds" },
  // Time passes by hours for those who wait for what was lost.
  timeout: "1 day",
  // Renewed after 8 seconds.
  credentials: Effect.map(Clock.currentTimeMillis, (now) => ({ token: "somebody", expiresAt: now + 10_000 }))
}

const server = { pingInterval: "1 day", drainTimeout: 0 } as const

const startWorld = Effect.gen(function*() {
  const world = yield* Chat.makeWorld(server)
  const proxy = yield* Proxy.make({ target: world.port() })
  const restart = (isKept: boolean) =>
    Effect.gen(function*() {
      // A server that stops would wait for those that are held up.
      for (const { connection, detail, kind } of proxy.log) {
        if (kind === "fault" && /stall|freeze/.test(detail)) yield* proxy.connections[connection]!.end("drop")
      }
      yield* world.restart({ isKept })
      proxy.target = world.port()
    })
  return { world, proxy, restart }
})

/** What a failed test says. */
const told = (
  what: string,
  world: Chat.World,
  proxy: Proxy.Proxy,
  guests: ReadonlyArray<Chat.Guest>,
  problems: ReadonlyArray<string> = []
): string =>
  [
    what,
    ...problems,
    "faults:",
    ...proxy.faults(),
    proxy.print(),
    `room: ${JSON.stringify(world.groups.room.events)}`,
    `done: ${JSON.stringify(world.effects)}`,
    ...guests.flatMap(({ calls, heard, name, statuses }) => [
      `${name}: ${statuses.join(" ")}`,
      ...heard.map((one) => `  ${JSON.stringify(one)}`),
      ...calls.map((call) => `  ${JSON.stringify(call)}`)
    ])
  ].join("\n")

/** Lets time pass as long as nothing else comes about: for those who wait for something that was lost. */
const passTime = (proxy: Proxy.Proxy): Effect.Effect<never> =>
  Effect.gen(function*() {
    let seen = -1
    let quiet = 0
    while (true) {
      yield* Effect.callback<void>((resume) => {
        const timer = setTimeout(() => resume(Effect.void), 2)
        return Effect.sync(() => clearTimeout(timer))
      })
      quiet = proxy.log.length === seen ? quiet + 1 : 0
      seen = proxy.log.length
      if (quiet < 6) continue
      quiet = 0
      yield* TestClock.adjust("10 seconds")
    }
  })

const asserted = (
  what: string,
  world: Chat.World,
  proxy: Proxy.Proxy,
  guests: ReadonlyArray<Chat.Guest>
): Effect.Effect<void> =>
  Effect.sync(() => {
    const problems = Checker.problems(Chat.runOf(world, guests))
    if (problems.length > 0) assert.fail(told(what, world, proxy, guests, problems))
  })

// ---- each step

/** All that the protocol has, one after the other, whatever comes of it; what is lost is asked for again at the end. */
const conversation = Effect.fnUntraced(function*(world: Chat.World, guest: Chat.Guest) {
  const connected = until(guest.isConnected)
  yield* connected
  yield* guest.ask("echo")
  yield* connected
  yield* guest.ask("post")
  yield* connected
  yield* guest.ask("shout")
  yield* connected
  yield* guest.count("count", 3)
  yield* connected
  const nonce = guest.next()
  const hanging = yield* Effect.forkChild(guest.ask("hang", nonce), { startImmediately: true })
  const isOver = () => guest.calls.some((call) => call.nonce === nonce && call.outcomes.length > 0)
  yield* until(() => world.running.has(nonce) || isOver())
  yield* Fiber.interrupt(hanging)
  yield* guest.ask("read")
  yield* connected
  // Credentials are renewed.
  yield* TestClock.adjust("8 seconds")
  yield* guest.ask("pay")
  yield* connected
  // It asks for a sign of life.
  yield* TestClock.adjust("20 seconds")
  yield* guest.ask("publish")
  yield* guest.count("recount", 2)
  while (true) {
    yield* connected
    const [outcome] = (yield* guest.ask("post")).outcomes
    if (outcome?._tag === "Success") break
  }
  yield* until(() => guest.isConnected() && Chat.hasHeardAll(world, guest))
})

/** Holds a conversation by a plan for the first connection; the others pass. */
const converse = (
  what: string,
  makePlan: (restart: (isKept: boolean) => Effect.Effect<void>) => Proxy.Plan
) =>
  Effect.scoped(Effect.gen(function*() {
    const { proxy, restart, world } = yield* startWorld
    const plan = makePlan(restart)
    proxy.plan = ({ index }) => index === 0 ? plan : {}
    const guest = yield* Chat.enter("guest", proxy.port, options)
    yield* Effect.raceFirst(conversation(world, guest), passTime(proxy)).pipe(
      Chat.patiently(() => told(`${what}: it has not come to an end`, world, proxy, [guest]))
    )
    yield* asserted(what, world, proxy, [guest])
    return { proxy, guest, world }
  }))

const endings: ReadonlyArray<readonly [name: string, action: Proxy.Action]> = [
  ["drop before", "drop"],
  ["reset before", "reset"],
  ["tear", "tear"],
  ["tear, then drop", { tear: "drop" }],
  ["stall before", "stall"],
  ["freeze before", "freeze"],
  ["drop after", { passThen: "drop" }],
  ["reset after", { passThen: "reset" }],
  ["stall after", { passThen: "stall" }]
]

type Restart = (isKept: boolean) => Effect.Effect<void>

const faults: ReadonlyArray<readonly [name: string, make: (restart: Restart) => Proxy.Action]> = [
  ...endings.map(([name, action]) => [name, () => action] as const),
  ["a restart before", (restart) => ({ hold: restart(true) })],
  ["a restart without its history before", (restart) => ({ hold: restart(false) })]
]

describe("The client, whatever fails", { timeout: 60_000 }, () => {
  it.effect("holds a conversation that nothing disturbs, of which each step is known", () =>
    Effect.gen(function*() {
      const { guest, proxy } = yield* converse("undisturbed", () => ({}))
      assert.deepStrictEqual(guest.calls.map(({ action, outcomes: [outcome] }) => [action, outcome?._tag]), [
        ["echo", "Success"],
        ["post", "Success"],
        ["shout", "Success"],
        ["count", "Success"],
        ["hang", "Interrupted"],
        ["read", "Success"],
        ["pay", "Success"],
        ["publish", "Success"],
        ["recount", "Success"],
        ["post", "Success"]
      ])
      assert.strictEqual(proxy.connections.length, 1)
      const said = proxy.log.filter(({ kind, point }) => kind === "pass" && point === "toServer")
        .map(({ text }) => JSON.parse(text).action)
      assert.deepStrictEqual(said, [
        "echo",
        "post",
        "shout",
        "count",
        "hang",
        "$cancel",
        "read",
        "$authenticate",
        "pay",
        "$ping",
        "publish",
        "recount",
        "post"
      ])
    }))

  it.effect("comes through a handshake that fails", () =>
    Effect.gen(function*() {
      const more: ReadonlyArray<readonly [string, (restart: Restart) => Proxy.Action]> = [
        ["refused", () => ({ answer: Proxy.refusal(503, { "Retry-After": "0" }) })],
        ["not answered with HTTP", () => ({ answer: Proxy.garbage })]
      ]
      for (const point of ["accept", "request", "response"] as const) {
        for (const [name, make] of [...faults, ...(point === "accept" ? [] : more)]) {
          yield* converse(`${name} the ${point}`, (restart) => ({ [point]: make(restart) }))
        }
      }
    }))

  for (const direction of ["toServer", "toClient"] as const) {
    for (const [name, make] of faults) {
      it.effect(`comes through: ${name} each frame ${direction}`, () =>
        Effect.gen(function*() {
          const { proxy } = yield* converse("undisturbed", () => ({}))
          const frames = proxy.connections[0]![direction].frames
          assert.isAtLeast(frames, 13)
          for (let k = 0; k < frames; k++) {
            const { proxy } = yield* converse(`${name} the frame ${k} ${direction}`, (restart) => ({
              [direction]: ({ index }: Proxy.Frame) => index === k ? make(restart) : "pass"
            }))
            assert.strictEqual(proxy.faults().length, 1, proxy.print())
          }
        }), { timeout: 60_000 })
    }
  }
})

// ---- peers that are there, and are not

describe("The client, and a server that is there no more", () => {
  for (const held of ["toServer", "toClient", "both directions"] as const) {
    it.effect(`notices it in time: ${held} held up`, () =>
      Effect.gen(function*() {
        const { proxy, world } = yield* startWorld
        const guest = yield* Chat.enter("guest", proxy.port, { ...options, credentials: undefined })
        yield* until(guest.isConnected)
        yield* guest.ask("echo")
        const connection = proxy.connections[0]!
        yield* held === "both directions" ? connection.freeze : connection[held].stall
        const asking = yield* Effect.forkChild(guest.ask("echo"), { startImmediately: true })
        // What is sent does not count as a sign of life, nor does what does not arrive.
        yield* TestClock.adjust("29999 millis")
        for (let turns = 0; turns < 10; turns++) yield* Chat.turn
        assert.isTrue(guest.isConnected(), told("too early", world, proxy, [guest]))
        yield* TestClock.adjust("1 millis")
        const { outcomes } = yield* Fiber.join(asking).pipe(
          Chat.patiently(() => told("it has not noticed it", world, proxy, [guest]))
        )
        assert.deepStrictEqual(outcomes, [{ _tag: "Failure", error: "ConnectionLost", isSent: true }])
        yield* until(() => guest.isConnected() && proxy.connections.length === 2).pipe(
          Chat.patiently(() => told("it has not come back", world, proxy, [guest]))
        )
        assert.strictEqual((yield* guest.ask("echo")).outcomes[0]?._tag, "Success")
        yield* asserted("half open", world, proxy, [guest])
      }))
  }
})

describe("A client that does not read", () => {
  it.effect("holds up nobody, and is told that it has missed something", () =>
    Effect.gen(function*() {
      const { proxy, world } = yield* startWorld
      const slow = yield* Chat.enter("slow", proxy.port, options)
      yield* until(slow.isConnected)
      const [guest, other] = yield* Effect.all([
        Chat.enter("guest", proxy.port, options),
        Chat.enter("other", proxy.port, options)
      ])
      yield* until(() => guest.isConnected() && other.isConnected())
      yield* proxy.connections[0]!.toClient.slow(0)
      // More than the server, the proxy and what lies between them hold for one that does not read.
      const text = "x".repeat(32_000)
      for (let i = 0; i < 400; i++) {
        const { outcomes: [outcome] } = yield* guest.ask("post", `${text}${i}`)
        assert.strictEqual(outcome?._tag, "Success")
      }
      yield* until(() => Chat.hasHeardAll(world, other)).pipe(Chat.patiently(() => "the other is held up"))
      assert.isBelow(slow.heard.filter(({ _tag }) => _tag === "Event").length, 400)
      yield* proxy.connections[0]!.toClient.flow
      yield* until(() => slow.isConnected() && slow.heard.some(({ _tag }) => _tag === "Gap")).pipe(
        Effect.raceFirst(passTime(proxy)),
        Chat.patiently(() => `the slow one has not come back: ${slow.statuses.join()}`)
      )
      yield* guest.ask("post")
      yield* until(() => Chat.hasHeardAll(world, slow)).pipe(
        Chat.patiently(() => `the slow one hears nothing: ${slow.statuses.join()}`)
      )
      // The texts are too long to be told.
      assert.deepStrictEqual(
        Checker.problems(Chat.runOf(world, [slow, guest, other])).map((problem) => problem.replaceAll(text, "")),
        []
      )
    }), { timeout: 30_000 })
})

// ---- at random

const env = (name: string): number | undefined => {
  const value = process.env[name]
  return value === undefined || value === "" ? undefined : Number(value)
}

/** One seed alone, or so many of them. */
const seeds = ((): ReadonlyArray<number> => {
  const seed = env("SEED")
  return seed === undefined ? Array.from({ length: env("SEEDS") ?? 40 }, (_, i) => i + 1) : [seed]
})()

const chaos: Proxy.Chaos = {
  accept: { reset: 0.03 },
  request: { refuse: 0.08, reset: 0.03, garbage: 0.02, tear: 0.02, stall: 0.01 },
  response: { drop: 0.03, reset: 0.02, tear: 0.04, garbage: 0.02, freeze: 0.01 },
  toServer: { drop: 0.02, reset: 0.02, tear: 0.03, hold: 0.05, slow: 0.03, stall: 0.01, freeze: 0.005 },
  toClient: { drop: 0.015, reset: 0.015, tear: 0.02, hold: 0.05, slow: 0.03, stall: 0.01, freeze: 0.005 }
}

/** What a client does, by its own dice. */
const act = (world: Chat.World, guest: Chat.Guest, dice: Dice) =>
  Effect.gen(function*() {
    for (let i = 0; i < 12; i++) {
      // Some of it is asked for while there is no connection, or there are two things in flight.
      if (dice(3) > 0) yield* until(guest.isConnected)
      switch (dice(10)) {
        case 0:
          yield* guest.ask("echo")
          break
        case 1:
          yield* guest.count("count", 1 + dice(8), 1 + dice(8))
          break
        case 2: {
          const nonce = guest.next()
          const hanging = yield* Effect.forkChild(guest.ask("hang", nonce), { startImmediately: true })
          const isOver = () => guest.calls.some((call) => call.nonce === nonce && call.outcomes.length > 0)
          yield* until(() => world.running.has(nonce) || isOver())
          yield* Fiber.interrupt(hanging)
          break
        }
        case 3:
          yield* Effect.all([guest.ask("post"), guest.ask("shout"), guest.ask("pay"), guest.count("recount", 3)], {
            concurrency: "unbounded"
          })
          break
        case 4:
          yield* guest.ask("shout")
          break
        case 5:
          yield* guest.ask("read")
          break
        case 6:
          yield* guest.ask("pay")
          break
        case 7:
          yield* guest.ask("publish")
          break
        case 8: {
          // What is given up right away may have been done, or not.
          const asking = yield* Effect.forkChild(guest.ask(dice(2) === 0 ? "post" : "pay"), { startImmediately: true })
          for (let turns = dice(3); turns > 0; turns--) yield* Chat.turn
          yield* Fiber.interrupt(asking)
          break
        }
        default:
          yield* guest.ask("post")
      }
    }
  })

/** A number from 0 to below a bound. */
type Dice = (bound: number) => number

const diceOf = (seed: string): Dice => {
  const random = Effect.runSync(Random.withSeed(Random.Random, seed))
  return (bound) => Math.floor(random.nextDoubleUnsafe() * bound)
}

/** What came of all seeds together: a test in which nothing goes wrong tests nothing. */
interface Tally {
  faults: number
  connections: number
  readonly outcomes: Map<string, number>
  readonly heard: Map<string, number>
}

const runSeed = (seed: number, tally: Tally) =>
  Effect.scoped(Effect.gen(function*() {
    const { proxy, restart, world } = yield* startWorld
    const what = `SEED=${seed}`
    proxy.plan = Proxy.seeded(seed, chaos)
    const { label } = proxy.plan
    const dice = diceOf(`${seed}`)
    // One that hears only what comes, one that wants all that is kept, and one whose calls wait.
    const guests = yield* Effect.all([
      Chat.enter("a", proxy.port, options),
      Chat.enter("b", proxy.port, { ...options, from: "kept" }),
      Chat.enter("c", proxy.port, { ...options, queue: 5 })
    ])
    const restarting = Effect.gen(function*() {
      for (let i = dice(3); i > 0; i--) {
        yield* proxy.further(20 + dice(100))
        yield* restart(dice(2) === 0)
      }
    })
    const acting = Effect.forEach(guests, (guest) => act(world, guest, diceOf(`${seed}/${guest.name}`)), {
      concurrency: "unbounded"
    })
    const settling = Effect.gen(function*() {
      proxy.plan = Object.assign(() => ({}), { label })
      while (true) {
        yield* until(() => guests.every((guest) => guest.isConnected()))
        const [outcome] = (yield* guests[0]!.ask("post")).outcomes
        if (outcome?._tag === "Success") break
      }
      yield* until(() => guests.every((guest) => guest.isConnected() && Chat.hasHeardAll(world, guest)))
    })
    yield* Effect.raceFirst(
      Effect.andThen(
        Effect.gen(function*() {
          const restarts = yield* Effect.forkChild(restarting, { startImmediately: true })
          yield* acting
          yield* Fiber.interrupt(restarts)
        }),
        settling
      ),
      passTime(proxy)
    ).pipe(Chat.patiently(() => told(`${what}: it has not come to an end`, world, proxy, guests), 20_000))
    yield* asserted(what, world, proxy, guests)
    tally.faults += proxy.faults().length
    tally.connections += proxy.connections.length
    const count = (counts: Map<string, number>, name: string) => counts.set(name, (counts.get(name) ?? 0) + 1)
    for (const { calls, heard } of guests) {
      for (const one of heard) count(tally.heard, one._tag)
      for (const { outcomes: [outcome] } of calls) {
        count(
          tally.outcomes,
          outcome?._tag === "Failure" ? `${outcome.error} ${outcome.isSent ?? ""}` : outcome?._tag ?? "none"
        )
      }
    }
  }))

describe("Clients in a room, over a network that fails at random", () => {
  it.effect(
    `keep their word (${seeds.length === 1 ? `seed ${seeds[0]}` : `${seeds.length} seeds`})`,
    () =>
      Effect.gen(function*() {
        const tally: Tally = { faults: 0, connections: 0, outcomes: new Map(), heard: new Map() }
        for (const seed of seeds) yield* runSeed(seed, tally)
        if (env("TALLY") !== undefined) console.log(tally)
        if (seeds.length < 40) return
        assert.isAtLeast(tally.faults, 2 * seeds.length)
        for (const outcome of ["Success", "Interrupted", "ConnectionLost true", "ConnectionLost false"]) {
          assert.isAtLeast(tally.outcomes.get(outcome) ?? 0, seeds.length / 10, outcome)
        }
        for (const tag of ["Fresh", "Resumed", "Gap", "CaughtUp", "Event"]) {
          assert.isAtLeast(tally.heard.get(tag) ?? 0, seeds.length / 10, tag)
        }
      }),
    { timeout: 60_000 + seeds.length * 5000 }
  )
})
