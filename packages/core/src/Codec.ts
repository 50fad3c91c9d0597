/**
 * How requests, replies and events become frames: a client and its server speak by one codec, which the client offers as a
 * subprotocol and the server chooses.
 *
 * {@link json} is there by default, and what every consumer speaks. `BinaryCodec` is more compact.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { readBody } from "./internal/answers.ts"
import { defaultSubprotocol } from "./internal/subprotocols.ts"

/**
 * The frames of one subprotocol, as a client writes and reads them. It must not throw.
 *
 * @category models
 * @since 0.1.0
 */
export interface Codec {
  /** The name that a client offers in `Sec-WebSocket-Protocol`. */
  readonly subprotocol: string
  /** The schema of a value as a part of a frame: its encoded side is what {@link write} takes and {@link read} gives. */
  readonly part: (schema: Schema.Constraint) => Schema.Constraint
  /** Writes a request. */
  readonly write: (request: Request) => string | Uint8Array<ArrayBuffer>
  /** Reads what the server sent; `undefined` where it is no frame of this subprotocol. */
  readonly read: (frame: string | Uint8Array<ArrayBuffer>) => Reply | Event | undefined
}

/**
 * A request before it is a frame.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  readonly action: string
  readonly route: string
  readonly requestId: number | undefined
  /** Names the call, where it may be sent again (`Idempotency`). */
  readonly idempotencyKey: string | undefined
  /** The payload as a part; `undefined` for none. Of the protocol's own actions, which begin with `$`, it is a JSON value. */
  readonly data: unknown
  /** The fields as a part; `undefined` for none. */
  readonly fields: unknown
}

/**
 * The answer to a request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reply {
  readonly _tag: "Reply"
  readonly requestId: unknown
  readonly status: number
  /** JSON values. */
  readonly errors: ReadonlyArray<unknown>
  /** A part; of the protocol's own actions a JSON value. */
  readonly data: unknown
}

/**
 * An event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Event {
  readonly _tag: "Event"
  readonly type: string
  readonly status: number
  /** A part; of the protocol's own events, whose types begin with `$`, a JSON value. */
  readonly data: unknown
  /** Its position in the history of its group. */
  readonly id: string | undefined
  readonly group: string | undefined
  /** The parameters of that group as a JSON value. */
  readonly params: unknown
}

/**
 * Text frames of JSON, the subprotocol `effect-channels.json`.
 *
 * @category codecs
 * @since 0.1.0
 */
export const json: Codec = {
  subprotocol: defaultSubprotocol,
  part: Schema.toCodecJson,
  write: ({ action, data, fields, idempotencyKey, requestId, route }) =>
    JSON.stringify({
      ...fields as object | undefined,
      action,
      route: route === "" ? undefined : route,
      data,
      request_id: requestId,
      ...(idempotencyKey === undefined ? {} : { idempotency_key: idempotencyKey })
    }),
  read: (frame) => {
    if (typeof frame !== "string") return undefined
    let body: unknown
    try {
      body = JSON.parse(frame)
    } catch {
      return undefined
    }
    return typeof body === "object" && body !== null ? readBody(body as Readonly<Record<string, unknown>>) : undefined
  }
}
