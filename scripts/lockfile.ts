/**
 * Keeps package-lock.json installable everywhere. npm leaves out of it the platform packages (`@oxlint/binding-darwin-arm64`
 * and its like) that the registry at hand could not serve, and `npm ci` then refuses the whole file. This puts them back,
 * and drops download addresses. `--check` only tells.
 */
import * as fs from "node:fs"

interface LockedPackage {
  readonly version?: string
  readonly resolved?: string | undefined
  readonly link?: boolean
  readonly dev?: boolean | undefined
  readonly optional?: boolean
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly os?: ReadonlyArray<string>
  readonly cpu?: ReadonlyArray<string>
  readonly libc?: ReadonlyArray<string> | undefined
}

const file = new URL("../package-lock.json", import.meta.url)
const lock: { packages: Record<string, LockedPackage> } = JSON.parse(fs.readFileSync(file, "utf8"))
const problems: Array<string> = []

const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"]

// "@dprint/linux-x64-musl" → os linux, cpu x64, libc musl
const platform = (name: string): LockedPackage => {
  const words = name.split(/[-/]/)
  const at = words.findIndex((word) => systems.includes(word))
  if (at < 0) throw new Error(`cannot tell the platform of ${name}`)
  const [os, cpu, abi] = words.slice(at) as [string, string, string?]
  const libc = abi?.startsWith("musl") ? "musl" : abi === "glibc" || abi?.startsWith("gnu") ? "glibc" : undefined
  return { cpu: [cpu], libc: libc === undefined ? undefined : [libc], os: [os] }
}

for (const [path, entry] of Object.entries(lock.packages)) {
  if (entry.resolved !== undefined && entry.link !== true) {
    problems.push(`${path}: names a download address`)
    lock.packages[path] = { ...entry, resolved: undefined }
  }
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const places = [`${path}/node_modules/${name}`, `node_modules/${name}`]
    if (!/^\d/.test(version) || places.some((place) => place in lock.packages)) continue
    problems.push(`${name}@${version}: missing`)
    lock.packages[`node_modules/${name}`] = { version, dev: entry.dev, optional: true, ...platform(name) }
  }
}

if (problems.length > 0) {
  console.log(problems.join("\n"))
  if (process.argv.includes("--check")) {
    console.error("package-lock.json is incomplete: run npm run lockfile")
    process.exit(1)
  }
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, "en")))
  fs.writeFileSync(file, `${JSON.stringify(lock, undefined, 2)}\n`)
}
