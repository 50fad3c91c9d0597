// @effect-diagnostics missingEffectError:off missingEffectContext:off
import { Repository } from "@effect-channels/core"
import { PostgresChanges } from "@effect-channels/postgres"
import { SqlRepository } from "@effect-channels/sql"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { describe, expectTypeOf, it } from "vitest"

const Word = Schema.Struct({ word: Schema.String, count: Schema.Int, madeAt: Schema.Date, version: Schema.Int })
class Words extends Repository.Service<Words>()("app/Words", {
  schema: Word,
  key: "word",
  generated: [],
  version: "version"
}) {}

describe("a repository with a feed", () => {
  it("needs what the feed needs, and fails as it does", () => {
    for (const feed of [PostgresChanges.installed, PostgresChanges.feed]) {
      const layer = SqlRepository.layer(Words, { table: "words", columns: { madeAt: "made_at" }, feed })
      expectTypeOf(layer).toEqualTypeOf<
        Layer.Layer<
          Words,
          SqlRepository.TableError | PostgresChanges.SetupError | SqlError,
          SqlClient | PostgresChanges.PostgresChanges
        >
      >()
    }
  })

  it("needs nothing more without one", () => {
    expectTypeOf(SqlRepository.layer(Words, { table: "words" })).toEqualTypeOf<
      Layer.Layer<Words, SqlRepository.TableError | SqlError, SqlClient>
    >()
  })

  it("is told its own keys", () => {
    expectTypeOf<Repository.KeyOf<typeof Words>>().toEqualTypeOf<string>()
    const feedOf = <Key>(): Repository.Feed<Key> => ({ subscribe: () => Effect.void })
    SqlRepository.layer(Words, {
      table: "words",
      feed: (service, place) => {
        expectTypeOf(service.definition.key).toEqualTypeOf<"word">()
        expectTypeOf(place.table).toEqualTypeOf<string>()
        return Effect.succeed(feedOf<string>())
      }
    })
    // @ts-expect-error its keys are text
    SqlRepository.layer(Words, { table: "words", feed: () => Effect.succeed(feedOf<number>()) })
    // @ts-expect-error there is no such field
    SqlRepository.layer(Words, { table: "words", columns: { at: "made_at" } })
  })
})
