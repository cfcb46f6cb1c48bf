/**
 * `fourierft serve`: a model and its adapters by HTTP.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import process from "node:process";
import { defineCommand } from "citty";
import { normalName, quotedName } from "../adapters/names.ts";
import type { AdapterRegistry, AdapterStore } from "../adapters/registry.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { withFallback } from "../failover.ts";
import type { ReadableFolder } from "../folder.ts";
import { readConfig } from "../models/families.ts";
import type { QuantizeTo } from "../models/quantization.ts";
import { serveApp } from "../runtime/serve.ts";
import { createApp, OpenRequests, type ServerDeps } from "../server/mod.ts";
import { UsageError } from "./arguments.ts";
import { openNamedAdapters } from "./adapters.ts";
import { isHubName, openNamedFolder } from "./folder.ts";
import {
  deviceArgs,
  log,
  modelArgs,
  openNamedDevice,
  openNamedEncoder,
  openNamedModel,
  parseCount,
  parseQuantize,
} from "./open.ts";
import { accessArgs, limitArgs, listArgument, parseAccess, parseLimits } from "./serve_args.ts";
import { untilStopped } from "./shutdown.ts";

function optionalCount(name: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseCount(name, text);
}

function parsePort(text: string): number {
  const port = parseCount("port", text);
  if (port <= 65535) return port;
  throw new UsageError(`Cannot listen on port ${port}: ports are 0..65535`);
}

/** Names that a line shows at most, and adapters that are looked at before the server says that it listens. */
const mostShown = 20, mostLookedAt = 200;

/** How many adapters there are, and the first names; of many their names alone are known at once. */
async function shownAdapters(registry: AdapterRegistry): Promise<string> {
  const names = await registry.names();
  // Whatever is left out is told while they are listed.
  const listed = registry.list();
  const shown = names.length <= mostLookedAt ? (await listed).map(({ id }) => id) : names;
  listed.catch((error) => log(`the adapters cannot be listed: ${error.message}`));
  if (shown.length <= mostShown) return shown.join(", ") || "none";
  return `${shown.length}, among them ${shown.slice(0, mostShown).join(", ")}`;
}

/** What is opened to be served. */
interface Opened {
  /** What `createApp` is given. */
  readonly deps: Pick<ServerDeps, "model" | "encoder" | "adapters">;
  readonly registry: AdapterRegistry;
  readonly maxModelLen: number;
}

/** How it is opened. */
interface Opening {
  readonly id: string;
  readonly folder: ReadableFolder;
  readonly adapters?: AdapterStore;
  readonly maxModelLen?: number;
  readonly maxStepTokens?: number;
  readonly maxSequences?: number;
  readonly cacheBytes?: number;
  readonly prefixCaching?: boolean;
  readonly maxWaiting?: number;
  readonly maxAdapters?: number;
  readonly quantize?: QuantizeTo;
  /** Whether a GPU that goes is replaced by the CPU. */
  readonly replaces: boolean;
}

const nowUnixSeconds = (): number => Math.floor(Date.now() / 1000);

async function openGenerator(device: Device, { id, replaces, ...options }: Opening): Promise<Opened> {
  const open = (on: Device) => openNamedModel(on, options);
  const opened = await open(device), { tokenizer, registry, model: { maxModelLen } } = opened;
  const { engine, registry: adapters } = replaces
    ? withFallback(opened, { reopen: () => openNamedDevice("cpu").then(open), log })
    : opened;
  const model = { id, createdUnixSeconds: nowUnixSeconds(), engine, tokenizer };
  return { deps: { model, adapters }, registry, maxModelLen };
}

async function openServedEncoder(
  device: Device,
  { id, folder, adapters, ...options }: Opening,
): Promise<Opened> {
  const { maxStepTokens: maxBatchRows, maxSequences: maxBatchSequences, maxWaiting } = options;
  const { maxModelLen, quantize, maxAdapters } = options;
  const { encoder, tokenizer, registry } = await openNamedEncoder(device, {
    ...{ folder, adapters, maxModelLen, quantize, maxAdapters },
    encoder: { maxBatchRows, maxBatchSequences, maxWaiting },
  });
  if (!tokenizer) throw new ConfigError(`Cannot serve model ${id}: no route takes images`);
  const served = { id, createdUnixSeconds: nowUnixSeconds(), encoder, tokenizer };
  return { deps: { encoder: served, adapters: registry }, registry, maxModelLen: encoder.maxModelLen };
}

/** See the module's documentation. */
export const serve = defineCommand({
  meta: {
    name: "serve",
    description: "Serve a model, and the adapters of a folder by name, over an OpenAI-compatible API",
  },
  args: {
    model: { type: "string", required: true, description: "Hugging Face model folder", valueHint: "DIR" },
    adapters: { type: "string", description: "Folder of PEFT adapter folders", valueHint: "DIR" },
    adapter: {
      type: "string",
      description: "PEFT adapter folders, or org/name of the hub; ID=DIR names one",
      valueHint: "[ID=]DIR,...",
    },
    "follow-links": {
      type: "boolean",
      description: "Serve adapters that are links, or made of links, which lead out of their folder",
    },
    name: { type: "string", description: "The model's id; default: the folder's name", valueHint: "ID" },
    port: { type: "string", default: "8000", description: "TCP port; 0 picks a free one", valueHint: "N" },
    host: { type: "string", default: "127.0.0.1", description: "Address to bind", valueHint: "ADDR" },
    "max-model-len": { type: "string", description: "Longest sequence in tokens", valueHint: "N" },
    "max-step-tokens": {
      type: "string",
      description: "Tokens of a step at most, of prompts for the most part; default 256",
      valueHint: "N",
    },
    "prefix-caching": {
      type: "boolean",
      default: true,
      description: "Reuse cached keys and values of beginnings that requests have in common",
      negativeDescription: "Compute every prompt as a whole",
    },
    ...limitArgs,
    ...accessArgs,
    ...modelArgs,
    ...deviceArgs,
  },
  async run({ args, rawArgs }) {
    const port = parsePort(args.port);
    const limits = parseLimits(args);
    const access = parseAccess(rawArgs);
    const options = {
      maxModelLen: optionalCount("max-model-len", args["max-model-len"]),
      maxStepTokens: optionalCount("max-step-tokens", args["max-step-tokens"]),
      quantize: parseQuantize(args.quantize),
      maxSequences: limits.maxSequences,
      cacheBytes: limits.cacheBytes,
      prefixCaching: args["prefix-caching"],
      maxWaiting: limits.maxWaiting,
      maxAdapters: limits.maxAdapters,
    };
    const id = args.name ?? (await isHubName(args.model) ? args.model : basename(resolve(args.model)));
    const folder = await openNamedFolder(args.model);
    const adapters = await openNamedAdapters({
      folder: args.adapters,
      followLinks: args["follow-links"],
      single: listArgument(rawArgs, "adapter"),
    });
    const device = await openNamedDevice(args.device, { matrixUnits: args["matrix-units"] });
    // A GPU that was asked for is an error when it goes; one that was chosen is replaced by the CPU.
    const replaces = args.device === "auto" && device.kind === "webgpu";
    const open = (await readConfig(folder)).encoder ? openServedEncoder : openGenerator;
    const opened = await open(device, { ...options, id, folder, adapters, replaces });
    const requests = new OpenRequests();
    const app = createApp({
      ...opened.deps,
      requests,
      limits: limits.server,
      access,
      log,
    });
    const server = await serveApp(app.fetch, { port, hostname: args.host });
    log(
      `model: ${id}, ${opened.maxModelLen} tokens; adapters: ${await shownAdapters(opened.registry)}`,
    );
    if ((await opened.registry.names()).includes(normalName(id))) {
      log(
        `adapter ${quotedName(id)} has the model's name: ${quotedName(`${id}:${id}`)} asks for the adapter`,
      );
    }
    log(`listening on http://${args.host}:${server.port}`);
    const code = await untilStopped({ server, requests, drainSeconds: limits.drainSeconds, log });
    device.destroy();
    process.exit(code);
  },
});
