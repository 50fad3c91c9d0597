import { Transport } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Socket from "effect/socket/Socket"
import { settle, soon } from "./support/connection.ts"
import { fromSocket, makeSocketPair, memory, transportSuite } from "./support/transports.ts"

transportSuite("makeMemory", memory)

transportSuite("fromSocket", fromSocket)

describe("SharedFrame", () => {
  it("encodes its text once for each kind of transport", () => {
    const frame = new Transport.SharedFrame("text")
    const encodings: Array<string> = []
    const encode = (kind: string, value: unknown) =>
      frame.encoded(kind, (text) => {
        encodings.push(`${kind} ${text}`)
        return value
      })
    assert.strictEqual(encode("a", 1), 1)
    assert.strictEqual(encode("a", 2), 1)
    assert.isUndefined(encode("b", undefined))
    assert.isUndefined(encode("b", 3))
    assert.strictEqual(encode("constructor", 4), 4)
    assert.deepStrictEqual(encodings, ["a text", "b text", "constructor text"])
    assert.strictEqual(frame.content, "text")
  })
})

describe("makeMemory", () => {
  it.effect("gives what was sent in one batch as one", () =>
    Effect.gen(function*() {
      const [transport, peer] = yield* Transport.makeMemory
      const batches: Array<ReadonlyArray<unknown>> = []
      yield* peer.send("a")
      yield* peer.send("b", "c")
      yield* Effect.forkScoped(transport.run((frames) => batches.push(frames)), { startImmediately: true })
      yield* peer.send("d", "e")
      yield* peer.send("f")
      transport.pause()
      yield* peer.send("g")
      yield* peer.send("h")
      transport.resume()
      assert.deepStrictEqual(batches, [["a", "b", "c"], ["d", "e"], ["f"], ["g", "h"]])
    }))

  it.effect("counts what the client has not taken", () =>
    Effect.gen(function*() {
      const [transport, peer] = yield* Transport.makeMemory
      transport.send("four")
      transport.send(new Transport.SharedFrame("seven77"))
      assert.strictEqual(transport.unsent(), 11)
      assert.isTrue(Option.isNone(yield* soon(transport.drained)))
      yield* peer.take
      assert.strictEqual(transport.unsent(), 7)
      assert.isTrue(Option.isNone(yield* soon(transport.drained)))
      yield* peer.take
      assert.strictEqual(transport.unsent(), 0)
      yield* transport.drained
    }))
})

describe("fromSocket", () => {
  const start = Effect.gen(function*() {
    const pair = yield* makeSocketPair
    const transport = yield* Transport.fromSocket(pair.socket)
    const frames: Array<string | Uint8Array> = []
    const fiber = yield* Effect.forkScoped(transport.run((batch) => frames.push(...batch)), { startImmediately: true })
    return { ...pair, transport, fiber, frames }
  })

  it.effect("ends when it can write no more: no reply is lost silently", () =>
    Effect.gen(function*() {
      const { breakWrites, fiber, transport } = yield* start
      yield* breakWrites
      transport.send("lost")
      assert.strictEqual((yield* Effect.map(soon(Fiber.join(fiber)), Option.getOrThrow)).code, 1006)
      yield* transport.drained
    }))

  it.effect("notices that the client has gone while it is paused", () =>
    Effect.gen(function*() {
      for (const sent of [["a"], ["a", "b"]]) {
        const { peer, socket } = yield* makeSocketPair
        const transport = yield* Transport.fromSocket(socket)
        const fiber = yield* Effect.forkScoped(transport.run(() => transport.pause()), { startImmediately: true })
        for (const frame of sent) {
          yield* peer.send(frame)
          yield* settle
        }
        yield* peer.close(4001, "bye")
        assert.deepStrictEqual(yield* soon(Fiber.join(fiber)), Option.some({ code: 4001, reason: "bye" }))
      }
    }))

  it.effect("leaves the rest with the socket while it is paused", () =>
    Effect.gen(function*() {
      const { frames, peer, transport, unread } = yield* start
      transport.pause()
      for (let i = 0; i < 10; i++) {
        yield* peer.send(String(i))
        yield* settle
      }
      assert.isAtLeast(yield* unread, 7)
      transport.resume()
      yield* settle
      assert.deepStrictEqual(frames.join(""), "0123456789")
    }))

  it.effect("gives batch after batch to a server that pauses after each", () =>
    Effect.gen(function*() {
      const { peer, socket } = yield* makeSocketPair
      const transport = yield* Transport.fromSocket(socket)
      const batches: Array<ReadonlyArray<unknown>> = []
      yield* Effect.forkScoped(
        transport.run((batch) => {
          batches.push(batch)
          transport.pause()
        }),
        { startImmediately: true }
      )
      for (let i = 0; i < 5; i++) {
        yield* peer.send(i.toString())
        yield* settle
      }
      for (let count = 1; count <= 3; count++) {
        assert.strictEqual(batches.length, count)
        transport.resume()
        yield* settle
      }
      for (let i = 0; i < 3; i++) {
        transport.resume()
        yield* settle
      }
      assert.deepStrictEqual(batches.flat(), ["0", "1", "2", "3", "4"])
    }))

  it.effect("gives nothing to the server while it is paused, not even what it was about to read", () =>
    Effect.gen(function*() {
      const { frames, peer, transport } = yield* start
      transport.pause()
      yield* peer.send("a")
      yield* settle
      assert.deepStrictEqual(frames, [])
      transport.resume()
      yield* settle
      assert.deepStrictEqual(frames, ["a"])
    }))

  it.effect("ends with 1006 when the socket cannot be opened or read", () =>
    Effect.gen(function*() {
      const { socket } = yield* makeSocketPair
      const readError = new Socket.SocketError({ reason: new Socket.SocketReadError({ cause: new Error("reset") }) })
      const unreadable = Socket.make({
        writer: socket.writer,
        reader: Effect.succeed({ pull: Effect.fail(readError), upgrade: Socket.SocketUpgradeError.unsupported })
      })
      const unopened = Socket.make({ writer: socket.writer, reader: Effect.fail(readError) })
      for (const socket of [unreadable, unopened]) {
        const transport = yield* Transport.fromSocket(socket)
        assert.deepStrictEqual(yield* transport.run(() => {}), { code: 1006, reason: readError.message })
        transport.send("late")
        assert.strictEqual(transport.unsent(), 0)
      }
    }))

  it.effect("writes one after the other, and counts what the socket has not accepted", () =>
    Effect.gen(function*() {
      const { socket } = yield* makeSocketPair
      const writes: Array<unknown> = []
      const permits = yield* Queue.unbounded<void>()
      const slow = Socket.make({
        reader: socket.reader,
        writer: Effect.succeed({
          write: (chunk) => Effect.andThen(Queue.take(permits), Effect.sync(() => void writes.push(chunk))),
          writeAll: () => Effect.die("not in use")
        })
      })
      const transport = yield* Transport.fromSocket(slow)
      yield* Effect.forkScoped(transport.run(() => {}), { startImmediately: true })
      for (const text of ["1", "22", "333"]) transport.send(text)
      yield* settle
      assert.strictEqual(transport.unsent(), 6)
      for (const left of [5, 3, 0]) {
        yield* Queue.offer(permits, undefined)
        yield* settle
        assert.strictEqual(transport.unsent(), left)
      }
      assert.deepStrictEqual(writes, ["1", "22", "333"])
      yield* transport.drained
    }))
})
