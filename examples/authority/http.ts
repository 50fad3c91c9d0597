/**
 * The HTTP side: the two pages, and the sessions that they connect with.
 */
import { Authority } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { fileURLToPath } from "node:url"
import { handshakes } from "../support/handshakes.ts"
import { cookies, Sessions } from "./authentication.ts"
import { Admin, CurrentUser, Desk } from "./contract.ts"
import { People } from "./people.ts"

/** Nothing runs in the pages, and nothing is loaded or asked, but what is the server's own. */
const policy = "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

const file = (path: HttpRouter.PathInput, name: string) =>
  HttpRouter.add(
    "GET",
    path,
    HttpServerResponse.file(fileURLToPath(new URL(`pages/${name}`, import.meta.url))).pipe(
      Effect.map(HttpServerResponse.setHeaders({
        "content-security-policy": policy,
        "cache-control": "no-cache",
        "x-content-type-options": "nosniff"
      }))
    )
  )

const pages = Layer.mergeAll(
  file("/", "desk.html"),
  file("/admin", "admin.html"),
  file("/style.css", "style.css"),
  file("/desk.js", "desk.js"),
  file("/admin.js", "admin.js"),
  file("/channel.js", "channel.js")
)

/** What is read here goes with `HttpOnly`: no script gets to see it. In earnest it is `secure` as well. */
const options = { httpOnly: true, sameSite: "strict", path: "/" } as const

/** Ends the session of a cookie, if there is one: connections that were made with it are closed. */
const endSession = (cookie: string) =>
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const sessions = yield* Sessions
    const name = yield* sessions.end(request.cookies[cookie] ?? "")
    if (Option.isSome(name)) yield* Authority.invalidate(Authority.identity(CurrentUser, name.value))
  })

const Login = Schema.Struct({ name: Schema.String })

/** A name is all it takes to log in: this is a demo. */
const login = (path: HttpRouter.PathInput, cookie: string) =>
  HttpRouter.add(
    "POST",
    path,
    Effect.gen(function*() {
      const { name } = yield* HttpServerRequest.schemaBodyJson(Login)
      const sessions = yield* Sessions
      yield* People.use((people) => people.find(name))
      yield* endSession(cookie)
      const token = yield* sessions.begin(name)
      return yield* HttpServerResponse.setCookie(HttpServerResponse.empty(), cookie, token, {
        ...options,
        maxAge: sessions.lifetime
      })
    }).pipe(
      Effect.catchTag(
        "NoSuchPerson",
        ({ message }) => Effect.succeed(HttpServerResponse.text(message, { status: 403 }))
      )
    )
  )

const logout = (path: HttpRouter.PathInput, cookie: string) =>
  HttpRouter.add(
    "POST",
    path,
    Effect.andThen(
      endSession(cookie),
      HttpServerResponse.expireCookie(HttpServerResponse.empty(), cookie, options)
    )
  )

export const routes = Layer.mergeAll(
  pages,
  login("/login", cookies.desk),
  logout("/logout", cookies.desk),
  login("/admin/login", cookies.admin),
  logout("/admin/logout", cookies.admin),
  handshakes([Desk, Admin])
)
