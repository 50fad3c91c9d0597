/**
 * What servers tell each other over the channels of Redis: a line that says what it is, and what there is to say, as JSON.
 * Whatever else is published there is nothing.
 */
import type * as Authority from "@effect-channels/core/Authority"
import type * as ChannelLayer from "@effect-channels/core/ChannelLayer"
import { parsePosition, type Position } from "./positions.ts"

/** An event, and the group that it is for. */
export interface Addressed {
  readonly key: string
  readonly envelope: ChannelLayer.Envelope
}

/** A member of a group with presence that came or went. */
export interface Change {
  readonly node: string
  /** Changes of a group are numbered. */
  readonly position: Position
  readonly key: string
  readonly id: string
  /** What is said of a member that came; `undefined` of one that went. */
  readonly data: string | undefined
}

/** What is said to all nodes. The messages of a node are numbered. */
export type Said =
  | { readonly _tag: "Signal"; readonly node: string; readonly number: number; readonly signal: ChannelLayer.Signal }
  | { readonly _tag: "Invalidate"; readonly node: string; readonly number: number; readonly target: Authority.Target }

/** What can be said. */
export type Wire =
  /**
   * An event without a position. The messages of a node are numbered. `isEcho` says that the members of the node that sends it
   * are given it when it comes back.
   */
  | {
    readonly _tag: "Sent"
    readonly node: string
    readonly number: number
    readonly isEcho: boolean
    readonly event: Addressed
  }
  /** An event for a group with a history. */
  | { readonly _tag: "Placed"; readonly position: Position; readonly event: Addressed }
  | { readonly _tag: "Changed"; readonly change: Change }
  | Said
  /** What a node tells itself: whatever comes behind it was published later. */
  | { readonly _tag: "Marked"; readonly node: string; readonly number: number }
  /** A node stops. */
  | { readonly _tag: "Stopped"; readonly node: string }

// ---- writing. The scripts put the position of what they number behind the first word.

/** The first word of what a script numbers. */
export const placedHead = "H"

/** The first words of a change of presence, which a script numbers. */
export const changedHead = (node: string, came: boolean): string => `${came ? "J" : "L"} ${node}`

/** An event for a group: what comes behind the first line, and what a history keeps. */
export const printEvent = (key: string, { data, except, status, type }: ChannelLayer.Envelope): string =>
  `${JSON.stringify(except === undefined ? [key, type, status] : [key, type, status, except])}\n${data}`

/** Who came or went. */
export const printMember = (key: string, id: string, data: string | undefined): string =>
  `${JSON.stringify([key, id])}\n${data ?? ""}`

export const printSent = (node: string, number: number, isEcho: boolean, event: string): string =>
  `${isEcho ? "E" : "M"} ${node} ${number}\n${event}`

export const printSignal = (node: string, number: number, signal: ChannelLayer.Signal): string =>
  `S ${node} ${number}\n${JSON.stringify(signal)}`

export const printInvalidate = (node: string, number: number, target: Authority.Target): string =>
  `A ${node} ${number}\n${JSON.stringify(target)}`

export const printMarked = (node: string, number: number): string => `B ${node} ${number}\n`

/** What a script publishes when a node stops. */
export const printStopped = (node: string): string => `D ${node}\n`

// ---- reading

/** Reads what was published; `undefined` where that is nothing. */
export const parseWire = (text: string): Wire | undefined => {
  const end = text.indexOf("\n")
  if (end === -1) return undefined
  const [kind, first = "", second = "", ...more] = text.slice(0, end).split(" ")
  const rest = text.slice(end + 1)
  if (first === "" || more.length > 0) return undefined
  switch (kind) {
    case "E":
    case "M": {
      const number = parseNumber(second)
      const event = parseEvent(rest)
      return number !== undefined && event !== undefined
        ? { _tag: "Sent", node: first, number, isEcho: kind === "E", event }
        : undefined
    }
    case "H": {
      const position = parsePosition(first)
      const event = parseEvent(rest)
      return position !== undefined && event !== undefined ? { _tag: "Placed", position, event } : undefined
    }
    case "J":
    case "L": {
      const position = parsePosition(second)
      const member = parseMember(rest)
      return position !== undefined && member !== undefined && (kind === "L" || isJson(member.data))
        ? {
          _tag: "Changed",
          change: { node: first, position, ...member, data: kind === "L" ? undefined : member.data }
        }
        : undefined
    }
    case "S": {
      const number = parseNumber(second)
      const signal = parseJson(rest)
      return number !== undefined && isSignal(signal) ? { _tag: "Signal", node: first, number, signal } : undefined
    }
    case "A": {
      const number = parseNumber(second)
      const target = parseJson(rest)
      return number !== undefined && isTarget(target) ? { _tag: "Invalidate", node: first, number, target } : undefined
    }
    case "B": {
      const number = parseNumber(second)
      return number !== undefined ? { _tag: "Marked", node: first, number } : undefined
    }
    case "D":
      return { _tag: "Stopped", node: first }
    default:
      return undefined
  }
}

/** Reads an event; `undefined` where that is none. Its data become a part of frames, and have to be JSON. */
export const parseEvent = (text: string): Addressed | undefined => {
  const end = text.indexOf("\n")
  const head = end === -1 ? undefined : parseJson(text.slice(0, end))
  if (!Array.isArray(head)) return undefined
  const [key, type, status, except]: ReadonlyArray<unknown> = head
  const data = text.slice(end + 1)
  if (typeof key !== "string" || typeof type !== "string" || typeof status !== "number") return undefined
  if ((except !== undefined && typeof except !== "string") || !isJson(data)) return undefined
  return { key, envelope: { type, data, status, except } }
}

const parseMember = (
  text: string
): { readonly key: string; readonly id: string; readonly data: string } | undefined => {
  const end = text.indexOf("\n")
  const head = end === -1 ? undefined : parseJson(text.slice(0, end))
  if (!Array.isArray(head)) return undefined
  const [key, id]: ReadonlyArray<unknown> = head
  return typeof key === "string" && typeof id === "string" ? { key, id, data: text.slice(end + 1) } : undefined
}

const parseNumber = (text: string): number | undefined => /^[1-9]\d{0,15}$/.test(text) ? Number(text) : undefined

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Whether a text is JSON. */
export const isJson = (text: string): boolean => parseJson(text) !== undefined

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> => typeof u === "object" && u !== null

const isTarget = (u: unknown): u is Authority.Target => {
  if (!isRecord(u)) return false
  switch (u["_tag"]) {
    case "Everyone":
      return true
    case "Connection":
      return typeof u["id"] === "string"
    case "Identity":
      return typeof u["service"] === "string" && typeof u["key"] === "string"
    default:
      return false
  }
}

const isEnvelope = (u: unknown): u is ChannelLayer.Envelope =>
  isRecord(u) && typeof u["type"] === "string" && typeof u["data"] === "string" && isJson(u["data"]) &&
  typeof u["status"] === "number" && (u["except"] === undefined || typeof u["except"] === "string") &&
  (u["id"] === undefined || typeof u["id"] === "string")

const isSignal = (u: unknown): u is ChannelLayer.Signal => {
  if (!isRecord(u) || typeof u["consumer"] !== "string" || !isTarget(u["target"])) return false
  switch (u["_tag"]) {
    case "Event":
      return isEnvelope(u["event"])
    case "Disconnect":
      return typeof u["code"] === "number" && typeof u["reason"] === "string"
    default:
      return false
  }
}
