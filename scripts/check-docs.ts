/**
 * Type-checks the examples in the documentation comments of `packages/*\/src`, as a user's program would be.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { compile } from "./compile.ts"
import { packages, report, root, sources } from "./packages.ts"

const fence = /^ *\* ```ts\n([\s\S]*?)^ *\* ```$/gm

/** The examples of a file by the line that they begin at, without what makes them a comment. */
const examplesOf = (source: string): ReadonlyArray<readonly [line: number, code: string]> =>
  Array.from(source.matchAll(fence), (match) => [
    source.slice(0, match.index).split("\n").length + 1,
    match[1]!.split("\n").map((line) => line.replace(/^ *\* ?/, "")).join("\n")
  ])

const files = new Map<string, string>()
for (const self of packages) {
  for (const file of sources(self)) {
    for (const [line, code] of examplesOf(fs.readFileSync(path.join(self.directory, "src", file), "utf8"))) {
      const name = `${path.basename(self.directory)}-${file.replaceAll("/", "-").replace(/\.ts$/, "")}-line-${line}.ts`
      // Each of them is a module of its own.
      files.set(name, `${code}\nexport {}\n`)
    }
  }
}
const { isOk, output } = compile("check-docs", files, {
  composite: false,
  declaration: false,
  declarationMap: false,
  tsBuildInfoFile: null,
  lib: ["ESNext"],
  noEmit: true,
  noUnusedLocals: false,
  noUnusedParameters: false,
  rootDir: root,
  types: ["node"]
})

report(`${files.size} examples in comments`, isOk ? [] : [output])
