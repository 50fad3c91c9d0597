/**
 * A consumer that has everything which a client can meet: what the suite of the client speaks to. It runs wherever a client does.
 */
import {
  Action,
  Authentication,
  type Client,
  ConnectionScope,
  Consumer,
  Event,
  Group,
  Permission,
  Repository,
  Resource,
  Route,
  Throttle
} from "@effect-channels/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"

// ---- who is there, and what they may

/** The name of whoever has a token. */
export class CurrentUser extends Authentication.Service<CurrentUser, string>()("suite/CurrentUser", {
  key: (name) => name
}) {}

const isUser = Permission.isAuthenticated(CurrentUser)

/** What can be closed in a room: the room itself, and its documents. */
export const Closable = Schema.Literals(["room", "documents"])

/** What is closed, for the server: nobody may there then. */
export class Closed extends Context.Service<Closed, {
  readonly has: (room: unknown, what: typeof Closable.Type) => boolean
}>()("suite/Closed") {}

const isOpen = (what: typeof Closable.Type) =>
  Permission.connection(
    `isOpen(${what})`,
    Effect.gen(function*() {
      const closed = yield* Closed
      const { params } = yield* ConnectionScope.ConnectionScope
      return !closed.has(params["room"], what)
    }),
    { reason: what === "room" ? "The room is closed" : "The documents are closed", code: "closed" }
  )

const nobody = Permission.connection("nobody", Effect.succeed(false), { reason: "Nobody may", code: "nobody" })

// ---- what is said

/** What somebody would like to have kept. */
export const Draft = Schema.Struct({
  text: Schema.NonEmptyString,
  at: Schema.Date,
  size: Schema.Int.pipe(
    Schema.withDecodingDefaultKey(Effect.succeed(3)),
    Schema.withConstructorDefault(Effect.succeed(3))
  ),
  note: Schema.optionalKey(Schema.String)
})

/** What is kept. */
export class Kept extends Schema.Class<Kept>("suite/Kept")({
  ...Draft.fields,
  by: Schema.NullOr(Schema.String)
}) {
  get label(): string {
    return `${this.text}/${this.size}`
  }
}

export class NoLuck extends Schema.TaggedError<NoLuck>()("NoLuck", { n: Schema.Int, at: Schema.Date }, {
  httpApiStatus: 409
}) {}

export class BadLuck extends Schema.TaggedError<BadLuck>()("BadLuck", { why: Schema.String }, {
  httpApiStatus: 422
}) {}

export const Posted = Event.make("posted", Schema.Struct({ text: Schema.String, at: Schema.Date }))
export const Whispered = Event.make("whispered", Schema.Struct({ text: Schema.String }))
export const Changed = Event.make("changed", Schema.Struct({ id: Schema.Int, text: Schema.String }))

/** So many events of a room are kept. */
export const kept = 5

/** Joined at connect, with history and presence. */
export const Room = Group.make("room", { room: Schema.String }).pipe(
  Group.history({ count: kept, age: "1 hour" }),
  Group.presence(Schema.Struct({ name: Schema.String }))
)

/** Joined at connect, without a history. */
export const Lobby = Group.make("lobby", { room: Schema.String })

/** Joined by an action. */
export const Document = Group.make("document", { room: Schema.String, id: Schema.Int }).pipe(
  Group.history({ count: kept, age: "1 hour" }),
  Group.permit(isOpen("documents"))
)

export class Note extends Schema.Class<Note>("suite/Note")({
  id: Schema.Int,
  room: Schema.String,
  text: Schema.String
}) {}

export class Notes extends Repository.Service<Notes>()("suite/Notes", { schema: Note, key: "id" }) {}

export const NoteResource = Resource.make("notes", {
  repository: Notes,
  actions: ["list", "create", "partial_update", "destroy", "subscribe"],
  filters: { room: ["exact"] },
  order: ["id"]
})

// ---- what can be asked for

/** A word that fits on the way out of a client, and on the way into a server never does. */
const Refused = Schema.String.pipe(
  Schema.decodeTo(Schema.String, { decode: SchemaGetter.forbidden(() => "Never"), encode: SchemaGetter.passthrough() })
)

const Text = { text: Schema.String }
const Count = { payload: { count: Schema.Int }, concurrency: "unbounded" } as const
const word = { success: Schema.String }

const members = [
  // What goes in and comes out.
  Action.make("keep", { payload: Draft, success: Kept, status: 201 }),
  Action.make("page", {
    fields: { page: Schema.Int, since: Schema.optionalKey(Schema.Date) },
    success: Schema.Struct({ page: Schema.Int, since: Schema.NullOr(Schema.Date) })
  }),
  Action.make("pick", {
    payload: Schema.optionalKey(Schema.Struct({ n: Schema.Int })),
    success: Schema.NullOr(Schema.Int)
  }),
  Action.make("nothing"),
  Action.make("where", { success: Schema.String }),
  Action.make("whoami", { success: Schema.String }),
  // How it fails.
  Action.make("lucky", { payload: { n: Schema.Int }, success: Schema.Int, error: [NoLuck, BadLuck] }),
  Action.make("odd", { payload: { word: Refused } }),
  Action.make("secret").pipe(Action.permit(nobody)),
  Action.make("mine", { success: Schema.String }).pipe(Action.permit(isUser)),
  Action.make("rare").pipe(Action.permit(Throttle.perConnection("rare", { limit: 1, window: "1 hour" }))),
  Action.make("slow", { timeout: "50 millis", concurrency: "unbounded" }),
  Action.make("broken"),
  // What takes its time.
  Action.make("hang", { concurrency: "unbounded" }),
  Action.make("gather", {
    payload: { n: Schema.Int, of: Schema.Int },
    success: Schema.Int,
    concurrency: "unbounded"
  }),
  Action.make("whenRunning", { ...Count, idempotent: true }),
  Action.make("whenCancelled", Count),
  Action.make("count", { payload: { to: Schema.Int }, success: Schema.Int, stream: true }),
  Action.make("endless", { success: Schema.Int, stream: true }),
  Action.make("flaky", { payload: { items: Schema.Int }, success: Schema.Int, error: [NoLuck, BadLuck], stream: true })
] as const

const more = [
  // What others hear of.
  Action.make("mutter", { payload: Text }).pipe(Action.silent),
  Action.make("muttered", { success: Schema.Array(Schema.String) }),
  Action.make("post", { payload: Text, success: Posted.data }).pipe(Action.broadcast(Room, Posted)),
  Action.make("whisper", { payload: Text, success: Whispered.data }).pipe(
    Action.broadcast(Lobby, Whispered, { reply: false })
  ),
  Action.make("follow", {
    payload: { id: Schema.Int, after: Schema.optionalKey(Schema.String) },
    success: Schema.Literals(["fresh", "resumed", "gap"])
  }),
  Action.make("change", { payload: Changed.data }),
  // What becomes of the connection.
  Action.make("kick", { payload: { code: Schema.Int, reason: Schema.String } }).pipe(Action.silent),
  Action.make("close", { payload: { what: Closable } }).pipe(Action.silent),
  Action.make("reopen", { payload: { room: Schema.String, what: Closable } }),
  // Names that mean something else to a client, or to every object.
  Action.make("events", word),
  Action.make("status", word),
  Action.make("then", word),
  Action.make("constructor", word),
  Action.make("toString", word),
  Action.make("__proto__", word)
] as const

const lines = Route.make("lines/:line/", { line: Schema.String }).pipe(
  Route.add(Action.make("get", {
    payload: Schema.optionalKey(Schema.Struct({ n: Schema.Int })),
    success: Schema.Struct({
      page: Schema.Int,
      line: Schema.String,
      n: Schema.NullOr(Schema.Int),
      query: Schema.Record(Schema.String, Schema.Unknown)
    })
  }))
)

const pages = Route.make("pages/:page/", { page: Schema.NumberFromString }).pipe(
  Route.add(Action.make("get", { success: Schema.Struct({ page: Schema.Number }) }), lines)
)

/** The consumer. A room whose name begins with `no-` is not there. */
export const Board = Consumer.make("board", { path: "/board/:room/" }).pipe(
  Consumer.permitConnect(isOpen("room")),
  Consumer.permitConnectObject(
    ({ params }) =>
      params.room.startsWith("no-") ? Effect.fail(new Repository.NotFound({ message: "No such room" })) : Effect.void,
    Permission.allow
  ),
  Consumer.join(Room, ({ params }) => ({ room: params.room }), {
    presence: () =>
      Effect.map(CurrentUser.identity, (identity) => ({
        name: identity._tag === "Authenticated" ? identity.user : "somebody"
      }))
  }),
  Consumer.join(Lobby, ({ params }) => ({ room: params.room })),
  Consumer.groups(Document),
  Consumer.push(Posted, Whispered, Changed),
  Consumer.add(...members),
  Consumer.add(...more),
  Consumer.add(pages),
  Consumer.add(...Resource.routes(NoteResource, "notes/"))
)

type MembersOf<C> = C extends Consumer.Consumer<infer _Name, infer _Params, infer Members, infer _Needs, infer _R>
  ? Members
  : never

/** A client of it. */
export type BoardClient = Client.Client<MembersOf<typeof Board>>

/** The same for code that is not on Effect. */
export type BoardPromises = Client.Promises<MembersOf<typeof Board>> & { readonly close: () => Promise<void> }

/** How such a client is made. */
export type BoardOptions = Client.Options<{ readonly room: string }>
