/**
 * What the actions of the board do. A handler that is missing, or gives the wrong result, does not compile.
 */
import { Consumer, Handlers, Permission } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import { Board, CurrentUser, mayEdit } from "./contract.ts"
import { Notes } from "./notes.ts"

export const BoardLive = Consumer.handlers(Board).pipe(
  Handlers.handle("list", () => Notes.use((notes) => notes.all)),
  Handlers.handle("post", ({ payload }) =>
    Effect.gen(function*() {
      const user = yield* CurrentUser
      const notes = yield* Notes
      return yield* notes.create(user.name, payload.text)
    })),
  Handlers.handle("notes/:id/", "edit", {
    object: ({ params }) => Notes.use((notes) => notes.find(params.id)),
    // Only reached by who may edit this note.
    run: ({ object, payload }) => Notes.use((notes) => notes.edit(object, payload.text))
  }),
  Handlers.handle("notes/:id/", "explain", {
    object: ({ params }) => Notes.use((notes) => notes.find(params.id)),
    // The permission that guards `edit`, asked for reasons instead of a decision.
    run: (request) =>
      Effect.map(Permission.explain(mayEdit, { ...request, phase: "object", action: "edit" }), (explanation) => ({
        permission: Permission.print(mayEdit),
        explanation: Permission.printExplanation(explanation)
      }))
  }),
  Handlers.toLayer
)
