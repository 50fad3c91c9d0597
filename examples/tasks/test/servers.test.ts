import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run, type Server } from "../../quickstart/test/support.ts"
import { type Database, enter, file, handshake, makePostgres, query, skipsPostgres, startServer } from "./support.ts"

describe.skipIf(skipsPostgres("what others write to PostgreSQL"))("over PostgreSQL", { timeout: 30_000 }, () => {
  let database: Database
  let one: Server
  let other: Server

  beforeAll(async () => {
    database = await makePostgres()
    // Both make the tables, at once.
    const [a, b] = await Promise.all([1, 2].map(() => startServer({ DATABASE_URL: database.url })))
    one = a!
    other = b!
  }, 60_000)

  afterAll(async () => {
    await one?.stop()
    await other?.stop()
    await database?.drop()
  })

  const sql = (...statements: ReadonlyArray<string>) => query(database.url, ...statements)

  it("what is written by plain SQL is seen at once, by those who may see it", async () => {
    const [alice, bob] = [await enter(one, "alice"), await enter(other, "bob")]
    const [hers, his] = [alice.subscribe("tasks/"), bob.subscribe("tasks/")]
    for (const live of [hers, his]) assert.strictEqual(await live.change(), "snapshot")

    await sql("INSERT INTO tasks (board, title, owner, is_private) VALUES ('website', 'Hidden', 'alice', true)")
    assert.strictEqual(await hers.change(), "added Hidden 1")
    await sql(
      "BEGIN",
      "INSERT INTO tasks (board, title, owner) VALUES ('website', 'Never was', 'alice')",
      "ROLLBACK",
      "INSERT INTO tasks (board, title, owner) VALUES ('office', 'Elsewhere', 'carol')",
      "INSERT INTO tasks (board, title, owner) VALUES ('website', 'By hand', 'carol')"
    )
    for (const live of [hers, his]) assert.strictEqual(await live.change(), "added By hand 1")
    await sql("UPDATE tasks SET version = version + 1, title = 'Handmade' WHERE title = 'By hand'")
    for (const live of [hers, his]) assert.strictEqual(await live.change(), "updated Handmade 2")
    await sql("DELETE FROM tasks WHERE title IN ('Handmade', 'Hidden')")
    assert.match(await his.change(), /^removed \d+$/)
    assert.deepStrictEqual([await hers.change(), await hers.change()].map((told) => told.split(" ")[0]), [
      "removed",
      "removed"
    ])
  })

  it("what is written by one server is seen on the other one", async () => {
    const [alice, bob] = [await enter(one, "alice"), await enter(other, "bob")]
    const live = bob.subscribe("tasks/")
    assert.strictEqual(await live.change(), "snapshot")
    const { id } = await alice.create("From afar")
    assert.strictEqual(await live.change(), "added From afar 1")
    await alice.ask("destroy", `tasks/${id}/`)
    assert.strictEqual(await live.change(), `removed ${id}`)
  })

  it("whoever is dismissed by plain SQL, or on the other server, is out", async () => {
    const [alice, bob, carol] = [await enter(one, "alice"), await enter(other, "bob"), await enter(other, "carol")]
    const [his, hers] = [bob.subscribe("tasks/"), carol.subscribe("tasks/")]
    for (const live of [his, hers]) assert.strictEqual(await live.change(), "snapshot")

    await sql("DELETE FROM members WHERE name = 'bob'")
    assert.strictEqual(await his.change(), "ended 403 permission_lost")
    assert.strictEqual(await bob.closed, "4403 You are not a member of this board")
    assert.strictEqual((await carol.ask("board", "")).status, 200)

    assert.strictEqual((await alice.ask("dismiss", "members/", { name: "carol" })).status, 204)
    assert.strictEqual(await hers.change(), "ended 403 permission_lost")
    assert.strictEqual(await carol.closed, "4403 You are not a member of this board")

    await sql("INSERT INTO members (board, name) VALUES ('website', 'bob'), ('website', 'carol')")
    for (const name of ["bob", "carol"]) assert.strictEqual((await handshake(one, name)).status, 426)
  })

  it("a board that is given away has another owner at once", async () => {
    const [alice, bob] = [await enter(one, "alice"), await enter(one, "bob")]
    const told = alice.subscribe("members/")
    assert.strictEqual(await told.change(), "snapshot")
    await sql("UPDATE boards SET owner = 'bob' WHERE id = 'website'")
    // She is no member either.
    assert.strictEqual(await told.change(), "ended 403 permission_lost")
    assert.strictEqual((await bob.ask("invite", "members/", { name: "alice" })).status, 201)
    await sql("UPDATE boards SET owner = 'alice' WHERE id = 'website'", "DELETE FROM members WHERE name = 'alice'")
  })
})

describe("a server", { timeout: 30_000 }, () => {
  it("finds in the file of SQLite what the one before has left there", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tasks-"))
    const env = { TASKS_DB: join(directory, "tasks.db") }
    try {
      const before = await startServer(env)
      const { id } = await (await enter(before, "alice")).create("Remember me")
      await before.stop()
      const after = await startServer(env)
      const alice = await enter(after, "alice")
      assert.deepInclude((await alice.ask("retrieve", `tasks/${id}/`)).data, { title: "Remember me", version: 1 })
      assert.strictEqual((await alice.ask("list", "tasks/?search=logo")).data.results.length, 1)
      await after.stop()
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  it("says so where there is no database", async () => {
    const env = { PORT: "0", TASKS_DB: "/nowhere/tasks.db" }
    for (const url of ["", "postgres://postgres@127.0.0.1:1/tasks"]) {
      const { code, stderr } = await run(file, { ...env, DATABASE_URL: url })
      assert.strictEqual(code, 1)
      assert.include(stderr, "The database cannot be opened")
    }
  })
})
