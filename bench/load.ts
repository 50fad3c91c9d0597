/**
 * The load generator, a process of its own: opens connections, sends pre-built requests, counts replies. Each connection
 * keeps a fixed number of requests in flight: as many are written, in one write, as the last read held replies.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { isDeepStrictEqual } from "node:util"
import { type Client as Opened, obey, openMany } from "./client.ts"
import { type Contender, contenderNamed, expected } from "./contenders.ts"
import { type Connection, opcode, textFrame } from "./websocket.ts"

/** What this process can be told to do. It answers each with one message: an `Outcome`, `{}`, or `{ error }`. */
export type Command =
  | { readonly type: "open"; readonly contender: string; readonly port: number; readonly connections: number }
  | { readonly type: "run"; readonly connections: number; readonly inFlight: number; readonly seconds: number }
  | { readonly type: "close" }

export interface Outcome {
  readonly requests: number
  readonly seconds: number
  /** Latencies in milliseconds. */
  readonly p50: number
  readonly p99: number
  /** The share of one core this process used: near 1, it may be what limits the rate. */
  readonly busy: number
}

interface Client {
  readonly connection: Connection
  /** Handles every frame which is no reply to a request of a run. */
  readonly converse: Connection["onFrame"]
  /** The length of the first reply. */
  readonly replyLength: number
  /** When the requests in flight were written, request `n` at `n % ids`. Replies are taken to come in order. */
  readonly sentAt: Float64Array
  sent: number
  received: number
}

/** How many distinct request ids a connection uses in turn: far more than it ever has in flight. */
const ids = 64
const firstId = 100

/** The ids of messages gain some digits during a run. A reply longer than that, or shorter, is another reply. */
const growth = 10

const clients: Array<Client> = []

/** All requests of the ids in turn, twice, so that any run of up to `ids` of them is one slice. */
let requests = Buffer.alloc(0)

const isExpected = (contender: Contender, message: string): boolean => {
  try {
    const reply = contender.reply(message)
    const { id, ...data } = reply.data as { readonly id: unknown }
    return reply.id === firstId && Number.isInteger(id) && isDeepStrictEqual(data, expected)
  } catch {
    return false
  }
}

/** Makes one request and verifies the reply. */
const greet = (contender: Contender) => async ({ connection, converse, nextText }: Opened): Promise<Client> => {
  connection.socket.write(textFrame(contender.request(firstId)))
  const reply = await nextText()
  if (!isExpected(contender, reply)) throw new Error(`not the expected reply: ${reply}`)
  return {
    connection,
    converse,
    replyLength: Buffer.byteLength(reply),
    sentAt: new Float64Array(ids),
    sent: 0,
    received: 0
  }
}

const openAll = async ({ connections, contender: name, port }: Extract<Command, { type: "open" }>) => {
  const contender = contenderNamed(name)
  const frames = Array.from({ length: ids }, (_, i) => textFrame(contender.request(firstId + i)))
  requests = Buffer.concat([...frames, ...frames])
  clients.push(...await openMany(contender, { from: clients.length, count: connections }, () => port, greet(contender)))
  return {}
}

const closeAll = () => {
  for (const { connection } of clients.splice(0)) {
    connection.onClose = () => {}
    connection.socket.destroy()
  }
  return {}
}

const percentile = (sorted: Float64Array, share: number): number => sorted[Math.ceil(sorted.length * share) - 1] ?? NaN

const run = async ({ connections, inFlight, seconds }: Extract<Command, { type: "run" }>): Promise<Outcome> => {
  const latencies: Array<number> = []
  const active = clients.slice(0, connections)
  const requestSize = requests.length / (2 * ids)
  const before = process.cpuUsage()
  const start = performance.now()
  const deadline = start + seconds * 1000
  let unanswered = 0
  let end = start
  let drain = () => {}
  const drained = new Promise<void>((resolve) => drain = resolve)

  const write = (client: Client, count: number, now: number) => {
    const first = (client.sent % ids) * requestSize
    for (let i = 0; i < count; i++) client.sentAt[client.sent++ % ids] = now
    unanswered += count
    client.connection.socket.write(requests.subarray(first, first + count * requestSize))
  }

  for (const client of active) {
    const { connection, replyLength } = client
    let replies = 0
    connection.onFrame = (kind, data, start, end) => {
      const excess = end - start - replyLength
      if (kind === opcode.text && excess >= 0 && excess <= growth) replies++
      else client.converse(kind, data, start, end)
    }
    connection.onRead = () => {
      if (replies === 0) return
      const now = performance.now()
      for (let i = 0; i < replies; i++) latencies.push(now - client.sentAt[client.received++ % ids]!)
      unanswered -= replies
      if (now < deadline) {
        write(client, replies, now)
      } else if (unanswered <= 0) {
        end = now
        drain()
      }
      replies = 0
    }
  }
  for (const client of active) write(client, inFlight, performance.now())

  await Promise.race([drained, sleep(seconds * 1000 + 5000, undefined, { ref: false })])
  const { system, user } = process.cpuUsage(before)
  // a moment for replies nobody asked for
  await sleep(20)
  const sent = latencies.length + unanswered
  if (unanswered !== 0) throw new Error(`${sent} requests were sent, ${latencies.length} replies came back`)
  for (const client of active) client.connection.onFrame = client.converse

  const sorted = Float64Array.from(latencies).sort()
  return {
    requests: sorted.length,
    seconds: (end - start) / 1000,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
    busy: (user + system) / 1000 / (end - start)
  }
}

const execute = (command: Command) => {
  switch (command.type) {
    case "open":
      return openAll(command)
    case "run":
      return run(command)
    case "close":
      return closeAll()
  }
}

obey(execute)
