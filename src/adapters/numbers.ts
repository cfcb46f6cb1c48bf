/**
 * Adapter tensors as finite float32 numbers.
 *
 * @module
 */
import { widen } from "../../kernels/half.ts";
import { ConfigError } from "../errors.ts";
import type { HostTensor } from "../tensor.ts";

/** The greatest float32, and the least one that no device takes for 0. */
const greatest = 3.4028234663852886e38;
const least = 2 ** -126;

/**
 * Refuses what no product of float32 numbers can be right with: a factor that is past float32, or that becomes 0 there.
 *
 * @param from The config's field, and what it holds.
 */
export function checkScale(scale: number, from: { readonly field: string; readonly value: number }): void {
  if (scale === 0 && from.value === 0) return;
  const size = Math.abs(scale);
  if (size >= least && size <= greatest) return;
  throw new ConfigError(
    `Cannot read adapter_config.json field "${from.field}" = ${from.value}: dW's factor comes to ${scale}, ` +
      `float32 holds ${least} to ${greatest}`,
  );
}

/** Refuses a sum or product, named by `what`, that may be past float32. */
export function checkReach(reach: number, what: string): void {
  if (reach <= greatest) return;
  throw new ConfigError(`Cannot use ${what}: it may come to ${reach}, float32 ends at ${greatest}`);
}

/** Widens a float tensor; refuses other dtypes, NaN and infinity by the tensor's name. */
export function finiteFloats(name: string, { data, dtype }: HostTensor): Float32Array {
  if (dtype === "uint32" || dtype === "int32") {
    throw new ConfigError(`Cannot read adapter tensor "${name}": it must hold floats, it holds ${dtype}`);
  }
  const wide = widen(data, dtype);
  for (let i = 0; i < wide.length; i++) {
    if (Number.isFinite(wide[i])) continue;
    throw new ConfigError(`Cannot read adapter tensor "${name}": element ${i} is ${wide[i]}`);
  }
  return wide;
}

/** The greatest size of any number; NaN where one is NaN. */
export function greatestSize(values: Float32Array): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}
