/**
 * Run by npm around `npm pack` and `npm publish`, in the package's folder. `prepare` moves the fields of `publishConfig`
 * that npm itself does not apply (`exports`) to where they belong, `restore` puts the package.json of development back.
 * If a pack was interrupted, the next one finds the backup and begins by restoring it.
 */
import * as fs from "node:fs"

const manifest = "package.json"
const backup = ".package.json.backup"

const published = (development: string): string => {
  const { publishConfig: { exports, ...publishConfig }, ...json } = JSON.parse(development)
  return `${JSON.stringify({ ...json, exports, publishConfig }, undefined, 2)}\n`
}

const fail = (message: string): never => {
  console.error(`${process.cwd()}: ${message}`)
  return process.exit(1)
}

const restore = () => fs.renameSync(backup, manifest)

switch (process.argv[2]) {
  case "prepare": {
    if (fs.existsSync(backup)) {
      if (fs.readFileSync(manifest, "utf8") !== published(fs.readFileSync(backup, "utf8"))) {
        fail(
          `${backup} is left over from an interrupted pack and ${manifest} was edited since: keep one, delete the other`
        )
      }
      restore()
    }
    for (const file of ["dist/index.js", "dist/index.d.ts", "README.md", "LICENSE"]) {
      if (!fs.existsSync(file)) fail(`${file} is missing${file.startsWith("dist") ? ": run npm run build" : ""}`)
    }
    const development = fs.readFileSync(manifest, "utf8")
    fs.writeFileSync(backup, development, { flush: true })
    fs.writeFileSync(manifest, published(development))
    break
  }
  case "restore": {
    if (!fs.existsSync(backup)) fail(`${backup} is missing: ${manifest} cannot be restored`)
    restore()
    break
  }
  default:
    fail("usage: pack.ts prepare | restore")
}
