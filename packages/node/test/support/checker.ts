/**
 * What must hold of everything that clients have called and heard, whatever went wrong meanwhile.
 */

/** What a client has heard, in order. */
export type Heard =
  | { readonly _tag: "Connected"; readonly isAgain: boolean }
  | { readonly _tag: "Disconnected" }
  | {
    readonly _tag: "Fresh" | "Resumed" | "Gap" | "CaughtUp"
    readonly group: string
    /** The position that the client says it is at when it has heard this, or a later one of the same connection. */
    readonly at: string | undefined
  }
  | { readonly _tag: "Event"; readonly group: string; readonly nonce: string; readonly id: string | undefined }

/** How a call ended. */
export type Outcome =
  /** `nonce` is what the reply echoes; of a stream, it is that of the call. */
  | { readonly _tag: "Success"; readonly nonce: string }
  | { readonly _tag: "Failure"; readonly error: string; readonly isSent?: boolean | undefined }
  | { readonly _tag: "Interrupted" }

/** A call of a client. */
export interface Call {
  /** Another one than that of every other call. */
  readonly nonce: string
  readonly action: string
  /** Whether it may be sent again: never, as it is, or with a key. */
  readonly repeats: "no" | "asIs" | "byKey"
  /** The group to which it sends its nonce as an event, where it succeeds. */
  readonly to?: string | undefined
  /** Of a stream: its items, and how many there are when it is at its end. */
  readonly items?: ReadonlyArray<{ readonly nonce: string; readonly n: number }> | undefined
  readonly length?: number | undefined
  /** One, when all is over. */
  readonly outcomes: ReadonlyArray<Outcome>
}

/** What a group was sent, in the order of its history. */
export interface Group {
  /** How many events it keeps; `undefined` where it has no history. */
  readonly kept: number | undefined
  readonly events: ReadonlyArray<{ readonly nonce: string; readonly id: string | undefined }>
}

/** Everything that happened. */
export interface Run {
  readonly clients: ReadonlyArray<{
    readonly name: string
    /** Whether it begins with all that is kept, not with what is new. */
    readonly isFromKept?: boolean | undefined
    readonly calls: ReadonlyArray<Call>
    readonly heard: ReadonlyArray<Heard>
  }>
  /** The nonces of what the server has done, as often as it has. */
  readonly effects: ReadonlyArray<string>
  readonly groups: Readonly<Record<string, Group>>
  /** The errors that calls may fail with. */
  readonly errors: ReadonlyArray<string>
  /** Whether everybody is to have heard everything that was sent to groups with a history. */
  readonly isSettled: boolean
}

/** What does not hold; nothing, where all is well. */
export const problems = (run: Run): ReadonlyArray<string> => {
  const effects = new Map<string, number>()
  for (const nonce of run.effects) effects.set(nonce, (effects.get(nonce) ?? 0) + 1)
  const nonces = run.clients.flatMap(({ calls }) => calls.map(({ nonce }) => nonce))
  return [
    ...nonces.filter((nonce, i) => nonces.indexOf(nonce) < i).map((nonce) => `two calls have the nonce ${nonce}`),
    ...run.effects.filter((nonce) => !nonces.includes(nonce)).map((nonce) => `nobody has called ${nonce}`),
    ...run.clients.flatMap(({ calls, heard, isFromKept = false, name }) =>
      [
        ...calls.flatMap((call) => problemsOfCall(call, effects.get(call.nonce) ?? 0, run)),
        ...problemsOfConnections(heard),
        ...Object.keys(run.groups).flatMap((group) => problemsOfGroup(heard, group, isFromKept, run))
      ].map((problem) => `${name}: ${problem}`)
    )
  ]
}

const problemsOfCall = (call: Call, effects: number, { errors, groups }: Run): ReadonlyArray<string> => {
  const found: Array<string> = []
  const what = `${call.action} ${call.nonce}`
  const [outcome] = call.outcomes
  if (outcome === undefined) return [`${what} has not ended`]
  if (call.outcomes.length > 1) found.push(`${what} has ended ${call.outcomes.length} times`)
  if (call.repeats !== "asIs" && effects > 1) found.push(`${what} was done ${effects} times`)
  const sent = call.to === undefined ? 0 : groups[call.to]!.events.filter(({ nonce }) => nonce === call.nonce).length
  if (sent > 1) found.push(`${what} was sent to its group ${sent} times`)
  if (sent > 0 && effects === 0) found.push(`${what} was sent to its group, and not done`)
  switch (outcome._tag) {
    case "Success":
      if (outcome.nonce !== call.nonce) found.push(`${what} was answered with the reply to ${outcome.nonce}`)
      if (effects === 0) found.push(`${what} has succeeded, and was not done`)
      if (call.to !== undefined && sent === 0) found.push(`${what} has succeeded, and was not sent to its group`)
      break
    case "Failure":
      if (!errors.includes(outcome.error)) found.push(`${what} has failed with ${outcome.error}`)
      if (outcome.error === "ConnectionLost" && outcome.isSent === undefined) {
        found.push(`${what} does not say whether it was sent`)
      }
      if (outcome.isSent === false && effects > 0) found.push(`${what} was not sent, it says, and was done`)
      break
  }
  return [...found, ...problemsOfItems(call, outcome).map((problem) => `${what} ${problem}`)]
}

const problemsOfItems = ({ items, length, nonce, repeats }: Call, outcome: Outcome): ReadonlyArray<string> => {
  if (items === undefined) return []
  const found: Array<string> = []
  let next = 0
  for (const item of items) {
    if (item.nonce !== nonce) found.push(`has an item of ${item.nonce}`)
    // One that was begun anew begins with its first.
    if (item.n !== next && !(item.n === 0 && repeats === "asIs")) {
      found.push(`has the item ${item.n} where ${next} is the next one`)
    }
    next = item.n + 1
  }
  if (outcome._tag === "Success" && next !== length) found.push(`has ended after ${next} of ${length} items`)
  return found
}

const problemsOfConnections = (heard: ReadonlyArray<Heard>): ReadonlyArray<string> => {
  const found: Array<string> = []
  let isConnected = false
  let wasConnected = false
  for (const [i, one] of heard.entries()) {
    if (one._tag === "Connected") {
      if (isConnected) found.push(`was connected twice at once (${i})`)
      if (one.isAgain !== wasConnected) found.push(`was told isAgain: ${one.isAgain} (${i})`)
      isConnected = wasConnected = true
    } else if (!isConnected) {
      found.push(`has heard ${one._tag} without a connection (${i})`)
    } else if (one._tag === "Disconnected") {
      isConnected = false
    }
  }
  return found
}

const problemsOfGroup = (
  heard: ReadonlyArray<Heard>,
  name: string,
  isFromKept: boolean,
  { groups, isSettled }: Run
): ReadonlyArray<string> => {
  const { events, kept } = groups[name]!
  const places = new Map(events.map(({ nonce }, i) => [nonce, i]))
  const found: Array<string> = []
  const say = (i: number, problem: string) => found.push(`${problem} in ${name} (${i})`)
  /** The place of the last event that was heard. */
  let last = -1
  /** The next event is to be at this place, or between the last one and this place. */
  let next: number | undefined
  let isBetween = true
  /** The position that the client has last been at. */
  let position: string | undefined
  /** Whether it was told on this connection where it is, and whether ever. */
  let isPlaced = false
  let wasPlaced = false
  let isCatchingUp = false
  for (const [i, one] of heard.entries()) {
    if (one._tag === "Connected") {
      isPlaced = kept === undefined
      isCatchingUp = false
      if (kept === undefined) {
        next = undefined
        isBetween = true
      }
      continue
    }
    if (one._tag === "Disconnected" || one.group !== name) continue
    if (one._tag === "Event") {
      const place = places.get(one.nonce)
      if (place === undefined) {
        say(i, `has heard ${one.nonce}, which was not sent`)
        continue
      }
      if (events[place]!.id !== one.id) say(i, `has heard ${one.nonce} at ${one.id}, and it is at ${events[place]!.id}`)
      if (!isPlaced) say(i, `has heard ${one.nonce} before it was told where it is`)
      if (place <= last) say(i, `has heard ${one.nonce} again, or too late`)
      else if (next !== undefined && place > next) say(i, `has missed ${place - next} or more before ${one.nonce}`)
      else if (next !== undefined && place < next && !isBetween) say(i, `has heard ${one.nonce} too early`)
      last = Math.max(last, place)
      next = last + 1
      isBetween = false
      wasPlaced = true
      position = one.id
      continue
    }
    if (kept === undefined) {
      say(i, `was told ${one._tag}, and there is no history`)
      continue
    }
    if (one._tag === "CaughtUp") {
      if (!isCatchingUp) say(i, "was told CaughtUp without having to be")
      isCatchingUp = false
      wasPlaced = true
      position = one.at
      continue
    }
    if (isPlaced) say(i, `was told ${one._tag} twice`)
    isPlaced = true
    if (one._tag === "Fresh") {
      if (wasPlaced) say(i, "was told Fresh, and has been there")
      // Until it has heard something of what is kept, or that there is nothing, it is nowhere yet.
      isCatchingUp = isFromKept
      isBetween = true
      next = isFromKept ? undefined : placeOf(events, one.at) + 1
      if (isFromKept) continue
    }
    if (one._tag === "Resumed") {
      if (!wasPlaced) say(i, "was told Resumed, and has not been there")
      if (epochOf(position) !== epochOf(one.at)) say(i, `was told Resumed at ${one.at}, and has been at ${position}`)
      isCatchingUp = true
    } else if (one._tag === "Gap") {
      const place = placeOf(events, one.at)
      const missed = place - placeOf(events, position)
      if (!wasPlaced) say(i, "was told Gap, and has not been there")
      else if (epochOf(position) === epochOf(one.at) && missed <= kept) say(i, `was told Gap, and has missed ${missed}`)
      next = place + 1
      isBetween = true
    }
    position = one.at
    wasPlaced = true
  }
  if (isSettled && kept !== undefined) {
    const missing = events.length - (next ?? 0)
    if (missing > 0) say(heard.length, `has not heard the last ${missing}`)
  }
  return found
}

/** Positions are `<epoch>-<number>`, numbered from 1; 0 is before the first event. */
const epochOf = (position: string | undefined): string | undefined => position?.slice(0, position.lastIndexOf("-"))

/** The place of the event at a position; of the one before, where there is none. */
const placeOf = (events: Group["events"], position: string | undefined): number => {
  const at = events.findIndex(({ id }) => id === position)
  if (at >= 0) return at
  const first = events.findIndex(({ id }) => epochOf(id) === epochOf(position))
  return first < 0 ? events.length - 1 : first - 1
}
