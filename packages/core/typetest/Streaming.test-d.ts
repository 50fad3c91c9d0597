import {
  Action,
  ChannelError,
  ConnectionScope,
  Consumer,
  Event,
  Group,
  Handlers,
  Permission,
  Route
} from "@effect-channels/core"
import * as Testing from "@effect-channels/core/testing"
import type * as Transport from "@effect-channels/core/Transport"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"

class Line extends Schema.Class<Line>("Line")({ number: Schema.Int, text: Schema.String }) {}
class NotThere extends Schema.TaggedError<NotThere>()("NotThere", {}, { httpApiStatus: 404 }) {}
class Disk extends Context.Service<Disk, { readonly lines: Stream.Stream<Line, NotThere> }>()("app/Disk") {}
class Owners extends Context.Service<Owners, ReadonlySet<string>>()("app/Owners") {}
declare const line: Line
declare const Signed: Schema.Codec<string, string, "Verifier", "Signer">

const tail = Action.make("tail", { payload: { file: Schema.String }, success: Line, error: NotThere, stream: true })
const stat = Action.make("stat", { success: Line, error: NotThere })
const follow = Action.make("follow", { success: Line, stream: true }).pipe(Action.object(Schema.String))
const Files = Consumer.make("files", { path: "/ws/" }).pipe(
  Consumer.add(tail, stat, Route.make("files/:id/", { id: Schema.NumberFromString }).pipe(Route.add(follow)))
)
const files = Consumer.handlers(Files)

describe("an action that is answered with a stream", () => {
  it("says so, and keeps saying so", () => {
    expectTypeOf(Action.make("x", { success: Line, error: NotThere, stream: true })).toEqualTypeOf<
      Action.Action<"x", Schema.Void, Schema.Void, typeof Line, typeof NotThere, {}, unknown, never, true>
    >()
    expectTypeOf(tail.stream).toEqualTypeOf<true>()
    expectTypeOf(stat.stream).toEqualTypeOf<false>()
    expectTypeOf(Action.make("x", { stream: false }).stream).toEqualTypeOf<false>()
    expectTypeOf(tail.success).toEqualTypeOf<typeof Line>()
    expectTypeOf(follow.stream).toEqualTypeOf<true>()
    expectTypeOf(Action.object(tail, Schema.String).stream).toEqualTypeOf<true>()
    const isTail = Permission.action("isTail", ({ action }) => action === "tail")
    expectTypeOf(tail.pipe(Action.permit(isTail)).stream).toEqualTypeOf<true>()
    // @ts-expect-error no boolean
    Action.make("x", { stream: "yes" })
  })

  it("needs what encodes its items", () => {
    const signed = Action.make("x", { success: Signed, stream: true })
    expectTypeOf<Action.Services<typeof signed>>().toEqualTypeOf<"Signer">()
  })

  it("is neither broadcast nor silent", () => {
    const room = Group.make("room")
    const said = Event.make("said", Line)
    stat.pipe(Action.broadcast(room, said))
    // @ts-expect-error a stream
    tail.pipe(Action.broadcast(room, said))
    const told = Event.make("told", Schema.String)
    stat.pipe(Action.broadcast(room, told, { map: ({ text }) => text }))
    // @ts-expect-error a stream
    tail.pipe(Action.broadcast(room, told, { map: () => "" }))
    stat.pipe(Action.silent)
    // @ts-expect-error a stream
    tail.pipe(Action.silent)
  })
})

describe("its handler", () => {
  it("gives a stream of the action's successes", () => {
    files.pipe(Handlers.handle("tail", ({ payload, requestId }) => {
      expectTypeOf(payload).toEqualTypeOf<{ readonly file: string }>()
      expectTypeOf(requestId).toEqualTypeOf<string | number | undefined>()
      return Stream.make(line)
    }))
    files.pipe(Handlers.handle("tail", () => Stream.empty))
    files.pipe(Handlers.handle("tail", () => Stream.unwrap(Effect.succeed(Stream.make(line)))))
    // @ts-expect-error no lines
    files.pipe(Handlers.handle("tail", () => Stream.make("line")))
    // @ts-expect-error an array of lines
    files.pipe(Handlers.handle("tail", () => Stream.make([line])))
  })

  it("gives no effect, and that of an ordinary action no stream", () => {
    // @ts-expect-error an effect
    files.pipe(Handlers.handle("tail", () => Effect.succeed(line)))
    // @ts-expect-error an effect
    files.pipe(Handlers.handle("tail", () => Effect.succeed(Stream.make(line))))
    // @ts-expect-error an effect
    files.pipe(Handlers.handle("tail", () => Effect.never))
    const run = Effect.fnUntraced(function*() {
      return yield* Effect.succeed(line)
    })
    // @ts-expect-error an effect
    files.pipe(Handlers.handle("tail", run))
    // @ts-expect-error an array
    files.pipe(Handlers.handle("tail", () => [line]))
    files.pipe(Handlers.handle("stat", () => Effect.succeed(line)))
    // @ts-expect-error a stream
    files.pipe(Handlers.handle("stat", () => Stream.make(line)))
    // @ts-expect-error a stream
    files.pipe(Handlers.handle("stat", () => Stream.never))
  })

  it("fails with what the action declares, or with what any may fail with", () => {
    files.pipe(Handlers.handle("tail", () => Stream.fail(new NotThere())))
    files.pipe(Handlers.handle("tail", () => Stream.fail(new ChannelError.NotAuthenticated())))
    // @ts-expect-error not declared
    files.pipe(Handlers.handle("tail", () => Stream.fail("no")))
  })

  it("loads the object with an effect, where there is one", () => {
    files.pipe(Handlers.handle("files/:id/", "follow", {
      object: ({ params }) => Effect.succeed(String(params.id)),
      run: ({ object, params }) => {
        expectTypeOf(object).toEqualTypeOf<string>()
        expectTypeOf(params).toEqualTypeOf<{ readonly id: number }>()
        return Stream.make(line)
      }
    }))
    const object = () => Effect.succeed("a")
    // @ts-expect-error an effect
    files.pipe(Handlers.handle("files/:id/", "follow", { object, run: () => Effect.succeed(line) }))
    const loads = () => Stream.make("a")
    // @ts-expect-error a stream
    files.pipe(Handlers.handle("files/:id/", "follow", { object: loads, run: () => Stream.make(line) }))
    // @ts-expect-error an object is to be loaded
    files.pipe(Handlers.handle("files/:id/", "follow", () => Stream.make(line)))
  })

  it("needs what its stream needs, nothing of the connection", () => {
    const live = files.pipe(
      Handlers.handle("tail", () => Stream.unwrap(Effect.map(Disk, ({ lines }) => lines))),
      Handlers.handle("stat", () => Effect.succeed(line)),
      Handlers.handle("files/:id/", "follow", {
        object: () => Effect.succeed("a"),
        run: () =>
          Stream.make(line).pipe(
            Stream.filterEffect(({ text }) => Effect.map(Owners, (owners) => owners.has(text))),
            Stream.tap(() => Effect.andThen(ConnectionScope.ConnectionScope, Effect.addFinalizer(() => Effect.void)))
          )
      }),
      Handlers.toLayer
    )
    expectTypeOf(live).toEqualTypeOf<Layer.Layer<Handlers.Live<"files">, Handlers.DefinitionError, Disk | Owners>>()
  })

  it("may be missing", () => {
    // @ts-expect-error tail and follow are missing
    files.pipe(Handlers.handle("stat", () => Effect.succeed(line)), Handlers.toLayer)
  })

  it("has a type that can be read", () => {
    type Tail = Extract<Handlers.Endpoints<typeof tail, "", {}>, { readonly name: "tail" }>
    expectTypeOf<Handlers.HandlerOf<Tail, Disk, never>>().toEqualTypeOf<
      (
        request: Handlers.Request<{ readonly file: string }, {}, void>
      ) => Stream.Stream<Line, NotThere | ChannelError.Undeclared, Disk>
    >()
  })
})

describe("the test kit", () => {
  const connecting = Testing.connect(Files)
  const client: Effect.Success<typeof connecting> = undefined as never

  it("gives a stream of items", () => {
    expectTypeOf(client.stream("tail", { payload: { file: "a" } })).toEqualTypeOf<
      Stream.Stream<Line, Testing.Refused | Transport.Closed>
    >()
    expectTypeOf(client.stream("files/:id/", "follow", { params: { id: 1 } })).toEqualTypeOf<
      Stream.Stream<Line, Testing.Refused | Transport.Closed>
    >()
    expectTypeOf(connecting).toExtend<Effect.Effect<unknown, unknown, Handlers.Live<"files"> | Scope.Scope>>()
    // @ts-expect-error the payload is missing
    client.stream("tail")
    // @ts-expect-error the param is a number
    client.stream("files/:id/", "follow", { params: { id: "1" } })
  })

  it("asks for one reply, and streams many", () => {
    client.ask("stat")
    // @ts-expect-error a stream
    client.ask("tail", { payload: { file: "a" } })
    // @ts-expect-error one reply
    client.stream("stat")
    // @ts-expect-error a stream
    client.ask("files/:id/", "follow", { params: { id: 1 } })
  })
})
