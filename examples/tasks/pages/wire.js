/**
 * The connection of the page: its frames, its reconnects, and what is subscribed to. Nothing else of the page knows what stands on
 * the wire.
 */

/** "403 not_owner: Only its owner and the owner of the board may change a task" */
export const reasonsOf = ({ errors, status }) =>
  [status, ...(errors ?? []).map(({ code, detail }) => ` ${code}: ${detail}`)].join("")

/**
 * A connection to a board, over as many sockets as it takes. `login` answers with a new token, or with why there is none.
 * `on.status(state, text)` is told how it goes; `on.open()` is called for each new socket: what was subscribed to is subscribed to
 * anew there.
 */
export const makeConnection = ({ login, on, path }) => {
  let socket
  let attempts = 0
  let retry
  let lastId = 0
  /** What is done with each reply to a request, by its id. */
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
    forget()?.close()
    on.status("closed", text)
  }

  /** Tries again, ever more seldom, and not when all others do. */
  const tryAgain = (why) => {
    forget()
    const delay = Math.min(10_000, 250 * 2 ** attempts++) * (0.5 + Math.random() / 2)
    on.status("connecting", `${why}: trying again`)
    retry = setTimeout(open, delay)
  }

  const receive = (frame) => {
    const answer = asked.get(frame.request_id)
    // One that has more to come is not answered yet.
    if (frame.status !== 206) asked.delete(frame.request_id)
    answer?.(frame)
  }

  const open = async () => {
    forget()?.close()
    on.status("connecting", "connecting")
    // So that a connection which is given up in the meantime is none.
    const current = socket = { close: () => {}, readyState: WebSocket.CONNECTING }
    const { refused, token } = await login()
    if (current !== socket) return
    if (token === undefined) return refused === undefined ? tryAgain("The server cannot be reached") : end(refused)
    // All that a browser tells of a handshake that failed is that it failed: ask with a plain request first.
    const response = await fetch(path, { headers: { Authorization: `Bearer ${token}` } }).catch(() => undefined)
    const body = await response?.json().catch(() => undefined)
    if (current !== socket) return
    if (response === undefined) return tryAgain("The server cannot be reached")
    if (response.status !== 426) return end(`Refused: ${reasonsOf({ status: response.status, ...body })}`)
    const url = new URL(path, location.href.replace(/^http/, "ws"))
    const ws = socket = new WebSocket(url, ["effect-channels.json", `bearer.${token}`])
    ws.onopen = () => {
      if (ws !== socket) return
      attempts = 0
      on.status("open", "online")
      on.open()
    }
    ws.onmessage = ({ data }) => {
      if (ws === socket) receive(JSON.parse(data))
    }
    ws.onclose = ({ code, reason }) => {
      if (ws !== socket) return
      // Whoever has lost the right to be here does not get it back by asking again.
      if (code === 4403) end(`Closed: ${code} ${reason}`)
      else tryAgain(`Closed: ${code} ${reason}`.trim())
    }
  }

  const send = (request, answer) => {
    if (socket?.readyState !== WebSocket.OPEN) return answer(undefined)
    const id = ++lastId
    asked.set(id, answer)
    socket.send(JSON.stringify({ ...request, request_id: id }))
  }

  return {
    open,
    close: (text) => end(text),
    /** Asks for something; the reply, or `undefined` where the connection ends before there is one. */
    ask: (request) => new Promise((resolve) => send(request, resolve)),
    /** Asks for what is at a route, and for what becomes of it. `ended` is told why the server has ended that, if it has. */
    subscribe: (route, tell, ended) =>
      send({ action: "subscribe", route }, (frame) => {
        if (frame?.status === 206) tell(frame.data)
        else if (frame !== undefined) ended(frame)
      })
  }
}
