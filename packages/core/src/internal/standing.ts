/**
 * What a connection is decided by: who is behind it, and what its checks have said. All of it can be found out anew while the
 * connection lives.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Hash from "effect/Hash"
import type * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import type * as Semaphore from "effect/Semaphore"
import type * as Authentication from "../Authentication.ts"
import type { Target } from "../Authority.ts"
import * as ChannelError from "../ChannelError.ts"
import { ConnectionScope } from "../ConnectionScope.ts"
import type { ConnectObject } from "../Consumer.ts"
import * as Decision from "../Decision.ts"
import { Memberships } from "../Membership.ts"
import * as Permission from "../Permission.ts"
import * as Query from "../Query.ts"
import type * as compile from "./compile.ts"
import * as decide from "./decide.ts"
import { andThen, type Eager } from "./eager.ts"
import { deniedBy } from "./failure.ts"
import { Known } from "./known.ts"
import type { Recorder } from "./observe.ts"

type Result = Decision.Decision<Permission.Tree>

const connectionFacts: Permission.Facts = { phase: "connection" }

/** What a connection is decided by. */
export class Standing {
  readonly consumer: compile.Consumer
  readonly scope: ConnectionScope["Service"]
  /** Ends with the connection. */
  readonly lifetime: Scope.Closeable
  /** The services of the connection, its identities among them. */
  context: Context.Context<never>
  /** Grows whenever what was decided before no longer counts. */
  epoch = 0
  #known: Known | undefined
  #alike: Alike | undefined
  /** What the newest identities have acquired after the handshake. */
  #renewed: Map<compile.Authenticator, Scope.Closeable> | undefined

  constructor(consumer: compile.Consumer, scope: ConnectionScope["Service"], lifetime: Scope.Closeable) {
    this.consumer = consumer
    this.scope = scope
    this.lifetime = lifetime
    this.context = consumer.context.pipe(
      Context.add(ConnectionScope, scope),
      Context.add(Scope.Scope, lifetime),
      Context.add(References.CurrentLogAnnotations, {
        ...Context.get(consumer.context, References.CurrentLogAnnotations),
        connection: scope.id,
        consumer: consumer.consumer.name
      })
    )
  }

  /** How many decisions are kept. */
  get kept(): number {
    return this.#known?.size ?? 0
  }

  /** When the first of its credentials expires, in milliseconds since 1970. */
  get expiresAt(): number {
    let first = Infinity
    for (const { identity } of this.consumer.authenticators) {
      const found = this.#identity(identity)
      if (found._tag === "Authenticated" && found.expiresAt !== undefined) first = Math.min(first, found.expiresAt)
    }
    return first
  }

  /** What tells its users apart from others; `undefined` where that cannot be said. */
  get keys(): ReadonlyArray<string> | undefined {
    let keys = none
    for (const { identity, keyOf } of this.consumer.authenticators) {
      if (keyOf === undefined) continue
      const found = this.#identity(identity)
      if (found._tag === "Anonymous") continue
      const key = keyIn(keyOf, found.user)
      if (key === undefined) return undefined
      keys = keys === none ? [key] : [...keys, key]
    }
    return keys
  }

  #identity(key: compile.Authenticator["identity"]): Authentication.Identity<unknown> {
    return Context.getUnsafe(this.context, key)
  }

  /** Whether it is among the connections whose facts have changed. */
  isMeant(target: Target): boolean {
    switch (target._tag) {
      case "Everyone":
        return true
      case "Connection":
        return target.id === this.scope.id
      case "Identity":
        return this.consumer.authenticators.some(({ identity, keyOf }) => {
          if (identity.key !== target.service || keyOf === undefined) return false
          const found = this.#identity(identity)
          // A function of the application that breaks must not hide anybody: it is better to decide once too often.
          return found._tag === "Authenticated" && (keyIn(keyOf, found.user) ?? target.key) === target.key
        })
    }
  }

  /** Whether it is certainly what is meant: for what is not for everybody's eyes. */
  isExactly(target: Target): boolean {
    return target._tag === "Identity"
      ? this.consumer.authenticators.some(({ identity, keyOf }) => {
        if (identity.key !== target.service || keyOf === undefined) return false
        const found = this.#identity(identity)
        return found._tag === "Authenticated" && keyIn(keyOf, found.user) === target.key
      })
      : this.isMeant(target)
  }

  /** What tells whether another connection has the same identity. */
  get alike(): Alike {
    if (this.#alike !== undefined) return this.#alike
    const users: Array<unknown> = []
    let key = ""
    for (const { identity, keyOf } of this.consumer.authenticators) {
      const found = this.#identity(identity)
      const user = found._tag === "Anonymous" ? undefined : found.user
      users.push(user)
      key += `${(keyOf !== undefined && user !== undefined ? keyIn(keyOf, user) : undefined) ?? hashOf(user)} `
    }
    return this.#alike = { key, users }
  }

  /**
   * The services of the connection, without what is its own: what whoever has the same identity has as well. Instead of the scope
   * there is one that tells when somebody looks at it.
   */
  shared(looked: () => void): Context.Context<never> {
    const watched = new Proxy(this.scope, {
      get: (_, name) => {
        looked()
        throw new Error(`A check that is asked for many connections at once looks at "${String(name)}" of their scope`)
      },
      has: () => (looked(), false),
      ownKeys: () => (looked(), []),
      getOwnPropertyDescriptor: () => (looked(), undefined),
      getPrototypeOf: () => (looked(), null)
    })
    return Context.add(
      this.context.pipe(Context.omit(Scope.Scope, Memberships) as <A>(self: A) => A),
      ConnectionScope,
      watched
    )
  }

  /** Authenticates by the handshake, and decides the permission to connect. Fails with why it is refused. */
  identify(recorder: Recorder | undefined): Effect.Effect<void, unknown> {
    return Effect.andThen(
      Effect.forEach(
        this.consumer.authenticators,
        ({ authenticate, identity, keyOf }) =>
          Effect.provideService(authenticate(this.scope), Scope.Scope, this.lifetime).pipe(
            Effect.flatMap(unexpired),
            Effect.map((found) => {
              // One that breaks is found out now, and not when it is needed.
              if (found._tag === "Authenticated") keyOf?.(found.user)
              this.#set(identity, found)
            })
          ),
        { discard: true }
      ),
      Effect.suspend(() => this.connect(recorder, true))
    )
  }

  /** Finds out anew who is behind the connection, and decides the permission to connect again. */
  refresh(recorder: Recorder | undefined): Effect.Effect<void, unknown> {
    return Effect.andThen(
      Effect.forEach(this.consumer.authenticators, (authenticator) => this.#refresh(authenticator), { discard: true }),
      Effect.suspend(() => this.connect(recorder))
    )
  }

  #refresh(authenticator: compile.Authenticator): Effect.Effect<void, unknown> {
    const { identity, keyOf, refresh } = authenticator
    return Effect.suspend((): Effect.Effect<void, unknown> => {
      const before = this.#identity(identity)
      if (refresh === undefined || before._tag === "Anonymous") return Effect.void
      type Refreshed = Effect.Effect<Authentication.Authenticated<unknown>, ChannelError.ChannelError>
      const refreshed = Effect.flatMap(
        refresh(before, this.scope),
        (found): Refreshed =>
          keyOf !== undefined && keyOf(before.user) !== keyOf(found.user)
            ? Effect.fail(new ChannelError.InvalidCredentials({ message: "The credentials are now another user's" }))
            : Effect.succeed(found)
      )
      return this.#take(authenticator, refreshed)
    })
  }

  /** Takes newer credentials of the same user, or those of somebody who was anonymous. Nothing changes where it fails. */
  renew(authenticator: compile.Renewable, token: Redacted.Redacted): Effect.Effect<void, unknown> {
    const { identity, keyOf, renew } = authenticator
    type Verified = Effect.Effect<Authentication.Authenticated<unknown>, ChannelError.ChannelError>
    const found = Effect.flatMap(Effect.suspend(() => renew(token, this.scope)), unexpired)
    const verified = Effect.flatMap(found, (found): Verified => {
      const before = this.#identity(identity)
      if (found._tag === "Anonymous") return Effect.fail(new ChannelError.InvalidCredentials())
      if (before._tag === "Authenticated" && keyOf(before.user) !== keyOf(found.user)) {
        return Effect.fail(
          new ChannelError.PermissionDenied({
            message: "These are the credentials of another user: connect again to be somebody else",
            code: "identity_mismatch"
          })
        )
      }
      return Effect.succeed(found)
    })
    return this.#take(authenticator, verified)
  }

  /** Takes a new identity. What it has acquired stays until there is a newer one, or the connection ends. */
  #take(
    authenticator: compile.Authenticator,
    effect: Effect.Effect<Authentication.Identity<unknown>, unknown, Scope.Scope>
  ): Effect.Effect<void, unknown> {
    return Effect.flatMap(
      Scope.fork(this.lifetime),
      (scope) =>
        Effect.asVoid(
          Effect.onExit(Effect.provideService(effect, Scope.Scope, scope), (exit): Effect.Effect<unknown> => {
            if (exit._tag === "Failure") return Scope.close(scope, exit)
            const renewed = this.#renewed ??= new Map<compile.Authenticator, Scope.Closeable>()
            const before = renewed.get(authenticator)
            renewed.set(authenticator, scope)
            this.#set(authenticator.identity, exit.value)
            // The new one counts, however long it takes to release what the one before has acquired.
            return before === undefined
              ? Effect.void
              : Effect.forkDetach(Scope.close(before, Exit.void), { startImmediately: true })
          })
        )
    )
  }

  #set(key: compile.Authenticator["identity"], found: Authentication.Identity<unknown>): void {
    this.context = Context.add(this.context, key, found) as Context.Context<never>
    this.#alike = undefined
    // Also what was decided since the facts have changed, but by who it was before.
    this.forget()
  }

  /** Decides the permission to connect. Fails with why it is refused. */
  connect(recorder: Recorder | undefined, isHandshake = false): Effect.Effect<void, unknown> {
    const { connectPermission, consumer } = this.consumer
    const permitted = connectPermission === Permission.allow
      ? Effect.void
      : this.#permitted(connectPermission.tree, connectionFacts, recorder, isHandshake)
    return consumer.connectObjects.length === 0 ? permitted : Effect.andThen(
      permitted,
      Effect.forEach(consumer.connectObjects, (object) => this.#connectObject(object, recorder, isHandshake), {
        discard: true
      })
    )
  }

  #connectObject(
    { load, permission }: ConnectObject,
    recorder: Recorder | undefined,
    isHandshake: boolean
  ): Effect.Effect<void, unknown> {
    const loaded = Effect.suspend(() => load(this.scope as never) as Effect.Effect<unknown, unknown>)
    return Effect.flatMap(Effect.provideContext(loaded, this.context), (object) => {
      const facts: Permission.Facts = {
        phase: "object",
        action: "$connect",
        route: "",
        query: Query.empty,
        params: this.scope.params as Readonly<Record<string, unknown>>,
        payload: undefined,
        object
      }
      return this.#permitted(permission.tree, facts, recorder, isHandshake)
    })
  }

  #permitted(
    tree: Permission.Tree,
    facts: Permission.Facts,
    recorder: Recorder | undefined,
    isHandshake: boolean
  ): Effect.Effect<void, unknown> {
    const { handshakes } = this.consumer
    const decided = Effect.suspend(() =>
      decide.decide(tree, facts, this.#memory(recorder, tree)) as Effect.Effect<Result>
    )
    return Effect.flatMap(Effect.provideContext(decided, this.context), (result) => {
      const decision = Decision.conclude(result)
      const outcome = decide.outcomeOfDecision(decision)
      if (isHandshake) handshakes.count("connection", outcome, decide.decidingCheck(decision))
      recorder?.decided(outcome, decide.decidingCheck(decision))
      switch (decision._tag) {
        case "Allow":
          return Effect.void
        case "Deny":
          return Effect.fail(deniedBy(decision.denial))
        case "Failed":
          return Effect.failCause(decision.cause)
      }
    })
  }

  /** What was decided before no longer counts: whoever still decides by it keeps that to themselves. */
  forget(): void {
    this.epoch++
    this.#known = undefined
  }

  #memory(recorder: Recorder | undefined, tree: Permission.Tree): decide.Memory {
    const known = this.#known ??= new Known()
    if (recorder === undefined) return known
    recorder.memory = known
    recorder.enter(tree)
    return recorder
  }

  /** What the connection phase has said of a permission, where that is known, and decides it. */
  settled(tree: Permission.Tree): Decision.Allow | Decision.Deny | undefined {
    const decision = this.#known?.get(tree)
    return decision?._tag === "Allow" || decision?._tag === "Deny" ? decision : undefined
  }

  /**
   * Decides a permission; what its connection checks said is kept, so that a message decides only the residual. What is `shared`
   * is asked for all who have the same identity.
   */
  decide(
    tree: Permission.Tree,
    facts: Permission.Facts,
    recorder: Recorder | undefined,
    shared?: decide.Shared
  ): Eager<Result> {
    const known = this.#known ??= new Known()
    const before = recorder === undefined ? known.get(tree) : undefined
    const memory = shared === undefined ? this.#memory(recorder, tree) : new Sharing(known, shared)
    if (before !== undefined) return this.#rest(before, facts, memory)
    return andThen(decide.step(tree, connectionFacts, memory), (decision) => {
      const failure = decision._tag === "Failed" ? decision : decide.failureIn(decision)
      // What failed may work the next time. What can no longer come to Allow is not worth deciding further.
      if (failure === undefined) known.set(tree, decision)
      else if (decision._tag === "Pending" && !decide.canAllow(decision.residual)) return failure
      return this.#rest(decision, facts, memory)
    })
  }

  /** Decides what is left of a permission after the connection phase. It is new for each message: nothing is kept of it. */
  decideRest(residual: Permission.Tree, facts: Permission.Facts, recorder: Recorder | undefined): Eager<Result> {
    return decide.step(residual, facts, recorder ?? this.#known)
  }

  #rest(decision: Result, facts: Permission.Facts, memory: decide.Memory): Eager<Result> {
    return decision._tag === "Pending" ? decide.step(decision.residual, facts, memory) : decision
  }
}

/** One that cannot be hashed, since a getter of the application breaks say, is like no other one. */
const hashOf = (user: unknown): number | string => {
  try {
    return Hash.hash(user)
  } catch {
    return `unlike ${++unlike}`
  }
}

let unlike = 0

/** What tells whether two connections have the same identity: the same key, and equal users. */
export interface Alike {
  readonly key: string
  readonly users: ReadonlyArray<unknown>
}

/** What is known of a connection, and what is said to all who have its identity. */
class Sharing implements decide.Memory {
  readonly #known: Known
  readonly shared: decide.Shared

  constructor(known: Known, shared: decide.Shared) {
    this.#known = known
    this.shared = shared
  }
  get(check: Permission.Check): Result | undefined {
    return this.#known.get(check)
  }
  set(check: Permission.Check, decision: Decision.Allow | Decision.Deny): void {
    this.#known.set(check, decision)
  }
  lock(check: Permission.Check): Semaphore.Semaphore {
    return this.#known.lock(check)
  }
}

/** What has expired is not taken to begin with. */
const unexpired = (
  identity: Authentication.Identity<unknown>
): Effect.Effect<Authentication.Identity<unknown>, ChannelError.InvalidCredentials> => {
  if (identity._tag === "Anonymous" || identity.expiresAt === undefined) return Effect.succeed(identity)
  const { expiresAt } = identity
  return Effect.flatMap(Clock.currentTimeMillis, (now) =>
    now < expiresAt
      ? Effect.succeed(identity)
      : Effect.fail(new ChannelError.InvalidCredentials({ message: "The credentials have expired" })))
}

const none: ReadonlyArray<string> = []

/** The key of a user; `undefined` where the function of the application breaks. */
const keyIn = (keyOf: (user: unknown) => string, user: unknown): string | undefined => {
  try {
    return keyOf(user)
  } catch {
    return undefined
  }
}
