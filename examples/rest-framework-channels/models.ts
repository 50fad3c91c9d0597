/**
 * The models of the original's tests, and the rows of its fixtures.
 */
import { Repository } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

const text = (max: number) => Schema.Trim.check(Schema.isMinLength(1), Schema.isMaxLength(max))

/** The model `Item`, and its `ModelSerializer`. */
export class Item extends Schema.Class<Item>("Item")({
  id: Schema.Int,
  title: text(255),
  content: text(1024),
  quantity: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0)))
}) {}

/** `Item.objects` */
export class Items extends Repository.Service<Items>()("app/Items", { schema: Item, key: "id" }) {}

/** A model with a `ForeignKey` to its user. */
export class Owned extends Schema.Class<Owned>("Owned")({
  id: Schema.Int,
  title: text(255),
  user: Schema.Int
}) {}

/** `Owned.objects` */
export class OwnedRows extends Repository.Service<OwnedRows>()("app/OwnedRows", { schema: Owned, key: "id" }) {}

const item = (id: number) => new Item({ id, title: `Title${id}`, content: `Content${id}`, quantity: id })

/** In memory; in a database they are with `SqlRepository.layer`, and nothing else changes. */
export const ModelsLive = Layer.mergeAll(
  Items.layerMemory(Array.from({ length: 25 }, (_, i) => item(i + 1))),
  OwnedRows.layerMemory([
    new Owned({ id: 1, title: "of alice", user: 1 }),
    new Owned({ id: 2, title: "of bob", user: 2 })
  ])
)
