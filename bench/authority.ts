/**
 * What it costs that a grant can be taken back: messages through the whole pipeline in memory, guarded by checks of the
 * connection, whose authority stays, has changed before, or keeps changing. Prints the time for a message, and its ratio to
 * one on a connection whose authority never changed.
 */
import {
  Action,
  Authentication,
  Authority,
  Consumer,
  Handlers,
  Permission,
  Pipeline,
  type Transport
} from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { median, table } from "./measure.ts"

interface User {
  readonly name: string
  readonly roles: ReadonlyArray<string>
}
class CurrentUser extends Authentication.Service<CurrentUser, User>()("bench/CurrentUser", {
  key: (user) => user.name
}) {}

const has = (role: string) => Permission.connection(role, CurrentUser.use(({ roles }) => roles.includes(role)))

// Every check is asked: no part is decided before its last member.
const permission = Permission.all([
  Permission.isAuthenticated(CurrentUser),
  Permission.not(has("banned")),
  Permission.or(has("admin"), has("editor")),
  Permission.action("isEdit", ({ action }) => action === "edit")
])

const edit = Action.make("edit", { payload: { text: Schema.String }, success: Schema.String })
const makeDesk = <const Name extends string>(
  name: Name,
  permission: Permission.Permission<{ readonly action: string }, unknown, CurrentUser>
) =>
  Consumer.make(name, { path: `/${name}/` }).pipe(
    Consumer.permitConnect(Permission.isAuthenticated(CurrentUser)),
    Consumer.permit(permission),
    Consumer.add(edit)
  )
const Guarded = makeDesk("guarded", permission)
const Open = makeDesk("open", Permission.allow)

const live = Layer.mergeAll(
  Consumer.handlers(Guarded).pipe(
    Handlers.handle("edit", ({ payload }) => Effect.succeed(payload.text)),
    Handlers.toLayer
  ),
  Consumer.handlers(Open).pipe(Handlers.handle("edit", ({ payload }) => Effect.succeed(payload.text)), Handlers.toLayer)
).pipe(
  Layer.provide(
    CurrentUser.layer(({ query }) =>
      Effect.succeed(Authentication.authenticated({ name: String(query["user"]), roles: ["editor"] }))
    )
  )
)

/** A connection that is spoken to by calls: what it costs is the pipeline's. */
const connect = Effect.fnUntraced(function*(pipeline: Pipeline.Pipeline, path: string, user: string) {
  const session = yield* pipeline.connect({ id: user, url: `${path}?user=${user}` })
  let receive: (frames: ReadonlyArray<string>) => void = () => {}
  let last = ""
  const transport: Transport.Transport = {
    run: (handler) => {
      receive = handler
      return Effect.never
    },
    send: (frame) => {
      last = String(frame)
    },
    unsent: () => 0,
    drained: Effect.void,
    pause: () => {},
    resume: () => {},
    ping: () => {},
    close: () => {}
  }
  yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
  return (frame: string) => {
    last = ""
    receive([frame])
    if (!last.includes("\"status\":200")) throw new Error(`not answered at once with 200: ${last}`)
  }
})

const smoke = process.argv.includes("--smoke")
const rounds = smoke ? 2 : 15
const messages = smoke ? 500 : 20_000
const crowd = smoke ? 10 : 1000

const frame = JSON.stringify({ action: "edit", data: { text: "hello" }, request_id: 1 })

const program = Effect.gen(function*() {
  const pipeline = yield* Effect.provide(Pipeline.make([Guarded, Open]), live)
  const authority = yield* Authority.Authority
  const invalidate = (user: string) => Effect.runSync(authority.invalidate(Authority.identity(CurrentUser, user)))
  for (let i = 0; i < crowd; i++) yield* connect(pipeline, "/guarded/", `user${i}`)

  const open = yield* connect(pipeline, "/open/", "open")
  const alice = yield* connect(pipeline, "/guarded/", "alice")
  const bob = yield* connect(pipeline, "/guarded/", "bob")
  bob(frame)
  invalidate("bob")
  const carol = yield* connect(pipeline, "/guarded/", "carol")
  const dave = yield* connect(pipeline, "/guarded/", "dave")

  const cases: ReadonlyArray<readonly [what: string, message: (i: number) => void]> = [
    ["four checks; authority never changed", () => alice(frame)],
    ["nothing to decide", () => open(frame)],
    ["four checks; authority changed once before", () => bob(frame)],
    [`four checks; one of ${crowd} others changes with every 100th message`, (i) => {
      if (i % 100 === 0) invalidate(`user${i % crowd}`)
      carol(frame)
    }],
    ["four checks; authority changes with every message", () => {
      invalidate("dave")
      dave(frame)
    }]
  ]
  const times = cases.map((): Array<number> => [])
  for (let round = 0; round <= rounds; round++) {
    for (const [i, [, message]] of cases.entries()) {
      const start = performance.now()
      for (let n = 0; n < messages; n++) message(n)
      // The first round warms up.
      if (round > 0) times[i]!.push((performance.now() - start) * 1000 / messages)
    }
  }
  const medians = times.map(median)
  return table([
    ["", "µs/message", "ratio"],
    ...cases.map(([what], i) => [what, medians[i]!.toFixed(2), (medians[i]! / medians[0]!).toFixed(2)])
  ])
})

console.log(Effect.runSync(Effect.scoped(program)))
