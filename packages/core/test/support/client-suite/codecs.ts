/**
 * The codecs that the suite of the client is run by.
 */
import { BinaryCodec, Codec } from "@effect-channels/core"

export const codecs: ReadonlyArray<Codec.Codec> = [Codec.json, BinaryCodec.codec]
