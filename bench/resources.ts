/** Measures requests for a resource, and live queries of it, against the same by hand. See README.md. */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { SqlClient } from "effect/sql/SqlClient"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { machine, median, table } from "./measure.ts"
import { nextMessage, type Server, serverOf, start, stop } from "./processes.ts"
import type * as Load from "./resources/load.ts"
import type * as Receivers from "./resources/receivers.ts"
import { type Database, type Operation, operations, url } from "./resources/tasks.ts"

const { values } = parseArgs({
  options: {
    smoke: { type: "boolean", default: false },
    only: { type: "string", default: "sqlite,postgres,live" },
    operations: { type: "string" },
    seconds: { type: "string" },
    rounds: { type: "string" },
    connections: { type: "string" },
    queries: { type: "string" },
    json: { type: "string" }
  }
})

const seconds = Number(values.seconds ?? (values.smoke ? 0.1 : 0.5))
/** Whoever is measured has run for so long, in seconds. */
const warmUp = values.smoke ? seconds : Math.max(1, 2 * seconds)
const rounds = Number(values.rounds ?? (values.smoke ? 1 : 7))
const connections = Number(values.connections ?? (values.smoke ? 4 : 20))
const queries = Number(values.queries ?? (values.smoke ? 100 : 1000))
const only = values.only.split(",")
const names = Object.keys(operations) as ReadonlyArray<Operation>
const chosen = values.operations?.split(",").map((name) => names.find((known) => known === name)!) ?? names

const ws = { name: "ws", path: "/" }
const effectChannels = { name: "effect-channels", path: "/ws/" }
const contenders = [ws, effectChannels]

// ---- PostgreSQL

const admin = (statement: string): Promise<unknown> =>
  Effect.runPromise(
    Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement)).pipe(
      Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1, connectTimeout: "2 seconds" }))
    )
  )

/** Does something with a schema of each contender, which is dropped then. */
const withSchemas = async (use: (schemaOf: (contender: string) => string) => Promise<void>): Promise<void> => {
  const schemaOf = (name: string) => `bench_${process.pid}_${name.replaceAll(/\W/g, "_")}`
  for (const { name } of contenders) await admin(`CREATE SCHEMA ${schemaOf(name)}`)
  try {
    await use(schemaOf)
  } finally {
    for (const { name } of contenders) await admin(`DROP SCHEMA ${schemaOf(name)} CASCADE`)
  }
}

// ---- SQLite

/** Does something with a file of each contender, which is deleted then. */
const withFiles = async (use: (fileOf: (contender: string) => string) => Promise<void>): Promise<void> => {
  const directory = mkdtempSync(join(tmpdir(), "bench-"))
  try {
    await use((name) => join(directory, `${name}.db`))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

// ---- processes

/** A contender's server, and what puts load on it. */
interface Pair {
  readonly name: string
  readonly server: Server
  readonly load: <A>(command: Load.Command | Receivers.Command) => Promise<A>
}

/** Starts a server of each contender, with what puts load on it, and stops them when `use` is done. */
const withPairs = async (
  kind: "resources" | "live",
  envOf: (contender: string) => Readonly<Record<string, string>>,
  use: (pairs: ReadonlyArray<Pair>) => Promise<void>
): Promise<void> => {
  const started = contenders.map((contender) => ({
    ...contender,
    child: start(`servers/${kind}/${contender.name}.ts`, envOf(contender.name)),
    load: start(kind === "resources" ? "resources/load.ts" : "resources/receivers.ts")
  }))
  try {
    const pairs = await Promise.all(started.map(async ({ child, load, name }): Promise<Pair> => ({
      name,
      server: await serverOf(child, `server ${name}`),
      load: (command) => {
        load.send(command)
        return nextMessage(load, `load on ${name}`)
      }
    })))
    await use(pairs)
  } finally {
    await Promise.all(started.flatMap(({ child, load }) => [stop(load), stop(child)]))
  }
}

// ---- what they say

/** A message, whatever the order of its keys. */
const canonical = (message: string): string =>
  JSON.stringify(
    JSON.parse(message),
    (_, value: unknown) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1))
        : value
  )

/** All contenders must say the same. */
const compare = (what: string, said: ReadonlyArray<ReadonlyArray<string>>): void => {
  const [first, ...others] = said.map((messages) => messages.map(canonical).sort())
  for (const [i, other] of others.entries()) {
    const at = first!.findIndex((message, at) => message !== other[at])
    if (at >= 0 || first!.length !== other.length) {
      throw new Error(`${what}: ${ws.name} says\n${first![at]}\n${contenders[i + 1]!.name} says\n${other[at]}`)
    }
  }
  for (const message of first!) {
    const { status } = JSON.parse(message)
    if (status !== 200 && status !== 206) throw new Error(`${what}: ${message}`)
  }
}

// ---- measurements

interface Sample {
  readonly rate: number
  /** CPU time of the server process, in microseconds. */
  readonly cpu: number
  readonly busy: number
  /** To the last delivery, in milliseconds. */
  readonly p50?: number
}

/** Has the contenders take turns, each round beginning with another one. */
const inTurns = async (
  pairs: ReadonlyArray<Pair>,
  measure: (pair: Pair) => Promise<Sample>
): Promise<ReadonlyMap<string, ReadonlyArray<Sample>>> => {
  const samples = new Map<string, Array<Sample>>(pairs.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const pair of round % 2 === 0 ? pairs : pairs.toReversed()) samples.get(pair.name)!.push(await measure(pair))
  }
  return samples
}

const rows: Array<ReadonlyArray<string>> = []
const report: Array<object> = []
let busiest = 0

/** One line of the table: ratios are medians of the rounds, in each of which both had the same minute. */
const tell = (what: string, samples: ReadonlyMap<string, ReadonlyArray<Sample>>): void => {
  const hand = samples.get(ws.name)!
  const own = samples.get(effectChannels.name)!
  const ratio = (of: (sample: Sample) => number) =>
    median(own.map((sample, round) => of(sample) / of(hand[round]!))).toFixed(2)
  const figure = (of: (sample: Sample) => number, digits: number) =>
    [hand, own].map((samples) => median(samples.map(of)).toFixed(digits)).join(" : ")
  const hasLatency = hand[0]!.p50 !== undefined
  busiest = Math.max(busiest, ...[...hand, ...own].map(({ busy }) => busy))
  rows.push([
    what,
    figure(({ rate }) => rate, 0),
    ratio(({ rate }) => rate),
    figure(({ cpu }) => cpu, 1),
    ratio(({ cpu }) => cpu),
    hasLatency ? figure(({ p50 }) => p50!, 1) : "",
    hasLatency ? ratio(({ p50 }) => p50!) : ""
  ])
  report.push({ what, samples: Object.fromEntries(samples) })
}

const measureRequests = (database: Database, envOf: (contender: string) => Readonly<Record<string, string>>) =>
  withPairs("resources", (name) => ({ ...envOf(name), DATABASE: database }), async (pairs) => {
    for (const { load, name, server } of pairs) {
      const path = contenders.find((contender) => contender.name === name)!.path
      await load({ type: "open", path, port: server.port, connections })
    }
    for (const operation of chosen) {
      process.stderr.write(`${database}: ${operation}\n`)
      const said: Array<ReadonlyArray<string>> = []
      for (const { load } of pairs) said.push((await load<Load.Replies>({ type: "ask", operation })).replies)
      compare(`${database}, ${operation}`, said)
      for (const { load } of pairs) {
        await load({ type: "run", operation, inFlight: 8, seconds: warmUp })
      }
      for (const inFlight of [1, 8]) {
        const samples = await inTurns(pairs, async ({ load, server }) => {
          const before = await server.cpu()
          const { busy, requests, seconds: took } = await load<Load.Outcome>({
            type: "run",
            operation,
            inFlight,
            seconds
          })
          return { rate: requests / took, cpu: (await server.cpu() - before) / requests, busy }
        })
        tell(`${database}, ${operation}, ${inFlight} in flight`, samples)
      }
    }
  })

const measureLive = (connections: number, queries: number) =>
  withPairs("live", () => ({ DATABASE: "sqlite" }), async (pairs) => {
    process.stderr.write(`live: ${connections} connections with ${queries} queries each\n`)
    const said: Array<ReadonlyArray<string>> = []
    for (const { load, name, server } of pairs) {
      const path = contenders.find((contender) => contender.name === name)!.path
      const { messages } = await load<Receivers.Told>({ type: "open", path, port: server.port, connections, queries })
      said.push(messages)
    }
    compare("live", said)
    for (const { load } of pairs) await load({ type: "run", seconds: warmUp })
    const samples = await inTurns(pairs, async ({ load, server }) => {
      const before = await server.cpu()
      const outcome = await load<Receivers.Outcome>({ type: "run", seconds })
      const { busy, deliveries, p50, seconds: took } = outcome
      return { rate: deliveries / took, cpu: (await server.cpu() - before) / deliveries, busy, p50 }
    })
    tell(`${connections} connections, ${queries} live queries each`, samples)
  })

console.log(machine)
if (only.includes("sqlite")) {
  await withFiles((fileOf) => measureRequests("sqlite", (name) => ({ FILE: fileOf(name) })))
}
if (only.includes("postgres")) {
  const answers = await admin("SELECT 1").then(() => true, () => false)
  if (answers) await withSchemas((schemaOf) => measureRequests("postgres", (name) => ({ SCHEMA: schemaOf(name) })))
  else console.log("PostgreSQL is left out: it does not answer at 127.0.0.1:5432, or where POSTGRES_URL says.")
}
if (only.includes("live")) {
  await measureLive(queries, 1)
  await measureLive(queries / 10, 10)
}

console.log(
  `\n${connections} connections, ${rounds} rounds of ${seconds} s; ws : effect-channels, medians, and medians of their ratios\n`
)
console.log(
  table([
    ["", "requests or deliveries/s", "ratio", "server CPU, µs each", "ratio", "p50 to the last, ms", "ratio"],
    ...rows
  ])
)
console.log(`\nThe load generator used at most ${Math.round(busiest * 100)} % of a core.`)

if (values.json !== undefined) {
  writeFileSync(
    values.json,
    `${JSON.stringify({ machine, options: { seconds, rounds, connections }, cases: report }, undefined, 2)}\n`
  )
}
