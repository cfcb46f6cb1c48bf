import { normals } from "../kernel.ts";
import { bitsOf, recordWords } from "../record.ts";
import { rotateInputs } from "../rotate_inputs.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

interface Sizes {
  readonly in: number;
  /** Of each linear and adapter: rows of a block, and how many matrices there are; 0 rows for none. */
  readonly linears: readonly (readonly (readonly [size: number, matrices: number])[])[];
  readonly slots: readonly number[];
  readonly skipped?: readonly [number, number, number];
}

/** Adapters of linears from the second on. */
function sized({ in: inSize, linears, slots, skipped = [0, 0, 0] }: Sizes): CaseOf<typeof rotateInputs> {
  const capacity = linears[0].length, linear = 1;
  return {
    name: `${slots.length} x ${inSize}, blocks of ${
      linears.map((adapters) => adapters.map(([size]) => size).join(", ")).join("; ")
    }`,
    uniforms: {
      ...{ rows: slots.length, in: inSize, linear, capacity, linears: linears.length },
      ...{ skipped: skipped[0], skipped1: skipped[1], skipped2: skipped[2] },
    },
    make(random) {
      const records = new Uint32Array((linear + linears.length) * capacity * recordWords).fill(9);
      let end = 3;
      linears.forEach((adapters, i) =>
        adapters.forEach(([size, matrices], slot) => {
          records.set([7, end, size, bitsOf(matrices)], recordWords * ((linear + i) * capacity + slot));
          end += skipped[i] + matrices * size * size;
        })
      );
      const most = Math.max(1, ...linears.flat().map(([size]) => size));
      return {
        x: normals(slots.length * inSize, random),
        slots: Uint32Array.from(slots),
        records,
        values: normals(end, random, 1 / Math.sqrt(most)),
        y: new Float32Array(linears.length * slots.length * inSize).fill(NaN),
      };
    },
  };
}

/** Cases of {@linkcode rotateInputs}. */
export const rotateInputsCases: KernelCases = casesFor(rotateInputs, {
  cases: [
    sized({ in: 30, linears: [[[5, 6], [0, 0]], [[30, 1], [3, 1]]], slots: [1, 0xffffffff, 0, 4] }),
    sized({
      ...{ in: 258, slots: [1, 0, 0xffffffff], skipped: [11, 0, 2] },
      linears: [[[129, 2], [6, 43]], [[0, 0], [43, 6]], [[2, 129], [258, 1]]],
    }),
    // So many numbers that a workgroup takes more of them.
    sized({ in: 4096, linears: [[[32, 1], [64, 2]]], slots: Array.from({ length: 33 }, (_, r) => r % 3) }),
  ],
});
