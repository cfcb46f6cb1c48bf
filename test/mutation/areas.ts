/**
 * What is mutated, and the tests that must notice.
 *
 * @module
 */

/** Files to change, and tests to run for each change: quick ones, that need no GPU. */
export interface Area {
  readonly mutate: readonly string[];
  readonly tests: readonly string[];
}

/** By the folder's name. */
export const areas: Readonly<Record<string, Area>> = {
  safetensors: {
    mutate: ["src/safetensors/*.ts"],
    tests: ["test/safetensors_edges_test.ts", "test/safetensors_test.ts"],
  },
};
