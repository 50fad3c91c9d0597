import { ChannelLayer } from "@effect-channels/core"
import { RedisChannels } from "@effect-channels/redis"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import {
  address,
  channelLayerSuite,
  eventually,
  message,
  Recorder,
  unique
} from "../../core/test/support/channel-layers.ts"
import { admin, fails, makeNode, quiet, until, untilIs } from "./support/nodes.ts"
import { freePort, RedisServer, redisServer, skipped } from "./support/server.ts"

const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)
const limit = { timeout: 60_000 }
const history = { count: 100, age: 60_000 }

describe("the options", () => {
  it("are refused where they are wrong", () => {
    const wrong: ReadonlyArray<readonly [RedisChannels.Options, RegExp]> = [
      [{ prefix: "" }, /prefix/],
      [{ shards: 0 }, /shards.*not 0/],
      [{ shards: 1.5 }, /shards/],
      [{ shards: 5000 }, /shards/],
      [{ heartbeat: 0 }, /heartbeat/],
      [{ heartbeat: "Infinity" as never }, /./],
      [{ commandTimeout: 0 }, /commandTimeout/],
      [{ nodeTimeout: "1500 millis" }, /twice the heartbeat/],
      [{ whenDown: { buffer: 0 } }, /buffer/],
      [{ whenDown: { buffer: Infinity } }, /buffer/]
    ]
    for (const [options, expected] of wrong) assert.throws(() => RedisChannels.layer(options), expected)
  })
})

describe.skipIf(skipped !== undefined)("channels over Redis", () => {
  let server: RedisServer
  beforeAll(async () => {
    server = new RedisServer(await Effect.runPromise(freePort))
    await server.start()
  })
  afterAll(() => server.dispose())

  channelLayerSuite("over Redis", {
    nodes: (count) =>
      Effect.suspend(() => Effect.all(Array.from({ length: count }, () => makeNode({ url: server.url })))).pipe(
        Effect.map((nodes) => nodes.map(({ layer }) => layer))
      ),
    isRemote: true
  })

  describe("the start", () => {
    const start = (options: RedisChannels.Options) => Effect.flip(Effect.scoped(makeNode(options)))

    it.live("fails where there is no Redis, and says so without secrets", () =>
      Effect.gen(function*() {
        const port = yield* freePort
        const error = yield* start({ url: Redacted.make(`redis://me:secret@127.0.0.1:${port}/0`) })
        assert.instanceOf(error, RedisChannels.StartError)
        assert.include(error.message, `redis://127.0.0.1:${port}/0`)
        assert.include(error.message, "ECONNREFUSED")
        assert.notInclude(error.message, "secret")
        assert.notInclude(JSON.stringify(error), "secret")
      }))

    it.live("fails where Redis does not answer", () =>
      Effect.gen(function*() {
        const own = yield* redisServer
        own.stop()
        const since = performance.now()
        const error = yield* start({ url: own.url, commandTimeout: 300 })
        assert.include(error.message, "300 ms")
        assert.isBelow(performance.now() - since, 3000)
        own.continue()
      }), limit)

    it.live("fails where Redis does not let us in", () =>
      Effect.gen(function*() {
        const own = yield* redisServer
        const send = yield* admin(own.url)
        yield* send("CONFIG", "SET", "requirepass", "secret")
        assert.include((yield* start({ url: own.url })).message, "NOAUTH")
        assert.include((yield* start({ url: own.url, client: { password: "wrong" } })).message, "WRONGPASS")
        yield* Effect.scoped(makeNode({ url: own.url, client: { password: "secret" } }))
      }), limit)

    it.live("fails where other servers have other settings", () =>
      Effect.gen(function*() {
        const prefix = unique("prefix")
        yield* makeNode({ url: server.url, prefix })
        const { message } = yield* start({ url: server.url, prefix, shards: 8 })
        assert.include(message, `"shards":8`)
        assert.include(message, `"shards":16`)
        yield* makeNode({ url: server.url, prefix })
      }), limit)

    it.live(
      "takes its options from the configuration",
      () =>
        Layer.build(RedisChannels.layerConfig(Config.all({ url: Config.Redacted("REDIS_URL") }))).pipe(
          Effect.provideService(
            ConfigProvider.ConfigProvider,
            ConfigProvider.fromUnknown({ REDIS_URL: server.url })
          )
        ),
      limit
    )
  })

  it.live(
    "uses two connections, listens to what it has groups in, and lets go of everything",
    () =>
      Effect.gen(function*() {
        const own = yield* redisServer
        const send = yield* admin(own.url)
        const clients = Effect.map(send("CLIENT", "LIST"), (list) => String(list).trim().split("\n").length - 1)
        const channels = Effect.map(
          send("PUBSUB", "CHANNELS", "*:s:*"),
          (list) => Array.isArray(list) ? list.length : -1
        )
        const times = { heartbeat: 50, nodeTimeout: 60_000 }
        const scope = yield* Scope.make()
        const a = yield* Scope.provide(makeNode({ url: own.url, ...times }), scope)
        const b = yield* makeNode({ url: own.url, ...times })
        const here = new Recorder("here")
        const watched = address("watched", { presence: true, history })
        yield* b.layer.add(watched, here, undefined)
        assert.strictEqual(yield* channels, 1)
        const groups = range(1, 300).map(() => address("room", { presence: true, history }))
        const member = new Recorder("gone")
        yield* Effect.forEach(groups, (group) => a.layer.add(group, member, undefined), {
          concurrency: 50,
          discard: true
        })
        yield* a.layer.add(watched, member, undefined)
        assert.strictEqual(yield* clients, 4)
        assert.strictEqual(yield* channels, 16)
        yield* eventually(() => assert.deepStrictEqual(here.changes, ["+gone"]))
        for (const group of groups.slice(0, 150)) yield* a.layer.remove(group, member)
        yield* Scope.close(scope, Exit.void)
        // It says that it stops: nobody has to wait for nodeTimeout.
        yield* eventually(() => assert.deepStrictEqual(here.changes, ["+gone", "-gone"]))
        yield* untilIs(clients, 2)
        assert.strictEqual(yield* b.layer.count(watched), 1)
        assert.strictEqual(yield* b.layer.count(groups[299]!), 0)
        assert.deepStrictEqual(yield* b.layer.present(groups[299]!), [])
        // Whoever still holds it is told, and nothing hangs.
        yield* fails(a.layer.send(watched, message(1)))
        yield* fails(a.layer.add(watched, member, undefined))
        yield* a.layer.remove(watched, member)
        assert.deepStrictEqual(yield* send("KEYS", "*:c:*"), [`effect-channels:c:${watched.key}`])
        // What is not used any more is not listened to.
        yield* b.layer.remove(watched, here)
        yield* untilIs(channels, 0)
        // All that is left goes by itself.
        for (const key of (yield* send("KEYS", "*")) as ReadonlyArray<string>) {
          const ttl = Number(yield* send("PTTL", key))
          assert.isAbove(ttl, 0, key)
          assert.isAtMost(ttl, 11 * 60_000 + history.age, key)
        }
      }),
    limit
  )

  it.live("keeps the keys of what is used", () =>
    Effect.gen(function*() {
      const own = yield* redisServer
      const send = yield* admin(own.url)
      const { layer } = yield* makeNode({ url: own.url, heartbeat: 20, nodeTimeout: 200 })
      const group = address("room", { presence: true, history })
      const member = new Recorder()
      yield* layer.add(group, member, undefined)
      const keys = [
        `effect-channels:c:${group.key}`,
        `effect-channels:p:${group.key}`,
        `effect-channels:l:${group.key}`,
        "effect-channels:nodes",
        "effect-channels:settings"
      ]
      for (const key of keys) assert.strictEqual(yield* send("PEXPIRE", key, "60000"), 1, key)
      for (const key of keys) {
        yield* until(Effect.flatMap(send("PTTL", key), (ttl) =>
          Number(ttl) > 100_000 ? Effect.void : Effect.fail(`${key} has ${Number(ttl)} ms`)))
      }
      // One that is gone is written anew.
      yield* send("DEL", ...keys.slice(0, 2))
      yield* untilIs(
        Effect.map(layer.present(group), (present) =>
          present.map(({ id }) => id)),
        [member.id]
      )
      yield* untilIs(send("HLEN", keys[0]!), 1)
    }), limit)

  it.live("takes nothing that is no message, whoever publishes it", () =>
    quiet(Effect.gen(function*() {
      const own = yield* redisServer
      const send = yield* admin(own.url)
      const a = yield* makeNode({ url: own.url, shards: 1 })
      const b = yield* makeNode({ url: own.url, shards: 1 })
      const group = address("room", { presence: true, history })
      const plain = address("plain")
      const [here, far] = [new Recorder("here"), new Recorder("far")]
      for (const its of [group, plain]) {
        yield* a.layer.add(its, here, undefined)
        yield* b.layer.add(its, far, undefined)
      }
      yield* eventually(() => assert.deepStrictEqual(here.changes, ["+far"]))
      const signals: Array<unknown> = []
      yield* a.layer.subscribe((signal) => void signals.push(signal))
      yield* a.authority.subscribe((target) => void signals.push(target))
      const head = JSON.stringify([plain.key, "said", 200])
      const garbage = [
        "",
        "\n",
        "x",
        "M",
        "M\n",
        "M x\n",
        "M x 1\n",
        "M x 1\n[]",
        "M x 1\n[]\nnull",
        `M x 0\n${head}\n1`,
        `M x -1\n${head}\n1`,
        `M x 1e3\n${head}\n1`,
        `M x 1 2\n${head}\n1`,
        `M x 1\n${head}\n`,
        `M x 1\n${head}\n{"a":`,
        `M x 1\n${head}\n1}{`,
        `M x 1\n{"__proto__":1}\n1`,
        `M x 1\n${JSON.stringify([plain.key, "said", "200"])}\n1`,
        `M x 1\n${JSON.stringify([plain.key, 1, 200])}\n1`,
        `M x 1\n${JSON.stringify([plain.key, "said", 200, 1])}\n1`,
        `H x\n${head}\n1`,
        `H 1-\n${head}\n1`,
        `H 99999999999999999-1\n${head}\n1`,
        `J x 1\n${JSON.stringify([group.key, "ghost"])}\nnull`,
        `J x 1-1\n${JSON.stringify([group.key, "ghost"])}\nnul`,
        `J x 1-1\n${JSON.stringify([group.key, 1])}\nnull`,
        "S x 1\n{}",
        `S x 1\n${JSON.stringify({ _tag: "Disconnect", consumer: "chat", target: {}, code: 1, reason: "" })}`,
        `S x 1\n${JSON.stringify({ _tag: "Event", consumer: "chat", target: { _tag: "Everyone" }, event: {} })}`,
        `A x 1\n{"_tag":"Connection"}`,
        `A x 1\nnull`,
        "B x\n",
        `\u0000${"x".repeat(100_000)}`
      ]
      for (const text of garbage) {
        yield* send("PUBLISH", "effect-channels:s:0", text)
        yield* send("PUBLISH", "effect-channels:control", text)
      }
      // What looks like a change of presence has them ask Redis, which knows better.
      yield* send("PUBLISH", "effect-channels:s:0", `J x 1-1\n${JSON.stringify([group.key, "ghost"])}\nnull`)
      yield* send("HSET", `effect-channels:p:${group.key}`, "nospace", "1", "dead ghost", "1", "dead other", "{")
      yield* a.layer.send(group, message("one"))
      yield* a.layer.send(plain, message("two"))
      for (const member of [here, far]) {
        yield* eventually(() => assert.sameMembers([...member.events], ["one", "two"]))
      }
      const late = new Recorder("late")
      const { present } = yield* b.layer.add(group, late, undefined)
      assert.sameMembers(present.map(({ id }) => id), ["far", "here", "late"])
      yield* eventually(() => assert.deepStrictEqual([here.changes, far.changes], [["+far", "+late"], ["+late"]]))
      assert.deepStrictEqual(signals, [])
      const snapshot = yield* Metric.snapshot
      const ignored = snapshot.find(({ attributes, id }) =>
        id === "effect_channels_redis_dropped_total" && attributes?.["why"] === "no_message"
      )
      // Both nodes have heard all of it.
      assert.deepInclude(ignored?.state, { count: 4 * garbage.length })
    })).pipe(Effect.provideService(Metric.MetricRegistry, new Map())), limit)

  it.live("does not end with what a listener throws", () =>
    quiet(Effect.gen(function*() {
      const [a, b] = [yield* makeNode({ url: server.url }), yield* makeNode({ url: server.url })]
      const group = address("room")
      const far = new Recorder()
      let throws = 0
      yield* b.layer.add(group, {
        id: unique("bad"),
        presence: undefined,
        receive: () => {
          throws++
          throw new Error("a defect")
        }
      }, undefined)
      yield* a.layer.send(group, message(1))
      yield* eventually(() => assert.strictEqual(throws, 1))
      yield* b.layer.add(address("other"), far, undefined)
      const other = address("other")
      yield* b.layer.add(other, far, undefined)
      yield* a.layer.send(other, message(2))
      yield* eventually(() => assert.deepStrictEqual(far.events, [2]))
    })), limit)

  it.live("keeps apart what has another prefix", () =>
    Effect.gen(function*() {
      const [a, b] = [
        yield* makeNode({ url: server.url, prefix: unique("one") }),
        yield* makeNode({ url: server.url, prefix: unique("two") })
      ]
      const group = address("room", { presence: true })
      const [here, far] = [new Recorder(), new Recorder()]
      yield* a.layer.add(group, here, undefined)
      yield* b.layer.add(group, far, undefined)
      assert.strictEqual(yield* a.layer.count(group), 1)
      yield* a.layer.send(group, message(1))
      yield* b.layer.send(group, message(2))
      assert.deepStrictEqual([here.events, far.events, here.changes], [[1], [2], []])
    }), limit)

  it.live("provides one layer to everybody it is given to", () =>
    Effect.gen(function*() {
      const layer = yield* ChannelLayer.ChannelLayer
      const group = address("room")
      const member = new Recorder()
      yield* layer.add(group, member, undefined)
      yield* layer.send(group, message(1))
      assert.deepStrictEqual(member.events, [1])
    }).pipe(Effect.provide(Layer.suspend(() => RedisChannels.layer({ url: server.url })))), limit)
})
