/**
 * What a client reads, out of the object that a frame holds.
 */
import type * as Codec from "../Codec.ts"

/** The status of an item of a stream. */
export const itemStatus = 206

/** Reads a reply or an event; `undefined` where it is neither. */
export const readBody = (body: Readonly<Record<string, unknown>>): Codec.Reply | Codec.Event | undefined => {
  const { data, errors, group, id, params, request_id: requestId, status, type } = body
  if (typeof status !== "number") return undefined
  if (typeof type === "string") {
    return {
      _tag: "Event",
      type,
      status,
      data,
      id: typeof id === "string" ? id : undefined,
      group: typeof group === "string" ? group : undefined,
      params
    }
  }
  return Array.isArray(errors) ? { _tag: "Reply", requestId, status, errors, data } : undefined
}
