/**
 * A model that outlives its device. When the device is lost, the model is opened again elsewhere, once; requests that
 * had not begun run there.
 *
 * @module
 */
import type { AdapterService } from "./adapters/service.ts";
import { DeviceError } from "./device/device.ts";
import type { Engine } from "./engine/generate.ts";

/** What is replaced together: both work on one device. */
export interface Served {
  readonly engine: Engine;
  readonly registry: AdapterService;
}

/**
 * Wraps an opened model. Requests whose first event had come when the device was lost fail with the device's error;
 * all others wait for `reopen` and go on.
 *
 * @param reopen Opens the model on another device; called at most once.
 */
export function withFallback(
  first: Served,
  { reopen, log = () => {} }: {
    readonly reopen: () => Promise<Served>;
    readonly log?: (line: string) => void;
  },
): Served {
  let current = first;
  let replacement: Promise<Served> | undefined;

  /** The model to go on with after `error` of `failed`; rethrows errors that are no device's, and a second device's. */
  async function after(error: unknown, failed: Served): Promise<Served> {
    if (!(error instanceof DeviceError) || failed !== first) throw error;
    if (!replacement) {
      log(`${error.message} Opening the model again.`);
      replacement = reopen();
    }
    return current = await replacement;
  }

  async function call<T>(ask: (adapters: AdapterService) => Promise<T>): Promise<T> {
    const served = current;
    try {
      return await ask(served.registry);
    } catch (error) {
      return await ask((await after(error, served)).registry);
    }
  }

  return {
    engine: {
      maxModelLen: first.engine.maxModelLen,
      vocabSize: first.engine.vocabSize,
      stats: first.engine.stats && (() => current.engine.stats!()),
      async *generate(request) {
        const served = current;
        let begun = false;
        try {
          for await (const event of served.engine.generate(request)) {
            begun = true;
            yield event;
          }
          return;
        } catch (error) {
          const next = await after(error, served);
          if (begun) throw error;
          yield* next.engine.generate(request);
        }
      },
    },
    registry: {
      list: () => call((adapters) => adapters.list()),
      page: first.registry.page && ((options) => call((adapters) => adapters.page!(options))),
      card: (id) => call((adapters) => adapters.card(id)),
      modules: (id) => call((adapters) => adapters.modules(id)),
      apply: (id, module, input) => call((adapters) => adapters.apply(id, module, input)),
      delta: (id, module, shape) => call((adapters) => adapters.delta(id, module, shape)),
      stats: first.registry.stats && (() => current.registry.stats!()),
      preload: first.registry.preload && ((id) => call((adapters) => adapters.preload!(id))),
      unload: first.registry.unload && ((id) => call((adapters) => adapters.unload!(id))),
      pin: first.registry.pin && ((id, pinned) => call((adapters) => adapters.pin!(id, pinned))),
    },
  };
}
