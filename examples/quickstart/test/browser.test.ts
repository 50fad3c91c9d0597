import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import type { Page } from "playwright-core"
import { click, describePages, newest, watch } from "../../support/browser.ts"
import { type Server, start } from "./support.ts"

describePages("the page", (browser) => {
  let server: Server

  beforeAll(async () => {
    server = await start(new URL("../server.ts", import.meta.url))
  }, 60_000)

  afterAll(async () => {
    await server?.stop()
  })

  const withPage = async (use: (page: Page) => Promise<void>) => {
    const page = await browser().newPage({ viewport: { width: 390, height: 844 } })
    const problems = watch(page, `localhost:${server.port}`)
    await page.goto(`http://localhost:${server.port}/`)
    await use(page)
    assert.deepStrictEqual(problems, [])
    await page.close()
  }

  const connectAs = async (page: Page, user: string) => {
    await click(page, user)
    await newest(page, `Connected: ${user}`)
  }

  it("lets nobody list the notes, but not post one", () =>
    withPage(async (page) => {
      await connectAs(page, "nobody (anonymous)")
      await click(page, "List the notes")
      assert.include(await newest(page, "200 list"), "\"owner\":\"alice\"")
      await click(page, "Post a note")
      await newest(page, "403 not_authenticated: Authentication credentials were not provided")
    }))

  it("lets the owner edit, an admin too, and tells everybody else why not", () =>
    withPage(async (page) => {
      await connectAs(page, "alice")
      await click(page, "Edit Alice's note")
      await newest(page, "200 edit")
      await connectAs(page, "bob")
      await click(page, "Edit Alice's note")
      assert.include(
        await newest(page, "403 not_owner: Only its owner may edit a note"),
        "{\"errors\":[{\"detail\":\"Only its owner may edit a note\",\"code\":\"not_owner\"}]"
      )
      await click(page, "Explain: Alice's note")
      assert.include(await newest(page, "200 explain"), "isOwner (object): Deny")
      await connectAs(page, "admin")
      await click(page, "Edit Alice's note")
      await newest(page, "200 edit")
    }))

  it("tells why a handshake was refused", () =>
    withPage(async (page) => {
      await click(page, "alice, token expired")
      await newest(page, "Handshake refused: 401 authentication_failed: The token has expired")
      await click(page, "alice, forging the admin's token")
      await newest(page, "Handshake refused: 401 authentication_failed: The token is not valid")
      await click(page, "List the notes")
      await newest(page, "Not connected")
      await page.getByLabel("Token").fill("nonsense")
      await click(page, "Connect with this token")
      await newest(page, "Handshake refused: 401 authentication_failed: The token is not valid")
      assert.strictEqual(await page.locator("#status").innerText(), "refused")
    }))

  it("sends what somebody wrote, and shows markup as text", () =>
    withPage(async (page) => {
      await connectAs(page, "alice")
      const text = "<img src=x onerror=\"document.title = 'broken'\">"
      await page.getByLabel("Or write your own").fill(JSON.stringify({ action: "post", data: { text } }))
      await click(page, "Send")
      assert.include(await newest(page, "201 post"), JSON.stringify(text))
      assert.strictEqual(await page.locator("#log img").count(), 0)
      await page.getByLabel("Or write your own").fill("no JSON")
      await click(page, "Send")
      await newest(page, "400 parse_error")
    }))

  it("lists the actions with their permissions", () =>
    withPage(async (page) => {
      await page.getByRole("row", { name: "notes/:id/ edit and(isAuthenticated, or(isAdmin, isOwner))" }).waitFor()
      await page.getByRole("row", { name: "post isAuthenticated" }).waitFor()
    }))

  it("fits a phone", () =>
    withPage(async (page) => {
      await connectAs(page, "alice")
      await click(page, "Explain: Alice's note")
      await newest(page, "200 explain")
      assert.strictEqual(await page.evaluate("document.documentElement.scrollWidth"), 390)
    }))

  it("notices the end of the server", () =>
    withPage(async (page) => {
      await connectAs(page, "alice")
      const { took } = await server.stop()
      assert.isBelow(took, 1000)
      await newest(page, "The connection ended with code 1012")
      await click(page, "bob")
      await newest(page, "TypeError: Failed to fetch")
    }))
})
