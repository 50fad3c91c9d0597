/**
 * What the board offers and who may do what, as values. Server and client share this module: it imports nothing that a
 * browser lacks.
 */
import { Action, Authentication, Consumer, Permission, Route } from "@effect-channels/core"
import * as Schema from "effect/Schema"

// --- Who ------------------------------------------------------------------------------------------------------------

export interface User {
  readonly name: string
  readonly admin: boolean
}

/** The user behind a connection. How a handshake becomes one is the server's business: see authentication.ts. */
export class CurrentUser extends Authentication.Service<CurrentUser, User>()("quickstart/CurrentUser") {}

// --- What -----------------------------------------------------------------------------------------------------------

export class Note extends Schema.Class<Note>("Note")({
  id: Schema.Int,
  owner: Schema.String,
  text: Schema.String
}) {}

/** `httpApiStatus` is the status of the reply when a handler fails with this error. */
export class NoteNotFound extends Schema.TaggedError<NoteNotFound>()("NoteNotFound", { id: Schema.Int }, {
  httpApiStatus: 404
}) {
  override get message() {
    return `There is no note ${this.id}`
  }
}

const Text = Schema.NonEmptyString.check(Schema.isMaxLength(280))

// --- Who may --------------------------------------------------------------------------------------------------------

// A check says by its constructor when it can be decided. One of the connection: once per connection. `CurrentUser.use`
// fails where there is no user: then the check is neither true nor false, and the answer is that error (403).
const isAuthenticated = Permission.isAuthenticated(CurrentUser)
const isAdmin = Permission.connection("isAdmin", CurrentUser.use((user) => user.admin))

// One of an object: after it is loaded, before the handler runs. Reason and code are what the client reads.
const isOwner = Permission.object<Note>()(
  "isOwner",
  ({ object }) => CurrentUser.use((user) => user.name === object.owner),
  { reason: "Only its owner may edit a note", code: "not_owner" }
)

/** What can be decided early is: anonymous clients are denied and admins allowed before any note is loaded. */
export const mayEdit = Permission.and(isAuthenticated, Permission.or(isAdmin, isOwner))

// --- The API --------------------------------------------------------------------------------------------------------

const list = Action.make("list", { success: Schema.Array(Note) })

const post = Action.make("post", { payload: { text: Text }, success: Note, status: 201 }).pipe(
  Action.permit(isAuthenticated)
)

// Without `Action.object` the next line would not compile: `mayEdit` looks at a note.
const edit = Action.make("edit", { payload: { text: Text }, success: Note, error: NoteNotFound }).pipe(
  Action.object(Note),
  Action.permit(mayEdit)
)

/** Answers why `edit` would be allowed or denied, without editing. */
const explain = Action.make("explain", {
  success: Schema.Struct({ permission: Schema.String, explanation: Schema.String }),
  error: NoteNotFound
}).pipe(Action.object(Note))

export const Board = Consumer.make("board", { path: "/ws/" }).pipe(
  Consumer.add(
    list,
    post,
    Route.make("notes/:id/", { id: Schema.NumberFromString }).pipe(Route.add(edit, explain))
  )
)
