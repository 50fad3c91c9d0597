/** The measured servers and the load generator, as child processes which are asked one thing at a time. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import type { Command, Outcome } from "./load.ts"
import type { Question, Report } from "./servers/report.ts"

/** The next message of a child. Its exit, a reported error and too long a silence are failures. */
const nextMessage = <A>(child: ChildProcess, name: string, timeout = 60): Promise<A> =>
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

const start = (file: string, env: Readonly<Record<string, string>> = {}): ChildProcess =>
  fork(new URL(file, import.meta.url), {
    execArgv: ["--expose-gc"],
    env: { ...process.env, NODE_ENV: "production", ...env }
  })

const stop = async (child: ChildProcess): Promise<void> => {
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

/** Starts a fresh server of a contender and a fresh load generator for it, and stops both when `use` is done. */
export const withServer = async <A>(
  contender: string,
  env: Readonly<Record<string, string>>,
  use: (server: Server, load: Load) => Promise<A>
): Promise<A> => {
  const server = start(`servers/${contender}.ts`, env)
  const load = start("load.ts")
  const ask = async (question: Question): Promise<Report> => {
    server.send(question)
    return nextMessage<Report>(server, `server ${contender}`)
  }
  const tell = async <A>(command: Command): Promise<A> => {
    load.send(command)
    return nextMessage<A>(load, `load on ${contender}`, 60 + ("seconds" in command ? command.seconds : 0))
  }
  try {
    const { port } = await nextMessage<Report>(server, `server ${contender}`)
    return await use({
      port,
      cpu: async () => (await ask("cpu")).cpu,
      rss: async () => (await ask("rss")).rss
    }, {
      open: (connections) => tell({ type: "open", contender, port, connections }),
      run: (options) => tell({ type: "run", ...options }),
      close: () => tell({ type: "close" })
    })
  } finally {
    await Promise.all([stop(load), stop(server)])
  }
}
