/// <reference lib="dom" />
/**
 * The page's own worker as its backend: the model runs in this browser.
 *
 * @module
 */
import type { Opening, OpenProgress } from "../worker/protocol.ts";
import type { AdapterInfo, Backend, Job, NamedFile, Piece } from "./backend.ts";
import { Caller, type WorkerPort } from "./caller.ts";
import { type DeviceChoice, deviceOf } from "./device.ts";

/** A model to open, and where the user wants it to compute. */
export interface OpeningChoice extends Omit<Opening, "device"> {
  readonly device: DeviceChoice;
}

/** A backend that also takes adapters by their URLs. */
export interface BrowserBackend extends Backend {
  readonly way: "browser";
  /** What the model was opened of, and where it computes. */
  readonly opening: Opening;
  /** Serves the adapter of a folder behind a URL by a name. */
  addAdapterOf(name: string, url: string): Promise<AdapterInfo>;
}

/** The events of a call, as an iteration. Leaving the iteration aborts the call. */
async function* pieces(caller: Caller, job: Job, signal: AbortSignal): AsyncGenerator<Piece> {
  const left = new AbortController();
  const waiting: Piece[] = [];
  let wake = (): void => {}, over = false, failure: { readonly error: unknown } | undefined;
  caller.call("generate", job, {
    signal: AbortSignal.any([signal, left.signal]),
    onEvent: (piece) => {
      waiting.push(piece);
      wake();
    },
  }).catch((error) => failure = { error }).finally(() => {
    over = true;
    wake();
  });
  try {
    for (;;) {
      while (waiting.length > 0) yield waiting.shift()!;
      if (failure) throw failure.error;
      if (over) return;
      await new Promise<void>((resolve) => wake = resolve);
    }
  } finally {
    left.abort();
  }
}

/** Starts a worker that has no model yet; it computes on this device alone. */
export function startWorker(device: Opening["device"]): Caller {
  const script = new URL(`./worker_${device}.js`, import.meta.url);
  return new Caller(new Worker(script, { type: "module" }) as WorkerPort);
}

/** How a model is opened in the page. */
export interface OpenBrowserOptions {
  readonly onProgress: (progress: OpenProgress) => void;
  readonly signal: AbortSignal;
}

/**
 * Opens a model in a new worker.
 *
 * @throws Error that says which file, and which rule it breaks; the signal's reason.
 */
export async function openBrowser(
  choice: OpeningChoice,
  { onProgress, signal }: OpenBrowserOptions,
): Promise<BrowserBackend> {
  const opening: Opening = { ...choice, device: await deviceOf(choice.device) };
  signal.throwIfAborted();
  const caller = startWorker(opening.device);
  try {
    const model = await caller.call("open", opening, { onEvent: onProgress, signal });
    return {
      way: "browser",
      opening,
      model,
      adapters: () => caller.call("adapters", undefined),
      generate: (job, signal) => pieces(caller, job, signal),
      modules: (id) => caller.call("modules", id),
      picture: (id, module, signal) => caller.call("picture", { id, module }, { signal }),
      norms: (id, beside, signal) => caller.call("norms", { id, beside }, { signal }),
      memory: () => caller.call("memory", undefined),
      addAdapter: (name, files: readonly NamedFile[]) =>
        caller.call("addAdapter", { name, source: { kind: "files", files } }),
      addAdapterOf: (name, url) => caller.call("addAdapter", { name, source: { kind: "url", url } }),
      close: () => caller.end(),
    };
  } catch (error) {
    caller.end();
    throw error;
  }
}
