/**
 * From a token to its claims, or to why there are none.
 */
import type { AuthenticationError } from "@effect-channels/core/Authentication"
import * as ChannelError from "@effect-channels/core/ChannelError"
import * as Effect from "effect/Effect"
import type { JWTPayload } from "jose"
import * as errors from "jose/errors"
import { jwtVerify, type JWTVerifyOptions } from "jose/jwt/verify"
import type { Key } from "../Jwt.ts"

/** What Node takes of headers: no handshake has a longer one. */
const longest = 16_384

/** There is no key to verify a token with. */
class KeyFault extends Error {
  override readonly name = "KeyFault"
}

/** The claims of a token, once it is verified. */
export const verify = (
  key: Key,
  token: string,
  options: JWTVerifyOptions
): Effect.Effect<JWTPayload, AuthenticationError> => {
  // jose is lenient: it skips white space, for one.
  if (token.length > longest) return refused("too long")
  if (!/^[-\w]+\.[-\w]+\.[-\w]+$/.test(token)) return refused("no signed token")
  return Effect.tryPromise({
    try: () => open(key, token, options),
    catch: (cause) =>
      cause instanceof errors.JOSEError || cause instanceof KeyFault
        ? cause
        : new KeyFault(`The ${key.name} has a fault`, { cause })
  }).pipe(
    Effect.flatMap((payload) =>
      payload.exp === undefined || Number.isFinite(payload.exp) ? Effect.succeed(payload) : refused("exp: no date")
    ),
    Effect.catchIf(
      (error) => error instanceof KeyFault,
      (fault) =>
        key.isRemote
          ? Effect.andThen(
            Effect.logWarning(fault.message, fault.cause),
            Effect.fail(new ChannelError.Unavailable({ message: "The token cannot be verified now" }))
          )
          : Effect.die(fault)
    ),
    Effect.catchIf(
      (error) => error instanceof errors.JOSEError,
      // The code alone: the message may hold what the client sent.
      (error) =>
        error instanceof errors.JWTExpired
          ? refused(error.code, "The token has expired")
          : refused(error instanceof errors.JWTClaimValidationFailed ? `${error.code} ${error.claim}` : error.code)
    )
  )
}

export const refused = (why: string, message = "The token is not valid") =>
  Effect.andThen(
    Effect.logDebug(`A token was refused: ${why}`),
    Effect.fail(new ChannelError.InvalidCredentials({ message }))
  )

const open = async (key: Key, token: string, options: JWTVerifyOptions): Promise<JWTPayload> => {
  try {
    return (await jwtVerify(token, finder(key), options)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    // It does not say by which of them it is signed.
    for await (const candidate of error) {
      try {
        return (await jwtVerify(token, candidate, options)).payload
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      }
    }
    throw error
  }
}

/** Finds the key of a token; tells a fault of the keys from one of the token. */
const finder = (key: Key): Key["find"] => async (header, token) => {
  try {
    return await key.find(header, token)
  } catch (cause) {
    if (cause instanceof errors.JWKSNoMatchingKey || cause instanceof errors.JWKSMultipleMatchingKeys) throw cause
    throw new KeyFault(`The ${key.name} cannot be had`, { cause })
  }
}
