/**
 * The page: somebody signs in, and is in one room after the other.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import { element, find, on } from "./elements.ts"
import { inRoom } from "./room.ts"
import * as Session from "./session.ts"
import * as view from "./view.ts"

const rooms = ["lobby", "garden", "kitchen"]

/** Somebody signs in. */
const signIn = Effect.gen(function*() {
  const signedIn = yield* Deferred.make<Session.Session>()
  const run = yield* FiberSet.makeRuntime()
  const attempt = (name: string) =>
    Session.signIn(name).pipe(
      Effect.tap(Session.session.save),
      Effect.flatMap((session) => Deferred.succeed(signedIn, session)),
      Effect.catch(({ message }) =>
        Effect.sync(() => {
          find("refused", HTMLParagraphElement).textContent = message
        })
      )
    )
  yield* on(find("sign-in", HTMLFormElement), "submit", () => run(attempt(find("name", HTMLInputElement).value)))
  return yield* Deferred.await(signedIn)
}).pipe(Effect.scoped)

const page = Effect.gen(function*() {
  find("node", HTMLSpanElement).textContent = location.host
  const session = Option.getOrUndefined(yield* Session.session.load) ?? (yield* signIn)
  find("login", HTMLElement).hidden = true
  find("chat", HTMLElement).hidden = false
  view.writing.input.focus()

  // One room at a time: to enter one is to leave the one before, and with it all that it took.
  const place = yield* FiberHandle.make<never, never>()
  const run = yield* FiberSet.makeRuntime()

  const enter = (room: string) =>
    Effect.gen(function*() {
      for (const [name, button] of buttons) button.ariaPressed = String(name === room)
      yield* Session.room.save(room)
      yield* FiberHandle.run(place, inRoom(room, session))
    })

  const buttons = new Map(rooms.map((name) => [name, element("button", { type: "button", textContent: name })]))
  find("rooms", HTMLDivElement).append(...buttons.values())
  for (const [name, button] of buttons) yield* on(button, "click", () => run(enter(name)))

  const signOut = Effect.andThen(FiberHandle.clear(place), Session.forget)
  yield* on(find("sign-out", HTMLButtonElement), "click", () => run(signOut))

  yield* enter(Option.getOrElse(yield* Session.room.load, () => "lobby"))
  return yield* Effect.andThen(FiberHandle.join(place), Effect.never)
}).pipe(Effect.scoped)

// What breaks is told, as what breaks in any other program of a page.
void Effect.runPromise(page)
