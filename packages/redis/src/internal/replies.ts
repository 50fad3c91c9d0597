/**
 * Reads what scripts answer.
 */

/** A list of texts; an empty one where it is none. */
export const texts = (reply: unknown): ReadonlyArray<string> => Array.isArray(reply) ? reply.map(String) : []
