/**
 * What a task board offers and who may do what, as values. Server and client share this module: it imports nothing that a
 * browser lacks.
 */
import {
  Action,
  Authentication,
  Check,
  Consumer,
  Filter,
  Pagination,
  Permission,
  Repository,
  Resource,
  Route
} from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

// --- Who ------------------------------------------------------------------------------------------------------------

export const Name = Schema.String.check(Schema.isPattern(/^[a-z]{1,20}$/))
export const BoardId = Schema.String.check(Schema.isPattern(/^[a-z0-9-]{1,20}$/))

export class Person extends Schema.Class<Person>("Person")({
  name: Name,
  /** The boards that they are a member of, their own included. */
  boards: Schema.Array(BoardId),
  owns: Schema.Array(BoardId)
}) {}

/** The person behind a connection. By the `key` it is said whose authority has changed. */
export class CurrentUser extends Authentication.Service<CurrentUser, Person>()("tasks/CurrentUser", {
  key: (person) => person.name
}) {}

// --- What is kept ---------------------------------------------------------------------------------------------------

/** The owner of a board is a member of it without being one of its `Members`. */
export class Board extends Schema.Class<Board>("Board")({
  id: BoardId,
  title: Schema.String,
  owner: Name
}) {}

/** `generated`: a new board brings its key along. */
export class Boards extends Repository.Service<Boards>()("tasks/Boards", { schema: Board, key: "id", generated: [] }) {}

export class Member extends Schema.Class<Member>("Member")({
  id: Schema.Int,
  board: BoardId,
  name: Name
}) {}

export class Members extends Repository.Service<Members>()("tasks/Members", {
  schema: Member,
  key: "id",
  unique: [["board", "name"]]
}) {}

export const Status = Schema.Literals(["open", "doing", "done"])

const Title = Schema.Trim.check(Schema.isMinLength(1), Schema.isMaxLength(120))

/** What has a default, a client may leave out. */
export class Task extends Schema.Class<Task>("Task")({
  id: Schema.Int,
  board: BoardId,
  title: Title,
  status: Status.pipe(Schema.withDecodingDefaultKey(Effect.succeed("open"))),
  assignee: Schema.NullOr(Name).pipe(Schema.withDecodingDefaultKey(Effect.succeed(null))),
  isPrivate: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(false))),
  owner: Name,
  version: Schema.Int,
  createdAt: Schema.DateTimeUtc
}) {}

export class Tasks extends Repository.Service<Tasks>()("tasks/Tasks", {
  schema: Task,
  key: "id",
  version: "version",
  unique: [["board", "title"]]
}) {}

// --- Who may --------------------------------------------------------------------------------------------------------

/** Guards the handshake. Whoever is dismissed is closed with 4403 and the reason, and what they had subscribed to ends. */
export const isMember = Permission.connection(
  "isMember",
  ({ params }) => CurrentUser.use((me) => me.boards.some((board) => board === params["board"])),
  { reason: "You are not a member of this board", code: "not_member" }
)

export const ownsBoard = Permission.connection(
  "ownsBoard",
  ({ params }) => CurrentUser.use((me) => me.owns.some((board) => board === params["board"])),
  { reason: "Only the owner of the board may do that", code: "board_owner_only" }
)

const task = Filter.fields<Task>()

const isShared = Permission.where<Task>()("isShared", () => task.eq("isPrivate", false), {
  reason: "This task is private",
  code: "private"
})

const isAssignee = Permission.where<Task>()("isAssignee", () => CurrentUser.use((me) => task.eq("assignee", me.name)))

const isOwner = Check.isOwner<Task>()(CurrentUser, { object: "owner", user: "name" }, {
  reason: "Only its owner and the owner of the board may change a task",
  code: "not_owner"
})

/**
 * Of one task it is decided when that is asked for. Of a list it becomes a part of the query:
 * `WHERE owner = 'bob' OR assignee = 'bob' OR is_private = false`.
 */
export const maySee = Permission.any([isOwner, isAssignee, isShared])

export const mayChange = Permission.or(ownsBoard, isOwner)

// --- What can be done -----------------------------------------------------------------------------------------------

/** The tasks of a board: which one, and who owns a new one, is not for clients to say. */
export const TaskResource = Resource.make("tasks", {
  repository: Tasks,
  actions: [...Resource.crud, "subscribe"],
  readOnly: ["board", "owner", "createdAt"],
  pagination: Pagination.cursor({ size: 5 }),
  filters: { status: ["exact", "in"], assignee: ["exact", "isnull"] },
  search: ["title"],
  ordering: ["title", "createdAt"],
  order: ["-createdAt"]
}).pipe(
  Resource.permit(["retrieve", "update", "partial_update", "destroy"], maySee),
  Resource.permit(["update", "partial_update"], mayChange),
  Resource.permit(["destroy"], ownsBoard)
)

/** Who the members are; how somebody becomes one, and ceases to be, is more than writing a row. */
export const MemberResource = Resource.make("members", {
  repository: Members,
  actions: ["list", "subscribe"],
  pagination: Pagination.none()
})

const board = Action.make("board", { success: Board, error: Repository.NotFound })

const invite = Action.make("invite", {
  payload: { name: Name },
  success: Member,
  error: Repository.Conflict,
  status: 201
}).pipe(Action.permit(ownsBoard))

const dismiss = Action.make("dismiss", { payload: { name: Name }, error: Repository.NotFound, status: 204 }).pipe(
  Action.permit(ownsBoard)
)

export const TaskBoard = Consumer.make("board", { path: "/ws/boards/:board/", params: { board: BoardId } }).pipe(
  Consumer.permitConnect(Permission.and(Permission.isAuthenticated(CurrentUser), isMember)),
  Consumer.add(
    board,
    ...Resource.routes(TaskResource, "tasks/"),
    Route.make("members/").pipe(Route.add(...Resource.collection(MemberResource), invite, dismiss))
  )
)
