import { describe } from "@effect/vitest"
import { repositorySuite } from "../../core/test/support/repositories.ts"
import { layerOf, postgresAlone, skipped, sqliteInFile, sqliteInMemory } from "./support/tables.ts"

repositorySuite("over SQLite in memory", { isRemote: true, runs: 25, layer: layerOf(sqliteInMemory) })

repositorySuite("over SQLite in a file", { isRemote: true, runs: 10, layer: layerOf(sqliteInFile) })

describe.skipIf(skipped !== undefined)("PostgreSQL", () => {
  repositorySuite("over PostgreSQL", { isRemote: true, runs: 25, layer: layerOf(postgresAlone()) })
})
