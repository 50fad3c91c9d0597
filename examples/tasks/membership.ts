/**
 * Who belongs to a board is a fact like any other: it may be changed without this server.
 */
import { Authority } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Boards, Members } from "./contract.ts"

/**
 * Has every connection decided anew when boards or members are written, by whomever. Of a row that is gone only its key is told, and
 * not whose it was.
 */
export const MembershipWatch = Layer.effectDiscard(Effect.gen(function*() {
  const run = Effect.runForkWith(yield* Effect.context())
  const decideAnew = () => {
    run(Effect.ignore(Authority.invalidate(Authority.everyone), { log: true }))
  }
  yield* Boards.use((boards) => boards.changes(decideAnew))
  yield* Members.use((members) => members.changes(decideAnew))
}))
