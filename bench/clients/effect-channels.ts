/** Ours, as it is. */
import { serve } from "./serve.ts"
import { typed } from "./typed.ts"

void serve(typed())
