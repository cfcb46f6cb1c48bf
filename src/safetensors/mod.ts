/**
 * The safetensors format, read as strictly as its specification is written, and written.
 *
 * ```ts
 * import { parseSafetensors, toFloat32, writeSafetensors } from "fourierft/safetensors";
 *
 * const bytes = new Uint8Array(new Float32Array([1, 2, 3, 4]).buffer);
 * const file = writeSafetensors([{ name: "w", dtype: "F32", shape: [2, 2], bytes }], { metadata: { format: "pt" } });
 * const read = parseSafetensors(file);
 * console.log(read.tensors.get("w")?.shape, toFloat32(read.read("w")));
 * ```
 *
 * A file too large for memory is read by ranges with {@linkcode openSafetensors} and written a tensor at a time by
 * {@linkcode layoutSafetensors}.
 *
 * @module
 */
export type { DeviceBuffer, DType, HostTensor, Tensor, TypedArray } from "../tensor.ts";
export { dtypeBits, type SafetensorsDtype } from "./dtypes.ts";
export { SafetensorsError } from "./errors.ts";
export { foreignKindOfText } from "./foreign.ts";
export { maxHeaderBytes, type SafetensorsHeader, type TensorInfo } from "./header.ts";
export {
  type ByteSource,
  bytesSource,
  openSafetensors,
  parseSafetensors,
  type ReadOptions,
  type SafetensorsBytes,
  type SafetensorsFile,
  type TensorView,
} from "./reader.ts";
export { fromTensor, toFloat32, toInt32, toTensor } from "./tensors.ts";
export {
  layoutSafetensors,
  type SafetensorsLayout,
  type TensorSpec,
  type WriteOptions,
  writeSafetensors,
} from "./writer.ts";
