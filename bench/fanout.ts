/** Measures what it costs to send an event to many connections, on one server and on two. See README.md. */
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { fanOutContenderNamed, fanOutContenders } from "./contenders.ts"
import { inTurns, machine, mediansOf, reportOf, tableOf } from "./measure.ts"
import { withFanOut, withRedis } from "./processes.ts"
import type { Outcome } from "./receivers.ts"

const { values } = parseArgs({
  options: {
    smoke: { type: "boolean", default: false },
    only: { type: "string" },
    nodes: { type: "string", default: "1,2" },
    seconds: { type: "string" },
    rounds: { type: "string" },
    connections: { type: "string" },
    json: { type: "string" }
  }
})

const numbers = (list: string): ReadonlyArray<number> => list.split(",").map(Number)

const seconds = Number(values.seconds ?? (values.smoke ? 0.2 : 3))
const rounds = Number(values.rounds ?? (values.smoke ? 1 : 5))
const connections = numbers(values.connections ?? (values.smoke ? "100" : "1000,10000"))
const chosen = values.only?.split(",").map(fanOutContenderNamed) ?? fanOutContenders

interface Sample extends Outcome {
  /** CPU time of the server processes for one delivery, in microseconds. */
  readonly cpu: number
}

interface Round {
  readonly one: Sample
  readonly eight: Sample
}

const measure = (contender: string, nodes: number, connections: number, env: Readonly<Record<string, string>>) =>
  withFanOut(contender, nodes, env, async (servers, receivers): Promise<Round> => {
    const cpu = async () =>
      (await Promise.all(servers.map((server) => server.cpu()))).reduce((sum, one) => sum + one, 0)
    const sample = async (underWay: number): Promise<Sample> => {
      const before = await cpu()
      const outcome = await receivers.run({ underWay, seconds })
      return { ...outcome, cpu: (await cpu() - before) / outcome.deliveries }
    }
    await receivers.open(connections)
    await receivers.run({ underWay: 8, seconds: seconds / 2 })
    return { one: await sample(1), eight: await sample(8) }
  })

const figuresOf = (title: string, pick: (round: Round) => Sample) =>
  [
    [`${title}: deliveries/s`, 0, (round: Round) => pick(round).deliveries / pick(round).seconds],
    [`${title}: p50 to the last delivery, ms`, 1, (round: Round) => pick(round).p50],
    [`${title}: server CPU, µs/delivery`, 1, (round: Round) => pick(round).cpu]
  ] as const

const figures = [
  ...figuresOf("1 under way", (round) => round.one),
  ...figuresOf("8 under way", (round) => round.eight)
]

const report: Array<object> = []

const compare = async (nodes: number, connections: number, env: Readonly<Record<string, string>>) => {
  const contenders = chosen.filter(({ isShared }) => nodes === 1 || isShared)
  if (contenders.length === 0) return
  process.stderr.write(`${nodes} nodes, ${connections} connections\n`)
  const results = await inTurns(contenders, rounds, (name) => measure(name, nodes, connections, env))
  const medians = mediansOf(results, figures)
  const names = contenders.map(({ name }) => name)
  const baseline = nodes === 1 ? "ws" : "socket.io"
  const where = nodes === 1 ? "one server" : `${nodes} servers over Redis`
  const legend = names.includes(baseline) ? `; in brackets the ratio to ${baseline}` : ""
  console.log(`\n${where}, ${connections} connections, median of ${rounds} × ${seconds} s${legend}\n`)
  console.log(tableOf(names, medians, baseline))
  const busiest = Math.max(...[...results.values()].flat().flatMap(({ eight, one }) => [one.busy, eight.busy]))
  console.log(`\nThe receivers used at most ${Math.round(busiest * 100)} % of a core.`)
  report.push({ nodes, connections, contenders: reportOf(results, medians) })
}

console.log(machine)
for (const nodes of numbers(values.nodes)) {
  for (const count of connections) {
    if (nodes === 1) await compare(nodes, count, {})
    else await withRedis((url) => compare(nodes, count, { REDIS: url }))
  }
}

if (values.json !== undefined) {
  writeFileSync(
    values.json,
    `${JSON.stringify({ machine, options: { seconds, rounds }, cases: report }, undefined, 2)}\n`
  )
}
