/**
 * Every weight format once: kernels, their tests and benches loop over this list.
 *
 * @module
 */
import { dense } from "./dense.ts";
import type { WeightFormat } from "./format.ts";
import { q4_32, q8_32 } from "./q32.ts";

export { dense, q4_32, q8_32 };

/** See the module's documentation. */
export const formats: readonly WeightFormat[] = [dense, q8_32, q4_32];
