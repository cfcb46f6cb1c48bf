/**
 * The OpenAI-compatible server: a web handler over an engine and adapters.
 *
 * @module
 */
export type { Access } from "./access.ts";
export { createApp } from "./app.ts";
export type { ServedModel, ServerDeps } from "./deps.ts";
export { defaultLimits, type ServerLimits } from "./limits.ts";
export { type OpenRequest, OpenRequests } from "./open_requests.ts";
