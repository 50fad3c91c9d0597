import { Authentication, type ConnectionScope, Decision, Permission } from "@effect-channels/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { describe, expectTypeOf, it } from "vitest"

interface Message {
  readonly authorId: number
}
class CurrentUser extends Authentication.Service<CurrentUser, { readonly id: number; readonly admin: boolean }>()(
  "app/CurrentUser"
) {}
class Bans extends Context.Service<Bans, { readonly has: (id: number) => Effect.Effect<boolean, "down"> }>()(
  "app/Bans"
) {}

const isBanned = Permission.connection("isBanned", Bans.use((bans) => bans.has(1)))
const isLocal = Permission.connection("isLocal", (scope) => scope.remoteAddress === "::1")
const isEdit = Permission.action("isEdit", ({ action }) => action === "edit")
const inLobby = Permission.action<{ readonly room: string }>()("inLobby", ({ params }) => params.room === "lobby")
const isDraft = Permission.object<Message, { readonly draft: boolean }>()("isDraft", ({ payload }) => payload.draft)
const isPublic = Permission.delivery<{ readonly secret: boolean }>()("isPublic", ({ event }) => !event.secret)

type ObjectNeeds<O, P = unknown, Params = unknown> = {
  readonly object: O
  readonly payload: P
  readonly params: Params
}

describe("a check", () => {
  it("of the connection needs no facts; its effect says how it fails and what it needs", () => {
    expectTypeOf(isBanned).toEqualTypeOf<Permission.Permission<unknown, "down", Bans>>()
    expectTypeOf(isLocal).toEqualTypeOf<Permission.Permission<unknown, never, ConnectionScope.ConnectionScope>>()
    expectTypeOf(Permission.connection("x", (scope) => scope.path === "/" ? Bans.use((bans) => bans.has(1)) : false))
      .toEqualTypeOf<Permission.Permission<unknown, "down", Bans | ConnectionScope.ConnectionScope>>()
    expectTypeOf(Permission.isAuthenticated(CurrentUser)).toEqualTypeOf<
      Permission.Permission<unknown, never, CurrentUser>
    >()
  })

  it("of an action needs the action, and the params that it was given a type for", () => {
    expectTypeOf(isEdit).toEqualTypeOf<Permission.Permission<{ readonly action: string }, never, never>>()
    expectTypeOf(inLobby).toEqualTypeOf<
      Permission.Permission<{ readonly action: string; readonly params: { readonly room: string } }, never, never>
    >()
    Permission.action("x", ({ params }) => {
      expectTypeOf(params).toEqualTypeOf<Readonly<Record<string, unknown>>>()
      return true
    })
  })

  it("of an object needs the object, and the payload and params that it was given types for", () => {
    expectTypeOf(Permission.object<Message>()("x", () => true)).toEqualTypeOf<
      Permission.Permission<ObjectNeeds<Message>, never, never>
    >()
    expectTypeOf(isDraft).toEqualTypeOf<
      Permission.Permission<ObjectNeeds<Message, { readonly draft: boolean }>, never, never>
    >()
    const of = Permission.object<Message, string, { readonly id: number }>()
    of("x", (facts) => {
      expectTypeOf(facts.object).toEqualTypeOf<Message>()
      expectTypeOf(facts.payload).toEqualTypeOf<string>()
      expectTypeOf(facts.params).toEqualTypeOf<{ readonly id: number }>()
      expectTypeOf(facts.action).toEqualTypeOf<string>()
      return Bans.use((bans) => bans.has(facts.params.id))
    })
    expectTypeOf(of("x", () => Bans.use((bans) => bans.has(1)))).toEqualTypeOf<
      Permission.Permission<ObjectNeeds<Message, string, { readonly id: number }>, "down", Bans>
    >()
  })

  it("of a delivery needs the event", () => {
    expectTypeOf(isPublic).toEqualTypeOf<
      Permission.Permission<{ readonly event: { readonly secret: boolean } }, never, never>
    >()
  })

  it("of a group needs the group, and the params that it was given a type for", () => {
    expectTypeOf(Permission.group<{ readonly room: string }>()("x", ({ params }) => params.room === "a")).toEqualTypeOf<
      Permission.Permission<
        { readonly group: string; readonly params: { readonly room: string } },
        never,
        never
      >
    >()
    Permission.group()("x", (facts) => {
      expectTypeOf(facts.group).toEqualTypeOf<string>()
      expectTypeOf(facts.params).toEqualTypeOf<unknown>()
      return Bans.use((bans) => bans.has(1))
    })
  })

  it("answers with a boolean, or an effect of one", () => {
    Permission.action("x", () => true)
    // @ts-expect-error: no boolean
    Permission.action("x", () => undefined)
    // @ts-expect-error: no boolean
    Permission.action("x", () => "true")
    Permission.action("x", () => Effect.succeed(true))
    // @ts-expect-error: an effect of no boolean
    Permission.action("x", () => Effect.succeed("true"))
    // @ts-expect-error: a promise
    Permission.action("x", async () => true)
    Permission.connection("x", Effect.succeed(true))
    // @ts-expect-error: an effect of no boolean
    Permission.connection("x", Effect.succeed(1))
    Permission.connection("x", () => true)
    // @ts-expect-error: no boolean
    Permission.connection("x", () => 1)
    // @ts-expect-error: no answer
    Permission.connection("x", true)
  })

  it("sees no more than its phase has", () => {
    Permission.object<Message>()("x", ({ object }) => object.authorId === 1)
    // @ts-expect-error: an action check has no object
    Permission.action("x", ({ object }) => object.authorId === 1)
    Permission.action("x", ({ action }) => action === "x")
    // @ts-expect-error: a connection check has no action
    Permission.connection("x", ({ action }) => action === "x")
    // @ts-expect-error: a delivery check has no action
    Permission.delivery<string>()("x", ({ action }) => action === "x")
    Permission.delivery<string>()("x", ({ event }) => event === "x")
    // @ts-expect-error: of another type
    Permission.delivery<number>()("x", ({ event }) => event === "x")
  })

  it("takes a reason, a code, and whether they are private", () => {
    Permission.action("x", () => true, { reason: "no", code: "no", private: true })
    // @ts-expect-error: no such option
    Permission.action("x", () => true, { reasons: "no" })
    Permission.not(isEdit, { reason: "no" })
    // @ts-expect-error: no text
    Permission.not(isEdit, { reason: 1 })
  })
})

describe("an expression", () => {
  it("needs what its members need, and fails as they fail", () => {
    type Both = Permission.Permission<
      & { readonly action: string; readonly params: { readonly room: string } }
      & ObjectNeeds<
        Message,
        { readonly draft: boolean }
      >,
      never,
      never
    >
    expectTypeOf(Permission.and(inLobby, isDraft)).toEqualTypeOf<Both>()
    expectTypeOf(Permission.or(inLobby, isDraft)).toEqualTypeOf<Both>()
    expectTypeOf(inLobby.pipe(Permission.and(isDraft))).toEqualTypeOf<Both>()
    expectTypeOf(inLobby.pipe(Permission.or(isDraft))).toEqualTypeOf<Both>()
    expectTypeOf(Permission.or(isBanned, isLocal)).toEqualTypeOf<
      Permission.Permission<unknown, "down", Bans | ConnectionScope.ConnectionScope>
    >()
    expectTypeOf(Permission.not(isBanned)).toEqualTypeOf<typeof isBanned>()
    expectTypeOf(isBanned.pipe(Permission.not({ reason: "no" }))).toEqualTypeOf<typeof isBanned>()
  })

  it("of many needs what they all need", () => {
    const all = Permission.all([isBanned, isLocal, isEdit, inLobby])
    expectTypeOf<Permission.ErrorOf<typeof all>>().toEqualTypeOf<"down">()
    expectTypeOf<Permission.ServicesOf<typeof all>>().toEqualTypeOf<Bans | ConnectionScope.ConnectionScope>()
    expectTypeOf<Permission.FactsOf<typeof all>>().toExtend<
      { readonly action: string; readonly params: { readonly room: string } }
    >()
    expectTypeOf<{ readonly action: string; readonly params: { readonly room: string } }>().toExtend<
      Permission.FactsOf<typeof all>
    >()
    expectTypeOf(Permission.any([isBanned, isLocal, isEdit, inLobby])).toEqualTypeOf<typeof all>()
    expectTypeOf(Permission.all([isBanned])).toEqualTypeOf<typeof isBanned>()
  })

  it("of none needs nothing", () => {
    expectTypeOf(Permission.all([])).toEqualTypeOf<Permission.Permission<unknown, never, never>>()
    expectTypeOf(Permission.any([])).toEqualTypeOf<Permission.Permission<unknown, never, never>>()
    expectTypeOf(Permission.allow).toEqualTypeOf<Permission.Permission<unknown, never, never>>()
    expectTypeOf(Permission.deny).toEqualTypeOf<Permission.Permission<unknown, never, never>>()
  })

  it("may be written down in place", () => {
    const needsNothing = <F>(_: Permission.Permission<F>) => undefined
    needsNothing(Permission.not(Permission.action("x", () => true)))
    needsNothing(Permission.or(isEdit, Permission.action("x", () => true)))
    needsNothing(Permission.all([Permission.action("x", () => true)]))
    needsNothing(Permission.any([isEdit, Permission.not(Permission.action("x", () => true))]))
    needsNothing(Permission.all([Permission.and(Permission.object<Message>()("x", () => true), isEdit)]))
    // @ts-expect-error: the scope is needed
    needsNothing(Permission.all([Permission.connection("x", () => true)]))
    const inPlace = Permission.any([isBanned, Permission.connection("x", () => true)])
    expectTypeOf<Permission.ErrorOf<typeof inPlace>>().toEqualTypeOf<"down">()
    expectTypeOf<Permission.ServicesOf<typeof inPlace>>().toEqualTypeOf<Bans | ConnectionScope.ConnectionScope>()
  })

  it("is good wherever at least as much is there", () => {
    expectTypeOf<Permission.Permission>().toExtend<Permission.Permission<{ readonly action: string }>>()
    expectTypeOf<Permission.Permission<{ readonly action: string }>>().not.toExtend<Permission.Permission>()
    expectTypeOf(isDraft).toExtend<Permission.Any>()
    expectTypeOf<Permission.Permission<unknown, never>>().toExtend<Permission.Permission<unknown, "down">>()
    expectTypeOf<Permission.Permission<unknown, "down">>().not.toExtend<Permission.Permission<unknown, never>>()
    expectTypeOf<Permission.Permission<unknown, never, Bans>>().not.toExtend<Permission.Permission>()
  })
})

describe("deciding", () => {
  it("needs what the checks need, never fails, and leaves a permission of the same type", () => {
    const decided = Permission.decide(isBanned, { phase: "connection" })
    expectTypeOf(decided).toEqualTypeOf<Effect.Effect<Decision.Decision<typeof isBanned>, never, Bans>>()
    expectTypeOf(Permission.explain(isBanned, { phase: "connection" })).toEqualTypeOf<
      Effect.Effect<Permission.Explanation, never, Bans>
    >()
    expectTypeOf(Effect.map(decided, Decision.conclude)).toEqualTypeOf<
      Effect.Effect<Decision.Allow | Decision.Deny | Decision.Failed, never, Bans>
    >()
  })

  it("takes the facts of a phase, all of them", () => {
    Permission.decide(isPublic, { phase: "delivery", type: "posted", event: { secret: true } })
    // @ts-expect-error: no event
    Permission.decide(isPublic, { phase: "delivery" })
    // @ts-expect-error: no such phase
    Permission.decide(isPublic, { phase: "never", event: { secret: true } })
  })
})
