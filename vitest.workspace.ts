import { defineConfig } from "vitest/config"

const project = (name: string, root: string, include: ReadonlyArray<string>) => ({
  root,
  test: { name, include: [...include] }
})

export default defineConfig({
  test: {
    projects: [
      project("core", "packages/core", ["test/**/*.test.ts"]),
      project("jwt", "packages/jwt", ["test/**/*.test.ts"]),
      project("node", "packages/node", ["test/**/*.test.ts"]),
      project("postgres", "packages/postgres", ["test/**/*.test.ts"]),
      project("redis", "packages/redis", ["test/**/*.test.ts"]),
      project("sql", "packages/sql", ["test/**/*.test.ts"]),
      project("sqlite", "packages/sqlite", ["test/**/*.test.ts"]),
      project("examples", "examples", ["*/*.test.ts", "*/test/**/*.test.ts"]),
      {
        test: {
          name: "types",
          typecheck: {
            enabled: true,
            only: true,
            checker: "tsc",
            tsconfig: "tsconfig.typetest.json",
            include: ["packages/*/typetest/**/*.test-d.ts"]
          }
        }
      }
    ]
  }
})
