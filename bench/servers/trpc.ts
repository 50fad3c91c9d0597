/** tRPC over `ws`: a mutation whose input is validated by an Effect Schema, the user in the connection's context. */
import { initTRPC, TRPCError } from "@trpc/server"
import { applyWSSHandler } from "@trpc/server/adapters/ws"
import * as Schema from "effect/Schema"
import type { AddressInfo } from "node:net"
import { WebSocketServer } from "ws"
import { post, userOfUrl } from "./chat.ts"
import { report, wantedPort } from "./report.ts"

const t = initTRPC.context<{ readonly user: string }>().create()

const Post = Schema.Struct({ room: Schema.Int, text: Schema.String, count: Schema.Int })

const router = t.router({
  post: t.procedure
    .input(Schema.toStandardSchemaV1(Post))
    .mutation(({ ctx, input }) => post(ctx.user, input))
})

const wss = new WebSocketServer({ port: wantedPort, host: "127.0.0.1", perMessageDeflate: false })

applyWSSHandler({
  wss,
  router,
  createContext: ({ req }) => {
    const user = userOfUrl(req.url)
    if (user === undefined) throw new TRPCError({ code: "UNAUTHORIZED" })
    return { user }
  }
})

wss.on("listening", () => report((wss.address() as AddressInfo).port))
