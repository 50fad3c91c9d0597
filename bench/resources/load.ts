/**
 * The load generator of `resources.ts`, a process of its own: opens connections, each of which has so many requests in flight, and
 * counts replies. All replies are looked at before anything is measured.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type Client, obey, openMany } from "../client.ts"
import { opcode, textFrame } from "../websocket.ts"
import { nameOf, type Operation, operations } from "./tasks.ts"

/** What this process can be told to do. It answers each with one message: an `Outcome`, `Replies`, `{}`, or `{ error }`. */
export type Command =
  | { readonly type: "open"; readonly path: string; readonly port: number; readonly connections: number }
  | { readonly type: "ask"; readonly operation: Operation }
  | { readonly type: "run"; readonly operation: Operation; readonly inFlight: number; readonly seconds: number }

export interface Outcome {
  readonly requests: number
  readonly seconds: number
  /** The share of one core this process used: near 1, it may be what limits the rate. */
  readonly busy: number
}

export interface Replies {
  /** All replies, as they came. */
  readonly replies: ReadonlyArray<string>
}

/** How many distinct requests a connection makes in turn. */
const ids = 64
const firstId = 100

interface Asker extends Client {
  /** The requests of the operation. */
  frames: ReadonlyArray<Buffer>
  next: number
}

let clients: ReadonlyArray<Asker> = []
let prepared: Operation | undefined
/** Of the replies to the operation's requests. */
let shortest = 0
let longest = 0

const open = async ({ connections, path, port }: Extract<Command, { type: "open" }>) => {
  const protocol = { path: `${path}?token=${nameOf(0)}`, prelude: [] }
  clients = await openMany(
    protocol,
    { from: 0, count: connections },
    () => port,
    async (client) => ({ ...client, frames: [], next: 0 })
  )
  return {}
}

/** Makes all requests of an operation once, one after the other. */
const ask = async (operation: Operation): Promise<Replies> => {
  const all = clients.map(async (client, index) => {
    const replies: Array<string> = []
    client.frames = Array.from({ length: ids }, (_, i) => {
      // Connections that ask for the same objects at the same time would wait for each other.
      const request = operations[operation](index + i * clients.length)
      return textFrame(JSON.stringify({ ...request, request_id: firstId + i }))
    })
    for (const frame of client.frames) {
      client.connection.socket.write(frame)
      replies.push(await client.nextText())
    }
    return replies
  })
  const replies = (await Promise.all(all)).flat()
  const lengths = replies.map((reply) => Buffer.byteLength(reply))
  shortest = Math.min(...lengths)
  longest = Math.max(...lengths)
  prepared = operation
  return { replies }
}

const run = async ({ inFlight, operation, seconds }: Extract<Command, { type: "run" }>): Promise<Outcome> => {
  if (operation !== prepared) await ask(operation)
  const before = process.cpuUsage()
  const start = performance.now()
  const deadline = start + seconds * 1000
  let requests = 0
  let unanswered = 0
  let end = start
  let drain = () => {}
  const drained = new Promise<void>((resolve) => drain = resolve)

  const write = (client: Asker, count: number) => {
    const frames: Array<Buffer> = []
    for (let i = 0; i < count; i++) frames.push(client.frames[client.next++ % ids]!)
    unanswered += count
    client.connection.socket.write(frames.length === 1 ? frames[0]! : Buffer.concat(frames))
  }

  for (const client of clients) {
    const { connection, converse } = client
    let replies = 0
    connection.onFrame = (kind, data, start, end) => {
      const length = end - start
      if (kind === opcode.text && length >= shortest && length <= longest) replies++
      else converse(kind, data, start, end)
    }
    connection.onRead = () => {
      if (replies === 0) return
      requests += replies
      unanswered -= replies
      const now = performance.now()
      if (now < deadline) {
        write(client, replies)
      } else if (unanswered <= 0) {
        end = now
        drain()
      }
      replies = 0
    }
  }
  for (const client of clients) write(client, inFlight)

  await Promise.race([drained, sleep(seconds * 1000 + 5000, undefined, { ref: false })])
  const { system, user } = process.cpuUsage(before)
  // a moment for replies nobody asked for
  await sleep(10)
  if (unanswered !== 0) throw new Error(`${requests + unanswered} requests were sent, ${requests} replies came back`)
  for (const { connection, converse } of clients) {
    connection.onFrame = converse
    connection.onRead = () => {}
  }
  return { requests, seconds: (end - start) / 1000, busy: (user + system) / 1000 / (end - start) }
}

obey((command: Command) => {
  switch (command.type) {
    case "open":
      return open(command)
    case "ask":
      return ask(command.operation)
    case "run":
      return run(command)
  }
})
