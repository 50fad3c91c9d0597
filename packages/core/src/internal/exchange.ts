/**
 * One request and its reply. The stages stand in the order in which a request can be refused (design of the protocol):
 * envelope 400, consumer permission 403, route 404, route permission 403, action 405, action permission 403, payload 400,
 * object 404, object permission 403. Who may not ask learns nothing of what is there.
 *
 * A stage is an effect only where something in it is: a request whose checks, schemas and handler answer at once never
 * starts a fiber.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as SchemaIssue from "effect/SchemaIssue"
import * as ChannelError from "../ChannelError.ts"
import * as Decision from "../Decision.ts"
import type { Request } from "../Handlers.ts"
import type * as Permission from "../Permission.ts"
import * as Query from "../Query.ts"
import * as Reply from "../Reply.ts"
import type * as compile from "./compile.ts"
import * as Envelope from "./envelope.ts"
import { failureOf } from "./failure.ts"

/** A value, or an effect of one, to be run once. */
export type Eager<A> = A | Effect.Effect<A, never, unknown>

export const andThen = <A, B>(self: Eager<A>, f: (a: A) => Eager<B>): Eager<B> =>
  Effect.isEffect(self)
    ? Effect.flatMap(self, (a) => {
      const b = f(a)
      return Effect.isEffect(b) ? b : Effect.succeed(b)
    })
    : f(self)

/** What an exchange needs of its connection. */
export interface Context {
  readonly consumer: compile.Consumer
  /** The decoded parameters of the consumer's path. */
  readonly params: Readonly<Record<string, unknown>>
  /** Decides a permission, with what is known of the connection. */
  readonly decide: (tree: Permission.Tree, facts: Permission.Facts) => Eager<Decision.Decision<Permission.Tree>>
  /** Writes the reply of a failure, and logs what broke. */
  readonly refuse: (echo: Envelope.Echo, failure: Reply.Failure) => string
}

/** One request and its reply. */
export class Exchange {
  readonly envelope: Envelope.Envelope | Envelope.Unreadable
  /** The action of the request, `undefined` where there is none. */
  readonly endpoint: compile.Endpoint | undefined
  readonly #context: Context
  readonly #request: MessageRequest
  readonly #route: compile.Route | undefined
  readonly #params: Readonly<Record<string, unknown>> | undefined
  /** What the permissions so far leave to the object. */
  #residuals: Array<Permission.Tree> | undefined

  constructor(context: Context, frame: string | Uint8Array) {
    this.#context = context
    this.envelope = Envelope.read(frame)
    this.#request = new MessageRequest(this.envelope, context.params)
    const match = "body" in this.envelope ? context.consumer.routes.find(this.#request.route) : undefined
    if (match === undefined) return
    this.#params = decodeParams(match.value.params, match.params, context.params)
    if (this.#params === undefined) return
    this.#route = match.value
    this.endpoint = match.value.actions.get(this.#request.action)
  }

  /** Goes through the stages, and answers with the reply. To be called once. */
  reply(): Eager<string> {
    if ("problem" in this.envelope) return this.#refuse(this.envelope.problem)
    return this.#permitted(this.#context.consumer.guards, () => this.#atRoute())
  }

  #atRoute(): Eager<string> {
    if (this.#route === undefined) {
      return this.#refuse(new ChannelError.RouteNotFound({ message: `There is no route "${this.#request.route}"` }))
    }
    this.#request.params = this.#params!
    return this.#permitted(this.#route.guards, () => this.#atAction())
  }

  #atAction(): Eager<string> {
    const { endpoint } = this
    if (endpoint === undefined) {
      return this.#refuse(
        new ChannelError.ActionNotFound({ message: `There is no action "${this.#request.action}" here` })
      )
    }
    return this.#permitted(endpoint.guards, () => this.#atPayload(endpoint))
  }

  #atPayload(endpoint: compile.Endpoint): Eager<string> {
    const { body } = this.envelope as Envelope.Envelope
    return this.#decoded(endpoint.decodePayload, body["data"], ["data"], (payload) => {
      this.#request.payload = payload
      const fields = endpoint.decodeFields === undefined ? undefined : Envelope.fields(body)
      return this.#decoded(endpoint.decodeFields, fields, [], (fields) => {
        this.#request.fields = fields
        return endpoint.load === undefined ? this.#atHandler(endpoint) : this.#atObject(endpoint, endpoint.load)
      })
    })
  }

  #atObject(endpoint: compile.Endpoint, load: compile.Run): Eager<string> {
    return settled(load, this.#request, (exit) => {
      if (exit._tag === "Failure") return this.#failed(exit.cause, endpoint)
      this.#request.object = exit.value
      this.#request.phase = "object"
      const residuals = this.#residuals ?? []
      this.#residuals = undefined
      return this.#permitted(residuals, () => this.#atHandler(endpoint))
    })
  }

  #atHandler(endpoint: compile.Endpoint): Eager<string> {
    // Nothing is left that could still decide them.
    if (this.#residuals !== undefined) return this.#denied(Decision.undecided)
    return settled(endpoint.run, this.#request, (exit) => {
      if (exit._tag === "Failure") return this.#failed(exit.cause, endpoint)
      if (endpoint.encodeSuccess === undefined) return this.#succeed(endpoint, null)
      return settled(
        endpoint.encodeSuccess,
        exit.value,
        (encoded) => encoded._tag === "Success" ? this.#succeed(endpoint, encoded.value) : this.#failed(encoded.cause)
      )
    })
  }

  #succeed(endpoint: compile.Endpoint, data: unknown): Eager<string> {
    let json: string | undefined
    try {
      json = JSON.stringify(data)
    } catch (defect) {
      return this.#failed(Cause.die(defect))
    }
    return Envelope.write(this.envelope, endpoint.status, "[]", json ?? "null")
  }

  /** Goes on when all of these permissions allow; what is pending waits for the object. */
  #permitted(guards: ReadonlyArray<Permission.Tree>, next: () => Eager<string>, from = 0): Eager<string> {
    for (let i = from; i < guards.length; i++) {
      const decision = this.#context.decide(guards[i]!, this.#request as Permission.Facts)
      if (Effect.isEffect(decision)) {
        return andThen(
          decision,
          (decision) => this.#isOpen(decision) ? this.#permitted(guards, next, i + 1) : this.#denied(decision)
        )
      }
      if (!this.#isOpen(decision)) return this.#denied(decision)
    }
    return next()
  }

  #isOpen(
    decision: Decision.Decision<Permission.Tree>
  ): decision is Decision.Allow | Decision.Pending<Permission.Tree> {
    if (decision._tag === "Pending") (this.#residuals ??= []).push(decision.residual)
    return decision._tag === "Allow" || decision._tag === "Pending"
  }

  #denied(decision: Decision.Deny | Decision.Failed): Eager<string> {
    return decision._tag === "Failed" ? this.#failed(decision.cause) : this.#refuse(deniedBy(decision.denial))
  }

  #decoded(
    decode: compile.Decode | undefined,
    input: unknown,
    path: ReadonlyArray<string>,
    next: (value: unknown) => Eager<string>
  ): Eager<string> {
    if (decode === undefined) return next(undefined)
    return settled(decode, input, (exit) => {
      if (exit._tag === "Success") return next(exit.value)
      const problems = problemsOf(exit.cause, path)
      return problems === undefined
        ? this.#failed(exit.cause)
        : this.#refuse(new ChannelError.InvalidPayload({ problems }))
    })
  }

  #refuse(error: ChannelError.ChannelError): string {
    return this.#context.refuse(this.envelope, Reply.refused(error))
  }

  #failed(cause: Cause.Cause<unknown>, endpoint?: compile.Endpoint): Eager<string> {
    return andThen(failureOf(cause, endpoint?.errors), (failure) => this.#context.refuse(this.envelope, failure))
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
  readonly #search: string

  constructor(echo: Envelope.Echo, params: Readonly<Record<string, unknown>>) {
    const search = echo.route.indexOf("?")
    this.action = echo.action ?? ""
    this.route = search < 0 ? echo.route : echo.route.slice(0, search)
    this.requestId = echo.requestId
    this.params = params
    this.#search = search < 0 ? "" : echo.route.slice(search)
  }

  get query(): Query.Query {
    return Query.parse(this.#search)
  }
}

/** The values of parameters, besides those of an outer path; `undefined` when a schema refuses one. */
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
    // No route means NaN, which is what `Schema.NumberFromString` makes of "abc".
    if (exit._tag === "Failure" || Number.isNaN(exit.value)) return undefined
    values[name] = exit.value
  }
  return values
}

/** Who denied, in the words that a client may read. */
export const deniedBy = (denial: Decision.Denial): ChannelError.PermissionDenied =>
  new ChannelError.PermissionDenied({
    message: (denial.private ? undefined : denial.reason) ?? "You do not have permission to perform this action",
    code: (denial.private ? undefined : denial.code) ?? "permission_denied"
  })

/** Calls a function of the application and goes on with its exit, at once where it has one. What it throws is a defect. */
const settled = <A, B, C>(
  f: (a: A) => Effect.Effect<B, unknown, unknown>,
  a: A,
  next: (exit: Exit.Exit<B, unknown>) => Eager<C>
): Eager<C> => {
  let effect: Effect.Effect<B, unknown, unknown>
  try {
    effect = f(a)
  } catch (defect) {
    effect = Exit.die(defect)
  }
  return Exit.isExit(effect) ? next(effect as Exit.Exit<B, unknown>) : andThen(Effect.exit(effect), next)
}

/** So many problems of one payload are told; a hostile one may have as many as it has bytes. */
const maxProblems = 32

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** What is wrong with a payload, or `undefined` when it was not the payload's fault. */
const problemsOf = (
  cause: Cause.Cause<unknown>,
  prefix: ReadonlyArray<string>
): ReadonlyArray<ChannelError.PayloadProblem> | undefined => {
  const reason = cause.reasons[0]
  if (reason === undefined || reason._tag === "Interrupt") return undefined
  if (reason._tag === "Die") {
    // A recursive schema walks as deep as its input: it runs out of stack before the JSON parser does.
    return reason.defect instanceof RangeError ? [{ detail: "Nested too deeply", path: prefix }] : undefined
  }
  const issue = (reason.error as { readonly issue?: SchemaIssue.Issue }).issue
  if (issue === undefined) return undefined
  return formatIssues(issue).issues.slice(0, maxProblems).map(({ message, path }) => ({
    detail: message,
    path: [...prefix, ...(path ?? []).map(segmentOf)]
  }))
}

const segmentOf = (segment: PropertyKey | { readonly key: PropertyKey }): string | number => {
  const key = typeof segment === "object" ? segment.key : segment
  return typeof key === "symbol" ? String(key) : key
}
