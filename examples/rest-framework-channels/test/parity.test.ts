import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type Client, connect, refusal, type Reply, type Server, start } from "../../quickstart/test/support.ts"

let server: Server

beforeAll(async () => {
  server = await start(new URL("../server.ts", import.meta.url))
}, 30_000)

afterAll(async () => {
  await server.stop()
})

/** Talks to a consumer as a user, or as nobody. */
const withClient = async (path: string, username: string | undefined, use: (client: Client) => Promise<void>) => {
  const client = await connect(server, username === undefined ? path : `${path}?token=${username}`)
  await use(client)
  client.close()
}

const success = (status: number, data: unknown, action: string, route = "") => ({
  errors: [],
  data,
  action,
  route,
  status
})

/** The status and the codes of a refusal; it has no data. */
const refused = ({ data, errors, status }: Reply) => {
  assert.isNull(data)
  assert.isNotEmpty(errors)
  return [status, ...errors.map(({ code }) => code)]
}

describe("/testws/", () => {
  const routes: ReadonlyArray<readonly [route: string, username: string | undefined, pk: string | number]> = [
    ["test_child_route/5/", "alice", "5"],
    ["test_child_route/a-b_c/", "bob", "a-b_c"],
    ["test_child_route/5/", "inactive", "5"],
    ["open_route/5/", undefined, "5"],
    ["open_route/5/", "nobody", "5"],
    ["typed/5/", undefined, 5],
    ["typed/5/", "alice", 5]
  ]

  it.each(routes)("%s as %s", (route, username, pk) =>
    withClient("/testws/", username, async (client) => {
      const data = { message: "hello world" }
      assert.deepStrictEqual(
        await client.ask({ action: "your_custom_action", route, data, foo: 1, bar: [2], Zed: null }),
        success(
          200,
          { message: "hello world", model_id: pk, extra: ["Zed", "bar", "foo"] },
          "your_custom_action",
          route
        )
      )
      assert.deepStrictEqual(
        await client.ask({ action: "docs_example", route }),
        success(200, { message: "your_custom_action will be handled", model_id: pk }, "docs_example", route)
      )
      assert.deepStrictEqual(
        await client.ask({ action: "sync_action", route }),
        success(202, { sync: true, model_id: pk }, "sync_action", route)
      )
      assert.deepStrictEqual(
        await client.ask({ action: "renamed", route }),
        success(200, { called: "original_name" }, "renamed", route)
      )
      assert.deepStrictEqual(refused(await client.ask({ action: "original_name", route })), [405, "method_not_allowed"])
      assert.deepStrictEqual(refused(await client.ask({ action: "parent_action", route })), [405, "method_not_allowed"])
    }))

  it.each<[unknown, unknown]>([
    [undefined, null],
    [null, null],
    [{}, null],
    [{ message: null }, null],
    [{ message: "" }, ""],
    [{ message: "héllo ☃" }, "héllo ☃"],
    [{ message: { a: [1] } }, { a: [1] }],
    ["text", null],
    [[1], null]
  ])(
    "your_custom_action with data %j has message %j",
    (data, message) =>
      withClient("/testws/", undefined, async (client) => {
        assert.deepStrictEqual(
          (await client.ask({ action: "your_custom_action", route: "open_route/5/", data })).data,
          { message, model_id: "5", extra: [] }
        )
      })
  )

  it.each<[string, object, ReadonlyArray<string>]>([
    ["none", {}, []],
    ["data", { data: { message: "x" } }, ["data"]],
    ["data that is null", { data: null }, ["data"]],
    ["others", { foo: 1, bar: 2 }, ["bar", "foo"]],
    ["both, sorted", { foo: 1, data: 1, bar: 2, Zed: 3 }, ["Zed", "bar", "data", "foo"]],
    ["the protocol's own", { route: "", request_id: 7 }, []]
  ])("parent_action tells its fields: %s", (_, fields, kwargs) =>
    withClient("/testws/", undefined, async (client) => {
      const { data, status } = await client.ask({ action: "parent_action", ...fields })
      assert.deepStrictEqual({ data, status }, { data: { from: "parent", kwargs }, status: 200 })
    }))

  it.each([undefined, "nobody"])(
    "test_child_route/ is closed to %s, whatever is asked for",
    (username) =>
      withClient("/testws/", username, async (client) => {
        for (const action of ["your_custom_action", "no_such_action"]) {
          assert.deepStrictEqual(
            refused(await client.ask({ action, route: "test_child_route/5/" })),
            [403, "not_authenticated"]
          )
        }
      })
  )

  it.each([
    "typed/abc/",
    "typed/1e3/",
    "typed/-1/",
    "typed/5.0/",
    "typed/99999999999999999999/",
    "typed//",
    "typed/5",
    "typed/5/6/",
    "open_route/5/trailing",
    "open_route/",
    "OPEN_ROUTE/5/",
    "/open_route/5/",
    "nowhere/"
  ])(
    "there is no route %s, and the consumer's own actions do not answer for it",
    (route) =>
      withClient("/testws/", "alice", async (client) => {
        assert.deepStrictEqual(refused(await client.ask({ action: "docs_example", route })), [404, "not_found"])
        assert.deepStrictEqual(refused(await client.ask({ action: "parent_action", route })), [404, "not_found"])
      })
  )

  it("echoes a query string, and forgets it", () =>
    withClient("/testws/", "alice", async (client) => {
      const route = "open_route/5/?page=2"
      assert.deepStrictEqual(
        await client.ask({ action: "renamed", route }),
        success(200, { called: "original_name" }, "renamed", route)
      )
      assert.deepStrictEqual(
        await client.ask({ action: "renamed", route: "open_route/5/" }),
        success(200, { called: "original_name" }, "renamed", "open_route/5/")
      )
    }))

  it("outlives what is no request", () =>
    withClient("/testws/", "alice", async (client) => {
      for (
        const frame of ["", "no JSON", "[]", "null", "5", "{}", "{\"action\":5}", "{\"action\":\"x\",\"route\":5}"]
      ) {
        assert.deepStrictEqual(refused(await client.ask(frame)), [400, "parse_error"], frame)
      }
      assert.strictEqual((await client.ask({ action: "parent_action", self: 1, scope: 2, action_: 3 })).status, 200)
    }))
})

describe("/strict/", () => {
  it.each([undefined, "nobody"])("refuses the handshake of %s, and says why", async (username) => {
    const { reply, status } = await refusal(server, username === undefined ? "/strict/" : `/strict/?token=${username}`)
    assert.strictEqual(status, 403)
    assert.deepStrictEqual(refused(reply), [403, "not_authenticated"])
  })

  it.each(["alice", "bob"])("greets %s", (username) =>
    withClient("/strict/", username, async (client) => {
      assert.deepStrictEqual(await client.ask({ action: "hello" }), success(200, { user: username }, "hello"))
    }))
})

describe("/perms/", () => {
  it.each<[name: string, anonymous: ReadonlyArray<unknown>, alice: ReadonlyArray<unknown>]>([
    ["deny", [403, "permission_denied"], [403, "permission_denied"]],
    ["two_allow_deny", [403, "permission_denied"], [403, "permission_denied"]],
    ["allow_and_deny", [403, "permission_denied"], [403, "permission_denied"]],
    ["deny_and_deny", [403, "permission_denied"], [403, "permission_denied"]],
    ["deny_or_deny", [403, "permission_denied"], [403, "permission_denied"]],
    ["allow_or_deny", [200], [200]],
    ["not_allow", [403, "permission_denied"], [403, "permission_denied"]],
    ["not_deny", [200], [200]],
    ["auth_and_deny", [403, "not_authenticated"], [403, "permission_denied"]],
    ["raise401", [401, "authentication_failed"], [401, "authentication_failed"]]
  ])("%s", async (name, ...expected) => {
    for (const [i, username] of [undefined, "alice"].entries()) {
      await withClient("/perms/", username, async (client) => {
        const reply = await client.ask({ action: "go", route: `${name}/` })
        if (reply.status === 200) {
          assert.deepStrictEqual(reply, success(200, { reached: name }, "go", `${name}/`))
          assert.deepStrictEqual(expected[i], [200])
        } else {
          assert.deepStrictEqual(refused(reply), expected[i])
        }
      })
    }
  })
})

describe("/parent_denied/", () => {
  it.each([undefined, "alice"])(
    "denies %s everything, and does not tell what there is",
    (username) =>
      withClient("/parent_denied/", username, async (client) => {
        for (
          const request of [{ action: "go", route: "allow/" }, { action: "go", route: "nowhere/" }, { action: "go" }]
        ) {
          assert.deepStrictEqual(refused(await client.ask(request)), [403, "permission_denied"])
        }
      })
  )
})

describe("/errs/", () => {
  it.each<[action: string, data: unknown]>([
    ["ok", { alive: true }],
    ["unicode", { text: "héllo ☃ 😀" }]
  ])("%s", (action, data) =>
    withClient("/errs/", undefined, async (client) => {
      assert.deepStrictEqual(await client.ask({ action }), success(200, data, action))
    }))

  it.each<[action: string, status: number, code: string]>([
    ["not_found", 404, "not_found"],
    ["not_authenticated", 401, "not_authenticated"],
    ["throttled", 429, "throttled"],
    ["parse_error", 400, "parse_error"],
    ["drf_denied", 403, "permission_denied"],
    ["value_error", 500, "error"]
  ])("%s", (action, status, code) =>
    withClient("/errs/", undefined, async (client) => {
      const reply = await client.ask({ action })
      assert.deepStrictEqual(refused(reply), [status, code])
      assert.notInclude(JSON.stringify(reply.errors), "ValueError")
      assert.strictEqual((await client.ask({ action: "ok" })).status, 200)
    }))

  it("throttled says when to come again", () =>
    withClient("/errs/", undefined, async (client) => {
      const { errors } = await client.ask({ action: "throttled" })
      assert.deepInclude(errors[0], { error: { _tag: "Throttled", retry_after: 5 } })
    }))

  it("slow_async sleeps so long", () =>
    withClient("/errs/", undefined, async (client) => {
      for (const seconds of [0, 0.2, 1]) {
        const since = performance.now()
        assert.deepStrictEqual(
          await client.ask({ action: "slow_async", data: seconds }),
          success(200, { slept: seconds }, "slow_async")
        )
        assert.isAtLeast(performance.now() - since, seconds * 1000 - 5)
      }
      for (const data of [-1, "1", null, undefined]) {
        assert.deepStrictEqual(refused(await client.ask({ action: "slow_async", data })), [400, "invalid"])
      }
    }))
})

describe("/room/ and /other/", () => {
  const event = (data: unknown, status = 200) => ({ type: "room.message", data, status })

  it("broadcasts to the group of the path, the sender included, after the reply", async () => {
    const alice = await connect(server, "/room/one/?token=alice")
    const nobody = await connect(server, "/room/one/")
    const elsewhere = await connect(server, "/room/two/?token=bob")
    const other = await connect(server, "/other/one/?token=bob")

    const said = { text: "hi", from: "alice" }
    assert.deepStrictEqual(
      await alice.ask({ action: "say", route: "talk/", data: "hi" }),
      success(200, said, "say", "talk/")
    )
    assert.deepStrictEqual(await alice.next(), event(said))
    assert.deepStrictEqual(await nobody.next(), event(said))

    assert.deepStrictEqual(
      await alice.ask({ action: "say_sync", route: "talk/", data: [1] }),
      success(201, { text: [1] }, "say_sync", "talk/")
    )
    assert.deepStrictEqual(await alice.next(), event({ text: [1] }, 201))
    assert.deepStrictEqual(await nobody.next(), event({ text: [1] }, 201))

    alice.send({ action: "nothing", route: "talk/" })
    alice.send({ action: "say_silent", route: "talk/", data: "psst" })
    assert.deepStrictEqual(await alice.next(), event({ text: "psst" }))
    assert.deepStrictEqual(await nobody.next(), event({ text: "psst" }))

    assert.deepStrictEqual(
      await nobody.ask({ action: "consumer_say", data: "everybody may" }),
      success(200, { text: "everybody may" }, "consumer_say")
    )
    assert.deepStrictEqual(await alice.next(), event({ text: "everybody may" }))

    // Had they heard anything, it would have come before their own replies.
    assert.deepStrictEqual(await elsewhere.ask({ action: "nowhere" }), {
      ...success(405, null, "nowhere"),
      errors: [{ detail: "There is no action \"nowhere\" here", code: "method_not_allowed" }]
    })
    assert.deepStrictEqual(await other.ask({ action: "ping" }), success(200, "pong", "ping"))
    for (const client of [alice, nobody, elsewhere, other]) client.close()
  })

  it("sends nothing where the action is denied", async () => {
    const nobody = await connect(server, "/room/three/")
    assert.deepStrictEqual(
      refused(await nobody.ask({ action: "say", route: "talk/", data: "hi" })),
      [403, "not_authenticated"]
    )
    assert.deepStrictEqual(await nobody.ask({ action: "nowhere" }).then(({ status }) => status), 405)
    nobody.close()
  })
})

it("there is nothing elsewhere", async () => {
  for (const path of ["/nowhere/", "/", "/strict", "/STRICT/", "/strict/x/"]) {
    assert.strictEqual((await refusal(server, path)).status, 404, path)
  }
})

it("echoes the request id", () =>
  withClient("/errs/", undefined, async (client) => {
    for (const request_id of [7, "seven"]) {
      assert.deepInclude(await client.ask({ action: "ok", request_id }), { request_id })
      assert.deepInclude(await client.ask({ action: "value_error", request_id }), { request_id })
    }
  }))

it("ends within a second, and tells its clients that it restarts", async () => {
  const server = await start(new URL("../server.ts", import.meta.url))
  const { closed } = await connect(server, "/errs/")
  const { code, took } = await server.stop()
  assert.include([0, 130, 143], code)
  assert.isBelow(took, 1000)
  assert.strictEqual(await closed, 1012)
}, 30_000)

describe("/items/, /itemlist/, /item/:pk/", () => {
  const item = (id: number) => ({ id, title: `Title${id}`, content: `Content${id}`, quantity: id })
  const items = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => item(from + i))

  it("come in pages", () =>
    withClient("/items/", undefined, async (client) => {
      const list = async (route: string) => (await client.ask({ action: "list", route })).data
      assert.deepStrictEqual(await list("items/?page=2&foo=bar"), {
        count: 25,
        next: "items/?foo=bar&page=3",
        previous: "items/?foo=bar",
        results: items(11, 20)
      })
      assert.deepStrictEqual(await list("sized/?page_size=3"), {
        count: 25,
        next: "sized/?page=2&page_size=3",
        previous: null,
        results: items(1, 3)
      })
      assert.deepStrictEqual(await list("limit/?limit=2&offset=4"), {
        count: 25,
        next: "limit/?limit=2&offset=6",
        previous: "limit/?limit=2&offset=2",
        results: items(5, 6)
      })
      assert.deepStrictEqual(await list("filtered/?search=title25"), {
        count: 1,
        next: null,
        previous: null,
        results: items(25, 25)
      })
      assert.strictEqual((await client.ask({ action: "list", route: "items/?page=4" })).status, 404)
    }))

  it("are created, changed and deleted", () =>
    withClient("/itemlist/", undefined, async (list) => {
      const data = { title: " new ", content: "N" }
      const created = (await list.ask({ action: "create", data })).data as ReturnType<typeof item>
      assert.deepStrictEqual(created, { id: created.id, title: "new", content: "N", quantity: 0 })
      await withClient(`/item/${created.id}/`, undefined, async (one) => {
        assert.deepStrictEqual(await one.ask({ action: "retrieve" }), success(200, created, "retrieve"))
        assert.deepStrictEqual(
          await one.ask({ action: "partial_update", data: { quantity: 3 } }),
          success(200, { ...created, quantity: 3 }, "partial_update")
        )
        // What has a default, and is left out, stays as it is.
        assert.deepStrictEqual(
          await one.ask({ action: "update", data: { title: "other", content: "O" } }),
          success(200, { id: created.id, title: "other", content: "O", quantity: 3 }, "update")
        )
        assert.deepStrictEqual(refused(await one.ask({ action: "update", data: { title: "" } })), [
          400,
          "invalid",
          "invalid"
        ])
        assert.deepStrictEqual(await one.ask({ action: "destroy" }), success(204, null, "destroy"))
        assert.deepStrictEqual(refused(await one.ask({ action: "retrieve" })), [404, "not_found"])
      })
    }))
})

describe("/owned/", () => {
  it.each([["alice", 200, 403], ["bob", 403, 200], [undefined, 403, 403]] as const)(
    "as %s",
    (username, first, second) =>
      withClient("/owned/", username, async (client) => {
        const retrieved = async (route: string) => (await client.ask({ action: "retrieve", route })).status
        assert.strictEqual(await retrieved("owned/1/"), first)
        assert.strictEqual(await retrieved("owned/2/"), second)
        assert.strictEqual(await retrieved("readable/1/"), 200)
        assert.strictEqual(await retrieved("owned/9/"), username === undefined ? 403 : 404)
        const change = { action: "partial_update", route: "readable/1/", data: {} }
        assert.strictEqual((await client.ask(change)).status, first)
      })
  )
})
