import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { readdirSync } from "node:fs"
import type { Server } from "../../quickstart/test/support.ts"
import {
  type Database,
  enter,
  type Frame,
  handshake,
  logIn,
  makePostgres,
  skipsPostgres,
  startServer
} from "./support.ts"

const titlesOf = (results: ReadonlyArray<{ readonly title: string }>) => results.map(({ title }) => title)

const codeOf = ({ errors, status }: Frame) => [status, errors[0]?.code]

const databases = {
  SQLite: { isSkipped: false, make: async (): Promise<Database | undefined> => undefined },
  PostgreSQL: { isSkipped: skipsPostgres("the board over PostgreSQL"), make: makePostgres }
}

for (const [name, { isSkipped, make }] of Object.entries(databases)) {
  describe.skipIf(isSkipped)(`over ${name}`, () => {
    let database: Database | undefined
    let server: Server

    beforeAll(async () => {
      database = await make()
      server = await startServer(database === undefined ? {} : { DATABASE_URL: database.url })
    }, 60_000)

    afterAll(async () => {
      await server?.stop()
      await database?.drop()
    })

    describe("a task", () => {
      it("is made, changed and deleted, and everybody at the board is told", async () => {
        const [alice, bob, office] = [
          await enter(server, "alice"),
          await enter(server, "bob"),
          await enter(server, "carol", "office")
        ]
        const [hers, his, theirs] = [alice, bob, office].map((tab) => tab.subscribe("tasks/"))
        for (const live of [hers!, his!, theirs!]) assert.strictEqual(await live.change(), "snapshot")

        const made = await bob.create("  Sing  ", { board: "office", owner: "alice", version: 7 })
        const { createdAt, id, ...others } = made
        assert.deepStrictEqual(others, {
          board: "website",
          title: "Sing",
          status: "open",
          assignee: null,
          isPrivate: false,
          owner: "bob",
          version: 1
        })
        assert.isAbove(Date.parse(createdAt), Date.parse("2026-01-01"))
        const route = `tasks/${id}/`
        assert.deepStrictEqual((await alice.ask("retrieve", route)).data, made)

        const moved = await bob.ask("partial_update", route, { status: "doing", version: 1 })
        assert.deepStrictEqual([moved.status, moved.data], [200, { ...made, status: "doing", version: 2 }])
        const whole = { title: "Sing louder", status: "done", assignee: "carol", version: 2 }
        assert.deepStrictEqual((await alice.ask("update", route, whole)).data, {
          ...made,
          ...whole,
          version: 3
        })
        assert.strictEqual((await alice.ask("destroy", route)).status, 204)
        assert.deepStrictEqual(codeOf(await bob.ask("retrieve", route)), [404, "not_found"])

        for (const live of [hers!, his!]) {
          // Whoever reads slowly is told less: what counts is how it ends.
          const told = [await live.change()]
          while (told.at(-1) !== `removed ${id}`) told.push(await live.change())
          assert.strictEqual(told[0], "added Sing 1")
        }
        await office.create("Elsewhere")
        assert.strictEqual(await theirs!.change(), "added Elsewhere 1")
      })

      it("is of one board, and has a title of its own there", async () => {
        const [alice, office] = [await enter(server, "alice"), await enter(server, "alice", "office")]
        const { id } = await alice.create("Rest")
        const taken = await alice.ask("create", "tasks/", { title: "Rest" })
        assert.deepStrictEqual(codeOf(taken), [409, "conflict"])
        const other = await office.create("Rest")
        const renamed = await alice.ask("partial_update", `tasks/${(await alice.create("Rest more")).id}/`, {
          title: "Rest"
        })
        assert.deepStrictEqual(codeOf(renamed), [409, "conflict"])

        assert.strictEqual((await alice.ask("retrieve", `tasks/${id}/`)).status, 200)
        for (const action of ["retrieve", "destroy"]) {
          assert.deepStrictEqual(codeOf(await alice.ask(action, `tasks/${other.id}/`)), [404, "not_found"])
        }
      })

      it("is changed by the version that was read, or not at all", async () => {
        const [alice, bob] = [await enter(server, "alice"), await enter(server, "bob")]
        const { id } = await bob.create("Choose a colour")
        const route = `tasks/${id}/`
        const [one, other] = await Promise.all([
          alice.ask("partial_update", route, { title: "Choose blue", version: 1 }),
          bob.ask("partial_update", route, { title: "Choose red", version: 1 })
        ])
        assert.deepStrictEqual([one.status, other.status].sort(), [200, 409])
        const lost = one.status === 409 ? one : other
        assert.strictEqual(lost.errors[0]?.code, "stale_version")
        const { data } = await alice.ask("retrieve", route)
        assert.deepStrictEqual([data.title, data.version], [one.status === 200 ? "Choose blue" : "Choose red", 2])
        // The whole of a task is not changed blindly.
        assert.strictEqual((await bob.ask("update", route, { title: "Choose red" })).status, 400)
        assert.strictEqual((await bob.ask("partial_update", route, { title: "" })).status, 400)
      })

      it("is changed by its owner and by the owner of the board, and deleted by the latter alone", async () => {
        const [alice, bob, carol] = [
          await enter(server, "alice"),
          await enter(server, "bob"),
          await enter(server, "carol")
        ]
        const { id } = await bob.create("Count the words")
        const route = `tasks/${id}/`
        assert.deepStrictEqual(codeOf(await carol.ask("partial_update", route, { status: "done" })), [403, "not_owner"])
        assert.strictEqual((await bob.ask("partial_update", route, { status: "doing" })).status, 200)
        assert.strictEqual((await alice.ask("partial_update", route, { status: "done" })).status, 200)
        for (const tab of [bob, carol]) {
          assert.deepStrictEqual(codeOf(await tab.ask("destroy", route)), [403, "board_owner_only"])
        }
        assert.strictEqual((await alice.ask("destroy", route)).status, 204)
      })
    })

    describe("a private task", () => {
      it("is there for its owner and its assignee alone", async () => {
        const [alice, bob, carol] = [
          await enter(server, "alice"),
          await enter(server, "bob"),
          await enter(server, "carol")
        ]
        const route = "tasks/?search=party"
        for (const [tab, expected] of [[alice, 1], [carol, 1], [bob, 0]] as const) {
          assert.strictEqual((await tab.ask("list", route)).data.results.length, expected)
          assert.strictEqual((await tab.subscribe(route).next()).data.results.length, expected)
        }
        const [task] = (await alice.ask("list", route)).data.results
        assert.strictEqual((await carol.ask("retrieve", `tasks/${task.id}/`)).status, 200)
        assert.deepStrictEqual(codeOf(await bob.ask("retrieve", `tasks/${task.id}/`)), [403, "private"])
        // Neither may the owner of the board touch what they may not see.
        const secret = await bob.create("A secret of bob", { isPrivate: true })
        for (const action of ["partial_update", "destroy"]) {
          assert.deepStrictEqual(codeOf(await alice.ask(action, `tasks/${secret.id}/`, {})), [403, "private"])
        }
      })

      it("comes and goes as it is assigned, published and withdrawn", async () => {
        const [bob, carol] = [await enter(server, "bob"), await enter(server, "carol")]
        const live = carol.subscribe("tasks/")
        assert.strictEqual(await live.change(), "snapshot")
        const { id } = await bob.create("Write a poem", { isPrivate: true })
        const change = async (data: object) =>
          assert.strictEqual((await bob.ask("partial_update", `tasks/${id}/`, data)).status, 200)
        await change({ assignee: "carol" })
        assert.strictEqual(await live.change(), "added Write a poem 2")
        await change({ assignee: "alice" })
        assert.strictEqual(await live.change(), `removed ${id}`)
        await change({ isPrivate: false })
        assert.strictEqual(await live.change(), "added Write a poem 4")
        await change({ isPrivate: true })
        assert.strictEqual(await live.change(), `removed ${id}`)
      })
    })

    describe("a list", () => {
      it("comes in pages, forth and back, each task once", async () => {
        const bob = await enter(server, "bob")
        for (let i = 0; i < 7; i++) await bob.create(`Page ${i}`)
        const page = async (route: string) => {
          const { data, status } = await bob.ask("list", route)
          assert.strictEqual(status, 200)
          return data
        }
        const pages = [await page("tasks/?search=page&ordering=title")]
        while (pages.at(-1).next !== null) pages.push(await page(pages.at(-1).next))
        assert.deepStrictEqual(pages.map(({ results }) => titlesOf(results)), [
          ["Page 0", "Page 1", "Page 2", "Page 3", "Page 4"],
          ["Page 5", "Page 6", "Translate the front page", "Write the front page"]
        ])
        assert.strictEqual(pages[0].previous, null)
        assert.deepStrictEqual(titlesOf((await page(pages[1].previous)).results), titlesOf(pages[0].results))
        // A new one at the beginning moves nothing.
        await bob.create("A page before")
        assert.deepStrictEqual(titlesOf((await page(pages[0].next)).results), titlesOf(pages[1].results))
      })

      it("is filtered and put in order by what is offered, and by nothing else", async () => {
        const alice = await enter(server, "alice", "office")
        const list = async (query: string) => titlesOf((await alice.ask("list", `tasks/${query}`)).data?.results ?? [])
        assert.deepStrictEqual(await list("?status=doing"), ["Water the plants"])
        assert.deepStrictEqual(await list("?assignee=alice&ordering=-title"), ["Water the plants"])
        assert.deepStrictEqual(await list("?assignee__isnull=true&search=ORDER"), ["Order paper"])
        assert.deepStrictEqual((await list("?status__in=open,doing&ordering=createdAt")).slice(0, 2), [
          "Water the plants",
          "Order paper"
        ])
        for (const query of ["?owner=carol", "?status=none", "?ordering=owner", "?cursor=mine"]) {
          assert.strictEqual((await alice.ask("list", `tasks/${query}`)).status, 400)
        }
      })

      it("that is live has what was asked for alone", async () => {
        const bob = await enter(server, "bob")
        const live = bob.subscribe("tasks/?status=done&search=ship")
        assert.strictEqual(await live.change(), "snapshot")
        const { id } = await bob.create("Ship it")
        await bob.ask("partial_update", `tasks/${id}/`, { status: "done" })
        assert.strictEqual(await live.change(), "added Ship it 2")
        await bob.ask("partial_update", `tasks/${id}/`, { status: "doing" })
        assert.strictEqual(await live.change(), `removed ${id}`)
      })
    })

    describe("a member", () => {
      it("is invited, and dismissed: what they have open ends at once", async () => {
        const carol = await enter(server, "carol", "office")
        const members = carol.subscribe("members/")
        assert.deepStrictEqual((await members.next()).data.results.map((one: any) => one.name), ["alice"])
        assert.strictEqual((await handshake(server, "dave", "office")).status, 403)

        assert.strictEqual((await carol.ask("invite", "members/", { name: "dave" })).status, 201)
        const { object } = (await members.next()).data
        assert.deepInclude(object, { board: "office", name: "dave" })
        assert.deepStrictEqual(codeOf(await carol.ask("invite", "members/", { name: "dave" })), [409, "conflict"])

        const dave = await enter(server, "dave", "office")
        const live = dave.subscribe("tasks/")
        assert.strictEqual(await live.change(), "snapshot")
        assert.deepStrictEqual(codeOf(await dave.ask("dismiss", "members/", { name: "alice" })), [
          403,
          "board_owner_only"
        ])
        assert.deepStrictEqual(codeOf(await dave.ask("invite", "members/", { name: "bob" })), [403, "board_owner_only"])

        assert.strictEqual((await carol.ask("dismiss", "members/", { name: "dave" })).status, 204)
        await carol.create("Behind the back of dave")
        assert.strictEqual(await live.change(), "ended 403 permission_lost")
        assert.strictEqual(await dave.closed, "4403 You are not a member of this board")
        assert.strictEqual((await handshake(server, "dave", "office")).status, 403)
        assert.deepStrictEqual((await members.next()).data, { type: "removed", key: object.id })
        assert.deepStrictEqual(codeOf(await carol.ask("dismiss", "members/", { name: "dave" })), [404, "not_found"])
      })

      it("of one board is none of another", async () => {
        const alice = await enter(server, "alice", "office")
        assert.deepStrictEqual(codeOf(await alice.ask("invite", "members/", { name: "dave" })), [
          403,
          "board_owner_only"
        ])
        assert.strictEqual((await handshake(server, "bob", "office")).status, 403)
        assert.strictEqual((await handshake(server, "bob", "website")).status, 426)
        assert.strictEqual((await handshake(server, "bob", "nowhere")).status, 403)
        assert.deepInclude((await alice.ask("board", "")).data, { id: "office", owner: "carol" })
      })
    })
  })
}

describe("the HTTP side", () => {
  let server: Server

  beforeAll(async () => {
    server = await startServer()
  }, 30_000)

  afterAll(async () => {
    await server?.stop()
  })

  const at = (path: string) => `http://localhost:${server.port}${path}`

  it("serves the page, without anything from elsewhere, under a policy", async () => {
    const files = readdirSync(new URL("../pages/", import.meta.url)).filter((name) => !name.endsWith(".html"))
    for (const path of ["/", ...files.map((name) => `/${name}`)]) {
      const response = await fetch(at(path))
      assert.strictEqual(response.status, 200, path)
      assert.include(response.headers.get("content-security-policy") ?? "", "default-src 'self'")
      assert.notMatch(await response.text(), /https?:\/\//)
    }
  })

  it("logs in whom it knows, and says what they may open", async () => {
    const response = await logIn(server, "alice")
    const { boards, token } = await response.json() as any
    assert.deepStrictEqual(boards, [{ id: "office", title: "The office" }, { id: "website", title: "The website" }])
    assert.match(token, /^[\w-]{43}$/)
    assert.strictEqual((await logIn(server, "mallory")).status, 403)
  })

  it("refuses handshakes without a token, and with one that nobody was given", async () => {
    assert.strictEqual((await fetch(at("/ws/boards/website/"))).status, 403)
    const headers = { Authorization: "Bearer made-up" }
    assert.strictEqual((await fetch(at("/ws/boards/website/"), { headers })).status, 401)
  })
})
