/**
 * Rows of a step whose sequences carry a state from step to step.
 *
 * Rows of one sequence stand side by side, in the order of their positions, and name the sequence's state. A sequence whose
 * first row here has position 0 starts from zeros, whatever its state holds: nobody has to clear a state.
 *
 * @module
 */
import type { TypedArray } from "../kernel.ts";

/** The rows of one sequence in a step. */
export interface Stretch {
  readonly begin: number;
  readonly end: number;
  /** Number of its state. */
  readonly state: number;
  /** Whether it starts from zeros. */
  readonly isFresh: boolean;
}

/** The rows of a step by sequence; rows that name no state are left out. */
export function* stretches(
  { stateIndex, positions }: Readonly<Record<"stateIndex" | "positions", TypedArray>>,
  { rows, states }: { readonly rows: number; readonly states: number },
): Generator<Stretch> {
  for (let begin = 0, end = 0; begin < rows; begin = end) {
    const state = stateIndex[begin];
    for (end = begin + 1; end < rows && stateIndex[end] === state; end++);
    if (state < states) yield { begin, end, state, isFresh: positions[begin] === 0 };
  }
}

/** Rows that name no state: `y` (rows, dim) is 0 there. */
export function clearStateless(
  y: TypedArray,
  stateIndex: TypedArray,
  { rows, states, dim }: { readonly rows: number; readonly states: number; readonly dim: number },
): void {
  for (let r = 0; r < rows; r++) if (stateIndex[r] >= states) y.fill(0, r * dim, (r + 1) * dim);
}

/** The documentation of the two buffers. */
export const sequenceBuffers = {
  stateIndex: {
    access: "read",
    dtypes: ["uint32"],
    doc:
      "(rows): the number of the row's state, not below `states` for rows that take no part; rows of one state " +
      "stand side by side, in order",
  },
  positions: {
    access: "read",
    dtypes: ["uint32"],
    doc: "(rows): the row's place in its sequence; a state is taken for zeros where its first row has 0",
  },
} as const;
