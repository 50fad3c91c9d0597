import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as Path from "../src/internal/path.ts"

const isParam = (segment: string) => segment.startsWith(":")

/** Whether a pattern matches a path, as its definition says it: segment by segment, a parameter what is not empty. */
const matches = (pattern: string, path: string): boolean => {
  const segments = path.split("/")
  const wanted = pattern.split("/")
  return segments.length === wanted.length &&
    wanted.every((segment, i) => isParam(segment) ? segments[i] !== "" : segment === segments[i])
}

/** The one of some patterns that has text where the others have a parameter, from left to right. */
const narrowest = (patterns: ReadonlyArray<string>): string | undefined =>
  patterns.toSorted((a, b) => {
    const [as, bs] = [a.split("/").map(isParam), b.split("/").map(isParam)]
    const first = as.findIndex((isParam, i) => isParam !== bs[i])
    return first < 0 ? 0 : as[first] ? 1 : -1
  })[0]

/** What tells a pattern from others: the names of its parameters do not. */
const shapeOf = (pattern: string): string =>
  pattern.split("/").map((segment) => isParam(segment) ? ":" : segment).join("/")

const routerOf = (...patterns: ReadonlyArray<string>): Path.Router<string> => {
  const router = new Path.Router<string>()
  for (const pattern of patterns) router.add(pattern, pattern)
  return router
}

const joined = (segments: ReadonlyArray<string>, maxLength: number): Arbitrary.Arbitrary<string> =>
  Arbitrary.map(
    Arbitrary.array(Arbitrary.schema(Schema.Literals(segments)), { minLength: 1, maxLength }),
    (segments) => segments.join("/")
  )
const pattern = joined(["a", "b", "", ":x", ":y"], 4)
const path = joined(["a", "b", "c", ":x", "%61", "%2F", "%", ""], 4)

/** Every path of up to three segments, of those that the patterns have and one more. */
const everyPath: ReadonlyArray<string> = [1, 2, 3].flatMap((length) =>
  Array.from({ length }).reduce<ReadonlyArray<ReadonlyArray<string>>>(
    (so) => so.flatMap((segments) => ["a", "b", "c", ""].map((segment) => [...segments, segment])),
    [[]]
  ).map((segments) => segments.join("/"))
)

describe("paths", () => {
  it("paramNames: in the order of the pattern", () => {
    assert.deepStrictEqual(Path.paramNames(""), [])
    assert.deepStrictEqual(Path.paramNames("messages/"), [])
    assert.deepStrictEqual(Path.paramNames("/a/:b/c/:a/"), ["b", "a"])
    assert.deepStrictEqual(Path.paramNames("a:b/:c:d"), ["c:d"])
  })

  it("problem: what is no pattern", () => {
    for (const pattern of ["", "/", "messages/", "/a/:b/", ":a/:b1/:c_d", "a:b/c", "a//b", "*", "é/"]) {
      assert.isUndefined(Path.problem(pattern), pattern)
    }
    for (const pattern of [":", "a/:/b", ":1", ":_a", ":a-b", ":a:b", ":é", ":a*", ":a b", ":a."]) {
      assert.match(Path.problem(pattern) ?? "", /is no parameter/, pattern)
    }
    assert.match(Path.problem("a/?b=1") ?? "", /query string/)
    assert.match(Path.problem("a/:b?") ?? "", /query string/)
    assert.match(Path.problem(":a/b/:a") ?? "", /":a" stands in it twice/)
  })

  describe("Router", () => {
    it("matches whole, never a prefix, never with something behind", () => {
      const router = routerOf("items/", "items/:id/", "")
      assert.strictEqual(router.find("items/")?.value, "items/")
      assert.strictEqual(router.find("")?.value, "")
      for (const path of ["items", "items//", "items/1", "items/1/2", "items/1/ ", " items/", "/items/", "item", "/"]) {
        assert.isUndefined(router.find(path), path)
      }
      assert.strictEqual(router.find("items/1/")?.value, "items/:id/")
      assert.isUndefined(router.find("items/1//"))
    })

    it("tells upper from lower case", () => {
      const router = routerOf("Items/", "items/:id/")
      assert.isUndefined(router.find("items/"))
      assert.isUndefined(router.find("Items/1/"))
      assert.strictEqual(router.find("Items/")?.value, "Items/")
      for (const path of ["Items/1/a", "ITEMS/1/a", "items/1/A"]) {
        assert.isUndefined(routerOf("items/:id/a").find(path), path)
      }
    })

    it("prefers text to a parameter, whichever was added first", () => {
      for (const patterns of [["items/new/", "items/:id/"], ["items/:id/", "items/new/"]]) {
        const router = routerOf(...patterns)
        assert.deepStrictEqual(router.find("items/new/"), { value: "items/new/", params: [] })
        assert.deepStrictEqual(router.find("items/old/"), { value: "items/:id/", params: ["old"] })
      }
    })

    it("comes back from text that leads nowhere", () => {
      const router = routerOf("a/b/c/d", "a/:x/c/e", ":w/b/:y/f")
      assert.deepStrictEqual(router.find("a/b/c/d"), { value: "a/b/c/d", params: [] })
      assert.deepStrictEqual(router.find("a/b/c/e"), { value: "a/:x/c/e", params: ["b"] })
      assert.deepStrictEqual(router.find("a/b/c/f"), { value: ":w/b/:y/f", params: ["a", "c"] })
      assert.isUndefined(router.find("a/b/c/g"))
    })

    it("gives a parameter no empty segment, and exactly one", () => {
      const router = routerOf(":a/", ":a/:b", "/:c")
      assert.isUndefined(router.find("/"))
      assert.isUndefined(router.find("x/y/z"))
      assert.isUndefined(router.find(""))
      assert.deepStrictEqual(router.find("x/"), { value: ":a/", params: ["x"] })
      assert.deepStrictEqual(router.find("/x"), { value: "/:c", params: ["x"] })
      assert.deepStrictEqual(router.find("x/y"), { value: ":a/:b", params: ["x", "y"] })
    })

    it("undoes percent-encoding in parameters, once; what is no valid escape stays", () => {
      const router = routerOf("f/:name")
      const name = (segment: string) => router.find(`f/${segment}`)?.params[0]
      assert.strictEqual(name("a%2Fb%3Fc"), "a/b?c")
      assert.strictEqual(name("%E2%82%AC"), "€")
      assert.strictEqual(name("%2541"), "%41")
      assert.strictEqual(name("a+b"), "a+b")
      for (const broken of ["%", "%4", "%zz", "%ff", "100%", "%E2%82"]) assert.strictEqual(name(broken), broken)
      assert.strictEqual(name(".."), "..")
      assert.strictEqual(name("%2e%2e"), "..")
    })

    it("compares the text of a pattern as it is", () => {
      const router = routerOf("caf%C3%A9/", "a b/", "a:b/")
      assert.strictEqual(router.find("caf%C3%A9/")?.value, "caf%C3%A9/")
      assert.isUndefined(router.find("café/"))
      assert.isUndefined(router.find("a%20b/"))
      assert.strictEqual(router.find("a:b/")?.value, "a:b/")
      assert.isUndefined(router.find("a:c/"))
    })

    it("finds nothing by names that every object has", () => {
      const router = routerOf("items/", "items/x/y")
      for (const name of ["__proto__", "constructor", "toString", "items/__proto__", "items/constructor/y"]) {
        assert.isUndefined(router.find(name))
      }
      assert.strictEqual(routerOf("__proto__/:id").find("__proto__/1")?.value, "__proto__/:id")
    })

    it("has the value of a pattern that was added last", () => {
      const router = new Path.Router<number>()
      for (const pattern of ["a", ":x"]) {
        router.add(pattern, 1)
        router.add(pattern, 2)
      }
      assert.strictEqual(router.find("a")?.value, 2)
      assert.strictEqual(router.find("b")?.value, 2)
    })

    it("keeps values that are undefined apart from no match", () => {
      const router = new Path.Router<undefined>()
      router.add("a/:b", undefined)
      assert.deepStrictEqual(router.find("a/1"), { value: undefined, params: ["1"] })
      assert.isUndefined(router.find("b/1"))
    })

    it("reads long and hostile paths", () => {
      const deep = Array.from({ length: 500 }, (_, i) => `:p${i}`).join("/")
      const router = routerOf("a/:b", deep)
      assert.isUndefined(router.find("/".repeat(1_000_000)))
      assert.isUndefined(router.find(`a/${"x/".repeat(500_000)}`))
      assert.strictEqual(router.find(`a/${"x".repeat(1_000_000)}`)?.params[0]?.length, 1_000_000)
      assert.strictEqual(router.find(`a/${"%".repeat(100_000)}`)?.params[0]?.length, 100_000)
      assert.strictEqual(router.find(Array.from({ length: 500 }, () => "x").join("/"))?.params.length, 500)
    })

    it.prop(
      "finds the narrowest of the patterns that match, with its parameters",
      { patterns: Arbitrary.array(pattern, { maxLength: 8 }), path },
      ({ path, patterns }) => {
        const router = routerOf(...patterns)
        const match = router.find(path)
        const found = narrowest(patterns.filter((pattern) => matches(pattern, path)))
        if (found === undefined) return assert.isUndefined(match)
        assert(match !== undefined)
        assert.strictEqual(shapeOf(match.value), shapeOf(found))
        const segments = path.split("/")
        assert.deepStrictEqual(
          match.params,
          found.split("/").flatMap((segment, i) => isParam(segment) ? [decoded(segments[i]!)] : [])
        )
      },
      { arbitrary: { runs: 1500 } }
    )

    it.prop(
      "never throws",
      { patterns: Schema.Array(Schema.String), paths: Schema.Array(Schema.String), pattern },
      ({ paths, pattern, patterns }) => {
        const router = routerOf(...patterns, pattern)
        for (const path of [...paths, ...patterns, pattern]) {
          const match = router.find(path)
          if (match === undefined) continue
          assert.strictEqual(match.params.length, Path.paramNames(match.value).length)
        }
        for (const pattern of patterns) {
          const problem = Path.problem(pattern)
          assert.isTrue(problem === undefined || problem.length > 0)
        }
      },
      { arbitrary: { runs: 300 } }
    )
  })

  describe("isAmbiguous", () => {
    const isAmbiguous = (a: string, b: string) => Path.isAmbiguous(a.split("/"), b.split("/"))

    it("is so of two patterns that match one string, neither of them narrower", () => {
      assert.isTrue(isAmbiguous("items/:id/", "items/:name/"))
      assert.isTrue(isAmbiguous("items/", "items/"))
      assert.isTrue(isAmbiguous(":a/new/", "items/:b/"))
      assert.isTrue(isAmbiguous("a/:x/:y/d", ":w/b/:y/d"))
    })

    it("is not so of others", () => {
      assert.isFalse(isAmbiguous("items/new/", "items/:id/"))
      assert.isFalse(isAmbiguous("items/", "items/:id/"))
      assert.isFalse(isAmbiguous("items", "items/"))
      assert.isFalse(isAmbiguous("a/:x/c", "b/:x/c"))
      assert.isFalse(isAmbiguous(":a/", "/"))
      assert.isFalse(isAmbiguous("a/:x", ":y/b/c"))
      assert.isFalse(isAmbiguous("a/:x/c", ":w/b/d"))
      assert.isFalse(isAmbiguous("Items/", "items/"))
      assert.isFalse(isAmbiguous(":a//", ":b/:c/"))
    })

    const short = joined(["a", "b", "", ":x", ":y"], 3)

    it.prop(
      "is what it says, for every path that there is",
      { a: short, b: short },
      ({ a, b }) => {
        const as = everyPath.filter((path) => matches(a, path))
        const bs = everyPath.filter((path) => matches(b, path))
        const overlap = as.some((path) => bs.includes(path))
        const isNarrower = (these: ReadonlyArray<string>, those: ReadonlyArray<string>) =>
          these.length < those.length && these.every((path) => those.includes(path))
        assert.strictEqual(isAmbiguous(a, b), overlap && !isNarrower(as, bs) && !isNarrower(bs, as))
        assert.strictEqual(isAmbiguous(b, a), isAmbiguous(a, b))
      },
      { arbitrary: { runs: 1000 } }
    )

    it.prop(
      "where it is not so, the narrower of two that match is found",
      { a: short, b: short },
      ({ a, b }) => {
        if (isAmbiguous(a, b)) return
        const [ab, ba] = [routerOf(a, b), routerOf(b, a)]
        for (const path of everyPath.filter((path) => matches(a, path) && matches(b, path))) {
          const params = (pattern: string) => Path.paramNames(pattern).length
          const narrower = params(a) < params(b) ? a : b
          assert.strictEqual(ab.find(path)?.value, narrower)
          assert.strictEqual(ba.find(path)?.value, narrower)
        }
      },
      { arbitrary: { runs: 1000 } }
    )
  })
})

const decoded = (segment: string): string => segment === "%" ? segment : decodeURIComponent(segment)
