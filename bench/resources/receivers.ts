/**
 * The receivers of live queries, a process of its own: opens connections with so many live queries each, and another one that
 * writes. The next change is written when everybody has been told of the one before.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type Client, obey, openMany } from "../client.ts"
import { opcode, textFrame } from "../websocket.ts"
import { nameOf } from "./tasks.ts"

/** What this process can be told to do. It answers each with one message: an `Outcome`, `Told`, or `{ error }`. */
export type Command =
  | {
    readonly type: "open"
    readonly path: string
    readonly port: number
    readonly connections: number
    /** Of each connection. */
    readonly queries: number
  }
  | { readonly type: "run"; readonly seconds: number }

export interface Outcome {
  readonly changes: number
  readonly deliveries: number
  readonly seconds: number
  /** From a write to the last delivery of it, in milliseconds. */
  readonly p50: number
  readonly p99: number
  /** The share of one core this process used: near 1, it may be what limits the rate. */
  readonly busy: number
}

/** What everybody was told, as it came: to begin with, and of two changes. */
export interface Told {
  readonly messages: ReadonlyArray<string>
}

const firstId = 100

/** Two changes of a task that everybody sees, in turn. */
const changes = ["write the minutes", "read the minutes"].map((title, i) =>
  textFrame(JSON.stringify({
    action: "partial_update",
    route: "tasks/2/",
    data: { title, priority: i },
    request_id: firstId + i
  }))
)

let clients: ReadonlyArray<Client> = []
let writer: Client
let queries = 0
let written = 0
/** Of what is told of a change. */
let shortest = 0
let longest = 0

const write = () => writer.connection.socket.write(changes[written++ % 2]!)

/** Opens everything, and makes two changes; everybody is told of both. */
const open = async (command: Extract<Command, { type: "open" }>): Promise<Told> => {
  const { connections, path, port } = command
  queries = command.queries
  const messages: Array<string> = []
  const opened: Array<Client> = []
  for (let user = 0; user < connections + 1; user += 50) {
    // Connections that are opened together are those of all users.
    const batch = await Promise.all(
      Array.from({ length: Math.min(50, connections + 1 - user) }, async (_, i) => {
        const index = user + i
        const name = index === connections ? nameOf(1) : nameOf(index)
        const [client] = await openMany(
          { path: `${path}?token=${name}`, prelude: [] },
          { from: index, count: 1 },
          () => port,
          async (client) => client
        )
        return client!
      })
    )
    opened.push(...batch)
  }
  writer = opened.pop()!
  clients = opened
  await Promise.all(clients.map(async (client) => {
    for (let i = 0; i < queries; i++) {
      client.connection.socket.write(
        textFrame(JSON.stringify({ action: "subscribe", route: "tasks/?done=false", request_id: firstId + i }))
      )
      messages.push(await client.nextText())
    }
  }))
  const lengths: Array<number> = []
  for (let i = 0; i < 2; i++) {
    const told = clients.map(async ({ nextText }) => {
      for (let i = 0; i < queries; i++) {
        const message = await nextText()
        messages.push(message)
        lengths.push(Buffer.byteLength(message))
      }
    })
    const reply = writer.nextText()
    write()
    messages.push(await reply)
    await Promise.all(told)
  }
  shortest = Math.min(...lengths)
  longest = Math.max(...lengths)
  return { messages: messages.sort() }
}

const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.ceil(sorted.length * share) - 1] ?? NaN

const run = async ({ seconds }: Extract<Command, { type: "run" }>): Promise<Outcome> => {
  const wanted = clients.length * queries
  const latencies: Array<number> = []
  const before = process.cpuUsage()
  const start = performance.now()
  const deadline = start + seconds * 1000
  let writtenAt = 0
  let deliveries = 0
  let replies = 0
  let writes = 0
  let end = start
  let drain = () => {}
  const drained = new Promise<void>((resolve) => drain = resolve)

  const writeOne = (now: number) => {
    writes++
    writtenAt = now
    write()
  }
  // Both are waited for: a change that is not answered yet is not over.
  const proceed = () => {
    if (deliveries < writes * wanted || replies < writes) return
    const now = performance.now()
    if (now < deadline) {
      writeOne(now)
    } else {
      end = now
      drain()
    }
  }
  for (const { connection, converse } of clients) {
    connection.onFrame = (kind, data, start, end) => {
      const length = end - start
      if (kind !== opcode.text || length < shortest || length > longest) return converse(kind, data, start, end)
      if (++deliveries < writes * wanted) return
      latencies.push(performance.now() - writtenAt)
      proceed()
    }
  }
  writer.connection.onFrame = (kind, data, start, end) => {
    if (kind !== opcode.text) return writer.converse(kind, data, start, end)
    replies++
    proceed()
  }
  writeOne(performance.now())

  await Promise.race([drained, sleep(seconds * 1000 + 10_000, undefined, { ref: false })])
  const { system, user } = process.cpuUsage(before)
  // a moment for changes nobody made
  await sleep(20)
  if (deliveries !== writes * wanted) {
    throw new Error(`${writes} changes for ${wanted} live queries were delivered ${deliveries} times`)
  }
  for (const { connection, converse } of [...clients, writer]) connection.onFrame = converse

  const sorted = latencies.toSorted((a, b) => a - b)
  return {
    changes: writes,
    deliveries,
    seconds: (end - start) / 1000,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
    busy: (user + system) / 1000 / (end - start)
  }
}

obey((command: Command) => command.type === "open" ? open(command) : run(command))
