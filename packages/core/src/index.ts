// @barrel: Auto-generated exports. Do not edit manually.

/**
 * A named operation: what it takes, what it answers with, how it can fail, and who may ask for it.
 *
 * @since 0.1.0
 */
export * as Action from "./Action.ts"

/**
 * Who is behind a connection.
 *
 * An application names its identity with {@link Service}, and says with a layer how a handshake is turned into one. The
 * identity is found out before the connection is upgraded, and comes from its handshake. A connection without credentials is
 * anonymous; invalid credentials refuse the handshake with status 401.
 *
 * An identity may expire: then the connection is closed with 4401, unless its client has sent newer credentials with the
 * reserved action `$authenticate`, see {@link Scheme}. No other message has a say in who is behind a connection.
 *
 * @since 0.1.0
 */
export * as Authentication from "./Authentication.ts"

/**
 * Grants on a live socket: what a connection may do is decided anew when the facts change.
 *
 * Somebody who changes the facts (takes a role away, ends a session) says so with {@link invalidate}, from a handler, an HTTP
 * route or a fiber of its own. Then, for each connection that is meant:
 *
 * - Who is behind it is found out anew, where the scheme of its identity can `refresh`.
 * - The checks of the connection are asked again: what they said before is forgotten.
 * - Whoever lost the permission to connect is closed with 4403 and the reason; whose credentials no longer hold, with 4401.
 * - An action that runs, and would be denied now, is interrupted and answered with 403 `permission_lost`. A stream stops where it is
 *   while that is decided: it goes on, or ends in the same way; a live query of a resource is told what has come and gone.
 * - Objects that guard the handshake are loaded anew (`Consumer.permitConnectObject`).
 *
 * **Bound.** When `invalidate` has completed, no message is handled any more, and no reply leaves, by what was decided before:
 * the connection waits until its checks have answered. Messages that arrive meanwhile are kept, and then decided by the new
 * facts. It takes as long as the checks and `refresh` take, and no longer than `Settings.redecisionTimeout` (10 seconds by
 * default): then the connection is closed with 1013, and may connect again.
 *
 * @since 0.1.0
 */
export * as Authority from "./Authority.ts"

/**
 * Binary frames, the subprotocol `effect-channels.binary`: what `Codec.json` says in text, mostly in a half to a tenth of the bytes.
 * Every server speaks it besides JSON, so that a client has but to ask for it.
 *
 * A frame is the request, reply or event of the JSON protocol as bytes: keys are said once and not with each object of a list, those
 * of the protocol itself not at all; numbers, instants, UUIDs and bytes are what they are, not their text. What a schema makes of a
 * value is its JSON form here as well, so that both subprotocols say the same, whatever the schema, and contracts evolve in the same
 * way: by the names of their fields.
 *
 * @since 0.1.0
 */
export * as BinaryCodec from "./BinaryCodec.ts"

/**
 * The errors which effect-channels itself raises, each with the status and code that a client sees.
 *
 * A declared error of an action is any other `Schema` error; its status is its `httpApiStatus` annotation.
 *
 * @since 0.1.0
 */
export * as ChannelError from "./ChannelError.ts"

/**
 * Holds the groups of connections, and carries events to them: in one process ({@link layerMemory}), or across many (the
 * package `@effect-channels/redis`).
 *
 * Events can be sent from anywhere, not only from a connection: a handler, an HTTP route, a fiber of its own.
 *
 * **What is promised.** An event reaches every member that is in the group when it is sent, at most once, and the events of one
 * sender to one group in the order in which they were sent. Members of the sender's process are served at once. Across processes
 * see the layer. A group with a history keeps its last events, gives each a position, and one order for everybody: whoever comes
 * back with the last position they have seen gets what they have missed, or is told that there is a gap.
 *
 * @since 0.1.0
 */
export * as ChannelLayer from "./ChannelLayer.ts"

/**
 * Checks that many applications need, ready to be combined with their own.
 *
 * | check | phase | allows |
 * | --- | --- | --- |
 * | {@link isAuthenticated} | connection | who has an identity |
 * | {@link isAnonymous} | connection | who has none |
 * | {@link hasRole} | connection | users with a role |
 * | {@link hasScope} | connection | users whose credentials have a scope |
 * | {@link sameOrigin} | connection | the server's own pages, and clients that are no pages |
 * | {@link actionIn} | action | some actions |
 * | {@link readOnly} | action | the actions that change nothing |
 * | {@link between} | action | a span of time |
 * | {@link isOwner} | object | the user that the object belongs to |
 *
 * Checks of the connection are decided once, and again when authority changes; the others on every message.
 *
 * @since 0.1.0
 */
export * as Check from "./Check.ts"

/**
 * The typed client of a consumer, made of its contract alone: in Node from version 22 on, in pages and in workers.
 *
 * Every action is a function, typed by its payload, its success and the errors that it can fail with; every event is a `Stream`.
 * The client connects when it is first used, and again whenever the connection is lost: then it joins its groups where it was, is
 * sent what it has missed, and says so.
 *
 * **Example** (A room)
 *
 * ```ts
 * import { Action, Client, Consumer, Event, Group } from "@effect-channels/core"
 * import * as Console from "effect/Console"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 * import * as Stream from "effect/Stream"
 *
 * const Room = Group.make("room", { room: Schema.String }).pipe(Group.history({ count: 100, age: "1 hour" }))
 * const Posted = Event.make("posted", Schema.Struct({ text: Schema.String }))
 * const post = Action.make("post", { payload: { text: Schema.NonEmptyString }, success: Posted.data }).pipe(
 *   Action.broadcast(Room, Posted)
 * )
 * const Chat = Consumer.make("chat", { path: "/ws/rooms/:room/" }).pipe(
 *   Consumer.join(Room, ({ params }) => ({ room: params.room })),
 *   Consumer.push(Posted),
 *   Consumer.add(post)
 * )
 *
 * const program = Effect.gen(function*() {
 *   const chat = yield* Client.make(Chat, { url: "wss://chat.example.com", params: { room: "lobby" } })
 *   yield* chat.events("posted").pipe(
 *     Stream.runForEach(({ text }) => Console.log(text)),
 *     Effect.forkScoped
 *   )
 *   yield* chat.post({ text: "Hello" }).pipe(
 *     Effect.catchTag("PermissionDenied", ({ message }) => Console.log(`You may not: ${message}`))
 *   )
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 */
export * as Client from "./Client.ts"

/**
 * What can go wrong with a client, besides the errors of `ChannelError` and those that an action declares.
 *
 * @since 0.1.0
 */
export * as ClientError from "./ClientError.ts"

/**
 * How requests, replies and events become frames: a client and its server speak by one codec, which the client offers as a
 * subprotocol and the server chooses.
 *
 * {@link json} is there by default, and what every consumer speaks. `BinaryCodec` is more compact.
 *
 * @since 0.1.0
 */
export * as Codec from "./Codec.ts"

/**
 * What is known of a connection from its handshake.
 *
 * @since 0.1.0
 */
export * as ConnectionScope from "./ConnectionScope.ts"

/**
 * How a client comes to a connection: by the `WebSocket` of the platform ({@link webSocket}), or in another way, in memory for
 * tests say.
 *
 * @since 0.1.0
 */
export * as Connector from "./Connector.ts"

/**
 * The API behind one WebSocket path: a plain value, composed of actions, routes and permissions.
 *
 * @since 0.1.0
 */
export * as Consumer from "./Consumer.ts"

/**
 * Where a handshake carries its credentials. A browser cannot set the headers of a WebSocket: its pages send a cookie, a
 * subprotocol entry, or, where nothing else will do, a parameter of the URL.
 *
 * | source | the client sends | fit for |
 * | --- | --- | --- |
 * | {@link bearer} | `Authorization: Bearer TOKEN` | everything but browsers |
 * | {@link header} | a header of its own: `X-Api-Key: TOKEN` | everything but browsers |
 * | {@link cookie} | a cookie, by itself | pages of the same site; needs the origin check, which is on by default |
 * | {@link subprotocol} | `new WebSocket(url, ["effect-channels.json", "bearer.TOKEN"])` | pages of any site |
 * | {@link query} | `wss://host/ws/?token=TOKEN` | short-lived tokens: URLs end up in logs |
 *
 * @since 0.1.0
 */
export * as Credentials from "./Credentials.ts"

/**
 * What a permission comes to in one phase: Allow, Deny or Pending, and Failed where a check broke.
 *
 * Values combine as in Kleene's strong three-valued logic (S. C. Kleene, Introduction to Metamathematics, §64), with
 * Pending as the unknown that a later phase resolves, and Failed as an unknown that nothing resolves any more. So a
 * failure never turns into Allow, under `not` neither, and never hides an answer that holds whatever the failed check
 * would have said: `or(allow, failed)` is Allow, `and(deny, failed)` is Deny, everything else that depends on the failed
 * check is Failed. (Where a failed and a pending check stand in one expression it may be Pending first, and Failed after the
 * last phase: neither allows.)
 *
 * @since 0.1.0
 */
export * as Decision from "./Decision.ts"

/**
 * A typed message that the server sends without being asked: what it carries, who may receive it, and what becomes of it when a
 * client does not read fast enough.
 *
 * A consumer says with `Consumer.push` which events its clients can receive: no others reach them.
 *
 * @since 0.1.0
 */
export * as Event from "./Event.ts"

/**
 * Which rows are meant: a boolean expression over the fields of a row, as plain data. One value is asked of a row in memory
 * ({@link matches}), and translated to the query of a database: both say the same.
 *
 * An expression is true or false, never unknown: a comparison with a field that is null (or left out, or `None`) is false, and
 * `not` makes true of it. Text is compared by its characters' code points, whatever the language; of upper and lower case only
 * the letters A to Z are known.
 *
 * @since 0.1.0
 */
export * as Filter from "./Filter.ts"

/**
 * A typed, named set of connections, which events are sent to as a whole: the room "lobby", the watchers of document 7.
 *
 * A group belongs to the consumers that declare it (`Consumer.join`, `Consumer.groups`): two consumers whose groups have the same
 * name and parameters do not hear each other, unless the group is {@link shared}.
 *
 * @since 0.1.0
 */
export * as Group from "./Group.ts"

/**
 * The handlers of a consumer's actions, composed with `pipe` and checked against the consumer: a missing or surplus
 * handler, a wrong payload or result, or an error that was not declared does not compile.
 *
 * **Example** (A consumer and its handlers)
 *
 * ```ts
 * import { Action, Consumer, Handlers } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * const greet = Action.make("greet", { payload: { name: Schema.String }, success: Schema.String })
 * const Greeter = Consumer.make("greeter", { path: "/ws/" }).pipe(Consumer.add(greet))
 *
 * const GreeterLive = Consumer.handlers(Greeter).pipe(
 *   Handlers.handle("greet", ({ payload }) => Effect.succeed(`Hello ${payload.name}`)),
 *   Handlers.toLayer
 * )
 * ```
 *
 * @since 0.1.0
 */
export * as Handlers from "./Handlers.ts"

/**
 * What is done once for each key, however often it is asked for: a client that has lost its connection before the reply came may send
 * its request again, and is answered with what came of the first one.
 *
 * An action says that it is done so with `idempotent: "key"`; a request brings the key as `idempotency_key`, a string of 1 to 255
 * characters, any other one is refused with 400. A client makes one for each call, of which nobody can guess the next (a random UUID),
 * and sends it with every attempt. Without a key, such an action is handled as any other one.
 *
 * ```json
 * { "action": "pay", "data": { "cents": 500 }, "request_id": 7, "idempotency_key": "0f4a7c0e-4f4b-4f0e-9c0e-6f1d2c7b8a90" }
 * ```
 *
 * - **What is remembered**: a success, and a declared error, whatever its status. Every other failure (403, 408, 429, 499, 503, a
 *   defect, a permission that was lost) is not, and the next attempt is done anew; so it is where the event of a broadcast could not be
 *   written to the history of its group. What is remembered is so for as long as the setting `keepOutcomes` says, and as the
 *   {@link Store} has room.
 * - **Whose key it is**: a key is one of an action at a route (as it was sent, without its query), of a path of a consumer (as it was
 *   sent, without its query), and of who asks: of all users that the connection has. Nobody is ever given what others have asked for.
 *   Anonymous clients are not told apart, but by their keys, which they keep to themselves. Whoever authenticates between two attempts
 *   is somebody else. All identity services of the consumer must have a `key`: it does not start otherwise.
 * - **The same key with another request** (other data, fields, or another query) is refused with 422, `IdempotencyKeyReused`.
 * - **While the first attempt runs**, another one waits for its outcome, on whichever connection and server. It has a timeout of its own,
 *   and stands in the line of its connection meanwhile.
 * - **Who may**: each attempt is decided by the permissions of consumer, route and action, and its data is decoded, before anybody looks
 *   whether it is known. Throttles among them count each attempt: they are part of these permissions, and what is answered from memory
 *   is a message as well. What the permissions leave to the object was decided when it was done, and is not again: the object may be
 *   gone, because it was done.
 * - **What is done besides**: an attempt that is answered from memory sends no event. The event of the first one goes out once.
 * - **When the client goes away** in the middle, what has begun runs to its end, so that its outcome is there for the next attempt, and
 *   its event goes to the groups that the connection was in. Its timeout holds. The connection has left its groups and hears no more of
 *   `Authority.invalidate`; what came before that, and is not decided yet, is decided first. `$cancel`, a permission that is lost, a
 *   timeout, and a server that stops or closes the connection, end it as they end all else.
 * - **When a server dies** in the middle, the next attempt is done anew, as soon as the claim of the first one has expired
 *   ({@link Store}). It may have taken effect in part, or as a whole: what must not happen twice even so belongs into a transaction.
 * - **When the store is unavailable**, the answer is 503, and nothing is done. Where it becomes so while the handler runs, the outcome is
 *   answered, and not remembered.
 *
 * @since 0.1.0
 */
export * as Idempotency from "./Idempotency.ts"

/**
 * The groups that a connection is in, for its handlers: they have it join and leave.
 *
 * A connection leaves all of its groups when it ends. Which groups it can be in, its consumer declares (`Consumer.join`,
 * `Consumer.groups`); a handler that joins another one does not compile.
 *
 * **Example** (A handler that follows a document)
 *
 * ```ts
 * import { Action, Consumer, Group, Handlers, Membership } from "@effect-channels/core"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 *
 * const Document = Group.make("document", { id: Schema.Int })
 * const follow = Action.make("follow", { payload: { id: Schema.Int } })
 * const Documents = Consumer.make("documents", { path: "/ws/" }).pipe(Consumer.groups(Document), Consumer.add(follow))
 *
 * const DocumentsLive = Consumer.handlers(Documents).pipe(
 *   Handlers.handle("follow", ({ payload }) => Effect.asVoid(Membership.join(Document, { id: payload.id }))),
 *   Handlers.toLayer
 * )
 * ```
 *
 * @since 0.1.0
 */
export * as Membership from "./Membership.ts"

/**
 * How a list comes in pages: which parameters a client asks for one with, in the query string of the route, and what it gets.
 *
 * | pagination | a client asks with | and gets | its pages |
 * | --- | --- | --- | --- |
 * | {@link pageNumber} | `?page=2`, `?page=last` | {@link Page} | are counted, and move when rows come and go |
 * | {@link limitOffset} | `?limit=10&offset=20` | {@link Page} | likewise |
 * | {@link cursor} | `?cursor=...`, out of the page before | {@link CursorPage} | neither repeat nor leave out a row that stays |
 * | {@link none} | nothing | an array | is one |
 *
 * `next` and `previous` are routes, to be asked for as they are: the route of the request with the page's parameters
 * replaced, and all others as they were. They are null at the ends.
 *
 * The two first are those of Django REST framework, and count all rows for each page. A cursor costs the same on every page:
 * for what is long, or changes while it is read.
 *
 * @since 0.1.0
 */
export * as Pagination from "./Pagination.ts"

/**
 * Who may do what: a boolean expression over named checks, which can be printed, explained, tested, and decided phase by
 * phase.
 *
 * | check | may look at | decided |
 * | --- | --- | --- |
 * | {@link connection} | scope, identity | once per connection |
 * | {@link action} | + action, route, params | on every message, before the payload is decoded |
 * | {@link object}, {@link where} | + payload, the object | after the object is loaded, before the handler runs |
 * | {@link group} | scope, identity, the group's params | when a connection joins the group |
 * | {@link delivery} | the recipient's scope and identity, the event | for each recipient of an event |
 *
 * A phase hands what it could not decide, the residual, to the next one. What is still pending after the last phase is
 * denied. See `Decision` for how values combine, and what becomes of a check that fails.
 *
 * @since 0.1.0
 */
export * as Permission from "./Permission.ts"

/**
 * Runs consumers: decides over a handshake, then reads, decides and answers the messages of its connection.
 *
 * An adapter gives it handshakes and transports, see `@effect-channels/node`.
 *
 * @since 0.1.0
 */
export * as Pipeline from "./Pipeline.ts"

/**
 * The query string of a connection's URL or of a message's route, read by name.
 *
 * @since 0.1.0
 */
export * as Query from "./Query.ts"

/**
 * The envelope that answers one request, and the one place where the shape of its errors is made.
 *
 * @since 0.1.0
 */
export * as Reply from "./Reply.ts"

/**
 * Where the rows of a resource are kept. A repository is a service that an application names with {@link Service}; a layer says
 * where the rows are: in memory ({@link RepositoryClass.layerMemory}), or in a database (the package `@effect-channels/sql`).
 * Whatever else needs the rows, an HTTP route say, uses the same service.
 *
 * @since 0.1.0
 */
export * as Repository from "./Repository.ts"

/**
 * Ready-made actions over a repository: list, create, retrieve, update, partially update, destroy, and live queries. One value
 * says what its objects are and who may do what with them; it gives actions and routes for a consumer ({@link routes}), and their
 * handlers ({@link handle}).
 *
 * | the original's generic handler | `actions` |
 * | --- | --- |
 * | `CreateAPIActionHandler` | `["create"]` |
 * | `ListAPIActionHandler` | `["list"]` |
 * | `RetrieveAPIActionHandler` | `["retrieve"]` |
 * | `DestroyAPIActionHandler` | `["destroy"]` |
 * | `UpdateAPIActionHandler` | `["update", "partial_update"]` |
 * | `ListCreateAPIActionHandler` | `["list", "create"]` |
 * | `RetrieveUpdateAPIActionHandler` | `["retrieve", "update", "partial_update"]` |
 * | `RetrieveDestroyAPIActionHandler` | `["retrieve", "destroy"]` |
 * | `RetrieveUpdateDestroyAPIActionHandler` | `["retrieve", "update", "partial_update", "destroy"]` |
 *
 * | action | where | answers with | status |
 * | --- | --- | --- | --- |
 * | `list` | collection | a page of objects | 200 |
 * | `create` | collection | the new object | 201; 409 where another one has a value that each has its own of |
 * | `retrieve` | object | the object | 200 |
 * | `update` | object | the object; fields that have a default and are left out stay as they are | 200; 409 |
 * | `partial_update` | object | the object; fields that are left out stay as they are | 200; 409 |
 * | `destroy` | object | nothing | 204 |
 * | `subscribe` | both | the objects, and then their changes, as a stream; nothing at its end | 206; 200 at its end |
 * | `unsubscribe` | both | nothing | 204; 404 where nothing is subscribed to |
 *
 * An object that is not there is 404; one that the caller may not have is 403. The object is loaded, its permission decided, and
 * the change written in one transaction: a check that takes its time holds up whoever else wants to write the row, and in SQLite
 * everybody.
 *
 * @since 0.1.0
 */
export * as Resource from "./Resource.ts"

/**
 * A path pattern inside a consumer, with typed params, actions and further routes.
 *
 * @since 0.1.0
 */
export * as Route from "./Route.ts"

/**
 * Ready ways to find out who is behind a connection, for the layer of an identity service.
 *
 * | scheme | the credentials | renewed in band | decided anew on `Authority.invalidate` |
 * | --- | --- | --- | --- |
 * | {@link token} | a token that a function verifies | yes | with `refresh` |
 * | {@link session} | an opaque token that is looked up | yes | looks it up again |
 * | {@link apiKey} | one of some keys | yes | stays |
 * | `Jwt.scheme` of `@effect-channels/jwt` | a signed JSON Web Token | yes | with `refresh` |
 *
 * @since 0.1.0
 */
export * as Scheme from "./Scheme.ts"

/**
 * What a server does where a consumer says nothing: one reference for all of its consumers, as the settings module of Django
 * REST framework is for all of its views.
 *
 * | here | `REST_FRAMEWORK` / `REST_FRAMEWORK_CHANNELS` of the original |
 * | --- | --- |
 * | `permission` | `DEFAULT_PERMISSION_CLASSES` |
 * | `formatError` | `EXCEPTION_HANDLER` |
 * | `pageSize` | `PAGE_SIZE` |
 * | `maxPageSize` | `max_page_size` of a pagination class |
 * | `secret` | none: its cursors are not signed |
 * | `expiryGrace`, `redecisionTimeout`, `renewalsPerMinute` | none: the original decides once, and forgets |
 * | `keepOutcomes` | none: it does what it is sent as often as it is sent |
 *
 * @since 0.1.0
 */
export * as Settings from "./Settings.ts"

/**
 * Rate limits, as permissions: a throttle is a check that allows a request, or fails with `Throttled` (429, with
 * `retry_after`).
 *
 * | throttle | counts | of |
 * | --- | --- | --- |
 * | {@link perConnection} | messages | one connection |
 * | {@link perIdentity} | messages | one user, on all their connections; of an anonymous client, its address |
 * | {@link perAddress} | messages | one network address |
 * | {@link connectPerIdentity} | handshakes | one user |
 * | {@link connectPerAddress} | handshakes | one network address |
 *
 * - A request that is throttled is neither allowed nor denied: its check fails, so that `not` makes no Allow of it.
 * - A throttle counts a message once, and a handshake once, however often its permission is decided and the throttle stands
 *   in it. It counts what it is asked about: `or(isAdmin, throttle)` does not count the admins, and
 *   `and(isMember, throttle)` does not count those who are no members.
 * - Throttles of one kind, name and limit count together, wherever they stand: give them the same options. All others count
 *   each for themselves, so that a limit for a second and one for a day may have one name.
 * - All but {@link perConnection} keep their counts in the {@link Store}. When that is unavailable the request fails with
 *   503: nothing passes uncounted.
 *
 * @since 0.1.0
 */
export * as Throttle from "./Throttle.ts"

/**
 * How the pipeline speaks to one connection. An adapter makes one of what its platform has; {@link fromSocket} makes one of
 * any platform socket, {@link makeMemory} one for tests.
 *
 * @since 0.1.0
 */
export * as Transport from "./Transport.ts"
