import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as esbuild from "esbuild"
import { fileURLToPath } from "node:url"
import type { Page } from "playwright-core"
import { codecs } from "../../core/test/support/client-suite/codecs.ts"
import type { Run } from "../../core/test/support/client-suite/page.ts"
import { suite } from "../../core/test/support/client-suite/suite.ts"
import { startBoard } from "./support/board.ts"
import { describePages, watch } from "./support/browser.ts"

/** The suite as a module of a page. */
const bundle = async (): Promise<string> => {
  const { outputFiles } = await esbuild.build({
    entryPoints: [fileURLToPath(new URL("../../core/test/support/client-suite/page.ts", import.meta.url))],
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    write: false
  })
  return outputFiles[0]!.text
}

const html =
  `<!doctype html><title>The suite of the client</title><link rel="icon" href="data:,"><script type="module" src="/suite.js"></script>`

describePages("a client in a browser", (browser) => {
  let server: Awaited<ReturnType<typeof startBoard>>
  let page: Page
  let problems: ReadonlyArray<string>

  beforeAll(async () => {
    const script = await bundle()
    server = await startBoard(Layer.mergeAll(
      HttpRouter.add("GET", "/", HttpServerResponse.html(html)),
      HttpRouter.add("GET", "/suite.js", HttpServerResponse.text(script, { contentType: "text/javascript" }))
    ))
    page = await browser().newPage()
    problems = watch(page, `127.0.0.1:${server.port}`)
    await page.goto(`http://127.0.0.1:${server.port}/`)
    await page.waitForFunction("globalThis.runCase !== undefined")
  }, 60_000)

  afterAll(async () => {
    await page?.close()
    await server?.stop()
  })

  for (const where of ["page", "worker"] as const) {
    describe.each(codecs)(`in a ${where}, by $subprotocol`, ({ subprotocol }) => {
      for (const [i, { name }] of suite.entries()) {
        it(name, async () => {
          const run: Run = { name, subprotocol, room: `${where} ${subprotocol} ${i}` }
          const problem = await page.evaluate(
            `globalThis.${where === "page" ? "runCase" : "runCaseInWorker"}(${JSON.stringify(run)})`
          )
          if (problem !== undefined) assert.fail(String(problem))
        })
      }
    })
  }

  it("does nothing that a page must not", () => {
    assert.deepStrictEqual(problems, [])
  })
})
