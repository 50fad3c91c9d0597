/**
 * By hand: raw `ws`. Each live query knows what its client has been told of each task, as JSON that is made once for all of them;
 * after a change it is asked whether the task is what the client wants and may see, and whether that is something new.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { DatabaseSync } from "node:sqlite"
import { WebSocket, WebSocketServer } from "ws"
import { ddl, type Task, tasks, type User, userOfUrl } from "../../resources/tasks.ts"
import { filename } from "../database.ts"
import { report, wantedPort } from "../report.ts"

const db = new DatabaseSync(filename)
db.exec("PRAGMA journal_mode = WAL")
for (const statement of ddl("sqlite")) db.exec(statement)
const insert = db.prepare("INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?)")
for (const { createdAt, done, id, ownerId, priority, shared, title } of tasks) {
  insert.run(id, title, Number(done), priority, ownerId, Number(shared), createdAt)
}
db.exec("ANALYZE tasks")

const columns = `"id", "title", "done", "priority", "ownerId", "shared", "createdAt"`
const begin = db.prepare("BEGIN IMMEDIATE")
const commit = db.prepare("COMMIT")
const rollback = db.prepare("ROLLBACK")
const found = db.prepare(`SELECT ${columns} FROM tasks WHERE "id" = ?`)
const updated = db.prepare(`UPDATE tasks SET "title" = ?, "priority" = ? WHERE "id" = ? RETURNING ${columns}`)
const visible = db.prepare(
  `SELECT ${columns} FROM tasks WHERE "done" = ? AND ("ownerId" = ? OR "shared" = 1) ORDER BY "id"`
)

const toTask = (row: Record<string, unknown>): Task =>
  ({ ...row, done: row["done"] === 1, shared: row["shared"] === 1 }) as unknown as Task

const isVisible = (user: User, task: Task) => task.ownerId === user.id || task.shared

/** A live query: of tasks that are done, or that are not. */
interface Query {
  readonly client: WebSocket
  readonly user: User
  readonly done: boolean
  /** The reply around a change. */
  readonly tail: string
  /** What the client has been told of each task. */
  readonly told: Map<number, string>
}

const head = `{"errors":[],"data":`
const queries = new Set<Query>()

const subscribe = (client: WebSocket, user: User, done: boolean, { action, request_id, route }: Request) => {
  const tail = `,"action":${JSON.stringify(action)},"route":${JSON.stringify(route)},"status":206,"request_id":${
    JSON.stringify(request_id)
  }}`
  const query = { client, user, done, tail, told: new Map<number, string>() }
  const jsons = visible.all(Number(done), user.id).map((row) => {
    const task = toTask(row)
    const json = JSON.stringify(task)
    query.told.set(task.id, json)
    return json
  })
  queries.add(query)
  client.send(`${head}{"type":"snapshot","results":[${jsons.join(",")}]}${tail}`)
}

const tell = (task: Task) => {
  const json = JSON.stringify(task)
  for (const { client, done, tail, told, user } of queries) {
    if (client.readyState !== WebSocket.OPEN) continue
    const known = told.get(task.id)
    if (task.done === done && isVisible(user, task)) {
      if (known === json) continue
      told.set(task.id, json)
      client.send(`${head}{"type":"${known === undefined ? "added" : "updated"}","object":${json}}${tail}`)
    } else if (known !== undefined) {
      told.delete(task.id)
      client.send(`${head}{"type":"removed","key":${task.id}}${tail}`)
    }
  }
}

interface Request {
  readonly action: string
  readonly route: string
  readonly data?: unknown
  readonly request_id: number
}

const change = (client: WebSocket, user: User, id: number, { action, data, request_id, route }: Request) => {
  const { priority, title } = data as { readonly title: unknown; readonly priority: unknown }
  const reply = (status: number, data: unknown, errors: ReadonlyArray<unknown>) =>
    client.send(JSON.stringify({ errors, data, action, route, status, request_id }))
  if (typeof title !== "string" || !Number.isSafeInteger(priority)) {
    return reply(400, null, [{ detail: "Expected changes" }])
  }
  begin.run()
  const row = found.get(id)
  if (row === undefined || !isVisible(user, toTask(row))) {
    rollback.run()
    return row === undefined
      ? reply(404, null, [{ detail: "There is no such task" }])
      : reply(403, null, [{ detail: "Not yours" }])
  }
  const task = toTask(updated.get(title, priority as number, id)!)
  commit.run()
  reply(200, task, [])
  tell(task)
}

const handle = (client: WebSocket, user: User, request: Request) => {
  const [path = "", search = ""] = request.route.split("?", 2)
  if (request.action === "subscribe" && path === "tasks/") {
    return subscribe(client, user, new URLSearchParams(search).get("done") === "true", request)
  }
  const [, id] = /^tasks\/(\d+)\/$/.exec(path) ?? []
  if (request.action === "partial_update" && id !== undefined) return change(client, user, Number(id), request)
  client.terminate()
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
    client.on("close", () => {
      for (const query of queries) if (query.client === client) queries.delete(query)
    })
    client.on("message", (data) => handle(client, user, JSON.parse(String(data))))
  })
})

server.listen(wantedPort, "127.0.0.1", () => report((server.address() as AddressInfo).port))
