/**
 * Bundles core for the browser (a `node:` import fails here) and prints what it weighs, minified and gzipped: all of it,
 * binary frames, and the client alone. The first number includes the parts of Effect that are used, the second does not.
 */
import * as esbuild from "esbuild"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { root } from "./packages.ts"

const src = path.join(root, "packages", "core", "src")

const weigh = (contents: string, external: ReadonlyArray<string>): string => {
  const { outputFiles } = esbuild.buildSync({
    stdin: { contents, resolveDir: src, loader: "ts" },
    bundle: true,
    external: [...external],
    format: "esm",
    legalComments: "none",
    minify: true,
    platform: "browser",
    target: "es2022",
    write: false
  })
  return `${(zlib.gzipSync(outputFiles[0]!.contents, { level: 9 }).length / 1000).toFixed(1)} kB`
}

const entries: ReadonlyArray<readonly [name: string, contents: string]> = [
  ["all of core", `export * from "./index.ts"`],
  ["binary frames", `export * as BinaryCodec from "./BinaryCodec.ts"`],
  ...fs.existsSync(path.join(src, "Client.ts"))
    ? [["the client", `export * as Client from "./Client.ts"`] as const]
    : []
]
for (const [name, contents] of entries) {
  console.log(`${name}: ${weigh(contents, [])} with Effect, ${weigh(contents, ["effect"])} without`)
}
