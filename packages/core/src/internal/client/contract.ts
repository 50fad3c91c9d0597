/**
 * What a client knows of its consumer: its actions, events and groups, with their schemas as parts of frames.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as SchemaParser from "effect/SchemaParser"
import type * as Action from "../../Action.ts"
import * as ChannelError from "../../ChannelError.ts"
import type * as Codec from "../../Codec.ts"
import type * as Consumer from "../../Consumer.ts"
import { isOptional } from "../encoding.ts"
import * as Endpoints from "../endpoints.ts"
import { problemsOf } from "../problems.ts"

type Coding = (value: unknown) => Effect.Effect<unknown, unknown, unknown>

/** An action at its place. */
export interface Endpoint {
  readonly place: Endpoints.Endpoint
  readonly name: string
  readonly isStream: boolean
  /** Whether a success is answered. */
  readonly isAnswered: boolean
  readonly repeats: Repeats
  readonly payload: Input | undefined
  readonly fields: Input | undefined
  /** The first of the declared errors that JSON is the form of. */
  readonly decodeError: Coding | undefined
  readonly coding: (codec: Codec.Codec) => EndpointCoding
}

/** Whether a call may be sent again: as it is, or with a key by which the server does it once. */
export type Repeats = "no" | "asIs" | "byKey"

/** What a call is given, before it is encoded. */
interface Input {
  /** Whether it may be left out. */
  readonly isOptional: boolean
  /** Gives a value its defaults. */
  readonly make: Coding
}

/** The schemas of an action by one codec. */
interface EndpointCoding {
  readonly payload: Coding | undefined
  readonly fields: Coding | undefined
  readonly success: Coding | undefined
}

/** The route, payload and fields of a call, as parts of a frame. */
export interface Parts {
  readonly route: string
  readonly data: unknown
  readonly fields: unknown
}

/** What a call is made with. */
export interface Arguments {
  readonly path: () => Effect.Effect<string>
  readonly query: string | Readonly<Record<string, string>> | undefined
  readonly payload: unknown
  readonly fields: unknown
}

const isVoid = (schema: Schema.Constraint): boolean => schema === Schema.Void

/** Once for a codec, which is the same one mostly. */
const byCodec = <A>(make: (codec: Codec.Codec) => A): (codec: Codec.Codec) => A => {
  let last: { readonly codec: Codec.Codec; readonly made: A } | undefined
  return (codec) => (last?.codec === codec ? last : last = { codec, made: make(codec) }).made
}

/** Whether it has succeeded already: nothing is to be done about it. */
export const isThere = (effect: Effect.Effect<unknown, unknown, unknown>): effect is Exit.Success<unknown, never> =>
  Exit.isExit(effect) && effect._tag === "Success"

const encoder = (codec: Codec.Codec, schema: Schema.Constraint): Coding =>
  Schema.encodeUnknownEffect(codec.part(schema))

const decoder = (codec: Codec.Codec, schema: Schema.Constraint): Coding =>
  Schema.decodeUnknownEffect(codec.part(schema))

const input = (schema: Schema.Constraint): Input | undefined => {
  if (isVoid(schema)) return undefined
  const make = SchemaParser.makeEffect(schema)
  // What has nothing to say may be left out altogether.
  const nothing = "fields" in schema ? {} : undefined
  return {
    isOptional: isOptional(schema),
    // Without checks: encoding makes them.
    make: (value = nothing) => Effect.mapError(make(value, { disableChecks: true }), (issue) => ({ issue }))
  }
}

/** The actions of a consumer by their places: the pattern of their route, and their name. */
export const endpoints = (consumer: Consumer.Any): ReadonlyMap<string, ReadonlyMap<string, Endpoint>> => {
  const routes = new Map<string, Map<string, Endpoint>>([["", new Map()]])
  for (const place of Endpoints.all(consumer)) {
    let actions = routes.get(place.route)
    if (actions === undefined) routes.set(place.route, actions = new Map())
    actions.set(place.action.name, endpoint(place))
  }
  return routes
}

const endpoint = (place: Endpoints.Endpoint): Endpoint => {
  const { action } = place
  const { errors, fields, payload, success } = action
  return {
    place,
    name: action.name,
    isStream: action.stream,
    isAnswered: action.mode._tag === "Reply" || (action.mode._tag === "Broadcast" && action.mode.reply),
    repeats: repeatsOf(action),
    payload: input(payload),
    fields: input(fields),
    // They are JSON whatever the codec is.
    decodeError: errors.length === 0
      ? undefined
      : Schema.decodeUnknownEffect(Schema.toCodecJson(errors.length === 1 ? errors[0]! : Schema.Union(errors))),
    coding: byCodec((codec) => ({
      payload: isVoid(payload) ? undefined : encoder(codec, payload),
      fields: isVoid(fields) ? undefined : encoder(codec, fields),
      success: isVoid(success) ? undefined : decoder(codec, success)
    }))
  }
}

const repeatsOf = ({ idempotent }: Action.Any): Repeats => idempotent === "key" ? "byKey" : idempotent ? "asIs" : "no"

/** The parts of a call. Fails where they do not fit their schemas: such a call is not sent. */
export const encode = (
  endpoint: Endpoint,
  codec: Codec.Codec,
  args: Arguments
): Effect.Effect<Parts, ChannelError.InvalidPayload, unknown> => {
  const { fields, payload } = endpoint.coding(codec)
  return Effect.flatMapEager(
    part(endpoint.payload, payload, args.payload, ["data"]),
    (data) =>
      Effect.flatMapEager(
        part(endpoint.fields, fields, args.fields, []),
        (fields) => Effect.mapEager(route(args), (route) => ({ route, data, fields }))
      )
  )
}

const part = (
  input: Input | undefined,
  encode: Coding | undefined,
  value: unknown,
  path: ReadonlyArray<string>
): Effect.Effect<unknown, ChannelError.InvalidPayload, unknown> => {
  if (input === undefined || encode === undefined || (value === undefined && input.isOptional)) return Effect.undefined
  const encoded = Effect.flatMapEager(input.make(value), encode)
  return isThere(encoded) ? encoded : Effect.catchCause(encoded, (cause) => {
    const problems = problemsOf(cause, path)
    return problems === undefined
      ? Effect.failCause(cause) as Effect.Effect<never>
      : Effect.fail(new ChannelError.InvalidPayload({ problems }))
  })
}

/** The path of a route with parameters, which is found out once. */
export const pathOf = (
  route: string,
  schemas: Endpoints.Endpoint["params"],
  values: Readonly<Record<string, unknown>>
): () => Effect.Effect<string> => {
  let known: Effect.Effect<string> | undefined = route === "" ? Effect.succeed("") : undefined
  return () =>
    known ?? Effect.map(Endpoints.path(route, schemas, values), (path) => {
      known = Effect.succeed(path)
      return path
    })
}

const route = ({ path, query }: Arguments): Effect.Effect<string> => {
  const text = typeof query === "object" ? queryOf(Object.entries(query)) : query
  return text === undefined || text === "" ? path() : Effect.mapEager(path(), (path) => `${path}?${text}`)
}

/** A query string. */
export const queryOf = (entries: ReadonlyArray<readonly [name: string, value: string]>): string =>
  entries.map(([name, value]) => `${Endpoints.escape(name)}=${Endpoints.escape(value)}`).join("&")

/** An event of a consumer. */
export interface Event {
  readonly type: string
  readonly decode: (codec: Codec.Codec) => Coding
}

/** The events of a consumer by their types. */
export const events = (consumer: Consumer.Any): ReadonlyMap<string, Event> =>
  new Map(consumer.events.map((event) => [
    event.type,
    { type: event.type, decode: byCodec((codec) => decoder(codec, event.data)) }
  ]))

/** A group of a consumer. What the protocol says of groups is JSON, whatever the codec is. */
export interface Group {
  readonly name: string
  /** Whether a connection joins it by itself, and it has a history. */
  readonly isReplayed: boolean
  readonly decodeParams: Coding
  readonly encodeParams: Coding
  readonly decodePresence: Coding | undefined
}

/** The groups of a consumer by their names. */
export const groups = (consumer: Consumer.Any): ReadonlyMap<string, Group> => {
  const found = new Map<string, Group>()
  for (const { group, join } of consumer.groups) {
    const isReplayed = join !== undefined && group.history !== undefined
    const known = found.get(group.name)
    if (known !== undefined && (known.isReplayed || !isReplayed)) continue
    const params = Schema.toCodecJson(group.params)
    found.set(group.name, {
      name: group.name,
      isReplayed,
      decodeParams: Schema.decodeUnknownEffect(params),
      encodeParams: Schema.encodeUnknownEffect(params),
      decodePresence: group.presence === undefined
        ? undefined
        : Schema.decodeUnknownEffect(Schema.toCodecJson(group.presence))
    })
  }
  return found
}
