/**
 * Who there is and what they may: in memory here, in a database in earnest.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { NoSuchPerson, Person, type Role } from "./contract.ts"

export class People extends Context.Service<People, {
  readonly all: Effect.Effect<ReadonlyArray<Person>>
  readonly find: (name: string) => Effect.Effect<Person, NoSuchPerson>
  readonly grant: (name: string, role: Role) => Effect.Effect<Person, NoSuchPerson>
  readonly revoke: (name: string, role: Role) => Effect.Effect<Person, NoSuchPerson>
  readonly suspend: (name: string) => Effect.Effect<Person, NoSuchPerson>
  readonly reinstate: (name: string) => Effect.Effect<Person, NoSuchPerson>
}>()("authority/People") {
  static readonly layer = Layer.sync(this, () => {
    const people = new Map<string, Person>()
    const save = (person: Person) => {
      people.set(person.name, person)
      return person
    }
    save(new Person({ name: "alice", roles: ["editor", "reader"], suspended: false }))
    save(new Person({ name: "bob", roles: ["reader"], suspended: false }))
    save(new Person({ name: "carol", roles: ["admin"], suspended: false }))
    const find = (name: string) =>
      Effect.suspend(() => {
        const person = people.get(name)
        return person === undefined ? Effect.fail(new NoSuchPerson({ name })) : Effect.succeed(person)
      })
    const change = (name: string, change: (person: Person) => Partial<Person>) =>
      Effect.map(find(name), (person) => save(new Person({ ...person, ...change(person) })))
    return People.of({
      all: Effect.sync(() => Array.from(people.values())),
      find,
      grant: (name, role) => change(name, ({ roles }) => ({ roles: [...new Set([...roles, role])] })),
      revoke: (name, role) => change(name, ({ roles }) => ({ roles: roles.filter((one) => one !== role) })),
      suspend: (name) => change(name, () => ({ suspended: true })),
      reinstate: (name) => change(name, () => ({ suspended: false }))
    })
  })
}
