/**
 * A Redis of a test's own, which can be killed, stopped and started again.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { type AddressInfo, createServer, Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { watch } from "./watchdog.ts"

const binary = process.env["REDIS_SERVER"] ?? "redis-server"

const options = ["--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"]

const isInstalled = spawnSync(binary, ["--version"]).status === 0

/** Why tests that need Redis are skipped; `undefined` where they are not. In CI they never are. */
export const skipped: string | undefined = isInstalled
  ? undefined
  : `there is no ${binary}: install Redis 7, or set REDIS_SERVER to the binary`

if (skipped !== undefined) {
  if (process.env["CI"] !== undefined && process.env["CI"] !== "") {
    throw new Error(`The tests of Redis cannot run: ${skipped}`)
  }
  console.warn(`The tests of Redis are skipped: ${skipped}`)
}

/** A port that is free now. */
export const freePort: Effect.Effect<number> = Effect.promise(() =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
)

/** A Redis that keeps nothing on disk, or everything that it has answered. */
export class RedisServer {
  readonly port: number
  readonly #durable: boolean
  readonly #directory: string
  #process: ChildProcess | undefined

  constructor(port: number, durable = false) {
    this.port = port
    this.#durable = durable
    this.#directory = mkdtempSync(join(tmpdir(), "redis-test-"))
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Starts it, and waits until it answers. */
  async start(): Promise<void> {
    const child = spawn(
      binary,
      [
        "--port",
        String(this.port),
        "--dir",
        this.#directory,
        ...options,
        "--appendonly",
        this.#durable ? "yes" : "no",
        "--appendfsync",
        "always"
      ],
      { stdio: "ignore" }
    )
    this.#process = child
    watch(child, this.#directory)
    for (let i = 0; i < 2000; i++) {
      if (child.exitCode !== null) throw new Error(`redis-server has exited with ${child.exitCode}`)
      if (await answers(this.port)) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error("redis-server does not answer")
  }

  /** Kills it; what it does not keep on disk is lost. */
  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise((resolve) => child.once("exit", resolve))
    child.kill("SIGKILL")
    await exited
  }

  /** Has it answer nobody, while all connections stay open. */
  stop(): void {
    this.#process?.kill("SIGSTOP")
  }

  /** Has it answer again. */
  continue(): void {
    this.#process?.kill("SIGCONT")
  }

  async dispose(): Promise<void> {
    await this.kill()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = new Socket()
    const end = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket.on("error", () => end(false))
    socket.on("data", (data) => end(data.toString().startsWith("+PONG")))
    socket.connect(port, "127.0.0.1", () => socket.write("PING\r\n"))
  })

const make = (durable: boolean): Effect.Effect<RedisServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.gen(function*() {
      const server = new RedisServer(yield* freePort, durable)
      yield* Effect.promise(() => server.start())
      return server
    }),
    (server) => Effect.promise(() => server.dispose())
  )

/** A Redis as long as the scope is open. */
export const redisServer = make(false)

/** One that has on disk what it has answered, and still knows it when it is started again. */
export const durableServer = make(true)
