/**
 * The key of one request that is done once for it: finds out whether it is known what comes of it, holds the claim to do it while it is
 * done, and has the outcome remembered.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Fiber from "effect/Fiber"
import * as ChannelError from "../ChannelError.ts"
import { type Attempt, type Claimed, type Outcome, Store } from "../Idempotency.ts"
import { canonical } from "./channels.ts"
import type * as compile from "./compile.ts"
import * as Envelope from "./envelope.ts"
import type { Standing } from "./standing.ts"

/** The request that has the key. */
export interface Host {
  readonly fork: (effect: Effect.Effect<void, never, unknown>) => Fiber.Fiber<void>
  /** Another attempt has the claim now: ends the request. */
  readonly lost: (error: ChannelError.Unavailable) => void
}

/** Longer keys are refused. */
const maxLength = 255

/** What every runtime has, and the types of the language alone do not name. */
declare const TextEncoder: { new(): { encode(text: string): Uint8Array<ArrayBuffer> } }
declare const crypto: {
  readonly randomUUID: () => string
  readonly subtle: {
    readonly digest: (algorithm: "SHA-256", data: Uint8Array<ArrayBuffer>) => Promise<ArrayBuffer>
  }
}

/** Texts up to this length stand for themselves, so that there is nothing to wait for. */
const maxText = 1024

/** Stands for a text, and for no other one: all texts begin with a bracket. */
const shorten = (text: string): Effect.Effect<string> =>
  text.length <= maxText ? Effect.succeed(text) : Effect.map(
    Effect.promise(() => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
    (hash) => `sha256:${Base64Url.encode(new Uint8Array(hash))}`
  )

/** Whether a request has a key, be it one or not. */
export const isAsked = ({ body }: Envelope.Envelope): boolean => body[Envelope.idempotencyKey] !== undefined

/** The key of a request: it is claimed, held, and let go once. */
export class Key {
  readonly #standing: Standing
  readonly #host: Host
  readonly #store: Store
  /** What the key is one of, and what it came with. */
  readonly #texts: readonly [key: string, request: string]
  #attempt: Attempt | undefined
  #keeper: Fiber.Fiber<void> | undefined
  #isHeld = false
  #isOver = false
  /** Whether what has come of it is remembered. */
  isKept = false
  /** What has come of it. */
  outcome: Outcome | undefined = undefined
  /** Whether it has failed as its handler may, and not as whoever decides over it. */
  isOfHandler = false

  constructor(standing: Standing, texts: readonly [key: string, request: string], host: Host) {
    this.#standing = standing
    this.#texts = texts
    this.#host = host
    this.#store = Context.get(standing.consumer.context, Store)
  }

  /** Whether it is for this request to do it. */
  get isHeld(): boolean {
    return this.#isHeld && !this.#isOver
  }

  /** Claims it, or tells what has come of it. */
  get claim(): Effect.Effect<Claimed, ChannelError.Unavailable> {
    const [key, request] = this.#texts
    return Effect.flatMap(Effect.zip(shorten(key), shorten(request)), ([key, fingerprint]) => {
      const attempt = this.#attempt = { key, fingerprint, id: crypto.randomUUID() }
      return Effect.map(this.#store.claim(attempt), (claimed) => {
        if (claimed._tag === "Claimed") this.#hold(attempt)
        return claimed
      })
    })
  }

  #hold(attempt: Attempt): void {
    const { lease, renew } = this.#store
    this.#isHeld = true
    if (lease === undefined) return
    const renewed = Effect.catch(renew(attempt), () => Effect.succeed(true))
    const keeping: Effect.Effect<void> = Effect.flatMap(
      Effect.andThen(Effect.sleep(lease / 3), renewed),
      (isOurs) => isOurs ? keeping : Effect.sync(() => this.#lost())
    )
    this.#keeper = this.#host.fork(keeping)
  }

  #lost(): void {
    this.#isOver = true
    this.#host.lost(
      new ChannelError.Unavailable({
        message: "Another attempt of this request has begun: send it again to learn its outcome"
      })
    )
  }

  /**
   * Has the {@link outcome} remembered. Where that is not possible, whoever asks next does it again. It is not interrupted, so that it is
   * known which of both it is.
   */
  get keep(): Effect.Effect<void> {
    const { consumer } = this.#standing
    return this.#store.keep(this.#attempt!, this.outcome!, consumer.keepOutcomes).pipe(
      Effect.andThen(Effect.sync(() => {
        this.isKept = true
        this.#end()
      })),
      Effect.catch((error) => Effect.logWarning("The outcome of an action cannot be remembered", error.message)),
      Effect.uninterruptible
    )
  }

  /** Lets it go, where no outcome is remembered. */
  release(): void {
    const attempt = this.#attempt
    if (this.#isOver || attempt === undefined) return
    this.#end()
    this.#host.fork(Effect.ignore(this.#store.release(attempt)))
  }

  #end(): void {
    this.#isOver = true
    this.#keeper?.interruptUnsafe()
  }
}

/** The key of a request, or what is wrong with it. */
export const read = (
  { body, route }: Envelope.Envelope,
  endpoint: compile.Endpoint,
  standing: Standing,
  host: Host
): Key | ChannelError.InvalidPayload => {
  const key = body[Envelope.idempotencyKey]
  if (typeof key !== "string" || key.length === 0 || key.length > maxLength) {
    return problem(Envelope.idempotencyKey, `Expected a string of 1 to ${maxLength} characters`)
  }
  const search = route.indexOf("?")
  const { consumer, scope } = standing
  try {
    return new Key(standing, [
      JSON.stringify([
        consumer.consumer.name,
        scope.path,
        search < 0 ? route : route.slice(0, search),
        endpoint.name,
        users(standing),
        key
      ]),
      canonical([
        search < 0 ? "" : route.slice(search),
        // What nobody decodes is ignored here too.
        endpoint.decodePayload === undefined || !("data" in body) ? [] : [body["data"]],
        endpoint.decodeFields === undefined ? {} : Envelope.fields(body, true)
      ])
    ], host)
  } catch (error) {
    // A schema that takes anything does not walk as deep as its input.
    if (error instanceof RangeError) return problem("data", "Nested too deeply")
    throw error
  }
}

const problem = (path: string, detail: string): ChannelError.InvalidPayload =>
  new ChannelError.InvalidPayload({ problems: [{ detail, path: [path] }] })

/** Who is behind a connection, always in the same order. All of them have a key: the consumer would not have started. */
const users = ({ consumer, context }: Standing): ReadonlyArray<readonly [service: string, key: string]> =>
  consumer.authenticators.flatMap(({ identity, keyOf }) => {
    const found = Context.getUnsafe(context as Context.Context<never>, identity)
    return found._tag === "Anonymous" ? [] : [[identity.key, keyOf!(found.user)] as const]
  }).sort(([a], [b]) => a < b ? -1 : 1)
