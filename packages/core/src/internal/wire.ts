/**
 * How a connection reads and writes its frames: by its subprotocol, which is chosen when it is made.
 */
import type { Message } from "../ChannelLayer.ts"
import type { SharedFrame } from "../Transport.ts"
import * as Envelope from "./envelope.ts"

/** What is sent in one go. */
export type Frame = string | Uint8Array<ArrayBuffer>

/** The frames of one subprotocol, as a server reads and writes them. */
export interface Wire {
  /** What the length of a frame counts. */
  readonly unit: string
  /** Reads the envelope of a request. */
  readonly read: (frame: string | Uint8Array) => Envelope.Envelope | Envelope.Unreadable
  /** Writes a reply without errors; `json` is the action as JSON, where that is known. */
  readonly reply: (echo: Envelope.Echo, status: number, data: unknown, json?: string) => Frame
  /** Writes a reply with errors, which are JSON already. */
  readonly refusal: (echo: Envelope.Echo, status: number, errors: string) => Frame
  /** Writes replies to one request that differ in nothing but their data. */
  readonly replies: (echo: Envelope.Echo, status: number, json?: string) => Replies
  /** The frame of an event, one for all who are sent it. */
  readonly event: (message: Message) => SharedFrame
}

/** Replies to one request. */
export interface Replies {
  readonly of: (data: unknown) => Frame
  /** Of data that are JSON already. */
  readonly ofJson: (data: string) => Frame
}

const toJson = (data: unknown): string => JSON.stringify(data) ?? "null"

/** What every reply without errors begins with, as far as to its data. */
const head = "{\"errors\":[],\"data\":"

/** Text frames of JSON. */
export const json: Wire = {
  unit: "characters",
  read: Envelope.read,
  reply: (echo, status, data, json) => Envelope.write(echo, status, "[]", toJson(data), json),
  refusal: (echo, status, errors) => Envelope.write(echo, status, errors, "null"),
  replies: (echo, status, json) => {
    const tail = Envelope.write(echo, status, "[]", "", json).slice(head.length)
    return {
      of: (data) => head + toJson(data) + tail,
      ofJson: (data) => head + data + tail
    }
  },
  event: (message) => message.frame
}
