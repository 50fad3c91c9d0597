import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { WebSocket } from "ws"
import * as Client from "./support/client.ts"
import { closeFrame, frameOf, opcode } from "./support/frames.ts"
import * as Server from "./support/server.ts"

const echo = (data: string, id?: number) => JSON.stringify({ action: "echo", data, request_id: id })

/** A request of so many bytes. */
const requestOf = (bytes: number) => {
  const empty = echo("")
  return echo("x".repeat(bytes - empty.length))
}

/** A connection to a server of its own. */
const connect = (options?: Parameters<typeof Server.startOpen>[0], client?: Client.Options) =>
  Effect.flatMap(Server.startOpen(options), ({ port }) => Client.open(port, "/ws/", client))

describe("messages", () => {
  it.live("have at most 64 KiB", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const client = yield* Client.open(port)
      assert.strictEqual((yield* client.ask(requestOf(64 * 1024))).status, 200)
      yield* client.send(requestOf(64 * 1024 + 1))
      assert.strictEqual((yield* client.closed).code, 1009)
      yield* client.ended
    }))

  it.live("have at most as many bytes as the server is told, in however many fragments", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen({ maxFrame: 100 })
      const text = requestOf(100)
      const client = yield* Client.open(port)
      assert.strictEqual((yield* client.ask(text)).status, 200)
      yield* client.write(frameOf(text.slice(0, 60), { fin: false }), frameOf(text.slice(60), { opcode: 0 }))
      assert.strictEqual((yield* client.take).status, 200)
      yield* client.write(frameOf(text.slice(0, 60), { fin: false }), frameOf(`${text.slice(60)} `, { opcode: 0 }))
      assert.strictEqual((yield* client.closed).code, 1009)
      const other = yield* Client.open(port)
      // The length alone tells.
      yield* other.write(Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]))
      assert.strictEqual((yield* other.closed).code, 1009)
      // 101 bytes, in fewer characters.
      const wide = yield* Client.open(port)
      yield* wide.send(`${text.slice(0, 95)}é€`.padEnd(98, "€"))
      assert.strictEqual((yield* wide.closed).code, 1009)
    }))

  it.live("come in fragments, with control frames between them", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const bytes = Buffer.from(echo("ü€😀", 1))
      const pieces = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1))
      for (const [i, piece] of pieces.entries()) {
        yield* client.write(frameOf(piece, { fin: i === pieces.length - 1, opcode: i === 0 ? 1 : 0 }))
        if (i % 10 === 5) yield* client.roundTrip
      }
      assert.deepStrictEqual((yield* client.take).data, "ü€😀")
    }))

  it.live("come byte by byte", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      for (const byte of frameOf(echo("slow"))) {
        yield* Effect.callback<void>((resume) =>
          void client.socket.write(Buffer.from([byte]), () => setImmediate(() => resume(Effect.void)))
        )
      }
      assert.strictEqual((yield* client.take).data, "slow")
    }))

  const violations: ReadonlyArray<readonly [what: string, bytes: Buffer, code: number]> = [
    ["invalid UTF-8", frameOf(Buffer.from([0x22, 0xc3, 0x28, 0x22]), { opcode: opcode.text }), 1007],
    ["a surrogate in UTF-8", frameOf(Buffer.from([0xed, 0xa0, 0x80]), { opcode: opcode.text }), 1007],
    ["an unmasked frame", frameOf(echo("a"), { isMasked: false }), 1002],
    ["a reserved opcode", frameOf(echo("a"), { opcode: 3 }), 1002],
    ["a reserved control opcode", frameOf("", { opcode: 0xb }), 1002],
    ["a reserved bit", frameOf(echo("a"), { rsv: 4 }), 1002],
    ["another reserved bit", frameOf(echo("a"), { rsv: 2 }), 1002],
    ["a continuation of nothing", frameOf(echo("a"), { opcode: 0 }), 1002],
    ["a message within a message", Buffer.concat([frameOf("a", { fin: false }), frameOf("b")]), 1002],
    ["a fragmented ping", frameOf("", { opcode: opcode.ping, fin: false }), 1002],
    ["a ping that is too long", frameOf(Buffer.alloc(126), { opcode: opcode.ping }), 1002],
    ["a close frame with half a code", frameOf(Buffer.from([3]), { opcode: opcode.close }), 1002],
    ["a close code that is never sent", closeFrame(1006), 1002]
  ]
  for (const [what, bytes, code] of violations) {
    it.live(`end the connection with ${code} for ${what}`, () =>
      Effect.gen(function*() {
        const { port } = yield* Server.startOpen()
        const client = yield* Client.open(port)
        const other = yield* Client.open(port)
        yield* client.write(bytes)
        assert.strictEqual((yield* client.closed).code, code)
        yield* client.ended
        assert.strictEqual((yield* other.ask(echo("b"))).data, "b")
      }))
  }

  it.live("are answered with 400 when they are binary, and the connection goes on", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* client.send(Buffer.from(echo("a")), new Uint8Array(), Buffer.from([0xff, 0]), echo("b"))
      const replies = yield* client.takeAll(4)
      assert.deepStrictEqual(replies.map(({ status }) => status), [400, 400, 400, 200])
      assert.strictEqual((yield* client.ask("no JSON")).status, 400)
      assert.strictEqual((yield* client.ask("")).status, 400)
    }))

  it.live("go on after pings and pongs, which are answered or passed over", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* client.write(frameOf("unasked", { opcode: opcode.pong }), frameOf("", { opcode: opcode.ping }))
      yield* client.roundTrip
      const pongs = client.frames.map(({ opcode: kind, payload }) => [kind, payload.toString()])
      assert.deepStrictEqual(pongs, [[opcode.pong, ""], [opcode.pong, "round trip 1"]])
      assert.strictEqual((yield* client.ask(echo("a"))).data, "a")
    }))

  it.live("are answered in frames of every length", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const overhead =
        (yield* Effect.andThen(client.send({ action: "repeat", data: { text: "", times: 1 } }), client.takeText)).length
      for (const text of ["a", "é", "€", "😀"]) {
        const size = Buffer.byteLength(text)
        for (const bytes of [125, 126, 127, 65535, 65536, 200_000]) {
          const times = Math.floor((bytes - overhead) / size)
          const rest = "x".repeat(bytes - overhead - times * size)
          if (times < 1) continue
          yield* client.send({ action: "repeat", data: { text, times } }, {
            action: "repeat",
            data: { text, times: 1 }
          })
          const reply = yield* client.take
          assert.strictEqual(reply.data, text.repeat(times))
          assert.strictEqual((yield* client.take).data, text)
          const frame = client.frames.at(-2)!
          assert.strictEqual(frame.payload.length, bytes - rest.length)
        }
      }
      assert.isTrue(client.frames.every(({ fin, isMasked, rsv }) => fin && !isMasked && rsv === 0))
    }))

  it.live("are answered with payloads of every length, which ws reads as well", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      for (const perMessageDeflate of [true, false]) {
        const lengths = [125, 126, 65535, 65536, 200_000]
        const replies = yield* conversation(
          port,
          { perMessageDeflate },
          lengths.map((times) => ({ action: "repeat", data: { text: "ü", times } }))
        )
        assert.deepStrictEqual(replies, lengths.map((times) => "ü".repeat(times)))
      }
    }))

  it.live("of one packet are answered in order, with what waits and what does not among them", () =>
    Effect.gen(function*() {
      const { permits, port } = yield* Server.startOpen({ maxInFlight: 1000 })
      const client = yield* Client.open(port)
      const ids = Array.from({ length: 300 }, (_, id) => id)
      yield* Server.permit(permits, 100)
      yield* client.send(
        ...ids.map((id) => ({ action: id % 3 === 0 ? "hold" : "echo", data: `${id}`, request_id: id }))
      )
      const replies = yield* client.takeAll(300)
      assert.deepStrictEqual(replies.map(({ request_id }) => request_id), ids)
      assert.deepStrictEqual(replies.map(({ data }) => data), ids.map(String))
    }))

  it.live("of which only a part has come are forgotten with their connection", () =>
    Server.withLogs((logs) =>
      Effect.gen(function*() {
        const { echoes, port } = yield* Server.startOpen()
        const whole = frameOf(echo("a"))
        for (const length of [1, 2, 5, whole.length - 1]) {
          const client = yield* Client.open(port)
          yield* client.write(whole.subarray(0, length))
          yield* client.drop
          yield* client.ended
        }
        yield* Server.until(() => logs.filter(({ message }) => message.startsWith("The connection ended")).length === 4)
        assert.strictEqual(echoes(), 0)
        assert.strictEqual((yield* (yield* Client.open(port)).ask(echo("a"))).data, "a")
      })
    ))

  it.live("that came with a close frame are answered before it, or not at all", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* client.write(frameOf(echo("a")), closeFrame(1000))
      assert.deepStrictEqual(yield* client.closed, { code: 1000, reason: "" })
      yield* client.ended
      assert.strictEqual(client.frames.at(-1)!.opcode, opcode.close)
    }))
})

/** Sends requests with a client of ws, and gives the data of the replies. */
const conversation = (port: number, options: object, requests: ReadonlyArray<unknown>) =>
  Effect.callback<ReadonlyArray<unknown>>((resume) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/ws/`, options)
    const replies: Array<unknown> = []
    ws.on("open", () => {
      for (const request of requests) ws.send(JSON.stringify(request))
    })
    ws.on("message", (bytes: Buffer) => {
      if (replies.push(JSON.parse(bytes.toString()).data) === requests.length) resume(Effect.succeed(replies))
    })
    ws.on("error", (error) => resume(Effect.die(error)))
    return Effect.sync(() => ws.terminate())
  })

describe("compression", () => {
  it.live("is used with clients that can, and not with others", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen({ compression: true })
      const requests = [
        { action: "echo", data: "short ü" },
        { action: "repeat", data: { text: "😀", times: 60_000 } },
        ...Array.from({ length: 50 }, (_, i) => ({ action: "echo", data: `${i}` }))
      ]
      const expected = ["short ü", "😀".repeat(60_000), ...Array.from({ length: 50 }, (_, i) => `${i}`)]
      for (const perMessageDeflate of [{ threshold: 0 }, true, false]) {
        assert.deepStrictEqual(yield* conversation(port, { perMessageDeflate }, requests), expected)
      }
      const offers = { "Sec-WebSocket-Extensions": "permessage-deflate" }
      const able = yield* Client.open(port, "/ws/", { headers: offers })
      assert.match(able.headers["sec-websocket-extensions"]!, /^permessage-deflate/)
      yield* able.send({ action: "repeat", data: { text: "a", times: 100_000 } })
      yield* Server.until(() => able.frames.length === 1)
      assert.strictEqual(able.frames[0]!.rsv, 4)
      assert.isBelow(able.frames[0]!.payload.length, 10_000)
      const unable = yield* Client.open(port)
      assert.isUndefined(unable.headers["sec-websocket-extensions"])
      assert.strictEqual((yield* unable.ask(echo("a"))).data, "a")
      const off = yield* Server.startOpen()
      const declined = yield* Client.open(off.port, "/ws/", { headers: offers })
      assert.isUndefined(declined.headers["sec-websocket-extensions"])
    }))

  it.live("does not let more than the limit through", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen({ compression: true, maxFrame: 1000 })
      const code = yield* Effect.callback<number>((resume) => {
        const ws = new WebSocket(`ws://127.0.0.1:${port}/ws/`, { perMessageDeflate: { threshold: 0 } })
        ws.on("open", () => ws.send(echo("a".repeat(100_000))))
        ws.on("close", (code) => resume(Effect.succeed(code)))
        ws.on("error", () => {})
        return Effect.sync(() => ws.terminate())
      })
      assert.strictEqual(code, 1009)
    }))
})
