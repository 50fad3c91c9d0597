/**
 * A node in a process of its own, which does what its parent says.
 */
import * as ChannelLayer from "@effect-channels/core/ChannelLayer"
import * as RedisChannels from "@effect-channels/redis/RedisChannels"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"

/** What a node is asked. */
export type Task =
  | { readonly _tag: "Start"; readonly options: RedisChannels.Options }
  | { readonly _tag: "Add"; readonly group: ChannelLayer.Address; readonly id: string }
  | { readonly _tag: "Remove"; readonly group: ChannelLayer.Address; readonly id: string }
  /** Sends numbers, one after the other. */
  | {
    readonly _tag: "Send"
    readonly groups: ReadonlyArray<ChannelLayer.Address>
    readonly from: number
    readonly to: number
  }
  /** Sends numbers from 1 on to each group, whatever becomes of them, until it is told to halt. */
  | { readonly _tag: "Stream"; readonly groups: ReadonlyArray<ChannelLayer.Address> }
  /** Which number it has come to; each has been sent to all groups. */
  | { readonly _tag: "Reached" }
  /** Answers with whether each send succeeded, by group. */
  | { readonly _tag: "Halt" }
  | { readonly _tag: "Count"; readonly group: ChannelLayer.Address }
  | { readonly _tag: "Present"; readonly group: ChannelLayer.Address }
  /** What a member has been given. */
  | { readonly _tag: "Received"; readonly group: ChannelLayer.Address; readonly id: string }
  | { readonly _tag: "Stop" }

/** What a node answers. */
export interface Answer {
  readonly number: number
  readonly value?: unknown
  readonly error?: string
}

interface Received {
  readonly type: string
  readonly data: unknown
  readonly id: string | undefined
}

const scope = Effect.runSync(Scope.make())
let layer: ChannelLayer.ChannelLayer["Service"] | undefined
const members = new Map<string, { readonly member: ChannelLayer.Member; readonly received: Array<Received> }>()

const node = Effect.suspend(() => layer === undefined ? Effect.die(new Error("not started")) : Effect.succeed(layer))

const message = (data: unknown) => new ChannelLayer.Message({ type: "said", data: JSON.stringify(data), status: 200 })

const streamed = { isHalted: false }
let reached = 0
let streaming: Fiber.Fiber<ReadonlyArray<ReadonlyArray<boolean>>> | undefined

const stream = (groups: ReadonlyArray<ChannelLayer.Address>) =>
  Effect.gen(function*() {
    const outcomes = groups.map((): Array<boolean> => [])
    const layer = yield* node
    while (!streamed.isHalted) {
      const number = reached + 1
      for (const [i, group] of groups.entries()) {
        outcomes[i]!.push(Exit.isSuccess(yield* Effect.exit(layer.send(group, message([process.pid, number])))))
      }
      reached = number
      yield* Effect.sleep(1)
    }
    return outcomes
  })

const run = (task: Task): Effect.Effect<unknown, unknown> => {
  switch (task._tag) {
    case "Start":
      return Layer.buildWithScope(RedisChannels.layer(task.options), scope).pipe(
        Effect.map((context) => {
          layer = Context.get(context, ChannelLayer.ChannelLayer)
        })
      )
    case "Add": {
      const received: Array<Received> = []
      const member: ChannelLayer.Member = {
        id: task.id,
        presence: JSON.stringify({ pid: process.pid }),
        receive: ({ data, id, type }) => void received.push({ type, data: JSON.parse(data), id })
      }
      members.set(`${task.group.key} ${task.id}`, { member, received })
      return Effect.flatMap(node, (layer) => layer.add(task.group, member, undefined))
    }
    case "Remove": {
      const { member } = members.get(`${task.group.key} ${task.id}`)!
      return Effect.flatMap(node, (layer) => layer.remove(task.group, member))
    }
    case "Send":
      return Effect.flatMap(node, (layer) =>
        Effect.forEach(
          Array.from({ length: task.to - task.from + 1 }, (_, i) => task.from + i),
          (n) =>
            Effect.forEach(task.groups, (group) => layer.send(group, message([process.pid, n])), { discard: true }),
          { discard: true }
        ))
    case "Stream":
      return Effect.sync(() => {
        streaming = Effect.runFork(stream(task.groups))
      })
    case "Reached":
      return Effect.sync(() => reached)
    case "Halt":
      return Effect.suspend(() => {
        streamed.isHalted = true
        return streaming === undefined ? Effect.die(new Error("not sending")) : Fiber.join(streaming)
      })
    case "Count":
      return Effect.flatMap(node, (layer) => layer.count(task.group))
    case "Present":
      return Effect.flatMap(node, (layer) => layer.present(task.group))
    case "Received":
      return Effect.sync(() => members.get(`${task.group.key} ${task.id}`)!.received)
    case "Stop":
      return Scope.close(scope, Exit.void)
  }
}

const answer = (answer: Answer) => process.send!(answer)

process.on("message", ({ number, task }: { readonly number: number; readonly task: Task }) => {
  Effect.runPromise(Effect.provide(run(task), Logger.layer([]))).then(
    (value) => {
      answer({ number, value })
      if (task._tag === "Stop") process.disconnect()
    },
    (error: unknown) => answer({ number, error: String(error) })
  )
})

// Nobody is there any more who could end it.
process.on("disconnect", () => process.exit())
