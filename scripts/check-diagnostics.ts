/** Proves that the compiler is the one that `effect-tsgo patch` installs: an effect that nobody runs has to be an error. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { report, root } from "./packages.ts"

const folder = path.join(root, "node_modules", ".cache", "check-diagnostics")
fs.mkdirSync(folder, { recursive: true })
fs.writeFileSync(
  path.join(folder, "tsconfig.json"),
  JSON.stringify({
    extends: path.join(root, "tsconfig.base.json"),
    files: ["floating.ts"],
    compilerOptions: { rootDir: "." }
  })
)
fs.writeFileSync(
  path.join(folder, "floating.ts"),
  `import * as Effect from "effect/Effect"\nexport const main = () => {\n  Effect.void\n}\n`
)
const { status, stdout } = spawnSync("tsc", ["-p", folder], { encoding: "utf8" })
fs.rmSync(folder, { recursive: true })

report(
  "Effect diagnostics",
  status !== 0 && stdout.includes("floatingEffect")
    ? []
    : [`tsc does not report them: run npx effect-tsgo patch\n${stdout}`]
)
