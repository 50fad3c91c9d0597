/** What the other scripts know about the packages of this repository. */
import * as fs from "node:fs"
import * as path from "node:path"

export const root = path.resolve(import.meta.dirname, "..")

export interface Package {
  readonly name: string
  readonly directory: string
  readonly json: Readonly<Record<string, unknown>>
}

const json = (file: string) => JSON.parse(fs.readFileSync(file, "utf8"))

/** The published packages. */
export const packages: ReadonlyArray<Package> = fs.readdirSync(path.join(root, "packages"))
  .map((folder) => path.join(root, "packages", folder))
  .filter((directory) => fs.existsSync(path.join(directory, "package.json")))
  .map((directory): Package => {
    const manifest = json(path.join(directory, "package.json"))
    return { name: manifest.name, directory, json: manifest }
  })

/** Every TypeScript file below `src`, as paths relative to it: `Action.ts`, `internal/pipeline.ts`. */
export const sources = (self: Package): ReadonlyArray<string> =>
  fs.readdirSync(path.join(self.directory, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.replaceAll(path.sep, "/"))
    .sort()

/** Prints the problems and ends the process with 1 if there are any. */
export const report = (what: string, problems: ReadonlyArray<string>) => {
  for (const problem of problems) console.error(problem)
  console.log(`${what}: ${problems.length === 0 ? "ok" : `${problems.length} problem(s)`}`)
  if (problems.length > 0) process.exit(1)
}
