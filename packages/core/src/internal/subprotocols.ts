/**
 * The names of the subprotocols that are the library's own.
 */

/** Requests and replies in JSON. */
export const defaultSubprotocol = "effect-channels.json"

/** The same, compact. */
export const binarySubprotocol = "effect-channels.binary"

/** By which a client says that it wants to be told why its handshake is refused. */
export const refusalsSubprotocol = "effect-channels.refusals"
