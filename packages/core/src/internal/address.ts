/**
 * Network addresses as clients are counted by them.
 */

/** What a client is counted by: an IPv6 address by its /64 network, one that stands for an IPv4 address by that. */
export const countedAs = (said: string | undefined): string => {
  if (said === undefined) return "unknown"
  const zone = said.indexOf("%")
  const address = (zone < 0 ? said : said.slice(0, zone)).trim().toLowerCase()
  if (address === "") return "unknown"
  const groups = address.includes(":") ? groupsOf(address) : undefined
  if (groups === undefined) return address
  const isMapped = groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)
  return isMapped
    ? groups.slice(6).flatMap((group) => [group >> 8, group & 0xff]).join(".")
    : `${groups.slice(0, 4).map((group) => group.toString(16)).join(":")}::/64`
}

/** The eight numbers of an IPv6 address, `undefined` where it is none. */
const groupsOf = (address: string): ReadonlyArray<number> | undefined => {
  const halves = address.replace(dotted, hexadecimal).split("::")
  if (halves.length > 2) return undefined
  const head = half(halves[0]!)
  const tail = halves.length === 1 ? [] : half(halves[1]!)
  if (head === undefined || tail === undefined) return undefined
  const left = 8 - head.length - tail.length
  if (halves.length === 1 ? left !== 0 : left < 1) return undefined
  return [...head, ...Array<number>(left).fill(0), ...tail]
}

const half = (text: string): ReadonlyArray<number> | undefined => {
  if (text === "") return []
  const numbers: Array<number> = []
  for (const part of text.split(":")) {
    if (!/^[0-9a-f]{1,4}$/.test(part)) return undefined
    numbers.push(Number.parseInt(part, 16))
  }
  return numbers
}

/** The end of an IPv6 address that is written as in IPv4. */
const dotted = /:(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/

const hexadecimal = (_: string, a: string, b: string, c: string, d: string): string =>
  [a, b, c, d].map(Number).some((byte) => byte > 255)
    ? "?"
    : `:${(Number(a) * 256 + Number(b)).toString(16)}:${(Number(c) * 256 + Number(d)).toString(16)}`
