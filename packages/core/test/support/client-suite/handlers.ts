/**
 * The server's side of the consumer that the suite of the client speaks to.
 */
import {
  Authentication,
  Authority,
  ChannelError,
  ChannelLayer,
  ConnectionScope,
  Consumer,
  Credentials,
  Handlers,
  Membership,
  Resource,
  Scheme
} from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import {
  BadLuck,
  Board,
  Changed,
  Closed,
  CurrentUser,
  Document,
  Kept,
  NoLuck,
  NoteResource,
  Notes
} from "./contract.ts"

/** What a server knows of one room. */
class Happenings {
  running = 0
  cancelled = 0
  readonly muttered: Array<string> = []
  readonly gathered: Array<() => void> = []
  readonly closed = new Set<string>()
  readonly #waiting = new Set<() => void>()

  /** Something has happened. */
  note(happen: () => void): void {
    happen()
    for (const look of this.#waiting) look()
  }

  /** Completes when a condition holds. */
  until(condition: () => boolean): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const look = () => {
        if (!condition()) return
        this.#waiting.delete(look)
        resume(Effect.void)
      }
      this.#waiting.add(look)
      look()
      return Effect.sync(() => this.#waiting.delete(look))
    })
  }
}

/** The token `alice` is Alice's; with `alice!5000` she is who she is until then. `invalid` is nobody's. */
const verify = (token: string) => {
  const [name = "", until] = token.split("!")
  return name === "invalid"
    ? Effect.fail(new ChannelError.InvalidCredentials({ message: "No such token" }))
    : Effect.succeed(
      Authentication.authenticated(name, until === undefined ? {} : { expiresAt: Number(until) })
    )
}

/** Whoever is behind the connection. */
const name = Effect.map(CurrentUser.identity, (identity) => identity._tag === "Authenticated" ? identity.user : null)

/** A server's side of the board, with rooms of its own. */
export const BoardLive = Layer.unwrap(Effect.sync(() => {
  const rooms = new Map<string, Happenings>()
  const roomOf = (room: string): Happenings => {
    let found = rooms.get(room)
    if (found === undefined) rooms.set(room, found = new Happenings())
    return found
  }
  const own = Effect.map(
    ConnectionScope.ConnectionScope,
    ({ id, params }) => ({ id, room: String(params["room"]), happenings: roomOf(String(params["room"])) })
  )

  const endless = Stream.unwrap(
    Effect.map(own, ({ happenings }) =>
      Stream.concat(Stream.make(1, 2, 3), Stream.never).pipe(
        Stream.ensuring(Effect.sync(() => happenings.note(() => happenings.cancelled++)))
      ))
  )

  return Consumer.handlers(Board).pipe(
    Handlers.handle("keep", ({ payload }) => Effect.map(name, (by) => new Kept({ ...payload, by }))),
    Handlers.handle("page", ({ fields }) => Effect.succeed({ page: fields.page, since: fields.since ?? null })),
    Handlers.handle("pick", ({ payload }) => Effect.succeed(payload?.n ?? null)),
    Handlers.handle("nothing", () => Effect.void),
    Handlers.handle("where", () => Effect.map(own, ({ room }) => room)),
    Handlers.handle("whoami", () => Effect.map(name, (name) => name ?? "nobody")),
    Handlers.handle("lucky", ({ payload: { n } }) =>
      n === 7
        ? Effect.succeed(n)
        : n < 0
        ? Effect.fail(new BadLuck({ why: "negative" }))
        : Effect.fail(new NoLuck({ n, at: new Date(n) }))),
    Handlers.handle("odd", () => Effect.void),
    Handlers.handle("secret", () => Effect.void),
    Handlers.handle("mine", () => CurrentUser.use((name) => name)),
    Handlers.handle("rare", () => Effect.void),
    Handlers.handle("slow", () => Effect.never),
    Handlers.handle("broken", () => Effect.die(new Error("what nobody is told"))),
    Handlers.handle(
      "hang",
      () =>
        Effect.flatMap(own, ({ happenings }) =>
          Effect.andThen(
            Effect.sync(() => happenings.note(() => happenings.running++)),
            Effect.never
          ).pipe(
            Effect.onInterrupt(() => Effect.sync(() => happenings.note(() => happenings.cancelled++)))
          ))
    ),
    Handlers.handle(
      "gather",
      ({ payload }) =>
        Effect.flatMap(own, ({ happenings: { gathered } }) =>
          Effect.callback<number>((resume) => {
            const answer = () => resume(Effect.succeed(payload.n))
            if (gathered.length < payload.of - 1) return void gathered.push(answer)
            // Those that have waited longest are answered last.
            for (const earlier of gathered.splice(0).reverse()) earlier()
            answer()
          }))
    ),
    Handlers.handle(
      "whenRunning",
      ({ payload }) =>
        Effect.flatMap(own, ({ happenings }) => happenings.until(() => happenings.running >= payload.count))
    ),
    Handlers.handle(
      "whenCancelled",
      ({ payload }) =>
        Effect.flatMap(own, ({ happenings }) => happenings.until(() => happenings.cancelled >= payload.count))
    )
  ).pipe(
    Handlers.handle("count", ({ payload }) => Stream.range(1, payload.to)),
    Handlers.handle("endless", () => endless),
    Handlers.handle(
      "flaky",
      ({ payload }) =>
        Stream.concat(Stream.range(1, payload.items), Stream.fail(new NoLuck({ n: payload.items, at: new Date(0) })))
    ),
    Handlers.handle(
      "mutter",
      ({ payload }) => Effect.map(own, ({ happenings }) => void happenings.muttered.push(payload.text))
    ),
    Handlers.handle("muttered", () => Effect.map(own, ({ happenings }) => happenings.muttered)),
    Handlers.handle("post", ({ payload }) => Effect.succeed({ text: payload.text, at: new Date(5) })),
    Handlers.handle("whisper", ({ payload }) => Effect.succeed(payload)),
    Handlers.handle(
      "follow",
      ({ payload: { after, id } }) =>
        Effect.flatMap(own, ({ room }) => Membership.join(Document, { room, id }, { after }))
    ),
    Handlers.handle(
      "change",
      ({ payload }) =>
        Effect.flatMap(
          own,
          ({ room }) =>
            ChannelLayer.send(ChannelLayer.group(Board, Document, { room, id: payload.id }), Changed, payload)
        )
    ),
    Handlers.handle(
      "kick",
      ({ payload }) =>
        Effect.flatMap(own, ({ id }) => ChannelLayer.disconnect(ChannelLayer.connection(Board, id), payload))
    ),
    Handlers.handle("close", ({ payload }) =>
      Effect.flatMap(own, ({ happenings, id }) => {
        happenings.closed.add(payload.what)
        return Authority.invalidate(Authority.connection(id))
      })),
    Handlers.handle(
      "reopen",
      ({ payload }) => Effect.sync(() => void roomOf(payload.room).closed.delete(payload.what))
    ),
    Handlers.handle("events", () => Effect.succeed("events")),
    Handlers.handle("status", () => Effect.succeed("status")),
    Handlers.handle("then", () => Effect.succeed("then")),
    Handlers.handle("constructor", () => Effect.succeed("constructor")),
    Handlers.handle("toString", () => Effect.succeed("toString")),
    Handlers.handle("__proto__", () => Effect.succeed("__proto__"))
  ).pipe(
    Handlers.handle("pages/:page/", "get", ({ params }) => Effect.succeed({ page: params.page })),
    Handlers.handle(
      "pages/:page/lines/:line/",
      "get",
      ({ params, payload, query }) =>
        Effect.succeed({ page: params.page, line: params.line, n: payload?.n ?? null, query: { ...query } })
    ),
    Resource.handle(NoteResource),
    Handlers.toLayer,
    Layer.provide([
      CurrentUser.layer(Scheme.token({
        from: [Credentials.subprotocol(), Credentials.query("token")],
        verify: (token) => verify(Redacted.value(token))
      })),
      Layer.succeed(Closed, { has: (room, what) => roomOf(String(room)).closed.has(what) }),
      Notes.layerMemory()
    ])
  )
}))
