/**
 * Servers that share a Redis, as their clients see them.
 */
import {
  Action,
  Authority,
  ChannelLayer,
  Consumer,
  Event,
  Group,
  Handlers,
  Permission,
  Throttle
} from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { RedisChannels } from "@effect-channels/redis"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import { eventually } from "../../core/test/support/channel-layers.ts"
import { freePort, redisServer, skipped } from "./support/server.ts"

const Room = Group.make("room", { room: Schema.String })
const Said = Event.make("said", Schema.String)
const say = Action.make("say", { payload: { text: Schema.String } })
const ban = Action.make("ban")

const banned = new Set<string>()
const isWelcome = Permission.connection("isWelcome", () => Effect.sync(() => banned.size === 0))

const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/", params: { room: Schema.String } }).pipe(
  Consumer.permitConnect(isWelcome),
  Consumer.permitConnect(Throttle.connectPerAddress("handshakes", { limit: 3, window: "1 hour" })),
  Consumer.join(Room, ({ params }) => ({ room: params.room })),
  Consumer.push(Said),
  Consumer.add(say, ban)
)

const ChatLive = Consumer.handlers(Chat).pipe(
  Handlers.handle(
    "say",
    ({ params, payload }) =>
      ChannelLayer.send(ChannelLayer.group(Chat, Room, { room: params.room }), Said, payload.text)
  ),
  Handlers.handle(
    "ban",
    () => Effect.andThen(Effect.sync(() => banned.add("everybody")), Authority.invalidate(Authority.everyone))
  ),
  Handlers.toLayer
)

const serve = (url: string) =>
  Effect.gen(function*() {
    const port = yield* freePort
    yield* Layer.build(Layer.fresh(
      NodeChannels.serve(Chat).pipe(
        Layer.provide(ChatLive),
        Layer.provide(NodeChannels.layerServer(createServer, { port })),
        Layer.provide(RedisChannels.layer({ url }))
      )
    ))
    return port
  })

const connect = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<Client>((resume) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/rooms/lobby/`)
      const client: Client = { socket, received: [], closed: undefined }
      socket.addEventListener("message", ({ data }) => void client.received.push(JSON.parse(String(data))))
      socket.addEventListener("close", ({ code }) => {
        client.closed = code
        resume(Effect.succeed(client))
      })
      socket.addEventListener("open", () => resume(Effect.succeed(client)))
    }),
    ({ socket }) => Effect.sync(() => socket.close())
  )

interface Client {
  readonly socket: WebSocket
  readonly received: Array<Record<string, unknown>>
  closed: number | undefined
}

describe.skipIf(skipped !== undefined)("servers that share a Redis", () => {
  it.live("share their groups, limits and what they hear of authority", () =>
    Effect.gen(function*() {
      const { url } = yield* redisServer
      const ports = [yield* serve(url), yield* serve(url)]
      const clients = [yield* connect(ports[0]!), yield* connect(ports[1]!), yield* connect(ports[0]!)]
      clients[0]!.socket.send(JSON.stringify({ action: "say", data: { text: "hello" } }))
      for (const { received } of clients) {
        yield* eventually(() => assert.deepInclude(received, { type: "said", data: "hello", status: 200 }))
      }
      // The limit is three handshakes, wherever they are.
      const fourth = yield* connect(ports[1]!)
      assert.isDefined(fourth.closed)
      clients[1]!.socket.send(JSON.stringify({ action: "ban" }))
      for (const client of clients) yield* eventually(() => assert.strictEqual(client.closed, 4403))
    }), { timeout: 60_000 })
})
