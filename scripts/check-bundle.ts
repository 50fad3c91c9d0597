/**
 * Bundles core for the browser (a `node:` import fails here) and prints what it weighs, minified and gzipped: all of it, and what
 * pages bundle, which may not weigh more than it says here. The first number includes the parts of Effect that are used, the
 * second does not.
 */
import * as esbuild from "esbuild"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { report, root } from "./packages.ts"

const src = path.join(root, "packages", "core", "src")

/** The bytes of a bundle, minified and gzipped. */
const weigh = (contents: string, external: ReadonlyArray<string>): number => {
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
  return zlib.gzipSync(outputFiles[0]!.contents, { level: 9 }).length
}

/** Three actions, as a page shares them with its server. */
const contract = `
  import * as Action from "./Action.ts"
  import * as Consumer from "./Consumer.ts"
  import * as Schema from "effect/Schema"

  const Message = Schema.Struct({ id: Schema.Int, from: Schema.String, text: Schema.String })
  export const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(
    Consumer.add(
      Action.make("post", { payload: { text: Schema.NonEmptyString }, success: Message, status: 201 }),
      Action.make("edit", { payload: { id: Schema.Int, text: Schema.NonEmptyString }, success: Message }),
      Action.make("typing")
    )
  )
`

const client = `
  ${contract}
  import * as Client from "./Client.ts"
`

interface Entry {
  readonly name: string
  readonly contents: string
  /** So many bytes at most, with Effect. */
  readonly limit?: number
}

const entries: ReadonlyArray<Entry> = [
  { name: "all of core", contents: `export * from "./index.ts"` },
  { name: "a contract with three actions", contents: contract },
  {
    name: "its client",
    contents: `${client} export const chat = Client.make(Chat, { url: "wss://example.com" })`,
    limit: 45_000
  },
  {
    name: "its client for code that is not on Effect",
    contents: `${client} export const chat = Client.makePromise(Chat, { url: "wss://example.com" })`
  },
  {
    name: "its client, in binary",
    contents: `${client}
      import * as BinaryCodec from "./BinaryCodec.ts"
      export const chat = Client.make(Chat, { url: "wss://example.com", codec: BinaryCodec.codec })
    `
  }
]

const kB = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB`

const problems = entries.flatMap(({ contents, limit, name }) => {
  const weight = weigh(contents, [])
  console.log(`${name}: ${kB(weight)} with Effect, ${kB(weigh(contents, ["effect"]))} without`)
  return limit === undefined || weight <= limit
    ? []
    : [`${name} weighs ${weight} bytes, and may weigh ${limit}: what does it import that it did not before?`]
})
report("bundle", problems)
