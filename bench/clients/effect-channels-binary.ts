/** Ours, with binary frames. */
import { BinaryCodec } from "@effect-channels/core"
import { serve } from "./serve.ts"
import { typed } from "./typed.ts"

void serve(typed(BinaryCodec.codec))
