import { SharedFrame } from "@effect-channels/core/Transport"
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { Buffer } from "node:buffer"
import * as Frame from "../src/internal/frame.ts"
import { type Frame as Parsed, makeParser, opcode } from "./support/frames.ts"

const parse = (...pieces: ReadonlyArray<Buffer>): ReadonlyArray<Parsed> => {
  const frames: Array<Parsed> = []
  const push = makeParser((frame) => frames.push(frame))
  pieces.forEach(push)
  return frames
}

/** What frames say, given that they are as a server's text frames have to be. */
const textsOf = (frames: ReadonlyArray<Parsed>): ReadonlyArray<string> =>
  frames.map(({ payload, ...head }) => {
    assert.deepStrictEqual(head, { fin: true, rsv: 0, opcode: opcode.text, isMasked: false })
    return payload.toString()
  })

/** The lengths around which the form of a frame changes. */
const edges = [0, 1, 124, 125, 126, 127, 255, 256, 65534, 65535, 65536, 65537, 200_000]

/** Texts that take one, two, three and four bytes a character. */
const characters = ["a", "é", "€", "😀"]

const Texts = Schema.Array(Schema.Struct({
  text: Schema.String,
  character: Schema.Literals(characters),
  times: Schema.Literals(edges),
  isShared: Schema.Boolean
}))

describe("frame", () => {
  it("writes frames of every form", () => {
    for (const length of edges) {
      for (const character of characters) {
        const text = character.repeat(Math.ceil(length / character.length))
        const bytes = Frame.encode(text)
        assert.deepStrictEqual(textsOf(parse(bytes)), [text])
        const size = new TextEncoder().encode(text).length
        assert.strictEqual(bytes.length, size + (size < 126 ? 2 : size < 65536 ? 4 : 10))
      }
    }
  })

  it("writes what is no character as the replacement character", () => {
    const texts = ["\ud800", "a\udc00b", "\ude00\ud83d", "ok"]
    assert.deepStrictEqual(textsOf(parse(Frame.encodeAll(texts))), ["\ufffd", "a\ufffdb", "\ufffd\ufffd", "ok"])
  })

  it("writes one message as it writes several", () => {
    const shared = Frame.encodeShared(new SharedFrame("to everybody"))
    assert.deepStrictEqual(textsOf(parse(Frame.encodeAll("for one"))), ["for one"])
    assert.strictEqual(Frame.encodeAll(shared), shared)
    assert.deepStrictEqual(Frame.encodeAll([shared, "for one"]), Buffer.concat([shared, Frame.encode("for one")]))
  })

  it("encodes a shared frame once", () => {
    const shared = new SharedFrame("to everybody €")
    const bytes = Frame.encodeShared(shared)
    assert.strictEqual(Frame.encodeShared(shared), bytes)
    assert.deepStrictEqual(textsOf(parse(bytes)), ["to everybody €"])
  })

  it.prop("writes messages that are read as what they were, one after the other", [Texts], ([samples]) => {
    const texts = samples.map(({ character, text, times }) => text + character.repeat(Math.min(times, 70_000)))
    const messages = texts.map((text, i) => samples[i]!.isShared ? Frame.encodeShared(new SharedFrame(text)) : text)
    const expected = texts.map((text) => text.toWellFormed())
    const bytes = Frame.encodeAll(messages)
    assert.deepStrictEqual(textsOf(parse(bytes)), expected)
    const cut = Math.floor(bytes.length / 3)
    assert.deepStrictEqual(textsOf(parse(bytes.subarray(0, cut), bytes.subarray(cut))), expected)
    assert.deepStrictEqual(textsOf(parse(...texts.map(Frame.encode))), expected)
  }, { arbitrary: { runs: 100 } })
})
