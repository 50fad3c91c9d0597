import { Query } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"

/** What a query holds, as entries; its record has no prototype. */
const entries = (query: Query.Query): ReadonlyArray<readonly [string, string | ReadonlyArray<string>]> =>
  Object.entries(query)

/** The same, as the platform reads it. */
const expected = (text: string): ReadonlyArray<readonly [string, string | ReadonlyArray<string>]> => {
  const params = new URLSearchParams(text)
  const names = Array.from(new Set(params.keys()))
  return Object.entries(Object.fromEntries(names.map((name) => {
    const values = params.getAll(name)
    return [name, values.length === 1 ? values[0]! : values]
  })))
}

/** Pieces of which well-formed query strings consist. */
const pieces = [
  "a",
  "b",
  "é",
  "=",
  "=",
  "&",
  "&",
  "+",
  "?",
  "#",
  "/",
  "%41",
  "%C3%A9",
  "%26",
  "%3D",
  "%2B",
  "%25",
  "%00"
]

describe("Query", () => {
  describe("parse", () => {
    it("reads names and values", () => {
      assert.deepStrictEqual(entries(Query.parse("page=2&size=10")), [["page", "2"], ["size", "10"]])
      assert.strictEqual(Query.parse("page=2").page, "2")
    })

    it("takes a leading ? away, and only one", () => {
      assert.deepStrictEqual(entries(Query.parse("?page=2")), [["page", "2"]])
      assert.deepStrictEqual(entries(Query.parse("??page=2")), [["?page", "2"]])
    })

    it("makes nothing of nothing", () => {
      assert.strictEqual(Query.parse(""), Query.empty)
      assert.strictEqual(Query.parse("?"), Query.empty)
      assert.deepStrictEqual(entries(Query.parse("&&")), [])
      assert.deepStrictEqual(entries(Query.parse("?&")), [])
    })

    it("keeps what is empty on one side", () => {
      assert.deepStrictEqual(entries(Query.parse("a&b=&=c&=")), [["a", ""], ["b", ""], ["", ["c", ""]]])
    })

    it("keeps all values of a repeated name, in their order", () => {
      assert.deepStrictEqual(entries(Query.parse("t=a&u=1&t=b&t=&t=a")), [["t", ["a", "b", "", "a"]], ["u", "1"]])
      assert.deepStrictEqual(entries(Query.parse("t=&t=")), [["t", ["", ""]]])
    })

    it("splits a pair at its first =", () => {
      assert.deepStrictEqual(entries(Query.parse("a=b=c&d==")), [["a", "b=c"], ["d", "="]])
    })

    it("undoes + and percent-encoding, in names and values", () => {
      assert.deepStrictEqual(entries(Query.parse("a+b=c+d&%C3%A9=%e2%82%ac&s=1%2B1%3D2&amp=a%26b")), [
        ["a b", "c d"],
        ["é", "€"],
        ["s", "1+1=2"],
        ["amp", "a&b"]
      ])
    })

    it("decodes once", () => {
      assert.deepStrictEqual(entries(Query.parse("a=%2541")), [["a", "%41"]])
    })

    it("keeps an escape that is not valid", () => {
      assert.deepStrictEqual(entries(Query.parse("a=%&b=%4&c=%zz&d=%ff&e=%E2%82&%=f&g=100%")), [
        ["a", "%"],
        ["b", "%4"],
        ["c", "%zz"],
        ["d", "%ff"],
        ["e", "%E2%82"],
        ["%", "f"],
        ["g", "100%"]
      ])
    })

    it("has no names but those that were sent", () => {
      const query = Query.parse("a=1")
      assert.isUndefined(query.constructor)
      assert.isUndefined(query.toString)
      assert.isUndefined(query["__proto__"])
      assert.isFalse("hasOwnProperty" in query)
    })

    it("takes names that records have of their own for names like any other", () => {
      const query = Query.parse("__proto__=a&constructor=b&toString=c&hasOwnProperty=d&__proto__=e")
      assert.deepStrictEqual(entries(query), [
        ["__proto__", ["a", "e"]],
        ["constructor", "b"],
        ["toString", "c"],
        ["hasOwnProperty", "d"]
      ])
      assert.isNull(Object.getPrototypeOf(query))
      assert.isUndefined(Reflect.get({}, "a"))
    })

    it("reads long queries", () => {
      const many = Query.parse(Array.from({ length: 50_000 }, (_, i) => `a=${i}`).join("&"))
      assert.strictEqual((many.a as ReadonlyArray<string>).length, 50_000)
      assert.strictEqual(Query.parse(`a=${"%41".repeat(50_000)}`).a, "A".repeat(50_000))
      assert.deepStrictEqual(entries(Query.parse("&".repeat(200_000))), [])
    })

    it.prop(
      "reads a well-formed query as URLSearchParams does",
      { pieces: Arbitrary.array(Arbitrary.schema(Schema.Literals(pieces)), { maxLength: 24 }) },
      ({ pieces }) => {
        const text = pieces.join("")
        assert.deepStrictEqual(entries(Query.parse(text)), expected(text), text)
      },
      { arbitrary: { runs: 1000 } }
    )

    it.prop(
      "reads what URLSearchParams has written",
      { pairs: Schema.Array(Schema.Tuple([Schema.String, Schema.String])) },
      ({ pairs }) => {
        const text = new URLSearchParams(pairs.map(([name, value]): [string, string] => [name, value])).toString()
        assert.deepStrictEqual(entries(Query.parse(text)), expected(text), text)
        assert.deepStrictEqual(entries(Query.parse(`?${text}`)), expected(text), text)
      },
      { arbitrary: { runs: 300 } }
    )

    it.prop(
      "never throws, and holds only texts",
      {
        text: Schema.String,
        broken: Arbitrary.array(Arbitrary.schema(Schema.Literals(["%", "%E", "%FF", "\ud800", "%c", ...pieces])))
      },
      ({ broken, text }) => {
        for (const query of [Query.parse(text), Query.parse(broken.join("")), Query.parse(broken.join(text))]) {
          for (const [, value] of entries(query)) {
            const values = typeof value === "string" ? [value] : value
            assert.isTrue(values.every((value) => typeof value === "string"))
            assert.isTrue(typeof value === "string" || value.length > 1)
          }
        }
      },
      { arbitrary: { runs: 500 } }
    )
  })

  it("empty is empty, without a prototype, and cannot be changed", () => {
    assert.deepStrictEqual(entries(Query.empty), [])
    assert.isNull(Object.getPrototypeOf(Query.empty))
    assert.isTrue(Object.isFrozen(Query.empty))
  })
})
