/**
 * A room, as long as one is in it: the client of its connection, and what becomes of what it hears.
 */
import * as Client from "@effect-channels/core/Client"
import type { CallError } from "@effect-channels/core/ClientError"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import * as FiberMap from "effect/FiberMap"
import * as FiberSet from "effect/FiberSet"
import * as Stream from "effect/Stream"
import { Chat, type Member, type Person, Room } from "../contract.ts"
import { element, on } from "./elements.ts"
import { announce, type Session } from "./session.ts"
import * as view from "./view.ts"

/** All that the page has to say of its connection. The client makes it, again and again, until the scope is closed. */
const connect = (room: string, { token }: Session) =>
  Client.make(Chat, {
    params: { room },
    credentials: Effect.succeed({ token }),
    // At first there is all that the room keeps; after that, the client goes on where it was.
    from: "kept",
    heartbeat: { interval: "10 seconds", timeout: "5 seconds" },
    reconnect: { max: "10 seconds" }
  })

/** What went wrong, for people. */
const explain = (error: CallError): string => {
  switch (error._tag) {
    case "ConnectionLost":
      return error.isSent
        ? "The connection was lost: whether that was done, nobody knows"
        : "There is no connection: that was not done"
    case "Throttled":
      return `Not so fast: try again in ${Math.ceil(error.retryAfter)} s`
    default:
      return "code" in error ? `${error.status} ${error.code}: ${error.message}` : error.message
  }
}

/** Somebody is in a room until this is interrupted. */
export const inRoom = (room: string, session: Session): Effect.Effect<never> =>
  Effect.gen(function*() {
    const chat = yield* connect(room, session)
    const doings = yield* FiberSet.make()
    const run = yield* FiberSet.runtime(doings)()
    view.clear()

    // --- Who is here

    /** What the server says that I am: whom I have muted, whether I am a moderator. */
    let me: Person | undefined
    let present: ReadonlyArray<typeof Member.Type> = []

    const showPeople = () => view.people(present, { name: session.name, me }, { ban, mute })

    const iAm = (person: Person) => {
      me = person
      view.writing.announceButton.hidden = !person.isModerator
      showPeople()
    }

    const told = (error: CallError) => Effect.sync(() => view.note(explain(error)))

    const mute = (name: string, isMuted: boolean) => {
      const asked = isMuted ? chat.mute({ name }) : chat.unmute({ name })
      run(asked.pipe(Effect.map(iAm), Effect.catch(told)))
    }

    const ban = (name: string) => {
      const back = element("button", { type: "button", textContent: `Let ${name} back in` })
      const banned = Effect.map(chat.ban({ name }), () => {
        const line = view.note(`${name} is banned. `, back)
        back.onclick = () => {
          const unbanned = Effect.map(chat.unban({ name }), () => {
            line.textContent = `${name} may come back`
          })
          run(Effect.catch(unbanned, told))
        }
      })
      run(Effect.catch(banned, told))
    }

    // --- Who types

    const typing = new Set<string>()
    const stopping = yield* FiberMap.make<string>()

    const stops = (name: string) => {
      typing.delete(name)
      view.typists([...typing])
    }

    /** Until they are heard, or have said nothing for a while. */
    const types = (name: string) => {
      typing.add(name)
      view.typists([...typing])
      return FiberMap.run(stopping, name, Effect.andThen(Effect.sleep("4 seconds"), Effect.sync(() => stops(name))))
    }

    // --- What is heard

    /** The line over what was missed, and how much that is by now; as long as it comes. */
    let missed: { readonly line: HTMLElement; count: number } | undefined

    const heard = chat.heard.pipe(Stream.runForEach((heard) =>
      Effect.suspend(() => {
        switch (heard._tag) {
          case "Gap":
            view.note("Gap: older messages are lost, the room keeps no more of them")
            break
          case "Resumed":
            missed = { line: view.note("Catching up"), count: 0 }
            break
          case "CaughtUp":
            if (missed !== undefined) missed.line.textContent = caughtUp(missed.count)
            missed = undefined
            break
          case "Disconnected":
            missed?.line.remove()
            missed = undefined
            for (const name of typing) stops(name)
            break
          case "Left":
            // The right to be here is gone: there is nothing to hear any more.
            return leave(`You had to leave: ${explain(heard.error)}`)
          case "Event": {
            if (heard.type === "typing") return types(heard.data.from)
            const isOwn = heard.data.from === session.name
            if (missed !== undefined && !isOwn) missed.count++
            if (heard.type === "posted") stops(heard.data.from)
            view.message(heard.type, heard.data, isOwn)
          }
        }
        return Effect.void
      })
    ))

    const presence = chat.presence(Room).pipe(Stream.runForEach((members) =>
      Effect.sync(() => {
        present = members.map(({ data }) => data)
        showPeople()
      })
    ))

    // --- The connection

    /** Why there is none, when somebody has decided so. */
    let offline = "offline"

    const leave = (why: string) =>
      Effect.suspend(() => {
        offline = why
        return chat.disconnect
      })

    const statuses = chat.statuses.pipe(Stream.runForEach((status) =>
      Effect.sync(() => {
        switch (status._tag) {
          case "Connected":
            return view.status("open", "online")
          case "Connecting":
            return status.attempt === 1 ? view.status("waiting", "connecting") : undefined
          case "Waiting":
            return view.status("waiting", "The server cannot be reached: trying again", status.reason)
          case "Refused":
            return view.status("closed", `Refused: ${explain(status.error)}`)
          case "Idle":
            return view.status("closed", offline)
        }
      })
    ))

    yield* on(view.lineButton, "click", () =>
      // Where it is refused, the status says so.
      run(view.lineButton.textContent === "Go online" ? Effect.ignore(chat.connect) : leave("offline")))

    // --- What is said

    /** The others are told that one types at most every two seconds. */
    const telling = yield* FiberHandle.make()
    const tell = Effect.andThen(Effect.ignore(chat.typing()), Effect.sleep("2 seconds"))
    yield* on(view.writing.input, "input", () => run(FiberHandle.run(telling, tell, { onlyIfMissing: true })))

    const post = (text: string) =>
      Effect.andThen(FiberHandle.clear(telling), chat.post({ text })).pipe(
        Effect.catch((error) => {
          view.writing.giveBack(text)
          return told(error)
        })
      )

    yield* on(view.writing.form, "submit", () => run(post(view.writing.take())))

    yield* on(view.writing.announceButton, "click", () => {
      const text = view.writing.take()
      if (text === "") return
      run(Effect.catch(announce(room, text, session), ({ message }) =>
        Effect.sync(() => {
          view.writing.giveBack(text)
          view.note(`The announcement was refused: ${message}`)
        })))
    })

    // --- All of it

    // What is heard ends where the server refuses the connection. Whoever goes online again hears on.
    const untilWanted = chat.statuses.pipe(Stream.takeUntil(({ _tag }) => _tag !== "Refused"), Stream.runDrain)
    const hearing = Effect.all([heard, presence], { concurrency: "unbounded", discard: true }).pipe(
      Effect.catchTag("ConnectionRefused", () => untilWanted),
      Effect.forever,
      Effect.catch(({ message }) => leave(`The server is of another version: reload the page (${message})`))
    )
    const whoAmI = chat.onConnect(Effect.catch(Effect.map(chat.me(), iAm), told))
    yield* Effect.forkScoped(Effect.all([statuses, hearing, whoAmI], { concurrency: "unbounded", discard: true }))
    return yield* Effect.andThen(FiberSet.join(doings), Effect.never)
  }).pipe(Effect.scoped)

const caughtUp = (count: number): string =>
  count === 0
    ? "Back again: you missed nothing"
    : `You missed ${count} ${count === 1 ? "message" : "messages"}, and have caught up`
