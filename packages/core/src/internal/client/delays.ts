/**
 * How long a client waits before it connects again.
 */

/** What the server has said of when to come back, if anything. */
export type Hint =
  | { readonly _tag: "None" }
  /** It restarts (close code 1012): it is back soon, and all of its clients with it. */
  | { readonly _tag: "Restart" }
  /** It has too much to do (1013, 503). */
  | { readonly _tag: "Busy" }
  /** Not before so many seconds; before an hour is over, in any case. */
  | { readonly _tag: "After"; readonly seconds: number }

/** The bounds, in milliseconds. */
export interface Bounds {
  readonly min: number
  readonly max: number
}

/** A server that wants more than this, in seconds, has made a mistake. */
const longest = 3600

/** So many attempts further on is a server that has too much to do, or whose clients all come at once. */
const cautious = 3

/**
 * The delay in milliseconds before an attempt, when `failed` of them in a row have failed; `random` is from 0 to 1, 1 excluded. Full
 * jitter, as in "Exponential Backoff And Jitter" of the AWS Architecture Blog.
 */
export const delayOf = (failed: number, hint: Hint, { max, min }: Bounds, random: number): number => {
  const steps = hint._tag === "Restart" || hint._tag === "Busy" ? Math.max(failed, cautious) : failed
  const jitter = random * Math.min(max, min * 2 ** Math.min(steps, 30))
  return Math.round(hint._tag === "After" ? Math.min(hint.seconds, longest) * 1000 + jitter : jitter)
}
