/**
 * What the actions do. The ones of the admin's side change the facts, and say so.
 */
import { Authentication, Authority, Consumer, Handlers, Permission, Query } from "@effect-channels/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Articles } from "./articles.ts"
import { authentication, cookies } from "./authentication.ts"
import { Admin, CurrentUser, Desk, mayEdit, mayEnter, type Person } from "./contract.ts"
import { People } from "./people.ts"

/** How long it takes to read everything once more. */
const proofreading = "30 seconds"

export const DeskLive = Consumer.handlers(Desk).pipe(
  Handlers.handle("whoami", () => CurrentUser),
  Handlers.handle("list", () => Articles.use((articles) => articles.all)),
  Handlers.handle("publish", ({ payload }) =>
    Effect.gen(function*() {
      const { name } = yield* CurrentUser
      const articles = yield* Articles
      return yield* articles.create({ ...payload, author: name })
    })),
  // Nothing here asks for permission again and again: whoever loses it meanwhile has the handler interrupted.
  Handlers.handle("proofread", () =>
    Effect.gen(function*() {
      yield* Effect.sleep(proofreading)
      const articles = yield* Articles.use((articles) => articles.all)
      return { articles: articles.length, words: articles.flatMap(({ text }) => text.split(/\s+/)).length }
    })),
  Handlers.handle("articles/:id/", "edit", {
    object: ({ params }) => Articles.use((articles) => articles.find(params.id)),
    run: ({ object, payload }) => Articles.use((articles) => articles.edit(object, payload.text))
  }),
  Handlers.toLayer,
  Layer.provide(authentication(cookies.desk))
)

/**
 * First the facts, then the news, and not the one without the other: an admin who goes away meanwhile interrupts neither. When
 * this has completed, no connection of theirs does anything by what was decided before.
 */
const announced = <E, R>(change: Effect.Effect<Person, E, R>) =>
  Effect.uninterruptible(
    Effect.tap(change, ({ name }) => Authority.invalidate(Authority.identity(CurrentUser, name)))
  )

/** All that somebody must have to edit an article: the permission to enter, and that of the action. */
const mayEnterAndEdit = Permission.and(mayEnter, mayEdit)

const person = ({ params }: { readonly params: { readonly name: string } }) =>
  People.use((people) => people.find(params.name))

export const AdminLive = Consumer.handlers(Admin).pipe(
  Handlers.handle("whoami", () => CurrentUser),
  Handlers.handle("list", () => Articles.use((articles) => articles.all)),
  Handlers.handle("people", () => People.use((people) => people.all)),
  Handlers.handle("explain", ({ payload }) =>
    Effect.gen(function*() {
      const person = yield* People.use((people) => people.find(payload.name))
      const article = yield* Articles.use((articles) => articles.find(payload.article))
      const explanation = yield* Permission.explain(mayEnterAndEdit, {
        phase: "object",
        action: "edit",
        route: `articles/${article.id}/`,
        params: { id: article.id },
        query: Query.empty,
        payload: undefined,
        object: article
      }).pipe(
        // The checks ask who is behind the connection: for them it is the other person.
        Effect.provideService(CurrentUser.identity, Authentication.authenticated(person))
      )
      return {
        permission: Permission.print(mayEnterAndEdit),
        explanation: Permission.printExplanation(explanation)
      }
    })),
  Handlers.handle("people/:name/", "grant", {
    object: person,
    run: ({ object, payload }) => announced(People.use((people) => people.grant(object.name, payload.role)))
  }),
  Handlers.handle("people/:name/", "revoke", {
    object: person,
    run: ({ object, payload }) => announced(People.use((people) => people.revoke(object.name, payload.role)))
  }),
  Handlers.handle("people/:name/", "suspend", {
    object: person,
    run: ({ object }) => announced(People.use((people) => people.suspend(object.name)))
  }),
  Handlers.handle("people/:name/", "reinstate", {
    object: person,
    run: ({ object }) => announced(People.use((people) => people.reinstate(object.name)))
  }),
  Handlers.toLayer,
  Layer.provide(authentication(cookies.admin))
)
