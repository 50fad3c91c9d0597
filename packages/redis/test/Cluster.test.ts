/**
 * Nodes in processes of their own, which are killed.
 */
import type { ChannelLayer } from "@effect-channels/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { address, eventually, message, Recorder } from "../../core/test/support/channel-layers.ts"
import { type Account, type Given, type Sent, type Span, violations, within } from "./support/journal.ts"
import { makeNode, quiet, until, untilIs } from "./support/nodes.ts"
import { makeProcess, type Process } from "./support/processes.ts"
import { durableServer, redisServer, skipped } from "./support/server.ts"

const times = { heartbeat: 200, nodeTimeout: 1200, commandTimeout: 2000 }
/** Within which time members of a dead node are told to have left; then what a busy machine may take besides. */
const bound = times.nodeTimeout + times.heartbeat
const slack = 2000
const limit = { timeout: 120_000 }
const history = { count: 20_000, age: 3_600_000 }

const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)
const ids = (present: ReadonlyArray<ChannelLayer.Present>) => present.map(({ id }) => id).sort()

interface Received {
  readonly type: string
  readonly data: unknown
  readonly id: string | undefined
}

/** The events that a member was given: who sent them, and their numbers. */
const received = (process: Process, group: ChannelLayer.Address, id: string) =>
  Effect.map(
    process.ask({ _tag: "Received", group, id }),
    (all) =>
      (all as ReadonlyArray<Received>)
        .filter(({ type }) => type === "said")
        .map(({ data, id }) => ({ data: data as readonly [pid: number, number: number], id }))
  )

type Events = Effect.Success<ReturnType<typeof received>>

const numbersOf = (events: Events, pid: number) =>
  events.filter(({ data }) => data[0] === pid).map(({ data }) => data[1])

describe.skipIf(skipped !== undefined)("nodes in processes of their own", { concurrent: true }, () => {
  it.live(
    "forget a node that is killed: its members have left, for everybody, within a bound",
    () =>
      quiet(Effect.gen(function*() {
        const server = yield* redisServer
        const options = { url: server.url, ...times }
        const here = yield* makeNode(options)
        const [dies, lives] = yield* Effect.all([makeProcess(options), makeProcess(options)], { concurrency: 2 })
        const group = address("watched", { presence: true })
        const member = new Recorder("here")
        yield* here.layer.add(group, member, undefined)
        for (const id of ["one", "two", "three"]) yield* dies.ask({ _tag: "Add", group, id })
        yield* lives.ask({ _tag: "Add", group, id: "four" })
        yield* eventually(() => assert.deepStrictEqual(member.changes, ["+one", "+two", "+three", "+four"]))
        assert.strictEqual(yield* here.layer.count(group), 5)
        // It is quiet as long as it lives.
        yield* Effect.sleep(2 * times.nodeTimeout)
        assert.strictEqual(member.changes.length, 4)

        yield* dies.signal("SIGKILL")
        const since = performance.now()
        yield* eventually(() => assert.sameMembers(member.changes.slice(4), ["-one", "-two", "-three"]))
        const took = performance.now() - since
        assert.isBelow(took, bound + slack)
        // All at once.
        assert.strictEqual(member.told.length, 5)
        yield* untilIs(here.layer.count(group), 2)
        assert.deepStrictEqual(ids(yield* here.layer.present(group)), ["four", "here"])
        assert.strictEqual(yield* lives.ask({ _tag: "Count", group }), 2)
        yield* until(Effect.map(
          lives.ask({ _tag: "Received", group, id: "four" }),
          (all) =>
            assert.sameMembers(
              (all as ReadonlyArray<Received>).flatMap(({ data }) =>
                (data as { readonly left: ReadonlyArray<{ readonly id: string }> }).left.map(({ id }) => id)
              ),
              ["one", "two", "three"]
            )
        ))
        // Who comes now does not see them.
        const late = new Recorder("late")
        const { present } = yield* here.layer.add(group, late, undefined)
        assert.deepStrictEqual(ids(present), ["four", "here", "late"])
        yield* Effect.sleep(2 * times.nodeTimeout)
        assert.deepStrictEqual(late.changes, [])
        assert.strictEqual(member.told.length, 6)
      })),
    limit
  )

  it.live("take back a node that was asleep", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const options = { url: server.url, ...times }
      const here = yield* makeNode(options)
      const sleeps = yield* makeProcess(options)
      const group = address("watched", { presence: true })
      const [plain, kept] = [address("plain"), address("kept", { history })]
      const member = new Recorder("here")
      yield* here.layer.add(group, member, undefined)
      yield* sleeps.ask({ _tag: "Add", group, id: "one" })
      yield* eventually(() => assert.deepStrictEqual(member.changes, ["+one"]))
      for (const its of [plain, kept]) yield* sleeps.ask({ _tag: "Add", group: its, id: "one" })
      yield* sleeps.signal("SIGSTOP")
      yield* eventually(() => assert.deepStrictEqual(member.changes, ["+one", "-one"]))
      yield* untilIs(here.layer.count(group), 1)
      for (const n of range(1, 500)) for (const its of [plain, kept]) yield* here.layer.send(its, message([0, n]))
      yield* sleeps.signal("SIGCONT")
      for (const n of range(501, 600)) for (const its of [plain, kept]) yield* here.layer.send(its, message([0, n]))
      yield* eventually(() => assert.deepStrictEqual(member.changes, ["+one", "-one", "+one"]))
      yield* untilIs(here.layer.count(group), 2)
      yield* Effect.sleep(2 * times.nodeTimeout)
      assert.deepStrictEqual(member.changes, ["+one", "-one", "+one"])
      // Redis has kept for it what was published meanwhile.
      for (const its of [plain, kept]) {
        assert.deepStrictEqual(numbersOf(yield* received(sleeps, its, "one"), 0), range(1, 600))
      }
    })), limit)

  it.live("lose nothing, and send nothing twice", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const options = { url: server.url, ...times }
      const processes = yield* Effect.all(range(1, 3).map(() => makeProcess(options)), { concurrency: 3 })
      const [plain, kept] = [address("plain"), address("kept", { history })]
      const names = ["a", "b"]
      for (const process of processes) {
        for (const group of [plain, kept]) {
          for (const name of names) yield* process.ask({ _tag: "Add", group, id: `${name}${process.pid}` })
        }
      }
      const count = 1500
      yield* Effect.forEach(
        processes,
        (process) => process.ask({ _tag: "Send", groups: [plain, kept], from: 1, to: count }),
        { concurrency: "unbounded", discard: true }
      )
      let order: Events | undefined
      for (const process of processes) {
        for (const name of names) {
          const id = `${name}${process.pid}`
          const events = yield* until(Effect.tap(received(process, plain, id), (events) =>
            events.length < 3 * count ? Effect.fail("not all") : Effect.void))
          assert.strictEqual(events.length, 3 * count)
          for (const { pid } of processes) {
            assert.deepStrictEqual(numbersOf(events, pid), range(1, count))
          }
          const placed = yield* until(Effect.tap(received(process, kept, id), (events) =>
            events.length < 3 * count ? Effect.fail("not all") : Effect.void))
          for (const { pid } of processes) {
            assert.deepStrictEqual(numbersOf(placed, pid), range(1, count))
          }
          // One order for everybody.
          order ??= placed
          assert.deepStrictEqual(placed, order)
        }
      }
      assert.strictEqual(
        new Set(
          order?.map(({ id }) =>
            id
          )
        ).size,
        3 * count
      )
    })), limit)

  it.live("go on where one of them is killed while it sends", () =>
    quiet(Effect.gen(function*() {
      const server = yield* redisServer
      const options = { url: server.url, ...times }
      const processes = yield* Effect.all(range(1, 3).map(() => makeProcess(options)), { concurrency: 3 })
      const [dies, ...lives] = processes
      const [plain, kept] = [address("plain"), address("kept", { history })]
      for (const process of processes) {
        for (const group of [plain, kept]) yield* process.ask({ _tag: "Add", group, id: `m${process.pid}` })
      }
      const count = 1000
      const sending = yield* Effect.forkChild(
        Effect.forEach(
          lives,
          (process) => process.ask({ _tag: "Send", groups: [plain, kept], from: 1, to: count }),
          { concurrency: "unbounded", discard: true }
        )
      )
      const killed = yield* Effect.forkChild(
        Effect.ignore(dies!.ask({ _tag: "Send", groups: [plain, kept], from: 1, to: 1_000_000 }))
      )
      yield* until(Effect.tap(received(lives[0]!, kept, `m${lives[0]!.pid}`), (events) =>
        numbersOf(events, dies!.pid).length < 100 ? Effect.fail("not yet") : Effect.void))
      yield* dies!.signal("SIGKILL")
      yield* Fiber.join(sending)
      yield* Fiber.join(killed)
      yield* untilIs(Effect.map(lives[0]!.ask({ _tag: "Count", group: plain }), Number), 2)
      const all: Array<Events> = []
      for (const group of [plain, kept]) {
        for (const process of lives) {
          const events = yield* until(Effect.tap(received(process, group, `m${process.pid}`), (events) =>
            lives.every(({ pid }) =>
                numbersOf(events, pid).length >= count
              )
              ? Effect.void
              : Effect.fail("not all")))
          for (const { pid } of lives) {
            assert.deepStrictEqual(numbersOf(events, pid), range(1, count))
          }
          // Of the one that was killed, all up to some point.
          const last = numbersOf(events, dies!.pid)
          assert.deepStrictEqual(last, range(1, last.length))
          assert.isAtLeast(last.length, 100)
          all.push(events)
        }
      }
      assert.deepStrictEqual(all[3], all[2])
      assert.deepStrictEqual(numbersOf(all[0]!, dies!.pid), numbersOf(all[1]!, dies!.pid))
    })), limit)

  it.live(
    "keep what is promised where one of them is killed, and then Redis, while all of them send",
    () =>
      quiet(Effect.gen(function*() {
        const server = yield* durableServer
        const options = { url: server.url, ...times }
        const processes = yield* Effect.all(range(1, 4).map(() => makeProcess(options)), { concurrency: 4 })
        const [dies, ...lives] = processes
        const [plain, kept] = [address("plain"), address("kept", { history })]
        for (const process of processes) {
          for (const group of [plain, kept]) yield* process.ask({ _tag: "Add", group, id: `m${process.pid}` })
        }
        yield* Effect.forEach(processes, (process) => process.ask({ _tag: "Stream", groups: [plain, kept] }))
        const reached = Effect.forEach(lives, (process) => Effect.map(process.ask({ _tag: "Reached" }), Number))
        const given = (process: Process, group: ChannelLayer.Address) =>
          Effect.map(
            received(process, group, `m${process.pid}`),
            (events): ReadonlyArray<Given> => events.map(({ data }) => data)
          )
        /** Every member has what every sender had sent by then. */
        const arrived = (numbers: ReadonlyArray<number>) =>
          Effect.forEach(lives, (process) =>
            Effect.forEach([plain, kept], (group) =>
              until(Effect.flatMap(given(process, group), (events) =>
                lives.every(({ pid }, i) =>
                    events.some(([from, n]) =>
                      from === pid && n >= numbers[i]!
                    )
                  )
                  ? Effect.void
                  : Effect.fail("not yet")))))
        // How far each sender had come: before Redis was killed, and after everybody was back.
        const spans: Array<ReadonlyArray<Span>> = lives.map(() => [])
        let from = lives.map(() =>
          1
        )
        yield* Effect.sleep(300)
        yield* dies!.signal("SIGKILL")
        // Long enough that it is taken for dead.
        yield* Effect.sleep(bound)
        for (const _ of range(1, 2)) {
          const before = yield* reached
          yield* arrived(before)
          for (const [i, number] of before.entries()) {
            spans[i] = [...spans[i]!, [from[i]!, number]]
          }
          yield* Effect.promise(() => server.kill())
          yield* Effect.sleep(300)
          yield* Effect.promise(() => server.start())
          for (const process of lives) {
            yield* until(process.ask({ _tag: "Count", group: plain }))
            yield* untilIs(process.ask({ _tag: "Count", group: plain }), lives.length)
          }
          // What has been begun before may have failed; what comes after the next one has not.
          from = (yield* reached).map((number) => number + 2)
          yield* Effect.sleep(300)
        }
        const sent = yield* Effect.forEach(lives, (process) =>
          Effect.map(process.ask({ _tag: "Halt" }), (outcomes) => ({
            pid: process.pid,
            outcomes: outcomes as ReadonlyArray<ReadonlyArray<boolean>>
          })))
        for (const [i, { outcomes }] of sent.entries()) spans[i] = [...spans[i]!, [from[i]!, outcomes[0]!.length]]
        yield* arrived(sent.map(({ outcomes }) => outcomes[0]!.length))
        const byDead: Sent = { sender: dies!.pid, outcomes: Array.from({ length: 100_000 }, () => false) }
        const accounts = (group: ChannelLayer.Address, must: (at: Process) => Account["must"]) =>
          Effect.forEach(lives, (process) =>
            Effect.map(given(process, group), (events): Account => ({
              member: `m${process.pid}`,
              given: events,
              must: must(process)
            })))
        const spansOf = (sender: number) => spans[lives.findIndex(({ pid }) => pid === sender)] ?? []

        // Without a history: everything that was sent while all were there, and everything of one's own server.
        const plainSent: ReadonlyArray<Sent> = [
          byDead,
          ...sent.map(({ outcomes, pid }) => ({ sender: pid, outcomes: outcomes[0]! }))
        ]
        const plains = yield* accounts(
          plain,
          ({ pid }) => (sender, number) => sender !== dies!.pid && (sender === pid || within(spansOf(sender), number))
        )
        assert.deepStrictEqual(violations(plainSent, plains, false).slice(0, 5), [])
        // While all were there, nothing has failed, and in the outage something has.
        for (const { outcomes, pid } of sent) {
          for (const its of outcomes) {
            assert.isTrue(its.some((succeeded) => !succeeded))
            its.forEach((succeeded, i) => assert.isTrue(succeeded || !within(spansOf(pid), i + 1), `${pid}/${i + 1}`))
          }
        }
        // With one: everything that succeeded, in one order for everybody.
        const keptSent: ReadonlyArray<Sent> = [
          byDead,
          ...sent.map(({ outcomes, pid }) => ({ sender: pid, outcomes: outcomes[1]! }))
        ]
        const kepts = yield* accounts(kept, () => (_, __, succeeded) => succeeded)
        assert.deepStrictEqual(violations(keptSent, kepts, true).slice(0, 5), [])

        // It would have been noticed.
        for (const [its, all, oneOrder] of [[plainSent, plains, false], [keptSent, kepts, true]] as const) {
          const [first, second, ...others] = all
          const own = second!.given
          const live = lives[0]!.pid
          const at = own.findIndex(([sender]) => sender === live)
          const next = own.findIndex(([sender], i) => i > at && sender === live)
          const faults: ReadonlyArray<ReadonlyArray<Given>> = [
            own.toSpliced(at, 1),
            own.toSpliced(at, 0, own[at]!),
            [...own, own[at]!],
            own.with(at, own[next]!).with(next, own[at]!),
            [...own, [live, 1_000_000]],
            [...own, [0, 1]]
          ]
          for (const given of faults) {
            assert.isAbove(violations(its, [first!, { ...second!, given }, ...others], oneOrder).length, 0)
          }
        }
      })),
    limit
  )
})
