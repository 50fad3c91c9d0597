import { Client } from "@effect-channels/core"
import { afterAll, beforeAll, describe, it } from "@effect/vitest"
import { identity } from "effect/Function"
import { codecs } from "../../core/test/support/client-suite/codecs.ts"
import { Board, type BoardOptions } from "../../core/test/support/client-suite/contract.ts"
import { patient, suite } from "../../core/test/support/client-suite/suite.ts"
import { startBoard } from "./support/board.ts"

describe.each(codecs)("a client over the WebSocket of Node, by $subprotocol", (codec) => {
  let server: Awaited<ReturnType<typeof startBoard>>

  beforeAll(async () => {
    server = await startBoard()
  })

  afterAll(() => server.stop())

  for (const [i, { name, run }] of suite.entries()) {
    it.live(name, () => {
      const room = `room ${i}`
      const optionsOf = (options: Partial<BoardOptions> = {}) => ({
        url: `ws://127.0.0.1:${server.port}`,
        codec,
        params: { room },
        ...patient,
        ...options
      })
      return run({
        codec,
        room,
        client: (options) => Client.make(Board, optionsOf(options) as BoardOptions),
        promises: (options) => Client.makePromise(Board, optionsOf(options) as BoardOptions),
        passing: identity
      })
    })
  }
})
