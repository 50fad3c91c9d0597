/** The measurements the programs share, and how their tables are written. */
import { availableParallelism, cpus } from "node:os"
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

export const machine = `node ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model ?? "unknown CPU"}`

/** Measures all contenders in turns: once, then all once more. */
export const inTurns = async <A>(
  contenders: ReadonlyArray<{ readonly name: string }>,
  rounds: number,
  measure: (name: string) => Promise<A>
): Promise<ReadonlyMap<string, ReadonlyArray<A>>> => {
  const results = new Map<string, Array<A>>(contenders.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    // every round starts with another contender, so that none always follows the same one
    const first = round % contenders.length
    for (const { name } of [...contenders.slice(first), ...contenders.slice(0, first)]) {
      process.stderr.write(`round ${round + 1} of ${rounds}: ${name}\n`)
      results.get(name)!.push(await measure(name))
    }
  }
  return results
}

/** One row of a table of contenders. */
export interface Figure {
  readonly figure: string
  readonly digits: number
  /** The median of each contender, in their order. */
  readonly of: ReadonlyArray<number>
}

/** The medians of what was measured in rounds; a figure is its name, its digits, and how it is read off. */
export const mediansOf = <Round>(
  results: ReadonlyMap<string, ReadonlyArray<Round>>,
  figures: ReadonlyArray<readonly [string, number, (round: Round) => number]>
): ReadonlyArray<Figure> =>
  figures.map(([figure, digits, of]) => ({
    figure,
    digits,
    of: Array.from(results.values(), (rounds) => median(rounds.map(of)))
  }))

const number = new Map([0, 1, 2].map((digits) => [
  digits,
  new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })
]))

/** A table of contenders, with ratios to one of them in brackets; without them where there is none of that name. */
export const tableOf = (
  names: ReadonlyArray<string>,
  figures: ReadonlyArray<Figure>,
  baseline: string
): string => {
  const base = names.indexOf(baseline)
  return table([
    ["", ...names],
    ...figures.map(({ digits, figure, of }) => [
      figure,
      ...of.map((value) => {
        const ratio = base === -1 ? "" : ` (${(value / of[base]!).toFixed(2)})`
        return number.get(digits)!.format(value) + ratio
      })
    ])
  ])
}

/** What a report has of each contender. */
export const reportOf = <Round>(
  results: ReadonlyMap<string, ReadonlyArray<Round>>,
  figures: ReadonlyArray<Figure>
): object =>
  Object.fromEntries(Array.from(results, ([name, rounds], column) => [
    name,
    { median: Object.fromEntries(figures.map(({ figure, of }) => [figure, of[column]])), rounds }
  ]))
