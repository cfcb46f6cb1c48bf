/**
 * A Worker at the edge that applies adapters without a model: the CPU device, adapters by `fetch`. In a project that has
 * the npm package, with `wrangler.toml` beside this file,
 *
 *     npx wrangler dev
 *
 * serves it, and `npx wrangler deploy` puts it on Cloudflare. For another platform that runs modules with a `fetch`
 * handler,
 *
 *     npx -y esbuild worker.ts --bundle --format=esm --conditions=workerd,browser --outfile=worker.js \
 *       --external:fourierft/kernels.wasm
 *
 * makes one file; the package's `kernels.wasm` goes beside it as a module of the name it has there. `ADAPTERS` is the
 * URL of a folder of PEFT adapter folders, with a slash at its end. `ADAPTER_NAMES` are their names: a folder behind
 * URLs cannot be listed. `POST /v1/adapters/NAME/apply?module=PATH&shape=OUTxIN` and `GET /v1/adapters/NAME/delta?...`
 * then answer.
 *
 * @module
 */
import { AdapterRegistry, type AdapterStore, cpuDevice, openUrlFolder } from "fourierft";
import { createApp } from "fourierft/server";
// @ts-ignore: a file of the npm package, which platforms for Workers hand over as a compiled WebAssembly.Module
import wasm from "fourierft/kernels.wasm";

/** The Worker's settings. */
export interface Env {
  /** e.g. `https://example.com/adapters/` */
  readonly ADAPTERS: string;
  /** e.g. `fourierft-kjv,lora-kjv` */
  readonly ADAPTER_NAMES: string;
}

function store({ ADAPTERS, ADAPTER_NAMES }: Env): AdapterStore {
  const names = ADAPTER_NAMES.split(",");
  return {
    list: () => Promise.resolve(names),
    open: (id) =>
      Promise.resolve(
        names.includes(id)
          // An adapter is read again when its version changes; these files never do.
          ? { folder: openUrlFolder(new URL(`${id}/`, ADAPTERS)), version: "1", modifiedUnixSeconds: 0 }
          : undefined,
      ),
  };
}

let app: ReturnType<typeof createApp> | undefined;

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    app ??= createApp({ adapters: new AdapterRegistry(cpuDevice({ wasm }), store(env)) });
    return app.fetch(request);
  },
};
