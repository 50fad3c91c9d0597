import { ConnectionScope, Credentials } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { inspect } from "node:util"

type Headers = Readonly<Record<string, string>>

const scopeOf = (headers: Headers, url = "/ws/") => ConnectionScope.make({ id: "1", url, headers }, {})

/** What a source makes of a handshake: the token, `undefined` for none, or what is wrong. */
const said = (presented: Credentials.Presented): string | undefined | { readonly problem: string } =>
  Result.match(presented, {
    onFailure: (error) => {
      assert.strictEqual(error._tag, "InvalidCredentials")
      assert.strictEqual(error.status, 401)
      assert.strictEqual(error.code, "authentication_failed")
      return { problem: error.message }
    },
    onSuccess: (token) => token === undefined ? undefined : Redacted.value(token)
  })

const readHeaders = (source: Credentials.Source, headers: Headers) => said(source.read(scopeOf(headers)))

const readUrl = (source: Credentials.Source, url: string) => said(source.read(scopeOf({}, url)))

/** All that a line of a log or a debugger would show of a value. */
const shown = (value: unknown): string =>
  [String(value), JSON.stringify(value), inspect(value, { depth: 9, showHidden: true })].join("\n")

describe("bearer", () => {
  const read = (authorization: string | undefined) =>
    readHeaders(Credentials.bearer, authorization === undefined ? {} : { authorization })
  const malformed = { problem: "The credentials (bearer token) are no token" }

  it("is what follows Bearer in the Authorization header, in any case", () => {
    assert.strictEqual(read("Bearer abc"), "abc")
    assert.strictEqual(read("bearer abc"), "abc")
    assert.strictEqual(read("BEARER abc"), "abc")
    assert.strictEqual(read("Bearer   abc"), "abc")
    assert.strictEqual(read("Bearer eyJhbGciOiJub25lIn0.e30."), "eyJhbGciOiJub25lIn0.e30.")
    assert.strictEqual(read("Bearer -._~+/09azAZ=="), "-._~+/09azAZ==")
    assert.strictEqual(read("Bearer bearer"), "bearer")
  })

  it("is none without the header, and with another scheme", () => {
    assert.isUndefined(read(undefined))
    assert.isUndefined(read(""))
    assert.isUndefined(read("Basic YWxpY2U6c2VjcmV0"))
    assert.isUndefined(read("Bearerabc"))
    assert.isUndefined(read("Basic Bearer abc"))
    assert.isUndefined(read("abc"))
  })

  it("is malformed when it is empty, or no token", () => {
    for (
      const value of [
        "Bearer",
        "bearer ",
        "Bearer    ",
        "Bearer a b",
        "Bearer =",
        "Bearer a=b",
        "Bearer \"abc\"",
        "Bearer a,b",
        "Bearer ü",
        "Bearer a%20b",
        "Bearer abc "
      ]
    ) assert.deepStrictEqual(read(value), malformed, value)
  })

  it("is malformed when it stands there twice, as a proxy joins it", () => {
    assert.deepStrictEqual(read("Bearer good, Bearer evil"), malformed)
    assert.deepStrictEqual(read("Bearer good,Bearer evil"), malformed)
  })

  it("answers at once, however long the header is", () => {
    assert.deepStrictEqual(read(`Bearer ${"=".repeat(100_000)}`), malformed)
    assert.deepStrictEqual(read(`Bearer ${"a".repeat(100_000)} `), malformed)
    assert.deepStrictEqual(read(`Bearer${" ".repeat(100_000)}`), malformed)
  })
})

describe("header", () => {
  const apiKey = Credentials.header("X-Api-Key")

  it("is all of the header, whatever the case of its name", () => {
    assert.strictEqual(readHeaders(apiKey, { "x-api-key": "abc" }), "abc")
    assert.strictEqual(readHeaders(Credentials.header("x-api-key"), { "x-api-key": "a b,c=" }), "a b,c=")
    assert.strictEqual(readHeaders(apiKey, { "x-api-key": "Bearer abc" }), "Bearer abc")
  })

  it("is none without the header, and malformed when it is empty", () => {
    assert.isUndefined(readHeaders(apiKey, {}))
    assert.isUndefined(readHeaders(apiKey, { "x-api": "abc", "x-api-key-2": "abc" }))
    assert.deepStrictEqual(readHeaders(apiKey, { "x-api-key": "" }), {
      problem: "The credentials (header \"X-Api-Key\") are empty"
    })
  })

  it("is one token when it stands there twice: the two as they were joined, which nobody was given", () => {
    assert.strictEqual(readHeaders(apiKey, { "x-api-key": "good, evil" }), "good, evil")
  })
})

describe("cookie", () => {
  const session = Credentials.cookie("session")
  const read = (cookie: string) => readHeaders(session, { cookie })

  it("is the cookie of this name, decoded", () => {
    assert.strictEqual(read("session=abc"), "abc")
    assert.strictEqual(read("other=x; session=abc; more=y"), "abc")
    assert.strictEqual(read("session=\"a%20b\""), "a b")
    assert.strictEqual(read("session=a=b=="), "a=b==")
    assert.strictEqual(read("session=%"), "%")
  })

  it("is none without the cookie, and when it is empty", () => {
    assert.isUndefined(readHeaders(session, {}))
    assert.isUndefined(read(""))
    assert.isUndefined(read("session"))
    assert.isUndefined(read("Session=abc; sessions=abc; xsession=abc"))
    assert.isUndefined(read("session="))
    assert.isUndefined(read("session=\"\"; other=x"))
  })

  it("is the first one, which is the most specific, when it stands there twice", () => {
    assert.strictEqual(read("session=first; session=second"), "first")
    assert.isUndefined(read("session=; session=second"))
  })
})

describe("query", () => {
  const token = Credentials.query("token")
  const read = (url: string) => readUrl(token, url)

  it("is the parameter of this name, decoded", () => {
    assert.strictEqual(read("/ws/?token=abc"), "abc")
    assert.strictEqual(read("/ws/?a=1&token=a%2Bb%3D&b=2"), "a+b=")
    assert.strictEqual(read("/ws/?tok%65n=abc"), "abc")
  })

  it("is none without the parameter, and malformed when it is empty", () => {
    assert.isUndefined(read("/ws/"))
    assert.isUndefined(read("/ws/?"))
    assert.isUndefined(read("/ws/?Token=abc&tokens=abc&tok=en"))
    const empty = { problem: "The credentials (query parameter \"token\") are empty" }
    assert.deepStrictEqual(read("/ws/?token="), empty)
    assert.deepStrictEqual(read("/ws/?token"), empty)
  })

  it("is malformed when it stands there twice, even if it is the same", () => {
    const twice = { problem: "The credentials (query parameter \"token\") appear more than once" }
    assert.deepStrictEqual(read("/ws/?token=abc&token=abc"), twice)
    assert.deepStrictEqual(read("/ws/?token=good&x=1&token=evil"), twice)
    assert.deepStrictEqual(read("/ws/?token=&token=abc"), twice)
  })

  it("keeps an escape that is not valid: no such token was ever given out", () => {
    assert.strictEqual(read("/ws/?token=%FF"), "%FF")
    assert.strictEqual(read("/ws/?token=%"), "%")
  })
})

describe("subprotocol", () => {
  const read = (list: string, prefix?: string) =>
    readHeaders(Credentials.subprotocol(prefix), { "sec-websocket-protocol": list })
  const problem = (what: string, prefix = "bearer.") => ({
    problem: `The credentials (subprotocol "${prefix}") ${what}`
  })

  it("is the rest of the entry with the prefix, percent-decoded", () => {
    assert.strictEqual(read("bearer.abc"), "abc")
    assert.strictEqual(read("effect-channels.json, bearer.abc"), "abc")
    assert.strictEqual(read("bearer.abc,effect-channels.json"), "abc")
    assert.strictEqual(read("bearer.a%20b%2Cc%28%29%C3%BC"), "a b,c()ü")
    assert.strictEqual(read("bearer.bearer.abc"), "bearer.abc")
    assert.strictEqual(read("bearer.eyJhbGciOiJub25lIn0.e30.x-_"), "eyJhbGciOiJub25lIn0.e30.x-_")
  })

  it("has the prefix that it is told, to the letter", () => {
    assert.strictEqual(read("token-abc, bearer.evil", "token-"), "abc")
    assert.isUndefined(read("bearer.abc", "token-"))
    assert.isUndefined(read("Bearer.abc, BEARER.abc, bearer-abc, xbearer.abc, bearer"))
  })

  it("is none without such an entry", () => {
    assert.isUndefined(readHeaders(Credentials.subprotocol(), {}))
    assert.isUndefined(read(""))
    assert.isUndefined(read("effect-channels.json"))
  })

  it("is malformed when it is empty, stands there twice, or has an escape that is not valid", () => {
    assert.deepStrictEqual(read("bearer."), problem("are empty"))
    assert.deepStrictEqual(read("bearer.good, bearer.evil"), problem("appear more than once"))
    assert.deepStrictEqual(read("bearer., bearer.evil"), problem("appear more than once"))
    for (const token of ["%", "%2", "%zz", "%FF", "%C3", "abc%"]) {
      assert.deepStrictEqual(read(`bearer.${token}`), problem("hold an escape that is not valid"), token)
    }
    assert.deepStrictEqual(read("token-", "token-"), problem("are empty", "token-"))
  })
})

describe("toSubprotocol", () => {
  /** A token of RFC 7230, 3.2.6: no comma, space, parenthesis or control among it. */
  const isToken = (text: string) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text)
  const offered = (...entries: ReadonlyArray<string>) => scopeOf({ "sec-websocket-protocol": entries.join(", ") })

  it("leaves a JSON Web Token as it is", () => {
    assert.strictEqual(Credentials.toSubprotocol("eyJhbGciOiJub25lIn0.e30.x-_"), "bearer.eyJhbGciOiJub25lIn0.e30.x-_")
    assert.strictEqual(Credentials.toSubprotocol("a b", "token-"), "token-a%20b")
  })

  const nasty = [
    ",",
    ", evil",
    " ",
    "\t",
    "(",
    ")",
    "%",
    "%2C",
    "\"",
    "\r\n",
    "\0",
    "\u007f",
    "ü",
    "😀",
    "/",
    "+",
    "'",
    "\\"
  ]
  const anyToken = Arbitrary.map(
    Arbitrary.all({
      text: Arbitrary.schema(Schema.String),
      pieces: Arbitrary.array(Arbitrary.schema(Schema.Literals([...nasty, "a", "bearer."])), { maxLength: 8 }),
      isTextFirst: Arbitrary.schema(Schema.Boolean)
    }),
    ({ isTextFirst, pieces, text }) => (isTextFirst ? text + pieces.join("") : pieces.join("") + text).toWellFormed()
  )

  it.prop(
    "makes one entry of any token, which is read as that token again",
    { token: anyToken, prefix: Schema.Literals(["bearer.", "token-"]) },
    ({ prefix, token }) => {
      const entry = Credentials.toSubprotocol(token, prefix)
      assert.isTrue(isToken(entry), entry)
      const scope = offered("effect-channels.json", entry, "other")
      assert.deepStrictEqual(scope.subprotocols, ["effect-channels.json", entry, "other"])
      const read = said(Credentials.subprotocol(prefix).read(scope))
      if (token === "") assert.isObject(read)
      else assert.strictEqual(read, token)
    },
    { arbitrary: { runs: 1000 } }
  )

  it("makes no second entry out of what a token holds", () => {
    const { subprotocols } = offered("effect-channels.json", Credentials.toSubprotocol("abc, evil"))
    assert.deepStrictEqual(subprotocols, ["effect-channels.json", "bearer.abc%2C%20evil"])
    const second = offered(Credentials.toSubprotocol("abc,bearer.evil"))
    assert.strictEqual(said(Credentials.subprotocol().read(second)), "abc,bearer.evil")
    assert.strictEqual(said(Credentials.subprotocol().read(offered("bearer.a%2Cbearer.b"))), "a,bearer.b")
  })

  it("takes no text that cannot be encoded", () => {
    assert.throws(() => Credentials.toSubprotocol("\ud800"), URIError)
  })
})

describe("names of the language's own properties", () => {
  const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"]

  it("are names as others are", () => {
    for (const name of names) {
      assert.strictEqual(readHeaders(Credentials.cookie(name), { cookie: `${name}=abc` }), "abc")
      assert.strictEqual(readUrl(Credentials.query(name), `/ws/?${name}=abc`), "abc")
      // As JSON.parse and http have it: an own property, whatever it is called.
      const headers = Object.fromEntries([[name.toLowerCase(), "abc"]])
      assert.strictEqual(readHeaders(Credentials.header(name), headers), "abc")
    }
  })

  it("are none where nothing of that name was sent", () => {
    for (const name of names) {
      assert.isUndefined(readHeaders(Credentials.cookie(name), { cookie: "session=abc" }))
      assert.isUndefined(readUrl(Credentials.query(name), "/ws/?token=abc"))
      for (const headers of [{}, { authorization: "Bearer abc" }, Object.create(null)]) {
        assert.isUndefined(readHeaders(Credentials.header(name), headers), name)
      }
    }
  })

  it("hide nothing of what else was sent", () => {
    assert.strictEqual(
      readHeaders(Credentials.cookie("session"), { cookie: "__proto__=x; constructor=y; session=abc" }),
      "abc"
    )
    assert.strictEqual(readUrl(Credentials.query("token"), "/ws/?__proto__=x&__proto__=y&token=abc"), "abc")
  })
})

describe("read", () => {
  const all = [
    Credentials.bearer,
    Credentials.header("x-api-key"),
    Credentials.cookie("session"),
    Credentials.subprotocol(),
    Credentials.query("token")
  ]
  const everywhere = scopeOf({
    authorization: "Bearer of-bearer",
    "x-api-key": "of-header",
    cookie: "session=of-cookie",
    "sec-websocket-protocol": "effect-channels.json, bearer.of-subprotocol"
  }, "/ws/?token=of-query")
  const tokens = ["of-bearer", "of-header", "of-cookie", "of-subprotocol", "of-query"]

  it("is what the first source has that has something", () => {
    for (let i = 0; i < all.length; i++) {
      assert.strictEqual(said(Credentials.read(all.slice(i), everywhere)), tokens[i])
      assert.strictEqual(said(Credentials.read(all.toReversed().slice(i), everywhere)), tokens.toReversed()[i])
      assert.strictEqual(said(Credentials.read(all[i]!, everywhere)), tokens[i])
    }
    assert.strictEqual(said(Credentials.read(all, scopeOf({}, "/ws/?token=of-query"))), "of-query")
    assert.strictEqual(said(Credentials.read(all, scopeOf({ authorization: "Basic x", cookie: "session=a" }))), "a")
  })

  it("is none where no source has one, and where there is no source", () => {
    assert.isUndefined(said(Credentials.read(all, scopeOf({}))))
    assert.isUndefined(said(Credentials.read([], everywhere)))
  })

  it("does not look further when something is wrong: no second chance", () => {
    const wrong = scopeOf({ authorization: "Bearer a b", cookie: "session=abc" })
    assert.deepStrictEqual(said(Credentials.read([Credentials.bearer, Credentials.cookie("session")], wrong)), {
      problem: "The credentials (bearer token) are no token"
    })
    assert.strictEqual(said(Credentials.read([Credentials.cookie("session"), Credentials.bearer], wrong)), "abc")
  })

  it("does not ask the sources after the one that counts", () => {
    const unasked: Credentials.Source = {
      name: "unasked",
      read: () => assert.fail("was asked")
    }
    assert.strictEqual(said(Credentials.read([Credentials.bearer, unasked], everywhere)), "of-bearer")
  })

  it("takes a source of the application", () => {
    const own: Credentials.Source = { name: "path", read: ({ path }) => Result.succeed(Redacted.make(path)) }
    assert.strictEqual(said(Credentials.read([Credentials.bearer, own], scopeOf({}, "/abc/?x"))), "/abc/")
  })
})

describe("a source", () => {
  it("cannot be one that nothing is ever found in", () => {
    for (const make of [Credentials.header, Credentials.cookie, Credentials.subprotocol]) {
      for (const name of ["", "a b", "a,b", "bearer ", "ä", "a\n"]) {
        assert.throws(() => make(name), TypeError, "no name")
      }
    }
  })
})

describe("a token", () => {
  const secret = "s3cr3t-t0k3n"

  it("is not seen in what comes out of any source", () => {
    const outcomes = [
      Credentials.bearer.read(scopeOf({ authorization: `Bearer ${secret}` })),
      Credentials.header("x-api-key").read(scopeOf({ "x-api-key": secret })),
      Credentials.cookie("session").read(scopeOf({ cookie: `session=${secret}` })),
      Credentials.subprotocol().read(scopeOf({ "sec-websocket-protocol": `bearer.${secret}` })),
      Credentials.query("token").read(scopeOf({}, `/ws/?token=${secret}`))
    ]
    for (const outcome of outcomes) {
      assert.strictEqual(said(outcome), secret)
      assert.notInclude(shown(outcome), secret)
      assert.notInclude(shown(Result.getOrThrow(outcome)), secret)
    }
  })

  it("is not seen in an error either", () => {
    const outcomes = [
      Credentials.bearer.read(scopeOf({ authorization: `Bearer ${secret} ${secret}` })),
      Credentials.subprotocol().read(scopeOf({ "sec-websocket-protocol": `bearer.${secret}, bearer.${secret}2` })),
      Credentials.subprotocol().read(scopeOf({ "sec-websocket-protocol": `bearer.${secret}%` })),
      Credentials.query("token").read(scopeOf({}, `/ws/?token=${secret}&token=${secret}2`))
    ]
    for (const outcome of outcomes) {
      assert.isTrue(Result.isFailure(outcome))
      assert.notInclude(shown(outcome), secret)
      assert.notInclude(shown(Result.merge(outcome)), secret)
    }
  })
})
