/**
 * `/items/`, `/itemlist/` and `/item/:pk/`: the generic handlers of the original, in routes and as a consumer's own actions.
 */
import { Consumer, Handlers, Pagination, Resource } from "@effect-channels/core"
import { Items } from "../models.ts"
import { AnyPk } from "../schemas.ts"

/** `unknownParameters`: what the original does not know in a query string, it ignores. */
const lenient = { repository: Items, param: "pk", unknownParameters: "ignore" } as const

/** `PageNumberPagination` with `page_size = 10` */
const pages = Pagination.pageNumber({ size: 10 })

/** ... and with `page_size_query_param = "page_size"`, `max_page_size = 100` */
const sizedPages = Pagination.pageNumber({ size: 10, sizeParameter: "page_size", maxSize: 100 })

const ItemResource = Resource.make("items", { ...lenient, pagination: pages })

const listAndCreate = { ...lenient, actions: ["list", "create"] } as const

const Sized = Resource.make("sized", { ...listAndCreate, pagination: sizedPages })

/** `LimitOffsetPagination` with `default_limit = 10` */
const Limited = Resource.make("limit", { ...listAndCreate, pagination: Pagination.limitOffset({ limit: 10 }) })

/** `filter_backends = (SearchFilter,)`, `search_fields = ("title",)` */
const Filtered = Resource.make("filtered", { ...listAndCreate, pagination: pages, search: ["title"] })

export const ItemsConsumer = Consumer.make("items", { path: "/items/" }).pipe(
  Consumer.add(
    ...Resource.routes(ItemResource, "items/"),
    ...Resource.routes(Sized, "sized/"),
    ...Resource.routes(Limited, "limit/"),
    ...Resource.routes(Filtered, "filtered/")
  )
)

export const ItemsConsumerLive = Consumer.handlers(ItemsConsumer).pipe(
  Resource.handle(ItemResource),
  Resource.handle(Sized),
  Resource.handle(Limited),
  Resource.handle(Filtered),
  Handlers.toLayer
)

/** `ListCreateAPIActionHandler` as a consumer. */
export const ItemList = Consumer.make("itemlist", { path: "/itemlist/" }).pipe(
  Consumer.add(...Resource.collection(Sized))
)

export const ItemListLive = Consumer.handlers(ItemList).pipe(Resource.handle(Sized), Handlers.toLayer)

/** `RetrieveUpdateDestroyAPIActionHandler` as a consumer: the key is in the path of its connection. */
const OneItem = Resource.make("item", {
  ...lenient,
  actions: ["retrieve", "update", "partial_update", "destroy"]
})

export const ItemConsumer = Consumer.make("item", { path: "/item/:pk/", params: { pk: AnyPk } }).pipe(
  Consumer.add(...Resource.object(OneItem))
)

export const ItemConsumerLive = Consumer.handlers(ItemConsumer).pipe(Resource.handle(OneItem), Handlers.toLayer)
