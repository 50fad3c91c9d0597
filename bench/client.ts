/** A client of a contender: opens a connection and goes through the prelude of its protocol, and answers pings. */
import { type Protocol, shortestReply } from "./contenders.ts"
import { connect, type Connection, frame, opcode, textFrame } from "./websocket.ts"

export interface Client {
  readonly connection: Connection
  /** Handles every frame of the protocol itself, and passes on all other text messages. */
  readonly converse: Connection["onFrame"]
  /** The next text message. After the last one that is waited for, another one is a failure. */
  readonly nextText: () => Promise<string>
}

/** Further connections leave from the next loopback address, so that ports suffice. */
const connectionsPerAddress = 20_000

/** None for the first of them: the system finds a port far faster when it does not have to before it connects. */
const localAddress = (index: number): string | undefined =>
  index < connectionsPerAddress ? undefined : `127.0.0.${1 + Math.floor(index / connectionsPerAddress)}`

const fail = (error: unknown): void => {
  process.send?.({ error: error instanceof Error ? error.message : String(error) }, () => process.exit(1))
}

/** Answers pings, those of the contender's protocol too, and passes on every other message. */
const conversation =
  (protocol: Protocol, connection: Connection, onText: (text: string) => void): Connection["onFrame"] =>
  (kind, data, start, end) => {
    const payload = data.subarray(start, end)
    if (kind === opcode.ping) return void connection.socket.write(frame(opcode.pong, payload))
    if (kind === opcode.close) {
      return fail(`closed by the server, code ${payload.length < 2 ? 1005 : payload.readUInt16BE()}`)
    }
    const text = payload.toString()
    const answer = text.length < shortestReply ? protocol.answer?.(text) : undefined
    if (answer === undefined) onText(text)
    else connection.socket.write(textFrame(answer))
  }

const open = async (protocol: Protocol, port: number, index: number): Promise<Client> => {
  const connection = connect(port, localAddress(index), protocol.path)
  const texts: Array<string> = []
  let wake: (() => void) | undefined
  const nextText = async () => {
    if (texts.length === 0) await new Promise<void>((resolve) => wake = resolve)
    wake = undefined
    return texts.shift()!
  }
  let isOpen = false
  const converse = conversation(protocol, connection, (text) => {
    if (isOpen && wake === undefined) return fail(`unexpected message: ${text}`)
    texts.push(text)
    wake?.()
  })
  connection.onFrame = converse
  await connection.opened
  connection.onClose = fail
  for (const { expect, send } of protocol.prelude) {
    const text = await nextText()
    if (!expect.test(text)) throw new Error(`expected ${expect}, got: ${text}`)
    if (send !== undefined) connection.socket.write(textFrame(send))
  }
  isOpen = true
  return { connection, converse, nextText }
}

/** Opens connections, many at once. Those of the same index come from the same address. */
export const openMany = async <A>(
  protocol: Protocol,
  indices: { readonly from: number; readonly count: number },
  portOf: (index: number) => number,
  greet: (client: Client) => Promise<A>
): Promise<ReadonlyArray<A>> => {
  const clients: Array<A> = []
  const end = indices.from + indices.count
  let begun = indices.from
  const openOneAfterAnother = async () => {
    while (begun < end) {
      const index = begun++
      clients.push(await greet(await open(protocol, portOf(index), index)))
    }
  }
  await Promise.all(Array.from({ length: 50 }, openOneAfterAnother))
  return clients
}

/** Does what this process is told to, and answers each time with what came of it, or with `{ error }`. */
export const obey = <Command>(execute: (command: Command) => unknown): void => {
  process.on("message", async (command: Command) => {
    try {
      process.send?.(await execute(command))
    } catch (error) {
      fail(error)
    }
  })
  process.on("disconnect", () => process.exit())
}
