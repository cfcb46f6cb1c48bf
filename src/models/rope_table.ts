/**
 * A model's rotary table as a leaf of its tree of weights.
 *
 * @module
 */
import { tensor } from "../tensor.ts";
import { fixedRopeLength, ropeTable } from "./rope.ts";
import type { RopeConfig } from "./rope_config.ts";
import type { TableSpec } from "./spec.ts";

/** Cosines and sines by position, (positions, headDim / 2, 2), for sequences of up to `fixedRopeLength`. */
export function ropeTableSpec(config: RopeConfig): TableSpec {
  return {
    kind: "table",
    make(maxModelLen) {
      const positions = Math.min(maxModelLen, fixedRopeLength(config));
      return tensor(ropeTable(config, positions), [positions, config.headDim / 2, 2]);
    },
  };
}
