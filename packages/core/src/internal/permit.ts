/**
 * What guards something is required as a whole: a second permission as well as the first.
 */
import * as Permission from "../Permission.ts"
import * as Value from "./value.ts"

/** The permission of an expression. */
export const ofTree = (tree: Permission.Tree): Permission.Permission =>
  Value.make(Object.getPrototypeOf(Permission.allow), { tree })

/** What guards a consumer that says nothing: everybody, or what the settings of its server say. */
export const unsaid: Permission.Any = ofTree(Permission.allow.tree)

/** Both permissions; the second alone where the first is what everybody has. */
export const both = (first: Permission.Any, second: Permission.Any): Permission.Any =>
  first === Permission.allow || first === unsaid ? second : Permission.and(first, second)
