/**
 * The HTTP side: the page, signing in, and announcements, which are sent to a room from outside of any connection.
 */
import { ChannelError, ChannelLayer, Permission } from "@effect-channels/core"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { buildSync } from "esbuild"
import { fileURLToPath } from "node:url"
import { lookup, Tokens } from "./authentication.ts"
import { Announced, Chat, CurrentUser, isModerator, Message, Name, Room, RoomName, SignedIn } from "./contract.ts"
import type { People } from "./people.ts"

/** Requests of whoever has signed in, with the token that connections are made with. */
class Authorization extends HttpApiMiddleware.Service<Authorization, { provides: CurrentUser }>()(
  "chat/Authorization",
  {
    security: { bearer: HttpApiSecurity.bearer },
    error: [HttpApiError.Unauthorized, ChannelError.Unavailable]
  }
) {}

const login = HttpApiEndpoint.post("login", "/login", {
  payload: Schema.Struct({ name: Name }),
  success: SignedIn
})

const announce = HttpApiEndpoint.post("announce", "/rooms/:room/announcements", {
  params: { room: RoomName },
  payload: Schema.Struct({ text: Message.fields.text }),
  success: Message,
  error: [ChannelError.NotAuthenticated, HttpApiError.Forbidden, ChannelError.Unavailable]
}).middleware(Authorization)

const Api = HttpApi.make("chat").add(HttpApiGroup.make("chat").add(login, announce))

const AuthorizationLive = Layer.effect(
  Authorization,
  Effect.gen(function*() {
    const context = yield* Effect.context<People | Tokens>()
    return Authorization.of({
      bearer: Effect.fnUntraced(function*(request, { credential }) {
        const identity = yield* Effect.provideContext(lookup(credential), context)
        if (Option.isNone(identity)) return yield* new HttpApiError.Unauthorized()
        return yield* Effect.provideService(request, CurrentUser.identity, identity.value)
      })
    })
  })
)

const ApiLive = HttpApiBuilder.layer(Api).pipe(
  Layer.provide(HttpApiBuilder.group(Api, "chat", (handlers) =>
    handlers
      // A name is all it takes: this is a demo.
      .handle("login", ({ payload }) =>
        Effect.map(Tokens.use((tokens) => tokens.sign(payload.name)), (token) => ({ token })))
      .handle("announce", ({ params, payload }) =>
        Effect.gen(function*() {
          // The permission that guards `ban` and `unban`.
          const decision = yield* Permission.decide(isModerator, { phase: "connection" })
          if (decision._tag !== "Allow") {
            return yield* new HttpApiError.Forbidden()
          }
          const { name } = yield* CurrentUser
          const message = { from: name, text: payload.text, at: yield* DateTime.now }
          yield* ChannelLayer.send(ChannelLayer.group(Chat, Room, { room: params.room }), Announced, message)
          return message
        })))),
  Layer.provide(AuthorizationLive)
)

/** Nothing runs in the page, and nothing is loaded or asked, but what is the server's own. */
const policy = "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

const headers = HttpServerResponse.setHeaders({
  "content-security-policy": policy,
  "cache-control": "no-cache",
  "x-content-type-options": "nosniff"
})

const pathOf = (name: string) => fileURLToPath(new URL(`pages/${name}`, import.meta.url))

const file = (path: HttpRouter.PathInput, name: string) =>
  HttpRouter.add("GET", path, Effect.map(HttpServerResponse.file(pathOf(name)), headers))

/** The program of the page as browsers read it: with the contract, the client, and what these need of Effect. */
const program = HttpRouter.use((router) =>
  Effect.gen(function*() {
    const { outputFiles } = yield* Effect.sync(() =>
      buildSync({
        entryPoints: [pathOf("chat.ts")],
        bundle: true,
        format: "esm",
        target: "es2022",
        minify: true,
        legalComments: "none",
        write: false
      })
    )
    const script = outputFiles.map(({ text }) => text).join("")
    const response = HttpServerResponse.text(script, { contentType: "text/javascript" }).pipe(headers)
    yield* router.add("GET", "/chat.js", Effect.succeed(response))
  })
)

export const routes = Layer.mergeAll(
  file("/", "chat.html"),
  file("/style.css", "style.css"),
  program,
  ApiLive
)
