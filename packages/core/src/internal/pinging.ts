/**
 * The reserved action by which a client asks whether the server is still there, which browsers cannot do with a WebSocket ping:
 *
 *     → { "action": "$ping", "request_id": 1 }
 *     ← { "errors": [], "data": null, "action": "$ping", "route": "", "status": 200, "request_id": 1 }
 *
 * It is answered at once, whatever else is in flight, and does nothing else.
 */
import type * as Envelope from "./envelope.ts"
import * as Reserved from "./reserved.ts"
import type { Frame, Wire } from "./wire.ts"

/** The name of the action. */
export const action = "$ping"

/** Whether a request is one of these. */
export const isPing = (envelope: Envelope.Envelope | Envelope.Unreadable): boolean => Reserved.isNamed(envelope, action)

/** The reply to it. */
export const reply = (wire: Wire, echo: Envelope.Echo): Frame => wire.reply(echo, 200, null)
