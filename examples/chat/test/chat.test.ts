import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { gzipSync } from "node:zlib"
import type { Server } from "../../quickstart/test/support.ts"
import { enter, type Frame, handshake, knock, login, post, startServer } from "./support.ts"

let server: Server

beforeAll(async () => {
  server = await startServer()
}, 30_000)

afterAll(async () => {
  await server.stop()
})

let rooms = 0
/** One for each test: nobody hears what is said in another one. */
const newRoom = () => `room-${++rooms}`

const namesOf = (people: ReadonlyArray<{ readonly data: { readonly name: string } }>) =>
  people.map(({ data }) => data.name).sort()

const textsOf = (frames: ReadonlyArray<Frame>) =>
  frames.filter(({ type }) => type === "posted" || type === "announced").map(({ data }) => data.text)

const until = async (text: string, next: () => Promise<Frame>) => {
  while ((await next()).data.text !== text);
}

describe("a message", () => {
  it("reaches everybody in the room, whoever sent it included, and nobody in another one", async () => {
    const room = newRoom()
    const [alice, bob, elsewhere] = [
      await enter(server, "alice", { room }),
      await enter(server, "bob", { room }),
      await enter(server, "bob", { room: newRoom() })
    ]
    const reply = await alice.ask("post", { text: "hello" })
    assert.deepInclude(reply, { status: 200, errors: [] })
    for (const guest of [alice, bob]) {
      const posted = await guest.next("posted")
      assert.deepStrictEqual({ ...posted.data, at: "" }, { from: "alice", text: "hello", at: "" })
      assert.deepInclude(posted, { status: 200, group: "room", params: { room } })
      assert.isString(posted.id)
    }
    assert.deepStrictEqual(textsOf((await elsewhere.hear("me")).before), [])
  })

  it("that is empty or too long is refused", async () => {
    const alice = await enter(server, "alice", { room: newRoom() })
    for (const text of ["", "x".repeat(501)]) assert.strictEqual((await alice.ask("post", { text })).status, 400)
  })

  it("is throttled, on all connections of somebody together", async () => {
    const room = newRoom()
    const guests = [await enter(server, "erin", { room }), await enter(server, "erin", { room })]
    const replies: Array<Frame> = []
    while (replies.at(-1)?.status !== 429) {
      replies.push(await guests[replies.length % 2]!.ask("post", { text: "once more" }))
    }
    // A few more than ten pass where the machine is slow.
    assert.isAbove(replies.length, 10)
    assert.strictEqual(replies.at(-1)?.errors?.[0]?.code, "throttled")
  })
})

describe("presence", () => {
  it("tells who is there, who comes, and who goes", async () => {
    const room = newRoom()
    const alice = await enter(server, "alice", { room })
    assert.deepStrictEqual(namesOf((await alice.next("$joined")).data.present), ["alice"])
    const carol = await enter(server, "carol", { room })
    const { data } = await carol.next("$joined")
    assert.deepStrictEqual(namesOf(data.present), ["alice", "carol"])
    assert.deepInclude(data.present.map((one: Frame) => one.data), { name: "carol", isModerator: true })
    assert.deepStrictEqual(namesOf((await alice.next("$presence")).data.joined), ["carol"])
    carol.close()
    assert.deepStrictEqual(namesOf((await alice.next("$presence")).data.left), ["carol"])
  })
})

describe("typing", () => {
  it("is told to the others, and not kept", async () => {
    const room = newRoom()
    const [alice, bob] = [await enter(server, "alice", { room }), await enter(server, "bob", { room })]
    const { id } = (await bob.next("$joined")).data
    alice.tell("typing")
    // It has no position.
    assert.deepStrictEqual(await bob.next("typing"), { type: "typing", data: { from: "alice" }, status: 200 })
    // It is neither answered nor heard by whoever types.
    assert.isFalse(
      (await alice.hear("me")).before.some(({ request_id, type }) => type === "typing" || request_id === 1)
    )
    const again = await enter(server, "bob", { room, after: id })
    assert.deepStrictEqual((await again.until("$caught_up")).map(({ type }) => type), ["$joined", "$caught_up"])
  })
})

describe("whoever is muted", () => {
  it("is not heard any more on any connection of whoever muted them, neither typing nor when missed, until unmuted", async () => {
    const room = newRoom()
    const [alice, bob, dave, desk, phone] = [
      await enter(server, "alice", { room }),
      await enter(server, "bob", { room }),
      await enter(server, "dave", { room }),
      await enter(server, "frank", { room }),
      await enter(server, "frank", { room })
    ]
    const start = (await phone.next("$joined")).data.id
    assert.deepStrictEqual((await desk.ask("mute", { name: "alice" })).data.muted, ["alice"])
    alice.tell("typing")
    await alice.ask("post", { text: "first" })
    await bob.ask("post", { text: "second" })
    for (const guest of [desk, phone]) {
      assert.deepStrictEqual(textsOf((await guest.hear("me")).before), ["second"])
    }
    await until("second", () => dave.next("posted"))

    const later = await enter(server, "frank", { room, after: start })
    assert.deepStrictEqual(textsOf(await later.until("$caught_up")), ["second"])

    assert.deepStrictEqual((await phone.ask("unmute", { name: "alice" })).data.muted, [])
    await alice.ask("post", { text: "third" })
    assert.strictEqual((await desk.next("posted")).data.text, "third")
    // What was missed is decided by what holds now.
    const last = await enter(server, "frank", { room, after: start })
    assert.deepStrictEqual(textsOf(await last.until("$caught_up")), ["first", "second", "third"])
  })
})

describe("a ban", () => {
  it("has somebody leave at once, hear nothing more, and not come back until it is lifted", async () => {
    const room = newRoom()
    const [alice, mallory, carol] = [
      await enter(server, "alice", { room }),
      await enter(server, "mallory", { room }),
      await enter(server, "carol", { room })
    ]
    await alice.hear("me")
    assert.strictEqual((await carol.ask("ban", { name: "mallory" })).status, 200)
    const left = await mallory.next("$left")
    assert.deepStrictEqual([left.status, left.data.errors], [403, [{
      code: "banned",
      detail: "You are banned from this room"
    }]])
    assert.deepStrictEqual(namesOf((await alice.next("$presence")).data.left), ["mallory"])

    await alice.ask("post", { text: "at last" })
    const { before, reply } = await mallory.hear("post", { text: "still here" })
    assert.deepStrictEqual([reply.status, reply.errors?.[0]?.code], [403, "not_in_group"])
    assert.deepStrictEqual(before, [])
    assert.deepStrictEqual(textsOf((await alice.hear("me")).before), ["at last"])

    assert.strictEqual(await knock(server, "mallory", room), 403)
    assert.strictEqual(await knock(server, "mallory", newRoom()), 101)
    assert.strictEqual((await carol.ask("unban", { name: "mallory" })).status, 200)
    assert.strictEqual(await knock(server, "mallory", room), 101)
  })

  it("is for moderators, and not of moderators", async () => {
    const room = newRoom()
    const [alice, carol] = [await enter(server, "alice", { room }), await enter(server, "carol", { room })]
    assert.strictEqual((await alice.ask("ban", { name: "bob" })).errors?.[0]?.code, "moderators_only")
    assert.strictEqual((await alice.ask("unban", { name: "bob" })).errors?.[0]?.code, "moderators_only")
    assert.strictEqual((await carol.ask("ban", { name: "carol" })).errors?.[0]?.code, "moderator")
  })
})

describe("an announcement", () => {
  const announce = async (room: string, name: string, text = "Tea is ready") =>
    post(server, `/rooms/${room}/announcements`, { text }, await login(server, name))

  it("is sent over HTTP, and heard in the room", async () => {
    const room = newRoom()
    const alice = await enter(server, "alice", { room })
    assert.strictEqual((await announce(room, "carol")).status, 200)
    assert.deepInclude((await alice.next("announced")).data, { from: "carol", text: "Tea is ready" })
  })

  it("is for moderators who have signed in", async () => {
    const room = newRoom()
    assert.strictEqual((await announce(room, "alice")).status, 403)
    assert.strictEqual((await post(server, `/rooms/${room}/announcements`, { text: "x" })).status, 401)
    assert.strictEqual((await post(server, `/rooms/${room}/announcements`, { text: "x" }, "made up")).status, 401)
    assert.strictEqual((await announce("No Such Room", "carol")).status, 400)
    assert.strictEqual((await announce(room, "carol", "")).status, 400)
  })
})

describe("whoever comes back", () => {
  it("gets what they have missed, in order, and then what follows", async () => {
    const room = newRoom()
    const [alice, bob] = [await enter(server, "alice", { room }), await enter(server, "bob", { room })]
    await alice.ask("post", { text: "one" })
    const { id } = await bob.next("posted")
    bob.close()
    await bob.closed
    await alice.ask("post", { text: "two" })
    await post(server, `/rooms/${room}/announcements`, { text: "three" }, await login(server, "carol"))

    const again = await enter(server, "bob", { room, after: id! })
    await alice.ask("post", { text: "four" })
    const [joined, ...missed] = await again.until("$caught_up")
    assert.deepInclude(joined!.data, { group: "room", params: { room }, state: "resumed", id })
    assert.deepStrictEqual(textsOf(missed), ["two", "three"])
    assert.deepStrictEqual(missed.at(-1), {
      type: "$caught_up",
      data: { group: "room", params: { room }, id: missed.at(-2)!.id },
      status: 200
    })
    assert.strictEqual((await again.next("posted")).data.text, "four")
  })

  it("has missed nothing where nothing was said", async () => {
    const room = newRoom()
    const { id } = (await (await enter(server, "alice", { room })).next("$joined")).data
    const again = await enter(server, "alice", { room, after: id })
    const [joined, ...missed] = await again.until("$caught_up")
    assert.strictEqual(joined!.data.state, "resumed")
    assert.deepStrictEqual(missed.map(({ data }) => data.id), [id])
  })

  it("is told that there is a gap after a restart, which has forgotten everything", async () => {
    const alice = await enter(server, "alice", { room: "lobby" })
    await alice.ask("post", { text: "before" })
    const { id } = await alice.next("posted")
    await server.stop()
    assert.strictEqual(await alice.closed, 1012)
    server = await startServer()
    const again = await enter(server, "alice", { room: "lobby", after: id! })
    const { data } = await again.next("$joined")
    assert.strictEqual(data.state, "gap")
    assert.notStrictEqual(data.id, id)
    assert.deepStrictEqual(textsOf((await again.hear("me")).before), [])
  })
})

describe("whoever is new", () => {
  it("gets all that the room keeps, if they ask for it", async () => {
    const room = newRoom()
    const alice = await enter(server, "alice", { room, after: "" })
    assert.deepStrictEqual((await alice.until("$caught_up")).map(({ type }) => type), ["$joined", "$caught_up"])
    for (const text of ["one", "two"]) await alice.ask("post", { text })

    const bob = await enter(server, "bob", { room, after: "" })
    const [joined, ...kept] = await bob.until("$caught_up")
    assert.deepInclude(joined!.data, { state: "fresh", id: "" })
    assert.deepStrictEqual(textsOf(kept), ["one", "two"])

    const dave = await enter(server, "dave", { room })
    assert.strictEqual((await dave.next("$joined")).data.state, "fresh")
    assert.deepStrictEqual((await dave.hear("me")).before, [])
  })
})

describe("a handshake", () => {
  it("is for who has signed in, for rooms that can be", async () => {
    assert.strictEqual(await handshake(server, "/ws/rooms/lobby/"), 403)
    assert.strictEqual(await handshake(server, "/ws/rooms/lobby/", { Authorization: "Bearer made-up" }), 401)
    assert.strictEqual(await knock(server, "alice", "No%20Room"), 404)
    assert.strictEqual((await post(server, "/login", { name: "<b>" })).status, 400)
  })
})

describe("the page", () => {
  const get = (path: string) => fetch(`http://localhost:${server.port}${path}`)

  it("is all served, without anything from elsewhere, under a policy", async () => {
    for (const path of ["/", "/style.css", "/chat.js"]) {
      const response = await get(path)
      assert.strictEqual(response.status, 200, path)
      assert.strictEqual(
        response.headers.get("content-security-policy"),
        "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
      )
      assert.notMatch(await response.text(), /https?:\/\//)
    }
  })

  it("has a program of its own, made of TypeScript, the contract and the client", async () => {
    const response = await get("/chat.js")
    assert.include(response.headers.get("content-type") ?? "", "text/javascript")
    const script = await response.text()
    assert.include(script, "/ws/rooms/:room/")
    // Nothing of what only the server has to do with it, and nothing that is still to be loaded.
    for (const service of ["chat/People", "chat/Tokens"]) assert.notInclude(script, service)
    assert.notMatch(script, /(?:^|[;}])import\b/)
    assert.isBelow(gzipSync(script).length, 70_000)
    assert.strictEqual((await get("/chat.ts")).status, 404)
  })
})
