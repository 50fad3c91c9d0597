import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import { createServer } from "node:http"
import { connect, createServer as createTcp, type Socket } from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import { handshakeOf } from "./support/client.ts"
import { closeFrame, frameOf, opcode } from "./support/frames.ts"
import * as Proxy from "./support/proxy.ts"
import { portOf, until } from "./support/server.ts"

/** What one peer sees of a TCP connection. */
interface Seen {
  readonly socket: Socket
  readonly bytes: () => number
  /** How it ended, as far as it did. */
  readonly end: () => "open" | "FIN" | "RST"
}

const see = (socket: Socket): Seen => {
  let end: "open" | "FIN" | "RST" = "open"
  socket.on("end", () => {
    if (end === "open") end = "FIN"
  })
  socket.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "ECONNRESET" || error.code === "EPIPE") end = "RST"
  })
  return { socket, bytes: () => socket.bytesRead, end: () => end }
}

/** The server's side of a connection. */
interface Served extends Seen {
  ws: WebSocket | undefined
  readonly messages: Array<string>
  readonly controls: Array<string>
  code: number | undefined
}

/** A server that echoes messages, and tells what it sees. */
const startEcho = Effect.gen(function*() {
  const served: Array<Served> = []
  const server = createServer()
  const sockets = new WebSocketServer({ server, maxPayload: 64 * 1024 * 1024 })
  server.on("connection", (socket) => {
    served.push({ ...see(socket), ws: undefined, messages: [], controls: [], code: undefined })
  })
  sockets.on("connection", (ws, request) => {
    const mine = served.find(({ socket }) => socket === request.socket)!
    mine.ws = ws
    ws.on("error", () => {})
    ws.on("message", (data, isBinary) => {
      mine.messages.push(String(data))
      ws.send(data, { binary: isBinary })
    })
    ws.on("ping", (data) => mine.controls.push(`ping ${data}`))
    ws.on("pong", (data) => mine.controls.push(`pong ${data}`))
    ws.on("close", (code) => mine.code = code)
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.promise(async () => {
        for (const { socket } of served) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      })
  )
  return { port: portOf(server), served }
})

/** A `ws` client and what it sees. */
interface Peer {
  readonly ws: WebSocket
  readonly messages: ReadonlyArray<string>
  readonly errors: ReadonlyArray<string>
  readonly code: () => number | undefined
  readonly seen: () => Seen | undefined
  readonly opened: Effect.Effect<boolean>
  readonly closed: Effect.Effect<number>
}

const dial = (port: number): Effect.Effect<Peer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const ws = new WebSocket(`ws://127.0.0.1:${port}/`, { maxPayload: 64 * 1024 * 1024 })
      const messages: Array<string> = []
      const errors: Array<string> = []
      const opened = Deferred.makeUnsafe<boolean>()
      const closed = Deferred.makeUnsafe<number>()
      let seen: Seen | undefined
      let code: number | undefined
      ws.on("upgrade", ({ socket }) => seen = see(socket))
      ws.on("open", () => Deferred.doneUnsafe(opened, Effect.succeed(true)))
      ws.on("message", (data) => messages.push(String(data)))
      ws.on("error", (error) => errors.push((error as NodeJS.ErrnoException).code ?? error.message))
      ws.on("close", (how) => {
        code = how
        Deferred.doneUnsafe(opened, Effect.succeed(false))
        Deferred.doneUnsafe(closed, Effect.succeed(how))
      })
      return {
        ws,
        messages,
        errors,
        code: () => code,
        seen: () => seen,
        opened: Deferred.await(opened),
        closed: Deferred.await(closed)
      }
    }),
    ({ ws }) => Effect.sync(() => ws.terminate())
  )

/** Dials, and has to get through. */
const open = Effect.fnUntraced(function*(port: number) {
  const peer = yield* dial(port)
  assert.isTrue(yield* peer.opened, peer.errors.join())
  return peer
})

const startBoth = Effect.gen(function*() {
  const echo = yield* startEcho
  const proxy = yield* Proxy.make({ target: echo.port })
  return { ...echo, proxy }
})

/** Everything between two other peers has gone through what lies between them several times. */
const others = Effect.fnUntraced(function*(port: number) {
  const peer = yield* open(port)
  for (let i = 1; i <= 5; i++) {
    peer.ws.send(`${i}`)
    yield* until(() => peer.messages.length === i)
  }
  peer.ws.close()
  yield* peer.closed
})

/** A plan for the first connection; the others pass. */
const first = (plan: Proxy.Plan): Proxy.Planner => ({ index }) => index === 0 ? plan : {}

const isText = (frame: Proxy.Frame) => frame.opcode === opcode.text

const accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

/** A server that answers any handshake and then says what it is told, byte for byte. */
const startRaw = Effect.fnUntraced(function*(answer: string) {
  const sockets: Array<Socket> = []
  const received: Array<Buffer> = []
  const server = createTcp({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    let isOpen = false
    socket.on("error", () => {})
    socket.on("data", (bytes) => {
      received.push(bytes)
      if (!isOpen) socket.write(answer)
      isOpen = true
    })
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.promise(() => {
        for (const socket of sockets) socket.destroy()
        return new Promise((resolve) => server.close(resolve))
      })
  )
  const proxy = yield* Proxy.make({ target: (server.address() as { readonly port: number }).port })
  return { proxy, sockets, received: () => Buffer.concat(received) }
})

/** A client on a bare socket, and all it gets. */
const openRaw = Effect.fnUntraced(function*(port: number) {
  // One that is reset at once may never have seen that it was connected.
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => connect(port, "127.0.0.1").setNoDelay()),
    (socket) => Effect.sync(() => socket.destroy())
  )
  const received: Array<Buffer> = []
  socket.on("data", (bytes) => received.push(bytes))
  return { ...see(socket), received: () => Buffer.concat(received) }
})

/** Frames of all kinds and lengths, and a message in fragments with a ping in between. */
const conversation = (isMasked: boolean): ReadonlyArray<Buffer> => [
  ...[0, 1, 125, 126, 127, 65535, 65536, 200_000].map((length) => frameOf("€".repeat(length / 3), { isMasked })),
  frameOf(Buffer.from([0, 255, 13, 10, 13, 10]), { isMasked }),
  frameOf("one ", { isMasked, fin: false }),
  frameOf(Buffer.from("hello"), { isMasked, opcode: opcode.ping }),
  frameOf("two ", { isMasked, fin: false, opcode: opcode.continuation }),
  frameOf("three", { isMasked, opcode: opcode.continuation }),
  frameOf(Buffer.from("hello"), { isMasked, opcode: opcode.pong }),
  ...Array.from({ length: 300 }, (_, i) => frameOf(`${i}`, { isMasked })),
  isMasked ? closeFrame(4000, "bye") : frameOf(Buffer.from([0x0f, 0xa0]), { isMasked, opcode: opcode.close })
]

/** Ways to cut bytes into the pieces that are written. */
const cuts: ReadonlyArray<readonly [name: string, next: (i: number) => number]> = [
  ["one chunk", () => Infinity],
  ["chunks of prime lengths", (i) => [1, 2, 3, 7, 4099, 61, 1, 1, 30011][i % 9]!],
  ["chunks of 64 KiB", () => 65536]
]

describe("a proxy without a plan", () => {
  for (const [name, next] of cuts) {
    it.live(`passes frames of all kinds unchanged, and finds where each begins (${name})`, () =>
      Effect.gen(function*() {
        const { proxy, received, sockets } = yield* startRaw(accepted)
        const texts: Array<readonly [Proxy.Direction, string]> = []
        const places: Array<readonly [index: number, ordinal: number]> = []
        const look = (frame: Proxy.Frame): Proxy.Action => {
          texts.push([frame.direction, frame.text])
          places.push([frame.index, frame.ordinal])
          return "pass"
        }
        proxy.plan = () => ({ toServer: look, toClient: look })
        const client = yield* openRaw(proxy.port)
        const write = Effect.fnUntraced(function*(socket: Socket, bytes: Buffer) {
          for (let i = 0, at = 0; at < bytes.length; i++) {
            const piece = bytes.subarray(at, at + next(i))
            at += piece.length
            yield* Effect.callback<void>((resume) => void socket.write(piece, () => setImmediate(resume, Effect.void)))
          }
        })
        // The first frames come along with the handshake.
        const mine = conversation(true)
        const handshake = handshakeOf(proxy.port, "/")
        yield* write(client.socket, Buffer.concat([handshake, ...mine]))
        yield* until(() => received().length === handshake.length + Buffer.concat(mine).length)
        assert.isTrue(received().equals(Buffer.concat([handshake, ...mine])))

        const theirs = conversation(false)
        yield* write(sockets[0]!, Buffer.concat(theirs))
        yield* until(() => client.received().length === accepted.length + Buffer.concat(theirs).length)
        assert.isTrue(client.received().equals(Buffer.concat([Buffer.from(accepted), ...theirs])))

        const [connection] = proxy.connections
        assert.strictEqual(connection!.toServer.frames, mine.length)
        assert.strictEqual(connection!.toClient.frames, theirs.length)
        assert.strictEqual(connection!.toClient.bytes, client.received().length)
        const sent = texts.filter(([direction]) => direction === "toServer").map(([, text]) => text)
        assert.strictEqual(sent[7], "€".repeat(200_000 / 3))
        assert.deepStrictEqual(sent.slice(9, 15), ["one ", "hello", "two ", "three", "hello", "0"])
        assert.strictEqual(sent.at(-1), "4000 bye")
        assert.strictEqual(texts.at(-1)![1], "4000")
        // The eleventh is a ping, the fourteenth a pong.
        const half = mine.map((_, i): readonly [number, number] => [i, i - (i > 10 ? 1 : 0) - (i > 13 ? 1 : 0)])
        assert.deepStrictEqual(places, [...half, ...half])
      }))
  }

  it.live("passes what ws does: messages, fragments, pings, and how it is closed", () =>
    Effect.gen(function*() {
      const { port, proxy, served } = yield* startBoth
      assert.notStrictEqual(proxy.port, port)
      const peer = yield* open(proxy.port)
      peer.ws.send("a")
      peer.ws.send("b", { fin: false })
      peer.ws.ping("p")
      peer.ws.send("c", { fin: true })
      peer.ws.send("x".repeat(5_000_000))
      yield* until(() => peer.messages.length === 3)
      assert.deepStrictEqual(peer.messages.map((text) => text.slice(0, 3)), ["a", "bc", "xxx"])
      assert.strictEqual(peer.messages[2]!.length, 5_000_000)
      assert.deepStrictEqual(served[0]!.controls, ["ping p"])
      peer.ws.close(4001)
      assert.strictEqual(yield* peer.closed, 4001)
      yield* proxy.connections[0]!.closed
      yield* until(() => served[0]!.code === 4001)
      assert.deepStrictEqual([served[0]!.end(), peer.seen()!.end()], ["FIN", "FIN"])
      assert.deepStrictEqual(proxy.faults(), [])
      assert.include(proxy.print(), "#0 request[0] pass  GET / HTTP/1.1")
      assert.include(proxy.print(), "#0 toClient[0] pass  a")
    }))

  it.live("passes what is no upgrade", () =>
    Effect.gen(function*() {
      const { proxy } = yield* startBoth
      // The server of ws answers any other request with nothing, a bad one with 400.
      const client = yield* openRaw(proxy.port)
      const bad = handshakeOf(proxy.port, "/", { headers: { "Sec-WebSocket-Version": "99" } })
      client.socket.write(bad)
      yield* until(() => client.end() === "FIN")
      assert.match(client.received().toString(), /^HTTP\/1.1 400 .*Missing or invalid Sec-WebSocket-Version header$/s)
    }))

  it.live("passes what a client says after it was refused", () =>
    Effect.gen(function*() {
      const refused = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
      const { proxy, received, sockets } = yield* startRaw(refused)
      const client = yield* openRaw(proxy.port)
      const handshake = handshakeOf(proxy.port, "/")
      client.socket.write(handshake)
      yield* until(() => client.received().length === refused.length)
      client.socket.write(handshake)
      yield* until(() => received().length === 2 * handshake.length)
      sockets[0]!.end("and more")
      yield* until(() => client.end() === "FIN")
      assert.strictEqual(client.received().toString(), `${refused}and more`)
      assert.isTrue(received().equals(Buffer.concat([handshake, handshake])))
    }))

  it.live("passes what a peer said before it went away in the middle of a frame", () =>
    Effect.gen(function*() {
      const { proxy, received, sockets } = yield* startRaw(accepted)
      const client = yield* openRaw(proxy.port)
      const early = frameOf("never whole").subarray(0, 9)
      client.socket.end(handshakeOf(proxy.port, "/", { early }))
      yield* until(() => sockets[0]?.readableEnded === true)
      assert.isTrue(received().equals(handshakeOf(proxy.port, "/", { early })))
      sockets[0]!.end(early)
      yield* until(() => client.end() === "FIN")
      assert.isTrue(client.received().equals(Buffer.concat([Buffer.from(accepted), early])))
    }))

  it.live("passes on how a peer goes away", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      const reset = yield* open(proxy.port)
      reset.seen()!.socket.resetAndDestroy()
      yield* until(() => served[0]!.end() === "RST")
      const ended = yield* open(proxy.port)
      ended.seen()!.socket.end()
      yield* until(() => served[1]!.end() === "FIN")
      const peer = yield* open(proxy.port)
      served[2]!.socket.resetAndDestroy()
      yield* until(() => peer.seen()!.end() === "RST")
      assert.strictEqual(yield* peer.closed, 1006)
      yield* Effect.forEach(proxy.connections, ({ closed }) => closed)
    }))
})

/** What a handshake meets: what the client gets, and what the server; `undefined` when it is not even connected to. */
const handshakes: ReadonlyArray<
  readonly [
    plan: Proxy.Plan,
    client: readonly ["nothing" | "half" | "all", string],
    server: readonly [string, string] | undefined
  ]
> = [
  [{ accept: "drop" }, ["nothing", "FIN"], undefined],
  [{ accept: "reset" }, ["nothing", "RST"], undefined],
  [{ request: "drop" }, ["nothing", "FIN"], undefined],
  [{ request: "reset" }, ["nothing", "RST"], undefined],
  [{ request: "tear" }, ["nothing", "RST"], ["half", "RST"]],
  [{ request: { tear: "drop" } }, ["nothing", "FIN"], ["half", "FIN"]],
  [{ request: { passThen: "drop" } }, ["nothing", "FIN"], ["all", "FIN"]],
  [{ request: { passThen: "reset" } }, ["nothing", "RST"], ["all", "RST"]],
  [{ response: "drop" }, ["nothing", "FIN"], ["all", "FIN"]],
  [{ response: "reset" }, ["nothing", "RST"], ["all", "RST"]],
  [{ response: "tear" }, ["half", "RST"], ["all", "RST"]],
  [{ response: { tear: "drop" } }, ["half", "FIN"], ["all", "FIN"]],
  [{ response: { passThen: "drop" } }, ["all", "FIN"], ["all", "FIN"]],
  [{ response: { passThen: "reset" } }, ["all", "RST"], ["all", "RST"]]
]

describe("a handshake", () => {
  for (const [plan, client, server] of handshakes) {
    it.live(`meets ${JSON.stringify(plan)}`, () =>
      Effect.gen(function*() {
        const { proxy, served } = yield* startBoth
        proxy.plan = first(plan)
        const peer = yield* openRaw(proxy.port)
        const handshake = handshakeOf(proxy.port, "/")
        peer.socket.write(handshake)
        yield* until(() => peer.end() !== "open" && (server === undefined || served[0]?.end() === server[1]))
        const whole = 129
        const share = (bytes: number, all: number) =>
          bytes === 0
            ? "nothing"
            : bytes === all
            ? "all"
            : bytes === Math.floor(all / 2)
            ? "half"
            : `${bytes} of ${all}`
        assert.deepStrictEqual([share(peer.received().length, whole), peer.end()], [...client], proxy.print())
        assert.deepStrictEqual(
          served.map((seen) => [share(seen.bytes(), handshake.length), seen.end()]),
          server === undefined ? [] : [[...server]]
        )
        // And no other connection is concerned.
        yield* others(proxy.port)
        assert.strictEqual(proxy.faults().length, 1)
      }))
  }

  it.live("is refused with 503 and Retry-After", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      proxy.plan = first({ request: { answer: Proxy.refusal(503, { "Retry-After": "7" }, "later") } })
      const peer = yield* dial(proxy.port)
      const answers: Array<unknown> = []
      peer.ws.on("unexpected-response", (_request, response) => {
        answers.push(response.statusCode, response.headers["retry-after"])
        response.on("data", (data) => answers.push(String(data)))
      })
      yield* until(() => answers.length === 3)
      assert.deepStrictEqual(answers, [503, "7", "later"])
      yield* proxy.connections[0]!.closed
      assert.strictEqual(served.length, 0)
      yield* others(proxy.port)
    }))

  it.live("is answered with garbage, or with nothing", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      proxy.plan = ({ index }) => ({ request: index === 0 ? { answer: Proxy.garbage } : "drop" })
      const puzzled = yield* dial(proxy.port)
      assert.isFalse(yield* puzzled.opened)
      assert.deepStrictEqual(puzzled.errors, ["HPE_INVALID_CONSTANT"])
      const alone = yield* dial(proxy.port)
      assert.isFalse(yield* alone.opened)
      assert.deepStrictEqual(alone.errors, ["ECONNRESET"])
      assert.strictEqual(served.length, 0)
    }))

  it.live("is refused while the proxy is down, or nobody listens behind it, and gets through to another target", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      const old = yield* open(proxy.port)
      yield* proxy.down
      const refused = yield* dial(proxy.port)
      assert.isFalse(yield* refused.opened)
      assert.deepStrictEqual(refused.errors, ["ECONNREFUSED"])
      // Those that there are stay until they are told otherwise.
      old.ws.send("still")
      yield* until(() => old.messages.length === 1)
      yield* proxy.end("reset")
      assert.strictEqual(yield* old.closed, 1006)
      yield* until(() => served[0]!.end() === "RST")

      yield* proxy.up
      yield* others(proxy.port)
      const second = yield* Scope.make()
      const next = yield* Scope.provide(startEcho, second)
      proxy.target = next.port
      const moved = yield* open(proxy.port)
      moved.ws.send("here")
      yield* until(() => moved.messages.length === 1)
      assert.deepStrictEqual(next.served[0]!.messages, ["here"])
      yield* Scope.close(second, Exit.void)
      yield* moved.closed
      const stranded = yield* dial(proxy.port)
      assert.isFalse(yield* stranded.opened)
      assert.deepStrictEqual(stranded.errors, ["ECONNRESET"])
      yield* proxy.until(({ kind }) => kind === "unreachable")
    }))

  it.live("arrives after that of a newer connection", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      proxy.plan = first({
        request: { hold: proxy.until(({ connection, text }) => connection === 1 && text === "newer") }
      })
      const older = yield* dial(proxy.port)
      yield* proxy.connection(0)
      const newer = yield* open(proxy.port)
      assert.strictEqual(served.length, 1)
      newer.ws.send("newer")
      assert.isTrue(yield* older.opened)
      older.ws.send("older")
      yield* until(() => older.messages.length === 1)
      assert.deepStrictEqual(served.map(({ messages }) => messages), [["newer"], ["older"]])
    }))

  it.live("arrives although its client has gone", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      const latch = yield* Latch.make()
      proxy.plan = first({ request: { hold: latch.await } })
      const gone = yield* openRaw(proxy.port)
      gone.socket.write(handshakeOf(proxy.port, "/"))
      yield* proxy.until(({ point }) => point === "request")
      gone.socket.destroy()
      yield* others(proxy.port)
      yield* latch.open
      yield* until(() => served[1]?.end() === "FIN")
      assert.notStrictEqual(served[1]!.ws, undefined)
      yield* proxy.connections[0]!.closed
    }))
})

/** What happens at the third text of a direction: how many of it get through whole, and what both peers see. */
const breaks: ReadonlyArray<readonly [action: Proxy.Action, whole: number, part: number, end: "FIN" | "RST"]> = [
  ["drop", 2, 0, "FIN"],
  ["reset", 2, 0, "RST"],
  ["tear", 2, 0.5, "RST"],
  [{ tear: "drop" }, 2, 0.5, "FIN"],
  [{ tear: "reset", bytes: 1 }, 2, 1, "RST"],
  [{ tear: "drop", bytes: 3 }, 2, 3, "FIN"],
  [{ passThen: "drop" }, 3, 0, "FIN"],
  [{ passThen: "reset" }, 3, 0, "RST"]
]

describe("a frame", () => {
  for (const direction of ["toServer", "toClient"] as const) {
    for (const [action, whole, part, end] of breaks) {
      it.live(`${direction} meets ${JSON.stringify(action)}`, () =>
        Effect.gen(function*() {
          const { proxy, served } = yield* startBoth
          proxy.plan = first({ [direction]: (frame: Proxy.Frame) => frame.text === "number 2" ? action : "pass" })
          const peer = yield* open(proxy.port)
          const bytesBefore = direction === "toServer" ? served[0]!.bytes() : peer.seen()!.bytes()
          for (let i = 0; i < 5; i++) {
            peer.ws.send(`number ${i}`)
            if (i < 2) yield* until(() => peer.messages.length === i + 1)
          }
          assert.strictEqual(yield* peer.closed, 1006)
          yield* until(() => served[0]!.end() !== "open" && peer.seen()!.end() !== "open")
          assert.deepStrictEqual([served[0]!.end(), peer.seen()!.end()], [end, end], proxy.print())
          const size = direction === "toServer" ? 14 : 10
          const [receiver, messages] = direction === "toServer" ?
            [served[0]!, served[0]!.messages] :
            [peer.seen()!, peer.messages]
          assert.strictEqual(messages.length, whole)
          assert.strictEqual(
            receiver.bytes() - bytesBefore,
            whole * size + (part < 1 ? Math.floor(part * size) : part),
            proxy.print()
          )
          yield* others(proxy.port)
        }))
    }
  }

  for (const ending of ["drop", "reset"] as const) {
    it.live(`is broken off after exactly so many bytes, however large it is (${ending})`, () =>
      Effect.gen(function*() {
        const { proxy } = yield* startBoth
        proxy.plan = ({ index }) => ({
          toClient: () => index === 0 ? { tear: ending, bytes: 2_345_678 } : { passThen: ending }
        })
        const torn = yield* open(proxy.port)
        const before = torn.seen()!.bytes()
        torn.ws.send("x".repeat(5_000_000))
        assert.strictEqual(yield* torn.closed, 1006)
        assert.strictEqual(torn.seen()!.bytes() - before, 2_345_678)
        assert.deepStrictEqual(torn.messages, [])
        const whole = yield* open(proxy.port)
        whole.ws.send("x".repeat(5_000_000))
        assert.strictEqual(yield* whole.closed, 1006)
        assert.deepStrictEqual(whole.messages.map(({ length }) => length), [5_000_000])
      }))
  }

  it.live("is the last that gets through before a reset, however large it is", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      proxy.plan = first({ toClient: (frame) => frame.index === 1 ? "reset" : "pass" })
      const peer = yield* open(proxy.port)
      yield* until(() => served[0]!.ws !== undefined)
      served[0]!.ws!.send("x".repeat(8_000_000))
      served[0]!.ws!.send("y")
      assert.strictEqual(yield* peer.closed, 1006)
      assert.deepStrictEqual(peer.messages.map(({ length }) => length), [8_000_000])
    }))

  it.live("is held up with those after it, until a latch opens", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      const latch = yield* Latch.make()
      proxy.plan = first({
        toClient: (frame) => frame.text === "b" ? { hold: latch.await } : "pass"
      })
      const peer = yield* open(proxy.port)
      for (const text of ["a", "b", "c", "d"]) peer.ws.send(text)
      peer.ws.close()
      yield* until(() => served[0]!.messages.length === 4)
      yield* others(proxy.port)
      assert.deepStrictEqual(peer.messages, ["a"])
      assert.strictEqual(peer.code(), undefined)
      yield* latch.open
      assert.strictEqual(yield* peer.closed, 1005)
      assert.deepStrictEqual(peer.messages, ["a", "b", "c", "d"])
    }))

  it.live("is held up for a number of further entries, and then meets something else", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      proxy.plan = first({
        toServer: (frame) => frame.text === "b" ? { hold: proxy.further(4), next: "reset" } : "pass"
      })
      const peer = yield* open(proxy.port)
      for (const text of ["a", "b", "c"]) peer.ws.send(text)
      const held = yield* proxy.until(({ kind }) => kind === "fault")
      const at = proxy.log.indexOf(held)
      yield* until(() => peer.messages.length === 1)
      const others = yield* open(proxy.port)
      others.ws.send("1")
      assert.strictEqual(yield* peer.closed, 1006)
      assert.deepStrictEqual(served[0]!.messages, ["a"])
      assert.isAtLeast(proxy.log.findLastIndex(({ connection }) => connection === 0) - at, 4)
    }))
})

describe("a half-open connection", () => {
  it.live("lets nothing through in one direction, until it flows", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      proxy.plan = first({ toClient: (frame) => frame.text === "b" ? { tear: "stall" } : "pass" })
      const peer = yield* open(proxy.port)
      const [connection] = proxy.connections
      const before = peer.seen()!.bytes()
      for (const text of ["a", "b", "c"]) peer.ws.send(text)
      yield* until(() => served[0]!.messages.length === 3)
      served[0]!.ws!.close(4002)
      yield* others(proxy.port)
      assert.deepStrictEqual(peer.messages, ["a"])
      assert.strictEqual(peer.seen()!.bytes() - before, 4)
      assert.strictEqual(peer.code(), undefined)
      yield* connection!.toClient.flow
      assert.strictEqual(yield* peer.closed, 4002)
      assert.deepStrictEqual(peer.messages, ["a", "b", "c"])
      yield* connection!.closed
      yield* until(() => served[0]!.code === 4002)
    }))

  it.live("hides from either peer that the other has gone", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      const ends = ["terminate", "reset", "close"] as const
      for (const [i, how] of ends.entries()) {
        proxy.plan = ({ index }) => index === 2 * i ? { toServer: (frame) => isText(frame) ? "freeze" : "pass" } : {}
        const peer = yield* open(proxy.port)
        peer.ws.send("x")
        yield* proxy.until(({ connection, kind }) => connection === 2 * i && kind === "fault")
        if (how === "reset") peer.seen()!.socket.resetAndDestroy()
        else peer.ws[how]()
        served[2 * i]!.ws!.send("into the void")
        served[2 * i]!.ws!.ping()
        yield* others(proxy.port)
        assert.deepStrictEqual([served[2 * i]!.end(), served[2 * i]!.code], ["open", undefined])
        assert.deepStrictEqual([peer.messages, served[2 * i]!.messages], [[], []])
      }
      for (const [i, how] of ends.entries()) {
        yield* proxy.connections[2 * i]!.flow
        yield* until(() => served[2 * i]!.end() !== "open")
        // What a peer said before it reset the connection is lost with it; what it said before it closed is not.
        if (how !== "reset") assert.deepStrictEqual(served[2 * i]!.messages, ["x"])
        yield* proxy.connections[2 * i]!.closed
      }
    }))

  it.live("is made so, and ended, from outside", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      const peer = yield* open(proxy.port)
      const [connection] = proxy.connections
      yield* connection!.freeze
      peer.ws.send("x")
      yield* others(proxy.port)
      assert.deepStrictEqual(served[0]!.messages, [])
      yield* connection!.end("reset")
      assert.strictEqual(yield* peer.closed, 1006)
      yield* until(() => served[0]!.end() === "RST")
      yield* connection!.closed
      assert.deepStrictEqual(proxy.faults(), ["#0 toServer[0] freeze (told)", "#0 toServer[0] reset (told)"])
    }))
})

describe("a slow reader", () => {
  it.live("holds up the server, and gets as many bytes as it is told", () =>
    Effect.gen(function*() {
      const { proxy, served } = yield* startBoth
      proxy.plan = first({ response: { passThen: "stall" } })
      const peer = yield* open(proxy.port)
      const line = proxy.connections[0]!.toClient
      const [server] = served
      const before = peer.seen()!.bytes()
      yield* line.slow(0)
      yield* line.flow
      yield* line.slow(0)
      const message = "x".repeat(65_000)
      // As much as fits between the two, until the server has to keep it.
      let sent = 0
      while (server!.ws!.bufferedAmount < 1_000_000 && sent < 1000) {
        server!.ws!.send(message)
        sent++
        yield* Effect.callback<void>((resume) => void setImmediate(resume, Effect.void))
      }
      assert.isAtLeast(server!.ws!.bufferedAmount, 1_000_000)
      assert.strictEqual(peer.seen()!.bytes(), before)
      let allowed = 0
      for (const bytes of [1, 10, 100_000]) {
        allowed += bytes
        yield* line.allow(bytes)
        yield* until(() => peer.seen()!.bytes() - before === allowed)
      }
      yield* others(proxy.port)
      assert.strictEqual(peer.seen()!.bytes() - before, allowed)
      assert.strictEqual(peer.messages.length, 1)
      yield* line.flow
      yield* until(() => peer.messages.length === sent)
      assert.strictEqual(server!.ws!.bufferedAmount, 0)
      assert.isTrue(peer.messages.every((text) => text === message))
    }))

  it.live("gets so many bytes a turn", () =>
    Effect.gen(function*() {
      const { proxy } = yield* startBoth
      proxy.plan = first({ toClient: (frame) => frame.index === 0 ? { slow: 3 } : "pass" })
      const peer = yield* open(proxy.port)
      const before = peer.seen()!.bytes()
      const sizes: Array<number> = []
      peer.seen()!.socket.prependListener("data", (bytes: Buffer) => sizes.push(bytes.length))
      peer.ws.send("a".repeat(28))
      peer.ws.send("b".repeat(28))
      yield* until(() => peer.messages.length === 2)
      assert.strictEqual(peer.seen()!.bytes() - before, 60)
      assert.isAbove(sizes.length, 5)
    }))
})

const chaos: Proxy.Chaos = {
  accept: { reset: 0.05 },
  request: { refuse: 0.1, garbage: 0.05, drop: 0.05, hold: 0.1 },
  response: { drop: 0.05, tear: 0.1, slow: 0.1 },
  toServer: { hold: 0.1, reset: 0.03, tear: 0.05, slow: 0.05 },
  toClient: { hold: 0.1, drop: 0.03, tear: 0.05 },
  connections: 30,
  patience: 2
}

/** A conversation of 40 connections, one after the other, of ten messages each. */
const converse = (seed: number, width = 1) =>
  Effect.scoped(Effect.gen(function*() {
    const { proxy } = yield* startBoth
    proxy.plan = Proxy.seeded(seed, chaos)
    const talk = Effect.fnUntraced(function*() {
      const peer = yield* dial(proxy.port)
      yield* peer.opened
      for (let i = 1; i <= 10 && peer.code() === undefined; i++) {
        peer.ws.send(`message ${i}`, () => {})
        yield* until(() => peer.messages.length === i || peer.code() !== undefined)
      }
      const count = peer.messages.length
      peer.ws.close()
      yield* peer.closed
      return count
    }, Effect.scoped)
    const counts: Array<number> = []
    for (let i = 0; i < 40; i += width) {
      const fibers: Array<Fiber.Fiber<number>> = []
      for (let j = 0; j < width; j++) {
        fibers.push(yield* Effect.forkChild(talk(), { startImmediately: true }))
        // Connections are counted in the order in which they are made.
        yield* proxy.connection(i + j)
      }
      counts.push(...yield* Effect.forEach(fibers, Fiber.join))
    }
    return { counts, faults: proxy.faults(), log: proxy.print() }
  }))

describe("a seeded plan", () => {
  it.live("does the same with the same seed, whatever is said at the same time", () =>
    Effect.gen(function*() {
      const one = yield* converse(7)
      const two = yield* converse(7)
      const wide = yield* converse(7, 5)
      const other = yield* converse(8)
      assert.isAbove(one.faults.length, 20)
      assert.deepStrictEqual(two.faults, one.faults)
      assert.deepStrictEqual(two.counts, one.counts)
      assert.deepStrictEqual(wide.faults, one.faults)
      assert.deepStrictEqual(wide.counts, one.counts)
      assert.notDeepEqual(other.faults, one.faults)
      // All kinds of it have happened, and the last ten connections are undisturbed.
      for (const kind of ["hold", "tear", "slow", "answer", "drop", "reset"]) {
        assert.isTrue([...one.faults, ...other.faults].some((fault) => fault.includes(kind)), kind)
      }
      assert.deepStrictEqual(one.counts.slice(-10), new Array(10).fill(10))
      assert.include(one.log, "seed 7 of {")
    }), 20_000)

  it.live("makes as many faults as it is told", () =>
    Effect.gen(function*() {
      const { proxy } = yield* startBoth
      const planner = Proxy.seeded(1, { accept: { drop: 0.1, reset: 0.3 }, toClient: { stall: 1 } })
      yield* dial(proxy.port)
      const connection = yield* proxy.connection(0)
      const actions = Array.from({ length: 2000 }, (_, index) => planner({ ...connection, index }).accept)
      const share = (action: Proxy.Action) => actions.filter((each) => each === action).length / actions.length
      assert.closeTo(share("drop"), 0.1, 0.03)
      assert.closeTo(share("reset"), 0.3, 0.04)
      assert.closeTo(share("pass"), 0.6, 0.04)
    }))
})

describe("the end of its scope", () => {
  it.live("leaves nothing of it, whatever state its connections are in", () =>
    Effect.gen(function*() {
      const handles = () =>
        process.getActiveResourcesInfo().filter((name) => /^TCP|^Immediate|^Timeout/.test(name)).length
      const { port } = yield* startEcho
      const before = handles()
      let interrupted = 0
      const never = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      const states: ReadonlyArray<Proxy.Plan> = [
        {},
        { accept: "stall" },
        { accept: "drop" },
        { request: { hold: never } },
        { request: { hold: Effect.sleep("1 hour") } },
        { request: "freeze" },
        { response: { slow: 1 } },
        { response: { slow: 0 } },
        { response: { tear: "freeze" } },
        { response: { answer: Proxy.garbage } },
        { toClient: () => "stall" },
        { toServer: () => ({ hold: never }) }
      ]
      for (const isClientFirst of [false, true]) {
        const scope = yield* Scope.make()
        const proxy = yield* Scope.provide(Proxy.make({ target: port }), scope)
        proxy.plan = ({ index }) => states[index]!
        const clients = yield* Scope.make()
        const sockets: Array<Seen> = []
        for (const [i] of states.entries()) {
          const client = yield* Scope.provide(openRaw(proxy.port), clients)
          sockets.push(client)
          client.socket.write(handshakeOf(proxy.port, "/", { early: frameOf("x") }))
          yield* proxy.connection(i)
        }
        yield* proxy.until(({ connection, point }) => connection === states.length - 1 && point === "toServer")
        // What it tells of comes before what is held up by it.
        yield* Effect.yieldNow
        assert.isAbove(handles(), before + 2 * states.length)
        if (isClientFirst) yield* Scope.close(clients, Exit.void)
        yield* Scope.close(scope, Exit.void)
        if (!isClientFirst) yield* until(() => sockets.every(({ end }) => end() !== "open"))
        yield* Scope.close(clients, Exit.void)
        yield* until(() => handles() <= before)
        assert.strictEqual(interrupted, isClientFirst ? 4 : 2)
        const refused = yield* dial(proxy.port)
        assert.isFalse(yield* refused.opened)
        assert.deepStrictEqual(refused.errors, ["ECONNREFUSED"])
      }
    }))

  it.live("leaves nothing of it when it is down", () =>
    Effect.gen(function*() {
      const { port } = yield* startEcho
      const scope = yield* Scope.make()
      const proxy = yield* Scope.provide(Proxy.make({ target: port }), scope)
      const peer = yield* open(proxy.port)
      yield* proxy.down
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* peer.closed, 1006)
    }))
})
