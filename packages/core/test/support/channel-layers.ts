/**
 * What every channel layer must do: the interface of `ChannelLayer`, sentence by sentence.
 */
import { ChannelLayer } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"

type Layer = ChannelLayer.ChannelLayer["Service"]

/** How a layer is tested. */
export interface Options<E> {
  /** Makes layers that reach each other, as of so many processes. */
  readonly nodes: (count: number) => Effect.Effect<ReadonlyArray<Layer>, E, Scope.Scope>
  /** Whether time is real and events are on their way for a while; else everything is there at once, in the time of the tests. */
  readonly isRemote: boolean
}

// ---- what tests are made of

/** A name that nobody else uses, in this run of the tests nor any other. */
export const unique = (name: string): string => `${name}-${globalThis.crypto.randomUUID()}`

/** A group of its own. */
export const address = (name: string, options: Partial<ChannelLayer.Address> = {}): ChannelLayer.Address => {
  const key = options.key ?? unique(name)
  return {
    key,
    label: `"group":${JSON.stringify(name)},"params":{}`,
    params: "{}",
    history: undefined,
    presence: false,
    ...options
  }
}

/** A change of who is in a group, as its members are told it. */
export interface Told {
  readonly group: string
  readonly params: unknown
  readonly joined: ReadonlyArray<{ readonly id: string; readonly data: unknown }>
  readonly left: ReadonlyArray<{ readonly id: string; readonly data: unknown }>
}

/** A member that remembers what it was given. */
export class Recorder implements ChannelLayer.Member {
  readonly id: string
  readonly presence: string | undefined
  readonly received: Array<ChannelLayer.Message> = []
  readonly receive = (message: ChannelLayer.Message): void => {
    this.received.push(message)
  }
  constructor(id = unique("member"), presence?: string) {
    this.id = id
    this.presence = presence
  }
  /** The data of the events, without those about presence. */
  get events(): ReadonlyArray<unknown> {
    return this.received.filter(({ type }) => type !== "$presence").map(({ data }) => JSON.parse(data))
  }
  get ids(): ReadonlyArray<string | undefined> {
    return this.received.filter(({ type }) => type !== "$presence").map(({ id }) => id)
  }
  get told(): ReadonlyArray<Told> {
    return this.received.filter(({ type }) => type === "$presence").map(({ data }) => JSON.parse(data))
  }
  /** Who came (`+`) and who went (`-`), in the order in which it was told. */
  get changes(): ReadonlyArray<string> {
    return this.told.flatMap(({ joined, left }) => [
      ...joined.map(({ id }) => `+${id}`),
      ...left.map(({ id }) => `-${id}`)
    ])
  }
}

/** An event with these data. */
export const message = (data: unknown, options: Partial<ChannelLayer.Envelope> = {}): ChannelLayer.Message =>
  new ChannelLayer.Message({ type: "said", data: JSON.stringify(data), status: 200, ...options })

/** Numbers that are the same in every run: mulberry32. */
export const seeded = (seed: number) => {
  let state = seed
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const below = (bound: number): number => Math.floor(next() * bound)
  return { next, below, one: <A>(values: ReadonlyArray<A>): A => values[below(values.length)]! }
}

/** Waits until something holds that is on its way. */
export const eventually = (check: () => void): Effect.Effect<void> =>
  Effect.gen(function*() {
    // Not with the clock: it may be one of a test.
    const end = performance.now() + 20_000
    for (;;) {
      const failure = attempt(check)
      if (failure === undefined) return
      if (performance.now() > end) throw failure.error
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
    }
  })

const attempt = (check: () => void): { readonly error: unknown } | undefined => {
  try {
    check()
    return undefined
  } catch (error) {
    return { error }
  }
}

const sorted = (values: Iterable<string>): ReadonlyArray<string> => [...values].sort()
const ids = (present: ReadonlyArray<ChannelLayer.Present>): ReadonlyArray<string> => sorted(present.map(({ id }) => id))
const range = (from: number, to: number): Array<number> =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)

const last = <A>(values: ReadonlyArray<A>, count: number): Array<A> => values.slice(values.length - count)

/** Whether it begins as another list does. */
const isPrefix = (self: ReadonlyArray<unknown>, that: ReadonlyArray<unknown>): boolean =>
  self.length <= that.length && self.every((value, i) => value === that[i])

/** The groups of these tests that keep everything that is sent in them. */
const history = { count: 1000, age: 3_600_000 }

const strangeKeys = [
  "__proto__",
  "constructor",
  "toString",
  "",
  " ",
  "a b",
  "a\nb",
  "\u0000",
  "ä☃🂡",
  "a:b",
  "*",
  "[x]",
  "{x}"
]

/** Tests a channel layer. */
export const channelLayerSuite = <E>(name: string, { isRemote, nodes }: Options<E>): void => {
  const test = isRemote ? it.live : it.effect
  const soon = isRemote ? eventually : (check: () => void) => Effect.sync(check)
  const passes = (millis: number) => isRemote ? Effect.sleep(millis) : TestClock.adjust(millis)
  const limit = { timeout: 60_000 }

  /** Two nodes, or one where there is but one process. */
  const two = Effect.map(nodes(2), ([a, b]) => [a!, b!] as const)

  describe(`the channel layer ${name}`, () => {
    describe("groups", () => {
      test("reaches every member, those of this process before the send completes", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room")
          const [here, near, far] = [new Recorder(), new Recorder(), new Recorder()]
          yield* a.add(group, here, undefined)
          yield* a.add(group, near, undefined)
          yield* b.add(group, far, undefined)
          yield* a.send(group, message({ n: 1 }, { type: "posted", status: 201 }))
          assert.deepStrictEqual([here.events, near.events], [[{ n: 1 }], [{ n: 1 }]])
          yield* soon(() => assert.deepStrictEqual(far.events, [{ n: 1 }]))
          for (const { received: [event] } of [here, far]) {
            assert.deepStrictEqual(
              JSON.parse(event!.frame.content as string),
              { type: "posted", data: { n: 1 }, status: 201 }
            )
            assert.isUndefined(event!.id)
          }
        }), limit)

      test("says of a group without history or presence that there is nothing to tell", () =>
        Effect.gen(function*() {
          const [a] = yield* two
          const group = address("room")
          const joined = yield* a.add(group, new Recorder(undefined, `"x"`), undefined)
          assert.deepStrictEqual(joined, { position: undefined, state: "fresh", missed: [], present: [] })
          assert.deepStrictEqual(yield* a.add(group, new Recorder(), "1-1"), joined)
          assert.deepStrictEqual(yield* a.present(group), [])
        }), limit)

      test("keeps the order of a sender, in all processes", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room")
          const [here, far] = [new Recorder(), new Recorder()]
          yield* a.add(group, here, undefined)
          yield* b.add(group, far, undefined)
          for (const n of range(1, 100)) yield* a.send(group, message(n))
          // Without waiting for the one before.
          yield* Effect.forEach(range(101, 300), (n) => a.send(group, message(n)), {
            concurrency: "unbounded",
            discard: true
          })
          assert.deepStrictEqual(here.events, range(1, 300))
          yield* soon(() => assert.deepStrictEqual(far.events, range(1, 300)))
        }), limit)

      test("does not send to whom an event excepts, in whatever process", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room")
          const members = [new Recorder(), new Recorder(), new Recorder(), new Recorder()]
          for (const [i, member] of members.entries()) yield* (i % 2 === 0 ? a : b).add(group, member, undefined)
          for (const [i, { id }] of members.entries()) yield* a.send(group, message(i, { except: id }))
          yield* a.send(group, message("end"))
          for (const [i, member] of members.entries()) {
            yield* soon(() => assert.deepStrictEqual(member.events, [...[0, 1, 2, 3].filter((n) => n !== i), "end"]))
          }
        }), limit)

      test("gives a member nothing after it was removed, and nothing of other groups", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const [one, other] = [address("room"), address("room")]
          const [stays, leaves] = [new Recorder(), new Recorder()]
          yield* b.add(one, stays, undefined)
          yield* b.add(other, stays, undefined)
          yield* b.add(one, leaves, undefined)
          yield* a.send(one, message(1))
          yield* soon(() => assert.deepStrictEqual(leaves.events, [1]))
          yield* b.remove(one, leaves)
          yield* a.send(one, message(2))
          yield* a.send(other, message(3))
          yield* soon(() => assert.deepStrictEqual(stays.events, [1, 2, 3]))
          assert.deepStrictEqual(leaves.events, [1])
        }), limit)

      test("misses nobody that is not in a group, and takes back a member that has left", () =>
        Effect.gen(function*() {
          const [a] = yield* two
          const group = address("room", { presence: true })
          const member = new Recorder()
          yield* a.remove(group, member)
          yield* a.add(group, member, undefined)
          yield* a.remove(group, member)
          yield* a.remove(group, member)
          assert.strictEqual(yield* a.count(group), 0)
          yield* a.add(group, member, undefined)
          assert.strictEqual(yield* a.count(group), 1)
          yield* a.send(group, message(1))
          yield* soon(() => assert.deepStrictEqual(member.events, [1]))
        }), limit)

      test("counts and serves a member once, however often it is added", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room", { presence: true })
          const [member, other] = [new Recorder(), new Recorder()]
          yield* b.add(group, other, undefined)
          yield* a.add(group, member, undefined)
          const again = yield* a.add(group, member, undefined)
          assert.deepStrictEqual(ids(again.present), sorted([member.id, other.id]))
          assert.strictEqual(yield* b.count(group), 2)
          yield* b.send(group, message(1))
          yield* soon(() => assert.deepStrictEqual(member.events, [1]))
          yield* a.remove(group, member)
          assert.strictEqual(yield* b.count(group), 1)
          yield* soon(() => assert.deepStrictEqual(other.changes, [`+${member.id}`, `-${member.id}`]))
        }), limit)

      test("counts the members of all processes", () =>
        Effect.gen(function*() {
          const layers = yield* nodes(3)
          const group = address("room")
          const members = layers.map(() => [new Recorder(), new Recorder()])
          for (const layer of layers) assert.strictEqual(yield* layer.count(group), 0)
          for (const [i, layer] of layers.entries()) {
            for (const member of members[i]!) yield* layer.add(group, member, undefined)
          }
          for (const layer of layers) assert.strictEqual(yield* layer.count(group), 6)
          for (const [i, layer] of layers.entries()) yield* layer.remove(group, members[i]![0]!)
          for (const layer of layers) assert.strictEqual(yield* layer.count(group), 3)
        }), limit)

      test("keeps groups apart, whatever they are called", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const suffix = unique("")
          for (const options of [{}, { presence: true }, { history }]) {
            const members = strangeKeys.map((key) => ({
              group: address("room", { key: `${key}${JSON.stringify(options)}${suffix}`, ...options }),
              member: new Recorder(unique(key), JSON.stringify(key)),
              key
            }))
            for (const { group, member } of members) yield* b.add(group, member, undefined)
            for (const { group, key } of members) {
              assert.strictEqual(yield* a.count(group), 1)
              yield* a.send(group, message({ [key]: key }))
            }
            for (const { group, key, member } of members) {
              yield* soon(() => assert.deepStrictEqual(member.events, [JSON.parse(JSON.stringify({ [key]: key }))]))
              const expected = options.presence === true ? [{ id: member.id, data: JSON.stringify(key) }] : []
              assert.deepStrictEqual(yield* a.present(group), expected)
            }
          }
        }), limit)

      test("has members that join and leave in thousands leave nothing behind", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const groups = range(1, 20).map(() => address("room", { presence: true, history }))
          yield* Effect.forEach(
            range(1, 2000),
            (n) =>
              Effect.gen(function*() {
                const layer = n % 2 === 0 ? a : b
                const group = groups[n % groups.length]!
                const member = new Recorder()
                yield* layer.add(group, member, undefined)
                if (n % 10 === 0) yield* layer.send(group, message(n))
                yield* layer.remove(group, member)
              }),
            { concurrency: 50, discard: true }
          )
          for (const group of groups) {
            for (const layer of [a, b]) {
              assert.strictEqual(yield* layer.count(group), 0)
              assert.deepStrictEqual(yield* layer.present(group), [])
            }
          }
          // Who comes now sees nobody but themselves, and is told of nobody.
          const member = new Recorder()
          const { present } = yield* a.add(groups[0]!, member, undefined)
          assert.deepStrictEqual(ids(present), [member.id])
          yield* a.send(groups[0]!, message("end"))
          yield* soon(() => assert.deepStrictEqual(member.events, ["end"]))
          assert.deepStrictEqual(member.told, [])
        }), limit)

      test("is done with a member whose joining is interrupted", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room", { presence: true, history })
          const witness = new Recorder()
          yield* b.add(group, witness, undefined)
          for (const n of range(1, 30)) {
            const member = new Recorder()
            const fiber = yield* Effect.forkChild(a.add(group, member, undefined), { startImmediately: true })
            if (n % 3 > 0) yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, n % 3)))
            const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
            // It may have joined before it could be interrupted.
            if (Exit.isSuccess(exit)) yield* a.remove(group, member)
            yield* b.send(group, message(n))
            assert.strictEqual(yield* a.count(group), 1)
            assert.deepStrictEqual(ids(yield* b.present(group)), [witness.id])
          }
          yield* soon(() => assert.deepStrictEqual(witness.events, range(1, 30)))
        }), limit)
    })

    describe("presence", () => {
      test("tells who joins who is there, and the others who came and who left", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room", { presence: true })
          const [ann, bob, cat] = [
            new Recorder("ann", `{"name":"Ann"}`),
            new Recorder("bob", `{"name":"Bob"}`),
            new Recorder("cat")
          ]
          assert.deepStrictEqual((yield* a.add(group, ann, undefined)).present, [{ id: "ann", data: `{"name":"Ann"}` }])
          assert.deepStrictEqual(ids((yield* b.add(group, bob, undefined)).present), ["ann", "bob"])
          assert.deepStrictEqual(ids((yield* b.add(group, cat, undefined)).present), ["ann", "bob", "cat"])
          for (const layer of [a, b]) {
            const present = yield* layer.present(group)
            assert.deepStrictEqual(ids(present), ["ann", "bob", "cat"])
            assert.deepStrictEqual(present.find(({ id }) => id === "cat")!.data, "null")
          }
          yield* b.remove(group, bob)
          assert.deepStrictEqual(ids(yield* a.present(group)), ["ann", "cat"])
          yield* a.remove(group, ann)
          yield* soon(() => assert.deepStrictEqual(ann.changes.slice(0, 2), ["+bob", "+cat"]))
          yield* soon(() => assert.deepStrictEqual(bob.changes.slice(0, 1), ["+cat"]))
          yield* soon(() => assert.deepStrictEqual(cat.changes, ["-bob", "-ann"]))
          assert.deepStrictEqual(cat.told[0], {
            group: "room",
            params: {},
            joined: [],
            left: [{ id: "bob", data: { name: "Bob" } }]
          })
          assert.deepStrictEqual(ann.told[0], {
            group: "room",
            params: {},
            joined: [{ id: "bob", data: { name: "Bob" } }],
            left: []
          })
          assert.strictEqual(cat.received[0]!.status, 200)
        }), limit)

      test("adds up for everybody: who was there, came and went is who is there", () =>
        Effect.gen(function*() {
          const layers = yield* nodes(3)
          const group = address("room", { presence: true })
          const random = seeded(7)
          const staying: Array<{ readonly member: Recorder; readonly present: ReadonlyArray<ChannelLayer.Present> }> =
            []
          yield* Effect.forEach(
            range(1, 150),
            (n) => {
              const layer = random.one(layers)
              const member = new Recorder(`m${n}`)
              const stays = n % 5 === 0
              return Effect.gen(function*() {
                const { present } = yield* layer.add(group, member, undefined)
                assert.isTrue(present.some(({ id }) => id === member.id))
                if (stays) staying.push({ member, present })
                else yield* layer.remove(group, member)
              })
            },
            { concurrency: 15, discard: true }
          )
          const expected = sorted(staying.map(({ member }) => member.id))
          for (const layer of layers) assert.deepStrictEqual(ids(yield* layer.present(group)), expected)
          for (const { member, present } of staying) {
            yield* soon(() => {
              const seen = new Set(present.map(({ id }) => id))
              for (const change of member.changes) {
                const id = change.slice(1)
                // Nobody comes who is there, and nobody goes who is not.
                if (change.startsWith("+")) assert.isFalse(seen.has(id), change)
                else assert.isTrue(seen.has(id), change)
                if (change.startsWith("+")) seen.add(id)
                else seen.delete(id)
              }
              assert.deepStrictEqual(sorted(seen), expected)
            })
          }
        }), limit)
    })

    describe("signals", () => {
      test(
        "reach all listeners of all processes, those of this one before they complete",
        () =>
          Effect.gen(function*() {
            const [a, b] = yield* two
            const heard = { a: [] as Array<ChannelLayer.Signal>, b: [] as Array<ChannelLayer.Signal> }
            const listener = (signal: ChannelLayer.Signal) => void heard.a.push(signal)
            yield* a.subscribe(listener)
            yield* a.subscribe(listener)
            yield* b.subscribe((signal) => void heard.b.push(signal))
            const signals: ReadonlyArray<ChannelLayer.Signal> = [
              { _tag: "Disconnect", consumer: "chat", target: { _tag: "Everyone" }, code: 4000, reason: "bye" },
              { _tag: "Disconnect", consumer: "chat", target: { _tag: "Connection", id: "x" }, code: 4001, reason: "" },
              {
                _tag: "Event",
                consumer: "chat",
                target: { _tag: "Identity", service: "app/User", key: "__proto__" },
                event: { type: "said", data: `{"a":[1,"\\n"]}`, status: 200 }
              },
              {
                _tag: "Event",
                consumer: "",
                target: { _tag: "Everyone" },
                event: { type: "said", data: "null", status: 201, except: "x" }
              }
            ]
            for (const [i, signal] of signals.entries()) {
              yield* a.signal(signal)
              assert.deepStrictEqual(heard.a.length, 2 * (i + 1))
            }
            const plain = (list: ReadonlyArray<unknown>) => JSON.parse(JSON.stringify(list))
            yield* soon(() => assert.deepStrictEqual(plain(heard.b.slice(-4)), plain(signals)))
          }),
        limit
      )

      test("do not reach who listens no longer", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const scope = yield* Scope.make()
          const [ended, going] = [[] as Array<unknown>, [] as Array<unknown>]
          yield* Scope.provide(b.subscribe((signal) => void ended.push(signal)), scope)
          yield* b.subscribe((signal) => void going.push(signal))
          const signal = (reason: string): ChannelLayer.Signal => ({
            _tag: "Disconnect",
            consumer: "chat",
            target: { _tag: "Everyone" },
            code: 4000,
            reason
          })
          yield* a.signal(signal("one"))
          yield* soon(() => assert.deepStrictEqual([ended.length, going.length], [1, 1]))
          yield* Scope.close(scope, Exit.void)
          yield* a.signal(signal("two"))
          yield* soon(() => assert.deepStrictEqual(going.length, 2))
          assert.deepStrictEqual(ended.length, 1)
        }), limit)
    })

    describe("histories", () => {
      test("give every event a position, and one order for everybody", () =>
        Effect.gen(function*() {
          const layers = yield* nodes(3)
          const group = address("room", { history })
          const members = layers.map(() => new Recorder())
          for (const [i, layer] of layers.entries()) {
            const joined = yield* layer.add(group, members[i]!, undefined)
            assert.strictEqual(joined.state, "fresh")
            assert.isString(joined.position)
            assert.deepStrictEqual(joined.missed, [])
          }
          yield* Effect.forEach(range(1, 90), (n) => layers[n % layers.length]!.send(group, message(n)), {
            concurrency: "unbounded",
            discard: true
          })
          for (const member of members) yield* soon(() => assert.strictEqual(member.events.length, 90))
          for (const member of members) {
            assert.deepStrictEqual(member.events, members[0]!.events)
            assert.deepStrictEqual(member.ids, members[0]!.ids)
            assert.strictEqual(new Set(member.ids).size, 90)
            for (const remainder of [0, 1, 2]) {
              const own = range(1, 90).filter((n) => n % layers.length === remainder % layers.length)
              assert.deepStrictEqual(member.events.filter((n) => own.includes(Number(n))), own)
            }
          }
        }), limit)

      test("replay what somebody has missed, each event once", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room", { history })
          const first = new Recorder()
          const start = yield* a.add(group, first, undefined)
          for (const n of range(1, 5)) yield* b.send(group, message(n, { type: `said${n}`, status: 200 + n }))
          yield* soon(() => assert.deepStrictEqual(first.events, range(1, 5)))
          yield* a.remove(group, first)
          const positions = [start.position!, ...first.ids.map(String)]
          for (const [seen, position] of positions.entries()) {
            for (const layer of [a, b]) {
              const member = new Recorder()
              const joined = yield* layer.add(group, member, position)
              assert.strictEqual(joined.state, "resumed")
              assert.deepStrictEqual(joined.missed.map(({ data }) => JSON.parse(data)), range(seen + 1, 5))
              assert.deepStrictEqual(joined.missed.map(({ id }) => id), positions.slice(seen + 1))
              assert.deepStrictEqual(
                joined.missed.map(({ status, type }) => [type, status]),
                range(seen + 1, 5).map((n) => [`said${n}`, 200 + n])
              )
              assert.strictEqual(joined.position, positions[5])
              yield* layer.remove(group, member)
            }
          }
        }), limit)

      test(
        "can be resumed by who joined before there was any event, and nobody was there meanwhile",
        () =>
          Effect.gen(function*() {
            const [a, b] = yield* two
            const group = address("room", { history })
            const member = new Recorder()
            const { position } = yield* a.add(group, member, undefined)
            yield* a.remove(group, member)
            const again = yield* b.add(group, member, position)
            assert.deepStrictEqual([again.state, again.missed, again.position], ["resumed", [], position])
            yield* b.remove(group, member)
            yield* b.send(group, message(1))
            yield* b.send(group, message(2))
            const late = yield* a.add(group, member, position)
            assert.deepStrictEqual([late.state, late.missed.map(({ data }) => data)], ["resumed", ["1", "2"]])
            assert.deepStrictEqual(member.events, [])
            yield* b.send(group, message(3))
            yield* soon(() => assert.deepStrictEqual(member.events, [3]))
          }),
        limit
      )

      test("give all that is kept to whoever has seen nothing of it", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room", { history: { count: 3, age: history.age } })
          const nothing = yield* b.add(group, new Recorder(), "")
          assert.deepStrictEqual([nothing.state, nothing.missed], ["fresh", []])
          for (let i = 1; i <= 5; i++) yield* a.send(group, message(i))
          const late = new Recorder()
          const joined = yield* b.add(group, late, "")
          assert.deepStrictEqual([joined.state, joined.missed.map(({ data }) => JSON.parse(data))], ["fresh", [
            3,
            4,
            5
          ]])
          assert.strictEqual(joined.position, joined.missed.at(-1)!.id)
          yield* a.send(group, message(6))
          yield* soon(() => assert.deepStrictEqual(late.events, [6]))
        }))

      test("let by what is sent past them, and give it no position", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room", { history })
          const [here, there] = [new Recorder(), new Recorder()]
          yield* a.add(group, here, undefined)
          const { position } = yield* b.add(group, there, undefined)
          yield* a.send({ ...group, history: undefined }, message(1))
          yield* soon(() => {
            assert.deepStrictEqual(here.events, [1])
            assert.deepStrictEqual(there.events, [1])
          })
          assert.deepStrictEqual([here.ids, there.ids], [[undefined], [undefined]])
          const later = yield* b.add(group, new Recorder(), position)
          assert.deepStrictEqual([later.state, later.missed], ["resumed", []])
        }))

      test("say that there is a gap where a position is none of theirs", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const [group, other] = [address("room", { history }), address("room", { history })]
          const member = new Recorder()
          yield* a.add(group, member, undefined)
          yield* a.send(group, message(1))
          yield* a.send(group, message(2))
          yield* soon(() => assert.deepStrictEqual(member.events, [1, 2]))
          // Not within the same tick of a clock.
          yield* passes(2)
          const foreign = yield* b.add(other, new Recorder(), undefined)
          const last = String(member.ids[1])
          const epoch = last.slice(0, last.lastIndexOf("-"))
          const positions = [
            foreign.position!,
            "-",
            "x",
            "1-1",
            "0-0",
            "__proto__",
            "-1",
            epoch,
            `${epoch}-`,
            `${epoch}-3`,
            `${epoch}-9007199254740993`,
            `${epoch}-1e0`,
            `${epoch}-0x1`,
            `${epoch}- 1`,
            `${epoch}-1 `,
            `${epoch}-+1`,
            `${epoch}--0`,
            `${epoch}--1`,
            `${epoch}-1.0`,
            `${epoch}-1.5`,
            `${epoch}-NaN`,
            `${epoch}-Infinity`,
            `${epoch}-1-1`,
            `${epoch}0-1`,
            `${last}\n`,
            "9".repeat(1000)
          ]
          for (const layer of [a, b]) {
            for (const position of positions) {
              const late = new Recorder()
              const joined = yield* layer.add(group, late, position)
              assert.deepStrictEqual([position, joined.state, joined.missed, joined.position], [
                position,
                "gap",
                [],
                last
              ])
              yield* layer.remove(group, late)
              assert.deepStrictEqual(late.events, [])
            }
          }
        }), limit)

      test("give all that is kept to who has seen nothing", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room", { history: { count: 3, age: 3_600_000 } })
          const nothing = yield* b.add(group, new Recorder(), "")
          assert.deepStrictEqual([nothing.state, nothing.missed], ["fresh", []])
          for (const n of range(1, 2)) yield* a.send(group, message(n))
          const some = yield* b.add(group, new Recorder(), "")
          assert.deepStrictEqual([some.state, some.missed.map(({ data }) => Number(data))], ["fresh", [1, 2]])
          assert.strictEqual(some.position, some.missed[1]!.id)
          for (const n of range(3, 10)) yield* a.send(group, message(n))
          const member = new Recorder()
          const most = yield* b.add(group, member, "")
          assert.deepStrictEqual([most.state, most.missed.map(({ data }) => Number(data))], ["fresh", [8, 9, 10]])
          assert.strictEqual(most.position, most.missed[2]!.id)
          yield* a.send(group, message(11))
          yield* soon(() => assert.deepStrictEqual(member.events, [11]))
        }), limit)

      test(
        "are passed by events that do not become part of them, in the order of the sender",
        () =>
          Effect.gen(function*() {
            const [a, b] = yield* two
            const group = address("room", { history })
            const past = { ...group, history: undefined }
            const [here, far] = [new Recorder(), new Recorder()]
            const { position } = yield* a.add(group, here, undefined)
            yield* b.add(group, far, undefined)
            for (const n of range(1, 100)) yield* a.send(n % 3 === 0 ? group : past, message(n))
            for (const member of [here, far]) {
              yield* soon(() => assert.deepStrictEqual(member.events, range(1, 100)))
              assert.deepStrictEqual(
                member.ids.map((id) => id !== undefined),
                range(1, 100).map((n) => n % 3 === 0)
              )
            }
            const joined = yield* b.add(group, new Recorder(), position)
            assert.deepStrictEqual(
              joined.missed.map(({ data }) => Number(data)),
              range(1, 100).filter((n) => n % 3 === 0)
            )
            // Who joins meanwhile gets each of them once, in order.
            const late: Array<Recorder> = []
            yield* Effect.all([
              Effect.forEach(range(101, 300), (n) => a.send(n % 3 === 0 ? group : past, message(n)), { discard: true }),
              Effect.forEach(range(1, 40), (n) => {
                const member = new Recorder()
                late.push(member)
                return (n % 2 === 0 ? a : b).add(group, member, undefined)
              }, { discard: true })
            ], { concurrency: "unbounded" })
            yield* a.send(group, message(301))
            for (const member of late) {
              yield* soon(() => assert.strictEqual(member.events.at(-1), 301))
              const kept = member.events.filter((n) => Number(n) % 3 === 0)
              const others = member.events.filter((n) => Number(n) % 3 !== 0)
              const all = range(101, 301)
              assert.deepStrictEqual(kept, last(all.filter((n) => n % 3 === 0), kept.length))
              assert.deepStrictEqual(others, last(all.filter((n) => n % 3 !== 0), others.length))
              assert.deepStrictEqual(member.events, member.events.map(Number).sort((a, b) => a - b))
            }
          }),
        limit
      )

      test("keep so many events as they say, and tell where that is not enough", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const group = address("room", { history: { count: 3, age: 3_600_000 } })
          const member = new Recorder()
          const { position } = yield* a.add(group, member, undefined)
          for (const n of range(1, 10)) yield* a.send(group, message(n))
          yield* soon(() => assert.deepStrictEqual(member.events, range(1, 10)))
          const positions = [position!, ...member.ids.map(String)]
          for (const [seen, after] of positions.entries()) {
            const joined = yield* b.add(group, new Recorder(), after)
            assert.deepStrictEqual(
              [joined.state, joined.missed.map(({ data }) => Number(data))],
              seen < 7 ? ["gap", []] : ["resumed", range(seen + 1, 10)]
            )
          }
        }), limit)

      test("keep events for as long as they say, and tell where that is not enough", () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const age = isRemote ? 3000 : 60_000
          const group = address("room", { history: { count: 100, age } })
          const member = new Recorder()
          const { position } = yield* a.add(group, member, undefined)
          yield* a.send(group, message(1))
          // A history that nobody uses for so long may be forgotten, and then nothing of it can be told: somebody uses it.
          yield* passes(age * 0.6)
          yield* b.add(group, new Recorder(), undefined)
          yield* passes(age * 0.6)
          yield* a.send(group, message(2))
          yield* soon(() => assert.deepStrictEqual(member.events, [1, 2]))
          const joined = yield* b.add(group, new Recorder(), position)
          assert.deepStrictEqual([joined.state, joined.missed], ["gap", []])
          const resumed = yield* b.add(group, new Recorder(), member.ids[0])
          assert.deepStrictEqual([resumed.state, resumed.missed.map(({ data }) => data)], ["resumed", ["2"]])
        }), limit)

      test("have who joins while events are sent miss none, and get none twice", () =>
        Effect.gen(function*() {
          const layers = yield* nodes(3)
          const group = address("room", { history })
          const origin = yield* layers[0]!.add(group, new Recorder(), undefined)
          const joiners: Array<{ readonly joined: ChannelLayer.Joined; readonly member: Recorder }> = []
          let sent = 0
          const sending = yield* Effect.forkChild(
            Effect.forEach(range(1, 400), (n) =>
              Effect.andThen(layers[0]!.send(group, message(n)), Effect.sync(() => sent = n)), { discard: true }),
            { startImmediately: true }
          )
          yield* Effect.forEach(
            range(1, 120),
            (n) =>
              Effect.gen(function*() {
                const member = new Recorder()
                const joined = yield* layers[n % layers.length]!.add(
                  group,
                  member,
                  n % 2 === 0 ? origin.position : undefined
                )
                joiners.push({ joined, member })
                yield* Effect.yieldNow
              }),
            { concurrency: 4, discard: true }
          )
          yield* Fiber.join(sending)
          assert.strictEqual(sent, 400)
          for (const { joined, member } of joiners) {
            yield* soon(() => {
              const all = [
                ...joined.missed.map(({ data }) =>
                  Number(data)
                ),
                ...member.events
              ]
              assert.notStrictEqual(joined.state, "gap")
              const from = joined.state === "resumed" ? 1 : 401 - member.events.length
              assert.deepStrictEqual(all, range(from, 400))
            })
          }
        }), limit)
    })

    describe("any interleaving", () => {
      for (const seed of [1, 2, 3]) {
        test(
          `gives each member what is sent while it is in a group, in the order of each sender (${seed})`,
          () =>
            Effect.gen(function*() {
              const layers = yield* nodes(3)
              const groups = range(1, 4).map(() => address("room"))
              const random = seeded(seed)
              interface Case {
                readonly member: Recorder
                readonly layer: Layer
                readonly group: ChannelLayer.Address
                /** What was sent while it was in, by sender. */
                readonly sent: ReadonlyArray<Array<number>>
              }
              const present: Array<Case> = []
              const gone: Array<Case> = []
              let number = 0
              for (let step = 0; step < 400; step++) {
                const what = random.next()
                const layer = random.one(layers)
                const group = random.one(groups)
                if (what < 0.15 || present.length === 0) {
                  const member = new Recorder()
                  yield* layer.add(group, member, undefined)
                  present.push({ member, layer, group, sent: layers.map(() => []) })
                } else if (what < 0.25) {
                  const [left] = present.splice(random.below(present.length), 1)
                  yield* left!.layer.remove(left!.group, left!.member)
                  gone.push(left!)
                } else {
                  const data = number++
                  const except = random.next() < 0.2 ? random.one(present).member.id : undefined
                  for (const { group: its, member, sent } of present) {
                    if (its === group && member.id !== except) sent[layers.indexOf(layer)]!.push(data)
                  }
                  yield* layer.send(group, message(data, { except }))
                }
              }
              for (const group of groups) for (const layer of layers) yield* layer.send(group, message("end"))
              const ends = layers.length
              for (const { member, sent } of present) {
                yield* soon(() => assert.strictEqual(member.events.filter((data) => data === "end").length, ends))
                for (const own of sent) {
                  assert.deepStrictEqual(member.events.filter((data) => own.includes(Number(data))), own)
                }
                assert.strictEqual(member.events.length - ends, sent.flat().length)
              }
              // What was on its way when a member left, it was not given any more.
              for (const { member, sent } of gone) {
                for (const own of sent) {
                  assert.isTrue(isPrefix(member.events.filter((data) => own.includes(Number(data))), own))
                }
                assert.strictEqual(new Set(member.events).size, member.events.length)
                const all = new Set<unknown>(sent.flat())
                assert.isTrue(member.events.every((data) => all.has(data)))
                if (!isRemote) assert.strictEqual(member.events.length, all.size)
              }
            }),
          limit
        )

        test(
          `gives who comes back again and again the whole history, in one order, each event once (${seed})`,
          () =>
            Effect.gen(function*() {
              const layers = yield* nodes(3)
              const group = address("room", { history })
              const total = 300
              const witness = new Recorder()
              const { position } = yield* layers[0]!.add(group, witness, undefined)
              let isSending = true
              const client = (number: number) =>
                Effect.gen(function*() {
                  const random = seeded(seed * 1000 + number)
                  const seen: Array<string> = []
                  let after = position
                  let rounds = 0
                  for (;;) {
                    const isLast = !isSending
                    const layer = random.one(layers)
                    const member = new Recorder()
                    const joined = yield* layer.add(group, member, after)
                    assert.strictEqual(joined.state, "resumed")
                    for (let i = random.below(20); i > 0; i--) {
                      yield* isRemote ? Effect.promise(() => new Promise(setImmediate)) : Effect.yieldNow
                    }
                    yield* layer.remove(group, member)
                    const got = [...joined.missed, ...member.received]
                    seen.push(...got.map(({ data }) => data))
                    after = got.at(-1)?.id ?? joined.position
                    rounds++
                    if (isLast) return { seen, rounds }
                  }
                })
              const sending = Effect.forEach(
                range(1, total),
                (n) => layers[n % layers.length]!.send(group, message(n)),
                { concurrency: 3, discard: true }
              ).pipe(Effect.ensuring(Effect.sync(() => {
                isSending = false
              })))
              const [results] = yield* Effect.all([
                Effect.forEach(range(1, 8), client, { concurrency: "unbounded" }),
                sending
              ], { concurrency: "unbounded" })
              yield* soon(() => assert.strictEqual(witness.events.length, total))
              for (const { seen } of results) assert.deepStrictEqual(seen.map(Number), witness.events)
            }),
          limit
        )
      }
    })
  })
}
