/**
 * What the page shows: what was said, who is here, who types, and how it stands with the connection.
 */
import * as DateTime from "effect/DateTime"
import type { Member, Message, Person } from "../contract.ts"
import { element, find } from "./elements.ts"

/** How many lines the page shows. */
const shown = 200

// --- What was said --------------------------------------------------------------------------------------------------

const list = find("messages", HTMLOListElement)

const add = (item: HTMLLIElement) => {
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40
  list.append(item)
  while (list.children.length > shown) list.firstElementChild?.remove()
  if (isAtEnd) list.scrollTop = list.scrollHeight
}

export const clear = () => list.replaceChildren()

/** A line about the chat itself. */
export const note = (text: string, ...children: ReadonlyArray<Node>): HTMLLIElement => {
  const item = element("li", { className: "note" }, text, ...children)
  add(item)
  return item
}

export const message = (type: "posted" | "announced", { at, from, text }: typeof Message.Type, isOwn: boolean) =>
  add(element(
    "li",
    { className: isOwn ? `${type} own` : type },
    element("strong", { textContent: type === "announced" ? `${from} announces` : from }),
    element("time", {
      textContent: DateTime.toDate(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }),
      dateTime: DateTime.formatIso(at)
    }),
    element("span", { className: "text", textContent: text })
  ))

// --- Who is here ----------------------------------------------------------------------------------------------------

/** What can be done about somebody. */
export interface Deeds {
  readonly mute: (name: string, isMuted: boolean) => void
  readonly ban: (name: string) => void
}

/** Shows who is here, and who is not, but muted. Somebody may be here more than once. */
export const people = (
  present: ReadonlyArray<typeof Member.Type>,
  own: { readonly name: string; readonly me: Person | undefined },
  deeds: Deeds
) => {
  const byName = new Map(present.map((person) => [person.name, person]))
  const names = new Set([...byName.keys(), ...(own.me?.muted ?? [])])

  const button = (textContent: string, name: string, onclick: () => void) =>
    element("button", { type: "button", textContent, ariaLabel: `${textContent} ${name}`, onclick })

  const buttons = (name: string, isModerator: boolean | undefined): ReadonlyArray<HTMLButtonElement> => {
    if (name === own.name || own.me === undefined) return []
    const isMuted = own.me.muted.includes(name)
    return [
      button(isMuted ? "Unmute" : "Mute", name, () => deeds.mute(name, !isMuted)),
      ...(own.me.isModerator && isModerator === false ? [button("Ban", name, () => deeds.ban(name))] : [])
    ]
  }

  const item = (name: string) => {
    const person = byName.get(name)
    return element(
      "li",
      { className: person === undefined ? "away" : "" },
      element("span", { className: "name", textContent: name === own.name ? `${name} (you)` : name }),
      ...(person?.isModerator === true ? [element("span", { className: "chip", textContent: "moderator" })] : []),
      ...buttons(name, person?.isModerator)
    )
  }

  find("people", HTMLUListElement).replaceChildren(...[...names].sort().map(item))
}

export const typists = (names: ReadonlyArray<string>) => {
  find("typing", HTMLParagraphElement).textContent = names.length === 0
    ? ""
    : `${names.join(", ")} ${names.length === 1 ? "is" : "are"} typing`
}

// --- The connection -------------------------------------------------------------------------------------------------

/** The button that goes offline, and online again. */
export const lineButton = find("line", HTMLButtonElement)

const composer = find("composer", HTMLFormElement)
const inputs = [...composer.querySelectorAll("input"), ...composer.querySelectorAll("button")]

/** `open`: messages can be sent; `waiting`: soon, perhaps; `closed`: when somebody goes online again. */
export const status = (state: "open" | "waiting" | "closed", text: string, detail = "") => {
  const line = find("status", HTMLSpanElement)
  line.dataset["state"] = state
  line.textContent = text
  line.title = detail
  lineButton.textContent = state === "closed" ? "Go online" : "Go offline"
  for (const input of inputs) input.disabled = state !== "open"
}

// --- What is written ------------------------------------------------------------------------------------------------

const input = find("text", HTMLInputElement)
const announceButton = find("announce", HTMLButtonElement)

export const writing = {
  form: composer,
  input,
  announceButton,
  /** Takes what is written. */
  take: () => {
    const text = input.value
    input.value = ""
    return text
  },
  /** Gives it back, unless there is something else by now. */
  giveBack: (text: string) => {
    if (input.value === "") input.value = text
  }
}
