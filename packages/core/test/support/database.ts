/**
 * A database that several processes share, for the tests of what they tell each other.
 */
import type { Repository } from "@effect-channels/core"
import * as Effect from "effect/Effect"

/** The repository of one process over the rows of a database: it hears of its own writes only. */
export const processOf = <Row extends { readonly id: number }, New>(
  rows: Repository.Repository<Row, number, New>
): Repository.Repository<Row, number, New> => {
  const listeners = new Set<(change: Repository.Change<number>) => void>()
  const tell = (key: number) =>
    Effect.sync(() => listeners.forEach((listener) => listener({ _tag: "Written", keys: [key] })))
  return {
    ...rows,
    hearsAll: false,
    insert: (row) => Effect.tap(rows.insert(row), ({ id }) => tell(id)),
    update: (key, changes, options) => Effect.tap(rows.update(key, changes, options), tell(key)),
    remove: (key, options) => Effect.tap(rows.remove(key, options), tell(key)),
    changes: (listener) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => {
          listeners.add(listener)
        }),
        () => Effect.sync(() => listeners.delete(listener))
      ))
  }
}
