/**
 * JSON values as bytes. What is written is what `JSON.stringify` would write, and what is read is what `JSON.parse` would give: the
 * same value, in fewer bytes.
 *
 * It knows nothing of schemas. What `SchemaBinary` makes of one is as small, and made a little faster, but spells a hash of five bytes
 * for each field, cannot do some schemas, and says of a value that does not fit something else than JSON does. It also trusts the
 * counts of arrays that are not there: three kilobytes of them, nested, hold a server up for seconds with a gigabyte of memory.
 *
 * How each value is written is said in the README of this package, under "Binary frames", for whoever speaks it without this library.
 */
export { type Read, read } from "./compact-reader.ts"
export { write } from "./compact-writer.ts"
