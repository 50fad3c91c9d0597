/**
 * Binary frames, the subprotocol `effect-channels.binary`: what `Codec.json` says in text, mostly in a half to a tenth of the bytes.
 * Every server speaks it besides JSON, so that a client has but to ask for it.
 *
 * A frame is the request, reply or event of the JSON protocol as bytes: keys are said once and not with each object of a list, those
 * of the protocol itself not at all; numbers, instants, UUIDs and bytes are what they are, not their text. What a schema makes of a
 * value is its JSON form here as well, so that both subprotocols say the same, whatever the schema, and contracts evolve in the same
 * way: by the names of their fields.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type * as Codec from "./Codec.ts"
import { readBody } from "./internal/answers.ts"
import * as Compact from "./internal/compact.ts"
import { binarySubprotocol } from "./internal/subprotocols.ts"

/** What is left out. */
const usual = { data: null, errors: [], status: 200 }

/**
 * Binary frames, the subprotocol `effect-channels.binary`.
 *
 * @category codecs
 * @since 0.1.0
 */
export const codec: Codec.Codec = {
  subprotocol: binarySubprotocol,
  part: Schema.toCodecJson,
  write: ({ action, data, fields, idempotencyKey, requestId, route }) =>
    Compact.write({
      ...fields as object | undefined,
      action,
      route: route === "" ? undefined : route,
      data,
      request_id: requestId,
      idempotency_key: idempotencyKey
    }),
  read: (frame) => {
    if (typeof frame === "string") return undefined
    const { isWhole, value } = Compact.read(frame)
    return isWhole && typeof value === "object" && value !== null && !Array.isArray(value)
      ? readBody({ ...usual, ...value })
      : undefined
  }
}
