/**
 * A connection that listens, for ever: when it is lost, the next one.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import { ConnectionError, SqlError } from "effect/sql/SqlError"
import type { Hub } from "./hub.ts"
import { parse } from "./notices.ts"

interface Options {
  readonly client: PgClient
  readonly channel: string
  readonly hub: Hub
  /** Done when the first connection listens, or could not be made. */
  readonly ready: Deferred.Deferred<void, SqlError>
  readonly heartbeat: Duration.Duration
}

/** How long to wait before the next attempt. */
const firstDelay = 100
const maxDelay = 10_000

/** How long to wait for an answer. */
const patience = Duration.seconds(5)

export const keepListening = Effect.fnUntraced(function*(options: Options) {
  const { hub, ready } = options
  let delay = firstDelay
  let isFirst = true
  while (true) {
    let isOpen = false
    const opened = Effect.suspend(() => {
      isOpen = true
      if (isFirst) {
        isFirst = false
        return Deferred.succeed(ready, undefined)
      }
      hub.tellMissed()
      return Effect.logInfo("PostgreSQL is listened to again")
    })
    const exit = yield* Effect.exit(listen(options, opened))
    if (isFirst) return yield* Deferred.done(ready, exit)
    yield* Effect.logWarning(
      "The connection that listens to PostgreSQL is lost",
      Exit.isFailure(exit) ? exit.cause : ""
    )
    delay = isOpen ? firstDelay : Math.min(delay * 2, maxDelay)
    yield* Effect.sleep(delay)
  }
})

/** Listens until the connection is lost, which it fails with. */
const listen = (
  { channel, client, heartbeat, hub }: Options,
  opened: Effect.Effect<unknown>
): Effect.Effect<never, SqlError> =>
  Effect.suspend(() => {
    const ofConnection = Scope.makeUnsafe()
    const ofListener = Scope.makeUnsafe()
    const open = Effect.gen(function*() {
      const connection = yield* PgConnection.make(client.config).pipe(
        Effect.flatMap(({ pin }) => pin),
        Scope.provide(ofConnection)
      )
      return [connection, yield* Scope.provide(connection.listen(channel), ofListener)] as const
    })

    const hear = (queue: Queue.Dequeue<PgConnection.Notification, SqlError>): Effect.Effect<never, SqlError> =>
      Effect.forever(
        Effect.map(
          Queue.takeAll(queue),
          (notifications) => hub.tell(notifications.flatMap(({ payload }) => parse(payload) ?? []))
        )
      )

    const watch = (connection: PgConnection.PgConnection): Effect.Effect<never, SqlError> =>
      Effect.forever(Effect.gen(function*() {
        yield* Effect.sleep(heartbeat)
        yield* inTime(connection.query("SELECT 1"))
      }))

    return inTime(open).pipe(
      Effect.tap(opened),
      Effect.flatMap(([connection, queue]) => Effect.raceFirst(hear(queue), watch(connection))),
      // Without its connection there is nothing that it would take leave of, and wait for an answer in vain.
      Effect.onExit((exit) => Effect.andThen(Scope.close(ofConnection, exit), Scope.close(ofListener, exit)))
    )
  })

/** Waits for an answer so long, and no longer for what may come of it. */
const inTime = <A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
  Effect.flatMap(Effect.forkDetach(effect), (fiber) =>
    Effect.timeoutOrElse(Fiber.join(fiber), {
      duration: patience,
      orElse: () => Effect.fail(silence())
    }))

const silence = () =>
  new SqlError({
    reason: new ConnectionError({
      cause: new Error("No answer"),
      message: "PostgreSQL gives no sign of life",
      operation: "listen"
    })
  })
