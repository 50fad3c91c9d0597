/** The typed client, with effects. */
import { Client, type Codec } from "@effect-channels/core"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Chat, Events } from "./contract.ts"
import { scoped } from "./scoped.ts"
import { type Contender, room, text } from "./serve.ts"

const token = { query: { token: "alice" } }

/** With frames of a codec, or of the one that it takes by itself. */
export const typed = (codec?: Codec.Codec): Contender => ({
  calls: (port) =>
    scoped(Effect.gen(function*() {
      const chat = yield* Client.make(Chat, { url: `ws://127.0.0.1:${port}`, codec, ...token })
      yield* chat.connect
      const { post } = chat.at("rooms/:room/", { room })
      return {
        call: (calls) =>
          Effect.runPromise(Effect.gen(function*() {
            while (!calls.isOver()) {
              const count = calls.next()
              calls.take(count, yield* post({ text, count }))
            }
          }))
      }
    })),
  events: (port, take, fail) =>
    scoped(Effect.gen(function*() {
      const events = yield* Client.make(Events, {
        url: `ws://127.0.0.1:${port}`,
        params: { room: String(room) },
        codec,
        ...token
      })
      yield* events.events("posted").pipe(
        Stream.runForEach((event) => Effect.sync(() => take(event))),
        Effect.catchCause((cause) => Effect.sync(() => fail(Cause.squash(cause)))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* events.connect
      return { ask: (count, apart) => Effect.runPromise(events.ask({ text, count, apart })) }
    }))
})
