/** The application all the servers serve: who may connect, and what a post is answered with. */

export interface Post {
  readonly room: number
  readonly text: string
  readonly count: number
}

export interface Message extends Post {
  readonly id: number
  readonly author: string
}

const users = new Set(["alice", "bob"])

/** The known user a token names. Every server asks once per connection, during its handshake. */
export const userOf = (token: unknown): string | undefined =>
  typeof token === "string" && users.has(token) ? token : undefined

/** `userOf` for servers which see just the request's URL. */
export const userOfUrl = (url = "/"): string | undefined =>
  userOf(new URL(url, "http://localhost").searchParams.get("token"))

let lastId = 0

export const post = (author: string, { count, room, text }: Post): Message => ({
  id: ++lastId,
  room,
  text,
  count: count + 1,
  author
})

export interface Posted {
  readonly id: number
  readonly text: string
  readonly author: string
}

/** What is sent to everybody, where a post is for all. */
export const posted = (author: string, { text }: { readonly text: string }): Posted => ({ id: ++lastId, text, author })
