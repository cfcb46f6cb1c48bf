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
  const bad = wide.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new ConfigError(`Cannot read adapter tensor "${name}": element ${bad} is ${wide[bad]}`);
  return wide;
}
