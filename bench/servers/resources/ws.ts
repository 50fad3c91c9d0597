/**
 * By hand: raw `ws`, JSON.parse, the statements, a comparison of the owner, JSON.stringify. SQLite by the prepared statements of
 * `node:sqlite`, PostgreSQL by the same driver that the other server has.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { DatabaseSync } from "node:sqlite"
import { WebSocketServer } from "ws"
import { type Changes, ddl, type Task, tasks, type User, userOfUrl } from "../../resources/tasks.ts"
import { database, filename, fill, PostgresLive } from "../database.ts"
import { report, wantedPort } from "../report.ts"

/** What is kept, however that is done. */
interface Store {
  readonly count: (owner: number) => number | Promise<number>
  readonly page: (owner: number, limit: number, offset: number) => ReadonlyArray<Task> | Promise<ReadonlyArray<Task>>
  readonly find: (id: number) => Task | undefined | Promise<Task | undefined>
  /** Changes a task, if `isPermitted` says so of it; answers with what is there then. */
  readonly change: (
    id: number,
    changes: Changes,
    isPermitted: (task: Task) => boolean
  ) => Changed | Promise<Changed>
}

type Changed = Task | "missing" | "denied"

const columns = `"id", "title", "done", "priority", "ownerId", "shared", "createdAt"`

const sqlite = (): Store => {
  const db = new DatabaseSync(filename)
  db.exec("PRAGMA journal_mode = WAL")
  for (const statement of ddl("sqlite")) db.exec(statement)
  const insert = db.prepare("INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?)")
  for (const { createdAt, done, id, ownerId, priority, shared, title } of tasks) {
    insert.run(id, title, Number(done), priority, ownerId, Number(shared), createdAt)
  }
  db.exec("ANALYZE tasks")
  const begin = db.prepare("BEGIN IMMEDIATE")
  const commit = db.prepare("COMMIT")
  const rollback = db.prepare("ROLLBACK")
  const counted = db.prepare(`SELECT count(*) AS count FROM tasks WHERE "ownerId" = ?`)
  const selected = db.prepare(`SELECT ${columns} FROM tasks WHERE "ownerId" = ? ORDER BY "id" LIMIT ? OFFSET ?`)
  const found = db.prepare(`SELECT ${columns} FROM tasks WHERE "id" = ?`)
  const updates = new Map<string, ReturnType<typeof db.prepare>>()
  const toTask = (row: Record<string, unknown>): Task =>
    ({ ...row, done: row["done"] === 1, shared: row["shared"] === 1 }) as unknown as Task
  const find = (id: number) => {
    const row = found.get(id)
    return row === undefined ? undefined : toTask(row)
  }
  return {
    find,
    count: (owner) => Number(counted.get(owner)!["count"]),
    page: (owner, limit, offset) => selected.all(owner, limit, offset).map(toTask),
    change: (id, changes, isPermitted) => {
      begin.run()
      try {
        const task = find(id)
        if (task === undefined || !isPermitted(task)) {
          rollback.run()
          return task === undefined ? "missing" : "denied"
        }
        const sets = Object.keys(changes).map((name) => `"${name}" = ?`).join(", ")
        let update = updates.get(sets)
        if (update === undefined) {
          update = db.prepare(`UPDATE tasks SET ${sets} WHERE "id" = ? RETURNING ${columns}`)
          updates.set(sets, update)
        }
        const values = Object.values(changes).map((value) => typeof value === "boolean" ? Number(value) : value)
        const changed = toTask(update.get(...values, id)!)
        commit.run()
        return changed
      } catch (error) {
        if (db.isTransaction) rollback.run()
        throw error
      }
    }
  }
}

const postgres = async (): Promise<Store> => {
  const context = await Effect.runPromise(Layer.buildWithScope(PostgresLive, Scope.makeUnsafe()))
  await Effect.runPromiseWith(context)(fill)
  const sql = Context.get(context, SqlClient)
  const run = Effect.runPromiseWith(Context.empty())
  const ask = <A>(text: string, parameters: ReadonlyArray<unknown>) =>
    sql.unsafe(text, parameters) as unknown as Effect.Effect<ReadonlyArray<A>>
  const find = `SELECT ${columns} FROM tasks WHERE "id" = $1`
  return {
    find: (id) => run(Effect.map(ask<Task>(find, [id]), ([task]) => task)),
    count: (owner) =>
      run(
        Effect.map(
          ask<{ count: bigint }>(`SELECT count(*) AS count FROM tasks WHERE "ownerId" = $1`, [owner]),
          ([row]) => Number(row!.count)
        )
      ),
    page: (owner, limit, offset) =>
      run(
        ask<Task>(`SELECT ${columns} FROM tasks WHERE "ownerId" = $1 ORDER BY "id" LIMIT $2 OFFSET $3`, [
          owner,
          limit,
          offset
        ])
      ),
    change: (id, changes, isPermitted) =>
      run(sql.withTransaction(Effect.flatMap(ask<Task>(`${find} FOR UPDATE`, [id]), ([task]) => {
        if (task === undefined || !isPermitted(task)) {
          return Effect.succeed<Changed>(task === undefined ? "missing" : "denied")
        }
        const sets = Object.keys(changes).map((name, i) => `"${name}" = $${i + 1}`)
        const values = Object.values(changes)
        return Effect.map(
          ask<Task>(`UPDATE tasks SET ${sets.join(", ")} WHERE "id" = $${sets.length + 1} RETURNING ${columns}`, [
            ...values,
            id
          ]),
          ([changed]): Changed => changed!
        )
      })) as Effect.Effect<Changed>)
  }
}

const store = database === "sqlite" ? sqlite() : await postgres()

// ---- requests

interface Request {
  readonly action: string
  readonly route: string
  readonly data?: unknown
  readonly request_id: number
}

interface Answer {
  readonly status: number
  readonly data: unknown
  readonly errors: ReadonlyArray<{ readonly detail: string }>
}

const ok = (data: unknown): Answer => ({ status: 200, data, errors: [] })
const failed = (status: number, detail: string): Answer => ({ status, data: null, errors: [{ detail }] })

const isPermitted = (user: User) => (task: Task) => task.ownerId === user.id

const checks: Readonly<Record<string, (value: unknown) => boolean>> = {
  title: (value) => typeof value === "string",
  done: (value) => typeof value === "boolean",
  priority: (value) => Number.isSafeInteger(value),
  shared: (value) => typeof value === "boolean"
}

const changesIn = (data: unknown): Changes | undefined => {
  if (typeof data !== "object" || data === null) return undefined
  for (const [name, value] of Object.entries(data)) if (checks[name]?.(value) !== true) return undefined
  return data
}

const list = async (user: User, path: string, query: URLSearchParams): Promise<Answer> => {
  const size = Math.min(Number(query.get("page_size") ?? 20), 100)
  const page = Number(query.get("page") ?? 1)
  if (!(size > 0 && page > 0)) return failed(400, "Expected a page")
  const counted = store.count(user.id)
  const count = typeof counted === "number" ? counted : await counted
  const pages = Math.max(1, Math.ceil(count / size))
  if (page > pages) return failed(404, "Invalid page")
  const selected = store.page(user.id, size, (page - 1) * size)
  const results = selected instanceof Promise ? await selected : selected
  const link = (page: number) => {
    const params = new URLSearchParams(query)
    if (page === 1) params.delete("page")
    else params.set("page", String(page))
    params.sort()
    return `${path}?${params}`
  }
  return ok({
    count,
    next: page < pages ? link(page + 1) : null,
    previous: page > 1 ? link(page - 1) : null,
    results
  })
}

const retrieve = async (user: User, id: number): Promise<Answer> => {
  const found = store.find(id)
  const task = found instanceof Promise ? await found : found
  if (task === undefined) return failed(404, "There is no such task")
  return isPermitted(user)(task) ? ok(task) : failed(403, "Not yours")
}

const change = async (user: User, id: number, data: unknown): Promise<Answer> => {
  const changes = changesIn(data)
  if (changes === undefined) return failed(400, "Expected changes")
  const changing = store.change(id, changes, isPermitted(user))
  const changed = changing instanceof Promise ? await changing : changing
  if (changed === "missing") return failed(404, "There is no such task")
  return changed === "denied" ? failed(403, "Not yours") : ok(changed)
}

const answer = (user: User, { action, data, route }: Request): Answer | Promise<Answer> => {
  const [path = "", search = ""] = route.split("?", 2)
  if (path === "tasks/") {
    return action === "list" ? list(user, path, new URLSearchParams(search)) : failed(405, "No such action")
  }
  const [, id] = /^tasks\/(\d+)\/$/.exec(path) ?? []
  if (id === undefined) return failed(404, "No such route")
  switch (action) {
    case "retrieve":
      return retrieve(user, Number(id))
    case "partial_update":
      return change(user, Number(id), data)
    default:
      return failed(405, "No such action")
  }
}

const handle = async (user: User, text: string): Promise<string> => {
  const request: Request = JSON.parse(text)
  const { data, errors, status } = await answer(user, request)
  const { action, request_id, route } = request
  return JSON.stringify({ errors, data, action, route, status, request_id })
}

const server = createServer()
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })

server.on("upgrade", (request, socket, head) => {
  const user = userOfUrl(request.url)
  if (user === undefined) {
    socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n")
    return
  }
  sockets.handleUpgrade(request, socket, head, (client) => {
    client.on("error", () => client.terminate())
    client.on("message", (data) => {
      handle(user, String(data)).then(
        (reply) => client.send(reply),
        (error: unknown) => {
          console.error(error)
          client.terminate()
        }
      )
    })
  })
})

server.listen(wantedPort, "127.0.0.1", () => report((server.address() as AddressInfo).port))
