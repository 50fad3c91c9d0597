/** Ours, with promises. */
import { Client } from "@effect-channels/core"
import { Chat, Events } from "./contract.ts"
import { room, serve, text } from "./serve.ts"

const token = { query: { token: "alice" } }

void serve({
  calls: async (port) => {
    const chat = Client.makePromise(Chat, { url: `ws://127.0.0.1:${port}`, ...token })
    await chat.connect()
    const { post } = chat.at("rooms/:room/", { room })
    return {
      close: chat.close,
      call: async (calls) => {
        while (!calls.isOver()) {
          const count = calls.next()
          calls.take(count, await post({ text, count }))
        }
      }
    }
  },
  events: async (port, take, fail) => {
    const events = Client.makePromise(Events, {
      url: `ws://127.0.0.1:${port}`,
      params: { room: String(room) },
      ...token
    })
    const hear = async () => {
      for await (const event of events.events("posted")) take(event)
    }
    hear().catch(fail)
    await events.connect()
    return { close: events.close, ask: (count, apart) => events.ask({ text, count, apart }) }
  }
})
