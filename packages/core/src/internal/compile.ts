/**
 * Makes of a consumer and its handlers what the message path works with: everything that can be done before the first
 * message is done here, and every mistake in composing them is found here.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Action from "../Action.ts"
import * as Authentication from "../Authentication.ts"
import { ChannelLayer } from "../ChannelLayer.ts"
import type * as Consumer_ from "../Consumer.ts"
import * as Decision from "../Decision.ts"
import type { Handlers, Request } from "../Handlers.ts"
import * as Permission from "../Permission.ts"
import type * as Reply from "../Reply.ts"
import type * as Resource from "../Resource.ts"
import type * as Route_ from "../Route.ts"
import * as Settings from "../Settings.ts"
import type { Rule } from "../Throttle.ts"
import { itemStatus } from "./answers.ts"
import * as channels from "./channels.ts"
import { type Encode, encoder, isOptional } from "./encoding.ts"
import { resourceOf } from "./endpoints.ts"
import * as Envelope from "./envelope.ts"
import { list } from "./names.ts"
import { Observer, type Tally } from "./observe.ts"
import * as Path from "./path.ts"
import { unsaid } from "./permit.ts"
import { refusalsSubprotocol } from "./subprotocols.ts"
import { isToken } from "./token.ts"

/** What the application wrote for an action; its types were checked where it was added. */
export type Handle = Start | {
  readonly object: Run
  readonly run: Start
  readonly transaction?: Transaction | undefined
}

/** What surrounds loading the object, deciding, and running. */
export type Transaction = (
  effect: Effect.Effect<unknown, unknown, unknown>
) => Effect.Effect<unknown, unknown, unknown>

/** A function of the application that a request is given to. */
export interface Run {
  (request: Request): Effect.Effect<unknown, unknown, unknown>
  /**
   * Whether it only reads, and decides by itself whom it shows what: it is called again where the facts have changed meanwhile that
   * it has decided by.
   */
  readonly repeats?: boolean
}

/** The same, which answers with a stream where the action says so. */
export type Start = (
  request: Request
) => Effect.Effect<unknown, unknown, unknown> | Stream.Stream<unknown, unknown, unknown>

/** A handler at its place. */
export interface Handler {
  readonly route: string
  readonly name: string
  readonly handle: Handle | Late
}

/** A handler that is made where it is put, out of what it finds there; or the problems with that. */
export class Late {
  readonly make: (place: Place) => Handle | ReadonlyArray<string | Common>
  constructor(make: (place: Place) => Handle | ReadonlyArray<string | Common>) {
    this.make = make
  }
}

/** A problem that several handlers have in common: it is told once, and says itself where it is. */
export interface Common {
  readonly common: string
}

/** Where a handler is put. */
export interface Place {
  readonly consumer: Consumer_.Any
  /** What guards the consumer, its own permission or that of the settings. */
  readonly permission: Permission.Any
  /** The full pattern of the route. */
  readonly route: string
  readonly action: Action.Any
  readonly settings: Settings.Settings
  /** The services of the server. */
  readonly context: Context.Context<never>
  /** Has something run as long as the server does. */
  readonly start: (effect: Effect.Effect<void, never, Scope.Scope>) => void
}

/** A consumer, ready for messages. */
export interface Consumer {
  readonly consumer: Consumer_.Any
  readonly params: ReadonlyArray<Param>
  readonly connectPermission: Permission.Any
  /** The permission of the consumer; none when everybody has it. */
  readonly guards: ReadonlyArray<Permission.Tree>
  /** The routes by their full patterns, the consumer itself by `""`. */
  readonly routes: Path.Router<Route>
  readonly concurrency: number
  /** Milliseconds, `Infinity` for none. */
  readonly timeout: number
  /** Whether an action has a line of its own, so that a message must be read before it is put in line. */
  readonly hasLanes: boolean
  readonly authenticators: ReadonlyArray<Authenticator>
  /** Those whose identities can be renewed on a live connection. */
  readonly renewables: ReadonlyArray<Renewable>
  /** How often a connection may send credentials. */
  readonly renewalRule: Rule
  /** How long a connection lives on after its credentials have expired, in milliseconds. */
  readonly expiryGrace: number
  /** How long it may take to decide a connection anew, in milliseconds. */
  readonly redecisionTimeout: number
  /** How long outcomes of what is done once for each key are remembered, in milliseconds. */
  readonly keepOutcomes: number
  readonly observer: Observer
  /** Counts the decisions over handshakes. */
  readonly handshakes: Tally
  /** Counts the decisions over messages that name no action of the consumer. */
  readonly strays: Tally
  readonly formatError: (failure: Reply.Failure) => ReadonlyArray<unknown>
  /** The groups that its connections can be in, by name. */
  readonly groups: ReadonlyMap<string, channels.Group>
  /** The events that its clients can receive, by type; those of the protocol itself among them. */
  readonly events: ReadonlyMap<string, channels.Event>
  /** Holds the groups, where there are any. */
  readonly layer: ChannelLayer["Service"] | undefined
  /** The services of the server. */
  readonly context: Context.Context<never>
  /** What runs as long as it is served. */
  readonly starts: ReadonlyArray<Effect.Effect<void, never, Scope.Scope>>
}

/** What finds out one of the identities of a connection. */
export type Authenticator = Authentication.AuthenticatorService<unknown, unknown>

/** One that can do so by a token, and tell whether it is the same user. */
export type Renewable = Authenticator & Required<Pick<Authenticator, "renew" | "keyOf">> & {
  readonly renew: NonNullable<Authenticator["renew"]>
  readonly keyOf: NonNullable<Authenticator["keyOf"]>
}

const isRenewable = (authenticator: Authenticator): authenticator is Renewable =>
  authenticator.renew !== undefined && authenticator.keyOf !== undefined

/** A route, ready for messages. */
export interface Route {
  readonly pattern: string
  /** The permissions from the outermost route to this one, without those that everybody has. */
  readonly guards: ReadonlyArray<Permission.Tree>
  /** The parameters in the order of the pattern. */
  readonly params: ReadonlyArray<Param>
  readonly actions: ReadonlyMap<string, Endpoint>
}

/** A parameter of a path. */
export interface Param {
  readonly name: string
  readonly decode: (segment: string) => Exit.Exit<unknown, unknown>
}

/** An action, ready for messages. */
export interface Endpoint {
  readonly name: string
  /** The name of the action as JSON. */
  readonly json: string
  /** The permission of the action; none when everybody has it. */
  readonly guards: ReadonlyArray<Permission.Tree>
  readonly status: number
  readonly decodePayload: Decode | undefined
  /** What leads the paths of the payload's problems. */
  readonly payloadPath: ReadonlyArray<string>
  readonly decodeFields: Decode | undefined
  readonly encodeSuccess: Encode | undefined
  readonly errors: ReadonlyArray<DeclaredError>
  readonly load: Run | undefined
  readonly transaction: Transaction | undefined
  readonly run: Start
  /** Whether it is answered with a stream. */
  readonly isStream: boolean
  /** Whether it is done once for each key. */
  readonly isKeyed: boolean
  /** Whether the handler is called again where facts have changed meanwhile. */
  readonly repeats: boolean
  /** Whether it is about no object, and is not guarded by permissions of objects. */
  readonly isFree: boolean
  /** Milliseconds, `Infinity` for none. */
  readonly timeout: number
  /** How many run at once, when the action does not stand in the line of its connection. */
  readonly concurrency: number | undefined
  /** Counts the decisions over it. */
  readonly tally: Tally
  /** Whether a success is answered. */
  readonly reply: boolean
  /** What a success is sent as, to a group. */
  readonly broadcast: Broadcast | undefined
}

/** What an action sends to a group. */
export type Broadcast = Extract<Action.Mode, { readonly _tag: "Broadcast" }> & {
  /** What is said to a connection that is not in the group. */
  readonly denied: Decision.Deny
}

export type Decode = (
  input: unknown,
  options?: { readonly errors: "all" }
) => Effect.Effect<unknown, Schema.SchemaError, unknown>
/** A declared error of an action. */
export interface DeclaredError {
  readonly is: (error: unknown) => boolean
  readonly encode: Encode
  readonly status: number
}

/** Compiles a consumer, or lists what is wrong with it. */
export const make = (
  { consumer, handlers, problems }: Handlers<string, unknown, unknown>,
  context: Context.Context<never>
): Consumer | ReadonlyArray<string> => {
  const settings = Context.get(context, Settings.Settings)
  const permission = consumer.permission === unsaid ? settings.permission : consumer.permission
  const services = Context.merge(settings.services, context)
  const authenticators = Authentication.authenticators(services)
  const observer = new Observer(consumer.name, services)
  const layer = Context.getOrUndefined(context as Context.Context<ChannelLayer>, ChannelLayer)
  const compiler = new Compiler(consumer, permission, handlers, observer, settings, services)
  compiler.problems.push(...problems)
  compiler.settings(settings)
  compiler.consumer()
  compiler.channels(layer)
  if (compiler.problems.length > 0) return compiler.problems
  const routes = new Path.Router<Route>()
  for (const route of compiler.routes) routes.add(route.pattern, route)
  return {
    consumer,
    params: paramsOf(consumer),
    connectPermission: consumer.connectPermission,
    guards: guardsOf(permission),
    routes,
    concurrency: limitOf(consumer.concurrency),
    timeout: millis(consumer.timeout),
    hasLanes: compiler.routes.some((route) =>
      Array.from(route.actions.values()).some((action) => action.concurrency !== undefined)
    ),
    authenticators,
    renewables: authenticators.filter(isRenewable),
    renewalRule: {
      algorithm: "token-bucket",
      capacity: settings.renewalsPerMinute,
      limit: settings.renewalsPerMinute,
      window: 60_000
    },
    expiryGrace: millis(settings.expiryGrace),
    redecisionTimeout: millis(settings.redecisionTimeout),
    keepOutcomes: millis(settings.keepOutcomes),
    observer,
    handshakes: observer.tally("$connect"),
    strays: observer.tally(""),
    formatError: settings.formatError,
    groups: channels.groupsOf(consumer),
    events: channels.eventsOf(consumer, observer),
    layer,
    context: services,
    starts: compiler.starts
  }
}

class Compiler {
  readonly problems: Array<string> = []
  readonly routes: Array<Route> = []
  readonly starts: Array<Effect.Effect<void, never, Scope.Scope>> = []
  readonly #consumer: Consumer_.Any
  readonly #guard: Permission.Any
  readonly #observer: Observer
  readonly #settings: Settings.Settings
  readonly #context: Context.Context<never>
  readonly #handlers = new Map<string, Handle | Late>()
  /** The actions of resources that nothing handles, by the names of the resources. */
  readonly #unhandled = new Map<string, Array<string>>()
  /** How a resource is put into one route with other actions, by the pattern of its own. */
  readonly #joined = new Map<string, string>()

  constructor(
    consumer: Consumer_.Any,
    permission: Permission.Any,
    handlers: ReadonlyArray<Handler>,
    observer: Observer,
    settings: Settings.Settings,
    context: Context.Context<never>
  ) {
    this.#consumer = consumer
    this.#guard = permission
    this.#observer = observer
    this.#settings = settings
    this.#context = context
    for (const { handle, name, route } of handlers) {
      const key = keyOf(route, name)
      if (this.#handlers.has(key)) this.problems.push(`${where(route, name)} is handled twice: remove one handler`)
      this.#handlers.set(key, handle)
    }
  }

  settings(settings: Settings.Settings): void {
    const { expiryGrace, keepOutcomes, maxPageSize, pageSize, redecisionTimeout, renewalsPerMinute } = settings
    if (!(millis(keepOutcomes) > 0 && millis(keepOutcomes) < Infinity)) {
      this.problems.push("the setting keepOutcomes must be a duration longer than nothing, and not for ever")
    }
    if (!(Number.isInteger(renewalsPerMinute) && renewalsPerMinute > 0)) {
      this.problems.push(`the setting renewalsPerMinute is ${renewalsPerMinute}: it must be a whole number from 1`)
    }
    if (!(millis(expiryGrace) >= 0)) this.problems.push("the setting expiryGrace must be a duration")
    if (!(millis(redecisionTimeout) > 0)) {
      this.problems.push("the setting redecisionTimeout must be a duration longer than nothing")
    }
    if (!(Number.isInteger(pageSize) && pageSize > 0 && Number.isInteger(maxPageSize) && maxPageSize >= pageSize)) {
      this.problems.push(
        `the settings pageSize (${pageSize}) and maxPageSize (${maxPageSize}) must be whole numbers from 1, the second not less`
      )
    }
  }

  consumer(): void {
    const consumer = this.#consumer
    this.#path(`its path "${consumer.path}"`, consumer)
    if (!consumer.path.startsWith("/")) this.problems.push(`its path "${consumer.path}" must start with "/"`)
    this.#limits("the consumer", consumer)
    this.#permission("permitConnect", consumer.connectPermission, ["connection"])
    for (const { permission } of consumer.connectObjects) {
      this.#permission("permitConnectObject", permission, ["connection", "action", "object"])
    }
    this.#permission("the consumer's permission", this.#guard, ["connection", "action", "object"])
    for (const name of consumer.subprotocols.filter((name) => !isToken(name))) {
      this.problems.push(`its subprotocol ${JSON.stringify(name)} is no token: use letters, digits, ".", "-" and "_"`)
    }
    if (consumer.subprotocols.includes(refusalsSubprotocol)) {
      this.problems.push(
        `its subprotocol "${refusalsSubprotocol}" is the protocol's own, by which refusals are told: give it another name`
      )
    }
    this.#level("", [], consumer.members, [], [this.#guard], Path.paramNames(consumer.path))
    for (const [name, actions] of this.#unhandled) {
      this.problems.push(
        `nothing handles ${list(actions)} of the resource "${name}": add Resource.handle(${name})`
      )
    }
    this.#ambiguous()
    for (const key of this.#handlers.keys()) {
      const [route, name] = JSON.parse(key)
      this.problems.push(`${where(route, name)} has a handler, but no such action was added to the consumer`)
    }
  }

  /** Groups and events. */
  channels(layer: ChannelLayer["Service"] | undefined): void {
    const { events, groups } = this.#consumer
    this.problems.push(...channels.problemsOf(this.#consumer))
    if (layer === undefined && events.length + groups.length > 0) {
      this.problems.push(
        "it has groups or events, but there is no ChannelLayer: provide one, ChannelLayer.layerMemory say"
      )
    }
  }

  /** What an action sends to a group. */
  #broadcast(place: string, mode: Action.Mode): Broadcast | undefined {
    if (mode._tag !== "Broadcast") return undefined
    const { event, group } = mode
    if (!this.#consumer.groups.some((one) => one.group === group)) {
      this.problems.push(
        `${place} is broadcast to the group "${group.name}", which the consumer does not have: add Consumer.join or Consumer.groups`
      )
    }
    if (!this.#consumer.events.includes(event)) {
      this.problems.push(
        `${place} is broadcast as the event "${event.type}", which the consumer does not have: add Consumer.push`
      )
    }
    return {
      ...mode,
      denied: Decision.deny({
        check: `isIn(${group.name})`,
        phase: "action",
        reason: `You are not in the group "${group.name}"`,
        code: "not_in_group",
        private: false
      })
    }
  }

  #level(
    pattern: string,
    params: ReadonlyArray<Param>,
    members: ReadonlyArray<Route_.Member>,
    guards: ReadonlyArray<Permission.Tree>,
    permissions: ReadonlyArray<Permission.Any>,
    names: ReadonlyArray<string>
  ): void {
    const actions = new Map<string, Endpoint>()
    this.routes.push({ pattern, guards, params, actions })
    for (const member of members) {
      if ("path" in member) this.#route(pattern, params, member, guards, permissions, names)
      else if (actions.has(member.name)) this.problems.push(`${where(pattern, member.name)} was added twice`)
      else {
        const resource = resourceOf(member)
        if (resource !== undefined && !this.#joined.has(pattern)) this.#joined.set(pattern, joined(resource, member))
        const endpoint = this.#action(pattern, member, permissions)
        if (endpoint !== undefined) actions.set(member.name, endpoint)
      }
    }
  }

  #route(
    parent: string,
    params: ReadonlyArray<Param>,
    route: Route_.Any,
    guards: ReadonlyArray<Permission.Tree>,
    permissions: ReadonlyArray<Permission.Any>,
    names: ReadonlyArray<string>
  ): void {
    const pattern = parent + route.path
    if (route.path === "") {
      this.problems.push(`a route in ${where(parent)} has an empty path: add its actions themselves`)
    }
    if (parent !== "" && !parent.endsWith("/") && !route.path.startsWith("/")) {
      this.problems.push(`the routes "${parent}" and "${route.path}" join without a "/" between them`)
    }
    this.#path(`the route "${pattern}"`, route)
    const own = Path.paramNames(route.path)
    for (const name of own.filter((name) => names.includes(name))) {
      this.problems.push(`the parameter ":${name}" of the route "${pattern}" is already one of an outer path`)
    }
    this.#permission(`the permission of the route "${pattern}"`, route.permission, ["connection", "action", "object"])
    this.#level(
      pattern,
      [...params, ...paramsOf(route)],
      route.members,
      [...guards, ...guardsOf(route.permission)],
      [...permissions, route.permission],
      [...names, ...own]
    )
  }

  #action(route: string, action: Action.Any, permissions: ReadonlyArray<Permission.Any>): Endpoint | undefined {
    const place = where(route, action.name)
    if (action.name.startsWith("$")) {
      this.problems.push(`${place} has one of the protocol's own names, which begin with "$": give it another name`)
    }
    this.#limits(place, action)
    if (!Number.isInteger(action.status) || action.status < 200 || action.status > 299) {
      this.problems.push(`the status of ${place} is ${action.status}: a success has one from 200 to 299`)
    }
    this.#permission(`the permission of ${place}`, action.permission, ["connection", "action", "object"])
    if (action.object === undefined) {
      for (const check of [...permissions, action.permission].flatMap(Permission.checks)) {
        if (check.phase !== "object" || isFree(action)) continue
        const resource = resourceOf(action)
        const advice = resource === undefined
          ? "add Action.object, or guard it otherwise"
          : `say which actions it guards, Resource.permit(${guardable(resource)}, permission)`
        this.problems.push(`the permission "${check.name}" looks at an object, but ${place} has none: ${advice}`)
      }
    }
    const fields = "fields" in action.fields ? Object.keys(action.fields.fields as object) : []
    for (const name of fields.filter((name) => Envelope.reservedKeys.has(name))) {
      this.problems.push(`the field "${name}" of ${place} is one of the protocol's own keys: give it another name`)
    }
    if (action.idempotent === "key") this.#keyed(place, action, fields)
    const key = keyOf(route, action.name)
    const found = this.#handlers.get(key)
    this.#handlers.delete(key)
    if (found === undefined) {
      this.#missing(place, action)
      return undefined
    }
    const handle = found instanceof Late ? this.#late(found, route, action) : found
    if (handle === undefined) return undefined
    if ((typeof handle === "function") !== (action.object === undefined)) {
      this.problems.push(
        action.object === undefined
          ? `${place} is about no object: its handler is a function`
          : `${place} is about an object: its handler is { object, run }`
      )
    }
    if (action.stream) this.#stream(place, action, handle)
    return {
      name: action.name,
      json: JSON.stringify(action.name),
      guards: guardsOf(action.permission),
      status: action.status,
      decodePayload: isOptional(action.payload) ? optionalDecoder(action.payload) : decoder(action.payload),
      payloadPath: isOptional(action.payload) ? [] : ["data"],
      decodeFields: decoder(action.fields),
      encodeSuccess: isVoid(action.success) ? undefined : encoder(action.success),
      errors: action.errors.flatMap((error) => declared(error)),
      load: typeof handle === "function" ? undefined : handle.object,
      transaction: typeof handle === "function" ? undefined : handle.transaction,
      run: typeof handle === "function" ? handle : handle.run,
      isStream: action.stream,
      isKeyed: action.idempotent === "key",
      repeats: typeof handle === "function" && (handle as Run).repeats === true,
      isFree: isFree(action),
      timeout: millis(action.timeout ?? this.#consumer.timeout),
      concurrency: action.concurrency === undefined ? undefined : limitOf(action.concurrency),
      tally: this.#observer.tally(action.name),
      reply: action.mode._tag === "Reply" || (action.mode._tag === "Broadcast" && action.mode.reply),
      broadcast: this.#broadcast(place, action.mode)
    }
  }

  #missing(place: string, action: Action.Any): void {
    const resource = resourceOf(action)
    if (resource === undefined) {
      this.problems.push(`${place} has no handler: add it with Handlers.handle`)
      return
    }
    const actions = this.#unhandled.get(resource.name) ?? []
    if (!actions.includes(action.name)) actions.push(action.name)
    this.#unhandled.set(resource.name, actions)
  }

  /** What is done once for each key: whose key it is must be clear, and where it stands. */
  #keyed(place: string, action: Action.Any, fields: ReadonlyArray<string>): void {
    if (action.stream) {
      this.problems.push(
        `${place} is answered with a stream, which is not done once for each key: let idempotent be true, or leave it out`
      )
    }
    if (fields.includes(Envelope.idempotencyKey)) {
      this.problems.push(
        `the field "${Envelope.idempotencyKey}" of ${place} is the protocol's own, as it is done once for each key: give the field another name`
      )
    }
    for (const { identity, keyOf } of Authentication.authenticators(this.#context)) {
      if (keyOf !== undefined) continue
      this.problems.push(
        `${place} is done once for each key, but the identity service "${identity.key}" does not tell two users apart, who could use the same one: give it a key`
      )
    }
  }

  #stream(place: string, action: Action.Any, handle: Handle): void {
    if (action.mode._tag !== "Reply") {
      this.problems.push(
        `${place} is answered with a stream: it cannot be ${action.mode._tag === "Silent" ? "silent" : "broadcast"}`
      )
    }
    if (action.status === itemStatus) {
      this.problems.push(`the status of ${place} is ${itemStatus}, as that of each of its items: the end needs another`)
    }
    if (typeof handle !== "function" && handle.transaction !== undefined) {
      this.problems.push(`${place} is answered with a stream, which lasts too long for a transaction`)
    }
  }

  #late({ make }: Late, route: string, action: Action.Any): Handle | undefined {
    const made = make({
      consumer: this.#consumer,
      permission: this.#guard,
      route,
      action,
      settings: this.#settings,
      context: this.#context,
      start: (effect) => this.starts.push(effect)
    })
    if (!Array.isArray(made)) return made as Handle
    for (const problem of made as ReadonlyArray<string | Common>) {
      if (typeof problem === "string") this.problems.push(`${where(route, action.name)}: ${problem}`)
      else if (!this.problems.includes(problem.common)) this.problems.push(problem.common)
    }
    return undefined
  }

  #path(what: string, self: Consumer_.Any | Route_.Any): void {
    const problem = Path.problem(self.path)
    if (problem !== undefined) this.problems.push(`${what} is no pattern: ${problem}`)
    const names = Path.paramNames(self.path)
    for (const name of Object.keys(self.params).filter((name) => !names.includes(name))) {
      this.problems.push(`${what} declares the parameter "${name}", but has no ":${name}"`)
    }
  }

  #limits(what: string, self: Consumer_.Any | Action.Any): void {
    const { concurrency, timeout } = self
    if (
      concurrency !== undefined && concurrency !== "unbounded" && !(Number.isInteger(concurrency) && concurrency > 0)
    ) {
      this.problems.push(`the concurrency of ${what} is ${concurrency}: give a whole number from 1, or "unbounded"`)
    }
    if (timeout !== undefined && !(millis(timeout) > 0)) {
      this.problems.push(`the timeout of ${what} is ${JSON.stringify(timeout)}: give a duration longer than nothing`)
    }
  }

  #permission(what: string, permission: Permission.Any, phases: ReadonlyArray<string>): void {
    this.problems.push(...channels.undecidable(what, permission, phases))
  }

  #ambiguous(): void {
    const patterns = this.routes.map((route) => ({ pattern: route.pattern, segments: route.pattern.split("/") }))
    patterns.forEach((a, i) => {
      for (let j = i + 1; j < patterns.length; j++) {
        const b = patterns[j]!
        if (!Path.isAmbiguous(a.segments, b.segments)) continue
        const advice = a.pattern === b.pattern ? this.#joined.get(a.pattern) : undefined
        this.problems.push(
          `the routes "${a.pattern}" and "${b.pattern}" can match the same string${
            advice === undefined ? "" : `: put both into one route, ${advice}`
          }`
        )
      }
    })
  }
}

/** The actions of a resource that an object permission can guard, as a program says them. */
const guardable = ({ actions }: Resource.Any): string => {
  const guarded = ["retrieve", "update", "partial_update", "destroy"].filter((name) =>
    (actions as ReadonlyArray<string>).includes(name)
  )
  return guarded.length === 0 ? "[...]" : `[${list(guarded)}]`
}

/** A route with the actions of a resource that are about all objects, or one, and with others. */
const joined = ({ name }: Resource.Any, action: Action.Any): string =>
  action.object === undefined
    ? `Route.make(...).pipe(Route.add(...Resource.collection(${name}), own))`
    : `Route.make(..., Resource.params(${name})).pipe(Route.add(...Resource.object(${name}), own))`

const keyOf = (route: string, name: string): string => JSON.stringify([route, name])

/** A place, as problems name it. */
export const where = (route: string, name?: string): string => {
  const place = route === "" ? "the consumer" : `the route "${route}"`
  return name === undefined ? place : `the action "${name}" of ${place}`
}

const guardsOf = (permission: Permission.Any): ReadonlyArray<Permission.Tree> =>
  permission === Permission.allow ? [] : [permission.tree]

/** What ends only what the client itself has begun, wherever that is. */
const isFree = (action: Action.Any): boolean => (action as { readonly isFree?: boolean }).isFree === true

const limitOf = (concurrency: Action.Concurrency): number => concurrency === "unbounded" ? Infinity : concurrency

const millis = (timeout: Duration.Input | undefined): number =>
  timeout === undefined ? Infinity : channels.millis(timeout)

const paramsOf = (self: Consumer_.Any | Route_.Any): ReadonlyArray<Param> =>
  Path.paramNames(self.path).map((name) => {
    const schema = Object.hasOwn(self.params, name) ? self.params[name] : undefined
    return {
      name,
      decode: schema === undefined || (schema as unknown) === Schema.String
        ? Exit.succeed
        : Schema.decodeUnknownExit(schema)
    }
  })

const isVoid = (schema: Schema.Constraint): boolean => schema === Schema.Void

const decoder = (schema: Schema.Constraint): Decode | undefined =>
  isVoid(schema) ? undefined : Schema.decodeUnknownEffect(Schema.toCodecJson(schema))

/** Decodes the `data` that may be left out as the optional key it is: it stays out, or gets its default. */
const optionalDecoder = (schema: Schema.Constraint): Decode => {
  const decode = Schema.decodeUnknownEffect(Schema.toCodecJson(Schema.Struct({ data: schema })))
  return (data, options) =>
    Effect.mapEager(decode(data === undefined ? {} : { data }, options), (body) => (body as { data: unknown }).data)
}

/** A declared error, or each member of a union of them: it has its own status, or that of the union. */
const declared = (schema: Schema.Constraint, outer = 500): ReadonlyArray<DeclaredError> => {
  const status = statusOf(schema) ?? outer
  return "members" in schema && Array.isArray(schema.members)
    ? schema.members.flatMap((member) => declared(member, status))
    : [{ is: Schema.is(schema), encode: encoder(schema), status }]
}

/** The `httpApiStatus` annotation of an error's schema. */
export const statusOf = (schema: Schema.Constraint): number | undefined => {
  const status = schema.ast.annotations?.["httpApiStatus"]
  return typeof status === "number" ? status : undefined
}
