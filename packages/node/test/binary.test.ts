/**
 * The binary subprotocol over real sockets.
 */
import { Action, BinaryCodec, ChannelLayer, Codec, Consumer, Event, Group, Handlers } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import { WebSocket } from "ws"
import * as Client from "./support/client.ts"
import { opcode } from "./support/frames.ts"
import * as Server from "./support/server.ts"

const binary = BinaryCodec.codec
const headers = { "Sec-WebSocket-Protocol": binary.subprotocol }

const requestOf = (codec: Codec.Codec, parts: Partial<Codec.Request>) =>
  codec.write({
    action: "echo",
    route: "",
    requestId: 1,
    idempotencyKey: undefined,
    data: undefined,
    fields: undefined,
    ...parts
  })

const takeReply = (client: Client.Client, codec: Codec.Codec = binary) =>
  Effect.map(client.takeFrame, (frame) => codec.read(frame) as Codec.Reply)

const ask = (client: Client.Client, parts: Partial<Codec.Request>) =>
  Effect.andThen(client.send(requestOf(binary, parts)), takeReply(client))

const Said = Event.make("said", Schema.Struct({ text: Schema.String, image: Schema.Uint8Array }))
const Room = Group.make("room")
const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(
  Consumer.join(Room, () => ({})),
  Consumer.push(Said),
  Consumer.add(Action.make("nothing"))
)
const ChatLive = Consumer.handlers(Chat).pipe(Handlers.handle("nothing", () => Effect.void), Handlers.toLayer)

describe("the binary subprotocol", () => {
  it.live("is spoken in binary frames, to whoever asks for it", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const client = yield* Client.open(port, "/ws/", { headers })
      assert.strictEqual(client.headers["sec-websocket-protocol"], binary.subprotocol)
      const texts = ["", "short", "ü".repeat(100), "x y".repeat(10_000)]
      for (const data of texts) {
        assert.deepStrictEqual(yield* ask(client, { data }), {
          _tag: "Reply",
          requestId: 1,
          status: 200,
          errors: [],
          data
        })
      }
      assert.isTrue(client.frames.every((frame) => frame.opcode === opcode.binary))
      const plain = yield* Client.open(port)
      assert.strictEqual((yield* plain.ask({ action: "echo", data: "text" })).data, "text")
    }))

  it.live("is spoken by the WebSocket of ws", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const ws = yield* Effect.acquireRelease(
        Effect.sync(() =>
          new WebSocket(`ws://127.0.0.1:${port}/ws/`, [Codec.json.subprotocol, binary.subprotocol].reverse())
        ),
        (ws) => Effect.sync(() => ws.terminate())
      )
      yield* Effect.callback<void>((resume) => void ws.once("open", () => resume(Effect.void)))
      assert.strictEqual(ws.protocol, binary.subprotocol)
      ws.send(requestOf(binary, { data: "hi" }))
      const [data, isBinary] = yield* Effect.callback<[Uint8Array, boolean]>((resume) =>
        void ws.once("message", (data, isBinary) => resume(Effect.succeed([data as never, isBinary])))
      )
      assert.isTrue(isBinary)
      assert.strictEqual((binary.read(Uint8Array.from(data)) as Codec.Reply).data, "hi")
    }))

  it.live("is compressed where that was agreed on", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen({ compression: true })
      const client = yield* Client.open(port, "/ws/", { headers: { ...headers, ...Client.compression } })
      const data = "well said, ".repeat(500)
      assert.strictEqual((yield* ask(client, { data })).data, data)
      assert.strictEqual(client.frames[0]!.rsv, 4)
      assert.isBelow(client.frames[0]!.payload.length, 500)
    }))

  it.live("sends what is sent at once in order", () =>
    Effect.gen(function*() {
      const { port } = yield* Server.startOpen()
      const client = yield* Client.open(port, "/ws/", { headers })
      const ids = Array.from({ length: 100 }, (_, i) => i)
      yield* client.send(
        ...ids.map((requestId) => requestOf(binary, { requestId, data: `${requestId}`.repeat(requestId) }))
      )
      const replies = yield* Effect.replicateEffect(takeReply(client), ids.length)
      assert.deepStrictEqual(replies.map(({ requestId }) => requestId), ids)
      assert.deepStrictEqual(replies.map(({ data }) => data), ids.map((id) => `${id}`.repeat(id)))
    }))

  it.live("takes an event to all members, each in its own way", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(ChannelLayer.layerMemory)
      const layer = Layer.provide(NodeChannels.serve(Chat), ChatLive)
      const { port } = yield* Server.start(Layer.provide(layer, Layer.succeedContext(context)))
      const codecs = [binary, Codec.json, binary, Codec.json, binary]
      const clients = yield* Effect.forEach(codecs, (codec) =>
        Effect.map(
          Client.open(port, "/ws/", { headers: { "Sec-WebSocket-Protocol": codec.subprotocol } }),
          (client) => ({ client, codec })
        ))
      const data = { text: "to everybody ü", image: new Uint8Array(1000).map((_, i) => i) }
      const send = ChannelLayer.send(ChannelLayer.group(Chat, Room, {}), Said, data)
      yield* Effect.provideContext(Effect.andThen(send, send), context)
      for (const { client, codec } of clients) {
        for (const frame of yield* Effect.replicateEffect(client.takeFrame, 2)) {
          assert.strictEqual(typeof frame, codec === binary ? "object" : "string")
          const event = codec.read(frame) as Codec.Event
          const part = codec.part(Said.data) as typeof Said.data
          assert.deepStrictEqual(Schema.decodeUnknownSync(part)(event.data), data)
          if (codec === binary) assert.isBelow(frame.length, 1050)
        }
      }
    }))

  it.live("survives whatever bytes come", () =>
    Effect.gen(function*() {
      const { echoes, port } = yield* Server.startOpen()
      const client = yield* Client.open(port, "/ws/", { headers })
      const sample = requestOf(binary, { data: "hi" }) as Uint8Array
      for (let i = 0; i < 300; i++) {
        const length = yield* Random.nextIntBetween(0, 60)
        const noise = yield* Effect.replicateEffect(Random.nextIntBetween(0, 256), length)
        const changed = Uint8Array.from(sample)
        changed[yield* Random.nextIntBetween(0, sample.length)] = yield* Random.nextIntBetween(0, 256)
        yield* client.send(Uint8Array.from(noise), changed, sample.subarray(0, i % sample.length))
        const replies = yield* Effect.replicateEffect(takeReply(client), 3)
        for (const { status } of replies) assert.include([200, 400, 403, 404, 405], status)
      }
      const before = echoes()
      yield* client.send("{\"action\":\"echo\",\"data\":\"text\"}")
      assert.strictEqual((yield* takeReply(client)).status, 400)
      assert.strictEqual(echoes(), before)
      assert.strictEqual((yield* ask(client, { data: "still there" })).data, "still there")
    }))
})
