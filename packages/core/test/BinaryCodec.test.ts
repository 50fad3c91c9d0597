import { BinaryCodec, Codec } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { binary } from "../src/internal/binary-wire.ts"
import * as Compact from "../src/internal/compact.ts"
import type * as Envelope from "../src/internal/envelope.ts"

const valueOf = (bytes: Uint8Array): unknown => {
  const read = Compact.read(bytes)
  assert.isTrue(read.isWhole)
  return read.value
}

/** What JSON makes of a value. */
const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value) ?? "null")

const sameAsJson = (value: unknown): void => assert.deepStrictEqual(valueOf(Compact.write(value)), throughJson(value))

const request: Codec.Request = {
  action: "post",
  route: "",
  requestId: 1,
  idempotencyKey: undefined,
  data: { text: "hi" },
  fields: undefined
}

const written = (parts: Partial<Codec.Request> = {}): Uint8Array<ArrayBuffer> =>
  BinaryCodec.codec.write({ ...request, ...parts }) as Uint8Array<ArrayBuffer>

describe("values", () => {
  it.prop("are what JSON makes of them", [Schema.Json], ([value]) => sameAsJson(value), { arbitrary: { runs: 500 } })

  it.prop("numbers", [Schema.Array(Schema.Number)], ([values]) => sameAsJson(values), { arbitrary: { runs: 500 } })

  it.prop("texts", [Schema.Array(Schema.String), Schema.Array(Schema.Uint8Array)], ([texts, units]) => {
    // Among these there are halves of pairs.
    const others = units.map((bytes) => String.fromCharCode(...Array.from(bytes, (byte) => byte * 257)))
    sameAsJson([...texts, ...others, ...texts.map((text) => text.repeat(30))])
  }, { arbitrary: { runs: 500 } })

  it.prop("instants", [Schema.Array(Schema.Date)], ([dates]) => sameAsJson(dates), { arbitrary: { runs: 500 } })

  it.each<[string, unknown]>([
    ["what JSON does not know", [undefined, () => 1, Symbol("a"), NaN, -Infinity, -0]],
    ["keys without a value", { a: undefined, b: () => 1, c: Symbol("c"), d: 1, e: [undefined] }],
    ["nothing at all", undefined],
    ["what says itself what it is", {
      at: new Date(5),
      own: { toJSON: () => ({ a: [1] }) }
    }],
    ["a prototype", JSON.parse("{\"__proto__\":{\"a\":1},\"b\":[{\"__proto__\":2}]}")],
    ["keys of all kinds", { "": 1, ü: 2, "\u0000": 3, ["x".repeat(100)]: 4, "\u{1f600}": 5, action: 6, "0": 7 }],
    ["whole numbers", [0, 63, 64, 127, 128, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e21, -1, -64, -(2 ** 53) + 1]],
    ["decimal numbers", [0.1, -0.25, 3.25159, 1e-7, 123456.789, 1 / 3, 5e-324, 1.7976931348623157e308, 0.1 + 0.2]],
    [
      "texts of all lengths",
      Array.from({ length: 300 }, (_, i) => "abcdefgh".repeat(40).slice(0, i) + (i % 3 ? "" : "ü"))
    ],
    ["halves of pairs", ["\ud800", "a\udc00b", "\udc00\ud800".repeat(50), "😀", "😀".repeat(40)]],
    ["Base64, and what looks like it", [
      "QUJD".repeat(20),
      "QUJD".repeat(20).slice(0, -1) + "=",
      "QUJD".repeat(20).slice(0, -2) + "==",
      "QUJD".repeat(20).slice(0, -3) + "F==",
      "QUJD".repeat(20) + "=".repeat(4),
      "a".repeat(32),
      "-_-_".repeat(20)
    ]],
    ["instants, and what looks like them", [
      "2030-01-01T00:00:00.000Z",
      "2024-02-29T23:59:59.999Z",
      "2023-02-29T00:00:00.000Z",
      "2000-02-29T00:00:00.000Z",
      "1900-02-29T00:00:00.000Z",
      "2030-13-01T00:00:00.000Z",
      "2030-00-01T00:00:00.000Z",
      "2030-04-31T00:00:00.000Z",
      "2030-01-01T24:00:00.000Z",
      "2030-01-01T00:60:00.000Z",
      "2030-01-01T00:00:60.000Z",
      "1970-01-01T00:00:00.000Z",
      "1969-12-31T23:59:59.999Z",
      "9999-12-31T23:59:59.999Z",
      "2030-01-01 00:00:00.000Z",
      "2030-01-01T00:00:00.0000",
      "2030-01-01T00:00:00.0a0Z"
    ]],
    ["UUIDs, and what looks like them", [
      "01234567-89ab-cdef-0123-456789abcdef",
      "01234567-89AB-cdef-0123-456789abcdef",
      "0123456789-ab-cdef-0123-456789abcdef"
    ]],
    [
      "more shapes than are looked for",
      Array.from({ length: 200 }, (_, i) => [{ [`key${i}`]: i }, { [`key${i % 100}`]: i }])
    ],
    ["large arrays and objects", [
      Array.from({ length: 5000 }, (_, i) => i),
      Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`k${i}`, i]))
    ]]
  ])("%s", (_, value) => sameAsJson(value))

  it("does not write what JSON does not write either", () => {
    const cyclic: Record<string, unknown> = {}
    cyclic["self"] = cyclic
    assert.throws(() => Compact.write(cyclic))
    assert.throws(() => Compact.write({ n: 1n }), TypeError)
    sameAsJson({ after: "that" })
  })

  it("writes while it writes", () => {
    const inner = Compact.write([1, 2, 3])
    const value = { a: "x".repeat(200), b: { toJSON: () => Array.from(Compact.write([1, 2, 3])) }, c: "y".repeat(200) }
    assert.deepStrictEqual(valueOf(Compact.write(value)), { ...value, b: Array.from(inner) })
  })

  it("gives bytes that nobody writes to", () => {
    const first = Compact.write("first")
    Compact.write("second")
    assert.strictEqual(valueOf(first), "first")
    assert.strictEqual(first.buffer.byteLength, first.length)
  })

  it("says the keys of a list once", () => {
    const row = { identifier: 1, description: "a", quantity: 2 }
    const one = Compact.write([row]).length
    assert.strictEqual(Compact.write(Array.from({ length: 10 }, () => row)).length - one, 9 * (1 + 1 + 2 + 1))
  })

  it("takes texts of any length for what they are", () => {
    const length = 30_000_000
    for (const text of ["QUJD".repeat(length / 4), "QUJD".repeat(length / 4 - 1) + "QU!D"]) {
      assert.isTrue(valueOf(Compact.write(text)) === text)
    }
  })

  it("sends bytes as bytes", () => {
    const bytes = new Uint8Array(3000).map((_, i) => i * 7)
    const encoded = Schema.encodeSync(Schema.toCodecJson(Schema.Uint8Array))(bytes)
    assert.isBelow(Compact.write(encoded).length, 3010)
  })
})

describe("the bytes of", () => {
  const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ")

  // Others read them as well: they stay what they are.
  it.each<[unknown, string]>([
    [{ action: "post", data: { text: "hi" }, request_id: 1 }, "70 44 70 6f 73 74 8d 01 08 74 65 78 74 42 68 69 01"],
    [{ action: "a", route: "b/", data: 1, request_id: "x" }, "71 41 61 42 62 2f 01 41 78"],
    [{ data: { id: 7 }, request_id: 1 }, "72 8d 01 11 07 01"],
    [{ data: { id: 7 }, status: 201, request_id: 1 }, "73 8d 01 11 07 83 c9 01 01"],
    [{ errors: [{ detail: "no", code: "x" }], status: 403, request_id: 1 }, "74 61 77 42 6e 6f 41 78 83 93 03 01"],
    [{ type: "said", data: null }, "75 44 73 61 69 64 80"],
    [{ type: "t", data: 1, id: "2-0", group: "g", params: {} }, "76 41 74 01 43 32 2d 30 41 67 8d 00"],
    [[{ a: 1, ü: 2 }, { a: 3, ü: 4 }], "62 8d 02 02 61 04 c3 bc 01 02 78 03 04"],
    [{ ["\ud800"]: "\udc00" }, "8d 01 ff 01 01 00 d8 88 01 00 dc"],
    [[null, false, true, 63, 64, -1, -300], "67 80 81 82 3f 83 40 84 00 84 ab 02"],
    [[0.5, -1.25, 1 / 3], "63 86 01 0a 86 02 fb 01 85 55 55 55 55 55 55 d5 3f"],
    ["x ".repeat(20), `87 28 ${new Array(20).fill("78 20").join(" ")}`],
    ["AQID".repeat(8), `89 18 ${new Array(8).fill("01 02 03").join(" ")}`],
    ["2030-01-01T00:00:00.000Z", "8a 80 e8 96 d6 8d 37"],
    ["01234567-89ab-cdef-0123-456789abcdef", "8b 01 23 45 67 89 ab cd ef 01 23 45 67 89 ab cd ef"],
    [new Array(16).fill(1), `8c 10 ${new Array(16).fill("01").join(" ")}`],
    [
      Object.fromEntries(["state", "object", "key", "token", "identity", "expires_at"].map((key) => [key, 0])),
      "8d 06 2d 2f 31 33 35 37 00 00 00 00 00 00"
    ]
  ])("%j", (value, bytes) => {
    assert.strictEqual(hex(Compact.write(value)), bytes)
    sameAsJson(value)
  })
})

// ---- schemas

class Note
  extends Schema.Class<Note>("test/Note")({ id: Schema.Int, at: Schema.Date, tags: Schema.Array(Schema.String) })
{}

interface Tree {
  readonly name: string
  readonly children: ReadonlyArray<Tree>
}
const Tree: Schema.Codec<Tree> = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
})

class Prefix extends Context.Service<Prefix, string>()("test/Prefix") {}

/** Takes its time, and asks a service. */
const Prefixed = Schema.String.pipe(Schema.decodeTo(Schema.String, {
  decode: SchemaGetter.transformEffect((text: string) =>
    Effect.map(Effect.andThen(Effect.yieldNow, Prefix), (prefix) => text.slice(prefix.length))
  ),
  encode: SchemaGetter.transformEffect((text: string) =>
    Effect.map(Effect.andThen(Effect.yieldNow, Prefix), (prefix) => prefix + text)
  )
}))

const schemas: Readonly<Record<string, Schema.Constraint>> = {
  "a message": Schema.Struct({
    id: Schema.Int,
    text: Schema.String,
    at: Schema.Date,
    to: Schema.NullOr(Schema.String)
  }),
  "numbers": Schema.Struct({ any: Schema.Number, big: Schema.BigInt, text: Schema.NumberFromString }),
  "bytes": Schema.Struct({ bytes: Schema.Uint8Array, list: Schema.Array(Schema.Uint8Array) }),
  "a class": Schema.Array(Note),
  "a union": Schema.Array(Schema.Union([
    Schema.TaggedStruct("A", { a: Schema.Int }),
    Schema.TaggedStruct("B", { b: Schema.Option(Schema.Date) }),
    Schema.String,
    Schema.Boolean
  ])),
  // `SchemaBinary` cannot tell these apart.
  "a union without tags": Schema.Array(
    Schema.Union([Schema.Struct({ a: Schema.Int }), Schema.Struct({ b: Schema.String })])
  ),
  "options": Schema.Struct({
    key: Schema.optionalKey(Schema.Int),
    either: Schema.optional(Schema.String),
    option: Schema.Option(Schema.NumberFromString),
    null: Schema.NullishOr(Schema.Int)
  }),
  "records": Schema.Record(Schema.String, Schema.Struct({ n: Schema.Int })),
  "a recursive one": Tree,
  "nothings": Schema.Struct({ nulls: Schema.Array(Schema.Null), undefineds: Schema.Array(Schema.Undefined) }),
  "tuples": Schema.Tuple([Schema.Int, Schema.String, Schema.optionalKey(Schema.Date)]),
  "JSON": Schema.Struct({ json: Schema.Json, unknown: Schema.Unknown }),
  "one with a service": Schema.Struct({ prefixed: Prefixed })
}

describe("parts", () => {
  for (const [name, schema] of Object.entries(schemas)) {
    const part = BinaryCodec.codec.part(schema)
    const encodeWith = (codec: Schema.Constraint, value: unknown) =>
      Schema.encodeUnknownEffect(codec)(value) as Effect.Effect<unknown>
    const decodeWith = (codec: Schema.Constraint, value: unknown) =>
      Schema.decodeUnknownEffect(codec)(value) as Effect.Effect<unknown>

    it.effect.prop(
      `${name}: what arrives is what JSON gives`,
      [schema as Schema.Codec<unknown>],
      ([value]) =>
        Effect.gen(function*() {
          const sent = written({ data: yield* encodeWith(part, value) })
          const { body } = binary.read(sent) as Envelope.Envelope
          const json = throughJson(yield* encodeWith(Codec.json.part(schema), value))
          assert.deepStrictEqual(
            yield* decodeWith(part, body["data"]),
            yield* decodeWith(Codec.json.part(schema), json)
          )
          const answer = binary.reply({ action: "post", route: "", requestId: 1 }, 200, body["data"]) as Uint8Array<
            ArrayBuffer
          >
          const reply = BinaryCodec.codec.read(answer) as Codec.Reply
          assert.deepStrictEqual(reply.data, json)
        }).pipe(Effect.provideService(Prefix, "prefix ")),
      { arbitrary: { runs: 50 } }
    )
  }

  it.effect("says of what does not fit the same as with JSON", () =>
    Effect.gen(function*() {
      const schema = Schema.Struct({ text: Schema.NonEmptyString, n: Schema.Int.check(Schema.isGreaterThan(3)) })
      const issues = yield* Effect.forEach([BinaryCodec.codec, Codec.json], (codec) => {
        const frame = codec.write({ ...request, data: { text: "", n: 2 } })
        const data = typeof frame === "string"
          ? JSON.parse(frame).data
          : (binary.read(frame) as Envelope.Envelope).body["data"]
        return Effect.flip(Schema.decodeUnknownEffect(codec.part(schema) as typeof schema)(data, { errors: "all" }))
      })
      assert.strictEqual(issues[0]!.message, issues[1]!.message)
      assert.include(issues[0]!.message, "n")
    }))

  it("are read by a newer contract, and by an older one", () => {
    const Old = Schema.Struct({ id: Schema.Int, gone: Schema.String })
    const New = Schema.Struct({
      fresh: Schema.optionalKey(Schema.String),
      id: Schema.Int,
      gone: Schema.optionalKey(Schema.String)
    })
    const through = (from: Schema.Constraint, to: Schema.Constraint, value: unknown) => {
      const data = Schema.encodeUnknownSync(BinaryCodec.codec.part(from) as typeof New)(value)
      const { body } = binary.read(written({ data })) as Envelope.Envelope
      return Schema.decodeUnknownSync(BinaryCodec.codec.part(to) as typeof New)(body["data"])
    }
    assert.deepStrictEqual(through(Old, New, { id: 1, gone: "a" }), { id: 1, gone: "a" })
    assert.deepStrictEqual(through(New, Old, { fresh: "f", id: 1, gone: "a" }), { id: 1, gone: "a" })
  })
})

describe("frames", () => {
  it("carry a request", () => {
    const bodyOf = (parts: Partial<Codec.Request>) => (binary.read(written(parts)) as Envelope.Envelope).body
    assert.deepStrictEqual(bodyOf({}), { action: "post", data: { text: "hi" }, request_id: 1 })
    assert.deepStrictEqual(bodyOf({ route: "a/1/?q=ü", data: undefined }), {
      action: "post",
      route: "a/1/?q=ü",
      request_id: 1
    })
    assert.deepStrictEqual(
      bodyOf({ idempotencyKey: "key", fields: { a: 1, action: "never" }, requestId: undefined }),
      { a: 1, action: "post", data: { text: "hi" }, idempotency_key: "key" }
    )
    assert.deepStrictEqual(bodyOf({ action: "$cancel", data: { request_id: 7 } })["data"], { request_id: 7 })
  })

  it("carry replies and events", () => {
    const read = (frame: string | Uint8Array<ArrayBuffer>) => BinaryCodec.codec.read(frame)
    const echo = { action: "post", route: "", requestId: 7 }
    const reply = { _tag: "Reply", requestId: 7, status: 200, errors: [], data: null } as const
    assert.deepStrictEqual(read(binary.reply(echo, 200, null)), reply)
    assert.deepStrictEqual(read(binary.reply(echo, 200, undefined)), reply)
    assert.deepStrictEqual(read(binary.reply(echo, 201, { a: 1 })), { ...reply, status: 201, data: { a: 1 } })
    assert.deepStrictEqual(read(binary.reply({ ...echo, requestId: "x" }, 206, 1)), {
      ...reply,
      requestId: "x",
      status: 206,
      data: 1
    })
    const items = binary.replies(echo, 206)
    assert.deepStrictEqual(read(items.of({ a: [1] })), { ...reply, status: 206, data: { a: [1] } })
    assert.deepStrictEqual(items.ofJson("{\"a\":[1]}"), items.of({ a: [1] }))
    const refusal = read(binary.refusal(echo, 403, "[{\"detail\":\"no\",\"code\":\"denied\"}]"))
    assert.deepStrictEqual(refusal, { ...reply, status: 403, errors: [{ detail: "no", code: "denied" }] })
    const event = {
      _tag: "Event",
      type: "said",
      status: 200,
      data: 1,
      id: undefined,
      group: undefined,
      params: undefined
    } as const
    assert.deepStrictEqual(read(Compact.write({ type: "said", data: 1 })), event)
    assert.deepStrictEqual(
      read(Compact.write({ type: "said", data: 1, status: 201, id: "4-0", group: "room", params: { room: "a" } })),
      { ...event, status: 201, id: "4-0", group: "room", params: { room: "a" } }
    )
  })

  it("say again what a request without an id was about", () => {
    const frame = binary.reply({ action: "post", route: "a/", requestId: undefined }, 200, 1) as Uint8Array
    assert.deepStrictEqual(valueOf(frame), { data: 1, action: "post", route: "a/" })
  })

  it("are not read where they are something else", () => {
    assert.isUndefined(BinaryCodec.codec.read("{\"status\":200,\"errors\":[]}"))
    for (const value of [1, "text", null, [], { status: "200" }, { errors: 1 }]) {
      assert.isUndefined(BinaryCodec.codec.read(Compact.write(value)))
    }
    assert.isUndefined(BinaryCodec.codec.read(new Uint8Array()))
  })

  it("are small", () => {
    assert.isAtMost(written({ data: undefined, action: "ping" }).length, 12)
    assert.isAtMost((binary.reply({ action: "ping", route: "", requestId: 5 }, 200, null) as Uint8Array).length, 3)
  })
})

// ---- hostile bytes

const samples = [
  written(),
  written({ route: "notes/1/?a=b", fields: { a: [1, 2] }, idempotencyKey: "k" }),
  written({
    data: Array.from({ length: 20 }, (_, i) => ({ i, text: "ü".repeat(i), at: new Date(1e12 + i), f: i / 8 }))
  }),
  written({
    data: { uuid: "01234567-89ab-cdef-0123-456789abcdef", bytes: "QUJD".repeat(12), half: "\ud800".repeat(40) }
  })
]

describe("hostile bytes", () => {
  it("are refused wherever they are cut off, with what could be read of them", () => {
    for (const sample of samples) {
      for (let length = 0; length < sample.length; length++) {
        const read = binary.read(sample.subarray(0, length))
        assert.property(read, "problem")
        assert.include([null, "post"], read.action)
      }
      assert.property(binary.read(Uint8Array.from([...sample, 0])), "problem")
    }
    const cut = binary.read(written({ route: "a/", data: "x".repeat(100) }).subarray(0, 50))
    assert.deepStrictEqual([cut.action, cut.route, cut.requestId], ["post", "a/", undefined])
    const id = binary.read(Compact.write({ request_id: 9, action: "post", data: "x" }).subarray(0, -1))
    assert.deepStrictEqual([id.action, id.requestId], ["post", 9])
  })

  it.prop(
    "break nothing",
    [Schema.Array(Schema.Struct({ at: Schema.Number, byte: Schema.Number })), Schema.Uint8Array],
    (
      [changes, noise]
    ) => {
      for (const sample of samples) {
        const changed = Uint8Array.from(sample)
        for (const { at, byte } of changes) {
          changed[Math.floor(Math.abs(at || 0)) % changed.length] = Number(byte) ||
            255
        }
        for (const frame of [changed, noise, Uint8Array.from([...changed.subarray(0, 20), ...noise])]) {
          binary.read(frame)
          BinaryCodec.codec.read(Uint8Array.from(frame))
        }
      }
    },
    { arbitrary: { runs: 500 } }
  )

  it("break nothing, whichever byte is another one", () => {
    for (const sample of samples) {
      for (let at = 0; at < sample.length; at++) {
        for (let byte = 0; byte < 256; byte += at < 40 ? 1 : 37) {
          const changed = Uint8Array.from(sample)
          changed[at] = byte
          binary.read(changed)
        }
      }
    }
  })

  const endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]

  it.each<[string, ReadonlyArray<number>]>([
    ["a string", [0x87, ...endless]],
    ["a string of UTF-16", [0x88, ...endless]],
    ["Base64", [0x89, ...endless]],
    ["an array", [0x8c, ...endless]],
    ["a shape", [0x8d, ...endless]],
    ["a key", [0x8d, 1, ...endless]],
    ["the number of a shape", [0x8e, ...endless]],
    ["a number", [0x83, ...new Array(65_000).fill(0xff)]],
    ["an instant", [0x8a, ...endless]],
    ["decimals", [0x86, 200, 1]],
    ["a number that is none", [0x85, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f]],
    ["a key of the protocol's own that is not there", [0x8d, 1, 0xff, 0x01, 0]],
    ["what nothing begins with", [0xff]]
  ])("%s that has no end is refused", (_, bytes) => {
    const started = performance.now()
    assert.isFalse(Compact.read(Uint8Array.from(bytes)).isWhole)
    // In an array of what is there.
    assert.isFalse(Compact.read(Uint8Array.from([0x62, 1, ...bytes])).isWhole)
    assert.isBelow(performance.now() - started, 100)
  })

  it("is refused where it is too deep", () => {
    const nested = (depth: number) => Uint8Array.from([...new Array(depth).fill(0x61), 0])
    const requestOf = (data: Uint8Array) => Uint8Array.from([0x70, 0x41, 0x61, ...data, 1])
    assert.notProperty(binary.read(requestOf(nested(499))), "problem")
    for (const depth of [500, 60_000]) assert.property(binary.read(requestOf(nested(depth))), "problem")
    // Who reads replies goes as deep as it can.
    assert.isTrue(Compact.read(nested(1000)).isWhole)
    assert.isFalse(Compact.read(nested(1_000_000)).isWhole)
    assert.isUndefined(BinaryCodec.codec.read(nested(1_000_000)))
  })

  it("takes no more memory than there are bytes, however often keys are said again", () => {
    const key = "k".repeat(1000)
    const bomb = Compact.write({ action: "post", data: Array.from({ length: 30_000 }, () => ({ [key]: 0 })) })
    assert.isBelow(bomb.length, 64 * 1024)
    const read = binary.read(bomb)
    assert.property(read, "problem")
    assert.strictEqual(read.action, "post")
    // Keys as people choose them are no such thing.
    const rows = Array.from(
      { length: 1000 },
      () => ({ identifier: 1, description: 2, anotherQuantity: 3, isThere: true })
    )
    assert.notProperty(binary.read(written({ data: rows })), "problem")
  })
})

it("reads what an option says", () => {
  const schema = Schema.Option(Schema.Int)
  const data = Schema.encodeSync(BinaryCodec.codec.part(schema) as typeof schema)(Option.some(1))
  assert.deepStrictEqual(
    Schema.decodeUnknownSync(BinaryCodec.codec.part(schema) as typeof schema)(valueOf(Compact.write(data))),
    Option.some(1)
  )
})
