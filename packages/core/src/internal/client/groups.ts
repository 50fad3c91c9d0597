/**
 * Where a client is in the histories of its groups, and who is in them: what it has heard of that, over all connections.
 */
import type * as Codec from "../../Codec.ts"
import { canonical } from "../channels.ts"

/** A member of a group, as the protocol says it. */
export interface Member {
  readonly id: string
  readonly data: unknown
}

/** A group with its parameters. */
export interface Place {
  readonly group: string
  /** A JSON value. */
  readonly params: unknown
  /** Its position in the history, up to which everything has been heard. */
  position: string | undefined
  /** Who is in it; `undefined` while that is not known. */
  present: ReadonlyMap<string, Member> | undefined
}

/** So many groups are known at once. */
const most = 1000

/** The groups of one client. */
export class Groups {
  readonly #places = new Map<string, Place>()

  /** Takes note of an event. */
  take(event: Codec.Event): void {
    if (event.type.startsWith("$")) this.#takeOwn(event.type, event.data)
    else if (event.id !== undefined && event.group !== undefined) {
      this.#place(event.group, event.params).position = event.id
    }
  }

  #takeOwn(type: string, body: unknown): void {
    const said = ownOf(body)
    if (said === undefined) return
    const { group, params } = said
    const place = this.#place(group, params)
    if (type === "$left") {
      // Its position stays: whoever may be there again goes on where they were.
      place.present = undefined
      return
    }
    if (said.id !== undefined) place.position = said.id
    if (type === "$joined") place.present = new Map(said.present.map((member) => [member.id, member]))
    if (type === "$presence") {
      const present = new Map(place.present ?? [])
      for (const member of said.joined) present.set(member.id, member)
      for (const { id } of said.left) present.delete(id)
      place.present = present
    }
  }

  #place(group: string, params: unknown): Place {
    const key = keyOf(group, params)
    const place = this.#places.get(key) ?? { group, params, position: undefined, present: undefined }
    // The last one that was heard of comes last; of those that were not heard of for long nothing is kept.
    this.#places.delete(key)
    this.#places.set(key, place)
    if (this.#places.size > most) this.#places.delete(this.#places.keys().next().value!)
    return place
  }

  /** Nobody is known to be anywhere while there is no connection. */
  disconnected(): void {
    for (const place of this.#places.values()) place.present = undefined
  }

  /** A group with these parameters as canonical JSON; the only one of this name that it is in, where they are `undefined`. */
  find(group: string, params: string | undefined): Place | undefined {
    if (params !== undefined) return this.#places.get(`${group}:${params}`)
    return Array.from(this.#places.values()).find((place) => place.group === group && place.present !== undefined)
  }

  /** Whether it has a position in a group of this name. */
  has(group: string): boolean {
    return Array.from(this.#places.values()).some((place) => place.group === group && place.position !== undefined)
  }

  /** The positions in groups of these names, the last that were heard of first, for the query string of the URL that it connects with. */
  after(isReplayed: (group: string) => boolean): ReadonlyArray<string> {
    return Array.from(this.#places.values()).reverse().flatMap(({ group, params, position }) =>
      position === undefined || !isReplayed(group) ? [] : [`${group}:${canonical(params)}:${position}`]
    )
  }
}

const keyOf = (group: string, params: unknown): string => `${group}:${canonical(params)}`

/** What an event of the protocol says of a group. */
export interface Said {
  readonly group: string
  readonly params: unknown
  readonly state: string | undefined
  readonly id: string | undefined
  readonly present: ReadonlyArray<Member>
  readonly joined: ReadonlyArray<Member>
  readonly left: ReadonlyArray<Member>
  readonly errors: ReadonlyArray<unknown>
}

/** Reads it; `undefined` where it is none. */
export const ownOf = (body: unknown): Said | undefined => {
  if (typeof body !== "object" || body === null) return undefined
  const { errors, group, id, joined, left, params, present, state } = body as Readonly<Record<string, unknown>>
  if (typeof group !== "string") return undefined
  return {
    group,
    params: params ?? {},
    state: typeof state === "string" ? state : undefined,
    id: typeof id === "string" ? id : undefined,
    present: membersOf(present),
    joined: membersOf(joined),
    left: membersOf(left),
    errors: Array.isArray(errors) ? errors : []
  }
}

const membersOf = (members: unknown): ReadonlyArray<Member> =>
  Array.isArray(members)
    ? members.flatMap((member: unknown) => {
      if (typeof member !== "object" || member === null) return []
      const { data, id } = member as Readonly<Record<string, unknown>>
      return typeof id === "string" ? [{ id, data }] : []
    })
    : []
