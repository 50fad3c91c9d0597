import { Action, Consumer, Handlers, Idempotency } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { WebSocket } from "ws"
import * as Client from "./support/client.ts"
import { frameOf, opcode } from "./support/frames.ts"
import * as Server from "./support/server.ts"

/** The ways a client goes away, and the close code that the server sees. */
const ways: ReadonlyArray<
  readonly [name: string, leave: (client: Client.Client) => Effect.Effect<void>, code: number]
> = [
  ["closes", (client) => client.close(1000, "bye"), 1000],
  ["closes without a code", (client) => client.close(), 1005],
  ["closes with a code of its own", (client) => client.close(4001), 4001],
  ["ends the TCP connection", (client) => Effect.sync(() => client.socket.end()), 1006],
  ["drops the TCP connection", (client) => client.drop, 1006],
  ["resets the TCP connection", (client) => client.reset, 1006],
  ["breaks the protocol", (client) => client.write(frameOf("x", { isMasked: false })), 1006],
  [
    "breaks off in the middle of a frame",
    (client) => Effect.andThen(client.write(frameOf("x").subarray(0, 3)), client.drop),
    1006
  ]
]

const endings = (logs: ReadonlyArray<Server.LogEntry>) =>
  logs.filter(({ message }) => message.startsWith("The connection ended"))

describe("a client that goes away", () => {
  for (const [name, leave, code] of ways) {
    it.live(`(${name}) ends its handler, and leaves one line in the log`, () =>
      Server.withLogs((logs) =>
        Effect.gen(function*() {
          const { events, port } = yield* Server.startOpen()
          const other = yield* Client.open(port)
          const client = yield* Client.open(port)
          yield* client.send({ action: "hang" }, { action: "hang" }, { action: "echo", data: "never" })
          assert.strictEqual(yield* Queue.take(events), "start")
          yield* leave(client)
          assert.strictEqual(yield* Queue.take(events), "stop")
          yield* Server.until(() => endings(logs).length > 0)
          yield* client.ended
          // The second request was never started.
          assert.strictEqual(yield* Queue.size(events), 0)
          assert.strictEqual((yield* other.ask({ action: "echo", data: "still there" })).status, 200)
          const mine = logs.filter(({ level }) => level !== "Trace")
          assert.deepStrictEqual(mine.map(({ level }) => level), ["Debug"])
          assert.include(mine[0]!.message, String(code))
        })
      ))
  }

  it.live("(terminates a ws client) ends its handler", () =>
    Effect.gen(function*() {
      const { events, port } = yield* Server.startOpen()
      const ws = new WebSocket(`ws://127.0.0.1:${port}/ws/`)
      ws.on("open", () => ws.send(JSON.stringify({ action: "hang" })))
      assert.strictEqual(yield* Queue.take(events), "start")
      ws.terminate()
      assert.strictEqual(yield* Queue.take(events), "stop")
    }))

  it.live("releases what its handshake acquired, once, after its handlers have ended", () =>
    Effect.gen(function*() {
      const { port, trace } = yield* startTraced
      for (const how of ["close", "drop", "reset"] as const) {
        trace.length = 0
        const client = yield* Client.open(port, "/guarded/")
        yield* client.send({ action: "hang" })
        yield* Server.until(() => trace.length === 2)
        yield* how === "close" ? client.close(1000) : client[how]
        yield* Server.until(() => trace.length >= 4)
        assert.deepStrictEqual(trace, ["acquire", "start", "stop", "release"])
      }
    }))

  for (const how of ["close", "drop", "reset"] as const) {
    it.live(`(${how}) lets what is done once for each key come to its end, and is told its outcome when it is back`, () =>
      Effect.gen(function*() {
        const { gate, port, trace } = yield* startOnce
        const client = yield* Client.open(port, "/once/")
        yield* client.send({ action: "make", idempotency_key: "k" }, { action: "make" })
        yield* Server.until(() => trace.length === 2)
        yield* how === "close" ? client.close(1000) : client[how]
        // The one without a key has been interrupted: the server knows that the client has gone.
        yield* Server.until(() => trace.includes("stop"))
        const other = yield* Client.open(port, "/once/")
        yield* other.send({ action: "make", idempotency_key: "k", request_id: 1 })
        yield* gate.open
        const { data, request_id, status } = yield* other.ask({ action: "make", idempotency_key: "k", request_id: 1 })
        assert.deepStrictEqual([status, data, request_id], [200, 1, 1])
        yield* Server.until(() => trace.length === 5)
        assert.deepStrictEqual(trace, ["start", "start", "stop", "end", "release"])
      }))
  }

  it.live("whose request is done once for its key is not waited for longer than others when the server stops", () =>
    Effect.gen(function*() {
      const { port, stop, trace } = yield* startOnce
      const client = yield* Client.open(port, "/once/")
      yield* client.send({ action: "make", idempotency_key: "k" }, { action: "make" })
      yield* Server.until(() => trace.length === 2)
      yield* client.drop
      yield* Server.until(() => trace.includes("stop"))
      yield* stop
      assert.deepStrictEqual(trace, ["start", "start", "stop", "stop", "release"])
    }))

  it.live("makes room for another", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen({ maxConnections: 5 })
      for (let round = 0; round < 4; round++) {
        const clients = yield* openAll(port, 5)
        assert.strictEqual((yield* Effect.flip(Client.open(port))).status, 503)
        for (const [i, client] of clients.entries()) yield* i % 2 === 0 ? client.drop : client.close(1000)
      }
    }))

  it.live("is answered with its own close code", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const client = yield* Client.open(port)
      yield* client.close(4321, "why")
      assert.strictEqual((yield* client.closed).code, 4321)
      yield* client.ended
      assert.deepStrictEqual(client.frames.map((frame) => frame.opcode), [opcode.close])
    }))
})

/** Connects so many clients, as soon as the server has noticed that others have gone. */
const openAll = (port: number, count: number): Effect.Effect<ReadonlyArray<Client.Client>, never, Scope.Scope> =>
  Effect.replicateEffect(Effect.eventually(Client.open(port)), count)

/** A consumer with an action that is done once for each key. */
const Once = Consumer.make("once", { path: "/once/", concurrency: 2 }).pipe(
  Consumer.add(Action.make("make", { success: Schema.Int, idempotent: "key" }))
)

const startOnce = Effect.gen(function*() {
  const trace: Array<string> = []
  const gate = yield* Latch.make(false)
  let made = 0
  const note = (what: string) => Effect.sync(() => void trace.push(what))
  const handlers = Consumer.handlers(Once).pipe(
    Handlers.handle("make", () =>
      Effect.gen(function*() {
        trace.push("start")
        const n = ++made
        // Released with the connection.
        if (n === 1) yield* Effect.addFinalizer(() => note("release"))
        yield* Effect.onExit(gate.await, (exit) => note(exit._tag === "Success" ? "end" : "stop"))
        return n
      })),
    Handlers.toLayer,
    Layer.provide(Idempotency.layerMemory())
  )
  const running = yield* Server.start(
    Layer.provide(NodeChannels.serve(Once, { drainTimeout: "100 millis" }), handlers)
  )
  return { ...running, gate, trace }
})

/** A consumer whose connections hold something. */
const Traced = Consumer.make("guarded", { path: "/guarded/" }).pipe(
  Consumer.permitConnect(Server.isUser),
  Consumer.add(Action.make("hang"))
)

const startTraced = Effect.gen(function*() {
  const trace: Array<string> = []
  const note = (what: string) => Effect.sync(() => void trace.push(what))
  const handlers = Consumer.handlers(Traced).pipe(
    Handlers.handle(
      "hang",
      () => Effect.andThen(note("start"), Effect.never).pipe(Effect.onInterrupt(() => note("stop")))
    ),
    Handlers.toLayer,
    Layer.provide(
      Server.CurrentUser.layer(() =>
        Effect.andThen(Effect.acquireRelease(note("acquire"), () => note("release")), Server.alice)
      )
    )
  )
  const { port } = yield* Server.start(Layer.provide(NodeChannels.serve(Traced), handlers))
  return { port, trace }
})
