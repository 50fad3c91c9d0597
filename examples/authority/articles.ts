/**
 * Where the articles are kept: in memory here, in a database in earnest.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Article, NoSuchArticle } from "./contract.ts"

export class Articles extends Context.Service<Articles, {
  readonly all: Effect.Effect<ReadonlyArray<Article>>
  readonly find: (id: number) => Effect.Effect<Article, NoSuchArticle>
  readonly create: (article: Omit<Article, "id">) => Effect.Effect<Article>
  readonly edit: (article: Article, text: string) => Effect.Effect<Article>
}>()("authority/Articles") {
  static readonly layer = Layer.sync(this, () => {
    const articles = new Map<number, Article>()
    const save = (article: Article) => {
      articles.set(article.id, article)
      return article
    }
    const create = (article: Omit<Article, "id">) => save(new Article({ ...article, id: articles.size + 1 }))
    create({ author: "alice", title: "Bridge reopens", text: "The old bridge is open again after two years of works." })
    create({ author: "carol", title: "From the editor", text: "A word on who may write here, and who may not." })
    return Articles.of({
      all: Effect.sync(() => Array.from(articles.values())),
      find: (id) =>
        Effect.suspend(() => {
          const article = articles.get(id)
          return article === undefined ? Effect.fail(new NoSuchArticle({ id })) : Effect.succeed(article)
        }),
      create: (article) => Effect.sync(() => create(article)),
      edit: (article, text) => Effect.sync(() => save(new Article({ ...article, text })))
    })
  })
}
