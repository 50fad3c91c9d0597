import { ChannelLayer } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import { Histories } from "../src/internal/history.ts"

const bounds = { count: 3, age: 1000 }

const message = (data: number) => new ChannelLayer.Message({ type: "said", data: String(data), status: 200 })

describe("the histories in memory", () => {
  it("keep no more than twice what they have to", () => {
    const histories = new Histories("seed", () => true)
    for (let i = 1; i <= 10_000; i++) {
      histories.append("room", message(i), bounds, 0)
      assert.isBelow(histories.kept, 2 * bounds.count)
    }
    assert.deepStrictEqual(histories.resume("room", "", bounds, 0).missed.map(({ data }) => data), [
      "9998",
      "9999",
      "10000"
    ])
  })

  it("are forgotten when nobody has used them for as long as they keep their events, and nobody is in the group", () => {
    const inUse = new Set(["room 1"])
    const histories = new Histories("seed", (key) => inUse.has(key))
    for (let i = 0; i < 100; i++) histories.append(`room ${i}`, message(i), bounds, 0)
    const use = (now: number) => {
      for (let i = 0; i < 200; i++) histories.resume("room 0", undefined, bounds, now)
    }
    use(1000)
    assert.strictEqual(histories.size, 100)
    use(1001)
    assert.strictEqual(histories.size, 2)
    inUse.clear()
    use(1001)
    assert.strictEqual(histories.size, 1)
  })

  it("begin another numbering when they were forgotten", () => {
    const histories = new Histories("seed", () => false)
    const { id } = histories.append("room", message(1), bounds, 0)
    for (let i = 0; i < 10; i++) histories.append("other", message(i), bounds, 1001)
    assert.strictEqual(histories.resume("room", id, bounds, 1001).state, "gap")
  })

  it("cost nothing when everybody has left before there was an event, and lose nothing by that", () => {
    const histories = new Histories("seed", () => false)
    const { position } = histories.resume("room", undefined, bounds, 0)
    histories.leave("room")
    assert.strictEqual(histories.size, 0)
    histories.append("room", message(1), bounds, 0)
    const { missed, state } = histories.resume("room", position, bounds, 0)
    assert.deepStrictEqual([state, missed.map(({ data }) => data)], ["resumed", ["1"]])
    histories.leave("room")
    assert.strictEqual(histories.size, 1)
  })
})
