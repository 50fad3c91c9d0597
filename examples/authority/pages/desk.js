import { $, element, makeChannel, showPerson, showUsers } from "./channel.js"

const buttons = ["list", "proofread", "logout"].map($)

/** Without a connection there is nothing to click; with one there is everything, whatever somebody may. */
const enable = (isOpen) => {
  for (const button of [...buttons, ...$("publish").elements]) button.disabled = !isOpen
  for (const button of $("articles").querySelectorAll("button")) button.disabled = !isOpen
  $("reconnect").disabled = isOpen
}

const channel = makeChannel("/ws/desk/", "", {
  opened: () => {
    enable(true)
    whoami()
    list()
  },
  // What was known of oneself may be outdated.
  denied: () => whoami(),
  ended: () => {
    enable(false)
    showPerson(undefined)
  }
})

const whoami = async () => {
  const reply = await channel.ask({ action: "whoami" })
  if (reply?.status === 200) showPerson(reply.data)
}

const list = async () => show(await channel.ask({ action: "list" }))

const show = (reply) => {
  if (reply?.status === 200) $("articles").replaceChildren(...reply.data.map(itemOf))
}

const itemOf = ({ author, id, text, title }) => {
  const edit = element("button", { textContent: "Edit", ariaLabel: `Edit ${title}` })
  edit.onclick = async () => {
    const request = {
      action: "edit",
      route: `articles/${id}/`,
      data: { text: `Edited at ${new Date().toLocaleTimeString()}.` }
    }
    if (await channel.request(`edit “${title}”`, request)) list()
  }
  return element(
    "li",
    {},
    element(
      "div",
      {},
      element("strong", { textContent: title }),
      element("span", { className: "soft", textContent: ` by ${author}` }),
      element("p", { textContent: text })
    ),
    edit
  )
}

$("list").onclick = async () => show(await channel.request("list", { action: "list" }))

$("publish").onsubmit = async (event) => {
  event.preventDefault()
  const data = { title: $("title").value, text: "Nobody has written the text yet." }
  if (await channel.request("publish", { action: "publish", data })) list()
}

$("proofread").onclick = async () => {
  $("busy").hidden = false
  $("proofread").disabled = true
  await channel.request("proofread", { action: "proofread" })
  $("busy").hidden = true
  $("proofread").disabled = $("logout").disabled
}

$("reconnect").onclick = () => channel.connect()
$("logout").onclick = () => channel.signOut()
$("clear").onclick = () => $("log").replaceChildren()

showUsers(["alice", "bob", "carol"], channel.signIn)
enable(false)
// Another tab may have signed in.
channel.connect({ quiet: true })
