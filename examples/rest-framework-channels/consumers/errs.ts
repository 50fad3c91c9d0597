/**
 * `/errs/`: what becomes of an error. A declared one is answered with its status; anything else is a defect: status 500
 * without a word about it, and the whole cause in the server's log.
 */
import { Action, Consumer, Handlers } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { NotAuthenticated, NotFound, ParseError, PermissionDenied, Throttled } from "../exceptions.ts"

const ok = Action.make("ok", { success: Schema.Struct({ alive: Schema.Boolean }) })
const valueError = Action.make("value_error")
const notFound = Action.make("not_found", { error: NotFound })
const notAuthenticated = Action.make("not_authenticated", { error: NotAuthenticated })
const throttled = Action.make("throttled", { error: Throttled })
const parseError = Action.make("parse_error", { error: ParseError })
const drfDenied = Action.make("drf_denied", { error: PermissionDenied })
const unicode = Action.make("unicode", { success: Schema.Struct({ text: Schema.String }) })

/** How long to sleep, in seconds. */
const Seconds = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

const slowAsync = Action.make("slow_async", { payload: Seconds, success: Schema.Struct({ slept: Seconds }) })

export const Errs = Consumer.make("errs", { path: "/errs/" }).pipe(
  Consumer.add(ok, valueError, notFound, notAuthenticated, throttled, parseError, drfDenied, unicode, slowAsync)
)

export const ErrsLive = Consumer.handlers(Errs).pipe(
  Handlers.handle("ok", () => Effect.succeed({ alive: true })),
  Handlers.handle("value_error", () => Effect.die(new Error("ValueError"))),
  Handlers.handle("not_found", () => Effect.fail(new NotFound())),
  Handlers.handle("not_authenticated", () => Effect.fail(new NotAuthenticated())),
  Handlers.handle("throttled", () => Effect.fail(new Throttled({ retry_after: 5 }))),
  Handlers.handle("parse_error", () => Effect.fail(new ParseError())),
  Handlers.handle("drf_denied", () => Effect.fail(new PermissionDenied())),
  Handlers.handle("unicode", () => Effect.succeed({ text: "héllo ☃ 😀" })),
  Handlers.handle("slow_async", ({ payload }) => Effect.as(Effect.sleep(payload * 1000), { slept: payload })),
  Handlers.toLayer
)
