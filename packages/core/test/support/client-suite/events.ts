/**
 * Cases: what is heard without asking.
 */
import { ChannelError } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ends, equal, isFailure, isTrue, listen } from "./check.ts"
import { type BoardClient, Document, kept, Room } from "./contract.ts"
import type { Case } from "./suite.ts"

const namesOf = (present: ReadonlyArray<{ readonly data: { readonly name: string } }>) =>
  present.map(({ data }) => data.name).sort()

const credentials = (token: string) => ({ credentials: Effect.succeed({ token }) })

/** Has the server close the connection, and waits until the client has noticed. */
export const lose = (board: BoardClient) =>
  Effect.scoped(Effect.gen(function*() {
    const statuses = yield* listen(board.statuses)
    yield* board.kick({ code: 4000, reason: "kicked" })
    yield* statuses.until(({ _tag }) => _tag === "Waiting")
  }))

const post = (board: BoardClient, texts: ReadonlyArray<string>) =>
  Effect.forEach(texts, (text) => board.post({ text }), { discard: true })

/** What is heard of the events of the room, in short. */
const roomOf = (board: BoardClient) =>
  board.heard.pipe(
    Stream.filter((heard) => !("group" in heard) || heard.group === "room"),
    Stream.filter(({ _tag }) => _tag !== "Presence"),
    Stream.map((heard) => {
      switch (heard._tag) {
        case "Event":
          return heard.type === "posted" ? heard.data.text : heard.type
        case "Connected":
          return `Connected${heard.isAgain ? " again" : ""}`
        default:
          return heard._tag
      }
    })
  )

export const events: ReadonlyArray<Case> = [
  {
    name: "gives the events of a type, in order, to whoever listens: two streams have all of them each",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const other = yield* make.client()
      const posted = yield* listen(board.events("posted"))
      const again = yield* listen(board.events("posted"))
      const whispered = yield* listen(board.events("whispered"))
      yield* board.connect
      yield* post(other, ["a", "b"])
      equal(yield* other.whisper({ text: "w" }), undefined)
      yield* post(other, ["c"])
      const at = new Date(5)
      const all = [{ text: "a", at }, { text: "b", at }, { text: "c", at }]
      equal(yield* posted.take(3), all)
      equal(yield* again.take(3), all)
      equal(yield* whispered.next, { text: "w" })
      equal([...yield* posted.rest, ...yield* again.rest, ...yield* whispered.rest], [])
    })
  },
  {
    name: "gives whoever has asked the event as well, and keeps it from other rooms",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const elsewhere = yield* make.client({ params: { room: `${make.room} elsewhere` } })
      const posted = yield* listen(board.events("posted"))
      const foreign = yield* listen(elsewhere.events("posted"))
      yield* elsewhere.connect
      yield* board.post({ text: "mine" })
      yield* elsewhere.post({ text: "theirs" })
      equal((yield* posted.next).text, "mine")
      equal((yield* foreign.next).text, "theirs")
    })
  },
  {
    name: "keeps no more than a buffer holds for a stream that is slow: the newest, or the oldest",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const gate = yield* Latch.make(false)
      const slowly = (strategy: "dropping" | "sliding") =>
        Effect.gen(function*() {
          const begun = yield* Latch.make(false)
          const texts: Array<string> = []
          const whole = yield* listen(
            board.events("posted", { capacity: 2, strategy }).pipe(
              Stream.mapEffect(({ text }) => {
                texts.push(text)
                return Effect.as(Effect.andThen(begun.open, gate.await), text)
              })
            )
          )
          return { begun, texts, whole }
        })
      const sliding = yield* slowly("sliding")
      const dropping = yield* slowly("dropping")
      const all = yield* listen(board.events("posted"))
      yield* board.post({ text: "0" })
      yield* Effect.all([sliding.begun.await, dropping.begun.await])
      yield* post(board, ["1", "2", "3", "4", "5"])
      equal((yield* all.take(6)).length, 6)
      equal([...sliding.texts, ...dropping.texts], ["0", "0"])
      yield* gate.open
      yield* board.post({ text: "6" })
      equal(yield* sliding.whole.until((text) => text === "6"), ["0", "4", "5", "6"])
      equal(yield* dropping.whole.until((text) => text === "6"), ["0", "1", "2", "6"])
    })
  },
  {
    name: "goes on for others when one stream is cut short",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const all = yield* listen(board.events("posted"))
      const one = yield* listen(Stream.take(board.events("posted"), 1))
      yield* post(board, ["a", "b"])
      equal((yield* one.next).text, "a")
      yield* ends(one.next)
      equal((yield* all.take(2)).map(({ text }) => text), ["a", "b"])
    })
  },
  {
    name: "ends its streams when the client ends, also those that begin after that",
    run: Effect.fnUntraced(function*(make) {
      const scope = yield* Scope.make()
      const board = yield* Scope.provide(make.client(), scope)
      const posted = yield* listen(board.events("posted"))
      const heard = yield* listen(board.heard)
      const presence = yield* listen(board.presence(Room))
      const statuses = yield* listen(board.statuses)
      yield* board.connect
      yield* Scope.close(scope, Exit.void)
      yield* ends(posted.next)
      yield* ends(Effect.forever(heard.next))
      yield* ends(Effect.forever(presence.next))
      yield* ends(Effect.forever(statuses.next))
      equal(yield* Stream.runCollect(board.events("posted")), [])
      equal(yield* Stream.runCollect(board.heard), [])
      yield* Stream.runDrain(board.presence(Room))
      yield* Stream.runDrain(board.statuses)
    })
  },
  {
    name: "tells who is there, who comes and who goes, and that nobody is known while there is no connection",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client(credentials("alice"))
      const present = yield* listen(Stream.map(board.presence(Room, { room: make.room }), namesOf))
      const only = yield* listen(Stream.map(board.presence(Room), namesOf))
      equal(yield* present.next, [])
      equal(yield* present.next, ["alice"])
      const scope = yield* Scope.make()
      const other = yield* Scope.provide(make.client(credentials("bob")), scope)
      yield* other.connect
      equal(yield* present.next, ["alice", "bob"])
      yield* Scope.close(scope, Exit.void)
      equal(yield* present.next, ["alice"])
      yield* lose(board)
      equal(yield* present.next, [])
      yield* board.connect
      equal(yield* present.next, ["alice"])
      equal(yield* only.take(6), [[], ["alice"], ["alice", "bob"], ["alice"], [], ["alice"]])
      const late = yield* listen(Stream.map(board.presence(Room), namesOf))
      equal(yield* late.next, ["alice"])
    })
  },
  {
    name: "hears in order that it is connected, in its group, and what happens there, with positions",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client(credentials("alice"))
      const heard = yield* listen(board.heard)
      yield* board.post({ text: "a" })
      yield* board.whisper({ text: "w" })
      const all = yield* heard.until((one) => one._tag === "Event" && one.type === "whispered")
      const tags = all.map(({ _tag }) => _tag)
      equal(tags, ["Connected", "Fresh", "Event", "Event"])
      const [connected, fresh, posted, whispered] = all
      equal(connected, { _tag: "Connected", isAgain: false })
      isTrue(fresh?._tag === "Fresh" && fresh.group === "room", "it is new in its room")
      equal(fresh.params, { room: make.room })
      equal(namesOf(fresh.present), ["alice"])
      isTrue(posted?._tag === "Event" && typeof posted.id === "string", "it has a position")
      equal(posted, { _tag: "Event", type: "posted", data: { text: "a", at: new Date(5) }, status: 200, id: posted.id })
      equal(whispered, { _tag: "Event", type: "whispered", data: { text: "w" }, status: 200, id: undefined })
      equal(yield* board.position(Room, { room: make.room }), posted.id)
      equal(yield* board.position(Document, { room: make.room, id: 1 }), undefined)
    })
  },
  {
    name: "is sent what it has missed, exactly once, and hears that it is all of it",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const other = yield* make.client()
      const posted = yield* listen(board.events("posted"))
      const heard = yield* listen(roomOf(board))
      yield* board.connect
      yield* post(other, ["a", "b"])
      equal(yield* heard.until((one) => one === "b"), ["Connected", "Fresh", "a", "b"])
      for (const missed of [["c", "d", "e"], [], ["f"]]) {
        yield* lose(board)
        yield* post(other, missed)
        yield* board.connect
        equal(yield* heard.until((one) => one === "CaughtUp"), [
          "Disconnected",
          "Connected again",
          "Resumed",
          ...missed,
          "CaughtUp"
        ])
      }
      yield* post(other, ["g"])
      equal(yield* heard.next, "g")
      equal((yield* posted.take(7)).map(({ text }) => text), ["a", "b", "c", "d", "e", "f", "g"])
      equal([...yield* posted.rest, ...yield* heard.rest], [])
    })
  },
  {
    name: "hears of a gap where the history has gone on too far",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const other = yield* make.client()
      const heard = yield* listen(roomOf(board))
      yield* board.post({ text: "a" })
      yield* heard.until((one) => one === "a")
      yield* lose(board)
      yield* post(other, Array.from({ length: 2 * kept }, (_, i) => String(i)))
      yield* board.connect
      yield* post(other, ["z"])
      equal(yield* heard.until((one) => one === "z"), ["Disconnected", "Connected again", "Gap", "z"])
    })
  },
  {
    name: "begins with all that is kept, where it says so",
    run: Effect.fnUntraced(function*(make) {
      const other = yield* make.client()
      yield* post(other, ["a", "b"])
      const board = yield* make.client({ from: "kept" })
      const heard = yield* listen(roomOf(board))
      equal(yield* heard.until((one) => one === "CaughtUp"), ["Connected", "Fresh", "a", "b", "CaughtUp"])
      const fresh = yield* make.client()
      const unheard = yield* listen(roomOf(fresh))
      yield* fresh.connect
      yield* post(other, ["c"])
      equal(yield* unheard.until((one) => one === "c"), ["Connected", "Fresh", "c"])
    })
  },
  {
    name: "does again on each connection what it is to do, and joins groups where it was",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const other = yield* make.client()
      const id = 7
      const states: Array<string> = []
      const follow = Effect.gen(function*() {
        const after = yield* board.position(Document, { room: make.room, id })
        states.push(yield* board.follow({ id, ...(after === undefined ? {} : { after }) }))
      })
      const changed = yield* listen(Stream.map(board.events("changed"), ({ text }) => text))
      yield* board.onConnect(follow)
      equal(states, ["fresh"])
      yield* other.change({ id, text: "a" })
      equal(yield* changed.next, "a")
      yield* lose(board)
      yield* other.change({ id, text: "b" })
      yield* other.change({ id, text: "c" })
      yield* board.connect
      equal(states, ["fresh", "resumed"])
      yield* other.change({ id, text: "d" })
      equal(yield* changed.take(3), ["b", "c", "d"])
      equal(yield* changed.rest, [])
    })
  },
  {
    name:
      "does nothing more on later connections when the scope of that has closed, and fails as the first time failed",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      let times = 0
      const scope = yield* Scope.make()
      yield* Scope.provide(board.onConnect(Effect.sync(() => times++)), scope)
      equal(times, 1)
      yield* lose(board)
      yield* board.connect
      equal(times, 2)
      yield* Scope.close(scope, Exit.void)
      yield* lose(board)
      yield* board.connect
      equal(times, 2)
      equal(yield* Effect.flip(board.onConnect(Effect.fail("no"))), "no")
    })
  },
  {
    name: "hears that it is no longer in a group where it may not be",
    run: Effect.fnUntraced(function*(make) {
      const board = yield* make.client()
      const heard = yield* listen(board.heard)
      yield* board.follow({ id: 1 })
      yield* board.close({ what: "documents" })
      const left = (yield* heard.until(({ _tag }) => _tag === "Left")).at(-1)
      isTrue(left?._tag === "Left" && left.group === "document", "it has left the document")
      equal(left.params, { room: make.room, id: 1 })
      isFailure(left.error, ChannelError.PermissionDenied, { code: "closed", message: "The documents are closed" })
      const denied = yield* Effect.flip(board.follow({ id: 2 }))
      equal(denied._tag, "PermissionDenied")
      equal((yield* board.status)._tag, "Connected")
    })
  }
]
