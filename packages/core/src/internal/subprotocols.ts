/**
 * The names of the subprotocols that are the library's own.
 */

/** Requests and replies in JSON. */
export const defaultSubprotocol = "effect-channels.json"

/** The same, compact. */
export const binarySubprotocol = "effect-channels.binary"

/** A client that offers it is told why its handshake is refused, see the node adapter. */
export const refusalsSubprotocol = "effect-channels.refusals"
