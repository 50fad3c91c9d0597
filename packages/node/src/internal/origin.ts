/**
 * Which pages may connect. A browser tells the origin of the page that opens a WebSocket and sends the user's cookies
 * along, whoever made the page: without a check any page could act as the user (RFC 6455, 10.2).
 */

/** Whether a handshake with these headers comes from a page that may connect, or from no page at all. */
export const isAllowed = (
  headers: Readonly<Record<string, string | Array<string> | undefined>>,
  allowed: ReadonlyArray<string>
): boolean => {
  const { host, origin } = headers
  if (typeof origin !== "string") return true
  if (allowed.includes(origin)) return true
  try {
    const page = new URL(origin)
    // A port that goes without saying may be said all the same, on either side.
    return typeof host === "string" && page.host !== "" && page.host === new URL(`${page.protocol}//${host}`).host
  } catch {
    return false
  }
}
