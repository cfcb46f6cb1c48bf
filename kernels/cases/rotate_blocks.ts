import { normals } from "../kernel.ts";
import { bitsOf, recordWords } from "../record.ts";
import { rotateBlocks } from "../rotate_blocks.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

interface Sizes {
  readonly in: number;
  /** Of each adapter: rows of a block, and how many matrices there are; 0 rows for none. */
  readonly adapters: readonly (readonly [size: number, matrices: number])[];
  readonly slots: readonly number[];
  readonly skipped?: number;
}

/** Adapters of the second of two linears. */
function sized({ in: inSize, adapters, slots, skipped = 0 }: Sizes): CaseOf<typeof rotateBlocks> {
  const capacity = adapters.length, linear = 1;
  return {
    name: `${slots.length} x ${inSize}, blocks of ${adapters.map(([size]) => size)}${
      skipped ? `, after ${skipped}` : ""
    }`,
    uniforms: { rows: slots.length, in: inSize, linear, capacity, skipped },
    make(random) {
      const records = new Uint32Array(2 * capacity * recordWords).fill(9);
      let end = 3;
      adapters.forEach(([size, matrices], slot) => {
        records.set([7, end, size, bitsOf(matrices)], recordWords * (linear * capacity + slot));
        end += skipped + matrices * size * size;
      });
      const most = Math.max(1, ...adapters.map(([size]) => size));
      return {
        slots: Uint32Array.from(slots),
        records,
        values: normals(end, random, 1 / Math.sqrt(most)),
        x: normals(slots.length * inSize, random),
      };
    },
  };
}

/** Cases of {@linkcode rotateBlocks}. */
export const rotateBlocksCases: KernelCases = casesFor(rotateBlocks, {
  cases: [
    sized({ in: 1, adapters: [[1, 1]], slots: [0] }),
    sized({ in: 30, adapters: [[5, 6], [0, 0], [30, 1], [3, 1]], slots: [3, 2, 0xffffffff, 1, 0, 4, 2] }),
    sized({ in: 258, adapters: [[129, 2], [6, 43]], slots: [1, 0, 0xffffffff], skipped: 11 }),
    sized({ in: 600, adapters: [[300, 2], [200, 3]], slots: [0, 1] }),
    sized({ in: 1024, adapters: [[32, 32], [8, 1]], slots: [0, 1] }),
  ],
});
