/**
 * Cases: how connections are made, lost, refused, and made again.
 */
import { ChannelError, type Client, ClientError } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { equal, fails, isFailure, isTrue, listen } from "./check.ts"
import { type BoardClient, Room } from "./contract.ts"
import { lose } from "./events.ts"
import type { Case } from "./suite.ts"

const { ConnectionLost, ConnectionRefused } = ClientError

const tagOf = ({ _tag }: Client.Status) => _tag

/** Tokens, one for each time that they are asked for; the last one again and again. */
const tokens = (...all: ReadonlyArray<string>) => {
  let asked = 0
  return {
    asked: () => asked,
    credentials: Effect.sync(() => ({ token: all[Math.min(asked++, all.length - 1)]! }))
  }
}

const atOnce = { reconnect: { min: 0 } }

/** The client is not let in: it says why to all that ask, and does not try again. */
const isRefused = Effect.fnUntraced(function*(board: BoardClient, status: number, code: string, message: string) {
  const refused = { status, code, message }
  const posted = yield* listen(board.events("posted"))
  const heard = yield* listen(board.heard)
  const presence = yield* listen(board.presence(Room))
  yield* fails(board.nothing(), ConnectionRefused, refused)
  isFailure(yield* Effect.flip(posted.next), ConnectionRefused, refused)
  isFailure(yield* Effect.flip(Effect.forever(heard.next)), ConnectionRefused, refused)
  isFailure(yield* Effect.flip(Effect.forever(presence.next)), ConnectionRefused, refused)
  const now = yield* board.status
  isTrue(now._tag === "Refused", `${now._tag} is Refused`)
  isFailure(now.error, ConnectionRefused, refused)
  // Whoever comes later is told as well.
  yield* fails(board.nothing(), ConnectionRefused, refused)
  yield* fails(Stream.runDrain(board.count({ to: 1 })), ConnectionRefused, refused)
  yield* fails(Stream.runDrain(board.events("posted")), ConnectionRefused, refused)
  yield* fails(Stream.runDrain(board.heard), ConnectionRefused, refused)
  yield* fails(Stream.runDrain(board.presence(Room)), ConnectionRefused, refused)
})

export const connections: ReadonlyArray<Case> = [
  {
    name: "connects when it is first used, or told to",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      equal(yield* board.status, { _tag: "Idle" })
      const statuses = yield* listen(board.statuses)
      yield* board.nothing()
      const now = yield* board.status
      equal(now, { _tag: "Connected", subprotocol: make.codec.subprotocol })
      const seen = yield* statuses.until(({ _tag }) => _tag === "Connected")
      equal(seen, [{ _tag: "Idle" }, { _tag: "Connecting", attempt: 1 }, now])
      const other = yield* make.client()
      yield* other.connect
      yield* other.connect
      equal((yield* other.status)._tag, "Connected")
      const listening = yield* make.client()
      const heard = yield* listen(listening.heard)
      equal(yield* heard.next, { _tag: "Connected", isAgain: false })
    })
  },
  {
    name: "connects at once where it is eager",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client({ connect: "eager" })
      const statuses = yield* listen(board.statuses)
      yield* statuses.until(({ _tag }) => _tag === "Connected")
    })
  },
  {
    name: "connects again by itself, and says how it stands all the way",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client(atOnce)
      const statuses = yield* listen(board.statuses)
      yield* board.connect
      yield* board.kick({ code: 4000, reason: "kicked" })
      yield* statuses.until(({ _tag }) => _tag === "Connected")
      const seen = yield* statuses.until(({ _tag }) => _tag === "Connected")
      equal(seen.map(tagOf), ["Waiting", "Connecting", "Connected"])
      isTrue(
        seen[0]?._tag === "Waiting" && seen[0].reason.includes("4000") && seen[0].reason.includes("kicked"),
        "it says what became of the connection"
      )
      equal(yield* board.where(), make.room)
    })
  },
  {
    name: "fails what is in flight when the connection is lost, as it may have taken effect, and works again",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const hanging = yield* Effect.forEach([1, 2], () => Effect.forkChild(board.hang(), { startImmediately: true }))
      yield* board.whenRunning({ count: 2 })
      yield* lose(board)
      for (const fiber of hanging) yield* fails(Fiber.join(fiber), ConnectionLost, { isSent: true })
      yield* fails(board.nothing(), ConnectionLost, { isSent: false })
      yield* board.connect
      equal(yield* board.where(), make.room)
      yield* board.whenCancelled({ count: 2 })
    })
  },
  {
    name: "sends again, on the next connection, what may be sent again",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const other = yield* make.client()
      yield* board.connect
      const waiting = yield* Effect.forkChild(board.whenRunning({ count: 1 }), { startImmediately: true })
      yield* lose(board)
      yield* board.connect
      const hanging = yield* Effect.forkChild(other.hang(), { startImmediately: true })
      equal(yield* Fiber.join(waiting), undefined)
      yield* Fiber.interrupt(hanging)
    })
  },
  {
    name: "connects at once when it is told to, as soon as it hears that the connection is lost",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const heard = yield* listen(board.heard)
      yield* board.connect
      yield* board.kick({ code: 4000, reason: "" })
      yield* heard.until(({ _tag }) => _tag === "Disconnected")
      yield* board.connect
      equal(yield* board.where(), make.room)
    })
  },
  {
    name: "stays without a connection when it is told to disconnect, until it is told to connect",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client(atOnce)
      const heard = yield* listen(board.heard)
      const hanging = yield* Effect.forkChild(board.hang(), { startImmediately: true })
      yield* board.whenRunning({ count: 1 })
      yield* board.disconnect
      equal(yield* board.status, { _tag: "Idle" })
      yield* fails(Fiber.join(hanging), ConnectionLost, { isSent: true })
      equal((yield* heard.until(({ _tag }) => _tag === "Disconnected")).length > 0, true)
      yield* fails(board.nothing(), ConnectionLost, { isSent: false })
      yield* fails(Stream.runDrain(board.count({ to: 1 })), ConnectionLost, { isSent: false })
      equal(yield* board.status, { _tag: "Idle" })
      yield* board.disconnect
      yield* board.connect
      equal(yield* board.where(), make.room)
      yield* board.whenCancelled({ count: 1 })
    })
  },
  {
    name: "has as many calls wait for a connection as it is told to, in order",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client({ queue: 2 })
      yield* board.disconnect
      const first = yield* Effect.forkChild(board.mutter({ text: "a" }), { startImmediately: true })
      const second = yield* Effect.forkChild(board.muttered(), { startImmediately: true })
      yield* fails(board.mutter({ text: "c" }), ConnectionLost, { isSent: false })
      yield* board.connect
      yield* Fiber.join(first)
      equal(yield* Fiber.join(second), ["a"])
      equal(yield* board.muttered(), ["a"])
    })
  },
  {
    name: "asks for credentials at each attempt",
    run: Effect.fnUntraced(function*(make) {
      const { asked, credentials } = tokens("alice", "bob")
      const board = yield* make.client({ credentials })
      equal(asked(), 0)
      equal(yield* board.whoami(), "alice")
      yield* lose(board)
      yield* board.connect
      equal(yield* board.whoami(), "bob")
      equal(asked(), 2)
    })
  },
  {
    name: "presents credentials in the query, and as a subprotocol with any characters",
    run: Effect.fnUntraced(function*(make) {
      const token = "ä b,\"=/+&?"
      const inQuery = yield* make.client({ credentials: Effect.succeed({ token, in: { query: "token" } }) })
      equal(yield* inQuery.whoami(), token)
      const inProtocol = yield* make.client({ credentials: Effect.succeed({ token }) })
      equal(yield* inProtocol.whoami(), token)
    })
  },
  {
    name: "tries again with newer credentials where the first ones do not hold",
    run: Effect.fnUntraced(function*(make) {
      const { asked, credentials } = tokens("invalid", "alice")
      const board = yield* make.client({ credentials, ...atOnce })
      yield* board.connect
      equal(yield* board.whoami(), "alice")
      equal(asked(), 2)
    })
  },
  {
    name: "gives up where credentials do not hold twice: 401",
    run: Effect.fnUntraced(function*(make) {
      const { asked, credentials } = tokens("invalid")
      const board = yield* make.client({ credentials, ...atOnce, queue: 100 })
      yield* isRefused(board, 401, "authentication_failed", "No such token")
      equal(asked(), 2)
    })
  },
  {
    name: "gives up where there are no credentials to be had",
    run: Effect.fnUntraced(function*(make) {
      const none = new ChannelError.InvalidCredentials({ message: "Signed out" })
      const board = yield* make.client({ credentials: Effect.fail(none) })
      yield* isRefused(board, 401, "authentication_failed", "Signed out")
    })
  },
  {
    name: "gives up where it may not connect, says why, and tries anew when it is told to: 403",
    run: Effect.fnUntraced(function*(make) {
      const keeper = yield* make.client({ params: { room: `${make.room} elsewhere` } })
      const visitor = yield* make.client()
      yield* visitor.close({ what: "room" })
      const statuses = yield* listen(visitor.statuses)
      yield* statuses.until(({ _tag }) => _tag === "Refused")
      const board = yield* make.client()
      yield* isRefused(board, 403, "closed", "The room is closed")
      yield* fails(board.connect, ConnectionRefused, { status: 403 })
      yield* keeper.reopen({ room: make.room, what: "room" })
      yield* board.connect
      equal(yield* board.where(), make.room)
      const posted = yield* listen(board.events("posted"))
      yield* board.post({ text: "a" })
      equal((yield* posted.next).text, "a")
    })
  },
  {
    name: "gives up where nothing is there: 404",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client({ params: { room: `no-${make.room}` } })
      yield* isRefused(board, 404, "not_found", "No such room")
      yield* board.disconnect
      equal(yield* board.status, { _tag: "Idle" })
    })
  },
  {
    name: "gives up when it may not be connected any more: 4403",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client(atOnce)
      const posted = yield* listen(board.events("posted"))
      const hanging = yield* Effect.forkChild(board.hang(), { startImmediately: true })
      yield* board.whenRunning({ count: 1 })
      yield* board.close({ what: "room" })
      const refused = { status: 403, code: "permission_lost", message: "The room is closed" }
      isFailure(yield* Effect.flip(posted.next), ConnectionRefused, refused)
      const lost = yield* Effect.flip(Fiber.join(hanging))
      isTrue(
        ["ConnectionLost", "PermissionLost", "ConnectionRefused"].includes(lost._tag),
        `${lost._tag} is what becomes of a call then`
      )
      yield* fails(board.nothing(), ConnectionRefused, refused)
      yield* fails(board.connect, ConnectionRefused, { status: 403, code: "closed" })
    })
  }
]
