/**
 * What every measured server tells the process that spawned it: its port once it listens, and on request the CPU time
 * it has used so far (µs) or its settled resident set (bytes).
 */
import { setTimeout as sleep } from "node:timers/promises"

export type Question = "cpu" | "rss"

export interface Report {
  readonly port: number
  readonly cpu: number
  readonly rss: number
}

const cpu = () => {
  const { system, user } = process.cpuUsage()
  return user + system
}

/** Collects garbage until two readings in a row differ by less than 128 KiB: freed pages go back with a delay. */
const settledRss = async () => {
  let last = Infinity
  for (let i = 0; i < 20; i++) {
    globalThis.gc?.()
    await sleep(100)
    const rss = process.memoryUsage.rss()
    if (Math.abs(rss - last) < 128 * 1024) return rss
    last = rss
  }
  return last
}

/** Call once, when the server listens. */
export const report = (port: number): void => {
  if (process.send === undefined) {
    console.log(`listening on ${port}`)
    return
  }
  const answer = (part: Partial<Report>) => process.send?.(part)
  process.on("message", (question: Question) => {
    if (question === "cpu") answer({ cpu: cpu() })
    else if (question === "rss") void settledRss().then((rss) => answer({ rss }))
  })
  process.on("disconnect", () => process.exit())
  answer({ port })
}

/** The port to listen on: `PORT`, or a free one. */
export const wantedPort = Number(process.env["PORT"] ?? 0)
