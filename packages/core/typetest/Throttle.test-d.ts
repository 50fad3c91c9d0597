import {
  Action,
  Authentication,
  type ChannelError,
  type ConnectionScope,
  Consumer,
  type Permission,
  Throttle
} from "@effect-channels/core"
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { describe, expectTypeOf, it } from "vitest"

interface User {
  readonly id: number
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("app/CurrentUser", {
  key: (user) => String(user.id)
}) {}
class Unkeyed extends Authentication.Service<Unkeyed, User>()("app/Unkeyed") {}

const limit: Throttle.Limit = { limit: 1, window: "1 second" }

interface Message {
  readonly action: string
}
type Stored = ChannelError.Throttled | ChannelError.Unavailable
type Scope = ConnectionScope.ConnectionScope

describe("a throttle", () => {
  it("of messages is a check of the action, which is throttled, or cannot be counted where there is a store", () => {
    expectTypeOf(Throttle.perConnection("x", limit)).toEqualTypeOf<
      Permission.Permission<Message, ChannelError.Throttled, Scope>
    >()
    expectTypeOf(Throttle.perIdentity(CurrentUser, "x", limit)).toEqualTypeOf<
      Permission.Permission<Message, Stored, CurrentUser | Scope>
    >()
    expectTypeOf(Throttle.perAddress("x", limit)).toEqualTypeOf<Permission.Permission<Message, Stored, Scope>>()
  })

  it("of handshakes is a check of the connection", () => {
    expectTypeOf(Throttle.connectPerIdentity(CurrentUser, "x", limit)).toEqualTypeOf<
      Permission.Permission<unknown, Stored, CurrentUser | Scope>
    >()
    expectTypeOf(Throttle.connectPerAddress("x", limit)).toEqualTypeOf<
      Permission.Permission<unknown, Stored, Scope>
    >()
  })

  it("of users needs a service that tells them apart", () => {
    // @ts-expect-error: it has no key
    Throttle.perIdentity(Unkeyed, "x", limit)
    // @ts-expect-error: it has no key
    Throttle.connectPerIdentity(Unkeyed, "x", limit)
    // @ts-expect-error: no service at all
    Throttle.perIdentity("x", limit)
  })

  it("stands where its facts are", () => {
    const ping = Action.make("ping").pipe(Action.permit(Throttle.perConnection("x", limit)))
    Consumer.make("x", { path: "/" }).pipe(
      Consumer.permitConnect(Throttle.connectPerAddress("x", limit)),
      Consumer.permit(Throttle.perIdentity(CurrentUser, "x", limit)),
      Consumer.add(ping)
    )
    // @ts-expect-error: there is no message in a handshake
    Consumer.make("x", { path: "/" }).pipe(Consumer.permitConnect(Throttle.perAddress("x", limit)))
  })

  it("takes a limit", () => {
    Throttle.perAddress("x", { limit: 1, window: { minutes: 1 }, algorithm: "token-bucket", burst: 2 })
    Throttle.perAddress("x", { limit: 1, window: 1000, algorithm: undefined, burst: undefined })
    // @ts-expect-error: no window
    Throttle.perAddress("x", { limit: 1 })
    // @ts-expect-error: no duration
    Throttle.perAddress("x", { limit: 1, window: "1 fortnight" })
    // @ts-expect-error: no such algorithm
    Throttle.perAddress("x", { limit: 1, window: 1000, algorithm: "leaky-bucket" })
    // @ts-expect-error: no such option
    Throttle.perAddress("x", { limit: 1, window: 1000, bursts: 1 })
  })

  it("takes the address from the scope", () => {
    Throttle.perAddress("x", limit, { address: (scope) => scope.headers["x-real-ip"] })
    // @ts-expect-error: no text
    Throttle.perAddress("x", limit, { address: () => 1 })
    // @ts-expect-error: the connection is all there is
    Throttle.perConnection("x", limit, { address: () => undefined })
  })
})

describe("a store", () => {
  it("may be unavailable, and not fail otherwise", () => {
    expectTypeOf<Context.Service.Shape<typeof Throttle.Store>>().toEqualTypeOf<Throttle.Store>()
    type Answer = ReturnType<Throttle.Store["consume"]>
    expectTypeOf<Effect.Effect<number>>().toExtend<Answer>()
    expectTypeOf<Effect.Effect<number, ChannelError.Unavailable>>().toExtend<Answer>()
    expectTypeOf<Effect.Effect<number, "down">>().not.toExtend<Answer>()
    expectTypeOf<Effect.Effect<number, never, CurrentUser>>().not.toExtend<Answer>()
    expectTypeOf<Effect.Effect<void>>().not.toExtend<Answer>()
  })

  it("in memory is one, and a layer that needs nothing", () => {
    expectTypeOf(Throttle.makeMemory()).toExtend<Throttle.Store>()
    expectTypeOf(Throttle.makeMemory({ maxKeys: 1 }).size()).toEqualTypeOf<number>()
    expectTypeOf(Throttle.layerMemory()).toEqualTypeOf<Layer.Layer<never>>()
    // @ts-expect-error: no such option
    Throttle.makeMemory({ maxSize: 1 })
  })
})
