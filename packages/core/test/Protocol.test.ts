import { Action, Consumer, Handlers, Permission, Pipeline, Route } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Client, open, serve, withLogs } from "./support/connection.ts"
import { Nest, NotThere, Tree } from "./support/consumers.ts"

const ItemId = Schema.NumberFromString.check(Schema.isInt())

const makeApi = (concurrency?: Action.Concurrency) =>
  Consumer.make("api", { path: "/ws/" }).pipe(
    Consumer.add(
      Action.make("ping"),
      Action.make("gone", { status: 204 }),
      Action.make("post", { payload: { text: Schema.NonEmptyString }, success: Schema.String, status: 201 }),
      Action.make("echo", { payload: Schema.Unknown, success: Schema.Unknown }),
      Action.make("later", { payload: Schema.Unknown, success: Schema.Unknown, concurrency }),
      Action.make("ignore", { payload: Schema.Unknown }),
      Action.make("number", { payload: Schema.Finite, success: Schema.Finite }),
      Action.make("words", { payload: { list: Schema.Array(Schema.String), flag: Schema.Boolean } }),
      Action.make("maybe", {
        payload: Schema.optionalKey(Schema.Struct({ text: Schema.String })),
        success: Schema.Unknown
      }),
      Action.make("usually", {
        payload: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("usual"))),
        success: Schema.Unknown
      }),
      Action.make("tree", { payload: Tree }),
      Action.make("nest", { payload: Nest }),
      Action.make("keys", { payload: Schema.Record(Schema.String, Schema.Unknown), success: Schema.Unknown }),
      Action.make("list", {
        fields: { page: Schema.NumberFromString, tag: Schema.optionalKey(Schema.String) },
        success: Schema.Unknown
      }),
      Action.make("fields", { fields: Schema.Record(Schema.String, Schema.Unknown), success: Schema.Unknown }),
      Action.make("both", { payload: { a: Schema.Finite }, fields: { b: Schema.Finite }, success: Schema.Unknown }),
      Action.make("seen", { success: Schema.Unknown }),
      Action.make("missing", { error: NotThere }),
      Action.make("die"),
      Action.make("say \"ü\"\n"),
      Action.make("__proto__", { success: Schema.String }),
      Action.make("constructor", { success: Schema.String })
    ),
    Consumer.add(
      Route.make("items/").pipe(Route.add(Action.make("list", { success: Schema.String }))),
      Route.make("items/:id/", { id: ItemId }).pipe(Route.add(Action.make("get", { success: Schema.Unknown }))),
      Route.make("prices/:amount/", { amount: Schema.NumberFromString }).pipe(
        Route.add(Action.make("get", { success: Schema.Unknown }))
      ),
      Route.make("left/:a/end/now/").pipe(Route.add(Action.make("get", { success: Schema.Unknown }))),
      Route.make(":b/right/stop/now/").pipe(Route.add(Action.make("get", { success: Schema.Unknown }))),
      Route.make("items/new/").pipe(Route.add(Action.make("get", { success: Schema.String }))),
      Route.make("named/:constructor/:toString/").pipe(Route.add(Action.make("get", { success: Schema.Unknown }))),
      Route.make("__proto__/").pipe(Route.add(Action.make("get", { success: Schema.String })))
    )
  )

const Api = makeApi()

/** The same consumer, but that a request must be read before it is put in line. */
const LanedApi = makeApi(2)

const live = (api: typeof Api) =>
  Consumer.handlers(api).pipe(
    Handlers.handle("ping", () => Effect.void),
    Handlers.handle("gone", () => Effect.void),
    Handlers.handle("post", ({ payload }) => Effect.succeed(`posted ${payload.text}`)),
    Handlers.handle("echo", ({ payload }) => Effect.succeed(payload)),
    Handlers.handle("later", ({ payload }) => Effect.as(Effect.yieldNow, payload)),
    Handlers.handle("ignore", () => Effect.void),
    Handlers.handle("number", ({ payload }) => Effect.succeed(payload)),
    Handlers.handle("words", () => Effect.void),
    Handlers.handle("maybe", ({ payload }) => Effect.succeed(payload ?? "nothing")),
    Handlers.handle("usually", ({ payload }) => Effect.succeed(payload)),
    Handlers.handle("tree", () => Effect.void),
    Handlers.handle("nest", () => Effect.void),
    Handlers.handle("keys", ({ payload }) => Effect.succeed(described(payload))),
    Handlers.handle("list", ({ fields }) => Effect.succeed(fields)),
    Handlers.handle("fields", ({ fields }) => Effect.succeed(described(fields))),
    Handlers.handle("both", ({ fields, payload }) => Effect.succeed({ fields, payload })),
    Handlers.handle("seen", ({ action, fields, params, payload, query, requestId, route }) =>
      Effect.succeed({
        action,
        route,
        query,
        params,
        requestId: requestId ?? "none",
        payload: payload === undefined ? "none" : "some",
        fields: fields === undefined ? "none" : "some"
      }))
  ).pipe(
    // A pipe takes twenty steps.
    Handlers.handle("missing", () => Effect.fail(new NotThere({ id: 1 }))),
    Handlers.handle("die", () => Effect.die(new Error("secret"))),
    Handlers.handle("say \"ü\"\n", () => Effect.void),
    Handlers.handle("__proto__", () => Effect.succeed("the action __proto__")),
    Handlers.handle("constructor", () => Effect.succeed("the action constructor")),
    Handlers.handle("items/", "list", () => Effect.succeed("the list of the route")),
    Handlers.handle("items/:id/", "get", ({ params, query }) => Effect.succeed({ id: params.id, query })),
    Handlers.handle("prices/:amount/", "get", ({ params }) => Effect.succeed(params)),
    Handlers.handle("left/:a/end/now/", "get", ({ params }) => Effect.succeed(params)),
    Handlers.handle(":b/right/stop/now/", "get", ({ params }) => Effect.succeed(params)),
    Handlers.handle("items/new/", "get", () => Effect.succeed("a new one")),
    Handlers.handle("named/:constructor/:toString/", "get", ({ params }) => Effect.succeed({ ...params })),
    Handlers.handle("__proto__/", "get", () => Effect.succeed("the route __proto__")),
    Handlers.toLayer
  )

/** What a handler got, without trusting its prototype. */
const described = (value: object) => ({
  entries: Object.entries(value),
  admin: Reflect.get(value, "admin") === true,
  plain: Object.getPrototypeOf(value) === Object.prototype
})

const connectTo = (api: typeof Api) => Effect.flatMap(serve([api], live(api)), (pipeline) => open(pipeline))

const connect = connectTo(Api)

/** Requests and their whole replies, one after the other on one connection. */
const conversation = (turns: ReadonlyArray<readonly [request: unknown, reply: unknown]>) =>
  Effect.gen(function*() {
    const client = yield* connect
    for (const [request, reply] of turns) assert.deepStrictEqual(yield* client.ask(request), reply)
    yield* client.silent
  })

const succeeds = (data: unknown, echo: object, status = 200) => ({
  errors: [],
  data,
  action: null,
  route: "",
  status,
  ...echo
})

const refused = (status: number, code: string, detail: string, echo: object = {}) => ({
  errors: [{ detail, code }],
  data: null,
  action: null,
  route: "",
  status,
  ...echo
})

const invalid = (client: Client, request: unknown) =>
  Effect.map(client.ask(request), ({ data, errors, status }) => {
    assert.deepStrictEqual({ data, status }, { data: null, status: 400 })
    return errors as ReadonlyArray<{ readonly detail: string; readonly code: string; readonly path?: unknown }>
  })

/** That a text is a reply as the protocol has it: its keys in their order, and what they hold. */
const assertReply = (text: string) => {
  const reply: Record<string, unknown> = JSON.parse(text)
  const keys = ["errors", "data", "action", "route", "status"]
  assert.deepStrictEqual(Object.keys(reply), "request_id" in reply ? [...keys, "request_id"] : keys, text)
  assert.isTrue(reply.action === null || typeof reply.action === "string", text)
  assert.isString(reply.route, text)
  assert.include([200, 201, 204, 400, 401, 403, 404, 405, 408, 409, 413, 429, 500, 503], reply.status, text)
  if ("request_id" in reply) assert.include(["string", "number"], typeof reply.request_id, text)
  const errors = reply.errors as ReadonlyArray<Record<string, unknown>>
  assert.isArray(errors, text)
  assert.strictEqual(errors.length > 0, reply.status as number >= 400, text)
  if (errors.length > 0) assert.isNull(reply.data, text)
  for (const error of errors) {
    assert.isString(error.detail, text)
    assert.isTrue(error.code === undefined || typeof error.code === "string", text)
    assert.isTrue(
      error.path === undefined ||
        Array.isArray(error.path) && error.path.every((key) => typeof key === "string" || typeof key === "number"),
      text
    )
  }
  return reply
}

/** What the reply to a frame echoes. */
const echoOf = (frame: string): { action: string | null; route: string; request_id?: string | number } => {
  let body: unknown
  try {
    body = JSON.parse(frame)
  } catch {
    body = undefined
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) return { action: null, route: "" }
  const { action, request_id: id, route } = body as Record<string, unknown>
  return {
    action: typeof action === "string" ? action : null,
    route: typeof route === "string" ? route : "",
    ...(typeof id === "string" || (typeof id === "number" && Number.isFinite(id)) ? { request_id: id } : {})
  }
}

describe("replies", () => {
  it.effect("have their keys in the protocol's order", () =>
    Effect.gen(function*() {
      const client = yield* connect
      assert.strictEqual(
        yield* client.askText({ request_id: 7, route: "", data: { text: "hi" }, action: "post" }),
        "{\"errors\":[],\"data\":\"posted hi\",\"action\":\"post\",\"route\":\"\",\"status\":201,\"request_id\":7}"
      )
      assert.strictEqual(
        yield* client.askText({ action: "ping" }),
        "{\"errors\":[],\"data\":null,\"action\":\"ping\",\"route\":\"\",\"status\":200}"
      )
      assert.strictEqual(
        yield* client.askText({ action: "nope", route: "items/?a=1", request_id: "x" }),
        "{\"errors\":[{\"detail\":\"There is no action \\\"nope\\\" here\",\"code\":\"method_not_allowed\"}]," +
          "\"data\":null,\"action\":\"nope\",\"route\":\"items/?a=1\",\"status\":405,\"request_id\":\"x\"}"
      )
      assert.strictEqual(
        yield* client.askText("{"),
        "{\"errors\":[{\"detail\":\"A request is JSON: this frame is not\",\"code\":\"parse_error\"}]," +
          "\"data\":null,\"action\":null,\"route\":\"\",\"status\":400}"
      )
    }))

  it.effect("have the status of the action, and null where it has no success", () =>
    conversation([
      [{ action: "ping" }, succeeds(null, { action: "ping" })],
      [{ action: "gone" }, succeeds(null, { action: "gone" }, 204)],
      [{ action: "post", data: { text: "x" } }, succeeds("posted x", { action: "post" }, 201)],
      [{ action: "say \"ü\"\n" }, succeeds(null, { action: "say \"ü\"\n" })],
      [{ action: "later", data: [1, { a: null }] }, succeeds([1, { a: null }], { action: "later" })]
    ]))

  it.effect("echo the request's id when it is a string or a number", () =>
    conversation(
      ["", "a", "0", "\u0000", "__proto__", 0, -1, 1, 1.5, -2.5e-7, 9007199254740991].map((id) =>
        [
          { action: "ping", request_id: id },
          succeeds(null, { action: "ping", request_id: id })
        ] as const
      )
    ))

  it.effect("echo no id of another kind", () =>
    conversation(
      [null, true, false, {}, [], [1], { id: 1 }].map((id) =>
        [{ action: "ping", request_id: id }, succeeds(null, { action: "ping" })] as const
      )
    ))

  it.effect("echo no id that JSON cannot say again", () =>
    conversation([
      ["{\"action\":\"ping\",\"request_id\":1e999}", succeeds(null, { action: "ping" })],
      ["{\"action\":\"ping\",\"request_id\":-1e999}", succeeds(null, { action: "ping" })]
    ]))

  it.effect("echo what can be echoed of an envelope that is refused", () =>
    Effect.gen(function*() {
      const client = yield* connect
      const ping = { action: "ping" }
      for (
        const [request, echo] of [
          [{}, {}],
          [{ request_id: 1 }, { request_id: 1 }],
          [{ route: "items/?a=1", request_id: "x" }, { route: "items/?a=1", request_id: "x" }],
          [{ action: 1, route: "r" }, { route: "r" }],
          [{ action: null, request_id: 0 }, { request_id: 0 }],
          [{ action: ["ping"] }, {}],
          [{ action: { ping: 1 } }, {}],
          [{ action: true }, {}],
          [{ ...ping, route: null }, ping],
          [{ ...ping, route: 5, request_id: 5 }, { ...ping, request_id: 5 }],
          [{ ...ping, route: ["items/"] }, ping],
          [{ action: 1, route: 2, request_id: null }, {}]
        ] as const
      ) {
        const { errors, ...reply } = yield* client.ask(request)
        assert.deepStrictEqual<unknown>(reply, { data: null, action: null, route: "", status: 400, ...echo })
        assert.strictEqual(errors.length, 1)
        assert.strictEqual((errors as ReadonlyArray<{ readonly code: string }>)[0]!.code, "parse_error")
      }
    }))

  it.effect("echo the route as it was sent, query string included", () =>
    conversation([
      [
        { action: "get", route: "items/3/?page=2&tag=a&tag=b" },
        succeeds({ id: 3, query: { page: "2", tag: ["a", "b"] } }, {
          action: "get",
          route: "items/3/?page=2&tag=a&tag=b"
        })
      ],
      [
        { action: "get", route: "items/%33/?" },
        succeeds({ id: 3, query: {} }, { action: "get", route: "items/%33/?" })
      ],
      [{ action: "ping", route: "?a=1" }, succeeds(null, { action: "ping", route: "?a=1" })],
      // A query string belongs to its own message.
      [{ action: "get", route: "items/3/" }, succeeds({ id: 3, query: {} }, { action: "get", route: "items/3/" })]
    ]))
})

describe("requests", () => {
  it.effect("are told what is wrong with their frame", () =>
    conversation([
      ["", refused(400, "parse_error", "A request is JSON: this frame is not")],
      [" ", refused(400, "parse_error", "A request is JSON: this frame is not")],
      ["hello", refused(400, "parse_error", "A request is JSON: this frame is not")],
      ["{'action':'ping'}", refused(400, "parse_error", "A request is JSON: this frame is not")],
      ["{\"action\":\"ping\"}}", refused(400, "parse_error", "A request is JSON: this frame is not")],
      ["null", refused(400, "parse_error", "A request is a JSON object: this frame holds null")],
      ["[]", refused(400, "parse_error", "A request is a JSON object: this frame holds an array")],
      ["[{\"action\":\"ping\"}]", refused(400, "parse_error", "A request is a JSON object: this frame holds an array")],
      ["1", refused(400, "parse_error", "A request is a JSON object: this frame holds a number")],
      ["\"ping\"", refused(400, "parse_error", "A request is a JSON object: this frame holds a string")],
      ["true", refused(400, "parse_error", "A request is a JSON object: this frame holds a boolean")],
      [new Uint8Array(), refused(400, "parse_error", "A request is a text frame: this one is binary")],
      [
        new TextEncoder().encode("{\"action\":\"ping\"}"),
        refused(400, "parse_error", "A request is a text frame: this one is binary")
      ],
      ["{}", refused(400, "parse_error", "A request names its \"action\": this one has none")],
      ["{\"action\":null}", refused(400, "parse_error", "The \"action\" is a string: this one is null")],
      [
        "{\"action\":\"ping\",\"route\":[]}",
        refused(400, "parse_error", "The \"route\" is a string: this one is an array", { action: "ping" })
      ],
      [{ action: "ping" }, succeeds(null, { action: "ping" })]
    ]))

  it.effect("may have white space around them, and keys nobody asked for", () =>
    conversation([
      [" \n{\t\"action\" : \"ping\" , \"x\": {\"y\":[1]}} \r\n", succeeds(null, { action: "ping" })],
      [{ action: "ping", data: { anything: 1 } }, succeeds(null, { action: "ping" })],
      [{ action: "post", data: { text: "a", more: 1 } }, succeeds("posted a", { action: "post" }, 201)]
    ]))

  it.effect("with a key twice mean the last one, in the echo too", () =>
    conversation([
      ["{\"action\":\"die\",\"action\":\"ping\"}", succeeds(null, { action: "ping" })],
      [
        "{\"request_id\":1,\"action\":\"number\",\"data\":1,\"data\":2,\"request_id\":2}",
        succeeds(2, { action: "number", request_id: 2 })
      ]
    ]))

  it.effect("reach their handler with all it may know of them", () =>
    conversation([
      [
        { action: "seen", route: "?a=1&b", request_id: 5, data: 1, more: 2 },
        succeeds({
          action: "seen",
          route: "",
          query: { a: "1", b: "" },
          params: {},
          requestId: 5,
          payload: "none",
          fields: "none"
        }, { action: "seen", route: "?a=1&b", request_id: 5 })
      ],
      [
        { action: "seen" },
        succeeds({
          action: "seen",
          route: "",
          query: {},
          params: {},
          requestId: "none",
          payload: "none",
          fields: "none"
        }, { action: "seen" })
      ]
    ]))
})

describe("routes", () => {
  it.effect("match whole, case-sensitively, and without their query string", () =>
    Effect.gen(function*() {
      const client = yield* connect
      const ask = (route: string) => client.ask({ action: "get", route })
      for (const route of ["items/1/", "items/1/?x=/", "items/-7/", "items/new/", "items/%31/", "items/1/?items/2/"]) {
        assert.strictEqual((yield* ask(route)).status, 200, route)
      }
      for (
        const route of [
          "items",
          "items/1",
          "items/1/x",
          "items/1/x/",
          "items/1//",
          "/items/1/",
          "Items/1/",
          "items//",
          "items/x/",
          "items/1.5/",
          "items/NaN/",
          "items/Infinity/",
          "items/1 /x",
          "items/%/",
          "items/1%2F/",
          "items/1/#",
          " items/1/",
          "items/NEW/",
          "*",
          "items/*/",
          "items/:id/",
          "prices/x/",
          "prices/NaN/",
          "prices//",
          "/",
          "get",
          "__proto__",
          "constructor",
          "toString/",
          "items/__proto__/"
        ]
      ) {
        assert.deepStrictEqual<unknown>(
          yield* ask(route),
          refused(404, "not_found", `There is no route "${route}"`, { action: "get", route })
        )
      }
    }))

  it.effect("that are not there do not run the action of that name elsewhere", () =>
    conversation([
      [
        { action: "list", route: "items/" },
        succeeds("the list of the route", { action: "list", route: "items/" })
      ],
      [
        { action: "list", route: "nothing/?x=1" },
        refused(404, "not_found", "There is no route \"nothing/\"", { action: "list", route: "nothing/?x=1" })
      ],
      [
        { action: "ping", route: "items/" },
        refused(405, "method_not_allowed", "There is no action \"ping\" here", { action: "ping", route: "items/" })
      ],
      [
        { action: "ping", route: "nothing/" },
        refused(404, "not_found", "There is no route \"nothing/\"", { action: "ping", route: "nothing/" })
      ]
    ]))

  it.effect("prefer what is written to a parameter", () =>
    conversation([
      [{ action: "get", route: "items/new/" }, succeeds("a new one", { action: "get", route: "items/new/" })],
      [
        { action: "get", route: "items/10/" },
        succeeds({ id: 10, query: {} }, { action: "get", route: "items/10/" })
      ],
      // The way that seems more specific may lead nowhere.
      [
        { action: "get", route: "left/right/stop/now/" },
        succeeds({ b: "left" }, { action: "get", route: "left/right/stop/now/" })
      ],
      [
        { action: "get", route: "left/right/end/now/" },
        succeeds({ a: "right" }, { action: "get", route: "left/right/end/now/" })
      ]
    ]))
})

describe("payload and fields", () => {
  it.effect("are refused with every problem and where it is", () =>
    Effect.gen(function*() {
      const client = yield* connect
      assert.deepStrictEqual(
        yield* invalid(client, { action: "words", data: { list: ["1", 2, "3", null], flag: 4 } }),
        [
          { detail: "Expected string", code: "invalid", path: ["data", "list", 1] },
          { detail: "Expected string", code: "invalid", path: ["data", "list", 3] },
          { detail: "Expected boolean", code: "invalid", path: ["data", "flag"] }
        ]
      )
      assert.deepStrictEqual(yield* invalid(client, { action: "words" }), [
        { detail: "Expected object", code: "invalid", path: ["data"] }
      ])
      assert.deepStrictEqual(yield* invalid(client, { action: "post", data: {} }), [
        { detail: "Missing key", code: "invalid", path: ["data", "text"] }
      ])
      assert.deepStrictEqual(yield* invalid(client, { action: "list", page: 1 }), [
        { detail: "Expected string", code: "invalid", path: ["page"] }
      ])
      assert.deepStrictEqual(yield* invalid(client, { action: "both", data: { a: "1" }, b: "2" }), [
        { detail: "Expected number", code: "invalid", path: ["data", "a"] }
      ])
      assert.deepStrictEqual(yield* invalid(client, { action: "both", data: { a: 1 } }), [
        { detail: "Missing key", code: "invalid", path: ["b"] }
      ])
    }))

  it.effect("never come back in what is said of them", () =>
    Effect.gen(function*() {
      const client = yield* connect
      for (const data of ["hunter2", { list: "hunter2", flag: ["hunter2"] }, { list: ["hunter2"], flag: "hunter2" }]) {
        assert.notInclude(JSON.stringify(yield* invalid(client, { action: "words", data })), "hunter2")
      }
    }))

  it.effect("are decoded by their schemas", () =>
    conversation([
      [{ action: "list", page: "2", other: 1 }, succeeds({ page: 2 }, { action: "list" })],
      [{ action: "list", page: "2", tag: "x" }, succeeds({ page: 2, tag: "x" }, { action: "list" })],
      [
        { action: "both", data: { a: 1 }, b: 2, c: 3 },
        succeeds({ fields: { b: 2 }, payload: { a: 1 } }, { action: "both" })
      ],
      [
        { action: "fields", route: "?x", data: { a: 1 }, request_id: 9, b: 2, a: [null] },
        succeeds({ entries: [["b", 2], ["a", [null]]], admin: false, plain: true }, {
          action: "fields",
          route: "?x",
          request_id: 9
        })
      ]
    ]))

  it.effect("may be left out where the payload is optional, and is checked where it is there", () =>
    Effect.gen(function*() {
      const client = yield* connect
      const dataOf = (request: object) => Effect.map(client.ask(request), ({ data, status }) => [status, data])
      assert.deepStrictEqual(yield* dataOf({ action: "maybe" }), [200, "nothing"])
      assert.deepStrictEqual(yield* dataOf({ action: "maybe", data: { text: "a" } }), [200, { text: "a" }])
      assert.deepStrictEqual(yield* dataOf({ action: "usually" }), [200, "usual"])
      assert.deepStrictEqual(yield* dataOf({ action: "usually", data: "other" }), [200, "other"])
      assert.deepStrictEqual(yield* invalid(client, { action: "maybe", data: null }), [
        { detail: "Expected object", code: "invalid", path: ["data"] }
      ])
      assert.deepStrictEqual(yield* invalid(client, { action: "maybe", data: { text: 1 } }), [
        { detail: "Expected string", code: "invalid", path: ["data", "text"] }
      ])
      assert.deepStrictEqual(yield* invalid(client, { action: "usually", data: 1 }), [
        { detail: "Expected string", code: "invalid", path: ["data"] }
      ])
    }))

  it.effect("have at most 32 problems told", () =>
    Effect.gen(function*() {
      const client = yield* connect
      const problemsOf = (count: number) =>
        Effect.map(
          invalid(client, { action: "words", data: { list: Array.from({ length: count }, () => 1), flag: true } }),
          (errors) => errors.length
        )
      assert.strictEqual(yield* problemsOf(31), 31)
      assert.strictEqual(yield* problemsOf(32), 32)
      assert.strictEqual(yield* problemsOf(33), 32)
      assert.strictEqual(yield* problemsOf(5000), 32)
    }))
})

describe("names of the object prototype", () => {
  it.effect("are names like others", () =>
    conversation([
      [{ action: "constructor" }, succeeds("the action constructor", { action: "constructor" })],
      ["{\"action\":\"__proto__\"}", succeeds("the action __proto__", { action: "__proto__" })],
      [
        { action: "get", route: "__proto__/" },
        succeeds("the route __proto__", { action: "get", route: "__proto__/" })
      ],
      [
        { action: "get", route: "named/__proto__/constructor/" },
        succeeds({ constructor: "__proto__", toString: "constructor" }, {
          action: "get",
          route: "named/__proto__/constructor/"
        })
      ],
      [
        { action: "ping", request_id: "constructor" },
        succeeds(null, { action: "ping", request_id: "constructor" })
      ],
      ...["toString", "hasOwnProperty", "valueOf", "__defineGetter__"].flatMap((name) =>
        [
          [
            { action: name },
            refused(405, "method_not_allowed", `There is no action "${name}" here`, { action: name })
          ],
          [
            { action: "ping", route: name },
            refused(404, "not_found", `There is no route "${name}"`, { action: "ping", route: name })
          ]
        ] as const
      )
    ]))

  it.effect("stand for nothing where a request does not say them", () =>
    conversation([
      [
        "{\"__proto__\":{\"action\":\"ping\",\"request_id\":1}}",
        refused(400, "parse_error", "A request names its \"action\": this one has none")
      ],
      [
        "{\"constructor\":{\"prototype\":{\"action\":\"ping\"}}}",
        refused(400, "parse_error", "A request names its \"action\": this one has none")
      ],
      ["{\"action\":\"ping\",\"__proto__\":{\"request_id\":1}}", succeeds(null, { action: "ping" })]
    ]))

  it.effect("are keys of payload and fields like others, and change no prototype", () =>
    conversation([
      [
        "{\"action\":\"keys\",\"data\":{\"__proto__\":{\"admin\":true},\"constructor\":1,\"toString\":2}}",
        succeeds({
          entries: [["__proto__", { admin: true }], ["constructor", 1], ["toString", 2]],
          admin: false,
          plain: true
        }, { action: "keys" })
      ],
      [
        "{\"action\":\"fields\",\"__proto__\":{\"admin\":true},\"constructor\":1}",
        succeeds({ entries: [["__proto__", { admin: true }], ["constructor", 1]], admin: false, plain: true }, {
          action: "fields"
        })
      ],
      ["{\"action\":\"list\",\"page\":\"1\",\"__proto__\":{\"tag\":\"x\"}}", succeeds({ page: 1 }, { action: "list" })]
    ]))
})

describe("hostile requests", () => {
  const nested = (depth: number, inner = "") => "[".repeat(depth) + inner + "]".repeat(depth)
  const treeOf = (depth: number) => "{\"children\":[".repeat(depth) + "]}".repeat(depth)

  it.effect("nested deeply are answered", () =>
    Effect.gen(function*() {
      const client = yield* connect
      const ask = (action: string, data: string) =>
        Effect.map(client.askText(`{"action":"${action}","data":${data},"request_id":1}`), (text) => {
          const reply = assertReply(text)
          assert.deepStrictEqual([reply.action, reply.request_id], [action, 1])
          return reply
        })
      assert.strictEqual((yield* ask("ping", nested(30_000))).status, 200)
      assert.strictEqual((yield* ask("ignore", nested(30_000))).status, 200)
      for (const [action, data] of [["nest", nested(30_000)], ["tree", treeOf(4000)]] as const) {
        assert.deepStrictEqual((yield* ask(action, data)).errors, [
          { detail: "Nested too deeply", code: "invalid", path: ["data"] }
        ])
      }
      assert.strictEqual((yield* ask("nest", nested(100))).status, 200)
      assert.strictEqual((yield* client.ask(nested(30_000))).status, 400)
      assert.strictEqual((yield* client.ask(`{"action":${nested(30_000)}}`)).status, 400)
      // What could be read, but cannot be written again.
      assert.include([400, 500], (yield* ask("echo", nested(30_000))).status)
      assert.strictEqual((yield* client.ask({ action: "ping" })).status, 200)
    }))

  it.effect("that are wrong deep inside are the client's fault, however deep", () =>
    Effect.gen(function*() {
      const client = yield* connect
      for (let depth = 100; depth < 30_000; depth += 100) {
        const reply = yield* client.ask(`{"action":"nest","data":${nested(depth, "1")}}`)
        assert.strictEqual(reply.status, 400, `depth ${depth}`)
      }
    }))

  it.effect("with long strings are answered in full", () =>
    Effect.gen(function*() {
      const client = yield* connect
      const long = "ü".repeat(50_000)
      assert.deepStrictEqual<unknown>(
        yield* client.ask({ action: "echo", data: long }),
        succeeds(long, { action: "echo" })
      )
      assert.deepStrictEqual<unknown>(
        yield* client.ask({ action: "ping", request_id: long }),
        succeeds(null, { action: "ping", request_id: long })
      )
      assert.deepStrictEqual([(yield* client.ask({ action: long })).action, (yield* client.ask("")).action], [
        long,
        null
      ])
      assert.strictEqual((yield* client.ask({ action: "ping", route: long })).route, long)
    }))

  it.effect("with lone surrogates are echoed as they were sent", () =>
    Effect.gen(function*() {
      const client = yield* connect
      for (const lone of ["\ud800", "\udc00", "a\udfffb", "\ud800\ud800\udc00"]) {
        const text = yield* client.askText({ action: lone, route: `?${lone}`, request_id: lone })
        assert.isTrue(text.isWellFormed())
        const { action, request_id, route } = assertReply(text)
        assert.deepStrictEqual({ action, request_id, route }, { action: lone, request_id: lone, route: `?${lone}` })
      }
      assert.strictEqual((yield* client.ask("{\"action\":\"echo\",\"data\":\"\ud800\"}")).data, "\ud800")
    }))

  it.effect("with numbers that are none in JavaScript are refused", () =>
    Effect.gen(function*() {
      const client = yield* connect
      for (const text of ["1e999", "-1e999"]) {
        for (const action of ["number", "echo", "keys"]) {
          const reply = assertReply(yield* client.askText(`{"action":"${action}","data":${text}}`))
          assert.strictEqual(reply.status, 400, `${action} ${text}`)
        }
      }
      assert.strictEqual((yield* client.ask("{\"action\":\"number\",\"data\":1e-999}")).data, 0)
      assert.strictEqual((yield* client.ask("{\"action\":\"number\",\"data\":-0}")).data, 0)
      assert.strictEqual((yield* client.ask("{\"action\":\"number\",\"data\":1E400}")).status, 400)
    }))

  it.effect("that are too long are refused unread, up to the limit they are answered", () =>
    Effect.gen(function*() {
      const pipeline = yield* serve([Api], live(Api), { maxMessage: 100 })
      const client = yield* open(pipeline)
      const sized = (length: number) => "{\"action\":\"ping\",\"request_id\":1}".padEnd(length)
      const tooLarge = (length: number) =>
        refused(413, "too_large", `A message has at most 100 characters: this one has ${length}`)
      assert.deepStrictEqual<unknown>(
        yield* client.ask(sized(100)),
        succeeds(null, { action: "ping", request_id: 1 })
      )
      assert.deepStrictEqual<unknown>(yield* client.ask(sized(101)), tooLarge(101))
      assert.deepStrictEqual<unknown>(yield* client.ask(sized(100_000)), tooLarge(100_000))
      assert.deepStrictEqual<unknown>(yield* client.ask(new Uint8Array(101)), tooLarge(101))
      assert.strictEqual((yield* client.ask(new Uint8Array(100))).status, 400)
      assert.strictEqual((yield* client.ask({ action: "ping" })).status, 200)
      const usual = yield* connect
      assert.strictEqual((yield* usual.ask(sized(Pipeline.defaultLimits.maxMessage))).status, 200)
      assert.strictEqual((yield* usual.ask(sized(Pipeline.defaultLimits.maxMessage + 1))).status, 413)
    }))
})

describe("any frame", () => {
  const anyJson = Schema.Union([
    Schema.Null,
    Schema.Boolean,
    Schema.Number.check(Schema.isFinite()),
    Schema.String,
    Schema.Array(Schema.Union([Schema.String, Schema.Null, Schema.Int])),
    Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Null, Schema.Int]))
  ])
  const oneOf = (...texts: ReadonlyArray<string>) => Schema.Literals(texts)
  const text = (...texts: ReadonlyArray<string>) =>
    Arbitrary.schema(Schema.Union([oneOf(...texts), oneOf(...texts), anyJson.pipe(Schema.toType)])).pipe(
      Arbitrary.map((value) => JSON.stringify(value))
    )
  const actions = Api.members.flatMap((member) => "path" in member ? [] : [member.name])
  const key = Arbitrary.schema(
    oneOf("action", "action", "route", "data", "request_id", "page", "tag", "b", "__proto__", "constructor", "")
  )
  const valueOf = {
    action: text(...actions, ...actions, "get", "nope"),
    route: text("", "", "?a=1", "items/", "items/1/", "items/x/?b", "nope/", "named/a/b/"),
    data: text("x").pipe(Arbitrary.map((json) => json)),
    other: text("1", "a")
  }
  const pair = Arbitrary.flatMap(key, (key) =>
    Arbitrary.map(
      key === "action"
        ? valueOf.action
        : key === "route"
        ? valueOf.route
        : key === "data"
        ? valueOf.data
        : valueOf.other,
      (value) => `${JSON.stringify(key)}:${value}`
    ))
  const almost = Arbitrary.all({
    pairs: Arbitrary.array(pair, { maxLength: 6 }),
    damage: Arbitrary.schema(oneOf("no", "no", "no", "cut", "drop", "insert")),
    at: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 80 })))
  }).pipe(Arbitrary.map(({ at, damage, pairs }) => {
    const json = `{${pairs.join(",")}}`
    const i = Math.min(at, json.length)
    switch (damage) {
      case "cut":
        return json.slice(0, i)
      case "drop":
        return json.slice(0, i) + json.slice(i + 1)
      case "insert":
        return `${json.slice(0, i)}"${json.slice(i)}`
      default:
        return json
    }
  }))

  const answersOnce = (frame: string, api = Api) =>
    withLogs(() =>
      Effect.gen(function*() {
        const client = yield* connectTo(api)
        const reply = assertReply(yield* client.askText(frame))
        const { action, request_id, route } = reply
        assert.deepStrictEqual<unknown>(
          { action, route, ...("request_id" in reply ? { request_id } : {}) },
          echoOf(frame)
        )
        yield* client.silent
        assert.strictEqual((yield* client.ask({ action: "ping" })).status, 200)
        assert.isUndefined(client.fiber.pollUnsafe())
      })
    )

  it.effect.prop("is answered with one reply: garbage", [Schema.String], ([frame]) => answersOnce(frame), {
    arbitrary: { runs: 200 }
  })

  it.effect.prop("is answered with one reply: JSON", [anyJson], ([value]) => answersOnce(JSON.stringify(value)), {
    arbitrary: { runs: 200 }
  })

  it.effect.prop("is answered with one reply: nearly requests", [almost], ([frame]) => answersOnce(frame), {
    arbitrary: { runs: 500 }
  })

  it.effect.prop("is answered with one reply: lines apart", [almost], ([frame]) => answersOnce(frame, LanedApi), {
    arbitrary: { runs: 300 }
  })
})

describe("the order of refusal", () => {
  const asked = (name: string) =>
    Permission.action(name, ({ query }) => query[name] === undefined, { code: name, reason: `no ${name}` })
  const looked = (name: string) =>
    Permission.object<string>()(name, ({ object, query }) => object === "item" && query[name] === undefined, {
      code: name,
      reason: `no ${name}`
    })
  const act = Action.make("act", {
    payload: { text: Schema.String },
    fields: { n: Schema.Finite },
    error: NotThere
  }).pipe(
    Action.object(Schema.String),
    Action.permit(asked("action")),
    Action.permit(looked("actionObject"))
  )
  const Guarded = Consumer.make("guarded", { path: "/ws/" }).pipe(
    Consumer.permit(Permission.and(asked("consumer"), looked("consumerObject"))),
    Consumer.add(
      Action.make("hang").pipe(Action.object(Schema.String)),
      Route.make("outer/").pipe(
        Route.permit(Permission.and(looked("outerObject"), asked("outer"))),
        Route.add(
          Route.make(":id/", { id: ItemId }).pipe(
            Route.permit(asked("inner")),
            Route.permit(looked("innerObject")),
            Route.add(act)
          )
        )
      )
    )
  )

  // In the order in which the protocol refuses.
  const reasons: ReadonlyArray<readonly [name: string, status: number, code: string]> = [
    ["large", 413, "too_large"],
    ["envelope", 400, "parse_error"],
    ["consumer", 403, "consumer"],
    ["route", 404, "not_found"],
    ["outer", 403, "outer"],
    ["inner", 403, "inner"],
    ["method", 405, "method_not_allowed"],
    ["action", 403, "action"],
    ["payload", 400, "invalid"],
    ["fields", 400, "invalid"],
    ["object", 404, "NotThere"],
    ["consumerObject", 403, "consumerObject"],
    ["outerObject", 403, "outerObject"],
    ["innerObject", 403, "innerObject"],
    ["actionObject", 403, "actionObject"],
    ["handler", 404, "NotThere"]
  ]
  const rank = (name: string) => reasons.findIndex(([other]) => other === name)

  const requestWith = (wrong: ReadonlySet<string>, unknownRoute: string) => {
    const query = Array.from(wrong).join("&")
    return {
      action: wrong.has("envelope") ? ["act"] : wrong.has("method") ? "nope" : "act",
      route: `${wrong.has("route") ? unknownRoute : "outer/1/"}?${query}`,
      data: { text: wrong.has("payload") ? 1 : "x" },
      n: wrong.has("fields") ? "x" : 1,
      ...(wrong.has("large") ? { padding: "x".repeat(1000) } : {})
    }
  }

  const makeGuarded = Effect.gen(function*() {
    const did = { loaded: 0, ran: 0 }
    const layer = Consumer.handlers(Guarded).pipe(
      Handlers.handle("hang", { object: () => Effect.never, run: () => Effect.void }),
      Handlers.handle("outer/:id/", "act", {
        object: ({ params, query }) => {
          did.loaded++
          return query.object === undefined ? Effect.succeed("item") : Effect.fail(new NotThere({ id: params.id }))
        },
        run: ({ query }) => {
          did.ran++
          return query.handler === undefined ? Effect.void : Effect.fail(new NotThere({ id: 0 }))
        }
      }),
      Handlers.toLayer
    )
    const pipeline = yield* serve([Guarded], layer, { maxMessage: 500 })
    return { did, client: yield* open(pipeline) }
  })

  const check = Effect.fnUntraced(function*(
    { client, did }: Effect.Success<typeof makeGuarded>,
    wrong: ReadonlySet<string>,
    unknownRoute: string
  ) {
    did.loaded = did.ran = 0
    const earliest = Math.min(...Array.from(wrong, rank), reasons.length)
    const { errors, status } = yield* client.ask(requestWith(wrong, unknownRoute))
    const named = `wrong in ${Array.from(wrong).join(", ")}`
    if (earliest === reasons.length) assert.deepStrictEqual({ status, errors }, { status: 200, errors: [] })
    else {
      const [name, expected, code] = reasons[earliest]!
      assert.strictEqual(status, expected, named)
      assert.strictEqual(errors.length, 1, named)
      const error = errors[0] as { readonly detail: string; readonly code: string; readonly error?: { id: number } }
      assert.strictEqual(error.code, code, named)
      if (status === 403) assert.strictEqual(error.detail, `no ${name}`, named)
      if (name === "object" || name === "handler") assert.strictEqual(error.error?.id, name === "object" ? 1 : 0, named)
    }
    assert.deepStrictEqual(did, {
      loaded: earliest >= rank("object") ? 1 : 0,
      ran: earliest >= rank("handler") ? 1 : 0
    }, named)
  })

  const names = reasons.map(([name]) => name)

  for (const unknownRoute of ["outer/x/", "nowhere/"]) {
    it.effect(`is kept by requests which are wrong in one, two and three ways (no route: "${unknownRoute}")`, () =>
      Effect.gen(function*() {
        const guarded = yield* makeGuarded
        yield* check(guarded, new Set(), unknownRoute)
        for (const a of names) {
          for (const b of names) {
            for (const c of names) {
              if (rank(a) <= rank(b) && rank(b) <= rank(c)) yield* check(guarded, new Set([a, b, c]), unknownRoute)
            }
          }
        }
        yield* check(guarded, new Set(names), unknownRoute)
        yield* guarded.client.silent
      }))
  }

  it.effect("has 503 after 413 and before everything else while the server stops", () =>
    Effect.gen(function*() {
      const { client, did } = yield* makeGuarded
      yield* client.send({ action: "hang" })
      yield* Effect.forkScoped(client.session.drain("1 hour"), { startImmediately: true })
      for (const name of ["", ...names]) {
        const { status } = yield* client.ask(requestWith(new Set([name]), "nowhere/"))
        assert.strictEqual(status, name === "large" ? 413 : 503, name)
      }
      assert.deepStrictEqual(did, { loaded: 0, ran: 0 })
    }))

  it.effect("tells who may not enter a route nothing of what is in it", () =>
    Effect.gen(function*() {
      const closed = [
        Permission.connection("byConnection", Effect.succeed(false)),
        Permission.connection("byWaiting", Effect.as(Effect.yieldNow, false)),
        Permission.action("byAction", () => false),
        Permission.deny
      ]
      for (const permission of closed) {
        const Closed = Consumer.make("closed", { path: "/ws/" }).pipe(Consumer.add(
          Route.make("room/").pipe(
            Route.permit(permission),
            Route.add(Action.make("post", { payload: { text: Schema.String } }))
          )
        ))
        const client = yield* open(
          yield* serve(
            [Closed],
            Consumer.handlers(Closed).pipe(Handlers.handle("room/", "post", () => Effect.void), Handlers.toLayer)
          )
        )
        const replies = []
        for (const request of [{ action: "post", data: { text: "x" } }, { action: "post" }, { action: "nope" }]) {
          const { action: _, ...reply } = yield* client.ask({ ...request, route: "room/" })
          replies.push(reply)
        }
        assert.strictEqual(replies[0]!.status, 403)
        assert.deepStrictEqual(replies[1], replies[0])
        assert.deepStrictEqual(replies[2], replies[0])
      }
    }))
})
