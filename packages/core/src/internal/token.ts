/**
 * The names of HTTP: of headers, cookies and subprotocols.
 */

/** Whether a text is a token (RFC 9110, 5.6.2). */
export const isToken = (text: string): boolean => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text)
