import { Action, Authentication, Consumer, Handlers, Permission, Route } from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Schema } from "effect"
import { createServer } from "node:http"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("app/CurrentUser") {}
class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, owner: Schema.String, text: Schema.String }) {}
class NoSuchNote extends Schema.TaggedError<NoSuchNote>()("NoSuchNote", {}, { httpApiStatus: 404 }) {}

const isOwner = Permission.object<Note>()("isOwner", ({ object }) => CurrentUser.use((u) => u.name === object.owner))
const list = Action.make("list", { success: Schema.Array(Note) })
const edit = Action.make("edit", { payload: { text: Schema.NonEmptyString }, success: Note, error: NoSuchNote })
  .pipe(Action.object(Note), Action.permit(isOwner))
const Notes = Consumer.make("notes", { path: "/ws/" }).pipe(
  Consumer.add(list, Route.make("notes/:id/", { id: Schema.NumberFromString }).pipe(Route.add(edit)))
)

const notes = new Map([[1, new Note({ id: 1, owner: "alice", text: "hello" })]])
const NotesLive = Consumer.handlers(Notes).pipe(
  Handlers.handle("list", () => Effect.sync(() => [...notes.values()])),
  Handlers.handle("notes/:id/", "edit", {
    object: ({ params }) => Effect.mapError(Effect.fromNullishOr(notes.get(params.id)), () => new NoSuchNote()),
    run: ({ object, payload }) => Effect.succeed(new Note({ ...object, text: payload.text }))
  }),
  Handlers.toLayer
)
const AuthenticationLive = CurrentUser.layer(({ query }) =>
  typeof query.user === "string"
    ? Effect.succeed(Authentication.authenticated({ name: query.user }))
    : Effect.succeed(Authentication.anonymous)
)

NodeChannels.serve(Notes).pipe(
  Layer.provide(NotesLive),
  Layer.provide(AuthenticationLive),
  Layer.provide(NodeChannels.layerServer(createServer, { port: Number(process.env.PORT ?? 8000) })),
  Layer.launch,
  NodeRuntime.runMain
)
