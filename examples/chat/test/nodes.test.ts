import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"
import type { Server } from "../../quickstart/test/support.ts"
import {
  enter,
  type Frame,
  freePort,
  hasRedis,
  knock,
  type Redis,
  skipsRedis,
  startRedis,
  startServer
} from "./support.ts"

const namesOf = (people: ReadonlyArray<{ readonly data: { readonly name: string } }>) =>
  people.map(({ data }) => data.name).sort()

let rooms = 0
const newRoom = () => `room-${++rooms}`

describe.skipIf(skipsRedis("two nodes over Redis"))("two nodes", { timeout: 60_000 }, () => {
  let redis: Redis
  let a: Server
  let b: Server

  beforeAll(async () => {
    redis = await startRedis()
    ;[a, b] = await Promise.all([startServer({ REDIS_URL: redis.url }), startServer({ REDIS_URL: redis.url })])
  }, 60_000)

  afterAll(async () => {
    await Promise.all([a?.stop(), b?.stop()])
    await redis?.stop()
  })

  it("are one chat: what is said on one is heard on the other, in the same order and at the same positions", async () => {
    const room = newRoom()
    const [alice, bob] = [await enter(a, "alice", { room }), await enter(b, "bob", { room })]
    await alice.ask("post", { text: "from a" })
    await bob.ask("post", { text: "from b" })
    const heard = async (guest: typeof alice): Promise<ReadonlyArray<unknown>> => {
      const frames = [await guest.next("posted"), await guest.next("posted")]
      return frames.map(({ data, id }) => [data.text, id])
    }
    const [here, there] = [await heard(alice), await heard(bob)]
    assert.deepStrictEqual(here, there)
    assert.deepStrictEqual(here.map((one) => (one as ReadonlyArray<unknown>)[0]), ["from a", "from b"])
    alice.tell("typing")
    assert.deepStrictEqual((await bob.next("typing")).data, { from: "alice" })
  })

  it("know who is on the other one", async () => {
    const room = newRoom()
    const alice = await enter(a, "alice", { room })
    const bob = await enter(b, "bob", { room })
    assert.deepStrictEqual(namesOf((await bob.next("$joined")).data.present), ["alice", "bob"])
    assert.deepStrictEqual(namesOf((await alice.next("$presence")).data.joined), ["bob"])
    bob.close()
    assert.deepStrictEqual(namesOf((await alice.next("$presence")).data.left), ["bob"])
  })

  it("go on for each other: what was missed on one is caught up on the other", async () => {
    const room = newRoom()
    const [alice, bob] = [await enter(a, "alice", { room }), await enter(b, "bob", { room })]
    await alice.ask("post", { text: "one" })
    const { id } = await bob.next("posted")
    bob.close()
    await bob.closed
    await alice.ask("post", { text: "two" })
    const again = await enter(a, "bob", { room, after: id! })
    const [joined, ...missed] = await again.until("$caught_up")
    assert.strictEqual(joined!.data.state, "resumed")
    assert.deepStrictEqual(missed.map(({ data, type }) => [type, data.text]), [["posted", "two"], [
      "$caught_up",
      undefined
    ]])
    // Who is new, and asks for it, gets the same on both.
    for (const node of [a, b]) {
      const kept = await (await enter(node, "dave", { room, after: "" })).until("$caught_up")
      assert.deepStrictEqual([kept[0]!.data.state, ...kept.slice(1, -1).map(({ data }) => data.text)], [
        "fresh",
        "one",
        "two"
      ])
    }
  })

  it("hold to a ban and a mute of the other one", async () => {
    const room = newRoom()
    const [carol, alice, mallory, frank] = [
      await enter(a, "carol", { room }),
      await enter(a, "alice", { room }),
      await enter(b, "mallory", { room }),
      await enter(b, "frank", { room })
    ]
    assert.strictEqual((await carol.ask("ban", { name: "mallory" })).status, 200)
    const left = await mallory.next("$left")
    assert.deepStrictEqual([left.status, left.data.errors[0].code], [403, "banned"])
    await alice.ask("post", { text: "at last" })
    assert.strictEqual((await frank.next("posted")).data.text, "at last")
    const { before, reply } = await mallory.hear("post", { text: "still here" })
    assert.deepStrictEqual([reply.status, before], [403, []])
    for (const node of [a, b]) assert.strictEqual(await knock(node, "mallory", room), 403)

    // The other connection of frank is on the other node.
    const elsewhere = await enter(a, "frank", { room })
    assert.strictEqual((await frank.ask("mute", { name: "alice" })).status, 200)
    await until(async () => (await elsewhere.ask("me")).data.muted.includes("alice"))
    await alice.ask("post", { text: "unheard" })
    await carol.ask("post", { text: "heard" })
    for (const guest of [frank, elsewhere]) assert.strictEqual((await guest.next("posted")).data.text, "heard")
  })

  it("count together", async () => {
    const room = newRoom()
    const guests = [await enter(a, "erin", { room }), await enter(b, "erin", { room })]
    const replies: Array<Frame> = []
    while (replies.at(-1)?.status !== 429) {
      replies.push(await guests[replies.length % 2]!.ask("post", { text: "once more" }))
    }
    assert.isAbove(replies.length, 10)
    // Each of them alone would have let ten of its own pass.
    assert.isBelow(replies.length, 20)
  })

  it("miss whoever was on one that was killed, within the bound that Redis has", async () => {
    const room = newRoom()
    const alice = await enter(a, "alice", { room })
    const bob = await enter(b, "bob", { room })
    await bob.next("$joined")
    await alice.next("$presence")
    const killedAt = performance.now()
    await b.stop("SIGKILL")
    assert.deepStrictEqual(namesOf((await alice.next("$presence")).data.left), ["bob"])
    // `nodeTimeout` + `heartbeat` of RedisChannels, and something for a slow machine.
    assert.isBelow(performance.now() - killedAt, 6000 + 2000)
    b = await startServer({ REDIS_URL: redis.url })
    assert.deepStrictEqual(namesOf((await (await enter(b, "bob", { room })).next("$joined")).data.present), [
      "alice",
      "bob"
    ])
  })
})

/** Waits until something is so, by asking. */
const until = async (isSo: () => Promise<boolean>) => {
  while (!(await isSo()));
}

describe.skipIf(skipsRedis("npm run chat:nodes"))("npm run chat:nodes", { timeout: 60_000 }, () => {
  const launch = async (env: Readonly<Record<string, string>>) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL("../nodes.ts", import.meta.url))], {
      env: { ...process.env, REDIS_URL: "", ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)))
    const ended = once(child, "close").then(() => child.exitCode)
    return { child, ended, output: () => output }
  }

  const answers = (port: number) => fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false)

  const ready = async ({ child, ended, output }: Awaited<ReturnType<typeof launch>>) => {
    const open = new Promise<void>((resolve) =>
      child.stdout.on("data", () => /Open .* and /.test(output()) && resolve())
    )
    await Promise.race([open, ended.then((code) => Promise.reject(new Error(`ended with ${code}: ${output()}`)))])
  }

  it("starts Redis and two nodes, and ends them all", async () => {
    assert.isTrue(hasRedis)
    const port = await freePort(2)
    const all = await launch({ PORT: String(port) })
    await ready(all)
    const [a, b] = [port, port + 1].map((port) => ({ port }) as Server)
    const bob = await enter(b!, "bob")
    const alice = await enter(a!, "alice")
    await alice.ask("post", { text: "hello" })
    assert.strictEqual((await bob.next("posted")).data.text, "hello")
    all.child.kill("SIGTERM")
    await all.ended
    assert.deepStrictEqual([await alice.closed, await bob.closed], [1012, 1012])
    const redisPort = Number(/redis:\/\/127\.0\.0\.1:(\d+)/.exec(all.output())?.[1])
    for (const one of [port, port + 1, redisPort]) assert.isFalse(await answers(one))
  })

  it("ends all of them where one cannot go on, and says which", async () => {
    const port = await freePort(2)
    const taken = createServer().listen(port + 1)
    await once(taken, "listening")
    const all = await launch({ PORT: String(port) })
    assert.strictEqual(await all.ended, 1)
    assert.include(all.output(), `:${port + 1} has ended with 1, and so do the others`)
    assert.isFalse(await answers(port))
    taken.close()
  })

  it("says what to do where there is no redis-server", async () => {
    const none = await launch({ PATH: "/nowhere" })
    assert.strictEqual(await none.ended, 1)
    assert.include(none.output(), "There is no redis-server on the PATH. Install it")
  })
})
