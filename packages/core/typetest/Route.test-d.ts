import { Action, Permission, Route } from "@effect-channels/core"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

declare const Signed: Schema.Codec<string, string, "Verifier">

const list = Action.make("list")
const listAll = Action.make("list", { success: Schema.Array(Schema.String) })
const post = Action.make("post")

const paramsOf = <Path extends string, Params, Members, Needs, R>(
  _: Route.Route<Path, Params, Members, Needs, R>
): Params => undefined as never

describe("params", () => {
  it("are strings by default", () => {
    expectTypeOf(paramsOf(Route.make("items/:id/of/:owner"))).toEqualTypeOf<
      { readonly id: string; readonly owner: string }
    >()
    expectTypeOf(paramsOf(Route.make("items/"))).toEqualTypeOf<{}>()
    expectTypeOf(paramsOf(Route.make(":a"))).toEqualTypeOf<{ readonly a: string }>()
    expectTypeOf(paramsOf(Route.make("a:b/c"))).toEqualTypeOf<{}>()
  })

  it("are what their schemas decode them to", () => {
    expectTypeOf(paramsOf(Route.make("items/:id/of/:owner", { id: Schema.NumberFromString }))).toEqualTypeOf<
      { readonly id: number; readonly owner: string }
    >()
    const Branded = Schema.String.pipe(Schema.brand("Room"))
    expectTypeOf(paramsOf(Route.make(":room", { room: Branded }))).toEqualTypeOf<
      { readonly room: typeof Branded.Type }
    >()
  })

  it("stand in the path", () => {
    Route.make("items/:id/", { id: Schema.NumberFromString })
    // @ts-expect-error: the path has no such parameter
    Route.make("items/:id/", { pk: Schema.NumberFromString })
    // @ts-expect-error: the path has no such parameter, beside one that it has
    Route.make("items/:id/", { id: Schema.NumberFromString, pk: Schema.NumberFromString })
    // @ts-expect-error: the path has no parameter
    Route.make("items/", { id: Schema.NumberFromString })
  })

  it("are decoded from a string, without services", () => {
    Route.make(":id", { id: Schema.FiniteFromString })
    // @ts-expect-error: from a number
    Route.make(":id", { id: Schema.Finite })
    // @ts-expect-error: no schema
    Route.make(":id", { id: "number" })
    // @ts-expect-error: decoding needs a service
    Route.make(":id", { id: Signed })
  })
})

describe("add", () => {
  it("takes actions and routes, in one call or several", () => {
    const route = Route.make("items/").pipe(Route.add(list, Route.make(":id/")), Route.add(post))
    expectTypeOf(route.path).toEqualTypeOf<"items/">()
    // @ts-expect-error: neither
    Route.add("post")
  })

  it("takes no second action of one name", () => {
    Route.make("items/").pipe(Route.add(list, post))
    // @ts-expect-error: list stands there twice
    Route.make("items/").pipe(Route.add(list, listAll))
    // @ts-expect-error: list stands there twice, not next to each other
    Route.make("items/").pipe(Route.add(list, post, listAll))
    Route.make("items/").pipe(Route.add(list), Route.add(post))
    // @ts-expect-error: list is there already
    Route.make("items/").pipe(Route.add(list), Route.add(listAll))
    // @ts-expect-error: list is there already
    Route.make("items/").pipe(Route.add(list), Route.add(post), Route.add(list))
  })

  it("takes no second route of one shape", () => {
    const byId = Route.make(":id/")
    const byName = Route.make(":name/")
    const fresh = Route.make("new/")
    Route.make("items/").pipe(Route.add(byId, fresh))
    // @ts-expect-error: both are one segment
    Route.make("items/").pipe(Route.add(byId, byName))
    Route.make("items/").pipe(Route.add(byId), Route.add(fresh))
    // @ts-expect-error: both are one segment
    Route.make("items/").pipe(Route.add(byId), Route.add(byName))
    const deep = Route.make("of/:owner/new/")
    // @ts-expect-error: the same, deeper
    Route.make("items/").pipe(Route.add(deep, Route.make("of/:user/new/")))
    Route.make("items/").pipe(Route.add(deep, Route.make("of/:user/old/")))
  })

  it("takes an action and a route of one name", () => {
    Route.make("items/").pipe(Route.add(list, Route.make("list")))
  })

  it("needs what its members need", () => {
    const route = Route.make("items/").pipe(
      Route.add(Action.make("a", { payload: Signed })),
      Route.add(Route.make(":id/").pipe(Route.add(Action.make("b", { payload: Signed }))))
    )
    expectTypeOf<Route.Services<typeof route>>().toEqualTypeOf<"Verifier">()
    const plain = Route.make("items/").pipe(Route.add(list))
    expectTypeOf<Route.Services<typeof plain>>().toEqualTypeOf<never>()
  })
})

describe("permit", () => {
  it("takes any permission, data-last and data-first: what it looks at is checked where the consumer is whole", () => {
    const isAuthor = Permission.object<{ readonly authorId: number }>()("isAuthor", () => true)
    const route = Route.make("items/:id/").pipe(Route.permit(isAuthor))
    expectTypeOf(Route.permit(Route.make("items/:id/"), isAuthor)).toEqualTypeOf<typeof route>()
    expectTypeOf(paramsOf(route)).toEqualTypeOf<{ readonly id: string }>()
  })

  it("needs what the permission needs", () => {
    const isBanned = Permission.connection("x", {} as Effect.Effect<boolean, never, "Bans">)
    const route = Route.make("items/").pipe(
      Route.permit(isBanned),
      Route.add(Action.make("a", { payload: Signed }))
    )
    expectTypeOf<Route.Services<typeof route>>().toEqualTypeOf<"Bans" | "Verifier">()
  })
})
