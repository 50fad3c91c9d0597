import * as Action from "@effect-channels/core/Action"
import * as ConnectionScope from "@effect-channels/core/ConnectionScope"
import * as Consumer from "@effect-channels/core/Consumer"
import * as Handlers from "@effect-channels/core/Handlers"
import * as Permission from "@effect-channels/core/Permission"
import * as Pipeline from "@effect-channels/core/Pipeline"
import * as Route from "@effect-channels/core/Route"
import * as Transport from "@effect-channels/core/Transport"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Connection } from "../src/internal/connection.ts"
import { Standing } from "../src/internal/standing.ts"

interface Item {
  readonly id: number
}

const isOne = Permission.object<Item>()("isOne", ({ object }) => object.id === 1)
const isTwo = Permission.object<Item>()("isTwo", ({ object }) => object.id === 2)
const isMember = Permission.connection("isMember", Effect.succeed(true))

const item = Schema.Struct({ id: Schema.Int })

const expressions = {
  or: Permission.or(isOne, isTwo),
  and: Permission.and(isOne, Permission.not(isTwo)),
  not: Permission.not(isTwo),
  all: Permission.all([isMember, Permission.or(isOne, Permission.not(isMember))])
}

describe("what is known of a connection", () => {
  for (const [name, permission] of Object.entries(expressions)) {
    it.effect(`does not grow with its messages: ${name}`, () =>
      Effect.gen(function*() {
        const find = Action.make("find", { success: item }).pipe(Action.object(item), Action.permit(permission))
        const Items = Consumer.make("items", { path: "/ws/" }).pipe(Consumer.add(find))
        const live = Consumer.handlers(Items).pipe(
          Handlers.handle("find", {
            object: () => Effect.succeed({ id: 1 }),
            run: ({ object }) => Effect.succeed(object)
          }),
          Handlers.toLayer
        )
        const compiled = yield* Effect.provide(Handlers.Live("items"), live)
        const limits = { maxInFlight: 10, maxUnsent: 1e6, maxMessage: 1000 }
        const standing = new Standing(compiled, ConnectionScope.make({ id: "1", url: "/ws/" }, {}), yield* Scope.make())
        const connection = new Connection(standing, {}, limits, undefined)
        const [transport, peer] = yield* Transport.makeMemory
        yield* Effect.forkScoped(connection.run(transport), { startImmediately: true })
        const ask = Effect.andThen(peer.send("{\"action\":\"find\"}"), peer.take)
        assert.include(yield* ask, "\"status\":200")
        const { kept } = standing
        assert.isAbove(kept, 0)
        for (let i = 0; i < 20; i++) assert.include(yield* ask, "\"status\":200")
        assert.strictEqual(standing.kept, kept)
      }))
  }
})

describe("a schema of a parameter that breaks", () => {
  const broken = Schema.String.check(Schema.makeFilter((): boolean => {
    throw new Error("a bug in the schema")
  }))

  it.effect("answers a message with 500, and a handshake too", () =>
    Effect.gen(function*() {
      const ping = Action.make("ping")
      const Broken = Consumer.make("broken", { path: "/ws/:name/", params: { name: broken } }).pipe(Consumer.add(ping))
      const Routed = Consumer.make("routed", { path: "/ws/" }).pipe(
        Consumer.add(Route.make(":id/", { id: broken }).pipe(Route.add(ping)))
      )
      const live = Layer.merge(
        Consumer.handlers(Broken).pipe(Handlers.handle("ping", () => Effect.void), Handlers.toLayer),
        Consumer.handlers(Routed).pipe(Handlers.handle(":id/", "ping", () => Effect.void), Handlers.toLayer)
      )
      const pipeline = yield* Effect.provide(Pipeline.make([Broken, Routed]), live)
      const refused = yield* Effect.flip(pipeline.connect({ id: "1", url: "/ws/a/" }))
      assert.strictEqual(refused.status, 500)
      const session = yield* pipeline.connect({ id: "2", url: "/ws/" })
      const [transport, peer] = yield* Transport.makeMemory
      yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
      yield* peer.send("{\"action\":\"ping\",\"route\":\"a/\"}")
      assert.include(yield* peer.take, "\"status\":500")
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))
})
