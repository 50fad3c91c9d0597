/**
 * The connection of the page: its frames, its reconnects, and where it is in the history of its room. Nothing else of the page
 * knows what stands on the wire.
 */

/** Closes that another attempt would not change: the credentials do not hold any more, or may not connect. */
const final = [4401, 4403]

/** "403 banned: You are banned from this room" */
export const reasonsOf = (status, errors = []) =>
  [status, ...errors.map(({ code, detail }) => ` ${code}: ${detail}`)].join("")

/**
 * A connection to a room: first all that the room keeps, then what follows, over as many connections as it takes.
 * `on.status(state, text)` is told how it goes, and `on.event(frame)` what it hears.
 */
export const makeConnection = ({ on, room, token }) => {
  const path = `/ws/rooms/${room}/`
  /** Where it is in the history of the room: at first before all that is kept. */
  let position = ""
  let socket
  let attempts = 0
  let retry
  let lastId = 0
  const asked = new Map()

  const forget = () => {
    clearTimeout(retry)
    const before = socket
    socket = undefined
    for (const answer of asked.values()) answer(undefined)
    asked.clear()
    return before
  }

  const end = (text) => {
    forget()
    on.status("closed", text)
  }

  /** Tries again, ever more seldom, and not when all others do. */
  const tryAgain = (why) => {
    forget()
    const delay = Math.min(10_000, 250 * 2 ** attempts++) * (0.5 + Math.random() / 2)
    on.status("connecting", `${why}: trying again`)
    retry = setTimeout(open, delay)
  }

  /** All that a browser tells of a handshake that failed is that it failed: a plain request learns why. */
  const askWhy = async (ws) => {
    const response = await fetch(path, { headers: { Authorization: `Bearer ${token}` } }).catch(() => undefined)
    const body = await response?.json().catch(() => undefined)
    if (ws !== socket) return
    if (response?.status === 401 || response?.status === 403) {
      end(`Refused: ${reasonsOf(response.status, body?.errors)}`)
    } else tryAgain(response === undefined ? "The server cannot be reached" : `Refused with ${response.status}`)
  }

  const receive = (frame) => {
    if (frame.type === undefined) {
      asked.get(frame.request_id)?.(frame)
      asked.delete(frame.request_id)
    } else {
      // The protocol's own events say it in their data. Those that are not kept do not say it.
      const { id } = frame.type.startsWith("$") ? frame.data : frame
      position = id ?? position
      on.event(frame)
    }
  }

  const open = () => {
    forget()?.close()
    on.status("connecting", "connecting")
    const url = new URL(path, location.href.replace(/^http/, "ws"))
    url.searchParams.set("$after", `room:${position}`)
    const ws = socket = new WebSocket(url, ["effect-channels.json", `bearer.${token}`])
    let isOpen = false
    ws.onopen = () => {
      if (ws !== socket) return
      isOpen = true
      attempts = 0
      on.status("open", "online")
    }
    ws.onmessage = ({ data }) => {
      if (ws === socket) receive(JSON.parse(data))
    }
    ws.onclose = ({ code, reason }) => {
      if (ws !== socket) return
      if (!isOpen) void askWhy(ws)
      else if (final.includes(code)) end(`Closed: ${code} ${reason}`)
      else tryAgain(`Closed: ${code} ${reason}`.trim())
    }
  }

  const send = (action, data) => {
    if (socket?.readyState !== WebSocket.OPEN) return undefined
    const id = ++lastId
    socket.send(JSON.stringify({ action, data, request_id: id }))
    return id
  }

  return {
    open,
    /** Closes it, and says why. It can be opened again, where it was. */
    close: (text) => {
      forget()?.close()
      on.status("closed", text)
    },
    /** Asks for something that is not answered, where there is a connection. */
    tell: (action) => void send(action),
    /** Asks for something; the reply, or `undefined` where the connection ends before there is one. */
    ask: (action, data) =>
      new Promise((resolve) => {
        const id = send(action, data)
        if (id === undefined) resolve(undefined)
        else asked.set(id, resolve)
      })
  }
}
