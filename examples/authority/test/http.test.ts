import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { readdirSync } from "node:fs"
import { refusal, type Server, start } from "../../quickstart/test/support.ts"

let server: Server

beforeAll(async () => {
  server = await start(new URL("../server.ts", import.meta.url))
}, 30_000)

afterAll(async () => {
  await server.stop()
})

const at = (path: string) => `http://localhost:${server.port}${path}`

const login = (path: "/login" | "/admin/login", body: object, cookie = "") =>
  fetch(at(path), {
    method: "POST",
    headers: { "Content-Type": "application/json", cookie },
    body: JSON.stringify(body)
  })

const cookieOf = (response: Response) => response.headers.getSetCookie()[0]?.split(";")[0] ?? ""

/** How a handshake with these cookies would be answered; 426 stands for yes. */
const handshake = async (path: "/ws/desk/" | "/ws/admin/", cookie: string) =>
  (await fetch(at(path), { headers: { cookie } })).status

describe("the pages", () => {
  it("are all served, without anything from elsewhere, under a policy", async () => {
    const files = readdirSync(new URL("../pages/", import.meta.url)).filter((name) => !name.endsWith(".html"))
    for (const path of ["/", "/admin", ...files.map((name) => `/${name}`)]) {
      const response = await fetch(at(path))
      assert.strictEqual(response.status, 200, path)
      assert.include(response.headers.get("content-security-policy") ?? "", "default-src 'self'")
      assert.notMatch(await response.text(), /https?:\/\//)
    }
  })
})

describe("a session", () => {
  it("is kept in a cookie that no script and no other site gets", async () => {
    const response = await login("/login", { name: "alice" })
    assert.strictEqual(response.status, 204)
    assert.match(
      response.headers.getSetCookie().join(),
      /^session=[\w-]{43}; Max-Age=28800; Path=\/; HttpOnly; SameSite=Strict$/
    )
  })

  it("is one of the desk, or one of the admin's side", async () => {
    const desk = cookieOf(await login("/login", { name: "carol" }))
    const admin = cookieOf(await login("/admin/login", { name: "carol" }))
    assert.deepStrictEqual([await handshake("/ws/desk/", desk), await handshake("/ws/admin/", desk)], [426, 403])
    assert.deepStrictEqual([await handshake("/ws/desk/", admin), await handshake("/ws/admin/", admin)], [403, 426])
  })

  it("is over after logging out, and after logging in as somebody else", async () => {
    const first = cookieOf(await login("/login", { name: "alice" }))
    const second = cookieOf(await login("/login", { name: "bob" }, first))
    assert.strictEqual(await handshake("/ws/desk/", first), 401)
    assert.strictEqual(await handshake("/ws/desk/", second), 426)
    const response = await fetch(at("/logout"), { method: "POST", headers: { cookie: second } })
    assert.match(response.headers.getSetCookie().join(), /^session=; Max-Age=0;/)
    assert.strictEqual(await handshake("/ws/desk/", second), 401)
  })

  it("is not for who is unknown, or says nothing", async () => {
    assert.strictEqual((await login("/login", { name: "mallory" })).status, 403)
    assert.strictEqual((await login("/login", {})).status, 400)
  })

  it("that nobody began is refused, and none at all is denied", async () => {
    assert.strictEqual(await handshake("/ws/desk/", "session=made-up"), 401)
    assert.strictEqual((await refusal(server, "/ws/desk/")).status, 403)
    assert.strictEqual((await refusal(server, "/ws/admin/")).status, 403)
  })
})
