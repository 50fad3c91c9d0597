/**
 * The contenders, each with what the load generator must know to talk to it. To add one: write `servers/<name>.ts`,
 * describe its protocol here, and put it in the list at the end of this file.
 */

/** How a connection is opened and kept. */
export interface Protocol {
  /** Path and query of the WebSocket handshake. */
  readonly path: string
  /** Text messages to wait for, in order, before the first request; each may be answered. */
  readonly prelude: ReadonlyArray<{ readonly expect: RegExp; readonly send?: string }>
  /** What to answer a message shorter than `shortest reply` with, for protocols with pings of their own. */
  readonly answer?: (message: string) => string | undefined
}

export interface Contender extends Protocol {
  /** Also the name of its file in `servers`. */
  readonly name: string
  /** One request. Ids always have three digits, so that all requests are of the same size. */
  readonly request: (id: number) => string
  /** Takes a reply apart; throws when the message is none. */
  readonly reply: (message: string) => { readonly id: number; readonly data: unknown }
}

/** A contender that sends what one connection posts to all of them. */
export interface FanOutContender extends Protocol {
  /** Also the name of its file in `servers/fanout`. */
  readonly name: string
  /** Whether several servers of it share a room over Redis. */
  readonly isShared: boolean
  /** What a connection posts. */
  readonly post: string
  /** Takes an event apart; throws when the message is none. */
  readonly event: (message: string) => unknown
}

/** Messages under this many bytes belong to the protocol (a ping, say): no reply and no event is that short. */
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

const text = { text: payload.text }

/** What the data of every event must equal, besides its integer `id`. */
export const expectedEvent = { ...text, author: "alice" }

const fanOutWs: FanOutContender = {
  name: "ws",
  isShared: false,
  path: ws.path,
  prelude: ws.prelude,
  post: JSON.stringify(text),
  event: (message) => {
    const { data, type } = JSON.parse(message)
    if (type !== "posted") throw new Error(`not the event: ${type}`)
    return data
  }
}

const fanOutWsFramed: FanOutContender = { ...fanOutWs, name: "ws-framed" }

const fanOutSocketIo: FanOutContender = {
  name: "socket.io",
  isShared: true,
  path: socketIo.path,
  prelude: socketIo.prelude,
  answer: socketIo.answer!,
  post: `42${JSON.stringify(["post", text])}`,
  event: (message) => {
    const [, args] = /^42(\[.*)$/.exec(message) ?? []
    if (args === undefined) throw new Error(`not an event: ${message}`)
    const [type, data] = JSON.parse(args)
    if (type !== "posted") throw new Error(`not the event: ${type}`)
    return data
  }
}

const fanOutEffectChannels: FanOutContender = {
  ...fanOutWs,
  name: "effect-channels",
  isShared: true,
  path: "/ws/rooms/42/?token=alice",
  post: JSON.stringify({ action: "post", data: text })
}

/** In the order of the table. */
export const fanOutContenders: ReadonlyArray<FanOutContender> = [
  fanOutWs,
  fanOutWsFramed,
  fanOutSocketIo,
  fanOutEffectChannels
]

export const fanOutContenderNamed = (name: string): FanOutContender => {
  const found = fanOutContenders.find((contender) => contender.name === name)
  if (found === undefined) throw new Error(`there is no contender ${name}`)
  return found
}
