/**
 * Type-checks the examples in the documentation comments of `packages/*\/src`, as a user's program would be.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { packages, report, root, sources } from "./packages.ts"

const fence = /^ *\* ```ts\n([\s\S]*?)^ *\* ```$/gm

/** The examples of a file by the line that they begin at, without what makes them a comment. */
const examplesOf = (source: string): ReadonlyArray<readonly [line: number, code: string]> =>
  Array.from(source.matchAll(fence), (match) => [
    source.slice(0, match.index).split("\n").length + 1,
    match[1]!.split("\n").map((line) => line.replace(/^ *\* ?/, "")).join("\n")
  ])

// Where the packages and their dependencies are found.
const folder = path.join(root, "node_modules", ".cache", "check-docs")
fs.rmSync(folder, { recursive: true, force: true })
fs.mkdirSync(folder, { recursive: true })
const files: Array<string> = []
for (const self of packages) {
  for (const file of sources(self)) {
    for (const [line, code] of examplesOf(fs.readFileSync(path.join(self.directory, "src", file), "utf8"))) {
      const name = `${path.basename(self.directory)}-${file.replaceAll("/", "-").replace(/\.ts$/, "")}-line-${line}.ts`
      // Each of them is a module of its own.
      fs.writeFileSync(path.join(folder, name), `${code}\nexport {}\n`)
      files.push(name)
    }
  }
}
const compilerOptions = {
  composite: false,
  declaration: false,
  declarationMap: false,
  lib: ["ESNext"],
  noEmit: true,
  noUnusedLocals: false,
  noUnusedParameters: false,
  rootDir: root,
  types: ["node"]
}
fs.writeFileSync(
  path.join(folder, "tsconfig.json"),
  JSON.stringify({ extends: path.join(root, "tsconfig.base.json"), files, compilerOptions })
)
const { status, stdout } = spawnSync("tsc", ["-p", folder, "--tsBuildInfoFile", "null"], {
  cwd: root,
  encoding: "utf8"
})
fs.rmSync(folder, { recursive: true })

report(`${files.length} examples in comments`, status === 0 ? [] : [stdout])
