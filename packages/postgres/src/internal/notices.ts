/**
 * What the triggers say: `["schema","table",["key",…]]`, or without keys where there are too many of them.
 */

/** What has been written in a table, by the keys as text; `undefined` where they are not known. */
export interface Notice {
  readonly topic: string
  readonly keys: ReadonlyArray<string> | undefined
}

/** A table, by its schema and name. */
export const topicOf = (schema: string, table: string): string => JSON.stringify([schema, table])

/** Reads a notice; `undefined` where somebody else has said something else. */
export const parse = (payload: string): Notice | undefined => {
  let said: unknown
  try {
    said = JSON.parse(payload)
  } catch {
    return undefined
  }
  if (!Array.isArray(said)) return undefined
  const [schema, table, keys] = said as ReadonlyArray<unknown>
  if (typeof schema !== "string" || typeof table !== "string") return undefined
  return {
    topic: topicOf(schema, table),
    keys: Array.isArray(keys) && keys.every((key) => typeof key === "string") ? keys : undefined
  }
}

/** No more keys than this are told at once. */
const maxKeys = 1000

/** What several notices say together: each key once. */
export const merge = (notices: Iterable<Notice>): ReadonlyArray<Notice> => {
  const merged = new Map<string, Set<string> | undefined>()
  for (const { keys, topic } of notices) {
    const before = merged.get(topic)
    if (keys === undefined || (before === undefined && merged.has(topic))) {
      merged.set(topic, undefined)
      continue
    }
    const all = before ?? new Set()
    for (const key of keys) all.add(key)
    merged.set(topic, all.size > maxKeys ? undefined : all)
  }
  return Array.from(merged, ([topic, keys]) => ({ topic, keys: keys && Array.from(keys) }))
}
