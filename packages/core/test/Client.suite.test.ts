import { ChannelLayer, Client, Handlers } from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { connect } from "../src/internal/testing/client.ts"
import { codecs } from "./support/client-suite/codecs.ts"
import { Board, type BoardOptions, type BoardPromises } from "./support/client-suite/contract.ts"
import { BoardLive } from "./support/client-suite/handlers.ts"
import { type Make, patient, suite } from "./support/client-suite/suite.ts"

const room = "lobby"

describe.each(codecs)("a client in memory, by $subprotocol", (codec) => {
  for (const { name, run } of suite) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const live = yield* Handlers.Live("board")
        const connector = yield* Effect.provideService(connect(Board, {}), Handlers.Live<string>("board"), live)
        const optionsOf = (options: Partial<BoardOptions> = {}) => ({ codec, params: { room }, ...patient, ...options })
        yield* run(
          {
            codec,
            room,
            client: (options) =>
              Testing.client(Board, optionsOf(options)).pipe(
                Effect.provideService(Handlers.Live("board"), live),
                Effect.orDie
              ),
            promises: (options) =>
              Client.makePromise(Board, { url: "ws://in-memory", connector, ...optionsOf(options) }) as BoardPromises,
            passing: (effect) => Effect.raceFirst(effect, Effect.forever(TestClock.adjust("20 millis")))
          } satisfies Make
        )
      }).pipe(Effect.provide(Layer.provideMerge(BoardLive, ChannelLayer.layerMemory))))
  }
})
