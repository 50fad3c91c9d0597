/**
 * The HTTP side: the page, and logging in.
 */
import { ChannelError, Filter } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { fileURLToPath } from "node:url"
import { handshakes } from "../support/handshakes.ts"
import { Sessions } from "./authentication.ts"
import { type Board, Boards, TaskBoard } from "./contract.ts"
import { People } from "./people.ts"

/** Nothing runs in the page, and nothing is loaded or asked, but what is the server's own. */
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

const Login = Schema.Struct({ name: Schema.String })

/** A name is all it takes to log in: this is a demo. Answers with a token, and the boards that it opens. */
const login = HttpRouter.add(
  "POST",
  "/login",
  Effect.gen(function*() {
    const { name } = yield* HttpServerRequest.schemaBodyJson(Login)
    const person = yield* People.use((people) => people.find(name))
    if (Option.isNone(person)) return HttpServerResponse.text(`There is nobody called ${name}`, { status: 403 })
    const boards = yield* Boards.use((boards) =>
      boards.select({
        filter: Filter.fields<Board>().in("id", person.value.boards),
        order: [{ field: "title", direction: "ascending" }]
      })
    )
    const token = yield* Sessions.use((sessions) => sessions.begin(name))
    return yield* HttpServerResponse.json({ token, boards: boards.map(({ id, title }) => ({ id, title })) })
  }).pipe(
    Effect.catchIf(
      (error) => error instanceof ChannelError.Unavailable,
      ({ message }) => Effect.succeed(HttpServerResponse.text(message, { status: 503 }))
    )
  )
)

export const routes = Layer.mergeAll(
  file("/", "board.html"),
  file("/style.css", "style.css"),
  file("/board.js", "board.js"),
  file("/wire.js", "wire.js"),
  login,
  handshakes([TaskBoard])
)
