/**
 * The page: the tasks of a board in three columns, and in a list; all that changes, changes here at once.
 */
import { makeConnection, reasonsOf } from "./wire.js"

const $ = (id) => document.getElementById(id)

/** Makes an element; text is always set as text. */
const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

const people = ["alice", "bob", "carol", "dave"]
const statuses = ["open", "doing", "done"]

/** Who this tab is, and which board it shows: the fragment of its URL says so. */
let me
let connection
/** The board itself, once it is known. */
let board
/** What there is to see, by its key: what the live queries have told. */
const tasks = new Map()
const members = new Map()
/** The route of the page that the list shows, and of those next to it. */
let page = { route: "tasks/", next: null, previous: null }

const note = (text) => {
  $("note").textContent = text
  $("note").hidden = text === ""
}

// --- What is told ---------------------------------------------------------------------------------------------------

/** What a live query tells, in a map by key. */
const collect = (map, show) => (change) => {
  if (change.type === "snapshot") {
    map.clear()
    for (const object of change.results) map.set(object.id, object)
  } else if (change.type === "removed") map.delete(change.key)
  else map.set(change.object.id, change.object)
  show()
}

const chip = (textContent) => element("span", { className: "chip", textContent })

const buttonFor = (textContent, title, onclick) =>
  element("button", { type: "button", textContent, ariaLabel: `${textContent} ${title}`, onclick })

/** A task with all that can be done with it. Who may do that, is for the server to say. */
const itemOf = (task) => {
  const at = statuses.indexOf(task.status)
  const moves = [at - 1, at + 1].filter((to) => to in statuses).map((to) =>
    element("button", {
      type: "button",
      textContent: to < at ? `← ${statuses[to]}` : `${statuses[to]} →`,
      ariaLabel: `Move ${task.title} to ${statuses[to]}`,
      onclick: () => move(task, statuses[to])
    })
  )
  return element(
    "li",
    { className: "task" },
    element("span", { className: "title", textContent: task.title }),
    element(
      "div",
      { className: "row" },
      ...(task.assignee === null ? [] : [chip(task.assignee)]),
      ...(task.isPrivate ? [chip("private")] : []),
      element("span", { className: "soft", textContent: `by ${task.owner}` })
    ),
    element(
      "div",
      { className: "row" },
      ...moves,
      buttonFor("Edit", task.title, () => edit(task)),
      buttonFor("Delete", task.title, () => destroy(task))
    )
  )
}

const showTasks = () => {
  // Whoever is at a button stays at it.
  const at = document.activeElement?.ariaLabel
  const sorted = [...tasks.values()].sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.id - b.id)
  for (const status of statuses) {
    $(status).replaceChildren(...sorted.filter((task) => task.status === status).map(itemOf))
  }
  for (const button of $("columns").querySelectorAll("button")) if (button.ariaLabel === at) button.focus()
  if (!$("list").hidden) void list(page.route)
}

const memberNames = () => [board?.owner, ...Array.from(members.values(), ({ name }) => name)].filter(Boolean).sort()

const showMembers = () => {
  const names = memberNames()
  $("members").replaceChildren(...names.map((name) =>
    element(
      "li",
      {},
      name === board?.owner ? `${name} (owner)` : name,
      ...(name === board?.owner ? [] : [buttonFor("Dismiss", name, () => ask("dismiss", "members/", { name }))])
    )
  ))
  $("guests").replaceChildren(
    ...people.filter((name) => !names.includes(name)).map((name) =>
      element("button", {
        type: "button",
        textContent: `Invite ${name}`,
        onclick: () => ask("invite", "members/", { name })
      })
    )
  )
  choices($("assignee"), "nobody", names)
  choices($("edit-assignee"), "nobody", names)
  choices($("of-assignee"), "of everybody", names)
}

/** Offers names, and keeps what was chosen. */
const choices = (select, nobody, names) => {
  const { value } = select
  select.replaceChildren(
    element("option", { value: "", textContent: nobody }),
    ...names.map((name) => element("option", { value: name, textContent: name }))
  )
  select.value = names.includes(value) ? value : ""
}

// --- What is done ---------------------------------------------------------------------------------------------------

/** Asks, and shows why not, if so. */
const ask = async (action, route, data) => {
  const reply = await connection.ask({ action, route, data })
  if (reply === undefined) return undefined
  note(reply.status < 400 ? "" : reasonsOf(reply))
  return reply
}

const routeOf = ({ id }) => `tasks/${id}/`

const isStale = (reply) => reply?.errors?.[0]?.code === "stale_version"

/** The task as it is now. */
const newer = async (task) => (await connection.ask({ action: "retrieve", route: routeOf(task) }))?.data

/** By the version that is shown: if somebody was faster, theirs is the one that counts. */
const move = async (task, status) => {
  const reply = await ask("partial_update", routeOf(task), { status, version: task.version })
  if (!isStale(reply)) return
  const now = await newer(task)
  if (now) collect(tasks, showTasks)({ type: "updated", object: now })
  note(`${task.title} has been changed meanwhile: here it is as it is now`)
}

const destroy = (task) => ask("destroy", routeOf(task))

$("add").onsubmit = async (event) => {
  event.preventDefault()
  const data = {
    title: $("title").value,
    assignee: $("assignee").value || null,
    isPrivate: $("private").checked
  }
  $("add").reset()
  const reply = await ask("create", "tasks/", data)
  if (reply?.status === 201) return
  if (reply?.status === 409) note(`There is another task of this title. (${reasonsOf(reply)})`)
  // Whoever types the next one already goes on with that.
  if ($("title").value === "") $("title").value = data.title
}

/** The task in the form, by the version that was read when it was opened. */
let edited

const fill = (task) => {
  edited = task
  $("edit-title").value = task.title
  $("edit-status").value = task.status
  $("edit-assignee").value = task.assignee ?? ""
  $("edit-private").checked = task.isPrivate
}

const edit = (task) => {
  $("edit-note").textContent = ""
  fill(task)
  $("edit").showModal()
}

$("edit-form").onsubmit = async (event) => {
  event.preventDefault()
  const data = {
    title: $("edit-title").value,
    status: $("edit-status").value,
    assignee: $("edit-assignee").value || null,
    isPrivate: $("edit-private").checked,
    version: edited.version
  }
  const reply = await connection.ask({ action: "update", route: routeOf(edited), data })
  if (reply === undefined || reply.status < 400) return $("edit").close()
  $("edit-note").textContent = reasonsOf(reply)
  if (!isStale(reply)) return
  const now = await newer(edited)
  if (!now) return
  fill(now)
  $("edit-note").textContent =
    "Somebody else has changed this task meanwhile. Here it is as it is now: change it again."
}

$("edit-cancel").onclick = () => $("edit").close()

// --- The list -------------------------------------------------------------------------------------------------------

/** Shows the page of a route: the first one of a query, or one that the server has named. */
const list = async (route) => {
  page = { ...page, route }
  const reply = await connection.ask({ action: "list", route })
  if (reply === undefined || route !== page.route) return
  // The cursors of a server that has been started anew are others.
  if (reply.status === 400 && route !== firstPage()) return list(firstPage())
  if (reply.status !== 200) return note(reasonsOf(reply))
  const { next, previous, results } = reply.data
  page = { route, next, previous }
  $("page").replaceChildren(...results.map(itemOf))
  $("next").disabled = next === null
  $("previous").disabled = previous === null
}

const firstPage = () => {
  const query = new URLSearchParams({ ordering: $("ordering").value })
  if ($("search").value !== "") query.set("search", $("search").value)
  if ($("of-status").value !== "") query.set("status", $("of-status").value)
  if ($("of-assignee").value !== "") query.set("assignee", $("of-assignee").value)
  return `tasks/?${query}`
}

$("query").oninput = () => void list(firstPage())
$("query").onsubmit = (event) => event.preventDefault()
$("next").onclick = () => void list(page.next)
$("previous").onclick = () => void list(page.previous)

const view = (name) => {
  $("columns").hidden = name !== "board"
  $("list").hidden = name !== "list"
  $("as-board").ariaPressed = String(name === "board")
  $("as-list").ariaPressed = String(name === "list")
  if (name === "list") void list(firstPage())
}

$("as-board").onclick = () => view("board")
$("as-list").onclick = () => view("list")

// --- Who, and where -------------------------------------------------------------------------------------------------

const showStatus = (state, text) => {
  $("status").dataset.state = state
  $("status").replaceChildren(text)
  if (state === "closed") {
    const again = element("button", { type: "button", textContent: "Try again", onclick: () => connection.open() })
    $("status").append(" ", again)
    // Nothing is left of what may not be seen any more.
    tasks.clear()
    members.clear()
    board = undefined
    $("edit").close()
    $("page").replaceChildren()
    showTasks()
    showMembers()
  }
  for (const form of [$("add"), $("query"), $("edit-form")]) {
    for (const control of form.elements) control.disabled = state !== "open"
  }
}

/** A name is all it takes. */
const login = async () => {
  const response = await fetch("/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name: me.name })
  }).catch(() => undefined)
  if (response === undefined || response.status >= 500) return {}
  if (!response.ok) return { refused: await response.text() }
  const { boards, token } = await response.json()
  $("boards").replaceChildren(
    ...boards.map(({ id, title }) =>
      element("a", { href: `#${me.name}/${id}`, textContent: title, ariaCurrent: id === me.board ? "page" : null })
    )
  )
  return { token }
}

const opened = async () => {
  connection.subscribe("tasks/", collect(tasks, showTasks), (reply) => note(reasonsOf(reply)))
  connection.subscribe("members/", collect(members, showMembers), (reply) => note(reasonsOf(reply)))
  const reply = await connection.ask({ action: "board" })
  if (reply?.status !== 200) return
  board = reply.data
  showMembers()
}

const start = () => {
  connection?.close("not logged in")
  const [, name, id = "website"] = /^#([a-z]+)(?:\/([a-z0-9-]+))?$/.exec(location.hash) ?? []
  me = name === undefined ? undefined : { name, board: id }
  $("who").textContent = name ?? ""
  $("boards").replaceChildren()
  note("")
  $("login").hidden = name !== undefined
  $("main").hidden = name === undefined
  if (name === undefined) return showStatus("none", "not logged in")
  connection = makeConnection({ path: `/ws/boards/${id}/`, login, on: { status: showStatus, open: opened } })
  void connection.open()
}

addEventListener("hashchange", start)
start()
