/**
 * The names of the subprotocols that are the library's own.
 */

/** Requests and replies in JSON. */
export const defaultSubprotocol = "effect-channels.json"

/** The same, compact. */
export const binarySubprotocol = "effect-channels.binary"
