/**
 * The reserved action by which a client ends a request that it does not wait for any more:
 *
 *     → { "action": "$cancel", "data": { "request_id": 7 }, "request_id": 8 }
 *     ← { "errors": [{ "detail": "The request was cancelled", "code": "cancelled" }], …, "status": 499, "request_id": 7 }
 *     ← { "errors": [], "data": null, "action": "$cancel", "route": "", "status": 200, "request_id": 8 }
 *
 * The protocol's own requests, `$authenticate` say, cannot be cancelled.
 */
import type * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as ChannelError from "../ChannelError.ts"
import type * as Envelope from "./envelope.ts"
import { problemsOf } from "./problems.ts"
import * as Reserved from "./reserved.ts"
import type { Frame, Wire } from "./wire.ts"

/** The name of the action. */
export const action = "$cancel"

/** What it takes. */
const Data = Schema.Struct({ request_id: Schema.Union([Schema.String, Schema.Finite]) })

const decode: (data: unknown, options: { readonly errors: "all" }) => Exit.Exit<typeof Data.Type, Schema.SchemaError> =
  Schema.decodeUnknownExit(Data)

/** Whether a request is one of these. */
export const isCancel = (envelope: Envelope.Envelope | Envelope.Unreadable): envelope is Envelope.Envelope =>
  Reserved.isNamed(envelope, action)

/** Reads the id of the request that is to end. */
export const read = ({ body }: Envelope.Envelope): string | number | ChannelError.InvalidPayload => {
  const exit = decode(body["data"], { errors: "all" })
  return exit._tag === "Success"
    ? exit.value.request_id
    : new ChannelError.InvalidPayload({ problems: problemsOf(exit.cause, ["data"]) ?? [] })
}

/** There is no such request. */
export const notFound = (id: string | number): ChannelError.RequestNotFound =>
  new ChannelError.RequestNotFound({ message: `There is no request ${JSON.stringify(id)} in flight` })

/** The reply to one that was done. */
export const reply = (wire: Wire, echo: Envelope.Echo): Frame => wire.reply(echo, 200, null)
