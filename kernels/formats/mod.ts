/**
 * Every weight format once: kernels, their tests and benches loop over this list.
 *
 * @module
 */
import { dense } from "./dense.ts";
import type { WeightFormat } from "./format.ts";
import { nf4_32 } from "./nf4_32.ts";
import { q4_32, q8_32 } from "./q32.ts";
import { q4_k } from "./q4_k.ts";
import { q4z_32 } from "./q4z_32.ts";
import { q6_k } from "./q6_k.ts";

export { dense, nf4_32, q4_32, q4_k, q4z_32, q6_k, q8_32 };

/** See the module's documentation. */
export const formats: readonly WeightFormat[] = [dense, q8_32, q4_32, q4z_32, nf4_32, q4_k, q6_k];
