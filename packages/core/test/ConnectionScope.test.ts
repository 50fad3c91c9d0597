import { ConnectionScope } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as util from "node:util"

const { make } = ConnectionScope

const withHeaders = (headers: Readonly<Record<string, string>>) => make({ id: "1", url: "/ws/", headers }, {})
const cookiesOf = (cookie: string) => Object.entries(withHeaders({ cookie }).cookies)
const subprotocolsOf = (header: string) => withHeaders({ "sec-websocket-protocol": header }).subprotocols

describe("ConnectionScope", () => {
  it("holds what the handshake says", () => {
    const headers = { host: "localhost", origin: "http://localhost" }
    const params = { room: "lobby" }
    const scope = make({ id: "7", url: "/ws/rooms/lobby/?a=1", headers, remoteAddress: "::1" }, params)
    assert.strictEqual(scope.id, "7")
    assert.strictEqual(scope.headers, headers)
    assert.strictEqual(scope.params, params)
    assert.strictEqual(scope.remoteAddress, "::1")
  })

  it("does without headers and address", () => {
    const scope = make({ id: "7", url: "/ws/" }, {})
    assert.deepStrictEqual(Object.keys(scope.headers), [])
    assert.isUndefined(scope.headers.constructor)
    assert.isUndefined(scope.remoteAddress)
    assert.deepStrictEqual(Object.keys(scope.cookies), [])
    assert.deepStrictEqual(scope.subprotocols, [])
  })

  it.effect("is a service", () =>
    Effect.gen(function*() {
      const path = ConnectionScope.ConnectionScope.useSync((scope) => scope.path)
      const scope = make({ id: "7", url: "/ws/?a=1" }, {})
      assert.strictEqual(yield* Effect.provideService(path, ConnectionScope.ConnectionScope, scope), "/ws/")
    }))

  describe("path and query", () => {
    it("split the URL at its first ?", () => {
      const read = (url: string) => {
        const { path, query } = make({ id: "1", url }, {})
        assert.strictEqual(ConnectionScope.pathOf(url), path)
        return [path, Object.entries(query)]
      }
      assert.deepStrictEqual(read("/ws/"), ["/ws/", []])
      assert.deepStrictEqual(read("/ws/?"), ["/ws/", []])
      assert.deepStrictEqual(read("/ws/?a=1&b=2&a=3"), ["/ws/", [["a", ["1", "3"]], ["b", "2"]]])
      assert.deepStrictEqual(read("/ws/?a=/?b"), ["/ws/", [["a", "/?b"]]])
      assert.deepStrictEqual(read("?a=1"), ["", [["a", "1"]]])
      assert.deepStrictEqual(read(""), ["", []])
      assert.deepStrictEqual(read("/a%3Fb/?c=1"), ["/a%3Fb/", [["c", "1"]]])
    })
  })

  describe("cookies", () => {
    it("are read by name", () => {
      assert.deepStrictEqual(cookiesOf("a=1"), [["a", "1"]])
      assert.deepStrictEqual(cookiesOf("a=1; b=2;c=3;  d = 4 "), [["a", "1"], ["b", "2"], ["c", "3"], ["d", "4"]])
      assert.deepStrictEqual(cookiesOf("token=a.b=c=="), [["token", "a.b=c=="]])
      assert.deepStrictEqual(cookiesOf("a="), [["a", ""]])
    })

    it("lose their quotes and percent-encoding", () => {
      assert.deepStrictEqual(cookiesOf("a=\"1 2\"; b=\"\"; c=\"; d=\"x; e=x\""), [
        ["a", "1 2"],
        ["b", ""],
        ["c", "\""],
        ["d", "\"x"],
        ["e", "x\""]
      ])
      assert.deepStrictEqual(cookiesOf("a=%E2%82%AC; b=%22x%22; c=1+1"), [["a", "€"], ["b", "\"x\""], ["c", "1+1"]])
      assert.deepStrictEqual(cookiesOf("a=%; b=%ff; c=\"%zz\""), [["a", "%"], ["b", "%ff"], ["c", "%zz"]])
    })

    it("leave out what is none", () => {
      assert.deepStrictEqual(cookiesOf(""), [])
      assert.deepStrictEqual(cookiesOf(";;; a; =1; ;"), [])
    })

    it("of one name: the first counts", () => {
      assert.deepStrictEqual(cookiesOf("a=1; a=2; b=3; a="), [["a", "1"], ["b", "3"]])
    })

    it("may have names that records have of their own", () => {
      const { cookies } = withHeaders({ cookie: "__proto__=a; constructor=b; __proto__=c" })
      assert.deepStrictEqual(Object.entries(cookies), [["__proto__", "a"], ["constructor", "b"]])
      assert.isUndefined(withHeaders({ cookie: "a=1" }).cookies.constructor)
    })
  })

  describe("subprotocols", () => {
    it("are listed in the order of preference", () => {
      assert.deepStrictEqual(subprotocolsOf("chat"), ["chat"])
      assert.deepStrictEqual(subprotocolsOf("v2.chat,chat ,  json"), ["v2.chat", "chat", "json"])
    })

    it("leave out what is none (RFC 9110, 5.6.1)", () => {
      assert.deepStrictEqual(subprotocolsOf(""), [])
      assert.deepStrictEqual(subprotocolsOf(" , chat,,json,"), ["chat", "json"])
    })
  })

  it("is the same each time it is read", () => {
    const scope = make({ id: "1", url: "/?a=1", headers: { cookie: "a=1", "sec-websocket-protocol": "chat" } }, {})
    assert.deepStrictEqual(scope.query, scope.query)
    assert.deepStrictEqual(scope.cookies, scope.cookies)
    assert.deepStrictEqual(scope.subprotocols, scope.subprotocols)
  })

  it("shows no credentials in logs", () => {
    const scope = make({
      id: "7",
      url: "/ws/?token=secret",
      headers: { cookie: "session=secret", authorization: "Bearer secret", "sec-websocket-protocol": "token, secret" },
      remoteAddress: "::1"
    }, { room: "lobby" })
    for (const text of [JSON.stringify(scope), util.inspect(scope), util.inspect({ scope }, { depth: 5 })]) {
      assert.notInclude(text, "secret")
      assert.include(text, "/ws/")
      assert.include(text, "lobby")
    }
  })

  it.prop(
    "never throws, whatever was sent",
    { url: Schema.String, cookie: Schema.String, protocol: Schema.String },
    ({ cookie, protocol, url }) => {
      const scope = make({ id: "1", url, headers: { cookie, "sec-websocket-protocol": protocol } }, {})
      assert.isTrue(url.startsWith(scope.path))
      assert.notInclude(scope.path, "?")
      assert.isTrue(Object.values(scope.cookies).every((value) => typeof value === "string"))
      assert.isTrue(scope.subprotocols.every((value) => value.trim() === value))
      assert.isNull(Object.getPrototypeOf(scope.query))
    },
    { arbitrary: { runs: 300 } }
  )
})
