/**
 * Live queries of two servers over one database, which tell each other over Redis what they write.
 */
import { ChannelLayer, Consumer, Handlers, Pipeline, Repository, Resource, Transport } from "@effect-channels/core"
import * as Authority from "@effect-channels/core/Authority"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { eventually } from "../../core/test/support/channel-layers.ts"
import { processOf } from "../../core/test/support/database.ts"
import { fails, makeNode, quiet, until } from "./support/nodes.ts"
import { redisServer, skipped } from "./support/server.ts"

class Note extends Schema.Class<Note>("Note")({ id: Schema.Int, text: Schema.String }) {}
class Notes extends Repository.Service<Notes>()("test/Notes", { schema: Note, key: "id" }) {}

const notes = Resource.make("notes", { repository: Notes, actions: ["subscribe"] })
const Book = Consumer.make("book", { path: "/ws/" }).pipe(Consumer.add(...Resource.routes(notes, "notes/")))

const times = { heartbeat: 200, nodeTimeout: 1500, commandTimeout: 1000 }

/** A server of one node, and what it writes. */
const start = Effect.fnUntraced(function*(url: string, database: Notes["Service"]) {
  const node = yield* makeNode({ url, ...times })
  const rows = processOf(database)
  const shared = Layer.mergeAll(
    Layer.succeed(ChannelLayer.ChannelLayer, node.layer),
    Layer.succeed(Authority.Authority, node.authority),
    Layer.succeed(Notes, rows)
  )
  const context = yield* Layer.build(
    Consumer.handlers(Book).pipe(Resource.handle(notes), Handlers.toLayer).pipe(Layer.provideMerge(shared))
  )
  const pipeline = yield* Effect.provideContext(Pipeline.make([Book]), context)
  return { node, rows, pipeline }
})

/** Subscribes, and writes down what it is told. */
const subscribe = Effect.fnUntraced(function*(pipeline: Pipeline.Pipeline) {
  const session = yield* pipeline.connect({ id: "1", url: "/ws/" })
  const [transport, peer] = yield* Transport.makeMemory
  yield* Effect.forkScoped(session.run(transport), { startImmediately: true })
  const known = new Map<number, string>()
  const take = Effect.map(peer.take, (text) => {
    const { data } = JSON.parse(text)
    if (data.type === "snapshot") { for (const { id, text } of data.results) known.set(id, text) }
    else if (data.type === "removed") known.delete(data.key)
    else known.set(data.object.id, data.object.text)
  })
  yield* Effect.forkScoped(Effect.forever(take), { startImmediately: true })
  yield* peer.send(JSON.stringify({ action: "subscribe", route: "notes/", request_id: 1 }))
  return known
})

describe.skipIf(skipped !== undefined)("live queries over Redis", () => {
  it.live(
    "hear of what others write, also of what was written while Redis was away",
    () =>
      quiet(Effect.gen(function*() {
        const server = yield* redisServer
        const database = Context.get(yield* Layer.build(Notes.layerMemory([new Note({ id: 1, text: "a" })])), Notes)
        const [here, there] = [yield* start(server.url, database), yield* start(server.url, database)]
        const known = yield* subscribe(here.pipeline)
        const shows = (expected: ReadonlyArray<readonly [number, string]>) =>
          eventually(() => assert.deepStrictEqual(Array.from(known).sort(([a], [b]) => a - b), expected))
        yield* shows([[1, "a"]])

        yield* there.rows.update(1, { text: "b" })
        yield* shows([[1, "b"]])
        yield* there.rows.insert({ text: "c" })
        yield* shows([[1, "b"], [2, "c"]])
        yield* there.rows.remove(1)
        yield* shows([[2, "c"]])

        yield* Effect.promise(() => server.kill())
        yield* fails(there.node.layer.send(nobody, new ChannelLayer.Message({ type: "x", data: "1", status: 200 })))
        yield* there.rows.update(2, { text: "d" })
        // What is written here is told all the same.
        yield* here.rows.insert({ text: "e" })
        yield* eventually(() => assert.strictEqual(known.get(3), "e"))
        assert.strictEqual(known.get(2), "c")

        yield* Effect.promise(() => server.start())
        yield* until(here.node.layer.count(nobody))
        yield* shows([[2, "d"], [3, "e"]])
        yield* until(there.node.layer.count(nobody))
        yield* there.rows.update(2, { text: "f" })
        yield* shows([[2, "f"], [3, "e"]])
      })),
    { timeout: 60_000 }
  )
})

const nobody: ChannelLayer.Address = {
  key: "nobody",
  label: `"group":"nobody","params":{}`,
  params: "{}",
  history: undefined,
  presence: false
}
