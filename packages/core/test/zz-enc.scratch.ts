import * as Schema from "effect/Schema"
import * as Exit from "effect/Exit"
import { encoder } from "../src/internal/encoding.ts"
class Task extends Schema.Class<Task>("Task")({ id: Schema.Int, title: Schema.String, done: Schema.Boolean, priority: Schema.Int, ownerId: Schema.Int, shared: Schema.Boolean, createdAt: Schema.Date }) {}
const page = Schema.Struct({ count: Schema.Int, next: Schema.NullOr(Schema.String), previous: Schema.NullOr(Schema.String), results: Schema.Array(Task) })
const rows = Array.from({ length: 100 }, (_, i) => new Task({ id: i, title: "task " + i + " read the minutes of the meeting", done: i % 2 === 0, priority: i % 5, ownerId: 1, shared: false, createdAt: new Date(1e12 + i * 1e6) }))
const value = { count: 1000, next: "tasks/?page=2", previous: null, results: rows }
const slow = Schema.encodeUnknownEffect(Schema.toCodecJson(page)) as any
const fast = encoder(page) as any
console.log(JSON.stringify((slow(value) as any).value) === JSON.stringify((fast(value) as any).value))
const time = (name: string, f: () => void) => { for (let i = 0; i < 2000; i++) f(); const t = performance.now(); for (let i = 0; i < 3000; i++) f(); console.log(name, ((performance.now() - t) / 3000 * 1000).toFixed(1), "µs") }
for (let k = 0; k < 2; k++) {
  time("slow", () => slow(value)); time("fast", () => fast(value)); time("stringify", () => JSON.stringify(fast(value).value)); time("iso", () => rows.map((r) => r.createdAt.toISOString()))
  time("construct", () => rows.map((r) => new Task(r as any))); time("construct unchecked", () => rows.map((r) => new Task(r as any, { disableChecks: true })))
}
const trusted = (Task.ast as any).encoding[0].transformation.decode.transform
console.log(trusted(rows[0]) instanceof Task, trusted({ ...rows[0] }))
for (let k = 0; k < 2; k++) {
time("trusted", () => rows.map((r) => trusted({ ...r })))
time("spread", () => rows.map((r) => ({ ...r })))
time("create", () => rows.map((r) => Object.assign(Object.create(Task.prototype), { ...r })))
}

import { isoOf } from "../src/internal/iso.ts"
for (let i = 0; i < 3e6; i++) { const ms = Math.floor(-62167219200000 + Math.random() * (253402300799999 + 62167219200000)); if (isoOf(ms) !== new Date(ms).toISOString()) throw new Error(String(ms)) }
for (const ms of [-62167219200000, 253402300799999, 0, -1]) console.log(isoOf(ms) === new Date(ms).toISOString())
console.log(isoOf(-62167219200001), isoOf(253402300800000), isoOf(NaN), isoOf(1.5))
