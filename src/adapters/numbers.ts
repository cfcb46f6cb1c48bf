/**
 * Adapter tensors as finite float32 numbers.
 *
 * @module
 */
import { widen } from "../../kernels/half.ts";
import { ConfigError } from "../errors.ts";
import type { HostTensor } from "../tensor.ts";

/** Widens a float tensor; refuses other dtypes, NaN and infinity by the tensor's name. */
export function toFloat32(name: string, { data, dtype }: HostTensor): Float32Array {
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
