/**
 * The HTTP side of the demo: its page, and the tokens it connects with.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { fileURLToPath } from "node:url"
import { handshakes } from "../support/handshakes.ts"
import { Tokens } from "./authentication.ts"
import { Board } from "./contract.ts"

const page = HttpRouter.add("GET", "/", HttpServerResponse.file(fileURLToPath(new URL("page.html", import.meta.url))))

/** A consumer is a value, and can be printed: its actions, and the expression that guards each. */
const contract = HttpRouter.add("GET", "/contract", HttpServerResponse.json(Board))

const Login = Schema.Struct({
  name: Schema.String,
  /** Asks for a token that is no longer valid, to see what becomes of it. */
  expired: Schema.optionalKey(Schema.Boolean)
})

/** A name is all it takes to log in: this is a demo. */
const login = HttpRouter.add(
  "POST",
  "/login",
  Effect.gen(function*() {
    const { expired, name } = yield* HttpServerRequest.schemaBodyJson(Login)
    const tokens = yield* Tokens
    return HttpServerResponse.text(yield* tokens.issue(name, expired === true ? "-1 hour" : "1 hour"))
  }).pipe(Effect.catchTag("UnknownUser", () => Effect.succeed(HttpServerResponse.empty({ status: 403 }))))
)

export const routes = Layer.mergeAll(page, contract, login, handshakes([Board]))
