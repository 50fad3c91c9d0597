/**
 * What operators see of the connection to Redis.
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"

const connected = Metric.gauge("effect_channels_redis_connected", {
  description: "Whether Redis can be reached: 1 or 0"
})
const reconnects = Metric.counter("effect_channels_redis_reconnects_total", {
  description: "How often Redis was reached again after it was lost",
  incremental: true
})
const failed = Metric.counter("effect_channels_redis_failed_total", {
  description: "What was not done because Redis could not be reached, or refused it",
  incremental: true
})
const buffered = Metric.gauge("effect_channels_redis_buffered", {
  description: "Events that are kept until Redis can be reached again"
})
const dropped = Metric.counter("effect_channels_redis_dropped_total", {
  description:
    "What came to nothing, by why: the buffer was full, a history was cut off before it was read, or it was no message",
  incremental: true
})

/** Why something came to nothing. */
export type Why = "buffer_full" | "history_cut" | "no_message"

/** Writes the metrics of a layer. */
export class Metrics {
  readonly #context: Context.Context<never>

  constructor(context: Context.Context<never>) {
    this.#context = context
  }
  connected(is: boolean): void {
    connected.updateUnsafe(is ? 1 : 0, this.#context)
  }
  reconnected(): void {
    reconnects.updateUnsafe(1, this.#context)
  }
  failed(): void {
    failed.updateUnsafe(1, this.#context)
  }
  buffered(count: number): void {
    buffered.updateUnsafe(count, this.#context)
  }
  dropped(why: Why, count = 1): void {
    Metric.withAttributes(dropped, { why }).updateUnsafe(count, this.#context)
  }
}
