/** Measures all contenders side by side and prints one table. See README.md. */
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { contenderNamed, contenders } from "./contenders.ts"
import { idleBytes, inTurns, machine, mediansOf, reportOf, type Sample, sample, tableOf } from "./measure.ts"
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

const results = await inTurns(chosen, rounds, measure)
const medians = mediansOf(results, figures)

const names = chosen.map(({ name }) => name)
const legend = names.includes("ws") ? "; in brackets the ratio to ws" : ""
console.log(`${machine}; ${connections} connections, median of ${rounds} × ${seconds} s${legend}\n`)
console.log(tableOf(names, medians, "ws"))

const busiest = Math.max(...[...results.values()].flat().flatMap(({ eight, one }) => [one.busy, eight.busy]))
console.log(`\nThe load generator used at most ${Math.round(busiest * 100)} % of a core.`)

if (values.json !== undefined) {
  const report = {
    machine,
    options: { seconds, rounds, connections, idle },
    contenders: reportOf(results, medians)
  }
  writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`)
}
