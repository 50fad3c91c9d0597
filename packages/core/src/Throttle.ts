/**
 * Rate limits, as permissions: a throttle is a check that allows a request, or fails with `Throttled` (429, with
 * `retry_after`).
 *
 * | throttle | counts | of |
 * | --- | --- | --- |
 * | {@link perConnection} | messages | one connection |
 * | {@link perIdentity} | messages | one user, on all their connections; of an anonymous client, its address |
 * | {@link perAddress} | messages | one network address |
 * | {@link connectPerIdentity} | handshakes | one user |
 * | {@link connectPerAddress} | handshakes | one network address |
 *
 * - A request that is throttled is neither allowed nor denied: its check fails, so that `not` makes no Allow of it.
 * - A throttle counts a message once, and a handshake once, however often its permission is decided and the throttle stands
 *   in it. It counts what it is asked about: `or(isAdmin, throttle)` does not count the admins, and
 *   `and(isMember, throttle)` does not count those who are no members.
 * - Throttles of one kind, name and limit count together, wherever they stand: give them the same options. All others count
 *   each for themselves, so that a limit for a second and one for a day may have one name.
 * - All but {@link perConnection} keep their counts in the {@link Store}. When that is unavailable the request fails with
 *   503: nothing passes uncounted.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import type * as Authentication from "./Authentication.ts"
import * as ChannelError from "./ChannelError.ts"
import { ConnectionScope } from "./ConnectionScope.ts"
import { countedAs } from "./internal/address.ts"
import { Counts, peek, State, take } from "./internal/counts.ts"
import { Explaining } from "./internal/explaining.ts"
import * as Permission from "./Permission.ts"

/**
 * How requests are counted.
 *
 * - `token-bucket`: a bucket of tokens is refilled evenly, and each request takes one.
 * - `fixed-window`: a window begins with the first request; when it is over, the next request begins another one. Around
 *   the end of a window up to twice the limit may pass within a short time.
 *
 * @category models
 * @since 0.1.0
 */
export type Algorithm = "token-bucket" | "fixed-window"

/**
 * How many requests may pass.
 *
 * **Example** (Ten a second on average, up to fifty at once)
 *
 * ```ts
 * import type { Throttle } from "@effect-channels/core"
 *
 * const limit: Throttle.Limit = { limit: 10, window: "1 second", burst: 50 }
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Limit {
  /** The number of requests per window, a whole number from 1. */
  readonly limit: number
  /** The length of a window. Fractions of a millisecond are rounded up. */
  readonly window: Duration.Input
  /** Default `token-bucket`. */
  readonly algorithm?: Algorithm | undefined
  /** How many tokens a full bucket holds, a whole number from 1; `limit` by default. Not for a fixed window. */
  readonly burst?: number | undefined
}

/**
 * A limit as plain data, for a {@link Store}. All numbers are whole, and from 1.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rule {
  readonly algorithm: Algorithm
  /** How many requests may pass at once: the tokens of a full bucket, the requests of a window. */
  readonly capacity: number
  /** How many tokens flow back into the bucket per window; the requests of a window. */
  readonly limit: number
  /** The length of a window in milliseconds. `capacity * window` is a safe integer. */
  readonly window: number
}

/**
 * Where the counts are kept that outlive a connection. By default that is the memory of this process; servers that share
 * their limits provide another one.
 *
 * @category services
 * @since 0.1.0
 */
export interface Store {
  /**
   * Takes a request of what is left under a key, in one step that no other call comes between. Answers with 0 when it was
   * taken, else with the number of milliseconds, rounded up, until one more request would be, and then takes nothing. A key
   * always comes with the same rule.
   */
  readonly consume: (key: string, rule: Rule) => Effect.Effect<number, ChannelError.Unavailable>
  /** Answers as `consume` would now, and takes nothing. */
  readonly peek: (key: string, rule: Rule) => Effect.Effect<number, ChannelError.Unavailable>
}

/**
 * The store of the throttles: one in memory, which the whole process shares, where no other is provided.
 *
 * @category services
 * @since 0.1.0
 */
export const Store: Context.Reference<Store> = Context.Reference<Store>("effect-channels/Throttle/Store", {
  defaultValue: () => makeMemory()
})

/**
 * A {@link Store} in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryStore extends Store {
  /** How many keys it holds now. */
  readonly size: () => number
}

/**
 * The options of a store in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryOptions {
  /** How many keys it holds at most, a whole number from 1. Default 100,000. */
  readonly maxKeys?: number | undefined
}

/**
 * Makes a store in memory. It forgets a key whose bucket is full again or whose window is over, a few with each call; when
 * there are too many all the same, it forgets the one that was used least recently, and what that had spent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMemory = (options?: MemoryOptions): MemoryStore => {
  const maxKeys = options?.maxKeys ?? 100_000
  if (!isCount(maxKeys)) throw new TypeError(`Throttle: maxKeys must be a whole number from 1, not ${maxKeys}`)
  const counts = new Counts(maxKeys)
  return {
    consume: (key, rule) => Effect.map(currentTime, (now) => counts.consume(key, rule, now)),
    peek: (key, rule) => Effect.map(currentTime, (now) => counts.peek(key, rule, now)),
    size: () => counts.size
  }
}

/**
 * The layer of a store in memory of its own, in place of the one that the process shares.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<never> => Layer.sync(Store, () => makeMemory(options))

/**
 * How a throttle fails: the request was one too many (429), or it could not be counted (503).
 *
 * @category errors
 * @since 0.1.0
 */
export type Failure = ChannelError.Throttled | ChannelError.Unavailable

/**
 * Where the network address of a client is found.
 *
 * @category models
 * @since 0.1.0
 */
export interface AddressOptions {
  /**
   * The address of a client, by default the one that its connection comes from. Behind a proxy that is the proxy's, the same
   * for everybody: read the header that the proxy sets. Trust that header only if the proxy sets it on every request: a
   * client can send any `X-Forwarded-For`, and what the proxy appends stands last.
   */
  readonly address?: ((scope: ConnectionScope["Service"]) => string | undefined) | undefined
}

/**
 * Limits the messages of each connection. The count belongs to the connection and goes with it.
 *
 * A client may open another connection: limit those too, with {@link connectPerAddress}.
 *
 * **Example** (Sixty messages a minute, ten of them posts)
 *
 * ```ts
 * import { Action, Consumer, Throttle } from "@effect-channels/core"
 *
 * const post = Action.make("post").pipe(
 *   Action.permit(Throttle.perConnection("posts", { limit: 10, window: "1 minute" }))
 * )
 * const Chat = Consumer.make("chat", { path: "/ws/chat/" }).pipe(
 *   Consumer.permit(Throttle.perConnection("messages", { limit: 60, window: "1 minute" })),
 *   Consumer.add(post)
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const perConnection = (
  name: string,
  limit: Limit
): Permission.Permission<{ readonly action: string }, ChannelError.Throttled, ConnectionScope> => {
  const rule = ruleOf(name, limit)
  const id = prefix("connection", name, rule)
  return Permission.action(
    `perConnection(${name})`,
    (facts) =>
      // Nothing comes between, so that nobody has to wait.
      Effect.withFiber<true, ChannelError.Throttled, ConnectionScope>((fiber) => {
        const before = verdicts.get(facts)?.get(id)
        if (before !== undefined) return before
        const now = timeOf(fiber.getRef(Clock.Clock))
        const scope = Context.getUnsafe(fiber.context, ConnectionScope)
        const state = note(connections, scope, id, () => new State(now))
        return fiber.getRef(Explaining)
          ? verdict(peek(state, rule, now))
          : note(verdicts, facts, id, () => verdict(take(state, rule, now)))
      }),
    ofMessage
  )
}

/** It limits messages, not the objects that they are about. */
const ofMessage: Permission.ActionCheckOptions = { everyObject: "passed" }

/**
 * Limits the messages of each user, on all their connections together. Messages of anonymous connections are counted by
 * the network address, apart from those of users.
 *
 * The service of the identity must have a `key`, which tells two users apart.
 *
 * **Example** (Not for admins)
 *
 * ```ts
 * import { Authentication, Permission, Throttle } from "@effect-channels/core"
 *
 * class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: string; readonly admin: boolean }>()(
 *   "app/CurrentUser",
 *   { key: (user) => user.id }
 * ) {}
 *
 * const isAdmin = Permission.connection("isAdmin", CurrentUser.use((user) => user.admin))
 * const fair = Permission.or(isAdmin, Throttle.perIdentity(CurrentUser, "messages", { limit: 100, window: "1 minute" }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const perIdentity = <Self, A>(
  service: Authentication.ServiceKey<Self, A> & Authentication.Keyed<A>,
  name: string,
  limit: Limit,
  options?: AddressOptions
): Permission.Permission<{ readonly action: string }, Failure, Self | ConnectionScope> => {
  const counted = ofIdentity(service, name, limit, options)
  return Permission.action(`perIdentity(${name})`, (facts) => once(facts, counted), ofMessage)
}

/**
 * Limits the messages of each network address, on all its connections together. An IPv6 address counts as its /64 network,
 * which one client has for itself, an IPv4 address that is written as an IPv6 one as what it is. Clients without a known
 * address count together.
 *
 * @category constructors
 * @since 0.1.0
 */
export const perAddress = (
  name: string,
  limit: Limit,
  options?: AddressOptions
): Permission.Permission<{ readonly action: string }, Failure, ConnectionScope> => {
  const counted = ofAddress(name, limit, options)
  return Permission.action(`perAddress(${name})`, (facts) => once(facts, counted), ofMessage)
}

/**
 * Limits the handshakes of each user, those of anonymous clients by network address, as {@link perIdentity} does for
 * messages. For `Consumer.permitConnect`; on messages it would count each connection once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const connectPerIdentity = <Self, A>(
  service: Authentication.ServiceKey<Self, A> & Authentication.Keyed<A>,
  name: string,
  limit: Limit,
  options?: AddressOptions
): Permission.Permission<unknown, Failure, Self | ConnectionScope> => {
  const counted = ofIdentity(service, name, limit, options)
  return Permission.connection(`connectPerIdentity(${name})`, (scope) => once(scope, counted))
}

/**
 * Limits the handshakes of each network address, as {@link perAddress} does for messages. For `Consumer.permitConnect`; on
 * messages it would count each connection once.
 *
 * **Example** (Behind a proxy which sets `x-real-ip` on every request)
 *
 * ```ts
 * import { Consumer, Throttle } from "@effect-channels/core"
 *
 * const Chat = Consumer.make("chat", { path: "/ws/chat/" }).pipe(
 *   Consumer.permitConnect(
 *     Throttle.connectPerAddress("handshakes", { limit: 30, window: "1 minute" }, {
 *       address: (scope) => scope.headers["x-real-ip"]
 *     })
 *   )
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const connectPerAddress = (
  name: string,
  limit: Limit,
  options?: AddressOptions
): Permission.Permission<unknown, Failure, ConnectionScope> => {
  const counted = ofAddress(name, limit, options)
  return Permission.connection(`connectPerAddress(${name})`, (scope) => once(scope, counted))
}

// ---- limits

const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 1

const ruleOf = (name: string, limit: Limit): Rule => {
  const fail = (problem: string) => new TypeError(`The limit of the throttle "${name}" is wrong: ${problem}`)
  const algorithm = limit.algorithm ?? "token-bucket"
  if (algorithm !== "token-bucket" && algorithm !== "fixed-window") {
    throw fail(`there is no algorithm "${String(algorithm)}"`)
  }
  if (!isCount(limit.limit)) throw fail(`limit must be a whole number from 1, not ${limit.limit}`)
  const capacity = limit.burst ?? limit.limit
  if (!isCount(capacity)) throw fail(`burst must be a whole number from 1, not ${capacity}`)
  if (algorithm === "fixed-window" && limit.burst !== undefined) throw fail("a fixed window has no burst")
  const duration = Option.getOrUndefined(Duration.fromInput(limit.window))
  const window = duration === undefined ? NaN : Math.ceil(Duration.toMillis(duration))
  if (!(window > 0 && window < Infinity)) {
    throw fail(`window must be a duration longer than nothing, and not for ever, not ${String(limit.window)}`)
  }
  if (!Number.isSafeInteger(capacity * window)) throw fail("so many requests in so long a window cannot be counted")
  return { algorithm, capacity, limit: limit.limit, window }
}

/** What the keys of a throttle begin with. No other throttle's do: all that comes after it is the key of one client. */
const prefix = (kind: string, name: string, rule: Rule): string =>
  `${kind}:${rule.algorithm}/${rule.capacity}/${rule.limit}/${rule.window}:${JSON.stringify(name)}:`

// ---- counting

const timeOf = (clock: Clock.Clock): number => Math.floor(clock.currentTimeMillisUnsafe())

const currentTime = Effect.withFiber((fiber) => Effect.succeed(timeOf(fiber.getRef(Clock.Clock))))

const allowed = Effect.succeed<true>(true)

const verdict = (wait: number): Effect.Effect<true, ChannelError.Throttled> =>
  wait === 0 ? allowed : Effect.fail(new ChannelError.Throttled({ retryAfter: Math.max(1, Math.ceil(wait)) / 1000 }))

// ---- once for each message and handshake

/** What is known of messages or connections, by throttle, for as long as they are around. */
type Notes<V> = WeakMap<object, Map<string, V>>

const note = <V>(notes: Notes<V>, of: object, id: string, make: () => V): V => {
  let known = notes.get(of)
  if (known === undefined) notes.set(of, known = new Map())
  let value = known.get(id)
  if (value === undefined) known.set(id, value = make())
  return value
}

/** What has been spent on each connection. */
const connections: Notes<State> = new WeakMap()

/** What the throttles of its connection have said of each message. */
const verdicts: Notes<Effect.Effect<true, ChannelError.Throttled>> = new WeakMap()

/** What the throttles that ask the store have said of each message and handshake. */
const outcomes: Notes<Outcome> = new WeakMap()

interface Outcome {
  exit: Exit.Exit<true, Failure> | undefined
  /** Whoever asks at the same time waits for the one who asked first. */
  readonly lock: Semaphore.Semaphore
}

const once = <R>(of: object, { id, key, rule }: Counted<R>): Effect.Effect<true, Failure, R> => {
  const outcome = note(outcomes, of, id, (): Outcome => ({ exit: undefined, lock: Semaphore.makeUnsafe(1) }))
  return outcome.exit ?? Effect.flatMap(key, (key) =>
    Effect.withFiber<true, Failure>((fiber) => {
      const store = fiber.getRef(Store)
      if (fiber.getRef(Explaining)) return outcome.exit ?? Effect.flatMap(store.peek(id + key, rule), verdict)
      return outcome.lock.withPermit(Effect.suspend(() =>
        outcome.exit ?? Effect.flatMap(
          Effect.exit(Effect.flatMap(store.consume(id + key, rule), verdict)),
          (exit) => {
            outcome.exit = exit
            return exit
          }
        )
      ))
    }))
}

// ---- who is counted

/** What is counted together: under which key, by which rule. */
interface Counted<out R> {
  /** What the keys begin with. */
  readonly id: string
  readonly rule: Rule
  /** The rest of the key: the client. */
  readonly key: Effect.Effect<string, never, R>
}

const ofIdentity = <Self, A>(
  service: Authentication.ServiceKey<Self, A> & Authentication.Keyed<A>,
  name: string,
  limit: Limit,
  options: AddressOptions | undefined
): Counted<Self | ConnectionScope> => {
  const rule = ruleOf(name, limit)
  const addressOf = addressBy(options)
  return {
    id: `${prefix("identity", name, rule)}${JSON.stringify(service.key)}:`,
    rule,
    key: Effect.withFiber(({ context }) => {
      const identity = Context.getUnsafe(context, service.identity)
      return Effect.succeed(
        identity._tag === "Authenticated"
          ? `user:${service.keyOf(identity.user)}`
          : `anonymous:${addressOf(Context.getUnsafe(context, ConnectionScope))}`
      )
    })
  }
}

const ofAddress = (name: string, limit: Limit, options: AddressOptions | undefined): Counted<ConnectionScope> => {
  const rule = ruleOf(name, limit)
  const addressOf = addressBy(options)
  return {
    id: prefix("address", name, rule),
    rule,
    key: Effect.map(ConnectionScope, addressOf)
  }
}

/** The address that a connection is counted by; it is worked out once. */
const addressBy = (options: AddressOptions | undefined): (scope: ConnectionScope["Service"]) => string => {
  const read = options?.address ?? ((scope) => scope.remoteAddress)
  const known = new WeakMap<object, string>()
  return (scope) => {
    let address = known.get(scope)
    if (address === undefined) known.set(scope, address = countedAs(read(scope)))
    return address
  }
}
