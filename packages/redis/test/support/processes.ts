/**
 * Nodes in processes of their own, which can be killed.
 */
import type * as RedisChannels from "@effect-channels/redis/RedisChannels"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import { watch } from "./watchdog.ts"
import type { Answer, Task } from "./worker.ts"

/** What a node did not do. */
export class Failed extends Data.TaggedError("Failed")<{ readonly message: string }> {}

export interface Process {
  readonly pid: number
  readonly ask: (task: Task) => Effect.Effect<unknown, Failed>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
}

const worker = new URL("./worker.ts", import.meta.url).pathname

/** A node in a process of its own as long as the scope is open. */
export const makeProcess = (options: RedisChannels.Options): Effect.Effect<Process, Failed, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = fork(worker, {
        execPath: process.execPath,
        execArgv: [],
        stdio: ["ignore", "inherit", "inherit", "ipc"]
      })
      watch(child)
      return { child, asked: askedOf(child) }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  ).pipe(
    Effect.map(({ asked, child }): Process => {
      let number = 0
      return {
        pid: child.pid!,
        ask: (task) =>
          Effect.callback((resume) => {
            const own = ++number
            asked.set(own, ({ error, value }) =>
              resume(error === undefined ? Effect.succeed(value) : Effect.fail(new Failed({ message: error }))))
            child.send({ number: own, task })
          }),
        signal: (signal) => Effect.sync(() => child.kill(signal))
      }
    }),
    Effect.tap((process) => process.ask({ _tag: "Start", options }))
  )

const askedOf = (child: ChildProcess) => {
  const asked = new Map<number, (answer: Answer) => void>()
  child.on("message", (answer: Answer) => {
    asked.get(answer.number)?.(answer)
    asked.delete(answer.number)
  })
  child.on("exit", () => {
    for (const [number, resume] of asked) resume({ number, error: "The process has ended" })
  })
  return asked
}
