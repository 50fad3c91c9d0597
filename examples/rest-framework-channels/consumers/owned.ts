/**
 * `/owned/`: object permissions. Those of the original decide after its handlers have run; here nothing is written before.
 */
import { Check, Consumer, Handlers, Permission, Resource } from "@effect-channels/core"
import { type Owned, OwnedRows } from "../models.ts"
import { CurrentUser, isAuthenticated } from "../users.ts"

/** `obj.user == request.user` */
export const isOwner = Check.isOwner<Owned>()(CurrentUser, { object: "user", user: "id" })

const ofOwner = {
  repository: OwnedRows,
  param: "pk",
  actions: ["retrieve", "update", "partial_update", "destroy"]
} as const

/** `permission_classes = (IsAuthenticated & IsOwner,)` */
const OwnedResource = Resource.make("owned", ofOwner).pipe(Resource.permit(Permission.and(isAuthenticated, isOwner)))

/** `IsOwnerOrReadOnly` */
const Readable = Resource.make("readable", ofOwner).pipe(
  Resource.permit(["update", "partial_update", "destroy"], isOwner)
)

export const OwnedConsumer = Consumer.make("owned", { path: "/owned/" }).pipe(
  Consumer.add(...Resource.routes(OwnedResource, "owned/"), ...Resource.routes(Readable, "readable/"))
)

export const OwnedConsumerLive = Consumer.handlers(OwnedConsumer).pipe(
  Resource.handle(OwnedResource),
  Resource.handle(Readable),
  Handlers.toLayer
)
