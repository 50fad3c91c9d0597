import { ChannelError, Reply, Settings } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import { NotThere, Odd } from "./support/consumers.ts"

const declared = (error: unknown, encoded?: unknown): Reply.Failure => ({
  _tag: "Declared",
  status: 418,
  error,
  encoded
})

describe("formatError", () => {
  const refusals: ReadonlyArray<readonly [ChannelError.ChannelError, number, ReadonlyArray<Reply.ReplyError>]> = [
    [new ChannelError.InvalidEnvelope({ message: "No" }), 400, [{ detail: "No", code: "parse_error" }]],
    [
      new ChannelError.InvalidPayload({
        problems: [{ detail: "Expected string", path: ["data", "tags", 3] }, { detail: "Missing key", path: [] }]
      }),
      400,
      [
        { detail: "Expected string", code: "invalid", path: ["data", "tags", 3] },
        { detail: "Missing key", code: "invalid", path: [] }
      ]
    ],
    [
      new ChannelError.PermissionLost({ message: "Editors only" }),
      403,
      [{ detail: "Editors only", code: "permission_lost" }]
    ],
    [
      new ChannelError.Throttled({ retryAfter: 1.5 }),
      429,
      [{ detail: "Request was throttled: try again in 1.5 seconds", code: "throttled", retry_after: 1.5 }]
    ],
    [
      new ChannelError.InvalidCredentials(),
      401,
      [{ detail: "The credentials are not valid", code: "authentication_failed" }]
    ],
    [
      new ChannelError.InvalidCredentials({ message: "Your session has expired" }),
      401,
      [{ detail: "Your session has expired", code: "authentication_failed" }]
    ],
    [
      new ChannelError.NotAuthenticated(),
      403,
      [{ detail: "Authentication credentials were not provided", code: "not_authenticated" }]
    ],
    [
      new ChannelError.PermissionDenied({ message: "Only members", code: "not_member" }),
      403,
      [{ detail: "Only members", code: "not_member" }]
    ],
    [new ChannelError.RouteNotFound({ message: "No" }), 404, [{ detail: "No", code: "not_found" }]],
    [new ChannelError.ActionNotFound({ message: "No" }), 405, [{ detail: "No", code: "method_not_allowed" }]],
    [new ChannelError.ActionTimeout({ message: "No" }), 408, [{ detail: "No", code: "timeout" }]],
    [new ChannelError.MessageTooLarge({ message: "No" }), 413, [{ detail: "No", code: "too_large" }]],
    [new ChannelError.Unavailable({ message: "No" }), 503, [{ detail: "No", code: "unavailable" }]]
  ]

  for (const [error, status, errors] of refusals) {
    it(`says why effect-channels refused: ${error._tag}, ${errors[0]!.detail}`, () => {
      const failure = Reply.refused(error)
      assert.deepStrictEqual(failure, { _tag: "Refused", status, error })
      assert.deepStrictEqual(Reply.formatError(failure), errors)
    })
  }

  it("tells an invalid payload in one line too", () => {
    const error = new ChannelError.InvalidPayload({
      problems: [{ detail: "Expected string", path: ["data", "tags", 3] }, { detail: "Missing key", path: ["page"] }]
    })
    assert.strictEqual(error.message, "data.tags.3: Expected string; page: Missing key")
  })

  it("tells a declared error in full", () => {
    assert.deepStrictEqual(Reply.formatError(declared(new NotThere({ id: 1 }), { _tag: "NotThere", id: 1 })), [
      { detail: "NotThere", code: "NotThere", error: { _tag: "NotThere", id: 1 } }
    ])
    assert.deepStrictEqual(Reply.formatError(declared(new Odd({ message: "That is odd" }), "odd")), [
      { detail: "That is odd", code: "Odd", error: "odd" }
    ])
  })

  it("prefers a declared error's own words", () => {
    const errors: ReadonlyArray<readonly [unknown, Reply.ReplyError]> = [
      [{ message: "m", code: "c", _tag: "T" }, { detail: "m", code: "c" }],
      [{ message: "m", _tag: "T" }, { detail: "m", code: "T" }],
      [{ _tag: "T" }, { detail: "T", code: "T" }],
      [{ code: "c" }, { detail: "The request failed", code: "c" }],
      [{ message: "", code: "", _tag: "T" }, { detail: "T", code: "T" }],
      [{ message: 1, code: 2, _tag: 3 }, { detail: "The request failed" }],
      [{}, { detail: "The request failed" }],
      ["text", { detail: "The request failed" }],
      [null, { detail: "The request failed" }],
      [undefined, { detail: "The request failed" }]
    ]
    for (const [error, formatted] of errors) {
      assert.deepStrictEqual(Reply.formatError(declared(error)), [formatted])
      assert.deepStrictEqual(Reply.formatError(declared(error, null)), [{ ...formatted, error: null }])
    }
  })

  it("tells nothing of what broke", () => {
    const failure = Reply.defect(Cause.die(new Error("secret")))
    assert.deepInclude(failure, { _tag: "Defect", status: 500 })
    assert.deepStrictEqual(Reply.formatError(failure), [{ detail: "Internal server error", code: "error" }])
  })

  it("is what is used unless the application has its own", () => {
    assert.strictEqual(Context.get(Context.empty(), Settings.Settings).formatError, Reply.formatError)
  })
})

describe("isChannelError", () => {
  it("knows its own from others", () => {
    assert.isTrue(ChannelError.isChannelError(new ChannelError.Unavailable({ message: "No" })))
    assert.isTrue(ChannelError.isChannelError(new ChannelError.NotAuthenticated()))
    const lookalike = { _tag: "Unavailable", status: 503, code: "unavailable", message: "No" }
    for (const other of [new NotThere({ id: 1 }), new Error("No"), lookalike, null, undefined, "Unavailable", 503]) {
      assert.isFalse(ChannelError.isChannelError(other))
    }
    assert.isFalse(ChannelError.isChannelError(Object.create(null)))
  })
})
