import { assert, describe, it } from "@effect/vitest"
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll } from "vitest"
import { WebSocket } from "ws"

const file = fileURLToPath(new URL("../server.ts", import.meta.url))
const readme = readFileSync(new URL("../../../README.md", import.meta.url), "utf8")

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

/** Connects, as often as it takes until the server listens. */
const connect = (url: string): Promise<WebSocket> =>
  new Promise((resolve, reject) => {
    const attempt = (left: number) => {
      const socket = new WebSocket(url)
      socket.on("open", () => resolve(socket))
      socket.on("error", (error) => left === 0 ? reject(error) : setTimeout(attempt, 100, left - 1))
    }
    attempt(100)
  })

const ask = async (port: number, user: string, request: object): Promise<unknown> => {
  const socket = await connect(`ws://127.0.0.1:${port}/ws/?user=${user}`)
  const reply = new Promise((resolve) => socket.on("message", (data) => resolve(String(data))))
  socket.send(JSON.stringify(request))
  const text = await reply
  socket.close()
  return text
}

describe("the first consumer of the README", () => {
  let server: ChildProcess
  let port = 0

  beforeAll(async () => {
    port = await freePort()
    server = spawn(process.execPath, [file], { env: { ...process.env, PORT: String(port) }, stdio: "inherit" })
  })

  afterAll(() => {
    server.kill()
  })

  it("is the file that runs here, in at most 40 lines", () => {
    const source = readFileSync(file, "utf8")
    assert.include(readme, `\`\`\`ts\n${source}\`\`\``)
    assert.isAtMost(source.trimEnd().split("\n").length, 40)
  })

  it("answers as the README says", async () => {
    const lines = readme.split("\n")
    for (const [i, line] of lines.entries()) {
      const user = /^ws:.*\?user=(\w+)$/.exec(line)?.[1]
      if (user === undefined) continue
      assert.strictEqual(await ask(port, user, JSON.parse(lines[i + 1]!.slice(2))), lines[i + 2]!.slice(2))
    }
  })

  it("answers 404 with the declared error", async () => {
    const reply = await ask(port, "alice", { action: "edit", route: "notes/2/", data: { text: "x" } })
    assert.include(String(reply), "\"status\":404")
    assert.include(String(reply), "NoSuchNote")
  })
})
