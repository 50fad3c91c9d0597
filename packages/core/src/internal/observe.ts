/**
 * What operators see of decisions: a metric that counts them, and where somebody looks, a debug log and spans with the whole
 * expression, what each of its checks said and how long that took.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as References from "effect/References"
import type * as Semaphore from "effect/Semaphore"
import * as Tracer from "effect/Tracer"
import type * as Decision from "../Decision.ts"
import * as Permission from "../Permission.ts"
import * as decide from "./decide.ts"
import type { Echo } from "./envelope.ts"

/** The metric of all decisions, see `Pipeline.decisions`. */
export const decisions: Metric.Counter<number> = Metric.counter("effect_channels_decisions_total", {
  description: "Decisions over handshakes and messages, by consumer, action, phase, outcome and deciding check",
  incremental: true
})

type Outcome = "Allow" | "Deny" | "Failed"

/** Sees the decisions of one consumer. */
export class Observer {
  readonly #consumer: string
  readonly #context: Context.Context<never>
  readonly #clock: Clock.Clock
  readonly #logs: boolean
  readonly #tracer: Tracer.Tracer | undefined
  readonly #listeners = new Set<Listener>()

  constructor(consumer: string, context: Context.Context<never>) {
    this.#consumer = consumer
    this.#context = context
    this.#clock = Context.get(context, Clock.Clock)
    this.#logs = !LogLevel.isGreaterThan(Context.get(context, References.MinimumLogLevel), "Debug")
    const tracer = Context.get(context, Tracer.Tracer)
    this.#tracer = tracer !== Tracer.nativeTracer && Context.get(context, References.TracerEnabled) ? tracer : undefined
  }

  /** Counts the decisions over one action. */
  tally(action: string): Tally {
    return new Tally(this.#consumer, action, this.#context)
  }

  /** Counts what becomes of one type of event. */
  deliveries(event: string): Deliveries {
    return new Deliveries(this.#consumer, event, this.#context)
  }

  /** What records a handshake or message, where somebody looks. */
  record(action: string): Recorder | undefined {
    if (!this.#logs && this.#tracer === undefined && this.#listeners.size === 0) return undefined
    return new Recorder(this.#consumer, action, this.#clock, this.#tracer, this.#logs, this.#listeners)
  }

  /** Has a function called with all that is recorded from now on, until the function that it gives is called. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/** The metric of all deliveries, see `Pipeline.deliveries`. */
export const deliveries: Metric.Counter<number> = Metric.counter("effect_channels_deliveries_total", {
  description: "Events for connections, by consumer, event and what became of them",
  incremental: true
})

/** What became of an event for one of its recipients. */
export type Delivered =
  | "sent"
  | "denied"
  | "failed"
  | "dropped_newest"
  | "dropped_oldest"
  | "superseded"
  | "disconnected"

/** Counts what becomes of one type of event. */
export class Deliveries {
  readonly #attributes: { readonly consumer: string; readonly event: string }
  readonly #context: Context.Context<never>
  readonly #known = new Map<Delivered, Cell>()
  #sent: Cell | undefined

  constructor(consumer: string, event: string, context: Context.Context<never>) {
    this.#attributes = { consumer, event }
    this.#context = context
  }
  /** It has been sent. */
  sent(): void {
    ;(this.#sent ??= this.#cell("sent")).count++
  }
  /** It has come to something else. */
  count(outcome: Delivered): void {
    let cell = this.#known.get(outcome)
    if (cell === undefined) this.#known.set(outcome, cell = this.#cell(outcome))
    cell.count++
  }
  #cell(outcome: Delivered): Cell {
    return cellOf(deliveries, this.#context, { ...this.#attributes, outcome })
  }
}

/** A number that a metric reads when somebody asks. To count is to add to it: it costs a message nothing. */
interface Cell {
  count: number
}

/** The numbers of each registry, which all servers that write to it share. */
const cells = new WeakMap<object, Map<string, Cell>>()

/** Counts the decisions over one action. */
export class Tally {
  readonly #attributes: { readonly consumer: string; readonly action: string }
  readonly #context: Context.Context<never>
  readonly #known = new Map<string, Cell>()

  constructor(consumer: string, action: string, context: Context.Context<never>) {
    this.#attributes = { consumer, action }
    this.#context = context
  }

  /** Counts a decision; `check` is the one that denied or broke. */
  count(phase: Decision.Phase, outcome: Outcome, check: string): void {
    // Mostly it is this: there is nothing to put together to find it.
    const key = outcome === "Allow" ? phase : `${outcome} ${phase} ${check}`
    let cell = this.#known.get(key)
    if (cell === undefined) {
      cell = cellOf(decisions, this.#context, { ...this.#attributes, phase, outcome: outcome.toLowerCase(), check })
      this.#known.set(key, cell)
    }
    cell.count++
  }
}

/** The number of a metric with these attributes, in the registry of these services. */
const cellOf = (
  metric: Metric.Counter<number>,
  context: Context.Context<never>,
  attributes: Readonly<Record<string, string>>
): Cell => {
  const registry = Context.get(context, Metric.MetricRegistry)
  let shared = cells.get(registry)
  if (shared === undefined) cells.set(registry, shared = new Map())
  const key = JSON.stringify([metric.id, ...Object.values(attributes)])
  let cell = shared.get(key)
  if (cell === undefined) {
    const made = cell = { count: 0 }
    shared.set(key, cell)
    Metric.registerUnsafe(Metric.withAttributes(metric, attributes), context, {
      get: () => ({ count: made.count, incremental: true }),
      update: constVoid,
      modify: constVoid
    })
  }
  return cell
}

/** What was decided over a handshake or message. */
export interface Report {
  readonly connection: string
  readonly requestId: string | number | undefined
  /** Not there where there was nothing to decide. */
  readonly outcome: Outcome | undefined
  /** The check that denied or broke. */
  readonly check: string
  /** The permissions that were decided, with what their checks said. */
  readonly explanations: ReadonlyArray<Permission.Explanation>
}

type Listener = (report: Report) => void

/** What a check said, and how long it took. */
export interface Said {
  readonly decision: Decision.Decision<Permission.Tree>
  readonly millis: number
}

/** Records one handshake or message: what was decided over it. It stands before the memory that decisions are made with. */
export class Recorder implements decide.Memory {
  /** The memory of the connection, which may be another one by and by. */
  memory: decide.Memory | undefined
  readonly span: Tracer.Span | undefined
  readonly #consumer: string
  readonly #action: string
  readonly #clock: Clock.Clock
  readonly #logs: boolean
  readonly #listeners: ReadonlySet<Listener>
  readonly #trees = new Set<Permission.Tree>()
  readonly #said = new Map<Permission.Check, Said>()

  #outcome: Outcome | undefined
  #check = ""

  constructor(
    consumer: string,
    action: string,
    clock: Clock.Clock,
    tracer: Tracer.Tracer | undefined,
    logs: boolean,
    listeners: ReadonlySet<Listener>
  ) {
    this.#consumer = consumer
    this.#action = action
    this.#clock = clock
    this.#logs = logs
    this.#listeners = listeners
    this.span = tracer?.span({
      name: action === "" ? consumer : `${consumer} ${action}`,
      parent: Option.none(),
      annotations: Context.empty(),
      links: [],
      startTime: clock.currentTimeNanosUnsafe(),
      kind: "server",
      root: true,
      sampled: true
    })
  }

  get(check: Permission.Check): Decision.Decision<Permission.Tree> | undefined {
    return this.memory?.get(check)
  }
  set(check: Permission.Check, decision: Decision.Allow | Decision.Deny): void {
    this.memory?.set(check, decision)
  }
  lock(check: Permission.Check): Semaphore.Semaphore {
    return this.memory!.lock(check)
  }
  get recorder(): this {
    return this
  }

  /** A permission that is about to be decided. */
  enter(tree: Permission.Tree): void {
    this.#trees.add(tree)
  }
  now(): bigint {
    return this.#clock.monotonicTimeNanosUnsafe()
  }
  /** What a check said that was asked then. */
  said(check: Permission.Check, decision: Decision.Decision<Permission.Tree>, since: bigint): void {
    this.#said.set(check, { decision, millis: Number(this.now() - since) / 1e6 })
  }

  /** What it came to. */
  decided(outcome: Outcome, check: string): void {
    this.#outcome = outcome
    this.#check = check
  }

  /** The end of it: ends the span, and gives what is to be logged. */
  end(connection: string, echo?: Echo): Effect.Effect<void> | undefined {
    const explanations = Array.from(this.#trees, (tree) => explanation(tree, this.#said))
    const text = explanations.map((one) => Permission.printExplanation(one)).join("\n")
    const requestId = echo?.requestId
    for (const listener of this.#listeners) {
      listener({ connection, requestId, outcome: this.#outcome, check: this.#check, explanations })
    }
    const attributes = {
      connection,
      ...(echo === undefined ? {} : { route: echo.route }),
      ...(requestId === undefined ? {} : { request_id: requestId }),
      ...(this.#outcome === undefined ? {} : { outcome: this.#outcome.toLowerCase() })
    }
    const { span } = this
    if (span !== undefined) {
      span.attribute("effect_channels.consumer", this.#consumer)
      span.attribute("effect_channels.action", this.#action)
      for (const [name, value] of Object.entries(attributes)) span.attribute(`effect_channels.${name}`, value)
      if (text !== "") span.attribute("effect_channels.permission", text)
      span.end(this.#clock.currentTimeNanosUnsafe(), Exit.void)
    }
    if (!this.#logs || text === "") return undefined
    const what = this.#action === "" ? "a message" : `"${this.#action}"`
    return Effect.annotateLogs(Effect.logDebug(`Decided over ${what} of "${this.#consumer}"\n${text}`), attributes)
  }
}

/** The whole expression with what its checks said; one that was not asked since the answer was clear is `Unasked`. */
const explanation = (tree: Permission.Tree, said: ReadonlyMap<Permission.Check, Said>): Permission.Explanation => {
  switch (tree._tag) {
    case "Constant":
      return { _tag: "Constant", outcome: tree.decision._tag, members: [] }
    case "Check": {
      const found = said.get(tree)
      return {
        _tag: "Check",
        name: tree.name,
        phase: tree.phase,
        outcome: found?.decision._tag ?? "Unasked",
        cause: found?.decision._tag === "Failed" ? found.decision.cause : undefined,
        ...(found === undefined ? {} : { millis: found.millis })
      }
    }
    case "And":
    case "Or": {
      const members = tree.members.map((member) => explanation(member, said))
      return { _tag: tree._tag, outcome: decide.outcomeOf(tree._tag, members), members }
    }
    case "Not": {
      const member = explanation(tree.member, said)
      return { _tag: "Not", outcome: decide.negatedOutcome(member), members: [member] }
    }
  }
}
