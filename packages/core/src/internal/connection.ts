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
import * as Semaphore from "effect/Semaphore"
import * as ChannelError from "../ChannelError.ts"
import type * as Decision from "../Decision.ts"
import type * as Permission from "../Permission.ts"
import * as Reply from "../Reply.ts"
import type { Closed, Transport } from "../Transport.ts"
import type * as compile from "./compile.ts"
import * as decide from "./decide.ts"
import { andThen, type Eager } from "./eager.ts"
import * as Envelope from "./envelope.ts"
import { Exchange } from "./exchange.ts"
import { errorsOf } from "./failure.ts"

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
  readonly lane: Lane
  fiber: Fiber.Fiber<unknown, unknown>
  /** When it is interrupted, in milliseconds of the clock. */
  readonly deadline: number
  isTimedOut: boolean
}

const connectionFacts: Permission.Facts = { phase: "connection" }

/** The messages of one connection. */
export class Connection {
  readonly consumer: compile.Consumer
  readonly params: Readonly<Record<string, unknown>>
  readonly #context: Context.Context<never>
  readonly #scope: Scope.Closeable
  readonly #limits: Limits
  readonly #main: Lane
  #transport: Transport | undefined
  #lanes: Map<compile.Endpoint, Lane> | undefined
  #running: Set<Running> | undefined
  #known: Known | undefined
  #watch: Fiber.Fiber<void> | undefined
  #wakesAt = Infinity
  #inFlight = 0
  #isStalled = false
  #isStopping = false
  #isClosed = false
  /** How to close, where that was wanted before there was a transport. */
  #closing: Closed | undefined
  #onIdle: Array<() => void> | undefined

  constructor(
    consumer: compile.Consumer,
    params: Readonly<Record<string, unknown>>,
    context: Context.Context<never>,
    scope: Scope.Closeable,
    limits: Limits,
    known: Known | undefined
  ) {
    this.consumer = consumer
    this.params = params
    this.#context = context
    this.#scope = scope
    this.#known = known
    this.#limits = limits
    this.#main = { limit: consumer.concurrency, running: 0, waiting: undefined }
  }

  /** Serves the connection until it has ended, then ends its handlers and releases what it acquired. */
  run(transport: Transport): Effect.Effect<Closed> {
    return Effect.onExit(
      Effect.suspend(() => {
        this.#transport = transport
        if (this.#closing !== undefined) transport.close(this.#closing.code, this.#closing.reason)
        return transport.run((frames) => this.#receive(frames))
      }),
      (exit) => this.#end(exit)
    )
  }

  #end(exit: Exit.Exit<Closed>): Effect.Effect<void> {
    this.#isClosed = true
    this.#idle()
    const fibers: Array<Fiber.Fiber<unknown, unknown>> = Array.from(this.#running ?? [], ({ fiber }) => fiber)
    if (this.#watch !== undefined) fibers.push(this.#watch)
    const how = exit._tag === "Success" ? `with ${exit.value.code} ${exit.value.reason}`.trimEnd() : "by the server"
    return Fiber.interruptAll(fibers).pipe(
      Effect.andThen(Effect.logDebug(`The connection ended ${how}`)),
      Effect.ensuring(Scope.close(this.#scope, exit)),
      Effect.provideContext(this.#context)
    )
  }

  /** Releases what the connection acquired, when it is not to be served. */
  get abandon(): Effect.Effect<void> {
    return Scope.close(this.#scope, Exit.void)
  }

  /** Takes no more messages, and completes when those in flight have been answered, or the connection has ended. */
  get stop(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      this.#isStopping = true
      if (this.#inFlight === 0 || this.#isClosed) return resume(Effect.void)
      ;(this.#onIdle ??= []).push(() => resume(Effect.void))
    })
  }

  #idle(): void {
    const waiting = this.#onIdle
    this.#onIdle = undefined
    waiting?.forEach((resume) => resume())
  }

  close(code: number, reason: string): void {
    this.#closing = { code, reason }
    this.#transport?.close(code, reason)
  }

  /** Decides a permission; what its connection checks said is kept, so that a message decides only the residual. */
  decide(tree: Permission.Tree, facts: Permission.Facts): Eager<Decision.Decision<Permission.Tree>> {
    const known = (this.#known ??= new Known()).get(tree)
    if (known !== undefined) return this.#rest(known, facts)
    return andThen(decide.step(tree, connectionFacts, this.#known), (decision) => {
      const failure = decision._tag === "Failed" ? decision : decide.failureIn(decision)
      // What failed may work the next time. What can no longer come to Allow is not worth deciding further.
      if (failure === undefined) this.#known?.set(tree, decision)
      else if (decision._tag === "Pending" && !decide.canAllow(decision.residual)) return failure
      return this.#rest(decision, facts)
    })
  }

  /** Decides what is left of a permission after the connection phase. It is new for each message: nothing is kept of it. */
  decideRest(residual: Permission.Tree, facts: Permission.Facts): Eager<Decision.Decision<Permission.Tree>> {
    return decide.step(residual, facts, this.#known)
  }

  #rest(
    decision: Decision.Decision<Permission.Tree>,
    facts: Permission.Facts
  ): Eager<Decision.Decision<Permission.Tree>> {
    return decision._tag === "Pending" ? this.decideRest(decision.residual, facts) : decision
  }

  /** Writes the reply of a failure, and logs what broke. */
  refuse(echo: Envelope.Echo, failure: Reply.Failure): string {
    if (failure._tag === "Defect") this.#log(echo, failure.cause)
    const errors = errorsOf(this.consumer.formatError, failure, (cause) => this.#log(echo, cause))
    return Envelope.write(echo, failure.status, errors, "null")
  }

  #log(echo: Envelope.Echo, cause: Cause.Cause<unknown>): void {
    const subject = echo.action === null ? "A message" : `The action "${echo.action}"`
    this.#fork(Effect.logError(`${subject} of "${this.consumer.consumer.name}" broke`, cause))
  }

  #fork<A, E>(effect: Effect.Effect<A, E, unknown>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.#context)(effect as Effect.Effect<A, E>)
  }

  #receive(frames: ReadonlyArray<string | Uint8Array>): void {
    for (const frame of frames) this.#accept(frame)
  }

  #accept(frame: string | Uint8Array): void {
    if (this.#isClosed) return
    if (frame.length > this.#limits.maxMessage) {
      return this.#send(this.#refused(
        Envelope.nothing,
        new ChannelError.MessageTooLarge({
          message: `A message has at most ${this.#limits.maxMessage} characters: this one has ${frame.length}`
        })
      ))
    }
    if (this.#isStopping || this.#inFlight >= this.#limits.maxInFlight) return this.#turnAway(frame)
    this.#inFlight++
    if (this.consumer.hasLanes) {
      const exchange = new Exchange(this, frame)
      this.#enter(this.#laneOf(exchange.endpoint), exchange)
    } else {
      this.#enter(this.#main, frame)
    }
  }

  #turnAway(frame: string | Uint8Array): void {
    const message = this.#isStopping
      ? "The server is stopping: connect again, and repeat the request"
      : `At most ${this.#limits.maxInFlight} requests of a connection are in flight: repeat this one later`
    this.#send(this.#refused(Envelope.read(frame), new ChannelError.Unavailable({ message })))
  }

  #refused(echo: Envelope.Echo, error: ChannelError.ChannelError): string {
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
    if (lane.running < lane.limit && !this.#isStalled && lane.waiting === undefined) this.#start(lane, message)
    else (lane.waiting ??= []).push(message)
  }

  #start(lane: Lane, message: string | Uint8Array | Exchange): void {
    const exchange = message instanceof Exchange ? message : new Exchange(this, message)
    lane.running++
    this.#drive(lane, exchange, this.#advance(exchange), undefined)
  }

  /** What breaks in here is our own mistake. It costs a request its answer, not the connection its life. */
  #advance(exchange: Exchange, exit?: Exit.Exit<unknown, unknown>): string | undefined {
    try {
      return exit === undefined ? exchange.advance() : exchange.resume(exit)
    } catch (defect) {
      return this.refuse(exchange.envelope, Reply.defect(Cause.die(defect)))
    }
  }

  /** Runs what an exchange waits for until it has its reply, or has to wait in earnest. */
  #drive(lane: Lane, exchange: Exchange, reply: string | undefined, running: Running | undefined): void {
    while (reply === undefined) {
      const fiber = this.#fork(exchange.waitsFor!)
      const exit = fiber.pollUnsafe()
      if (exit === undefined) return this.#wait(lane, exchange, fiber, running)
      reply = this.#advance(exchange, exit)
    }
    if (running !== undefined) this.#running?.delete(running)
    lane.running--
    this.#answer(reply)
  }

  #wait(lane: Lane, exchange: Exchange, fiber: Fiber.Fiber<unknown, unknown>, running: Running | undefined): void {
    if (running === undefined) {
      const timeout = exchange.endpoint?.timeout ?? this.consumer.timeout
      const deadline = timeout === Infinity ? Infinity : this.#now() + timeout
      running = { exchange, lane, fiber, deadline, isTimedOut: false }
      ;(this.#running ??= new Set()).add(running)
      if (deadline < this.#wakesAt) this.#wakeAt(deadline)
    } else {
      running.fiber = fiber
    }
    const waiting = running
    fiber.addObserver((exit) => this.#resume(waiting, exit))
  }

  #resume(running: Running, exit: Exit.Exit<unknown, unknown>): void {
    const { exchange, lane } = running
    if (this.#isClosed || running.isTimedOut) {
      this.#running?.delete(running)
      lane.running--
      this.#answered()
    } else {
      this.#drive(lane, exchange, this.#advance(exchange, exit), running)
    }
    this.#pump(lane)
  }

  #answer(reply: string): void {
    this.#send(reply)
    this.#answered()
  }

  #answered(): void {
    this.#inFlight--
    if (this.#inFlight === 0) this.#idle()
  }

  #pump(lane: Lane): void {
    while (lane.waiting !== undefined && lane.running < lane.limit && !this.#isStalled && !this.#isClosed) {
      const message = lane.waiting.shift()!
      if (lane.waiting.length === 0) lane.waiting = undefined
      this.#start(lane, message)
    }
  }

  /** Sends a reply. A client that does not read its replies is not read either, until it does. */
  #send(reply: string): void {
    const transport = this.#transport
    if (this.#isClosed || transport === undefined) return
    transport.send(reply)
    if (this.#isStalled || transport.unsent() <= this.#limits.maxUnsent) return
    this.#isStalled = true
    transport.pause()
    this.#fork(Effect.map(transport.drained, () => {
      if (this.#isClosed) return
      this.#isStalled = false
      this.#pump(this.#main)
      this.#lanes?.forEach((lane) => this.#pump(lane))
      if (!this.#isStalled) transport.resume()
    }))
  }

  #now(): number {
    return Context.get(this.#context, Clock.Clock).currentTimeMillisUnsafe()
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
      else if (!running.isTimedOut) this.#timeOut(running)
    }
    if (next < Infinity) this.#wakeAt(next)
  }

  #timeOut(running: Running): void {
    const { endpoint, envelope } = running.exchange
    const timeout = endpoint?.timeout ?? this.consumer.timeout
    running.isTimedOut = true
    this.#send(this.#refused(
      envelope,
      new ChannelError.ActionTimeout({ message: `The action took longer than ${timeout} ms and was ended` })
    ))
    running.fiber.interruptUnsafe()
  }
}

/** What is known of permissions and checks from the connection phase. Mostly it is one thing, which needs no map. */
export class Known implements decide.Memory {
  #tree: Permission.Tree | undefined
  #decision: Decision.Decision<Permission.Tree> | undefined
  #others: Map<Permission.Tree, Decision.Decision<Permission.Tree>> | undefined
  #locks: Map<Permission.Check, Semaphore.Semaphore> | undefined

  get size(): number {
    return (this.#tree === undefined ? 0 : 1) + (this.#others?.size ?? 0)
  }
  get(tree: Permission.Tree): Decision.Decision<Permission.Tree> | undefined {
    return tree === this.#tree ? this.#decision : this.#others?.get(tree)
  }
  set(tree: Permission.Tree, decision: Decision.Decision<Permission.Tree>): void {
    if (tree._tag === "Check" && this.#locks?.delete(tree) && this.#locks.size === 0) this.#locks = undefined
    if (this.#tree === undefined || this.#tree === tree) {
      this.#tree = tree
      this.#decision = decision
    } else {
      this.#others ??= new Map()
      this.#others.set(tree, decision)
    }
  }
  lock(check: Permission.Check): Semaphore.Semaphore {
    const locks = this.#locks ??= new Map<Permission.Check, Semaphore.Semaphore>()
    let lock = locks.get(check)
    if (lock === undefined) locks.set(check, lock = Semaphore.makeUnsafe(1))
    return lock
  }
}
