import { $, element, makeChannel, showPerson, showUsers } from "./channel.js"

const enable = (isOpen) => {
  for (const button of [$("logout"), ...$("explain").elements]) button.disabled = !isOpen
  for (const button of $("people").querySelectorAll("button")) button.disabled = !isOpen
  $("reconnect").disabled = isOpen
}

const channel = makeChannel("/ws/admin/", "/admin", {
  opened: async () => {
    enable(true)
    const [me, people, articles] = await Promise.all(
      ["whoami", "people", "list"].map((action) => channel.ask({ action }))
    )
    if (me?.status === 200) showPerson(me.data)
    if (people?.status === 200) showPeople(people.data)
    if (articles?.status === 200) {
      $("article").replaceChildren(
        ...articles.data.map(({ author, id, title }) =>
          element("option", { value: id, textContent: `${title} (${author})` })
        )
      )
    }
  },
  ended: () => {
    enable(false)
    showPerson(undefined)
  }
})

const showPeople = (people) => {
  $("people").replaceChildren(...people.map(itemOf))
  $("person").replaceChildren(...people.map(({ name }) => element("option", { value: name, textContent: name })))
}

const itemOf = (person) => {
  const { name, roles, suspended } = person
  const isEditor = roles.includes("editor")
  const button = (textContent, label, request) => {
    const made = element("button", { textContent, ariaLabel: label })
    made.onclick = async () => {
      const reply = await channel.request(label, { ...request, route: `people/${name}/` })
      if (reply === undefined) return
      const before = [...$("people").children].find((item) => item.dataset.name === name)
      before.replaceWith(itemOf(reply.data))
    }
    return made
  }
  const item = element(
    "li",
    {},
    element(
      "div",
      { className: "row" },
      element("strong", { textContent: name }),
      ...roles.map((role) => element("span", { className: "chip", textContent: role })),
      ...(suspended ? [element("span", { className: "chip off", textContent: "suspended" })] : [])
    ),
    element(
      "div",
      { className: "row" },
      isEditor
        ? button("Take editor", `Take editor from ${name}`, { action: "revoke", data: { role: "editor" } })
        : button("Give editor", `Give editor to ${name}`, { action: "grant", data: { role: "editor" } }),
      suspended
        ? button("Reinstate", `Reinstate ${name}`, { action: "reinstate" })
        : button("Suspend", `Suspend ${name}`, { action: "suspend" })
    )
  )
  item.dataset.name = name
  return item
}

/** The explanation of a permission, a line for each check, with the outcomes in colour. */
const tree = ({ explanation, permission }) => {
  const parts = explanation.split(/\b(Allow|Deny|Failed|Pending)\b/)
  const coloured = parts.map((part, i) =>
    i % 2 === 1 ? element("strong", { className: part, textContent: part }) : part
  )
  return [`${permission}\n\n`, ...coloured]
}

$("explain").onsubmit = async (event) => {
  event.preventDefault()
  const data = { name: $("person").value, article: Number($("article").value) }
  const reply = await channel.request(`explain ${data.name}, article ${data.article}`, { action: "explain", data })
  if (reply === undefined) return
  $("explanation").hidden = false
  $("explanation").replaceChildren(...tree(reply.data))
}

$("reconnect").onclick = () => channel.connect()
$("logout").onclick = () => channel.signOut()
$("clear").onclick = () => $("log").replaceChildren()

showUsers(["carol", "alice"], channel.signIn)
enable(false)
// Another tab may have signed in.
channel.connect({ quiet: true })
