/**
 * Two nodes of the chat over one Redis, with one command: `npm run chat:nodes`. They are at `PORT`, 8040 by default, and the
 * port after it. Redis is where `REDIS_URL` says; without it, a `redis-server` is started for them. All of them end together.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ChildProcess from "effect/process/ChildProcess"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { randomBytes } from "node:crypto"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"

class Ended extends Schema.TaggedError<Ended>()("Ended", { name: Schema.String, how: Schema.String }) {
  override get message() {
    return `${this.name} has ended ${this.how}, and so do the others`
  }
}

class NoRedis extends Schema.TaggedError<NoRedis>()("NoRedis", {}) {
  override get message() {
    return "There is no redis-server on the PATH. Install it (apt-get install redis-server, brew install redis), or say with " +
      "REDIS_URL where Redis is: REDIS_URL=redis://localhost:6379 npm run chat:nodes. Without Redis there is npm run chat."
  }
}

/** Starts a process, and waits until it says that it is ready. What it says is passed on; it ends with the scope. */
const start = Effect.fnUntraced(function*(
  name: string,
  command: ChildProcess.Command,
  options: { readonly readyWhen: string; readonly isQuiet?: boolean }
) {
  const process = yield* command
  const ready = yield* Deferred.make<void>()
  const lines = process.all.pipe(Stream.decodeText(), Stream.splitLines)
  yield* Effect.forkScoped(Stream.runForEach(lines, (line) =>
    line.includes(options.readyWhen)
      ? Deferred.succeed(ready, undefined)
      : options.isQuiet === true
      ? Effect.void
      : Console.log(`${name} | ${line}`)))
  const ended = process.exitCode.pipe(
    Effect.match({ onFailure: () => "by a signal", onSuccess: (code) => `with ${code}` }),
    Effect.flatMap((how) => Effect.fail(new Ended({ name, how })))
  )
  yield* Effect.raceFirst(Deferred.await(ready), ended)
  return ended
})

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** A Redis of their own: nothing of it is left when they end. */
const startRedis = Effect.gen(function*() {
  const port = yield* freePort
  const args = ["--bind", "127.0.0.1", "--port", `${port}`, "--save", "", "--appendonly", "no"]
  const ended = yield* start("Redis", ChildProcess.make("redis-server", args, { forceKillAfter: "5 seconds" }), {
    readyWhen: "Ready to accept connections",
    isQuiet: true
  }).pipe(Effect.catchReason("PlatformError", "NotFound", () => Effect.fail(new NoRedis())))
  return { url: `redis://127.0.0.1:${port}`, ended }
})

const startNode = (port: number, env: Readonly<Record<string, string>>) =>
  start(
    `:${port}`,
    ChildProcess.make(process.execPath, [fileURLToPath(new URL("server.ts", import.meta.url))], {
      env: { ...env, PORT: `${port}` },
      extendEnv: true,
      forceKillAfter: "10 seconds"
    }),
    { readyWhen: `http://localhost:${port}/` }
  )

const main = Effect.gen(function*() {
  const port = yield* Config.Int("PORT").pipe(Config.withDefault(8040))
  const given = yield* Config.String("REDIS_URL").pipe(Config.withDefault(""))
  // Each of them reads the tokens of the other.
  const secret = yield* Config.String("TOKEN_SECRET").pipe(Config.withDefault(randomBytes(32).toString("hex")))

  const redis = given === "" ? yield* startRedis : { url: given, ended: Effect.never }
  const env = { REDIS_URL: redis.url, TOKEN_SECRET: secret }
  const nodes = yield* Effect.forEach([port, port + 1], (port) => startNode(port, env), { concurrency: "unbounded" })
  yield* Console.log(
    `Open http://localhost:${port}/ and http://localhost:${port + 1}/ in a browser` +
      `${given === "" ? `; a Redis of their own is at ${redis.url}` : ""}. Ctrl+C ends them all.`
  )
  return yield* Effect.raceAllFirst([...nodes, redis.ended])
})

const fail = ({ message }: Error) => Effect.andThen(Console.error(message), Effect.sync(() => process.exitCode = 1))

Effect.scoped(main).pipe(
  Effect.catchTag(["Ended", "NoRedis"], fail),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
