import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { SignJWT } from "jose"
import { connect, refusal, type Reply, run, type Server, start } from "./support.ts"

const file = new URL("../server.ts", import.meta.url)

const secret = "a secret of the tests, 32 characters at least"
const key = new TextEncoder().encode(secret)

let server: Server

beforeAll(async () => {
  server = await start(file, { TOKEN_SECRET: secret })
}, 30_000)

afterAll(async () => {
  await server.stop()
})

const login = (body: object) =>
  fetch(`http://localhost:${server.port}/login`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body)
  })

const tokenOf = async (body: { readonly name: string; readonly expired?: boolean }) => {
  const response = await login(body)
  assert.strictEqual(response.status, 200)
  return response.text()
}

const connectAs = async (name?: string) =>
  connect(server, name === undefined ? "/ws/" : `/ws/?token=${await tokenOf({ name })}`)

const problem = ({ data, errors, status }: Reply) => ({ data, errors, status })

const editNote = (id: number) => ({ action: "edit", route: `notes/${id}/`, data: { text: "Edited" } })

describe("the HTTP side", () => {
  it("serves the page, without anything from elsewhere", async () => {
    const response = await fetch(`http://localhost:${server.port}/`)
    assert.strictEqual(response.status, 200)
    assert.match(response.headers.get("content-type") ?? "", /^text\/html/)
    assert.notMatch(await response.text(), /https?:\/\//)
  })

  it("serves the contract with its permissions", async () => {
    const response = await fetch(`http://localhost:${server.port}/contract`)
    assert.include(await response.text(), "and(isAuthenticated, or(isAdmin, isOwner))")
  })

  it("gives no tokens to who is unknown, or says nothing", async () => {
    assert.strictEqual((await login({ name: "mallory" })).status, 403)
    assert.strictEqual((await login({})).status, 400)
  })

  it("answers a plain GET as it would answer the handshake", async () => {
    const answerTo = async (token: string) => {
      const response = await fetch(`http://localhost:${server.port}/ws/?token=${token}`)
      return { status: response.status, body: await response.text() }
    }
    const expired = await answerTo(await tokenOf({ name: "alice", expired: true }))
    assert.strictEqual(expired.status, 401)
    assert.include(expired.body, "The token has expired")
    assert.deepStrictEqual(await answerTo(await tokenOf({ name: "alice" })), { status: 426, body: "" })
  })

  it("answers 404 where there is nothing, upgrade or not", async () => {
    assert.strictEqual((await fetch(`http://localhost:${server.port}/nowhere`)).status, 404)
    assert.strictEqual((await refusal(server, "/nowhere/")).status, 404)
  })
})

describe("anonymous", () => {
  it("may list the notes, and nothing else", async () => {
    const client = await connectAs()
    const notes = await client.ask({ action: "list" })
    assert.strictEqual(notes.status, 200)
    assert.deepInclude(notes.data, { id: 2, owner: "bob", text: "Hello from Bob" })
    for (const request of [{ action: "post", data: { text: "Hi" } }, editNote(1), editNote(99)]) {
      assert.deepStrictEqual(problem(await client.ask(request)), {
        data: null,
        errors: [{ detail: "Authentication credentials were not provided", code: "not_authenticated" }],
        status: 403
      })
    }
    client.close()
  })
})

describe("a user", () => {
  it("may post a note", async () => {
    const client = await connectAs("bob")
    const { data, status } = await client.ask({ action: "post", data: { text: "Hi" } })
    assert.strictEqual(status, 201)
    assert.deepInclude(data, { owner: "bob", text: "Hi" })
    client.close()
  })

  it("may edit a note of their own", async () => {
    const client = await connectAs("alice")
    const { data, status } = await client.ask(editNote(1))
    assert.strictEqual(status, 200)
    assert.deepStrictEqual(data, { id: 1, owner: "alice", text: "Edited" })
    client.close()
  })

  it("may not edit a note of somebody else, and reads why", async () => {
    const client = await connectAs("alice")
    assert.deepStrictEqual(problem(await client.ask(editNote(2))), {
      data: null,
      errors: [{ detail: "Only its owner may edit a note", code: "not_owner" }],
      status: 403
    })
    const { data } = await client.ask({ action: "list" })
    assert.deepInclude(data, { id: 2, owner: "bob", text: "Hello from Bob" })
    client.close()
  })

  it("reads what is wrong with a request", async () => {
    const client = await connectAs("alice")
    const nonsense = await client.ask({ action: "post", data: { text: 42 } })
    assert.strictEqual(nonsense.status, 400)
    assert.deepInclude(nonsense.errors[0], { code: "invalid", path: ["data", "text"] })
    const missing = await client.ask(editNote(99))
    assert.strictEqual(missing.status, 404)
    assert.deepInclude(missing.errors[0], { detail: "There is no note 99", code: "NoteNotFound" })
    client.close()
  })

  it("is explained what each check says", async () => {
    const explain = { action: "explain", route: "notes/1/" }
    const explanationFor = async (name?: string) => {
      const client = await connectAs(name)
      const { data } = await client.ask(explain)
      client.close()
      return data
    }
    assert.deepStrictEqual(await explanationFor("bob"), {
      permission: "and(isAuthenticated, or(isAdmin, isOwner))",
      explanation: [
        "and: Deny",
        "  isAuthenticated (connection): Allow",
        "  or: Deny",
        "    isAdmin (connection): Deny",
        "    isOwner (object): Deny"
      ].join("\n")
    })
    assert.match(JSON.stringify(await explanationFor("alice")), /and: Allow.*isAdmin \S+ Deny.*isOwner \S+ Allow/)
    assert.match(JSON.stringify(await explanationFor("admin")), /and: Allow.*isAdmin \S+ Allow.*isOwner \S+ Deny/)
    assert.match(JSON.stringify(await explanationFor()), /and: Deny.*isAuthenticated \S+ Deny/)
  })
})

describe("an admin", () => {
  it("may edit the note of anybody", async () => {
    const client = await connectAs("admin")
    const { data, status } = await client.ask({ ...editNote(2), data: { text: "Moderated" } })
    assert.strictEqual(status, 200)
    assert.deepStrictEqual(data, { id: 2, owner: "bob", text: "Moderated" })
    client.close()
  })
})

describe("a bad token", () => {
  const claims = { iss: "effect-channels-quickstart", aud: "board", sub: "admin" }
  const sign = (changes: object, signedWith = key, alg = "HS256") =>
    new SignJWT({ ...claims, exp: Math.floor(Date.now() / 1000) + 60, ...changes }).setProtectedHeader({ alg })
      .sign(signedWith)
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url")

  /** Takes a token apart, and puts it together with other claims. */
  const tamper = (token: string) => {
    const [head, , signature] = token.split(".")
    return `${head}.${encode({ ...claims, exp: 9_999_999_999 })}.${signature}`
  }

  it.each<[string, () => Promise<string> | string, string]>([
    ["expired", () => tokenOf({ name: "alice", expired: true }), "The token has expired"],
    ["empty", () => "", "The credentials (query parameter \"token\") are empty"],
    ["no token at all", () => "admin", "The token is not valid"],
    ["tampered with", async () => tamper(await tokenOf({ name: "alice" })), "The token is not valid"],
    ["unsigned (alg none)", () => `${encode({ alg: "none" })}.${encode(claims)}.`, "The token is not valid"],
    ["signed by another algorithm", () => sign({}, key, "HS512"), "The token is not valid"],
    ["signed with another secret", () => sign({}, new Uint8Array(32)), "The token is not valid"],
    ["of another issuer", () => sign({ iss: "somebody" }), "The token is not valid"],
    ["for another audience", () => sign({ aud: "another API" }), "The token is not valid"],
    ["valid for ever", () => sign({ exp: undefined }), "The token is not valid"],
    ["of an unknown user", () => sign({ sub: "mallory" }), "The token is of an unknown user"],
    [
      "sent twice",
      async () => `${await sign({})}&token=x`,
      "The credentials (query parameter \"token\") appear more than once"
    ]
  ])("%s: refused with 401", async (_, make, detail) => {
    const { reply, status } = await refusal(server, `/ws/?token=${await make()}`)
    assert.strictEqual(status, 401)
    assert.deepStrictEqual(problem(reply), {
      data: null,
      errors: [{ detail, code: "authentication_failed" }],
      status: 401
    })
  })

  it("is told from a good one that was made here", async () => {
    const client = await connect(server, `/ws/?token=${await sign({})}`)
    client.close()
  })
})

describe("the process", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("ends within a second of %s, and says so to its clients", async (signal) => {
    const server = await start(file)
    const clients = await Promise.all([connect(server, "/ws/"), connect(server, "/ws/")])
    await fetch(`http://localhost:${server.port}/`)
    const closed = clients.map((client) => client.closed)
    const { code, took } = await server.stop(signal)
    assert.include([0, 130, 143], code)
    assert.isBelow(took, 1000)
    assert.deepStrictEqual(await Promise.all(closed), [1012, 1012])
  }, 30_000)

  it("says so when its port is taken", async () => {
    const { code, stderr } = await run(file, { PORT: String(server.port) })
    assert.strictEqual(code, 1)
    assert.match(stderr, /address already in use.*\n.*PORT=8001 npm start/)
    assert.notMatch(stderr, /^ +at /m)
  }, 30_000)

  it("does not start with a short secret, nor prints it", async () => {
    const { code, stderr } = await run(file, { PORT: "0", TOKEN_SECRET: "hunter2" })
    assert.strictEqual(code, 1)
    assert.notInclude(stderr, "hunter2")
  }, 30_000)
})
