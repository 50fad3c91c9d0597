/**
 * `/testws/`: actions in routes with and without a permission, and an action of the consumer itself.
 */
import { Action, Consumer, Handlers, Route } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { IntPk, OptionalData } from "../schemas.ts"
import { isAuthenticated } from "../users.ts"

/** The keys of a request beside action, route, data and request_id: the `**kwargs` of the original. */
const Fields = Schema.Record(Schema.String, Schema.Json)

const ModelId = Schema.Union([Schema.String, Schema.Int])

// --- The actions. They are values: three routes can have them without inheriting anything.

const customAction = Action.make("your_custom_action", {
  payload: OptionalData,
  fields: Fields,
  success: Schema.Struct({ message: Schema.Json, model_id: ModelId, extra: Schema.Array(Schema.String) })
})

const docsExample = Action.make("docs_example", {
  success: Schema.Struct({ message: Schema.String, model_id: ModelId })
})

const syncAction = Action.make("sync_action", {
  success: Schema.Struct({ sync: Schema.Boolean, model_id: ModelId }),
  status: 202
})

const renamed = Action.make("renamed", { success: Schema.Struct({ called: Schema.String }) })

const parentAction = Action.make("parent_action", {
  payload: OptionalData,
  fields: Fields,
  success: Schema.Struct({ from: Schema.String, kwargs: Schema.Array(Schema.String) })
})

const actions = [customAction, docsExample, syncAction, renamed] as const

export const TestWs = Consumer.make("testws", { path: "/testws/" }).pipe(
  Consumer.add(
    Route.make("test_child_route/:pk/").pipe(Route.add(...actions), Route.permit(isAuthenticated)),
    Route.make("open_route/:pk/").pipe(Route.add(...actions)),
    Route.make("typed/:pk/", { pk: IntPk }).pipe(Route.add(...actions)),
    parentAction
  )
)

// --- The handlers. A function fits every route whose request has what it looks at.

interface WithPk {
  readonly params: { readonly pk: string | number }
}

interface WithBody {
  readonly payload: typeof OptionalData.Type
  readonly fields: typeof Fields.Type
}

const handleCustomAction = ({ fields, params, payload }: WithPk & WithBody) =>
  Effect.succeed({ message: messageOf(payload), model_id: params.pk, extra: Object.keys(fields).sort() })

const messageOf = (data: typeof OptionalData.Type): Schema.Json =>
  typeof data === "object" && data !== null && "message" in data ? data.message : null

const handleDocsExample = ({ params }: WithPk) =>
  Effect.succeed({ message: "your_custom_action will be handled", model_id: params.pk })

const handleSyncAction = ({ params }: WithPk) => Effect.succeed({ sync: true, model_id: params.pk })

// Its method has another name than the action in the original; here the two have nothing to do with each other anyway.
const handleRenamed = () => Effect.succeed({ called: "original_name" })

const handleParentAction = ({ fields, payload }: WithBody) =>
  Effect.succeed({
    from: "parent",
    kwargs: [...Object.keys(fields), ...(payload === undefined ? [] : ["data"])].sort()
  })

export const TestWsLive = Consumer.handlers(TestWs).pipe(
  Handlers.handle("test_child_route/:pk/", "your_custom_action", handleCustomAction),
  Handlers.handle("test_child_route/:pk/", "docs_example", handleDocsExample),
  Handlers.handle("test_child_route/:pk/", "sync_action", handleSyncAction),
  Handlers.handle("test_child_route/:pk/", "renamed", handleRenamed),
  Handlers.handle("open_route/:pk/", "your_custom_action", handleCustomAction),
  Handlers.handle("open_route/:pk/", "docs_example", handleDocsExample),
  Handlers.handle("open_route/:pk/", "sync_action", handleSyncAction),
  Handlers.handle("open_route/:pk/", "renamed", handleRenamed),
  Handlers.handle("typed/:pk/", "your_custom_action", handleCustomAction),
  Handlers.handle("typed/:pk/", "docs_example", handleDocsExample),
  Handlers.handle("typed/:pk/", "sync_action", handleSyncAction),
  Handlers.handle("typed/:pk/", "renamed", handleRenamed),
  Handlers.handle("parent_action", handleParentAction),
  Handlers.toLayer
)
