/**
 * The client of a consumer: its functions, streams and promises over one line.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { BufferOptions, CallOptions, Options, Status } from "../../Client.ts"
import { type CallError, type ConnectionRefused, UnexpectedEvent } from "../../ClientError.ts"
import * as Codec from "../../Codec.ts"
import * as Connector from "../../Connector.ts"
import type * as Consumer from "../../Consumer.ts"
import type * as Group from "../../Group.ts"
import { itemStatus } from "../answers.ts"
import { canonical } from "../channels.ts"
import * as Endpoints from "../endpoints.ts"
import * as Contract from "./contract.ts"
import * as Failures from "./failures.ts"
import * as Groups from "./groups.ts"
import { Inbox, streamOf } from "./inbox.ts"
import { begun, type Call, type Heard, Line } from "./line.ts"
import { promises } from "./promises.ts"

type Params = Readonly<Record<string, unknown>>

type Untyped = Effect.Effect<unknown, unknown, unknown>

const millis = (duration: Duration.Input): number => Duration.toMillis(duration)

/** A number that is none is a mistake of the program. */
const given = <A>(name: string, value: A): A => {
  if (typeof value !== "number" || value >= 0) return value
  throw new RangeError(`Client.make: the option ${name} is ${value}: it must be 0 or more`)
}

/** Makes a client, which lives as long as the scope. */
export const make = (consumer: Consumer.Any, options: Partial<Options> = {}) =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const groups = Contract.groups(consumer)
    const line = new Line({
      url: yield* urlOf(consumer, options),
      query: options.query ?? {},
      connector: options.connector ?? Connector.webSocket,
      codecs: options.codec === undefined || options.codec === Codec.json ? [Codec.json] : [options.codec, Codec.json],
      credentials: options.credentials,
      replayed: Array.from(groups.values()).filter(({ isReplayed }) => isReplayed).map(({ name }) => name),
      from: options.from ?? "new",
      queue: given("queue", options.queue ?? 0),
      reconnect: {
        min: millis(given("reconnect.min", options.reconnect?.min ?? "250 millis")),
        max: millis(given("reconnect.max", options.reconnect?.max ?? "30 seconds")),
        timeout: millis(given("reconnect.timeout", options.reconnect?.timeout ?? "15 seconds"))
      },
      heartbeat: options.heartbeat === false ? undefined : {
        interval: millis(given("heartbeat.interval", options.heartbeat?.interval ?? "25 seconds")),
        timeout: millis(given("heartbeat.timeout", options.heartbeat?.timeout ?? "10 seconds"))
      }
    }, context)
    yield* line.run
    if (options.connect === "eager") line.connect()
    return clientOf(consumer, groups, line, millis(given("timeout", options.timeout ?? "60 seconds")), context)
  })

/** Where the consumer is. */
const urlOf = (consumer: Consumer.Any, { params, url }: Partial<Options>): Effect.Effect<string> =>
  Effect.flatMap(Endpoints.path(consumer.path, consumer.params, params ?? {}), (path) => {
    const { location } = globalThis as { readonly location?: { readonly origin?: string } }
    const base = url ?? location?.origin
    return base === undefined || !/^(ws|http)s?:\/\/[^?#]+$/.test(base)
      ? Effect.die(
        new Error(`Client.make: the url of "${consumer.name}" is ${base}: it looks like "wss://example.com"`)
      )
      : Effect.succeed(base.replace(/^http/, "ws").replace(/\/+$/, "") + path)
  })

/** Whether what a fiber calls is part of what is done on each connection. */
const IsFirst = Context.Reference<boolean>("effect-channels/Client/IsFirst", { defaultValue: () => false })

/** The functions and streams of a client. */
const clientOf = (
  consumer: Consumer.Any,
  groups: ReadonlyMap<string, Contract.Group>,
  line: Line,
  timeout: number,
  context: Context.Context<never>
) => {
  const endpoints = Contract.endpoints(consumer)
  const events = Contract.events(consumer)

  const provided = <A, E>(effect: Effect.Effect<A, E, unknown>): Effect.Effect<A, E> =>
    (Exit.isExit(effect) ? effect : Effect.provideContext(effect, context)) as Effect.Effect<A, E>

  // ---- calls

  /** A call before somebody waits for its answer. */
  const callOf = (
    endpoint: Contract.Endpoint,
    args: Contract.Arguments,
    options: CallOptions,
    isFirst: boolean
  ): Effect.Effect<Call, unknown> => {
    if (options.idempotencyKey !== undefined && endpoint.repeats !== "byKey") {
      return Effect.die(new Error(`"${endpoint.name}" takes no idempotency key: declare it idempotent: "key"`))
    }
    const encode = (codec: Codec.Codec) => provided(Contract.encode(endpoint, codec, args))
    const { codec } = line
    return Effect.mapEager(encode(codec), (parts) => ({
      id: line.nextId(),
      action: endpoint.name,
      repeats: endpoint.repeats,
      idempotencyKey: endpoint.repeats === "byKey" ? options.idempotencyKey ?? newKey() : undefined,
      isStream: endpoint.isStream,
      isAnswered: endpoint.isAnswered,
      encode,
      codec,
      parts,
      ...begun,
      isFirst,
      timeout: endpoint.isStream ? Infinity : options.timeout === undefined ? timeout : millis(options.timeout)
    }))
  }

  /** What a successful reply carries. */
  const successOf = (endpoint: Contract.Endpoint, codec: Codec.Codec, reply: Codec.Reply): Untyped => {
    const { success } = endpoint.coding(codec)
    return success === undefined ? Effect.undefined : Failures.fitting(
      success(reply.data),
      `The answer to "${endpoint.name}"`,
      (message) => Failures.unexpected(reply.status, [], message)
    )
  }

  const answerOf = (endpoint: Contract.Endpoint, codec: Codec.Codec, reply: Codec.Reply): Untyped =>
    reply.status >= 200 && reply.status < 300 && reply.status !== itemStatus
      ? successOf(endpoint, codec, reply)
      : Effect.flatMap(Failures.errorOf(endpoint, reply), Effect.fail)

  const ask = (endpoint: Contract.Endpoint, args: Contract.Arguments, options: CallOptions): Untyped =>
    Effect.withFiber((fiber) =>
      Effect.flatMapEager(
        callOf(endpoint, args, options, fiber.getRef(IsFirst)),
        (call) =>
          Effect.callback<unknown, unknown>((resume) => {
            call.onReply = (reply, codec) => resume(provided(answerOf(endpoint, codec, reply)))
            call.onSent = () => resume(Effect.void)
            call.onError = (error) => resume(Effect.fail(error))
            line.enter(call)
            return Effect.sync(() => line.abandon(call))
          })
      )
    )

  const stream = (
    endpoint: Contract.Endpoint,
    args: Contract.Arguments,
    options: CallOptions
  ): Stream.Stream<unknown, unknown> =>
    streamOf(
      Effect.gen(function*() {
        const replies = new Inbox<readonly [Codec.Reply, Codec.Codec], CallError>()
        const call = yield* callOf(endpoint, args, options, yield* IsFirst)
        call.onReply = (reply, codec) => replies.offer([reply, codec])
        call.onError = (error) => replies.fail(error)
        yield* Effect.acquireRelease(Effect.sync(() => line.enter(call)), () => Effect.sync(() => line.abandon(call)))
        return replies
      }),
      ([reply, codec]): Effect.Effect<unknown, unknown> =>
        reply.status === itemStatus
          ? provided(successOf(endpoint, codec, reply))
          : reply.status < 400
          ? Cause.done()
          : provided(answerOf(endpoint, codec, reply))
    )

  const functionOf = (endpoint: Contract.Endpoint, path: () => Effect.Effect<string>) =>
  (
    payload?: unknown,
    options: CallOptions & { readonly fields?: unknown } = {}
  ) => {
    const args: Contract.Arguments = { path, query: options.query, payload, fields: options.fields }
    return endpoint.isStream ? stream(endpoint, args, options) : ask(endpoint, args, options)
  }

  const callsOf = (route: string, params: Params): object => {
    const calls = Object.create(null) as Record<string, unknown>
    const path = Contract.pathOf(route, endpoints.get(route)?.values().next().value?.place.params ?? {}, params)
    for (const [name, endpoint] of endpoints.get(route) ?? []) {
      define(calls, name, functionOf(endpoint, path))
    }
    return calls
  }

  // ---- what is heard

  /** What is picked of all that is heard, as long as the scope is open. */
  const hearing = <A, E>(
    pick: (heard: Heard) => Effect.Effect<A, E, unknown> | undefined,
    buffer?: BufferOptions,
    first?: () => Effect.Effect<A, E, unknown>
  ): Effect.Effect<Inbox<Effect.Effect<A, E, unknown>, ConnectionRefused>, never, Scope.Scope> =>
    listening((inbox) => {
      if (first !== undefined) inbox.offer(first())
      const off = line.heard.add((heard) => {
        const picked = pick(heard)
        if (picked !== undefined) inbox.offer(picked)
        if (heard._tag === "Refused") inbox.fail(heard.error)
        if (heard._tag === "Ended") inbox.end()
      })
      line.use()
      if (line.status._tag === "Refused") inbox.fail(line.status.error)
      if (line.isOver) inbox.end()
      return off
    }, buffer)

  const hear = <A, E>(
    pick: (heard: Heard) => Effect.Effect<A, E, unknown> | undefined,
    buffer?: BufferOptions
  ): Stream.Stream<A, E | ConnectionRefused> => streamOf(hearing(pick, buffer), provided)

  const dataOf = (event: Codec.Event, codec: Codec.Codec): Untyped =>
    eventOf(event.type, events.get(event.type)!.decode(codec)(event.data))

  const heardOf = (heard: Heard): Effect.Effect<unknown, unknown, unknown> | undefined => {
    if (heard._tag === "Connected" || heard._tag === "Disconnected") return Effect.succeed(heard)
    if (heard._tag !== "Event") return undefined
    const { codec, event } = heard
    const { data, id, status, type } = event
    if (events.has(type)) {
      return Effect.map(dataOf(event, codec), (data) => ({ _tag: "Event", type, data, status, id }))
    }
    const said = Groups.ownOf(data)
    const group = said === undefined ? undefined : groups.get(said.group)
    return said === undefined || group === undefined ? undefined : saidOf(type, status, said, group)
  }

  const saidOf = (
    type: string,
    status: number,
    said: Groups.Said,
    group: Contract.Group
  ): Effect.Effect<unknown, unknown, unknown> | undefined => {
    const of = (_tag: string, parts: Readonly<Record<string, Untyped>>): Untyped =>
      Effect.gen(function*() {
        const heard: Record<string, unknown> = { _tag, group: said.group }
        heard["params"] = yield* eventOf(type, group.decodeParams(said.params))
        for (const [name, part] of Object.entries(parts)) heard[name] = yield* part
        return heard
      })
    switch (type) {
      case "$joined": {
        const tag = said.state === "resumed" ? "Resumed" : said.state === "gap" ? "Gap" : "Fresh"
        return of(tag, { present: membersOf(type, group, said.present) })
      }
      case "$caught_up":
        return of("CaughtUp", {})
      case "$presence":
        return of("Presence", { joined: membersOf(type, group, said.joined), left: membersOf(type, group, said.left) })
      case "$left":
        return of("Left", { error: Effect.succeed(Failures.own({ status, errors: said.errors })) })
    }
    return undefined
  }

  const membersOf = (type: string, group: Contract.Group, members: Iterable<Groups.Member>): Untyped =>
    Effect.gen(function*() {
      const decoded: Array<unknown> = []
      for (const { data, id } of members) {
        decoded.push({
          id,
          data: group.decodePresence === undefined ? undefined : yield* eventOf(type, group.decodePresence(data))
        })
      }
      return decoded
    })

  const paramsOf = (group: Contract.Group, params: unknown): Effect.Effect<string | undefined, never, unknown> =>
    params === undefined ? Effect.undefined : Effect.map(Endpoints.fitting(group.encodeParams(params)), canonical)

  const presence = (group: Group.Any, params?: unknown): Stream.Stream<unknown, unknown> => {
    const known = groups.get(group.name)!
    // As they are now, not when somebody comes to take them.
    const membersIn = (text: string | undefined) => () =>
      membersOf("$presence", known, Array.from(line.groups.find(group.name, text)?.present?.values() ?? []))
    const isOf = (heard: Heard, text: string | undefined): boolean => {
      if (heard._tag === "Disconnected") return true
      if (heard._tag !== "Event" || !["$joined", "$presence", "$left"].includes(heard.event.type)) return false
      const said = Groups.ownOf(heard.event.data)
      return said?.group === group.name && (text === undefined || canonical(said.params) === text)
    }
    return streamOf(
      Effect.flatMap(provided(paramsOf(known, params)), (text) => {
        const now = membersIn(text)
        return hearing((heard) => isOf(heard, text) ? now() : undefined, undefined, now)
      }),
      provided
    )
  }

  const position = (group: Group.Any, params: unknown): Effect.Effect<string | undefined> =>
    Effect.map(
      provided(paramsOf(groups.get(group.name)!, params)),
      (text) => text === undefined ? undefined : line.groups.find(group.name, text)?.position
    )

  // ---- the connection

  /** Does something, and waits until the status says what came of it. */
  const wish = <E>(
    act: () => void,
    pick: (status: Status) => Effect.Effect<void, E> | undefined
  ): Effect.Effect<void, E> =>
    Effect.callback((resume) => {
      act()
      const picked = pick(line.status)
      if (picked !== undefined) return resume(picked)
      const off = line.statuses.add((status) => {
        const picked = pick(status)
        if (picked === undefined) return
        off()
        resume(picked)
      })
      return Effect.sync(off)
    })

  const connect: Effect.Effect<void, ConnectionRefused> = wish(
    () => line.connect(),
    (status) => {
      if (line.isOver) return Effect.die(new Error("The client has ended: it does not connect any more"))
      if (status._tag === "Connected" && line.isConnected) return Effect.void
      return status._tag === "Refused" ? Effect.fail(status.error) : undefined
    }
  )

  const disconnect: Effect.Effect<void> = wish(
    () => line.disconnect(),
    ({ _tag }) => _tag === "Idle" || line.isOver ? Effect.void : undefined
  )

  const statuses: Stream.Stream<Status> = streamOf(
    listening((inbox: Inbox<Status>) => {
      inbox.offer(line.status)
      const offs = [
        line.statuses.add((status) => inbox.offer(status)),
        line.heard.add((heard) => heard._tag === "Ended" && inbox.end())
      ]
      if (line.isOver) inbox.end()
      return () => offs.forEach((off) => off())
    }),
    Effect.succeed
  )

  const onConnect = <E, R>(effect: Effect.Effect<unknown, E, R>): Effect.Effect<void, E, R | Scope.Scope> =>
    Effect.gen(function*() {
      const once = Effect.provideContext(effect, yield* Effect.context<R>())
      let done: ((exit: Effect.Effect<unknown, E>) => void) | undefined
      let first: Exit.Exit<unknown, E> | undefined
      const hook = Effect.flatMap(Effect.exit(Effect.provideService(once, IsFirst, true)), (exit) => {
        const isFirst = first === undefined
        first ??= exit
        done?.(first)
        return isFirst || Exit.isSuccess(exit)
          ? Effect.void
          : Effect.logError("What is done on each connection failed", exit.cause)
      })
      yield* Effect.acquireRelease(
        Effect.sync(() => line.hooks.add(hook)),
        () => Effect.sync(() => line.hooks.delete(hook))
      )
      line.use()
      const waits = ["Connecting", "Waiting"].includes(line.status._tag) && !line.isPrepared
      const isDone = Effect.callback<unknown, E>((resume) => {
        const off = line.statuses.add(({ _tag }) => {
          // What is asked says why there is none.
          if (_tag === "Refused" || _tag === "Idle") done?.(once)
        })
        done = (exit) => {
          off()
          resume(exit)
        }
        return Effect.sync(off)
      })
      // Where the next connection does it first, it is done.
      yield* first ?? (waits ? isDone : Effect.raceAllFirst([isDone, Effect.flatMap(hook, () => first!)]))
    })

  // The members come after the actions: they win.
  const client = callsOf("", {}) as Record<string, unknown>
  for (const name of unsafe) delete client[name]
  const members = {
    at: (route: string, params: Params = {}) => callsOf(route, params),
    events: (type: string, buffer?: BufferOptions) =>
      hear(
        (heard) =>
          heard._tag === "Event" && heard.event.type === type && events.has(type)
            ? dataOf(heard.event, heard.codec)
            : undefined,
        buffer
      ),
    heard: hear(heardOf),
    presence,
    position,
    status: Effect.sync(() => line.status),
    statuses,
    connect,
    disconnect,
    onConnect
  }
  for (const [name, member] of Object.entries(members)) define(client, name, member)
  define(client, "promise", promises(client, callsOf, context))
  return client
}

/** An inbox that is filled as long as the scope is open. */
const listening = <A, E>(
  listen: (inbox: Inbox<A, E>) => () => void,
  buffer?: BufferOptions
): Effect.Effect<Inbox<A, E>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const inbox = new Inbox<A, E>(buffer)
        return { inbox, off: listen(inbox) }
      }),
      ({ off }) => Effect.sync(off)
    ),
    ({ inbox }) => inbox
  )

const define = (target: object, name: string, value: unknown): void => {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true })
}

/** What a promise, or a printer of values, would take for its own. */
const unsafe = ["then", "constructor", "toString", "toJSON"]

/** What an event says, if it does say what it is to say. */
const eventOf = (type: string, decoded: Untyped): Effect.Effect<unknown, UnexpectedEvent, unknown> =>
  Failures.fitting(decoded, `The event "${type}"`, (message) => new UnexpectedEvent({ message, type }))

/** A key that nobody guesses: `crypto.randomUUID` is not there in pages that are not secure. */
const newKey = (): string => {
  const { crypto } = globalThis as unknown as { readonly crypto: { getRandomValues(bytes: Uint8Array): Uint8Array } }
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Makes a client for code that is not on Effect. */
export const makePromise = (consumer: Consumer.Any, options: Partial<Options> = {}): object => {
  const scope = Scope.makeUnsafe()
  const client = Effect.runSync(Effect.provideService(make(consumer, options), Scope.Scope, scope))
  const self = client["promise"] as object
  define(self, "close", () => Effect.runPromise(Scope.close(scope, Exit.void)))
  return self
}
