/**
 * Servers with groups, and the clients that are in them: what the tests of groups and events speak through.
 */
import { Authentication, Authority, ChannelLayer, type Consumer, type Handlers, Pipeline } from "@effect-channels/core"
import { assert, vi } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { Histories } from "../../src/internal/history.ts"
import { LocalGroups } from "../../src/internal/local-groups.ts"
import { Registry } from "../../src/internal/registry.ts"
import { type Client, open, settle, soon } from "./connection.ts"

/** Who is behind a connection; `tag` is something else that is known of them. */
export interface User {
  readonly name: string
  readonly tag: string
}
export class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser", {
  key: (user) => user.name
}) {}

/** Users as they are found anew, where that is another than they were. */
export const Renamed = Context.Reference<Map<string, User>>("test/Renamed", { defaultValue: () => new Map() })

/** Authenticates by the query string: `?user=alice&tag=x`; without a user it is nobody. */
export const AuthenticationLive = CurrentUser.layer({
  authenticate: ({ query: { tag = "", user } }) =>
    Effect.succeed(
      user === undefined
        ? Authentication.anonymous
        : Authentication.authenticated({ name: String(user), tag: String(tag) })
    ),
  refresh: (identity) =>
    Effect.map(Renamed, (renamed) => Authentication.authenticated(renamed.get(identity.user.name) ?? identity.user))
})

/** The name of whoever is behind the connection, `nobody` for nobody. */
export const name = Effect.map(
  CurrentUser.identity,
  (identity) => identity._tag === "Anonymous" ? "nobody" : identity.user.name
)

/** A frame that a client has received. */
export interface Frame {
  readonly type?: string
  readonly action?: string
  readonly data: never
  readonly status: number
  readonly id?: string
  readonly errors?: ReadonlyArray<{ readonly detail: string; readonly code?: string }>
}

/** A server, and connections to it. */
export interface Server {
  readonly pipeline: Pipeline.Pipeline
  /** Connects; each connection has an id of its own unless one is given. */
  readonly connect: (url: string, id?: string) => Effect.Effect<Client, Pipeline.HandshakeRefused, Scope.Scope>
}

/** Starts a server of one consumer, on the channel layer of the test. */
export const start = Effect.fnUntraced(function*<const C extends Consumer.Any, E, R>(
  consumers: C | ReadonlyArray<C>,
  layer: Layer.Layer<Handlers.Live<C["name"]>, E, R>,
  limits?: Partial<Pipeline.Limits>
) {
  const context = yield* Layer.build(layer)
  const making = Pipeline.make([consumers].flat() as ReadonlyArray<C>, { ...Pipeline.defaultLimits, ...limits })
  const pipeline = yield* Effect.provideContext(making, context as never)
  let connections = 0
  const server: Server = {
    pipeline,
    connect: (url, id = `c${++connections}`) => open(pipeline, url, id)
  }
  return server
})

/** What a test of groups is run with: a channel layer, an authority and metrics of its own. */
export const layerTest: Layer.Layer<ChannelLayer.ChannelLayer> = Layer.mergeAll(
  Layer.fresh(ChannelLayer.layerMemory),
  Layer.fresh(Authority.layerMemory),
  Layer.sync(Metric.MetricRegistry, () => new Map())
)

/** A channel layer in memory with some of its operations replaced. */
export const layerWith = (
  replace: (memory: ChannelLayer.ChannelLayer["Service"]) => Partial<ChannelLayer.ChannelLayer["Service"]>
): Layer.Layer<ChannelLayer.ChannelLayer> =>
  Layer.effect(
    ChannelLayer.ChannelLayer,
    Effect.map(ChannelLayer.makeMemory, (memory) => ChannelLayer.ChannelLayer.of({ ...memory, ...replace(memory) }))
  )

/** All frames that are there for a client; fewer where it takes no more than so many. */
export const received = Effect.fnUntraced(function*(client: Client, most = Infinity) {
  yield* settle
  const frames: Array<Frame> = []
  while (frames.length < most) {
    const next = yield* soon(Effect.option(client.peer.take))
    if (Option.isNone(next) || Option.isNone(next.value)) break
    frames.push(JSON.parse(next.value.value))
  }
  return frames as ReadonlyArray<Frame>
})

/** What the events say that are there for a client: their data, without those of the protocol itself. */
export const heard = (client: Client): Effect.Effect<ReadonlyArray<unknown>> =>
  Effect.map(received(client), (frames) => frames.filter(isEvent).map(({ data }) => data))

const isEvent = ({ type }: Frame): boolean => type !== undefined && !type.startsWith("$")

/** With which code the connection has been closed; `undefined` where it has not. */
export const closeCode = (client: Client): Effect.Effect<number | undefined> =>
  Effect.map(soon(client.peer.closed), (closed) => Option.getOrUndefined(closed)?.code)

/** What has been counted of the deliveries of an event, by outcome. */
export const deliveriesOf = (event: string): Effect.Effect<Readonly<Record<string, number>>> =>
  Effect.map(Metric.snapshot, (snapshots) => {
    const counts: Record<string, number> = {}
    for (const snapshot of snapshots) {
      if (snapshot.id !== "effect_channels_deliveries_total" || snapshot.attributes?.["event"] !== event) continue
      counts[snapshot.attributes["outcome"]!] = (snapshot.state as { readonly count: number }).count
    }
    return counts
  })

/** What is kept by all the servers and channel layers of a test. */
export interface Kept {
  readonly connections: number
  readonly users: number
  readonly groups: number
  readonly histories: number
}

/** Looks at what is kept, from here on. */
export const watchKept: Effect.Effect<Effect.Effect<Kept>, never, Scope.Scope> = Effect.gen(function*() {
  const joins = vi.spyOn(Registry.prototype, "join")
  const adds = vi.spyOn(LocalGroups.prototype, "add")
  const resumes = vi.spyOn(Histories.prototype, "resume")
  yield* Effect.addFinalizer(() => Effect.sync(() => [joins, adds, resumes].forEach((spy) => spy.mockRestore())))
  const sum = <A>(contexts: ReadonlyArray<A>, size: (a: A) => number) =>
    Array.from(new Set(contexts)).reduce((total, one) => total + size(one), 0)
  return Effect.sync(() => ({
    connections: sum(joins.mock.contexts as ReadonlyArray<Registry>, ({ size }) => size),
    users: sum(joins.mock.contexts as ReadonlyArray<Registry>, ({ users }) => users),
    groups: sum(adds.mock.contexts as ReadonlyArray<LocalGroups>, ({ size }) => size),
    histories: sum(resumes.mock.contexts as ReadonlyArray<Histories>, ({ size }) => size)
  }))
})

/** The problems of a consumer that does not start. */
export const problemsOf = <A, R>(
  effect: Effect.Effect<A, Handlers.DefinitionError, R>
): Effect.Effect<ReadonlyArray<string>, never, R> =>
  Effect.map(Effect.flip(effect) as Effect.Effect<Handlers.DefinitionError, never, R>, ({ problems }) => problems)

/** Fails a test when a handshake is not refused with this status. */
export const refusedWith = Effect.fnUntraced(function*(
  connecting: Effect.Effect<unknown, Pipeline.HandshakeRefused, Scope.Scope>,
  status: number
) {
  const refused = yield* Effect.flip(connecting)
  assert.strictEqual(refused.status, status)
  return JSON.parse(refused.body).errors as NonNullable<Frame["errors"]>
})
