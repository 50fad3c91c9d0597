/**
 * Cases: actions that are answered with streams.
 */
import { ClientError } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { equal, fails, isFailure, isTrue, listen } from "./check.ts"
import { NoLuck, Note } from "./contract.ts"
import type { Case } from "./suite.ts"

export const streams: ReadonlyArray<Case> = [
  {
    name: "takes a stream to its end, in order",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      equal(yield* Stream.runCollect(board.count({ to: 3000 })), Array.from({ length: 3000 }, (_, i) => i + 1))
      equal(yield* Stream.runCollect(board.count({ to: 0 })), [])
      const two = yield* Effect.all([
        Stream.runCollect(board.count({ to: 50 })),
        Stream.runCollect(board.count({ to: 9 }))
      ], {
        concurrency: 2
      })
      equal(two.map(({ length }) => length), [50, 9])
    })
  },
  {
    name: "runs a stream anew each time that it is run",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const count = board.count({ to: 2 })
      equal(yield* Stream.runCollect(count), [1, 2])
      equal(yield* Stream.runCollect(count), [1, 2])
    })
  },
  {
    name: "cancels a stream on the server that is cut short, or interrupted",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      equal(yield* Stream.runCollect(Stream.take(board.endless(), 2)), [1, 2])
      yield* board.whenCancelled({ count: 1 })
      const heard: Array<number> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(board.endless(), (n) => Effect.sync(() => heard.push(n))),
        { startImmediately: true }
      )
      equal((yield* Stream.runCollect(Stream.take(board.endless(), 3))).length, 3)
      yield* Fiber.interrupt(fiber)
      yield* board.whenCancelled({ count: 3 })
      equal(heard, [1, 2, 3])
    })
  },
  {
    name: "fails a stream with its declared error, after what came before",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const items: Array<number> = []
      const run = Stream.runForEach(board.flaky({ items: 2 }), (n) => Effect.sync(() => items.push(n)))
      yield* fails(run, NoLuck, { n: 2, at: new Date(0) })
      equal(items, [1, 2])
      yield* fails(Stream.runDrain(board.flaky({ items: 0 })), NoLuck, { n: 0 })
    })
  },
  {
    name: "fails a stream when the connection is lost",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const endless = yield* listen(board.endless())
      equal(yield* endless.take(3), [1, 2, 3])
      yield* board.kick({ code: 4000, reason: "" })
      isFailure(yield* Effect.flip(endless.next), ClientError.ConnectionLost, { isSent: true })
    })
  },
  {
    name: "follows a live query: what there is, is added, updated, removed",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const other = yield* make.client()
      const notes = board.at("notes/")
      const query = { query: { room: make.room } }
      const first = yield* notes.create({ room: make.room, text: "a" })
      const live = yield* listen(notes.subscribe(undefined, query))
      equal(yield* live.next, { type: "snapshot", results: [first] })
      const second = yield* other.at("notes/").create({ room: make.room, text: "b" })
      equal(yield* live.next, { type: "added", object: second })
      const updated = yield* other.at("notes/:id/", { id: first.id }).partial_update({ text: "c" })
      equal(updated, new Note({ ...first, text: "c" }))
      equal(yield* live.next, { type: "updated", object: updated })
      yield* other.at("notes/").create({ room: `${make.room} elsewhere`, text: "d" })
      yield* other.at("notes/:id/", { id: second.id }).destroy()
      equal(yield* live.next, { type: "removed", key: second.id })
      const { results } = yield* notes.list(undefined, query)
      equal(results, [updated])
      isTrue(first.id !== second.id, "each has its own key")
    })
  }
]
