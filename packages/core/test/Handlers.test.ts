import { Action, Consumer, Handlers, Permission, Route } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { open, serve } from "./support/connection.ts"
import { NotThere } from "./support/consumers.ts"

/** What the types would not let one write. */
interface Loose {
  readonly consumer?: object
  readonly members?: ReadonlyArray<unknown>
  readonly permit?: unknown
  readonly permitConnect?: unknown
  /** `[name, handler]` or `[route, name, handler]`. */
  readonly handlers?: ReadonlyArray<ReadonlyArray<unknown>>
}

const addToConsumer = Consumer.add as unknown as Adding<Consumer.Any>
const addToRoute = Route.add as unknown as Adding<Route.Any>

type Adding<Self> = (...members: ReadonlyArray<unknown>) => (self: unknown) => Self

const noop = () => Effect.void

const layerOf = (
  { consumer, handlers = [["a", noop]], members = [Action.make("a")], permit, permitConnect }: Loose
) => {
  let made = Consumer.make("wrong", { path: "/ws/", ...consumer }) as Consumer.Any
  made = addToConsumer(...members)(made)
  if (permit !== undefined) made = Consumer.permit(permit as never)(made as never)
  if (permitConnect !== undefined) made = Consumer.permitConnect(permitConnect as never)(made as never)
  let composed = Consumer.handlers(made as never) as unknown
  for (const handler of handlers) composed = Handlers.handle(...handler as [never, never])(composed as never)
  return Handlers.toLayer(composed as never) as Layer.Layer<never, Handlers.DefinitionError>
}

/** The problems of a consumer; none when it can be served. */
const problemsOf = (loose: Loose): Effect.Effect<ReadonlyArray<string>> =>
  Effect.scoped(Layer.build(layerOf(loose))).pipe(
    Effect.as([]),
    Effect.catch(({ problems }) => Effect.succeed(problems))
  )

const route = (path: string, members: ReadonlyArray<unknown> = [], params?: object) =>
  addToRoute(...members)(Route.make(path, params as never))

const permitted = (self: unknown, permission: unknown) => Route.permit(permission as never)(self as never) as Route.Any

const a = Action.make("a")

const ofObject = Permission.object<unknown>()("isOwner", () => true)
const ofAction = Permission.action("isOpen", () => true)
const ofDelivery = Permission.delivery<unknown>()("isRecipient", () => true)

const about = (action: unknown) => Action.object(Schema.String)(action as never) as Action.Any
const permit = (action: unknown, permission: unknown) => Action.permit(permission as never)(action as never)

const objectHandler = { object: noop, run: noop }

describe("a consumer that cannot be served says so", () => {
  const cases: ReadonlyArray<readonly [what: string, loose: Loose, ...problems: ReadonlyArray<string>]> = [
    [
      "a subprotocol of the protocol's own",
      { consumer: { subprotocols: ["v1.chat", Consumer.refusalsSubprotocol] } },
      "its subprotocol \"effect-channels.refusals\" is the protocol's own, by which refusals are told: give it another name"
    ],
    ["no handler", { handlers: [] }, "the action \"a\" of the consumer has no handler: add it with Handlers.handle"],
    [
      "no handler in a route",
      { members: [route("r/", [a])], handlers: [] },
      "the action \"a\" of the route \"r/\" has no handler: add it with Handlers.handle"
    ],
    [
      "a handler too many",
      { handlers: [["a", noop], ["b", noop]] },
      "the action \"b\" of the consumer has a handler, but no such action was added to the consumer"
    ],
    [
      "a handler for a route that is not there",
      { handlers: [["a", noop], ["r/", "a", noop]] },
      "the action \"a\" of the route \"r/\" has a handler, but no such action was added to the consumer"
    ],
    [
      "a handler twice",
      { handlers: [["a", noop], ["a", noop]] },
      "the action \"a\" of the consumer is handled twice: remove one handler"
    ],
    [
      "a handler twice in a route",
      { members: [route("r/", [a])], handlers: [["r/", "a", noop], ["r/", "a", noop]] },
      "the action \"a\" of the route \"r/\" is handled twice: remove one handler"
    ],
    ["an action twice", { members: [a, a] }, "the action \"a\" of the consumer was added twice"],
    [
      "an action twice in a route",
      { members: [route("r/", [a, a])], handlers: [["r/", "a", noop]] },
      "the action \"a\" of the route \"r/\" was added twice"
    ],
    [
      "an object handler without an object",
      { handlers: [["a", objectHandler]] },
      "the action \"a\" of the consumer is about no object: its handler is a function"
    ],
    [
      "a function as handler of an object",
      { members: [about(a)] },
      "the action \"a\" of the consumer is about an object: its handler is { object, run }"
    ],
    ["a path without its slash", { consumer: { path: "ws/" } }, "its path \"ws/\" must start with \"/\""],
    ["no path", { consumer: { path: "" } }, "its path \"\" must start with \"/\""],
    [
      "a path with a query string",
      { consumer: { path: "/ws/?a" } },
      "its path \"/ws/?a\" is no pattern: it holds a \"?\": the query string is not part of the match"
    ],
    [
      "a path with a nameless parameter",
      { consumer: { path: "/ws/:/" } },
      "its path \"/ws/:/\" is no pattern: \":\" is no parameter: a name starts with a letter, then letters, digits, \"_\""
    ],
    [
      "a path with a parameter of the object prototype",
      { consumer: { path: "/ws/:__proto__/" } },
      "its path \"/ws/:__proto__/\" is no pattern: \":__proto__\" is no parameter: " +
      "a name starts with a letter, then letters, digits, \"_\""
    ],
    [
      "a path with a parameter twice",
      { consumer: { path: "/:a/:a/" } },
      "its path \"/:a/:a/\" is no pattern: \":a\" stands in it twice"
    ],
    [
      "a path without the parameter of a schema",
      { consumer: { path: "/ws/:a/", params: { a: Schema.String, b: Schema.String } } },
      "its path \"/ws/:a/\" declares the parameter \"b\", but has no \":b\""
    ],
    [
      "a route with a query string",
      { members: [a, route("r/?x")] },
      "the route \"r/?x\" is no pattern: it holds a \"?\": the query string is not part of the match"
    ],
    [
      "a route with a wrong parameter",
      { members: [a, route("r/:a-b/")] },
      "the route \"r/:a-b/\" is no pattern: \":a-b\" is no parameter: " +
      "a name starts with a letter, then letters, digits, \"_\""
    ],
    [
      "a route without the parameter of a schema",
      { members: [a, route("r/", [], { id: Schema.String })] },
      "the route \"r/\" declares the parameter \"id\", but has no \":id\""
    ],
    [
      "a route without a path",
      { members: [a, route("r/", [route("")])] },
      "a route in the route \"r/\" has an empty path: add its actions themselves",
      "the routes \"r/\" and \"r/\" can match the same string"
    ],
    [
      "a route without a path in the consumer",
      { members: [a, route("")] },
      "a route in the consumer has an empty path: add its actions themselves",
      "the routes \"\" and \"\" can match the same string"
    ],
    [
      "routes without a slash between them",
      { members: [a, route("r", [route("s/")])] },
      "the routes \"r\" and \"s/\" join without a \"/\" between them"
    ],
    [
      "a parameter of an outer route",
      { members: [a, route(":id/", [route("r/:id/")])] },
      "the parameter \":id\" of the route \":id/r/:id/\" is already one of an outer path"
    ],
    [
      "a parameter of the consumer",
      { consumer: { path: "/:room/" }, members: [a, route("r/", [route(":room/")])] },
      "the parameter \":room\" of the route \"r/:room/\" is already one of an outer path"
    ],
    [
      "a route twice",
      { members: [a, route("r/"), route("r/")] },
      "the routes \"r/\" and \"r/\" can match the same string"
    ],
    [
      "routes with parameters at the same place",
      { members: [a, route("r/:a/"), route("r/:b/")] },
      "the routes \"r/:a/\" and \"r/:b/\" can match the same string"
    ],
    [
      "routes of which neither is more specific",
      { members: [a, route(":a/x/"), route("x/:b/")] },
      "the routes \":a/x/\" and \"x/:b/\" can match the same string"
    ],
    [
      "routes that clash across levels",
      { members: [a, route("r/", [route(":a/")]), route("r/:b/")] },
      "the routes \"r/:a/\" and \"r/:b/\" can match the same string"
    ],
    ...[0, -1, 1.5, NaN, Infinity].flatMap((concurrency): ReadonlyArray<readonly [string, Loose, string]> => [
      [
        `a consumer's concurrency of ${concurrency}`,
        { consumer: { concurrency } },
        `the concurrency of the consumer is ${concurrency}: give a whole number from 1, or "unbounded"`
      ],
      [
        `an action's concurrency of ${concurrency}`,
        { members: [Action.make("a", { concurrency })] },
        `the concurrency of the action "a" of the consumer is ${concurrency}: give a whole number from 1, or "unbounded"`
      ]
    ]),
    ...[0, -1, "0 seconds", "-1 seconds", NaN, "30 parsecs"].flatMap(
      (timeout): ReadonlyArray<readonly [string, Loose, string]> => [
        [
          `a consumer's timeout of ${timeout}`,
          { consumer: { timeout } },
          `the timeout of the consumer is ${JSON.stringify(timeout)}: give a duration longer than nothing`
        ],
        [
          `an action's timeout of ${timeout}`,
          { members: [Action.make("a", { timeout: timeout as number })] },
          `the timeout of the action "a" of the consumer is ${JSON.stringify(timeout)}: ` +
          "give a duration longer than nothing"
        ]
      ]
    ),
    ...[199, 300, 404, 200.5, NaN].map((status): readonly [string, Loose, string] => [
      `a success of status ${status}`,
      { members: [Action.make("a", { status })] },
      `the status of the action "a" of the consumer is ${status}: a success has one from 200 to 299`
    ]),
    ...["action", "route", "data", "request_id"].map((name): readonly [string, Loose, string] => [
      `a field named ${name}`,
      { members: [Action.make("a", { fields: Schema.Struct({ [name]: Schema.String, other: Schema.String }) })] },
      `the field "${name}" of the action "a" of the consumer is one of the protocol's own keys: give it another name`
    ]),
    [
      "an action check on the handshake",
      { permitConnect: Permission.not(ofAction) },
      "the check \"isOpen\" of permitConnect can only be decided in the action phase"
    ],
    [
      "an object check on the handshake",
      { permitConnect: Permission.or(Permission.allow, ofObject) },
      "the check \"isOwner\" of permitConnect can only be decided in the object phase"
    ],
    [
      "a delivery check on messages of the consumer",
      { permit: Permission.and(ofAction, ofDelivery) },
      "the check \"isRecipient\" of the consumer's permission can only be decided in the delivery phase"
    ],
    [
      "a delivery check on a route",
      { members: [a, permitted(route("r/"), ofDelivery)] },
      "the check \"isRecipient\" of the permission of the route \"r/\" can only be decided in the delivery phase"
    ],
    [
      "a delivery check on an action",
      { members: [permit(a, ofDelivery)] },
      "the check \"isRecipient\" of the permission of the action \"a\" of the consumer " +
      "can only be decided in the delivery phase"
    ],
    ...[
      { members: [permit(a, Permission.or(ofAction, Permission.not(ofObject)))] },
      { permit: ofObject }
    ].map((loose, i): readonly [string, Loose, string] => [
      `an object check without an object, ${["of its action", "of the consumer"][i]}`,
      loose,
      "the permission \"isOwner\" looks at an object, but the action \"a\" of the consumer has none: " +
      "add Action.object, or guard it otherwise"
    ]),
    [
      "an object check without an object, of an outer route",
      {
        members: [permitted(route("r/", [about(a), route("s/", [a])]), ofObject)],
        handlers: [["r/", "a", objectHandler], ["r/s/", "a", noop]]
      },
      "the permission \"isOwner\" looks at an object, but the action \"a\" of the route \"r/s/\" has none: " +
      "add Action.object, or guard it otherwise"
    ]
  ]

  for (const [what, loose, ...problems] of cases) {
    it.effect(`for ${what}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* problemsOf(loose), problems)
      }))
  }

  it.effect("with all problems at once, in the layer's failure", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(layerOf({
        consumer: { path: "ws/:id/:id/", params: { x: Schema.String }, concurrency: 0, timeout: 0 },
        permitConnect: ofAction,
        permit: ofDelivery,
        members: [
          Action.make("a", { status: 500, fields: Schema.Struct({ data: Schema.String }) }),
          Action.make("b", { timeout: 0, concurrency: -1 }),
          route("r/:id/", [a]),
          route("r/:other/")
        ],
        handlers: [["a", objectHandler], ["a", noop], ["c", noop]]
      }))))
      const problems = [
        "the action \"a\" of the consumer is handled twice: remove one handler",
        "its path \"ws/:id/:id/\" is no pattern: \":id\" stands in it twice",
        "its path \"ws/:id/:id/\" declares the parameter \"x\", but has no \":x\"",
        "its path \"ws/:id/:id/\" must start with \"/\"",
        "the concurrency of the consumer is 0: give a whole number from 1, or \"unbounded\"",
        "the timeout of the consumer is 0: give a duration longer than nothing",
        "the check \"isOpen\" of permitConnect can only be decided in the action phase",
        "the check \"isRecipient\" of the consumer's permission can only be decided in the delivery phase",
        "the status of the action \"a\" of the consumer is 500: a success has one from 200 to 299",
        "the field \"data\" of the action \"a\" of the consumer is one of the protocol's own keys: give it another name",
        "the concurrency of the action \"b\" of the consumer is -1: give a whole number from 1, or \"unbounded\"",
        "the timeout of the action \"b\" of the consumer is 0: give a duration longer than nothing",
        "the action \"b\" of the consumer has no handler: add it with Handlers.handle",
        "the action \"a\" of the route \"r/:id/\" has no handler: add it with Handlers.handle",
        "the parameter \":id\" of the route \"r/:id/\" is already one of an outer path",
        "the routes \"r/:id/\" and \"r/:other/\" can match the same string",
        "the action \"c\" of the consumer has a handler, but no such action was added to the consumer"
      ]
      const reason = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
      const error = reason?._tag === "Fail" ? reason.error : undefined
      assert.instanceOf(error, Handlers.DefinitionError)
      assert.sameMembers([...error.problems], problems)
      assert.strictEqual(
        error.message,
        ["The consumer \"wrong\" cannot be served:", ...error.problems.map((problem) => `- ${problem}`)].join("\n")
      )
    }))
})

describe("a consumer that can be served", () => {
  const right: ReadonlyArray<readonly [what: string, loose: Loose]> = [
    ["nothing in it", { members: [], handlers: [] }],
    ["an action", {}],
    ["the path of the root", { consumer: { path: "/" } }],
    ["any concurrency", { consumer: { concurrency: "unbounded" }, members: [Action.make("a", { concurrency: 1 })] }],
    ["no timeout", { consumer: { timeout: "Infinity" }, members: [Action.make("a", { timeout: Infinity })] }],
    ["a short timeout", { consumer: { timeout: 1 }, members: [Action.make("a", { timeout: "1 nanos" })] }],
    ["every status of success", {
      members: [Action.make("a", { status: 299 }), Action.make("b", { status: 200 })],
      handlers: [["a", noop], ["b", noop]]
    }],
    ["fields with names of their own", {
      members: [Action.make("a", { fields: Schema.Struct({ Action: Schema.String, requestId: Schema.String }) })]
    }],
    ["an action of one name in each route", {
      members: [a, route("r/", [a, route("s/", [a])])],
      handlers: [["a", noop], ["r/", "a", noop], ["r/s/", "a", noop]]
    }],
    ["routes that are more specific than others", {
      members: [a, route("r/:id/"), route("r/new/"), route(":a/:b/:c/"), route("x/:b/:c/"), route("x/y/:c/")]
    }],
    ["a parameter next to a slash", { members: [a, route("r/"), route("r/:id"), route("r/:id/")] }],
    ["one parameter's name in routes side by side", { members: [a, route("r/:id/"), route("s/:id/")] }],
    ["a route that starts with a slash", { members: [a, route("r", [route("/s")])] }],
    ["every check at its place", {
      permitConnect: Permission.connection("ok", Effect.succeed(true)),
      permit: ofAction,
      members: [permitted(route("r/", [permit(about(a), ofObject)]), ofObject)],
      handlers: [["r/", "a", objectHandler]]
    }]
  ]

  for (const [what, loose] of right) {
    it.effect(`may have ${what}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* problemsOf(loose), [])
      }))
  }
})

describe("handlers", () => {
  class Store extends Context.Service<Store, { readonly find: (id: number) => Effect.Effect<string, NotThere> }>()(
    "test/Store"
  ) {}

  const edit = Action.make("edit", {
    payload: { text: Schema.String },
    fields: { dry: Schema.Boolean },
    success: Schema.Unknown,
    error: NotThere
  }).pipe(Action.object(Schema.String))

  const Rooms = Consumer.make("rooms", { path: "/rooms/:room/" }).pipe(
    Consumer.add(
      Action.make("plain", { success: Schema.String }),
      Route.make("items/:id/", { id: Schema.NumberFromString }).pipe(
        Route.add(Route.make("parts/:part/").pipe(Route.add(edit)))
      )
    )
  )

  it.effect("get the request, what they need, and the object that was loaded for it", () =>
    Effect.gen(function*() {
      const loads: Array<unknown> = []
      const RoomsLive = Consumer.handlers(Rooms).pipe(
        Handlers.handle("plain", () => Effect.succeed("plain")),
        Handlers.handle("items/:id/parts/:part/", "edit", {
          object: ({ action, fields, params, payload, query, requestId, route }) => {
            loads.push({ action, fields, params, payload, query: { ...query }, requestId, route })
            return Store.use((store) => store.find(params.id))
          },
          run: ({ fields, object, params, payload }) => Effect.succeed({ object, fields, params, payload })
        }),
        Handlers.toLayer
      )
      const pipeline = yield* serve(
        [Rooms],
        Layer.provide(
          RoomsLive,
          Layer.succeed(Store, {
            find: (id) => id === 7 ? Effect.succeed("the seventh") : Effect.fail(new NotThere({ id }))
          })
        )
      )
      const client = yield* open(pipeline, "/rooms/lobby/")
      const request = (id: number) => ({
        action: "edit",
        route: `items/${id}/parts/a%2Fb/?x=1`,
        data: { text: "hi" },
        dry: true,
        request_id: "r"
      })
      const params = { room: "lobby", id: 7, part: "a/b" }
      assert.deepStrictEqual((yield* client.ask(request(7))).data, {
        object: "the seventh",
        fields: { dry: true },
        params,
        payload: { text: "hi" }
      })
      assert.deepStrictEqual(loads, [{
        action: "edit",
        fields: { dry: true },
        params,
        payload: { text: "hi" },
        query: { x: "1" },
        requestId: "r",
        route: "items/7/parts/a%2Fb/"
      }])
      assert.strictEqual((yield* client.ask(request(8))).status, 404)
      assert.strictEqual((yield* client.ask({ action: "plain" })).data, "plain")
    }))

  it("are values: adding a handler leaves what it was added to as it was", () => {
    const none = Consumer.handlers(Rooms)
    const one = none.pipe(Handlers.handle("plain", () => Effect.succeed("plain")))
    assert.deepStrictEqual(none.handlers, [])
    assert.strictEqual(one.handlers.length, 1)
    assert.deepStrictEqual(JSON.parse(String(one)), {
      _id: "Handlers",
      consumer: "rooms",
      handlers: [{ route: "", name: "plain" }]
    })
  })
})

describe("any routes", () => {
  const segment = Schema.Literals(["a", "b", ":", ""])
  const Patterns = Arbitrary.array(
    Arbitrary.array(Arbitrary.schema(segment), { minLength: 1, maxLength: 3 }).pipe(
      Arbitrary.map((segments) => segments.map((segment, i) => segment === ":" ? `:p${i}` : segment).join("/"))
    ),
    { minLength: 1, maxLength: 5 }
  ).pipe(Arbitrary.map((patterns) => patterns.filter((pattern) => pattern !== "")))

  const matches = (pattern: string, path: string) => {
    const names = pattern.split("/")
    const segments = path.split("/")
    return names.length === segments.length &&
      names.every((name, i) => name.startsWith(":") ? segments[i] !== "" : name === segments[i])
  }

  /** Whether a pattern is at least as specific as another one, segment by segment. */
  const isWithin = (inner: string, outer: string) => {
    const segments = inner.split("/")
    return outer.split("/").every((name, i) => name.startsWith(":") || name === segments[i])
  }

  const paramsOf = (pattern: string, path: string) => {
    const segments = path.split("/")
    return Object.fromEntries(
      pattern.split("/").flatMap((name, i) => name.startsWith(":") ? [[name.slice(1), segments[i]]] : [])
    )
  }

  const someSegments = ["a", "b", "c", ""]
  const paths = [
    ...someSegments,
    ...someSegments.flatMap((x) => someSegments.map((y) => `${x}/${y}`)),
    ...someSegments.flatMap((x) => someSegments.flatMap((y) => someSegments.map((z) => `${x}/${y}/${z}`)))
  ]

  it.effect.prop(
    "are refused when two of them can match one string, else the most specific one matches",
    [Patterns],
    ([patterns]) =>
      Effect.gen(function*() {
        const which = Action.make("which", { success: Schema.Unknown })
        const loose: Loose = {
          members: patterns.map((pattern) => route(pattern, [which])),
          handlers: patterns.map((
            pattern
          ) => [pattern, "which", ({ params }: Handlers.Request) => Effect.succeed({ pattern, params })])
        }
        const ambiguous = patterns.some((one, i) =>
          patterns.slice(i + 1).some((other) =>
            paths.some((path) => matches(one, path) && matches(other, path)) &&
            isWithin(one, other) === isWithin(other, one)
          )
        )
        const problems = yield* problemsOf(loose)
        assert.strictEqual(problems.some((problem) => problem.includes("can match the same string")), ambiguous)
        if (ambiguous) return
        assert.deepStrictEqual(problems, [])
        const Wrong = { name: "wrong", path: "/ws/" } as Consumer.Any & { readonly name: "wrong" }
        const client = yield* open(
          yield* serve([Wrong], layerOf(loose) as Layer.Layer<Handlers.Live<"wrong">, Handlers.DefinitionError>)
        )
        for (const path of paths.filter((path) => path !== "")) {
          const found = patterns.filter((pattern) => matches(pattern, path)).sort((x, y) => isWithin(x, y) ? -1 : 1)[0]
          const reply = yield* client.ask({ action: "which", route: path })
          assert.deepStrictEqual([path, reply.status, reply.data], [
            path,
            found === undefined ? 404 : 200,
            found === undefined ? null : { pattern: found, params: paramsOf(found, path) }
          ])
        }
      }),
    { arbitrary: { runs: 100 } }
  )
})
