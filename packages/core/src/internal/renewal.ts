/**
 * The reserved action by which a client sends newer credentials on a live connection:
 *
 *     → { "action": "$authenticate", "data": { "token": "…" }, "request_id": 1 }
 *     ← { "errors": [], "data": { "expires_at": "2030-01-01T00:00:00.000Z" }, "action": "$authenticate", … }
 */
import type * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as ChannelError from "../ChannelError.ts"
import type * as compile from "./compile.ts"
import type * as Envelope from "./envelope.ts"
import { problemsOf } from "./problems.ts"
import * as Reserved from "./reserved.ts"
import type { Frame, Wire } from "./wire.ts"

/** The name of the action. */
export const action = "$authenticate"

/** What it takes. */
const Data = Schema.Struct({
  token: Schema.NonEmptyString,
  /** The key of the identity service, where a server has several that can be renewed. */
  identity: Schema.optionalKey(Schema.String)
})

const decode: (data: unknown, options: { readonly errors: "all" }) => Exit.Exit<typeof Data.Type, Schema.SchemaError> =
  Schema.decodeUnknownExit(Data)

/** Whether a request is one of these. */
export const isRenewal = (envelope: Envelope.Envelope | Envelope.Unreadable): boolean =>
  Reserved.isNamed(envelope, action)

/** What a client wants to renew, and with what. */
export interface Renewal {
  readonly authenticator: compile.Renewable
  readonly token: Redacted.Redacted
}

/** Reads a request. */
export const read = (
  { body }: Envelope.Envelope,
  renewables: ReadonlyArray<compile.Renewable>
): Renewal | ChannelError.InvalidPayload => {
  const exit = decode(body["data"], { errors: "all" })
  if (exit._tag === "Failure") {
    return new ChannelError.InvalidPayload({ problems: problemsOf(exit.cause, ["data"]) ?? [] })
  }
  const { identity, token } = exit.value
  const named = renewables.filter((one) => identity === undefined || one.identity.key === identity)
  if (named.length !== 1) {
    const names = renewables.map((one) => JSON.stringify(one.identity.key)).join(" or ")
    return new ChannelError.InvalidPayload({
      problems: [{ detail: `Expected ${names}`, path: ["data", "identity"] }]
    })
  }
  return { authenticator: named[0]!, token: Redacted.make(token) }
}

/** The reply to one that was accepted: when the credentials expire, `null` for never. */
export const reply = (wire: Wire, echo: Envelope.Echo, expiresAt: number): Frame =>
  wire.reply(echo, 200, { expires_at: isDate(expiresAt) ? new Date(expiresAt).toISOString() : null })

/** Beyond what a `Date` can say is as good as never. */
const isDate = (millis: number): boolean => Math.abs(millis) <= 8.64e15
