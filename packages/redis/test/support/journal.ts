/**
 * What members were given, held against what was sent and what the README promises.
 */

/** One event as a member was given it: from whom, and its number. */
export type Given = readonly [sender: number, number: number]

/** What one sender has sent to a group: its numbers from 1 on, and whether each send succeeded. */
export interface Sent {
  readonly sender: number
  readonly outcomes: ReadonlyArray<boolean>
}

/** What one member was given, and what it had to be given at least. */
export interface Account {
  readonly member: string
  readonly given: ReadonlyArray<Given>
  /** Whether it has to have an event. */
  readonly must: (sender: number, number: number, succeeded: boolean) => boolean
}

/** Numbers that are between these, both included: when everybody was there. */
export type Span = readonly [from: number, to: number]

/** Whether a number is in one of the spans. */
export const within = (spans: ReadonlyArray<Span>, number: number): boolean =>
  spans.some(([from, to]) => number >= from && number <= to)

/**
 * What is wrong: events that were given twice, in another order than the sender's, that were never sent, or that somebody had to be
 * given and was not. Where there is one order for everybody, what differs from it.
 */
export const violations = (
  sent: ReadonlyArray<Sent>,
  accounts: ReadonlyArray<Account>,
  oneOrder: boolean
): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  for (const { given, member, must } of accounts) {
    const seen = new Map<number, Set<number>>()
    const last = new Map<number, number>()
    for (const [sender, number] of given) {
      const own = seen.get(sender) ?? new Set()
      seen.set(sender, own)
      const before = last.get(sender) ?? 0
      if (own.has(number)) wrong.push(`${member}: ${sender}/${number} was given twice`)
      else if (number < before) wrong.push(`${member}: ${sender}/${number} was given after ${before}`)
      own.add(number)
      last.set(sender, Math.max(before, number))
    }
    for (const { outcomes, sender } of sent) {
      const own = seen.get(sender) ?? new Set()
      outcomes.forEach((succeeded, i) => {
        if (!own.has(i + 1) && must(sender, i + 1, succeeded)) wrong.push(`${member}: ${sender}/${i + 1} is missing`)
      })
      for (const number of own) {
        if (number > outcomes.length) wrong.push(`${member}: ${sender}/${number} was never sent`)
      }
    }
    for (const sender of seen.keys()) {
      if (!sent.some((its) => its.sender === sender)) wrong.push(`${member}: ${sender} has sent nothing`)
    }
    const first = accounts[0]!
    if (!oneOrder || given === first.given) continue
    const at = Array.from({ length: Math.max(given.length, first.given.length) }, (_, i) => i)
      .find((i) => String(given[i]) !== String(first.given[i]))
    if (at !== undefined) {
      wrong.push(`${member}: has ${String(given[at])} where ${first.member} has ${String(first.given[at])}`)
    }
  }
  return wrong
}
