/** Compiles programs against the packages of this repository, as their users would. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./packages.ts"

/** Type-checks some files, by their names, in a folder where packages and dependencies are found; `tsc` tells what is wrong. */
export const compile = (
  name: string,
  files: ReadonlyMap<string, string>,
  compilerOptions: Readonly<Record<string, unknown>>
): { readonly isOk: boolean; readonly output: string } => {
  const folder = path.join(root, "node_modules", ".cache", name)
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder, { recursive: true })
  for (const [file, code] of files) fs.writeFileSync(path.join(folder, file), code)
  fs.writeFileSync(
    path.join(folder, "tsconfig.json"),
    JSON.stringify({
      extends: path.join(root, "tsconfig.base.json"),
      files: Array.from(files.keys()),
      compilerOptions
    })
  )
  const { status, stdout } = spawnSync("tsc", ["-p", folder], { encoding: "utf8" })
  fs.rmSync(folder, { recursive: true })
  return { isOk: status === 0, output: stdout }
}
