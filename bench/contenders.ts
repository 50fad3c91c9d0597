/**
 * The contenders, each with what the load generator must know to talk to it. To add one: write `servers/<name>.ts`,
 * describe its protocol here, and put it in the list at the end of this file.
 */

export interface Contender {
  /** Also the name of its file in `servers`. */
  readonly name: string
  /** Path and query of the WebSocket handshake. */
  readonly path: string
  /** Text messages to wait for, in order, before the first request; each may be answered. */
  readonly prelude: ReadonlyArray<{ readonly expect: RegExp; readonly send?: string }>
  /** One request. Ids always have three digits, so that all requests are of the same size. */
  readonly request: (id: number) => string
  /** Takes a reply apart; throws when the message is none. */
  readonly reply: (message: string) => { readonly id: number; readonly data: unknown }
  /** What to answer a message shorter than `shortest reply` with, for protocols with pings of their own. */
  readonly answer?: (message: string) => string | undefined
}

/** Messages under this many bytes belong to the protocol (a ping, say): no reply is that short. */
export const shortestReply = 16

const room = 42
const payload = { text: "hello world, this is a chat message", count: 3 }
const post = { room, ...payload }

/** What the data of every reply must equal, besides its integer `id`. */
export const expected = { room, text: payload.text, count: payload.count + 1, author: "alice" }

const ws: Contender = {
  name: "ws",
  path: "/?token=alice",
  prelude: [],
  request: (id) => JSON.stringify({ ...post, request_id: id }),
  reply: (message) => {
    const { request_id, ...data } = JSON.parse(message)
    return { id: request_id, data }
  }
}

const wsCorked: Contender = { ...ws, name: "ws-corked" }

const socketIo: Contender = {
  name: "socket.io",
  path: "/socket.io/?EIO=4&transport=websocket&token=alice",
  prelude: [{ expect: /^0\{/, send: "40" }, { expect: /^40\{/ }],
  request: (id) => `42${id}${JSON.stringify(["post", post])}`,
  reply: (message) => {
    const [, id, args] = /^43(\d+)(\[.*)$/.exec(message) ?? []
    if (args === undefined) throw new Error(`not an acknowledgement: ${message}`)
    return { id: Number(id), data: JSON.parse(args)[0] }
  },
  answer: (message) => message === "2" ? "3" : undefined
}

const trpc: Contender = {
  name: "trpc",
  path: "/?token=alice",
  prelude: [],
  request: (id) => JSON.stringify({ id, method: "mutation", params: { path: "post", input: post } }),
  reply: (message) => {
    const { id, result } = JSON.parse(message)
    return { id, data: result.data }
  },
  answer: (message) => message === "PING" ? "PONG" : undefined
}

const effectRpc: Contender = {
  name: "effect-rpc",
  path: "/rpc?token=alice",
  prelude: [],
  request: (id) => JSON.stringify({ _tag: "Request", id: String(id), tag: "Post", payload: post, headers: [] }),
  reply: (message) => {
    const { exit, requestId } = JSON.parse(message)
    return { id: Number(requestId), data: exit.value }
  }
}

export const effectChannels: Contender = {
  name: "effect-channels",
  path: "/ws/?token=alice",
  prelude: [],
  request: (id) => JSON.stringify({ action: "post", route: `rooms/${room}/`, data: payload, request_id: id }),
  reply: (message) => {
    const { data, request_id, status } = JSON.parse(message)
    if (status !== 200) throw new Error(`status ${status}`)
    return { id: request_id, data }
  }
}

/** In the order of the table. */
export const contenders: ReadonlyArray<Contender> = [ws, wsCorked, socketIo, trpc, effectRpc, effectChannels]

export const contenderNamed = (name: string): Contender => {
  const found = [...contenders, effectChannels].find((contender) => contender.name === name)
  if (found === undefined) throw new Error(`there is no contender ${name}`)
  return found
}
