import {
  Authentication,
  type ChannelError,
  Check,
  Consumer,
  Handlers,
  Permission,
  Repository
} from "@effect-channels/core"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { describe, expectTypeOf, it } from "vitest"

class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number }>()("app/CurrentUser") {}
class Doc extends Schema.Class<Doc>("Doc")({ id: Schema.Int, text: Schema.String, owner: Schema.Int }) {}
class Docs extends Repository.Service<Docs>()("app/Docs", { schema: Doc, key: "id" }) {}

const isOwner = Check.isOwner<Doc>()(CurrentUser, { object: "owner", user: "id" })
const Desk = Consumer.make("desk", { path: "/ws/:id/", params: { id: Schema.NumberFromString } })

describe("an object that guards the handshake", () => {
  it("is loaded by the scope of the connection", () => {
    Desk.pipe(Consumer.permitConnectObject((scope) => {
      expectTypeOf(scope.params).toEqualTypeOf<{ readonly id: number }>()
      expectTypeOf(scope.id).toEqualTypeOf<string>()
      return Repository.get(Docs, scope.params.id)
    }, isOwner))
    // @ts-expect-error: the path has no such parameter
    Desk.pipe(Consumer.permitConnectObject(({ params }) => Repository.get(Docs, params.pk), isOwner))
    // @ts-expect-error: no effect
    Desk.pipe(Consumer.permitConnectObject(({ params }) => params.id, Permission.allow))
  })

  it("is what its permission looks at", () => {
    const load = ({ params }: { readonly params: { readonly id: number } }) => Repository.get(Docs, params.id)
    const ofText = Permission.object<string>()("ofText", ({ object }) => object !== "")
    const ofPayload = Permission.object<Doc, { readonly text: string }>()(
      "ofPayload",
      ({ payload }) => payload.text !== ""
    )
    const ofParams = Permission.object<Doc, unknown, { readonly id: number }>()(
      "ofParams",
      ({ params }) => params.id > 0
    )
    const ofOthers = Permission.object<Doc, unknown, { readonly pk: number }>()(
      "ofOthers",
      ({ params }) => params.pk > 0
    )
    const ofEvent = Permission.delivery<string>()("ofEvent", () => true)
    Desk.pipe(Consumer.permitConnectObject(load, ofParams))
    Desk.pipe(Consumer.permitConnectObject(load, Permission.or(Check.isAuthenticated(CurrentUser), isOwner)))
    Desk.pipe(Consumer.permitConnectObject(load, Check.actionIn(["$connect"])))
    // @ts-expect-error: this is no text
    Desk.pipe(Consumer.permitConnectObject(load, ofText))
    // @ts-expect-error: there is no payload
    Desk.pipe(Consumer.permitConnectObject(load, ofPayload))
    // @ts-expect-error: the path has no such parameter
    Desk.pipe(Consumer.permitConnectObject(load, ofOthers))
    // @ts-expect-error: there is no event
    Desk.pipe(Consumer.permitConnectObject(load, ofEvent))
    // @ts-expect-error: there is no object without one
    Desk.pipe(Consumer.permitConnect(isOwner))
  })

  it("needs what loading and the permission need", () => {
    const live = Desk.pipe(
      Consumer.permitConnectObject(({ params }) => Repository.get(Docs, params.id), isOwner),
      Consumer.handlers,
      Handlers.toLayer
    )
    expectTypeOf(live).toEqualTypeOf<
      Layer.Layer<
        Handlers.Live<"desk">,
        Handlers.DefinitionError,
        Docs | Authentication.Authenticator<CurrentUser>
      >
    >()
  })

  it("may fail as it likes", () => {
    Desk.pipe(Consumer.permitConnectObject(() => Effect.fail("no"), Permission.allow))
    expectTypeOf(Repository.get(Docs, 1)).toEqualTypeOf<
      Effect.Effect<Doc, Repository.NotFound | ChannelError.Unavailable, Docs>
    >()
  })
})
