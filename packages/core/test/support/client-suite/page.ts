/**
 * Runs the cases of the suite in a page, or in a worker of it: a module of its own, which knows the server as where it comes from.
 */
import { Client } from "@effect-channels/core"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import { codecs } from "./codecs.ts"
import { Board, type BoardOptions } from "./contract.ts"
import { patient, suite } from "./suite.ts"

/** Which case, by which codec, in which room. */
export interface Run {
  readonly name: string
  readonly subprotocol: string
  readonly room: string
}

/** What a page has, and what a worker has, as far as it is used here. */
interface Surroundings {
  readonly document?: unknown
  readonly Worker: new(url: string, options: { readonly type: "module" }) => Post
  runCase?: (run: Run) => Promise<string | undefined>
  runCaseInWorker?: (run: Run) => Promise<string | undefined>
}

interface Post {
  onmessage: ((message: { readonly data: unknown }) => void) | null
  onerror: ((error: { readonly message?: string }) => void) | null
  postMessage(data: unknown): void
}

const surroundings = globalThis as unknown as Surroundings & Post

/** Answers with what went wrong, if anything. */
const runCase = ({ name, room, subprotocol }: Run): Promise<string | undefined> => {
  const codec = codecs.find((codec) => codec.subprotocol === subprotocol)
  const one = suite.find((one) => one.name === name)
  if (codec === undefined || one === undefined) {
    return Promise.resolve(`there is no such case: "${name}", ${subprotocol}`)
  }
  const optionsOf = (options: Partial<BoardOptions> = {}): BoardOptions => ({
    codec,
    params: { room },
    ...patient,
    ...options
  })
  return one.run({
    codec,
    room,
    client: (options) => Client.make(Board, optionsOf(options) as never),
    promises: (options) => Client.makePromise(Board, optionsOf(options) as never) as never,
    passing: identity
  }).pipe(
    Effect.scoped,
    Effect.timeoutOrElse({
      duration: "20 seconds",
      orElse: () => Effect.die(new Error("it has waited for 20 seconds"))
    }),
    Effect.matchCause({ onSuccess: () => undefined, onFailure: Cause.pretty }),
    Effect.runPromise
  )
}

if (surroundings.document === undefined) {
  surroundings.onmessage = ({ data }) => {
    void runCase(data as Run).then((problem) => surroundings.postMessage({ problem }))
  }
} else {
  const worker = new surroundings.Worker(import.meta.url, { type: "module" })
  surroundings.runCase = runCase
  surroundings.runCaseInWorker = (run) =>
    new Promise((resolve) => {
      worker.onmessage = ({ data }) => resolve((data as { readonly problem?: string }).problem)
      worker.onerror = ({ message }) => resolve(`the worker broke: ${message}`)
      worker.postMessage(run)
    })
}
