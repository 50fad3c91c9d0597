/**
 * Tells the live queries of other processes what this one writes, and those of this one what others write, by the channel layer:
 * no more than keys, since everybody reads the rows themselves.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { type Address, type ChannelLayer, Message } from "../ChannelLayer.ts"
import type { Change, Definition, Repository } from "../Repository.ts"
import type { Feed } from "./feed.ts"

type Row = Readonly<Record<string, unknown>>

/** How long it waits before it tries again to tell others, in milliseconds. */
const pause = 1_000

/** What a repository and a channel layer have been joined for. */
interface Joint {
  readonly scope: Scope.Closeable
  count: number
}

const joints = new WeakMap<object, WeakMap<object, Joint>>()

/** Joins a repository to a channel layer, once, as long as any of the scopes is open that it is asked for in. */
export const share = (
  name: string,
  definition: Definition,
  rows: Repository<Row, unknown, Row>,
  feed: Feed,
  layer: ChannelLayer["Service"]
): Effect.Effect<void, never, Scope.Scope> => {
  const own = joints.get(rows) ?? new WeakMap<object, Joint>()
  joints.set(rows, own)
  return Effect.acquireRelease(
    Effect.suspend(() => {
      const known = own.get(layer)
      if (known !== undefined) {
        known.count++
        return Effect.void
      }
      const scope = Scope.makeUnsafe()
      own.set(layer, { scope, count: 1 })
      return Scope.provide(join(name, definition, rows, feed, layer), scope)
    }),
    () => {
      const joint = own.get(layer)!
      joint.count--
      if (joint.count > 0) return Effect.void
      own.delete(layer)
      return Scope.close(joint.scope, Exit.void)
    }
  )
}

const join = (
  name: string,
  definition: Definition,
  rows: Repository<Row, unknown, Row>,
  feed: Feed,
  layer: ChannelLayer["Service"]
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<Scope.Scope>()
    const self = (yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)).toString(36)
    const key = (definition.schema.fields as Readonly<Record<string, Schema.Top>>)[definition.key]!
    const News = Schema.fromJsonString(Schema.Struct({
      from: Schema.String,
      // None where it is not known what was written.
      keys: Schema.NullOr(Schema.Array(Schema.toCodecJson(key)))
    }))
    const decode = Schema.decodeUnknownOption(News as unknown as Schema.Codec<News>)
    const encode = Schema.encodeUnknownEffect(News as unknown as Schema.Codec<News>)
    const address = addressOf(name)
    let owes = false

    const send = (change: Change<unknown>): Effect.Effect<void> =>
      encode({ from: self, keys: change._tag === "Written" ? change.keys : null }).pipe(
        Effect.flatMap((data) => layer.send(address, new Message({ type, data: String(data), status: 200 }))),
        Effect.catchCause((cause) => {
          if (owes) return Effect.void
          owes = true
          return Effect.andThen(Effect.logWarning(`Others do not hear what is written to "${name}"`, cause), settle)
        })
      )
    /** Whoever has not heard of something is told so, as soon as they can be. */
    const settle: Effect.Effect<void> = Effect.suspend(() => {
      owes = false
      return Effect.andThen(Effect.sleep(pause), send({ _tag: "Unknown" }))
    })

    yield* rows.changes((change) => {
      Effect.runForkWith(context)(Effect.forkIn(send(change), Context.get(context, Scope.Scope)))
    })
    const member = {
      id: self,
      presence: undefined,
      receive: ({ data }: Message) => {
        const news = decode(data)
        if (news._tag === "None" || news.value.from === self) return
        const { keys } = news.value
        feed.heard(keys === null ? { _tag: "Unknown" } : { _tag: "Written", keys })
      }
    }
    const added = layer.add(address, member, undefined).pipe(
      Effect.retry(Schedule.spaced(pause)),
      Effect.andThen(Effect.sync(() => feed.heard({ _tag: "Unknown" })))
    )
    yield* Effect.addFinalizer(() => layer.remove(address, member))
    yield* Effect.forkScoped(added, { startImmediately: true })
  })

interface News {
  readonly from: string
  readonly keys: ReadonlyArray<unknown> | null
}

const type = "$changed"

/** The group of all processes that have a repository. No consumer has such a name. */
const addressOf = (name: string): Address => {
  const params = JSON.stringify({ repository: name })
  const label = `"group":"$changes","params":${params}`
  return { key: `{"consumer":null,${label}}`, label, params, history: undefined, presence: false }
}
