/**
 * Where the notes are kept: in memory here, in a database in earnest.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Note, NoteNotFound } from "./contract.ts"

export class Notes extends Context.Service<Notes, {
  readonly all: Effect.Effect<ReadonlyArray<Note>>
  readonly find: (id: number) => Effect.Effect<Note, NoteNotFound>
  readonly create: (owner: string, text: string) => Effect.Effect<Note>
  readonly edit: (note: Note, text: string) => Effect.Effect<Note>
}>()("quickstart/Notes") {
  static readonly layer = Layer.sync(this, () => {
    const notes = new Map<number, Note>()
    const save = (note: Note) => {
      notes.set(note.id, note)
      return note
    }
    const create = (owner: string, text: string) => save(new Note({ id: notes.size + 1, owner, text }))
    create("alice", "Hello from Alice")
    create("bob", "Hello from Bob")
    return Notes.of({
      all: Effect.sync(() => Array.from(notes.values())),
      find: (id) =>
        Effect.suspend(() => {
          const note = notes.get(id)
          return note === undefined ? Effect.fail(new NoteNotFound({ id })) : Effect.succeed(note)
        }),
      create: (owner, text) => Effect.sync(() => create(owner, text)),
      edit: (note, text) => Effect.sync(() => save(new Note({ ...note, text })))
    })
  })
}
