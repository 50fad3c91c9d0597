import { assert, describe, it } from "@effect/vitest"
import { type Call, type Heard, problems, type Run } from "./support/checker.ts"

const connected = (isAgain = false): Heard => ({ _tag: "Connected", isAgain })
const disconnected: Heard = { _tag: "Disconnected" }
const placed = (_tag: "Fresh" | "Resumed" | "Gap" | "CaughtUp", at: string): Heard => ({ _tag, group: "room", at })
const heard = (nonce: string, id: string): Heard => ({ _tag: "Event", group: "room", nonce, id })
const shouted = (nonce: string): Heard => ({ _tag: "Event", group: "hall", nonce, id: undefined })

const call = (nonce: string, rest: Partial<Call> = {}): Call => ({
  nonce,
  action: "post",
  repeats: "no",
  outcomes: [{ _tag: "Success", nonce }],
  ...rest
})

/** Two epochs of a room that keeps 3 events, and a hall. */
const events = [
  ...["a1", "a2", "a3", "a4", "a5", "a6"].map((nonce, i) => ({ nonce, id: `x-${i + 1}` })),
  ...["b1", "b2"].map((nonce, i) => ({ nonce, id: `y-${i + 1}` }))
]
const shouts = ["s1", "s2", "s3", "s4"].map((nonce) => ({ nonce, id: undefined }))

const run = (rest: {
  readonly heard?: ReadonlyArray<Heard>
  readonly calls?: ReadonlyArray<Call>
  readonly effects?: ReadonlyArray<string>
  readonly isSettled?: boolean
  readonly isFromKept?: boolean
}): Run => ({
  clients: [{ name: "guest", isFromKept: rest.isFromKept, calls: rest.calls ?? [], heard: rest.heard ?? [] }],
  effects: rest.effects ?? [],
  groups: { room: { kept: 3, events }, hall: { kept: undefined, events: shouts } },
  errors: ["ConnectionLost"],
  isSettled: rest.isSettled ?? false
})

const assertFine = (rest: Parameters<typeof run>[0]) => assert.deepStrictEqual(problems(run(rest)), [])

const assertWrong = (rest: Parameters<typeof run>[0], ...words: ReadonlyArray<string>) => {
  const found = problems(run(rest))
  assert.lengthOf(found, words.length, found.join("\n"))
  for (const [i, word] of words.entries()) assert.include(found[i], word)
}

const lost = (isSent: boolean | undefined) => [{ _tag: "Failure", error: "ConnectionLost", isSent }] as const

describe("the checker of calls", () => {
  it("finds nothing where all is well", () => {
    assertFine({ calls: [call("1")], effects: ["1"] })
    assertFine({ calls: [call("1", { outcomes: lost(true) })], effects: ["1"] })
    assertFine({ calls: [call("1", { outcomes: lost(true) })] })
    assertFine({ calls: [call("1", { outcomes: lost(false) })] })
    assertFine({ calls: [call("1", { outcomes: [{ _tag: "Interrupted" }] })], effects: ["1"] })
    assertFine({ calls: [call("1", { repeats: "asIs" })], effects: ["1", "1"] })
    assertFine({ calls: [call("1", { repeats: "byKey" })], effects: ["1"] })
    assertFine({ calls: [call("a1", { to: "room" })], effects: ["a1"] })
    assertFine({ calls: [call("no", { to: "room", outcomes: lost(true) })] })
  })

  it("finds the reply to another call", () => {
    assertWrong({ calls: [call("1", { outcomes: [{ _tag: "Success", nonce: "2" }] })], effects: ["1"] }, "reply to 2")
  })

  it("finds a call that does not end, and one that ends twice", () => {
    assertWrong({ calls: [call("1", { outcomes: [] })], effects: ["1"] }, "has not ended")
    const twice = [{ _tag: "Success", nonce: "1" }, ...lost(true)] as const
    assertWrong({ calls: [call("1", { outcomes: twice })], effects: ["1"] }, "has ended 2 times")
  })

  it("finds what was done though it was not sent, and what was not done though it succeeded", () => {
    assertWrong(
      { calls: [call("1", { outcomes: lost(false) })], effects: ["1"] },
      "was not sent, it says, and was done"
    )
    assertWrong({ calls: [call("1")] }, "was not done")
    assertWrong({ calls: [call("1", { outcomes: lost(undefined) })] }, "does not say whether it was sent")
    assertWrong({ calls: [call("1", { outcomes: lost(true) })], effects: ["1", "2"] }, "nobody has called 2")
  })

  it("finds what was done twice", () => {
    for (const repeats of ["no", "byKey"] as const) {
      assertWrong({ calls: [call("1", { repeats })], effects: ["1", "1"] }, "was done 2 times")
      assertWrong({ calls: [call("1", { repeats, outcomes: lost(true) })], effects: ["1", "1"] }, "was done 2 times")
    }
  })

  it("finds errors that nobody expects, and nonces that are none", () => {
    const unexpected = [{ _tag: "Failure", error: "UnexpectedReply" }] as const
    assertWrong({ calls: [call("1", { outcomes: unexpected })] }, "has failed with UnexpectedReply")
    assertWrong({ calls: [call("1"), call("1")], effects: ["1"] }, "two calls have the nonce 1")
  })

  it("finds events of calls that were sent too often, or not", () => {
    assertWrong({ calls: [call("1", { to: "room" })], effects: ["1"] }, "was not sent to its group")
    assertWrong({ calls: [call("a1", { to: "room", outcomes: lost(true) })] }, "was sent to its group, and not done")
    const again = run({ calls: [call("a1", { to: "room" })], effects: ["a1"] })
    const groups = { ...again.groups, room: { kept: 3, events: [...events, { nonce: "a1", id: "y-3" }] } }
    assert.include(problems({ ...again, groups }).join(), "was sent to its group 2 times")
  })

  it("finds holes in streams, items that come twice, and ends that come too early", () => {
    const stream = (ns: ReadonlyArray<number>, rest: Partial<Call> = {}) => ({
      calls: [call("1", { items: ns.map((n) => ({ nonce: "1", n })), length: 3, ...rest })],
      effects: ["1"]
    })
    assertFine(stream([0, 1, 2]))
    assertFine(stream([0, 1], { outcomes: lost(true) }))
    assertFine(stream([], { outcomes: lost(true) }))
    assertFine(stream([0, 1, 0, 1, 2], { repeats: "asIs" }))
    assertWrong(stream([0, 2]), "item 2 where 1 is the next")
    assertWrong(stream([1, 2]), "item 1 where 0 is the next")
    assertWrong(stream([0, 1, 1, 2]), "item 1 where 2 is the next")
    assertWrong(stream([0, 1, 0, 1, 2]), "item 0 where 2 is the next")
    assertWrong(stream([0, 1, 1, 2], { repeats: "asIs" }), "item 1 where 2 is the next")
    assertWrong(stream([0, 1]), "after 2 of 3 items")
    assertWrong(stream([0, 1, 0, 1], { repeats: "asIs" }), "after 2 of 3 items")
    const mixed = [{ nonce: "1", n: 0 }, { nonce: "2", n: 1 }, { nonce: "1", n: 2 }]
    assertWrong({ calls: [call("1", { items: mixed, length: 3 })], effects: ["1"] }, "an item of 2")
  })
})

describe("the checker of what is heard", () => {
  const fresh = [connected(), placed("Fresh", "x-0")]
  const twice = [...fresh, heard("a1", "x-1"), heard("a2", "x-2"), disconnected, connected(true)]

  it("finds nothing where all is well", () => {
    assertFine({})
    assertFine({ heard: [...twice, placed("Resumed", "x-2"), heard("a3", "x-3"), placed("CaughtUp", "x-3")] })
    assertFine({ heard: [...twice, placed("Gap", "x-6")] })
    assertFine({ heard: [...twice, placed("Gap", "y-0"), heard("b1", "y-1")] })
    assertFine({ heard: [...twice, placed("Gap", "y-1"), heard("b2", "y-2")], isSettled: true })
    assertFine({ heard: [...twice, placed("Gap", "y-2")], isSettled: true })
    assertFine({ heard: [connected(), placed("Fresh", "x-4"), heard("a5", "x-5"), heard("a6", "x-6")] })
    // Where it is may have become later when it is looked at.
    assertFine({ heard: [connected(), placed("Fresh", "x-4"), heard("a3", "x-3"), heard("a4", "x-4")] })
    // The connection was lost before it could be told where it is.
    assertFine({ heard: [connected(), disconnected, connected(true), placed("Fresh", "x-2"), heard("a3", "x-3")] })
    assertFine({ heard: [connected(), shouted("s2"), shouted("s3"), disconnected, connected(true)] })
    assertFine({ heard: [connected(), shouted("s1"), disconnected, connected(true), shouted("s4")] })
  })

  it("finds events that are missing, come twice, or in another order", () => {
    assertWrong({ heard: [...fresh, heard("a2", "x-2")] }, "missed 1 or more before a2")
    assertWrong({ heard: [...fresh, heard("a1", "x-1"), heard("a3", "x-3")] }, "missed 1 or more before a3")
    assertWrong({ heard: [...fresh, heard("a1", "x-1"), heard("a1", "x-1")] }, "a1 again, or too late")
    assertWrong(
      { heard: [...fresh, heard("a1", "x-1"), heard("a3", "x-3"), heard("a2", "x-2")] },
      "missed 1 or more before a3",
      "a2 again, or too late"
    )
    assertWrong({ heard: [...fresh, heard("zz", "x-1")] }, "zz, which was not sent")
    assertWrong({ heard: [...fresh, heard("a1", "x-2")] }, "at x-2, and it is at x-1")
    assertWrong({ heard: [connected(), shouted("s1"), shouted("s3")] }, "missed 1 or more before s3")
    assertWrong({ heard: [connected(), shouted("s1"), disconnected, connected(true), shouted("s1")] }, "s1 again")
  })

  it("finds events that are missing, or come again, when the client comes back", () => {
    assertWrong({ heard: [...twice, placed("Resumed", "x-2"), heard("a4", "x-4")] }, "missed 1 or more before a4")
    assertWrong({ heard: [...twice, placed("Resumed", "x-2"), heard("a2", "x-2")] }, "a2 again, or too late")
    assertWrong({ heard: [...twice, placed("Resumed", "x-2"), heard("b1", "y-1")] }, "missed 4 or more before b1")
    assertWrong({ heard: [...twice, placed("Gap", "x-6"), heard("b2", "y-2")] }, "missed 1 or more before b2")
    assertWrong({ heard: [connected(), placed("Fresh", "x-1"), heard("a3", "x-3")] }, "missed 1 or more before a3")
  })

  it("finds that a client was told wrongly where it is, or not at all", () => {
    assertWrong({ heard: [...twice, heard("a3", "x-3")] }, "before it was told where it is")
    assertWrong({ heard: [...twice, placed("Fresh", "x-2")] }, "was told Fresh, and has been there")
    assertWrong({ heard: [connected(), placed("Resumed", "x-2")] }, "has not been there", "has been at undefined")
    assertWrong({ heard: [connected(), placed("Gap", "x-2")] }, "was told Gap, and has not been there")
    assertWrong({ heard: [...twice, placed("Gap", "x-5")] }, "was told Gap, and has missed 3")
    assertWrong({ heard: [...twice, placed("Resumed", "y-0")] }, "was told Resumed at y-0, and has been at x-2")
    assertWrong({ heard: [...fresh, placed("Fresh", "x-0")] }, "was told Fresh twice", "and has been there")
    assertWrong({ heard: [...fresh, placed("CaughtUp", "x-0")] }, "CaughtUp without having to be")
    assertWrong({ heard: [...twice, placed("Gap", "x-6"), placed("CaughtUp", "x-6")] }, "CaughtUp without having to be")
    const hall: Heard = { _tag: "Fresh", group: "hall", at: undefined }
    assertWrong({ heard: [connected(), hall] }, "was told Fresh, and there is no history")
  })

  it("knows of clients that begin with what is kept", () => {
    const isFromKept = true
    const begun = [connected(), placed("Fresh", ""), disconnected, connected(true), placed("Fresh", "")]
    const kept = [heard("a4", "x-4"), heard("a5", "x-5"), heard("a6", "x-6"), placed("CaughtUp", "x-6")]
    assertFine({ isFromKept, heard: [...begun, ...kept] })
    assertFine({ isFromKept, heard: [...begun, placed("CaughtUp", "x-0"), heard("a1", "x-1")] })
    const again = [disconnected, connected(true)]
    assertFine({
      isFromKept,
      heard: [...begun, heard("a4", "x-4"), ...again, placed("Resumed", "x-4"), ...kept.slice(1)]
    })
    assertWrong({ isFromKept, heard: [...begun, ...kept, ...again, placed("Fresh", "")] }, "Fresh, and has been there")
    assertWrong({ isFromKept, heard: [...begun, kept[0]!, kept[2]!] }, "missed 1 or more before a6")
    assertWrong({ isFromKept, heard: begun, isSettled: true }, "the last 8")
  })

  it("finds connections that are none", () => {
    assertWrong({ heard: [connected(), connected(true)] }, "was connected twice at once")
    assertWrong({ heard: [connected(true)] }, "was told isAgain: true")
    assertWrong({ heard: [connected(), disconnected, connected()] }, "was told isAgain: false")
    assertWrong({ heard: [disconnected] }, "Disconnected without a connection")
    assertWrong({ heard: [connected(), disconnected, shouted("s1")] }, "Event without a connection")
  })

  it("finds what has not been heard at the end", () => {
    assertWrong({ heard: [...twice, placed("Resumed", "x-2"), heard("a3", "x-3")], isSettled: true }, "the last 5")
    assertWrong({ heard: [...twice, placed("Gap", "y-1")], isSettled: true }, "the last 1")
    assertWrong({ heard: fresh, isSettled: true }, "the last 8")
    assertWrong({ isSettled: true }, "the last 8")
  })
})
