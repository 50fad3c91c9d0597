/**
 * Generated permissions, scopes and messages.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as ConnectionScope from "../../ConnectionScope.ts"
import type * as Consumer from "../../Consumer.ts"
import * as Permission from "../../Permission.ts"
import * as Endpoints from "../endpoints.ts"
import * as Path from "../path.ts"

/** One of some arbitraries; shrinks to the first ones. */
export const oneOf = <A>(of: ReadonlyArray<Arbitrary.Arbitrary<A>>): Arbitrary.Arbitrary<A> =>
  Arbitrary.flatMap(
    Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: of.length - 1 }))),
    (i) => of[i]!
  )

/**
 * How the parts of an expression are put together.
 *
 * @category models
 * @since 0.1.0
 */
export interface Algebra<A> {
  readonly and: (left: A, right: A) => A
  readonly or: (left: A, right: A) => A
  readonly not: (member: A) => A
  readonly all: (members: ReadonlyArray<A>) => A
  readonly any: (members: ReadonlyArray<A>) => A
}

/**
 * Boolean expressions over some leaves, up to four operators deep: permissions, or whatever else has the shape of one.
 *
 * @category arbitraries
 * @since 0.1.0
 */
export const expressions = <A>(leaf: Arbitrary.Arbitrary<A>, algebra: Algebra<A>): Arbitrary.Arbitrary<A> => {
  const above = (inner: Arbitrary.Arbitrary<A>): Arbitrary.Arbitrary<A> => {
    const pair = Arbitrary.all({ left: inner, right: inner })
    const some = Arbitrary.array(inner, { maxLength: 3 })
    return oneOf([
      leaf,
      Arbitrary.map(inner, algebra.not),
      Arbitrary.map(pair, ({ left, right }) => algebra.and(left, right)),
      Arbitrary.map(pair, ({ left, right }) => algebra.or(left, right)),
      Arbitrary.map(some, algebra.all),
      Arbitrary.map(some, algebra.any)
    ])
  }
  return above(above(above(above(leaf))))
}

/**
 * Permissions that are put together of some given ones, up to four operators deep.
 *
 * @category arbitraries
 * @since 0.1.0
 */
export const permissions = <Facts, E, R>(
  ...leaves: ReadonlyArray<Permission.Permission<Facts, E, R>>
): Arbitrary.Arbitrary<Permission.Permission<Facts, E, R>> => {
  type P = Permission.Permission<Facts, E, R>
  const constants: ReadonlyArray<P> = [Permission.allow, Permission.deny]
  const leaf = oneOf(
    [...leaves, ...constants].map((permission): Arbitrary.Arbitrary<P> => Arbitrary.Constant(permission))
  )
  return expressions<P>(leaf, {
    and: (left, right) => Permission.and(left, right),
    or: (left, right) => Permission.or(left, right),
    not: (member) => Permission.not(member),
    all: (members) => Permission.all(members) as P,
    any: (members) => Permission.any(members) as P
  })
}

const name = Schema.String.check(Schema.isPattern(/^[a-z][a-z0-9-]{0,8}$/))

const HandshakeSchema = Schema.Struct({
  id: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(12)),
  path: Schema.Array(name).check(Schema.isMaxLength(3)),
  query: Schema.Record(name, Schema.String),
  headers: Schema.Record(name, Schema.String),
  remoteAddress: Schema.UndefinedOr(Schema.Literals(["127.0.0.1", "::1", "192.0.2.7", "2001:db8::1"]))
})

/**
 * Handshakes: any id, path, query string, headers and address.
 *
 * @category arbitraries
 * @since 0.1.0
 */
export const handshakes: Arbitrary.Arbitrary<ConnectionScope.Handshake> = Arbitrary.map(
  Arbitrary.schema(HandshakeSchema),
  ({ headers, id, path, query, remoteAddress }) => {
    const pairs = Object.entries(query).map((pair) => pair.map(Endpoints.escape).join("="))
    return { id, url: `/${path.join("/")}${pairs.length === 0 ? "" : "?"}${pairs.join("&")}`, headers, remoteAddress }
  }
)

/**
 * The scopes of any connections.
 *
 * @category arbitraries
 * @since 0.1.0
 */
export const scopes: Arbitrary.Arbitrary<ConnectionScope.ConnectionScope["Service"]> = Arbitrary.map(
  handshakes,
  (handshake) => ConnectionScope.make(handshake, {})
)

/**
 * Requests that a consumer can read, as they stand on the wire: any of its actions, with a payload, fields and params that fit
 * their schemas. The schemas must not need services, and their values must be such that `Arbitrary.schema` can make them.
 *
 * @category arbitraries
 * @since 0.1.0
 */
export const messages = (consumer: Consumer.Any): Arbitrary.Arbitrary<Readonly<Record<string, unknown>>> => {
  const endpoints = Endpoints.all(consumer)
  if (endpoints.length === 0) throw new TypeError(`The consumer "${consumer.name}" has no actions to send messages to`)
  return oneOf(endpoints.map((endpoint) => {
    const params = Path.paramNames(endpoint.route).map((name) => [
      name,
      Object.hasOwn(endpoint.params, name) ? endpoint.params[name]! : Schema.NonEmptyString
    ])
    const parts = Arbitrary.all({
      payload: valueOf(endpoint.action.payload),
      fields: valueOf(endpoint.action.fields),
      params: Arbitrary.schema(Schema.Struct(Object.fromEntries(params)))
    })
    return Arbitrary.map(parts, (parts) => Effect.runSync(Endpoints.encode(endpoint, parts as Endpoints.Parts)))
  }))
}

const valueOf = (schema: Schema.Constraint): Arbitrary.Arbitrary<unknown> =>
  schema === Schema.Void ? Arbitrary.Constant(undefined) : Arbitrary.schema(schema)
