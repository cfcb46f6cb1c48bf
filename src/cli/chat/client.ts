/**
 * The server that a chat asks: one elsewhere, or a model of this process behind the same routes.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import type { KvCacheDtype } from "../../../kernels/caches/mod.ts";
import { type Client, createClient } from "../../client/mod.ts";
import { ConfigError } from "../../errors.ts";
import { createApp } from "../../server/mod.ts";
import { openNamedAdapters } from "../adapters.ts";
import { UsageError } from "../arguments.ts";
import { isHubName, openNamedFolder } from "../folder.ts";
import { log } from "../log.ts";
import { type NamedDevice, openNamedDevice } from "../open.ts";
import { openServed } from "../serve_open.ts";
import { failureText } from "../words.ts";
import type { QuantizeTo } from "../../models/quantization.ts";

/** A client, and its end. */
export interface Opened {
  readonly client: Client;
  /** The adapter that answers from the start. */
  readonly adapter?: string;
  close(): void;
}

/** `fetch` whose failures name the server and the reason. */
function reaching(url: string): typeof fetch {
  return async (input, init) => {
    try {
      return await fetch(input, init);
    } catch (error) {
      if (init?.signal?.aborted) throw error;
      throw new Error(`Cannot reach ${url}: ${failureText(error as Error)}`, { cause: error });
    }
  };
}

/** A client of a server elsewhere. */
export function openRemote(url: string, { token, adapter }: { token?: string; adapter?: string }): Opened {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new UsageError(`Cannot read --url ${JSON.stringify(url)}: it must be like http://127.0.0.1:8000`);
  }
  return { client: createClient({ baseUrl: url, token, fetch: reaching(url) }), adapter, close: () => {} };
}

type App = ReturnType<typeof createApp>;

/** `fetch` of an application of this process. As with a network, an abort ends the wait for an answer and its reading. */
export function fetchOf(app: Pick<App, "fetch">): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init), { signal } = request;
    signal.throwIfAborted();
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    // An abort after the answer has nobody who waits for it.
    aborted.catch(() => {});
    const response = await Promise.race([app.fetch(request), aborted]);
    const body = response.body?.pipeThrough(new TransformStream<Uint8Array, Uint8Array>(), { signal });
    return new Response(body, response);
  };
}

/** Where the model and its adapters are, and how they are computed. */
export interface LocalOptions {
  readonly model: string;
  readonly adapters?: string;
  readonly adapter?: string;
  readonly quantize?: QuantizeTo;
  readonly kvCacheDtype?: KvCacheDtype;
  readonly matrixUnits?: boolean;
  readonly device: NamedDevice;
}

/** A client of a model that this process opens. */
export async function openLocal(
  { model, adapters, adapter, quantize, kvCacheDtype, matrixUnits, device }: LocalOptions,
): Promise<Opened> {
  const folder = await openNamedFolder(model);
  const single = adapter === undefined ? undefined : [adapter];
  const store = await openNamedAdapters({ folder: adapters, single });
  // A single adapter comes first.
  const first = adapter === undefined ? undefined : (await store!.list())[0];
  const opened = await openNamedDevice(device, { matrixUnits });
  const id = await isHubName(model) ? model : basename(resolve(model));
  const { deps } = await openServed(opened, {
    ...{ id, folder, adapters: store, quantize, kvCacheDtype },
    pins: new Set(),
  });
  if (!deps.model) throw new ConfigError(`Cannot chat with model ${id}: it generates no text`);
  const app = createApp({ ...deps, log });
  const client = createClient({ baseUrl: "http://localhost", fetch: fetchOf(app) });
  return { client, adapter: first, close: () => opened.destroy() };
}
