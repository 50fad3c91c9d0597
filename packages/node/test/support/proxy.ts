/**
 * What lies between a WebSocket client and its server, and goes wrong when it is told to, at exact points of what is said.
 *
 * A plan says of every connection what happens to its request, to the answer, and to each frame of either direction. What
 * a plan does not speak of passes unchanged. Bytes are never lost out of the middle, and never change places within a
 * direction: that does not happen on TCP.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import * as Frames from "./frames.ts"

/** Where the bytes of one half of a connection go. */
export type Direction = "toServer" | "toClient"

/**
 * Where something may happen to a connection: when it is made, when the head of its request is complete, when the head of
 * the answer is complete, and at each frame.
 */
export type Point = "accept" | "request" | "response" | Direction

/**
 * How it ends, or rests: `drop` ends the connection to both peers with a FIN, `reset` with a RST; `stall` lets nothing more
 * through in this direction, `freeze` in neither, and no peer sees anything of it, not even that the other has gone.
 *
 * A reset makes a peer lose what it has not taken off the line. One that follows on something in a direction waits until a
 * peer that reads, as one in this process does, has got all of that.
 */
export type Ending = "drop" | "reset" | "stall" | "freeze"

/** What happens to the head of a request or of an answer, or to a frame, which are called a piece here. */
export type Action =
  | "pass"
  /** An ending before the piece, of which nothing gets through; what was stalled gets through when it flows again. */
  | Ending
  /** Half of the bytes get through, then a reset. */
  | "tear"
  /** So many bytes get through, half of them by default, then an ending. */
  | { readonly tear: Ending; readonly bytes?: number | undefined }
  /** The whole piece gets through, then an ending, without waiting for another piece. */
  | { readonly passThen: Ending }
  /** This direction is held up until an effect completes; what happens next is to pass unless it says otherwise. */
  | { readonly hold: Effect.Effect<unknown>; readonly next?: Action | undefined }
  /** From this piece on, so many bytes get through with a turn of the event loop; 0: as many as {@link Line.allow} says. */
  | { readonly slow: number }
  /** The client gets these bytes instead, then both peers get a FIN. */
  | { readonly answer: string | Uint8Array }

/** A frame on its way. */
export interface Frame {
  readonly direction: Direction
  /** How many frames came before it in this direction of this connection. */
  readonly index: number
  /** The same, but for pings and pongs, which come when they like. */
  readonly ordinal: number
  readonly opcode: number
  readonly fin: boolean
  readonly rsv: number
  /** Unmasked. */
  readonly payload: Buffer
  /** What a text frame says, or a fragment of one; of a close frame its code and reason. */
  readonly text: string
  /** How many bytes it has on the line, its head included. */
  readonly size: number
}

/** What happens to one connection. What is left out passes. */
export interface Plan {
  /** As soon as it is made, before anything is read. */
  readonly accept?: Action | undefined
  /** The server is connected to when the request passes, not before. */
  readonly request?: Action | ((head: string) => Action) | undefined
  readonly response?: Action | ((head: string) => Action) | undefined
  readonly toServer?: ((frame: Frame) => Action) | undefined
  readonly toClient?: ((frame: Frame) => Action) | undefined
}

/** Makes the plan of a new connection. Is asked once for each, in the order in which they are made. */
export interface Planner {
  (connection: Connection): Plan
  /** Is printed with the log. */
  readonly label?: string | undefined
}

/** What happened, in the order in which it did. */
export interface Entry {
  /** The index of the connection. */
  readonly connection: number
  readonly point: Point
  /** Of a frame, its index; else 0. */
  readonly index: number
  /**
   * `pass`: got through whole. `fault`: an action other than `pass` begins. `end`, `reset`: a peer ended or reset the
   * connection, and the other now sees it. `unreachable`: nobody listens on the target. `closed`: nothing is left of it.
   */
  readonly kind: "pass" | "fault" | "end" | "reset" | "unreachable" | "closed"
  /** What an action does. */
  readonly detail: string
  /** The first 200 characters of what the piece says. */
  readonly text: string
}

/** One direction of a connection. */
export interface Line {
  /** How many frames got through. */
  readonly frames: number
  /** How many bytes got through. */
  readonly bytes: number
  /** Lets nothing more through, be it the end of the connection. */
  readonly stall: Effect.Effect<void>
  /** Lets everything through again, whatever held it up. */
  readonly flow: Effect.Effect<void>
  /** Lets so many bytes through with every turn of the event loop; with 0, as many as `allow` says. */
  readonly slow: (bytesPerTurn: number) => Effect.Effect<void>
  /** Lets so many more bytes through of what is slowed down to 0. */
  readonly allow: (bytes: number) => Effect.Effect<void>
}

/** A connection of a client, and the one to the server on its behalf. */
export interface Connection {
  /** How many connections were made before. */
  readonly index: number
  readonly toServer: Line
  readonly toClient: Line
  /** Ends it now; what was not passed on is lost. */
  readonly end: (how: "drop" | "reset") => Effect.Effect<void>
  /** Lets nothing more through in either direction. */
  readonly freeze: Effect.Effect<void>
  /** Lets everything through again, in both directions. */
  readonly flow: Effect.Effect<void>
  /** Completes when nothing is left of it on either side. */
  readonly closed: Effect.Effect<void>
  /** {@link Proxy.further} of its proxy, for a plan that has only the connection. */
  readonly further: Proxy["further"]
}

/** A proxy that listens on a port of 127.0.0.1. */
export interface Proxy {
  readonly port: number
  /** The port of the server, for connections whose request passes from now on. */
  target: number
  /** For connections that are made from now on. Default: everything passes. */
  plan: Planner
  /** All that there were, in the order in which they were made. */
  readonly connections: ReadonlyArray<Connection>
  /** The connection with an index, as soon as it is made. */
  readonly connection: (index: number) => Effect.Effect<Connection>
  /** Has new connections refused, as by a machine on which nobody listens. Those that there are stay. */
  readonly down: Effect.Effect<void>
  /** Listens again, on the same port. */
  readonly up: Effect.Effect<void>
  /** Ends all connections that there are. */
  readonly end: (how: "drop" | "reset") => Effect.Effect<void>
  readonly log: ReadonlyArray<Entry>
  /** The first entry that a condition holds for, be it there already or still to come. */
  readonly until: (condition: (entry: Entry) => boolean) => Effect.Effect<Entry>
  /** Completes after so many more entries. */
  readonly further: (count: number) => Effect.Effect<void>
  /** What was done, without when: by connection, point and index. Equal plans over equal conversations have equal ones. */
  readonly faults: () => ReadonlyArray<string>
  /** The log and the label of the plan, for the message of a failed test. */
  readonly print: () => string
}

/** How likely each fault is at a point, 0 to 1; their sum is at most 1, the rest passes. */
export interface Odds {
  readonly drop?: number | undefined
  readonly reset?: number | undefined
  /** After some bytes of the piece, which may be any number of them, a FIN or a RST. */
  readonly tear?: number | undefined
  /** Holds up for 1 to 4 further entries of the log, or until the patience is over. */
  readonly hold?: number | undefined
  /** An eighth to a half of the piece with each turn of the event loop, then the direction flows at this rate. */
  readonly slow?: number | undefined
  readonly stall?: number | undefined
  readonly freeze?: number | undefined
  /** Answers 503 and `Retry-After: 0`. For requests. */
  readonly refuse?: number | undefined
  /** Answers what is no HTTP. For requests and responses. */
  readonly garbage?: number | undefined
}

/** What a seeded plan does. */
export interface Chaos extends Partial<Readonly<Record<Point, Odds | undefined>>> {
  /** How many connections it disturbs; those after them pass. Default: all. */
  readonly connections?: number | undefined
  /** How long something is held up at most, in milliseconds of the real clock. Default 20. */
  readonly patience?: number | undefined
}

/** The bytes with which a server refuses a handshake. */
export const refusal = (
  status = 503,
  headers: Readonly<Record<string, string>> = { "Retry-After": "1" },
  body = ""
): string => {
  const all = { ...headers, "Content-Length": String(Buffer.byteLength(body)), Connection: "close" }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} Refused\r\n${lines.join("")}\r\n${body}`
}

/** An answer that is no HTTP. */
export const garbage = "\u0000\u0016\u0003 this is no answer to a handshake\r\n\r\n"

/**
 * A plan of random faults. What it decides of a piece follows from the seed, the index of the connection, and the point
 * and ordinal of the piece alone, so that the same conversation meets the same faults in whatever order its sides get to
 * speak. Pings and pongs pass.
 *
 * **Example**
 *
 * ```ts
 * proxy.plan = Proxy.seeded(7, { request: { refuse: 0.2, reset: 0.1 }, toClient: { tear: 0.05, hold: 0.1 }, connections: 20 })
 * ```
 */
export const seeded = (seed: number, chaos: Chaos): Planner => {
  const decide = (connection: Connection, point: Point, ordinal: number, size: number): Action => {
    const key = `${seed}/${connection.index}/${point}/${ordinal}`
    const dice = Effect.runSync(Random.withSeed(Random.Random, key))
    const between = (least: number, most: number) => least + Math.floor(dice.nextDoubleUnsafe() * (most - least + 1))
    let left = dice.nextDoubleUnsafe()
    const odds = Object.entries(chaos[point] ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)) as ReadonlyArray<
      [keyof Odds, number | undefined]
    >
    const fault = odds.find(([, odd]) => (left -= odd ?? 0) < 0)?.[0]
    switch (fault) {
      case undefined:
        return "pass"
      case "tear":
        return { tear: between(0, 1) === 0 ? "drop" : "reset", bytes: between(1, Math.max(1, size - 1)) }
      case "hold": {
        const count = between(1, 4)
        const patience = wait(chaos.patience ?? 20)
        return { hold: named(`${count} entries`, Effect.race(connection.further(count), patience)) }
      }
      case "slow":
        return { slow: Math.max(1, Math.ceil(size / between(2, 8))) }
      case "refuse":
        return { answer: refusal(503, { "Retry-After": "0" }) }
      case "garbage":
        return { answer: garbage }
      default:
        return fault
    }
  }
  const planner = (connection: Connection): Plan => {
    if (connection.index >= (chaos.connections ?? Infinity)) return {}
    const onFrame = (frame: Frame): Action => {
      if (frame.opcode === Frames.opcode.ping || frame.opcode === Frames.opcode.pong) return "pass"
      return decide(connection, frame.direction, frame.ordinal, frame.size)
    }
    return {
      accept: decide(connection, "accept", 0, 0),
      request: (head) => decide(connection, "request", 0, head.length),
      response: (head) => decide(connection, "response", 0, head.length),
      toServer: onFrame,
      toClient: onFrame
    }
  }
  return Object.assign(planner, { label: `seed ${seed} of ${JSON.stringify(chaos)}` })
}

/** A proxy in front of a port, as long as the scope is open: then nothing is left of it, not even an open handle. */
export const make = (options: { readonly target: number }): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.gen(function*() {
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    return yield* Effect.acquireRelease(
      Effect.promise(() =>
        start(options.target, (effect, done) => {
          const fiber = runFork(effect)
          fiber.addObserver((exit) => {
            // What has a defect is a mistake of the test's own.
            if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) throw Cause.squash(exit.cause)
            done()
          })
          return () => fiber.interruptUnsafe()
        })
      ),
      ({ close }) => close
    )
  })

/** Runs what holds something up, and says when it is over; gives what stops it. */
type Run = (effect: Effect.Effect<unknown>, done: () => void) => () => void

/** What a connection knows of its proxy. */
interface World {
  readonly target: () => number
  readonly record: (entry: Entry) => void
  readonly run: Run
  readonly further: Proxy["further"]
}

const start = async (target: number, run: Run) => {
  const log: Array<Entry> = []
  const listeners = new Set<(entry: Entry) => void>()
  const sockets = new Set<Socket>()
  const connections: Array<ReturnType<typeof makeConnection>> = []
  const arrivals = new Set<() => void>()
  const servers = new Set<Server>()
  let whenGone = () => {}

  const further: Proxy["further"] = (count) =>
    Effect.callback((resume) => {
      let left = count
      if (left <= 0) return resume(Effect.void)
      const look = () => {
        if (--left > 0) return
        listeners.delete(look)
        resume(Effect.void)
      }
      listeners.add(look)
      return Effect.sync(() => listeners.delete(look))
    })
  const keep = <A extends Socket | Server>(handle: A, handles: Set<A>) => {
    handles.add(handle)
    handle.on("close", () => {
      handles.delete(handle)
      whenGone()
    })
  }
  const world: World = {
    target: () => proxy.target,
    record: (entry) => {
      log.push(entry)
      // One that comes meanwhile waits for what comes after.
      Array.from(listeners).forEach((listener) => listener(entry))
    },
    run,
    further
  }
  const accept = (client: Socket) => {
    const connection = makeConnection(client, connections.length, world, (socket) => keep(socket, sockets))
    connections.push(connection)
    connection.start(proxy.plan(connection))
    for (const arrive of arrivals) arrive()
  }
  const listen = async (port: number) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, accept)
    keep(server, servers)
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject)
      server.listen(port, "127.0.0.1", resolve)
    })
    return server
  }
  let server: Server | undefined = await listen(0)
  const { port } = server.address() as AddressInfo

  const proxy: Proxy & { readonly close: Effect.Effect<void> } = {
    port,
    target,
    plan: () => ({}),
    connections,
    connection: (index) =>
      Effect.callback((resume) => {
        const look = () => {
          const connection = connections[index]
          if (connection === undefined) return
          arrivals.delete(look)
          resume(Effect.succeed(connection))
        }
        arrivals.add(look)
        look()
        return Effect.sync(() => arrivals.delete(look))
      }),
    down: Effect.sync(() => {
      server?.close()
      server = undefined
    }),
    up: Effect.promise(async () => {
      server ??= await listen(port)
    }),
    end: (how) =>
      Effect.sync(() => {
        for (const connection of connections) connection.finish(how)
      }),
    log,
    until: (condition) =>
      Effect.callback((resume) => {
        const found = log.find(condition)
        if (found !== undefined) return resume(Effect.succeed(found))
        const look = (entry: Entry) => {
          if (!condition(entry)) return
          listeners.delete(look)
          resume(Effect.succeed(entry))
        }
        listeners.add(look)
        return Effect.sync(() => listeners.delete(look))
      }),
    further,
    faults: () =>
      log.filter(({ kind }) => kind === "fault")
        .sort((a, b) =>
          a.connection - b.connection || points.indexOf(a.point) - points.indexOf(b.point) || a.index - b.index
        )
        .map(({ connection, detail, index, point }) => `#${connection} ${point}[${index}] ${detail}`),
    print: () => {
      const lines = log.map(({ connection, detail, index, kind, point, text }) =>
        `  #${connection} ${point}[${index}] ${detail === "" ? kind : detail}  ${text.split("\r\n")[0]!.slice(0, 80)}`
          .trimEnd()
      )
      return [`proxy of ${proxy.target}: ${proxy.plan.label ?? "a plan of its own"}`, ...lines].join("\n")
    },
    close: Effect.callback<void>((resume) => {
      whenGone = () => {
        if (sockets.size === 0 && servers.size === 0) resume(Effect.void)
      }
      server?.close()
      for (const connection of connections) connection.destroy()
      whenGone()
    })
  }
  return proxy
}

const points: ReadonlyArray<Point> = ["accept", "request", "response", "toServer", "toClient"]

/** Something that is passed on whole, or that one peer has ended the connection. */
interface Piece {
  readonly point: Point
  readonly index: number
  readonly bytes: Buffer
  readonly frame?: Frame | undefined
  readonly end?: "end" | "reset" | undefined
  readonly text: string
  /** What is still to be done; not yet decided when it is undefined. */
  steps?: Array<Step>
  sent: number
}

type Step =
  | { readonly send: number }
  | { readonly ending: Ending }
  | { readonly hold: Effect.Effect<unknown> }
  | { readonly slow: number }
  | { readonly answer: string | Uint8Array }

const isReset = (step: Step): boolean => "ending" in step && step.ending === "reset"

/** What an action comes to, for a piece of so many bytes. */
const stepsOf = (action: Action, size: number): Array<Step> => {
  if (action === "pass") return [{ send: size }]
  if (action === "tear") return stepsOf({ tear: "reset" }, size)
  // What is stalled may flow again: then the rest gets through.
  if (typeof action === "string") return [{ ending: action }, { send: size }]
  if ("tear" in action) {
    const bytes = Math.min(action.bytes ?? Math.floor(size / 2), size)
    return [{ send: bytes }, { ending: action.tear }, { send: size }]
  }
  if ("passThen" in action) return [{ send: size }, { ending: action.passThen }]
  if ("hold" in action) return [{ hold: action.hold }, ...stepsOf(action.next ?? "pass", size)]
  if ("slow" in action) return [{ slow: action.slow }, { send: size }]
  return [{ answer: action.answer }]
}

/** What an action is called in the log. */
const describe = (action: Action, size: number): string => {
  if (typeof action === "string") return action === "tear" ? describe({ tear: "reset" }, size) : action
  if ("tear" in action) {
    return `tear after ${action.bytes ?? Math.floor(size / 2)} of ${size} bytes, then ${action.tear}`
  }
  if ("passThen" in action) return `pass, then ${action.passThen}`
  if ("hold" in action) {
    const name = names.get(action.hold)
    return `hold${name === undefined ? "" : ` for ${name}`}, then ${describe(action.next ?? "pass", size)}`
  }
  if ("slow" in action) return `slow, ${action.slow} bytes a turn`
  return `answer ${JSON.stringify(Buffer.from(action.answer as string).toString("latin1").split("\r\n")[0])}`
}

/** What holds are called in the log. */
const names = new WeakMap<Effect.Effect<unknown>, string>()

const named = (name: string, effect: Effect.Effect<unknown>): Effect.Effect<unknown> => {
  names.set(effect, name)
  return effect
}

/** Waits by the real clock, whatever clock a test has. */
const wait = (milliseconds: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), milliseconds)
    return Effect.sync(() => clearTimeout(timer))
  })

const makeConnection = (client: Socket, index: number, world: World, keep: (socket: Socket) => void) => {
  let upstream: Socket | undefined
  let plan: Plan = {}
  let isOver = false
  let isClosed = false
  const watchers = new Set<() => void>()

  const record = (piece: Pick<Piece, "point" | "index" | "text">, kind: Entry["kind"], detail = "") => {
    const { index: at, point, text } = piece
    world.record({ connection: index, point, index: at, kind, detail, text })
  }
  const told = (point: Direction, detail: string) =>
    record({ point, index: lines[point].passed(), text: "" }, "fault", `${detail} (told)`)

  const lookWhetherClosed = () => {
    if (isClosed || !client.closed || !(upstream?.closed ?? isOver)) return
    isClosed = true
    stop()
    record({ point: "accept", index: 0, text: "" }, "closed")
    for (const watcher of watchers) watcher()
  }
  const stop = () => {
    isOver = true
    lines.toServer.stop()
    lines.toClient.stop()
  }
  const finish = (how: "drop" | "reset") => {
    if (isOver) return
    stop()
    for (const socket of [client, upstream]) {
      if (socket === undefined || socket.destroyed) continue
      if (how === "reset") {
        socket.resetAndDestroy()
      } else {
        socket.end()
        socket.resume()
      }
    }
    lookWhetherClosed()
  }
  const rest = (how: "stall" | "freeze", direction: Direction) => {
    if (how === "freeze" || direction === "toServer") lines.toServer.stall()
    if (how === "freeze" || direction === "toClient") lines.toClient.stall()
  }
  const listen = (socket: Socket, direction: Direction) => {
    keep(socket)
    const line = lines[direction]
    socket.on("data", (bytes) => line.receive(bytes))
    socket.on("end", () => line.end("end"))
    // What it says of a socket is seen when it closes.
    socket.on("error", () => {})
    socket.on("close", (hadError) => {
      if (hadError || !socket.readableEnded) line.end("reset")
      lookWhetherClosed()
    })
  }
  const reach = (): Socket => {
    if (upstream !== undefined) return upstream
    const socket = connect({ port: world.target(), host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
    upstream = socket
    const fail = () => {
      record({ point: "request", index: 0, text: "" }, "unreachable")
      finish("reset")
    }
    socket.once("error", fail)
    socket.once("connect", () => socket.off("error", fail))
    listen(socket, "toClient")
    return socket
  }
  const decide = (piece: Piece): Action => {
    const { frame, point, text } = piece
    if (point === "accept") return plan.accept ?? "pass"
    if (point === "request" || point === "response") {
      const action = plan[point]
      return (typeof action === "function" ? action(text) : action) ?? "pass"
    }
    return (frame && plan[point]?.(frame)) ?? "pass"
  }

  const makeLine = (direction: Direction) => {
    const queue: Array<Piece> = []
    let isStalled = false
    let release: (() => void) | undefined
    let rate: number | undefined
    let credit = 0
    let turn: NodeJS.Immediate | undefined
    let turns: number | undefined
    let isPumping = false
    let frames = 0
    let bytes = 0

    const source = () => (direction === "toServer" ? client : upstream)
    const sink = () => (direction === "toServer" ? upstream : client)

    const pump = () => {
      if (isPumping || isOver) return
      isPumping = true
      while (step());
      isPumping = false
      // A peer is held up as soon as what it says is.
      if (isOver || queue.length === 0) source()?.resume()
      else source()?.pause()
    }
    const step = (): boolean => !isOver && !isStalled && release === undefined && queue.length > 0 && advance(queue[0]!)
    /** Takes one step; `false` when it has to wait. */
    const advance = (piece: Piece): boolean => {
      if (piece.end !== undefined) return pass(piece, piece.end)
      if (piece.steps === undefined) {
        const action = decide(piece)
        piece.steps = stepsOf(action, piece.bytes.length)
        if (action !== "pass") record(piece, "fault", describe(action, piece.bytes.length))
        return true
      }
      const step = piece.steps[0]
      if (step === undefined) {
        queue.shift()
        if (piece.frame !== undefined) frames++
        record(piece, "pass")
        return true
      }
      if ("send" in step) return send(piece, step.send)
      if (isReset(step) && !isSettled()) return false
      piece.steps.shift()
      if ("hold" in step) {
        hold(step.hold)
      } else if ("slow" in step) {
        slow(step.slow)
      } else if ("answer" in step) {
        if (!client.destroyed) client.write(step.answer)
        finish("drop")
      } else if (step.ending === "stall" || step.ending === "freeze") {
        rest(step.ending, direction)
      } else {
        finish(step.ending)
      }
      return true
    }
    /** Goes on with the next turn of the event loop. */
    const later = (f: () => void) => {
      turn ??= setImmediate(() => {
        turn = undefined
        f()
        pump()
      })
    }
    /** A reset overtakes what is on its way: a peer that reads is given the time to take it off the line. */
    const isSettled = (): boolean => {
      if (isWriting()) return false
      turns ??= Math.floor(Math.min(bytes, 4 * 1024 * 1024) / 65_536)
      if (turns === 0) return true
      later(() => turns!--)
      return false
    }
    const isWriting = () => {
      const to = sink()
      return to !== undefined && !to.destroyed && to.writableLength > 0
    }
    const send = (piece: Piece, upTo: number): boolean => {
      if (piece.sent >= upTo) {
        piece.steps!.shift()
        return true
      }
      const to = direction === "toServer" ? reach() : client
      if (to.destroyed || to.writableEnded) {
        // Nobody is there any more to get it.
        piece.sent = upTo
        return true
      }
      if (to.writableNeedDrain) return false
      const count = Math.min(upTo - piece.sent, rate === undefined ? Infinity : credit)
      if (count === 0) {
        if (rate !== 0) {
          later(() => {
            credit = rate ?? 0
          })
        }
        return false
      }
      if (rate !== undefined) credit -= count
      bytes += count
      to.write(piece.bytes.subarray(piece.sent, piece.sent += count), pump)
      return true
    }
    const pass = (piece: Piece, end: "end" | "reset"): boolean => {
      const to = sink()
      if (end === "reset" && isWriting()) return false
      queue.shift()
      record(piece, end)
      if (end === "reset") finish("reset")
      else if (to === undefined) finish("drop")
      else to.end()
      return true
    }
    const hold = (effect: Effect.Effect<unknown>) => {
      let isDone = false
      const cancel = world.run(effect, () => {
        isDone = true
        release = undefined
        pump()
      })
      if (!isDone) release = cancel
    }
    const slow = (bytesPerTurn: number) => {
      rate = bytesPerTurn
      credit = bytesPerTurn
    }

    // What has not come together yet.
    let parts: Array<Buffer> = []
    let size = 0
    let wanted = 1
    let form: "head" | "frames" | "raw" = "head"
    let received = 0
    let ordinal = 0

    const put = (point: Point, bytes: Buffer, text: string, frame?: Frame, end?: "end" | "reset") => {
      const at = frame?.index ?? (point === direction ? received : 0)
      queue.push({
        point,
        index: at,
        bytes,
        text: text.slice(0, point === direction ? 200 : Infinity),
        frame,
        end,
        sent: 0
      })
    }
    /** Takes one head or frame off the bytes that there are; `false` when they do not hold one. */
    const take = (): boolean => {
      if (size < wanted) return false
      const data = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
      parts = [data]
      const length = form === "head" ? headLength(data) : form === "frames" ? frameLength(data) : data.length
      if (data.length < length) {
        wanted = length
        return false
      }
      const own = data.subarray(0, length)
      parts = [data.subarray(length)]
      size -= length
      wanted = 1
      if (form === "head") {
        const head = own.toString("latin1")
        if (direction === "toServer") {
          form = /^upgrade: *websocket/im.test(head) ? "frames" : "raw"
          put("request", own, head)
        } else {
          form = /^\S+ 101/.test(head) ? "frames" : "raw"
          // Whoever is refused may go on with another request.
          if (form === "raw") lines.toServer.raw()
          put("response", own, head)
        }
      } else if (form === "frames") {
        const frame = frameFrom(own, direction, received, ordinal)
        put(direction, own, excerpt(frame), frame)
        received++
        if (frame.opcode !== Frames.opcode.ping && frame.opcode !== Frames.opcode.pong) ordinal++
      } else {
        put(direction, own, "")
      }
      return true
    }
    const line = {
      accept: () => {
        put("accept", Buffer.alloc(0), "")
        pump()
      },
      receive: (chunk: Buffer) => {
        if (isOver) return
        parts.push(chunk)
        size += chunk.length
        while (take());
        pump()
      },
      end: (how: "end" | "reset") => {
        if (isOver) return
        if (size > 0) put(direction, Buffer.concat(parts), "the rest")
        parts = []
        size = 0
        put(direction, Buffer.alloc(0), "", undefined, how)
        pump()
      },
      raw: () => {
        form = "raw"
        wanted = 1
      },
      stall: () => {
        isStalled = true
      },
      flow: () => {
        isStalled = false
        rate = undefined
        release?.()
        pump()
      },
      stop: () => {
        clearImmediate(turn)
        release?.()
        queue.length = 0
        parts = []
      },
      passed: () => frames
    }
    const shown: Line = {
      get frames() {
        return frames
      },
      get bytes() {
        return bytes
      },
      stall: Effect.sync(() => {
        told(direction, "stall")
        line.stall()
      }),
      flow: Effect.sync(line.flow),
      slow: (bytesPerTurn) =>
        Effect.sync(() => {
          told(direction, `slow, ${bytesPerTurn} bytes a turn`)
          slow(bytesPerTurn)
          pump()
        }),
      allow: (bytes) =>
        Effect.sync(() => {
          credit += bytes
          pump()
        })
    }
    return { ...line, shown }
  }

  const lines = { toServer: makeLine("toServer"), toClient: makeLine("toClient") }
  const connection: Connection = {
    index,
    toServer: lines.toServer.shown,
    toClient: lines.toClient.shown,
    end: (how) =>
      Effect.sync(() => {
        if (isOver) return
        told("toServer", how)
        finish(how)
      }),
    freeze: Effect.sync(() => {
      told("toServer", "freeze")
      rest("freeze", "toServer")
    }),
    flow: Effect.sync(() => {
      lines.toServer.flow()
      lines.toClient.flow()
    }),
    closed: Effect.callback((resume) => {
      const look = () => {
        watchers.delete(look)
        resume(Effect.void)
      }
      if (isClosed) return look()
      watchers.add(look)
      return Effect.sync(() => watchers.delete(look))
    }),
    further: world.further
  }
  return Object.assign(connection, {
    start: (own: Plan) => {
      plan = own
      listen(client, "toServer")
      lines.toServer.accept()
    },
    finish,
    /** Leaves nothing of it, whatever state it is in. */
    destroy: () => {
      stop()
      client.destroy()
      upstream?.destroy()
    }
  })
}

/** How long the head that some bytes start with is; more than there are when it is not complete. */
const headLength = (data: Buffer): number => {
  const end = data.indexOf("\r\n\r\n")
  return end === -1 ? data.length + 1 : end + 4
}

/** How long the frame that some bytes start with is, or how many bytes it takes to know it. */
const frameLength = (data: Buffer): number => {
  if (data.length < 2) return 2
  const short = data[1]! & 0x7f
  const start = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + ((data[1]! & 0x80) === 0 ? 0 : 4)
  if (data.length < start) return start
  return start + (short === 126 ? data.readUInt16BE(2) : short === 127 ? Number(data.readBigUInt64BE(2)) : short)
}

const frameFrom = (bytes: Buffer, direction: Direction, index: number, ordinal: number): Frame => {
  const parsed: Array<Frames.Frame> = []
  Frames.makeParser((frame) => parsed.push(frame))(bytes)
  const frame = parsed[0]!
  const { fin, opcode, payload, rsv } = frame
  return {
    direction,
    index,
    ordinal,
    fin,
    opcode,
    payload,
    rsv,
    size: bytes.length,
    get text() {
      if (opcode !== Frames.opcode.close) return Frames.textOf(frame)
      return payload.length < 2 ? "" : `${payload.readUInt16BE()} ${payload.subarray(2)}`.trimEnd()
    }
  }
}

/** What the log says of a frame. */
const excerpt = (frame: Frame): string => {
  const [kind = frame.opcode] = Object.entries(Frames.opcode).find(([, opcode]) => opcode === frame.opcode) ?? []
  if (frame.opcode === Frames.opcode.close) return `(close) ${frame.text}`
  // One that is compressed may depend on those before it.
  const text = frame.rsv === 0 ? frame.payload.toString("utf8", 0, 800) : "compressed"
  return kind === "text" ? text : `(${kind}) ${text}`
}
