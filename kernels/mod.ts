/**
 * The kernel library: every kernel once. Tests, benches, the CPU device and the docs' table loop over this list.
 *
 * @module
 */
import type { Kernel } from "./kernel.ts";

export * from "./kernel.ts";

/** Every kernel of the library. */
export const kernels: readonly Kernel[] = [];
