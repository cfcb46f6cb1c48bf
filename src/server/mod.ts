/**
 * The OpenAI-compatible server: a web handler over an engine and adapters.
 *
 * @module
 */
export { createApp } from "./app.ts";
export type { ServedModel, ServerDeps } from "./deps.ts";
