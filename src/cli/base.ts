/**
 * A module's weight in its base model's folder, for adapters that act on it.
 *
 * @module
 */
import { isSum } from "../adapters/alone.ts";
import { baseLinear } from "../adapters/base.ts";
import type { BaseLinear, Method } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { openCheckpoint } from "../models/checkpoint.ts";
import { openNamedFolder } from "./folder.ts";

/**
 * The base of a module; undefined where its method needs none, or no model is given.
 *
 * @throws ConfigError where the model's folder has no such weight as floats.
 */
export async function baseOfModule(
  device: Device,
  { method, path }: { readonly method: Method; readonly path: string },
  model: string | undefined,
): Promise<BaseLinear | undefined> {
  if (isSum(method) || model === undefined) return undefined;
  const checkpoint = await openCheckpoint(await openNamedFolder(model));
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
