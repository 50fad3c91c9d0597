/**
 * What the actions do: those of the resources are ready-made, but for what a board adds to them.
 */
import { Authority, Consumer, Filter, Handlers, Repository, Resource } from "@effect-channels/core"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import {
  Boards,
  CurrentUser,
  type Member,
  MemberResource,
  Members,
  type Task,
  TaskBoard,
  TaskResource
} from "./contract.ts"

/** First the facts, then the news, and not the one without the other. */
const announced = <A, E, R>(name: string, change: Effect.Effect<A, E, R>) =>
  Effect.uninterruptible(Effect.tap(change, () => Authority.invalidate(Authority.identity(CurrentUser, name))))

const member = Filter.fields<Member>()

export const TaskBoardLive = Consumer.handlers(TaskBoard).pipe(
  Resource.handle(TaskResource, {
    // What is on another board is not there.
    rows: ({ params }) => Filter.fields<Task>().eq("board", params.board),
    create: ({ params, payload }, insert) =>
      Effect.gen(function*() {
        const { name } = yield* CurrentUser
        return yield* insert({ ...payload, board: params.board, owner: name, createdAt: yield* DateTime.now })
      })
  }),
  Resource.handle(MemberResource, {
    rows: ({ params }) => member.eq("board", params.board)
  }),
  Handlers.handle("board", ({ params }) => Repository.get(Boards, params.board)),
  Handlers.handle(
    "members/",
    "invite",
    ({ params, payload: { name } }) =>
      announced(name, Members.use((members) => members.insert({ board: params.board, name })))
  ),
  // When this is answered, none of their connections does or is told anything by what was decided before.
  Handlers.handle("members/", "dismiss", ({ params, payload: { name } }) =>
    announced(
      name,
      Effect.gen(function*() {
        const members = yield* Members
        const [found] = yield* members.select({
          filter: Filter.and(member.eq("board", params.board), member.eq("name", name)),
          order: []
        })
        if (found === undefined) {
          return yield* new Repository.NotFound({ message: `${name} is no member of this board` })
        }
        // What has no version is not stale, and nothing refers to a member.
        yield* members.remove(found.id).pipe(Effect.catchTags({ Conflict: Effect.die, StaleVersion: Effect.die }))
      })
    )),
  Handlers.toLayer
)
