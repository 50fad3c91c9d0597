/**
 * The whole authority of a consumer as one table, to look at and to keep as a snapshot.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as ConnectionScope from "../../ConnectionScope.ts"
import type * as Consumer from "../../Consumer.ts"
import type * as Decision from "../../Decision.ts"
import * as Handlers from "../../Handlers.ts"
import * as Permission from "../../Permission.ts"
import type * as compile from "../compile.ts"
import { outcomeOfDecision } from "../decide.ts"
import { ofTree } from "../permit.ts"
import { Standing } from "../standing.ts"
import type { Acting } from "./connect.ts"
import { contextOf, factsOf } from "./decide.ts"

/**
 * What the actions of a matrix are decided by, beyond who asks: the object, for one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sample {
  /** What it is called in the table: `own note`. */
  readonly name?: string | undefined
  readonly params?: Readonly<Record<string, unknown>> | undefined
  readonly payload?: unknown
  readonly object?: unknown
}

/**
 * Who may do what: a row for the handshake and for each action, a column for each identity.
 *
 * @category models
 * @since 0.1.0
 */
export interface Matrix {
  readonly identities: ReadonlyArray<string>
  readonly rows: ReadonlyArray<{
    /** `connect`, `list`, `notes/:id/ edit`, `notes/:id/ edit (own note)`. */
    readonly name: string
    /**
     * What each identity gets: `allow`; `deny isAdmin`; `failed isAdmin`; or, where it hangs on an object that there is no
     * sample of, what is left to decide: `if isOwner`. Whoever may not connect gets no further: `-`.
     */
    readonly cells: ReadonlyArray<string>
  }>
  /** The table as text, which begins with a line break so that it lines up in a snapshot. */
  readonly toString: () => string
}

/**
 * Decides every action of a consumer for every identity, without running any. The checks are asked as on a real connection,
 * with the services of the consumer's layer and with the settings of its server.
 *
 * **Example** (A snapshot of a team's whole authority)
 *
 * ```ts
 * import type { Authentication, Consumer } from "@effect-channels/core"
 * import * as Testing from "@effect-channels/core/testing"
 * import * as Effect from "effect/Effect"
 *
 * declare class CurrentUser extends Authentication.Service<CurrentUser, { readonly name: string }>()("CurrentUser") {}
 * declare const Notes: Consumer.Consumer<"notes", {}>
 *
 * const test = Effect.gen(function*() {
 *   const matrix = yield* Testing.matrix(Notes, {
 *     identities: { anonymous: Testing.anonymous, alice: Testing.as(CurrentUser, { name: "alice" }) },
 *     samples: { "notes/:id/ edit": [{ name: "own note", params: { id: 1 }, object: { owner: "alice" } }] }
 *   })
 *   return String(matrix) // expect(String(matrix)).toMatchInlineSnapshot(...)
 * })
 * ```
 *
 * @category interpreters
 * @since 0.1.0
 */
export const matrix = <Name extends string, Params, Members, Needs, R>(
  consumer: Consumer.Consumer<Name, Params, Members, Needs, R>,
  options: {
    readonly identities: Readonly<Record<string, Acting | ReadonlyArray<Acting>>>
    /** By route and action, as the rows are called. An action without a sample is decided as far as that goes. */
    readonly samples?: Readonly<Record<string, ReadonlyArray<Sample>>> | undefined
    readonly handshake?: Partial<ConnectionScope.Handshake> | undefined
  }
): Effect.Effect<Matrix, never, Handlers.Live<Name>> =>
  Effect.gen(function*() {
    const compiled = yield* Handlers.Live(consumer.name)
    const identities = Object.keys(options.identities)
    const places = placesOf(compiled)
    const samples = options.samples ?? {}
    const unknown = Object.keys(samples).filter((name) => !places.some((place) => place.name === name))
    if (unknown.length > 0) {
      return yield* Effect.die(
        new Error(
          `There are samples of what "${consumer.name}" does not have: ${unknown.join(", ")}. ` +
            `It has: ${places.map(({ name }) => name).join(", ")}`
        )
      )
    }
    const rows = places.flatMap((place) =>
      (Object.hasOwn(samples, place.name) ? samples[place.name]! : [{}]).map((sample: Sample) => ({
        name: sample.name === undefined ? place.name : `${place.name} (${sample.name})`,
        place,
        sample
      }))
    )
    const cells = yield* Effect.forEach(rows, ({ place, sample }) =>
      Effect.forEach(Object.values(options.identities), (actors) =>
        cellOf(compiled, place, sample, actors, options.handshake)))
    const isConnected = (i: number) =>
      cells[0]![i] === "allow"
    return new Table(
      identities,
      rows.map(({ name }, row) => ({
        name,
        cells: cells[row]!.map((cell, i) =>
          row === 0 || isConnected(i) ? cell : "-"
        )
      }))
    )
  }) as Effect.Effect<Matrix, never, Handlers.Live<Name>>

interface Place {
  readonly name: string
  readonly route: string
  readonly action: string
  readonly guards: ReadonlyArray<Permission.Tree>
}

const placesOf = (consumer: compile.Consumer): ReadonlyArray<Place> => [
  {
    name: "connect",
    route: "",
    action: "",
    guards: consumer.connectPermission === Permission.allow ? [] : [consumer.connectPermission.tree]
  },
  ...consumer.routes.values.flatMap(({ actions, guards, pattern }) =>
    Array.from(actions.values(), (endpoint) => ({
      name: pattern === "" ? endpoint.name : `${pattern} ${endpoint.name}`,
      route: pattern,
      action: endpoint.name,
      guards: [...consumer.guards, ...guards, ...endpoint.guards]
    }))
  )
]

const cellOf = Effect.fnUntraced(function*(
  consumer: compile.Consumer,
  place: Place,
  sample: Sample,
  actors: Acting | ReadonlyArray<Acting>,
  handshake: Partial<ConnectionScope.Handshake> | undefined
): Effect.fn.Return<string> {
  const scope = ConnectionScope.make({ id: "test", url: consumer.consumer.path, ...handshake }, sample.params ?? {})
  const lifetime = yield* Scope.make()
  const standing = new Standing(consumer, scope, lifetime)
  standing.context = Context.merge(standing.context, contextOf(actors, scope))
  const { name: _name, ...given } = sample
  const facts: Permission.Facts = place.name === "connect"
    ? { phase: "connection" }
    : factsOf({ action: place.action, route: place.route, params: {}, ...given })
  return yield* Effect.ensuring(decideAll(place.guards, facts, standing), Scope.close(lifetime, Exit.void))
})

const decideAll = Effect.fnUntraced(function*(
  guards: ReadonlyArray<Permission.Tree>,
  facts: Permission.Facts,
  standing: Standing
): Effect.fn.Return<string> {
  const pending: Array<string> = []
  for (const guard of guards) {
    const decided = standing.decide(guard, facts, undefined)
    const decision = yield* Effect.isEffect(decided)
      ? Effect.provideContext(decided as Effect.Effect<Decision.Decision<Permission.Tree>>, standing.context)
      : Effect.succeed(decided)
    switch (decision._tag) {
      case "Allow":
        break
      case "Pending":
        pending.push(Permission.print(ofTree(decision.residual)))
        break
      case "Deny":
        return `deny ${decision.denial.check}`
      case "Failed":
        return `${outcomeOfDecision(decision).toLowerCase()} ${decision.check}`
    }
  }
  return pending.length === 0 ? "allow" : `if ${pending.join(" and ")}`
})

class Table implements Matrix {
  readonly identities: ReadonlyArray<string>
  readonly rows: Matrix["rows"]

  constructor(identities: ReadonlyArray<string>, rows: Matrix["rows"]) {
    this.identities = identities
    this.rows = rows
  }

  toString(): string {
    const lines = [["", ...this.identities], ...this.rows.map(({ cells, name }) => [name, ...cells])]
    const widths = lines[0]!.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)))
    const text = lines.map((line) => line.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ").trimEnd())
    return ["", text[0], widths.map((width) => "-".repeat(width)).join("-|-"), ...text.slice(1), ""].join("\n")
  }
}
