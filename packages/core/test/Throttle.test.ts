import {
  Action,
  Authentication,
  ChannelError,
  ConnectionScope,
  Consumer,
  Decision,
  Handlers,
  Permission,
  Query,
  type Reply,
  Throttle
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { open, serve } from "./support/connection.ts"
import { bucket, consume, fixed, reference, rule, steps, storeSuite } from "./support/throttle-store.ts"

interface User {
  readonly id: string
  readonly admin: boolean
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser", {
  key: (user) => user.id
}) {}
class Partner extends Authentication.Service<Partner, User>()("test/Partner", { key: (user) => user.id }) {}

/** The facts of a message that is new. */
const message = (action = "post"): Permission.Facts => ({
  phase: "action",
  action,
  route: "",
  query: Query.empty,
  params: {}
})

const connection = (
  remoteAddress?: string,
  headers: Readonly<Record<string, string>> = {}
): ConnectionScope.ConnectionScope["Service"] => ConnectionScope.make({ id: "1", url: "/", headers, remoteAddress }, {})

const user = (id: string, admin = false) => Authentication.authenticated({ id, admin })

interface Who {
  readonly scope?: ConnectionScope.ConnectionScope["Service"]
  readonly identity?: Authentication.Identity<User>
}

type Needs = ConnectionScope.ConnectionScope | CurrentUser | Partner

const decide = <F, E>(
  permission: Permission.Permission<F, E, Needs>,
  facts: Permission.Facts,
  { identity = Authentication.anonymous, scope = connection() }: Who = {}
) =>
  Permission.decide(permission, facts).pipe(
    Effect.map(Decision.conclude),
    Effect.provideService(ConnectionScope.ConnectionScope, scope),
    Effect.provideService(CurrentUser.identity, identity),
    Effect.provideService(Partner.identity, identity)
  )

/** What was decided: `Allow`, `Deny`, or the seconds to wait. */
const shown = (decision: Decision.Decision): string | number => {
  if (decision._tag !== "Failed") return decision._tag
  const error = Cause.squash(decision.cause)
  return error instanceof ChannelError.Throttled ? error.retryAfter : String(error)
}

const ask = <F, E>(
  permission: Permission.Permission<F, E, Needs>,
  who?: Who,
  facts: Permission.Facts = message()
) => Effect.map(decide(permission, facts, who), shown)

/** Runs with a store of its own. */
const alone = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, Throttle.layerMemory())

const twice = { limit: 2, window: "1 second", algorithm: "fixed-window" } as const
const once = { limit: 1, window: "1 second" } as const

const peek = () => Effect.die("nothing is explained")

/** A store that answers after a while, and counts how often it is asked. */
const slow = (wait = 0) => {
  const keys: Array<string> = []
  const layer = Layer.succeed(Throttle.Store, {
    peek,
    consume: (key) => Effect.sync(() => keys.push(key)).pipe(Effect.andThen(Effect.sleep(10)), Effect.as(wait))
  })
  return { keys, layer }
}

storeSuite("in memory", () => Throttle.layerMemory())
storeSuite("in memory, which the process shares", () => Layer.empty)

describe("Throttle", () => {
  describe("an explanation", () => {
    const throttles = {
      perConnection: Throttle.perConnection("explained", once),
      perIdentity: Throttle.perIdentity(CurrentUser, "explained", once),
      perAddress: Throttle.perAddress("explained", once)
    }
    for (const [name, throttle] of Object.entries(throttles)) {
      it.effect(`of ${name} says what the throttle would say, and counts nothing`, () =>
        alone(Effect.gen(function*() {
          const who = { scope: connection() }
          const explained = (facts: Permission.Facts) =>
            Permission.explain(throttle as Permission.Permission<never, unknown, Needs>, facts).pipe(
              Effect.map(({ outcome }) => outcome),
              Effect.provideService(ConnectionScope.ConnectionScope, who.scope),
              Effect.provideService(CurrentUser.identity, Authentication.anonymous),
              Effect.provideService(Partner.identity, Authentication.anonymous)
            )
          for (let i = 0; i < 3; i++) assert.strictEqual(yield* explained(message()), "Allow")
          const first = message()
          assert.strictEqual(yield* ask(throttle, who, first), "Allow")
          // Of a message that has been decided it is what was decided.
          assert.strictEqual(yield* explained(first), "Allow")
          assert.strictEqual(yield* explained(message()), "Failed")
          yield* TestClock.adjust("1 second")
          assert.strictEqual(yield* explained(message()), "Allow")
          assert.strictEqual(yield* ask(throttle, who), "Allow")
        })))
    }
  })

  describe("the reference itself", () => {
    it("knows the algorithms", () => {
      assert.strictEqual(reference(bucket(2, 1, 10), [], 5), 0)
      assert.strictEqual(reference(bucket(2, 1, 10), [0], 0), 0)
      assert.strictEqual(reference(bucket(2, 1, 10), [0, 0], 0), 10)
      assert.strictEqual(reference(bucket(2, 3, 10), [0, 0], 0), 4)
      assert.strictEqual(reference(bucket(2, 1, 10), [0, 5, 10], 12), 8)
      assert.strictEqual(reference(fixed(2, 10), [0, 9], 9), 1)
      assert.strictEqual(reference(fixed(2, 10), [0, 9, 10], 10), 0)
      assert.strictEqual(reference(fixed(2, 10), [0, 15], 20), 0)
      assert.strictEqual(reference(fixed(2, 10), [0, 15, 20], 21), 4)
    })
  })

  describe("a limit", () => {
    const throttles = {
      perConnection: (limit: Throttle.Limit) => Throttle.perConnection("x", limit),
      perIdentity: (limit: Throttle.Limit) => Throttle.perIdentity(CurrentUser, "x", limit),
      perAddress: (limit: Throttle.Limit) => Throttle.perAddress("x", limit),
      connectPerIdentity: (limit: Throttle.Limit) => Throttle.connectPerIdentity(CurrentUser, "x", limit),
      connectPerAddress: (limit: Throttle.Limit) => Throttle.connectPerAddress("x", limit)
    }
    const wrong: ReadonlyArray<readonly [limit: Throttle.Limit, words: RegExp]> = [
      [{ limit: 0, window: 1 }, /"x".*limit must be a whole number from 1, not 0/],
      [{ limit: -1, window: 1 }, /limit must be/],
      [{ limit: 1.5, window: 1 }, /limit must be/],
      [{ limit: NaN, window: 1 }, /limit must be/],
      [{ limit: Infinity, window: 1 }, /limit must be/],
      [{ limit: "1" as never, window: 1 }, /limit must be/],
      [{ limit: 1, window: 0 }, /window must be a duration longer than nothing/],
      [{ limit: 1, window: -1 }, /window must be/],
      [{ limit: 1, window: NaN }, /window must be/],
      [{ limit: 1, window: Infinity }, /window must be/],
      [{ limit: 1, window: "1 fortnight" as never }, /window must be.*1 fortnight/],
      [{ limit: 1, window: undefined as never }, /window must be/],
      [{ limit: 1, window: 1, burst: 0 }, /burst must be/],
      [{ limit: 1, window: 1, burst: 1.5 }, /burst must be/],
      [{ limit: 1, window: 1, burst: 1, algorithm: "fixed-window" }, /a fixed window has no burst/],
      [{ limit: 1, window: 1, algorithm: "leaky-bucket" as never }, /no algorithm "leaky-bucket"/],
      [{ limit: Number.MAX_SAFE_INTEGER, window: 2 }, /cannot be counted/]
    ]

    it("with wrong numbers throws when it is made", () => {
      for (const [name, make] of Object.entries(throttles)) {
        for (const [limit, words] of wrong) {
          assert.throws(() => make(limit), TypeError, words, `${name} ${JSON.stringify(limit)}`)
        }
      }
      for (const maxKeys of [0, -1, 1.5, NaN]) {
        assert.throws(() => Throttle.makeMemory({ maxKeys }), TypeError, /maxKeys must be/)
      }
    })

    it("may be small, large, and any duration", () => {
      for (const make of Object.values(throttles)) {
        make({ limit: 1, window: "500 micros" })
        make({ limit: 1_000_000, window: "30 days" })
        make({ limit: 10, window: { seconds: 1 }, burst: 1 })
      }
    })

    it("makes a permission that reads well", () => {
      const permission = Permission.or(
        Permission.not(Throttle.perConnection("posts", once)),
        Permission.all([
          Throttle.perIdentity(CurrentUser, "posts", once),
          Throttle.perAddress("posts", once),
          Throttle.connectPerIdentity(CurrentUser, "handshakes", once),
          Throttle.connectPerAddress("handshakes", once)
        ])
      )
      assert.strictEqual(
        Permission.print(permission),
        "or(not(perConnection(posts)), and(perIdentity(posts), perAddress(posts), " +
          "connectPerIdentity(handshakes), connectPerAddress(handshakes)))"
      )
    })
  })

  describe("perConnection", () => {
    it.effect.prop(
      "lets through what the reference lets through",
      { rule, steps },
      Effect.fnUntraced(function*({ rule, steps }) {
        const { algorithm, capacity, limit, window } = rule
        const throttle = Throttle.perConnection(
          "reference",
          algorithm === "fixed-window" ? { algorithm, limit, window } : { algorithm, limit, window, burst: capacity }
        )
        const scope = connection()
        const taken: Array<number> = []
        for (const ms of steps) {
          yield* TestClock.adjust(ms)
          const now = yield* Clock.currentTimeMillis
          const wait = reference(rule, taken, now)
          assert.strictEqual(yield* ask(throttle, { scope }), wait === 0 ? "Allow" : wait / 1000)
          if (wait === 0) taken.push(now)
        }
      }),
      { arbitrary: { runs: 200 } }
    )

    it.effect("counts each connection for itself, and asks no store", () =>
      Effect.gen(function*() {
        const throttle = Throttle.perConnection("x", once)
        const [first, second] = [{ scope: connection("::1") }, { scope: connection("::1") }]
        assert.strictEqual(yield* ask(throttle, first), "Allow")
        assert.strictEqual(yield* ask(throttle, second), "Allow")
        assert.strictEqual(yield* ask(throttle, first), 1)
        assert.strictEqual(yield* ask(throttle, second), 1)
      }).pipe(Effect.provideService(Throttle.Store, { peek, consume: () => Effect.die("the store was asked") })))

    it.effect("counts together what has one name and limit, and apart what has not", () =>
      Effect.gen(function*() {
        const who = { scope: connection() }
        assert.strictEqual(yield* ask(Throttle.perConnection("x", once), who), "Allow")
        assert.strictEqual(yield* ask(Throttle.perConnection("x", once), who), 1)
        for (const other of [Throttle.perConnection("y", once), Throttle.perConnection("x", twice)]) {
          assert.strictEqual(yield* ask(other, who), "Allow")
        }
      }))
  })

  describe("perIdentity", () => {
    it.effect("counts each user on all their connections, and of an anonymous one its address", () =>
      alone(Effect.gen(function*() {
        const throttle = Throttle.perIdentity(CurrentUser, "x", once)
        const on = (address: string, identity?: Authentication.Identity<User>): Who => ({
          scope: connection(address),
          ...(identity === undefined ? {} : { identity })
        })
        assert.strictEqual(yield* ask(throttle, on("10.0.0.1", user("alice"))), "Allow")
        assert.strictEqual(yield* ask(throttle, on("10.0.0.2", user("alice"))), 1)
        assert.strictEqual(yield* ask(throttle, on("10.0.0.1", user("bob"))), "Allow")
        assert.strictEqual(yield* ask(throttle, on("10.0.0.1")), "Allow")
        assert.strictEqual(yield* ask(throttle, on("::ffff:10.0.0.1")), 1)
        assert.strictEqual(yield* ask(throttle, on("10.0.0.2")), "Allow")
        for (const id of ["10.0.0.1", "anonymous:10.0.0.1"]) {
          assert.strictEqual(yield* ask(throttle, on("10.0.0.9", user(id))), "Allow")
        }
      })))

    it.effect("counts users apart who have one key in two services", () =>
      alone(Effect.gen(function*() {
        for (
          const throttle of [Throttle.perIdentity(CurrentUser, "x", once), Throttle.perIdentity(Partner, "x", once)]
        ) {
          assert.strictEqual(yield* ask(throttle, { identity: user("alice") }), "Allow")
          assert.strictEqual(yield* ask(throttle, { identity: user("alice") }), 1)
        }
      })))

    it.effect("counts users and names for themselves whatever they are called", () =>
      alone(Effect.gen(function*() {
        const names = ["__proto__", "constructor", "", ":", "\"", "\":user:", "user:a", "a"]
        for (const name of names) {
          const throttle = Throttle.perIdentity(CurrentUser, name, once)
          for (const id of names) {
            assert.strictEqual(yield* ask(throttle, { identity: user(id) }), "Allow", `${name} ${id}`)
            assert.strictEqual(yield* ask(throttle, { identity: user(id) }), 1, `${name} ${id}`)
          }
        }
      })))

    it.effect("does not let pass what it finds no key for", () =>
      Effect.gen(function*() {
        class Broken extends Authentication.Service<Broken, User>()("test/Broken", {
          key: () => {
            throw new Error("no key")
          }
        }) {}
        const decision = yield* Permission.decide(Throttle.perIdentity(Broken, "x", once), message()).pipe(
          Effect.provideService(ConnectionScope.ConnectionScope, connection()),
          Effect.provideService(Broken.identity, user("alice"))
        )
        assert.strictEqual(decision._tag, "Failed")
      }))
  })

  describe("perAddress", () => {
    /** Which of some addresses count as the first one. */
    const likeFirst = (...addresses: ReadonlyArray<string | undefined>) =>
      alone(Effect.gen(function*() {
        const throttle = Throttle.perAddress("x", once)
        const answers: Array<string | number> = []
        for (const address of addresses) answers.push(yield* ask(throttle, { scope: connection(address) }))
        assert.strictEqual(answers[0], "Allow")
        return answers.slice(1).map((answer) => answer !== "Allow")
      }))

    it.effect("counts an IPv6 address as its network", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* likeFirst(
            "2001:db8:0:1::1",
            "2001:db8:0:1::2",
            "2001:DB8::1:ffff:ffff:ffff:ffff",
            "2001:0db8:0000:0001:0000:0000:0000:0001",
            "2001:db8:0:1::1%eth0",
            "2001:db8:0:1::192.0.2.1",
            "2001:db8:0:2::1",
            "2001:db8::1"
          ),
          [true, true, true, true, true, false, false]
        )
        assert.deepStrictEqual(yield* likeFirst("fe80::1%eth0", "fe80::2%eth1", "fe80::"), [true, true])
        assert.deepStrictEqual(yield* likeFirst("::1", "::2", "1::"), [true, false])
      }))

    it.effect("counts an IPv4 address as what it is, however it is written", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* likeFirst(
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "::FFFF:192.0.2.1",
            "::ffff:c000:201",
            "0:0:0:0:0:ffff:192.0.2.1",
            "::ffff:192.0.2.2",
            "192.0.2.2",
            "::192.0.2.1"
          ),
          [true, true, true, true, false, true, false]
        )
      }))

    it.effect("counts all together whose address is not known", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* likeFirst(undefined, "", " ", "%eth0", "unknown", "192.0.2.1"), [
          true,
          true,
          true,
          true,
          false
        ])
      }))

    it.effect("takes what is no address for itself", () =>
      Effect.gen(function*() {
        const odd = [
          ":",
          ":::",
          "1::2::3",
          "1:2:3:4:5:6:7",
          "1:2:3:4:5:6:7:8:9",
          "1:2:3:4:5:6:7::8",
          "::12345",
          "::g",
          "::ffff:192.0.2.256",
          "::ffff:192.0.2",
          "::1192.0.2.1",
          "::a192.0.2.1",
          "192.0.2.1::",
          "::192.0.2.1:1",
          "192.0.2.1:80",
          "__proto__",
          "constructor"
        ]
        assert.deepStrictEqual(yield* likeFirst("192.0.2.1", ...odd), odd.map(() => false))
        for (const address of odd) assert.deepStrictEqual(yield* likeFirst(address, address), [true], address)
        assert.deepStrictEqual(yield* likeFirst("1:2:3:4::", "1:2:3:4:5:6:7::8"), [false])
        assert.deepStrictEqual(yield* likeFirst("192.0.3.0", "::ffff:192.0.2.256"), [false])
      }))

    const groups = Arbitrary.array(
      Arbitrary.schema(Schema.Literals([0, 0, 0, 1, 0xab, 0xffff])),
      { minLength: 8, maxLength: 8 }
    )

    it.effect.prop(
      "counts an IPv6 address as itself however it is shortened",
      { groups },
      Effect.fnUntraced(function*({ groups }) {
        const hex = groups.map((group) => group.toString(16))
        const written = [
          hex.map((group) => group.padStart(4, "0")).join(":"),
          new URL(`http://[${hex.join(":")}]/`).hostname.slice(1, -1),
          `${hex.slice(0, 6).join(":")}:${groups.slice(6).flatMap((group) => [group >> 8, group & 255]).join(".")}`
        ]
        assert.deepStrictEqual(yield* likeFirst(hex.join(":"), ...written), [true, true, true])
      }),
      { arbitrary: { runs: 200 } }
    )

    it.effect("counts apart what one name and another address, put together, have in common", () =>
      alone(Effect.gen(function*() {
        const of = (name: string, address: string) => ask(Throttle.perAddress(name, once, { address: () => address }))
        assert.strictEqual(yield* of("a", "b:c:d"), "Allow")
        assert.strictEqual(yield* of("a:b", "c:d"), "Allow")
        assert.strictEqual(yield* of("a:b:c", "d"), "Allow")
      })))

    it.effect("takes the address from where it is told, behind a proxy", () =>
      alone(Effect.gen(function*() {
        const options: Throttle.AddressOptions = { address: (scope) => scope.headers["x-real-ip"] }
        const by = (client: string, proxy: string): Who => ({ scope: connection(proxy, { "x-real-ip": client }) })
        for (
          const throttle of [
            Throttle.perAddress("a", once, options),
            Throttle.perIdentity(CurrentUser, "b", once, options)
          ]
        ) {
          assert.strictEqual(yield* ask(throttle, by("192.0.2.1", "10.0.0.1")), "Allow")
          assert.strictEqual(yield* ask(throttle, by("192.0.2.2", "10.0.0.1")), "Allow")
          assert.strictEqual(yield* ask(throttle, by("192.0.2.1", "10.0.0.2")), 1)
          assert.strictEqual(yield* ask(throttle, { scope: connection("10.0.0.1") }), "Allow")
          assert.strictEqual(yield* ask(throttle, { scope: connection("10.0.0.2") }), 1)
        }
      })))
  })

  describe("a handshake", () => {
    it.effect("is counted by address, once", () =>
      alone(Effect.gen(function*() {
        const throttle = Throttle.connectPerAddress("x", twice)
        const connect = { phase: "connection" } as const
        const first = { scope: connection("192.0.2.1") }
        for (let i = 0; i < 5; i++) assert.strictEqual(yield* ask(throttle, first, connect), "Allow")
        assert.strictEqual(yield* ask(Permission.and(throttle, throttle), first, message()), "Allow")
        assert.strictEqual(yield* ask(throttle, { scope: connection("192.0.2.1") }, connect), "Allow")
        const third = { scope: connection("192.0.2.1") }
        for (let i = 0; i < 3; i++) assert.strictEqual(yield* ask(throttle, third, connect), 1)
        assert.strictEqual(yield* ask(throttle, { scope: connection("192.0.2.2") }, connect), "Allow")
      })))

    it.effect("is counted by user, or address", () =>
      alone(Effect.gen(function*() {
        const throttle = Throttle.connectPerIdentity(CurrentUser, "x", once)
        const connect = (address: string, identity?: Authentication.Identity<User>) =>
          ask(throttle, { scope: connection(address), ...(identity === undefined ? {} : { identity }) }, {
            phase: "connection"
          })
        assert.strictEqual(yield* connect("192.0.2.1", user("alice")), "Allow")
        assert.strictEqual(yield* connect("192.0.2.2", user("alice")), 1)
        assert.strictEqual(yield* connect("192.0.2.1"), "Allow")
        assert.strictEqual(yield* connect("192.0.2.1"), 1)
        assert.strictEqual(yield* connect("192.0.2.1", user("bob")), "Allow")
      })))
  })

  describe("a message", () => {
    const kinds = {
      perConnection: Throttle.perConnection("once", twice),
      perIdentity: Throttle.perIdentity(CurrentUser, "once", twice),
      perAddress: Throttle.perAddress("once", twice)
    }

    for (const [kind, p] of Object.entries(kinds)) {
      const same: Readonly<
        Record<string, Permission.Permission<{ readonly action: string }, Throttle.Failure, Needs>>
      > = {
        "and(p, p)": Permission.and(p, p),
        "or(p, p)": Permission.or(p, p),
        "not(not(p))": Permission.not(Permission.not(p)),
        "and(p, or(p, allow))": Permission.and(p, Permission.or(p, Permission.allow)),
        "or(and(p, p), and(p, p))": Permission.or(Permission.and(p, p), Permission.and(p, p)),
        "all([p, p, p])": Permission.all([p, p, p])
      }
      for (const [law, q] of Object.entries(same)) {
        it.effect(`counts once: ${law} is p, ${kind}`, () =>
          alone(Effect.gen(function*() {
            const [left, right] = [{ scope: connection("192.0.2.1") }, { scope: connection("192.0.2.2") }]
            for (const ms of [0, 400, 0, 0, 600, 0, 0]) {
              yield* TestClock.adjust(ms)
              assert.strictEqual(yield* ask(q, left), yield* ask(p, right))
            }
          })))
      }

      it.effect(`counts once, decided again and explained, ${kind}`, () =>
        alone(Effect.gen(function*() {
          const who = { scope: connection("192.0.2.1"), identity: user("alice") }
          for (const expected of ["Allow", "Allow", 1]) {
            const facts = message()
            for (let i = 0; i < 3; i++) {
              assert.strictEqual(yield* ask(p, who, facts), expected)
              const later = { ...who, identity: user("somebody else") }
              assert.strictEqual(yield* ask(p, later, facts), expected)
            }
            const explanation = yield* Permission.explain(Permission.and(p, p), facts).pipe(
              Effect.provideService(ConnectionScope.ConnectionScope, who.scope),
              Effect.provideService(CurrentUser.identity, who.identity)
            )
            assert.strictEqual(explanation.outcome, expected === "Allow" ? "Allow" : "Failed")
          }
        })))
    }

    it.effect("keeps its answer as time goes by", () =>
      Effect.gen(function*() {
        const throttle = Throttle.perConnection("x", once)
        const who = { scope: connection() }
        const [first, second] = [message(), message()]
        assert.strictEqual(yield* ask(throttle, who, first), "Allow")
        assert.strictEqual(yield* ask(throttle, who, second), 1)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* ask(throttle, who, second), 1)
        assert.strictEqual(yield* ask(throttle, who, first), "Allow")
        assert.strictEqual(yield* ask(throttle, who), "Allow")
      }))

    it.effect("counts once when it is asked about twice at once", () => {
      const { keys, layer } = slow()
      return Effect.gen(function*() {
        const throttle = Throttle.perAddress("x", once)
        const facts = message()
        const asked = yield* Effect.forkChild(
          Effect.all(Array.from({ length: 10 }, () => ask(Permission.and(throttle, throttle), {}, facts)), {
            concurrency: "unbounded"
          })
        )
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(new Set(yield* Fiber.join(asked)), new Set(["Allow"]))
        assert.strictEqual(keys.length, 1)
      }).pipe(Effect.provide(layer))
    })

    it.effect("is not lost to others when who asked first is interrupted", () => {
      const { keys, layer } = slow(5)
      return Effect.gen(function*() {
        const throttle = Throttle.perAddress("x", once)
        const facts = message()
        const first = yield* Effect.forkChild(ask(throttle, {}, facts), { startImmediately: true })
        const second = yield* Effect.forkChild(ask(throttle, {}, facts), { startImmediately: true })
        yield* TestClock.adjust(5)
        yield* Fiber.interrupt(first)
        yield* TestClock.adjust(10)
        assert.strictEqual(yield* Fiber.join(second), 0.005)
        assert.strictEqual(keys.length, 2)
      }).pipe(Effect.provide(layer))
    })

    it.effect("is counted by every throttle of another name or limit", () => {
      const { keys, layer } = slow()
      return Effect.gen(function*() {
        const permission = Permission.all([
          Throttle.perAddress("x", once),
          Throttle.perAddress("y", once),
          Throttle.perAddress("x", twice),
          Throttle.perIdentity(CurrentUser, "x", once),
          Throttle.perAddress("x", once)
        ])
        const asked = yield* Effect.forkChild(ask(permission))
        yield* TestClock.adjust(100)
        assert.strictEqual(yield* Fiber.join(asked), "Allow")
        assert.strictEqual(keys.length, 4)
        assert.strictEqual(new Set(keys).size, 4)
      }).pipe(Effect.provide(layer))
    })

    for (const [kind, throttle] of Object.entries(kinds)) {
      it.effect(`is one of no more than the limit, of a hundred at once, ${kind}`, () =>
        alone(Effect.gen(function*() {
          const scope = connection("192.0.2.1")
          const answers = yield* Effect.all(
            Array.from({ length: 100 }, () => Effect.andThen(Effect.yieldNow, ask(throttle, { scope }))),
            { concurrency: 100 }
          )
          assert.strictEqual(answers.filter((answer) => answer === "Allow").length, 2)
          assert.strictEqual(answers.filter((answer) => answer === 1).length, 98)
        })))
    }
  })

  describe("in an expression", () => {
    const isAdmin = Permission.connection("isAdmin", CurrentUser.use((user) => user.admin))

    it.effect("never allows under not", () =>
      Effect.gen(function*() {
        const throttle = Permission.not(Throttle.perConnection("x", once))
        const who = { scope: connection() }
        assert.strictEqual(yield* ask(throttle, who), "Deny")
        assert.strictEqual(yield* ask(throttle, who), 1)
        assert.strictEqual(yield* ask(Permission.not(throttle), who), 1)
      }))

    it.effect("or(isAdmin, throttle) does not count the admins", () => {
      const { keys, layer } = slow()
      return Effect.gen(function*() {
        const permission = Permission.or(isAdmin, Throttle.perIdentity(CurrentUser, "x", once))
        for (let i = 0; i < 5; i++) {
          assert.strictEqual(yield* ask(permission, { identity: user("root", true) }), "Allow")
        }
        assert.deepStrictEqual(keys, [])
        const asked = yield* Effect.forkChild(ask(permission, { identity: user("alice") }))
        yield* TestClock.adjust(10)
        assert.strictEqual(yield* Fiber.join(asked), "Allow")
        assert.strictEqual(keys.length, 1)
      }).pipe(Effect.provide(layer))
    })

    it.effect("or(throttle, isAdmin) lets in the admin who was throttled, and(throttle, isAdmin) denies the others", () =>
      alone(Effect.gen(function*() {
        const throttle = Throttle.perIdentity(CurrentUser, "x", once)
        const [root, alice] = [{ identity: user("root", true) }, { identity: user("alice") }]
        for (const expected of ["Allow", 1]) {
          assert.strictEqual(yield* ask(throttle, root), expected)
          assert.strictEqual(yield* ask(throttle, alice), expected)
        }
        assert.strictEqual(yield* ask(Permission.or(throttle, isAdmin), root), "Allow")
        assert.strictEqual(yield* ask(Permission.or(throttle, isAdmin), alice), 1)
        assert.strictEqual(yield* ask(Permission.and(throttle, isAdmin), alice), "Deny")
        assert.strictEqual(yield* ask(Permission.and(throttle, isAdmin), root), 1)
      })))

    it.effect("is pending on a connection, and counts nothing there", () =>
      Effect.gen(function*() {
        const throttle = Throttle.perConnection("x", once)
        const scope = connection()
        const decision = yield* Permission.decide(throttle, { phase: "connection" }).pipe(
          Effect.provideService(ConnectionScope.ConnectionScope, scope)
        )
        assert.strictEqual(decision._tag, "Pending")
        assert.strictEqual(yield* ask(throttle, { scope }), "Allow")
      }))
  })

  describe("retryAfter", () => {
    it.effect("is in seconds, to the millisecond, and never nothing", () =>
      Effect.gen(function*() {
        const after = Effect.fnUntraced(function*(limit: Throttle.Limit) {
          const throttle = Throttle.perConnection("x", limit)
          const who = { scope: connection() }
          let answer = yield* ask(throttle, who)
          while (answer === "Allow") answer = yield* ask(throttle, who)
          return answer
        })
        assert.strictEqual(yield* after({ limit: 3, window: "1 second" }), 0.334)
        assert.strictEqual(yield* after({ limit: 3, window: "1 second", algorithm: "fixed-window" }), 1)
        assert.strictEqual(yield* after({ limit: 1000, window: 1 }), 0.001)
        assert.strictEqual(yield* after({ limit: 1, window: "500 micros" }), 0.001)
        assert.strictEqual(yield* after({ limit: 1, window: "365 days" }), 31_536_000)
      }))

    it.effect("is what the store says, rounded up", () =>
      Effect.gen(function*() {
        const throttle = Throttle.perAddress("x", once)
        for (const [wait, expected] of [[0.2, 0.001], [1.5, 0.002], [1500, 1.5]] as const) {
          assert.strictEqual(
            yield* ask(throttle).pipe(
              Effect.provideService(Throttle.Store, { peek, consume: () => Effect.succeed(wait) })
            ),
            expected
          )
        }
      }))
  })

  describe("a clock that is put back", () => {
    for (
      const limit of [
        { limit: 2, window: "1 second" },
        { limit: 2, window: "1 second", algorithm: "fixed-window" }
      ] as const
    ) {
      it.effect(`neither gives nor takes for ever, ${"algorithm" in limit ? limit.algorithm : "token-bucket"}`, () =>
        alone(Effect.gen(function*() {
          for (const throttle of [Throttle.perConnection("x", limit), Throttle.perAddress("x", limit)]) {
            const who = { scope: connection() }
            yield* TestClock.setTime(1_000_000)
            assert.strictEqual(yield* ask(throttle, who), "Allow")
            assert.strictEqual(yield* ask(throttle, who), "Allow")
            for (let time = 900_000; time > 0; time -= 100_000) {
              yield* TestClock.setTime(time)
              const wait = yield* ask(throttle, who)
              assert.isTrue(typeof wait === "number" && wait > 0 && wait <= 1, String(wait))
            }
            yield* TestClock.adjust("1 second")
            assert.strictEqual(yield* ask(throttle, who), "Allow")
          }
        })))
    }
  })

  describe("a store", () => {
    it.effect("that is unavailable lets nothing pass", () =>
      Effect.gen(function*() {
        const down = new ChannelError.Unavailable({ message: "The store does not answer" })
        let asked = 0
        const throttle = Throttle.perAddress("x", once)
        const facts = message()
        yield* Effect.gen(function*() {
          for (const permission of [throttle, Permission.not(throttle), Permission.and(throttle, throttle)]) {
            const decision = yield* decide(permission, facts)
            assert.strictEqual(decision._tag, "Failed")
            if (decision._tag === "Failed") assert.strictEqual(Cause.squash(decision.cause), down)
          }
        }).pipe(Effect.provideService(Throttle.Store, {
          peek,
          consume: () =>
            Effect.suspend(() => {
              asked++
              return Effect.fail(down)
            })
        }))
        assert.strictEqual(asked, 1)
      }))

    it.effect("is one for the process by default, and one for itself as a layer", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* Throttle.Store, yield* Throttle.Store)
        const [a, b] = yield* Effect.all([alone(Throttle.Store), alone(Throttle.Store)])
        assert.notStrictEqual(a, b)
      }))
  })

  describe("the store in memory", () => {
    it.effect("holds no more keys than it may, of a million", () =>
      Effect.gen(function*() {
        for (const maxKeys of [1, 1000, undefined]) {
          const store = Throttle.makeMemory({ maxKeys })
          const rule = bucket(1, 1, 3_600_000)
          let largest = 0
          yield* Effect.gen(function*() {
            for (let i = 0; i < 1_000_000; i++) {
              yield* store.consume(`key ${i}`, rule)
              if (store.size() > largest) largest = store.size()
            }
          })
          assert.strictEqual(largest, maxKeys ?? 100_000)
          assert.strictEqual(store.size(), maxKeys ?? 100_000)
        }
      }), 60_000)

    it.effect("forgets the key first that was used least recently", () =>
      Effect.gen(function*() {
        const store = Throttle.makeMemory({ maxKeys: 3 })
        const use = (key: string) => store.consume(key, fixed(1, 1000))
        for (const key of ["a", "b", "c"]) assert.strictEqual(yield* use(key), 0)
        assert.strictEqual(yield* use("a"), 1000)
        assert.strictEqual(yield* use("d"), 0)
        for (const key of ["a", "c", "d"]) assert.strictEqual(yield* use(key), 1000, key)
        assert.strictEqual(yield* use("b"), 0)
        assert.strictEqual(store.size(), 3)
      }))

    it.effect("forgets what has nothing left to remember, behind what has", () =>
      Effect.gen(function*() {
        const store = Throttle.makeMemory()
        for (let i = 0; i < 10; i++) yield* store.consume(`long ${i}`, fixed(1, 3_600_000))
        for (let i = 0; i < 1000; i++) {
          yield* store.consume(`short ${i}`, i % 2 === 0 ? fixed(1, 100) : bucket(5, 1, 100))
        }
        assert.strictEqual(store.size(), 1010)
        yield* TestClock.adjust(100)
        for (let i = 0; i < 520; i++) {
          yield* store.consume("another", fixed(1000, 3_600_000))
        }
        assert.strictEqual(store.size(), 11)
      }))

    it.effect.prop(
      "forgets nothing that counts, but of keys which are not among those used last",
      {
        maxKeys: Arbitrary.schema(Schema.Literals([1, 2, 3, 5])),
        requests: Arbitrary.array(
          Arbitrary.all({
            key: Arbitrary.schema(Schema.Literals(["a", "b", "c", "d", "e"])),
            ms: Arbitrary.schema(Schema.Literals([0, 0, 0, 1, 5, 20]))
          }),
          { maxLength: 100 }
        )
      },
      Effect.fnUntraced(function*({ maxKeys, requests }) {
        const store = Throttle.makeMemory({ maxKeys })
        const rules = { a: fixed(1, 7), b: fixed(3, 20), c: bucket(2, 1, 5), d: bucket(1, 3, 40), e: fixed(2, 100) }
        /** When requests have been taken under a key, as far as the store remembers: there may be several answers. */
        const taken: Record<string, ReadonlyArray<ReadonlyArray<number>>> = {}
        let last: ReadonlyArray<string> = []
        for (const { key, ms } of requests) {
          yield* TestClock.adjust(ms)
          const now = yield* Clock.currentTimeMillis
          const wait = yield* store.consume(key, rules[key])
          const possible = (taken[key] ?? []).concat(last.slice(0, maxKeys).includes(key) ? [] : [[]])
            .filter((taken) => reference(rules[key], taken, now) === wait)
          assert.isAbove(possible.length, 0)
          taken[key] = wait === 0 ? possible.map((taken) => [...taken, now]) : possible
          last = [key, ...last.filter((other) => other !== key)]
          assert.isAtMost(store.size(), maxKeys)
        }
        yield* TestClock.adjust("1 second")
        for (let i = 0; i < 10; i++) yield* store.consume("another", fixed(10, 1000))
        assert.strictEqual(store.size(), 1)
      }),
      { arbitrary: { runs: 500 } }
    )

    it.effect("is what a layer provides", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* consume("a", fixed(1, 1000)), 0)
        assert.strictEqual(yield* consume("b", fixed(1, 1000)), 0)
        assert.strictEqual(yield* consume("a", fixed(1, 1000)), 0)
      }).pipe(Effect.provide(Throttle.layerMemory({ maxKeys: 1 }))))
  })

  describe("on a server", () => {
    const post = Action.make("post", { success: Schema.String })

    it.effect("answers 429 with retry_after, and refuses handshakes with it", () =>
      alone(Effect.gen(function*() {
        const Chat = Consumer.make("chat", { path: "/ws/" }).pipe(
          Consumer.permitConnect(Throttle.connectPerAddress("handshakes", once)),
          Consumer.add(post.pipe(Action.permit(Throttle.perAddress("posts", once))))
        )
        const pipeline = yield* serve(
          [Chat],
          Consumer.handlers(Chat).pipe(Handlers.handle("post", () => Effect.succeed("posted")), Handlers.toLayer)
        )
        const client = yield* open(pipeline)
        assert.strictEqual((yield* client.ask({ action: "post" })).status, 200)
        yield* TestClock.adjust(250)
        const { errors, status } = yield* client.ask({ action: "post" })
        assert.strictEqual(status, 429)
        const [error] = errors as ReadonlyArray<Reply.ReplyError>
        assert.strictEqual(errors.length, 1)
        assert.strictEqual(error?.code, "throttled")
        assert.strictEqual(error?.retry_after, 0.75)
        const refused = yield* Effect.flip(open(pipeline, "/ws/", "2"))
        assert.strictEqual(refused.status, 429)
        yield* TestClock.adjust(750)
        assert.strictEqual((yield* client.ask({ action: "post" })).status, 200)
        yield* open(pipeline, "/ws/", "3")
      })))
  })
})
