import { Authentication, ChannelError, ConnectionScope, Credentials } from "@effect-channels/core"
import { Jwt } from "@effect-channels/jwt"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import { exportJWK, exportSPKI, FlattenedSign, generateKeyPair, type JWTPayload, SignJWT } from "jose"
import { once } from "node:events"
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { inspect } from "node:util"

interface User {
  readonly id: string
}

/** What the clock of a test says at its beginning, in seconds. */
const now = 1_800_000_000
const issuer = "https://id.example.com/"
const audience = "chat"
const claims: JWTPayload = { iss: issuer, aud: audience, sub: "alice", exp: now + 60 }

const bytes = crypto.getRandomValues(new Uint8Array(64))
const secret = Jwt.secret(Redacted.make(bytes))

const scope = ConnectionScope.make({ id: "1", url: "/ws/" }, {})
const base = { from: Credentials.bearer, issuer, audience, user: ({ sub }: Jwt.Claims) => Effect.succeed({ id: sub }) }

/** What a scheme makes of a token, at the beginning of a test unless told otherwise. */
const verify = <A, R>(
  scheme: Authentication.Scheme<A, R>,
  token: string,
  at: number = now
): Effect.Effect<Authentication.Identity<A>, Authentication.AuthenticationError, R> =>
  Effect.andThen(TestClock.setTime(at * 1000), scheme.renew!(Redacted.make(token), scope))

type SigningKey = Parameters<SignJWT["sign"]>[0]

const sign = (
  changes: { readonly [claim: string]: unknown } = {},
  key: SigningKey = bytes,
  header: { readonly alg: string; readonly [parameter: string]: unknown } = { alg: "HS256" }
) => Effect.promise(() => new SignJWT({ ...claims, ...changes }).setProtectedHeader(header).sign(key))

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url")

const keyPair = (alg: string) =>
  Effect.promise(async () => {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
    return {
      privateKey,
      pem: await exportSPKI(publicKey),
      jwk: await exportJWK(publicKey),
      whole: await exportJWK(privateKey)
    }
  })

const accepted = (expected: Authentication.Identity<User>) => <E, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.map(effect, (identity) => assert.deepStrictEqual(identity, expected))

const alice = (exp = now + 60) => Authentication.authenticated({ id: "alice" }, { expiresAt: (exp + 5) * 1000 })

/** Fails a test unless the token was refused in exactly this way. */
const refused = (message = "The token is not valid") => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, ChannelError.InvalidCredentials)
    assert.strictEqual(error.message, message)
  })

const unavailable = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, ChannelError.Unavailable)
    assert.strictEqual(error.message, "The token cannot be verified now")
  })

/** A web server; it is gone once the scope is closed. */
const serve = (listener: RequestListener, port = 0) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const server = createServer(listener).listen(port, "127.0.0.1")
        await once(server, "listening")
        return server
      }),
      (server) =>
        Effect.promise(async () => {
          server.closeAllConnections()
          server.close()
          await once(server, "close")
        })
    ),
    (server) => (server.address() as AddressInfo).port
  )

describe("a secret", () => {
  const scheme = Jwt.scheme({ ...base, key: secret })

  it.effect("verifies the tokens that are signed with it", () =>
    Effect.gen(function*() {
      yield* accepted(alice())(verify(scheme, yield* sign()))
      for (const [algorithm, length] of [["HS256", 32], ["HS384", 48], ["HS512", 64]] as const) {
        const text = "x".repeat(length)
        const key = Jwt.secret(Redacted.make(text), { algorithm })
        const token = yield* sign({}, new TextEncoder().encode(text), { alg: algorithm })
        yield* accepted(alice())(verify(Jwt.scheme({ ...base, key }), token))
        assert.deepStrictEqual(key.algorithms, [algorithm])
      }
    }))

  it("is not shorter than the hash of its algorithm", () => {
    for (const [algorithm, length] of [["HS256", 32], ["HS384", 48], ["HS512", 64]] as const) {
      assert.throws(
        () => Jwt.secret(Redacted.make("x".repeat(length - 1)), { algorithm }),
        TypeError,
        `Jwt.secret: ${algorithm} needs a secret of ${length} bytes at least, this one has ${length - 1}`
      )
      Jwt.secret(Redacted.make(new Uint8Array(length)), { algorithm })
      assert.throws(() => Jwt.secret(Redacted.make(new Uint8Array(length - 1)), { algorithm }), TypeError)
    }
    // Bytes, not characters.
    Jwt.secret(Redacted.make("€".repeat(11)))
  })

  it.effect("is neither a public key nor of an algorithm with one", () =>
    Effect.gen(function*() {
      const { pem } = yield* keyPair("RS256")
      assert.throws(() => Jwt.secret(Redacted.make(pem)), TypeError, "take Jwt.publicKey")
      for (const algorithm of ["RS256", "none", "__proto__", ""]) {
        // @ts-expect-error: no algorithm with a secret
        assert.throws(() => Jwt.secret(Redacted.make(bytes), { algorithm }), TypeError, "no algorithm with a secret")
      }
    }))

  it("is not shown", () => {
    const text = "a secret that nobody may read in a log"
    const key = Jwt.secret(Redacted.make(text))
    const shown = `${inspect(key, { depth: 9, showHidden: true })}${JSON.stringify(key)}${String(key)}`
    assert.notInclude(shown, text)
    assert.isTrue(Jwt.isKey(key))
    assert.isFalse(Jwt.isKey({}))
    assert.isFalse(Jwt.isKey(undefined))
  })

  it.effect("stays what it was when its bytes are overwritten", () =>
    Effect.gen(function*() {
      const mine = bytes.slice()
      const scheme = Jwt.scheme({ ...base, key: Jwt.secret(Redacted.make(mine)) })
      mine.fill(0)
      yield* accepted(alice())(verify(scheme, yield* sign()))
      yield* refused()(verify(scheme, yield* sign({}, mine)))
    }))
})

describe("what is refused", () => {
  const scheme = Jwt.scheme({ ...base, key: secret })

  it.effect("another key, another algorithm, none at all", () =>
    Effect.gen(function*() {
      const [head, payload, signature] = (yield* sign()).split(".")
      const { privateKey } = yield* keyPair("ES256")
      for (
        const token of [
          yield* sign({}, crypto.getRandomValues(new Uint8Array(32))),
          yield* sign({}, bytes, { alg: "HS512" }),
          yield* sign({}, privateKey, { alg: "ES256" }),
          ...["none", "None", "NONE", "", "__proto__", "constructor", null, 1, ["HS256"]].flatMap((alg) => [
            `${encode({ alg })}.${payload}.`,
            `${encode({ alg })}.${payload}.${signature}`
          ]),
          `${encode({})}.${payload}.${signature}`,
          `${head}.${payload}.`,
          `${head}.${payload}`
        ]
      ) {
        yield* refused()(verify(scheme, token))
      }
    }))

  it.effect("a header or payload that was changed", () =>
    Effect.gen(function*() {
      const [head, payload, signature] = (yield* sign()).split(".")
      const forged = encode({ ...claims, sub: "admin" })
      for (
        const token of [
          `${head}.${forged}.${signature}`,
          `${encode({ alg: "HS256", kid: "1" })}.${payload}.${signature}`,
          `${head}.${payload}.${Buffer.alloc(32).toString("base64url")}`,
          `${head}.${payload}.${signature!.slice(0, -2)}`,
          `${head}.${payload}.${signature}.`,
          `${head}.${payload}.${signature}.${signature}`
        ]
      ) {
        yield* refused()(verify(scheme, token))
      }
    }))

  it.effect("what is no token", () =>
    Effect.gen(function*() {
      const token = yield* sign()
      for (
        const text of [
          "",
          ".",
          "..",
          "...",
          "a.b.c",
          "admin",
          "null",
          "{}",
          "\u0000",
          "ä.ö.ü",
          `${encode(null)}.${encode([])}.${encode(1)}`,
          ` ${token}`,
          `${token}\n`,
          token.replace(".", " ."),
          token.replaceAll(".", "%2E"),
          JSON.stringify({ token }),
          "x".repeat(1_000_000),
          ".".repeat(1_000_000)
        ]
      ) {
        yield* refused()(verify(scheme, text))
      }
      // An encrypted one has five parts.
      yield* refused()(verify(scheme, "a.b.c.d.e"))
    }))

  it.effect("a token that no header could carry", () =>
    Effect.gen(function*() {
      yield* accepted(alice())(verify(scheme, yield* sign({ padding: "x".repeat(11_000) })))
      yield* refused()(verify(scheme, yield* sign({ padding: "x".repeat(13_000) })))
    }))

  it.effect("extensions that are critical, and a payload that is not encoded", () =>
    Effect.gen(function*() {
      const token = (header: object) => `${encode({ alg: "HS256", ...header })}.${encode(claims)}.${encode("x")}`
      for (const crit of [["exp"], ["__proto__"], ["b64"], [], "b64", [1], {}, null]) {
        yield* refused()(verify(scheme, token({ crit, exp: 1 })))
      }
      const { protected: head, signature } = yield* Effect.promise(() =>
        new FlattenedSign(Buffer.from("abc")).setProtectedHeader({ alg: "HS256", b64: false, crit: ["b64"] }).sign(
          bytes
        )
      )
      yield* refused()(verify(scheme, `${head}.abc.${signature}`))
      const extended = yield* Effect.promise(() =>
        new SignJWT(claims).setProtectedHeader({ alg: "HS256", crit: ["tenant"], tenant: "a" }).sign(bytes, {
          crit: { tenant: true }
        })
      )
      yield* refused()(verify(scheme, extended))
    }))

  it.effect("a key that the token brings along", () =>
    Effect.gen(function*() {
      const { jwk, privateKey } = yield* keyPair("ES256")
      const scheme = Jwt.scheme({
        ...base,
        key: Jwt.publicKey((yield* keyPair("ES256")).jwk, { algorithm: "ES256" })
      })
      for (const header of [{ jwk }, { jku: "http://127.0.0.1:9/" }, { x5u: "http://127.0.0.1:9/" }]) {
        yield* refused()(verify(scheme, yield* sign({}, privateKey, { alg: "ES256", ...header })))
      }
    }))

  it.effect("another issuer or audience, or none", () =>
    Effect.gen(function*() {
      for (
        const changes of [
          { iss: "https://evil.example.com/" },
          { iss: undefined },
          { iss: [issuer] },
          { iss: "" },
          { aud: "another" },
          { aud: undefined },
          { aud: [] },
          { aud: ["another", "third"] },
          { aud: { chat: true } },
          { aud: "" }
        ]
      ) {
        yield* refused()(verify(scheme, yield* sign(changes)))
      }
      yield* accepted(alice())(verify(scheme, yield* sign({ aud: ["another", audience] })))
    }))

  it.effect("no expiry, or one that is no date", () =>
    Effect.gen(function*() {
      for (const exp of [undefined, null, "soon", String(now + 60), [now + 60], {}, true]) {
        yield* refused()(verify(scheme, yield* sign({ exp })))
      }
      const payload = JSON.stringify({ ...claims, exp: 0 }).replace(`"exp":0`, `"exp":1e999`)
      const endless = yield* Effect.promise(() =>
        new FlattenedSign(Buffer.from(payload)).setProtectedHeader({ alg: "HS256" }).sign(bytes)
      )
      const any = Jwt.scheme({ ...base, key: secret, claims: Schema.Struct({}), user: () => Effect.succeed(1) })
      yield* refused()(verify(any, `${endless.protected}.${endless.payload}.${endless.signature}`))
    }))

  it.effect.prop(
    "whatever else the header and payload are: never an unexpected error",
    { header: Schema.Json, payload: Schema.Json, alg: Schema.Boolean },
    ({ alg, header, payload }) =>
      Effect.gen(function*() {
        const head = alg ? { ...Object(header), alg: "HS256" } : header
        yield* refused()(verify(scheme, `${encode(head)}.${encode(payload)}.${encode("x")}`))
        const signed = yield* Effect.promise(() =>
          new FlattenedSign(Buffer.from(JSON.stringify(payload))).setProtectedHeader({ alg: "HS256" }).sign(bytes)
        )
        yield* refused()(verify(scheme, `${signed.protected}.${signed.payload}.${signed.signature}`))
      })
  )
})

describe("time", () => {
  const scheme = Jwt.scheme({ ...base, key: secret })

  it.effect("a token is good until it expires, and so is the identity", () =>
    Effect.gen(function*() {
      const token = yield* sign({ exp: now })
      yield* accepted(alice(now))(verify(scheme, token, now - 1))
      // Expired a second ago: the clocks may differ.
      yield* accepted(alice(now))(verify(scheme, token, now + 1))
      yield* accepted(alice(now))(verify(scheme, token, now + 4.999))
      yield* refused("The token has expired")(verify(scheme, token, now + 5))
      yield* refused("The token has expired")(verify(scheme, token, now + 1e6))
    }))

  it.effect("an identity never expires while its token would be accepted, nor later", () =>
    Effect.gen(function*() {
      for (const exp of [now, now + 0.5]) {
        const token = yield* sign({ exp })
        for (const clockTolerance of [0, "500 millis", "5 seconds", "1 hour"] as const) {
          const scheme = Jwt.scheme({ ...base, key: secret, clockTolerance })
          const identity = yield* verify(scheme, token, now - 1)
          assert(identity._tag === "Authenticated" && identity.expiresAt !== undefined)
          yield* verify(scheme, token, identity.expiresAt / 1000 - 0.001)
          yield* refused("The token has expired")(verify(scheme, token, identity.expiresAt / 1000))
        }
      }
    }))

  it.effect("a token is not good before its time", () =>
    Effect.gen(function*() {
      const token = yield* sign({ nbf: now })
      yield* refused()(verify(scheme, token, now - 6))
      yield* accepted(alice())(verify(scheme, token, now - 5))
      yield* refused()(verify(scheme, yield* sign({ nbf: "yesterday" })))
    }))

  it.effect("an expired token of somebody else is only not valid", () =>
    Effect.gen(function*() {
      yield* refused()(verify(scheme, yield* sign({ exp: now - 60 }, new Uint8Array(32))))
      yield* refused()(verify(scheme, yield* sign({ exp: now - 60, aud: "another" })))
    }))

  it.effect("a token may do without expiry where that was said", () =>
    Effect.gen(function*() {
      const scheme = Jwt.scheme({ ...base, key: secret, expires: "optional" })
      yield* accepted(Authentication.authenticated({ id: "alice" }))(verify(scheme, yield* sign({ exp: undefined })))
      yield* accepted(alice())(verify(scheme, yield* sign()))
      yield* refused("The token has expired")(verify(scheme, yield* sign({ exp: now - 6 })))
    }))

  it("the tolerance is a duration", () => {
    for (const clockTolerance of ["Infinity", "-Infinity"] as const) {
      assert.throws(() => Jwt.scheme({ ...base, key: secret, clockTolerance }), TypeError, "clockTolerance")
    }
  })
})

describe("issuer, audience and type", () => {
  it.effect("may be several", () =>
    Effect.gen(function*() {
      const scheme = Jwt.scheme({ ...base, key: secret, issuer: ["other", issuer], audience: ["other", audience] })
      yield* accepted(alice())(verify(scheme, yield* sign()))
      yield* accepted(alice())(verify(scheme, yield* sign({ iss: "other", aud: "other" })))
      yield* refused()(verify(scheme, yield* sign({ iss: "third" })))
    }))

  it.effect("are not checked where that was said", () =>
    Effect.gen(function*() {
      const scheme = Jwt.scheme({ ...base, key: secret, issuer: false, audience: false })
      yield* accepted(alice())(verify(scheme, yield* sign({ iss: undefined, aud: undefined })))
      yield* accepted(alice())(verify(scheme, yield* sign({ iss: "any", aud: "any" })))
    }))

  it("are not forgotten", () => {
    for (const value of [undefined, null, "", [], [""], [undefined], true]) {
      assert.throws(
        // @ts-expect-error: not for all of these values
        () => Jwt.scheme({ ...base, key: secret, issuer: value }),
        TypeError,
        "Jwt.scheme: issuer is missing or empty"
      )
      assert.throws(
        // @ts-expect-error: not for all of these values
        () => Jwt.scheme({ ...base, key: secret, audience: value }),
        TypeError,
        "Jwt.scheme: audience is missing or empty"
      )
    }
  })

  it.effect("tell kinds of tokens apart", () =>
    Effect.gen(function*() {
      const scheme = Jwt.scheme({ ...base, key: secret, type: "at+jwt" })
      yield* accepted(alice())(verify(scheme, yield* sign({}, bytes, { alg: "HS256", typ: "at+jwt" })))
      yield* refused()(verify(scheme, yield* sign({}, bytes, { alg: "HS256", typ: "JWT" })))
      yield* refused()(verify(scheme, yield* sign()))
    }))
})

describe("a public key", () => {
  it.effect.each(["RS256", "RS512", "PS384", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"] as const)(
    "verifies %s, as PEM and as JSON Web Key",
    (algorithm) =>
      Effect.gen(function*() {
        const { jwk, pem, privateKey } = yield* keyPair(algorithm)
        const token = yield* sign({}, privateKey, { alg: algorithm })
        for (const key of [pem, `\n${pem}\n`, jwk, { ...jwk, alg: algorithm, use: "sig", kid: "1" }]) {
          const scheme = Jwt.scheme({ ...base, key: Jwt.publicKey(key, { algorithm }) })
          yield* accepted(alice())(verify(scheme, token))
          yield* accepted(alice())(verify(scheme, token))
          yield* refused()(verify(scheme, yield* sign({}, (yield* keyPair(algorithm)).privateKey, { alg: algorithm })))
        }
      })
  )

  it.effect("is no secret: it signs nothing", () =>
    Effect.gen(function*() {
      const { jwk, pem } = yield* keyPair("RS256")
      const spellings = [pem, pem.trim(), `${pem}\n`, JSON.stringify(jwk), jwk.n!]
      for (const key of [Jwt.publicKey(pem, { algorithm: "RS256" }), Jwt.publicKey(jwk, { algorithm: "RS256" })]) {
        const scheme = Jwt.scheme({ ...base, key })
        for (const spelling of spellings) {
          yield* refused()(verify(scheme, yield* sign({}, new TextEncoder().encode(spelling))))
        }
        yield* refused()(verify(scheme, yield* sign()))
      }
    }))

  it.effect("is for its algorithm only", () =>
    Effect.gen(function*() {
      const { pem, whole } = yield* keyPair("RS256")
      const scheme = Jwt.scheme({ ...base, key: Jwt.publicKey(pem, { algorithm: "PS256" }) })
      yield* accepted(alice())(verify(scheme, yield* sign({}, whole, { alg: "PS256" })))
      yield* refused()(verify(scheme, yield* sign({}, { ...whole, alg: "RS256" }, { alg: "RS256" })))
    }))

  it.effect("is refused at once where it cannot be right", () =>
    Effect.gen(function*() {
      const { jwk, pem, whole } = yield* keyPair("ES256")
      const algorithm = "ES256"
      const thrown = (
        key: string | Jwt.Jwk,
        message: string,
        options: { readonly algorithm: string } = { algorithm }
      ) => assert.throws(() => Jwt.publicKey(key, options as { readonly algorithm: "ES256" }), TypeError, message)
      thrown("", "no public key")
      thrown("-----BEGIN PRIVATE KEY-----", "no public key")
      thrown("a secret that is shared with the issuer", "no public key")
      thrown({}, "no key")
      thrown(whole, "private")
      thrown({ kty: "oct", k: "AAAA" }, "secret")
      thrown({ ...jwk, kty: "RSA" }, "\"kty\" is RSA")
      thrown({ ...jwk, alg: "ES384" }, "\"alg\" is ES384")
      thrown({ ...jwk, use: "enc" }, "\"use\" is enc")
      for (const algorithm of ["HS256", "HS384", "HS512", "none", "", "__proto__", "constructor"]) {
        thrown(pem, "no algorithm with a public key", { algorithm })
        thrown(jwk, "no algorithm with a public key", { algorithm })
      }
    }))

  it.effect("that cannot be read is a defect: it is not the client's fault", () =>
    Effect.gen(function*() {
      const { jwk, pem, privateKey } = yield* keyPair("ES256")
      const token = yield* sign({}, privateKey, { alg: "ES256" })
      for (
        const [key, algorithm] of [
          ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "ES256"],
          [{ ...jwk, x: "AAAA" }, "ES256"],
          [pem, "RS256"]
        ] as const
      ) {
        const scheme = Jwt.scheme({ ...base, key: Jwt.publicKey(key, { algorithm }) })
        const exit = yield* Effect.exit(
          verify(
            scheme,
            algorithm === "ES256" ? token : `${encode({ alg: algorithm })}.${encode(claims)}.${encode("x")}`
          )
        )
        assert(Exit.isFailure(exit))
        assert.include(String(Cause.squash(exit.cause)), "The public key cannot be had")
        yield* refused()(verify(scheme, "no token"))
      }
    }))
})

describe("a key set", () => {
  it.effect("has the key that the token names", () =>
    Effect.gen(function*() {
      const [a, b, c] = [yield* keyPair("ES256"), yield* keyPair("ES256"), yield* keyPair("RS256")]
      const key = Jwt.keySet({
        keys: [{ ...a.jwk, kid: "a" }, { ...b.jwk, kid: "b" }, { ...c.jwk, kid: "c" }]
      }, { algorithms: ["ES256", "RS256"] })
      const scheme = Jwt.scheme({ ...base, key })
      yield* accepted(alice())(verify(scheme, yield* sign({}, a.privateKey, { alg: "ES256", kid: "a" })))
      yield* accepted(alice())(verify(scheme, yield* sign({}, b.privateKey, { alg: "ES256", kid: "b" })))
      yield* accepted(alice())(verify(scheme, yield* sign({}, c.privateKey, { alg: "RS256", kid: "c" })))
      yield* refused()(verify(scheme, yield* sign({}, a.privateKey, { alg: "ES256", kid: "b" })))
      // The key is there, and of another algorithm.
      yield* refused()(verify(scheme, yield* sign({}, c.privateKey, { alg: "RS256", kid: "a" })))
      for (const kid of ["d", "", "A", "__proto__", "constructor", "toString"]) {
        yield* refused()(verify(scheme, yield* sign({}, a.privateKey, { alg: "ES256", kid })))
      }
      yield* refused()(verify(scheme, `${encode({ alg: "ES256", kid: ["a"] })}.${encode(claims)}.${encode("x")}`))
    }))

  it.effect("tries each key of the algorithm where the token names none", () =>
    Effect.gen(function*() {
      const [a, b, c] = [yield* keyPair("ES256"), yield* keyPair("ES256"), yield* keyPair("ES256")]
      const scheme = Jwt.scheme({
        ...base,
        key: Jwt.keySet({ keys: [a.jwk, { ...b.jwk, kid: "b" }] }, { algorithms: ["ES256"] })
      })
      yield* accepted(alice())(verify(scheme, yield* sign({}, a.privateKey, { alg: "ES256" })))
      yield* accepted(alice())(verify(scheme, yield* sign({}, b.privateKey, { alg: "ES256" })))
      yield* refused()(verify(scheme, yield* sign({}, c.privateKey, { alg: "ES256" })))
      yield* refused("The token has expired")(
        verify(scheme, yield* sign({ exp: now - 60 }, b.privateKey, { alg: "ES256" }))
      )
    }))

  it.effect("is for its algorithms only", () =>
    Effect.gen(function*() {
      const { pem, jwk, privateKey, whole } = yield* keyPair("RS256")
      const scheme = Jwt.scheme({ ...base, key: Jwt.keySet({ keys: [jwk] }, { algorithms: ["RS256"] }) })
      yield* accepted(alice())(verify(scheme, yield* sign({}, privateKey, { alg: "RS256" })))
      yield* refused()(verify(scheme, yield* sign({}, { ...whole, alg: "RS512" }, { alg: "RS512" })))
      yield* refused()(verify(scheme, yield* sign({}, new TextEncoder().encode(pem))))
    }))

  it.effect("is refused at once where it cannot be right", () =>
    Effect.gen(function*() {
      const { jwk, whole } = yield* keyPair("ES256")
      const thrown = (keys: unknown, message: string, algorithms: ReadonlyArray<string> = ["ES256"]) =>
        assert.throws(() => Jwt.keySet(keys as Jwt.JwkSet, { algorithms } as never), TypeError, message)
      thrown(undefined, "no set of keys")
      thrown({}, "no set of keys")
      thrown(jwk, "no set of keys")
      thrown({ keys: [] }, "no set of keys")
      thrown({ keys: [jwk, null] }, "no key")
      thrown({ keys: [jwk, whole] }, "private")
      thrown({ keys: [jwk, { kty: "oct", k: "AAAA" }] }, "secret")
      thrown({ keys: [jwk] }, "no algorithm", [])
      thrown({ keys: [jwk] }, "HS256 is no algorithm with a public key", ["ES256", "HS256"])
      thrown({ keys: [jwk] }, "none is no algorithm with a public key", ["none"])
    }))
})

describe("a remote key set", () => {
  /** The keys of an issuer, at a URL: what it answers can be changed, and is counted. */
  const publish = (keys: ReadonlyArray<object>) =>
    Effect.gen(function*() {
      const issuer = { keys, status: 200, requests: 0, headers: {} as NodeJS.Dict<string | Array<string>> }
      const port = yield* serve((request, response) => {
        issuer.requests++
        issuer.headers = request.headers
        response.writeHead(issuer.status, { Location: "/other" }).end(JSON.stringify({ keys: issuer.keys }))
      })
      return { issuer, url: `http://127.0.0.1:${port}/jwks.json?key=hidden` }
    })

  it.effect("is fetched once, with the first token", () =>
    Effect.gen(function*() {
      const { jwk, privateKey } = yield* keyPair("ES256")
      const { issuer, url } = yield* publish([{ ...jwk, kid: "1" }])
      const key = Jwt.remoteKeySet(new URL(url), { algorithms: ["ES256"], headers: { "X-Tenant": "a" } })
      const scheme = Jwt.scheme({ ...base, key })
      const token = yield* sign({}, privateKey, { alg: "ES256", kid: "1" })
      yield* refused()(verify(scheme, yield* sign()))
      yield* refused()(verify(scheme, "no token"))
      assert.strictEqual(issuer.requests, 0)
      yield* Effect.all([verify(scheme, token), verify(scheme, token)], { concurrency: "unbounded" })
      yield* accepted(alice())(verify(scheme, token))
      assert.strictEqual(issuer.requests, 1)
      assert.strictEqual(issuer.headers["x-tenant"], "a")
      // Unknown, and it has just been looked.
      yield* refused()(verify(scheme, yield* sign({}, privateKey, { alg: "ES256", kid: "2" })))
      assert.strictEqual(issuer.requests, 1)
      assert.notInclude(key.name, "hidden")
    }))

  it.effect("is fetched anew for a key that is not in it", () =>
    Effect.gen(function*() {
      const [before, after] = [yield* keyPair("ES256"), yield* keyPair("ES256")]
      const { issuer, url } = yield* publish([{ ...before.jwk, kid: "1" }])
      const scheme = Jwt.scheme({
        ...base,
        key: Jwt.remoteKeySet(url, { algorithms: ["ES256"], cooldown: 0 })
      })
      const [first, second] = [
        yield* sign({}, before.privateKey, { alg: "ES256", kid: "1" }),
        yield* sign({}, after.privateKey, { alg: "ES256", kid: "2" })
      ]
      yield* accepted(alice())(verify(scheme, first))
      yield* refused()(verify(scheme, second))
      issuer.keys = [{ ...before.jwk, kid: "1" }, { ...after.jwk, kid: "2" }]
      yield* accepted(alice())(verify(scheme, second))
      yield* accepted(alice())(verify(scheme, first))
      issuer.keys = [{ ...after.jwk, kid: "2" }]
      yield* refused()(verify(scheme, yield* sign({}, after.privateKey, { alg: "ES256", kid: "3" })))
      // Taken back.
      yield* refused()(verify(scheme, first))
    }))

  it.effect("cannot be fetched: nobody can be checked, until it can", () =>
    Effect.gen(function*() {
      const { jwk, privateKey } = yield* keyPair("ES256")
      const { issuer, url } = yield* publish([{ ...jwk, kid: "1" }])
      const scheme = Jwt.scheme({
        ...base,
        key: Jwt.remoteKeySet(url, { algorithms: ["ES256"], cooldown: 0 })
      })
      const token = yield* sign({}, privateKey, { alg: "ES256", kid: "1" })
      for (const status of [500, 404, 302, 204]) {
        issuer.status = status
        yield* unavailable(verify(scheme, token))
      }
      issuer.status = 200
      issuer.keys = [{ kty: "EC" }, null as never]
      yield* unavailable(verify(scheme, token))
      // A key that is none.
      issuer.keys = [{ ...jwk, x: "AAAA", kid: "1" }]
      yield* unavailable(verify(scheme, token))
      // What needs no key to be refused is refused.
      yield* refused()(verify(scheme, yield* sign()))
      // It has keys by now, and asks for others.
      issuer.keys = [{ ...jwk, kid: "1" }]
      yield* refused()(verify(scheme, yield* sign({}, privateKey, { alg: "ES256", kid: "2" })))
      yield* accepted(alice())(verify(scheme, token))
      issuer.status = 500
      yield* accepted(alice())(verify(scheme, token))
      yield* unavailable(verify(scheme, yield* sign({}, privateKey, { alg: "ES256", kid: "2" })))
    }).pipe(Effect.provide(Logger.layer([]))))

  it.effect("is left alone for a while after it could not be fetched", () =>
    Effect.gen(function*() {
      const { privateKey } = yield* keyPair("ES256")
      const token = yield* sign({}, privateKey, { alg: "ES256" })
      for (const status of [503, 200]) {
        let requests = 0
        const port = yield* serve((_, response) => {
          requests++
          response.writeHead(status).end("<html>")
        })
        const key = Jwt.remoteKeySet(`http://127.0.0.1:${port}/`, { algorithms: ["ES256"] })
        const scheme = Jwt.scheme({ ...base, key })
        for (let i = 0; i < 5; i++) yield* unavailable(verify(scheme, token))
        assert.strictEqual(requests, 1)
      }
    }).pipe(Effect.provide(Logger.layer([]))))

  it.effect("nobody there, no answer, no JSON", () =>
    Effect.gen(function*() {
      const { privateKey } = yield* keyPair("ES256")
      const token = yield* sign({}, privateKey, { alg: "ES256" })
      const gone = yield* Effect.scoped(serve(() => {}))
      const silent = yield* serve(() => {})
      const odd = yield* serve((_, response) => response.end("<html>"))
      const logged: Array<string> = []
      for (const port of [gone, silent, odd]) {
        const key = Jwt.remoteKeySet(`http://localhost:${port}/jwks.json?key=hidden`, {
          algorithms: ["ES256"],
          timeout: "100 millis"
        })
        yield* unavailable(verify(Jwt.scheme({ ...base, key }), token)).pipe(
          Effect.provide(
            Logger.layer([Logger.make(({ logLevel, message }) => logged.push(`${logLevel} ${inspect(message)}`))])
          )
        )
      }
      // Whoever runs the server has to hear of it.
      assert.lengthOf(logged, 3)
      for (const line of logged) {
        assert.match(line, /^Warn .*The remote key set http:\/\/localhost:\d+\/jwks.json cannot be had/s)
        assert.notInclude(line, "hidden")
        assert.notInclude(line, token)
      }
    }))

  it("is safe from changes on the way", () => {
    const make = (url: string, allowHttp?: boolean) => Jwt.remoteKeySet(url, { algorithms: ["RS256"], allowHttp })
    for (const url of ["https://a.example/", "http://localhost:1/", "http://127.0.0.1/", "http://[::1]/"]) make(url)
    for (const url of ["http://a.example/", "http://127.0.0.1.a.example/", "http://localhost.a.example/", "data:,{}"]) {
      assert.throws(() => make(url), TypeError, "take an https: URL")
    }
    make("http://keycloak:8080/", true)
    assert.throws(() => make("file:///etc/jwks.json", true), TypeError, "take an https: URL")
    assert.throws(() => make("/jwks.json"), TypeError)
    for (const algorithms of [["HS256"], ["none"], []]) {
      assert.throws(() => Jwt.remoteKeySet("https://a.example/", { algorithms } as never), TypeError, "no algorithm")
    }
  })
})

describe("claims", () => {
  class Claims extends Schema.Class<Claims>("Claims")({
    sub: Schema.NumberFromString,
    roles: Schema.Array(Schema.Literals(["admin", "author"]))
  }) {}
  const scheme = Jwt.scheme({ ...base, key: secret, claims: Claims, user: (claims) => Effect.succeed(claims) })

  it.effect("are decoded by a schema", () =>
    Effect.gen(function*() {
      const identity = yield* verify(scheme, yield* sign({ sub: "7", roles: ["author"], more: true }))
      assert(identity._tag === "Authenticated")
      assert.deepStrictEqual(identity.user, new Claims({ sub: 7, roles: ["author"] }))
    }))

  it.effect("that do not fit are refused, and logged without what they are", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      for (const changes of [{}, { sub: "7" }, { sub: "7", roles: "admin" }, { sub: "7", roles: ["root"] }]) {
        const token = yield* sign(changes)
        yield* refused()(verify(scheme, token)).pipe(
          Effect.provide(Logger.layer([Logger.make(({ message }) => logged.push(inspect(message)))])),
          Effect.provideService(References.MinimumLogLevel, "Debug")
        )
      }
      assert.lengthOf(logged, 4)
      assert.include(logged[3], "A token was refused: claims do not fit: roles.0")
      assert.notInclude(logged.join(), "root")
    }))

  it.effect("have a subject, unless told otherwise", () =>
    Effect.gen(function*() {
      const scheme = Jwt.scheme({ ...base, key: secret, user: (claims) => Effect.succeed(claims) })
      for (const sub of [undefined, "", 7, null, ["alice"]]) {
        yield* refused()(verify(scheme, yield* sign({ sub })))
      }
      const identity = yield* verify(scheme, yield* sign({ jti: "1", more: true }))
      assert(identity._tag === "Authenticated")
      assert.deepStrictEqual<Jwt.Claims>(identity.user, { ...claims, sub: "alice", jti: "1" } as Jwt.Claims)
      const anybody = Jwt.scheme({ ...base, key: secret, claims: Schema.Struct({}), user: () => Effect.succeed(1) })
      yield* verify(anybody, yield* sign({ sub: undefined }))
    }))

  it.effect("with the names of what every object has are claims like others", () =>
    Effect.gen(function*() {
      const payload = JSON.stringify({ ...claims, constructor: "x", toString: 1, hasOwnProperty: null }).replace(
        "{",
        "{\"__proto__\":{\"admin\":true,\"aud\":\"chat\"},"
      )
      const { payload: encoded, protected: head, signature } = yield* Effect.promise(() =>
        new FlattenedSign(Buffer.from(payload)).setProtectedHeader({ alg: "HS256", kid: "__proto__" }).sign(bytes)
      )
      const scheme = Jwt.scheme({
        ...base,
        key: secret,
        claims: Schema.Struct({ sub: Schema.String, admin: Schema.optionalKey(Schema.Boolean) }),
        user: (claims) => Effect.succeed(claims)
      })
      const identity = yield* verify(scheme, `${head}.${encoded}.${signature}`)
      assert(identity._tag === "Authenticated")
      assert.deepStrictEqual(identity.user, { sub: "alice" })
      assert.isUndefined(identity.user.admin)
      assert.isUndefined(({} as { readonly admin?: boolean }).admin)
      // Inherited is not said.
      const inherited = JSON.stringify({ ...claims, aud: undefined }).replace("{", "{\"__proto__\":{\"aud\":\"chat\"},")
      const signed = yield* Effect.promise(() =>
        new FlattenedSign(Buffer.from(inherited)).setProtectedHeader({ alg: "HS256" }).sign(bytes)
      )
      yield* refused()(verify(scheme, `${signed.protected}.${signed.payload}.${signed.signature}`))
    }))
})

describe("the user", () => {
  it.effect("may be unknown, or not to be had", () =>
    Effect.gen(function*() {
      const token = yield* sign()
      const as = (error: Authentication.AuthenticationError) =>
        verify(Jwt.scheme({ ...base, key: secret, user: () => Effect.fail(error) }), token)
      yield* refused("Nobody knows them")(as(new ChannelError.InvalidCredentials({ message: "Nobody knows them" })))
      const error = yield* Effect.flip(as(new ChannelError.Unavailable({ message: "Database" })))
      assert.strictEqual(error.message, "Database")
      const broken = Jwt.scheme({
        ...base,
        key: secret,
        user: (): Effect.Effect<User> => {
          throw new Error("broke")
        }
      })
      assert.isTrue(Exit.hasDies(yield* Effect.exit(verify(broken, token))))
    }))

  it.effect("is not looked up for a token that was refused", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const scheme = Jwt.scheme({
        ...base,
        key: secret,
        user: ({ sub }, { id }) => Effect.sync(() => ({ id: String(asked.push(`${sub} ${id}`)) }))
      })
      yield* refused()(verify(scheme, yield* sign({}, new Uint8Array(32))))
      yield* refused("The token has expired")(verify(scheme, yield* sign({ exp: 1 })))
      assert.deepStrictEqual(asked, [])
      yield* verify(scheme, yield* sign())
      assert.deepStrictEqual(asked, ["alice 1"])
    }))
})

describe("an identity service", () => {
  class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser", { key: ({ id }) => id }) {}
  class Users extends Context.Service<Users, ReadonlyMap<string, User>>()("test/Users") {}

  const live = CurrentUser.layer(Jwt.scheme({
    ...base,
    from: [Credentials.bearer, Credentials.query("token")],
    key: secret,
    user: Effect.fnUntraced(function*({ sub }) {
      const user = (yield* Users).get(sub)
      return user ?? (yield* new ChannelError.InvalidCredentials({ message: "The user is not known" }))
    }),
    refresh: (identity) => Effect.succeed(Authentication.authenticated({ id: `${identity.user.id} again` }))
  })).pipe(Layer.provide(Layer.succeed(Users, new Map([["alice", { id: "alice" }]]))))

  it.effect("authenticates handshakes and renews by tokens", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(now * 1000)
      const { authenticate, refresh, renew } = yield* CurrentUser.authenticator
      const handshake = (url: string, headers: Readonly<Record<string, string>> = {}) =>
        ConnectionScope.make({ id: "1", url, headers }, {})
      const token = yield* sign()
      assert.strictEqual(yield* authenticate(handshake("/ws/")), Authentication.anonymous)
      yield* accepted(alice())(authenticate(handshake("/ws/", { authorization: `Bearer ${token}` })))
      yield* accepted(alice())(authenticate(handshake(`/ws/?token=${token}`)))
      yield* refused("The user is not known")(authenticate(handshake(`/ws/?token=${yield* sign({ sub: "mallory" })}`)))
      yield* refused()(authenticate(handshake(`/ws/?token=${token}x`)))
      yield* refused("The credentials (query parameter \"token\") are empty")(authenticate(handshake("/ws/?token=")))

      yield* TestClock.adjust("1 minute")
      yield* TestClock.adjust("5 seconds")
      yield* refused("The token has expired")(authenticate(handshake(`/ws/?token=${token}`)))
      const later = Redacted.make(yield* sign({ exp: now + 600 }))
      yield* accepted(alice(now + 600))(renew!(later, handshake("/ws/")))
      yield* refused("The token has expired")(renew!(Redacted.make(token), handshake("/ws/")))
      assert.deepStrictEqual(
        yield* refresh!(Authentication.authenticated({ id: "alice" }), handshake("/ws/")),
        Authentication.authenticated({ id: "alice again" })
      )
    }).pipe(Effect.provide(live), Effect.scoped))

  it("refreshes nobody unless told how", () => {
    assert.isUndefined(Jwt.scheme({ ...base, key: secret }).refresh)
  })
})
