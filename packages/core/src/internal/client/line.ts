/**
 * The connection of a client, over all the connections that it takes: when it is made, what waits for it, what becomes of what was
 * asked when it is lost.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as ChannelError from "../../ChannelError.ts"
import type { Credentials, Status } from "../../Client.ts"
import { type CallError, ConnectionLost, ConnectionRefused, Timeout } from "../../ClientError.ts"
import * as Codec from "../../Codec.ts"
import type * as Connector from "../../Connector.ts"
import { toSubprotocol } from "../../Credentials.ts"
import type { Closed } from "../../Transport.ts"
import { itemStatus } from "../answers.ts"
import { refusalsSubprotocol } from "../subprotocols.ts"
import { type Parts, queryOf, type Repeats } from "./contract.ts"
import { type Bounds, delayOf, type Hint } from "./delays.ts"
import * as Failures from "./failures.ts"
import { Groups } from "./groups.ts"
import { Listeners } from "./listeners.ts"

/** How the connection is made and kept; durations are in milliseconds. */
export interface Options {
  /** The URL without what the client adds to its query string. */
  readonly url: string
  readonly query: Readonly<Record<string, string>>
  readonly connector: Connector.Connector
  /** Those that are offered, the best first. */
  readonly codecs: ReadonlyArray<Codec.Codec>
  readonly credentials: Effect.Effect<Credentials, unknown, unknown> | undefined
  /** The groups that a connection joins by itself, and that have a history. */
  readonly replayed: ReadonlyArray<string>
  readonly from: "new" | "kept"
  readonly queue: number
  readonly reconnect: Bounds & { readonly timeout: number }
  readonly heartbeat: { readonly interval: number; readonly timeout: number } | undefined
}

/** Something that is asked, until it is answered. */
export interface Call {
  readonly id: number
  readonly action: string
  readonly repeats: Repeats
  readonly idempotencyKey: string | undefined
  readonly isStream: boolean
  /** Whether it is answered where all goes well. */
  readonly isAnswered: boolean
  /** The parts by the codec of the connection that they are sent on. */
  readonly encode: (codec: Codec.Codec) => Effect.Effect<Parts, CallError>
  codec: Codec.Codec
  parts: Parts
  /** Whether it is part of what is done on each connection, which comes first. */
  readonly isFirst: boolean
  /** Whether it was sent on the connection that there is now. */
  isSent: boolean
  /** Whether it was ever sent. */
  wasSent: boolean
  /** The length of its frame, once it was sent. */
  size: number
  /** So long it waits for its answer, in milliseconds. */
  readonly timeout: number
  /** When it does not wait any longer, in milliseconds of the clock. */
  deadline: number
  onReply: (reply: Codec.Reply, codec: Codec.Codec) => void
  /** It was sent, and nothing more is to be heard of it. */
  onSent: () => void
  onError: (error: CallError) => void
}

/** A call of which nothing is known yet. */
export const begun = {
  isFirst: false,
  isSent: false,
  wasSent: false,
  size: 0,
  deadline: Infinity,
  onReply: constVoid,
  onSent: constVoid,
  onError: constVoid
}

/** What is heard of a connection. */
export type Heard =
  | { readonly _tag: "Connected"; readonly isAgain: boolean }
  | { readonly _tag: "Disconnected"; readonly reason: string }
  | { readonly _tag: "Event"; readonly event: Codec.Event; readonly codec: Codec.Codec }
  | { readonly _tag: "Refused"; readonly error: ConnectionRefused }
  /** The client has ended. */
  | { readonly _tag: "Ended" }

/** How an attempt to connect ended, or the connection that came of it. */
type Outcome =
  | { readonly _tag: "Lost"; readonly reason: string; readonly hint: Hint; readonly lived: number }
  | { readonly _tag: "Refused"; readonly error: ConnectionRefused }

/** A connection that there is. */
interface Session {
  readonly link: Connector.Link
  readonly codec: Codec.Codec
  /** When something was heard of it last, in milliseconds of the clock. */
  heardAt: number
  /** The length of the longest frame that nobody waits for the answer of. */
  longest: number
  /** Whether what is done on each connection has been done. */
  isPrepared: boolean
  /** Whether what has waited for it has been sent as well: from then on calls are sent at once. */
  isOpen: boolean
}

/** A connection that has lasted so long was a good one, in milliseconds: the next attempt is a first one again. */
const stable = 10_000

/** Before its credentials expire, in milliseconds, a connection is given newer ones: so long, or a fifth of the time that is left. */
const renewalLead = 30_000

/** So long at least until the next attempt to renew, in milliseconds. */
const renewalPause = 2000

/** So long a renewal waits for its answer, in milliseconds. */
const renewalTimeout = 15_000

/** So many characters of the URL the positions may take. */
const positionsLength = 4000

const tooLarge: Failures.Failure = { status: 413, errors: [] }

const noHint: Hint = { _tag: "None" }

const ended = "The client has ended"

/** The connection of a client. */
export class Line {
  readonly groups = new Groups()
  readonly heard = new Listeners<Heard>()
  readonly statuses = new Listeners<Status>()
  /** What is done on each connection, before what has waited is sent. */
  readonly hooks = new Set<Effect.Effect<void>>()
  readonly #options: Options
  readonly #context: Context.Context<never>
  readonly #clock: Clock.Clock
  readonly #calls = new Map<number, Call>()
  /** Somebody has changed what is wanted. */
  readonly #wishes = new Listeners<void>()
  #isWanted = false
  /** Whether somebody does not want to wait for the next attempt. */
  #isHurried = false
  #status: Status = { _tag: "Idle" }
  #session: Session | undefined
  /** Looks at the deadlines, and when it does. */
  #watch: Fiber.Fiber<void> | undefined
  #wakesAt = Infinity
  #lastId = 0
  #hasConnected = false
  /** Whether it was given up by `disconnect`. */
  #isGivenUp = false
  #isOver = false
  /** Whether a connection is made, or there is one, or it is being ended. */
  #isTrying = false
  /** How often in a row the handshake was refused since the credentials do not hold. */
  #unauthenticated = 0

  constructor(options: Options, context: Context.Context<never>) {
    this.#options = options
    this.#context = context
    this.#clock = Context.get(context, Clock.Clock)
  }

  get status(): Status {
    return this.#status
  }

  /** Whether there is a connection: `status` says so a little longer than that. */
  get isConnected(): boolean {
    return this.#session !== undefined
  }

  /** Whether there is a connection on which what is done on each of them has been done. */
  get isPrepared(): boolean {
    return this.#session?.isPrepared === true
  }

  /** Whether the client has ended. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** What the next call is encoded by. */
  get codec(): Codec.Codec {
    return this.#session?.codec ?? this.#options.codecs[0]!
  }

  nextId(): number {
    return ++this.#lastId
  }

  /** Makes connections as long as the scope is open, when they are wanted. */
  get run(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.asVoid(Effect.acquireRelease(
      Effect.sync(() => ({
        off: this.#options.connector.onOnline?.(() => this.#hurry()),
        fiber: Effect.runForkWith(this.#context)(this.#connections)
      })),
      ({ fiber, off }) =>
        Effect.andThen(
          Fiber.interrupt(fiber),
          Effect.sync(() => {
            off?.()
            this.#isOver = true
            this.#watch?.interruptUnsafe()
            for (const call of this.#calls.values()) this.#fail(call, ended)
            this.#become({ _tag: "Idle" })
            this.heard.tell({ _tag: "Ended" })
          })
        )
    ))
  }

  /** Wants a connection: it is made, unless it was given up. */
  use(): void {
    if (this.#status._tag === "Idle" && !this.#isGivenUp && !this.#isOver) this.connect()
  }

  /** Wants a connection now, whatever was before. */
  connect(): void {
    if (this.#isOver) return
    this.#isGivenUp = false
    if (this.#status._tag === "Idle" || this.#status._tag === "Refused") {
      this.#unauthenticated = 0
      this.#become({ _tag: "Connecting", attempt: 1 })
    }
    this.#isWanted = true
    this.#hurry()
  }

  #hurry(): void {
    // Whoever has a connection, or just makes one, hurries for nothing, also when it is lost later.
    if (this.#session === undefined && this.#status._tag !== "Connecting") this.#isHurried = true
    this.#wishes.tell()
  }

  /** Waits until something is wished. */
  #wish(isSo: () => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      if (isSo()) return resume(Effect.void)
      const off = this.#wishes.add(() => {
        if (!isSo()) return
        off()
        resume(Effect.void)
      })
      return Effect.sync(off)
    })
  }

  /** Gives the connection up. */
  disconnect(): void {
    this.#isGivenUp = true
    this.#isWanted = false
    this.#wishes.tell()
    if (!this.#isTrying && this.#status._tag !== "Idle") this.#giveUp()
  }

  #giveUp(): void {
    this.#trim("The client has disconnected")
    // Nor does what may be sent again wait.
    for (const call of Array.from(this.#calls.values())) {
      if (call.wasSent) this.#fail(call, "The client has disconnected")
    }
    this.#become({ _tag: "Idle" })
  }

  #become(status: Status): void {
    const before = this.#status
    if (before._tag === "Connecting" && status._tag === "Connecting" && before.attempt === status.attempt) return
    this.#status = status
    this.statuses.tell(status)
  }

  // ---- calls

  /** Takes a call: sends it, has it wait, or fails it. */
  enter(call: Call): void {
    if (this.#isOver) return this.#fail(call, ended)
    this.use()
    const status = this.#status
    if (status._tag === "Refused") return call.onError(status.error)
    call.deadline = this.#now() + call.timeout
    if (call.deadline < this.#wakesAt) this.#wakeAt(call.deadline)
    if (this.#session !== undefined && (this.#session.isOpen || call.isFirst)) {
      this.#calls.set(call.id, call)
      return call.codec === this.#session.codec ? this.#send(call, this.#session) : this.#sendAnew(call, this.#session)
    }
    if (status._tag !== "Connecting" && status._tag !== "Connected" && this.#waiting().length >= this.#options.queue) {
      return this.#fail(call, this.#options.queue === 0 ? offline : `${offline}, and ${this.#options.queue} calls wait`)
    }
    this.#calls.set(call.id, call)
  }

  /** Sees to it that somebody looks at the deadlines then: one sleeper for all calls. */
  #wakeAt(time: number): void {
    this.#watch?.interruptUnsafe()
    this.#wakesAt = time
    this.#watch = Effect.runForkWith(this.#context)(
      Effect.andThen(Effect.sleep(Math.ceil(Math.max(0, time - this.#now()))), Effect.sync(() => this.#endOverdue()))
    )
  }

  #endOverdue(): void {
    const now = this.#now()
    let next = Infinity
    this.#wakesAt = Infinity
    for (const call of Array.from(this.#calls.values())) {
      if (call.deadline > now) next = Math.min(next, call.deadline)
      else {
        this.abandon(call)
        call.onError(
          new Timeout({ message: `"${call.action}" was not answered in ${call.timeout} ms`, by: "client" })
        )
      }
    }
    if (next < this.#wakesAt) this.#wakeAt(next)
  }

  /** Nobody waits for a call any more. */
  abandon(call: Call): void {
    if (!this.#calls.delete(call.id) || !call.isSent) return
    if (this.#session !== undefined) this.#session.longest = Math.max(this.#session.longest, call.size)
    if (!call.action.startsWith("$")) {
      this.#sendOwn("$cancel", { request_id: call.id })
    }
  }

  /** Those that were never sent. */
  #waiting(): ReadonlyArray<Call> {
    return Array.from(this.#calls.values()).filter((call) => !call.wasSent)
  }

  #send(call: Call, session: Session): void {
    call.isSent = call.wasSent = true
    const { data, fields, route } = call.parts
    const { action, id, idempotencyKey } = call
    const frame = session.codec.write({ action, route, requestId: id, idempotencyKey, data, fields })
    call.size = frame.length
    session.link.send(frame)
    if (call.isAnswered) return
    session.longest = Math.max(session.longest, frame.length)
    this.#calls.delete(id)
    call.onSent()
  }

  /** Sends what was encoded for another codec than that of the connection. */
  #sendAnew(call: Call, session: Session): void {
    Effect.runForkWith(this.#context)(Effect.map(this.#encode(call, session.codec), (isEncoded) => {
      if (isEncoded && !call.isSent && this.#session === session && this.#calls.has(call.id)) this.#send(call, session)
    }))
  }

  #encode(call: Call, codec: Codec.Codec): Effect.Effect<boolean> {
    return Effect.map(Effect.exit(call.encode(codec)), (exit) => {
      if (exit._tag === "Failure") this.#fail(call, `It cannot be sent as ${codec.subprotocol}`)
      else {
        call.codec = codec
        call.parts = exit.value
      }
      return exit._tag === "Success"
    })
  }

  /** Sends one of the protocol's own requests, whose reply nobody waits for. */
  #sendOwn(action: string, data: unknown): void {
    const request = { action, route: "", requestId: undefined, idempotencyKey: undefined, data, fields: undefined }
    this.#session?.link.send(this.#session.codec.write(request))
  }

  #fail(call: Call, message: string): void {
    this.#calls.delete(call.id)
    call.onError(new ConnectionLost({ message, isSent: call.wasSent }))
  }

  /** An attempt has failed: of what was never sent, as much waits as may wait. */
  #trim(reason: string): void {
    for (const call of this.#waiting().slice(this.#options.queue)) this.#fail(call, reason)
  }

  /** The connection is lost: what may be sent again waits for the next one. */
  #lose(reason: string, isLost: (call: Call) => boolean): void {
    for (const call of Array.from(this.#calls.values())) {
      if (!call.isSent) continue
      call.isSent = false
      if (isLost(call)) this.#fail(call, reason)
    }
  }

  // ---- connections

  get #connections(): Effect.Effect<never> {
    return Effect.gen({ self: this }, function*() {
      while (true) {
        yield* this.#wish(() => this.#isWanted)
        this.#isTrying = true
        const isRefused = yield* Effect.raceAllFirst([
          Effect.as(this.#connecting, true),
          Effect.as(this.#wish(() => !this.#isWanted), false)
        ])
        this.#isTrying = false
        // Whoever has wanted it again meanwhile gets another connection: this one is given up all the same.
        if (!isRefused) this.#giveUp()
      }
    })
  }

  /** Connects, and connects again, until that is of no use. */
  get #connecting(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      let failed = 0
      while (true) {
        this.#isHurried = false
        this.#become({ _tag: "Connecting", attempt: failed + 1 })
        const outcome = yield* this.#attempt
        if (outcome._tag === "Refused") return this.#refused(outcome.error)
        if (outcome.lived >= stable) failed = 0
        const delay = delayOf(failed, outcome.hint, this.#options.reconnect, yield* Random.next)
        failed++
        this.#become({ _tag: "Waiting", attempt: failed, delay, reason: outcome.reason })
        // Whoever asks again at once is one of them.
        this.#trim(outcome.reason)
        yield* Effect.raceAllFirst([Effect.sleep(delay), this.#wish(() => this.#isHurried)])
      }
    }).pipe(Effect.provideContext(this.#context))
  }

  #refused(error: ConnectionRefused): void {
    this.#isWanted = false
    // Those that there are now: whoever is told may connect again, and ask for more.
    const calls = Array.from(this.#calls.values())
    const tell = this.heard.telling
    this.#calls.clear()
    this.#become({ _tag: "Refused", error })
    for (const call of calls) {
      call.onError(call.wasSent ? new ConnectionLost({ message: error.message, isSent: true }) : error)
    }
    tell({ _tag: "Refused", error })
  }

  /** One connection, from the attempt to make it to its end. */
  get #attempt(): Effect.Effect<Outcome> {
    const { connector, credentials, reconnect } = this.#options
    const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.raceAllFirst([effect, Effect.as(Effect.sleep(reconnect.timeout), undefined)])
    return Effect.gen({ self: this }, function*() {
      let presented: Exit.Exit<Credentials, unknown> | undefined
      const link = yield* inTime(Effect.gen({ self: this }, function*() {
        if (credentials !== undefined) presented = yield* Effect.exit(credentials)
        return presented?._tag === "Failure" ? undefined : yield* connector.open(this.#request(presented?.value))
      }))
      if (presented?._tag === "Failure") return lostCredentials(presented.cause)
      if (link === undefined) {
        return lost(
          credentials !== undefined && presented === undefined
            ? "The credentials were not there in time"
            : "The server does not answer"
        )
      }
      return link.protocol === refusalsSubprotocol
        ? (yield* inTime(this.#readRefusal(link))) ?? lost("The server does not say why it refuses the connection")
        : yield* this.#serve(link, presented?.value)
    }).pipe(
      Effect.scoped,
      Effect.catchCause((cause) => {
        if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
        const error = Cause.squash(cause)
        const reason = error instanceof Error ? error.message : String(error)
        const told = cause.reasons.some(Cause.isDieReason)
          ? Effect.logError("A connection broke", cause)
          : Effect.void
        return Effect.as(told, lost(reason))
      })
    ) as Effect.Effect<Outcome>
  }

  #request(credentials: Credentials | undefined): Connector.Request {
    const { codecs, from, query, replayed, url } = this.#options
    const entries: Array<readonly [string, string]> = Object.entries(query)
    const after = this.groups.after((group) => replayed.includes(group))
    // Who has not heard where it is has heard nothing of it yet.
    const all = from === "new" ? [] : replayed.filter((group) => !this.groups.has(group)).map((group) => `${group}:`)
    const protocols = [...codecs.map(({ subprotocol }) => subprotocol), refusalsSubprotocol]
    if (credentials !== undefined) {
      const place = credentials.in ?? { subprotocol: "bearer." }
      const { token } = credentials
      if ("query" in place) entries.push([place.query, token])
      else protocols.push(toSubprotocol(token, place.subprotocol))
    }
    // Those that it joins by itself come first. Servers take a URL of so many characters; what has no place there begins fresh.
    let room = positionsLength
    for (const position of [...all, ...after]) {
      const { length } = queryOf([["$after", position]])
      if (length > room) continue
      room -= length + 1
      entries.push(["$after", position])
    }
    return { url: entries.length === 0 ? url : `${url}?${queryOf(entries)}`, protocols }
  }

  /** The server has accepted the handshake only to say why it does not. */
  #readRefusal(link: Connector.Link): Effect.Effect<Outcome> {
    let reply: Codec.Reply | Codec.Event | undefined
    const run = link.run((frame) => {
      reply ??= Codec.json.read(frame)
    })
    return Effect.map(run, ({ code, reason }): Outcome => {
      if (reply?._tag === "Reply") return this.#turnedAway(reply)
      // It was lost on the way: nobody knows what it would have said.
      if (code < 4400 || code > 4599) return outcomeOf({ code, reason }, 0)
      return this.#turnedAway({ status: code - 4000, errors: reason === "" ? [] : [{ detail: reason }] })
    })
  }

  #turnedAway(failure: Failures.Failure): Outcome {
    const { errors, status } = failure
    const error = Failures.refusal(failure)
    const seconds = Failures.retryAfter(errors)
    const hint: Hint = seconds === undefined ? { _tag: "Busy" } : { _tag: "After", seconds }
    // Credentials may have expired on the way: newer ones are presented once.
    const isExpired = status === 401 && this.#options.credentials !== undefined && ++this.#unauthenticated < 2
    if (isExpired) return lost(error.message)
    return status >= 500 || status === 408 || status === 429
      ? lost(error.message, hint)
      : { _tag: "Refused", error }
  }

  /** Serves a connection until it has ended. */
  #serve(link: Connector.Link, credentials: Credentials | undefined): Effect.Effect<Outcome> {
    return Effect.gen({ self: this }, function*() {
      const codec = this.#options.codecs.find(({ subprotocol }) => subprotocol === link.protocol) ?? Codec.json
      const startedAt = this.#now()
      const session: Session = { link, codec, heardAt: startedAt, longest: 0, isPrepared: false, isOpen: false }
      this.#session = session
      this.#isHurried = false
      this.#unauthenticated = 0
      this.heard.tell({ _tag: "Connected", isAgain: this.#hasConnected })
      this.#hasConnected = true
      const closed = yield* Effect.raceAllFirst([
        link.run((frame) => this.#receive(session, frame)),
        this.#heartbeat(session),
        this.#renew(session, credentials),
        this.#begin(session)
      ]).pipe(
        Effect.onExit((exit) => Effect.sync(() => this.#end(session, exit)))
      )
      return outcomeOf(closed, this.#now() - startedAt)
    })
  }

  /** Does what is done on each connection, and sends what has waited for it. */
  #begin(session: Session): Effect.Effect<never> {
    return Effect.gen({ self: this }, function*() {
      // Those that come meanwhile as well.
      for (const hook of this.hooks) yield* hook
      session.isPrepared = true
      for (const call of this.#calls.values()) {
        if (call.isSent || !this.#calls.has(call.id)) continue
        const isEncoded = call.codec === session.codec || (yield* this.#encode(call, session.codec))
        if (isEncoded && !call.isSent && this.#calls.has(call.id)) this.#send(call, session)
      }
      session.isOpen = true
      this.#become({ _tag: "Connected", subprotocol: session.link.protocol })
      return yield* Effect.never
    })
  }

  #end(session: Session, exit: Exit.Exit<Closed, unknown>): void {
    session.link.close(1000, "")
    this.#session = undefined
    this.groups.disconnected()
    const reason = exit._tag === "Success" ? reasonOf(exit.value) : "The client has disconnected"
    if (exit._tag === "Success" && exit.value.code === 1009) this.#refuseLongest(session, tooLarge)
    this.#lose(reason, (call) => call.repeats === "no" || (exit._tag === "Success" && exit.value.code === 1009))
    this.heard.tell({ _tag: "Disconnected", reason })
  }

  /** A message was too large for the server to see whose it was: then the longest one was too large as well. */
  #refuseLongest(session: Session, failure: Failures.Failure): void {
    let longest: Call | undefined
    for (const call of this.#calls.values()) {
      if (call.isSent && (longest === undefined || call.size > longest.size)) longest = call
    }
    if (longest === undefined || longest.size < session.longest) return
    this.#calls.delete(longest.id)
    longest.onError(Failures.own(failure))
  }

  #receive(session: Session, frame: string | Uint8Array<ArrayBuffer>): void {
    if (this.#session !== session) return
    session.heardAt = this.#now()
    const message = session.codec.read(frame)
    if (message === undefined) return
    if (message._tag === "Event") {
      try {
        this.groups.take(message)
        this.heard.tell({ _tag: "Event", event: message, codec: session.codec })
      } catch (cause) {
        // Nested deeper than the stack is: nobody catches it in a listener of the platform.
        Effect.runForkWith(this.#context)(Effect.logError(`An event of "${message.type}" cannot be read`, cause))
      }
      return
    }
    const call = this.#calls.get(message.requestId as number)
    if ((message.requestId ?? undefined) === undefined && message.status === 413) {
      return this.#refuseLongest(session, message)
    }
    if (call === undefined || !call.isSent) return
    if (!call.isStream || message.status !== itemStatus) this.#calls.delete(call.id)
    call.onReply(message, session.codec)
  }

  /** Ends when nobody seems to be there any more. */
  #heartbeat(session: Session): Effect.Effect<Closed> {
    const { heartbeat } = this.#options
    if (heartbeat === undefined) return Effect.never
    const { interval, timeout } = heartbeat
    return Effect.gen({ self: this }, function*() {
      while (true) {
        const silence = this.#now() - session.heardAt
        if (silence < interval) {
          yield* Effect.sleep(interval - silence)
          continue
        }
        const { heardAt } = session
        this.#sendOwn("$ping", undefined)
        yield* Effect.sleep(timeout)
        if (session.heardAt === heardAt) return { code: 1006, reason: "The server gives no sign of life" }
      }
    })
  }

  /** Gives the connection newer credentials, each time before they expire. */
  #renew(session: Session, first: Credentials | undefined): Effect.Effect<never> {
    const { credentials } = this.#options
    if (credentials === undefined || first?.expiresAt === undefined) return Effect.never
    return Effect.gen({ self: this }, function*() {
      let expiresAt = first.expiresAt
      while (expiresAt !== undefined) {
        const left = expiresAt - this.#now()
        yield* Effect.sleep(Math.max(0, left - Math.min(renewalLead, left / 5)))
        const presented = yield* Effect.exit(credentials)
        const renewed = presented._tag === "Success" ? yield* this.#authenticate(session, presented.value) : undefined
        if (renewed !== undefined) expiresAt = renewed.expiresAt
        // Where it does not succeed in time, the server ends the connection, and the next one says why.
        if (renewed === undefined || (expiresAt !== undefined && !(expiresAt > this.#now() + renewalPause))) {
          yield* Effect.sleep(renewalPause)
        }
      }
      return yield* Effect.never
    }) as Effect.Effect<never>
  }

  /** Sends credentials; answers until when they hold, nothing where they do not. */
  #authenticate(
    session: Session,
    credentials: Credentials
  ): Effect.Effect<{ readonly expiresAt: number | undefined } | undefined> {
    const { identity, token } = credentials
    const data = { token, ...(identity === undefined ? {} : { identity }) }
    return Effect.callback((resume) => {
      const parts: Parts = { route: "", data, fields: undefined }
      const call: Call = {
        id: this.nextId(),
        action: "$authenticate",
        repeats: "no",
        idempotencyKey: undefined,
        isStream: false,
        isAnswered: true,
        encode: () => Effect.succeed(parts),
        codec: session.codec,
        parts,
        ...begun,
        timeout: renewalTimeout,
        onReply: ({ data, status }) => {
          if (status >= 400) return resume(Effect.succeed(undefined))
          const { expires_at: said } = (data ?? {}) as { readonly expires_at?: unknown }
          const expiresAt = typeof said === "string" ? Date.parse(said) : credentials.expiresAt
          resume(Effect.succeed({ expiresAt: said === null ? undefined : expiresAt }))
        },
        onError: () => resume(Effect.succeed(undefined))
      }
      this.enter(call)
      return Effect.sync(() => this.abandon(call))
    })
  }

  #now(): number {
    return this.#clock.currentTimeMillisUnsafe()
  }
}

const offline = "There is no connection"

const lost = (reason: string, hint: Hint = noHint, lived = 0): Outcome => ({ _tag: "Lost", reason, hint, lived })

/** Whoever asks for the credentials may say that there are none to be had. */
const lostCredentials = (cause: Cause.Cause<unknown>): Outcome => {
  const reason = cause.reasons.find(Cause.isFailReason)
  return reason?.error instanceof ChannelError.InvalidCredentials
    ? {
      _tag: "Refused",
      error: new ConnectionRefused({ status: 401, code: reason.error.code, message: reason.error.message })
    }
    : lost(`The credentials cannot be had: ${String(Cause.squash(cause))}`)
}

const reasonOf = ({ code, reason }: Closed): string =>
  `The connection was lost (${code}${reason === "" ? "" : `: ${reason}`})`

/** What becomes of a connection that has ended (RFC 6455, 7.4, and the protocol's own codes). */
const outcomeOf = (closed: Closed, lived: number): Outcome => {
  const { code, reason } = closed
  switch (code) {
    case 4403:
      return {
        _tag: "Refused",
        error: new ConnectionRefused({
          status: 403,
          code: "permission_lost",
          message: reason === "" ? "The permission to be connected was lost" : reason
        })
      }
    case 1012:
      return lost(reasonOf(closed), { _tag: "Restart" }, lived)
    case 1013:
      return lost(reasonOf(closed), { _tag: "Busy" }, lived)
    default:
      return lost(reasonOf(closed), noHint, lived)
  }
}
