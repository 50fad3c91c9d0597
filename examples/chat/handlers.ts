/**
 * What the actions do. Those that change the facts say so: then they hold for connections that are open, on all nodes.
 */
import { Authority, type ChannelError, Consumer, Handlers } from "@effect-channels/core"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { Chat, CurrentUser } from "./contract.ts"
import { People } from "./people.ts"

/** First the facts, then the news, and not the one without the other. */
const announced = <E, R>(name: string, change: Effect.Effect<void, E, R>) =>
  Effect.uninterruptible(Effect.andThen(change, Authority.invalidate(Authority.identity(CurrentUser, name))))

/** Changes whom I mute, and answers who I am by then. */
const muting = (change: (people: People["Service"], name: string) => Effect.Effect<void, ChannelError.Unavailable>) =>
  Effect.gen(function*() {
    const { name } = yield* CurrentUser
    const people = yield* People
    yield* announced(name, change(people, name))
    return yield* people.find(name)
  })

export const ChatLive = Consumer.handlers(Chat).pipe(
  Handlers.handle("me", () => CurrentUser),
  // What it answers with goes to the whole room: the contract says so.
  Handlers.handle("post", ({ payload }) =>
    Effect.gen(function*() {
      const { name } = yield* CurrentUser
      return { from: name, text: payload.text, at: yield* DateTime.now }
    })),
  Handlers.handle("typing", () => CurrentUser.use(({ name }) => ({ from: name }))),
  Handlers.handle("mute", ({ payload }) => muting((people, name) => people.mute(name, payload.name))),
  Handlers.handle("unmute", ({ payload }) => muting((people, name) => people.unmute(name, payload.name))),
  Handlers.handle("ban", {
    object: ({ payload }) => People.use((people) => people.find(payload.name)),
    // They leave the room, on whichever node they are, and hear nothing more of it.
    run: ({ object, params }) => announced(object.name, People.use((people) => people.ban(object.name, params.room)))
  }),
  Handlers.handle(
    "unban",
    ({ params, payload }) => announced(payload.name, People.use((people) => people.unban(payload.name, params.room)))
  ),
  Handlers.toLayer
)
