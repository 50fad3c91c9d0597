/**
 * People at a board over real sockets, and a database of the test's own.
 */
import { PgClient } from "@effect/sql-pg"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { SqlClient } from "effect/sql/SqlClient"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { WebSocket } from "ws"
import { type Server, start } from "../../quickstart/test/support.ts"

export const file = new URL("../server.ts", import.meta.url)

/** Starts a server over SQLite in memory, whatever the environment says, unless it is told otherwise here. */
export const startServer = (env: Readonly<Record<string, string>> = {}): Promise<Server> =>
  start(file, { DATABASE_URL: "", TASKS_DB: ":memory:", ...env })

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

export const logIn = (server: Server, name: string): Promise<Response> =>
  fetch(`http://localhost:${server.port}/login`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name })
  })

const tokenOf = async (server: Server, name: string): Promise<string> =>
  (await (await logIn(server, name)).json() as { readonly token: string }).token

/** How a handshake would be answered: 426 stands for yes. */
export const handshake = async (server: Server, name: string, board = "website"): Promise<Response> =>
  fetch(`http://localhost:${server.port}/ws/boards/${board}/`, {
    headers: { Authorization: `Bearer ${await tokenOf(server, name)}` }
  })

// --- Connections ----------------------------------------------------------------------------------------------------

/** A reply as it stands on the wire. */
export interface Frame {
  readonly status: number
  readonly request_id: number
  readonly errors: ReadonlyArray<{ readonly code: string; readonly detail: string }>
  // What is in it is what the tests are about.
  readonly data: any
}

/** What is subscribed to: what is told of it is taken in order. */
export class Live {
  readonly #frames: Array<Frame> = []
  #heard: () => void = () => {}

  push(frame: Frame): void {
    this.#frames.push(frame)
    this.#heard()
  }

  /** The next that is told: a change, or how it has ended. */
  next(): Promise<Frame> {
    const wait = async () => {
      while (this.#frames.length === 0) {
        await new Promise<void>((resolve) => {
          this.#heard = resolve
        })
      }
      return this.#frames.shift()!
    }
    return within(wait(), () => "a change")
  }

  /** The next change, in a word: `added Draw a logo 1`. */
  async change(): Promise<string> {
    const { data, errors, status } = await this.next()
    if (status !== 206) return `ended ${status} ${errors[0]?.code}`
    if (data.type === "snapshot") return "snapshot"
    return data.type === "removed" ? `removed ${data.key}` : `${data.type} ${data.object.title} ${data.object.version}`
  }
}

/** Somebody's connection to a board. */
export class Tab {
  readonly #socket: WebSocket
  readonly #asked = new Map<number, (frame: Frame) => void>()
  #lastId = 0
  /** The code and reason of the close frame. */
  readonly closed: Promise<string>

  constructor(socket: WebSocket) {
    this.#socket = socket
    this.closed = once(socket, "close").then(([code, reason]) => `${code} ${reason}`)
    socket.on("message", (data) => {
      const frame: Frame = JSON.parse(String(data))
      this.#asked.get(frame.request_id)?.(frame)
    })
  }

  /** Sends a request, and waits for the reply. */
  ask(action: string, route: string, data?: object): Promise<Frame> {
    return within(
      new Promise<Frame>((resolve) => this.#send({ action, route, data }, resolve)),
      () => `the reply to ${action} ${route}`
    )
  }

  /** Subscribes to what is at a route. */
  subscribe(route: string): Live {
    const live = new Live()
    this.#send({ action: "subscribe", route }, (frame) => live.push(frame))
    return live
  }

  #send(request: object, answer: (frame: Frame) => void): void {
    const id = ++this.#lastId
    this.#asked.set(id, answer)
    this.#socket.send(JSON.stringify({ ...request, request_id: id }))
  }

  /** A new task, which must not be refused. */
  async create(title: string, data: object = {}): Promise<any> {
    const reply = await this.ask("create", "tasks/", { title, ...data })
    if (reply.status !== 201) throw new Error(`${title}: ${reply.status} ${reply.errors[0]?.detail}`)
    return reply.data
  }

  close(): void {
    this.#socket.close()
  }
}

/** Connects somebody to a board. */
export const enter = async (server: Server, name: string, board = "website"): Promise<Tab> => {
  const socket = new WebSocket(`ws://localhost:${server.port}/ws/boards/${board}/`, [
    "effect-channels.json",
    `bearer.${await tokenOf(server, name)}`
  ])
  const tab = new Tab(socket)
  await once(socket, "open")
  return tab
}

// --- Databases ------------------------------------------------------------------------------------------------------

const isCI = !["", "0", "false"].includes(process.env["CI"] ?? "")

const postgresUrl = process.env["POSTGRES_URL"] ?? "postgres://postgres@127.0.0.1:5432/postgres"

/** Runs a statement over a connection of its own, as somebody else would. */
export const query = (url: string, ...statements: ReadonlyArray<string>): Promise<void> =>
  Effect.runPromise(
    Effect.gen(function*() {
      const sql = yield* SqlClient
      for (const statement of statements) yield* sql.unsafe(statement)
    }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })))
  )

/** Whether there is a PostgreSQL. */
export const hasPostgres: boolean = await query(postgresUrl, "SELECT 1").then(() => true, () => false)

const advice = `there is no PostgreSQL at ${postgresUrl}: start one there, or say in POSTGRES_URL where it is`

/** Whether tests with PostgreSQL are skipped. They say so; in CI they fail instead. */
export const skipsPostgres = (name: string): boolean => {
  const isSkipped = !hasPostgres && !isCI
  if (isSkipped) console.warn(`Not tested: ${name}. ${advice}`)
  return isSkipped
}

export interface Database {
  readonly url: string
  readonly drop: () => Promise<void>
}

/** Makes an empty database of PostgreSQL that nobody else uses. */
export const makePostgres = async (): Promise<Database> => {
  if (!hasPostgres) throw new Error(advice)
  const name = `tasks_${randomUUID().replaceAll("-", "")}`
  await query(postgresUrl, `CREATE DATABASE ${name}`)
  const url = new URL(postgresUrl)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => query(postgresUrl, `DROP DATABASE ${name} WITH (FORCE)`) }
}
