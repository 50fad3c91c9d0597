/**
 * Measures what a request costs effect-channels as routes and open connections grow. Raw `ws` shows how much of it is the
 * machine's: a larger heap, more sockets in the kernel. See README.md.
 */
import { parseArgs } from "node:util"
import { contenderNamed } from "./contenders.ts"
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
  { server: "effect-channels", routes: 10, connections: 100 },
  { server: "effect-channels", routes: 1000, connections: 100 },
  { server: "effect-channels", routes: 10, connections: 5000 },
  { server: "ws", routes: 0, connections: 100 },
  { server: "ws", routes: 0, connections: 5000 }
]

const measure = ({ connections, routes, server }: typeof cases[number]): Promise<Sample> =>
  withServer(contenderNamed(server).name, { ROUTES: String(routes) }, async (server, load) => {
    await load.open(connections)
    await load.run({ connections: active, inFlight: 8, seconds: seconds / 2 })
    return sample(server, load, { connections: active, inFlight: 8, seconds })
  })

const results = cases.map((): Array<Sample> => [])
for (let round = 0; round < rounds; round++) {
  for (const [i, one] of cases.entries()) {
    process.stderr.write(
      `round ${round + 1} of ${rounds}: ${one.server}, ${one.routes} routes, ${one.connections} connections\n`
    )
    results[i]!.push(await measure(one))
  }
}

const cpu = results.map((samples) => median(samples.map((one) => one.cpu)))
console.log(table([
  ["server", "routes", "connections", "requests/s", "server CPU, µs/request", "ratio"],
  ...cases.map(({ connections, routes, server }, i) => [
    server,
    routes === 0 ? "" : String(routes),
    String(connections),
    median(results[i]!.map((one) => one.requests / one.seconds)).toFixed(0),
    cpu[i]!.toFixed(1),
    (cpu[i]! / cpu[cases.findIndex((first) => first.server === server)]!).toFixed(2)
  ])
]))
