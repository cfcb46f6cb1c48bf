/**
 * `fourierft serve`: a model and its adapters by HTTP.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import process from "node:process";
import { AdapterAdmin } from "../adapters/admin.ts";
import { ManagedStore } from "../adapters/managed_store.ts";
import { normalName, quotedName } from "../adapters/names.ts";
import type { AdapterRegistry } from "../adapters/registry.ts";
import { openPeers, type Peers } from "../runtime/redis/mod.ts";
import { serveApp } from "../runtime/serve.ts";
import { loadingApp } from "../server/loading.ts";
import { createApp, OpenRequests, Tenants } from "../server/mod.ts";
import { logRequest } from "./access_log.ts";
import { openNamedAdapters } from "./adapters.ts";
import { UsageError } from "./arguments.ts";
import { defineCommand } from "./command.ts";
import { type ConfigFile, readConfigFile } from "./config_file.ts";
import { isHubName, openNamedFolder } from "./folder.ts";
import { log, setLogFormat } from "./log.ts";
import { openNamedDevice } from "./open.ts";
import { readPage } from "./page.ts";
import { watchConfig } from "./reload.ts";
import { openServed } from "./serve_open.ts";
import {
  accessOf,
  authOf,
  limitsOf,
  type ServeSettings,
  serveSettings,
  storeLimitsOf,
} from "./serve_settings.ts";
import { argsOf, describeSettings, environmentOf, flagsOf, settle, type Settled } from "./settings.ts";
import { untilStopped } from "./shutdown.ts";
import { telemetry } from "./telemetry.ts";

/** Bursts a second: with few streams each token has a chunk, with many a chunk's cost is shared. */
const defaultBursts = 8000;

/** Names that a line shows at most, and adapters that are looked at before the server says that it listens. */
const mostShown = 20, mostLookedAt = 200;

function someOf(names: readonly string[]): string {
  if (names.length <= mostShown) return names.join(", ") || "none";
  return `${names.length}, among them ${names.slice(0, mostShown).join(", ")}`;
}

/** How many adapters there are, and the first names; of many their names alone are known at once. */
async function shownAdapters(
  registry: AdapterRegistry,
  { hasStore }: { readonly hasStore: boolean },
): Promise<string> {
  const names = await registry.names();
  // A store is asked for each adapter: of many, only those that are used.
  if (hasStore && names.length > mostLookedAt) return someOf(names);
  // Whatever is left out is told while they are listed.
  const listed = registry.list();
  const shown = names.length <= mostLookedAt ? (await listed).map(({ id }) => id) : names;
  listed.catch((error) => log(`the adapters cannot be listed: ${error.message}`));
  return someOf(shown);
}

/** A server's settings, and the file that some are from. */
interface Configuration extends Settled<typeof serveSettings> {
  readonly file?: ConfigFile & { readonly path: string };
}

/** Reads flags, environment and file; flags win, then the environment. */
async function configurationOf(rawArgs: readonly string[], path: string | undefined): Promise<Configuration> {
  const file = path === undefined ? undefined : { path, ...await readConfigFile(path) };
  const settled = settle(serveSettings, [
    ...(file
      ? [{ name: "file", label: (name: string) => `"${name}" of ${file.path}`, values: file.settings }]
      : []),
    environmentOf(serveSettings, process.env),
    flagsOf(serveSettings, rawArgs),
  ]);
  return { ...settled, file };
}

/** Says what the server was told, without secrets. */
function logSettings({ file, ...settled }: Configuration): void {
  const settings = describeSettings(serveSettings, settled);
  const shown = Object.entries(settings).map(([name, { value, source }]) =>
    `${name}=${Array.isArray(value) ? value.join(",") : value}${source === "flag" ? "" : ` (${source})`}`
  );
  const tenants = file?.tenants?.map(({ id }) => id);
  const told = tenants ? [...shown, `tenants=${tenants.slice(0, mostShown).join(",") || "none"}`] : shown;
  log(`settings: ${told.join(" ")}`, { settings, tenants });
}

async function peersOf(
  { redis, "redis-timeout-seconds": timeoutSeconds }: ServeSettings,
): Promise<Peers | undefined> {
  return redis === undefined ? undefined : await openPeers(redis, { log, timeoutSeconds });
}

async function open({ values: settings }: Configuration, modelName: string, peers: Peers | undefined) {
  const { adapters: folderOfAdapters, "follow-links": followLinks, adapter: single, store } = settings;
  const id = settings.name ?? (await isHubName(modelName) ? modelName : basename(resolve(modelName)));
  const folder = await openNamedFolder(modelName);
  const stored = await openNamedAdapters({
    ...{ folder: folderOfAdapters, followLinks, single, ttlSeconds: settings["store-ttl-seconds"] },
    store: store === undefined ? undefined : { storage: store, options: { ...storeLimitsOf(settings), log } },
  });
  const adapters = stored && new ManagedStore(stored);
  const kind = settings.device ?? "auto";
  const threads = settings.threads?.toString();
  const cpu = { threads, "cpu-products": settings["cpu-products"] }, named = { device: kind, ...cpu };
  const gpu = { matrixUnits: settings["matrix-units"] };
  const device = await openNamedDevice(named, gpu);
  const opened = await openServed(device, {
    ...{ id, folder, adapters, pins: new Set<string>() },
    maxModelLen: settings["max-model-len"],
    maxStepTokens: settings["max-step-tokens"],
    quantize: settings.quantize,
    maxSequences: settings["max-sequences"],
    cacheBytes: settings["kv-cache-memory-bytes"],
    kvCacheDtype: settings["kv-cache-dtype"],
    prefixCaching: settings["prefix-caching"],
    maxWaiting: settings["max-waiting"],
    maxBurstsPerSecond: settings["max-bursts-per-second"] ?? defaultBursts,
    toolParser: settings["tool-parser"],
    maxAdapters: settings["max-adapters"],
    // The CPU replaces no GPU that was asked for.
    replacements: [named, named, ...(kind === "auto" ? [{ device: "cpu", ...cpu }] : [])],
    gpu,
  });
  const admin = adapters && new AdapterAdmin(adapters, opened.deps.adapters, { tell: peers?.tell });
  return { ...opened, id, device, admin };
}

/** See the module's documentation. */
export const serve = defineCommand({
  meta: {
    name: "serve",
    description: "Serve a model, and the adapters of a folder by name, over an OpenAI-compatible API",
  },
  args: {
    config: {
      type: "string",
      description: "File of these settings by their names, and of tenants: YAML or JSON",
      valueHint: "FILE",
    },
    ...argsOf(serveSettings),
  },
  examples: [
    {
      does: "Serve the demo model and every adapter of a folder",
      line: "serve --model examples/demo/base --adapters examples/demo/adapters",
    },
    {
      does: "A model of the hub in 8 bits, on another port",
      line: "serve --model HuggingFaceTB/SmolLM2-135M --quantize int8 --port 9000",
    },
    {
      does: "Settings and tenants from a file, and a line of JSON for each request",
      line: "serve --config server.yaml --log-format json --access-log",
    },
  ],
  async run({ args, rawArgs }) {
    const configuration = await configurationOf(rawArgs, (args as { config?: string }).config);
    const { values: settings, file } = configuration;
    if (settings.model === undefined) throw new UsageError("Cannot run serve without --model DIR");
    setLogFormat(settings["log-format"] ?? "text");
    logSettings(configuration);
    const peers = await peersOf(settings);
    const tenants = file?.tenants && new Tenants(file.tenants, { counts: peers?.counts });
    // Watched from here on: a token that is taken away while the model loads must not be served.
    const unwatch = file && watchConfig({ path: file.path, first: file, tenants });
    const { port = 8000, host = "127.0.0.1" } = settings;
    const page = await readPage();
    let app = loadingApp(page);
    const server = await serveApp((request) => app.fetch(request), {
      port,
      hostname: host,
      headerSeconds: settings["header-seconds"] ?? 30,
    });
    const opened = await open(configuration, settings.model, peers);
    const requests = new OpenRequests();
    app = createApp({
      ...opened.deps,
      ...{ admin: opened.admin, requests, log, page, peers: peers?.stats },
      limits: limitsOf(settings),
      access: accessOf(settings),
      auth: authOf(settings, tenants),
      middleware: settings.otel ? [await telemetry()] : [],
      onRequest: settings["access-log"] ? logRequest : undefined,
    });
    const { id, registry, maxModelLen, device, admin } = opened;
    if (admin) await peers?.listen((change) => admin.follow(change));
    const shown = await shownAdapters(registry, { hasStore: settings.store !== undefined });
    log(`model: ${id}, ${maxModelLen} tokens; adapters: ${shown}`);
    if ((await registry.names()).includes(normalName(id))) {
      log(
        `adapter ${quotedName(id)} has the model's name: ${quotedName(`${id}:${id}`)} asks for the adapter`,
      );
    }
    if (page) log(`playground: http://${host}:${server.port}/`);
    log(`listening on http://${host}:${server.port}`, { host, port: server.port });
    const drainSeconds = settings["drain-seconds"] ?? 30;
    const code = await untilStopped({ server, requests, drainSeconds, log });
    unwatch?.();
    await peers?.close();
    device.destroy();
    process.exit(code);
  },
});
