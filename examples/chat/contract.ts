/**
 * What the chat offers and who may do what, as values. The server and the page share this module: it imports nothing that a browser
 * lacks, and one module at a time, so that a bundle has nothing that nobody uses.
 */
import * as Action from "@effect-channels/core/Action"
import * as Authentication from "@effect-channels/core/Authentication"
import * as Consumer from "@effect-channels/core/Consumer"
import * as Event from "@effect-channels/core/Event"
import * as Group from "@effect-channels/core/Group"
import * as Permission from "@effect-channels/core/Permission"
import * as Throttle from "@effect-channels/core/Throttle"
import * as Schema from "effect/Schema"

// --- Who ------------------------------------------------------------------------------------------------------------

export const Name = Schema.String.check(Schema.isPattern(/^[\p{L}\p{N}_-]{1,20}$/u))
export const RoomName = Schema.String.check(Schema.isPattern(/^[a-z0-9-]{1,20}$/))

export class Person extends Schema.Class<Person>("Person")({
  name: Name,
  isModerator: Schema.Boolean,
  /** Whose messages do not reach them. */
  muted: Schema.Array(Name),
  bannedFrom: Schema.Array(RoomName)
}) {}

/** What signing in is answered with. */
export const SignedIn = Schema.Struct({ token: Schema.String })

/** The person behind a connection. By the `key` it is said whose authority has changed. */
export class CurrentUser extends Authentication.Service<CurrentUser, Person>()("chat/CurrentUser", {
  key: (person) => person.name
}) {}

// --- Who may --------------------------------------------------------------------------------------------------------

/** Who loses this leaves the room at once, is told why, and can say nothing more in it. */
export const mayBeIn = Permission.group<{ readonly room: string }>()(
  "mayBeIn",
  ({ params }) => CurrentUser.use((me) => !me.bannedFrom.includes(params.room)),
  { reason: "You are banned from this room", code: "banned" }
)

/** Decided for each recipient of an event, when it is sent and when it is replayed. */
export const isHeard = Permission.delivery<{ readonly from: string }>()(
  "isHeard",
  ({ event }) => CurrentUser.use((me) => !me.muted.includes(event.from))
)

export const isModerator = Permission.connection("isModerator", CurrentUser.use((me) => me.isModerator), {
  reason: "Only moderators may do that",
  code: "moderators_only"
})

const isOrdinary = Permission.object<Person>()("isOrdinary", ({ object }) => !object.isModerator, {
  reason: "Moderators cannot be banned",
  code: "moderator"
})

// --- What is heard --------------------------------------------------------------------------------------------------

/** What the people in a room are told of each other. */
export const Member = Schema.Struct({ name: Name, isModerator: Schema.Boolean })

const Text = Schema.NonEmptyString.check(Schema.isMaxLength(500))

export const Message = Schema.Struct({ from: Name, text: Text, at: Schema.DateTimeUtc })

/** A client that cannot keep up is closed, not left with holes: it comes back, and catches up. */
export const Posted = Event.make("posted", Message).pipe(Event.permit(isHeard))

/** Comes from outside of any connection: see http.ts. Everybody hears it, whomever they have muted. */
export const Announced = Event.make("announced", Message)

/** Not worth keeping; and of those that wait for a slow client, the last one of each person is enough. */
export const Typing = Event.make("typing", Schema.Struct({ from: Name }), {
  history: false,
  whenSlow: { latest: ({ from }) => from }
}).pipe(Event.permit(isHeard))

export const Room = Group.make("room", { room: RoomName }).pipe(
  Group.presence(Member),
  Group.history({ count: 100, age: "1 hour" }),
  Group.permit(mayBeIn)
)

// --- What can be done -----------------------------------------------------------------------------------------------

// Where a reply is lost with its connection, the client sends its request again, if it may. Most of this is the same, done twice.

const me = Action.make("me", { success: Person, idempotent: true })

/** A message is said once, however often it is sent. All connections of a person count together, on all nodes. */
const post = Action.make("post", { payload: { text: Text }, success: Message, idempotent: "key" }).pipe(
  Action.permit(Throttle.perIdentity(CurrentUser, "post", { limit: 10, window: "10 seconds" })),
  Action.broadcast(Room, Posted)
)

const typing = Action.make("typing", { success: Typing.data }).pipe(
  Action.broadcast(Room, Typing, { reply: false, includeSender: false })
)

const mute = Action.make("mute", { payload: { name: Name }, success: Person, idempotent: true })
const unmute = Action.make("unmute", { payload: { name: Name }, success: Person, idempotent: true })

const ban = Action.make("ban", { payload: { name: Name }, idempotent: true }).pipe(
  Action.object(Person),
  Action.permit(Permission.and(isModerator, isOrdinary))
)
const unban = Action.make("unban", { payload: { name: Name }, idempotent: true }).pipe(Action.permit(isModerator))

export const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/", params: { room: RoomName } }).pipe(
  Consumer.permitConnect(Permission.isAuthenticated(CurrentUser)),
  Consumer.join(Room, ({ params }) => ({ room: params.room }), {
    presence: () => CurrentUser.use(({ isModerator, name }) => ({ name, isModerator }))
  }),
  Consumer.push(Posted, Announced, Typing),
  Consumer.add(me, post, typing, mute, unmute, ban, unban)
)
