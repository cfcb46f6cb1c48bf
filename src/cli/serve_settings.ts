/**
 * The settings of `fourierft serve`.
 *
 * @module
 */
import { kvCacheDtypes } from "../../kernels/caches/mod.ts";
import { mostThreads } from "../device/cpu_team.ts";
import { deviceArgs, modelArgs } from "./open.ts";
import * as z from "zod";
import type { ObjectStoreOptions } from "../adapters/object_store.ts";
import type { Access, Auth, ServerLimits } from "../server/mod.ts";
import { choice, count, list, positive, type Setting, type SettingValues, text, toggle } from "./settings.ts";

/** Limits of the server: the option of each. */
const limitSettings = {
  "max-body-bytes": count({ description: "Bytes of a JSON body at most; default 4194304" }),
  "max-tensor-bytes": count({
    description: "Bytes of a safetensors body or answer at most; default 67108864",
  }),
  "max-body-memory": count({
    description: "Bytes that all bodies and tensors take together at most; default 268435456",
  }),
  "max-header-bytes": count({ description: "Bytes of an address and headers at most; default 65536" }),
  "max-requests": count({ description: "Requests for work that are open at most; default 2048" }),
  "max-messages": count({ description: "Messages of a chat at most; default 2048" }),
  "max-prompt-tokens": count({ description: "Tokens of a prompt at most; default: as the context allows" }),
  "max-sequences-per-request": count({
    description: "Prompts of a request, n times each, at most; default 1024",
  }),
  "tensor-runs": count({ description: "Products with adapters at once; default 1" }),
  "tensor-queue": count({ description: "Products with adapters that wait at most; default 16" }, {
    least: 0,
  }),
  "body-seconds": positive({
    description: "Seconds in which a body must arrive, and one more for each 64 KiB; default 30",
  }),
  "min-body-rate": count({ description: "Bytes of a body a second at least after that; default 65536" }),
  "reader-seconds": positive({
    description: "Seconds after which a reader that takes nothing is cut off; default 60",
  }),
  "request-seconds": positive({
    description: "Seconds from a request to the end of its answer; default 600",
  }),
  "queue-seconds": positive({
    description:
      "Seconds that a request may wait until a sequence of it runs; default: as the deadline allows",
  }),
};

const limitNames: Readonly<Record<keyof ServerLimits, keyof typeof limitSettings>> = {
  maxBodyBytes: "max-body-bytes",
  maxTensorBytes: "max-tensor-bytes",
  memoryBytes: "max-body-memory",
  maxHeaderBytes: "max-header-bytes",
  maxRequests: "max-requests",
  maxMessages: "max-messages",
  maxPromptTokens: "max-prompt-tokens",
  maxSequencesPerRequest: "max-sequences-per-request",
  tensorRuns: "tensor-runs",
  tensorQueue: "tensor-queue",
  bodySeconds: "body-seconds",
  minBodyBytesPerSecond: "min-body-rate",
  readerSeconds: "reader-seconds",
  requestSeconds: "request-seconds",
  queueSeconds: "queue-seconds",
};

/** A store: its URL, or in a file a driver of unstorage with its options. Both may hold a password. */
const store: Setting<string | { readonly driver: string; readonly [option: string]: unknown }> = {
  description: "Store of published adapters: file:, s3:, redis: or http: URL, in place of --adapters",
  hint: "URL",
  rule: "a URL, or in a file an object with a driver",
  secret: true,
  schema: z.union([z.string().trim().min(1), z.looseObject({ driver: z.string().min(1) })]),
};

/** Limits of a store: the option of each. */
const storeSettings = {
  "store-ttl-seconds": positive({
    description: "Seconds after which a name is looked at again; default 5 in a store, 1 in a folder",
  }),
  "store-stale-seconds": positive({
    description: "Seconds for which known adapters are served while the store fails; default 3600",
  }),
  "store-timeout-seconds": positive({ description: "Seconds that a call of the store may take; default 10" }),
  "store-cache-bytes": count({
    description: "Bytes of the store's files that are kept in memory; default 268435456",
  }, { least: 0 }),
};

/** Every setting by its name. */
export const serveSettings = {
  model: text({ description: "Hugging Face model folder", hint: "DIR" }),
  adapters: text({ description: "Folder of PEFT adapter folders", hint: "DIR" }),
  adapter: list({
    description: "PEFT adapter folders, or org/name of the hub; ID=DIR names one",
    hint: "[ID=]DIR,...",
  }),
  "follow-links": toggle({
    description: "Serve adapters that are links, or made of links, which lead out of their folder",
  }),
  store,
  ...storeSettings,
  redis: text({
    description: "Redis by which servers share tenants' quotas and tell each other of changed adapters",
    hint: "URL",
    secret: true,
  }),
  "redis-timeout-seconds": positive({
    description: "Seconds that a request may wait for Redis; default 0.2",
  }),
  name: text({ description: "The model's id; default: the folder's name", hint: "ID" }),
  port: count({ description: "TCP port, by default 8000; 0 picks a free one" }, { least: 0, most: 65535 }),
  host: text({ description: "Address to bind, by default 127.0.0.1", hint: "ADDR" }),
  "max-model-len": count({ description: "Longest sequence in tokens" }),
  "max-step-tokens": count({
    description: "Tokens of a step at most, of prompts for the most part; default 256",
  }),
  "max-sequences": count({ description: "Sequences that run at once at most; default 256" }),
  "kv-cache-memory-bytes": count({
    description: "Bytes of the key-value cache; default 1 GiB on a GPU, 256 MiB on a CPU",
  }),
  "kv-cache-dtype": choice(kvCacheDtypes, {
    description: "How the key-value cache holds numbers; default float32",
  }),
  "prefix-caching": toggle({
    description: "Reuse cached keys and values of beginnings that requests have in common; on by default",
  }),
  "max-waiting": count({ description: "Sequences that wait at most; default 1024" }),
  "max-bursts-per-second": count({
    description:
      "Times a second that sequences tell of new tokens at most, all together: more tokens share a chunk; default 8000",
  }),
  "tool-parser": text({
    description:
      "How the model writes calls of tools: hermes, llama3_json, mistral or granite; by default as its template",
    hint: "NAME",
  }),
  "max-adapters": count({ description: "Adapters of one method on the device at most; default 256" }),
  ...limitSettings,
  "header-seconds": positive({
    description: "Seconds in which headers must arrive, not on Deno; default 30",
  }),
  "drain-seconds": count({ description: "Seconds that open requests have to end at a stop; default 30" }, {
    least: 0,
  }),
  cors: list({ description: "Origins whose pages may use the server, or *", hint: "ORIGIN,..." }),
  "allowed-origins": list({
    description: "Origins that may ask at all, besides those of --cors",
    hint: "ORIGIN,...",
  }),
  "allowed-hosts": list({
    description: "Names in Host that are answered; others are refused",
    hint: "HOST,...",
  }),
  "operator-token": list({
    description: "Bearer tokens of the operator's routes, which load, unload and pin adapters",
    hint: "TOKEN,...",
    secret: true,
  }),
  "public-paths": list({
    description: "Paths that need no token; default /health,/ready,/metrics",
    hint: "PATH,...",
  }),
  "log-format": choice(["text", "json"], { description: "Lines of the log" }),
  "access-log": toggle({ description: "Write a line for each request when its answer is over" }),
  otel: toggle({ description: "Report requests to the process's OpenTelemetry SDK, by @hono/otel" }),
  quantize: choice(["int8", "int4"], { description: "Quantize the linears' weights at load" }),
  "matrix-units": toggle({ description: "Multiply by float16 weights on a GPU's matrix units" }),
  "cpu-products": choice(["int8"], { description: modelArgs["cpu-products"].description }),
  device: choice(["auto", "webgpu", "cpu"], { description: "Where to compute" }),
  threads: count({ description: deviceArgs.threads.description }, { most: mostThreads }),
};

/** The values that are given. */
export type ServeSettings = SettingValues<typeof serveSettings>;

/** The server's limits. */
export function limitsOf(settings: ServeSettings): Partial<ServerLimits> {
  return Object.fromEntries(Object.entries(limitNames).map(([name, setting]) => [name, settings[setting]]));
}

/** How a store is asked. */
export function storeLimitsOf(settings: ServeSettings): ObjectStoreOptions {
  return {
    ttlSeconds: settings["store-ttl-seconds"],
    staleSeconds: settings["store-stale-seconds"],
    timeoutSeconds: settings["store-timeout-seconds"],
    cacheBytes: settings["store-cache-bytes"],
  };
}

/** Which pages and hosts may use the server. */
export function accessOf(settings: ServeSettings): Access {
  return {
    cors: settings.cors,
    allowedOrigins: settings["allowed-origins"],
    allowedHosts: settings["allowed-hosts"],
  };
}

/** Who may ask, beside the tenants. */
export function authOf(settings: ServeSettings, tenants: Auth["tenants"]): Auth {
  return {
    tenants,
    operator: { tokens: settings["operator-token"] },
    ...(settings["public-paths"] ? { publicPaths: settings["public-paths"] } : {}),
  };
}
