/**
 * Whether a check is asked to be explained, and not to decide anything: then it must not have any effect.
 */
import * as Context from "effect/Context"

/** Set while permissions are explained. */
export const Explaining: Context.Reference<boolean> = Context.Reference<boolean>("effect-channels/Explaining", {
  defaultValue: () => false
})
