/**
 * What holds where things happen at the same time, or at a bad time.
 */
import type { ChannelLayer } from "@effect-channels/core"
import type { RedisChannels } from "@effect-channels/redis"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import { address, eventually, message, Recorder } from "../../core/test/support/channel-layers.ts"
import { Histories } from "../src/internal/histories.ts"
import { Keys } from "../src/internal/keys.ts"
import type { Entry, Group, Node } from "../src/internal/node.ts"
import type { Session } from "../src/internal/session.ts"
import { Shards } from "../src/internal/shards.ts"
import { View } from "../src/internal/view.ts"
import { admin, makeNode, quiet, until, untilIs } from "./support/nodes.ts"
import { makeProxy } from "./support/proxy.ts"
import { redisServer, skipped } from "./support/server.ts"

const times = { heartbeat: 100, nodeTimeout: 600, commandTimeout: 2000 }
const limit = { timeout: 60_000 }
const history = { count: 1000, age: 3_600_000 }

const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)
const ids = (present: ReadonlyArray<ChannelLayer.Present>) => present.map(({ id }) => id).sort()

/** Lets so many rounds of input and output pass. */
const rounds = (count: number) =>
  Effect.promise(async () => {
    for (let i = 0; i < count; i++) await new Promise(setImmediate)
  })

const setup = (count: number, options: RedisChannels.Options = {}) =>
  Effect.gen(function*() {
    const server = yield* redisServer
    const send = yield* admin(server.url)
    const nodes = yield* Effect.all(range(1, count).map(() => makeNode({ url: server.url, ...times, ...options })))
    return { server, send, nodes }
  })

describe.skipIf(skipped !== undefined)("races", { concurrent: true }, () => {
  it.live("leave nothing of a join that is interrupted, wherever that is", () =>
    quiet(Effect.gen(function*() {
      const { nodes: [a, b], send } = yield* setup(2)
      const group = address("room", { presence: true, history })
      for (const n of range(0, 240)) {
        const member = new Recorder()
        const joining = yield* a!.layer.add(group, member, undefined).pipe(
          // It may be interrupted between any few of its steps.
          Effect.provideService(Scheduler.MaxOpsBeforeYield, 3 + n % 4),
          Effect.forkChild({ startImmediately: true })
        )
        if (n < 120) { for (const _ of range(1, n >> 2)) yield* Effect.yieldNow }
        else yield* rounds(n % 16)
        yield* Fiber.interrupt(joining)
        // It may have been in already.
        yield* a!.layer.remove(group, member)
      }
      assert.strictEqual(yield* b!.layer.count(group), 0)
      assert.deepStrictEqual(yield* b!.layer.present(group), [])
      assert.strictEqual(yield* send("HLEN", `effect-channels:c:${group.key}`), 0)
      assert.strictEqual(yield* send("HLEN", `effect-channels:p:${group.key}`), 1)
      // The group is closed: nobody listens for it any more.
      yield* untilIs(send("PUBSUB", "CHANNELS", "*:s:*"), [])
    })), limit)

  it.live("give nothing to a member that is taken out while it joins", () =>
    quiet(Effect.gen(function*() {
      const { nodes: [a, b] } = yield* setup(2)
      const group = address("room", { history })
      const stays = new Recorder()
      yield* a!.layer.add(group, stays, undefined)
      for (const n of range(1, 300)) {
        let isOut = false
        let late = 0
        const member: ChannelLayer.Member = { id: `m${n}`, presence: undefined, receive: () => void (isOut && late++) }
        const sending = yield* Effect.forkChild(
          Effect.forEach(range(1, 4), () => b!.layer.send(group, message(n)), { concurrency: 4, discard: true }),
          { startImmediately: true }
        )
        const joining = yield* Effect.forkChild(a!.layer.add(group, member, undefined), { startImmediately: true })
        yield* rounds(n % 10)
        const leaving = yield* Effect.forkChild(a!.layer.remove(group, member), { startImmediately: true })
        isOut = true
        yield* Fiber.join(leaving)
        yield* Fiber.join(joining)
        yield* Fiber.join(sending)
        assert.strictEqual(late, 0)
      }
      yield* untilIs(b!.layer.count(group), 1)
      yield* eventually(() => assert.strictEqual(stays.events.length, 1200))
    })), limit)

  it.live("have those who join at once, on several nodes, see each other once", () =>
    quiet(Effect.gen(function*() {
      const { nodes } = yield* setup(3, { nodeTimeout: 20_000 })
      for (const round of range(1, 20)) {
        const group = address("room", { presence: true })
        const members = range(1, 6).map((n) => new Recorder(`r${round}m${n}`))
        const all = members.map(({ id }) => id)
        const joined = yield* Effect.forEach(
          members,
          (member, i) => nodes[i % 3]!.layer.add(group, member, undefined),
          { concurrency: "unbounded" }
        )
        for (const [i, { present }] of joined.entries()) {
          const { id } = members[i]!
          assert.include(ids(present), id)
          yield* eventually(() =>
            assert.deepStrictEqual(
              [...ids(present), ...members[i]!.changes.map((change) => change.slice(1))].sort(),
              all
            )
          )
        }
      }
    })), limit)

  it.live(
    "have who joins a group that Redis has forgotten see themselves, and the others",
    () =>
      quiet(Effect.gen(function*() {
        const { nodes: [a, b], send } = yield* setup(2, { nodeTimeout: 20_000 })
        const group = address("room", { presence: true })
        const [here, far] = [new Recorder("here"), new Recorder("far")]
        yield* a!.layer.add(group, here, undefined)
        yield* b!.layer.add(group, far, undefined)
        for (const n of range(1, 20)) {
          yield* send("FLUSHALL")
          const late = new Recorder(`late${n}`)
          const { present } = yield* a!.layer.add(group, late, undefined)
          assert.include(ids(present), late.id)
          yield* untilIs(Effect.map(a!.layer.present(group), ids), ["far", "here", late.id])
          yield* a!.layer.remove(group, late)
        }
        yield* eventually(() => assert.strictEqual(far.changes.length, 40))
        assert.deepStrictEqual(far.changes, range(1, 20).flatMap((n) => [`+late${n}`, `-late${n}`]))
      })),
    limit
  )

  it.live("do not hang who joins while the layer is closed", () =>
    quiet(Effect.gen(function*() {
      const { server } = yield* setup(0)
      for (const n of range(1, 30)) {
        const scope = yield* Scope.make()
        const { layer } = yield* Scope.provide(makeNode({ url: server.url, ...times }), scope)
        const group = address("room", { presence: true, history })
        yield* layer.add(group, new Recorder(), undefined)
        const joining = yield* Effect.forkChild(
          Effect.forEach(
            range(1, 50),
            () =>
              Effect.andThen(rounds(Math.floor(Math.random() * 6)), Effect.exit(layer.add(group, new Recorder(), ""))),
            { concurrency: "unbounded", discard: true }
          ),
          { startImmediately: true }
        )
        yield* rounds(n % 6)
        yield* Scope.close(scope, Exit.void)
        yield* Effect.timeout(Fiber.join(joining), 10_000)
      }
    })), limit)

  it.live("go on where a member throws when it is told who came", () =>
    quiet(Effect.gen(function*() {
      const { nodes: [a, b], send } = yield* setup(2, { shards: 1, nodeTimeout: 60_000 })
      const unhandled: Array<unknown> = []
      const onRejection = (reason: unknown) => void unhandled.push(reason)
      process.on("unhandledRejection", onRejection)
      const group = address("room", { presence: true })
      let throws = 0
      const bad: ChannelLayer.Member = {
        id: "bad",
        presence: undefined,
        receive: () => {
          throws++
          throw new Error("a defect")
        }
      }
      const nodesBefore = (yield* send("ZRANGE", "effect-channels:nodes", "0", "-1")) as ReadonlyArray<string>
      yield* a!.layer.add(group, bad, undefined)
      // It was told nothing, and reads it.
      yield* send(
        "HSET",
        `effect-channels:p:${group.key}`,
        `${nodesBefore[0]} ghost0`,
        "1",
        `${nodesBefore[1]} ghost1`,
        "1"
      )
      yield* send("PUBLISH", "effect-channels:s:0", `J x 1-1\n${JSON.stringify([group.key, "other"])}\nnull`)
      yield* eventually(() => assert.isAbove(throws, 0))
      yield* b!.layer.add(group, new Recorder("far"), undefined)
      yield* untilIs(Effect.map(b!.layer.present(group), (present) => ids(present).includes("bad")), true)
      yield* rounds(20)
      process.off("unhandledRejection", onRejection)
      assert.deepStrictEqual(unhandled, [])
    })), limit)

  it.live("forget a dead node, though the clock of Redis was put back", () =>
    quiet(Effect.gen(function*() {
      const { nodes: [a], send } = yield* setup(1)
      const group = address("room", { presence: true })
      const member = new Recorder("here")
      yield* send("ZADD", "effect-channels:nodes", String(Date.now() + 3_600_000), "dead")
      yield* send("HSET", `effect-channels:c:${group.key}`, "dead", "3")
      yield* send("HSET", `effect-channels:p:${group.key}`, "dead ghost", "1")
      yield* a!.layer.add(group, member, undefined)
      yield* eventually(() => assert.deepStrictEqual(member.changes, ["-ghost"]))
      yield* untilIs(a!.layer.count(group), 1)
      yield* untilIs(Effect.map(a!.layer.present(group), ids), ["here"])
    })), limit)

  it.live(
    "give what was missed of a history that began anew, though the clock of Redis was put back",
    () =>
      quiet(Effect.gen(function*() {
        const { nodes: [a], send, server } = yield* setup(1)
        const proxy = yield* makeProxy(server.port)
        const b = yield* makeNode({ url: proxy.url, ...times })
        const group = address("room", { history })
        const [here, far] = [new Recorder(), new Recorder()]
        yield* a!.layer.add(group, here, undefined)
        yield* b.layer.add(group, far, undefined)
        for (const n of range(1, 3)) yield* a!.layer.send(group, message(n))
        yield* eventually(() => assert.deepStrictEqual(far.events, [1, 2, 3]))
        proxy.cut()
        yield* send("DEL", `effect-channels:h:${group.key}`)
        yield* send("SET", `effect-channels:l:${group.key}`, "1-0")
        for (const n of range(4, 6)) yield* a!.layer.send(group, message(n))
        yield* eventually(() => assert.deepStrictEqual(here.events, range(1, 6)))
        proxy.mend()
        yield* until(b.layer.count(group))
        yield* eventually(() => assert.deepStrictEqual(far.events, range(1, 6)))
        yield* a!.layer.send(group, message(7))
        for (const member of [here, far]) yield* eventually(() => assert.deepStrictEqual(member.events, range(1, 7)))
      })),
    limit
  )

  it.live(
    "leave those in who have joined, and nobody else, where Redis is started anew meanwhile",
    () =>
      quiet(Effect.gen(function*() {
        const { nodes, server } = yield* setup(2)
        const group = address("room", { presence: true, history })
        const inside = new Set<string>()
        const state = { isOver: false }
        let number = 0
        const joining = yield* Effect.forkChild(
          Effect.forEach(range(0, 7), (i) =>
            Effect.gen(function*() {
              while (!state.isOver) {
                const member = new Recorder(`m${++number}`)
                const exit = yield* Effect.exit(nodes[i % 2]!.layer.add(group, member, undefined))
                if (Exit.isSuccess(exit)) {
                  assert.include(ids(exit.value.present), member.id)
                  if (number % 3 === 0) yield* nodes[i % 2]!.layer.remove(group, member)
                  else inside.add(member.id)
                }
                yield* Effect.sleep(3)
              }
            }), { concurrency: "unbounded", discard: true }),
          { startImmediately: true }
        )
        for (const _ of range(1, 3)) {
          yield* Effect.sleep(80)
          yield* Effect.promise(() => server.kill())
          yield* Effect.promise(() => server.start())
          yield* Effect.all(nodes.map(({ layer }) => until(layer.count(group))))
        }
        state.isOver = true
        yield* Fiber.join(joining)
        for (const { layer } of nodes) {
          yield* untilIs(layer.count(group), inside.size)
          yield* untilIs(Effect.map(layer.present(group), ids), [...inside].sort())
        }
      })),
    limit
  )
})

describe("the parts", () => {
  const session = () => {
    const channels: Array<string> = []
    return {
      channels,
      subscribe: (channel: string) => {
        channels.push(channel)
        return Promise.resolve()
      }
    } as unknown as Session & { readonly channels: Array<string> }
  }

  it("listen anew with every session, also after one that has not come about", async () => {
    const shards = new Shards("p", 4)
    shards.acquire(2)
    const [first, second] = [session(), session()]
    await shards.subscribe(first)
    await shards.subscribe(second)
    assert.deepStrictEqual([first.channels, second.channels], [["p:s:2"], ["p:s:2"]])
    await shards.ready(second, 2)
    assert.strictEqual(second.channels.length, 1)
  })

  it("do not take for known what was read before it", () => {
    const view = new View({ changed: () => {}, came: () => {}, went: () => {} })
    const answers: Array<unknown> = []
    view.beginSync()
    assert.isTrue(view.wait({ epoch: 1, number: 1 }, (present) => void answers.push(present)))
    // Nobody had ever come when it was read.
    assert.isFalse(view.install({ epoch: 0, number: 0 }, new Map(), false, 0, 0))
    assert.deepStrictEqual(answers, [])
    view.beginSync()
    const members = new Map([["m", { node: "n", data: "1" }]])
    assert.isTrue(view.install({ epoch: 1, number: 1 }, members, false, 0, 0))
    assert.deepStrictEqual(answers, [[{ id: "m", data: "1" }]])
  })

  it("take for gone at once who has said so while it was read, and nobody else who is missing", () => {
    const told: Array<string> = []
    const view = new View({
      changed: ({ left }) => told.push(...left.map(({ id }) => id)),
      came: () => {},
      went: () => {}
    })
    const who = { node: "n", data: "1" }
    const members = new Map([["stays", who], ["goes", who], ["is missing", who]])
    assert.isTrue(view.install({ epoch: 1, number: 3 }, members, false, 0, 1000))
    view.beginSync()
    // Of a numbering that is forgotten when it is read.
    view.apply({ node: "n", key: "k", position: { epoch: 1, number: 4 }, id: "goes", data: undefined })
    assert.isTrue(view.install({ epoch: 2, number: 1 }, new Map([["stays", who]]), false, 0, 1000))
    assert.deepStrictEqual(told, ["goes"])
    assert.strictEqual(view.recheckAt, 1000)
  })

  it("make a view anew where more has come than is kept", () => {
    const view = new View({ changed: () => {}, came: () => {}, went: () => {} })
    const change = (number: number) => ({
      node: "n",
      key: "k",
      position: { epoch: 1, number },
      id: `m${number}`,
      data: "null"
    })
    for (const number of range(1, 10_005)) view.apply(change(number))
    assert.isFalse(view.install({ epoch: 1, number: 0 }, new Map(), false, 0, 0))
    view.loseStep()
    const all = new Map(range(1, 10_005).map((number) => [`m${number}`, { node: "n", data: "null" }]))
    assert.isTrue(view.install({ epoch: 1, number: 10_005 }, all, false, 0, 0))
    assert.strictEqual(view.present.length, 10_005)
  })

  it("give nothing of a history to who was taken out while it was read", () => {
    const member = new Recorder()
    const envelope = { type: "said", data: "1", status: 200 }
    const arrived = [{ position: { epoch: 1, number: 4 }, message: message(1, envelope) }]
    const entry: Entry = { member, isIn: true, arrived, last: undefined, isTold: false }
    const group: Group = {
      address: address("room", { history }),
      shard: 0,
      entries: new Map(),
      view: undefined,
      joining: 1,
      arrived: undefined,
      cuts: 0
    }
    const link = { use: () => Effect.succeed(["1-3", "fresh"]) }
    const node = { groups: new Map(), keys: new Keys("p", 1000), link } as unknown as Node
    assert.strictEqual(Effect.runSync(new Histories(node).resume(group, entry, undefined)).position, "1-3")
    assert.deepStrictEqual(member.events, [])
  })

  it("read a history once more where more has come than is kept", async () => {
    const member = new Recorder()
    const entry: Entry = { member, isIn: true, arrived: undefined, last: { epoch: 1, number: 0 }, isTold: false }
    const group: Group = {
      address: address("room", { history }),
      shard: 0,
      entries: new Map([[member, entry]]),
      view: undefined,
      joining: 0,
      arrived: [],
      cuts: 0
    }
    const node = { groups: new Map([[group.address.key, group]]), keys: new Keys("p", 1000) } as unknown as Node
    const histories = new Histories(node)
    const publish = (number: number) =>
      histories.receive({ epoch: 1, number }, {
        key: group.address.key,
        envelope: { type: "said", data: String(number), status: 200 }
      })
    let last = 5
    const replies = {
      eval: async (_: unknown, __: unknown, [, from]: ReadonlyArray<number>) => {
        const at = last
        // More than is kept comes in between.
        while (last < 20_000) publish(++last)
        return [
          `1-${at}`,
          ...range(from! + 1, at).flatMap((
            n
          ) => [`1-${n}`, `${JSON.stringify([group.address.key, "said", 200])}\n${n}`])
        ]
      }
    } as unknown as Session
    await histories.catchUp(replies, group)
    publish(20_001)
    assert.deepStrictEqual(member.events, range(1, 20_001))
  })
})
