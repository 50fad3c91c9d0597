/**
 * Replays recorded conversations with the original (rest_framework_channels) against `examples/rest-framework-channels`.
 *
 *     npm run parity [-- FOLDER] [--all]
 *
 * FOLDER (or the environment variable PARITY) holds `replay.mjs` and `scenarios.json`; it is not part of this repository.
 * `--all` replays also what is not supported yet.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { root } from "./packages.ts"

/** Scenarios that the example server cannot pass yet. Delete a name when its feature is there. */
const notYet: ReadonlyArray<string> = []

const args = process.argv.slice(2)
const named = args.find((arg) => !arg.startsWith("--")) ?? process.env["PARITY"]
const folder = path.resolve(root, named ?? "parity")
const [replay, recorded] = ["replay.mjs", "scenarios.json"].map((name) => path.join(folder, name)) as [string, string]

const fail = (message: string): never => {
  console.error(message)
  return process.exit(1)
}

for (const file of [replay, recorded]) {
  if (!fs.existsSync(file)) {
    fail(
      `${file} is missing. Name the folder of the recorded conversations: npm run parity -- FOLDER, or PARITY=FOLDER.`
    )
  }
}

const scenarios: ReadonlyArray<{ readonly name: string }> = JSON.parse(fs.readFileSync(recorded, "utf8"))
const unknown = notYet.filter((name) => !scenarios.some((scenario) => scenario.name === name))
if (unknown.length > 0) fail(`notYet names scenarios that do not exist: ${unknown.join(", ")}`)

const chosen = args.includes("--all") ? scenarios : scenarios.filter(({ name }) => !notYet.includes(name))
if (chosen.length === 0) fail("no scenario is left to replay")

const temporary = fs.mkdtempSync(path.join(os.tmpdir(), "parity-"))
const file = path.join(temporary, "scenarios.json")
fs.writeFileSync(file, JSON.stringify(chosen))
console.log(`replaying ${chosen.map(({ name }) => name).join(", ")}`)
if (chosen.length < scenarios.length) console.log(`not supported yet: ${notYet.join(", ")}`)

const { status } = spawnSync(
  process.execPath,
  [replay, "--start", "node examples/rest-framework-channels/server.ts", file],
  {
    cwd: root,
    env: { ...process.env, PATH: `${path.dirname(process.execPath)}${path.delimiter}${process.env["PATH"]}` },
    stdio: "inherit"
  }
)
fs.rmSync(temporary, { recursive: true })
process.exit(status ?? 1)
