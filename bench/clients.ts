/** Measures what a client costs: calls over one connection, and events. See README.md. */
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { type AddressInfo, connect, createServer } from "node:net"
import { parseArgs } from "node:util"
import type { Command, Outcome } from "./clients/serve.ts"
import { inTurns, machine, mediansOf, reportOf, tableOf } from "./measure.ts"
import { nextMessage, serverOf, start, stop } from "./processes.ts"

interface Contender {
  /** Also the name of its file in `clients`. */
  readonly name: string
  /** The server that it calls, a file in `servers`. */
  readonly server: string
  /** Whether it hears events as well, from `servers/events.ts`. */
  readonly hears: boolean
}

const all: ReadonlyArray<Contender> = [
  { name: "websocket", server: "effect-channels", hears: true },
  { name: "ws", server: "effect-channels", hears: true },
  { name: "effect-channels", server: "effect-channels", hears: true },
  { name: "effect-channels-promise", server: "effect-channels", hears: true },
  { name: "effect-channels-binary", server: "effect-channels", hears: true },
  { name: "effect-rpc", server: "effect-rpc", hears: false }
]

const { values } = parseArgs({
  options: {
    smoke: { type: "boolean", default: false },
    only: { type: "string" },
    seconds: { type: "string" },
    rounds: { type: "string" },
    connections: { type: "string" },
    json: { type: "string" }
  }
})

const seconds = Number(values.seconds ?? (values.smoke ? 0.2 : 2))
const rounds = Number(values.rounds ?? (values.smoke ? 1 : 5))
const connections = Number(values.connections ?? 1)
const chosen = values.only?.split(",").map((name) => {
  const found = all.find((contender) => contender.name === name)
  if (found === undefined) throw new Error(`there is no contender ${name}`)
  return found
}) ?? all
const baseline = "websocket"

interface Client {
  readonly tell: <A = Outcome>(command: Command) => Promise<A>
  readonly port: number
}

/** Starts a fresh server and a fresh client of it, and stops both when `use` is done. */
const withClient = async <A>(name: string, server: string, use: (client: Client) => Promise<A>): Promise<A> => {
  const child = start(`servers/${server}.ts`)
  const client = start(`clients/${name}.ts`)
  try {
    const { port } = await serverOf(child, `server ${server}`)
    return await use({
      port,
      tell: (command) => {
        client.send(command)
        return nextMessage(client, `client ${name}`)
      }
    })
  } finally {
    await Promise.all([stop(client), stop(child)])
  }
}

/** Bytes that were sent to a server, and that came from it. */
interface Bytes {
  sent: number
  received: number
}

/** Passes on to a port what comes to another one, and counts it. */
const withCounter = async <A>(to: number, use: (port: number, bytes: Bytes) => Promise<A>): Promise<A> => {
  const bytes = { sent: 0, received: 0 }
  const proxy = createServer((inner) => {
    const outer = connect(to, "127.0.0.1")
    inner.on("data", (data) => bytes.sent += data.length).on("error", () => outer.destroy()).pipe(outer)
    outer.on("data", (data) => bytes.received += data.length).on("error", () => inner.destroy()).pipe(inner)
  }).listen(0, "127.0.0.1")
  await once(proxy, "listening")
  try {
    return await use((proxy.address() as AddressInfo).port, bytes)
  } finally {
    proxy.close()
  }
}

/** The bytes of a call and its reply, or of an event and the share that it has of what it was asked for by. */
const bytesOf = (client: Client, open: "calls" | "events", run: Command): Promise<Bytes> =>
  withCounter(client.port, async (port, bytes) => {
    await client.tell({ type: "open", what: open, port, connections: 1 })
    // the handshake, and what is said first
    await client.tell(run)
    const before = { ...bytes }
    const { count } = await client.tell(run)
    const per = { sent: (bytes.sent - before.sent) / count, received: (bytes.received - before.received) / count }
    await client.tell({ type: "close" })
    return per
  })

interface CallsRound {
  readonly bytes: Bytes
  readonly one: Outcome
  readonly many: Outcome
}

const inFlight = 64

const measureCalls = (name: string): Promise<CallsRound> =>
  withClient(name, all.find((contender) => contender.name === name)!.server, async (client) => {
    const bytes = await bytesOf(client, "calls", { type: "call", inFlight: 1, seconds: 0.05 })
    await client.tell({ type: "open", what: "calls", port: client.port, connections })
    await client.tell({ type: "call", inFlight, seconds: seconds / 2 })
    return {
      bytes,
      one: await client.tell({ type: "call", inFlight: 1, seconds }),
      many: await client.tell({ type: "call", inFlight, seconds })
    }
  })

interface EventsRound {
  readonly bytes: Bytes
  readonly together: Outcome
  readonly apart: Outcome
}

const measureEvents = (name: string): Promise<EventsRound> =>
  withClient(name, "events", async (client) => {
    const bytes = await bytesOf(client, "events", { type: "hear", apart: false, seconds: 0.05 })
    await client.tell({ type: "open", what: "events", port: client.port, connections: 1 })
    await client.tell({ type: "hear", apart: false, seconds: seconds / 2 })
    return {
      bytes,
      together: await client.tell({ type: "hear", apart: false, seconds }),
      apart: await client.tell({ type: "hear", apart: true, seconds })
    }
  })

const callFigures = (title: string, pick: (round: CallsRound) => Outcome) =>
  [
    [`${title}: calls/s`, 0, (round: CallsRound) => pick(round).count / pick(round).seconds],
    [`${title}: client CPU, µs/call`, 1, (round: CallsRound) => pick(round).cpu],
    [`${title}: p50 latency, ms`, 2, (round: CallsRound) => pick(round).p50],
    [`${title}: p99 latency, ms`, 2, (round: CallsRound) => pick(round).p99]
  ] as const

const eventFigures = (title: string, pick: (round: EventsRound) => Outcome) =>
  [
    [`${title}: events/s`, 0, (round: EventsRound) => pick(round).count / pick(round).seconds],
    [`${title}: client CPU, µs/event`, 2, (round: EventsRound) => pick(round).cpu]
  ] as const

/** Measures contenders, and prints a table of them. */
const compare = async <Round>(
  what: string,
  contenders: ReadonlyArray<Contender>,
  measure: (name: string) => Promise<Round>,
  figures: ReadonlyArray<readonly [string, number, (round: Round) => number]>
) => {
  if (contenders.length === 0) return {}
  process.stderr.write(`${what}\n`)
  const results = await inTurns(contenders, rounds, measure)
  const medians = mediansOf(results, figures)
  const names = contenders.map(({ name }) => name)
  const legend = names.includes(baseline) ? `; in brackets the ratio to ${baseline}` : ""
  console.log(`\n${what}, median of ${rounds} × ${seconds} s${legend}\n`)
  console.log(tableOf(names, medians, baseline))
  return reportOf(results, medians)
}

console.log(machine)
const calls = await compare(
  `Calls, ${connections} ${connections === 1 ? "connection" : "connections"}`,
  chosen,
  measureCalls,
  [
    ...callFigures("1 in flight", (round) => round.one),
    ...callFigures(`${inFlight} in flight`, (round) => round.many),
    ["bytes of a call", 0, (round) => round.bytes.sent],
    ["bytes of a reply", 0, (round) => round.bytes.received]
  ]
)
const events = await compare("Events", chosen.filter(({ hears }) => hears), measureEvents, [
  ...eventFigures("128 in a write", (round) => round.together),
  ...eventFigures("1 in a write", (round) => round.apart),
  ["bytes of an event", 0, (round) => round.bytes.received]
])

if (values.json !== undefined) {
  const report = { machine, options: { seconds, rounds, connections }, calls, events }
  writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`)
}
