/**
 * Lists over rows in an array.
 */
import { Filter, Query, type Repository, type Settings } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import { compare } from "../../src/internal/filter.ts"
import * as Listing from "../../src/internal/listing.ts"

export const settings: Pick<Settings.Settings, "pageSize" | "maxPageSize" | "secret"> = {
  pageSize: 20,
  maxPageSize: 100,
  secret: undefined
}

/** The definition of rows with this schema, by their `id`. */
export const definitionOf = (schema: Repository.RowSchema, key = "id"): Repository.Definition => ({
  schema,
  key,
  generated: [key],
  version: undefined,
  unique: []
})

/** Rows in an array that may change, and what was asked of it. */
export const sourceOf = <R extends object>(rows: () => ReadonlyArray<R>) => {
  const asked: Array<"count" | Repository.Selection<R>> = []
  const matching = (filter: Filter.Filter<R>) => rows().filter(Filter.matches(filter))
  const source: Listing.Source<R> = {
    count: (filter) =>
      Effect.sync(() => {
        asked.push("count")
        return matching(filter).length
      }),
    select: (selection) =>
      Effect.sync(() => {
        asked.push(selection)
        const { filter, limit, offset = 0, order } = selection
        const sorted = matching(filter).sort((a, b) => {
          for (const { direction, field } of order) {
            const found = compare(Reflect.get(a, field), Reflect.get(b, field))
            if (found !== 0) return direction === "ascending" ? found : -found
          }
          return 0
        })
        return sorted.slice(offset, limit === undefined ? undefined : offset + limit)
      })
  }
  return { asked, source }
}

/** The request that a route is. */
export const requestOf = (route: string): Listing.Request => {
  const at = route.indexOf("?")
  return { route, query: at < 0 ? Query.empty : Query.parse(route.slice(at)) }
}

/** A list that can be made. */
export const make = (
  declaration: Omit<Listing.Declaration, "settings"> & Partial<Pick<Listing.Declaration, "settings">>
) => {
  const made = Listing.make({ settings, ...declaration })
  if ("page" in made) return made
  throw new Error(made.join("; "))
}

/** What is wrong with a list. */
export const problemsOf = (
  declaration: Omit<Listing.Declaration, "settings"> & Partial<Pick<Listing.Declaration, "settings">>
): ReadonlyArray<string> => {
  const made = Listing.make({ settings, ...declaration })
  return "page" in made ? [] : made
}
