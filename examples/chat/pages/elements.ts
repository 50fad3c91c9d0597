/**
 * The elements of the page, and what people do with them.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** An element that chat.html has. */
export const find = <E extends HTMLElement>(id: string, type: new() => E): E => {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`There is no ${type.name} "${id}" in the page`)
  return found
}

/** Makes an element; text is always set as text. */
export const element = <Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Partial<HTMLElementTagNameMap[Tag]> = {},
  ...children: ReadonlyArray<Node | string>
): HTMLElementTagNameMap[Tag] => {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

/** Does something whenever something happens to an element, as long as the scope is open. */
export const on = (
  target: HTMLElement,
  type: keyof HTMLElementEventMap,
  react: () => void
): Effect.Effect<void, never, Scope.Scope> => {
  const listener = (event: Event) => {
    // A form would load another page.
    event.preventDefault()
    react()
  }
  return Effect.acquireRelease(
    Effect.sync(() => target.addEventListener(type, listener)),
    () => Effect.sync(() => target.removeEventListener(type, listener))
  )
}
