/**
 * Every join once: neighbours of a plan that a GPU's device puts together.
 *
 * @module
 */
import { adaptedLinearsJoin } from "./adapted_linears.ts";
import { adaptedLinearsRmsNormJoin } from "./adapted_linears_rms_norm.ts";
import { adaptedLinearsRopeCacheJoin } from "./adapted_linears_rope_cache.ts";
import { adaptedLinearsSiluGateUpJoin } from "./adapted_linears_silu_gate_up.ts";
import type { Join } from "./kernel.ts";

/** See the module's documentation. */
export const joins: readonly Join[] = [
  adaptedLinearsJoin,
  adaptedLinearsRmsNormJoin,
  adaptedLinearsRopeCacheJoin,
  adaptedLinearsSiluGateUpJoin,
];
