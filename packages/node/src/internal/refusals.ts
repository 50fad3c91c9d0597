/**
 * Refuses handshakes: with an HTTP answer, or, where the client has asked to be told, with an upgrade that only says why. A browser
 * shows a page nothing of the former.
 */
import * as Consumer from "@effect-channels/core/Consumer"
import type { HandshakeRefused } from "@effect-channels/core/Pipeline"
import * as Effect from "effect/Effect"
import type { Buffer } from "node:buffer"
import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import { type WebSocket, WebSocketServer } from "ws"
import * as Http from "./http.ts"

/** A client that was told has so long to answer the close frame, in milliseconds. */
const closeTimeout = 2000

/** Bytes of a message that such a client sends nevertheless: nobody reads it. */
const maxPayload = 64 * 1024

/** The handshakes that a server refuses. */
export class Refusals {
  #limit: number
  readonly #wss: WebSocketServer
  /** Those that have been told, and have not gone yet. */
  readonly #told = new Set<WebSocket>()
  #onGone: (() => void) | undefined

  /** So many clients are told at once; more are answered with HTTP, which holds nothing open. */
  constructor(limit: number) {
    this.#limit = limit
    const settings = {
      noServer: true,
      clientTracking: false,
      maxPayload,
      perMessageDeflate: false,
      closeTimeout,
      handleProtocols: () => Consumer.refusalsSubprotocol
    }
    this.#wss = new WebSocketServer(settings)
  }

  /** Ends an upgrade request that is refused; errors of its socket are heard by others. */
  refuse(refused: HandshakeRefused, request: IncomingMessage, socket: Socket, head: Buffer): void {
    if (this.#told.size < this.#limit && wantsToBeTold(request)) this.#tell(refused, request, socket, head)
    else Http.refuse(socket, refused)
  }

  #tell({ body, closeCode, reason }: HandshakeRefused, request: IncomingMessage, socket: Socket, head: Buffer): void {
    // One write for all of it.
    socket.cork()
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      this.#told.add(ws)
      ws.on("error", ignore)
      ws.on("close", () => {
        this.#told.delete(ws)
        if (this.#told.size === 0) this.#onGone?.()
      })
      ws.send(body)
      // It drops the socket when the client does not answer.
      ws.close(closeCode, reason)
      socket.resume()
    })
    socket.uncork()
  }

  /** Completes when all that were told have gone. */
  get gone(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.#told.size === 0) return resume(Effect.void)
      this.#onGone = () => resume(Effect.void)
    })
  }

  /** Drops those that have not gone yet, and tells nobody any more. */
  end(): void {
    this.#limit = 0
    for (const ws of this.#told) ws.terminate()
    this.#wss.close()
  }
}

/** Whether a client can and wants to be told. */
const wantsToBeTold = (request: IncomingMessage): boolean =>
  Http.offers(request, Consumer.refusalsSubprotocol) && Http.problemOf(request) === undefined

const ignore = (): void => {}
