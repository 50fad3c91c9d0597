import { ChannelLayer } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import { channelLayerSuite } from "./support/channel-layers.ts"

channelLayerSuite("in memory", {
  nodes: (count) => Effect.map(ChannelLayer.makeMemory, (layer) => Array.from({ length: count }, () => layer)),
  isRemote: false
})
