/**
 * Rows of sequences that go on from a state, for the cases of several kernels.
 *
 * @module
 */

/** The rows of one sequence in a step. */
export interface Stretch {
  readonly rows: number;
  /** Of its first row. */
  readonly position: number;
  /** Number of its state; one that there is not for rows that take no part. */
  readonly state: number;
}

/** What kernels are told of these rows. */
export function stretchRows(stretches: readonly Stretch[]): {
  readonly rows: number;
  readonly stateIndex: Uint32Array;
  readonly positions: Uint32Array;
} {
  const each = (of: (stretch: Stretch, i: number) => number): Uint32Array =>
    Uint32Array.from(stretches.flatMap((one) => Array.from({ length: one.rows }, (_, i) => of(one, i))));
  return {
    rows: stretches.reduce((sum, { rows }) => sum + rows, 0),
    stateIndex: each(({ state }) => state),
    positions: each(({ position }, i) => position + i),
  };
}

/** A prompt from its start and one going on, new tokens, a sequence that begins, and rows that take no part; of 5 states. */
export const mixedStretches: readonly Stretch[] = [
  { rows: 9, position: 0, state: 3 },
  { rows: 2, position: 7, state: 0 },
  { rows: 1, position: 30, state: 4 },
  { rows: 1, position: 0, state: 1 },
  { rows: 2, position: 0, state: 0xffffffff },
];
