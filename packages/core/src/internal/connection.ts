/**
 * The messages of one connection: which runs when, for how long, and what is kept between them. It speaks to the transport
 * by calls, not by effects: a message that is answered at once costs no fiber.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as ChannelError from "../ChannelError.ts"
import { type Address, type Envelope as Envelope_, Message } from "../ChannelLayer.ts"
import type * as Decision from "../Decision.ts"
import * as Membership from "../Membership.ts"
import * as Reply from "../Reply.ts"
import type { Closed, Transport } from "../Transport.ts"
import { Delivery } from "./audience.ts"
import * as Cancelling from "./cancelling.ts"
import * as channels from "./channels.ts"
import { closeCode, lost, reasonOf } from "./closing.ts"
import type * as compile from "./compile.ts"
import { State, take } from "./counts.ts"
import * as Envelope from "./envelope.ts"
import { Exchange } from "./exchange.ts"
import { deniedBy, errorsOf, failureOf } from "./failure.ts"
import { Mailbox, type Membership as MembershipOf, windowOf } from "./mailbox.ts"
import { Memberships } from "./memberships.ts"
import type { Recorder } from "./observe.ts"
import * as Pinging from "./pinging.ts"
import type { Registry } from "./registry.ts"
import * as Renewal from "./renewal.ts"
import * as Reserved from "./reserved.ts"
import type { Standing } from "./standing.ts"
import { Outlet } from "./streaming.ts"
import * as Wire from "./wire.ts"

/** What one connection may ask of the server; see `Pipeline.Limits`. */
export interface Limits {
  readonly maxInFlight: number
  readonly maxUnsent: number
  readonly maxMessage: number
}

/** A line of messages that run in order, so many at once. */
interface Lane {
  readonly limit: number
  running: number
  /** Made when a message has to wait. */
  waiting: Array<string | Uint8Array | Exchange> | undefined
}

/** A message that waits for something. */
interface Running {
  readonly exchange: Exchange
  lane: Lane
  fiber: Fiber.Fiber<unknown, unknown>
  /** When it is interrupted, in milliseconds of the clock. */
  deadline: number
  /** What it waited for, while the connection is decided anew. */
  exit: Exit.Exit<unknown, unknown> | undefined
}

/** What happens to the authority of a connection: one after the other, while no message goes on. */
interface Change {
  readonly effect: Effect.Effect<void, unknown>
  /**
   * A redecision decides by the facts as they are when it begins, a review what already runs; a renewal was asked for by the
   * client, and lets the others by.
   */
  readonly kind: "redecision" | "review" | "renewal"
}

/** The messages of one connection. */
export class Connection {
  readonly consumer: compile.Consumer
  readonly wire: Wire.Wire
  readonly params: Readonly<Record<string, unknown>>
  readonly standing: Standing
  readonly #registry: Registry | undefined
  readonly #limits: Limits
  readonly #main: Lane
  /** The streams that have left it. */
  readonly #aside: Lane = { limit: Infinity, running: 0, waiting: undefined }
  readonly #memberships: Memberships | undefined
  /** The events for it; made when there is one. */
  #mailbox: Mailbox | undefined
  /** Where streams go out; made when there is one. */
  #outlet: Outlet | undefined
  /** How many replies the events wait for. */
  #holds = 0
  #transport: Transport | undefined
  #lanes: Map<compile.Endpoint, Lane> | undefined
  #running: Set<Running> | undefined
  /** What is just going on: it may not be among the running yet. */
  #driven: Exchange | undefined
  /** Not there unless something happens to its authority. */
  #changes: Array<Change> | undefined
  #changing: Fiber.Fiber<void, unknown> | undefined
  /** How often credentials were sent lately. */
  #renewals: State | undefined
  /** When the first of the news came that it has not been decided by yet. */
  #outdatedSince: number | undefined
  #watch: Fiber.Fiber<void> | undefined
  #wakesAt = Infinity
  #inFlight = 0
  #isStalled = false
  #isStopping = false
  #isClosed = false
  /** How to close, where that was wanted before there was a transport. */
  #closing: Closed | undefined
  #onIdle: Array<() => void> | undefined
  /** What is done once and runs to its end, after the client has gone. */
  #lasting: Set<Exchange> | undefined
  /** The groups that the connection was in then, as far as that sends something to them. */
  #left: Map<string, ReadonlyArray<Address>> | undefined

  constructor(
    standing: Standing,
    params: Readonly<Record<string, unknown>>,
    limits: Limits,
    registry: Registry | undefined,
    wire: Wire.Wire = Wire.json
  ) {
    this.consumer = standing.consumer
    this.standing = standing
    this.wire = wire
    this.params = params
    this.#limits = limits
    this.#registry = registry
    this.#main = { limit: standing.consumer.concurrency, running: 0, waiting: undefined }
    const { groups, layer } = standing.consumer
    if (layer !== undefined && groups.size > 0) {
      this.#memberships = new Memberships({
        standing,
        layer,
        deliver: (message, membership, isJoining) => this.deliver(message, membership, isJoining),
        failure: (cause) => this.#failure(cause),
        maxEarly: limits.maxUnsent,
        tooSlow: () => this.tooSlow()
      })
      standing.context = Context.add(standing.context, Membership.Memberships, this.#memberships)
    }
    registry?.add(this)
  }

  /** Serves the connection until it has ended, then ends its handlers and releases what it acquired. */
  run(transport: Transport): Effect.Effect<Closed> {
    return Effect.onExit(
      Effect.suspend(() => {
        this.#transport = transport
        if (this.#closing !== undefined) transport.close(this.#closing.code, this.#closing.reason)
        this.#mailbox?.pump()
        return Effect.tap(transport.run((frames) => this.#receive(frames)), () => this.#outlast)
      }),
      (exit) => this.#end(exit)
    )
  }

  /** The client has gone. What has begun and is done once runs to its end, all else ends now; nothing reaches the connection any more. */
  get #outlast(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const running = Array.from(this.#running ?? [])
      const lasting = running.filter(({ exchange }) => exchange.isLasting && !exchange.isAnswered)
      if (lasting.length === 0) return Effect.void
      this.#isClosed = true
      this.#lasting = new Set(lasting.map(({ exchange }) => exchange))
      this.#registry?.remove(this)
      this.#mailbox?.clear()
      for (const one of running) if (!this.#lasting.has(one.exchange)) this.#drop(one)
      for (const { exchange } of lasting) {
        const group = exchange.endpoint!.broadcast?.group.name
        if (group !== undefined) (this.#left ??= new Map()).set(group, this.#memberships!.addressesOf(group))
      }
      return (this.#changing === undefined ? Effect.void : Fiber.interrupt(this.#changing)).pipe(
        Effect.andThen(Effect.uninterruptible(this.#memberships?.end ?? Effect.void)),
        Effect.andThen(this.#changes === undefined ? Effect.void : this.#redecideLasting),
        Effect.andThen(Effect.callback<void>((resume) => {
          if (this.#lasting!.size === 0) resume(Effect.void)
          else (this.#onIdle ??= []).push(() => resume(Effect.void))
        })),
        Effect.provideContext(this.standing.context)
      )
    })
  }

  /** Facts had changed when the client went: what runs was not decided by them yet. */
  get #redecideLasting(): Effect.Effect<void> {
    return this.#inTime(Effect.andThen(this.standing.refresh(undefined), Effect.suspend(() => this.#review))).pipe(
      Effect.catchCause(() =>
        Effect.sync(() => {
          for (const running of Array.from(this.#running ?? [])) this.#drop(running)
        })
      ),
      Effect.andThen(Effect.sync(() => this.#changed()))
    )
  }

  #end(exit: Exit.Exit<Closed>): Effect.Effect<void> {
    this.#isClosed = true
    this.#idle()
    const running = Array.from(this.#running ?? [])
    for (const { exchange, exit } of running) {
      if (!exchange.isAnswered) this.#record(exchange)
      exchange.isAnswered = true
      // Nothing of it is heard any more.
      if (exit !== undefined) exchange.release()
    }
    const fibers: Array<Fiber.Fiber<unknown, unknown>> = running.map(({ fiber }) => fiber)
    if (this.#watch !== undefined) fibers.push(this.#watch)
    if (this.#changing !== undefined) fibers.push(this.#changing)
    this.#registry?.remove(this)
    this.#mailbox?.clear()
    const how = exit._tag === "Success" ? `with ${exit.value.code} ${exit.value.reason}`.trimEnd() : "by the server"
    return Fiber.interruptAll(fibers).pipe(
      Effect.andThen(Effect.logDebug(`The connection ended ${how}`)),
      Effect.ensuring(this.#memberships?.end ?? Effect.void),
      Effect.ensuring(Scope.close(this.standing.lifetime, exit)),
      Effect.provideContext(this.standing.context)
    )
  }

  /** Releases what the connection acquired, when it is not to be served. */
  get abandon(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#isClosed = true
      this.#registry?.remove(this)
      return Effect.andThen(
        this.#changing === undefined ? Effect.void : Fiber.interrupt(this.#changing),
        Effect.andThen(this.#memberships?.end ?? Effect.void, Scope.close(this.standing.lifetime, Exit.void))
      )
    })
  }

  /**
   * Takes no more messages, and completes when those in flight have been answered, or the connection has ended. Streams, which may
   * never end by themselves, are ended.
   */
  get stop(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      this.#isStopping = true
      for (const { exchange, fiber } of Array.from(this.#running ?? [])) {
        if (exchange.isStreaming && !exchange.isAnswered) this.#giveUp(exchange, stopping, fiber)
      }
      if (this.#inFlight === 0 || (this.#isClosed && !this.#isLasting)) return resume(Effect.void)
      ;(this.#onIdle ??= []).push(() => resume(Effect.void))
    })
  }

  /** Whether something runs to its end though the client has gone. */
  get #isLasting(): boolean {
    return this.#lasting !== undefined && this.#lasting.size > 0
  }

  #idle(): void {
    const waiting = this.#onIdle
    this.#onIdle = undefined
    waiting?.forEach((resume) => resume())
  }

  close(code: number, reason: string): void {
    this.#closing = { code, reason }
    this.#transport?.close(code, reason)
    // Their replies would come after the close frame.
    for (const running of Array.from(this.#running ?? [])) this.#drop(running)
  }

  /** Writes the reply of a failure, and logs what broke. */
  refuse(echo: Envelope.Echo, failure: Reply.Failure): Wire.Frame {
    if (failure._tag === "Defect") this.#log(echo, failure.cause)
    return this.wire.refusal(echo, failure.status, this.errorsOf(echo, failure))
  }

  errorsOf(echo: Envelope.Echo, failure: Reply.Failure): string {
    return errorsOf(this.consumer.formatError, failure, (cause) => this.#log(echo, cause))
  }

  #log(echo: Envelope.Echo, cause: Cause.Cause<unknown>): void {
    const subject = echo.action === null ? "A message" : `The action "${echo.action}"`
    this.#fork(Effect.logError(`${subject} of "${this.consumer.consumer.name}" broke`, cause))
  }

  #fork<A, E>(effect: Effect.Effect<A, E, unknown>, recorder?: Recorder): Fiber.Fiber<A, E> {
    const { context } = this.standing
    const span = recorder?.span
    return Effect.runForkWith(span === undefined ? context : Context.add(context, Tracer.ParentSpan, span))(
      effect as Effect.Effect<A, E>
    )
  }

  #receive(frames: ReadonlyArray<string | Uint8Array>): void {
    for (const frame of frames) this.#accept(frame)
  }

  #accept(frame: string | Uint8Array): void {
    // What comes after the close frame was sent is not asked for any more.
    if (this.#isClosed || this.#closing !== undefined) return
    if (frame.length > this.#limits.maxMessage) {
      return this.#send(this.#refused(
        Envelope.nothing,
        new ChannelError.MessageTooLarge({
          message: `A message has at most ${this.#limits.maxMessage} ${this.wire.unit}: this one has ${frame.length}`
        })
      ))
    }
    const own = Reserved.isLikely(frame) ? new Exchange(this, frame) : undefined
    // Whoever has asked for too much may still say so.
    if (own !== undefined && Cancelling.isCancel(own.envelope)) return this.#cancel(own.envelope)
    // And is answered whether the server is still there.
    if (own !== undefined && Pinging.isPing(own.envelope)) return this.#send(Pinging.reply(this.wire, own.envelope))
    if (this.#isStopping || this.#inFlight >= this.#limits.maxInFlight) return this.#turnAway(own?.envelope ?? frame)
    this.#inFlight++
    const exchange = own ?? (this.consumer.hasLanes ? new Exchange(this, frame) : undefined)
    if (exchange === undefined) this.#enter(this.#main, frame)
    // Renewals do not stand in line: what comes after them is decided by them, whatever still runs.
    else if (this.consumer.renewables.length > 0 && Renewal.isRenewal(exchange.envelope)) this.#renew(exchange)
    else this.#enter(this.#laneOf(exchange.endpoint), exchange)
  }

  #turnAway(message: string | Uint8Array | Envelope.Echo): void {
    const echo = typeof message === "string" || message instanceof Uint8Array ? this.wire.read(message) : message
    const most = `At most ${this.#limits.maxInFlight} requests of a connection are in flight: repeat this one later`
    this.#send(this.refuse(
      echo,
      this.#isStopping ? stopping : Reply.refused(new ChannelError.Unavailable({ message: most }))
    ))
  }

  /** Ends what the client does not wait for any more: what waits in line, what runs, and what is just being started. */
  #cancel(envelope: Envelope.Envelope): void {
    const id = Cancelling.read(envelope)
    if (typeof id === "object") return this.#send(this.#refused(envelope, id))
    // What ends may be the last that a server waits for which stops: this is to be answered as well.
    this.#inFlight++
    const cancelled = Reply.refused(new ChannelError.Cancelled())
    const isMeant = (exchange: Exchange | undefined): exchange is Exchange =>
      exchange !== undefined && !exchange.isAnswered && exchange.envelope.requestId === id
    const waiting = [this.#main, ...this.#lanes?.values() ?? []].flatMap((lane) => this.#takeOut(lane, isMeant))
    const running = Array.from(this.#running ?? []).filter(({ exchange }) => isMeant(exchange))
    for (const { exchange, fiber } of running) if (isMeant(exchange)) this.#giveUp(exchange, cancelled, fiber)
    const isStarting = isMeant(this.#driven)
    if (isStarting) this.#giveUp(this.#driven!, cancelled)
    for (const exchange of waiting) {
      this.#giveUp(exchange, cancelled)
      this.#answered(exchange)
    }
    const isFound = isStarting || running.length + waiting.length > 0
    this.#send(isFound ? Cancelling.reply(this.wire, envelope) : this.#refused(envelope, Cancelling.notFound(id)))
    this.#done()
  }

  /** Takes what is meant out of a line. */
  #takeOut(lane: Lane, isMeant: (exchange: Exchange) => boolean): ReadonlyArray<Exchange> {
    if (lane.waiting === undefined) return []
    // None of them is read twice, however often something is looked for.
    const waiting = lane.waiting.map((one) => one instanceof Exchange ? one : new Exchange(this, one))
    const stays = waiting.filter((exchange) => !isMeant(exchange))
    lane.waiting = stays.length === 0 ? undefined : stays
    return waiting.filter(isMeant)
  }

  #refused(echo: Envelope.Echo, error: ChannelError.ChannelError): Wire.Frame {
    return this.refuse(echo, Reply.refused(error))
  }

  #laneOf(endpoint: compile.Endpoint | undefined): Lane {
    if (endpoint?.concurrency === undefined) return this.#main
    const lanes = this.#lanes ??= new Map<compile.Endpoint, Lane>()
    let lane = lanes.get(endpoint)
    if (lane === undefined) lanes.set(endpoint, lane = { limit: endpoint.concurrency, running: 0, waiting: undefined })
    return lane
  }

  #enter(lane: Lane, message: string | Uint8Array | Exchange): void {
    if (lane.running < lane.limit && this.#goesOn && lane.waiting === undefined) this.#start(lane, message)
    else (lane.waiting ??= []).push(message)
  }

  /** Whether messages are started. */
  get #goesOn(): boolean {
    return !this.#isStalled && this.#changes === undefined && !this.#isClosed && this.#closing === undefined
  }

  #start(lane: Lane, message: string | Uint8Array | Exchange): void {
    const exchange = message instanceof Exchange ? message : new Exchange(this, message)
    lane.running++
    this.#drive(lane, exchange, this.#advance(exchange), undefined)
  }

  /** What breaks in here is our own mistake. It costs a request its answer, not the connection its life. */
  #advance(exchange: Exchange, exit?: Exit.Exit<unknown, unknown>): Wire.Frame | undefined {
    const outer = this.#driven
    this.#driven = exchange
    try {
      return exit === undefined ? exchange.advance() : exchange.resume(exit)
    } catch (defect) {
      return this.refuse(exchange.envelope, Reply.defect(Cause.die(defect)))
    } finally {
      this.#driven = outer
    }
  }

  /** Runs what an exchange waits for until it has its reply, or has to wait in earnest. */
  #drive(lane: Lane, exchange: Exchange, reply: Wire.Frame | undefined, running: Running | undefined): void {
    // It may be answered from outside while it goes on, by what it does itself.
    while (reply === undefined && !exchange.isAnswered) {
      if (exchange.isStreaming) lane = this.#stepAside(lane, running)
      const outer = this.#driven
      this.#driven = exchange
      const fiber = this.#fork(exchange.waitsFor!, exchange.recorder)
      this.#driven = outer
      const exit = fiber.pollUnsafe()
      // What was there at once does not go on either where it has had its own connection decided anew, or ended.
      if (exit === undefined || !this.#isSettled(exchange)) return this.#wait(lane, exchange, fiber, running)
      reply = this.#advance(exchange, exit)
    }
    if (running !== undefined) this.#running?.delete(running)
    lane.running--
    if (reply === undefined || exchange.isAnswered) this.#answered(exchange)
    else this.#answer(exchange, reply)
  }

  /** A stream is not waited for: it leaves the line of its connection, and has no deadline. One with a line of its own stays there. */
  #stepAside(lane: Lane, running: Running | undefined): Lane {
    const next = lane === this.#main ? this.#aside : lane
    lane.running--
    next.running++
    if (running !== undefined) {
      running.lane = next
      running.deadline = Infinity
    }
    return next
  }

  /** Whether nothing has happened to the connection while an exchange was driven. */
  #isSettled(exchange: Exchange): boolean {
    return this.#changes === undefined && this.#closing === undefined && !exchange.isAnswered &&
      !(exchange.isRunning && exchange.isOutdated)
  }

  #wait(lane: Lane, exchange: Exchange, fiber: Fiber.Fiber<unknown, unknown>, running: Running | undefined): void {
    if (running === undefined) {
      const timeout = exchange.isStreaming ? Infinity : exchange.endpoint?.timeout ?? this.consumer.timeout
      const deadline = timeout === Infinity ? Infinity : this.#now() + timeout
      running = { exchange, lane, fiber, deadline, exit: undefined }
      ;(this.#running ??= new Set()).add(running)
      if (deadline < this.#wakesAt) this.#wakeAt(deadline)
    } else {
      running.fiber = fiber
    }
    const waiting = running
    // It has had its own connection decided anew, before it was seen to run.
    if (exchange.isAnswered || this.#closing !== undefined) this.#drop(running)
    else if (exchange.isStreaming && this.#isStopping) this.#giveUp(exchange, stopping, fiber)
    else if (exchange.isOutdated && exchange.isRunning) {
      this.#change({ kind: "review", effect: this.#inTime(Effect.suspend(() => this.#review)) })
    }
    fiber.addObserver((exit) => this.#resume(waiting, exit))
  }

  #resume(running: Running, exit: Exit.Exit<unknown, unknown>): void {
    const { exchange, lane } = running
    if ((this.#isClosed && this.#lasting?.has(exchange) !== true) || exchange.isAnswered) {
      this.#running?.delete(running)
      lane.running--
      this.#answered(exchange)
    } else if (this.#changes !== undefined) {
      running.exit = exit
    } else {
      this.#drive(lane, exchange, this.#advance(exchange, exit), running)
    }
    this.#pump(lane)
  }

  #answer(exchange: Exchange, reply: Wire.Frame): void {
    this.#record(exchange)
    // Nothing follows a close frame; and some successes are not answered.
    if (this.#closing === undefined && reply !== "") this.#send(reply)
    if (exchange.broadcast !== undefined) this.#broadcast(exchange.broadcast, exchange.envelope)
    this.#answered(exchange)
  }

  #answered(exchange: Exchange): void {
    if (exchange.isHolding) {
      exchange.isHolding = false
      this.#holds--
      this.#mailbox?.pump()
    }
    // Its reply was given up in the last moment, and what it has done was not.
    if (exchange.broadcast !== undefined && exchange.isAnswered && exchange.isKept) {
      this.#broadcast(exchange.broadcast, exchange.envelope)
    }
    exchange.release()
    if (this.#lasting?.delete(exchange) === true && this.#lasting.size === 0) this.#idle()
    this.#done()
  }

  #done(): void {
    this.#inFlight--
    if (this.#inFlight === 0) this.#idle()
  }

  #pump(lane: Lane): void {
    while (lane.waiting !== undefined && lane.running < lane.limit && this.#goesOn) {
      const message = lane.waiting.shift()!
      if (lane.waiting.length === 0) lane.waiting = undefined
      this.#start(lane, message)
    }
  }

  #pumpAll(): void {
    this.#pump(this.#main)
    this.#lanes?.forEach((lane) => this.#pump(lane))
  }

  /** Sends a reply. A client that does not read its replies is not read either, until it does. */
  #send(reply: Wire.Frame): void {
    const transport = this.#transport
    if (this.#isClosed || transport === undefined) return
    transport.send(reply)
    if (this.#isStalled || transport.unsent() <= this.#limits.maxUnsent) return
    this.#isStalled = true
    transport.pause()
    this.#fork(Effect.map(transport.drained, () => {
      if (this.#isClosed) return
      this.#isStalled = false
      this.#pumpAll()
      if (!this.#isStalled) transport.resume()
    }))
  }

  // ---- events

  /** Takes an event for the client: of a group, or for itself. Those that its consumer does not declare do not reach it. */
  deliver(message: Message, membership: MembershipOf | undefined, isJoining = false): void {
    const event = this.consumer.events.get(message.type)
    if (event === undefined || this.isOver) return
    try {
      // What cannot be written breaks here, not when its turn comes.
      const frame = this.wire.event(message)
      // Mostly nothing is in its way.
      if (
        !isJoining && this.#mailbox === undefined && event.permission === undefined && membership?.isIn !== false &&
        (membership?.residual === undefined || event.isOwn) && !this.isHeld && this.#transport !== undefined &&
        this.#transport.unsent() <= windowOf(this.maxUnsent)
      ) {
        event.deliveries.sent()
        return this.#transport.send(frame)
      }
      const delivery = isJoining ? new Delivery(message, event) : this.#deliveryOf(message, event)
      ;(this.#mailbox ??= new Mailbox(this)).take(delivery, membership, isJoining)
    } catch (defect) {
      // What breaks for one recipient is no matter of the others, nor of the sender.
      this.broke(event.type, Cause.die(defect))
    }
  }

  /** One for all who are given it at once; it is let go then, with all that it knows of them. */
  #deliveryOf(message: Message, event: channels.Event): Delivery {
    const { current } = event
    if (current?.message === message) return current
    const delivery = event.current = new Delivery(message, event)
    void Promise.resolve().then(() => {
      if (event.current === delivery) event.current = undefined
    })
    return delivery
  }

  /** How many events wait. */
  get waiting(): number {
    return this.#mailbox?.length ?? 0
  }

  /** Has it join the groups that it joins to begin with. Fails with why it may not. */
  get join(): Effect.Effect<void, unknown> {
    return this.#memberships === undefined
      ? Effect.void
      : Effect.provideContext(Effect.suspend(() => this.#memberships!.joinAll()), this.standing.context)
  }

  /** The groups that it is in. */
  get memberships(): number {
    return this.#memberships?.size ?? 0
  }

  isIn(group: string): boolean {
    return (this.#memberships?.addressesOf(group).length ?? 0) > 0
  }

  broadcast({ event, group }: compile.Broadcast, envelope: Envelope_): Effect.Effect<void, ChannelError.Unavailable> {
    const message = new Message(envelope)
    const { layer } = this.consumer
    // It is in no group where there is no layer.
    const known = this.#left?.get(group.name) ?? this.#memberships?.addressesOf(group.name) ?? []
    const addresses = known.map((address) => channels.addressFor(event, address))
    return addresses.length === 1
      ? layer!.send(addresses[0]!, message)
      // To all of them, also where one cannot be reached.
      : Effect.flatMap(
        Effect.forEach(addresses, (address) => Effect.exit(layer!.send(address, message))),
        Exit.asVoidAll
      )
  }

  #broadcast(sending: Effect.Effect<void, ChannelError.Unavailable>, echo: Envelope.Echo): void {
    const logged = Effect.catchCause(sending, (cause) =>
      Effect.logWarning(
        `The event of "${echo.action}" of "${this.consumer.consumer.name}" did not reach all servers`,
        cause
      ))
    this.#fork(logged)
  }

  hold(): void {
    this.#holds++
  }

  get transport(): Transport | undefined {
    return this.#transport
  }

  get isHeld(): boolean {
    return this.isChanging || this.#holds > 0
  }

  get isChanging(): boolean {
    return this.#changes !== undefined
  }

  get outlet(): Outlet {
    return this.#outlet ??= new Outlet(this)
  }

  get isOver(): boolean {
    return this.#isClosed || this.#closing !== undefined
  }

  get maxUnsent(): number {
    return this.#limits.maxUnsent
  }

  get generation(): number {
    return this.#registry?.generation ?? 0
  }

  fork(effect: Effect.Effect<void, never, unknown>): Fiber.Fiber<void> {
    return this.#fork(effect)
  }

  broke(type: string, cause: Cause.Cause<unknown>): void {
    this.#fork(Effect.logError(`The permission to receive "${type}" of "${this.consumer.consumer.name}" broke`, cause))
  }

  tooSlow(): void {
    const message = "The client does not read as fast as events come"
    this.#terminate(1013, Reply.refused(new ChannelError.Unavailable({ message })))
  }

  #now(): number {
    return Context.get(this.standing.context, Clock.Clock).currentTimeMillisUnsafe()
  }

  /** Sees to it that somebody looks at the deadlines then: one sleeper for the whole connection, not one a message. */
  #wakeAt(time: number): void {
    this.#watch?.interruptUnsafe()
    this.#wakesAt = time
    this.#watch = this.#fork(
      Effect.andThen(Effect.sleep(Math.max(0, time - this.#now())), Effect.sync(() => this.#endOverdue()))
    )
  }

  #endOverdue(): void {
    const now = this.#now()
    let next = Infinity
    this.#watch = undefined
    this.#wakesAt = Infinity
    for (const running of this.#running ?? []) {
      if (running.deadline > now) next = Math.min(next, running.deadline)
      else if (!running.exchange.isAnswered) this.#timeOut(running)
    }
    if (next < Infinity) this.#wakeAt(next)
  }

  #timeOut({ exchange, fiber }: Running): void {
    const timeout = exchange.endpoint?.timeout ?? this.consumer.timeout
    const message = `The action took longer than ${timeout} ms and was ended`
    this.#giveUp(exchange, Reply.refused(new ChannelError.ActionTimeout({ message })), fiber)
  }

  /** Answers what has not come to an end, and ends it. */
  #giveUp(exchange: Exchange, failure: Reply.Failure, fiber?: Fiber.Fiber<unknown, unknown>): void {
    exchange.isAnswered = true
    this.#record(exchange)
    this.#send(this.refuse(exchange.envelope, failure))
    fiber?.interruptUnsafe()
  }

  end(exchange: Exchange, error: ChannelError.ChannelError): void {
    for (const running of this.#running ?? []) {
      if (running.exchange === exchange && !exchange.isAnswered) {
        this.#giveUp(exchange, Reply.refused(error), running.fiber)
      }
    }
  }

  /** Ends what nobody waits for any more. */
  #drop({ exchange, fiber }: Running): void {
    if (!exchange.isAnswered) this.#record(exchange)
    exchange.isAnswered = true
    fiber.interruptUnsafe()
  }

  /** Writes down what was decided over a message. */
  #record({ envelope, recorder }: Exchange): void {
    const log = recorder?.end(this.standing.scope.id, envelope)
    if (log !== undefined) this.#fork(log)
  }

  // ---- the authority of the connection

  /** When its credentials have expired, and no renewal is waited for any more: in milliseconds since 1970. */
  get expiresAt(): number {
    return this.standing.expiresAt + this.consumer.expiryGrace
  }

  /** Its credentials may have expired. */
  expire(): void {
    // Whoever is just renewing them is given the time.
    if (this.#changes === undefined) this.#endExpired()
  }

  #endExpired(): void {
    if (this.#now() < this.expiresAt) return
    this.#terminate(
      4401,
      Reply.refused(new ChannelError.InvalidCredentials({ message: "The credentials have expired" }))
    )
  }

  /** The facts that it was decided by have changed: from now on nothing is done by what was decided before. */
  invalidate(): void {
    if (this.#isClosed || this.#closing !== undefined) return
    this.standing.forget()
    this.#outdatedSince ??= this.#now()
    // One that has not begun yet will see the facts as they are then.
    if (this.#changes?.slice(1).some(({ kind }) => kind === "redecision") === true) return
    this.#change({ kind: "redecision", effect: this.#redecide(this.standing.refresh(undefined)) })
  }

  /** Decides the connection, and what runs on it. */
  #redecide(decided: Effect.Effect<void, unknown>): Effect.Effect<void, unknown> {
    return Effect.suspend(() => {
      // However often the facts have changed since: the first news counts.
      const late = this.#outdatedSince === undefined ? 0 : this.#now() - this.#outdatedSince
      return this.#inTime(
        Effect.gen({ self: this }, function*() {
          yield* decided
          this.#registry?.changed(this)
          yield* this.#review
          if (this.#memberships !== undefined) yield* this.#memberships.review
        }),
        Math.max(0, this.consumer.redecisionTimeout - late)
      )
    })
  }

  #inTime<A>(effect: Effect.Effect<A, unknown>, duration = this.consumer.redecisionTimeout): Effect.Effect<A, unknown> {
    const message = "The permissions could not be decided in time"
    return Effect.timeoutOrElse(effect, {
      duration,
      orElse: () => Effect.fail(new ChannelError.Unavailable({ message }))
    })
  }

  /** What a cause stands for; what cannot be said in time is a defect. */
  #failure(cause: Cause.Cause<unknown>): Effect.Effect<Reply.Failure> {
    const found = failureOf(cause)
    if (!Effect.isEffect(found)) return Effect.succeed(found)
    return Effect.catchCause(
      this.#inTime(found as Effect.Effect<Reply.Failure>),
      (broken) => Effect.succeed(Reply.defect(Cause.combine(cause, broken)))
    )
  }

  /** Ends what runs and would not be let in any more. */
  get #review(): Effect.Effect<void> {
    const { context } = this.standing
    const running = Array.from(this.#running ?? []).filter(({ exchange }) =>
      exchange.isRunning && exchange.isOutdated && !exchange.isAnswered
    )
    return Effect.forEach(
      running,
      (one) =>
        // By who is behind the connection now: this fiber may have begun when it was somebody else.
        Effect.flatMap(Effect.provideContext(one.exchange.review() as Effect.Effect<Verdict>, context), (decision) => {
          if (decision._tag === "Allow" || one.exchange.isAnswered) return Effect.void
          one.exchange.revoked(decision)
          const refused = decision._tag === "Deny"
            ? Effect.succeed(Reply.refused(deniedBy(decision.denial)))
            : this.#failure(decision.cause)
          return Effect.map(refused, (failure) => {
            // It may have been ended in another way while that was put into words.
            if (one.exchange.isAnswered) return
            this.#giveUp(one.exchange, failure.status < 500 ? lost(failure) : failure, one.fiber)
          })
        }),
      { concurrency: "unbounded", discard: true }
    )
  }

  /** Takes newer credentials from the client. */
  #renew(exchange: Exchange): void {
    const reply = (failure: Reply.Failure) => this.#answer(exchange, this.refuse(exchange.envelope, failure))
    this.#change({
      kind: "renewal",
      effect: Effect.gen({ self: this }, function*() {
        const request = Renewal.read(exchange.envelope as Envelope.Envelope, this.consumer.renewables)
        if ("problems" in request) return reply(Reply.refused(request))
        const wait = take(this.#renewals ??= new State(this.#now()), this.consumer.renewalRule, this.#now())
        if (wait > 0) return reply(Reply.refused(new ChannelError.Throttled({ retryAfter: wait / 1000 })))
        // Facts may change while it is found out whose credentials these are.
        const joining = this.#registry?.join()
        const renewing = this.#inTime(this.standing.renew(request.authenticator, request.token))
        const renewed = yield* Effect.exit(
          Effect.ensuring(
            renewing,
            Effect.sync(() => {
              // From here on it is found by who is behind it now.
              this.#registry?.changed(this)
              if (joining !== undefined) this.#registry?.joined(joining)
            })
          )
        )
        if (renewed._tag === "Failure") return reply(yield* this.#failure(renewed.cause))
        const isOutdated = joining?.hasMissed(this.standing) === true
        yield* this.#redecide(isOutdated ? this.standing.refresh(undefined) : this.standing.connect(undefined)).pipe(
          Effect.tapCause((cause) => Effect.map(this.#failure(cause), reply))
        )
        this.#answer(exchange, Renewal.reply(this.wire, exchange.envelope, this.standing.expiresAt))
      })
    })
  }

  /** Puts a change in line. While there is one, no message goes on. */
  #change(change: Change): void {
    if (this.#changes !== undefined) {
      if (change.kind === "renewal") this.#changes.push(change)
      else this.#changes.splice(1, 0, change)
      return
    }
    this.#changes = [change]
    const fiber = this.#fork(this.#makeChanges)
    // One that is over already may have begun the next.
    if (fiber.pollUnsafe() === undefined) this.#changing = fiber
  }

  get #makeChanges(): Effect.Effect<void> {
    const changes = this.#changes!
    return Effect.gen({ self: this }, function*() {
      while (changes.length > 0 && this.#closing === undefined) {
        yield* changes[0]!.effect
        changes.shift()
        this.#endExpired()
      }
    }).pipe(
      Effect.catchCause((cause) =>
        Effect.flatMap(this.#failure(cause), (failure) => {
          this.#terminate(closeCode(failure), failure)
          return failure._tag === "Defect"
            ? Effect.logError(`A connection of "${this.consumer.consumer.name}" could not be decided anew`, cause)
            : Effect.void
        })
      ),
      Effect.andThen(Effect.sync(() => this.#changed()))
    )
  }

  /** All is decided: goes on with what has waited for it. */
  #changed(): void {
    this.#changes = undefined
    this.#changing = undefined
    this.#outdatedSince = undefined
    const all = Array.from(this.#running ?? [])
    // All of them, before anything goes on that others may hear of.
    for (const running of all) this.#tell(running)
    for (const running of all) {
      const { exit } = running
      if (exit === undefined) continue
      running.exit = undefined
      this.#resume(running, exit)
    }
    this.#outlet?.pump()
    this.#mailbox?.pump()
    this.#pumpAll()
  }

  /** Tells a handler that it is still permitted. One that cannot be told does not go on. */
  #tell({ exchange, fiber }: Running): void {
    try {
      exchange.decided()
    } catch (defect) {
      this.#giveUp(exchange, Reply.defect(Cause.die(defect)), fiber)
    }
  }

  /** Ends what runs, with a reply that says why, and closes the connection. What has waited is not started any more. */
  #terminate(code: number, failure: Reply.Failure): void {
    if (this.#isClosed || this.#closing !== undefined) return
    const reason = reasonOf(failure)
    const reply = failure.status === 403 ? lost(failure) : failure
    this.#closing = { code, reason }
    for (const { exchange, fiber } of Array.from(this.#running ?? [])) {
      if (!exchange.isAnswered) this.#giveUp(exchange, reply, fiber)
    }
    if (this.#driven?.isAnswered === false) this.#giveUp(this.#driven, reply)
    this.close(code, reason)
  }
}

const stopping = Reply.refused(
  new ChannelError.Unavailable({ message: "The server is stopping: connect again, and repeat the request" })
)

type Verdict = Exclude<Decision.Decision, { readonly _tag: "Pending" }>
