/**
 * A consumer whose clients leave traces of all that they do, and servers of it that come and go.
 */
import {
  Action,
  Authentication,
  ChannelLayer,
  Client,
  type ClientError,
  Consumer,
  Event,
  Group,
  Handlers,
  Permission
} from "@effect-channels/core"
import { NodeChannels } from "@effect-channels/node"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Checker from "./checker.ts"
import * as Server from "./server.ts"

type Call = Checker.Call & {
  readonly outcomes: Array<Checker.Outcome>
  readonly items?: Array<{ readonly nonce: string; readonly n: number }> | undefined
}

/** Who is behind a connection: whoever says so. */
export class Caller extends Authentication.Service<Caller, string>()("test/Caller", {
  key: (caller) => caller
}) {}

/** How many events a {@link Room} keeps. */
export const kept = 12

/** A group with a history, and one without. */
export const Room = Group.make("room", { room: Schema.String }).pipe(Group.history({ count: kept, age: "1 hour" }))
export const Hall = Group.make("hall", { room: Schema.String })

const Nonce = Schema.Struct({ nonce: Schema.String })
const Item = Schema.Struct({ nonce: Schema.String, n: Schema.Int })

const Posted = Event.make("posted", Nonce)
const Shouted = Event.make("shouted", Nonce)

/** What can be asked of it. */
export const Chat = Consumer.make("chat", { path: "/chat/:room/" }).pipe(
  Consumer.permitConnect(Permission.isAuthenticated(Caller)),
  Consumer.join(Room, ({ params }) => ({ room: params.room })),
  Consumer.join(Hall, ({ params }) => ({ room: params.room })),
  Consumer.push(Posted),
  Consumer.push(Shouted),
  Consumer.add(
    Action.make("echo", { payload: Nonce, success: Nonce }),
    Action.make("post", { payload: Nonce, success: Nonce }).pipe(Action.broadcast(Room, Posted)),
    Action.make("shout", { payload: Nonce, success: Nonce }).pipe(Action.broadcast(Hall, Shouted)),
    Action.make("hang", { payload: Nonce, success: Nonce, concurrency: "unbounded" }),
    Action.make("count", { payload: Item, success: Item, stream: true }),
    Action.make("read", { payload: Nonce, success: Nonce, idempotent: true }),
    Action.make("recount", { payload: Item, success: Item, stream: true, idempotent: true }),
    Action.make("pay", { payload: Nonce, success: Nonce, idempotent: "key" }),
    Action.make("publish", { payload: Nonce, success: Nonce, idempotent: "key" }).pipe(Action.broadcast(Room, Posted))
  )
)

/** Everything that leaves traces, and a server that can be replaced. */
export interface World {
  /** What was done, by its nonces, as often as it was. */
  readonly effects: ReadonlyArray<string>
  /** What is being done, and has not ended. */
  readonly running: ReadonlySet<string>
  readonly groups: Readonly<Record<"room" | "hall", Checker.Group>>
  /** The port of the server that there is. */
  readonly port: () => number
  /** Ends the server, and starts another one; with the same groups and histories where they are kept, else with new ones. */
  readonly restart: (options?: { readonly isKept?: boolean | undefined }) => Effect.Effect<void>
}

export const makeWorld = Effect.fnUntraced(function*(options: NodeChannels.Options = {}) {
  const effects: Array<string> = []
  const running = new Set<string>()
  const events = { room: [] as Array<Sent>, hall: [] as Array<Sent> }
  const done = <A extends { readonly nonce: string }>({ payload }: { readonly payload: A }) =>
    Effect.sync(() => {
      effects.push(payload.nonce)
      return { nonce: payload.nonce }
    })
  const counted = ({ payload: { n, nonce } }: { readonly payload: { readonly nonce: string; readonly n: number } }) =>
    Stream.unwrap(Effect.map(done({ payload: { nonce } }), () =>
      Stream.range(0, n - 1).pipe(
        Stream.map((n) => ({ nonce, n })),
        Stream.tap(() => turn),
        Stream.onStart(Effect.sync(() => running.add(nonce))),
        Stream.ensuring(Effect.sync(() => running.delete(nonce)))
      )))
  const handlers = Consumer.handlers(Chat).pipe(
    Handlers.handle("echo", done),
    Handlers.handle("post", done),
    Handlers.handle("shout", done),
    Handlers.handle("read", done),
    Handlers.handle("pay", done),
    Handlers.handle("publish", done),
    Handlers.handle("count", counted),
    Handlers.handle("recount", counted),
    Handlers.handle("hang", (request) =>
      Effect.tap(done(request), ({ nonce }) =>
        Effect.acquireUseRelease(
          Effect.sync(() => running.add(nonce)),
          () => Effect.never,
          () => Effect.sync(() => running.delete(nonce))
        ))),
    Handlers.toLayer,
    Layer.provide(Caller.layer({
      authenticate: () => Effect.succeed(Authentication.authenticated("somebody")),
      renew: () => Effect.succeed(Authentication.authenticated("somebody"))
    }))
  )
  /** Tells of everything that a group is sent: somebody is in it who does not count. */
  const observed = (layer: ChannelLayer.ChannelLayer["Service"]) => {
    const known = new Set<string>()
    return ChannelLayer.ChannelLayer.of({
      ...layer,
      add: (group, member, after) => {
        if (known.has(group.key)) return layer.add(group, member, after)
        known.add(group.key)
        const name = group.label.includes("\"hall\"") ? "hall" : "room"
        const receive = ({ data, id }: ChannelLayer.Message) =>
          void events[name].push({ nonce: JSON.parse(data).nonce, id })
        const observer = { id: `observer of ${group.key}`, presence: undefined, receive }
        return Effect.andThen(layer.add(group, observer, undefined), layer.add(group, member, after))
      }
    })
  }
  const makeLayer = Effect.map(ChannelLayer.makeMemory, observed)
  const serve = (layer: ChannelLayer.ChannelLayer["Service"]) =>
    Server.start(
      NodeChannels.serve(Chat, options).pipe(
        Layer.provide(handlers),
        Layer.provide(Layer.succeed(ChannelLayer.ChannelLayer, layer))
      )
    )
  // Of all servers: they end after those who are their clients.
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
  let layer = yield* makeLayer
  let server = yield* Scope.provide(serve(layer), scope)
  const world: World = {
    effects,
    running,
    groups: { room: { kept, events: events.room }, hall: { kept: undefined, events: events.hall } },
    port: () => server.port,
    restart: ({ isKept = true } = {}) =>
      Effect.gen(function*() {
        yield* server.stop
        if (!isKept) layer = yield* makeLayer
        server = yield* Scope.provide(serve(layer), scope)
      }).pipe(Effect.orDie)
  }
  return world
})

interface Sent {
  readonly nonce: string
  readonly id: string | undefined
}

/** A turn of the event loop. */
export const turn: Effect.Effect<void> = Effect.callback((resume) => void setImmediate(() => resume(Effect.void)))

// ---- clients

const room = { room: "lobby" }

/** A client that takes down what it calls and hears. */
export const enter = Effect.fnUntraced(function*(
  name: string,
  port: number,
  options: Omit<Client.Options<{ readonly room: string }>, "params" | "url"> = {}
) {
  const client = yield* Client.make(Chat, { url: `ws://127.0.0.1:${port}`, params: room, ...options })
  const heard: Array<Checker.Heard> = []
  const calls: Array<Call> = []
  const statuses: Array<string> = []
  let count = 0

  const take = (one: Stream.Success<typeof client.heard>) =>
    Effect.map(client.position(Room, room), (at): void => {
      switch (one._tag) {
        case "Event":
          heard.push({
            _tag: "Event",
            group: one.type === "posted" ? "room" : "hall",
            nonce: one.data.nonce,
            id: one.id
          })
          break
        case "Connected":
          heard.push(one)
          break
        case "Disconnected":
          heard.push({ _tag: "Disconnected" })
          break
        case "Fresh":
        case "Resumed":
        case "Gap":
        case "CaughtUp":
          heard.push({ _tag: one._tag, group: one.group, at })
      }
    })
  yield* Effect.forkScoped(Stream.runForEach(client.statuses, ({ _tag }) => Effect.sync(() => statuses.push(_tag))), {
    startImmediately: true
  })
  yield* Effect.forkScoped(Stream.runForEach(client.heard, take), { startImmediately: true })

  const record = (call: Omit<Call, "outcomes">): Call => {
    const recorded = { ...call, outcomes: [] }
    calls.push(recorded)
    return recorded
  }
  const ended = (call: Call) => (exit: Exit.Exit<unknown, unknown>) =>
    Effect.sync(() => {
      call.outcomes.push(outcomeOf(exit, call))
    })
  /** Calls by a function of the client; succeeds, whatever comes of it. */
  const ask = (
    action: "echo" | "hang" | "pay" | "post" | "publish" | "read" | "shout",
    nonce = `${name}.${++count}`
  ): Effect.Effect<Call> =>
    Effect.suspend(() => {
      const to = action === "post" || action === "publish" ? "room" : action === "shout" ? "hall" : undefined
      const call = record({ nonce, action, repeats: repeatsOf(action), to })
      return Effect.as(Effect.exit(Effect.onExit(client[action]({ nonce }), ended(call))), call)
    })
  /** Has the server count, and takes so many items at the most. */
  const takeCount = (action: "count" | "recount", length: number, most = Infinity): Effect.Effect<Call> =>
    Effect.suspend(() => {
      const nonce = `${name}.${++count}`
      const items: NonNullable<Call["items"]> = []
      const call = record({ nonce, action, repeats: repeatsOf(action), items, length: Math.min(length, most) })
      const counting = client[action]({ nonce, n: length }).pipe(
        Stream.take(most),
        Stream.runForEach((item) => Effect.sync(() => items.push(item)))
      )
      return Effect.as(Effect.exit(Effect.onExit(counting, ended(call))), call)
    })
  return {
    name,
    isFromKept: options.from === "kept",
    client,
    heard,
    calls,
    statuses,
    ask,
    count: takeCount,
    /** The nonce of the next call. */
    next: () => `${name}.${++count}`,
    isConnected: () => statuses.at(-1) === "Connected"
  }
})

/** A client that takes down what it calls and hears. */
export type Guest = Effect.Success<ReturnType<typeof enter>>

const repeatsOf = (action: string): Checker.Call["repeats"] => {
  return action === "read" || action === "recount" ? "asIs" : action === "pay" || action === "publish" ? "byKey" : "no"
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>, call: Call): Checker.Outcome => {
  if (Exit.isSuccess(exit)) {
    return { _tag: "Success", nonce: call.items === undefined ? (exit.value as Echoed).nonce : call.nonce }
  }
  if (Cause.hasInterruptsOnly(exit.cause)) return { _tag: "Interrupted" }
  const error = Cause.squash(exit.cause) as Partial<ClientError.ConnectionLost>
  return { _tag: "Failure", error: error._tag ?? Cause.pretty(exit.cause), isSent: error.isSent }
}

type Echoed = typeof Nonce.Type

/** Everything that has happened, to be checked. */
export const runOf = (world: World, guests: ReadonlyArray<Guest>, isSettled = true): Checker.Run => ({
  clients: guests,
  effects: world.effects,
  groups: world.groups,
  // One that stops says that it does.
  errors: ["ConnectionLost", "Unavailable"],
  isSettled
})

/** The last event of the room has been heard. */
export const hasHeardAll = (world: World, guest: Guest): boolean => {
  const last = world.groups.room.events.at(-1)
  return last === undefined || guest.heard.some((one) => one._tag === "Event" && one.nonce === last.nonce)
}

// ---- patience

/** Fails loudly where something does not come about in so many milliseconds of the real clock. */
export const patiently = (what: () => string, millis = 10_000) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.raceFirst(
    effect,
    Effect.callback<never>((resume) => {
      const timer = setTimeout(() => resume(Effect.die(new Error(what()))), millis)
      return Effect.sync(() => clearTimeout(timer))
    })
  )
