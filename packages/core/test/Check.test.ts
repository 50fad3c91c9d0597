import {
  Authentication,
  ChannelError,
  Check,
  ConnectionScope,
  Decision,
  Permission,
  Query
} from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"

const roles = ["admin", "editor", "constructor", "__proto__", "toString", "superadmin"] as const
type Role = (typeof roles)[number]

interface User {
  readonly id: number
  readonly roles: ReadonlyArray<Role> | ReadonlySet<Role>
  readonly scopes: ReadonlyArray<string> | ReadonlySet<string>
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("test/CurrentUser") {}
class Staff extends Authentication.Service<Staff, { readonly role: Role | 7 }>()("test/Staff") {}

const alice: User = { id: 1, roles: ["admin"], scopes: ["read"] }

const connection: Permission.Facts = { phase: "connection" }
const asking = (action: string) => ({ phase: "action", action, route: "", query: Query.empty, params: {} }) as const
const about = (object: unknown): Permission.Facts => ({
  ...asking("edit"),
  phase: "object",
  payload: undefined,
  object
})

const decide = (
  permission: Permission.Permission<never, unknown, CurrentUser | Staff | ConnectionScope.ConnectionScope>,
  facts: Permission.Facts,
  identity: Authentication.Identity<unknown> = Authentication.anonymous,
  headers: Readonly<Record<string, string>> = {}
) =>
  Permission.decide(permission, facts).pipe(
    Effect.map(Decision.conclude),
    Effect.provideService(CurrentUser.identity, identity as Authentication.Identity<User>),
    Effect.provideService(Staff.identity, identity as Authentication.Identity<{ readonly role: Role }>),
    Effect.provideService(ConnectionScope.ConnectionScope, ConnectionScope.make({ id: "1", url: "/", headers }, {}))
  )

const as = (user: unknown) => Authentication.authenticated(user)

/** What was decided, or the name of the error. */
const outcome = (...args: Parameters<typeof decide>) =>
  Effect.map(decide(...args), (decision) => {
    if (decision._tag !== "Failed") return decision._tag
    const error = Cause.squash(decision.cause)
    return error instanceof ChannelError.NotAuthenticated ? error._tag : decision._tag
  })

/** What the client may read of a denial. */
const denialOf = (...args: Parameters<typeof decide>) =>
  Effect.map(decide(...args), (decision) => {
    if (decision._tag !== "Deny") return assert.fail(decision._tag)
    const { check, code, phase, reason } = decision.denial
    return { check, code, phase, reason }
  })

describe("Check", () => {
  it("has names that read well", () => {
    const permissions: ReadonlyArray<Permission.Any> = [
      Check.isAuthenticated(CurrentUser),
      Check.isAnonymous(CurrentUser),
      Check.hasRole(CurrentUser, "admin"),
      Check.hasRole(Staff, 7),
      Check.hasScope(CurrentUser, "messages:read"),
      Check.sameOrigin,
      Check.actionIn(["list", "retrieve"]),
      Check.readOnly,
      Check.between({ from: "2026-01-01T00:00:00Z" }),
      Check.isOwner<{ readonly ownerId: number }>()(CurrentUser, { object: "ownerId", user: "id" })
    ]
    assert.deepStrictEqual(permissions.map(Permission.print), [
      "isAuthenticated",
      "isAnonymous",
      "hasRole(admin)",
      "hasRole(7)",
      "hasScope(messages:read)",
      "sameOrigin",
      "actionIn(list, retrieve)",
      "readOnly",
      "between(from 2026-01-01T00:00:00.000Z)",
      "isOwner(ownerId)"
    ])
    assert.deepStrictEqual(permissions.flatMap(Permission.checks).map(({ phase }) => phase), [
      "connection",
      "connection",
      "connection",
      "connection",
      "connection",
      "connection",
      "action",
      "action",
      "action",
      "object"
    ])
  })

  it.effect("tells the client what it was given to tell", () =>
    Effect.gen(function*() {
      const options = { reason: "Not you", code: "not_you" }
      const denials = [
        yield* denialOf(Check.isAnonymous(CurrentUser, options), connection, as(alice)),
        yield* denialOf(Check.hasRole(CurrentUser, "editor", options), connection, as(alice)),
        yield* denialOf(Check.hasScope(CurrentUser, "write", options), connection, as(alice)),
        yield* denialOf(Check.actionIn([], options), asking("list")),
        yield* denialOf(Check.between({ from: "2026-01-01T00:00:00Z" }, options), asking("list")),
        yield* denialOf(
          Check.isOwner<{ readonly by: number }>()(CurrentUser, { object: "by", user: "id" }, options),
          about({ by: 2 }),
          as(alice)
        )
      ]
      for (const { code, reason } of denials) assert.deepStrictEqual({ code, reason }, options)
      assert.deepStrictEqual(
        yield* denialOf(Check.hasRole(CurrentUser, "editor"), connection, as(alice)),
        { check: "hasRole(editor)", phase: "connection", reason: undefined, code: undefined }
      )
      const { code } = yield* denialOf(Check.hasScope(CurrentUser, "write"), connection, as(alice))
      assert.strictEqual(code, "insufficient_scope")
    }))

  describe("isAuthenticated, isAnonymous", () => {
    it.effect("tell users from guests", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* outcome(Check.isAuthenticated(CurrentUser), connection, as(alice)), "Allow")
        assert.strictEqual(yield* outcome(Check.isAuthenticated(CurrentUser), connection), "Deny")
        assert.strictEqual(yield* outcome(Check.isAnonymous(CurrentUser), connection, as(alice)), "Deny")
        assert.strictEqual(yield* outcome(Check.isAnonymous(CurrentUser), connection), "Allow")
      }))
  })

  describe("hasRole, hasScope", () => {
    const role = Arbitrary.schema(Schema.Literals(roles))

    it.effect.prop(
      "allow who has it, in an array or a set",
      { had: Arbitrary.array(role, { maxLength: 4 }), role },
      Effect.fnUntraced(function*({ had, role }) {
        const expected = had.some((one) => one === role) ? "Allow" : "Deny"
        for (const names of [had, new Set(had)]) {
          const user = as({ id: 1, roles: names, scopes: names })
          assert.strictEqual(yield* outcome(Check.hasRole(CurrentUser, role), connection, user), expected)
          assert.strictEqual(yield* outcome(Check.hasScope(CurrentUser, role), connection, user), expected)
        }
        for (const one of had) {
          assert.strictEqual(
            yield* outcome(Check.hasRole(Staff, role), connection, as({ role: one })),
            one === role ? "Allow" : "Deny"
          )
        }
      }),
      { arbitrary: { runs: 200 } }
    )

    it.effect("prefer several roles to one", () =>
      Effect.gen(function*() {
        const user = as({ id: 1, role: "admin", roles: ["editor"], scopes: [] })
        assert.strictEqual(yield* outcome(Check.hasRole(CurrentUser, "editor"), connection, user), "Allow")
        assert.strictEqual(yield* outcome(Check.hasRole(CurrentUser, "admin"), connection, user), "Deny")
      }))

    it.effect("see roles that a class computes", () =>
      Effect.gen(function*() {
        class Account {
          get roles() {
            return ["admin"]
          }
        }
        assert.strictEqual(yield* outcome(Check.hasRole(CurrentUser, "admin"), connection, as(new Account())), "Allow")
        assert.strictEqual(yield* outcome(Check.hasRole(CurrentUser, "editor"), connection, as(new Account())), "Deny")
      }))

    it.effect("fail on anonymous connections", () =>
      Effect.gen(function*() {
        const isAdmin = Check.hasRole(CurrentUser, "admin")
        for (const permission of [isAdmin, Permission.not(isAdmin), Check.hasScope(CurrentUser, "read")]) {
          assert.strictEqual(yield* outcome(permission, connection), "NotAuthenticated")
        }
      }))

    it.effect("allow nobody whose roles are none, in spite of the types", () =>
      Effect.gen(function*() {
        for (const names of ["superadmin", undefined, null, 1, { admin: true }, { __proto__: ["admin"] }]) {
          const user = as({ id: 1, roles: names, scopes: names })
          const isAdmin = Check.hasRole(CurrentUser, "admin")
          assert.strictEqual(yield* outcome(isAdmin, connection, user), "Failed", String(names))
          assert.strictEqual(yield* outcome(Permission.not(isAdmin), connection, user), "Failed")
          assert.strictEqual(yield* outcome(Check.hasScope(CurrentUser, "admin"), connection, user), "Failed")
        }
        assert.strictEqual(yield* outcome(Check.hasRole(Staff, "constructor"), connection, as({})), "Deny")
      }))
  })

  describe("isOwner", () => {
    const isOwner = Check.isOwner<{ readonly ownerId?: number | null }>()(CurrentUser, {
      object: "ownerId",
      user: "id"
    })
    const id = Arbitrary.schema(Schema.Literals([0, 1, 2]))

    it.effect.prop(
      "allows the user that the object belongs to",
      { owner: id, user: id },
      ({ owner, user }) =>
        Effect.gen(function*() {
          assert.strictEqual(
            yield* outcome(isOwner, about({ ownerId: owner }), as({ ...alice, id: user })),
            owner === user ? "Allow" : "Deny"
          )
        }),
      { arbitrary: { runs: 50 } }
    )

    it.effect("allows nobody what is nobody's", () =>
      Effect.gen(function*() {
        for (const object of [{}, { ownerId: undefined }, { ownerId: null }]) {
          for (const id of [undefined, null, 0, 1, "", "undefined", "null", NaN]) {
            assert.strictEqual(yield* outcome(isOwner, about(object), as({ ...alice, id })), "Deny")
          }
        }
        for (const ownerId of ["1", NaN, [1], 1n, true]) {
          assert.strictEqual(yield* outcome(isOwner, about({ ownerId }), as(alice)), "Deny")
        }
        assert.strictEqual(yield* outcome(isOwner, about({ ownerId: NaN }), as({ ...alice, id: NaN })), "Deny")
      }))

    it.effect("fails on anonymous connections, and without an object", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* outcome(isOwner, about({ ownerId: 1 })), "NotAuthenticated")
        assert.strictEqual(yield* outcome(isOwner, about(undefined), as(alice)), "Failed")
      }))
  })

  describe("sameOrigin", () => {
    const isAllowed = (origin: string | undefined, host: string | undefined) =>
      Effect.map(
        outcome(Check.sameOrigin, connection, undefined, {
          ...(origin === undefined ? {} : { origin }),
          ...(host === undefined ? {} : { host })
        }),
        (outcome) => outcome === "Allow"
      )

    it.effect("allows clients that are no pages", () =>
      Effect.gen(function*() {
        assert.isTrue(yield* isAllowed(undefined, "example.com"))
        assert.isTrue(yield* isAllowed(undefined, undefined))
      }))

    it.effect("allows the pages of the server's own host", () =>
      Effect.gen(function*() {
        const same = [
          ["http://example.com", "example.com"],
          ["https://example.com", "example.com"],
          ["http://example.com:8000", "example.com:8000"],
          ["http://EXAMPLE.com", "example.COM"],
          ["HTTPS://example.com:443", "example.com"],
          ["http://my_host", "my_host"],
          ["http://xn--bcher-kva.example", "xn--bcher-kva.example"],
          ["http://127.0.0.1:8000", "127.0.0.1:8000"],
          ["http://[::1]:8000", "[::1]:8000"],
          ["http://[::1]", "[::1]:80"],
          ["http://example.com", "example.com:80"],
          ["http://example.com:80", "example.com"],
          ["https://example.com", "example.com:443"],
          ["https://example.com:443", "example.com"]
        ] as const
        for (const [origin, host] of same) assert.isTrue(yield* isAllowed(origin, host), `${origin} ${host}`)
      }))

    it.effect("refuses the pages of other hosts and ports", () =>
      Effect.gen(function*() {
        const other = [
          ["http://evil.com", "example.com"],
          ["http://example.com.evil.com", "example.com"],
          ["http://evil.com#example.com", "example.com"],
          ["http://evil.com?example.com", "example.com"],
          ["http://evil.com/example.com", "example.com"],
          ["http://evil.com\\example.com", "example.com"],
          ["http://evil.com@example.com", "example.com"],
          ["http://example.com@evil.com", "example.com"],
          ["http://evil.com:80@example.com", "example.com"],
          ["http://sub.example.com", "example.com"],
          ["http://example.com.", "example.com"],
          ["http://example.com:8001", "example.com:8000"],
          ["http://example.com:8000", "example.com"],
          ["http://example.com", "example.com:8000"],
          ["http://example.com", "example.com:443"],
          ["https://example.com", "example.com:80"],
          ["http://example.com:443", "example.com"],
          ["http://example.com", "evil.com, example.com"],
          ["http://example.com", undefined],
          ["http://undefined", undefined],
          ["http://[::1]", "[::2]"],
          ["http://[::1]", "::1"]
        ] as const
        for (const [origin, host] of other) assert.isFalse(yield* isAllowed(origin, host), `${origin} ${host}`)
      }))

    it.effect("refuses what is no origin of a page", () =>
      Effect.gen(function*() {
        const odd = [
          "null",
          "",
          " ",
          "example.com",
          "http:",
          "http://",
          "http:///",
          "http:example.com",
          "http:/example.com",
          "//example.com",
          "://example.com",
          "file://",
          "file://example.com",
          "ftp://example.com",
          "ws://example.com",
          "chrome-extension://example.com",
          "about:blank",
          "http://example.com/",
          "http://example.com:",
          "http://example.com:x",
          "http://example.com:-1",
          "http://example.com:065616",
          "http://example.com:65616",
          "http://example.com:80:80",
          " http://example.com",
          "http://example.com ",
          "http://example.com\n",
          "http://exa mple.com",
          "http://example.com, http://example.com",
          "http://%65xample.com",
          "\u0000",
          "__proto__",
          "http://ex\u0430mple.com",
          "http://\u212Aelvin"
        ]
        for (const origin of odd) {
          for (
            const host of [
              "example.com",
              "",
              "null",
              "kelvin",
              "example.com:80",
              origin,
              origin.slice("http://".length)
            ]
          ) {
            assert.isFalse(yield* isAllowed(origin, host), `${origin} ${host}`)
          }
        }
      }))

    it.effect("tells no more than that it is another origin", () =>
      Effect.gen(function*() {
        const denial = yield* denialOf(Check.sameOrigin, connection, undefined, { origin: "http://a", host: "b" })
        assert.deepStrictEqual(denial, {
          check: "sameOrigin",
          phase: "connection",
          reason: "Pages of other origins may not connect",
          code: undefined
        })
      }))

    const pieces = ["http://", "https://", "ws://", "HTTP:", "/", "a.com", "A.com", "b", "[::1]", ":", ":80", ":443"]
    const text = (more: ReadonlyArray<string>) =>
      Arbitrary.array(Arbitrary.schema(Schema.Literals([...pieces, ...more])), { maxLength: 5 }).pipe(
        Arbitrary.map((parts) => parts.join(""))
      )
    const from = (...choices: ReadonlyArray<string>) => Arbitrary.schema(Schema.Literals(choices))

    /** By the parser of the platform. */
    const isSame = (origin: string, host: string): boolean => {
      try {
        const page = new URL(origin)
        return page.host !== "" && page.host === new URL(`${page.protocol}//${host}`).host
      } catch {
        return false
      }
    }

    it.effect.prop(
      "allows what is of one host by the platform's parser too, and all of it that is an origin",
      {
        odd: text(["@", "#", "?", "\\", "%61", " ", "\u0000", ".", ".."]),
        oddHost: text(["@", "#", " ", ","]),
        scheme: from("http", "https"),
        hosts: Arbitrary.array(from("a.com", "A.COM", "a.com.", "b", "[::1]", "127.0.0.1"), {
          minLength: 2,
          maxLength: 2
        }),
        ports: Arbitrary.array(from("", ":80", ":443", ":8080", ":0", ":00080"), { minLength: 2, maxLength: 2 })
      },
      Effect.fnUntraced(function*({ hosts, odd, oddHost, ports, scheme }) {
        const origin = `${scheme}://${hosts[0]}${ports[0]}`
        const host = `${hosts[1]}${ports[1]}`
        assert.strictEqual(yield* isAllowed(origin, host), isSame(origin, host), `${origin} ${host}`)
        for (const [o, h] of [[odd, oddHost], [odd, host], [origin, oddHost]] as const) {
          if (yield* isAllowed(o, h)) assert.isTrue(isSame(o, h), `${o} ${h}`)
        }
      }),
      { arbitrary: { runs: 1000 } }
    )
  })

  describe("actionIn, readOnly", () => {
    it.effect("allow the actions that are named, and no others", () =>
      Effect.gen(function*() {
        const allowed = Effect.fnUntraced(function*(permission: Permission.Permission<{ readonly action: string }>) {
          const names: Array<string> = []
          for (
            const action of [
              "list",
              "retrieve",
              "create",
              "List",
              "list ",
              "",
              "constructor",
              "__proto__",
              "list,create"
            ]
          ) {
            if ((yield* outcome(permission, asking(action))) === "Allow") names.push(action)
          }
          return names
        })
        assert.deepStrictEqual(yield* allowed(Check.actionIn(["create", "list"])), ["list", "create"])
        assert.deepStrictEqual(yield* allowed(Check.actionIn(["__proto__"])), ["__proto__"])
        assert.deepStrictEqual(yield* allowed(Check.actionIn([])), [])
        assert.deepStrictEqual(yield* allowed(Check.readOnly), ["list", "retrieve"])
      }))

    it.effect("do not change with the list that they were made of", () =>
      Effect.gen(function*() {
        const actions = ["list"]
        const permission = Check.actionIn(actions)
        actions.push("destroy")
        assert.strictEqual(yield* outcome(permission, asking("destroy")), "Deny")
      }))
  })

  describe("between", () => {
    const from = "2026-05-01T08:00:00Z"
    const until = "2026-05-01T09:00:00Z"

    const at = (permission: Permission.Permission<{ readonly action: string }>, ...times: ReadonlyArray<string>) =>
      Effect.forEach(
        times,
        (time) => Effect.andThen(TestClock.setTime(Date.parse(time)), outcome(permission, asking("vote")))
      )

    it.effect("allows from the first moment until before the last one, and decides anew each time", () =>
      Effect.gen(function*() {
        const times = [
          "2026-05-01T07:59:59.999Z",
          from,
          "2026-05-01T08:59:59.999Z",
          until,
          "2026-05-01T08:30:00Z"
        ] as const
        const bounds: ReadonlyArray<readonly [Check.Time, Check.Time]> = [
          [from, until],
          [new Date(from), new Date(until)],
          [DateTime.makeUnsafe(from), DateTime.makeUnsafe(until)],
          [DateTime.makeZonedUnsafe(from, { timeZone: "Asia/Tokyo" }), "2026-05-01T11:00:00.000+02:00"],
          ["2026-05-01T02:30-05:30", "2026-05-01t09:00:00z"]
        ]
        for (const [from, until] of bounds) {
          assert.deepStrictEqual(yield* at(Check.between({ from, until }), ...times), [
            "Deny",
            "Allow",
            "Allow",
            "Deny",
            "Allow"
          ])
        }
        assert.deepStrictEqual(yield* at(Check.between({ from }), times[0], from, "9999-01-01T00:00:00Z"), [
          "Deny",
          "Allow",
          "Allow"
        ])
        assert.deepStrictEqual(yield* at(Check.between({ until }), "1970-01-01T00:00:00Z", times[2], until), [
          "Allow",
          "Allow",
          "Deny"
        ])
      }))

    it.effect("does not change with the dates that it was made of", () =>
      Effect.gen(function*() {
        const date = new Date(until)
        const permission = Check.between({ until: date })
        date.setFullYear(2030)
        assert.deepStrictEqual(yield* at(permission, "2027-01-01T00:00:00Z"), ["Deny"])
      }))

    it("says its bounds in its name", () => {
      assert.strictEqual(
        Permission.print(Check.between({ from, until: "2026-05-01T11:00:00+02:00" })),
        "between(from 2026-05-01T08:00:00.000Z until 2026-05-01T09:00:00.000Z)"
      )
    })

    it("takes no bounds that are wrong", () => {
      const odd: ReadonlyArray<unknown> = [
        "",
        "now",
        "2026-05-01",
        "2026-05-01T08:00:00",
        "2026-05-01 08:00:00Z",
        "2026-05-01T08:00:00 Z",
        "2026-05-01T08:00:00+02",
        "2026-13-01T08:00:00Z",
        "2026-00-01T08:00:00Z",
        "2026-02-00T08:00:00Z",
        "2026-02-30T08:00:00Z",
        "2026-02-29T08:00:00Z",
        "2026-05-01T25:00:00Z",
        "2026-05-01T08:60:00Z",
        "Fri, 01 May 2026 08:00:00 GMT",
        new Date(NaN),
        null,
        1_777_622_400_000,
        {}
      ]
      for (const time of odd) {
        assert.throws(() => Check.between({ from: time as never }), TypeError, /from is no point in time/, String(time))
        assert.throws(() => Check.between({ until: time as never }), TypeError, /until is no point in time/)
      }
      Check.between({ from: "2028-02-29T08:00:00Z" })
    })

    it("takes no bounds that nothing is between, nor none", () => {
      assert.throws(() => Check.between({ from: until, until: from }), TypeError, /from must be before until/)
      assert.throws(() => Check.between({ from, until: from }), TypeError, /from must be before until/)
      assert.throws(() => Check.between({}), TypeError, /from, until, or both/)
    })
  })
})
