// @barrel: Auto-generated exports. Do not edit manually.

/**
 * Groups, presence, histories, news of authority, rate limits and outcomes that many servers share, over Redis.
 *
 * **Example** (Servers that share everything)
 *
 * ```ts
 * import { Consumer } from "@effect-channels/core"
 * import { NodeChannels } from "@effect-channels/node"
 * import { RedisChannels } from "@effect-channels/redis"
 * import * as Layer from "effect/Layer"
 * import { createServer } from "node:http"
 *
 * const Chat = Consumer.make("chat", { path: "/ws/chat/" })
 *
 * const Server = NodeChannels.serve(Chat).pipe(
 *   Layer.provide(NodeChannels.layerServer(createServer, { port: 8000 })),
 *   Layer.provide(RedisChannels.layer({ url: "redis://localhost:6379" }))
 * )
 * ```
 *
 * **What is promised.**
 *
 * | | while Redis can be reached | while it cannot | afterwards |
 * | --- | --- | --- | --- |
 * | an event for a group | reaches every member of every server, at most once, in the order of its sender | reaches the members of this server; the send fails with `Unavailable`, or is kept ({@link Options.whenDown}) | what was kept goes out in order |
 * | an event for a group with a history | reaches every member exactly once, in one order for everybody | fails as a whole | members are given what they missed |
 * | joining a group | sees what all servers know | fails with `Unavailable` | |
 * | presence | changes are told to all, those of a server that died within `nodeTimeout` + `heartbeat` | those who leave this server are told to its members | everybody registers anew; who has not come back within `nodeTimeout` has left |
 * | `Authority.invalidate`, signals | reach all servers | reach this server, and fail with `Unavailable` | everybody's authority is decided anew |
 * | rate limits | count on all servers together | fail with `Unavailable` (503) | go on |
 * | what is done once for each key | is done once on all servers together; after a server that died in the middle, anew within twice `nodeTimeout` | fails with `Unavailable` (503), and is not done; what runs is answered, and not remembered | goes on |
 *
 * - Nothing hangs: Redis is taken for lost when somebody has waited for it for `commandTimeout` in vain.
 * - A send that fails because Redis did not answer may have reached other servers all the same. It never reaches them twice.
 * - A server that was cut off may have missed that authority was taken away. When it is back, it decides that of all of its
 *   connections anew (`Authority.everyone`).
 * - It takes one Redis, not a Redis Cluster. Whoever can publish to it can send events to everybody: it belongs to the
 *   servers alone.
 *
 * It uses two connections for each server, however many groups there are: one for commands, one that listens. The `Redis`
 * service of `@effect/platform-node` opens a connection for each channel that is listened to, and does not tell when one was
 * lost and is back, which is when there is something to catch up on. So this package uses `@redis/client` directly.
 *
 * @since 0.1.0
 */
export * as RedisChannels from "./RedisChannels.ts"
