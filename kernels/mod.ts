/**
 * The kernel library: every kernel once. Tests, benches, the CPU device and the docs' table loop over this list.
 *
 * @module
 */
import { add } from "./add.ts";
import { attention } from "./attention.ts";
import { embedding } from "./embedding.ts";
import { fourierDelta } from "./fourier_delta.ts";
import { fourierLinear } from "./fourier_linear.ts";
import type { Kernel } from "./kernel.ts";
import { linear } from "./linear.ts";
import { linearBias } from "./linear_bias.ts";
import { loraLinear } from "./lora_linear.ts";
import { rmsNorm } from "./rms_norm.ts";
import { rope } from "./rope.ts";
import { sample } from "./sample.ts";
import { scatterRows } from "./scatter_rows.ts";
import { siluGate } from "./silu_gate.ts";

export {
  add,
  attention,
  embedding,
  fourierDelta,
  fourierLinear,
  linear,
  linearBias,
  loraLinear,
  rmsNorm,
  rope,
  sample,
  scatterRows,
  siluGate,
};
export {
  type FourierTable,
  fourierTable,
  type Frequencies,
  inOrder,
  type TableAxes,
} from "./fourier_table.ts";
export * from "./kernel.ts";
export { bitsOf, floatOf, noSlot, recordWords } from "./record.ts";

/** Every kernel of the library. */
export const kernels: readonly Kernel[] = [
  fourierDelta,
  fourierLinear,
  loraLinear,
  linear,
  linearBias,
  embedding,
  rmsNorm,
  rope,
  scatterRows,
  attention,
  siluGate,
  add,
  sample,
] as unknown as readonly Kernel[];
