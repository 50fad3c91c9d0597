/**
 * Cases: the client for code that is not on Effect.
 */
import { ChannelError, ClientError } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { equal, isFailure, isTrue, listen } from "./check.ts"
import { Kept, NoLuck, Room } from "./contract.ts"
import type { Case } from "./suite.ts"

const at = new Date(1000)

/** What a promise is rejected with. */
const rejected = (promise: Promise<unknown>): Effect.Effect<unknown> =>
  Effect.promise(() =>
    promise.then((value) => {
      throw new Error(`it is not rejected, and gives ${JSON.stringify(value)}`)
    }, (error: unknown) => error)
  )

export const promises: ReadonlyArray<Case> = [
  {
    name: "answers with promises, which are rejected with the same errors",
    run: Effect.fnUntraced(function*(make) {
      const { promise } = yield* make.client()
      equal(
        yield* Effect.promise(() => promise.keep({ text: "a", at })),
        new Kept({ text: "a", at, size: 3, by: null })
      )
      equal(yield* Effect.promise(() => promise.page(undefined, { fields: { page: 1 } })), { page: 1, since: null })
      equal(yield* Effect.promise(() => promise.at("pages/:page/", { page: 4 }).get()), { page: 4 })
      isFailure(yield* rejected(promise.lucky({ n: 3 })), NoLuck, { n: 3, at: new Date(3) })
      isFailure(yield* rejected(promise.secret()), ChannelError.PermissionDenied, { code: "nobody" })
      isFailure(yield* rejected(promise.keep({ text: "", at })), ChannelError.InvalidPayload)
      isFailure(yield* rejected(promise.broken()), ClientError.UnexpectedReply, { status: 500 })
      yield* Effect.promise(() => promise.disconnect())
      isFailure(yield* rejected(promise.nothing()), ClientError.ConnectionLost, { isSent: false })
      yield* Effect.promise(() => promise.connect())
      equal(yield* Effect.promise(() => promise.nothing()), undefined)
    })
  },
  {
    name: "cancels a call by an AbortSignal",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const controller = new AbortController()
      const hanging = rejected(board.promise.hang(undefined, { signal: controller.signal }))
      yield* board.whenRunning({ count: 1 })
      controller.abort()
      isTrue((yield* hanging) instanceof Error, "it is rejected")
      yield* board.whenCancelled({ count: 1 })
      isTrue(
        (yield* rejected(board.promise.hang(undefined, { signal: AbortSignal.abort() }))) instanceof Error,
        "at once"
      )
    })
  },
  {
    name: "gives events and items in for await, and ends them with break",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const { promise } = board
      const items: Array<number> = []
      yield* Effect.promise(async () => {
        for await (const n of promise.count({ to: 4 })) items.push(n)
        for await (const n of promise.endless()) {
          items.push(n)
          if (n === 2) break
        }
      })
      equal(items, [1, 2, 3, 4, 1, 2])
      yield* board.whenCancelled({ count: 1 })
      const texts = yield* Effect.promise(async () => {
        const texts: Array<string> = []
        const posts = [promise.post({ text: "before" })]
        for await (const heard of promise.heard) {
          if (heard._tag === "Event" && heard.type === "posted") texts.push(`heard ${heard.data.text}`)
          if (texts.length === 1) break
          if (heard._tag === "Connected") posts.push(promise.post({ text: "a" }))
        }
        await Promise.all(posts)
        const iterator = promise.events("posted")[Symbol.asyncIterator]()
        const first = iterator.next()
        await promise.post({ text: "b" })
        await promise.post({ text: "c" })
        texts.push(...[await first, await iterator.next()].map(({ value }) => value.text))
        await iterator.return?.()
        isTrue((await iterator.next()).done === true, "it is over")
        return texts
      })
      equal(texts, ["heard before", "b", "c"])
    })
  },
  {
    name: "throws out of for await what a stream fails with",
    run: Effect.fnUntraced(function*(make) {
      const { promise } = yield* make.client()
      const items: Array<number> = []
      const error = yield* rejected((async () => {
        for await (const n of promise.flaky({ items: 2 })) items.push(n)
      })())
      equal(items, [1, 2])
      isFailure(error, NoLuck, { n: 2 })
    })
  },
  {
    name: "lives until it is closed, where it is made for promises",
    run: Effect.fnUntraced(function*(make) {
      const other = yield* make.client({ credentials: Effect.succeed({ token: "alice" }) })
      const present = yield* listen(
        Stream.map(other.presence(Room), (present) => present.map(({ data }) => data.name).sort())
      )
      yield* present.until((names) => names.length === 1)
      const client = make.promises({ credentials: Effect.succeed({ token: "bob" }) })
      const heard: Array<string> = []
      const hearing = (async () => {
        for await (const { _tag } of client.heard) heard.push(_tag)
      })()
      equal(yield* Effect.promise(() => client.whoami()), "bob")
      equal(yield* present.next, ["alice", "bob"])
      yield* Effect.promise(() => client.close())
      equal(yield* present.next, ["alice"])
      yield* Effect.promise(() => hearing)
      equal(heard[0], "Connected")
      isFailure(yield* rejected(client.nothing()), ClientError.ConnectionLost, { isSent: false })
    })
  }
]
