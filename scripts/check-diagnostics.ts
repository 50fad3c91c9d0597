/** Proves that the compiler is the one that `effect-tsgo patch` installs: an effect that nobody runs has to be an error. */
import { compile } from "./compile.ts"
import { report } from "./packages.ts"

const floating = `import * as Effect from "effect/Effect"\nexport const main = () => {\n  Effect.void\n}\n`
const { isOk, output } = compile("check-diagnostics", new Map([["floating.ts", floating]]), { rootDir: "." })

report(
  "Effect diagnostics",
  !isOk && output.includes("floatingEffect")
    ? []
    : [`tsc does not report them: run npx effect-tsgo patch\n${output}`]
)
