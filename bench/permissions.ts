/**
 * How fast a permission is decided: an expression of five checks that answer at once, as the pipeline does it for every
 * message, and through the public effect. Prints decisions per second.
 */
import { Permission } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import { step } from "../packages/core/src/internal/decide.ts"

interface Message {
  readonly authorId: number
  readonly room: string
  readonly draft: boolean
}

const isRoot = Permission.action("isRoot", ({ action }) => action === "root")
const isEdit = Permission.action("isEdit", ({ action }) => action === "edit")
const isAuthor = Permission.object<Message>()("isAuthor", ({ object }) => object.authorId === 1)
const isDraft = Permission.object<Message>()("isDraft", ({ object }) => object.draft)
const isLobby = Permission.object<Message>()("isLobby", ({ object }) => object.room === "lobby")

// Every check is asked: no part is decided before its last member.
const permission = Permission.or(isRoot, Permission.all([isEdit, isAuthor, Permission.not(isDraft), isLobby]))

const facts: Permission.Facts = {
  phase: "object",
  action: "edit",
  route: "messages/1/",
  query: {},
  params: { id: 1 },
  payload: { text: "hi" },
  object: { authorId: 1, room: "lobby", draft: false }
}

/** Calls in a second, the best of some rounds. */
const rate = (call: () => unknown, seconds: number): number => {
  let best = 0
  for (let round = 0; round < 5; round++) {
    const until = performance.now() + seconds * 200
    let calls = 0
    const start = performance.now()
    while (performance.now() < until) {
      for (let i = 0; i < 1000; i++) call()
      calls += 1000
    }
    best = Math.max(best, calls / (performance.now() - start) * 1000)
  }
  return best
}

const decided = step(permission.tree, facts, undefined)
if (Effect.isEffect(decided) || decided._tag !== "Allow") throw new Error("the permission of this benchmark must allow")

const seconds = process.argv.includes("--smoke") ? 0.1 : 2
const print = (what: string, call: () => unknown) =>
  console.log(`${what.padEnd(36)} ${(rate(call, seconds) / 1e6).toFixed(1).padStart(6)} M/s`)

print("five checks, in the pipeline", () => step(permission.tree, facts, undefined))
print("five checks, Permission.decide", () => Effect.runSync(Permission.decide(permission, facts)))
