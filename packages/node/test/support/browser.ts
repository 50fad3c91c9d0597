/**
 * Tests in a real browser. It is never downloaded: a Chromium that is installed already, at `/usr/bin/chromium` or where
 * `CHROMIUM` says. Without one they are skipped, and say so; in CI they fail.
 */
import { afterAll, beforeAll, describe } from "@effect/vitest"
import { existsSync } from "node:fs"
import { type Browser, chromium, type Page } from "playwright-core"

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium"
const isInstalled = existsSync(executablePath)
const isCI = !["", "0", "false"].includes(process.env["CI"] ?? "")
const advice = `there is no ${executablePath}: apt-get install chromium, or say in CHROMIUM where it is`

/** Tests that share a browser, which is there when they run. */
export const describePages = (name: string, tests: (browser: () => Browser) => void): void => {
  const isSkipped = !isInstalled && !isCI
  if (isSkipped) console.warn(`Not tested: ${name}. ${advice}`)

  describe.skipIf(isSkipped)(name, { timeout: 60_000 }, () => {
    let browser: Browser | undefined

    beforeAll(async () => {
      if (!isInstalled) throw new Error(advice)
      browser = await chromium.launch({
        executablePath,
        args: [
          "--headless",
          "--no-sandbox",
          "--disable-gpu",
          "--disable-quic",
          "--no-first-run",
          "--disable-background-networking",
          "--disable-component-update",
          "--disable-sync"
        ]
      })
    }, 60_000)

    afterAll(async () => {
      await browser?.close()
    })

    tests(() => {
      if (browser === undefined) throw new Error("The browser is there when a test runs, not before")
      return browser
    })
  })
}

/** What is wrong with a page so far: it must not fail, nor do what its policy forbids, nor ask any other host for anything. */
export const watch = (page: Page, host: string): ReadonlyArray<string> => {
  const problems: Array<string> = []
  page.setDefaultTimeout(10_000)
  page.on("pageerror", (error) => problems.push(String(error)))
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) problems.push(message.text())
  })
  page.on("request", (request) => {
    const url = new URL(request.url())
    if (url.host !== "" && url.host !== host) problems.push(request.url())
  })
  return problems
}
