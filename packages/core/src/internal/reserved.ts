/**
 * The actions that are the protocol's own, whose names begin with "$": they are of the connection, not of a route.
 */
import type * as Envelope from "./envelope.ts"

/**
 * Whether a frame may name one of these actions, in whichever way its JSON spells that, or a binary one: such a one is read before it
 * is put in line.
 */
export const isLikely = (frame: string | Uint8Array): boolean =>
  typeof frame === "string" ? frame.includes("\"$") || frame.includes("\"\\u0024") : frame.includes(dollar)

const dollar = 0x24

/** Whether a request is the one of this name. */
export const isNamed = (
  envelope: Envelope.Envelope | Envelope.Unreadable,
  action: string
): envelope is Envelope.Envelope => envelope.action === action && envelope.route === "" && "body" in envelope
