/**
 * What every value of this library shares: `pipe`, and a readable `toString`, `toJSON` and Node inspection.
 */
import * as Inspectable from "effect/Inspectable"
import { Prototype } from "effect/Pipeable"

/** Builds the prototype of a pipeable, inspectable value; `describe` is what `toJSON` and inspection show. */
export const prototype = <Self>(typeId: string, describe: (self: Self) => unknown): object => ({
  ...Prototype,
  [typeId]: typeId,
  toJSON(this: Self) {
    return describe(this)
  },
  toString(this: Self) {
    const description = describe(this)
    return typeof description === "string" ? description : JSON.stringify(description, null, 2)
  },
  [Inspectable.NodeInspectSymbol](this: Self) {
    return describe(this)
  }
})

/** An instance of a prototype, with these own properties. */
export const make = <A extends object>(proto: object, fields: object): A => Object.assign(Object.create(proto), fields)
