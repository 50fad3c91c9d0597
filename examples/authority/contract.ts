/**
 * What the newsroom offers and who may do what, as values: the desk, where articles are written, and the admin's side, where
 * rights are given and taken.
 */
import { Action, Authentication, Check, Consumer, Permission, Route, Throttle } from "@effect-channels/core"
import * as Schema from "effect/Schema"

// --- Who ------------------------------------------------------------------------------------------------------------

export const Role = Schema.Literals(["admin", "editor", "reader"])
export type Role = typeof Role.Type

export class Person extends Schema.Class<Person>("Person")({
  name: Schema.String,
  roles: Schema.Array(Role),
  suspended: Schema.Boolean
}) {}

/** The person behind a connection. By the `key` it can be said whose authority has changed, and whose requests to count. */
export class CurrentUser extends Authentication.Service<CurrentUser, Person>()("authority/CurrentUser", {
  key: (person) => person.name
}) {}

// --- What -----------------------------------------------------------------------------------------------------------

export class Article extends Schema.Class<Article>("Article")({
  id: Schema.Int,
  author: Schema.String,
  title: Schema.String,
  text: Schema.String
}) {}

export class NoSuchArticle extends Schema.TaggedError<NoSuchArticle>()("NoSuchArticle", { id: Schema.Int }, {
  httpApiStatus: 404
}) {
  override get message() {
    return `There is no article ${this.id}`
  }
}

export class NoSuchPerson extends Schema.TaggedError<NoSuchPerson>()("NoSuchPerson", { name: Schema.String }, {
  httpApiStatus: 404
}) {
  override get message() {
    return `There is nobody called ${this.name}`
  }
}

const Title = Schema.NonEmptyString.check(Schema.isMaxLength(80))
const Text = Schema.NonEmptyString.check(Schema.isMaxLength(2000))

// --- Who may --------------------------------------------------------------------------------------------------------

const hasRole = (role: Role) =>
  Check.hasRole(CurrentUser, role, { reason: `This takes the role ${role}`, code: "role_required" })

export const isAdmin = hasRole("admin")
export const isEditor = hasRole("editor")
export const isReader = hasRole("reader")

const isSuspended = Permission.connection("isSuspended", CurrentUser.use((person) => person.suspended))

/** Guards both handshakes. Whoever loses it on a live connection is closed with 4403 and the reason. */
export const mayEnter = Permission.and(
  Permission.isAuthenticated(CurrentUser),
  Permission.not(isSuspended, { reason: "Your account is suspended", code: "suspended" })
)

export const mayRead = Permission.or(isAdmin, isReader)

const isAuthor = Check.isOwner<Article>()(CurrentUser, { object: "author", user: "name" }, {
  reason: "Editors may edit their own articles only",
  code: "not_author"
})

/** Admins edit everything, and are let in before the article is loaded; editors what they wrote themselves. */
export const mayEdit = Permission.or(isAdmin, Permission.and(isEditor, isAuthor))

/** Who is no editor is denied before anything is counted. */
export const mayPublish = Permission.and(
  isEditor,
  Throttle.perIdentity(CurrentUser, "publish", { limit: 5, window: "1 minute" })
)

/** The last admin who takes a right from themselves could not take it back. */
export const isSomebodyElse = Permission.not(
  Check.isOwner<Person>()(CurrentUser, { object: "name", user: "name" }),
  { reason: "Nobody changes their own account", code: "own_account" }
)

// --- The desk -------------------------------------------------------------------------------------------------------

/** Who the server says that it is, by now. */
const whoami = Action.make("whoami", { success: Person })

const list = Action.make("list", { success: Schema.Array(Article) }).pipe(Action.permit(mayRead))

const publish = Action.make("publish", { payload: { title: Title, text: Text }, success: Article, status: 201 }).pipe(
  Action.permit(mayPublish)
)

/**
 * Reads all articles once more, which takes a while. With a `concurrency` of its own it leaves the line: other messages of
 * the connection go on meanwhile.
 */
const proofread = Action.make("proofread", {
  success: Schema.Struct({ articles: Schema.Int, words: Schema.Int }),
  concurrency: 1,
  timeout: "1 minute"
}).pipe(Action.permit(isEditor))

const edit = Action.make("edit", { payload: { text: Text }, success: Article, error: NoSuchArticle }).pipe(
  Action.object(Article),
  Action.permit(mayEdit)
)

export const Desk = Consumer.make("desk", { path: "/ws/desk/" }).pipe(
  Consumer.permitConnect(mayEnter),
  Consumer.add(
    whoami,
    list,
    publish,
    proofread,
    Route.make("articles/:id/", { id: Schema.NumberFromString }).pipe(Route.add(edit))
  )
)

// --- The admin's side -----------------------------------------------------------------------------------------------

const people = Action.make("people", { success: Schema.Array(Person) })

/** Answers why somebody may or may not edit an article, without editing, and without being them. */
const explain = Action.make("explain", {
  payload: { name: Schema.String, article: Schema.Int },
  success: Schema.Struct({ permission: Schema.String, explanation: Schema.String }),
  error: [NoSuchPerson, NoSuchArticle]
})

const grant = Action.make("grant", { payload: { role: Role }, success: Person, error: NoSuchPerson })
  .pipe(Action.object(Person))
const revoke = Action.make("revoke", { payload: { role: Role }, success: Person, error: NoSuchPerson })
  .pipe(Action.object(Person))
const suspend = Action.make("suspend", { success: Person, error: NoSuchPerson }).pipe(Action.object(Person))
const reinstate = Action.make("reinstate", { success: Person, error: NoSuchPerson }).pipe(Action.object(Person))

export const Admin = Consumer.make("admin", { path: "/ws/admin/" }).pipe(
  Consumer.permitConnect(Permission.and(mayEnter, isAdmin)),
  Consumer.add(
    whoami,
    list,
    people,
    explain,
    Route.make("people/:name/").pipe(
      Route.permit(isSomebodyElse),
      Route.add(grant, revoke, suspend, reinstate)
    )
  )
)
