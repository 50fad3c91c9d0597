import {
  Action,
  Authentication,
  type ConnectionScope,
  Consumer,
  type Handlers,
  Permission,
  Route
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { describe, expectTypeOf, it } from "vitest"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("test/CurrentUser") {}
class Bans extends Context.Service<Bans, ReadonlySet<string>>()("test/Bans") {}

const Note = Schema.Struct({ id: Schema.Number, text: Schema.String })
const isOwner = Permission.object<{ readonly owner: string }>()(
  "isOwner",
  ({ object }) => CurrentUser.use(({ name }) => name === object.owner)
)

const Board = Consumer.make("board", { path: "/ws/:board/", params: { board: Schema.NumberFromString } }).pipe(
  Consumer.add(
    Action.make("list", { fields: { page: Schema.optionalKey(Schema.Int) }, success: Schema.Array(Note) }),
    Action.make("post", { payload: { text: Schema.String }, success: Note }),
    Action.make("ping"),
    Route.make("notes/:id/", { id: Schema.NumberFromString }).pipe(
      Route.add(Action.make("edit", { payload: { text: Schema.String }, success: Note }), Action.make("drop"))
    )
  )
)
const Plain = Consumer.make("plain", { path: "/ws/" }).pipe(Consumer.add(Action.make("ping")))

const board = Testing.connect(Board, { params: { board: 1 } })
type Board = Effect.Success<typeof board>
declare const client: Board

describe("connect", () => {
  it("needs the params of the path, and the handlers of the consumer", () => {
    expectTypeOf<Effect.Services<typeof board>>().toExtend<Handlers.Live<"board"> | Scope.Scope>()
    expectTypeOf(Testing.connect(Plain)).toExtend<Effect.Effect<unknown, unknown, unknown>>()
    // @ts-expect-error the path has a parameter
    Testing.connect(Board)
    // @ts-expect-error which is a number
    Testing.connect(Board, { params: { board: "1" } })
    // @ts-expect-error nobody
    Testing.connect(Plain, { as: "alice" })
  })

  it("acts as users of the service's type", () => {
    expectTypeOf(Testing.as(CurrentUser, { name: "alice" })).toEqualTypeOf<Testing.Acting>()
    // @ts-expect-error no such user
    Testing.as(CurrentUser, { id: 1 })
    expectTypeOf(Testing.layerAuthentication(CurrentUser)).toEqualTypeOf<
      Layer.Layer<Authentication.Authenticator<CurrentUser>>
    >()
  })
})

describe("ask", () => {
  it("infers what comes back", () => {
    type Data<A> = A extends Effect.Effect<Testing.Answer<infer D>, infer _E, infer _R> ? D : never
    const list = client.ask("list", { fields: { page: 1 } })
    const edit = client.ask("notes/:id/", "edit", { params: { id: 1 }, payload: { text: "hi" } })
    expectTypeOf<Data<typeof list>>().toEqualTypeOf<ReadonlyArray<{ readonly id: number; readonly text: string }>>()
    expectTypeOf<Data<typeof edit>>().toEqualTypeOf<{ readonly id: number; readonly text: string }>()
    client.ask("list")
    client.ask("ping")
    client.ask("notes/:id/", "drop", { params: { id: 1 } })
  })

  it("refuses what the consumer does not take", () => {
    // @ts-expect-error no such action
    client.ask("pots", { payload: { text: "hi" } })
    // @ts-expect-error the payload is missing
    client.ask("post")
    // @ts-expect-error the payload is wrong
    client.ask("post", { payload: { text: 1 } })
    // @ts-expect-error an action of a route
    client.ask("edit", { payload: { text: "hi" } })
    // @ts-expect-error no such route
    client.ask("note/:id/", "edit", { params: { id: 1 }, payload: { text: "hi" } })
    // @ts-expect-error the params are missing
    client.ask("notes/:id/", "edit", { payload: { text: "hi" } })
    // @ts-expect-error the param is a number
    client.ask("notes/:id/", "drop", { params: { id: "1" } })
    // @ts-expect-error the field is a number
    client.ask("list", { fields: { page: "1" } })
  })
})

describe("decide", () => {
  it("takes the facts that the permission looks at, and needs what its checks need", () => {
    const facts = { object: { owner: "alice" }, payload: {}, params: {} }
    expectTypeOf(Testing.decide(isOwner, { facts })).toEqualTypeOf<Effect.Effect<Testing.Decided>>()
    // @ts-expect-error the object is another one
    Testing.decide(isOwner, { facts: { object: { name: "alice" }, payload: {}, params: {} } })
    const isBanned = Permission.connection("isBanned", Effect.map(Bans, (bans) => bans.has("x")))
    const needsScope = Permission.connection("needsScope", (scope) => scope.path === "/")
    expectTypeOf(Testing.decide(Permission.and(isBanned, needsScope))).toEqualTypeOf<
      Effect.Effect<Testing.Decided, never, Bans>
    >()
    expectTypeOf<Testing.Services<Bans | CurrentUser | ConnectionScope.ConnectionScope>>().toEqualTypeOf<Bans>()
  })
})

describe("matrix", () => {
  it("needs the handlers of the consumer", () => {
    expectTypeOf(Testing.matrix(Board, { identities: { nobody: Testing.anonymous } })).toEqualTypeOf<
      Effect.Effect<Testing.Matrix, never, Handlers.Live<"board">>
    >()
  })
})
