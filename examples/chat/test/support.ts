/**
 * People in the chat over real sockets, and nodes over a Redis of the test's own.
 */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { WebSocket } from "ws"
import { type Server, start } from "../../quickstart/test/support.ts"

const file = new URL("../server.ts", import.meta.url)

/** So that a token is good on every node, and after a restart. */
const secret = { TOKEN_SECRET: "a secret of the tests, which is long enough" }

/** Starts a server in memory, whatever the environment says. */
export const startServer = (env: Readonly<Record<string, string>> = {}): Promise<Server> =>
  start(file, { REDIS_URL: "", ...secret, ...env })

/** What waits for ever has failed: no test waits for this time to pass. */
const patience = 20_000

const within = async <A>(promise: Promise<A>, what: () => string): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`In vain: ${what()}`)), patience)
  })
  try {
    return await Promise.race([promise, deadline])
  } finally {
    clearTimeout(timer)
  }
}

// --- Requests -------------------------------------------------------------------------------------------------------

/** Posts JSON. */
export const post = (server: Server, path: string, body: object, token?: string): Promise<Response> =>
  fetch(`http://localhost:${server.port}${path}`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` })
    },
    body: JSON.stringify(body)
  })

/** The token of somebody who signs in. */
export const login = async (server: Server, name: string): Promise<string> =>
  (await (await post(server, "/login", { name })).json() as { readonly token: string }).token

// --- Connections ----------------------------------------------------------------------------------------------------

/** An event, or a reply, as it stands on the wire. */
export interface Frame {
  readonly type?: string
  /** Where it is in the history of its group. */
  readonly id?: string
  readonly group?: string
  readonly params?: unknown
  readonly status: number
  readonly action?: string
  readonly route?: string
  readonly request_id?: number
  readonly errors?: ReadonlyArray<{ readonly code: string; readonly detail: string }>
  // What an event of each type carries is what the tests are about.
  readonly data: any
}

/** Somebody's connection to a room. What it hears is taken in order. */
export class Guest {
  readonly #socket: WebSocket
  readonly #frames: Array<Frame> = []
  #heard: () => void = () => {}
  #lastId = 0
  readonly closed: Promise<number>

  constructor(socket: WebSocket) {
    this.#socket = socket
    this.closed = once(socket, "close").then(([code]) => code)
    socket.on("message", (data) => {
      this.#frames.push(JSON.parse(String(data)))
      this.#heard()
    })
  }

  /** What is taken of what has been heard, as soon as a frame fits; by where that is. */
  #take(
    what: string,
    fits: (frame: Frame) => boolean,
    take: (at: number) => ReadonlyArray<Frame>
  ): Promise<ReadonlyArray<Frame>> {
    const wait = async () => {
      while (true) {
        const at = this.#frames.findIndex(fits)
        if (at >= 0) return take(at)
        await new Promise<void>((resolve) => {
          this.#heard = resolve
        })
      }
    }
    return within(wait(), () => `${what}; there was ${JSON.stringify(this.#frames)}`)
  }

  /** The next event of this type. What came before it is forgotten. */
  async next(type: string): Promise<Frame> {
    return (await this.until(type)).at(-1)!
  }

  /** All that is heard until there is an event of this type, which is the last of it. */
  until(type: string): Promise<ReadonlyArray<Frame>> {
    return this.#take(`the event ${type}`, (frame) => frame.type === type, (at) => this.#frames.splice(0, at + 1))
  }

  /** Sends a request, which may be one that is not answered. */
  tell(action: string, data?: object): number {
    const id = ++this.#lastId
    this.#socket.send(JSON.stringify({ action, data, request_id: id }))
    return id
  }

  /** Sends a request, and waits for the reply; events are left for others. */
  async ask(action: string, data?: object): Promise<Frame> {
    return (await this.#reply(action, data, (at) => this.#frames.splice(at, 1)))[0]!
  }

  /** Sends a request: the reply, and all that has come before it. */
  async hear(action: string, data?: object): Promise<{ readonly reply: Frame; readonly before: ReadonlyArray<Frame> }> {
    const heard = await this.#reply(action, data, (at) => this.#frames.splice(0, at + 1))
    return { reply: heard.at(-1)!, before: heard.slice(0, -1) }
  }

  /** Sends a frame as it is. */
  send(frame: object): void {
    this.#socket.send(JSON.stringify(frame))
  }

  /** The next reply to anything; events are left for others. */
  async reply(): Promise<Frame> {
    return (await this.#take("a reply", ({ type }) => type === undefined, (at) => this.#frames.splice(at, 1)))[0]!
  }

  #reply(action: string, data: object | undefined, take: (at: number) => ReadonlyArray<Frame>) {
    const id = this.tell(action, data)
    return this.#take(`the reply to ${action}`, (frame) => frame.request_id === id, take)
  }

  close(): void {
    this.#socket.close()
  }
}

/** Connects somebody to a room, from a position in its history on; an empty one is before all that is kept. */
export const enter = async (
  server: Server,
  name: string,
  options: { readonly room?: string; readonly after?: string } = {}
): Promise<Guest> => {
  const query = options.after === undefined ? "" : `?$after=${encodeURIComponent(`room:${options.after}`)}`
  const socket = new WebSocket(`ws://localhost:${server.port}/ws/rooms/${options.room ?? "lobby"}/${query}`, [
    "effect-channels.json",
    `bearer.${await login(server, name)}`
  ])
  const guest = new Guest(socket)
  await once(socket, "open")
  return guest
}

/** Connects somebody to the lobby as clients of the original protocol do: without a subprotocol, or a position. */
export const enterPlainly = async (server: Server, name: string): Promise<Guest> => {
  const socket = new WebSocket(`ws://localhost:${server.port}/ws/rooms/lobby/`, {
    headers: { Authorization: `Bearer ${await login(server, name)}` }
  })
  const guest = new Guest(socket)
  await once(socket, "open")
  return guest
}

/** How a handshake is answered: 101 where it is accepted. The connection that comes of it ends at once. */
export const handshake = (server: Server, path: string, headers: Readonly<Record<string, string>> = {}) =>
  new Promise<number>((resolve, reject) => {
    const socket = new WebSocket(`ws://localhost:${server.port}${path}`, { headers })
    socket.once("upgrade", () => resolve(101))
    socket.once("open", () => socket.close())
    socket.once("unexpected-response", (request, { statusCode }) => {
      resolve(statusCode ?? 0)
      request.destroy()
    })
    socket.on("error", reject)
  })

/** How somebody's handshake is answered. */
export const knock = async (server: Server, name: string, room = "lobby"): Promise<number> =>
  handshake(server, `/ws/rooms/${room}/`, { Authorization: `Bearer ${await login(server, name)}` })

// --- Redis ----------------------------------------------------------------------------------------------------------

const isCI = !["", "0", "false"].includes(process.env["CI"] ?? "")

/** Whether there is a `redis-server` to start. */
export const hasRedis = spawnSync("redis-server", ["--version"]).status === 0

const advice = "there is no redis-server on the PATH: apt-get install redis-server, or brew install redis"

/** Whether tests with Redis are skipped. They say so; in CI they fail instead. */
export const skipsRedis = (name: string): boolean => {
  const isSkipped = !hasRedis && !isCI
  if (isSkipped) console.warn(`Not tested: ${name}. ${advice}`)
  return isSkipped
}

/** A port that is free, and so are those after it: none of those that the system gives to connections that are made. */
export const freePort = async (count = 1): Promise<number> => {
  while (true) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(port + i)))
    if (free.every(Boolean)) return port
  }
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, () => server.close(() => resolve(true)))
  })

export interface Redis {
  readonly url: string
  readonly stop: () => Promise<void>
}

/** Starts a Redis that nobody else uses. */
export const startRedis = async (): Promise<Redis> => {
  if (!hasRedis) throw new Error(advice)
  const port = await freePort()
  const child = spawn("redis-server", ["--bind", "127.0.0.1", "--port", `${port}`, "--save", "", "--appendonly", "no"])
  const ended = once(child, "exit")
  await within(
    new Promise<void>((resolve, reject) => {
      let output = ""
      child.stdout.on("data", (chunk) => {
        output += String(chunk)
        if (output.includes("Ready to accept connections")) resolve()
      })
      void ended.then(() => reject(new Error(`Redis has ended: ${output}`)))
    }),
    () => "Redis to be ready"
  )
  return {
    url: `redis://127.0.0.1:${port}`,
    stop: async () => {
      child.kill("SIGTERM")
      await ended
    }
  }
}
