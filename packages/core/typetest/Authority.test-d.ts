import { Authentication, Authority, type ChannelError } from "@effect-channels/core"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { describe, expectTypeOf, it } from "vitest"

class Keyed
  extends Authentication.Service<Keyed, { readonly id: string }>()("test/Keyed", { key: (user) => user.id })
{}
class Unkeyed extends Authentication.Service<Unkeyed, { readonly id: string }>()("test/Unkeyed") {}

describe("a target", () => {
  it("is a user only where users can be told apart", () => {
    expectTypeOf(Authority.identity(Keyed, "1")).toEqualTypeOf<Authority.Target>()
    // @ts-expect-error the service has no key
    Authority.identity(Unkeyed, "1")
    // @ts-expect-error a key is a string
    Authority.identity(Keyed, 1)
  })
})

describe("invalidate", () => {
  it("needs nothing, and says when others could not be told", () => {
    expectTypeOf(Authority.invalidate(Authority.everyone)).toEqualTypeOf<
      Effect.Effect<void, ChannelError.Unavailable>
    >()
    // @ts-expect-error no target
    Authority.invalidate("everyone")
  })
})

describe("an authority", () => {
  it("is a reference: layers for it need nothing, and promise nothing", () => {
    expectTypeOf(Authority.layerMemory).toEqualTypeOf<Layer.Layer<never>>()
    expectTypeOf(Authority.makeMemory().subscribe(() => {})).toEqualTypeOf<Effect.Effect<void, never, Scope.Scope>>()
  })
})
