/**
 * What every client process does: opens connections, makes calls or hears events for some time, checks every reply and every event,
 * and says what that has cost.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { obey } from "../client.ts"
import type { Message, Posted } from "../servers/chat.ts"

/** Answers each with one message: an `Outcome`, `{}`, or `{ error }`. */
export type Command =
  | { readonly type: "open"; readonly what: "calls" | "events"; readonly port: number; readonly connections: number }
  | { readonly type: "call"; readonly inFlight: number; readonly seconds: number }
  | { readonly type: "hear"; readonly apart: boolean; readonly seconds: number }
  | { readonly type: "close" }

export interface Outcome {
  /** Calls that were answered, or events that were heard. */
  readonly count: number
  readonly seconds: number
  /** CPU time of this process for one of them, in microseconds. */
  readonly cpu: number
  /** The share of one core this process used: near 1, it is what limits the rate. */
  readonly busy: number
  /** How long a call took, in milliseconds; of events nothing is said. */
  readonly p50: number
  readonly p99: number
}

/** A run, as those see it who make its calls. */
export interface Calls {
  readonly isOver: () => boolean
  /** Begins a call: posts to the room `room`, with `text` and this count. */
  readonly next: () => number
  /** Takes the reply to the call with this count. */
  readonly take: (count: number, reply: Message) => void
}

/** A connection that posts. */
export interface Caller {
  /** Makes calls, one after the other, until the run is over. */
  readonly call: (calls: Calls) => Promise<void>
  readonly close: () => unknown
}

/** A connection that hears. */
export interface Hearer {
  /** Asks for so many events. */
  readonly ask: (count: number, apart: boolean) => Promise<unknown>
  readonly close: () => unknown
}

/** A way of writing a client. */
export interface Contender {
  readonly calls: (port: number) => Promise<Caller>
  /** Gives every event to `take`. Rejects where that throws, or calls `fail`. */
  readonly events?: (port: number, take: (event: Posted) => void, fail: (error: unknown) => void) => Promise<Hearer>
}

export const room = 42
export const text = "hello world, this is a chat message"

/** Counts are used in turn, far more of them than there are calls in flight: each reply must bring that of its own call. */
const counts = 4096

/** So many events are asked for at once, and twice as many are under way. */
const burst = 128

const patience = 5000

let callers: ReadonlyArray<Caller> = []
let hearer: Hearer | undefined
let take: (event: Posted) => void = () => {}
let fail = (error: unknown): void => {
  throw error
}

const isReply = (count: number, { author, count: counted, id, room: where, text: said }: Message): boolean =>
  counted === count + 1 && Number.isInteger(id) && where === room && said === text && author === "alice"

const percentile = (sorted: Float64Array, share: number): number => sorted[Math.ceil(sorted.length * share) - 1] ?? NaN

/** Does something, and says what it has cost. */
const measured = async (work: () => Promise<ReadonlyArray<number> | number>): Promise<Outcome> => {
  const before = process.cpuUsage()
  const start = performance.now()
  const done = await work()
  const elapsed = performance.now() - start
  const { system, user } = process.cpuUsage(before)
  const sorted = Float64Array.from(typeof done === "number" ? [] : done).sort()
  const count = typeof done === "number" ? done : done.length
  return {
    count,
    seconds: elapsed / 1000,
    cpu: (user + system) / count,
    busy: (user + system) / 1000 / elapsed,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99)
  }
}

/** Fails when it does not happen in time. */
const within = async (seconds: number, done: Promise<unknown>, missing: () => string): Promise<void> => {
  const late = sleep(seconds * 1000 + patience, "late", { ref: false })
  if (await Promise.race([done, late]) === "late") throw new Error(missing())
}

const call = ({ inFlight, seconds }: Extract<Command, { type: "call" }>): Promise<Outcome> =>
  measured(async () => {
    const latencies: Array<number> = []
    const startedAt = new Float64Array(counts)
    const deadline = performance.now() + seconds * 1000
    let begun = 0
    const calls: Calls = {
      isOver: () => performance.now() >= deadline,
      next: () => {
        const count = begun++ % counts
        startedAt[count] = performance.now()
        return count
      },
      take: (count, reply) => {
        if (!isReply(count, reply)) throw new Error(`not the reply to call ${count}: ${JSON.stringify(reply)}`)
        latencies.push(performance.now() - startedAt[count]!)
      }
    }
    const loops = callers.flatMap((caller) => Array.from({ length: inFlight }, () => caller.call(calls)))
    const missing = () => `${begun} calls were made, ${latencies.length} replies came back`
    await within(seconds, Promise.all(loops), missing)
    if (latencies.length !== begun) throw new Error(missing())
    return latencies
  })

const hear = ({ apart, seconds }: Extract<Command, { type: "hear" }>): Promise<Outcome> =>
  measured(() => {
    const deadline = performance.now() + seconds * 1000
    let asked = 0
    let heard = 0
    let lastId: number | undefined
    const { promise, reject, resolve } = Promise.withResolvers<void>()
    const ask = () => {
      asked += burst
      hearer!.ask(burst, apart).catch(reject)
    }
    take = (event) => {
      const { author, id, text: said } = event
      if (said !== text || author !== "alice" || (lastId !== undefined && id !== lastId + 1)) {
        throw new Error(`not the event after ${lastId}: ${JSON.stringify(event)}`)
      }
      lastId = id
      if (++heard % burst !== 0) return
      if (performance.now() < deadline) ask()
      else if (heard === asked) resolve()
    }
    fail = reject
    ask()
    ask()
    const missing = () => `${asked} events were asked for, ${heard} came`
    return within(seconds, promise, missing).then(async () => {
      // a moment for events nobody asked for
      await sleep(20)
      if (heard !== asked) throw new Error(missing())
      return heard
    })
  })

const close = async () => {
  await Promise.all([...callers, ...(hearer === undefined ? [] : [hearer])].map((one) => one.close()))
  callers = []
  hearer = undefined
  return {}
}

const open = async ({ calls, events }: Contender, { connections, port, what }: Extract<Command, { type: "open" }>) => {
  if (what === "calls") callers = await Promise.all(Array.from({ length: connections }, () => calls(port)))
  else hearer = await events!(port, (event) => take(event), (error) => fail(error))
  return {}
}

/** Obeys; by itself, with the port of a server in `PORT`, it makes calls for some seconds. */
export const serve = async (contender: Contender): Promise<void> => {
  if (process.send !== undefined) {
    return obey((command: Command) => {
      switch (command.type) {
        case "open":
          return open(contender, command)
        case "call":
          return call(command)
        case "hear":
          return hear(command)
        case "close":
          return close()
      }
    })
  }
  const what = process.env["EVENTS"] === undefined ? "calls" : "events"
  await open(contender, { type: "open", what, port: Number(process.env["PORT"]), connections: 1 })
  const inFlight = Number(process.env["IN_FLIGHT"] ?? 64)
  const seconds = Number(process.env["SECONDS"] ?? 5)
  console.log(
    await (what === "calls"
      ? call({ type: "call", inFlight, seconds })
      : hear({ type: "hear", apart: process.env["EVENTS"] === "apart", seconds }))
  )
  process.exit()
}
