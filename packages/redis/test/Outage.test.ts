/**
 * What holds while Redis is away, and when it is back: it is killed, stopped, emptied and cut off.
 */
import type { ChannelLayer } from "@effect-channels/core"
import type * as Authority from "@effect-channels/core/Authority"
import type * as Throttle from "@effect-channels/core/Throttle"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import { address, eventually, message, Recorder } from "../../core/test/support/channel-layers.ts"
import { admin, fails, makeNode, type Node, quiet, until, untilIs } from "./support/nodes.ts"
import { makeProxy } from "./support/proxy.ts"
import { redisServer, skipped } from "./support/server.ts"

const times = { heartbeat: 200, nodeTimeout: 1500, commandTimeout: 1000 }
const limit = { timeout: 90_000 }
const history = { count: 1000, age: 3_600_000 }
const rule: Throttle.Rule = { algorithm: "token-bucket", capacity: 5, limit: 5, window: 60_000 }
const signal: ChannelLayer.Signal = {
  _tag: "Disconnect",
  consumer: "chat",
  target: { _tag: "Everyone" },
  code: 4000,
  reason: "bye"
}

const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)
const ids = (present: ReadonlyArray<ChannelLayer.Present>) => present.map(({ id }) => id).sort()
const isUp = ({ layer }: Node) => until(layer.count(address("none")))

/** What a node is told of authority. */
const listen = (node: Node) =>
  Effect.gen(function*() {
    const heard: Array<Authority.Target> = []
    yield* node.authority.subscribe((target) => void heard.push(target))
    return heard
  })

const isRising = (values: ReadonlyArray<unknown>) =>
  values.every((value, i) => i === 0 || Number(values[i - 1]) < Number(value))

describe.skipIf(skipped !== undefined)("an outage of Redis", { concurrent: true }, () => {
  for (const how of ["kill", "stop"] as const) {
    it.live(
      `fails what needs Redis, serves this process, and goes on afterwards (${how})`,
      () =>
        quiet(Effect.gen(function*() {
          const server = yield* redisServer
          const options = { url: server.url, ...times }
          const [a, b] = [yield* makeNode(options), yield* makeNode(options)]
          const [plain, kept, watched] = [
            address("plain"),
            address("kept", { history }),
            address("watched", { presence: true })
          ]
          const [here, far] = [new Recorder("here", `"h"`), new Recorder("far", `"f"`)]
          for (const group of [plain, kept, watched]) {
            yield* a.layer.add(group, here, undefined)
            yield* b.layer.add(group, far, undefined)
          }
          yield* a.layer.send(plain, message(1))
          yield* a.layer.send(kept, message(2))
          yield* eventually(() => assert.deepStrictEqual([...far.events].sort(), [1, 2]))
          yield* eventually(() => assert.deepStrictEqual([...here.events].sort(), [1, 2]))
          yield* eventually(() => assert.deepStrictEqual(here.changes, ["+far"]))
          const position = here.ids.find((id) => id !== undefined)
          const [heardA, heardB] = [yield* listen(a), yield* listen(b)]
          const signals: Array<ChannelLayer.Signal> = []
          yield* a.layer.subscribe((signal) => void signals.push(signal))

          yield* how === "kill" ? Effect.promise(() => server.kill()) : Effect.sync(() => server.stop())

          // The first one may have to find out.
          const first = yield* fails(a.layer.send(plain, message(3)))
          assert.isBelow(first, times.commandTimeout + 3000)
          assert.deepStrictEqual(here.events.at(-1), 3)
          // From then on it is known.
          const operations = [
            a.layer.send(plain, message(4)),
            a.layer.send(kept, message(5)),
            a.layer.add(plain, new Recorder(), undefined),
            a.layer.add(kept, new Recorder(), undefined),
            a.layer.add(watched, new Recorder(), undefined),
            a.layer.count(plain),
            a.layer.present(watched),
            a.layer.signal(signal),
            a.authority.invalidate({ _tag: "Connection", id: "x" }),
            a.store.consume("key", rule),
            a.store.peek("key", rule)
          ]
          for (const operation of operations) {
            assert.isBelow(yield* fails<unknown, { readonly _tag: string }>(operation), 1000)
          }
          assert.deepStrictEqual(here.events.slice(2), [3, 4])
          assert.deepStrictEqual(signals, [signal])
          assert.deepStrictEqual(heardA, [{ _tag: "Connection", id: "x" }])
          // The other one finds out as well: a Redis that sleeps for less than that has lost nothing.
          yield* fails(b.layer.count(plain))

          yield* how === "kill"
            ? Effect.promise(() => server.start())
            : Effect.sync(() => server.continue())
          yield* Effect.all([isUp(a), isUp(b)])

          // Both may have missed that authority was taken away.
          yield* eventually(() => assert.deepInclude(heardA, { _tag: "Everyone" }))
          yield* eventually(() => assert.deepInclude(heardB, { _tag: "Everyone" }))
          for (const { layer } of [a, b]) {
            for (const group of [plain, kept, watched]) yield* untilIs(layer.count(group), 2)
            yield* untilIs(Effect.map(layer.present(watched), ids), ["far", "here"])
          }
          yield* until(a.layer.send(plain, message(6)))
          yield* until(a.layer.send(kept, message(7)))
          yield* eventually(() => assert.include(far.events, 6))
          yield* eventually(() => assert.include(far.events, 7))
          yield* eventually(() => assert.include(here.events, 7))
          assert.strictEqual(far.events.filter((n) => n === 6).length, 1)
          // What has failed as a whole may have been done when Redis woke up, but only for all.
          assert.strictEqual(here.events.includes(5), far.events.includes(5))
          const again = yield* b.layer.add(kept, new Recorder(), position)
          if (how === "kill") assert.deepStrictEqual([again.state, again.missed], ["gap", []])
          else assert.strictEqual(again.state, "resumed")
          assert.deepStrictEqual(yield* a.store.consume("key", rule), 0)
          assert.deepStrictEqual(yield* b.store.consume("key", rule), 0)
          // Nobody was away.
          yield* Effect.sleep(2 * times.nodeTimeout)
          assert.deepStrictEqual([here.changes, far.changes], [["+far"], []])
        })),
      limit
    )
  }

  it.live("tells those who stay who has left meanwhile", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const options = { url: server.url, ...times }
      const [a, b] = [yield* makeNode(options), yield* makeNode(options)]
      const group = address("watched", { presence: true })
      const lonely = address("lonely", { presence: true })
      const [stays, leaves, far] = [new Recorder("stays"), new Recorder("leaves"), new Recorder("far")]
      yield* a.layer.add(group, stays, undefined)
      yield* a.layer.add(group, leaves, undefined)
      yield* a.layer.add(lonely, leaves, undefined)
      yield* b.layer.add(group, far, undefined)
      yield* b.layer.add(lonely, far, undefined)
      server.stop()
      yield* fails(a.layer.count(group))
      yield* a.layer.remove(group, leaves)
      yield* a.layer.remove(lonely, leaves)
      assert.deepStrictEqual(stays.changes.at(-1), "-leaves")
      server.continue()
      yield* eventually(() => assert.deepStrictEqual(far.changes, ["-leaves", "-leaves"]))
      for (const { layer } of [a, b]) {
        yield* untilIs(layer.count(group), 2)
        yield* untilIs(layer.count(lonely), 1)
        yield* untilIs(Effect.map(layer.present(group), ids), ["far", "stays"])
        yield* untilIs(Effect.map(layer.present(lonely), ids), ["far"])
      }
      yield* Effect.sleep(2 * times.nodeTimeout)
      assert.deepStrictEqual(stays.changes.filter((change) => change.startsWith("-")), ["-leaves"])
      assert.deepStrictEqual(far.changes, ["-leaves", "-leaves"])
    })), limit)

  it.live("leaves nothing behind of what it has asked a Redis that was asleep", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const options = { url: server.url, ...times }
      const [a, b] = [yield* makeNode(options), yield* makeNode(options)]
      const group = address("watched", { presence: true })
      const [here, far] = [new Recorder("here"), new Recorder("far")]
      yield* a.layer.add(group, here, undefined)
      yield* b.layer.add(group, far, undefined)
      yield* eventually(() => assert.deepStrictEqual(here.changes, ["+far"]))
      server.stop()
      // More than Redis reads of a connection before it looks at the next one.
      yield* Effect.forEach(
        range(1, 5000),
        (n) => fails(a.layer.add(group, new Recorder(`m${n}`, JSON.stringify("x".repeat(100))), undefined)),
        { concurrency: "unbounded", discard: true }
      )
      server.continue()
      yield* Effect.all([isUp(a), isUp(b)])
      for (const { layer } of [a, b]) {
        yield* untilIs(layer.count(group), 2)
        yield* untilIs(Effect.map(layer.present(group), ids), ["far", "here"])
      }
      yield* Effect.sleep(2 * times.nodeTimeout)
      for (const { layer } of [a, b]) {
        assert.strictEqual(yield* layer.count(group), 2)
        assert.deepStrictEqual(ids(yield* layer.present(group)), ["far", "here"])
      }
      // Whoever was told that somebody came has been told that they left.
      for (const member of [here, far]) {
        const seen = new Set<string>()
        for (const change of member.changes) {
          if (change.startsWith("+")) seen.add(change.slice(1))
          else assert.isTrue(seen.delete(change.slice(1)), change)
        }
        assert.deepStrictEqual([...seen], member === here ? ["far"] : [])
      }
    })), limit)

  it.live("is not overtaken by what it said before it was cut off", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const proxy = yield* makeProxy(server.port)
      const a = yield* makeNode({ url: proxy.url, ...times })
      const b = yield* makeNode({ url: server.url, ...times })
      const group = address("watched", { presence: true })
      const [here, far] = [new Recorder("here"), new Recorder("far")]
      yield* a.layer.add(group, here, undefined)
      yield* b.layer.add(group, far, undefined)
      // It is on its way for longer than anybody waits.
      proxy.delay()
      yield* fails(a.layer.add(group, new Recorder("late"), undefined))
      yield* isUp(a)
      yield* untilIs(b.layer.count(group), 2)
      proxy.flow()
      for (let i = 0; i < 50; i++) {
        assert.strictEqual(yield* b.layer.count(group), 2)
        yield* Effect.sleep(5)
      }
      for (const { layer } of [a, b]) {
        assert.strictEqual(yield* layer.count(group), 2)
        assert.deepStrictEqual(ids(yield* layer.present(group)), ["far", "here"])
      }
    })), limit)

  it.live("keeps so many events as it is told to, and sends them in order", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const options = { url: server.url, ...times, whenDown: { buffer: 5 } }
      const [a, b] = [yield* makeNode(options), yield* makeNode(options)]
      const [group, other, kept] = [address("room"), address("room"), address("kept", { history })]
      const [here, far] = [new Recorder(), new Recorder()]
      yield* a.layer.add(group, here, undefined)
      yield* b.layer.add(group, far, undefined)
      yield* b.layer.add(other, far, undefined)
      yield* b.layer.add(kept, far, undefined)
      yield* a.layer.send(group, message(1))
      yield* Effect.promise(() => server.kill())
      for (const n of range(2, 4)) yield* a.layer.send(group, message(n))
      for (const n of range(5, 6)) yield* a.layer.send(other, message(n))
      for (const n of range(7, 8)) yield* fails(a.layer.send(group, message(n)))
      // A signal is no event, and an event with a position needs Redis to have one.
      yield* fails(a.layer.signal(signal))
      yield* fails(a.layer.send(kept, message(0)))
      assert.deepStrictEqual(here.events, [1, 2, 3, 4, 7, 8])
      yield* Effect.promise(() => server.start())
      yield* isUp(b)
      yield* until(a.layer.count(group))
      yield* a.layer.send(group, message(9))
      yield* eventually(() => assert.deepStrictEqual(far.events.at(-1), 9))
      // Those that went out before the other node was back are lost; none comes twice, and none in another order.
      assert.isTrue(isRising(far.events))
      assert.isTrue(far.events.every((n) => [1, 2, 3, 4, 5, 6, 9].includes(Number(n))))
    })), limit)

  it.live("sends what was kept to a node that was there all the time", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const proxy = yield* makeProxy(server.port)
      const a = yield* makeNode({ url: proxy.url, ...times, whenDown: { buffer: 100 } })
      const b = yield* makeNode({ url: server.url, ...times })
      const group = address("room")
      const far = new Recorder()
      yield* b.layer.add(group, far, undefined)
      let number = 0
      for (const how of ["cut", "stall", "cut", "stall"] as const) {
        // In the middle of traffic: what is on its way is published once more, and heard once.
        const sending = yield* Effect.forkChild(
          Effect.forEach(range(1, 60), () => a.layer.send(group, message(++number)), { concurrency: 4, discard: true }),
          { startImmediately: true }
        )
        yield* Effect.sleep(2)
        proxy[how]()
        yield* Fiber.join(sending)
        proxy[how === "cut" ? "mend" : "flow"]()
        yield* until(a.layer.count(group))
        yield* a.layer.send(group, message(++number))
        const sent = number
        yield* eventually(() => assert.deepStrictEqual(far.events, range(1, sent)))
      }
    })), limit)

  it.live("gives members of a group with a history what their node has missed", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const proxy = yield* makeProxy(server.port)
      const a = yield* makeNode({ url: server.url, ...times })
      const b = yield* makeNode({ url: proxy.url, ...times })
      const long = { count: 1_000_000, age: 3_600_000 }
      const [group, quietGroup] = [address("kept", { history: long }), address("kept", { history: long })]
      const [here, far, excepted] = [new Recorder(), new Recorder(), new Recorder()]
      yield* a.layer.add(group, here, undefined)
      yield* b.layer.add(group, far, undefined)
      yield* b.layer.add(group, excepted, undefined)
      yield* b.layer.add(quietGroup, new Recorder(), undefined)
      let number = 0
      const send = Effect.suspend(() => {
        const n = ++number
        return a.layer.send(group, message(n, n % 7 === 0 ? { except: excepted.id } : {}))
      })
      const sending = yield* Effect.forkChild(
        Effect.forever(Effect.andThen(Effect.repeat(send, { times: 4 }), Effect.sleep(1))),
        { startImmediately: true }
      )
      for (let i = 0; i < 6; i++) {
        const before = number
        proxy[i % 2 === 0 ? "cut" : "stall"]()
        yield* until(Effect.suspend(() => number > before + 20 ? Effect.void : Effect.fail("not yet")))
        // Where nothing comes through, it has to find out.
        yield* fails(b.layer.count(group))
        proxy[i % 2 === 0 ? "mend" : "flow"]()
        yield* isUp(b)
        // Somebody joins while others are given what they have missed.
        const late = new Recorder()
        const joined = yield* until(b.layer.add(group, late, undefined))
        const from = Number(joined.position!.split("-")[1])
        yield* eventually(() => assert.deepStrictEqual(late.events.slice(0, 10), range(from + 1, from + 10)))
        yield* b.layer.remove(group, late)
      }
      yield* Fiber.interrupt(sending)
      const total = yield* Effect.promise(async () => number)
      yield* a.layer.send(group, message("end"))
      yield* eventually(() => assert.strictEqual(far.events.at(-1), "end"))
      // The last one may have been interrupted on its way.
      const expected = here.events
      yield* eventually(() => assert.deepStrictEqual(far.events, expected))
      assert.isAtLeast(expected.length, total)
      assert.deepStrictEqual(far.ids, here.ids)
      yield* eventually(() =>
        assert.deepStrictEqual(excepted.events, expected.filter((n) => Number(n) % 7 !== 0 || n === "end"))
      )
    })), limit)

  it.live(
    "says how many events were lost where a history did not go back far enough",
    () =>
      quiet(Effect.gen(function*() {
        const server = yield* redisServer
        const proxy = yield* makeProxy(server.port)
        const a = yield* makeNode({ url: server.url, ...times })
        const b = yield* makeNode({ url: proxy.url, ...times })
        const group = address("kept", { history: { count: 5, age: 3_600_000 } })
        const far = new Recorder()
        yield* b.layer.add(group, far, undefined)
        yield* a.layer.send(group, message(1))
        yield* eventually(() => assert.deepStrictEqual(far.events, [1]))
        proxy.cut()
        for (const n of range(2, 20)) yield* a.layer.send(group, message(n))
        proxy.mend()
        yield* eventually(() => assert.deepStrictEqual(far.events, [1, ...range(16, 20)]))
        const snapshot = yield* Metric.snapshot
        const lost = snapshot.find(({ attributes, id }) =>
          id === "effect_channels_redis_dropped_total" && attributes?.["why"] === "history_cut"
        )
        assert.deepInclude(lost?.state, { count: 14 })
      })).pipe(Effect.provideService(Metric.MetricRegistry, new Map())),
    limit
  )

  it.live("takes a node for dead that is cut off for long, and takes it back", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const proxy = yield* makeProxy(server.port)
      const a = yield* makeNode({ url: server.url, ...times })
      const b = yield* makeNode({ url: proxy.url, ...times })
      const group = address("watched", { presence: true })
      const [here, far] = [new Recorder("here"), new Recorder("far")]
      yield* a.layer.add(group, here, undefined)
      yield* b.layer.add(group, far, undefined)
      yield* eventually(() => assert.deepStrictEqual(here.changes, ["+far"]))
      proxy.stall()
      yield* eventually(() => assert.deepStrictEqual(here.changes, ["+far", "-far"]))
      yield* untilIs(a.layer.count(group), 1)
      yield* untilIs(Effect.map(a.layer.present(group), ids), ["here"])
      proxy.flow()
      yield* eventually(() => assert.deepStrictEqual(here.changes, ["+far", "-far", "+far"]))
      yield* untilIs(a.layer.count(group), 2)
      yield* untilIs(Effect.map(a.layer.present(group), ids), ["far", "here"])
      yield* Effect.sleep(2 * times.nodeTimeout)
      assert.deepStrictEqual([here.changes, far.changes], [["+far", "-far", "+far"], []])
    })), limit)

  it.live("writes everything anew where Redis has lost its data and no connection", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const send = yield* admin(server.url)
      const options = { url: server.url, ...times }
      const [a, b] = [yield* makeNode(options), yield* makeNode(options)]
      const group = address("watched", { presence: true, history })
      const [here, far, late] = [new Recorder("here"), new Recorder("far"), new Recorder("late")]
      yield* a.layer.add(group, here, undefined)
      yield* b.layer.add(group, far, undefined)
      yield* eventually(() => assert.deepStrictEqual(here.changes, ["+far"]))
      yield* send("FLUSHALL")
      yield* send("SCRIPT", "FLUSH")
      // Before anybody has noticed.
      yield* b.layer.add(group, late, undefined)
      for (const { layer } of [a, b]) {
        yield* untilIs(layer.count(group), 3)
        yield* untilIs(Effect.map(layer.present(group), ids), ["far", "here", "late"])
      }
      yield* Effect.sleep(2 * times.nodeTimeout)
      assert.deepStrictEqual([here.changes, far.changes], [["+far", "+late"], ["+late"]])
      yield* a.layer.send(group, message(1))
      yield* eventually(() => assert.deepStrictEqual([here.events, far.events, late.events], [[1], [1], [1]]))
    })), limit)

  it.live(
    "loses nothing and sends nothing twice, however often Redis goes while events are sent",
    () =>
      quiet(Effect.gen(function*() {
        const server = yield* redisServer
        const options = { url: server.url, ...times }
        const nodes = [yield* makeNode(options), yield* makeNode(options), yield* makeNode(options)]
        const group = address("room")
        const members = nodes.map(() => new Recorder())
        for (const [i, { layer }] of nodes.entries()) yield* layer.add(group, members[i]!, undefined)
        const counters = nodes.map(() => 0)
        const sending = yield* Effect.forEach(nodes, ({ layer }, i) =>
          Effect.forkChild(
            Effect.forever(Effect.andThen(
              Effect.suspend(() => Effect.ignore(layer.send(group, message([i, ++counters[i]!])))),
              Effect.sleep(1)
            )),
            { startImmediately: true }
          ))
        for (let i = 0; i < 3; i++) {
          yield* Effect.sleep(200)
          if (i === 1) {
            server.stop()
            yield* Effect.sleep(1.5 * times.commandTimeout)
            server.continue()
          } else {
            yield* Effect.promise(() => server.kill())
            yield* Effect.sleep(100)
            yield* Effect.promise(() => server.start())
          }
          yield* Effect.all(nodes.map(isUp))
          const before = [...counters]
          yield* Effect.sleep(100)
          // From here on nothing is lost.
          const marks = before.map((count) => count + 1)
          yield* eventually(() => {
            for (const { events } of members) {
              for (const [sender, mark] of marks.entries()) assert.deepInclude(events, [sender, mark + 20])
            }
          })
          for (const { events } of members) {
            for (const [sender, mark] of marks.entries()) {
              const own = events.map((event) => event as readonly [number, number]).filter(([from]) => from === sender)
              const numbers = own.map(([, n]) => n)
              assert.isTrue(isRising(numbers))
              assert.deepStrictEqual(numbers.filter((n) => n >= mark && n <= mark + 20), range(mark, mark + 20))
            }
          }
        }
        yield* Effect.forEach(sending, Fiber.interrupt, { discard: true })
        // This process is served whatever happens.
        for (const [i, { events }] of members.entries()) {
          const own = events.map((event) => event as readonly [number, number]).filter(([from]) => from === i)
          assert.deepStrictEqual(own.map(([, n]) => n), range(1, counters[i]!))
        }
      })),
    limit
  )
})
