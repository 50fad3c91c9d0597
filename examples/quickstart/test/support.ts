/**
 * Starts an example as its users do, in a process of its own, and talks to it.
 */
import type { Reply as Wire } from "@effect-channels/core"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { WebSocket } from "ws"

/** How a process ended. */
export interface End {
  readonly code: number | null
  /** Milliseconds since it was asked to. */
  readonly took: number
  readonly stderr: string
}

/** A server that runs. */
export interface Server {
  readonly port: number
  readonly stop: (signal?: NodeJS.Signals) => Promise<End>
}

/** What a server prints about where it listens. */
const listening = /localhost:(\d+)/

/** Runs a server until it ends by itself. */
export const run = async (file: URL, env: Readonly<Record<string, string>>): Promise<End> => {
  const { ended } = launch(file, env)
  return ended
}

/** Starts a server on a free port, and waits until it listens. */
export const start = async (file: URL, env: Readonly<Record<string, string>> = {}): Promise<Server> => {
  const { child, ended } = launch(file, { PORT: "0", ...env })
  const port = await new Promise<number>((resolve, reject) => {
    let output = ""
    child.stdout.on("data", (chunk) => {
      output += String(chunk)
      const match = listening.exec(output)
      if (match !== null) resolve(Number(match[1]))
    })
    void ended.then(({ code, stderr }) => reject(new Error(`the server ended with ${code}: ${stderr}`)))
  })
  return {
    port,
    stop: async (signal = "SIGTERM") => {
      const since = performance.now()
      child.kill(signal)
      const end = await ended
      return { ...end, took: performance.now() - since }
    }
  }
}

const launch = (file: URL, env: Readonly<Record<string, string>>) => {
  const child = spawn(process.execPath, [fileURLToPath(file)], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let stderr = ""
  child.stderr.on("data", (chunk) => {
    stderr += String(chunk)
  })
  const ended = once(child, "exit").then((): End => ({ code: child.exitCode, took: 0, stderr }))
  return { child, ended }
}

/** A reply whose errors have the form that they have unless an application changes it. */
export interface Reply extends Wire.Reply {
  readonly errors: ReadonlyArray<Wire.ReplyError>
}

/** The handshake was refused. */
export class Refused extends Error {
  readonly status: number
  readonly body: string

  constructor(status: number, body: string) {
    super(`${status} ${body}`)
    this.status = status
    this.body = body
  }

  get reply(): Reply {
    return JSON.parse(this.body)
  }
}

/** A connection. */
export class Client {
  readonly #socket: WebSocket
  readonly #frames: Array<unknown> = []
  readonly #waiting: Array<(frame: unknown) => void> = []
  /** The code of the close frame. */
  readonly closed: Promise<number>

  constructor(socket: WebSocket) {
    this.#socket = socket
    this.closed = new Promise((resolve) => socket.once("close", resolve))
    socket.on("message", (data) => {
      const frame: unknown = JSON.parse(String(data))
      const waiting = this.#waiting.shift()
      if (waiting === undefined) this.#frames.push(frame)
      else waiting(frame)
    })
  }

  /** Sends a request, or a frame as it is, and waits for the reply. To be called for one request at a time. */
  async ask(request: string | object): Promise<Reply> {
    this.send(request)
    return await this.next() as Reply
  }

  /** Sends a request, or a frame as it is. */
  send(request: string | object): void {
    this.#socket.send(typeof request === "string" ? request : JSON.stringify(request))
  }

  /** The next frame from the server. */
  async next(): Promise<unknown> {
    return this.#frames.length > 0 ? this.#frames.shift() : new Promise((resolve) => this.#waiting.push(resolve))
  }

  close(): void {
    this.#socket.close()
  }
}

/** Connects; fails with `Refused` when the handshake is refused. */
export const connect = (server: Server, path: string): Promise<Client> =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://localhost:${server.port}${path}`)
    const client = new Client(socket)
    socket.once("open", () => resolve(client))
    socket.once("error", reject)
    socket.once("unexpected-response", (_request, response) => {
      let body = ""
      response.on("data", (chunk) => {
        body += String(chunk)
      })
      response.on("end", () => reject(new Refused(response.statusCode ?? 0, body)))
    })
  })

/** The refusal of a handshake. */
export const refusal = (server: Server, path: string): Promise<Refused> =>
  connect(server, path).then(
    () => {
      throw new Error(`the handshake of ${path} was not refused`)
    },
    (error: unknown) => {
      if (error instanceof Refused) return error
      throw error
    }
  )
