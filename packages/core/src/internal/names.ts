/**
 * Names, as problems tell of them.
 */

/** All of them, quoted. */
export const list = (names: Iterable<string>): string => Array.from(names, (name) => `"${name}"`).join(", ")

/** Which names there are instead of one that is none. */
export const there = (names: ReadonlyArray<string>): string =>
  names.length === 0 ? "there are none" : `there are ${list(names)}`
