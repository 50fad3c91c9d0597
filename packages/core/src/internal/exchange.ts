/**
 * One request and its reply. The stages stand in the order in which a request can be refused: envelope 400, consumer
 * permission 403, route 404, route permission 403, action 405, action permission 403, payload 400, object 404, object
 * permission 403. Who may not ask learns nothing of what is there.
 *
 * It is a machine that is driven from outside, not an effect: a request whose checks, schemas and handler answer at once
 * never starts a fiber, and nothing is allocated for the stages it goes through.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as ChannelError from "../ChannelError.ts"
import type * as ChannelLayer from "../ChannelLayer.ts"
import * as Decision from "../Decision.ts"
import type { Request } from "../Handlers.ts"
import type { Claimed } from "../Idempotency.ts"
import type * as Permission from "../Permission.ts"
import * as Query from "../Query.ts"
import * as Reply from "../Reply.ts"
import * as channels from "./channels.ts"
import type * as compile from "./compile.ts"
import * as decide from "./decide.ts"
import * as Envelope from "./envelope.ts"
import { deniedBy, failureOf } from "./failure.ts"
import * as Idempotency from "./idempotency.ts"
import type { Recorder } from "./observe.ts"
import { problemsOf } from "./problems.ts"
import type { Standing } from "./standing.ts"
import { Inside, inside, type Outlet, Streaming } from "./streaming.ts"
import type { Frame, Wire } from "./wire.ts"

/** What an exchange needs of its connection. */
export interface Context {
  readonly consumer: compile.Consumer
  /** How its frames are read and written. */
  readonly wire: Wire
  /** The decoded parameters of the consumer's path. */
  readonly params: Readonly<Record<string, unknown>>
  /** What permissions are decided by. */
  readonly standing: Standing
  /** Writes the reply of a failure, and logs what broke. */
  readonly refuse: (echo: Envelope.Echo, failure: Reply.Failure) => Frame
  /** The errors of that reply, as JSON. */
  errorsOf(echo: Envelope.Echo, failure: Reply.Failure): string
  fork(effect: Effect.Effect<void, never, unknown>): Fiber.Fiber<void>
  /** Ends a request that may not go on, and answers it. */
  end(exchange: Exchange, error: ChannelError.ChannelError): void
  /** Whether the connection is in a group of this name. */
  readonly isIn: (group: string) => boolean
  /** Sends an event to the groups that the connection is in. */
  readonly broadcast: (
    broadcast: compile.Broadcast,
    envelope: ChannelLayer.Envelope
  ) => Effect.Effect<void, ChannelError.Unavailable>
  /** Has the events for the connection wait, until the reply is sent. */
  readonly hold: () => void
  /** Where the items of streams go out. */
  readonly outlet: Outlet
}

const Stage = {
  Envelope: 0,
  ConsumerPermission: 1,
  Route: 2,
  RoutePermission: 3,
  Action: 4,
  ActionPermission: 5,
  Payload: 6,
  Fields: 7,
  Object: 8,
  ObjectPermission: 9,
  Handler: 10,
  Success: 11,
  /** The payload or the fields were refused: what is wrong with them is looked for. */
  Problems: 12,
  /** A declared error is encoded. */
  Failure: 13,
  /** The event is encoded that goes to a group. */
  Event: 14,
  /** It is sent, where the reply waits for it. */
  Broadcast: 15,
  /** The object is loaded, its permission decided, and the handler run, in one. */
  Transaction: 16,
  /** The items of a stream are sent. */
  Stream: 17,
  /** It is found out whether it has been done already, by its key. */
  Key: 18,
  /** What came of it is remembered, by its key. */
  Outcome: 19
} as const

type Stage = (typeof Stage)[keyof typeof Stage]

/** An effect that a stage waits for; its value is the stage's own matter. */
type Work = Effect.Effect<unknown, unknown, unknown>

const none: ReadonlyArray<Permission.Tree> = []

/** One request and its reply. */
export class Exchange {
  readonly envelope: Envelope.Envelope | Envelope.Unreadable
  /** The action of the request, `undefined` where there is none. */
  readonly endpoint: compile.Endpoint | undefined
  /** What the exchange waits for, when {@link advance} or {@link resume} has not answered. */
  waitsFor: Work | undefined = undefined
  /** What is to be sent to a group after the reply. */
  broadcast: Effect.Effect<void, ChannelError.Unavailable> | undefined = undefined
  /** Whether events for the connection wait for its reply. */
  isHolding = false
  /** Whether it has been answered from outside, and is to end: nothing of it is sent any more. */
  isAnswered = false
  /** Records what is decided, where somebody looks. */
  recorder: Recorder | undefined = undefined
  readonly #context: Context
  readonly #request: MessageRequest
  readonly #route: compile.Route | undefined
  readonly #params: Readonly<Record<string, unknown>> | undefined
  /** What a parameter's schema died of. */
  readonly #broken: Cause.Cause<never> | undefined
  #stage: Stage = Stage.Envelope
  #isRunning = false
  /** By which state of its connection the handler was called. */
  #handledIn = 0
  #streaming: Streaming | undefined = undefined
  #inside: Inside | undefined = undefined
  /** By which state of its connection the handler was called, or was told last that it is still permitted. */
  #told = 0
  /** What it is decided by counts as long as this is the epoch of its connection. */
  #epoch = 0
  /** The permissions of the stage, and which of them is next. */
  #guards: ReadonlyArray<Permission.Tree> = none
  #guard = 0
  /** What the permissions so far leave to the object. */
  #residuals: Array<Permission.Tree> | undefined = undefined
  /** What the stage works on: the input of a decoder, the success of a handler. */
  #value: unknown = undefined
  /** The phase of the last decision, if there was anything to decide. */
  #decidedIn: "action" | "object" | undefined = undefined
  /** Which of them was refused, while its problems are looked for. */
  #refused: typeof Stage.Payload | typeof Stage.Fields = Stage.Payload
  /** The reply of a success, `""` where it is not answered; of a declared error, where that is remembered. */
  #success: Frame = ""
  /** By what it is done once, where it has a key. */
  #key: Idempotency.Key | undefined = undefined
  #reply: Frame | undefined = undefined

  constructor(context: Context, frame: string | Uint8Array) {
    this.#context = context
    this.envelope = context.wire.read(frame)
    this.#request = new MessageRequest(this.envelope, context.params, context, this)
    const match = "body" in this.envelope ? context.consumer.routes.find(this.#request.route) : undefined
    if (match === undefined) return
    try {
      this.#params = decodeParams(match.value.params, match.params, context.params)
    } catch (defect) {
      this.#broken = Cause.die(defect)
    }
    if (this.#params === undefined) return
    this.#route = match.value
    this.endpoint = match.value.actions.get(this.#request.action)
  }

  /** Goes on until there is a reply, or something to wait for: then it answers `undefined`. */
  advance(): Frame | undefined {
    while (this.#reply === undefined) {
      const work = this.#enter()
      if (work === undefined) continue
      if (!Exit.isExit(work)) {
        this.waitsFor = work
        return undefined
      }
      this.#leave(work)
    }
    return this.#reply
  }

  /** Goes on with the exit of what it waited for; from the beginning, where it was let in by what no longer counts. */
  resume(exit: Exit.Exit<unknown, unknown>): Frame | undefined {
    this.waitsFor = undefined
    if (this.isRunning ? this.#isOfOthers : this.isOutdated) this.#restart()
    else this.#leave(exit)
    return this.advance()
  }

  /** Whether what let it in no longer counts. */
  get isOutdated(): boolean {
    return this.#epoch !== this.#context.standing.epoch
  }

  /** Whether what it has found out so far was found out by what no longer counts, and can be found out again. */
  get #isOfOthers(): boolean {
    return this.endpoint?.repeats === true && this.#handledIn !== this.#context.standing.epoch
  }

  /** By which state of its connection it was let in. */
  get epoch(): number {
    return this.#epoch
  }

  /** Whether the handler has been called. */
  get isRunning(): boolean {
    return this.#isRunning
  }

  /** Whether its stream has begun. */
  get isStreaming(): boolean {
    return this.#streaming !== undefined
  }

  /** Whether it has begun what is done once, and runs to its end though its client has gone. */
  get isLasting(): boolean {
    return this.#key?.isHeld === true
  }

  /** Whether all that ask again are answered with what came of it. */
  get isKept(): boolean {
    return this.#key?.isKept === true
  }

  /** It is over, or begins anew: somebody else may do what is done once, unless it has been done. */
  release(): void {
    if (this.#key === undefined) return
    this.#key.release()
    this.#key = undefined
  }

  /** What handlers of our own see of it. */
  look(): Inside {
    return this.#inside ??= new Inside(
      this.#context.standing,
      this.#context.consumer,
      this.#route!,
      this.endpoint!
    )
  }

  /** The same, where somebody has looked. */
  get inside(): Inside | undefined {
    return this.#inside
  }

  /** The connection has been decided anew: tells the handler, where it is still permitted and wants to know. */
  decided(): void {
    if (this.#inside === undefined || this.isAnswered || this.isOutdated || this.#told === this.#epoch) return
    this.#told = this.#epoch
    this.#inside.tell()
  }

  /** Decides anew all that let the handler run: `Allow`, or the first decision that is not. */
  review(): Effect.Effect<Decision.Allow | Decision.Deny | Decision.Failed, never, unknown> {
    const { consumer, standing } = this.#context
    this.#epoch = standing.epoch
    const guards = [...consumer.guards, ...this.#route!.guards, ...this.endpoint!.guards]
    return Effect.gen({ self: this }, function*() {
      for (const guard of guards) {
        const decided = standing.decide(guard, this.#request as Permission.Facts, undefined)
        const decision = Decision.conclude(Effect.isEffect(decided) ? yield* decided : decided)
        if (decision._tag !== "Allow") return decision
      }
      return Decision.allow
    })
  }

  /** What was allowed is no more: says so to whom it was said before. */
  revoked(decision: Decision.Deny | Decision.Failed): void {
    this.#count(decide.outcomeOfDecision(decision), decide.decidingCheck(decision))
  }

  #restart(): void {
    this.release()
    this.#request.reset(this.#context.params)
    this.#isRunning = false
    this.#residuals = undefined
    this.#value = undefined
    this.#stage = Stage.Envelope
  }

  /** Does what the stage does, and goes to the next one; answers with what the stage has to wait for first, if anything. */
  #enter(): Work | undefined {
    switch (this.#stage) {
      case Stage.Envelope:
        this.#epoch = this.#context.standing.epoch
        // What was asked for is no name for a span, nor for a metric: a client may ask for anything.
        this.recorder ??= this.#context.consumer.observer.record(this.endpoint?.name ?? "")
        if ("problem" in this.envelope) return this.#refuse(this.envelope.problem)
        return this.#toGuards(Stage.ConsumerPermission, this.#context.consumer.guards)
      case Stage.Route:
        if (this.#broken !== undefined) return this.#fail(this.#broken)
        if (this.#route === undefined) {
          return this.#refuse(new ChannelError.RouteNotFound({ message: `There is no route "${this.#request.route}"` }))
        }
        this.#request.params = this.#params!
        return this.#toGuards(Stage.RoutePermission, this.#route.guards)
      case Stage.Action:
        if (this.endpoint === undefined) {
          return this.#refuse(
            new ChannelError.ActionNotFound({ message: `There is no action "${this.#request.action}" here` })
          )
        }
        return this.#toGuards(Stage.ActionPermission, this.endpoint.guards)
      case Stage.ConsumerPermission:
      case Stage.RoutePermission:
      case Stage.ActionPermission:
      case Stage.ObjectPermission:
        return this.#decide()
      case Stage.Payload:
        if (this.endpoint!.broadcast !== undefined && !this.#context.isIn(this.endpoint!.broadcast.group.name)) {
          return this.#deny(this.endpoint!.broadcast.denied)
        }
        return this.#decode(this.endpoint!.decodePayload, (this.envelope as Envelope.Envelope).body["data"])
      case Stage.Fields: {
        const { decodeFields } = this.endpoint!
        const fields = decodeFields === undefined
          ? undefined
          : Envelope.fields((this.envelope as Envelope.Envelope).body, this.endpoint!.isKeyed)
        return this.#decode(decodeFields, fields)
      }
      case Stage.Problems: {
        const { decodeFields, decodePayload } = this.endpoint!
        return attempt((this.#refused === Stage.Payload ? decodePayload : decodeFields)!, this.#value, allErrors)
      }
      case Stage.Object: {
        const { isKeyed, load, transaction } = this.endpoint!
        if (isKeyed && this.#key === undefined && Idempotency.isAsked(this.envelope as Envelope.Envelope)) {
          return this.#to(Stage.Key)
        }
        if (load === undefined) return this.#to(Stage.Handler)
        return transaction === undefined ? attempt(load, this.#request) : this.#to(Stage.Transaction)
      }
      case Stage.Transaction:
        return this.#transact(this.endpoint!.transaction!, this.endpoint!.load!)
      case Stage.Handler:
        // Nothing is left that could still decide them.
        if (this.#residuals !== undefined && !this.endpoint!.isFree) return this.#deny(Decision.undecided)
        if (this.#decidedIn !== undefined) this.#count("Allow", "", this.#decidedIn)
        this.#isRunning = true
        this.#told = this.#handledIn = this.#epoch
        return this.endpoint!.isStream ? this.#stream() : attempt(this.endpoint!.run as compile.Run, this.#request)
      case Stage.Stream:
        return this.#streaming!.run
      case Stage.Success: {
        const { encodeSuccess } = this.endpoint!
        return encodeSuccess === undefined ? this.#succeed(null) : attempt(encodeSuccess, this.#value)
      }
      case Stage.Event:
        return this.#encodeEvent(this.endpoint!.broadcast!)
      case Stage.Broadcast:
        return this.#value as Work
      case Stage.Failure:
        return this.#value as Work
      case Stage.Key:
        return this.#claim()
      case Stage.Outcome:
        return this.#key!.keep
    }
  }

  /** Looks whether it has been done, and claims to do it. */
  #claim(): Work | undefined {
    const context = this.#context
    try {
      const key = Idempotency.read(this.envelope as Envelope.Envelope, this.endpoint!, context.standing, {
        fork: (effect) => context.fork(effect),
        lost: (error) => context.end(this, error)
      })
      if (!(key instanceof Idempotency.Key)) return this.#refuse(key)
      this.#key = key
      return key.claim
    } catch (defect) {
      return Exit.die(defect)
    }
  }

  /** Goes on as the key says. */
  #claimed(claimed: Claimed): void {
    switch (claimed._tag) {
      case "Claimed":
        this.#to(Stage.Object)
        break
      case "Known": {
        const { data, errors, status } = claimed.outcome
        if (this.#decidedIn !== undefined) this.#count("Allow", "", this.#decidedIn)
        const { json, reply } = this.endpoint!
        const { wire } = this.#context
        if (status >= 400) this.#reply = wire.refusal(this.envelope, status, errors)
        else this.#reply = reply ? wire.replies(this.envelope, status, json).ofJson(data) : ""
        break
      }
      case "Reused":
        this.#refuse(new ChannelError.IdempotencyKeyReused())
    }
  }

  /**
   * Loads the object, decides what is left of the permissions, and runs the handler, inside of what surrounds them. Who is denied
   * leaves it with a failure, so that nothing of it is kept; so does whoever was let in by what no longer counts.
   */
  #transact(surround: compile.Transaction, load: compile.Run): Work {
    const loaded = (object: unknown): Work => {
      this.#request.object = object
      this.#request.phase = "object"
      return this.#permitted(this.#residuals ?? none, 0)
    }
    return attempt(surround, Effect.flatMap(Effect.suspend(() => attempt(load, this.#request)), loaded))
  }

  /** Runs the handler, where these permissions allow it, from one of them on. */
  #permitted(guards: ReadonlyArray<Permission.Tree>, from: number): Work {
    for (let i = from; i < guards.length; i++) {
      const decided = this.#context.standing.decideRest(guards[i]!, this.#request as Permission.Facts, this.recorder)
      if (Effect.isEffect(decided)) {
        return Effect.flatMap(decided, (decision) => turnedAway(decision) ?? this.#permitted(guards, i + 1))
      }
      const turned = turnedAway(decided)
      if (turned !== undefined) return turned
    }
    // What surrounds it may do it again, after a conflict say: then it is running already.
    if (!this.#isRunning) {
      if (this.isOutdated) return Effect.fail(new TurnedAway(Decision.undecided))
      if (this.#residuals !== undefined) this.#decidedIn = "object"
      if (this.#decidedIn !== undefined) this.#count("Allow", "", this.#decidedIn)
      this.#isRunning = true
      this.#told = this.#epoch
    }
    return attempt(this.endpoint!.run as compile.Run, this.#request)
  }

  /** Calls the handler, and goes on with its stream. */
  #stream(): Work | undefined {
    try {
      const stream: unknown = this.endpoint!.run(this.#request)
      if (!Stream.isStream(stream)) {
        return Exit.die(new TypeError(`The handler of "${this.endpoint!.name}" must answer with a stream`))
      }
      this.#streaming = new Streaming(stream, this, this.#context.outlet)
      return this.#to(Stage.Stream)
    } catch (defect) {
      return Exit.die(defect)
    }
  }

  /** Goes on with what the stage waited for. */
  #leave(exit: Exit.Exit<unknown, unknown>): void {
    if (exit._tag === "Failure") {
      const turned = this.#stage === Stage.Transaction ? turnedAwayIn(exit.cause) : undefined
      if (turned !== undefined) {
        // It is not what the handler has failed with.
        this.#stage = Stage.ObjectPermission
        this.#judge(turned.decision)
        return
      }
      if (this.#stage === Stage.Payload || this.#stage === Stage.Fields) {
        // To look for all the problems takes longer than to look for one: it is done where there is one.
        this.#refused = this.#stage
        this.#to(Stage.Problems)
      } else if (this.#stage === Stage.Problems) {
        const problems = problemsOf(exit.cause, this.#refused === Stage.Payload ? this.endpoint!.payloadPath : [])
        if (problems === undefined) this.#fail(exit.cause)
        else this.#refuse(new ChannelError.InvalidPayload({ problems }))
      } else {
        this.#fail(exit.cause)
      }
      return
    }
    switch (this.#stage) {
      case Stage.ConsumerPermission:
      case Stage.RoutePermission:
      case Stage.ActionPermission:
      case Stage.ObjectPermission:
        this.#judge(exit.value as Decision.Decision<Permission.Tree>)
        break
      case Stage.Problems:
        this.#decoded(exit.value, this.#refused)
        break
      case Stage.Payload:
      case Stage.Fields:
        this.#decoded(exit.value, this.#stage)
        break
      case Stage.Object:
        this.#request.object = exit.value
        this.#request.phase = "object"
        this.#toGuards(Stage.ObjectPermission, this.#residuals ?? none)
        this.#residuals = undefined
        break
      case Stage.Handler:
      case Stage.Transaction:
        this.#value = exit.value
        this.#to(Stage.Success)
        break
      case Stage.Stream:
        this.#succeed(null)
        break
      case Stage.Success:
        this.#succeed(exit.value)
        break
      case Stage.Event:
        this.#send(this.endpoint!.broadcast!, exit.value as ChannelLayer.Envelope)
        break
      case Stage.Broadcast:
        this.#conclude()
        break
      case Stage.Failure:
        this.#failed(exit.value as Reply.Failure)
        break
      case Stage.Key:
        this.#claimed(exit.value as Claimed)
        break
      case Stage.Outcome:
        this.#reply = this.#success
    }
  }

  #to(stage: Stage): undefined {
    this.#stage = stage
    return undefined
  }

  #toGuards(stage: Stage, guards: ReadonlyArray<Permission.Tree>): undefined {
    this.#guards = guards
    this.#guard = 0
    this.#stage = stage
    return undefined
  }

  /** Decides the permissions of the stage. When all of them allow, the next stage follows; what is pending waits. */
  #decide(): Work | undefined {
    while (this.#guard < this.#guards.length) {
      const guard = this.#guards[this.#guard]!
      const facts = this.#request as Permission.Facts
      const { standing } = this.#context
      this.#decidedIn = this.#request.phase
      const decision = this.#stage === Stage.ObjectPermission
        ? standing.decideRest(guard, facts, this.recorder)
        : standing.decide(guard, facts, this.recorder)
      if (Effect.isEffect(decision)) return decision
      if (!this.#judge(decision)) return undefined
    }
    return this.#to((this.#stage + 1) as Stage)
  }

  /** Whether the request may go on, as far as this decision goes. */
  #judge(decision: Decision.Decision<Permission.Tree>): boolean {
    this.#guard++
    switch (decision._tag) {
      case "Allow":
        return true
      case "Pending":
        ;(this.#residuals ??= []).push(decision.residual)
        return true
      case "Deny":
        this.#deny(decision)
        return false
      case "Failed":
        this.#count(decide.outcomeOfDecision(decision), decision.check)
        this.#fail(decision.cause)
        return false
    }
  }

  #deny(decision: Decision.Deny): undefined {
    this.#count("Deny", decision.denial.check, decision.denial.phase)
    return this.#refuse(deniedBy(decision.denial))
  }

  /** Counts the decision over the request. */
  #count(outcome: "Allow" | "Deny" | "Failed", check: string, phase: Decision.Phase = this.#request.phase): void {
    const tally = this.endpoint?.tally ?? this.#context.consumer.strays
    tally.count(phase, outcome, check)
    this.recorder?.decided(outcome, check)
  }

  #decode(decode: compile.Decode | undefined, input: unknown): Work | undefined {
    if (decode === undefined) return this.#to((this.#stage + 1) as Stage)
    this.#value = input
    return attempt(decode, input)
  }

  #decoded(value: unknown, stage: typeof Stage.Payload | typeof Stage.Fields): void {
    if (stage === Stage.Payload) this.#request.payload = value
    else this.#request.fields = value
    this.#to((stage + 1) as Stage)
  }

  #succeed(data: unknown): undefined {
    const endpoint = this.endpoint!
    try {
      // What is not answered is not written.
      this.#success = endpoint.reply
        ? this.#context.wire.reply(this.envelope, endpoint.status, data, endpoint.json)
        : ""
      if (this.#key !== undefined) {
        const json = endpoint.reply ? JSON.stringify(data) ?? "null" : "null"
        this.#key.outcome = { status: endpoint.status, errors: "[]", data: json }
      }
    } catch (defect) {
      return this.#fail(Cause.die(defect))
    }
    return endpoint.broadcast === undefined ? this.#conclude() : this.#to(Stage.Event)
  }

  /** Answers; what is done once, when that is remembered. */
  #conclude(): undefined {
    if (this.#key !== undefined) return this.#to(Stage.Outcome)
    this.#reply = this.#success
    return undefined
  }

  #encodeEvent({ event, includeSender, map }: compile.Broadcast): Work {
    try {
      return channels.envelopeOf(event, map === undefined ? this.#value : map(this.#value as never), {
        status: this.endpoint!.status,
        except: includeSender ? undefined : this.#context.standing.scope.id
      })
    } catch (defect) {
      return Exit.die(defect)
    }
  }

  /** Whoever asked is answered first; where the group has a history, when the event is in it. */
  #send(to: compile.Broadcast, envelope: ChannelLayer.Envelope): undefined {
    const broadcast = this.#context.broadcast(to, envelope)
    if (to.group.history === undefined || !to.event.isKept) {
      this.broadcast = broadcast
      return this.#conclude()
    }
    this.isHolding = true
    this.#context.hold()
    this.#value = broadcast
    return this.#to(Stage.Broadcast)
  }

  #refuse(error: ChannelError.ChannelError): undefined {
    this.#reply = this.#context.refuse(this.envelope, Reply.refused(error))
    return undefined
  }

  #fail(cause: Cause.Cause<unknown>): undefined {
    // The declared errors are those of the handler, and of what loads the object.
    const isHandler = this.#stage === Stage.Handler || this.#stage === Stage.Object ||
      this.#stage === Stage.Transaction || this.#stage === Stage.Stream
    const failure = failureOf(cause, isHandler ? this.endpoint?.errors : undefined)
    if (this.#key !== undefined) this.#key.isOfHandler = isHandler
    if (Effect.isEffect(failure)) {
      this.#value = failure
      return this.#to(Stage.Failure)
    }
    return this.#failed(failure)
  }

  #failed(failure: Reply.Failure): undefined {
    if (this.#key?.isOfHandler !== true || failure._tag !== "Declared") {
      this.#reply = this.#context.refuse(this.envelope, failure)
      return undefined
    }
    const errors = this.#context.errorsOf(this.envelope, failure)
    this.#key.outcome = { status: failure.status, errors, data: "null" }
    this.#success = this.#context.wire.refusal(this.envelope, failure.status, errors)
    return this.#conclude()
  }
}

/** Somebody may not do what they have begun: a failure, so that a transaction ends without effect. */
class TurnedAway {
  readonly decision: Decision.Deny | Decision.Failed
  constructor(decision: Decision.Deny | Decision.Failed) {
    this.decision = decision
  }
}

/** Who was turned away, where nothing else has broken besides. */
const turnedAwayIn = ({ reasons }: Cause.Cause<unknown>): TurnedAway | undefined => {
  const found = reasons.map((reason) =>
    reason._tag === "Fail" ? reason.error : reason._tag === "Die" ? reason.defect : undefined
  )
  const isBroken = reasons.some((reason) => reason._tag === "Die" && !(reason.defect instanceof TurnedAway))
  return isBroken ? undefined : found.find((error) => error instanceof TurnedAway)
}

const turnedAway = (result: Decision.Decision<Permission.Tree>): Effect.Effect<never, TurnedAway> | undefined => {
  const decision = Decision.conclude(result)
  return decision._tag === "Allow" ? undefined : Effect.fail(new TurnedAway(decision))
}

const allErrors = { errors: "all" } as const

/** Calls a function of the application. What it throws is a defect, and so is an answer that is no effect. */
const attempt = <A, B>(f: (a: A, b?: B) => Work, a: A, b?: B): Work => {
  try {
    const work = f(a, b)
    if (Effect.isEffect(work)) return work
    return Exit.die(
      new TypeError(`A handler must answer with an effect, not with ${work === null ? "null" : typeof work}`)
    )
  } catch (defect) {
    return Exit.die(defect)
  }
}

/** What handlers see of a request, and what its permissions are decided by. */
class MessageRequest implements Request {
  readonly action: string
  readonly route: string
  readonly requestId: string | number | undefined
  phase: "action" | "object" = "action"
  params: Readonly<Record<string, unknown>>
  payload: unknown = undefined
  fields: unknown = undefined
  object: unknown = undefined
  readonly query: Query.Query
  readonly #context: Context
  readonly #exchange: Exchange

  constructor(
    echo: Envelope.Echo,
    params: Readonly<Record<string, unknown>>,
    context: Context,
    exchange: Exchange
  ) {
    this.#context = context
    this.#exchange = exchange
    const search = echo.route.indexOf("?")
    this.action = echo.action ?? ""
    this.route = search < 0 ? echo.route : echo.route.slice(0, search)
    this.requestId = echo.requestId
    this.params = params
    this.query = search < 0 ? Query.empty : Query.parse(echo.route.slice(search))
  }

  get [inside](): Inside {
    return this.#exchange.look()
  }

  static contextOf(request: Request): Context {
    return (request as MessageRequest).#context
  }

  /** As it was before anything was decided. It stays the same object: what is counted by message is counted once. */
  reset(params: Readonly<Record<string, unknown>>): void {
    this.phase = "action"
    this.params = params
    this.payload = undefined
    this.fields = undefined
    this.object = undefined
  }
}

/** What the connection is decided by that a request came from: for handlers of our own. */
export const contextOf = MessageRequest.contextOf

/** The values of parameters, besides those of an outer path; `undefined` when a schema refuses one. Throws when it dies. */
export const decodeParams = (
  params: ReadonlyArray<compile.Param>,
  segments: ReadonlyArray<string>,
  outer: Readonly<Record<string, unknown>>
): Readonly<Record<string, unknown>> | undefined => {
  if (params.length === 0) return outer
  const values: Record<string, unknown> = { ...outer }
  for (let i = 0; i < params.length; i++) {
    const { decode, name } = params[i]!
    const exit = decode(segments[i]!)
    if (exit._tag === "Failure") {
      if (Cause.hasDies(exit.cause)) throw Cause.squash(exit.cause)
      return undefined
    }
    // No route means NaN, which is what `Schema.NumberFromString` makes of "abc".
    if (Number.isNaN(exit.value)) return undefined
    values[name] = exit.value
  }
  return values
}
