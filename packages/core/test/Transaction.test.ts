import {
  Action,
  Authority,
  ChannelError,
  ChannelLayer,
  Consumer,
  Event,
  Filter,
  Group,
  Handlers,
  Permission,
  Pipeline,
  Repository
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { settle, withLogs } from "./support/connection.ts"

class Account extends Schema.Class<Account>("Account")({ id: Schema.Int, balance: Schema.Int, reads: Schema.Int }) {}
class Accounts extends Repository.Service<Accounts>()("test/TransactedAccounts", { schema: Account, key: "id" }) {}

/** Fails with a status that is no secret, and says more than clients should know. */
class Overdrawn extends Schema.TaggedError<Overdrawn>()("Overdrawn", { by: Schema.Int }, { httpApiStatus: 409 }) {}
class Secret extends Schema.TaggedError<Secret>()("Secret", { text: Schema.String }) {}

/** What permissions are decided by, what happened, and what it waits for. */
class Facts extends Context.Service<Facts, {
  readonly blocked: Set<number | "everybody">
  readonly trace: Array<string>
  readonly loading: Latch.Latch
  readonly deciding: Latch.Latch
  readonly working: Latch.Latch
  /** How the permission of an account breaks. */
  broken: Effect.Effect<boolean, ChannelError.Unavailable | Secret> | undefined
}>()("test/TransactionFacts") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      return {
        blocked: new Set<number | "everybody">(),
        trace: [],
        loading: yield* Latch.make(true),
        deciding: yield* Latch.make(true),
        working: yield* Latch.make(true),
        broken: undefined
      }
    })
  )
}

const note = (text: string) => Facts.use(({ trace }) => Effect.sync(() => void trace.push(text)))

const isClient = Permission.connection(
  "isClient",
  Facts.use(({ blocked }) => Effect.sync(() => !blocked.has("everybody"))),
  { reason: "Clients only", code: "not_client" }
)
const isUnblocked = Permission.object<Account>()("isUnblocked", ({ object }) =>
  Effect.gen(function*() {
    const facts = yield* Facts
    const isBlocked = facts.blocked.has(object.id)
    facts.trace.push("decide")
    yield* facts.deciding.await
    return facts.broken === undefined ? !isBlocked : yield* facts.broken
  }), { reason: "Blocked", code: "blocked" })

const Branch = Group.make("branch")
const Spent = Event.make("spent", Account)

const spend = Action.make("spend", {
  payload: { amount: Schema.Int },
  success: Account,
  error: [Repository.NotFound, Repository.Conflict, Repository.StaleVersion, Overdrawn, Secret],
  timeout: "5 seconds"
}).pipe(Action.object(Account), Action.permit(Permission.and(isClient, isUnblocked)))
const told = Action.make("tell", { payload: { amount: Schema.Int }, success: Account, error: Overdrawn }).pipe(
  Action.object(Account),
  Action.permit(isUnblocked),
  Action.broadcast(Branch, Spent)
)
const free = Action.make("free", { success: Account, error: [Repository.NotFound, Overdrawn] }).pipe(
  Action.object(Account)
)
const Bank = Consumer.make("bank", { path: "/ws/:id/", params: { id: Schema.NumberFromString }, concurrency: 2 }).pipe(
  Consumer.join(Branch, () => ({})),
  Consumer.push(Spent),
  Consumer.add(spend, told, free)
)

type Surround = Handlers.TransactionOf<
  Handlers.Endpoint<"", "spend", unknown, unknown, unknown, ChannelError.Unavailable>,
  Accounts | Facts
>

/** Loads an account, and leaves a mark on it. */
const load = Effect.fnUntraced(function*(id: number) {
  const accounts = yield* Accounts
  const { loading } = yield* Facts
  yield* note("load")
  const account = yield* Repository.get(Accounts, id)
  yield* loading.await
  return yield* Effect.catchTag(
    accounts.update(id, { reads: account.reads + 1 }),
    ["Conflict", "StaleVersion"],
    Effect.die
  )
})

/** Takes money off an account. */
const take = Effect.fnUntraced(function*(account: Account, amount: number) {
  const accounts = yield* Accounts
  const { working } = yield* Facts
  yield* note("run")
  const { balance } = yield* Effect.orDie(accounts.update(account.id, { balance: account.balance - amount }))
  yield* Effect.onInterrupt(working.await, () => Effect.orDie(note("interrupted")))
  if (amount === 666) return yield* Effect.die(new Error("secret"))
  if (balance < 0) return yield* new Overdrawn({ by: -balance })
  return yield* Effect.orDie(Repository.get(Accounts, account.id))
})

const surround: Surround = (effect) =>
  Effect.gen(function*() {
    const accounts = yield* Accounts
    yield* note("begin")
    return yield* Effect.onExit(
      accounts.transaction(effect),
      (exit) => note(exit._tag === "Success" ? "commit" : "rollback")
    )
  })

const live = (transaction: Surround = surround) =>
  Consumer.handlers(Bank).pipe(
    Handlers.handle("spend", {
      object: ({ params }) => load(params.id),
      run: ({ object, payload }) => take(object, payload.amount),
      transaction
    }),
    Handlers.handle("tell", {
      object: ({ params }) => Effect.orDie(load(params.id)),
      run: ({ object, payload }) => take(object, payload.amount),
      transaction: surround
    }),
    Handlers.handle("free", {
      object: ({ params }) => load(params.id),
      run: ({ object }) => take(object, 1),
      transaction: surround
    }),
    Handlers.toLayer,
    Layer.provideMerge(Accounts.layerMemory([
      new Account({ id: 1, balance: 10, reads: 0 }),
      new Account({ id: 2, balance: 20, reads: 0 })
    ])),
    Layer.provideMerge(Facts.layer),
    Layer.provide(ChannelLayer.layerMemory),
    Layer.provideMerge(Authority.layerMemory)
  )

const connect = (id = 1) => Testing.connect(Bank, { params: { id } })
const accounts = Accounts.use((accounts) =>
  accounts.select({ filter: Filter.all, order: [{ field: "id", direction: "ascending" }] })
)
const untouched = [new Account({ id: 1, balance: 10, reads: 0 }), new Account({ id: 2, balance: 20, reads: 0 })]
const spent = (amount: number) => new Account({ id: 1, balance: 10 - amount, reads: 1 })
const invalidate = Effect.andThen(Effect.orDie(Authority.invalidate(Authority.everyone)), settle)

/** Runs a test against the bank. */
const test = <E>(
  body: Effect.Effect<void, E, Layer.Success<ReturnType<typeof live>> | Scope.Scope>,
  transaction?: Surround
) => Effect.provide(body, live(transaction))

/** Asks, and goes on. */
const asking = <A, E, R>(ask: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(ask, { startImmediately: true }), settle)

/** Nothing was kept, and the account can be written again. */
const undone = Effect.gen(function*() {
  assert.deepStrictEqual(yield* accounts, untouched)
  const facts = yield* Facts
  facts.blocked.clear()
  facts.broken = undefined
  for (const latch of [facts.loading, facts.deciding, facts.working]) yield* latch.open
  const client = yield* connect()
  const { data, status } = yield* client.ask("spend", { payload: { amount: 2 } })
  assert.deepStrictEqual([status, data], [200, spent(2)])
})

describe("an action in a transaction", () => {
  it.effect("loads its object, is decided, and runs in it; and is answered after it", () =>
    test(Effect.gen(function*() {
      const { trace } = yield* Facts
      const client = yield* connect()
      const answer = yield* client.ask("spend", { payload: { amount: 3 } })
      yield* Testing.expectAllowed(answer)
      assert.deepStrictEqual([answer.status, answer.data], [200, spent(3)])
      assert.deepStrictEqual(trace, ["begin", "load", "decide", "run", "commit"])
      assert.deepStrictEqual(yield* accounts, [spent(3), untouched[1]!])
    })))

  it.effect("does so without a permission too", () =>
    test(Effect.gen(function*() {
      const { trace } = yield* Facts
      const client = yield* connect()
      assert.deepStrictEqual((yield* client.ask("free")).data, spent(1))
      assert.deepStrictEqual(trace, ["begin", "load", "run", "commit"])
    })))

  it.effect("is refused before it begins, where that does not need the object", () =>
    test(Effect.gen(function*() {
      const { blocked, trace } = yield* Facts
      const client = yield* connect()
      yield* client.send({ action: "spend", data: { amount: "x" } })
      assert.deepInclude((yield* client.receive) as object, { status: 400 })
      blocked.add("everybody")
      const answer = yield* Effect.flatMap(connect(), (client) => client.ask("spend", { payload: { amount: 1 } }))
      yield* Testing.expectDenied(answer, isClient)
      assert.deepStrictEqual([answer.status, answer.errors], [403, [{ detail: "Clients only", code: "not_client" }]])
      assert.deepStrictEqual(trace, [])
      yield* undone
    })))

  it.effect("that is denied by its object leaves nothing, and does not run", () =>
    test(Effect.gen(function*() {
      const { blocked, trace } = yield* Facts
      blocked.add(1)
      const client = yield* connect()
      const answer = yield* client.ask("spend", { payload: { amount: 1 } })
      yield* Testing.expectDenied(answer, isUnblocked)
      assert.deepStrictEqual([answer.status, answer.errors], [403, [{ detail: "Blocked", code: "blocked" }]])
      assert.deepStrictEqual(trace, ["begin", "load", "decide", "rollback"])
      yield* undone
    })))

  it.effect("of an object that is not there fails with that", () =>
    test(Effect.gen(function*() {
      const { trace } = yield* Facts
      const client = yield* connect(9)
      const { errors, status } = yield* client.ask("spend", { payload: { amount: 1 } })
      assert.deepStrictEqual([status, errors[0]?.code], [404, "not_found"])
      assert.deepStrictEqual(trace, ["begin", "load", "rollback"])
      yield* undone
    })))

  it.effect("whose check breaks fails with that, and leaves nothing", () =>
    test(Effect.gen(function*() {
      const facts = yield* Facts
      facts.broken = Effect.fail(new ChannelError.Unavailable({ message: "down" }))
      const client = yield* connect()
      const answer = yield* client.ask("spend", { payload: { amount: 1 } })
      assert.deepStrictEqual([answer.status, answer.outcome, answer.check], [503, "Failed", "isUnblocked"])
      assert.deepStrictEqual(facts.trace, ["begin", "load", "decide", "rollback"])
      yield* undone
    })))

  it.effect("whose check breaks with what is an error of the handler does not tell clients of it", () =>
    withLogs((logs) =>
      test(Effect.gen(function*() {
        const facts = yield* Facts
        facts.broken = Effect.fail(new Secret({ text: "of the check" }))
        const client = yield* connect()
        const { errors, status } = yield* client.ask("spend", { payload: { amount: 1 } })
        assert.deepStrictEqual([status, errors], [500, [{ detail: "Internal server error", code: "error" }]])
        assert.isTrue(logs.some(({ cause, level }) => level === "Error" && cause.includes("Secret")))
        yield* undone
      }))
    ))

  it.effect("that fails leaves nothing", () =>
    test(Effect.gen(function*() {
      const { trace } = yield* Facts
      const client = yield* connect()
      const answer = yield* client.ask("spend", { payload: { amount: 11 } })
      assert.deepEqual([answer.status, answer.errors[0]?.code, answer.outcome], [409, "Overdrawn", "Allow"])
      assert.deepStrictEqual(trace, ["begin", "load", "decide", "run", "rollback"])
      yield* undone
    })))

  it.effect("that breaks leaves nothing", () =>
    withLogs((logs) =>
      test(Effect.gen(function*() {
        const { trace } = yield* Facts
        const client = yield* connect()
        const { status } = yield* client.ask("spend", { payload: { amount: 666 } })
        assert.strictEqual(status, 500)
        assert.deepStrictEqual(trace, ["begin", "load", "decide", "run", "rollback"])
        assert.lengthOf(logs.filter(({ level }) => level === "Error"), 1)
        yield* undone
      }))
    ))
})

describe("an action in a transaction that does not come to its end", () => {
  const stages = ["loading", "deciding", "working"] as const

  for (const stage of stages) {
    it.effect(`since it takes too long, ${stage}, leaves nothing`, () =>
      test(Effect.gen(function*() {
        const facts = yield* Facts
        yield* facts[stage].close
        const client = yield* connect()
        const asked = yield* asking(client.ask("spend", { payload: { amount: 1 } }))
        yield* TestClock.adjust("4999 millis")
        assert.notInclude(facts.trace, "rollback")
        yield* TestClock.adjust("1 millis")
        const { errors, status } = yield* Fiber.join(asked)
        assert.deepStrictEqual([status, errors[0]?.code], [408, "timeout"])
        assert.strictEqual(facts.trace.at(-1), "rollback")
        yield* undone
      })))

    it.effect(`since its client has gone, ${stage}, leaves nothing`, () =>
      test(Effect.gen(function*() {
        const facts = yield* Facts
        yield* facts[stage].close
        const client = yield* connect()
        yield* asking(Effect.exit(client.ask("spend", { payload: { amount: 1 } })))
        assert.notInclude(facts.trace, "rollback")
        yield* client.close()
        yield* settle
        assert.strictEqual(facts.trace.at(-1), "rollback")
        yield* undone
      })))

    it.effect(`since its client has cancelled it, ${stage}, leaves nothing`, () =>
      test(Effect.gen(function*() {
        const facts = yield* Facts
        yield* facts[stage].close
        const client = yield* connect()
        yield* client.send({ action: "spend", data: { amount: 1 }, request_id: 7 })
        yield* settle
        yield* client.send({ action: "$cancel", data: { request_id: 7 } })
        assert.deepInclude((yield* client.receive) as object, { request_id: 7, status: 499 })
        yield* settle
        assert.strictEqual(facts.trace.at(-1), "rollback")
        yield* undone
      })))
  }

  it.effect("since its permission is lost while it runs leaves nothing, and says why", () =>
    test(Effect.gen(function*() {
      const { blocked, trace, working } = yield* Facts
      yield* working.close
      const client = yield* connect()
      const asked = yield* asking(client.ask("spend", { payload: { amount: 1 } }))
      blocked.add(1)
      yield* invalidate
      const { errors, status } = yield* Fiber.join(asked)
      assert.deepStrictEqual([status, errors], [403, [{ detail: "Blocked", code: "permission_lost" }]])
      assert.deepStrictEqual(trace, ["begin", "load", "decide", "run", "decide", "interrupted", "rollback"])
      yield* undone
    })))

  it.effect("goes on where it is still permitted", () =>
    test(Effect.gen(function*() {
      const { trace, working } = yield* Facts
      yield* working.close
      const client = yield* connect()
      const asked = yield* asking(client.ask("spend", { payload: { amount: 1 } }))
      yield* invalidate
      yield* working.open
      assert.deepStrictEqual((yield* Fiber.join(asked)).data, spent(1))
      assert.deepStrictEqual(trace, ["begin", "load", "decide", "run", "decide", "commit"])
    })))
})

describe("authority that is invalidated before the handler runs", () => {
  for (const stage of ["loading", "deciding"] as const) {
    it.effect(`has it decided anew from the beginning, and run once (${stage})`, () =>
      test(Effect.gen(function*() {
        const facts = yield* Facts
        yield* facts[stage].close
        const client = yield* connect()
        const asked = yield* asking(client.ask("spend", { payload: { amount: 1 } }))
        yield* invalidate
        yield* facts[stage].open
        const answer = yield* Fiber.join(asked)
        assert.deepStrictEqual([answer.status, answer.data], [200, spent(1)])
        assert.strictEqual(facts.trace.join(), "begin,load,decide,rollback,begin,load,decide,run,commit")
        assert.deepStrictEqual(yield* accounts, [spent(1), untouched[1]!])
      })))

    it.effect(`has it denied where it is not permitted any more (${stage})`, () =>
      test(Effect.gen(function*() {
        const facts = yield* Facts
        yield* facts[stage].close
        const client = yield* connect()
        const asked = yield* asking(client.ask("spend", { payload: { amount: 1 } }))
        facts.blocked.add("everybody")
        yield* invalidate
        yield* facts[stage].open
        const answer = yield* Fiber.join(asked)
        yield* Testing.expectDenied(answer, isClient)
        assert.deepStrictEqual([answer.status, answer.errors[0]?.code], [403, "not_client"])
        assert.deepStrictEqual(facts.trace, ["begin", "load", "decide", "rollback"])
        yield* undone
      })))
  }

  it.effect("as often as it takes", () =>
    test(Effect.gen(function*() {
      const { deciding, trace } = yield* Facts
      yield* deciding.close
      const client = yield* connect()
      const asked = yield* asking(client.ask("spend", { payload: { amount: 1 } }))
      for (let i = 0; i < 3; i++) {
        yield* invalidate
        yield* deciding.open
        yield* deciding.close
        yield* settle
      }
      yield* deciding.open
      assert.strictEqual((yield* Fiber.join(asked)).status, 200)
      assert.lengthOf(trace.filter((text) => text === "rollback"), 3)
      assert.lengthOf(trace.filter((text) => text === "run"), 1)
    })))

  it.effect("is not denied by facts of before", () =>
    test(Effect.gen(function*() {
      const { blocked, deciding, trace } = yield* Facts
      blocked.add(1)
      yield* deciding.close
      const client = yield* connect()
      const asked = yield* asking(client.ask("spend", { payload: { amount: 1 } }))
      blocked.delete(1)
      yield* invalidate
      yield* deciding.open
      const answer = yield* Fiber.join(asked)
      assert.deepStrictEqual([answer.status, answer.data], [200, spent(1)])
      assert.lengthOf(trace.filter((text) => text === "run"), 1)
    })))
})

/** The decisions over `spend` so far. */
const counted = Effect.map(
  Metric.snapshot,
  (metrics) =>
    metrics.flatMap(({ attributes, id, state }) =>
      id === Pipeline.decisions.id && attributes?.["action"] === "spend"
        ? [
          `${attributes["phase"]} ${attributes["outcome"]} ${attributes["check"]}: ${
            (state as { count: number }).count
          }`
        ]
        : []
    )
)

describe("what is counted, and what others hear of", () => {
  it.effect("one decision for a request, however often it was made", () =>
    Effect.provideService(
      test(Effect.gen(function*() {
        const { blocked, deciding } = yield* Facts
        const client = yield* connect()
        yield* client.ask("spend", { payload: { amount: 1 } })
        assert.deepStrictEqual(yield* counted, ["object allow : 1"])
        yield* deciding.close
        const asked = yield* asking(client.ask("spend", { payload: { amount: 1 } }))
        yield* invalidate
        yield* deciding.open
        yield* Fiber.join(asked)
        assert.deepStrictEqual(yield* counted, ["object allow : 2"])
        blocked.add(1)
        yield* client.ask("spend", { payload: { amount: 1 } })
        assert.sameMembers([...yield* counted], ["object allow : 2", "object deny isUnblocked: 1"])
      })),
      Metric.MetricRegistry,
      new Map()
    ))

  it.effect("its event goes out after the commit, and after the reply", () =>
    test(Effect.gen(function*() {
      const { trace, working } = yield* Facts
      const client = yield* connect()
      const other = yield* connect(2)
      yield* working.close
      const heard = yield* asking(Effect.tap(other.next(Spent), () => Effect.sync(() => trace.push("event"))))
      const asked = yield* asking(
        Effect.tap(client.ask("tell", { payload: { amount: 1 } }), () => Effect.sync(() => trace.push("reply")))
      )
      assert.deepStrictEqual(trace, ["begin", "load", "decide", "run"])
      yield* working.open
      assert.deepStrictEqual(yield* Fiber.join(heard), spent(1))
      yield* Fiber.join(asked)
      assert.strictEqual(trace.indexOf("commit"), 4)
      assert.sameMembers(trace.slice(5), ["event", "reply"])
    })))

  it.effect("nobody hears of what was undone", () =>
    test(Effect.gen(function*() {
      const { blocked } = yield* Facts
      const client = yield* connect()
      const other = yield* connect(2)
      const heard = yield* asking(other.next(Spent))
      assert.strictEqual((yield* client.ask("tell", { payload: { amount: 11 } })).status, 409)
      blocked.add(1)
      assert.strictEqual((yield* client.ask("tell", { payload: { amount: 1 } })).status, 403)
      yield* settle
      assert.strictEqual(heard.pollUnsafe(), undefined)
      yield* undone
    })))
})

describe("what surrounds", () => {
  const down = new ChannelError.Unavailable({ message: "no database" })

  it.effect("may fail before it begins", () =>
    test(
      Effect.gen(function*() {
        const { trace } = yield* Facts
        const client = yield* connect()
        const { errors, status } = yield* client.ask("spend", { payload: { amount: 1 } })
        assert.deepStrictEqual([status, errors], [503, [{ detail: "no database", code: "unavailable" }]])
        assert.deepStrictEqual(trace, [])
      }),
      () => Effect.fail(down)
    ))

  it.effect("may fail to commit", () =>
    test(
      Effect.gen(function*() {
        const client = yield* connect()
        const { status } = yield* client.ask("spend", { payload: { amount: 1 } })
        assert.strictEqual(status, 503)
        assert.deepStrictEqual(yield* accounts, untouched)
      }),
      (effect) => surround(Effect.andThen(effect, Effect.fail(down)) as typeof effect)
    ))

  it.effect("may break, and that is a defect", () =>
    Effect.forEach([
      () => {
        throw new Error("secret")
      },
      () => undefined,
      () => Effect.die(new Error("secret")),
      (effect: Effect.Effect<unknown, unknown>) => Effect.onExit(effect, () => Effect.die(new Error("secret")))
    ], (broken) =>
      withLogs((logs) =>
        test(
          Effect.gen(function*() {
            const { blocked } = yield* Facts
            blocked.add(1)
            const client = yield* connect()
            const { errors, status } = yield* client.ask("spend", { payload: { amount: 1 } })
            assert.deepStrictEqual([status, errors], [500, [{ detail: "Internal server error", code: "error" }]])
            assert.lengthOf(logs.filter(({ level }) => level === "Error"), 1)
          }),
          broken as never
        )
      )))

  it.effect("may make defects of failures: whoever is denied is denied all the same", () =>
    test(
      Effect.gen(function*() {
        const { blocked } = yield* Facts
        blocked.add(1)
        const client = yield* connect()
        const answer = yield* client.ask("spend", { payload: { amount: 1 } })
        yield* Testing.expectDenied(answer, isUnblocked)
        assert.deepStrictEqual([answer.status, answer.errors[0]?.code], [403, "blocked"])
      }),
      (effect) => Effect.orDie(surround(effect))
    ))

  /** As databases do whose transactions were in the way of each other. */
  const again: Surround = (effect) => {
    let times = 0
    const conflict = Effect.suspend(() => ++times < 2 ? Effect.fail(down) : Effect.void)
    return Effect.retry(surround(Effect.tap(effect, () => conflict) as typeof effect), { times: 1 })
  }

  it.effect("may do it again: it is one request, with one decision", () =>
    Effect.provideService(
      test(
        Effect.gen(function*() {
          const { trace } = yield* Facts
          const client = yield* connect()
          assert.deepStrictEqual((yield* client.ask("spend", { payload: { amount: 1 } })).data, spent(1))
          const once = ["begin", "load", "decide", "run"]
          assert.deepStrictEqual(trace, [...once, "rollback", ...once, "commit"])
          assert.deepStrictEqual(yield* counted, ["object allow : 1"])
        }),
        again
      ),
      Metric.MetricRegistry,
      new Map()
    ))

  it.effect("may find it denied when it is done again", () =>
    test(
      Effect.gen(function*() {
        const { blocked, trace } = yield* Facts
        const client = yield* connect()
        const answer = yield* client.ask("spend", { payload: { amount: 1 } })
        yield* Testing.expectDenied(answer, isUnblocked)
        assert.deepStrictEqual([answer.status, answer.errors[0]?.code], [403, "blocked"])
        assert.strictEqual(trace.join(), "begin,load,decide,run,rollback,begin,load,decide,rollback")
        assert.isTrue(blocked.has(1))
        assert.deepStrictEqual(yield* accounts, untouched)
      }),
      (effect) =>
        again(Effect.tap(effect, () => Facts.use(({ blocked }) => Effect.sync(() => blocked.add(1)))) as typeof effect)
    ))
})
