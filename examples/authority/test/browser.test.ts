import { afterEach, assert, beforeEach, it } from "@effect/vitest"
import type { BrowserContext, Page } from "playwright-core"
import { type Server, start } from "../../quickstart/test/support.ts"
import { click, describePages, newest, watch } from "../../support/browser.ts"

const file = new URL("../server.ts", import.meta.url)

describePages("the desk and the admin's side", (browser) => {
  let server: Server

  // One for each test: what one of them does to people and articles is no other one's business.
  beforeEach(async () => {
    server = await start(file)
  }, 60_000)

  afterEach(async () => {
    await server?.stop()
  })

  /** Runs a test with browsers of so many people: each has cookies of their own. */
  const withBrowsers = async (count: number, use: (...contexts: ReadonlyArray<BrowserContext>) => Promise<void>) => {
    const problems: Array<ReadonlyArray<string>> = []
    const make = async () => {
      const context = await browser().newContext({ viewport: { width: 390, height: 844 } })
      context.on("page", (page) => problems.push(watch(page, `localhost:${server.port}`)))
      return context
    }
    const contexts = await Promise.all(Array.from({ length: count }, make))
    try {
      await use(...contexts)
      assert.deepStrictEqual(problems.flat(), [])
    } finally {
      await Promise.all(contexts.map((context) => context.close()))
    }
  }

  const open = async (context: BrowserContext, path: "/" | "/admin") => {
    const page = await context.newPage()
    await page.goto(`http://localhost:${server.port}${path}`)
    return page
  }

  const status = (page: Page, text: string) => page.locator("#status").filter({ hasText: text }).waitFor()

  const signIn = async (page: Page, name: string) => {
    await click(page, `Log in as ${name}`)
    await page.locator("#me").filter({ hasText: name }).waitFor()
  }

  /** What the log says of a request: of the only one since it was cleared. */
  const said = async (page: Page, request: string) => {
    const heading = page.locator("#log").getByRole("heading", { name: `${request}:` })
    await heading.waitFor()
    return heading.innerText()
  }

  /** Clicks, and waits for the reply to it. */
  const reply = async (page: Page, name: string, request = name) => {
    await click(page, "Clear")
    await click(page, name)
    return said(page, request)
  }

  it("a right that is taken is lost when the admin's reply is there", () =>
    withBrowsers(2, async (hers, carols) => {
      const [alice, carol] = [await open(hers!, "/"), await open(carols!, "/admin")]
      await signIn(alice, "alice")
      await signIn(carol, "carol")
      assert.strictEqual(await reply(alice, "Publish", "publish"), "publish: 201")
      await click(alice, "Proofread (long)")
      // It came after the request to proofread, which therefore runs.
      assert.strictEqual(await reply(alice, "Reload", "list"), "list: 200")

      assert.strictEqual(await reply(carol, "Take editor from alice"), "Take editor from alice: 200")
      await click(alice, "Publish")
      assert.strictEqual(await said(alice, "publish"), "publish: 403 role_required: This takes the role editor")
      assert.strictEqual(await said(alice, "proofread"), "proofread: 403 permission_lost: This takes the role editor")
      await alice.locator("#busy").waitFor({ state: "hidden" })
      await alice.locator("#me").filter({ hasNotText: "editor" }).waitFor()
      assert.strictEqual(await reply(alice, "Reload", "list"), "list: 200")

      assert.strictEqual(await reply(carol, "Give editor to alice"), "Give editor to alice: 200")
      assert.strictEqual(await reply(alice, "Publish", "publish"), "publish: 201")
    }))

  it("whoever is suspended is out, until they are reinstated", () =>
    withBrowsers(2, async (hers, carols) => {
      const [alice, carol] = [await open(hers!, "/"), await open(carols!, "/admin")]
      await signIn(alice, "alice")
      await signIn(carol, "carol")
      await click(alice, "Proofread (long)")
      assert.strictEqual(await reply(alice, "Reload", "list"), "list: 200")
      await reply(carol, "Suspend alice")
      await newest(alice, "Closed: 4403 Your account is suspended")
      await status(alice, "Closed: 4403 Your account is suspended")
      assert.strictEqual(await said(alice, "proofread"), "proofread: 403 permission_lost: Your account is suspended")
      await click(alice, "Connect again")
      await newest(alice, "Refused: 403 suspended: Your account is suspended")
      await reply(carol, "Reinstate alice")
      await click(alice, "Connect again")
      await status(alice, "connected")
      assert.strictEqual(await reply(alice, "Reload", "list"), "list: 200")
    }))

  it("whoever logs out is out in all tabs, and nobody else is", () =>
    withBrowsers(1, async (context) => {
      const [here, there, carol] = [
        await open(context!, "/"),
        await open(context!, "/"),
        await open(context!, "/admin")
      ]
      await signIn(here, "alice")
      // The other tab has the cookie too.
      await click(there, "Connect again")
      await status(there, "connected")
      await signIn(carol, "carol")
      await click(here, "Log out")
      await newest(here, "Closed: 4401 The session is not known, or has ended")
      await newest(there, "Closed: 4401 The session is not known, or has ended")
      await click(there, "Connect again")
      await newest(there, "Refused: 403 not_authenticated: Authentication credentials were not provided")
      assert.strictEqual(
        await reply(carol, "Suspend carol"),
        "Suspend carol: 403 own_account: Nobody changes their own account"
      )
    }))

  it("a session that expires closes its connections", () =>
    withBrowsers(1, async (context) => {
      await server.stop()
      server = await start(file, { SESSION_LIFETIME: "3 seconds" })
      const desk = await open(context!, "/")
      await signIn(desk, "bob")
      await newest(desk, "Closed: 4401 The credentials have expired")
    }))

  it("articles are edited by who may, and everybody else reads why not", () =>
    withBrowsers(1, async (context) => {
      const desk = await open(context!, "/")
      await signIn(desk, "alice")
      assert.strictEqual(
        await reply(desk, "Edit Bridge reopens", "edit “Bridge reopens”"),
        "edit “Bridge reopens”: 200"
      )
      assert.strictEqual(
        await reply(desk, "Edit From the editor", "edit “From the editor”"),
        "edit “From the editor”: 403 not_author: Editors may edit their own articles only"
      )
      await signIn(desk, "bob")
      assert.include(
        await reply(desk, "Edit Bridge reopens", "edit “Bridge reopens”"),
        "403 role_required: This takes the role editor"
      )
      await signIn(desk, "carol")
      assert.include(await reply(desk, "Edit Bridge reopens", "edit “Bridge reopens”"), "200")
    }))

  it("the admin's side is for admins, and explains", () =>
    withBrowsers(1, async (context) => {
      const admin = await open(context!, "/admin")
      await click(admin, "Log in as alice")
      await newest(admin, "Refused: 403 role_required: This takes the role admin")
      await signIn(admin, "carol")
      await admin.getByLabel("Person").selectOption("bob")
      await click(admin, "Explain")
      await admin.locator("#explanation").filter({ hasText: "hasRole(editor) (connection): Deny" }).waitFor()
    }))

  it("titles are text, and both pages fit a phone", () =>
    withBrowsers(1, async (context) => {
      const [desk, admin] = [await open(context!, "/"), await open(context!, "/admin")]
      await signIn(desk, "alice")
      await desk.getByLabel("Title").fill("<img src=x onerror=\"document.title = 'broken'\">")
      assert.strictEqual(await reply(desk, "Publish", "publish"), "publish: 201")
      await desk.locator("#articles").getByText("<img src=x").waitFor()
      assert.strictEqual(await desk.locator("img").count(), 0)
      await signIn(admin, "carol")
      await click(admin, "Explain")
      await newest(admin, "explain")
      for (const page of [desk, admin]) {
        assert.strictEqual(await page.evaluate("document.documentElement.scrollWidth"), 390)
      }
    }))

  it("the pages notice the end of the server", () =>
    withBrowsers(1, async (context) => {
      const desk = await open(context!, "/")
      await signIn(desk, "alice")
      const { took } = await server.stop()
      assert.isBelow(took, 1000)
      await newest(desk, "Closed: 1012")
      await click(desk, "Connect again")
      await newest(desk, "The server cannot be reached")
    }))
})
