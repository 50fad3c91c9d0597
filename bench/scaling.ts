/** Measures what a request costs effect-channels as routes and open connections grow. See README.md. */
import { parseArgs } from "node:util"
import { effectChannels } from "./contenders.ts"
import { median, type Sample, sample, table } from "./measure.ts"
import { withServer } from "./processes.ts"

const { values } = parseArgs({
  options: {
    smoke: { type: "boolean", default: false },
    seconds: { type: "string" },
    rounds: { type: "string" }
  }
})

const seconds = Number(values.seconds ?? (values.smoke ? 0.3 : 3))
const rounds = Number(values.rounds ?? (values.smoke ? 1 : 3))

/** The load always comes from this many connections; the others only are open. */
const active = 50

const cases = [
  { routes: 10, connections: 100 },
  { routes: 1000, connections: 100 },
  { routes: 10, connections: 5000 }
]

const measure = ({ connections, routes }: typeof cases[number]): Promise<Sample> =>
  withServer(effectChannels.name, { ROUTES: String(routes) }, async (server, load) => {
    await load.open(connections)
    await load.run({ connections: active, inFlight: 8, seconds: seconds / 2 })
    return sample(server, load, { connections: active, inFlight: 8, seconds })
  })

const results = cases.map((): Array<Sample> => [])
for (let round = 0; round < rounds; round++) {
  for (const [i, one] of cases.entries()) {
    process.stderr.write(`round ${round + 1} of ${rounds}: ${one.routes} routes, ${one.connections} connections\n`)
    results[i]!.push(await measure(one))
  }
}

const cpu = results.map((samples) => median(samples.map((one) => one.cpu)))
console.log(table([
  ["routes", "connections", "requests/s", "server CPU, µs/request", "ratio"],
  ...cases.map(({ connections, routes }, i) => [
    String(routes),
    String(connections),
    median(results[i]!.map((one) => one.requests / one.seconds)).toFixed(0),
    cpu[i]!.toFixed(1),
    (cpu[i]! / cpu[0]!).toFixed(2)
  ])
]))
