/**
 * Who has signed in, and what they ask for over HTTP.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Name, RoomName, SignedIn } from "../contract.ts"

// --- What a reload of the tab does not change -----------------------------------------------------------------------

const Session = Schema.Struct({ name: Name, ...SignedIn.fields })
export type Session = typeof Session.Type

const kept = <S extends Schema.Codec<unknown, unknown>>(key: string, schema: S) => {
  const json = Schema.fromJsonString(schema)
  return {
    load: Effect.suspend(() => Schema.decodeUnknownEffect(json)(sessionStorage.getItem(key))).pipe(Effect.option),
    save: (value: S["Type"]) =>
      Effect.map(Schema.encodeEffect(json)(value), (text) => sessionStorage.setItem(key, text)).pipe(Effect.orDie)
  }
}

/** Who it is. Each tab is somebody of its own. */
export const session = kept("session", Session)

/** Where they are. What was said there is the server's to keep. */
export const room = kept("room", RoomName)

/** Somebody else may sign in. */
export const forget = Effect.sync(() => {
  sessionStorage.clear()
  location.reload()
})

// --- Requests -------------------------------------------------------------------------------------------------------

export class RequestFailed extends Schema.TaggedError<RequestFailed>()("RequestFailed", {
  message: Schema.String
}) {}

const post = (
  path: string,
  body: object,
  options: { readonly token?: string; readonly reasons: Readonly<Record<number, string>> }
) =>
  Effect.tryPromise({
    try: (signal) =>
      fetch(path, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          ...(options.token === undefined ? {} : { Authorization: `Bearer ${options.token}` })
        },
        body: JSON.stringify(body),
        signal
      }),
    catch: () => new RequestFailed({ message: "The server cannot be reached" })
  }).pipe(
    Effect.filterOrFail(
      ({ ok }) => ok,
      ({ status }) => new RequestFailed({ message: options.reasons[status] ?? `The server answered with ${status}` })
    )
  )

export const signIn = (name: string): Effect.Effect<Session, RequestFailed> =>
  Effect.gen(function*() {
    const response = yield* post("/login", { name }, {
      reasons: { 400: "A name is of 1 to 20 letters, digits, - and _" }
    })
    const { token } = yield* Effect.tryPromise(() => response.json()).pipe(
      Effect.flatMap(Schema.decodeUnknownEffect(SignedIn)),
      Effect.mapError(() => new RequestFailed({ message: "The server answered with something else than a token" }))
    )
    return { name, token }
  })

/** Over HTTP, as a program without a connection would. */
export const announce = (room: string, text: string, { token }: Session) =>
  post(`/rooms/${room}/announcements`, { text }, {
    token,
    reasons: { 401: "Who are you? Sign in again", 403: "Only moderators may announce something" }
  })
