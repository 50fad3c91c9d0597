/**
 * The suite of the typed client: what it does, over whatever connections, by whatever codec, in Node and in browsers. The cases are
 * plain values, which know nothing of who runs them. They wait for what they hear, and for no time.
 */
import type { Codec } from "@effect-channels/core"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { calls } from "./calls.ts"
import { connections } from "./connections.ts"
import type { BoardClient, BoardOptions, BoardPromises } from "./contract.ts"
import { events } from "./events.ts"
import { promises } from "./promises.ts"
import { streams } from "./streams.ts"

/** What a case is given by whoever runs it. */
export interface Make {
  /** The codec that its clients would rather speak. */
  readonly codec: Codec.Codec
  /** A room that no other case has. */
  readonly room: string
  /** Makes a client of the board, in that room. */
  readonly client: (options?: Partial<BoardOptions>) => Effect.Effect<BoardClient, never, Scope.Scope>
  /** The same for code that is not on Effect. */
  readonly promises: (options?: Partial<BoardOptions>) => BoardPromises
  /** Lets time pass until something has happened: by the clock, where that does not go by itself. */
  readonly passing: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** One thing that a client does. */
export interface Case {
  readonly name: string
  readonly run: (make: Make) => Effect.Effect<void, unknown, Scope.Scope>
}

/** All that a client does. */
export const suite: ReadonlyArray<Case> = [...calls, ...streams, ...events, ...connections, ...promises]

/** A client of a case does not connect again by itself, unless the case says so. */
export const patient = { reconnect: { min: "1 hour", max: "1 hour" } } satisfies Partial<BoardOptions>
