/** The measurements both programs share, and how their tables are written. */
import type { Outcome } from "./load.ts"
import type { Load, Server } from "./processes.ts"

export interface Sample extends Outcome {
  /** CPU time of the server process for one request and its reply, in microseconds. */
  readonly cpu: number
}

/** Runs load for `seconds` and reads off what it cost the server. */
export const sample = async (
  server: Server,
  load: Load,
  options: { readonly connections: number; readonly inFlight: number; readonly seconds: number }
): Promise<Sample> => {
  const before = await server.cpu()
  const outcome = await load.run(options)
  const cpu = (await server.cpu() - before) / outcome.requests
  return { ...outcome, cpu }
}

/** Bytes of resident set that one idle connection, which has made one request, adds to a server. */
export const idleBytes = async (server: Server, load: Load, connections: number): Promise<number> => {
  // The first connection pays for what is loaded just once. More would leave freed memory behind, to be used again.
  await load.open(1)
  await load.close()
  const before = await server.rss()
  await load.open(connections)
  return (await server.rss() - before) / connections
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const half = (sorted.length - 1) / 2
  return (sorted[Math.floor(half)]! + sorted[Math.ceil(half)]!) / 2
}

/** Rows of cells as an aligned Markdown table; the first row is the head, the first column is aligned left. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  const aligned = rows.map((row) =>
    line(row.map((cell, column) => column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
  )
  const rule = line(widths.map((width, column) => column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`))
  return [aligned[0], rule, ...aligned.slice(1)].join("\n")
}
