/**
 * Writes `packages/*\/src/index.ts`: one namespace for every module whose name begins with a capital letter, under the
 * module's own header comment. Modules in lower case (`testing.ts`) are reached by their path only.
 * `--check` only tells which files are out of date.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { packages, report, root, sources } from "./packages.ts"

const marker = "// @barrel: Auto-generated exports. Do not edit manually."
const header = /^\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n(?=\n|import )/

const barrel = (directory: string, modules: ReadonlyArray<string>): string => {
  const exports = modules.map((module) => {
    const doc = header.exec(fs.readFileSync(path.join(directory, "src", module), "utf8"))?.[0] ?? ""
    return `${doc}export * as ${path.basename(module, ".ts")} from "./${module}"\n`
  })
  return [`${marker}\n`, ...exports].join("\n")
}

const outdated: Array<string> = []
for (const self of packages) {
  const modules = sources(self).filter((file) => /^[A-Z]\w*\.ts$/.test(file))
  const file = path.join(self.directory, "src", "index.ts")
  const before = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : ""
  const after = before.slice(0, Math.max(before.indexOf(marker), 0)) + barrel(self.directory, modules)
  if (after === before) continue
  outdated.push(`${path.relative(root, file)} is out of date: run npm run barrel`)
  if (!process.argv.includes("--check")) fs.writeFileSync(file, after)
}

if (process.argv.includes("--check")) report("barrels", outdated)
