/**
 * Packs every package as npm would publish it, and looks at the result as its users will: publint, attw, a TypeScript
 * program and a Node program that import every module of it.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { type Package, packages, report, root, sources } from "./packages.ts"

const problems: Array<string> = []
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), "packages-"))
const modules = path.join(temporary, "node_modules")

const run = (command: string, args: ReadonlyArray<string>, cwd: string): string =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

const attempt = (what: string, command: string, args: ReadonlyArray<string>, cwd: string) => {
  try {
    run(command, args, cwd)
    console.log(`${what}: ok`)
  } catch (error) {
    problems.push(`${what}: failed\n${(error as { stdout?: string }).stdout ?? error}`)
  }
}

const pack = (self: Package): string => {
  const manifest = path.join(self.directory, "package.json")
  const before = fs.readFileSync(manifest, "utf8")
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", temporary], self.directory))
  if (fs.readFileSync(manifest, "utf8") !== before) problems.push(`${self.name}: package.json was not restored`)

  const files: ReadonlyArray<string> = packed.files.map((file: { readonly path: string }) => file.path)
  const modules = sources(self).map((file) => file.slice(0, -".ts".length))
  const expected = [
    "LICENSE",
    "README.md",
    "package.json",
    ...modules.flatMap((name) => [
      `src/${name}.ts`,
      ...[".js", ".js.map", ".d.ts", ".d.ts.map"].map((extension) => `dist/${name}${extension}`)
    ])
  ]
  for (const file of expected) if (!files.includes(file)) problems.push(`${self.name}: ${file} is not in the package`)
  for (const file of files) {
    if (!expected.includes(file) && file !== "CHANGELOG.md") problems.push(`${self.name}: ${file} is in the package`)
  }
  console.log(`${packed.filename}: ${files.length} files, ${(packed.size / 1000).toFixed(0)} kB`)
  return path.join(temporary, packed.filename)
}

// The tarball as it lies in the node_modules of a user, beside the other dependencies of this repository
const install = (self: Package, tarball: string) => {
  const target = path.join(modules, self.name)
  fs.mkdirSync(target, { recursive: true })
  run("tar", ["-xzf", tarball, "-C", target, "--strip-components=1"], temporary)
}
const link = (folder: string) => {
  fs.mkdirSync(path.join(modules, folder), { recursive: true })
  for (const name of fs.readdirSync(path.join(root, "node_modules", folder))) {
    const target = path.join(root, "node_modules", folder, name)
    if (name.startsWith(".") || packages.some((self) => fs.realpathSync(target) === self.directory)) continue
    if (folder === "" && name.startsWith("@")) link(name)
    else fs.symlinkSync(target, path.join(modules, folder, name))
  }
}

const publicModules = (self: Package): ReadonlyArray<string> =>
  sources(self)
    .filter((file) => !file.startsWith("internal/"))
    .map((file) => file === "index.ts" ? self.name : `${self.name}/${file.slice(0, -".ts".length)}`)

try {
  run("npm", ["run", "build"], root)
  link("")
  for (const self of packages) {
    const tarball = pack(self)
    attempt(`publint ${self.name}`, "publint", ["run", tarball, "--strict"], root)
    attempt(`attw ${self.name}`, "attw", [tarball, "--profile", "esm-only"], root)
    install(self, tarball)
  }

  const imports = packages.flatMap(publicModules)
  fs.writeFileSync(path.join(temporary, "package.json"), `{ "type": "module" }`)
  fs.writeFileSync(
    path.join(temporary, "user.ts"),
    imports.map((specifier, i) => `export * as module${i} from "${specifier}"\n`).join("")
  )
  fs.writeFileSync(
    path.join(temporary, "user.js"),
    `import assert from "node:assert"
for (const specifier of ${JSON.stringify(imports)}) {
  assert(import.meta.resolve(specifier).endsWith(".js"), specifier)
  const exported = Object.keys(await import(specifier))
  if (specifier.split("/").length === 2) assert(exported.length > 0, specifier + " exports nothing")
}
for (const name of ${JSON.stringify(packages.map((self) => self.name))}) {
  assert.throws(() => import.meta.resolve(name + "/internal/any"), { code: "ERR_PACKAGE_PATH_NOT_EXPORTED" })
}
`
  )
  attempt("a program in JavaScript", process.execPath, ["user.js"], temporary)
  attempt(
    "a program in TypeScript",
    "tsc",
    ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--types", "node", "user.ts"],
    temporary
  )
} finally {
  fs.rmSync(temporary, { recursive: true })
}

report("packages", problems)
