/**
 * What can be seen of a key before there is a token, and how keys are fetched.
 */
import type { Jwk, PublicKeyAlgorithm, SecretAlgorithm } from "../Jwt.ts"

/** By algorithm the bytes of its hash: a secret of fewer is weaker than the algorithm (RFC 7518, 3.2). */
export const secretBytes: ReadonlyMap<SecretAlgorithm, number> = new Map([["HS256", 32], ["HS384", 48], ["HS512", 64]])

/** By algorithm the type of its keys. */
export const keyTypes: ReadonlyMap<PublicKeyAlgorithm, string> = new Map([
  ["RS256", "RSA"],
  ["RS384", "RSA"],
  ["RS512", "RSA"],
  ["PS256", "RSA"],
  ["PS384", "RSA"],
  ["PS512", "RSA"],
  ["ES256", "EC"],
  ["ES384", "EC"],
  ["ES512", "EC"],
  ["EdDSA", "OKP"],
  ["Ed25519", "OKP"]
])

export const once = <A>(f: () => Promise<A>): () => Promise<A> => {
  let result: Promise<A> | undefined
  return () => result ??= f()
}

export const list = (algorithms: ReadonlyMap<string, unknown>): string => Array.from(algorithms.keys()).join(", ")

/** The types say so too. With a secret's algorithm, everybody who has the public key could sign tokens. */
export const checkAlgorithms = (what: string, algorithms: ReadonlyArray<PublicKeyAlgorithm>) => {
  if (algorithms.length === 0) throw new TypeError(`${what}: no algorithm: name one of ${list(keyTypes)}`)
  for (const algorithm of algorithms) {
    if (!keyTypes.has(algorithm)) {
      throw new TypeError(`${what}: ${algorithm} is no algorithm with a public key: take ${list(keyTypes)}`)
    }
  }
}

export const checkJwk = (what: string, key: Jwk) => {
  if (typeof key?.kty !== "string") throw new TypeError(`${what}: this is no key: { kty: … }`)
  if (key.kty === "oct" || "k" in key) throw new TypeError(`${what}: this key is a secret: take Jwt.secret`)
  if ("d" in key || "priv" in key) {
    throw new TypeError(`${what}: this key is private, and only the issuer should have it: take its public half`)
  }
}

export const isLoopback = ({ hostname }: URL): boolean =>
  hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" ||
  /^127(\.\d+){3}$/.test(hostname)

/**
 * Fetches, but not again for a while after it failed: when an issuer has trouble, all the clients of a server come back
 * at once, and none of them may add to it.
 */
export const spare = (pause: number) => {
  let failure: { readonly until: number; readonly cause: unknown } | undefined
  return async (url: string, init: RequestInit): Promise<Response> => {
    // The clock of the system, as for all of jose's caching.
    if (failure !== undefined && Date.now() < failure.until) throw failure.cause
    try {
      const response = await fetch(url, init)
      if (response.status !== 200) throw new Error(`Status ${response.status} instead of 200`)
      // Read here, where a body that stops or is no JSON counts as a failure too.
      return Response.json(await response.json())
    } catch (cause) {
      failure = { until: Date.now() + pause, cause }
      throw cause
    }
  }
}
