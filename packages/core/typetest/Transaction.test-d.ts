// @effect-diagnostics missingEffectError:off
import { Action, ChannelError, Consumer, Handlers, Repository } from "@effect-channels/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"

class Job extends Schema.Class<Job>("Job")({ id: Schema.Int, state: Schema.String }) {}
class Jobs extends Repository.Service<Jobs>()("app/Jobs", { schema: Job, key: "id" }) {}
class Locked extends Schema.TaggedError<Locked>()("Locked", {}, { httpApiStatus: 409 }) {}
class SqlError extends Schema.TaggedError<SqlError>()("SqlError", {}) {}
class Database extends Context.Service<Database, {
  readonly transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
}>()("app/Database") {}

const finish = Action.make("finish", { success: Job, error: [Repository.NotFound, Locked] }).pipe(Action.object(Job))
const ping = Action.make("ping")
const tail = Action.make("tail", { success: Job, stream: true, error: Repository.NotFound }).pipe(Action.object(Job))
const OneJob = Consumer.make("job", { path: "/ws/:id/", params: { id: Schema.NumberFromString } }).pipe(
  Consumer.add(finish)
)
const handlers = Consumer.handlers(OneJob)
const object = ({ params }: { readonly params: { readonly id: number } }) => Repository.get(Jobs, params.id)
const run = ({ object }: { readonly object: Job }) => Effect.succeed(object)

describe("the transaction of a handler", () => {
  it("hands on what it surrounds, and what it needs the layer needs", () => {
    const live = handlers.pipe(
      Handlers.handle("finish", {
        object: ({ params }) => {
          expectTypeOf(params).toEqualTypeOf<{ readonly id: number }>()
          return Effect.succeed(new Job({ id: params.id, state: "" }))
        },
        run: ({ object }) => {
          expectTypeOf(object).toEqualTypeOf<Job>()
          return Effect.succeed(object)
        },
        transaction: (effect) => Jobs.use((jobs) => jobs.transaction(effect))
      }),
      Handlers.toLayer
    )
    expectTypeOf(live).toEqualTypeOf<Layer.Layer<Handlers.Live<"job">, Handlers.DefinitionError, Jobs>>()
  })

  it("may be left out, or be any function that does so", () => {
    handlers.pipe(Handlers.handle("finish", { object, run }))
    handlers.pipe(Handlers.handle("finish", { object, run, transaction: undefined }))
    const same = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | ChannelError.Unavailable, R> => effect
    handlers.pipe(Handlers.handle("finish", { object, run, transaction: same }))
    handlers.pipe(
      Handlers.handle("finish", {
        object,
        run,
        transaction: (effect) =>
          Effect.gen(function*() {
            const database = yield* Database
            return yield* Effect.catchTag(database.transaction(effect), "SqlError", () => Effect.fail(new Locked()))
          })
      })
    )
  })

  it("fails with what the action declares, or any action may fail with", () => {
    const failing = <E>(error: E) => <A, E2, R>(effect: Effect.Effect<A, E2, R>): Effect.Effect<A, E | E2, R> =>
      Effect.andThen(Effect.fail(error), effect)
    handlers.pipe(Handlers.handle("finish", { object, run, transaction: failing(new Locked()) }))
    handlers.pipe(
      Handlers.handle("finish", { object, run, transaction: failing(new ChannelError.Unavailable({ message: "" })) })
    )
    // @ts-expect-error: not declared
    handlers.pipe(Handlers.handle("finish", { object, run, transaction: failing(new SqlError()) }))
    handlers.pipe(Handlers.handle("finish", {
      object,
      run,
      // @ts-expect-error: not declared
      transaction: (effect) => Database.use((database) => database.transaction(effect))
    }))
  })

  it("does not answer, nor swallow, anything itself", () => {
    handlers.pipe(Handlers.handle("finish", {
      object,
      run,
      // @ts-expect-error: it does not know what the effect answers with
      transaction: () => Effect.succeed(new Job({ id: 1, state: "" }))
    }))
    handlers.pipe(Handlers.handle("finish", {
      object,
      run,
      // @ts-expect-error: nor what there is when it fails
      transaction: (effect) => Effect.catch(effect, () => Effect.void)
    }))
    handlers.pipe(Handlers.handle("finish", {
      object,
      run,
      // @ts-expect-error: no effect
      transaction: () => true
    }))
  })

  it("is there for an object only, which is not streamed", () => {
    const Others = Consumer.make("others", { path: "/ws/:id/" }).pipe(Consumer.add(ping, tail))
    const others = Consumer.handlers(Others)
    const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>) => effect
    // @ts-expect-error: it is about no object
    others.pipe(Handlers.handle("ping", { run: () => Effect.void, transaction }))
    const job = () => Effect.succeed(new Job({ id: 1, state: "" }))
    others.pipe(Handlers.handle("tail", { object: job, run: ({ object }) => Stream.make(object) }))
    // @ts-expect-error: a stream lasts too long
    others.pipe(Handlers.handle("tail", { object: job, run: ({ object }) => Stream.make(object), transaction }))
  })
})
