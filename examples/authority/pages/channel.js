/**
 * What both pages do alike: sign in, connect, ask, and write down what came back and how the connection ended.
 */

export const $ = (id) => document.getElementById(id)

/** Makes an element; text is always set as text. */
export const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

/** Writes something down, the newest first; with what went over the wire, if anything did. */
const log = (kind, title, wire) => {
  const heading = element("h3", { textContent: title })
  const time = element("time", { textContent: new Date().toLocaleTimeString() })
  const rest = wire === undefined
    ? time
    : element("details", {}, element("summary", {}, time, ", on the wire"), element("pre", { textContent: wire }))
  $("log").prepend(element("article", { className: `entry ${kind}` }, heading, rest))
}

const parse = (text) => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** "403 role_required: This takes the role editor" */
const reasonsOf = (status, reply) =>
  [status, ...(reply?.errors ?? []).map(({ code, detail }) => ` ${code ?? ""}: ${detail}`)].join("")

/**
 * A page's connection to a consumer. `on.opened` is called when it stands, `on.denied` when a request was answered with 403,
 * and `on.ended` when there is no connection any more, or never was one.
 */
export const makeChannel = (path, area, on) => {
  let socket
  let lastId = 0
  /** Whoever connects anew does not wait for the attempt before. */
  let attempt = 0
  const asked = new Map()

  const report = (state, text) => {
    $("status").dataset.state = state
    $("status").textContent = text
  }

  const end = (text) => {
    socket = undefined
    for (const answer of asked.values()) answer(undefined)
    asked.clear()
    report("closed", text)
    log("bad", text)
    on.ended()
  }

  /** Lets go of the connection that there is: how it ends is of no interest any more. */
  const leave = () => {
    const before = socket
    socket = undefined
    before?.close()
    for (const answer of asked.values()) answer(undefined)
    asked.clear()
  }

  const connect = async ({ quiet = false } = {}) => {
    leave()
    const current = ++attempt
    report("connecting", "connecting")
    // All that a browser tells of a handshake that failed is that it failed: ask with a plain request first.
    const response = await fetch(path).catch(() => undefined)
    const body = await response?.text()
    if (current !== attempt) return
    if (response === undefined) return end("The server cannot be reached")
    if (response.status !== 426) {
      const reasons = reasonsOf(response.status, parse(body))
      if (!quiet) return end(`Refused: ${reasons}`)
      report("none", "not signed in")
      return on.ended()
    }
    const ws = socket = new WebSocket(new URL(path, location.href).href.replace(/^http/, "ws"))
    ws.onopen = () => {
      report("open", "connected")
      on.opened()
    }
    ws.onmessage = ({ data }) => {
      const reply = JSON.parse(data)
      const answer = asked.get(reply.request_id)
      asked.delete(reply.request_id)
      answer?.(reply)
    }
    ws.onclose = ({ code, reason }) => {
      if (ws === socket) end(`Closed: ${code} ${reason}`.trim())
    }
  }

  /** Sends a request; `undefined` where the connection ends before it is answered. */
  const ask = (request) =>
    new Promise((resolve) => {
      if (socket?.readyState !== WebSocket.OPEN) return resolve(undefined)
      const id = ++lastId
      asked.set(id, resolve)
      socket.send(JSON.stringify({ ...request, request_id: id }))
    })

  return {
    connect,
    ask,

    /** Sends a request that somebody clicked for, and shows what came back. */
    request: async (title, request) => {
      const reply = await ask(request)
      if (reply === undefined) return undefined
      const isGood = reply.status < 400
      const wire = `→ ${JSON.stringify(request)}\n← ${JSON.stringify(reply)}`
      log(isGood ? "good" : "bad", `${title}: ${reasonsOf(reply.status, reply)}`, wire)
      if (reply.status === 403) on.denied?.()
      return isGood ? reply : undefined
    },

    signIn: async (name) => {
      leave()
      const response = await fetch(`${area}/login`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ name })
      }).catch(() => undefined)
      if (response === undefined) return end("The server cannot be reached")
      if (!response.ok) return end(`The login was refused: ${response.status} ${await response.text()}`)
      return connect()
    },

    /** The server closes the connections of the session, in this tab and in every other one. */
    signOut: async () => {
      const response = await fetch(`${area}/logout`, { method: "POST" }).catch(() => undefined)
      if (response === undefined) end("The server cannot be reached")
    }
  }
}

/** Buttons to sign in with. */
export const showUsers = (names, signIn) => {
  for (const name of names) {
    const button = element("button", { type: "button", textContent: `Log in as ${name}` })
    button.onclick = () => signIn(name)
    $("users").append(button)
  }
}

/** What the server says that somebody is. */
export const showPerson = (person) => {
  if (person === undefined) {
    $("me").replaceChildren()
  } else {
    const roles = person.roles.map((role) => element("span", { className: "chip", textContent: role }))
    $("me").replaceChildren(element("strong", { textContent: person.name }), ...roles)
    if (roles.length === 0) $("me").append(element("span", { className: "soft", textContent: "no roles" }))
  }
}
