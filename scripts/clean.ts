/** Removes what `tsc -b` made, so that no module that was renamed or deleted stays in a package. */
import * as fs from "node:fs"
import * as path from "node:path"
import { packages } from "./packages.ts"

for (const { directory } of packages) fs.rmSync(path.join(directory, "dist"), { recursive: true, force: true })
