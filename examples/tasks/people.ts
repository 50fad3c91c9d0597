/**
 * Who there is, and which boards they belong to: by the rows as they are now.
 */
import { type ChannelError, Filter } from "@effect-channels/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type Board, Boards, type Member, Members, Person } from "./contract.ts"

export const names: ReadonlyArray<string> = ["alice", "bob", "carol", "dave"]

export class People extends Context.Service<People, {
  readonly find: (name: string) => Effect.Effect<Option.Option<Person>, ChannelError.Unavailable>
}>()("tasks/People") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const boards = yield* Boards
      const members = yield* Members
      return People.of({
        find: Effect.fnUntraced(function*(name) {
          if (!names.includes(name)) return Option.none()
          const own = yield* boards.select({ filter: Filter.fields<Board>().eq("owner", name), order: [] })
          const others = yield* members.select({ filter: Filter.fields<Member>().eq("name", name), order: [] })
          const owns = own.map(({ id }) => id)
          return Option.some(new Person({ name, owns, boards: [...owns, ...others.map(({ board }) => board)] }))
        })
      })
    })
  )
}
