/**
 * Checks the direction of imports in `packages/*\/src`:
 * - core imports `effect` and its own files, nothing else; other packages what their package.json declares, and node:
 * - one module at a time: `effect/Effect`, not `effect`
 * - the contract of core does not reach its interpreters, not even through others, not even for a type
 * - neither it nor the client reaches the codec of binary frames, which who speaks JSON does not load
 * - no module imports itself at run time, through whatever other modules
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { packages, report, root, sources } from "./packages.ts"

const contract = [
  "Action",
  "Authentication",
  "Authority",
  "ChannelError",
  "ChannelLayer",
  "Check",
  "Codec",
  "ConnectionScope",
  "Consumer",
  "Credentials",
  "Decision",
  "Event",
  "Filter",
  "Group",
  "Idempotency",
  "Membership",
  "Pagination",
  "Permission",
  "Query",
  "Reply",
  "Repository",
  "Resource",
  "Route",
  "Scheme",
  "Settings",
  "Throttle"
]
const interpreters = ["AsyncApi", "Client", "ClientError", "Connector", "Pipeline", "testing"]
const binary = /^(BinaryCodec|internal\/binary-wire|internal\/compact(-\w+)?)\.ts$/

interface Import {
  readonly specifier: string
  readonly type: boolean
}

const statements = /^(?:import|export)\s+(type\s)?[^"'`;=()]*?\bfrom\s*"([^"]+)"|^import\s*"([^"]+)"/gm
const inline = /^(?!\s*(?:\*|\/\/)).*\bimport\("([^"]+)"\)/gm

const importsOf = (source: string): ReadonlyArray<Import> => [
  ...source.matchAll(statements).map(([, type, from, bare]) => ({
    specifier: (from ?? bare)!,
    type: type !== undefined
  })),
  ...source.matchAll(inline).map(([, specifier]) => ({ specifier: specifier!, type: true }))
]

const packageName = (specifier: string) => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/")

type Graph = ReadonlyMap<string, ReadonlyArray<string>>

// The shortest way from one file to another one that `found` accepts
const way = (graph: Graph, from: string, found: (file: string) => boolean): ReadonlyArray<string> | undefined => {
  const seen = new Set<string>()
  const ways = [[from]]
  for (const current of ways) {
    for (const next of graph.get(current.at(-1)!) ?? []) {
      if (found(next)) return [...current, next]
      if (!seen.has(next)) ways.push([...current, next])
      seen.add(next)
    }
  }
  return undefined
}

const problems: Array<string> = []
for (const self of packages) {
  const core = self.name === "@effect-channels/core"
  const declared = Object.keys({ ...self.json["dependencies"] as object, ...self.json["peerDependencies"] as object })
  const everything = new Map<string, ReadonlyArray<string>>()
  const atRunTime = new Map<string, ReadonlyArray<string>>()

  for (const file of sources(self)) {
    const where = path.relative(root, path.join(self.directory, "src", file))
    const relative: Array<Import> = []
    for (const imported of importsOf(fs.readFileSync(path.join(self.directory, "src", file), "utf8"))) {
      const { specifier } = imported
      if (specifier.startsWith(".")) {
        const target = path.posix.join(path.posix.dirname(file), specifier)
        if (!fs.existsSync(path.join(self.directory, "src", target)) || target.startsWith("..")) {
          problems.push(`${where}: "${specifier}" is no file of this package`)
        }
        relative.push({ ...imported, specifier: target })
      } else if (specifier.startsWith("node:")) {
        if (core) problems.push(`${where}: "${specifier}" is not there in browsers`)
      } else if (!declared.includes(packageName(specifier))) {
        problems.push(`${where}: "${specifier}" is no dependency of ${self.name}`)
      } else if (/^(effect|@effect\/[^/]+|@effect-channels\/[^/]+)$/.test(specifier)) {
        problems.push(`${where}: import one module of "${specifier}", not all of it`)
      }
    }
    everything.set(file, relative.map((imported) => imported.specifier))
    atRunTime.set(file, relative.filter((imported) => !imported.type).map((imported) => imported.specifier))
  }

  const cycles = new Set<string>()
  for (const file of atRunTime.keys()) {
    const cycle = way(atRunTime, file, (next) => next === file)
    const members = cycle?.slice(1).sort().join() ?? ""
    if (cycle === undefined || cycles.has(members)) continue
    cycles.add(members)
    problems.push(`${self.name}: a circle of imports: ${cycle.join(" → ")}`)
  }

  if (!core) continue
  for (const module of contract) {
    const reached = way(everything, `${module}.ts`, (next) => interpreters.some((name) => next === `${name}.ts`))
    if (reached !== undefined) {
      problems.push(`${self.name}: the contract reaches an interpreter: ${reached.join(" → ")}`)
    }
  }
  for (const module of [...contract, "Client"]) {
    const reached = way(atRunTime, `${module}.ts`, (next) => binary.test(next))
    if (reached !== undefined) problems.push(`${self.name}: binary frames are always loaded: ${reached.join(" → ")}`)
  }
}

report("imports", problems)
