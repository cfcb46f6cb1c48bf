/**
 * Adapters made ready with their base's weights, where their methods act on those.
 *
 * @module
 */
import { breathe } from "../breathe.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import type { AdapterModule, BaseLinear, Method } from "./method.ts";
import { inWorkspace } from "./workspace.ts";

/** The base model's linear at a path; undefined where there is none. */
export type BaseOf = (path: string) => BaseLinear | undefined;

/**
 * An adapter whose modules are ready to be packed, one after the other: the same one where none needs its base.
 *
 * @throws ConfigError that names a module which does not go with its base, or has none.
 */
export async function madeReady<
  A extends { readonly method: Method; readonly modules: ReadonlyMap<string, AdapterModule> },
>(device: Device, adapter: A, baseOf: BaseOf): Promise<A> {
  if ([...adapter.modules.values()].every(({ ready }) => !ready)) return adapter;
  const modules = new Map<string, AdapterModule>();
  for (const [path, module] of adapter.modules) {
    modules.set(
      path,
      await readyModule(device, { path, module, method: adapter.method, base: baseOf(path) }),
    );
    await breathe();
  }
  return { ...adapter, modules };
}

/** One module, made ready; throws as {@linkcode madeReady}. */
export async function readyModule(
  device: Device,
  { path, module, method, base }: {
    readonly path: string;
    readonly module: AdapterModule;
    readonly method: Method;
    readonly base?: BaseLinear;
  },
): Promise<AdapterModule> {
  if (!module.ready) return module;
  if (!base) {
    throw new ConfigError(
      `Cannot use module "${path}" without its base model's weight: ${method.name} depends on it`,
    );
  }
  module.check(path, base.shapes[base.index]);
  return await inWorkspace(device, (workspace) => module.ready!({ path, base, workspace }));
}
