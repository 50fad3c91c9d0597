import { assert, describe, it } from "@effect/vitest"
import * as Origin from "../src/internal/origin.ts"

const isAllowed = (origin: string | undefined, host: string | undefined, allowed: ReadonlyArray<string> = []) =>
  Origin.isAllowed({ ...(origin === undefined ? {} : { origin }), ...(host === undefined ? {} : { host }) }, allowed)

describe("origin", () => {
  it("allows clients that are no pages", () => {
    assert.isTrue(isAllowed(undefined, "example.com"))
    assert.isTrue(isAllowed(undefined, undefined))
  })

  it("allows the pages of the server's own host", () => {
    const same = [
      ["http://example.com", "example.com"],
      ["https://example.com", "example.com"],
      ["http://example.com:8000", "example.com:8000"],
      ["http://EXAMPLE.com", "example.COM"],
      ["http://127.0.0.1:8000", "127.0.0.1:8000"],
      ["http://[::1]:8000", "[::1]:8000"]
    ] as const
    for (const [origin, host] of same) assert.isTrue(isAllowed(origin, host), `${origin} ${host}`)
  })

  it("allows a page of the own host when one of the two names the port that goes without saying", () => {
    assert.isTrue(isAllowed("http://example.com", "example.com:80"))
    assert.isTrue(isAllowed("https://example.com", "example.com:443"))
  })

  it("refuses the pages of other hosts, ports and schemes", () => {
    const other = [
      ["http://evil.com", "example.com"],
      ["http://example.com.evil.com", "example.com"],
      ["http://evil.com#example.com", "example.com"],
      ["http://sub.example.com", "example.com"],
      ["http://example.com:8001", "example.com:8000"],
      ["http://example.com:8000", "example.com"],
      ["http://example.com", "example.com:8000"],
      ["http://example.com", undefined]
    ] as const
    for (const [origin, host] of other) assert.isFalse(isAllowed(origin, host), `${origin} ${host}`)
  })

  it("refuses what is no origin", () => {
    for (const origin of ["null", "", "example.com", "http://", "//example.com", "file://", "about:blank", "\u0000"]) {
      assert.isFalse(isAllowed(origin, "example.com"), origin)
      assert.isFalse(isAllowed(origin, ""), origin)
    }
  })

  it("allows the origins that are listed, and only those", () => {
    const allowed = ["https://app.example.com", "http://localhost:3000"]
    assert.isTrue(isAllowed("https://app.example.com", "api.example.com", allowed))
    assert.isTrue(isAllowed("http://localhost:3000", "api.example.com", allowed))
    assert.isFalse(isAllowed("http://app.example.com", "api.example.com", allowed))
    assert.isFalse(isAllowed("https://app.example.com:8443", "api.example.com", allowed))
    assert.isFalse(isAllowed("http://localhost:30001", "api.example.com", allowed))
    assert.isFalse(isAllowed("null", "api.example.com", allowed))
    assert.isTrue(isAllowed("null", "api.example.com", ["null"]))
  })
})
