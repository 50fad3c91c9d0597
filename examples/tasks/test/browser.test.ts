import { afterEach, assert, beforeEach, it } from "@effect/vitest"
import type { Page } from "playwright-core"
import type { Server } from "../../quickstart/test/support.ts"
import { click, describePages, watch } from "../../support/browser.ts"
import { enter, startServer } from "./support.ts"

describePages("the page", (browser) => {
  let server: Server

  // Anew for each test: what one of them does is no other one's business.
  beforeEach(async () => {
    server = await startServer()
  }, 60_000)

  afterEach(async () => {
    await server?.stop()
  })

  /** Runs a test with tabs of so many people. Each tab is somebody of its own. */
  const withTabs = async (
    names: ReadonlyArray<string>,
    use: (...tabs: ReadonlyArray<Page>) => Promise<void>,
    prepare?: (page: Page) => Promise<void>
  ) => {
    const context = await browser().newContext({ viewport: { width: 390, height: 844 } })
    try {
      const problems: Array<ReadonlyArray<string>> = []
      const tabs: Array<Page> = []
      for (const name of names) {
        const page = await context.newPage()
        problems.push(watch(page, `localhost:${server.port}`))
        await prepare?.(page)
        await page.goto(`http://localhost:${server.port}/`)
        await page.getByRole("link", { name, exact: true }).click()
        tabs.push(page)
      }
      await use(...tabs)
      assert.deepStrictEqual(problems.flat(), [])
    } finally {
      await context.close()
    }
  }

  const status = (page: Page, text: string) => page.locator("#status").filter({ hasText: text }).waitFor()

  const taskIn = (page: Page, column: "open" | "doing" | "done", title: string) =>
    page.locator(`#${column} .title`).getByText(title, { exact: true })

  const isGone = (page: Page, title: string) =>
    page.locator("#columns .title").getByText(title, { exact: true }).waitFor({ state: "detached" })

  const titles = (page: Page, where: "#columns" | "#page" = "#columns") =>
    page.locator(`${where} .title`).allInnerTexts()

  const note = (page: Page, text: string) => page.locator("#note").filter({ hasText: text }).waitFor()

  const add = async (
    page: Page,
    title: string,
    options: { readonly isPrivate?: boolean; readonly assignee?: string } = {}
  ) => {
    await page.bringToFront()
    await page.locator("#title").fill(title)
    await page.locator("#assignee").selectOption(options.assignee ?? "")
    await page.locator("#private").setChecked(options.isPrivate ?? false)
    await click(page, "Add")
  }

  it("shows what others do at once", () =>
    withTabs(["alice", "bob"], async (alice, bob) => {
      await taskIn(bob!, "open", "Add a search").waitFor()
      await add(alice!, "Bake a cake")
      await taskIn(bob!, "open", "Bake a cake").waitFor()
      await click(alice!, "Move Bake a cake to doing")
      await taskIn(bob!, "doing", "Bake a cake").waitFor()
      await click(alice!, "Edit Bake a cake")
      await alice!.locator("#edit-title").fill("Bake two cakes")
      await alice!.locator("#edit-status").selectOption("done")
      await alice!.locator("#edit-assignee").selectOption("bob")
      await click(alice!, "Save")
      await taskIn(bob!, "done", "Bake two cakes").waitFor()
      await bob!.locator("#done .task").filter({ hasText: "Bake two cakes" }).locator(".chip").getByText("bob")
        .waitFor()
      await click(alice!, "Delete Bake two cakes")
      for (const page of [alice!, bob!]) await isGone(page, "Bake two cakes")
    }))

  it("shows private tasks to whom they concern alone", () =>
    withTabs(["alice", "bob", "carol"], async (alice, bob, carol) => {
      await taskIn(carol!, "open", "Plan the party for bob").waitFor()
      await taskIn(bob!, "open", "Add a search").waitFor()
      assert.notInclude(await titles(bob!), "Plan the party for bob")
      await add(alice!, "Buy balloons", { isPrivate: true, assignee: "carol" })
      await add(alice!, "Say nothing")
      await taskIn(carol!, "open", "Buy balloons").waitFor()
      await taskIn(bob!, "open", "Say nothing").waitFor()
      assert.notInclude(await titles(bob!), "Buy balloons")
      await click(alice!, "Edit Buy balloons")
      await alice!.locator("#edit-private").setChecked(false)
      await click(alice!, "Save")
      await taskIn(bob!, "open", "Buy balloons").waitFor()
    }))

  it("says why not", () =>
    withTabs(["bob"], async (bob) => {
      await taskIn(bob!, "open", "Add a search").waitFor()
      await add(bob!, "Add a search")
      await note(bob!, "There is another task of this title. (409 conflict")
      await click(bob!, "Move Add a search to doing")
      await note(bob!, "403 not_owner: Only its owner and the owner of the board may change a task")
      await click(bob!, "Delete Translate the front page")
      await note(bob!, "403 board_owner_only: Only the owner of the board may do that")
      await click(bob!, "Move Translate the front page to doing")
      await taskIn(bob!, "doing", "Translate the front page").waitFor()
      await bob!.locator("#note").waitFor({ state: "hidden" })
    }))

  it("takes the newer one where somebody else was faster", () =>
    withTabs(["alice", "bob"], async (alice, bob) => {
      await click(bob!, "Edit Translate the front page")
      await bob!.locator("#edit-title").fill("Translate it into French")
      await click(alice!, "Move Translate the front page to doing")
      await taskIn(bob!, "doing", "Translate the front page").waitFor()
      await click(bob!, "Save")
      await bob!.locator("#edit-note").filter({ hasText: "Somebody else has changed this task meanwhile" }).waitFor()
      assert.deepStrictEqual(
        [await bob!.locator("#edit-title").inputValue(), await bob!.locator("#edit-status").inputValue()],
        ["Translate the front page", "doing"]
      )
      await bob!.locator("#edit-title").fill("Translate it into French")
      await click(bob!, "Save")
      await taskIn(alice!, "doing", "Translate it into French").waitFor()
    }))

  it("takes the newer one also where a task is moved before the page has heard of a change", async () => {
    /** What the server says is kept from the page as long as this is there. */
    let held: Array<() => void> | undefined
    await withTabs(
      ["bob"],
      async (bob) => {
        await taskIn(bob!, "open", "Translate the front page").waitFor()
        const alice = await enter(server, "alice")
        const [{ id, version }] = (await alice.ask("list", "tasks/?search=translate")).data.results
        held = []
        await alice.ask("partial_update", `tasks/${id}/`, { title: "Translate everything", version })
        await click(bob!, "Move Translate the front page to doing")
        for (const say of held.splice(0)) say()
        held = undefined
        await note(bob!, "has been changed meanwhile: here it is as it is now")
        await taskIn(bob!, "open", "Translate everything").waitFor()
      },
      (page) =>
        page.routeWebSocket(/\/ws\//, (socket) => {
          socket.connectToServer().onMessage((message) => {
            if (held === undefined) socket.send(message)
            else held.push(() => socket.send(message))
          })
        })
    )
  })

  it("is empty for whoever is dismissed, until they are invited again", () =>
    withTabs(["alice", "bob"], async (alice, bob) => {
      await taskIn(bob!, "open", "Add a search").waitFor()
      await click(bob!, "List")
      await bob!.locator("#page .task").first().waitFor()
      await click(alice!, "Dismiss bob")
      await status(bob!, "Closed: 4403 You are not a member of this board")
      assert.deepStrictEqual([await titles(bob!), await titles(bob!, "#page")], [[], []])
      await alice!.getByRole("button", { name: "Invite bob" }).waitFor()
      await click(bob!, "Try again")
      await status(bob!, "Refused: 403 not_member: You are not a member of this board")
      await click(alice!, "Invite bob")
      await alice!.getByRole("button", { name: "Dismiss bob" }).waitFor()
      await click(bob!, "Try again")
      await status(bob!, "online")
      await bob!.locator("#page").getByText("Add a search", { exact: true }).waitFor()
    }))

  it("has a list in pages, which changes as the board does", () =>
    withTabs(["bob", "alice"], async (bob, alice) => {
      await click(bob!, "List")
      const shows = (title: string) => bob!.locator("#page .title").getByText(title, { exact: true }).waitFor()
      await bob!.locator("#ordering").selectOption("title")
      await shows("Add a search")
      const first = await titles(bob!, "#page")
      assert.deepStrictEqual(first, [
        "Add a search",
        "Choose a name",
        "Draw a logo",
        "Fix the links in the footer",
        "Make it fast"
      ])
      await click(bob!, "Next")
      await shows("Translate the front page")
      assert.deepStrictEqual(await titles(bob!, "#page"), [
        "Translate the front page",
        "Try it on an old phone",
        "Write the front page"
      ])
      assert.isTrue(await bob!.getByRole("button", { name: "Next" }).isDisabled())
      await add(alice!, "Zip it all")
      await shows("Zip it all")
      await click(bob!, "Previous")
      await shows("Add a search")
      assert.deepStrictEqual(await titles(bob!, "#page"), first)
      await bob!.locator("#search").fill("front")
      await bob!.locator("#of-status").selectOption("doing")
      await bob!.locator("#page .title").getByText("Choose a name").waitFor({ state: "detached" })
      await shows("Write the front page")
      assert.deepStrictEqual(await titles(bob!, "#page"), ["Write the front page"])
    }))

  it("shows titles as text, and fits a phone", () =>
    withTabs(["alice", "bob"], async (alice, bob) => {
      await add(alice!, "<img src=x onerror=\"document.title = 'broken'\">")
      await taskIn(bob!, "open", "<img src=x onerror=\"document.title = 'broken'\">").waitFor()
      assert.strictEqual(await bob!.locator("img").count(), 0)
      for (const page of [alice!, bob!]) {
        assert.strictEqual(await page.evaluate("document.documentElement.scrollWidth"), 390)
      }
    }))

  it("goes from board to board, and back to where people choose who they are", () =>
    withTabs(["alice"], async (alice) => {
      await alice!.getByRole("link", { name: "The office" }).click()
      await taskIn(alice!, "doing", "Water the plants").waitFor()
      await isGone(alice!, "Add a search")
      await alice!.getByRole("link", { name: "The task board" }).click()
      await status(alice!, "not logged in")
      await alice!.getByRole("link", { name: "dave", exact: true }).click()
      await status(alice!, "Refused: 403 not_member")
    }))

  it("waits for a server that is gone, and comes back by itself", () =>
    withTabs(["alice"], async (alice) => {
      await taskIn(alice!, "open", "Add a search").waitFor()
      const { port } = server
      await server.stop()
      await status(alice!, "The server cannot be reached: trying again")
      server = await startServer({ PORT: String(port) })
      await status(alice!, "online")
      await add(alice!, "Start again")
      await taskIn(alice!, "open", "Start again").waitFor()
    }))
})
