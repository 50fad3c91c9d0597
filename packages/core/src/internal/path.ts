/**
 * Path patterns: `messages/:id/`, matched whole and case-sensitively, a parameter for exactly one segment that is not
 * empty.
 */

/** The names of the parameters of a pattern. */
export type ParamNames<Pattern extends string> = string extends Pattern ? string
  : Pattern extends `${infer Head}/${infer Tail}` ? SegmentName<Head> | ParamNames<Tail>
  : SegmentName<Pattern>

type SegmentName<Segment extends string> = Segment extends `:${infer Name}` ? Name : never

/** The names of the parameters of a pattern, in their order. */
export const paramNames = (pattern: string): ReadonlyArray<string> =>
  pattern.split("/").filter((segment) => segment.startsWith(":")).map((segment) => segment.slice(1))

/** What is wrong with a pattern, or `undefined`. */
export const problem = (pattern: string): string | undefined => {
  if (pattern.includes("?")) return "it holds a \"?\": the query string is not part of the match"
  const names = paramNames(pattern)
  const invalid = names.find((name) => !/^[A-Za-z][A-Za-z0-9_]*$/.test(name))
  if (invalid !== undefined) {
    return `":${invalid}" is no parameter: a name starts with a letter, then letters, digits, "_"`
  }
  const repeated = names.find((name, i) => names.indexOf(name) !== i)
  return repeated === undefined ? undefined : `":${repeated}" stands in it twice`
}

/**
 * Whether a string can match both patterns, given by their segments, without one of them being the more specific one, segment by segment
 * (`items/new/` is more specific than `items/:id/`).
 */
export const isAmbiguous = (as: ReadonlyArray<string>, bs: ReadonlyArray<string>): boolean => {
  if (as.length !== bs.length) return false
  let aIsNarrower = false
  let bIsNarrower = false
  for (let i = 0; i < as.length; i++) {
    const aIsParam = as[i]!.startsWith(":")
    const bIsParam = bs[i]!.startsWith(":")
    if (!aIsParam && !bIsParam) {
      if (as[i] !== bs[i]) return false
    } else if (aIsParam !== bIsParam) {
      // A parameter does not match an empty segment.
      if ((aIsParam ? bs[i] : as[i]) === "") return false
      if (aIsParam) bIsNarrower = true
      else aIsNarrower = true
    }
  }
  return aIsNarrower === bIsNarrower
}

/** What a path matched: the value of its pattern, and the segments that stand for its parameters, in their order. */
export interface Match<A> {
  readonly value: A
  readonly params: ReadonlyArray<string>
}

interface Node<A> {
  readonly segments: Map<string, Node<A>>
  param: Node<A> | undefined
  value: { readonly value: A } | undefined
}

const noParams: ReadonlyArray<string> = Object.freeze([])

/** Patterns with values, as a tree of segments: matching takes as many steps as the path has segments. */
export class Router<A> {
  readonly #root: Node<A> = { segments: new Map(), param: undefined, value: undefined }
  readonly #exact = new Map<string, Match<A>>()
  /** The values, in the order in which they were added. */
  readonly values: Array<A> = []

  add(pattern: string, value: A): void {
    this.values.push(value)
    if (!pattern.includes(":")) this.#exact.set(pattern, { value, params: noParams })
    let node = this.#root
    for (const segment of pattern.split("/")) {
      let next = segment.startsWith(":") ? node.param : node.segments.get(segment)
      if (next === undefined) {
        next = { segments: new Map(), param: undefined, value: undefined }
        if (segment.startsWith(":")) node.param = next
        else node.segments.set(segment, next)
      }
      node = next
    }
    node.value = { value }
  }

  find(path: string): Match<A> | undefined {
    const exact = this.#exact.get(path)
    if (exact !== undefined) return exact
    const params: Array<string> = []
    const value = descend(this.#root, path, 0, params)
    return value === undefined ? undefined : { value: value.value, params }
  }
}

const descend = <A>(
  node: Node<A>,
  path: string,
  start: number,
  params: Array<string>
): { readonly value: A } | undefined => {
  const slash = path.indexOf("/", start)
  const segment = slash < 0 ? path.slice(start) : path.slice(start, slash)
  const named = node.segments.get(segment)
  if (named !== undefined) {
    const found = slash < 0 ? named.value : descend(named, path, slash + 1, params)
    if (found !== undefined) return found
  }
  if (node.param === undefined || segment === "") return undefined
  params.push(unescape(segment))
  const found = slash < 0 ? node.param.value : descend(node.param, path, slash + 1, params)
  if (found === undefined) params.pop()
  return found
}

/** Undoes percent-encoding, so that a parameter may hold a `/` or `?`; what is no valid escape stays as it was sent. */
const unescape = (segment: string): string => {
  if (!segment.includes("%")) return segment
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
