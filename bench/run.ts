/** Measures all contenders side by side and prints one table. See README.md. */
import { writeFileSync } from "node:fs"
import { availableParallelism, cpus } from "node:os"
import { parseArgs } from "node:util"
import { contenderNamed, contenders } from "./contenders.ts"
import { idleBytes, median, type Sample, sample, table } from "./measure.ts"
import { withServer } from "./processes.ts"

const { values } = parseArgs({
  options: {
    smoke: { type: "boolean", default: false },
    only: { type: "string" },
    seconds: { type: "string" },
    rounds: { type: "string" },
    connections: { type: "string" },
    idle: { type: "string" },
    json: { type: "string" }
  }
})

const seconds = Number(values.seconds ?? (values.smoke ? 0.3 : 3))
const rounds = Number(values.rounds ?? (values.smoke ? 1 : 3))
const connections = Number(values.connections ?? 50)
const idle = Number(values.idle ?? (values.smoke ? 200 : 5000))
const chosen = values.only?.split(",").map(contenderNamed) ?? contenders

interface Round {
  readonly one: Sample
  readonly eight: Sample
  readonly idle: number
}

const measure = async (contender: string): Promise<Round> => {
  const samples = await withServer(contender, {}, async (server, load) => {
    await load.open(connections)
    await load.run({ connections, inFlight: 8, seconds: seconds / 2 })
    return {
      one: await sample(server, load, { connections, inFlight: 1, seconds }),
      eight: await sample(server, load, { connections, inFlight: 8, seconds })
    }
  })
  return { ...samples, idle: await withServer(contender, {}, (server, load) => idleBytes(server, load, idle)) }
}

const figuresOf = (title: string, pick: (round: Round) => Sample) =>
  [
    [`${title}: requests/s`, 0, (round: Round) => pick(round).requests / pick(round).seconds],
    [`${title}: p50 latency, ms`, 2, (round: Round) => pick(round).p50],
    [`${title}: p99 latency, ms`, 2, (round: Round) => pick(round).p99],
    [`${title}: server CPU, µs/request`, 1, (round: Round) => pick(round).cpu]
  ] as const

const figures = [
  ...figuresOf("1 in flight", (round) => round.one),
  ...figuresOf("8 in flight", (round) => round.eight),
  [`${idle} idle: RSS, KiB/connection`, 1, (round: Round) => round.idle / 1024]
] as const

const results = new Map<string, Array<Round>>(chosen.map(({ name }) => [name, []]))
for (let round = 0; round < rounds; round++) {
  // every round starts with another contender, so that none always follows the same one
  const first = round % chosen.length
  for (const { name } of [...chosen.slice(first), ...chosen.slice(0, first)]) {
    process.stderr.write(`round ${round + 1} of ${rounds}: ${name}\n`)
    results.get(name)!.push(await measure(name))
  }
}

const medians = figures.map(([figure, digits, of]) => ({
  figure,
  digits,
  of: chosen.map(({ name }) => median(results.get(name)!.map(of)))
}))

const baseline = chosen.findIndex(({ name }) => name === "ws")
const number = new Map([0, 1, 2].map((digits) => [
  digits,
  new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })
]))

const machine = `node ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model ?? "unknown CPU"}`
const legend = baseline === -1 ? "" : "; in brackets the ratio to ws"
console.log(`${machine}; ${connections} connections, median of ${rounds} × ${seconds} s${legend}\n`)
console.log(table([
  ["", ...chosen.map(({ name }) => name)],
  ...medians.map(({ digits, figure, of }) => [
    figure,
    ...of.map((value) => {
      const ratio = baseline === -1 ? "" : ` (${(value / of[baseline]!).toFixed(2)})`
      return number.get(digits)!.format(value) + ratio
    })
  ])
]))

const busiest = Math.max(...[...results.values()].flat().flatMap(({ eight, one }) => [one.busy, eight.busy]))
console.log(`\nThe load generator used at most ${Math.round(busiest * 100)} % of a core.`)

if (values.json !== undefined) {
  const medianOf = (column: number) => Object.fromEntries(medians.map(({ figure, of }) => [figure, of[column]]))
  const report = {
    machine,
    options: { seconds, rounds, connections, idle },
    contenders: Object.fromEntries(
      chosen.map(({ name }, column) => [name, { median: medianOf(column), rounds: results.get(name) }])
    )
  }
  writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`)
}
