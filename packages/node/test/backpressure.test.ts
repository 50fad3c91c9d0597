import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { randomBytes } from "node:crypto"
import type { Socket } from "node:net"
import { WebSocket } from "ws"
import * as Client from "./support/client.ts"
import * as Server from "./support/server.ts"

const megabyte = 1024 * 1024
const times = 60_000

const request = (id: number) => ({ action: "repeat", data: { text: "x", times }, request_id: id })

/** Runs a server, and gives the server's ends of its connections as they come. */
const startWatched = Effect.fnUntraced(function*(options?: Parameters<typeof Server.startOpen>[0]) {
  const running = yield* Server.startOpen(options)
  const sockets: Array<Socket> = []
  running.server.on("connection", (socket) => sockets.push(socket))
  return { ...running, sockets }
})

/** The number of replies when the server has stopped for want of room: it does nothing any more, with the rest unanswered. */
const stalled = (socket: Socket, echoes: () => number) =>
  Effect.gen(function*() {
    let last = -1
    for (let same = 0; same < 10;) {
      yield* Effect.sleep(10)
      same = echoes() === last && socket.writableNeedDrain ? same + 1 : 0
      last = echoes()
    }
    return last
  })

describe("a client that does not read", () => {
  it.live(
    "is not read either, while others are served; then gets every reply once and in order",
    () =>
      Effect.gen(function*() {
        const count = 1000
        const { echoes, port, sockets } = yield* startWatched({ maxUnsent: megabyte, maxInFlight: 10_000 })
        const client = yield* Client.open(port)
        const other = yield* Client.open(port)
        yield* client.stall
        for (let i = 0; i < count; i += 10) {
          yield* client.send(...Array.from({ length: 10 }, (_, j) => request(i + j)))
        }
        const answered = yield* stalled(sockets[0]!, echoes)
        assert.isBelow(answered, count)
        assert.isAtMost(sockets[0]!.writableLength, megabyte + 2 * (times + 200))
        for (let i = 0; i < 20; i++) {
          assert.strictEqual((yield* other.ask({ action: "echo", data: `${i}` })).data, `${i}`)
        }
        assert.strictEqual(echoes(), answered + 20)
        yield* client.flow
        const replies = yield* client.takeAll(count)
        assert.deepStrictEqual(replies.map(({ request_id }) => request_id), Array.from({ length: count }, (_, i) => i))
        assert.isTrue(replies.every(({ data }) => (data as string).length === times))
        assert.strictEqual((yield* client.ask({ action: "echo", data: "after" })).data, "after")
      }),
    30_000
  )

  it.live("and goes away leaves nothing behind", () =>
    Effect.gen(function*() {
      const { echoes, port, sockets } = yield* startWatched({
        maxUnsent: 100_000,
        maxInFlight: 1000,
        maxConnections: 1
      })
      for (const how of ["drop", "reset"] as const) {
        const before = echoes()
        const client = yield* Effect.eventually(Client.open(port))
        yield* client.stall
        yield* client.send(...Array.from({ length: 600 }, (_, i) => request(i)))
        const answered = yield* stalled(sockets.at(-1)!, echoes)
        assert.isBelow(answered - before, 600)
        yield* client[how]
        yield* Server.until(() => sockets.at(-1)!.destroyed)
        assert.strictEqual(echoes(), answered)
      }
      assert.strictEqual(
        (yield* (yield* Effect.eventually(Client.open(port))).ask({ action: "echo", data: "a" })).data,
        "a"
      )
    }), 30_000)

  it.live("is read on, time after time", () =>
    Effect.gen(function*() {
      const { echoes, port, sockets } = yield* startWatched({ maxUnsent: 1, maxInFlight: 10_000 })
      const client = yield* Client.open(port)
      for (let round = 0; round < 3; round++) {
        const before = echoes()
        yield* client.stall
        yield* client.send(...Array.from({ length: 800 }, (_, i) => request(i)))
        const answered = yield* stalled(sockets[0]!, echoes)
        assert.isBelow(answered - before, 800)
        assert.isAtMost(sockets[0]!.writableLength, 2 * (times + 200))
        yield* client.flow
        const ids = (yield* client.takeAll(800)).map(({ request_id }) => request_id)
        assert.deepStrictEqual(ids, Array.from({ length: 800 }, (_, i) => i))
      }
    }), 30_000)

  it.live("is held up with compression as well", () =>
    Effect.gen(function*() {
      const { echoes, port, sockets } = yield* startWatched({
        compression: true,
        maxUnsent: megabyte,
        maxInFlight: 10_000,
        maxFrame: megabyte
      })
      const ws = new WebSocket(`ws://127.0.0.1:${port}/ws/`, { perMessageDeflate: { threshold: 0 } })
      yield* Effect.addFinalizer(() => Effect.sync(() => ws.terminate()))
      yield* Effect.callback<void>((resume) => void ws.once("open", () => resume(Effect.void)))
      const replies: Array<number> = []
      ws.on("message", (bytes: Buffer) => replies.push(JSON.parse(bytes.toString()).request_id))
      ws.pause()
      const count = 400
      // Noise, so that compressed it is hardly shorter.
      const text = randomBytes(45_000).toString("base64")
      for (let id = 0; id < count; id++) {
        ws.send(JSON.stringify({ action: "echo", data: text, request_id: id }))
      }
      const answered = yield* stalled(sockets[0]!, echoes)
      assert.isBelow(answered, count)
      ws.resume()
      yield* Server.until(() => replies.length === count)
      assert.deepStrictEqual(replies, Array.from({ length: count }, (_, i) => i))
    }), 30_000)
})
