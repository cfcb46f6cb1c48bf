/**
 * The kernel library: every kernel once. Tests, benches, the CPU device and the docs' table loop over this list.
 *
 * @module
 */
import { fourierDelta } from "./fourier_delta.ts";
import { fourierLinear } from "./fourier_linear.ts";
import type { Kernel } from "./kernel.ts";

export { fourierDelta } from "./fourier_delta.ts";
export { fourierLinear } from "./fourier_linear.ts";
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
export const kernels: readonly Kernel[] = [fourierDelta, fourierLinear] as unknown as readonly Kernel[];
