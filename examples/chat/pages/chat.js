/**
 * The page: who is here, what was said, and what was missed.
 */
import { makeConnection, reasonsOf } from "./wire.js"

const $ = (id) => document.getElementById(id)

/** Makes an element; text is always set as text. */
const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

const rooms = ["lobby", "garden", "kitchen"]

/** How many lines the page shows. */
const shown = 200

/** What a reload of the tab does not change. What was said is the server's to keep. */
const load = (key) => JSON.parse(sessionStorage.getItem(key) ?? "null")
const save = (key, value) => sessionStorage.setItem(key, JSON.stringify(value))

/** Who has signed in: their name and token. */
let session = load("session")
let room = load("room") ?? rooms[0]
/** What the server says that they are: whom they have muted, whether they are a moderator. */
let me
let connection
/** The line over what was missed, and how much that is by now; as long as it comes. */
let missed
/** Who is in the room, by connection. */
const present = new Map()
/** Who types, and when they are taken to have stopped. */
const typists = new Map()

// --- What was said --------------------------------------------------------------------------------------------------

const add = (item) => {
  const list = $("messages")
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40
  list.append(item)
  while (list.children.length > shown) list.firstElementChild.remove()
  if (isAtEnd) list.scrollTop = list.scrollHeight
}

/** A line about the chat itself. */
const note = (text, ...children) => {
  const item = element("li", { className: "note" }, text, ...children)
  add(item)
  return item
}

const show = ({ data, type }) => {
  if (missed !== undefined) missed.count++
  const at = new Date(data.at)
  add(element(
    "li",
    { className: data.from === session.name ? `${type} own` : type },
    element("strong", { textContent: type === "announced" ? `${data.from} announces` : data.from }),
    element("time", {
      textContent: at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }),
      dateTime: data.at
    }),
    element("span", { className: "text", textContent: data.text })
  ))
}

// --- Who is here ----------------------------------------------------------------------------------------------------

const showPeople = () => {
  const people = new Map(Array.from(present.values(), (person) => [person.name, person]))
  const names = new Set([...people.keys(), ...(me?.muted ?? [])])
  $("people").replaceChildren(...[...names].sort().map((name) => personOf(name, people.get(name))))
}

const personOf = (name, person) => {
  const isMuted = me?.muted.includes(name) ?? false
  const button = (textContent, onclick) =>
    element("button", { type: "button", textContent, ariaLabel: `${textContent} ${name}`, onclick })
  return element(
    "li",
    { className: person === undefined ? "away" : "" },
    element("span", { className: "name", textContent: name === session.name ? `${name} (you)` : name }),
    ...(person?.isModerator ? [element("span", { className: "chip", textContent: "moderator" })] : []),
    ...(name === session.name
      ? []
      : [button(isMuted ? "Unmute" : "Mute", () => askMe(isMuted ? "unmute" : "mute", { name }))]),
    ...(me?.isModerator && person?.isModerator === false ? [button("Ban", () => ban(name))] : [])
  )
}

const showTypists = () => {
  const names = [...typists.keys()]
  $("typing").textContent = names.length === 0 ? "" : `${names.join(", ")} ${names.length === 1 ? "is" : "are"} typing`
}

const types = (name) => {
  stops(name)
  typists.set(name, setTimeout(() => stops(name), 4000))
  showTypists()
}

const stops = (name) => {
  clearTimeout(typists.get(name))
  typists.delete(name)
  showTypists()
}

const nobodyIsHere = () => {
  present.clear()
  for (const name of typists.keys()) stops(name)
  showPeople()
}

// --- What comes over the wire ---------------------------------------------------------------------------------------

const events = {
  $joined: ({ data: { present: people, state } }) => {
    present.clear()
    for (const { data, id } of people) present.set(id, data)
    showPeople()
    if (state === "gap") note("Gap: older messages are lost, the room keeps no more of them")
    if (state === "resumed") missed = { line: note("Catching up"), count: 0 }
    void askMe("me")
  },
  $caught_up: () => {
    if (missed === undefined) return
    const { count, line } = missed
    missed = undefined
    if (count === 0) line.textContent = "Back again: you missed nothing"
    else line.textContent = `You missed ${count} ${count === 1 ? "message" : "messages"}, and have caught up`
  },
  $presence: ({ data: { joined, left } }) => {
    for (const { data, id } of joined) present.set(id, data)
    for (const { id } of left) present.delete(id)
    showPeople()
  },
  /** The right to be here is gone: there is nothing to hear any more. */
  $left: ({ data: { errors }, status }) => connection.close(`You had to leave: ${reasonsOf(status, errors)}`),
  posted: (frame) => {
    stops(frame.data.from)
    show(frame)
  },
  announced: show,
  typing: ({ data }) => types(data.from)
}

const showStatus = (state, text) => {
  $("status").dataset.state = state
  $("status").textContent = text
  $("line").textContent = state === "closed" ? "Go online" : "Go offline"
  for (const input of $("composer").elements) input.disabled = state !== "open"
  if (state === "open") return
  missed?.line.remove()
  missed = undefined
  nobodyIsHere()
}

const enter = () => {
  connection?.close("")
  for (const button of $("rooms").children) button.ariaPressed = String(button.textContent === room)
  $("messages").replaceChildren()
  connection = makeConnection({
    room,
    token: session.token,
    on: { status: showStatus, event: (frame) => events[frame.type]?.(frame) }
  })
  connection.open()
}

// --- What people do -------------------------------------------------------------------------------------------------

/** Asks, and shows why not, if so. */
const ask = async (action, data) => {
  const reply = await connection.ask(action, data)
  if (reply === undefined || reply.status < 400) return reply
  note(reasonsOf(reply.status, reply.errors))
  return undefined
}

/** Asks for something that is answered with who I am by then. */
const askMe = async (action, data) => {
  const reply = await ask(action, data)
  if (reply === undefined) return
  me = reply.data
  $("announce").hidden = !me.isModerator
  showPeople()
}

const ban = async (name) => {
  if (await ask("ban", { name }) === undefined) return
  const back = element("button", { type: "button", textContent: `Let ${name} back in` })
  const line = note(`${name} is banned. `, back)
  back.onclick = async () => {
    if (await ask("unban", { name }) !== undefined) line.textContent = `${name} may come back`
  }
}

const post = (path, data, token) =>
  fetch(path, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` })
    },
    body: JSON.stringify(data)
  }).catch(() => undefined)

/** When the others were last told that one types. */
let toldAt = -Infinity

$("composer").onsubmit = async (event) => {
  event.preventDefault()
  toldAt = -Infinity
  const text = $("text").value
  $("text").value = ""
  if (await ask("post", { text }) === undefined && $("text").value === "") $("text").value = text
}

$("text").oninput = () => {
  if (performance.now() - toldAt < 2000) return
  toldAt = performance.now()
  connection.tell("typing")
}

/** Over HTTP, as a program without a connection would. */
$("announce").onclick = async () => {
  const text = $("text").value
  if (text === "") return
  const response = await post(`/rooms/${room}/announcements`, { text }, session.token)
  if (response?.ok) $("text").value = ""
  else note(`The announcement was refused: ${response?.status ?? "the server cannot be reached"}`)
}

$("line").onclick = () => {
  if ($("line").textContent === "Go online") connection.open()
  else connection.close("offline")
}

$("sign-in").onsubmit = async (event) => {
  event.preventDefault()
  const name = $("name").value
  const response = await post("/login", { name })
  if (response?.ok) {
    session = { name, token: (await response.json()).token }
    save("session", session)
    start()
  } else {
    $("refused").textContent = response?.status === 400
      ? "A name is of 1 to 20 letters, digits, - and _"
      : "The server cannot be reached"
  }
}

$("sign-out").onclick = () => {
  connection.close("not signed in")
  sessionStorage.clear()
  location.reload()
}

for (const name of rooms) {
  const button = element("button", { type: "button", textContent: name })
  button.onclick = () => {
    room = name
    save("room", room)
    enter()
  }
  $("rooms").append(button)
}

const start = () => {
  $("login").hidden = true
  $("chat").hidden = false
  enter()
  $("text").focus()
}

$("node").textContent = location.host
if (session !== null) start()
