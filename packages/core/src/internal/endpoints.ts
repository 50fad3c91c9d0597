/**
 * The actions of a consumer at their places, as a client asks for them.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Action from "../Action.ts"
import type * as Consumer from "../Consumer.ts"
import type * as Event from "../Event.ts"
import type * as Resource from "../Resource.ts"
import type * as Route from "../Route.ts"

/** An action at its place. */
export interface Endpoint {
  /** The full pattern of its route, `""` for the consumer itself. */
  readonly route: string
  readonly params: Readonly<Record<string, Route.ParamSchema>>
  readonly action: Action.Any
}

/** What a request consists of, besides route and action. */
export interface Parts {
  readonly payload?: unknown
  readonly fields?: unknown
  readonly params?: Readonly<Record<string, unknown>>
  readonly query?: string | undefined
}

/** All actions of a consumer, those of its routes after its own. */
export const all = (consumer: Consumer.Any): ReadonlyArray<Endpoint> => below("", {}, consumer.members)

const below = (
  route: string,
  params: Readonly<Record<string, Route.ParamSchema>>,
  members: ReadonlyArray<Route.Member>
): ReadonlyArray<Endpoint> => [
  ...members.flatMap((member) => "path" in member ? [] : [{ route, params, action: member }]),
  ...members.flatMap((member) =>
    "path" in member ? below(route + member.path, { ...params, ...member.params }, member.members) : []
  )
]

/** The resource that an action is of. */
export const resourceOf = (action: Action.Any): Resource.Any | undefined =>
  (action as { readonly resource?: Resource.Any }).resource

/** A pattern with values for its parameters. */
export const path = (
  pattern: string,
  schemas: Readonly<Record<string, Route.ParamSchema>>,
  values: unknown
): Effect.Effect<string> =>
  Effect.gen(function*() {
    const segments = pattern.split("/")
    for (const [i, segment] of segments.entries()) {
      if (!segment.startsWith(":")) continue
      const name = segment.slice(1)
      const value = (values as Readonly<Record<string, unknown>>)[name]
      const schema: Route.ParamSchema = Object.hasOwn(schemas, name) ? schemas[name]! : Schema.String
      segments[i] = escape(String(yield* encoded(schema, value)))
    }
    return segments.join("/")
  })

/** Percent-encodes what stands for itself in a URL. Half a surrogate pair is no character: as in every URL it becomes U+FFFD. */
export const escape = (text: string): string => encodeURIComponent(text.replace(/\p{Surrogate}/gu, "\uFFFD"))

/** What does not fit its schema is a mistake of the program. */
export const fitting = (effect: Effect.Effect<unknown, unknown, unknown>): Effect.Effect<unknown> =>
  Effect.catchCause(effect, (cause) => Effect.die(Cause.squash(cause))) as Effect.Effect<unknown>

const encoded = (schema: Schema.Constraint, value: unknown): Effect.Effect<unknown> =>
  fitting(Schema.encodeUnknownEffect(schema)(value))

/** A request as it stands on the wire. */
export const encode = ({ action, params, route }: Endpoint, parts: Parts) =>
  Effect.gen(function*() {
    const where = yield* path(route, params, parts.params ?? {})
    const data = yield* encodeValue(action.payload, parts.payload)
    const fields = yield* encodeValue(action.fields, parts.fields)
    return {
      ...fields as object,
      action: action.name,
      route: parts.query === undefined ? where : `${where}?${parts.query}`,
      ...(data === undefined ? {} : { data })
    }
  })

const encodeValue = (schema: Schema.Constraint, value: unknown): Effect.Effect<unknown> =>
  value === undefined ? Effect.undefined : encoded(Schema.toCodecJson(schema), value)

/** The data of an event out of what stands on the wire. */
export const decodeEvent = (event: Event.Any, data: unknown): Effect.Effect<unknown> =>
  fitting(Schema.decodeUnknownEffect(Schema.toCodecJson(event.data))(data))

/** The success of an action out of the `data` of its reply. */
export const decodeSuccess = ({ action }: Endpoint, data: unknown): Effect.Effect<unknown> =>
  action.success === Schema.Void
    ? Effect.undefined
    : fitting(Schema.decodeUnknownEffect(Schema.toCodecJson(action.success))(data))
