/**
 * Two connections to Redis: one for commands, and one that is told what others publish. They live and die together: when one
 * of them is lost, or Redis does not answer in time, both are closed, and never come back. Whoever wants to go on makes
 * another session. So there is no state of a connection but being there or not, and nothing waits in a queue.
 */
import { createClient, ErrorReply, type RedisClientOptions } from "@redis/client"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as scripts from "./scripts.ts"

/** What is needed to connect. */
export interface Connect {
  readonly url: string | undefined
  readonly client: ClientOptions | undefined
  /** How long Redis may give no sign of life while somebody waits for an answer, in milliseconds. */
  readonly timeout: number
}

/** The options of a client that may be chosen: others would change what this package relies on. */
export type ClientOptions = Pick<
  RedisClientOptions,
  | "socket"
  | "username"
  | "password"
  | "credentialsProvider"
  | "name"
  | "database"
  | "disableClientInfo"
  | "clientInfoTag"
>

/** Why there is no session. */
export class NoSession extends Data.TaggedError("NoSession")<{ readonly message: string; readonly cause: unknown }> {}

export const noSession = (cause: unknown): NoSession =>
  new NoSession({ message: cause instanceof Error ? cause.message || cause.name : String(cause), cause })

/** An argument of a command. */
export type Argument = string | number

export class Session {
  readonly #commands: Connection
  readonly #subscriber: Connection
  readonly #listener: (text: string) => void
  /** What Redis knows its connection for commands by, and which Redis that is. */
  #name: { readonly id: string; readonly run: string } | undefined
  #failure: Error | undefined
  #onLost: (error: Error) => void = () => {}

  constructor(connect: Connect, onMessage: (text: string) => void) {
    const onFailure = (error: Error) => this.close(error)
    this.#commands = new Connection(connect, onFailure)
    this.#subscriber = new Connection(connect, onFailure)
    // One for all channels: what is published says itself what it is.
    this.#listener = (text) => onMessage(text)
  }

  /** What has become of it: `undefined` as long as it is good. */
  get failure(): Error | undefined {
    return this.#failure
  }

  async open(): Promise<void> {
    await Promise.all([this.#commands.open(), this.#subscriber.open()])
    const [id, info] = await Promise.all([
      this.run("CLIENT", "ID").catch(refused),
      this.run("INFO", "server").catch(refused),
      ...scripts.all.map(({ source }) => this.run("SCRIPT", "LOAD", source))
    ])
    this.#name = { id: String(id), run: /^run_id:(\w+)/m.exec(String(info))?.[1] ?? "" }
  }

  /**
   * Sees to it that nothing more is done of what a session before this one has said: it may be on its way still, and would undo
   * what is said now. Redis gives the numbers of connections anew when it is started anew.
   */
  async supersede(before: Session): Promise<void> {
    if (before.#name === undefined || before.#name.run === "" || before.#name.run !== this.#name?.run) return
    await this.run("CLIENT", "KILL", "ID", before.#name.id).catch(refused)
  }

  /** Sends a command. Those of a session are carried out in the order in which they are sent. */
  run(...command: ReadonlyArray<string>): Promise<unknown> {
    return this.#commands.use((client) => client.sendCommand(command))
  }

  /** Runs a script. */
  async eval(script: scripts.Script, keys: ReadonlyArray<string>, args: ReadonlyArray<Argument>): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args.map(String)]
    try {
      return await this.run("EVALSHA", script.sha, ...rest)
    } catch (error) {
      // Somebody had Redis forget its scripts.
      if (error instanceof ErrorReply && error.message.startsWith("NOSCRIPT")) {
        return this.run("EVAL", script.source, ...rest)
      }
      throw error
    }
  }

  subscribe(channel: string): Promise<void> {
    return this.#subscriber.use((client) => client.subscribe(channel, this.#listener))
  }

  unsubscribe(channel: string): Promise<void> {
    // With the listener: else the client takes a channel that is subscribed to again meanwhile for one that it still has.
    return this.#subscriber.use((client) => client.unsubscribe(channel, this.#listener))
  }

  /** Whether the connection that is told what others publish is still there. */
  ping(): Promise<unknown> {
    return this.#subscriber.use((client) => client.sendCommand(["PING"]))
  }

  /** Completes when it is lost. */
  readonly lost: Effect.Effect<Error> = Effect.callback((resume) => {
    if (this.#failure !== undefined) return resume(Effect.succeed(this.#failure))
    this.#onLost = (error) => resume(Effect.succeed(error))
  })

  /** Closes both connections; whoever waits for an answer waits no longer. */
  close(reason: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = reason
    this.#commands.close()
    this.#subscriber.close()
    this.#onLost(reason)
  }
}

/** Connects. */
export const connect = (options: Connect, onMessage: (text: string) => void): Effect.Effect<Session, NoSession> =>
  Effect.callback((resume) => {
    const session = new Session(options, onMessage)
    session.open().then(
      () => resume(Effect.succeed(session)),
      (error: unknown) => {
        const failure = error instanceof Error ? error : new Error(String(error))
        session.close(failure)
        resume(Effect.fail(noSession(session.failure ?? failure)))
      }
    )
    return Effect.sync(() => session.close(new Error("The connection was not wanted any more")))
  })

/** It is well without: there is no such thing any more, or Redis does not let us. */
const refused = (error: unknown): undefined => {
  if (!(error instanceof ErrorReply)) throw error
}

type Client = ReturnType<typeof makeClient>

const makeClient = ({ client, timeout, url }: Connect) =>
  createClient({
    ...client,
    ...(url === undefined ? {} : { url }),
    // The client writes into what it is given.
    socket: { ...client?.socket, connectTimeout: timeout, reconnectStrategy: false },
    commandOptions: { timeout: 0 },
    disableOfflineQueue: true,
    maintNotifications: "disabled"
  })

/** One connection, and whether it gives a sign of life. */
class Connection {
  readonly #client: Client
  readonly #timeout: number
  readonly #onFailure: (error: Error) => void
  #closed = false
  /** How many answers somebody waits for. */
  #pending = 0
  /** When the last one came, or when somebody began to wait. */
  #at = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(connect: Connect, onFailure: (error: Error) => void) {
    this.#timeout = connect.timeout
    this.#onFailure = onFailure
    this.#client = makeClient(connect)
    this.#client.on(
      "error",
      (error: unknown) => this.#onFailure(error instanceof Error ? error : new Error(String(error)))
    )
    this.#client.on("end", () => this.#onFailure(new Error("The connection was closed")))
    // It cannot be closed while it connects, only when that has come about.
    this.#client.on("connect", () => {
      if (this.#closed) this.#client.destroy()
    })
  }

  open(): Promise<unknown> {
    return this.use((client) => client.connect())
  }

  async use<A>(f: (client: Client) => Promise<A>): Promise<A> {
    if (this.#closed) throw new Error("The connection is closed")
    if (this.#pending++ === 0) {
      this.#at = performance.now()
      this.#timer ??= setTimeout(this.#look, this.#timeout)
    }
    try {
      return await f(this.#client)
    } catch (error) {
      // It has become a replica: the one that takes commands now is to be looked for.
      if (error instanceof ErrorReply && error.message.startsWith("READONLY")) this.#onFailure(error)
      throw error
    } finally {
      this.#pending--
      this.#at = performance.now()
    }
  }

  readonly #look = (): void => {
    this.#timer = undefined
    if (this.#closed || this.#pending === 0) return
    const rest = this.#at + this.#timeout - performance.now()
    if (rest > 0) {
      this.#timer = setTimeout(this.#look, rest)
      return
    }
    // This process may have been asleep, and the answer lies there already: it is read before what comes next is run.
    const at = this.#at
    setImmediate(() =>
      setImmediate(() => {
        if (this.#closed || this.#pending === 0) return
        if (this.#at === at) return this.#onFailure(new Error(`Redis has not answered for ${this.#timeout} ms`))
        this.#timer ??= setTimeout(this.#look, this.#timeout)
      })
    )
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#client.destroy()
  }
}
