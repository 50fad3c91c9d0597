/** A client as it is written by hand: JSON, and a map of the requests that wait for their replies. Nothing is validated. */
import type { Message, Posted } from "../servers/chat.ts"
import { type Contender, room, text } from "./serve.ts"

/** A socket, with the text that it receives given to a function. */
export interface Socket {
  readonly send: (text: string) => void
  readonly close: () => void
}

export type Connect = (url: string, receive: (text: string) => void) => Promise<Socket>

interface Waiting {
  readonly resolve: (data: unknown) => void
  readonly reject: (error: Error) => void
}

/** Opens a connection over which requests are made. */
const open = async (
  connect: Connect,
  url: string,
  onEvent: (type: string, data: unknown) => void
) => {
  const pending = new Map<number, Waiting>()
  let lastId = 0
  const socket = await connect(url, (text) => {
    const { data, request_id, status, type } = JSON.parse(text)
    if (type !== undefined) return onEvent(type, data)
    const waiting = pending.get(request_id)
    if (waiting === undefined) throw new Error(`a reply that nobody waits for: ${text}`)
    pending.delete(request_id)
    if (status < 400) waiting.resolve(data)
    else waiting.reject(new Error(text))
  })
  const request = (action: string, route: string | undefined, data: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const request_id = ++lastId
      pending.set(request_id, { resolve, reject })
      socket.send(JSON.stringify({ action, route, data, request_id }))
    })
  return { request, close: socket.close }
}

export const byHand = (connect: Connect): Contender => ({
  calls: async (port) => {
    const { close, request } = await open(connect, `ws://127.0.0.1:${port}/ws/?token=alice`, (type) => {
      throw new Error(`an event that nobody expects: ${type}`)
    })
    const post = (room: number, data: { readonly text: string; readonly count: number }) =>
      request("post", `rooms/${room}/`, data) as Promise<Message>
    return {
      close,
      call: async (calls) => {
        while (!calls.isOver()) {
          const count = calls.next()
          calls.take(count, await post(room, { text, count }))
        }
      }
    }
  },
  events: async (port, take, fail) => {
    const url = `ws://127.0.0.1:${port}/ws/rooms/${room}/?token=alice`
    const { close, request } = await open(connect, url, (type, data) => {
      if (type !== "posted") return
      try {
        take(data as Posted)
      } catch (error) {
        fail(error)
      }
    })
    return { close, ask: (count, apart) => request("ask", undefined, { text, count, apart }) }
  }
})
