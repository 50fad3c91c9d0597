/**
 * The receivers of `fanout.ts`, a process of its own: opens connections, posts on some of them, and counts what all of them
 * receive. The next event is posted when everybody has received one; a fixed number of them is under way at once, each posted
 * by another connection.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { isDeepStrictEqual } from "node:util"
import { type Client, obey, openMany } from "./client.ts"
import { expectedEvent, type FanOutContender, fanOutContenderNamed } from "./contenders.ts"
import { opcode, textFrame } from "./websocket.ts"

/** What this process can be told to do. It answers each with one message: an `Outcome`, `{}`, or `{ error }`. */
export type Command =
  | {
    readonly type: "open"
    readonly contender: string
    readonly ports: ReadonlyArray<number>
    readonly connections: number
  }
  | { readonly type: "run"; readonly underWay: number; readonly seconds: number }

export interface Outcome {
  readonly events: number
  readonly deliveries: number
  readonly seconds: number
  /** From a post to the last delivery of its event, in milliseconds. */
  readonly p50: number
  readonly p99: number
  /** The share of one core this process used: near 1, it may be what limits the rate. */
  readonly busy: number
}

/** The ids of events gain some digits during a run. An event longer than that, or shorter, is another message. */
const growth = 10

let clients: ReadonlyArray<Client> = []
let post: Buffer = Buffer.alloc(0)
let eventLength = 0

const isExpected = (contender: FanOutContender, message: string): boolean => {
  try {
    const { id, ...data } = contender.event(message) as { readonly id: unknown }
    return Number.isInteger(id) && isDeepStrictEqual(data, expectedEvent)
  } catch {
    return false
  }
}

/** Opens the connections, then posts once, and verifies what all of them receive. */
const openAll = async ({ connections, contender: name, ports }: Extract<Command, { type: "open" }>) => {
  const contender = fanOutContenderNamed(name)
  post = textFrame(contender.post)
  clients = await openMany(
    contender,
    { from: 0, count: connections },
    (index) => ports[index % ports.length]!,
    async (client) => client
  )
  const events = clients.map(({ nextText }) => nextText())
  clients[0]!.connection.socket.write(post)
  for (const event of await Promise.all(events)) {
    if (!isExpected(contender, event)) throw new Error(`not the expected event: ${event}`)
    eventLength = Buffer.byteLength(event)
  }
  return {}
}

const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.ceil(sorted.length * share) - 1] ?? NaN

const run = async ({ seconds, underWay }: Extract<Command, { type: "run" }>): Promise<Outcome> => {
  const wanted = clients.length
  /** How many connections have received so many events. */
  const receivers: Array<number> = []
  const postedAt: Array<number> = []
  const latencies: Array<number> = []
  const before = process.cpuUsage()
  const start = performance.now()
  const deadline = start + seconds * 1000
  let end = start
  let deliveries = 0
  let drain = () => {}
  const drained = new Promise<void>((resolve) => drain = resolve)

  const postOne = (now: number) => {
    clients[postedAt.length % underWay]!.connection.socket.write(post)
    postedAt.push(now)
    receivers.push(0)
  }

  const complete = () => {
    const now = performance.now()
    latencies.push(now - postedAt[latencies.length]!)
    if (now < deadline) {
      postOne(now)
    } else if (latencies.length === postedAt.length) {
      end = now
      drain()
    }
  }

  for (const { connection, converse } of clients) {
    let received = 0
    connection.onFrame = (kind, data, start, end) => {
      const excess = end - start - eventLength
      if (kind !== opcode.text || excess < 0 || excess > growth) return converse(kind, data, start, end)
      deliveries++
      if (++receivers[received++]! === wanted) complete()
    }
  }
  for (let i = 0; i < underWay; i++) postOne(performance.now())

  await Promise.race([drained, sleep(seconds * 1000 + 30_000, undefined, { ref: false })])
  const { system, user } = process.cpuUsage(before)
  // a moment for events nobody posted
  await sleep(20)
  if (deliveries !== postedAt.length * wanted) {
    throw new Error(`${postedAt.length} events for ${wanted} connections were delivered ${deliveries} times`)
  }
  for (const { connection, converse } of clients) connection.onFrame = converse

  const sorted = latencies.toSorted((a, b) => a - b)
  return {
    events: sorted.length,
    deliveries,
    seconds: (end - start) / 1000,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
    busy: (user + system) / 1000 / (end - start)
  }
}

obey((command: Command) => command.type === "open" ? openAll(command) : run(command))
