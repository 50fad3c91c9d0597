/**
 * What guards something is required as a whole: a second permission as well as the first.
 */
import * as Permission from "../Permission.ts"

/** Both permissions; the second alone where the first is what everybody has. */
export const both = (first: Permission.Any, second: Permission.Any): Permission.Any =>
  first === Permission.allow ? second : Permission.and(first, second)
