import { afterEach, assert, beforeEach, it } from "@effect/vitest"
import type { BrowserContext, Page } from "playwright-core"
import type { Server } from "../../quickstart/test/support.ts"
import { click, describePages, watch } from "../../support/browser.ts"
import { takePicture } from "./pictures.ts"
import { enterPlainly, hasRedis, login, post, type Redis, startRedis, startServer } from "./support.ts"

describePages(hasRedis ? "the page, on two nodes" : "the page, on one node", (browser) => {
  let redis: Redis | undefined
  let nodes: ReadonlyArray<Server> = []

  // Anew for each test: what one of them does is no other one's business.
  beforeEach(async () => {
    redis = hasRedis ? await startRedis() : undefined
    const url = redis?.url
    nodes = await Promise.all(url === undefined ? [startServer()] : [1, 2].map(() => startServer({ REDIS_URL: url })))
  }, 60_000)

  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await redis?.stop()
  })

  const size = { width: 390, height: 844 }

  /** Runs a test with tabs of so many people, on one node after the other. Each tab is somebody of its own. */
  const withTabs = async (names: ReadonlyArray<string>, use: (...tabs: ReadonlyArray<Page>) => Promise<void>) => {
    const context = await browser().newContext({ viewport: size })
    await withPages(names, () => Promise.resolve(context), use)
  }

  /** The same with a browser for each of them, which has a network and a clock of its own. */
  const withBrowsers = async (names: ReadonlyArray<string>, use: (...tabs: ReadonlyArray<Page>) => Promise<void>) => {
    const open = async () => {
      const context = await browser().newContext({
        viewport: { width: 420, height: 640 },
        deviceScaleFactor: 1.5,
        locale: "en-GB"
      })
      await context.clock.install()
      return context
    }
    await withPages(names, open, use)
  }

  const withPages = async (
    names: ReadonlyArray<string>,
    open: () => Promise<BrowserContext>,
    use: (...tabs: ReadonlyArray<Page>) => Promise<void>
  ) => {
    const contexts = new Set<BrowserContext>()
    try {
      const problems: Array<ReadonlyArray<string>> = []
      const tabs: Array<Page> = []
      for (const [i, name] of names.entries()) {
        const { port } = nodes[i % nodes.length]!
        const context = await open()
        contexts.add(context)
        const page = await context.newPage()
        problems.push(watch(page, `localhost:${port}`))
        await page.goto(`http://localhost:${port}/`)
        await signIn(page, name)
        tabs.push(page)
      }
      await use(...tabs)
      assert.deepStrictEqual(problems.flat(), [])
    } finally {
      for (const context of contexts) await context.close()
    }
  }

  const status = (page: Page, text: string) => page.locator("#status").filter({ hasText: text }).waitFor()

  const signIn = async (page: Page, name: string) => {
    await page.getByLabel("Name").fill(name)
    await click(page, "Sign in")
    await status(page, "online")
    await here(page, `${name} (you)`)
  }

  const here = (page: Page, name: string) => page.locator("#people .name").getByText(name, { exact: true }).waitFor()

  const isGone = (page: Page, name: string) =>
    page.locator("#people .name").getByText(name, { exact: true }).waitFor({ state: "detached" })

  const say = async (page: Page, text: string) => {
    await page.getByLabel("Message", { exact: true }).fill(text)
    await click(page, "Send")
    await heard(page, text)
  }

  const heard = (page: Page, text: string) => page.locator("#messages .text").getByText(text, { exact: true }).waitFor()

  const texts = (page: Page) => page.locator("#messages .text").allInnerTexts()

  const note = (page: Page, text: string) => page.locator("#messages .note").filter({ hasText: text }).waitFor()

  it("shows who is there, who types, and what they say", () =>
    withTabs(["alice", "bob"], async (alice, bob) => {
      await here(alice!, "bob")
      await here(bob!, "alice")
      await alice!.getByLabel("Message", { exact: true }).fill("hello")
      await bob!.locator("#typing").getByText("alice is typing").waitFor()
      await say(alice!, "hello")
      await heard(bob!, "hello")
      await say(bob!, "hello, alice")
      await heard(alice!, "hello, alice")
      await bob!.locator("#typing").filter({ hasText: "typing" }).waitFor({ state: "detached" })
      await click(bob!, "garden")
      await isGone(alice!, "bob")
      assert.deepStrictEqual(await texts(bob!), [])
      await click(bob!, "lobby")
      await heard(bob!, "hello, alice")
      assert.deepStrictEqual(await texts(bob!), ["hello", "hello, alice"])
    }))

  it("catches up with what was missed, and shows all that the room keeps after a reload", () =>
    withTabs(["alice", "bob"], async (alice, bob) => {
      await say(alice!, "one")
      await heard(bob!, "one")
      await click(bob!, "Go offline")
      await isGone(alice!, "bob")
      await say(alice!, "two")
      await say(alice!, "three")
      await click(bob!, "Go online")
      await note(bob!, "You missed 2 messages, and have caught up")
      await heard(bob!, "three")
      assert.deepStrictEqual(await texts(bob!), ["one", "two", "three"])
      await click(bob!, "Go offline")
      await click(bob!, "Go online")
      await note(bob!, "Back again: you missed nothing")
      await bob!.reload()
      await heard(bob!, "three")
      assert.deepStrictEqual(await texts(bob!), ["one", "two", "three"])
    }))

  it("says that there is a gap where the room keeps no more", () =>
    withTabs(["alice"], async (alice) => {
      await say(alice!, "before")
      await click(alice!, "Go offline")
      const carol = await login(nodes[0]!, "carol")
      for (let i = 0; i <= 100; i++) await post(nodes[0]!, "/rooms/lobby/announcements", { text: `missed ${i}` }, carol)
      await click(alice!, "Go online")
      await note(alice!, "Gap: older messages are lost")
      await say(alice!, "after")
      assert.deepStrictEqual(await texts(alice!), ["before", "after"])
    }))

  it("hears nobody who is muted", () =>
    withTabs(["alice", "bob", "dave"], async (alice, bob, dave) => {
      await here(bob!, "alice")
      await here(bob!, "dave")
      await click(bob!, "Mute alice")
      await bob!.getByRole("button", { name: "Unmute alice" }).waitFor()
      await say(alice!, "unheard")
      await heard(dave!, "unheard")
      await say(dave!, "heard")
      await heard(bob!, "heard")
      assert.deepStrictEqual(await texts(bob!), ["heard"])
    }))

  it("is closed to who is banned, until they are let back in", () =>
    withTabs(["carol", "mallory"], async (carol, mallory) => {
      await here(carol!, "mallory")
      assert.strictEqual(await mallory!.getByRole("button", { name: "Ban" }).count(), 0)
      await click(carol!, "Ban mallory")
      await status(mallory!, "You had to leave: 403 banned: You are banned from this room")
      await isGone(carol!, "mallory")
      await click(mallory!, "Go online")
      await status(mallory!, "Refused: 403 banned: You are banned from this room")
      await click(carol!, "Let mallory back in")
      await note(carol!, "mallory may come back")
      await click(mallory!, "Go online")
      await status(mallory!, "online")
    }))

  it("shows announcements, and text as text", () =>
    withTabs(["carol", "alice"], async (carol, alice) => {
      await carol!.getByLabel("Message", { exact: true }).fill("<img src=x onerror=\"document.title = 'broken'\">")
      await click(carol!, "Announce")
      await heard(alice!, "<img src=x onerror=\"document.title = 'broken'\">")
      assert.strictEqual(await alice!.locator("img").count(), 0)
      await post(nodes[0]!, "/rooms/lobby/announcements", { text: "Tea is ready" }, await login(nodes[0]!, "carol"))
      for (const page of [carol!, alice!]) {
        await heard(page, "Tea is ready")
        assert.strictEqual(await page.evaluate("document.documentElement.scrollWidth"), 390)
      }
    }))

  it("waits for a server that is gone, and comes back by itself", () =>
    withTabs(["alice"], async (alice) => {
      await say(alice!, "before")
      const { port } = nodes[0]!
      await nodes[0]!.stop()
      await status(alice!, "The server cannot be reached: trying again")
      const env = { PORT: String(port), ...(redis === undefined ? {} : { REDIS_URL: redis.url }) }
      nodes = [await startServer(env), ...nodes.slice(1)]
      await status(alice!, "online")
      await note(alice!, redis === undefined ? "Gap: older messages are lost" : "Back again: you missed nothing")
    }))

  it("notices that its network is gone, and catches up when it is back; what it has sent meanwhile is said once", () =>
    withBrowsers(["alice", "bob"], async (alice, bob) => {
      await here(bob!, "alice")
      await say(alice!, "Good morning! Is the kettle on?")
      await heard(bob!, "Good morning! Is the kettle on?")
      await say(bob!, "It is. Earl Grey or Assam?")
      await heard(alice!, "It is. Earl Grey or Assam?")
      await alice!.getByLabel("Message", { exact: true }).fill("Earl G")
      await bob!.locator("#typing").getByText("alice is typing").waitFor()
      await takePicture("talking", alice!, bob!)

      // Nothing arrives any more, and nobody says so.
      await bob!.context().setOffline(true)
      await bob!.getByLabel("Message", { exact: true }).fill("There is cake, too")
      await click(bob!, "Send")
      await say(alice!, "Earl Grey, please")
      await say(alice!, "Hello? Are you still there?")
      assert.strictEqual((await texts(bob!)).length, 2)
      // Only the heartbeat notices. Its times are those of room.ts.
      await bob!.clock.fastForward("00:10")
      await bob!.clock.fastForward("00:05")
      await status(bob!, "The server cannot be reached: trying again")
      assert.isTrue(await bob!.getByRole("button", { name: "Send" }).isDisabled())
      assert.strictEqual(await bob!.locator("#people li").count(), 0)

      await bob!.context().setOffline(false)
      await status(bob!, "online")
      await note(bob!, "You missed 2 messages, and have caught up")
      await here(bob!, "alice")
      // What he has sent arrives late, and once more when he is back. It is said once, and he need not know.
      await heard(alice!, "There is cake, too")
      await heard(bob!, "There is cake, too")
      assert.strictEqual(await bob!.locator("#messages .note").count(), 1)
      assert.strictEqual(await bob!.getByLabel("Message", { exact: true }).inputValue(), "")
      await say(alice!, "Cake! I am on my way")
      await heard(bob!, "Cake! I am on my way")
      await takePicture("caught-up", alice!, bob!)
      const said = [
        "Good morning! Is the kettle on?",
        "It is. Earl Grey or Assam?",
        "Earl Grey, please",
        "Hello? Are you still there?",
        "There is cake, too",
        "Cake! I am on my way"
      ]
      assert.deepStrictEqual(await texts(bob!), said)
      assert.deepStrictEqual(await texts(alice!), said)
    }))

  it("does not come back by itself when it had to leave, and goes on where it was when it may", () =>
    withBrowsers(["carol", "mallory"], async (carol, mallory) => {
      await here(carol!, "mallory")
      await say(mallory!, "BUY CHEAP WATCHES")
      await heard(carol!, "BUY CHEAP WATCHES")
      await say(carol!, "Not here, please")
      await heard(mallory!, "Not here, please")
      await click(carol!, "Ban mallory")
      await status(mallory!, "You had to leave: 403 banned: You are banned from this room")
      await isGone(carol!, "mallory")
      await takePicture("banned", carol!, mallory!)

      let attempts = 0
      mallory!.on("websocket", () => attempts++)
      await say(carol!, "Peace at last")
      await click(carol!, "Let mallory back in")
      await note(carol!, "mallory may come back")
      await mallory!.clock.fastForward("10:00")
      await mallory!.context().setOffline(true)
      await mallory!.context().setOffline(false)
      assert.strictEqual(
        await mallory!.locator("#status").innerText(),
        "You had to leave: 403 banned: You are banned from this room"
      )
      assert.strictEqual(attempts, 0)

      await click(mallory!, "Go online")
      await status(mallory!, "online")
      await note(mallory!, "You missed 1 message, and have caught up")
      await here(carol!, "mallory")
      assert.deepStrictEqual(await texts(mallory!), ["BUY CHEAP WATCHES", "Not here, please", "Peace at last"])
      assert.strictEqual(attempts, 1)
    }))

  it("talks with plain clients of the original protocol, which know neither positions nor the ids of requests", () =>
    withTabs(["alice"], async (alice) => {
      const old = await enterPlainly(nodes.at(-1)!, "bob")
      await here(alice!, "bob")
      old.send({ action: "post", data: { text: "hello from 2023" } })
      await heard(alice!, "hello from 2023")
      const { data, ...reply } = await old.reply()
      assert.deepStrictEqual(reply, { errors: [], action: "post", route: "", status: 200 })
      assert.deepInclude(data, { from: "bob", text: "hello from 2023" })
      assert.strictEqual((await old.next("posted")).data.text, "hello from 2023")

      await alice!.getByLabel("Message", { exact: true }).fill("hello, bob")
      assert.deepStrictEqual((await old.next("typing")).data, { from: "alice" })
      await say(alice!, "hello, bob")
      assert.deepInclude((await old.next("posted")).data, { from: "alice", text: "hello, bob" })
      old.close()
      await isGone(alice!, "bob")
    }))
})
