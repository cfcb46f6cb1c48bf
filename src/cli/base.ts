/**
 * A module's weight in its base model's folder, for adapters that act on it.
 *
 * @module
 */
import { needsBase } from "../adapters/alone.ts";
import { baseLinear } from "../adapters/base.ts";
import type { AdapterModule, BaseLinear, Method } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { openCheckpoint } from "../models/checkpoint.ts";
import { namesOf } from "../models/families.ts";
import { openNamedFolder } from "./folder.ts";

/**
 * The base of a module; undefined where it needs none, or no model is given.
 *
 * @throws ConfigError where the model's folder has no such weight as floats.
 */
export async function baseOfModule(
  device: Device,
  { method, module, path }: {
    readonly method: Method;
    readonly module: AdapterModule;
    readonly path: string;
  },
  model: string | undefined,
): Promise<BaseLinear | undefined> {
  if (!needsBase({ method, module }) || model === undefined) return undefined;
  const folder = await openNamedFolder(model);
  const checkpoint = await openCheckpoint(folder, await namesOf(folder));
  try {
    const name = `${path}.weight`;
    if (checkpoint.names.includes(name)) {
      return baseLinear(device, device.upload(await checkpoint.read(name)));
    }
    throw new ConfigError(
      `Cannot use adapter module "${path}": ${method.name} acts on the model's "${name}", and its folder has none`,
    );
  } finally {
    await checkpoint.close();
  }
}
