/**
 * The groups and events of a consumer, ready to be joined and sent.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Address, Envelope, Present } from "../ChannelLayer.ts"
import type * as Consumer_ from "../Consumer.ts"
import type * as Event_ from "../Event.ts"
import type * as Group_ from "../Group.ts"
import * as Permission from "../Permission.ts"
import type { Delivery } from "./audience.ts"
import { type Encode, encoder } from "./encoding.ts"
import type { Deliveries, Observer } from "./observe.ts"

/** A group, ready to be joined. */
export interface Group {
  readonly group: Group_.Any
  /** What a connection is decided by that is to be in it; none where everybody may. */
  readonly permission: Permission.Tree | undefined
  /** What it joins to begin with. */
  readonly joins: ReadonlyArray<Consumer_.Membership>
}

/** An event, ready to be sent. */
export interface Event {
  readonly type: string
  /** Who may receive it; none where everybody may. */
  readonly permission: Permission.Tree | undefined
  /** The event as its checks see it, out of its JSON. */
  readonly decode: (json: string) => Effect.Effect<unknown, unknown, unknown>
  readonly whenSlow: Event_.WhenSlow<never>
  /** Whether it is the protocol's own. */
  readonly isOwn: boolean
  readonly deliveries: Deliveries
  /** The one that is being delivered: recipients come one after the other. */
  current: Delivery | undefined
}

/** The groups of a consumer by name. */
export const groupsOf = (consumer: Consumer_.Any): ReadonlyMap<string, Group> => {
  const groups = new Map<string, Group>()
  for (const { group } of consumer.groups) {
    if (groups.has(group.name)) continue
    groups.set(group.name, {
      group,
      permission: treeOf(group.permission),
      joins: consumer.groups.filter((one) => one.group.name === group.name && one.join !== undefined)
    })
  }
  return groups
}

/** The events of a consumer by type, and those of the protocol itself: about the groups that a connection is in. */
export const eventsOf = (consumer: Consumer_.Any, observer: Observer): ReadonlyMap<string, Event> =>
  new Map([
    ...(consumer.groups.length === 0 ? [] : ["$joined", "$caught_up", "$left", "$presence"]).map((type): Event => ({
      type,
      permission: undefined,
      decode: (json) => Effect.sync(() => JSON.parse(json)),
      whenSlow: "disconnect",
      isOwn: true,
      deliveries: observer.deliveries(type),
      current: undefined
    })),
    ...consumer.events.map((event): Event => ({
      type: event.type,
      permission: treeOf(event.permission),
      decode: decoder(event.data),
      whenSlow: event.whenSlow,
      isOwn: false,
      deliveries: observer.deliveries(event.type),
      current: undefined
    }))
  ].map((event) => [event.type, event]))

const treeOf = (permission: Permission.Any): Permission.Tree | undefined =>
  permission === Permission.allow ? undefined : permission.tree

/** Decodes JSON by the JSON form of a schema. */
export const decoder = (schema: Schema.Constraint): Event["decode"] => {
  const decode = Schema.decodeUnknownEffect(Schema.toCodecJson(schema))
  return (json) => Effect.suspend(() => decode(JSON.parse(json)))
}

const codecs = new WeakMap<Schema.Constraint, Encode>()

/** Encodes by the JSON form of a schema, which is made once. */
export const encode = (schema: Schema.Constraint, value: unknown): Effect.Effect<string, unknown, unknown> => {
  let codec = codecs.get(schema)
  if (codec === undefined) codecs.set(schema, codec = encoder(schema))
  return Effect.mapEager(codec(value), (encoded) => JSON.stringify(encoded) ?? "null")
}

/** The members of a group as JSON. */
export const presentJson = (present: ReadonlyArray<Present>): string =>
  `[${present.map(({ data, id }) => `{"id":${JSON.stringify(id)},"data":${data}}`).join(",")}]`

/** An event as it travels. */
export const envelopeOf = (
  event: Event_.Any,
  data: unknown,
  options: { readonly status?: number | undefined; readonly except?: string | undefined } = {}
): Effect.Effect<Envelope, unknown, unknown> =>
  Effect.mapEager(encode(event.data, data), (json) => ({
    type: event.type,
    data: json,
    status: options.status ?? 200,
    ...(options.except === undefined ? {} : { except: options.except })
  }))

/** The group of a consumer with these parameters. */
export const addressOf = (
  consumer: string,
  group: Group_.Any,
  params: unknown
): Effect.Effect<Address, unknown, unknown> =>
  Effect.mapEager(encode(group.params, params), (json) => {
    const text = canonical(JSON.parse(json))
    const label = `"group":${JSON.stringify(group.name)},"params":${text}`
    return {
      params: text,
      // The name of a shared group stands alone: no consumer is called null.
      key: `{"consumer":${group.isShared ? "null" : JSON.stringify(consumer)},${label}}`,
      label,
      history: boundsOf(group),
      presence: group.presence !== undefined
    }
  })

/** The JSON of a value, with the keys of its objects in one order: equal values have the same. */
export const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const entries = Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1)
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${canonical(value)}`).join(",")}}`
}

const boundsOf = ({ history }: Group_.Any): Address["history"] =>
  history === undefined ? undefined : { count: history.count, age: millis(history.age) }

/** Milliseconds; `NaN` for what is no duration. */
export const millis = (duration: Duration.Input): number =>
  Option.match(Duration.fromInput(duration), { onNone: () => NaN, onSome: Duration.toMillis })

/** Where an event for a group goes: past its history, where it does not become part of it. */
export const addressFor = (event: Event_.Any, address: Address): Address =>
  event.isKept ? address : { ...address, history: undefined }

/** What is wrong with the groups and events of a consumer. */
export const problemsOf = (consumer: Consumer_.Any): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const groups = new Map<string, Group_.Any>()
  for (const { group, join, presence } of consumer.groups) {
    const what = `the group "${group.name}"`
    const known = groups.get(group.name)
    if (known !== undefined && known !== group) {
      problems.push(`${what} is declared twice, and differently: two groups need two names`)
    }
    if (known === undefined) problems.push(...problemsOfGroup(what, group))
    if (join !== undefined && (presence === undefined) !== (group.presence === undefined)) {
      problems.push(
        group.presence === undefined
          ? `${what} has no presence, but Consumer.join says what members are told: add Group.presence`
          : `${what} has presence: say with the option presence of Consumer.join what members are told`
      )
    }
    groups.set(group.name, group)
  }
  const types = new Set<string>()
  for (const event of consumer.events) {
    const what = `the event "${event.type}"`
    if (types.has(event.type)) problems.push(`${what} is declared twice: two events need two types`)
    types.add(event.type)
    if (event.type.startsWith("$")) {
      problems.push(`${what} has one of the protocol's own types, which begin with "$": give it another one`)
    }
    problems.push(...undecidable(what, event.permission, ["connection", "delivery"]))
  }
  return problems
}

const problemsOfGroup = (what: string, group: Group_.Any): ReadonlyArray<string> => {
  const problems = [...undecidable(what, group.permission, ["connection", "group", "delivery"])]
  if (group.name.startsWith("$") || group.name.includes(":")) {
    problems.push(
      `${what} has a name that begins with "$" or has a ":", which are the protocol's own: give it another one`
    )
  }
  const bounds = boundsOf(group)
  if (bounds === undefined) return problems
  if (!(Number.isInteger(bounds.count) && bounds.count > 0)) {
    problems.push(`${what} keeps ${bounds.count} events: give its history a whole number from 1`)
  }
  if (!(bounds.age > 0 && bounds.age < Infinity)) {
    problems.push(`${what} keeps its events for ${group.history!.age}: give its history a finite duration`)
  }
  return problems
}

/** The checks of a permission that none of the phases decides where it is attached, in words. */
export const undecidable = (
  what: string,
  permission: Permission.Any,
  phases: ReadonlyArray<string>
): ReadonlyArray<string> =>
  Permission.checks(permission)
    .filter(({ phase }) => !phases.includes(phase))
    .map(({ name, phase }) => `the check "${name}" of ${what} can only be decided in the ${phase} phase`)
