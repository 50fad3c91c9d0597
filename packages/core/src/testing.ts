/**
 * What it takes to test consumers, and above all their permissions: connections in memory as a given identity, under the clock
 * of the test; decisions with their explanations; the laws of permissions, for the checks that you write yourself; the whole
 * authority of a consumer as one table.
 *
 * It needs no test runner: what is not as expected dies with an error that says what was.
 *
 * @since 0.1.0
 */
export {
  type Algebra,
  expressions,
  handshakes,
  messages,
  oneOf,
  permissions,
  scopes
} from "./internal/testing/arbitraries.ts"
export { client, type ClientOptions } from "./internal/testing/client.ts"
export {
  type Acting,
  anonymous,
  type Answer,
  as,
  type Client,
  connect,
  type Decided,
  layerAuthentication,
  type Options,
  Refused,
  type Request
} from "./internal/testing/connect.ts"
export { decide, expectAllowed, expectDenied, type Services, type Situation } from "./internal/testing/decide.ts"
export * as PermissionLaws from "./internal/testing/laws.ts"
export { type Matrix, matrix, type Sample } from "./internal/testing/matrix.ts"
