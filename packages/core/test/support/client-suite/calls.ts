/**
 * Cases: what is asked, and how it is answered.
 */
import { ChannelError, ClientError } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { equal, fails, isTrue } from "./check.ts"
import { BadLuck, Kept, NoLuck } from "./contract.ts"
import type { Case } from "./suite.ts"

const at = new Date(1_700_000_000_123)

const alice = Effect.succeed({ token: "alice" })

/** Text of more than 64 KiB, of which nothing is said twice. */
const long = Array.from({ length: 12_000 }, (_, i) => ((i * 2_654_435_761) % 2 ** 32).toString(36)).join("")

/** So many requests of a connection may be in flight, by default. */
const maxInFlight = 128

export const calls: ReadonlyArray<Case> = [
  {
    name: "takes payloads and gives successes: dates, classes, defaults",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const kept = yield* board.keep({ text: "a", at })
      equal(kept, new Kept({ text: "a", at, size: 3, by: null }))
      isTrue(kept instanceof Kept && kept.at instanceof Date, "it is an instance, and so is its date")
      equal(kept.label, "a/3")
      const full = { text: "Grüße, 世界 🙂\u2028", at, size: -5, note: "n" }
      equal(yield* board.keep(full), new Kept({ ...full, by: null }))
      const signed = yield* make.client({ credentials: alice })
      equal((yield* signed.keep({ text: "a", at })).by, "alice")
    })
  },
  {
    name: "lets a payload be left out that may be, and gives nothing where there is nothing",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      equal(yield* board.pick(), null)
      equal(yield* board.pick(undefined), null)
      equal(yield* board.pick({ n: 2 }), 2)
      equal(yield* board.nothing(), undefined)
    })
  },
  {
    name: "sends fields",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      equal(yield* board.page(undefined, { fields: { page: 2 } }), { page: 2, since: null })
      equal(yield* board.page(undefined, { fields: { page: 2, since: at } }), { page: 2, since: at })
    })
  },
  {
    name: "reaches routes by their typed and escaped parameters, nested ones too, with a query",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      equal(yield* board.at("pages/:page/", { page: 2 }).get(), { page: 2 })
      const awkward = "a/b?c=d&e#f%20 ü+\"'"
      const line = board.at("pages/:page/lines/:line/", { page: -3, line: awkward })
      equal(yield* line.get(), { page: -3, line: awkward, n: null, query: {} })
      equal(yield* line.get({ n: 1 }, { query: { q: "x y&z=ü", r: "1" } }), {
        page: -3,
        line: awkward,
        n: 1,
        query: { q: "x y&z=ü", r: "1" }
      })
      equal((yield* line.get(undefined, { query: "a=1&b=2&a=3" })).query, { a: ["1", "3"], b: "2" })
    })
  },
  {
    name: "connects to an escaped path, with its own query",
    run: Effect.fnUntraced(function*(make) {
      const room = `${make.room} a/b?c#d%20ü`
      const board = yield* make.client({ params: { room }, query: { token: "bob & co" } })
      equal(yield* board.where(), room)
      equal(yield* board.whoami(), "bob & co")
    })
  },
  {
    name: "is not broken by actions with the names of its own members, and of those of every object",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const own = board.at("")
      equal(yield* own.events(), "events")
      equal(yield* own.status(), "status")
      equal(yield* own.then(), "then")
      equal(yield* own.constructor(), "constructor")
      equal(yield* own.toString(), "toString")
      equal(yield* own["__proto__"](), "__proto__")
      equal((yield* board.status)._tag, "Connected")
      const names = Object.getOwnPropertyNames(board)
      equal(["then", "constructor", "toString"].filter((name) => names.includes(name)), [], "what is taken for others")
      isTrue((yield* Effect.promise(() => Promise.resolve(board))) === board, "it is no promise")
      equal(yield* Effect.promise(() => board.promise.at("").events()), "events")
    })
  },
  {
    name: "succeeds with silent actions when they are sent, in order",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      for (const text of ["a", "b", "c"]) equal(yield* board.mutter({ text }), undefined)
      equal(yield* board.muttered(), ["a", "b", "c"])
    })
  },
  {
    name: "fails with the declared errors, each of its class",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      equal(yield* board.lucky({ n: 7 }), 7)
      yield* fails(board.lucky({ n: 2 }), NoLuck, { n: 2, at: new Date(2) })
      yield* fails(board.lucky({ n: -1 }), BadLuck, { why: "negative" })
    })
  },
  {
    name: "finds an invalid payload itself, and sends nothing then",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const text = yield* fails(board.keep({ text: "", at }), ChannelError.InvalidPayload)
      equal(text.problems.map(({ path }) => path), [["data", "text"]])
      const page = yield* fails(board.page(undefined, { fields: { page: 1.5 } }), ChannelError.InvalidPayload)
      equal(page.problems.map(({ path }) => path), [["page"]])
      yield* fails(board.mutter({ text: 1 as never }), ChannelError.InvalidPayload)
      equal(yield* board.status, { _tag: "Idle" })
    })
  },
  {
    name: "fails with InvalidPayload where the server finds it",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const { problems } = yield* fails(board.odd({ word: "x" }), ChannelError.InvalidPayload)
      equal(problems.map(({ path }) => path), [["data", "word"]])
    })
  },
  {
    name: "fails with PermissionDenied, with reason and code",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      yield* fails(board.secret(), ChannelError.PermissionDenied, { message: "Nobody may", code: "nobody" })
    })
  },
  {
    name: "fails with NotAuthenticated where nobody has said who it is",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      yield* fails(board.mine(), ChannelError.NotAuthenticated)
      const signed = yield* make.client({ credentials: alice })
      equal(yield* signed.mine(), "alice")
    })
  },
  {
    name: "fails with Throttled, and after how many seconds it may succeed",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      yield* board.rare()
      const { retryAfter } = yield* fails(board.rare(), ChannelError.Throttled)
      isTrue(retryAfter > 3500 && retryAfter <= 3600, `${retryAfter} is about an hour`)
    })
  },
  {
    name: "fails with Timeout where the server gives it no more time",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      yield* board.connect
      yield* fails(make.passing(board.slow()), ClientError.Timeout, { by: "server" })
    })
  },
  {
    name: "fails with Timeout where it waits no longer, and cancels the call",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client({ timeout: "1 hour" })
      const hanging = yield* Effect.forkChild(board.hang(undefined, { timeout: "300 millis" }))
      yield* board.whenRunning({ count: 1 })
      yield* fails(make.passing(Fiber.join(hanging)), ClientError.Timeout, { by: "client" })
      yield* board.whenCancelled({ count: 1 })
    })
  },
  {
    name: "fails with UnexpectedReply for a defect of the server, of which it tells nothing",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const error = yield* fails(board.broken(), ClientError.UnexpectedReply, { status: 500 })
      isTrue(!JSON.stringify(error).includes("nobody"), "what it died of is not told")
      yield* board.nothing()
    })
  },
  {
    name: "fails with MessageTooLarge, and works on",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const hanging = yield* Effect.forkChild(board.hang(), { startImmediately: true })
      yield* board.whenRunning({ count: 1 })
      yield* fails(board.keep({ text: long, at }), ChannelError.MessageTooLarge)
      // Where frames are bounded as well, that is the end of the connection.
      yield* board.connect
      yield* board.nothing()
      yield* Fiber.interrupt(hanging)
    })
  },
  {
    name: "fails with Unavailable where too much is in flight",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const hanging = yield* Effect.forEach(
        new Array<undefined>(maxInFlight - 1).fill(undefined),
        () => Effect.forkChild(board.hang(), { startImmediately: true })
      )
      yield* board.whenRunning({ count: maxInFlight - 1 })
      hanging.push(yield* Effect.forkChild(board.hang(), { startImmediately: true }))
      yield* fails(board.nothing(), ChannelError.Unavailable)
      yield* Fiber.interruptAll(hanging)
      yield* board.whenCancelled({ count: maxInFlight })
      yield* board.nothing()
    })
  },
  {
    name: "gives each of a hundred calls in flight its own answer, in whatever order they come",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const order: Array<number> = []
      const numbers = Array.from({ length: 100 }, (_, n) => n)
      const answers = yield* Effect.forEach(
        numbers,
        (n) => Effect.tap(board.gather({ n, of: 100 }), (answer) => Effect.sync(() => order.push(answer))),
        { concurrency: "unbounded" }
      )
      equal(answers, numbers)
      equal(order, [...numbers.slice(0, -1).toReversed(), 99])
    })
  },
  {
    name: "cancels a call on the server when it is interrupted",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const hanging = yield* Effect.forkChild(board.hang())
      yield* board.whenRunning({ count: 1 })
      yield* Fiber.interrupt(hanging)
      yield* board.whenCancelled({ count: 1 })
    })
  },
  {
    name: "never sends a call that is interrupted before there is a connection",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client({ queue: 10 })
      yield* board.disconnect
      const waiting = yield* Effect.forkChild(board.mutter({ text: "a" }), { startImmediately: true })
      const other = yield* Effect.forkChild(board.mutter({ text: "b" }), { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      yield* board.connect
      yield* Fiber.join(other)
      equal(yield* board.muttered(), ["b"])
    })
  }
]
