/** The measured servers and the load generators, as child processes which are asked one thing at a time. */
import { type ChildProcess, fork, spawn } from "node:child_process"
import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import type { Command, Outcome } from "./load.ts"
import type * as receivers from "./receivers.ts"
import type { Question, Report } from "./servers/report.ts"

/** The next message of a child. Its exit, a reported error and too long a silence are failures. */
export const nextMessage = <A>(child: ChildProcess, name: string, timeout = 60): Promise<A> =>
  new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer)
      child.off("message", onMessage)
      child.off("exit", onExit)
    }
    const onMessage = (message: object) => {
      settle()
      if ("error" in message) reject(new Error(`${name}: ${message.error}`))
      else resolve(message as A)
    }
    const onExit = (code: number | null, signal: string | null) => {
      settle()
      reject(new Error(`${name}: ended with ${signal ?? `code ${code}`}`))
    }
    const timer = setTimeout(() => {
      settle()
      reject(new Error(`${name}: no answer within ${timeout} s`))
    }, timeout * 1000)
    child.on("message", onMessage)
    child.on("exit", onExit)
  })

export const start = (file: string, env: Readonly<Record<string, string>> = {}): ChildProcess =>
  fork(new URL(file, import.meta.url), {
    execArgv: ["--expose-gc"],
    env: { ...process.env, NODE_ENV: "production", ...env }
  })

export const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, "exit")
  child.kill("SIGKILL")
  await exit
}

export interface Server {
  readonly port: number
  /** CPU time used so far, in microseconds. */
  readonly cpu: () => Promise<number>
  /** Settled resident set, in bytes. */
  readonly rss: () => Promise<number>
}

export interface Load {
  readonly open: (connections: number) => Promise<void>
  readonly run: (options: Omit<Extract<Command, { type: "run" }>, "type">) => Promise<Outcome>
  readonly close: () => Promise<void>
}

export interface Receivers {
  readonly open: (connections: number) => Promise<void>
  readonly run: (options: Omit<Extract<receivers.Command, { type: "run" }>, "type">) => Promise<receivers.Outcome>
}

const ask = async (server: ChildProcess, name: string, question: Question): Promise<Report> => {
  server.send(question)
  return nextMessage<Report>(server, name)
}

const tell = async <A>(load: ChildProcess, name: string, command: Command | receivers.Command): Promise<A> => {
  load.send(command)
  return nextMessage<A>(load, name, 60 + ("seconds" in command ? command.seconds : 0))
}

export const serverOf = async (child: ChildProcess, name: string): Promise<Server> => {
  const { port } = await nextMessage<Report>(child, name)
  return {
    port,
    cpu: async () => (await ask(child, name, "cpu")).cpu,
    rss: async () => (await ask(child, name, "rss")).rss
  }
}

/** Starts a fresh server of a contender and a fresh load generator for it, and stops both when `use` is done. */
export const withServer = async <A>(
  contender: string,
  env: Readonly<Record<string, string>>,
  use: (server: Server, load: Load) => Promise<A>
): Promise<A> => {
  const child = start(`servers/${contender}.ts`, env)
  const load = start("load.ts")
  const name = `load on ${contender}`
  try {
    const server = await serverOf(child, `server ${contender}`)
    return await use(server, {
      open: (connections) => tell(load, name, { type: "open", contender, port: server.port, connections }),
      run: (options) => tell(load, name, { type: "run", ...options }),
      close: () => tell(load, name, { type: "close" })
    })
  } finally {
    await Promise.all([stop(load), stop(child)])
  }
}

/** As `withServer`, for several servers that send events to the same receivers. */
export const withFanOut = async <A>(
  contender: string,
  servers: number,
  env: Readonly<Record<string, string>>,
  use: (servers: ReadonlyArray<Server>, receivers: Receivers) => Promise<A>
): Promise<A> => {
  const children = Array.from({ length: servers }, () => start(`servers/fanout/${contender}.ts`, env))
  const receivers = start("receivers.ts")
  const name = `receivers of ${contender}`
  try {
    const servers = await Promise.all(children.map((child) => serverOf(child, `server ${contender}`)))
    const ports = servers.map(({ port }) => port)
    return await use(servers, {
      open: (connections) => tell(receivers, name, { type: "open", contender, ports, connections }),
      run: (options) => tell(receivers, name, { type: "run", ...options })
    })
  } finally {
    await Promise.all([receivers, ...children].map(stop))
  }
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}

/**
 * Starts a Redis that keeps nothing, and stops it when `use` is done. The program `redis-server` must be there, or the one that
 * `REDIS_SERVER` names.
 */
export const withRedis = async <A>(use: (url: string) => Promise<A>): Promise<A> => {
  const port = await freePort()
  const program = process.env["REDIS_SERVER"] ?? "redis-server"
  const redis = spawn(program, ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
  try {
    await new Promise<void>((resolve, reject) => {
      redis.stdout.on("data", (text: Buffer) => text.includes("Ready to accept connections") && resolve())
      redis.on("error", (error) => reject(new Error(`${program} does not start: ${error.message}`)))
      redis.on("exit", (code) => reject(new Error(`${program}: ended with code ${code}`)))
    })
    return await use(`redis://127.0.0.1:${port}`)
  } finally {
    await stop(redis)
  }
}
